/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Volumes that stand on a device outside of their store: what SPDK made reads as it did there; the
 * device goes, also under I/O, and comes back, and the volumes with it; it is smaller or ends
 * amid a cluster; its reads fail; it is kept from being written, for several stores; what cannot
 * stand on what is refused. Random operations with such volumes are in test_op.c.
 */
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/lvol/attach.h"
#include "lib/xbdev/lvol/stores.h"
#include "test/unit/xbdev/lvol/forest.h"

#define C FOREST_CLUSTER

#define IMAGE0 "00000000-0000-4000-8000-000000000000"

/* ---- operations, on the store and in the plan ---- */

static int try_clone(struct forest *f, const char *device, const char *name)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_clone_external(f->store, device, name, NULL, forest_done, f);
	return forest_wait(f, nr);
}

static struct thing *add_clone(struct forest *f, uint32_t image, const char *name)
{
	char device[32];

	snprintf(device, sizeof(device), "image%u", image);
	assert_int_equal(try_clone(f, device, name), 0);
	return forest_add(&f->plan, name, f->images[image], forest_image_size(image));
}

static int try_parent(struct forest *f, const char *name, const char *device)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_set_parent_external(forest_volume(f, name), device, forest_done, f);
	return forest_wait(f, nr);
}

static void write_at(struct forest *f, struct thing *thing, uint64_t offset, uint64_t len)
{
	harness_fill(thing->bytes + offset, len, offset + f->nr_done + 1);
	assert_int_equal(
		forest_io(f, thing->name, XBDEV_OP_WRITE, offset, thing->bytes + offset, len), 0);
}

static void snapshot(struct forest *f, struct thing *thing, const char *name)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_snapshot(forest_volume(f, thing->name), name, NULL, forest_done, f);
	assert_int_equal(forest_wait(f, nr), 0);
	forest_add(&f->plan, name, thing->bytes, thing->size)->is_read_only = true;
}

static void resize(struct forest *f, struct thing *thing, uint64_t size)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_resize(forest_volume(f, thing->name), size, forest_done, f);
	assert_int_equal(forest_wait(f, nr), 0);
	thing->bytes = realloc(thing->bytes, size);
	assert_non_null(thing->bytes);
	if (size > thing->size) {
		memset(thing->bytes + thing->size, 0, size - thing->size);
	}
	thing->size = size;
}

static int try_delete(struct forest *f, const char *name)
{
	uint32_t nr = f->nr_done;
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(f->store, volume)) != NULL) {
		if (strcmp(volume->shown.name, name) == 0) {
			break;
		}
	}
	assert_non_null(volume);
	xbdev__lvol_delete(volume, forest_done, f);
	return forest_wait(f, nr);
}

static void delete (struct forest *f, const char *name)
{
	assert_int_equal(try_delete(f, name), 0);
	forest_remove(&f->plan, forest_thing(&f->plan, name));
}

static void must_be(struct forest *f)
{
	char why[200] = "";

	if (!forest_is(f, &f->plan, why)) {
		fail_msg("%s", why);
	}
	forest_check_clusters(f);
}

static void check(struct forest *f)
{
	must_be(f);
	forest_detach(f);
	assert_string_equal(f->err.text, "");
	forest_attach(f);
	must_be(f);
}

static void remove_image(struct forest *f, uint32_t image)
{
	char name[32];

	snprintf(name, sizeof(name), "image%u", image);
	harness_remove(&f->h, xbdev_device_find(f->h.ctx, name));
}

static bool is_there(struct forest *f, const char *name)
{
	return forest_volume(f, name) != NULL;
}

/* It is there again, with the volumes on it; whoever has written to it meanwhile was waited for. */
static void return_image(struct forest *f, const char *volume)
{
	forest_make_image(f, 0);
	harness_wait(&f->h, forest_volume(f, volume) != NULL);
}

/* There, and not just going. */
static bool is_ready(struct forest *f, const char *name)
{
	const struct xbdev_lvol *volume = forest_volume(f, name);

	return volume != NULL && atomic_load(&volume->dev.state) == XBDEV_DEVICE_READY;
}

/* Nobody holds it: it can be opened to be written. */
static bool is_free(struct forest *f, const char *device)
{
	struct xbdev_desc *desc;
	struct xu_error err;
	int rc = xbdev_desc_open(f->h.ctx, device, true, NULL, NULL, &desc, &err);

	if (rc == 0) {
		xbdev_desc_close(desc);
	} else {
		assert_int_equal(rc, -EBUSY);
		assert_non_null(strstr(err.text, "clones of it"));
	}
	return rc == 0;
}

static struct xbdev_lvol_info info_of(struct forest *f, const char *name)
{
	struct xbdev_lvol *volume = NULL;
	struct xbdev_lvol_info info = {0};

	while ((volume = xbdev__lvol_next(f->store, volume)) != NULL) {
		xbdev__lvol_info(volume, &info);
		if (strcmp(info.name, name) == 0) {
			return info;
		}
	}
	fail_msg("there is no %s", name);
	return info;
}

/* ---- what SPDK made ---- */

static void sha256_of(struct forest *f, const char *name, char text[LVOL_SHA256_TEXT])
{
	struct xbdev_device *dev = xbdev_device_find(f->h.ctx, name);
	uint64_t size = xbdev_device_size_bytes(dev);
	struct xbdev_desc *desc = harness_open(&f->h, name, false);
	struct xbdev_channel *ch = harness_channel(&f->h, desc, 0);
	struct digest *digest = digest_new();
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	assert_int_equal(harness_io(&f->h, ch, XBDEV_OP_READ, 0, bytes, size, 0), 0);
	harness_put(&f->h, ch);
	xbdev_desc_close(desc);
	digest_add(digest, bytes, size);
	digest_end(digest, text);
	free(bytes);
}

static void must_read(struct forest *f, const struct lvol_fixture *image, const char *name)
{
	char full[100], sum[LVOL_SHA256_TEXT];

	snprintf(full, sizeof(full), "esnap/%s", name);
	sha256_of(f, full, sum);
	assert_string_equal(sum, lvol_fixture_text(lvol_fixture_volume(image, name), "sha256"));
}

static void make_base(struct forest *f, const char *path, const char *uuid)
{
	harness_create(&f->h, "file",
		"{'name':'base','filename':'%s','block_size':512,'uuid':'%s'}", path, uuid);
	harness_poll_times(&f->h, 30);
}

static void check_image(struct forest *f, const struct lvol_fixture *image)
{
	must_read(f, image, "ec");
	must_read(f, image, "ecs");
	must_read(f, image, "plain");
}

/* Before its store, behind it, gone and back. */
static void test_esnap_reads_as_spdk_read_it(void **state)
{
	struct lvol_fixture image;
	struct forest f = {0};
	char path[300], command[700];
	const char *uuid;
	json_t *base;

	(void)state;
	lvol_fixture_open(&image, "esnap-512-64k");
	base = json_object_get(image.json, "external_snapshot");
	uuid = lvol_fixture_text(base, "uuid");
	snprintf(path, sizeof(path), "%s/esnap.base", harness_dir());
	snprintf(command, sizeof(command), "zstd -dcq '%s/%s' > '%s'", LVOL_FIXTURE_DIR,
		lvol_fixture_text(base, "file"), path);
	assert_int_equal(system(command), 0);
	harness_start(&f.h, 1, 1);
	harness_create(
		&f.h, "file", "{'name':'disk','filename':'%s','block_size':512}", image.path);

	forest_attach(&f);
	must_read(&f, &image, "plain");
	assert_null(xbdev_device_find(f.h.ctx, "esnap/ec"));
	assert_non_null(strstr(info_of(&f, "ec").reason, uuid));
	assert_string_equal(info_of(&f, "ecs").esnap, uuid);
	assert_null(info_of(&f, "ecs").esnap_device);
	assert_null(info_of(&f, "plain").reason);
	make_base(&f, path, uuid);
	check_image(&f, &image);
	assert_string_equal(info_of(&f, "ecs").esnap_device, "base");
	assert_null(info_of(&f, "ec").reason);
	assert_false(is_free(&f, "base"));

	harness_remove(&f.h, xbdev_device_find(f.h.ctx, "base"));
	assert_null(xbdev_device_find(f.h.ctx, "esnap/ec"));
	assert_null(xbdev_device_find(f.h.ctx, "esnap/ecs"));
	assert_non_null(info_of(&f, "ec").reason);
	must_read(&f, &image, "plain");
	make_base(&f, path, uuid);
	check_image(&f, &image);

	forest_detach(&f);
	assert_string_equal(f.err.text, "");
	assert_true(is_free(&f, "base"));
	forest_attach(&f);
	check_image(&f, &image);
	forest_stop(&f);
	lvol_fixture_close(&image);
	remove(path);
}

/* ---- operations ---- */

static void test_esnap_a_clone_has_what_the_device_has(void **state)
{
	struct forest f;
	struct thing *v;

	(void)state;
	forest_start(&f, 160, 1);
	v = add_clone(&f, 0, "v");
	assert_int_equal(info_of(&f, "v").nr_allocated, 0);
	assert_string_equal(info_of(&f, "v").esnap, IMAGE0);
	assert_false(is_free(&f, "image0"));
	check(&f);
	forest_soil(&f);
	write_at(&f, v, 2 * C + 512, 1024); /* the rest of the cluster is copied */
	write_at(&f, v, 4 * C - 512, 2 * C);
	assert_int_equal(info_of(&f, "v").nr_allocated, 4);
	check(&f);
	resize(&f, v, 20 * C); /* beyond the device there are zeroes */
	write_at(&f, v, 9 * C - 512, 1024);
	write_at(&f, v, 15 * C + 512, 512);
	check(&f);
	resize(&f, v, 4 * C); /* and where it has been smaller once */
	resize(&f, v, 12 * C);
	check(&f);
	forest_stop(&f);
}

static void test_esnap_a_chain_ends_on_the_device(void **state)
{
	struct forest f;
	struct thing *v;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 2);
	v = add_clone(&f, 0, "v");
	write_at(&f, v, C, C);
	snapshot(&f, v, "s1");
	write_at(&f, v, 3 * C + 1024, 512);
	snapshot(&f, v, "s2");
	nr = f.nr_done;
	xbdev__lvol_clone(forest_volume(&f, "s1"), "w", NULL, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	forest_add(&f.plan, "w", forest_thing(&f.plan, "s1")->bytes, 9 * C);
	write_at(&f, forest_thing(&f.plan, "w"), 5 * C + 512, 512);
	check(&f);
	remove_image(&f, 0);
	assert_false(is_there(&f, "v") || is_there(&f, "w") || is_there(&f, "s1"));
	return_image(&f, "v");
	check(&f);
	delete (&f, "s2");
	delete (&f, "w");
	delete (&f, "s1"); /* v stands on the device itself then */
	assert_string_equal(info_of(&f, "v").esnap, IMAGE0);
	check(&f);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "v"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	assert_null(info_of(&f, "v").esnap);
	assert_int_equal(info_of(&f, "v").nr_allocated, 9);
	assert_true(is_free(&f, "image0"));
	check(&f);
	remove_image(&f, 0);
	check(&f);
	forest_stop(&f);
}

static void test_esnap_the_last_clone_frees_the_device(void **state)
{
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 3);
	for (uint32_t i = 0; i < 20; i++) { /* the old one is still going when the new one comes */
		add_clone(&f, 0, "v");
		assert_false(is_free(&f, "image0"));
		delete (&f, "v");
	}
	assert_true(is_free(&f, "image0"));
	add_clone(&f, 0, "v");
	write_at(&f, forest_thing(&f.plan, "v"), C, 512);
	nr = f.nr_done;
	xbdev__lvol_decouple(forest_volume(&f, "v"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	assert_true(is_free(&f, "image0"));
	check(&f);
	forest_stop(&f);
}

static void test_esnap_another_device_as_parent(void **state)
{
	struct xbdev_lvol_create_opts opts = {.name = "t", .size = 7 * C, .is_thin = true};
	struct forest f;
	struct thing *t;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 4);
	nr = f.nr_done;
	xbdev__lvol_create(f.store, &opts, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	t = forest_add(&f.plan, "t", NULL, 7 * C);
	write_at(&f, t, 2 * C, C);
	assert_int_equal(try_parent(&f, "t", "image1"), 0); /* of four clusters */
	memcpy(t->bytes, f.images[1], 2 * C);
	memcpy(t->bytes + 3 * C, f.images[1] + 3 * C, C);
	check(&f);
	assert_int_equal(try_parent(&f, "t", IMAGE0), 0); /* of nine */
	memcpy(t->bytes, f.images[0], 2 * C);
	memcpy(t->bytes + 3 * C, f.images[0] + 3 * C, 4 * C);
	assert_true(is_free(&f, "image1"));
	check(&f);
	/* A volume whose device is lost is saved by another one with the same content. */
	remove_image(&f, 0);
	assert_false(is_there(&f, "t"));
	harness_create(
		&f.h, "malloc", "{'name':'copy','size':%u,'block_size':512}", FOREST_IMAGE_SIZE);
	nr = f.nr_done;
	xbdev__lvol_set_parent_external(xbdev__lvol_next(f.store, NULL), "copy", forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	memset(t->bytes, 0, 2 * C);
	memset(t->bytes + 3 * C, 0, 4 * C);
	check(&f);
	forest_stop(&f);
}

static struct xbdev_lvol_usage usage;
static uint32_t nr_extents;

static void on_usage(void *arg, const struct xbdev_lvol_usage *of, const struct xu_error *err)
{
	struct forest *f = arg;

	assert_null(err);
	usage = *of;
	f->nr_done++;
}

static void on_diff(
	void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr, const struct xu_error *err)
{
	struct forest *f = arg;

	assert_null(err);
	nr_extents = nr;
	if (nr == 1) {
		assert_int_equal(extents[0].offset, 3 * C);
		assert_int_equal(extents[0].len, C);
	}
	f->nr_done++;
}

/* What lies on the device takes nothing of the store, and two on one device differ where one of
 * them has been written. */
static void test_esnap_usage_and_diff(void **state)
{
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 12);
	add_clone(&f, 0, "v");
	add_clone(&f, 0, "w");
	add_clone(&f, 1, "x");
	write_at(&f, forest_thing(&f.plan, "v"), 3 * C, 512);
	nr = f.nr_done;
	xbdev__lvol_usage(forest_volume(&f, "v"), on_usage, &f);
	harness_wait(&f.h, f.nr_done > nr);
	assert_int_equal(usage.exclusive, C);
	assert_int_equal(usage.shared, 0);
	nr = f.nr_done;
	xbdev__lvol_diff(forest_volume(&f, "v"), forest_volume(&f, "w"), on_diff, &f);
	harness_wait(&f.h, f.nr_done > nr);
	assert_int_equal(nr_extents, 1);
	nr = f.nr_done;
	xbdev__lvol_diff(forest_volume(&f, "w"), forest_volume(&f, "w"), on_diff, &f);
	harness_wait(&f.h, f.nr_done > nr);
	assert_int_equal(nr_extents, 0);
	forest_stop(&f);
}

/* ---- the device ---- */

struct opener {
	struct harness_io hio;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	uint8_t *buf;
	bool is_told;
};

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct opener *o = arg;

	o->is_told = event == XBDEV_EVENT_REMOVE;
}

static void on_io(struct xbdev_io *io, int status)
{
	struct harness_io *hio = xu_container_of(io, struct harness_io, io);

	hio->status = status;
	hio->nr_done++;
}

static void begin_io(struct forest *f, struct opener *o, enum xbdev_op op, uint64_t offset)
{
	struct xu_error err;

	*o = (struct opener){.buf = calloc(1, 512)};
	assert_non_null(o->buf);
	assert_int_equal(
		xbdev_desc_open(f->h.ctx, "pool/slow", true, on_event, o, &o->desc, &err), 0);
	o->ch = harness_channel(&f->h, o->desc, 0);
	harness_io_set(&o->hio, o->ch, op, offset, o->buf, 512);
	o->hio.io.cb = on_io;
	assert_int_equal(xbdev_io_submit(&o->hio.io), 0);
}

static void end_io(struct forest *f, struct opener *o)
{
	harness_wait(&f->h, o->hio.nr_done == 1 && o->is_told);
	assert_int_equal(o->hio.status, -ENODEV);
	harness_put(&f->h, o->ch);
	xbdev_desc_close(o->desc);
	free(o->buf);
}

/* A read, a write that copies a cluster, and an operation that copies all. */
static void test_esnap_the_device_goes_under_io(void **state)
{
	struct opener reader, writer;
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 5);
	harness_create(&f.h, "delay",
		"{'name':'slow','base':'image0','avg_read_latency_us':200000,'uuid':"
		"'00000000-0000-4000-8000-0000000000aa'}");
	assert_int_equal(try_clone(&f, "slow", "slow"), 0);
	begin_io(&f, &reader, XBDEV_OP_READ, 0);
	begin_io(&f, &writer, XBDEV_OP_WRITE, 2 * C);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "slow"), forest_done, &f);
	harness_poll_times(&f.h, 20);
	assert_int_equal(f.nr_done, nr);
	assert_int_equal(reader.hio.nr_done + writer.hio.nr_done, 0);
	assert_int_equal(xbdev_device_remove(xbdev_device_find(f.h.ctx, "slow"), NULL, NULL), 0);
	end_io(&f, &reader);
	end_io(&f, &writer);
	assert_int_equal(forest_wait(&f, nr), -ENODEV);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "slow") == NULL);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "pool/slow") == NULL);
	forest_check_clusters(&f);
	assert_int_equal(info_of(&f, "slow").nr_allocated, 0);
	assert_non_null(strstr(info_of(&f, "slow").reason, "0000000000aa"));

	harness_create(&f.h, "delay",
		"{'name':'quick','base':'image0','uuid':'00000000-0000-4000-8000-0000000000aa'}");
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "pool/slow") != NULL);
	forest_add(&f.plan, "slow", f.images[0], FOREST_IMAGE_SIZE);
	write_at(&f, &f.plan.things[0], C + 512, 512);
	must_be(&f);
	forest_stop(&f);
}

static void test_esnap_the_device_fails(void **state)
{
	const struct xbdev_error_rule rule = {.ops_mask = 1u << XBDEV_OP_READ,
		.kind = XBDEV_ERROR_FAIL,
		.offset = 2 * C,
		.len = 512};
	struct xbdev_device *bad;
	struct xu_error err = {0};
	uint8_t bytes[512] = {0};
	struct forest f;
	struct thing *v;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 6);
	bad = harness_create(&f.h, "error", "{'name':'bad','base':'image0'}");
	assert_int_equal(try_clone(&f, "bad", "v"), 0);
	v = forest_add(&f.plan, "v", f.images[0], FOREST_IMAGE_SIZE);
	assert_int_equal(xbdev_error_inject(bad, &rule, NULL, NULL, &err), 0);
	harness_poll_times(&f.h, 10);
	assert_int_equal(forest_io(&f, "v", XBDEV_OP_READ, 2 * C, bytes, 512), -EIO);
	assert_int_equal(forest_io(&f, "v", XBDEV_OP_WRITE, 2 * C + 1024, bytes, 512), -EIO);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "v"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), -EIO);
	forest_check_clusters(&f);
	write_at(&f, v, C, C);
	write_at(&f, v, 2 * C, C); /* all of it: nothing is read */
	must_be(&f);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "v"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	must_be(&f);
	forest_stop(&f);
}

/* The device comes back smaller, with an end amid a cluster. */
static void test_esnap_a_device_that_ends_amid_a_cluster(void **state)
{
	const uint64_t end = 6 * C + 3 * 512;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct forest f;
	struct thing *v;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 7);
	v = add_clone(&f, 0, "v");
	remove_image(&f, 0);
	harness_create(&f.h, "malloc",
		"{'name':'less','size':%llu,'block_size':512,'uuid':'" IMAGE0 "'}",
		(unsigned long long)end);
	harness_poll_times(&f.h, 30);
	memset(v->bytes, 0, v->size);
	must_be(&f);
	forest_detach(&f);
	desc = harness_open(&f.h, "less", true);
	ch = harness_channel(&f.h, desc, 0);
	harness_fill(v->bytes, end, 77);
	assert_int_equal(harness_io(&f.h, ch, XBDEV_OP_WRITE, 0, v->bytes, end, 0), 0);
	harness_put(&f.h, ch);
	xbdev_desc_close(desc);
	forest_attach(&f);
	must_be(&f);
	forest_soil(&f);
	write_at(&f, v, 3 * C + 512, 512); /* what a copy has been is not to be seen in the next */
	write_at(&f, v, 6 * C + 512, 512);
	write_at(&f, v, 7 * C + 1024, 512);
	check(&f);
	snapshot(&f, v, "s");
	write_at(&f, v, 6 * C, 512);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "v"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	check(&f);
	/* A new clone is refused, as SPDK would not read the end of it. */
	assert_int_equal(try_clone(&f, "less", "w"), -EINVAL);
	assert_non_null(strstr(f.err.text, "whole clusters"));
	forest_stop(&f);
}

static void test_esnap_the_device_becomes_smaller(void **state)
{
	struct xbdev_device *dev;
	struct opener opener;
	struct forest f;
	struct thing *v;

	(void)state;
	forest_start(&f, 160, 13);
	v = add_clone(&f, 0, "slow");
	dev = xbdev_device_find(f.h.ctx, "image0");
	begin_io(&f, &opener, XBDEV_OP_READ, 0);
	xbdev_device_set_size(dev, (5 * C + 1024) / 512);
	harness_wait(&f.h, opener.is_told && opener.hio.nr_done == 1);
	assert_non_null(strstr(info_of(&f, "slow").reason, "become smaller"));
	harness_put(&f.h, opener.ch);
	xbdev_desc_close(opener.desc);
	free(opener.buf);
	harness_wait(&f.h, info_of(&f, "slow").reason == NULL);
	memset(v->bytes + 5 * C + 1024, 0, 4 * C - 1024);
	must_be(&f);
	write_at(&f, v, 5 * C, 512);
	check(&f);
	xbdev_device_set_size(dev, 9 * C / 512); /* which is not seen before it is opened anew */
	must_be(&f);
	forest_stop(&f);
}

/* Somebody has the volume open when its device goes, and it is put on another one meanwhile. */
static void test_esnap_another_device_while_it_goes(void **state)
{
	struct opener opener;
	struct forest f;

	(void)state;
	forest_start(&f, 160, 14);
	add_clone(&f, 0, "slow");
	begin_io(&f, &opener, XBDEV_OP_READ, 0);
	harness_wait(&f.h, opener.hio.nr_done == 1);
	assert_int_equal(xbdev_device_remove(xbdev_device_find(f.h.ctx, "image0"), NULL, NULL), 0);
	harness_wait(&f.h, opener.is_told);
	assert_int_equal(try_parent(&f, "slow", "image1"), 0);
	harness_put(&f.h, opener.ch);
	xbdev_desc_close(opener.desc);
	free(opener.buf);
	harness_wait(&f.h, info_of(&f, "slow").reason == NULL && is_ready(&f, "slow"));
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "image0") == NULL);
	memset(f.plan.things[0].bytes, 0, 9 * C);
	memcpy(f.plan.things[0].bytes, f.images[1], forest_image_size(1));
	must_be(&f);
	forest_stop(&f);
}

/* A snapshot on a device is filled below a volume, which needs the device no more then. */
static void test_esnap_a_snapshot_is_filled_below_a_volume(void **state)
{
	struct forest f;
	struct thing *v;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 9);
	v = add_clone(&f, 0, "v");
	write_at(&f, v, C, 512);
	snapshot(&f, v, "s");
	write_at(&f, v, 2 * C, 512);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "s"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	must_be(&f);
	remove_image(&f, 0);
	harness_poll_times(&f.h, 30);
	assert_non_null(forest_volume(&f, "v"));
	check(&f);
	forest_stop(&f);
}

static void test_esnap_a_writer_is_waited_for(void **state)
{
	struct xbdev_desc *desc;
	struct forest f;

	(void)state;
	forest_start(&f, 160, 8);
	add_clone(&f, 0, "v");
	remove_image(&f, 0);
	forest_detach(&f);
	forest_make_image(&f, 0);
	desc = harness_open(&f.h, "image0", true);
	assert_int_equal(xbdev_desc_claim(desc, "a test", &f.err), 0);
	forest_attach(&f);
	assert_false(is_there(&f, "v"));
	assert_non_null(strstr(info_of(&f, "v").reason, "a test"));
	xbdev_desc_close(desc);
	harness_wait(&f.h, is_there(&f, "v"));
	must_be(&f);
	desc = harness_open(&f.h, "image0", false); /* readers are welcome */
	xbdev_desc_close(desc);
	/* And a clone is not made while somebody writes. */
	desc = harness_open(&f.h, "image1", true);
	assert_int_equal(try_clone(&f, "image1", "w"), -EBUSY);
	xbdev_desc_close(desc);
	assert_int_equal(try_clone(&f, "image1", "w"), 0);
	forest_stop(&f);
}

/* ---- what a missing device does not keep from being done ---- */

static void test_esnap_without_the_device(void **state)
{
	struct xbdev_lvol *volume = NULL;
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 9);
	write_at(&f, add_clone(&f, 0, "v"), 0, 512);
	snapshot(&f, forest_thing(&f.plan, "v"), "s");
	resize(&f, forest_thing(&f.plan, "v"), 12 * C);
	add_clone(&f, 0, "w");
	remove_image(&f, 0);
	assert_null(xbdev_device_find(f.h.ctx, "pool/v"));
	/* What the device has behind s, which v must not show, is not known. */
	assert_int_equal(try_delete(&f, "s"), -ENODEV);
	delete (&f, "w");
	while ((volume = xbdev__lvol_next(f.store, volume)) != NULL &&
		strcmp(volume->shown.name, "v") != 0) {
	}
	nr = f.nr_done;
	xbdev__lvol_inflate(volume, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), -ENODEV);
	nr = f.nr_done;
	xbdev__lvol_resize(volume, 20 * C, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), -ENODEV);
	nr = f.nr_done;
	xbdev__lvol_rename(volume, "renamed", forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	strcpy(forest_thing(&f.plan, "v")->name, "renamed");
	nr = f.nr_done;
	xbdev__lvol_snapshot(volume, "late", NULL, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	forest_add(&f.plan, "late", forest_thing(&f.plan, "renamed")->bytes, 12 * C)->is_read_only =
		true;
	return_image(&f, "renamed");
	check(&f);
	assert_int_equal(try_delete(&f, "s"), 0);
	forest_remove(&f.plan, forest_thing(&f.plan, "s"));
	check(&f);
	forest_stop(&f);
}

/* ---- what is refused ---- */

static void test_esnap_refusals(void **state)
{
	struct xbdev_lvol_create_opts opts = {.name = "thick", .size = 4 * C};
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 10);
	add_clone(&f, 0, "v");
	snapshot(&f, forest_thing(&f.plan, "v"), "s");
	nr = f.nr_done;
	xbdev__lvol_create(f.store, &opts, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), 0);
	forest_add(&f.plan, "thick", NULL, 4 * C);
	assert_int_equal(try_clone(&f, "nowhere", "w"), -ENODEV);
	assert_int_equal(try_clone(&f, "image0", "v"), -EEXIST);
	assert_int_equal(try_clone(&f, "pool/s", "w"), -EINVAL);
	assert_non_null(strstr(f.err.text, "pool/s"));
	assert_int_equal(try_clone(&f, "disk", "w"), -EBUSY); /* the store has it */
	harness_create(&f.h, "null", "{'name':'coarse','size':%u,'block_size':4096}", 8 * C);
	assert_int_equal(try_clone(&f, "coarse", "w"), -EINVAL);
	assert_non_null(strstr(f.err.text, "blocks of 4096"));
	assert_int_equal(try_parent(&f, "thick", "image0"), -EINVAL);
	assert_int_equal(try_parent(&f, "s", "image1"), -EINVAL); /* v stands on it */
	/* A circle. */
	harness_create(&f.h, "delay", "{'name':'one','base':'pool/v'}");
	harness_create(&f.h, "delay", "{'name':'two','base':'one'}");
	assert_int_equal(try_parent(&f, "v", "two"), -EINVAL);
	assert_non_null(strstr(f.err.text, "lies on"));
	harness_remove(&f.h, xbdev_device_find(f.h.ctx, "two"));
	harness_remove(&f.h, xbdev_device_find(f.h.ctx, "one"));
	harness_poll_times(&f.h, 30);
	check(&f);
	forest_stop(&f);
}

/* ---- two stores ---- */

static void on_done(void *arg, const struct xu_error *err)
{
	struct forest *f = arg;

	f->err = err != NULL ? *err : (struct xu_error){0};
	f->nr_done++;
}

static void make_second(struct forest *f)
{
	const struct xbdev_lvs_create_opts opts = {.name = "second", .cluster_size = 2 * C};
	uint32_t nr = f->nr_done;

	harness_create(&f->h, "malloc", "{'name':'disk2','size':%u,'block_size':512}", 200 * C);
	xbdev__lvol_store_create(f->h.ctx, "disk2", &opts, on_done, f);
	harness_wait(&f->h, f->nr_done > nr);
	assert_string_equal(f->err.text, "");
}

static int try_clone_in(
	struct forest *f, const char *store_name, const char *device, const char *name)
{
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(f->h.ctx, store_name);
	uint32_t nr = f->nr_done;

	assert_non_null(store);
	xbdev__lvol_clone_external(store, device, name, NULL, on_done, f);
	harness_wait(&f->h, f->nr_done > nr);
	return f->err.code;
}

static void test_esnap_two_stores(void **state)
{
	char sum[LVOL_SHA256_TEXT], other[LVOL_SHA256_TEXT];
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, 11);
	make_second(&f);
	add_clone(&f, 1, "v");
	assert_int_equal(try_clone_in(&f, "second", "image1", "v"), 0);
	sha256_of(&f, "pool/v", sum);
	sha256_of(&f, "second/v", other);
	assert_string_equal(sum, other);
	delete (&f, "v");
	harness_poll_times(&f.h, 30);
	assert_false(is_free(&f, "image1")); /* for the other store */

	/* A volume of the one store under one of the other: not to be changed while it is. */
	add_clone(&f, 0, "u");
	write_at(&f, forest_thing(&f.plan, "u"), C, 512);
	assert_int_equal(try_clone_in(&f, "second", "pool/u", "on-u"), -EINVAL); /* nine clusters */
	resize(&f, forest_thing(&f.plan, "u"), 10 * C);
	assert_int_equal(try_clone_in(&f, "second", "pool/u", "on-u"), 0);
	sha256_of(&f, "pool/u", sum);
	sha256_of(&f, "second/on-u", other);
	assert_string_equal(sum, other);
	nr = f.nr_done;
	xbdev__lvol_resize(forest_volume(&f, "u"), 2 * C, forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), -EBUSY);
	assert_int_equal(try_parent(&f, "u", "image1"), -EINVAL);
	assert_int_equal(try_delete(&f, "u"), -EBUSY);
	nr = f.nr_done;
	xbdev__lvol_set_parent_external(
		xbdev__lvol_find(f.h.ctx, "second/on-u"), "pool/u", on_done, &f);
	harness_wait(&f.h, f.nr_done > nr);
	assert_int_equal(f.err.code, 0);

	/* With its store the volume goes, and what stands on it in the other; and they come back.
	 */
	forest_detach(&f);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "second/on-u") == NULL);
	assert_non_null(xbdev_device_find(f.h.ctx, "second/v"));
	forest_attach(&f);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "second/on-u") != NULL);
	sha256_of(&f, "second/on-u", other);
	assert_string_equal(sum, other);

	/* Everything goes: whatever the order, both stores are clean behind it. */
	xbdev_device_remove_all(f.h.ctx);
	harness_wait(&f.h, xbdev_device_next(f.h.ctx, NULL) == NULL);
	f.store = NULL;
	forest_stop(&f);
}

/* ---- threads ---- */

#define SIDE 8u

static void make_threaded(struct forest *f)
{
	const struct xbdev_lvs_create_opts opts = {.name = "pool", .cluster_size = C};
	uint32_t nr = 0;

	memset(f, 0, sizeof(*f));
	harness_start(&f->h, 3, 1);
	harness_create(&f->h, "null", "{'name':'none','size':%u,'block_size':512}", C);
	harness_create(&f->h, "malloc", "{'name':'disk','size':%u,'block_size':512}", 400 * C);
	xbdev__lvol_store_create(f->h.ctx, "disk", &opts, on_done, f);
	harness_wait(&f->h, f->nr_done > nr);
	assert_string_equal(f->err.text, "");
	f->store = xbdev__lvol_store_find(f->h.ctx, "pool");
}

/* Each time another thread has it. */
static void make_threaded_image(struct forest *f)
{
	harness_create(&f->h, "malloc",
		"{'name':'image','size':%u,'block_size':512,'uuid':'" IMAGE0 "'}", 16 * C);
}

/* The device goes at any moment of reads, of writes that copy, and of an inflation on other
 * threads.
 */
static void test_esnap_goes_under_threads(void **state)
{
	struct opener openers[SIDE];
	struct forest f;
	uint32_t nr;

	(void)state;
	make_threaded(&f);
	make_threaded_image(&f);
	assert_int_equal(try_clone(&f, "image", "slow"), 0);
	for (uint32_t round = 0; round < 40; round++) {
		harness_wait(&f.h, is_ready(&f, "slow"));
		for (uint32_t i = 0; i < SIDE; i++) {
			begin_io(&f, &openers[i], i % 2 == 0 ? XBDEV_OP_READ : XBDEV_OP_WRITE,
				(round * SIDE + i) % 32 * C / 2);
		}
		nr = f.nr_done;
		if (round % 4 == 3) {
			xbdev__lvol_decouple(forest_volume(&f, "slow"), forest_done, &f);
		}
		harness_poll_times(&f.h, round % 8);
		assert_int_equal(
			xbdev_device_remove(xbdev_device_find(f.h.ctx, "image"), NULL, NULL), 0);
		for (uint32_t i = 0; i < SIDE; i++) {
			struct opener *o = &openers[i];

			harness_wait(&f.h, o->hio.nr_done == 1);
			assert_true(o->hio.status == 0 || o->hio.status == -ENODEV);
		}
		if (round % 4 == 3) {
			(void)forest_wait(&f, nr); /* it may have been in time */
		}
		for (uint32_t i = 0; i < SIDE; i++) {
			harness_put(&f.h, openers[i].ch);
			xbdev_desc_close(openers[i].desc);
			free(openers[i].buf);
		}
		harness_wait(&f.h, xbdev_device_find(f.h.ctx, "image") == NULL);
		if (info_of(&f, "slow").esnap == NULL) {
			harness_wait(&f.h, is_ready(&f, "slow")); /* it needs the device no more */
		}
		make_threaded_image(&f);
		if (info_of(&f, "slow").esnap == NULL) {
			assert_int_equal(try_parent(&f, "slow", "image"), 0);
		}
	}
	forest_detach(&f);
	assert_string_equal(f.err.text, "");
	harness_stop(&f.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_esnap_reads_as_spdk_read_it),
		cmocka_unit_test(test_esnap_a_clone_has_what_the_device_has),
		cmocka_unit_test(test_esnap_a_chain_ends_on_the_device),
		cmocka_unit_test(test_esnap_the_last_clone_frees_the_device),
		cmocka_unit_test(test_esnap_another_device_as_parent),
		cmocka_unit_test(test_esnap_usage_and_diff),
		cmocka_unit_test(test_esnap_the_device_goes_under_io),
		cmocka_unit_test(test_esnap_the_device_fails),
		cmocka_unit_test(test_esnap_a_device_that_ends_amid_a_cluster),
		cmocka_unit_test(test_esnap_the_device_becomes_smaller),
		cmocka_unit_test(test_esnap_another_device_while_it_goes),
		cmocka_unit_test(test_esnap_a_snapshot_is_filled_below_a_volume),
		cmocka_unit_test(test_esnap_a_writer_is_waited_for),
		cmocka_unit_test(test_esnap_without_the_device),
		cmocka_unit_test(test_esnap_refusals),
		cmocka_unit_test(test_esnap_two_stores),
		cmocka_unit_test(test_esnap_goes_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

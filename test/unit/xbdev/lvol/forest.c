/* SPDX-License-Identifier: BSD-3-Clause */
/* See forest.h. */
#include "test/unit/xbdev/lvol/forest.h"

#include "lib/xbdev/lvol/attach.h"
#include "lib/xbdev/lvol/create.h"

/* ---- the store ---- */

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct forest *f = arg;

	f->store = store;
	f->err = err != NULL ? *err : (struct xu_error){0};
	f->nr_done++;
}

void forest_attach(struct forest *f)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_attach(f->h.ctx, "disk", false, on_attached, f);
	harness_wait(&f->h, f->nr_done > nr);
	assert_string_equal(f->err.text, "");
	assert_non_null(f->store);
}

static void on_detached(void *arg, const struct xu_error *err)
{
	struct forest *f = arg;

	f->err = err != NULL ? *err : (struct xu_error){0};
	f->nr_done++;
}

void forest_detach(struct forest *f)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_detach(f->store, on_detached, f);
	harness_wait(&f->h, f->nr_done > nr);
	f->store = NULL;
}

struct making {
	struct xbdev_lvs *lvs;
	bool is_done;
};

static void on_made(void *arg, struct xbdev_lvs *lvs, const struct xu_error *err)
{
	struct making *making = arg;

	assert_string_equal(err->text, "");
	making->lvs = lvs;
	making->is_done = true;
}

static void make_store(struct forest *f)
{
	const struct xbdev_lvs_create_opts opts = {
		.name = "pool", .uuid = {{1, 2, 3}}, .cluster_size = FOREST_CLUSTER};
	struct xbdev_desc *desc = harness_open(&f->h, "disk", true);
	struct xbdev_channel *ch = harness_channel(&f->h, desc, 0);
	struct making making = {0};

	xbdev__lvs_create(ch, "disk", &opts, on_made, &making);
	harness_wait(&f->h, making.is_done);
	xbdev__lvs_free(making.lvs);
	harness_put(&f->h, ch);
	xbdev_desc_close(desc);
}

uint64_t forest_image_size(uint32_t index)
{
	return FOREST_IMAGE_SIZE - (uint64_t)index * 5 * FOREST_CLUSTER;
}

void forest_make_image(struct forest *f, uint32_t index)
{
	uint64_t size = forest_image_size(index);
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char name[32];

	snprintf(name, sizeof(name), "image%u", index);
	harness_create(&f->h, "malloc",
		"{'name':'%s','size':%llu,'block_size':512,"
		"'uuid':'00000000-0000-4000-8000-00000000000%u'}",
		name, (unsigned long long)size, index);
	free(f->images[index]);
	f->images[index] = malloc(size);
	assert_non_null(f->images[index]);
	harness_fill(f->images[index], size, 900 + index);
	desc = harness_open(&f->h, name, true);
	ch = harness_channel(&f->h, desc, 0);
	assert_int_equal(harness_io(&f->h, ch, XBDEV_OP_WRITE, 0, f->images[index], size, 0), 0);
	harness_put(&f->h, ch);
	xbdev_desc_close(desc);
}

void forest_make_images(struct forest *f)
{
	for (uint32_t i = 0; i < FOREST_IMAGES; i++) {
		forest_make_image(f, i);
	}
}

void forest_start(struct forest *f, uint32_t nr_clusters, uint64_t seed)
{
	memset(f, 0, sizeof(*f));
	xu_random_seed(&f->random, seed);
	harness_start(&f->h, 1, 1);
	f->disk = lvol_disk_new(
		&f->h, "disk", NULL, (uint64_t)nr_clusters * FOREST_CLUSTER, FOREST_BLOCK);
	make_store(f);
	forest_make_images(f);
	forest_attach(f);
}

void forest_open(struct forest *f, const uint8_t *content, uint64_t size)
{
	memset(f, 0, sizeof(*f));
	harness_start(&f->h, 1, 1);
	f->disk = lvol_disk_new(&f->h, "disk", content, size, FOREST_BLOCK);
	lvol_disk_begin(f->disk);
	forest_make_images(f);
	forest_attach(f);
}

void forest_stop(struct forest *f)
{
	if (f->store != NULL) {
		forest_detach(f);
	}
	forest_free(&f->plan);
	harness_stop(&f->h);
	for (uint32_t i = 0; i < FOREST_IMAGES; i++) {
		free(f->images[i]);
		f->images[i] = NULL;
	}
}

void forest_done(void *arg, const struct xu_error *err)
{
	struct forest *f = arg;

	f->err = *err;
	assert_int_equal(err->code == 0, err->text[0] == '\0');
	f->nr_done++;
}

int forest_wait(struct forest *f, uint32_t nr_done_before)
{
	harness_wait(&f->h, f->nr_done > nr_done_before);
	assert_int_equal(f->nr_done, nr_done_before + 1);
	return f->err.code;
}

struct xbdev_lvol *forest_volume(struct forest *f, const char *name)
{
	char full[XBDEV_NAME_SIZE];

	snprintf(full, sizeof(full), "pool/%s", name);
	return xbdev__lvol_find(f->h.ctx, full);
}

void forest_check_clusters(struct forest *f)
{
	const struct xbdev_lvs *lvs = f->store->lvs;
	uint8_t *seen = calloc(1, lvs->super.nr_clusters);
	uint64_t nr = lvs->super.nr_md_clusters;

	assert_non_null(seen);
	for (uint32_t i = 0; i < lvs->nr_blobs; i++) {
		const struct xbdev_lvs_map *map = &lvs->blobs[i]->map;

		for (uint32_t k = xbdev__lvs_map_next(map, 0); k < map->nr_clusters;
			k = xbdev__lvs_map_next(map, k + 1)) {
			uint32_t cluster = xbdev__lvs_map_get(map, k);

			assert_true(xbdev__lvs_bits_test(&lvs->clusters, cluster));
			assert_int_equal(seen[cluster]++, 0);
			nr++;
		}
	}
	assert_int_equal(lvs->clusters.nr_set, nr);
	free(seen);
}

void forest_soil(struct forest *f)
{
	const struct xbdev_lvs *lvs = f->store->lvs;

	for (uint32_t i = lvs->super.nr_md_clusters; i < lvs->super.nr_clusters; i++) {
		if (!xbdev__lvs_bits_test(&lvs->clusters, i)) {
			lvol_disk_fill(f->disk, xbdev__lvs_cluster_at(lvs, i), 0xa5,
				lvs->super.cluster_size);
		}
	}
}

/* ---- plans ---- */

struct thing *forest_thing(struct plan *plan, const char *name)
{
	for (uint32_t i = 0; i < plan->nr; i++) {
		if (strcmp(plan->things[i].name, name) == 0) {
			return &plan->things[i];
		}
	}
	return NULL;
}

struct thing *forest_add(struct plan *plan, const char *name, const uint8_t *bytes, uint64_t size)
{
	struct thing *thing = &plan->things[plan->nr++];

	assert_true(plan->nr <= FOREST_MAX);
	*thing = (struct thing){.size = size, .bytes = calloc(1, size + 1)};
	assert_non_null(thing->bytes);
	if (bytes != NULL) {
		memcpy(thing->bytes, bytes, size);
	}
	snprintf(thing->name, sizeof(thing->name), "%s", name);
	return thing;
}

void forest_remove(struct plan *plan, struct thing *thing)
{
	free(thing->bytes);
	*thing = plan->things[--plan->nr];
}

void forest_copy(struct plan *to, const struct plan *from)
{
	to->nr = 0;
	for (uint32_t i = 0; i < from->nr; i++) {
		const struct thing *thing = &from->things[i];
		struct thing *copy = forest_add(to, thing->name, thing->bytes, thing->size);

		copy->is_read_only = thing->is_read_only;
		memcpy(copy->origin, thing->origin, sizeof(copy->origin));
	}
}

void forest_free(struct plan *plan)
{
	while (plan->nr > 0) {
		free(plan->things[--plan->nr].bytes);
	}
}

int forest_io(struct forest *f, const char *name, enum xbdev_op op, uint64_t offset, void *bytes,
	uint64_t len)
{
	char full[XBDEV_NAME_SIZE];
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	int rc;

	snprintf(full, sizeof(full), "pool/%s", name);
	desc = harness_open(&f->h, full, op != XBDEV_OP_READ);
	ch = harness_channel(&f->h, desc, 0);
	rc = harness_io(&f->h, ch, op, offset, bytes, len, 0);
	harness_put(&f->h, ch);
	xbdev_desc_close(desc);
	return rc;
}

static bool reads_as(struct forest *f, const struct thing *thing, char why[200])
{
	struct xbdev_lvol *volume = forest_volume(f, thing->name);
	uint8_t *bytes = malloc(thing->size + 1);
	bool is_so = true;

	assert_non_null(bytes);
	if (volume == NULL || xbdev_device_size_bytes(&volume->dev) != thing->size ||
		(volume->dev.is_read_only != thing->is_read_only &&
			f->store->lvs->read_only_reason.code == 0)) {
		snprintf(why, 200, "'%s' is not there, or not of that kind", thing->name);
		is_so = false;
	} else if (thing->size > 0) {
		assert_int_equal(
			forest_io(f, thing->name, XBDEV_OP_READ, 0, bytes, thing->size), 0);
		is_so = memcmp(bytes, thing->bytes, thing->size) == 0;
		for (uint64_t i = 0; !is_so && i < thing->size; i++) {
			if (bytes[i] != thing->bytes[i]) {
				snprintf(why, 200, "'%s' is wrong at %llu: %02x, not %02x",
					thing->name, (unsigned long long)i, bytes[i],
					thing->bytes[i]);
				break;
			}
		}
	}
	free(bytes);
	return is_so;
}

bool forest_is(struct forest *f, const struct plan *plan, char why[200])
{
	struct xbdev_lvol *volume = NULL;
	uint32_t nr = 0;

	while ((volume = xbdev__lvol_next(f->store, volume)) != NULL) {
		nr += !volume->shown.is_hidden;
	}
	if (nr != plan->nr) {
		snprintf(why, 200, "there are %u volumes, not %u", nr, plan->nr);
		return false;
	}
	for (uint32_t i = 0; i < plan->nr; i++) {
		if (!reads_as(f, &plan->things[i], why)) {
			return false;
		}
	}
	return true;
}

/* ---- steps ---- */

static uint64_t below(struct forest *f, uint64_t bound)
{
	return xu_random_below(&f->random, bound);
}

/* An operation has failed: for want of space, or because the disk does. */
static void must_be_full(const struct forest *f)
{
	bool is_fault = f->is_faulty && (f->err.code == -EIO || f->err.code == -EROFS);

	if (f->err.code != -ENOSPC && !is_fault) {
		fail_msg("%s", f->err.text);
	}
}

static struct thing *pick(struct forest *f, bool is_read_only)
{
	uint32_t start = (uint32_t)below(f, FOREST_MAX);

	for (uint32_t i = 0; i < f->plan.nr; i++) {
		struct thing *thing = &f->plan.things[(start + i) % f->plan.nr];

		if (thing->is_read_only == is_read_only) {
			return thing;
		}
	}
	return NULL;
}

static const char *new_name(struct forest *f, char name[64])
{
	snprintf(name, 64, "v%u", ++f->nr_named);
	return name;
}

static void step_create(struct forest *f)
{
	char name[64];
	struct xbdev_lvol_create_opts opts = {.name = new_name(f, name),
		.size = below(f, 8) * FOREST_CLUSTER + 1 + below(f, 2) * 1000,
		.is_thin = below(f, 3) != 0,
		.clear = below(f, 4)};
	uint32_t nr = f->nr_done;

	xbdev__lvol_create(f->store, &opts, forest_done, f);
	if (forest_wait(f, nr) == 0) {
		forest_add(&f->plan, name, NULL,
			(opts.size + FOREST_CLUSTER - 1) / FOREST_CLUSTER * FOREST_CLUSTER);
	} else {
		must_be_full(f);
	}
}

static void step_io(struct forest *f)
{
	static const enum xbdev_op ops[] = {
		XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE_ZEROES, XBDEV_OP_DISCARD};
	struct thing *thing = pick(f, false);
	enum xbdev_op op = ops[below(f, ARRAY_SIZE(ops))];
	uint64_t offset, len, blocks;
	uint8_t *bytes;
	int rc;

	if (thing == NULL || thing->size == 0) {
		return;
	}
	blocks = thing->size / FOREST_BLOCK;
	offset = below(f, blocks) * FOREST_BLOCK;
	len = (1 + below(f, below(f, 2) == 0 ? 4 : 60)) * FOREST_BLOCK;
	len = len < thing->size - offset ? len : thing->size - offset;
	bytes = calloc(1, len);
	assert_non_null(bytes);
	if (op == XBDEV_OP_WRITE) {
		harness_fill(bytes, len, f->random.s[0]);
	}
	rc = forest_io(f, thing->name, op, offset, op == XBDEV_OP_WRITE ? bytes : NULL, len);
	if (rc == 0) {
		memcpy(thing->bytes + offset, bytes, len);
	} else {
		/* Out of space: it may have been done in part where there were clusters. */
		f->err.code = rc;
		must_be_full(f);
		assert_int_equal(forest_io(f, thing->name, XBDEV_OP_READ, offset,
					 thing->bytes + offset, len),
			0);
	}
	free(bytes);
}

static void step_snapshot(struct forest *f)
{
	struct thing *thing = pick(f, false), *made;
	uint32_t nr = f->nr_done;
	char name[64];

	if (thing == NULL || f->plan.nr == FOREST_MAX) {
		return;
	}
	xbdev__lvol_snapshot(
		forest_volume(f, thing->name), new_name(f, name), NULL, forest_done, f);
	if (forest_wait(f, nr) == 0) {
		made = forest_add(&f->plan, name, thing->bytes, thing->size);
		made->is_read_only = true;
		strcpy(made->origin, thing->name);
	} else {
		must_be_full(f);
	}
}

static void step_clone(struct forest *f)
{
	struct thing *thing = pick(f, true);
	uint32_t nr = f->nr_done;
	char name[64];

	if (thing == NULL || f->plan.nr == FOREST_MAX) {
		return;
	}
	xbdev__lvol_clone(forest_volume(f, thing->name), new_name(f, name), NULL, forest_done, f);
	if (forest_wait(f, nr) == 0) {
		forest_add(&f->plan, name, thing->bytes, thing->size);
	} else {
		must_be_full(f);
	}
}

static void step_clone_external(struct forest *f)
{
	uint32_t nr = f->nr_done, image = (uint32_t)below(f, FOREST_IMAGES);
	char name[64], device[32];

	if (f->plan.nr == FOREST_MAX) {
		return;
	}
	snprintf(device, sizeof(device), "image%u", image);
	xbdev__lvol_clone_external(f->store, device, new_name(f, name), NULL, forest_done, f);
	if (forest_wait(f, nr) == 0) {
		forest_add(&f->plan, name, f->images[image], forest_image_size(image));
	} else {
		must_be_full(f);
	}
}

/* The device in which the content lies from now on: made of a file, it has that from the start. */
static void image_from_file(struct forest *f, uint32_t index)
{
	char path[300];
	FILE *file;

	snprintf(path, sizeof(path), "%s/image%u", harness_dir(), index);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(f->images[index], 1, forest_image_size(index), file),
		forest_image_size(index));
	assert_int_equal(fclose(file), 0);
	harness_create(&f->h, "file",
		"{'name':'image%u','filename':'%s','block_size':512,"
		"'uuid':'00000000-0000-4000-8000-00000000000%u'}",
		index, path, index);
	assert_int_equal(remove(path), 0); /* another forest has one of its own */
}

/* A device goes, with the volumes on it, and all come back. */
static void step_image_goes(struct forest *f)
{
	uint32_t image = (uint32_t)below(f, FOREST_IMAGES);
	struct xbdev_lvol *volume = NULL;
	char name[32];

	snprintf(name, sizeof(name), "image%u", image);
	harness_remove(&f->h, xbdev_device_find(f->h.ctx, name));
	while ((volume = xbdev__lvol_next(f->store, volume)) != NULL) {
		struct xbdev_lvol_info info;

		xbdev__lvol_info(volume, &info);
		assert_true(info.reason != NULL || info.is_hidden || volume->is_registered);
	}
	image_from_file(f, image);
	while ((volume = xbdev__lvol_next(f->store, volume)) != NULL) {
		harness_wait(&f->h, volume->is_registered || volume->shown.is_hidden);
	}
}

static void step_delete(struct forest *f)
{
	struct thing *thing = f->plan.nr > 0 ? &f->plan.things[below(f, f->plan.nr)] : NULL;
	uint32_t nr = f->nr_done;

	if (thing != NULL) {
		xbdev__lvol_delete(forest_volume(f, thing->name), forest_done, f);
		if (forest_wait(f, nr) == 0) {
			forest_remove(&f->plan, thing);
		} else {
			must_be_full(f);
		}
	}
}

static void step_rename(struct forest *f)
{
	struct thing *thing = f->plan.nr > 0 ? &f->plan.things[below(f, f->plan.nr)] : NULL;
	uint32_t nr = f->nr_done;
	char name[64], old[64];

	if (thing != NULL) {
		strcpy(old, thing->name);
		xbdev__lvol_rename(forest_volume(f, old), new_name(f, name), forest_done, f);
		if (forest_wait(f, nr) != 0) {
			must_be_full(f);
			return;
		}
		strcpy(thing->name, name);
		for (uint32_t i = 0; i < f->plan.nr; i++) {
			if (strcmp(f->plan.things[i].origin, old) == 0) {
				strcpy(f->plan.things[i].origin, name);
			}
		}
	}
}

static void step_restore(struct forest *f)
{
	struct thing *thing = pick(f, true), *target;
	uint32_t nr = f->nr_done;

	target = thing != NULL ? forest_thing(&f->plan, thing->origin) : NULL;
	if (target == NULL || target->is_read_only) {
		return;
	}
	xbdev__lvol_restore(forest_volume(f, thing->name), forest_done, f);
	if (forest_wait(f, nr) == 0) {
		free(target->bytes);
		target->bytes = malloc(thing->size + 1);
		assert_non_null(target->bytes);
		memcpy(target->bytes, thing->bytes, thing->size);
		target->size = thing->size;
	} else {
		must_be_full(f);
	}
}

static void step_read_only(struct forest *f)
{
	struct thing *thing = pick(f, false);
	uint32_t nr = f->nr_done;

	if (thing != NULL && below(f, 4) == 0) {
		xbdev__lvol_set_read_only(forest_volume(f, thing->name), forest_done, f);
		if (forest_wait(f, nr) == 0) {
			thing->is_read_only = true;
		} else {
			must_be_full(f);
		}
	}
}

static void step_parent(struct forest *f)
{
	struct thing *thing = pick(f, false), *parent = pick(f, true);
	uint32_t nr = f->nr_done;
	struct xbdev_lvol *volume;

	if (thing == NULL || parent == NULL || thing->size != parent->size) {
		return;
	}
	volume = forest_volume(f, thing->name);
	if (!volume->shown.is_thin) {
		return;
	}
	xbdev__lvol_set_parent(volume, forest_volume(f, parent->name), forest_done, f);
	if (forest_wait(f, nr) != 0) {
		must_be_full(f);
		return;
	}
	for (uint32_t i = 0; i < thing->size / FOREST_CLUSTER; i++) {
		if (xbdev__lvs_map_get(&volume->blob->map, i) == 0) {
			memcpy(thing->bytes + i * FOREST_CLUSTER,
				parent->bytes + i * FOREST_CLUSTER, FOREST_CLUSTER);
		}
	}
}

static void step_parent_external(struct forest *f)
{
	uint32_t nr = f->nr_done, image = (uint32_t)below(f, FOREST_IMAGES);
	struct thing *thing = pick(f, false);
	struct xbdev_lvol *volume;
	char device[32];

	if (thing == NULL || !(volume = forest_volume(f, thing->name))->shown.is_thin) {
		return;
	}
	snprintf(device, sizeof(device), "image%u", image);
	xbdev__lvol_set_parent_external(volume, device, forest_done, f);
	if (forest_wait(f, nr) != 0) {
		must_be_full(f);
		return;
	}
	for (uint64_t at = 0; at < thing->size; at += FOREST_CLUSTER) {
		if (xbdev__lvs_map_get(&volume->blob->map, (uint32_t)(at / FOREST_CLUSTER)) != 0) {
			continue;
		}
		memset(thing->bytes + at, 0, FOREST_CLUSTER);
		if (at < forest_image_size(image)) {
			memcpy(thing->bytes + at, f->images[image] + at, FOREST_CLUSTER);
		}
	}
}

static void step_resize(struct forest *f)
{
	struct thing *thing = pick(f, false);
	uint64_t size = (1 + below(f, 12)) * FOREST_CLUSTER;
	uint32_t nr = f->nr_done;

	if (thing == NULL) {
		return;
	}
	xbdev__lvol_resize(
		forest_volume(f, thing->name), size - below(f, FOREST_CLUSTER), forest_done, f);
	if (forest_wait(f, nr) != 0) {
		must_be_full(f);
		return;
	}
	thing->bytes = realloc(thing->bytes, size + 1);
	assert_non_null(thing->bytes);
	if (size > thing->size) {
		memset(thing->bytes + thing->size, 0, size - thing->size);
	}
	thing->size = size;
}

static void step_fill(struct forest *f)
{
	struct thing *thing = f->plan.nr > 0 ? &f->plan.things[below(f, f->plan.nr)] : NULL;
	uint32_t nr = f->nr_done;
	struct xbdev_lvol *volume;

	if (thing == NULL) {
		return;
	}
	volume = forest_volume(f, thing->name);
	if (below(f, 3) == 0) {
		xbdev__lvol_inflate(volume, forest_done, f);
	} else if (volume->shown.parent != NULL || volume->shown.esnap[0] != '\0') {
		xbdev__lvol_decouple(volume, forest_done, f);
	} else {
		return;
	}
	if (forest_wait(f, nr) != 0) {
		must_be_full(f);
	}
}

bool forest_step(struct forest *f)
{
	static void (*const steps[])(struct forest * f) = {step_io, step_io, step_io, step_io,
		step_snapshot, step_clone, step_delete, step_rename, step_restore, step_read_only,
		step_parent, step_resize, step_resize, step_fill, step_fill, step_clone_external,
		step_parent_external, step_image_goes};
	void (*step)(struct forest * f) = steps[below(f, ARRAY_SIZE(steps))];

	if (f->plan.nr < 3 || below(f, 12) == 0) {
		step = step_create;
	}
	if (f->plan.nr == FOREST_MAX) {
		step = step_delete;
	}
	step(f);
	return step != step_io && step != step_image_goes;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Volumes as devices, over stores made by SPDK: each reads what SPDK read of it; random I/O of all
 * kinds, several at a time, is compared with plain arrays, also after a clean restart; power that
 * fails at any moment leaves each block as one of the writes since its last flush left it,
 * snapshots as they were, and no cluster lost or used twice; an I/O of the device below that fails
 * is an error of the I/O above and nothing else.
 */
#include "lib/xbdev/lvol/attach.h"
#include "lib/xbdev/lvol/volume.h"
#include "test/unit/xbdev/lvol/disk.h"
#include "test/unit/xbdev/lvol/world.h"

#define MAX_VOLUMES 64u
#define MAX_BYTES   (1u << 20)
#define MODEL_MAX   (32u << 20) /* of a volume that is kept in memory */
#define SIDE        4u          /* I/Os at a time */

/* An I/O that has been begun, for judging what a crash or an error has left. */
struct past {
	uint32_t volume;
	enum xbdev_op op;
	uint64_t offset, len;
	uint8_t *bytes;        /* what it writes; NULL: zeroes */
	uint32_t log_at_begin; /* records of the disk when it began */
	uint32_t log_at_end;   /* and when it had ended; UINT32_MAX: it has not */
	uint64_t begun, ended; /* in the order of all beginnings and ends */
	bool has_failed, is_fua;
};

#define MAX_PAST 2000u

struct volume {
	struct xbdev_device *dev;
	char name[XBDEV_NAME_SIZE];
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	uint8_t *model; /* what it reads as */
	uint64_t size;
	bool is_writable;
};

struct test {
	struct harness h;
	struct lvol_disk *disk;
	struct xbdev_lvol_store *store;
	struct xu_error err;
	uint32_t nr_done;
	struct volume volumes[MAX_VOLUMES];
	uint32_t nr_volumes;
	uint32_t block_size;
	struct xu_random random;
	bool may_fail;
	struct past *past; /* NULL: not kept */
	uint32_t nr_past;
	uint64_t nr_events;
};

/* ---- life ---- */

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct test *t = arg;

	t->store = store;
	t->err = err != NULL ? *err : (struct xu_error){0};
	t->nr_done++;
}

static void on_detached(void *arg, const struct xu_error *err)
{
	struct test *t = arg;

	t->err = err != NULL ? *err : (struct xu_error){0};
	t->nr_done++;
}

static void attach(struct test *t)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_attach(t->h.ctx, "disk", false, on_attached, t);
	harness_wait(&t->h, t->nr_done > nr);
	assert_string_equal(t->err.text, "");
	assert_non_null(t->store);
}

static void start(struct test *t, const uint8_t *content, uint64_t size, uint32_t block_size)
{
	harness_start(&t->h, 1, 1);
	t->block_size = block_size;
	t->disk = lvol_disk_new(&t->h, "disk", content, size, block_size);
	attach(t);
}

/* Opens those that are not too large for what is to be done with them. */
static void open_volumes(struct test *t, uint64_t max_bytes)
{
	struct xbdev_device *dev = NULL;

	t->nr_volumes = 0;
	while ((dev = xbdev_device_next(t->h.ctx, dev)) != NULL) {
		struct volume *v = &t->volumes[t->nr_volumes];

		if (strcmp(dev->driver, "lvol") != 0 || xbdev_device_size_bytes(dev) > max_bytes) {
			continue;
		}
		assert_true(t->nr_volumes < MAX_VOLUMES);
		v->dev = dev;
		strcpy(v->name, dev->name);
		v->size = xbdev_device_size_bytes(dev);
		v->is_writable = !dev->is_read_only;
		v->desc = harness_open(&t->h, dev->name, v->is_writable);
		v->ch = harness_channel(&t->h, v->desc, 0);
		t->nr_volumes++;
	}
}

static void close_volumes(struct test *t)
{
	for (uint32_t i = 0; i < t->nr_volumes; i++) {
		harness_put(&t->h, t->volumes[i].ch);
		xbdev_desc_close(t->volumes[i].desc);
	}
}

static void read_models(struct test *t)
{
	for (uint32_t i = 0; i < t->nr_volumes; i++) {
		struct volume *v = &t->volumes[i];

		v->model = malloc(v->size + 1);
		assert_non_null(v->model);
		if (v->size > 0) {
			assert_int_equal(
				harness_io(&t->h, v->ch, XBDEV_OP_READ, 0, v->model, v->size, 0),
				0);
		}
	}
}

static void free_models(struct test *t)
{
	for (uint32_t i = 0; i < t->nr_volumes; i++) {
		free(t->volumes[i].model);
	}
}

static void check_models(struct test *t)
{
	for (uint32_t i = 0; i < t->nr_volumes; i++) {
		struct volume *v = &t->volumes[i];
		uint8_t *bytes = malloc(v->size + 1);

		assert_non_null(bytes);
		if (v->size > 0) {
			assert_int_equal(
				harness_io(&t->h, v->ch, XBDEV_OP_READ, 0, bytes, v->size, 0), 0);
		}
		for (uint64_t at = 0; at < v->size; at += t->block_size) {
			if (memcmp(bytes + at, v->model + at, t->block_size) != 0) {
				fail_msg("%s: block at %llu is wrong", v->name,
					(unsigned long long)at);
			}
		}
		free(bytes);
	}
}

static void detach(struct test *t)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_detach(t->store, on_detached, t);
	harness_wait(&t->h, t->nr_done > nr);
	assert_string_equal(t->err.text, "");
}

/* Every cluster that a volume lists is its own, in use, and nobody else's; none else is in use. */
static void check_clusters(struct test *t)
{
	const struct xbdev_lvs *lvs = t->store->lvs;
	uint8_t *seen = calloc(1, lvs->super.nr_clusters);
	uint64_t nr = lvs->super.nr_md_clusters;
	bool is_whole = true; /* clusters of volumes that cannot be read stay in use */

	assert_non_null(seen);
	for (uint32_t i = 0; i < lvs->nr_blobs; i++) {
		const struct xbdev_lvs_map *map = &lvs->blobs[i]->map;

		is_whole = is_whole && lvs->blobs[i]->reason == NULL;
		for (uint32_t k = xbdev__lvs_map_next(map, 0); k < map->nr_clusters;
			k = xbdev__lvs_map_next(map, k + 1)) {
			uint32_t cluster = xbdev__lvs_map_get(map, k);

			assert_in_range(
				cluster, lvs->super.nr_md_clusters, lvs->super.nr_clusters - 1);
			assert_true(xbdev__lvs_bits_test(&lvs->clusters, cluster));
			assert_int_equal(seen[cluster]++, 0);
			nr++;
		}
	}
	assert_true(is_whole ? lvs->clusters.nr_set == nr : lvs->clusters.nr_set >= nr);
	free(seen);
}

/* What free clusters hold must never be seen. */
static void soil(struct test *t)
{
	const struct xbdev_lvs *lvs = t->store->lvs;

	for (uint32_t i = lvs->super.nr_md_clusters; i < lvs->super.nr_clusters; i++) {
		if (!xbdev__lvs_bits_test(&lvs->clusters, i)) {
			lvol_disk_fill(t->disk, xbdev__lvs_cluster_at(lvs, i), 0xa5,
				lvs->super.cluster_size);
		}
	}
}

/* ---- images ---- */

static uint8_t *load_image(struct lvol_fixture *f, const char *name)
{
	lvol_fixture_open(f, name);
	return lvol_fixture_content(f);
}

static void sha256(struct test *t, struct volume *v, char text[LVOL_SHA256_TEXT])
{
	struct digest *digest = digest_new();
	uint8_t *bytes = malloc(MAX_BYTES);

	assert_non_null(bytes);
	for (uint64_t at = 0; at < v->size; at += MAX_BYTES) {
		uint64_t len = v->size - at < MAX_BYTES ? v->size - at : MAX_BYTES;

		assert_int_equal(harness_io(&t->h, v->ch, XBDEV_OP_READ, at, bytes, len, 0), 0);
		digest_add(digest, bytes, len);
	}
	digest_end(digest, text);
	free(bytes);
}

static void test_volumes_read_as_spdk_read_them(void **state)
{
	uint32_t nr_read = 0;

	for (uint32_t i = 0; i < lvol_fixture_count(); i++) {
		struct lvol_fixture f;
		struct test t = {0};
		uint8_t *content = load_image(&f, lvol_fixture_name(i));

		if (lvol_fixture_opens(&f)) {
			start(&t, content, f.size_bytes, f.block_size);
			open_volumes(&t, 256u << 20);
			for (uint32_t k = 0; k < t.nr_volumes; k++) {
				struct volume *v = &t.volumes[k];
				json_t *json = lvol_fixture_volume(&f, strchr(v->name, '/') + 1);
				char sum[LVOL_SHA256_TEXT];

				assert_non_null(json);
				sha256(&t, v, sum);
				assert_string_equal(sum, lvol_fixture_text(json, "sha256"));
				nr_read++;
			}
			check_clusters(&t);
			close_volumes(&t);
			detach(&t);
			harness_stop(&t.h);
		}
		free(content);
		lvol_fixture_close(&f);
	}
	assert_true(nr_read > 50);
}

/* ---- random I/O ---- */

struct side {
	struct harness_io hio;
	struct volume *v;
	uint8_t *buf;
	uint64_t offset, len;
	enum xbdev_op op;
	struct past *past;
	bool is_busy;
};

static bool overlaps(const struct side *sides, const struct side *one)
{
	for (uint32_t i = 0; i < SIDE; i++) {
		const struct side *s = &sides[i];

		if (s != one && s->is_busy && s->v == one->v &&
			s->offset < one->offset + one->len && one->offset < s->offset + s->len) {
			return true;
		}
	}
	return false;
}

static void on_side_done(struct xbdev_io *io, int status)
{
	struct harness_io *hio = xu_container_of(io, struct harness_io, io);

	hio->status = status;
	hio->nr_done++;
}

/* Chooses where and how much: small and large, whole clusters and parts. */
static bool choose(struct test *t, struct side *sides, struct side *s)
{
	uint64_t nr_blocks, max;

	s->v = &t->volumes[xu_random_below(&t->random, t->nr_volumes)];
	nr_blocks = s->v->size / t->block_size;
	if (nr_blocks == 0) {
		return false;
	}
	s->op = (enum xbdev_op[]){XBDEV_OP_READ, XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE,
		XBDEV_OP_WRITE_ZEROES, XBDEV_OP_DISCARD,
		XBDEV_OP_FLUSH}[xu_random_below(&t->random, 7)];
	if (!s->v->is_writable) {
		s->op = XBDEV_OP_READ;
	}
	if (s->op == XBDEV_OP_FLUSH) {
		s->offset = s->len = 0;
		return true;
	}
	max = xu_random_below(&t->random, 4) != 0 ? 16 : MAX_BYTES / t->block_size;
	s->offset = xu_random_below(&t->random, nr_blocks);
	s->len = 1 + xu_random_below(&t->random, max);
	s->len = s->len < nr_blocks - s->offset ? s->len : nr_blocks - s->offset;
	s->offset *= t->block_size;
	s->len *= t->block_size;
	return !overlaps(sides, s);
}

static void remember(struct test *t, struct side *s)
{
	struct past *past = &t->past[t->nr_past++];

	assert_true(t->nr_past <= MAX_PAST);
	*past = (struct past){.volume = (uint32_t)(s->v - t->volumes),
		.op = s->op,
		.offset = s->offset,
		.len = s->len,
		.log_at_begin = t->disk->nr_log,
		.log_at_end = UINT32_MAX,
		.begun = ++t->nr_events,
		.is_fua = (s->hio.io.flags & XBDEV_IO_FUA) != 0};
	if (s->op == XBDEV_OP_WRITE) {
		past->bytes = malloc(s->len);
		assert_non_null(past->bytes);
		memcpy(past->bytes, s->buf, s->len);
	}
	s->past = past;
}

static void begin(struct test *t, struct side *s, uint64_t seed)
{
	harness_fill(s->buf, s->len, seed);
	harness_io_set(&s->hio, s->v->ch, s->op, s->offset,
		s->op == XBDEV_OP_READ || s->op == XBDEV_OP_WRITE ? s->buf : NULL, s->len);
	s->hio.io.cb = on_side_done;
	s->hio.io.flags =
		s->op == XBDEV_OP_WRITE && xu_random_below(&t->random, 8) == 0 ? XBDEV_IO_FUA : 0;
	s->hio.nr_done = 0;
	s->past = NULL;
	if (t->past != NULL && s->op != XBDEV_OP_READ) {
		remember(t, s);
	}
	assert_int_equal(xbdev_io_submit(&s->hio.io), 0);
	assert_int_equal(s->hio.nr_done, 0);
	s->is_busy = true;
}

static void end(struct test *t, struct side *s)
{
	uint8_t *model = s->v->model + s->offset;
	int status = s->hio.status;

	s->is_busy = false;
	if (s->past != NULL) {
		s->past->log_at_end = t->disk->nr_log;
		s->past->ended = ++t->nr_events;
		s->past->has_failed = status != 0;
	}
	assert_true(status == 0 || status == -ENOSPC || (status == -EIO && t->may_fail));
	if (status != 0) {
		return;
	}
	if (s->op == XBDEV_OP_READ) {
		assert_true(t->may_fail || memcmp(s->buf, model, s->len) == 0);
	} else if (s->op == XBDEV_OP_WRITE) {
		memcpy(model, s->buf, s->len);
	} else if (s->op != XBDEV_OP_FLUSH) {
		memset(model, 0, s->len);
	}
}

static void random_io(struct test *t, uint32_t nr_ios)
{
	struct side sides[SIDE] = {0};
	uint32_t nr_begun = 0, nr_busy = 0;

	for (uint32_t i = 0; i < SIDE; i++) {
		sides[i].buf = malloc(MAX_BYTES);
		assert_non_null(sides[i].buf);
	}
	harness__wait_begin(&t->h);
	while (nr_begun < nr_ios || nr_busy > 0) {
		for (uint32_t i = 0; i < SIDE; i++) {
			struct side *s = &sides[i];

			if (s->is_busy && s->hio.nr_done > 0) {
				end(t, s);
				nr_busy--;
				harness__wait_begin(&t->h);
			}
			if (!s->is_busy && nr_begun < nr_ios && choose(t, sides, s)) {
				begin(t, s, ++nr_begun);
				nr_busy++;
			}
		}
		harness__wait_step(&t->h, "I/O", __FILE__, __LINE__);
	}
	for (uint32_t i = 0; i < SIDE; i++) {
		free(sides[i].buf);
	}
}

static void test_random_io_is_what_plain_arrays_hold(void **state)
{
	static const char *const images[] = {"thin-thick-512-64k-odd", "snapchain-512-64k-unclean",
		"snapchain-4k-1m-clean", "rle-512-16k", "frag-4k-16k", "multipage-512-4k-unclean"};
	uint64_t seed = harness_seed(11);

	for (uint32_t i = 0; i < ARRAY_SIZE(images); i++) {
		struct lvol_fixture f;
		struct test t = {0};
		uint8_t *content = load_image(&f, images[i]);

		print_message("%s\n", images[i]);
		xu_random_seed(&t.random, seed + i);
		start(&t, content, f.size_bytes, f.block_size);
		soil(&t);
		open_volumes(&t, MODEL_MAX);
		read_models(&t);
		for (uint32_t round = 0; round < 2; round++) {
			random_io(&t, 200);
			check_models(&t);
			check_clusters(&t);
			close_volumes(&t);
			detach(&t);
			attach(&t);
			for (uint32_t k = 0; k < t.nr_volumes; k++) {
				struct volume *v = &t.volumes[k];

				v->desc = harness_open(&t.h, v->name, v->is_writable);
				v->ch = harness_channel(&t.h, v->desc, 0);
			}
			check_models(&t);
			check_clusters(&t);
		}
		close_volumes(&t);
		free_models(&t);
		detach(&t);
		harness_stop(&t.h);
		free(content);
		lvol_fixture_close(&f);
	}
}

/* ---- what power failures and errors leave ---- */

#define NO_CRASH UINT32_MAX

static bool covers(const struct past *past, uint32_t volume, uint64_t at)
{
	return past->volume == volume && past->op != XBDEV_OP_FLUSH && past->offset <= at &&
	       at < past->offset + past->len;
}

/* Whether it is there for good when power fails after so many records. */
static bool is_durable(const struct test *t, const struct past *past, uint32_t nr_records)
{
	if (past->has_failed || past->log_at_end > nr_records || past->ended == 0) {
		return false;
	}
	if (nr_records == NO_CRASH || past->is_fua) {
		return true;
	}
	for (uint32_t i = 0; i < t->nr_past; i++) {
		const struct past *flush = &t->past[i];

		if (flush->op == XBDEV_OP_FLUSH && flush->volume == past->volume &&
			!flush->has_failed && flush->log_at_end <= nr_records &&
			flush->begun > past->ended) {
			return true;
		}
	}
	return false;
}

static bool is_content(
	const struct test *t, const struct past *past, uint64_t at, const uint8_t *block)
{
	return past->bytes == NULL
		       ? harness_is_zero(block, t->block_size)
		       : memcmp(block, past->bytes + (at - past->offset), t->block_size) == 0;
}

/* A block holds its last durable content or what was begun after that. `first` is what it held at
 * the beginning. */
static bool is_possible(const struct test *t, uint32_t volume, uint64_t at, const uint8_t *first,
	const uint8_t *block, uint32_t nr_records)
{
	for (uint32_t i = t->nr_past; i-- > 0;) {
		const struct past *past = &t->past[i];

		if (!covers(past, volume, at) || past->log_at_begin > nr_records) {
			continue;
		}
		if (is_content(t, past, at, block)) {
			return true;
		}
		if (is_durable(t, past, nr_records)) {
			return false;
		}
	}
	return memcmp(block, first, t->block_size) == 0;
}

/* Loads what is on the disk in a world of its own and judges every block of every volume. */
static void judge(
	const struct test *t, uint8_t *const *firsts, const uint8_t *content, uint32_t nr_records)
{
	struct test after = {0};

	start(&after, content, t->disk->size_bytes, t->block_size);
	open_volumes(&after, MODEL_MAX);
	read_models(&after);
	assert_int_equal(after.nr_volumes, t->nr_volumes);
	for (uint32_t i = 0; i < after.nr_volumes; i++) {
		struct volume *v = &after.volumes[i];

		assert_string_equal(v->name, t->volumes[i].name);
		for (uint64_t at = 0; at < v->size; at += t->block_size) {
			if (!is_possible(t, i, at, firsts[i] + at, v->model + at, nr_records)) {
				fail_msg("after %u of %u records: %s has a wrong block at %llu",
					nr_records, t->disk->nr_log, v->name,
					(unsigned long long)at);
			}
		}
	}
	check_clusters(&after);
	close_volumes(&after);
	free_models(&after);
	detach(&after);
	harness_stop(&after.h);
}

static uint8_t **copy_models(const struct test *t)
{
	uint8_t **firsts = calloc(t->nr_volumes, sizeof(firsts[0]));

	assert_non_null(firsts);
	for (uint32_t i = 0; i < t->nr_volumes; i++) {
		firsts[i] = malloc(t->volumes[i].size + 1);
		assert_non_null(firsts[i]);
		memcpy(firsts[i], t->volumes[i].model, t->volumes[i].size);
	}
	return firsts;
}

static void start_past(struct test *t, const struct lvol_fixture *f, const uint8_t *content,
	uint64_t seed, uint8_t ***ret_firsts)
{
	*t = (struct test){0};
	xu_random_seed(&t->random, seed);
	start(t, content, f->size_bytes, f->block_size);
	soil(t);
	open_volumes(t, MODEL_MAX);
	read_models(t);
	*ret_firsts = copy_models(t);
	t->past = calloc(MAX_PAST, sizeof(t->past[0]));
	assert_non_null(t->past);
}

static void stop_past(struct test *t, uint8_t **firsts)
{
	for (uint32_t i = 0; i < t->nr_past; i++) {
		free(t->past[i].bytes);
	}
	free(t->past);
	for (uint32_t i = 0; i < t->nr_volumes; i++) {
		free(firsts[i]);
	}
	free(firsts);
	free_models(t);
	harness_stop(&t->h);
}

static const char *const crash_images[] = {"thin-thick-512-64k-odd", "snapchain-512-64k-unclean",
	"snapchain-4k-1m-clean", "rle-512-16k", "multipage-512-4k-unclean"};

static void test_power_may_fail_at_any_moment(void **state)
{
	uint64_t seed = harness_seed(21);
	uint32_t nr_crashes = getenv("XSAN_LONG") != NULL ? 400 : 10;

	for (uint32_t i = 0; i < ARRAY_SIZE(crash_images); i++) {
		struct lvol_fixture f;
		struct test t;
		uint8_t *content = load_image(&f, crash_images[i]), **firsts;

		start_past(&t, &f, content, seed + i, &firsts);
		lvol_disk_begin(t.disk);
		random_io(&t, 120);
		for (uint32_t k = 0; k < nr_crashes; k++) {
			uint32_t nr = (uint32_t)xu_random_below(&t.random, t.disk->nr_log + 1);
			const uint8_t *crashed = lvol_disk_crash(t.disk, nr, &t.random);

			judge(&t, firsts, crashed, nr);
			lvol_disk_crash_free(crashed);
		}
		close_volumes(&t);
		detach(&t);
		stop_past(&t, firsts);
		free(content);
		lvol_fixture_close(&f);
	}
}

static void test_any_io_below_may_fail(void **state)
{
	uint64_t seed = harness_seed(31);
	uint32_t nr_faults = getenv("XSAN_LONG") != NULL ? 300 : 8, nr_hit = 0, nr_missed = 0;

	/* Behind the last write of a run there is nothing more to fail. */
	for (uint32_t i = 0; i < 2 * nr_faults && nr_missed < 8; i++) {
		struct lvol_fixture f;
		struct test t;
		uint8_t *content = load_image(&f, crash_images[i % 2]), **firsts;
		uint32_t nr_done, nr_writes;

		start_past(&t, &f, content, seed + i, &firsts);
		t.may_fail = true;
		nr_writes = t.disk->nr_writes;
		t.disk->fail_at = nr_writes + 1 + i / 2;
		t.disk->is_sick = i % 3 == 0;
		random_io(&t, 40);
		if (t.disk->nr_writes >= t.disk->fail_at) {
			nr_hit++;
			nr_missed = 0;
		} else {
			nr_missed++;
		}
		t.disk->fail_at = 0;
		t.disk->is_sick = false;
		close_volumes(&t);
		nr_done = t.nr_done;
		xbdev__lvol_detach(t.store, on_detached, &t);
		harness_wait(&t.h, t.nr_done > nr_done);
		judge(&t, firsts, t.disk->memory, NO_CRASH);
		stop_past(&t, firsts);
		free(content);
		lvol_fixture_close(&f);
	}
	assert_true(nr_hit > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_volumes_read_as_spdk_read_them),
		cmocka_unit_test(test_random_io_is_what_plain_arrays_hold),
		cmocka_unit_test(test_power_may_fail_at_any_moment),
		cmocka_unit_test(test_any_io_below_may_fail),
	};

	return cmocka_run_group_tests_name("xbdev/lvol/volume", tests, NULL, NULL);
}

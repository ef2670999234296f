/* SPDX-License-Identifier: BSD-3-Clause */
/* See session.h. */
#include "test/unit/xbdev/lvol/session.h"

#include <unistd.h>

#define MAX_TEXT (64u << 10)

/* ---- the store ---- */

void lvol_session_start(
	struct lvol_session *t, const uint8_t *content, uint64_t size, uint32_t block_size)
{
	memset(t, 0, sizeof(*t));
	harness_start(&t->w.h, 1, 1);
	t->disk = lvol_disk_new(&t->w.h, "disk", content, size, block_size);
	lvol_world_use(&t->w, "disk");
	lvol_world_load(&t->w);
	if (t->w.store == NULL) {
		fail_msg("%s", t->w.err.text);
	}
	assert_int_equal(xbdev__lvs_write_init(t->w.store), 0);
}

void lvol_session_stop(struct lvol_session *t)
{
	xbdev__lvs_write_fini(t->w.store);
	lvol_world_stop(&t->w);
}

static void on_commit(struct xbdev_lvs_waiter *waiter, int status)
{
	struct lvol_session *t = xu_container_of(waiter, struct lvol_session, waiter);

	t->status = status;
	t->nr_done++;
}

int lvol_session_commit(struct lvol_session *t)
{
	uint32_t nr = t->nr_done;

	t->waiter.fn = on_commit;
	xbdev__lvs_commit(t->w.store, &t->waiter);
	assert_int_equal(t->nr_done, nr); /* later, always */
	harness_wait(&t->w.h, t->nr_done > nr);
	return t->status;
}

static void on_done(void *arg, const struct xu_error *err)
{
	struct lvol_session *t = arg;

	t->err = *err;
	t->nr_done++;
}

void lvol_session_recover(struct lvol_session *t)
{
	uint32_t nr = t->nr_done;

	xbdev__lvs_recover(t->w.store, on_done, t);
	harness_wait(&t->w.h, t->nr_done > nr);
	assert_string_equal(t->err.text, "");
	assert_false(xbdev__lvs_needs_recovery(t->w.store));
}

void lvol_session_unload(struct lvol_session *t)
{
	uint32_t nr = t->nr_done;

	xbdev__lvs_unload(t->w.store, on_done, t);
	harness_wait(&t->w.h, t->nr_done > nr);
}

uint8_t *lvol_session_content(const char *name, uint64_t *ret_size, uint32_t *ret_block_size)
{
	struct lvol_fixture f;
	uint8_t *content;

	lvol_fixture_open(&f, name);
	content = lvol_fixture_content(&f);
	*ret_size = f.size_bytes;
	*ret_block_size = f.block_size;
	lvol_fixture_close(&f);
	return content;
}

/* ---- the other reader ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct xbdev_lvs_blob *const *)a)->name,
		(*(struct xbdev_lvs_blob *const *)b)->name);
}

char *lvol_session_expected(struct lvol_session *t, bool has_content)
{
	const struct xbdev_lvs *store = t->w.store;
	struct xbdev_lvs_blob *sorted[64];
	char *text = calloc(1, MAX_TEXT), uuid[XU_UUID_TEXT_SIZE], sum[LVOL_SHA256_TEXT] = "-";
	uint32_t nr = 0;
	size_t at;

	assert_non_null(text);
	xu_uuid_format(&store->uuid, uuid);
	at = (size_t)snprintf(text, MAX_TEXT, "%s %s %llu\n", store->name, uuid,
		(unsigned long long)xbdev__lvs_free_clusters(store));
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		if (xbdev__lvs_blob_is_volume(store->blobs[i])) {
			assert_true(nr < ARRAY_SIZE(sorted));
			sorted[nr++] = store->blobs[i];
		}
	}
	qsort(sorted, nr, sizeof(sorted[0]), compare_names);
	for (uint32_t i = 0; i < nr; i++) {
		xu_uuid_format(&sorted[i]->uuid, uuid);
		if (has_content) {
			lvol_world_sha256(&t->w, sorted[i], NULL, sum);
		}
		at += (size_t)snprintf(text + at, MAX_TEXT - at, "%s %s %s %llu %llu %d %d %s\n",
			sorted[i]->name, uuid,
			sorted[i]->parent != NULL ? sorted[i]->parent->name : "-",
			(unsigned long long)xbdev__lvs_blob_size(sorted[i]),
			(unsigned long long)sorted[i]->map.nr_allocated,
			xbdev__lvs_blob_is_thin(sorted[i]), xbdev__lvs_blob_is_read_only(sorted[i]),
			sum);
		assert_true(at < MAX_TEXT);
	}
	return text;
}

char *lvol_session_reader(const struct lvol_image *image, bool has_content)
{
	char path[300], command[800], *text = calloc(1, MAX_TEXT);
	FILE *reader;

	assert_non_null(text);
	snprintf(path, sizeof(path), "%s/reader.img", harness_dir());
	lvol_image_save(image, path);
	snprintf(command, sizeof(command), "'%s' -IS '%s' %s '%s'", LVOL_PYTHON, LVOL_READER,
		has_content ? "" : "--no-content", path);
	reader = popen(command, "r");
	assert_non_null(reader);
	assert_true(fread(text, 1, MAX_TEXT - 1, reader) > 0);
	pclose(reader);
	unlink(path);
	return text;
}

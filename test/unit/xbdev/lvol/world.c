/* SPDX-License-Identifier: BSD-3-Clause */
/* See world.h. */
#include "test/unit/xbdev/lvol/world.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/load.h"

void lvol_world_use(struct lvol_world *w, const char *device)
{
	w->desc = harness_open(&w->h, device, true);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

void lvol_world_start(struct lvol_world *w, const char *path, uint32_t block_size)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, 1, 1);
	harness_create(
		&w->h, "file", "{'name':'base','filename':'%s','block_size':%u}", path, block_size);
	lvol_world_use(w, "base");
}

static void on_loaded(void *arg, struct xbdev_lvs *store, const struct xu_error *err)
{
	struct lvol_world *w = arg;

	w->store = store;
	w->err = *err;
	w->nr_done++;
}

void lvol_world_load(struct lvol_world *w)
{
	uint32_t nr = w->nr_done;

	assert_null(w->store);
	xbdev__lvs_load(w->ch, w->desc->dev->name, on_loaded, w);
	harness_wait(&w->h, w->nr_done > nr);
	harness_poll_times(&w->h, 3);
	assert_int_equal(w->nr_done, nr + 1);
	assert_int_equal(w->store == NULL, w->err.code != 0);
	assert_int_equal(w->err.code == 0, w->err.text[0] == '\0');
}

void lvol_world_forget(struct lvol_world *w)
{
	xbdev__lvs_free(w->store);
	w->store = NULL;
}

void lvol_world_stop(struct lvol_world *w)
{
	lvol_world_forget(w);
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
	harness_stop(&w->h);
}

/* ---- content ---- */

static void read_file(const char *path, uint64_t offset, void *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
	close(fd);
}

void lvol_world_read(struct lvol_world *w, const struct xbdev_lvs_blob *blob, uint32_t index,
	const char *esnap_path, uint8_t *ret_bytes)
{
	uint32_t size = w->store->super.cluster_size, cluster;
	const struct xbdev_lvs_blob *esnap;

	if (xbdev__lvs_blob_find(blob, index, &cluster, &esnap) != NULL) {
		assert_int_equal(
			harness_io(&w->h, w->ch, XBDEV_OP_READ,
				xbdev__lvs_cluster_at(w->store, cluster), ret_bytes, size, 0),
			0);
	} else if (esnap != NULL) {
		assert_non_null(esnap_path);
		read_file(esnap_path, (uint64_t)index * size, ret_bytes, size);
	} else {
		memset(ret_bytes, 0, size);
	}
}

void lvol_world_sha256(struct lvol_world *w, const struct xbdev_lvs_blob *blob,
	const char *esnap_path, char text[LVOL_SHA256_TEXT])
{
	uint32_t size = w->store->super.cluster_size;
	struct digest *digest = digest_new();
	uint8_t *bytes = xu_buf_alloc(size);

	assert_non_null(bytes);
	for (uint32_t i = 0; i < blob->map.nr_clusters; i++) {
		lvol_world_read(w, blob, i, esnap_path, bytes);
		digest_add(digest, bytes, size);
	}
	digest_end(digest, text);
	xu_buf_free(bytes, size);
}

uint32_t lvol_world_nr_usable(const struct lvol_world *w)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < w->store->nr_blobs; i++) {
		nr += xbdev__lvs_blob_is_volume(w->store->blobs[i]) &&
		      w->store->blobs[i]->reason == NULL;
	}
	return nr;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* See session.h. */
#include "test/unit/xbdev/lvol/session.h"

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
	content = malloc(f.size_bytes);
	assert_non_null(content);
	lvol_fixture_read(&f, 0, content, f.size_bytes);
	*ret_size = f.size_bytes;
	*ret_block_size = f.block_size;
	lvol_fixture_close(&f);
	return content;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resync and recovery on members that have a write cache: files, which must be flushed before the
 * superblocks may say how far it is. Flushes take their time, so the end comes amid one.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"

#define MEMBER_BYTES (4ull << 20)
#define NR_ROUNDS    4u

struct made {
	bool is_done;
	struct xbdev_device *dev;
	struct xu_error err;
};

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct made *made = arg;

	made->dev = dev;
	if (dev == NULL) {
		made->err = *err;
	}
	made->is_done = true;
}

static void make_member(struct harness *h, uint32_t index)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/m%u", harness_dir(), index);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)MEMBER_BYTES), 0);
	close(fd);
	harness_create(h, "file", "{'name':'m%u','filename':'%s','block_size':512}", index, path);
}

static void resync(int32_t level, uint32_t nr_members)
{
	static const char *const names[] = {"m0", "m1", "m2", "m3"};
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = level,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = 65536,
		.members = names,
		.nr_members = nr_members,
	};
	struct xbdev_md_array *array;
	struct made made = {0};
	struct harness h;

	harness_start(&h, 1, 1);
	for (uint32_t i = 0; i < nr_members; i++) {
		make_member(&h, i);
	}
	xbdev__md_create(h.ctx, &opts, on_made, &made);
	harness_wait(&h, made.is_done);
	if (made.dev == NULL) {
		fail_msg("%s", made.err.text);
	}
	array = xu_container_of(made.dev, struct xbdev_md_array, dev);
	assert_true(array->members[0]->ch->dev->has_write_cache);
	assert_true(array->in_sync_below != XBDEV_MD_NEVER);
	harness_wait(&h, array->in_sync_below == XBDEV_MD_NEVER && array->sync == NULL);
	harness_stop(&h);
}

static void test_resync_ends_although_its_progress_is_just_being_saved(void **state)
{
	for (uint32_t i = 0; i < NR_ROUNDS; i++) {
		resync(1, 2);
		resync(5, 4);
		resync(6, 4);
		resync(10, 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resync_ends_although_its_progress_is_just_being_saved),
	};

	return cmocka_run_group_tests_name("xbdev_raid_sync", tests, NULL, NULL);
}

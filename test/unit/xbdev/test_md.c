/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RAID arrays as an application has them, through <xbdev/xbdev.h> only: made of every level and
 * layout, looked at, stopped and run again, their members failed, replaced and added; what is
 * refused leaves the members untouched.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define NR_DISKS 8
#define SIZE_MB  16
#define KIB_MB   1024u
#define MIB      (1024u * 1024)

static const char *disks[NR_DISKS] = {"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"};
static int is_embedded;

static void start(void)
{
	xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = 2, .is_embedded = is_embedded != 0};

	assert_int_equal(xbdev_init_with(&options), 0);
	for (int i = 0; i < NR_DISKS; i++) {
		assert_int_equal(xbdev_config_malloc(SIZE_MB, 512, disks[i]), 0);
	}
}

static int start_threads(void **state)
{
	is_embedded = 0;
	start();
	return 0;
}

static int start_embedded(void **state)
{
	is_embedded = 1;
	start();
	return 0;
}

static int stop(void **state)
{
	return xbdev_fini();
}

static void must(int rc)
{
	if (rc != 0) {
		fail_msg("%s", xbdev_last_error());
	}
}

static xbdev_md_detail_t detail_of(const char *name)
{
	xbdev_md_detail_t detail;

	must(xbdev_md_detail(name, &detail));
	return detail;
}

/* Waits until nothing is being synced; bounded. */
static xbdev_md_detail_t wait_for_rest(const char *name)
{
	xbdev_md_detail_t detail = detail_of(name);

	for (int i = 0; i < 60000 && strcmp(detail.resync_status, "resyncing") == 0; i++) {
		assert_true(detail.resync_progress >= 0 && detail.resync_progress <= 100);
		usleep(1000);
		detail = detail_of(name);
	}
	assert_string_not_equal(detail.resync_status, "resyncing");
	return detail;
}

static int disk_state(const xbdev_md_detail_t *detail, const char *name)
{
	for (int i = 0; i < detail->nr_disks; i++) {
		if (strcmp(detail->disks[i].name, name) == 0) {
			return detail->disks[i].state;
		}
	}
	return -1;
}

static void assert_blank(int first, int count)
{
	xbdev_md_info_t info;

	for (int i = first; i < first + count; i++) {
		assert_int_equal(xbdev_md_examine(disks[i], &info), -ENOENT);
	}
}

/* ---- making ---- */

static const struct {
	int level;
	int nr_disks;
	uint64_t data; /* disks' worth of the size */
	const char *name;
	const char *layout;
} levels[] = {
	{XBDEV_MD_LEVEL_LINEAR, 3, 3, "linear", ""},
	{XBDEV_MD_LEVEL_RAID0, 3, 3, "raid0", "original"},
	{XBDEV_MD_LEVEL_RAID1, 2, 1, "raid1", ""},
	{XBDEV_MD_LEVEL_RAID4, 4, 3, "raid4", ""},
	{XBDEV_MD_LEVEL_RAID5, 4, 3, "raid5", "left-symmetric"},
	{XBDEV_MD_LEVEL_RAID6, 5, 3, "raid6", "left-symmetric"},
	{XBDEV_MD_LEVEL_RAID10, 4, 2, "raid10", "near=2"},
};

static void test_arrays_of_every_level_say_what_they_are(void **state)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		xbdev_md_config_t config = {.chunk_size_kb = 64};
		xbdev_md_detail_t detail;
		xbdev_md_info_t info;
		char out[8192], in[8192];
		int fd;

		must(xbdev_md_create("md0", levels[i].level, disks, levels[i].nr_disks, &config));
		detail = wait_for_rest("md0");
		assert_int_equal(detail.level, levels[i].level);
		assert_int_equal(detail.raid_disks, levels[i].nr_disks);
		assert_int_equal(detail.active_disks, levels[i].nr_disks);
		assert_int_equal(detail.working_disks, levels[i].nr_disks);
		assert_int_equal(detail.failed_disks + detail.spare_disks, 0);
		assert_false(detail.degraded);
		assert_true(detail.size > levels[i].data * (SIZE_MB - 2) * KIB_MB);
		assert_true(detail.size < levels[i].data * SIZE_MB * KIB_MB);
		assert_string_equal(detail.layout_name, levels[i].layout);
		assert_string_equal(detail.set_name, "md0");
		assert_string_equal(detail.resync_status, "idle");
		assert_string_equal(detail.disks[1].name, "d1");
		assert_string_equal(detail.disks[1].role, "active");
		assert_int_equal(detail.disks[1].state, XBDEV_MD_DISK_ACTIVE);

		fd = xbdev_open("md0");
		assert_true(fd >= 0);
		memset(out, 0x5a + (int)i, sizeof(out));
		assert_int_equal(xbdev_write(fd, out, sizeof(out), MIB + 512), sizeof(out));
		assert_int_equal(xbdev_read(fd, in, sizeof(in), MIB + 512), sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(xbdev_md_stop("md0"), -EBUSY);
		assert_int_equal(xbdev_close(fd), 0);

		must(xbdev_md_examine("d1", &info));
		assert_string_equal(info.used_by, "a RAID array");
		must(xbdev_md_stop("md0"));
		must(xbdev_md_examine("d1", &info));
		assert_string_equal(info.used_by, "");
		assert_int_equal(info.level, levels[i].level);
		assert_string_equal(info.level_name, levels[i].name);
		assert_string_equal(info.layout_name, levels[i].layout);
		assert_string_equal(info.uuid, detail.uuid);
		assert_string_equal(info.set_name, "md0");
		assert_string_equal(info.role, "Active device 1");
		assert_int_equal(info.raid_disk, 1);
		assert_int_equal(strlen(info.array_state), levels[i].nr_disks);
		assert_int_equal(strspn(info.array_state, "A"), levels[i].nr_disks);
		assert_true(info.is_clean);
		assert_int_equal(info.device_size, SIZE_MB * KIB_MB);
		assert_int_equal(info.available_size * 2 + info.data_offset, SIZE_MB * KIB_MB * 2);
		if (info.member_size != 0) {
			assert_int_equal(info.array_size, detail.size);
			assert_int_equal(info.member_size, detail.member_size);
		}
		for (int k = 0; k < levels[i].nr_disks; k++) {
			must(xbdev_md_zero_superblock(disks[k]));
		}
		assert_blank(0, levels[i].nr_disks);
	}
}

static void test_layouts_have_names(void **state)
{
	static const struct {
		int level, layout;
		const char *name;
	} layouts[] = {
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LAYOUT_LEFT_ASYMMETRIC, "left-asymmetric"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LAYOUT_RIGHT_ASYMMETRIC, "right-asymmetric"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LAYOUT_LEFT_SYMMETRIC, "left-symmetric"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LAYOUT_RIGHT_SYMMETRIC, "right-symmetric"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LAYOUT_PARITY_FIRST, "parity-first"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LAYOUT_PARITY_LAST, "parity-last"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_DDF_ZERO_RESTART, "ddf-zero-restart"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_DDF_N_RESTART, "ddf-N-restart"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_DDF_N_CONTINUE, "ddf-N-continue"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_LEFT_ASYMMETRIC_6, "left-asymmetric-6"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_RIGHT_ASYMMETRIC_6, "right-asymmetric-6"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_LEFT_SYMMETRIC_6, "left-symmetric-6"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_RIGHT_SYMMETRIC_6, "right-symmetric-6"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_LAYOUT_PARITY_FIRST_6, "parity-first-6"},
		{XBDEV_MD_LEVEL_RAID10, XBDEV_MD_LAYOUT_NEAR(3), "near=3"},
		{XBDEV_MD_LEVEL_RAID10, XBDEV_MD_LAYOUT_FAR(2), "far=2"},
		{XBDEV_MD_LEVEL_RAID10, XBDEV_MD_LAYOUT_OFFSET(2), "offset=2"},
		{XBDEV_MD_LEVEL_RAID0, XBDEV_MD_LAYOUT_RAID0_ORIGINAL, "original"},
		{XBDEV_MD_LEVEL_RAID0, XBDEV_MD_LAYOUT_RAID0_ALTERNATE, "alternate"},
	};

	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		xbdev_md_create_options_t options = {
			.size = sizeof(options),
			.level = layouts[i].level,
			.base_bdevs = disks,
			.num_base_bdevs = 5,
			.config = {.layout = layouts[i].layout, .assume_clean = true},
			.force = true,
		};
		xbdev_md_detail_t detail;

		must(xbdev_md_create_with("md0", &options));
		detail = detail_of("md0");
		assert_string_equal(detail.layout_name, layouts[i].name);
		assert_int_equal(detail.layout, layouts[i].layout);
		assert_int_equal(detail.chunk_size, 512);
		must(xbdev_md_stop("md0"));
	}
}

static void test_short_forms_make_the_same(void **state)
{
	static const int wanted[] = {XBDEV_MD_LEVEL_RAID0, XBDEV_MD_LEVEL_RAID1,
		XBDEV_MD_LEVEL_RAID5, XBDEV_MD_LEVEL_RAID10, XBDEV_MD_LEVEL_LINEAR};

	for (int i = 0; i < 5; i++) {
		xbdev_md_detail_t detail;

		must(i == 0      ? xbdev_md_create_raid0("md0", disks, 4, 128)
			: i == 1 ? xbdev_md_create_raid1("md0", disks, 4)
			: i == 2 ? xbdev_md_create_raid5("md0", disks, 4, 128)
			: i == 3 ? xbdev_md_create_raid10("md0", disks, 4, 128)
				 : xbdev_md_create_linear("md0", disks, 4));
		detail = detail_of("md0");
		assert_int_equal(detail.level, wanted[i]);
		if (i != 1 && i != 4) {
			assert_int_equal(detail.chunk_size, 128);
		}
		must(xbdev_md_stop("md0"));
		for (int k = 0; k < 4; k++) {
			must(xbdev_md_zero_superblock(disks[k]));
		}
	}
}

static void test_a_policy_is_what_detail_says(void **state)
{
	static const struct {
		int level, consistency, rc;
		bool policy;
		const char *wanted;
	} cases[] = {
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_CONSISTENCY_DEFAULT, 0, false, "resync"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_CONSISTENCY_DEFAULT, 0, true, "ppl"},
		{XBDEV_MD_LEVEL_RAID4, XBDEV_MD_CONSISTENCY_DEFAULT, 0, true, "journal"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_CONSISTENCY_DEFAULT, 0, true, "journal"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_CONSISTENCY_RESYNC, 0, true, "resync"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_CONSISTENCY_BITMAP, 0, false, "bitmap"},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_CONSISTENCY_PPL, 0, false, "ppl"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_CONSISTENCY_JOURNAL, 0, false, "journal"},
		{XBDEV_MD_LEVEL_RAID6, XBDEV_MD_CONSISTENCY_PPL, -EINVAL, false, NULL},
		{XBDEV_MD_LEVEL_RAID5, XBDEV_MD_CONSISTENCY_JOURNAL, -EINVAL, false, NULL},
		{XBDEV_MD_LEVEL_RAID5, 9, -EINVAL, false, NULL},
	};

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const xbdev_md_create_options_t options = {
			.size = sizeof(options),
			.level = cases[i].level,
			.base_bdevs = disks,
			.num_base_bdevs = 4,
			.config = {.chunk_size_kb = 16, .consistency_policy = cases[i].policy},
			.consistency = cases[i].consistency,
		};

		assert_int_equal(xbdev_md_create_with("md0", &options), cases[i].rc);
		if (cases[i].rc == 0) {
			assert_string_equal(detail_of("md0").consistency, cases[i].wanted);
			must(xbdev_md_stop("md0"));
		}
		for (int k = 0; k < 4 && cases[i].rc == 0; k++) {
			must(xbdev_md_zero_superblock(disks[k]));
		}
	}
}

/* Which members are write-mostly, and with how much they may be behind, is on the members. */
static void test_write_behind_is_what_detail_says(void **state)
{
	const char *mostly[] = {"d1", "d2"}, *nobody[] = {"d3"};
	xbdev_md_create_options_t options = {
		.size = sizeof(options),
		.level = XBDEV_MD_LEVEL_RAID1,
		.base_bdevs = disks,
		.num_base_bdevs = 3,
		.config = {.write_behind = 100, .bitmap_chunk_kb = 64, .assume_clean = true},
		.write_mostly = nobody,
		.num_write_mostly = 1,
	};

	assert_int_equal(xbdev_md_create_with("md0", &options), -EINVAL);
	assert_non_null(strstr(xbdev_last_error(), "d3"));
	options.write_mostly = mostly;
	options.num_write_mostly = 2;
	must(xbdev_md_create_with("md0", &options));
	for (int round = 0; round < 2; round++) {
		xbdev_md_detail_t detail = detail_of("md0");
		xbdev_md_info_t info;

		assert_int_equal(detail.write_behind, 100);
		assert_int_equal(detail.nr_behind, 0);
		assert_false(detail.more[0].is_write_mostly);
		assert_true(detail.more[1].is_write_mostly && detail.more[2].is_write_mostly);
		must(xbdev_md_examine("d2", &info));
		assert_true(info.is_write_mostly);
		assert_int_equal(info.bitmap.write_behind, 100);
		assert_int_equal(info.bitmap.chunk_size, 65536);
		assert_int_equal(info.bitmap.bits, (detail.size + 63) / 64);
		must(xbdev_md_stop("md0"));
		if (round == 0) {
			must(xbdev_md_run("md0"));
		}
	}
	for (int k = 0; k < 3; k++) {
		must(xbdev_md_zero_superblock(disks[k]));
	}
}

/* Neither is on the members: they are said again, or kept by the library. */
static void test_group_and_priority_are_said_at_the_beginning(void **state)
{
	int priority = 7;
	xbdev_md_create_options_t options = {
		.size = sizeof(options),
		.level = XBDEV_MD_LEVEL_RAID1,
		.base_bdevs = disks,
		.num_base_bdevs = 2,
		.config = {.assume_clean = true},
		.spare_group = "shelf",
		.priority = &priority,
	};
	xbdev_md_assemble_options_t again = {
		.size = sizeof(again),
		.level = XBDEV_MD_LEVEL_AUTO,
		.base_bdevs = disks,
		.num_base_bdevs = 2,
		.spare_group = "drawer",
	};

	must(xbdev_md_create_with("md0", &options));
	must(xbdev_md_stop("md0"));
	must(xbdev_md_run("md0"));
	assert_string_equal(detail_of("md0").spare_group, "shelf");
	assert_int_equal(detail_of("md0").priority, 7);
	must(xbdev_md_manage("md0", XBDEV_MD_SET_WRITE_MOSTLY, "d1"));
	must(xbdev_md_stop("md0"));
	must(xbdev_md_assemble_with("md0", &again));
	assert_string_equal(detail_of("md0").spare_group, "drawer");
	assert_int_equal(detail_of("md0").priority, XBDEV_MD_PRIORITY_DEFAULT);
	assert_true(detail_of("md0").more[1].is_write_mostly);
	must(xbdev_md_manage("md0", XBDEV_MD_CLEAR_WRITE_MOSTLY, "d1"));
	assert_false(detail_of("md0").more[1].is_write_mostly);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_WRITE_MOSTLY, "d3"), -ENOENT);
	must(xbdev_md_manage("md0", XBDEV_MD_ADD_WRITE_MOSTLY, "d2"));
	assert_true(detail_of("md0").more[2].is_write_mostly);
	must(xbdev_md_manage("md0", XBDEV_MD_REMOVE_SPARE, "d2"));
	must(xbdev_md_stop("md0"));
	priority = 8;
	again.priority = &priority;
	assert_int_equal(xbdev_md_assemble_with("md0", &again), -EINVAL);
	assert_int_equal(xbdev_md_create_with("md1", &options), -EINVAL);
	for (int k = 0; k < 2; k++) {
		must(xbdev_md_zero_superblock(disks[k]));
	}
}

static void refuse(int code, const char *sentence, const char *name, int level, int nr_disks,
	xbdev_md_config_t config)
{
	int rc = xbdev_md_create(name, level, disks, nr_disks, &config);

	if (rc != code || strstr(xbdev_last_error(), sentence) == NULL) {
		fail_msg("%d, not %d: %s", rc, code, xbdev_last_error());
	}
	assert_blank(0, NR_DISKS);
}

static void test_what_is_refused_leaves_the_members_alone(void **state)
{
	const int raid5 = XBDEV_MD_LEVEL_RAID5, raid10 = XBDEV_MD_LEVEL_RAID10;
	const char *twice[] = {"d0", "d0"}, *none[] = {"missing", "missing"},
		   *few[] = {"d0", "missing", "missing"}, *gone[] = {"d0", "nobody"};

	refuse(-EINVAL, "bitmap", "md0", raid5, 3, (xbdev_md_config_t){.bitmap_chunk_kb = 65});
	refuse(-EINVAL, "bitmap", "md0", 2, 2, (xbdev_md_config_t){.write_behind = 1});
	refuse(-EINVAL, "behind", "md0", 2, 2, (xbdev_md_config_t){.write_behind = -1});
	refuse(-EINVAL, "16383", "md0", 2, 2,
		(xbdev_md_config_t){.write_behind = 16384, .bitmap_chunk_kb = 64});
	refuse(-EINVAL, "raid1", "md0", raid5, 3,
		(xbdev_md_config_t){.write_behind = 1, .bitmap_chunk_kb = 64});
	refuse(-EINVAL, "consistency", "md0", raid10, 3,
		(xbdev_md_config_t){.consistency_policy = true});
	refuse(-EINVAL, "bitmap", "md0", raid5, 3,
		(xbdev_md_config_t){.consistency_policy = true, .bitmap_chunk_kb = 64});
	refuse(-EINVAL, "stripe", "md0", raid5, 3, (xbdev_md_config_t){.stripe_cache_size = 15});
	refuse(-EINVAL, "stripe", "md0", raid5, 3, (xbdev_md_config_t){.stripe_cache_size = 32769});
	refuse(-EINVAL, "stripe", "md0", 1, 3, (xbdev_md_config_t){.stripe_cache_size = 256});
	refuse(-EINVAL, "chunk", "md0", raid5, 3, (xbdev_md_config_t){.chunk_size_kb = 3});
	refuse(-EINVAL, "chunk", "md0", raid5, 3, (xbdev_md_config_t){.chunk_size_kb = 65537});
	refuse(-EINVAL, "level 3", "md0", 3, 3, (xbdev_md_config_t){0});
	refuse(-EINVAL, "layout", "md0", raid5, 3, (xbdev_md_config_t){.layout = -1});
	refuse(-EOPNOTSUPP, "layout", "md0", raid5, 3, (xbdev_md_config_t){.layout = 77});
	refuse(-EINVAL, "copies", "md0", raid10, 3,
		(xbdev_md_config_t){.layout = XBDEV_MD_LAYOUT_NEAR(4)});
	refuse(-EINVAL, "copies", "md0", raid10, 3, (xbdev_md_config_t){.layout = 1});
	refuse(-EINVAL, "raid6", "md0", XBDEV_MD_LEVEL_RAID6, 2, (xbdev_md_config_t){0});
	refuse(-EINVAL, "0 members", "md0", raid5, 0, (xbdev_md_config_t){0});
	refuse(-EINVAL, "-1 devices", "md0", raid5, -1, (xbdev_md_config_t){0});
	refuse(-EEXIST, "another name", "d7", raid5, 3, (xbdev_md_config_t){0});
	refuse(-EINVAL, "name", "a b", raid5, 3, (xbdev_md_config_t){0});
	refuse(-EINVAL, "name", "", raid5, 3, (xbdev_md_config_t){0});

	assert_int_equal(xbdev_md_create_raid1("md0", twice, 2), -EBUSY);
	assert_int_equal(xbdev_md_create_raid1("md0", none, 2), -EINVAL);
	assert_int_equal(xbdev_md_create_raid5("md0", few, 3, 64), -EINVAL);
	assert_int_equal(xbdev_md_create_raid1("md0", gone, 2), -ENODEV);
	assert_int_equal(xbdev_md_create_raid1(NULL, disks, 2), -EINVAL);
	assert_int_equal(xbdev_md_create_raid1("md0", NULL, 2), -EINVAL);
	assert_blank(0, NR_DISKS);

	must(xbdev_md_create_raid1("md0", disks, 2));
	assert_int_equal(xbdev_md_create_raid1("md1", disks + 1, 2), -EBUSY);
	assert_blank(2, 1);
	assert_int_equal(xbdev_md_zero_superblock("d0"), -EBUSY);
	must(xbdev_md_stop("md0"));
	assert_int_equal(xbdev_md_create_raid1("md1", disks + 1, 2), -EEXIST);
	assert_non_null(strstr(xbdev_last_error(), "md0"));
	assert_blank(2, 1);
}

static void test_an_array_may_be_made_with_everything_said(void **state)
{
	const char *members[] = {"d0", XBDEV_MD_MISSING, "d2"}, *spares[] = {"d3"};
	xbdev_md_create_options_t options = {
		.size = sizeof(options),
		.level = XBDEV_MD_LEVEL_RAID5,
		.base_bdevs = members,
		.num_base_bdevs = 3,
		.config = {.chunk_size_kb = 16, .stripe_cache_size = 32},
		.uuid = "01234567:89abcdef:00112233:44556677",
		.set_name = "host:data",
	};
	xbdev_md_detail_t detail;

	must(xbdev_md_create_with("md0", &options));
	detail = detail_of("md0");
	assert_true(detail.degraded);
	assert_int_equal(detail.state, XBDEV_MD_STATE_DEGRADED);
	assert_int_equal(detail.disks[1].state, XBDEV_MD_DISK_REMOVED);
	assert_string_equal(detail.disks[1].role, "removed");
	assert_string_equal(detail.uuid, "01234567-89ab-cdef-0011-223344556677");
	assert_string_equal(detail.set_name, "host:data");
	must(xbdev_md_stop("md0"));

	options.spares = spares;
	options.num_spares = 1;
	assert_int_equal(xbdev_md_create_with("md0", &options), -EEXIST);
	options.force = true;
	must(xbdev_md_create_with("md0", &options));
	detail = wait_for_rest("md0"); /* the spare has taken the place */
	assert_false(detail.degraded);
	assert_string_equal(detail.disks[1].name, "d3");
	must(xbdev_md_stop("md0"));

	options.size = 8;
	assert_int_equal(xbdev_md_create_with("md0", &options), -EINVAL);
	options.size = sizeof(options);
	options.uuid = "xyz";
	assert_int_equal(xbdev_md_create_with("md0", &options), -EINVAL);
	options.uuid = NULL;
	options.set_name = "a name of more than thirty-one bytes";
	assert_int_equal(xbdev_md_create_with("md0", &options), -EINVAL);
}

/* ---- stopping, assembling, running ---- */

static void test_a_bitmap_is_kept_for_who_asks(void **state)
{
	xbdev_md_config_t config = {.chunk_size_kb = 64, .bitmap_chunk_kb = 64};
	xbdev_md_info_t info;

	must(xbdev_md_create("md0", XBDEV_MD_LEVEL_RAID5, disks, 3, &config));
	must(xbdev_md_stop("md0"));
	must(xbdev_md_examine("d0", &info));
	assert_true(info.bitmap_offset > 0);
	must(xbdev_md_run("md0"));
	must(xbdev_md_stop("md0"));
	for (int i = 0; i < 3; i++) {
		must(xbdev_md_zero_superblock(disks[i]));
	}
}

static void write_mark(const char *name, int mark)
{
	char buf[4096];
	int fd = xbdev_open(name);

	assert_true(fd >= 0);
	memset(buf, mark, sizeof(buf));
	assert_int_equal(xbdev_write(fd, buf, sizeof(buf), 3 * MIB), sizeof(buf));
	assert_int_equal(xbdev_close(fd), 0);
}

/* A read-only device is opened for reading. */
static void assert_read_only(const char *name)
{
	char buf[512] = {0};
	int fd = xbdev_open(name);

	assert_true(fd >= 0);
	assert_int_equal(xbdev_write(fd, buf, sizeof(buf), 0), -EROFS);
	assert_int_equal(xbdev_close(fd), 0);
}

static void check_mark(const char *name, int mark)
{
	char buf[4096], wanted[4096];
	int fd = xbdev_open_with(name, XBDEV_OPEN_READ);

	assert_true(fd >= 0);
	memset(wanted, mark, sizeof(wanted));
	assert_int_equal(xbdev_read(fd, buf, sizeof(buf), 3 * MIB), sizeof(buf));
	assert_memory_equal(buf, wanted, sizeof(buf));
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_assembly_takes_what_the_members_say(void **state)
{
	const char *mixed[] = {"d2", "d0", "d1"};
	xbdev_md_assemble_options_t options = {.size = sizeof(options),
		.level = XBDEV_MD_LEVEL_AUTO,
		.base_bdevs = mixed,
		.num_base_bdevs = 2};
	xbdev_md_detail_t detail;

	must(xbdev_md_create_raid5("md0", disks, 3, 64));
	write_mark("md0", 7);
	wait_for_rest("md0");
	must(xbdev_md_stop("md0"));

	assert_int_equal(xbdev_md_assemble("md1", XBDEV_MD_LEVEL_RAID6, mixed, 3), -EINVAL);
	assert_non_null(strstr(xbdev_last_error(), "raid5"));
	must(xbdev_md_assemble("md1", XBDEV_MD_LEVEL_RAID5, mixed, 3));
	check_mark("md1", 7);
	detail = detail_of("md1");
	assert_string_equal(detail.set_name, "md0");
	assert_string_equal(detail.disks[0].name, "d0");
	must(xbdev_md_stop("md1"));

	assert_int_equal(xbdev_md_assemble("md1", XBDEV_MD_LEVEL_AUTO, mixed, 2), -EAGAIN);
	options.run = true;
	options.uuid = "01234567-89ab-cdef-0011-223344556677";
	assert_int_equal(xbdev_md_assemble_with("md1", &options), -EINVAL);
	options.uuid = detail.uuid;
	options.is_read_only = true;
	options.stripe_cache_size = 64;
	must(xbdev_md_assemble_with("md1", &options));
	detail = detail_of("md1");
	assert_true(detail.degraded && detail.is_read_only);
	check_mark("md1", 7);
	assert_read_only("md1");
	/* Its members are open for reading only. */
	assert_int_equal(xbdev_md_run("md1"), -EROFS);
	assert_int_equal(xbdev_md_manage("md1", XBDEV_MD_ADD_DISK, "d1"), -EROFS);
	must(xbdev_md_stop("md1"));
	assert_int_equal(xbdev_md_assemble("md1", XBDEV_MD_LEVEL_AUTO, disks + 3, 2), -EINVAL);
}

static void test_run_brings_back_what_was_stopped(void **state)
{
	must(xbdev_md_create_raid1("md0", disks, 3));
	write_mark("md0", 9);
	wait_for_rest("md0");
	assert_int_equal(xbdev_md_run("md0"), 0);
	must(xbdev_md_stop("md0"));
	assert_int_equal(xbdev_md_stop("md0"), -ENODEV);
	must(xbdev_config_remove("d2"));
	must(xbdev_md_run("md0"));
	check_mark("md0", 9);
	assert_true(detail_of("md0").degraded);

	must(xbdev_md_manage("md0", XBDEV_MD_SET_READONLY, NULL));
	assert_int_equal(detail_of("md0").is_read_only, true);
	assert_read_only("md0");
	must(xbdev_md_run("md0"));
	write_mark("md0", 10);
	check_mark("md0", 10);

	assert_int_equal(xbdev_md_run("nobody"), -ENODEV);
	assert_int_equal(xbdev_md_run("d5"), -EINVAL);
	assert_int_equal(xbdev_md_stop("d5"), -EINVAL);
	assert_int_equal(xbdev_md_run(NULL), -EINVAL);
	assert_int_equal(xbdev_md_stop(NULL), -EINVAL);
}

/* ---- members ---- */

static void test_members_fail_and_are_replaced(void **state)
{
	xbdev_md_replace_t replace = {"d1", "d4"};
	xbdev_md_detail_t detail;

	must(xbdev_md_create_raid5("md0", disks, 4, 64));
	wait_for_rest("md0");
	write_mark("md0", 3);
	must(xbdev_md_manage("md0", XBDEV_MD_ADD_SPARE, "d4"));
	detail = detail_of("md0");
	assert_int_equal(detail.spare_disks, 1);
	assert_int_equal(disk_state(&detail, "d4"), XBDEV_MD_DISK_SPARE);

	must(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d1"));
	/* The spare has been taken by itself; naming it succeeds, too. */
	must(xbdev_md_manage("md0", XBDEV_MD_REPLACE_DISK, &replace));
	detail = wait_for_rest("md0");
	assert_false(detail.degraded);
	assert_int_equal(
		detail.state == XBDEV_MD_STATE_CLEAN || detail.state == XBDEV_MD_STATE_ACTIVE, 1);
	assert_int_equal(disk_state(&detail, "d4"), XBDEV_MD_DISK_ACTIVE);
	assert_int_equal(disk_state(&detail, "d1"), XBDEV_MD_DISK_FAULTY);
	assert_int_equal(detail.failed_disks, 1);
	check_mark("md0", 3);

	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_REMOVE_DISK, "d0"), -EBUSY);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_REMOVE_SPARE, "d1"), -EBUSY);
	must(xbdev_md_manage("md0", XBDEV_MD_REMOVE_DISK, "d1"));
	detail = detail_of("md0");
	assert_int_equal(disk_state(&detail, "d1"), -1);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_REMOVE_DISK, "d1"), -ENOENT);

	/* One that serves is replaced while it serves. */
	replace = (xbdev_md_replace_t){"d0", "d5"};
	must(xbdev_md_manage("md0", XBDEV_MD_REPLACE_DISK, &replace));
	detail = wait_for_rest("md0");
	assert_int_equal(disk_state(&detail, "d5"), XBDEV_MD_DISK_ACTIVE);
	assert_int_equal(disk_state(&detail, "d0"), XBDEV_MD_DISK_FAULTY);
	check_mark("md0", 3);

	must(xbdev_md_manage("md0", XBDEV_MD_ADD_DISK, "d6"));
	must(xbdev_md_manage("md0", XBDEV_MD_REMOVE_SPARE, "d6"));
	detail = detail_of("md0");
	assert_int_equal(disk_state(&detail, "d6"), -1);
}

static void test_commands_check_their_arguments(void **state)
{
	xbdev_md_sync_speed_t speed = {.min = 2000, .max = 1000};
	xbdev_md_detail_t detail;

	must(xbdev_md_create_raid1("md0", disks, 2));
	assert_int_equal(xbdev_md_manage("md0", 0, NULL), -EINVAL);
	assert_int_equal(xbdev_md_manage("md0", 16, NULL), -EINVAL);
	assert_int_equal(xbdev_md_manage("md0", -1, NULL), -EINVAL);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_ADD_DISK, NULL), -EINVAL);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_ADD_DISK, "nobody"), -ENODEV);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d5"), -ENOENT);
	assert_int_equal(xbdev_md_manage("nobody", XBDEV_MD_CHECK, NULL), -ENODEV);
	assert_int_equal(xbdev_md_manage("d5", XBDEV_MD_CHECK, NULL), -EINVAL);
	assert_int_equal(xbdev_md_manage(NULL, XBDEV_MD_CHECK, NULL), -EINVAL);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_SYNC_SPEED, &speed), -EINVAL);
	speed = (xbdev_md_sync_speed_t){.min = 100, .max = 5000};
	must(xbdev_md_manage("md0", XBDEV_MD_SET_SYNC_SPEED, &speed));
	detail = detail_of("md0");
	assert_int_equal(detail.speed_min, 100);
	assert_int_equal(detail.speed_max, 5000);

	must(xbdev_md_manage("md0", XBDEV_MD_STOP_REBUILD, NULL));
	detail = wait_for_rest("md0");
	assert_string_equal(detail.resync_status, "frozen");
	assert_true(detail.is_frozen);
	speed = (xbdev_md_sync_speed_t){0};
	must(xbdev_md_manage("md0", XBDEV_MD_SET_SYNC_SPEED, &speed));
	must(xbdev_md_manage("md0", XBDEV_MD_START_REBUILD, NULL));
	detail = wait_for_rest("md0");
	assert_string_equal(detail.resync_status, "idle");
	assert_true(detail.resync_progress == 100);

	must(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d0"));
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d1"), -EBUSY);
	must(xbdev_md_stop("md0"));
	must(xbdev_md_create_raid0("md1", disks + 2, 2, 64));
	assert_int_equal(xbdev_md_manage("md1", XBDEV_MD_ADD_SPARE, "d5"), -EINVAL);
	assert_int_equal(xbdev_md_manage("md1", XBDEV_MD_CHECK, NULL), -EINVAL);
}

/* A spare of one array goes to another of its group, and rebuilds can be made to wait. */
static void test_spares_are_shared_and_rebuilds_take_turns(void **state)
{
	xbdev_md_config_t config = {.assume_clean = true};
	xbdev_md_detail_t detail;
	int priority = XBDEV_MD_PRIORITY_MAX;

	must(xbdev_md_create("md0", XBDEV_MD_LEVEL_RAID1, disks, 2, &config));
	must(xbdev_md_create("md1", XBDEV_MD_LEVEL_RAID1, disks + 2, 2, &config));
	must(xbdev_md_manage("md1", XBDEV_MD_ADD_SPARE, (void *)disks[4]));
	must(xbdev_md_manage("md0", XBDEV_MD_SET_SPARE_GROUP, "shelf 1"));
	must(xbdev_md_manage("md1", XBDEV_MD_SET_SPARE_GROUP, "shelf 1"));
	must(xbdev_md_manage("md0", XBDEV_MD_SET_PRIORITY, &priority));
	detail = detail_of("md0");
	assert_string_equal(detail.spare_group, "shelf 1");
	assert_int_equal(detail.priority, XBDEV_MD_PRIORITY_MAX);
	assert_int_equal(detail_of("md1").priority, XBDEV_MD_PRIORITY_DEFAULT);
	priority++;
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_PRIORITY, &priority), -EINVAL);
	priority = -1;
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_PRIORITY, &priority), -EINVAL);
	assert_int_equal(xbdev_md_manage("md0", XBDEV_MD_SET_SPARE_GROUP,
				 "a name that is longer than any group's"),
		-EINVAL);

	must(xbdev_md_set_rebuild_limit(1));
	must(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d0"));
	for (int i = 0; i < 60000 && detail_of("md0").degraded; i++) {
		usleep(1000);
	}
	detail = detail_of("md0");
	assert_false(detail.degraded);
	assert_string_equal(detail.disks[0].name, disks[4]);
	assert_false(detail.is_waiting);
	must(xbdev_md_set_rebuild_limit(0));
	must(xbdev_md_manage("md0", XBDEV_MD_SET_SPARE_GROUP, NULL));
	assert_string_equal(detail_of("md0").spare_group, "");
}

static void test_check_counts_and_repair_mends_what_differs(void **state)
{
	xbdev_md_config_t config = {.assume_clean = true};
	xbdev_md_info_t info;
	char buf[512];
	int fd;

	must(xbdev_md_create("md0", XBDEV_MD_LEVEL_RAID1, disks, 2, &config));
	must(xbdev_md_examine("d1", &info));
	must(xbdev_md_stop("md0"));
	fd = xbdev_open("d1");
	memset(buf, 1, sizeof(buf));
	assert_int_equal(xbdev_write(fd, buf, sizeof(buf), info.data_offset * 512 + MIB), 512);
	assert_int_equal(xbdev_close(fd), 0);
	must(xbdev_md_run("md0"));
	for (int round = 0; round < 3; round++) {
		xbdev_md_detail_t detail;

		must(xbdev_md_manage("md0", round == 1 ? XBDEV_MD_REPAIR : XBDEV_MD_CHECK, NULL));
		do {
			usleep(1000);
			detail = detail_of("md0");
		} while (strcmp(detail.sync_action, "idle") != 0);
		assert_int_equal(detail.mismatches != 0, round < 2);
	}
}

/* ---- events ---- */

struct events {
	pthread_mutex_t mutex;
	int count;
	int kinds[256];
	char disks[256][16];
	int waiting_rc;
};

static void on_event(void *arg, const xbdev_md_event_t *event)
{
	struct events *events = arg;

	pthread_mutex_lock(&events->mutex);
	if (strcmp(event->md_name, "md0") == 0 && events->count < 256) {
		events->kinds[events->count] = event->kind;
		snprintf(events->disks[events->count++], 16, "%.15s", event->disk);
	}
	events->waiting_rc = xbdev_md_stop("md0");
	pthread_mutex_unlock(&events->mutex);
}

/* Where such an event is among those after `from`; -1. */
static int find_event(struct events *events, int from, int kind, const char *disk)
{
	int at = -1;

	pthread_mutex_lock(&events->mutex);
	for (int i = from; i < events->count && at < 0; i++) {
		if (events->kinds[i] == kind && strcmp(events->disks[i], disk) == 0) {
			at = i;
		}
	}
	pthread_mutex_unlock(&events->mutex);
	return at;
}

static int need_event(struct events *events, int from, int kind, const char *disk)
{
	int at = find_event(events, from, kind, disk);

	for (int i = 0; i < 60000 && at < 0; i++) {
		usleep(1000);
		detail_of("md0"); /* polls in embedded mode */
		at = find_event(events, from, kind, disk);
	}
	if (at < 0) {
		fail_msg("no event %d of disk '%s'", kind, disk);
	}
	return at;
}

static void test_who_watches_hears_of_every_change(void **state)
{
	struct events events = {.mutex = PTHREAD_MUTEX_INITIALIZER};
	xbdev_md_replace_t replace = {"d0", "d3"};
	int at, count;

	must(xbdev_md_monitor(on_event, &events));
	assert_int_equal(xbdev_md_monitor(on_event, &events), -EEXIST);
	must(xbdev_md_create_raid1("md0", disks, 2));
	at = need_event(&events, 0, XBDEV_MD_EVENT_ARRAY_ADDED, "");
	assert_int_equal(events.waiting_rc, -EDEADLK);
	at = need_event(&events, at, XBDEV_MD_EVENT_SYNC_BEGUN, "");
	at = need_event(&events, at, XBDEV_MD_EVENT_SYNC_DONE, "");
	must(xbdev_md_manage("md0", XBDEV_MD_ADD_SPARE, "d2"));
	at = need_event(&events, at, XBDEV_MD_EVENT_DISK_ADDED, "d2");
	must(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d1"));
	at = need_event(&events, at, XBDEV_MD_EVENT_DISK_FAILED, "d1");
	at = need_event(&events, at, XBDEV_MD_EVENT_SPARE_TAKEN, "d2");
	at = need_event(&events, at, XBDEV_MD_EVENT_DISK_IN_SYNC, "d2");
	must(xbdev_md_manage("md0", XBDEV_MD_REMOVE_DISK, "d1"));
	at = need_event(&events, at, XBDEV_MD_EVENT_DISK_REMOVED, "d1");
	must(xbdev_md_manage("md0", XBDEV_MD_REPLACE_DISK, &replace));
	at = need_event(&events, at, XBDEV_MD_EVENT_DISK_REPLACED, "d0");
	must(xbdev_md_manage("md0", XBDEV_MD_SET_READONLY, NULL));
	at = need_event(&events, at, XBDEV_MD_EVENT_READ_ONLY, "");
	must(xbdev_md_run("md0"));
	at = need_event(&events, at, XBDEV_MD_EVENT_READ_WRITE, "");
	must(xbdev_md_stop("md0"));
	assert_true(find_event(&events, at, XBDEV_MD_EVENT_ARRAY_REMOVED, "") >= 0);

	must(xbdev_md_monitor(NULL, &events));
	count = events.count;
	must(xbdev_md_run("md0"));
	wait_for_rest("md0");
	assert_int_equal(events.count, count);
}

static void test_watchers_are_bounded(void **state)
{
	static struct events many[65] = {[0 ... 64] = {.mutex = PTHREAD_MUTEX_INITIALIZER}};

	for (int i = 0; i < 64; i++) {
		must(xbdev_md_monitor(on_event, &many[i]));
	}
	assert_int_equal(xbdev_md_monitor(on_event, &many[64]), -ENOSPC);
	must(xbdev_md_monitor(NULL, &many[5]));
	must(xbdev_md_monitor(on_event, &many[64]));
}

/* ---- the rest ---- */

static void test_looking_tells_what_is_wrong(void **state)
{
	xbdev_md_detail_t detail;
	xbdev_md_info_t info;
	char buf[512];
	int fd;

	assert_int_equal(xbdev_md_detail("nobody", &detail), -ENODEV);
	assert_int_equal(xbdev_md_detail("d0", &detail), -EINVAL);
	assert_int_equal(xbdev_md_detail(NULL, &detail), -EINVAL);
	assert_int_equal(xbdev_md_detail("d0", NULL), -EINVAL);
	assert_int_equal(xbdev_md_examine("nobody", &info), -ENODEV);
	assert_int_equal(xbdev_md_examine("d0", &info), -ENOENT);
	assert_int_equal(xbdev_md_examine("d0", NULL), -EINVAL);
	assert_int_equal(xbdev_md_zero_superblock("d0"), -ENOENT);
	assert_int_equal(xbdev_md_zero_superblock(NULL), -EINVAL);

	must(xbdev_md_create_raid1("md0", disks, 2));
	must(xbdev_md_stop("md0"));
	fd = xbdev_open("d0"); /* a byte of the superblock */
	assert_int_equal(xbdev_read(fd, buf, 512, 4096), 512);
	buf[100] ^= 1;
	assert_int_equal(xbdev_write(fd, buf, 512, 4096), 512);
	assert_int_equal(xbdev_md_zero_superblock("d0"), -EBUSY);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_md_examine("d0", &info), -EINVAL);
	assert_non_null(strstr(xbdev_last_error(), "checksum"));
	must(xbdev_md_zero_superblock("d0"));
	assert_int_equal(xbdev_md_examine("d0", &info), -ENOENT);
}

static void test_arrays_stand_on_arrays_and_go_with_the_library(void **state)
{
	const char *pairs[] = {"p0", "p1"};

	must(xbdev_md_create_raid1("p0", disks, 2));
	must(xbdev_md_create_raid1("p1", disks + 2, 2));
	must(xbdev_md_create_raid0("md0", pairs, 2, 64));
	assert_int_equal(xbdev_md_stop("p0"), -EBUSY);
	write_mark("md0", 5);
	check_mark("md0", 5);
}

static void test_other_names_do_the_same(void **state)
{
	xbdev_raid_spare_params_t spare = {.disk_name = "d2", .is_global = true};
	xbdev_raid_replace_params_t replace = {"d1", "d3", false};
	xbdev_raid_status_t status;

	must(xbdev_raid1_create("md0", disks, 2));
	must(xbdev_raid0_create("md1", disks + 4, 2, 64));
	assert_int_equal(detail_of("md1").level, XBDEV_MD_LEVEL_RAID0);
	must(xbdev_raid_remove("md1"));
	for (int i = 4; i < 6; i++) {
		must(xbdev_md_zero_superblock(disks[i]));
	}
	must(xbdev_raid5_create("md1", disks + 4, 3, 64));
	assert_int_equal(detail_of("md1").level, XBDEV_MD_LEVEL_RAID5);
	assert_int_equal(detail_of("md1").chunk_size, 64);
	must(xbdev_raid_remove("md1"));
	for (int i = 4; i < 7; i++) {
		must(xbdev_md_zero_superblock(disks[i]));
	}
	must(xbdev_raid10_create("md1", disks + 4, 4, 128));
	assert_int_equal(detail_of("md1").level, XBDEV_MD_LEVEL_RAID10);
	assert_int_equal(detail_of("md1").chunk_size, 128);
	assert_int_equal(xbdev_raid_update("md0", XBDEV_RAID_ADD_SPARE, &spare), -EOPNOTSUPP);
	assert_non_null(strstr(xbdev_last_error(), "all arrays"));
	spare.is_global = false;
	must(xbdev_raid_update("md0", XBDEV_RAID_ADD_SPARE, &spare));
	wait_for_rest("md0");
	must(xbdev_raid_get_status("md0", &status));
	assert_int_equal(status.status, XBDEV_RAID_STATUS_OPTIMAL);
	assert_int_equal(status.disk_count, 2);
	assert_int_equal(status.spare_count, 1);
	assert_true(status.rebuild_progress >= 1.0);
	must(xbdev_raid_update("md0", XBDEV_RAID_REMOVE_SPARE, &spare));

	must(xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "d1"));
	must(xbdev_raid_update("md0", XBDEV_RAID_REPLACE_DISK, &replace));
	must(xbdev_raid_get_status("md0", &status));
	assert_int_equal(status.status, XBDEV_RAID_STATUS_DEGRADED);
	assert_int_equal(status.failed_count, 1);
	must(xbdev_raid_update("md0", XBDEV_RAID_START_REBUILD, NULL));
	wait_for_rest("md0");
	must(xbdev_raid_get_status("md0", &status));
	assert_int_equal(status.status, XBDEV_RAID_STATUS_OPTIMAL);
	assert_int_equal(xbdev_raid_update("md0", 6, &spare), -EINVAL);
	assert_int_equal(xbdev_raid_update("md0", XBDEV_RAID_ADD_SPARE, NULL), -EINVAL);
	must(xbdev_raid_remove("md0"));
	assert_int_equal(xbdev_raid_get_status("md0", &status), -ENODEV);
}

#define CASE(test)                                                                                 \
	cmocka_unit_test_setup_teardown(test, start_threads, stop),                                \
	{                                                                                          \
		.name = #test "_embedded", .test_func = test, .setup_func = start_embedded,        \
		.teardown_func = stop                                                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_arrays_of_every_level_say_what_they_are),
		CASE(test_layouts_have_names),
		CASE(test_short_forms_make_the_same),
		CASE(test_a_policy_is_what_detail_says),
		CASE(test_write_behind_is_what_detail_says),
		CASE(test_group_and_priority_are_said_at_the_beginning),
		CASE(test_what_is_refused_leaves_the_members_alone),
		CASE(test_an_array_may_be_made_with_everything_said),
		CASE(test_a_bitmap_is_kept_for_who_asks),
		CASE(test_assembly_takes_what_the_members_say),
		CASE(test_run_brings_back_what_was_stopped),
		CASE(test_members_fail_and_are_replaced),
		CASE(test_commands_check_their_arguments),
		CASE(test_spares_are_shared_and_rebuilds_take_turns),
		CASE(test_check_counts_and_repair_mends_what_differs),
		CASE(test_who_watches_hears_of_every_change),
		CASE(test_watchers_are_bounded),
		CASE(test_looking_tells_what_is_wrong),
		CASE(test_other_names_do_the_same),
		CASE(test_arrays_stand_on_arrays_and_go_with_the_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

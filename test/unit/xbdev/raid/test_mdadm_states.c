/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What running arrays say of themselves and what mdadm says of their members' superblocks is the
 * same, in every state: made, written to, degraded, amid a recovery and a replacement, with spares,
 * stopped. The members are files; between two calls of the harness nothing happens to them, so that
 * mdadm sees exactly the state that the array has just told. Skipped (77) without mdadm.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"

#define MDADM        "PATH=$PATH:/usr/sbin:/sbin mdadm"
#define MEMBER_BYTES (6ull << 20)
#define MAX_FILES    8u
#define MAX_TEXT     8192u

struct shape {
	int32_t level;
	uint32_t layout, nr_members, bitmap_chunk_bytes;
	const char *level_name;
	enum xbdev_md_policy policy;
};

static const struct shape shapes[] = {
	{1, 0, 3, 0, "raid1"},
	{1, 0, 2, 65536, "raid1"},
	{4, 0, 3, 0, "raid4"},
	{5, 2, 4, 0, "raid5"},
	{5, 1, 3, 65536, "raid5"},
	{5, 0, 4, 0, "raid5", XBDEV_MD_POLICY_PPL},
	{6, 9, 5, 0, "raid6"},
	{6, 18, 5, 65536, "raid6"},
	{4, 0, 4, 0, "raid4", XBDEV_MD_POLICY_JOURNAL},
	{6, 10, 5, 65536, "raid6", XBDEV_MD_POLICY_JOURNAL},
	{10, 0x102, 5, 0, "raid10"},
	{10, 0x201, 4, 0, "raid10"},
	{10, 0x10201, 4, 0, "raid10"},
};

struct world {
	struct harness h;
	const struct shape *shape;
	char names[MAX_FILES][8], paths[MAX_FILES][256];
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct xbdev_md_info info;
	char text[MAX_TEXT]; /* what mdadm last said */
};

/* ---- the array ---- */

struct answer {
	bool is_done;
	struct xbdev_device *dev;
	struct xu_error err;
	struct xbdev_md_info *info;
};

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct answer *answer = arg;

	answer->dev = dev;
	if (dev == NULL) {
		answer->err = *err;
	}
	answer->is_done = true;
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct answer *answer = arg;

	if (err != NULL) {
		answer->err = *err;
	}
	answer->is_done = true;
}

static void on_info(void *arg, const struct xbdev_md_info *info)
{
	struct answer *answer = arg;

	MUST(info != NULL);
	*answer->info = *info;
	answer->is_done = true;
}

static void look(struct world *w)
{
	struct answer answer = {.info = &w->info};

	xbdev__md_info_get(w->dev, on_info, &answer);
	harness_wait(&w->h, answer.is_done);
}

static void manage(struct world *w, const struct xbdev_md_command *command)
{
	struct answer answer = {0};

	xbdev__md_manage(w->dev, command, on_managed, &answer);
	harness_wait(&w->h, answer.is_done);
	if (answer.err.code != 0) {
		fail_msg("%s", answer.err.text);
	}
}

static void make_member(struct world *w, uint32_t index)
{
	int fd;

	snprintf(w->names[index], sizeof(w->names[index]), "m%u", index);
	snprintf(w->paths[index], sizeof(w->paths[index]), "%s/m%u", harness_dir(), index);
	fd = open(w->paths[index], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(MEMBER_BYTES + index * 65536)), 0);
	close(fd);
	harness_create(&w->h, "file", "{'name':'%s','filename':'%s','block_size':512}",
		w->names[index], w->paths[index]);
}

static void make_array(struct world *w, const struct shape *shape, uint32_t nr_spares)
{
	const char *names[MAX_FILES];
	struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = shape->level,
		.layout = shape->layout,
		.chunk_bytes = 16384,
		.members = names,
		.nr_members = shape->nr_members,
		.nr_spares = nr_spares,
		.bitmap_chunk_bytes = shape->bitmap_chunk_bytes,
		.policy = shape->policy,
		.set_name = "host7:data",
	};
	struct answer answer = {0};

	memset(w, 0, sizeof(*w));
	w->shape = shape;
	harness_start(&w->h, 1, 1);
	for (uint32_t i = 0; i < shape->nr_members + 2; i++) {
		make_member(w, i);
		names[i] = w->names[i];
	}
	xbdev__md_create(w->h.ctx, &opts, on_made, &answer);
	harness_wait(&w->h, answer.is_done);
	if (answer.dev == NULL) {
		fail_msg("%s", answer.err.text);
	}
	w->dev = answer.dev;
	w->desc = harness_open(&w->h, "md0", true);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

static void close_array(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
	harness_stop(&w->h);
}

static bool is_recorded(const struct xbdev_md_array *array)
{
	return !array->meta.is_writing && array->meta.written == array->meta.wanted;
}

/* Until nothing runs, nothing is due, and the superblocks say clean. */
static void settle(struct world *w)
{
	const struct xbdev_md_array *array = xbdev__md_array_of(w->dev);

	harness_wait(&w->h, array->is_running && array->sync == NULL && !array->is_active &&
				    (array->in_sync_below == XBDEV_MD_NEVER || array->is_frozen) &&
				    is_recorded(array));
}

/* What the array says at a moment at which all of it is on the disks. */
static void look_recorded(struct world *w)
{
	const struct xbdev_md_array *array = xbdev__md_array_of(w->dev);
	uint32_t nr_tries = 0;

	do {
		assert_true(nr_tries++ < 100);
		harness_wait(&w->h, is_recorded(array));
		look(w);
	} while (!is_recorded(array) || array->super.events != w->info.events);
}

static void set_speed(struct world *w, uint64_t kib_per_s)
{
	manage(w, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_SPEED,
			  .speed_min_kib = kib_per_s,
			  .speed_max_kib = kib_per_s});
}

static void write_some(struct world *w)
{
	char buf[20480];

	harness_fill(buf, sizeof(buf), 3);
	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_WRITE, 8192, buf, sizeof(buf), 0), 0);
}

/* ---- mdadm ---- */

static void ask(struct world *w, const char *option, const char *path)
{
	char command[512];
	FILE *pipe;
	size_t len;

	snprintf(command, sizeof(command), MDADM " %s %s 2>&1", option, path);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	len = fread(w->text, 1, sizeof(w->text) - 1, pipe);
	w->text[len] = '\0';
	if (pclose(pipe) != 0) {
		fail_msg("%s: %s", command, w->text);
	}
}

static void expect(const struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void expect(const struct world *w, const char *fmt, ...)
{
	char wanted[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(wanted, sizeof(wanted), fmt, args);
	va_end(args);
	if (strstr(w->text, wanted) == NULL) {
		fail_msg("'%s' is not in:\n%s", wanted, w->text);
	}
}

/* "AR.A", of all roles. */
static void letters(const struct xbdev_md_info *info, char *ret_letters)
{
	memset(ret_letters, '.', info->raid_disks);
	ret_letters[info->raid_disks] = '\0';
	for (uint32_t i = 0; i < info->nr_disks; i++) {
		const struct xbdev_md_disk *disk = &info->disks[i];

		if (disk->role < 0 || disk->state == XBDEV_MD_DISK_IS_MISSING) {
			continue;
		}
		if (disk->is_replacement) {
			ret_letters[disk->role] = 'R';
		} else if (ret_letters[disk->role] != 'R') {
			ret_letters[disk->role] = 'A';
		}
	}
}

static void read_super(const struct world *w, uint32_t file, struct xbdev_md_super *ret_super)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	int fd = open(w->paths[file], O_RDONLY | O_CLOEXEC);
	struct xu_error err = {0};

	assert_true(fd >= 0);
	assert_int_equal(
		pread(fd, bytes, sizeof(bytes), XBDEV_MD_SUPER_OFFSET * 512), sizeof(bytes));
	close(fd);
	if (xbdev__md_super_parse(bytes, MEMBER_BYTES / 512 + file * 128, ret_super, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

/* Of a device mdadm reads the bitmap behind the superblock, of a file the file. */
static void ask_of_bitmap(struct world *w, uint32_t file)
{
	char bytes[8192], path[256];
	int fd = open(w->paths[file], O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 16 * 512), sizeof(bytes));
	close(fd);
	snprintf(path, sizeof(path), "%s/bitmap", harness_dir());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	ask(w, "--examine-bitmap", path);
}

static void expect_array(const struct world *w)
{
	const struct xbdev_md_info *info = &w->info;
	char uuid[36], roles[XBDEV_MD_MAX_DISKS_INFO];

	xbdev__md_uuid_format(&info->uuid, uuid);
	letters(info, roles);
	expect(w, "Array UUID : %s\n", uuid);
	expect(w, "Name : host7:data");
	expect(w, "Raid Level : %s\n", w->shape->level_name);
	expect(w, "Raid Devices : %u\n", info->raid_disks);
	expect(w, "Array Size : %llu KiB", (unsigned long long)info->array_sectors / 2);
	expect(w, "Events : %llu\n", (unsigned long long)info->events);
	expect(w, "Array State : %s ('A'", roles);
	expect(w, "State : %s\n", info->state == XBDEV_MD_ARRAY_CLEAN ? "clean" : "active");
	if (info->layout_name[0] != '\0') {
		expect(w, "Layout : %s\n", info->layout_name);
	}
	if (info->chunk_bytes != 0) {
		expect(w, "Chunk Size : %lluK\n", (unsigned long long)info->chunk_bytes / 1024);
	}
	if (w->shape->bitmap_chunk_bytes != 0) {
		expect(w, "Internal Bitmap : 8 sectors from superblock\n");
	}
	if (w->shape->policy == XBDEV_MD_POLICY_PPL) {
		expect(w, "PPL : 2048 sectors at offset 8 sectors from superblock\n");
	}
	assert_int_equal(info->policy, w->shape->policy);
	assert_non_null(strstr(w->text, " - correct\n"));
}

static void expect_disk(const struct world *w, const struct xbdev_md_disk *disk, uint32_t file)
{
	struct xbdev_md_super super;
	char uuid[36];

	read_super(w, file, &super);
	xbdev__md_uuid_format(&super.device_uuid, uuid);
	assert_int_equal(super.dev_number, disk->number);
	assert_true(super.events == w->info.events);
	expect(w, "Device UUID : %s\n", uuid);
	expect(w, "Feature Map : 0x%x\n", super.feature_map);
	expect(w, "Avail Dev Size : %llu sectors", (unsigned long long)disk->size_sectors);
	expect(w, "Data Offset : %llu sectors\n", (unsigned long long)super.data_offset);
	if (disk->role < 0) {
		expect(w, "Device Role : spare\n");
	} else {
		expect(w, "Device Role : %s device %d\n",
			disk->is_replacement ? "Replacement" : "Active", disk->role);
	}
	if (disk->state == XBDEV_MD_DISK_IS_RECOVERING) {
		assert_true(super.recovery_offset <= disk->recovered_sectors);
		expect(w, "Recovery Offset : %llu sectors\n",
			(unsigned long long)super.recovery_offset);
	} else {
		assert_null(strstr(w->text, "Recovery Offset"));
	}
}

/* Every member that serves or waits, and how many in this state. */
static uint32_t compare(struct world *w, enum xbdev_md_disk_state counted)
{
	uint32_t count = 0;

	look_recorded(w);
	for (uint32_t i = 0; i < w->info.nr_disks; i++) {
		const struct xbdev_md_disk *disk = &w->info.disks[i];
		uint32_t file = (uint32_t)(disk->name[1] - '0');

		count += disk->state == counted;
		if (disk->state == XBDEV_MD_DISK_IS_MISSING ||
			disk->state == XBDEV_MD_DISK_IS_FAULTY) {
			continue;
		}
		ask(w, "--examine", w->paths[file]);
		expect_array(w);
		expect_disk(w, disk, file);
		if (w->shape->bitmap_chunk_bytes != 0 && disk->role >= 0) {
			ask_of_bitmap(w, file);
			expect(w, "Events : %llu\n", (unsigned long long)w->info.events);
			expect(w, "Chunksize : %u KB\n", w->shape->bitmap_chunk_bytes / 1024);
		}
	}
	return count;
}

/* ---- the states ---- */

static void pass_states(const struct shape *shape)
{
	struct world w;

	printf("%s layout %x\n", shape->level_name, shape->layout);
	make_array(&w, shape, 1);
	settle(&w);
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_SPARE), 1);
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_IN_SYNC), shape->nr_members);
	write_some(&w);
	compare(&w, XBDEV_MD_DISK_IS_IN_SYNC);
	assert_int_equal(w.info.state, XBDEV_MD_ARRAY_ACTIVE);
	settle(&w);

	/* The spare takes the place of member 1, slowly. */
	manage(&w, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_SYNC_STOP});
	manage(&w, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_FAIL, .device = w.names[1]});
	settle(&w);
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_FAULTY), 1);
	assert_int_equal(w.info.nr_degraded, 1);
	set_speed(&w, 100);
	manage(&w, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_SYNC_START});
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_RECOVERING), 1);
	set_speed(&w, 0);
	settle(&w);
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_IN_SYNC), shape->nr_members);
	assert_int_equal(w.info.nr_degraded, 0);
	set_speed(&w, 100);
	manage(&w, &(struct xbdev_md_command){
			   .kind = XBDEV_MD_COMMAND_REPLACE,
			   .device = w.names[0],
			   .new_device = w.names[shape->nr_members + 1],
		   });
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_RECOVERING), 1);
	set_speed(&w, 0);
	settle(&w);
	assert_int_equal(compare(&w, XBDEV_MD_DISK_IS_IN_SYNC), shape->nr_members);
	close_array(&w);
}

static void test_mdadm_says_what_arrays_say(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		pass_states(&shapes[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mdadm_says_what_arrays_say),
	};

	if (system(MDADM " --version >/dev/null 2>&1") != 0) {
		printf("mdadm is not installed (scripts/bootstrap.sh test)\n");
		return 77;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("xbdev_raid_mdadm_states", tests, NULL, NULL);
}

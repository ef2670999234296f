/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/raid/super.c on superblocks that Linux and mdadm wrote: every field is what the
 * manifest says, and written again they are the same bytes. Then one thing after the other is wrong
 * with them, and each is refused with its sentence.
 */
#include "lib/util/error.h"
#include "lib/xbdev/raid/super.h"
#include "test/unit/xbdev/raid/fixture.h"

#define HEAD      8192u
#define SUPER     4096u /* bytes: where it is */
#define F_ANY_PPL (XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS)

/* ---- what Linux wrote ---- */

#define FIELD(name, features)                                                                      \
	{                                                                                          \
#name, offsetof(struct xbdev_md_super, name),                                      \
			sizeof(((struct xbdev_md_super *)0)->name), features                       \
	}

/* Those with features are 0 in memory unless one of them is set. */
static const struct {
	const char *name;
	size_t offset, size;
	uint32_t features;
} fields[] = {
	FIELD(feature_map, 0),
	FIELD(ctime, 0),
	FIELD(level, 0),
	FIELD(layout, 0),
	FIELD(size, 0),
	FIELD(chunksize, 0),
	FIELD(raid_disks, 0),
	FIELD(bitmap_offset, XBDEV_MD_F_BITMAP),
	FIELD(ppl_offset, F_ANY_PPL),
	FIELD(ppl_size, F_ANY_PPL),
	FIELD(new_level, XBDEV_MD_F_RESHAPE),
	FIELD(reshape_position, XBDEV_MD_F_RESHAPE),
	FIELD(delta_disks, XBDEV_MD_F_RESHAPE),
	FIELD(new_layout, XBDEV_MD_F_RESHAPE),
	FIELD(new_chunk, XBDEV_MD_F_RESHAPE),
	FIELD(new_offset, XBDEV_MD_F_NEW_OFFSET),
	FIELD(data_offset, 0),
	FIELD(data_size, 0),
	FIELD(dev_number, 0),
	FIELD(cnt_corrected_read, 0),
	FIELD(devflags, 0),
	FIELD(bblog_shift, 0),
	FIELD(bblog_size, 0),
	FIELD(bblog_offset, 0),
	FIELD(utime, 0),
	FIELD(events, 0),
	FIELD(max_dev, 0),
};

static uint64_t mask_of(size_t size)
{
	return size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
}

static void check_fields(const struct md_fixture *f, const struct md_fixture_member *member,
	const struct xbdev_md_super *super)
{
	json_t *json = member->superblock;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		bool is_valid =
			fields[i].features == 0 || xbdev__md_super_has(super, fields[i].features);
		uint64_t expected = is_valid ? md_fixture_u64(json, fields[i].name) : 0, got = 0;

		memcpy(&got, (const char *)super + fields[i].offset, fields[i].size);
		if (got != (expected & mask_of(fields[i].size))) {
			fail_msg("%s %s: %s is %llx, not %llx", f->name, member->file,
				fields[i].name, (unsigned long long)got,
				(unsigned long long)expected);
		}
	}
}

static void check_roles(const struct md_fixture_member *member, const struct xbdev_md_super *super)
{
	json_t *roles = json_object_get(member->superblock, "dev_roles");
	uint16_t role = xbdev__md_super_role(super);

	assert_true(json_array_size(roles) > 0);
	for (uint32_t i = 0; i < XBDEV_MD_MAX_DEV_ROLES; i++) {
		json_t *expected = json_array_get(roles, i);

		assert_int_equal(super->dev_roles[i],
			expected != NULL ? json_integer_value(expected) : 0xffff);
	}
	if (member->role >= 0) {
		assert_int_equal(role, member->role);
	} else {
		assert_int_equal(role, strcmp(member->state, "journal") == 0 ? XBDEV_MD_ROLE_JOURNAL
									     : XBDEV_MD_ROLE_SPARE);
	}
}

/* Those that are not numbers of the manifest's superblock, or depend on more than a feature. */
static void check_others(const struct md_fixture *f, const struct md_fixture_member *member,
	const struct xbdev_md_super *super)
{
	json_t *resync = json_object_get(member->superblock, "resync_offset");
	struct xu_uuid set_uuid = md_fixture_uuid(f->json, "uuid");
	struct xu_uuid device_uuid = md_fixture_uuid(member->json, "device_uuid");
	bool has_offset = xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET) ||
			  strcmp(member->state, "journal") == 0;
	char text[36];

	assert_true(xu_uuid_is_equal(&super->set_uuid, &set_uuid));
	assert_true(xu_uuid_is_equal(&super->device_uuid, &device_uuid));
	xbdev__md_uuid_format(&super->set_uuid, text);
	assert_string_equal(text, md_fixture_text(f->json, "uuid"));
	assert_string_equal(super->set_name, md_fixture_text(f->json, "set_name"));
	assert_true(
		super->resync_offset ==
		(json_is_string(resync) ? XBDEV_MD_CLEAN : (uint64_t)json_integer_value(resync)));
	assert_int_equal(super->recovery_offset,
		has_offset ? md_fixture_u64(member->superblock, "recovery_offset") : 0);
	assert_int_equal(super->logical_block_size, 0);
}

/* No member of these arrays has bytes left over from an older state. */
static void check_written(
	const struct md_fixture *f, const uint8_t *bytes, const struct xbdev_md_super *super)
{
	uint8_t again[XBDEV_MD_SUPER_BYTES];

	xbdev__md_super_format(super, again);
	for (uint32_t i = 0; i < sizeof(again); i++) {
		if (again[i] != bytes[i]) {
			fail_msg("%s: byte %u is written as %02x, not %02x", f->name, i, again[i],
				bytes[i]);
		}
	}
}

static void test_super_of_linux(void **state)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	uint32_t nr_members = 0;
	struct xbdev_md_super super;
	struct md_fixture f;

	(void)state;
	for (uint32_t i = 0; i < md_fixture_count(); i++) {
		md_fixture_open_heads(&f, md_fixture_name(i), HEAD);
		for (uint32_t j = 0; j < f.nr_members; j++) {
			const struct md_fixture_member *member = &f.members[j];
			struct xu_error err = {0};

			md_fixture_read(&f, j, SUPER, bytes, sizeof(bytes));
			if (xbdev__md_super_parse(bytes, member->size_bytes / 512, &super, &err) !=
				0) {
				fail_msg("%s %s: %s", f.name, member->file, err.text);
			}
			check_fields(&f, member, &super);
			check_roles(member, &super);
			check_others(&f, member, &super);
			check_written(&f, bytes, &super);
			nr_members++;
		}
		md_fixture_close(&f);
	}
	assert_true(nr_members > 250);
}

/* ---- what is wrong with them ---- */

static void load(const char *name, uint8_t *ret_bytes, uint64_t *ret_sectors)
{
	struct md_fixture f;

	md_fixture_open_heads(&f, name, HEAD);
	md_fixture_read(&f, 0, SUPER, ret_bytes, XBDEV_MD_SUPER_BYTES);
	*ret_sectors = f.members[0].size_bytes / 512;
	md_fixture_close(&f);
}

static int try_parse(const uint8_t *bytes, uint64_t dev_sectors, struct xu_error *ret_err)
{
	struct xbdev_md_super super, untouched;
	int rc;

	memset(&super, 0x5a, sizeof(super));
	memset(&untouched, 0x5a, sizeof(untouched));
	ret_err->code = 0;
	ret_err->text[0] = '\0';
	rc = xbdev__md_super_parse(bytes, dev_sectors, &super, ret_err);
	if (rc != 0) {
		assert_int_equal(rc, ret_err->code);
		assert_memory_equal(&super, &untouched, sizeof(super));
	}
	return rc;
}

static void test_super_any_byte_is_covered(void **state)
{
	static const char *const names[] = {"raid1-2-bitmap", "state-raid5-ppl", "linear-3u"};
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	struct xu_error err;
	uint64_t sectors;

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		load(names[i], bytes, &sectors);
		assert_int_equal(try_parse(bytes, sectors, &err), 0);
		for (uint32_t at = 0; at < 512; at++) {
			for (uint32_t j = 0; j < sizeof(flips); j++) {
				bytes[at] ^= flips[j];
				assert_int_equal(try_parse(bytes, sectors, &err),
					at < 4 ? -ENOENT : -EINVAL);
				bytes[at] ^= flips[j];
			}
		}
		/* Behind the roles there is nothing. */
		memset(bytes + 512, 0xff, sizeof(bytes) - 512);
		assert_int_equal(try_parse(bytes, sectors, &err), 0);
	}
}

struct change {
	uint32_t at, size;
	uint64_t value;
};

/* Writes a number to a superblock, little endian. */
static void apply(uint8_t *bytes, const struct change *change)
{
	for (uint32_t i = 0; i < change->size; i++) {
		bytes[change->at + i] = (uint8_t)(change->value >> 8 * i);
	}
}

/* The device has 16384 sectors, 2048 to 16383 of them data, bitmap at 16, bad block log at 24. */
static const struct {
	struct change changes[3];
	int rc;
	const char *text;
} wrongs[] = {
	{{{0, 4, 0xa92b4efd}}, -ENOENT, "no MD superblock at sector 8"},
	{{{4, 4, 0}}, -EINVAL, "version 0"},
	{{{4, 4, 2}}, -EINVAL, "version 2"},
	{{{8, 4, 0x2001}}, -EINVAL, "features 0x2000"},
	{{{8, 4, 0x80000001}}, -EINVAL, "features 0x80000000"},
	{{{8, 4, 0x401}}, -EINVAL, "exclude each other"},
	{{{8, 4, 0x801}}, -EINVAL, "exclude each other"},
	{{{8, 4, 0xc00}, {96, 4, 0x8000008}}, -EINVAL, "exclude each other"},
	{{{8, 4, 0x600}, {96, 4, 0x8000008}}, -EINVAL, "exclude each other"},
	{{{8, 4, 0xa00}, {96, 4, 0x8000008}}, -EINVAL, "exclude each other"},
	{{{8, 4, 0x1001}}, -EINVAL, "layout of raid0 but is of level 1"},
	{{{8, 4, 0x9}, {188, 4, 0}}, -EINVAL, "8 sectors at offset 0"},
	{{{8, 4, 0x9}, {186, 2, 9}}, -EINVAL, "9 sectors at offset 16"},
	{{{8, 4, 0x9}, {186, 2, 0}}, -EINVAL, "0 sectors at offset 16"},
	{{{8, 4, 0x9}, {186, 2, 8}}, 0, NULL},
	{{{12, 4, 1}}, -EINVAL, "newer Linux"},
	{{{228, 1, 1}}, -EINVAL, "newer Linux"},
	{{{255, 1, 1}}, -EINVAL, "newer Linux"},
	{{{224, 4, 4096}}, 0, NULL}, /* logical_block_size */
	{{{224, 4, 4095}}, -EINVAL, "newer Linux"},
	{{{224, 4, 256}}, -EINVAL, "newer Linux"},
	{{{144, 8, 0}}, -EINVAL, "says that it lies at sector 0"},
	{{{144, 8, 16}}, -EINVAL, "says that it lies at sector 16"},
	{{{144, 8, UINT64_C(8) << 32}}, -EINVAL, "says that it lies at"},
	{{{220, 4, 1921}}, -EINVAL, "room for 1921 devices"},
	{{{220, 4, 0xffffffff}}, -EINVAL, "room for 4294967295 devices"},
	{{{220, 4, 1920}}, 0, NULL},
	{{{220, 4, 0}}, 0, NULL},
	{{{136, 8, 9}}, -EINVAL, "9 sectors of data at sector 2048"},
	{{{136, 8, 10}}, 0, NULL},
	{{{136, 8, 14337}}, -EINVAL, "shrunk"},
	{{{136, 8, UINT64_MAX}}, -EINVAL, "shrunk"},
	{{{128, 8, 2049}}, -EINVAL, "shrunk"},
	{{{128, 8, UINT64_MAX}}, -EINVAL, "shrunk"},
	{{{128, 8, 16385}, {136, 8, UINT64_MAX - 1}}, -EINVAL, "shrunk"},
	{{{128, 8, 15}, {136, 8, 100}}, -EINVAL, "data at sector 15"},
	{{{128, 8, 8}, {136, 8, 100}}, -EINVAL, "data at sector 8"},
	/* The logs: on the device, not in the superblock, the data or each other. */
	{{{96, 4, 7}}, -EINVAL, "bitmap at sector 15"},
	{{{96, 4, 0}}, -EINVAL, "bitmap at sector 8"},
	{{{96, 4, (uint32_t)-9}}, -EINVAL, "bitmap at sector -1"},
	{{{96, 4, 0x80000000}}, -EINVAL, "bitmap at sector -2147483640"},
	{{{96, 4, 16}}, -EINVAL, "bitmap at sector 24"},
	{{{96, 4, 15}}, 0, NULL},
	{{{96, 4, 24}}, 0, NULL},
	{{{96, 4, 2039}}, 0, NULL},
	{{{96, 4, 2040}}, -EINVAL, "bitmap at sector 2048"},
	{{{96, 4, 16376}}, -EINVAL, "bitmap at sector 16384"},
	{{{96, 4, 16375}, {136, 8, 14335}}, 0, NULL},
	{{{188, 4, 2033}}, -EINVAL, "bad block log at sector 2041"},
	{{{188, 4, 2032}}, 0, NULL},
	{{{188, 4, 16368}, {136, 8, 14328}}, 0, NULL},
	{{{188, 4, 16369}, {136, 8, 14328}}, -EINVAL, "bad block log at sector 16377"},
	{{{188, 4, 7}}, -EINVAL, "bitmap at sector 16"},
	{{{188, 4, (uint32_t)-8}}, -EINVAL, "bad block log at sector 0"},
	{{{188, 4, 0}}, 0, NULL},
	{{{8, 4, 0x800}, {96, 4, 0x00100018}}, 0, NULL},
	{{{8, 4, 0x400}, {96, 4, 0x00100018}}, 0, NULL},
	{{{8, 4, 0x800}, {96, 4, 0x000f0018}}, -EINVAL, "log of 15 sectors"},
	{{{8, 4, 0x800}, {96, 4, 0x00100008}}, -EINVAL, "partial parity log at sector 16"},
	{{{8, 4, 0x800}, {96, 4, 0x07f00018}}, -EINVAL, "partial parity log at sector 32"},
	{{{8, 4, 0x800}, {96, 4, 0x07e00018}}, 0, NULL},
	{{{8, 4, 0x800}, {96, 4, 0x0010fff0}}, -EINVAL, "partial parity log at sector -8"},
};

static void test_super_refuses_what_is_wrong(void **state)
{
	uint8_t good[XBDEV_MD_SUPER_BYTES], bytes[XBDEV_MD_SUPER_BYTES];
	struct xu_error err;
	uint64_t sectors;

	(void)state;
	load("raid1-2-bitmap", good, &sectors);
	assert_int_equal(sectors, 16384);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		memcpy(bytes, good, sizeof(bytes));
		for (uint32_t j = 0; j < 3; j++) {
			apply(bytes, &wrongs[i].changes[j]);
		}
		md_fixture_fix_checksum(bytes);
		if (try_parse(bytes, sectors, &err) != wrongs[i].rc ||
			(wrongs[i].rc != 0 && strstr(err.text, wrongs[i].text) == NULL)) {
			fail_msg("case %zu: %d '%s'", i, err.code, err.text);
		}
	}
}

static void test_super_small_devices(void **state)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	struct xu_error err;
	uint64_t sectors;

	(void)state;
	load("raid1-2-bitmap", bytes, &sectors);
	assert_int_equal(try_parse(bytes, sectors + 1, &err), 0);
	assert_int_equal(try_parse(bytes, sectors - 1, &err), -EINVAL);
	assert_int_equal(try_parse(bytes, 24, &err), -EINVAL);
	assert_int_equal(try_parse(bytes, 23, &err), -ENOENT);
	assert_int_equal(try_parse(bytes, 0, &err), -ENOENT);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(try_parse(bytes, sectors, &err), -ENOENT);
	assert_int_equal(xbdev__md_super_parse(bytes, sectors, NULL, NULL), -ENOENT);
}

/* ---- the rest ---- */

static void test_super_bitmap_room(void **state)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	struct xbdev_md_super super;
	uint64_t sectors;

	(void)state;
	load("raid1-2-bitmap", bytes, &sectors);
	assert_int_equal(xbdev__md_super_parse(bytes, sectors, &super, NULL), 0);
	assert_int_equal(xbdev__md_super_bitmap_room(&super, sectors), 8); /* to the bad blocks */
	super.bblog_offset = 0;
	assert_int_equal(xbdev__md_super_bitmap_room(&super, sectors), 2048 - 16);
	super.bitmap_offset = 2048; /* inside the data */
	assert_int_equal(xbdev__md_super_bitmap_room(&super, sectors), 0);
	super.bitmap_offset = 16384 - 8 - 100;
	super.data_size -= 100;
	assert_int_equal(xbdev__md_super_bitmap_room(&super, sectors), 100);
	super.feature_map = 0;
	assert_int_equal(xbdev__md_super_bitmap_room(&super, sectors), 0);
}

static void test_super_role_beyond_the_table(void **state)
{
	struct xbdev_md_super super = {.max_dev = 4, .dev_roles = {3, 2, 1, 0, 7}};

	(void)state;
	super.dev_number = 3;
	assert_int_equal(xbdev__md_super_role(&super), 0);
	super.dev_number = 4;
	assert_int_equal(xbdev__md_super_role(&super), XBDEV_MD_ROLE_SPARE);
	super.dev_number = UINT32_MAX;
	assert_int_equal(xbdev__md_super_role(&super), XBDEV_MD_ROLE_SPARE);
}

/* What has no bit in the feature map is what some older state has left behind. */
static void test_super_left_overs_are_not_read(void **state)
{
	uint8_t good[XBDEV_MD_SUPER_BYTES], bytes[XBDEV_MD_SUPER_BYTES];
	struct xbdev_md_super super, clean;
	uint64_t sectors;

	(void)state;
	load("raid6-ls-6", good, &sectors);
	assert_int_equal(xbdev__md_super_parse(good, sectors, &clean, NULL), 0);
	memcpy(bytes, good, sizeof(bytes));
	memset(bytes + 96, 0x77, 32);
	memset(bytes + 152, 0x77, 8);
	md_fixture_fix_checksum(bytes);
	assert_int_equal(xbdev__md_super_parse(bytes, sectors, &super, NULL), 0);
	assert_memory_equal(&super, &clean, sizeof(super));
	memset(bytes, 0x77, sizeof(bytes));
	xbdev__md_super_format(&super, bytes);
	assert_memory_equal(bytes, good, sizeof(bytes));
	/* And what is in memory without its bit is not written. */
	super.bitmap_offset = super.new_level = super.delta_disks = super.new_offset = 1;
	super.ppl_offset = 1;
	super.ppl_size = 1;
	super.recovery_offset = super.reshape_position = 1;
	super.new_layout = super.new_chunk = 1;
	xbdev__md_super_format(&super, bytes);
	assert_memory_equal(bytes, good, sizeof(bytes));
}

/* A table of an odd number of roles ends in half a word of the checksum. */
static void test_super_tables_of_any_length(void **state)
{
	static const uint32_t counts[] = {0, 1, 2, 3, 127, 128, 129, 384, 1919, 1920};
	uint8_t bytes[XBDEV_MD_SUPER_BYTES], fixed[XBDEV_MD_SUPER_BYTES];
	struct xbdev_md_super super, again;
	uint64_t sectors;

	(void)state;
	load("raid6-ls-6", bytes, &sectors);
	assert_int_equal(xbdev__md_super_parse(bytes, sectors, &super, NULL), 0);
	for (uint32_t i = 0; i < XBDEV_MD_MAX_DEV_ROLES; i++) {
		super.dev_roles[i] = (uint16_t)(i * 77);
	}
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		super.max_dev = counts[i];
		xbdev__md_super_format(&super, bytes);
		memcpy(fixed, bytes, sizeof(fixed));
		md_fixture_fix_checksum(fixed);
		assert_memory_equal(fixed, bytes, sizeof(fixed));
		assert_int_equal(xbdev__md_super_parse(bytes, sectors, &again, NULL), 0);
		assert_memory_equal(again.dev_roles, super.dev_roles, counts[i] * sizeof(uint16_t));
		assert_int_equal(again.dev_roles[XBDEV_MD_MAX_DEV_ROLES - 1],
			counts[i] == 1920 ? 1919 * 77 % 65536 : XBDEV_MD_ROLE_SPARE);
	}
}

static void test_super_level_names(void **state)
{
	char buf[24];

	(void)state;
	assert_string_equal(xbdev__md_level_name(-1, buf), "linear");
	assert_string_equal(xbdev__md_level_name(0, buf), "raid0");
	assert_string_equal(xbdev__md_level_name(5, buf), "raid5");
	assert_string_equal(xbdev__md_level_name(10, buf), "raid10");
	assert_string_equal(xbdev__md_level_name(2, buf), "level 2");
	assert_string_equal(xbdev__md_level_name(INT32_MIN, buf), "level -2147483648");
}

static void test_super_uuids(void **state)
{
	static const char *const wrong[] = {"", "38666289:83c43877:e29c481d:1d4157a",
		"38666289:83c43877:e29c481d:1d4157aee", "38666289-83c43877-e29c481d-1d4157ae",
		"3866628983c43877e29c481d1d4157ae", "38666289:83c43877:e29c481d:1d4157ag",
		"38666289:83c43877:e29c481d:1d4157a:", " 8666289:83c43877:e29c481d:1d4157ae"};
	struct xu_uuid uuid, untouched;
	char text[36];

	(void)state;
	assert_int_equal(xbdev__md_uuid_parse("38666289:83C43877:e29c481d:1d4157ae", &uuid), 0);
	assert_int_equal(uuid.bytes[0], 0x38);
	assert_int_equal(uuid.bytes[5], 0xc4);
	assert_int_equal(uuid.bytes[15], 0xae);
	xbdev__md_uuid_format(&uuid, text);
	assert_string_equal(text, "38666289:83c43877:e29c481d:1d4157ae");
	untouched = uuid;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(xbdev__md_uuid_parse(wrong[i], &uuid), -EINVAL);
		assert_memory_equal(&uuid, &untouched, sizeof(uuid));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_super_of_linux),
		cmocka_unit_test(test_super_any_byte_is_covered),
		cmocka_unit_test(test_super_refuses_what_is_wrong),
		cmocka_unit_test(test_super_small_devices),
		cmocka_unit_test(test_super_bitmap_room),
		cmocka_unit_test(test_super_role_beyond_the_table),
		cmocka_unit_test(test_super_left_overs_are_not_read),
		cmocka_unit_test(test_super_tables_of_any_length),
		cmocka_unit_test(test_super_level_names),
		cmocka_unit_test(test_super_uuids),
	};

	return cmocka_run_group_tests_name("xbdev_raid_super", tests, NULL, NULL);
}

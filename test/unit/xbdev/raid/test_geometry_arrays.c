/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping and the parity against arrays that Linux made: their content, read from the members'
 * images by xbdev__md_copies() and xbdev__md_row(), is what the kernel read from the array (its
 * digest is in the manifest, test_fixture.c shows that the computed content has it); their copies,
 * P and Q are what ours would be; and whatever may be missing is recovered.
 */
#include "test/unit/xbdev/raid/fixture.h"

#include "lib/util/error.h"
#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/parity.h"

#define SECTOR    512u
#define NONE      UINT32_MAX
#define CHUNK_MAX (512u << 10)

/* An array with the images of its members in memory. */
struct array {
	struct md_fixture f;
	struct xbdev_md_geometry geo;
	uint8_t *data[XBDEV_MD_MAX_DISKS]; /* by role, from data_offset on; NULL: not in sync */
	uint64_t data_sectors[XBDEV_MD_MAX_DISKS];
	uint8_t *images[MD_FIXTURE_MEMBERS];
	uint8_t *content;
	bool is_clean; /* all copies and parities are right */
};

/* Whose copies or parity are not all right, for a reason. */
static const char *const dirty_arrays[] = {
	"state-raid1-bitmap-dirty",
	"state-raid5-dirty",
	"state-raid5-ppl-dirty",
	"state-raid1-resync-checkpoint",
};

/* What is no array of one geometry and one content: between two shapes, and two contents. */
static const char *const no_arrays[] = {
	"state-raid5-reshaping",
	"state-raid1-splitbrain",
	"tiny-raid0-3u-nolayout",
};

#define IS_ONE_OF(name, names) is_one_of(name, names, sizeof(names) / sizeof(names[0]))

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0) {
			return true;
		}
	}
	return false;
}

/* The level is negative for linear arrays. */
static int32_t level_of(json_t *superblock)
{
	return (int32_t)json_integer_value(json_object_get(superblock, "level"));
}

static struct xbdev_md_shape shape_of(const struct md_fixture *f)
{
	struct xbdev_md_shape shape = {0};
	uint32_t i;

	for (i = 0; i < f->nr_members; i++) {
		json_t *sb = f->members[i].superblock;

		if (strcmp(f->members[i].state, "in sync") != 0) {
			continue;
		}
		shape.level = level_of(sb);
		shape.layout = (uint32_t)md_fixture_u64(sb, "layout");
		shape.has_raid0_layout = (md_fixture_u64(sb, "feature_map") & 0x1000) != 0;
		shape.raid_disks = (uint32_t)md_fixture_u64(sb, "raid_disks");
		shape.chunk = (uint32_t)md_fixture_u64(sb, "chunksize");
		shape.size = md_fixture_u64(sb, "size");
		shape.data_sizes[f->members[i].role] = md_fixture_u64(sb, "data_size");
	}
	return shape;
}

/* Takes back the bytes that were changed behind the array. */
static void repair_damage(struct array *a)
{
	json_t *damage;
	size_t i, j;

	json_array_foreach (json_object_get(a->f.json, "damage"), i, damage) {
		uint64_t first = md_fixture_u64(damage, "byte");
		uint32_t m = (uint32_t)(md_fixture_text(damage, "file")[1] - '0');

		for (j = 0; j < md_fixture_u64(damage, "bytes"); j++) {
			a->images[m][first + j] ^= 0xa5;
		}
	}
}

static void load(struct array *a, const char *name)
{
	struct xu_error err = {0};
	struct xbdev_md_shape shape;
	uint64_t bytes;
	uint32_t i;

	memset(a, 0, sizeof(*a));
	md_fixture_open(&a->f, name);
	shape = shape_of(&a->f);
	if (xbdev__md_geometry_init(&a->geo, &shape, &err) != 0) {
		fail_msg("%s: %s", name, err.text);
	}
	for (i = 0; i < a->f.nr_members; i++) {
		struct md_fixture_member *member = &a->f.members[i];
		uint64_t offset = md_fixture_u64(member->superblock, "data_offset");

		a->images[i] = aligned_alloc(4096, member->size_bytes);
		assert_non_null(a->images[i]);
		md_fixture_read(&a->f, i, 0, a->images[i], member->size_bytes);
		if (strcmp(member->state, "in sync") == 0) {
			assert_null(a->data[member->role]);
			a->data[member->role] = a->images[i] + offset * SECTOR;
			a->data_sectors[member->role] = member->size_bytes / SECTOR - offset;
		}
	}
	md_fixture_close(&a->f);
	repair_damage(a);
	bytes = md_fixture_array_bytes(&a->f);
	assert_int_equal(a->geo.array_size * SECTOR, bytes);
	a->content = malloc(bytes);
	assert_non_null(a->content);
	md_fixture_content(&a->f, NULL, 0, a->content, bytes);
	a->is_clean = !IS_ONE_OF(name, dirty_arrays);
}

static void unload(struct array *a)
{
	uint32_t i;

	for (i = 0; i < a->f.nr_members; i++) {
		free(a->images[i]);
	}
	free(a->content);
}

/* Where a member's sectors lie in its image; NULL: the member is missing. */
static uint8_t *place_of(const struct array *a, uint32_t role, uint64_t sector, uint64_t count)
{
	assert_in_range(role, 0, a->geo.raid_disks - 1);
	if (a->data[role] == NULL) {
		return NULL;
	}
	assert_true(sector + count <= a->data_sectors[role]);
	return a->data[role] + sector * SECTOR;
}

/* `found` is the array's content; what was being written when the machine was lost may be. */
static void check_content(
	const struct array *a, uint64_t sector, const uint8_t *found, uint64_t count)
{
	uint64_t i;

	if (memcmp(found, a->content + sector * SECTOR, count * SECTOR) == 0) {
		return;
	}
	for (i = 0; i < count; i++) {
		if (memcmp(found + i * SECTOR, a->content + (sector + i) * SECTOR, SECTOR) != 0 &&
			md_fixture_in_flight(&a->f, (sector + i) * SECTOR) == 0) {
			fail_msg("%s: sector %lu of the array is not what the kernel has",
				a->f.name, (unsigned long)(sector + i));
		}
	}
}

/* ---- linear, raid0, raid1, raid10 ---- */

static void check_copies(const struct array *a)
{
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	uint64_t sector, len;
	uint32_t i, nr_places, nr_readable;

	for (sector = 0; sector < a->geo.array_size; sector += len) {
		nr_places = xbdev__md_copies(&a->geo, sector, places, &len);
		assert_in_range(len, 1, a->geo.array_size - sector);
		nr_readable = 0;
		for (i = 0; i < nr_places; i++) {
			uint8_t *found = place_of(a, places[i].role, places[i].sector, len);

			if (found != NULL && (a->is_clean || i == 0)) {
				check_content(a, sector, found, len);
				nr_readable++;
			}
			if (a->geo.level == 10) {
				assert_int_equal(xbdev__md_raid10_sector(
							 &a->geo, places[i].role, places[i].sector),
					sector);
			}
		}
		assert_true(nr_readable > 0);
	}
}

/* ---- raid4, raid5, raid6 ---- */

/* One row's chunks, gathered from the members and made up for the missing ones. */
struct row {
	struct xbdev_md_row map;
	uint8_t *members[XBDEV_MD_MAX_DISKS]; /* NULL: not there */
	void *data[XBDEV_MD_MAX_DISKS];
	uint32_t missing[2];
	uint32_t nr_missing;
};

static uint8_t *scratch[4];

static void gather_row(
	const struct array *a, uint64_t number, uint32_t lost1, uint32_t lost2, struct row *ret_row)
{
	uint32_t i;

	memset(ret_row, 0, sizeof(*ret_row));
	xbdev__md_row(&a->geo, number, &ret_row->map);
	for (i = 0; i < a->geo.raid_disks; i++) {
		if (i != lost1 && i != lost2) {
			ret_row->members[i] = place_of(a, i, number * a->geo.chunk, a->geo.chunk);
		}
	}
	for (i = 0; i < a->geo.nr_data; i++) {
		ret_row->data[i] = ret_row->members[ret_row->map.data[i]];
		if (ret_row->data[i] == NULL) {
			assert_in_range(ret_row->nr_missing, 0, 1);
			ret_row->data[i] = scratch[ret_row->nr_missing];
			memset(ret_row->data[i], 0xee, (size_t)a->geo.chunk * SECTOR);
			ret_row->missing[ret_row->nr_missing++] = i;
		}
	}
}

static void recover_row(const struct array *a, struct row *row)
{
	uint8_t *p = row->members[row->map.p];
	uint8_t *q = a->geo.nr_parity == 2 ? row->members[row->map.q] : NULL;

	if (row->nr_missing > 0) {
		xbdev__md_recover(p, q, row->data, row->map.exponent, a->geo.nr_data, row->missing,
			row->nr_missing, (size_t)a->geo.chunk * SECTOR);
	}
}

/* Reads the array without the members lost1 and lost2, if any, besides those that are missing. */
static void check_rows(const struct array *a, uint32_t lost1, uint32_t lost2)
{
	uint64_t nr_rows = a->geo.member_size / a->geo.chunk;
	struct row row;
	uint64_t r;
	uint32_t i;

	for (r = 0; r < nr_rows; r++) {
		gather_row(a, r, lost1, lost2, &row);
		recover_row(a, &row);
		for (i = 0; i < a->geo.nr_data; i++) {
			check_content(a, (r * a->geo.nr_data + i) * a->geo.chunk, row.data[i],
				a->geo.chunk);
		}
	}
}

/* P and Q of every row, as the kernel wrote them. */
static void check_parities(const struct array *a)
{
	uint64_t nr_rows = a->geo.member_size / a->geo.chunk;
	size_t len = (size_t)a->geo.chunk * SECTOR;
	struct row row;
	uint64_t r;

	for (r = 0; r < nr_rows; r++) {
		gather_row(a, r, NONE, NONE, &row);
		recover_row(a, &row);
		xbdev__md_pq(scratch[2], a->geo.nr_parity == 2 ? scratch[3] : NULL, row.data,
			row.map.exponent, a->geo.nr_data, len);
		if (row.members[row.map.p] != NULL) {
			assert_memory_equal(scratch[2], row.members[row.map.p], len);
		}
		if (a->geo.nr_parity == 2 && row.members[row.map.q] != NULL) {
			assert_memory_equal(scratch[3], row.members[row.map.q], len);
		}
	}
}

static uint32_t count_missing(const struct array *a)
{
	uint32_t count = 0;
	uint32_t i;

	for (i = 0; i < a->geo.raid_disks; i++) {
		count += a->data[i] == NULL;
	}
	return count;
}

/* Without every member, and every pair of them, that the array can do without. */
static void check_losses(const struct array *a)
{
	uint32_t spare = a->geo.nr_parity - count_missing(a);
	uint32_t i, j;

	for (i = 0; spare > 0 && i < a->geo.raid_disks; i++) {
		check_rows(a, i, NONE);
		for (j = i + 1; spare > 1 && j < a->geo.raid_disks; j++) {
			check_rows(a, i, j);
		}
	}
}

static void check_array(const char *name)
{
	struct array a;

	load(&a, name);
	if (a.geo.nr_parity == 0) {
		check_copies(&a);
	} else {
		check_rows(&a, NONE, NONE);
	}
	if (a.geo.nr_parity > 0 && a.is_clean) {
		check_parities(&a);
		check_losses(&a);
	}
	unload(&a);
}

static void test_geometry_arrays_are_read(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < md_fixture_count(); i++) {
		if (!IS_ONE_OF(md_fixture_name(i), no_arrays)) {
			check_array(md_fixture_name(i));
		}
	}
}

static void test_geometry_raid0_without_layout_is_refused(void **state)
{
	struct xbdev_md_geometry geo;
	struct xbdev_md_shape shape;
	struct xu_error err = {0};
	struct md_fixture f;

	(void)state;
	md_fixture_describe(&f, "tiny-raid0-3u-nolayout");
	shape = shape_of(&f);
	assert_int_equal(xbdev__md_geometry_init(&geo, &shape, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "--update=layout-original"));
}

/* The places where arrays were damaged: the manifest has them in both coordinates. */
static void test_geometry_damage_is_where_the_manifest_says(void **state)
{
	static const char *const names[] = {"state-raid1-mismatch", "state-raid5-mismatch",
		"state-raid6-mismatch", "state-raid10-mismatch"};
	struct xbdev_md_geometry geo;
	struct xbdev_md_shape shape;
	struct md_fixture f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *damage;
		uint64_t sector, found = 0;
		uint32_t role, j;

		md_fixture_describe(&f, names[i]);
		shape = shape_of(&f);
		assert_int_equal(xbdev__md_geometry_init(&geo, &shape, NULL), 0);
		damage = json_array_get(json_object_get(f.json, "damage"), 0);
		sector = md_fixture_u64(damage, "member_sector");
		role = (uint32_t)f.members[md_fixture_text(damage, "file")[1] - '0'].role;
		if (geo.nr_parity > 0) {
			struct xbdev_md_row row;

			xbdev__md_row(&geo, sector / geo.chunk, &row);
			for (j = 0; row.data[j] != role; j++) {
				assert_in_range(j, 0, geo.nr_data - 1);
			}
			found = (sector / geo.chunk * geo.nr_data + j) * geo.chunk +
				sector % geo.chunk;
		} else {
			found = geo.level == 10 ? xbdev__md_raid10_sector(&geo, role, sector)
						: sector;
		}
		assert_int_equal(found * SECTOR, md_fixture_u64(damage, "array_byte"));
	}
}

static int setup(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(scratch) / sizeof(scratch[0]); i++) {
		scratch[i] = aligned_alloc(4096, CHUNK_MAX);
		if (scratch[i] == NULL) {
			return -1;
		}
	}
	return 0;
}

static int teardown(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(scratch) / sizeof(scratch[0]); i++) {
		free(scratch[i]);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geometry_arrays_are_read),
		cmocka_unit_test(test_geometry_raid0_without_layout_is_refused),
		cmocka_unit_test(test_geometry_damage_is_where_the_manifest_says),
	};

	return cmocka_run_group_tests_name("xbdev_raid_geometry_arrays", tests, setup, teardown);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/raid/select.c. First every array of test/data/md: each device gets the verdict that
 * Linux and mdadm gave it, and arrays that are not for us are refused. Then arrays made up here,
 * one line for each rule.
 */
#include "lib/util/error.h"
#include "lib/xbdev/raid/select.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MAX_DEVICES 8u

static const struct xbdev_md_select_opts plain, run = {.run = true}, forced = {.force = true};
static const struct xbdev_md_select_opts forced_run = {.force = true, .run = true};

struct devices {
	uint32_t count;
	char names[MAX_DEVICES][16];
	struct xbdev_md_super supers[MAX_DEVICES];
	struct xbdev_md_candidate candidates[MAX_DEVICES];
	struct xbdev_md_selection result;
	struct xu_error err;
};

static int select_from(struct devices *d, const struct xbdev_md_select_opts *opts)
{
	for (uint32_t i = 0; i < d->count; i++) {
		snprintf(d->names[i], sizeof(d->names[i]), "dev%u", i);
		memset(&d->candidates[i], 0x5a, sizeof(d->candidates[i]));
		d->candidates[i].name = d->names[i];
		d->candidates[i].super = &d->supers[i];
	}
	memset(&d->err, 0, sizeof(d->err));
	memset(&d->result, 0x5a, sizeof(d->result));
	return xbdev__md_select(d->candidates, d->count, opts, &d->result, &d->err);
}

static void assert_selected(
	struct devices *d, const struct xbdev_md_select_opts *opts, int rc, const char *text)
{
	int got = select_from(d, opts);

	if (got != rc || strstr(d->err.text, text) == NULL) {
		fail_msg("%d '%s', not %d '%s'", got, d->err.text, rc, text);
	}
	assert_int_equal(d->err.code, rc);
}

/* One letter for each device. */
static void assert_verdicts(const struct devices *d, const char *expected)
{
	static const char letters[] = "iRrsoX"; /* as the enum has them */
	char got[MAX_DEVICES + 1] = "";

	for (uint32_t i = 0; i < d->count; i++) {
		assert_in_range(d->candidates[i].verdict, XBDEV_MD_IN_SYNC, XBDEV_MD_LEFT_OUT);
		got[i] = letters[d->candidates[i].verdict];
		assert_non_null(
			memchr(d->candidates[i].reason, '\0', sizeof(d->candidates[i].reason)));
	}
	assert_string_equal(got, expected);
}

/* What the result says must be what the verdicts say. */
static void assert_consistent(const struct devices *d)
{
	const struct xbdev_md_selection *result = &d->result;
	uint32_t nr_in_sync = 0, nr_placed = 0, nr_taken = 0;

	assert_true(result->freshest < d->count);
	for (uint32_t role = 0; role < XBDEV_MD_MAX_DISKS; role++) {
		int32_t member = result->members[role], other = result->replacements[role];

		if (member >= 0) {
			assert_true((uint32_t)member < d->count);
			assert_int_equal(d->candidates[member].role, role);
			nr_in_sync += d->candidates[member].verdict == XBDEV_MD_IN_SYNC;
			nr_placed++;
		}
		if (other >= 0) {
			assert_int_equal(d->candidates[other].role, role);
			assert_int_equal(d->candidates[other].verdict, XBDEV_MD_REPLACING);
			nr_placed++;
		}
	}
	for (uint32_t i = 0; i < d->count; i++) {
		nr_taken += d->candidates[i].verdict <= XBDEV_MD_REPLACING;
	}
	assert_int_equal(nr_placed, nr_taken);
	assert_int_equal(result->nr_in_sync, nr_in_sync);
	assert_int_equal(result->nr_missing, d->supers[0].raid_disks - nr_in_sync);
}

/* ---- what Linux did ---- */

static void load(struct devices *d, const char *name)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	struct md_fixture f;

	memset(d, 0, sizeof(*d));
	md_fixture_open_heads(&f, name, 8192);
	for (uint32_t i = 0; i < f.nr_members; i++) {
		md_fixture_read(&f, i, 4096, bytes, sizeof(bytes));
		assert_int_equal(xbdev__md_super_parse(
					 bytes, f.members[i].size_bytes / 512, &d->supers[i], NULL),
			0);
	}
	d->count = f.nr_members;
	md_fixture_close(&f);
}

static void drop(struct devices *d, uint32_t index)
{
	memmove(&d->supers[index], &d->supers[index + 1],
		(d->count - index - 1) * sizeof(d->supers[0]));
	d->count--;
}

static enum xbdev_md_verdict verdict_of(const char *state)
{
	static const struct {
		const char *state;
		enum xbdev_md_verdict verdict;
	} states[] = {
		{"in sync", XBDEV_MD_IN_SYNC},
		{"recovering", XBDEV_MD_RECOVERING},
		{"replacement", XBDEV_MD_REPLACING},
		{"spare", XBDEV_MD_SPARE},
		{"stale", XBDEV_MD_STALE},
	};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(states[i].state, state) == 0) {
			return states[i].verdict;
		}
	}
	fail_msg("a state of the manifest that is not known here: %s", state);
	return XBDEV_MD_STALE;
}

/* "... has been started with 3 drives (out of 4) and 1 rebuilding." must be what came out here. */
static void check_message(const struct md_fixture *f, const struct devices *d)
{
	json_t *messages = json_object_get(json_object_get(f->json, "assemble"), "messages");
	const char *text =
		json_string_value(json_array_get(messages, json_array_size(messages) - 1));
	uint32_t nr_drives = 0, nr_rebuilding = 0, nr_spares = 0;
	char expected[128], *at = expected;

	assert_non_null(text);
	for (uint32_t i = 0; i < d->count; i++) {
		nr_drives += d->candidates[i].verdict == XBDEV_MD_IN_SYNC;
		nr_rebuilding += d->candidates[i].verdict == XBDEV_MD_RECOVERING ||
				 d->candidates[i].verdict == XBDEV_MD_REPLACING;
		nr_spares += d->candidates[i].verdict == XBDEV_MD_SPARE;
	}
	at += sprintf(at, "mdadm: /dev/md0 has been started with %u drive%s", nr_drives,
		nr_drives == 1 ? "" : "s");
	if (nr_drives < d->supers[0].raid_disks) {
		at += sprintf(at, " (out of %u)", d->supers[0].raid_disks);
	}
	if (nr_rebuilding != 0) {
		at += sprintf(at, " and %u rebuilding", nr_rebuilding);
	}
	if (nr_spares != 0) {
		at += sprintf(at, " and %u spare%s", nr_spares, nr_spares == 1 ? "" : "s");
	}
	sprintf(at, ".");
	assert_string_equal(text, expected);
}

static bool is_refused(const char *name)
{
	return strcmp(name, "state-raid5-reshaping") == 0 ||
	       strcmp(name, "state-raid5-journal") == 0 ||
	       strcmp(name, "tiny-raid0-3u-nolayout") == 0;
}

static void test_select_of_linux(void **state)
{
	struct md_fixture f;
	struct devices d;

	(void)state;
	for (uint32_t i = 0; i < md_fixture_count(); i++) {
		md_fixture_describe(&f, md_fixture_name(i));
		if (is_refused(f.name)) {
			continue;
		}
		load(&d, f.name);
		if (select_from(&d, &plain) != 0) {
			fail_msg("%s: %s", f.name, d.err.text);
		}
		assert_consistent(&d);
		check_message(&f, &d);
		for (uint32_t j = 0; j < d.count; j++) {
			bool is_other_half =
				strcmp(f.name, "state-raid1-splitbrain") == 0 && j == 1;

			assert_int_equal(d.candidates[j].verdict,
				is_other_half ? XBDEV_MD_LEFT_OUT : verdict_of(f.members[j].state));
			if (f.members[j].role >= 0) {
				assert_int_equal(d.candidates[j].role, f.members[j].role);
			}
		}
		assert_int_equal(
			d.supers[d.result.freshest].events, md_fixture_u64(f.json, "events"));
		assert_true(d.result.is_complete);
		assert_int_equal(d.result.has_ppl, strstr(f.name, "-ppl") != NULL);
		assert_int_equal(d.result.is_clean,
			strstr(f.name, "-dirty") == NULL && strstr(f.name, "-checkpoint") == NULL);
	}
}

static void test_select_refuses_what_linux_must_do(void **state)
{
	struct devices d;

	(void)state;
	load(&d, "state-raid5-reshaping");
	assert_selected(&d, &forced_run, -EINVAL, "dev0 is in the middle of a reshape");
	load(&d, "state-raid5-journal");
	assert_selected(&d, &forced_run, -EINVAL, "journal");
	drop(&d, 3); /* the journal itself */
	assert_selected(&d, &forced_run, -EINVAL, "journal");
	load(&d, "tiny-raid0-3u-nolayout");
	assert_selected(&d, &forced_run, -EINVAL, "without a recorded layout");
	/* One zone, or a second one of a single member, has no layout. */
	d.supers[1].data_size = d.supers[0].data_size;
	assert_selected(&d, &plain, 0, "");
	d.supers[2].data_size = d.supers[0].data_size + d.supers[0].chunksize - 1;
	assert_selected(&d, &plain, 0, "");
	d.supers[1].data_size = d.supers[2].data_size = d.supers[0].data_size + 512;
	assert_selected(&d, &plain, -EINVAL, "without a recorded layout");
}

static void test_select_of_a_split_mirror(void **state)
{
	struct devices d;

	(void)state;
	load(&d, "state-raid1-splitbrain");
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iX");
	assert_non_null(strstr(d.candidates[1].reason, "dev0 counts it as removed"));
	/* Even by force there is no need for the other half. */
	assert_selected(&d, &forced, 0, "");
	assert_verdicts(&d, "iX");
	/* More events win, wherever they are in the list. */
	d.supers[1].events++;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "Xi");
	assert_int_equal(d.result.freshest, 1);
	/* Where the freshest has not noticed, the other's table tells. */
	d.supers[1].dev_roles[0] = 0;
	assert_selected(&d, &run, 0, "");
	assert_verdicts(&d, "Xi");
	assert_non_null(strstr(d.candidates[0].reason, "it counts dev1 as failed"));
}

static void test_select_of_dirty_and_degraded(void **state)
{
	struct devices d;

	(void)state;
	load(&d, "state-raid5-dirty");
	drop(&d, 2);
	assert_selected(&d, &run, -EUCLEAN, "not stopped cleanly");
	assert_verdicts(&d, "iii");
	assert_selected(&d, &forced, -EAGAIN, "run it degraded");
	load(&d, "state-raid5-dirty");
	drop(&d, 2);
	assert_selected(&d, &forced_run, 0, "");
	assert_true(d.result.is_clean);
	assert_true(d.supers[0].resync_offset == XBDEV_MD_CLEAN);
	assert_true(d.supers[2].resync_offset == XBDEV_MD_CLEAN);
	drop(&d, 0);
	assert_selected(&d, &forced_run, -ENODEV, "2 of the 4 members of this raid5");
	/* A partial parity log makes it right. */
	load(&d, "state-raid5-ppl-dirty");
	drop(&d, 2);
	assert_selected(&d, &run, 0, "");
	assert_false(d.result.is_clean);
	assert_true(d.result.has_ppl);
	/* A mirror has no parity that could be wrong. */
	load(&d, "state-raid1-bitmap-dirty");
	drop(&d, 0);
	assert_selected(&d, &run, 0, "");
	assert_false(d.result.is_clean);
}

static void test_select_needs_run_for_what_was_there(void **state)
{
	struct devices d;

	(void)state;
	load(&d, "raid5-ls-4");
	drop(&d, 1);
	assert_selected(&d, &plain, -EAGAIN, "3 of the 4 members of this raid5");
	assert_verdicts(&d, "iii");
	assert_selected(&d, &run, 0, "");
	assert_false(d.result.is_complete);
	assert_int_equal(d.result.nr_missing, 1);
	/* What never was, or is known to have failed, is not waited for. */
	load(&d, "state-raid5-missing");
	assert_selected(&d, &plain, 0, "");
	load(&d, "state-raid6-two-failed");
	drop(&d, 4);
	drop(&d, 1);
	assert_selected(&d, &plain, 0, "");
	assert_int_equal(d.result.nr_missing, 2);
	/* A member in the middle of a recovery was there, too. */
	load(&d, "state-raid5-recovering");
	drop(&d, 4);
	assert_selected(&d, &plain, -EAGAIN, "run it degraded");
}

static void test_select_forces_the_newest_first(void **state)
{
	struct devices d;

	(void)state;
	/* Events 27, 17, 27, 27, 21, 27; without two of the first there are two too few. */
	load(&d, "state-raid6-two-failed");
	drop(&d, 5);
	drop(&d, 3);
	assert_selected(&d, &run, -ENODEV, "dev1 was left out: it has 17 events");
	assert_verdicts(&d, "ioio");
	assert_selected(&d, &forced_run, 0, "");
	assert_verdicts(&d, "iiii");
	assert_int_equal(d.supers[1].events, 27);
	assert_int_equal(d.supers[3].events, 27);
	/* Without one of them the newer of the two is enough. */
	load(&d, "state-raid6-two-failed");
	drop(&d, 3);
	assert_selected(&d, &forced_run, 0, "");
	assert_verdicts(&d, "ioiii");
	assert_int_equal(d.supers[1].events, 17);
	assert_int_equal(d.supers[3].events, 27);
	assert_non_null(strstr(d.candidates[3].reason, "at 21 of 27 events"));
	/* A member in the middle of a recovery is no help, and gives way. */
	load(&d, "state-raid5-recovering");
	drop(&d, 0);
	assert_selected(&d, &run, -ENODEV, "");
	assert_verdicts(&d, "oiiR");
	assert_selected(&d, &forced_run, 0, "");
	assert_verdicts(&d, "iiiX");
	drop(&d, 0);
	assert_selected(&d, &forced_run, -ENODEV, "2 of the 4");
	assert_verdicts(&d, "iiR");
	/* Nor is one that was in the middle of it when it was left behind. */
	load(&d, "state-raid5-recovering");
	drop(&d, 0);
	d.supers[0].feature_map = XBDEV_MD_F_RECOVERY_OFFSET;
	assert_selected(&d, &forced_run, -ENODEV, "2 of the 4");
	assert_verdicts(&d, "oiiR");
}

/* The others say that it has a place, and it had not heard of it when power went: nothing is on it,
 * and nobody else is missing. */
static void test_select_counts_a_spare_that_was_taking_a_place_as_there(void **state)
{
	struct devices d;
	struct xbdev_md_super *spare = &d.supers[4];

	(void)state;
	load(&d, "state-raid5-recovering");
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "ioiiR");
	spare->dev_roles[spare->dev_number] = XBDEV_MD_ROLE_SPARE;
	spare->feature_map = 0;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "ioiis");
	spare->events--;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "ioiis");
	assert_true(d.result.is_complete);
	/* An older one may have had its number before the one that is missing. */
	spare->events--;
	assert_selected(&d, &plain, -EAGAIN, "run it degraded");
	/* And one of another number is somebody else. */
	spare->events++;
	spare->dev_number++;
	assert_selected(&d, &plain, -EAGAIN, "run it degraded");
	spare->dev_number--;
	/* One that was out and came back does not know of either. */
	spare->events--;
	spare->dev_roles[spare->dev_number] = 1;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "ioiio");
	spare->events--;
	assert_selected(&d, &plain, -EAGAIN, "run it degraded");
	spare->events++;
	spare->dev_roles[spare->dev_number] = 2; /* with another role */
	assert_selected(&d, &plain, -EAGAIN, "run it degraded");
	spare->events++;
	/* It does not make up for one that is not there at all. */
	drop(&d, 0);
	assert_selected(&d, &run, -ENODEV, "2 of the 4 members");
}

static void test_select_of_a_replacement(void **state)
{
	struct devices d;

	(void)state;
	load(&d, "state-raid5-replacing");
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiiir");
	assert_int_equal(d.result.members[1], 1);
	assert_int_equal(d.result.replacements[1], 4);
	/* Without what it replaces it is a member that recovers; or one in sync, when it was done.
	 */
	drop(&d, 1);
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiiR");
	assert_int_equal(d.result.members[1], 3);
	assert_int_equal(d.result.replacements[1], -1);
	assert_int_equal(d.result.nr_missing, 1);
	d.supers[3].feature_map = XBDEV_MD_F_REPLACEMENT;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiii");
	assert_int_equal(d.result.nr_missing, 0);
	/* Of a member that is not in sync there is nothing to copy. */
	load(&d, "state-raid5-replacing");
	d.supers[1].feature_map = XBDEV_MD_F_RECOVERY_OFFSET;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iRiiX");
	/* Two of them in one place cannot both be right. */
	load(&d, "state-raid5-replacing");
	d.supers[5] = d.supers[4];
	d.count = 6;
	assert_selected(&d, &plain, -EINVAL, "dev4 and dev5 both have role 1 and 21 events");
}

/* ---- arrays made up ---- */

/* In sync, clean, at 100 events, dev_number = role. */
static void make(struct devices *d, int32_t level, uint32_t layout, uint32_t raid_disks)
{
	memset(d, 0, sizeof(*d));
	d->count = raid_disks;
	for (uint32_t i = 0; i < raid_disks; i++) {
		struct xbdev_md_super *super = &d->supers[i];

		memset(super->dev_roles, 0xff, sizeof(super->dev_roles));
		memset(super->set_uuid.bytes, 0x77, sizeof(super->set_uuid.bytes));
		super->level = level;
		super->layout = layout;
		super->raid_disks = raid_disks;
		super->chunksize = level == 1 ? 0 : 128;
		super->size = level > 0 ? 10240 : 0;
		super->data_size = 10240;
		super->resync_offset = XBDEV_MD_CLEAN;
		super->events = 100;
		super->max_dev = 128;
		super->dev_number = i;
		for (uint32_t j = 0; j < raid_disks; j++) {
			super->dev_roles[j] = (uint16_t)j;
		}
	}
}

static void set_roles(struct devices *d, uint32_t entry, uint16_t role)
{
	for (uint32_t i = 0; i < d->count; i++) {
		d->supers[i].dev_roles[entry] = role;
	}
}

static void test_select_one_event_less(void **state)
{
	struct devices d;

	(void)state;
	make(&d, 5, 2, 4);
	d.supers[2].events = 99;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiii");
	assert_int_equal(d.supers[2].events, 99);
	/* The others may have written that it failed, and no more. */
	d.supers[0].dev_roles[2] = d.supers[1].dev_roles[2] = d.supers[3].dev_roles[2] =
		XBDEV_MD_ROLE_FAULTY;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiXi");
	assert_non_null(strstr(d.candidates[2].reason, "dev0 counts it as failed"));
	d.supers[0].dev_roles[2] = XBDEV_MD_ROLE_SPARE;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiXi");
	assert_non_null(strstr(d.candidates[2].reason, "dev0 counts it as removed"));
	d.supers[0].dev_roles[2] = 3;
	assert_selected(&d, &run, 0, "");
	assert_verdicts(&d, "iiXi");
	/* By force it is taken back, when it is needed. */
	drop(&d, 3);
	d.supers[0].dev_roles[2] = XBDEV_MD_ROLE_FAULTY;
	assert_selected(&d, &run, -ENODEV, "dev2 was left out: dev0 counts it as failed");
	assert_selected(&d, &forced_run, 0, "");
	assert_verdicts(&d, "iii");
	/* Two less is too old, whatever the tables say; though it may just have come back. */
	make(&d, 5, 2, 4);
	d.supers[2].events = 98;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iioi");
	d.supers[2].events = 97;
	assert_selected(&d, &plain, -EAGAIN, "dev2 was left out: it has 97 events");
	assert_verdicts(&d, "iioi");
	/* At both ends of what can be counted. */
	make(&d, 5, 2, 4);
	d.supers[0].events = d.supers[1].events = UINT64_MAX;
	d.supers[2].events = d.supers[3].events = 0;
	assert_selected(&d, &run, -ENODEV, "");
	assert_verdicts(&d, "iioo");
	d.supers[0].events = d.supers[1].events = 1;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiii");
}

/* Power fails while members are told that a spare (dev3) takes the place of one that had failed:
 * whoever has heard of it, and if it is only the spare, the others are the array. */
static void test_select_of_a_spare_that_takes_a_place(void **state)
{
	for (uint32_t heard = 0; heard < 16; heard++) {
		char expected[] = "iiis";
		struct devices d;

		make(&d, 5, 2, 4);
		for (uint32_t i = 0; i < 4; i++) {
			bool has_heard = (heard >> i & 1) != 0;

			d.supers[i].events = has_heard ? 101 : 100;
			d.supers[i].dev_roles[3] =
				has_heard ? 3
					  : (i == 3 ? XBDEV_MD_ROLE_SPARE : XBDEV_MD_ROLE_FAULTY);
			d.supers[i].resync_offset = UINT64_MAX;
		}
		if ((heard & 8) != 0) {
			d.supers[3].feature_map |= XBDEV_MD_F_RECOVERY_OFFSET;
			expected[3] = (heard & 7) != 0 ? 'R' : 's';
		}
		assert_selected(&d, &run, 0, "");
		assert_verdicts(&d, expected);
		assert_consistent(&d);
	}
}

static void test_select_of_copies(void **state)
{
	struct devices d;

	(void)state;
	make(&d, 5, 2, 3);
	d.supers[3] = d.supers[1];
	d.count = 4;
	assert_selected(&d, &forced_run, -EINVAL, "dev1 and dev3 both have role 1 and 100 events");
	/* With more events it is the one that was written to. */
	d.supers[1].events = 99;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "ioii");
	assert_non_null(strstr(d.candidates[1].reason, "dev3 has the same role"));
	d.supers[1].events = 100;
	d.supers[3].events = 99;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiio");
	/* Copies that are too old anyway do not matter, until they are needed. */
	d.supers[1].events = d.supers[3].events = 50;
	assert_selected(&d, &run, 0, "");
	assert_verdicts(&d, "ioio");
	drop(&d, 0);
	assert_selected(&d, &run, -ENODEV, "");
	assert_selected(&d, &forced_run, -EINVAL, "dev0 and dev2 both have role 1 and 50 events");
}

static void test_select_of_spares(void **state)
{
	struct devices d;

	(void)state;
	make(&d, 5, 2, 3);
	d.supers[3] = d.supers[2];
	d.supers[3].dev_number = 7;
	d.count = 4;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiis");
	d.supers[3].events = 1; /* nothing is on it, so it is never too old */
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiis");
	d.supers[3].events = 101; /* it never sets the standard */
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiiX");
	d.supers[3].events = 100;
	d.supers[3].dev_roles[7] = XBDEV_MD_ROLE_FAULTY;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiiX");
	d.supers[3].dev_roles[7] = 3; /* an array of three has no such role */
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiiX");
	d.supers[3].dev_number = 128;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iiis");
	drop(&d, 0);
	drop(&d, 0);
	drop(&d, 0);
	assert_selected(&d, &forced_run, -ENODEV, "spares only");
	assert_verdicts(&d, "s");
	d.count = 0;
	assert_selected(&d, &forced_run, -ENODEV, "no devices");
}

#define FIELD(name) offsetof(struct xbdev_md_super, name)

static const struct {
	size_t at; /* a number of 32 bits in a superblock */
	uint32_t value;
	const char *text;
} strangers[] = {
	{FIELD(set_uuid), 1, "another array, 01000000:77777777:77777777:77777777"},
	{FIELD(ctime), 1, "does not agree with that of dev0"},
	{FIELD(level), 4, "does not agree"},
	{FIELD(layout), 3, "does not agree"},
	{FIELD(size), 20480, "does not agree"},
	{FIELD(chunksize), 64, "does not agree"},
	{FIELD(raid_disks), 3, "does not agree"},
	{FIELD(feature_map), XBDEV_MD_F_RESHAPE, "reshape"},
	{FIELD(feature_map), XBDEV_MD_F_NEW_OFFSET, "reshape"},
	{FIELD(feature_map), XBDEV_MD_F_RESHAPE_BACK, "reshape"},
	{FIELD(feature_map), XBDEV_MD_F_CLUSTERED, "clustered"},
	{FIELD(feature_map), XBDEV_MD_F_JOURNAL, "journal"},
};

static void test_select_refuses_strangers(void **state)
{
	struct devices d;

	(void)state;
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		make(&d, 5, 2, 4);
		memcpy((char *)&d.supers[2] + strangers[i].at, &strangers[i].value, 4);
		assert_selected(&d, &forced_run, -EINVAL, strangers[i].text);
		assert_non_null(strstr(d.err.text, "dev2"));
	}
	make(&d, 5, 2, 4);
	d.supers[2].dev_roles[2] = XBDEV_MD_ROLE_JOURNAL;
	assert_selected(&d, &forced_run, -EINVAL, "journal");
}

static void test_select_refuses_shapes(void **state)
{
	static const int32_t levels[] = {-4, -5, 2, 3, 7, 11, INT32_MAX, INT32_MIN};
	struct devices d;

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		make(&d, levels[i], 0, 2);
		assert_selected(&d, &forced_run, -EINVAL, "the array is of level");
	}
	make(&d, 5, 2, 4);
	for (uint32_t i = 0; i < 4; i++) {
		d.supers[i].raid_disks = 33;
	}
	assert_selected(&d, &forced_run, -EINVAL, "33 members; 1 to 32");
	for (uint32_t i = 0; i < 4; i++) {
		d.supers[i].raid_disks = 0;
	}
	assert_selected(&d, &forced_run, -EINVAL, "0 members");
	make(&d, 10, 0x302, 4);
	assert_selected(&d, &forced_run, -EINVAL, "raid10 with the layout 0x302");
	make(&d, 10, 0x200, 4);
	assert_selected(&d, &forced_run, -EINVAL, "raid10 with the layout 0x200");
	make(&d, 6, 2, 4);
	d.supers[1].feature_map = XBDEV_MD_F_PPL;
	assert_selected(&d, &forced_run, -EINVAL, "partial parity log");
}

/* Which members must be there: present and dirty, and what comes out. */
static const struct {
	int32_t level;
	uint32_t layout, raid_disks, present;
	int clean_rc, dirty_rc;
} needs[] = {
	{-1, 0, 3, 7, 0, 0},
	{-1, 0, 3, 6, -ENODEV, -ENODEV},
	{0, 1, 3, 7, 0, 0},
	{0, 1, 3, 5, -ENODEV, -ENODEV},
	{1, 0, 3, 7, 0, 0},
	{1, 0, 3, 4, 0, 0},
	{4, 0, 4, 15, 0, 0},
	{4, 0, 4, 7, 0, 0}, /* without parity there is nothing to trust */
	{4, 0, 4, 14, 0, -EUCLEAN},
	{4, 0, 4, 6, -ENODEV, -ENODEV},
	{5, 5, 4, 15, 0, 0},
	{5, 5, 4, 7, 0, -EUCLEAN},
	{5, 2, 4, 12, -ENODEV, -ENODEV},
	{6, 2, 5, 31, 0, 0},
	{6, 2, 5, 15, 0, -EUCLEAN},
	{6, 2, 5, 28, 0, -EUCLEAN},
	{6, 2, 5, 24, -ENODEV, -ENODEV},
	/* near=2 of 4: {0, 1} and {2, 3}. */
	{10, 0x102, 4, 5, 0, 0},
	{10, 0x102, 4, 10, 0, 0},
	{10, 0x102, 4, 3, -ENODEV, -ENODEV},
	{10, 0x102, 4, 12, -ENODEV, -ENODEV},
	/* near=2 of 3: {0, 1}, {2, 0}, {1, 2}. */
	{10, 0x102, 3, 3, 0, 0},
	{10, 0x102, 3, 4, -ENODEV, -ENODEV},
	/* far=2 of 4: every two neighbours. */
	{10, 0x201, 4, 5, 0, 0},
	{10, 0x201, 4, 9, -ENODEV, -ENODEV},
	{10, 0x10201, 4, 6, -ENODEV, -ENODEV},
	{10, 0x103, 5, 9, 0, 0},
	{10, 0x103, 5, 3, -ENODEV, -ENODEV},
	{10, 0x202, 8, 0x11, 0, 0}, /* near=2,far=2 */
	{10, 0x202, 8, 0x01, -ENODEV, -ENODEV},
};

static void test_select_needs_enough_members(void **state)
{
	struct devices d;

	(void)state;
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		for (uint32_t is_dirty = 0; is_dirty < 2; is_dirty++) {
			make(&d, needs[i].level, needs[i].layout, needs[i].raid_disks);
			for (uint32_t j = needs[i].raid_disks; j-- > 0;) {
				d.supers[j].resync_offset = is_dirty ? 0 : XBDEV_MD_CLEAN;
				if ((needs[i].present & 1u << j) == 0) {
					drop(&d, j);
				}
			}
			if (select_from(&d, &run) !=
				(is_dirty ? needs[i].dirty_rc : needs[i].clean_rc)) {
				fail_msg("case %zu, dirty %u: %d '%s'", i, is_dirty, d.err.code,
					d.err.text);
			}
		}
	}
}

/* A member that recovers is none for that. */
static void test_select_counts_recovering_as_missing(void **state)
{
	struct devices d;

	(void)state;
	make(&d, 5, 2, 4);
	d.supers[1].feature_map = XBDEV_MD_F_RECOVERY_OFFSET;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iRii");
	assert_true(d.result.is_complete);
	assert_int_equal(d.result.members[1], 1);
	assert_int_equal(d.result.nr_missing, 1);
	for (uint32_t i = 0; i < 4; i++) {
		d.supers[i].resync_offset = 4096;
	}
	assert_selected(&d, &plain, -EUCLEAN, "not stopped cleanly");
	assert_selected(&d, &forced, 0, "");
	d.supers[2].feature_map = XBDEV_MD_F_RECOVERY_OFFSET;
	assert_selected(&d, &plain, -ENODEV, "2 of the 4 members");
	assert_selected(&d, &forced, -ENODEV, "2 of the 4 members");
	make(&d, 1, 0, 2);
	d.supers[0].feature_map = d.supers[1].feature_map = XBDEV_MD_F_RECOVERY_OFFSET;
	assert_selected(&d, &plain, -ENODEV, "0 of the 2 members");
}

/* dev_number is not the role, and a number may have gone to another device. */
static void test_select_finds_roles_by_the_table(void **state)
{
	struct devices d;

	(void)state;
	make(&d, 5, 2, 3);
	set_roles(&d, 0, XBDEV_MD_ROLE_SPARE);
	set_roles(&d, 90, 0);
	d.supers[0].dev_number = 90;
	assert_selected(&d, &plain, 0, "");
	assert_verdicts(&d, "iii");
	assert_int_equal(d.result.members[0], 0);
	/* Where the others have dev 1 now as role 2, dev 1 with role 1 is somebody else. */
	d.supers[0].dev_roles[1] = d.supers[2].dev_roles[1] = 2;
	d.supers[0].dev_roles[2] = 1;
	assert_selected(&d, &run, -ENODEV, "dev1 was left out: dev0 counts it as something else");
}

/* For any set of members present: enough for raid10 means that each chunk has a copy. */
static void test_select_enough_for_raid10_means_every_chunk(void **state)
{
	(void)state;
	for (uint32_t disks = 2; disks <= 7; disks++) {
		for (uint32_t copies = 2; copies <= disks; copies++) {
			struct xbdev_md_geometry geo = {
				.level = 10, .raid_disks = disks, .near = copies, .far = 1};

			for (uint32_t roles = 0; roles < 1u << disks; roles++) {
				bool has_all = true;

				for (uint32_t chunk = 0; chunk < disks; chunk++) {
					bool has_one = false;

					for (uint32_t copy = 0; copy < copies; copy++) {
						has_one |=
							roles >> (chunk * copies + copy) % disks &
							1;
					}
					has_all &= has_one;
				}
				assert_int_equal(xbdev__md_is_enough(&geo, roles), has_all);
			}
		}
	}
}

static void test_select_enough_at_32_members(void **state)
{
	struct xbdev_md_geometry geo = {.level = 6, .raid_disks = 32};

	(void)state;
	assert_true(xbdev__md_is_enough(&geo, UINT32_MAX));
	assert_true(xbdev__md_is_enough(&geo, UINT32_MAX & ~0x80000001u));
	assert_false(xbdev__md_is_enough(&geo, UINT32_MAX & ~0x80000003u));
	geo.raid_disks = 4; /* roles beyond count for nothing */
	assert_false(xbdev__md_is_enough(&geo, 0xfffffff1u));
	geo.level = 1;
	assert_false(xbdev__md_is_enough(&geo, 0xfffffff0u));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_select_of_linux),
		cmocka_unit_test(test_select_refuses_what_linux_must_do),
		cmocka_unit_test(test_select_of_a_split_mirror),
		cmocka_unit_test(test_select_of_dirty_and_degraded),
		cmocka_unit_test(test_select_needs_run_for_what_was_there),
		cmocka_unit_test(test_select_forces_the_newest_first),
		cmocka_unit_test(test_select_counts_a_spare_that_was_taking_a_place_as_there),
		cmocka_unit_test(test_select_of_a_replacement),
		cmocka_unit_test(test_select_one_event_less),
		cmocka_unit_test(test_select_of_a_spare_that_takes_a_place),
		cmocka_unit_test(test_select_of_copies),
		cmocka_unit_test(test_select_of_spares),
		cmocka_unit_test(test_select_refuses_strangers),
		cmocka_unit_test(test_select_refuses_shapes),
		cmocka_unit_test(test_select_needs_enough_members),
		cmocka_unit_test(test_select_counts_recovering_as_missing),
		cmocka_unit_test(test_select_finds_roles_by_the_table),
		cmocka_unit_test(test_select_enough_for_raid10_means_every_chunk),
		cmocka_unit_test(test_select_enough_at_32_members),
	};

	return cmocka_run_group_tests_name("xbdev_raid_select", tests, NULL, NULL);
}

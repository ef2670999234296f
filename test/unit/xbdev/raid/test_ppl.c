/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays with a partial parity log. One that Linux lost amid writes is made whole by the replay,
 * not by a resync, and also without any one of its members; what is wrong with a log leads to a
 * resync, or to nothing where there is nothing to resync. One of ours has in its log what a crash
 * needs: looked at with a decoder of the test's own. mdadm finds no fault with what either leaves.
 * That no crash at all leaves a hole is shown in test/sim/test_raid_power_fail.c.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/ppl_format.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MIB       (1024ull * 1024)
#define DIRTY     "state-raid5-ppl-dirty"
#define PPL_PLACE (16u * 512)
#define PPL_BYTES (2048u * 512)
#define MDADM     "PATH=$PATH:/usr/sbin:/sbin mdadm"
#define NOBODY    UINT32_MAX

struct world {
	struct harness h;
	struct md_fixture f;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	bool is_done;
	struct xu_error err;
};

static struct xbdev_md_array *array_of(const struct world *w)
{
	return xu_container_of(w->dev, struct xbdev_md_array, dev);
}

/* ---- arrays ---- */

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct world *w = arg;

	w->dev = dev;
	w->err = dev == NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static void open_array(struct world *w)
{
	w->desc = harness_open(&w->h, "md0", !w->dev->is_read_only);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

static void stop(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
	harness_remove(&w->h, w->dev);
	w->dev = NULL;
}

static void open_fixture(struct world *w, const char *name)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, 1, 1);
	md_fixture_open(&w->f, name);
	for (uint32_t i = 0; i < w->f.nr_members; i++) {
		harness_create(&w->h, "file", "{'name':'m%u','filename':'%s','block_size':512}", i,
			w->f.members[i].path);
	}
}

static void close_fixture(struct world *w)
{
	harness_stop(&w->h);
	md_fixture_close(&w->f);
}

/* Without the members of the mask; 0 or the error. */
static int assemble(struct world *w, uint32_t nr_members, uint32_t missing, bool is_read_only)
{
	static const char *const all[] = {"m0", "m1", "m2", "m3", "m4"};
	const char *names[ARRAY_SIZE(all)];
	struct xbdev_md_assemble_opts opts = {
		.name = "md0",
		.level = 5,
		.members = names,
		.run = true,
		.read_only = is_read_only,
	};

	for (uint32_t i = 0; i < nr_members; i++) {
		if ((missing >> i & 1) == 0) {
			names[opts.nr_members++] = all[i];
		}
	}
	w->is_done = false;
	xbdev__md_assemble(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	if (w->dev == NULL) {
		return w->err.code;
	}
	open_array(w);
	return 0;
}

static void check_parity(struct world *w)
{
	struct xbdev_md_array *array = array_of(w);

	harness_wait(&w->h, array->is_running && array->sync == NULL && !array->meta.is_writing);
	assert_int_equal(xbdev__md_sync_scrub(array, XBDEV_MD_SYNC_CHECK), 0);
	harness_wait(&w->h, array->sync == NULL);
	assert_int_equal(array->mismatch_sectors, 0);
}

static void compare_content(struct world *w)
{
	static char got[MIB], wanted[MIB];

	for (uint64_t at = 0; at < md_fixture_array_bytes(&w->f); at += MIB) {
		assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_READ, at, got, MIB, 0), 0);
		md_fixture_content(&w->f, NULL, at, wanted, MIB);
		for (uint64_t i = 0; i < MIB; i += 512) {
			if (memcmp(got + i, wanted + i, 512) != 0 &&
				md_fixture_in_flight(&w->f, at + i) == 0) {
				fail_msg("differs at %llu", (unsigned long long)(at + i));
			}
		}
	}
}

/* ---- members ---- */

static void examine(const char *path, const char *state)
{
	char command[512], text[4096], wanted[64];
	FILE *pipe;
	size_t len;

	if (system(MDADM " --version >/dev/null 2>&1") != 0) {
		printf("mdadm is not installed: it is not asked\n");
		return;
	}
	snprintf(command, sizeof(command), MDADM " --examine %s 2>&1", path);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	len = fread(text, 1, sizeof(text) - 1, pipe);
	text[len] = '\0';
	assert_int_equal(pclose(pipe), 0);
	snprintf(wanted, sizeof(wanted), "State : %s\n", state);
	if (strstr(text, wanted) == NULL || strstr(text, " - correct\n") == NULL ||
		strstr(text, "PPL : 2048 sectors at offset 8 sectors from superblock") == NULL) {
		fail_msg("%s", text);
	}
}

static uint32_t nr_entries(const struct world *w, uint32_t member)
{
	static uint8_t area[PPL_BYTES];
	struct xbdev_md_ppl_header header;
	struct xu_uuid uuid = md_fixture_uuid(w->f.json, "uuid");
	size_t at;

	md_fixture_read(&w->f, member, PPL_PLACE, area, sizeof(area));
	assert_int_equal(xbdev__md_ppl_newest(
				 area, sizeof(area), xbdev__md_ppl_signature(&uuid), &header, &at),
		0);
	return header.nr_entries;
}

/* ---- arrays of Linux ---- */

static void test_ppl_a_log_of_linux_is_replayed(void **state)
{
	struct world w;
	uint32_t nr = 0;

	open_fixture(&w, DIRTY);
	for (uint32_t i = 0; i < w.f.nr_members; i++) {
		nr += nr_entries(&w, i);
		examine(w.f.members[i].path, "active");
	}
	assert_true(nr > 0);
	assert_int_equal(assemble(&w, w.f.nr_members, 0, false), 0);
	assert_true(array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
	compare_content(&w);
	check_parity(&w);
	stop(&w);
	for (uint32_t i = 0; i < w.f.nr_members; i++) {
		assert_int_equal(nr_entries(&w, i), 0);
		examine(w.f.members[i].path, "clean");
	}
	close_fixture(&w);
}

static void test_ppl_a_log_of_linux_is_replayed_without_a_member(void **state)
{
	for (uint32_t lost = 0; lost < 4; lost++) {
		struct world w;

		open_fixture(&w, DIRTY);
		assert_int_equal(assemble(&w, w.f.nr_members, 1u << lost, true), -EUCLEAN);
		assert_non_null(strstr(w.err.text, "assemble the array for writing"));
		assert_int_equal(assemble(&w, w.f.nr_members, 1u << lost, false), 0);
		assert_int_equal(array_of(&w)->nr_degraded, 1);
		compare_content(&w);
		stop(&w);
		examine(w.f.members[(lost + 1) % 4].path, "clean");
		close_fixture(&w);
	}
}

static void test_ppl_a_log_that_is_damaged_leads_to_a_resync(void **state)
{
	static const uint64_t damages[] = {PPL_PLACE + 600, PPL_PLACE + 4096 + 100};

	for (uint32_t i = 0; i < ARRAY_SIZE(damages) * 2; i++) {
		bool is_complete = i % 2 == 0;
		struct world w;
		uint8_t byte;

		open_fixture(&w, DIRTY);
		for (uint32_t k = 0; k < w.f.nr_members; k++) {
			md_fixture_read(&w.f, k, damages[i / 2], &byte, 1);
			byte ^= 0x40;
			md_fixture_write(&w.f, k, damages[i / 2], &byte, 1);
		}
		assert_int_equal(assemble(&w, w.f.nr_members, is_complete ? 0 : 2, false), 0);
		if (is_complete) {
			assert_true(array_of(&w)->in_sync_below != XBDEV_MD_NEVER);
			harness_wait(&w.h, array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
			compare_content(&w);
			check_parity(&w);
		}
		stop(&w);
		close_fixture(&w);
	}
}

/* The member says of 8 sectors at the end of its data that they are bad. */
static void make_bad(struct world *w, uint32_t member)
{
	uint8_t bytes[4096];
	struct xbdev_md_super super;
	uint64_t first, log[512];
	uint32_t features;

	md_fixture_read(&w->f, member, 4096, bytes, sizeof(bytes));
	assert_int_equal(
		xbdev__md_super_parse(bytes, w->f.members[member].size_bytes / 512, &super, NULL),
		0);
	assert_int_equal(super.bblog_shift, 0);
	first = super.data_offset + super.size - 16;
	memset(log, 0xff, sizeof(log));
	log[0] = htole64(first << 10 | 8);
	md_fixture_write(
		&w->f, member, xbdev__md_super_place(super.bblog_offset) * 512, log, sizeof(log));
	features = htole32(super.feature_map | XBDEV_MD_F_BAD_BLOCKS);
	memcpy(bytes + 8, &features, sizeof(features));
	md_fixture_fix_checksum(bytes);
	md_fixture_write(&w->f, member, 4096, bytes, sizeof(bytes));
}

/* What is known to be bad is recovered from the parity, whatever the resync is for: it is the only
 * place that has it. */
static void test_ppl_bad_blocks_survive_a_damaged_log(void **state)
{
	for (uint32_t bad = 0; bad < 4; bad++) {
		struct world w;
		uint8_t byte;

		open_fixture(&w, DIRTY);
		make_bad(&w, bad);
		for (uint32_t k = 0; k < w.f.nr_members; k++) {
			md_fixture_read(&w.f, k, PPL_PLACE + 4096 + 100, &byte, 1);
			byte ^= 0x40;
			md_fixture_write(&w.f, k, PPL_PLACE + 4096 + 100, &byte, 1);
		}
		assert_int_equal(assemble(&w, w.f.nr_members, 0, false), 0);
		assert_true(array_of(&w)->in_sync_below != XBDEV_MD_NEVER);
		compare_content(&w);
		harness_wait(&w.h, array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
		compare_content(&w);
		check_parity(&w);
		stop(&w);
		close_fixture(&w);
	}
}

static void rewrite_generation(struct world *w, uint64_t generation)
{
	struct xu_uuid uuid = md_fixture_uuid(w->f.json, "uuid");
	static uint8_t bytes[XBDEV_MD_PPL_HEADER_BYTES];
	struct xbdev_md_ppl_header header;

	for (uint32_t i = 0; i < w->f.nr_members; i++) {
		md_fixture_read(&w->f, i, PPL_PLACE, bytes, sizeof(bytes));
		assert_int_equal(
			xbdev__md_ppl_parse(bytes, xbdev__md_ppl_signature(&uuid), &header, NULL),
			0);
		assert_int_equal(header.nr_entries, 0);
		header.generation = generation;
		xbdev__md_ppl_format(&header, bytes);
		md_fixture_write(&w->f, i, PPL_PLACE, bytes, sizeof(bytes));
	}
}

/* The power goes again when the logs have been emptied after a replay, and before the superblocks
 * tell of it: ours say that they were kept. One that Linux has emptied does not. */
static void test_ppl_a_replay_that_no_superblock_tells_of(void **state)
{
	for (uint32_t bad = 0; bad < 4; bad++) {
		static uint8_t supers[4][4096];
		struct world w;

		open_fixture(&w, DIRTY);
		make_bad(&w, bad);
		for (uint32_t i = 0; i < w.f.nr_members; i++) {
			md_fixture_read(&w.f, i, 4096, supers[i], sizeof(supers[i]));
		}
		for (uint32_t is_of_linux = 0; is_of_linux < 2; is_of_linux++) {
			assert_int_equal(assemble(&w, w.f.nr_members, 0, false), 0);
			stop(&w);
			for (uint32_t i = 0; i < w.f.nr_members; i++) {
				md_fixture_write(&w.f, i, 4096, supers[i], sizeof(supers[i]));
			}
			if (is_of_linux) {
				rewrite_generation(&w, 0);
			}
			assert_int_equal(assemble(&w, w.f.nr_members, 0, false), 0);
			assert_int_equal(
				array_of(&w)->in_sync_below == XBDEV_MD_NEVER, !is_of_linux);
			if (!is_of_linux) {
				compare_content(&w);
				check_parity(&w);
			}
			stop(&w);
		}
		close_fixture(&w);
	}
}

/* Below the mark of a resync that did not end nothing is known. */
static void test_ppl_an_array_amid_a_resync_is_not_started_degraded(void **state)
{
	struct world w;
	uint8_t bytes[4096];

	open_fixture(&w, DIRTY);
	for (uint32_t i = 0; i < w.f.nr_members; i++) {
		md_fixture_read(&w.f, i, 4096, bytes, sizeof(bytes));
		bytes[209] = 1; /* resync_offset */
		md_fixture_fix_checksum(bytes);
		md_fixture_write(&w.f, i, 4096, bytes, sizeof(bytes));
	}
	assert_int_equal(assemble(&w, w.f.nr_members, 1, false), -EUCLEAN);
	assert_int_equal(assemble(&w, w.f.nr_members, 0, false), 0);
	assert_int_equal(array_of(&w)->super.resync_offset, 256);
	harness_wait(&w.h, array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
	compare_content(&w);
	stop(&w);
	close_fixture(&w);
}

/* ---- arrays of ours ---- */

#define NR_OURS     4u
#define CHUNK       (64u * 1024)
#define OURS_BYTES  (6 * MIB)
#define OURS_STRIPE ((NR_OURS - 1) * CHUNK)

static void path_of(uint32_t member, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/m%u", harness_dir(), member);
}

static void make_file(struct world *w, uint32_t i)
{
	char path[256];
	int fd;

	path_of(i, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, OURS_BYTES), 0);
	close(fd);
	harness_create(&w->h, "file", "{'name':'m%u','filename':'%s','block_size':512}", i, path);
}

static void make_ours_of(struct world *w, bool assume_clean, uint32_t chunk_bytes)
{
	static const char *const names[] = {"m0", "m1", "m2", "m3"};
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = 5,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = chunk_bytes,
		.members = names,
		.nr_members = NR_OURS,
		.policy = XBDEV_MD_POLICY_PPL,
		.assume_clean = assume_clean,
	};

	memset(w, 0, sizeof(*w));
	harness_start(&w->h, 1, 1);
	for (uint32_t i = 0; i < NR_OURS; i++) {
		make_file(w, i);
	}
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	if (w->dev == NULL) {
		fail_msg("%s", w->err.text);
	}
	open_array(w);
}

static void make_ours(struct world *w, bool assume_clean)
{
	make_ours_of(w, assume_clean, CHUNK);
}

static void read_file(uint32_t member, uint64_t offset, void *buf, size_t len)
{
	char path[256];
	int fd;

	path_of(member, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
	close(fd);
}

static void test_ppl_an_array_begins_with_a_member_that_is_recovered(void **state)
{
	struct world w;
	char path[256];

	make_ours(&w, false);
	assert_int_equal(array_of(&w)->nr_degraded, 1);
	assert_true(array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
	harness_wait(&w.h, array_of(&w)->nr_degraded == 0);
	check_parity(&w);
	stop(&w);
	for (uint32_t i = 0; i < NR_OURS; i++) {
		path_of(i, path, sizeof(path));
		examine(path, "clean");
	}
	harness_stop(&w.h);
}

/* The newest unit of a device's area, and where its partial parities begin. */
static const uint8_t *newest_unit(uint32_t member, struct xbdev_md_ppl_header *ret_header)
{
	static uint8_t area[PPL_BYTES];
	uint8_t super_bytes[4096];
	struct xbdev_md_super super;
	size_t at;

	read_file(member, 4096, super_bytes, sizeof(super_bytes));
	assert_int_equal(xbdev__md_super_parse(super_bytes, OURS_BYTES / 512, &super, NULL), 0);
	read_file(member, PPL_PLACE, area, sizeof(area));
	assert_int_equal(xbdev__md_ppl_newest(area, sizeof(area),
				 xbdev__md_ppl_signature(&super.set_uuid), ret_header, &at),
		0);
	return area + at;
}

/* What the newest header on a device says of a write whose parity `role` has: its rows, and the XOR
 * of what is not named, put together here from what the array held. */
static void expect_entry_at(uint32_t member, uint32_t role, uint64_t data_sector, uint32_t pp_size,
	uint32_t data_size, const char *partial)
{
	struct xbdev_md_ppl_header header;
	const uint8_t *at = newest_unit(member, &header);

	assert_int_equal(header.nr_entries, 1);
	assert_int_equal(header.entries[0].data_sector, data_sector);
	assert_int_equal(header.entries[0].pp_size, pp_size);
	assert_int_equal(header.entries[0].data_size, data_size);
	assert_int_equal(header.entries[0].parity_disk, role);
	assert_int_equal(header.entries[0].checksum, xbdev__md_ppl_checksum(at, pp_size));
	if (pp_size > 0) {
		assert_memory_equal(at, partial, pp_size);
	}
}

static void expect_entry(uint32_t member, uint64_t data_sector, uint32_t pp_size,
	uint32_t data_size, const char *partial)
{
	expect_entry_at(member, member, data_sector, pp_size, data_size, partial);
}

static void write_at(struct world *w, char *content, uint64_t offset, uint64_t len, uint64_t seed)
{
	harness_fill(content + offset, len, seed);
	assert_int_equal(
		harness_io(&w->h, w->ch, XBDEV_OP_WRITE, offset, content + offset, len, 0), 0);
}

static void xor_of(char *to, const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		to[i] = (char)(a[i] ^ b[i]);
	}
}

/* left-symmetric: the parity of row 0 is on member 3, of row 1 on member 2, of row 2 on member 1.
 */
static void test_ppl_an_entry_says_what_is_not_written(void **state)
{
	static char content[3 * OURS_STRIPE], partial[CHUNK];
	struct world w;

	make_ours(&w, true);
	write_at(&w, content, 0, OURS_STRIPE, 1);
	expect_entry(3, 0, 0, OURS_STRIPE, NULL);
	write_at(&w, content, 8192, 4096, 2);
	xor_of(partial, content + CHUNK + 8192, content + 2 * CHUNK + 8192, 4096);
	expect_entry(3, 16, 4096, 4096, partial);

	/* Two whole columns of row 1, then a part that begins in the middle of a sector's row. */
	write_at(&w, content, OURS_STRIPE, OURS_STRIPE, 3);
	write_at(&w, content, OURS_STRIPE + CHUNK, 2 * CHUNK, 4);
	expect_entry(2, (OURS_STRIPE + CHUNK) / 512, CHUNK, 2 * CHUNK, content + OURS_STRIPE);
	write_at(&w, content, OURS_STRIPE + CHUNK + 512, 1024, 5);
	xor_of(partial, content + OURS_STRIPE + 512, content + OURS_STRIPE + 2 * CHUNK + 512, 1024);
	expect_entry(2, (OURS_STRIPE + CHUNK) / 512 + 1, 1024, 1024, partial);
	stop(&w);
	harness_stop(&w.h);
}

static void fail_role(void *arg)
{
	struct world *w = arg;

	xbdev__md_member_fail(array_of(w)->roles[1], "is to fail", -EIO);
}

/* Member 1 has the middle data of row 0: a write of all is done in two parts, and what the missing
 * member would hold is in the partial parity. */
static void test_ppl_what_a_missing_member_would_hold_is_logged(void **state)
{
	static char content[OURS_STRIPE], partial[4096], got[OURS_STRIPE];
	struct world w;

	make_ours(&w, true);
	write_at(&w, content, 0, OURS_STRIPE, 6);
	harness_run_on(&w.h, 0, fail_role, &w);
	write_at(&w, content, CHUNK, 4096, 7);
	/* Nothing that is there is written: the entry names what is missing. */
	xor_of(partial, content, content + 2 * CHUNK, 4096);
	expect_entry(3, CHUNK / 512, 4096, 4096, partial);
	write_at(&w, content, CHUNK - 4096, 4096 + CHUNK + 4096, 8);
	/* The second part: rows that have the missing member and the last one, then only the first.
	 */
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, sizeof(got), 0), 0);
	assert_memory_equal(got, content, sizeof(got));
	write_at(&w, content, CHUNK, CHUNK + 4096, 9);
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, sizeof(got), 0), 0);
	assert_memory_equal(got, content, sizeof(got));
	stop(&w);
	assert_int_equal(assemble(&w, NR_OURS, 0, false), 0);
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, sizeof(got), 0), 0);
	assert_memory_equal(got, content, sizeof(got));
	stop(&w);
	harness_stop(&w.h);
}

/* Of a chunk larger than a stripe, stripes that a write does not touch before the missing member
 * are not written in two parts, of which one would have nothing. */
static void test_ppl_a_write_around_a_missing_member_in_large_chunks(void **state)
{
	enum { BIG = 2 * CHUNK, FROM = BIG - 31 * 512, BYTES = 31 * 512 + BIG + 200 * 512 };
	static char content[3 * BIG], got[3 * BIG];
	struct world w;

	make_ours_of(&w, true, BIG);
	memset(content, 0x5a, sizeof(content));
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_WRITE, 0, content, sizeof(content), 0), 0);
	harness_run_on(&w.h, 0, fail_role, &w);
	memset(content + FROM, 0xa5, BYTES);
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_WRITE, FROM, content + FROM, BYTES, 0), 0);
	for (uint32_t i = 0; i < NR_OURS; i++) {
		const struct xbdev_md_member *member = array_of(&w)->roles[i];

		assert_true(member == NULL || member->bad == NULL || member->bad->count == 0);
	}
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, sizeof(got), 0), 0);
	assert_memory_equal(got, content, sizeof(got));
	stop(&w);
	harness_stop(&w.h);
}

static void damage_role(void *arg)
{
	struct xbdev_md_member *member = array_of(arg)->roles[0];

	assert_int_equal(
		xbdev__md_bad_blocks_add(member->bad, member->super.data_offset + 6, 2), 0);
}

/* Blocks that are bad may still be so after a crash, though they have been written: in their rows
 * what they are to hold is in the partial parity, for all of the rest may be new or old. */
static void test_ppl_what_bad_blocks_would_hold_is_logged(void **state)
{
	static const struct xbdev_md_ppl_entry expected[] = {
		{.data_sector = 0, .data_size = 3 * 6 * 512},
		{.data_sector = CHUNK / 512 + 6, .pp_size = 2 * 512, .data_size = 2 * 2 * 512},
		{.data_sector = 8, .data_size = 3 * (CHUNK - 8 * 512)},
	};
	static char content[OURS_STRIPE], got[OURS_STRIPE];
	struct xbdev_md_ppl_header header;
	const uint8_t *at;
	struct world w;

	make_ours(&w, true);
	write_at(&w, content, 0, OURS_STRIPE, 6);
	expect_entry(3, 0, 0, OURS_STRIPE, NULL);
	harness_run_on(&w.h, 0, damage_role, &w);
	write_at(&w, content, 0, OURS_STRIPE, 7);
	at = newest_unit(3, &header);
	assert_int_equal(header.nr_entries, ARRAY_SIZE(expected));
	for (uint32_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(header.entries[i].data_sector, expected[i].data_sector);
		assert_int_equal(header.entries[i].pp_size, expected[i].pp_size);
		assert_int_equal(header.entries[i].data_size, expected[i].data_size);
	}
	assert_memory_equal(at, content + 6 * 512, 2 * 512);
	assert_int_equal(header.absent_role, 0);
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, sizeof(got), 0), 0);
	assert_memory_equal(got, content, sizeof(got));
	stop(&w);
	harness_stop(&w.h);
}

static void on_managed(void *arg, const struct xu_error *err)
{
	if (err != NULL) {
		fail_msg("%s", err->text);
	}
	((struct world *)arg)->is_done = true;
}

static void manage(struct world *w, const struct xbdev_md_command *what)
{
	w->is_done = false;
	xbdev__md_manage(w->dev, what, on_managed, w);
	harness_wait(&w->h, w->is_done);
}

/* Keeps all members as they are now, or puts back what was kept: power that failed then. */
static void keep_files(char (*kept)[OURS_BYTES], bool is_back)
{
	for (uint32_t i = 0; i < NR_OURS + 1; i++) {
		char path[256];
		int fd;

		path_of(i, path, sizeof(path));
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(is_back ? pwrite(fd, kept[i], OURS_BYTES, 0)
					 : pread(fd, kept[i], OURS_BYTES, 0),
			OURS_BYTES);
		close(fd);
	}
}

/* The members as they were kept; they are to be assembled. */
static void go_back(struct world *w, char (*kept)[OURS_BYTES])
{
	stop(w);
	for (uint32_t i = 0; i < NR_OURS + 1; i++) {
		char name[8];

		snprintf(name, sizeof(name), "m%u", i);
		harness_remove(&w->h, xbdev_device_find(w->h.ctx, name));
	}
	keep_files(kept, true);
	for (uint32_t i = 0; i < NR_OURS + 1; i++) {
		char path[256];

		path_of(i, path, sizeof(path));
		harness_create(
			&w->h, "file", "{'name':'m%u','filename':'%s','block_size':512}", i, path);
	}
}

/* Member 1 is being replaced by m4, which has come beyond row 0 and has not kept what was written
 * there last: to its column alone, or to two. */
static void replay_with_replacement(bool has_two)
{
	static char content[OURS_STRIPE], got[OURS_STRIPE], kept[NR_OURS + 1][OURS_BYTES];
	const struct xbdev_md_command slow = {
		.kind = XBDEV_MD_COMMAND_SPEED, .speed_max_kib = 1024, .speed_min_kib = 1024};
	const struct xbdev_md_command replace = {
		.kind = XBDEV_MD_COMMAND_REPLACE, .device = "m1", .new_device = "m4"};
	const struct xbdev_md_command halt = {.kind = XBDEV_MD_COMMAND_SYNC_STOP};
	uint64_t data_offset, at;
	struct world w;

	make_ours(&w, true);
	make_file(&w, NR_OURS);
	write_at(&w, content, 0, OURS_STRIPE, 6);
	manage(&w, &slow);
	manage(&w, &replace);
	harness_wait(&w.h, array_of(&w)->replacements[1]->recovery_offset >= 2 * CHUNK / 512);
	manage(&w, &halt);
	harness_wait(&w.h, array_of(&w)->sync == NULL && !array_of(&w)->meta.is_writing);
	data_offset = array_of(&w)->roles[1]->super.data_offset * 512;
	write_at(&w, content, CHUNK + 8192, 4096, 7);
	if (has_two) {
		write_at(&w, content, 4096, CHUNK + 8192, 8);
	}
	keep_files(kept, false);
	for (at = 0; at < 4096; at++) {
		kept[NR_OURS][data_offset + 8192 + at] ^= 0x55;
	}
	go_back(&w, kept);
	assert_int_equal(assemble(&w, NR_OURS + 1, 0, false), 0);
	harness_wait(&w.h, array_of(&w)->sync == NULL && array_of(&w)->roles[1] != NULL &&
				   array_of(&w)->replacements[1] == NULL);
	assert_string_equal(array_of(&w)->roles[1]->name, "m4");
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, OURS_STRIPE, 0), 0);
	assert_memory_equal(got, content, OURS_STRIPE);
	check_parity(&w);
	stop(&w);
	harness_stop(&w.h);
}

static void test_ppl_who_replaces_a_member_gets_what_was_being_written(void **state)
{
	replay_with_replacement(false);
	replay_with_replacement(true);
}

/* The member may be lost together with the power, and then the other one has its place. */
static void test_ppl_who_replaces_a_member_has_its_log(void **state)
{
	static char content[OURS_STRIPE], partial[4096];
	const struct xbdev_md_command slow = {
		.kind = XBDEV_MD_COMMAND_SPEED, .speed_max_kib = 1024, .speed_min_kib = 1024};
	const struct xbdev_md_command replace = {
		.kind = XBDEV_MD_COMMAND_REPLACE, .device = "m3", .new_device = "m4"};
	struct world w;

	make_ours(&w, true);
	make_file(&w, NR_OURS);
	write_at(&w, content, 0, OURS_STRIPE, 6);
	manage(&w, &slow);
	manage(&w, &replace);
	assert_non_null(array_of(&w)->replacements[3]);
	write_at(&w, content, 8192, 4096, 7);
	assert_non_null(array_of(&w)->replacements[3]);
	xor_of(partial, content + CHUNK + 8192, content + 2 * CHUNK + 8192, 4096);
	expect_entry_at(3, 3, 16, 4096, 4096, partial);
	expect_entry_at(NR_OURS, 3, 16, 4096, 4096, partial);
	stop(&w);
	harness_stop(&w.h);
}

/* m4 stands in for member 1 and logs for it, is a spare again, and then takes the place of member
 * 3, which has logged less: what it finds in its log is not newer than what it is given now. */
static void test_ppl_a_log_of_another_role_is_forgotten(void **state)
{
	static char content[3 * OURS_STRIPE], partial[4096];
	const struct xbdev_md_command add = {.kind = XBDEV_MD_COMMAND_ADD, .device = "m4"};
	const struct xbdev_md_command remove = {.kind = XBDEV_MD_COMMAND_REMOVE, .device = "m1"};
	const struct xbdev_md_command back = {.kind = XBDEV_MD_COMMAND_ADD, .device = "m1"};
	const struct xbdev_md_command fail = {.kind = XBDEV_MD_COMMAND_FAIL, .device = "m3"};
	struct world w;

	make_ours(&w, true);
	make_file(&w, NR_OURS);
	write_at(&w, content, 0, sizeof(content), 6);
	harness_run_on(&w.h, 0, fail_role, &w);
	manage(&w, &add);
	harness_wait(&w.h, array_of(&w)->nr_degraded == 0 && array_of(&w)->sync == NULL);
	for (uint32_t i = 0; i < 20; i++) {
		write_at(&w, content, 2 * OURS_STRIPE, 4096, 7 + i);
	}
	manage(&w, &remove);
	manage(&w, &back);
	harness_wait(&w.h,
		strcmp(array_of(&w)->roles[1]->name, "m1") == 0 && array_of(&w)->sync == NULL);
	manage(&w, &fail);
	harness_wait(&w.h, array_of(&w)->roles[3] != NULL && array_of(&w)->nr_degraded == 0 &&
				   array_of(&w)->sync == NULL);
	assert_string_equal(array_of(&w)->roles[3]->name, "m4");
	write_at(&w, content, 8192, 4096, 30);
	xor_of(partial, content + CHUNK + 8192, content + 2 * CHUNK + 8192, 4096);
	expect_entry_at(NR_OURS, 3, 16, 4096, 4096, partial);
	check_parity(&w);
	stop(&w);
	harness_stop(&w.h);
}

/* A recovery has been at row 0, but no superblock says so when the power fails amid a write there:
 * it comes again, and has only the parity to go by. */
static void test_ppl_a_recovery_that_a_crash_forgets_is_not_counted_on(void **state)
{
	static char content[OURS_STRIPE], got[OURS_STRIPE], kept[NR_OURS + 1][OURS_BYTES];
	static char old[CHUNK];
	const struct xbdev_md_command slow = {
		.kind = XBDEV_MD_COMMAND_SPEED, .speed_max_kib = 1024, .speed_min_kib = 1024};
	const struct xbdev_md_command add = {.kind = XBDEV_MD_COMMAND_ADD, .device = "m4"};
	uint64_t data_offset;
	struct world w;

	make_ours(&w, true);
	make_file(&w, NR_OURS);
	write_at(&w, content, 0, OURS_STRIPE, 6);
	memcpy(old, content, CHUNK);
	harness_run_on(&w.h, 0, fail_role, &w);
	manage(&w, &slow);
	manage(&w, &add);
	harness_wait(&w.h, array_of(&w)->roles[1] != NULL &&
				   array_of(&w)->roles[1]->recovery_offset >= 2 * CHUNK / 512);
	data_offset = array_of(&w)->roles[1]->super.data_offset * 512;
	/* No further, so that nothing is saved meanwhile. */
	array_of(&w)->sync_speed_min = array_of(&w)->sync_speed_max = 1;
	write_at(&w, content, 4096, CHUNK + 8192, 8);
	assert_int_equal(array_of(&w)->roles[1]->recovery_known, 0);
	keep_files(kept, false);
	/* Of the first column nothing has been written, nor of what was recovered. */
	memcpy(kept[0] + data_offset, old, CHUNK);
	memset(kept[NR_OURS] + data_offset, 0x3c, CHUNK);
	go_back(&w, kept);
	memcpy(content, old, CHUNK);
	assert_int_equal(assemble(&w, NR_OURS + 1, 0, false), 0);
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, OURS_STRIPE, 0), 0);
	assert_memory_equal(got, content, OURS_STRIPE);
	harness_wait(&w.h, array_of(&w)->nr_degraded == 0);
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, OURS_STRIPE, 0), 0);
	assert_memory_equal(got, content, OURS_STRIPE);
	check_parity(&w);
	stop(&w);
	harness_stop(&w.h);
}

/* Many units: the area's end is passed many times, and the newest is found. */
static void test_ppl_units_go_round(void **state)
{
	static char content[OURS_STRIPE], partial[CHUNK];
	struct world w;

	make_ours(&w, true);
	write_at(&w, content, 0, OURS_STRIPE, 10);
	for (uint32_t i = 0; i < 60; i++) {
		write_at(&w, content, 0, CHUNK, 11 + i);
		xor_of(partial, content + CHUNK, content + 2 * CHUNK, CHUNK);
		expect_entry(3, 0, CHUNK, CHUNK, partial);
	}
	stop(&w);
	harness_stop(&w.h);
}

static void refuse(struct world *w, int32_t level, uint32_t bitmap_chunk, const char *words)
{
	static const char *const names[] = {"n0", "n1", "n2", "n3"};
	const struct xbdev_md_create_opts opts = {
		.name = "md1",
		.level = level,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.members = names,
		.nr_members = 4,
		.policy = XBDEV_MD_POLICY_PPL,
		.bitmap_chunk_bytes = bitmap_chunk,
	};

	w->is_done = false;
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	assert_null(w->dev);
	assert_int_equal(w->err.code, -EINVAL);
	assert_non_null(strstr(w->err.text, words));
}

static void test_ppl_is_for_raid5_without_a_bitmap(void **state)
{
	struct world w = {0};

	harness_start(&w.h, 1, 1);
	for (uint32_t i = 0; i < 4; i++) {
		harness_create(
			&w.h, "malloc", "{'name':'n%u','size':%llu,'block_size':512}", i, 8 * MIB);
	}
	refuse(&w, 6, 0, "is for raid5");
	refuse(&w, 1, 0, "is for raid5");
	refuse(&w, 5, 65536, "instead of a bitmap");
	harness_stop(&w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ppl_a_log_of_linux_is_replayed),
		cmocka_unit_test(test_ppl_a_log_of_linux_is_replayed_without_a_member),
		cmocka_unit_test(test_ppl_a_log_that_is_damaged_leads_to_a_resync),
		cmocka_unit_test(test_ppl_bad_blocks_survive_a_damaged_log),
		cmocka_unit_test(test_ppl_a_replay_that_no_superblock_tells_of),
		cmocka_unit_test(test_ppl_an_array_amid_a_resync_is_not_started_degraded),
		cmocka_unit_test(test_ppl_an_array_begins_with_a_member_that_is_recovered),
		cmocka_unit_test(test_ppl_an_entry_says_what_is_not_written),
		cmocka_unit_test(test_ppl_what_a_missing_member_would_hold_is_logged),
		cmocka_unit_test(test_ppl_a_write_around_a_missing_member_in_large_chunks),
		cmocka_unit_test(test_ppl_what_bad_blocks_would_hold_is_logged),
		cmocka_unit_test(test_ppl_who_replaces_a_member_gets_what_was_being_written),
		cmocka_unit_test(test_ppl_who_replaces_a_member_has_its_log),
		cmocka_unit_test(test_ppl_a_log_of_another_role_is_forgotten),
		cmocka_unit_test(test_ppl_a_recovery_that_a_crash_forgets_is_not_counted_on),
		cmocka_unit_test(test_ppl_units_go_round),
		cmocka_unit_test(test_ppl_is_for_raid5_without_a_bitmap),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("xbdev_raid_ppl", tests, NULL, NULL);
}

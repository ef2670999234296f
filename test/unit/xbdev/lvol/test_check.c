/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The check of whole stores: nothing is wrong with SPDK's good images, each bad one has what was
 * done to it; clusters and pages that are lost or marked wrongly are found, repaired where that is
 * safe, and gone when the store is loaded again.
 */
#include "lib/xbdev/lvol/check.h"

#include "test/unit/xbdev/lvol/session.h"

static uint32_t count(const struct xbdev_lvs_report *report, enum xbdev_lvs_problem_kind kind)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < report->nr_problems; i++) {
		assert_true(report->problems[i].text[0] != '\0');
		nr += report->problems[i].kind == kind;
	}
	return nr;
}

static void test_check_images(void **state)
{
	static const struct {
		const char *name;
		enum xbdev_lvs_problem_kind kind;
		uint32_t nr, nr_all;
	} bad[] = {
		{"inflight-snapshot-undo-512-64k", XBDEV_LVS_PROBLEM_INTERRUPTED, 1, 1},
		{"inflight-snapshot-redo-4k-64k", XBDEV_LVS_PROBLEM_INTERRUPTED, 1, 1},
		{"inflight-delete-undo-512-16k", XBDEV_LVS_PROBLEM_INTERRUPTED, 1, 1},
		{"inflight-delete-redo-512-16k", XBDEV_LVS_PROBLEM_INTERRUPTED, 1, 1},
		/* Its clusters and its extent page are nobody's that could be asked. */
		{"bad-lvol-md-page", XBDEV_LVS_PROBLEM_UNREADABLE, 1, 3},
		{"bad-extent-page", XBDEV_LVS_PROBLEM_UNREADABLE, 1, 2},
		{"bad-extent-page-unclean", XBDEV_LVS_PROBLEM_READ_ONLY, 1, 2},
		{"bad-snapshot-md-page", XBDEV_LVS_PROBLEM_UNREADABLE, 4, 6},
		{"unknown-incompatible-flag", XBDEV_LVS_PROBLEM_UNREADABLE, 1, 1},
		{"cluster-mask-missing-bit", XBDEV_LVS_PROBLEM_UNMARKED, 1, 2},
	};

	(void)state;
	for (uint32_t i = 0; i < lvol_fixture_count(); i++) {
		struct xbdev_lvs_report report;
		struct lvol_fixture f;
		struct lvol_world w;
		uint32_t nr_all = 0;

		lvol_fixture_open(&f, lvol_fixture_name(i));
		lvol_world_start(&w, f.path, f.block_size);
		lvol_world_load(&w);
		if (w.store != NULL) {
			assert_int_equal(xbdev__lvs_check(w.store, &report), 0);
			for (uint32_t k = 0; k < ARRAY_SIZE(bad); k++) {
				if (strcmp(bad[k].name, f.name) == 0) {
					nr_all = bad[k].nr_all;
					assert_int_equal(count(&report, bad[k].kind), bad[k].nr);
				}
			}
			if (report.nr_problems != nr_all) {
				fail_msg("%s: %u problems, the last: %s", f.name,
					report.nr_problems,
					report.nr_problems > 0
						? report.problems[report.nr_problems - 1].text
						: "");
			}
			assert_int_equal(
				report.nr_unusable, report.nr_volumes - lvol_world_nr_usable(&w));
			assert_true(report.nr_used_clusters >= w.store->super.nr_md_clusters);
			xbdev__lvs_report_fini(&report);
		}
		lvol_world_stop(&w);
		lvol_fixture_close(&f);
	}
}

/* Sets a bit of a mask. */
static void set_bit(uint8_t *content, uint64_t mask, uint32_t bit)
{
	content[mask + 5 + bit / 8] |= (uint8_t)(1u << bit % 8);
}

/* Loads, checks and repairs; what is found, and then again. */
static uint32_t check_and_repair(uint8_t *content, uint64_t size, uint32_t block_size)
{
	struct xbdev_lvs_report report;
	struct lvol_session t;
	uint32_t nr;

	lvol_session_start(&t, content, size, block_size);
	assert_int_equal(xbdev__lvs_check(t.w.store, &report), 0);
	nr = xbdev__lvs_check_repair(t.w.store, &report);
	assert_int_equal(xbdev__lvs_check_repair(t.w.store, &report), 0);
	xbdev__lvs_report_fini(&report);
	lvol_session_recover(&t);
	lvol_session_unload(&t);
	assert_int_equal(t.err.code, 0);
	memcpy(content, t.disk->memory, size);
	lvol_session_stop(&t);

	lvol_session_start(&t, content, size, block_size);
	assert_true(t.w.store->super.is_clean);
	assert_int_equal(xbdev__lvs_check(t.w.store, &report), 0);
	assert_int_equal(report.nr_problems, 0);
	assert_int_equal(report.nr_unusable, 0);
	assert_int_equal(report.nr_used_clusters, t.w.store->clusters.nr_set);
	xbdev__lvs_report_fini(&report);
	lvol_session_stop(&t);
	return nr;
}

static void test_check_repairs_masks(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("thin-thick-512-1m", &size, &block_size);

	(void)state;
	assert_int_equal(check_and_repair(content, size, block_size), 0);
	for (uint32_t bit = 20; bit < 30; bit++) {
		set_bit(content, 0x2000, bit); /* clusters */
	}
	set_bit(content, 0x2000, 50);
	set_bit(content, 0x1000, 33); /* a page, which looks like a live root */
	memcpy(content + (4 + 33) * 4096, content + (4 + 3) * 4096, 4096);
	content[(4 + 33) * 4096] = 33;
	lvol_fixture_fix(content + (4 + 33) * 4096);
	assert_int_equal(check_and_repair(content, size, block_size), 3);
	assert_int_equal(content[(4 + 33) * 4096], 0);
	free(content);

	content = lvol_session_content("cluster-mask-missing-bit", &size, &block_size);
	assert_int_equal(check_and_repair(content, size, block_size), 1);
	free(content);
	content = lvol_session_content("inflight-delete-redo-512-16k", &size, &block_size);
	assert_int_equal(check_and_repair(content, size, block_size), 1);
	free(content);
}

/* With a volume that cannot be read, lost clusters may be its own. */
static void test_check_leaves_what_may_be_somebodys(void **state)
{
	uint64_t size, nr_used;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("bad-lvol-md-page", &size, &block_size);
	struct xbdev_lvs_report report;
	struct lvol_session t;

	(void)state;
	lvol_session_start(&t, content, size, block_size);
	nr_used = t.w.store->clusters.nr_set;
	assert_int_equal(xbdev__lvs_check(t.w.store, &report), 0);
	assert_int_equal(count(&report, XBDEV_LVS_PROBLEM_LOST), 1);
	assert_int_equal(xbdev__lvs_check_repair(t.w.store, &report), 0);
	assert_int_equal(t.w.store->clusters.nr_set, nr_used);
	lvol_session_unload(&t);
	assert_memory_equal(t.disk->memory, content, size);
	xbdev__lvs_report_fini(&report);
	lvol_session_stop(&t);
	free(content);
}

/* A cluster that two volumes list: one can be used, and neither be written. */
static void test_check_finds_a_shared_cluster(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("thin-thick-512-1m", &size, &block_size);
	uint8_t *page = content + (4 + 8) * 4096; /* extent page of thin1 */
	struct xbdev_lvs_report report;
	struct lvol_session t;

	(void)state;
	page[16 + 5 + 4] = 1; /* cluster 8 becomes 1, which thick1 has */
	lvol_fixture_fix(page);
	lvol_session_start(&t, content, size, block_size);
	assert_int_equal(xbdev__lvs_check(t.w.store, &report), 0);
	assert_int_equal(count(&report, XBDEV_LVS_PROBLEM_SHARED), 1);
	assert_int_equal(count(&report, XBDEV_LVS_PROBLEM_UNREADABLE), 1);
	assert_non_null(strstr(xbdev__lvs_blob_by_name(t.w.store, "thin1")->reason->text,
		"cluster 1, which 'thick1' has too"));
	assert_true(xbdev__lvs_blob_is_read_only(xbdev__lvs_blob_by_name(t.w.store, "thick1")));
	assert_int_equal(xbdev__lvs_check_repair(t.w.store, &report), 0);
	xbdev__lvs_report_fini(&report);
	lvol_session_stop(&t);
	free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_images),
		cmocka_unit_test(test_check_repairs_masks),
		cmocka_unit_test(test_check_leaves_what_may_be_somebodys),
		cmocka_unit_test(test_check_finds_a_shared_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

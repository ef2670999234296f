/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/note.c: notes arrive on the control reactor in the order in which a reactor made
 * them; those that find no room are counted, and none is told twice or made up.
 */
#include "lib/xbdev/core/note.h"
#include "test/unit/xbdev/harness.h"

#define NR_EACH 20000u

struct seen {
	struct xbdev_note_listener listener;
	uint32_t count, nr_lost;
	uint32_t last[2]; /* per reactor: the number of its last note */
	struct xbdev_note note;
};

static void on_note(struct xbdev_note_listener *listener, const struct xbdev_note *note)
{
	struct seen *seen = xu_container_of(listener, struct seen, listener);

	seen->count++;
	seen->nr_lost += note->nr_lost;
	seen->note = *note;
}

static void test_note_arrives_as_it_was_made(void **state)
{
	struct seen seen = {.listener.fn = on_note}, other = {.listener.fn = on_note};
	struct harness h;

	harness_start(&h, 1, 1);
	xbdev_ctx_add_note_listener(h.ctx, &seen.listener);
	xbdev_ctx_add_note_listener(h.ctx, &other.listener);
	xbdev_ctx_note(h.ctx, "md0", "failed", "d1", "member %s is %d", "d1", 7);
	assert_int_equal(seen.count, 0); /* later, not from within */
	harness_wait(&h, seen.count == 1);
	assert_int_equal(other.count, 1);
	assert_string_equal(seen.note.device, "md0");
	assert_string_equal(seen.note.event, "failed");
	assert_string_equal(seen.note.member, "d1");
	assert_string_equal(seen.note.text, "member d1 is 7");
	assert_true(seen.note.time_ns > 1600000000ull * 1000000000ull);
	xbdev_ctx_del_note_listener(&other.listener);
	xbdev_ctx_note(h.ctx, "md0", "stopped", NULL, "%0400d", 0);
	harness_wait(&h, seen.count == 2);
	assert_int_equal(other.count, 1);
	assert_string_equal(seen.note.member, "");
	assert_int_equal(strlen(seen.note.text), XBDEV_NOTE_BYTES - 1);
	harness_stop(&h);
}

static void test_notes_without_room_are_counted(void **state)
{
	struct seen seen = {.listener.fn = on_note};
	struct harness h;

	harness_start(&h, 1, 1);
	xbdev_ctx_add_note_listener(h.ctx, &seen.listener);
	for (uint32_t i = 0; i < XBDEV_NOTES_MAX + 50; i++) {
		xbdev_ctx_note(h.ctx, "md0", "failed", NULL, "%u", i);
	}
	harness_wait(&h, seen.count == XBDEV_NOTES_MAX);
	assert_int_equal(seen.nr_lost, 50);
	assert_string_equal(seen.note.text, "127");
	xbdev_ctx_note(h.ctx, "md0", "failed", NULL, "again");
	harness_wait(&h, seen.count == XBDEV_NOTES_MAX + 1);
	assert_int_equal(seen.nr_lost, 50);
	/* What is still under way goes with the context. */
	xbdev_ctx_note(h.ctx, "md0", "failed", NULL, "never told");
	harness_stop(&h);
}

static void on_numbered(struct xbdev_note_listener *listener, const struct xbdev_note *note)
{
	struct seen *seen = xu_container_of(listener, struct seen, listener);
	uint32_t reactor, number;

	MUST(sscanf(note->text, "%u %u", &reactor, &number) == 2 && reactor < 2);
	MUST(number > seen->last[reactor]);
	seen->last[reactor] = number;
	seen->count++;
	seen->nr_lost += note->nr_lost;
}

static struct xbdev_ctx *numbered_ctx;

static void make_many(void *arg)
{
	for (uint32_t i = 1; i <= NR_EACH; i++) {
		xbdev_ctx_note(numbered_ctx, "md0", "failed", NULL, "%u %u", *(uint32_t *)arg, i);
	}
}

static void test_notes_of_a_reactor_keep_their_order(void **state)
{
	struct seen seen = {.listener.fn = on_numbered};
	uint32_t numbers[] = {0, 1};
	struct harness h;

	harness_start(&h, 3, 1); /* 1 and 2 have threads */
	numbered_ctx = h.ctx;
	xbdev_ctx_add_note_listener(h.ctx, &seen.listener);
	for (uint32_t i = 0; i < 2; i++) {
		harness_run_on(&h, i + 1, make_many, &numbers[i]);
	}
	xbdev_ctx_note(h.ctx, "md0", "failed", NULL, "0 %u", NR_EACH + 1);
	harness_wait(&h, seen.count + seen.nr_lost == 2 * NR_EACH + 1);
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_note_arrives_as_it_was_made),
		cmocka_unit_test(test_notes_without_room_are_counted),
		cmocka_unit_test(test_notes_of_a_reactor_keep_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The heap of timers: against a sorted array over many random steps, and every way to leave it. */
#include "lib/reactor/timer.h"

#include "test/unit/reactor/test.h"

#define NR_TIMERS 300u
#define NR_STEPS  100000u

/* The model: the running timers, first deadline first. */
struct model {
	struct xr_timer *sorted[NR_TIMERS];
	uint32_t count;
};

static void model_add(struct model *model, struct xr_timer *timer)
{
	uint32_t at = model->count++;

	while (at > 0 && model->sorted[at - 1]->deadline_ns > timer->deadline_ns) {
		model->sorted[at] = model->sorted[at - 1];
		at--;
	}
	model->sorted[at] = timer;
}

static void model_del(struct model *model, struct xr_timer *timer)
{
	uint32_t at = 0;

	while (model->sorted[at] != timer) {
		at++;
		assert_true(at < model->count);
	}
	memmove(&model->sorted[at], &model->sorted[at + 1],
		(model->count - at - 1) * sizeof(model->sorted[0]));
	model->count--;
}

/* Walks the whole heap: order, links back, and how many there are. */
static uint32_t check_heap(struct xr_timer *const *place)
{
	uint32_t count = 0;

	for (const struct xr_timer *timer = *place; timer != NULL;
		place = &timer->next, timer = timer->next) {
		assert_ptr_equal(timer->prev_next, place);
		if (timer->child != NULL) {
			assert_true(timer->child->deadline_ns >= timer->deadline_ns);
			for (const struct xr_timer *child = timer->child; child != NULL;
				child = child->next) {
				assert_true(child->deadline_ns >= timer->deadline_ns);
			}
		}
		count += 1 + check_heap(&timer->child);
	}
	return count;
}

static void take_all_due(struct xr_timer_heap *heap, struct model *model, uint64_t now_ns)
{
	struct xr_timer *timer;

	while ((timer = xr__timer_take_due(heap, now_ns)) != NULL) {
		assert_true(model->count != 0);
		/* Of equal deadlines any may come first. */
		assert_int_equal(timer->deadline_ns, model->sorted[0]->deadline_ns);
		assert_true(timer->deadline_ns <= now_ns);
		assert_false(xr_timer_is_running(timer));
		model_del(model, timer);
	}
	assert_true(model->count == 0 || model->sorted[0]->deadline_ns > now_ns);
}

static void test_timer_heap_is_a_sorted_array(void **state)
{
	static struct xr_timer timers[NR_TIMERS];
	struct xr_timer_heap heap = {0};
	struct model model = {0};
	struct xu_random random;
	uint64_t now_ns = 0;
	uint32_t count_max = 0;

	xu_random_seed(&random, 4);
	for (uint32_t step = 0; step < NR_STEPS; step++) {
		struct xr_timer *timer = &timers[xu_random_below(&random, NR_TIMERS)];

		if (xu_random_below(&random, 64) == 0) {
			now_ns += xu_random_below(&random, 400);
			take_all_due(&heap, &model, now_ns);
		} else if (xr_timer_is_running(timer)) {
			xr__timer_remove(&heap, timer);
			model_del(&model, timer);
			assert_false(xr_timer_is_running(timer));
		} else {
			/* Few different deadlines, so that many are equal. */
			timer->deadline_ns = now_ns + 1 + xu_random_below(&random, 1000) / 7 * 7;
			xr__timer_insert(&heap, timer);
			model_add(&model, timer);
			assert_true(xr_timer_is_running(timer));
		}
		count_max = model.count > count_max ? model.count : count_max;
		assert_int_equal(model.count == 0, heap.root == NULL);
		if (model.count != 0) {
			assert_int_equal(heap.root->deadline_ns, model.sorted[0]->deadline_ns);
		}
		if (step % 97 == 0) {
			assert_int_equal(check_heap(&heap.root), model.count);
		}
	}
	assert_true(count_max > NR_TIMERS / 3);
	take_all_due(&heap, &model, UINT64_MAX);
	assert_int_equal(model.count, 0);
	assert_null(heap.root);
}

/* Each order of six insertions, each one removed first, then the rest come out sorted. */
static void test_timer_heap_small_ones_exhaustively(void **state)
{
	for (uint32_t code = 0; code < 6 * 6 * 6 * 6 * 6 * 6; code++) {
		struct xr_timer timers[6] = {{0}};
		struct xr_timer_heap heap = {0};
		uint32_t left = code, nr_taken = 0;
		uint64_t last_ns = 0;
		struct xr_timer *timer;

		for (uint32_t i = 0; i < 6; i++) {
			timers[i].deadline_ns = left % 6;
			left /= 6;
			xr__timer_insert(&heap, &timers[i]);
		}
		xr__timer_take_due(&heap, UINT64_MAX); /* gives the heap some depth */
		timer = &timers[code % 6];
		if (xr_timer_is_running(timer)) {
			xr__timer_remove(&heap, timer);
			nr_taken++;
		}
		nr_taken++;
		while ((timer = xr__timer_take_due(&heap, UINT64_MAX)) != NULL) {
			assert_true(timer->deadline_ns >= last_ns);
			last_ns = timer->deadline_ns;
			nr_taken++;
		}
		assert_int_equal(nr_taken, 6);
	}
}

static void test_timer_is_due_at_its_deadline(void **state)
{
	struct xr_timer_heap heap = {0};
	struct xr_timer timer = {.deadline_ns = 100};

	assert_null(xr__timer_take_due(&heap, UINT64_MAX));
	xr__timer_insert(&heap, &timer);
	assert_null(xr__timer_take_due(&heap, 99));
	assert_ptr_equal(xr__timer_take_due(&heap, 100), &timer);
	assert_null(xr__timer_take_due(&heap, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timer_heap_is_a_sorted_array),
		cmocka_unit_test(test_timer_heap_small_ones_exhaustively),
		cmocka_unit_test(test_timer_is_due_at_its_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool for calls that can only block: at most four at a time, each done on its own reactor, and
 * nothing of a reactor touched after its last piece of work. Run under the thread sanitizer too. */
#include "test/unit/reactor/test.h"

#define NR_THREADS 4u /* of the pool */

struct job {
	struct xr_work work;
	struct xr_reactor *reactor;
	pthread_t worked_in;
	char name[16];
	bool is_worked;
	_Atomic bool is_done;
	struct crowd *crowd;
};

/* Jobs that wait for each other inside work(). */
struct crowd {
	_Atomic uint32_t nr_inside, nr_inside_max, nr_done;
	_Atomic bool is_released;
};

static void on_work(struct xr_work *work)
{
	struct job *job = xu_container_of(work, struct job, work);

	job->worked_in = pthread_self();
	pthread_getname_np(job->worked_in, job->name, sizeof(job->name));
	job->is_worked = true;
}

static void on_done(struct xr_work *work)
{
	struct job *job = xu_container_of(work, struct job, work);

	assert_true(job->is_worked);
	assert_ptr_equal(xr_reactor_current(), job->reactor);
	atomic_store(&job->is_done, true);
}

static void test_work_runs_elsewhere_and_is_done_here(void **state)
{
	struct job job = {.work = {.work = on_work, .done = on_done}, .reactor = test_reactor()};

	xr_work_submit(job.reactor, &job.work);
	test_poll_until(job.reactor, &job.is_done);
	assert_false(pthread_equal(job.worked_in, pthread_self()));
	assert_string_equal(job.name, "xsan-worker");
	xr_reactor_free(job.reactor);
}

static void on_crowd_work(struct xr_work *work)
{
	struct crowd *crowd = xu_container_of(work, struct job, work)->crowd;
	uint32_t inside = atomic_fetch_add(&crowd->nr_inside, 1) + 1;
	uint32_t max = atomic_load(&crowd->nr_inside_max);

	while (inside > max && !atomic_compare_exchange_weak(&crowd->nr_inside_max, &max, inside)) {
	}
	while (!atomic_load(&crowd->is_released)) {
		test_sleep_ms(1);
	}
	atomic_fetch_sub(&crowd->nr_inside, 1);
}

static void on_crowd_done(struct xr_work *work)
{
	atomic_fetch_add(&xu_container_of(work, struct job, work)->crowd->nr_done, 1);
}

static void test_pool_is_bounded_and_loses_nothing(void **state)
{
	static struct job jobs[50];
	struct xr_reactor *reactor = test_reactor();
	static struct crowd crowd;
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		jobs[i] = (struct job){
			.work = {.work = on_crowd_work, .done = on_crowd_done}, .crowd = &crowd};
		xr_work_submit(reactor, &jobs[i].work);
	}
	while (atomic_load(&crowd.nr_inside) < NR_THREADS) {
		test_sleep_ms(1); /* a job that waits does not hold up the next */
		assert_true(test_now_ns() < end_ns);
	}
	test_sleep_ms(50);
	assert_int_equal(atomic_load(&crowd.nr_inside), NR_THREADS);
	atomic_store(&crowd.is_released, true);
	while (atomic_load(&crowd.nr_done) < ARRAY_SIZE(jobs)) {
		xr_reactor_poll(reactor, 10 * XU_NS_PER_MS);
		assert_true(test_now_ns() < end_ns);
	}
	assert_int_equal(atomic_load(&crowd.nr_inside_max), NR_THREADS);
	xr_reactor_free(reactor);
}

/* Two pieces at once, while a thread sleeps: each gets a thread, although only one was idle. */
static void test_second_piece_does_not_wait_for_the_first(void **state)
{
	static struct job jobs[2];
	static struct crowd crowd;
	struct xr_reactor *reactor = test_reactor();

	for (int round = 0; round < 20; round++) {
		uint64_t end_ns = test_now_ns() + PATIENCE_NS;

		crowd = (struct crowd){0};
		for (size_t i = 0; i < 2; i++) {
			jobs[i] =
				(struct job){.work = {.work = on_crowd_work, .done = on_crowd_done},
					.crowd = &crowd};
			xr_work_submit(reactor, &jobs[i].work);
		}
		while (atomic_load(&crowd.nr_inside) < 2) {
			test_sleep_ms(1);
			assert_true(test_now_ns() < end_ns);
		}
		atomic_store(&crowd.is_released, true);
		while (atomic_load(&crowd.nr_done) < 2) {
			xr_reactor_poll(reactor, 10 * XU_NS_PER_MS);
			assert_true(test_now_ns() < end_ns);
		}
	}
	xr_reactor_free(reactor);
}

/* The reactor goes as soon as its work is done; the worker must not look at it any more. */
static void test_reactor_freed_right_after_its_work(void **state)
{
	for (int i = 0; i < 200; i++) {
		struct job job = {
			.work = {.work = on_work, .done = on_done}, .reactor = test_reactor()};

		if (i % 2 == 0) {
			xr_work_submit(job.reactor, &job.work);
			test_poll_until(job.reactor, &job.is_done);
		} else {
			assert_int_equal(xr_reactor_start(job.reactor, NULL), 0);
			xr_work_submit(job.reactor, &job.work);
			while (!atomic_load(&job.is_done)) {
			}
			xr_reactor_stop(job.reactor);
		}
		xr_reactor_free(job.reactor);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_second_piece_does_not_wait_for_the_first),
		cmocka_unit_test(test_work_runs_elsewhere_and_is_done_here),
		cmocka_unit_test(test_pool_is_bounded_and_loses_nothing),
		cmocka_unit_test(test_reactor_freed_right_after_its_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

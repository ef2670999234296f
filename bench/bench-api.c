/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-api: what the public interface of libxbdev costs, beside the physical limit of the same
 * work. Prints one line of JSON: operations per second, CPU nanoseconds per operation (of the whole
 * process, so a spinning reactor counts).
 *
 *   aio, request, batch  random reads of a device at a fixed depth, from another thread than the
 *                        reactor's, or, with --embedded, on its own
 *   sync                 one xbdev_read() after the other
 *   rings                the limit of the first three: two bare rings with a thread that answers
 *   pingpong             the limit of sync: one word that two threads pass to each other
 *   handover             the limit of I/O on a file through another thread: bare rings, a thread
 *                        with a bare io_uring, and the wake-ups between them, with nothing else
 *
 * The first 0.2 s are not counted. "best" is the rate that one in twenty windows of a millisecond
 * reached: what the machine can do while nobody else takes its CPUs, which two threads that wait
 * for each other feel more than anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

#include "lib/util/clock.h"
#include "lib/util/random.h"
#include "lib/util/ring.h"
#include "lib/util/size.h"

#define MAX_DEPTH   4096u
#define WARM_UP_NS  (200 * XU_NS_PER_MS)
#define WINDOW_NS   XU_NS_PER_MS
#define MAX_WINDOWS 60000u
#define ANSWER_MAX  64u
#define OVERTIME_S  20u /* the process ends then, whatever it waits for */
#define CLOCK_EVERY 16u /* turns of a loop between two readings of the clock */

struct bench {
	const char *device;
	const char *path; /* of handover's file */
	bool is_write;
	uint32_t block_bytes;
	uint32_t depth;
	double seconds;
	bool is_embedded;
	bool is_pinned;
	bool must_fill;
	uint32_t spin_us;

	int fd;
	uint64_t nr_blocks;
	char *memory;
	struct xu_random random;
	uint64_t nr_done, nr_errors;
	bool is_over;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench-api: %s: %s\n", what, why);
	exit(1);
}

static void check(const char *what, int64_t rc)
{
	if (rc < 0) {
		die(what, xbdev_last_error());
	}
}

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

/* ---- measuring ---- */

static double windows[MAX_WINDOWS]; /* operations per second */
static uint32_t nr_windows;

static void note_window(struct bench *b, uint64_t now)
{
	static uint64_t start_ns, start_done;

	if (start_ns == 0 || now - start_ns < WINDOW_NS) {
		start_ns = start_ns == 0 ? now : start_ns;
		return;
	}
	if (start_done != 0 && nr_windows < MAX_WINDOWS) {
		windows[nr_windows++] =
			(double)(b->nr_done - start_done) * 1e9 / (double)(now - start_ns);
	}
	start_ns = now;
	start_done = b->nr_done;
}

static int compare_descending(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return a < b ? 1 : a > b ? -1 : 0;
}

static double best_window(void)
{
	qsort(windows, nr_windows, sizeof(windows[0]), compare_descending);
	return nr_windows != 0 ? windows[nr_windows / 20] : 0;
}

/* Calls `turn` until the time is over; it adds to nr_done what it has completed. */
static void measure(struct bench *b, void (*turn)(struct bench *b))
{
	uint64_t start_ns = now_ns(), end_ns, done;
	double cpu;

	do {
		turn(b);
	} while (now_ns() - start_ns < WARM_UP_NS);
	start_ns = now_ns();
	cpu = cpu_ns();
	done = b->nr_done;
	do {
		for (uint32_t i = 0; i < CLOCK_EVERY; i++) {
			turn(b);
		}
		end_ns = now_ns();
		note_window(b, end_ns);
	} while (end_ns - start_ns < (uint64_t)(b->seconds * 1e9));
	done = b->nr_done - done;
	cpu = cpu_ns() - cpu;
	printf("{\"iops\": %.0f, \"best\": %.0f, \"cpu_ns_per_io\": %.1f, \"cpu_percent\": %.1f, "
	       "\"errors\": %llu}\n",
		(double)done * 1e9 / (double)(end_ns - start_ns), best_window(), cpu / (double)done,
		cpu / (double)(end_ns - start_ns) * 100, (unsigned long long)b->nr_errors);
}

/* A memory device that was never written has no memory yet. */
static void fill(const struct bench *b, uint64_t size_bytes)
{
	uint32_t chunk = 1u << 20;
	char *memory = xbdev_dma_buffer_alloc(chunk);

	if (memory == NULL) {
		die("filling", "out of memory");
	}
	memset(memory, 0x5a, chunk);
	for (uint64_t at = 0; at + chunk <= size_bytes; at += chunk) {
		check("filling", xbdev_write(b->fd, memory, chunk, at));
	}
	xbdev_dma_buffer_free(memory);
}

static void start(struct bench *b)
{
	static const int cpus[] = {1};
	const xbdev_init_options_t options = {
		.size = sizeof(options),
		.nr_reactors = 1,
		.is_embedded = b->is_embedded,
		.cpus = b->is_pinned && !b->is_embedded ? cpus : NULL,
		.spin_max_us = b->spin_us,
	};
	xbdev_info_t info;

	check("starting", xbdev_init_with(&options));
	check("the device", xbdev_config_device(b->device));
	check("listing", xbdev_list(&info, 1));
	b->fd = xbdev_open(info.name);
	check("opening", b->fd);
	b->nr_blocks = info.size_bytes / b->block_bytes;
	b->memory = xbdev_dma_buffer_alloc((size_t)b->depth * b->block_bytes);
	if (b->memory == NULL || b->nr_blocks == 0) {
		die("starting", "out of memory, or the device is too small");
	}
	check("queues", xbdev_queue_init(b->depth, 8));
	if (b->must_fill) {
		fill(b, info.size_bytes);
	}
}

static void stop(struct bench *b)
{
	check("closing", xbdev_close(b->fd));
	check("ending", xbdev_fini());
	xbdev_dma_buffer_free(b->memory);
}

static uint64_t any_offset(struct bench *b)
{
	return xu_random_below(&b->random, b->nr_blocks) * b->block_bytes;
}

static char *buf_of(struct bench *b, uint32_t i)
{
	return b->memory + (size_t)i * b->block_bytes;
}

/* ---- events in the manner of libaio ---- */

static void aio_stage(struct bench *b, void *buf)
{
	check("xbdev_aio_read", xbdev_aio_read(b->fd, buf, b->block_bytes, any_offset(b), buf));
}

static void aio_turn(struct bench *b)
{
	xbdev_aio_event_t events[MAX_DEPTH];
	int count = xbdev_aio_get_events(events, b->depth, UINT64_MAX);

	check("xbdev_aio_get_events", count);
	for (int i = 0; i < count; i++) {
		b->nr_errors += events[i].result != (int)b->block_bytes;
		aio_stage(b, events[i].cb_arg);
	}
	b->nr_done += (uint64_t)count;
	check("xbdev_aio_submit", xbdev_aio_submit());
}

static void bench_aio(struct bench *b)
{
	start(b);
	for (uint32_t i = 0; i < b->depth; i++) {
		aio_stage(b, buf_of(b, i));
	}
	check("xbdev_aio_submit", xbdev_aio_submit());
	measure(b, aio_turn);
	stop(b);
}

/* ---- requests with callbacks ---- */

static void on_request(xbdev_request_t *req, int result, void *arg)
{
	struct bench *b = arg;

	b->nr_done++;
	b->nr_errors += result != (int)b->block_bytes;
	if (!b->is_over) {
		req->offset = any_offset(b);
		check("xbdev_request_submit", xbdev_request_submit(req));
	}
}

static void request_turn(struct bench *b)
{
	check("xbdev_poll_completions", xbdev_poll_completions(b->depth, UINT64_MAX));
}

static void bench_request(struct bench *b)
{
	xbdev_request_t *reqs[MAX_DEPTH];

	start(b);
	for (uint32_t i = 0; i < b->depth; i++) {
		reqs[i] = xbdev_request_alloc();
		reqs[i]->op_type = XBDEV_OP_READ;
		reqs[i]->fd = b->fd;
		reqs[i]->buf = buf_of(b, i);
		reqs[i]->count = b->block_bytes;
		reqs[i]->offset = any_offset(b);
		reqs[i]->user_cb = on_request;
		reqs[i]->user_arg = b;
		check("xbdev_request_submit", xbdev_request_submit(reqs[i]));
	}
	measure(b, request_turn);
	b->is_over = true;
	while (xbdev_poll_completions(b->depth, UINT64_MAX) > 0) {
		/* The last ones. */
	}
	for (uint32_t i = 0; i < b->depth; i++) {
		check("xbdev_request_free", xbdev_request_free(reqs[i]));
	}
	stop(b);
}

/* ---- batches: two halves of the depth on a named queue take turns ---- */

static struct {
	xbdev_io_batch_t *batch;
	uint32_t first, count;
} halves[2];
static int batch_queue;

static void batch_submit(struct bench *b, uint32_t which)
{
	check("xbdev_io_batch_reset", xbdev_io_batch_reset(halves[which].batch));
	for (uint32_t i = 0; i < halves[which].count; i++) {
		check("xbdev_io_batch_add", xbdev_io_batch_add(halves[which].batch, b->fd,
						    buf_of(b, halves[which].first + i),
						    b->block_bytes, any_offset(b), XBDEV_OP_READ));
	}
	check("xbdev_io_queue_submit", xbdev_io_queue_submit(batch_queue, halves[which].batch));
}

static void batch_turn(struct bench *b)
{
	int count = xbdev_io_queue_poll(batch_queue, b->depth, UINT64_MAX);

	check("xbdev_io_queue_poll", count);
	b->nr_done += (uint64_t)count;
	for (uint32_t i = 0; i < 2; i++) {
		if (xbdev_io_batch_result(halves[i].batch, (int)halves[i].count - 1) !=
			-EINPROGRESS) {
			batch_submit(b, i);
		}
	}
}

static void bench_batch(struct bench *b)
{
	if (b->depth < 2) {
		die("batch", "two halves take turns: a depth of 2 at least");
	}
	start(b);
	batch_queue = xbdev_io_queue_create("bench", (int)b->depth, 0);
	check("xbdev_io_queue_create", batch_queue);
	for (uint32_t i = 0; i < 2; i++) {
		halves[i].first = i * (b->depth / 2);
		halves[i].count = b->depth / 2;
		halves[i].batch = xbdev_io_batch_create((int)halves[i].count);
		batch_submit(b, i);
	}
	measure(b, batch_turn);
	check("xbdev_io_queue_destroy", xbdev_io_queue_destroy(batch_queue));
	xbdev_io_batch_free(halves[0].batch);
	xbdev_io_batch_free(halves[1].batch);
	stop(b);
}

/* ---- one call after the other ---- */

static void sync_turn(struct bench *b)
{
	check("xbdev_read", xbdev_read(b->fd, b->memory, b->block_bytes, any_offset(b)));
	b->nr_done++;
}

static void bench_sync(struct bench *b)
{
	start(b);
	measure(b, sync_turn);
	stop(b);
}

/* ---- the limit of queues: two rings and a thread that answers ---- */

/* As large as the entries of the library's rings. */
struct question {
	void *cookie;
	uint64_t words[7];
};
struct answer {
	void *cookie;
	uint64_t result;
};

static struct xu_spsc questions, answers;
static _Atomic bool must_stop;

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* On its own CPU from its first instruction: it might never get to leave the other one. */
static pthread_t start_thread(const struct bench *b, void *(*fn)(void *arg))
{
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	pthread_attr_init(&attr);
	if (b->is_pinned) {
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	if (pthread_create(&thread, &attr, fn, NULL) != 0) {
		die("starting", "no thread");
	}
	pthread_attr_destroy(&attr);
	return thread;
}

static void *answer_all(void *arg)
{
	while (!atomic_load_explicit(&must_stop, memory_order_relaxed)) {
		uint32_t count = xu_spsc_peek(&questions, ANSWER_MAX);

		if (count == 0) {
			relax();
			continue;
		}
		xu_spsc_reserve(&answers, count);
		for (uint32_t i = 0; i < count; i++) {
			const struct question *question = xu_spsc_entry(&questions, i);
			struct answer *answer = xu_spsc_slot(&answers, i);

			answer->cookie = question->cookie;
			answer->result = question->words[2];
		}
		xu_spsc_release(&questions, count);
		xu_spsc_commit(&answers, count);
	}
	return NULL;
}

static void ask(struct bench *b, uint32_t i, void *cookie)
{
	struct question *question = xu_spsc_slot(&questions, i);

	*question = (struct question){.cookie = cookie,
		.words = {(uint64_t)(uintptr_t)cookie, any_offset(b), b->block_bytes, 0, 1, 2, 3}};
}

static void rings_turn(struct bench *b)
{
	uint32_t count = xu_spsc_peek(&answers, b->depth);

	if (count == 0) {
		relax();
		return;
	}
	xu_spsc_reserve(&questions, count);
	for (uint32_t i = 0; i < count; i++) {
		const struct answer *answer = xu_spsc_entry(&answers, i);

		b->nr_errors += answer->result != b->block_bytes;
		ask(b, i, answer->cookie);
	}
	xu_spsc_release(&answers, count);
	xu_spsc_commit(&questions, count);
	b->nr_done += count;
}

static void bench_rings(struct bench *b)
{
	uint32_t entries = 2;
	pthread_t thread;

	while (entries < b->depth) {
		entries *= 2;
	}
	b->nr_blocks = 1u << 28;
	if (xu_spsc_init(&questions, entries, sizeof(struct question)) != 0 ||
		xu_spsc_init(&answers, entries, sizeof(struct answer)) != 0) {
		die("starting", "out of memory");
	}
	thread = start_thread(b, answer_all);
	xu_spsc_reserve(&questions, b->depth);
	for (uint32_t i = 0; i < b->depth; i++) {
		ask(b, i, NULL);
	}
	xu_spsc_commit(&questions, b->depth);
	measure(b, rings_turn);
	atomic_store(&must_stop, true);
	pthread_join(thread, NULL);
	xu_spsc_fini(&questions);
	xu_spsc_fini(&answers);
}

/* ---- the limit of synchronous calls ---- */

static _Alignas(XU_CACHE_LINE) _Atomic uint64_t ping;
static _Alignas(XU_CACHE_LINE) _Atomic uint64_t pong;

static void *play(void *arg)
{
	uint64_t seen = 0, now;

	while (!atomic_load_explicit(&must_stop, memory_order_relaxed)) {
		now = atomic_load_explicit(&ping, memory_order_acquire);
		if (now != seen) {
			seen = now;
			atomic_store_explicit(&pong, seen, memory_order_release);
		} else {
			relax();
		}
	}
	return NULL;
}

static void pingpong_turn(struct bench *b)
{
	uint64_t next = ++b->nr_done;

	atomic_store_explicit(&ping, next, memory_order_release);
	while (atomic_load_explicit(&pong, memory_order_acquire) != next) {
		relax();
	}
}

static void bench_pingpong(struct bench *b)
{
	pthread_t thread = start_thread(b, play);

	measure(b, pingpong_turn);
	atomic_store(&must_stop, true);
	pthread_join(thread, NULL);
}

/* ---- the limit of I/O on a file through another thread ---- */

/* The carrier sleeps in its io_uring, which reads the eventfd, the asker on a futex. Each says so,
 * then looks at its ring once more; who has put something there looks at that word afterwards. */
static struct {
	struct bench *bench;
	struct io_uring ring;
	int file, wake_fd;
	uint64_t wake_value;
} carrier;
static _Alignas(XU_CACHE_LINE) _Atomic uint32_t carrier_sleeps;
static _Alignas(XU_CACHE_LINE) _Atomic uint32_t asker_sleeps;

static void carry(const struct question *question)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&carrier.ring);

	io_uring_prep_rw(carrier.bench->is_write ? IORING_OP_WRITE : IORING_OP_READ, sqe,
		carrier.file, question->cookie, carrier.bench->block_bytes, question->words[1]);
	io_uring_sqe_set_data(sqe, question->cookie);
}

static void arm_carrier(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&carrier.ring);

	io_uring_prep_read(
		sqe, carrier.wake_fd, &carrier.wake_value, sizeof(carrier.wake_value), 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void sleep_for_carrier(void)
{
	atomic_store(&carrier_sleeps, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (xu_spsc_peek(&questions, 1) == 0) {
		io_uring_submit_and_wait(&carrier.ring, 1);
	} else {
		io_uring_submit(&carrier.ring);
	}
	atomic_store_explicit(&carrier_sleeps, false, memory_order_relaxed);
}

/* Hands over what has completed. */
static void answer_completed(void)
{
	struct io_uring_cqe *cqes[ANSWER_MAX];
	uint32_t count = io_uring_peek_batch_cqe(&carrier.ring, cqes, ANSWER_MAX), nr_answers = 0;
	bool is_woken = false;

	xu_spsc_reserve(&answers, count);
	for (uint32_t i = 0; i < count; i++) {
		struct answer *answer = xu_spsc_slot(&answers, nr_answers);
		void *cookie = io_uring_cqe_get_data(cqes[i]);

		if (cookie == NULL) {
			is_woken = true;
			continue;
		}
		*answer = (struct answer){.cookie = cookie, .result = (uint64_t)cqes[i]->res};
		nr_answers++;
	}
	io_uring_cq_advance(&carrier.ring, count);
	if (is_woken) {
		arm_carrier();
	}
	xu_spsc_commit(&answers, nr_answers);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&asker_sleeps, memory_order_relaxed) &&
		atomic_exchange(&asker_sleeps, false)) {
		syscall(SYS_futex, &asker_sleeps, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

static void *carry_all(void *arg)
{
	if (io_uring_queue_init(2 * MAX_DEPTH, &carrier.ring,
		    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) != 0) {
		die("starting", "no io_uring");
	}
	arm_carrier();
	while (!atomic_load_explicit(&must_stop, memory_order_relaxed)) {
		uint32_t count = xu_spsc_peek(&questions, ANSWER_MAX);

		for (uint32_t i = 0; i < count; i++) {
			carry(xu_spsc_entry(&questions, i));
		}
		xu_spsc_release(&questions, count);
		sleep_for_carrier();
		answer_completed();
	}
	io_uring_queue_exit(&carrier.ring);
	return NULL;
}

static void wake_carrier(void)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&carrier_sleeps, memory_order_relaxed) &&
		atomic_exchange(&carrier_sleeps, false)) {
		eventfd_write(carrier.wake_fd, 1);
	}
}

static void handover_turn(struct bench *b)
{
	if (xu_spsc_peek(&answers, 1) != 0) {
		rings_turn(b);
		wake_carrier();
		return;
	}
	atomic_store(&asker_sleeps, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (xu_spsc_peek(&answers, 1) == 0) {
		syscall(SYS_futex, &asker_sleeps, FUTEX_WAIT_PRIVATE, true, NULL, NULL, 0);
	}
	atomic_store_explicit(&asker_sleeps, false, memory_order_relaxed);
}

static void bench_handover(struct bench *b)
{
	uint32_t entries = 2;
	struct stat st;
	pthread_t thread;

	while (entries < b->depth) {
		entries *= 2;
	}
	carrier.bench = b;
	carrier.file = b->path != NULL ? open(b->path, O_RDWR | O_DIRECT) : -1;
	carrier.wake_fd = eventfd(0, 0);
	if (carrier.file < 0 || fstat(carrier.file, &st) != 0) {
		die("handover", b->path != NULL ? strerror(errno) : "no --file");
	}
	b->nr_blocks = (uint64_t)st.st_size / b->block_bytes;
	b->memory = aligned_alloc(b->block_bytes, (size_t)b->block_bytes * b->depth);
	if (b->memory == NULL || b->nr_blocks == 0 ||
		xu_spsc_init(&questions, entries, sizeof(struct question)) != 0 ||
		xu_spsc_init(&answers, entries, sizeof(struct answer)) != 0) {
		die("starting", "out of memory, or an empty file");
	}
	memset(b->memory, 1, (size_t)b->block_bytes * b->depth);
	xu_spsc_reserve(&questions, b->depth);
	for (uint32_t i = 0; i < b->depth; i++) {
		ask(b, i, buf_of(b, i));
	}
	xu_spsc_commit(&questions, b->depth);
	thread = start_thread(b, carry_all);
	measure(b, handover_turn);
	atomic_store(&must_stop, true);
	eventfd_write(carrier.wake_fd, 1); /* it may just be going to sleep */
	pthread_join(thread, NULL);
	xu_spsc_fini(&questions);
	xu_spsc_fini(&answers);
	free(b->memory);
	close(carrier.wake_fd);
	close(carrier.file);
}

/* ---- main ---- */

static const struct {
	const char *name;
	void (*run)(struct bench *b);
} benches[] = {
	{"aio", bench_aio},
	{"request", bench_request},
	{"batch", bench_batch},
	{"sync", bench_sync},
	{"rings", bench_rings},
	{"pingpong", bench_pingpong},
	{"handover", bench_handover},
};

static const char usage[] =
	"usage: bench-api [options] aio|request|batch|sync|rings|pingpong|handover\n"
	"  --device JSON  default {\"driver\":\"null\",\"name\":\"n\",\"size\":\"1TiB\","
	"\"zero_reads\":false}\n"
	"  --file PATH    of handover, and --write: writes instead of reads\n"
	"  --bs SIZE      default 4KiB\n"
	"  --depth N      default 128\n"
	"  --seconds S    default 3\n"
	"  --spin US      longest spin of the reactor, default 20\n"
	"  --embedded     the benchmark's thread is the reactor\n"
	"  --fill         write the whole device first\n"
	"  --pin          the benchmark on CPU 0, the other thread on CPU 1\n";

static int fail_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

static int parse(struct bench *b, int argc, char **argv)
{
	static const struct option options[] = {{"device", 1, NULL, 'D'}, {"bs", 1, NULL, 'b'},
		{"depth", 1, NULL, 'd'}, {"seconds", 1, NULL, 's'}, {"spin", 1, NULL, 'p'},
		{"fill", 0, NULL, 'f'}, {"embedded", 0, NULL, 'e'}, {"pin", 0, NULL, 'P'},
		{"file", 1, NULL, 'F'}, {"write", 0, NULL, 'w'}, {"help", 0, NULL, 'h'}, {0}};
	uint64_t size;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'D':
			b->device = optarg;
			break;
		case 'F':
			b->path = optarg;
			break;
		case 'w':
			b->is_write = true;
			break;
		case 'b':
			if (xu_size_parse(optarg, &size) != 0 || size == 0 || size > 1u << 30) {
				return fail_usage();
			}
			b->block_bytes = (uint32_t)size;
			break;
		case 'd':
			b->depth = (uint32_t)atoi(optarg);
			break;
		case 's':
			b->seconds = atof(optarg);
			break;
		case 'p':
			b->spin_us = (uint32_t)atoi(optarg);
			break;
		case 'f':
			b->must_fill = true;
			break;
		case 'e':
			b->is_embedded = true;
			break;
		case 'P':
			b->is_pinned = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return fail_usage();
		}
	}
	return b->depth < 1 || b->depth > MAX_DEPTH || optind != argc - 1 ? fail_usage() : 0;
}

int main(int argc, char **argv)
{
	struct bench b = {
		.device = "{\"driver\":\"null\",\"name\":\"n\",\"size\":\"1TiB\","
			  "\"zero_reads\":false}",
		.block_bytes = 4096,
		.depth = 128,
		.seconds = 3,
	};
	int rc = parse(&b, argc, argv);

	if (rc != 0) {
		return rc;
	}
	xu_random_seed(&b.random, 1);
	alarm((unsigned)b.seconds + OVERTIME_S);
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		if (strcmp(benches[i].name, argv[optind]) == 0) {
			if (b.is_pinned) {
				pin(0);
			}
			benches[i].run(&b);
			return b.nr_errors != 0;
		}
	}
	return fail_usage();
}

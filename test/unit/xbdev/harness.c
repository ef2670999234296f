/* SPDX-License-Identifier: BSD-3-Clause */
/* See harness.h. Whatever fails here fails the test that called. */
#include "test/unit/xbdev/harness.h"

#include <dirent.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util/random.h"

#define WAIT_NS (60 * XU_NS_PER_S)
#define REST_NS (50 * XU_NS_PER_US)

/* ---- context ---- */

/*
 * Tests make and free the same large buffers thousands of times: images, devices, pools of
 * contexts. What malloc() gives back to the kernel comes back page by page, cleared, which was most
 * of the time of some. Sanitizers have their own malloc(), to which this says nothing.
 */
static void keep_memory(void)
{
	static bool is_done;

	if (!is_done) {
		mallopt(M_MMAP_MAX, 0);
		mallopt(M_TRIM_THRESHOLD, INT_MAX);
		is_done = true;
	}
}

void harness_start_opts(struct harness *h, const struct xbdev_ctx_opts *opts, uint32_t nr_polled)
{
	struct xu_error err = {0};

	keep_memory();
	memset(h, 0, sizeof(*h));
	if (xbdev_ctx_new(opts, &h->ctx, &err) != 0) {
		fail_msg("%s", err.text);
	}
	h->nr_polled = nr_polled;
	if (xbdev_ctx_start(h->ctx, nr_polled, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

void harness_start(struct harness *h, uint32_t nr_reactors, uint32_t nr_polled)
{
	harness_start_opts(h, &(struct xbdev_ctx_opts){.nr_reactors = nr_reactors}, nr_polled);
}

void harness_stop(struct harness *h)
{
	struct xbdev_device *dev;

	/* Those made last stand on those made first. */
	while ((dev = xbdev_device_next(h->ctx, NULL)) != NULL) {
		struct xbdev_device *next;

		while ((next = xbdev_device_next(h->ctx, dev)) != NULL) {
			dev = next;
		}
		harness_remove(h, dev);
	}
	xbdev_ctx_stop(h->ctx);
	xbdev_ctx_free(h->ctx);
	h->ctx = NULL;
}

void harness_poll(struct harness *h)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < h->nr_polled; i++) {
		count += xr_reactor_poll(xbdev_ctx_reactor(h->ctx, i), 0);
	}
	if (count == 0) {
		xr_reactor_poll(xbdev_ctx_control(h->ctx), REST_NS);
	}
}

void harness_poll_times(struct harness *h, uint32_t nr_rounds)
{
	while (nr_rounds-- > 0) {
		harness_poll(h);
	}
}

static uint64_t now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

void harness__wait_begin(struct harness *h)
{
	h->deadline_ns = now_ns() + WAIT_NS;
}

void harness__wait_step(struct harness *h, const char *what, const char *file, int line)
{
	if (now_ns() > h->deadline_ns) {
		fprintf(stderr, "%s:%d: waited in vain for %s\n", file, line, what);
		abort(); /* reactors still own memory of the test: nothing can be unwound */
	}
	harness_poll(h);
}

struct run {
	struct xr_msg msg;
	void (*fn)(void *arg);
	void *arg;
	_Atomic bool is_done;
};

static void on_run(struct xr_msg *msg)
{
	struct run *run = xu_container_of(msg, struct run, msg);

	run->fn(run->arg);
	atomic_store(&run->is_done, true);
}

void harness_run_on(struct harness *h, uint32_t reactor_index, void (*fn)(void *arg), void *arg)
{
	struct run run = {.msg = {.fn = on_run}, .fn = fn, .arg = arg};

	if (reactor_index < h->nr_polled) {
		fn(arg); /* this thread is it, and nothing else happens before or after */
		return;
	}
	xr_msg_send(xbdev_ctx_reactor(h->ctx, reactor_index), &run.msg);
	harness_wait(h, atomic_load(&run.is_done));
}

/* ---- devices ---- */

struct creation {
	bool is_done;
	struct xbdev_device *dev;
	struct xu_error *err;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct creation *creation = arg;

	MUST(!creation->is_done);
	MUST((dev == NULL) == (err->code != 0));
	MUST((err->code != 0) == (err->text[0] != '\0'));
	creation->is_done = true;
	creation->dev = dev;
	*creation->err = *err;
}

static struct xbdev_device *create(struct harness *h, const char *driver_name,
	struct xu_error *ret_err, const char *format, va_list args)
{
	const struct xbdev_driver *driver = xbdev_driver_find(driver_name);
	struct creation creation = {.err = ret_err};
	char text[1024], path[XU_PARAM_PATH_SIZE];
	json_error_t json_error;
	json_t *params;

	assert_non_null(driver);
	vsnprintf(text, sizeof(text), format, args);
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\'') {
			*c = '"';
		}
	}
	params = json_loads(text, 0, &json_error);
	if (params == NULL) {
		fail_msg("%s: %s", text, json_error.text);
	}
	*ret_err = (struct xu_error){0};
	xbdev_device_create(h->ctx, driver, params, path, on_created, &creation);
	json_decref(params);
	harness_wait(h, creation.is_done);
	return creation.dev;
}

struct xbdev_device *harness_try_create(
	struct harness *h, const char *driver, struct xu_error *ret_err, const char *params, ...)
{
	struct xbdev_device *dev;
	va_list args;

	va_start(args, params);
	dev = create(h, driver, ret_err, params, args);
	va_end(args);
	return dev;
}

struct xbdev_device *harness_create(struct harness *h, const char *driver, const char *params, ...)
{
	struct xbdev_device *dev;
	struct xu_error err;
	va_list args;

	va_start(args, params);
	dev = create(h, driver, &err, params, args);
	va_end(args);
	if (dev == NULL) {
		fail_msg("%s", err.text);
	}
	return dev;
}

static void on_removed(void *arg)
{
	*(bool *)arg = true;
}

void harness_remove(struct harness *h, struct xbdev_device *dev)
{
	bool is_removed = false;

	assert_int_equal(xbdev_device_remove(dev, on_removed, &is_removed), 0);
	harness_wait(h, is_removed);
}

struct xbdev_desc *harness_open(struct harness *h, const char *name, bool is_writable)
{
	struct xbdev_desc *desc = NULL;
	struct xu_error err = {0};

	if (xbdev_desc_open(h->ctx, name, is_writable, NULL, NULL, &desc, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return desc;
}

struct channel_get {
	struct xbdev_desc *desc;
	struct xr_reactor *reactor;
	struct xbdev_channel *ch;
	int rc;
};

static void get_channel(void *arg)
{
	struct channel_get *get = arg;

	get->rc = xbdev_channel_get(get->desc, get->reactor, &get->ch);
}

struct xbdev_channel *harness_channel(
	struct harness *h, struct xbdev_desc *desc, uint32_t reactor_index)
{
	struct channel_get get = {
		.desc = desc, .reactor = xbdev_ctx_reactor(h->ctx, reactor_index)};

	harness_run_on(h, reactor_index, get_channel, &get);
	assert_int_equal(get.rc, 0);
	return get.ch;
}

static void put_channel(void *arg)
{
	xbdev_channel_put(arg);
}

void harness_put(struct harness *h, struct xbdev_channel *ch)
{
	harness_run_on(h, xr_reactor_index(ch->reactor), put_channel, ch);
}

/* ---- I/O ---- */

static void on_io_done(struct xbdev_io *io, int status)
{
	struct harness_io *hio = xu_container_of(io, struct harness_io, io);

	hio->nr_done++;
	hio->status = status;
}

void harness_io_set(struct harness_io *hio, struct xbdev_channel *ch, enum xbdev_op op,
	uint64_t offset, void *buf, uint64_t len)
{
	/* Not cleared: nothing in it may matter but what the caller sets. */
	memset(hio, 0xa5, sizeof(*hio));
	hio->one = (struct iovec){.iov_base = buf, .iov_len = len};
	hio->nr_done = 0;
	hio->io.ch = ch;
	hio->io.cb = on_io_done;
	hio->io.iov = &hio->one;
	hio->io.nr_iov = buf != NULL ? 1 : 0;
	hio->io.op = (uint8_t)op;
	hio->io.flags = 0;
	hio->io.offset = offset;
	hio->io.len = len;
}

static int run_io(struct harness *h, struct harness_io *hio)
{
	int rc = xbdev_io_submit(&hio->io);

	assert_int_equal(hio->nr_done, 0);
	if (rc != 0) {
		return rc;
	}
	harness_wait(h, hio->nr_done != 0);
	assert_int_equal(hio->nr_done, 1);
	return hio->status;
}

int harness_io(struct harness *h, struct xbdev_channel *ch, enum xbdev_op op, uint64_t offset,
	void *buf, uint64_t len, uint8_t flags)
{
	struct harness_io hio;

	harness_io_set(&hio, ch, op, offset, buf, len);
	hio.io.flags = flags;
	return run_io(h, &hio);
}

int harness_iov(struct harness *h, struct xbdev_channel *ch, enum xbdev_op op, uint64_t offset,
	const struct iovec *iov, uint32_t nr_iov, uint64_t len, uint8_t flags)
{
	struct harness_io hio;

	harness_io_set(&hio, ch, op, offset, NULL, len);
	hio.io.flags = flags;
	hio.io.iov = iov;
	hio.io.nr_iov = nr_iov;
	return run_io(h, &hio);
}

struct stats_query {
	bool is_done;
	struct xbdev_stats *stats;
};

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	struct stats_query *query = arg;

	MUST(stats != NULL);
	query->is_done = true;
	*query->stats = *stats;
}

struct xbdev_stats harness_stats(struct harness *h, struct xbdev_device *dev, bool reset)
{
	struct xbdev_stats stats;
	struct stats_query query = {.stats = &stats};

	xbdev_device_stats(dev, reset, on_stats, &query);
	harness_wait(h, query.is_done);
	return stats;
}

/* ---- data ---- */

void harness_fill(void *buf, size_t len, uint64_t seed)
{
	struct xu_random random;

	xu_random_seed(&random, seed);
	xu_random_bytes(&random, buf, len);
}

bool harness_is_filled(const void *buf, size_t len, uint64_t seed)
{
	char *wanted = malloc(len);
	bool is_equal;

	assert_non_null(wanted);
	harness_fill(wanted, len, seed);
	is_equal = memcmp(wanted, buf, len) == 0;
	free(wanted);
	return is_equal;
}

bool harness_is_zero(const void *buf, size_t len)
{
	const char *bytes = buf;

	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static char dir_path[128];

static void remove_dir(void)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;

	if (dir == NULL) {
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			unlinkat(dirfd(dir), entry->d_name, 0);
		}
	}
	closedir(dir);
	rmdir(dir_path);
}

const char *harness_dir(void)
{
	if (dir_path[0] == '\0') {
		/* The working directory, not /tmp, which may be in memory and know no O_DIRECT. */
		snprintf(dir_path, sizeof(dir_path), "xbdev-test-XXXXXX");
		assert_non_null(mkdtemp(dir_path));
		atexit(remove_dir);
	}
	return dir_path;
}

bool harness_aborts(void (*fn)(void *arg), void *arg)
{
	const struct rlimit no_core = {0};
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		fn(arg);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

uint64_t harness_seed(uint64_t fallback)
{
	const char *text = getenv("XSAN_TEST_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : fallback;

	print_message("XSAN_TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

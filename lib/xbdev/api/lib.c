/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's life. It is the one global of the public interface: a context with its reactors,
 * the table of descriptors and the list of application threads.
 *
 *   DOWN --xbdev_init()--> UP --last xbdev_fini()--> ENDING --all has come back--> DOWN
 *   ENDING --10 s--> UP (-EBUSY)
 *
 * Ending closes the door first (is_up), so no new call gets in; then descriptors are closed, which
 * ends or cancels what is in flight and so lets waiting threads out; then devices are removed, and
 * last the reactors let go of the queues and stop. Only that last part holds the mutex: who calls
 * xbdev_init() or xbdev_fini() before waits, but threads come and go.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/api/lvol.h"
#include "lib/xbdev/api/services.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xnvmf/host/host.h"

#define ENDING_WAIT_NS (API_FINI_WAIT_NS + 5 * XU_NS_PER_S)

struct api_lib api_lib = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.has_ended = PTHREAD_COND_INITIALIZER,
	.threads = {&api_lib.threads, &api_lib.threads},
	.queue_depth = API_DEPTH_DEFAULT,
	.nr_queues_max = API_QUEUES_DEFAULT,
};

const char *xbdev_version(void)
{
	return XSAN_VERSION;
}

/* ---- starting ---- */

static uint32_t number_from_environment(const char *name, uint32_t otherwise, uint32_t max)
{
	const char *text = getenv(name);
	char *end;
	unsigned long number;

	if (text == NULL || *text == '\0') {
		return otherwise;
	}
	number = strtoul(text, &end, 10);
	return *end == '\0' && number <= max ? (uint32_t)number : otherwise;
}

static int make_log(const xbdev_init_options_t *options, struct xu_error *err)
{
	static const enum xu_log_level levels[] = {[XBDEV_LOG_ERROR] = XU_LOG_ERROR,
		[XBDEV_LOG_WARN] = XU_LOG_WARN,
		[XBDEV_LOG_INFO] = XU_LOG_INFO,
		[XBDEV_LOG_DEBUG] = XU_LOG_DEBUG};
	uint32_t level = options->log_level > 0 ? (uint32_t)options->log_level
						: number_from_environment("XBDEV_LOG", 0, 4);
	struct xu_log_opts log_opts = {.target = XU_LOG_TO_STDERR, .ident = "xbdev"};

	api_lib.log = NULL;
	if (level == XBDEV_LOG_NONE) {
		return 0;
	}
	if (level > XBDEV_LOG_DEBUG) {
		return xu_error_set(err, -EINVAL, "log level %u is not one of 0 to 4", level);
	}
	log_opts.level = levels[level];
	return xu_logger_new(&log_opts, &api_lib.log, err);
}

static void free_all(void)
{
	for (uint32_t i = 0; i < api_lib.nr_reactors; i++) {
		api_sync_fini(&api_lib.shards[i]);
		api_ports_fini(&api_lib.shards[i]);
	}
	api_json_forget();
	api_md_forget();
	api_md_monitor_forget();
	xbdev_ctx_free(api_lib.ctx);
	xu_logger_free(api_lib.log);
	api_lib.ctx = NULL;
	api_lib.log = NULL;
	api_lib.nr_reactors = 0;
}

/* The last device that goes may be what xbdev_fini() waits for. */
static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	if (event == XBDEV_GRAPH_REMOVED && api_lib.ending != NULL &&
		xbdev_device_next(api_lib.ctx, NULL) == NULL) {
		api_ending_done();
	}
}

static int make_context(const xbdev_init_options_t *options, struct xu_error *err)
{
	struct xbdev_ctx_opts opts = {
		.log = api_lib.log,
		.nr_reactors = options->nr_reactors != 0
				       ? options->nr_reactors
				       : number_from_environment("XBDEV_REACTORS", 1, 64),
		.cpus = options->cpus,
		.spin_max_ns = options->never_spin         ? 0
			       : options->spin_max_us != 0 ? options->spin_max_us * XU_NS_PER_US
							   : XR_SPIN_MAX_NS_DEFAULT,
		.buf_limit_bytes = options->buffer_bytes,
	};
	int rc = xbdev_driver_add(&xnvmf_host_driver);

	assert(rc == 0);
	rc = xbdev_ctx_new(&opts, &api_lib.ctx, err);

	api_lib.spin_max_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? opts.spin_max_ns : 0;
	xu_ticks_hz(); /* measured here rather than in somebody's first I/O */

	if (rc != 0) {
		return rc;
	}
	api_lib.listener.fn = on_graph;
	xbdev_ctx_add_listener(api_lib.ctx, &api_lib.listener);
	api_collect_init();
	api_notify_init();
	api_monitor_init();
	rc = xbdev__lvol_stores_init(api_lib.ctx);
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "starting the library");
	}
	api_lib.nr_reactors = xbdev_ctx_nr_reactors(api_lib.ctx);
	for (uint32_t i = 0; i < api_lib.nr_reactors; i++) {
		struct api_shard *shard = &api_lib.shards[i];

		shard->reactor = xbdev_ctx_reactor(api_lib.ctx, i);
		xu_list_init(&shard->links);
		atomic_store(&shard->is_nudging, false);
		rc = api_ports_init(shard);
		if (rc == 0) {
			rc = api_sync_init(shard);
		}
		if (rc != 0) {
			return xu_error_set_errno(err, rc, "starting the library");
		}
	}
	return xbdev_ctx_start(api_lib.ctx, options->is_embedded ? 1 : 0, err);
}

/* With the mutex held. */
static int start(const xbdev_init_options_t *options, struct api_thread *thread)
{
	struct xu_error err = {0};
	int rc;

	if (options->size != sizeof(*options) || options->nr_reactors > XBDEV_MAX_REACTORS) {
		return api_fail(-EINVAL, "options: %s",
			options->size != sizeof(*options) ? "size is not that of this version"
							  : "more than 64 reactors");
	}
	rc = make_log(options, &err);
	if (rc == 0) {
		rc = make_context(options, &err);
	}
	if (rc != 0) {
		free_all();
		return api_fail_with(&err);
	}
	api_lib.is_embedded = options->is_embedded;
	thread->is_owner = options->is_embedded;
	api_lib.nr_inits = 1;
	atomic_store(&api_lib.is_up, true);
	return 0;
}

/* With the mutex held: waits until no other thread is ending the library. */
static int wait_for_ending(void)
{
	uint64_t end_ns = api_now_ns() + ENDING_WAIT_NS;
	const struct timespec deadline = {
		.tv_sec = (time_t)(end_ns / XU_NS_PER_S), .tv_nsec = (long)(end_ns % XU_NS_PER_S)};

	while (api_lib.is_ending) {
		if (pthread_cond_clockwait(&api_lib.has_ended, &api_lib.mutex, CLOCK_MONOTONIC,
			    &deadline) == ETIMEDOUT &&
			api_lib.is_ending) {
			return api_fail(-EBUSY, "another thread is ending the library, and does "
						"not come to the end of it");
		}
	}
	return 0;
}

static int init(const xbdev_init_options_t *options, bool may_run)
{
	struct api_thread *thread = api_thread();
	int rc = 0;

	if (thread == NULL) {
		return -ENOMEM;
	}
	if (thread->is_in_callback || xr_reactor_current() != NULL || api_notify_is_self()) {
		return api_fail(-EDEADLK, "xbdev_init() in a callback");
	}
	pthread_mutex_lock(&api_lib.mutex);
	rc = wait_for_ending();
	if (rc != 0) {
		pthread_mutex_unlock(&api_lib.mutex);
		return rc;
	}
	if (api_lib.nr_inits == 0) {
		rc = start(options, thread);
	} else if (may_run) {
		api_lib.nr_inits++;
	} else {
		rc = api_fail(-EALREADY, "the library runs already; its options are those of its "
					 "first user");
	}
	pthread_mutex_unlock(&api_lib.mutex);
	return rc;
}

int xbdev_init(void)
{
	const xbdev_init_options_t options = {.size = sizeof(options)};

	return init(&options, true);
}

int xbdev_init_with(const xbdev_init_options_t *options)
{
	return options == NULL ? xbdev_init() : init(options, false);
}

/* ---- ending ---- */

/* Runs a call that ends api_lib.ending, at the latest at the end's deadline. */
static void on_ending_timer(struct xr_timer *timer)
{
	struct api_call *call = api_lib.ending;

	api_lib.ending = NULL;
	if (call != NULL) {
		api_call_done(call, -EBUSY);
	}
}

uint64_t api_ending_wait_ns(void)
{
	uint64_t now_ns = api_now_ns(), deadline_ns = api_lib.ending_deadline_ns;

	return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

static void begin_ending(struct api_call *call)
{
	api_lib.ending = call;
	api_lib.ending_timer.fn = on_ending_timer;
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &api_lib.ending_timer, api_ending_wait_ns());
}

void api_ending_done(void)
{
	struct api_call *call = api_lib.ending;

	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &api_lib.ending_timer);
	api_lib.ending = NULL;
	api_call_done(call, 0);
}

static void on_close_all(struct api_call *call)
{
	begin_ending(call);
	api_monitor_off();
	api_health_cancel();
	api_lvol_cancel_all();
	api_files_close_all();
	if (api_lib.ending != NULL && api_lib.nr_files == 0) {
		api_ending_done();
	}
}

static void on_remove_all(struct api_call *call)
{
	begin_ending(call);
	xbdev_device_remove_all(api_lib.ctx);
	if (api_lib.ending != NULL && xbdev_device_next(api_lib.ctx, NULL) == NULL) {
		api_ending_done();
	}
}

struct detach {
	struct xbdev_hop hop;
	struct api_call call;
};

static void detach_links(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	api_links_detach(&api_lib.shards[xr_reactor_index(reactor)]);
}

static void on_detached(struct xbdev_hop *hop)
{
	api_call_done(&xu_container_of(hop, struct detach, hop)->call, 0);
}

static void on_detach_all(struct api_call *call)
{
	struct detach *detach = xu_container_of(call, struct detach, call);

	detach->hop.fn = detach_links;
	detach->hop.done = on_detached;
	xbdev_hop_start(&detach->hop, api_lib.ctx);
}

/* Waits until no other thread is inside a call. */
static int wait_for_threads(const struct api_thread *self, uint64_t deadline_ns)
{
	const struct timespec pause = {.tv_nsec = 100000};
	struct xu_list *node;
	bool is_inside;

	do {
		is_inside = false;
		pthread_mutex_lock(&api_lib.mutex);
		xu_list_for_each (node, &api_lib.threads) {
			struct api_thread *thread = xu_list_entry(node, struct api_thread, link);

			is_inside |= thread != self && atomic_load(&thread->is_inside);
		}
		pthread_mutex_unlock(&api_lib.mutex);
		if (is_inside && self->is_owner) {
			xr_reactor_poll(api_lib.shards[0].reactor, 100 * XU_NS_PER_US);
		} else if (is_inside) {
			nanosleep(&pause, NULL);
		}
	} while (is_inside && api_now_ns() < deadline_ns);
	return is_inside ? api_fail(-EBUSY, "the library cannot end: another thread does not come "
					    "out of a call; let it, and call xbdev_fini() again")
			 : 0;
}

/* Has all descriptors closed or all devices removed. */
static int ask_all(struct api_thread *thread, void (*fn)(struct api_call *call))
{
	struct api_call call;

	return api_call_run(thread, &call, fn) == 0
		       ? 0
		       : api_fail(-EBUSY,
				 "the library cannot end: a device does not give back I/O "
				 "that it has; keep the buffers and call xbdev_fini() again");
}

/* Lets go of what is in use. Without the mutex: it takes as long as threads and devices do. */
static int let_go(struct api_thread *thread)
{
	struct api_call call;
	int rc = api_call_run(thread, &call, api_mgmt_stop);

	if (rc == 0) {
		rc = ask_all(thread, on_close_all);
	}
	if (rc == 0) {
		rc = wait_for_threads(thread, api_lib.ending_deadline_ns);
	}
	if (rc == 0) {
		rc = api_call_run(thread, &call, api_health_drain);
	}
	if (rc == 0) {
		rc = api_notify_hold(api_lib.ending_deadline_ns);
	}
	return rc == 0 ? ask_all(thread, on_remove_all) : rc;
}

/* With the mutex held, which it gives up for a while. */
static int end(struct api_thread *thread)
{
	struct detach detach;
	int rc;

	api_lib.ending_deadline_ns = api_now_ns() + API_FINI_WAIT_NS;
	atomic_store_explicit(&api_lib.is_up, false, memory_order_seq_cst);
	api_lib.is_ending = true;
	pthread_mutex_unlock(&api_lib.mutex);
	rc = let_go(thread);
	pthread_mutex_lock(&api_lib.mutex);
	api_lib.is_ending = false;
	pthread_cond_broadcast(&api_lib.has_ended);
	if (rc != 0) {
		atomic_store(&api_lib.is_up, true);
		api_notify_release();
		return rc;
	}
	api_call_run(thread, &detach.call, on_detach_all);
	if (thread->is_owner) {
		/* What the other reactors have sent to this one, such as the ends of channels. */
		xr_reactor_poll(api_lib.shards[0].reactor, 0);
	}
	xbdev_ctx_stop(api_lib.ctx);
	free_all();
	thread->is_owner = false;
	api_lib.nr_inits = 0;
	atomic_fetch_add(&api_lib.epoch, 1);
	return 0;
}

int xbdev_fini(void)
{
	struct api_thread *thread = api_thread();
	bool has_notifier = false;
	pthread_t notifier;
	int rc = 0;

	if (thread == NULL) {
		return -ENOMEM;
	}
	if (thread->is_in_callback || xr_reactor_current() != NULL || api_notify_is_self()) {
		return api_fail(-EDEADLK, "xbdev_fini() in a callback");
	}
	pthread_mutex_lock(&api_lib.mutex);
	rc = wait_for_ending();
	if (rc != 0) {
		pthread_mutex_unlock(&api_lib.mutex);
		return rc;
	}
	if (api_lib.nr_inits == 0) {
		rc = api_fail(-ESHUTDOWN, "the library does not run");
	} else if (api_lib.nr_inits > 1) {
		api_lib.nr_inits--;
	} else if (api_lib.is_embedded && !thread->is_owner) {
		rc = api_fail(-EPERM, "only the thread that started the embedded library ends it");
	} else {
		rc = end(thread);
		has_notifier = rc == 0 && api_notify_end(&notifier);
	}
	pthread_mutex_unlock(&api_lib.mutex);
	if (has_notifier) {
		pthread_join(notifier, NULL);
	}
	return rc;
}

int xbdev_poll(uint64_t timeout_us)
{
	struct api_thread *thread;
	uint32_t count;
	int rc = api_enter(&thread, true);

	if (rc != 0) {
		return rc;
	}
	if (!thread->is_owner) {
		api_leave(thread);
		return api_fail(-EPERM, "xbdev_poll() is for the thread that started the embedded "
					"library");
	}
	count = xr_reactor_poll(api_lib.shards[0].reactor,
		timeout_us > UINT64_MAX / XU_NS_PER_US ? XR_IDLE : timeout_us * XU_NS_PER_US);
	api_leave(thread);
	return count > INT32_MAX ? INT32_MAX : (int)count;
}

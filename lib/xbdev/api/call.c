/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls on the control reactor, application threads, and their last errors. A call is a message on
 * its caller's stack; the caller sleeps until the control reactor has answered.
 *
 * A thread is known to the library from its first call to its end, so that the library can end only
 * when no thread is inside it: api_enter() writes one word of the thread's own, which xbdev_fini()
 * looks at after it has closed the door.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/api/private.h"

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static _Thread_local struct api_thread *current __attribute__((tls_model("initial-exec")));
/* A reactor's own, for its last error: what runs there may do nothing else, and xbdev_fini() waits
 * for that thread with the mutex held. */
static _Thread_local struct api_thread of_reactor;

static void on_thread_end(void *arg)
{
	struct api_thread *thread = arg;

	pthread_mutex_lock(&api_lib.mutex);
	api_thread_queue_free(thread);
	if (thread->has_home && thread->home_epoch == atomic_load(&api_lib.epoch)) {
		api_sync_give_slots(thread);
	}
	xu_list_del(&thread->link);
	pthread_mutex_unlock(&api_lib.mutex);
	free(thread);
	current = NULL;
}

static void make_key(void)
{
	pthread_key_create(&thread_key, on_thread_end);
}

struct api_thread *api_thread(void)
{
	struct api_thread *thread = current;

	if (thread != NULL) {
		return thread;
	}
	if (xr_reactor_current() != NULL) {
		return &of_reactor;
	}
	thread = calloc(1, sizeof(*thread));
	if (thread == NULL) {
		return NULL;
	}
	pthread_once(&thread_once, make_key);
	pthread_setspecific(thread_key, thread);
	pthread_mutex_lock(&api_lib.mutex);
	xu_list_add_tail(&api_lib.threads, &thread->link);
	pthread_mutex_unlock(&api_lib.mutex);
	current = thread;
	return thread;
}

int api_fail(int code, const char *fmt, ...)
{
	struct api_thread *thread = api_thread();
	va_list args;

	if (thread != NULL) {
		char text[sizeof(thread->last.text)];

		va_start(args, fmt);
		vsnprintf(text, sizeof(text), fmt, args);
		va_end(args);
		xu_error_set(&thread->last, code, "%s", text);
	}
	return code;
}

int api_fail_with(const struct xu_error *err)
{
	struct api_thread *thread = api_thread();

	if (thread != NULL) {
		thread->last = *err;
	}
	return err->code;
}

const char *xbdev_last_error(void)
{
	struct api_thread *thread = api_thread();

	return thread != NULL ? thread->last.text : "out of memory";
}

const char *xbdev_strerror(int error)
{
	const char *text = strerrordesc_np(error < 0 ? -error : error);

	switch (error < 0 ? -error : error) {
	case EBADE:
		return "The device holds other data";
	case EILSEQ:
		return "Checksum mismatch";
	case ENODEV:
		return "No such device, or it has been removed";
	case ESHUTDOWN:
		return "The library does not run";
	default:
		return text != NULL ? text : "Unknown error";
	}
}

/* The reactors in turn; not the first one when it runs only while an application drives it. */
static void choose_home(struct api_thread *thread, uint32_t epoch)
{
	uint32_t count = api_lib.nr_reactors;
	uint32_t first = api_lib.is_embedded && count > 1 ? 1 : 0;

	thread->home = first + atomic_fetch_add(&api_lib.next_home, 1) % (count - first);
	thread->home_epoch = epoch;
	thread->has_home = true;
	api_sync_forget_slots(thread);
}

int api_enter(struct api_thread **ret_thread, bool may_wait)
{
	uint32_t epoch;
	struct api_thread *thread = api_thread();

	if (thread == NULL) {
		return -ENOMEM;
	}
	if (thread->is_in_callback && !may_wait) {
		*ret_thread = thread; /* the call that runs the callback is inside */
		return 0;
	}
	if (thread->is_in_callback || xr_reactor_current() != NULL) {
		return api_fail(-EDEADLK, "a completion callback called a function that waits; "
					  "submit a request instead");
	}
	/* The door is looked at after the word is written, and xbdev_fini() does it the other way
	 * round, so one of the two sees the other. */
	atomic_store_explicit(&thread->is_inside, true, memory_order_seq_cst);
	if (!atomic_load_explicit(&api_lib.is_up, memory_order_seq_cst)) {
		atomic_store_explicit(&thread->is_inside, false, memory_order_release);
		return api_fail(-ESHUTDOWN, "the library does not run; call xbdev_init() first");
	}
	epoch = atomic_load_explicit(&api_lib.epoch, memory_order_relaxed);
	if (!thread->has_home || thread->home_epoch != epoch) {
		choose_home(thread, epoch);
	}
	*ret_thread = thread;
	return 0;
}

void api_leave(struct api_thread *thread)
{
	if (!thread->is_in_callback) {
		atomic_store_explicit(&thread->is_inside, false, memory_order_release);
	}
}

/* ---- calls ---- */

static void on_call(struct xr_msg *msg)
{
	struct api_call *call = xu_container_of(msg, struct api_call, msg);

	call->fn(call);
}

void api_call_done(struct api_call *call, int rc)
{
	call->rc = rc;
	api_event_set(&call->event);
}

int api_call_run(
	struct api_thread *thread, struct api_call *call, void (*fn)(struct api_call *call))
{
	call->fn = fn;
	call->msg.fn = on_call;
	call->err = (struct xu_error){0};
	api_event_init(&call->event);
	xr_msg_send(xbdev_ctx_control(api_lib.ctx), &call->msg);
	api_event_wait(&call->event, thread, UINT32_MAX); /* not worth a spin */
	if (call->rc < 0) {
		if (call->err.text[0] != '\0') {
			api_fail_with(&call->err);
		} else {
			api_fail(call->rc, "%s", xbdev_strerror(call->rc));
		}
	}
	return call->rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waits for others, on a thread of its own: a blocking query on `meta` answers when it is changed,
 * or after ten seconds. It only says when to look. What could not be read then, because Consul was
 * away, is told again with every answer until it is known.
 *
 * Consul asks its clients to begin anew when an index goes backwards (after a snapshot was
 * restored, for example), and not to ask too often.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/consul/private.h"

#define WAIT_S       10u
#define TIMEOUT_S    16L  /* Consul adds up to a sixteenth */
#define PAUSE_MS     100u /* after an answer that is none, or came too early; then more */
#define PAUSE_MS_MAX 2000u

struct watch {
	struct xreg__consul *b;
	CURL *curl;
	uint32_t endpoint;
	uint64_t index; /* of the last answer; 0: anew */
	uint32_t pause_ms;
};

/* Runs the request that is set; a stop ends it at once. */
static CURLcode perform(struct watch *watch)
{
	CURLM *multi = watch->b->multi;
	CURLcode code = CURLE_ABORTED_BY_CALLBACK;
	int nr_running = 1, nr_left;
	CURLMsg *message;

	if (curl_multi_add_handle(multi, watch->curl) != CURLM_OK) {
		return CURLE_OUT_OF_MEMORY;
	}
	while (nr_running != 0 && !atomic_load(&watch->b->must_stop)) {
		if (curl_multi_perform(multi, &nr_running) != CURLM_OK) {
			break;
		}
		if (nr_running != 0) {
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
		}
	}
	while ((message = curl_multi_info_read(multi, &nr_left)) != NULL) {
		if (message->msg == CURLMSG_DONE) {
			code = message->data.result;
		}
	}
	curl_multi_remove_handle(multi, watch->curl);
	return code;
}

/* The ModifyIndex of the only key of an answer. */
static bool read_index(const struct xreg__consul_answer *answer, uint64_t *ret_index)
{
	json_t *json = answer->len != 0 ? json_loadb(answer->body, answer->len, 0, NULL) : NULL;
	const json_t *index = json_object_get(json_array_get(json, 0), "ModifyIndex");
	bool is_there = json_is_integer(index);

	*ret_index = (uint64_t)json_integer_value(index);
	json_decref(json);
	return is_there;
}

/* Looks at an answer; false: nobody can be told by it. */
static bool take_answer(struct watch *watch, const struct xreg__consul_answer *answer,
	uint64_t took_ms, struct xu_error *err)
{
	struct xreg__consul *b = watch->b;
	uint64_t newest = 0;

	/* No `meta`: follow() finds that out, too, and says so. */
	if (answer->status != 404 && (answer->status != 200 || !read_index(answer, &newest))) {
		xreg__consul_refused(answer, "GET /v1/kv", err);
		return false;
	}
	watch->pause_ms = answer->index == watch->index && took_ms < PAUSE_MS ? PAUSE_MS : 0;
	watch->index = answer->index < watch->index ? 0 : answer->index;
	atomic_store(&b->newest, newest);
	atomic_store(&b->is_up, true);
	if (newest != atomic_load(&b->meta_index)) {
		b->changed(b->arg);
	}
	return true;
}

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / 1000000;
}

/* Asks once, which takes as long as nothing happens. */
static void ask(struct watch *watch)
{
	struct xreg__consul *b = watch->b;
	struct xreg__consul_answer answer = {0};
	char path[XREG_SHARED_KEY_SIZE + 64];
	uint64_t began_ms = now_ms();
	struct xu_error err = {0};
	CURLcode code;
	bool is_good;

	snprintf(path, sizeof(path), "/v1/kv/%s?index=%llu&wait=%us", b->meta_key,
		(unsigned long long)watch->index, WAIT_S);
	if (xreg__consul_set_request(b, watch->curl, watch->endpoint, path, &answer) != 0) {
		code = CURLE_OUT_OF_MEMORY;
	} else {
		code = perform(watch);
		curl_easy_getinfo(watch->curl, CURLINFO_RESPONSE_CODE, &answer.status);
	}
	if (atomic_load(&b->must_stop)) {
		xreg__consul_answer_free(&answer);
		return;
	}
	is_good = !xreg__consul_is_no_answer(b, watch->endpoint, code, &answer, &err) &&
		  take_answer(watch, &answer, now_ms() - began_ms, &err);
	xreg__consul_answer_free(&answer);
	if (is_good) {
		return;
	}
	if (atomic_exchange(&b->is_up, false)) {
		xu_warn(b->log, "what other registries do is not heard now: %s", err.text);
	}
	watch->endpoint = (watch->endpoint + 1) % b->where.nr_endpoints;
	watch->index = 0;
	watch->pause_ms = watch->pause_ms == 0                 ? PAUSE_MS
			  : watch->pause_ms < PAUSE_MS_MAX / 2 ? 2 * watch->pause_ms
							       : PAUSE_MS_MAX;
}

static void *watch_main(void *arg)
{
	struct watch *watch = arg;
	struct xreg__consul *b = watch->b;

	while (!atomic_load(&b->must_stop)) {
		ask(watch);
		if (watch->pause_ms != 0 && !atomic_load(&b->must_stop)) {
			/* A stop ends it, too. */
			curl_multi_poll(b->multi, NULL, 0, (int)watch->pause_ms, NULL);
		}
	}
	curl_easy_cleanup(watch->curl);
	free(watch);
	return NULL;
}

int xreg__consul_watch(void *backend, void (*changed)(void *arg), void *arg, struct xu_error *err)
{
	struct xreg__consul *b = backend;
	struct watch *watch = calloc(1, sizeof(*watch));
	int rc = -ENOMEM;

	b->changed = changed;
	b->arg = arg;
	b->multi = curl_multi_init();
	if (watch != NULL) {
		*watch = (struct watch){.b = b, .curl = curl_easy_init(), .endpoint = b->current};
	}
	if (watch != NULL && watch->curl != NULL && b->multi != NULL) {
		xreg__consul_set_common(b, watch->curl);
		curl_easy_setopt(watch->curl, CURLOPT_TIMEOUT, TIMEOUT_S);
		rc = -pthread_create(&b->watcher, NULL, watch_main, watch);
	}
	if (rc != 0) {
		if (watch != NULL) {
			curl_easy_cleanup(watch->curl);
		}
		free(watch);
		curl_multi_cleanup(b->multi);
		b->multi = NULL;
		return xu_error_set_errno(err, rc, "watching Consul");
	}
	return 0;
}

void xreg__consul_unwatch(struct xreg__consul *b)
{
	if (b->multi == NULL) {
		return;
	}
	atomic_store(&b->must_stop, true);
	curl_multi_wakeup(b->multi);
	pthread_join(b->watcher, NULL);
	curl_multi_cleanup(b->multi);
	b->multi = NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to Consul. One goes to the endpoint that answered last; when that one does not answer,
 * or its server has no leader (5xx), the next is asked, round by round, until the patience is over.
 * So a request may be made more than once, or be made and not answered: who writes must be able to
 * tell (commit.c). Answers are bounded in size and time; nothing is redirected and no proxy is
 * used.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xregistry/consul/private.h"

#define PATIENCE_MS    5000u
#define TRY_MS_MIN     500u
#define CONNECT_MS     2000L
#define ROUND_PAUSE_MS 100u
#define ANSWER_MAX     (128u << 20)

void xreg__consul_answer_free(struct xreg__consul_answer *answer)
{
	free(answer->body);
	*answer = (struct xreg__consul_answer){0};
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct xreg__consul_answer *answer = arg;
	size_t part = size * count;
	char *body;

	if (part > ANSWER_MAX - answer->len) {
		return 0;
	}
	/* It grows by doubling: `len` passes a power of two in a call, or the memory is enough. */
	if (answer->body == NULL || ((answer->len + part) ^ answer->len) > answer->len) {
		size_t room = 4096;

		while (room <= answer->len + part) {
			room *= 2;
		}
		body = realloc(answer->body, room);
		if (body == NULL) {
			return 0;
		}
		answer->body = body;
	}
	memcpy(answer->body + answer->len, data, part);
	answer->len += part;
	return part;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	static const char name[] = "X-Consul-Index:";
	struct xreg__consul_answer *answer = arg;
	char text[32];
	size_t len = size * count, name_len = sizeof(name) - 1;

	if (len > name_len && len - name_len < sizeof(text) &&
		strncasecmp(data, name, name_len) == 0) {
		memcpy(text, data + name_len, len - name_len);
		text[len - name_len] = '\0';
		answer->index = strtoull(text, NULL, 10);
	}
	return len;
}

void xreg__consul_set_common(struct xreg__consul *b, CURL *curl)
{
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, b->headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	if (b->where.ca != NULL) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, b->where.ca);
	}
	if (b->where.cert != NULL) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, b->where.cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, b->where.key);
	}
}

int xreg__consul_set_request(struct xreg__consul *b, CURL *curl, uint32_t endpoint,
	const char *path, struct xreg__consul_answer *answer)
{
	const char *datacenter = b->where.datacenter;
	char *url;

	if (asprintf(&url, "%s%s%s%s", b->where.endpoints[endpoint], path,
		    datacenter == NULL          ? ""
		    : strchr(path, '?') != NULL ? "&dc="
						: "?dc=",
		    datacenter != NULL ? datacenter : "") < 0) {
		return -ENOMEM;
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	free(url);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
	return 0;
}

/* The beginning of a body, for sentences. */
static int body_len(const struct xreg__consul_answer *answer)
{
	size_t len = 0;

	while (len < answer->len && len < 200 && (unsigned char)answer->body[len] >= ' ') {
		len++;
	}
	return (int)len;
}

bool xreg__consul_is_no_answer(struct xreg__consul *b, uint32_t endpoint, CURLcode code,
	const struct xreg__consul_answer *answer, struct xu_error *err)
{
	const char *url = b->where.endpoints[endpoint];

	if (code != CURLE_OK) {
		xu_error_set(err, -ETIMEDOUT, "Consul at %s: %s", url,
			code == CURLE_WRITE_ERROR ? "its answer is too large"
						  : curl_easy_strerror(code));
		return true;
	}
	if (answer->status >= 500 || answer->status == 429) {
		xu_error_set(err, -ETIMEDOUT, "Consul at %s: status %ld: %.*s", url, answer->status,
			body_len(answer), answer->len != 0 ? answer->body : "");
		return true;
	}
	return false;
}

int xreg__consul_refused(
	const struct xreg__consul_answer *answer, const char *what, struct xu_error *err)
{
	const char *body = answer->len != 0 ? answer->body : "";

	if (answer->status == 403) {
		return xu_error_set(err, -EACCES,
			"Consul does not let this registry do '%s' (%.*s); give it a token with "
			"key_prefix write",
			what, body_len(answer), body);
	}
	if (answer->status == 413) {
		return xu_error_set(err, -E2BIG, "Consul takes no request as large as that: %.*s",
			body_len(answer), body);
	}
	return xu_error_set(err, -EIO, "Consul answers '%s' with status %ld: %.*s", what,
		answer->status, body_len(answer), body);
}

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / 1000000;
}

/* What a try may take: so that another endpoint can still be asked. */
static uint32_t share_of(const struct xreg__consul *b, uint64_t left_ms)
{
	uint64_t share = b->where.nr_endpoints > 1 ? PATIENCE_MS / 3 : left_ms;

	if (share < TRY_MS_MIN) {
		share = TRY_MS_MIN;
	}
	return (uint32_t)(share < left_ms ? share : left_ms);
}

/* False: another endpoint may do better. */
static bool try_once(struct xreg__consul *b, uint32_t endpoint, uint32_t timeout_ms,
	const char *path, struct xreg__consul_answer *answer, struct xu_error *err)
{
	CURLcode code;

	if (xreg__consul_set_request(b, b->curl, endpoint, path, answer) != 0) {
		xu_error_set_errno(err, -ENOMEM, "asking Consul");
		return false;
	}
	curl_easy_setopt(b->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	code = curl_easy_perform(b->curl);
	curl_easy_getinfo(b->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	if (!xreg__consul_is_no_answer(b, endpoint, code, answer, err)) {
		return true;
	}
	xreg__consul_answer_free(answer);
	return false;
}

static void pause_ms(uint32_t ms)
{
	const struct timespec pause = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&pause, NULL);
}

int xreg__consul_request(struct xreg__consul *b, const char *path, const char *body, size_t len,
	struct xreg__consul_answer *ret_answer, struct xu_error *err)
{
	uint64_t until_ms = now_ms() + PATIENCE_MS, now;
	uint32_t nr_tries = 0;

	if (body != NULL) {
		curl_easy_setopt(b->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		curl_easy_setopt(b->curl, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(b->curl, CURLOPT_CUSTOMREQUEST, "PUT");
	} else {
		curl_easy_setopt(b->curl, CURLOPT_CUSTOMREQUEST, NULL);
		curl_easy_setopt(b->curl, CURLOPT_HTTPGET, 1L);
	}
	*ret_answer = (struct xreg__consul_answer){0};
	for (now = now_ms(); now < until_ms; now = now_ms()) {
		if (try_once(b, b->current, share_of(b, until_ms - now), path, ret_answer, err)) {
			return 0;
		}
		b->current = (b->current + 1) % b->where.nr_endpoints;
		if (++nr_tries % b->where.nr_endpoints == 0) {
			pause_ms(ROUND_PAUSE_MS);
		}
	}
	return xu_error_prefix(err, "not answered within %u s", PATIENCE_MS / 1000);
}

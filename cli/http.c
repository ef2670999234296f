/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One easy handle of libcurl for all calls, so that they share a connection. What libcurl says of a
 * failure becomes a sentence in fail(): what it is about decides the advice. An answer that is too
 * large, or not wanted any more, ends the transfer.
 */
#include "cli/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"

#define CONNECT_MAX_MS 10000u

struct http {
	struct http_opts opts;
	CURL *curl;
	size_t url_len; /* of the part of opts.url that counts */
	char *auth;     /* the header; NULL: none */
	char problem[CURL_ERROR_SIZE];
};

/* A call that is under way. */
struct transfer {
	struct http *http;
	const struct http_request *request;
	struct http_answer *answer;
	bool is_too_large, is_cancelled, has_no_memory;
};

char *http_escape(const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "-._~";
	char *escaped = malloc(3 * strlen(text) + 1), *at = escaped;

	for (; escaped != NULL && *text != '\0'; text++) {
		if (strchr(plain, *text) != NULL) {
			*at++ = *text;
		} else {
			at += sprintf(at, "%%%02X", (unsigned char)*text);
		}
	}
	if (escaped != NULL) {
		*at = '\0';
	}
	return escaped;
}

/* ---- life ---- */

static int check_opts(const struct http_opts *opts, struct xu_error *err)
{
	if (strncmp(opts->url, "http://", 7) != 0 && strncmp(opts->url, "https://", 8) != 0) {
		return xu_error_set(err, -EINVAL,
			"'%.128s' is no address of a registry; it is http://HOST:PORT or "
			"https://HOST:PORT",
			opts->url);
	}
	if ((opts->cert_path == NULL) != (opts->key_path == NULL)) {
		return xu_error_set(err, -EINVAL,
			"a certificate and its key belong together: give --cert and --key");
	}
	for (const char *c = opts->token; c != NULL && *c != '\0'; c++) {
		if (*c <= ' ' || *c > '~') {
			return xu_error_set(err, -EINVAL,
				"the token has a character that no token has; it is one word of "
				"ASCII");
		}
	}
	return 0;
}

int http_new(const struct http_opts *opts, struct http **ret_http, struct xu_error *err)
{
	struct http *http = NULL;
	int rc = check_opts(opts, err);

	if (rc != 0) {
		return rc;
	}
	http = calloc(1, sizeof(*http));
	if (http == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(http);
		return xu_error_set_errno(err, -ENOMEM, "preparing to call %.128s", opts->url);
	}
	http->opts = *opts;
	http->url_len = strlen(opts->url);
	while (http->url_len > 0 && opts->url[http->url_len - 1] == '/') {
		http->url_len--;
	}
	http->curl = curl_easy_init();
	if (opts->token != NULL &&
		asprintf(&http->auth, "Authorization: Bearer %s", opts->token) < 0) {
		http->auth = NULL;
	}
	if (http->curl == NULL || (opts->token != NULL && http->auth == NULL)) {
		http_free(http);
		return xu_error_set_errno(err, -ENOMEM, "preparing to call %.128s", opts->url);
	}
	*ret_http = http;
	return 0;
}

void http_free(struct http *http)
{
	if (http != NULL) {
		curl_easy_cleanup(http->curl);
		curl_global_cleanup();
		free(http->auth);
		free(http);
	}
}

/* ---- an answer ---- */

static void read_head(CURL *curl, struct http_answer *answer)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	answer->status = (unsigned)status;
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	if (type != NULL) {
		snprintf(answer->content_type, sizeof(answer->content_type), "%.*s",
			(int)strcspn(type, "; "), type);
	}
}

static size_t collect(struct transfer *t, const char *data, size_t len)
{
	struct http_answer *answer = t->answer;
	char *more;

	if (answer->len + len > HTTP_MAX_ANSWER) {
		t->is_too_large = true;
		return 0;
	}
	/* Powers of two, so that a large answer is copied a few times only. */
	if (answer->body == NULL || ((answer->len + len) ^ answer->len) > answer->len) {
		size_t room = 4096;

		while (room <= answer->len + len) {
			room *= 2;
		}
		more = realloc(answer->body, room);
		if (more == NULL) {
			t->has_no_memory = true;
			return 0;
		}
		answer->body = more;
	}
	memcpy(answer->body + answer->len, data, len);
	answer->len += len;
	answer->body[answer->len] = '\0';
	return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * count;

	if (t->request->on_data != NULL && t->answer->status == 0) {
		read_head(t->http->curl, t->answer);
	}
	if (t->request->on_data == NULL || t->answer->status != 200 ||
		strcmp(t->answer->content_type, t->request->type) != 0) {
		return collect(t, data, len);
	}
	if (!t->request->on_data(t->request->arg, data, len)) {
		t->is_cancelled = true;
		return 0;
	}
	return len;
}

/* ---- failures ---- */

static int fail(struct transfer *t, CURLcode code, struct xu_error *err)
{
	const struct http *http = t->http;
	const char *url = http->opts.url;
	const char *why = http->problem[0] != '\0' ? http->problem : curl_easy_strerror(code);

	switch (code) {
	case CURLE_URL_MALFORMAT:
		t->answer->is_final = true;
		return xu_error_set(err, -EINVAL,
			"'%.128s' is no address of a registry; it is http://HOST:PORT or "
			"https://HOST:PORT",
			url);
	case CURLE_COULDNT_RESOLVE_HOST:
		return xu_error_set(err, -EHOSTUNREACH,
			"%.128s: nobody knows the host (%.128s); look at the name in --url or "
			"XSAN_REGISTRY_URL",
			url, why);
	case CURLE_COULDNT_CONNECT:
		return xu_error_set(err, -ECONNREFUSED,
			"no registry answers at %.128s (%.128s); start it (systemctl start "
			"xsan-registry), or name another with --url or XSAN_REGISTRY_URL",
			url, why);
	case CURLE_OPERATION_TIMEDOUT:
		return xu_error_set(err, -ETIMEDOUT,
			"the registry at %.128s has not answered in time (%.128s); look at its "
			"log, or give it more time with --timeout",
			url, why);
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		t->answer->is_final = true;
		return xu_error_set(err, -EINVAL,
			"a file of --ca, --cert or --key cannot be used: %.256s", why);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		return xu_error_set(err, -EPROTO,
			"the certificate of %.128s is not trusted (%.128s); name who signed it "
			"with --ca, and the host as the certificate does in --url",
			url, why);
	case CURLE_SSL_CONNECT_ERROR:
		return xu_error_set(err, -EPROTO,
			"no TLS with %.128s (%.128s); is it a registry with TLS, and does it want "
			"a certificate (--cert, --key)?",
			url, why);
	case CURLE_OUT_OF_MEMORY:
		return xu_error_set_errno(err, -ENOMEM, "calling %.128s", url);
	default:
		return xu_error_set(err, -ECONNRESET,
			"what answers at %.128s has ended the connection too early, or is no "
			"registry (%.128s); look at its log, and at --url",
			url, why);
	}
}

/* libcurl's text for a transfer that we ourselves have ended says nothing. */
static int fail_transfer(struct transfer *t, CURLcode code, struct xu_error *err)
{
	if (t->is_cancelled) {
		return xu_error_set(err, -ECANCELED, "the answer was not taken");
	}
	if (t->is_too_large) {
		return xu_error_set(err, -EMSGSIZE,
			"what answers at %.128s says more than %u MiB; is it a registry?",
			t->http->opts.url, HTTP_MAX_ANSWER >> 20);
	}
	return fail(t, t->has_no_memory ? CURLE_OUT_OF_MEMORY : code, err);
}

/* ---- calls ---- */

static struct curl_slist *headers_of(const struct http *http, const struct http_request *request)
{
	/* libcurl would wait for "100 Continue" before a larger body. */
	const char *const texts[] = {
		"Content-Type: application/json", "Expect:", http->auth, request->header};
	struct curl_slist *list = NULL, *more;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i] == NULL) {
			continue;
		}
		more = curl_slist_append(list, texts[i]);
		if (more == NULL) {
			curl_slist_free_all(list);
			return NULL;
		}
		list = more;
	}
	return list;
}

static void set_tls(CURL *curl, const struct http_opts *opts)
{
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (opts->ca_path != NULL) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, opts->ca_path);
	}
	if (opts->cert_path != NULL) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, opts->cert_path);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, opts->key_path);
	}
}

static void set_request(struct transfer *t, const char *url, const struct curl_slist *headers)
{
	const struct http_request *request = t->request;
	CURL *curl = t->http->curl;
	uint64_t connect_ms = request->timeout_ms != 0 && request->timeout_ms < CONNECT_MAX_MS
				      ? request->timeout_ms
				      : CONNECT_MAX_MS;

	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "xsan/" XSAN_VERSION);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->http->problem);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	if (request->quiet_s != 0) {
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)request->quiet_s);
	}
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	if (request->body != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(
			curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	set_tls(curl, &t->http->opts);
}

int http_call(struct http *http, const struct http_request *request, struct http_answer *ret_answer,
	struct xu_error *err)
{
	struct transfer t = {.http = http, .request = request, .answer = ret_answer};
	struct curl_slist *headers = headers_of(http, request);
	CURLcode code = CURLE_OUT_OF_MEMORY;
	char *url = NULL;

	*ret_answer = (struct http_answer){0};
	http->problem[0] = '\0';
	if (asprintf(&url, "%.*s%s", (int)http->url_len, http->opts.url, request->path) < 0) {
		url = NULL;
	}
	if (url != NULL && headers != NULL) {
		set_request(&t, url, headers);
		code = curl_easy_perform(http->curl);
		read_head(http->curl, ret_answer);
	}
	curl_slist_free_all(headers);
	free(url);
	return code == CURLE_OK ? 0 : fail_transfer(&t, code, err);
}

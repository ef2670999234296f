/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libcurl's easy interface: a handle that is used again keeps its connection. What comes in is
 * bounded, whatever the other side sends.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/xregistry/agent/agent.h"
#include "lib/xregistry/agent/http.h"

#define ANSWER_MAX      (1u << 20)
#define STREAM_LINE_MAX (256u << 10)
#define URL_SIZE        1024u
#define CONNECT_MS      3000L
#define SILENCE_S       10L /* a node's own stream says something every second at least */

struct agent_http {
	CURL *curl;
	struct curl_slist *headers, *stream_headers;
	const struct xreg_agent_opts *opts;
	uint32_t current; /* which of the registries is asked */
	_Atomic bool *must_end;
	char problem[CURL_ERROR_SIZE];
	pthread_mutex_t mutex; /* for the socket, which another thread may shut down */
	curl_socket_t fd;

	char *text; /* what has come in: an answer, or the line of a stream */
	size_t len, room;

	/* The stream. */
	uint64_t *since;
	char kind[32];
	json_t *data;
	void (*fn)(void *arg, const char *kind, json_t *data);
	void *arg;
};

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct agent_http *http = arg;
	curl_socket_t fd =
		socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	pthread_mutex_lock(&http->mutex);
	http->fd = fd;
	pthread_mutex_unlock(&http->mutex);
	return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
	struct agent_http *http = arg;

	pthread_mutex_lock(&http->mutex);
	if (http->fd == fd) {
		http->fd = CURL_SOCKET_BAD;
	}
	pthread_mutex_unlock(&http->mutex);
	return close(fd);
}

void agent_http_abort(struct agent_http *http)
{
	pthread_mutex_lock(&http->mutex);
	if (http->fd != CURL_SOCKET_BAD) {
		shutdown(http->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&http->mutex);
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t upnow)
{
	const struct agent_http *http = arg;

	return *http->must_end ? 1 : 0;
}

/* Adds to the text; false: it would be too long. */
static bool add(struct agent_http *http, const char *data, size_t len, size_t max)
{
	char *more;

	if (len > max - http->len) {
		return false;
	}
	if (http->len + len + 1 > http->room) {
		more = realloc(http->text, 2 * (http->len + len) + 1);
		if (more == NULL) {
			return false;
		}
		http->text = more;
		http->room = 2 * (http->len + len) + 1;
	}
	memcpy(http->text + http->len, data, len);
	http->len += len;
	http->text[http->len] = '\0';
	return true;
}

static size_t on_answer(char *data, size_t size, size_t count, void *arg)
{
	return add(arg, data, size * count, ANSWER_MAX) ? size * count : 0;
}

static struct curl_slist *append(struct curl_slist *list, const char *name, const char *value)
{
	struct curl_slist *longer;
	char text[512];

	snprintf(text, sizeof(text), "%s: %s", name, value);
	longer = curl_slist_append(list, text);
	return longer != NULL ? longer : list;
}

struct agent_http *agent_http_new(const struct xreg_agent_opts *opts, _Atomic bool *must_end)
{
	struct agent_http *http = calloc(1, sizeof(*http));
	char bearer[400];

	if (http == NULL) {
		return NULL;
	}
	http->opts = opts;
	http->must_end = must_end;
	http->curl = curl_easy_init();
	if (http->curl == NULL) {
		free(http);
		return NULL;
	}
	pthread_mutex_init(&http->mutex, NULL);
	http->fd = CURL_SOCKET_BAD;
	http->headers = append(http->headers, "Content-Type", "application/json");
	http->stream_headers = append(http->stream_headers, "Accept", "text/event-stream");
	if (opts->token != NULL) {
		snprintf(bearer, sizeof(bearer), "Bearer %s", opts->token);
		http->headers = append(http->headers, "Authorization", bearer);
		http->stream_headers = append(http->stream_headers, "Authorization", bearer);
	}
	return http;
}

void agent_http_free(struct agent_http *http)
{
	if (http != NULL) {
		curl_easy_cleanup(http->curl);
		pthread_mutex_destroy(&http->mutex);
		curl_slist_free_all(http->headers);
		curl_slist_free_all(http->stream_headers);
		json_decref(http->data);
		free(http->text);
		free(http);
	}
}

/* The registry that is asked; after the last one it is the first again. */
static const char *current_url(struct agent_http *http, int *ret_len)
{
	const char *at = http->opts->url;

	for (uint32_t i = 0; i < http->current; i++) {
		at += strcspn(at, ",");
		if (*at == '\0') {
			http->current = 0;
			at = http->opts->url;
			break;
		}
		at++;
	}
	*ret_len = (int)strcspn(at, ",");
	return at;
}

static void set_common(struct agent_http *http, const char *path)
{
	const struct xreg_agent_opts *opts = http->opts;
	CURL *curl = http->curl;
	const char *where;
	char url[URL_SIZE];
	int len;

	where = current_url(http, &len);
	snprintf(url, sizeof(url), "%.*s%s", len, where, path);
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->problem);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, http);
	curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, http);
	if (opts->ca_path != NULL) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, opts->ca_path);
	}
	if (opts->cert_path != NULL) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, opts->cert_path);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, opts->key_path);
	}
	http->len = 0;
	http->problem[0] = '\0';
}

void agent_http_call(struct agent_http *http, const char *method, const char *path, json_t *body,
	uint32_t timeout_ms, struct agent_answer *ret_answer)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	CURLcode code;

	*ret_answer = (struct agent_answer){0};
	set_common(http, path);
	curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, http->headers);
	curl_easy_setopt(http->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(http->curl, CURLOPT_WRITEFUNCTION, on_answer);
	if (text != NULL) {
		curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, text);
	}
	code = curl_easy_perform(http->curl);
	free(text);
	if (code != CURLE_OK) {
		snprintf(ret_answer->problem, sizeof(ret_answer->problem), "%.200s",
			http->problem[0] != '\0' ? http->problem : curl_easy_strerror(code));
		http->current++;
		return;
	}
	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &ret_answer->status);
	http->current += ret_answer->status >= 500;
	ret_answer->body = http->len != 0 ? json_loadb(http->text, http->len, 0, NULL) : NULL;
	if (ret_answer->status >= 400) {
		const char *detail = json_string_value(json_object_get(ret_answer->body, "detail"));

		snprintf(ret_answer->problem, sizeof(ret_answer->problem), "%ld %.200s",
			ret_answer->status, detail != NULL ? detail : "");
	}
}

/* ---- the stream ---- */

/* One line of server-sent events; an empty one ends an event. */
static void take_line(struct agent_http *http, const char *line)
{
	if (line[0] == '\0') {
		if (http->data != NULL) {
			http->fn(http->arg, http->kind, http->data);
			json_decref(http->data);
			http->data = NULL;
		}
	} else if (strncmp(line, "id: ", 4) == 0) {
		*http->since = strtoull(line + 4, NULL, 10);
	} else if (strncmp(line, "event: ", 7) == 0) {
		snprintf(http->kind, sizeof(http->kind), "%s", line + 7);
	} else if (strncmp(line, "data: ", 6) == 0) {
		json_decref(http->data);
		http->data = json_loads(line + 6, 0, NULL);
	}
}

static size_t on_stream(char *data, size_t size, size_t count, void *arg)
{
	struct agent_http *http = arg;
	size_t len = size * count, done = 0;
	long status = 0;

	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) {
		return 0;
	}
	while (done < len) {
		char *end = memchr(data + done, '\n', len - done);
		size_t part = end != NULL ? (size_t)(end - data) - done : len - done;

		if (!add(http, data + done, part, STREAM_LINE_MAX)) {
			return 0;
		}
		done += part;
		if (end != NULL) {
			done++;
			take_line(http, http->len != 0 ? http->text : "");
			http->len = 0;
		}
	}
	return len;
}

void agent_http_follow(struct agent_http *http, const char *path, uint64_t *since,
	void (*fn)(void *arg, const char *kind, json_t *data), void *arg)
{
	char with_since[URL_SIZE / 2];

	http->since = since;
	http->fn = fn;
	http->arg = arg;
	snprintf(with_since, sizeof(with_since), "%s", path);
	if (*since != AGENT_FROM_NOW) {
		snprintf(with_since + strlen(with_since), sizeof(with_since) - strlen(with_since),
			"&since=%llu", (unsigned long long)*since);
	}
	set_common(http, with_since);
	curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, http->stream_headers);
	curl_easy_setopt(http->curl, CURLOPT_WRITEFUNCTION, on_stream);
	curl_easy_setopt(http->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(http->curl, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
	curl_easy_perform(http->curl);
	http->current++;
	json_decref(http->data);
	http->data = NULL;
}

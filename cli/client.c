/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One call: connect when there is no connection, send the request, collect bytes until a whole JSON
 * value is there, see that it answers this request. The socket does not block; every wait is a
 * poll() that ends at the call's deadline. Whatever goes wrong closes the connection, for nobody
 * knows what would come next on it, and gives a sentence with the socket, the reason and what to
 * do.
 */
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/rpc/frame.h"
#include "lib/util/error.h"

#define MS_PER_S      1000u
#define CONNECT_GAP   20u /* ms between two tries at a node whose backlog is full */
#define FIRST_BUFFER  (64u << 10)
#define JSON_REQUEST  (JSON_COMPACT | JSON_ENCODE_ANY)
#define JSON_RESPONSE JSON_ALLOW_NUL

struct client {
	const char *path;
	int fd; /* -1: not connected */
	json_int_t id;
	char *buf;
	size_t len, size;
};

/* One call. */
struct call {
	struct client *client;
	uint64_t start_ms, deadline_ms, told_ms;
	uint64_t timeout_ms;
	void (*waiting)(void *arg, uint64_t elapsed_ms);
	void *arg;
	struct xu_error *err;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * MS_PER_S + (uint64_t)ts.tv_nsec / 1000000u;
}

int client_new(const char *path, struct client **ret_client)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		return -ENOMEM;
	}
	client->path = path;
	client->fd = -1;
	*ret_client = client;
	return 0;
}

static void hang_up(struct client *client)
{
	if (client->fd >= 0) {
		close(client->fd);
	}
	client->fd = -1;
	client->len = 0;
}

void client_free(struct client *client)
{
	if (client == NULL) {
		return;
	}
	hang_up(client);
	free(client->buf);
	free(client);
}

/* ---- waiting ---- */

static int fail_timeout(struct call *call)
{
	return xu_error_set(call->err, -ETIMEDOUT,
		"the node at %s has not answered within %g s; look at its log, or give it more "
		"time with --timeout",
		call->client->path, (double)call->timeout_ms / MS_PER_S);
}

static int fail_hang_up(struct call *call)
{
	return xu_error_set(call->err, -ECONNRESET,
		"the node at %s closed the connection without an answer; look at its log for why",
		call->client->path);
}

/*
 * Waits until the socket is ready for `events`, at most `limit_ms`; 0: until the deadline. 1: it
 * is, 0: the limit is over.
 */
static int wait_for(struct call *call, short events, uint64_t limit_ms)
{
	struct pollfd pfd = {.fd = events != 0 ? call->client->fd : -1, .events = events};
	uint64_t now = now_ms(), begin = now, left;
	int rc;

	for (;;) {
		if (now >= call->deadline_ms) {
			return fail_timeout(call);
		}
		if (call->waiting != NULL && now - call->told_ms >= MS_PER_S) {
			call->told_ms = now;
			call->waiting(call->arg, now - call->start_ms);
		}
		left = call->deadline_ms - now;
		if (limit_ms != 0) {
			if (now - begin >= limit_ms) {
				return 0;
			}
			left = left < limit_ms - (now - begin) ? left : limit_ms - (now - begin);
		}
		rc = poll(&pfd, 1, (int)(left < MS_PER_S ? left : MS_PER_S));
		if (rc > 0) {
			return 1;
		}
		if (rc < 0 && errno != EINTR) {
			return xu_error_set_errno(call->err, -errno, "waiting for the node at %s",
				call->client->path);
		}
		now = now_ms();
	}
}

/* ---- connecting ---- */

static int fail_connect(struct call *call, int code)
{
	const char *path = call->client->path;

	switch (code) {
	case -ENOENT:
		return xu_error_set(call->err, code,
			"there is no socket %s; start the node (systemctl start xsand, or make "
			"run), or name its socket with -s or XSAN_SOCKET",
			path);
	case -ECONNREFUSED:
		return xu_error_set(call->err, code,
			"nobody listens at %s any more; start the node (systemctl start xsand, or "
			"make run)",
			path);
	case -EACCES:
	case -EPERM:
		return xu_error_set(call->err, code,
			"no permission for %s; use the account the node runs under, or sudo", path);
	case -ENOTSOCK:
	case -EPROTOTYPE:
		return xu_error_set(call->err, code,
			"%s is no stream socket; name the node's socket with -s or XSAN_SOCKET",
			path);
	default:
		return xu_error_set_errno(
			call->err, code, "cannot connect to the node at %s", path);
	}
}

static int connect_node(struct call *call)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct client *client = call->client;
	int rc;

	if (strlen(client->path) >= sizeof(addr.sun_path)) {
		return xu_error_set(call->err, -ENAMETOOLONG,
			"the socket's path %s is longer than %zu bytes; use a shorter one, such as "
			"a relative one",
			client->path, sizeof(addr.sun_path) - 1);
	}
	strcpy(addr.sun_path, client->path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0) {
		return xu_error_set_errno(call->err, -errno, "making a socket");
	}
	/* A UNIX socket connects at once, or its backlog is full and there is nothing to poll. */
	while (connect(client->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		if (errno == EINTR) {
			continue;
		}
		if (errno != EAGAIN) {
			return fail_connect(call, -errno);
		}
		rc = wait_for(call, 0, CONNECT_GAP);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- sending and receiving ---- */

static int send_all(struct call *call, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(call->client->fd, text, len, MSG_NOSIGNAL);
		int rc;

		if (sent >= 0) {
			text += sent;
			len -= (size_t)sent;
			continue;
		}
		if (errno == EPIPE || errno == ECONNRESET) {
			/* It may have said why before it hung up. */
			return 0;
		}
		if (errno != EAGAIN && errno != EINTR) {
			return xu_error_set_errno(
				call->err, -errno, "sending to the node at %s", call->client->path);
		}
		rc = wait_for(call, POLLOUT, 0);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int grow(struct call *call)
{
	struct client *client = call->client;
	size_t size = client->size != 0 ? client->size * 2 : FIRST_BUFFER;
	char *buf;

	if (client->len == CLIENT_MAX_ANSWER) {
		return xu_error_set(call->err, -EMSGSIZE,
			"the answer of the node at %s is longer than %u MiB; ask for less",
			client->path, CLIENT_MAX_ANSWER >> 20);
	}
	buf = realloc(client->buf, size);
	if (buf == NULL) {
		return xu_error_set_errno(
			call->err, -ENOMEM, "reading the answer of the node at %s", client->path);
	}
	client->buf = buf;
	client->size = size;
	return 0;
}

/* Takes what is there, and waits when that is nothing. */
static int receive(struct call *call)
{
	struct client *client = call->client;
	int rc = client->len == client->size ? grow(call) : 0;

	while (rc == 0) {
		ssize_t got =
			recv(client->fd, client->buf + client->len, client->size - client->len, 0);

		if (got > 0) {
			client->len += (size_t)got;
			return 0;
		}
		if (got == 0 || errno == ECONNRESET) {
			return fail_hang_up(call);
		}
		if (errno != EAGAIN && errno != EINTR) {
			return xu_error_set_errno(
				call->err, -errno, "reading from the node at %s", client->path);
		}
		rc = wait_for(call, POLLIN, 0);
		rc = rc < 0 ? rc : 0;
	}
	return rc;
}

static int fail_garbage(struct call *call, const char *why)
{
	return xu_error_set(call->err, -EBADMSG,
		"what answers at %s is no XSAN node: %s; name the node's socket with -s or "
		"XSAN_SOCKET",
		call->client->path, why);
}

/* Receives one JSON value and takes it from the buffer. */
static int receive_value(struct call *call, json_t **ret_value)
{
	struct client *client = call->client;
	struct xrpc_frame frame = {0};
	size_t start, end;
	int rc;

	for (;;) {
		rc = xrpc_frame_next(&frame, client->buf, client->len, &start, &end);
		if (rc != 0) {
			break;
		}
		rc = receive(call);
		if (rc != 0) {
			return rc;
		}
	}
	if (rc == -E2BIG) {
		return fail_garbage(call, "its answer is nested too deep");
	}
	*ret_value =
		rc > 0 ? json_loadb(client->buf + start, end - start, JSON_RESPONSE, NULL) : NULL;
	if (*ret_value == NULL) {
		return fail_garbage(call, "its answer is not JSON");
	}
	memmove(client->buf, client->buf + end, client->len - end);
	client->len -= end;
	return 0;
}

/* ---- calls ---- */

static int send_request(struct call *call, const char *method, json_t *params)
{
	json_t *request = json_pack(
		"{s:s, s:I, s:s}", "jsonrpc", "2.0", "id", call->client->id, "method", method);
	char *text;
	int rc;

	if (request != NULL && params != NULL) {
		json_object_set(request, "params", params);
	}
	text = request != NULL ? json_dumps(request, JSON_REQUEST) : NULL;
	json_decref(request);
	if (text == NULL) {
		return xu_error_set(call->err, -EINVAL,
			"the request cannot be written as JSON: text that is not UTF-8, or no "
			"memory");
	}
	rc = send_all(call, text, strlen(text));
	free(text);
	return rc;
}

/* Takes the result or the error out of an answer. */
static int take_answer(
	struct call *call, json_t *answer, enum client_outcome *ret_outcome, json_t **ret_value)
{
	json_t *id = json_object_get(answer, "id");
	json_t *error = json_object_get(answer, "error");
	json_t *result = json_object_get(answer, "result");

	if (error != NULL) {
		if (!json_is_string(json_object_get(error, "message"))) {
			return fail_garbage(call, "its error has no message");
		}
		*ret_outcome = CLIENT_ERROR;
		*ret_value = json_incref(error);
		/* A request that could not be read is answered without its id. */
		return json_is_null(id) || json_integer_value(id) == call->client->id
			       ? 0
			       : fail_garbage(call, "it answers another request");
	}
	if (result == NULL) {
		return fail_garbage(call, "its answer has neither a result nor an error");
	}
	if (!json_is_integer(id) || json_integer_value(id) != call->client->id) {
		return fail_garbage(call, "it answers another request");
	}
	*ret_outcome = CLIENT_RESULT;
	*ret_value = json_incref(result);
	return 0;
}

enum client_outcome client_call(struct client *client, const char *method, json_t *params,
	uint64_t timeout_ms, void (*waiting)(void *arg, uint64_t elapsed_ms), void *arg,
	json_t **ret_value, struct xu_error *err)
{
	uint64_t now = now_ms();
	struct call call = {.client = client,
		.start_ms = now,
		.deadline_ms = now + timeout_ms,
		.told_ms = now,
		.timeout_ms = timeout_ms,
		.waiting = waiting,
		.arg = arg,
		.err = err};
	enum client_outcome outcome = CLIENT_UNREACHABLE;
	json_t *answer = NULL, *value = NULL;
	int rc = client->fd < 0 ? connect_node(&call) : 0;

	client->id++;
	if (rc == 0) {
		rc = send_request(&call, method, params);
	}
	if (rc == 0) {
		rc = receive_value(&call, &answer);
	}
	if (rc == 0) {
		rc = take_answer(&call, answer, &outcome, &value);
	}
	json_decref(answer);
	if (rc != 0) {
		json_decref(value);
		hang_up(client);
		return CLIENT_UNREACHABLE;
	}
	*ret_value = value;
	return outcome;
}

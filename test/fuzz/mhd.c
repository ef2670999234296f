/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of libmicrohttpd that lib/rpc/http uses, without sockets, by the same rules: arguments
 * are decoded before anybody sees them, the handler is called for the head, for parts of the body
 * and for the end, again when a suspended connection is resumed, and owes an answer each time that
 * it does not suspend. A rule that is broken is a finding.
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <strings.h>
#include <unistd.h>

#include "test/fuzz/fuzz.h"
#include "test/fuzz/mhd.h"

#define NR_VALUES  48u
#define NR_HEADERS 10u
#define BLOCK      512u
#define TEXT_MAX   (64u << 10) /* of a stream, which has no end */

struct value {
	char *name, *value;
};

struct MHD_Response {
	unsigned nr_refs;
	char *text; /* NULL: a stream */
	bool must_free;
	MHD_ContentReaderCallback read;
	void *arg;
	struct value headers[NR_HEADERS];
	uint32_t nr_headers;
};

struct MHD_Connection {
	char *method, *target, *lines; /* cut into what follows */
	struct value arguments[NR_VALUES], headers[NR_VALUES];
	uint32_t nr_arguments, nr_headers;
	char length[24];
	void *state; /* the handler's */
	bool is_suspended;
	bool is_asked, is_owed; /* the handler knows all; it has suspended it since */
	unsigned status;
	struct MHD_Response *response;
	char *text; /* of a stream */
	size_t len;
	bool is_ended;
};

static struct MHD_Daemon {
	MHD_AccessHandlerCallback handle;
	void *handle_arg;
	MHD_RequestCompletedCallback completed;
	void *completed_arg;
	int fd;
	uint32_t nr_connections;
} server;

/* Of is_suspended and is_owed. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_resumed = PTHREAD_COND_INITIALIZER;

/* ---- the server ---- */

struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port, MHD_AcceptPolicyCallback apc,
	void *apc_cls, MHD_AccessHandlerCallback dh, void *dh_cls, ...)
{
	enum MHD_OPTION option;
	va_list args;

	server = (struct MHD_Daemon){.handle = dh, .handle_arg = dh_cls, .fd = -1};
	va_start(args, dh_cls);
	while ((option = va_arg(args, enum MHD_OPTION)) != MHD_OPTION_END) {
		switch (option) {
		case MHD_OPTION_LISTEN_SOCKET:
			server.fd = va_arg(args, int);
			break;
		case MHD_OPTION_ARRAY:
			(void)va_arg(args, void *);
			break;
		case MHD_OPTION_NOTIFY_COMPLETED:
			server.completed = va_arg(args, MHD_RequestCompletedCallback);
			server.completed_arg = va_arg(args, void *);
			break;
		default: /* a function and its argument */
			(void)va_arg(args, void *);
			(void)va_arg(args, void *);
			break;
		}
	}
	va_end(args);
	return &server;
}

int MHD_quiesce_daemon(struct MHD_Daemon *daemon)
{
	int fd = daemon->fd;

	daemon->fd = -1;
	return fd;
}

void MHD_stop_daemon(struct MHD_Daemon *daemon)
{
	FUZZ_CHECK(daemon->nr_connections == 0, "%u connections are left", daemon->nr_connections);
	if (daemon->fd >= 0) {
		close(daemon->fd);
	}
}

const union MHD_DaemonInfo *MHD_get_daemon_info(
	struct MHD_Daemon *daemon, enum MHD_DaemonInfoType type, ...)
{
	static union MHD_DaemonInfo info;

	info.num_connections = daemon->nr_connections;
	return &info;
}

/* ---- what a request says ---- */

static int digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;

	return c >= '0' && c <= '9' ? c - '0' : at != NULL ? (int)(at - digits) : -1;
}

static void decode(char *text)
{
	char *to = text;

	for (; *text != '\0'; text++) {
		if (text[0] == '%' && digit(text[1]) >= 0 && digit(text[2]) >= 0) {
			*to++ = (char)(16 * digit(text[1]) + digit(text[2]));
			text += 2;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

static void decode_argument(char *text)
{
	for (char *at = strchr(text, '+'); at != NULL; at = strchr(at, '+')) {
		*at = ' ';
	}
	decode(text);
}

static void cut_target(struct MHD_Connection *connection)
{
	char *at = strchr(connection->target, '?');

	while (at != NULL && connection->nr_arguments < NR_VALUES) {
		struct value *argument = &connection->arguments[connection->nr_arguments++];

		*at++ = '\0';
		argument->name = at;
		at = strchr(at, '&');
		if (at != NULL) {
			*at = '\0';
		}
		argument->value = strchr(argument->name, '=');
		if (argument->value != NULL) {
			*argument->value++ = '\0';
			decode_argument(argument->value);
		}
		decode_argument(argument->name);
	}
	decode(connection->target);
}

static void cut_headers(struct MHD_Connection *connection, size_t body_len)
{
	static char length[] = MHD_HTTP_HEADER_CONTENT_LENGTH;
	char *rest, *line;

	for (line = strtok_r(connection->lines, "\r\n", &rest);
		line != NULL && connection->nr_headers < NR_VALUES - 1;
		line = strtok_r(NULL, "\r\n", &rest)) {
		char *colon = strchr(line, ':');

		if (colon == NULL) {
			continue;
		}
		*colon = '\0';
		connection->headers[connection->nr_headers++] =
			(struct value){line, colon + 1 + strspn(colon + 1, " \t")};
	}
	snprintf(connection->length, sizeof(connection->length), "%zu", body_len);
	if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding") == NULL) {
		connection->headers[connection->nr_headers++] =
			(struct value){length, connection->length};
	}
}

static const struct value *find(
	const struct value *values, uint32_t count, const char *name, bool is_header)
{
	for (uint32_t i = 0; i < count; i++) {
		if ((is_header ? strcasecmp : strcmp)(values[i].name, name) == 0) {
			return &values[i];
		}
	}
	return NULL;
}

const char *MHD_lookup_connection_value(
	struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
	const struct value *found = find(connection->headers, connection->nr_headers, key, true);

	return found != NULL ? found->value : NULL;
}

enum MHD_Result MHD_lookup_connection_value_n(struct MHD_Connection *connection,
	enum MHD_ValueKind kind, const char *key, size_t key_size, const char **value_ptr,
	size_t *value_size_ptr)
{
	const struct value *found =
		find(connection->arguments, connection->nr_arguments, key, false);

	if (found == NULL) {
		return MHD_NO;
	}
	*value_ptr = found->value;
	*value_size_ptr = found->value != NULL ? strlen(found->value) : 0;
	return MHD_YES;
}

int MHD_get_connection_values(struct MHD_Connection *connection, enum MHD_ValueKind kind,
	MHD_KeyValueIterator iterator, void *iterator_cls)
{
	for (uint32_t i = 0; i < connection->nr_arguments; i++) {
		const struct value *argument = &connection->arguments[i];

		if (iterator(iterator_cls, kind, argument->name, argument->value) == MHD_NO) {
			return (int)i + 1;
		}
	}
	return (int)connection->nr_arguments;
}

const union MHD_ConnectionInfo *MHD_get_connection_info(
	struct MHD_Connection *connection, enum MHD_ConnectionInfoType info_type, ...)
{
	static struct sockaddr_in addr = {.sin_family = AF_INET};
	static union MHD_ConnectionInfo info;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	info.client_addr = (struct sockaddr *)&addr;
	return &info;
}

/* ---- answers ---- */

static struct MHD_Response *new_response(void)
{
	struct MHD_Response *response = calloc(1, sizeof(*response));

	FUZZ_CHECK(response != NULL, "out of memory");
	response->nr_refs = 1;
	return response;
}

struct MHD_Response *MHD_create_response_from_buffer(
	size_t size, void *buffer, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = new_response();

	FUZZ_CHECK(size == strlen(buffer), "%zu bytes are told of %zu", size, strlen(buffer));
	response->text = buffer;
	response->must_free = mode == MHD_RESPMEM_MUST_FREE;
	return response;
}

struct MHD_Response *MHD_create_response_from_callback(uint64_t size, size_t block_size,
	MHD_ContentReaderCallback crc, void *crc_cls, MHD_ContentReaderFreeCallback crfc)
{
	struct MHD_Response *response = new_response();

	response->read = crc;
	response->arg = crc_cls;
	return response;
}

enum MHD_Result MHD_add_response_header(
	struct MHD_Response *response, const char *header, const char *content)
{
	FUZZ_CHECK(response->nr_headers < NR_HEADERS && strpbrk(content, "\r\n") == NULL &&
			   strpbrk(header, "\r\n") == NULL,
		"%s: %s", header, content);
	response->headers[response->nr_headers++] = (struct value){strdup(header), strdup(content)};
	return MHD_YES;
}

void MHD_destroy_response(struct MHD_Response *response)
{
	if (--response->nr_refs != 0) {
		return;
	}
	for (uint32_t i = 0; i < response->nr_headers; i++) {
		free(response->headers[i].name);
		free(response->headers[i].value);
	}
	if (response->must_free) {
		free(response->text);
	}
	free(response);
}

enum MHD_Result MHD_queue_response(
	struct MHD_Connection *connection, unsigned int status_code, struct MHD_Response *response)
{
	FUZZ_CHECK(response != NULL, "no memory for an answer");
	FUZZ_CHECK(connection->response == NULL, "a second answer, %u", status_code);
	connection->status = status_code;
	connection->response = response;
	response->nr_refs++;
	return MHD_YES;
}

/* ---- connections ---- */

void MHD_suspend_connection(struct MHD_Connection *connection)
{
	pthread_mutex_lock(&mutex);
	FUZZ_CHECK(!connection->is_suspended, "suspended twice");
	connection->is_suspended = true;
	connection->is_owed = true;
	pthread_mutex_unlock(&mutex);
}

void MHD_resume_connection(struct MHD_Connection *connection)
{
	pthread_mutex_lock(&mutex);
	FUZZ_CHECK(connection->is_suspended, "resumed, but it was not suspended");
	connection->is_suspended = false;
	pthread_cond_broadcast(&is_resumed);
	pthread_mutex_unlock(&mutex);
}

static void call(struct MHD_Connection *connection, const char *data, size_t len)
{
	size_t left = len;
	enum MHD_Result result = server.handle(server.handle_arg, connection, connection->target,
		connection->method, "HTTP/1.1", data, &left, &connection->state);

	FUZZ_CHECK(result == MHD_YES && left == 0, "the connection is given up");
}

struct MHD_Connection *mhd_open(const struct mhd_request *request)
{
	struct MHD_Connection *connection = calloc(1, sizeof(*connection));
	size_t half = request->body_len / 2;

	FUZZ_CHECK(connection != NULL, "out of memory");
	connection->method = strdup(request->method);
	connection->target = strdup(request->target);
	connection->lines = strdup(request->headers);
	cut_target(connection);
	cut_headers(connection, request->body_len);
	server.nr_connections++;
	call(connection, NULL, 0);
	if (half != 0 && connection->response == NULL) {
		call(connection, request->body, half);
	}
	if (request->body_len != half && connection->response == NULL) {
		call(connection, request->body + half, request->body_len - half);
	}
	return connection;
}

/* False: it is suspended, and may be. */
static bool wait_for_others(struct MHD_Connection *connection, bool may_stay)
{
	bool is_suspended;

	pthread_mutex_lock(&mutex);
	while (connection->is_suspended && !may_stay) {
		pthread_cond_wait(&is_resumed, &mutex);
	}
	is_suspended = connection->is_suspended;
	pthread_mutex_unlock(&mutex);
	return !is_suspended;
}

/* More of a stream. */
static void read_more(struct MHD_Connection *connection)
{
	ssize_t got;

	connection->text = realloc(connection->text, connection->len + BLOCK + 1);
	FUZZ_CHECK(connection->text != NULL, "out of memory");
	got = connection->response->read(connection->response->arg, connection->len,
		connection->text + connection->len, BLOCK);
	FUZZ_CHECK(got >= MHD_CONTENT_READER_END_WITH_ERROR && got <= (ssize_t)BLOCK, "%zd", got);
	FUZZ_CHECK(got != MHD_CONTENT_READER_END_WITH_ERROR, "a stream fails");
	connection->is_ended = got < 0 || connection->len + BLOCK > TEXT_MAX;
	connection->len += got > 0 ? (size_t)got : 0;
	connection->text[connection->len] = '\0';
}

bool mhd_run(struct MHD_Connection *connection, bool may_stay)
{
	while (wait_for_others(connection, may_stay)) {
		if (connection->response == NULL) {
			FUZZ_CHECK(!connection->is_asked || connection->is_owed,
				"neither answered nor left for later");
			connection->is_asked = true;
			connection->is_owed = false;
			call(connection, NULL, 0);
		} else if (connection->response->read == NULL || connection->is_ended) {
			return true;
		} else {
			read_more(connection);
		}
	}
	return false;
}

void mhd_close(struct MHD_Connection *connection)
{
	server.completed(server.completed_arg, connection, &connection->state,
		MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (connection->response != NULL) {
		MHD_destroy_response(connection->response);
	}
	server.nr_connections--;
	free(connection->method);
	free(connection->target);
	free(connection->lines);
	free(connection->text);
	free(connection);
}

unsigned mhd_status(const struct MHD_Connection *connection)
{
	return connection->status;
}

const char *mhd_text(const struct MHD_Connection *connection)
{
	return connection->response->read != NULL ? connection->text : connection->response->text;
}

const char *mhd_header(const struct MHD_Connection *connection, const char *name)
{
	const struct value *found =
		find(connection->response->headers, connection->response->nr_headers, name, true);

	return found != NULL ? found->value : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls of a registry: the options and the environment say which, http.c calls, and what comes back
 * is a result, a problem (RFC 9457) that is told with its field, or something that is no registry's
 * answer. A failure is said here, once, and becomes an exit code.
 */
#include "cli/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/http.h"
#include "cli/json.h"
#include "lib/util/error.h"

#define TOKEN_MAX 256u
#define FILE_MAX  (64u << 20)
#define PAGE      2000u
#define PAGES_MAX 10000u

struct registry {
	struct http *http;
	char *token; /* of a file */
};

/* ---- which registry ---- */

const char *registry_url(struct cli *cli)
{
	const char *url = cli_option(cli, "url");

	if (url == NULL) {
		url = getenv("XSAN_REGISTRY_URL");
	}
	return url != NULL && url[0] != '\0' ? url : REGISTRY_DEFAULT_URL;
}

/* The first line of the file. */
static enum cli_exit read_token(struct cli *cli, const char *path, char **ret_token)
{
	char text[TOKEN_MAX + 3];
	FILE *file = fopen(path, "re");
	size_t len;
	bool has_failed;

	if (file == NULL) {
		cli_say(cli, "the token file %s cannot be read: %s", path, strerror(errno));
		return CLI_REFUSED;
	}
	len = fread(text, 1, sizeof(text) - 1, file);
	has_failed = ferror(file) != 0;
	fclose(file);
	text[len] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	if (has_failed || text[0] == '\0' || strlen(text) > TOKEN_MAX) {
		cli_say(cli,
			"the token file %s has no token in its first line; one has 16 to %u "
			"characters",
			path, TOKEN_MAX);
		return CLI_REFUSED;
	}
	*ret_token = strdup(text);
	return *ret_token != NULL ? CLI_OK : CLI_REFUSED;
}

static enum cli_exit open_registry(struct cli *cli)
{
	const char *token = cli_option(cli, "token"), *file = cli_option(cli, "token-file");
	struct http_opts opts = {.url = registry_url(cli),
		.ca_path = cli_option(cli, "ca"),
		.cert_path = cli_option(cli, "cert"),
		.key_path = cli_option(cli, "key")};
	struct registry *registry;
	struct xu_error err;
	enum cli_exit rc = CLI_OK;

	if (token != NULL && file != NULL) {
		return cli_usage(cli, "--token and --token-file are both given");
	}
	registry = calloc(1, sizeof(*registry));
	if (registry == NULL) {
		cli_say(cli, "out of memory");
		return CLI_REFUSED;
	}
	cli->registry = registry;
	if (file != NULL) {
		rc = read_token(cli, file, &registry->token);
		token = registry->token;
	} else if (token == NULL) {
		token = getenv("XSAN_REGISTRY_TOKEN");
	}
	opts.token = token != NULL && token[0] != '\0' ? token : NULL;
	if (rc == CLI_OK && http_new(&opts, &registry->http, &err) != 0) {
		rc = err.code == -EINVAL ? cli_usage(cli, "%s", err.text) : CLI_REFUSED;
	}
	if (rc != CLI_OK) {
		registry_hang_up(cli);
	}
	return rc;
}

void registry_hang_up(struct cli *cli)
{
	if (cli->registry != NULL) {
		http_free(cli->registry->http);
		free(cli->registry->token);
		free(cli->registry);
		cli->registry = NULL;
	}
}

/* ---- a request ---- */

/* "/api/v1" PATH ["?" QUERY]; NULL: no memory. */
static char *full_path(const struct registry_request *request)
{
	char *text = NULL, *escaped;
	const char *name;
	json_t *value;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	char mark = '?';

	if (out == NULL) {
		return NULL;
	}
	fprintf(out, "/api/v1%s", request->path);
	json_object_foreach (request->query, name, value) {
		escaped = http_escape(json_string_value(value));
		if (escaped != NULL) {
			fprintf(out, "%c%s=%s", mark, name, escaped);
		}
		mark = '&';
		free(escaped);
	}
	return fclose(out) == 0 ? text : NULL;
}

/* ---- what comes back ---- */

static const char *advice_of(unsigned status)
{
	switch (status) {
	case 401:
		return "; give a token with --token-file, --token or XSAN_REGISTRY_TOKEN, or a "
		       "certificate with --cert and --key";
	case 403:
		return "; use the token of somebody who may";
	case 429:
		return "; try again in a moment";
	case 501:
		return "; it keeps its data where xsan cannot help";
	default:
		return "";
	}
}

/* A refusal as the registry puts it, with the field at fault; or that this is none. */
static enum cli_exit refuse(
	struct cli *cli, const struct http_answer *answer, struct registry_failure *failure)
{
	json_t *problem =
		strcmp(answer->content_type, "application/problem+json") == 0
			? json_loadb(answer->body != NULL ? answer->body : "", answer->len, 0, NULL)
			: NULL;
	const char *field = get_text(problem, "field"), *detail = get_text(problem, "detail");
	enum cli_exit rc = CLI_REFUSED;

	failure->status = answer->status;
	failure->is_final = answer->status < 500 && answer->status != 429;
	if (detail[0] != '\0') {
		snprintf(failure->text, sizeof(failure->text), "%.600s%s%.64s%s%s", detail,
			field[0] != '\0' ? " (" : "", field, field[0] != '\0' ? ")" : "",
			advice_of(answer->status));
	} else {
		rc = CLI_UNREACHABLE;
		snprintf(failure->text, sizeof(failure->text),
			"what answers at %.256s is no registry: HTTP status %u, %s; look at --url",
			registry_url(cli), answer->status,
			answer->content_type[0] != '\0' ? answer->content_type : "without a type");
	}
	json_decref(problem);
	return rc;
}

static enum cli_exit read_answer(struct cli *cli, const struct http_answer *answer,
	json_t **ret_result, struct registry_failure *failure)
{
	json_t *result;

	if (answer->status < 200 || answer->status > 299) {
		return refuse(cli, answer, failure);
	}
	result = json_loadb(answer->body != NULL ? answer->body : "", answer->len, 0, NULL);
	if (!json_is_object(result)) {
		json_decref(result);
		failure->status = answer->status;
		failure->is_final = true;
		snprintf(failure->text, sizeof(failure->text),
			"what answers at %.256s is no registry: its answer is no JSON object; look "
			"at --url",
			registry_url(cli));
		return CLI_UNREACHABLE;
	}
	*ret_result = result;
	return CLI_OK;
}

static enum cli_exit perform(struct cli *cli, const struct registry_request *request,
	const struct http_request *call, json_t **ret_result, struct registry_failure *failure)
{
	struct http_answer answer = {0};
	struct xu_error err;
	enum cli_exit rc;
	int code = http_call(cli->registry->http, call, &answer, &err);

	if (code == -ECANCELED) {
		rc = CLI_OK;
	} else if (code != 0) {
		failure->status = answer.status;
		failure->is_final = answer.is_final;
		snprintf(failure->text, sizeof(failure->text), "%s", err.text);
		rc = code == -EINVAL ? CLI_REFUSED : CLI_UNREACHABLE;
	} else if (request->on_data != NULL && answer.status == 200 &&
		   strcmp(answer.content_type, request->type) == 0) {
		rc = CLI_OK;
	} else {
		rc = read_answer(cli, &answer, ret_result, failure);
	}
	free(answer.body);
	return rc;
}

enum cli_exit registry_request(struct cli *cli, const struct registry_request *request,
	json_t **ret_result, struct registry_failure *ret_failure)
{
	struct http_request call = {.method = request->method,
		.header = request->header,
		.timeout_ms = request->quiet_s != 0      ? 0
			      : request->timeout_ms != 0 ? request->timeout_ms
							 : cli->timeout_ms,
		.quiet_s = request->quiet_s,
		.type = request->type,
		.on_data = request->on_data,
		.arg = request->arg};
	struct registry_failure failure = {0};
	char *path = full_path(request), *body = NULL;
	bool has_body = request->body != NULL;
	enum cli_exit rc = CLI_OK;

	*ret_result = NULL;
	if (has_body) {
		body = json_dumps(request->body, JSON_COMPACT);
	}
	json_decref(request->query);
	json_decref(request->body);
	call.path = path;
	call.body = body;
	if (cli->registry == NULL) {
		rc = open_registry(cli);
		failure.is_final = true;
	}
	if (rc == CLI_OK && (path == NULL || (has_body && body == NULL))) {
		cli_say(cli, "out of memory");
		rc = CLI_REFUSED;
	} else if (rc == CLI_OK) {
		failure.is_final = false;
		rc = perform(cli, request, &call, ret_result, &failure);
		if (rc != CLI_OK && !request->is_tried) {
			cli_say(cli, "%s", failure.text);
		}
	}
	free(path);
	free(body);
	if (ret_failure != NULL) {
		*ret_failure = failure;
	}
	return rc;
}

enum cli_exit registry_call(struct cli *cli, const char *method, const char *path, json_t *query,
	json_t *body, json_t **ret_result)
{
	const struct registry_request request = {
		.method = method, .path = path, .query = query, .body = body};

	return registry_request(cli, &request, ret_result, NULL);
}

bool registry_path(
	const struct cli *cli, const char *id, const char *rest, char path[REGISTRY_PATH_SIZE])
{
	char *escaped = http_escape(id);
	int len = escaped == NULL || id[0] == '\0'
			  ? -1
			  : snprintf(path, REGISTRY_PATH_SIZE, "/targets/%s%s", escaped, rest);

	free(escaped);
	if (len < 0 || (size_t)len >= REGISTRY_PATH_SIZE) {
		cli_say(cli, "'%.64s' is no name of a target; 'xsan registry list' shows them", id);
		return false;
	}
	return true;
}

void registry_add_option(struct cli *cli, json_t *query, const char *option, const char *name)
{
	const char *text = cli_option(cli, option);

	if (text != NULL) {
		json_object_set_new(query, name, json_string(text[0] != '\0' ? text : "true"));
	}
}

/* ---- lists ---- */

/* Asks for the page behind `cursor`. */
static enum cli_exit list_page(
	struct cli *cli, const json_t *query, const char *cursor, uint64_t count, json_t **ret_page)
{
	json_t *copy = json_copy((json_t *)query);
	char text[32];

	snprintf(text, sizeof(text), "%u", count < PAGE ? (unsigned)count : PAGE);
	json_object_set_new(copy, "limit", json_string(text));
	if (cursor != NULL) {
		json_object_set_new(copy, "cursor", json_string(cursor));
	}
	return registry_call(cli, "GET", "/targets", copy, NULL, ret_page);
}

enum cli_exit registry_list(
	struct cli *cli, json_t *query, uint64_t limit, json_t **ret_targets, json_t **ret_page)
{
	json_t *targets = json_array(), *page = NULL, *next;
	const char *cursor = NULL;
	enum cli_exit rc = CLI_OK;

	for (uint32_t i = 0; rc == CLI_OK && i < PAGES_MAX; i++) {
		rc = list_page(cli, query, cursor, limit - json_array_size(targets), &next);
		if (rc != CLI_OK) {
			break;
		}
		json_decref(page);
		page = next;
		json_array_extend(targets, json_object_get(page, "targets"));
		cursor = json_string_value(json_object_get(page, "next_cursor"));
		if (cursor == NULL || json_array_size(targets) >= limit ||
			json_array_size(json_object_get(page, "targets")) == 0) {
			break;
		}
	}
	json_decref(query);
	if (rc != CLI_OK) {
		json_decref(targets);
		json_decref(page);
		return rc;
	}
	*ret_targets = targets;
	*ret_page = page;
	return CLI_OK;
}

/* ---- files ---- */

bool registry_may_write(const struct cli *cli, const char *path)
{
	struct stat st;

	/* By renaming, a device or a directory would not be written but replaced. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		cli_say(cli, "%s is no regular file; name another", path);
		return false;
	}
	return true;
}

char *registry_read_file(const struct cli *cli, const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = NULL, *more;
	size_t len = 0, size = 0, got = 1;

	if (file == NULL) {
		cli_say(cli, "%s cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	while (got != 0 && len <= FILE_MAX) {
		if (len + 1 >= size) {
			size = size != 0 ? 2 * size : 65536;
			more = realloc(text, size);
			if (more == NULL) {
				errno = ENOMEM;
				break;
			}
			text = more;
		}
		got = fread(text + len, 1, size - len - 1, file);
		len += got;
	}
	if (got != 0 || ferror(file) != 0) {
		cli_say(cli, "%s cannot be read: %s", path,
			len > FILE_MAX ? "it is larger than 64 MiB" : strerror(errno));
		free(text);
		text = NULL;
	} else {
		text[len] = '\0';
	}
	if (file != stdin) {
		fclose(file);
	}
	if (text != NULL && strlen(text) != len) {
		cli_say(cli, "%s is no text: it has a byte 0", path);
		free(text);
		text = NULL;
	}
	return text;
}

json_t *registry_read_json(const struct cli *cli, const char *path)
{
	char *text = registry_read_file(cli, path);
	json_error_t where = {0};
	json_t *object;

	if (text == NULL) {
		return NULL;
	}
	object = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	free(text);
	if (!json_is_object(object)) {
		if (object == NULL) {
			cli_say(cli, "%s:%d:%d: %s", path, where.line, where.column, where.text);
		} else {
			cli_say(cli, "%s has no JSON object { … } in it", path);
		}
		json_decref(object);
		return NULL;
	}
	return object;
}

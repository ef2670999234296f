/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry of NVMe-oF targets, as the commands of `xsan registry` call it: REST over HTTP, see
 * docs/registry-rest.md. Which registry, and who we are, say options that all of them take, or the
 * environment. One connection is kept for a run of xsan.
 */
#ifndef XSAN_REGISTRY_H
#define XSAN_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

#define REGISTRY_DEFAULT_URL "http://127.0.0.1:8080"

/* The options of all commands that call a registry, for the end of their tables. */
#define REGISTRY_OPTIONS                                                                           \
	{"url", 0, "URL",                                                                          \
		"the registry (default: $XSAN_REGISTRY_URL, else " REGISTRY_DEFAULT_URL ")"},      \
		{"token", 0, "TOKEN", "who we are (default: $XSAN_REGISTRY_TOKEN)"},               \
		{"token-file", 0, "FILE", "file whose first line is the token", CLI_FILES},        \
		{"ca", 0, "FILE", "who has signed the registry's certificate (PEM)", CLI_FILES},   \
		{"cert", 0, "FILE", "our certificate (PEM), for a registry that asks for one",     \
			CLI_FILES},                                                                \
		{"key", 0, "FILE", "its key (PEM)", CLI_FILES},                                    \
	{                                                                                          \
		0                                                                                  \
	}

struct registry;

/* The address that is called, for sentences. Before the first call: the one that will be. */
const char *registry_url(struct cli *cli);
/* Ends the connection and forgets the token. */
void registry_hang_up(struct cli *cli);

struct registry_request {
	const char *method;
	const char *path;    /* behind "/api/v1", escaped */
	json_t *query;       /* an object of texts, taken; NULL: none */
	json_t *body;        /* taken; NULL: none */
	const char *header;  /* one more; NULL: none */
	uint64_t timeout_ms; /* 0: cli->timeout_ms */
	bool is_tried;       /* what is refused is not said */
	/* Takes what comes, of this type, instead of it being read as JSON; false ends the call,
	 * which is no failure. The result is NULL. */
	const char *type;
	bool (*on_data)(void *arg, const char *data, size_t len);
	void *arg;
	uint32_t quiet_s; /* not 0: the answer has no end, but is never silent for so long */
};

/* What became of a call that did not go well, for those that look further. */
struct registry_failure {
	unsigned status; /* HTTP; 0: there was no answer */
	bool is_final;   /* another try would fail in the same way */
	char text[1024]; /* what was said, or would have been */
};

/*
 * Calls the registry. CLI_OK with a new result, or what xsan is to exit with, after saying why:
 * CLI_REFUSED, CLI_UNREACHABLE, CLI_USAGE for options that cannot be; the result is NULL then.
 * `ret_failure` (may be NULL) is written when it is not CLI_OK.
 */
enum cli_exit registry_request(struct cli *cli, const struct registry_request *request,
	json_t **ret_result, struct registry_failure *ret_failure);
/* The same for what most commands want. */
enum cli_exit registry_call(struct cli *cli, const char *method, const char *path, json_t *query,
	json_t *body, json_t **ret_result);

/* "/targets/ID" and a rest, with the id escaped, to `path`. False: the id is too long for a target,
 * which has been said. */
#define REGISTRY_PATH_SIZE 512u
bool registry_path(
	const struct cli *cli, const char *id, const char *rest, char path[REGISTRY_PATH_SIZE]);

/* Adds an option's text to a query under the name the registry has for it, where it was given. */
void registry_add_option(struct cli *cli, json_t *query, const char *option, const char *name);

/* All targets that the query (taken) finds, page by page, at most `limit`: an array with `members`
 * of the last page set in *ret_page (both new). */
enum cli_exit registry_list(
	struct cli *cli, json_t *query, uint64_t limit, json_t **ret_targets, json_t **ret_page);

/* Whether a file may be written there: nothing is there, or a regular file. Else it has been said.
 */
bool registry_may_write(const struct cli *cli, const char *path);
/* Reads a file as text, "-": standard input; at most 64 MiB. NULL: it has been said why. */
char *registry_read_file(const struct cli *cli, const char *path);
/* The same as a JSON object. */
json_t *registry_read_json(const struct cli *cli, const char *path);

#endif

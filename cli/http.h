/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls of an HTTP server (libcurl), one at a time, each within a time and a size. For programs
 * that wait for their answer: every call blocks. Proxies of the environment and redirections are
 * not followed: a token is for the server that was named and for nobody else.
 */
#ifndef XSAN_HTTP_H
#define XSAN_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MAX_ANSWER (256u << 20) /* bytes that are kept in memory */

struct http;
struct xu_error;

/* All borrowed until http_free(); NULL where there is none. */
struct http_opts {
	const char *url;       /* http://HOST:PORT or https://HOST:PORT */
	const char *token;     /* bearer token */
	const char *ca_path;   /* PEM: who has signed the server's certificate */
	const char *cert_path; /* PEM: who we are */
	const char *key_path;
};

/* -EINVAL: the address, the token or the files cannot be those of a call. */
int http_new(const struct http_opts *opts, struct http **ret_http, struct xu_error *err);
void http_free(struct http *http); /* NULL is fine */

struct http_answer {
	unsigned status;
	char *body; /* ends with a NUL that is not counted; NULL of what went to `on_data` */
	size_t len;
	char content_type[64]; /* without its parameters */
	bool is_final;         /* of a call that failed: another try would fail in the same way */
};

struct http_request {
	const char *method;
	const char *path;    /* with the leading '/', escaped */
	const char *body;    /* JSON; NULL: none */
	const char *header;  /* one more, "Name: value"; NULL: none */
	uint64_t timeout_ms; /* of all of it; 0: of the connection only, for what has no end */
	uint32_t quiet_s;    /* fails when nothing comes for so long; 0: never */
	/* Takes the body of an answer with status 200 and the type `type` as it comes; false ends
	 * the call with -ECANCELED. NULL: the body is collected. */
	const char *type;
	bool (*on_data)(void *arg, const char *data, size_t len);
	void *arg;
};

/*
 * 0: there was an answer, whatever its status; its body is to be freed. Otherwise -errno with a
 * sentence: what was tried, why it failed, what to do; what came of the answer is kept in it all
 * the same. -EINVAL: the server was named in a wrong way, or a file is none of what it should be.
 */
int http_call(struct http *http, const struct http_request *request, struct http_answer *ret_answer,
	struct xu_error *err);

/* Appends a text to a path or a query, escaped. NULL: no memory; to be freed. */
char *http_escape(const char *text);

#endif

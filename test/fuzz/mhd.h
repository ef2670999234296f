/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmicrohttpd in memory, for the fuzzer of the registry's REST interface: what lib/rpc/http calls
 * of it is here instead. A connection has one request, whose parts come as the real one hands them
 * over; the caller's thread is the server's, other threads may only resume connections.
 */
#ifndef TEST_FUZZ_MHD_H
#define TEST_FUZZ_MHD_H

#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;

/* Borrowed during mhd_open(). */
struct mhd_request {
	const char *method, *target; /* PATH?QUERY */
	const char *headers;         /* "Name: value" in lines */
	const char *body;
	size_t body_len;
};

/* The connection comes to the one server there is and goes on to the request's end. */
struct MHD_Connection *mhd_open(const struct mhd_request *request);
/* Goes on until the answer is there, or the end of what a stream has now. With `may_stay` not
 * further than to where it waits for others, and false is returned then. */
bool mhd_run(struct MHD_Connection *connection, bool may_stay);
/* The client goes. */
void mhd_close(struct MHD_Connection *connection);

/* Of an answer. A stream's text is what there was of it so far. */
unsigned mhd_status(const struct MHD_Connection *connection);
const char *mhd_text(const struct MHD_Connection *connection);
const char *mhd_header(const struct MHD_Connection *connection, const char *name); /* NULL: none */

#endif

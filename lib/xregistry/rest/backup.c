/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET /backup: all that is durable, as the file that the backend keeps it in. The store makes a
 * copy beside its writer; it is sent as it was at the copy's end. A registry that stops gives up
 * one that is not made yet, and a client that goes ends the sending.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/util/log.h"
#include "lib/xregistry/rest/private.h"

struct backup {
	struct xreg_copy copy;
	struct xreg_rest *rest;
	struct xrpc_http_call *call;
};

static ssize_t on_read(void *arg, char *buf, size_t size)
{
	struct backup *backup = arg;
	ssize_t got;

	do {
		got = read(backup->copy.fd, buf, size);
	} while (got < 0 && errno == EINTR);
	return got > 0 ? got : got == 0 ? -1 : -2;
}

static void on_gone(void *arg)
{
	struct backup *backup = arg;

	close(backup->copy.fd);
	free(backup);
}

static bool is_wanted(struct xreg_copy *copy)
{
	struct backup *backup = (struct backup *)copy;

	return !xreg_waits_has_ended(backup->rest->opts.waits);
}

static void on_copied(struct xreg_copy *copy)
{
	struct backup *backup = (struct backup *)copy;
	unsigned status = copy->rc == -ECANCELED ? 503 : rest_status_of(copy->rc);

	if (copy->rc != 0) {
		xrpc_http_problem(backup->call, status, NULL, "%s", copy->err.text);
		free(backup);
		return;
	}
	xrpc_http_add_header(
		backup->call, "Content-Disposition", "attachment; filename=\"xsan-registry.db\"");
	xrpc_http_answer_stream(backup->call, "application/vnd.sqlite3",
		&(struct xrpc_http_stream){on_read, on_gone, backup});
}

void rest_backup(struct xrpc_http_call *call, void *arg)
{
	static const char *const known[] = {NULL};
	struct xreg_rest *rest = arg;
	struct backup *backup;
	int rc;

	if (!rest_query_check(call, known)) {
		return;
	}
	backup = calloc(1, sizeof(*backup));
	if (backup == NULL) {
		xrpc_http_problem(call, 500, NULL, "no memory");
		return;
	}
	/* Who reads changes is in the log of those already; who takes all of the data is too. */
	xu_info(rest->opts.audit_log, "GET %s by %s from %s (request %s)", xrpc_http_path(call),
		xrpc_http_who(call), xrpc_http_from(call), xrpc_http_id(call));
	backup->copy.is_wanted = is_wanted;
	backup->copy.done = on_copied;
	backup->rest = rest;
	backup->call = call;
	xrpc_http_untimed(call);
	xrpc_http_later(call);
	rc = xreg_store_copy(rest->opts.store, &backup->copy);
	if (rc != 0) {
		free(backup);
		xrpc_http_problem(call, 501, NULL,
			"the backend of this registry makes no copies; use what it has itself");
	}
}

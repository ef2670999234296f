/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocking queries, as Consul has them: ?index=N waits until the registry is newer than revision N,
 * at most ?wait= (5 minutes unless told), with up to a sixteenth more so that not all who waited
 * ask again at once. A return does not imply a change of what was asked for.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/xregistry/rest/private.h"

#define WAIT_MS (300u * 1000u)

struct blocked {
	struct xreg_wait wait;
	struct xreg_rest *rest;
	struct xrpc_http_call *call;
	void (*fn)(struct xreg_rest *rest, struct xrpc_http_call *call);
};

static void on_due(struct xreg_wait *wait, uint64_t revision)
{
	struct blocked *blocked = (struct blocked *)wait;

	blocked->fn(blocked->rest, blocked->call);
	free(blocked);
}

void rest_when_newer(struct xreg_rest *rest, struct xrpc_http_call *call,
	void (*fn)(struct xreg_rest *rest, struct xrpc_http_call *call))
{
	uint64_t index = UINT64_MAX, wait_ms = WAIT_MS;
	struct xreg_view *view;
	struct blocked *blocked;
	bool must_wait;

	if (!rest_query_number(call, "index", 0, UINT64_MAX - 1, &index) ||
		!rest_query_wait(call, &wait_ms)) {
		return;
	}
	view = xreg_store_view(rest->opts.store);
	/* One that is yet to come was told by other data than this: no reason to wait. */
	must_wait = index != UINT64_MAX && index == xreg_view_revision(view);
	xreg_view_unref(view);
	blocked = must_wait ? calloc(1, sizeof(*blocked)) : NULL;
	if (blocked == NULL) {
		fn(rest, call);
		return;
	}
	wait_ms += (uint64_t)random() % (wait_ms / 16 + 1);
	*blocked = (struct blocked){.wait = {.revision = index,
					    .deadline_ns = xreg_clock_ns() + wait_ms * 1000000u,
					    .fn = on_due},
		.rest = rest,
		.call = call,
		.fn = fn};
	xrpc_http_untimed(call);
	xrpc_http_later(call);
	xreg_waits_add(rest->opts.waits, &blocked->wait);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams that nodes call their own: each is the sign that its node lives. Something is said on all
 * of them several times a second, and a node whose machine acknowledges nothing of it is looked at
 * at once (monitor.h), as is one whose stream begins or ends.
 */
#ifndef LIB_XREGISTRY_REST_OWN_H
#define LIB_XREGISTRY_REST_OWN_H

#include <stdint.h>

#include "lib/rpc/http.h"
#include "lib/util/list.h"
#include "lib/xregistry/monitor.h"
#include "lib/xregistry/wait.h"

/* A stream whose machine is silent for so long is closed; by then it has long been looked at. */
#define REST_OWN_SILENCE_MS 2000u

struct rest_own {
	struct xu_list node;
	struct xrpc_http_call *call;
	const char *node_id;  /* of whom it is; outlives this */
	uint32_t nr_unheard;  /* ticks in a row that found nothing acknowledged since the one before
			       */
	_Atomic bool is_tick; /* to be said when the stream is read next; it takes this back */
};

struct rest_owns;

int rest_owns_start(struct xreg_waits *waits, struct xreg_monitor *monitor,
	struct rest_owns **ret_owns, struct xu_error *err);
/* When there is no stream any more; NULL is fine. */
void rest_owns_stop(struct rest_owns *owns);

/* The stream has begun. `call` and `node_id` are set. */
void rest_own_begin(struct rest_owns *owns, struct rest_own *own);
/* It has ended; when this returns nothing of it is used any more. */
void rest_own_end(struct rest_owns *owns, struct rest_own *own);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine that was cut off or has lost its power says no good-bye, and a connection on which
 * nobody speaks does not notice. So the registry speaks: a tick (an empty comment of the stream) on
 * every stream each 100 ms, and less often when there are more than 666, so that ticks never
 * cost more than a small part of a processor. At each tick it is seen whether the node's machine,
 * whose kernel answers however busy its programs are, has acknowledged anything since the tick
 * before, if there was anything to acknowledge. Twice not: the node is silent and is looked at;
 * nothing is closed or decided by that. When it is heard again, it has come back.
 *
 * The list belongs to the mutex. The ticks come from the thread of the waits, with its lock held,
 * which is taken before the mutex. Without streams there are none.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xregistry/rest/own.h"

#define TICK_NS          100000000ull
#define TICK_PER_NODE_NS 150000ull
#define TICK_MAX_NS      1000000000ull
#define NR_UNHEARD       2u

struct rest_owns {
	struct xreg_waits *waits;
	struct xreg_monitor *monitor;
	struct xreg_wait wait;
	uint64_t ticked_ns;          /* the last time; the waits' */
	pthread_mutex_t first_mutex; /* of those who take the wait off and add it */

	pthread_mutex_t mutex; /* of what follows */
	struct xu_list streams;
	uint32_t nr_streams;
};

static void look_at(struct rest_owns *owns, const struct rest_own *own, enum xreg_look why)
{
	if (!xreg_waits_has_ended(owns->waits)) {
		xreg_monitor_look(owns->monitor, own->node_id, why);
	}
}

static void tick(struct rest_owns *owns, struct rest_own *own, uint32_t since_ms)
{
	bool was_silent = own->nr_unheard >= NR_UNHEARD;

	own->nr_unheard = xrpc_http_is_heard(own->call, since_ms) ? 0 : own->nr_unheard + 1;
	if (own->nr_unheard == NR_UNHEARD) {
		look_at(owns, own, XREG_LOOK_SILENT);
	} else if (own->nr_unheard == 0 && was_silent) {
		look_at(owns, own, XREG_LOOK_COME);
	}
	own->is_tick = true;
	xrpc_http_wake(own->call);
}

static uint64_t next_ns(uint64_t now_ns, uint32_t nr_streams)
{
	uint64_t ns = nr_streams * TICK_PER_NODE_NS;

	if (nr_streams == 0) {
		return UINT64_MAX;
	}
	ns = ns > TICK_NS ? ns : TICK_NS;
	return now_ns + (ns < TICK_MAX_NS ? ns : TICK_MAX_NS);
}

static void on_due(struct xreg_wait *wait, uint64_t revision)
{
	struct rest_owns *owns = xu_container_of(wait, struct rest_owns, wait);
	uint64_t now_ns = xreg_clock_ns();
	uint32_t since_ms = (uint32_t)((now_ns - owns->ticked_ns) / 1000000);
	struct xu_list *pos;

	pthread_mutex_lock(&owns->mutex);
	xu_list_for_each (pos, &owns->streams) {
		tick(owns, xu_list_entry(pos, struct rest_own, node), since_ms);
	}
	wait->deadline_ns = next_ns(now_ns, owns->nr_streams);
	pthread_mutex_unlock(&owns->mutex);
	owns->ticked_ns = now_ns;
}

int rest_owns_start(struct xreg_waits *waits, struct xreg_monitor *monitor,
	struct rest_owns **ret_owns, struct xu_error *err)
{
	struct rest_owns *owns = calloc(1, sizeof(*owns));

	if (owns == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the REST interface");
	}
	owns->waits = waits;
	owns->monitor = monitor;
	owns->ticked_ns = xreg_clock_ns();
	pthread_mutex_init(&owns->first_mutex, NULL);
	pthread_mutex_init(&owns->mutex, NULL);
	xu_list_init(&owns->streams);
	owns->wait = (struct xreg_wait){.revision = UINT64_MAX,
		.deadline_ns = UINT64_MAX,
		.is_lasting = true,
		.fn = on_due};
	xreg_waits_add(waits, &owns->wait);
	*ret_owns = owns;
	return 0;
}

void rest_owns_stop(struct rest_owns *owns)
{
	if (owns != NULL) {
		xreg_waits_remove(owns->waits, &owns->wait);
		pthread_mutex_destroy(&owns->mutex);
		pthread_mutex_destroy(&owns->first_mutex);
		free(owns);
	}
}

/* There was no stream, so there were no ticks. */
static void begin_ticks(struct rest_owns *owns)
{
	pthread_mutex_lock(&owns->first_mutex);
	xreg_waits_remove(owns->waits, &owns->wait);
	owns->wait.deadline_ns = 0;
	xreg_waits_add(owns->waits, &owns->wait);
	pthread_mutex_unlock(&owns->first_mutex);
}

void rest_own_begin(struct rest_owns *owns, struct rest_own *own)
{
	bool is_first;

	pthread_mutex_lock(&owns->mutex);
	xu_list_add_tail(&owns->streams, &own->node);
	is_first = owns->nr_streams++ == 0;
	pthread_mutex_unlock(&owns->mutex);
	if (is_first) {
		begin_ticks(owns);
	}
	look_at(owns, own, XREG_LOOK_COME);
}

void rest_own_end(struct rest_owns *owns, struct rest_own *own)
{
	pthread_mutex_lock(&owns->mutex);
	xu_list_del(&own->node);
	owns->nr_streams--;
	pthread_mutex_unlock(&owns->mutex);
	look_at(owns, own, XREG_LOOK_GONE);
}

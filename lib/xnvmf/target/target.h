/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVMe-oF target: subsystems, namespaces, allowed hosts and listeners on an xbdev context.
 * Every call here is for the context's control reactor; the callbacks run there too. Every listener
 * also answers as a discovery controller.
 *
 * What lives where: subsystems, listeners, controllers' identities and the choice of a reactor for
 * each connection belong to the control reactor. Each reactor has a group with its own copy of what
 * commands need (the namespaces and their channels), changed by a message that visits all reactors.
 */
#ifndef XNVMF_TARGET_H
#define XNVMF_TARGET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/util/uuid.h"
#include "lib/xnvmf/wire/nqn.h"

struct xbdev_ctx;
struct xnvmf_subsystem;
struct xnvmf_target;
struct xu_error;

#define XNVMF_NSID_MAX      1024u
#define XNVMF_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"

struct xnvmf_target_opts {
	uint32_t in_capsule_data_size; /* bytes of write data in a command capsule, 0 … 64 KiB,
					  multiple of 16; default 8192 */
	uint32_t max_io_size;          /* bytes, a power of two, 8 KiB … 4 MiB; default 1 MiB */
	uint32_t max_h2c_data;         /* largest R2T, bytes; 0: max_io_size */
	uint32_t max_queue_depth;      /* entries of an I/O queue, 16 … 4096; default 128 */
	uint32_t max_queues;           /* I/O queues of a controller, 1 … 1024; default 64 */
	uint32_t max_connections;      /* of the whole target; default 1024 */
	uint64_t max_buffer_bytes;     /* data buffers, per reactor: see xbdev_ctx_opts */
	uint32_t connect_timeout_ms;   /* from accept to Connect; default 10000 */
};

void xnvmf_target_opts_default(struct xnvmf_target_opts *opts);

/* Makes a target without subsystems. One per context. */
int xnvmf_target_new(struct xbdev_ctx *ctx, const struct xnvmf_target_opts *opts,
	struct xnvmf_target **ret_target, struct xu_error *err);

/* Stops listening, ends every connection, removes every subsystem; then `cb`. Bounded: commands
 * that the kernel still owns are waited for, everything else ends at once. -EBUSY: it has been
 * stopped already, or is being; the `cb` of that call alone comes. */
int xnvmf_target_stop(struct xnvmf_target *target, void (*cb)(void *arg), void *arg);
/* Frees a stopped target (or one that never had a subsystem). NULL is fine. */
void xnvmf_target_free(struct xnvmf_target *target);

/* The options the target was made with. */
const struct xnvmf_target_opts *xnvmf_target_get_opts(const struct xnvmf_target *target);

/* ---- subsystems ---- */

struct xnvmf_subsystem_opts {
	const char *nqn;
	const char *serial_number; /* 1 … 20 printable ASCII; NULL: made from the NQN */
	const char *model_number;  /* 1 … 40; NULL: "XSAN" */
	bool allow_any_host;
	uint32_t max_namespaces; /* the highest NSID; 0: 32; at most XNVMF_NSID_MAX */
};

/* -EINVAL: malformed NQN and so on; -EEXIST. */
int xnvmf_subsystem_add(struct xnvmf_target *target, const struct xnvmf_subsystem_opts *opts,
	struct xnvmf_subsystem **ret_subsystem, struct xu_error *err);

/* Ends its connections, takes its namespaces and listeners away; then `cb` with its memory gone.
 * -EBUSY: a removal is under way; the `cb` of that one alone comes. */
int xnvmf_subsystem_remove(struct xnvmf_subsystem *subsystem, void (*cb)(void *arg), void *arg);

struct xnvmf_subsystem *xnvmf_subsystem_find(struct xnvmf_target *target, const char *nqn);
/* The next in order of creation; NULL starts and ends. */
struct xnvmf_subsystem *xnvmf_subsystem_next(
	struct xnvmf_target *target, struct xnvmf_subsystem *subsystem);
/* The discovery subsystem, which is in neither of these; NULL once the target has been stopped. It
 * is there to be looked at: the calls that change a subsystem are not for it. */
struct xnvmf_subsystem *xnvmf_target_discovery(struct xnvmf_target *target);
const char *xnvmf_subsystem_nqn(const struct xnvmf_subsystem *subsystem);

/* Who may connect. Taking the right away ends that host's connections. -EEXIST, -ENOENT. */
int xnvmf_subsystem_add_host(
	struct xnvmf_subsystem *subsystem, const char *host_nqn, struct xu_error *err);
int xnvmf_subsystem_remove_host(
	struct xnvmf_subsystem *subsystem, const char *host_nqn, struct xu_error *err);
void xnvmf_subsystem_allow_any_host(struct xnvmf_subsystem *subsystem, bool allow);

/* While it is drained, new associations are refused as with a controller that is busy; those that
 * there are go on. */
void xnvmf_subsystem_set_draining(struct xnvmf_subsystem *subsystem, bool is_draining);

/* What counts in place of a subsystem's own configuration, as long as it is set. */
struct xnvmf_policy {
	uint32_t queue_depth;     /* entries of an I/O queue; 0: the target's max_queue_depth */
	uint32_t max_controllers; /* at a time; 0: no limit */
	bool has_hosts;           /* these, in place of the subsystem's own: */
	bool allow_any_host;
	const char *const *hosts; /* NQNs */
	uint32_t nr_hosts;
	bool is_read_only; /* all namespaces, besides those that are by themselves */
};

/*
 * Sets it, or with NULL takes it back: all of it, or on failure nothing. Hosts that may not be here
 * any more are ended; depth and number count for those that come, for one has been told its depth
 * when it came. Writes that have begun end as they would have. -EINVAL, -ENOSPC, -ENOMEM.
 */
int xnvmf_subsystem_set_policy(
	struct xnvmf_subsystem *subsystem, const struct xnvmf_policy *policy, struct xu_error *err);
/* What counts now, from the policy or not: {"is_set", "queue_depth", "max_connections" (0: no
 * limit), "allow_any_host", "hosts", "read_only"}. New reference. */
json_t *xnvmf_subsystem_policy_json(const struct xnvmf_subsystem *subsystem);

/* ---- namespaces ---- */

/* No identifier may be that of another namespace of the target, in whatever subsystem: -EEXIST. */
struct xnvmf_ns_opts {
	uint32_t nsid; /* 0: the lowest free one */
	const char *device;
	struct xu_uuid uuid; /* null: the device's UUID */
	uint8_t nguid[16];   /* zero: from the UUID */
	uint8_t eui64[8];    /* zero: none */
	bool read_only;
};

/*
 * Opens and claims the device; when every reactor has a channel to it, shows it to the hosts and
 * calls `cb` (may be NULL) with an error of code 0. When one reactor cannot have a channel nothing
 * is shown, the device is closed again, and `cb` is told why. 0: on its way, *ret_nsid tells which;
 * -errno with a sentence: nothing happened.
 */
int xnvmf_ns_add(struct xnvmf_subsystem *subsystem, const struct xnvmf_ns_opts *opts,
	uint32_t *ret_nsid, void (*cb)(void *arg, const struct xu_error *err), void *arg,
	struct xu_error *err);

/* Takes it away from every host, waits for its commands, closes the device; then `cb`. -ENOENT. */
int xnvmf_ns_remove(struct xnvmf_subsystem *subsystem, uint32_t nsid, void (*cb)(void *arg),
	void *arg, struct xu_error *err);

/* ---- listeners ---- */

struct xnvmf_listener_opts {
	const char *trtype;    /* "tcp" */
	const char *traddr;    /* numeric address to listen on */
	const char *trsvcid;   /* port, decimal; "0": any free one */
	const char *advertise; /* address told to hosts; NULL: traddr. Needed when traddr is a
				  wildcard and the node is to appear in discovery logs beyond the
				  connection's own address */
};

/* Several subsystems may share one address and port. -EEXIST, -EADDRINUSE, -EINVAL. */
int xnvmf_listener_add(struct xnvmf_subsystem *subsystem, const struct xnvmf_listener_opts *opts,
	struct xu_error *err);
/* Ends the connections of this subsystem that came this way, of I/O queues too; a host that cannot
 * lose a single queue loses the association with it. -ENOENT. */
int xnvmf_listener_remove(struct xnvmf_subsystem *subsystem, const char *traddr,
	const char *trsvcid, struct xu_error *err);

/* ---- for people and programs: new JSON values ---- */

/* As SPDK's nvmf_get_subsystems describes one; the discovery subsystem comes first in the list. */
json_t *xnvmf_target_subsystems_json(struct xnvmf_target *target);
/* As in the configuration file ("nvmf.subsystems"), with the identities of the namespaces. */
json_t *xnvmf_target_config_json(struct xnvmf_target *target);
/* SPDK's nvmf_subsystem_get_controllers, _get_qpairs, _get_listeners. */
json_t *xnvmf_subsystem_controllers_json(struct xnvmf_subsystem *subsystem);
json_t *xnvmf_subsystem_qpairs_json(struct xnvmf_subsystem *subsystem);
json_t *xnvmf_subsystem_listeners_json(struct xnvmf_subsystem *subsystem);
/* Counters of the target: connections, controllers, commands refused, by reactor. */
json_t *xnvmf_target_stats_json(struct xnvmf_target *target);

#endif

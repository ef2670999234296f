/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery service of a target. What its log shows comes from an implementation: the target's
 * own subsystems unless its owner sets another, as the registry does, which makes it a central
 * discovery controller. Everything here is the control reactor's, the implementation's calls too.
 *
 * A log is read in pieces, of which each renders the entries it asks for and no more. Between the
 * pieces the reader's view stays as it was when offset 0 was read. A view has a change counter,
 * which moves only when what that host sees has changed and is never lower than before, also after
 * a restart.
 */
#ifndef XNVMF_TARGET_DISCOVERY_H
#define XNVMF_TARGET_DISCOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/xnvmf/target/target.h"
#include "lib/xnvmf/wire/nvme.h"

/* What a reader may ask for (Get Log Page, LSP); also the bits of DLPF. */
#define XNVMF_DISCOVERY_EXTENDED   0x01u /* entries with attributes */
#define XNVMF_DISCOVERY_PORT_LOCAL 0x02u /* of the port that it came by */
#define XNVMF_DISCOVERY_ALL        0x04u /* whatever its host NQN may use */
/* Of the log of hosts. */
#define XNVMF_DISCOVERY_ALL_HOSTS 0x01u /* also those that may use nothing of the reader's */

#define XNVMF_DISCOVERY_ENTRY_MAX 2048u /* bytes of an extended entry, at most */

/* Who asks. Borrowed during the call. */
struct xnvmf_discovery_asker {
	const char *hostnqn;
	const uint8_t *hostid; /* 16 bytes */
	const char *address;   /* the host's */
	const char *own_address;
	uint16_t own_port;  /* own address and port are those that it came by */
	bool is_controller; /* it says that it is a discovery controller itself (CATTR bit 4) */
	uint32_t options; /* those of XNVMF_DISCOVERY_… that it asked for and that are offered */
};

struct xnvmf_discovery_info {
	uint64_t genctr;
	uint32_t nr_entries;
	uint32_t entry_bytes; /* of each: 1024, or more when they are extended */
	uint32_t options;     /* of those that were asked for, what has been done */
};

/* ---- Discovery Information Management ---- */

/* An entry of a request. Texts are terminated and printable; which of them mean something depends
 * on what registers. */
struct xnvmf_dim_entry {
	uint8_t trtype, adrfam, subtype, treq;
	uint16_t portid, cntlid, asqsz;
	uint8_t security; /* byte 0 of TSAS */
	bool has_hostid;
	uint8_t hostid[NVME_EXAT_HOSTID_BYTES];
	char trsvcid[33];
	char nqn[XNVMF_NQN_MAX + 1];
	char address[257]; /* the peer's own when it left that to us */
	char label[NVME_EXAT_LABEL_BYTES + 1];
};

struct xnvmf_req; /* the target's */

/* A request that has been checked. The implementation's until it is answered. */
struct xnvmf_dim {
	uint32_t task;                   /* NVME_DIM_REGISTER … */
	uint32_t entity;                 /* NVME_DIM_ENTITY_… */
	bool is_port_local;              /* the entries are those of one port of it, no more */
	bool is_key_port;                /* what an entry is known by: its port, not its address */
	char eid[XNVMF_NQN_MAX + 1];     /* who registers */
	char ename[257], ever[65];       /* its name and version; without the spaces behind them */
	char hostnqn[XNVMF_NQN_MAX + 1]; /* of the connection */
	char address[64];                /* of the peer */
	void *owner_data;                /* the implementation's */
	struct xnvmf_req *req;           /* the target's */
	uint32_t nr_entries;             /* of an update: 2, the old and the new one */
	struct xnvmf_dim_entry entries[];
};

/* Answers a request with a status (NVME_SC_…), once, and frees it. */
void xnvmf_dim_done(struct xnvmf_dim *dim, uint16_t status);

/* ---- kick-start ---- */

/* A discovery controller that asks to be read. Borrowed during the call. */
struct xnvmf_kick_start {
	const char *address; /* of the peer */
	uint32_t nr_entries; /* that it is going to register */
	uint32_t nr_records;
	const struct xnvmf_kick_record {
		uint8_t trtype, adrfam;
		char trsvcid[33];
		char address[257];
	} * records; /* where it listens; none of them has been checked beyond being text */
};

/* Why a kick-start is refused. */
enum xnvmf_kick_result {
	XNVMF_KICK_TAKEN = 0,
	XNVMF_KICK_NO_INFORMATION = 1,
	XNVMF_KICK_TRTYPE = 2,
	XNVMF_KICK_ADRFAM = 3,
	XNVMF_KICK_ADRFAM_MISMATCH = 4,
	XNVMF_KICK_TRSVCID = 5,
	XNVMF_KICK_FULL = 6,
};

/* ---- the implementation ---- */

/* A log: the targets that a host may use (70h), or the hosts themselves (71h). */
struct xnvmf_discovery_log_ops {
	uint32_t options; /* XNVMF_DISCOVERY_… that are offered */
	/* A view of the log as that host sees it now, with one more reference. NULL: no memory. */
	void *(*pin)(void *arg, const struct xnvmf_discovery_asker *asker);
	void (*unpin)(void *arg, void *view);
	void (*describe)(const void *view, struct xnvmf_discovery_info *ret_info);
	/* Writes the entries first … first + count - 1, all of which exist, to `buf`. */
	void (*render)(const void *view, uint32_t first, uint32_t count, void *buf);
	/* The change counter that pin() would give; 0: no memory. Asked for each connected host
	 * after a change, so it must be cheap. */
	uint64_t (*genctr)(void *arg, const struct xnvmf_discovery_asker *asker);
};

struct xnvmf_discovery_ops {
	struct xnvmf_discovery_log_ops log;
	/* The log of hosts, whose entries are always extended. NULL: there is none. Who has read it
	 * on its connection is told of changes. */
	const struct xnvmf_discovery_log_ops *hosts;
	/* Takes a request, and answers it by xnvmf_dim_done(), now or later, in any case. NULL: the
	 * command does not exist. */
	void (*dim)(void *arg, struct xnvmf_dim *dim);
	/* NULL: connections of that kind are not known. */
	enum xnvmf_kick_result (*kick_start)(void *arg, const struct xnvmf_kick_start *kick);
};

struct xnvmf_discovery_opts {
	const struct xnvmf_discovery_ops *ops; /* borrowed for the target's life, like `arg` */
	void *arg;
	const char *nqn;    /* of this service alone, beside the well-known one; NULL: none */
	const char *serial; /* NULL: made from the NQN */
	bool is_central;    /* DCTYPE tells so */
};

/* Sets the implementation, before there are connections. -EBUSY, -EEXIST, -EINVAL. */
int xnvmf_target_set_discovery(
	struct xnvmf_target *target, const struct xnvmf_discovery_opts *opts, struct xu_error *err);

/* Something that the log shows has changed: after a short while, which gathers bursts, the hosts
 * whose counter has moved are told. */
void xnvmf_target_discovery_changed(struct xnvmf_target *target);

/* ---- listeners for discovery alone ---- */

/* As xnvmf_listener_add() and _remove(). */
int xnvmf_discovery_listen(
	struct xnvmf_target *target, const struct xnvmf_listener_opts *opts, struct xu_error *err);
int xnvmf_discovery_unlisten(
	struct xnvmf_target *target, const char *traddr, const char *trsvcid, struct xu_error *err);

/* Fills in an entry of subtype 3 for each of those listeners, as seen by a host that came by
 * `own_address`; returns how many, at most `max`. */
uint32_t xnvmf_discovery_own_entries(struct xnvmf_target *target, const char *own_address,
	struct nvme_discovery_entry *entries, uint32_t max);

/* ---- who is connected ---- */

struct xnvmf_discovery_host {
	const char *hostnqn;
	const uint8_t *hostid; /* 16 bytes */
	const char *address;
	uint16_t port;
	const char *own_address;
	uint16_t cntlid;
	bool is_persistent; /* with keep-alive: it is told of changes */
	bool is_controller; /* a discovery controller itself */
	uint64_t age_ms;    /* since its Connect */
};

/* Calls `fn` for each until it returns false; what it is given is borrowed during the call, in
 * which nothing may be changed. */
void xnvmf_discovery_each_host(struct xnvmf_target *target,
	bool (*fn)(void *arg, const struct xnvmf_discovery_host *host), void *arg);

#endif

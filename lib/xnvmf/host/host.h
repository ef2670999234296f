/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVMe/TCP host: the device driver `nvmf`, which makes a namespace of a remote subsystem a
 * block device, and reading a discovery log. See README.md for what is guaranteed when connections
 * break.
 */
#ifndef XNVMF_HOST_H
#define XNVMF_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xbdev_ctx;
struct xbdev_driver;
struct xu_error;

/* The driver `nvmf`, for xbdev's table of drivers. One device is one namespace with an association
 * of its own. Its parameters include those of SPDK's bdev_nvme_attach_controller, by those names.
 */
extern const struct xbdev_driver xnvmf_host_driver;

/* ---- discovery ---- */

struct xnvmf_host_discover_opts {
	const char *traddr;  /* numeric IPv4 or IPv6 address */
	uint16_t port;       /* 0: 8009 */
	const char *subnqn;  /* NULL: the well-known discovery NQN */
	const char *hostnqn; /* NULL: this machine's */
	bool hdr_digest, data_digest;
	uint32_t timeout_ms; /* of all of it; 0: 30 s */
};

/* An entry of the log, its texts terminated and printable. */
struct xnvmf_host_entry {
	uint8_t trtype, adrfam, subtype, treq;
	uint16_t portid, cntlid, asqsz, eflags;
	char trsvcid[33];
	char subnqn[224];
	char traddr[257];
};

/* `entries` are borrowed; on failure there are none and err says why. */
typedef void (*xnvmf_host_discovered_fn)(void *arg, const struct xnvmf_host_entry *entries,
	size_t nr_entries, uint64_t genctr, const struct xu_error *err);

/*
 * Reads the discovery log of the controller at an address, whole and of one generation. Calls `cb`
 * once, later, on the context's control reactor, whose thread must call; borrows opts for the call.
 */
void xnvmf_host_discover(struct xbdev_ctx *ctx, const struct xnvmf_host_discover_opts *opts,
	xnvmf_host_discovered_fn cb, void *arg);

#endif

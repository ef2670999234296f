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

/* What of its log a controller is asked for (Get Log Page, LSP). One that does not take that is
 * asked for its log without. */
#define XNVMF_HOST_EXTENDED   0x01u /* entries with their attributes, where they are known */
#define XNVMF_HOST_PORT_LOCAL 0x02u /* of the port that we came by, no more */
#define XNVMF_HOST_ALL        0x04u /* whatever our host NQN may use */

struct xnvmf_host_discover_opts {
	const char *traddr;  /* numeric IPv4 or IPv6 address */
	uint16_t port;       /* 0: 8009 */
	const char *subnqn;  /* NULL: the well-known discovery NQN */
	const char *hostnqn; /* NULL: this machine's */
	bool hdr_digest, data_digest;
	uint32_t timeout_ms;     /* of all of it, and of each time that it is read; 0: 30 s */
	uint32_t nr_entries_max; /* a longer log is a failure; 0: 4096 */
	bool is_controller;      /* we are a discovery controller ourselves (CATTR bit 4) */
	uint32_t options; /* XNVMF_HOST_…; PORT_LOCAL is not asked of a central controller */
	uint32_t kato_ms; /* a reader's: stay connected, with this keep-alive; 0: do not */
};

/* An entry of the log, its texts terminated and printable. */
struct xnvmf_host_entry {
	uint8_t trtype, adrfam, subtype, treq;
	uint16_t portid, cntlid, asqsz, eflags;
	uint8_t sectype; /* byte 0 of TSAS */
	char trsvcid[33];
	char subnqn[224];
	char traddr[257];
	char label[257]; /* of its administrator, UTF-8 without control characters; "": none */
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

/*
 * A reader stays connected where the controller lets it (KATO, and events of the discovery log) and
 * reads the log again when that has changed. Where it does not, the reader ends after the first
 * log. All of it is the control reactor's.
 */
struct xnvmf_host_reader;

/* A log and whose it is. Borrowed during the call; the last one of a reader that does not stay
 * connected until end() has returned. */
struct xnvmf_host_log {
	const struct xnvmf_host_entry *entries;
	size_t nr_entries;
	uint32_t nr_left_out; /* whose texts are longer than they can be */
	uint64_t genctr;
	const char *subnqn; /* of Identify: the unique name of the service; "" when it tells none */
	bool is_central;    /* DCTYPE */
	bool is_persistent; /* more may come */
};

struct xnvmf_host_reader_ops {
	void (*log)(void *arg, const struct xnvmf_host_log *log);
	/* Once, later, and the last of it: err->code is 0 after close, and after the log of one
	 * that does not stay connected. */
	void (*end)(void *arg, const struct xu_error *err);
};

/* Borrows opts for the call. NULL: no memory. */
struct xnvmf_host_reader *xnvmf_host_reader_open(struct xbdev_ctx *ctx,
	const struct xnvmf_host_discover_opts *opts, const struct xnvmf_host_reader_ops *ops,
	void *arg);
/* Reads again though nobody has told of a change. */
void xnvmf_host_reader_again(struct xnvmf_host_reader *reader);
void xnvmf_host_reader_close(struct xnvmf_host_reader *reader);

#endif

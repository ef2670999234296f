/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a service on _nvme-disc._tcp says (NVMe over TCP, mDNS-based discovery; RFC 6763 for the TXT
 * record), and what follows from it. Bytes in, facts out: nothing of Avahi is here.
 *
 * Keys of the TXT record:
 *  p       "tcp"; what says another transport, or none, is left alone
 *  nqn     the NQN of the discovery controller; none or the well-known one: it has no other
 *  subnqn  ours: an NVM subsystem that is reached at this very address and port, a target then
 * A service is a discovery controller unless it has subnqn and no nqn.
 */
#ifndef LIB_XREGISTRY_MDNS_SERVICE_H
#define LIB_XREGISTRY_MDNS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/xregistry/ddc.h"
#include "lib/xregistry/target.h"

#define XREG__MDNS_LABEL_SIZE 64u /* of an instance's name, with its NUL */

/* Keys of the metadata of targets that were found. */
#define XREG_MDNS_NAME "mdns.name"
#define XREG_MDNS_HOST "mdns.host"

/* Begin with zeros; then add each string of the record. */
struct xreg__mdns_txt {
	bool has_p, has_nqn, has_subnqn; /* a key counts once, the first time */
	bool is_tcp;
	bool is_bad; /* an NQN is no text or too long */
	char nqn[XNVMF_NQN_MAX + 1], subnqn[XNVMF_NQN_MAX + 1];
};

void xreg__mdns_txt_add(struct xreg__mdns_txt *txt, const void *string, size_t len);

/* An instance where it is reached. Texts are borrowed. */
struct xreg__mdns_seen {
	const char *name, *host, *address;
	uint32_t port;
	bool is_loopback; /* heard on a loopback interface, by who is for this machine alone */
	const struct xreg__mdns_txt *txt;
};

/* What it is. A value without pointers. */
struct xreg__mdns_service {
	bool is_ddc, is_target;
	struct xreg_ddc ddc; /* also where the target is */
	char subnqn[XNVMF_NQN_MAX + 1];
	char name[XREG__MDNS_LABEL_SIZE];
	char host[XREG_TEXT_MAX + 1]; /* these are fit for people, "" when what was said was not */
	char node_id[XREG_NAME_MAX + 1];
};

/* -EINVAL with a sentence: it is left alone. */
int xreg__mdns_judge(const struct xreg__mdns_seen *seen, struct xreg__mdns_service *ret_service,
	struct xu_error *err);

/* The target as it is registered; `parsed` borrows from `service`. -EINVAL with a sentence. */
int xreg__mdns_spec(
	const struct xreg__mdns_service *service, struct xreg_parsed *parsed, struct xu_error *err);

#endif

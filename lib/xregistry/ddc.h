/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery controllers that the registry knows of (DDCs), from which it may read entries. Each
 * source keeps its own part of the list: the configuration, mDNS, DHCP, kick-start, referrals of
 * those that are read. One is known by
 * its address and port for as long as a source names it. What gets in has been checked: a numeric
 * address of one machine that can be reached from here, never this registry itself. That there is
 * really a discovery controller has been checked by nobody.
 *
 * Any thread.
 */
#ifndef LIB_XREGISTRY_DDC_H
#define LIB_XREGISTRY_DDC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/reactor/platform.h"
#include "lib/xnvmf/wire/nqn.h"

struct xreg_ddcs;
struct xu_error;

#define XREG_DDCS_MAX     1024u /* of all sources together */
#define XREG_DDC_WATCHERS 8u

/* In the order in which their word on the NQN counts. */
enum xreg_ddc_source {
	XREG_DDC_STATIC, /* discovery.discovery_controllers of the configuration */
	XREG_DDC_MDNS,
	XREG_DDC_DHCP,
	XREG_DDC_KICK,     /* it has asked to be read (kick-start) */
	XREG_DDC_REFERRAL, /* another one that is read names it */
	XREG_DDC_NR_SOURCES,
};

/* A value without pointers: copied freely. */
struct xreg_ddc {
	char address[XR_ADDRESS_SIZE]; /* numeric, in the form that inet_ntop() writes */
	uint16_t port;
	char nqn[XNVMF_NQN_MAX + 1]; /* "": not known, ask for the well-known one; never that */
	uint32_t sources;            /* a bit, 1 << enum xreg_ddc_source, for each that names it */
};

/*
 * Fills *ret_ddc, without sources. `nqn` may be NULL, "" or the well-known name. -EINVAL with a
 * sentence: no numeric address, one that stands for many (0.0.0.0, ::, multicast, broadcast) or
 * that is another machine for each interface (link-local), port 0, or no NQN.
 */
int xreg_ddc_make(const char *address, uint32_t port, const char *nqn, struct xreg_ddc *ret_ddc,
	struct xu_error *err);

int xreg_ddcs_new(struct xreg_ddcs **ret_ddcs); /* -ENOMEM */
/* Nobody watches any more. NULL is fine. */
void xreg_ddcs_free(struct xreg_ddcs *ddcs);

/* Who this registry is as a discovery controller, to keep it out of the list; also throws it out
 * when it is in it already. `address` is what it listens on, 0.0.0.0 and :: too. */
void xreg_ddcs_set_own(struct xreg_ddcs *ddcs, const char *nqn, const char *address, uint16_t port);

/*
 * A source names one more, or no longer. `ddc` is what xreg_ddc_make() gave. -ELOOP: it is this
 * registry; -ENOSPC: the list is full; -ENOENT: that source did not name it. To name one again is
 * fine, and takes its NQN.
 */
int xreg_ddcs_add(struct xreg_ddcs *ddcs, enum xreg_ddc_source source, const struct xreg_ddc *ddc,
	struct xu_error *err);
int xreg_ddcs_remove(
	struct xreg_ddcs *ddcs, enum xreg_ddc_source source, const struct xreg_ddc *ddc);
/* Whether a place is this registry itself, as set_own() was told. */
bool xreg_ddcs_is_own(struct xreg_ddcs *ddcs, const char *address, uint16_t port);
/* All that a source names, instead of what it named before. What -ELOOP or -ENOSPC is for add() is
 * left out; returns how many are in. */
uint32_t xreg_ddcs_replace(struct xreg_ddcs *ddcs, enum xreg_ddc_source source,
	const struct xreg_ddc *list, uint32_t count);

/* Changes with each change of the list, upwards. */
uint64_t xreg_ddcs_revision(struct xreg_ddcs *ddcs);
/* A copy of the list, in no order, to be freed with free(). -ENOMEM. */
int xreg_ddcs_copy(struct xreg_ddcs *ddcs, struct xreg_ddc **ret_list, uint32_t *ret_count,
	uint64_t *ret_revision);
/* [{"address", "port", "nqn", "sources": ["mdns"…]}…]. New reference; NULL: no memory. */
json_t *xreg_ddcs_json(struct xreg_ddcs *ddcs);
const char *xreg_ddc_source_name(uint32_t source);

/*
 * `changed` is called after each change of the list, on the thread that made it, one call at a
 * time. It should only wake somebody: it may read the list, but not change it, nor watch or
 * unwatch. -ENOSPC. After xreg_ddcs_unwatch() it is not running any more.
 */
int xreg_ddcs_watch(struct xreg_ddcs *ddcs, void (*changed)(void *arg), void *arg);
void xreg_ddcs_unwatch(struct xreg_ddcs *ddcs, void (*changed)(void *arg), void *arg);

#endif

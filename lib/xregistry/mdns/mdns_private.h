/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of this folder share: the thread with its client of avahi-daemon (mdns.c), what is
 * seen (browse.c), what is announced (publish.c). All but `shared` belongs to the thread. */
#ifndef LIB_XREGISTRY_MDNS_PRIVATE_H
#define LIB_XREGISTRY_MDNS_PRIVATE_H

#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/domain.h>
#include <avahi-common/simple-watch.h>
#include <pthread.h>

#include "lib/util/log.h"
#include "lib/xregistry/mdns/mdns.h"
#include "lib/xregistry/mdns/service.h"

#define XREG__MDNS_TYPE    "_nvme-disc._tcp"
#define XREG__MDNS_SUBTYPE "_cdc._sub._nvme-disc._tcp" /* of central ones */

/* One instance as one interface and protocol show it. */
struct xreg__mdns_item {
	struct xreg_mdns *mdns;
	bool is_used;
	AvahiIfIndex interface;
	AvahiProtocol protocol;
	char name[XREG__MDNS_LABEL_SIZE];
	char type[AVAHI_DOMAIN_NAME_MAX], domain[AVAHI_DOMAIN_NAME_MAX];
	AvahiServiceResolver *resolver; /* stays, and tells of changes; NULL: at retry_ms again */
	uint64_t retry_ms;
	bool is_waiting; /* never answered so far */
	bool is_good;    /* `service` is what it says; else it is left alone */
	struct xreg__mdns_service service;
};

enum xreg__mdns_phase {
	XREG__MDNS_IDLE, /* nothing is looked for */
	XREG__MDNS_STARTING,
	XREG__MDNS_MISSING, /* there is no daemon, see problem */
	XREG__MDNS_LOOKING, /* what there is has not been seen as a whole */
	XREG__MDNS_SETTLED,
	XREG__MDNS_STOPPED,
};

struct xreg__mdns_shared {
	pthread_mutex_t mutex;
	pthread_cond_t has_settled; /* or failed, or is over */
	bool is_over;               /* the thread has ended */
	enum xreg__mdns_phase phase;
	char problem[256];
	struct xreg__mdns_service *targets; /* XREG_MDNS_SERVICES_MAX */
	uint32_t nr_targets, nr_services, nr_ignored;
	bool is_published;
	char published[XREG__MDNS_LABEL_SIZE];
};

/* What is to be done. */
struct xreg__mdns_task {
	uint32_t look; /* 0: not; another number: look anew */
	bool is_published;
};

struct xreg_mdns {
	struct xreg_mdns_opts opts; /* its texts are those below */
	char nqn[XNVMF_NQN_MAX + 1], address[XR_ADDRESS_SIZE];
	AvahiSimplePoll *poll;
	AvahiClient *client;
	pthread_t thread;
	struct xreg__mdns_shared shared;
	/* Held while anybody outside is called: the log, the list, changed(). */
	pthread_mutex_t out_mutex;
	bool must_stop;               /* with out_mutex … */
	struct xreg__mdns_task asked; /* … and this */
	uint32_t nr_looks;            /* that were asked for */
	bool has_thread;
	bool is_left; /* the thread hangs and was left behind */

	struct xreg__mdns_task task; /* what is being done */
	uint64_t connect_ms;         /* when to try again */
	bool is_broken;              /* the client is to be made anew */
	bool was_missed;             /* the log has said so */

	/* What is seen. */
	AvahiServiceBrowser *browser;
	struct xreg__mdns_item *items;
	struct xreg__mdns_service *services; /* room for collecting */
	struct xreg_ddc *ddcs;
	uint32_t nr_dropped; /* for which there is no room */
	bool has_all, is_settled, is_dirty;
	uint64_t settle_ms, collect_ms, rebrowse_ms;

	/* What is announced. */
	AvahiEntryGroup *group;
	char name[XREG__MDNS_LABEL_SIZE];
	char host[AVAHI_DOMAIN_NAME_MAX]; /* "": that of the machine */
	uint64_t publish_ms;              /* when to try; 0: not */
	uint32_t nr_renamed;
};

uint64_t xreg__mdns_now_ms(void);
/* Logs, unless the end has been told. */
void xreg__mdns_say(struct xreg_mdns *mdns, enum xu_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The client does no longer work. */
void xreg__mdns_break(struct xreg_mdns *mdns, const char *what);

/* ---- browse.c ---- */

void xreg__mdns_browse_begin(struct xreg_mdns *mdns); /* there is a daemon */
/* What is to be done by now; returns when to call again. */
uint64_t xreg__mdns_browse_turn(struct xreg_mdns *mdns, uint64_t now_ms);
/* The client is about to be freed, and what belongs to it; what was found stays. */
void xreg__mdns_browse_end(struct xreg_mdns *mdns);
/* Whether somebody else's service, as seen so far, is called that. */
bool xreg__mdns_is_taken(const struct xreg_mdns *mdns, const char *name);

/* ---- publish.c ---- */

void xreg__mdns_publish_state(struct xreg_mdns *mdns, AvahiClientState state);
uint64_t xreg__mdns_publish_turn(struct xreg_mdns *mdns, uint64_t now_ms);
void xreg__mdns_publish_end(struct xreg_mdns *mdns);

#endif

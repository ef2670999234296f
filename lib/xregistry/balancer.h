/* SPDX-License-Identifier: BSD-3-Clause */
/* What selections remember of each other, from the inside; see select.h. */
#ifndef LIB_XREGISTRY_BALANCER_H
#define LIB_XREGISTRY_BALANCER_H

#include <pthread.h>

#include "lib/xregistry/select.h"
#include "lib/xregistry/target.h"

/* What a target was given since the last rebalancing. */
struct xreg_share {
	uint64_t key;      /* of its id; 0: the place is free */
	uint32_t nr_given; /* selections */
	double credit;     /* of XREG_WEIGHTED */
};

struct xreg_balancer {
	pthread_mutex_t mutex; /* of all below */
	struct xreg_balancer_opts opts;
	uint64_t since_ms;          /* the last rebalancing */
	char last_id[XREG_ID_SIZE]; /* whom XREG_ROUND_ROBIN chose last */
	struct xreg_share *shares;  /* a hash table, a power of two of places */
	uint32_t nr_places, nr_used;
};

/* A 64-bit hash of two texts; never 0. */
uint64_t xreg__hash64(const char *one, const char *two);

/* Under the balancer's mutex: forgets what was given when the interval is over. */
void xreg__balancer_turn(struct xreg_balancer *balancer, uint64_t now_ms);
/* The target's share; made when there is none. NULL: no memory. Until the next call. */
struct xreg_share *xreg__balancer_share(
	struct xreg_balancer *balancer, const struct xreg_target *target);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The ways in which targets are found, at the start and at a reload. Main thread. */
#ifndef XSAN_REGISTRY_FIND_H
#define XSAN_REGISTRY_FIND_H

#include <stdbool.h>

struct config;
struct registry;
struct xu_error;

/* What a configuration wants otherwise than it is, and has been made already. */
struct find_change {
	bool has_multicast, has_dhcp; /* these are others now; the argument NULL: they go */
	void *multicast, *dhcp;
};

/* Starts to find targets. What listens already is announced. */
int find_start(struct registry *registry, const struct config *config, struct xu_error *err);

/* Makes what may fail; -errno with a sentence, and nothing is there then. Else find_take() or
 * find_discard(). */
int find_prepare(struct registry *registry, const struct config *config,
	struct find_change *ret_change, struct xu_error *err);
void find_take(struct registry *registry, const struct config *config, struct find_change *change);
void find_discard(struct find_change *change);

#endif

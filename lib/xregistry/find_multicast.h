/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding targets by multicast, a method of finder.h: asks the nodes of the networks around
 * (multicast.h), who answer with what they export. Datagrams get lost, so a round asks three times,
 * and a target goes only when its node has said so in a whole answer, or was silent for three
 * rounds.
 */
#ifndef LIB_XREGISTRY_FIND_MULTICAST_H
#define LIB_XREGISTRY_FIND_MULTICAST_H

#include "lib/xregistry/finder.h"
#include "lib/xregistry/multicast_net.h"

extern const struct xreg_find_method xreg_find_multicast;

/* Copies the options, which were checked; `log` (may be NULL) is borrowed. -ENOMEM, -EMFILE. */
int xreg_find_multicast_new(
	const struct xreg_mcast_opts *opts, struct xu_logger *log, void **ret_arg);

#endif

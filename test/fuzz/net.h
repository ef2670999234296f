/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A platform for reactors that only has a network, and whose other end is the fuzzer: a clock that
 * moves when it is told to, listeners, and connections whose bytes come and go through the calls
 * below. The seed of the options decides how bytes are cut, how long sends stay with "the kernel"
 * and how long a cancellation takes, so the same calls give the same run. One thread.
 *
 * Misuse by the code above is a finding: a descriptor closed while an operation is pending on it,
 * a buffer changed while it is being sent, descriptors or operations left at the end.
 */
#ifndef TEST_FUZZ_NET_H
#define TEST_FUZZ_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reactor/platform.h"

struct net;
struct net_sock;

enum net_cut {
	NET_CUT_AS_SENT, /* one receive gets what one net_send() gave, or a part of it */
	NET_CUT_JOINED,  /* all there is */
	NET_CUT_RANDOM,
	NET_CUT_BYTES, /* one at a time */
};

struct net_opts {
	uint64_t seed;
	enum net_cut cut;
	bool has_slow_sends;   /* a send takes several rounds */
	bool has_slow_cancels; /* so does a cancellation */
};

struct net *net_new(const struct net_opts *opts);
/* All reactors on it must have been freed, all sockets released and closed (checked). */
void net_free(struct net *net);
const struct xr_platform *net_platform(const struct net *net);

/* A round of the caller's loop has begun: lets `ns` of time pass. */
void net_tick(struct net *net, uint64_t ns);

/* From now on receives get all there is. */
void net_join(struct net *net);

/* Descriptors that the code above has open; listeners among them. */
uint32_t net_nr_open(const struct net *net);
uint32_t net_nr_listeners(const struct net *net);

/* ---- the other end ---- */

/* Connects to a port. `output` gets the bytes that come back, in order; it must not call the
 * network. NULL when nobody listens. */
struct net_sock *net_connect(struct net *net, uint16_t port,
	void (*output)(void *arg, const uint8_t *data, size_t len), void *arg);
void net_send(struct net_sock *sock, const void *data, size_t len);
/* Ends this side: orderly, or by a reset that takes what is unread with it. */
void net_end(struct net_sock *sock, bool is_reset);
/* Sends to a blocked socket do not get on. */
void net_block(struct net_sock *sock, bool is_blocked);
/* The code above still has the connection and has not shut it down. */
bool net_is_alive(const struct net_sock *sock);
/* It has taken everything that was sent. */
bool net_is_drained(const struct net_sock *sock);
/* Ends this side if that has not been done, and forgets the socket. */
void net_release(struct net_sock *sock);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: how a rebuild makes room for those who use the array. All on the
 * owner.
 *
 * What requests take while nothing is rebuilt is kept in a histogram: the idle p99. While something
 * is, the requests are counted that take half as long again as that; twice would be the most that
 * is bearable. The rebuild's speed falls to a half when they are more than one in 200, or when all
 * together take half as long again as they did; it rises when they are fewer than half as many. Now
 * and then the rebuild rests for a moment, so that what idle means is of the present load.
 */
#ifndef XBDEV_RAID_PULSE_H
#define XBDEV_RAID_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define XBDEV_MD_PULSE_BUCKETS 256u

struct xbdev_md_pulse {
	/* Idle: powers of two in quarters. */
	uint32_t buckets[XBDEV_MD_PULSE_BUCKETS];
	uint32_t nr_idle;
	uint64_t idle_ns;  /* all of them together */
	uint64_t nr_fresh; /* idle ones since the rest began */
	uint64_t bearable_ns;
	/* Beside a rebuild, in this window. */
	uint32_t nr_beside, nr_slow;
	uint64_t beside_ns;
	uint64_t window_ns; /* when it began */
	/* The rebuild's speed. */
	uint64_t speed_kib;
	uint64_t credit, credit_ns; /* sectors that it may take, and since when */
	bool is_resting;            /* or nothing is rebuilt */
	uint64_t rest_ns;           /* when the last rest began */
};

void xbdev__md_pulse_init(struct xbdev_md_pulse *pulse);

/* A request has taken so long; was_quiet: nothing was rebuilt when it came. */
void xbdev__md_pulse_record(struct xbdev_md_pulse *pulse, uint64_t took_ns, bool was_quiet);

/* What a request may take at most beside a rebuild; 0: not known. */
uint64_t xbdev__md_pulse_p99_ns(const struct xbdev_md_pulse *pulse);

/*
 * The array is in use and a rebuild wants to do `sectors` of each member: 0, it may; else in how
 * many nanoseconds to ask again.
 */
uint64_t xbdev__md_pulse_ask(struct xbdev_md_pulse *pulse, uint64_t now_ns, uint64_t sectors);

#endif

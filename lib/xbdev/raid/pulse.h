/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: how a rebuild makes room for those who use the array. All on the
 * owner.
 *
 * Requests are told apart: those that met a step of the rebuild, because one was under way while
 * they were, and those that met none. What the latter take is kept in a histogram, the idle one,
 * and half as long again as its p99 is bearable: twice would be the most. Of all requests one in
 * 200 may take longer than that, beside those that do anyway, and all together may take a quarter
 * longer than idle ones. The rebuild's speed follows: it falls by as much as the share is
 * too high, and rises while it is well below. So a step that many requests would notice is begun
 * rarely, and one that nobody notices as often as the members can.
 *
 * Where most requests meet a step, those that do not are the short ones and no measure; then the
 * rebuild rests now and then, and when it begins under a load that it does not know. A rest is a
 * moment at the least speed. Of very many requests one in a few is looked at. Steps are begun one
 * by one, as far from each other as the speed says, so that they do not add up.
 *
 * What a step has written may be with the members for longer than the step: a cache that is
 * emptied later makes requests slower which met none. So an idle p99 that rises is not believed
 * before a long rest, of which the end counts, has shown it: then it is another load.
 */
#ifndef XBDEV_RAID_PULSE_H
#define XBDEV_RAID_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define XBDEV_MD_PULSE_BUCKETS 256u
#define XBDEV_MD_PULSE_MET     UINT64_MAX

/* What a step is paced by, in KiB/s of each member. */
struct xbdev_md_pulse_limits {
	uint64_t min_kib; /* 0: MD's, 1024 */
	uint64_t max_kib; /* 0: none; goes before the other */
};

struct xbdev_md_pulse {
	/* Idle requests: powers of two in eighths. */
	uint32_t buckets[XBDEV_MD_PULSE_BUCKETS];
	uint32_t nr_idle;
	uint64_t idle_ns;     /* all of them together */
	uint32_t nr_fresh;    /* since the last rest */
	uint64_t bearable_ns; /* 0: not known */
	uint32_t nr_tail;     /* of NR_IN_TAIL idle ones: those that take longer */
	uint64_t known_ns;    /* the idle p99 that is believed; 0: any will be */
	bool is_doubtful;     /* it seems to be higher */
	/* Steps. */
	uint32_t nr_busy;
	uint64_t nr_begun;
	/* Requests that have ended in this window. */
	uint32_t nr_seen, nr_met, nr_slow;
	uint64_t seen_ns;   /* all together */
	uint64_t window_ns; /* when it began */
	uint64_t granted;   /* sectors */
	bool is_crowded;    /* most of the last one's met a step */
	uint32_t sample;    /* one request in so many is looked at, a power of two */
	/* The rebuild's speed. */
	uint64_t speed_kib;
	uint64_t due_ns;  /* when the next step may begin */
	bool is_used;     /* there are requests beside the rebuild, */
	bool is_resting;  /* and it rests, */
	uint64_t rest_ns; /* since then, or the last rest was then */
	bool is_long;     /* the rest is, */
	bool is_settling; /* and what is seen does not count yet */
	uint64_t long_ns; /* the last such one began then */
};

void xbdev__md_pulse_init(struct xbdev_md_pulse *pulse);

/* A step begins, and ends. */
static inline void xbdev__md_pulse_begin(struct xbdev_md_pulse *pulse)
{
	pulse->nr_begun++;
	pulse->nr_busy++;
}

static inline void xbdev__md_pulse_end(struct xbdev_md_pulse *pulse)
{
	pulse->nr_busy--;
}

/* Is the request with this number one of those that are timed? */
static inline bool xbdev__md_pulse_is_sample(const struct xbdev_md_pulse *pulse, uint64_t number)
{
	return (number & (pulse->sample - 1)) == 0;
}

/* A request comes: what is to be given back with it when it has ended. */
static inline uint64_t xbdev__md_pulse_mark(const struct xbdev_md_pulse *pulse)
{
	return pulse->nr_busy > 0 ? XBDEV_MD_PULSE_MET : pulse->nr_begun;
}

/* A request has taken so long. */
void xbdev__md_pulse_record(struct xbdev_md_pulse *pulse, uint64_t took_ns, uint64_t mark);

/* The p99 of idle requests, or a little more; 0: not known. */
uint64_t xbdev__md_pulse_p99_ns(const struct xbdev_md_pulse *pulse);

/*
 * The array is in use and a rebuild wants to do `sectors` of each member: 0, it may; else in how
 * many nanoseconds to ask again.
 */
uint64_t xbdev__md_pulse_ask(struct xbdev_md_pulse *pulse, uint64_t now_ns, uint64_t sectors,
	const struct xbdev_md_pulse_limits *limits);

/* Nobody uses the array now. Whoever comes next may bring another load. */
void xbdev__md_pulse_relax(struct xbdev_md_pulse *pulse);

#endif

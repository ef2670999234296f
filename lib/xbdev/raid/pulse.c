/* SPDX-License-Identifier: BSD-3-Clause */
/* See pulse.h. Nothing here does I/O or has timers: it is told the time, and asked. */
#include "lib/xbdev/raid/pulse.h"

#include <string.h>

#include "lib/util/clock.h"

#define MIN_SPEED_KIB   1024u /* as MD's: a rebuild always goes on */
#define FIRST_SPEED_KIB (16u << 10)
#define MAX_SPEED_KIB   (64u << 20)
#define MAX_STEP_NS     (100 * XU_NS_PER_MS) /* between two steps, whatever the limits are */
#define MAX_IDLE        8192u                /* then half of each bucket is forgotten */
#define NR_IN_TAIL      10000u
#define LIMIT           200u /* one slow request in so many */
/* A window: long enough to tell one in 200, or so short that many slow ones end it. */
#define MIN_WINDOW_NS (10 * XU_NS_PER_MS)
#define MAX_WINDOW_NS XU_NS_PER_S
#define MANY_SEEN     4000u
#define MANY_SLOW     32u
#define MAX_SAMPLE    16u
/* Rests. */
#define REST_EVERY_NS XU_NS_PER_S
#define MIN_REST_NS   (20 * XU_NS_PER_MS)
#define MAX_REST_NS   (50 * XU_NS_PER_MS)
#define FIRST_REST_NS (250 * XU_NS_PER_MS) /* at most, when nothing is known */
#define REST_SAMPLES  400u
#define OLD_SAMPLES   1024u /* that count beside those of a rest */
#define LONG_EVERY_NS (10 * XU_NS_PER_S)
#define LONG_REST_NS  (1200 * XU_NS_PER_MS)
#define SETTLING_NS   (900 * XU_NS_PER_MS) /* of it */

void xbdev__md_pulse_init(struct xbdev_md_pulse *pulse)
{
	memset(pulse, 0, sizeof(*pulse));
	pulse->speed_kib = FIRST_SPEED_KIB;
	pulse->sample = MAX_SAMPLE;
}

/* ---- the idle p99 ---- */

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t log = ns < 8 ? 3 : 63 - (uint32_t)__builtin_clzll(ns);
	uint32_t bucket = (log - 3) * 8 + (uint32_t)(ns >> (log - 3) & 7);

	return bucket < XBDEV_MD_PULSE_BUCKETS ? bucket : XBDEV_MD_PULSE_BUCKETS - 1;
}

static uint64_t end_of(uint32_t bucket)
{
	return (uint64_t)(8 + bucket % 8 + 1) << (bucket / 8);
}

static void forget_half(struct xbdev_md_pulse *pulse)
{
	uint64_t mean_ns = pulse->nr_idle == 0 ? 0 : pulse->idle_ns / pulse->nr_idle;

	pulse->nr_idle = 0;
	for (uint32_t i = 0; i < XBDEV_MD_PULSE_BUCKETS; i++) {
		pulse->buckets[i] /= 2;
		pulse->nr_idle += pulse->buckets[i];
	}
	pulse->idle_ns = mean_ns * pulse->nr_idle;
}

static void forget_all(struct xbdev_md_pulse *pulse)
{
	memset(pulse->buckets, 0, sizeof(pulse->buckets));
	pulse->nr_idle = 0;
	pulse->idle_ns = 0;
	pulse->bearable_ns = pulse->known_ns = 0;
}

uint64_t xbdev__md_pulse_p99_ns(const struct xbdev_md_pulse *pulse)
{
	uint64_t above = 0;

	for (uint32_t i = XBDEV_MD_PULSE_BUCKETS; i-- > 0;) {
		above += pulse->buckets[i];
		if (above > 0 && above * 100 >= pulse->nr_idle) {
			return end_of(i);
		}
	}
	return 0;
}

/* What is bearable, and how many bear more than that when nothing is rebuilt. The p99 is known to
 * an eighth. */
static void measure(struct xbdev_md_pulse *pulse)
{
	uint64_t p99_ns = xbdev__md_pulse_p99_ns(pulse), above = 0;

	if (pulse->known_ns == 0 || p99_ns < pulse->known_ns) {
		pulse->known_ns = p99_ns;
	}
	pulse->is_doubtful = p99_ns > pulse->known_ns + pulse->known_ns / 8;
	if (pulse->is_doubtful) {
		pulse->bearable_ns = (pulse->known_ns + pulse->known_ns / 8) * 3 / 2;
		return;
	}
	pulse->bearable_ns = p99_ns * 3 / 2;
	for (uint32_t i = bucket_of(pulse->bearable_ns) + 1; i < XBDEV_MD_PULSE_BUCKETS; i++) {
		above += pulse->buckets[i];
	}
	pulse->nr_tail = pulse->nr_idle == 0 ? 0 : (uint32_t)(above * NR_IN_TAIL / pulse->nr_idle);
}

void xbdev__md_pulse_record(struct xbdev_md_pulse *pulse, uint64_t took_ns, uint64_t mark)
{
	bool has_met = mark != pulse->nr_begun;
	/* One that the whole machine held up says little of all others. */
	uint64_t most_ns = pulse->bearable_ns == 0 ? UINT64_MAX : 8 * pulse->bearable_ns;
	uint64_t ns = took_ns < most_ns ? took_ns : most_ns;

	pulse->nr_seen++;
	pulse->seen_ns += ns;
	pulse->nr_slow += took_ns > pulse->bearable_ns && pulse->bearable_ns != 0;
	if (has_met) {
		pulse->nr_met++;
	} else if (!pulse->is_crowded || pulse->is_resting) {
		pulse->buckets[bucket_of(took_ns)]++;
		pulse->nr_fresh++;
		pulse->idle_ns += ns;
		if (++pulse->nr_idle >= MAX_IDLE) {
			forget_half(pulse);
		}
	}
}

/* ---- windows and rests ---- */

static void begin_window(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	uint64_t took_ns = now_ns - pulse->window_ns;

	measure(pulse);
	/* To time a request costs a tenth of what the fastest take: as many as a window wants. */
	if (pulse->nr_seen * MIN_WINDOW_NS > 2 * MANY_SEEN * took_ns) {
		pulse->sample = pulse->sample < MAX_SAMPLE ? pulse->sample * 2 : MAX_SAMPLE;
	} else if (pulse->nr_seen * MIN_WINDOW_NS < MANY_SEEN / 2 * took_ns && pulse->sample > 1) {
		pulse->sample /= 2;
	}
	pulse->is_crowded = pulse->nr_met > pulse->nr_seen / 2;
	pulse->nr_seen = pulse->nr_met = pulse->nr_slow = 0;
	pulse->seen_ns = pulse->granted = 0;
	pulse->window_ns = now_ns;
}

static void rest(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	pulse->is_resting = true;
	pulse->rest_ns = now_ns;
	pulse->nr_fresh = 0;
	while (pulse->nr_idle > OLD_SAMPLES) {
		forget_half(pulse);
	}
}

/* Enough has been seen of this load, or there is nothing to see. */
static bool is_rested(const struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	uint64_t most_ns = pulse->nr_idle < REST_SAMPLES ? FIRST_REST_NS : MAX_REST_NS;
	uint64_t rested_ns = now_ns - pulse->rest_ns;

	if (pulse->is_long) {
		return rested_ns >= LONG_REST_NS;
	}
	return rested_ns >= most_ns ||
	       (rested_ns >= MIN_REST_NS && pulse->nr_fresh >= REST_SAMPLES);
}

static void rest_long(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	rest(pulse, now_ns);
	pulse->is_long = pulse->is_settling = true;
	pulse->long_ns = now_ns;
}

static void rest_if_due(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	if (pulse->is_settling && now_ns - pulse->rest_ns >= SETTLING_NS) {
		pulse->is_settling = false;
		forget_all(pulse);
	}
	if (pulse->is_resting && is_rested(pulse, now_ns)) {
		pulse->is_resting = pulse->is_long = false;
		begin_window(pulse, now_ns);
	} else if (!pulse->is_resting && pulse->is_doubtful &&
		   now_ns - pulse->long_ns > LONG_EVERY_NS) {
		rest_long(pulse, now_ns);
	} else if (!pulse->is_resting && now_ns - pulse->rest_ns > REST_EVERY_NS) {
		if (pulse->nr_fresh < REST_SAMPLES) {
			rest(pulse, now_ns);
		}
		pulse->rest_ns = now_ns;
		pulse->nr_fresh = 0;
	}
}

/* ---- the speed ---- */

/* What all requests of the window took, in eighths of what idle ones take. */
static uint64_t weight(const struct xbdev_md_pulse *pulse)
{
	uint64_t idle_ns = pulse->nr_idle == 0 ? 0 : pulse->idle_ns / pulse->nr_idle;

	return idle_ns == 0 || pulse->nr_seen == 0 ? 8
						   : pulse->seen_ns / pulse->nr_seen * 8 / idle_ns;
}

/* Slow requests that would not have been without the rebuild. */
static uint64_t nr_harmed(const struct xbdev_md_pulse *pulse)
{
	uint64_t anyway = (uint64_t)pulse->nr_seen * pulse->nr_tail / NR_IN_TAIL;

	return pulse->nr_slow > anyway ? pulse->nr_slow - anyway : 0;
}

/* The members do less than they may: nothing is learnt of a higher speed. */
static bool is_held_back(const struct xbdev_md_pulse *pulse, uint64_t took_ns)
{
	return pulse->granted * XU_NS_PER_S / took_ns < pulse->speed_kib;
}

static void adapt(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	uint64_t took_ns = now_ns - pulse->window_ns, speed = pulse->speed_kib;
	uint64_t harm = nr_harmed(pulse) * LIMIT, seen = pulse->nr_seen;

	if (took_ns < MIN_WINDOW_NS ||
		(seen < MANY_SEEN && pulse->nr_slow < MANY_SLOW && took_ns < MAX_WINDOW_NS)) {
		return;
	}
	if (harm > seen) {
		speed = harm > 4 * seen ? speed / 4 : speed * seen / harm;
	} else if (weight(pulse) > 10) {
		speed -= speed / 4;
	} else if (weight(pulse) < 10 && !is_held_back(pulse, took_ns)) {
		bool is_easy = harm * 4 <= seen && weight(pulse) < 9;

		speed += is_easy ? speed : harm * 4 <= 3 * seen ? speed / 8 : 0;
	}
	speed = speed < MIN_SPEED_KIB ? MIN_SPEED_KIB : speed;
	pulse->speed_kib = speed > MAX_SPEED_KIB ? MAX_SPEED_KIB : speed;
	begin_window(pulse, now_ns);
}

/* From one step to the next. */
static uint64_t step_ns(const struct xbdev_md_pulse *pulse, uint64_t sectors,
	const struct xbdev_md_pulse_limits *limits)
{
	uint64_t least = limits->min_kib != 0 ? limits->min_kib : MIN_SPEED_KIB;
	uint64_t speed = pulse->is_resting || pulse->speed_kib < least ? least : pulse->speed_kib;
	uint64_t ns;

	if (limits->max_kib != 0 && speed > limits->max_kib) {
		speed = limits->max_kib;
	}
	ns = sectors * XU_NS_PER_S / 2 / speed;
	return ns < MAX_STEP_NS ? ns : MAX_STEP_NS;
}

uint64_t xbdev__md_pulse_ask(struct xbdev_md_pulse *pulse, uint64_t now_ns, uint64_t sectors,
	const struct xbdev_md_pulse_limits *limits)
{
	uint64_t ns;

	if (!pulse->is_used) {
		pulse->is_used = true;
		forget_all(pulse);
		pulse->sample = 1;
		pulse->is_long = pulse->is_settling = false;
		pulse->long_ns = now_ns;
		rest(pulse, now_ns);
		pulse->due_ns = now_ns + step_ns(pulse, sectors, limits);
	}
	rest_if_due(pulse, now_ns);
	if (!pulse->is_resting) {
		adapt(pulse, now_ns);
	}
	/* The speed may have risen since. */
	ns = step_ns(pulse, sectors, limits);
	if (pulse->due_ns > now_ns + ns) {
		pulse->due_ns = now_ns + ns;
	}
	if (pulse->due_ns > now_ns) {
		return pulse->due_ns - now_ns;
	}
	/* One that comes late makes up for it, but not for more than one step. */
	pulse->due_ns = (now_ns - pulse->due_ns < ns ? pulse->due_ns : now_ns - ns) + ns;
	pulse->granted += sectors;
	return 0;
}

void xbdev__md_pulse_relax(struct xbdev_md_pulse *pulse)
{
	pulse->is_used = false;
	pulse->sample = MAX_SAMPLE;
}

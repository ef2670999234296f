/* SPDX-License-Identifier: BSD-3-Clause */
/* See pulse.h. Nothing here does I/O or has timers: it is told the time, and asked. */
#include "lib/xbdev/raid/pulse.h"

#include <string.h>

#include "lib/util/clock.h"

#define MIN_SPEED_KIB   1024u /* as MD's: a rebuild always goes on */
#define FIRST_SPEED_KIB (16u << 10)
#define MAX_SPEED_KIB   (64u << 20)
#define WINDOW_NS       (50 * XU_NS_PER_MS)
#define MAX_WINDOW_NS   XU_NS_PER_S
#define MIN_SAMPLES     200u  /* of a window, and of a rest */
#define MAX_IDLE        8192u /* then half of each bucket is forgotten */
#define REST_EVERY_NS   (5 * XU_NS_PER_S)
#define FIRST_REST_NS   (250 * XU_NS_PER_MS) /* at most, when nothing is known */
#define REST_NS         (50 * XU_NS_PER_MS)
#define BURST_NS        XU_NS_PER_MS
#define ASK_AGAIN_NS    XU_NS_PER_MS

void xbdev__md_pulse_init(struct xbdev_md_pulse *pulse)
{
	memset(pulse, 0, sizeof(*pulse));
	pulse->speed_kib = FIRST_SPEED_KIB;
	pulse->is_resting = true;
}

/* ---- the idle p99 ---- */

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t log = ns < 4 ? 2 : 63 - (uint32_t)__builtin_clzll(ns);

	return log * 4 + (uint32_t)(ns >> (log - 2) & 3);
}

static uint64_t end_of(uint32_t bucket)
{
	return (uint64_t)(4 + bucket % 4 + 1) << (bucket / 4 - 2);
}

static void forget_half(struct xbdev_md_pulse *pulse)
{
	pulse->nr_idle = 0;
	pulse->idle_ns /= 2;
	for (uint32_t i = 0; i < XBDEV_MD_PULSE_BUCKETS; i++) {
		pulse->buckets[i] /= 2;
		pulse->nr_idle += pulse->buckets[i];
	}
}

uint64_t xbdev__md_pulse_p99_ns(const struct xbdev_md_pulse *pulse)
{
	uint32_t above = 0;

	for (uint32_t i = XBDEV_MD_PULSE_BUCKETS; i-- > 8;) {
		above += pulse->buckets[i];
		if (above > 0 && above * 100 >= pulse->nr_idle) {
			return end_of(i);
		}
	}
	return 0;
}

void xbdev__md_pulse_record(struct xbdev_md_pulse *pulse, uint64_t took_ns, bool was_quiet)
{
	if (pulse->is_resting && was_quiet) {
		pulse->buckets[bucket_of(took_ns)]++;
		pulse->nr_fresh++;
		pulse->idle_ns += took_ns;
		if (++pulse->nr_idle >= MAX_IDLE) {
			forget_half(pulse);
		}
	} else if (!pulse->is_resting) {
		pulse->nr_beside++;
		pulse->beside_ns += took_ns;
		pulse->nr_slow += took_ns > pulse->bearable_ns;
	}
}

/* ---- the speed ---- */

static void rest(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	pulse->is_resting = true;
	pulse->rest_ns = now_ns;
	pulse->nr_fresh = 0;
	if (pulse->nr_idle > MAX_IDLE / 4) {
		forget_half(pulse);
	}
}

static void begin_window(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	pulse->nr_beside = pulse->nr_slow = 0;
	pulse->beside_ns = 0;
	pulse->window_ns = now_ns;
}

/* Enough has been seen of this load, or there is nothing to see. */
static bool is_rested(const struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	uint64_t most_ns = pulse->nr_idle < MIN_SAMPLES ? FIRST_REST_NS : REST_NS;

	return pulse->nr_fresh >= MIN_SAMPLES || now_ns - pulse->rest_ns >= most_ns;
}

/* Do requests take half as long again as they do when nothing is rebuilt? */
static bool is_heavy(const struct xbdev_md_pulse *pulse)
{
	return pulse->nr_idle > 0 && pulse->nr_beside > 0 &&
	       pulse->beside_ns / pulse->nr_beside * 2 > pulse->idle_ns / pulse->nr_idle * 3;
}

static void adapt(struct xbdev_md_pulse *pulse, uint64_t now_ns)
{
	uint64_t took_ns = now_ns - pulse->window_ns, speed = pulse->speed_kib;

	if (took_ns < WINDOW_NS || (pulse->nr_beside < MIN_SAMPLES && took_ns < MAX_WINDOW_NS)) {
		return;
	}
	if (pulse->nr_slow * 200 > pulse->nr_beside || is_heavy(pulse)) {
		speed /= 2;
	} else if (pulse->nr_slow * 400 <= pulse->nr_beside) {
		speed += speed / 4;
	}
	speed = speed < MIN_SPEED_KIB ? MIN_SPEED_KIB : speed;
	pulse->speed_kib = speed > MAX_SPEED_KIB ? MAX_SPEED_KIB : speed;
	begin_window(pulse, now_ns);
}

/* How many sectors go through in so long. */
static uint64_t in_time(const struct xbdev_md_pulse *pulse, uint64_t ns)
{
	return pulse->speed_kib * 2 * (ns / 1000) / (XU_NS_PER_S / 1000);
}

uint64_t xbdev__md_pulse_ask(struct xbdev_md_pulse *pulse, uint64_t now_ns, uint64_t sectors)
{
	uint64_t most = in_time(pulse, BURST_NS);

	if (!pulse->is_resting && now_ns - pulse->rest_ns > REST_EVERY_NS) {
		rest(pulse, now_ns);
	}
	if (pulse->is_resting) {
		if (pulse->rest_ns == 0) {
			rest(pulse, now_ns);
		}
		if (!is_rested(pulse, now_ns)) {
			return ASK_AGAIN_NS;
		}
		pulse->is_resting = false;
		pulse->bearable_ns = xbdev__md_pulse_p99_ns(pulse) * 3 / 2;
		pulse->credit = 0;
		pulse->credit_ns = now_ns;
		begin_window(pulse, now_ns);
	}
	adapt(pulse, now_ns);
	pulse->credit += in_time(pulse, now_ns - pulse->credit_ns);
	pulse->credit_ns = now_ns;
	most = most > sectors ? most : sectors;
	pulse->credit = pulse->credit < most ? pulse->credit : most;
	if (pulse->credit >= sectors) {
		pulse->credit -= sectors;
		return 0;
	}
	return (sectors - pulse->credit) * XU_NS_PER_S / 2 / pulse->speed_kib + 1;
}

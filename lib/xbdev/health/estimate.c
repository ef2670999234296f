/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules. Each fact allows a percentage at most, and the lowest decides:
 *
 *   endurance used, wear %            100 - wear
 *   spare blocks above their limit    their share of what there is at first
 *   the disk expects to fail          10
 *   spare blocks below their limit    20
 *   bad sectors, or data lost         90, from 10 on 75, from 100 on 50, from 1000 on 25
 *   operations of ours that failed    100 - their share, 99 for the first
 *
 * Time left comes from wear alone: what of the endurance is left, at the rate at which it was used.
 * That rate is what was written lately, once a day of it has been seen and the disk tells both its
 * writes and its wear; else the average of all the time that the disk was on. A disk tells wear in
 * whole percent, so below 1 % there is nothing to calculate with.
 */
#include <stdarg.h>
#include <stdio.h>

#include "lib/xbdev/health/estimate.h"
#include "lib/xbdev/health/smart.h"

#define SECONDS_PER_DAY   86400u
#define HOURS_PER_DAY     24u
#define DAYS_MAX          36500u /* a hundred years */
#define OBSERVED_MIN_S    SECONDS_PER_DAY
#define POWER_ON_MIN_H    HOURS_PER_DAY
#define GIB               1073741824.0
#define FAILING_PERCENT   10
#define SPARE_LOW_PERCENT 20

/* ---- how healthy ---- */

static void allow(struct xbdev_health_verdict *v, int percentage, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void allow(struct xbdev_health_verdict *v, int percentage, const char *fmt, ...)
{
	va_list args;

	if (percentage >= v->percentage) {
		return;
	}
	v->percentage = percentage < 0 ? 0 : percentage;
	va_start(args, fmt);
	vsnprintf(v->reason, sizeof(v->reason), fmt, args);
	va_end(args);
}

static int allowed_by_count(uint64_t count)
{
	return count == 0 ? 100 : count < 10 ? 90 : count < 100 ? 75 : count < 1000 ? 50 : 25;
}

static void judge_spare(struct xbdev_health_verdict *v, const struct xbdev_smart *s)
{
	uint32_t threshold = s->spare_threshold_percent;

	if (!s->has_spare || threshold >= 100) {
		return;
	}
	allow(v,
		s->spare_percent <= threshold
			? 0
			: (int)((s->spare_percent - threshold) * 100 / (100 - threshold)),
		"%u %% of the spare blocks are left, %u %% are the least there should be",
		s->spare_percent, threshold);
}

static void judge_smart(struct xbdev_health_verdict *v, const struct xbdev_smart *s)
{
	if (s->warnings & XBDEV_SMART_READ_ONLY) {
		allow(v, 0, "the disk has become read-only");
	}
	if (s->warnings & XBDEV_SMART_FAILING) {
		allow(v, FAILING_PERCENT, "the disk says that it is failing");
	}
	if (s->has_wear) {
		allow(v, 100 - (int)(s->wear_percent < 100 ? s->wear_percent : 100),
			"%u %% of the disk's endurance is used", s->wear_percent);
	}
	judge_spare(v, s);
	if (s->warnings & XBDEV_SMART_SPARE_LOW) {
		allow(v, SPARE_LOW_PERCENT, "the disk says that it has too few spare blocks");
	}
	if (s->has_bad_sectors) {
		allow(v, allowed_by_count(s->bad_sectors), "the disk has %llu bad sectors",
			(unsigned long long)s->bad_sectors);
	}
	allow(v, allowed_by_count(s->media_errors), "the disk could not read data %llu times",
		(unsigned long long)s->media_errors);
}

static void judge_io(struct xbdev_health_verdict *v, const struct xbdev_health_facts *f)
{
	unsigned __int128 errors = f->io_errors;

	if (f->io_errors == 0 || f->io_operations == 0) {
		return;
	}
	allow(v, 100 - (int)((errors * 100 + f->io_operations - 1) / f->io_operations),
		"%llu of %llu operations have failed", (unsigned long long)f->io_errors,
		(unsigned long long)f->io_operations);
}

int xbdev_health_smart_percentage(const struct xbdev_smart *smart)
{
	struct xbdev_health_verdict v = {.percentage = 100};

	judge_smart(&v, smart);
	return v.percentage;
}

/* ---- how long ---- */

static int days(double value)
{
	return value >= DAYS_MAX ? (int)DAYS_MAX : (int)value;
}

/* By what is written now; false: not enough is known. */
static bool estimate_by_writes(struct xbdev_health_verdict *v, const struct xbdev_health_facts *f)
{
	const struct xbdev_smart *s = f->smart;
	double per_day, left;

	if (f->observed_s < OBSERVED_MIN_S || f->observed_bytes == 0 || !s->has_written ||
		s->bytes_written == 0) {
		return false;
	}
	per_day = (double)f->observed_bytes / (double)f->observed_s * SECONDS_PER_DAY;
	left = (double)s->bytes_written / s->wear_percent * (100 - s->wear_percent);
	v->days_left = days(left / per_day);
	snprintf(v->method, sizeof(v->method),
		"%u %% of the endurance used by %.0f GiB, at %.1f GiB a day written in the last "
		"%.1f days",
		s->wear_percent, (double)s->bytes_written / GIB, per_day / GIB,
		(double)f->observed_s / SECONDS_PER_DAY);
	return true;
}

static bool estimate_by_power_on(struct xbdev_health_verdict *v, const struct xbdev_smart *s)
{
	double on_days = (double)s->power_on_hours / HOURS_PER_DAY;

	if (!s->has_power_on || s->power_on_hours < POWER_ON_MIN_H) {
		return false;
	}
	v->days_left = days(on_days / s->wear_percent * (100 - s->wear_percent));
	snprintf(v->method, sizeof(v->method),
		"%u %% of the endurance used in %.0f days of power, going on like that",
		s->wear_percent, on_days);
	return true;
}

static void estimate(struct xbdev_health_verdict *v, const struct xbdev_health_facts *f)
{
	const struct xbdev_smart *s = f->smart;
	const char *why = NULL;

	v->days_left = -1;
	if (s == NULL) {
		why = "unknown: there is no SMART data";
	} else if (s->warnings & (XBDEV_SMART_FAILING | XBDEV_SMART_READ_ONLY)) {
		v->days_left = 0;
		why = "the disk says that it is failing";
	} else if (!s->has_wear) {
		why = s->is_rotational ? "unknown: a rotating disk has no wear by writing"
				       : "unknown: the disk does not tell its wear";
	} else if (s->wear_percent >= 100) {
		v->days_left = 0;
		why = "the rated endurance is used up";
	} else if (s->wear_percent == 0) {
		why = "unknown: less than 1 % of the endurance is used";
	} else if (!estimate_by_writes(v, f) && !estimate_by_power_on(v, s)) {
		why = "unknown: the disk has not been on for long";
	}
	if (why != NULL) {
		snprintf(v->method, sizeof(v->method), "%s", why);
	}
}

void xbdev_health_judge(
	const struct xbdev_health_facts *facts, struct xbdev_health_verdict *ret_verdict)
{
	*ret_verdict = (struct xbdev_health_verdict){.percentage = 100};
	if (facts->smart != NULL) {
		judge_smart(ret_verdict, facts->smart);
	}
	judge_io(ret_verdict, facts);
	estimate(ret_verdict, facts);
}

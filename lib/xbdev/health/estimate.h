/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From facts to a judgement: how healthy a device is, and how long it will last. Only rules that
 * can be said in a sentence, and the sentence goes with the result.
 */
#ifndef XBDEV_HEALTH_ESTIMATE_H
#define XBDEV_HEALTH_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

struct xbdev_smart;

#define XBDEV_HEALTH_TEXT_SIZE 160u

struct xbdev_health_facts {
	const struct xbdev_smart *smart; /* NULL: none */
	uint64_t io_errors;              /* of io_operations */
	uint64_t io_operations;
	/* What was written to the disk lately. */
	uint64_t observed_s; /* 0: nothing is known */
	uint64_t observed_bytes;
};

struct xbdev_health_verdict {
	int percentage;                      /* 0 … 100 */
	char reason[XBDEV_HEALTH_TEXT_SIZE]; /* of the rule that decided; "" when it is 100 */
	int days_left;                       /* -1: unknown */
	char method[XBDEV_HEALTH_TEXT_SIZE];
};

void xbdev_health_judge(
	const struct xbdev_health_facts *facts, struct xbdev_health_verdict *ret_verdict);

/* The percentage by the disk's own data alone. */
int xbdev_health_smart_percentage(const struct xbdev_smart *smart);

#endif

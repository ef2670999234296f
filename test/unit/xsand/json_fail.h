/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes one allocation of the JSON library fail: the n-th from now on, counted from 1. */
#ifndef TEST_XSAND_JSON_FAIL_H
#define TEST_XSAND_JSON_FAIL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>

static unsigned json_fail_countdown; /* 0: none fails */
static bool json_fail_happened;

static inline void *json_fail_malloc(size_t size)
{
	if (json_fail_countdown != 0 && --json_fail_countdown == 0) {
		json_fail_happened = true;
		return NULL;
	}
	return malloc(size);
}

static inline void json_fail_arm(unsigned n)
{
	json_set_alloc_funcs(json_fail_malloc, free);
	json_fail_happened = false;
	json_fail_countdown = n;
}

/* Back to normal; tells whether an allocation was refused. */
static inline bool json_fail_disarm(void)
{
	json_fail_countdown = 0;
	return json_fail_happened;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes allocations of the code under test fail. The linker sends the calls of the program and of
 * the static libraries (not those of shared ones) to this; see meson.build. A sweep is
 *
 *	for (n = 1;; n++) {
 *		fail_arm(n);
 *		rc = something();
 *		if (!fail_disarm()) {
 *			break;     (it needs fewer than n allocations, and must have worked)
 *		}
 *		...            (the n-th was refused)
 *	}
 */
#ifndef TEST_UTIL_FAIL_H
#define TEST_UTIL_FAIL_H

#include <stdbool.h>

/* The n-th allocation from now on, counted from 1, fails with ENOMEM; once. */
void fail_arm(unsigned n);

/* All allocations from the n-th on fail. */
void fail_arm_from(unsigned n);

/* Back to normal; tells whether an allocation was refused since it was armed. */
bool fail_disarm(void);

/* Lets mmap() give ordinary pages where huge ones are asked for, and madvise() fail to populate
 * them: a machine whose huge pages are counted free but cannot be had. Ends with fail_disarm(). */
void fail_huge_pages(void);

#endif

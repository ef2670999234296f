/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers as people write and read them. */
#ifndef TOOL_NUMBER_H
#define TOOL_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A count of bytes: digits and an optional unit, K M G T P with iB or B or nothing behind, or B;
 * all are powers of 1024, either case. *ret_has_unit (may be NULL): whether there was one. False:
 * it is none, or does not fit; outputs are untouched.
 */
bool tool_parse_size(const char *text, uint64_t *ret_bytes, bool *ret_has_unit);

/* A decimal number from `min` to `max`. */
bool tool_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number);

/* A time: a decimal number, a fraction is possible, in seconds or with ms, s, m or h behind. */
bool tool_parse_time(const char *text, uint64_t *ret_ns);

/* "0,2-3": up to `max` CPUs, in that order; returns how many, 0: it is no such list. */
uint32_t tool_parse_cpus(const char *text, int *ret_cpus, uint32_t max);

#define TOOL_TEXT_SIZE 32

/* "1.50 GiB"; whole bytes as "512 B". Returns `text`. */
char *tool_format_size(double bytes, char text[TOOL_TEXT_SIZE]);
/* "12,345,678". */
char *tool_format_count(uint64_t count, char text[TOOL_TEXT_SIZE]);
/* "12.3 us", "1.50 ms", "2.00 s". */
char *tool_format_time(uint64_t ns, char text[TOOL_TEXT_SIZE]);

#endif

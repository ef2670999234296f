/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and texts as people read them. */
#ifndef XSAN_FORMAT_H
#define XSAN_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FORMAT_SIZE 32u /* of any number's text */

/* Bytes in the largest unit of which there is one, with at most two decimals: "1.5 GiB". */
void format_bytes(uint64_t bytes, char text[FORMAT_SIZE]);
/* A duration to three digits: "870 ns", "12.3 us", "4.56 s"; from 100 s on "2 min 5 s", "3 h 20
 * min", "4 d 3 h". */
void format_ns(uint64_t ns, char text[FORMAT_SIZE]);
/* A rate: two decimals below 10, one below 100, then none. */
void format_rate(double per_second, char text[FORMAT_SIZE]);

/*
 * Writes UTF-8 text that may come from anywhere to a terminal: the bytes of control characters and
 * of what is no UTF-8 become '?'. Returns how many columns it takes, counting a character as one.
 */
size_t format_clean(const char *text, FILE *out);

/* Writes a text and a newline, broken at spaces before column `width`; further lines begin at
 * column `indent`, where the first one begins too. */
void format_wrapped(const char *text, size_t indent, size_t width, FILE *out);

#endif

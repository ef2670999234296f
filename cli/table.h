/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table for people: columns as wide as what is in them, numbers to the right, the titles bold on
 * a terminal that wants colours. Cells are texts from anywhere and are cleaned when they are
 * printed.
 */
#ifndef XSAN_TABLE_H
#define XSAN_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct table;

struct table_column {
	const char *title; /* NULL ends */
	bool is_right;
};

/* Borrows the columns. Never NULL: without memory the program ends. */
struct table *table_new(const struct table_column *columns);
void table_free(struct table *table); /* NULL is fine */

/* Adds a cell; a row is full after as many as there are columns. An empty text and NULL are shown
 * as "-". Out of memory shows when the table is printed. */
void table_text(struct table *table, const char *text);
void table_format(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_bytes(struct table *table, uint64_t bytes);
void table_ns(struct table *table, uint64_t ns);
void table_rate(struct table *table, double per_second);
void table_bool(struct table *table, bool value);

/* Prints to stdout; `empty` (may be NULL) instead when there is no row. */
void table_print(const struct table *table, const char *empty);
/* The same without the line of titles. */
void table_print_rows(const struct table *table);
/* table_print() and table_free(). */
void table_finish(struct table *table, const char *empty);

/* For a table of two columns, the name of something and what it is; printed without titles. */
extern const struct table_column table_pairs[];
void table_pair(struct table *table, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Whether stdout is a terminal that wants colours. */
bool table_has_colours(void);

#endif

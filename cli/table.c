/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects cleaned texts row by row; the widths are known when it prints. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/format.h"

#define GAP "  "

struct cell {
	char *text; /* cleaned */
	size_t width;
};

struct table {
	const struct table_column *columns;
	size_t nr_columns;
	struct cell *cells;
	size_t nr_cells, size;
	bool is_broken; /* no memory for a cell */
};

struct table *table_new(const struct table_column *columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table == NULL) {
		fputs("xsan: out of memory\n", stderr);
		exit(CLI_REFUSED);
	}
	table->columns = columns;
	while (columns[table->nr_columns].title != NULL) {
		table->nr_columns++;
	}
	return table;
}

void table_free(struct table *table)
{
	if (table == NULL) {
		return;
	}
	for (size_t i = 0; i < table->nr_cells; i++) {
		free(table->cells[i].text);
	}
	free(table->cells);
	free(table);
}

/* ---- cells ---- */

static bool set_cell(struct cell *cell, const char *text)
{
	size_t size = 0;
	FILE *out = open_memstream(&cell->text, &size);

	if (out == NULL) {
		return false;
	}
	cell->width = format_clean(text, out);
	return fclose(out) == 0;
}

void table_text(struct table *table, const char *text)
{
	struct cell *cells = table->cells;

	if (table->nr_cells == table->size) {
		table->size = table->size != 0 ? table->size * 2 : 64;
		cells = realloc(cells, table->size * sizeof(*cells));
		if (cells == NULL) {
			table->size = table->nr_cells;
			table->is_broken = true;
			return;
		}
		table->cells = cells;
	}
	text = text != NULL && text[0] != '\0' ? text : "-";
	if (!set_cell(&cells[table->nr_cells], text)) {
		table->is_broken = true;
		return;
	}
	table->nr_cells++;
}

void table_format(struct table *table, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	table_text(table, text);
}

void table_bytes(struct table *table, uint64_t bytes)
{
	char text[FORMAT_SIZE];

	format_bytes(bytes, text);
	table_text(table, text);
}

void table_ns(struct table *table, uint64_t ns)
{
	char text[FORMAT_SIZE];

	format_ns(ns, text);
	table_text(table, text);
}

void table_rate(struct table *table, double per_second)
{
	char text[FORMAT_SIZE];

	format_rate(per_second, text);
	table_text(table, text);
}

void table_bool(struct table *table, bool value)
{
	table_text(table, value ? "yes" : "no");
}

const struct table_column table_pairs[] = {{"NAME"}, {"VALUE"}, {0}};

void table_pair(struct table *table, const char *name, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	table_text(table, name);
	table_text(table, text);
}

/* ---- printing ---- */

bool table_has_colours(void)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0 &&
	       (no_color == NULL || no_color[0] == '\0');
}

static size_t column_width(const struct table *table, size_t column, bool has_titles)
{
	size_t width = has_titles ? strlen(table->columns[column].title) : 0;

	for (size_t i = column; i < table->nr_cells; i += table->nr_columns) {
		width = table->cells[i].width > width ? table->cells[i].width : width;
	}
	return width;
}

/* One cell; the last of a line has no space after it. */
static void print_cell(const struct table *table, const size_t *widths, size_t column,
	const char *text, size_t text_width)
{
	bool is_last = column + 1 == table->nr_columns;
	int pad = (int)(widths[column] - text_width);

	if (table->columns[column].is_right) {
		printf("%*s%s", pad, "", text);
	} else {
		printf("%s%*s", text, is_last ? 0 : pad, "");
	}
	fputs(is_last ? "\n" : GAP, stdout);
}

static void print(const struct table *table, bool has_titles)
{
	size_t *widths = calloc(table->nr_columns, sizeof(*widths));
	bool is_bold = has_titles && table_has_colours();

	if (widths == NULL || table->is_broken) {
		fputs("xsan: out of memory\n", stderr);
		free(widths);
		return;
	}
	for (size_t i = 0; i < table->nr_columns; i++) {
		widths[i] = column_width(table, i, has_titles);
	}
	fputs(is_bold ? "\033[1m" : "", stdout);
	for (size_t i = 0; has_titles && i < table->nr_columns; i++) {
		const char *title = table->columns[i].title;

		print_cell(table, widths, i, title, strlen(title));
	}
	fputs(is_bold ? "\033[0m" : "", stdout);
	for (size_t i = 0; i < table->nr_cells; i++) {
		print_cell(table, widths, i % table->nr_columns, table->cells[i].text,
			table->cells[i].width);
	}
	free(widths);
}

void table_print(const struct table *table, const char *empty)
{
	if (table->nr_cells == 0 && empty != NULL && !table->is_broken) {
		printf("%s\n", empty);
		return;
	}
	print(table, true);
}

void table_print_rows(const struct table *table)
{
	print(table, false);
}

void table_finish(struct table *table, const char *empty)
{
	table_print(table, empty);
	table_free(table);
}

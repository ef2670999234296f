/* SPDX-License-Identifier: BSD-3-Clause */
/* One line on standard error that is written over and over, when that is a terminal. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <stdbool.h>

/* Whether lines are shown at all; off with `is_wanted` false or when it is no terminal. */
void tool_progress_init(bool is_wanted);
bool tool_progress_is_shown(void);
/* Replaces the line. Any thread. */
void tool_progress_show(const char *text);
/* What is printed next begins a line of its own. Any thread. */
void tool_progress_end_line(void);

#endif

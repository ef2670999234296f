/* SPDX-License-Identifier: BSD-3-Clause */
/* The progress line. It is cut to the terminal's width, else each one would begin a new line. */
#include "common/progress.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_shown;
static bool has_line;

void tool_progress_init(bool is_wanted)
{
	is_shown = is_wanted && isatty(STDERR_FILENO);
}

bool tool_progress_is_shown(void)
{
	return is_shown;
}

void tool_progress_show(const char *text)
{
	struct winsize size;
	int width = 80;

	if (!is_shown) {
		return;
	}
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
		width = size.ws_col;
	}
	pthread_mutex_lock(&mutex);
	fprintf(stderr, "\r\033[K%.*s", width - 1, text);
	has_line = true;
	pthread_mutex_unlock(&mutex);
}

void tool_progress_end_line(void)
{
	pthread_mutex_lock(&mutex);
	if (has_line) {
		fputs("\r\033[K", stderr);
		has_line = false;
	}
	pthread_mutex_unlock(&mutex);
}

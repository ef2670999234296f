/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentences, time, signals and the life of the library. */
#include "common/tool.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xbdev/base.h>

#include "common/progress.h"

const char *tool_name = "xbdev";

/* Lock-free, so handlers may touch them; all threads look. */
static _Atomic bool must_stop;
static _Atomic bool wants_report;

void tool_say(const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	tool_progress_end_line();
	fprintf(stderr, "%s: %s\n", tool_name, text);
}

uint64_t tool_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * TOOL_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- signals ---- */

static void on_stop(int signal_number)
{
	if (atomic_exchange(&must_stop, true)) {
		_exit(TOOL_INTERRUPTED);
	}
}

static void on_report(int signal_number)
{
	atomic_store(&wants_report, true);
}

void tool_signals_catch(void)
{
	struct sigaction action = {.sa_flags = SA_RESTART};

	sigemptyset(&action.sa_mask);
	action.sa_handler = on_report;
	sigaction(SIGUSR1, &action, NULL);
	/* Without SA_RESTART: a read of a pipe that nobody fills ends too. */
	action.sa_flags = 0;
	action.sa_handler = on_stop;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	/* A reader that has gone is an error of the write, not the end of the process. */
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

bool tool_must_stop(void)
{
	return atomic_load_explicit(&must_stop, memory_order_relaxed);
}

bool tool_wants_report(void)
{
	return atomic_load_explicit(&wants_report, memory_order_relaxed) &&
	       atomic_exchange(&wants_report, false);
}

/* ---- the library ---- */

bool tool_library_start(const struct tool_library *lib)
{
	xbdev_init_options_t options = {
		.size = sizeof(options),
		.nr_reactors = lib->nr_reactors != 0 ? lib->nr_reactors : lib->nr_cpus,
		.cpus = lib->nr_cpus != 0 ? lib->cpus : NULL,
		.spin_max_us = lib->spin_us,
		.never_spin = lib->has_spin && lib->spin_us == 0,
		.is_embedded = lib->is_embedded,
	};

	if (lib->nr_cpus != 0 && options.nr_reactors != lib->nr_cpus) {
		tool_say("%u CPUs are named for %u reactors; name one for each", lib->nr_cpus,
			options.nr_reactors);
		return false;
	}
	if (xbdev_init_with(&options) != 0) {
		tool_say("starting libxbdev: %s", xbdev_last_error());
		return false;
	}
	return true;
}

bool tool_library_end(void)
{
	if (xbdev_fini() != 0) {
		tool_say("ending libxbdev: %s", xbdev_last_error());
		return false;
	}
	return true;
}

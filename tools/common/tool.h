/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tools have in common: exit codes, sentences, time, signals, the start of the library. */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include <stdbool.h>
#include <stdint.h>

enum tool_exit {
	TOOL_OK = 0,
	TOOL_FAILED = 1,  /* nothing was done: a device or file cannot be used */
	TOOL_USAGE = 2,   /* wrong command line */
	TOOL_PARTIAL = 3, /* an I/O failed on the way */
	TOOL_DIFFERS = 4, /* what was read back is not what was written */
	TOOL_INTERRUPTED = 130,
};

/* The tool's name, for sentences; set first. */
extern const char *tool_name;

/* Prints "NAME: sentence" on standard error; ends a progress line first. Any thread. */
void tool_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define TOOL_NS_PER_S 1000000000ull
uint64_t tool_now_ns(void);

/* SIGINT and SIGTERM ask to stop, a second one ends the process; SIGUSR1 asks for a report. */
void tool_signals_catch(void);
bool tool_must_stop(void);
/* Whether SIGUSR1 has come since the last time this was asked. */
bool tool_wants_report(void);

#define TOOL_MAX_CPUS 64u

struct tool_library {
	uint32_t nr_reactors; /* 0: as many as CPUs are given, else 1 */
	int cpus[TOOL_MAX_CPUS];
	uint32_t nr_cpus; /* 0: not pinned */
	uint32_t spin_us;
	bool has_spin; /* spin_us was given; 0 then means never */
	bool is_embedded;
};

/* Starts libxbdev. False: it was said why. */
bool tool_library_start(const struct tool_library *options);
/* Ends it. False: it was said why. */
bool tool_library_end(void);

#endif

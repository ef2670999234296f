/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The report of a crash. The handler runs in a process that cannot be trusted any more: it calls
 * what is safe in a signal handler, takes no memory, and puts the signal's default back before it
 * begins, so that a second crash within it ends the process at once.
 */
#include "lib/util/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define FRAMES_MAX 64

static const struct {
	int number;
	const char *name;
} fatal[] = {
	{SIGABRT, "SIGABRT"},
	{SIGSEGV, "SIGSEGV"},
	{SIGBUS, "SIGBUS"},
	{SIGFPE, "SIGFPE"},
	{SIGILL, "SIGILL"},
};
static const char *program = "";

static void say(const char *text)
{
	/* What cannot be written is lost; there is nobody to tell. */
	(void)!write(STDERR_FILENO, text, strlen(text));
}

static void on_crash(int number)
{
	void *frames[FRAMES_MAX];

	say(program);
	say(": ended by ");
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		say(fatal[i].number == number ? fatal[i].name : "");
	}
	say(" at\n");
	backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
	raise(number);
}

void xu_crash_report(const char *name)
{
	struct sigaction old, action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
	void *frame;

	program = name;
	/* The first call loads a library and takes memory: not in the handler. */
	(void)backtrace(&frame, 1);
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		if (sigaction(fatal[i].number, NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
			sigaction(fatal[i].number, &action, NULL);
		}
	}
}

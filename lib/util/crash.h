/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process says when it crashes, for where no core is kept. */
#ifndef XU_CRASH_H
#define XU_CRASH_H

/*
 * From now on a fatal signal of this process's own (SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL)
 * writes `name`, the signal and the addresses of the calls of the thread it hits to standard error,
 * for addr2line(1), before it ends the process as it would have done. Signals that have a handler,
 * such as a sanitizer's, are left to it. `name` stays the caller's and has to last. Once, before
 * there are threads.
 */
void xu_crash_report(const char *name);

#endif

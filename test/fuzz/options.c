/* SPDX-License-Identifier: BSD-3-Clause */
/* How all fuzzers and replays run: what the sanitizers do, and whether to tell what happens. */
#include "test/fuzz/fuzz.h"

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

/* Freed memory is kept from use for a few inputs only: fresh pages take longer than an input. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:allocator_release_to_os_interval_ms=-1";
}

const char *__ubsan_default_options(void)
{
	return "halt_on_error=1:print_stacktrace=1";
}

bool fuzz_is_verbose(void)
{
	static int is_verbose = -1;

	if (is_verbose < 0) {
		is_verbose = getenv("FUZZ_VERBOSE") != NULL;
	}
	return is_verbose != 0;
}

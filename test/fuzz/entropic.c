/* SPDX-License-Identifier: BSD-3-Clause */
/* An option of libFuzzer's for programs whose inputs are each the run of a whole world. */
#include <stdint.h>
#include <string.h>

#include "test/fuzz/fuzz.h"

/*
 * libFuzzer's entropic choice of the next input goes through all features of every input that it
 * has run. A run of a whole world has thousands, so that took four fifths of the time. It is off
 * here unless it is asked for: what stands first is what a later option overrides.
 */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char option[] = "-entropic=0";
	static char *args[64];

	if (*argc < 1 || *argc + 2 > (int)(sizeof(args) / sizeof(args[0]))) {
		return 0;
	}
	args[0] = (*argv)[0];
	args[1] = option;
	memcpy(args + 2, *argv + 1, (size_t)(*argc - 1) * sizeof(args[0]));
	*argc += 1;
	*argv = args;
	return 0;
}

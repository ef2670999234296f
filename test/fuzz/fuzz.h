/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzzers share: libFuzzer's entry points, a reader of the input, and the check that makes
 * a wrong answer a finding like a crash is one.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One input, from beginning to end; nothing is kept for the next. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Once, before the first input; a fuzzer may leave it out. It may put options of libFuzzer's behind
 * the program's name. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* FUZZ_VERBOSE is in the environment: tell on stderr what happens, for whoever looks into a
 * finding. */
bool fuzz_is_verbose(void);

#define fuzz_say(...)                                                                              \
	do {                                                                                       \
		if (fuzz_is_verbose()) {                                                           \
			fprintf(stderr, __VA_ARGS__);                                              \
		}                                                                                  \
	} while (0)

#define FUZZ_CHECK(cond, ...)                                                                      \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond);                 \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The rest of an input. Past its end everything is zero. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* Takes up to `len` bytes; *ret_len says how many there were. */
static inline const uint8_t *fuzz_take(struct fuzz_input *in, size_t len, size_t *ret_len)
{
	const uint8_t *at = in->at;

	*ret_len = len < in->left ? len : in->left;
	if (*ret_len != 0) {
		in->at += *ret_len;
		in->left -= *ret_len;
	}
	return at;
}

static inline uint64_t fuzz_number(struct fuzz_input *in, size_t nr_bytes)
{
	uint64_t value = 0;
	size_t len;
	const uint8_t *at = fuzz_take(in, nr_bytes, &len);

	for (size_t i = 0; i < len; i++) {
		value |= (uint64_t)at[i] << (8 * i);
	}
	return value;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	return (uint8_t)fuzz_number(in, 1);
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	return (uint16_t)fuzz_number(in, 2);
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	return (uint32_t)fuzz_number(in, 4);
}

#endif

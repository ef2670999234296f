/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of lib/xbdev share: a context whose reactors the test polls itself, one after the
 * other in one thread, so that a test decides in which order messages between them arrive; devices
 * from the driver table; I/O that waits for its end. Every wait is bounded and fails the test.
 */
#ifndef TEST_XBDEV_HARNESS_H
#define TEST_XBDEV_HARNESS_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/driver/driver.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* An assertion for any thread, where cmocka's may not be used. */
#define MUST(expr)                                                                                 \
	do {                                                                                       \
		if (!(expr)) {                                                                     \
			fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #expr);       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct harness {
	struct xbdev_ctx *ctx;
	uint32_t nr_polled; /* the first so many reactors are polled here, others have threads */
	uint64_t deadline_ns;
};

/* Makes a context of nr_reactors, the first nr_polled of them (at least 1) without threads. */
void harness_start(struct harness *h, uint32_t nr_reactors, uint32_t nr_polled);
/* The same with other options. */
void harness_start_opts(struct harness *h, const struct xbdev_ctx_opts *opts, uint32_t nr_polled);
/* Removes what devices there are and frees the context. */
void harness_stop(struct harness *h);

/* One round of every polled reactor; rests a moment when none had anything to do. */
void harness_poll(struct harness *h);
/* So many rounds, for showing that something does not happen. */
void harness_poll_times(struct harness *h, uint32_t nr_rounds);

/* Runs fn(arg) on a reactor, polled or not, and waits for its end. */
void harness_run_on(struct harness *h, uint32_t reactor_index, void (*fn)(void *arg), void *arg);

void harness__wait_begin(struct harness *h);
void harness__wait_step(struct harness *h, const char *what, const char *file, int line);
/* Polls until `expr` is true; fails after a minute. */
#define harness_wait(h, expr)                                                                      \
	do {                                                                                       \
		harness__wait_begin(h);                                                            \
		while (!(expr)) {                                                                  \
			harness__wait_step((h), #expr, __FILE__, __LINE__);                        \
		}                                                                                  \
	} while (0)

/* Makes a device; the parameters are JSON with ' for ". NULL, with *ret_err filled, when that
 * fails. */
struct xbdev_device *harness_try_create(struct harness *h, const char *driver,
	struct xu_error *ret_err, const char *params, ...) __attribute__((format(printf, 4, 5)));
/* The same, which must work. */
struct xbdev_device *harness_create(struct harness *h, const char *driver, const char *params, ...)
	__attribute__((format(printf, 3, 4)));
/* Removes a device that nobody has open and waits for the end of it. */
void harness_remove(struct harness *h, struct xbdev_device *dev);

struct xbdev_desc *harness_open(struct harness *h, const char *name, bool is_writable);
/* On any reactor, polled or not. */
struct xbdev_channel *harness_channel(
	struct harness *h, struct xbdev_desc *desc, uint32_t reactor_index);
void harness_put(struct harness *h, struct xbdev_channel *ch);

/* ---- I/O ---- */

struct harness_io {
	struct xbdev_io io;
	struct iovec one;
	uint32_t nr_done;
	int status;
};

/* Fills in an I/O with one buffer. */
void harness_io_set(struct harness_io *hio, struct xbdev_channel *ch, enum xbdev_op op,
	uint64_t offset, void *buf, uint64_t len);
/* Does one I/O; its end or submit's error. */
int harness_io(struct harness *h, struct xbdev_channel *ch, enum xbdev_op op, uint64_t offset,
	void *buf, uint64_t len, uint8_t flags);
int harness_iov(struct harness *h, struct xbdev_channel *ch, enum xbdev_op op, uint64_t offset,
	const struct iovec *iov, uint32_t nr_iov, uint64_t len, uint8_t flags);

/* The device's statistics. */
struct xbdev_stats harness_stats(struct harness *h, struct xbdev_device *dev, bool reset);

/* Bytes that depend on position and seed, and whether a buffer holds them. */
void harness_fill(void *buf, size_t len, uint64_t seed);
bool harness_is_filled(const void *buf, size_t len, uint64_t seed);
bool harness_is_zero(const void *buf, size_t len);

/* A directory for this test program, on the same file system as the build; it and the files in it
 * are removed at exit. */
const char *harness_dir(void);

/* Whether an assert() stops fn(arg); it is tried in a child process, whose stderr is thrown away.
 */
bool harness_aborts(void (*fn)(void *arg), void *arg);

/* The seed of random tests: XSAN_TEST_SEED or `fallback`; printed. */
uint64_t harness_seed(uint64_t fallback);

#endif

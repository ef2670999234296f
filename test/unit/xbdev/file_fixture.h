/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of lib/xbdev/driver/file.c share: one device on a file of their own, and a ring
 * that answers wrongly, for what a good disk never does.
 */
#ifndef TEST_XBDEV_FILE_FIXTURE_H
#define TEST_XBDEV_FILE_FIXTURE_H

#include <linux/falloc.h>
#include <sys/stat.h>

#include "lib/reactor/platform.h"
#include "test/unit/xbdev/harness.h"

#define KIB        1024u
#define MIB        (1024u * KIB)
#define MASK(op)   (1u << XBDEV_OP_##op)
#define PUNCH_MODE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
/* What the file system may need to remember where the holes are. */
#define MAP_BYTES (16u * KIB)

struct fixture {
	struct harness h;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char path[256];
	char *buf, *other; /* 1 MiB each, aligned */
};

/* A context, and a fresh path in it. The platform may be NULL. */
void fixture_prepare(struct fixture *f, const struct xr_platform *platform);
void fixture_finish(struct fixture *f);
/* A path in the directory of the test. */
void fixture_set_path(struct fixture *f, const char *name);
/* Makes the device; `params` are JSON that follows its name and its path. */
void fixture_create(struct fixture *f, const char *params);
void fixture_open_device(struct fixture *f, bool is_writable);
/* Closes and removes it. */
void fixture_close_device(struct fixture *f);

/* All of that, to a device that is open, and back. */
void fixture_start(struct fixture *f, const char *params);
void fixture_start_on(struct fixture *f, const struct xr_platform *platform, const char *params);
void fixture_stop(struct fixture *f);

void fixture_assert_not_made(struct fixture *f, int code, const char *text, const char *params);

/* For ops->resize(). */
struct fixture_resize {
	uint32_t nr_done;
	struct xu_error err;
};
void fixture_on_resized(void *arg, const struct xu_error *err);
/* 0 or the error, with its sentence. */
int fixture_resize_to(struct fixture *f, uint64_t size, struct xu_error *ret_err);

/* A number or boolean of what the driver tells of its device. */
json_int_t fixture_info_of(const struct fixture *f, const char *key);
bool fixture_is_direct(const struct xbdev_device *dev);
struct stat fixture_stat_of(const char *path);
/* Bytes of the file that take up space. */
uint64_t fixture_allocated(struct fixture *f);

/* A ring that gives the next `nr_wrong` operations on files another result, and remembers the last;
 * and that asks the kernel for an impossible fallocate() instead of those that are refused. */
extern struct fixture_wrong {
	struct xr_ring_ops ops;
	const struct xr_ring_ops *real;
	bool refuses_punch, refuses_zero;
	uint32_t nr_wrong, nr_ops, nr_fallocates;
	int32_t result;
	struct xr_op *op;
	void (*cb)(struct xr_op *op, int32_t result);
	struct xr_op last;
} fixture_wrong;

/* For the platform's table: makes such a ring. */
int fixture_wrong_ring_new(const struct xr_platform *platform, struct xr_reactor *reactor,
	uint32_t entries, const struct xr_ring_ops **ret_ops, void **ret_ring,
	struct xu_error *err);
/* An I/O of 8 KiB of which the first operations end with `result`. */
int fixture_io_with_results(struct fixture *f, enum xbdev_op op, uint32_t nr_wrong, int32_t result);

#endif

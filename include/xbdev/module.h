/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loadable drivers. A module is a shared object "xbdev-NAME.so" in the module directory (or in
 * $XBDEV_MODULE_DIR) that exports one symbol, `const struct xbdev_module xbdev_module`. It is
 * loaded when a device of driver NAME is first asked for, and stays. It links nothing of ours: what
 * it calls comes in a table. Later versions of the library go on taking modules of this one.
 */
#ifndef XBDEV_MODULE_H
#define XBDEV_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xbdev/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XBDEV_MODULE_ABI    1u
#define XBDEV_MODULE_SYMBOL xbdev_module

/* A device's parameter, in JSON, RPC and on the command line alike. "name" and "uuid" are the
 * library's. */
enum xbdev_module_type {
	XBDEV_MODULE_STRING, /* NULL when it is not given and has no default */
	XBDEV_MODULE_BOOL,
	XBDEV_MODULE_NUMBER,
	XBDEV_MODULE_SIZE, /* bytes; "10GiB" is accepted */
};

union xbdev_module_value {
	const char *string; /* borrowed during open() */
	bool boolean;
	uint64_t number;
};

struct xbdev_module_param {
	const char *name; /* NULL ends the table; at most 32 */
	enum xbdev_module_type type;
	bool is_required;
	union xbdev_module_value otherwise;
	const char *help; /* one sentence, with the default */
};

/* What open() tells of a device. */
struct xbdev_module_geometry {
	uint64_t size_bytes;
	uint32_t block_size;          /* bytes: 512 or 4096 */
	uint32_t buffer_align;        /* a power of two up to 4096; 1: any buffer. Else lengths of
				       * buffers are whole blocks too */
	uint32_t max_transfer;        /* bytes of one READ or WRITE; larger ones are split */
	uint32_t max_iov;             /* buffers of one */
	uint64_t max_zeroes;          /* bytes of one DISCARD or WRITE_ZEROES; 0: as max_transfer */
	uint32_t optimal_io;          /* bytes; 0: none told */
	uint32_t discard_granularity; /* bytes; 0: one block */
	uint32_t queue_depth;         /* I/Os of one channel at a time */
	uint32_t ops; /* bits 1 << XBDEV_OP_…; READ, WRITE and FLUSH are a must; after
		       * DISCARD and WRITE_ZEROES the range must read as zeroes */
	bool has_fua;
	bool has_write_cache;
	bool is_read_only;
	bool is_rotational;
	bool is_remote;      /* never searched for RAID members and the like unless asked */
	const char *product; /* for people; static or as long as the device */
};

struct xbdev_module_io {
	int op;          /* XBDEV_OP_… */
	uint32_t flags;  /* XBDEV_IO_FUA, XBDEV_IO_MAY_UNMAP */
	uint64_t offset; /* bytes */
	uint64_t len;    /* bytes; 0 for FLUSH */
	const struct iovec *iov;
	uint32_t nr_iov;
	void *priv[4]; /* the module's, until it has completed the I/O */
};

struct xbdev_module_device; /* the library's side of a device */

/* What a module may call. */
struct xbdev_module_host {
	uint32_t abi;
	/* Ends an I/O: 0, or -errno. Exactly once for each, from any thread, also within submit().
	 */
	void (*complete)(struct xbdev_module_io *io, int status);
	/* The device has another size now. Any thread, between open() and close(). */
	void (*resized)(struct xbdev_module_device *device, uint64_t size_bytes);
	/* A line for the log. `level` 1: error … 4: debug. Any thread, between open() and close().
	 */
	void (*log)(struct xbdev_module_device *device, int level, const char *text);
};

/* All but open, close and submit may be NULL. */
struct xbdev_module {
	uint32_t abi;     /* XBDEV_MODULE_ABI */
	size_t size;      /* sizeof(struct xbdev_module) */
	const char *name; /* as in the file's name */
	const char *help; /* one sentence */
	const struct xbdev_module_param *params;
	/* Once, when it has been loaded. -errno: it cannot work here. */
	int (*load)(const struct xbdev_module_host *host);
	/*
	 * Opens the device that `values` (in the order of `params`) describe. On a thread that may
	 * block. On failure -errno, with a sentence in `error`.
	 */
	int (*open)(struct xbdev_module_device *device, const union xbdev_module_value *values,
		struct xbdev_module_geometry *ret_geometry, void **ret_data, char *error,
		size_t error_size);
	/* Nothing uses it any more. May block. */
	void (*close)(void *data);
	/* A channel is one opener's way to the device on one I/O thread; all calls with it come
	 * from that thread. */
	int (*channel_open)(void *data, void **ret_channel);
	void (*channel_close)(void *data, void *channel);
	/* Starts an I/O; must not block. */
	void (*submit)(void *data, void *channel, struct xbdev_module_io *io);
	/* Asks for the early end of an I/O, which ends as always; -ECANCELED says that this is why.
	 * Never after complete() has returned for it, but maybe while another thread is in there:
	 * `io` is valid then too, and what the module itself has of it is the module's to guard. */
	void (*cancel)(void *data, void *channel, struct xbdev_module_io *io);
};

#ifdef __cplusplus
}
#endif

#endif

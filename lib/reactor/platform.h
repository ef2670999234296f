/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the reactor and everything above it know of the world: clock, entropy, files, sockets, a
 * place to block. One table; the Linux one is xr_platform_linux(), the simulator's has virtual
 * time, disks that lose power and a network that loses connections. Descriptors are plain
 * integers of the platform that gave them.
 */
#ifndef XR_PLATFORM_H
#define XR_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/util/clock.h"

struct xr_cmd;
struct xr_op;
struct xr_reactor;
struct xr_work;
struct xu_error;

struct xr_file_opts {
	bool is_read_only;
	bool create;         /* create a missing regular file */
	bool direct;         /* ask for O_DIRECT; ret_info->is_direct says what was got */
	bool exclusive;      /* take a lock, so that two nodes do not use one file: -EBUSY */
	uint64_t size_bytes; /* with create: grow the file to this size, sparse; 0: as it is */
};

struct xr_file_info {
	uint64_t size_bytes;
	uint32_t block_size; /* logical block size of the device or file system below */
	uint32_t mem_align;  /* what direct I/O asks of buffers, 1 when nothing */
	uint32_t io_align;   /* what direct I/O asks of offsets and lengths, 1 when nothing */
	int32_t numa_node;   /* -1: unknown */
	bool is_direct;
	bool is_block_device;
	bool is_rotational;
	bool has_write_cache; /* a flush is needed for what is written without DSYNC */
	bool is_new;          /* file_open() has made this file */
};

struct xr_listen_opts {
	const char *address; /* numeric IPv4 or IPv6 */
	uint16_t port;       /* 0: any; see sock_name */
	uint32_t backlog;
};

#define XR_ADDRESS_SIZE 64 /* a numeric address and its NUL */

/* A reactor's way to the kernel, made by ring_new(). Only the reactor's thread calls. */
struct xr_ring_ops {
	void (*submit)(void *ring, struct xr_op *op);
	void (*cancel)(void *ring, struct xr_op *op);
	/* Gives what is queued to the kernel, calls back what has completed, and returns how many
	 * did. Sleeps up to timeout_ns (UINT64_MAX: no limit) when nothing has; wake() ends that.
	 */
	uint32_t (*run)(void *ring, uint64_t timeout_ns);
	/* Cheap look of a reactor that spins: is there anything for run() to do? It may receive
	 * what has come on a socket. */
	bool (*has_events)(void *ring);
	/* Ends a sleep in run(). Any thread. */
	void (*wake)(void *ring);
	void (*free)(void *ring);
	/* Operations that were done without the ring; NULL: none ever is. */
	uint64_t (*nr_direct)(const void *ring);
};

/* A reactor's second way, for commands (struct xr_cmd); made with the first that wants it and gone
 * with the reactor. Only the reactor's thread calls, but for free(). */
struct xr_cmd_ring_ops {
	int (*create)(struct xr_reactor *reactor, void **ret_ring); /* -EOPNOTSUPP */
	void (*submit)(void *ring, struct xr_cmd *cmd);
	/* Calls back what has completed and returns how many did. A sleep of the main ring ends by
	 * itself when there is something. */
	uint32_t (*run)(void *ring);
	/* Cheap look: is there anything for run() to do? */
	bool (*has_events)(void *ring);
	void (*free)(void *ring);
};

struct xr_platform {
	const char *name;
	const struct xu_clock *clock;
	bool is_simulated;

	/* The NUMA node of a CPU, -1 when not known; NULL: no CPU's is. */
	int32_t (*cpu_numa_node)(const struct xr_platform *platform, int cpu);

	/* Fills `buf` with randomness for seeds and identifiers. */
	void (*entropy)(const struct xr_platform *platform, void *buf, size_t len_bytes);

	int (*ring_new)(const struct xr_platform *platform, struct xr_reactor *reactor,
		uint32_t entries, const struct xr_ring_ops **ret_ops, void **ret_ring,
		struct xu_error *err);
	const struct xr_cmd_ring_ops *cmd_ring; /* NULL: it has none */

	/* Files. These may block: from a worker or at start-up. The descriptor or -errno. */
	int (*file_open)(const struct xr_platform *platform, const char *path,
		const struct xr_file_opts *opts, struct xr_file_info *ret_info,
		struct xu_error *err);
	int (*file_info)(const struct xr_platform *platform, int fd, struct xr_file_info *ret_info);
	/* Takes back what file_open() has made (is_new) when it turns out that it is not needed:
	 * removes the file from its directory, unless somebody has written it, has it locked, or
	 * has put another one in its place. The descriptor stays open. NULL: files stay. */
	void (*file_unmake)(const struct xr_platform *platform, const char *path, int fd);
	int (*file_resize)(const struct xr_platform *platform, int fd, uint64_t size_bytes);
	/* Makes content and size durable (a new file's name is when file_open returns). */
	int (*file_sync)(const struct xr_platform *platform, int fd);
	/* True when fallocate() with this mode works on the file; tries it beyond the end. */
	bool (*file_can)(const struct xr_platform *platform, int fd, int fallocate_mode);
	/* Discards (is_zero false) or zeroes a range of a block device by ioctl; blocks. */
	int (*file_discard)(const struct xr_platform *platform, int fd, uint64_t offset,
		uint64_t len, bool is_zero);

	/* Stream sockets; none of these blocks. The descriptor or -errno. */
	int (*tcp_listen)(const struct xr_platform *platform, const struct xr_listen_opts *opts,
		struct xu_error *err);
	/* A socket for XR_OP_CONNECT to this numeric address. */
	int (*tcp_socket)(const struct xr_platform *platform, const char *address);
	/* Numeric address and port of this end, or of the peer. */
	int (*sock_name)(const struct xr_platform *platform, int fd, bool is_peer,
		char address[XR_ADDRESS_SIZE], uint16_t *ret_port);
	/* Options that a connection wants: no delay, and an end when its peer has vanished. */
	void (*sock_tune)(const struct xr_platform *platform, int fd);
	/* Ends both directions; pending operations complete. */
	void (*sock_shutdown)(const struct xr_platform *platform, int fd);

	/* Kernel events of devices coming, changing and going; NULL: the platform has none. The
	 * descriptor to poll, or -errno; then one message of the kernel's own without blocking: its
	 * bytes, -EAGAIN when there is none, -ENOBUFS when some were lost. */
	int (*uevent_open)(const struct xr_platform *platform);
	int (*uevent_read)(const struct xr_platform *platform, int fd, void *buf, size_t size);

	void (*close)(const struct xr_platform *platform, int fd);

	/* Runs work->work somewhere else, then sends work->msg to work->reactor. */
	void (*work_submit)(const struct xr_platform *platform, struct xr_work *work);
};

/* The Linux kernel: io_uring, sockets, a pool of at most 4 threads started when first needed.
 * Static; any thread. Features of newer kernels are probed; the environment variable
 * XSAN_URING_MASK (a list of: defer-taskrun, single-issuer, coop-taskrun, cmd, direct) turns them
 * off. */
const struct xr_platform *xr_platform_linux(void);

#endif

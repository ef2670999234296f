/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libxbdev: starting and ending the library, devices, and what is known of them.
 *
 * Functions return 0, a count or a descriptor, or -errno; xbdev_last_error() then has a sentence.
 * Every function may be called from any thread and may block, unless it says otherwise. None may be
 * called from a completion callback but those that say so; the others answer -EDEADLK there.
 * A process that forks uses the library in one of the two only.
 */
#ifndef XBDEV_BASE_H
#define XBDEV_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xbdev/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the library ---- */

enum xbdev_log_level {
	XBDEV_LOG_NONE = 0,
	XBDEV_LOG_ERROR = 1,
	XBDEV_LOG_WARN = 2,
	XBDEV_LOG_INFO = 3,
	XBDEV_LOG_DEBUG = 4,
};

/*
 * How the library runs. Zeroes mean the defaults; `size` is sizeof(xbdev_init_options_t), so that
 * later versions can add members.
 */
typedef struct xbdev_init_options {
	size_t size;
	uint32_t nr_reactors; /* threads that do the I/O, 1 … 64; 0: 1, or $XBDEV_REACTORS */
	const int *cpus;      /* nr_reactors CPUs to pin them to; NULL: not pinned */
	uint32_t spin_max_us; /* longest spin before a reactor sleeps; 0: 25 */
	bool never_spin;      /* sleep at once */
	bool is_embedded;     /* the thread that calls xbdev_init_with() is the first reactor: its
			       * calls do the work, and it calls xbdev_poll() while it waits */
	int log_level;        /* enum xbdev_log_level, to standard error; 0: none, or $XBDEV_LOG */
	size_t buffer_bytes;  /* bound of each reactor's own buffers; 0: 64 MiB */
} xbdev_init_options_t;

/*
 * Starts the library, or counts one more user of it: each call needs its xbdev_fini(). -ENOMEM,
 * -EINVAL, or what the kernel says (io_uring may be forbidden: -EPERM).
 */
int xbdev_init(void);
/* The same with options, which are borrowed during the call. -EALREADY when it runs already. */
int xbdev_init_with(const xbdev_init_options_t *options);

/*
 * Ends the library when this is the last user: closes what is open, removes the devices, stops the
 * threads. Calls that wait come back, new ones are refused. A wait that comes back with -ESHUTDOWN
 * has left its I/O where it was: memory of that must stay until this has returned. Queues keep what
 * has completed, and named queues their names, for when the library is started again. -EBUSY when
 * within 10 s I/O does not come back from a device, a thread does not come out of a call, or a
 * notification callback, a check of a disk or a call of the management server does not end: the
 * library goes on with what was closed closed, without health monitor and management server, the
 * buffers of that I/O must stay, and xbdev_fini() may be called again. -ESHUTDOWN when the library
 * does not run; -EPERM: embedded, and not the thread that started it.
 */
int xbdev_fini(void);

/*
 * Embedded mode: does what there is to do, waiting up to `timeout_us` for something (UINT64_MAX:
 * until something comes). Returns how many things were done. Only the thread that started the
 * library: -EPERM for others and when it is not embedded.
 */
int xbdev_poll(uint64_t timeout_us);

/* "0.1.0". */
const char *xbdev_version(void);

/* The library's text for an -errno (or errno) that it returned; static. */
const char *xbdev_strerror(int error);
/* What went wrong in this thread's last failed call, as a sentence; "" when none has failed. Valid
 * until this thread's next call. */
const char *xbdev_last_error(void);

/* ---- devices ---- */

/*
 * Makes a device `name` of a file or block device. The file must exist; its size is the device's.
 * -EEXIST, -ENOENT, -EINVAL and what opening gives.
 */
int xbdev_config_aio(const char *filename, const char *name);
/*
 * A device of the first namespace of an NVMe/TCP subsystem: `addr` is a numeric IPv4 or IPv6
 * address, `nqn` the subsystem's name. Connects before it returns; afterwards a lost connection is
 * made again and I/O waits, for 600 s (xbdev_config_device() with driver "nvmf" can set all of
 * that). -ETIMEDOUT, -ECONNREFUSED, -EACCES: this host is not allowed.
 */
int xbdev_config_nvmf(const char *addr, int port, const char *nqn, const char *name);
/* A device in memory of `size_mb` MiB; `block_size` 512 or 4096. */
int xbdev_config_malloc(uint64_t size_mb, uint32_t block_size, const char *name);
/* A device of `size_mb` MiB that forgets what is written and reads zeroes. */
int xbdev_config_null(uint64_t size_mb, uint32_t block_size, const char *name);
/*
 * A device of the only namespace of the NVMe controller at a PCI address, such as "0000:01:00.0";
 * xbdev_config_device() with the driver "nvme" can do more. The kernel drives the controller. The
 * device goes by itself when the disk does. -EBUSY: the disk is in use; -ENODEV, -EINVAL, -EACCES.
 */
int xbdev_config_nvme(const char *pci_addr, const char *name);
/*
 * A device of an image of Ceph's RBD, as the user "admin" of the cluster of /etc/ceph/ceph.conf;
 * the module "rbd" must be installed. xbdev_config_device() with the driver "rbd" can do more.
 * -ENOENT: no such pool or image; -EBUSY: somebody else has locked it; -ETIMEDOUT: no cluster.
 */
int xbdev_config_rbd(const char *pool_name, const char *image_name, const char *name);
/*
 * Any device: `json` is an object with "driver", "name" and the driver's parameters, as in
 * xsand.json(5): {"driver": "file", "name": "disk0", "filename": "/srv/disk0", "size": "10GiB"}.
 */
int xbdev_config_device(const char *json);

/* Removes a device. What is in flight ends with -ENODEV; descriptors stay and answer -ENODEV.
 * -ENODEV, -EBUSY when something stands on it or it does not end within 10 s; -EINVAL: a logical
 * volume, which lies in its store (lvol.h). */
int xbdev_config_remove(const char *name);

/* ---- descriptors ---- */

#define XBDEV_OPEN_READWRITE 0x0
#define XBDEV_OPEN_READ      0x1 /* reading only */
#define XBDEV_OPEN_EXCL      0x2 /* nobody else may write while it is open */

/*
 * Opens a device by name or UUID and returns a descriptor >= 0. For reading and writing; a
 * read-only device for reading. -ENODEV, -EBUSY: another layer owns it; -EMFILE: 4096 are open.
 */
int xbdev_open(const char *bdev_name);
/* The same with XBDEV_OPEN_… flags. -EROFS. */
int xbdev_open_with(const char *bdev_name, int flags);

/*
 * Closes it: I/O that is still under way is cancelled where that is possible and waited for, 5 s at
 * most. -EBUSY then: the descriptor takes no I/O any more, the buffers of that I/O must stay, and
 * xbdev_close() may be called again. -EBADF.
 */
int xbdev_close(int fd);

enum xbdev_health {
	XBDEV_HEALTH_UNKNOWN = 0,
	XBDEV_HEALTH_OK = 1,
	XBDEV_HEALTH_FAILED = 2, /* removed, or its last operations failed */
};

typedef struct xbdev_info {
	char name[256];
	char driver[32];
	char uuid[37];
	uint64_t size_bytes;
	uint32_t block_size;          /* bytes */
	uint32_t optimal_io_bytes;    /* 0: none told */
	uint32_t max_transfer_bytes;  /* larger I/O is split */
	uint32_t buffer_align_bytes;  /* other buffers are copied */
	uint32_t discard_granularity; /* bytes; 0: no discard */
	uint32_t queue_depth;         /* I/Os that the device is given at a time by one reactor */
	int32_t numa_node;            /* -1: unknown */
	bool is_read_only;
	bool has_write_cache; /* a write may be lost by power failure before a flush */
	bool is_rotational;
	bool is_remote;
	bool is_claimed; /* another layer stands on it */
	int health;      /* enum xbdev_health */
} xbdev_info_t;

/* -EBADF; -ENODEV: the device has been removed. */
int xbdev_get_info(int fd, xbdev_info_t *ret_info);

/* Writes what is known of up to `max` devices, in order of creation; returns how many there are,
 * which may be more. */
int xbdev_list(xbdev_info_t *ret_infos, int max);

#ifdef __cplusplus
}
#endif

#endif

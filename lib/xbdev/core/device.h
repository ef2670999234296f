/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device graph. A device is made by a driver, opened through a descriptor (which hears of
 * resize and removal), and does I/O through channels: one channel is one opener's way to the
 * device on one reactor.
 *
 * Threads: devices, descriptors and claims belong to the context's control reactor (number 0);
 * every call here is for that thread unless it says otherwise. A channel belongs to its reactor.
 * A driver that is `is_multi_reactor` gets channels on every reactor; for the others the core
 * forwards I/O to the device's owner, so a driver never locks either way.
 */
#ifndef XBDEV_CORE_DEVICE_H
#define XBDEV_CORE_DEVICE_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/util/hist.h"
#include "lib/util/pool.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/core/io.h"

#define XBDEV_NAME_SIZE 256u /* with its NUL */

struct xu_error;
struct xbdev_channel;
struct xbdev_desc;
struct xbdev_device;

struct xbdev_limits {
	uint32_t block_size;          /* bytes: 512 or 4096 */
	uint32_t buf_align;           /* of segments, a power of two; 1: the driver takes any,
				       * else the segments' lengths are whole blocks too */
	uint32_t max_transfer;        /* bytes of one READ, WRITE, COMPARE for the driver */
	uint32_t max_iov;             /* segments of one transfer for the driver */
	uint64_t max_zeroes;          /* bytes of one DISCARD or WRITE_ZEROES for the driver */
	uint32_t optimal_io;          /* bytes; 0: none told */
	uint32_t discard_granularity; /* bytes */
	uint32_t queue_depth;         /* I/Os of one channel that the driver is given at a time */
};

struct xbdev_op_stats {
	uint64_t bytes; /* of those that succeeded */
	uint64_t errors;
	struct xu_hist latency; /* its count is the number of operations */
};

struct xbdev_stats {
	struct xbdev_op_stats ops[XBDEV_NR_OPS];
	uint64_t nr_bounced;  /* transfers copied because of their buffers' alignment */
	uint64_t nr_split;    /* I/Os larger than the driver takes */
	uint32_t queue_depth; /* in flight when asked */
	uint32_t queue_depth_max;
	uint64_t nr_waited; /* I/Os that waited for a place in the queue */
	uint64_t since_ns;  /* of the platform's clock: when the device was made, or its last reset;
			     * only in what xbdev_device_stats() gives */
};

/* What a driver does. All but `submit` and `destroy` may be NULL. */
struct xbdev_device_ops {
	/* The driver's part of a channel (ch->driver, channel_bytes of zeroed memory); on the
	 * channel's reactor. */
	size_t channel_bytes;
	int (*channel_open)(struct xbdev_channel *ch);
	void (*channel_close)(struct xbdev_channel *ch);
	/* Starts the I/O; it ends by xbdev_io_complete() or xbdev_io_complete_later(). */
	void (*submit)(struct xbdev_channel *ch, struct xbdev_io *io);
	/* An I/O that submit() passed on (xbdev_io_pass()) has come back and ends after this. */
	void (*passed)(struct xbdev_channel *ch);
	/* The device is going: ends now what the driver itself holds back, by
	 * xbdev_io_complete_later(). */
	void (*channel_abort)(struct xbdev_channel *ch);
	/* Tries to end early an I/O that submit() was given and that has not been completed or is
	 * only waiting to be (xbdev_io_complete_later(): then it is left alone). It ends as
	 * always, with -ECANCELED if that is why; never from within this call. May be called more
	 * than once; io->is_cancelled tells later that it was. */
	void (*cancel)(struct xbdev_channel *ch, struct xbdev_io *io);
	/* Changes the size (device->nr_blocks through xbdev_device_set_size()), then calls done
	 * on the control reactor. */
	void (*resize)(struct xbdev_device *dev, uint64_t size_bytes,
		void (*done)(void *arg, const struct xu_error *err), void *arg);
	/* The device is going and nobody uses it any more: brings to rest what it has below (its
	 * last metadata written, its channels given back), then calls xbdev_device_retired(). On
	 * the control reactor. */
	void (*retire)(struct xbdev_device *dev);
	/* Frees the device; nothing uses it any more. May block. */
	void (*destroy)(struct xbdev_device *dev);
	/* The parameters that would make this device again, for save_config: a new object. */
	json_t *(*config)(const struct xbdev_device *dev);
	/* What is special about it, for people: a new object. */
	json_t *(*info)(const struct xbdev_device *dev);
};

enum xbdev_device_state { XBDEV_DEVICE_READY, XBDEV_DEVICE_REMOVING };

struct xbdev_device {
	/* Set by the driver before xbdev_device_register(). */
	char name[XBDEV_NAME_SIZE];
	const char *driver;  /* its name in the driver table; static */
	const char *product; /* for people; static */
	const struct xbdev_device_ops *ops;
	struct xu_uuid uuid; /* null: one is made */
	struct xbdev_limits limits;
	_Atomic uint64_t nr_blocks;
	uint32_t ops_mask; /* bits 1 << XBDEV_OP_… the driver does itself; READ, WRITE: a must */
	bool has_fua;      /* the driver honours XBDEV_IO_FUA on WRITE */
	bool has_write_cache;
	bool is_read_only;
	bool is_rotational;
	bool is_multi_reactor;
	bool is_remote;    /* never examined for metadata unless asked */
	int32_t numa_node; /* -1: unknown */

	/* The core's. */
	struct xbdev_ctx *ctx;
	struct xr_reactor *owner;
	_Atomic int state; /* enum xbdev_device_state */
	struct xu_list link;
	struct xbdev_device *next_of_name, *next_of_uuid; /* in the context's tables */
	struct xu_list descs;
	uint32_t nr_writers;      /* of them */
	struct xbdev_desc *claim; /* NULL: free */
	const char *claim_by;
	struct xu_list *channels; /* per reactor; each list is its reactor's */
	_Atomic uint32_t nr_channels;
	_Atomic bool is_check_sent;
	struct xr_msg check_msg;
	struct xbdev_hop remove_hop;
	bool is_quiesced; /* removal has been told to every channel */
	bool is_retiring; /* ops->retire has been called */
	bool is_doomed;   /* goes when its claim is given up */
	void (*removed_cb)(void *arg);
	void *removed_arg;
	struct xbdev_stats *stats_home; /* what has been brought home from the channels */
	bool is_prepared;               /* by xbdev_device_prepare() */
};

/* ---- for drivers ---- */

/*
 * Adds the device to the graph; from then on it can be opened. The device must stay until
 * ops->destroy. -EEXIST when the name is taken, -EINVAL for a bad name or bad limits.
 */
int xbdev_device_register(struct xbdev_ctx *ctx, struct xbdev_device *dev, struct xu_error *err);

/*
 * Before that, on any thread: takes the memory that registering needs, which then cannot fail for
 * want of it. It stays with the device when that has been removed, for the next time, until
 * _unprepare(). -ENOMEM. For drivers whose devices come and go while what they are stays.
 */
int xbdev_device_prepare(struct xbdev_ctx *ctx, struct xbdev_device *dev);
void xbdev_device_unprepare(struct xbdev_device *dev);

/* Whether a device may be called so: 1 to 255 printable characters. -EINVAL. Any thread. */
int xbdev_device_check_name(const char *name, struct xu_error *err);

/* Tells the new size to every opener. */
void xbdev_device_set_size(struct xbdev_device *dev, uint64_t nr_blocks);

/* Ends ops->retire, on the control reactor, maybe from within it. */
void xbdev_device_retired(struct xbdev_device *dev);

/* ---- life ---- */

/*
 * Removes a device, in use or not: new I/O is refused with -ENODEV, what is in flight fails with
 * it, every opener is told (XBDEV_EVENT_REMOVE) and must close; then the driver frees it and
 * `cb` runs. -EBUSY when a removal is under way.
 */
int xbdev_device_remove(struct xbdev_device *dev, void (*cb)(void *arg), void *arg);

/* Removes the device in good order: at once when nobody has claimed it, else when the claim is
 * given up, which is asked for (XBDEV_EVENT_END). */
void xbdev_device_end(struct xbdev_device *dev);

/* Removes every device that there is in this way, so that what stands on one can still write its
 * last metadata. */
void xbdev_device_remove_all(struct xbdev_ctx *ctx);

/*
 * Gives the device another name; it stays where it is in the order. Listeners hear of a removal and
 * of a new device. -EEXIST when the name is taken, -EINVAL for a bad one, -EBUSY while somebody has
 * it open (those may have remembered its name), -ENODEV when it is going.
 */
int xbdev_device_rename(struct xbdev_device *dev, const char *name, struct xu_error *err);

struct xbdev_device *xbdev_device_find(struct xbdev_ctx *ctx, const char *name_or_uuid);
/* The next device in order of creation; NULL starts and ends. */
struct xbdev_device *xbdev_device_next(struct xbdev_ctx *ctx, struct xbdev_device *dev);

static inline uint64_t xbdev_device_size_bytes(const struct xbdev_device *dev)
{
	return atomic_load_explicit(&dev->nr_blocks, memory_order_relaxed) * dev->limits.block_size;
}

/* ---- opening ---- */

enum xbdev_event {
	XBDEV_EVENT_REMOVE,
	XBDEV_EVENT_RESIZE,
	XBDEV_EVENT_END, /* everything goes: to who has claimed the device, which goes when he has
			  * brought to rest what stands on it and closes; until then it works */
};

struct xbdev_desc {
	struct xbdev_device *dev;
	void (*event_cb)(struct xbdev_desc *desc, enum xbdev_event event, void *arg);
	void *event_arg;
	bool is_writable;
	_Atomic uint32_t nr_channels;
	struct xu_list link;
};

/*
 * Opens by name or UUID. `event_cb` (may be NULL) runs on the control reactor. -ENODEV: no such
 * device; -EROFS; -EBUSY: to be written, but claimed by somebody else.
 */
int xbdev_desc_open(struct xbdev_ctx *ctx, const char *name, bool is_writable,
	void (*event_cb)(struct xbdev_desc *desc, enum xbdev_event event, void *arg),
	void *event_arg, struct xbdev_desc **ret_desc, struct xu_error *err);

/* Closes; the descriptor's channels must have been given back by xbdev_channel_put() (those may
 * still be on their way). Gives up its claim. */
void xbdev_desc_close(struct xbdev_desc *desc);

/* Keeps all others from writing; `by` is static text for their error. -EBUSY when claimed. */
int xbdev_desc_claim(struct xbdev_desc *desc, const char *by, struct xu_error *err);

/* ---- channels ---- */

struct xbdev_channel {
	struct xbdev_device *dev;
	struct xr_reactor *reactor;
	void *driver; /* ops->channel_bytes for the driver */
	bool is_removed;
	bool is_writable;
	bool is_forwarding; /* its I/O runs on the device's owner, by forward.c */
	bool is_uncounted;  /* set by its opener: it is left out of the device's statistics */

	/* The core's. */
	void (*submit)(struct xbdev_channel *ch, struct xbdev_io *io);
	uint64_t block_mask; /* block_size - 1 */
	uint32_t nr_inflight;
	uint32_t nr_inflight_max;
	uint32_t depth;
	struct xbdev_io *waiting_first, **waiting_end;
	struct xbdev_io *done_first, **done_end;
	struct xr_msg done_msg;
	struct xbdev_desc *desc;
	struct xbdev_channel *twin; /* the owner's */
	int twin_error;
	struct xr_msg twin_msg;
	struct xu_pool relays;
	struct xr_timer starved_timer;
	struct xbdev_relay *starved;
	struct xbdev_stats *stats;
	struct xu_list link;
};

/*
 * A way to the device on `reactor`, whose thread must call. The descriptor must stay open.
 * -ENODEV when the device is being removed, -ENOMEM, or the driver's error.
 */
int xbdev_channel_get(
	struct xbdev_desc *desc, struct xr_reactor *reactor, struct xbdev_channel **ret_ch);

/* Gives it back, on its reactor, when no I/O is in flight (asserted). */
void xbdev_channel_put(struct xbdev_channel *ch);

/* ---- statistics ---- */

/*
 * Adds up the statistics of all channels, past and present, and resets them if asked. `cb` runs
 * later on the control reactor with the result, which it borrows; NULL stats: out of memory.
 */
void xbdev_device_stats(struct xbdev_device *dev, bool reset,
	void (*cb)(void *arg, const struct xbdev_stats *stats), void *arg);

#endif

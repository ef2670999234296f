/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors. A descriptor is a number; behind it the control reactor has a struct api_file, and
 * every reactor a port with a channel to the device, made when it is opened. Clients see one word
 * per number (is it open, since which opening, which reactor is best), so nothing that they touch
 * is ever freed; the reactor that gets an I/O compares the opening.
 *
 *   OPENING --channels on every reactor--> OPEN --close, device removed--> DRAINING
 *   DRAINING --last port has put its channel--> DRAINED --close--> gone
 *
 * Draining refuses new I/O on every port, and each port puts its channel when its last I/O has come
 * back. A closer waits for that: I/O has a second to end by itself, then it is cancelled; after
 * five the closer is told -EBUSY and the file goes on draining, so that it may ask again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define GRACE_NS XU_NS_PER_S

enum file_state { FILE_OPENING, FILE_OPEN, FILE_DRAINING, FILE_DRAINED };

struct api_file {
	enum file_state state;
	int fd;
	uint32_t generation;
	struct xbdev_desc *desc; /* NULL once drained */
	bool is_gone;            /* its device has been removed */
	int refusal;             /* of new I/O, while it drains */
	bool is_closing;         /* somebody has asked for its end */
	int open_error;
	struct api_call *call; /* the opener's or the closer's */
	struct xr_timer timer; /* of the closer */
	bool is_grace_over;
	struct xbdev_hop hop;
	struct xbdev_hop cancel_hop;
	bool is_cancelling;
	_Atomic uint32_t nr_busy; /* ports with a channel, and hops under way */
	struct xr_msg drained_msg;
};

/* ---- ports ---- */

int api_ports_init(struct api_shard *shard)
{
	shard->ports = calloc(API_MAX_FILES, sizeof(*shard->ports));
	return shard->ports == NULL ? -ENOMEM : 0;
}

void api_ports_fini(struct api_shard *shard)
{
	free(shard->ports);
	shard->ports = NULL;
}

static struct api_port *port_on(const struct api_file *file, struct xr_reactor *reactor)
{
	return &api_lib.shards[xr_reactor_index(reactor)].ports[file->fd];
}

static void unbusy(struct api_file *file)
{
	if (atomic_fetch_sub(&file->nr_busy, 1) == 1) {
		xr_msg_send(xbdev_ctx_control(api_lib.ctx), &file->drained_msg);
	}
}

static void on_put(struct xr_msg *msg)
{
	struct api_port *port = xu_container_of(msg, struct api_port, put_msg);
	struct api_file *file = port->file;

	xbdev_channel_put(port->ch);
	port->ch = NULL;
	port->file = NULL;
	unbusy(file);
}

/* Deferred: the channel may just be completing its last I/O. */
static void put_when_idle(struct api_port *port)
{
	if (port->refusal != 0 && port->nr_inflight == 0 && port->ch != NULL) {
		port->put_msg.fn = on_put;
		xr_msg_defer(port->ch->reactor, &port->put_msg);
	}
}

void api_port_io_done(struct api_port *port)
{
	port->nr_inflight--;
	put_when_idle(port);
}

static void drain_port(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct api_file *file = xu_container_of(hop, struct api_file, hop);
	struct api_port *port = port_on(file, reactor);

	if (port->file != file) {
		return; /* its channel could not be made */
	}
	port->refusal = file->refusal;
	put_when_idle(port);
}

static void on_hop_home(struct xbdev_hop *hop)
{
	unbusy(xu_container_of(hop, struct api_file, hop));
}

static void cancel_port(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct api_file *file = xu_container_of(hop, struct api_file, cancel_hop);
	struct api_port *port = port_on(file, reactor);
	struct xu_list *node, *next;

	if (port->file != file) {
		return;
	}
	xu_list_for_each_safe (node, next, &port->ios) {
		xbdev_io_cancel(&xu_list_entry(node, struct api_io, link)->io);
	}
}

static void on_cancel_home(struct xbdev_hop *hop)
{
	struct api_file *file = xu_container_of(hop, struct api_file, cancel_hop);

	file->is_cancelling = false;
	unbusy(file);
}

/* Not when the last one has gone already and only its message is under way: that ends the file. */
static void start_cancelling(struct api_file *file)
{
	uint32_t nr_busy = atomic_load(&file->nr_busy);

	do {
		if (nr_busy == 0) {
			return;
		}
	} while (!atomic_compare_exchange_weak(&file->nr_busy, &nr_busy, nr_busy + 1));
	file->is_cancelling = true;
	file->cancel_hop.fn = cancel_port;
	file->cancel_hop.done = on_cancel_home;
	xbdev_hop_start(&file->cancel_hop, api_lib.ctx);
}

/* ---- draining ---- */

static void file_free(struct api_file *file)
{
	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &file->timer);
	api_lib.files[file->fd] = NULL;
	api_lib.nr_files--;
	free(file);
	if (api_lib.ending != NULL && api_lib.nr_files == 0) {
		api_ending_done();
	}
}

static void answer(struct api_file *file, int rc)
{
	struct api_call *call = file->call;

	file->call = NULL;
	if (call != NULL) {
		api_call_done(call, rc);
	}
}

static void on_drained(struct xr_msg *msg)
{
	struct api_file *file = xu_container_of(msg, struct api_file, drained_msg);

	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &file->timer);
	xbdev_desc_close(file->desc);
	file->desc = NULL;
	file->state = FILE_DRAINED;
	if (file->is_closing && (file->call != NULL || api_lib.ending != NULL)) {
		answer(file, file->open_error);
		file_free(file);
	}
}

static void start_draining(struct api_file *file)
{
	file->state = FILE_DRAINING;
	file->refusal = file->is_gone ? -ENODEV : -EBADF;
	atomic_fetch_add(&file->nr_busy, 1); /* the hop */
	file->drained_msg.fn = on_drained;
	file->hop.fn = drain_port;
	file->hop.done = on_hop_home;
	xbdev_hop_start(&file->hop, api_lib.ctx);
}

/* ---- opening ---- */

struct open_call {
	struct api_call call;
	const char *name;
	int flags;
};

static void open_port(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct api_file *file = xu_container_of(hop, struct api_file, hop);
	struct api_port *port = port_on(file, reactor);
	int rc;

	if (file->open_error != 0) {
		return;
	}
	rc = xbdev_channel_get(file->desc, reactor, &port->ch);
	if (rc != 0) {
		port->ch = NULL;
		file->open_error = rc;
		return;
	}
	port->file = file;
	port->generation = file->generation;
	port->nr_inflight = 0;
	port->refusal = 0;
	xu_list_init(&port->ios);
	atomic_fetch_add(&file->nr_busy, 1);
}

static void on_opened(struct xbdev_hop *hop)
{
	struct api_file *file = xu_container_of(hop, struct api_file, hop);
	const struct xbdev_device *dev = file->desc->dev;
	uint32_t home = dev->is_multi_reactor ? API_ANY_REACTOR : xr_reactor_index(dev->owner);

	if (file->open_error == 0 && (file->is_gone || file->is_closing)) {
		file->open_error = file->is_gone ? -ENODEV : -ESHUTDOWN;
	}
	if (file->open_error != 0) {
		if (file->call != NULL) {
			xu_error_set_errno(&file->call->err, file->open_error,
				"opening device '%s'", dev->name);
		}
		file->is_closing = true;
		start_draining(file);
		return;
	}
	file->state = FILE_OPEN;
	atomic_store_explicit(
		&api_lib.fds[file->fd], API_FD_WORD(file->generation, home), memory_order_release);
	answer(file, file->fd);
}

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct api_file *file = arg;

	if (event != XBDEV_EVENT_REMOVE) {
		return;
	}
	file->is_gone = true;
	if (file->state == FILE_OPEN) {
		start_draining(file);
	}
}

static int find_free_fd(void)
{
	for (int fd = 0; fd < (int)API_MAX_FILES; fd++) {
		if (api_lib.files[fd] == NULL) {
			return fd;
		}
	}
	return -EMFILE;
}

static int open_desc(struct open_call *open, struct api_file *file)
{
	const struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, open->name);
	bool is_writable = (open->flags & XBDEV_OPEN_READ) == 0;
	struct xu_error *err = &open->call.err;
	int rc;

	if (is_writable && dev != NULL && dev->is_read_only &&
		(open->flags & XBDEV_OPEN_EXCL) == 0) {
		is_writable = false;
	}
	rc = xbdev_desc_open(
		api_lib.ctx, open->name, is_writable, on_event, file, &file->desc, err);
	if (rc == 0 && (open->flags & XBDEV_OPEN_EXCL)) {
		rc = xbdev_desc_claim(file->desc, "an exclusive opener", err);
		if (rc != 0) {
			xbdev_desc_close(file->desc);
		}
	}
	return rc;
}

static void on_open(struct api_call *call)
{
	struct open_call *open = xu_container_of(call, struct open_call, call);
	struct api_file *file;
	int rc, fd = find_free_fd();

	if (fd < 0) {
		xu_error_set(&call->err, fd, "%u descriptors are open already; close some",
			API_MAX_FILES);
		api_call_done(call, fd);
		return;
	}
	file = calloc(1, sizeof(*file));
	if (file == NULL) {
		api_call_done(call, -ENOMEM);
		return;
	}
	file->fd = fd;
	/* The door was open when the caller came in, and may be closed by now. */
	rc = atomic_load(&api_lib.is_up) ? open_desc(open, file) : -ESHUTDOWN;
	if (rc != 0) {
		free(file);
		api_call_done(call, rc);
		return;
	}
	if (++api_lib.next_generation == 0) {
		api_lib.next_generation = 1;
	}
	file->generation = api_lib.next_generation;
	file->call = call;
	file->hop.fn = open_port;
	file->hop.done = on_opened;
	api_lib.files[fd] = file;
	api_lib.nr_files++;
	xbdev_hop_start(&file->hop, api_lib.ctx);
}

int xbdev_open_with(const char *bdev_name, int flags)
{
	struct open_call open = {.name = bdev_name, .flags = flags};
	struct api_thread *thread;
	int rc;

	if (bdev_name == NULL || (flags & ~(XBDEV_OPEN_READ | XBDEV_OPEN_EXCL)) != 0) {
		return api_fail(-EINVAL, "xbdev_open: %s",
			bdev_name == NULL ? "the name is NULL" : "unknown flags");
	}
	rc = api_enter(&thread, true);
	if (rc != 0) {
		return rc;
	}
	rc = api_call_run(thread, &open.call, on_open);
	api_leave(thread);
	return rc;
}

int xbdev_open(const char *bdev_name)
{
	return xbdev_open_with(bdev_name, XBDEV_OPEN_READWRITE);
}

/* ---- closing ---- */

struct close_call {
	struct api_call call;
	int fd;
};

static void on_close_timer(struct xr_timer *timer)
{
	struct api_file *file = xu_container_of(timer, struct api_file, timer);

	if (!file->is_grace_over) {
		file->is_grace_over = true;
		if (!file->is_cancelling) {
			start_cancelling(file);
		}
		xr_timer_start(xbdev_ctx_control(api_lib.ctx), timer, API_CLOSE_WAIT_NS - GRACE_NS);
		return;
	}
	if (file->call != NULL) {
		xu_error_set(&file->call->err, -EBUSY,
			"device '%s' does not give back I/O that it has; keep the buffers and "
			"close "
			"again",
			file->desc->dev->name);
	}
	answer(file, -EBUSY);
}

static void close_file(struct api_file *file)
{
	file->is_closing = true;
	file->is_grace_over = false;
	atomic_store_explicit(&api_lib.fds[file->fd], 0, memory_order_release);
	if (file->state == FILE_OPEN) {
		start_draining(file);
	}
	file->timer.fn = on_close_timer;
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &file->timer, GRACE_NS);
}

static void on_close(struct api_call *call)
{
	struct close_call *closing = xu_container_of(call, struct close_call, call);
	struct api_file *file = api_lib.files[closing->fd];

	if (file == NULL || file->state == FILE_OPENING || file->call != NULL) {
		xu_error_set(&call->err, -EBADF, "descriptor %d is not open", closing->fd);
		api_call_done(call, -EBADF);
		return;
	}
	if (file->state == FILE_DRAINED) {
		atomic_store_explicit(&api_lib.fds[file->fd], 0, memory_order_release);
		file_free(file);
		api_call_done(call, 0);
		return;
	}
	file->call = call;
	close_file(file);
}

int xbdev_close(int fd)
{
	struct close_call closing = {.fd = fd};
	struct api_thread *thread;
	int rc;

	if (fd < 0 || (uint32_t)fd >= API_MAX_FILES) {
		return api_fail(-EBADF, "descriptor %d is not open", fd);
	}
	rc = api_enter(&thread, true);
	if (rc != 0) {
		return rc;
	}
	rc = api_call_run(thread, &closing.call, on_close);
	api_leave(thread);
	return rc;
}

void api_files_close_all(void)
{
	for (uint32_t fd = 0; fd < API_MAX_FILES; fd++) {
		struct api_file *file = api_lib.files[fd];

		if (file != NULL && file->state == FILE_DRAINED) {
			atomic_store_explicit(&api_lib.fds[fd], 0, memory_order_release);
			file_free(file);
		} else if (file != NULL) {
			close_file(file);
		}
	}
}

/* ---- what is known of a device ---- */

struct info_call {
	struct api_call call;
	int fd;
	xbdev_info_t *infos;
	int max;
};

static void fill_info(const struct xbdev_device *dev, xbdev_info_t *info)
{
	const struct xbdev_limits *limits = &dev->limits;
	bool can_discard = (dev->ops_mask & (1u << XBDEV_OP_DISCARD)) != 0;

	*info = (xbdev_info_t){
		.size_bytes = xbdev_device_size_bytes(dev),
		.block_size = limits->block_size,
		.optimal_io_bytes = limits->optimal_io,
		.max_transfer_bytes = limits->max_transfer,
		.buffer_align_bytes = limits->buf_align,
		.discard_granularity = can_discard ? limits->discard_granularity : 0,
		.queue_depth = limits->queue_depth,
		.numa_node = dev->numa_node,
		.is_read_only = dev->is_read_only,
		.has_write_cache = dev->has_write_cache,
		.is_rotational = dev->is_rotational,
		.is_remote = dev->is_remote,
		.is_claimed = dev->claim != NULL,
		.health = atomic_load(&dev->state) == XBDEV_DEVICE_READY ? XBDEV_HEALTH_OK
									 : XBDEV_HEALTH_FAILED,
	};
	memcpy(info->name, dev->name, sizeof(info->name));
	strncpy(info->driver, dev->driver, sizeof(info->driver) - 1);
	xu_uuid_format(&dev->uuid, info->uuid);
}

static void on_info(struct api_call *call)
{
	struct info_call *ask = xu_container_of(call, struct info_call, call);
	struct api_file *file = api_lib.files[ask->fd];

	if (file == NULL || file->is_closing || file->state == FILE_OPENING) {
		xu_error_set(&call->err, -EBADF, "descriptor %d is not open", ask->fd);
		api_call_done(call, -EBADF);
	} else if (file->is_gone) {
		api_call_done(call, -ENODEV);
	} else {
		fill_info(file->desc->dev, ask->infos);
		api_call_done(call, 0);
	}
}

static void on_list(struct api_call *call)
{
	struct info_call *ask = xu_container_of(call, struct info_call, call);
	struct xbdev_device *dev = NULL;
	int count = 0;

	while ((dev = xbdev_device_next(api_lib.ctx, dev)) != NULL) {
		if (count < ask->max) {
			fill_info(dev, &ask->infos[count]);
		}
		count++;
	}
	api_call_done(call, count);
}

static int ask(struct info_call *info, void (*fn)(struct api_call *call))
{
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_call_run(thread, &info->call, fn);
	api_leave(thread);
	return rc;
}

int xbdev_get_info(int fd, xbdev_info_t *ret_info)
{
	struct info_call info = {.fd = fd};
	xbdev_info_t found;
	int rc;

	if (fd < 0 || (uint32_t)fd >= API_MAX_FILES) {
		return api_fail(-EBADF, "descriptor %d is not open", fd);
	}
	info.infos = &found;
	rc = ask(&info, on_info);
	if (rc == 0) {
		*ret_info = found;
	}
	return rc;
}

int xbdev_list(xbdev_info_t *ret_infos, int max)
{
	struct info_call info = {.infos = ret_infos, .max = ret_infos != NULL ? max : 0};

	return ask(&info, on_list);
}

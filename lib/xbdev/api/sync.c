/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Synchronous I/O. A call is a message of one cache line: what is asked goes to the reactor in it,
 * and the result comes back in it. The caller spins or sleeps meanwhile, so any number of threads
 * may call.
 *
 * A thread whose calls are quick takes a slot of the reactor's: the line lies where the reactor
 * looks, and is all that is crossed between the cores besides the data. That is what the time of a
 * call to a fast device consists of. Other calls have their line on the caller's stack and send it
 * through the inbox; they leave nothing behind.
 *
 * The I/O itself is in the reactor's memory: that of the slot, or from a pool of the shard. When
 * that is empty it is the caller's, from behind the message, so that calls to one device that hangs
 * are in no other's way.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define SYNC_IOS 256u

struct sync_ask {
	uint64_t offset;
	uint64_t len;
	void *buf; /* or the iov when nr_iov != 0 */
	uint32_t generation;
	uint16_t fd;
	uint16_t nr_iov;
	uint8_t op;
	uint8_t flags;
	bool is_in_slot;
};

struct sync_line {
	_Alignas(XU_CACHE_LINE) struct xr_msg msg;
	struct sync_ask ask;
	struct api_event event;
	int16_t status;      /* 0 or -errno */
	uint16_t service_us; /* that it took on the reactor */
};
_Static_assert(sizeof(struct sync_line) == XU_CACHE_LINE, "one cache line");

/* On the caller's stack what is behind the line is seldom touched. */
struct api_sync_call {
	struct sync_line line;
	struct api_io io;
};
_Static_assert(API_MAX_FILES <= UINT16_MAX && API_MAX_IOV <= UINT16_MAX, "fd, nr_iov");

/* ---- on the reactor ---- */

static struct api_io *own_io(struct sync_line *line)
{
	return &xu_container_of(line, struct api_sync_call, line)->io;
}

static struct api_io *get_io(struct api_shard *shard, struct sync_line *line)
{
	struct api_io *aio = line->ask.is_in_slot ? NULL : xu_pool_get(&shard->sync_ios);

	return aio != NULL ? aio : own_io(line);
}

static void put_io(struct api_shard *shard, struct sync_line *line, struct api_io *aio)
{
	if (aio != own_io(line)) {
		xu_pool_put(&shard->sync_ios, aio);
	}
}

static void finish(struct sync_line *line, int status, uint16_t service_us)
{
	line->status = (int16_t)status;
	line->service_us = service_us;
	api_event_set(&line->event);
}

static void on_sync_done(struct api_io *aio, int status)
{
	struct sync_line *line = aio->cookie;
	uint16_t service_us = api_service_us(&aio->io);

	put_io(&api_lib.shards[xr_reactor_index(xr_reactor_current())], line, aio);
	finish(line, status, service_us);
}

static void on_sync(struct xr_msg *msg)
{
	struct api_shard *shard = &api_lib.shards[xr_reactor_index(xr_reactor_current())];
	struct sync_line *line = xu_container_of(msg, struct sync_line, msg);
	const struct sync_ask *ask = &line->ask;
	struct api_io *aio = get_io(shard, line);
	struct xbdev_io *io = &aio->io;
	int rc;

	io->op = ask->op;
	io->flags = ask->flags;
	io->offset = ask->offset;
	io->len = ask->len;
	if (ask->nr_iov != 0) {
		io->iov = ask->buf;
		io->nr_iov = ask->nr_iov;
	} else {
		aio->iov.iov_base = ask->buf;
		aio->iov.iov_len = ask->len;
		io->iov = &aio->iov;
		io->nr_iov = 1;
	}
	aio->done = on_sync_done;
	aio->cookie = line;
	rc = api_io_start(shard, ask->fd, ask->generation, aio);
	if (rc != 0) {
		put_io(shard, line, aio);
		finish(line, rc < 0 ? rc : 0, 0);
	}
}

/* ---- slots ---- */

int api_sync_init(struct api_shard *shard)
{
	int rc = xu_pool_init(&shard->sync_ios, SYNC_IOS, sizeof(struct api_io));

	if (rc != 0) {
		return rc;
	}
	shard->sync_calls = aligned_alloc(XU_CACHE_LINE, XR_SLOTS_MAX * sizeof(*shard->sync_calls));
	if (shard->sync_calls == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < XR_SLOTS_MAX; i++) {
		shard->slots.msgs[i] = &shard->sync_calls[i].line.msg;
	}
	xr_reactor_set_slots(shard->reactor, &shard->slots);
	return 0;
}

void api_sync_fini(struct api_shard *shard)
{
	free(shard->sync_calls);
	shard->sync_calls = NULL;
	xu_pool_fini(&shard->sync_ios);
	shard->sync_ios = (struct xu_pool){0};
}

void api_sync_forget_slots(struct api_thread *thread)
{
	for (uint32_t i = 0; i < XBDEV_MAX_REACTORS; i++) {
		thread->slots[i] = API_NO_SLOT;
	}
}

void api_sync_give_slots(struct api_thread *thread)
{
	for (uint32_t i = 0; i < XBDEV_MAX_REACTORS; i++) {
		if (thread->slots[i] != API_NO_SLOT) {
			xr_slot_give(&api_lib.shards[i].slots, thread->slots[i]);
		}
	}
}

/* The thread's slot at a shard; NULL: none was free, or its calls are not quick. */
static struct sync_line *find_slot(struct api_thread *thread, uint32_t shard)
{
	int8_t *slot = &thread->slots[shard];

	if (api_spin_ns(thread->sync_service_us) == 0) {
		return NULL;
	}
	if (*slot == API_NO_SLOT) {
		*slot = (int8_t)xr_slot_take(&api_lib.shards[shard].slots);
	}
	return *slot != API_NO_SLOT ? &api_lib.shards[shard].sync_calls[*slot].line : NULL;
}

/* ---- the caller ---- */

static int explain(int rc, int fd, const struct sync_ask *ask)
{
	const char *op = xbdev_op_name(ask->op);

	switch (rc) {
	case -EBADF:
		return api_fail(rc, "%s: descriptor %d is not open", op, fd);
	case -EINVAL:
		return api_fail(rc,
			"%s of %llu bytes at %llu: not whole blocks of the device, or past its end",
			op, (unsigned long long)ask->len, (unsigned long long)ask->offset);
	case -EROFS:
		return api_fail(rc, "%s: the device was opened for reading only", op);
	case -ENODEV:
		return api_fail(rc, "%s: the device has been removed", op);
	default:
		return api_fail(rc, "%s of %llu bytes at %llu: %s", op,
			(unsigned long long)ask->len, (unsigned long long)ask->offset,
			xbdev_strerror(rc));
	}
}

static int run_on(uint32_t shard, struct api_thread *thread, struct sync_ask *ask)
{
	struct xr_reactor *reactor = api_lib.shards[shard].reactor;
	struct sync_line *line = find_slot(thread, shard);
	struct api_sync_call call;

	ask->is_in_slot = line != NULL;
	if (line == NULL) {
		line = &call.line;
	}
	line->ask = *ask;
	line->msg.fn = on_sync;
	api_event_init(&line->event);
	if (ask->is_in_slot) {
		xr_slot_send(reactor, &line->msg);
	} else {
		xr_msg_send(reactor, &line->msg);
	}
	api_event_wait(&line->event, thread, thread->sync_service_us);
	thread->sync_service_us = line->service_us;
	return line->status;
}

/* Runs an I/O; `ask` has its op, flags, range and buffers. */
static int run(int fd, struct sync_ask *ask)
{
	struct api_thread *thread;
	uint32_t shard;
	int rc = api_enter(&thread, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_fd_find(fd, thread, &ask->generation, &shard);
	if (rc == 0) {
		ask->fd = (uint16_t)fd;
		rc = run_on(shard, thread, ask);
	}
	api_leave(thread);
	return rc == 0 ? 0 : explain(rc, fd, ask);
}

static ssize_t transfer(
	int fd, enum xbdev_op op, void *buf, size_t count, uint64_t offset, uint32_t flags)
{
	struct sync_ask ask = {.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.offset = offset,
		.len = count,
		.buf = buf};
	int rc;

	if (count > API_MAX_COUNT) {
		return api_fail(-EINVAL, "more than %u bytes asked for in one call", API_MAX_COUNT);
	}
	if (flags & ~XBDEV_IO_FUA) {
		return api_fail(-EINVAL, "unknown flags 0x%x", flags);
	}
	rc = run(fd, &ask);
	return rc == 0 ? (ssize_t)count : rc;
}

static ssize_t transfer_vector(
	int fd, enum xbdev_op op, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	struct sync_ask ask = {.op = (uint8_t)op, .offset = offset, .buf = (void *)(uintptr_t)iov};
	int rc;

	if (iovcnt < 1 || iovcnt > API_MAX_IOV) {
		return api_fail(
			-EINVAL, "%d buffers given, 1 to %d are possible", iovcnt, API_MAX_IOV);
	}
	for (int i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len > API_MAX_COUNT || ask.len + iov[i].iov_len > API_MAX_COUNT) {
			return api_fail(
				-EINVAL, "more than %u bytes asked for in one call", API_MAX_COUNT);
		}
		ask.len += iov[i].iov_len;
	}
	ask.nr_iov = (uint16_t)iovcnt;
	rc = run(fd, &ask);
	return rc == 0 ? (ssize_t)ask.len : rc;
}

ssize_t xbdev_read(int fd, void *buf, size_t count, uint64_t offset)
{
	return transfer(fd, XBDEV_OP_READ, buf, count, offset, 0);
}

ssize_t xbdev_write_with(int fd, const void *buf, size_t count, uint64_t offset, uint32_t flags)
{
	return transfer(fd, XBDEV_OP_WRITE, (void *)(uintptr_t)buf, count, offset, flags);
}

ssize_t xbdev_write(int fd, const void *buf, size_t count, uint64_t offset)
{
	return xbdev_write_with(fd, buf, count, offset, 0);
}

ssize_t xbdev_readv(int fd, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	return transfer_vector(fd, XBDEV_OP_READ, iov, iovcnt, offset);
}

ssize_t xbdev_writev(int fd, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	return transfer_vector(fd, XBDEV_OP_WRITE, iov, iovcnt, offset);
}

int xbdev_compare(int fd, const void *buf, size_t count, uint64_t offset)
{
	ssize_t rc = transfer(fd, XBDEV_OP_COMPARE, (void *)(uintptr_t)buf, count, offset, 0);

	return rc < 0 ? (int)rc : 0;
}

static int no_data(int fd, enum xbdev_op op, uint64_t offset, uint64_t count, uint32_t flags)
{
	struct sync_ask ask = {
		.op = (uint8_t)op, .flags = (uint8_t)flags, .offset = offset, .len = count};

	if (flags & ~(XBDEV_IO_FUA | XBDEV_IO_MAY_UNMAP)) {
		return api_fail(-EINVAL, "unknown flags 0x%x", flags);
	}
	return run(fd, &ask);
}

int xbdev_flush(int fd)
{
	return no_data(fd, XBDEV_OP_FLUSH, 0, 0, 0);
}

int xbdev_discard(int fd, uint64_t offset, uint64_t count)
{
	return no_data(fd, XBDEV_OP_DISCARD, offset, count, 0);
}

int xbdev_write_zeroes(int fd, uint64_t offset, uint64_t count, uint32_t flags)
{
	return no_data(fd, XBDEV_OP_WRITE_ZEROES, offset, count, flags);
}

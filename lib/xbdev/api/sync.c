/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Synchronous I/O. A call is a message of one cache line on the caller's stack: what is asked goes
 * to the reactor in it, and the result comes back in it. The I/O itself is the reactor's, from a
 * pool of its shard; when that is empty it is the caller's, from behind the message, so that calls
 * to one device that hangs are in no other's way. The caller spins or sleeps meanwhile, and leaves
 * nothing behind, so any number of threads may call.
 *
 * Two things are crossed between the cores besides the data: the inbox and this line. That is what
 * the time of a call to a fast device consists of.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

struct sync_io {
	_Alignas(XU_CACHE_LINE) struct xr_msg msg;
	uint64_t offset;
	uint64_t len;
	void *buf; /* or the iov when nr_iov != 0 */
	uint32_t generation;
	uint16_t fd;
	uint16_t nr_iov;
	uint8_t op;
	uint8_t flags;
	uint16_t service_us; /* that it took on the reactor */
	int32_t status;
	struct api_event event;
};
_Static_assert(sizeof(struct sync_io) == XU_CACHE_LINE, "one cache line");

/* The caller's stack; what is behind the message is seldom touched. */
struct sync_call {
	struct sync_io sync;
	struct api_io spare;
};
_Static_assert(API_MAX_FILES <= UINT16_MAX && API_MAX_IOV <= UINT16_MAX, "fd, nr_iov");

/* ---- on the reactor ---- */

static void finish(struct sync_io *sync, int status)
{
	sync->status = status;
	api_event_set(&sync->event);
}

static struct api_io *get_io(struct api_shard *shard, struct sync_io *sync)
{
	struct api_io *aio = xu_pool_get(&shard->sync_ios);

	return aio != NULL ? aio : &xu_container_of(sync, struct sync_call, sync)->spare;
}

static void put_io(struct api_shard *shard, const struct sync_io *sync, struct api_io *aio)
{
	if (aio != &xu_container_of(sync, struct sync_call, sync)->spare) {
		xu_pool_put(&shard->sync_ios, aio);
	}
}

static void on_sync_done(struct api_io *aio, int status)
{
	struct sync_io *sync = aio->cookie;

	sync->service_us = api_service_us(&aio->io);
	put_io(&api_lib.shards[xr_reactor_index(xr_reactor_current())], sync, aio);
	finish(sync, status);
}

static void on_sync(struct xr_msg *msg)
{
	struct api_shard *shard = &api_lib.shards[xr_reactor_index(xr_reactor_current())];
	struct sync_io *sync = xu_container_of(msg, struct sync_io, msg);
	struct api_io *aio = get_io(shard, sync);
	struct xbdev_io *io = &aio->io;
	int rc;

	io->op = sync->op;
	io->flags = sync->flags;
	io->offset = sync->offset;
	io->len = sync->len;
	if (sync->nr_iov != 0) {
		io->iov = sync->buf;
		io->nr_iov = sync->nr_iov;
	} else {
		aio->iov.iov_base = sync->buf;
		aio->iov.iov_len = sync->len;
		io->iov = &aio->iov;
		io->nr_iov = 1;
	}
	aio->done = on_sync_done;
	aio->cookie = sync;
	rc = api_io_start(shard, sync->fd, sync->generation, aio);
	if (rc != 0) {
		put_io(shard, sync, aio);
		finish(sync, rc < 0 ? rc : 0);
	}
}

/* ---- the caller ---- */

static int explain(int rc, int fd, const struct sync_io *sync)
{
	const char *op = xbdev_op_name(sync->op);

	switch (rc) {
	case -EBADF:
		return api_fail(rc, "%s: descriptor %d is not open", op, fd);
	case -EINVAL:
		return api_fail(rc,
			"%s of %llu bytes at %llu: not whole blocks of the device, or past its end",
			op, (unsigned long long)sync->len, (unsigned long long)sync->offset);
	case -EROFS:
		return api_fail(rc, "%s: the device was opened for reading only", op);
	case -ENODEV:
		return api_fail(rc, "%s: the device has been removed", op);
	default:
		return api_fail(rc, "%s of %llu bytes at %llu: %s", op,
			(unsigned long long)sync->len, (unsigned long long)sync->offset,
			xbdev_strerror(rc));
	}
}

/* Runs the I/O whose op, flags, range and buffers are set. */
static int run(int fd, struct sync_call *call)
{
	struct sync_io *sync = &call->sync;
	struct api_thread *thread;
	uint32_t shard;
	int rc = api_enter(&thread, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_fd_find(fd, thread, &sync->generation, &shard);
	if (rc == 0) {
		sync->fd = (uint16_t)fd;
		sync->msg.fn = on_sync;
		sync->service_us = 0;
		api_event_init(&sync->event);
		xr_msg_send(api_lib.shards[shard].reactor, &sync->msg);
		api_event_wait(&sync->event, thread, thread->sync_service_us);
		thread->sync_service_us = sync->service_us;
		rc = sync->status;
	}
	api_leave(thread);
	return rc == 0 ? 0 : explain(rc, fd, sync);
}

static ssize_t transfer(
	int fd, enum xbdev_op op, void *buf, size_t count, uint64_t offset, uint32_t flags)
{
	struct sync_call call;
	int rc;

	if (count > API_MAX_COUNT) {
		return api_fail(-EINVAL, "more than %u bytes asked for in one call", API_MAX_COUNT);
	}
	if (flags & ~XBDEV_IO_FUA) {
		return api_fail(-EINVAL, "unknown flags 0x%x", flags);
	}
	call.sync = (struct sync_io){.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.offset = offset,
		.len = count,
		.buf = buf};
	rc = run(fd, &call);
	return rc == 0 ? (ssize_t)count : rc;
}

static ssize_t transfer_vector(
	int fd, enum xbdev_op op, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	struct sync_call call;
	uint64_t len = 0;
	int rc;

	if (iovcnt < 1 || iovcnt > API_MAX_IOV) {
		return api_fail(
			-EINVAL, "%d buffers given, 1 to %d are possible", iovcnt, API_MAX_IOV);
	}
	for (int i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len > API_MAX_COUNT || len + iov[i].iov_len > API_MAX_COUNT) {
			return api_fail(
				-EINVAL, "more than %u bytes asked for in one call", API_MAX_COUNT);
		}
		len += iov[i].iov_len;
	}
	call.sync = (struct sync_io){.op = (uint8_t)op,
		.offset = offset,
		.len = len,
		.buf = (void *)(uintptr_t)iov,
		.nr_iov = (uint16_t)iovcnt};
	rc = run(fd, &call);
	return rc == 0 ? (ssize_t)len : rc;
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
	struct sync_call call;

	if (flags & ~(XBDEV_IO_FUA | XBDEV_IO_MAY_UNMAP)) {
		return api_fail(-EINVAL, "unknown flags 0x%x", flags);
	}
	call.sync = (struct sync_io){
		.op = (uint8_t)op, .flags = (uint8_t)flags, .offset = offset, .len = count};
	return run(fd, &call);
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

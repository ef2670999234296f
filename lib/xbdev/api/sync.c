/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Synchronous I/O: the I/O is a message on the caller's stack, which the reactor starts, completes
 * and then never touches again; the caller spins or sleeps until then. A call takes one slot of the
 * reactor's inbox and leaves nothing behind, so any number of threads may make them.
 */
#include <errno.h>

#include "lib/xbdev/api/private.h"

struct sync_io {
	struct xr_msg msg;
	struct api_io aio;
	struct api_shard *shard;
	int fd;
	uint32_t generation;
	int status;
	struct api_event event;
};

static void on_sync_done(struct api_io *aio, int status)
{
	struct sync_io *sync = xu_container_of(aio, struct sync_io, aio);

	sync->status = status;
	api_event_set(&sync->event);
}

static void on_sync(struct xr_msg *msg)
{
	struct sync_io *sync = xu_container_of(msg, struct sync_io, msg);
	int rc = api_io_start(sync->shard, sync->fd, sync->generation, &sync->aio);

	if (rc != 0) {
		on_sync_done(&sync->aio, rc);
	}
}

static int explain(int rc, int fd, const struct xbdev_io *io)
{
	const char *op = xbdev_op_name(io->op);

	switch (rc) {
	case -EBADF:
		return api_fail(rc, "%s: descriptor %d is not open", op, fd);
	case -EINVAL:
		return api_fail(rc,
			"%s of %llu bytes at %llu: not whole blocks of the device, or past its end",
			op, (unsigned long long)io->len, (unsigned long long)io->offset);
	case -EROFS:
		return api_fail(rc, "%s: the device was opened for reading only", op);
	case -ENODEV:
		return api_fail(rc, "%s: the device has been removed", op);
	default:
		return api_fail(rc, "%s of %llu bytes at %llu: %s", op, (unsigned long long)io->len,
			(unsigned long long)io->offset, xbdev_strerror(rc));
	}
}

/* Runs the I/O whose op, flags, range and iov are set. */
static int run(int fd, struct sync_io *sync)
{
	struct api_thread *thread;
	uint32_t shard;
	int rc = api_enter(&thread, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_fd_find(fd, thread, &sync->generation, &shard);
	if (rc == 0) {
		sync->fd = fd;
		sync->shard = &api_lib.shards[shard];
		sync->aio.done = on_sync_done;
		sync->msg.fn = on_sync;
		api_event_init(&sync->event);
		xr_msg_send(sync->shard->reactor, &sync->msg);
		api_event_wait(&sync->event, thread, &thread->sync_average_ns);
		rc = sync->status;
	}
	api_leave(thread);
	return rc == 0 ? 0 : explain(rc, fd, &sync->aio.io);
}

static ssize_t transfer(int fd, enum xbdev_op op, const struct iovec *iov, int iovcnt,
	uint64_t offset, uint32_t flags)
{
	struct sync_io sync;
	struct xbdev_io *io = &sync.aio.io;
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
	if (len == 0) {
		return 0;
	}
	if (flags & ~XBDEV_IO_FUA) {
		return api_fail(-EINVAL, "unknown flags 0x%x", flags);
	}
	io->op = (uint8_t)op;
	io->flags = (uint8_t)flags;
	io->offset = offset;
	io->len = len;
	io->iov = iov;
	io->nr_iov = (uint32_t)iovcnt;
	rc = run(fd, &sync);
	return rc == 0 ? (ssize_t)len : rc;
}

ssize_t xbdev_read(int fd, void *buf, size_t count, uint64_t offset)
{
	struct iovec iov = {.iov_base = buf, .iov_len = count};

	return transfer(fd, XBDEV_OP_READ, &iov, 1, offset, 0);
}

ssize_t xbdev_write_with(int fd, const void *buf, size_t count, uint64_t offset, uint32_t flags)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = count};

	return transfer(fd, XBDEV_OP_WRITE, &iov, 1, offset, flags);
}

ssize_t xbdev_write(int fd, const void *buf, size_t count, uint64_t offset)
{
	return xbdev_write_with(fd, buf, count, offset, 0);
}

ssize_t xbdev_readv(int fd, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	return transfer(fd, XBDEV_OP_READ, iov, iovcnt, offset, 0);
}

ssize_t xbdev_writev(int fd, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	return transfer(fd, XBDEV_OP_WRITE, iov, iovcnt, offset, 0);
}

int xbdev_compare(int fd, const void *buf, size_t count, uint64_t offset)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = count};
	ssize_t rc = transfer(fd, XBDEV_OP_COMPARE, &iov, 1, offset, 0);

	return rc < 0 ? (int)rc : 0;
}

static int no_data(int fd, enum xbdev_op op, uint64_t offset, uint64_t count, uint32_t flags)
{
	struct sync_io sync;
	struct xbdev_io *io = &sync.aio.io;

	if (flags & ~(XBDEV_IO_FUA | XBDEV_IO_MAY_UNMAP)) {
		return api_fail(-EINVAL, "unknown flags 0x%x", flags);
	}
	io->op = (uint8_t)op;
	io->flags = (uint8_t)flags;
	io->offset = offset;
	io->len = count;
	io->iov = NULL;
	io->nr_iov = 0;
	return run(fd, &sync);
}

int xbdev_flush(int fd)
{
	return no_data(fd, XBDEV_OP_FLUSH, 0, 0, 0);
}

int xbdev_discard(int fd, uint64_t offset, uint64_t count)
{
	return count == 0 ? 0 : no_data(fd, XBDEV_OP_DISCARD, offset, count, 0);
}

int xbdev_write_zeroes(int fd, uint64_t offset, uint64_t count, uint32_t flags)
{
	return count == 0 ? 0 : no_data(fd, XBDEV_OP_WRITE_ZEROES, offset, count, flags);
}

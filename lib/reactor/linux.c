/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Linux platform: system clocks, getrandom, files with their alignment rules, TCP sockets, and
 * a pool of at most four threads for calls that can only block, started with the first of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/reactor/address.h"
#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/reactor/uring.h"
#include "lib/util/error.h"
#include "lib/util/filelock.h"

#define MAX_WORKERS 4u
#define MAX_OPENS   3u

/* ---- entropy ---- */

static void linux_entropy(const struct xr_platform *platform, void *buf, size_t len_bytes)
{
	(void)platform;
	while (len_bytes != 0) {
		ssize_t got = getrandom(buf, len_bytes, 0);

		if (got > 0) {
			buf = (char *)buf + got;
			len_bytes -= (size_t)got;
		}
	}
}

/* ---- CPUs ---- */

static int32_t linux_cpu_numa_node(const struct xr_platform *platform, int cpu)
{
	const int32_t max_nodes = 1024;
	char path[64];

	(void)platform;
	for (int32_t node = 0; node < max_nodes; node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
		if (access(path, F_OK) != 0) {
			continue;
		}
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpu%d", node, cpu);
		if (access(path, F_OK) == 0) {
			return node;
		}
	}
	return -1;
}

/* ---- files ---- */

/* Reads a small number from a sysfs file of the block device; `fallback` when there is none. */
static int64_t sysfs_number(dev_t dev, const char *attribute, int64_t fallback)
{
	char path[PATH_MAX], text[32];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return fallback;
	}
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0) {
		return fallback;
	}
	text[got] = '\0';
	return strtoll(text, NULL, 10);
}

/* The attribute of a disk, looked for at the partition's parent when the device has no queue. */
static int64_t queue_number(dev_t dev, const char *name, int64_t fallback)
{
	char attribute[64];
	int64_t value;

	snprintf(attribute, sizeof(attribute), "queue/%s", name);
	value = sysfs_number(dev, attribute, INT64_MIN);
	if (value == INT64_MIN) {
		snprintf(attribute, sizeof(attribute), "../queue/%s", name);
		value = sysfs_number(dev, attribute, fallback);
	}
	return value;
}

static bool has_write_back_cache(dev_t dev)
{
	char path[PATH_MAX], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/write_cache", major(dev),
		minor(dev));
	file = fopen(path, "re");
	if (file == NULL) {
		return true; /* not known: a flush does no harm */
	}
	if (fgets(text, sizeof(text), file) == NULL) {
		text[0] = '\0';
	}
	fclose(file);
	return strncmp(text, "write through", 13) != 0;
}

static int block_device_info(int fd, struct xr_file_info *info)
{
	int block_size = 512;
	uint64_t size = 0;

	if (ioctl(fd, BLKGETSIZE64, &size) != 0 || ioctl(fd, BLKSSZGET, &block_size) != 0) {
		return -errno;
	}
	info->is_block_device = true;
	info->size_bytes = size;
	info->block_size = (uint32_t)block_size;
	return 0;
}

/* What O_DIRECT asks for: from statx where the kernel tells (6.1), else the block size. */
static void direct_alignment(int fd, struct xr_file_info *info)
{
	info->mem_align = info->block_size;
	info->io_align = info->block_size;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
		(stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align != 0) {
		info->mem_align = stx.stx_dio_mem_align;
		info->io_align = stx.stx_dio_offset_align;
	}
#endif
}

static int linux_file_info(
	const struct xr_platform *platform, int fd, struct xr_file_info *ret_info)
{
	struct xr_file_info info = {.numa_node = -1, .has_write_cache = true};
	int flags = fcntl(fd, F_GETFL);
	struct stat st;
	dev_t dev;

	(void)platform;
	if (flags < 0 || fstat(fd, &st) != 0) {
		return -errno;
	}
	if (S_ISBLK(st.st_mode)) {
		int rc = block_device_info(fd, &info);

		if (rc != 0) {
			return rc;
		}
		dev = st.st_rdev;
		info.has_write_cache = has_write_back_cache(dev);
	} else if (S_ISREG(st.st_mode)) {
		dev = st.st_dev;
		info.size_bytes = (uint64_t)st.st_size;
		info.block_size = (uint32_t)queue_number(dev, "logical_block_size", 512);
	} else {
		return -ENOTBLK;
	}
	info.is_rotational = queue_number(dev, "rotational", 0) == 1;
	info.numa_node = (int32_t)sysfs_number(dev, "device/numa_node", -1);
	info.is_direct = (flags & O_DIRECT) != 0;
	info.mem_align = 1;
	info.io_align = 1;
	if (info.is_direct) {
		direct_alignment(fd, &info);
	} else {
		info.has_write_cache = true; /* the page cache, whatever the drive has */
	}
	*ret_info = info;
	return 0;
}

/* Whether the path leads to this file now. */
static bool is_at(const char *path, int fd)
{
	struct stat there, here;

	return stat(path, &there) == 0 && fstat(fd, &here) == 0 && there.st_dev == here.st_dev &&
	       there.st_ino == here.st_ino;
}

/* Makes a file that is missing; the descriptor, or -1 when there is one or it cannot be made.
 * Nobody else has made it then, so it may be taken back. */
static int make_file(const char *path, const struct xr_file_opts *opts)
{
	return opts->create && !opts->is_read_only
		       ? open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)
		       : -1;
}

static void linux_file_unmake(const struct xr_platform *platform, const char *path, int fd)
{
	struct stat st;

	(void)platform;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		return;
	}
	/* What file_can() has tried beyond the end takes up space on some file systems. */
	if (st.st_blocks != 0 && (ftruncate(fd, st.st_size) != 0 || fstat(fd, &st) != 0)) {
		return;
	}
	if (st.st_nlink == 1 && st.st_blocks == 0 && is_at(path, fd)) {
		unlink(path);
	}
}

/* Opens with O_DIRECT when asked and possible, else without. */
static int open_file(const char *path, const struct xr_file_opts *opts)
{
	int flags = (opts->is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	struct stat st;
	int fd;

	if (opts->create && !opts->is_read_only) {
		flags |= O_CREAT;
	}
	if (opts->exclusive && stat(path, &st) == 0 && S_ISBLK(st.st_mode)) {
		/* Refuses a device that is mounted or claimed; with O_CREAT it would mean another
		 * thing. */
		flags = (flags & ~O_CREAT) | O_EXCL;
	}
	fd = open(path, flags | (opts->direct ? O_DIRECT : 0), 0600);
	if (fd < 0 && errno == EINVAL && opts->direct) {
		fd = open(path, flags, 0600);
	}
	return fd < 0 ? -errno : fd;
}

/* Opens and locks. Who waits for a lock may get that of a file which has been removed meanwhile,
 * and what is written there is lost with the last close: then the path is opened anew. */
static int open_and_lock(const char *path, const struct xr_file_opts *opts, struct xu_error *err)
{
	for (uint32_t i = 0; i < MAX_OPENS; i++) {
		int fd = open_file(path, opts);

		if (fd < 0) {
			return xu_error_set_errno(err, fd, "opening %s%s", path,
				fd == -EBUSY ? " (mounted, or used by another program)" : "");
		}
		if (!opts->exclusive) {
			return fd;
		}
		if (xu_file_lock(fd, opts->is_read_only) != 0) {
			close(fd);
			break;
		}
		if (is_at(path, fd)) {
			return fd;
		}
		close(fd);
	}
	return xu_error_set(
		err, -EBUSY, "%s is locked: another process or another device here uses it", path);
}

/* A new file is found again after a power failure only when its directory has been written. */
static int sync_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX];
	int fd, rc;

	if (slash == NULL) {
		strcpy(directory, ".");
	} else {
		snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path + 1), path);
	}
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	rc = fsync(fd) == 0 ? 0 : -errno;
	close(fd);
	return rc;
}

/* What is to be done with a file once it is open: its size, its directory, what is known of it. */
static int prepare_file(const char *path, int fd, const struct xr_file_opts *opts, bool is_missing,
	struct xr_file_info *ret_info, struct xu_error *err)
{
	struct stat st;
	int rc;

	if (opts->create && opts->size_bytes != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		(uint64_t)st.st_size < opts->size_bytes &&
		ftruncate(fd, (off_t)opts->size_bytes) != 0) {
		return xu_error_set_errno(err, -errno, "growing %s to %llu bytes", path,
			(unsigned long long)opts->size_bytes);
	}
	rc = is_missing ? sync_directory_of(path) : 0;
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "writing the directory of %s", path);
	}
	rc = linux_file_info(NULL, fd, ret_info);
	if (rc != 0) {
		xu_error_set(err, rc, "%s is neither a regular file nor a block device", path);
	}
	return rc;
}

static int linux_file_open(const struct xr_platform *platform, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	bool is_missing = opts->create && access(path, F_OK) != 0;
	int made = make_file(path, opts), fd = open_and_lock(path, opts, err), rc = fd;

	if (fd >= 0) {
		rc = prepare_file(path, fd, opts, is_missing, ret_info, err);
	}
	if (rc >= 0) {
		ret_info->is_new = made >= 0 && is_at(path, made);
		rc = fd;
	} else if (fd >= 0) {
		close(fd);
	}
	if (made >= 0) {
		if (rc < 0) {
			linux_file_unmake(platform, path, made);
		}
		close(made);
	}
	return rc;
}

static int linux_file_resize(const struct xr_platform *platform, int fd, uint64_t size_bytes)
{
	(void)platform;
	return ftruncate(fd, (off_t)size_bytes) == 0 ? 0 : -errno;
}

static int linux_file_sync(const struct xr_platform *platform, int fd)
{
	(void)platform;
	return fsync(fd) == 0 ? 0 : -errno;
}

static bool linux_file_can(const struct xr_platform *platform, int fd, int fallocate_mode)
{
	const off_t probe_len = 4096;
	struct stat st;
	off_t end;

	(void)platform;
	if (fstat(fd, &st) != 0) {
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		/* A block device has nothing beyond its end. It deallocates with zeroes when its
		 * queue tells a limit for that. */
		return queue_number(st.st_rdev, "write_zeroes_max_bytes", 0) > 0;
	}
	end = (st.st_size + probe_len - 1) / probe_len * probe_len;
	if (fallocate(fd, fallocate_mode, end, probe_len) != 0) {
		return false;
	}
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end, probe_len);
	return true;
}

static int linux_file_discard(
	const struct xr_platform *platform, int fd, uint64_t offset, uint64_t len, bool is_zero)
{
	uint64_t range[2] = {offset, len};

	(void)platform;
	return ioctl(fd, is_zero ? BLKZEROOUT : BLKDISCARD, range) == 0 ? 0 : -errno;
}

/* ---- sockets ---- */

static int linux_tcp_socket(const struct xr_platform *platform, const char *address)
{
	struct sockaddr_storage addr;
	int fd, len;

	(void)platform;
	len = xr_address_parse(address, 0, &addr);
	if (len < 0) {
		return len;
	}
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int linux_tcp_listen(
	const struct xr_platform *platform, const struct xr_listen_opts *opts, struct xu_error *err)
{
	struct sockaddr_storage addr;
	int one = 1, len, fd, rc;

	len = xr_address_parse(opts->address, opts->port, &addr);
	if (len < 0) {
		return xu_error_set(err, -EINVAL,
			"'%s' is not a numeric IPv4 or IPv6 address to listen on", opts->address);
	}
	fd = linux_tcp_socket(platform, opts->address);
	if (fd < 0) {
		return xu_error_set_errno(err, fd, "making a socket for %s", opts->address);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (addr.ss_family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	}
	if (bind(fd, (struct sockaddr *)&addr, (socklen_t)len) != 0 ||
		listen(fd, (int)opts->backlog) != 0) {
		rc = -errno;
		close(fd);
		return xu_error_set_errno(
			err, rc, "listening on %s port %u", opts->address, opts->port);
	}
	return fd;
}

static int linux_sock_name(const struct xr_platform *platform, int fd, bool is_peer,
	char address[XR_ADDRESS_SIZE], uint16_t *ret_port)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int rc;

	(void)platform;
	rc = is_peer ? getpeername(fd, (struct sockaddr *)&addr, &len)
		     : getsockname(fd, (struct sockaddr *)&addr, &len);
	return rc != 0 ? -errno : xr_address_format(&addr, address, ret_port);
}

static void linux_sock_tune(const struct xr_platform *platform, int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		/* A peer that has vanished is found out after two minutes: it is asked after one
		 * without a word, and so is one that leaves what was sent unacknowledged. */
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 60},
		{IPPROTO_TCP, TCP_KEEPINTVL, 10},
		{IPPROTO_TCP, TCP_KEEPCNT, 6},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 120000},
	};

	(void)platform;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			sizeof(options[i].value));
	}
}

static void linux_sock_shutdown(const struct xr_platform *platform, int fd)
{
	(void)platform;
	shutdown(fd, SHUT_RDWR);
}

static void linux_close(const struct xr_platform *platform, int fd)
{
	(void)platform;
	close(fd);
}

/* ---- kernel events ---- */

static int linux_uevent_open(const struct xr_platform *platform)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int size = 1 << 20, fd;

	(void)platform;
	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (fd < 0) {
		return -errno;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static int linux_uevent_read(const struct xr_platform *platform, int fd, void *buf, size_t size)
{
	struct sockaddr_nl addr;
	socklen_t addr_len;
	ssize_t len;

	(void)platform;
	do {
		addr_len = sizeof(addr);
		len = recvfrom(fd, buf, size, 0, (struct sockaddr *)&addr, &addr_len);
		/* Other programs may send here too; the kernel's number is 0. */
	} while ((len < 0 && errno == EINTR) || (len >= 0 && addr.nl_pid != 0));
	return len < 0 ? -errno : (int)len;
}

/* ---- workers ---- */

/* The process's pool: it serves every context, because what it bounds is threads. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t has_work;
	struct xu_list queue;
	uint32_t nr_queued, nr_threads, nr_idle;
} workers = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.has_work = PTHREAD_COND_INITIALIZER,
	.queue = {&workers.queue, &workers.queue},
};

static void on_work_done(struct xr_msg *msg)
{
	struct xr_work *work = xu_container_of(msg, struct xr_work, msg);

	work->done(work);
}

static void *worker_main(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "xsan-worker");
	pthread_mutex_lock(&workers.lock);
	for (;;) {
		struct xr_work *work;

		while (xu_list_is_empty(&workers.queue)) {
			workers.nr_idle++;
			pthread_cond_wait(&workers.has_work, &workers.lock);
			workers.nr_idle--;
		}
		work = xu_list_entry(xu_list_pop(&workers.queue), struct xr_work, link);
		workers.nr_queued--;
		pthread_mutex_unlock(&workers.lock);
		work->work(work);
		/* Under the lock, for xr__workers_settle(): the reactor may have run the message
		 * before the sending of it is over. */
		pthread_mutex_lock(&workers.lock);
		xr_msg_send(work->reactor, &work->msg);
	}
	return NULL;
}

void xr__workers_settle(void)
{
	pthread_mutex_lock(&workers.lock);
	pthread_mutex_unlock(&workers.lock);
}

static void linux_work_submit(const struct xr_platform *platform, struct xr_work *work)
{
	bool must_run_here = false;
	pthread_t thread;

	(void)platform;
	work->msg.fn = on_work_done;
	pthread_mutex_lock(&workers.lock);
	/* A thread that was woken for earlier work counts as idle until it has taken it. */
	if (workers.nr_queued >= workers.nr_idle && workers.nr_threads < MAX_WORKERS) {
		if (pthread_create(&thread, NULL, worker_main, NULL) == 0) {
			pthread_detach(thread);
			workers.nr_threads++;
		} else {
			must_run_here = workers.nr_threads == 0;
		}
	}
	if (!must_run_here) {
		workers.nr_queued++;
		xu_list_add_tail(&workers.queue, &work->link);
		pthread_cond_signal(&workers.has_work);
	}
	pthread_mutex_unlock(&workers.lock);
	if (must_run_here) {
		work->work(work);
		xr_msg_send(work->reactor, &work->msg);
	}
}

/* ---- the table ---- */

static struct xr_platform linux_platform = {
	.name = "linux",
	.cpu_numa_node = linux_cpu_numa_node,
	.entropy = linux_entropy,
	.ring_new = xr__uring_new,
	.cmd_ring = &xr__cmd_ring_ops,
	.file_open = linux_file_open,
	.file_info = linux_file_info,
	.file_unmake = linux_file_unmake,
	.file_resize = linux_file_resize,
	.file_sync = linux_file_sync,
	.file_can = linux_file_can,
	.file_discard = linux_file_discard,
	.tcp_listen = linux_tcp_listen,
	.tcp_socket = linux_tcp_socket,
	.sock_name = linux_sock_name,
	.sock_tune = linux_sock_tune,
	.sock_shutdown = linux_sock_shutdown,
	.uevent_open = linux_uevent_open,
	.uevent_read = linux_uevent_read,
	.close = linux_close,
	.work_submit = linux_work_submit,
};

static void set_clock(void)
{
	linux_platform.clock = xu_clock_system();
}

const struct xr_platform *xr_platform_linux(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_clock);
	return &linux_platform;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls of the Linux platform that do not go through a ring: opening files as their users want
 * them, what is told of them, locks, and the sentences of refusals. */
#include "test/unit/reactor/test.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/util/error.h"

#define PUNCH_MODE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO_MODE  (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

struct folder {
	char path[64], file[128];
};

static int make_folder(void **state)
{
	static struct folder folder;

	strcpy(folder.path, "/tmp/xsan-test-linux-XXXXXX");
	if (mkdtemp(folder.path) == NULL) {
		return -1;
	}
	snprintf(folder.file, sizeof(folder.file), "%s/file", folder.path);
	*state = &folder;
	return 0;
}

static int remove_folder(void **state)
{
	struct folder *folder = *state;

	unlink(folder->file);
	return rmdir(folder->path);
}

static int do_open(const char *path, const struct xr_file_opts *opts, struct xr_file_info *ret_info,
	struct xu_error *err)
{
	const struct xr_platform *platform = xr_platform_linux();

	*err = (struct xu_error){0};
	return platform->file_open(platform, path, opts, ret_info, err);
}

static void test_file_open_creates_and_grows(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct folder *folder = *state;
	struct xr_file_opts opts = {.create = true, .size_bytes = 1 << 20};
	struct xr_file_info info;
	struct xu_error err;
	struct stat st;
	int fd;

	opts.create = false;
	assert_int_equal(do_open(folder->file, &opts, &info, &err), -ENOENT);
	assert_non_null(strstr(err.text, folder->file));
	opts.create = true;
	fd = do_open(folder->file, &opts, &info, &err);
	assert_true(fd >= 0);
	assert_int_equal(info.size_bytes, 1 << 20);
	assert_true(info.is_new);
	assert_false(info.is_block_device || info.is_direct);
	assert_true(info.has_write_cache);
	assert_true(info.block_size >= 512);
	assert_int_equal(info.mem_align, 1);
	assert_int_equal(info.io_align, 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0); /* sparse */
	assert_int_equal(st.st_mode & 0777, 0600);
	platform->close(platform, fd);

	opts.size_bytes = 512; /* never smaller */
	fd = do_open(folder->file, &opts, &info, &err);
	assert_int_equal(info.size_bytes, 1 << 20);
	assert_false(info.is_new);
	assert_int_equal(platform->file_resize(platform, fd, 3 << 20), 0);
	assert_int_equal(platform->file_info(platform, fd, &info), 0);
	assert_int_equal(info.size_bytes, 3 << 20);
	assert_int_equal(platform->file_sync(platform, fd), 0);
	assert_int_equal(platform->file_info(platform, -1, &info), -EBADF);
	platform->close(platform, fd);
}

static void test_file_open_direct_tells_what_it_asks_for(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct folder *folder = *state;
	struct xr_file_opts opts = {.create = true, .size_bytes = 65536, .direct = true};
	struct xr_reactor *reactor = test_reactor();
	struct xr_file_info info;
	struct xu_error err;
	int fd = do_open(folder->file, &opts, &info, &err);
	char *memory = aligned_alloc(4096, 8192);

	assert_true(fd >= 0 && memory != NULL);
	assert_int_equal(info.is_direct, (fcntl(fd, F_GETFL) & O_DIRECT) != 0);
	if (!info.is_direct) {
		print_message("no direct I/O here: only the fall-back was tested\n");
		assert_int_equal(info.mem_align, 1);
	} else {
		assert_in_range(info.mem_align, 1, 4096);
		assert_in_range(info.io_align, 512, 4096);
		assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, XR_OP_DSYNC, fd, info.io_align,
					 memory + info.mem_align, info.io_align),
			info.io_align);
		assert_int_equal(
			test_do_rw(reactor, XR_OP_READ, 0, fd, 1, memory, info.io_align), -EINVAL);
	}
	free(memory);
	platform->close(platform, fd);
	xr_reactor_free(reactor);
}

static void test_file_open_exclusive(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct folder *folder = *state;
	struct xr_file_opts writer = {.create = true, .size_bytes = 512, .exclusive = true};
	struct xr_file_opts reader = {.is_read_only = true, .exclusive = true};
	struct xr_file_opts any = {.is_read_only = true};
	struct xr_file_info info;
	struct xu_error err;
	int fd = do_open(folder->file, &writer, &info, &err), other;

	assert_true(fd >= 0);
	assert_int_equal(do_open(folder->file, &writer, &info, &err), -EBUSY);
	assert_non_null(strstr(err.text, "is locked"));
	assert_int_equal(do_open(folder->file, &reader, &info, &err), -EBUSY);
	other = do_open(folder->file, &any, &info, &err); /* does not ask */
	assert_true(other >= 0);
	platform->close(platform, other);
	platform->close(platform, fd);
	fd = do_open(folder->file, &reader, &info, &err);
	other = do_open(folder->file, &reader, &info, &err);
	assert_true(fd >= 0 && other >= 0);
	assert_int_equal(do_open(folder->file, &writer, &info, &err), -EBUSY);
	platform->close(platform, fd);
	platform->close(platform, other);
}

static void test_file_open_refuses_what_is_no_disk(void **state)
{
	struct xr_file_opts opts = {0}, read_only = {.is_read_only = true};
	struct folder *folder = *state;
	struct xr_file_info info;
	struct xu_error err;

	assert_int_equal(do_open("/dev/null", &opts, &info, &err), -ENOTBLK);
	assert_non_null(strstr(err.text, "neither a regular file nor a block device"));
	assert_int_equal(do_open(folder->path, &read_only, &info, &err), -ENOTBLK);
	assert_int_equal(do_open(folder->path, &opts, &info, &err), -EISDIR);
}

/* Probing must not change the file. */
static void test_file_can_leaves_the_file_alone(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct folder *folder = *state;
	struct xr_file_opts opts = {.create = true, .size_bytes = 10000};
	struct xr_file_info info;
	struct xu_error err;
	struct stat st;
	char byte = 'x';
	int fd = do_open(folder->file, &opts, &info, &err), pipes[2];

	assert_int_equal(pwrite(fd, &byte, 1, 9999), 1);
	assert_int_equal(fsync(fd), 0);
	if (!platform->file_can(platform, fd, PUNCH_MODE)) {
		print_message("no hole punching here\n");
	}
	platform->file_can(platform, fd, ZERO_MODE);
	assert_false(platform->file_can(platform, fd, FALLOC_FL_COLLAPSE_RANGE | 0x4000));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 10000);
	assert_true(st.st_blocks <= 16);
	assert_int_equal(pread(fd, &byte, 1, 9999), 1);
	assert_int_equal(byte, 'x');
	assert_true(platform->file_discard(platform, fd, 0, 4096, false) < 0); /* no device */
	assert_int_equal(pread(fd, &byte, 1, 9999), 1);
	assert_int_equal(byte, 'x');
	platform->close(platform, fd);
	assert_int_equal(pipe(pipes), 0);
	assert_false(platform->file_can(platform, -1, PUNCH_MODE));
	close(pipes[0]);
	close(pipes[1]);
}

/* A file that was made for nothing goes again; one that was there before stays. */
static void test_file_open_that_fails_leaves_no_file(void **state)
{
	struct folder *folder = *state;
	struct xr_file_opts opts = {.create = true, .exclusive = true, .size_bytes = 1ull << 62};
	struct xr_file_info info;
	struct xu_error err;

	assert_true(do_open(folder->file, &opts, &info, &err) < 0);
	assert_non_null(strstr(err.text, "growing"));
	assert_int_equal(access(folder->file, F_OK), -1);
	close(open(folder->file, O_CREAT | O_WRONLY, 0600));
	assert_true(do_open(folder->file, &opts, &info, &err) < 0);
	assert_int_equal(access(folder->file, F_OK), 0);
}

static void test_file_unmake_spares_what_is_not_ours(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct xr_file_opts opts = {.create = true, .exclusive = true, .size_bytes = 65536};
	struct folder *folder = *state;
	struct xr_file_info info;
	struct xu_error err;
	char other[160];
	int fd, reader;

	snprintf(other, sizeof(other), "%s/other", folder->path);
	fd = do_open(folder->file, &opts, &info, &err);
	assert_true(fd >= 0);
	/* In its place there is another one, or it has a second name. */
	assert_int_equal(rename(folder->file, other), 0);
	close(open(folder->file, O_CREAT | O_WRONLY, 0600));
	platform->file_unmake(platform, folder->file, fd);
	assert_int_equal(access(folder->file, F_OK), 0);
	assert_int_equal(unlink(folder->file), 0);
	assert_int_equal(link(other, folder->file), 0);
	platform->file_unmake(platform, folder->file, fd);
	assert_int_equal(access(folder->file, F_OK), 0);
	assert_int_equal(unlink(other), 0);
	/* Written by somebody who does not ask for locks. */
	assert_int_equal(pwrite(fd, "x", 1, 30000), 1);
	platform->file_unmake(platform, folder->file, fd);
	assert_int_equal(access(folder->file, F_OK), 0);
	assert_int_equal(fallocate(fd, PUNCH_MODE, 0, 65536), 0);
	/* What was only tried is not written. */
	platform->file_can(platform, fd, PUNCH_MODE);
	platform->file_can(platform, fd, ZERO_MODE);
	platform->file_unmake(platform, folder->file, fd);
	assert_int_equal(access(folder->file, F_OK), -1);
	platform->close(platform, fd);
	/* Locked by somebody else since. */
	fd = do_open(folder->file, &opts, &info, &err);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	reader = open(folder->file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(reader, LOCK_SH | LOCK_NB), 0);
	platform->file_unmake(platform, folder->file, fd);
	assert_int_equal(access(folder->file, F_OK), 0);
	platform->close(platform, fd);
	close(reader);
}

struct holder {
	const char *path;
	int fd; /* has the lock */
};

static void *unlink_and_unlock(void *arg)
{
	const struct timespec pause = {.tv_nsec = 200000000};
	struct holder *holder = arg;

	nanosleep(&pause, NULL);
	unlink(holder->path);
	close(holder->fd);
	return NULL;
}

/* Who waits for the lock of a file that goes meanwhile gets no file without a name: what is
 * written there would be lost. */
static void test_file_open_gets_the_file_that_is_there(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct xr_file_opts opts = {.create = true, .exclusive = true, .size_bytes = 4096};
	struct folder *folder = *state;
	struct xr_file_info info;
	struct stat here, there;
	struct xu_error err;
	struct holder holder;
	pthread_t thread;
	int fd;

	holder.path = folder->file;
	holder.fd = open(folder->file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(holder.fd >= 0);
	assert_int_equal(flock(holder.fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(pthread_create(&thread, NULL, unlink_and_unlock, &holder), 0);
	fd = do_open(folder->file, &opts, &info, &err);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &here), 0);
	assert_int_equal(stat(folder->file, &there), 0);
	assert_int_equal(here.st_ino, there.st_ino);
	assert_int_equal(here.st_nlink, 1);
	platform->close(platform, fd);
}

static void test_listen_says_why_not(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	struct xr_listen_opts opts = {.address = "127.0.0.1", .backlog = 1};
	struct xu_error err = {0};
	char text[XR_ADDRESS_SIZE];
	int fd = platform->tcp_listen(platform, &opts, &err);

	assert_true(fd >= 0);
	assert_int_equal(platform->sock_name(platform, fd, false, text, &opts.port), 0);
	assert_int_equal(platform->tcp_listen(platform, &opts, &err), -EADDRINUSE);
	snprintf(text, sizeof(text), "port %u", opts.port);
	assert_non_null(strstr(err.text, text));
	platform->close(platform, fd);
	opts.address = "localhost";
	assert_int_equal(platform->tcp_listen(platform, &opts, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'localhost' is not a numeric"));
	assert_int_equal(platform->tcp_socket(platform, "localhost"), -EINVAL);
}

static void test_platform_entropy_clock_and_cpus(void **state)
{
	const struct xr_platform *platform = xr_platform_linux();
	uint64_t a[4] = {0}, b[4] = {0};

	platform->entropy(platform, a, sizeof(a));
	platform->entropy(platform, b, sizeof(b));
	for (int i = 0; i < 4; i++) {
		assert_int_not_equal(a[i], b[i]);
		assert_int_not_equal(a[i], 0);
	}
	assert_ptr_equal(platform->clock, xu_clock_system());
	assert_false(platform->is_simulated);
	assert_true(platform->cpu_numa_node(platform, 0) >= -1);
	assert_int_equal(platform->cpu_numa_node(platform, 100000), -1);
	assert_ptr_equal(xr_platform_linux(), platform);
}

#define file_test(fn) cmocka_unit_test_setup_teardown(fn, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		file_test(test_file_open_creates_and_grows),
		file_test(test_file_open_direct_tells_what_it_asks_for),
		file_test(test_file_open_exclusive),
		file_test(test_file_open_refuses_what_is_no_disk),
		file_test(test_file_can_leaves_the_file_alone),
		file_test(test_file_open_that_fails_leaves_no_file),
		file_test(test_file_unmake_spares_what_is_not_ours),
		file_test(test_file_open_gets_the_file_that_is_there),
		cmocka_unit_test(test_listen_says_why_not),
		cmocka_unit_test(test_platform_entropy_clock_and_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

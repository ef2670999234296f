/* SPDX-License-Identifier: BSD-3-Clause */
/* Simulated disks without power failures: what operations do, what refuses them, in which order
 * they end, each kind of fault, and files as descriptors with locks. */
#include "test/sim/test_op.h"

#include <errno.h>

#include "lib/util/clock.h"

#define BLOCK 4096u

struct fixture {
	struct sim *sim;
	struct sim_host *host;
	struct xr_reactor *reactor;
	struct sim_disk *disk;
	int fd;
};

static struct fixture fixture_new(uint64_t seed, const struct sim_disk_opts *opts)
{
	struct fixture f = {.sim = sim_new(seed)};

	f.host = sim_host_new(f.sim, "a", NULL);
	f.reactor = test_reactor(f.host);
	f.disk = sim_disk_new(f.host, "/d", opts);
	f.fd = test_open(f.host, "/d", NULL);
	assert_true(f.fd >= 0);
	return f;
}

static void fixture_free(struct fixture *f)
{
	test_close(f->host, f->fd);
	assert_int_equal(sim_host_nr_open(f->host), 0);
	xr_reactor_free(f->reactor);
	sim_free(f->sim);
}

static int32_t do_rw(
	struct fixture *f, enum xr_opcode opcode, uint64_t offset, void *buf, size_t len)
{
	return test_do_rw(f->sim, f->reactor, opcode, 0, f->fd, offset, buf, len);
}

static void fill(char *buf, size_t len, char first)
{
	for (size_t i = 0; i < len; i++) {
		buf[i] = (char)(first + (char)(i / 512));
	}
}

static void test_disk_reads_what_was_written(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 4 * BLOCK});
	char out[BLOCK], in[BLOCK], zeroes[BLOCK] = {0};
	struct iovec parts[2] = {{in, 100}, {in + 100, BLOCK - 100}};
	struct test_op vectored = {0};

	fill(out, BLOCK, 'a');
	assert_int_equal(do_rw(&f, XR_OP_READ, BLOCK, in, BLOCK), BLOCK);
	assert_memory_equal(in, zeroes, BLOCK);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, BLOCK, out, BLOCK), BLOCK);
	memset(in, 0, BLOCK);
	vectored.op.iov = parts;
	vectored.op.nr_iov = 2;
	vectored.op.offset = BLOCK;
	test_submit(f.sim, f.reactor, &vectored, XR_OP_READ, f.fd);
	assert_int_equal(test_wait(&vectored), BLOCK);
	assert_memory_equal(in, out, BLOCK);
	assert_int_equal(do_rw(&f, XR_OP_READ, BLOCK + 512, in, 512), 512);
	assert_memory_equal(in, out + 512, 512);
	fixture_free(&f);
}

static void test_disk_end_of_file(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1000});
	char buf[BLOCK] = {1};

	assert_int_equal(do_rw(&f, XR_OP_READ, 900, buf, 200), 100);
	assert_int_equal(do_rw(&f, XR_OP_READ, 1000, buf, 200), 0);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 1900, buf, 200), 200); /* a file grows */
	assert_int_equal(sim_image_size(sim_disk_content(f.disk)), 2100);
	assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, PUNCH_MODE, 1900, 9999), 0);
	assert_int_equal(sim_image_size(sim_disk_content(f.disk)), 2100);
	fixture_free(&f);
}

static void test_disk_block_device_keeps_its_size(void **state)
{
	struct fixture f = fixture_new(
		1, &(struct sim_disk_opts){.size_bytes = 1024, .is_block_device = true});
	const struct xr_platform *platform = sim_host_platform(f.host);
	char buf[1024] = {1}, zeroes[1024] = {0};

	assert_int_equal(do_rw(&f, XR_OP_WRITE, 512, buf, 1024), 512);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 1024, buf, 512), -ENOSPC);
	assert_int_equal(platform->file_resize(platform, f.fd, 2048), -EINVAL);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 0, buf, 1024), 1024);
	assert_int_equal(platform->file_discard(platform, f.fd, 512, 1024, true), -EINVAL);
	assert_int_equal(platform->file_discard(platform, f.fd, 0, 1024, true), 0);
	sim_disk_read(f.disk, 0, buf, 1024);
	assert_memory_equal(buf, zeroes, 1024);
	fixture_free(&f);
}

static void test_disk_direct_wants_alignment(void **state)
{
	struct fixture f = fixture_new(
		1, &(struct sim_disk_opts){.size_bytes = 4 * BLOCK, .direct_align = BLOCK});
	_Alignas(4096) static char buf[2 * BLOCK];
	struct xr_file_opts opts = {.direct = true};
	const struct xr_platform *platform = sim_host_platform(f.host);
	struct xr_file_info info;
	int fd = platform->file_open(platform, "/d", &opts, &info, NULL);

	assert_true(info.is_direct && info.mem_align == BLOCK && info.io_align == BLOCK);
	assert_int_equal(test_do_rw(f.sim, f.reactor, XR_OP_READ, 0, fd, BLOCK, buf, BLOCK), BLOCK);
	assert_int_equal(test_do_rw(f.sim, f.reactor, XR_OP_READ, 0, fd, 512, buf, BLOCK), -EINVAL);
	assert_int_equal(test_do_rw(f.sim, f.reactor, XR_OP_WRITE, 0, fd, 0, buf, 512), -EINVAL);
	assert_int_equal(
		test_do_rw(f.sim, f.reactor, XR_OP_WRITE, 0, fd, 0, buf + 512, BLOCK), -EINVAL);
	assert_int_equal(do_rw(&f, XR_OP_READ, 1, buf + 1, 3), 3); /* the other one is not direct */
	test_close(f.host, fd);
	fixture_free(&f);
}

static void test_disk_operations_overtake_each_other(void **state)
{
	struct fixture f = fixture_new(5, &(struct sim_disk_opts){.size_bytes = 64 * 512});
	struct test_op tops[64] = {0};
	static char bufs[64][512];
	uint32_t nr_overtakes = 0, nr_times = 0;

	for (uint32_t i = 0; i < 64; i++) {
		test_rw(f.sim, f.reactor, &tops[i], XR_OP_READ, f.fd, i * 512, bufs[i], 512);
	}
	for (uint32_t i = 0; i < 64; i++) {
		assert_int_equal(test_wait(&tops[i]), 512);
		assert_in_range(tops[i].done_ns, 20000, 2000000);
	}
	for (uint32_t i = 1; i < 64; i++) {
		nr_overtakes += tops[i].order < tops[i - 1].order;
		nr_times += tops[i].done_ns != tops[i - 1].done_ns;
	}
	assert_true(nr_overtakes > 10);
	assert_true(nr_times > 60);
	fixture_free(&f);
}

/* Of two writes in flight to one place, either may be the last, whichever completed last. */
static void test_disk_overlapping_writes_end_in_any_order(void **state)
{
	uint32_t seen[2][2] = {{0}};

	for (uint64_t seed = 0; seed < 60; seed++) {
		struct fixture f = fixture_new(seed, &(struct sim_disk_opts){.size_bytes = 512});
		char first[512], second[512], content;
		struct test_op tops[2] = {0};

		memset(first, 1, 512);
		memset(second, 2, 512);
		test_rw(f.sim, f.reactor, &tops[0], XR_OP_WRITE, f.fd, 0, first, 512);
		test_rw(f.sim, f.reactor, &tops[1], XR_OP_WRITE, f.fd, 0, second, 512);
		test_wait(&tops[0]);
		test_wait(&tops[1]);
		sim_disk_read(f.disk, 0, &content, 1);
		seen[content - 1][tops[1].order > tops[0].order]++;
		fixture_free(&f);
	}
	for (int i = 0; i < 4; i++) {
		assert_true(seen[i / 2][i % 2] > 0);
	}
}

static void test_disk_fallocate_modes(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 4 * BLOCK});
	char buf[4 * BLOCK], zeroes[BLOCK] = {0};

	fill(buf, sizeof(buf), 'a');
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 0, buf, sizeof(buf)), sizeof(buf));
	assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, ZERO_MODE, BLOCK, BLOCK), 0);
	assert_int_equal(sim_image_nr_pages(sim_disk_content(f.disk)), 4);
	assert_int_equal(
		test_do_fallocate(f.sim, f.reactor, f.fd, PUNCH_MODE, 2 * BLOCK, BLOCK), 0);
	assert_int_equal(sim_image_nr_pages(sim_disk_content(f.disk)), 3);
	memcpy(buf + BLOCK, zeroes, BLOCK);
	memcpy(buf + 2 * BLOCK, zeroes, BLOCK);
	for (uint32_t i = 0; i < 4; i++) {
		char in[BLOCK];

		assert_int_equal(do_rw(&f, XR_OP_READ, i * BLOCK, in, BLOCK), BLOCK);
		assert_memory_equal(in, buf + i * BLOCK, BLOCK);
	}
	assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, PUNCH_MODE, 0, 0), -EINVAL);
	assert_int_equal(
		test_do_fallocate(f.sim, f.reactor, f.fd, FALLOC_FL_COLLAPSE_RANGE, 0, BLOCK),
		-EOPNOTSUPP);
	fixture_free(&f);
}

static void test_disk_without_fallocate(void **state)
{
	struct fixture f = fixture_new(
		1, &(struct sim_disk_opts){
			   .size_bytes = BLOCK, .no_punch = true, .no_zero_range = true});
	const struct xr_platform *platform = sim_host_platform(f.host);

	assert_false(platform->file_can(platform, f.fd, PUNCH_MODE));
	assert_false(platform->file_can(platform, f.fd, ZERO_MODE));
	assert_int_equal(
		test_do_fallocate(f.sim, f.reactor, f.fd, PUNCH_MODE, 0, 512), -EOPNOTSUPP);
	assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, ZERO_MODE, 0, 512), -EOPNOTSUPP);
	fixture_free(&f);
}

static void test_disk_gets_full(void **state)
{
	struct fixture f = fixture_new(
		1, &(struct sim_disk_opts){.size_bytes = 8 * BLOCK, .space_bytes = 2 * BLOCK});
	char buf[BLOCK] = {1};

	assert_int_equal(do_rw(&f, XR_OP_WRITE, 0, buf, BLOCK), BLOCK);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 5 * BLOCK, buf, BLOCK), BLOCK);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 7 * BLOCK, buf, BLOCK), -ENOSPC);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 5 * BLOCK, buf, BLOCK), BLOCK); /* is there */
	assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, PUNCH_MODE, 0, BLOCK), 0);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 7 * BLOCK, buf, BLOCK), BLOCK);
	fixture_free(&f);
}

/* ---- faults ---- */

static void test_fault_hits_the_nth(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 4 * BLOCK});
	const struct sim_fault fault = {
		.ops = 1u << XR_OP_WRITE, .skip = 2, .count = 1, .error = -ENOSPC};
	char buf[512] = {1}, byte;

	sim_disk_fault_add(f.disk, &fault);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 0, buf, 512), 512);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, buf, 512), 512);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 512, buf, 512), 512);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 1024, buf, 512), -ENOSPC);
	sim_disk_read(f.disk, 1024, &byte, 1);
	assert_int_equal(byte, 0);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 1024, buf, 512), 512);
	assert_int_equal(sim_disk_nr_faults(f.disk), 1);
	fixture_free(&f);
}

static void test_fault_of_a_range(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 4 * BLOCK});
	const struct sim_fault fault = {.offset = 1000, .len = 100};
	char buf[1024];

	sim_disk_fault_add(f.disk, &fault);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, buf, 1000), 1000);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, buf, 1001), -EIO);
	assert_int_equal(do_rw(&f, XR_OP_READ, 1099, buf, 1), -EIO);
	assert_int_equal(do_rw(&f, XR_OP_WRITE, 1099, buf, 1), -EIO);
	assert_int_equal(do_rw(&f, XR_OP_READ, 1100, buf, 100), 100);
	assert_int_equal(test_do_fsync(f.sim, f.reactor, f.fd), 0);
	assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, PUNCH_MODE, 512, 1024), -EIO);
	sim_disk_faults_clear(f.disk);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, buf, 1024), 1024);
	fixture_free(&f);
}

static void test_fault_partial_write(void **state)
{
	uint32_t seen[9] = {0};

	for (uint64_t seed = 0; seed < 80; seed++) {
		struct fixture f = fixture_new(seed, &(struct sim_disk_opts){.size_bytes = BLOCK});
		const struct sim_fault fault = {.kind = SIM_FAULT_PARTIAL};
		char out[BLOCK], in[BLOCK];
		uint32_t nr_sectors = 0;

		fill(out, BLOCK, 'a');
		sim_disk_fault_add(f.disk, &fault);
		assert_int_equal(do_rw(&f, XR_OP_WRITE, 0, out, BLOCK), -EIO);
		sim_disk_read(f.disk, 0, in, BLOCK);
		while (nr_sectors < 8 && in[nr_sectors * 512] != 0) {
			nr_sectors++;
		}
		assert_memory_equal(in, out, nr_sectors * 512);
		for (uint32_t i = nr_sectors * 512; i < BLOCK; i++) {
			assert_int_equal(in[i], 0);
		}
		seen[nr_sectors]++;
		fixture_free(&f);
	}
	for (int i = 0; i < 8; i++) {
		assert_true(seen[i] > 0);
	}
	assert_int_equal(seen[8], 0);
}

static void test_fault_short_transfers(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 4 * BLOCK});
	const struct sim_fault fault = {.kind = SIM_FAULT_SHORT};
	char out[BLOCK], in[BLOCK] = {0};
	int32_t got;

	fill(out, BLOCK, 'a');
	sim_disk_fault_add(f.disk, &fault);
	got = do_rw(&f, XR_OP_WRITE, 0, out, BLOCK);
	assert_in_range(got, 512, BLOCK - 512);
	assert_int_equal(got % 512, 0);
	sim_disk_read(f.disk, 0, in, BLOCK);
	assert_memory_equal(in, out, (size_t)got);
	assert_int_equal(in[got], 0);
	sim_disk_write(f.disk, 0, out, BLOCK);
	memset(in, 0, BLOCK);
	got = do_rw(&f, XR_OP_READ, 0, in, BLOCK);
	assert_in_range(got, 512, BLOCK - 512);
	assert_memory_equal(in, out, (size_t)got);
	assert_int_equal(in[got], 0);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, in, 512), 512); /* one block is whole */
	fixture_free(&f);
}

static void test_fault_flips_one_bit_of_a_read(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = BLOCK});
	const struct sim_fault fault = {.kind = SIM_FAULT_FLIP, .count = 1};
	char out[BLOCK], in[BLOCK];
	int nr_bits = 0;

	fill(out, BLOCK, 'a');
	sim_disk_write(f.disk, 0, out, BLOCK);
	sim_disk_fault_add(f.disk, &fault);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, in, BLOCK), BLOCK);
	for (uint32_t i = 0; i < BLOCK; i++) {
		nr_bits += __builtin_popcount((unsigned char)(in[i] ^ out[i]));
	}
	assert_int_equal(nr_bits, 1);
	assert_int_equal(do_rw(&f, XR_OP_READ, 0, in, BLOCK), BLOCK);
	assert_memory_equal(in, out, BLOCK); /* the disk itself is sound */
	fixture_free(&f);
}

static void test_fault_hang_until_released(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = BLOCK});
	const struct sim_fault fault = {.kind = SIM_FAULT_HANG, .count = 1};
	struct test_op hung = {0};
	char buf[512] = {1}, byte;

	sim_disk_fault_add(f.disk, &fault);
	test_rw(f.sim, f.reactor, &hung, XR_OP_WRITE, f.fd, 0, buf, 512);
	assert_int_equal(sim_run(f.sim, test_is_done, &hung, 3600 * XU_NS_PER_S), -EDEADLK);
	xr_op_cancel(f.reactor, &hung.op); /* the kernel cannot take it back */
	assert_int_equal(sim_run(f.sim, test_is_done, &hung, 3600 * XU_NS_PER_S), -EDEADLK);
	sim_disk_read(f.disk, 0, &byte, 1);
	assert_int_equal(byte, 0);
	sim_disk_release(f.disk);
	assert_int_equal(test_wait(&hung), 512);
	sim_disk_read(f.disk, 0, &byte, 1);
	assert_int_equal(byte, 1);
	fixture_free(&f);
}

/* A cancelled write either never happened or happened as if nothing had been asked. */
static void test_disk_cancel_is_all_or_nothing(void **state)
{
	uint32_t nr_cancelled = 0;

	for (uint64_t seed = 0; seed < 60; seed++) {
		struct fixture f = fixture_new(seed, &(struct sim_disk_opts){.size_bytes = BLOCK});
		struct test_op top = {0};
		char buf[512] = {1}, byte;
		int32_t result;

		test_rw(f.sim, f.reactor, &top, XR_OP_WRITE, f.fd, 0, buf, 512);
		assert_int_equal(sim_run_for(f.sim, xu_random_below(sim_random(f.sim), 60000)), 0);
		xr_op_cancel(f.reactor, &top.op);
		xr_op_cancel(f.reactor, &top.op);
		result = test_wait(&top);
		sim_disk_read(f.disk, 0, &byte, 1);
		assert_int_equal(result, byte ? 512 : -ECANCELED);
		nr_cancelled += !byte;
		xr_op_cancel(f.reactor, &top.op); /* not pending: left alone */
		fixture_free(&f);
	}
	assert_in_range(nr_cancelled, 5, 55);
}

/* ---- descriptors ---- */

static void test_file_open_modes(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1024});
	struct xr_file_opts create = {.create = true, .size_bytes = 2048};
	struct xr_file_opts read_only = {.is_read_only = true};
	char buf[512];
	int fd;

	assert_int_equal(test_open(f.host, "/none", NULL), -ENOENT);
	fd = test_open(f.host, "/new", &create);
	assert_int_equal(sim_image_size(sim_disk_content(sim_disk_find(f.host, "/new"))), 2048);
	test_close(f.host, fd);
	create.size_bytes = 512;
	fd = test_open(f.host, "/new", &create); /* never smaller */
	assert_int_equal(sim_image_size(sim_disk_content(sim_disk_find(f.host, "/new"))), 2048);
	test_close(f.host, fd);
	fd = test_open(f.host, "/d", &read_only);
	assert_int_equal(test_do_rw(f.sim, f.reactor, XR_OP_READ, 0, fd, 0, buf, 512), 512);
	assert_int_equal(test_do_rw(f.sim, f.reactor, XR_OP_WRITE, 0, fd, 0, buf, 512), -EBADF);
	test_close(f.host, fd);
	fixture_free(&f);
}

static void test_file_locks(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1024});
	struct xr_file_opts writer = {.exclusive = true};
	struct xr_file_opts reader = {.exclusive = true, .is_read_only = true};
	struct test_op top = {0};
	char buf[512];
	int fd = test_open(f.host, "/d", &writer), other;

	assert_int_equal(test_open(f.host, "/d", &writer), -EBUSY);
	assert_int_equal(test_open(f.host, "/d", &reader), -EBUSY);
	/* The lock lives as long as an operation on the file. */
	test_rw(f.sim, f.reactor, &top, XR_OP_READ, fd, 0, buf, 512);
	assert_int_equal(sim_run_for(f.sim, 0), 0);
	test_close(f.host, fd);
	assert_int_equal(test_open(f.host, "/d", &writer), -EBUSY);
	assert_int_equal(test_wait(&top), 512);
	fd = test_open(f.host, "/d", &reader);
	other = test_open(f.host, "/d", &reader);
	assert_true(fd >= 0 && other >= 0);
	test_close(f.host, fd);
	assert_int_equal(test_open(f.host, "/d", &writer), -EBUSY);
	test_close(f.host, other);
	fd = test_open(f.host, "/d", &writer);
	assert_true(fd >= 0);
	test_close(f.host, fd);
	fixture_free(&f);
}

static void test_closed_before_the_kernel_saw_it(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1024});
	int fd = test_open(f.host, "/d", NULL);
	struct test_op top = {0};
	char buf[512];

	test_rw(f.sim, f.reactor, &top, XR_OP_READ, fd, 0, buf, 512);
	test_close(f.host, fd);
	assert_int_equal(test_wait(&top), -EBADF);
	assert_int_equal(test_open(f.host, "/d", NULL), fd); /* the lowest free number */
	test_close(f.host, fd);
	fixture_free(&f);
}

static void close_twice(void *arg)
{
	struct fixture *f = arg;
	int fd = test_open(f->host, "/d", NULL);

	test_close(f->host, fd);
	test_close(f->host, fd);
}

static void test_closing_twice_is_a_mistake(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1024});

	assert_true(test_aborts(close_twice, &f));
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk_reads_what_was_written),
		cmocka_unit_test(test_disk_end_of_file),
		cmocka_unit_test(test_disk_block_device_keeps_its_size),
		cmocka_unit_test(test_disk_direct_wants_alignment),
		cmocka_unit_test(test_disk_operations_overtake_each_other),
		cmocka_unit_test(test_disk_overlapping_writes_end_in_any_order),
		cmocka_unit_test(test_disk_fallocate_modes),
		cmocka_unit_test(test_disk_without_fallocate),
		cmocka_unit_test(test_disk_gets_full),
		cmocka_unit_test(test_fault_hits_the_nth),
		cmocka_unit_test(test_fault_of_a_range),
		cmocka_unit_test(test_fault_partial_write),
		cmocka_unit_test(test_fault_short_transfers),
		cmocka_unit_test(test_fault_flips_one_bit_of_a_read),
		cmocka_unit_test(test_fault_hang_until_released),
		cmocka_unit_test(test_disk_cancel_is_all_or_nothing),
		cmocka_unit_test(test_file_open_modes),
		cmocka_unit_test(test_file_locks),
		cmocka_unit_test(test_closed_before_the_kernel_saw_it),
		cmocka_unit_test(test_closing_twice_is_a_mistake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

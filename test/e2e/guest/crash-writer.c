/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client whose log is the oracle of test-node-crash: writes stamped blocks to a disk and keeps,
 * in a file that outlives the target (the guest's tmpfs), what it issued and what was acknowledged.
 *
 *   crash-writer create JOURNAL NR_BLOCKS
 *   crash-writer write DISK JOURNAL SECONDS SEED    until SIGTERM, at most SECONDS
 *   crash-writer verify DISK JOURNAL
 *   crash-writer status JOURNAL                     prints "FLUSHES WRITES"
 *
 * Each worker owns a part of the disk. It writes a batch of runs of 4 KiB blocks with O_DIRECT,
 * every block with its next sequence number, then calls fdatasync, and only when that has succeeded
 * are the batch's numbers acknowledged. A number is entered as issued before its write starts.
 *
 * Every sector carries its own stamp (place, sequence number, filler, CRC), because a block whose
 * write was cut off may be half old and half new, a sector may not. Verify demands of every sector:
 * the stamp is whole, belongs there, and acknowledged <= sequence <= issued; a sector of a block
 * that was never written is zero. Verify flushes first, so what it reads is on the media and
 * becomes the new lowest number that a later verify accepts: a block never goes back.
 *
 * Exit code 0 when all is well, 1 when data is wrong or an I/O fails, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES      4096u
#define SECTOR_BYTES_MIN 512u
#define RUN_BLOCKS_MAX   64u
#define BATCH_RUNS_MAX   8u
#define NR_WORKERS       4u
#define NR_BLOCKS_MAX    (1u << 20)
#define ERRORS_SHOWN_MAX 10u
#define STAMP_MAGIC      0x3130706d61747358ull
#define JOURNAL_MAGIC    0x31306c6e72756f6aull

struct stamp {
	uint64_t magic;
	uint64_t sector;
	uint64_t sequence;
	uint8_t filler[484];
	uint32_t crc;
};

_Static_assert(sizeof(struct stamp) == SECTOR_BYTES_MIN, "a stamp fills the smallest sector");

struct journal_block {
	_Atomic uint64_t issued;
	_Atomic uint64_t acked;
};

struct journal {
	uint64_t magic;
	uint64_t nr_blocks;
	_Atomic uint64_t nr_flushes;
	_Atomic uint64_t nr_writes;
	struct journal_block blocks[];
};

struct worker {
	pthread_t thread;
	struct journal *journal;
	uint64_t first_block;
	uint64_t nr_blocks;
	uint64_t random;
	struct timespec deadline;
	int fd;
	int rc;
};

struct run {
	uint64_t block;
	uint64_t nr_blocks;
};

static volatile sig_atomic_t stop_asked;
static uint32_t crc_table[256];

static void ask_stop(int signal)
{
	(void)signal;
	stop_asked = 1;
}

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++) {
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
		}
		crc_table[i] = crc;
	}
}

static uint32_t crc32c(const void *data, size_t len_bytes)
{
	const uint8_t *byte = data;
	uint32_t crc = 0xffffffffu;

	while (len_bytes-- > 0) {
		crc = (crc >> 8) ^ crc_table[(crc ^ *byte++) & 0xff];
	}
	return crc ^ 0xffffffffu;
}

/* xorshift64*; the seed must not be 0. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static void stamp_fill(struct stamp *stamp, uint64_t sector, uint64_t sequence)
{
	uint64_t random = (sector << 20) ^ sequence ^ 0x9e3779b97f4a7c15ull;

	stamp->magic = STAMP_MAGIC;
	stamp->sector = sector;
	stamp->sequence = sequence;
	for (size_t i = 0; i < sizeof(stamp->filler); i += 4) {
		uint32_t word = (uint32_t)(next_random(&random) >> 32);

		memcpy(stamp->filler + i, &word, sizeof(word));
	}
	stamp->crc = crc32c(stamp, offsetof(struct stamp, crc));
}

static bool is_zero(const void *data, size_t len_bytes)
{
	const uint8_t *byte = data;

	return byte[0] == 0 && memcmp(byte, byte + 1, len_bytes - 1) == 0;
}

/* Prints why the call that just failed on this path did, and returns -errno. */
static int path_error(const char *path)
{
	int rc = -errno;

	fprintf(stderr, "crash-writer: %s: %s\n", path, strerror(-rc));
	return rc;
}

static size_t journal_size(uint64_t nr_blocks)
{
	return sizeof(struct journal) + nr_blocks * sizeof(struct journal_block);
}

/* Maps the journal for as long as the process lives. */
static int journal_open(const char *path, struct journal **ret_journal)
{
	struct journal *journal;
	struct stat st;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		return path_error(path);
	}
	journal = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (journal == MAP_FAILED) {
		return path_error(path);
	}
	if ((size_t)st.st_size < sizeof(*journal) || journal->magic != JOURNAL_MAGIC ||
		(size_t)st.st_size != journal_size(journal->nr_blocks)) {
		fprintf(stderr, "crash-writer: %s is not a journal\n", path);
		return -EINVAL;
	}
	*ret_journal = journal;
	return 0;
}

static int disk_open(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	return fd < 0 ? path_error(path) : fd;
}

/* The sector of the disk, or 512 for a file: the unit that is written whole or not at all. */
static unsigned int sector_size(int fd)
{
	int size;

	if (ioctl(fd, BLKSSZGET, &size) < 0 || size < (int)SECTOR_BYTES_MIN ||
		size > (int)BLOCK_BYTES) {
		return SECTOR_BYTES_MIN;
	}
	return (unsigned int)size;
}

static bool worker_is_over(const struct worker *worker)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return stop_asked || now.tv_sec >= worker->deadline.tv_sec;
}

/* Writes one run of blocks; their new sequence numbers are issued but not acknowledged. */
static int worker_write_run(struct worker *worker, const struct run *run, uint8_t *buffer)
{
	size_t len_bytes = run->nr_blocks * BLOCK_BYTES;
	ssize_t done;

	for (uint64_t i = 0; i < run->nr_blocks; i++) {
		uint64_t block = run->block + i;
		uint64_t sequence = atomic_fetch_add(&worker->journal->blocks[block].issued, 1) + 1;

		for (uint64_t offset = 0; offset < BLOCK_BYTES; offset += SECTOR_BYTES_MIN) {
			uint64_t sector = (block * BLOCK_BYTES + offset) / SECTOR_BYTES_MIN;

			stamp_fill((struct stamp *)(buffer + i * BLOCK_BYTES + offset), sector,
				sequence);
		}
	}
	done = pwrite(worker->fd, buffer, len_bytes, (off_t)(run->block * BLOCK_BYTES));
	if (done != (ssize_t)len_bytes) {
		int rc = done < 0 ? -errno : -EIO;

		fprintf(stderr, "crash-writer: write of %zu bytes at block %" PRIu64 ": %s\n",
			len_bytes, run->block, strerror(-rc));
		return rc;
	}
	atomic_fetch_add(&worker->journal->nr_writes, 1);
	return 0;
}

/* Most runs are short, as a database's; one in eight is long, so that it needs several transfers.
 */
static struct run worker_choose_run(struct worker *worker)
{
	uint64_t longest = next_random(&worker->random) % 8 == 0 ? RUN_BLOCKS_MAX : 4;
	struct run run = {.nr_blocks = 1 + next_random(&worker->random) % longest};

	run.block = worker->first_block +
		    next_random(&worker->random) % (worker->nr_blocks - run.nr_blocks + 1);
	return run;
}

static int worker_write_batch(struct worker *worker, uint8_t *buffer)
{
	unsigned int nr_runs = 1 + (unsigned int)(next_random(&worker->random) % BATCH_RUNS_MAX);
	struct run runs[BATCH_RUNS_MAX];

	for (unsigned int i = 0; i < nr_runs; i++) {
		int rc;

		runs[i] = worker_choose_run(worker);
		rc = worker_write_run(worker, &runs[i], buffer);
		if (rc < 0) {
			return rc;
		}
	}
	if (fdatasync(worker->fd) < 0) {
		int rc = -errno;

		fprintf(stderr, "crash-writer: fdatasync: %s\n", strerror(-rc));
		return rc;
	}
	/* Only this worker issues numbers for these blocks, so all of them were before the flush.
	 */
	for (unsigned int i = 0; i < nr_runs; i++) {
		for (uint64_t block = runs[i].block; block < runs[i].block + runs[i].nr_blocks;
			block++) {
			struct journal_block *entry = &worker->journal->blocks[block];

			atomic_store(&entry->acked, atomic_load(&entry->issued));
		}
	}
	atomic_fetch_add(&worker->journal->nr_flushes, 1);
	return 0;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	uint8_t *buffer = aligned_alloc(BLOCK_BYTES, RUN_BLOCKS_MAX * BLOCK_BYTES);

	worker->rc = buffer == NULL ? -ENOMEM : 0;
	while (worker->rc == 0 && !worker_is_over(worker)) {
		worker->rc = worker_write_batch(worker, buffer);
	}
	free(buffer);
	return NULL;
}

static int workers_run(struct journal *journal, int fd, unsigned int seconds, uint64_t seed)
{
	struct worker workers[NR_WORKERS] = {0};
	uint64_t part = journal->nr_blocks / NR_WORKERS;
	int rc = 0;

	for (unsigned int i = 0; i < NR_WORKERS; i++) {
		struct worker *worker = &workers[i];

		worker->journal = journal;
		worker->first_block = i * part;
		worker->nr_blocks = part;
		worker->random = (seed + 1) * 0x9e3779b97f4a7c15ull + i;
		worker->fd = fd;
		clock_gettime(CLOCK_MONOTONIC, &worker->deadline);
		worker->deadline.tv_sec += seconds;
		if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
			fprintf(stderr, "crash-writer: no thread\n");
			exit(1);
		}
	}
	for (unsigned int i = 0; i < NR_WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		if (workers[i].rc < 0) {
			rc = workers[i].rc;
		}
	}
	return rc;
}

static int cmd_create(char **argv)
{
	uint64_t nr_blocks = strtoull(argv[1], NULL, 10);
	struct journal head = {.magic = JOURNAL_MAGIC, .nr_blocks = nr_blocks};
	int fd;

	if (nr_blocks < NR_WORKERS * RUN_BLOCKS_MAX || nr_blocks > NR_BLOCKS_MAX) {
		fprintf(stderr, "crash-writer: %u to %u blocks, please\n",
			NR_WORKERS * RUN_BLOCKS_MAX, NR_BLOCKS_MAX);
		return 2;
	}
	fd = open(argv[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, &head, sizeof(head)) != (ssize_t)sizeof(head) ||
		ftruncate(fd, (off_t)journal_size(nr_blocks)) < 0 || close(fd) < 0) {
		path_error(argv[0]);
		return 1;
	}
	return 0;
}

static int cmd_write(char **argv)
{
	unsigned int seconds = (unsigned int)strtoul(argv[2], NULL, 10);
	uint64_t seed = strtoull(argv[3], NULL, 10);
	struct sigaction action = {.sa_handler = ask_stop, .sa_flags = SA_RESTART};
	struct journal *journal;
	int fd;
	int rc;

	sigaction(SIGTERM, &action, NULL);
	if (journal_open(argv[1], &journal) < 0) {
		return 1;
	}
	fd = disk_open(argv[0]);
	if (fd < 0) {
		return 1;
	}
	rc = workers_run(journal, fd, seconds, seed);
	close(fd);
	return rc == 0 ? 0 : 1;
}

/* Returns NULL when the sector is right, and its sequence number (0: never written), or what is
 * wrong. */
static const char *sector_check(const uint8_t *data, uint64_t sector,
	const struct journal_block *entry, uint64_t *ret_sequence)
{
	const struct stamp *stamp = (const struct stamp *)data;
	uint64_t acked = atomic_load(&entry->acked);

	*ret_sequence = 0;
	if (is_zero(data, SECTOR_BYTES_MIN)) {
		return acked == 0 ? NULL : "is zero: an acknowledged write is lost";
	}
	*ret_sequence = stamp->sequence;
	if (stamp->magic != STAMP_MAGIC ||
		stamp->crc != crc32c(stamp, offsetof(struct stamp, crc))) {
		return "is damaged";
	}
	if (stamp->sector != sector) {
		return "belongs elsewhere";
	}
	if (stamp->sequence < acked) {
		return "went back: an acknowledged write is lost";
	}
	if (stamp->sequence > atomic_load(&entry->issued)) {
		return "was never written";
	}
	return NULL;
}

/* Checks one block; raises its lowest acceptable number to what was seen. Returns the errors. */
static unsigned int block_check(const uint8_t *data, uint64_t block, unsigned int sector_bytes,
	struct journal_block *entry, unsigned int errors_before)
{
	unsigned int nr_errors = 0;
	uint64_t lowest = UINT64_MAX;
	uint64_t first = 0;

	for (uint64_t offset = 0; offset < BLOCK_BYTES; offset += SECTOR_BYTES_MIN) {
		uint64_t sector = (block * BLOCK_BYTES + offset) / SECTOR_BYTES_MIN;
		const char *error;
		uint64_t sequence;

		error = sector_check(data + offset, sector, entry, &sequence);
		if (offset % sector_bytes == 0) {
			first = sequence;
		} else if (error == NULL && sequence != first) {
			error = "is torn inside one sector of the disk";
		}
		if (error != NULL) {
			if (errors_before + nr_errors < ERRORS_SHOWN_MAX) {
				printf("block %" PRIu64 " + %" PRIu64 " %s: sequence %" PRIu64
				       ", acknowledged %" PRIu64 ", issued %" PRIu64 "\n",
					block, offset, error, sequence, atomic_load(&entry->acked),
					atomic_load(&entry->issued));
			}
			nr_errors++;
		}
		lowest = sequence < lowest ? sequence : lowest;
	}
	if (nr_errors == 0) {
		atomic_store(&entry->acked, lowest);
	}
	return nr_errors;
}

static int cmd_verify(char **argv)
{
	uint64_t nr_acked = 0;
	unsigned int nr_errors = 0;
	struct journal *journal;
	unsigned int sector_bytes;
	uint8_t *buffer;
	int fd;

	if (journal_open(argv[1], &journal) < 0) {
		return 1;
	}
	fd = disk_open(argv[0]);
	if (fd < 0) {
		return 1;
	}
	buffer = aligned_alloc(BLOCK_BYTES, RUN_BLOCKS_MAX * BLOCK_BYTES);
	if (buffer == NULL || fdatasync(fd) < 0) {
		perror("crash-writer: fdatasync");
		return 1;
	}
	sector_bytes = sector_size(fd);
	for (uint64_t block = 0; block < journal->nr_blocks;) {
		uint64_t count = journal->nr_blocks - block;
		ssize_t done;

		count = count < RUN_BLOCKS_MAX ? count : RUN_BLOCKS_MAX;
		done = pread(fd, buffer, count * BLOCK_BYTES, (off_t)(block * BLOCK_BYTES));
		if (done != (ssize_t)(count * BLOCK_BYTES)) {
			printf("read at block %" PRIu64 ": %s\n", block,
				done < 0 ? strerror(errno) : "short");
			return 1;
		}
		for (uint64_t i = 0; i < count; i++, block++) {
			struct journal_block *entry = &journal->blocks[block];

			nr_acked += atomic_load(&entry->acked) > 0;
			nr_errors += block_check(
				buffer + i * BLOCK_BYTES, block, sector_bytes, entry, nr_errors);
		}
	}
	free(buffer);
	close(fd);
	printf("%" PRIu64 " blocks verified, %" PRIu64 " of them acknowledged, %u errors\n",
		journal->nr_blocks, nr_acked, nr_errors);
	return nr_errors == 0 ? 0 : 1;
}

static int cmd_status(char **argv)
{
	struct journal *journal;

	if (journal_open(argv[0], &journal) < 0) {
		return 1;
	}
	printf("%" PRIu64 " %" PRIu64 "\n", atomic_load(&journal->nr_flushes),
		atomic_load(&journal->nr_writes));
	return 0;
}

static const struct command {
	const char *name;
	int nr_args;
	int (*run)(char **argv);
} commands[] = {
	{.name = "create", .nr_args = 2, .run = cmd_create},
	{.name = "write", .nr_args = 4, .run = cmd_write},
	{.name = "verify", .nr_args = 2, .run = cmd_verify},
	{.name = "status", .nr_args = 1, .run = cmd_status},
};

int main(int argc, char **argv)
{
	crc_init();
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *command = &commands[i];

		if (argc == command->nr_args + 2 && strcmp(argv[1], command->name) == 0) {
			return command->run(argv + 2);
		}
	}
	fprintf(stderr, "usage: crash-writer create JOURNAL NR_BLOCKS\n"
			"       crash-writer write DISK JOURNAL SECONDS SEED\n"
			"       crash-writer verify DISK JOURNAL\n"
			"       crash-writer status JOURNAL\n");
	return 2;
}

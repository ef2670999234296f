/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What test-nvme.sh runs in its guest, and test-rbd.sh on this machine: libxbdev on one device, one
 * command at a time, with a sentence and exit code 1 when something is not as it must be. The
 * device is a JSON entry.
 *
 *   exercise JSON SEED IMAGE           random I/O of every kind against a model of the whole disk,
 *                                      which is then written to the file IMAGE
 *   compare JSON FILE                  the disk holds what the file does
 *   refuse JSON WORDS                  the device cannot be made, and the sentence has the words
 *   info JSON                          what it is, a line each
 *   fill JSON OFFSET BYTES, discard JSON OFFSET BYTES
 *   hold JSON                          opens it, says so, and keeps it until standard input ends
 *   smart PCI-ADDRESS                  the SMART log, a line each
 *   health JSON                        what is known of its health, a line each
 *   watch JSON                         its health events, until standard input ends
 *   load JSON                          writes until the disk is taken away under it
 *   resize JSON BYTES                  waits for the disk to become that large, uses the new end
 *   idle JSON                          an open device that does nothing costs nothing
 *   document FILE [OTHER]              the configuration document FILE has one device; saved and
 *                                      loaded it is the same one; OTHER gives its name to another
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

#define MAX_DISK    (128u << 20)
#define MAX_IO      (1u << 20)
#define NR_STEPS    500u
#define NR_FLIGHTS  10u
#define FLIGHT      64u
#define PATIENCE_S  60
#define IDLE_S      3
#define IDLE_CPU_MS 60

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		fprintf(stdout, "device-check: FAIL: " __VA_ARGS__);                               \
		fprintf(stdout, "\n");                                                             \
		fflush(stdout);                                                                    \
		_exit(1);                                                                          \
	} while (0)

/* The call must give this. */
#define GIVES(call, wanted)                                                                        \
	do {                                                                                       \
		long long got_ = (call), wanted_ = (wanted);                                       \
                                                                                                   \
		if (got_ != wanted_) {                                                             \
			FAIL("%s gives %lld and not %lld: %s", #call, got_, wanted_,               \
				got_ < 0 ? xbdev_last_error() : "");                               \
		}                                                                                  \
	} while (0)

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t below(uint64_t limit)
{
	return next_random() % limit;
}

static void fill_random(char *buf, size_t len)
{
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		uint64_t value = next_random();

		memcpy(buf + i, &value, sizeof(value));
	}
}

/* ---- a device ---- */

static int open_device(const char *json, xbdev_info_t *info)
{
	xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = 2, .log_level = XBDEV_LOG_WARN};
	int fd;

	GIVES(xbdev_init_with(&options), 0);
	if (xbdev_config_device(json) != 0) {
		FAIL("%s: %s", json, xbdev_last_error());
	}
	GIVES(xbdev_list(info, 1), 1);
	fd = xbdev_open(info->name);
	if (fd == -EROFS) {
		fd = xbdev_open_with(info->name, XBDEV_OPEN_READ);
	}
	if (fd < 0) {
		FAIL("opening: %s", xbdev_last_error());
	}
	return fd;
}

static void close_device(int fd)
{
	GIVES(xbdev_close(fd), 0);
	GIVES(xbdev_fini(), 0);
}

static char *allocate(size_t len)
{
	char *buf = aligned_alloc(4096, len);

	if (buf == NULL) {
		FAIL("out of memory");
	}
	return buf;
}

/* ---- exercise ---- */

struct exercise {
	int fd;
	xbdev_info_t info;
	char *model; /* what the disk must hold */
	char *buf, *other;
	uint32_t counts[8];
};

/* A random range of whole blocks, often small. */
static void choose(struct exercise *e, uint64_t *offset, uint64_t *len)
{
	uint32_t block = e->info.block_size;
	uint64_t max = below(4) == 0 ? MAX_IO : 16u * block;

	*len = (1 + below(max / block)) * block;
	*offset = below((e->info.size_bytes - *len) / block + 1) * block;
}

/* A buffer with room for `len`, aligned or not as comes. */
static char *somewhere(char *buf)
{
	static const size_t shifts[] = {0, 0, 512, 4, 1, 4092};

	return buf + shifts[below(sizeof(shifts) / sizeof(shifts[0]))];
}

/* Cuts a buffer into pieces of odd sizes. */
static int cut(char *buf, uint64_t len, struct iovec *iov, int max)
{
	int count = 0;

	while (len != 0) {
		uint64_t part = count == max - 1 || below(8) == 0 ? len : 1 + below(len);

		if (below(2) == 0 && part > 512) {
			part &= ~(uint64_t)511;
		}
		iov[count++] = (struct iovec){.iov_base = buf, .iov_len = part};
		buf += part;
		len -= part;
	}
	return count;
}

static void check_read(struct exercise *e, uint64_t offset, uint64_t len)
{
	char *in = somewhere(e->other);
	struct iovec iov[40];

	if (below(2) == 0) {
		GIVES(xbdev_read(e->fd, in, len, offset), (long long)len);
	} else {
		int count = cut(in, len, iov, 40);

		GIVES(xbdev_readv(e->fd, iov, count, offset), (long long)len);
	}
	if (memcmp(in, e->model + offset, len) != 0) {
		FAIL("%llu bytes at %llu are not what was written", (unsigned long long)len,
			(unsigned long long)offset);
	}
}

static void check_compare(struct exercise *e, uint64_t offset, uint64_t len)
{
	char *data = somewhere(e->other);

	memcpy(data, e->model + offset, len);
	GIVES(xbdev_compare(e->fd, data, len, offset), 0);
	data[below(len)] ^= 0x10;
	GIVES(xbdev_compare(e->fd, data, len, offset), -EBADE);
}

static void step(struct exercise *e)
{
	uint64_t offset, len, kind = below(8);
	char *out = somewhere(e->buf);
	struct iovec iov[40];

	choose(e, &offset, &len);
	e->counts[kind]++;
	switch (kind) {
	case 0:
	case 1:
		fill_random(out, len);
		if (kind == 0) {
			GIVES(xbdev_write_with(
				      e->fd, out, len, offset, below(2) ? XBDEV_IO_FUA : 0),
				(long long)len);
		} else {
			int count = cut(out, len, iov, 40);

			GIVES(xbdev_writev(e->fd, iov, count, offset), (long long)len);
		}
		memcpy(e->model + offset, out, len);
		break;
	case 2:
		GIVES(xbdev_discard(e->fd, offset, len), 0);
		memset(e->model + offset, 0, len);
		break;
	case 3:
		GIVES(xbdev_write_zeroes(e->fd, offset, len,
			      (below(2) ? XBDEV_IO_MAY_UNMAP : 0) | (below(2) ? XBDEV_IO_FUA : 0)),
			0);
		memset(e->model + offset, 0, len);
		break;
	case 4:
		GIVES(xbdev_flush(e->fd), 0);
		break;
	case 5:
		check_compare(e, offset, len);
		break;
	default:
		check_read(e, offset, len);
		break;
	}
}

/* Many at a time, each in a part of the disk of its own, so their order does not matter. */
static void flight(struct exercise *e)
{
	uint64_t part = e->info.size_bytes / FLIGHT / 4096 * 4096;
	char *bufs = allocate(FLIGHT * 65536u);
	xbdev_aio_event_t events[FLIGHT];
	uint32_t nr_done = 0;

	fill_random(bufs, FLIGHT * 65536u);
	for (uint32_t i = 0; i < FLIGHT; i++) {
		uint64_t len = (1 + below(16)) * 4096, offset;

		offset = i * part + below((part - len) / 4096 + 1) * 4096;
		GIVES(xbdev_aio_write(e->fd, bufs + i * 65536u, len, offset, NULL), 0);
		memcpy(e->model + offset, bufs + i * 65536u, len);
	}
	GIVES(xbdev_aio_submit(), FLIGHT);
	while (nr_done < FLIGHT) {
		int got = xbdev_aio_get_events(events, FLIGHT, 20000000);

		if (got <= 0) {
			FAIL("only %u of %u writes came back", nr_done, FLIGHT);
		}
		for (int i = 0; i < got; i++) {
			if (events[i].result <= 0) {
				FAIL("a write in flight gives %d", events[i].result);
			}
		}
		nr_done += (uint32_t)got;
	}
	free(bufs);
}

static void write_image(const struct exercise *e, const char *path)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fwrite(e->model, e->info.size_bytes, 1, file) != 1 ||
		fclose(file) != 0) {
		FAIL("%s cannot be written", path);
	}
}

static void exercise(const char *json, const char *seed, const char *image)
{
	struct exercise e = {0};

	random_state = strtoull(seed, NULL, 10) * 2654435761u + 88172645463325252ull;
	e.fd = open_device(json, &e.info);
	if (e.info.size_bytes > MAX_DISK || e.info.size_bytes % 4096 != 0) {
		FAIL("a disk of %llu bytes", (unsigned long long)e.info.size_bytes);
	}
	e.model = allocate(e.info.size_bytes);
	e.buf = allocate(MAX_IO + 8192);
	e.other = allocate(MAX_IO + 8192);
	for (uint64_t at = 0; at < e.info.size_bytes; at += MAX_IO) {
		GIVES(xbdev_read(e.fd, e.model + at, MAX_IO, at), MAX_IO);
	}
	for (uint32_t i = 0; i < NR_STEPS; i++) {
		step(&e);
	}
	for (uint32_t i = 0; i < NR_FLIGHTS; i++) {
		flight(&e);
	}
	for (uint64_t at = 0; at < e.info.size_bytes; at += MAX_IO) {
		check_read(&e, at, MAX_IO);
	}
	GIVES(xbdev_flush(e.fd), 0);
	/* Beyond the end. */
	GIVES(xbdev_read(e.fd, e.buf, e.info.block_size, e.info.size_bytes), -EINVAL);
	GIVES(xbdev_write(e.fd, e.buf, e.info.block_size - 1, 0), -EINVAL);
	write_image(&e, image);
	printf("steps of each kind:");
	for (size_t i = 0; i < 8; i++) {
		printf(" %u", e.counts[i]);
	}
	printf("\n");
	close_device(e.fd);
	free(e.model);
	free(e.buf);
	free(e.other);
}

/* ---- the others ---- */

static void compare(const char *json, const char *path)
{
	char *in = allocate(MAX_IO), *wanted = allocate(MAX_IO);
	FILE *file = fopen(path, "r");
	xbdev_info_t info;
	int fd = open_device(json, &info);

	if (file == NULL) {
		FAIL("%s: %s", path, strerror(errno));
	}
	for (uint64_t at = 0; at < info.size_bytes; at += MAX_IO) {
		GIVES(fread(wanted, MAX_IO, 1, file), 1);
		GIVES(xbdev_read(fd, in, MAX_IO, at), MAX_IO);
		if (memcmp(in, wanted, MAX_IO) != 0) {
			FAIL("the disk and %s differ from %llu on", path, (unsigned long long)at);
		}
	}
	if (info.is_read_only) {
		GIVES(xbdev_write(fd, in, 4096, 0), -EROFS);
	}
	fclose(file);
	close_device(fd);
	free(in);
	free(wanted);
}

static void refuse(const char *json, const char *words)
{
	xbdev_init_options_t options = {.size = sizeof(options)};
	xbdev_info_t info;

	GIVES(xbdev_init_with(&options), 0);
	if (xbdev_config_device(json) == 0) {
		FAIL("%s is accepted", json);
	}
	if (strstr(xbdev_last_error(), words) == NULL) {
		FAIL("'%s' is not in '%s'", words, xbdev_last_error());
	}
	printf("%s\n", xbdev_last_error());
	GIVES(xbdev_list(&info, 1), 0);
	GIVES(xbdev_fini(), 0);
}

static void info(const char *json)
{
	xbdev_info_t info;
	int fd = open_device(json, &info);

	printf("uuid %s\nsize %llu\nblock %u\nmax_transfer %u\nbuffer_align %u\nread_only %d\n"
	       "write_cache %d\ndiscard %u\nremote %d\n",
		info.uuid, (unsigned long long)info.size_bytes, info.block_size,
		info.max_transfer_bytes, info.buffer_align_bytes, info.is_read_only,
		info.has_write_cache, info.discard_granularity, info.is_remote);
	close_device(fd);
}

static void change(const char *json, const char *at, const char *bytes, bool is_discard)
{
	uint64_t offset = strtoull(at, NULL, 10), end = offset + strtoull(bytes, NULL, 10);
	char *buf = allocate(MAX_IO);
	xbdev_info_t info;
	int fd = open_device(json, &info);

	random_state = 1;
	fill_random(buf, MAX_IO);
	if (is_discard) {
		GIVES(xbdev_discard(fd, offset, end - offset), 0);
	}
	while (!is_discard && offset < end) {
		GIVES(xbdev_write(fd, buf, MAX_IO, offset), MAX_IO);
		offset += MAX_IO;
	}
	GIVES(xbdev_flush(fd), 0);
	close_device(fd);
	free(buf);
}

static void hold(const char *json)
{
	xbdev_info_t info;
	int fd = open_device(json, &info);

	printf("holding\n");
	fflush(stdout);
	while (getchar() != EOF) {
	}
	close_device(fd);
}

static void smart(const char *pci_addr)
{
	xbdev_nvme_smart_t smart;

	GIVES(xbdev_init(), 0);
	if (xbdev_config_nvme(pci_addr, "disk") != 0) {
		FAIL("%s: %s", pci_addr, xbdev_last_error());
	}
	GIVES(xbdev_config_null(1, 512, "null"), 0);
	GIVES(xbdev_nvme_smart_get("null", &smart), -EOPNOTSUPP);
	GIVES(xbdev_nvme_smart_get("nobody", &smart), -ENODEV);
	GIVES(xbdev_nvme_smart_get("disk", &smart), 0);
	printf("model %s\nserial %s\nfirmware %s\ncritical_warning %u\ntemperature %d\n"
	       "available_spare %u\npercentage_used %u\nbytes_read %llu\nbytes_written %llu\n"
	       "host_read_commands %llu\nhost_write_commands %llu\npower_cycles %llu\n"
	       "media_errors %llu\n",
		smart.model, smart.serial, smart.firmware, smart.critical_warning,
		smart.temperature_celsius, smart.available_spare, smart.percentage_used,
		(unsigned long long)smart.bytes_read, (unsigned long long)smart.bytes_written,
		(unsigned long long)smart.host_reads, (unsigned long long)smart.host_writes,
		(unsigned long long)smart.power_cycles, (unsigned long long)smart.media_errors);
	GIVES(xbdev_fini(), 0);
}

static void health(const char *json)
{
	xbdev_health_info_t health;
	xbdev_info_t info;
	int fd = open_device(json, &info);

	GIVES(xbdev_health_status_get(info.name, &health), 0);
	printf("percentage %d\nreason %s\ndays %d\nmethod %s\nbytes_written %llu\n"
	       "temperature %d\nwear %d\nspare %d\nwarnings %u\npower_on_hours %lld\n"
	       "unsafe_shutdowns %lld\nbad_sectors %lld\nmedia_errors %llu\nhas_smart %d\n"
	       "source %s\n",
		health.health_percentage, health.reason, health.estimated_lifetime_days,
		health.estimate_method, health.total_bytes_written, health.temperature,
		health.wear_level, health.spare_percentage, health.warnings,
		(long long)health.power_on_hours, (long long)health.unsafe_shutdowns,
		(long long)health.bad_sectors, (unsigned long long)health.media_errors,
		health.has_smart, health.source);
	close_device(fd);
}

static void on_event(const xbdev_health_event_t *event, void *arg)
{
	printf("condition %u %s at %d %%: %s\n", event->condition,
		event->is_over ? "ends" : "begins", event->health.health_percentage, event->text);
	fflush(stdout);
}

static void watch(const char *json)
{
	const xbdev_health_config_t config = {.interval_s = 1, .smart_monitoring = true};
	xbdev_info_t info;
	int fd = open_device(json, &info);

	GIVES(xbdev_register_health_callback(on_event, NULL), 0);
	GIVES(xbdev_health_monitor_start(&config), 0);
	printf("watching\n");
	fflush(stdout);
	while (getchar() != EOF) {
	}
	GIVES(xbdev_health_monitor_stop(), 0);
	close_device(fd);
}

/* Errors may come before -ENODEV does, while the kernel takes the disk apart. */
static void load(const char *json)
{
	time_t deadline = time(NULL) + PATIENCE_S;
	char *buf = allocate(4096);
	xbdev_info_t info;
	int fd = open_device(json, &info);
	uint64_t nr_ok = 0, nr_errors = 0;
	long rc;

	memset(buf, 0x5a, 4096);
	do {
		rc = xbdev_write(fd, buf, 4096, (nr_ok % (info.size_bytes / 4096)) * 4096);
		nr_ok += rc == 4096;
		nr_errors += rc < 0;
		if (nr_ok == 100) {
			printf("under load\n");
			fflush(stdout);
		}
		if (time(NULL) > deadline) {
			FAIL("the disk was not taken away, or %s did not notice; the last write "
			     "gives %ld",
				info.name, rc);
		}
	} while (rc != -ENODEV);
	printf("%llu writes, %llu errors, then it was gone\n", (unsigned long long)nr_ok,
		(unsigned long long)nr_errors);
	/* The channels know it first. */
	while (xbdev_get_info(fd, &info) != -ENODEV) {
		if (time(NULL) > deadline) {
			FAIL("xbdev_get_info() knows nothing of it");
		}
		usleep(10000);
	}
	GIVES(xbdev_close(fd), 0);
	while (xbdev_list(&info, 1) != 0) {
		if (time(NULL) > deadline) {
			FAIL("the device is still listed");
		}
		usleep(10000);
	}
	GIVES(xbdev_fini(), 0);
}

static void resize(const char *json, const char *bytes)
{
	time_t deadline = time(NULL) + PATIENCE_S;
	uint64_t wanted = strtoull(bytes, NULL, 10);
	char *buf = allocate(4096), *in = allocate(4096);
	xbdev_info_t info;
	int fd = open_device(json, &info);

	if (info.size_bytes >= wanted) {
		FAIL("it has %llu bytes already", (unsigned long long)info.size_bytes);
	}
	GIVES(xbdev_write(fd, buf, 4096, info.size_bytes), -EINVAL);
	printf("waiting\n");
	fflush(stdout);
	while (info.size_bytes != wanted) {
		if (time(NULL) > deadline) {
			FAIL("it stays at %llu bytes", (unsigned long long)info.size_bytes);
		}
		usleep(10000);
		GIVES(xbdev_get_info(fd, &info), 0);
	}
	memset(buf, 0x77, 4096);
	GIVES(xbdev_write(fd, buf, 4096, wanted - 4096), 4096);
	GIVES(xbdev_read(fd, in, 4096, wanted - 4096), 4096);
	GIVES(memcmp(buf, in, 4096), 0);
	close_device(fd);
}

static long cpu_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static void idle(const char *json)
{
	char *buf = allocate(4096);
	xbdev_info_t info;
	int fd = open_device(json, &info);
	long before;

	GIVES(xbdev_read(fd, buf, 4096, 0), 4096);
	usleep(200000);
	before = cpu_ms();
	sleep(IDLE_S);
	printf("%ld ms of CPU in %d s\n", cpu_ms() - before, IDLE_S);
	if (cpu_ms() - before > IDLE_CPU_MS) {
		FAIL("an idle device costs that much");
	}
	close_device(fd);
}

/* ---- documents ---- */

static void start_library(void)
{
	GIVES(xbdev_init(), 0);
}

static xbdev_info_t only_device(void)
{
	xbdev_info_t info;

	GIVES(xbdev_list(&info, 1), 1);
	return info;
}

static void must_be(const xbdev_info_t *wanted, const char *when)
{
	xbdev_info_t info = only_device();

	if (strcmp(info.name, wanted->name) != 0 || strcmp(info.uuid, wanted->uuid) != 0 ||
		strcmp(info.driver, wanted->driver) != 0 || info.size_bytes != wanted->size_bytes ||
		info.block_size != wanted->block_size) {
		FAIL("%s: '%s' %s is not '%s' %s", when, info.name, info.uuid, wanted->name,
			wanted->uuid);
	}
}

static void document(const char *path, const char *other)
{
	char saved[512], *buf = allocate(4096);
	xbdev_info_t first;
	int fd;

	snprintf(saved, sizeof(saved), "%s.saved", path);
	start_library();
	GIVES(xbdev_parse_config(path), 0);
	first = only_device();
	GIVES(xbdev_save_config(saved), 0);
	/* Nothing is taken down: it stays open. */
	fd = xbdev_open_with(first.name, XBDEV_OPEN_READ);
	GIVES(xbdev_parse_config(saved), 0);
	GIVES(xbdev_open_from_json(saved), 0);
	GIVES(xbdev_parse_config(path), 0);
	GIVES(xbdev_read(fd, buf, 4096, 0), 4096);
	GIVES(xbdev_close(fd), 0);
	must_be(&first, "parsed again");
	GIVES(xbdev_fini(), 0);

	start_library();
	GIVES(xbdev_open_from_json(saved), 0);
	must_be(&first, "loaded in another process");
	GIVES(xbdev_parse_config(path), 0);
	must_be(&first, "and parsed");
	if (other != NULL) {
		xbdev_info_t second;

		GIVES(xbdev_parse_config(other), 0);
		second = only_device();
		if (strcmp(second.name, first.name) != 0 || strcmp(second.uuid, first.uuid) == 0) {
			FAIL("'%s' is not another disk: %s", second.name, second.uuid);
		}
		GIVES(xbdev_parse_config(path), 0);
		must_be(&first, "changed back");
	}
	printf("'%s' by a document: %s\n", first.name, first.uuid);
	GIVES(xbdev_fini(), 0);
	free(buf);
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	if (strcmp(command, "exercise") == 0 && argc == 5) {
		exercise(argv[2], argv[3], argv[4]);
	} else if (strcmp(command, "compare") == 0 && argc == 4) {
		compare(argv[2], argv[3]);
	} else if (strcmp(command, "refuse") == 0 && argc == 4) {
		refuse(argv[2], argv[3]);
	} else if (strcmp(command, "info") == 0 && argc == 3) {
		info(argv[2]);
	} else if ((strcmp(command, "fill") == 0 || strcmp(command, "discard") == 0) && argc == 5) {
		change(argv[2], argv[3], argv[4], command[0] == 'd');
	} else if (strcmp(command, "hold") == 0 && argc == 3) {
		hold(argv[2]);
	} else if (strcmp(command, "smart") == 0 && argc == 3) {
		smart(argv[2]);
	} else if (strcmp(command, "health") == 0 && argc == 3) {
		health(argv[2]);
	} else if (strcmp(command, "watch") == 0 && argc == 3) {
		watch(argv[2]);
	} else if (strcmp(command, "load") == 0 && argc == 3) {
		load(argv[2]);
	} else if (strcmp(command, "resize") == 0 && argc == 4) {
		resize(argv[2], argv[3]);
	} else if (strcmp(command, "idle") == 0 && argc == 3) {
		idle(argv[2]);
	} else if (strcmp(command, "document") == 0 && (argc == 3 || argc == 4)) {
		document(argv[2], argv[3]);
	} else {
		FAIL("unknown command '%s' with %d arguments", command, argc - 2);
	}
	return 0;
}

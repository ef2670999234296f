/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-device: random I/O on one device in embedded mode (the benchmark's own thread polls the
 * reactor), at a fixed depth for a fixed time. Prints one line of JSON: operations per second, CPU
 * nanoseconds per operation, latency percentiles. `--memcpy SIZE` measures the limit of a memory
 * device instead: plain copies of random blocks of a region into as many hot buffers as the depth.
 * `--rebuild` has a member of an array fail and prints what the others did until it was whole
 * again; `--rebuilding` measures I/O beside that, and `--frozen` on the same array while its
 * rebuild stands still. `--beside` measures both in turn, and the whole array before, without a
 * pause in the I/O: where others use the disks, too, no two runs can be compared.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/volume.h"
#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/size.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "lib/xnvmf/host/host.h"

#define MAX_DEPTH   4096u
#define MAX_MEMBERS 32
#define NR_TURNS    3  /* of --beside */
#define PART_WRITES 30 /* percent, of mixed I/O */

struct bench {
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct xu_random random;
	uint64_t nr_blocks;
	uint32_t block_bytes;
	uint32_t depth;
	uint8_t op;
	bool is_mixed;
	bool is_over;
	uint32_t nr_inflight;
	uint64_t nr_done, nr_errors;
	bool has_rebuild;
	uint64_t nr_rebuilt; /* bytes of each member, while it was measured */
};

struct slot {
	struct xbdev_io io;
	struct iovec iov;
	struct bench *bench;
};

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

static void die(const char *what, const struct xu_error *err)
{
	fprintf(stderr, "bench-device: %s: %s\n", what, err->text);
	exit(1);
}

static void issue(struct slot *slot)
{
	struct bench *b = slot->bench;
	int rc;

	slot->io.offset = xu_random_below(&b->random, b->nr_blocks) * b->block_bytes;
	if (b->is_mixed) {
		slot->io.op = xu_random_below(&b->random, 100) < PART_WRITES ? XBDEV_OP_WRITE
									     : XBDEV_OP_READ;
	}
	rc = xbdev_io_submit(&slot->io);
	if (rc != 0) {
		fprintf(stderr, "bench-device: submit: %s\n", strerror(-rc));
		exit(1);
	}
}

static void on_done(struct xbdev_io *io, int status)
{
	struct slot *slot = xu_container_of(io, struct slot, io);
	struct bench *b = slot->bench;

	b->nr_done++;
	b->nr_errors += status != 0;
	if (b->is_over) {
		b->nr_inflight--;
	} else {
		issue(slot);
	}
}

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct xbdev_device **ret_dev = arg;

	if (dev == NULL) {
		die("making the device", err);
	}
	*ret_dev = dev;
}

static struct xbdev_device *make_device(struct bench *b, json_t *params)
{
	const struct xbdev_driver *driver;
	char path[XU_PARAM_PATH_SIZE];
	struct xbdev_device *dev = NULL;

	driver = xbdev_driver_find(json_string_value(json_object_get(params, "driver")));
	if (driver == NULL) {
		fprintf(stderr, "bench-device: unknown driver\n");
		exit(1);
	}
	json_object_del(params, "driver");
	xbdev_device_create(b->ctx, driver, params, path, on_created, &dev);
	while (dev == NULL) {
		xr_reactor_poll(b->reactor, XU_NS_PER_MS);
	}
	return dev;
}

static void fill(struct bench *b)
{
	char *memory = xu_buf_alloc(1u << 20);
	struct slot slot = {.bench = b};

	memset(memory, 0x5a, 1u << 20);
	slot.iov = (struct iovec){memory, 1u << 20};
	slot.io = (struct xbdev_io){.ch = b->ch,
		.cb = on_done,
		.op = XBDEV_OP_WRITE,
		.iov = &slot.iov,
		.nr_iov = 1,
		.len = 1u << 20};
	b->is_over = true;
	for (uint64_t at = 0; at + (1u << 20) <= xbdev_device_size_bytes(b->desc->dev);
		at += 1u << 20) {
		b->nr_inflight = 1;
		slot.io.offset = at;
		if (xbdev_io_submit(&slot.io) != 0) {
			exit(1);
		}
		while (b->nr_inflight != 0) {
			xr_reactor_poll(b->reactor, XU_NS_PER_MS);
		}
	}
	b->is_over = false;
	xu_buf_free(memory, 1u << 20);
}

/* Memory that has never been written is not there yet; making it would be most of a rebuild. */
static void fill_device(struct bench *b, struct xbdev_device *dev)
{
	struct xu_error err = {0};

	if (xbdev_desc_open(b->ctx, dev->name, true, NULL, NULL, &b->desc, &err) != 0) {
		die("opening a spare", &err);
	}
	if (xbdev_channel_get(b->desc, b->reactor, &b->ch) != 0) {
		die("getting a channel", &err);
	}
	fill(b);
	xbdev_channel_put(b->ch);
	xbdev_desc_close(b->desc);
}

/* A member with a name, behind a delay of so many microseconds unless that is 0. */
static struct xbdev_device *make_member(
	struct bench *b, const json_t *params, const char *name, json_int_t delay_us)
{
	json_t *member = json_deep_copy(params), *delay;
	struct xbdev_device *dev;
	char base[32];

	snprintf(base, sizeof(base), "%s%s", delay_us != 0 ? "base-" : "", name);
	json_object_set_new(member, "name", json_string(base));
	if (strcmp(json_string_value(json_object_get(member, "driver")), "file") == 0) {
		char path[4096];

		snprintf(path, sizeof(path), "%s-%s",
			json_string_value(json_object_get(member, "filename")), name);
		json_object_set_new(member, "filename", json_string(path));
	}
	dev = make_device(b, member);
	json_decref(member);
	if (delay_us != 0) {
		delay = json_pack("{s:s, s:s, s:s, s:I, s:I}", "driver", "delay", "name", name,
			"base", base, "avg_read_latency_us", delay_us, "avg_write_latency_us",
			delay_us);
		dev = make_device(b, delay);
		json_decref(delay);
	}
	return dev;
}

/* {"raid": LEVEL, "members": N, "missing": the first so many, "spares": N, "chunk": BYTES,
 * "policy": 1 with a log, "delay": microseconds that a member takes longer, "member": {a device
 * without its name; of a file the name's beginning}} */
static struct xbdev_device *make_array(struct bench *b, json_t *params)
{
	const char *names[MAX_MEMBERS];
	char texts[MAX_MEMBERS][16];
	struct xbdev_device *dev = NULL;
	struct xbdev_md_create_opts opts = {
		.name = "array",
		.level = (int32_t)json_integer_value(json_object_get(params, "raid")),
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = (uint64_t)json_integer_value(json_object_get(params, "chunk")),
		.members = names,
		.nr_members = (uint32_t)json_integer_value(json_object_get(params, "members")),
		.policy =
			(enum xbdev_md_policy)json_integer_value(json_object_get(params, "policy")),
		.nr_spares = (uint32_t)json_integer_value(json_object_get(params, "spares")),
		.assume_clean = true,
	};

	for (int64_t i = 0; i < opts.nr_members + opts.nr_spares && i < MAX_MEMBERS; i++) {
		snprintf(texts[i], sizeof(texts[i]), "m%d", (int)i);
		names[i] = texts[i];
		if (i < json_integer_value(json_object_get(params, "missing"))) {
			names[i] = XBDEV_MD_MISSING;
			continue;
		}
		dev = make_member(b, json_object_get(params, "member"), names[i],
			json_integer_value(json_object_get(params, "delay")));
		if (i >= opts.nr_members) {
			fill_device(b, dev);
		}
	}
	dev = NULL;
	opts.force = opts.nr_spares > 0;
	xbdev__md_create(b->ctx, &opts, on_created, &dev);
	while (dev == NULL) {
		xr_reactor_poll(b->reactor, XU_NS_PER_MS);
	}
	return dev;
}

/* {"lvol": {the device below}, "thin": true, "size": BYTES, "cluster": BYTES, "chain": N}: the top
 * of a chain of so many snapshots, over a volume that has been written when "filled". */
static struct xbdev_device *make_volume(struct bench *b, json_t *params)
{
	static struct bench_pool pool;
	struct xbdev_device *below = make_device(b, json_object_get(params, "lvol"));
	json_int_t chain = json_integer_value(json_object_get(params, "chain"));

	bench_pool_start(&pool, b->ctx, below->name,
		(uint32_t)json_integer_value(json_object_get(params, "cluster")));
	bench_volume_create(&pool, "v",
		(uint64_t)json_integer_value(json_object_get(params, "size")),
		json_is_true(json_object_get(params, "thin")));
	if (json_is_true(json_object_get(params, "filled"))) {
		fill_device(b, xbdev__lvol_device(bench_volume_find(&pool, "v")));
	}
	for (json_int_t i = 0; i < chain; i++) {
		char name[32];

		snprintf(name, sizeof(name), "s%d", (int)i);
		bench_volume_snapshot(&pool, "v", name);
	}
	return xbdev__lvol_device(bench_volume_find(&pool, "v"));
}

static void open_device(struct bench *b, const char *text)
{
	struct xbdev_device *dev;
	struct xu_error err = {0};
	json_error_t json_err;
	json_t *params = json_loads(text, 0, &json_err);

	if (params == NULL) {
		fprintf(stderr, "bench-device: %s\n", json_err.text);
		exit(1);
	}
	xbdev_driver_add(&xnvmf_host_driver);
	dev = json_object_get(params, "raid") != NULL   ? make_array(b, params)
	      : json_object_get(params, "lvol") != NULL ? make_volume(b, params)
							: make_device(b, params);
	json_decref(params);
	if (xbdev_desc_open(b->ctx, dev->name, true, NULL, NULL, &b->desc, &err) != 0) {
		die("opening the device", &err);
	}
	if (xbdev_channel_get(b->desc, b->reactor, &b->ch) != 0) {
		die("getting a channel", &err);
	}
	b->nr_blocks = xbdev_device_size_bytes(dev) / b->block_bytes;
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	memcpy(arg, stats, sizeof(*stats));
}

/* How far the rebuild is, in bytes of each member; 0: none runs. */
static uint64_t rebuilt_bytes(const struct bench *b)
{
	enum xbdev_md_sync_kind kind;
	uint64_t done = 0, total, speed;

	if (b->has_rebuild) {
		const struct xbdev_md_array *array =
			xu_container_of(b->desc->dev, struct xbdev_md_array, dev);

		xbdev__md_sync_progress(array, &kind, &done, &total, &speed);
	}
	return done * XBDEV_MD_SECTOR;
}

/* What has been measured of I/O since the last call is added. */
static void take_latency(struct bench *b, struct xu_hist *hist)
{
	static struct xbdev_stats stats;

	xbdev_device_stats(b->desc->dev, true, on_stats, &stats);
	for (uint32_t i = 0; i < 16; i++) {
		xr_reactor_poll(b->reactor, 0);
	}
	xu_hist_merge(hist, &stats.ops[XBDEV_OP_READ].latency);
	xu_hist_merge(hist, &stats.ops[XBDEV_OP_WRITE].latency);
}

static void report(const struct bench *b, const struct xu_hist *latency, double seconds, double cpu,
	uint64_t done)
{
	printf("{\"iops\": %.0f, \"gib_per_s\": %.2f, \"cpu_ns_per_io\": %.0f, "
	       "\"cpu_percent\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, "
	       "\"rebuilt_mib_per_s\": %.1f, \"errors\": %llu}\n",
		(double)done / seconds, (double)done / seconds * b->block_bytes / (1u << 30),
		cpu / (double)done, cpu / seconds / 1e7,
		(double)xu_hist_percentile_ns(latency, 50) / 1e3,
		(double)xu_hist_percentile_ns(latency, 99) / 1e3,
		(double)xu_hist_percentile_ns(latency, 99.9) / 1e3,
		(double)b->nr_rebuilt / seconds / (1u << 20), (unsigned long long)b->nr_errors);
}

struct load {
	struct slot *slots;
	char *memory;
};

static void start_load(struct bench *b, struct load *load)
{
	struct slot *slots = load->slots = xu_buf_alloc(b->depth * sizeof(*slots));

	load->memory = xu_buf_alloc((size_t)b->depth * b->block_bytes);
	if (slots == NULL || load->memory == NULL) {
		fprintf(stderr, "bench-device: out of memory\n");
		exit(1);
	}
	for (uint32_t i = 0; i < b->depth; i++) {
		slots[i].bench = b;
		slots[i].iov =
			(struct iovec){load->memory + (size_t)i * b->block_bytes, b->block_bytes};
		slots[i].io.ch = b->ch;
		slots[i].io.cb = on_done;
		slots[i].io.op = b->op;
		slots[i].io.iov = &slots[i].iov;
		slots[i].io.nr_iov = 1;
		slots[i].io.len = b->block_bytes;
		issue(&slots[i]);
	}
	b->nr_inflight = b->depth;
}

static void stop_load(struct bench *b, struct load *load)
{
	b->is_over = true;
	while (b->nr_inflight != 0) {
		xr_reactor_poll(b->reactor, XU_NS_PER_MS);
	}
	xu_buf_free(load->slots, b->depth * sizeof(*load->slots));
	xu_buf_free(load->memory, (size_t)b->depth * b->block_bytes);
}

static void run(struct bench *b, double seconds)
{
	const struct xu_clock *clock = xu_clock_system();
	static struct xu_hist latency;
	uint64_t start_ns, end_ns, done, rebuilt;
	struct load load;
	double cpu;

	start_load(b, &load);
	start_ns = xu_clock_now_ns(clock);
	cpu = cpu_ns();
	done = b->nr_done;
	b->nr_rebuilt = rebuilt_bytes(b);
	do {
		for (uint32_t i = 0; i < 64; i++) {
			xr_reactor_poll(b->reactor, 10 * XU_NS_PER_MS);
		}
		end_ns = xu_clock_now_ns(clock);
	} while (end_ns - start_ns < (uint64_t)(seconds * 1e9));
	done = b->nr_done - done;
	cpu = cpu_ns() - cpu;
	rebuilt = rebuilt_bytes(b);
	b->nr_rebuilt = rebuilt > b->nr_rebuilt ? rebuilt - b->nr_rebuilt : 0; /* it stood still */
	stop_load(b, &load);
	xu_hist_init(&latency);
	take_latency(b, &latency);
	report(b, &latency, (double)(end_ns - start_ns) / 1e9, cpu, done);
}

static void close_device(struct bench *b)
{
	xbdev_channel_put(b->ch);
	xbdev_desc_close(b->desc);
	xbdev_device_remove_all(b->ctx);
	while (xbdev_device_next(b->ctx, NULL) != NULL) {
		xr_reactor_poll(b->reactor, XU_NS_PER_MS);
	}
}

static void on_managed(void *arg, const struct xu_error *err)
{
	if (err != NULL) {
		die("failing a member", err);
	}
	*(bool *)arg = true;
}

static void manage(struct bench *b, enum xbdev_md_command_kind kind, const char *device)
{
	const struct xbdev_md_command what = {.kind = kind, .device = device};
	bool is_done = false;

	xbdev__md_manage(b->desc->dev, &what, on_managed, &is_done);
	while (!is_done) {
		xr_reactor_poll(b->reactor, XU_NS_PER_MS);
	}
}

/* A member fails, and the spare begins to get what it had; is_frozen: and gets no further. */
static void fail_member(struct bench *b, bool is_frozen)
{
	manage(b, XBDEV_MD_COMMAND_FAIL, "m0");
	if (is_frozen) {
		manage(b, XBDEV_MD_COMMAND_SYNC_STOP, NULL);
	}
	for (uint32_t i = 0; i < 16; i++) {
		static struct xbdev_stats stats;

		xbdev_device_stats(b->desc->dev, true, on_stats, &stats);
		xr_reactor_poll(b->reactor, 0);
	}
}

/* One state of the array, all its turns together. */
struct state {
	struct xu_hist latency;
	double seconds, cpu;
	uint64_t done, rebuilt;
};

/* A turn, which ends early when the rebuild does. */
static void take_turn(struct bench *b, struct state *state, double seconds, bool is_rebuilding)
{
	const struct xbdev_md_array *array =
		xu_container_of(b->desc->dev, struct xbdev_md_array, dev);
	const struct xu_clock *clock = xu_clock_system();
	uint64_t start_ns = xu_clock_now_ns(clock), end_ns, first = rebuilt_bytes(b), last = first;
	uint64_t done = b->nr_done;
	static struct xu_hist none;
	double cpu = cpu_ns();

	xu_hist_init(&none);
	take_latency(b, &none);
	do {
		for (uint32_t i = 0; i < 64 && !(is_rebuilding && array->sync == NULL); i++) {
			xr_reactor_poll(b->reactor, XU_NS_PER_MS);
		}
		end_ns = xu_clock_now_ns(clock);
	} while (end_ns - start_ns < (uint64_t)(seconds * 1e9) &&
		 !(is_rebuilding && array->sync == NULL));
	if (array->sync != NULL) {
		last = rebuilt_bytes(b);
	} else if (is_rebuilding) {
		last = array->geo.member_size * XBDEV_MD_SECTOR;
	}
	take_latency(b, &state->latency);
	state->cpu += cpu_ns() - cpu;
	state->done += b->nr_done - done;
	state->rebuilt += last - first;
	state->seconds += (double)(end_ns - start_ns) / 1e9;
}

static void report_state(const char *name, const struct state *state)
{
	printf("\"%s\": {\"iops\": %.0f, \"cpu_ns_per_io\": %.0f, \"p50_us\": %.2f, "
	       "\"p99_us\": %.2f, \"rebuilt_mib_per_s\": %.1f, \"seconds\": %.1f}",
		name, (double)state->done / state->seconds, state->cpu / (double)state->done,
		(double)xu_hist_percentile_ns(&state->latency, 50) / 1e3,
		(double)xu_hist_percentile_ns(&state->latency, 99) / 1e3,
		(double)state->rebuilt / state->seconds / (1u << 20), state->seconds);
}

/* The array whole; then, in turn, with its rebuild standing still and beside it, until it is whole
 * again at most. */
static void run_beside(struct bench *b, double seconds)
{
	const struct xbdev_md_array *array =
		xu_container_of(b->desc->dev, struct xbdev_md_array, dev);
	static struct state cold, whole, frozen, rebuilding;
	struct load load;

	xu_hist_init(&cold.latency);
	xu_hist_init(&whole.latency);
	xu_hist_init(&frozen.latency);
	xu_hist_init(&rebuilding.latency);
	start_load(b, &load);
	take_turn(b, &cold, seconds / 4, false);
	take_turn(b, &whole, seconds, false);
	fail_member(b, true);
	for (uint32_t i = 0; i < NR_TURNS && array->nr_degraded > 0; i++) {
		take_turn(b, &frozen, seconds, false);
		manage(b, XBDEV_MD_COMMAND_SYNC_START, NULL);
		take_turn(b, &rebuilding, seconds, true);
		manage(b, XBDEV_MD_COMMAND_SYNC_STOP, NULL);
	}
	stop_load(b, &load);
	printf("{");
	report_state("whole", &whole);
	printf(", ");
	report_state("frozen", &frozen);
	printf(", ");
	report_state("rebuilding", &rebuilding);
	printf(", \"errors\": %llu}\n", (unsigned long long)b->nr_errors);
}

/* All that is read from members and written to them, from when a member fails until the array is
 * whole. */
static void run_rebuild(struct bench *b)
{
	const struct xbdev_md_array *array =
		xu_container_of(b->desc->dev, struct xbdev_md_array, dev);
	const struct xu_clock *clock = xu_clock_system();
	uint64_t start_ns = xu_clock_now_ns(clock);
	double seconds, cpu = cpu_ns(), bytes, all;

	fail_member(b, false);
	while (array->nr_degraded > 0) {
		xr_reactor_poll(b->reactor, 10 * XU_NS_PER_MS);
	}
	seconds = (double)(xu_clock_now_ns(clock) - start_ns) / 1e9;
	cpu = cpu_ns() - cpu;
	bytes = (double)array->geo.member_size * XBDEV_MD_SECTOR;
	/* A mirror reads one copy and writes one, whatever it has besides. */
	all = bytes * (array->stripes != NULL ? array->geo.raid_disks : 2);
	printf("{\"gib_per_s\": %.2f, \"member_mib_per_s\": %.0f, \"iops\": %.0f, "
	       "\"cpu_ns_per_io\": %.0f}\n",
		all / seconds / (1u << 30), bytes / seconds / (1u << 20), all / 65536 / seconds,
		cpu / (all / 65536));
}

/* The limit: copies and nothing else. */
static void run_memcpy(struct bench *b, uint64_t size, double seconds)
{
	char *region = xu_buf_alloc(size), *hot = xu_buf_alloc((size_t)b->depth * b->block_bytes);
	const struct xu_clock *clock = xu_clock_system();
	uint64_t start_ns, end_ns, done = 0;
	double cpu;

	if (region == NULL || hot == NULL) {
		fprintf(stderr, "bench-device: out of memory\n");
		exit(1);
	}
	memset(region, 1, size);
	b->nr_blocks = size / b->block_bytes;
	start_ns = xu_clock_now_ns(clock);
	cpu = cpu_ns();
	do {
		for (uint32_t i = 0; i < 4096; i++, done++) {
			char *block =
				region + xu_random_below(&b->random, b->nr_blocks) * b->block_bytes;
			char *buf = hot + (size_t)(i % b->depth) * b->block_bytes;

			if (b->op == XBDEV_OP_READ) {
				memcpy(buf, block, b->block_bytes);
			} else {
				memcpy(block, buf, b->block_bytes);
			}
			__asm__ volatile("" : : "r"(buf), "r"(block) : "memory");
		}
		end_ns = xu_clock_now_ns(clock);
	} while (end_ns - start_ns < (uint64_t)(seconds * 1e9));
	cpu = cpu_ns() - cpu;
	printf("{\"iops\": %.0f, \"cpu_ns_per_io\": %.0f}\n",
		(double)done * 1e9 / (double)(end_ns - start_ns), cpu / (double)done);
	xu_buf_free(region, size);
	xu_buf_free(hot, (size_t)b->depth * b->block_bytes);
}

static const char usage[] =
	"usage: bench-device [options] DEVICE-JSON\n"
	"       bench-device [options] --memcpy SIZE\n"
	"Random I/O on a device such as '{\"driver\":\"null\",\"name\":\"n\",\"size\":\"1TiB\"}',\n"
	"or on an array: '{\"raid\":5,\"members\":5,\"chunk\":65536,\"member\":\n"
	"{\"driver\":\"malloc\",\"size\":\"128MiB\"}}', or on a volume of a store: '{\"lvol\":{a "
	"device},\n"
	"\"size\":BYTES,\"thin\":true,\"filled\":true,\"cluster\":BYTES,\"chain\":N}'.\n"
	"  --rw read|write|mixed  default read; mixed: 70 % reads\n"
	"  --bs SIZE         default 4KiB\n"
	"  --depth N         default 64\n"
	"  --seconds S       default 3\n"
	"  --spin US         longest spin before sleeping, default 25\n"
	"  --fill            write the whole device first\n"
	"  --rebuild         no I/O: a member fails, until its spare has all\n"
	"  --rebuilding      I/O beside that\n"
	"  --frozen          the same, but the rebuild stands still\n"
	"  --beside          both in turn, for so many seconds each, and the whole array before\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rw", 1, NULL, 'r'}, {"bs", 1, NULL, 'b'},
		{"depth", 1, NULL, 'd'}, {"seconds", 1, NULL, 's'}, {"spin", 1, NULL, 'p'},
		{"memcpy", 1, NULL, 'm'}, {"fill", 0, NULL, 'f'}, {"rebuild", 0, NULL, 'R'},
		{"rebuilding", 0, NULL, 'B'}, {"frozen", 0, NULL, 'F'}, {"beside", 0, NULL, 'T'},
		{"help", 0, NULL, 'h'}, {0}};
	struct bench b = {.block_bytes = 4096, .depth = 64, .op = XBDEV_OP_READ};
	struct xbdev_ctx_opts opts = {.spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};
	uint64_t size, memcpy_bytes = 0;
	struct xu_error err = {0};
	double seconds = 3;
	bool must_fill = false, has_load = true, is_frozen = false, is_beside = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			b.op = strcmp(optarg, "write") == 0 ? XBDEV_OP_WRITE : XBDEV_OP_READ;
			b.is_mixed = strcmp(optarg, "mixed") == 0;
			break;
		case 'b':
			if (xu_size_parse(optarg, &size) != 0) {
				fputs(usage, stderr);
				return 2;
			}
			b.block_bytes = (uint32_t)size;
			break;
		case 'd':
			b.depth = (uint32_t)atoi(optarg);
			break;
		case 's':
			seconds = atof(optarg);
			break;
		case 'p':
			opts.spin_max_ns = (uint64_t)atoi(optarg) * XU_NS_PER_US;
			break;
		case 'm':
			if (xu_size_parse(optarg, &memcpy_bytes) != 0) {
				fputs(usage, stderr);
				return 2;
			}
			break;
		case 'f':
			must_fill = true;
			break;
		case 'R':
			has_load = false;
			/* fall through */
		case 'F':
		case 'B':
		case 'T':
			is_frozen = c == 'F';
			is_beside = c == 'T';
			b.has_rebuild = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (b.depth == 0 || b.depth > MAX_DEPTH || (memcpy_bytes == 0 && optind != argc - 1)) {
		fputs(usage, stderr);
		return 2;
	}
	xu_random_seed(&b.random, 1);
	if (memcpy_bytes != 0) {
		run_memcpy(&b, memcpy_bytes, seconds);
		return 0;
	}
	if (xbdev_ctx_new(&opts, &b.ctx, &err) != 0) {
		die("starting", &err);
	}
	b.reactor = xbdev_ctx_control(b.ctx);
	open_device(&b, argv[optind]);
	if (must_fill) {
		fill(&b);
	}
	if (is_beside) {
		run_beside(&b, seconds);
	} else if (!has_load) {
		run_rebuild(&b);
	} else {
		if (b.has_rebuild) {
			fail_member(&b, is_frozen);
		}
		run(&b, seconds);
	}
	close_device(&b);
	xbdev_ctx_free(b.ctx);
	return b.nr_errors != 0;
}

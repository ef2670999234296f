/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nvmf-verify: our host as a program, for tests against targets of others (test/e2e).
 *
 *   nvmf-verify PARAMS model NR_IOS FILE    random I/O on two reactors, checked against a model;
 * then the device's content to FILE nvmf-verify PARAMS wait-size BYTES      until the device has
 * this size nvmf-verify PARAMS wait-removed         until it is removed nvmf-verify PARAMS discover
 * the discovery log, one line for each entry
 *
 * PARAMS is the JSON of an nvmf device, without its name. Exit code 0 when all was as it must be;
 * every wait has a bound.
 */
#include "lib/util/log.h"
#include "lib/xnvmf/host/host.h"
#include "test/unit/xbdev/model.h"

#define NR_REACTORS  2u
#define PATIENCE_NS  (120 * XU_NS_PER_S)
#define MAX_IO_BYTES (128u << 10)

struct verify {
	struct harness h;
	struct xu_logger *log;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	bool is_removed;
	uint64_t end_ns;
};

static void die(const char *why)
{
	fprintf(stderr, "nvmf-verify: %s\n", why);
	exit(1);
}

/* One round; ends the program when it has taken too long. */
static void step(struct verify *v)
{
	if (xu_clock_now_ns(xu_clock_system()) > v->end_ns) {
		die("this takes too long");
	}
	harness_poll(&v->h);
}

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	if (dev == NULL) {
		die(err->text);
	}
	((struct verify *)arg)->dev = dev;
}

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	(void)desc;
	((struct verify *)arg)->is_removed |= event == XBDEV_EVENT_REMOVE;
}

static void attach(struct verify *v, json_t *params)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err = {0};

	json_object_set_new(params, "name", json_string("r"));
	xbdev_device_create(v->h.ctx, &xnvmf_host_driver, params, path, on_created, v);
	while (v->dev == NULL) {
		step(v);
	}
	if (xbdev_desc_open(v->h.ctx, "r", true, on_event, v, &v->desc, &err) != 0) {
		die(err.text);
	}
}

/* ---- the commands ---- */

static bool are_done(struct model **models)
{
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		if (!atomic_load(&models[i]->is_done)) {
			return false;
		}
	}
	return true;
}

/* Each reactor has its half of the device, which must be all zeroes at first: that is seen to. */
static void run_model(struct verify *v, uint32_t nr_ios, const char *path, uint64_t max_io_bytes)
{
	uint64_t part = xbdev_device_size_bytes(v->dev) / NR_REACTORS / MAX_IO_BYTES * MAX_IO_BYTES;
	struct xbdev_channel *chs[NR_REACTORS];
	struct model *models[NR_REACTORS];
	char *all = malloc(part);
	FILE *file = fopen(path, "wb");

	if (all == NULL || file == NULL) {
		die("no memory, or the file cannot be written");
	}
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		struct model_opts opts = {.seed = harness_seed(1) + i,
			.offset = i * part,
			.len = part,
			.max_io_bytes = max_io_bytes,
			.nr_ios = nr_ios,
			.nr_slots = 24};

		chs[i] = opts.ch = harness_channel(&v->h, v->desc, i);
		MUST(harness_io(&v->h, chs[i], XBDEV_OP_WRITE_ZEROES, i * part, NULL, part, 0) ==
			0);
		models[i] = model_new(&opts);
		model_start(models[i]);
	}
	while (!are_done(models)) {
		step(v);
	}
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		MUST(harness_io(&v->h, chs[i], XBDEV_OP_READ, i * part, all, part, 0) == 0);
		MUST(memcmp(all, models[i]->flat, part) == 0);
		MUST(fwrite(all, 1, part, file) == part);
		harness_put(&v->h, chs[i]);
		model_free(models[i]);
	}
	MUST(fclose(file) == 0);
	free(all);
}

struct discovery {
	struct verify *v;
	bool is_done;
};

static void on_discovered(void *arg, const struct xnvmf_host_entry *entries, size_t nr_entries,
	uint64_t genctr, const struct xu_error *err)
{
	(void)genctr;
	if (err->code != 0) {
		die(err->text);
	}
	for (size_t i = 0; i < nr_entries; i++) {
		printf("%s %s %s subtype %u\n", entries[i].subnqn, entries[i].traddr,
			entries[i].trsvcid, entries[i].subtype);
	}
	((struct discovery *)arg)->is_done = true;
}

static void discover(struct verify *v, json_t *params)
{
	const struct xnvmf_host_discover_opts opts = {
		.traddr = json_string_value(json_object_get(params, "traddr")),
		.port = (uint16_t)json_integer_value(json_object_get(params, "port")),
	};
	struct discovery discovery = {.v = v};

	xnvmf_host_discover(v->h.ctx, &opts, on_discovered, &discovery);
	while (!discovery.is_done) {
		step(v);
	}
}

int main(int argc, char **argv)
{
	const struct xu_log_opts log_opts = {.level = XU_LOG_INFO, .ident = "nvmf-verify"};
	json_t *params = argc > 2 ? json_loads(argv[1], 0, NULL) : NULL;
	struct verify v = {0};
	json_t *info;
	char *text;

	if (params == NULL || xu_logger_new(&log_opts, &v.log, NULL) != 0) {
		die("usage: nvmf-verify PARAMS model|wait-size|wait-removed|discover ...");
	}
	v.end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;
	harness_start_opts(&v.h, &(struct xbdev_ctx_opts){.nr_reactors = NR_REACTORS, .log = v.log},
		NR_REACTORS);
	if (strcmp(argv[2], "discover") == 0) {
		discover(&v, params);
	} else {
		attach(&v, params);
		if (strcmp(argv[2], "model") == 0 && argc >= 5) {
			run_model(&v, (uint32_t)atoi(argv[3]), argv[4],
				argc > 5 ? strtoull(argv[5], NULL, 10) : MAX_IO_BYTES);
		} else if (strcmp(argv[2], "wait-size") == 0 && argc == 4) {
			while (xbdev_device_size_bytes(v.dev) != strtoull(argv[3], NULL, 10)) {
				step(&v);
			}
		} else if (strcmp(argv[2], "wait-removed") == 0) {
			while (!v.is_removed) {
				step(&v);
			}
		} else {
			die("unknown command");
		}
		info = v.dev->ops->info(v.dev);
		text = json_dumps(info, JSON_COMPACT);
		fprintf(stderr, "%s\n", text);
		free(text);
		json_decref(info);
		xbdev_desc_close(v.desc);
	}
	if (v.is_removed) {
		while (xbdev_device_next(v.h.ctx, NULL) != NULL) {
			step(&v);
		}
	}
	harness_stop(&v.h);
	json_decref(params);
	xu_logger_free(v.log);
	return 0;
}

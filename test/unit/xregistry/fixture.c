/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test/unit/xregistry/fixture.h"

#include "lib/xregistry/desired.h"

char fixture_path[64];
static char dir[64];

struct xreg_spec fixture_spec(void)
{
	static const struct xreg_pair metadata[] = {
		{"hw_type", "nvme-ssd"}, {"location", "rack-1-slot-3"}};
	static const char *const tags[] = {"fast", "lab"};

	return (struct xreg_spec){.node_id = "node-1",
		.nqn = "nqn.2026-11.io.xsan:one",
		.address = "192.0.2.7",
		.interface = "eth0",
		.device_path = "/dev/sdb",
		.port = 4420,
		.security = XREG_SECURITY_TLS,
		.capacity_bytes = 1073741824000,
		.block_size = 4096,
		.namespace_id = 1,
		.is_read_only = true,
		.max_iops = 500000,
		.max_bandwidth_mbps = 6000,
		.avg_latency_us = 50,
		.queue_depth = 128,
		.max_connections = 32,
		.has_auto_discovery = true,
		.discovery_interval_s = 30,
		.weight = 2.5,
		.ttl_s = 90,
		.metadata = metadata,
		.nr_metadata = 2,
		.tags = tags,
		.nr_tags = 2};
}

json_t *fixture_body(void)
{
	json_t *body = json_pack("{s:s, s:{s:s, s:s, s:s, s:i, s:I, s:s}, s:{s:i, s:i, s:i},"
				 " s:{s:s, s:s, s:s}}",
		"node_id", "xdevice-node-001", "target_info", "nqn",
		"nqn.2024-01.com.xdevice:nvme:001", "transport", "tcp", "address", "192.168.1.100",
		"port", 4420, "namespace_capacity", (json_int_t)1073741824000, "security_type",
		"none", "performance_caps", "max_iops", 500000, "max_bandwidth_mbps", 6000,
		"avg_latency_us", 50, "metadata", "location", "rack-1-slot-3", "hw_type",
		"nvme-ssd", "firmware_version", "1.2.3");

	assert_non_null(body);
	return body;
}

int fixture_setup(void **state)
{
	snprintf(dir, sizeof(dir), "xregistry-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(fixture_path, sizeof(fixture_path), "%.32s/targets.db", dir);
	return 0;
}

int fixture_teardown(void **state)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	char path[96];

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", fixture_path, ends[i]);
		unlink(path);
	}
	return rmdir(dir);
}

struct xreg_store *fixture_open(const struct xreg_store_opts *more)
{
	struct xreg_store_opts opts = more != NULL ? *more : (struct xreg_store_opts){0};
	struct xreg_store *store = NULL;
	struct xu_error err = {0};

	opts.backend = opts.backend != NULL ? opts.backend : &xreg_sqlite;
	opts.where = opts.where != NULL ? opts.where : fixture_path;
	if (xreg_store_open(&opts, &store, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return store;
}

const char *fixture_register(struct xreg_store *store, const char *node, unsigned number)
{
	static _Thread_local char id[XREG_ID_SIZE];
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};
	char nqn[64];

	snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%06u", number);
	spec.nqn = nqn;
	spec.node_id = node;
	if (xreg_store_change(store, &change) != 0) {
		fail_msg("%s", change.err.text);
	}
	snprintf(id, sizeof(id), "%s", change.result->origin.id);
	xreg_target_unref(change.result);
	return id;
}

struct many {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	uint32_t nr_left;
};

static void on_one_done(struct xreg_change *change)
{
	struct many *many = change->arg;

	pthread_mutex_lock(&many->mutex);
	many->nr_left--;
	pthread_cond_signal(&many->cond);
	pthread_mutex_unlock(&many->mutex);
}

void fixture_change_all(struct xreg_store *store, struct xreg_change *changes, uint32_t count)
{
	struct many many = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, count};

	for (uint32_t i = 0; i < count; i++) {
		changes[i].done = on_one_done;
		changes[i].arg = &many;
		xreg_store_submit(store, &changes[i]);
	}
	pthread_mutex_lock(&many.mutex);
	while (many.nr_left > 0) {
		pthread_cond_wait(&many.cond, &many.mutex);
	}
	pthread_mutex_unlock(&many.mutex);
	for (uint32_t i = 0; i < count; i++) {
		if (changes[i].rc != 0) {
			fail_msg("%s", changes[i].err.text);
		}
		xreg_target_unref(changes[i].result);
	}
}

void fixture_set_config(struct xreg_store *store, const char *id, const char *text)
{
	json_t *body = json_loads(text, 0, NULL);
	struct xreg_change change = {.op = XREG_SET_CONFIG, .id = id};
	struct xreg_config *config = NULL;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err;

	assert_int_equal(xreg_config_parse(body, &config, path, &err), 0);
	change.config = config;
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
	xreg_config_unref(config);
	json_decref(body);
}

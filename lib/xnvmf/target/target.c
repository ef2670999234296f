/* SPDX-License-Identifier: BSD-3-Clause */
/* The target: making it, stopping it, and its options. See private.h for who owns what. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

#define RESERVE_DIVISOR     16u /* 1/16 of a reactor's buffers is left to the devices */
#define QPAIR_SHARE_DIVISOR 8u  /* no queue holds more of them than 1/8 */

void xnvmf_target_opts_default(struct xnvmf_target_opts *opts)
{
	*opts = (struct xnvmf_target_opts){
		.in_capsule_data_size = 8192,
		.max_io_size = 1u << 20,
		.max_queue_depth = 128,
		.max_queues = 64,
		.max_connections = 1024,
		.connect_timeout_ms = 10000,
	};
}

static int check_range(
	const char *name, uint32_t value, uint32_t min, uint32_t max, struct xu_error *err)
{
	if (value < min || value > max) {
		return xu_error_set(err, -EINVAL, "%s: %u is not possible, %u to %u are", name,
			value, min, max);
	}
	return 0;
}

static int check_opts(const struct xnvmf_target_opts *opts, struct xu_error *err)
{
	int rc = check_range("in_capsule_data_size", opts->in_capsule_data_size, 0, 65536, err);

	if (rc == 0) {
		/* 4096 would be an MDTS of 0, which means "no limit". */
		rc = check_range("max_io_size", opts->max_io_size, 8192, 4u << 20, err);
	}
	if (rc == 0) {
		rc = check_range("max_queue_depth", opts->max_queue_depth, 16, 4096, err);
	}
	if (rc == 0) {
		rc = check_range("max_queues", opts->max_queues, 1, 1024, err);
	}
	if (rc == 0) {
		rc = check_range("max_connections", opts->max_connections, 2, 65536, err);
	}
	if (rc == 0) {
		rc = check_range("connect_timeout_ms", opts->connect_timeout_ms, 100, 600000, err);
	}
	if (rc == 0 && opts->max_h2c_data != 0) {
		rc = check_range("max_h2c_data", opts->max_h2c_data, 4096, 4u << 20, err);
	}
	if (rc == 0 &&
		((opts->max_io_size & (opts->max_io_size - 1)) != 0 ||
			opts->in_capsule_data_size % 16 != 0 || opts->max_h2c_data % 4 != 0)) {
		rc = xu_error_set(err, -EINVAL,
			"max_io_size must be a power of two, in_capsule_data_size a multiple of "
			"16, "
			"max_h2c_data one of 4");
	}
	return rc;
}

/* A quarter, and at least room for two commands of the largest size. */
static uint64_t alone_left(const struct xnvmf_target *target, uint32_t reactor)
{
	uint64_t quarter = target->groups[reactor].buf_limit / 4;
	uint64_t two = 2ull * target->opts.max_io_size;

	return quarter > two ? quarter : two;
}

int xnvmf_target_new(struct xbdev_ctx *ctx, const struct xnvmf_target_opts *opts,
	struct xnvmf_target **ret_target, struct xu_error *err)
{
	const struct xnvmf_subsystem_opts discovery = {
		.nqn = XNVMF_DISCOVERY_NQN,
		.model_number = "XSAN discovery",
		.allow_any_host = true,
	};
	const struct xu_clock *clock = xbdev_ctx_platform(ctx)->clock;
	uint64_t pool_bytes = xr_reactor_buffers(xbdev_ctx_control(ctx))->limit_bytes;
	struct xnvmf_target *target;
	int rc = check_opts(opts, err);

	if (rc != 0) {
		return rc;
	}
	if (pool_bytes < 2ull * opts->max_io_size) {
		return xu_error_set(err, -EINVAL,
			"max_io_size %u is more than half of the %llu bytes of I/O buffers that a "
			"reactor has; lower it, or give the reactors more",
			opts->max_io_size, (unsigned long long)pool_bytes);
	}
	target = aligned_alloc(XU_CACHE_LINE, sizeof(*target));
	if (target == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making a target");
	}
	memset(target, 0, sizeof(*target));
	target->ctx = ctx;
	target->log = xbdev_ctx_log(ctx);
	target->opts = *opts;
	if (target->opts.max_h2c_data == 0) {
		target->opts.max_h2c_data = opts->max_io_size;
	}
	target->first_genctr = clock->wall_ns(clock) / XU_NS_PER_S;
	xu_list_init(&target->subsystems);
	xu_list_init(&target->ports);
	xu_list_init(&target->qpairs);
	xu_list_init(&target->held_connects);
	xu_list_init(&target->unconnected);
	xu_list_init(&target->initiators);
	xu_list_init(&target->idle_ctrls);
	xu_list_init(&target->sights);
	target->discovery_ops = &xnvmf__discovery_node;
	target->discovery_arg = target;
	for (uint32_t i = 0; i < xbdev_ctx_nr_reactors(ctx); i++) {
		target->groups[i].reactor = xbdev_ctx_reactor(ctx, i);
		xu_list_init(&target->groups[i].hungry);
		xu_list_init(&target->groups[i].waiting);
		xnvmf__share_init(&target->groups[i].strangers);
		target->groups[i].min_need = UINT64_MAX;
		target->groups[i].buf_limit = pool_bytes - pool_bytes / RESERVE_DIVISOR;
		target->groups[i].qpair_share = pool_bytes / QPAIR_SHARE_DIVISOR;
		target->groups[i].alone_left = alone_left(target, i);
	}
	rc = xnvmf__subsystem_new(target, &discovery, true, &target->discovery, err);
	if (rc != 0) {
		free(target);
		return rc;
	}
	*ret_target = target;
	return 0;
}

struct xnvmf_subsystem *xnvmf_target_discovery(struct xnvmf_target *target)
{
	return target->discovery;
}

const struct xnvmf_target_opts *xnvmf_target_get_opts(const struct xnvmf_target *target)
{
	return &target->opts;
}

void xnvmf__target_check(struct xnvmf_target *target)
{
	void (*cb)(void *arg) = target->stopped_cb;

	if (!target->is_stopping || target->nr_qpairs != 0 || target->nr_listening != 0 ||
		!xu_list_is_empty(&target->subsystems) || target->discovery != NULL) {
		return;
	}
	target->stopped_cb = NULL;
	if (cb != NULL) {
		cb(target->stopped_arg);
	}
}

int xnvmf_target_stop(struct xnvmf_target *target, void (*cb)(void *arg), void *arg)
{
	struct xu_list *node, *next;

	if (target->is_stopping) {
		return -EBUSY;
	}
	target->is_stopping = true;
	target->stopped_cb = cb;
	target->stopped_arg = arg;
	xnvmf__discovery_fini(target);
	xu_list_for_each_safe (node, next, &target->subsystems) {
		xnvmf_subsystem_remove(
			xu_list_entry(node, struct xnvmf_subsystem, link), NULL, NULL);
	}
	xnvmf_subsystem_remove(target->discovery, NULL, NULL);
	xu_list_for_each_safe (node, next, &target->qpairs) {
		xnvmf__qpair_disconnect(xu_list_entry(node, struct xnvmf_qpair, control_link));
	}
	return 0;
}

void xnvmf_target_free(struct xnvmf_target *target)
{
	if (target == NULL) {
		return;
	}
	assert(target->nr_qpairs == 0 && xu_list_is_empty(&target->subsystems));
	xnvmf__discovery_fini(target);
	if (target->discovery != NULL) { /* it was never stopped */
		target->discovery->is_removing = true;
		xnvmf__subsystem_check(target->discovery);
	}
	free(target);
}

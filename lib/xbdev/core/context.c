/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The context: makes and frees the reactors and holds the list of devices. See context.h for who
 * may call what.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/reactor/platform.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/context_private.h"

struct xr_reactor *xbdev_ctx_reactor(const struct xbdev_ctx *ctx, uint32_t index)
{
	assert(index < ctx->nr_reactors);
	return ctx->reactors[index];
}

uint32_t xbdev_ctx_nr_reactors(const struct xbdev_ctx *ctx)
{
	return ctx->nr_reactors;
}

struct xu_logger *xbdev_ctx_log(const struct xbdev_ctx *ctx)
{
	return ctx->log;
}

const struct xr_platform *xbdev_ctx_platform(const struct xbdev_ctx *ctx)
{
	return ctx->platform;
}

struct xbdev_rebuilds *xbdev_ctx_rebuilds(struct xbdev_ctx *ctx)
{
	return &ctx->rebuilds;
}

void xbdev_ctx_add_part(struct xbdev_ctx *ctx, struct xbdev_ctx_part *part)
{
	xu_list_add_tail(&ctx->parts, &part->link);
}

struct xbdev_ctx_part *xbdev_ctx_find_part(
	const struct xbdev_ctx *ctx, void (*free)(struct xbdev_ctx_part *part))
{
	struct xu_list *node;

	xu_list_for_each (node, &ctx->parts) {
		struct xbdev_ctx_part *part = xu_list_entry(node, struct xbdev_ctx_part, link);

		if (part->free == free) {
			return part;
		}
	}
	return NULL;
}

void xbdev_ctx_add_listener(struct xbdev_ctx *ctx, struct xbdev_graph_listener *listener)
{
	xu_list_add_tail(&ctx->listeners, &listener->link);
}

void xbdev_ctx_del_listener(struct xbdev_graph_listener *listener)
{
	xu_list_del(&listener->link);
}

void xbdev__graph_event(
	struct xbdev_ctx *ctx, enum xbdev_graph_event event, struct xbdev_device *dev)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &ctx->listeners) {
		struct xbdev_graph_listener *listener =
			xu_list_entry(node, struct xbdev_graph_listener, link);

		listener->fn(listener, event, dev);
	}
}

static int make_reactors(
	struct xbdev_ctx *ctx, const struct xbdev_ctx_opts *opts, struct xu_error *err)
{
	for (uint32_t i = 0; i < ctx->nr_reactors; i++) {
		struct xr_reactor_opts reactor_opts = {
			.platform = ctx->platform,
			.log = opts->log,
			.index = i,
			.cpu = opts->cpus != NULL ? opts->cpus[i] : -1,
			.spin_max_ns = opts->spin_max_ns,
			.buf_limit_bytes = opts->buf_limit_bytes,
		};
		int rc = xr_reactor_new(&reactor_opts, &ctx->reactors[i], err);

		if (rc != 0) {
			return rc;
		}
		ctx->numa_nodes[i] = -1;
		if (opts->cpus != NULL && ctx->platform->cpu_numa_node != NULL) {
			ctx->numa_nodes[i] =
				ctx->platform->cpu_numa_node(ctx->platform, opts->cpus[i]);
		}
	}
	return 0;
}

int xbdev_ctx_new(
	const struct xbdev_ctx_opts *opts, struct xbdev_ctx **ret_ctx, struct xu_error *err)
{
	uint32_t nr_reactors = opts->nr_reactors != 0 ? opts->nr_reactors : 1;
	struct xbdev_ctx *ctx;
	int rc;

	if (nr_reactors > XBDEV_MAX_REACTORS) {
		return xu_error_set(err, -EINVAL, "%u reactors asked for, at most %u are possible",
			nr_reactors, XBDEV_MAX_REACTORS);
	}
	ctx = calloc(1, sizeof(*ctx));
	if (ctx == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making a context");
	}
	ctx->platform = opts->platform != NULL ? opts->platform : xr_platform_linux();
	ctx->log = opts->log;
	ctx->nr_reactors = nr_reactors;
	xu_list_init(&ctx->devices);
	xu_list_init(&ctx->listeners);
	xu_list_init(&ctx->parts);
	ctx->notes = xbdev__notes_new();
	rc = ctx->notes != NULL ? make_reactors(ctx, opts, err)
				: xu_error_set_errno(err, -ENOMEM, "making a context");
	if (rc != 0) {
		xbdev_ctx_free(ctx);
		return rc;
	}
	*ret_ctx = ctx;
	return 0;
}

int xbdev_ctx_start(struct xbdev_ctx *ctx, uint32_t first, struct xu_error *err)
{
	for (uint32_t i = first; i < ctx->nr_reactors; i++) {
		int rc = xr_reactor_start(ctx->reactors[i], err);

		if (rc != 0) {
			xbdev_ctx_stop(ctx);
			return rc;
		}
	}
	return 0;
}

void xbdev_ctx_stop(struct xbdev_ctx *ctx)
{
	for (uint32_t i = ctx->nr_reactors; i-- > 0;) {
		xr_reactor_stop(ctx->reactors[i]);
	}
}

static void free_parts(struct xbdev_ctx *ctx)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&ctx->parts)) != NULL) {
		struct xbdev_ctx_part *part = xu_list_entry(node, struct xbdev_ctx_part, link);

		part->free(part);
	}
}

void xbdev_ctx_free(struct xbdev_ctx *ctx)
{
	if (ctx == NULL) {
		return;
	}
	assert(xu_list_is_empty(&ctx->devices));
	for (uint32_t i = 0; i < ctx->nr_reactors; i++) {
		xr_reactor_free(ctx->reactors[i]);
	}
	xbdev__notes_free(ctx->notes);
	xbdev__uevents_free(ctx->uevents);
	free_parts(ctx);
	free(ctx);
}

/* ---- hops ---- */

static void on_hop(struct xr_msg *msg)
{
	struct xbdev_hop *hop = xu_container_of(msg, struct xbdev_hop, msg);
	uint32_t index = hop->next++;

	if (index == hop->ctx->nr_reactors) {
		hop->done(hop);
		return;
	}
	hop->fn(hop, hop->ctx->reactors[index]);
	xr_msg_send(
		hop->ctx->reactors[hop->next < hop->ctx->nr_reactors ? hop->next : 0], &hop->msg);
}

void xbdev_hop_start(struct xbdev_hop *hop, struct xbdev_ctx *ctx)
{
	hop->ctx = ctx;
	hop->next = 0;
	hop->msg.fn = on_hop;
	xr_msg_send(ctx->reactors[0], &hop->msg);
}

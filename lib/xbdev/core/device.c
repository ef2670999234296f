/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device graph: registration, descriptors, claims, resize, removal.
 *
 * Removal:   READY --remove()--> REMOVING --last descriptor and channel gone--> freed
 * remove() refuses new channels at once, visits every reactor to stop the channels there (new I/O
 * -ENODEV, held-back I/O ended), then tells the openers, who put their channels and close. Each
 * close and each channel that goes looks whether it was the last; the driver's retire(), if it has
 * one, then takes its time, and destroy() frees the device. Everything here runs on the control
 * reactor but the visits.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/context_private.h"
#include "lib/xbdev/core/core_private.h"

/* ---- registration ---- */

static bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

int xbdev_device_check_name(const char *name, struct xu_error *err)
{
	size_t len = strnlen(name, XBDEV_NAME_SIZE);

	if (len == 0 || len >= XBDEV_NAME_SIZE) {
		return xu_error_set(err, -EINVAL,
			"a device name has 1 to %u characters, this one has %s",
			XBDEV_NAME_SIZE - 1, len == 0 ? "none" : "more");
	}
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= ' ' || name[i] > '~') {
			return xu_error_set(err, -EINVAL,
				"device name '%s': byte %zu is a space, a control character or not "
				"ASCII",
				name, i + 1);
		}
	}
	return 0;
}

static int check_limits(const struct xbdev_device *dev, struct xu_error *err)
{
	const struct xbdev_limits *l = &dev->limits;
	const uint32_t must =
		(1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) | (1u << XBDEV_OP_FLUSH);

	if (l->block_size != 512 && l->block_size != 4096) {
		return xu_error_set(err, -EINVAL,
			"device '%s': block size %u is not possible, use 512 or 4096", dev->name,
			l->block_size);
	}
	if (atomic_load(&dev->nr_blocks) == 0) {
		return xu_error_set(err, -EINVAL,
			"device '%s' is smaller than one block of %u bytes; give it a size",
			dev->name, l->block_size);
	}
	if (!is_power_of_two(l->buf_align) || l->buf_align > XU_BUF_ALIGN ||
		l->max_transfer < l->block_size || l->max_transfer % l->block_size != 0 ||
		l->max_zeroes < l->block_size || l->max_zeroes % l->block_size != 0 ||
		l->max_iov == 0 || l->queue_depth == 0 || (dev->ops_mask & must) != must) {
		return xu_error_set(err, -EINVAL, "device '%s': driver %s gives impossible limits",
			dev->name, dev->driver);
	}
	return 0;
}

struct xr_reactor *xbdev_ctx_next_owner(struct xbdev_ctx *ctx, int32_t numa_node)
{
	for (uint32_t i = 0; i < ctx->nr_reactors && numa_node >= 0; i++) {
		uint32_t index = (ctx->next_owner + i) % ctx->nr_reactors;

		if (ctx->numa_nodes[index] == numa_node) {
			ctx->next_owner = index + 1;
			return ctx->reactors[index];
		}
	}
	return ctx->reactors[ctx->next_owner++ % ctx->nr_reactors];
}

static int take_memory(struct xbdev_ctx *ctx, struct xbdev_device *dev)
{
	dev->channels = calloc(ctx->nr_reactors, sizeof(*dev->channels));
	dev->stats_home = calloc(1, sizeof(*dev->stats_home));
	if (dev->channels == NULL || dev->stats_home == NULL) {
		xbdev_device_unprepare(dev);
		return -ENOMEM;
	}
	xbdev__stats_init(dev->stats_home);
	return 0;
}

int xbdev_device_prepare(struct xbdev_ctx *ctx, struct xbdev_device *dev)
{
	int rc = take_memory(ctx, dev);

	dev->is_prepared = rc == 0;
	return rc;
}

void xbdev_device_unprepare(struct xbdev_device *dev)
{
	free(dev->channels);
	free(dev->stats_home);
	dev->channels = NULL;
	dev->stats_home = NULL;
	dev->is_prepared = false;
}

int xbdev_device_register(struct xbdev_ctx *ctx, struct xbdev_device *dev, struct xu_error *err)
{
	int rc = xbdev_device_check_name(dev->name, err);

	if (rc == 0) {
		rc = check_limits(dev, err);
	}
	if (rc != 0) {
		return rc;
	}
	if (xbdev_device_find(ctx, dev->name) != NULL) {
		return xu_error_set(err, -EEXIST,
			"there is a device named '%s' already; choose another name", dev->name);
	}
	if (!dev->is_prepared && take_memory(ctx, dev) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "registering device '%s'", dev->name);
	}
	if (dev->stats_home->since_ns != 0) { /* of its life before this one */
		xbdev__stats_reset(dev->stats_home);
	}
	for (uint32_t i = 0; i < ctx->nr_reactors; i++) {
		xu_list_init(&dev->channels[i]);
	}
	dev->stats_home->since_ns = xu_clock_now_ns(ctx->platform->clock);
	if (xu_uuid_is_null(&dev->uuid)) {
		dev->uuid = xu_uuid_random(xr_reactor_random(xbdev_ctx_control(ctx)));
	}
	dev->ctx = ctx;
	if (dev->owner == NULL) {
		dev->owner = xbdev_ctx_next_owner(ctx, dev->numa_node);
	}
	atomic_store(&dev->state, XBDEV_DEVICE_READY);
	xu_list_init(&dev->descs);
	xu_list_add_tail(&ctx->devices, &dev->link);
	xbdev__name_add(dev);
	xbdev__uuid_add(dev);
	xu_info(ctx->log, "device %s: %s, %llu blocks of %u bytes", dev->name, dev->product,
		(unsigned long long)atomic_load(&dev->nr_blocks), dev->limits.block_size);
	xbdev__graph_event(ctx, XBDEV_GRAPH_ADDED, dev);
	return 0;
}

struct xbdev_device *xbdev_device_next(struct xbdev_ctx *ctx, struct xbdev_device *dev)
{
	struct xu_list *next = dev == NULL ? ctx->devices.next : dev->link.next;

	return next == &ctx->devices ? NULL : xu_list_entry(next, struct xbdev_device, link);
}

/* ---- events ---- */

static void tell_openers(struct xbdev_device *dev, enum xbdev_event event)
{
	struct xu_list told, *node;

	/* A callback may close its own descriptor, so each is moved before it is told. */
	xu_list_init(&told);
	xu_list_splice_tail(&told, &dev->descs);
	while ((node = xu_list_pop(&told)) != NULL) {
		struct xbdev_desc *desc = xu_list_entry(node, struct xbdev_desc, link);

		xu_list_add_tail(&dev->descs, &desc->link);
		if (desc->event_cb != NULL) {
			desc->event_cb(desc, event, desc->event_arg);
		}
	}
}

void xbdev_device_set_size(struct xbdev_device *dev, uint64_t nr_blocks)
{
	if (atomic_load(&dev->nr_blocks) == nr_blocks) {
		return;
	}
	atomic_store(&dev->nr_blocks, nr_blocks);
	xu_info(dev->ctx->log, "device %s: now %llu blocks", dev->name,
		(unsigned long long)nr_blocks);
	tell_openers(dev, XBDEV_EVENT_RESIZE);
	xbdev__graph_event(dev->ctx, XBDEV_GRAPH_RESIZED, dev);
}

/* ---- descriptors ---- */

int xbdev_desc_open(struct xbdev_ctx *ctx, const char *name, bool is_writable,
	void (*event_cb)(struct xbdev_desc *desc, enum xbdev_event event, void *arg),
	void *event_arg, struct xbdev_desc **ret_desc, struct xu_error *err)
{
	struct xbdev_device *dev = xbdev_device_find(ctx, name);
	struct xbdev_desc *desc;

	if (dev == NULL || atomic_load(&dev->state) != XBDEV_DEVICE_READY) {
		return xu_error_set(err, -ENODEV, "there is no device named '%s'", name);
	}
	if (is_writable && dev->is_read_only) {
		return xu_error_set(
			err, -EROFS, "device '%s' is read-only; open it for reading", name);
	}
	if (is_writable && dev->claim != NULL) {
		return xu_error_set(err, -EBUSY,
			"device '%s' is in use by %s; release it there first", name, dev->claim_by);
	}
	desc = calloc(1, sizeof(*desc));
	if (desc == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "opening device '%s'", name);
	}
	desc->dev = dev;
	desc->is_writable = is_writable;
	desc->event_cb = event_cb;
	desc->event_arg = event_arg;
	dev->nr_writers += is_writable;
	xu_list_add_tail(&dev->descs, &desc->link);
	*ret_desc = desc;
	return 0;
}

int xbdev_desc_claim(struct xbdev_desc *desc, const char *by, struct xu_error *err)
{
	struct xbdev_device *dev = desc->dev;

	if (dev->claim != NULL) {
		return xu_error_set(err, -EBUSY,
			"device '%s' is in use by %s; release it there first", dev->name,
			dev->claim_by);
	}
	if (dev->nr_writers > (desc->is_writable ? 1 : 0)) {
		return xu_error_set(err, -EBUSY,
			"device '%s' is open for writing elsewhere; close it there first",
			dev->name);
	}
	dev->claim = desc;
	dev->claim_by = by;
	return 0;
}

void xbdev_desc_close(struct xbdev_desc *desc)
{
	struct xbdev_device *dev = desc->dev;

	assert(atomic_load(&desc->nr_channels) == 0);
	if (dev->claim == desc) {
		dev->claim = NULL;
		dev->claim_by = NULL;
		if (dev->is_doomed) {
			xbdev_device_remove(dev, NULL, NULL);
		}
	}
	dev->nr_writers -= desc->is_writable;
	xu_list_del(&desc->link);
	free(desc);
	xbdev__device_check(dev);
}

/* ---- removal ---- */

void xbdev_device_retired(struct xbdev_device *dev)
{
	struct xbdev_ctx *ctx = dev->ctx;
	void (*cb)(void *arg) = dev->removed_cb;
	void *arg = dev->removed_arg;

	xu_list_del(&dev->link);
	xbdev__name_del(dev);
	xbdev__uuid_del(dev);
	xu_info(ctx->log, "device %s: removed", dev->name);
	xbdev__graph_event(ctx, XBDEV_GRAPH_REMOVED, dev);
	if (!dev->is_prepared) {
		xbdev_device_unprepare(dev);
	}
	dev->ops->destroy(dev);
	if (cb != NULL) {
		cb(arg);
	}
}

static void on_check(struct xr_msg *msg)
{
	struct xbdev_device *dev = xu_container_of(msg, struct xbdev_device, check_msg);

	atomic_store(&dev->is_check_sent, false);
	if (!dev->is_quiesced || dev->is_retiring || !xu_list_is_empty(&dev->descs) ||
		atomic_load(&dev->nr_channels) != 0) {
		return;
	}
	dev->is_retiring = true;
	if (dev->ops->retire != NULL) {
		dev->ops->retire(dev);
	} else {
		xbdev_device_retired(dev);
	}
}

void xbdev__device_check(struct xbdev_device *dev)
{
	if (atomic_load(&dev->state) == XBDEV_DEVICE_REMOVING &&
		!atomic_exchange(&dev->is_check_sent, true)) {
		dev->check_msg.fn = on_check;
		xr_msg_send(xbdev_ctx_control(dev->ctx), &dev->check_msg);
	}
}

static void remove_on_reactor(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct xbdev_device *dev = xu_container_of(hop, struct xbdev_device, remove_hop);
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &dev->channels[xr_reactor_index(reactor)]) {
		xbdev__channel_removed(xu_list_entry(node, struct xbdev_channel, link));
	}
}

static void removed_everywhere(struct xbdev_hop *hop)
{
	struct xbdev_device *dev = xu_container_of(hop, struct xbdev_device, remove_hop);

	dev->is_quiesced = true;
	tell_openers(dev, XBDEV_EVENT_REMOVE);
	xbdev__device_check(dev);
}

int xbdev_device_remove(struct xbdev_device *dev, void (*cb)(void *arg), void *arg)
{
	int ready = XBDEV_DEVICE_READY;

	if (!atomic_compare_exchange_strong(&dev->state, &ready, XBDEV_DEVICE_REMOVING)) {
		return -EBUSY;
	}
	dev->removed_cb = cb;
	dev->removed_arg = arg;
	dev->remove_hop.fn = remove_on_reactor;
	dev->remove_hop.done = removed_everywhere;
	xbdev_hop_start(&dev->remove_hop, dev->ctx);
	return 0;
}

void xbdev_device_end(struct xbdev_device *dev)
{
	dev->is_doomed = true;
	if (dev->claim == NULL) {
		/* -EBUSY: it is going already. */
		xbdev_device_remove(dev, NULL, NULL);
	} else if (dev->claim->event_cb != NULL) {
		dev->claim->event_cb(dev->claim, XBDEV_EVENT_END, dev->claim->event_arg);
	}
}

void xbdev_device_remove_all(struct xbdev_ctx *ctx)
{
	struct xbdev_device *dev = NULL;

	while ((dev = xbdev_device_next(ctx, dev)) != NULL) {
		xbdev_device_end(dev);
	}
}

/* ---- names ---- */

int xbdev_device_rename(struct xbdev_device *dev, const char *name, struct xu_error *err)
{
	const struct xbdev_device *other = xbdev_device_find(dev->ctx, name);
	int rc = xbdev_device_check_name(name, err);

	if (rc != 0) {
		return rc;
	}
	if (other != NULL && strcmp(other->name, name) == 0) {
		return xu_error_set(err, -EEXIST,
			"there is a device named '%s' already; choose another name", name);
	}
	if (atomic_load(&dev->state) != XBDEV_DEVICE_READY) {
		return xu_error_set(err, -ENODEV, "device '%s' is being removed", dev->name);
	}
	if (!xu_list_is_empty(&dev->descs)) {
		return xu_error_set(err, -EBUSY,
			"device '%s' is in use and keeps its name; close it first", dev->name);
	}
	xbdev__graph_event(dev->ctx, XBDEV_GRAPH_REMOVED, dev);
	xu_info(dev->ctx->log, "device %s: called %s now", dev->name, name);
	xbdev__name_del(dev);
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	xbdev__name_add(dev);
	xbdev__graph_event(dev->ctx, XBDEV_GRAPH_ADDED, dev);
	return 0;
}

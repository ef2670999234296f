/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices by name and by UUID: two tables of a fixed size in the context, so that finding one costs
 * the same among a few and among thousands, and entering one needs no memory. Names are unique;
 * of several devices with one UUID the oldest is found. On the control reactor.
 */
#include <string.h>

#include "lib/util/hash.h"
#include "lib/xbdev/core/context_private.h"
#include "lib/xbdev/core/core_private.h"

static uint32_t hash(const void *bytes, size_t len)
{
	uint32_t sum = xu_hash32(bytes, len);

	return (sum ^ sum >> 16) % XBDEV__NR_NAMES;
}

static struct xbdev_device **name_slot(struct xbdev_ctx *ctx, const char *name)
{
	return &ctx->by_name[hash(name, strlen(name))];
}

static struct xbdev_device **uuid_slot(struct xbdev_ctx *ctx, const struct xu_uuid *uuid)
{
	return &ctx->by_uuid[hash(uuid->bytes, sizeof(uuid->bytes))];
}

void xbdev__name_add(struct xbdev_device *dev)
{
	struct xbdev_device **link = name_slot(dev->ctx, dev->name);

	dev->next_of_name = *link;
	*link = dev;
}

void xbdev__name_del(struct xbdev_device *dev)
{
	struct xbdev_device **link = name_slot(dev->ctx, dev->name);

	while (*link != dev) {
		link = &(*link)->next_of_name;
	}
	*link = dev->next_of_name;
}

void xbdev__uuid_add(struct xbdev_device *dev)
{
	struct xbdev_device **link = uuid_slot(dev->ctx, &dev->uuid);

	while (*link != NULL) { /* behind those that are older */
		link = &(*link)->next_of_uuid;
	}
	dev->next_of_uuid = NULL;
	*link = dev;
}

void xbdev__uuid_del(struct xbdev_device *dev)
{
	struct xbdev_device **link = uuid_slot(dev->ctx, &dev->uuid);

	while (*link != dev) {
		link = &(*link)->next_of_uuid;
	}
	*link = dev->next_of_uuid;
}

struct xbdev_device *xbdev_device_find(struct xbdev_ctx *ctx, const char *name_or_uuid)
{
	struct xbdev_device *dev = *name_slot(ctx, name_or_uuid);
	struct xu_uuid uuid;

	while (dev != NULL && strcmp(dev->name, name_or_uuid) != 0) {
		dev = dev->next_of_name;
	}
	if (dev != NULL || xu_uuid_parse(name_or_uuid, &uuid) != 0) {
		return dev;
	}
	dev = *uuid_slot(ctx, &uuid);
	while (dev != NULL && !xu_uuid_is_equal(&dev->uuid, &uuid)) {
		dev = dev->next_of_uuid;
	}
	return dev;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block devices in the simulator. Each call is packed up, run on the reactor that it belongs to by
 * sim_call(), and the world is run until the answer is there. What cannot fail in a test that is
 * right is asserted.
 */
#include "test/sim/sim_bdev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xbdev/driver/driver.h"

#define PATIENCE_NS (3600 * XU_NS_PER_S)

/* ---- contexts ---- */

struct xbdev_ctx *sim_ctx_new(struct sim_host *host, uint32_t nr_reactors, struct xu_logger *log)
{
	struct xbdev_ctx_opts opts = {
		.platform = sim_host_platform(host),
		.nr_reactors = nr_reactors,
		.log = log,
	};
	struct xbdev_ctx *ctx = NULL;
	int rc = xbdev_ctx_new(&opts, &ctx, NULL);

	assert(rc == 0);
	(void)rc;
	return ctx;
}

void sim_ctx_free(struct sim *sim, struct xbdev_ctx *ctx)
{
	struct xbdev_device *dev, *last;

	if (ctx == NULL) {
		return;
	}
	do {
		last = NULL;
		for (dev = NULL; (dev = xbdev_device_next(ctx, dev)) != NULL;) {
			last = dev;
		}
		if (last != NULL) {
			sim_bdev_remove(sim, last);
		}
	} while (last != NULL);
	xbdev_ctx_free(ctx);
}

/* ---- devices ---- */

struct creation {
	struct xbdev_ctx *ctx;
	const struct xbdev_driver *driver;
	json_t *params;
	struct xbdev_device *dev;
	struct xu_error *err;
	bool is_done;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct creation *creation = arg;

	creation->dev = dev;
	creation->is_done = true;
	if (creation->err != NULL) {
		*creation->err = *err;
	}
}

static void do_create(void *arg)
{
	struct creation *creation = arg;
	char path[XU_PARAM_PATH_SIZE];

	xbdev_device_create(
		creation->ctx, creation->driver, creation->params, path, on_created, creation);
}

static bool is_created(void *arg)
{
	return ((struct creation *)arg)->is_done;
}

static json_t *parse(const char *json)
{
	char *text = strdup(json);
	json_t *value;

	for (char *at = text; at != NULL && *at != '\0'; at++) {
		*at = *at == '\'' ? '"' : *at;
	}
	value = json_loads(text, 0, NULL);
	free(text);
	assert(value != NULL);
	return value;
}

struct xbdev_device *sim_bdev_create(struct sim *sim, struct xbdev_ctx *ctx, const char *driver,
	const char *json, struct xu_error *err)
{
	struct creation creation = {
		.ctx = ctx,
		.driver = xbdev_driver_find(driver),
		.params = parse(json),
		.err = err,
	};
	int rc;

	assert(creation.driver != NULL);
	sim_call(sim, xbdev_ctx_control(ctx), do_create, &creation);
	rc = sim_run(sim, is_created, &creation, PATIENCE_NS);
	assert(rc == 0);
	(void)rc;
	json_decref(creation.params);
	return creation.dev;
}

struct removal {
	struct xbdev_device *dev;
	bool is_done;
};

static void on_removed(void *arg)
{
	((struct removal *)arg)->is_done = true;
}

static void do_remove(void *arg)
{
	int rc = xbdev_device_remove(((struct removal *)arg)->dev, on_removed, arg);

	assert(rc == 0);
	(void)rc;
}

static bool is_removed(void *arg)
{
	return ((struct removal *)arg)->is_done;
}

void sim_bdev_remove(struct sim *sim, struct xbdev_device *dev)
{
	struct removal removal = {.dev = dev};
	int rc;

	sim_call(sim, xbdev_ctx_control(dev->ctx), do_remove, &removal);
	rc = sim_run(sim, is_removed, &removal, PATIENCE_NS);
	assert(rc == 0);
	(void)rc;
}

/* ---- opening ---- */

struct opening {
	struct sim_bdev *bdev;
	struct xbdev_ctx *ctx;
	const char *name;
	struct xr_reactor *reactor;
	struct xu_error *err;
	int rc;
};

static void do_open(void *arg)
{
	struct opening *opening = arg;

	opening->rc = xbdev_desc_open(
		opening->ctx, opening->name, true, NULL, NULL, &opening->bdev->desc, opening->err);
}

static void do_channel(void *arg)
{
	struct opening *opening = arg;

	opening->rc = xbdev_channel_get(opening->bdev->desc, opening->reactor, &opening->bdev->ch);
}

int sim_bdev_open(struct sim *sim, struct xbdev_ctx *ctx, const char *name, uint32_t index,
	struct sim_bdev *ret_bdev, struct xu_error *err)
{
	struct opening opening = {
		.bdev = ret_bdev,
		.ctx = ctx,
		.name = name,
		.reactor = xbdev_ctx_reactor(ctx, index),
		.err = err,
	};

	*ret_bdev = (struct sim_bdev){.sim = sim};
	sim_call(sim, xbdev_ctx_control(ctx), do_open, &opening);
	if (opening.rc != 0) {
		return opening.rc;
	}
	sim_call(sim, opening.reactor, do_channel, &opening);
	if (opening.rc != 0) {
		sim_bdev_close(ret_bdev);
	}
	return opening.rc;
}

static void do_put(void *arg)
{
	xbdev_channel_put(((struct sim_bdev *)arg)->ch);
}

static void do_close(void *arg)
{
	xbdev_desc_close(((struct sim_bdev *)arg)->desc);
}

void sim_bdev_close(struct sim_bdev *bdev)
{
	struct xbdev_ctx *ctx = bdev->desc->dev->ctx;

	if (bdev->ch != NULL) {
		sim_call(bdev->sim, bdev->ch->reactor, do_put, bdev);
	}
	sim_call(bdev->sim, xbdev_ctx_control(ctx), do_close, bdev);
	*bdev = (struct sim_bdev){0};
}

/* ---- I/O ---- */

struct request {
	struct xbdev_io io;
	struct iovec iov;
	int status;
	bool is_done;
	bool is_abandoned; /* nobody waits any more: it frees itself */
};

static void on_io(struct xbdev_io *io, int status)
{
	struct request *request = io->cb_arg;

	request->status = status;
	request->is_done = true;
	if (request->is_abandoned) {
		free(request);
	}
}

static void do_submit(void *arg)
{
	struct request *request = arg;
	int rc = xbdev_io_submit(&request->io);

	if (rc != 0) {
		on_io(&request->io, rc);
	}
}

static bool is_io_done(void *arg)
{
	return ((struct request *)arg)->is_done;
}

int sim_bdev_io(
	struct sim_bdev *bdev, uint8_t op, uint8_t flags, uint64_t offset, void *buf, uint64_t len)
{
	struct request *request = calloc(1, sizeof(*request));
	int status;

	assert(request != NULL);
	request->iov = (struct iovec){.iov_base = buf, .iov_len = len};
	request->io = (struct xbdev_io){
		.ch = bdev->ch,
		.cb = on_io,
		.cb_arg = request,
		.iov = &request->iov,
		.nr_iov = buf != NULL ? 1 : 0,
		.op = op,
		.flags = flags,
		.offset = offset,
		.len = len,
	};
	sim_call(bdev->sim, bdev->ch->reactor, do_submit, request);
	if (sim_run(bdev->sim, is_io_done, request, PATIENCE_NS) != 0) {
		request->is_abandoned = true;
		return -ETIMEDOUT;
	}
	status = request->status;
	free(request);
	return status;
}

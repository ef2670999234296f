/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The delay driver: an I/O that the base has completed is held by a timer for a while before it
 * ends. The four times are written by the control reactor and read by the owner, each by itself,
 * so they are atomics and need no message. What is held when the device is removed ends with
 * -ENODEV at once.
 */
#include "lib/xbdev/driver/delay.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/util/clock.h"
#include "lib/xbdev/driver/filter.h"

struct delay_opts {
	struct xbdev__filter_opts filter;
	struct xbdev_delay_latency latency;
};

/* The usual time and the one of every hundredth I/O. */
struct latency {
	_Atomic uint64_t avg_us;
	_Atomic uint64_t p99_us;
};

struct delay_device {
	struct xbdev__filter filter;
	struct latency read;
	struct latency write;
};

static struct delay_device *delay_of(const struct xbdev_device *dev)
{
	return xu_container_of(xbdev__filter_of(dev), struct delay_device, filter);
}

/* ---- I/O ---- */

static uint64_t choose_delay_us(const struct xbdev_channel *ch, const struct xbdev_io *io)
{
	const struct delay_device *delay = delay_of(ch->dev);
	const struct latency *latency = io->op == XBDEV_OP_READ ? &delay->read : &delay->write;
	uint64_t p99_us = atomic_load(&latency->p99_us);

	if (p99_us != 0 && xu_random_below(xr_reactor_random(ch->reactor), 100) == 0) {
		return p99_us;
	}
	return atomic_load(&latency->avg_us);
}

static void on_delay_over(struct xr_timer *timer)
{
	struct xbdev_io *io = xbdev__filter_io_of_timer(timer);

	xbdev__filter_release(io);
	xbdev_io_complete(io, xbdev_io_driver(io, struct xbdev__filter_io)->status);
}

static void on_base_done(struct xbdev_io *io, int status)
{
	struct xbdev__filter_io *fio = xbdev_io_driver(io, struct xbdev__filter_io);
	uint64_t delay_us = choose_delay_us(fio->ch, io);

	if (delay_us == 0 || fio->ch->is_removed || io->is_cancelled) {
		xbdev_io_complete(io, status);
		return;
	}
	fio->status = status;
	xbdev__filter_hold(io, on_delay_over, delay_us * XU_NS_PER_US);
}

static void delay_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	int rc;

	xbdev__filter_start(ch, io);
	rc = xbdev__filter_pass(io, NULL, on_base_done);
	if (rc != 0) {
		xbdev_io_complete_later(io, rc);
	}
}

/* ---- the times ---- */

static int check_pair(const char *what, uint64_t avg_us, uint64_t p99_us, struct xu_error *err)
{
	if (avg_us > XBDEV_DELAY_MAX_US || p99_us > XBDEV_DELAY_MAX_US) {
		return xu_error_set(err, -EINVAL, "the %s latency is above an hour", what);
	}
	if (p99_us != 0 && p99_us < avg_us) {
		return xu_error_set(err, -EINVAL,
			"p99_%s_latency_us %llu is below avg_%s_latency_us %llu", what,
			(unsigned long long)p99_us, what, (unsigned long long)avg_us);
	}
	return 0;
}

static int check_latency(const struct xbdev_delay_latency *latency, struct xu_error *err)
{
	int rc = check_pair("read", latency->avg_read_us, latency->p99_read_us, err);

	return rc != 0 ? rc
		       : check_pair("write", latency->avg_write_us, latency->p99_write_us, err);
}

static void store(struct delay_device *delay, const struct xbdev_delay_latency *latency)
{
	atomic_store(&delay->read.avg_us, latency->avg_read_us);
	atomic_store(&delay->read.p99_us, latency->p99_read_us);
	atomic_store(&delay->write.avg_us, latency->avg_write_us);
	atomic_store(&delay->write.p99_us, latency->p99_write_us);
}

static int check_device(const struct xbdev_device *dev, struct xu_error *err)
{
	return dev->ops->submit == delay_submit
		       ? 0
		       : xu_error_set(err, -EINVAL,
				 "device '%s' is of driver %s; only devices of driver delay have "
				 "latencies to set",
				 dev->name, dev->driver);
}

int xbdev_delay_set(
	struct xbdev_device *dev, const struct xbdev_delay_latency *latency, struct xu_error *err)
{
	int rc = check_device(dev, err);

	if (rc == 0) {
		rc = check_latency(latency, err);
	}
	if (rc == 0) {
		store(delay_of(dev), latency);
	}
	return rc;
}

int xbdev_delay_get(const struct xbdev_device *dev, struct xbdev_delay_latency *ret_latency)
{
	const struct delay_device *delay = delay_of(dev);
	int rc = check_device(dev, NULL);

	if (rc == 0) {
		ret_latency->avg_read_us = atomic_load(&delay->read.avg_us);
		ret_latency->p99_read_us = atomic_load(&delay->read.p99_us);
		ret_latency->avg_write_us = atomic_load(&delay->write.avg_us);
		ret_latency->p99_write_us = atomic_load(&delay->write.p99_us);
	}
	return rc;
}

/* ---- life ---- */

static void delay_destroy(struct xbdev_device *dev)
{
	struct delay_device *delay = delay_of(dev);

	xbdev__filter_fini(&delay->filter);
	free(delay);
}

static json_t *delay_config(const struct xbdev_device *dev)
{
	json_t *config = xbdev__filter_config(dev);
	struct xbdev_delay_latency latency;

	xbdev_delay_get(dev, &latency);
	json_object_set_new(
		config, "avg_read_latency_us", json_integer((json_int_t)latency.avg_read_us));
	json_object_set_new(
		config, "p99_read_latency_us", json_integer((json_int_t)latency.p99_read_us));
	json_object_set_new(
		config, "avg_write_latency_us", json_integer((json_int_t)latency.avg_write_us));
	json_object_set_new(
		config, "p99_write_latency_us", json_integer((json_int_t)latency.p99_write_us));
	return config;
}

static const struct xbdev_device_ops delay_ops = {
	.channel_bytes = sizeof(struct xbdev__filter_channel),
	.channel_open = xbdev__filter_channel_open,
	.channel_close = xbdev__filter_channel_close,
	.channel_abort = xbdev__filter_channel_abort,
	.cancel = xbdev__filter_cancel,
	.submit = delay_submit,
	.destroy = delay_destroy,
	.config = delay_config,
};

static void delay_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct delay_opts *opts = opts_ptr;
	struct delay_device *delay = calloc(1, sizeof(*delay));
	struct xu_error err = {0};
	int rc;

	if (delay == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making delay device '%s'", opts->filter.name);
		done(arg, NULL, &err);
		return;
	}
	delay->filter.dev.driver = "delay";
	delay->filter.dev.product = "delay";
	delay->filter.dev.ops = &delay_ops;
	store(delay, &opts->latency);
	rc = check_latency(&opts->latency, &err);
	if (rc == 0) {
		rc = xbdev__filter_register(&delay->filter, ctx, &opts->filter, &err);
	}
	if (rc != 0) {
		free(delay);
		delay = NULL;
	}
	done(arg, delay != NULL ? &delay->filter.dev : NULL, &err);
}

static const struct xu_param delay_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct delay_opts, filter.name), .is_required = true,
		.help = "name of the device"},
	{"base", XU_PARAM_STRING, offsetof(struct delay_opts, filter.base), .is_required = true,
		.help = "name or UUID of the device below"},
	{"avg_read_latency_us", XU_PARAM_U64, offsetof(struct delay_opts, latency.avg_read_us),
		.max = XBDEV_DELAY_MAX_US, .help = "added to reads, microseconds (default 0)"},
	{"p99_read_latency_us", XU_PARAM_U64, offsetof(struct delay_opts, latency.p99_read_us),
		.max = XBDEV_DELAY_MAX_US,
		.help = "added to one of 100 reads instead (default: no difference)"},
	{"avg_write_latency_us", XU_PARAM_U64, offsetof(struct delay_opts, latency.avg_write_us),
		.max = XBDEV_DELAY_MAX_US,
		.help = "added to all other operations, microseconds (default 0)"},
	{"p99_write_latency_us", XU_PARAM_U64, offsetof(struct delay_opts, latency.p99_write_us),
		.max = XBDEV_DELAY_MAX_US,
		.help = "added to one of 100 of them instead (default: no difference)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct delay_opts, filter.uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static const struct delay_opts delay_defaults;

const struct xbdev_driver xbdev__driver_delay = {
	.name = "delay",
	.help = "passes I/O on to another device and makes it slow, for tests",
	.params = delay_params,
	.opts_bytes = sizeof(struct delay_opts),
	.defaults = &delay_defaults,
	.create = delay_create,
};

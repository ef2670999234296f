/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers from shared objects, see include/xbdev/module.h. A module is wrapped into an ordinary
 * driver: its parameters become a table, opening runs on a worker, and an I/O that it completes on
 * a thread of its own comes home to its reactor as a message inside itself.
 *
 * Names of modules come from configurations, so a name is looked at before it becomes part of a
 * path; the directory is the installer's or the environment's.
 */
#include "lib/xbdev/driver/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xbdev/module.h>

#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"

#define MAX_PARAMS 32u
#define NAME_BYTES 32u

/* ---- a module as a driver ---- */

struct module_driver {
	struct xbdev_driver driver;
	const struct xbdev_module *module;
	uint32_t nr_params;
	struct xu_param params[MAX_PARAMS + 3];
};

/* The options of a device: the driver (from its defaults), what every device has, then the module's
 * values in order. */
struct module_opts {
	const struct module_driver *driver;
	const char *name;
	struct xu_uuid uuid;
	union xbdev_module_value values[];
};

struct xbdev_module_device {
	struct xbdev_device dev;
	const struct module_driver *driver;
	struct xbdev_ctx *ctx;
	void *data;
	/* While it is made. */
	struct xr_work work;
	struct module_opts *opts; /* a copy with strings of its own */
	struct xbdev_module_geometry geometry;
	int rc;
	char error[256];
	xbdev_created_fn created;
	void *arg;
};

struct module_channel {
	void *channel;
};

/* The driver's part of an I/O. */
struct module_io {
	struct xbdev_module_io io;
	struct xr_reactor *reactor;
	struct xr_msg msg;
	int status;
	_Atomic bool has_ended; /* the module has completed it, and knows it no more */
};

static struct xbdev_module_device *device_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct xbdev_module_device, dev);
}

/* ---- I/O ---- */

static void on_home(struct xr_msg *msg)
{
	struct module_io *mio = xu_container_of(msg, struct module_io, msg);

	xbdev_io_complete(xbdev_io_of_driver(mio), mio->status);
}

static void host_complete(struct xbdev_module_io *io, int status)
{
	struct module_io *mio = xu_container_of(io, struct module_io, io);

	mio->status = status < 0 ? status : 0;
	mio->msg.fn = on_home;
	atomic_store_explicit(&mio->has_ended, true, memory_order_release);
	xr_msg_send(mio->reactor, &mio->msg);
}

static void module_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_module_device *device = device_of(ch->dev);
	struct module_channel *mch = ch->driver;
	struct module_io *mio = xbdev_io_driver(io, struct module_io);

	mio->reactor = ch->reactor;
	atomic_init(&mio->has_ended, false);
	mio->io = (struct xbdev_module_io){
		.op = io->op,
		.flags = io->flags,
		.offset = io->offset,
		.len = io->len,
		.iov = io->iov,
		.nr_iov = io->nr_iov,
	};
	device->driver->module->submit(device->data, mch->channel, &mio->io);
}

static void module_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_module_device *device = device_of(ch->dev);
	struct module_channel *mch = ch->driver;
	struct module_io *mio = xbdev_io_driver(io, struct module_io);

	if (device->driver->module->cancel != NULL &&
		!atomic_load_explicit(&mio->has_ended, memory_order_acquire)) {
		device->driver->module->cancel(device->data, mch->channel, &mio->io);
	}
}

static int module_channel_open(struct xbdev_channel *ch)
{
	struct xbdev_module_device *device = device_of(ch->dev);
	struct module_channel *mch = ch->driver;

	return device->driver->module->channel_open == NULL
		       ? 0
		       : device->driver->module->channel_open(device->data, &mch->channel);
}

static void module_channel_close(struct xbdev_channel *ch)
{
	struct xbdev_module_device *device = device_of(ch->dev);
	struct module_channel *mch = ch->driver;

	if (device->driver->module->channel_close != NULL) {
		device->driver->module->channel_close(device->data, mch->channel);
	}
}

/* ---- life ---- */

static void opts_free(struct module_opts *opts)
{
	for (uint32_t i = 0; i < opts->driver->nr_params; i++) {
		if (opts->driver->module->params[i].type == XBDEV_MODULE_STRING) {
			free((char *)(uintptr_t)opts->values[i].string);
		}
	}
	free((char *)(uintptr_t)opts->name);
	free(opts);
}

static struct module_opts *opts_copy(const struct module_opts *opts)
{
	const struct module_driver *driver = opts->driver;
	struct module_opts *copy = malloc(driver->driver.opts_bytes);
	bool is_whole = true;

	if (copy == NULL) {
		return NULL;
	}
	memcpy(copy, opts, driver->driver.opts_bytes);
	copy->name = strdup(opts->name);
	is_whole = copy->name != NULL;
	for (uint32_t i = 0; i < driver->nr_params; i++) {
		const char *text = opts->values[i].string;

		if (driver->module->params[i].type == XBDEV_MODULE_STRING && text != NULL) {
			copy->values[i].string = strdup(text);
			is_whole = is_whole && copy->values[i].string != NULL;
		}
	}
	if (!is_whole) {
		opts_free(copy);
		return NULL;
	}
	return copy;
}

static json_t *module_config(const struct xbdev_device *dev)
{
	const struct xbdev_module_device *device = device_of(dev);
	json_t *config = xbdev__config_common(dev);

	for (uint32_t i = 0; i < device->driver->nr_params; i++) {
		const struct xbdev_module_param *param = &device->driver->module->params[i];
		const union xbdev_module_value *value = &device->opts->values[i];

		switch (param->type) {
		case XBDEV_MODULE_STRING:
			if (value->string != NULL) {
				json_object_set_new(
					config, param->name, json_string(value->string));
			}
			break;
		case XBDEV_MODULE_BOOL:
			json_object_set_new(config, param->name, json_boolean(value->boolean));
			break;
		case XBDEV_MODULE_NUMBER:
		case XBDEV_MODULE_SIZE:
			json_object_set_new(
				config, param->name, json_integer((json_int_t)value->number));
			break;
		}
	}
	return config;
}

static void device_free(struct xbdev_module_device *device)
{
	opts_free(device->opts);
	free(device);
}

static void module_destroy(struct xbdev_device *dev)
{
	struct xbdev_module_device *device = device_of(dev);

	device->driver->module->close(device->data);
	device_free(device);
}

static const struct xbdev_device_ops module_ops = {
	.channel_bytes = sizeof(struct module_channel),
	.channel_open = module_channel_open,
	.channel_close = module_channel_close,
	.submit = module_submit,
	.cancel = module_cancel,
	.destroy = module_destroy,
	.config = module_config,
};

static void open_work(struct xr_work *work)
{
	struct xbdev_module_device *device =
		xu_container_of(work, struct xbdev_module_device, work);

	device->rc = device->driver->module->open(device, device->opts->values, &device->geometry,
		&device->data, device->error, sizeof(device->error));
}

static void take_geometry(struct xbdev_device *dev, const struct xbdev_module_geometry *geometry)
{
	uint32_t block_size = geometry->block_size != 0 ? geometry->block_size : 512;

	dev->product = geometry->product != NULL ? geometry->product : dev->driver;
	dev->limits = (struct xbdev_limits){
		.block_size = block_size,
		.buf_align = geometry->buffer_align,
		.max_transfer = geometry->max_transfer,
		.max_iov = geometry->max_iov,
		.max_zeroes =
			geometry->max_zeroes != 0 ? geometry->max_zeroes : geometry->max_transfer,
		.optimal_io = geometry->optimal_io,
		.discard_granularity = geometry->discard_granularity != 0
					       ? geometry->discard_granularity
					       : block_size,
		.queue_depth = geometry->queue_depth,
	};
	/* The core compares by reading. */
	dev->ops_mask = geometry->ops & ((1u << XBDEV_OP_COMPARE) - 1);
	dev->has_fua = geometry->has_fua;
	dev->has_write_cache = geometry->has_write_cache;
	dev->is_read_only = geometry->is_read_only;
	dev->is_rotational = geometry->is_rotational;
	dev->is_remote = geometry->is_remote;
	atomic_init(&dev->nr_blocks, geometry->size_bytes / block_size);
}

static void on_opened(struct xr_work *work)
{
	struct xbdev_module_device *device =
		xu_container_of(work, struct xbdev_module_device, work);
	xbdev_created_fn created = device->created;
	void *arg = device->arg;
	struct xu_error err = {0};

	if (device->rc < 0) {
		device->error[sizeof(device->error) - 1] = '\0';
		xu_error_set(&err, device->rc, "device '%s': %s", device->opts->name,
			device->error[0] != '\0' ? device->error : strerror(-device->rc));
	} else {
		take_geometry(&device->dev, &device->geometry);
		if (xbdev_device_register(device->ctx, &device->dev, &err) != 0) {
			device->driver->module->close(device->data);
		}
	}
	if (err.code != 0) {
		device_free(device);
		device = NULL;
	}
	created(arg, device != NULL ? &device->dev : NULL, &err);
}

static void module_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct module_opts *opts = opts_ptr;
	struct xbdev_module_device *device = calloc(1, sizeof(*device));
	struct xu_error err = {0};

	if (device != NULL) {
		device->opts = opts_copy(opts);
	}
	if (device == NULL || device->opts == NULL) {
		free(device);
		xu_error_set_errno(&err, -ENOMEM, "making device '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	device->driver = opts->driver;
	device->ctx = ctx;
	device->created = done;
	device->arg = arg;
	device->dev.driver = opts->driver->driver.name;
	device->dev.ops = &module_ops;
	device->dev.uuid = opts->uuid;
	device->dev.numa_node = -1;
	device->dev.is_multi_reactor = true;
	xbdev__set_name(&device->dev, opts->name);
	device->work.work = open_work;
	device->work.done = on_opened;
	xr_work_submit(xbdev_ctx_control(ctx), &device->work);
}

/* ---- what a module calls ---- */

struct resize {
	struct xr_msg msg;
	struct xbdev_ctx *ctx;
	struct xu_uuid uuid;
	uint64_t size_bytes;
};

/* The device may have gone meanwhile, so it is looked up by its identity. */
static void on_resized(struct xr_msg *msg)
{
	struct resize *resize = xu_container_of(msg, struct resize, msg);
	char uuid[XU_UUID_TEXT_SIZE];
	struct xbdev_device *dev;

	xu_uuid_format(&resize->uuid, uuid);
	dev = xbdev_device_find(resize->ctx, uuid);
	if (dev != NULL && resize->size_bytes >= dev->limits.block_size) {
		xbdev_device_set_size(dev, resize->size_bytes / dev->limits.block_size);
	}
	free(resize);
}

static void host_resized(struct xbdev_module_device *device, uint64_t size_bytes)
{
	struct resize *resize = malloc(sizeof(*resize));

	if (resize == NULL) {
		xu_err(xbdev_ctx_log(device->ctx),
			"device %s: out of memory, its new size is not seen", device->dev.name);
		return;
	}
	*resize = (struct resize){
		.msg.fn = on_resized,
		.ctx = device->ctx,
		.uuid = device->dev.uuid,
		.size_bytes = size_bytes,
	};
	xr_msg_send(xbdev_ctx_control(device->ctx), &resize->msg);
}

static void host_log(struct xbdev_module_device *device, int level, const char *text)
{
	static const enum xu_log_level levels[] = {
		XU_LOG_ERROR, XU_LOG_ERROR, XU_LOG_WARN, XU_LOG_INFO, XU_LOG_DEBUG};
	size_t index = level >= 0 && level <= 4 ? (size_t)level : 4;

	xu_log(xbdev_ctx_log(device->ctx), levels[index], "device %s: %s", device->opts->name,
		text);
}

static const struct xbdev_module_host host = {
	.abi = XBDEV_MODULE_ABI,
	.complete = host_complete,
	.resized = host_resized,
	.log = host_log,
};

/* ---- wrapping ---- */

static bool is_name(const char *name)
{
	size_t len = strlen(name);

	return len != 0 && len < NAME_BYTES &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static int check_module(const struct xbdev_module *module, struct xu_error *err)
{
	uint32_t count = 0;

	if (module->abi != XBDEV_MODULE_ABI) {
		return xu_error_set(err, -EINVAL,
			"the module speaks version %u of the module interface, this library %u",
			module->abi, XBDEV_MODULE_ABI);
	}
	if (module->size < sizeof(*module) || module->name == NULL || !is_name(module->name) ||
		module->help == NULL || module->params == NULL || module->open == NULL ||
		module->close == NULL || module->submit == NULL) {
		return xu_error_set(err, -EINVAL, "the module lacks something that every one has");
	}
	while (module->params[count].name != NULL && count <= MAX_PARAMS) {
		count++;
	}
	return count <= MAX_PARAMS ? 0
				   : xu_error_set(err, -EINVAL,
					     "the module has more than %u parameters", MAX_PARAMS);
}

static void wrap_params(struct module_driver *driver, struct module_opts *defaults)
{
	static const enum xu_param_type types[] = {
		[XBDEV_MODULE_STRING] = XU_PARAM_STRING,
		[XBDEV_MODULE_BOOL] = XU_PARAM_BOOL,
		[XBDEV_MODULE_NUMBER] = XU_PARAM_U64,
		[XBDEV_MODULE_SIZE] = XU_PARAM_SIZE,
	};
	struct xu_param *param = driver->params;

	*param++ = (struct xu_param){"name", XU_PARAM_STRING, offsetof(struct module_opts, name),
		.is_required = true, .help = "name of the device"};
	for (uint32_t i = 0; driver->module->params[i].name != NULL; i++) {
		const struct xbdev_module_param *theirs = &driver->module->params[i];

		*param++ = (struct xu_param){theirs->name, types[theirs->type],
			offsetof(struct module_opts, values) + i * sizeof(union xbdev_module_value),
			.is_required = theirs->is_required, .help = theirs->help};
		defaults->values[i] = theirs->otherwise;
		driver->nr_params++;
	}
	*param = (struct xu_param){"uuid", XU_PARAM_UUID, offsetof(struct module_opts, uuid),
		.help = "identity (default: a new one)"};
}

int xbdev__module_wrap(const struct xbdev_module *module, const struct xbdev_driver **ret_driver,
	struct xu_error *err)
{
	size_t opts_bytes =
		sizeof(struct module_opts) + MAX_PARAMS * sizeof(union xbdev_module_value);
	struct module_driver *driver;
	struct module_opts *defaults;
	int rc = check_module(module, err);

	if (rc == 0 && module->load != NULL) {
		rc = module->load(&host);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "the module says that it cannot work here");
		}
	}
	if (rc != 0) {
		return rc;
	}
	driver = calloc(1, sizeof(*driver));
	defaults = calloc(1, opts_bytes);
	if (driver == NULL || defaults == NULL) {
		free(driver);
		free(defaults);
		return xu_error_set_errno(err, -ENOMEM, "loading a module");
	}
	driver->module = module;
	driver->driver = (struct xbdev_driver){
		.name = module->name,
		.help = module->help,
		.params = driver->params,
		.opts_bytes = opts_bytes,
		.defaults = defaults,
		.create = module_create,
	};
	defaults->driver = driver;
	wrap_params(driver, defaults);
	*ret_driver = &driver->driver;
	return 0;
}

/* ---- loading ---- */

const struct xbdev_driver *xbdev__module_load(const char *name, struct xu_error *err)
{
	const char *dir = secure_getenv("XBDEV_MODULE_DIR");
	const struct xbdev_driver *driver;
	const struct xbdev_module *module;
	char path[512];
	void *object;
	int len;

	if (!is_name(name)) {
		xu_error_set(err, -ENOENT, "\"%.64s\" is no name of a driver", name);
		return NULL;
	}
	len = snprintf(path, sizeof(path), "%s/xbdev-%s.so",
		dir != NULL && dir[0] != '\0' ? dir : XBDEV_MODULE_DIR, name);
	if (len >= (int)sizeof(path) || access(path, R_OK) != 0) {
		xu_error_set(
			err, -ENOENT, "there is no driver \"%s\", nor a module %s", name, path);
		return NULL;
	}
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	module = object != NULL ? dlsym(object, "xbdev_module") : NULL;
	if (module == NULL) {
		xu_error_set(err, -ELIBBAD, "module %s cannot be loaded: %s", path, dlerror());
	} else if (strcmp(module->name != NULL ? module->name : "", name) != 0) {
		xu_error_set(err, -ELIBBAD, "module %s is not of driver \"%s\"", path, name);
	} else if (xbdev__module_wrap(module, &driver, err) == 0) {
		return driver;
	} else {
		xu_error_prefix(err, "module %s", path);
	}
	if (object != NULL) {
		dlclose(object);
	}
	return NULL;
}

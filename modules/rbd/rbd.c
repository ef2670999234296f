/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rbd driver: images of Ceph's block devices through librbd, as a module (xbdev/module.h).
 *
 * Each device has a connection to its cluster. I/O is librbd's asynchronous I/O, which ends on
 * librbd's threads. What changes at the image (its size) is told by librbd on a thread that must
 * not wait, so a thread of the device's asks for the new size.
 *
 * Durability. Without librbd's cache (the default here) a write is complete when every replica has
 * it; with `cache` it needs a FLUSH. The library makes FUA of a write and a flush either way,
 * because an image's own configuration may turn the cache on.
 *
 * DISCARD is librbd's write-zeroes: its discard passes over what is not a whole granule, and a
 * discarded block must read as zeroes. Whole objects are freed.
 *
 * `exclusive` (the default) takes the image's exclusive lock and keeps it, so that nobody else
 * writes the image meanwhile. A client that was cut off from the cluster (blocklisted) has lost it:
 * its I/O fails, and the device has to be made again.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rados/librados.h>
#include <rbd/librbd.h>
#include <xbdev/module.h>

#define BLOCK_SIZE      512u
#define MAX_TRANSFER    (4u << 20)
#define MAX_IOV         256u
#define MAX_ZEROES      (256ull << 20)
#define QUEUE_DEPTH     256u
#define MAX_OPTIONS     256
#define TIMEOUT_DEFAULT 30u

enum {
	PARAM_POOL,
	PARAM_IMAGE,
	PARAM_NAMESPACE,
	PARAM_SNAPSHOT,
	PARAM_CONFIG_FILE,
	PARAM_USER,
	PARAM_MON_HOST,
	PARAM_KEY_FILE,
	PARAM_BLOCK_SIZE,
	PARAM_READ_ONLY,
	PARAM_EXCLUSIVE,
	PARAM_CACHE,
	PARAM_TIMEOUT,
};

static const struct xbdev_module_param params[] = {
	[PARAM_POOL] = {"pool_name", XBDEV_MODULE_STRING, .is_required = true,
		.help = "pool of the image"},
	[PARAM_IMAGE] = {"image_name", XBDEV_MODULE_STRING, .is_required = true,
		.help = "name of the image"},
	[PARAM_NAMESPACE] = {"namespace_name", XBDEV_MODULE_STRING,
		.help = "namespace in the pool (default: none)"},
	[PARAM_SNAPSHOT] = {"snap_name", XBDEV_MODULE_STRING,
		.help = "snapshot of the image, read-only (default: the image itself)"},
	[PARAM_CONFIG_FILE] = {"config_file", XBDEV_MODULE_STRING,
		.help = "Ceph's configuration file (default: where Ceph looks for it)"},
	[PARAM_USER] = {"user", XBDEV_MODULE_STRING, .otherwise.string = "admin",
		.help = "Ceph user, without \"client.\" (default admin)"},
	[PARAM_MON_HOST] = {"mon_host", XBDEV_MODULE_STRING,
		.help = "addresses of the monitors (default: as the configuration file says)"},
	[PARAM_KEY_FILE] = {"key_file", XBDEV_MODULE_STRING,
		.help = "file with the user's secret (default: as the configuration file says)"},
	[PARAM_BLOCK_SIZE] = {"block_size", XBDEV_MODULE_NUMBER, .otherwise.number = BLOCK_SIZE,
		.help = "512 or 4096 (default 512)"},
	[PARAM_READ_ONLY] = {"read_only", XBDEV_MODULE_BOOL,
		.help = "refuse writes (default "
			"false)"},
	[PARAM_EXCLUSIVE] = {"exclusive", XBDEV_MODULE_BOOL, .otherwise.boolean = true,
		.help = "keep everybody else from writing the image (default true)"},
	[PARAM_CACHE] = {"cache", XBDEV_MODULE_BOOL,
		.help = "use librbd's cache, whose writes need a flush to be safe (default "
			"false)"},
	[PARAM_TIMEOUT] = {"timeout_s", XBDEV_MODULE_NUMBER, .otherwise.number = TIMEOUT_DEFAULT,
		.help = "longest wait for the cluster when the device is made, 1 to 600 s "
			"(default 30)"},
	{0},
};

struct rbd {
	struct xbdev_module_device *device;
	rados_t cluster;
	rados_ioctx_t pool;
	rbd_image_t image;
	uint64_t watch;
	bool is_pool_open, is_image_open, is_watched, is_locked, is_thread_started;
	bool is_cut_off; /* it was said */

	/* The thread that asks for the size. */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool must_stop, must_look;
};

static const struct xbdev_module_host *host;

static int rbd_load(const struct xbdev_module_host *the_host)
{
	host = the_host;
	return 0;
}

/* ---- I/O ---- */

static int status_of(struct rbd *rbd, const struct xbdev_module_io *io, ssize_t result)
{
	if (result >= 0) {
		return io->op != XBDEV_OP_READ || (uint64_t)result == io->len ? 0 : -EIO;
	}
	if (result == -ESHUTDOWN) { /* Ceph's word for a client on its blocklist */
		if (!__atomic_exchange_n(&rbd->is_cut_off, true, __ATOMIC_RELAXED)) {
			host->log(rbd->device, 1,
				"the cluster has cut this client off (blocklisted): another one "
				"has taken the image; make the device again");
		}
		return -EIO;
	}
	return result == -ENOENT ? -ENODEV : (int)result;
}

static void on_done(rbd_completion_t completion, void *arg)
{
	struct xbdev_module_io *io = arg;
	struct rbd *rbd = io->priv[0];
	int status = status_of(rbd, io, rbd_aio_get_return_value(completion));

	rbd_aio_release(completion);
	host->complete(io, status);
}

static int start_io(struct rbd *rbd, struct xbdev_module_io *io, rbd_completion_t completion)
{
	int flags = RBD_WRITE_ZEROES_FLAG_THICK_PROVISION;

	switch (io->op) {
	case XBDEV_OP_READ:
		return rbd_aio_readv(rbd->image, io->iov, (int)io->nr_iov, io->offset, completion);
	case XBDEV_OP_WRITE:
		return rbd_aio_writev(rbd->image, io->iov, (int)io->nr_iov, io->offset, completion);
	case XBDEV_OP_FLUSH:
		return rbd_aio_flush(rbd->image, completion);
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		if (io->op == XBDEV_OP_DISCARD || (io->flags & XBDEV_IO_MAY_UNMAP)) {
			flags = 0;
		}
		return rbd_aio_write_zeroes(rbd->image, io->offset, io->len, completion, flags, 0);
	default:
		return -EOPNOTSUPP;
	}
}

static void rbd_submit(void *data, void *channel, struct xbdev_module_io *io)
{
	struct rbd *rbd = data;
	rbd_completion_t completion;
	int rc;

	(void)channel;
	io->priv[0] = rbd;
	rc = rbd_aio_create_completion(io, on_done, &completion);
	if (rc < 0) {
		host->complete(io, rc);
		return;
	}
	rc = start_io(rbd, io, completion);
	if (rc < 0) {
		rbd_aio_release(completion);
		host->complete(io, status_of(rbd, io, rc));
	}
}

/* ---- the size ---- */

/* On a thread of librbd's. */
static void on_update(void *arg)
{
	struct rbd *rbd = arg;

	pthread_mutex_lock(&rbd->mutex);
	rbd->must_look = true;
	pthread_cond_signal(&rbd->cond);
	pthread_mutex_unlock(&rbd->mutex);
}

static void *size_main(void *arg)
{
	struct rbd *rbd = arg;
	uint64_t size;

	pthread_mutex_lock(&rbd->mutex);
	while (!rbd->must_stop) {
		if (!rbd->must_look) {
			pthread_cond_wait(&rbd->cond, &rbd->mutex);
			continue;
		}
		rbd->must_look = false;
		pthread_mutex_unlock(&rbd->mutex);
		if (rbd_get_size(rbd->image, &size) == 0) {
			host->resized(rbd->device, size); /* the same size is no news there */
		}
		pthread_mutex_lock(&rbd->mutex);
	}
	pthread_mutex_unlock(&rbd->mutex);
	return NULL;
}

static int watch_size(struct rbd *rbd)
{
	int rc = pthread_create(&rbd->thread, NULL, size_main, rbd);

	if (rc != 0) {
		return -rc;
	}
	rbd->is_thread_started = true;
	rc = rbd_update_watch(rbd->image, &rbd->watch, on_update, rbd);
	rbd->is_watched = rc == 0;
	return rc;
}

/* ---- life ---- */

static void rbd_close_device(void *data)
{
	struct rbd *rbd = data;

	if (rbd->is_watched) {
		rbd_update_unwatch(rbd->image, rbd->watch);
	}
	if (rbd->is_thread_started) {
		pthread_mutex_lock(&rbd->mutex);
		rbd->must_stop = true;
		pthread_cond_signal(&rbd->cond);
		pthread_mutex_unlock(&rbd->mutex);
		pthread_join(rbd->thread, NULL);
	}
	if (rbd->is_locked) {
		rbd_lock_release(rbd->image);
	}
	if (rbd->is_image_open) {
		rbd_close(rbd->image);
	}
	if (rbd->is_pool_open) {
		rados_ioctx_destroy(rbd->pool);
	}
	if (rbd->cluster != NULL) {
		rados_shutdown(rbd->cluster);
	}
	pthread_mutex_destroy(&rbd->mutex);
	pthread_cond_destroy(&rbd->cond);
	free(rbd);
}

struct failure {
	char *error;
	size_t size;
};

/* Writes "WHAT 'NAME': the system's text" and returns rc. */
static int failed(const struct failure *f, int rc, const char *what, const char *name)
{
	snprintf(f->error, f->size, "%s '%s': %s", what, name, strerror(-rc));
	return rc;
}

static int set_option(const struct failure *f, rados_t cluster, const char *name, const char *value)
{
	int rc = value != NULL ? rados_conf_set(cluster, name, value) : 0;

	return rc < 0 ? failed(f, rc, "setting Ceph's option", name) : 0;
}

static int connect_to(
	struct rbd *rbd, const union xbdev_module_value *values, const struct failure *f)
{
	const char *file = values[PARAM_CONFIG_FILE].string;
	const char *user = values[PARAM_USER].string;
	char timeout[24];
	int rc = rados_create(&rbd->cluster, user);

	if (rc < 0) {
		rbd->cluster = NULL;
		return failed(f, rc, "a Ceph client of user", user);
	}
	/* Without a file of its own a cluster may be described by mon_host alone. */
	rc = rados_conf_read_file(rbd->cluster, file);
	if (rc < 0 && (file != NULL || values[PARAM_MON_HOST].string == NULL)) {
		return failed(f, rc, "reading Ceph's configuration file",
			file != NULL ? file : "/etc/ceph/ceph.conf");
	}
	snprintf(
		timeout, sizeof(timeout), "%llu", (unsigned long long)values[PARAM_TIMEOUT].number);
	rc = set_option(f, rbd->cluster, "mon_host", values[PARAM_MON_HOST].string);
	rc = rc < 0 ? rc : set_option(f, rbd->cluster, "keyfile", values[PARAM_KEY_FILE].string);
	rc = rc < 0 ? rc : set_option(f, rbd->cluster, "client_mount_timeout", timeout);
	rc = rc < 0 ? rc
		    : set_option(f, rbd->cluster, "rbd_cache",
			      values[PARAM_CACHE].boolean ? "true" : "false");
	if (rc < 0) {
		return rc;
	}
	rc = rados_connect(rbd->cluster);
	return rc < 0 ? failed(f, rc, "connecting to the Ceph cluster as user", user) : 0;
}

static int open_pool(
	struct rbd *rbd, const union xbdev_module_value *values, const struct failure *f)
{
	const char *pool = values[PARAM_POOL].string;
	int rc = rados_ioctx_create(rbd->cluster, pool, &rbd->pool);

	if (rc < 0) {
		return failed(f, rc, "opening the Ceph pool", pool);
	}
	rbd->is_pool_open = true;
	if (values[PARAM_NAMESPACE].string != NULL) {
		rados_ioctx_set_namespace(rbd->pool, values[PARAM_NAMESPACE].string);
	}
	return 0;
}

static int lock_image(struct rbd *rbd, const char *image, const struct failure *f)
{
	uint64_t features = 0;
	int rc = rbd_get_features(rbd->image, &features);

	if (rc == 0 && (features & RBD_FEATURE_EXCLUSIVE_LOCK) == 0) {
		host->log(rbd->device, 2,
			"the image has no exclusive lock (feature exclusive-lock), so others can "
			"write it too");
		return 0;
	}
	rc = rbd_lock_acquire(rbd->image, RBD_LOCK_MODE_EXCLUSIVE);
	if (rc == -EROFS || rc == -EBUSY) { /* the owner does not give it up */
		snprintf(f->error, f->size,
			"the RBD image '%s' is locked: another client has it open exclusively",
			image);
		return -EBUSY;
	}
	if (rc < 0) {
		return failed(f, rc, "locking the RBD image", image);
	}
	rbd->is_locked = true;
	return 0;
}

static int open_image(struct rbd *rbd, const union xbdev_module_value *values, bool is_read_only,
	const struct failure *f)
{
	const char *image = values[PARAM_IMAGE].string, *snap = values[PARAM_SNAPSHOT].string;
	int rc = is_read_only ? rbd_open_read_only(rbd->pool, image, &rbd->image, snap)
			      : rbd_open(rbd->pool, image, &rbd->image, snap);

	if (rc < 0) {
		return failed(f, rc, "opening the RBD image", image);
	}
	rbd->is_image_open = true;
	if (!is_read_only && values[PARAM_EXCLUSIVE].boolean) {
		rc = lock_image(rbd, image, f);
	}
	if (rc == 0) {
		rc = watch_size(rbd);
		if (rc < 0) {
			failed(f, rc, "watching the RBD image", image);
		}
	}
	return rc;
}

/* The image's configuration wins over ours. */
static bool has_cache(struct rbd *rbd, bool otherwise)
{
	rbd_config_option_t options[MAX_OPTIONS];
	int count = MAX_OPTIONS;

	if (rbd_config_image_list(rbd->image, options, &count) < 0) {
		return otherwise;
	}
	for (int i = 0; i < count; i++) {
		if (strcmp(options[i].name, "rbd_cache") == 0) {
			otherwise = strcmp(options[i].value, "true") == 0;
		}
	}
	rbd_config_image_list_cleanup(options, count);
	return otherwise;
}

static int fill_geometry(struct rbd *rbd, const union xbdev_module_value *values, bool is_read_only,
	struct xbdev_module_geometry *geometry, const struct failure *f)
{
	rbd_image_info_t info;
	int rc = rbd_stat(rbd->image, &info, sizeof(info));

	if (rc < 0) {
		return failed(
			f, rc, "asking for the size of the RBD image", values[PARAM_IMAGE].string);
	}
	*geometry = (struct xbdev_module_geometry){
		.size_bytes = info.size,
		.block_size = (uint32_t)values[PARAM_BLOCK_SIZE].number,
		.buffer_align = 1,
		.max_transfer = MAX_TRANSFER,
		.max_iov = MAX_IOV,
		.max_zeroes = MAX_ZEROES,
		.optimal_io = info.obj_size <= UINT32_MAX ? (uint32_t)info.obj_size : 0,
		.discard_granularity = info.obj_size <= UINT32_MAX ? (uint32_t)info.obj_size : 0,
		.queue_depth = QUEUE_DEPTH,
		.ops = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH |
		       1u << XBDEV_OP_DISCARD | 1u << XBDEV_OP_WRITE_ZEROES,
		.has_write_cache = has_cache(rbd, values[PARAM_CACHE].boolean),
		.is_read_only = is_read_only,
		.is_remote = true,
		.product = "Ceph RBD image",
	};
	return 0;
}

static int check_values(const union xbdev_module_value *values, const struct failure *f)
{
	uint64_t timeout_s = values[PARAM_TIMEOUT].number;

	if (timeout_s < 1 || timeout_s > 600) {
		snprintf(f->error, f->size, "timeout_s %llu is not possible, use 1 to 600",
			(unsigned long long)timeout_s);
		return -EINVAL;
	}
	return 0;
}

static int rbd_open_device(struct xbdev_module_device *device,
	const union xbdev_module_value *values, struct xbdev_module_geometry *ret_geometry,
	void **ret_data, char *error, size_t error_size)
{
	bool is_read_only =
		values[PARAM_READ_ONLY].boolean || values[PARAM_SNAPSHOT].string != NULL;
	const struct failure failure = {error, error_size};
	int rc = check_values(values, &failure);
	struct rbd *rbd;

	if (rc < 0) {
		return rc;
	}
	rbd = calloc(1, sizeof(*rbd));
	if (rbd == NULL) {
		return -ENOMEM;
	}
	rbd->device = device;
	pthread_mutex_init(&rbd->mutex, NULL);
	pthread_cond_init(&rbd->cond, NULL);
	rc = connect_to(rbd, values, &failure);
	rc = rc < 0 ? rc : open_pool(rbd, values, &failure);
	rc = rc < 0 ? rc : open_image(rbd, values, is_read_only, &failure);
	rc = rc < 0 ? rc : fill_geometry(rbd, values, is_read_only, ret_geometry, &failure);
	if (rc < 0) {
		rbd_close_device(rbd);
		return rc;
	}
	*ret_data = rbd;
	return 0;
}

extern const struct xbdev_module xbdev_module;
const struct xbdev_module xbdev_module = {
	.abi = XBDEV_MODULE_ABI,
	.size = sizeof(struct xbdev_module),
	.name = "rbd",
	.help = "an image of Ceph's RBD, through librbd",
	.params = params,
	.load = rbd_load,
	.open = rbd_open_device,
	.close = rbd_close_device,
	.submit = rbd_submit,
};

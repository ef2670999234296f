/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open files of simulated hosts, and the platform's calls for them. Locks belong to the open file,
 * so they stay until the last operation on it has ended, as flock() has it. After the end of the
 * host its files have no disk, and every call fails with -EIO.
 */
#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "lib/util/error.h"
#include "test/sim/sim_disk_private.h"

static void file_start(struct sim_object *object, struct sim_op *sop)
{
	sim__disk_start(sim__file_of(object), sop);
}

static void file_cancel(struct sim_object *object, struct sim_op *sop)
{
	sim__disk_cancel(sim__file_of(object)->disk, sop);
}

static void file_release(struct sim_object *object)
{
	struct sim_file *file = sim__file_of(object);

	/* The disk of a host that has ended has no locks any more. */
	if (file->disk != NULL && file->disk->host == object->host) {
		file->disk->nr_exclusive -= file->is_exclusive && !file->is_read_only;
		file->disk->nr_shared -= file->is_exclusive && file->is_read_only;
	}
	free(file);
}

const struct sim_object_ops sim__file_object_ops = {
	.start = file_start,
	.cancel = file_cancel,
	.release = file_release,
};

static void fill_info(const struct sim_file *file, struct xr_file_info *ret_info)
{
	const struct sim_disk_opts *opts = &file->disk->opts;

	*ret_info = (struct xr_file_info){
		.size_bytes = sim_image_size(file->disk->content),
		.block_size = opts->block_size,
		.mem_align = file->is_direct ? opts->direct_align : 1,
		.io_align = file->is_direct ? opts->direct_align : 1,
		.numa_node = -1,
		.is_direct = file->is_direct,
		.is_block_device = opts->is_block_device,
		.is_rotational = opts->is_rotational,
		.has_write_cache = !opts->no_write_cache,
	};
}

static int lock(struct sim_disk *disk, const struct xr_file_opts *opts)
{
	if (!opts->exclusive) {
		return 0;
	}
	if (disk->nr_exclusive != 0 || (disk->nr_shared != 0 && !opts->is_read_only)) {
		return -EBUSY;
	}
	disk->nr_exclusive += !opts->is_read_only;
	disk->nr_shared += opts->is_read_only;
	return 0;
}

int sim__file_open(const struct xr_platform *platform, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	struct sim_host *host = sim__host_of(platform);
	struct sim_disk *disk = sim_disk_find(host, path);
	struct sim_file *file;

	if (sim__host_has_ended(host)) {
		return xu_error_set(err, -EIO, "opening %s: host %s has ended", path, host->name);
	}
	if (disk == NULL && opts->create && !opts->is_read_only) {
		disk = sim_disk_new(host, path, NULL);
	}
	if (disk == NULL) {
		return xu_error_set_errno(err, -ENOENT, "opening %s", path);
	}
	if (lock(disk, opts) != 0) {
		return xu_error_set(err, -EBUSY,
			"%s is locked: another process or another device here uses it", path);
	}
	if (opts->create && !disk->opts.is_block_device &&
		sim_image_size(disk->content) < opts->size_bytes) {
		sim__disk_resize_now(disk, opts->size_bytes);
	}
	file = sim__alloc(sizeof(*file));
	sim__object_init(&file->base, host, &sim__file_object_ops);
	file->disk = disk;
	file->is_read_only = opts->is_read_only;
	file->is_direct = opts->direct && !disk->opts.no_direct;
	file->is_exclusive = opts->exclusive;
	fill_info(file, ret_info);
	return sim__fd_new(host, &file->base);
}

/* The file of a descriptor; NULL when it is none, or when the host has ended. */
static struct sim_file *find(const struct xr_platform *platform, int fd)
{
	struct sim_host *host = sim__host_of(platform);
	struct sim_object *object = sim__fd_object(host, fd);

	return object == NULL || object->ops != &sim__file_object_ops || sim__host_has_ended(host)
		       ? NULL
		       : sim__file_of(object);
}

static int why_not(const struct xr_platform *platform)
{
	return sim__host_has_ended(sim__host_of(platform)) ? -EIO : -EBADF;
}

int sim__file_info(const struct xr_platform *platform, int fd, struct xr_file_info *ret_info)
{
	struct sim_file *file = find(platform, fd);

	if (file == NULL) {
		return why_not(platform);
	}
	fill_info(file, ret_info);
	return 0;
}

int sim__file_sync(const struct xr_platform *platform, int fd)
{
	struct sim_file *file = find(platform, fd);

	if (file == NULL) {
		return why_not(platform);
	}
	sim__disk_sync_now(file->disk);
	return 0;
}

int sim__file_resize(const struct xr_platform *platform, int fd, uint64_t size_bytes)
{
	struct sim_file *file = find(platform, fd);

	if (file == NULL) {
		return why_not(platform);
	}
	if (file->is_read_only || file->disk->opts.is_block_device) {
		return -EINVAL;
	}
	if (size_bytes > SIM_IMAGE_SIZE_MAX) {
		return -EFBIG;
	}
	sim__disk_resize_now(file->disk, size_bytes);
	return 0;
}

bool sim__file_can(const struct xr_platform *platform, int fd, int fallocate_mode)
{
	struct sim_file *file = find(platform, fd);

	if (file == NULL || file->is_read_only) {
		return false;
	}
	return (fallocate_mode & FALLOC_FL_PUNCH_HOLE) ? !file->disk->opts.no_punch
						       : !file->disk->opts.no_zero_range;
}

int sim__file_discard(
	const struct xr_platform *platform, int fd, uint64_t offset, uint64_t len, bool is_zero)
{
	struct sim_file *file = find(platform, fd);

	if (file == NULL) {
		return why_not(platform);
	}
	if (!file->disk->opts.is_block_device) {
		return -ENOTTY;
	}
	return file->is_read_only ? -EBADF : sim__disk_zero_now(file->disk, offset, len, !is_zero);
}

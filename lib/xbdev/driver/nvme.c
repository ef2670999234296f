/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nvme driver: a namespace of an NVMe controller that the kernel drives, found by its PCI
 * address or its name (nvme_sysfs.c).
 *
 * Two engines. "passthru" gives NVMe commands to the namespace's generic character device
 * (nvme_passthru.c, Linux 5.19); "block" does I/O on the block device (file_io.c). "auto" tries a
 * read by passthrough and takes the other when that does not work. Either way the block device is
 * held open exclusively, so nothing that is mounted or in use is touched and nobody mounts it while
 * it is ours; a read-only device asks for no such thing.
 *
 *   create: worker: find, open, identify → control reactor: probe passthrough → register
 *
 * What happens to the disk: the kernel's events, and any I/O that fails, make the driver look at it
 * (in a worker). A disk that is gone is removed here, one that has another size gets it here. The
 * device's identity is the disk's own, so it is the same after a restart, in another slot and by
 * either way of naming it; a `uuid` parameter is what the disk must have.
 */
#include "lib/xbdev/driver/nvme.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#include "lib/util/log.h"
#include "lib/xbdev/core/uevent.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/driver/file_io.h"
#include "lib/xbdev/driver/nvme_passthru.h"

#define SYSFS            "/sys"
#define MOUNTS           "/proc/self/mounts"
#define SMART_UNIT_BYTES 512000ull
#define KELVIN           273

#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, uint64_t)
#endif

enum engine { ENGINE_AUTO, ENGINE_PASSTHRU, ENGINE_BLOCK };
static const char *const engines[] = {"auto", "passthru", "block", NULL};

struct nvme_opts {
	const char *name;
	const char *pci_addr;
	const char *device;
	uint32_t nsid;
	uint32_t engine;
	bool read_only;
	struct xu_uuid uuid;
};

struct nvme_device {
	struct xbdev__file file; /* the device, and the kernel's block device */
	struct xbdev__nvme_pt pt;
	struct xbdev__nvme_disk disk;
	bool is_passthru;
	uint64_t diskseq; /* 0: this kernel has none */
	char controller_path[64];
	/* As it was asked for. */
	char *pci_addr, *device;
	enum engine engine;
	struct xu_uuid wanted;

	struct xbdev_uevent_watch watch;
	/* Looking at the disk. */
	_Atomic bool is_check_sent;
	struct xr_msg check_msg;
	struct xr_work check_work;
	struct xbdev_desc *checker; /* keeps the device meanwhile */
	bool must_check_again;
	bool is_gone;
	struct xr_file_info info;

	/* While it is made. */
	struct xr_work work;
	struct xbdev__nvme_probe probe;
	struct xu_error err;
	xbdev_created_fn created;
	void *arg;
};

static struct nvme_device *nvme_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct nvme_device, file.dev);
}

static struct xu_logger *log_of(const struct nvme_device *nvme)
{
	return xbdev_ctx_log(nvme->file.ctx);
}

/* ---- I/O ---- */

static void passthru_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	xbdev__nvme_pt_submit(&nvme_of(ch->dev)->pt, ch, io);
}

/* ---- what happens to the disk ---- */

static void look(struct xr_work *work)
{
	struct nvme_device *nvme = xu_container_of(work, struct nvme_device, check_work);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	char path[96];

	snprintf(path, sizeof(path), SYSFS "/block/%s", nvme->disk.disk);
	nvme->is_gone = platform->file_info(platform, nvme->file.fd, &nvme->info) != 0 ||
			nvme->info.size_bytes == 0 || access(path, F_OK) != 0;
}

static void remove_device(struct nvme_device *nvme)
{
	if (xbdev_device_remove(&nvme->file.dev, NULL, NULL) == 0) {
		xu_warn(log_of(nvme), "device %s: the disk %s is gone", nvme->file.dev.name,
			nvme->disk.disk);
	}
}

static void check(struct nvme_device *nvme);

static void on_looked(struct xr_work *work)
{
	struct nvme_device *nvme = xu_container_of(work, struct nvme_device, check_work);
	struct xbdev_desc *checker = nvme->checker;

	nvme->checker = NULL;
	if (nvme->is_gone) {
		remove_device(nvme);
	} else {
		xbdev_device_set_size(
			&nvme->file.dev, nvme->info.size_bytes / nvme->file.dev.limits.block_size);
		if (nvme->must_check_again) {
			check(nvme);
		}
	}
	xbdev_desc_close(checker); /* the device may be gone after this */
}

/* Looks at the disk, in a worker, with the device held open meanwhile. */
static void check(struct nvme_device *nvme)
{
	struct xu_error err = {0};

	nvme->must_check_again = nvme->checker != NULL;
	if (nvme->checker != NULL || xbdev_desc_open(nvme->file.dev.ctx, nvme->file.dev.name, false,
					     NULL, NULL, &nvme->checker, &err) != 0) {
		return; /* it is removed already */
	}
	nvme->check_work.work = look;
	nvme->check_work.done = on_looked;
	xr_work_submit(xbdev_ctx_control(nvme->file.dev.ctx), &nvme->check_work);
}

static void on_check(struct xr_msg *msg)
{
	struct nvme_device *nvme = xu_container_of(msg, struct nvme_device, check_msg);

	atomic_store(&nvme->is_check_sent, false);
	check(nvme);
}

/* On any reactor, while the failed I/O keeps the device. */
static void on_io_error(struct nvme_device *nvme, int error)
{
	if ((error == -EIO || error == -ENODEV || error == -ENXIO) &&
		!atomic_exchange(&nvme->is_check_sent, true)) {
		nvme->check_msg.fn = on_check;
		xr_msg_send(xbdev_ctx_control(nvme->file.dev.ctx), &nvme->check_msg);
	}
}

static void on_passthru_error(struct xbdev__nvme_pt *pt, int error)
{
	on_io_error(xu_container_of(pt, struct nvme_device, pt), error);
}

static void on_block_error(struct xbdev__file *file, int error)
{
	on_io_error(xu_container_of(file, struct nvme_device, file), error);
}

static void on_uevent(struct xbdev_uevent_watch *watch, const struct xbdev_uevent *event)
{
	struct nvme_device *nvme = xu_container_of(watch, struct nvme_device, watch);
	bool is_ours = strcmp(event->subsystem, "block") == 0 &&
		       strcmp(event->devname, nvme->disk.disk) == 0;

	/* Another disk may have got the name since. */
	if (is_ours && event->diskseq != 0 && nvme->diskseq != 0) {
		is_ours = event->diskseq == nvme->diskseq;
	}
	if (strcmp(event->subsystem, "block") == 0 && strcmp(event->action, "add") == 0 &&
		xbdev__nvme_is_sibling(nvme->disk.disk, event->devname)) {
		xu_info(log_of(nvme),
			"device %s: there is another namespace beside its disk %s now, /dev/%s; a "
			"device of its own makes it usable",
			nvme->file.dev.name, nvme->disk.disk, event->devname);
	}
	if (is_ours && strcmp(event->action, "remove") == 0) {
		remove_device(nvme);
	} else if (is_ours || event->are_lost) {
		check(nvme);
	}
}

/* ---- SMART ---- */

struct smart {
	struct xr_work work;
	char path[64];
	xbdev_nvme_smart_t smart;
	struct xu_error err;
	void (*done)(void *arg, const xbdev_nvme_smart_t *smart, const struct xu_error *err);
	void *arg;
};

/* A counter of 16 bytes, times `unit`. */
static uint64_t counter(const uint8_t bytes[16], uint64_t unit)
{
	uint64_t value = 0, product;

	for (int i = 15; i >= 0; i--) {
		if (i >= 8 && bytes[i] != 0) {
			return UINT64_MAX;
		}
		value = value << 8 | bytes[i];
	}
	return __builtin_mul_overflow(value, unit, &product) ? UINT64_MAX : product;
}

static void smart_work(struct xr_work *work)
{
	struct smart *smart = xu_container_of(work, struct smart, work);
	xbdev_nvme_smart_t *s = &smart->smart;
	struct nvme_smart_log log = {0};

	if (xbdev__nvme_smart_log_get(smart->path, &log, &smart->err) != 0) {
		return;
	}
	s->critical_warning = log.critical_warning;
	s->temperature_celsius = le16toh(log.temperature) - KELVIN;
	s->available_spare = log.available_spare;
	s->available_spare_threshold = log.available_spare_threshold;
	s->percentage_used = log.percentage_used;
	s->bytes_read = counter(log.data_units_read, SMART_UNIT_BYTES);
	s->bytes_written = counter(log.data_units_written, SMART_UNIT_BYTES);
	s->host_reads = counter(log.host_reads, 1);
	s->host_writes = counter(log.host_writes, 1);
	s->busy_minutes = counter(log.controller_busy_minutes, 1);
	s->power_cycles = counter(log.power_cycles, 1);
	s->power_on_hours = counter(log.power_on_hours, 1);
	s->unsafe_shutdowns = counter(log.unsafe_shutdowns, 1);
	s->media_errors = counter(log.media_errors, 1);
	s->error_log_entries = counter(log.error_log_entries, 1);
	s->warning_temperature_minutes = le32toh(log.warning_temperature_minutes);
	s->critical_temperature_minutes = le32toh(log.critical_temperature_minutes);
}

static void smart_done(struct xr_work *work)
{
	struct smart *smart = xu_container_of(work, struct smart, work);

	smart->done(smart->arg, smart->err.code == 0 ? &smart->smart : NULL, &smart->err);
	free(smart);
}

void xbdev_nvme_read_smart(struct xbdev_device *dev,
	void (*done)(void *arg, const xbdev_nvme_smart_t *smart, const struct xu_error *err),
	void *arg)
{
	struct nvme_device *nvme = nvme_of(dev);
	struct smart *smart = calloc(1, sizeof(*smart));
	struct xu_error err = {0};

	if (smart == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "reading the SMART log of '%s'", dev->name);
		done(arg, NULL, &err);
		return;
	}
	memcpy(smart->path, nvme->controller_path, sizeof(smart->path));
	memcpy(smart->smart.model, nvme->disk.model, sizeof(smart->smart.model));
	memcpy(smart->smart.serial, nvme->disk.serial, sizeof(smart->smart.serial));
	memcpy(smart->smart.firmware, nvme->disk.firmware, sizeof(smart->smart.firmware));
	smart->done = done;
	smart->arg = arg;
	smart->work.work = smart_work;
	smart->work.done = smart_done;
	xr_work_submit(xbdev_ctx_control(dev->ctx), &smart->work);
}

/* ---- life ---- */

static void nvme_free(struct nvme_device *nvme)
{
	const struct xr_platform *platform = xbdev_ctx_platform(nvme->file.ctx);

	xbdev_uevent_watch_del(&nvme->watch);
	if (nvme->pt.fd >= 0) {
		platform->close(platform, nvme->pt.fd);
	}
	if (nvme->file.fd >= 0) {
		platform->close(platform, nvme->file.fd);
	}
	free(nvme->file.path);
	free(nvme->pci_addr);
	free(nvme->device);
	free(nvme);
}

static void nvme_destroy(struct xbdev_device *dev)
{
	nvme_free(nvme_of(dev));
}

static json_t *nvme_config(const struct xbdev_device *dev)
{
	const struct nvme_device *nvme = nvme_of(dev);
	json_t *config = xbdev__config_common(dev);

	if (nvme->pci_addr != NULL) {
		json_object_set_new(config, "pci_addr", json_string(nvme->pci_addr));
	} else {
		json_object_set_new(config, "device", json_string(nvme->device));
	}
	json_object_set_new(config, "nsid", json_integer(nvme->disk.nsid));
	json_object_set_new(config, "engine", json_string(engines[nvme->engine]));
	json_object_set_new(config, "read_only", json_boolean(dev->is_read_only));
	return config;
}

static json_t *nvme_info(const struct xbdev_device *dev)
{
	const struct nvme_device *nvme = nvme_of(dev);
	const struct xbdev__nvme_disk *disk = &nvme->disk;

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:I}", "engine",
		nvme->is_passthru ? "passthru" : "block", "controller", disk->controller, "disk",
		disk->disk, "transport", disk->transport, "address", disk->address, "nsid",
		(json_int_t)disk->nsid, "model", disk->model, "serial", disk->serial, "firmware",
		disk->firmware, "wwid", disk->wwid, "atomic_write_bytes",
		(json_int_t)nvme->pt.features.atomic_bytes);
}

static const struct xbdev_device_ops passthru_ops = {
	.channel_bytes = sizeof(struct xbdev__nvme_channel),
	.channel_open = xbdev__nvme_pt_channel_open,
	.channel_close = xbdev__nvme_pt_channel_close,
	.channel_abort = xbdev__nvme_pt_channel_abort,
	.submit = passthru_submit,
	.cancel = xbdev__nvme_pt_cancel,
	.destroy = nvme_destroy,
	.config = nvme_config,
	.info = nvme_info,
};

static const struct xbdev_device_ops block_ops = {
	.submit = xbdev__file_submit,
	.cancel = xbdev__file_cancel,
	.destroy = nvme_destroy,
	.config = nvme_config,
	.info = nvme_info,
};

bool xbdev_device_is_nvme(const struct xbdev_device *dev)
{
	return dev->ops == &passthru_ops || dev->ops == &block_ops;
}

/* ---- making one ---- */

/* Another disk may have been put where the configuration knows one. */
static int check_identity(struct nvme_device *nvme)
{
	char wanted[XU_UUID_TEXT_SIZE], found[XU_UUID_TEXT_SIZE];

	if (xu_uuid_is_null(&nvme->wanted)) {
		nvme->file.dev.uuid = nvme->disk.uuid;
		return 0;
	}
	nvme->file.dev.uuid = nvme->wanted;
	if (xu_uuid_is_null(&nvme->disk.uuid) ||
		xu_uuid_is_equal(&nvme->wanted, &nvme->disk.uuid)) {
		return 0;
	}
	xu_uuid_format(&nvme->wanted, wanted);
	xu_uuid_format(&nvme->disk.uuid, found);
	return xu_error_set(&nvme->err, -ESTALE,
		"the disk %s is %s (%s, serial number %s) and not %s; if that is meant, leave the "
		"uuid out or give this one",
		nvme->disk.disk, found, nvme->disk.model, nvme->disk.serial, wanted);
}

static int open_block_device(struct nvme_device *nvme, const struct xr_platform *platform)
{
	struct xr_file_opts opts = {
		.is_read_only = nvme->file.dev.is_read_only,
		.direct = true,
		.exclusive = !nvme->file.dev.is_read_only,
	};
	char user[128];
	int fd =
		platform->file_open(platform, nvme->file.path, &opts, &nvme->file.info, &nvme->err);

	if (fd < 0) {
		xbdev__nvme_user(SYSFS, MOUNTS, nvme->disk.disk, user, sizeof(user));
		if (fd == -EBUSY && user[0] != '\0') {
			xu_error_set(&nvme->err, fd,
				"the disk %s is in use: %s; release it there, or open it read-only",
				nvme->disk.disk, user);
		}
		return fd;
	}
	nvme->file.fd = fd;
	if (ioctl(fd, BLKGETDISKSEQ, &nvme->diskseq) != 0) {
		nvme->diskseq = 0;
	}
	return 0;
}

/* Opens the generic device; when that or something about the namespace forbids passthrough, says
 * why: fatal only when passthrough is insisted on. */
static int open_generic(struct nvme_device *nvme)
{
	const struct xbdev__nvme_features *features = &nvme->pt.features;
	char path[64];

	if (nvme->disk.generic[0] == '\0') {
		return xu_error_set(&nvme->err, -EOPNOTSUPP,
			"this kernel has no generic device for %s (Linux 5.13 has)",
			nvme->disk.disk);
	}
	if (features->metadata_bytes != 0 || features->block_size != nvme->file.info.block_size) {
		return xu_error_set(&nvme->err, -EOPNOTSUPP,
			"%s has %u bytes of metadata in each block of %u; format it without, or "
			"use the engine block",
			nvme->disk.disk, features->metadata_bytes, features->block_size);
	}
	snprintf(path, sizeof(path), "/dev/%s", nvme->disk.generic);
	nvme->pt.fd = open(path, (nvme->file.dev.is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (nvme->pt.fd < 0) {
		return xu_error_set_errno(&nvme->err, -errno, "opening %s", path);
	}
	nvme->pt.nsid = nvme->disk.nsid;
	nvme->pt.block_shift = (uint32_t)__builtin_ctz(features->block_size);
	return 0;
}

/* What of it went wrong with passthrough only is forgotten unless that was insisted on. */
static void give_up_passthru(struct nvme_device *nvme)
{
	if (nvme->engine == ENGINE_PASSTHRU) {
		return;
	}
	xu_info(log_of(nvme), "device %s: I/O through the block device %s, because %s",
		nvme->file.dev.name, nvme->file.path, nvme->err.text);
	nvme->err = (struct xu_error){0};
}

static void create_work(struct xr_work *work)
{
	struct nvme_device *nvme = xu_container_of(work, struct nvme_device, work);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	uint32_t nsid = nvme->disk.nsid;

	if (xbdev__nvme_find(SYSFS, nvme->pci_addr, nvme->device, nsid, &nvme->disk, &nvme->err) !=
			0 ||
		check_identity(nvme) != 0) {
		return;
	}
	if (asprintf(&nvme->file.path, "/dev/%s", nvme->disk.disk) < 0) {
		nvme->file.path = NULL;
		xu_error_set_errno(&nvme->err, -ENOMEM, "opening %s", nvme->disk.disk);
		return;
	}
	snprintf(nvme->controller_path, sizeof(nvme->controller_path), "/dev/%s",
		nvme->disk.controller);
	if (open_block_device(nvme, platform) != 0) {
		return;
	}
	xbdev__file_probe(&nvme->file, platform);
	if (nvme->engine != ENGINE_BLOCK) {
		if (xbdev__nvme_features_get(nvme->controller_path, nvme->disk.nsid,
			    &nvme->pt.features, &nvme->err) != 0 ||
			open_generic(nvme) != 0) {
			give_up_passthru(nvme);
		}
	}
	if (nvme->err.code == 0 && nvme->pt.features.is_write_protected) {
		nvme->file.dev.is_read_only = true;
	}
}

static void fill_device(struct nvme_device *nvme)
{
	struct xbdev_device *dev = &nvme->file.dev;

	xbdev__file_fill(&nvme->file);
	if (nvme->is_passthru) {
		xbdev__nvme_pt_fill(&nvme->pt, &nvme->disk, dev);
	}
	atomic_store(&dev->nr_blocks, nvme->file.info.size_bytes / dev->limits.block_size);
	dev->product = nvme->is_passthru ? "NVMe disk, by passthrough" : "NVMe disk";
	dev->ops = nvme->is_passthru ? &passthru_ops : &block_ops;
	dev->numa_node = nvme->disk.numa_node;
	dev->is_rotational = false;
	dev->is_remote = strcmp(nvme->disk.transport, "pcie") != 0;
}

static void finish(struct nvme_device *nvme)
{
	xbdev_created_fn created = nvme->created;
	struct xu_error err, watch_err = {0};
	void *arg = nvme->arg;

	if (nvme->err.code == 0) {
		fill_device(nvme);
		if (xbdev_uevent_watch_add(nvme->file.ctx, &nvme->watch, &watch_err) != 0) {
			xu_warn(log_of(nvme),
				"device %s: a removal or another size of the disk will be seen "
				"only when I/O fails: %s",
				nvme->file.dev.name, watch_err.text);
		}
		xbdev_device_register(nvme->file.ctx, &nvme->file.dev, &nvme->err);
	}
	err = nvme->err;
	if (err.code != 0) {
		nvme_free(nvme);
		nvme = NULL;
	} else {
		check(nvme); /* what happened before the watch */
	}
	created(arg, nvme != NULL ? &nvme->file.dev : NULL, &err);
}

static void on_probed(struct xbdev__nvme_probe *probe, int error)
{
	struct nvme_device *nvme = xu_container_of(probe, struct nvme_device, probe);

	nvme->is_passthru = error == 0;
	if (error != 0) {
		xu_error_set_errno(&nvme->err, error,
			"/dev/%s takes no commands by io_uring (Linux 5.19, as root)",
			nvme->disk.generic);
		give_up_passthru(nvme);
	}
	finish(nvme);
}

static void create_done(struct xr_work *work)
{
	struct nvme_device *nvme = xu_container_of(work, struct nvme_device, work);
	int rc;

	if (nvme->err.code != 0 || nvme->pt.fd < 0) {
		finish(nvme);
		return;
	}
	nvme->probe.pt = &nvme->pt;
	nvme->probe.done = on_probed;
	rc = xbdev__nvme_probe(work->reactor, &nvme->probe);
	if (rc != 0) {
		on_probed(&nvme->probe, rc);
	}
}

static struct nvme_device *nvme_new(struct xbdev_ctx *ctx, const struct nvme_opts *opts)
{
	struct nvme_device *nvme = calloc(1, sizeof(*nvme));

	if (nvme == NULL) {
		return NULL;
	}
	nvme->file.ctx = ctx;
	nvme->file.fd = -1;
	nvme->file.on_error = on_block_error;
	nvme->pt.fd = -1;
	nvme->pt.on_error = on_passthru_error;
	nvme->watch.fn = on_uevent;
	nvme->engine = opts->engine;
	nvme->wanted = opts->uuid;
	nvme->disk.nsid = opts->nsid;
	nvme->file.dev.driver = "nvme";
	nvme->file.dev.is_read_only = opts->read_only;
	nvme->file.dev.is_multi_reactor = true;
	xbdev__set_name(&nvme->file.dev, opts->name);
	nvme->pci_addr = opts->pci_addr != NULL ? strdup(opts->pci_addr) : NULL;
	nvme->device = opts->device != NULL ? strdup(opts->device) : NULL;
	if (nvme->pci_addr == NULL && nvme->device == NULL) {
		nvme_free(nvme);
		return NULL;
	}
	return nvme;
}

static void nvme_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct nvme_opts *opts = opts_ptr;
	struct nvme_device *nvme = NULL;
	struct xu_error err = {0};

	if ((opts->pci_addr != NULL) == (opts->device != NULL)) {
		xu_error_set(&err, -EINVAL,
			"nvme device '%s': give pci_addr or device, one of the two", opts->name);
	} else if (xbdev_ctx_platform(ctx)->is_simulated) {
		xu_error_set(&err, -EOPNOTSUPP,
			"nvme device '%s': there are no NVMe disks in a simulation", opts->name);
	} else {
		nvme = nvme_new(ctx, opts);
		if (nvme == NULL) {
			xu_error_set_errno(&err, -ENOMEM, "making nvme device '%s'", opts->name);
		}
	}
	if (nvme == NULL) {
		done(arg, NULL, &err);
		return;
	}
	nvme->created = done;
	nvme->arg = arg;
	nvme->work.work = create_work;
	nvme->work.done = create_done;
	xr_work_submit(xbdev_ctx_control(ctx), &nvme->work);
}

static const struct xu_param nvme_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct nvme_opts, name), .is_required = true,
		.help = "name of the device"},
	{"pci_addr", XU_PARAM_STRING, offsetof(struct nvme_opts, pci_addr),
		.help = "PCI address of the controller, such as 0000:01:00.0"},
	{"device", XU_PARAM_STRING, offsetof(struct nvme_opts, device),
		.help = "the kernel's name of the controller or the disk, such as nvme0 or "
			"/dev/nvme0n1, instead of pci_addr"},
	{"nsid", XU_PARAM_U32, offsetof(struct nvme_opts, nsid), .max = UINT32_MAX - 1,
		.help = "namespace (default: the only one)"},
	{"engine", XU_PARAM_ENUM, offsetof(struct nvme_opts, engine), .choices = engines,
		.help = "passthru: NVMe commands; block: the block device; auto (default): the "
			"first that works"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct nvme_opts, read_only),
		.help = "refuse writes, and do not ask whether the disk is in use (default "
			"false)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct nvme_opts, uuid),
		.help = "identity that the disk must have (default: whatever it has)"},
	{0},
};

static const struct nvme_opts nvme_defaults = {0};

const struct xbdev_driver xbdev__driver_nvme = {
	.name = "nvme",
	.help = "a namespace of a local NVMe controller, by passthrough or as a block device",
	.params = nvme_params,
	.opts_bytes = sizeof(struct nvme_opts),
	.defaults = &nvme_defaults,
	.create = nvme_create,
};

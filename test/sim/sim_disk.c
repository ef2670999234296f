/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks: the way of one operation. It is checked and entered in the log when it is submitted, takes
 * effect some time later (a write changes the content, a read fills its buffers) and completes some
 * time after that, so overlapping operations take effect in any order and a completion says nothing
 * about another one. Fault rules are looked at when it is submitted.
 */
#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "test/sim/sim_disk_private.h"

/* ---- faults ---- */

void sim_disk_fault_add(struct sim_disk *disk, const struct sim_fault *fault)
{
	assert(disk->nr_rules < SIM_MAX_FAULTS);
	disk->rules[disk->nr_rules++] = (struct sim_rule){.fault = *fault};
}

void sim_disk_faults_clear(struct sim_disk *disk)
{
	disk->nr_rules = 0;
}

uint64_t sim_disk_nr_faults(const struct sim_disk *disk)
{
	return disk->nr_faults;
}

static bool matches(const struct sim_fault *fault, const struct xr_op *op, uint64_t len)
{
	if (fault->ops != SIM_ALL_OPS && (fault->ops & (1u << op->opcode)) == 0) {
		return false;
	}
	if (fault->len == 0) {
		return true;
	}
	return op->opcode != XR_OP_FSYNC && op->offset < fault->offset + fault->len &&
	       fault->offset < op->offset + len;
}

/* The fault that hits this operation, NULL for none. */
static const struct sim_fault *find_fault(
	struct sim_disk *disk, const struct xr_op *op, uint64_t len)
{
	for (uint32_t i = 0; i < disk->nr_rules; i++) {
		struct sim_rule *rule = &disk->rules[i];

		if (!matches(&rule->fault, op, len) || rule->nr_seen++ < rule->fault.skip ||
			(rule->fault.count != 0 && rule->nr_hit == rule->fault.count)) {
			continue;
		}
		rule->nr_hit++;
		disk->nr_faults++;
		return &rule->fault;
	}
	return NULL;
}

/* ---- the stages of an operation ---- */

static uint64_t draw_latency_ns(struct sim_disk *disk)
{
	static const uint64_t steps_ns[] = {20000, 100000, 100000, 500000, 2000000};
	const struct sim_disk_opts *opts = &disk->opts;
	struct sim *sim = disk->host->sim;
	uint64_t step;

	if (opts->latency_max_ns != 0) {
		return sim__between(sim, opts->latency_min_ns, opts->latency_max_ns);
	}
	step = sim__between(sim, 0, 15);
	step = step < 12 ? 0 : step - 12; /* three quarters are of the shortest kind */
	return sim__between(sim, steps_ns[step], steps_ns[step + 1]);
}

static void on_complete(struct sim_event *event)
{
	struct sim_op *sop = xu_container_of(event, struct sim_op, event);
	struct sim_disk *disk = sim__file_of(sop->object)->disk;

	if (sop->entry != NULL) {
		sim__log_complete(disk, sop->entry, sop->result);
	}
	sim__op_complete(sop, sop->result);
}

static void read_now(struct sim_disk *disk, struct sim_op *sop)
{
	uint64_t size = sim_image_size(disk->content), offset = sop->op->offset;
	uint64_t len = sop->done_bytes;
	char *data;

	if (offset >= size) {
		len = 0;
	} else if (len > size - offset) {
		len = size - offset;
	}
	sop->result = (int32_t)len;
	if (len == 0) {
		return;
	}
	data = sim__alloc(len);
	sim_image_read(disk->content, offset, data, len);
	if (sop->is_flipped) {
		uint64_t bit = xu_random_below(&disk->host->sim->random, len * 8);

		data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
	}
	sim__op_scatter(sop->op, 0, data, len);
	sim__trace(disk->host->sim, "read", sop->id, offset, len, sim__hash(data, len));
	free(data);
}

static bool has_space(const struct sim_disk *disk, const struct sim_log_entry *entry)
{
	uint64_t need;

	if (disk->opts.space_bytes == 0 || entry->kind == SIM_LOG_PUNCH) {
		return true;
	}
	need = sim_image_missing_pages(disk->content, entry->offset, entry->len);
	return need == 0 || (sim_image_nr_pages(disk->content) + need) * SIM_IMAGE_PAGE <=
				    disk->opts.space_bytes;
}

static void on_effect(struct sim_event *event)
{
	struct sim_op *sop = xu_container_of(event, struct sim_op, event);
	struct sim_disk *disk = sim__file_of(sop->object)->disk;
	struct sim_log_entry *entry = sop->entry;

	if (entry == NULL && sop->result == 0) {
		read_now(disk, sop);
	} else if (entry != NULL && entry->kind != SIM_LOG_FLUSH && !entry->is_void) {
		if (has_space(disk, entry)) {
			sim__log_apply(disk, entry);
			sim__trace(disk->host->sim, "write", sop->id, entry->offset, entry->len,
				entry->data != NULL ? sim__hash(entry->data, entry->len)
						    : (uint64_t)entry->kind);
		} else {
			entry->is_void = true;
			sop->result = -ENOSPC;
		}
	}
	event->fn = on_complete;
	sim__event_at(disk->host->sim, event, sop->complete_ns);
}

static void set_off(struct sim_disk *disk, struct sim_op *sop)
{
	uint64_t now_ns = disk->host->sim->now_ns, latency_ns = draw_latency_ns(disk);

	sop->complete_ns = now_ns + latency_ns;
	sop->event.fn = on_effect;
	sim__event_in(disk->host->sim, &sop->event, sim__between(disk->host->sim, 0, latency_ns));
	xu_list_add_tail(&disk->inflight, &sop->link);
}

/* ---- submission ---- */

static int check_direct(const struct sim_file *file, const struct xr_op *op)
{
	uint64_t bits = op->offset;

	for (uint32_t i = 0; i < op->nr_iov; i++) {
		bits |= (uintptr_t)op->iov[i].iov_base | op->iov[i].iov_len;
	}
	return file->is_direct && (bits & (file->disk->opts.direct_align - 1)) != 0 ? -EINVAL : 0;
}

static int check_fallocate(const struct sim_disk *disk, const struct xr_op *op)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	const int zero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

	if (op->len == 0) {
		return -EINVAL;
	}
	if ((op->mode != punch || disk->opts.no_punch) &&
		(op->mode != zero || disk->opts.no_zero_range)) {
		return -EOPNOTSUPP;
	}
	return 0;
}

/* 0, or why the operation cannot even begin; *ret_len is how far it goes. */
static int check(const struct sim_file *file, const struct xr_op *op, uint64_t *ret_len)
{
	struct sim_disk *disk = file->disk;
	uint64_t size = sim_image_size(disk->content);
	int rc = 0;

	*ret_len = 0;
	switch ((enum xr_opcode)op->opcode) {
	case XR_OP_READ:
	case XR_OP_WRITE:
		*ret_len = sim__op_len(op);
		rc = check_direct(file, op);
		break;
	case XR_OP_FALLOCATE:
		*ret_len = op->len;
		rc = check_fallocate(disk, op);
		break;
	case XR_OP_FSYNC:
		return 0;
	default:
		return -ENOTSOCK;
	}
	if (rc != 0 || op->opcode == XR_OP_READ) {
		return rc;
	}
	if (file->is_read_only) {
		return -EBADF;
	}
	if (op->offset + *ret_len > SIM_IMAGE_SIZE_MAX) {
		return -EFBIG;
	}
	if (op->offset + *ret_len > size && (disk->opts.is_block_device)) {
		if (op->offset >= size || op->opcode == XR_OP_FALLOCATE) {
			return op->opcode == XR_OP_FALLOCATE ? -EINVAL : -ENOSPC;
		}
		*ret_len = size - op->offset;
	}
	if (op->opcode == XR_OP_FALLOCATE && op->offset + *ret_len > size) {
		*ret_len = op->offset < size ? size - op->offset : 0; /* KEEP_SIZE */
	}
	return 0;
}

static struct sim_log_entry *enter_in_log(
	struct sim_disk *disk, const struct xr_op *op, uint64_t len)
{
	struct sim_log_entry *entry;
	bool is_dsync = (op->flags & XR_OP_DSYNC) && !disk->opts.drops_dsync;

	switch ((enum xr_opcode)op->opcode) {
	case XR_OP_WRITE:
		return sim__log_add(disk, SIM_LOG_WRITE, op->offset, len, is_dsync);
	case XR_OP_FALLOCATE:
		return sim__log_add(disk,
			(op->mode & FALLOC_FL_PUNCH_HOLE) ? SIM_LOG_PUNCH : SIM_LOG_ZERO,
			op->offset, len, false);
	case XR_OP_FSYNC:
		entry = sim__log_add(disk, SIM_LOG_FLUSH, 0, 0, false);
		entry->is_void = disk->opts.drops_flush;
		return entry;
	default:
		return NULL;
	}
}

/* Less than `len`, in whole units; at least `min` units where there are so many. */
static uint64_t cut(struct sim_disk *disk, uint64_t len, uint64_t unit, uint64_t min)
{
	uint64_t count = (len + unit - 1) / unit;

	return count <= 1 ? len * min : sim__between(disk->host->sim, min, count - 1) * unit;
}

static void apply_fault(struct sim_disk *disk, struct sim_op *sop, const struct sim_fault *fault)
{
	const struct sim_disk_opts *opts = &disk->opts;
	struct sim_log_entry *entry = sop->entry;
	bool is_write = entry != NULL && entry->kind == SIM_LOG_WRITE;
	int error = fault->error != 0 ? fault->error : -EIO;
	uint64_t unit;

	switch (fault->kind) {
	case SIM_FAULT_PARTIAL:
	case SIM_FAULT_ERROR:
		sop->result = error;
		if (entry != NULL) {
			entry->is_dsync = false;
			entry->len = is_write && fault->kind == SIM_FAULT_PARTIAL
					     ? cut(disk, entry->len, opts->sector_bytes, 0)
					     : 0;
			entry->is_void = entry->len == 0;
		}
		break;
	case SIM_FAULT_SHORT:
		unit = opts->block_size > opts->direct_align ? opts->block_size
							     : opts->direct_align;
		if (is_write) {
			entry->len = cut(disk, entry->len, unit, 1);
			sop->result = (int32_t)entry->len;
		} else if (entry == NULL) {
			sop->done_bytes = cut(disk, sop->done_bytes, unit, 1);
		}
		break;
	case SIM_FAULT_FLIP:
		sop->is_flipped = true;
		break;
	case SIM_FAULT_HANG:
		break;
	}
}

void sim__disk_start(struct sim_file *file, struct sim_op *sop)
{
	struct sim_disk *disk = file->disk;
	const struct xr_op *op = sop->op;
	const struct sim_fault *fault;
	uint64_t len;
	int rc = check(file, op, &len);

	if (rc != 0) {
		sim__op_complete(sop, rc);
		return;
	}
	sop->done_bytes = len;
	sop->entry = enter_in_log(disk, op, len);
	if (sop->entry != NULL) {
		sop->entry->sop = sop;
		sop->entry->is_void |= sop->entry->kind != SIM_LOG_FLUSH && len == 0;
	}
	sop->result = op->opcode == XR_OP_WRITE ? (int32_t)len : 0;
	fault = find_fault(disk, op, len);
	if (fault != NULL) {
		apply_fault(disk, sop, fault);
		sim__trace(disk->host->sim, "fault", sop->id, fault->kind, 0, 0);
		if (fault->kind == SIM_FAULT_HANG) {
			xu_list_add_tail(&disk->hanging, &sop->link);
			return;
		}
	}
	set_off(disk, sop);
}

/* What the disk has not begun can sometimes be taken back; what hangs never. */
void sim__disk_cancel(struct sim_disk *disk, struct sim_op *sop)
{
	bool is_hanging = !sim__event_is_queued(&sop->event);

	if (is_hanging || sop->event.fn != on_effect || sim__one_in(disk->host->sim, 2)) {
		return;
	}
	if (sop->entry != NULL) {
		sop->entry->is_void = true;
		sim__log_complete(disk, sop->entry, -ECANCELED);
	}
	sim__op_complete(sop, -ECANCELED);
}

void sim_disk_release(struct sim_disk *disk)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&disk->hanging)) != NULL) {
		set_off(disk, xu_list_entry(node, struct sim_op, link));
	}
}

/* ---- calls that block ---- */

static void do_now(struct sim_disk *disk, struct sim_log_entry *entry)
{
	sim__log_apply(disk, entry);
	sim__log_complete(disk, entry, 0);
	sim__trace(disk->host->sim, "call", entry->kind, entry->offset, entry->len, 0);
}

int sim__disk_zero_now(struct sim_disk *disk, uint64_t offset, uint64_t len, bool is_punched)
{
	uint64_t size = sim_image_size(disk->content);

	if (len == 0 || offset >= size || len > size - offset) {
		return -EINVAL;
	}
	do_now(disk,
		sim__log_add(disk, is_punched ? SIM_LOG_PUNCH : SIM_LOG_ZERO, offset, len, false));
	return 0;
}

void sim__disk_resize_now(struct sim_disk *disk, uint64_t size_bytes)
{
	do_now(disk, sim__log_add(disk, SIM_LOG_RESIZE, size_bytes, 0, false));
}

void sim__disk_sync_now(struct sim_disk *disk)
{
	struct sim_log_entry *entry = sim__log_add(disk, SIM_LOG_FLUSH, 0, 0, false);

	entry->is_void = disk->opts.drops_flush;
	sim__log_complete(disk, entry, 0);
	sim__trace(disk->host->sim, "call", entry->kind, 0, 0, 0);
}

/* ---- the end of power, or of the host ---- */

static struct sim_op *first_of(struct xu_list *list)
{
	struct xu_list *node = xu_list_first(list);

	return node != NULL ? xu_list_entry(node, struct sim_op, link) : NULL;
}

static struct sim_op *first_pending(struct sim_disk *disk)
{
	struct sim_op *sop = first_of(&disk->inflight);

	return sop != NULL ? sop : first_of(&disk->hanging);
}

void sim_disk_power_fail(struct sim_disk *disk, const struct sim_crash *crash)
{
	struct sim_image *image = sim_disk_crash_image(disk, disk->point, crash);
	struct sim_op *sop;

	while ((sop = first_pending(disk)) != NULL) {
		if (sop->entry != NULL) {
			sop->entry->sop = NULL;
		}
		if (sim__host_has_ended(disk->host)) {
			sim__op_orphan(sop);
		} else {
			sim__op_complete(sop, -EIO);
		}
	}
	sim__trace(disk->host->sim, "power_fail", disk->point, sim_image_hash(image), 0, 0);
	sim_disk_set_image(disk, image);
}

void sim__disk_settle(struct sim_disk *disk)
{
	struct sim_op *sop;

	while ((sop = first_pending(disk)) != NULL) {
		struct sim_log_entry *entry = sop->entry;

		if (entry != NULL) {
			bool is_applied = entry->applied != SIM_NEVER;

			sim__log_capture(disk, entry);
			if (!is_applied && !entry->is_void && entry->kind != SIM_LOG_FLUSH &&
				sim__one_in(disk->host->sim, 2)) {
				sim__log_apply(disk, entry);
				is_applied = true;
			}
			sim__log_complete(disk, entry, is_applied ? 0 : -ECANCELED);
		}
		sim__op_orphan(sop);
	}
}

/* ---- disks ---- */

struct sim_disk *sim_disk_new(
	struct sim_host *host, const char *path, const struct sim_disk_opts *opts)
{
	struct sim_disk *disk = sim__alloc(sizeof(*disk));

	assert(sim_disk_find(host, path) == NULL);
	disk->host = host;
	disk->path = strdup(path);
	if (disk->path == NULL) {
		abort();
	}
	if (opts != NULL) {
		disk->opts = *opts;
	}
	if (disk->opts.block_size == 0) {
		disk->opts.block_size = 512;
	}
	if (disk->opts.direct_align == 0) {
		disk->opts.direct_align = disk->opts.block_size;
	}
	if (disk->opts.sector_bytes == 0) {
		disk->opts.sector_bytes = 512;
	}
	disk->base = sim_image_new(disk->opts.size_bytes);
	disk->content = sim_image_clone(disk->base);
	xu_list_init(&disk->inflight);
	xu_list_init(&disk->hanging);
	xu_list_add_tail(&host->disks, &disk->link);
	return disk;
}

void sim__disk_free(struct sim_disk *disk)
{
	sim__log_clear(disk);
	free(disk->log);
	free(disk->applied);
	sim_image_free(disk->base);
	sim_image_free(disk->content);
	xu_list_del(&disk->link);
	free(disk->path);
	free(disk);
}

void sim__disk_move(struct sim_disk *disk, struct sim_host *host)
{
	disk->host = host;
	disk->nr_exclusive = 0;
	disk->nr_shared = 0;
	xu_list_del(&disk->link);
	xu_list_add_tail(&host->disks, &disk->link);
}

struct sim_disk *sim_disk_find(struct sim_host *host, const char *path)
{
	struct xu_list *node;

	xu_list_for_each (node, &host->disks) {
		struct sim_disk *disk = xu_list_entry(node, struct sim_disk, link);

		if (strcmp(disk->path, path) == 0) {
			return disk;
		}
	}
	return NULL;
}

const struct sim_disk_opts *sim_disk_opts(const struct sim_disk *disk)
{
	return &disk->opts;
}

const struct sim_image *sim_disk_content(const struct sim_disk *disk)
{
	return disk->content;
}

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len)
{
	sim_image_read(disk->content, offset, buf, len);
}

void sim_disk_write(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len)
{
	struct sim_log_entry *entry = sim__log_add(disk, SIM_LOG_WRITE, offset, len, true);

	entry->data = sim__alloc(len);
	memcpy(entry->data, buf, len);
	do_now(disk, entry);
}

void sim_disk_set_image(struct sim_disk *disk, struct sim_image *image)
{
	assert(xu_list_is_empty(&disk->inflight) && xu_list_is_empty(&disk->hanging));
	sim__log_clear(disk);
	sim_image_free(disk->base);
	sim_image_free(disk->content);
	disk->base = image;
	disk->content = sim_image_clone(image);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The super block between the disk and the rest of lib/xbdev/lvol. Parsing checks in this order:
 * the device, the signature, the version, the checksum, the kind of store, then every number. A
 * number that would lead out of the device or let one part of the metadata lie over another makes
 * the store unusable; the sentence says which.
 */
#include "lib/xbdev/lvol/super.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/xbdev/lvol/ondisk.h"

#define DAMAGED "the store is damaged, or this is not the device it was made on"

static bool is_page_size(uint32_t bytes)
{
	return bytes >= XBDEV_LVS_PAGE_BYTES && bytes <= 65536 && (bytes & (bytes - 1)) == 0;
}

uint32_t xbdev__lvs_mask_slots(uint64_t nr_bits, uint32_t page_size)
{
	uint64_t bytes = sizeof(struct bs_mask) + (nr_bits + 7) / 8;

	return (uint32_t)((bytes + page_size - 1) / page_size);
}

bool xbdev__lvs_super_has_masks(const struct xbdev_lvs_super *super)
{
	uint32_t for_pages = xbdev__lvs_mask_slots(super->md_len, super->page_size);

	return super->page_mask_len >= for_pages && super->blobid_mask_len >= for_pages &&
	       super->cluster_mask_len >=
		       xbdev__lvs_mask_slots(super->nr_clusters, super->page_size);
}

/* ---- from disk ---- */

/*
 * Whether the checksum is that of the other value of `clean`: the write that changed it was cut off
 * between the sectors of the one and of the other. All else is the same in both.
 */
static bool is_torn(const struct bs_super *disk)
{
	struct bs_super other = *disk;

	other.clean = htole32(le32toh(disk->clean) == 0);
	return xu_crc32c(&other, offsetof(struct bs_super, crc)) == le32toh(disk->crc);
}

static int check_whole(const struct bs_super *disk, uint64_t dev_bytes, struct xu_error *err)
{
	uint32_t version = le32toh(disk->version), crc;

	if (dev_bytes < XBDEV_LVS_DEV_MIN) {
		return xu_error_set(err, -ENOSPC,
			"a device of %" PRIu64 " bytes is too small for a store of volumes",
			dev_bytes);
	}
	if (memcmp(disk->signature, BS_SIGNATURE, sizeof(disk->signature)) != 0) {
		return xu_error_set(err, -ENOENT, "there is no store of volumes on the device");
	}
	if (version < 1 || version > BS_VERSION) {
		return xu_error_set(err, -EILSEQ,
			"the super block is of version %" PRIu32
			"; versions 1 to %u are known: the store was made by a newer program",
			version, BS_VERSION);
	}
	crc = xu_crc32c(disk, offsetof(struct bs_super, crc));
	if (crc != le32toh(disk->crc) && !is_torn(disk)) {
		return xu_error_set(err, -EILSEQ,
			"the checksum in the super block is %08" PRIx32
			", its bytes give %08" PRIx32 ": it is damaged",
			le32toh(disk->crc), crc);
	}
	if (strncmp(disk->bstype, BS_TYPE, sizeof(disk->bstype)) != 0) {
		return xu_error_set(err, -ENXIO,
			"the store is of another kind (%.16s), it holds no volumes", disk->bstype);
	}
	return 0;
}

static int check_sizes(
	const struct xbdev_lvs_super *super, uint64_t dev_bytes, struct xu_error *err)
{
	if (!is_page_size(super->page_size)) {
		return xu_error_set(err, -EILSEQ,
			"the super block has metadata pages of %" PRIu32
			" bytes; there should be a power of two, 4096 to 65536: " DAMAGED,
			super->page_size);
	}
	if (super->cluster_size % XBDEV_LVS_PAGE_BYTES != 0 ||
		super->cluster_size < super->page_size) {
		return xu_error_set(err, -EILSEQ,
			"the super block has clusters of %" PRIu32
			" bytes; there should be a multiple of 4096 and a page at least: " DAMAGED,
			super->cluster_size);
	}
	if (super->io_unit_size < 512 || super->cluster_size % super->io_unit_size != 0) {
		return xu_error_set(err, -EILSEQ,
			"the super block has blocks of %" PRIu32
			" bytes, which do not fit into clusters of %" PRIu32 ": " DAMAGED,
			super->io_unit_size, super->cluster_size);
	}
	if (super->disk_size > dev_bytes) {
		return xu_error_set(err, -EILSEQ,
			"the store has %" PRIu64 " bytes, the device only %" PRIu64
			": it has shrunk, or this is a part of it",
			super->disk_size, dev_bytes);
	}
	if (super->size_bytes / super->cluster_size >= UINT32_MAX - 1) {
		return xu_error_set(err, -EILSEQ,
			"the store would have more clusters than their numbers: " DAMAGED);
	}
	return 0;
}

static int check_layout(const struct xbdev_lvs_super *super, struct xu_error *err)
{
	const struct {
		const char *name;
		uint64_t start, len;
	} parts[] = {
		{"mask of metadata pages", super->page_mask_start, super->page_mask_len},
		{"mask of clusters", super->cluster_mask_start, super->cluster_mask_len},
		{"mask of volumes", super->blobid_mask_start, super->blobid_mask_len},
		{"metadata", super->md_start, super->md_len},
	};
	uint64_t end = 1, nr_slots = super->size_bytes / super->page_size;

	for (uint32_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (parts[i].len == 0 && i != 3) {
			continue;
		}
		if (parts[i].start < end || parts[i].start + parts[i].len > nr_slots ||
			parts[i].len == 0) {
			return xu_error_set(err, -EILSEQ,
				"the super block puts the %s on pages %" PRIu64 " and %" PRIu64
				" more, which is off the device or over something else: " DAMAGED,
				parts[i].name, parts[i].start, parts[i].len);
		}
		end = parts[i].start + parts[i].len;
	}
	if (super->nr_md_clusters > super->nr_clusters || super->md_len == UINT32_MAX) {
		return xu_error_set(err, -EILSEQ,
			"the metadata needs %" PRIu32 " clusters, the store has %" PRIu32
			": " DAMAGED,
			super->nr_md_clusters, super->nr_clusters);
	}
	return 0;
}

static void derive(struct xbdev_lvs_super *super, uint64_t dev_bytes)
{
	uint64_t md_end = (uint64_t)super->md_start + super->md_len;
	uint64_t per_cluster = super->cluster_size / super->page_size;
	uint64_t nr_md = (md_end + per_cluster - 1) / per_cluster;

	super->size_bytes = super->disk_size != 0 ? super->disk_size : dev_bytes;
	super->nr_clusters = (uint32_t)(super->size_bytes / super->cluster_size);
	super->nr_md_clusters = nr_md < UINT32_MAX ? (uint32_t)nr_md : UINT32_MAX;
}

static uint32_t or_default(uint32_t value)
{
	return value != 0 ? value : 4096;
}

int xbdev__lvs_super_parse(const void *bytes, uint64_t dev_bytes, struct xbdev_lvs_super *ret_super,
	struct xu_error *err)
{
	const struct bs_super *disk = bytes;
	struct xbdev_lvs_super super;
	int rc = check_whole(disk, dev_bytes, err);

	if (rc != 0) {
		return rc;
	}
	super = (struct xbdev_lvs_super){
		.is_clean = disk->clean != 0 && !is_torn(disk),
		.super_blob = le64toh(disk->super_blob),
		.cluster_size = le32toh(disk->cluster_size),
		.page_size = or_default(le32toh(disk->md_page_size)),
		.io_unit_size = or_default(le32toh(disk->io_unit_size)),
		.disk_size = le64toh(disk->size),
		.page_mask_start = le32toh(disk->used_page_mask_start),
		.page_mask_len = le32toh(disk->used_page_mask_len),
		.cluster_mask_start = le32toh(disk->used_cluster_mask_start),
		.cluster_mask_len = le32toh(disk->used_cluster_mask_len),
		.blobid_mask_start = le32toh(disk->used_blobid_mask_start),
		.blobid_mask_len = le32toh(disk->used_blobid_mask_len),
		.md_start = le32toh(disk->md_start),
		.md_len = le32toh(disk->md_len),
	};
	super.size_bytes = super.disk_size != 0 ? super.disk_size : dev_bytes;
	rc = check_sizes(&super, dev_bytes, err);
	if (rc == 0) {
		derive(&super, dev_bytes);
		rc = check_layout(&super, err);
	}
	if (rc == 0) {
		*ret_super = super;
	}
	return rc;
}

/* ---- to disk ---- */

void xbdev__lvs_super_format(const struct xbdev_lvs_super *super, void *bytes)
{
	struct bs_super *disk = bytes;
	bool is_new = disk->version == 0;

	if (is_new) {
		memcpy(disk->signature, BS_SIGNATURE, sizeof(disk->signature));
		disk->version = htole32(BS_VERSION);
		disk->length = htole32(sizeof(*disk));
		memcpy(disk->bstype, BS_TYPE, sizeof(BS_TYPE));
	}
	disk->clean = htole32(super->is_clean);
	disk->super_blob = htole64(super->super_blob);
	disk->cluster_size = htole32(super->cluster_size);
	disk->used_page_mask_start = htole32(super->page_mask_start);
	disk->used_page_mask_len = htole32(super->page_mask_len);
	disk->used_cluster_mask_start = htole32(super->cluster_mask_start);
	disk->used_cluster_mask_len = htole32(super->cluster_mask_len);
	disk->used_blobid_mask_start = htole32(super->blobid_mask_start);
	disk->used_blobid_mask_len = htole32(super->blobid_mask_len);
	disk->md_start = htole32(super->md_start);
	disk->md_len = htole32(super->md_len);
	disk->size = htole64(super->disk_size);
	/* Old stores have zeroes here; they stay, as an old program may look at them. */
	if (is_new || disk->io_unit_size != 0) {
		disk->io_unit_size = htole32(super->io_unit_size);
	}
	if (is_new || disk->md_page_size != 0) {
		disk->md_page_size = htole32(super->page_size);
	}
	disk->crc = htole32(xu_crc32c(disk, offsetof(struct bs_super, crc)));
}

/* ---- a layout ---- */

static int check_opts(const struct xbdev_lvs_super_opts *opts, const struct xbdev_lvs_super *super,
	struct xu_error *err)
{
	if (!is_page_size(super->page_size) || super->page_size % opts->block_size != 0) {
		return xu_error_set(err, -EINVAL,
			"metadata pages of %" PRIu32
			" bytes cannot be; choose a power of two, 4096 to 65536",
			super->page_size);
	}
	if (super->cluster_size % XBDEV_LVS_PAGE_BYTES != 0 ||
		super->cluster_size < super->page_size ||
		super->cluster_size % opts->block_size != 0) {
		return xu_error_set(err, -EINVAL,
			"clusters of %" PRIu32
			" bytes cannot be; choose a multiple of 4096 that is not smaller than a "
			"metadata page (%" PRIu32 ")",
			super->cluster_size, super->page_size);
	}
	if (opts->dev_bytes < XBDEV_LVS_DEV_MIN) {
		return xu_error_set(err, -ENOSPC,
			"a device of %" PRIu64 " bytes is too small for a store of volumes",
			opts->dev_bytes);
	}
	if (opts->dev_bytes / super->cluster_size >= UINT32_MAX - 1) {
		return xu_error_set(err, -EINVAL,
			"clusters of %" PRIu32 " bytes are too small for a device of %" PRIu64
			"; choose larger ones",
			super->cluster_size, opts->dev_bytes);
	}
	return 0;
}

static int lay_out(struct xbdev_lvs_super *super, uint64_t md_len, struct xu_error *err)
{
	uint32_t for_pages = xbdev__lvs_mask_slots(md_len, super->page_size);
	uint32_t reserve;

	super->md_len = (uint32_t)md_len;
	super->page_mask_start = 1;
	super->page_mask_len = for_pages;
	super->cluster_mask_start = super->page_mask_start + super->page_mask_len;
	super->cluster_mask_len = xbdev__lvs_mask_slots(super->nr_clusters, super->page_size);
	reserve = super->cluster_mask_len > for_pages ? super->cluster_mask_len : for_pages;
	super->blobid_mask_start = super->cluster_mask_start + reserve;
	super->blobid_mask_len = for_pages;
	super->md_start = super->blobid_mask_start + super->blobid_mask_len;
	derive(super, super->size_bytes);
	if (md_len == 0 || super->nr_md_clusters > super->nr_clusters) {
		return xu_error_set(err, -ENOSPC,
			"the metadata of %" PRIu64 " pages does not fit into %" PRIu32
			" clusters of %" PRIu32
			" bytes; choose larger clusters or a lower metadata ratio",
			md_len, super->nr_clusters, super->cluster_size);
	}
	return 0;
}

int xbdev__lvs_super_plan(const struct xbdev_lvs_super_opts *opts,
	struct xbdev_lvs_super *ret_super, struct xu_error *err)
{
	uint32_t ratio = opts->md_ratio != 0 ? opts->md_ratio : XBDEV_LVS_MD_RATIO_DEFAULT;
	struct xbdev_lvs_super super = {
		.super_blob = XBDEV_LVS_NO_BLOB,
		.cluster_size =
			opts->cluster_size != 0 ? opts->cluster_size : XBDEV_LVS_CLUSTER_DEFAULT,
		.page_size = opts->page_size != 0 ? opts->page_size : XBDEV_LVS_PAGE_BYTES,
		.io_unit_size = opts->block_size,
		.disk_size = opts->dev_bytes,
		.size_bytes = opts->dev_bytes,
	};
	uint64_t md_len;
	int rc = check_opts(opts, &super, err);

	if (rc != 0) {
		return rc;
	}
	super.nr_clusters = (uint32_t)(super.size_bytes / super.cluster_size);
	md_len = (uint64_t)super.nr_clusters * ratio / 100;
	if (md_len >= UINT32_MAX - 1) {
		return xu_error_set(err, -EINVAL,
			"a metadata ratio of %" PRIu32 " gives too many pages; choose a lower one",
			ratio);
	}
	rc = lay_out(&super, md_len, err);
	if (rc == 0) {
		*ret_super = super;
	}
	return rc;
}

int xbdev__lvs_super_grow(const struct xbdev_lvs_super *super, uint64_t dev_bytes,
	struct xbdev_lvs_super *ret_super, struct xu_error *err)
{
	struct xbdev_lvs_super grown = *super;
	uint32_t room = (super->blobid_mask_len != 0 ? super->blobid_mask_start : super->md_start) -
			super->cluster_mask_start;
	uint64_t nr_clusters = dev_bytes / super->cluster_size;

	if (nr_clusters <= super->nr_clusters) {
		return xu_error_set(err, -EINVAL,
			"the device has not grown by a cluster of %" PRIu32 " bytes",
			super->cluster_size);
	}
	if (nr_clusters >= UINT32_MAX - 1 ||
		xbdev__lvs_mask_slots(nr_clusters, super->page_size) > room) {
		return xu_error_set(err, -ENOSPC,
			"the store cannot grow to %" PRIu64
			" clusters: the room for their mask is %" PRIu32
			" pages; make a new store and move the volumes",
			nr_clusters, room);
	}
	grown.disk_size = dev_bytes;
	grown.cluster_mask_len = xbdev__lvs_mask_slots(nr_clusters, super->page_size);
	derive(&grown, dev_bytes);
	*ret_super = grown;
	return 0;
}

/* ---- the spare one ---- */

bool xbdev__lvs_super_spare_at(const void *bytes, uint64_t *ret_at)
{
	const struct bs_super *disk = bytes;
	uint32_t page_size = or_default(le32toh(disk->md_page_size));

	*ret_at = (uint64_t)le32toh(disk->used_page_mask_start) * page_size;
	return memcmp(disk->signature, BS_SIGNATURE, sizeof(disk->signature)) == 0 &&
	       is_page_size(page_size) && le32toh(disk->used_page_mask_start) == 1;
}

/* What growing does not change. */
static struct bs_super fixed_part(const struct bs_super *disk)
{
	struct bs_super fixed = *disk;

	fixed.clean = 0;
	fixed.size = 0;
	fixed.used_cluster_mask_len = 0;
	fixed.crc = 0;
	return fixed;
}

bool xbdev__lvs_super_restore(void *bytes, const void *spare)
{
	const struct bs_super *whole = spare;
	const struct bs_super ours = fixed_part(bytes), theirs = fixed_part(spare);

	if (xu_crc32c(whole, offsetof(struct bs_super, crc)) != le32toh(whole->crc) ||
		whole->clean != 0 || memcmp(&ours, &theirs, sizeof(ours)) != 0) {
		return false;
	}
	memcpy(bytes, spare, sizeof(ours));
	return true;
}

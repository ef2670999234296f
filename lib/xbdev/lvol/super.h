/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: the super block of a store in the machine's own byte order, its way
 * from and to the 4096 bytes on disk, and the arithmetic of a store's layout. What it says has been
 * bounded by the device: masks and metadata lie before the first data cluster, in this order, and
 * none of them over another.
 */
#ifndef XBDEV_LVOL_SUPER_H
#define XBDEV_LVOL_SUPER_H

#include <stdbool.h>
#include <stdint.h>

struct xu_error;

#define XBDEV_LVS_PAGE_BYTES       4096u /* of a super block or metadata page, whatever its slot */
#define XBDEV_LVS_DEV_MIN          (1u << 20)
#define XBDEV_LVS_CLUSTER_DEFAULT  (4u << 20)
#define XBDEV_LVS_MD_RATIO_DEFAULT 100u /* md pages per 100 clusters */
#define XBDEV_LVS_NO_PAGE          UINT32_MAX
#define XBDEV_LVS_NO_BLOB          UINT64_MAX
#define XBDEV_LVS_ID_BASE          (UINT64_C(1) << 32) /* blob id = this + the root's page */

struct xbdev_lvs_super {
	bool is_clean;
	uint64_t super_blob;
	uint32_t cluster_size;
	uint32_t page_size;    /* of a slot */
	uint32_t io_unit_size; /* block size of the volumes, as recorded */
	uint64_t disk_size;    /* as recorded; 0: the whole device */
	/* In slots from the start of the device. */
	uint32_t page_mask_start, page_mask_len;
	uint32_t cluster_mask_start, cluster_mask_len;
	uint32_t blobid_mask_start, blobid_mask_len; /* len 0: there is none */
	uint32_t md_start, md_len;
	/* From the above. */
	uint64_t size_bytes;     /* of the device that the store uses */
	uint32_t nr_clusters;    /* T */
	uint32_t nr_md_clusters; /* M: clusters 0 .. M-1 hold all that is above */
};

struct xbdev_lvs_super_opts {
	uint64_t dev_bytes;
	uint32_t block_size;
	uint32_t cluster_size; /* 0: 4 MiB */
	uint32_t md_ratio;     /* md pages per 100 clusters; 0: 100 */
	uint32_t page_size;    /* 0: 4096 */
};

/*
 * Reads a super block. -ENOENT: there is none (no signature); -EILSEQ with a sentence: version,
 * checksum, a layout that is impossible or larger than the device; -ENXIO: a blobstore of another
 * kind; -ENOSPC: the device is smaller than any store. *ret_super is written only on success.
 */
int xbdev__lvs_super_parse(const void *bytes, uint64_t dev_bytes, struct xbdev_lvs_super *ret_super,
	struct xu_error *err);

/* Puts the fields and the checksum into a super block of 4096 bytes: zeroes for a new store, else
 * what was read, whose version and fields that nobody knows stay. */
void xbdev__lvs_super_format(const struct xbdev_lvs_super *super, void *bytes);

/* The layout of a new store, as SPDK would choose it; not clean, without a super blob. -EINVAL for
 * sizes that cannot be, -ENOSPC when the metadata would need the whole device. */
int xbdev__lvs_super_plan(const struct xbdev_lvs_super_opts *opts,
	struct xbdev_lvs_super *ret_super, struct xu_error *err);

/*
 * What the super block says once the store has the whole of a larger device. -ENOSPC: the room for
 * the cluster mask does not suffice; -EINVAL: the device has not grown by a cluster.
 */
int xbdev__lvs_super_grow(const struct xbdev_lvs_super *super, uint64_t dev_bytes,
	struct xbdev_lvs_super *ret_super, struct xu_error *err);

/*
 * Growing changes fields in the first and the last sector of the super block, so it is written
 * elsewhere before: where the mask of pages is, which tells nothing while the store is not clean.
 * _spare_at() gives that place, false: it cannot be; _restore() puts the spare one in place of one
 * that is damaged, when it is whole and says the same but for the size.
 */
bool xbdev__lvs_super_spare_at(const void *bytes, uint64_t *ret_at);
bool xbdev__lvs_super_restore(void *bytes, const void *spare);

/* Whether all three masks are there and large enough for what they have to tell. */
bool xbdev__lvs_super_has_masks(const struct xbdev_lvs_super *super);

/* Slots that a mask of so many bits takes. */
uint32_t xbdev__lvs_mask_slots(uint64_t nr_bits, uint32_t page_size);

/* Byte of the device where an md page lies. */
static inline uint64_t xbdev__lvs_page_at(const struct xbdev_lvs_super *super, uint32_t page)
{
	return ((uint64_t)super->md_start + page) * super->page_size;
}

#endif

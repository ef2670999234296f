/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: the structures of SPDK's blobstore as they lie on a device, little
 * endian throughout and packed. Only the files that parse and format them include this. Masks and
 * metadata pages lie in slots of md_page_size bytes; the structures are 4096 bytes at the start of
 * their slot.
 */
#ifndef XBDEV_LVOL_ONDISK_H
#define XBDEV_LVOL_ONDISK_H

#include <stddef.h>
#include <stdint.h>

#define BS_SIGNATURE   "SPDKBLOB"
#define BS_VERSION     3u
#define BS_TYPE        "LVOLSTORE"
#define BS_NO_BLOB     UINT64_MAX
#define BS_BLOBID_BASE (UINT64_C(1) << 32)

/* ---- the super block ---- */

struct bs_super {
	uint8_t signature[8];
	uint32_t version;
	uint32_t length;
	uint32_t clean;
	uint64_t super_blob;
	uint32_t cluster_size;
	uint32_t used_page_mask_start;
	uint32_t used_page_mask_len;
	uint32_t used_cluster_mask_start;
	uint32_t used_cluster_mask_len;
	uint32_t md_start;
	uint32_t md_len;
	char bstype[16];
	uint32_t used_blobid_mask_start;
	uint32_t used_blobid_mask_len;
	uint64_t size;
	uint32_t io_unit_size;
	uint32_t md_page_size;
	uint8_t reserved[3996];
	uint32_t crc;
} __attribute__((packed));

_Static_assert(sizeof(struct bs_super) == 4096, "super block");
_Static_assert(offsetof(struct bs_super, version) == 8, "version");
_Static_assert(offsetof(struct bs_super, clean) == 16, "clean");
_Static_assert(offsetof(struct bs_super, super_blob) == 20, "super_blob");
_Static_assert(offsetof(struct bs_super, cluster_size) == 28, "cluster_size");
_Static_assert(offsetof(struct bs_super, used_page_mask_start) == 32, "used_page_mask_start");
_Static_assert(offsetof(struct bs_super, used_cluster_mask_start) == 40, "used_cluster_mask_start");
_Static_assert(offsetof(struct bs_super, md_start) == 48, "md_start");
_Static_assert(offsetof(struct bs_super, bstype) == 56, "bstype");
_Static_assert(offsetof(struct bs_super, used_blobid_mask_start) == 72, "used_blobid_mask_start");
_Static_assert(offsetof(struct bs_super, size) == 80, "size");
_Static_assert(offsetof(struct bs_super, io_unit_size) == 88, "io_unit_size");
_Static_assert(offsetof(struct bs_super, md_page_size) == 92, "md_page_size");
_Static_assert(offsetof(struct bs_super, crc) == 4092, "crc");

/* ---- masks: this, then the bits, the lowest first ---- */

enum bs_mask_type { BS_MASK_PAGES, BS_MASK_CLUSTERS, BS_MASK_BLOBIDS };

struct bs_mask {
	uint8_t type;
	uint32_t length; /* bits */
	uint8_t bits[];
} __attribute__((packed));
_Static_assert(sizeof(struct bs_mask) == 5, "mask");

/* ---- metadata pages ---- */

struct bs_page {
	uint64_t id;
	uint32_t sequence_num;
	uint32_t reserved;
	uint8_t descriptors[4072];
	uint32_t next;
	uint32_t crc;
} __attribute__((packed));
_Static_assert(sizeof(struct bs_page) == 4096, "page");
_Static_assert(offsetof(struct bs_page, descriptors) == 16, "descriptors");
_Static_assert(offsetof(struct bs_page, next) == 4088, "next");
_Static_assert(offsetof(struct bs_page, crc) == 4092, "page crc");

enum bs_descriptor_type {
	BS_DESC_PADDING = 0,
	BS_DESC_EXTENT_RLE = 1,
	BS_DESC_XATTR = 2,
	BS_DESC_FLAGS = 3,
	BS_DESC_XATTR_INTERNAL = 4,
	BS_DESC_EXTENT_TABLE = 5,
	BS_DESC_EXTENT_PAGE = 6,
};

struct bs_descriptor {
	uint8_t type;
	uint32_t length; /* of what follows */
} __attribute__((packed));
_Static_assert(sizeof(struct bs_descriptor) == 5, "descriptor");

struct bs_pair {
	uint32_t first; /* cluster, or md page; 0: none */
	uint32_t count;
} __attribute__((packed));
_Static_assert(sizeof(struct bs_pair) == 8, "pair");

struct bs_flags {
	uint64_t invalid;
	uint64_t data_ro;
	uint64_t md_ro;
} __attribute__((packed));
_Static_assert(sizeof(struct bs_flags) == 24, "flags");

struct bs_xattr {
	uint16_t name_len;
	uint16_t value_len;
	uint8_t bytes[]; /* name, value */
} __attribute__((packed));
_Static_assert(sizeof(struct bs_xattr) == 4, "xattr");

#endif

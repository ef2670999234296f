/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: one metadata page of 4096 bytes and the descriptors in it, read and
 * written. What a page means for its volume is chain.h's business.
 *
 * A page that is to be written in place where a write can tear is first written as a copy to
 * another page (write.c). The copy has the page's content under a mark of our own in a field that
 * is otherwise zero, and in place of its sequence number 1 + the page it is for: no program takes
 * it for a root, a chain page or an extent page.
 */
#ifndef XBDEV_LVOL_PAGE_H
#define XBDEV_LVOL_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/xbdev/lvol/super.h"

struct xu_error;

#define XBDEV_LVS_LEAF_CLUSTERS 512u /* entries of a full extent page */

struct xbdev_lvs_page {
	uint64_t id;
	uint32_t sequence;
	uint32_t next; /* XBDEV_LVS_NO_PAGE: the last of its chain */
};

/* The header of a page whose checksum is right; false: it is not, all zeroes for one. */
bool xbdev__lvs_page_parse(const void *bytes, struct xbdev_lvs_page *ret_page);

/* Whether these are the bytes of page number `page` as the root of a volume. */
bool xbdev__lvs_page_is_root(const void *bytes, uint32_t page);
/* Whether they once were: the first bytes say so, but the checksum is wrong. */
bool xbdev__lvs_page_was_root(const void *bytes, uint32_t page);

/* ---- descriptors ---- */

enum xbdev_lvs_desc_kind {
	XBDEV_LVS_DESC_END,
	XBDEV_LVS_DESC_RLE,
	XBDEV_LVS_DESC_XATTR,
	XBDEV_LVS_DESC_XATTR_INTERNAL,
	XBDEV_LVS_DESC_FLAGS,
	XBDEV_LVS_DESC_TABLE,
	XBDEV_LVS_DESC_EXTENTS, /* the one of an extent page */
	XBDEV_LVS_DESC_UNKNOWN,
};

struct xbdev_lvs_desc {
	enum xbdev_lvs_desc_kind kind;
	uint8_t type; /* as on disk */
	union {
		struct {
			uint64_t invalid, data_ro, md_ro;
		} flags;
		struct {
			const void *name, *value; /* in the page's bytes */
			uint16_t name_len, value_len;
		} xattr;
		struct {
			uint64_t nr_clusters;   /* TABLE only */
			uint32_t first_cluster; /* EXTENTS only */
			const void *items;      /* pairs, or single numbers for EXTENTS */
			uint32_t nr_items;
		} extents;
	};
};

/* The descriptor at byte *at of the descriptors (0 to begin with), which is moved behind it;
 * padding is passed over. -EILSEQ with a sentence when it would not fit into the page or its
 * lengths contradict each other. */
int xbdev__lvs_desc_next(
	const void *page, uint32_t *at, struct xbdev_lvs_desc *ret_desc, struct xu_error *err);

struct xbdev_lvs_pair {
	uint32_t first, count;
};
struct xbdev_lvs_pair xbdev__lvs_desc_pair(const struct xbdev_lvs_desc *desc, uint32_t index);
uint32_t xbdev__lvs_desc_number(const struct xbdev_lvs_desc *desc, uint32_t index);

/*
 * The extent page of the clusters from first_cluster on: -EILSEQ unless it is whole, the only
 * descriptor says so, and it has no more than XBDEV_LVS_LEAF_CLUSTERS entries. The owner that it
 * names may be another volume.
 */
int xbdev__lvs_extents_parse(const void *page, uint32_t first_cluster,
	struct xbdev_lvs_desc *ret_desc, struct xu_error *err);

/* ---- to disk ---- */

#define XBDEV_LVS_DESC_BYTES 4072u /* room for descriptors in a page */

/* Zeroes, then the header. */
void xbdev__lvs_page_begin(void *bytes, uint64_t id, uint32_t sequence);
/* Appends at byte *at, which is moved; the room must be there (asserted). */
void xbdev__lvs_put_flags(
	void *page, uint32_t *at, uint64_t invalid, uint64_t data_ro, uint64_t md_ro);
void xbdev__lvs_put_xattr(void *page, uint32_t *at, bool is_internal, const void *name,
	uint16_t name_len, const void *value, uint16_t value_len);
/* Bytes of the descriptor that holds it. */
static inline uint32_t xbdev__lvs_xattr_bytes(uint32_t name_len, uint32_t value_len)
{
	return 9 + name_len + value_len;
}
/* An empty list of pairs (a table has nr_clusters in it too), and pairs behind it: the descriptor
 * that begins at `begun` grows. */
#define XBDEV_LVS_RLE_BYTES   5u /* of an empty one */
#define XBDEV_LVS_TABLE_BYTES 13u
#define XBDEV_LVS_PAIR_BYTES  8u
void xbdev__lvs_put_rle(void *page, uint32_t *at);
void xbdev__lvs_put_table(void *page, uint32_t *at, uint64_t nr_clusters);
void xbdev__lvs_put_pair(void *page, uint32_t *at, uint32_t begun, struct xbdev_lvs_pair pair);
/* Next page and checksum. */
void xbdev__lvs_page_end(void *bytes, uint32_t next);

/* A whole extent page. */
void xbdev__lvs_extents_format(void *bytes, uint64_t id, uint32_t first_cluster,
	const uint32_t *clusters, uint32_t nr_clusters);

/* ---- copies ---- */

/* Makes of a page's bytes (all zeroes: it is to be erased) a copy for page number `page`. */
void xbdev__lvs_copy_format(const void *bytes, uint32_t page, void *ret_copy);
/* Whether these bytes are such a copy; if so, for which page, and its bytes, zeroes if it is to be
 * erased. */
bool xbdev__lvs_copy_parse(const void *copy, uint32_t *ret_page, void *ret_bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See page.h. A page is 16 bytes of header, descriptors of {type, length, body} back to back, the
 * number of the next page and the checksum. A descriptor of type 0 and length 0, or too little room
 * for another, ends the page. All lengths are checked against the page before anything is read.
 */
#include "lib/xbdev/lvol/page.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/xbdev/lvol/ondisk.h"

#define COPY_MARK  0x434d4c58u /* "XLMC": a copy */
#define ERASE_MARK 0x5a4d4c58u /* "XLMZ": the page is to be erased */

_Static_assert(XBDEV_LVS_DESC_BYTES == sizeof(((struct bs_page *)0)->descriptors), "room");

static bool is_whole(const struct bs_page *page)
{
	return xu_crc32c(page, offsetof(struct bs_page, crc)) == le32toh(page->crc);
}

bool xbdev__lvs_page_parse(const void *bytes, struct xbdev_lvs_page *ret_page)
{
	const struct bs_page *page = bytes;

	if (!is_whole(page)) {
		return false;
	}
	*ret_page = (struct xbdev_lvs_page){
		.id = le64toh(page->id),
		.sequence = le32toh(page->sequence_num),
		.next = le32toh(page->next),
	};
	return true;
}

static bool says_root(const struct bs_page *page, uint32_t number)
{
	return page->sequence_num == 0 && le64toh(page->id) == XBDEV_LVS_ID_BASE + number;
}

bool xbdev__lvs_page_is_root(const void *bytes, uint32_t page)
{
	return says_root(bytes, page) && is_whole(bytes);
}

bool xbdev__lvs_page_was_root(const void *bytes, uint32_t page)
{
	return says_root(bytes, page) && !is_whole(bytes);
}

/* ---- descriptors ---- */

static int parse_xattr(
	const uint8_t *body, uint32_t len, struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	const struct bs_xattr *xattr = (const void *)body;
	uint32_t name_len, value_len;

	if (len < sizeof(*xattr)) {
		return xu_error_set(
			err, -EILSEQ, "an attribute of %" PRIu32 " bytes has no name", len);
	}
	name_len = le16toh(xattr->name_len);
	value_len = le16toh(xattr->value_len);
	if (name_len == 0 || sizeof(*xattr) + name_len + value_len != len) {
		return xu_error_set(err, -EILSEQ,
			"an attribute of %" PRIu32 " bytes says that its name has %" PRIu32
			" and its value %" PRIu32,
			len, name_len, value_len);
	}
	desc->xattr.name = xattr->bytes;
	desc->xattr.name_len = (uint16_t)name_len;
	desc->xattr.value = xattr->bytes + name_len;
	desc->xattr.value_len = (uint16_t)value_len;
	return 0;
}

/* A head of head_bytes, then items of item_bytes each. */
static int parse_extents(const uint8_t *body, uint32_t len, uint32_t head_bytes,
	uint32_t item_bytes, struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	if (len < head_bytes || (len - head_bytes) % item_bytes != 0) {
		return xu_error_set(err, -EILSEQ,
			"a list of extents (type %u) cannot have %" PRIu32 " bytes", desc->type,
			len);
	}
	desc->extents.items = body + head_bytes;
	desc->extents.nr_items = (len - head_bytes) / item_bytes;
	return 0;
}

static int parse_body(
	const uint8_t *body, uint32_t len, struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	struct bs_flags flags;
	uint64_t nr_clusters = 0;
	uint32_t first = 0;
	int rc = 0;

	switch (desc->type) {
	case BS_DESC_XATTR:
	case BS_DESC_XATTR_INTERNAL:
		desc->kind = desc->type == BS_DESC_XATTR ? XBDEV_LVS_DESC_XATTR
							 : XBDEV_LVS_DESC_XATTR_INTERNAL;
		return parse_xattr(body, len, desc, err);
	case BS_DESC_FLAGS:
		desc->kind = XBDEV_LVS_DESC_FLAGS;
		if (len != sizeof(flags)) {
			return xu_error_set(
				err, -EILSEQ, "the flags have %" PRIu32 " bytes, not 24", len);
		}
		memcpy(&flags, body, sizeof(flags));
		desc->flags.invalid = le64toh(flags.invalid);
		desc->flags.data_ro = le64toh(flags.data_ro);
		desc->flags.md_ro = le64toh(flags.md_ro);
		return 0;
	case BS_DESC_EXTENT_RLE:
		desc->kind = XBDEV_LVS_DESC_RLE;
		return parse_extents(body, len, 0, sizeof(struct bs_pair), desc, err);
	case BS_DESC_EXTENT_TABLE:
		desc->kind = XBDEV_LVS_DESC_TABLE;
		rc = parse_extents(
			body, len, sizeof(nr_clusters), sizeof(struct bs_pair), desc, err);
		if (rc == 0) {
			memcpy(&nr_clusters, body, sizeof(nr_clusters));
			desc->extents.nr_clusters = le64toh(nr_clusters);
		}
		return rc;
	case BS_DESC_EXTENT_PAGE:
		desc->kind = XBDEV_LVS_DESC_EXTENTS;
		rc = parse_extents(body, len, sizeof(first), sizeof(uint32_t), desc, err);
		if (rc == 0) {
			memcpy(&first, body, sizeof(first));
			desc->extents.first_cluster = le32toh(first);
		}
		return rc;
	default:
		desc->kind = XBDEV_LVS_DESC_UNKNOWN;
		return 0;
	}
}

int xbdev__lvs_desc_next(
	const void *page, uint32_t *at, struct xbdev_lvs_desc *ret_desc, struct xu_error *err)
{
	const uint8_t *bytes = ((const struct bs_page *)page)->descriptors;
	struct xbdev_lvs_desc desc = {.kind = XBDEV_LVS_DESC_END};
	struct bs_descriptor head;
	int rc = 0;

	while (*at + sizeof(head) <= XBDEV_LVS_DESC_BYTES) {
		uint32_t len;

		memcpy(&head, bytes + *at, sizeof(head));
		len = le32toh(head.length);
		if (head.type == BS_DESC_PADDING && len == 0) {
			break;
		}
		if (len > XBDEV_LVS_DESC_BYTES - sizeof(head) - *at) {
			return xu_error_set(err, -EILSEQ,
				"a descriptor of type %u has %" PRIu32
				" bytes, more than are left in its page",
				head.type, len);
		}
		*at += (uint32_t)sizeof(head) + len;
		if (head.type != BS_DESC_PADDING) {
			desc.type = head.type;
			rc = parse_body(bytes + *at - len, len, &desc, err);
			break;
		}
	}
	if (rc == 0) {
		*ret_desc = desc;
	}
	return rc;
}

struct xbdev_lvs_pair xbdev__lvs_desc_pair(const struct xbdev_lvs_desc *desc, uint32_t index)
{
	struct bs_pair pair;

	assert(index < desc->extents.nr_items);
	memcpy(&pair, (const uint8_t *)desc->extents.items + index * sizeof(pair), sizeof(pair));
	return (struct xbdev_lvs_pair){le32toh(pair.first), le32toh(pair.count)};
}

uint32_t xbdev__lvs_desc_number(const struct xbdev_lvs_desc *desc, uint32_t index)
{
	uint32_t number;

	assert(index < desc->extents.nr_items);
	memcpy(&number, (const uint8_t *)desc->extents.items + index * sizeof(number),
		sizeof(number));
	return le32toh(number);
}

int xbdev__lvs_extents_parse(const void *page, uint32_t first_cluster,
	struct xbdev_lvs_desc *ret_desc, struct xu_error *err)
{
	struct xbdev_lvs_page header;
	struct xbdev_lvs_desc desc, more = {0};
	uint32_t at = 0;
	int rc;

	if (!xbdev__lvs_page_parse(page, &header)) {
		return xu_error_set(err, -EILSEQ, "its checksum is wrong");
	}
	if (header.sequence != 0 || header.next != XBDEV_LVS_NO_PAGE) {
		return xu_error_set(err, -EILSEQ, "it is part of a chain");
	}
	rc = xbdev__lvs_desc_next(page, &at, &desc, err);
	if (rc == 0) {
		rc = xbdev__lvs_desc_next(page, &at, &more, err);
	}
	if (rc != 0) {
		return rc;
	}
	if (desc.kind != XBDEV_LVS_DESC_EXTENTS || more.kind != XBDEV_LVS_DESC_END) {
		return xu_error_set(err, -EILSEQ, "it is no extent page");
	}
	if (desc.extents.first_cluster != first_cluster ||
		desc.extents.nr_items > XBDEV_LVS_LEAF_CLUSTERS) {
		return xu_error_set(err, -EILSEQ,
			"it is for %" PRIu32 " clusters from %" PRIu32
			" on; there should be at most %u, from %" PRIu32,
			desc.extents.nr_items, desc.extents.first_cluster, XBDEV_LVS_LEAF_CLUSTERS,
			first_cluster);
	}
	*ret_desc = desc;
	return 0;
}

/* ---- to disk ---- */

void xbdev__lvs_page_begin(void *bytes, uint64_t id, uint32_t sequence)
{
	struct bs_page *page = bytes;

	memset(page, 0, sizeof(*page));
	page->id = htole64(id);
	page->sequence_num = htole32(sequence);
}

/* Room for a descriptor, with its head written. */
static uint8_t *begin(void *page, uint32_t *at, uint8_t type, uint32_t len)
{
	uint8_t *to = ((struct bs_page *)page)->descriptors + *at;
	struct bs_descriptor head = {.type = type, .length = htole32(len)};

	assert(*at + sizeof(head) + len <= XBDEV_LVS_DESC_BYTES);
	memcpy(to, &head, sizeof(head));
	*at += (uint32_t)sizeof(head) + len;
	return to + sizeof(head);
}

void xbdev__lvs_put_flags(
	void *page, uint32_t *at, uint64_t invalid, uint64_t data_ro, uint64_t md_ro)
{
	const struct bs_flags flags = {htole64(invalid), htole64(data_ro), htole64(md_ro)};

	memcpy(begin(page, at, BS_DESC_FLAGS, sizeof(flags)), &flags, sizeof(flags));
}

void xbdev__lvs_put_xattr(void *page, uint32_t *at, bool is_internal, const void *name,
	uint16_t name_len, const void *value, uint16_t value_len)
{
	const struct bs_xattr head = {htole16(name_len), htole16(value_len)};
	uint8_t *to = begin(page, at, is_internal ? BS_DESC_XATTR_INTERNAL : BS_DESC_XATTR,
		(uint32_t)sizeof(head) + name_len + value_len);

	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), name, name_len);
	if (value_len != 0) {
		memcpy(to + sizeof(head) + name_len, value, value_len);
	}
}

void xbdev__lvs_put_rle(void *page, uint32_t *at)
{
	begin(page, at, BS_DESC_EXTENT_RLE, 0);
}

void xbdev__lvs_put_table(void *page, uint32_t *at, uint64_t nr_clusters)
{
	nr_clusters = htole64(nr_clusters);
	memcpy(begin(page, at, BS_DESC_EXTENT_TABLE, sizeof(nr_clusters)), &nr_clusters,
		sizeof(nr_clusters));
}

void xbdev__lvs_put_pair(void *page, uint32_t *at, uint32_t begun, struct xbdev_lvs_pair pair)
{
	uint8_t *descriptors = ((struct bs_page *)page)->descriptors;
	const struct bs_pair disk = {htole32(pair.first), htole32(pair.count)};
	struct bs_descriptor head;

	assert(*at + sizeof(disk) <= XBDEV_LVS_DESC_BYTES);
	memcpy(descriptors + *at, &disk, sizeof(disk));
	*at += (uint32_t)sizeof(disk);
	memcpy(&head, descriptors + begun, sizeof(head));
	head.length = htole32(*at - begun - (uint32_t)sizeof(head));
	memcpy(descriptors + begun, &head, sizeof(head));
}

void xbdev__lvs_page_end(void *bytes, uint32_t next)
{
	struct bs_page *page = bytes;

	page->next = htole32(next);
	page->crc = htole32(xu_crc32c(page, offsetof(struct bs_page, crc)));
}

void xbdev__lvs_extents_format(void *bytes, uint64_t id, uint32_t first_cluster,
	const uint32_t *clusters, uint32_t nr_clusters)
{
	uint32_t at = 0, first = htole32(first_cluster);
	uint8_t *to;

	xbdev__lvs_page_begin(bytes, id, 0);
	to = begin(bytes, &at, BS_DESC_EXTENT_PAGE,
		(uint32_t)(sizeof(first) + nr_clusters * sizeof(uint32_t)));
	memcpy(to, &first, sizeof(first));
	for (uint32_t i = 0; i < nr_clusters; i++) {
		uint32_t cluster = htole32(clusters[i]);

		memcpy(to + sizeof(first) + i * sizeof(cluster), &cluster, sizeof(cluster));
	}
	xbdev__lvs_page_end(bytes, XBDEV_LVS_NO_PAGE);
}

/* ---- copies ---- */

static bool is_erased(const void *bytes)
{
	static const uint8_t zeroes[XBDEV_LVS_PAGE_BYTES];

	return memcmp(bytes, zeroes, sizeof(zeroes)) == 0;
}

void xbdev__lvs_copy_format(const void *bytes, uint32_t page, void *ret_copy)
{
	struct bs_page *copy = ret_copy;

	memcpy(copy, bytes, sizeof(*copy));
	copy->reserved = htole32(is_erased(bytes) ? ERASE_MARK : COPY_MARK);
	copy->sequence_num = htole32(page + 1);
	copy->crc = htole32(xu_crc32c(copy, offsetof(struct bs_page, crc)));
}

bool xbdev__lvs_copy_parse(const void *copy, uint32_t *ret_page, void *ret_bytes)
{
	const struct bs_page *from = copy;
	struct bs_page *to = ret_bytes;
	uint32_t mark = le32toh(from->reserved), page = le32toh(from->sequence_num);

	if ((mark != COPY_MARK && mark != ERASE_MARK) || page == 0 || !is_whole(from)) {
		return false;
	}
	*ret_page = page - 1;
	memcpy(to, from, sizeof(*to));
	to->reserved = 0;
	to->sequence_num = 0;
	if (mark == ERASE_MARK) {
		memset(to, 0, sizeof(*to));
	} else {
		to->crc = htole32(xu_crc32c(to, offsetof(struct bs_page, crc)));
	}
	return true;
}

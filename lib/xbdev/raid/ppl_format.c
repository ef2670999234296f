/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The header of a partial parity log from and to its bytes. Whether its entries fit the array's
 * chunks and the log's area is for the replay to compare; here it is whole, ours, and no number in
 * it is out of all bounds.
 */
#include "lib/xbdev/raid/ppl_format.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/ondisk.h"

#define SECTOR_MASK 511u

_Static_assert(sizeof(struct md_ppl_header) == XBDEV_MD_PPL_HEADER_BYTES, "PPL header");
_Static_assert(sizeof(((struct md_ppl_header *)0)->entries) / sizeof(struct md_ppl_entry) ==
		       XBDEV_MD_PPL_ENTRIES,
	"PPL entries");

uint32_t xbdev__md_ppl_signature(const struct xu_uuid *set_uuid)
{
	return xu_crc32c(set_uuid->bytes, sizeof(set_uuid->bytes));
}

uint32_t xbdev__md_ppl_checksum(const void *bytes, uint64_t count)
{
	return xu_crc32c(bytes, count);
}

/* Of all 4096 bytes, with the checksum itself as 0. */
static uint32_t header_checksum(const struct md_ppl_header *disk)
{
	static const uint32_t zero;
	uint32_t crc =
		xu_crc32c_update(XU_CRC32C_INIT, disk, offsetof(struct md_ppl_header, checksum));

	crc = xu_crc32c_update(crc, &zero, sizeof(zero));
	crc = xu_crc32c_update(
		crc, disk->entries, sizeof(*disk) - offsetof(struct md_ppl_header, entries));
	return xu_crc32c_final(crc);
}

static bool is_possible(const struct xbdev_md_ppl_entry *entry)
{
	return (entry->pp_size & SECTOR_MASK) == 0 && (entry->data_size & SECTOR_MASK) == 0 &&
	       entry->data_size != 0 && entry->parity_disk < XBDEV_MD_MAX_DISKS;
}

static int parse_entries(
	const struct md_ppl_header *disk, struct xbdev_md_ppl_header *header, struct xu_error *err)
{
	for (uint32_t i = 0; i < header->nr_entries; i++) {
		const struct md_ppl_entry *from = &disk->entries[i];
		struct xbdev_md_ppl_entry *entry = &header->entries[i];

		entry->data_sector = le64toh(from->data_sector);
		entry->pp_size = le32toh(from->pp_size);
		entry->data_size = le32toh(from->data_size);
		entry->parity_disk = le32toh(from->parity_disk);
		entry->checksum = le32toh(from->checksum);
		if (!is_possible(entry)) {
			return xu_error_set(err, -EINVAL,
				"entry %" PRIu32 " of the partial parity log has %" PRIu32
				" bytes of parity for %" PRIu32 " bytes of data on member %" PRIu32
				"; whole sectors and a member below %u were expected",
				i, entry->pp_size, entry->data_size, entry->parity_disk,
				XBDEV_MD_MAX_DISKS);
		}
	}
	return 0;
}

int xbdev__md_ppl_parse(const void *bytes, uint32_t signature,
	struct xbdev_md_ppl_header *ret_header, struct xu_error *err)
{
	const struct md_ppl_header *disk = bytes;
	struct xbdev_md_ppl_header header;
	uint32_t sum = header_checksum(disk);
	int rc;

	if (sum != le32toh(disk->checksum)) {
		return xu_error_set(err, -EILSEQ,
			"the checksum in the header of the partial parity log is %08" PRIx32
			", its bytes give %08" PRIx32,
			le32toh(disk->checksum), sum);
	}
	memset(&header, 0, sizeof(header));
	header.absent_role = XBDEV_MD_PPL_NOBODY;
	if (le64toh(disk->magic) == MD_PPL_OURS) {
		header.absent_role = le32toh(disk->absent_role);
	}
	header.signature = le32toh(disk->signature);
	header.generation = le64toh(disk->generation);
	header.nr_entries = le32toh(disk->entries_count);
	if (header.signature != signature) {
		return xu_error_set(err, -ESTALE,
			"the partial parity log has the signature %08" PRIx32
			" of another array; this one's is %08" PRIx32,
			header.signature, signature);
	}
	if (header.nr_entries > XBDEV_MD_PPL_ENTRIES) {
		return xu_error_set(err, -EINVAL,
			"the partial parity log counts %" PRIu32 " entries; it has room for %u",
			header.nr_entries, XBDEV_MD_PPL_ENTRIES);
	}
	rc = parse_entries(disk, &header, err);
	if (rc == 0) {
		*ret_header = header;
	}
	return rc;
}

void xbdev__md_ppl_format(const struct xbdev_md_ppl_header *header, void *ret_bytes)
{
	struct md_ppl_header *disk = ret_bytes;

	assert(header->nr_entries <= XBDEV_MD_PPL_ENTRIES);
	memset(disk, 0, sizeof(*disk));
	memset(disk->reserved, 0xff, sizeof(disk->reserved));
	if (header->absent_role != XBDEV_MD_PPL_NOBODY) {
		disk->magic = htole64(MD_PPL_OURS);
		disk->absent_role = htole32(header->absent_role);
	}
	disk->signature = htole32(header->signature);
	disk->generation = htole64(header->generation);
	disk->entries_count = htole32(header->nr_entries);
	for (uint32_t i = 0; i < header->nr_entries; i++) {
		disk->entries[i].data_sector = htole64(header->entries[i].data_sector);
		disk->entries[i].pp_size = htole32(header->entries[i].pp_size);
		disk->entries[i].data_size = htole32(header->entries[i].data_size);
		disk->entries[i].parity_disk = htole32(header->entries[i].parity_disk);
		disk->entries[i].checksum = htole32(header->entries[i].checksum);
	}
	disk->checksum = htole32(header_checksum(disk));
}

int xbdev__md_ppl_newest(const void *area, size_t count, uint32_t signature,
	struct xbdev_md_ppl_header *ret_header, size_t *ret_at)
{
	struct xbdev_md_ppl_header header;
	uint64_t at = 0;
	int rc = -ENOENT;

	while (count >= XBDEV_MD_PPL_HEADER_BYTES && at <= count - XBDEV_MD_PPL_HEADER_BYTES &&
		xbdev__md_ppl_parse((const char *)area + at, signature, &header, NULL) == 0 &&
		(rc != 0 || header.generation >= ret_header->generation)) {
		rc = 0;
		*ret_header = header;
		at += XBDEV_MD_PPL_HEADER_BYTES;
		*ret_at = at;
		for (uint32_t i = 0; i < header.nr_entries; i++) {
			at += header.entries[i].pp_size;
		}
	}
	return rc;
}

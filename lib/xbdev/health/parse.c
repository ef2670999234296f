/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMART data in one form. The bytes are a disk's and may be anything: every value is checked for
 * being possible, 128-bit counters that do not fit are cut off at the largest number, and what is
 * not there or not believable is left out. Nothing here fails.
 */
#include <string.h>

#include "lib/xbdev/health/smart.h"

static uint64_t little(const uint8_t *bytes, size_t count)
{
	uint64_t value = 0;

	for (size_t i = count; i-- > 0;) {
		value = value << 8 | bytes[i];
	}
	return value;
}

/* ---- NVMe ---- */

/* Offsets in the log. */
enum {
	NVME_WARNINGS = 0,
	NVME_TEMPERATURE = 1, /* kelvins */
	NVME_SPARE = 3,
	NVME_SPARE_THRESHOLD = 4,
	NVME_USED = 5,
	NVME_WRITTEN = 48, /* thousands of 512 bytes */
	NVME_POWER_ON = 128,
	NVME_UNSAFE_SHUTDOWNS = 144,
	NVME_MEDIA_ERRORS = 160,
};

#define NVME_UNIT 512000ull

/* A counter of 16 bytes. */
static uint64_t counter(const uint8_t *bytes)
{
	return little(bytes + 8, 8) != 0 ? UINT64_MAX : little(bytes, 8);
}

static uint64_t times(uint64_t count, uint64_t unit)
{
	return count > UINT64_MAX / unit ? UINT64_MAX : count * unit;
}

static uint32_t nvme_warnings(uint8_t bits)
{
	uint32_t warnings = 0;

	warnings |= (bits & 0x01) ? XBDEV_SMART_SPARE_LOW : 0;
	warnings |= (bits & 0x02) ? XBDEV_SMART_HOT : 0;
	warnings |= (bits & 0x04) ? XBDEV_SMART_FAILING : 0;
	warnings |= (bits & 0x08) ? XBDEV_SMART_READ_ONLY : 0;
	/* The memory that is to survive a power failure will not. */
	warnings |= (bits & 0x10) ? XBDEV_SMART_FAILING : 0;
	return warnings;
}

void xbdev_smart_parse_nvme(const uint8_t log[XBDEV_NVME_SMART_SIZE], struct xbdev_smart *ret_smart)
{
	uint32_t kelvins = (uint32_t)little(log + NVME_TEMPERATURE, 2);

	*ret_smart = (struct xbdev_smart){
		.warnings = nvme_warnings(log[NVME_WARNINGS]),
		.has_temperature = kelvins >= 200 && kelvins <= 500,
		.has_wear = true,
		.wear_percent = log[NVME_USED],
		/* Both zero: a disk that tells neither. */
		.has_spare = log[NVME_SPARE] <= 100 && log[NVME_SPARE_THRESHOLD] <= 100 &&
			     (log[NVME_SPARE] | log[NVME_SPARE_THRESHOLD]) != 0,
		.spare_percent = log[NVME_SPARE],
		.spare_threshold_percent = log[NVME_SPARE_THRESHOLD],
		.has_written = true,
		.bytes_written = times(counter(log + NVME_WRITTEN), NVME_UNIT),
		.has_power_on = true,
		.power_on_hours = counter(log + NVME_POWER_ON),
		.has_unsafe_shutdowns = true,
		.unsafe_shutdowns = counter(log + NVME_UNSAFE_SHUTDOWNS),
		.media_errors = counter(log + NVME_MEDIA_ERRORS),
	};
	ret_smart->temperature_c = ret_smart->has_temperature ? (int32_t)kelvins - 273 : 0;
	if (!ret_smart->has_spare) {
		ret_smart->spare_percent = ret_smart->spare_threshold_percent = 0;
	}
}

/* ---- ATA: IDENTIFY DEVICE ---- */

static uint16_t word(const uint8_t *sector, size_t index)
{
	return (uint16_t)little(sector + 2 * index, 2);
}

/* Words 84 and 87 mean something only with 01b on top. */
static bool has_bit(uint16_t value, uint32_t bit)
{
	return (value & 0xc000) == 0x4000 && (value >> bit & 1) != 0;
}

bool xbdev_ata_has_smart(const uint8_t identify[XBDEV_ATA_SECTOR])
{
	return (word(identify, 82) & 1) != 0 && (word(identify, 85) & 1) != 0;
}

bool xbdev_ata_has_logs(const uint8_t identify[XBDEV_ATA_SECTOR])
{
	return has_bit(word(identify, 84), 5);
}

static uint64_t sector_bytes(const uint8_t *identify)
{
	uint64_t words = little(identify + 2 * 117, 4);

	if (!has_bit(word(identify, 106), 12) || words < 256 || words > 1u << 20) {
		return 512;
	}
	return 2 * words;
}

/* ---- ATA: attributes ---- */

enum { ATTRIBUTES_AT = 2, ATTRIBUTE_SIZE = 12, NR_ATTRIBUTES = 30, RAW_AT = 5 };

#define HOURS_MAX 400000u /* 45 years: more are minutes or seconds */

static bool has_checksum(const uint8_t *sector)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < XBDEV_ATA_SECTOR; i++) {
		sum = (uint8_t)(sum + sector[i]);
	}
	return sum == 0;
}

/* The first `count` bytes of an attribute's raw value. */
static bool attribute(const uint8_t *smart, uint8_t id, size_t count, uint64_t *ret_raw)
{
	for (size_t i = 0; i < NR_ATTRIBUTES; i++) {
		const uint8_t *at = smart + ATTRIBUTES_AT + i * ATTRIBUTE_SIZE;

		if (at[0] == id) {
			*ret_raw = little(at + RAW_AT, count);
			return true;
		}
	}
	return false;
}

static void parse_attributes(const uint8_t *data, struct xbdev_smart *smart)
{
	uint64_t raw, uncorrectable = 0;

	if ((attribute(data, 194, 1, &raw) || attribute(data, 190, 1, &raw)) && raw >= 1 &&
		raw <= 125) {
		smart->has_temperature = true;
		smart->temperature_c = (int32_t)raw;
	}
	if (attribute(data, 9, 4, &raw) && raw <= HOURS_MAX) {
		smart->has_power_on = true;
		smart->power_on_hours = raw;
	}
	if (attribute(data, 5, 4, &raw)) { /* reallocated */
		smart->has_bad_sectors = true;
		smart->bad_sectors += raw;
	}
	if (attribute(data, 197, 4, &raw)) { /* pending */
		smart->has_bad_sectors = true;
		smart->bad_sectors += raw;
		uncorrectable = raw;
	}
	if (attribute(data, 198, 4, &raw) && raw > uncorrectable) { /* found offline */
		uncorrectable = raw;
	}
	smart->media_errors = uncorrectable;
}

/* ---- ATA: Device Statistics ---- */

uint8_t xbdev_ata_page_number(enum xbdev_ata_page page)
{
	static const uint8_t numbers[XBDEV_NR_ATA_PAGES] = {
		[XBDEV_ATA_PAGE_GENERAL] = 1,
		[XBDEV_ATA_PAGE_ERRORS] = 4,
		[XBDEV_ATA_PAGE_TEMPERATURE] = 5,
		[XBDEV_ATA_PAGE_SSD] = 7,
	};

	return numbers[page];
}

/* A statistic is 8 bytes: up to 6 of value, and flags in the last: supported and valid. */
static bool statistic(const struct xbdev_ata_data *data, enum xbdev_ata_page page, size_t offset,
	size_t count, uint64_t *ret_value)
{
	const uint8_t *at = data->pages[page];

	if (at == NULL || little(at, 2) == 0 || at[2] != xbdev_ata_page_number(page) ||
		(at[offset + 7] & 0xc0) != 0xc0) {
		return false;
	}
	*ret_value = little(at + offset, count);
	return true;
}

/* What the standard defines overrides what vendors call the same. */
static void parse_statistics(const struct xbdev_ata_data *data, struct xbdev_smart *smart)
{
	uint64_t sector = data->identify != NULL ? sector_bytes(data->identify) : 512, value;

	if (statistic(data, XBDEV_ATA_PAGE_GENERAL, 16, 4, &value)) {
		smart->has_power_on = true;
		smart->power_on_hours = value;
	}
	if (statistic(data, XBDEV_ATA_PAGE_GENERAL, 24, 6, &value)) {
		smart->has_written = true;
		smart->bytes_written = times(value, sector);
	}
	if (statistic(data, XBDEV_ATA_PAGE_ERRORS, 8, 4, &value)) {
		smart->media_errors = value;
	}
	if (statistic(data, XBDEV_ATA_PAGE_TEMPERATURE, 8, 1, &value)) {
		smart->has_temperature = true;
		smart->temperature_c = (int8_t)value;
	}
	if (statistic(data, XBDEV_ATA_PAGE_SSD, 8, 1, &value)) {
		smart->has_wear = true;
		smart->wear_percent = (uint32_t)value;
	}
}

void xbdev_smart_parse_ata(const struct xbdev_ata_data *data, struct xbdev_smart *ret_smart)
{
	*ret_smart = (struct xbdev_smart){0};
	if (data->identify != NULL) {
		/* The nominal rotation rate; 1: it does not rotate. */
		ret_smart->is_rotational =
			word(data->identify, 217) >= 0x401 && word(data->identify, 217) != 0xffff;
	}
	if (data->smart != NULL && has_checksum(data->smart)) {
		parse_attributes(data->smart, ret_smart);
	}
	parse_statistics(data, ret_smart);
	if (data->status == XBDEV_ATA_STATUS_FAILING) {
		ret_smart->warnings |= XBDEV_SMART_FAILING;
	}
}

/* ---- ATA: SMART RETURN STATUS ---- */

static enum xbdev_ata_status status_of_registers(uint8_t lba_mid, uint8_t lba_high)
{
	if (lba_mid == 0x4f && lba_high == 0xc2) {
		return XBDEV_ATA_STATUS_GOOD;
	}
	return lba_mid == 0xf4 && lba_high == 0x2c ? XBDEV_ATA_STATUS_FAILING
						   : XBDEV_ATA_STATUS_UNKNOWN;
}

enum xbdev_ata_status xbdev_ata_status_of_sense(const uint8_t *sense, size_t len)
{
	enum { FIXED_LEN = 18, DESCRIPTORS_AT = 8, ATA_DESCRIPTOR = 0x09, ATA_DESCRIPTOR_LEN = 14 };
	uint8_t format = len > 0 ? sense[0] & 0x7f : 0;
	size_t at = DESCRIPTORS_AT, end;

	if ((format == 0x70 || format == 0x71) && len >= FIXED_LEN) {
		/* "ATA pass through information available" */
		return sense[12] == 0x00 && sense[13] == 0x1d
			       ? status_of_registers(sense[10], sense[11])
			       : XBDEV_ATA_STATUS_UNKNOWN;
	}
	if ((format != 0x72 && format != 0x73) || len < DESCRIPTORS_AT) {
		return XBDEV_ATA_STATUS_UNKNOWN;
	}
	end = DESCRIPTORS_AT + (size_t)sense[7] < len ? DESCRIPTORS_AT + (size_t)sense[7] : len;
	while (at + 2 <= end) {
		size_t descriptor_len = 2 + (size_t)sense[at + 1];

		if (sense[at] == ATA_DESCRIPTOR && at + ATA_DESCRIPTOR_LEN <= end) {
			return status_of_registers(sense[at + 9], sense[at + 11]);
		}
		at += descriptor_len;
	}
	return XBDEV_ATA_STATUS_UNKNOWN;
}

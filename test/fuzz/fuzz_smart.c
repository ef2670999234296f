/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what reads disks' own data. The first byte chooses NVMe's log, ATA's sectors or sense
 * data; the rest is what the disk gave, and may be short. Whatever it is, what comes of it is in
 * its bounds, and so is the judgement, which says its reasons.
 */
#include <errno.h>

#include "lib/xbdev/health/estimate.h"
#include "lib/xbdev/health/smart.h"
#include "test/fuzz/fuzz.h"

static void check_text(const char *text, bool is_wanted)
{
	FUZZ_CHECK(memchr(text, '\0', XBDEV_HEALTH_TEXT_SIZE) != NULL, "no end");
	FUZZ_CHECK((text[0] != '\0') == is_wanted, "'%s'", text);
}

static void check_verdict(const struct xbdev_smart *smart, struct fuzz_input *in)
{
	struct xbdev_health_facts facts = {.smart = smart,
		.io_errors = fuzz_number(in, 8),
		.io_operations = fuzz_number(in, 8),
		.observed_s = fuzz_number(in, 8),
		.observed_bytes = fuzz_number(in, 8)};
	struct xbdev_health_verdict v;

	/* A part of the operations, as the caller has it. */
	facts.io_errors = facts.io_operations != 0 ? facts.io_errors % facts.io_operations : 0;
	memset(&v, 0xee, sizeof(v));
	xbdev_health_judge(&facts, &v);
	FUZZ_CHECK(v.percentage >= 0 && v.percentage <= 100, "%d %%", v.percentage);
	FUZZ_CHECK(v.days_left >= -1 && v.days_left <= 36500, "%d days", v.days_left);
	check_text(v.reason, v.percentage != 100);
	check_text(v.method, true);
	FUZZ_CHECK((v.days_left == -1) == (strncmp(v.method, "unknown", 7) == 0), "%s", v.method);
	FUZZ_CHECK(v.percentage <= xbdev_health_smart_percentage(smart), "%s", v.reason);
}

static void check_smart(const struct xbdev_smart *s, struct fuzz_input *in)
{
	fuzz_say("warnings %x temperature %d wear %u spare %u written %llu\n", s->warnings,
		s->temperature_c, s->wear_percent, s->spare_percent,
		(unsigned long long)s->bytes_written);
	FUZZ_CHECK(s->warnings < 16, "%x", s->warnings);
	FUZZ_CHECK(s->temperature_c >= -128 && s->temperature_c <= 250, "%d", s->temperature_c);
	FUZZ_CHECK(s->wear_percent <= 255 && s->spare_percent <= 100 &&
			   s->spare_threshold_percent <= 100,
		"%u %u %u", s->wear_percent, s->spare_percent, s->spare_threshold_percent);
	FUZZ_CHECK(s->has_temperature || s->temperature_c == 0, "%d", s->temperature_c);
	FUZZ_CHECK(s->has_wear || s->wear_percent == 0, "%u", s->wear_percent);
	FUZZ_CHECK(s->has_written || s->bytes_written == 0, "not told but there");
	FUZZ_CHECK(s->has_bad_sectors || s->bad_sectors == 0, "not told but there");
	check_verdict(s, in);
}

/* A sector of its own, so that reading past it is seen; NULL when the input says so. */
static uint8_t *take_sector(struct fuzz_input *in, bool is_there)
{
	const uint8_t *from;
	uint8_t *sector;
	size_t len;

	if (!is_there) {
		return NULL;
	}
	sector = calloc(1, XBDEV_ATA_SECTOR);
	FUZZ_CHECK(sector != NULL, "out of memory");
	from = fuzz_take(in, XBDEV_ATA_SECTOR, &len);
	memcpy(sector, from, len);
	return sector;
}

static void fuzz_nvme(struct fuzz_input *in)
{
	uint8_t *log = take_sector(in, true);
	struct xbdev_smart smart;

	memset(&smart, 0xee, sizeof(smart));
	xbdev_smart_parse_nvme(log, &smart);
	check_smart(&smart, in);
	free(log);
}

static void fuzz_ata(struct fuzz_input *in)
{
	uint8_t parts = fuzz_u8(in), *sectors[2 + XBDEV_NR_ATA_PAGES], sum = 0;
	struct xbdev_ata_data data = {.status = fuzz_u8(in) % 3};
	struct xbdev_smart smart;

	for (uint32_t i = 0; i < 2 + XBDEV_NR_ATA_PAGES; i++) {
		sectors[i] = take_sector(in, (parts >> i & 1) != 0);
	}
	/* A right checksum would take a fuzzer long to find. */
	for (size_t i = 0; sectors[1] != NULL && (parts & 0x80) && i < XBDEV_ATA_SECTOR; i++) {
		sectors[1][XBDEV_ATA_SECTOR - 1] = 0;
		sum = (uint8_t)(sum + sectors[1][i]);
	}
	if (sectors[1] != NULL && (parts & 0x80)) {
		sectors[1][XBDEV_ATA_SECTOR - 1] = (uint8_t)-sum;
	}
	data.identify = sectors[0];
	data.smart = sectors[1];
	memcpy(data.pages, &sectors[2], sizeof(data.pages));
	memset(&smart, 0xee, sizeof(smart));
	xbdev_smart_parse_ata(&data, &smart);
	check_smart(&smart, in);
	if (data.identify != NULL) {
		xbdev_ata_has_smart(data.identify);
		xbdev_ata_has_logs(data.identify);
	}
	for (uint32_t i = 0; i < 2 + XBDEV_NR_ATA_PAGES; i++) {
		free(sectors[i]);
	}
}

static void fuzz_sense(struct fuzz_input *in)
{
	size_t len = in->left;
	uint8_t *sense = malloc(len != 0 ? len : 1); /* nothing behind it */
	enum xbdev_ata_status status;

	FUZZ_CHECK(sense != NULL, "out of memory");
	memcpy(sense, in->at, len);
	status = xbdev_ata_status_of_sense(sense, len);
	FUZZ_CHECK(
		status == XBDEV_ATA_STATUS_UNKNOWN ||
			memchr(sense, status == XBDEV_ATA_STATUS_GOOD ? 0xc2 : 0x2c, len) != NULL,
		"a status from nowhere");
	free(sense);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};

	switch (fuzz_u8(&in) % 3) {
	case 0:
		fuzz_nvme(&in);
		break;
	case 1:
		fuzz_ata(&in);
		break;
	default:
		fuzz_sense(&in);
		break;
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Understanding what disks say, finding the disks below a path, and judging: from bytes and from a
 * small sysfs, so that every rule can be seen. The reading itself is shown with a real kernel in
 * test/e2e/test-health.sh.
 */
#include "test/unit/util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/util/error.h"
#include "lib/xbdev/health/estimate.h"
#include "lib/xbdev/health/smart.h"

static void put(uint8_t *at, uint64_t value, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		at[i] = i < 8 ? (uint8_t)(value >> (8 * i)) : 0;
	}
}

/* ---- NVMe ---- */

static void test_nvme_log_is_understood(void **state)
{
	uint8_t log[XBDEV_NVME_SMART_SIZE] = {0};
	struct xbdev_smart smart;

	put(log + 1, 273 + 41, 2);
	log[3] = 97;
	log[4] = 10;
	log[5] = 12;
	put(log + 32, 111, 16);  /* read */
	put(log + 48, 2000, 16); /* written */
	put(log + 64, 222, 16);
	put(log + 80, 333, 16);
	put(log + 96, 444, 16);
	put(log + 112, 555, 16);
	put(log + 128, 8760, 16);
	put(log + 144, 7, 16);
	put(log + 160, 3, 16);
	put(log + 176, 666, 16);
	xbdev_smart_parse_nvme(log, &smart);
	assert_int_equal(smart.warnings, 0);
	assert_true(smart.has_temperature && smart.has_wear && smart.has_spare);
	assert_true(smart.has_written && smart.has_power_on && smart.has_unsafe_shutdowns);
	assert_false(smart.has_bad_sectors || smart.is_rotational);
	assert_int_equal(smart.temperature_c, 41);
	assert_int_equal(smart.spare_percent, 97);
	assert_int_equal(smart.spare_threshold_percent, 10);
	assert_int_equal(smart.wear_percent, 12);
	assert_int_equal(smart.bytes_written, 2000ull * 512000);
	assert_int_equal(smart.power_on_hours, 8760);
	assert_int_equal(smart.unsafe_shutdowns, 7);
	assert_int_equal(smart.media_errors, 3);
}

static void test_nvme_warnings_are_understood(void **state)
{
	static const uint32_t meaning[8] = {XBDEV_SMART_SPARE_LOW, XBDEV_SMART_HOT,
		XBDEV_SMART_FAILING, XBDEV_SMART_READ_ONLY, XBDEV_SMART_FAILING, 0, 0, 0};
	uint8_t log[XBDEV_NVME_SMART_SIZE] = {0};
	struct xbdev_smart smart;

	for (uint32_t bits = 0; bits < 256; bits++) {
		uint32_t expected = 0;

		for (uint32_t bit = 0; bit < 8; bit++) {
			expected |= (bits >> bit & 1) != 0 ? meaning[bit] : 0;
		}
		log[0] = (uint8_t)bits;
		xbdev_smart_parse_nvme(log, &smart);
		assert_int_equal(smart.warnings, expected);
	}
}

static void test_nvme_log_of_nonsense_is_bounded(void **state)
{
	uint8_t log[XBDEV_NVME_SMART_SIZE];
	struct xbdev_smart smart;

	memset(log, 0xff, sizeof(log));
	xbdev_smart_parse_nvme(log, &smart);
	assert_int_equal(smart.bytes_written, UINT64_MAX);
	assert_int_equal(smart.media_errors, UINT64_MAX);
	assert_int_equal(smart.wear_percent, 255);
	assert_false(smart.has_temperature || smart.has_spare);
	assert_int_equal(xbdev_health_smart_percentage(&smart), 0);

	memset(log, 0, sizeof(log)); /* one that tells nothing */
	xbdev_smart_parse_nvme(log, &smart);
	assert_false(smart.has_temperature || smart.has_spare);
	assert_int_equal(xbdev_health_smart_percentage(&smart), 100);
	put(log + 48, UINT64_MAX / 512000 + 1, 8);
	xbdev_smart_parse_nvme(log, &smart);
	assert_int_equal(smart.bytes_written, UINT64_MAX);
	put(log + 48, UINT64_MAX / 512000, 8);
	xbdev_smart_parse_nvme(log, &smart);
	assert_int_equal(smart.bytes_written, UINT64_MAX / 512000 * 512000);
}

/* ---- ATA ---- */

struct ata {
	uint8_t identify[XBDEV_ATA_SECTOR];
	uint8_t smart[XBDEV_ATA_SECTOR];
	uint8_t pages[XBDEV_NR_ATA_PAGES][XBDEV_ATA_SECTOR];
	struct xbdev_ata_data data;
	size_t nr_attributes;
};

static void put_word(uint8_t *sector, size_t index, uint16_t value)
{
	put(sector + 2 * index, value, 2);
}

static void ata_init(struct ata *ata)
{
	memset(ata, 0, sizeof(*ata));
	put_word(ata->identify, 82, 1);
	put_word(ata->identify, 85, 1);
	put_word(ata->identify, 84, 0x4020);
	ata->data.identify = ata->identify;
	ata->data.smart = ata->smart;
	for (int page = 0; page < XBDEV_NR_ATA_PAGES; page++) {
		ata->pages[page][0] = 1;
		ata->pages[page][2] = xbdev_ata_page_number(page);
		ata->data.pages[page] = ata->pages[page];
	}
}

static void add_attribute(struct ata *ata, uint8_t id, uint64_t raw)
{
	uint8_t *at = ata->smart + 2 + 12 * ata->nr_attributes++;

	at[0] = id;
	at[3] = at[4] = 100;
	put(at + 5, raw, 6);
}

static void put_statistic(
	struct ata *ata, enum xbdev_ata_page page, size_t offset, uint64_t value, uint8_t flags)
{
	put(ata->pages[page] + offset, value, 7);
	ata->pages[page][offset + 7] = flags;
}

static struct xbdev_smart ata_parse(struct ata *ata)
{
	struct xbdev_smart smart;
	uint8_t sum = 0;

	ata->smart[511] = 0;
	for (size_t i = 0; i < 511; i++) {
		sum = (uint8_t)(sum + ata->smart[i]);
	}
	ata->smart[511] = (uint8_t)-sum;
	xbdev_smart_parse_ata(&ata->data, &smart);
	return smart;
}

static void test_ata_attributes_are_understood(void **state)
{
	struct xbdev_smart smart;
	struct ata ata;

	ata_init(&ata);
	put_word(ata.identify, 217, 7200);
	add_attribute(&ata, 1, 0x123456789abc);
	add_attribute(&ata, 5, 3);
	add_attribute(&ata, 9, 12345);
	add_attribute(&ata, 194, 0x002d00140024); /* 36 now, 20 … 45 */
	add_attribute(&ata, 197, 4);
	add_attribute(&ata, 198, 2);
	smart = ata_parse(&ata);
	assert_true(smart.is_rotational);
	assert_true(smart.has_temperature && smart.has_power_on && smart.has_bad_sectors);
	assert_false(smart.has_wear || smart.has_written || smart.has_spare);
	assert_int_equal(smart.temperature_c, 36);
	assert_int_equal(smart.power_on_hours, 12345);
	assert_int_equal(smart.bad_sectors, 7);
	assert_int_equal(smart.media_errors, 4);
	assert_int_equal(smart.warnings, 0);

	ata.smart[100] ^= 1; /* nothing of a structure whose checksum is wrong */
	xbdev_smart_parse_ata(&ata.data, &smart);
	assert_false(smart.has_temperature || smart.has_power_on || smart.has_bad_sectors);
}

static void test_ata_values_that_cannot_be_are_left_out(void **state)
{
	static const uint64_t temperatures[] = {0, 126, 200, 255};
	struct ata ata;

	for (size_t i = 0; i < ARRAY_SIZE(temperatures); i++) {
		ata_init(&ata);
		add_attribute(&ata, 194, temperatures[i]);
		add_attribute(&ata, 9, 400001); /* minutes, no doubt */
		assert_false(ata_parse(&ata).has_temperature);
		assert_false(ata_parse(&ata).has_power_on);
	}
	ata_init(&ata);
	add_attribute(&ata, 190, 0xaaaaaaaa28); /* where 194 is missing */
	assert_int_equal(ata_parse(&ata).temperature_c, 40);
	for (int i = 1; i < 30; i++) { /* the last place counts too */
		add_attribute(&ata, i == 29 ? 5 : 240, 9);
	}
	assert_int_equal(ata_parse(&ata).bad_sectors, 9);
}

static void test_ata_statistics_override_attributes(void **state)
{
	struct xbdev_smart smart;
	struct ata ata;

	ata_init(&ata);
	put_word(ata.identify, 217, 1);
	add_attribute(&ata, 9, 111);
	add_attribute(&ata, 194, 50);
	add_attribute(&ata, 197, 9);
	put_statistic(&ata, XBDEV_ATA_PAGE_GENERAL, 16, 2222, 0xc0);
	put_statistic(&ata, XBDEV_ATA_PAGE_GENERAL, 24, 1ull << 40, 0xc0);
	put_statistic(&ata, XBDEV_ATA_PAGE_ERRORS, 8, 5, 0xc0);
	put_statistic(&ata, XBDEV_ATA_PAGE_TEMPERATURE, 8, (uint8_t)-5, 0xc0);
	put_statistic(&ata, XBDEV_ATA_PAGE_SSD, 8, 33, 0xe0);
	smart = ata_parse(&ata);
	assert_false(smart.is_rotational);
	assert_int_equal(smart.power_on_hours, 2222);
	assert_true(smart.has_written && smart.has_wear);
	assert_int_equal(smart.bytes_written, 512ull << 40);
	assert_int_equal(smart.media_errors, 5);
	assert_int_equal(smart.temperature_c, -5);
	assert_int_equal(smart.wear_percent, 33);

	put_word(ata.identify, 106, 0x5000); /* sectors of 4096 bytes */
	put_word(ata.identify, 117, 2048);
	assert_int_equal(ata_parse(&ata).bytes_written, 4096ull << 40);
	put_statistic(&ata, XBDEV_ATA_PAGE_GENERAL, 24, 0xffffffffffff, 0xc0);
	put_word(ata.identify, 117, 0);
	put_word(ata.identify, 118, 17); /* impossible: 512 bytes are assumed */
	assert_int_equal(ata_parse(&ata).bytes_written, 0xffffffffffffull * 512);
}

static void test_ata_statistics_must_be_valid(void **state)
{
	static const uint8_t flags[] = {0x00, 0x40, 0x80, 0x3f};
	struct xbdev_smart smart;
	struct ata ata;

	for (size_t i = 0; i < ARRAY_SIZE(flags) + 2; i++) {
		bool has_flags = i < ARRAY_SIZE(flags);

		ata_init(&ata);
		put_statistic(&ata, XBDEV_ATA_PAGE_SSD, 8, 33, has_flags ? flags[i] : 0xc0);
		put_statistic(&ata, XBDEV_ATA_PAGE_GENERAL, 24, 7, has_flags ? flags[i] : 0xc0);
		for (int page = 0; page < XBDEV_NR_ATA_PAGES; page++) {
			if (i == ARRAY_SIZE(flags)) {
				ata.pages[page][2]++; /* another page */
			} else if (i == ARRAY_SIZE(flags) + 1) {
				ata.pages[page][0] = 0; /* no revision */
			}
		}
		smart = ata_parse(&ata);
		assert_false(smart.has_wear || smart.has_written);
	}
	memset(&ata.data, 0, sizeof(ata.data)); /* a disk that gave nothing at all */
	smart = ata_parse(&ata);
	assert_int_equal(xbdev_health_smart_percentage(&smart), 100);
}

static void test_ata_features_are_understood(void **state)
{
	struct ata ata;

	ata_init(&ata);
	assert_true(xbdev_ata_has_smart(ata.identify));
	assert_true(xbdev_ata_has_logs(ata.identify));
	put_word(ata.identify, 85, 0xfffe);
	assert_false(xbdev_ata_has_smart(ata.identify));
	put_word(ata.identify, 85, 1);
	put_word(ata.identify, 82, 0xfffe);
	assert_false(xbdev_ata_has_smart(ata.identify));
	put_word(ata.identify, 84, 0xffff); /* words that say nothing */
	assert_false(xbdev_ata_has_logs(ata.identify));
	put_word(ata.identify, 84, 0x4000);
	assert_false(xbdev_ata_has_logs(ata.identify));
}

static void test_ata_status_is_found_in_sense_data(void **state)
{
	/* As the kernel's libata gives it: descriptors, and the fixed format. */
	uint8_t descriptors[22] = {0x72, 0x01, 0x00, 0x1d, 0, 0, 0, 14, 0x09, 0x0c, 0, 0, 0, 1, 0,
		0, 0, 0x4f, 0, 0xc2, 0, 0x50};
	uint8_t fixed[18] = {
		0xf0, 0, 1, 0, 0x50, 0, 0, 10, 0, 0, 0x4f, 0xc2, 0x00, 0x1d, 0, 0, 0, 0};
	uint8_t behind[32] = {0x72, 0x01, 0x00, 0x1d, 0, 0, 0, 24, 0x00, 0x08};

	assert_int_equal(
		xbdev_ata_status_of_sense(descriptors, sizeof(descriptors)), XBDEV_ATA_STATUS_GOOD);
	assert_int_equal(xbdev_ata_status_of_sense(fixed, sizeof(fixed)), XBDEV_ATA_STATUS_GOOD);
	memcpy(behind + 18, descriptors + 8, 14);
	assert_int_equal(xbdev_ata_status_of_sense(behind, sizeof(behind)), XBDEV_ATA_STATUS_GOOD);
	for (size_t len = 0; len < sizeof(descriptors); len++) {
		assert_int_equal(
			xbdev_ata_status_of_sense(descriptors, len), XBDEV_ATA_STATUS_UNKNOWN);
	}
	for (size_t len = 0; len < sizeof(fixed); len++) {
		assert_int_equal(xbdev_ata_status_of_sense(fixed, len), XBDEV_ATA_STATUS_UNKNOWN);
	}
	descriptors[17] = fixed[10] = 0xf4;
	assert_int_equal(xbdev_ata_status_of_sense(descriptors, sizeof(descriptors)),
		XBDEV_ATA_STATUS_UNKNOWN);
	descriptors[19] = fixed[11] = 0x2c;
	assert_int_equal(xbdev_ata_status_of_sense(descriptors, sizeof(descriptors)),
		XBDEV_ATA_STATUS_FAILING);
	assert_int_equal(xbdev_ata_status_of_sense(fixed, sizeof(fixed)), XBDEV_ATA_STATUS_FAILING);
	fixed[13] = 0; /* sense data of something else */
	assert_int_equal(xbdev_ata_status_of_sense(fixed, sizeof(fixed)), XBDEV_ATA_STATUS_UNKNOWN);
}

static void test_ata_failing_disk_is_failing(void **state)
{
	struct ata ata;

	ata_init(&ata);
	ata.data.status = XBDEV_ATA_STATUS_FAILING;
	assert_int_equal(ata_parse(&ata).warnings, XBDEV_SMART_FAILING);
	ata.data.status = XBDEV_ATA_STATUS_GOOD;
	assert_int_equal(ata_parse(&ata).warnings, 0);
}

/* ---- how healthy ---- */

static struct xbdev_health_verdict judge(
	const struct xbdev_smart *smart, uint64_t errors, uint64_t operations)
{
	struct xbdev_health_facts facts = {
		.smart = smart, .io_errors = errors, .io_operations = operations};
	struct xbdev_health_verdict verdict;

	memset(&verdict, 0xee, sizeof(verdict));
	xbdev_health_judge(&facts, &verdict);
	return verdict;
}

static void assert_judged(const struct xbdev_smart *smart, int percentage, const char *reason)
{
	struct xbdev_health_verdict verdict = judge(smart, 0, 0);

	assert_int_equal(verdict.percentage, percentage);
	assert_string_equal(verdict.reason, reason);
}

static void test_health_follows_its_rules(void **state)
{
	assert_judged(NULL, 100, "");
	assert_judged(&(struct xbdev_smart){0}, 100, "");
	assert_judged(&(struct xbdev_smart){.has_wear = true, .wear_percent = 30}, 70,
		"30 % of the disk's endurance is used");
	assert_judged(&(struct xbdev_smart){.has_wear = true, .wear_percent = 250}, 0,
		"250 % of the disk's endurance is used");
	assert_judged(
		&(struct xbdev_smart){
			.has_spare = true, .spare_percent = 55, .spare_threshold_percent = 10},
		50, "55 % of the spare blocks are left, 10 % are the least there should be");
	assert_judged(
		&(struct xbdev_smart){
			.has_spare = true, .spare_percent = 5, .spare_threshold_percent = 10},
		0, "5 % of the spare blocks are left, 10 % are the least there should be");
	assert_judged(
		&(struct xbdev_smart){.has_spare = true, .spare_threshold_percent = 100}, 100, "");
	assert_judged(&(struct xbdev_smart){.warnings = XBDEV_SMART_SPARE_LOW}, 20,
		"the disk says that it has too few spare blocks");
	assert_judged(&(struct xbdev_smart){.warnings = XBDEV_SMART_FAILING}, 10,
		"the disk says that it is failing");
	assert_judged(
		&(struct xbdev_smart){.warnings = XBDEV_SMART_READ_ONLY | XBDEV_SMART_FAILING}, 0,
		"the disk has become read-only");
	assert_judged(&(struct xbdev_smart){.warnings = XBDEV_SMART_HOT}, 100, "");
	assert_judged(&(struct xbdev_smart){.has_bad_sectors = true, .bad_sectors = 9}, 90,
		"the disk has 9 bad sectors");
	assert_judged(&(struct xbdev_smart){.has_bad_sectors = true, .bad_sectors = 10}, 75,
		"the disk has 10 bad sectors");
	assert_judged(&(struct xbdev_smart){.media_errors = 100}, 50,
		"the disk could not read data 100 times");
	assert_judged(&(struct xbdev_smart){.media_errors = UINT64_MAX}, 25,
		"the disk could not read data 18446744073709551615 times");
	/* The worst counts. */
	assert_judged(&(struct xbdev_smart){.has_wear = true,
			      .wear_percent = 40,
			      .has_bad_sectors = true,
			      .bad_sectors = 500},
		50, "the disk has 500 bad sectors");
}

static void test_health_counts_our_own_errors(void **state)
{
	static const struct {
		uint64_t errors, operations;
		int percentage;
	} table[] = {
		{0, 0, 100},
		{0, 1000, 100},
		{1, 1000000, 99},
		{10, 1000, 99},
		{11, 1000, 98},
		{500, 1000, 50},
		{1000, 1000, 0},
		{UINT64_MAX, UINT64_MAX, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(judge(NULL, table[i].errors, table[i].operations).percentage,
			table[i].percentage);
	}
	assert_string_equal(judge(NULL, 3, 300).reason, "3 of 300 operations have failed");
}

/* ---- how long ---- */

static void assert_days(const struct xbdev_smart *smart, uint64_t observed_s,
	uint64_t observed_bytes, int days, const char *method)
{
	struct xbdev_health_facts facts = {
		.smart = smart, .observed_s = observed_s, .observed_bytes = observed_bytes};
	struct xbdev_health_verdict verdict;

	xbdev_health_judge(&facts, &verdict);
	assert_string_equal(verdict.method, method);
	assert_int_equal(verdict.days_left, days);
}

static void test_lifetime_says_how_it_is_estimated(void **state)
{
	struct xbdev_smart worn = {.has_wear = true,
		.wear_percent = 20,
		.has_power_on = true,
		.power_on_hours = 24 * 100,
		.has_written = true,
		.bytes_written = 1000ull << 30};

	assert_days(NULL, 0, 0, -1, "unknown: there is no SMART data");
	assert_days(&(struct xbdev_smart){0}, 0, 0, -1, "unknown: the disk does not tell its wear");
	assert_days(&(struct xbdev_smart){.is_rotational = true}, 0, 0, -1,
		"unknown: a rotating disk has no wear by writing");
	assert_days(&(struct xbdev_smart){.has_wear = true}, 0, 0, -1,
		"unknown: less than 1 % of the endurance is used");
	assert_days(&(struct xbdev_smart){.has_wear = true, .wear_percent = 1}, 0, 0, -1,
		"unknown: the disk has not been on for long");
	assert_days(&(struct xbdev_smart){.has_wear = true, .wear_percent = 100}, 0, 0, 0,
		"the rated endurance is used up");
	assert_days(&(struct xbdev_smart){.warnings = XBDEV_SMART_FAILING}, 0, 0, 0,
		"the disk says that it is failing");

	/* 20 % in 100 days: 400 days for the rest. */
	assert_days(&worn, 0, 0, 400,
		"20 % of the endurance used in 100 days of power, going on like that");
	/* 1000 GiB were 20 %, so 4000 GiB are left; 10 GiB were written in two days. */
	assert_days(&worn, 2 * 86400, 10ull << 30, 800,
		"20 % of the endurance used by 1000 GiB, at 5.0 GiB a day written in the last 2.0 "
		"days");
	/* Half a day is not enough to tell from. */
	assert_days(&worn, 43200, 10ull << 30, 400,
		"20 % of the endurance used in 100 days of power, going on like that");
	/* Nothing was written. */
	assert_days(&worn, 2 * 86400, 0, 400,
		"20 % of the endurance used in 100 days of power, going on like that");
	worn.wear_percent = 1;
	worn.power_on_hours = UINT64_MAX;
	assert_days(&worn, 0, 0, 36500,
		"1 % of the endurance used in 768614336404564608 days of power, going on like "
		"that");
}

/* ---- finding disks ---- */

static char top[64];

static void make_dir(const char *path)
{
	char full[256], *slash;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	for (slash = full + strlen(top) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
}

static void make_file(const char *path, const char *text)
{
	char full[256];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	fd = open(full, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void make_link(const char *path, const char *target)
{
	char full[256], full_target[256];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	snprintf(full_target, sizeof(full_target), "%s/%s", top, target);
	unlink(full);
	assert_int_equal(symlink(full_target, full), 0);
}

/* A disk, and what it is for the kernel. */
static void make_disk(const char *name, const char *number, const char *vendor)
{
	char path[128];

	snprintf(path, sizeof(path), "devices/%s/slaves", name);
	make_dir(path);
	snprintf(path, sizeof(path), "devices/%s/dev", name);
	make_file(path, number);
	if (vendor != NULL) {
		snprintf(path, sizeof(path), "devices/%s/device", name);
		make_dir(path);
		snprintf(path, sizeof(path), "devices/%s/device/vendor", name);
		make_file(path, vendor);
	}
}

/* The sysfs says that what this file is on is `directory`. */
static void make_home(const char *directory)
{
	char path[64];
	struct stat st;

	assert_int_equal(stat(top, &st), 0);
	snprintf(path, sizeof(path), "dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
	make_link(path, directory);
}

static int make_sysfs(void **state)
{
	strcpy(top, "/tmp/xsan-test-health-XXXXXX");
	assert_non_null(mkdtemp(top));
	make_dir("dev/block");
	make_dir("dev/char");
	make_disk("sda", "8:0\n", "ATA     \n");
	make_disk("sdb", "8:16\n", "ATAPI   \n");
	make_disk("vda", "254:0\n", NULL);
	make_dir("devices/sda/sda1");
	make_file("devices/sda/sda1/partition", "1\n");
	make_file("devices/sda/sda1/dev", "8:1\n");
	/* Two NVMe disks: one with one path, one with three of which one is live. */
	make_dir("devices/ctrl/nvme0/nvme0n1/slaves");
	make_link("devices/ctrl/nvme0/nvme0n1/device", "devices/ctrl/nvme0");
	make_file("devices/ctrl/nvme0/dev", "240:0\n");
	make_dir("devices/subsys/nvme-subsys1/nvme1n1/slaves");
	make_link("devices/subsys/nvme-subsys1/nvme1n1/device", "devices/subsys/nvme-subsys1");
	for (int i = 1; i <= 3; i++) {
		char path[64], target[64];

		snprintf(target, sizeof(target), "devices/ctrl/nvme%d", i);
		make_dir(target);
		snprintf(path, sizeof(path), "devices/subsys/nvme-subsys1/nvme%d", i);
		make_link(path, target);
		snprintf(path, sizeof(path), "devices/ctrl/nvme%d/state", i);
		make_file(path, i == 2 ? "live\n" : "connecting\n");
		snprintf(path, sizeof(path), "devices/ctrl/nvme%d/dev", i);
		make_file(path, i == 2 ? "240:2\n" : "240:9\n");
	}
	/* dm-0 on md0 on sda1, nvme1n1 and, again, sda. */
	make_disk("dm-0", "253:0\n", NULL);
	make_disk("md0", "9:0\n", NULL);
	make_link("devices/dm-0/slaves/md0", "devices/md0");
	make_link("devices/md0/slaves/sda1", "devices/sda/sda1");
	make_link("devices/md0/slaves/nvme1n1", "devices/subsys/nvme-subsys1/nvme1n1");
	make_link("devices/md0/slaves/sda", "devices/sda");
	return 0;
}

static int remove_sysfs(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

static void assert_disks(const char *home, int count, const char *name, enum xbdev_disk_kind kind,
	const char *number)
{
	struct xbdev_disk disks[XBDEV_MAX_DISKS];
	struct xu_error err = {0};
	int found = -1;

	make_home(home);
	assert_int_equal(xbdev_disks_find(top, top, disks, &err), count);
	for (int i = 0; i < count; i++) {
		found = strcmp(disks[i].name, name) == 0 ? i : found;
	}
	assert_true(found >= 0);
	assert_int_equal(disks[found].kind, kind);
	assert_string_equal(disks[found].dev_text, number);
	assert_int_equal(disks[found].is_char, kind == XBDEV_DISK_NVME);
}

static void test_disks_are_found_below_paths(void **state)
{
	assert_disks("devices/sda", 1, "sda", XBDEV_DISK_ATA, "8:0");
	assert_disks("devices/sda/sda1", 1, "sda", XBDEV_DISK_ATA, "8:0");
	assert_disks("devices/sdb", 1, "sdb", XBDEV_DISK_OTHER, "8:16");
	assert_disks("devices/vda", 1, "vda", XBDEV_DISK_OTHER, "254:0");
	assert_disks("devices/ctrl/nvme0/nvme0n1", 1, "nvme0", XBDEV_DISK_NVME, "240:0");
	assert_disks("devices/subsys/nvme-subsys1/nvme1n1", 1, "nvme2", XBDEV_DISK_NVME, "240:2");
	assert_disks("devices/dm-0", 2, "sda", XBDEV_DISK_ATA, "8:0");
	assert_disks("devices/dm-0", 2, "nvme2", XBDEV_DISK_NVME, "240:2");
}

/* Character devices: a controller's own, and that of a namespace. The node is /dev/null's, what it
 * is says the small sysfs. */
static void test_disks_are_found_by_their_controllers(void **state)
{
	struct xbdev_disk disks[XBDEV_MAX_DISKS];
	struct xu_error err = {0};

	make_dir("devices/ctrl/nvme0/ng0n1");
	make_link("devices/ctrl/nvme0/ng0n1/device", "devices/ctrl/nvme0");
	for (int i = 0; i < 2; i++) {
		make_link(
			"dev/char/1:3", i == 0 ? "devices/ctrl/nvme0" : "devices/ctrl/nvme0/ng0n1");
		assert_int_equal(xbdev_disks_find("/dev/null", top, disks, &err), 1);
		assert_int_equal(disks[0].kind, XBDEV_DISK_NVME);
		assert_string_equal(disks[0].name, "nvme0");
		assert_string_equal(disks[0].dev_text, "240:0");
		assert_true(disks[0].is_char);
	}
}

static void test_disks_circles_and_crowds_are_bounded(void **state)
{
	struct xbdev_disk disks[XBDEV_MAX_DISKS];
	struct xu_error err = {0};

	make_disk("loop-a", "1:1\n", NULL);
	make_disk("loop-b", "1:2\n", NULL);
	make_link("devices/loop-a/slaves/loop-b", "devices/loop-b");
	make_link("devices/loop-b/slaves/loop-a", "devices/loop-a");
	make_home("devices/loop-a");
	assert_int_equal(xbdev_disks_find(top, top, disks, &err), 1);

	make_disk("crowd", "1:3\n", NULL);
	for (int i = 0; i < 40; i++) {
		char name[32], path[64], target[64];

		snprintf(name, sizeof(name), "xd%d", i);
		make_disk(name, "2:0\n", NULL);
		snprintf(path, sizeof(path), "devices/crowd/slaves/%s", name);
		snprintf(target, sizeof(target), "devices/%s", name);
		make_link(path, target);
	}
	make_home("devices/crowd");
	assert_int_equal(xbdev_disks_find(top, top, disks, &err), XBDEV_MAX_DISKS);
}

static void test_disks_that_are_not_told_are_an_error(void **state)
{
	struct xbdev_disk disks[XBDEV_MAX_DISKS];
	struct xu_error err = {0};
	char path[128];

	assert_int_equal(xbdev_disks_find("/nonexistent", top, disks, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent"));
	/* An NVMe disk without a live path. */
	snprintf(path, sizeof(path), "devices/ctrl/nvme2/state");
	make_file(path, "dead\n");
	make_home("devices/subsys/nvme-subsys1/nvme1n1");
	assert_int_equal(xbdev_disks_find(top, top, disks, &err), -ENODEV);
	make_file(path, "live\n");
	make_home("devices/nothing");
	assert_int_equal(xbdev_disks_find(top, top, disks, &err), -ENODEV);
	assert_non_null(strstr(err.text, "does not tell"));
	/* This machine: a device that is no disk, and the nodes that must be what sysfs says. */
	assert_int_equal(xbdev_disks_find("/dev/null", NULL, disks, &err), -ENODEV);
	assert_int_equal(xbdev_disks_find("/proc/self/stat", NULL, disks, &err), -ENODEV);
	disks[0] = (struct xbdev_disk){.name = "null", .dev_text = "1:3", .is_char = true};
	assert_true(close(xbdev_disk_open(&disks[0], &err)) == 0);
	strcpy(disks[0].dev_text, "1:5");
	assert_int_equal(xbdev_disk_open(&disks[0], &err), -ENODEV);
	strcpy(disks[0].dev_text, "1:3");
	disks[0].is_char = false;
	assert_int_equal(xbdev_disk_open(&disks[0], &err), -ENODEV);
	strcpy(disks[0].name, "xsan-no-such-node");
	assert_int_equal(xbdev_disk_open(&disks[0], &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nvme_log_is_understood),
		cmocka_unit_test(test_nvme_warnings_are_understood),
		cmocka_unit_test(test_nvme_log_of_nonsense_is_bounded),
		cmocka_unit_test(test_ata_attributes_are_understood),
		cmocka_unit_test(test_ata_values_that_cannot_be_are_left_out),
		cmocka_unit_test(test_ata_statistics_override_attributes),
		cmocka_unit_test(test_ata_statistics_must_be_valid),
		cmocka_unit_test(test_ata_features_are_understood),
		cmocka_unit_test(test_ata_status_is_found_in_sense_data),
		cmocka_unit_test(test_ata_failing_disk_is_failing),
		cmocka_unit_test(test_health_follows_its_rules),
		cmocka_unit_test(test_health_counts_our_own_errors),
		cmocka_unit_test(test_lifetime_says_how_it_is_estimated),
		cmocka_unit_test_setup_teardown(
			test_disks_are_found_below_paths, make_sysfs, remove_sysfs),
		cmocka_unit_test_setup_teardown(
			test_disks_are_found_by_their_controllers, make_sysfs, remove_sysfs),
		cmocka_unit_test_setup_teardown(
			test_disks_circles_and_crowds_are_bounded, make_sysfs, remove_sysfs),
		cmocka_unit_test_setup_teardown(
			test_disks_that_are_not_told_are_an_error, make_sysfs, remove_sysfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer's mutations of fuzz_nvmetcp's inputs. Half of them change bytes anywhere; the others
 * know the records: they leave out, repeat, move and insert whole ones, give a command another
 * opcode or length, and change the bytes within one record only.
 */
#include "lib/util/random.h"
#include "lib/xnvmf/wire/tcp.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/initiator.h"
#include "test/fuzz/record.h"

#define MAX_RECORDS 512u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
	size_t size2, uint8_t *out, size_t max_out_size, unsigned int seed);

struct script {
	uint8_t *data;
	size_t size, max_size;
	size_t starts[MAX_RECORDS + 1]; /* of the records, and the end of the last */
	uint32_t nr_records;
	struct xu_random random;
};

static void find_records(struct script *s)
{
	size_t at = RECORD_HEADER_BYTES;

	s->nr_records = 0;
	while (at < s->size && s->nr_records < MAX_RECORDS) {
		s->starts[s->nr_records++] = at;
		at += record_bytes(s->data + at, s->size - at);
	}
	s->starts[s->nr_records] = at < s->size ? at : s->size;
}

static uint32_t pick(struct script *s, uint32_t bound)
{
	return (uint32_t)xu_random_below(&s->random, bound);
}

/* Puts a record in front of another, or at the end. */
static void insert(struct script *s, uint32_t index, const uint8_t *record, size_t len)
{
	size_t at = s->starts[index];

	if (s->size + len > s->max_size) {
		return;
	}
	memmove(s->data + at + len, s->data + at, s->size - at);
	memcpy(s->data + at, record, len);
	s->size += len;
}

static void leave_out(struct script *s, uint32_t index)
{
	size_t at = s->starts[index], end = s->starts[index + 1];

	memmove(s->data + at, s->data + end, s->size - end);
	s->size -= end - at;
}

static void repeat(struct script *s, uint32_t from, uint32_t to)
{
	uint8_t record[1024];
	size_t len = s->starts[from + 1] - s->starts[from];

	memcpy(record, s->data + s->starts[from], len);
	insert(s, to, record, len);
}

/* ---- new records ---- */

/* A command that does something. */
struct idea {
	uint8_t opc, nsid, how;
	uint32_t cdw10, cdw11, cdw12, len;
};

static const struct idea admin_ideas[] = {
	{NVME_ADMIN_IDENTIFY, 0, 0, NVME_CNS_CTRL, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 1, 0, NVME_CNS_NS, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 0, 0, NVME_CNS_ACTIVE_NS, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 1, 0, NVME_CNS_NS_DESCS, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 1, 0, NVME_CNS_CSI_NS, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 0, 0, NVME_CNS_CSI_CTRL, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 0, 0, NVME_CNS_CSI_ACTIVE_NS, 0, 0, 0},
	{NVME_ADMIN_IDENTIFY, 1, 0, NVME_CNS_INDEPENDENT_NS, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0xff0000u | NVME_LOG_SUPPORTED, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0x1f0000u | NVME_LOG_ERROR, 0, 64, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0xff, 0, 0x7f0000u | NVME_LOG_SMART, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0x7f0000u | NVME_LOG_FIRMWARE, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0x3ff0000u | NVME_LOG_CHANGED_NS, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0x3ff0000u | NVME_LOG_EFFECTS, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0x3ff0000u | NVME_LOG_DISCOVERY, 0, 0, 0},
	{NVME_ADMIN_GET_LOG_PAGE, 0, 0, 0xff0000u | NVME_LOG_DISCOVERY, 0, 1024, 0},
	{NVME_ADMIN_ABORT, 0, 0, 0x50000u, 0, 0, 0},
	{NVME_ADMIN_SET_FEATURES, 0, 0, NVME_FEAT_NR_QUEUES, 0x30003u, 0, 0},
	{NVME_ADMIN_SET_FEATURES, 0, 0, NVME_FEAT_ASYNC_EVENTS, NVME_OAES_NS_ATTR, 0, 0},
	{NVME_ADMIN_SET_FEATURES, 0, 0, NVME_FEAT_ASYNC_EVENTS, NVME_OAES_DISCOVERY, 0, 0},
	{NVME_ADMIN_SET_FEATURES, 0, 0, NVME_FEAT_KEEP_ALIVE, 5000, 0, 0},
	{NVME_ADMIN_SET_FEATURES, 0, 0, NVME_FEAT_HOST_BEHAVIOR, 0, 0, 512},
	{NVME_ADMIN_GET_FEATURES, 0, 0, NVME_FEAT_HOST_ID, 1, 0, 16},
	{NVME_ADMIN_GET_FEATURES, 0, COMMAND_OWN_LEN, NVME_FEAT_NR_QUEUES, 0, 0, 4096},
	{NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0},
	{NVME_ADMIN_KEEP_ALIVE, 0, 0, 0, 0, 0, 0},
	{NVME_FABRICS, NVME_FCTYPE_PROPERTY_GET, 0, 1, NVME_PROP_CAP, 0, 0},
	{NVME_FABRICS, NVME_FCTYPE_PROPERTY_GET, 0, 0, NVME_PROP_CSTS, 0, 0},
	{NVME_FABRICS, NVME_FCTYPE_PROPERTY_SET, 0, 0, NVME_PROP_CC, 0x460000u, 0},
	{NVME_FABRICS, NVME_FCTYPE_PROPERTY_SET, 0, 0, NVME_PROP_CC, 0x460001u, 0},
	{NVME_FABRICS, NVME_FCTYPE_PROPERTY_SET, 0, 0, NVME_PROP_CC, 0x464001u, 0},
	{NVME_ADMIN_SET_FEATURES, 0, 0, NVME_FEAT_HOST_BEHAVIOR, 0, 0, 1u << 20},
	{NVME_ADMIN_GET_FEATURES, 0, 0, NVME_FEAT_NR_QUEUES, 0, 0, 1u << 20},
};

static const struct idea io_ideas[] = {
	{NVME_IO_READ, 1, 0, 0, 0, 7, 0},
	{NVME_IO_READ, 2, 0, 3, 0, 0, 0},
	{NVME_IO_READ, 3, 0, 0, 0, 127, 0},
	{NVME_IO_WRITE, 1, COMMAND_IN_CAPSULE, 0, 0, 7, 0},
	{NVME_IO_WRITE, 1, 0, 8, 0, NVME_RW_FUA | 127, 0},
	{NVME_IO_WRITE, 2, 0, 0, 0, 15, 0},
	{NVME_IO_WRITE, 3, 0, 0, 0, 15, 0},
	{NVME_IO_COMPARE, 1, 0, 0, 0, 0, 0},
	{NVME_IO_COMPARE, 2, COMMAND_IN_CAPSULE, 0, 0, 0, 0},
	{NVME_IO_WRITE_ZEROES, 1, 0, 0, 0, NVME_WZ_DEAC | 63, 0},
	{NVME_IO_WRITE_ZEROES, 2, 0, 0, 0, 3, 0},
	{NVME_IO_DSM, 1, COMMAND_IN_CAPSULE, 0, NVME_DSM_AD, 0, 0},
	{NVME_IO_DSM, 2, 0, 3, NVME_DSM_AD, 0, 0},
	{NVME_IO_VERIFY, 1, 0, 0, 0, 31, 0},
	{NVME_IO_VERIFY, 3, 0, 0, 0, 0, 0},
	{NVME_IO_FLUSH, 1, 0, 0, 0, 0, 0},
	{NVME_IO_FLUSH, 0xff, 0, 0, 0, 0, 0},
	{NVME_FABRICS, NVME_FCTYPE_DISCONNECT, 0, 0, 0, 0, 0},
};

#define NR_ADMIN (sizeof(admin_ideas) / sizeof(admin_ideas[0]))
#define NR_IO    (sizeof(io_ideas) / sizeof(io_ideas[0]))

static size_t put_u32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
	return sizeof(value);
}

static size_t new_command(struct script *s, uint8_t *record)
{
	bool is_io = pick(s, 2) != 0;
	const struct idea *idea =
		is_io ? &io_ideas[pick(s, NR_IO)] : &admin_ideas[pick(s, NR_ADMIN)];
	size_t len = 0;

	record[len++] = (uint8_t)(RECORD_COMMAND | (pick(s, 2) * 2 + is_io) << 4 | pick(s, 4) << 6);
	record[len++] = idea->opc;
	record[len++] = (uint8_t)pick(s, 8);
	record[len++] = idea->nsid;
	record[len++] = idea->how;
	len += put_u32(record + len, idea->cdw10);
	len += put_u32(record + len, idea->cdw11);
	len += put_u32(record + len, idea->cdw12);
	memset(record + len, 0, 3);
	len += 3;
	len += put_u32(record + len, idea->len);
	record[len++] = (uint8_t)(pick(s, 8) == 0 ? pick(s, NR_FLAWS) : 0);
	record[len++] = (uint8_t)pick(s, 256);
	record[len++] = 0;
	return len;
}

/* Any other record, with small numbers in it. */
static size_t new_record(struct script *s, uint8_t *record)
{
	static const uint8_t kinds[] = {RECORD_ANSWER, RECORD_ANSWER, RECORD_ANSWER, RECORD_CONNECT,
		RECORD_CONNECT, RECORD_ICREQ, RECORD_H2C_DATA, RECORD_OPEN, RECORD_END,
		RECORD_BLOCK, RECORD_TIME, RECORD_MANAGE, RECORD_MANAGE};
	uint8_t kind = kinds[pick(s, sizeof(kinds))];
	size_t len = 1;

	record[0] = (uint8_t)(kind | pick(s, 16) << 4);
	for (uint32_t i = 0; i < record_formats[kind].fixed_bytes; i++) {
		record[len++] = (uint8_t)(pick(s, 4) == 0 ? pick(s, 256) : pick(s, 4));
	}
	if (kind != RECORD_MANAGE && kind != RECORD_END && kind != RECORD_BLOCK &&
		kind != RECORD_TIME && kind != RECORD_OPEN && pick(s, 4) != 0) {
		record[len - 2] = FLAW_NONE;
	}
	if (kind == RECORD_MANAGE) {
		record[1] = (uint8_t)pick(s, NR_MANAGE_ACTIONS);
		record[2] = (uint8_t)pick(s, 256);
	}
	return len;
}

/* ---- mutations ---- */

/* Changes bytes of one record, and of nothing behind it. */
static void change_within(struct script *s, uint32_t index)
{
	size_t at = s->starts[index], len = s->starts[index + 1] - at;

	LLVMFuzzerMutate(s->data + at, len, len);
}

static void change_command(struct script *s, uint32_t index)
{
	size_t at = s->starts[index];
	uint8_t record[64];
	size_t len;

	if (RECORD_KIND(s->data[at]) != RECORD_COMMAND || s->starts[index + 1] - at < 5) {
		s->data[at] = (uint8_t)((s->data[at] & 0xfu) | pick(s, 16) << 4);
		return;
	}
	switch (pick(s, 4)) {
	case 0:
		len = new_command(s, record);
		len = len < s->starts[index + 1] - at ? len : s->starts[index + 1] - at;
		memcpy(s->data + at, record, len - 1);
		break;
	case 1:
		s->data[at + 3] = (uint8_t)pick(s, 6);
		break;
	case 2:
		s->data[at + 4] ^= (uint8_t)(1u << pick(s, 3));
		break;
	default:
		s->data[at + 2] = (uint8_t)pick(s, 4);
		break;
	}
}

static void mutate_once(struct script *s)
{
	uint32_t index = s->nr_records != 0 ? pick(s, s->nr_records) : 0;
	uint8_t record[1024];
	size_t len;

	if (s->nr_records == 0 || pick(s, 3) == 0) {
		len = pick(s, 2) != 0 ? new_command(s, record) : new_record(s, record);
		insert(s, pick(s, s->nr_records + 1), record, len);
		return;
	}
	switch (pick(s, 6)) {
	case 0:
		leave_out(s, index);
		break;
	case 1:
		repeat(s, index, pick(s, s->nr_records + 1));
		break;
	case 2:
		s->data[pick(s, RECORD_HEADER_BYTES)] ^= (uint8_t)(1u << pick(s, 8));
		break;
	case 3:
		change_within(s, index);
		break;
	default:
		change_command(s, index);
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	struct script s = {.data = data, .size = size, .max_size = max_size};

	xu_random_seed(&s.random, seed);
	if (size < RECORD_HEADER_BYTES || max_size < 64 || pick(&s, 3) == 0) {
		return LLVMFuzzerMutate(data, size, max_size);
	}
	for (uint32_t i = 0, count = 1 + pick(&s, 3); i < count; i++) {
		find_records(&s);
		mutate_once(&s);
	}
	return s.size;
}

/* The header and the first records of one, the last ones of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
	size_t size2, uint8_t *out, size_t max_out_size, unsigned int seed)
{
	struct script one = {.data = (uint8_t *)data1, .size = size1},
		      two = {.data = (uint8_t *)data2, .size = size2};
	size_t end, start, rest;

	xu_random_seed(&one.random, seed);
	if (size1 < RECORD_HEADER_BYTES || size2 < RECORD_HEADER_BYTES) {
		return 0;
	}
	find_records(&one);
	find_records(&two);
	end = one.starts[pick(&one, one.nr_records + 1)];
	start = two.starts[pick(&one, two.nr_records + 1)];
	end = end < max_out_size ? end : max_out_size;
	rest = size2 - start < max_out_size - end ? size2 - start : max_out_size - end;
	memcpy(out, data1, end);
	memcpy(out + end, data2 + start, rest);
	return end + rest;
}

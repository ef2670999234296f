/* SPDX-License-Identifier: BSD-3-Clause */
/* See bad_log.h. */
#include "test/unit/xnvmf/bad_log.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/xnvmf/host/host.h"

void bad_log_init(struct bad_log *log, uint32_t count)
{
	memset(log, 0, sizeof(*log));
	log->header.genctr = 1;
	log->header.numrec = count;
	for (uint32_t i = 0; i < BAD_LOG_ENTRIES; i++) {
		struct nvme_discovery_entry *entry = &log->entries[i];

		entry->trtype = NVME_TRTYPE_TCP;
		entry->adrfam = NVME_ADRFAM_IPV4;
		entry->subtype = NVME_SUBTYPE_NVM;
		entry->portid = (uint16_t)i;
		memset(entry->trsvcid, ' ', sizeof(entry->trsvcid));
		memcpy(entry->trsvcid, "4420", 4);
		snprintf(entry->subnqn, sizeof(entry->subnqn), "nqn.2026-11.io.xsan:log-%u", i);
		snprintf(entry->traddr, sizeof(entry->traddr), "192.0.2.%u", i + 1);
	}
	log->id.cntrltype = NVME_CNTRLTYPE_DISCOVERY;
	log->id.cntlid = 1;
	log->id.oaes = NVME_OAES_DISCOVERY;
	strcpy(log->id.subnqn, "nqn.2026-11.io.xsan:bad-log");
}

void bad_log_extend(struct bad_log *log)
{
	const struct nvme_discovery_extension extension = {.tel = BAD_LOG_EXTENDED, .numexat = 2};
	const struct nvme_discovery_attribute host = {NVME_EXAT_HOST_ID, NVME_EXAT_HOSTID_BYTES};
	const struct nvme_discovery_attribute label = {NVME_EXAT_LABEL_UTF8, NVME_EXAT_LABEL_BYTES};

	log->is_extended = true;
	log->header.dlpf = NVME_DLPF_EXTENDED;
	log->header.tdlpl = (uint32_t)(sizeof(log->header) + log->header.numrec * BAD_LOG_EXTENDED);
	for (uint32_t i = 0; i < BAD_LOG_ENTRIES; i++) {
		uint8_t *at = log->extensions[i];

		memcpy(at, &extension, sizeof(extension));
		at += sizeof(extension);
		memcpy(at, &host, sizeof(host));
		at += sizeof(host) + host.len;
		memcpy(at, &label, sizeof(label));
		snprintf((char *)at + sizeof(label), label.len, "label %u", i);
	}
}

/* A byte of the log as it is asked for; 0 behind it. */
static uint8_t byte_of(const struct bad_log *log, uint64_t at)
{
	const size_t record = sizeof(log->entries[0]);
	const bool is_extended = log->is_extended && (log->options & XNVMF_HOST_EXTENDED) != 0;
	const size_t stride = is_extended ? BAD_LOG_EXTENDED : record;
	uint64_t index, offset;

	if (at < sizeof(log->header)) {
		const uint8_t byte = ((const uint8_t *)&log->header)[at];

		/* Nobody is told of what is not there. */
		return at == offsetof(struct nvme_discovery_header, dlpf) && !is_extended ? 0
											  : byte;
	}
	index = (at - sizeof(log->header)) / stride;
	offset = (at - sizeof(log->header)) % stride;
	if (index >= BAD_LOG_ENTRIES) {
		return 0;
	}
	return offset < record ? ((const uint8_t *)&log->entries[index])[offset]
			       : log->extensions[index][offset - record];
}

static void get_log(struct bad_log *log, struct bad_conn *conn, struct bad_cmd *cmd)
{
	const struct nvme_cmd *sqe = &cmd->sqe;
	uint64_t offset = (uint64_t)sqe->cdw13 << 32 | sqe->cdw12;

	log->options = (uint8_t)(sqe->cdw10 >> 8 & 0x7fu);
	if ((log->options != 0 && log->refuses_options) ||
		((log->options & XNVMF_HOST_EXTENDED) != 0 && log->refuses_extended)) {
		bad_complete(conn, cmd, NVME_SC_INVALID_FIELD, 0);
		return;
	}
	if (offset == 0) {
		log->nr_headers++;
		log->header.genctr += log->moves;
	}
	for (uint32_t i = 0; i < cmd->len; i++) {
		cmd->data[i] = byte_of(log, offset + i);
	}
	bad_send_data(conn, cmd);
}

static bool connect_host(struct bad_log *log, struct bad_conn *conn, struct bad_cmd *cmd)
{
	const struct nvme_connect_cmd *connect = (const struct nvme_connect_cmd *)&cmd->sqe;

	log->cattr = connect->cattr;
	log->kato_ms = connect->kato;
	log->nr_connects++;
	if (connect->kato != 0 && log->refuses_kato) {
		bad_complete(conn, cmd, NVME_SC_CONNECT_PARAM, 48);
		return true;
	}
	return false;
}

bool bad_log_on_command(struct bad_conn *conn, struct bad_cmd *cmd)
{
	struct bad_log *log = conn->target->opts.arg;

	switch (cmd->sqe.opc) {
	case NVME_FABRICS:
		return NVME_CMD_FCTYPE(&cmd->sqe) == NVME_FCTYPE_CONNECT &&
		       connect_host(log, conn, cmd);
	case NVME_ADMIN_IDENTIFY:
		memcpy(cmd->data, &log->id,
			cmd->len < sizeof(log->id) ? cmd->len : sizeof(log->id));
		bad_send_data(conn, cmd);
		return true;
	case NVME_ADMIN_GET_LOG_PAGE:
		get_log(log, conn, cmd);
		return true;
	case NVME_ADMIN_KEEP_ALIVE:
		log->nr_keep_alives++;
		return false;
	default:
		return false;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* See bad_log.h. */
#include "test/unit/xnvmf/bad_log.h"

#include <stdio.h>
#include <string.h>

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

static void get_log(struct bad_log *log, struct bad_conn *conn, struct bad_cmd *cmd)
{
	const struct nvme_cmd *sqe = &cmd->sqe;
	uint64_t offset = (uint64_t)sqe->cdw13 << 32 | sqe->cdw12;
	const uint64_t size = sizeof(log->header) + sizeof(log->entries);

	log->options = (uint8_t)(sqe->cdw10 >> 8 & 0x7fu);
	if (log->options != 0 && log->refuses_options) {
		bad_complete(conn, cmd, NVME_SC_INVALID_FIELD, 0);
		return;
	}
	if (offset == 0) {
		log->nr_headers++;
		log->header.genctr += log->moves;
	}
	memset(cmd->data, 0, cmd->len);
	for (uint64_t at = offset; at < size && at - offset < cmd->len; at++) {
		cmd->data[at - offset] =
			at < sizeof(log->header)
				? ((const uint8_t *)&log->header)[at]
				: ((const uint8_t *)log->entries)[at - sizeof(log->header)];
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

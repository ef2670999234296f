/* SPDX-License-Identifier: BSD-3-Clause */
/* A discovery controller made of the scripted target: for its on_command, with this as its arg. */
#ifndef TEST_BAD_LOG_H
#define TEST_BAD_LOG_H

#include "lib/xnvmf/wire/nvme.h"
#include "test/unit/xnvmf/bad_target.h"

#define BAD_LOG_ENTRIES 64u

struct bad_log {
	struct nvme_discovery_header header;
	struct nvme_discovery_entry entries[BAD_LOG_ENTRIES];
	struct nvme_id_ctrl id;
	bool refuses_options, refuses_kato, moves;
	/* What it was asked. */
	uint8_t cattr, options;
	uint32_t kato_ms, nr_connects, nr_headers, nr_keep_alives;
};

/* `count` good entries; tells of changes. */
void bad_log_init(struct bad_log *log, uint32_t count);
bool bad_log_on_command(struct bad_conn *conn, struct bad_cmd *cmd);

#endif

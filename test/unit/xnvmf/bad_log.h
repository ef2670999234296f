/* SPDX-License-Identifier: BSD-3-Clause */
/* A discovery controller made of the scripted target: for its on_command, with this as its arg. */
#ifndef TEST_BAD_LOG_H
#define TEST_BAD_LOG_H

#include "lib/xnvmf/wire/nvme.h"
#include "test/unit/xnvmf/bad_target.h"

#define BAD_LOG_ENTRIES  64u
#define BAD_LOG_EXTENDED 1312u /* bytes of an entry with attributes */

struct bad_log {
	struct nvme_discovery_header header;
	struct nvme_discovery_entry entries[BAD_LOG_ENTRIES];
	/* What is behind each of them in the extended log. */
	uint8_t extensions[BAD_LOG_ENTRIES][BAD_LOG_EXTENDED - sizeof(struct nvme_discovery_entry)];
	struct nvme_id_ctrl id;
	bool refuses_options, refuses_extended, refuses_kato, moves;
	bool is_extended; /* when that is asked for */
	/* What it was asked. */
	uint8_t cattr, options;
	uint32_t kato_ms, nr_connects, nr_headers, nr_keep_alives;
};

/* `count` good entries; tells of changes. */
void bad_log_init(struct bad_log *log, uint32_t count);
/* Has an extended log too: each entry with a label, "label N". */
void bad_log_extend(struct bad_log *log);
bool bad_log_on_command(struct bad_conn *conn, struct bad_cmd *cmd);

#endif

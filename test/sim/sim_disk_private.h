/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to test/sim: what a disk is made of. */
#ifndef TEST_SIM_DISK_PRIVATE_H
#define TEST_SIM_DISK_PRIVATE_H

#include "test/sim/sim_private.h"

#define SIM_MAX_FAULTS 16u

struct sim_rule {
	struct sim_fault fault;
	uint64_t nr_seen, nr_hit;
};

struct sim_disk {
	struct sim_host *host;
	struct xu_list link;
	char *path;
	struct sim_disk_opts opts;
	struct sim_image *base;    /* before the log; durable */
	struct sim_image *content; /* what reads see */
	struct sim_log_entry **log;
	uint64_t nr_log, log_size;
	struct sim_log_entry **applied; /* the log in order of application, without flushes */
	uint64_t nr_applied;
	uint64_t point;
	struct xu_list inflight;
	struct xu_list hanging;
	struct sim_rule rules[SIM_MAX_FAULTS];
	uint32_t nr_rules;
	uint64_t nr_faults;
	uint32_t nr_exclusive, nr_shared; /* locks held */
};

/* An open file. */
struct sim_file {
	struct sim_object base;
	struct sim_disk *disk; /* NULL: its host has ended */
	struct xu_list link;
	bool is_read_only;
	bool is_direct;
	bool is_exclusive;
};

extern const struct sim_object_ops sim__file_object_ops;
static inline struct sim_file *sim__file_of(struct sim_object *object)
{
	return xu_container_of(object, struct sim_file, base);
}

/* sim_disk.c */
void sim__disk_start(struct sim_file *file, struct sim_op *sop);
void sim__disk_cancel(struct sim_disk *disk, struct sim_op *sop);
/* For calls that block: done at once, as volatile as any other. 0 or -errno. */
int sim__disk_zero_now(struct sim_disk *disk, uint64_t offset, uint64_t len, bool is_punched);
void sim__disk_sync_now(struct sim_disk *disk);
void sim__disk_resize_now(struct sim_disk *disk, uint64_t size_bytes);
void sim__disk_orphan_inflight(struct sim_disk *disk);

/* sim_log.c */
struct sim_log_entry *sim__log_add(struct sim_disk *disk, enum sim_log_kind kind, uint64_t offset,
	uint64_t len, bool is_dsync);
/* Applies the entry to the content. */
void sim__log_apply(struct sim_disk *disk, struct sim_log_entry *entry);
void sim__log_complete(struct sim_disk *disk, struct sim_log_entry *entry, int32_t result);
void sim__log_clear(struct sim_disk *disk);
/* The operation has become a mere possibility: keeps its data, forgets the operation. */
void sim__log_capture(struct sim_disk *disk, struct sim_log_entry *entry);

#endif

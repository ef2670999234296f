/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to the arrays of the model test: members fail, vanish, come back, are replaced;
 * disks refuse operations; arrays are stopped and assembled; their process is killed, their power
 * fails. Only what redundancy covers. See raid_model.h.
 */
#include "test/sim/raid_model.h"

/* ---- what happens to arrays ---- */

static bool is_quiet(void *arg)
{
	struct run *run = arg;

	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		const struct xbdev_md_array *md = model_md(&run->arrays[i]);

		if (md->sync != NULL || md->nr_repairs > 0 || md->is_active ||
			md->meta.is_writing) {
			return false;
		}
	}
	return true;
}

void model_settle(struct run *run)
{
	model_wait_idle(run);
	assert_int_equal(sim_run(run->sim, is_quiet, run, 3600 * XU_NS_PER_S), 0);
}

/* Blocks that a member has refused are missing from it until they are written again. */
static bool has_bad_blocks(const struct array *array)
{
	const struct xbdev_md_array *md = model_md(array);

	for (uint32_t i = 0; i < md->nr_members; i++) {
		const struct xbdev_md_member *member = md->members[i];

		if (member != NULL && member->bad != NULL && member->bad->count > 0) {
			return true;
		}
	}
	return false;
}

static bool is_whole(const struct array *array)
{
	const struct xbdev_md_array *md = model_md(array);

	return md->nr_degraded == 0 && md->in_sync_below == XBDEV_MD_NEVER &&
	       !has_bad_blocks(array);
}

/* All arrays have all that they can have: one fault more is no loss. */
static bool is_all_whole(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		if (!is_whole(&run->arrays[i])) {
			return false;
		}
	}
	return !run->has_faults;
}

static struct array *any_array(struct run *run)
{
	return &run->arrays[model_below(run, run->nr_arrays)];
}

static const char *any_name(struct run *run, struct array *array)
{
	return array->names[model_below(run, array->nr_names)];
}

static void add(struct run *run, struct array *array)
{
	uint32_t i = (uint32_t)model_below(run, array->nr_names);

	if (model_manage(run, array, XBDEV_MD_COMMAND_ADD, array->names[i], NULL) == 0) {
		array->was_member[i] = true;
	}
}

static void replace(struct run *run, struct array *array)
{
	uint32_t i = (uint32_t)model_below(run, array->nr_names);

	if (model_manage(run, array, XBDEV_MD_COMMAND_REPLACE, any_name(run, array),
		    array->names[i]) == 0) {
		array->was_member[i] = true;
	}
}

/* As many members as the level allows, never while copies or parity are not known to agree. */
static void set_faulty(struct run *run, struct array *array)
{
	if (model_md(array)->in_sync_below == XBDEV_MD_NEVER && !run->has_faults &&
		!has_bad_blocks(array)) {
		run->nr_failed += model_manage(run, array, XBDEV_MD_COMMAND_FAIL,
					  any_name(run, array), NULL) == 0;
	}
}

/* Some operations of one disk fail, or some sectors of all of them, never the same ones: only what
 * redundancy covers. Members whose metadata cannot be written are out; all else costs nothing. */
static void break_disk(struct run *run)
{
	struct sim_fault fault = {.kind = SIM_FAULT_ERROR, .count = 1 + model_below(run, 3)};
	bool has_mirrors = run->kind->level == 10 || run->kind->inner != NULL;
	uint64_t kind = model_below(run, has_mirrors ? 3 : 4);

	if (!is_all_whole(run) || run->kind->level < 1 ||
		(run->kind->inner != NULL && run->kind->inner->level < 1)) {
		return;
	}
	fault.ops = 1u << (kind == 0 || kind == 3 ? XR_OP_READ : XR_OP_WRITE);
	fault.offset = run->data_offset + model_below(run, 256) * SECTOR;
	fault.len = SECTOR << model_below(run, 6);
	if (kind == 1) {
		fault.offset = fault.len = 0;
		fault.skip = model_below(run, 40);
		fault.count = 1;
	} else if (kind == 2) {
		fault.count = 0;
	}
	for (uint32_t i = 0; i < run->nr_disks && kind == 3; i++) {
		fault.offset = run->data_offset + (i + MAX_DISKS * model_below(run, 16)) * SECTOR;
		fault.len = SECTOR;
		fault.count = 0;
		sim_disk_fault_add(run->disks[i], &fault);
	}
	if (kind != 3) {
		sim_disk_fault_add(run->disks[model_below(run, run->nr_disks)], &fault);
	}
	run->has_faults = true;
}

void model_mend_disks(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_disks && run->has_faults; i++) {
		sim_disk_faults_clear(run->disks[i]);
	}
	run->has_faults = false;
}

/* The device of a disk goes, amid all that it is doing, and comes back. */
static void vanish(struct run *run)
{
	uint32_t i = (uint32_t)model_below(run, run->nr_disks);
	char name[8];

	if (!is_all_whole(run) || run->kind->inner != NULL || run->kind->level < 1) {
		return;
	}
	snprintf(name, sizeof(name), "m%u", i);
	sim_bdev_remove(run->sim, xbdev_device_find(run->ctx, name));
	for (uint64_t n = model_below(run, 4); n > 0; n--) {
		model_submit(run);
	}
	model_open_disk(run, i);
	run->nr_vanished++;
}

static void restart(struct run *run)
{
	model_mend_disks(run);
	model_wait_idle(run);
	model_close_top(run);
	for (uint32_t i = run->nr_arrays; i-- > 0;) {
		sim_bdev_remove(run->sim, run->arrays[i].dev);
	}
	model_make_all(run, false);
	run->nr_restarts++;
}

/* A parity array that is both dirty and degraded is not started after a crash, and rightly, unless
 * a log makes good what was being written. What the disks say is behind what the array knows while
 * they are being told. */
static bool may_crash(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		const struct array *array = &run->arrays[i];
		const struct xbdev_md_array *md = model_md(array);
		bool is_lacking = md->nr_degraded > 0 || has_bad_blocks(array);

		if (md->log != NULL) {
			/* Amid a resync it tells nothing yet. */
			if (is_lacking &&
				(!md->log->is_trusted || md->in_sync_below != XBDEV_MD_NEVER)) {
				return false;
			}
		} else if (model_is_parity(array) &&
			   (md->meta.is_writing || (is_lacking && md->is_active))) {
			return false;
		}
	}
	return true;
}

/* Then somebody may be missing who counts. One that was just taking a place, or getting its
 * content, is there. */
static bool has_empty_role(const struct array *array)
{
	const struct xbdev_md_array *md = model_md(array);

	for (uint32_t role = 0; role < md->geo.raid_disks; role++) {
		if (md->roles[role] == NULL) {
			return true;
		}
	}
	return false;
}

static bool has_recovering_role(const struct array *array)
{
	const struct xbdev_md_array *md = model_md(array);

	for (uint32_t role = 0; role < md->geo.raid_disks; role++) {
		if (md->roles[role] != NULL &&
			md->roles[role]->state == XBDEV_MD_MEMBER_RECOVERING) {
			return true;
		}
	}
	return false;
}

static void crash(struct run *run)
{
	static char content[MAX_SECTORS * SECTOR];
	bool is_power_failure = model_below(run, 2) == 0;

	model_mend_disks(run);
	model_note_degraded(run);
	if (!may_crash(run)) {
		model_settle(run);
	}
	if (!may_crash(run)) {
		return;
	}
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		run->arrays[i].is_lacking = has_empty_role(&run->arrays[i]);
		run->arrays[i].may_lack = has_recovering_role(&run->arrays[i]);
	}
	run->is_dead = true;
	if (is_power_failure) {
		sim_host_power_fail(run->host, NULL);
	} else {
		sim_host_kill(run->host);
	}
	sim_host_bury(run->host);
	model_wait_idle(run);
	model_close_top(run);
	sim_ctx_free(run->sim, run->ctx);
	run->host = sim_host_reboot(run->host);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_find(run->host, path);
		sim_disk_log_trim(run->disks[i]);
	}
	model_open_disks(run);
	model_make_all(run, false);
	model_note_lacking(run);
	model_read_all(run, content);
	model_settle_content(run, content, is_power_failure);
	model_note_degraded(run);
	run->nr_crashes++;
}

void model_happen(struct run *run)
{
	struct array *array = any_array(run);

	switch (model_below(run, 18)) {
	case 0:
	case 1:
		if (is_all_whole(run) || run->kind->inner == NULL) {
			set_faulty(run, array);
		}
		break;
	case 2:
	case 3:
		model_manage(run, array, XBDEV_MD_COMMAND_REMOVE, any_name(run, array), NULL);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		add(run, array);
		break;
	case 8:
	case 9:
		replace(run, array);
		break;
	case 10:
		model_manage(run, array,
			model_below(run, 2) == 0 ? XBDEV_MD_COMMAND_CHECK : XBDEV_MD_COMMAND_REPAIR,
			NULL, NULL);
		break;
	case 11:
	case 12:
		break_disk(run);
		break;
	case 13:
		restart(run);
		break;
	case 14:
		crash(run);
		break;
	case 15:
	case 16:
		vanish(run);
		break;
	default:
		model_settle(run);
		model_mend_disks(run);
		break;
	}
}

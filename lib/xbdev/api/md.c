/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RAID arrays: made, assembled, stopped, run again, managed. Each call is a call on the control
 * reactor that hands its arguments to lib/xbdev/raid, in MD's terms, and waits for the answer. What
 * is not served is refused here, before anything is touched.
 *
 * Arrays that have been stopped are remembered with their members for xbdev_md_run(); the list is
 * the control reactor's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/api/private.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/raid/examine.h"
#include "lib/xbdev/raid/raid.h"

#define BITMAP_CHUNK_KB_MAX (1 << 20)
#define NAMES_MAX           96  /* members and spares of one call */
#define STOPPED_MAX         64u /* remembered */
#define SET_NAME_BYTES_MAX  31u

/* ---- terms ---- */

static const struct {
	int level; /* the document's */
	int32_t md;
} levels[] = {
	{XBDEV_MD_LEVEL_LINEAR, -1},
	{XBDEV_MD_LEVEL_RAID0, 0},
	{XBDEV_MD_LEVEL_RAID1, 1},
	{XBDEV_MD_LEVEL_RAID4, 4},
	{XBDEV_MD_LEVEL_RAID5, 5},
	{XBDEV_MD_LEVEL_RAID6, 6},
	{XBDEV_MD_LEVEL_RAID10, 10},
};

#define NR_LEVELS (sizeof(levels) / sizeof(levels[0]))

int api_md_level(int32_t md_level)
{
	for (size_t i = 0; i < NR_LEVELS; i++) {
		if (levels[i].md == md_level) {
			return levels[i].level;
		}
	}
	return -1;
}

static int parse_level(const char *name, int level, int32_t *ret_md)
{
	for (size_t i = 0; i < NR_LEVELS; i++) {
		if (levels[i].level == level) {
			*ret_md = levels[i].md;
			return 0;
		}
	}
	return api_fail(-EINVAL,
		"array '%s': level %d is none of XBDEV_MD_LEVEL_...: 0 (linear), 1 (raid0), 2 "
		"(raid1), 4, 5, 6, 10",
		name, level);
}

static bool has_parity(int32_t md_level)
{
	return md_level >= 4 && md_level <= 6;
}

static int parse_uuid(const char *name, const char *text, struct xu_uuid *ret_uuid)
{
	if (text == NULL) {
		return 0;
	}
	if ((xu_uuid_parse(text, ret_uuid) != 0 && xbdev__md_uuid_parse(text, ret_uuid) != 0) ||
		xu_uuid_is_null(ret_uuid)) {
		return api_fail(-EINVAL, "array '%s': \"%.64s\" is no UUID", name, text);
	}
	return 0;
}

/* Appends `count` names to a list of members. */
static int add_names(const char *name, const char *const *names, int count, bool may_miss,
	const char **list, uint32_t *nr)
{
	if (count < 0 || (count > 0 && names == NULL) || count > NAMES_MAX - (int)*nr) {
		return api_fail(-EINVAL,
			"array '%s': %d devices; there may be 1 to 32 members and as many spares",
			name, count);
	}
	for (int i = 0; i < count; i++) {
		if (names[i] == NULL || *names[i] == '\0' ||
			(!may_miss && strcmp(names[i], XBDEV_MD_MISSING) == 0)) {
			return api_fail(
				-EINVAL, "array '%s': device %d of the list has no name", name, i);
		}
		list[(*nr)++] = names[i];
	}
	return 0;
}

/* ---- what is not served ---- */

static int check_stripes(const char *name, int32_t md_level, int stripe_cache_size)
{
	if (stripe_cache_size == 0) {
		return 0;
	}
	if (!has_parity(md_level) && md_level != XBDEV_MD_LEVEL_ANY) {
		return api_fail(-EINVAL,
			"array '%s': a stripe cache is of raid4, raid5 and raid6; leave "
			"stripe_cache_size 0",
			name);
	}
	return stripe_cache_size >= 16 && stripe_cache_size <= 32768
		       ? 0
		       : api_fail(-EINVAL,
				 "array '%s': a stripe cache of %d stripes; 16 to 32768 are "
				 "possible, 0 means 256",
				 name, stripe_cache_size);
}

/* Spare group and priority; the latter as the engine has it. */
static int parse_rest(const char *name, const char *group, const int *priority, uint32_t *ret_and_1)
{
	if (group != NULL && strlen(group) >= XBDEV_MD_GROUP_BYTES) {
		return api_fail(-EINVAL, "array '%s': the name of a spare group has up to %u bytes",
			name, XBDEV_MD_GROUP_BYTES - 1);
	}
	if (priority != NULL &&
		(*priority < XBDEV_MD_PRIORITY_MIN || *priority > XBDEV_MD_PRIORITY_MAX)) {
		return api_fail(-EINVAL,
			"array '%s': there is no priority %d; they go from %d to %d", name,
			*priority, XBDEV_MD_PRIORITY_MIN, XBDEV_MD_PRIORITY_MAX);
	}
	*ret_and_1 = priority != NULL ? (uint32_t)*priority + 1 : 0;
	return 0;
}

static int check_config(const char *name, int32_t md_level, const xbdev_md_config_t *config)
{
	if (config->bitmap_chunk_kb < 0 || config->bitmap_chunk_kb > BITMAP_CHUNK_KB_MAX ||
		(config->bitmap_chunk_kb & (config->bitmap_chunk_kb - 1)) != 0) {
		return api_fail(-EINVAL,
			"array '%s': a bitmap chunk of %d KiB; a power of two from 4 to %d is "
			"possible, 0 for no bitmap",
			name, config->bitmap_chunk_kb, BITMAP_CHUNK_KB_MAX);
	}
	if (config->write_behind < 0) {
		return api_fail(-EINVAL,
			"array '%s': %d writes behind; 0 (none) to %u are possible", name,
			config->write_behind, XBDEV_MD_MAX_BEHIND);
	}
	if (config->consistency_policy && !has_parity(md_level)) {
		return api_fail(-EINVAL,
			"array '%s': a consistency policy is of raid4, raid5 and raid6; leave "
			"consistency_policy false",
			name);
	}
	if (config->chunk_size_kb > 65536) {
		return api_fail(-EINVAL,
			"array '%s': a chunk of %llu KiB; a power of two from 4 to 65536 is "
			"possible",
			name, (unsigned long long)config->chunk_size_kb);
	}
	if (config->layout < 0) {
		return api_fail(-EINVAL,
			"array '%s': layout %d is none of XBDEV_MD_LAYOUT_..., 0 is the level's "
			"default",
			name, config->layout);
	}
	return check_stripes(name, md_level, config->stripe_cache_size);
}

/* ---- making ---- */

struct make_call {
	struct api_call call;
	struct xbdev_md_create_opts create;
	struct xbdev_md_assemble_opts assemble;
	const char *names[NAMES_MAX];
};

static void on_examined(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct make_call *make = arg;

	if (dev == NULL) {
		make->call.err = *err;
	}
	api_call_done(&make->call, dev == NULL ? err->code : 0);
}

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	xbdev__lvol_made(api_lib.ctx, dev, err, on_examined, arg);
}

static void on_create(struct api_call *call)
{
	struct make_call *make = xu_container_of(call, struct make_call, call);

	xbdev__md_create(api_lib.ctx, &make->create, on_made, make);
}

static void on_assemble(struct api_call *call)
{
	struct make_call *make = xu_container_of(call, struct make_call, call);

	xbdev__md_assemble(api_lib.ctx, &make->assemble, on_made, make);
}

static int run_call(struct api_call *call, void (*fn)(struct api_call *call))
{
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, call, fn);
		api_leave(thread);
	}
	return rc;
}

static int fill_consistency(const char *name, const xbdev_md_create_options_t *options,
	struct xbdev_md_create_opts *create)
{
	int consistency = options->consistency;

	if (consistency == XBDEV_MD_CONSISTENCY_DEFAULT && options->config.consistency_policy) {
		consistency = create->level == 5 ? XBDEV_MD_CONSISTENCY_PPL
						 : XBDEV_MD_CONSISTENCY_JOURNAL;
	}
	switch (consistency) {
	case XBDEV_MD_CONSISTENCY_DEFAULT:
		return 0;
	case XBDEV_MD_CONSISTENCY_RESYNC:
		return options->config.bitmap_chunk_kb == 0
			       ? 0
			       : api_fail(-EINVAL,
					 "array '%s': a resync of all and a bitmap exclude each "
					 "other; leave bitmap_chunk_kb 0",
					 name);
	case XBDEV_MD_CONSISTENCY_BITMAP:
		if (create->bitmap_chunk_bytes == 0) {
			create->bitmap_chunk_bytes = UINT32_MAX;
		}
		return 0;
	case XBDEV_MD_CONSISTENCY_PPL:
		create->policy = XBDEV_MD_POLICY_PPL;
		return 0;
	case XBDEV_MD_CONSISTENCY_JOURNAL:
		create->policy = XBDEV_MD_POLICY_JOURNAL;
		return 0;
	default:
		return api_fail(-EINVAL,
			"array '%s': consistency %d is none of XBDEV_MD_CONSISTENCY_...", name,
			consistency);
	}
}

static int fill_mostly(const char *name, const xbdev_md_create_options_t *options,
	struct xbdev_md_create_opts *create, uint32_t nr_names)
{
	const char *mostly[NAMES_MAX];
	struct xu_error err = {0};
	uint32_t nr = 0;
	int rc = add_names(
		name, options->write_mostly, options->num_write_mostly, false, mostly, &nr);

	if (rc == 0 && xbdev__md_find_mostly(name, create->members, nr_names, mostly, nr,
			       &create->write_mostly, &err) != 0) {
		rc = api_fail(err.code, "%s", err.text);
	}
	return rc;
}

/* Fills in what the engine is told. */
static int fill_create(
	struct make_call *make, const char *name, const xbdev_md_create_options_t *options)
{
	struct xbdev_md_create_opts *create = &make->create;
	const xbdev_md_config_t *config = &options->config;
	uint32_t nr = 0;
	int rc = parse_level(name, options->level, &create->level);

	if (rc == 0) {
		rc = check_config(name, create->level, config);
	}
	if (rc == 0) {
		rc = parse_uuid(name, options->uuid, &create->uuid);
	}
	if (rc == 0 && options->set_name != NULL &&
		(*options->set_name == '\0' || strlen(options->set_name) > SET_NAME_BYTES_MAX)) {
		rc = api_fail(-EINVAL, "array '%s': the set name \"%.64s\" has not 1 to 31 bytes",
			name, options->set_name);
	}
	if (rc == 0) {
		rc = add_names(
			name, options->base_bdevs, options->num_base_bdevs, true, make->names, &nr);
		create->nr_members = nr;
	}
	if (rc == 0) {
		rc = add_names(name, options->spares, options->num_spares, false, make->names, &nr);
		create->nr_spares = nr - create->nr_members;
	}
	create->name = name;
	create->layout =
		config->layout == 0 ? XBDEV_MD_LAYOUT_DEFAULT : (uint32_t)config->layout - 1;
	create->chunk_bytes = config->chunk_size_kb << 10;
	create->members = make->names;
	create->assume_clean = config->assume_clean;
	create->bitmap_chunk_bytes = (uint32_t)config->bitmap_chunk_kb * 1024;
	create->force = options->force;
	create->set_name = options->set_name;
	create->nr_stripes = (uint32_t)config->stripe_cache_size;
	create->write_behind = (uint32_t)config->write_behind;
	if (rc == 0) {
		rc = fill_mostly(name, options, create, nr);
	}
	create->spare_group = options->spare_group;
	if (rc == 0) {
		rc = parse_rest(name, options->spare_group, options->priority, &create->priority);
	}
	return rc == 0 ? fill_consistency(name, options, create) : rc;
}

int xbdev_md_create_with(const char *name, const xbdev_md_create_options_t *options)
{
	struct make_call make = {0};
	int rc;

	if (name == NULL || options == NULL || options->size != sizeof(*options)) {
		return api_fail(-EINVAL, "xbdev_md_create_with: %s",
			name == NULL || options == NULL ? "an argument is NULL"
							: "size is not that of this version");
	}
	rc = fill_create(&make, name, options);
	return rc == 0 ? run_call(&make.call, on_create) : rc;
}

int xbdev_md_create(const char *name, int level, const char **base_bdevs, int num_base_bdevs,
	xbdev_md_config_t *config)
{
	const xbdev_md_create_options_t options = {
		.size = sizeof(options),
		.level = level,
		.base_bdevs = base_bdevs,
		.num_base_bdevs = num_base_bdevs,
		.config = config != NULL ? *config : (xbdev_md_config_t){0},
	};

	return xbdev_md_create_with(name, &options);
}

int xbdev_md_create_raid0(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t chunk_size_kb)
{
	xbdev_md_config_t config = {.chunk_size_kb = chunk_size_kb};

	return xbdev_md_create(name, XBDEV_MD_LEVEL_RAID0, base_bdevs, num_base_bdevs, &config);
}

int xbdev_md_create_raid1(const char *name, const char **base_bdevs, int num_base_bdevs)
{
	return xbdev_md_create(name, XBDEV_MD_LEVEL_RAID1, base_bdevs, num_base_bdevs, NULL);
}

int xbdev_md_create_raid5(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t chunk_size_kb)
{
	xbdev_md_config_t config = {.chunk_size_kb = chunk_size_kb};

	return xbdev_md_create(name, XBDEV_MD_LEVEL_RAID5, base_bdevs, num_base_bdevs, &config);
}

int xbdev_md_create_raid10(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t chunk_size_kb)
{
	xbdev_md_config_t config = {.chunk_size_kb = chunk_size_kb};

	return xbdev_md_create(name, XBDEV_MD_LEVEL_RAID10, base_bdevs, num_base_bdevs, &config);
}

int xbdev_md_create_linear(const char *name, const char **base_bdevs, int num_base_bdevs)
{
	return xbdev_md_create(name, XBDEV_MD_LEVEL_LINEAR, base_bdevs, num_base_bdevs, NULL);
}

/* ---- assembling ---- */

int xbdev_md_assemble_with(const char *name, const xbdev_md_assemble_options_t *options)
{
	struct make_call make = {0};
	struct xbdev_md_assemble_opts *assemble = &make.assemble;
	int rc = 0;

	if (name == NULL || options == NULL || options->size != sizeof(*options)) {
		return api_fail(-EINVAL, "xbdev_md_assemble_with: %s",
			name == NULL || options == NULL ? "an argument is NULL"
							: "size is not that of this version");
	}
	assemble->level = XBDEV_MD_LEVEL_ANY;
	if (options->level != XBDEV_MD_LEVEL_AUTO) {
		rc = parse_level(name, options->level, &assemble->level);
	}
	if (rc == 0) {
		rc = parse_uuid(name, options->uuid, &assemble->uuid);
	}
	if (rc == 0) {
		rc = check_stripes(name, assemble->level, options->stripe_cache_size);
	}
	if (rc == 0) {
		rc = add_names(name, options->base_bdevs, options->num_base_bdevs, false,
			make.names, &assemble->nr_members);
	}
	if (rc == 0) {
		rc = parse_rest(name, options->spare_group, options->priority, &assemble->priority);
	}
	if (rc != 0) {
		return rc;
	}
	assemble->name = name;
	assemble->members = make.names;
	assemble->run = options->run;
	assemble->force = options->force;
	assemble->read_only = options->is_read_only;
	assemble->nr_stripes = (uint32_t)options->stripe_cache_size;
	assemble->spare_group = options->spare_group;
	return run_call(&make.call, on_assemble);
}

int xbdev_md_assemble(const char *name, int level, const char **base_bdevs, int num_base_bdevs)
{
	const xbdev_md_assemble_options_t options = {
		.size = sizeof(options),
		.level = level,
		.base_bdevs = base_bdevs,
		.num_base_bdevs = num_base_bdevs,
	};

	return xbdev_md_assemble_with(name, &options);
}

/* ---- arrays by name ---- */

struct xbdev_device *api_md_find(struct api_call *call, const char *name)
{
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, name);

	if (dev != NULL && xbdev__md_is_array(dev)) {
		return dev;
	}
	xu_error_set(&call->err, dev == NULL ? -ENODEV : -EINVAL,
		dev == NULL ? "there is no array named '%s'" : "device '%s' is no RAID array",
		name);
	api_call_done(call, call->err.code);
	return NULL;
}

struct name_call {
	struct api_call call;
	const char *name;
	struct stopped *stopped;
};

/* ---- stopping and running again ---- */

struct stopped {
	struct xu_list link;
	char name[XBDEV_NAME_SIZE];
	struct xu_uuid uuid;
	uint32_t nr_stripes;
	uint32_t priority;
	char group[XBDEV_MD_GROUP_BYTES];
	uint32_t nr_members;
	char members[][XBDEV_NAME_SIZE];
};

static struct {
	struct xu_list list; /* struct stopped, the oldest first */
	uint32_t count;
} stopped = {.list = {&stopped.list, &stopped.list}};

static void forget(struct stopped *one)
{
	xu_list_del(&one->link);
	stopped.count--;
	free(one);
}

void api_md_forget(void)
{
	while (!xu_list_is_empty(&stopped.list)) {
		forget(xu_list_entry(xu_list_first(&stopped.list), struct stopped, link));
	}
}

static struct stopped *find_stopped(const char *name)
{
	struct xu_list *node;

	xu_list_for_each (node, &stopped.list) {
		struct stopped *one = xu_list_entry(node, struct stopped, link);

		if (strcmp(one->name, name) == 0) {
			return one;
		}
	}
	return NULL;
}

static int remember(const struct xbdev_device *dev, const struct xbdev_md_info *info)
{
	struct stopped *one = calloc(1, sizeof(*one) + info->nr_disks * sizeof(one->members[0]));
	struct stopped *older = find_stopped(dev->name);

	if (one == NULL) {
		return -ENOMEM;
	}
	if (older != NULL) {
		forget(older);
	} else if (stopped.count == STOPPED_MAX) {
		forget(xu_list_entry(xu_list_first(&stopped.list), struct stopped, link));
	}
	memcpy(one->name, dev->name, sizeof(one->name));
	one->uuid = info->uuid;
	one->nr_stripes = info->nr_stripes;
	one->priority = info->priority;
	memcpy(one->group, info->spare_group, sizeof(one->group));
	for (uint32_t i = 0; i < info->nr_disks; i++) {
		const struct xbdev_md_disk *disk = &info->disks[i];

		if (disk->state != XBDEV_MD_DISK_IS_MISSING &&
			disk->state != XBDEV_MD_DISK_IS_FAULTY) {
			memcpy(one->members[one->nr_members++], disk->name, sizeof(disk->name));
		}
	}
	xu_list_add_tail(&stopped.list, &one->link);
	stopped.count++;
	return 0;
}

/* Whether anybody could do I/O to it. */
static bool is_in_use(const struct xbdev_device *dev)
{
	const struct xu_list *node;

	xu_list_for_each (node, &dev->descs) {
		const struct xbdev_desc *desc = xu_list_entry(node, struct xbdev_desc, link);

		if (atomic_load(&desc->nr_channels) != 0 || dev->claim == desc) {
			return true;
		}
	}
	return false;
}

static void on_stop_looked(void *arg, const struct xbdev_md_info *info)
{
	struct name_call *stop = arg;
	struct xbdev_device *dev = api_md_find(&stop->call, stop->name);
	int rc;

	if (dev == NULL) {
		return;
	}
	rc = info == NULL ? -ENOMEM : is_in_use(dev) ? -EBUSY : remember(dev, info);
	if (rc != 0) {
		xu_error_set(&stop->call.err, rc,
			rc == -EBUSY ? "array '%s' is in use%s%s; close it first"
				     : "array '%s': out of memory%s%s",
			dev->name, dev->claim != NULL ? " by " : "",
			dev->claim != NULL ? dev->claim_by : "");
		api_call_done(&stop->call, rc);
		return;
	}
	api_device_remove(&stop->call, dev->name);
}

static void on_stop(struct api_call *call)
{
	struct name_call *stop = xu_container_of(call, struct name_call, call);
	struct xbdev_device *dev = api_md_find(call, stop->name);

	if (dev != NULL) {
		xbdev__md_info_get(dev, on_stop_looked, stop);
	}
}

int xbdev_md_stop(const char *name)
{
	struct name_call stop = {.name = name};

	return name != NULL ? run_call(&stop.call, on_stop)
			    : api_fail(-EINVAL, "xbdev_md_stop: the name is NULL");
}

static void on_examined_again(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct name_call *run = arg;
	struct stopped *one = find_stopped(run->name);

	if (dev == NULL) {
		run->call.err = *err;
	} else if (one != NULL) {
		forget(one);
	}
	api_call_done(&run->call, dev == NULL ? err->code : 0);
}

static void on_run_again(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	xbdev__lvol_made(api_lib.ctx, dev, err, on_examined_again, arg);
}

/* Assembles it from those of its members that are still there. */
static void run_again(struct name_call *run, const struct stopped *one)
{
	struct xbdev_md_assemble_opts opts = {
		.name = one->name,
		.level = XBDEV_MD_LEVEL_ANY,
		.uuid = one->uuid,
		.run = true,
		.nr_stripes = one->nr_stripes,
		.spare_group = one->group,
		.priority = one->priority + 1,
	};
	const char *names[XBDEV_MD_MAX_DISKS_INFO];

	for (uint32_t i = 0; i < one->nr_members; i++) {
		if (xbdev_device_find(api_lib.ctx, one->members[i]) != NULL) {
			names[opts.nr_members++] = one->members[i];
		}
	}
	opts.members = names;
	xbdev__md_assemble(api_lib.ctx, &opts, on_run_again, run);
}

static void on_writable(void *arg, const struct xu_error *err)
{
	struct name_call *run = arg;

	if (err != NULL) {
		run->call.err = *err;
	}
	api_call_done(&run->call, err != NULL ? err->code : 0);
}

static void on_run(struct api_call *call)
{
	struct name_call *run = xu_container_of(call, struct name_call, call);
	const struct xbdev_md_command command = {.kind = XBDEV_MD_COMMAND_READ_WRITE};
	struct stopped *one = find_stopped(run->name);
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, run->name);

	if (dev == NULL && one != NULL) {
		run_again(run, one);
		return;
	}
	dev = api_md_find(call, run->name);
	if (dev == NULL) {
		return;
	}
	if (dev->is_read_only) {
		xbdev__md_manage(dev, &command, on_writable, run);
	} else {
		api_call_done(call, 0);
	}
}

int xbdev_md_run(const char *name)
{
	struct name_call run = {.name = name};

	return name != NULL ? run_call(&run.call, on_run)
			    : api_fail(-EINVAL, "xbdev_md_run: the name is NULL");
}

/* ---- erasing ---- */

static void on_erased(void *arg, const struct xu_error *err)
{
	struct name_call *erase = arg;

	erase->call.err = *err;
	api_call_done(&erase->call, err->code);
}

static void on_erase(struct api_call *call)
{
	struct name_call *erase = xu_container_of(call, struct name_call, call);

	xbdev__md_erase(api_lib.ctx, erase->name, on_erased, erase);
}

int xbdev_md_zero_superblock(const char *bdev_name)
{
	struct name_call erase = {.name = bdev_name};

	return bdev_name != NULL ? run_call(&erase.call, on_erase)
				 : api_fail(-EINVAL, "xbdev_md_zero_superblock: the name is NULL");
}

/* ---- managing ---- */

struct manage_call {
	struct api_call call;
	const char *name;
	int cmd;
	struct xbdev_md_command command;
};

/* What a command of the document is to the engine, and what its argument is. */
enum arg_kind { ARG_NONE, ARG_DEVICE, ARG_MOSTLY, ARG_REPLACE, ARG_SPEED, ARG_GROUP, ARG_PRIORITY };

static const struct {
	enum xbdev_md_command_kind kind;
	enum arg_kind arg;
} commands[] = {
	[XBDEV_MD_ADD_DISK] = {XBDEV_MD_COMMAND_ADD, ARG_DEVICE},
	[XBDEV_MD_REMOVE_DISK] = {XBDEV_MD_COMMAND_REMOVE, ARG_DEVICE},
	[XBDEV_MD_ADD_SPARE] = {XBDEV_MD_COMMAND_ADD, ARG_DEVICE},
	[XBDEV_MD_REMOVE_SPARE] = {XBDEV_MD_COMMAND_REMOVE, ARG_DEVICE},
	[XBDEV_MD_REPLACE_DISK] = {XBDEV_MD_COMMAND_REPLACE, ARG_REPLACE},
	[XBDEV_MD_SET_FAULTY] = {XBDEV_MD_COMMAND_FAIL, ARG_DEVICE},
	[XBDEV_MD_SET_READONLY] = {XBDEV_MD_COMMAND_READ_ONLY, ARG_NONE},
	[XBDEV_MD_SET_READWRITE] = {XBDEV_MD_COMMAND_READ_WRITE, ARG_NONE},
	[XBDEV_MD_START_REBUILD] = {XBDEV_MD_COMMAND_SYNC_START, ARG_NONE},
	[XBDEV_MD_STOP_REBUILD] = {XBDEV_MD_COMMAND_SYNC_STOP, ARG_NONE},
	[XBDEV_MD_SET_SYNC_SPEED] = {XBDEV_MD_COMMAND_SPEED, ARG_SPEED},
	[XBDEV_MD_CHECK] = {XBDEV_MD_COMMAND_CHECK, ARG_NONE},
	[XBDEV_MD_REPAIR] = {XBDEV_MD_COMMAND_REPAIR, ARG_NONE},
	[XBDEV_MD_SET_SPARE_GROUP] = {XBDEV_MD_COMMAND_SPARE_GROUP, ARG_GROUP},
	[XBDEV_MD_SET_PRIORITY] = {XBDEV_MD_COMMAND_PRIORITY, ARG_PRIORITY},
	[XBDEV_MD_SET_WRITE_MOSTLY] = {XBDEV_MD_COMMAND_MOSTLY, ARG_DEVICE},
	[XBDEV_MD_CLEAR_WRITE_MOSTLY] = {XBDEV_MD_COMMAND_NOT_MOSTLY, ARG_DEVICE},
	[XBDEV_MD_ADD_WRITE_MOSTLY] = {XBDEV_MD_COMMAND_ADD, ARG_MOSTLY},
};

#define NR_COMMANDS ((int)(sizeof(commands) / sizeof(commands[0])))

static void on_managed(void *arg, const struct xu_error *err)
{
	struct manage_call *manage = arg;

	if (err != NULL) {
		manage->call.err = *err;
	}
	api_call_done(&manage->call, err != NULL ? err->code : 0);
}

/* The name of a device that was given by name or UUID. */
static const char *resolve(const char *name)
{
	const struct xbdev_device *dev = name != NULL ? xbdev_device_find(api_lib.ctx, name) : NULL;

	return dev != NULL ? dev->name : name;
}

static bool is_spare(const struct xbdev_md_info *info, const char *name)
{
	for (uint32_t i = 0; i < info->nr_disks; i++) {
		if (strcmp(info->disks[i].name, name) == 0) {
			return info->disks[i].state == XBDEV_MD_DISK_IS_SPARE;
		}
	}
	return true; /* no member: the engine says so */
}

static void on_manage_looked(void *arg, const struct xbdev_md_info *info)
{
	struct manage_call *manage = arg;
	struct xbdev_device *dev = api_md_find(&manage->call, manage->name);

	if (dev == NULL) {
		return;
	}
	manage->command.device = resolve(manage->command.device);
	if (info != NULL && is_spare(info, manage->command.device)) {
		xbdev__md_manage(dev, &manage->command, on_managed, manage);
		return;
	}
	xu_error_set(&manage->call.err, info == NULL ? -ENOMEM : -EBUSY,
		info == NULL ? "array '%s': looking at '%s': out of memory"
			     : "array '%s': '%s' is no spare",
		dev->name, manage->command.device);
	api_call_done(&manage->call, manage->call.err.code);
}

static void on_manage(struct api_call *call)
{
	struct manage_call *manage = xu_container_of(call, struct manage_call, call);
	struct xbdev_device *dev = api_md_find(call, manage->name);

	if (dev == NULL) {
		return;
	}
	if (manage->cmd == XBDEV_MD_REMOVE_SPARE) {
		xbdev__md_info_get(dev, on_manage_looked, manage);
		return;
	}
	if (commands[manage->cmd].arg != ARG_GROUP) {
		manage->command.device = resolve(manage->command.device);
	}
	manage->command.new_device = resolve(manage->command.new_device);
	xbdev__md_manage(dev, &manage->command, on_managed, manage);
}

int xbdev_md_manage(const char *md_name, int cmd, void *arg)
{
	struct manage_call manage = {.name = md_name, .cmd = cmd};
	const xbdev_md_replace_t *replace = arg;
	const xbdev_md_sync_speed_t *speed = arg;

	if (md_name == NULL || cmd < 1 || cmd >= NR_COMMANDS) {
		return md_name == NULL
			       ? api_fail(-EINVAL, "xbdev_md_manage: the name is NULL")
			       : api_fail(-EINVAL,
					 "array '%s': there is no command %d; those of xbdev/md.h "
					 "are 1 to %d",
					 md_name, cmd, NR_COMMANDS - 1);
	}
	if (commands[cmd].arg != ARG_NONE && commands[cmd].arg != ARG_GROUP && arg == NULL) {
		return api_fail(-EINVAL, "array '%s': command %d needs an argument", md_name, cmd);
	}
	manage.command.kind = commands[cmd].kind;
	switch (commands[cmd].arg) {
	case ARG_MOSTLY:
		manage.command.is_mostly = true;
		/* fall through */
	case ARG_DEVICE:
		manage.command.device = arg;
		break;
	case ARG_REPLACE:
		manage.command.device = replace->old_disk;
		manage.command.new_device = replace->new_disk;
		break;
	case ARG_SPEED:
		manage.command.speed_min_kib = speed->min;
		manage.command.speed_max_kib = speed->max;
		break;
	case ARG_GROUP:
		manage.command.device = arg;
		break;
	case ARG_PRIORITY:
		if (*(const int *)arg < 0) {
			return api_fail(-EINVAL, "array '%s': there is no priority %d", md_name,
				*(const int *)arg);
		}
		manage.command.priority = (uint32_t) * (const int *)arg;
		break;
	case ARG_NONE:
		break;
	}
	return run_call(&manage.call, on_manage);
}

struct limit_call {
	struct api_call call;
	unsigned int max;
};

static void on_limit(struct api_call *call)
{
	struct limit_call *limit = xu_container_of(call, struct limit_call, call);

	atomic_store(&xbdev_ctx_rebuilds(api_lib.ctx)->max, limit->max);
	api_call_done(call, 0);
}

int xbdev_md_set_rebuild_limit(unsigned int max)
{
	struct limit_call limit = {.max = max};

	return run_call(&limit.call, on_limit);
}

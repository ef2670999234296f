/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comparing two models. Each kind of step collects its own in a pass over both, and the passes run
 * in the order of the table at the end, which is the order of the steps:
 *
 *	what uses devices goes: listeners, namespaces, subsystems
 *	an array that stays lets go, one by one, of members that go or get another user
 *	devices go, users before what they use
 *	devices come, what is used before its users
 *	devices change; an array gets new members, and loses those that nobody else wants
 *	stores and volumes, then what uses devices comes
 *
 * What is removed may be in the way of what comes (it has its name, its UUID, its file), and what
 * comes may be what a change is for, so removals are before additions and those before changes. An
 * array is the one device that stays and stands on others than before. Were all of that one step,
 * needs could go in a circle: a member that goes waits for the array, the array for the new member,
 * and that for the file of the one that goes. So it is two: letting go needs nothing that is new,
 * and getting needs no removal. Between the two the array has its old entry without those members,
 * with as many roles as before, which is an entry that could have been written; whatever fails
 * after that, it goes on with the members that it has.
 *
 * No device is removed from under one that stays. Where that one cannot be changed while the node
 * runs, or would be left without any member, what it stands on stays too, until the restart. Where
 * an array refuses to let go (nobody else has the data), apply.c does not remove the member.
 */
#include "daemon/xsand/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/model.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/lvol/stores.h"

struct differ {
	struct plan *plan;
	struct xbdev_ctx *ctx;
	const json_t *from, *to;
	json_t *between; /* arrays that have let go of members: their entries then, by name */
	json_t *held;    /* names of devices that do not go, nor come anew, before a restart */
	int rc;
};

static void add(struct differ *d, struct step step)
{
	struct plan *plan = d->plan;

	if (plan->nr_steps == plan->size) {
		size_t size = plan->size == 0 ? 16 : 2 * plan->size;
		struct step *steps = realloc(plan->steps, size * sizeof(*steps));

		if (steps == NULL) {
			d->rc = -ENOMEM;
			return;
		}
		plan->steps = steps;
		plan->size = size;
	}
	plan->steps[plan->nr_steps++] = step;
}

/* The plan has a reference from now on; NULL is no memory. */
static json_t *own(struct differ *d, json_t *value)
{
	if (json_array_append_new(d->plan->own, value) != 0) {
		d->rc = -ENOMEM;
		return NULL;
	}
	return value;
}

static void add_restart(struct differ *d, json_t *text)
{
	if (json_array_append_new(d->plan->restart, text) != 0) {
		d->rc = -ENOMEM;
	}
}

/* Members of a subsystem's part ("hosts" …) in the model; an empty one when there is none. */
static json_t *part_of(const json_t *model, const char *nqn, const char *part)
{
	return json_object_get(model_subsystem(model, nqn), part);
}

/* ---- what goes ---- */

/*
 * Whether what is called so in both models has to be made anew, because it stands, at any depth, on
 * a device that is another one now: a UUID has come to name a new device instead of one that goes.
 */
static bool is_remade_below(const struct differ *d, const char *name_or_uuid, size_t bound)
{
	const json_t *from = model_find_device(d->from, name_or_uuid);
	const json_t *to = model_find_device(d->to, name_or_uuid);

	if (from == NULL || to == NULL || bound == 0) {
		return false;
	}
	if (strcmp(json_string_value(json_object_get(from, "name")),
		    json_string_value(json_object_get(to, "name"))) != 0) {
		return true;
	}
	for (size_t nth = 0; nth < xbdev_config_nr_bases(to); nth++) {
		if (is_remade_below(d, xbdev_config_base_at(to, nth), bound - 1)) {
			return true;
		}
	}
	return false;
}

static bool is_remade(const struct differ *d, const char *name_or_uuid)
{
	return is_remade_below(d, name_or_uuid, XBDEV_CONFIG_MAX_DEPTH + 1);
}

/* The same of a namespace, which goes and comes with its device; NULL is none. A name that was a
 * device's may have become a volume's, or the other way round. */
static bool is_on_remade(const struct differ *d, const json_t *value)
{
	const char *device = json_string_value(json_object_get(value, "device"));

	return device != NULL &&
	       (is_remade(d, device) || (model_find_device(d->from, device) == NULL) !=
						(model_find_device(d->to, device) == NULL));
}

/* Steps for what is in `part` of subsystems on both sides and gone, or not the same, in `to`. */
static void remove_from_subsystems(
	struct differ *d, const char *part, enum step_kind kind, bool with_changed)
{
	json_t *subsystem, *value;
	const char *nqn, *key;

	json_object_foreach (model_subsystems(d->from), nqn, subsystem) {
		if (model_subsystem(d->to, nqn) == NULL) {
			continue; /* it goes as a whole */
		}
		json_object_foreach (json_object_get(subsystem, part), key, value) {
			json_t *wanted = json_object_get(part_of(d->to, nqn, part), key);

			if (wanted == NULL || (with_changed && !model_equal(wanted, value)) ||
				is_on_remade(d, wanted)) {
				add(d, (struct step){.kind = kind, .nqn = nqn, .key = key});
			}
		}
	}
}

static void remove_listeners(struct differ *d)
{
	remove_from_subsystems(d, "listeners", STEP_LISTENER_REMOVE, true);
}

static void remove_namespaces(struct differ *d)
{
	remove_from_subsystems(d, "namespaces", STEP_NS_REMOVE, true);
}

static void remove_hosts(struct differ *d)
{
	remove_from_subsystems(d, "hosts", STEP_HOST_REMOVE, false);
}

static void remove_subsystems(struct differ *d)
{
	json_t *subsystem;
	const char *nqn;

	json_object_foreach (model_subsystems(d->from), nqn, subsystem) {
		if (model_subsystem(d->to, nqn) == NULL) {
			add(d, (struct step){
				       .kind = STEP_SUBSYSTEM_REMOVE, .nqn = nqn, .key = nqn});
		}
	}
}

/* ---- what stays and stands on others than before ---- */

/* Whether the device of `from` goes, to come again or not. */
static bool is_going(const struct differ *d, const char *name)
{
	return json_object_get(model_devices(d->to), name) == NULL || is_remade(d, name);
}

static const char *name_of(const json_t *entry)
{
	return json_string_value(json_object_get(entry, "name"));
}

/* Whether a device that stays has to let go of one it stands on, before that goes or others take
 * it. What nobody takes stays until the change. */
static bool is_leaving(const struct differ *d, const json_t *base, const json_t *entry)
{
	const json_t *wanted, *other;

	if (base == NULL) {
		return false;
	}
	for (size_t nth = 0; nth < xbdev_config_nr_bases(entry); nth++) {
		other = model_find_device(d->to, xbdev_config_base_at(entry, nth));
		if (other != NULL && strcmp(name_of(other), name_of(base)) == 0) {
			return false;
		}
	}
	wanted = json_object_get(model_devices(d->to), name_of(base));
	return is_going(d, name_of(base)) || model_find_above(d->to, wanted) != NULL;
}

static size_t nr_leaving(const struct differ *d, const json_t *old, const json_t *entry)
{
	size_t nr = 0;

	for (size_t nth = 0; nth < xbdev_config_nr_bases(old); nth++) {
		const json_t *base = model_find_device(d->from, xbdev_config_base_at(old, nth));

		nr += is_leaving(d, base, entry);
	}
	return nr;
}

/* What of a device that stays cannot be changed while the node runs; NULL: all can. */
static const char *fixed_of(
	const struct differ *d, const char *name, const json_t *old, const json_t *entry)
{
	struct xbdev_device *dev = d->ctx != NULL ? xbdev_device_find(d->ctx, name) : NULL;
	const char *fixed = xbdev_config_fixed(dev, old, entry);
	size_t nr = fixed == NULL ? nr_leaving(d, old, entry) : 0;

	return nr != 0 && nr == xbdev_config_nr_bases(old) ? "members" : fixed;
}

/* What is below a device that stays as it is, at any depth, and would go. */
static void hold_below(struct differ *d, const json_t *old, size_t bound)
{
	for (size_t nth = 0; bound > 0 && nth < xbdev_config_nr_bases(old); nth++) {
		const json_t *base = model_find_device(d->from, xbdev_config_base_at(old, nth));

		if (base == NULL || !is_going(d, name_of(base))) {
			continue;
		}
		if (json_object_set_new(d->held, name_of(base), json_true()) != 0) {
			d->rc = -ENOMEM;
		}
		hold_below(d, base, bound - 1);
	}
}

static bool is_held(const struct differ *d, const char *name)
{
	return json_object_get(d->held, name) != NULL;
}

/* The first that leaves of those the array stands on still; its place in *ret_nth. */
static const json_t *next_leaving(
	const struct differ *d, const json_t *now, const json_t *entry, size_t *ret_nth)
{
	for (size_t nth = 0; nth < xbdev_config_nr_bases(now); nth++) {
		const json_t *base = model_find_device(d->from, xbdev_config_base_at(now, nth));

		if (is_leaving(d, base, entry)) {
			*ret_nth = nth;
			return base;
		}
	}
	return NULL;
}

static void remove_members_of(
	struct differ *d, const char *name, const json_t *old, const json_t *entry)
{
	const json_t *now = old, *base;
	size_t nth;

	while (d->rc == 0 && (base = next_leaving(d, now, entry, &nth)) != NULL) {
		json_t *next = own(d, xbdev_config_copy(now));

		if (next == NULL || model_drop_member(next, nth) != 0 ||
			json_object_set(d->between, name, next) != 0) {
			d->rc = -ENOMEM;
			return;
		}
		add(d, (struct step){.kind = STEP_MEMBER_REMOVE,
			       .nqn = name,
			       .key = name_of(base),
			       .value = next});
		now = next;
	}
}

static void remove_members(struct differ *d)
{
	const char *name;
	json_t *old;

	json_object_foreach (model_devices(d->from), name, old) {
		json_t *entry = json_object_get(model_devices(d->to), name);

		if (is_going(d, name) || model_equal(old, entry)) {
			continue;
		}
		if (fixed_of(d, name, old, entry) != NULL) {
			hold_below(d, old, XBDEV_CONFIG_MAX_DEPTH);
		} else {
			remove_members_of(d, name, old, entry);
		}
	}
}

/* ---- devices that go ---- */

/* How many devices a device stands on, one on the other. A device has one user, so all that is
 * below one is looked at once; a circle, which a checked model does not have, ends at the bound. */
static size_t depth_below(const json_t *model, const json_t *entry, size_t bound)
{
	size_t max = 0;

	for (size_t nth = 0; bound > 0 && nth < xbdev_config_nr_bases(entry); nth++) {
		const json_t *base = model_find_device(model, xbdev_config_base_at(entry, nth));
		size_t depth = 1 + (base != NULL ? depth_below(model, base, bound - 1) : 0);

		max = depth > max ? depth : max;
	}
	return max;
}

static size_t depth_of(const json_t *model, const json_t *entry)
{
	return depth_below(model, entry, XBDEV_CONFIG_MAX_DEPTH);
}

static size_t max_depth(const json_t *model)
{
	size_t max = 0, depth;
	const char *name;
	json_t *entry;

	json_object_foreach (model_devices(model), name, entry) {
		depth = depth_of(model, entry);
		max = depth > max ? depth : max;
	}
	return max;
}

static void remove_devices(struct differ *d)
{
	const char *name;
	json_t *entry;

	for (size_t depth = max_depth(d->from) + 1; depth-- > 0;) {
		json_object_foreach (model_devices(d->from), name, entry) {
			if (!is_going(d, name) || depth_of(d->from, entry) != depth) {
				continue;
			}
			if (is_held(d, name)) {
				add_restart(d, json_sprintf("device %s: removal", name));
			} else {
				add(d, (struct step){.kind = STEP_DEVICE_REMOVE, .key = name});
			}
		}
	}
}

/* ---- what comes or changes ---- */

static void change_log(struct differ *d)
{
	json_t *from = json_object_get(json_object_get(d->from, "log"), "level");
	json_t *to = json_object_get(json_object_get(d->to, "log"), "level");

	if (to != NULL && !model_equal(from, to)) {
		add(d, (struct step){.kind = STEP_LOG_LEVEL, .key = "log level", .value = to});
	}
}

static void change_transport(struct differ *d)
{
	json_t *from = json_object_get(json_object_get(d->from, "nvmf"), "transport");
	json_t *to = json_object_get(json_object_get(d->to, "nvmf"), "transport");
	json_t *const sides[] = {from, to};
	const char *key;
	json_t *value;

	if (model_equal(from, to)) {
		return;
	}
	if (json_object_size(model_subsystems(d->from)) == 0) {
		add(d, (struct step){.kind = STEP_TRANSPORT, .key = "transport", .value = to});
		return;
	}
	for (size_t i = 0; i < 2; i++) {
		json_object_foreach (sides[i], key, value) {
			if ((i == 0 || json_object_get(from, key) == NULL) &&
				!model_equal(
					json_object_get(from, key), json_object_get(to, key))) {
				add_restart(d, json_sprintf("nvmf.transport.%s", key));
			}
		}
	}
}

static void add_devices(struct differ *d)
{
	size_t max = max_depth(d->to);
	const char *name;
	json_t *entry;

	for (size_t depth = 0; depth <= max; depth++) {
		json_object_foreach (model_devices(d->to), name, entry) {
			if ((json_object_get(model_devices(d->from), name) == NULL ||
				    is_remade(d, name)) &&
				!is_held(d, name) && depth_of(d->to, entry) == depth) {
				add(d, (struct step){.kind = STEP_DEVICE_ADD,
					       .key = name,
					       .value = entry});
			}
		}
	}
}

static void change_devices(struct differ *d)
{
	const char *name, *fixed;
	json_t *entry, *old, *between;

	json_object_foreach (model_devices(d->to), name, entry) {
		old = json_object_get(model_devices(d->from), name);
		if (old == NULL || model_equal(old, entry) || is_remade(d, name)) {
			continue;
		}
		fixed = fixed_of(d, name, old, entry);
		between = json_object_get(d->between, name);
		if (fixed != NULL) {
			add_restart(d, json_sprintf("device %s: %s", name, fixed));
		} else if (!model_equal(between, entry)) {
			add(d, (struct step){
				       .kind = STEP_DEVICE_CHANGE, .key = name, .value = entry});
		}
	}
}

/* ---- stores and volumes ---- */

/* The store that a store is on, if that is on a volume of the model; NULL: it is not. */
static const char *store_below(const json_t *model, const json_t *store)
{
	const char *base = json_string_value(json_object_get(store, "base_bdev"));
	const json_t *volume = json_object_get(json_object_get(model, "lvol_volumes"), base);

	return json_string_value(json_object_get(volume, "lvs_name"));
}

static size_t store_depth(const json_t *model, const char *name)
{
	size_t depth = 0;

	while (name != NULL && depth < XBDEV_CONFIG_MAX_DEPTH) {
		name = store_below(
			model, json_object_get(json_object_get(model, "lvol_stores"), name));
		depth += name != NULL;
	}
	return depth;
}

/* Whether what the store is on comes with this plan, and the store with it. */
static bool is_base_new(const struct differ *d, const json_t *store)
{
	const char *base = json_string_value(json_object_get(store, "base_bdev"));

	return model_find_device(d->to, base) != NULL &&
	       (model_find_device(d->from, base) == NULL || is_remade(d, base));
}

/* Whether the entry has been carried out, and what it made is there. */
static bool is_made(const struct differ *d, const char *list, const char *key, const json_t *entry)
{
	bool is_volume = strcmp(list, "lvol_volumes") == 0;

	if (!model_equal(json_object_get(json_object_get(d->from, list), key), entry)) {
		return false;
	}
	return d->ctx == NULL || (is_volume ? xbdev_device_find(d->ctx, key) != NULL
					    : xbdev__lvol_store_find(d->ctx, key) != NULL);
}

static void make_lvols_of(struct differ *d, size_t depth, json_t *is_new)
{
	const char *name, *store;
	json_t *entry;

	json_object_foreach (json_object_get(d->to, "lvol_stores"), name, entry) {
		const char *below = store_below(d->to, entry);

		if (store_depth(d->to, name) == depth &&
			(is_base_new(d, entry) || !is_made(d, "lvol_stores", name, entry) ||
				(below != NULL && json_object_get(is_new, below) != NULL))) {
			json_object_set_new(is_new, name, json_true());
			add(d, (struct step){.kind = STEP_STORE_MAKE, .key = name, .value = entry});
		}
	}
	json_object_foreach (json_object_get(d->to, "lvol_volumes"), name, entry) {
		store = json_string_value(json_object_get(entry, "lvs_name"));
		if (store_depth(d->to, store) == depth &&
			(json_object_get(is_new, store) != NULL ||
				!is_made(d, "lvol_volumes", name, entry))) {
			add(d, (struct step){
				       .kind = STEP_VOLUME_MAKE, .key = name, .value = entry});
		}
	}
}

/* Nothing goes: what the file names no more stays on its device. */
static void make_lvols(struct differ *d)
{
	json_t *is_new = json_object(); /* stores that come, or are looked at again */
	size_t max = 0, depth;
	const char *name;
	json_t *entry;

	json_object_foreach (json_object_get(d->to, "lvol_stores"), name, entry) {
		depth = store_depth(d->to, name);
		max = depth > max ? depth : max;
	}
	for (depth = 0; depth <= max; depth++) {
		make_lvols_of(d, depth, is_new);
	}
	json_decref(is_new);
}

static void add_subsystems(struct differ *d)
{
	static const char *const fixed[] = {"serial_number", "model_number", "max_namespaces"};
	json_t *subsystem, *old;
	const char *nqn;

	json_object_foreach (model_subsystems(d->to), nqn, subsystem) {
		old = model_subsystem(d->from, nqn);
		if (old == NULL) {
			add(d, (struct step){.kind = STEP_SUBSYSTEM_ADD,
				       .nqn = nqn,
				       .key = nqn,
				       .value = subsystem});
			continue;
		}
		for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
			if (!model_equal(json_object_get(old, fixed[i]),
				    json_object_get(subsystem, fixed[i]))) {
				add_restart(d, json_sprintf("subsystem %s: %s", nqn, fixed[i]));
			}
		}
	}
}

/* After the subsystem and before anybody can connect to it. */
static void change_policies(struct differ *d)
{
	json_t *subsystem;
	const char *nqn;

	json_object_foreach (model_subsystems(d->to), nqn, subsystem) {
		json_t *old = json_object_get(model_subsystem(d->from, nqn), "registry");
		json_t *value = json_object_get(subsystem, "registry");

		if (!model_equal(old, value)) {
			add(d, (struct step){.kind = STEP_POLICY,
				       .nqn = nqn,
				       .key = nqn,
				       .value = value});
		}
	}
}

static void allow_any_host(struct differ *d)
{
	json_t *subsystem;
	const char *nqn;

	json_object_foreach (model_subsystems(d->to), nqn, subsystem) {
		json_t *old = model_subsystem(d->from, nqn);
		json_t *value = json_object_get(subsystem, "allow_any_host");

		if (old != NULL && !model_equal(json_object_get(old, "allow_any_host"), value)) {
			add(d, (struct step){.kind = STEP_ALLOW_ANY_HOST,
				       .nqn = nqn,
				       .key = nqn,
				       .value = value});
		}
	}
}

/* Steps for what is in `part` of a subsystem of `to` and not, or not the same, in `from`. */
static void add_to_subsystems(struct differ *d, const char *part, enum step_kind kind)
{
	json_t *subsystem, *value;
	const char *nqn, *key;

	json_object_foreach (model_subsystems(d->to), nqn, subsystem) {
		json_object_foreach (json_object_get(subsystem, part), key, value) {
			if (!model_equal(
				    json_object_get(part_of(d->from, nqn, part), key), value) ||
				is_on_remade(d, value)) {
				add(d, (struct step){.kind = kind,
					       .nqn = nqn,
					       .key = key,
					       .value = value});
			}
		}
	}
}

static void add_hosts(struct differ *d)
{
	add_to_subsystems(d, "hosts", STEP_HOST_ADD);
}

static void add_namespaces(struct differ *d)
{
	add_to_subsystems(d, "namespaces", STEP_NS_ADD);
}

static void add_listeners(struct differ *d)
{
	add_to_subsystems(d, "listeners", STEP_LISTENER_ADD);
}

/* ---- all ---- */

static void run_passes(struct differ *d)
{
	static void (*const passes[])(struct differ * d) = {change_log, remove_listeners,
		remove_namespaces, remove_subsystems, remove_members, remove_devices,
		change_transport, add_devices, change_devices, make_lvols, add_subsystems,
		change_policies, add_hosts, allow_any_host, remove_hosts, add_namespaces,
		add_listeners};

	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && d->rc == 0; i++) {
		passes[i](d);
	}
}

int plan_make(struct plan *plan, struct xbdev_ctx *ctx, const json_t *from, const json_t *to)
{
	struct differ d = {.plan = plan,
		.ctx = ctx,
		.to = to,
		.between = json_object(),
		.held = json_object()};

	*plan = (struct plan){.restart = json_array(), .own = json_array()};
	if (plan->restart == NULL || plan->own == NULL || d.between == NULL || d.held == NULL) {
		d.rc = -ENOMEM;
	} else {
		d.from = own(&d, xbdev_config_copy(from));
	}
	if (d.rc == 0) {
		run_passes(&d);
	}
	json_decref(d.between);
	json_decref(d.held);
	return d.rc;
}

void plan_fini(struct plan *plan)
{
	json_decref(plan->restart);
	json_decref(plan->own);
	free(plan->steps);
	*plan = (struct plan){0};
}

json_t *plan_describe(const struct step *step)
{
	static const struct {
		const char *what, *where;
	} texts[] = {
		[STEP_LOG_LEVEL] = {"set the", NULL},
		[STEP_LISTENER_REMOVE] = {"remove listener", "from"},
		[STEP_NS_REMOVE] = {"remove namespace", "from"},
		[STEP_SUBSYSTEM_REMOVE] = {"remove subsystem", NULL},
		[STEP_MEMBER_REMOVE] = {"take member", "off"},
		[STEP_DEVICE_REMOVE] = {"remove device", NULL},
		[STEP_TRANSPORT] = {"set the options of the", NULL},
		[STEP_DEVICE_ADD] = {"add device", NULL},
		[STEP_DEVICE_CHANGE] = {"change device", NULL},
		[STEP_STORE_MAKE] = {"make store", NULL},
		[STEP_VOLUME_MAKE] = {"make volume", NULL},
		[STEP_SUBSYSTEM_ADD] = {"add subsystem", NULL},
		[STEP_POLICY] = {"set what the registry wants of", NULL},
		[STEP_HOST_ADD] = {"allow host", "to use"},
		[STEP_ALLOW_ANY_HOST] = {"set allow_any_host of", NULL},
		[STEP_HOST_REMOVE] = {"forbid host", "to use"},
		[STEP_NS_ADD] = {"add namespace", "to"},
		[STEP_LISTENER_ADD] = {"add listener", "to"},
	};

	_Static_assert(sizeof(texts) / sizeof(texts[0]) == STEP_NR_KINDS, "one for each kind");
	if (texts[step->kind].where != NULL) {
		return json_sprintf("%s %s %s %s", texts[step->kind].what, step->key,
			texts[step->kind].where, step->nqn);
	}
	return json_sprintf("%s %s", texts[step->kind].what, step->key);
}

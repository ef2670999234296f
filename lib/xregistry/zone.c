/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store's document is the truth; what is asked for each pair of host and target is compiled
 * from its active part: names sorted, each with the zones that have it. A change is made to a copy,
 * checked, saved, and then takes the place of what there was, with what is compiled of it, under
 * the lock that readers share. Changes take turns; one that another registry has overtaken is made
 * anew. Versions of the document only rise, so what is older never takes the place of what is
 * newer.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/document.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/target.h"
#include "lib/xregistry/zone.h"

#define DOCUMENT  "zones"
#define TRIES_MAX 20u /* of a change, when others are faster */

/* A name and a zone that has it. */
struct member {
	const char *name; /* the document's */
	uint32_t zone;
};

struct compiled {
	struct member *hosts, *targets; /* by name, then zone */
	struct member *contents;        /* the targets by zone */
	size_t nr_hosts, nr_targets;
	bool is_active;  /* there is an active group */
	bool is_allowed; /* those in no zone see each other */
};

struct xreg_zones {
	struct xreg_store *store;
	struct xreg_document_watcher watcher;
	bool is_following;
	void (*changed)(void *arg);
	void *arg;
	pthread_mutex_t change_mutex;
	pthread_rwlock_t lock; /* for what follows */
	json_t *document;
	uint64_t version; /* of the store; 0: there is none yet */
	struct compiled compiled;
};

/* ---- compiling ---- */

static int compare_members(const void *a, const void *b)
{
	const struct member *one = a, *two = b;
	int order = strcmp(one->name, two->name);

	return order != 0 ? order : (one->zone > two->zone) - (one->zone < two->zone);
}

static size_t count_members(const json_t *groups, const char *kind)
{
	json_t *group, *zone;
	size_t count = 0, i, j;

	json_array_foreach (groups, i, group) {
		json_array_foreach (json_object_get(group, "zones"), j, zone) {
			count += json_array_size(json_object_get(zone, kind));
		}
	}
	return count;
}

/* All members of one kind, by zone. NULL: no memory. */
static struct member *collect_members(const json_t *groups, const char *kind, size_t *ret_count)
{
	size_t count = count_members(groups, kind), n = 0, i, j, k;
	struct member *members = calloc(count + 1, sizeof(*members));
	json_t *group, *zone, *name;
	uint32_t number = 0;

	if (members == NULL) {
		return NULL;
	}
	json_array_foreach (groups, i, group) {
		json_array_foreach (json_object_get(group, "zones"), j, zone) {
			json_array_foreach (json_object_get(zone, kind), k, name) {
				members[n++] = (struct member){json_string_value(name), number};
			}
			number++;
		}
	}
	*ret_count = count;
	return members;
}

static void free_compiled(struct compiled *compiled)
{
	free(compiled->hosts);
	free(compiled->targets);
	free(compiled->contents);
}

/* Borrows the document's texts. */
static int compile(const json_t *document, struct compiled *ret_compiled)
{
	const json_t *active = json_object_get(document, "active");
	const char *policy = json_string_value(json_object_get(document, "default_policy"));
	struct compiled compiled = {.is_active = json_array_size(active) != 0,
		.is_allowed = policy != NULL && strcmp(policy, "allow") == 0};

	compiled.hosts = collect_members(active, "hosts", &compiled.nr_hosts);
	compiled.contents = collect_members(active, "targets", &compiled.nr_targets);
	compiled.targets = calloc(compiled.nr_targets + 1, sizeof(*compiled.targets));
	if (compiled.hosts == NULL || compiled.targets == NULL || compiled.contents == NULL) {
		free_compiled(&compiled);
		return -ENOMEM;
	}
	memcpy(compiled.targets, compiled.contents,
		compiled.nr_targets * sizeof(*compiled.targets));
	qsort(compiled.hosts, compiled.nr_hosts, sizeof(*compiled.hosts), compare_members);
	qsort(compiled.targets, compiled.nr_targets, sizeof(*compiled.targets), compare_members);
	*ret_compiled = compiled;
	return 0;
}

/* ---- asking ---- */

/* The first member with that name; its zones follow it. */
static const struct member *find(const struct member *members, size_t count, const char *name)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(members[middle].name, name) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low < count && strcmp(members[low].name, name) == 0 ? &members[low] : NULL;
}

/* The first of them that is not before this zone of that name. */
static const struct member *seek(
	const struct member *from, const struct member *end, const char *name, uint32_t zone)
{
	const struct member wanted = {name, zone};
	size_t low = 0, high = (size_t)(end - from);

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare_members(&from[middle], &wanted) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return from + low;
}

struct question {
	const struct compiled *compiled;
	const struct member *host; /* NULL: in no zone */
	bool is_zoned;             /* the target is in a zone */
};

/* Whether a zone of the host has the target under this name. Both lists are sorted by zone, and the
 * one that is behind leaps to the other: a target may be in as many zones as there are hosts. */
static bool share_zone(struct question *q, const char *name)
{
	const struct compiled *c = q->compiled;
	const struct member *target = find(c->targets, c->nr_targets, name), *host = q->host;
	const struct member *end = c->targets + c->nr_targets, *host_end = c->hosts + c->nr_hosts;

	if (target == NULL) {
		return false;
	}
	q->is_zoned = true;
	while (host != NULL && host < host_end && strcmp(host->name, q->host->name) == 0 &&
		target < end && strcmp(target->name, name) == 0) {
		if (host->zone == target->zone) {
			return true;
		}
		if (host->zone < target->zone) {
			host = seek(host + 1, host_end, q->host->name, target->zone);
		} else {
			target = seek(target + 1, end, name, host->zone);
		}
	}
	return false;
}

static bool may_see(
	const struct compiled *compiled, const char *hostnqn, const struct xreg_target *target)
{
	struct question q = {compiled, find(compiled->hosts, compiled->nr_hosts, hostnqn), false};
	char name[XREG_NAME_MAX + 8];

	if (!compiled->is_active || share_zone(&q, target->spec.nqn)) {
		return true;
	}
	snprintf(name, sizeof(name), "node:%s", target->spec.node_id);
	if (share_zone(&q, name)) {
		return true;
	}
	for (uint32_t i = 0; i < target->spec.nr_tags; i++) {
		snprintf(name, sizeof(name), "tag:%s", target->spec.tags[i]);
		if (share_zone(&q, name)) {
			return true;
		}
	}
	return q.host == NULL && !q.is_zoned && compiled->is_allowed;
}

bool xreg_zones_may_see(
	struct xreg_zones *zones, const char *hostnqn, const struct xreg_target *target)
{
	bool may;

	pthread_rwlock_rdlock(&zones->lock);
	may = may_see(&zones->compiled, hostnqn, target);
	pthread_rwlock_unlock(&zones->lock);
	return may;
}

/* The first target of a zone, or where it would be. */
static const struct member *contents_of(const struct compiled *c, uint32_t zone)
{
	size_t low = 0, high = c->nr_targets;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->contents[middle].zone < zone) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return &c->contents[low];
}

struct visit {
	const struct xreg_view *view;
	xreg_each_fn fn;
	void *arg;
	bool must_stop;
};

static bool visit_one(void *arg, const struct xreg_target *target)
{
	struct visit *visit = arg;

	visit->must_stop = !visit->fn(visit->arg, target);
	return !visit->must_stop;
}

static void visit_named(struct visit *visit, const char *name)
{
	if (strncmp(name, "node:", 5) == 0) {
		xreg_view_each(visit->view, XREG_BY_NODE, name + 5, false, visit_one, visit);
	} else if (strncmp(name, "tag:", 4) == 0) {
		xreg_view_each(visit->view, XREG_BY_TAG, name + 4, false, visit_one, visit);
	} else {
		xreg_view_each(visit->view, XREG_BY_NQN, name, false, visit_one, visit);
	}
}

static enum xreg_sees each_seen(const struct compiled *c, const char *hostnqn,
	const struct xreg_view *view, xreg_each_fn fn, void *arg)
{
	const struct member *host = find(c->hosts, c->nr_hosts, hostnqn);
	const struct member *hosts_end = c->hosts + c->nr_hosts;
	const struct member *end = c->contents + c->nr_targets;
	struct visit visit = {.view = view, .fn = fn, .arg = arg};

	if (!c->is_active) {
		return XREG_SEES_ALL;
	}
	if (host == NULL) {
		return c->is_allowed ? XREG_SEES_SOME : XREG_SEES_LISTED;
	}
	for (; host < hosts_end && strcmp(host->name, hostnqn) == 0 && !visit.must_stop; host++) {
		for (const struct member *target = contents_of(c, host->zone);
			target < end && target->zone == host->zone && !visit.must_stop; target++) {
			visit_named(&visit, target->name);
		}
	}
	return XREG_SEES_LISTED;
}

enum xreg_sees xreg_zones_each_seen(struct xreg_zones *zones, const char *hostnqn,
	const struct xreg_view *view, xreg_each_fn fn, void *arg)
{
	enum xreg_sees sees;

	pthread_rwlock_rdlock(&zones->lock);
	sees = each_seen(&zones->compiled, hostnqn, view, fn, arg);
	pthread_rwlock_unlock(&zones->lock);
	return sees;
}

/* ---- checking ---- */

static int check_name(const char *what, const char *name, struct xu_error *err)
{
	size_t len = name != NULL ? strlen(name) : 0;
	bool is_good = len > 0 && len <= XREG_NAME_MAX;

	for (size_t i = 0; is_good && i < len; i++) {
		is_good = name[i] > ' ' && name[i] <= '~' && name[i] != '/';
	}
	return is_good ? 0
		       : xu_error_set(err, -EINVAL,
				 "the name of a %s has 1 to %u printable ASCII characters without "
				 "space "
				 "and slash",
				 what, XREG_NAME_MAX);
}

static int check_member(const char *kind, const char *name, struct xu_error *err)
{
	bool is_target = strcmp(kind, "targets") == 0;

	if (name != NULL && is_target && strncmp(name, "node:", 5) == 0) {
		return check_name("node", name + 5, err);
	}
	if (name != NULL && is_target && strncmp(name, "tag:", 4) == 0) {
		return check_name("tag", name + 4, err);
	}
	return xnvmf_nqn_check(name != NULL ? name : "", err);
}

static int check_members(json_t *zone, const char *kind, struct xu_error *err)
{
	json_t *list = json_object_get(zone, kind), *member;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > XREG_ZONE_MEMBERS_MAX) {
		return xu_error_set(err, -EINVAL, "%s: a list [ … ] of at most %u names is needed",
			kind, XREG_ZONE_MEMBERS_MAX);
	}
	json_array_foreach (list, i, member) {
		if (check_member(kind, json_string_value(member), err) != 0) {
			return xu_error_prefix(err, "%s[%zu]", kind, i);
		}
	}
	return 0;
}

static int check_zone(json_t *zone, struct xu_error *err)
{
	const char *key;
	json_t *value;
	int rc = check_name("zone", json_string_value(json_object_get(zone, "name")), err);

	if (rc == 0) {
		rc = check_members(zone, "hosts", err);
	}
	if (rc == 0) {
		rc = check_members(zone, "targets", err);
	}
	json_object_foreach (zone, key, value) {
		if (rc == 0 && strcmp(key, "name") != 0 && strcmp(key, "hosts") != 0 &&
			strcmp(key, "targets") != 0) {
			rc = xu_error_set(err, -EINVAL,
				"'%.64s' is not known here; a zone has name, hosts and targets",
				key);
		}
	}
	return rc;
}

static int check_group(json_t *group, struct xu_error *err)
{
	json_t *zones = json_object_get(group, "zones"), *zone;
	size_t i;

	if (!json_is_array(zones) || json_array_size(zones) > XREG_ZONES_MAX) {
		return xu_error_set(err, -EINVAL,
			"zones: a list [ … ] of at most %u zones is needed", XREG_ZONES_MAX);
	}
	json_array_foreach (zones, i, zone) {
		if (check_zone(zone, err) != 0) {
			return xu_error_prefix(err, "zones[%zu]", i);
		}
	}
	return 0;
}

/* ---- the document ---- */

static json_t *find_group(json_t *list, const char *name, size_t *ret_index)
{
	json_t *group;
	size_t i;

	json_array_foreach (list, i, group) {
		if (strcmp(json_string_value(json_object_get(group, "name")), name) == 0) {
			*ret_index = i;
			return group;
		}
	}
	return NULL;
}

static uint64_t revision_of(const json_t *document)
{
	return (uint64_t)json_integer_value(json_object_get(document, "revision"));
}

/* A copy of what there is now. NULL: no memory. */
static json_t *copy_current(struct xreg_zones *zones, uint64_t *ret_version)
{
	json_t *document;

	pthread_rwlock_rdlock(&zones->lock);
	document = json_deep_copy(zones->document);
	*ret_version = zones->version;
	pthread_rwlock_unlock(&zones->lock);
	return document;
}

/* Takes both, and puts them in the place of what there is, unless that is newer. */
static bool adopt(
	struct xreg_zones *zones, json_t *next, struct compiled compiled, uint64_t version)
{
	bool is_newer;

	pthread_rwlock_wrlock(&zones->lock);
	is_newer = version > zones->version;
	if (is_newer) {
		json_t *before = zones->document;
		struct compiled old = zones->compiled;

		zones->document = next;
		zones->compiled = compiled;
		zones->version = version;
		next = before;
		compiled = old;
	}
	pthread_rwlock_unlock(&zones->lock);
	free_compiled(&compiled);
	json_decref(next);
	return is_newer;
}

/* Saves `next` (taken), which was made of the version `version`, and shows it. -ESTALE: another
 * registry was faster. */
static int replace(struct xreg_zones *zones, json_t *next, uint64_t version, struct xu_error *err)
{
	struct compiled compiled;
	uint64_t saved;
	int rc;

	json_object_set_new(next, "revision", json_integer((json_int_t)revision_of(next) + 1));
	rc = compile(next, &compiled);
	if (rc != 0) {
		xu_error_set_errno(err, rc, "changing zones");
	} else {
		rc = xreg_store_put_document(zones->store, DOCUMENT, next, version, &saved, err);
		if (rc != 0) {
			free_compiled(&compiled);
		}
	}
	if (rc != 0) {
		json_decref(next);
		return rc;
	}
	adopt(zones, next, compiled, saved);
	return 0;
}

/* One try: `edit` changes a copy. */
static int try_change(struct xreg_zones *zones, uint64_t if_revision,
	int (*edit)(json_t *document, void *arg, struct xu_error *err), void *arg,
	struct xu_error *err)
{
	uint64_t version;
	json_t *next = copy_current(zones, &version);
	int rc;

	if (next == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "changing zones");
	} else if (if_revision != 0 && if_revision != revision_of(next)) {
		rc = xu_error_set(err, -EPERM,
			"the zones have revision %llu, not %llu; read them again",
			(unsigned long long)revision_of(next), (unsigned long long)if_revision);
	} else {
		rc = edit(next, arg, err);
	}
	if (rc != 0) {
		json_decref(next);
		return rc;
	}
	return replace(zones, next, version, err);
}

/* A change from its beginning to its end. */
static int change(struct xreg_zones *zones, uint64_t if_revision,
	int (*edit)(json_t *document, void *arg, struct xu_error *err), void *arg,
	struct xu_error *err)
{
	int rc = -ESTALE;

	pthread_mutex_lock(&zones->change_mutex);
	for (uint32_t i = 0; i < TRIES_MAX && rc == -ESTALE; i++) {
		rc = try_change(zones, if_revision, edit, arg, err);
	}
	pthread_mutex_unlock(&zones->change_mutex);
	if (rc == -EPERM) {
		err->code = rc = -ESTALE; /* it is the caller's, no reason to try again */
	}
	if (rc == 0 && zones->changed != NULL) {
		zones->changed(zones->arg);
	}
	return rc;
}

struct edit {
	const char *name;
	json_t *group;
	bool is_active;
};

static int edit_put(json_t *document, void *arg, struct xu_error *err)
{
	const struct edit *edit = arg;
	json_t *groups = json_object_get(document, "groups"), *group;
	size_t index;
	int rc = check_name("zone group", edit->name, err);

	if (rc == 0) {
		rc = check_group(edit->group, err);
	}
	if (rc != 0) {
		return rc;
	}
	group = json_pack("{s:s, s:o}", "name", edit->name, "zones",
		json_deep_copy(json_object_get(edit->group, "zones")));
	if (group == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "changing zones");
	}
	if (find_group(groups, edit->name, &index) != NULL) {
		json_array_set_new(groups, index, group);
		return 0;
	}
	if (json_array_size(groups) >= XREG_ZONE_GROUPS_MAX) {
		json_decref(group);
		return xu_error_set(err, -EDQUOT,
			"there are %u zone groups, as many as there may be", XREG_ZONE_GROUPS_MAX);
	}
	json_array_append_new(groups, group);
	return 0;
}

static int edit_delete(json_t *document, void *arg, struct xu_error *err)
{
	const struct edit *edit = arg;
	size_t index;

	if (find_group(json_object_get(document, "active"), edit->name, &index) != NULL) {
		return xu_error_set(err, -EBUSY,
			"zone group '%.63s' is active; deactivate it first", edit->name);
	}
	if (find_group(json_object_get(document, "groups"), edit->name, &index) == NULL) {
		return xu_error_set(err, -ENOENT, "there is no zone group '%.63s'", edit->name);
	}
	json_array_remove(json_object_get(document, "groups"), index);
	return 0;
}

static int edit_activate(json_t *document, void *arg, struct xu_error *err)
{
	const struct edit *edit = arg;
	json_t *active = json_object_get(document, "active");
	size_t index;
	json_t *group = find_group(json_object_get(document, "groups"), edit->name, &index);

	if (group == NULL) {
		return xu_error_set(err, -ENOENT, "there is no zone group '%.63s'", edit->name);
	}
	if (find_group(active, edit->name, &index) != NULL) {
		json_array_remove(active, index);
	}
	if (edit->is_active) {
		json_array_append_new(active, json_deep_copy(group));
	}
	return 0;
}

static int edit_policy(json_t *document, void *arg, struct xu_error *err)
{
	const struct edit *edit = arg;

	if (strcmp(edit->name, "allow") != 0 && strcmp(edit->name, "deny") != 0) {
		return xu_error_set(err, -EINVAL,
			"default_policy: '%.32s' is not accepted; it is allow or deny", edit->name);
	}
	json_object_set_new(document, "default_policy", json_string(edit->name));
	return 0;
}

int xreg_zones_put_group(struct xreg_zones *zones, const char *name, json_t *group,
	uint64_t if_revision, struct xu_error *err)
{
	return change(zones, if_revision, edit_put, &(struct edit){name, group, false}, err);
}

int xreg_zones_delete_group(
	struct xreg_zones *zones, const char *name, uint64_t if_revision, struct xu_error *err)
{
	return change(zones, if_revision, edit_delete, &(struct edit){name, NULL, false}, err);
}

int xreg_zones_activate(struct xreg_zones *zones, const char *name, bool is_active,
	uint64_t if_revision, struct xu_error *err)
{
	return change(
		zones, if_revision, edit_activate, &(struct edit){name, NULL, is_active}, err);
}

int xreg_zones_set_policy(
	struct xreg_zones *zones, const char *policy, uint64_t if_revision, struct xu_error *err)
{
	return change(zones, if_revision, edit_policy, &(struct edit){policy, NULL, false}, err);
}

/* ---- reading ---- */

json_t *xreg_zones_json(struct xreg_zones *zones)
{
	json_t *copy;

	pthread_rwlock_rdlock(&zones->lock);
	copy = json_deep_copy(zones->document);
	pthread_rwlock_unlock(&zones->lock);
	return copy;
}

json_t *xreg_zones_group(struct xreg_zones *zones, const char *name)
{
	json_t *group;
	size_t index;

	pthread_rwlock_rdlock(&zones->lock);
	group = find_group(json_object_get(zones->document, "groups"), name, &index);
	group = group != NULL ? json_deep_copy(group) : NULL;
	pthread_rwlock_unlock(&zones->lock);
	return group;
}

uint64_t xreg_zones_revision(struct xreg_zones *zones)
{
	uint64_t revision;

	pthread_rwlock_rdlock(&zones->lock);
	revision = revision_of(zones->document);
	pthread_rwlock_unlock(&zones->lock);
	return revision;
}

/* ---- life ---- */

/* What was saved, checked like what strangers say: somebody may have edited the file. */
static int check_document(json_t *document, struct xu_error *err)
{
	static const char *const lists[] = {"groups", "active"};
	json_t *group;
	size_t j;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 2; i++) {
		if (!json_is_array(json_object_get(document, lists[i]))) {
			return xu_error_set(err, -EILSEQ, "'%s' is missing", lists[i]);
		}
		json_array_foreach (json_object_get(document, lists[i]), j, group) {
			rc = rc != 0 ? rc
				     : check_name("zone group",
					       json_string_value(json_object_get(group, "name")),
					       err);
			rc = rc != 0 ? rc : check_group(group, err);
		}
	}
	return rc;
}

/* ---- life ---- */

/* On the store's writer. What is no set of zones changes nothing: hosts see what they saw. */
static void on_document(
	struct xreg_document_watcher *watcher, const json_t *document, uint64_t version)
{
	struct xreg_zones *zones =
		(struct xreg_zones *)((char *)watcher - offsetof(struct xreg_zones, watcher));
	json_t *copy = json_deep_copy(document);
	struct compiled compiled;
	struct xu_error err;

	if (copy == NULL || check_document(copy, &err) != 0 || compile(copy, &compiled) != 0) {
		json_decref(copy);
		return;
	}
	if (adopt(zones, copy, compiled, version) && zones->changed != NULL) {
		zones->changed(zones->arg);
	}
}

void xreg_zones_follow(struct xreg_zones *zones)
{
	json_t *document;
	uint64_t version;

	zones->watcher = (struct xreg_document_watcher){.name = DOCUMENT, .fn = on_document};
	xreg_store_watch_document(zones->store, &zones->watcher);
	zones->is_following = true;
	/* What came between the opening and now. */
	document = xreg_store_document(zones->store, DOCUMENT, &version);
	if (document != NULL) {
		on_document(&zones->watcher, document, version);
		json_decref(document);
	}
}

void xreg_zones_unfollow(struct xreg_zones *zones)
{
	if (zones->is_following) {
		xreg_store_unwatch_document(zones->store, &zones->watcher);
		zones->is_following = false;
	}
}

/* Takes over the file of earlier versions, once. */
static int take_file(struct xreg_zones *zones, const char *dir, struct xu_error *err)
{
	int rc = xreg_document_load(dir, DOCUMENT, &zones->document, err);

	if (rc != 0 || zones->document == NULL) {
		return rc;
	}
	rc = check_document(zones->document, err);
	if (rc != 0) {
		return xu_error_prefix(err, "%s/%s.json", dir, DOCUMENT);
	}
	rc = xreg_store_put_document(
		zones->store, DOCUMENT, zones->document, 0, &zones->version, err);
	return rc == 0 ? xreg_document_retire(dir, DOCUMENT, err) : rc;
}

static int read_document(struct xreg_zones *zones, const char *dir, struct xu_error *err)
{
	int rc = 0;

	zones->document = xreg_store_document(zones->store, DOCUMENT, &zones->version);
	if (zones->document != NULL) {
		rc = check_document(zones->document, err);
		rc = rc != 0 ? xu_error_prefix(err, "the zones in the store") : 0;
	} else {
		rc = take_file(zones, dir, err);
	}
	if (rc == 0 && zones->document == NULL) {
		zones->document = json_pack("{s:i, s:s, s:[], s:[]}", "revision", 1,
			"default_policy", "allow", "groups", "active");
	}
	return rc;
}

int xreg_zones_open(struct xreg_store *store, const char *dir, void (*changed)(void *arg),
	void *arg, struct xreg_zones **ret_zones, struct xu_error *err)
{
	struct xreg_zones *zones = calloc(1, sizeof(*zones));
	int rc = zones == NULL ? -ENOMEM : 0;

	if (rc != 0) {
		return xu_error_set_errno(err, rc, "reading the zones");
	}
	pthread_mutex_init(&zones->change_mutex, NULL);
	pthread_rwlock_init(&zones->lock, NULL);
	zones->store = store;
	zones->changed = changed;
	zones->arg = arg;
	rc = read_document(zones, dir, err);
	if (rc == 0) {
		rc = zones->document != NULL ? compile(zones->document, &zones->compiled) : -ENOMEM;
		if (rc != 0) {
			xu_error_set_errno(err, rc, "reading the zones");
		}
	}
	if (rc != 0) {
		xreg_zones_close(zones);
		return rc;
	}
	*ret_zones = zones;
	return 0;
}

void xreg_zones_close(struct xreg_zones *zones)
{
	if (zones == NULL) {
		return;
	}
	xreg_zones_unfollow(zones);
	free_compiled(&zones->compiled);
	json_decref(zones->document);
	pthread_mutex_destroy(&zones->change_mutex);
	pthread_rwlock_destroy(&zones->lock);
	free(zones);
}

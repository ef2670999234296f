/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bringing the store to what a discovery controller says. What has to be changed is found out from
 * one view of the store and then given to its writer, some changes at a time; the last of them to
 * be answered sends the job back to the thread. Somebody may be faster meanwhile: what is refused
 * then is right at the next look.
 *
 * The sweep is a job too: it has targets go offline that we have read and whose controller nobody
 * names any more, and unregisters those that have been lost for long. Registries that share a store
 * may have different lists.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/desired.h"
#include "lib/xregistry/pull_private.h"

#define NR_JOBS_MAX 16u

struct todo {
	enum xreg_change_op op;
	uint32_t state;                  /* of SET_STATUS */
	struct xreg_target *known;       /* a reference; NULL: new */
	const struct xreg_target *found; /* the job's */
};

struct slot {
	struct xreg_change change;
	struct pull_job *job;
	struct xreg_spec spec;
	struct xreg_pair metadata[XREG_METADATA_MAX];
};

struct pull_job {
	struct xreg_pull *pull;
	struct pull_peer *peer;   /* NULL: the sweep */
	struct pull_found *found; /* NULL: the sweep */
	struct todo *todos;
	uint32_t count, room, next;
	bool has_no_memory;
	uint32_t nr_foreign; /* entries whose places are another's */
	struct xu_error err; /* the first failure */
	struct xr_msg msg;
	_Atomic uint32_t nr_left;
	uint32_t nr_slots;
	struct slot slots[PULL_NR_CHANGES];
};

/* ---- whose a target is ---- */

const char *pull__metadata(const struct xreg_spec *spec, const char *key)
{
	for (uint32_t i = 0; i < spec->nr_metadata; i++) {
		if (strcmp(spec->metadata[i].key, key) == 0) {
			return spec->metadata[i].value;
		}
	}
	return "";
}

static bool is_lost(const struct xreg_target *target)
{
	return target->status.state == XREG_OFFLINE &&
	       strcmp(target->status.reason, PULL_LOST) == 0;
}

static bool is_ours(const char *key)
{
	return strcmp(key, XREG_PULL_DDC) == 0 || strcmp(key, XREG_PULL_BY) == 0 ||
	       strcmp(key, XREG_PULL_PORT) == 0 || strcmp(key, XREG_PULL_VIA) == 0 ||
	       strcmp(key, XREG_PULL_LABEL) == 0;
}

/* Whether a log says something else of a target than is known; all else of it is the operator's. */
static bool is_changed(const struct xreg_spec *known, const struct xreg_spec *found)
{
	static const char *const keys[] = {
		XREG_PULL_DDC, XREG_PULL_BY, XREG_PULL_PORT, XREG_PULL_LABEL};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(pull__metadata(known, keys[i]), pull__metadata(found, keys[i])) != 0) {
			return true;
		}
	}
	return known->security != found->security;
}

/* ---- what is to be done ---- */

static void add(struct pull_job *job, enum xreg_change_op op, uint32_t state,
	const struct xreg_target *known, const struct xreg_target *found)
{
	if (job->count == job->room) {
		uint32_t room = job->room != 0 ? 2 * job->room : 64;
		struct todo *more = realloc(job->todos, room * sizeof(*more));

		if (more == NULL) {
			job->has_no_memory = true;
			return;
		}
		job->todos = more;
		job->room = room;
	}
	job->todos[job->count++] =
		(struct todo){op, state, known != NULL ? xreg_target_ref(known) : NULL, found};
}

static void look_at_found(
	struct pull_job *job, const struct xreg_view *view, const struct xreg_target *found)
{
	const struct xreg_target *known = xreg_view_first(view, XREG_BY_PLACE, found->place);

	if (known == NULL) {
		add(job, XREG_REGISTER, XREG_UNKNOWN, NULL, found);
		return;
	}
	/* What another controller has lost may be this one's now. */
	if (known->origin.source != XREG_PULLED ||
		(strcmp(pull__metadata(&known->spec, XREG_PULL_DDC), job->peer->key) != 0 &&
			!is_lost(known))) {
		job->nr_foreign++;
		return;
	}
	if (xreg_target_is_fixed(known)) {
		return;
	}
	if (is_changed(&known->spec, &found->spec)) {
		add(job, XREG_UPDATE, 0, known, found);
	}
	if (is_lost(known)) {
		add(job, XREG_SET_STATUS, XREG_UNKNOWN, known, found);
	}
}

static int compare_place(const void *key, const void *element)
{
	return strcmp(key, (*(const struct xreg_target *const *)element)->place);
}

static void lose(struct pull_job *job, const struct xreg_target *target)
{
	if (target->status.state != XREG_MAINTENANCE && !is_lost(target) &&
		!xreg_target_is_fixed(target)) {
		add(job, XREG_SET_STATUS, XREG_OFFLINE, target, NULL);
	}
}

static bool look_at_known(void *arg, const struct xreg_target *known)
{
	struct pull_job *job = arg;

	if (known->origin.source != XREG_PULLED ||
		strcmp(pull__metadata(&known->spec, XREG_PULL_DDC), job->peer->key) != 0) {
		return true;
	}
	pull__hasten(job->peer, known);
	if (bsearch(known->place, job->found->targets, job->found->count,
		    sizeof(job->found->targets[0]), compare_place) == NULL) {
		lose(job, known);
	}
	return true;
}

static void resolve(struct pull_job *job)
{
	struct xreg_view *view = xreg_store_view(job->pull->opts.store);

	for (uint32_t i = 0; i < job->found->count; i++) {
		look_at_found(job, view, job->found->targets[i]);
	}
	job->peer->interval_s = 0;
	xreg_view_each(view, XREG_BY_ID, "", true, look_at_known, job);
	xreg_view_unref(view);
}

/* ---- the end of a job ---- */

static void free_job(struct pull_job *job)
{
	for (uint32_t i = 0; i < job->count; i++) {
		xreg_target_unref(job->todos[i].known);
	}
	free(job->todos);
	pull__found_free(job->found);
	free(job);
}

static void finish(struct pull_job *job)
{
	struct xreg_pull *pull = job->pull;
	struct pull_peer *peer = job->peer;

	if (job->has_no_memory && job->err.code == 0) {
		xu_error_set_errno(&job->err, -ENOMEM, "taking over a discovery log");
	}
	if (job->err.code != 0) {
		xu_err(pull->opts.log, "taking over %s%s: %s",
			peer != NULL ? "the log of " : "that targets are gone",
			peer != NULL ? peer->key : "", job->err.text);
	}
	if (peer != NULL) {
		pthread_mutex_lock(&pull->mutex);
		peer->nr_found = job->found->count;
		peer->nr_ignored = job->found->nr_ignored + job->nr_foreign;
		snprintf(peer->problem, sizeof(peer->problem), "%.255s", job->err.text);
		pthread_mutex_unlock(&pull->mutex);
		peer->job = NULL;
		pull->nr_found -= job->found->count;
		pull->nr_jobs--;
	} else {
		pull->sweep = NULL;
	}
	free_job(job);
	pull__settle(pull);
}

/* ---- to the store and back ---- */

/* The writer's thread. */
static void on_change_done(struct xreg_change *change)
{
	struct pull_job *job = ((struct slot *)change->arg)->job;
	struct xreg_pull *pull = job->pull;

	/* The thread may run the message, and end, before it has been sent in full. */
	pthread_mutex_lock(&pull->send_mutex);
	if (atomic_fetch_sub(&job->nr_left, 1) == 1) {
		xr_msg_send(pull->reactor, &job->msg);
	}
	pthread_mutex_unlock(&pull->send_mutex);
}

static int compare_pairs(const void *a, const void *b)
{
	return strcmp(((const struct xreg_pair *)a)->key, ((const struct xreg_pair *)b)->key);
}

/* What is known of the target, with what the log says of it. */
static void merge(
	struct slot *slot, const struct xreg_target *known, const struct xreg_target *found)
{
	uint32_t count = found->spec.nr_metadata;

	memcpy(slot->metadata, found->spec.metadata, count * sizeof(slot->metadata[0]));
	for (uint32_t i = 0; i < known->spec.nr_metadata && count < XREG_METADATA_MAX; i++) {
		if (!is_ours(known->spec.metadata[i].key)) {
			slot->metadata[count++] = known->spec.metadata[i];
		}
	}
	qsort(slot->metadata, count, sizeof(slot->metadata[0]), compare_pairs);
	slot->spec = known->spec;
	slot->spec.security = found->spec.security;
	slot->spec.metadata = slot->metadata;
	slot->spec.nr_metadata = count;
}

static void fill_slot(struct slot *slot, struct pull_job *job, const struct todo *todo)
{
	struct xreg_change *change = &slot->change;

	slot->job = job;
	*change = (struct xreg_change){.op = todo->op,
		.status = {.state = todo->state,
			.reason = todo->state == XREG_OFFLINE ? PULL_LOST : ""},
		.source = XREG_PULLED,
		.done = on_change_done,
		.arg = slot};
	if (todo->known != NULL) {
		change->id = todo->known->origin.id;
	}
	if (todo->op == XREG_REGISTER) {
		change->spec = &todo->found->spec;
	} else if (todo->op == XREG_UPDATE) {
		merge(slot, todo->known, todo->found);
		change->spec = &slot->spec;
	} else if (todo->found == NULL) { /* nobody may have touched what goes */
		change->if_revision = todo->known->origin.revision;
	}
}

static void submit(struct pull_job *job)
{
	uint32_t count = job->count - job->next;

	count = count < PULL_NR_CHANGES ? count : PULL_NR_CHANGES;
	for (uint32_t i = 0; i < count; i++) {
		fill_slot(&job->slots[i], job, &job->todos[job->next++]);
	}
	job->nr_slots = count;
	atomic_store(&job->nr_left, count);
	for (uint32_t i = 0; i < count; i++) {
		xreg_store_submit(job->pull->opts.store, &job->slots[i].change);
	}
}

static void on_submitted(struct xr_msg *msg)
{
	struct pull_job *job = xu_container_of(msg, struct pull_job, msg);

	for (uint32_t i = 0; i < job->nr_slots; i++) {
		struct xreg_change *change = &job->slots[i].change;

		xreg_target_unref(change->result);
		if (change->rc != 0 && change->rc != -EEXIST && change->rc != -ENOENT &&
			change->rc != -ESTALE && job->err.code == 0) {
			job->err = change->err;
		}
	}
	if (job->next == job->count || job->pull->is_stopping) {
		finish(job);
	} else {
		submit(job);
	}
}

static struct pull_job *new_job(
	struct xreg_pull *pull, struct pull_peer *peer, struct pull_found *found)
{
	struct pull_job *job = calloc(1, sizeof(*job));

	if (job != NULL) {
		job->pull = pull;
		job->peer = peer;
		job->found = found;
		job->msg.fn = on_submitted;
	}
	return job;
}

/* ---- the log of a peer ---- */

static void drop(struct xreg_pull *pull, struct pull_found *found)
{
	if (found != NULL) {
		pull->nr_found -= found->count;
		pull__found_free(found);
	}
}

void pull__start_jobs(struct xreg_pull *pull)
{
	struct xu_list *node;

	xu_list_for_each (node, &pull->peers) {
		struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);
		struct pull_job *job;

		if (pull->is_stopping || !peer->is_listed) {
			drop(pull, peer->next_found);
			peer->next_found = NULL;
		}
		if (peer->job != NULL || peer->next_found == NULL || pull->nr_jobs == NR_JOBS_MAX) {
			continue;
		}
		job = new_job(pull, peer, peer->next_found);
		if (job == NULL) {
			drop(pull, peer->next_found);
			peer->next_found = NULL;
			continue; /* the next look has it again */
		}
		peer->next_found = NULL;
		peer->job = job;
		pull->nr_jobs++;
		resolve(job);
		atomic_store(&job->nr_left, 0);
		if (job->count != 0) {
			submit(job);
		} else {
			xr_msg_defer(pull->reactor, &job->msg); /* not from in here */
		}
	}
}

void pull__apply(struct pull_peer *peer, struct pull_found *found)
{
	struct xreg_pull *pull = peer->pull;

	drop(pull, peer->next_found);
	peer->next_found = NULL;
	if (found->count > PULL_NR_FOUND_MAX - pull->nr_found) {
		pthread_mutex_lock(&pull->mutex);
		snprintf(peer->problem, sizeof(peer->problem),
			"too many entries of discovery logs wait to be registered");
		pthread_mutex_unlock(&pull->mutex);
		pull__found_free(found);
		return;
	}
	pull->nr_found += found->count;
	peer->next_found = found;
	pull__start_jobs(pull);
}

/* ---- the sweep ---- */

static bool sweep_one(void *arg, const struct xreg_target *target)
{
	struct pull_job *job = arg;
	const struct xreg_pull *pull = job->pull;
	uint64_t now_ms = xu_clock_system()->wall_ns(xu_clock_system()) / XU_NS_PER_MS;
	uint64_t now_ns = xr_now_ns(pull->reactor);

	if (target->origin.source != XREG_PULLED || xreg_target_is_fixed(target)) {
		return true;
	}
	if (is_lost(target)) {
		if (pull->opts.limits.forget_s != 0 && target->status.state != XREG_MAINTENANCE &&
			target->origin.updated_ms + pull->opts.limits.forget_s * 1000ull < now_ms) {
			add(job, XREG_UNREGISTER, 0, target, NULL);
		}
	} else if (now_ns - pull->start_ns > 2ull * pull->opts.limits.interval_s * XU_NS_PER_S &&
		   strcmp(pull__metadata(&target->spec, XREG_PULL_VIA), pull->nqn) == 0 &&
		   pull__find(pull, pull__metadata(&target->spec, XREG_PULL_DDC)) == NULL) {
		lose(job, target);
	}
	return true;
}

void pull__sweep(struct xreg_pull *pull)
{
	struct xreg_view *view;

	if (pull->sweep != NULL || pull->is_stopping) {
		return;
	}
	pull->sweep = new_job(pull, NULL, NULL);
	if (pull->sweep == NULL) {
		return;
	}
	view = xreg_store_view(pull->opts.store);
	xreg_view_each(view, XREG_BY_ID, "", true, sweep_one, pull->sweep);
	xreg_view_unref(view);
	if (pull->sweep->count == 0) {
		free_job(pull->sweep);
		pull->sweep = NULL;
	} else {
		submit(pull->sweep);
	}
}

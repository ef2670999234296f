/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Choosing targets: every target of the view is either rejected or a candidate with the score of
 * the document (spec/registry.md 6.2); candidates are put in order by state, by load and by the
 * policy; the first are chosen and charged to the balancer. On failure nothing has changed.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/balancer.h"
#include "lib/xregistry/store.h"

struct candidate {
	struct xreg_chosen what;
	uint32_t load_pct, nr_connections, nr_given;
	double value;   /* of the policy: the lowest comes first */
	uint32_t place; /* in the order of the policy */
	uint32_t round; /* how many of its node come before it */
};

struct selecting {
	const struct xreg_criteria *criteria;
	struct xreg_health_config config;
	struct xreg_balancer *balancer;
	double load_threshold; /* the balancer's */
	uint64_t now_ms;
	enum xreg_policy policy;
	struct candidate *candidates;
	uint32_t nr_candidates;
	struct xreg_rejected *rejected;
	uint32_t nr_rejected;
};

void xreg_criteria_default(struct xreg_criteria *ret_criteria)
{
	*ret_criteria = (struct xreg_criteria){.transport = XREG_ANY_TRANSPORT,
		.health_weight = 0.3,
		.performance_weight = 0.4,
		.reliability_weight = 0.2,
		.location_weight = 0.1,
		.target_count = 1};
}

const char *xreg_reject_text(enum xreg_reject reason)
{
	static const char *const texts[] = {
		[XREG_REJECT_STATE] = "it is neither available nor degraded",
		[XREG_REJECT_EXCLUDED] = "it was excluded by its id",
		[XREG_REJECT_TRANSPORT] = "it has another transport",
		[XREG_REJECT_NODE] = "it is on another node",
		[XREG_REJECT_TAGS] = "it lacks a tag",
		[XREG_REJECT_LOCATION] = "it is at another location",
		[XREG_REJECT_READ_ONLY] = "it is read-only",
		[XREG_REJECT_CAPACITY] = "its capacity is too small",
		[XREG_REJECT_IOPS] = "it has not stated as many IOPS",
		[XREG_REJECT_BANDWIDTH] = "it has not stated as much bandwidth",
		[XREG_REJECT_LATENCY] = "its latency is too high",
		[XREG_REJECT_CONNECTIONS] = "it has all the connections that it can have",
	};

	return texts[reason];
}

const char *xreg_selection_status_name(enum xreg_selection_status status)
{
	static const char *const names[] = {"success", "partial", "no_suitable_backend"};

	return names[status];
}

/* ---- where ---- */

#define SEPARATORS "-/:._ "

static bool is_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* Whether `location` is at or within `prefix`: rack-1 holds rack-1-slot-3 but not rack-10. */
static bool is_within(const char *location, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(location, prefix, len) == 0 &&
	       (location[len] == '\0' || strchr(SEPARATORS, location[len]) != NULL ||
		       strchr(SEPARATORS, prefix[len - 1]) != NULL);
}

static size_t part_len(const char **at)
{
	*at += strspn(*at, SEPARATORS);
	return strcspn(*at, SEPARATORS);
}

static bool has_digit(const char *at, size_t len)
{
	size_t to_digit = strcspn(at, "0123456789");

	return to_digit < len;
}

/* The share of the preferred location's parts that the target's begins with. The name of a number
 * that differs is not a part in common: rack-1 and rack-2 have none. */
static double location_score(const char *location, const char *preferred)
{
	uint32_t nr_parts = 0, nr_common = 0;
	bool is_common = true, was_name = false;
	size_t want, have;

	for (; (want = part_len(&preferred)) > 0; preferred += want, nr_parts++) {
		have = part_len(&location);
		if (is_common && want == have && strncmp(preferred, location, want) == 0) {
			was_name = !has_digit(preferred, want);
			nr_common++;
		} else if (is_common) {
			is_common = false;
			nr_common -= was_name && has_digit(preferred, want);
		}
		location += have;
	}
	return nr_parts > 0 ? 100.0 * nr_common / nr_parts : 0;
}

/* ---- what is left out ---- */

static bool has_tags(const struct xreg_spec *spec, const struct xreg_criteria *criteria)
{
	for (uint32_t i = 0; i < criteria->nr_tags; i++) {
		uint32_t at = 0;

		while (at < spec->nr_tags && strcmp(spec->tags[at], criteria->tags[i]) != 0) {
			at++;
		}
		if (at == spec->nr_tags) {
			return false;
		}
	}
	return true;
}

static bool is_excluded(const char *id, const struct xreg_criteria *criteria)
{
	for (uint32_t i = 0; i < criteria->nr_exclude_ids; i++) {
		if (strcmp(criteria->exclude_ids[i], id) == 0) {
			return true;
		}
	}
	return false;
}

/* By the record alone. 0: nothing is against it. */
static uint32_t why_not(const struct xreg_target *target, const struct xreg_criteria *criteria)
{
	const struct xreg_spec *spec = &target->spec;

	if (target->status.state != XREG_AVAILABLE && target->status.state != XREG_DEGRADED) {
		return XREG_REJECT_STATE;
	}
	if (is_excluded(target->origin.id, criteria)) {
		return XREG_REJECT_EXCLUDED;
	}
	if (criteria->transport != XREG_ANY_TRANSPORT && criteria->transport != spec->transport) {
		return XREG_REJECT_TRANSPORT;
	}
	if (is_given(criteria->node_id) && strcmp(criteria->node_id, spec->node_id) != 0) {
		return XREG_REJECT_NODE;
	}
	if (!has_tags(spec, criteria)) {
		return XREG_REJECT_TAGS;
	}
	if (is_given(criteria->location_prefix) &&
		!is_within(target->location, criteria->location_prefix)) {
		return XREG_REJECT_LOCATION;
	}
	if (criteria->is_writable && xreg_target_is_read_only(target)) {
		return XREG_REJECT_READ_ONLY;
	}
	if (spec->capacity_bytes < criteria->min_capacity_bytes) {
		return XREG_REJECT_CAPACITY;
	}
	if (spec->max_iops < criteria->min_iops) {
		return XREG_REJECT_IOPS;
	}
	return spec->max_bandwidth_mbps < criteria->min_bandwidth_mbps ? XREG_REJECT_BANDWIDTH : 0;
}

/* What is reported, else what was stated; 0: nothing is known. */
static uint32_t latency_us(const struct xreg_target *target, const struct xreg_live_state *live)
{
	return live->has_metrics ? live->metrics.current_latency_us : target->spec.avg_latency_us;
}

static uint32_t why_not_now(const struct xreg_target *target, const struct xreg_live_state *live,
	const struct xreg_criteria *criteria)
{
	uint32_t max_connections = xreg_target_max_connections(target);

	if (criteria->max_latency_us > 0 && latency_us(target, live) > criteria->max_latency_us) {
		return XREG_REJECT_LATENCY;
	}
	if (max_connections > 0 && live->has_metrics &&
		live->metrics.active_connections >= max_connections) {
		return XREG_REJECT_CONNECTIONS;
	}
	return 0;
}

/* ---- the score ---- */

/* As the document has it. A load that nobody reports counts as none. */
static double performance_score(const struct xreg_target *target,
	const struct xreg_live_state *live, const struct xreg_criteria *criteria)
{
	double score = 100.0;

	if (criteria->min_iops > 0) {
		double ratio = (double)target->spec.max_iops / (double)criteria->min_iops;

		score *= fmin(1.0, ratio / 2.0);
	}
	if (criteria->min_bandwidth_mbps > 0) {
		double ratio = (double)target->spec.max_bandwidth_mbps /
			       (double)criteria->min_bandwidth_mbps;

		score *= fmin(1.0, ratio / 2.0);
	}
	if (criteria->max_latency_us > 0) {
		score *= 1.0 - (double)latency_us(target, live) / criteria->max_latency_us;
	}
	if (live->has_metrics) {
		score *= 1.0 - fmin(live->metrics.load_percentage, 100) / 100.0;
	}
	return score;
}

static double total_score(const struct xreg_chosen *chosen, const struct xreg_criteria *criteria)
{
	double score = chosen->health * criteria->health_weight +
		       chosen->performance * criteria->performance_weight +
		       chosen->reliability * criteria->reliability_weight;
	double weight = criteria->health_weight + criteria->performance_weight +
			criteria->reliability_weight;

	if (is_given(criteria->preferred_location)) {
		score += chosen->location * criteria->location_weight;
		weight += criteria->location_weight;
	}
	return weight > 0 ? score / weight : 0.0;
}

static void add_candidate(
	struct selecting *s, const struct xreg_target *target, const struct xreg_live_state *live)
{
	struct candidate *candidate = &s->candidates[s->nr_candidates++];
	struct xreg_chosen *what = &candidate->what;

	*candidate = (struct candidate){.what.target = target,
		.load_pct = live->has_metrics ? live->metrics.load_percentage : 0,
		.nr_connections = live->has_metrics ? live->metrics.active_connections : 0};
	xreg_health_score(target, live, &s->config, &what->parts);
	what->health = what->parts.score;
	what->performance = performance_score(target, live, s->criteria);
	what->reliability = what->parts.reliability;
	if (is_given(s->criteria->preferred_location)) {
		what->location = location_score(target->location, s->criteria->preferred_location);
	}
	what->total = total_score(what, s->criteria);
	what->is_degraded = target->status.state == XREG_DEGRADED;
	what->is_over_load = candidate->load_pct > s->load_threshold * 100;
}

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct selecting *s = arg;
	struct xreg_live_state live;
	uint32_t reason = why_not(target, s->criteria);

	if (reason == 0) {
		xreg_live_get(target, &live);
		/* An old report says nothing of now. */
		if (live.has_metrics &&
			live.reported_ms + s->config.report_age_max_s * 1000ull < s->now_ms) {
			live.has_metrics = false;
		}
		reason = why_not_now(target, &live, s->criteria);
	}
	if (reason == 0) {
		add_candidate(s, target, &live);
	} else {
		s->rejected[s->nr_rejected++] = (struct xreg_rejected){target, reason};
	}
	return true;
}

/* ---- the order ---- */

/* Degraded behind available, and of each those under much load behind the others; whom a key
 * belongs to does not change with the load. */
static uint32_t tier(const struct selecting *s, const struct candidate *candidate)
{
	return candidate->what.is_degraded * 2u +
	       (candidate->what.is_over_load && s->policy != XREG_HASH);
}

/* Weighted rendezvous hashing: each target draws by the key and its id, the best draw wins (Thaler
 * and Ravishankar 1998; Schindelhauer and Schomaker 2005). */
static double draw(const struct xreg_target *target, const char *key)
{
	double share = (double)(xreg__hash64(key, target->origin.id) >> 11) + 0.5;
	double weight = xreg_target_weight(target);

	return weight > 0 ? log(share / 9007199254740992.0) / -weight : INFINITY;
}

static int value_shared(const struct selecting *s, struct candidate *candidate, uint32_t best_tier)
{
	uint32_t max_connections = xreg_target_max_connections(candidate->what.target);
	double weight = xreg_target_weight(candidate->what.target);
	struct xreg_share *share = xreg__balancer_share(s->balancer, candidate->what.target);

	if (share == NULL) {
		return -ENOMEM;
	}
	candidate->nr_given = share->nr_given;
	if (s->policy == XREG_LEAST_CONNECTIONS) {
		candidate->value = (double)candidate->nr_connections + share->nr_given;
	} else if (s->policy == XREG_LEAST_LOAD) {
		double each = max_connections > 0 ? 100.0 / max_connections : 1;

		candidate->value = candidate->load_pct + each * share->nr_given;
	} else if (weight > 0) {
		/* Who waits in a lower tier does not save up. */
		candidate->value = -share->credit;
		candidate->value -= tier(s, candidate) == best_tier ? weight : 0;
	} else {
		candidate->value = INFINITY;
	}
	return 0;
}

static int value(const struct selecting *s, struct candidate *candidate, uint32_t best_tier)
{
	const struct xreg_target *target = candidate->what.target;

	switch (s->policy) {
	case XREG_SCORE:
		candidate->value = -candidate->what.total;
		return 0;
	case XREG_ROUND_ROBIN: /* those after the last one, then from the start */
		candidate->value = strcmp(target->origin.id, s->balancer->last_id) <= 0;
		return 0;
	case XREG_HASH:
		candidate->value = draw(target, s->criteria->hash_key);
		return 0;
	default:
		return value_shared(s, candidate, best_tier);
	}
}

static int compare_numbers(double a, double b)
{
	return (a > b) - (a < b);
}

static int compare(const void *one, const void *two, void *arg)
{
	const struct selecting *s = arg;
	const struct candidate *a = one, *b = two;
	int rc = compare_numbers(tier(s, a), tier(s, b));

	rc = rc != 0 ? rc : compare_numbers(a->value, b->value);
	if (rc == 0 && s->policy != XREG_ROUND_ROBIN) {
		rc = compare_numbers(b->what.total, a->what.total);
	}
	return rc != 0 ? rc : strcmp(a->what.target->origin.id, b->what.target->origin.id);
}

static int compare_node(const void *one, const void *two)
{
	const struct candidate *a = one, *b = two;
	int rc = strcmp(a->what.target->spec.node_id, b->what.target->spec.node_id);

	return rc != 0 ? rc : compare_numbers(a->place, b->place);
}

static int compare_round(const void *one, const void *two)
{
	const struct candidate *a = one, *b = two;
	int rc = compare_numbers(a->round, b->round);

	return rc != 0 ? rc : compare_numbers(a->place, b->place);
}

/* The first of every node, then the second of every node and so on. */
static void spread(struct candidate *candidates, uint32_t count)
{
	qsort(candidates, count, sizeof(*candidates), compare_node);
	for (uint32_t i = 1; i < count; i++) {
		const struct candidate *before = &candidates[i - 1];

		if (strcmp(before->what.target->spec.node_id,
			    candidates[i].what.target->spec.node_id) == 0) {
			candidates[i].round = before->round + 1;
		}
	}
	qsort(candidates, count, sizeof(*candidates), compare_round);
}

static int put_in_order(struct selecting *s)
{
	uint32_t best_tier = UINT32_MAX;

	for (uint32_t i = 0; i < s->nr_candidates; i++) {
		uint32_t its = tier(s, &s->candidates[i]);

		best_tier = its < best_tier ? its : best_tier;
	}
	for (uint32_t i = 0; i < s->nr_candidates; i++) {
		int rc = value(s, &s->candidates[i], best_tier);

		if (rc != 0) {
			return rc;
		}
	}
	qsort_r(s->candidates, s->nr_candidates, sizeof(*s->candidates), compare, s);
	for (uint32_t i = 0; i < s->nr_candidates; i++) {
		s->candidates[i].place = i;
	}
	if (s->criteria->spread_over_nodes && s->nr_candidates > 0) {
		spread(s->candidates, s->nr_candidates);
	}
	return 0;
}

/* ---- the choice ---- */

/* Everyone of the best tier has earned their weight, the chosen have paid for it all together
 * (smooth weighted round robin, Sysoev 2012). The shares are there since put_in_order(). */
static void charge_weights(struct selecting *s, uint32_t nr_chosen)
{
	uint32_t best_tier = tier(s, &s->candidates[0]);
	double sum = 0;

	for (uint32_t i = 0; i < s->nr_candidates; i++) {
		best_tier = tier(s, &s->candidates[i]) < best_tier ? tier(s, &s->candidates[i])
								   : best_tier;
	}
	for (uint32_t i = 0; i < s->nr_candidates; i++) {
		const struct xreg_target *target = s->candidates[i].what.target;

		if (tier(s, &s->candidates[i]) == best_tier) {
			xreg__balancer_share(s->balancer, target)->credit +=
				xreg_target_weight(target);
			sum += xreg_target_weight(target);
		}
	}
	for (uint32_t i = 0; i < nr_chosen; i++) {
		xreg__balancer_share(s->balancer, s->candidates[i].what.target)->credit -=
			sum / nr_chosen;
	}
}

static void charge(struct selecting *s, uint32_t nr_chosen)
{
	const struct xreg_target *last = s->candidates[nr_chosen - 1].what.target;

	switch (s->policy) {
	case XREG_ROUND_ROBIN:
		snprintf(s->balancer->last_id, sizeof(s->balancer->last_id), "%s", last->origin.id);
		break;
	case XREG_WEIGHTED:
		charge_weights(s, nr_chosen);
		break;
	case XREG_LEAST_CONNECTIONS:
	case XREG_LEAST_LOAD:
		for (uint32_t i = 0; i < nr_chosen; i++) {
			xreg__balancer_share(s->balancer, s->candidates[i].what.target)->nr_given++;
		}
		break;
	default:
		break;
	}
}

static void explain(const struct selecting *s, struct candidate *candidate)
{
	struct xreg_chosen *what = &candidate->what;
	char place[32] = "not asked for";

	if (is_given(s->criteria->preferred_location)) {
		snprintf(place, sizeof(place), "%.1f", what->location);
	}
	snprintf(what->reason, sizeof(what->reason),
		"%s by %s: score %.1f (health %.0f, performance %.1f, reliability %.0f, location "
		"%s), load %u %%, connections %u, chosen %u times of late%s",
		what->is_degraded ? "degraded, chosen" : "chosen", xreg_policy_name(s->policy),
		what->total, what->health, what->performance, what->reliability, place,
		candidate->load_pct, candidate->nr_connections, candidate->nr_given,
		what->is_over_load ? "; above the load threshold" : "");
}

static int choose(struct selecting *s, struct xreg_selection *ret_selection)
{
	uint32_t want = s->criteria->target_count;
	uint32_t nr_chosen = want < s->nr_candidates ? want : s->nr_candidates;
	struct xreg_chosen *chosen = calloc(nr_chosen + 1, sizeof(*chosen));
	int rc;

	if (chosen == NULL) {
		return -ENOMEM;
	}
	pthread_mutex_lock(&s->balancer->mutex);
	xreg__balancer_turn(s->balancer, s->now_ms);
	rc = put_in_order(s);
	if (rc == 0 && nr_chosen > 0) {
		charge(s, nr_chosen);
	}
	pthread_mutex_unlock(&s->balancer->mutex);
	if (rc != 0) {
		free(chosen);
		return rc;
	}
	for (uint32_t i = 0; i < nr_chosen; i++) {
		s->candidates[i].what.priority = i + 1;
		explain(s, &s->candidates[i]);
		chosen[i] = s->candidates[i].what;
	}
	*ret_selection =
		(struct xreg_selection){.status = nr_chosen == 0     ? XREG_SELECTION_NO_SUITABLE
						  : nr_chosen < want ? XREG_SELECTION_PARTIAL
								     : XREG_SELECTION_SUCCESS,
			.policy = s->policy,
			.nr_candidates = s->nr_candidates,
			.chosen = chosen,
			.nr_chosen = nr_chosen,
			.rejected = s->rejected,
			.nr_rejected = s->nr_rejected};
	return 0;
}

static bool is_weight(double weight)
{
	return weight >= 0 && isfinite(weight);
}

static int check(const struct xreg_criteria *criteria, enum xreg_policy policy)
{
	if (criteria->policy >= XREG_NR_POLICIES || criteria->target_count == 0 ||
		criteria->target_count > XREG_SELECT_MAX ||
		(policy == XREG_HASH && criteria->hash_key == NULL)) {
		return -EINVAL;
	}
	return is_weight(criteria->health_weight) && is_weight(criteria->performance_weight) &&
			       is_weight(criteria->reliability_weight) &&
			       is_weight(criteria->location_weight)
		       ? 0
		       : -EINVAL;
}

int xreg_select(struct xreg_balancer *balancer, const struct xreg_view *view,
	const struct xreg_criteria *criteria, const struct xreg_health_config *config,
	uint64_t now_ms, struct xreg_selection *ret_selection)
{
	uint32_t count = xreg_view_count(view);
	struct selecting s = {.criteria = criteria,
		.config = *config,
		.balancer = balancer,
		.now_ms = now_ms,
		.policy = criteria->policy};
	int rc;

	pthread_mutex_lock(&balancer->mutex);
	s.load_threshold = balancer->opts.load_threshold;
	s.policy = s.policy != XREG_POLICY_DEFAULT ? s.policy : balancer->opts.policy;
	pthread_mutex_unlock(&balancer->mutex);
	rc = check(criteria, s.policy);
	if (rc != 0) {
		return rc;
	}
	s.candidates = calloc(count + 1, sizeof(*s.candidates));
	s.rejected = calloc(count + 1, sizeof(*s.rejected));
	rc = -ENOMEM;
	if (s.candidates != NULL && s.rejected != NULL) {
		xreg_view_each(view, XREG_BY_ID, "", true, on_target, &s);
		rc = choose(&s, ret_selection);
	}
	free(s.candidates);
	if (rc != 0) {
		free(s.rejected);
		return rc;
	}
	ret_selection->view = xreg_view_ref((struct xreg_view *)view);
	return 0;
}

void xreg_selection_free(struct xreg_selection *selection)
{
	free(selection->chosen);
	free(selection->rejected);
	xreg_view_unref(selection->view);
	*selection = (struct xreg_selection){0};
}

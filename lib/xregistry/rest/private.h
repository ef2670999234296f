/* SPDX-License-Identifier: BSD-3-Clause */
/* The REST interface from the inside. */
#ifndef LIB_XREGISTRY_REST_PRIVATE_H
#define LIB_XREGISTRY_REST_PRIVATE_H

#include "lib/rpc/http.h"
#include "lib/xregistry/drain.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/rest/rest.h"
#include "lib/xregistry/select.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/wait.h"

#define REST_TIME_SIZE    32u
#define REST_BODY_MAX     (64u << 10) /* bytes of one target's body */
#define REST_BULK_MAX     (16u << 20) /* bytes of many */
#define REST_ZONES_MAX    (4u << 20)
#define REST_BULK_TARGETS 1000u
#define REST_INDEX_HEADER "X-Registry-Index"

struct xreg_rest {
	struct xreg_rest_opts opts;
	struct xrpc_http *http;
	struct rest_owns *owns; /* NULL: nobody looks at nodes */
	uint64_t start_ms;
};

uint64_t rest_unix_ms(void);
/* How targets are judged now. */
void rest_health_config(const struct xreg_rest *rest, struct xreg_health_config *ret_config);
/* "2024-01-15T10:30:00.123Z" */
void rest_time(uint64_t unix_ms, char text[REST_TIME_SIZE]);

/* ---- text.c: what is told of targets; new references, NULL: no memory ---- */

/* As a list shows it (4.1.2). */
json_t *rest_target_line(const struct xreg_rest *rest, const struct xreg_target *target);
/* All that is known. */
json_t *rest_target_full(const struct xreg_rest *rest, const struct xreg_target *target);
/* What is desired of a target, beside what its node has (config.c). */
json_t *rest_target_config(const struct xreg_target *target);
json_t *rest_event(const struct xreg_rest *rest, const struct xreg_event *event);
json_t *rest_metrics(const struct xreg_metrics *metrics, uint64_t reported_ms);
json_t *rest_health(const struct xreg_health *health);

/* ---- query.c: parameters behind the "?" ---- */

/* Reads a number; false: it is none or out of its range, and the call has been answered. A missing
 * one leaves *ret_value alone. */
bool rest_query_number(struct xrpc_http_call *call, const char *name, uint64_t min, uint64_t max,
	uint64_t *ret_value);
/* The same for "30s", "500ms", "5m" and plain seconds, in milliseconds. */
bool rest_query_wait(struct xrpc_http_call *call, uint64_t *ret_ms);
/* Refuses parameters that are none of `known` (ends with NULL). */
bool rest_query_check(struct xrpc_http_call *call, const char *const *known);
/* "true", "false", "1", "0", and "" for true. */
bool rest_query_bool(struct xrpc_http_call *call, const char *name, bool *ret_value);

/* ---- block.c ---- */

/* Calls `fn` now, or, for a call with ?index= that nothing is newer than, when there is something
 * newer or its ?wait= is over. */
void rest_when_newer(struct xreg_rest *rest, struct xrpc_http_call *call,
	void (*fn)(struct xreg_rest *rest, struct xrpc_http_call *call));

/* ---- job.c: calls about one target ---- */

/* What a change that was refused is told as. */
void rest_answer_refused(struct xrpc_http_call *call, const struct xreg_change *change);
unsigned rest_status_of(int rc);
/* The revision that If-Match asks for; 0: none. False: it is no ETag of ours, and the call has been
 * answered. */
bool rest_if_match(struct xrpc_http_call *call, uint64_t *ret_revision);
void rest_add_etag(struct xrpc_http_call *call, uint64_t revision);
void rest_add_index(struct xrpc_http_call *call, uint64_t revision);

/* The target that the path names, of the current view, which is to be given back. NULL: there is
 * none, and the call has been answered. */
const struct xreg_target *rest_find(
	struct xreg_rest *rest, struct xrpc_http_call *call, struct xreg_view **ret_view);
/* Answers with what `show` makes of it, its ETag and the index. */
void rest_show(struct xreg_rest *rest, struct xrpc_http_call *call,
	json_t *(*show)(const struct xreg_rest *rest, const struct xreg_target *target));
/* The id in the path, of a target that need not be there, and If-Match. False: answered. */
bool rest_take_id(struct xrpc_http_call *call, char id[XREG_ID_SIZE], uint64_t *ret_revision);

struct rest_job_ops;

/* A call that is one change of a target, until it is answered. */
struct rest_job {
	struct xreg_change change;
	struct xreg_rest *rest;
	struct xrpc_http_call *call;
	const struct rest_job_ops *ops;
	json_t *body;               /* what the change is read from, and borrows from */
	json_t *patch;              /* that `body` was made by; NULL: none */
	struct xreg_parsed parsed;  /* `body` as a target */
	struct xreg_config *config; /* or as a configuration */
	char id[XREG_ID_SIZE];
	bool is_conditional; /* by If-Match */
	uint32_t nr_tries;
};

struct rest_job_ops {
	/* What a patch changes; new reference, NULL: no memory. Of those that are patched. */
	json_t *(*before)(const struct xreg_target *target);
	/* Reads `body` into the change; false: the call has been answered. */
	bool (*read)(struct rest_job *job);
	/* Answers when it was made; ETag and index are there. */
	void (*answer)(struct rest_job *job);
};

/* Takes the body. NULL: the call has been answered, also when there is no body. */
struct rest_job *rest_job_new(struct xreg_rest *rest, struct xrpc_http_call *call,
	enum xreg_change_op op, const struct rest_job_ops *ops, json_t *body);
/* The same of the target that the path names, and under the condition of If-Match. */
struct rest_job *rest_job_of_target(struct xreg_rest *rest, struct xrpc_http_call *call,
	enum xreg_change_op op, const struct rest_job_ops *ops, json_t *body);
/* Reads and submits, and answers in any case; the job is gone. The body is the patch of the second.
 */
void rest_job_run(struct rest_job *job);
void rest_job_patch(struct rest_job *job);
/* Answers that what is said cannot be; false. */
bool rest_job_refuse(struct rest_job *job, const char *path, const struct xu_error *err);
/* Takes away a member of the body that is an empty text: nothing is said by it. */
void rest_job_drop_empty(struct rest_job *job, const char *name);

/* ---- the routes ---- */

void rest_targets_register(struct xrpc_http_call *call, void *arg);
void rest_targets_bulk(struct xrpc_http_call *call, void *arg);
void rest_targets_list(struct xrpc_http_call *call, void *arg);
void rest_targets_select(struct xrpc_http_call *call, void *arg);
void rest_target_get(struct xrpc_http_call *call, void *arg);
void rest_target_put(struct xrpc_http_call *call, void *arg);
void rest_target_patch(struct xrpc_http_call *call, void *arg);
void rest_target_status(struct xrpc_http_call *call, void *arg);
void rest_target_metrics(struct xrpc_http_call *call, void *arg);
void rest_target_delete(struct xrpc_http_call *call, void *arg);
void rest_config_get(struct xrpc_http_call *call, void *arg);
void rest_config_put(struct xrpc_http_call *call, void *arg);
void rest_config_patch(struct xrpc_http_call *call, void *arg);
void rest_config_delete(struct xrpc_http_call *call, void *arg);
void rest_config_report(struct xrpc_http_call *call, void *arg);
void rest_events(struct xrpc_http_call *call, void *arg);
void rest_backup(struct xrpc_http_call *call, void *arg);
void rest_alerts_get(struct xrpc_http_call *call, void *arg);
void rest_alert_test(struct xrpc_http_call *call, void *arg);
void rest_alert_silence(struct xrpc_http_call *call, void *arg);
void rest_alert_unsilence(struct xrpc_http_call *call, void *arg);
void rest_zones_get(struct xrpc_http_call *call, void *arg);
void rest_zones_patch(struct xrpc_http_call *call, void *arg);
void rest_zone_group_get(struct xrpc_http_call *call, void *arg);
void rest_zone_group_put(struct xrpc_http_call *call, void *arg);
void rest_zone_group_delete(struct xrpc_http_call *call, void *arg);
void rest_zone_group_activate(struct xrpc_http_call *call, void *arg);
void rest_zone_group_deactivate(struct xrpc_http_call *call, void *arg);
void rest_hosts(struct xrpc_http_call *call, void *arg);
void rest_reload(struct xrpc_http_call *call, void *arg);
void rest_status(struct xrpc_http_call *call, void *arg);
void rest_prometheus(struct xrpc_http_call *call, void *arg);
void rest_openapi(struct xrpc_http_call *call, void *arg);

extern const struct xrpc_http_route rest_routes[];

#endif

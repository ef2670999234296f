/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's alerts: their rules, what is measured for them, and who is told. */
#ifndef XSAN_REGISTRY_ALERTS_H
#define XSAN_REGISTRY_ALERTS_H

struct alerts_part;
struct config;
struct xreg_alerts;
struct xreg_monitor;
struct xreg_rest;
struct xreg_store;
struct xu_error;
struct xu_logger;

struct alerts_part_opts {
	const struct config *config; /* borrowed until the end, as the others */
	struct xreg_store *store;
	struct xreg_monitor *monitor;
	struct xu_logger *log;
};

/* -EINVAL: a rule, with its place. */
int alerts_part_start(
	const struct alerts_part_opts *opts, struct alerts_part **ret_part, struct xu_error *err);
/* Whose calls are measured; NULL: nobody's, and it is not looked at any more when this returns. */
void alerts_part_set_rest(struct alerts_part *part, struct xreg_rest *rest);
struct xreg_alerts *alerts_part_alerts(struct alerts_part *part);
/* Before what is measured ends. NULL is fine. */
void alerts_part_stop(struct alerts_part *part);

#endif

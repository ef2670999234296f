/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of the registry put together: store, health monitor, draining, REST. They are started
 * in that order, so that nothing is served before the store is loaded, and ended in the opposite
 * one. All calls on the main thread.
 */
#ifndef XSAN_REGISTRY_REGISTRY_H
#define XSAN_REGISTRY_REGISTRY_H

#include <jansson.h>
#include <stdint.h>

struct config;
struct registry;
struct xu_error;

int registry_start(
	const struct config *config, struct registry **ret_registry, struct xu_error *err);
/* NULL is fine. */
void registry_stop(struct registry *registry);

/*
 * Opens the log files anew and takes what can change while it runs from `config`, which need not
 * stay. *ret_taken is told to people: {"taken": [names of members], "needs_restart": [those that
 * differ from what is in use all the same], …}. When a file that it names is not good, -errno with
 * a sentence, and nothing has changed.
 */
int registry_reload(struct registry *registry, const struct config *config, json_t **ret_taken,
	struct xu_error *err);
/* Can be read when somebody has asked for a reload; then reload, and tell them: `taken` (borrowed),
 * or NULL and what was wrong. */
int registry_reload_fd(const struct registry *registry);
void registry_answer_reloads(struct registry *registry, json_t *taken, const struct xu_error *err);
/* Takes the files of the certificate when they are others than they were; for every few seconds. */
void registry_look_at_files(struct registry *registry);
/* When this registry has become the one of several that leads: takes over what another has begun;
 * for every few seconds. */
void registry_look_at_lead(struct registry *registry);
struct xu_logger *registry_log(struct registry *registry);
uint16_t registry_port(const struct registry *registry);

#endif

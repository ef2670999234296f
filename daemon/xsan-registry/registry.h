/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of the registry put together: store, health monitor, draining, REST. They are started
 * in that order, so that nothing is served before the store is loaded, and ended in the opposite
 * one. All calls on the main thread.
 */
#ifndef XSAN_REGISTRY_REGISTRY_H
#define XSAN_REGISTRY_REGISTRY_H

#include <stdint.h>

struct config;
struct registry;
struct xu_error;

int registry_start(
	const struct config *config, struct registry **ret_registry, struct xu_error *err);
/* NULL is fine. */
void registry_stop(struct registry *registry);

/* Opens the log files anew and takes what can change while it runs from `config`, which is to stay.
 */
void registry_reload(struct registry *registry, const struct config *config);
struct xu_logger *registry_log(struct registry *registry);
uint16_t registry_port(const struct registry *registry);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the checking of configurations: one object or list at a time, and where it went wrong.
 */
#ifndef XSAND_CONFIG_CHECK_H
#define XSAND_CONFIG_CHECK_H

#include <jansson.h>

#include "daemon/xsand/config.h"
#include "lib/util/error.h"
#include "lib/util/param.h"
#include "lib/xnvmf/target/target.h"

struct check {
	char path[CONFIG_PATH_SIZE]; /* of the culprit */
	struct xu_error *err;
};

/* Writes a path; one that is too long is cut. Returns `path`. */
char *check_path(char path[CONFIG_PATH_SIZE], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Sets the path and the sentence; returns -EINVAL. `path` may be c->path itself. */
int check_fail(struct check *c, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Reads an object at `path` by a table. */
int check_params(struct check *c, const char *path, const struct xu_param *params, void *opts,
	json_t *object);

/* The tables of the NVMe-oF part, for the model and the RPC methods too. */
extern const struct xu_param config_transport_params[]; /* struct config_transport */
extern const struct xu_param config_subsystem_params[]; /* struct config_subsystem */
extern const struct xu_param config_ns_params[];        /* struct config_ns */
extern const struct xu_param config_listener_params[];  /* struct config_listener */

struct config_transport {
	uint64_t in_capsule_data_size;
	uint64_t max_io_size;
	uint64_t max_h2c_data;
	uint32_t max_queue_depth;
	uint32_t max_queues;
	uint32_t max_connections;
	uint32_t connect_timeout_ms;
};

struct config_subsystem {
	const char *nqn;
	const char *serial_number;
	const char *model_number;
	bool allow_any_host;
	uint32_t max_namespaces;
	json_t *hosts;
	json_t *namespaces;
	json_t *listeners;
	json_t *central; /* config_central.h */
};

struct config_ns {
	uint32_t nsid;
	const char *device;
	struct xu_uuid uuid;
	const char *nguid;
	const char *eui64;
	bool read_only;
};

struct config_listener {
	uint32_t trtype;
	const char *traddr;
	const char *trsvcid;
	const char *advertise;
};

#define CONFIG_MAX_NAMESPACES_DEFAULT 32u

/* What the target has without any setting. */
void config_transport_default(struct config_transport *transport);
/* Into the options of the target. */
void config_transport_opts(
	const struct config_transport *transport, struct xnvmf_target_opts *ret_opts);

/* Single objects, whose path is `path`; they fill *ret with what they read. */
int check_transport(
	struct check *c, const char *path, json_t *object, struct config_transport *ret);
int check_ns(struct check *c, const char *path, json_t *object, struct config_ns *ret);
int check_listener(struct check *c, const char *path, json_t *object, struct config_listener *ret);
int check_nqn(struct check *c, const char *path, const char *nqn);
int check_subsystem(struct check *c, const char *path, json_t *object);

/* What checked namespaces and stores use together: every device and every identifier has one user.
 */
int check_uses(struct check *c, json_t *subsystems, json_t *devices, json_t *stores);

/* The same for one more namespace, checked by itself, of subsystem `nqn` in a checked document. */
int check_new_ns(struct check *c, const char *path, json_t *root, json_t *ns, const char *nqn);

/* The whole of "nvmf"; `devices` is the list its namespaces name, `stores` that of what else uses
 * them; each may be NULL. */
int check_nvmf(struct check *c, json_t *nvmf, json_t *devices, json_t *stores);

#endif

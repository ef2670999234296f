/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another configuration while the registry runs. What can go wrong is done first and on the side:
 * reading and checking the certificate, judging who may still call from where, the methods of
 * finding targets, the rules of alerts. Only then are the parts told, by calls that only want
 * memory.
 *
 * Which members those are is one table. All others need a restart; those that differ from what is
 * in use are named, at each reload again.
 *
 * The files of the certificate are looked at as well: when they have changed and are the same at
 * the next look, the pair is tried, once. While it is none the old one goes on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/xsan-registry/alerts.h"
#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/find.h"
#include "daemon/xsan-registry/grpc.h"
#include "daemon/xsan-registry/registry_private.h"
#include "lib/rpc/http.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/monitor.h"
#include "lib/xregistry/rest/rest.h"
#include "lib/xregistry/select.h"

#define NR_FILES 3u

/* Members that are taken while it runs; a name that ends with a dot is all of a section. */
static const char *const live[] = {"discovery.", "discovery_controller.publish_mdns", "failover.",
	"health_monitoring.", "load_balancer.", "logging.log_level", "security.ca_file",
	"security.cert_file", "security.client_certificates", "security.client_role",
	"security.key_file", "security.rate_limit_per_sec", "security.tokens",
	"security.wrong_tokens_per_sec", NULL};

static bool is_live(const char *name)
{
	for (const char *const *one = live; *one != NULL; one++) {
		size_t len = strlen(*one);

		if ((*one)[len - 1] == '.' ? strncmp(name, *one, len) == 0
					   : strcmp(name, *one) == 0) {
			return true;
		}
	}
	return false;
}

/* ---- the files of the certificate ---- */

static void forget_files(struct certificate_files *files)
{
	for (uint32_t i = 0; i < NR_FILES; i++) {
		free(files->paths[i]);
		files->paths[i] = NULL;
	}
}

static int set_files(struct certificate_files *files, const struct config *config)
{
	const char *paths[NR_FILES] = {config->cert_path, config->key_path, config->client_ca_path};
	struct certificate_files next = {0};

	for (uint32_t i = 0; i < NR_FILES; i++) {
		next.paths[i] = paths[i] != NULL ? strdup(paths[i]) : NULL;
		if (paths[i] != NULL && next.paths[i] == NULL) {
			forget_files(&next);
			return -ENOMEM;
		}
		if (paths[i] != NULL && stat(paths[i], &next.seen[i]) == 0) {
			next.tried[i] = next.seen[i];
		}
	}
	forget_files(files);
	*files = next;
	return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* They are others than those that were tried last, and nobody writes them any more. */
static bool are_due(struct certificate_files *files)
{
	bool is_changed = false, is_stable = true;

	for (uint32_t i = 0; i < NR_FILES; i++) {
		struct stat now = {0};

		if (files->paths[i] == NULL) {
			continue;
		}
		if (stat(files->paths[i], &now) != 0) {
			memset(&now, 0, sizeof(now));
		}
		is_changed |= !is_same_file(&now, &files->tried[i]);
		is_stable &= is_same_file(&now, &files->seen[i]);
		files->seen[i] = now;
	}
	if (is_changed && is_stable) {
		memcpy(files->tried, files->seen, sizeof(files->tried));
	}
	return is_changed && is_stable;
}

/* Both servers take it or none does. */
static int use_pem(struct registry *registry, const struct xrpc_pem *pem, struct xu_error *err)
{
	int rc = xreg_rest_set_pem(registry->rest, pem, err);
	struct xu_error ignored;

	if (rc == 0) {
		rc = grpc_part_set_pem(registry->grpc, pem, err);
		if (rc != 0) {
			xreg_rest_set_pem(registry->rest, &registry->pem, &ignored);
		}
	}
	return rc;
}

void registry_look_at_files(struct registry *registry)
{
	char *const *paths = registry->files.paths;
	struct xrpc_pem pem;
	struct xu_error err;
	int rc;

	if (paths[0] == NULL || !are_due(&registry->files)) {
		return;
	}
	rc = xrpc_pem_read(paths[0], paths[1], paths[2], &pem, &err);
	if (rc == 0 && xrpc_pem_is_same(&pem, &registry->pem)) {
		xrpc_pem_clear(&pem);
		return;
	}
	if (rc == 0) {
		rc = use_pem(registry, &pem, &err);
		if (rc != 0) {
			xrpc_pem_clear(&pem);
		}
	}
	if (rc != 0) {
		xu_err(registry->log, "the new certificate is not taken, the old one goes on: %s",
			err.text);
		return;
	}
	xrpc_pem_clear(&registry->pem);
	registry->pem = pem;
	xu_info(registry->log, "a new certificate is in use, from %s", paths[0]);
}

/* ---- reloading ---- */

/* A configuration that is being taken. */
struct taking {
	struct registry *registry;
	const struct config *config;
	bool has_pem; /* a new one */
	struct xrpc_pem pem;
	struct find_change find;
};

static json_t *member(const struct taking *t, const char *name)
{
	return json_object_get(t->config->effective, name);
}

static bool has_changed(const struct taking *t, const char *name)
{
	return !json_equal(member(t, name), json_object_get(t->registry->running, name));
}

/* With or without TLS, and with or without a CA, is said at the start. */
static bool is_tls_as_it_was(const struct taking *t)
{
	char *const *paths = t->registry->files.paths;

	return (t->config->cert_path == NULL) == (paths[0] == NULL) &&
	       (t->config->client_ca_path == NULL) == (paths[2] == NULL);
}

/* Reads the certificate, when there is a new one and it can be exchanged. */
static int read_certificate(struct taking *t, struct xu_error *err)
{
	const struct config *config = t->config;
	int rc;

	if (config->cert_path == NULL || !is_tls_as_it_was(t)) {
		return 0;
	}
	rc = xrpc_pem_read(
		config->cert_path, config->key_path, config->client_ca_path, &t->pem, err);
	if (rc != 0) {
		return rc;
	}
	t->has_pem = !xrpc_pem_is_same(&t->pem, &t->registry->pem);
	return t->has_pem ? xrpc_http_check_pem(&t->pem, err) : 0;
}

static int check_access(const struct taking *t, struct xu_error *err)
{
	const struct xrpc_access_opts *access = &t->config->access;
	const struct registry *registry = t->registry;

	return registry->is_open
		       ? 0
		       : xrpc_access_check_exposure(registry->address,
				 registry->files.paths[0] != NULL,
				 access->nr_tokens != 0 || registry->files.paths[2] != NULL, err);
}

/* The servers' certificate, and who may call: what may still fail comes first. */
static int take_security(struct taking *t, struct xu_error *err)
{
	struct registry *registry = t->registry;
	struct xrpc_access_opts access = t->config->access;
	struct xu_error ignored;
	int rc = t->has_pem ? use_pem(registry, &t->pem, err) : 0;

	if (rc != 0) {
		return rc;
	}
	access.has_client_ca = registry->files.paths[2] != NULL;
	if ((is_tls_as_it_was(t) && set_files(&registry->files, t->config) != 0) ||
		xrpc_access_set(registry->access, &access) != 0) {
		if (t->has_pem) {
			use_pem(registry, &registry->pem, &ignored);
		}
		return xu_error_set_errno(err, -ENOMEM, "taking who may call");
	}
	if (t->has_pem) {
		xrpc_pem_clear(&registry->pem);
		registry->pem = t->pem;
		t->pem = (struct xrpc_pem){0};
	}
	return 0;
}

/* What was checked with the configuration, or can only want memory: then it stays as it was, and
 * the log says so. */
static void take_rest(struct taking *t)
{
	const struct config *config = t->config;
	struct registry *registry = t->registry;
	struct xu_error err;

	if (xu_logger_reopen(registry->log, &err) != 0 ||
		(registry->audit != NULL && xu_logger_reopen(registry->audit, &err) != 0)) {
		xu_err(registry->log, "%s", err.text);
	}
	xu_logger_set_level(registry->log, config->log.level);
	if (xreg_monitor_configure(registry->monitor, &config->health, &err) != 0) {
		xu_err(registry->log, "%s", err.text);
	}
	if (xreg_balancer_set(registry->balancer, &config->balancer) != 0) {
		xu_err(registry->log, "load_balancer is not taken");
	}
	find_take(registry, config, &t->find);
}

/* What has changed, by whether it was taken; keeps what is in use now. */
static json_t *tell(const struct taking *t, bool has_pem)
{
	json_t *taken = json_array(), *left = json_array(), *value;
	struct registry *registry = t->registry;
	const char *name;

	json_object_foreach (t->config->effective, name, value) {
		const bool is_of_tls = strcmp(name, "security.ca_file") == 0 ||
				       strcmp(name, "security.cert_file") == 0 ||
				       strcmp(name, "security.key_file") == 0;

		if (!has_changed(t, name)) {
			continue;
		}
		if (is_live(name) && (!is_of_tls || is_tls_as_it_was(t))) {
			json_array_append_new(taken, json_string(name));
			json_object_set(registry->running, name, value);
		} else {
			json_array_append_new(left, json_string(name));
		}
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "status", "reloaded", "taken", taken,
		"needs_restart", left, "new_certificate", (int)has_pem);
}

int registry_reload(struct registry *registry, const struct config *config, json_t **ret_taken,
	struct xu_error *err)
{
	struct taking t = {.registry = registry, .config = config};
	bool has_pem;
	int rc = read_certificate(&t, err);

	rc = rc != 0 ? rc : check_access(&t, err);
	rc = rc != 0 ? rc : find_prepare(registry, config, &t.find, err);
	rc = rc != 0 ? rc : xreg_alerts_reload(alerts_part_alerts(registry->alerts), err);
	has_pem = t.has_pem;
	rc = rc != 0 ? rc : take_security(&t, err);
	if (rc == 0) {
		take_rest(&t);
		*ret_taken = tell(&t, has_pem);
	}
	find_discard(&t.find);
	xrpc_pem_clear(&t.pem);
	return rc;
}

/* ---- who asks for it ---- */

int reload_ask(void *arg, void (*done)(void *arg, json_t *taken, const struct xu_error *err),
	void *done_arg)
{
	struct reload_wait *wait = calloc(1, sizeof(*wait));
	struct registry *registry = arg;
	int rc = wait == NULL ? -ENOMEM : 0;

	if (rc != 0) {
		return rc;
	}
	*wait = (struct reload_wait){.done = done, .arg = done_arg};
	pthread_mutex_lock(&registry->mutex);
	if (registry->is_stopping) {
		rc = -ESHUTDOWN;
	} else {
		wait->next = registry->waiting;
		registry->waiting = wait;
		eventfd_write(registry->reload_fd, 1);
	}
	pthread_mutex_unlock(&registry->mutex);
	if (rc != 0) {
		free(wait);
	}
	return rc;
}

int registry_reload_fd(const struct registry *registry)
{
	return registry->reload_fd;
}

void registry_answer_reloads(struct registry *registry, json_t *taken, const struct xu_error *err)
{
	struct reload_wait *wait;

	pthread_mutex_lock(&registry->mutex);
	wait = registry->waiting;
	registry->waiting = NULL;
	registry->is_stopping |= taken == NULL && err->code == -ESHUTDOWN;
	pthread_mutex_unlock(&registry->mutex);
	while (wait != NULL) {
		struct reload_wait *next = wait->next;

		wait->done(wait->arg, taken != NULL ? json_deep_copy(taken) : NULL, err);
		free(wait);
		wait = next;
	}
}

/* ---- life ---- */

int reload_init(struct registry *registry, const struct config *config, struct xu_error *err)
{
	int rc = 0;

	registry->running = json_copy(config->effective);
	registry->address = strdup(config->http.address);
	registry->is_open = config->http.is_open;
	if (registry->running == NULL || registry->address == NULL ||
		set_files(&registry->files, config) != 0 ||
		xrpc_access_new(&config->access, &registry->access) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "starting the registry");
	}
	registry->reload_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (registry->reload_fd < 0) {
		return xu_error_set_errno(err, -errno, "starting the registry");
	}
	if (config->cert_path != NULL) {
		rc = xrpc_pem_read(config->cert_path, config->key_path, config->client_ca_path,
			&registry->pem, err);
	}
	if (rc == 0 && config->cert_path != NULL && xrpc_http_check_pem(&registry->pem, err) != 0) {
		xu_warn(registry->log, "%s: %s", config->cert_path, err->text);
	}
	return rc;
}

void reload_fini(struct registry *registry)
{
	forget_files(&registry->files);
	xrpc_pem_clear(&registry->pem);
	xrpc_access_free(registry->access);
	json_decref(registry->running);
	free(registry->address);
	if (registry->reload_fd >= 0) {
		close(registry->reload_fd);
	}
}

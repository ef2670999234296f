/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management server of the library: lib/rpc's servers (TCP, a UNIX socket, or both) with the
 * device methods of lib/xbdev/mgmt, which change the library's devices as a program's own calls do.
 *
 *   DOWN --init--> UP --fini, end of the library--> STOPPING --calls answered, clients gone--> DOWN
 *
 * Everything is the control reactor's, but the TLS files, which the caller's thread reads. A call
 * that does not end keeps the server in STOPPING; who waits is told -EBUSY after 10 s. A device
 * that is removed by a call and does not go is waited for 5 s, so that this is rare.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/server.h"
#include "lib/rpc/tls.h"
#include "lib/util/clock.h"
#include "lib/xbdev/api/services.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/mgmt/mgmt.h"

#define REMOVE_WAIT_NS (5 * XU_NS_PER_S)

enum server_state { SERVER_DOWN, SERVER_UP, SERVER_STOPPING };

/* Where the certificate is. */
struct tls_files {
	char *cert, *key, *client_ca; /* NULL: none */
};

static struct {
	enum server_state state;
	struct xrpc_service *service;
	struct xrpc_server *tcp, *local; /* NULL: none */
	struct xrpc_tls *tls;            /* NULL: clear text */
	struct tls_files files;
	struct xbdev_mgmt mgmt;
	struct xbdev_mgmt_notes *notes;
	uint32_t nr_stopping;
	struct api_call *stopper;
	struct xr_timer timer; /* of the stopper */
} server;

/* ---- making devices ---- */

struct creation {
	xbdev_mgmt_done_fn done;
	void *arg;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	const struct xu_error none = {0};
	struct creation *creation = arg;

	creation->done(creation->arg, dev == NULL ? err : &none);
	free(creation);
}

static void create(struct xbdev_mgmt *mgmt, json_t *entry, xbdev_mgmt_done_fn done, void *arg)
{
	struct creation *creation = malloc(sizeof(*creation));
	struct xu_error err;

	if (creation == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making a device");
		done(arg, &err);
	} else {
		*creation = (struct creation){.done = done, .arg = arg};
		xbdev_config_create(mgmt->ctx, entry, on_created, creation);
	}
	json_decref(entry);
}

/* ---- removing them ---- */

/* Outlives its call when the device takes too long. */
struct removal {
	char name[XBDEV_NAME_SIZE];
	xbdev_mgmt_done_fn done; /* NULL: has been told */
	void *arg;
	struct xr_timer timer;
};

static void on_removed(void *arg)
{
	const struct xu_error none = {0};
	struct removal *removal = arg;

	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &removal->timer);
	if (removal->done != NULL) {
		removal->done(removal->arg, &none);
	}
	free(removal);
}

static void on_removal_timer(struct xr_timer *timer)
{
	struct removal *removal = xu_container_of(timer, struct removal, timer);
	xbdev_mgmt_done_fn done = removal->done;
	struct xu_error err;

	xu_error_set(&err, -EBUSY,
		"device '%s' does not give back I/O that it has; it goes when it does",
		removal->name);
	removal->done = NULL;
	done(removal->arg, &err);
}

static void remove_device(
	struct xbdev_mgmt *mgmt, const char *name, xbdev_mgmt_done_fn done, void *arg)
{
	struct xbdev_device *dev = xbdev_device_find(mgmt->ctx, name);
	struct removal *removal = dev != NULL ? calloc(1, sizeof(*removal)) : NULL;
	struct xu_error err = {0};

	if (dev == NULL) {
		xu_error_set(&err, -ENODEV,
			"there is no device '%.128s'; bdev_get_bdevs lists them", name);
	} else if (dev->claim != NULL) {
		xu_error_set(&err, -EBUSY, "device '%s' is in use by %s; remove that first",
			dev->name, dev->claim_by);
	} else if (removal == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "removing device '%s'", dev->name);
	} else {
		memcpy(removal->name, dev->name, sizeof(removal->name));
		removal->done = done;
		removal->arg = arg;
		removal->timer.fn = on_removal_timer;
		if (xbdev_device_remove(dev, on_removed, removal) == 0) {
			xr_timer_start(
				xbdev_ctx_control(mgmt->ctx), &removal->timer, REMOVE_WAIT_NS);
			return;
		}
		xu_error_set(&err, -EBUSY, "device '%s' is being removed already", dev->name);
	}
	free(removal);
	done(arg, &err);
}

/* ---- changing them ---- */

/* What the device's entry is now, in its one form, and what it would be with `members`; false: no
 * memory. */
static bool make_entries(
	const struct xbdev_device *dev, json_t *members, json_t **ret_from, json_t **ret_to)
{
	json_t *now = dev->ops->config != NULL ? dev->ops->config(dev) : NULL;

	*ret_from = now != NULL ? xbdev_config_canonical(now) : NULL;
	*ret_to = now != NULL ? xbdev_config_copy(now) : NULL;
	json_decref(now);
	return *ret_from != NULL && *ret_to != NULL && json_object_update(*ret_to, members) == 0;
}

/* Checks the new entry and begins the change; else `err` says why not. */
static void begin_change(struct xbdev_device *dev, const json_t *from, json_t *to,
	xbdev_mgmt_done_fn done, void *arg, struct xu_error *err)
{
	char path[XU_PARAM_PATH_SIZE];
	const char *fixed;
	json_t *canonical;

	if (xbdev_config_check_device(to, path, err) != 0) {
		return;
	}
	canonical = xbdev_config_canonical(to);
	if (canonical == NULL) {
		xu_error_set_errno(err, -ENOMEM, "changing device '%s'", dev->name);
		return;
	}
	fixed = xbdev_config_fixed(dev, from, canonical);
	if (fixed != NULL) {
		xu_error_set(err, -EBUSY, "'%s' of device '%s' cannot be changed while it runs",
			fixed, dev->name);
	} else {
		xbdev_config_change(dev, canonical, done, arg);
	}
	json_decref(canonical);
}

static void change(struct xbdev_mgmt *mgmt, const char *name, json_t *members,
	xbdev_mgmt_done_fn done, void *arg)
{
	struct xbdev_device *dev = xbdev_device_find(mgmt->ctx, name);
	json_t *from = NULL, *to = NULL;
	struct xu_error err = {0};

	if (dev == NULL) {
		xu_error_set(&err, -ENODEV,
			"there is no device '%.128s'; bdev_get_bdevs lists them", name);
	} else if (members == NULL || !make_entries(dev, members, &from, &to)) {
		xu_error_set_errno(&err, -ENOMEM, "changing device '%s'", dev->name);
	} else {
		begin_change(dev, from, to, done, arg, &err);
	}
	json_decref(from);
	json_decref(to);
	json_decref(members);
	if (err.code != 0) {
		done(arg, &err);
	}
}

/* ---- the certificate ---- */

static void free_files(struct tls_files *files)
{
	free(files->cert);
	free(files->key);
	free(files->client_ca);
	*files = (struct tls_files){.cert = NULL};
}

static bool copy_text(const char *text, char **ret_copy)
{
	*ret_copy = text != NULL ? strdup(text) : NULL;
	return text == NULL || *ret_copy != NULL;
}

/* -ENOMEM, and then there is nothing to free. */
static int copy_files(
	const char *cert, const char *key, const char *client_ca, struct tls_files *ret_files)
{
	bool is_good = copy_text(cert, &ret_files->cert);

	is_good &= copy_text(key, &ret_files->key);
	is_good &= copy_text(client_ca, &ret_files->client_ca);
	if (!is_good) {
		free_files(ret_files);
	}
	return is_good ? 0 : -ENOMEM;
}

static bool is_same_text(const char *a, const char *b)
{
	return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static int make_tls(const struct tls_files *files, struct xrpc_tls **ret_tls, struct xu_error *err)
{
	const struct xrpc_tls_opts opts = {.cert_path = files->cert,
		.key_path = files->key,
		.client_ca_path = files->client_ca};

	return xrpc_tls_new(&opts, ret_tls, err);
}

/* ---- starting ---- */

struct init_call {
	struct api_call call;
	const xbdev_mgmt_options_t *options;
	struct xrpc_tls *tls; /* these are taken when it succeeds */
	struct tls_files files;
};

static void free_server(void)
{
	xrpc_server_free(server.tcp);
	xrpc_server_free(server.local);
	xrpc_service_free(server.service);
	xbdev_mgmt_notes_free(server.notes);
	xbdev_mgmt_copies_free(server.mgmt.copies);
	xrpc_tls_free(server.tls);
	free_files(&server.files);
	memset(&server, 0, sizeof(server));
}

static int make_service(struct xu_error *err)
{
	server.mgmt = (struct xbdev_mgmt){
		.ctx = api_lib.ctx, .create = create, .remove = remove_device, .change = change};
	if (xrpc_service_new(&server.service) != 0 ||
		xbdev_mgmt_notes_new(api_lib.ctx, &server.notes) != 0 ||
		xrpc_service_add(server.service, xrpc_service_methods, server.service) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_notify_methods, server.notes) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_stats_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_fault_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_nvme_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_raid_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_raid_look_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_raid_manage_methods, &server.mgmt) !=
			0 ||
		xrpc_service_add(server.service, xbdev_mgmt_lvs_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_lvol_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_lvol_look_methods, &server.mgmt) != 0 ||
		xrpc_service_add(server.service, xbdev_mgmt_lvol_copy_methods, &server.mgmt) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "making the management server");
	}
	return 0;
}

static int make_servers(struct init_call *init, struct xu_error *err)
{
	struct xr_reactor *reactor = xbdev_ctx_control(api_lib.ctx);
	const struct xrpc_tcp_opts opts = {.address = init->options->listen_addr,
		.port = (uint16_t)init->options->port,
		.token = init->options->token,
		.tls = init->tls};
	int rc = make_service(err);

	if (rc == 0 && opts.address != NULL) {
		rc = xrpc_server_new_tcp(reactor, server.service, &opts, &server.tcp, err);
	}
	if (rc == 0 && init->options->socket_path != NULL) {
		rc = xrpc_server_new(
			reactor, server.service, init->options->socket_path, &server.local, err);
	}
	return rc;
}

static void on_init(struct api_call *call)
{
	struct init_call *init = xu_container_of(call, struct init_call, call);
	int rc;

	if (server.state != SERVER_DOWN) {
		xu_error_set(&call->err, -EALREADY,
			"the management server runs already; xbdev_mgmt_server_fini() ends it");
		api_call_done(call, -EALREADY);
		return;
	}
	rc = make_servers(init, &call->err);
	if (rc != 0) {
		free_server();
		api_call_done(call, rc);
		return;
	}
	server.tls = init->tls;
	server.files = init->files;
	init->tls = NULL;
	init->files = (struct tls_files){.cert = NULL};
	server.state = SERVER_UP;
	if (server.tcp != NULL) {
		xrpc_server_start(server.tcp);
	}
	if (server.local != NULL) {
		xrpc_server_start(server.local);
	}
	api_call_done(call, 0);
}

static int check_options(const xbdev_mgmt_options_t *options)
{
	bool wants_tls = options->tls_cert != NULL || options->tls_key != NULL ||
			 options->tls_client_ca != NULL;

	if (options->size != sizeof(*options)) {
		return api_fail(-EINVAL, "management server: size is not that of this version");
	}
	if (options->listen_addr == NULL && options->socket_path == NULL) {
		return api_fail(-EINVAL, "management server: neither an address nor a socket's "
					 "path is given");
	}
	if (options->listen_addr == NULL && (options->token != NULL || wants_tls)) {
		return api_fail(-EINVAL, "management server: token and TLS are for TCP, and no "
					 "address is given");
	}
	if (options->port < 0 || options->port > UINT16_MAX) {
		return api_fail(-EINVAL, "management server: port %d is not one of 0 to 65535",
			options->port);
	}
	return 0;
}

static int prepare_tls(struct init_call *init)
{
	const xbdev_mgmt_options_t *options = init->options;
	struct xu_error err = {0};

	if (options->tls_cert == NULL && options->tls_key == NULL &&
		options->tls_client_ca == NULL) {
		return 0;
	}
	if (copy_files(options->tls_cert, options->tls_key, options->tls_client_ca, &init->files) !=
		0) {
		return api_fail(-ENOMEM, "management server: out of memory");
	}
	return make_tls(&init->files, &init->tls, &err) == 0 ? 0 : api_fail_with(&err);
}

int xbdev_mgmt_server_init_with(const xbdev_mgmt_options_t *options)
{
	struct init_call init = {.options = options};
	struct api_thread *thread;
	int rc;

	if (options == NULL) {
		return api_fail(-EINVAL, "management server: the options are NULL");
	}
	rc = check_options(options);
	if (rc == 0) {
		rc = api_enter(&thread, true);
	}
	if (rc != 0) {
		return rc;
	}
	rc = prepare_tls(&init);
	if (rc == 0) {
		rc = api_call_run(thread, &init.call, on_init);
	}
	api_leave(thread);
	xrpc_tls_free(init.tls);
	free_files(&init.files);
	return rc;
}

/* Who may call is then said by whoever runs the program. */
int xbdev_mgmt_server_init(const char *listen_addr, int port)
{
	const xbdev_mgmt_options_t options = {.size = sizeof(options),
		.listen_addr = listen_addr != NULL ? listen_addr : "127.0.0.1",
		.port = port,
		.token = secure_getenv("XBDEV_MGMT_TOKEN"),
		.tls_cert = secure_getenv("XBDEV_MGMT_TLS_CERT"),
		.tls_key = secure_getenv("XBDEV_MGMT_TLS_KEY"),
		.tls_client_ca = secure_getenv("XBDEV_MGMT_TLS_CLIENT_CA")};

	return xbdev_mgmt_server_init_with(&options);
}

static void on_port(struct api_call *call)
{
	if (server.state != SERVER_UP || server.tcp == NULL) {
		xu_error_set(&call->err, -ENOENT, "no management server runs on TCP");
		api_call_done(call, -ENOENT);
		return;
	}
	api_call_done(call, xrpc_server_port(server.tcp));
}

static int run(void (*fn)(struct api_call *call))
{
	struct api_thread *thread;
	struct api_call call;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, &call, fn);
		api_leave(thread);
	}
	return rc;
}

int xbdev_mgmt_server_port(void)
{
	return run(on_port);
}

/* ---- another certificate ---- */

struct reload_call {
	struct api_call call;
	struct tls_files files;
	struct xrpc_tls *tls; /* taken when it succeeds */
};

static bool has_tls(struct api_call *call)
{
	if (server.state == SERVER_UP && server.tls != NULL) {
		return true;
	}
	xu_error_set(&call->err, -ENOENT, "no management server runs with TLS");
	api_call_done(call, -ENOENT);
	return false;
}

static void on_ask_files(struct api_call *call)
{
	struct reload_call *reload = xu_container_of(call, struct reload_call, call);
	const struct tls_files *files = &server.files;
	int rc;

	if (has_tls(call)) {
		rc = copy_files(files->cert, files->key, files->client_ca, &reload->files);
		if (rc != 0) {
			xu_error_set_errno(&call->err, rc, "reading the TLS files again");
		}
		api_call_done(call, rc);
	}
}

static void on_reload(struct api_call *call)
{
	struct reload_call *reload = xu_container_of(call, struct reload_call, call);
	const struct tls_files *files = &reload->files;

	if (!has_tls(call)) {
		return;
	}
	/* Somebody may have started another one meanwhile. */
	if (!is_same_text(server.files.cert, files->cert) ||
		!is_same_text(server.files.key, files->key) ||
		!is_same_text(server.files.client_ca, files->client_ca)) {
		xu_error_set(&call->err, -EAGAIN, "the management server is another one now");
		api_call_done(call, -EAGAIN);
		return;
	}
	xrpc_tls_replace(server.tls, reload->tls);
	reload->tls = NULL;
	api_call_done(call, 0);
}

int xbdev_mgmt_server_reload_tls(void)
{
	struct reload_call reload = {.tls = NULL};
	struct xu_error err = {0};
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_call_run(thread, &reload.call, on_ask_files);
	if (rc == 0) {
		rc = make_tls(&reload.files, &reload.tls, &err);
		rc = rc == 0 ? xrpc_tls_check_time(reload.tls, &err) : rc;
		rc = rc == 0 ? 0 : api_fail_with(&err);
	}
	if (rc == 0) {
		rc = api_call_run(thread, &reload.call, on_reload);
	}
	api_leave(thread);
	xrpc_tls_free(reload.tls);
	free_files(&reload.files);
	return rc;
}

/* ---- stopping ---- */

static void on_server_stopped(void *arg)
{
	struct api_call *stopper = server.stopper;

	if (--server.nr_stopping != 0) {
		return;
	}
	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &server.timer);
	free_server();
	if (stopper != NULL) {
		api_call_done(stopper, 0);
	}
}

static void on_stop_timer(struct xr_timer *timer)
{
	struct api_call *stopper = server.stopper;

	server.stopper = NULL;
	xu_error_set(&stopper->err, -EBUSY,
		"a call of the management server does not end; it stops when that does");
	api_call_done(stopper, -EBUSY);
}

/* Ends the call when the server has stopped, or after `wait_ns` with -EBUSY. */
static void stop(struct api_call *call, uint64_t wait_ns)
{
	if (server.stopper != NULL) {
		xu_error_set(&call->err, -EBUSY, "the management server is being stopped already");
		api_call_done(call, -EBUSY);
		return;
	}
	server.stopper = call;
	server.timer.fn = on_stop_timer;
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &server.timer, wait_ns);
	if (server.state == SERVER_STOPPING) {
		return;
	}
	server.state = SERVER_STOPPING;
	server.nr_stopping = (server.tcp != NULL) + (server.local != NULL);
	if (server.tcp != NULL) {
		xrpc_server_stop(server.tcp, on_server_stopped, NULL);
	}
	if (server.local != NULL) {
		xrpc_server_stop(server.local, on_server_stopped, NULL);
	}
}

static void on_fini(struct api_call *call)
{
	if (server.state == SERVER_DOWN) {
		xu_error_set(&call->err, -ENOENT, "no management server runs");
		api_call_done(call, -ENOENT);
		return;
	}
	stop(call, API_FINI_WAIT_NS);
}

int xbdev_mgmt_server_fini(void)
{
	return run(on_fini);
}

void api_mgmt_note_health(const xbdev_health_event_t *event)
{
	if (server.notes != NULL) {
		xbdev_mgmt_notes_health(server.notes, event->device, event->text);
	}
}

void api_mgmt_stop(struct api_call *call)
{
	struct api_call *earlier = server.stopper;

	if (server.state == SERVER_DOWN) {
		api_call_done(call, 0);
		return;
	}
	if (earlier != NULL) {
		/* The end waits in its place. */
		server.stopper = NULL;
		xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &server.timer);
		xu_error_set(&earlier->err, -ESHUTDOWN,
			"the library ends, and its management server with it");
		api_call_done(earlier, -ESHUTDOWN);
	}
	stop(call, api_ending_wait_ns());
}

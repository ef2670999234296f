/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Management of libxbdev from outside: a JSON-RPC server, and notifications of what changes.
 *
 * The server has xsand's methods for devices (docs/rpc.md: bdev_…, notify_…, rpc_get_methods,
 * spdk_get_version) in the same framing. WHO MAY CALL IT MAY READ, CHANGE AND REMOVE EVERY DEVICE.
 * On a loopback address that is every user of this machine unless a token or certificates are asked
 * for; elsewhere one of them must be.
 */
#ifndef XBDEV_MGMT_API_H
#define XBDEV_MGMT_API_H

#include <stddef.h>
#include <stdint.h>

#include <xbdev/health.h>
#include <xbdev/lvol.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the server ---- */

/* Zeroes mean none or the defaults; `size` is sizeof(xbdev_mgmt_options_t). */
typedef struct xbdev_mgmt_options {
	size_t size;
	const char *listen_addr;   /* numeric IPv4 or IPv6; NULL: no TCP */
	int port;                  /* 0 … 65535; 0: any, see xbdev_mgmt_server_port() */
	const char *token;         /* 16 to 256 printable ASCII characters; clients send it with the
				    * method `authenticate` before anything else */
	const char *tls_cert;      /* PEM files: the server's certificate and chain, */
	const char *tls_key;       /* its key without a pass phrase, */
	const char *tls_client_ca; /* and who signs clients' certificates, which they must show;
				    * NULL: they show none */
	const char *socket_path;   /* a UNIX socket beside it, mode 0600, without token and TLS;
				    * NULL: none */
} xbdev_mgmt_options_t;

/*
 * Starts the server on TCP; a NULL address is 127.0.0.1. Who runs the program says who may call, by
 * the environment: XBDEV_MGMT_TOKEN, XBDEV_MGMT_TLS_CERT, XBDEV_MGMT_TLS_KEY and
 * XBDEV_MGMT_TLS_CLIENT_CA are the options of these names. Without them only a loopback address is
 * possible. As xbdev_mgmt_server_init_with(), which does not look at the environment.
 */
int xbdev_mgmt_server_init(const char *listen_addr, int port);

/*
 * Starts the server; the options are borrowed. It answers while the library runs, in embedded mode
 * while that is polled. Reads the TLS files, and so may block. -EPERM: anybody could reach it and
 * nobody would have to authenticate; -EALREADY: one runs; -EINVAL; -ENOSYS: TLS in a build without
 * it; -EADDRINUSE and what else listening gives.
 */
int xbdev_mgmt_server_init_with(const xbdev_mgmt_options_t *options);

/* The TCP port it listens on; -ENOENT: no server runs, or not on TCP. */
int xbdev_mgmt_server_port(void);

/*
 * Reads the TLS files again, by the names that the server was started with: who connects from now
 * on is shown the certificate that they have now, and shows one that the CA has signed which they
 * have now. Connections go on. When they are not good, or the certificate has expired, the one
 * before stays. Blocks. -EINVAL; -ENOENT: no server runs, or not with TLS.
 */
int xbdev_mgmt_server_reload_tls(void);

/*
 * Stops listening, waits until the calls under way have been answered, and ends the connections.
 * -ENOENT: no server runs; -EBUSY: a call does not end within 10 s; it may be called again.
 */
int xbdev_mgmt_server_fini(void);

/* ---- notifications ---- */

enum xbdev_notification_type {
	XBDEV_NOTIFICATION_DEVICE_ADDED = 1,
	XBDEV_NOTIFICATION_DEVICE_REMOVED = 2, /* it has gone; not told of the library's own end */
	XBDEV_NOTIFICATION_DEVICE_RESIZED = 3,
	XBDEV_NOTIFICATION_HEALTH = 4,
	XBDEV_NOTIFICATION_LVS_THRESHOLD = 5, /* a store of logical volumes is getting full */
};

typedef struct xbdev_notification {
	int type;            /* enum xbdev_notification_type */
	char device[256];    /* for LVS_THRESHOLD the one that the store is on */
	char uuid[37];       /* "" for HEALTH and LVS_THRESHOLD */
	uint64_t size_bytes; /* of the device; for these 0 */
	uint64_t time_ms;    /* since 1970-01-01 UTC */
	uint64_t nr_lost;    /* notifications lost just before this one, because 256 waited */
	const xbdev_health_event_t *health; /* for HEALTH; else NULL */
	const xbdev_lvs_threshold_t *lvs;   /* for LVS_THRESHOLD; else NULL */
} xbdev_notification_t;

/* Runs as an xbdev_health_event_cb does (health.h). */
typedef void (*xbdev_notification_cb)(const xbdev_notification_t *notification, void *cb_arg);

/* From now on `cb` is told of all notifications. As xbdev_register_health_callback(). */
int xbdev_mgmt_register_notification_callback(xbdev_notification_cb cb, void *cb_arg);
/* As xbdev_unregister_health_callback(). */
int xbdev_mgmt_unregister_notification_callback(xbdev_notification_cb cb, void *cb_arg);

#ifdef __cplusplus
}
#endif

#endif

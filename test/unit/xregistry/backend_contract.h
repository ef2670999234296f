/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every backend that several registries share must do, against a server that runs: what is
 * there after a restart, several registries on the same data, a server that dies under load, data
 * that others have damaged.
 */
#ifndef TEST_UNIT_XREGISTRY_BACKEND_CONTRACT_H
#define TEST_UNIT_XREGISTRY_BACKEND_CONTRACT_H

#include <stdbool.h>

struct xreg_backend_ops;

/* It runs, and answers, before contract_run(). */
struct contract_server {
	const char *name; /* as the backend's errors say it */
	const struct xreg_backend_ops *ops;
	const char *endpoints, *options; /* "?…" or "" */
	void (*kill)(void);              /* as a crash does */
	void (*revive)(void);            /* with its data */
	/* Behind the backend's back; keys are without a slash in front. */
	void (*put)(const char *key, const char *value);
	void (*del)(const char *key, bool is_prefix);
};

/* Runs all of them; the number of those that failed. */
int contract_run(const struct contract_server *server);

#endif

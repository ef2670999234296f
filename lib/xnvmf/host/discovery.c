/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a discovery log once: a reader (reader.c) that does not stay connected. The connection is
 * closed before the answer is given.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xnvmf/host/host.h"

struct discovery {
	xnvmf_host_discovered_fn cb;
	void *arg;
	struct xnvmf_host_log log; /* the reader's, until its end has returned */
};

static void on_log(void *arg, const struct xnvmf_host_log *log)
{
	((struct discovery *)arg)->log = *log;
}

static void on_end(void *arg, const struct xu_error *err)
{
	struct discovery *d = arg;

	d->cb(d->arg, err->code == 0 ? d->log.entries : NULL,
		err->code == 0 ? d->log.nr_entries : 0, d->log.genctr, err);
	free(d);
}

void xnvmf_host_discover(struct xbdev_ctx *ctx, const struct xnvmf_host_discover_opts *opts,
	xnvmf_host_discovered_fn cb, void *arg)
{
	static const struct xnvmf_host_reader_ops ops = {.log = on_log, .end = on_end};
	struct xnvmf_host_discover_opts once = *opts;
	struct discovery *d = calloc(1, sizeof(*d));
	struct xu_error err = {0};

	once.kato_ms = 0;
	if (d != NULL) {
		d->cb = cb;
		d->arg = arg;
	}
	if (d == NULL || xnvmf_host_reader_open(ctx, &once, &ops, d) == NULL) {
		free(d);
		xu_error_set_errno(&err, -ENOMEM, "reading a discovery log");
		cb(arg, NULL, 0, 0, &err);
	}
}

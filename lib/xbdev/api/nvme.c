/* SPDX-License-Identifier: BSD-3-Clause */
/* What an application may ask of an NVMe disk besides I/O. */
#include <errno.h>

#include "lib/xbdev/api/private.h"
#include "lib/xbdev/driver/nvme.h"

struct smart_call {
	struct api_call call;
	const char *name;
	xbdev_nvme_smart_t *smart;
};

static void on_read(void *arg, const xbdev_nvme_smart_t *smart, const struct xu_error *err)
{
	struct smart_call *call = arg;

	if (smart != NULL) {
		*call->smart = *smart;
	} else {
		call->call.err = *err;
	}
	api_call_done(&call->call, err->code);
}

static void on_smart(struct api_call *call)
{
	struct smart_call *smart = xu_container_of(call, struct smart_call, call);
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, smart->name);

	if (dev == NULL || !xbdev_device_is_nvme(dev)) {
		xu_error_set(&call->err, dev == NULL ? -ENODEV : -EOPNOTSUPP,
			dev == NULL ? "there is no device named '%s'"
				    : "device '%s' is no NVMe disk; only those have a SMART log",
			smart->name);
		api_call_done(call, call->err.code);
		return;
	}
	xbdev_nvme_read_smart(dev, on_read, smart);
}

int xbdev_nvme_smart_get(const char *name, xbdev_nvme_smart_t *ret_smart)
{
	struct smart_call smart = {.name = name, .smart = ret_smart};
	struct api_thread *thread;
	int rc;

	if (name == NULL || ret_smart == NULL) {
		return api_fail(-EINVAL, "xbdev_nvme_smart_get: an argument is NULL");
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &smart.call, on_smart);
		api_leave(thread);
	}
	return rc;
}

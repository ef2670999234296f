/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel events: the reactor polls the socket, and what is there is read and told to every watch. A
 * message is "ACTION@DEVPATH", then "KEY=VALUE" texts, each with its NUL. One that cannot be read
 * as that is passed over. The number of messages read at a time is bounded, so a storm of them does
 * not keep the reactor.
 *
 * The socket is polled and not received from by the ring, because a poll that is pending when the
 * context ends writes to no memory.
 */
#include "lib/xbdev/core/uevent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/context_private.h"

#define MESSAGE_BYTES 8192u /* the kernel's are 2 KiB at most */
#define MAX_AT_ONCE   64u

struct xbdev__uevents {
	struct xbdev_ctx *ctx;
	int fd;
	struct xr_op poll;
	struct xu_list watches;
	char message[MESSAGE_BYTES + 1];
};

static void tell(struct xbdev__uevents *u, const struct xbdev_uevent *event)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &u->watches) {
		struct xbdev_uevent_watch *watch =
			xu_list_entry(node, struct xbdev_uevent_watch, link);

		watch->fn(watch, event);
	}
}

/* The value when `text` is "KEY=VALUE" of this key. */
static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	return strncmp(text, key, len) == 0 && text[len] == '=' ? text + len + 1 : NULL;
}

static void take_text(struct xbdev_uevent *event, const char *text)
{
	const char *value;

	if ((value = value_of(text, "ACTION")) != NULL) {
		event->action = value;
	} else if ((value = value_of(text, "SUBSYSTEM")) != NULL) {
		event->subsystem = value;
	} else if ((value = value_of(text, "DEVNAME")) != NULL) {
		event->devname = value;
	} else if ((value = value_of(text, "DEVPATH")) != NULL) {
		event->devpath = value;
	} else if ((value = value_of(text, "DISKSEQ")) != NULL) {
		event->diskseq = strtoull(value, NULL, 10);
	} else if ((value = value_of(text, "RESIZE")) != NULL) {
		event->is_resize = strcmp(value, "1") == 0;
	}
}

/* message[len] is a NUL. */
static void take_message(struct xbdev__uevents *u, size_t len)
{
	struct xbdev_uevent event = {.action = "", .subsystem = "", .devname = "", .devpath = ""};
	size_t at = strlen(u->message) + 1;

	if (strchr(u->message, '@') == NULL) {
		return; /* udev's, or nobody's */
	}
	for (; at < len; at += strlen(u->message + at) + 1) {
		take_text(&event, u->message + at);
	}
	if (event.action[0] != '\0') {
		tell(u, &event);
	}
}

static void on_poll(struct xr_op *op, int32_t result)
{
	struct xbdev__uevents *u = xu_container_of(op, struct xbdev__uevents, poll);
	const struct xr_platform *platform = u->ctx->platform;

	(void)result;
	for (uint32_t i = 0; i < MAX_AT_ONCE; i++) {
		int len = platform->uevent_read(platform, u->fd, u->message, MESSAGE_BYTES);

		if (len == -ENOBUFS) {
			tell(u, &(struct xbdev_uevent){.action = "",
					.subsystem = "",
					.devname = "",
					.devpath = "",
					.are_lost = true});
		} else if (len < 0) {
			break;
		} else {
			u->message[len] = '\0';
			take_message(u, (size_t)len);
		}
	}
	xr_op_submit(xbdev_ctx_control(u->ctx), op);
}

static int start(struct xbdev_ctx *ctx, struct xu_error *err)
{
	const struct xr_platform *platform = ctx->platform;
	struct xbdev__uevents *u;

	if (platform->uevent_open == NULL) {
		return xu_error_set(err, -EOPNOTSUPP, "the platform tells nothing of devices");
	}
	u = calloc(1, sizeof(*u));
	if (u == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "listening to kernel events");
	}
	u->fd = platform->uevent_open(platform);
	if (u->fd < 0) {
		int rc = u->fd;

		free(u);
		return xu_error_set_errno(err, rc, "listening to kernel events");
	}
	u->ctx = ctx;
	xu_list_init(&u->watches);
	u->poll = (struct xr_op){
		.cb = on_poll,
		.opcode = XR_OP_POLL,
		.fd = u->fd,
		.poll_events = POLLIN,
	};
	xr_op_submit(xbdev_ctx_control(ctx), &u->poll);
	ctx->uevents = u;
	return 0;
}

int xbdev_uevent_watch_add(
	struct xbdev_ctx *ctx, struct xbdev_uevent_watch *watch, struct xu_error *err)
{
	int rc = ctx->uevents == NULL ? start(ctx, err) : 0;

	if (rc == 0) {
		xu_list_add_tail(&ctx->uevents->watches, &watch->link);
	}
	return rc;
}

void xbdev_uevent_watch_del(struct xbdev_uevent_watch *watch)
{
	if (watch->link.next != NULL) {
		xu_list_del(&watch->link);
		watch->link.next = NULL;
	}
}

void xbdev__uevents_free(struct xbdev__uevents *u)
{
	if (u != NULL) {
		u->ctx->platform->close(u->ctx->platform, u->fd);
		free(u);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals and the watchdog. SIGTERM, SIGINT and SIGHUP are blocked in every thread and read from a
 * descriptor that the control reactor polls, so their handlers are ordinary code. The watchdog
 * tells the service manager that the node is alive only after a message has been to every reactor
 * and back.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/xsand/change.h"
#include "daemon/xsand/node.h"
#include "daemon/xsand/notify.h"
#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"

/* ---- signals ---- */

static void log_list(struct node *node, enum xu_log_level level, const char *what, json_t *list)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		xu_log(node->log, level, "%s: %s", what, json_string_value(item));
	}
}

static void on_reloaded(void *arg, json_t *report, const struct xu_error *err)
{
	struct node *node = arg;

	if (report == NULL) {
		xu_err(node->log, "not reloaded, nothing was changed: %s", err->text);
	} else {
		xu_info(node->log, "reloaded %s: %zu steps done, %zu failed",
			node->opts.config_path, json_array_size(json_object_get(report, "done")),
			json_array_size(json_object_get(report, "failed")));
		log_list(node, XU_LOG_WARN, "note", json_object_get(report, "notes"));
		log_list(node, XU_LOG_WARN, "changes with a restart only",
			json_object_get(report, "restart"));
	}
	json_decref(report);
	notify_send(
		"READY=1\nSTATUS=%s", report != NULL ? "reloaded" : "not reloaded, see the log");
}

static void on_hangup(struct node *node)
{
	struct xu_error err = {0};

	notify_send("RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)(xu_clock_now_ns(xu_clock_system()) / XU_NS_PER_US));
	if (xu_logger_reopen(node->log, &err) != 0) {
		xu_err(node->log, "%s", err.text);
	}
	change_reload(node, false, on_reloaded, node);
}

static void on_signal(struct node *node, uint32_t number)
{
	if (number == SIGHUP) {
		if (node->is_ready && !node->is_stopping) {
			on_hangup(node);
		}
		return;
	}
	if (node->is_stopping) {
		xu_warn(node->log, "told to stop a second time: ending at once");
		_exit(EXIT_NOT_IN_TIME);
	}
	node_stop(node, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void poll_signals(struct node *node);

static void on_signals(struct xr_op *op, int32_t result)
{
	struct node *node = xu_container_of(op, struct node, signal_op);
	struct signalfd_siginfo info;

	while (result >= 0 && read(node->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		on_signal(node, info.ssi_signo);
	}
	if (node->signals_closing) {
		node->is_over = true;
	} else {
		poll_signals(node);
	}
}

static void poll_signals(struct node *node)
{
	node->signal_op = (struct xr_op){.cb = on_signals,
		.opcode = XR_OP_POLL,
		.fd = node->signal_fd,
		.poll_events = POLLIN};
	xr_op_submit(xbdev_ctx_control(node->ctx), &node->signal_op);
}

int node_signals_open(struct node *node, struct xu_error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	node->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (node->signal_fd < 0) {
		return xu_error_set_errno(err, -errno, "making a descriptor for signals");
	}
	return 0;
}

void node_signals_start(struct node *node)
{
	poll_signals(node);
}

void node_signals_close(struct node *node)
{
	node->signals_closing = true;
	xr_op_cancel(xbdev_ctx_control(node->ctx), &node->signal_op);
}

/* ---- the watchdog ---- */

static void visit(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	(void)hop;
	(void)reactor;
}

static void on_visited(struct xbdev_hop *hop)
{
	xu_container_of(hop, struct node, watchdog_hop)->is_watchdog_out = false;
	notify_send("WATCHDOG=1");
}

static void on_watchdog(struct xr_timer *timer)
{
	struct node *node = xu_container_of(timer, struct node, watchdog_timer);

	if (!node->is_watchdog_out) {
		node->is_watchdog_out = true;
		node->watchdog_hop.fn = visit;
		node->watchdog_hop.done = on_visited;
		xbdev_hop_start(&node->watchdog_hop, node->ctx);
	}
	xr_timer_start(xbdev_ctx_control(node->ctx), timer, node->watchdog_ns);
}

void node_watchdog_start(struct node *node)
{
	node->watchdog_ns = notify_watchdog_ns() / 3;
	if (node->watchdog_ns != 0) {
		node->watchdog_timer.fn = on_watchdog;
		xr_timer_start(
			xbdev_ctx_control(node->ctx), &node->watchdog_timer, node->watchdog_ns);
	}
}

void node_watchdog_stop(struct node *node)
{
	xr_timer_stop(xbdev_ctx_control(node->ctx), &node->watchdog_timer);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmicrohttpd does not look at a connection whose stream sleeps, so it would learn that the
 * client has gone only when there is something to say. A thread of ours does: it waits for the end
 * of the connections of all streams, and has the stream of one that has ended end too.
 *
 * An event names its call by a number that no other call ever has, and the call is looked for under
 * the lock under which calls go away; what comes too late finds none.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/rpc/http_private.h"
#include "lib/util/error.h"

#define NR_EVENTS   64
#define END         0u /* no call's number */
#define KEEP_IDLE_S 1
#define FAR_US      60000u /* more than an acknowledgement that waits for another segment */

static int fd_of(const struct xrpc_http_call *call)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info != NULL ? info->connect_fd : -1;
}

/* The kernel asks the client's machine every second, and gives it up when it is silent. */
static void watch_silence(int fd, uint32_t silence_ms)
{
	const int yes = 1, idle_s = KEEP_IDLE_S;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
}

bool xrpc_http_is_heard(const struct xrpc_http_call *call, uint32_t within_ms)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	int fd = fd_of(call), left = 0;

	/* What could not even be sent is left, too. Who is far away acknowledges more seldom. */
	return ioctl(fd, SIOCOUTQ, &left) != 0 || left == 0 ||
	       getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
	       info.tcpi_last_ack_recv <=
		       within_ms + (info.tcpi_rtt > FAR_US ? info.tcpi_rtt / 500 : 0);
}

void xrpc__http_watch(struct xrpc_http_call *call)
{
	int fd = fd_of(call);

	if (call->stream.silence_ms != 0) {
		watch_silence(fd, call->stream.silence_ms);
	}
	pthread_mutex_lock(&call->http->calls_mutex);
	call->watch_nr = ++call->http->last_watch_nr;
	pthread_mutex_unlock(&call->http->calls_mutex);
	/* Without memory for it the end is found when there is something to say. */
	epoll_ctl(call->http->watch_fd, EPOLL_CTL_ADD, fd,
		&(struct epoll_event){
			.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = call->watch_nr});
}

void xrpc__http_unwatch(struct xrpc_http_call *call)
{
	if (call->watch_nr != 0) {
		epoll_ctl(call->http->watch_fd, EPOLL_CTL_DEL, fd_of(call), NULL);
	}
}

static void end_stream(struct xrpc_http *http, uint64_t watch_nr)
{
	struct xrpc_http_call *call;

	pthread_mutex_lock(&http->calls_mutex);
	for (call = http->calls; call != NULL && call->watch_nr != watch_nr; call = call->next) {
	}
	if (call != NULL) {
		call->is_gone = true;
		xrpc__http_rouse(call);
	}
	pthread_mutex_unlock(&http->calls_mutex);
}

static void *watch_main(void *arg)
{
	struct xrpc_http *http = arg;
	struct epoll_event events[NR_EVENTS];
	bool must_end = false;

	while (!must_end) {
		int count = epoll_wait(http->watch_fd, events, NR_EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.u64 == END) {
				must_end = true;
			} else {
				end_stream(http, events[i].data.u64);
			}
		}
	}
	return NULL;
}

int xrpc__http_watch_init(struct xrpc_http *http, struct xu_error *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = END};
	int rc = 0;

	http->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	http->watch_end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (http->watch_fd < 0 || http->watch_end_fd < 0 ||
		epoll_ctl(http->watch_fd, EPOLL_CTL_ADD, http->watch_end_fd, &event) != 0) {
		rc = -errno;
	}
	if (rc == 0) {
		rc = -pthread_create(&http->watcher, NULL, watch_main, http);
		http->has_watcher = rc == 0;
	}
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "starting the HTTP server");
}

void xrpc__http_watch_fini(struct xrpc_http *http)
{
	if (http->has_watcher) {
		eventfd_write(http->watch_end_fd, 1);
		pthread_join(http->watcher, NULL);
	}
	if (http->watch_fd >= 0) {
		close(http->watch_fd);
	}
	if (http->watch_end_fd >= 0) {
		close(http->watch_end_fd);
	}
}

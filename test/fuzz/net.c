/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fuzzers' network. Operations wait in one list per network, in the order of submission; a run
 * of a ring takes those of its own that can end, and then calls them back. Nothing ever sleeps: the
 * fuzzer polls its reactors in turn.
 */
#include "test/fuzz/net.h"

#include <errno.h>

#include "lib/reactor/reactor.h"
#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/util/random.h"
#include "test/fuzz/fuzz.h"

#define MAX_SOCKS   256u
#define MAX_PENDING 512u
#define FIRST_FD    100
#define START_NS    (1000 * XU_NS_PER_S)
#define WALL_NS     1795000000000000000ull /* November 2026 */
#define SLOW_ROUNDS 4u

struct segment {
	struct segment *next;
	size_t len, done;
	uint8_t data[];
};

struct net_sock {
	struct net *net;
	int fd; /* 0: waits to be accepted */
	uint16_t port;
	bool is_listener;
	bool is_shut;     /* by the code above */
	bool is_closed;   /* the same */
	bool is_ended;    /* by the fuzzer */
	bool is_reset;    /* the same */
	bool is_released; /* the same */
	bool is_blocked;
	struct segment *first, **end;
	void (*output)(void *arg, const uint8_t *data, size_t len);
	void *arg;
	struct xu_list link; /* of the listener's queue, while it waits */
	struct xu_list queue;
};

struct ring {
	struct net *net;
	struct xr_reactor *reactor;
};

struct pending {
	struct xr_op *op;
	struct ring *ring;
	uint64_t ready_round; /* SEND: not before */
	uint64_t cancel_round;
	bool is_cancelled;
	uint32_t crc; /* SEND: of the data when it was submitted */
};

struct net {
	struct xr_platform platform;
	struct xu_clock clock;
	struct net_opts opts;
	struct xu_random random;
	uint64_t now_ns;
	uint64_t round;
	struct net_sock *socks[MAX_SOCKS]; /* by descriptor; never used twice */
	uint32_t nr_socks;
	uint32_t nr_open, nr_listeners;
	struct pending pending[MAX_PENDING];
	uint32_t nr_pending;
	uint16_t next_port;
};

static struct net *net_of(const struct xr_platform *platform)
{
	return xu_container_of(platform, struct net, platform);
}

static struct net_sock *sock_of(struct net *net, int fd)
{
	struct net_sock *sock = fd >= FIRST_FD && fd < FIRST_FD + (int)net->nr_socks
					? net->socks[fd - FIRST_FD]
					: NULL;

	FUZZ_CHECK(sock != NULL, "descriptor %d is not open", fd);
	return sock;
}

/* ---- clock and entropy ---- */

static uint64_t now_ns(const struct xu_clock *clock)
{
	return xu_container_of(clock, struct net, clock)->now_ns;
}

static uint64_t wall_ns(const struct xu_clock *clock)
{
	return WALL_NS + xu_container_of(clock, struct net, clock)->now_ns;
}

static void entropy(const struct xr_platform *platform, void *buf, size_t len_bytes)
{
	xu_random_bytes(&net_of(platform)->random, buf, len_bytes);
}

void net_tick(struct net *net, uint64_t ns)
{
	net->now_ns += ns;
	net->round++;
}

void net_join(struct net *net)
{
	net->opts.cut = NET_CUT_JOINED;
}

/* ---- sockets ---- */

static struct net_sock *sock_new(struct net *net)
{
	struct net_sock *sock = calloc(1, sizeof(*sock));

	FUZZ_CHECK(sock != NULL, "out of memory");
	sock->net = net;
	sock->end = &sock->first;
	xu_list_init(&sock->link);
	xu_list_init(&sock->queue);
	return sock;
}

static void drop_input(struct net_sock *sock)
{
	while (sock->first != NULL) {
		struct segment *segment = sock->first;

		sock->first = segment->next;
		free(segment);
	}
	sock->end = &sock->first;
}

static void free_if_done(struct net_sock *sock)
{
	if (sock->is_closed && sock->is_released) {
		drop_input(sock);
		free(sock);
	}
}

static int sock_open(struct net *net, struct net_sock *sock)
{
	FUZZ_CHECK(net->nr_socks < MAX_SOCKS, "more descriptors than this network has");
	net->socks[net->nr_socks] = sock;
	sock->fd = FIRST_FD + (int)net->nr_socks++;
	net->nr_open++;
	return sock->fd;
}

static int tcp_listen(
	const struct xr_platform *platform, const struct xr_listen_opts *opts, struct xu_error *err)
{
	struct net *net = net_of(platform);
	struct net_sock *sock = sock_new(net);

	(void)err;
	sock->is_listener = true;
	sock->is_released = true;
	sock->port = opts->port != 0 ? opts->port : net->next_port++;
	net->nr_listeners++;
	return sock_open(net, sock);
}

static int sock_name(const struct xr_platform *platform, int fd, bool is_peer,
	char address[XR_ADDRESS_SIZE], uint16_t *ret_port)
{
	struct net_sock *sock = sock_of(net_of(platform), fd);

	if (is_peer && (sock->is_listener || sock->is_reset || sock->is_shut)) {
		return -ENOTCONN;
	}
	strcpy(address, "127.0.0.1");
	*ret_port = is_peer ? (uint16_t)(40000 + fd) : sock->port;
	return 0;
}

static void sock_tune(const struct xr_platform *platform, int fd)
{
	sock_of(net_of(platform), fd);
}

/* Connections that nobody has accepted are lost with their listener. */
static void drop_queue(struct net_sock *listener)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&listener->queue)) != NULL) {
		struct net_sock *sock = xu_list_entry(node, struct net_sock, link);

		sock->is_closed = true;
		free_if_done(sock);
	}
}

static void sock_shutdown(const struct xr_platform *platform, int fd)
{
	struct net_sock *sock = sock_of(net_of(platform), fd);

	sock->is_shut = true;
	drop_queue(sock);
}

static void close_fd(const struct xr_platform *platform, int fd)
{
	struct net *net = net_of(platform);
	struct net_sock *sock = sock_of(net, fd);

	for (uint32_t i = 0; i < net->nr_pending; i++) {
		FUZZ_CHECK(net->pending[i].op->fd != fd,
			"descriptor %d is closed with an operation pending", fd);
	}
	net->socks[fd - FIRST_FD] = NULL;
	net->nr_open--;
	net->nr_listeners -= sock->is_listener;
	sock->is_closed = true;
	drop_queue(sock);
	free_if_done(sock);
}

/* ---- operations ---- */

static uint32_t crc_of(const struct xr_op *op, uint64_t *ret_len)
{
	uint32_t crc = XU_CRC32C_INIT;

	*ret_len = 0;
	for (uint32_t i = 0; i < op->nr_iov; i++) {
		crc = xu_crc32c_update(crc, op->iov[i].iov_base, op->iov[i].iov_len);
		*ret_len += op->iov[i].iov_len;
	}
	return crc;
}

static void ring_submit(void *ring_ptr, struct xr_op *op)
{
	struct ring *ring = ring_ptr;
	struct net *net = ring->net;
	struct pending *pending = &net->pending[net->nr_pending];
	uint64_t len;

	sock_of(net, op->fd);
	FUZZ_CHECK(net->nr_pending < MAX_PENDING, "more operations than this network has");
	FUZZ_CHECK(
		op->opcode == XR_OP_RECV || op->opcode == XR_OP_SEND || op->opcode == XR_OP_ACCEPT,
		"operation %u is not one of a server", op->opcode);
	*pending = (struct pending){.op = op, .ring = ring, .ready_round = net->round};
	net->nr_pending++;
	if (op->opcode == XR_OP_SEND) {
		pending->crc = crc_of(op, &len);
		FUZZ_CHECK(len != 0, "a send of nothing");
		if (net->opts.has_slow_sends) {
			pending->ready_round += xu_random_below(&net->random, SLOW_ROUNDS);
		}
	}
}

static void ring_cancel(void *ring_ptr, struct xr_op *op)
{
	struct ring *ring = ring_ptr;
	struct net *net = ring->net;

	for (uint32_t i = 0; i < net->nr_pending; i++) {
		struct pending *pending = &net->pending[i];

		if (pending->op == op && !pending->is_cancelled) {
			pending->is_cancelled = true;
			pending->cancel_round = net->round;
			if (net->opts.has_slow_cancels) {
				pending->cancel_round += xu_random_below(&net->random, SLOW_ROUNDS);
			}
		}
	}
}

/* How much of `len` bytes the next receive gets. */
static size_t cut(struct net *net, size_t len)
{
	switch (net->opts.cut) {
	case NET_CUT_BYTES:
		return 1;
	case NET_CUT_RANDOM:
		return 1 + xu_random_below(&net->random, len);
	default:
		return len;
	}
}

static size_t unread(const struct net_sock *sock)
{
	size_t len = 0;

	for (const struct segment *s = sock->first; s != NULL; s = s->next) {
		len += s->len - s->done;
	}
	return len;
}

/* Moves the next bytes of the stream to `to`. */
static void read_input(struct net_sock *sock, uint8_t *to, size_t len)
{
	while (len != 0) {
		struct segment *s = sock->first;
		size_t part = s->len - s->done < len ? s->len - s->done : len;

		memcpy(to, s->data + s->done, part);
		to += part;
		len -= part;
		s->done += part;
		if (s->done == s->len) {
			sock->first = s->next;
			if (sock->first == NULL) {
				sock->end = &sock->first;
			}
			free(s);
		}
	}
}

static int32_t receive(struct net_sock *sock, const struct xr_op *op)
{
	struct net *net = sock->net;
	bool is_joined = net->opts.cut == NET_CUT_JOINED || net->opts.cut == NET_CUT_RANDOM;
	size_t left, len = 0;

	left = is_joined ? unread(sock) : sock->first->len - sock->first->done;
	left = cut(net, left);
	for (uint32_t i = 0; i < op->nr_iov && left != 0; i++) {
		size_t part = op->iov[i].iov_len < left ? op->iov[i].iov_len : left;

		read_input(sock, op->iov[i].iov_base, part);
		len += part;
		left -= part;
	}
	FUZZ_CHECK(len != 0, "a receive without room");
	return (int32_t)len;
}

static bool finish_recv(struct net_sock *sock, const struct xr_op *op, int32_t *ret_result)
{
	if (sock->is_reset) {
		*ret_result = -ECONNRESET;
	} else if (sock->first != NULL) {
		*ret_result = receive(sock, op);
	} else if (sock->is_ended || sock->is_shut) {
		*ret_result = 0;
	} else {
		return false;
	}
	return true;
}

static void deliver(struct net_sock *sock, const struct xr_op *op)
{
	for (uint32_t i = 0; i < op->nr_iov && !sock->is_ended; i++) {
		sock->output(sock->arg, op->iov[i].iov_base, op->iov[i].iov_len);
	}
}

static bool finish_send(struct net_sock *sock, const struct pending *pending, int32_t *ret_result)
{
	struct net *net = sock->net;
	uint64_t len;

	if (sock->is_reset || sock->is_shut) {
		*ret_result = sock->is_reset ? -ECONNRESET : -EPIPE;
		return true;
	}
	if ((sock->is_blocked && !sock->is_ended) || net->round < pending->ready_round) {
		return false;
	}
	FUZZ_CHECK(crc_of(pending->op, &len) == pending->crc,
		"a buffer was changed while it was being sent");
	deliver(sock, pending->op);
	*ret_result = (int32_t)len;
	return true;
}

static bool finish_accept(struct net_sock *listener, int32_t *ret_result)
{
	struct xu_list *node = xu_list_pop(&listener->queue);

	if (node != NULL) {
		*ret_result = sock_open(listener->net, xu_list_entry(node, struct net_sock, link));
		return true;
	}
	*ret_result = -EINVAL;
	return listener->is_shut;
}

static bool finish_by_itself(
	struct net_sock *sock, const struct pending *pending, int32_t *ret_result)
{
	switch (pending->op->opcode) {
	case XR_OP_RECV:
		return finish_recv(sock, pending->op, ret_result);
	case XR_OP_SEND:
		return finish_send(sock, pending, ret_result);
	default:
		return finish_accept(sock, ret_result);
	}
}

static bool finish(struct net *net, const struct pending *pending, int32_t *ret_result)
{
	struct net_sock *sock = sock_of(net, pending->op->fd);

	if (pending->is_cancelled) {
		if (net->round < pending->cancel_round) {
			return false;
		}
		/* It ends now, be it cancelled or by itself. */
		if (xu_random_below(&net->random, 2) == 0 ||
			!finish_by_itself(sock, pending, ret_result)) {
			*ret_result = -ECANCELED;
		}
		return true;
	}
	return finish_by_itself(sock, pending, ret_result);
}

struct done {
	struct xr_op *op;
	int32_t result;
};

static uint32_t ring_run(void *ring_ptr, uint64_t timeout_ns)
{
	struct ring *ring = ring_ptr;
	struct net *net = ring->net;
	struct done done[MAX_PENDING];
	uint32_t nr_done = 0, nr_left = 0;

	(void)timeout_ns;
	for (uint32_t i = 0; i < net->nr_pending; i++) {
		struct pending *pending = &net->pending[i];

		if (pending->ring == ring && finish(net, pending, &done[nr_done].result)) {
			done[nr_done++].op = pending->op;
		} else {
			net->pending[nr_left++] = *pending;
		}
	}
	net->nr_pending = nr_left;
	for (uint32_t i = 0; i < nr_done; i++) {
		done[i].op->is_pending = 0;
		done[i].op->cb(done[i].op, done[i].result);
	}
	return nr_done;
}

static bool ring_has_events(void *ring)
{
	(void)ring;
	return true;
}

static void ring_wake(void *ring)
{
	(void)ring;
}

static void ring_free(void *ring_ptr)
{
	struct ring *ring = ring_ptr;

	for (uint32_t i = 0; i < ring->net->nr_pending; i++) {
		FUZZ_CHECK(ring->net->pending[i].ring != ring,
			"a reactor is freed with an operation pending");
	}
	free(ring);
}

static const struct xr_ring_ops ring_ops = {
	.submit = ring_submit,
	.cancel = ring_cancel,
	.run = ring_run,
	.has_events = ring_has_events,
	.wake = ring_wake,
	.free = ring_free,
};

static int ring_new(const struct xr_platform *platform, struct xr_reactor *reactor,
	uint32_t entries, const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err)
{
	struct ring *ring = calloc(1, sizeof(*ring));

	(void)entries;
	if (ring == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making a ring");
	}
	ring->net = net_of(platform);
	ring->reactor = reactor;
	*ret_ops = &ring_ops;
	*ret_ring = ring;
	return 0;
}

/* ---- work ---- */

static void on_work_done(struct xr_msg *msg)
{
	struct xr_work *work = xu_container_of(msg, struct xr_work, msg);

	work->done(work);
}

static void work_submit(const struct xr_platform *platform, struct xr_work *work)
{
	(void)platform;
	work->msg.fn = on_work_done;
	work->work(work);
	xr_msg_send(work->reactor, &work->msg);
}

/* ---- the other end ---- */

struct net_sock *net_connect(struct net *net, uint16_t port,
	void (*output)(void *arg, const uint8_t *data, size_t len), void *arg)
{
	for (uint32_t i = 0; i < net->nr_socks; i++) {
		struct net_sock *listener = net->socks[i], *sock;

		if (listener == NULL || !listener->is_listener || listener->is_shut ||
			listener->port != port) {
			continue;
		}
		sock = sock_new(net);
		sock->port = port;
		sock->output = output;
		sock->arg = arg;
		xu_list_add_tail(&listener->queue, &sock->link);
		return sock;
	}
	return NULL;
}

void net_send(struct net_sock *sock, const void *data, size_t len)
{
	struct segment *segment;

	if (len == 0 || sock->is_ended || sock->is_closed) {
		return;
	}
	segment = malloc(sizeof(*segment) + len);
	FUZZ_CHECK(segment != NULL, "out of memory");
	segment->next = NULL;
	segment->len = len;
	segment->done = 0;
	memcpy(segment->data, data, len);
	*sock->end = segment;
	sock->end = &segment->next;
}

void net_end(struct net_sock *sock, bool is_reset)
{
	sock->is_ended = true;
	sock->is_reset |= is_reset;
	if (sock->is_reset) {
		drop_input(sock);
	}
}

void net_block(struct net_sock *sock, bool is_blocked)
{
	sock->is_blocked = is_blocked;
}

bool net_is_alive(const struct net_sock *sock)
{
	return !sock->is_closed && !sock->is_shut;
}

bool net_is_drained(const struct net_sock *sock)
{
	return sock->first == NULL;
}

void net_release(struct net_sock *sock)
{
	sock->is_ended = true;
	sock->is_released = true;
	free_if_done(sock);
}

uint32_t net_nr_open(const struct net *net)
{
	return net->nr_open;
}

uint32_t net_nr_listeners(const struct net *net)
{
	return net->nr_listeners;
}

/* ---- life ---- */

const struct xr_platform *net_platform(const struct net *net)
{
	return &net->platform;
}

struct net *net_new(const struct net_opts *opts)
{
	struct net *net = calloc(1, sizeof(*net));

	FUZZ_CHECK(net != NULL, "out of memory");
	net->opts = *opts;
	net->now_ns = START_NS;
	net->next_port = 50000;
	xu_random_seed(&net->random, opts->seed);
	net->clock = (struct xu_clock){.now_ns = now_ns, .wall_ns = wall_ns};
	/* No files and no connections of its own: who asks for them crashes. */
	net->platform = (struct xr_platform){
		.name = "fuzz",
		.clock = &net->clock,
		.is_simulated = true,
		.entropy = entropy,
		.ring_new = ring_new,
		.tcp_listen = tcp_listen,
		.sock_name = sock_name,
		.sock_tune = sock_tune,
		.sock_shutdown = sock_shutdown,
		.close = close_fd,
		.work_submit = work_submit,
	};
	return net;
}

void net_free(struct net *net)
{
	FUZZ_CHECK(net->nr_pending == 0, "%u operations are left", net->nr_pending);
	FUZZ_CHECK(net->nr_open == 0, "%u descriptors are left", net->nr_open);
	free(net);
}

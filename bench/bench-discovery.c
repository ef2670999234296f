/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-discovery: the registry as a central discovery controller. "read": one host reads a log of
 * many entries in pieces of 4 KiB, one after the other. "tell": many hosts are connected and wait
 * for an event; a target changes, durably, and each host's time from the asking for the change to
 * its event is taken. With --filter it is asked of each host what it may see, as with zones.
 * "zone": as "tell", but what changes is the filter, so each host is asked about every target. All
 * that is over loopback, with the hosts in a process of their own. Prints one line of JSON with
 * milliseconds, and what memory of the controller's the hosts take.
 *
 * "views" has no connections: for each host it is asked, one after the other on one thread, what
 * the target asks the registry's part when a connected host is to be told and when it reads. The
 * store, its changes and, with --filter, the zones (one for each host, of --zone targets) are real;
 * what is left out is the wait for more changes, and all that has to do with sockets and commands.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/memory.h"
#include "lib/xbdev/core/device.h"
#include "lib/xnvmf/wire/tcp.h"
#include "lib/xregistry/discovery_private.h"
#include "lib/xregistry/zone.h"

#define NQN          "nqn.2026-11.io.xsan:registry"
#define NR_HOSTS_MAX 10000u
#define PIECE_BYTES  4096u
#define NR_PENDING   512u /* registrations at a time */

static struct xbdev_ctx *ctx;
static struct xnvmf_target *target;
static struct xreg_store *store;
static struct xreg_discovery *discovery;
static _Atomic bool must_end, is_ready, is_stopped;
static bool has_filter, is_zone;
static _Atomic bool is_hidden;   /* one target, from all hosts */
static struct xreg_zones *zones; /* of "views" */
static uint16_t port;
static int other_fd; /* of the hosts: the controller's process; of that: the hosts' */

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "bench-discovery: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

/* ---- the node ---- */

/* As quick as a filter can be: what is measured is the rest. */
static bool may_see(void *arg, const char *hostnqn, const struct xreg_target *of)
{
	if (zones != NULL) {
		return xreg_zones_may_see(zones, hostnqn, of);
	}
	return !atomic_load_explicit(&is_hidden, memory_order_relaxed) ||
	       strcmp(of->spec.nqn, "nqn.2026-11.io.xsan:volume-00000000") != 0;
}

static enum xreg_sees each_seen(
	void *arg, const char *hostnqn, const struct xreg_view *view, xreg_each_fn fn, void *fn_arg)
{
	return zones != NULL ? xreg_zones_each_seen(zones, hostnqn, view, fn, fn_arg)
			     : XREG_SEES_SOME;
}

static void on_filter(struct xr_msg *msg)
{
	xreg_discovery_filter_changed(discovery);
}

static void make_node(void)
{
	const struct xreg_discovery_opts opts = {.store = store,
		.reactor = xbdev_ctx_control(ctx),
		.may_see = has_filter ? may_see : NULL,
		.each_seen = has_filter ? each_seen : NULL};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	struct xnvmf_target_opts target_opts;
	struct nvme_discovery_entry entry;
	struct xu_error err = {0};

	xnvmf_target_opts_default(&target_opts);
	target_opts.max_connections = NR_HOSTS_MAX + 16;
	if (xnvmf_target_new(ctx, &target_opts, &target, &err) != 0 ||
		xreg_discovery_new(&opts, &discovery, &err) != 0 ||
		xreg_discovery_attach(discovery, target, NQN, &err) != 0 ||
		xnvmf_discovery_listen(target, &listener, &err) != 0) {
		fprintf(stderr, "bench-discovery: %s\n", err.text);
		exit(1);
	}
	xnvmf_discovery_own_entries(target, "127.0.0.1", &entry, 1);
	port = (uint16_t)atoi(entry.trsvcid);
	atomic_store(&is_ready, true);
}

static void on_stopped(void *arg)
{
	atomic_store(&is_stopped, true);
}

static void stop_node(void)
{
	xnvmf_target_stop(target, on_stopped, NULL);
	while (!atomic_load(&is_stopped)) {
		xr_reactor_poll(xbdev_ctx_control(ctx), 10 * XU_NS_PER_MS);
	}
	xnvmf_target_free(target);
	xreg_discovery_free(discovery);
	xr_reactor_poll(xbdev_ctx_control(ctx), 0);
	xbdev_ctx_free(ctx);
}

/* The reactor is made in its thread: the kernel does some of its work for who made it. */
static void *node_main(void *arg)
{
	const struct xbdev_ctx_opts opts = {.nr_reactors = 1};
	struct xu_error err = {0};

	if (xbdev_ctx_new(&opts, &ctx, &err) != 0) {
		fprintf(stderr, "bench-discovery: %s\n", err.text);
		exit(1);
	}
	make_node();
	while (!atomic_load(&must_end)) {
		xr_reactor_poll(xbdev_ctx_control(ctx), 10 * XU_NS_PER_MS);
	}
	stop_node();
	return NULL;
}

/* ---- targets ---- */

struct filler {
	struct xreg_change change;
	struct xreg_spec spec;
	char nqn[64], node[32], address[32];
	_Atomic bool is_done;
};

static void on_filled(struct xreg_change *change)
{
	struct filler *f = change->arg;

	if (change->rc != 0) {
		fprintf(stderr, "bench-discovery: %s\n", change->err.text);
		exit(1);
	}
	xreg_target_unref(change->result);
	atomic_store(&f->is_done, true);
}

static void fill_one(struct filler *f, uint32_t number)
{
	snprintf(f->nqn, sizeof(f->nqn), "nqn.2026-11.io.xsan:volume-%08u", number);
	snprintf(f->node, sizeof(f->node), "node-%u", number % 100);
	snprintf(f->address, sizeof(f->address), "192.0.2.%u", number % 100 + 1);
	f->spec = (struct xreg_spec){.node_id = f->node,
		.nqn = f->nqn,
		.address = f->address,
		.interface = "",
		.device_path = "",
		.port = 4420,
		.weight = 1};
	f->change = (struct xreg_change){.op = XREG_REGISTER,
		.spec = &f->spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""},
		.done = on_filled,
		.arg = f};
	atomic_store(&f->is_done, false);
	xreg_store_submit(store, &f->change);
}

static void wait_filled(struct filler *f)
{
	while (!atomic_load(&f->is_done)) {
		usleep(20);
	}
}

static void fill(uint32_t first, uint32_t count)
{
	struct filler *fillers = calloc(NR_PENDING, sizeof(*fillers));

	for (uint32_t i = 0; i < count; i++) {
		if (i >= NR_PENDING) {
			wait_filled(&fillers[i % NR_PENDING]);
		}
		fill_one(&fillers[i % NR_PENDING], first + i);
	}
	for (uint32_t i = 0; i < NR_PENDING && i < count; i++) {
		wait_filled(&fillers[i]);
	}
	free(fillers);
}

/* ---- hosts: blocking, one command at a time ---- */

static void send_all(int fd, const void *buf, size_t len)
{
	if (send(fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len) {
		give_up("sending");
	}
}

static void recv_all(int fd, void *buf, size_t len)
{
	if (recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len) {
		give_up("receiving");
	}
}

static void send_cmd(int fd, struct nvme_cmd cmd, const void *data, uint32_t out, uint32_t in)
{
	uint8_t buf[sizeof(struct nvme_tcp_cmd) + sizeof(struct nvme_connect_data)];
	struct nvme_tcp_cmd pdu = {.hdr = {NVME_TCP_CMD, 0, sizeof(pdu), out != 0 ? sizeof(pdu) : 0,
					   (uint32_t)sizeof(pdu) + out},
		.sqe = cmd};

	pdu.sqe.flags = NVME_PSDT_SGL;
	pdu.sqe.sgl.type = out != 0 ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT_DATA;
	pdu.sqe.sgl.len = out + in;
	memcpy(buf, &pdu, sizeof(pdu));
	memcpy(buf + sizeof(pdu), data, out);
	send_all(fd, buf, sizeof(pdu) + out);
}

static void finish(int fd, void *in, uint32_t in_len)
{
	struct nvme_tcp_data data;
	struct nvme_tcp_rsp rsp;

	if (in_len != 0) {
		recv_all(fd, &data, sizeof(data));
		if (data.hdr.type != NVME_TCP_C2H_DATA || data.datal != in_len) {
			give_up("reading data");
		}
		recv_all(fd, in, in_len);
		if (data.hdr.flags & NVME_TCP_F_SUCCESS) {
			return;
		}
	}
	recv_all(fd, &rsp, sizeof(rsp));
	if (rsp.hdr.type != NVME_TCP_RSP || rsp.cqe.status != 0) {
		give_up("a command");
	}
}

static void read_log(int fd, uint64_t offset, void *buf, uint32_t len)
{
	uint32_t numd = len / 4 - 1;
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_GET_LOG_PAGE,
		.cdw10 = NVME_LOG_DISCOVERY | (numd & 0xffff) << 16,
		.cdw11 = numd >> 16,
		.cdw12 = (uint32_t)offset,
		.cdw13 = (uint32_t)(offset >> 32)};

	send_cmd(fd, cmd, NULL, 0, len);
	finish(fd, buf, len);
}

static void ask_event(int fd)
{
	const struct nvme_cmd aer = {.opc = NVME_ADMIN_ASYNC_EVENT, .cid = 7};

	send_cmd(fd, aer, NULL, 0, 0);
}

static void join(int fd, uint32_t number)
{
	struct nvme_tcp_icreq req = {.hdr = {NVME_TCP_ICREQ, 0, sizeof(req), 0, sizeof(req)}};
	struct nvme_connect_data data = {
		.hostid = {1, (uint8_t)number, (uint8_t)(number >> 8)}, .cntlid = 0xffff};
	union {
		struct nvme_connect_cmd connect;
		struct nvme_cmd cmd;
	} u = {.connect = {.opc = NVME_FABRICS,
		       .fctype = NVME_FCTYPE_CONNECT,
		       .sqsize = 31,
		       .cattr = NVME_CATTR_DISABLE_SQFLOW,
		       .kato = 1800000}};
	const struct nvme_cmd enable = {.opc = NVME_FABRICS,
		.nsid = NVME_FCTYPE_PROPERTY_SET,
		.cdw11 = NVME_PROP_CC,
		.cdw12 = NVME_CC_ENTRY_SIZES | NVME_CC_EN};
	struct nvme_tcp_icresp resp;

	send_all(fd, &req, sizeof(req));
	recv_all(fd, &resp, sizeof(resp));
	strcpy(data.subnqn, NQN);
	snprintf(data.hostnqn, sizeof(data.hostnqn), "nqn.2026-11.io.xsan:host-%u", number);
	send_cmd(fd, u.cmd, &data, sizeof(data), 0);
	finish(fd, NULL, 0);
	send_cmd(fd, enable, NULL, 0, 0);
	finish(fd, NULL, 0);
}

static int open_host(uint32_t number)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		give_up("connecting");
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	join(fd, number);
	return fd;
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double at(double *values, uint32_t count, double share)
{
	qsort(values, count, sizeof(*values), compare);
	return values[(uint32_t)((count - 1) * share)];
}

/* ---- between the two processes ---- */

/* What the hosts ask of the controller's process, and what that answers. */
struct wish {
	enum { WISH_CHANGE, WISH_FILTER, WISH_MEMORY } what;
	uint32_t number;
};

/* Does one; false: the hosts have gone. */
static bool serve_wish(void)
{
	static struct xr_msg filter_msg = {.fn = on_filter}; /* hosts are told before the next */
	struct filler filler = {0};
	double answer = 0;
	struct wish wish;

	if (recv(other_fd, &wish, sizeof(wish), MSG_WAITALL) != sizeof(wish)) {
		return false;
	}
	switch (wish.what) {
	case WISH_CHANGE:
		fill_one(&filler, wish.number);
		wait_filled(&filler);
		break;
	case WISH_FILTER:
		atomic_store(&is_hidden, wish.number % 2 == 0);
		xr_msg_send(xbdev_ctx_control(ctx), &filter_msg);
		break;
	case WISH_MEMORY:
		answer = (double)xu_memory_resident() / (1 << 20);
		break;
	}
	send_all(other_fd, &answer, sizeof(answer));
	return true;
}

static void ask_wish(struct wish wish)
{
	send_all(other_fd, &wish, sizeof(wish));
}

static double wish_answer(void)
{
	double answer;

	recv_all(other_fd, &answer, sizeof(answer));
	return answer;
}

static double resident_mib(void)
{
	ask_wish((struct wish){.what = WISH_MEMORY});
	return wish_answer();
}

static void measure_read(uint32_t nr_entries, uint32_t nr_rounds)
{
	struct nvme_discovery_header header;
	double *taken = calloc(nr_rounds, sizeof(*taken)), start_mib;
	uint8_t piece[PIECE_BYTES];
	int fd = open_host(1);

	read_log(fd, 0, &header, sizeof(header));
	start_mib = resident_mib();
	for (uint32_t i = 0; i < nr_rounds; i++) {
		uint64_t start = now_ns(), end;

		read_log(fd, 0, &header, sizeof(header));
		end = sizeof(header) + header.numrec * 1024;
		for (uint64_t offset = sizeof(header); offset < end; offset += PIECE_BYTES) {
			read_log(fd, offset, piece, PIECE_BYTES);
		}
		taken[i] = (double)(now_ns() - start) / 1e6;
	}
	if (header.numrec != nr_entries + 1) {
		give_up("counting the entries");
	}
	printf("{\"entries\": %u, \"read_ms_p50\": %.2f, \"read_ms_max\": %.2f, "
	       "\"reading_mib\": %.2f}\n",
		nr_entries, at(taken, nr_rounds, 0.5), at(taken, nr_rounds, 1),
		resident_mib() - start_mib);
	close(fd);
	free(taken);
}

/* One change, and each host's time until its event. */
static void tell_once(int poller, uint32_t nr_hosts, uint32_t number, double *taken)
{
	struct epoll_event events[256];
	uint64_t start = now_ns();
	uint32_t nr_told = 0;

	ask_wish((struct wish){is_zone ? WISH_FILTER : WISH_CHANGE, number});
	while (nr_told < nr_hosts) {
		int count = epoll_wait(poller, events, 256, 30000);
		uint64_t now = now_ns();

		if (count <= 0) {
			give_up("waiting for events");
		}
		for (int i = 0; i < count; i++) {
			struct nvme_tcp_rsp rsp;

			recv_all(events[i].data.fd, &rsp, sizeof(rsp));
			if (rsp.cqe.dw0 != NVME_AEN_DISCOVERY) {
				give_up("an event");
			}
			taken[nr_told++] = (double)(now - start) / 1e6;
		}
	}
	wish_answer();
}

static void measure_tell(uint32_t nr_entries, uint32_t nr_hosts, uint32_t nr_rounds)
{
	double *taken = calloc((size_t)nr_hosts * nr_rounds, sizeof(*taken)), start_mib;
	int *fds = calloc(nr_hosts, sizeof(*fds)), poller = epoll_create1(0);
	struct nvme_discovery_header header;

	start_mib = resident_mib();
	for (uint32_t i = 0; i < nr_hosts; i++) {
		struct epoll_event event = {.events = EPOLLIN};

		fds[i] = open_host(i);
		event.data.fd = fds[i];
		epoll_ctl(poller, EPOLL_CTL_ADD, fds[i], &event);
	}
	for (uint32_t round = 0; round < nr_rounds; round++) {
		for (uint32_t i = 0; i < nr_hosts; i++) {
			read_log(fds[i], 0, &header, sizeof(header));
			ask_event(fds[i]);
		}
		tell_once(poller, nr_hosts, nr_entries + round, taken + round * nr_hosts);
	}
	printf("{\"entries\": %u, \"hosts\": %u, \"told_ms_p50\": %.1f, \"told_ms_p99\": %.1f, "
	       "\"told_ms_max\": %.1f, \"kib_per_host\": %.1f}\n",
		nr_entries, nr_hosts, at(taken, nr_hosts * nr_rounds, 0.5),
		at(taken, nr_hosts * nr_rounds, 0.99), at(taken, nr_hosts * nr_rounds, 1),
		(resident_mib() - start_mib) * 1024 / nr_hosts);
	for (uint32_t i = 0; i < nr_hosts; i++) {
		close(fds[i]);
	}
	close(poller);
	free(fds);
	free(taken);
}

/* The process of the hosts. */
static void run_hosts(const char *what, uint32_t nr_entries, uint32_t nr_hosts, uint32_t nr_rounds)
{
	recv_all(other_fd, &port, sizeof(port));
	if (strcmp(what, "read") == 0) {
		measure_read(nr_entries, nr_rounds);
	} else {
		measure_tell(nr_entries, nr_hosts, nr_rounds);
	}
	fflush(stdout);
	_exit(0);
}

/* The controller's, from here on two threads and the store's writer. */
static int run_controller(uint32_t nr_entries, pid_t hosts)
{
	pthread_t thread;
	int status = 1;

	fill(0, nr_entries);
	pthread_create(&thread, NULL, node_main, NULL);
	while (!atomic_load(&is_ready)) {
		usleep(1000);
	}
	send_all(other_fd, &port, sizeof(port));
	while (serve_wish()) {
	}
	waitpid(hosts, &status, 0);
	atomic_store(&must_end, true);
	pthread_join(thread, NULL);
	return status;
}

/* ---- views ---- */

static uint64_t allocated(void)
{
	malloc_trim(0);
	return mallinfo2().uordblks;
}

/* A zone for each host: `nr_seen` targets of those that there are, and those that are to come. */
static void make_zones(uint32_t nr_entries, uint32_t nr_hosts, uint32_t nr_rounds, uint32_t nr_seen)
{
	char name[32], text[128];
	struct xu_error err = {0};
	int rc = xreg_zones_open(store, "/nowhere", NULL, NULL, &zones, &err);

	for (uint32_t first = 0; rc == 0 && first < nr_hosts; first += XREG_ZONES_MAX) {
		json_t *list = json_array(), *group = json_pack("{s:o}", "zones", list);

		for (uint32_t i = first; i < nr_hosts && i < first + XREG_ZONES_MAX; i++) {
			json_t *targets = json_array();

			for (uint32_t k = 0; k < nr_seen + nr_rounds; k++) {
				uint32_t number = k < nr_seen ? (i * nr_seen + k) % nr_entries
							      : nr_entries + k - nr_seen;

				snprintf(text, sizeof(text), "nqn.2026-11.io.xsan:volume-%08u",
					number);
				json_array_append_new(targets, json_string(text));
			}
			snprintf(text, sizeof(text), "nqn.2026-11.io.xsan:host-%u", i);
			snprintf(name, sizeof(name), "z%u", i);
			json_array_append_new(list, json_pack("{s:s, s:[s], s:o}", "name", name,
							    "hosts", text, "targets", targets));
		}
		snprintf(name, sizeof(name), "g%u", first);
		rc = xreg_zones_put_group(zones, name, group, 0, &err);
		rc = rc != 0 ? rc : xreg_zones_activate(zones, name, true, 0, &err);
		json_decref(group);
	}
	if (rc != 0) {
		fprintf(stderr, "bench-discovery: %s\n", err.text);
		exit(1);
	}
}

static struct xnvmf_discovery_asker asker_of(uint32_t number, char hostnqn[64])
{
	static const uint8_t hostid[16] = {1};

	snprintf(hostnqn, 64, "nqn.2026-11.io.xsan:host-%u", number);
	return (struct xnvmf_discovery_asker){.hostnqn = hostnqn,
		.hostid = hostid,
		.address = "127.0.0.1",
		.own_address = "127.0.0.1",
		.own_port = port};
}

/* Each host begins to read. Returns the number of entries that they see together. */
static uint64_t read_all(uint32_t nr_hosts, uint64_t *genctrs)
{
	const struct xnvmf_discovery_log_ops *log = &discovery->ops.log;
	uint64_t nr_seen = 0;
	char hostnqn[64];

	for (uint32_t i = 0; i < nr_hosts; i++) {
		const struct xnvmf_discovery_asker asker = asker_of(i, hostnqn);
		struct xnvmf_discovery_info info;
		void *view = log->pin(discovery, &asker);

		log->describe(view, &info);
		log->unpin(discovery, view);
		genctrs[i] = info.genctr;
		nr_seen += info.nr_entries - 1; /* without the controller's own */
	}
	return nr_seen;
}

static void tell_views(uint32_t nr_hosts, const uint64_t *genctrs, uint32_t number, double *taken)
{
	const struct xnvmf_discovery_log_ops *log = &discovery->ops.log;
	struct filler filler = {0};
	uint64_t start = now_ns();
	char hostnqn[64];

	fill_one(&filler, number);
	wait_filled(&filler);
	for (uint32_t i = 0; i < nr_hosts; i++) {
		const struct xnvmf_discovery_asker asker = asker_of(i, hostnqn);

		if (log->genctr(discovery, &asker) == genctrs[i]) {
			fprintf(stderr, "bench-discovery: host %u is not told\n", i);
			exit(1);
		}
		taken[i] = (double)(now_ns() - start) / 1e6;
	}
}

static void measure_views(
	uint32_t nr_entries, uint32_t nr_hosts, uint32_t nr_rounds, uint32_t nr_seen)
{
	double *taken = calloc((size_t)nr_hosts * nr_rounds, sizeof(*taken));
	double *reading = calloc(nr_rounds, sizeof(*reading));
	uint64_t *genctrs = calloc(nr_hosts, sizeof(*genctrs)), before, after, start, seen;
	double first_ms, filtered_ms;
	const struct xbdev_ctx_opts opts = {.nr_reactors = 1};
	struct xu_error err = {0};

	if (xbdev_ctx_new(&opts, &ctx, &err) != 0) {
		fprintf(stderr, "bench-discovery: %s\n", err.text);
		exit(1);
	}
	fill(0, nr_entries);
	if (has_filter) {
		make_zones(nr_entries, nr_hosts, nr_rounds, nr_seen);
	}
	make_node();
	before = allocated();
	start = now_ns();
	seen = read_all(nr_hosts, genctrs);
	first_ms = (double)(now_ns() - start) / 1e6;
	after = allocated();
	start = now_ns();
	xreg_discovery_filter_changed(discovery);
	read_all(nr_hosts, genctrs);
	filtered_ms = (double)(now_ns() - start) / 1e6;
	for (uint32_t round = 0; round < nr_rounds; round++) {
		tell_views(nr_hosts, genctrs, nr_entries + round, taken + round * nr_hosts);
		start = now_ns();
		read_all(nr_hosts, genctrs);
		reading[round] = (double)(now_ns() - start) / 1e6;
	}
	printf("{\"entries\": %u, \"hosts\": %u, \"seen_by_a_host\": %.0f, \"told_ms_p50\": %.1f, "
	       "\"told_ms_p99\": %.1f, \"told_ms_max\": %.1f, \"read_again_ms_p50\": %.1f, "
	       "\"first_ms\": %.1f, \"filtered_ms\": %.1f, \"bytes_per_host\": %.0f}\n",
		nr_entries, nr_hosts, (double)seen / nr_hosts, at(taken, nr_hosts * nr_rounds, 0.5),
		at(taken, nr_hosts * nr_rounds, 0.99), at(taken, nr_hosts * nr_rounds, 1),
		at(reading, nr_rounds, 0.5), first_ms, filtered_ms,
		((double)after - (double)before) / nr_hosts);
	stop_node();
	xreg_zones_close(zones);
	free(taken);
	free(reading);
	free(genctrs);
}

/* ---- */

static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

struct options {
	const char *what;
	uint32_t nr_entries, nr_hosts, nr_rounds, nr_seen;
};

static bool read_options(int argc, char **argv, struct options *ret_options)
{
	static const char *const modes[] = {"read", "tell", "zone", "views"};
	static const struct option options[] = {{"entries", required_argument, NULL, 'e'},
		{"hosts", required_argument, NULL, 'h'}, {"rounds", required_argument, NULL, 'r'},
		{"zone", required_argument, NULL, 'z'}, {"filter", no_argument, NULL, 'f'},
		{"seconds", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
	struct options o = {NULL, 10000, 1000, 10, 16};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'e':
			o.nr_entries = (uint32_t)atoi(optarg);
			break;
		case 'h':
			o.nr_hosts = (uint32_t)atoi(optarg);
			break;
		case 'r':
			o.nr_rounds = (uint32_t)atoi(optarg);
			break;
		case 'z':
			o.nr_seen = (uint32_t)atoi(optarg);
			break;
		case 'f':
			has_filter = true;
			break;
		case 's': /* of run.py, for all; here rounds say how long */
			break;
		default:
			return false;
		}
	}
	for (size_t i = 0; optind + 1 == argc && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[optind], modes[i]) == 0) {
			o.what = modes[i];
		}
	}
	*ret_options = o;
	return o.what != NULL && o.nr_entries != 0 && o.nr_hosts != 0 &&
	       o.nr_hosts <= NR_HOSTS_MAX && o.nr_rounds != 0;
}

/* The process of the hosts; before there are threads. */
static pid_t fork_hosts(const struct options *o)
{
	int fds[2];
	pid_t hosts;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		give_up("socketpair");
	}
	hosts = fork();
	if (hosts < 0) {
		give_up("fork");
	}
	other_fd = fds[hosts != 0];
	close(fds[hosts == 0]);
	if (hosts == 0) {
		run_hosts(o->what, o->nr_entries, o->nr_hosts, o->nr_rounds);
	}
	return hosts;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/bench-discovery-XXXXXX", path[64];
	struct xreg_store_opts opts = {.backend = &xreg_sqlite, .where = path};
	struct options o;
	struct xu_error err;
	pid_t hosts = 0;
	int status = 0;

	if (!read_options(argc, argv, &o)) {
		fprintf(stderr,
			"usage: bench-discovery [--entries N] [--hosts N] [--rounds N] [--filter] "
			"[--zone N] read|tell|zone|views\n");
		return 2;
	}
	is_zone = strcmp(o.what, "zone") == 0;
	has_filter |= is_zone;
	allow_descriptors();
	if (strcmp(o.what, "views") != 0) {
		hosts = fork_hosts(&o);
	}
	if (mkdtemp(dir) == NULL) {
		give_up(dir);
	}
	snprintf(path, sizeof(path), "%s/targets.db", dir);
	if (xreg_store_open(&opts, &store, &err) != 0) {
		fprintf(stderr, "bench-discovery: %s\n", err.text);
		return 1;
	}
	if (hosts != 0) {
		status = run_controller(o.nr_entries, hosts);
	} else {
		measure_views(o.nr_entries, o.nr_hosts, o.nr_rounds, o.nr_seen);
	}
	xreg_store_close(store);
	unlink(path);
	return rmdir(dir) != 0 || status != 0;
}

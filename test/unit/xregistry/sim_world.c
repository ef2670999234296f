/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections are places in a table with what the machine has answered and when that arrives. The
 * monitor's wait() moves the clock to whatever is next, up to the time that the test has allowed;
 * there it stands until the test allows more.
 */
#include "test/unit/xregistry/sim_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/xnvmf/wire/tcp.h"
#include "test/unit/xregistry/fixture.h"

#define NR_SOCKS   4096u
#define BUF_SIZE   8192u
#define UNIX_MS    1700000000000ull
#define STEP_US    500000u
#define PATIENCE_S 120

struct sim_sock {
	bool is_used, has_news;
	uint64_t token;
	struct sim_machine *machine;
	uint64_t connect_us; /* UINT64_MAX: never */
	uint64_t news_us;    /* when the answer arrives */
	uint32_t in_len, out_len, out_at;
	char subnqn[NVME_NQN_FIELD];
	uint8_t in[2048], out[BUF_SIZE];
};

struct sim_world {
	pthread_mutex_t mutex;
	pthread_cond_t moved;
	uint64_t now_us, limit_us, unix_ms;
	bool is_parked, is_woken;
	struct xreg_world ops;
	struct sim_machine *machines;
	uint32_t nr_machines;
	struct sim_sock *socks[NR_SOCKS];
	uint32_t nr_socks; /* no place beyond it was ever used */
	uint32_t nr_open, most_open, opened_now, most_opened;
	uint64_t second;
};

/* ---- what a target says ---- */

static void say(struct sim_world *sim, struct sim_sock *sock, const void *data, uint32_t len)
{
	assert_true(sock->out_len + len <= BUF_SIZE);
	memcpy(sock->out + sock->out_len, data, len);
	sock->out_len += len;
	sock->news_us = sim->now_us + sock->machine->delay_us;
	sock->has_news = true;
}

static void complete(
	struct sim_world *sim, struct sim_sock *sock, uint16_t cid, uint16_t status, uint64_t value)
{
	const struct nvme_tcp_rsp rsp = {
		.hdr = {.type = NVME_TCP_RSP, .hlen = sizeof(rsp), .plen = sizeof(rsp)},
		.cqe = {.dw0 = (uint32_t)value,
			.dw1 = (uint32_t)(value >> 32),
			.cid = cid,
			.status = status}};

	say(sim, sock, &rsp, sizeof(rsp));
}

static void identify(struct sim_world *sim, struct sim_sock *sock, uint16_t cid)
{
	static const uint32_t halves[] = {1000, 3096}; /* SUBNQN is in both */
	struct nvme_id_ctrl id = {0};
	uint32_t at = 0;

	snprintf(id.subnqn, sizeof(id.subnqn), "%s",
		sock->machine->behaviour == SIM_OTHER_NAME ? "nqn.2026-11.io.xsan:other"
							   : sock->subnqn);
	for (uint32_t i = 0; i < 2; at += halves[i++]) {
		const struct nvme_tcp_data data = {
			.hdr = {.type = NVME_TCP_C2H_DATA,
				.flags = i == 1 ? NVME_TCP_F_LAST : 0,
				.hlen = sizeof(data),
				.pdo = sizeof(data) + 8,
				.plen = (uint32_t)sizeof(data) + 8 + halves[i]},
			.cccid = cid,
			.datao = at,
			.datal = halves[i]};

		say(sim, sock, &data, sizeof(data));
		say(sim, sock, "\0\0\0\0\0\0\0", 8);
		say(sim, sock, (const char *)&id + at, halves[i]);
	}
	complete(sim, sock, cid, 0, 0);
}

static void on_connect(struct sim_world *sim, struct sim_sock *sock, uint16_t cid, uint32_t pdo)
{
	struct nvme_connect_data data;

	memcpy(&data, sock->in + pdo, sizeof(data));
	assert_memory_not_equal(data.hostid, (uint8_t[16]){0}, 16);
	assert_memory_equal(data.hostnqn, "nqn.2026-11.io.xsan:registry", 29);
	memcpy(sock->subnqn, data.subnqn, sizeof(sock->subnqn));
	switch (sock->machine->behaviour) {
	case SIM_FORBIDS:
		complete(sim, sock, cid, NVME_SC_CONNECT_HOST, 0);
		break;
	case SIM_IS_FULL:
		complete(sim, sock, cid, NVME_SC_CONNECT_BUSY, 0);
		break;
	default:
		complete(sim, sock, cid, 0,
			sock->machine->behaviour == SIM_WANTS_AUTH ? 0x20001 : 1);
		break;
	}
}

static void on_fabrics(
	struct sim_world *sim, struct sim_sock *sock, const struct nvme_cmd *cmd, uint32_t pdo)
{
	if (NVME_CMD_FCTYPE(cmd) == NVME_FCTYPE_CONNECT) {
		on_connect(sim, sock, cmd->cid, pdo);
	} else if (cmd->cdw11 == NVME_PROP_CAP) {
		complete(sim, sock, cmd->cid, 0, 1ull << 37 | 127);
	} else if (cmd->cdw11 == NVME_PROP_CC) {
		assert_int_equal(cmd->cdw12, NVME_CC_ENTRY_SIZES | NVME_CC_EN);
		complete(sim, sock, cmd->cid, 0, 0);
	} else {
		bool is_ready = sock->machine->not_ready == 0;

		assert_int_equal(cmd->cdw11, NVME_PROP_CSTS);
		sock->machine->not_ready -= !is_ready;
		complete(sim, sock, cmd->cid, 0,
			sock->machine->behaviour == SIM_IS_BROKEN ? NVME_CSTS_CFS : is_ready);
	}
}

static void on_pdu(struct sim_world *sim, struct sim_sock *sock, const struct nvme_tcp_hdr *hdr)
{
	const struct nvme_tcp_icresp resp = {
		.hdr = {.type = NVME_TCP_ICRESP, .hlen = sizeof(resp), .plen = sizeof(resp)},
		.cpda = 31,
		.maxh2cdata = 65536};
	struct nvme_tcp_cmd cmd;

	if (hdr->type == NVME_TCP_ICREQ) {
		say(sim, sock, &resp, sizeof(resp));
		return;
	}
	assert_int_equal(hdr->type, NVME_TCP_CMD);
	memcpy(&cmd, sock->in, sizeof(cmd));
	if (cmd.sqe.opc == NVME_FABRICS) {
		on_fabrics(sim, sock, &cmd.sqe, hdr->pdo);
	} else if (cmd.sqe.opc == NVME_ADMIN_IDENTIFY) {
		identify(sim, sock, cmd.sqe.cid);
	} else {
		assert_int_equal(cmd.sqe.opc, NVME_ADMIN_KEEP_ALIVE);
		complete(sim, sock, cmd.sqe.cid, 0, 0);
	}
}

static void on_bytes(struct sim_world *sim, struct sim_sock *sock)
{
	struct nvme_tcp_hdr hdr;

	switch (sock->machine->behaviour) {
	case SIM_SILENT:
		return;
	case SIM_GARBAGE:
		say(sim, sock, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
		return;
	case SIM_CLOSES:
		sock->has_news = true;
		return;
	default:
		break;
	}
	memcpy(&hdr, sock->in, sizeof(hdr));
	if (sock->in_len < sizeof(hdr) || sock->in_len < hdr.plen) {
		return;
	}
	assert_int_equal(sock->in_len, hdr.plen); /* one at a time */
	on_pdu(sim, sock, &hdr);
	sock->in_len = 0;
}

/* ---- the operations ---- */

uint64_t sim_now_us(void *arg)
{
	struct sim_world *sim = arg;
	uint64_t now_us;

	pthread_mutex_lock(&sim->mutex);
	now_us = sim->now_us;
	pthread_mutex_unlock(&sim->mutex);
	return now_us;
}

uint64_t sim_unix_ms(void *arg)
{
	struct sim_world *sim = arg;
	uint64_t unix_ms;

	pthread_mutex_lock(&sim->mutex);
	unix_ms = sim->unix_ms + sim->now_us / 1000;
	pthread_mutex_unlock(&sim->mutex);
	return unix_ms;
}

void sim_set_clock(struct sim_world *sim, int64_t by_s)
{
	pthread_mutex_lock(&sim->mutex);
	sim->unix_ms += (uint64_t)(by_s * 1000);
	pthread_mutex_unlock(&sim->mutex);
}

void sim_address(uint32_t index, char address[32])
{
	snprintf(address, 32, "10.0.%u.%u", index / 200, index % 200 + 1);
}

static void count_open(struct sim_world *sim)
{
	uint64_t second = sim->now_us / 1000000;

	sim->opened_now = second == sim->second ? sim->opened_now + 1 : 1;
	sim->second = second;
	sim->most_opened = sim->opened_now > sim->most_opened ? sim->opened_now : sim->most_opened;
	sim->nr_open++;
	sim->most_open = sim->nr_open > sim->most_open ? sim->nr_open : sim->most_open;
}

/* Of an address of sim_address(). */
static struct sim_machine *machine_of(struct sim_world *sim, const char *address)
{
	unsigned high, low;

	assert_int_equal(sscanf(address, "10.0.%u.%u", &high, &low), 2);
	assert_true(high * 200 + low - 1 < sim->nr_machines);
	return &sim->machines[high * 200 + low - 1];
}

static bool sim_is_here(void *arg, const char *address)
{
	return machine_of(arg, address)->is_here;
}

static int sim_open(void *arg, const char *address, uint16_t port, uint64_t token, int *ret_sock)
{
	struct sim_world *sim = arg;
	struct sim_machine *machine;
	struct sim_sock *sock;
	uint32_t at = 0;

	pthread_mutex_lock(&sim->mutex);
	machine = machine_of(sim, address);
	if (machine->behaviour == SIM_NO_ROOM) {
		pthread_mutex_unlock(&sim->mutex);
		return -EMFILE;
	}
	while (at < NR_SOCKS && sim->socks[at] != NULL) {
		at++;
	}
	assert_true(at < NR_SOCKS);
	sock = sim->socks[at] = calloc(1, sizeof(*sock));
	assert_non_null(sock);
	sim->nr_socks = at >= sim->nr_socks ? at + 1 : sim->nr_socks;
	sock->token = token;
	sock->machine = machine;
	sock->connect_us =
		machine->behaviour == SIM_BLACK_HOLE ? UINT64_MAX : sim->now_us + machine->delay_us;
	sock->news_us = sock->connect_us;
	sock->has_news = machine->behaviour != SIM_BLACK_HOLE;
	machine->nr_connections++;
	count_open(sim);
	pthread_mutex_unlock(&sim->mutex);
	*ret_sock = (int)at;
	return 0;
}

static int sim_connected(void *arg, int at)
{
	struct sim_world *sim = arg;
	struct sim_sock *sock = sim->socks[at];
	int rc = -EINPROGRESS;

	pthread_mutex_lock(&sim->mutex);
	if (sock->connect_us <= sim->now_us) {
		rc = sock->machine->behaviour == SIM_REFUSES ? -ECONNREFUSED : 0;
	}
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

/* In two pieces, so that the rest of a send is seen to be sent. */
static ssize_t sim_send(void *arg, int at, const void *data, size_t len)
{
	struct sim_world *sim = arg;
	struct sim_sock *sock = sim->socks[at];

	pthread_mutex_lock(&sim->mutex);
	len = len > 1000 ? 1000 : len;
	assert_true(sock->in_len + len <= sizeof(sock->in));
	memcpy(sock->in + sock->in_len, data, len);
	sock->in_len += (uint32_t)len;
	on_bytes(sim, sock);
	pthread_mutex_unlock(&sim->mutex);
	return (ssize_t)len;
}

static ssize_t sim_recv(void *arg, int at, void *data, size_t len)
{
	struct sim_world *sim = arg;
	struct sim_sock *sock = sim->socks[at];
	ssize_t count = -EAGAIN;

	pthread_mutex_lock(&sim->mutex);
	if (sock->machine->behaviour == SIM_CLOSES && sock->in_len > 0) {
		count = 0;
	} else if (sock->out_at < sock->out_len && sock->news_us <= sim->now_us) {
		uint32_t left = sock->out_len - sock->out_at;

		left = left > 1500 ? 1500 : left;
		left = left > len ? (uint32_t)len : left;
		memcpy(data, sock->out + sock->out_at, left);
		sock->out_at += left;
		count = left;
		if (sock->out_at == sock->out_len) {
			sock->out_at = sock->out_len = 0;
		}
	}
	pthread_mutex_unlock(&sim->mutex);
	return count;
}

static void sim_close(void *arg, int at)
{
	struct sim_world *sim = arg;

	pthread_mutex_lock(&sim->mutex);
	free(sim->socks[at]);
	sim->socks[at] = NULL;
	sim->nr_open--;
	pthread_mutex_unlock(&sim->mutex);
}

static void sim_wake(void *arg)
{
	struct sim_world *sim = arg;

	pthread_mutex_lock(&sim->mutex);
	sim->is_woken = true;
	pthread_cond_broadcast(&sim->moved);
	pthread_mutex_unlock(&sim->mutex);
}

static uint32_t take_news(
	struct sim_world *sim, uint64_t *ret_tokens, uint32_t max, uint64_t *next_us)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < sim->nr_socks && count < max; i++) {
		struct sim_sock *sock = sim->socks[i];

		if (sock == NULL || !sock->has_news) {
			continue;
		}
		if (sock->news_us <= sim->now_us) {
			sock->has_news = false;
			ret_tokens[count++] = sock->token;
		} else if (sock->news_us < *next_us) {
			*next_us = sock->news_us;
		}
	}
	return count;
}

static uint32_t sim_wait(void *arg, uint64_t *ret_tokens, uint32_t max, uint64_t timeout_us)
{
	struct sim_world *sim = arg;
	uint64_t end_us, next_us;
	uint32_t count;

	pthread_mutex_lock(&sim->mutex);
	end_us = sim->now_us + timeout_us;
	for (;;) {
		next_us = end_us;
		count = take_news(sim, ret_tokens, max, &next_us);
		if (count > 0 || sim->is_woken || sim->now_us >= end_us) {
			break;
		}
		if (next_us <= sim->limit_us) {
			sim->now_us = next_us;
			continue;
		}
		sim->now_us = sim->limit_us;
		sim->is_parked = true;
		pthread_cond_broadcast(&sim->moved);
		pthread_cond_wait(&sim->moved, &sim->mutex);
		sim->is_parked = false;
	}
	sim->is_woken = false;
	pthread_mutex_unlock(&sim->mutex);
	return count;
}

/* ---- for the test ---- */

struct sim_world *sim_world_new(uint32_t nr_machines)
{
	struct sim_world *sim = calloc(1, sizeof(*sim));

	assert_non_null(sim);
	sim->machines = calloc(nr_machines, sizeof(*sim->machines));
	assert_non_null(sim->machines);
	sim->nr_machines = nr_machines;
	sim->now_us = sim->limit_us = 1000000;
	sim->unix_ms = UNIX_MS;
	pthread_mutex_init(&sim->mutex, NULL);
	pthread_cond_init(&sim->moved, NULL);
	sim->ops = (struct xreg_world){.now_us = sim_now_us,
		.unix_ms = sim_unix_ms,
		.open = sim_open,
		.connected = sim_connected,
		.send = sim_send,
		.recv = sim_recv,
		.close = sim_close,
		.is_here = sim_is_here,
		.wait = sim_wait,
		.wake = sim_wake,
		.arg = sim};
	return sim;
}

void sim_world_free(struct sim_world *sim)
{
	assert_int_equal(sim->nr_open, 0);
	pthread_mutex_destroy(&sim->mutex);
	pthread_cond_destroy(&sim->moved);
	free(sim->machines);
	free(sim);
}

const struct xreg_world *sim_world_ops(struct sim_world *sim)
{
	return &sim->ops;
}

struct sim_machine *sim_machine(struct sim_world *sim, uint32_t index)
{
	return &sim->machines[index];
}

static bool is_parked(struct sim_world *sim)
{
	bool is;

	pthread_mutex_lock(&sim->mutex);
	is = sim->is_parked && !sim->is_woken && sim->now_us == sim->limit_us;
	pthread_mutex_unlock(&sim->mutex);
	return is;
}

/* Looked at twice: what is counted first may have been done in between. */
static bool is_quiet(struct sim_world *sim, struct xreg_monitor *monitor)
{
	struct xreg_monitor_stats stats;

	for (uint32_t i = 0; i < 2; i++) {
		if (!is_parked(sim)) {
			return false;
		}
		xreg_monitor_stats(monitor, &stats);
		if (stats.nr_changes != 0) {
			return false;
		}
	}
	return is_parked(sim);
}

/* In steps, so that the store's answers come soon after what they answer. */
void sim_world_run(struct sim_world *sim, struct xreg_monitor *monitor, uint64_t us)
{
	uint32_t nr_turns = 0;

	while (us > 0) {
		uint64_t step_us = us < STEP_US ? us : STEP_US;

		pthread_mutex_lock(&sim->mutex);
		sim->limit_us += step_us;
		sim->now_us = monitor == NULL ? sim->limit_us : sim->now_us;
		pthread_cond_broadcast(&sim->moved);
		pthread_mutex_unlock(&sim->mutex);
		us -= step_us;
		for (; monitor != NULL && !is_quiet(sim, monitor); nr_turns++) {
			assert_true(nr_turns < PATIENCE_S * 20000);
			usleep(50);
		}
	}
}

void sim_world_release(struct sim_world *sim)
{
	pthread_mutex_lock(&sim->mutex);
	sim->limit_us = UINT64_MAX;
	pthread_cond_broadcast(&sim->moved);
	pthread_mutex_unlock(&sim->mutex);
}

uint32_t sim_world_most_open(struct sim_world *sim)
{
	return sim->most_open;
}

uint32_t sim_world_most_opened(struct sim_world *sim)
{
	return sim->most_opened;
}

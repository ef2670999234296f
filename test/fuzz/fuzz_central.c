/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what a central discovery controller takes from strangers: registrations (DIM), kick-starts
 * and the offsets and lengths of log reads. The target is real, on a network in memory; its log is
 * this file's. The input is a byte for the world and then records: a request that is right, and
 * patches that make it wrong; answers to registrations, which come late and after the connection
 * has gone; changes; time.
 *
 * Findings, besides what the sanitizers see: a registration handed on that does not hold what the
 * interface promises, a command that is never answered, a read that is not what the log says, a
 * connection or an object that stays.
 */
#include <ctype.h>

#include "lib/reactor/address.h"
#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xnvmf/target/discovery.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/initiator.h"
#include "test/fuzz/net.h"

#define NQN           "nqn.2026-11.io.xsan:central"
#define PORT          8009u
#define ROUND_NS      1000u
#define NR_ROUNDS     60u
#define MAX_ROUNDS    30000u /* of a millisecond */
#define MAX_RECORDS   64u
#define MAX_KICKS     8u
#define MAX_WAITING   16u
#define NR_ENTRIES    7u /* of the log, and of a registration in a capsule */
#define NR_HOSTS      2u
#define DIM_BYTES     8192u
#define KICK_BYTES    (12u + 66u * 290u)
#define CC_ENABLE     0x00460001u
#define HOST_ID_BYTES 16u

struct kick_conn {
	struct net_sock *sock;
	size_t nr_bytes;
};

struct run {
	struct net *net;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct initiator hosts[NR_HOSTS];
	struct kick_conn kicks[MAX_KICKS];
	uint32_t nr_kicks;
	struct xnvmf_dim *waiting[MAX_WAITING];
	uint32_t nr_waiting;
	uint8_t how; /* answers: at once or later */
	uint64_t genctr;
	uint32_t nr_views;
	bool is_stopping, is_stopped;
};

static struct run run;
static const struct flaw no_flaw;

/* ---- the log ---- */

static void *log_pin(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct xnvmf_discovery_info *view = malloc(sizeof(*view));

	*view = (struct xnvmf_discovery_info){.options = asker->options,
		.genctr = run.genctr,
		.nr_entries = (uint32_t)(run.genctr % NR_ENTRIES),
		.entry_bytes = asker->options & XNVMF_DISCOVERY_EXTENDED ? 1100 : 1024};
	run.nr_views++;
	return view;
}

static void log_unpin(void *arg, void *view)
{
	run.nr_views--;
	free(view);
}

static void log_describe(const void *view, struct xnvmf_discovery_info *ret_info)
{
	*ret_info = *(const struct xnvmf_discovery_info *)view;
}

static void log_render(const void *arg, uint32_t first, uint32_t count, void *buf)
{
	const struct xnvmf_discovery_info *view = arg;

	FUZZ_CHECK(count != 0 && first < view->nr_entries && count <= view->nr_entries - first,
		"%u entries from %u of %u", count, first, view->nr_entries);
	memset(buf, 0x41, (size_t)count * view->entry_bytes);
}

static uint64_t log_genctr(void *arg, const struct xnvmf_discovery_asker *asker)
{
	return run.genctr;
}

/* ---- what is handed on holds what was promised ---- */

static void check_text(const char *text, size_t size, const char *what)
{
	size_t len = strnlen(text, size);

	FUZZ_CHECK(len < size, "%s is not terminated", what);
	for (size_t i = 0; i < len; i++) {
		FUZZ_CHECK(text[i] >= ' ' && text[i] <= '~', "%s is not printable", what);
	}
	FUZZ_CHECK(len == 0 || text[len - 1] != ' ', "%s ends with a space", what);
}

static void check_entry(const struct xnvmf_dim *dim, const struct xnvmf_dim_entry *entry)
{
	bool is_key = dim->task == NVME_DIM_DEREGISTER ||
		      (dim->task == NVME_DIM_UPDATE && entry == dim->entries);
	struct sockaddr_storage addr;

	check_text(entry->nqn, sizeof(entry->nqn), "an NQN");
	check_text(entry->address, sizeof(entry->address), "an address");
	check_text(entry->trsvcid, sizeof(entry->trsvcid), "a service");
	check_text(entry->label, sizeof(entry->label), "a label");
	FUZZ_CHECK(entry->nqn[0] != '\0' && strchr(entry->nqn, ' ') == NULL, "no NQN");
	FUZZ_CHECK(entry->address[0] != '\0', "no address");
	if (is_key && dim->is_key_port) {
		return;
	}
	FUZZ_CHECK(entry->trtype >= NVME_TRTYPE_RDMA && entry->trtype <= NVME_TRTYPE_TCP,
		"transport %u", entry->trtype);
	if (entry->trtype != NVME_TRTYPE_FC) {
		FUZZ_CHECK(xr_address_parse(entry->address, 0, &addr) > 0, "%s", entry->address);
		FUZZ_CHECK(!xr_address_is_wildcard(entry->address), "%s", entry->address);
	}
	if (dim->entity == NVME_DIM_ENTITY_HOST && !is_key) {
		FUZZ_CHECK(entry->has_hostid && entry->subtype == 0 && entry->trsvcid[0] == '\0',
			"a host that is a subsystem");
	} else if (dim->entity != NVME_DIM_ENTITY_HOST && entry->trtype != NVME_TRTYPE_FC) {
		FUZZ_CHECK(isdigit((unsigned char)entry->trsvcid[0]) && atoi(entry->trsvcid) > 0,
			"port '%s'", entry->trsvcid);
	}
}

static void log_dim(void *arg, struct xnvmf_dim *dim)
{
	FUZZ_CHECK(dim->task <= NVME_DIM_UPDATE, "task %u", dim->task);
	FUZZ_CHECK(dim->entity >= 1 && dim->entity <= 3, "entity %u", dim->entity);
	FUZZ_CHECK(dim->nr_entries > 0 && dim->nr_entries <= NR_ENTRIES, "%u", dim->nr_entries);
	FUZZ_CHECK(dim->task != NVME_DIM_UPDATE || dim->nr_entries == 2, "%u", dim->nr_entries);
	check_text(dim->eid, sizeof(dim->eid), "an EID");
	check_text(dim->ename, sizeof(dim->ename), "an ENAME");
	check_text(dim->ever, sizeof(dim->ever), "an EVER");
	FUZZ_CHECK(dim->eid[0] != '\0', "no EID");
	for (uint32_t i = 0; i < dim->nr_entries; i++) {
		check_entry(dim, &dim->entries[i]);
	}
	fuzz_say("registration of %u entries is handed on\n", dim->nr_entries);
	if ((run.how & 1u) == 0 || run.nr_waiting == MAX_WAITING) {
		xnvmf_dim_done(dim, NVME_SC_SUCCESS);
	} else {
		run.waiting[run.nr_waiting++] = dim;
	}
}

static void answer_all(void)
{
	while (run.nr_waiting != 0) {
		xnvmf_dim_done(run.waiting[--run.nr_waiting], NVME_SC_DISCOVERY_FULL);
	}
}

static enum xnvmf_kick_result log_kick_start(void *arg, const struct xnvmf_kick_start *kick)
{
	FUZZ_CHECK(kick->nr_records > 0 && kick->nr_records <= 64, "%u", kick->nr_records);
	for (uint32_t i = 0; i < kick->nr_records; i++) {
		const struct xnvmf_kick_record *record = &kick->records[i];

		check_text(record->address, sizeof(record->address), "an address");
		check_text(record->trsvcid, sizeof(record->trsvcid), "a service");
		FUZZ_CHECK(record->address[0] != '\0' && record->trsvcid[0] != '\0', "nothing");
	}
	return kick->nr_entries % 7;
}

static const struct xnvmf_discovery_ops log_ops = {
	.log = {.options = XNVMF_DISCOVERY_EXTENDED | XNVMF_DISCOVERY_ALL,
		.pin = log_pin,
		.unpin = log_unpin,
		.describe = log_describe,
		.render = log_render,
		.genctr = log_genctr},
	.hosts = &log_ops.log,
	.dim = log_dim,
	.kick_start = log_kick_start,
};

/* ---- the node ---- */

static void rounds(uint32_t count, uint64_t ns)
{
	for (uint32_t i = 0; i < count; i++) {
		net_tick(run.net, ns);
		xr_reactor_poll(xbdev_ctx_control(run.ctx), 0);
	}
}

static void make_node(uint8_t seed)
{
	const struct net_opts net_opts = {.seed = seed,
		.cut = (enum net_cut)(run.how >> 1 & 3u),
		.has_slow_sends = (run.how & 8u) != 0,
		.has_slow_cancels = (run.how & 16u) != 0};
	const struct xnvmf_discovery_opts opts = {.ops = &log_ops, .nqn = NQN, .is_central = true};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "8009"};
	struct xbdev_ctx_opts ctx_opts = {.nr_reactors = 1, .buf_limit_bytes = 16u << 20};
	struct xnvmf_target_opts target_opts;
	struct xu_error err = {0};

	run.net = net_new(&net_opts);
	ctx_opts.platform = net_platform(run.net);
	FUZZ_CHECK(xbdev_ctx_new(&ctx_opts, &run.ctx, &err) == 0, "%s", err.text);
	xnvmf_target_opts_default(&target_opts);
	target_opts.max_io_size = INITIATOR_MAX_DATA;
	FUZZ_CHECK(xnvmf_target_new(run.ctx, &target_opts, &run.target, &err) == 0 &&
			   xnvmf_target_set_discovery(run.target, &opts, &err) == 0 &&
			   xnvmf_discovery_listen(run.target, &listener, &err) == 0,
		"%s", err.text);
	rounds(10, ROUND_NS);
}

static void on_stopped(void *arg)
{
	run.is_stopped = true;
}

static void stop(void)
{
	if (!run.is_stopping) {
		run.is_stopping = true;
		xnvmf_target_stop(run.target, on_stopped, NULL);
	}
}

static void stop_node(void)
{
	stop();
	for (uint32_t i = 0; i < MAX_ROUNDS && !run.is_stopped; i++) {
		rounds(1, XU_NS_PER_MS);
	}
	FUZZ_CHECK(run.is_stopped, "the target does not stop");
	xnvmf_target_free(run.target);
	FUZZ_CHECK(run.nr_views == 0, "%u views are left", run.nr_views);
	for (uint32_t i = 0; i < MAX_ROUNDS && net_nr_open(run.net) != 0; i++) {
		rounds(1, XU_NS_PER_MS);
	}
	FUZZ_CHECK(net_nr_open(run.net) == 0, "a stopped target leaves descriptors open");
}

/* ---- hosts ---- */

static void send_connect(struct initiator *host)
{
	struct nvme_connect_cmd cmd = {.opc = NVME_FABRICS,
		.flags = NVME_PSDT_SGL,
		.cid = 0xfe,
		.fctype = NVME_FCTYPE_CONNECT,
		.sqsize = 31,
		.cattr = NVME_CATTR_DISCOVERY,
		.kato = 60000};
	const struct nvme_cmd enable = {.opc = NVME_FABRICS,
		.flags = NVME_PSDT_SGL,
		.cid = 0xfd,
		.nsid = NVME_FCTYPE_PROPERTY_SET,
		.cdw11 = NVME_PROP_CC,
		.cdw12 = CC_ENABLE};
	struct nvme_connect_data data = {.hostid = {host->index + 1}, .cntlid = 0xffff};

	cmd.sgl.len = sizeof(data);
	cmd.sgl.type = NVME_SGL_DATA_OFFSET;
	strcpy(data.subnqn, NQN);
	strcpy(data.hostnqn, host->index == 0 ? "nqn.2026-11.io.xsan:a" : "nqn.2026-11.io.xsan:b");
	initiator_send_cmd(host, (const struct nvme_cmd *)&cmd, &data, sizeof(data), no_flaw);
	rounds(NR_ROUNDS, ROUND_NS);
	initiator_send_cmd(host, &enable, NULL, 0, no_flaw);
	rounds(NR_ROUNDS, ROUND_NS);
}

static void open_host(uint32_t index)
{
	struct initiator *host = &run.hosts[index];

	if (host->sock == NULL && initiator_open(host, run.net, PORT, (uint8_t)index)) {
		initiator_send_icreq(host, 0, 0, 0, no_flaw);
		rounds(NR_ROUNDS, ROUND_NS);
		send_connect(host);
	}
}

/* ---- requests: a right one, and patches ---- */

static void patch(uint8_t *data, size_t size, struct fuzz_input *in)
{
	uint32_t count = fuzz_u8(in) % 16;

	for (uint32_t i = 0; i < count; i++) {
		size_t at = fuzz_u16(in) % size;
		uint8_t how = fuzz_u8(in), value = fuzz_u8(in);
		size_t left = size - at, len;
		uint32_t wide = how & 0x10u ? UINT32_MAX - value : 1u << value % 32;

		switch (how & 3u) {
		case 0:
			data[at] = value;
			break;
		case 1:
			data[at] ^= value;
			break;
		case 2:
			len = left < sizeof(wide) ? left : sizeof(wide);
			memcpy(data + at, &wide, len);
			break;
		default:
			memset(data + at, value, left < how ? left : how);
			break;
		}
	}
}

static size_t put_entry(uint8_t *at, uint8_t entity, bool is_extended, uint32_t number)
{
	struct nvme_discovery_entry entry = {
		.trtype = NVME_TRTYPE_TCP, .adrfam = NVME_ADRFAM_IPV4, .traddr = "192.0.2.7"};
	struct nvme_discovery_extension extension = {.tel = 1052, .numexat = 1};
	const struct nvme_discovery_attribute attribute = {NVME_EXAT_HOST_ID, HOST_ID_BYTES};

	if (entity != NVME_DIM_ENTITY_HOST) {
		entry.subtype = NVME_SUBTYPE_NVM;
		entry.cntlid = 0xffff;
		memcpy(entry.trsvcid, "4420", 4);
	}
	snprintf(entry.subnqn, sizeof(entry.subnqn), "nqn.2026-11.io.xsan:%u", number);
	memcpy(at, &entry, sizeof(entry));
	if (!is_extended) {
		return sizeof(entry);
	}
	memset(at + 1024, 0, 28);
	memcpy(at + 1024, &extension, sizeof(extension));
	memcpy(at + 1032, &attribute, sizeof(attribute));
	return extension.tel;
}

static void do_dim(struct fuzz_input *in)
{
	uint8_t which = fuzz_u8(in), task = fuzz_u8(in) & 0xfu, entity = which % 3 + 1;
	bool is_extended = entity == NVME_DIM_ENTITY_HOST || (which & 8u) != 0;
	struct initiator *host = &run.hosts[which >> 7];
	uint32_t nr = (which >> 4 & 7u) % (NR_ENTRIES - 1) + 1;
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO,
		.flags = NVME_PSDT_SGL,
		.cid = fuzz_u8(in) % 0xf0,
		.cdw10 = task};
	static uint8_t data[DIM_BYTES];
	struct nvme_dim_data head = {.nument = nr,
		.entfmt = is_extended ? NVME_DIM_FORMAT_EXTEND : NVME_DIM_FORMAT_BASIC,
		.etype = entity,
		.ektype = NVME_DIM_KEY_ADDRESS,
		.eid = "nqn.2026-11.io.xsan:entity",
		.ename = "name  "};
	size_t len = sizeof(head), cut;

	memset(data, 0, sizeof(data));
	for (uint32_t i = 0; i < nr; i++) {
		len += put_entry(data + len, entity, is_extended, i);
	}
	head.tdl = (uint32_t)len;
	memcpy(data, &head, sizeof(head));
	patch(data, len, in);
	cut = fuzz_u8(in);
	len = cut > 128 ? cut * 4u : len; /* less than it says */
	open_host(which >> 7);
	cmd.sgl.type = NVME_SGL_DATA_OFFSET;
	cmd.sgl.len = (uint32_t)len;
	/* A CID that is in use is another fuzzer's. */
	if (host->nr_commands[cmd.cid] == host->nr_completions[cmd.cid]) {
		initiator_send_cmd(host, &cmd, data, len, no_flaw);
	}
}

static void on_kick_output(void *arg, const uint8_t *data, size_t len)
{
	((struct kick_conn *)arg)->nr_bytes += len;
}

static void do_kick(struct fuzz_input *in)
{
	struct nvme_tcp_icreq icreq = {
		.hdr = {NVME_TCP_ICREQ, NVME_TCP_F_KDCONN, sizeof(icreq), 0, sizeof(icreq)}};
	const struct nvme_tcp_kdrecord record = {.trtype = NVME_TRTYPE_TCP,
		.adrfam = NVME_ADRFAM_IPV4,
		.trsvcid = "8009",
		.traddr = "192.0.2.7"};
	struct kick_conn *kick = &run.kicks[run.nr_kicks];
	uint32_t nr = fuzz_u8(in) % 66u;
	struct nvme_tcp_kdreq req = {.hdr = {NVME_TCP_KDREQ, 0, 12, 12, 12 + nr * 290},
		.numkr = (uint16_t)nr,
		.numdie = fuzz_u8(in)};
	static uint8_t pdu[KICK_BYTES];
	size_t len = req.hdr.plen;
	bool is_early = (fuzz_u8(in) & 1u) != 0;

	if (run.nr_kicks == MAX_KICKS) {
		return;
	}
	kick->sock = net_connect(run.net, PORT, on_kick_output, kick);
	if (kick->sock == NULL) {
		return;
	}
	run.nr_kicks++;
	memcpy(pdu, &req, sizeof(req));
	for (uint32_t i = 0; i < nr; i++) {
		memcpy(pdu + sizeof(req) + i * sizeof(record), &record, sizeof(record));
	}
	patch(pdu, len, in);
	net_send(kick->sock, &icreq, sizeof(icreq));
	if (!is_early) {
		rounds(NR_ROUNDS, ROUND_NS);
	}
	net_send(kick->sock, pdu, len);
}

static void do_read(struct fuzz_input *in)
{
	uint32_t len = (fuzz_u16(in) % 16384 + 1) * 4, numd = len / 4 - 1;
	struct initiator *host = &run.hosts[0];
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_GET_LOG_PAGE,
		.flags = NVME_PSDT_SGL,
		.cid = fuzz_u8(in) % 0xf0,
		.cdw10 = (numd & 0xffff) << 16,
		.cdw11 = numd >> 16};

	cmd.cdw10 |= (cmd.cid & 0x40u) != 0 ? NVME_LOG_HOST_DISCOVERY : NVME_LOG_DISCOVERY;
	cmd.cdw10 |= (fuzz_u8(in) & 0xffu) << 8;
	cmd.cdw12 = fuzz_u16(in);
	cmd.cdw13 = (cmd.cdw12 & 0x100u) != 0 ? fuzz_u8(in) : 0;
	open_host(0);
	cmd.sgl.type = NVME_SGL_TRANSPORT_DATA;
	cmd.sgl.len = len;
	if (host->nr_commands[cmd.cid] == host->nr_completions[cmd.cid]) {
		initiator_send_cmd(host, &cmd, NULL, 0, no_flaw);
	}
}

static void do_other(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);

	switch (what & 7u) {
	case 0:
		answer_all();
		break;
	case 1:
		run.genctr += what;
		xnvmf_target_discovery_changed(run.target);
		break;
	case 2:
		initiator_close(&run.hosts[what >> 7], (what & 8u) != 0);
		break;
	case 3:
		rounds(1, (uint64_t)what * XU_NS_PER_MS * 50);
		break;
	case 5:
		stop();
		break;
	case 4:
		if (run.nr_kicks != 0) {
			net_end(run.kicks[run.nr_kicks - 1].sock, (what & 8u) != 0);
		}
		break;
	default:
		rounds(what, ROUND_NS);
		break;
	}
}

/* ---- a run ---- */

static uint32_t nr_lost(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < NR_HOSTS; i++) {
		count += initiator_is_fine(&run.hosts[i]) ? initiator_nr_lost(&run.hosts[i]) : 0;
	}
	return count;
}

static void run_records(struct fuzz_input *in)
{
	static void (*const doers[])(struct fuzz_input * in) = {do_dim, do_kick, do_read, do_other};

	for (uint32_t i = 0; i < MAX_RECORDS && in->left != 0; i++) {
		uint8_t op = fuzz_u8(in);

		fuzz_say("record %u: kind %u\n", i, op & 3u);
		doers[op & 3u](in);
		rounds(op >> 2, ROUND_NS);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	run = (struct run){.how = fuzz_u8(&in), .genctr = 1};
	make_node(fuzz_u8(&in));
	run_records(&in);
	if ((run.how & 32u) == 0 && !run.is_stopping) {
		answer_all();
		net_join(run.net);
		for (uint32_t i = 0; i < MAX_ROUNDS && nr_lost() != 0; i++) {
			rounds(1, XU_NS_PER_MS);
			answer_all();
		}
		FUZZ_CHECK(nr_lost() == 0, "%u commands are never answered", nr_lost());
	}
	for (uint32_t i = 0; i < NR_HOSTS; i++) {
		initiator_close(&run.hosts[i], (run.how & 64u) != 0);
	}
	for (uint32_t i = 0; i < run.nr_kicks; i++) {
		net_release(run.kicks[i].sock);
	}
	rounds(NR_ROUNDS, ROUND_NS);
	answer_all();
	run.how &= (uint8_t)~1u;
	stop_node();
	rounds(10, ROUND_NS);
	xbdev_ctx_free(run.ctx);
	net_free(run.net);
	return 0;
}

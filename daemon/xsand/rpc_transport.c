/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The methods of the transport: SPDK's names, parameters and results. There is one transport, TCP,
 * which is always there; "creating" it sets its options, while there are no subsystems.
 */
#include <errno.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/rpc_edit.h"
#include "lib/xbdev/config/devices.h"

static const char *const trtypes[] = {"tcp", NULL};

struct transport_opts {
	uint32_t trtype;
	const char *tgt_name;
	struct config_transport transport;
	json_t *unused;
};

#define UNUSED(name)                                                                               \
	{                                                                                          \
		name, XU_PARAM_JSON, offsetof(struct transport_opts, unused),                      \
			.help = "accepted for SPDK's clients, without effect"                      \
	}

/* SPDK's client sends some of them to TCP too. */
#define UNUSED_ELSEWHERE(name)                                                                     \
	{                                                                                          \
		name, XU_PARAM_JSON, offsetof(struct transport_opts, unused),                      \
			.help = "accepted for SPDK's clients; of other transports than TCP"        \
	}

static const struct xu_param transport_params[] = {
	{"trtype", XU_PARAM_ENUM, offsetof(struct transport_opts, trtype), .is_required = true,
		.choices = trtypes, .help = "\"TCP\""},
	RPC_PARAM_TGT(struct transport_opts),
	{"max_queue_depth", XU_PARAM_U32,
		offsetof(struct transport_opts, transport.max_queue_depth), .min = 16, .max = 4096,
		.help = "entries of an I/O queue"},
	{"max_io_qpairs_per_ctrlr", XU_PARAM_U32,
		offsetof(struct transport_opts, transport.max_queues), .min = 1, .max = 1024,
		.help = "I/O queues of a controller"},
	{"max_qpairs_per_ctrlr", XU_PARAM_U32,
		offsetof(struct transport_opts, transport.max_queues), .min = 1, .max = 1024,
		.help = "an older name of it"},
	{"in_capsule_data_size", XU_PARAM_SIZE,
		offsetof(struct transport_opts, transport.in_capsule_data_size), .max = 65536,
		.help = "write data that a command capsule may carry, a multiple of 16"},
	{"max_io_size", XU_PARAM_SIZE, offsetof(struct transport_opts, transport.max_io_size),
		.min = 8192, .max = 4u << 20,
		.help = "largest transfer of one command, a power of two"},
	{"dif_insert_or_strip", XU_PARAM_OFF,
		.help = "only false is possible: there is no protection information here"},
	{"disable_command_passthru", XU_PARAM_JSON, offsetof(struct transport_opts, unused),
		.help = "accepted for SPDK's clients; commands are never passed through"},
	UNUSED("io_unit_size"),
	UNUSED("max_aq_depth"),
	UNUSED("num_shared_buffers"),
	UNUSED("buf_cache_size"),
	UNUSED("c2h_success"),
	UNUSED("sock_priority"),
	UNUSED("acceptor_backlog"),
	UNUSED("abort_timeout_sec"),
	UNUSED("control_msg_num"),
	UNUSED("zcopy"),
	UNUSED("ack_timeout"),
	UNUSED("acceptor_poll_rate"),
	UNUSED_ELSEWHERE("num_cqe"),
	UNUSED_ELSEWHERE("max_srq_depth"),
	UNUSED_ELSEWHERE("no_srq"),
	UNUSED_ELSEWHERE("no_wr_batching"),
	UNUSED_ELSEWHERE("data_wr_pool_size"),
	UNUSED_ELSEWHERE("disable_mappable_bar0"),
	UNUSED_ELSEWHERE("disable_adaptive_irq"),
	UNUSED_ELSEWHERE("disable_shadow_doorbells"),
	{0},
};

/* The configuration's names of the options, and those of the request. */
static const struct {
	const char *key, *param;
} transport_names[] = {
	{"max_queue_depth", "max_queue_depth"},
	{"max_queues", "max_io_qpairs_per_ctrlr"},
	{"max_queues", "max_qpairs_per_ctrlr"},
	{"in_capsule_data_size", "in_capsule_data_size"},
	{"max_io_size", "max_io_size"},
};

#define NR_TRANSPORT_NAMES (sizeof(transport_names) / sizeof(transport_names[0]))

/* The options of `now` with those that were given; NULL: out of memory. */
static json_t *merge_transport(const struct rpc_edit *edit, const json_t *now)
{
	const struct config_transport *given =
		&((const struct transport_opts *)edit->opts)->transport;
	const uint64_t values[NR_TRANSPORT_NAMES] = {given->max_queue_depth, given->max_queues,
		given->max_queues, given->in_capsule_data_size, given->max_io_size};
	json_t *params = xrpc_request_params(edit->req), *wanted, *merged = NULL;
	struct config_transport defaults;
	int rc = 0;

	wanted = now != NULL ? xbdev_config_copy(now) : json_object();
	for (size_t i = 0; i < NR_TRANSPORT_NAMES; i++) {
		if (json_object_get(params, transport_names[i].param) != NULL) {
			rc |= json_object_set_new(wanted, transport_names[i].key,
				json_integer((json_int_t)values[i]));
		}
	}
	config_transport_default(&defaults);
	if (rc == 0) {
		merged = xbdev_config_canonical_params(config_transport_params, &defaults, wanted);
	}
	json_decref(wanted);
	return merged;
}

/* The options of a target are fixed while it has subsystems. */
static int check_fixed(const struct rpc_edit *edit, const json_t *model, const json_t *now,
	const json_t *wanted, struct xu_error *err)
{
	json_t *params = xrpc_request_params(edit->req);

	for (size_t i = 0; i < NR_TRANSPORT_NAMES; i++) {
		const char *key = transport_names[i].key, *param = transport_names[i].param;

		if (json_object_get(params, param) != NULL &&
			!model_equal(json_object_get(now, key), json_object_get(wanted, key)) &&
			json_object_size(model_subsystems(model)) != 0) {
			return xu_error_set(err, -EBUSY,
				"%s: it cannot be changed while there are subsystems; set "
				"nvmf.transport.%s in the configuration file and restart",
				param, key);
		}
	}
	return 0;
}

static int edit_transport(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	json_t *nvmf = json_object_get(model, "nvmf");
	json_t *now = json_object_get(nvmf, "transport"), *wanted = merge_transport(edit, now);
	struct config_transport parsed;
	struct check c = {.err = err};
	int rc = wanted == NULL ? rpc_no_memory(err)
				: rpc_name_culprit(&c, check_transport(&c, "", wanted, &parsed));

	if (rc == 0) {
		rc = check_fixed(edit, model, now, wanted, err);
	}
	if (rc == 0 && json_object_set(nvmf, "transport", wanted) != 0) {
		rc = rpc_no_memory(err);
	}
	json_decref(wanted);
	return rc;
}

static void create_transport(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	rpc_edit_start(arg, req, opts_ptr, edit_transport);
}

static void get_transports(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	struct node *node = arg;
	const struct xnvmf_target_opts *t = xnvmf_target_get_opts(node->target);

	(void)opts_ptr;
	xrpc_result(req,
		json_pack("[{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I}]", "trtype", "TCP",
			"max_queue_depth", (json_int_t)t->max_queue_depth,
			"max_io_qpairs_per_ctrlr", (json_int_t)t->max_queues,
			"in_capsule_data_size", (json_int_t)t->in_capsule_data_size, "max_io_size",
			(json_int_t)t->max_io_size, "max_h2c_data", (json_int_t)t->max_h2c_data,
			"dif_insert_or_strip", 0, "max_connections", (json_int_t)t->max_connections,
			"connect_timeout_ms", (json_int_t)t->connect_timeout_ms));
}

static const struct xu_param get_transports_params[] = {
	{"trtype", XU_PARAM_ENUM, offsetof(struct transport_opts, trtype), .choices = trtypes,
		.help = "\"TCP\", the only one"},
	RPC_PARAM_TGT(struct transport_opts),
	{0},
};

const struct xrpc_method transport_methods[] = {
	{"nvmf_create_transport", "Sets the options of the TCP transport, which is always there.",
		transport_params, sizeof(struct transport_opts), .fn = create_transport},
	{"nvmf_get_transports", "Lists the transports with their options.", get_transports_params,
		sizeof(struct transport_opts), .fn = get_transports},
	{0},
};

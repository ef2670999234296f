/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver `nvmf`: parameters, making the device when the controller is LIVE for the first time,
 * and its removal. Removal is the graph's: the device is kept by a descriptor of our own until the
 * queues are gone, so the last opener's close does not have to wait and nothing blocks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/host/host.h"
#include "lib/xnvmf/host/private.h"

#define KATO_DEFAULT_MS  5000u
#define DELAY_DEFAULT_MS 100u
#define DELAY_MAX_MS     10000u
#define LOSS_DEFAULT_S   600
#define IO_TIMEOUT_MS    30000u
#define SECONDS_MAX      (100u * 365 * 86400)

static struct host_ctrl *ctrl_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct host_ctrl, dev);
}

/* ---- the device ---- */

static int host_channel_open(struct xbdev_channel *ch)
{
	struct host_ctrl *ctrl = ctrl_of(ch->dev);
	struct host_slot *slot = &ctrl->slots[xr_reactor_index(ch->reactor)];

	*(struct host_slot **)ch->driver = slot;
	host_slot_want(slot);
	return 0;
}

static void host_destroy(struct xbdev_device *dev)
{
	struct host_ctrl *ctrl = ctrl_of(dev);

	ctrl->is_in_graph = false;
	if (!ctrl->has_failed) {
		host_ctrl_free(ctrl);
	} else if (ctrl->state == HOST_CTRL_DEAD) {
		host_driver_failed(ctrl);
	}
}

static json_t *host_config(const struct xbdev_device *dev)
{
	const struct host_ctrl *ctrl = ctrl_of(dev);
	json_t *config = xbdev__config_common(dev);
	struct xu_uuid hostid;
	char text[XU_UUID_TEXT_SIZE];

	memcpy(hostid.bytes, ctrl->peer.hostid, sizeof(hostid.bytes));
	xu_uuid_format(&hostid, text);
	json_object_set_new(config, "traddr", json_string(ctrl->peer.address));
	json_object_set_new(config, "port", json_integer(ctrl->port));
	json_object_set_new(config, "subnqn", json_string(ctrl->peer.subnqn));
	json_object_set_new(config, "hostnqn", json_string(ctrl->peer.hostnqn));
	json_object_set_new(config, "hostid", json_string(text));
	json_object_set_new(config, "nsid", json_integer(ctrl->info.nsid));
	json_object_set_new(config, "hdr_digest", json_boolean(ctrl->peer.wants_hdgst));
	json_object_set_new(config, "data_digest", json_boolean(ctrl->peer.wants_ddgst));
	json_object_set_new(config, "nr_io_queues", json_integer(ctrl->nr_io_queues));
	json_object_set_new(config, "queue_size", json_integer(ctrl->queue_size));
	json_object_set_new(config, "keep_alive_timeout_ms", json_integer(ctrl->kato_ms));
	json_object_set_new(config, "reconnect_delay_ms",
		json_integer((json_int_t)(ctrl->delay_min_ns / XU_NS_PER_MS)));
	json_object_set_new(config, "reconnect_delay_max_ms",
		json_integer((json_int_t)(ctrl->delay_max_ns / XU_NS_PER_MS)));
	json_object_set_new(config, "ctrl_loss_timeout_s", json_integer(ctrl->loss_s));
	json_object_set_new(config, "fast_io_fail_timeout_s",
		json_integer((json_int_t)(ctrl->fast_fail_ns / XU_NS_PER_S)));
	json_object_set_new(config, "io_timeout_ms",
		json_integer((json_int_t)(ctrl->io_timeout_ns / XU_NS_PER_MS)));
	if (ctrl->quiesce_ms >= 0) {
		json_object_set_new(config, "quiesce_ms", json_integer(ctrl->quiesce_ms));
	}
	return config;
}

static json_t *slots_info(const struct host_ctrl *ctrl)
{
	static const char *const phases[] = {
		[HOST_PHASE_NONE] = "none",
		[HOST_PHASE_STARTING] = "starting",
		[HOST_PHASE_LIVE] = "live",
		[HOST_PHASE_FORWARD] = "forward",
		[HOST_PHASE_STOPPING] = "stopping",
	};
	json_t *slots = json_array();

	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		const struct host_slot *slot = &ctrl->slots[i];
		const struct host_slot_stats *stats = &slot->stats;
		json_t *item;

		if (!slot->is_known) {
			continue;
		}
		item = json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I}", "reactor", (int)i, "state",
			phases[slot->phase], "retries", (json_int_t)atomic_load(&stats->nr_retries),
			"losses", (json_int_t)atomic_load(&stats->nr_losses), "doubts",
			(json_int_t)atomic_load(&stats->nr_doubts), "overdue",
			(json_int_t)atomic_load(&stats->nr_overdue), "forwarded",
			(json_int_t)atomic_load(&stats->nr_forwards));
		if (slot->phase == HOST_PHASE_FORWARD) {
			json_object_set_new(
				item, "by_reactor", json_integer(slot->start_via->index));
		} else if (slot->phase != HOST_PHASE_NONE) {
			json_object_set_new(item, "qid", json_integer(slot->start_opts.qid));
		}
		json_array_append_new(slots, item);
	}
	return slots;
}

static json_t *host_info(const struct xbdev_device *dev)
{
	const struct host_ctrl *ctrl = ctrl_of(dev);
	const struct host_info *info = &ctrl->info;

	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:s, s:s, s:s, s:i, s:i, s:I, s:o}",
		"state", host_ctrl_state_name(ctrl->state), "error", ctrl->err.text, "traddr",
		ctrl->peer.address, "port", (int)ctrl->port, "cntlid", (int)info->cntlid, "nsid",
		(int)info->nsid, "model", info->model, "serial", info->serial, "firmware",
		info->firmware, "queues_granted", (int)info->nr_queues, "in_capsule_data_size",
		(int)info->icd_bytes, "resets", (json_int_t)ctrl->nr_resets, "queues",
		slots_info(ctrl));
}

static const struct xbdev_device_ops host_ops = {
	.channel_bytes = sizeof(struct host_slot *),
	.channel_open = host_channel_open,
	.channel_abort = host_io_abort,
	.cancel = host_io_cancel,
	.submit = host_io_submit,
	.destroy = host_destroy,
	.config = host_config,
	.info = host_info,
};

/* ---- coming and going ---- */

static void on_device_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	(void)desc;
	if (event == XBDEV_EVENT_REMOVE) {
		host_ctrl_delete(arg);
	}
}

static void fill_device(struct host_ctrl *ctrl)
{
	struct xbdev_device *dev = &ctrl->dev;
	const struct host_info *info = &ctrl->info;
	uint32_t entries =
		ctrl->queue_size < info->max_entries ? ctrl->queue_size : info->max_entries;

	dev->driver = "nvmf";
	dev->product = "NVMe/TCP namespace";
	dev->ops = &host_ops;
	if (xu_uuid_is_null(&dev->uuid)) {
		dev->uuid = info->uuid;
	}
	dev->limits = (struct xbdev_limits){
		.block_size = info->block_size,
		.buf_align = 1,
		.max_transfer = info->max_transfer,
		.max_iov = HOST_MAX_IOV,
		.max_zeroes = HOST_MAX_RANGE,
		.optimal_io = info->optimal_io,
		.discard_granularity = info->discard_granularity,
		.queue_depth = entries > 2 ? entries - 1 : 1,
	};
	atomic_store(&dev->nr_blocks, info->nr_blocks);
	dev->ops_mask = (1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) | (1u << XBDEV_OP_FLUSH);
	if (info->oncs & NVME_ONCS_COMPARE) {
		dev->ops_mask |= 1u << XBDEV_OP_COMPARE;
	}
	if (info->oncs & NVME_ONCS_WRITE_ZEROES) {
		dev->ops_mask |= 1u << XBDEV_OP_WRITE_ZEROES;
		dev->ops_mask |= info->has_deac ? 1u << XBDEV_OP_DISCARD : 0;
	}
	dev->has_fua = true;
	dev->has_write_cache = info->has_vwc;
	dev->is_read_only = info->is_read_only;
	dev->is_multi_reactor = true;
	dev->is_remote = true;
	dev->numa_node = -1;
}

void host_driver_ready(struct host_ctrl *ctrl)
{
	const struct xu_error none = {0};
	struct xu_error err = {0};

	fill_device(ctrl);
	if (xbdev_device_register(ctrl->ctx, &ctrl->dev, &err) != 0) {
		ctrl->err = err;
		host_ctrl_delete(ctrl); /* ends in host_driver_failed() */
		return;
	}
	ctrl->is_registered = true;
	ctrl->is_in_graph = true;
	if (xbdev_desc_open(ctrl->ctx, ctrl->dev.name, false, on_device_event, ctrl, &ctrl->keeper,
		    &err) != 0) {
		/* No memory for a descriptor. */
		ctrl->err = err;
		ctrl->has_failed = true;
		xbdev_device_remove(&ctrl->dev, NULL, NULL);
		host_ctrl_delete(ctrl);
		return;
	}
	ctrl->created(ctrl->created_arg, &ctrl->dev, &none);
}

void host_driver_failed(struct host_ctrl *ctrl)
{
	xbdev_created_fn created = ctrl->created;
	void *arg = ctrl->created_arg;
	struct xu_error err = ctrl->err;

	host_ctrl_free(ctrl);
	created(arg, NULL, &err);
}

void host_driver_remove(struct host_ctrl *ctrl, const char *why)
{
	if (xbdev_device_remove(&ctrl->dev, NULL, NULL) == 0) {
		xu_err(ctrl->log, "device %s is removed: %s", ctrl->dev.name, why);
	}
}

/* ---- making one ---- */

/* A number of seconds or milliseconds, or -1, which stands for another meaning. */
static int parse_signed(
	const char *name, json_t *value, int64_t max, int64_t *ret_number, struct xu_error *err)
{
	if (value == NULL) {
		return 0;
	}
	if (!json_is_integer(value) || json_integer_value(value) < -1 ||
		json_integer_value(value) > max) {
		return xu_error_set(err, -EINVAL, "%s takes a whole number from -1 to %lld", name,
			(long long)max);
	}
	*ret_number = json_integer_value(value);
	return 0;
}

static int parse_port(const struct host_opts *opts, uint16_t *ret_port, struct xu_error *err)
{
	char *end;
	unsigned long port;

	*ret_port = (uint16_t)opts->port;
	if (opts->trsvcid == NULL) {
		return 0;
	}
	port = strtoul(opts->trsvcid, &end, 10);
	if (*end != '\0' || port == 0 || port > UINT16_MAX) {
		return xu_error_set(
			err, -EINVAL, "trsvcid '%s' is not a port from 1 to 65535", opts->trsvcid);
	}
	*ret_port = (uint16_t)port;
	return 0;
}

static int check_opts(struct host_ctrl *ctrl, const struct host_opts *opts, struct xu_error *err)
{
	int rc = parse_port(opts, &ctrl->port, err);

	if (rc == 0 && (opts->traddr == NULL || opts->subnqn == NULL)) {
		rc = xu_error_set(err, -EINVAL, "'%s' is missing: %s",
			opts->traddr == NULL ? "traddr" : "subnqn",
			opts->traddr == NULL ? "numeric address of the target"
					     : "NQN of the subsystem");
	}
	if (rc == 0) {
		rc = parse_signed("ctrl_loss_timeout_s", opts->ctrl_loss_timeout_s, SECONDS_MAX,
			&ctrl->loss_s, err);
	}
	if (rc == 0) {
		rc = parse_signed("quiesce_ms", opts->quiesce_ms, 86400000, &ctrl->quiesce_ms, err);
	}
	if (rc == 0 && ctrl->loss_s > 0 && opts->fast_io_fail_timeout_s > ctrl->loss_s) {
		rc = xu_error_set(err, -EINVAL,
			"fast_io_fail_timeout_s %u is longer than ctrl_loss_timeout_s %lld",
			opts->fast_io_fail_timeout_s, (long long)ctrl->loss_s);
	}
	return rc != 0 ? rc
		       : host_peer_set(&ctrl->peer, opts->traddr, ctrl->port, opts->subnqn, err);
}

static void take_opts(struct host_ctrl *ctrl, const struct host_opts *opts)
{
	uint32_t nr_reactors = xbdev_ctx_nr_reactors(ctrl->ctx);
	uint64_t delay_ms = opts->reconnect_delay_s != 0 ? opts->reconnect_delay_s * 1000ull
							 : opts->reconnect_delay_ms;

	ctrl->peer.wants_hdgst = opts->hdr_digest;
	ctrl->peer.wants_ddgst = opts->data_digest;
	ctrl->nsid_wanted = opts->nsid;
	ctrl->nr_io_queues = opts->nr_io_queues != 0 && opts->nr_io_queues < nr_reactors
				     ? opts->nr_io_queues
				     : nr_reactors;
	ctrl->queue_size = opts->queue_size;
	ctrl->kato_ms = opts->keep_alive_timeout_ms;
	ctrl->delay_min_ns = delay_ms * XU_NS_PER_MS;
	ctrl->delay_max_ns = opts->reconnect_delay_max_ms * XU_NS_PER_MS;
	if (ctrl->delay_max_ns < ctrl->delay_min_ns) {
		ctrl->delay_max_ns = ctrl->delay_min_ns;
	}
	ctrl->fast_fail_ns = opts->fast_io_fail_timeout_s * XU_NS_PER_S;
	ctrl->io_timeout_ns = opts->io_timeout_ms * XU_NS_PER_MS;
	ctrl->dev.uuid = opts->uuid;
	xbdev__set_name(&ctrl->dev, opts->name);
}

static void identity_work(struct xr_work *work)
{
	struct host_ctrl *ctrl = xu_container_of(work, struct host_ctrl, work);
	const char *hostnqn = ctrl->hostnqn[0] != '\0' ? ctrl->hostnqn : NULL;
	const char *hostid = ctrl->hostid[0] != '\0' ? ctrl->hostid : NULL;

	host_identity_find(xbdev_ctx_platform(ctrl->ctx), hostnqn, hostid, &ctrl->peer, &ctrl->err);
}

static void identity_done(struct xr_work *work)
{
	struct host_ctrl *ctrl = xu_container_of(work, struct host_ctrl, work);

	if (ctrl->err.code != 0) {
		host_driver_failed(ctrl);
		return;
	}
	host_ctrl_start(ctrl);
}

static struct host_ctrl *ctrl_new(struct xbdev_ctx *ctx)
{
	struct host_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	size_t slot_bytes = xbdev_ctx_nr_reactors(ctx) * sizeof(*ctrl->slots);

	if (ctrl == NULL) {
		return NULL;
	}
	ctrl->slots = aligned_alloc(XU_CACHE_LINE, slot_bytes);
	ctrl->page = malloc(NVME_IDENTIFY_BYTES);
	if (ctrl->slots == NULL || ctrl->page == NULL) {
		free(ctrl->slots);
		free(ctrl->page);
		free(ctrl);
		return NULL;
	}
	memset(ctrl->slots, 0, slot_bytes);
	ctrl->nr_slots = xbdev_ctx_nr_reactors(ctx);
	ctrl->ctx = ctx;
	ctrl->log = xbdev_ctx_log(ctx);
	ctrl->reactor = xbdev_ctx_control(ctx);
	ctrl->loss_s = LOSS_DEFAULT_S;
	ctrl->quiesce_ms = -1;
	return ctrl;
}

static void host_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct host_opts *opts = opts_ptr;
	struct host_ctrl *ctrl = ctrl_new(ctx);
	struct xu_error err = {0};

	if (ctrl == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making nvmf device '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	ctrl->created = done;
	ctrl->created_arg = arg;
	if (check_opts(ctrl, opts, &ctrl->err) != 0) {
		host_driver_failed(ctrl);
		return;
	}
	take_opts(ctrl, opts);
	if (opts->hostnqn != NULL) {
		snprintf(ctrl->hostnqn, sizeof(ctrl->hostnqn), "%s", opts->hostnqn);
	}
	if (opts->hostid != NULL) {
		snprintf(ctrl->hostid, sizeof(ctrl->hostid), "%s", opts->hostid);
	}
	ctrl->work.work = identity_work;
	ctrl->work.done = identity_done;
	xr_work_submit(ctrl->reactor, &ctrl->work);
}

static const char *const transports[] = {"tcp", NULL};
static const char *const families[] = {"ipv4", "ipv6", NULL};
static const char *const multipaths[] = {"disable", NULL};

#define AT(member) offsetof(struct host_opts, member)

static const struct xu_param host_params[] = {
	{"name", XU_PARAM_STRING, AT(name), .is_required = true, .help = "name of the device"},
	{"traddr", XU_PARAM_STRING, AT(traddr), .help = "numeric address of the target"},
	{"addr", XU_PARAM_STRING, AT(traddr), .help = "the same as traddr"},
	{"trsvcid", XU_PARAM_STRING, AT(trsvcid), .help = "port of the target, as text"},
	{"port", XU_PARAM_U32, AT(port), .min = 1, .max = 65535,
		.help = "port of the target (default 4420)"},
	{"subnqn", XU_PARAM_STRING, AT(subnqn), .help = "NQN of the subsystem"},
	{"nqn", XU_PARAM_STRING, AT(subnqn), .help = "the same as subnqn"},
	{"hostnqn", XU_PARAM_STRING, AT(hostnqn),
		.help = "our own NQN (default: /etc/nvme/hostnqn, else from the machine's "
			"identity)"},
	{"hostid", XU_PARAM_STRING, AT(hostid),
		.help = "our own identifier, a UUID (default: belongs to hostnqn)"},
	{"nsid", XU_PARAM_U32, AT(nsid), .max = UINT32_MAX - 1,
		.help = "which namespace (default: the first)"},
	{"hdr_digest", XU_PARAM_BOOL, AT(hdr_digest),
		.help = "CRC32C over headers (default false)"},
	{"hdgst", XU_PARAM_BOOL, AT(hdr_digest), .help = "the same as hdr_digest"},
	{"data_digest", XU_PARAM_BOOL, AT(data_digest), .help = "CRC32C over data (default false)"},
	{"ddgst", XU_PARAM_BOOL, AT(data_digest), .help = "the same as data_digest"},
	{"nr_io_queues", XU_PARAM_U32, AT(nr_io_queues), .max = XBDEV_MAX_REACTORS,
		.help = "I/O queues at most (default: one for each reactor that uses the device)"},
	{"queue_size", XU_PARAM_U32, AT(queue_size), .min = 2, .max = HOST_MAX_ENTRIES,
		.help = "entries of a queue (default 128, or what the target takes)"},
	{"keep_alive_timeout_ms", XU_PARAM_U32, AT(keep_alive_timeout_ms), .min = 1000,
		.max = 3600000,
		.help = "after so long without a sign of life it is lost (default 5000)"},
	{"reconnect_delay_ms", XU_PARAM_U32, AT(reconnect_delay_ms), .min = 1, .max = 3600000,
		.help = "before connecting again, doubling each time (default 100)"},
	{"reconnect_delay_sec", XU_PARAM_U32, AT(reconnect_delay_s), .max = 3600,
		.help = "the same in seconds"},
	{"reconnect_delay_max_ms", XU_PARAM_U32, AT(reconnect_delay_max_ms), .min = 1,
		.max = 3600000, .help = "the longest delay (default 10000)"},
	{"ctrl_loss_timeout_s", XU_PARAM_JSON, AT(ctrl_loss_timeout_s),
		.help = "seconds until a lost device is removed, -1: never (default 600)"},
	{"ctrlr_loss_timeout_sec", XU_PARAM_JSON, AT(ctrl_loss_timeout_s),
		.help = "the same as ctrl_loss_timeout_s"},
	{"fast_io_fail_timeout_s", XU_PARAM_U32, AT(fast_io_fail_timeout_s), .max = SECONDS_MAX,
		.help = "seconds until the I/O of a lost device fails, 0: it waits (default 0)"},
	{"fast_io_fail_timeout_sec", XU_PARAM_U32, AT(fast_io_fail_timeout_s), .max = SECONDS_MAX,
		.help = "the same as fast_io_fail_timeout_s"},
	{"io_timeout_ms", XU_PARAM_U32, AT(io_timeout_ms), .min = 100, .max = 3600000,
		.help = "for one command; then it is aborted, then the connection (default 30000)"},
	{"quiesce_ms", XU_PARAM_JSON, AT(quiesce_ms),
		.help = "how long a lost write may still be carried out, -1: from the target's "
			"limits "
			"(default -1)"},
	{"trtype", XU_PARAM_ENUM, AT(trtype), .choices = transports, .help = "only tcp"},
	{"adrfam", XU_PARAM_ENUM, AT(adrfam), .choices = families,
		.help = "ipv4 or ipv6; the address itself says it"},
	{"multipath", XU_PARAM_ENUM, AT(multipath), .choices = multipaths, .help = "only disable"},
	{"uuid", XU_PARAM_UUID, AT(uuid), .help = "identity (default: the namespace's)"},
	{0},
};

static const struct host_opts host_defaults = {
	.port = 4420,
	.queue_size = 128,
	.keep_alive_timeout_ms = KATO_DEFAULT_MS,
	.reconnect_delay_ms = DELAY_DEFAULT_MS,
	.reconnect_delay_max_ms = DELAY_MAX_MS,
	.io_timeout_ms = IO_TIMEOUT_MS,
};

const struct xbdev_driver xnvmf_host_driver = {
	.name = "nvmf",
	.alias = "nvmf_tcp",
	.help = "a namespace of an NVMe/TCP target",
	.params = host_params,
	.opts_bytes = sizeof(struct host_opts),
	.defaults = &host_defaults,
	.create = host_create,
};

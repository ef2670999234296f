/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores that are found by themselves. Each device that appears is looked at once:
 *
 *   appears ─▶ 4096 bytes are read ─▶ no super block: that was all
 *                                  ─▶ one: is it a member of an array? ─▶ attached, or refused
 *                                          volumes of the new store are looked at in their turn
 *
 * Not looked at: devices that have been claimed, remote ones unless somebody asks, volumes that are
 * made later (they are blank, or copies of what is attached), and those that somebody may have
 * written to meanwhile. A volume that its store had when it was attached, but that could be no
 * device before what it stands on outside of it appeared, is looked at then. So is one that went
 * with a store on it, and comes back. A look has the device open for
 * reading only, so it keeps nobody from it; one that goes meanwhile ends its look. A store that
 * cannot be attached is kept with the reason until its device goes.
 *
 * While somebody holds the search, because he makes devices that stand on each other and the lowest
 * is not the one that has the store, devices wait in the line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/lvol/ondisk.h"
#include "lib/xbdev/lvol/stores_private.h"

#define MAX_LOOKS 16u /* at a time */
#define END_BYTES (128u << 10)
/* How long a look is waited for; it goes on behind that. */
#define READ_WAIT_NS   (5 * XU_NS_PER_S)
#define SLOW_WAIT_NS   (100 * XU_NS_PER_MS) /* a device that is slow on purpose */
#define ATTACH_WAIT_NS (60 * XU_NS_PER_S)
#define TICK_NS        (50 * XU_NS_PER_MS)

struct look {
	struct xu_list link;
	struct xbdev_lvol_stores *stores;
	char device[XBDEV_NAME_SIZE];
	bool is_begun, is_attaching, is_asked;
	bool is_late;        /* at a volume whose store has been attached before */
	uint64_t since_ns;   /* when it began, or has been waiting to */
	struct look *parent; /* on whose store the device is a volume */
	uint32_t nr_pending; /* itself and the looks at its volumes */
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
	struct xbdev_io io;
	struct iovec iov;
	struct xr_msg msg;
	struct xu_error err;
	xbdev_lvol_done_fn done; /* of who has asked; NULL: nobody */
	void *arg;
};

struct wait {
	struct xu_list link;
	struct xbdev_lvol_stores *stores;
	struct xr_timer timer;
	char device[XBDEV_NAME_SIZE]; /* "": all */
	struct xr_reactor *reactor;
	void (*done)(void *arg);
	void *arg;
};

/* ---- those that were refused ---- */

void xbdev__lvol_forget_refused(struct xbdev_ctx *ctx, const char *device)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);
	struct xu_list *node, *next;

	if (stores == NULL) {
		return;
	}
	xu_list_for_each_safe (node, next, &stores->refused) {
		struct xbdev_lvol_refused *refused =
			xu_list_entry(node, struct xbdev_lvol_refused, link);

		if (strcmp(refused->device, device) == 0) {
			xu_list_del(node);
			free(refused);
		}
	}
}

static void refuse(const struct look *look, const struct xu_error *err)
{
	struct xbdev_lvol_refused *refused = calloc(1, sizeof(*refused));

	xbdev__lvol_forget_refused(look->stores->ctx, look->device);
	xu_warn(xbdev_ctx_log(look->stores->ctx),
		"the store of logical volumes on %s is not attached: %s", look->device, err->text);
	if (refused != NULL) {
		snprintf(refused->device, sizeof(refused->device), "%s", look->device);
		refused->why = *err;
		xu_list_add_tail(&look->stores->refused, &refused->link);
	}
}

const struct xbdev_lvol_refused *xbdev__lvol_refused_next(
	struct xbdev_ctx *ctx, const struct xbdev_lvol_refused *refused)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);
	struct xu_list *node;

	if (stores == NULL) {
		return NULL;
	}
	node = refused == NULL ? stores->refused.next : refused->link.next;
	return node != &stores->refused ? xu_list_entry(node, struct xbdev_lvol_refused, link)
					: NULL;
}

/* ---- waiting ---- */

static uint64_t now_ns(const struct xbdev_lvol_stores *stores)
{
	return xu_clock_now_ns(xbdev_ctx_platform(stores->ctx)->clock);
}

static uint64_t patience_ns(const struct look *look)
{
	bool is_slow = look->desc != NULL && strcmp(look->desc->dev->driver, "delay") == 0;

	return look->desc == NULL ? ATTACH_WAIT_NS : is_slow ? SLOW_WAIT_NS : READ_WAIT_NS;
}

static bool is_awaited(const struct wait *wait, const struct look *look)
{
	if (*wait->device != '\0' && strcmp(wait->device, look->device) != 0 && !look->is_late) {
		return false; /* a late one is there because of the device, perhaps */
	}
	if (!look->is_begun && look->stores->nr_holds > 0) {
		return false;
	}
	return now_ns(look->stores) - look->since_ns < patience_ns(look);
}

static bool is_over(const struct xbdev_lvol_stores *stores, const struct wait *wait)
{
	struct xu_list *node;

	if (stores->is_scan_sent || stores->nr_opening > 0) {
		return false;
	}
	xu_list_for_each (node, &stores->looks) {
		if (is_awaited(wait, xu_list_entry(node, struct look, link))) {
			return false;
		}
	}
	return true;
}

static void end_wait(struct wait *wait)
{
	void (*done)(void *arg) = wait->done;
	void *arg = wait->arg;

	xr_timer_stop(wait->reactor, &wait->timer);
	xu_list_del(&wait->link);
	free(wait);
	done(arg);
}

/* Whoever is told may begin to wait anew, or let devices appear. */
static void tell_waiting(struct xbdev_lvol_stores *stores)
{
	struct xu_list told, *node;

	xu_list_init(&told);
	xu_list_splice_tail(&told, &stores->waits);
	while ((node = xu_list_pop(&told)) != NULL) {
		struct wait *wait = xu_list_entry(node, struct wait, link);

		xu_list_add_tail(&stores->waits, node);
		if (is_over(stores, wait)) {
			end_wait(wait);
		}
	}
}

void xbdev__lvol_find_tell(struct xbdev_lvol_stores *stores)
{
	if (!stores->is_scan_sent && stores->nr_opening == 0) {
		tell_waiting(stores);
	}
}

static void on_wait_timer(struct xr_timer *timer)
{
	struct wait *wait = xu_container_of(timer, struct wait, timer);

	if (is_over(wait->stores, wait)) {
		end_wait(wait);
	} else {
		xr_timer_start(wait->reactor, &wait->timer, TICK_NS);
	}
}

void xbdev__lvol_examined(
	struct xbdev_ctx *ctx, const char *device, void (*done)(void *arg), void *arg)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);
	struct wait *wait = stores != NULL ? calloc(1, sizeof(*wait)) : NULL;

	if (wait == NULL) {
		done(arg);
		return;
	}
	snprintf(wait->device, sizeof(wait->device), "%s", device != NULL ? device : "");
	wait->stores = stores;
	wait->reactor = xbdev_ctx_control(ctx);
	wait->done = done;
	wait->arg = arg;
	if (is_over(stores, wait)) {
		free(wait);
		done(arg);
		return;
	}
	xu_list_add_tail(&stores->waits, &wait->link);
	wait->timer.fn = on_wait_timer;
	xr_timer_start(wait->reactor, &wait->timer, TICK_NS);
}

struct made {
	struct xbdev_ctx *ctx;
	char device[XBDEV_NAME_SIZE];
	xbdev_created_fn done;
	void *arg;
};

static void on_examined(void *arg)
{
	struct made made = *(struct made *)arg;
	struct xbdev_device *dev = xbdev_device_find(made.ctx, made.device);
	struct xu_error err = {0};

	free(arg);
	if (dev == NULL) {
		xu_error_set(&err, -ENODEV, "device '%s' has been removed meanwhile", made.device);
	}
	made.done(made.arg, dev, &err);
}

void xbdev__lvol_made(struct xbdev_ctx *ctx, struct xbdev_device *dev, const struct xu_error *err,
	xbdev_created_fn done, void *arg)
{
	struct made *made = dev != NULL ? malloc(sizeof(*made)) : NULL;

	if (made == NULL) {
		done(arg, dev, err);
		return;
	}
	*made = (struct made){.ctx = ctx, .done = done, .arg = arg};
	snprintf(made->device, sizeof(made->device), "%s", dev->name);
	xbdev__lvol_examined(ctx, dev->name, on_examined, made);
}

/* ---- the end of a look ---- */

static void start_next(struct xbdev_lvol_stores *stores);

/* It, or a look at one of its volumes, has ended. */
static void put(struct look *look)
{
	while (look != NULL && --look->nr_pending == 0) {
		struct look *parent = look->parent;

		xu_list_del(&look->link);
		if (look->done != NULL) {
			look->done(look->arg, &look->err);
		}
		free(look);
		look = parent;
	}
}

static void end(struct look *look)
{
	struct xbdev_lvol_stores *stores = look->stores;

	stores->nr_running--;
	put(look);
	start_next(stores);
	tell_waiting(stores);
}

/* Gives back what it has of the device. */
static void let_go(struct look *look)
{
	if (look->ch != NULL) {
		xbdev_channel_put(look->ch);
		look->ch = NULL;
	}
	if (look->desc != NULL) {
		xbdev_desc_close(look->desc);
		look->desc = NULL;
	}
	xu_buf_free(look->buf, END_BYTES);
	look->buf = NULL;
}

/* There is no store, or nobody knows. */
static void end_with(struct look *look, int code, const char *text)
{
	if (look->err.code == 0) {
		xu_error_set(&look->err, code, "'%s': %s", look->device, text);
	}
	let_go(look);
	end(look);
}

/* Those that wait for what they stand on outside are looked at when it is there. */
static void mark_waiting(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		volume->may_have_store = volume->is_waiting;
	}
}

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct look *look = arg;

	look->is_attaching = false;
	if (store == NULL) {
		look->err = *err;
		refuse(look, err);
	} else {
		xbdev__lvol_forget_refused(look->stores->ctx, look->device);
		mark_waiting(store);
		xu_info(xbdev_ctx_log(look->stores->ctx), "store %s: attached, on %s", store->name,
			look->device);
	}
	end(look);
}

/* ---- reading ---- */

static int read_bytes(struct look *look, uint64_t offset, uint64_t len,
	void (*cb)(struct xbdev_io *io, int status))
{
	look->iov = (struct iovec){look->buf, len};
	look->io = (struct xbdev_io){
		.ch = look->ch,
		.cb = cb,
		.iov = &look->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.offset = offset,
		.len = len,
	};
	return xbdev_io_submit(&look->io);
}

/* The superblocks of MD that lie at the end, where the members' data begins at their first byte. */
static bool is_member(const struct look *look, uint64_t size)
{
	static const uint8_t magic[4] = {0xfc, 0x4e, 0x2b, 0xa9};
	uint64_t first = size - look->io.len, sectors = size / 512;
	uint64_t places[2] = {
		((sectors - 16) & ~UINT64_C(7)) * 512,    /* version 1.0 */
		((sectors & ~UINT64_C(127)) - 128) * 512, /* 0.90 */
	};

	for (size_t i = 0; i < 2; i++) {
		if (places[i] >= first &&
			memcmp(look->buf + (places[i] - first), magic, sizeof(magic)) == 0) {
			return true;
		}
	}
	return false;
}

static void on_end_read(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);
	uint64_t size = xbdev_device_size_bytes(look->desc->dev);

	if (status != 0) {
		xu_error_set_errno(&look->err, status, "reading '%s'", look->device);
		refuse(look, &look->err);
		end_with(look, status, "");
	} else if (is_member(look, size)) {
		xu_error_set(&look->err, -EBUSY,
			"'%s' is a member of a RAID array with its superblock at the end; the "
			"store "
			"is the array's: assemble that",
			look->device);
		refuse(look, &look->err);
		end_with(look, -EBUSY, "");
	} else {
		let_go(look);
		look->is_attaching = true;
		xbdev__lvol_attach(look->stores->ctx, look->device, false, on_attached, look);
	}
}

static void on_super_read(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);
	const struct bs_super *super = (const void *)look->buf;
	uint64_t size = xbdev_device_size_bytes(look->desc->dev);
	int rc;

	if (status != 0) {
		xu_error_set_errno(&look->err, status, "reading '%s'", look->device);
		end_with(look, status, "");
		return;
	}
	if (memcmp(super->signature, BS_SIGNATURE, sizeof(super->signature)) != 0) {
		end_with(look, -ENOENT, "there is no store of logical volumes on it");
		return;
	}
	rc = read_bytes(look, size - END_BYTES, END_BYTES, on_end_read);
	if (rc != 0) {
		end_with(look, rc, "it cannot be read");
	}
}

/* ---- the beginning ---- */

static int open_device(struct look *look)
{
	struct xbdev_ctx *ctx = look->stores->ctx;
	int rc = xbdev_desc_open(ctx, look->device, false, NULL, NULL, &look->desc, &look->err);

	if (rc != 0) {
		return rc;
	}
	if (look->desc->dev->claim != NULL) {
		return xu_error_set(&look->err, -EBUSY, "'%s' is in use by %s", look->device,
			look->desc->dev->claim_by);
	}
	if (xbdev_device_size_bytes(look->desc->dev) < XBDEV_LVS_DEV_MIN) {
		return xu_error_set(&look->err, -ENOENT,
			"'%s' is too small for a store of logical volumes", look->device);
	}
	look->buf = xu_buf_alloc(END_BYTES);
	if (look->buf == NULL) {
		return xu_error_set_errno(&look->err, -ENOMEM, "looking at '%s'", look->device);
	}
	rc = xbdev_channel_get(look->desc, xbdev_ctx_control(ctx), &look->ch);
	if (rc == 0) {
		look->ch->is_uncounted = true;
		rc = read_bytes(look, 0, XBDEV_LVS_PAGE_BYTES, on_super_read);
	}
	return rc == 0 ? 0 : xu_error_set_errno(&look->err, rc, "reading '%s'", look->device);
}

static void on_begin(struct xr_msg *msg)
{
	struct look *look = xu_container_of(msg, struct look, msg);

	if (open_device(look) != 0) {
		end_with(look, look->err.code, "");
	}
}

/* Begins what there is room for. Whoever makes a device is not done with it yet: later. */
static void start_next(struct xbdev_lvol_stores *stores)
{
	struct xu_list *node;

	xu_list_for_each (node, &stores->looks) {
		struct look *look = xu_list_entry(node, struct look, link);

		if (stores->nr_running == MAX_LOOKS) {
			break;
		}
		if (!look->is_begun && (stores->nr_holds == 0 || look->is_asked)) {
			look->is_begun = true;
			look->since_ns = now_ns(stores);
			stores->nr_running++;
			look->msg.fn = on_begin;
			xr_msg_defer(xbdev_ctx_control(stores->ctx), &look->msg);
		}
	}
}

static struct look *look_new(struct xbdev_lvol_stores *stores, const char *device)
{
	struct look *look = calloc(1, sizeof(*look));

	if (look != NULL) {
		look->stores = stores;
		look->nr_pending = 1;
		look->since_ns = now_ns(stores);
		snprintf(look->device, sizeof(look->device), "%s", device);
		xu_list_add_tail(&stores->looks, &look->link);
	}
	return look;
}

void xbdev__lvol_examine(
	struct xbdev_ctx *ctx, const char *device, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);
	const struct xbdev_device *dev = xbdev_device_find(ctx, device);
	struct look *look =
		stores != NULL ? look_new(stores, dev != NULL ? dev->name : device) : NULL;
	struct xu_error err;

	if (look == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "looking at '%s'", device);
		done(arg, &err);
		return;
	}
	look->done = done;
	look->arg = arg;
	look->is_asked = true;
	start_next(stores);
}

void xbdev__lvol_hold(struct xbdev_ctx *ctx)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);

	if (stores != NULL) {
		stores->nr_holds++;
	}
}

void xbdev__lvol_release(struct xbdev_ctx *ctx)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);

	if (stores != NULL && stores->nr_holds > 0 && --stores->nr_holds == 0) {
		start_next(stores);
	}
}

/* ---- devices that appear ---- */

/* Of a volume: the look that attaches its store at this moment; NULL: there is none. */
static struct look *attaching(
	const struct xbdev_lvol_stores *stores, const struct xbdev_lvol *volume)
{
	const char *base = volume->store->desc->dev->name;
	struct xu_list *node;

	xu_list_for_each (node, &stores->looks) {
		struct look *look = xu_list_entry(node, struct look, link);

		if (look->is_attaching && strcmp(look->device, base) == 0) {
			return look;
		}
	}
	return NULL;
}

/* Whether a volume is looked at: within the look that attaches its store, or later, once, when it
 * could not be a device then. */
static bool is_candidate(struct xbdev_lvol *volume, const struct look *parent)
{
	const struct xbdev_device *below = xbdev__lvol_esnap_device(volume);
	bool may_have_store = volume->may_have_store;

	volume->may_have_store = false;
	return (parent != NULL || may_have_store) && !volume->dev.is_read_only &&
	       (below == NULL || !below->is_remote);
}

static void on_added(struct xbdev_lvol_stores *stores, const struct xbdev_device *dev)
{
	bool is_volume = strcmp(dev->driver, "lvol") == 0;
	struct look *parent = is_volume ? attaching(stores, xbdev__lvol_of(dev)) : NULL;
	struct look *look;

	if (dev->is_remote || (is_volume && !is_candidate(xbdev__lvol_of(dev), parent))) {
		return;
	}
	look = look_new(stores, dev->name);
	if (look == NULL) {
		return; /* it can be asked for */
	}
	look->parent = parent;
	look->is_late = is_volume && parent == NULL;
	if (parent != NULL) {
		parent->nr_pending++;
	}
	start_next(stores);
}

static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	struct xbdev_lvol_stores *stores =
		xu_container_of(listener, struct xbdev_lvol_stores, listener);

	if (event == XBDEV_GRAPH_ADDED) {
		on_added(stores, dev);
	} else if (event == XBDEV_GRAPH_REMOVED) {
		xbdev__lvol_forget_refused(stores->ctx, dev->name);
	}
}

/* ---- life ---- */

void xbdev__lvol_find_init(struct xbdev_lvol_stores *stores)
{
	if (!stores->is_finding) {
		stores->is_finding = true;
		stores->listener.fn = on_graph;
		xbdev_ctx_add_listener(stores->ctx, &stores->listener);
	}
}

void xbdev__lvol_find_fini(struct xbdev_lvol_stores *stores)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&stores->looks)) != NULL) {
		free(xu_list_entry(node, struct look, link));
	}
	while ((node = xu_list_pop(&stores->waits)) != NULL) {
		free(xu_list_entry(node, struct wait, link));
	}
	while ((node = xu_list_pop(&stores->refused)) != NULL) {
		free(xu_list_entry(node, struct xbdev_lvol_refused, link));
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The error driver: passes everything on to its base, but for the I/Os that a rule hits (error.h).
 *
 * Rules live on the owner reactor. The control reactor makes a rule, sends it there in a message
 * and hears back when it is active; an open descriptor keeps the device meanwhile. A hit that
 * corrupts a write goes to the base from a copy, so the writer's buffer keeps its content; when
 * there is no memory for the copy the write is held and tried again a little later.
 */
#include "lib/xbdev/driver/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/driver/filter.h"

#define ALL_OPS         ((1u << XBDEV_NR_OPS) - 1)
#define DATA_OPS        ((1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE))
#define MAX_ERRNO       4095
#define NO_MEMORY_RETRY XU_NS_PER_MS

struct rule {
	struct xbdev_error_rule r;
	uint64_t nr_seen;
	uint64_t nr_hits;
	struct xu_list link;
};

struct error_device {
	struct xbdev__filter filter;
	struct xu_list rules;      /* the owner's */
	_Atomic uint32_t nr_rules; /* counts those on their way too */
	_Atomic uint64_t counts[XBDEV_ERROR_NR_KINDS];
};

struct error_io {
	struct xbdev__filter_io fio;
	uint64_t corrupt_at; /* in the I/O */
	struct iovec copy;
	uint8_t corrupt_mask;
};

static struct error_device *error_of(const struct xbdev_device *dev)
{
	return xu_container_of(xbdev__filter_of(dev), struct error_device, filter);
}

/* ---- which I/O is hit ---- */

static bool is_in_range(const struct xbdev_error_rule *r, const struct xbdev_io *io)
{
	return r->len == 0 || (io->offset < r->offset + r->len && r->offset < io->offset + io->len);
}

static void drop_rule(struct error_device *error, struct rule *rule)
{
	xu_list_del(&rule->link);
	free(rule);
	atomic_fetch_sub(&error->nr_rules, 1);
}

static bool does_hit(struct rule *rule, struct xbdev_channel *ch, const struct xbdev_io *io)
{
	const struct xbdev_error_rule *r = &rule->r;

	if (!(r->ops_mask & (1u << io->op)) || !is_in_range(r, io) ||
		xbdev__filter_nr_passed(ch) < r->queue_depth) {
		return false;
	}
	if (rule->nr_seen < r->skip) {
		rule->nr_seen++;
		return false;
	}
	return r->probability_ppm == 0 ||
	       xu_random_below(xr_reactor_random(ch->reactor), 1000000) < r->probability_ppm;
}

/* Finds the rule that hits the I/O and copies it, since it may be gone after its last hit. */
static bool find_hit(
	struct xbdev_channel *ch, const struct xbdev_io *io, struct xbdev_error_rule *ret_rule)
{
	struct error_device *error = error_of(ch->dev);
	struct xu_list *node;

	xu_list_for_each (node, &error->rules) {
		struct rule *rule = xu_list_entry(node, struct rule, link);

		if (does_hit(rule, ch, io)) {
			*ret_rule = rule->r;
			if (++rule->nr_hits == rule->r.count) {
				drop_rule(error, rule);
			}
			return true;
		}
	}
	return false;
}

static void count(struct xbdev_io *io, enum xbdev_error_kind kind)
{
	struct xbdev_channel *ch = xbdev_io_driver(io, struct error_io)->fio.ch;

	atomic_fetch_add(&error_of(ch->dev)->counts[kind], 1);
}

/* ---- what becomes of it ---- */

static void pass(struct xbdev_io *io, void (*done)(struct xbdev_io *io, int status))
{
	int rc = xbdev__filter_pass(io, NULL, done);

	if (rc != 0) {
		xbdev_io_complete_later(io, rc);
	}
}

static void on_corrupt_read(struct xbdev_io *io, int status)
{
	const struct error_io *eio = xbdev_io_driver(io, struct error_io);
	const struct iovec *iov = io->iov;
	uint64_t at = eio->corrupt_at;

	if (status == 0) {
		while (at >= iov->iov_len) {
			at -= iov->iov_len;
			iov++;
		}
		((uint8_t *)iov->iov_base)[at] ^= eio->corrupt_mask;
		count(io, XBDEV_ERROR_CORRUPT);
	}
	xbdev_io_complete(io, status);
}

static void put_copy(struct xbdev_io *io)
{
	struct error_io *eio = xbdev_io_driver(io, struct error_io);

	xu_bufpool_put(xr_reactor_buffers(eio->fio.ch->reactor), eio->copy.iov_base, io->len);
}

static void on_corrupt_write(struct xbdev_io *io, int status)
{
	put_copy(io);
	xbdev_io_complete(io, status);
}

static void on_memory_retry(struct xr_timer *timer);

static void corrupt_write(struct xbdev_io *io)
{
	struct error_io *eio = xbdev_io_driver(io, struct error_io);
	char *to = xu_bufpool_get(xr_reactor_buffers(eio->fio.ch->reactor), io->len);
	int rc;

	if (to == NULL) {
		xbdev__filter_hold(io, on_memory_retry, NO_MEMORY_RETRY);
		return;
	}
	eio->copy = (struct iovec){.iov_base = to, .iov_len = io->len};
	for (uint32_t i = 0; i < io->nr_iov; i++) {
		to = mempcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
	}
	((uint8_t *)eio->copy.iov_base)[eio->corrupt_at] ^= eio->corrupt_mask;
	rc = xbdev__filter_pass(io, &eio->copy, on_corrupt_write);
	if (rc != 0) {
		put_copy(io);
		xbdev_io_complete_later(io, rc);
		return;
	}
	count(io, XBDEV_ERROR_CORRUPT);
}

static void on_memory_retry(struct xr_timer *timer)
{
	struct xbdev_io *io = xbdev__filter_io_of_timer(timer);

	xbdev__filter_release(io);
	corrupt_write(io);
}

static void corrupt(struct xbdev_io *io, const struct xbdev_error_rule *r)
{
	struct error_io *eio = xbdev_io_driver(io, struct error_io);
	uint64_t from = 0, to = io->len;

	if (r->len != 0) {
		if (r->offset > io->offset) {
			from = r->offset - io->offset;
		}
		if (r->offset + r->len < io->offset + io->len) {
			to = r->offset + r->len - io->offset;
		}
	}
	eio->corrupt_at = from + r->corrupt_offset % (to - from);
	eio->corrupt_mask = r->corrupt_mask != 0 ? r->corrupt_mask : UINT8_MAX;
	if (io->op == XBDEV_OP_WRITE) {
		corrupt_write(io);
	} else {
		pass(io, on_corrupt_read);
	}
}

static void error_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_error_rule rule;

	xbdev__filter_start(ch, io);
	if (!find_hit(ch, io, &rule)) {
		pass(io, NULL);
		return;
	}
	switch (rule.kind) {
	case XBDEV_ERROR_FAIL:
		count(io, XBDEV_ERROR_FAIL);
		xbdev_io_complete_later(io, rule.error != 0 ? rule.error : -EIO);
		break;
	case XBDEV_ERROR_HANG:
		count(io, XBDEV_ERROR_HANG);
		xbdev__filter_hold(io, NULL, 0);
		break;
	default:
		corrupt(io, &rule);
		break;
	}
}

/* ---- changing the rules ---- */

/* On its way to the owner and back. */
struct change {
	struct xr_msg msg;
	struct error_device *error;
	struct xbdev_desc *desc;
	struct rule *rule; /* to add; NULL: drop all */
	void (*done)(void *arg);
	void *arg;
};

static void on_changed(struct xr_msg *msg)
{
	struct change *change = xu_container_of(msg, struct change, msg);

	if (change->done != NULL) {
		change->done(change->arg);
	}
	xbdev_desc_close(change->desc);
	free(change);
}

/* Lets what a channel holds back go on to the base. */
static void resume(struct xbdev__filter_channel *fch)
{
	struct xu_list held, *node;

	xu_list_init(&held);
	xu_list_splice_tail(&held, &fch->held);
	while ((node = xu_list_first(&held)) != NULL) {
		struct xbdev_io *io =
			xbdev_io_of_driver(xu_list_entry(node, struct xbdev__filter_io, link));

		xbdev__filter_release(io);
		pass(io, NULL);
	}
}

static void clear(struct error_device *error)
{
	struct xu_list *node;

	while ((node = xu_list_first(&error->rules)) != NULL) {
		drop_rule(error, xu_list_entry(node, struct rule, link));
	}
	xu_list_for_each (node, &error->filter.channels) {
		resume(xu_list_entry(node, struct xbdev__filter_channel, link));
	}
}

static void on_change(struct xr_msg *msg)
{
	struct change *change = xu_container_of(msg, struct change, msg);

	if (change->rule != NULL) {
		xu_list_add_tail(&change->error->rules, &change->rule->link);
	} else {
		clear(change->error);
	}
	msg->fn = on_changed;
	xr_msg_send(xbdev_ctx_control(change->error->filter.dev.ctx), msg);
}

/* Sends the change; takes the rule when it succeeds. */
static int send_change(struct xbdev_device *dev, struct rule *rule, void (*done)(void *arg),
	void *arg, struct xu_error *err)
{
	struct change *change = calloc(1, sizeof(*change));
	int rc;

	if (change == NULL) {
		return xu_error_set_errno(
			err, -ENOMEM, "changing the rules of device '%s'", dev->name);
	}
	rc = xbdev_desc_open(dev->ctx, dev->name, false, NULL, NULL, &change->desc, err);
	if (rc != 0) {
		free(change);
		return rc;
	}
	change->error = error_of(dev);
	change->rule = rule;
	change->done = done;
	change->arg = arg;
	change->msg.fn = on_change;
	xr_msg_send(dev->owner, &change->msg);
	return 0;
}

static int check_device(const struct xbdev_device *dev, struct xu_error *err)
{
	return dev->ops->submit == error_submit
		       ? 0
		       : xu_error_set(err, -EINVAL,
				 "device '%s' is of driver %s; errors can be injected into devices "
				 "of driver error only",
				 dev->name, dev->driver);
}

static int check_rule(const struct xbdev_error_rule *r, struct xu_error *err)
{
	uint64_t end;

	if ((unsigned)r->kind >= XBDEV_ERROR_NR_KINDS) {
		return xu_error_set(err, -EINVAL, "there is no kind of error number %d", r->kind);
	}
	if (r->error > 0 || r->error < -MAX_ERRNO) {
		return xu_error_set(
			err, -EINVAL, "%d is not an error number: -1 to -%d", r->error, MAX_ERRNO);
	}
	if (r->ops_mask & ~ALL_OPS) {
		return xu_error_set(err, -EINVAL, "operation mask 0x%x: only 0x%x is known",
			r->ops_mask, ALL_OPS);
	}
	if (r->kind == XBDEV_ERROR_CORRUPT && r->ops_mask != 0 &&
		!(r->ops_mask & (DATA_OPS | (1u << XBDEV_OP_COMPARE)))) {
		return xu_error_set(err, -EINVAL,
			"only the data of reads and writes can be "
			"corrupted, not other operations");
	}
	if (r->probability_ppm > 1000000) {
		return xu_error_set(err, -EINVAL, "a probability of %u in a million is too large",
			r->probability_ppm);
	}
	if (__builtin_add_overflow(r->offset, r->len, &end)) {
		return xu_error_set(err, -EINVAL, "the range of %llu bytes at %llu has no end",
			(unsigned long long)r->len, (unsigned long long)r->offset);
	}
	return 0;
}

int xbdev_error_inject(struct xbdev_device *dev, const struct xbdev_error_rule *r,
	void (*done)(void *arg), void *arg, struct xu_error *err)
{
	struct error_device *error;
	struct rule *rule;
	int rc = check_device(dev, err);

	if (rc == 0) {
		rc = check_rule(r, err);
	}
	if (rc != 0) {
		return rc;
	}
	error = error_of(dev);
	if (atomic_load(&error->nr_rules) >= XBDEV_ERROR_MAX_RULES) {
		return xu_error_set(err, -ENOSPC,
			"device '%s' has %u rules, which is the most; clear them first", dev->name,
			XBDEV_ERROR_MAX_RULES);
	}
	rule = calloc(1, sizeof(*rule));
	if (rule == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "adding a rule to device '%s'", dev->name);
	}
	rule->r = *r;
	if (rule->r.ops_mask == 0) {
		rule->r.ops_mask = ALL_OPS;
	}
	if (rule->r.ops_mask & (1u << XBDEV_OP_COMPARE)) {
		rule->r.ops_mask |= 1u << XBDEV_OP_READ;
	}
	if (r->kind == XBDEV_ERROR_CORRUPT) {
		rule->r.ops_mask &= DATA_OPS;
	}
	atomic_fetch_add(&error->nr_rules, 1);
	rc = send_change(dev, rule, done, arg, err);
	if (rc != 0) {
		atomic_fetch_sub(&error->nr_rules, 1);
		free(rule);
	}
	return rc;
}

int xbdev_error_clear(
	struct xbdev_device *dev, void (*done)(void *arg), void *arg, struct xu_error *err)
{
	int rc = check_device(dev, err);

	return rc != 0 ? rc : send_change(dev, NULL, done, arg, err);
}

int xbdev_error_counts(const struct xbdev_device *dev, uint64_t ret_counts[XBDEV_ERROR_NR_KINDS])
{
	int rc = check_device(dev, NULL);

	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; i < XBDEV_ERROR_NR_KINDS; i++) {
		ret_counts[i] = atomic_load(&error_of(dev)->counts[i]);
	}
	return 0;
}

/* ---- life ---- */

static void error_destroy(struct xbdev_device *dev)
{
	struct error_device *error = error_of(dev);

	clear(error);
	xbdev__filter_fini(&error->filter);
	free(error);
}

static json_t *error_info(const struct xbdev_device *dev)
{
	struct error_device *error = error_of(dev);

	return json_pack("{s:s, s:I, s:I, s:I, s:I}", "base", error->filter.base->dev->name,
		"rules", (json_int_t)atomic_load(&error->nr_rules), "failed",
		(json_int_t)atomic_load(&error->counts[XBDEV_ERROR_FAIL]), "hung",
		(json_int_t)atomic_load(&error->counts[XBDEV_ERROR_HANG]), "corrupted",
		(json_int_t)atomic_load(&error->counts[XBDEV_ERROR_CORRUPT]));
}

static const struct xbdev_device_ops error_ops = {
	.channel_bytes = sizeof(struct xbdev__filter_channel),
	.channel_open = xbdev__filter_channel_open,
	.channel_close = xbdev__filter_channel_close,
	.channel_abort = xbdev__filter_channel_abort,
	.cancel = xbdev__filter_cancel,
	.submit = error_submit,
	.destroy = error_destroy,
	.config = xbdev__filter_config,
	.info = error_info,
};

static void error_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct xbdev__filter_opts *opts = opts_ptr;
	struct error_device *error = calloc(1, sizeof(*error));
	struct xu_error err = {0};

	if (error == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making error device '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	error->filter.dev.driver = "error";
	error->filter.dev.product = "error injection";
	error->filter.dev.ops = &error_ops;
	xu_list_init(&error->rules);
	if (xbdev__filter_register(&error->filter, ctx, opts, &err) != 0) {
		free(error);
		error = NULL;
	}
	done(arg, error != NULL ? &error->filter.dev : NULL, &err);
}

static const struct xu_param error_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct xbdev__filter_opts, name), .is_required = true,
		.help = "name of the device"},
	{"base", XU_PARAM_STRING, offsetof(struct xbdev__filter_opts, base), .is_required = true,
		.help = "name or UUID of the device below"},
	{"uuid", XU_PARAM_UUID, offsetof(struct xbdev__filter_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static const struct xbdev__filter_opts error_defaults;

const struct xbdev_driver xbdev__driver_error = {
	.name = "error",
	.help = "passes I/O on to another device and injects errors, for tests",
	.params = error_params,
	.opts_bytes = sizeof(struct xbdev__filter_opts),
	.defaults = &error_defaults,
	.create = error_create,
};

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces.
 *
 *   ADDING --every reactor has a channel--> ACTIVE --remove, or the device goes--> REMOVING ->
 * freed ADDING --a reactor cannot have one-------------------------------------------> REMOVING ->
 * freed
 *
 * A namespace is in Identify and in the lists only while ACTIVE. Removal hides it at once, then
 * visits the reactors: new commands get Invalid Namespace, the last command of each group closes
 * that group's channel, and the last channel closes the device. nr_open counts the groups with a
 * channel and the visit itself, so whichever ends last finishes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

static void tell_hosts(struct xnvmf_subsystem *subsystem, uint32_t nsid)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &subsystem->ctrls) {
		xnvmf__ctrl_ns_changed(xu_list_entry(node, struct xnvmf_ctrl, link), nsid);
	}
}

static struct xnvmf_group_ns *group_ns_of(struct xnvmf_ns *ns, struct xr_reactor *reactor)
{
	return &ns->subsystem->groups[xr_reactor_index(reactor)].ns[ns->nsid - 1];
}

/* ---- removing ---- */

/* What became of the addition: nothing, when a reactor could not have a channel. */
static void get_add_error(const struct xnvmf_ns *ns, struct xu_error *err)
{
	*err = (struct xu_error){0};
	if (ns->add_error != 0) {
		xu_error_set_errno(err, ns->add_error,
			"%s: namespace %u was not added, because reactor %u could not open device "
			"%s",
			ns->subsystem->nqn, ns->nsid, ns->add_error_reactor, ns->desc->dev->name);
	}
}

static void on_closed(struct xr_msg *msg)
{
	struct xnvmf_ns *ns = xu_container_of(msg, struct xnvmf_ns, closed_msg);
	struct xnvmf_subsystem *subsystem = ns->subsystem;
	void (*cb)(void *arg) = ns->removed_cb;
	void *arg = ns->removed_arg;
	void (*failed)(void *arg, const struct xu_error *err) = ns->cb;
	void *failed_arg = ns->arg;
	struct xu_error err;

	get_add_error(ns, &err);
	if (err.code != 0) {
		xu_err(subsystem->target->log, "%s", err.text);
	} else {
		xu_info(subsystem->target->log, "%s: namespace %u removed", subsystem->nqn,
			ns->nsid);
	}
	subsystem->ns[ns->nsid - 1] = NULL;
	xbdev_desc_close(ns->desc);
	free(ns);
	if (err.code != 0 && failed != NULL) {
		failed(failed_arg, &err);
	}
	if (cb != NULL) {
		cb(arg);
	}
	xnvmf__subsystem_check(subsystem);
}

static void put_open(struct xnvmf_ns *ns)
{
	if (atomic_fetch_sub(&ns->nr_open, 1) == 1) {
		ns->closed_msg.fn = on_closed;
		xr_msg_send(xnvmf__control(ns->subsystem->target), &ns->closed_msg);
	}
}

static void close_in_group(struct xnvmf_group_ns *group_ns)
{
	struct xnvmf_ns *ns = group_ns->ns;

	xbdev_channel_put(group_ns->ch);
	*group_ns = (struct xnvmf_group_ns){0};
	put_open(ns);
}

void xnvmf__group_ns_leave(struct xnvmf_group_ns *group_ns)
{
	group_ns->nr_inflight--;
	if (group_ns->is_removing && group_ns->nr_inflight == 0) {
		close_in_group(group_ns);
	}
}

static void remove_on_reactor(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct xnvmf_group_ns *group_ns =
		group_ns_of(xu_container_of(hop, struct xnvmf_ns, hop), reactor);

	if (group_ns->ch == NULL) {
		return;
	}
	group_ns->is_removing = true;
	if (group_ns->nr_inflight == 0) {
		close_in_group(group_ns);
	}
}

static void removed_everywhere(struct xbdev_hop *hop)
{
	put_open(xu_container_of(hop, struct xnvmf_ns, hop));
}

static void start_removing(struct xnvmf_ns *ns)
{
	ns->state = XNVMF_NS_REMOVING;
	atomic_fetch_add(&ns->nr_open, 1);
	ns->hop.fn = remove_on_reactor;
	ns->hop.done = removed_everywhere;
	xbdev_hop_start(&ns->hop, ns->subsystem->target->ctx);
}

int xnvmf_ns_remove(struct xnvmf_subsystem *subsystem, uint32_t nsid, void (*cb)(void *arg),
	void *arg, struct xu_error *err)
{
	struct xnvmf_ns *ns = nsid - 1 < subsystem->max_namespaces ? subsystem->ns[nsid - 1] : NULL;

	if (ns == NULL || ns->state == XNVMF_NS_REMOVING || ns->must_remove) {
		return xu_error_set(err, -ENOENT, "%s has no namespace %u", subsystem->nqn, nsid);
	}
	ns->removed_cb = cb;
	ns->removed_arg = arg;
	if (ns->state == XNVMF_NS_ADDING) {
		ns->must_remove = true;
	} else {
		start_removing(ns);
		tell_hosts(subsystem, nsid);
	}
	return 0;
}

/* ---- adding ---- */

static void add_on_reactor(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct xnvmf_ns *ns = xu_container_of(hop, struct xnvmf_ns, hop);
	struct xnvmf_group_ns *group_ns = group_ns_of(ns, reactor);
	struct xbdev_channel *ch;
	int rc = ns->add_error == 0 ? xbdev_channel_get(ns->desc, reactor, &ch) : 0;

	if (rc != 0) {
		ns->add_error = rc;
		ns->add_error_reactor = xr_reactor_index(reactor);
	}
	if (ns->add_error != 0) {
		return; /* the visits of the removal take back what others have */
	}
	*group_ns = (struct xnvmf_group_ns){
		.ch = ch,
		.ns = ns,
		.id = ns->id,
		.is_read_only = ns->is_read_only,
		.block_shift = (uint32_t)__builtin_ctz(ns->desc->dev->limits.block_size),
	};
	atomic_fetch_add(&ns->nr_open, 1);
}

static void added_everywhere(struct xbdev_hop *hop)
{
	struct xnvmf_ns *ns = xu_container_of(hop, struct xnvmf_ns, hop);
	const struct xu_error none = {0};

	if (ns->add_error != 0 || ns->must_remove) {
		start_removing(ns); /* no host has seen it */
	} else {
		ns->state = XNVMF_NS_ACTIVE;
		xu_info(ns->subsystem->target->log, "%s: namespace %u is %s", ns->subsystem->nqn,
			ns->nsid, ns->desc->dev->name);
		tell_hosts(ns->subsystem, ns->nsid);
	}
	if (ns->add_error == 0 && ns->cb != NULL) {
		ns->cb(ns->arg, &none);
	}
}

static void on_device_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct xnvmf_ns *ns = arg;

	(void)desc;
	if (event == XBDEV_EVENT_REMOVE) {
		xnvmf_ns_remove(ns->subsystem, ns->nsid, NULL, NULL, NULL);
	} else if (ns->state == XNVMF_NS_ACTIVE) {
		tell_hosts(ns->subsystem, ns->nsid);
	}
}

/* An EUI64 and an NGUID are given or not; an NGUID that is not given is the UUID, which is as
 * unique (Base 4.7.1.5 allows any 128-bit value that its maker keeps unique). */
static void set_identity(struct xnvmf_ns *ns, const struct xnvmf_ns_opts *opts)
{
	static const uint8_t none[16];

	ns->uuid = xu_uuid_is_null(&opts->uuid) ? ns->desc->dev->uuid : opts->uuid;
	memcpy(ns->eui64, opts->eui64, sizeof(ns->eui64));
	memcpy(ns->nguid,
		memcmp(opts->nguid, none, sizeof(none)) != 0 ? opts->nguid : ns->uuid.bytes,
		sizeof(ns->nguid));
}

static bool has_id(const uint8_t *a, const uint8_t *b, size_t len)
{
	static const uint8_t none[16];

	return memcmp(a, b, len) == 0 && memcmp(a, none, len) != 0;
}

/* An identifier that two namespaces share: its name, NULL when there is none. */
static const char *shared_id(const struct xnvmf_ns *a, const struct xnvmf_ns *b)
{
	if (has_id(a->uuid.bytes, b->uuid.bytes, sizeof(a->uuid.bytes))) {
		return "UUID";
	}
	if (has_id(a->nguid, b->nguid, sizeof(a->nguid))) {
		return "NGUID";
	}
	return has_id(a->eui64, b->eui64, sizeof(a->eui64)) ? "EUI64" : NULL;
}

/*
 * An identifier names one namespace in the world, so none is given twice, in
 * whatever subsystems: Linux ignores the second namespace, or takes the two for one. A device is
 * claimed, and so cannot be exported twice, which would be the one case for it. A namespace that is
 * being removed counts, because its last commands may still run.
 */
static int check_identity(const struct xnvmf_ns *ns, struct xu_error *err)
{
	struct xnvmf_subsystem *subsystem = NULL;

	while ((subsystem = xnvmf_subsystem_next(ns->subsystem->target, subsystem)) != NULL) {
		for (uint32_t i = 0; i < subsystem->max_namespaces; i++) {
			const struct xnvmf_ns *other = subsystem->ns[i];
			const char *kind = other != NULL ? shared_id(ns, other) : NULL;

			if (kind != NULL) {
				return xu_error_set(err, -EEXIST,
					"namespace %u of %s, on device %s, would have the %s of "
					"namespace %u of %s; an identifier names one namespace, "
					"give each its own",
					ns->nsid, ns->subsystem->nqn, ns->desc->dev->name, kind,
					other->nsid, subsystem->nqn);
			}
		}
	}
	return 0;
}

static int choose_nsid(const struct xnvmf_subsystem *subsystem, uint32_t nsid, uint32_t *ret_nsid,
	struct xu_error *err)
{
	if (nsid == 0) {
		while (nsid < subsystem->max_namespaces && subsystem->ns[nsid] != NULL) {
			nsid++;
		}
		nsid++;
	}
	if (nsid > subsystem->max_namespaces) {
		return xu_error_set(err, -EINVAL,
			"%s has room for namespaces 1 to %u; make the subsystem with more "
			"max_namespaces",
			subsystem->nqn, subsystem->max_namespaces);
	}
	if (subsystem->ns[nsid - 1] != NULL) {
		return xu_error_set(
			err, -EEXIST, "%s has a namespace %u already", subsystem->nqn, nsid);
	}
	*ret_nsid = nsid;
	return 0;
}

static int open_device(struct xnvmf_ns *ns, const char *device, struct xu_error *err)
{
	int rc = xbdev_desc_open(ns->subsystem->target->ctx, device, !ns->is_read_only,
		on_device_event, ns, &ns->desc, err);

	if (rc == 0) {
		rc = xbdev_desc_claim(ns->desc, "an NVMe-oF namespace", err);
		if (rc != 0) {
			xbdev_desc_close(ns->desc);
		}
	}
	return rc;
}

int xnvmf_ns_add(struct xnvmf_subsystem *subsystem, const struct xnvmf_ns_opts *opts,
	uint32_t *ret_nsid, void (*cb)(void *arg, const struct xu_error *err), void *arg,
	struct xu_error *err)
{
	struct xbdev_ctx *ctx = subsystem->target->ctx;
	struct xbdev_device *dev = xbdev_device_find(ctx, opts->device);
	struct xnvmf_ns *ns;
	uint32_t nsid = 0;
	int rc;

	if (subsystem->is_removing || subsystem->is_discovery) {
		return xu_error_set(err, -ENODEV, "%s takes no namespaces", subsystem->nqn);
	}
	rc = choose_nsid(subsystem, opts->nsid, &nsid, err);
	if (rc != 0) {
		return rc;
	}
	ns = calloc(1, sizeof(*ns));
	if (ns == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "adding namespace %u", nsid);
	}
	ns->subsystem = subsystem;
	ns->nsid = nsid;
	ns->state = XNVMF_NS_ADDING;
	ns->is_read_only = opts->read_only || (dev != NULL && dev->is_read_only);
	ns->cb = cb;
	ns->arg = arg;
	rc = open_device(ns, opts->device, err);
	if (rc == 0) {
		set_identity(ns, opts);
		rc = check_identity(ns, err);
		if (rc != 0) {
			xbdev_desc_close(ns->desc);
		}
	}
	if (rc != 0) {
		free(ns);
		return rc;
	}
	ns->id = ++subsystem->target->next_ns_id;
	subsystem->ns[nsid - 1] = ns;
	ns->hop.fn = add_on_reactor;
	ns->hop.done = added_everywhere;
	xbdev_hop_start(&ns->hop, ctx);
	if (ret_nsid != NULL) {
		*ret_nsid = nsid;
	}
	return 0;
}

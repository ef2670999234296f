/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write-behind: a write to a raid1 is acknowledged when its members have it that are not
 * write-mostly; those that are get it from a copy, up to `write_behind` writes of the bitmap's
 * header at a time and XBDEV_MD_BEHIND_BYTES of copies. Beyond that, or without memory, a write
 * waits for all of its members.
 *
 *   take()     the copy is made and sent to write-mostly members, unless an older one of the same
 *              blocks is not done yet
 *   let_go()   a member in sync that is not write-mostly has the data: the request ends. Else it
 *              waits for the copy
 *   finish()   all have it, or are out: what waited for these blocks goes on. Then, when the
 *              superblocks know of a member that failed, the bitmap's bit is let go
 *
 * Order. Writes that are behind and overlap are sent one after the other. A write that cannot be
 * behind waits for those that it overlaps. A window of the sync engine waits for them as it does
 * for requests.
 *
 * Reads of blocks that have a write behind go to other members; when none is left they wait.
 *
 * Crashes. The bits of what is behind are set, and the array is not clean, until the last copy is
 * written, so a crash resyncs these blocks; until then, and for the resync, members that are not
 * write-mostly are believed first (copies.c, mirror_sync.c), for they have what was acknowledged. A
 * flush passes to all members what they have been given, and does not wait for what is behind: as
 * with MD, what was acknowledged, and flushed or FUA, survives a crash as long as one member that
 * is not write-mostly comes back from it. Only a crash that takes all of those with it, or the loss
 * of the last of them in the moments before one, leaves the array with the state of its
 * write-mostly members, which miss at most what was behind. Who must survive that does without
 * write-behind. The loss of members without a crash costs nothing: the copies are in memory, and
 * are written.
 *
 * Which members are write-mostly is changed while nothing is behind (hold), so that a write is
 * behind on those that it was taken for, and a member is believed as any other only when it has
 * all.
 *
 * A write-mostly member that refuses a copy keeps its place by its log of bad blocks, or is out. If
 * it is the last one and has no room in its log, blocks that were acknowledged are nowhere: the
 * array takes no more writes, and says so.
 */
#include "lib/xbdev/raid/behind.h"

#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/raid/bitmap.h"

#define NO_CHILD_NS XU_NS_PER_MS

static void pump(struct xbdev_md_behind *behind);

static bool is_write_mostly(const struct xbdev_md_member *member)
{
	return (member->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0;
}

static bool overlaps(const struct xbdev_md_behind *behind, uint64_t offset, uint64_t len)
{
	return behind->offset < offset + len && offset < behind->offset + behind->len;
}

static struct xbdev_md_behind *behind_of(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_md_behind, link);
}

uint32_t xbdev__md_behind_max(const struct xbdev_md_array *array)
{
	return array->geo.level == 1 && array->bitmap != NULL ? array->bitmap->header.write_behind
							      : 0;
}

uint32_t xbdev__md_behind_count(const struct xbdev_md_array *array, uint64_t offset, uint64_t len)
{
	const struct xu_list *node;
	uint32_t count = 0;

	xu_list_for_each (node, &array->behind.list) {
		count += overlaps(xu_list_entry(node, struct xbdev_md_behind, link), offset, len);
	}
	return count;
}

bool xbdev__md_behind_has(const struct xbdev_md_array *array, uint64_t offset, uint64_t len)
{
	const struct xu_list *node;

	xu_list_for_each (node, &array->behind.list) {
		if (overlaps(xu_list_entry(node, struct xbdev_md_behind, link), offset, len)) {
			return true;
		}
	}
	return false;
}

/* ---- who wants none ---- */

static void on_quiet(struct xr_msg *msg)
{
	struct xbdev_md_hold *hold = xu_container_of(msg, struct xbdev_md_hold, msg);

	hold->fn(hold);
}

static void tell_holds(struct xbdev_md_array *array)
{
	struct xu_list *node;

	xu_list_for_each (node, &array->behind.holds) {
		struct xbdev_md_hold *hold = xu_list_entry(node, struct xbdev_md_hold, link);

		if (array->behind.nr == 0 && !hold->is_told) {
			hold->is_told = true;
			hold->msg.fn = on_quiet;
			xr_msg_send(array->reactor, &hold->msg);
		}
	}
}

void xbdev__md_behind_hold(struct xbdev_md_array *array, struct xbdev_md_hold *hold,
	void (*fn)(struct xbdev_md_hold *hold))
{
	*hold = (struct xbdev_md_hold){.array = array, .fn = fn};
	xu_list_add_tail(&array->behind.holds, &hold->link);
	tell_holds(array);
}

void xbdev__md_behind_unhold(struct xbdev_md_hold *hold)
{
	if (hold->array != NULL) {
		xu_list_del(&hold->link);
		hold->array = NULL;
	}
}

static void put(struct xbdev_md_behind *behind)
{
	struct xbdev_md_array *array = behind->array;

	array->behind.nr--;
	xu_pool_put(&array->behind.pool, behind);
	tell_holds(array);
}

/* ---- the end ---- */

static void let_bit_go(struct xbdev_md_behind *behind)
{
	struct xbdev_md_array *array = behind->array;

	if (behind->is_counted) {
		xbdev__md_bitmap_end(
			array, behind->offset / XBDEV_MD_SECTOR, behind->len / XBDEV_MD_SECTOR);
	}
	put(behind);
	if (--array->nr_writes == 0) {
		xbdev__md_meta_end_writes(array);
	}
}

/* The superblocks know of the members that have failed. */
static void on_recorded(struct xbdev_md_waiter *waiter, int status)
{
	(void)status; /* an array that is broken has nothing more to say */
	let_bit_go(xu_container_of(waiter, struct xbdev_md_behind, waiter));
}

/* What was acknowledged is on no member: one refused it, and was the last. */
static void give_up(struct xbdev_md_behind *behind)
{
	struct xbdev_md_array *array = behind->array;

	array->is_broken = true;
	xbdev__md_note(array, "stopped", NULL,
		"%llu sectors from %llu on were acknowledged when a member had them that is not "
		"write-mostly; it is gone, and the last one does not take them: nothing more is "
		"written",
		(unsigned long long)(behind->len / XBDEV_MD_SECTOR),
		(unsigned long long)(behind->offset / XBDEV_MD_SECTOR));
}

/* Those that have waited for an older one. */
static void start_next(struct xbdev_md_array *array, uint64_t offset, uint64_t len)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &array->behind.list) {
		struct xbdev_md_behind *behind = behind_of(node);

		if (!behind->is_started && overlaps(behind, offset, len)) {
			pump(behind);
		}
	}
}

static void finish(struct xbdev_md_behind *behind)
{
	struct xbdev_md_array *array = behind->array;
	struct xbdev_md_req *req = behind->req;
	uint64_t offset = behind->offset, len = behind->len;
	int status = behind->status;

	xu_list_del(&behind->link);
	xu_bufpool_put(xr_reactor_buffers(array->reactor), behind->buf, behind->len);
	array->behind.bytes -= behind->len;
	if (req == NULL && status != 0) {
		give_up(behind);
	}
	if (req != NULL) {
		bool is_waited = behind->is_waited;

		put(behind);
		xbdev__md_leave_windows(array, offset, len);
		xbdev__md_req_behind_done(req, status, is_waited);
	} else {
		xbdev__md_leave_windows(array, offset, len);
		behind->waiter.seq = array->fail_seq;
		behind->waiter.fn = on_recorded;
		xbdev__md_meta_wait(array, &behind->waiter);
	}
	start_next(array, offset, len);
	xbdev__md_readmit(array);
	xbdev__md_copies_wake(array);
	if (!xu_list_is_empty(&array->behind.readers)) {
		xbdev__md_wake(&array->behind.readers);
	}
}

/* ---- sending ---- */

static bool is_everywhere(const struct xbdev_md_behind *behind)
{
	return behind->is_started && behind->nr_pending == 0 &&
	       behind->next_slot >= behind->array->nr_members;
}

static void on_written(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_behind *behind = child->arg;
	struct xbdev_md_member *member = child->member;

	if (status != 0 && xbdev__md_narrow(child, status)) {
		return;
	}
	if (status == 0) {
		xbdev__md_member_clear_bad(member, &child->io);
	} else if (!xbdev__md_member_fail(member, "does not take a write", status)) {
		behind->status = status;
	}
	if (behind->req != NULL) {
		behind->req->is_lossy |= child->is_lossy;
	}
	behind->nr_pending--;
	xbdev__md_child_put(behind->array, child);
	if (is_everywhere(behind)) {
		finish(behind);
	}
}

/* Goes on with those that had no child, and ends those that nobody is there for any more. */
static void on_timer(struct xr_timer *timer)
{
	struct xbdev_md_array *array = xu_container_of(timer, struct xbdev_md_array, behind.timer);
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &array->behind.list) {
		struct xbdev_md_behind *behind = behind_of(node);

		if (is_everywhere(behind)) {
			finish(behind);
		} else if (behind->is_started && behind->next_slot < array->nr_members) {
			pump(behind);
		}
	}
}

static void look_later(struct xbdev_md_array *array, uint64_t delay_ns)
{
	array->behind.timer.fn = on_timer;
	xr_timer_start(array->reactor, &array->behind.timer, delay_ns);
}

static bool gets(const struct xbdev_md_member *member)
{
	return xbdev__md_member_is_writable(member) && member->state != XBDEV_MD_MEMBER_SPARE &&
	       is_write_mostly(member);
}

static bool has_older(const struct xbdev_md_behind *behind)
{
	const struct xu_list *node;

	for (node = behind->link.prev; node != &behind->array->behind.list; node = node->prev) {
		if (overlaps(xu_list_entry(node, struct xbdev_md_behind, link), behind->offset,
			    behind->len)) {
			return true;
		}
	}
	return false;
}

static bool send_to(struct xbdev_md_behind *behind, struct xbdev_md_member *member)
{
	struct xbdev_md_child *child = xbdev__md_child_get(behind->array, NULL);

	if (child == NULL) {
		return false;
	}
	child->done = on_written;
	child->arg = behind;
	child->iov[0] = (struct iovec){behind->buf, behind->len};
	child->io.op = XBDEV_OP_WRITE;
	child->io.flags = behind->flags;
	child->io.iov = child->iov;
	child->io.nr_iov = 1;
	child->io.len = behind->len;
	behind->nr_pending++;
	xbdev__md_child_send(child, member, behind->offset / XBDEV_MD_SECTOR);
	return true;
}

/* To one member after the other, for as long as there are children. */
static void pump(struct xbdev_md_behind *behind)
{
	struct xbdev_md_array *array = behind->array;

	if (!behind->is_started && has_older(behind)) {
		return;
	}
	behind->is_started = true;
	for (; behind->next_slot < array->nr_members; behind->next_slot++) {
		struct xbdev_md_member *member = array->members[behind->next_slot];

		if (member != NULL && gets(member) && !send_to(behind, member)) {
			look_later(array, NO_CHILD_NS);
			return;
		}
	}
	if (behind->nr_pending == 0) {
		/* Not now: whoever calls looks at the list. */
		look_later(array, 0);
	}
}

/* ---- beginning ---- */

static void copy_data(struct xbdev_md_behind *behind, const struct xbdev_io *io)
{
	uint64_t at = 0;

	while (at < io->len) {
		struct iovec iov[XBDEV_MD_MAX_IOV];
		uint32_t nr;

		xbdev__md_slice(io, at, io->len - at, iov, &nr);
		for (uint32_t i = 0; i < nr; i++) {
			memcpy(behind->buf + at, iov[i].iov_base, iov[i].iov_len);
			at += iov[i].iov_len;
		}
	}
}

/* Is there somebody to be behind, and somebody to go before? */
static bool has_both(const struct xbdev_md_array *array)
{
	bool has_mostly = false, has_other = false;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		has_mostly |= member != NULL && gets(member);
		has_other |= member != NULL && !is_write_mostly(member) &&
			     member->state == XBDEV_MD_MEMBER_IN_SYNC && !member->is_replacement;
	}
	return has_mostly && has_other;
}

bool xbdev__md_behind_take(struct xbdev_md_req *req)
{
	struct xbdev_md_array *array = req->array;
	const struct xbdev_io *io = xbdev__md_io_of(req);
	struct xbdev_md_behind *behind;
	void *buf;

	/* Who waits to read is not made to wait for more. */
	if (io->op != XBDEV_OP_WRITE || array->behind.nr >= xbdev__md_behind_max(array) ||
		array->behind.bytes + io->len > XBDEV_MD_BEHIND_BYTES || !has_both(array) ||
		!xu_list_is_empty(&array->behind.holds) ||
		!xu_list_is_empty(&array->behind.readers) ||
		!xu_list_is_empty(&array->behind.failed)) {
		return false;
	}
	buf = xu_bufpool_get(xr_reactor_buffers(array->reactor), io->len);
	if (buf == NULL) {
		return false;
	}
	behind = xu_pool_get(&array->behind.pool);
	*behind = (struct xbdev_md_behind){
		.array = array,
		.req = req,
		.offset = io->offset,
		.len = io->len,
		.buf = buf,
		.flags = io->flags,
	};
	xu_list_init(&behind->waiter.link);
	copy_data(behind, io);
	array->behind.nr++;
	array->behind.bytes += behind->len;
	req->behind = behind;
	req->is_behind = true;
	xu_list_add_tail(&array->behind.list, &behind->link);
	pump(behind);
	return true;
}

bool xbdev__md_behind_let_go(struct xbdev_md_req *req)
{
	struct xbdev_md_behind *behind = req->behind;
	struct xbdev_md_array *array = req->array;
	bool has_one = false;

	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		const struct xbdev_md_member *member = array->roles[role];

		has_one |= (req->good_roles >> role & 1) != 0 && member != NULL &&
			   member->state == XBDEV_MD_MEMBER_IN_SYNC;
	}
	if (!has_one || req->status != 0 || req->is_lossy) {
		behind->is_waited = true;
		return false;
	}
	behind->req = NULL;
	behind->is_counted = req->is_counted;
	req->is_counted = false;
	req->behind = NULL;
	array->nr_writes++;
	return true;
}

/* ---- life ---- */

int xbdev__md_behind_init(struct xbdev_md_array *array)
{
	uint32_t max = xbdev__md_behind_max(array);

	return max == 0 ? 0
			: xu_pool_init(&array->behind.pool, max, sizeof(struct xbdev_md_behind));
}

void xbdev__md_behind_fini(struct xbdev_md_array *array)
{
	xr_timer_stop(array->reactor, &array->behind.timer);
	if (array->behind.pool.memory != NULL) {
		xu_pool_fini(&array->behind.pool);
	}
}

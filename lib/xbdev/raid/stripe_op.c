/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done to one stripe, see stripe.h. In steps:
 *
 *   plan     which columns are read, and how the parity is made
 *   read     a column that fails is bad from now on, and the plan is made again without it
 *   compute  recover what is missing, lay the new data over the old, make the parity
 *   log      where there is one: what makes the stripe whole if the write is interrupted
 *   write    data and parity, and what was bad and is known again
 *
 * The parity of a write is made in the way that reads the fewest columns:
 *   WHOLE    from all data, reading what the entries do not write (nothing for a whole stripe)
 *   CHANGE   from the old parity and the difference that the new data makes
 *   RECOVER  from all data, of which some is recovered first
 * Nothing is written before everything that had to be read is there, so an error on the way in
 * leaves the stripe as it was. Buffers are taken all at once, so stripes cannot wait for each
 * other.
 *
 * Where too much is bad, the stripe is halved until what is bad is out of the way: only a block
 * that cannot be had by itself is lost, to the entries that want it. After that the parts grow
 * again.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/stripe.h"
#include "lib/xbdev/raid/sync.h"

enum mode { WHOLE, CHANGE, RECOVER };

#define HUNGRY_NS XU_NS_PER_MS

static void write_columns(struct xbdev_md_stripe *stripe);

/* ---- columns ---- */

static uint32_t nr_data(const struct xbdev_md_stripe *stripe)
{
	return stripe->array->geo.nr_data;
}

static uint32_t nr_columns(const struct xbdev_md_stripe *stripe)
{
	return stripe->array->geo.raid_disks;
}

static size_t span_bytes(const struct xbdev_md_stripe *stripe)
{
	return (size_t)(stripe->span.hi - stripe->span.lo) * XBDEV_MD_SECTOR;
}

static struct xbdev_md_member *member_of(const struct xbdev_md_column *column)
{
	return column->stripe->array->roles[column->role];
}

bool xbdev__md_column_is_readable(const struct xbdev_md_column *column)
{
	const struct xbdev_md_stripe *stripe = column->stripe;
	const struct xbdev_md_member *member = member_of(column);
	uint64_t lo = stripe->sector + stripe->span.lo, hi = stripe->sector + stripe->span.hi;

	return !column->is_bad && xbdev__md_member_is_readable(member, lo, hi) &&
	       !xbdev__md_member_has_bad(member, lo, hi - lo);
}

static struct xbdev_md_column *parity(struct xbdev_md_stripe *stripe, uint32_t i)
{
	return &stripe->columns[nr_data(stripe) + i];
}

/* ---- what the entries want ---- */

static void set_cover(struct xbdev_md_column *column, struct xbdev_md_span span)
{
	for (uint32_t i = span.lo; i < span.hi; i++) {
		column->cover[i / 64] |= 1ull << (i % 64);
	}
	if (!column->is_touched) {
		column->span = span;
	} else {
		column->span.lo = span.lo < column->span.lo ? span.lo : column->span.lo;
		column->span.hi = span.hi > column->span.hi ? span.hi : column->span.hi;
	}
	column->is_touched = true;
}

static uint32_t nr_covered(const struct xbdev_md_column *column)
{
	return (uint32_t)(__builtin_popcountll(column->cover[0]) +
			  __builtin_popcountll(column->cover[1]));
}

/* Entries write its first and its last sector, but not all between them. */
static bool has_holes(const struct xbdev_md_column *column)
{
	return nr_covered(column) != column->span.hi - column->span.lo;
}

/* Is the old content of a column that is written to wanted, so that its parity can be changed? */
static bool wants_old(const struct xbdev_md_column *column, uint32_t nr_parity)
{
	return column->is_touched && (nr_parity > 0 || has_holes(column));
}

static void widen(struct xbdev_md_span *span, struct xbdev_md_span by)
{
	span->lo = by.lo < span->lo ? by.lo : span->lo;
	span->hi = by.hi > span->hi ? by.hi : span->hi;
}

static void note_bad(struct xbdev_md_column *column, bool is_gone)
{
	column->is_bad = true;
	column->is_gone |= is_gone;
}

static void collect_entry(struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry)
{
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];
		uint64_t skip;
		struct xbdev_md_span span = xbdev__md_entry_span(stripe, entry, i, &skip);

		if (span.lo != span.hi) {
			set_cover(column, span);
			widen(&stripe->span, span);
		}
	}
	stripe->io_flags |= xbdev__md_io_of(entry->req)->flags & XBDEV_IO_FUA;
	/* What could not be read in one piece may be readable in parts. */
	for (uint32_t i = 0;
		entry->kind == XBDEV_MD_STRIPE_READ && stripe->part == 0 && i < nr_columns(stripe);
		i++) {
		if (stripe->columns[i].role == entry->bad_role) {
			note_bad(&stripe->columns[i], entry->is_gone);
		}
	}
}

void xbdev__md_stripe_collect(struct xbdev_md_stripe *stripe)
{
	struct xu_list *node;

	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		column->is_bad = column->is_read = column->is_written = false;
		column->is_gone = false;
		column->is_copied = false;
		column->is_touched = column->is_full = false;
		column->cover[0] = column->cover[1] = 0;
		column->span = (struct xbdev_md_span){0, 0};
		column->old = column->data = NULL;
	}
	stripe->span = (struct xbdev_md_span){UINT32_MAX, 0};
	if (stripe->kind == XBDEV_MD_STRIPE_SYNC) {
		stripe->span = stripe->limit;
		stripe->is_check =
			xu_list_entry(stripe->running.next, struct xbdev_md_entry, link)->is_check;
		return;
	}
	xu_list_for_each (node, &stripe->running) {
		collect_entry(stripe, xu_list_entry(node, struct xbdev_md_entry, link));
	}
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		column->is_full = nr_covered(column) == stripe->span.hi - stripe->span.lo;
	}
}

/* ---- the end ---- */

static void feed_hungry(struct xbdev_md_stripes *stripes);

void xbdev__md_stripe_finish(struct xbdev_md_stripe *stripe, int status)
{
	struct xbdev_md_array *array = stripe->array;

	if (stripe->buf != NULL) {
		xu_bufpool_put(xr_reactor_buffers(array->reactor), stripe->buf, stripe->buf_bytes);
		stripe->buf = NULL;
		feed_hungry(array->stripes);
	}
	if (stripe->status == 0) {
		stripe->status = status;
	}
	xbdev__md_log_leave(stripe);
	xbdev__md_stripe_done(stripe);
}

/* ---- I/O ---- */

static void send_column(struct xbdev_md_column *column, struct xbdev_md_child *child,
	struct xbdev_md_member *member, uint8_t op, char *buf, struct xbdev_md_span span,
	void (*done)(struct xbdev_md_child *child, int status))
{
	struct xbdev_md_stripe *stripe = column->stripe;

	child->req = NULL;
	child->is_narrowed = child->is_lossy = false;
	child->arg = column;
	child->done = done;
	child->iov[0] = (struct iovec){buf, (size_t)(span.hi - span.lo) * XBDEV_MD_SECTOR};
	child->io.op = op;
	child->io.flags = op == XBDEV_OP_WRITE ? stripe->io_flags : 0;
	child->io.iov = child->iov;
	child->io.nr_iov = 1;
	child->io.len = child->iov[0].iov_len;
	stripe->nr_pending++;
	xbdev__md_child_send(child, member, stripe->sector + span.lo);
}

/* ---- the plan ---- */

struct costs {
	uint32_t nr_missing_data; /* data columns that cannot be read */
	uint32_t nr_parity;       /* parity columns that can */
	uint32_t whole;           /* reads, or UINT32_MAX: not possible */
	uint32_t change;
};

/* Would any of the span be read from this parity later, which cannot be read as a whole now? Not
 * where the recovery of its member has yet to come, or where it says that all of the blocks are
 * bad. A recovery has been at more stripes than the member is good for so far: slots that end early
 * wait for those before them. */
static bool is_believed(const struct xbdev_md_column *column)
{
	const struct xbdev_md_stripe *stripe = column->stripe;
	const struct xbdev_md_member *member = member_of(column);
	uint64_t lo = stripe->sector + stripe->span.lo, hi = stripe->sector + stripe->span.hi;
	uint64_t bad, bad_count;

	if (column->is_bad ||
		xbdev__md_member_is_writable(stripe->array->replacements[column->role])) {
		return true;
	}
	if (member->state == XBDEV_MD_MEMBER_RECOVERING &&
		!xbdev__md_sync_has_reached(stripe->array, member, lo)) {
		return false;
	}
	lo += member->super.data_offset;
	hi += member->super.data_offset;
	return member->bad == NULL ||
	       !xbdev__md_bad_blocks_find(member->bad, lo, hi - lo, &bad, &bad_count) ||
	       bad != lo || bad_count != hi - lo;
}

static struct costs weigh(struct xbdev_md_stripe *stripe)
{
	struct costs costs = {0};
	uint32_t nr_parity_all = nr_columns(stripe) - nr_data(stripe);

	for (uint32_t i = 0; i < nr_parity_all; i++) {
		costs.nr_parity += xbdev__md_column_is_readable(parity(stripe, i));
	}
	costs.change = costs.nr_parity;
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		const struct xbdev_md_column *column = &stripe->columns[i];
		bool can_read = xbdev__md_column_is_readable(column);

		costs.nr_missing_data += !can_read;
		if (!column->is_full && costs.whole != UINT32_MAX) {
			costs.whole = can_read ? costs.whole + 1 : UINT32_MAX;
		}
		if (wants_old(column, costs.nr_parity) && costs.change != UINT32_MAX) {
			costs.change = can_read ? costs.change + 1 : UINT32_MAX;
		}
	}
	/* A parity that cannot be read but can be written is known again only if it is made from
	 * all data. Where that is not possible it may stay behind if nobody would believe it. */
	for (uint32_t i = 0; i < nr_parity_all; i++) {
		const struct xbdev_md_column *column = parity(stripe, i);

		if (!xbdev__md_column_is_readable(column) &&
			xbdev__md_member_is_writable(member_of(column)) &&
			(costs.whole != UINT32_MAX || is_believed(column))) {
			costs.change = UINT32_MAX;
		}
	}
	/* Parity that no resync has been at is not worth changing: made anew it is right, and what
	 * is written now survives the loss of a member. */
	if (costs.whole != UINT32_MAX &&
		!xbdev__md_is_agreed(stripe->array, stripe->sector + stripe->span.lo,
			stripe->sector + stripe->span.hi)) {
		costs.change = UINT32_MAX;
	}
	return costs;
}

static void plan_write(struct xbdev_md_stripe *stripe, const struct costs *costs)
{
	stripe->mode = costs->whole <= costs->change ? WHOLE : CHANGE;
	if (costs->whole == UINT32_MAX && costs->change == UINT32_MAX) {
		stripe->mode = RECOVER;
	}
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];
		bool is_data = i < nr_data(stripe);

		switch ((enum mode)stripe->mode) {
		case WHOLE:
			column->is_read = is_data && !column->is_full;
			break;
		case CHANGE:
			column->is_read = is_data ? wants_old(column, costs->nr_parity)
						  : xbdev__md_column_is_readable(column);
			break;
		case RECOVER:
			column->is_read = xbdev__md_column_is_readable(column);
			break;
		}
	}
}

/* Room for every column that is read, made or put together, and two parities to compare with. */
static size_t bytes_needed(const struct xbdev_md_stripe *stripe)
{
	return (size_t)(stripe->whole.hi - stripe->whole.lo) * XBDEV_MD_SECTOR *
	       (nr_columns(stripe) + 2);
}

static void on_hungry_timer(struct xr_timer *timer)
{
	feed_hungry(xu_container_of(timer, struct xbdev_md_stripes, hungry_timer));
}

static bool take_buffers(struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_stripes *stripes = stripe->array->stripes;
	size_t bytes = bytes_needed(stripe);

	if (stripe->buf == NULL) {
		stripe->buf = xu_bufpool_get(xr_reactor_buffers(stripe->array->reactor), bytes);
		stripe->buf_bytes = bytes;
	}
	if (stripe->buf == NULL) {
		xu_list_add_tail(&stripes->hungry, &stripe->hungry_link);
		stripes->hungry_timer.fn = on_hungry_timer;
		xr_timer_start(stripe->array->reactor, &stripes->hungry_timer, HUNGRY_NS);
		return false;
	}
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		stripe->columns[i].old = stripe->buf + i * span_bytes(stripe);
	}
	return true;
}

static void feed_hungry(struct xbdev_md_stripes *stripes)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&stripes->hungry)) != NULL) {
		struct xbdev_md_stripe *stripe =
			xu_list_entry(node, struct xbdev_md_stripe, hungry_link);

		xbdev__md_stripe_plan(stripe);
		if (stripes->hungry.prev == node) {
			return;
		}
	}
}

static void compute(struct xbdev_md_stripe *stripe);

static void after_reads(struct xbdev_md_stripe *stripe)
{
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		if (stripe->columns[i].is_read && stripe->columns[i].is_bad) {
			xbdev__md_stripe_plan(stripe);
			return;
		}
	}
	compute(stripe);
}

static void on_column_read(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_column *column = child->arg;
	struct xbdev_md_stripe *stripe = column->stripe;

	if (status != 0) {
		note_bad(column, status == -ENODEV);
	}
	if (--stripe->nr_pending == 0) {
		after_reads(stripe);
	}
}

/* A crash may have left this parity behind its data. */
static bool is_in_doubt(const struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_array *array = stripe->array;

	return !xbdev__md_is_agreed(
		       array, stripe->sector + stripe->span.lo, stripe->sector + stripe->span.hi) &&
	       !array->is_parity_sure &&
	       (array->bitmap == NULL || xbdev__md_bitmap_clean_run(array, stripe->sector) == 0);
}

/* A block of a member that is there cannot be read, and the parity is not known to agree with the
 * data: what would be recovered from it may never have been written. */
static bool is_guess(const struct xbdev_md_stripe *stripe)
{
	bool has_bad = false;

	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		const struct xbdev_md_column *column = &stripe->columns[i];

		has_bad |=
			(column->is_touched || stripe->kind == XBDEV_MD_STRIPE_SYNC) &&
			!column->is_gone && !xbdev__md_column_is_readable(column) &&
			xbdev__md_member_is_readable(member_of(column),
				stripe->sector + stripe->span.lo, stripe->sector + stripe->span.hi);
	}
	return has_bad && is_in_doubt(stripe);
}

/* Does an entry want data that has to be recovered? */
static bool misses_touched(const struct xbdev_md_stripe *stripe)
{
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		if (stripe->columns[i].is_touched &&
			!xbdev__md_column_is_readable(&stripe->columns[i])) {
			return true;
		}
	}
	return false;
}

static bool is_possible(const struct xbdev_md_stripe *stripe, const struct costs *costs)
{
	bool is_enough = costs->nr_missing_data <= costs->nr_parity;

	switch (stripe->kind) {
	case XBDEV_MD_STRIPE_READ:
		return !misses_touched(stripe) || (is_enough && !is_guess(stripe));
	case XBDEV_MD_STRIPE_WRITE:
		return is_enough || costs->whole != UINT32_MAX || costs->change != UINT32_MAX;
	default:
		return is_enough && (stripe->is_check || !is_guess(stripe));
	}
}

void xbdev__md_stripe_plan(struct xbdev_md_stripe *stripe)
{
	const struct costs costs = weigh(stripe);

	if (stripe->array->is_broken && stripe->kind != XBDEV_MD_STRIPE_READ) {
		xbdev__md_stripe_finish(stripe, -EIO);
		return;
	}
	if (!is_possible(stripe, &costs)) {
		xbdev__md_stripe_give_up(stripe);
		return;
	}
	if (!take_buffers(stripe)) {
		return;
	}
	if (stripe->kind == XBDEV_MD_STRIPE_WRITE) {
		plan_write(stripe, &costs);
	} else {
		bool is_direct = stripe->kind == XBDEV_MD_STRIPE_READ && !misses_touched(stripe);

		stripe->mode = RECOVER;
		for (uint32_t i = 0; i < nr_columns(stripe); i++) {
			struct xbdev_md_column *column = &stripe->columns[i];

			column->is_read = xbdev__md_column_is_readable(column) &&
					  (column->is_touched || !is_direct);
		}
	}
	stripe->nr_pending = 1;
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		if (column->is_read) {
			send_column(column, &column->child, member_of(column), XBDEV_OP_READ,
				column->old, stripe->span, on_column_read);
		}
	}
	if (--stripe->nr_pending == 0) {
		after_reads(stripe);
	}
}

void xbdev__md_stripe_run(struct xbdev_md_stripe *stripe)
{
	stripe->status = 0;
	stripe->io_flags = 0;
	stripe->mismatch_sectors = 0;
	stripe->part = 0;
	stripe->is_lossy = false;
	stripe->limit = (struct xbdev_md_span){0, stripe->array->stripes->sectors};
	xbdev__md_stripe_collect(stripe);
	stripe->whole = stripe->span;
	xbdev__md_stripe_plan(stripe);
}

/* ---- users' memory ---- */

enum direction { FROM_USER, TO_USER };

/* Copies between a user's segments and a buffer. */
static void copy(
	const struct xbdev_io *io, uint64_t skip, char *buf, size_t len, enum direction direction)
{
	while (len > 0) {
		struct iovec iov[XBDEV_MD_MAX_IOV];
		uint32_t nr;
		uint64_t got = xbdev__md_slice(io, skip, len, iov, &nr);

		for (uint32_t i = 0; i < nr; i++) {
			if (direction == FROM_USER) {
				memcpy(buf, iov[i].iov_base, iov[i].iov_len);
			} else {
				memcpy(iov[i].iov_base, buf, iov[i].iov_len);
			}
			buf += iov[i].iov_len;
		}
		skip += got;
		len -= got;
	}
}

static void copy_entries(struct xbdev_md_column *column, enum direction direction)
{
	struct xbdev_md_stripe *stripe = column->stripe;
	struct xu_list *node;

	xu_list_for_each (node, &stripe->running) {
		const struct xbdev_md_entry *entry =
			xu_list_entry(node, struct xbdev_md_entry, link);
		uint64_t skip;
		struct xbdev_md_span span =
			xbdev__md_entry_span(stripe, entry, column->index, &skip);

		if (span.lo != span.hi) {
			copy(xbdev__md_io_of(entry->req), skip,
				column->old + (size_t)(span.lo - stripe->span.lo) * XBDEV_MD_SECTOR,
				(size_t)(span.hi - span.lo) * XBDEV_MD_SECTOR, direction);
		}
	}
}

/* The user's own memory of a column that one segment of one entry writes completely, or NULL. The
 * driver below wants an alignment that the core has seen to for the request as a whole. */
static char *find_direct(const struct xbdev_md_column *column)
{
	const struct xbdev_md_stripe *stripe = column->stripe;
	const struct xbdev_md_entry *entry =
		xu_list_entry(stripe->running.next, struct xbdev_md_entry, link);
	struct iovec iov[XBDEV_MD_MAX_IOV];
	struct xbdev_md_span span;
	uint64_t skip, len;
	uint32_t nr;

	if (!column->is_full) {
		return NULL;
	}
	span = xbdev__md_entry_span(stripe, entry, column->index, &skip);
	len = (uint64_t)(span.hi - span.lo) * XBDEV_MD_SECTOR;
	if (span.lo > stripe->span.lo || span.hi < stripe->span.hi) {
		return NULL;
	}
	xbdev__md_slice(xbdev__md_io_of(entry->req), skip, len, iov, &nr);
	return nr == 1 ? iov[0].iov_base : NULL;
}

/* ---- computing ---- */

static void gather(struct xbdev_md_stripe *stripe, void **ret_data)
{
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		ret_data[i] = stripe->columns[i].data;
	}
}

/* A parity column, or NULL; `old`: only if it has been read. */
static void *parity_buf(struct xbdev_md_stripe *stripe, uint32_t i, bool is_old)
{
	struct xbdev_md_column *column;

	if (nr_data(stripe) + i >= nr_columns(stripe)) {
		return NULL;
	}
	column = parity(stripe, i);
	return !is_old || column->is_read ? column->old : NULL;
}

/* Makes the data that was not read out of the rest. */
static void recover_data(struct xbdev_md_stripe *stripe)
{
	void *data[XBDEV_MD_MAX_DISKS];
	uint32_t missing[XBDEV_MD_MAX_DISKS], nr_missing = 0;

	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		stripe->columns[i].data = stripe->columns[i].old;
		if (!stripe->columns[i].is_read) {
			missing[nr_missing++] = i;
		}
	}
	gather(stripe, data);
	if (nr_missing > 0) {
		void *p = parity_buf(stripe, 0, true);

		assert(nr_missing <= 2);
		xbdev__md_recover(p,
			p == NULL || nr_missing == 2 ? parity_buf(stripe, 1, true) : NULL, data,
			stripe->row.exponent, nr_data(stripe), missing, nr_missing,
			span_bytes(stripe));
	}
}

static void make_parity(struct xbdev_md_stripe *stripe, void *p, void *q)
{
	void *data[XBDEV_MD_MAX_DISKS];

	gather(stripe, data);
	xbdev__md_pq(p, q, data, stripe->row.exponent, nr_data(stripe), span_bytes(stripe));
}

/* Data as it is to be: the user's memory, or the old data with the new laid over it. */
static void lay_over(struct xbdev_md_stripe *stripe)
{
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];
		char *direct = column->is_touched ? find_direct(column) : NULL;

		column->data = direct != NULL ? direct : column->old;
		if (column->is_touched && direct == NULL) {
			copy_entries(column, FROM_USER);
		}
	}
}

/* P ^= what the column holds, Q likewise, over the part that is written. */
static void fold(struct xbdev_md_stripe *stripe, const struct xbdev_md_column *column)
{
	size_t at = (size_t)(column->span.lo - stripe->span.lo) * XBDEV_MD_SECTOR;
	size_t len = (size_t)(column->span.hi - column->span.lo) * XBDEV_MD_SECTOR;
	char *p = parity_buf(stripe, 0, true), *q = parity_buf(stripe, 1, true);

	if (p != NULL) {
		void *sources[2] = {p + at, column->data + at};

		xbdev__md_xor(p + at, sources, 2, len);
	}
	if (q != NULL) {
		xbdev__md_q_add(
			q + at, column->data + at, stripe->row.exponent[column->index], len);
	}
}

static void change_parity(struct xbdev_md_stripe *stripe)
{
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		if (column->is_touched && column->is_read) {
			column->data = column->old;
			fold(stripe, column);
		}
	}
	lay_over(stripe);
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		if (stripe->columns[i].is_touched && stripe->columns[i].is_read) {
			fold(stripe, &stripe->columns[i]);
		}
	}
}

static void compute_write(struct xbdev_md_stripe *stripe)
{
	if (stripe->mode == CHANGE) {
		change_parity(stripe);
	} else {
		if (stripe->mode == RECOVER) {
			recover_data(stripe);
		}
		lay_over(stripe);
		make_parity(stripe, parity_buf(stripe, 0, false), parity_buf(stripe, 1, false));
	}
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		if (i >= nr_data(stripe)) {
			column->data = column->old;
			column->span = stripe->span;
			column->is_written = stripe->mode != CHANGE || column->is_read;
		} else {
			column->is_written = column->is_touched;
		}
		/* What could not be read is known now: it is written back. */
		if (column->is_bad && stripe->mode != CHANGE) {
			column->span = stripe->span;
			column->is_written = true;
		}
	}
}

static void compute_read(struct xbdev_md_stripe *stripe)
{
	bool is_recovered = false;

	/* As it was planned: a member may be good for more by now. */
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		is_recovered |= stripe->columns[i].is_touched && !stripe->columns[i].is_read;
	}
	if (is_recovered) {
		recover_data(stripe);
	}
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		if (column->is_touched) {
			copy_entries(column, TO_USER);
		}
		if (is_recovered && column->is_bad && i < nr_data(stripe) &&
			!stripe->array->is_read_only) {
			column->span = stripe->span;
			column->is_written = true;
		}
	}
}

/* Compares one parity with what it should be; counts what differs, in rows of 4 KiB as MD does. */
static void compare_parity(
	struct xbdev_md_stripe *stripe, uint32_t i, const char *wanted, uint64_t *differing)
{
	struct xbdev_md_column *column = parity(stripe, i);

	for (size_t at = 0; column->is_read && at < span_bytes(stripe); at += 4096) {
		size_t left = span_bytes(stripe) - at;

		if (memcmp(column->old + at, wanted + at, left < 4096 ? left : 4096) != 0) {
			*differing |= 1ull << (at / 4096);
		}
	}
	column->is_written = !column->is_read || *differing != 0;
	memcpy(column->old, wanted, span_bytes(stripe));
}

/* A recovery that has all parity believes it: it is what the data has been made from. */
static bool is_compared(struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_array *array = stripe->array;
	bool is_whole = true;

	for (uint32_t i = nr_data(stripe); i < nr_columns(stripe); i++) {
		is_whole &= stripe->columns[i].is_read;
	}
	return !is_whole || array->sync == NULL || array->sync->kind != XBDEV_MD_SYNC_RECOVER;
}

static void compute_sync(struct xbdev_md_stripe *stripe)
{
	char *wanted = stripe->buf + nr_columns(stripe) * span_bytes(stripe);
	uint32_t nr_parity = nr_columns(stripe) - nr_data(stripe);
	uint64_t differing = 0;

	recover_data(stripe);
	for (uint32_t i = 0; i < nr_data(stripe); i++) {
		stripe->columns[i].is_written = !stripe->columns[i].is_read;
		stripe->columns[i].span = stripe->span;
	}
	if (is_compared(stripe)) {
		make_parity(stripe, wanted, nr_parity > 1 ? wanted + span_bytes(stripe) : NULL);
	}
	for (uint32_t i = 0; i < nr_parity; i++) {
		parity(stripe, i)->is_written = false;
		if (is_compared(stripe)) {
			compare_parity(stripe, i, wanted + i * span_bytes(stripe), &differing);
		}
		parity(stripe, i)->data = parity(stripe, i)->old;
		parity(stripe, i)->span = stripe->span;
		if (stripe->is_check && parity(stripe, i)->is_read) {
			parity(stripe, i)->is_written = false;
		}
	}
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		stripe->columns[i].is_copied = !stripe->is_check;
	}
	stripe->mismatch_sectors += (uint64_t)__builtin_popcountll(differing) * 8;
}

static void compute(struct xbdev_md_stripe *stripe)
{
	switch (stripe->kind) {
	case XBDEV_MD_STRIPE_WRITE:
		compute_write(stripe);
		if (stripe->array->log != NULL && xbdev__md_log_stripe(stripe)) {
			return;
		}
		break;
	case XBDEV_MD_STRIPE_READ:
		compute_read(stripe);
		break;
	case XBDEV_MD_STRIPE_SYNC:
		compute_sync(stripe);
		break;
	}
	write_columns(stripe);
}

/* ---- writing ---- */

static void note_written(const struct xbdev_md_column *column, const struct xbdev_md_child *child)
{
	struct xbdev_md_member *member = child->member;

	if (column->is_bad && child == &column->child) {
		member->super.cnt_corrected_read += (uint32_t)(child->io.len / XBDEV_MD_SECTOR);
	}
	xbdev__md_member_clear_bad(member, &child->io);
}

static void on_column_written(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_column *column = child->arg;
	struct xbdev_md_stripe *stripe = column->stripe;

	if (status != 0 && xbdev__md_narrow(child, status)) {
		return;
	}
	stripe->is_lossy |= child->is_lossy;
	if (status == 0) {
		note_written(column, child);
	} else if (!xbdev__md_member_fail(child->member, "does not take a write", status) &&
		   stripe->status == 0) {
		stripe->status = -EIO;
	}
	if (--stripe->nr_pending == 0) {
		xbdev__md_stripe_part_done(stripe);
	}
}

static void write_column(struct xbdev_md_column *column)
{
	struct xbdev_md_stripe *stripe = column->stripe;
	struct xbdev_md_member *member = member_of(column);
	struct xbdev_md_member *twin = stripe->array->replacements[column->role];
	bool is_written = column->is_written;
	char *data;

	if (!column->is_written && !column->is_copied) {
		return;
	}
	data = column->data + (size_t)(column->span.lo - stripe->span.lo) * XBDEV_MD_SECTOR;
	/* The member that was read may have failed since, and its replacement have its place. */
	is_written |= member != NULL && member->state == XBDEV_MD_MEMBER_RECOVERING;
	if (is_written && xbdev__md_member_is_writable(member)) {
		send_column(column, &column->child, member, XBDEV_OP_WRITE, data, column->span,
			on_column_written);
	}
	if (xbdev__md_member_is_writable(twin)) {
		send_column(column, &column->twin, twin, XBDEV_OP_WRITE, data, column->span,
			on_column_written);
	}
}

static void write_columns(struct xbdev_md_stripe *stripe)
{
	stripe->nr_pending = 1;
	for (uint32_t i = 0; i < nr_columns(stripe); i++) {
		write_column(&stripe->columns[i]);
	}
	if (--stripe->nr_pending == 0) {
		xbdev__md_stripe_part_done(stripe);
	}
}

void xbdev__md_stripe_write(struct xbdev_md_stripe *stripe, int status)
{
	if (status != 0) {
		xbdev__md_stripe_finish(stripe, status);
		return;
	}
	write_columns(stripe);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named queues and batches. A named queue is a client queue with a lock, in a table of slots that
 * stay: a number names the slot and how often it had been used, so a number that is out of date is
 * told -EBADF and never another's queue.
 *
 * A callback runs with its queue's lock held and may submit to it. To another queue it may submit
 * only when that is free just then, else two threads could wait for each other. The thread that
 * drives the first reactor goes on doing so while it waits for a queue, whose user may wait for
 * that reactor.
 *
 * What a flush of a queue owes is kept for each descriptor with its opening, until it has succeeded
 * or the descriptor has been closed: then the next flush says -EBADF, once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define SLOT_BITS       10
#define NR_SLOTS        (1u << SLOT_BITS)
#define NAME_SIZE       64u
#define DESTROY_WAIT_US 5000000u
#define LOOK_AGAIN_NS   (200 * XU_NS_PER_US)

struct slot {
	struct api_lock lock;
	char name[NAME_SIZE];                 /* the table's mutex; "": free */
	uint32_t round;                       /* of its use */
	struct api_queue *queue;              /* NULL: none */
	uint64_t written[API_MAX_FILES / 64]; /* descriptors that are to be flushed */
	uint32_t *generations;                /* of them, API_MAX_FILES; NULL: none yet */
	bool has_lost_writes;                 /* to descriptors that have been closed since */
};

struct batch_io {
	struct xbdev_io_batch *batch;
	struct api_sqe sqe;
	int result;
};

struct xbdev_io_batch {
	uint32_t max;
	uint32_t count;
	_Atomic uint32_t nr_in_flight;
	struct batch_io ios[];
};

static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct slot slots[NR_SLOTS];

/* ---- the table ---- */

static int id_of(const struct slot *slot)
{
	return (int)((slot->round & (INT32_MAX >> SLOT_BITS)) << SLOT_BITS |
		     (uint32_t)(slot - slots));
}

static bool lock_driving(struct slot *slot, const struct api_thread *thread, uint64_t deadline_ns)
{
	while (!api_lock_try(&slot->lock, thread)) {
		if (api_is_past(deadline_ns)) {
			return false;
		}
		xr_reactor_poll(api_lib.shards[0].reactor, LOOK_AGAIN_NS);
	}
	return true;
}

/* -EAGAIN: a callback must not wait for it; -ETIMEDOUT. */
static int lock(struct slot *slot, const struct api_thread *thread, uint64_t deadline_ns)
{
	if (thread->is_in_callback) {
		return api_lock_try(&slot->lock, thread) ? 0 : -EAGAIN;
	}
	if (thread->is_owner) {
		return lock_driving(slot, thread, deadline_ns) ? 0 : -ETIMEDOUT;
	}
	return api_lock_until(&slot->lock, thread, deadline_ns) ? 0 : -ETIMEDOUT;
}

/* Enters and locks the queue. -EBADF, -EAGAIN, -ETIMEDOUT: another thread has it for longer. */
static int hold_until(int id, bool may_wait, uint64_t deadline_ns, struct api_thread **ret_thread,
	struct slot **ret_slot)
{
	struct slot *slot = &slots[(uint32_t)id & (NR_SLOTS - 1)];
	int rc = api_enter(ret_thread, may_wait);

	if (rc != 0) {
		return rc;
	}
	rc = id >= 0 ? lock(slot, *ret_thread, deadline_ns) : -EBADF;
	if (rc == 0 && (slot->queue == NULL || id_of(slot) != id)) {
		api_unlock(&slot->lock);
		rc = -EBADF;
	}
	if (rc == 0) {
		*ret_slot = slot;
		return 0;
	}
	api_leave(*ret_thread);
	return rc == -EBADF ? api_fail(rc, "there is no queue %d", id)
			    : api_fail(rc, "another thread uses queue %d just now", id);
}

static int hold(int id, bool may_wait, struct api_thread **ret_thread, struct slot **ret_slot)
{
	return hold_until(id, may_wait, UINT64_MAX, ret_thread, ret_slot);
}

static void let_go(struct api_thread *thread, struct slot *slot)
{
	api_unlock(&slot->lock);
	api_leave(thread);
}

static struct slot *find_slot(const char *name, int *ret_error)
{
	struct slot *found = NULL;

	for (uint32_t i = 0; i < NR_SLOTS; i++) {
		if (slots[i].name[0] == '\0') {
			found = found == NULL ? &slots[i] : found;
		} else if (strcmp(slots[i].name, name) == 0) {
			*ret_error = api_fail(-EEXIST, "there is a queue '%s' already", name);
			return NULL;
		}
	}
	if (found == NULL) {
		*ret_error = api_fail(-EMFILE, "%u queues exist already", NR_SLOTS);
	}
	return found;
}

int xbdev_io_queue_create(const char *name, int depth, int flags)
{
	struct api_thread *thread = api_thread();
	struct api_queue *queue;
	struct slot *slot = NULL;
	int rc;

	if (thread == NULL) {
		return -ENOMEM;
	}
	if (name == NULL || name[0] == '\0' || strlen(name) >= NAME_SIZE) {
		return api_fail(-EINVAL, "a queue's name has 1 to %u bytes", NAME_SIZE - 1);
	}
	if (depth < 1 || depth > (int)API_DEPTH_MAX ||
		(flags & ~(XBDEV_QUEUE_POLLING | XBDEV_QUEUE_EVENTFD)) != 0) {
		return api_fail(-EINVAL, "queue '%s': depth %d or flags 0x%x are not possible",
			name, depth, (unsigned)flags);
	}
	rc = api_queue_new((uint32_t)depth, (uint32_t)flags, &queue);
	if (rc != 0) {
		return api_fail(rc, "making queue '%s': out of memory", name);
	}
	pthread_mutex_lock(&table_mutex);
	slot = find_slot(name, &rc);
	if (slot != NULL) {
		strcpy(slot->name, name);
	}
	pthread_mutex_unlock(&table_mutex);
	if (slot == NULL) {
		api_queue_free(queue);
		return rc;
	}
	/* Whoever has it for an old number's sake is about to find that out. */
	api_lock_until(&slot->lock, thread, UINT64_MAX);
	slot->round++;
	slot->queue = queue;
	memset(slot->written, 0, sizeof(slot->written));
	slot->has_lost_writes = false;
	rc = id_of(slot);
	api_unlock(&slot->lock);
	return rc;
}

/* Polls until nothing is in flight; false: the deadline has passed. */
static bool drain(struct api_queue *queue, struct api_thread *thread, uint64_t deadline_ns)
{
	while (queue->nr_out != 0 && api_queue_poll(queue, thread, UINT32_MAX, deadline_ns) != 0 &&
		!api_is_past(deadline_ns)) {
		/* Some have come back. */
	}
	return queue->nr_out == 0;
}

int xbdev_io_queue_destroy(int queue_id)
{
	uint64_t deadline_ns = api_deadline_ns(DESTROY_WAIT_US);
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold_until(queue_id, true, deadline_ns, &thread, &slot);

	if (rc != 0) {
		return rc == -ETIMEDOUT ? api_fail(-EBUSY, "another thread uses queue %d", queue_id)
					: rc;
	}
	if (drain(slot->queue, thread, deadline_ns)) {
		api_queue_free(slot->queue);
		slot->queue = NULL;
		free(slot->generations);
		slot->generations = NULL;
		pthread_mutex_lock(&table_mutex);
		slot->name[0] = '\0';
		pthread_mutex_unlock(&table_mutex);
	} else {
		rc = api_fail(-EBUSY,
			"queue '%s' has %u I/Os that do not come back; keep their "
			"buffers and destroy it again",
			slot->name, slot->queue->nr_out);
	}
	let_go(thread, slot);
	return rc;
}

/* ---- requests ---- */

static bool is_write(int op)
{
	return op == XBDEV_OP_WRITE || op == XBDEV_OP_WRITE_ZEROES || op == XBDEV_OP_DISCARD;
}

/* Before a write: a place to note it. */
static int prepare_note(struct slot *slot, int op)
{
	if (is_write(op) && slot->generations == NULL) {
		slot->generations = calloc(API_MAX_FILES, sizeof(*slot->generations));
	}
	return is_write(op) && slot->generations == NULL ? -ENOMEM : 0;
}

static void note_write(struct slot *slot, int fd, uint32_t generation, int op)
{
	uint64_t bit = 1ull << ((uint32_t)fd % 64);
	uint64_t *word = &slot->written[(uint32_t)fd / 64];

	if (is_write(op)) {
		slot->has_lost_writes |= (*word & bit) && slot->generations[fd] != generation;
		slot->generations[fd] = generation;
		*word |= bit;
	}
}

int xbdev_io_queue_submit_request(int queue_id, xbdev_request_t *req)
{
	struct api_thread *thread;
	struct slot *slot = NULL;
	uint32_t generation;
	int rc = hold(queue_id, false, &thread, &slot);

	if (rc != 0) {
		return rc;
	}
	rc = prepare_note(slot, req->op_type);
	if (rc == 0) {
		rc = api_request_submit_to(slot->queue, thread, req, &generation);
	}
	if (rc == 0) {
		note_write(slot, req->fd, generation, req->op_type);
	}
	let_go(thread, slot);
	return rc;
}

int xbdev_io_queue_wait_request(int queue_id, xbdev_request_t *req, uint64_t timeout_us)
{
	uint64_t deadline_ns = api_deadline_ns(timeout_us);
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold_until(queue_id, true, deadline_ns, &thread, &slot);

	if (rc == 0) {
		rc = api_request_wait_on(slot->queue, slot->name, thread, req, deadline_ns);
		let_go(thread, slot);
	}
	return rc;
}

int xbdev_io_queue_cancel_request(int queue_id, xbdev_request_t *req)
{
	uint64_t deadline_ns = api_deadline_ns(API_CANCEL_WAIT_US);
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold_until(queue_id, true, deadline_ns, &thread, &slot);

	if (rc != 0) {
		return rc == -ETIMEDOUT ? api_fail(-EBUSY, "another thread uses queue %d", queue_id)
					: rc;
	}
	rc = api_request_cancel_on(slot->queue, slot->name, thread, req, deadline_ns);
	let_go(thread, slot);
	return rc;
}

int xbdev_io_queue_poll(int queue_id, uint32_t max_completions, uint64_t timeout_us)
{
	uint32_t max = max_completions < INT32_MAX ? max_completions : INT32_MAX;
	uint64_t deadline_ns = api_deadline_ns(timeout_us);
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold_until(queue_id, true, deadline_ns, &thread, &slot);

	if (rc != 0) {
		return rc == -ETIMEDOUT ? 0 : rc;
	}
	rc = (int)api_queue_poll(slot->queue, thread, max, deadline_ns);
	let_go(thread, slot);
	return rc;
}

int xbdev_io_queue_eventfd(int queue_id)
{
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold(queue_id, false, &thread, &slot);

	if (rc == 0) {
		rc = api_queue_eventfd(slot->queue);
		let_go(thread, slot);
	}
	return rc;
}

int xbdev_io_queue_wait(int queue_id)
{
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold(queue_id, true, &thread, &slot);

	if (rc != 0) {
		return rc;
	}
	drain(slot->queue, thread, UINT64_MAX);
	rc = slot->queue->first_error;
	slot->queue->first_error = 0;
	if (rc != 0) {
		api_fail(rc, "an I/O of queue '%s' has failed: %s", slot->name, xbdev_strerror(rc));
	}
	let_go(thread, slot);
	return rc;
}

/* Takes the next descriptor from `fd` on that is owed a flush, and its opening; API_MAX_FILES:
 * there is none. Or -errno. */
static int take_owed(int queue_id, uint32_t fd, uint32_t *ret_generation)
{
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold(queue_id, true, &thread, &slot);

	if (rc != 0) {
		return rc;
	}
	for (; fd < API_MAX_FILES; fd++) {
		uint64_t bit = 1ull << (fd % 64);

		if (slot->written[fd / 64] & bit) {
			slot->written[fd / 64] &= ~bit;
			*ret_generation = slot->generations[fd];
			break;
		}
	}
	let_go(thread, slot);
	return (int)fd;
}

/* -EBADF, once, when writes have gone to descriptors that cannot be flushed any more. */
static int tell_lost(int queue_id)
{
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = hold(queue_id, true, &thread, &slot);

	if (rc == 0 && slot->has_lost_writes) {
		slot->has_lost_writes = false;
		rc = api_fail(-EBADF,
			"a descriptor was closed and its number opened anew after writes through "
			"queue '%s', which cannot be flushed there any more",
			slot->name);
	}
	if (slot != NULL) {
		let_go(thread, slot);
	}
	return rc;
}

/* What could not be flushed is owed on. */
static void give_back(int queue_id, int fd, uint32_t generation)
{
	struct api_thread *thread;
	struct slot *slot = NULL;

	if (hold(queue_id, true, &thread, &slot) == 0) {
		if (prepare_note(slot, XBDEV_OP_WRITE) == 0) {
			note_write(slot, fd, generation, XBDEV_OP_WRITE);
		}
		let_go(thread, slot);
	}
}

static int flush_opening(int queue_id, int fd, uint32_t generation)
{
	uint64_t word = atomic_load(&api_lib.fds[fd]);
	int rc;

	if (word == 0 || API_FD_GENERATION(word) != generation) {
		return api_fail(-EBADF,
			"descriptor %d was closed after writes through queue %d, which cannot be "
			"flushed there any more",
			fd, queue_id);
	}
	rc = xbdev_flush(fd);
	if (rc != 0 && rc != -EBADF) {
		give_back(queue_id, fd, generation);
	}
	return rc;
}

int xbdev_io_queue_flush(int queue_id)
{
	int rc = xbdev_io_queue_wait(queue_id), fd = 0;
	uint32_t generation = 0;

	if (rc != 0) {
		return rc;
	}
	rc = tell_lost(queue_id);
	for (;; fd++) {
		int flushed;

		fd = take_owed(queue_id, (uint32_t)fd, &generation);
		if (fd < 0 || fd == (int)API_MAX_FILES) {
			return fd < 0 ? fd : rc;
		}
		flushed = flush_opening(queue_id, fd, generation);
		rc = rc == 0 ? flushed : rc;
	}
}

/* ---- batches ---- */

xbdev_io_batch_t *xbdev_io_batch_create(int max_ios)
{
	struct xbdev_io_batch *batch;

	if (max_ios < 1 || max_ios > (int)API_DEPTH_MAX) {
		api_fail(-EINVAL, "a batch holds 1 to %u I/Os", API_DEPTH_MAX);
		return NULL;
	}
	batch = calloc(1, sizeof(*batch) + (size_t)max_ios * sizeof(batch->ios[0]));
	if (batch != NULL) {
		batch->max = (uint32_t)max_ios;
	}
	return batch;
}

static int check_idle(const struct xbdev_io_batch *batch)
{
	/* Acquire: the results of a batch that another thread has completed. */
	return atomic_load_explicit(&batch->nr_in_flight, memory_order_acquire) == 0
		       ? 0
		       : api_fail(-EBUSY, "the batch is in flight");
}

int xbdev_io_batch_free(xbdev_io_batch_t *batch)
{
	int rc = batch == NULL ? 0 : check_idle(batch);

	if (rc == 0) {
		free(batch);
	}
	return rc;
}

int xbdev_io_batch_add(
	xbdev_io_batch_t *batch, int fd, void *buf, size_t count, uint64_t offset, int op_type)
{
	xbdev_request_t req = {
		.op_type = op_type, .fd = fd, .buf = buf, .count = count, .offset = offset};
	struct batch_io *bio;
	int rc = check_idle(batch);

	if (rc != 0) {
		return rc;
	}
	if (batch->count == batch->max) {
		return api_fail(-ENOSPC, "the batch is full with %u I/Os", batch->max);
	}
	bio = &batch->ios[batch->count];
	bio->batch = batch;
	bio->result = -EINPROGRESS;
	bio->sqe = (struct api_sqe){
		.cookie = bio, .fd = fd, .op = (uint8_t)op_type, .kind = API_KIND_BATCH};
	rc = api_request_fill(&req, &bio->sqe);
	return rc != 0 ? rc : (int)batch->count++;
}

int xbdev_io_batch_reset(xbdev_io_batch_t *batch)
{
	int rc = check_idle(batch);

	if (rc == 0) {
		batch->count = 0;
	}
	return rc;
}

int xbdev_io_batch_result(const xbdev_io_batch_t *batch, int index)
{
	if (index < 0 || (uint32_t)index >= batch->count) {
		return api_fail(-EINVAL, "the batch has no I/O %d", index);
	}
	return check_idle(batch) != 0 ? -EINPROGRESS : batch->ios[index].result;
}

void api_batch_complete(struct api_queue *queue, void *cookie, int result)
{
	if (result < 0 && queue->first_error == 0) {
		queue->first_error = result;
	}
	api_batch_forget(cookie, result);
}

void api_batch_forget(void *cookie, int result)
{
	struct batch_io *bio = cookie;

	bio->result = result;
	atomic_fetch_sub_explicit(&bio->batch->nr_in_flight, 1, memory_order_release);
}

static int check_room(
	const struct slot *slot, const struct api_queue *queue, const struct xbdev_io_batch *batch)
{
	if (batch->count > queue->depth) {
		return api_fail(-EINVAL, "a batch of %u I/Os, but queue '%s' takes %u",
			batch->count, slot->name, queue->depth);
	}
	if (batch->count > queue->depth - queue->nr_out) {
		return api_fail(-EAGAIN, "queue '%s' has %u places left, the batch needs %u",
			slot->name, queue->depth - queue->nr_out, batch->count);
	}
	return 0;
}

/* All of it is staged, or, when one cannot be, what is has its error as its result: nothing is
 * taken back. */
static int submit(struct slot *slot, struct api_thread *thread, struct xbdev_io_batch *batch)
{
	struct api_queue *queue = slot->queue;
	struct api_link *link;
	int rc = check_room(slot, queue, batch);

	for (uint32_t i = 0; i < batch->count && rc == 0; i++) {
		rc = prepare_note(slot, batch->ios[i].sqe.op);
	}
	if (rc != 0) {
		return rc;
	}
	atomic_store(&batch->nr_in_flight, batch->count);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct batch_io *bio = &batch->ios[i];

		rc = api_queue_stage(queue, thread, &bio->sqe, &link);
		if (rc != 0) {
			api_batch_complete(queue, bio, rc);
		} else {
			note_write(slot, bio->sqe.fd, bio->sqe.generation, bio->sqe.op);
		}
	}
	api_queue_ring(queue);
	return 0;
}

int xbdev_io_queue_submit(int queue_id, xbdev_io_batch_t *batch)
{
	struct api_thread *thread;
	struct slot *slot = NULL;
	int rc = check_idle(batch);

	if (rc != 0) {
		return rc;
	}
	rc = hold(queue_id, false, &thread, &slot);
	if (rc != 0) {
		return rc;
	}
	rc = submit(slot, thread, batch);
	let_go(thread, slot);
	return rc;
}

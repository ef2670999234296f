/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes that a member refuses. Where it keeps a log of bad blocks the member stays, as in Linux:
 * the write is halved until only the blocks are left that are refused even by themselves; these go
 * into the log, and who waits for the write waits until the log is on disk. Nobody reads them from
 * this member any more, until a later write is taken. A disk that takes nothing at all does not
 * take its log either, and is out then (meta.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/raid/array.h"

struct xbdev_md_narrow {
	struct iovec iov[XBDEV_MD_MAX_IOV]; /* of the whole */
	uint32_t nr_iov;
	uint64_t member_sector; /* where it begins */
	uint64_t count, at;     /* sectors: all, those that are dealt with */
	uint64_t part, block;
	uint64_t nr_bad;
	int status; /* the first error */
	void (*done)(struct xbdev_md_child *child, int status);
};

static bool is_of_blocks(int status)
{
	return status == -EIO || status == -ENODATA || status == -EILSEQ;
}

static void end(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_narrow *narrow = child->narrow;
	struct xbdev_md_array *array = child->member->array;

	if (narrow->nr_bad > 0 && status == 0) {
		child->is_lossy = true;
		xbdev__md_note(array, "bad-blocks", child->member,
			"member %s did not take %llu sectors, which are in its log of bad blocks "
			"now",
			child->member->name, (unsigned long long)narrow->nr_bad);
	}
	xbdev__md_sync_kick(array);
	child->done = narrow->done;
	child->narrow = NULL;
	child->is_narrowed = true;
	child->io.len = 0;
	child->io.nr_iov = 0;
	free(narrow);
	child->done(child, status);
}

static void send_part(struct xbdev_md_child *child)
{
	struct xbdev_md_narrow *narrow = child->narrow;

	if (narrow->part > narrow->count - narrow->at) {
		narrow->part = narrow->count - narrow->at;
	}
	child->io.len = narrow->part * XBDEV_MD_SECTOR;
	xbdev_iov_slice(narrow->iov, narrow->nr_iov, narrow->at * XBDEV_MD_SECTOR, child->io.len,
		child->iov, XBDEV_MD_MAX_IOV, &child->io.nr_iov);
	xbdev__md_child_send(child, child->member, narrow->member_sector + narrow->at);
}

/* False: the log has no room. */
static bool note_bad(struct xbdev_md_child *child)
{
	struct xbdev_md_narrow *narrow = child->narrow;
	struct xbdev_md_member *member = child->member;

	if (xbdev__md_bad_blocks_add(
		    member->bad, child->io.offset / XBDEV_MD_SECTOR, narrow->part) != 0) {
		return false;
	}
	narrow->nr_bad += narrow->part;
	member->is_worn = true;
	/* The write is acknowledged when the log says so. */
	member->array->fail_seq = xbdev__md_meta_update(member->array);
	return true;
}

static void on_part(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_narrow *narrow = child->narrow;
	struct xbdev_md_member *member = child->member;

	if (member->state == XBDEV_MD_MEMBER_FAULTY || (status != 0 && !is_of_blocks(status))) {
		end(child, status != 0 ? status : narrow->status);
		return;
	}
	if (status != 0 && narrow->part > narrow->block) {
		narrow->part =
			(narrow->part / 2 + narrow->block - 1) / narrow->block * narrow->block;
		send_part(child);
		return;
	}
	if (status != 0 && !note_bad(child)) {
		end(child, status);
		return;
	}
	narrow->at += narrow->part;
	if (status == 0) {
		xbdev__md_member_clear_bad(member, &child->io);
		narrow->part *= 2;
	}
	if (narrow->at == narrow->count) {
		end(child, 0);
	} else {
		send_part(child);
	}
}

bool xbdev__md_narrow(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_member *member = child->member;
	struct xbdev_md_narrow *narrow;
	uint64_t block = member->array->dev.limits.block_size / XBDEV_MD_SECTOR;

	if (child->is_narrowed || member->bad == NULL || !is_of_blocks(status) ||
		member->state == XBDEV_MD_MEMBER_FAULTY || member->array->is_broken ||
		(child->io.op != XBDEV_OP_WRITE && child->io.op != XBDEV_OP_WRITE_ZEROES)) {
		return false;
	}
	narrow = calloc(1, sizeof(*narrow));
	if (narrow == NULL) {
		return false;
	}
	narrow->nr_iov = child->io.nr_iov;
	memcpy(narrow->iov, child->io.iov, child->io.nr_iov * sizeof(narrow->iov[0]));
	narrow->member_sector = child->io.offset / XBDEV_MD_SECTOR - member->super.data_offset;
	narrow->count = child->io.len / XBDEV_MD_SECTOR;
	narrow->block = block;
	if (narrow->block < 1ull << member->bad->shift) {
		narrow->block = 1ull << member->bad->shift;
	}
	narrow->part = (narrow->count / 2 + narrow->block - 1) / narrow->block * narrow->block;
	narrow->status = status;
	narrow->done = child->done;
	child->narrow = narrow;
	child->done = on_part;
	send_part(child);
	return true;
}

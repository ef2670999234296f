/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: a blob between its chain of metadata pages and the model. Pages are
 * taken one by one, from the root on; what they say is bounded by the store's layout before it
 * reaches the model.
 */
#ifndef XBDEV_LVOL_CHAIN_H
#define XBDEV_LVOL_CHAIN_H

#include "lib/xbdev/lvol/store.h"

/* While a chain is read. */
struct xbdev_lvs_chain {
	bool has_rle, has_table, has_unknown;
	uint8_t unknown_type;
	uint32_t nr_pages; /* taken */
	uint32_t slot;     /* of the table, where it goes on */
};

/*
 * Takes the next page of a blob's chain into the model, whose checksum has been found right;
 * *ret_next is the one behind it. -EILSEQ with a sentence, -ENOMEM; what has been taken stays. A
 * table makes leaves with a page and without entries, for xbdev__lvs_leaf_parse().
 */
int xbdev__lvs_chain_parse(struct xbdev_lvs_blob *blob, struct xbdev_lvs_chain *chain,
	const void *page, uint32_t *ret_next, struct xu_error *err);

/* Fills a leaf from its extent page. Entries that lead off the store's data are an error. */
int xbdev__lvs_leaf_parse(struct xbdev_lvs_blob *blob, struct xbdev_lvs_leaf *leaf,
	const void *page, struct xu_error *err);

/*
 * When all leaves are filled: whether it is one volume. Entries that are more than the root says,
 * and those behind an extent page that is too short, are the trace of a resize that did not end:
 * they leave the map for excess_clusters and excess_pages, and *ret_is_cut says so.
 */
int xbdev__lvs_chain_finish(struct xbdev_lvs_blob *blob, const struct xbdev_lvs_chain *chain,
	bool *ret_is_cut, struct xu_error *err);

/* How many pages the chain takes as the blob is now, the root among them; and how many more leaves
 * may get a page without its taking one more, where the blob has a table. */
uint32_t xbdev__lvs_chain_count(const struct xbdev_lvs_blob *blob, uint32_t *ret_nr_more);
/* Writes them, xbdev__lvs_chain_count() pages of 4096 bytes; `pages` are the numbers of those
 * behind the root. Leaves that are named must have a page. */
void xbdev__lvs_chain_format(
	const struct xbdev_lvs_blob *blob, const uint32_t *pages, void *ret_bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: sets of numbers as they lie on disk, read and written in pieces, as
 * the masks of a large store are large. What a header says of itself is not believed and not
 * refused: stores with odd values exist, and the super block says what is there.
 */
#ifndef XBDEV_LVOL_MASK_H
#define XBDEV_LVOL_MASK_H

#include <stddef.h>

#include "lib/xbdev/lvol/bits.h"

enum xbdev_lvs_mask { XBDEV_LVS_MASK_PAGES, XBDEV_LVS_MASK_CLUSTERS, XBDEV_LVS_MASK_BLOBIDS };

/* Sets those bits that are set in the bytes [offset, offset + len) of a mask; bits beyond the end
 * of the set are passed over. */
void xbdev__lvs_mask_parse(
	struct xbdev_lvs_bits *bits, const void *bytes, uint64_t offset, size_t len);

/* The same bytes of a mask as it is to be written. */
void xbdev__lvs_mask_format(const struct xbdev_lvs_bits *bits, enum xbdev_lvs_mask type,
	uint64_t offset, size_t len, void *ret_bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store on a device, for the tests of lib/xbdev/lvol: loaded, looked at, and its volumes read by
 * nothing but their maps and what they stand on.
 */
#ifndef TEST_XBDEV_LVOL_WORLD_H
#define TEST_XBDEV_LVOL_WORLD_H

#include "lib/xbdev/lvol/store.h"
#include "test/unit/xbdev/digest.h"
#include "test/unit/xbdev/lvol/fixture.h"

struct lvol_world {
	struct harness h;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct xbdev_lvs *store; /* NULL: it did not load */
	struct xu_error err;     /* and why */
	uint32_t nr_done;        /* of what the test has asked for */
	int status;
};

#define LVOL_SHA256_TEXT DIGEST_TEXT_SIZE

/* A device "base" on a file; harness, device, descriptor, channel. */
void lvol_world_start(struct lvol_world *w, const char *path, uint32_t block_size);
/* On a device that the test has made itself, in w->h. */
void lvol_world_use(struct lvol_world *w, const char *device);
/* Loads the store; w->store or w->err. */
void lvol_world_load(struct lvol_world *w);
/* Lets the store go as it is, as a crash would. */
void lvol_world_forget(struct lvol_world *w);
void lvol_world_stop(struct lvol_world *w);

/* Reads a cluster of a volume; what is below it from outside is read from the file `esnap_path`. */
void lvol_world_read(struct lvol_world *w, const struct xbdev_lvs_blob *blob, uint32_t index,
	const char *esnap_path, uint8_t *ret_bytes);
/* SHA-256 of a whole volume, as text. */
void lvol_world_sha256(struct lvol_world *w, const struct xbdev_lvs_blob *blob,
	const char *esnap_path, char text[LVOL_SHA256_TEXT]);

/* Volumes that can be used. */
uint32_t lvol_world_nr_usable(const struct lvol_world *w);

#endif

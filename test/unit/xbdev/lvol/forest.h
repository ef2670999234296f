/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store with trees of volumes, and what each of them is to read as, kept in plain arrays: for
 * tests of operations. Everything an operation may do to content is done to the arrays by copying.
 */
#ifndef TEST_XBDEV_LVOL_FOREST_H
#define TEST_XBDEV_LVOL_FOREST_H

#include "lib/xbdev/lvol/op_private.h"
#include "test/unit/xbdev/lvol/disk.h"
#include "test/unit/xbdev/lvol/world.h"

#define FOREST_MAX     24u
#define FOREST_CLUSTER 8192u
#define FOREST_BLOCK   512u

/* Devices outside of the store that volumes may stand on: "image0" and so on. */
#define FOREST_IMAGES 2u
#define FOREST_IMAGE_SIZE                                                                          \
	(9u * FOREST_CLUSTER) /* of the first; the second has five clusters less */

struct thing {
	char name[XBDEV_LVS_NAME_BYTES];
	uint8_t *bytes;
	uint64_t size;
	bool is_read_only;
	char origin[XBDEV_LVS_NAME_BYTES]; /* the volume that it was taken of; "": none */
};

struct plan {
	struct thing things[FOREST_MAX];
	uint32_t nr;
};

struct forest {
	struct harness h;
	struct lvol_disk *disk;
	struct xbdev_lvol_store *store;
	struct xu_error err; /* of the last operation */
	uint32_t nr_done;
	struct plan plan;
	struct xu_random random;
	uint32_t nr_named;
	bool is_faulty; /* the disk fails: errors that say so are fine */
	uint8_t *images[FOREST_IMAGES];
};

/* Makes these devices, with the same identity and content each time; or one of them alone. */
void forest_make_images(struct forest *f);
void forest_make_image(struct forest *f, uint32_t index);
uint64_t forest_image_size(uint32_t index);

/* A new store on a disk of so many clusters. */
void forest_start(struct forest *f, uint32_t nr_clusters, uint64_t seed);
/* A store that is on a disk already, as a crash has left it. */
void forest_open(struct forest *f, const uint8_t *content, uint64_t size);
void forest_stop(struct forest *f);
void forest_attach(struct forest *f);
void forest_detach(struct forest *f);

/* For `done` of operations; forest_wait() gives the error's code. */
void forest_done(void *arg, const struct xu_error *err);
int forest_wait(struct forest *f, uint32_t nr_done_before);

struct xbdev_lvol *forest_volume(struct forest *f, const char *name);
struct thing *forest_thing(struct plan *plan, const char *name);
struct thing *forest_add(struct plan *plan, const char *name, const uint8_t *bytes, uint64_t size);
void forest_remove(struct plan *plan, struct thing *thing);
void forest_copy(struct plan *to, const struct plan *from);
void forest_free(struct plan *plan);

/* Whether the store has these volumes, with this content, and nothing else. With `why`, what is not
 * so is put there. */
bool forest_is(struct forest *f, const struct plan *plan, char why[200]);
/* Every cluster that is listed is in use, once, and no other is. */
void forest_check_clusters(struct forest *f);
/* Fills free clusters with what must never be seen. */
void forest_soil(struct forest *f);

/* I/O by name, with a descriptor of its own. */
int forest_io(struct forest *f, const char *name, enum xbdev_op op, uint64_t offset, void *bytes,
	uint64_t len);

/* One random operation or I/O, on the store and, when it worked, in the plan. Those that cannot
 * work now say so, and nothing has changed. Whether it was an operation. */
bool forest_step(struct forest *f);

#endif

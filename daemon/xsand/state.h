/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a node remembers from run to run, in STATE_DIR/state.json: the configuration file as it was
 * last read, and what was wanted, both as models in the form of a configuration file. The file is
 * replaced as a whole (written beside, synced, renamed, directory synced), so after any crash it is
 * the old one or the new one. A lock keeps a second node out of the directory.
 */
#ifndef XSAND_STATE_H
#define XSAND_STATE_H

#include <jansson.h>

struct state;
struct xr_reactor;
struct xu_error;

/* Makes the directory if only the last part of its path is missing, and locks it. Blocks. -EBUSY:
 * another node has it. */
int state_open(const char *dir, struct state **ret_state, struct xu_error *err);
/* No save may be under way. NULL is fine. */
void state_close(struct state *state);

/* Reads the file into two new models; empty ones when there is none yet. Blocks. -EINVAL: it is
 * damaged. */
int state_load(struct state *state, json_t **ret_file, json_t **ret_wanted, struct xu_error *err);

/*
 * Writes both models, on a worker; nothing is written when they are what was written last. `done`
 * comes once, later or at once, on the reactor, and borrows the error. One at a time.
 */
void state_save(struct state *state, struct xr_reactor *reactor, const json_t *file,
	const json_t *wanted, void (*done)(void *arg, const struct xu_error *err), void *arg);

#endif

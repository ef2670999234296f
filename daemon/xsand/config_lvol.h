/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores and volumes as entries of a configuration and of models: "lvol_stores" by their names,
 * "lvol_volumes" by STORE/NAME. Functions that return NULL or -ENOMEM have run out of memory.
 */
#ifndef XSAND_CONFIG_LVOL_H
#define XSAND_CONFIG_LVOL_H

#include <jansson.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/model.h"

struct xbdev_section;

/* That of one of the two lists. */
const struct xbdev_section *config_lvol_section(const char *list);

/* The entry without what only the node says of it; new. */
json_t *config_lvol_words(const json_t *entry);
/* A checked entry in its one form, and its key in the model; new. */
json_t *config_lvol_canonical(const char *list, const json_t *entry, char key[MODEL_KEY_SIZE]);

/* It has been made or found, and is what the entry says: notes so, and its identity. */
int config_lvol_pin(json_t *entry, const char *uuid);
/* What an entry that has been edited keeps of the one before. */
int config_lvol_keep(json_t *entry, const json_t *older);

/* Both lists, either of which may be NULL, and what the stores are on. */
int check_lvol(struct check *c, json_t *stores, json_t *volumes, json_t *devices);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model: what a node is to have (devices, subsystems, the log level) as one JSON value in which
 * everything is found by its name. Three of them meet in a node: what the configuration file says,
 * what is wanted now (the file and the changes made at run time), and what has been made.
 *
 *	{ "log": {"level": …},
 *	  "devices": { NAME: entry },
 *	  "lvol_stores": { NAME: entry }, "lvol_volumes": { "STORE/NAME": entry },
 *	  "nvmf": { "transport": {…},
 *	            "subsystems": { NQN: { serial_number …, "hosts": { NQN: true },
 *	                                   "namespaces": { NSID: {…} },
 *	                                   "listeners": { "tcp ADDRESS PORT": {…} },
 *	                                   "registry": { "ADDRESS PORT": {…} } } } } }
 *
 * Every value is in its one form (xbdev_config_canonical()), so equal means the same. "devices",
 * "lvol_stores", "lvol_volumes", "subsystems" and a subsystem's "hosts", "namespaces", "listeners"
 *and "allow_any_host" are always there, and so is the level of what came from a configuration.
 *Functions that return NULL or -ENOMEM have run out of memory.
 */
#ifndef XSAND_MODEL_H
#define XSAND_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_listener;
struct xu_error;

/* Whether two values are the same; a missing one (NULL) is the same as a missing one only. */
static inline bool model_equal(const json_t *a, const json_t *b)
{
	return a == b || json_equal(a, b);
}

json_t *model_new(void);

/* From a checked document in the form of the configuration file, and back: only what the model
 * holds ("log" with the level, "devices", "nvmf"). New values. */
json_t *model_from_config(json_t *root);
json_t *model_to_config(const json_t *model);

/* Whether the model could be a configuration file: -EINVAL with a sentence. */
int model_check(const json_t *model, struct xu_error *err);

/* Parts; NULL when there is none of that name. Borrowed. */
json_t *model_devices(const json_t *model);
json_t *model_subsystems(const json_t *model);
json_t *model_subsystem(const json_t *model, const char *nqn);
/* The entry of the device with this name or UUID. */
json_t *model_find_device(const json_t *model, const char *name_or_uuid);
/* Whether a name has the form STORE/VOLUME: that of a logical volume, which is on a device and has
 * no entry. A device that is called so comes first. */
bool model_is_volume_name(const char *name);

/* New objects from checked ones of the configuration. */
json_t *model_subsystem_new(json_t *object);
json_t *model_ns_new(json_t *object);
json_t *model_listener_new(json_t *object);

#define MODEL_KEY_SIZE 256u /* of a key that is made */
/* The highest NSID of a subsystem of the model. */
uint32_t model_max_namespaces(const json_t *subsystem);
void model_ns_key(uint32_t nsid, char key[MODEL_KEY_SIZE]);
void model_listener_key(const json_t *listener, char key[MODEL_KEY_SIZE]);

/* The entry of the device that stands on this one; NULL: none does. */
json_t *model_find_above(const json_t *model, const json_t *entry);
/* Who uses the device of this entry, for sentences; false: nobody. */
bool model_find_user(const json_t *model, const json_t *entry, char *text, size_t size);

/* Takes the device away, what stands on it, and the namespaces of all these. -ENOENT. */
int model_remove_device(json_t *model, const char *name_or_uuid);

/* Takes a base out of the lists of an array's entry, which has as many roles as before. It must
 * have another. -ENOMEM. */
int model_drop_member(json_t *entry, size_t nth);

/* Gives each device that has none a UUID; `random` makes one. */
int model_make_uuids(json_t *model, void (*random)(void *arg, char text[37]), void *arg);

#endif

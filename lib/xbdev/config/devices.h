/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices as a configuration describes them. An entry is a JSON object: "driver" and the driver's
 * own parameters. Here entries are checked before anything is touched, brought into one form so
 * that two of them can be compared, made into devices, and changed while they run as far as their
 * driver can.
 */
#ifndef XBDEV_CONFIG_DEVICES_H
#define XBDEV_CONFIG_DEVICES_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/xbdev/driver/driver.h"

struct xbdev_ctx;
struct xbdev_device;
struct xu_error;

#define XBDEV_CONFIG_MAX_DEPTH 32u /* devices that stand on each other */

/*
 * Checks one entry: its driver, the driver's parameters, and what holds for every device (name,
 * block size, size). -EINVAL with a sentence, and the path of the culprit in the entry in `path`.
 */
int xbdev_config_check_device(json_t *entry, char path[XU_PARAM_PATH_SIZE], struct xu_error *err);

/* Checks a list of entries: each of them, that names and UUIDs are used once, that each base is in
 * the list, has one user and no circle is made. The path begins with the index: "[2].base". */
int xbdev_config_check_devices(json_t *list, char path[XU_PARAM_PATH_SIZE], struct xu_error *err);

/*
 * The entries of a checked list by their names and UUIDs: a new object of indexes, in which
 * _lookup() finds one by either. NULL: out of memory; not found.
 */
json_t *xbdev_config_names(json_t *list);
json_t *xbdev_config_lookup(json_t *names, const char *name_or_uuid);
/* Adds a name or UUID to such an object. 0; -1: out of memory. */
int xbdev_config_add_name(json_t *names, const char *name_or_uuid, size_t index);

/* A checked entry in its one form, as a new object: the driver's first name, then its parameters as
 * below, the size in bytes even when it was given in blocks. NULL: out of memory. */
json_t *xbdev_config_canonical(json_t *entry);

/*
 * The members of a checked object in their one form, as a new object: sizes as numbers of bytes,
 * UUIDs in lower case, choices as the table spells them; what equals the default (`defaults` is a
 * struct of options) and comments are left out. NULL: out of memory.
 */
json_t *xbdev_config_canonical_params(
	const struct xu_param *params, const void *defaults, json_t *object);

/* A copy, deep and complete (the JSON library's own may silently lack members when it runs out of
 * memory); NULL: out of memory. */
json_t *xbdev_config_copy(const json_t *value);

/*
 * The names or UUIDs of the devices that a checked entry stands on: one for most that stand on
 * something ("base"), several for an array ("members"). _base_at() gives NULL past the last;
 * _base_key() writes where it is said: "base", "members[2]".
 */
size_t xbdev_config_nr_bases(const json_t *entry);
const char *xbdev_config_base_at(const json_t *entry, size_t nth);
void xbdev_config_base_key(const json_t *entry, size_t nth, char *text, size_t size);
/* Whether the device of `entry` stands on that of `below`. */
bool xbdev_config_stands_on(const json_t *entry, const json_t *below);
/* The only one, of an entry that is no array. */
const char *xbdev_config_base(const json_t *entry);

/* Whether the entry is of an array: its device lies on others, with its identity. */
bool xbdev_config_is_array(const json_t *entry);

/* Whether the device of `entry` is the one that is called `name_or_uuid`. */
bool xbdev_config_is_called(const json_t *entry, const char *name_or_uuid);

/* Whether devices of the entry's driver take a UUID that is not on a medium already. */
bool xbdev_config_has_uuid(const json_t *entry);

/*
 * What a device must not lose when it is made again: its UUID and, where the driver would choose
 * it, its block size; and of an array that it has been made already. _pin() adds to a canonical
 * entry what the running device has; _keep() what an older entry of that name had, as far as
 * `entry` says nothing itself: the UUID when the driver is the same (and the disk, where a disk has
 * one; and a member, of an array), the block size when the file is the same too. -ENOMEM.
 */
int xbdev_config_pin(json_t *entry, const struct xbdev_device *dev);
int xbdev_config_keep(json_t *entry, const json_t *older);

/* Makes the device of a checked entry, and waits until a store of volumes that it holds has been
 * attached. As xbdev_driver.create. On the control reactor. */
void xbdev_config_create(struct xbdev_ctx *ctx, json_t *entry, xbdev_created_fn done, void *arg);

/*
 * The first parameter in which the canonical entries differ and which cannot be changed while the
 * device runs; NULL: xbdev_config_change() can. `dev` may be NULL when it is not known whether its
 * driver can change sizes.
 */
const char *xbdev_config_fixed(
	const struct xbdev_device *dev, const json_t *from, const json_t *to);

/* Changes a device that was made by `from` to `to`. `done` comes once, maybe before this returns;
 * it borrows the error. On the control reactor. */
void xbdev_config_change(struct xbdev_device *dev, const json_t *to,
	void (*done)(void *arg, const struct xu_error *err), void *arg);

#endif

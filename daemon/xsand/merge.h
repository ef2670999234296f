/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bringing an edited configuration file and the changes made at run time together, by a three-way
 * merge of models: the file as it was when it was last read (base), the file as it is now, and what
 * was wanted last (current: that file and the changes). For each object (a device, a namespace, a
 * listener, a host, a single value):
 *
 *	file == base               the operator has not touched it: current wins, with its absence
 *too file != base               the operator has edited it: the file wins; when a change made at
 *	                           run time is lost by that, a note says which
 *
 * So neither an edit nor a run-time change is lost in silence. Identities (xbdev_config_keep())
 *stay with the name of a device, whoever wins.
 */
#ifndef XSAND_MERGE_H
#define XSAND_MERGE_H

#include <jansson.h>

struct xu_error;

/*
 * Merges into a new model and adds sentences on what was overridden to `notes` (an array). -EINVAL:
 * what comes out contradicts itself; the sentence says how and what to do. -ENOMEM.
 */
int merge_models(const json_t *base, const json_t *file, const json_t *current, json_t **ret_model,
	json_t *notes, struct xu_error *err);

#endif

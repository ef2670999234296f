/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A change is made to a copy of what there is and put on the condition that it is still that; when
 * another registry was faster it is made once more, to what there is then. Nothing is kept here:
 * the documents are small, and the store has them in memory.
 */
#include "lib/xregistry/alert/kept.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xregistry/document.h"
#include "lib/xregistry/store.h"

#define SILENCES  "silences"
#define TOLD      "alerts"
#define TRIES_MAX 20u /* of a change, when others are faster */

static uint64_t unix_ms(void)
{
	return xu_clock_system()->wall_ns(xu_clock_system()) / XU_NS_PER_MS;
}

/* ---- changing ---- */

/* Changes the document; false: no memory. */
typedef bool (*edit_fn)(json_t *document, const void *arg);

static int try_change(struct xreg_store *store, const char *name, edit_fn edit, const void *arg,
	struct xu_error *err)
{
	uint64_t version;
	json_t *before = xreg_store_document(store, name, &version);
	json_t *after = version == 0 ? json_object() : json_deep_copy(before);
	int rc = 0;

	if (after == NULL || !edit(after, arg)) {
		rc = xu_error_set_errno(err, -ENOMEM, "saving '%s'", name);
	} else if (version != 0 ? !json_equal(before, after) : json_object_size(after) != 0) {
		rc = xreg_store_put_document(store, name, after, version, &version, err);
	}
	json_decref(before);
	json_decref(after);
	return rc;
}

static int change(struct xreg_store *store, const char *name, edit_fn edit, const void *arg,
	struct xu_error *err)
{
	int rc = -ESTALE;

	for (uint32_t i = 0; i < TRIES_MAX && rc == -ESTALE; i++) {
		rc = try_change(store, name, edit, arg, err);
	}
	return rc != -ESTALE ? rc
			     : xu_error_set(err, -EBUSY,
				       "'%s' could not be saved: other registries were always "
				       "first; try again",
				       name);
}

static uint64_t number_of(const json_t *document, const char *rule, const char *member)
{
	json_int_t number =
		json_integer_value(json_object_get(json_object_get(document, rule), member));

	return number > 0 ? (uint64_t)number : 0;
}

/* ---- silences ---- */

json_t *xreg__silences(struct xreg_store *store)
{
	uint64_t version;

	return xreg_store_document(store, SILENCES, &version);
}

uint64_t xreg__silence_of(const json_t *silences, const char *rule, const char **ret_comment)
{
	const char *comment =
		json_string_value(json_object_get(json_object_get(silences, rule), "comment"));

	*ret_comment = comment != NULL ? comment : "";
	return number_of(silences, rule, "until_ms");
}

static void drop_old_silences(json_t *silences)
{
	uint64_t now_ms = unix_ms();
	json_t *silence;
	const char *rule;
	void *next;

	json_object_foreach_safe (silences, next, rule, silence) {
		if (number_of(silences, rule, "until_ms") <= now_ms) {
			json_object_del(silences, rule);
		}
	}
}

struct silence {
	const char *rule, *comment;
	uint64_t until_ms;
};

static bool edit_silence(json_t *silences, const void *arg)
{
	const struct silence *silence = arg;
	char comment[XREG__COMMENT_SIZE];

	drop_old_silences(silences);
	if (silence->until_ms == 0) {
		json_object_del(silences, silence->rule);
		return true;
	}
	snprintf(comment, sizeof(comment), "%s", silence->comment);
	xu_text_mend(comment);
	return json_object_set_new(silences, silence->rule,
		       json_pack("{s:I, s:s}", "until_ms", (json_int_t)silence->until_ms, "comment",
			       comment)) == 0;
}

int xreg__silence(struct xreg_store *store, const char *rule, uint64_t until_ms,
	const char *comment, struct xu_error *err)
{
	const struct silence silence = {rule, comment, until_ms};

	return change(store, SILENCES, edit_silence, &silence, err);
}

static bool edit_merge(json_t *silences, const void *arg)
{
	const json_t *file = arg;
	const char *rule, *comment;
	json_t *silence;

	json_object_foreach ((json_t *)file, rule, silence) {
		uint64_t until_ms = xreg__silence_of(file, rule, &comment);

		if (until_ms > number_of(silences, rule, "until_ms") &&
			!edit_silence(silences, &(struct silence){rule, comment, until_ms})) {
			return false;
		}
	}
	drop_old_silences(silences);
	return true;
}

int xreg__silences_take_file(struct xreg_store *store, const char *dir, struct xu_error *err)
{
	json_t *file = NULL;
	int rc = xreg_document_load(dir, SILENCES, &file, err);

	if (rc != 0 || file == NULL) {
		return rc;
	}
	rc = change(store, SILENCES, edit_merge, file, err);
	json_decref(file);
	return rc == 0 ? xreg_document_retire(dir, SILENCES, err) : rc;
}

/* ---- who was told ---- */

json_t *xreg__told(struct xreg_store *store)
{
	uint64_t version;

	return xreg_store_document(store, TOLD, &version);
}

uint64_t xreg__told_ms(const json_t *told, const char *rule)
{
	return number_of(told, rule, "told_ms");
}

static bool edit_told(json_t *told, const void *arg)
{
	const json_t *changes = arg;
	json_t *change;
	const char *rule;

	json_object_foreach ((json_t *)changes, rule, change) {
		if (json_integer_value(change) == 0) {
			json_object_del(told, rule);
		} else if (json_object_set_new(told, rule, json_pack("{s:O}", "told_ms", change)) !=
			   0) {
			return false;
		}
	}
	return true;
}

int xreg__told_put(struct xreg_store *store, const json_t *changes, struct xu_error *err)
{
	return change(store, TOLD, edit_told, changes, err);
}

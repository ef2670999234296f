/* SPDX-License-Identifier: BSD-3-Clause */
/* Records as the texts that backends keep. */
#include "lib/xregistry/backend.h"

#include <errno.h>
#include <jansson.h>

#include "lib/util/error.h"
#include "lib/xregistry/target.h"

int xreg_backend_encode(const struct xreg_target *target, char **ret_text, struct xu_error *err)
{
	json_t *object;

	*ret_text = NULL;
	if (target == NULL) {
		return 0;
	}
	object = xreg_target_to_json(target);
	*ret_text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	return *ret_text != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "writing a record");
}

int xreg_backend_decode(
	const char *text, size_t len, struct xreg_target **ret_target, struct xu_error *err)
{
	json_error_t where;
	json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	int rc;

	if (object == NULL) {
		return xu_error_set(err, -EILSEQ, "a record is no JSON: %s", where.text);
	}
	rc = xreg_target_from_json(object, ret_target, err);
	json_decref(object);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What happens to arrays, said once: to the log and, as notes, to those who watch. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/raid/array.h"

/* Events that somebody has to do something about. */
static bool is_bad(const char *event)
{
	static const char *const bad[] = {
		"failed", "error", "stopped", "bad-blocks", "blocks-lost"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (strcmp(bad[i], event) == 0) {
			return true;
		}
	}
	return false;
}

void xbdev__md_note(const struct xbdev_md_array *array, const char *event,
	const struct xbdev_md_member *member, const char *fmt, ...)
{
	char text[XBDEV_NOTE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	xu_log(xbdev_ctx_log(array->dev.ctx), is_bad(event) ? XU_LOG_ERROR : XU_LOG_INFO,
		"array %s: %s", array->dev.name, text);
	xbdev_ctx_note(array->dev.ctx, array->dev.name, event, member != NULL ? member->name : NULL,
		"%s", text);
}

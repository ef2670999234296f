/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe Qualified Names: what a name must look like; nothing is kept. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"

/* "nqn.yyyy-mm.reverse.domain:anything", or the UUID form (Base 4.5). */
int xnvmf_nqn_check(const char *nqn, struct xu_error *err)
{
	static const char form[] = "nqn.dddd-dd.";
	size_t len = strnlen(nqn, XNVMF_NQN_MAX + 1);

	if (len > XNVMF_NQN_MAX) {
		return xu_error_set(err, -EINVAL, "NQN '%.40s…' is longer than %u characters", nqn,
			XNVMF_NQN_MAX);
	}
	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		bool fits = form[i] == 'd' ? isdigit((unsigned char)nqn[i]) : nqn[i] == form[i];

		if (!fits) {
			return xu_error_set(err, -EINVAL,
				"'%s' is not an NQN; the form is nqn.2026-11.com.example:name",
				nqn);
		}
	}
	for (size_t i = 0; i < len; i++) {
		if (nqn[i] <= ' ' || nqn[i] > '~') {
			return xu_error_set(err, -EINVAL,
				"NQN '%s': character %zu is a space or not printable ASCII", nqn,
				i + 1);
		}
	}
	return 0;
}

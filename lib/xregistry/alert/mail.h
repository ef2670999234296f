/* SPDX-License-Identifier: BSD-3-Clause */
/* A mail as it goes over SMTP (RFC 5322). */
#ifndef LIB_XREGISTRY_ALERT_MAIL_H
#define LIB_XREGISTRY_ALERT_MAIL_H

#include <stdint.h>

struct xreg__mail {
	const char *from, *to;      /* addresses */
	const char *subject, *text; /* UTF-8, lines end with "\n" */
	uint64_t at_ms;             /* Unix time */
	const char *id;             /* that no other mail has */
};

/* Plain ASCII with "\r\n" after every line, whatever the texts have in them. To be freed; NULL: no
 * memory. */
char *xreg__mail_write(const struct xreg__mail *mail);

#endif

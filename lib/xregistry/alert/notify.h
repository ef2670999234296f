/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notifications to people and programs: mail (SMTP), Slack, webhooks. Sent by one thread, each
 * tried again a few times with longer and longer pauses, each recorded with how it ended. The queue
 * is bounded: what does not fit is told in the log.
 */
#ifndef LIB_XREGISTRY_NOTIFY_H
#define LIB_XREGISTRY_NOTIFY_H

#include <jansson.h>
#include <stdint.h>

struct xreg_notifier;
struct xu_error;
struct xu_logger;

#define XREG_NOTIFY_TARGET_SIZE 512u

struct xreg_notifier_opts {
	const char *smtp_url; /* "smtp://host:port" or "smtps://…"; NULL: no mail */
	const char *smtp_from, *smtp_user, *smtp_password; /* the last two may be NULL */
	const char *smtp_ca_path; /* who signs the server's certificate (PEM), which it then has to
				     have; NULL: whom the system trusts */
	const char *slack_url;    /* webhook of "slack:#channel"; may be NULL */
	uint32_t nr_tries;        /* 0: 4 */
	uint32_t pause_ms;        /* before the second try, then twice as long; 0: 1000 */
	struct xu_logger *log;
};

/* The options' texts are borrowed until the end. */
int xreg_notifier_start(const struct xreg_notifier_opts *opts, struct xreg_notifier **ret_notifier,
	struct xu_error *err);
/* What waits is given up. NULL is fine. */
void xreg_notifier_stop(struct xreg_notifier *notifier);

/* -EINVAL with a sentence: "email:ADDRESS", "slack:URL or #channel" or "webhook:URL" is needed, and
 * for the first two what the options say. */
int xreg_notify_check(
	const struct xreg_notifier *notifier, const char *target, struct xu_error *err);

/* Sends later. `subject` and `text` for people; webhooks are sent `body` (borrowed). Any thread.
 * Returns its number, one more than that of the one before; 0: it is lost, which the log tells. */
uint64_t xreg_notify(struct xreg_notifier *notifier, const char *target, const char *subject,
	const char *text, const json_t *body);

/* The number of the last one that has ended, sent or given up, as all before it have. Any thread.
 */
uint64_t xreg_notifier_ended(struct xreg_notifier *notifier);
/* Calls `fn` (NULL: nobody, and it is not called any more when this returns) after each that has
 * ended, on the sender's thread, where it must not call this. */
void xreg_notifier_watch(struct xreg_notifier *notifier, void (*fn)(void *arg), void *arg);

/* The last ones, newest first: [{"at_ms", "target", "subject", "status", "tries", "problem"}…],
 * where status is "waiting", "sent" or "failed". New reference. Any thread. */
json_t *xreg_notifier_json(struct xreg_notifier *notifier);

#endif

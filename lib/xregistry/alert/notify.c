/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of records, which is also the queue: the sender takes the oldest that waits. A record that
 * is being sent has its contents to itself: its slot is not used again before it has ended.
 */
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/random.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/alert/mail.h"
#include "lib/xregistry/alert/notify.h"

#define RECORDS    256u
#define NR_TRIES   4u
#define PAUSE_MS   1000u
#define TIMEOUT_S  15L
#define CONNECT_S  5L
#define ANSWER_MAX (64u << 10)

enum status { FREE, WAITING, SENDING, SENT, FAILED };

static const char *const status_names[] = {"free", "waiting", "waiting", "sent", "failed"};

struct record {
	enum status status;
	uint64_t at_ms;
	char target[XREG_NOTIFY_TARGET_SIZE];
	char subject[256], id[XU_UUID_TEXT_SIZE]; /* a mail's, the same at every try */
	char *text, *body;                        /* until it has ended */
	uint32_t nr_tries;
	char problem[256];
};

struct xreg_notifier {
	struct xreg_notifier_opts opts;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct xu_random random;
	struct record records[RECORDS];
	uint64_t next_in, next_out; /* numbers of records, which are modulo RECORDS */
	bool must_stop;
	pthread_mutex_t watch_mutex; /* of what follows */
	void (*watch)(void *arg);
	void *watch_arg;
};

/* ---- sending ---- */

struct upload {
	const char *text;
	size_t left;
};

static size_t on_read(char *buf, size_t size, size_t count, void *arg)
{
	struct upload *upload = arg;
	size_t part = size * count < upload->left ? size * count : upload->left;

	memcpy(buf, upload->text, part);
	upload->text += part;
	upload->left -= part;
	return part;
}

static size_t on_answer(char *data, size_t size, size_t count, void *arg)
{
	size_t *total = arg;

	*total += size * count;
	return *total <= ANSWER_MAX ? size * count : 0;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t upnow)
{
	struct xreg_notifier *notifier = arg;
	bool must_stop;

	pthread_mutex_lock(&notifier->mutex);
	must_stop = notifier->must_stop;
	pthread_mutex_unlock(&notifier->mutex);
	return must_stop;
}

static void set_common(CURL *curl, struct xreg_notifier *notifier, const char *url, char *problem)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, notifier);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
}

static void post(CURL *curl, struct xreg_notifier *notifier, const char *url, const char *body,
	char problem[CURL_ERROR_SIZE])
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	size_t total = 0;
	long code = 0;
	CURLcode rc;

	set_common(curl, notifier, url, problem);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &total);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	if (rc != CURLE_OK && problem[0] == '\0') {
		snprintf(problem, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
	} else if (rc == CURLE_OK && (code < 200 || code > 299)) {
		snprintf(problem, CURL_ERROR_SIZE, "it was answered with %ld", code);
	}
	curl_slist_free_all(headers);
}

/* A password goes over TLS or not at all, and whoever says which CA to trust wants TLS, too. */
static bool needs_tls(const struct xreg_notifier_opts *opts)
{
	return opts->smtp_user != NULL || opts->smtp_ca_path != NULL;
}

static void mail(CURL *curl, struct xreg_notifier *notifier, const struct record *record,
	char problem[CURL_ERROR_SIZE])
{
	const struct xreg_notifier_opts *opts = &notifier->opts;
	struct curl_slist *recipients = curl_slist_append(NULL, record->target + 6);
	const struct xreg__mail content = {.from = opts->smtp_from,
		.to = record->target + 6,
		.subject = record->subject,
		.text = record->text,
		.at_ms = record->at_ms,
		.id = record->id};
	char *message = xreg__mail_write(&content);
	struct upload upload;
	size_t total = 0;
	CURLcode rc;

	if (message == NULL || recipients == NULL) {
		snprintf(problem, CURL_ERROR_SIZE, "no memory");
		curl_slist_free_all(recipients);
		free(message);
		return;
	}
	upload = (struct upload){message, strlen(message)};
	set_common(curl, notifier, opts->smtp_url, problem);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(
		curl, CURLOPT_USE_SSL, (long)(needs_tls(opts) ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, opts->smtp_from);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
	if (opts->smtp_ca_path != NULL) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, opts->smtp_ca_path);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (opts->smtp_user != NULL) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, opts->smtp_user);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, opts->smtp_password);
	}
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &total);
	rc = curl_easy_perform(curl);
	if (rc != CURLE_OK && problem[0] == '\0') {
		snprintf(problem, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
	}
	curl_slist_free_all(recipients);
	free(message);
}

static void slack(CURL *curl, struct xreg_notifier *notifier, const struct record *record,
	char problem[CURL_ERROR_SIZE])
{
	const char *where = record->target + 6;
	bool is_channel = where[0] == '#';
	json_t *body = json_pack("{s:s+++, s:s*}", "text", record->subject, "\n", record->text, "",
		"channel", is_channel ? where : NULL);
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL) {
		snprintf(problem, CURL_ERROR_SIZE, "no memory");
		return;
	}
	post(curl, notifier, is_channel ? notifier->opts.slack_url : where, text, problem);
	free(text);
}

/* Once; `problem` stays empty when it was taken. */
static void try_once(
	struct xreg_notifier *notifier, const struct record *record, char problem[CURL_ERROR_SIZE])
{
	CURL *curl = curl_easy_init();

	problem[0] = '\0';
	if (curl == NULL) {
		snprintf(problem, CURL_ERROR_SIZE, "no memory");
	} else if (strncmp(record->target, "email:", 6) == 0) {
		mail(curl, notifier, record, problem);
	} else if (strncmp(record->target, "slack:", 6) == 0) {
		slack(curl, notifier, record, problem);
	} else {
		post(curl, notifier, record->target + 8, record->body, problem);
	}
	curl_easy_cleanup(curl);
}

/* ---- the thread ---- */

/* Waits so long, or until the end; false: the end. Under the mutex. */
static bool pause_ms(struct xreg_notifier *notifier, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (!notifier->must_stop &&
		pthread_cond_timedwait(&notifier->cond, &notifier->mutex, &until) == 0) {
	}
	return !notifier->must_stop;
}

/* Sends one record; called and returns under the mutex. */
static void send_record(struct xreg_notifier *notifier, struct record *record)
{
	uint64_t wait_ms = notifier->opts.pause_ms;
	char problem[CURL_ERROR_SIZE];
	bool is_sent = false, goes_on = true;

	record->status = SENDING;
	while (goes_on && !is_sent && record->nr_tries < notifier->opts.nr_tries) {
		if (record->nr_tries != 0) {
			goes_on = pause_ms(notifier, wait_ms);
			wait_ms *= 2;
		}
		if (goes_on) {
			pthread_mutex_unlock(&notifier->mutex);
			try_once(notifier, record, problem);
			pthread_mutex_lock(&notifier->mutex);
			record->nr_tries++;
			is_sent = problem[0] == '\0';
			snprintf(record->problem, sizeof(record->problem), "%.255s", problem);
		}
	}
	record->status = is_sent ? SENT : FAILED;
	free(record->text);
	free(record->body);
	record->text = record->body = NULL;
	if (!is_sent) {
		xu_err(notifier->opts.log, "the notification of %s was not taken in %u tries: %s",
			record->target, record->nr_tries, record->problem);
	}
}

static void tell_watcher(struct xreg_notifier *notifier)
{
	pthread_mutex_lock(&notifier->watch_mutex);
	if (notifier->watch != NULL) {
		notifier->watch(notifier->watch_arg);
	}
	pthread_mutex_unlock(&notifier->watch_mutex);
}

static void *notifier_main(void *arg)
{
	struct xreg_notifier *notifier = arg;

	pthread_mutex_lock(&notifier->mutex);
	while (!notifier->must_stop) {
		if (notifier->next_out == notifier->next_in) {
			pthread_cond_wait(&notifier->cond, &notifier->mutex);
			continue;
		}
		send_record(notifier, &notifier->records[notifier->next_out % RECORDS]);
		notifier->next_out++;
		pthread_mutex_unlock(&notifier->mutex);
		tell_watcher(notifier);
		pthread_mutex_lock(&notifier->mutex);
	}
	pthread_mutex_unlock(&notifier->mutex);
	return NULL;
}

/* ---- the interface ---- */

int xreg_notify_check(
	const struct xreg_notifier *notifier, const char *target, struct xu_error *err)
{
	const struct xreg_notifier_opts *opts = &notifier->opts;
	bool is_slack = strncmp(target, "slack:", 6) == 0;
	const char *url = strncmp(target, "webhook:", 8) == 0 ? target + 8
			  : is_slack                          ? target + 6
							      : NULL;

	if (strlen(target) >= XREG_NOTIFY_TARGET_SIZE || strpbrk(target, "\r\n") != NULL) {
		return xu_error_set(
			err, -EINVAL, "'%.64s' is too long or has several lines", target);
	}
	if (strncmp(target, "email:", 6) == 0) {
		if (strchr(target + 6, '@') == NULL) {
			return xu_error_set(
				err, -EINVAL, "'%.64s' has no mail address behind email:", target);
		}
		return opts->smtp_url != NULL && opts->smtp_from != NULL
			       ? 0
			       : xu_error_set(err, -EINVAL,
					 "'%.64s' needs smtp_url and smtp_from in the section "
					 "alerts",
					 target);
	}
	if (is_slack && target[6] == '#') {
		return opts->slack_url != NULL
			       ? 0
			       : xu_error_set(err, -EINVAL,
					 "'%.64s' needs slack_webhook_url in the section alerts",
					 target);
	}
	if (url == NULL || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)) {
		return xu_error_set(err, -EINVAL,
			"'%.64s' is none of email:ADDRESS, slack:#CHANNEL, slack:URL and "
			"webhook:URL",
			target);
	}
	return 0;
}

uint64_t xreg_notify(struct xreg_notifier *notifier, const char *target, const char *subject,
	const char *text, const json_t *body)
{
	struct timespec now;
	struct record *record;
	struct xu_uuid id;
	uint64_t number = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&notifier->mutex);
	if (notifier->next_in - notifier->next_out >= RECORDS) {
		xu_err(notifier->opts.log, "the notification of %s is lost: too many wait", target);
		pthread_mutex_unlock(&notifier->mutex);
		return 0;
	}
	record = &notifier->records[notifier->next_in % RECORDS];
	*record = (struct record){.status = WAITING,
		.at_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
		.text = strdup(text),
		.body = json_dumps(body, JSON_COMPACT)};
	snprintf(record->target, sizeof(record->target), "%s", target);
	snprintf(record->subject, sizeof(record->subject), "%s", subject);
	id = xu_uuid_random(&notifier->random);
	xu_uuid_format(&id, record->id);
	if (record->text == NULL || record->body == NULL) {
		free(record->text);
		free(record->body);
		*record = (struct record){0};
		xu_err(notifier->opts.log, "the notification of %s is lost: no memory", target);
	} else {
		number = ++notifier->next_in;
		pthread_cond_signal(&notifier->cond);
	}
	pthread_mutex_unlock(&notifier->mutex);
	return number;
}

uint64_t xreg_notifier_ended(struct xreg_notifier *notifier)
{
	uint64_t ended;

	pthread_mutex_lock(&notifier->mutex);
	ended = notifier->next_out;
	pthread_mutex_unlock(&notifier->mutex);
	return ended;
}

void xreg_notifier_watch(struct xreg_notifier *notifier, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&notifier->watch_mutex);
	notifier->watch = fn;
	notifier->watch_arg = arg;
	pthread_mutex_unlock(&notifier->watch_mutex);
}

json_t *xreg_notifier_json(struct xreg_notifier *notifier)
{
	json_t *list = json_array();

	pthread_mutex_lock(&notifier->mutex);
	for (uint64_t i = 0; i < RECORDS && i < notifier->next_in; i++) {
		const struct record *record =
			&notifier->records[(notifier->next_in - 1 - i) % RECORDS];

		json_array_append_new(list,
			json_pack("{s:I, s:s, s:s, s:s, s:i, s:s}", "at_ms",
				(json_int_t)record->at_ms, "target", record->target, "subject",
				record->subject, "status", status_names[record->status], "tries",
				(int)record->nr_tries, "problem", record->problem));
	}
	pthread_mutex_unlock(&notifier->mutex);
	return list;
}

int xreg_notifier_start(const struct xreg_notifier_opts *opts, struct xreg_notifier **ret_notifier,
	struct xu_error *err)
{
	struct xreg_notifier *notifier = calloc(1, sizeof(*notifier));
	pthread_condattr_t attr;
	int rc;

	if (notifier == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing notifications");
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	notifier->opts = *opts;
	xu_random_seed_entropy(&notifier->random);
	notifier->opts.nr_tries = opts->nr_tries != 0 ? opts->nr_tries : NR_TRIES;
	notifier->opts.pause_ms = opts->pause_ms != 0 ? opts->pause_ms : PAUSE_MS;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&notifier->mutex, NULL);
	pthread_mutex_init(&notifier->watch_mutex, NULL);
	pthread_cond_init(&notifier->cond, &attr);
	pthread_condattr_destroy(&attr);
	rc = -pthread_create(&notifier->thread, NULL, notifier_main, notifier);
	if (rc != 0) {
		free(notifier);
		return xu_error_set_errno(err, rc, "preparing notifications");
	}
	*ret_notifier = notifier;
	return 0;
}

void xreg_notifier_stop(struct xreg_notifier *notifier)
{
	if (notifier == NULL) {
		return;
	}
	pthread_mutex_lock(&notifier->mutex);
	notifier->must_stop = true;
	pthread_cond_signal(&notifier->cond);
	pthread_mutex_unlock(&notifier->mutex);
	pthread_join(notifier->thread, NULL);
	for (uint32_t i = 0; i < RECORDS; i++) {
		free(notifier->records[i].text);
		free(notifier->records[i].body);
	}
	pthread_mutex_destroy(&notifier->mutex);
	pthread_mutex_destroy(&notifier->watch_mutex);
	pthread_cond_destroy(&notifier->cond);
	free(notifier);
}

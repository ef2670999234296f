/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes into the store from its backend: all of it at the start, later what other registries
 * have done, and documents. Events of others are applied to a draft as ours are and shown in parts
 * of a batch, so readers and watchers cannot tell whose they were. When what the others did is not
 * known any more event by event, everything is loaded anew: then the history begins anew too, and
 * who watches is told that it is compacted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xregistry/store_private.h"

/* ---- documents ---- */

/* Under documents_mutex. NULL: there is none. */
static struct xreg__document *find_document(struct xreg_store *store, const char *name)
{
	for (uint32_t i = 0; i < store->nr_documents; i++) {
		if (strcmp(store->documents[i].name, name) == 0) {
			return &store->documents[i];
		}
	}
	return NULL;
}

json_t *xreg_store_document(struct xreg_store *store, const char *name, uint64_t *ret_version)
{
	struct xreg__document *document;
	char *text = NULL;
	json_t *value;

	*ret_version = 0;
	pthread_mutex_lock(&store->documents_mutex);
	document = find_document(store, name);
	if (document != NULL) {
		text = strdup(document->text);
		*ret_version = document->version;
	}
	pthread_mutex_unlock(&store->documents_mutex);
	value = text != NULL ? json_loads(text, 0, NULL) : NULL;
	free(text);
	return value;
}

/* Keeps it (taken). False: it is there already, or there are too many. */
static bool keep_document(struct xreg_store *store, const char *name, char *text, uint64_t version)
{
	struct xreg__document *document;
	bool is_new;

	pthread_mutex_lock(&store->documents_mutex);
	document = find_document(store, name);
	if (document == NULL && store->nr_documents < XREG__DOCUMENTS_MAX &&
		strlen(name) < sizeof(document->name)) {
		document = &store->documents[store->nr_documents++];
		strcpy(document->name, name);
	}
	is_new = document != NULL && document->version != version;
	if (is_new) {
		char *before = document->text;

		document->text = text;
		document->version = version;
		text = before;
	}
	pthread_mutex_unlock(&store->documents_mutex);
	free(text);
	return is_new;
}

static void tell_document(
	struct xreg_store *store, const char *name, const json_t *value, uint64_t version)
{
	pthread_mutex_lock(&store->watch_mutex);
	for (struct xreg_document_watcher *watcher = store->document_watchers; watcher != NULL;) {
		struct xreg_document_watcher *next = watcher->next;

		if (strcmp(watcher->name, name) == 0) {
			watcher->fn(watcher, value, version);
		}
		watcher = next;
	}
	pthread_mutex_unlock(&store->watch_mutex);
}

static int on_document(void *arg, const char *name, const char *text, size_t len, uint64_t version,
	struct xu_error *err)
{
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	char *copy = strndup(text, len);
	int rc = 0;

	if (copy == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "reading '%.31s'", name);
	} else if (!json_is_object(value)) {
		rc = xu_error_set(err, -EILSEQ, "the document '%.31s' is no JSON object", name);
	}
	if (rc != 0) {
		free(copy);
	} else if (keep_document(arg, name, copy, version)) {
		tell_document(arg, name, value, version);
	}
	json_decref(value);
	return rc;
}

void xreg_store_watch_document(struct xreg_store *store, struct xreg_document_watcher *watcher)
{
	pthread_mutex_lock(&store->watch_mutex);
	watcher->next = store->document_watchers;
	store->document_watchers = watcher;
	pthread_mutex_unlock(&store->watch_mutex);
}

void xreg_store_unwatch_document(struct xreg_store *store, struct xreg_document_watcher *watcher)
{
	pthread_mutex_lock(&store->watch_mutex);
	for (struct xreg_document_watcher **at = &store->document_watchers; *at != NULL;
		at = &(*at)->next) {
		if (*at == watcher) {
			*at = watcher->next;
			break;
		}
	}
	pthread_mutex_unlock(&store->watch_mutex);
}

static uint64_t version_of(struct xreg_store *store, const char *name)
{
	struct xreg__document *document;
	uint64_t version;

	pthread_mutex_lock(&store->documents_mutex);
	document = find_document(store, name);
	version = document != NULL ? document->version : 0;
	pthread_mutex_unlock(&store->documents_mutex);
	return version;
}

void xreg__store_put(struct xreg_store *store, struct xreg__put *put)
{
	if (version_of(store, put->name) != put->if_version) {
		put->rc = xu_error_set(put->err, -ESTALE,
			"'%s' was changed by another meanwhile; read it again", put->name);
		return;
	}
	put->rc = store->ops->put_document(
		store->backend, put->name, put->text, put->if_version, &put->version, put->err);
	if (put->rc == 0) {
		keep_document(store, put->name, put->text, put->version);
		put->text = NULL;
	}
}

/* ---- everything ---- */

static int on_target(void *arg, struct xreg_target *target, struct xu_error *err)
{
	struct xreg_store *store = arg;
	const struct xreg_target *other =
		xreg_view_first(store->draft, XREG_BY_PLACE, target->place);
	int rc;

	if (other != NULL) {
		return xu_error_set(err, -EILSEQ, "the data has '%s' twice, as %s and %s",
			target->place, other->origin.id, target->origin.id);
	}
	rc = xreg__view_replace(store->draft, NULL, target, &store->random);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "loading a target");
}

/* Only at the start: nobody reads yet. */
static int on_old_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	xreg__store_keep(arg, xreg__event_copy(event));
	return 0;
}

/* The history of before is another's. */
static int on_unwanted_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	return 0;
}

int xreg__store_load(struct xreg_store *store, struct xu_error *err)
{
	const struct xreg_loader loader = {on_target,
		store->has_writer ? on_unwanted_event : on_old_event, on_document, store};
	uint64_t revision;
	int rc;

	store->draft = xreg__view_new(NULL);
	if (store->draft == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "loading the targets");
	}
	rc = store->ops->load(store->backend, &loader, &revision, err);
	if (rc != 0) {
		xreg__store_drop(store);
		return rc;
	}
	store->draft->revision = revision;
	pthread_mutex_lock(&store->events_mutex);
	/* Without the events up to it nobody can go on before it. */
	if (store->has_writer || store->revision != revision) {
		store->first_event = revision + 1;
		store->revision = revision;
	}
	pthread_mutex_unlock(&store->events_mutex);
	xreg__store_show(store);
	return 0;
}

/* ---- others ---- */

/* Applies what another registry did; what the target was before is known here. */
static int on_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	struct xreg_store *store = arg;
	const struct xreg_target *before;
	struct xreg_event next = *event;
	const char *id;
	int rc;

	if (event->revision != store->draft->revision + 1 ||
		(event->after == NULL && event->before == NULL)) {
		return xu_error_set(err, -ESTALE, "an event of another registry is missing");
	}
	id = event->after != NULL ? event->after->origin.id : event->before->origin.id;
	before = xreg_view_get(store->draft, id);
	next.before = before != NULL ? xreg_target_ref(before) : NULL;
	next.after = event->after != NULL ? xreg_target_ref(event->after) : NULL;
	rc = xreg__view_replace(store->draft, before, next.after, &store->random);
	if (rc != 0) {
		xreg_target_unref(next.before);
		xreg_target_unref(next.after);
		return xu_error_set_errno(err, rc, "taking over a change");
	}
	store->draft->revision++;
	store->batch[store->nr_batch++] = next;
	if (store->nr_batch < XREG__BATCH_MAX) {
		return 0;
	}
	xreg__store_show(store);
	store->draft = xreg__view_new(store->view);
	return store->draft != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "taking over a change");
}

int xreg__store_follow(struct xreg_store *store, struct xu_error *err)
{
	const struct xreg_loader loader = {NULL, on_event, on_document, store};
	int rc;

	store->draft = xreg__view_new(store->view);
	if (store->draft == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "taking over changes");
	}
	rc = store->ops->follow(store->backend, &loader, err);
	if (rc == 0 && store->nr_batch != 0) {
		xreg__store_show(store);
		return 0;
	}
	xreg__store_drop(store);
	if (rc != -ESTALE) {
		return rc;
	}
	xu_warn(store->log, "%s; everything is loaded anew", err->text);
	*err = (struct xu_error){0};
	return xreg__store_load(store, err);
}

bool xreg_store_is_up(struct xreg_store *store)
{
	return store->ops->is_up == NULL || store->ops->is_up(store->backend);
}

bool xreg_store_leads(struct xreg_store *store)
{
	return store->ops->leads == NULL || store->ops->leads(store->backend);
}

void xreg_store_hear(struct xreg_store *store, const char *node_id, uint64_t unix_ms)
{
	if (store->ops->hear != NULL) {
		store->ops->hear(store->backend, node_id, unix_ms);
	}
}

uint64_t xreg_store_heard_ms(struct xreg_store *store, const char *node_id)
{
	return store->ops->heard_ms != NULL ? store->ops->heard_ms(store->backend, node_id) : 0;
}

const char *xreg_store_backend(const struct xreg_store *store)
{
	return store->ops->name;
}

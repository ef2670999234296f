/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys and values of the shared backends: written for others of our kind, read as if by nobody we
 * know. */
#include "lib/xregistry/shared.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/target.h"

/* ---- keys ---- */

void xreg_shared_key(
	const char *prefix, const char *kind, const char *name, char ret_key[XREG_SHARED_KEY_SIZE])
{
	snprintf(ret_key, XREG_SHARED_KEY_SIZE, "%s/%s/%s", prefix, kind, name);
}

void xreg_shared_event_key(
	const char *prefix, uint64_t revision, char ret_key[XREG_SHARED_KEY_SIZE])
{
	snprintf(ret_key, XREG_SHARED_KEY_SIZE, "%s/events/%020" PRIu64, prefix, revision);
}

bool xreg_shared_is_key(const struct xreg_kv *kv, const char *key)
{
	return kv->key_len == strlen(key) && memcmp(kv->key, key, kv->key_len) == 0;
}

void xreg_shared_name(const struct xreg_kv *kv, const char *prefix, const char *kind,
	char ret_name[XREG_SHARED_NAME_SIZE])
{
	char begin[XREG_SHARED_KEY_SIZE];
	size_t len;

	xreg_shared_key(prefix, kind, "", begin);
	len = strlen(begin);
	ret_name[0] = '\0';
	if (kv->key_len > len && kv->key_len - len < XREG_SHARED_NAME_SIZE &&
		memcmp(kv->key, begin, len) == 0) {
		memcpy(ret_name, kv->key + len, kv->key_len - len);
		ret_name[kv->key_len - len] = '\0';
	}
}

static int read_json(const struct xreg_kv *kv, json_t **ret_json, struct xu_error *err)
{
	json_error_t problem;

	*ret_json = json_loadb(kv->value, kv->len, JSON_REJECT_DUPLICATES, &problem);
	return *ret_json != NULL ? 0
				 : xu_error_set(err, -EILSEQ, "%s's %.*s is no JSON: %s",
					   kv->service, (int)kv->key_len, kv->key, problem.text);
}

/* ---- meta ---- */

int xreg_shared_read_meta(
	const struct xreg_kv *kv, struct xreg_shared_meta *ret_meta, struct xu_error *err)
{
	json_int_t version = 0, revision = -1, nr_documents = -1;
	json_t *json;
	int rc = read_json(kv, &json, err);

	if (rc != 0) {
		return rc;
	}
	rc = json_unpack(json, "{s:I, s:I, s:I}", "version", &version, "revision", &revision,
		"documents", &nr_documents);
	json_decref(json);
	if (rc != 0 || revision < 0 || nr_documents < 0) {
		return xu_error_set(err, -EILSEQ, "%s's %.*s is none of a registry's", kv->service,
			(int)kv->key_len, kv->key);
	}
	if (version != XREG_SHARED_VERSION) {
		return xu_error_set(err, -EINVAL,
			"the data in %s has version %lld, this program knows %d; use a newer one",
			kv->service, (long long)version, XREG_SHARED_VERSION);
	}
	*ret_meta = (struct xreg_shared_meta){(uint64_t)revision, (uint64_t)nr_documents};
	return 0;
}

void xreg_shared_write_meta(char text[XREG_SHARED_META_SIZE], const struct xreg_shared_meta *meta)
{
	snprintf(text, XREG_SHARED_META_SIZE,
		"{\"version\":%d,\"revision\":%" PRIu64 ",\"documents\":%" PRIu64 "}",
		XREG_SHARED_VERSION, meta->revision, meta->nr_documents);
}

int xreg_shared_no_meta(const char *service, const char *meta_key, struct xu_error *err)
{
	return xu_error_set(err, -EILSEQ,
		"the registry's data is gone from %s (there is no %s); restore it, or start the "
		"registry anew",
		service, meta_key);
}

/* ---- events ---- */

const char *xreg_shared_target_id(const struct xreg_event *event)
{
	return (event->after != NULL ? event->after : event->before)->origin.id;
}

bool xreg_shared_is_last_of_its_target(
	const struct xreg_event *events, uint32_t nr_events, uint32_t index)
{
	const char *id = xreg_shared_target_id(&events[index]);

	for (uint32_t i = index + 1; i < nr_events; i++) {
		if (strcmp(xreg_shared_target_id(&events[i]), id) == 0) {
			return false;
		}
	}
	return true;
}

/* NULL: no memory; so is json_pack() where one of its objects is missing. */
static json_t *event_json(const struct xreg_event *event)
{
	return json_pack("{s:I, s:I, s:i, s:o, s:o}", "revision", (json_int_t)event->revision,
		"at_ms", (json_int_t)event->at_ms, "kind", (int)event->kind, "before",
		event->before != NULL ? xreg_target_to_json(event->before) : json_null(), "after",
		event->after != NULL ? xreg_target_to_json(event->after) : json_null());
}

int xreg_shared_write_events(const char *batch, const struct xreg_event *events, uint32_t nr_events,
	char **ret_text, struct xu_error *err)
{
	json_t *list = json_array(), *json;

	*ret_text = NULL;
	for (uint32_t i = 0; i < nr_events; i++) {
		json_array_append_new(list, event_json(&events[i]));
	}
	if (json_array_size(list) == nr_events) {
		json = json_pack("{s:s, s:O}", "batch", batch, "events", list);
		*ret_text = json_dumps(json, JSON_COMPACT);
		json_decref(json);
	}
	json_decref(list);
	return *ret_text != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "writing events");
}

bool xreg_shared_is_batch(const struct xreg_kv *kv, const char *batch)
{
	json_t *json = json_loadb(kv->value, kv->len, 0, NULL);
	const char *other = json_string_value(json_object_get(json, "batch"));
	bool is_same = other != NULL && strcmp(other, batch) == 0;

	json_decref(json);
	return is_same;
}

/* ---- loading ---- */

int xreg_shared_load_target(
	const struct xreg_kv *kv, const struct xreg_loader *loader, struct xu_error *err)
{
	struct xreg_target *target;
	int rc = xreg_backend_decode(kv->value, kv->len, &target, err);

	if (rc != 0) {
		return xu_error_prefix(err, "%s's %.*s", kv->service, (int)kv->key_len, kv->key);
	}
	rc = loader->target(loader->arg, target, err);
	xreg_target_unref(target);
	return rc;
}

/* A record in an event; null is none. */
static int read_record(json_t *json, struct xreg_target **ret_target, struct xu_error *err)
{
	*ret_target = NULL;
	return json_is_object(json) ? xreg_target_from_json(json, ret_target, err) : 0;
}

static int hand_event(const json_t *json, const struct xreg_loader *loader, struct xu_error *err)
{
	struct xreg_event event = {
		.revision = (uint64_t)json_integer_value(json_object_get(json, "revision")),
		.at_ms = (uint64_t)json_integer_value(json_object_get(json, "at_ms")),
		.kind = (enum xreg_event_kind)json_integer_value(json_object_get(json, "kind"))};
	int rc = read_record(json_object_get(json, "before"), &event.before, err);

	if (rc == 0) {
		rc = read_record(json_object_get(json, "after"), &event.after, err);
	}
	if (rc == 0) {
		rc = loader->event(loader->arg, &event, err);
	}
	xreg_target_unref(event.before);
	xreg_target_unref(event.after);
	return rc;
}

int xreg_shared_load_events(
	const struct xreg_kv *kv, const struct xreg_loader *loader, struct xu_error *err)
{
	json_t *json, *event;
	size_t i;
	int rc = read_json(kv, &json, err);

	if (rc != 0) {
		return rc;
	}
	json_array_foreach (json_object_get(json, "events"), i, event) {
		rc = rc == 0 ? hand_event(event, loader, err) : rc;
	}
	json_decref(json);
	return rc;
}

int xreg_shared_load_document(const struct xreg_kv *kv, const char *prefix, uint64_t version,
	const struct xreg_loader *loader, struct xu_error *err)
{
	char name[XREG_SHARED_NAME_SIZE];

	xreg_shared_name(kv, prefix, "documents", name);
	return loader->document(loader->arg, name, kv->value, kv->len, version, err);
}

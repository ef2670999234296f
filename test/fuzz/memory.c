/* SPDX-License-Identifier: BSD-3-Clause */
/* The store's writer puts; the documents are under a mutex for who looks at them. */
#include "test/fuzz/memory.h"

#include <errno.h>
#include <pthread.h>

#include "lib/util/error.h"
#include "lib/xregistry/backend.h"
#include "lib/xregistry/target.h"
#include "test/fuzz/fuzz.h"

#define NR_DOCUMENTS 4u

struct document {
	char name[32];
	char *text;
	uint64_t version;
};

static struct {
	uint64_t revision;
	pthread_mutex_t mutex; /* of what follows */
	struct document documents[NR_DOCUMENTS];
	uint32_t nr_documents;
} memory = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void memory_close(void *backend)
{
	for (uint32_t i = 0; i < memory.nr_documents; i++) {
		free(memory.documents[i].text);
	}
	memory.nr_documents = 0;
	memory.revision = 0;
}

static int memory_open(
	const char *where, struct xu_logger *log, void **ret_backend, struct xu_error *err)
{
	*ret_backend = &memory;
	return 0;
}

static int memory_load(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
	struct xu_error *err)
{
	*ret_revision = 0;
	return 0;
}

/* What is stored is the same when it is loaded. */
static void check_record(const struct xreg_target *target)
{
	struct xreg_target *back = NULL;
	struct xu_error err = {0};
	char *text, *again;

	if (target == NULL) {
		return;
	}
	FUZZ_CHECK(xreg_backend_encode(target, &text, &err) == 0, "%s", err.text);
	FUZZ_CHECK(xreg_backend_decode(text, strlen(text), &back, &err) == 0, "%s: %s", err.text,
		text);
	FUZZ_CHECK(xreg_backend_encode(back, &again, &err) == 0, "%s", err.text);
	FUZZ_CHECK(strcmp(text, again) == 0, "%s\nis read as\n%s", text, again);
	free(text);
	free(again);
	xreg_target_unref(back);
}

static int memory_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err)
{
	for (uint32_t i = 0; i < nr_events; i++) {
		FUZZ_CHECK(events[i].revision == ++memory.revision, "revision %llu",
			(unsigned long long)events[i].revision);
		check_record(events[i].after);
	}
	return 0;
}

static struct document *find(const char *name)
{
	for (uint32_t i = 0; i < memory.nr_documents; i++) {
		if (strcmp(memory.documents[i].name, name) == 0) {
			return &memory.documents[i];
		}
	}
	return NULL;
}

/* Under the mutex. */
static int put(const char *name, const char *text, uint64_t if_version, uint64_t *ret_version,
	struct xu_error *err)
{
	struct document *document = find(name);

	if (document == NULL) {
		FUZZ_CHECK(
			memory.nr_documents < NR_DOCUMENTS && strlen(name) < sizeof(document->name),
			"the document '%s' does not fit", name);
		document = &memory.documents[memory.nr_documents++];
		*document = (struct document){0};
		strcpy(document->name, name);
	}
	if (if_version != document->version) {
		return xu_error_set(err, -ESTALE, "it has another version");
	}
	free(document->text);
	document->text = strdup(text);
	FUZZ_CHECK(document->text != NULL, "out of memory");
	*ret_version = ++document->version;
	return 0;
}

static int memory_put(void *backend, const char *name, const char *text, uint64_t if_version,
	uint64_t *ret_version, struct xu_error *err)
{
	int rc;

	pthread_mutex_lock(&memory.mutex);
	rc = put(name, text, if_version, ret_version, err);
	pthread_mutex_unlock(&memory.mutex);
	return rc;
}

const struct xreg_backend_ops fuzz_memory = {.name = "memory",
	.open = memory_open,
	.load = memory_load,
	.commit = memory_commit,
	.put_document = memory_put,
	.close = memory_close};

json_t *fuzz_memory_document(const char *name)
{
	const struct document *document;
	json_t *value = NULL;

	pthread_mutex_lock(&memory.mutex);
	document = find(name);
	if (document != NULL) {
		value = json_loads(document->text, 0, NULL);
		FUZZ_CHECK(json_is_object(value), "'%s' is no JSON object", name);
	}
	pthread_mutex_unlock(&memory.mutex);
	return value;
}

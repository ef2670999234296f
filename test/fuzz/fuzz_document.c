/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the configuration documents of libxbdev: up to three with a zero byte between them. Each
 * is checked, an accepted one must be the same after it has been written and read again, and each
 * is then carried out, one after the other, in a context whose platform opens no file. What fails
 * has changed nothing; what is done is there, and neither the same document again nor the saved one
 * changes anything. A device named "o" is open from its making on.
 */
#include <errno.h>
#include <jansson.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/xbdev/config/configuration.h"
#include "lib/xbdev/config/replace.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/stores.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/place.h"

#define NAME          "fuzz.json"
#define MAX_DOCUMENTS 3u
#define MAX_MEMORY    (1u << 20)          /* of one input's devices */
#define MAX_STORE     (UINT64_C(4) << 30) /* of those that a store may be on: it has bitmaps */
#define PATIENCE      (30 * XU_NS_PER_S)  /* for one document */

static struct xr_platform platform;
static struct xbdev_ctx *ctx;
static struct xbdev_configuration config;
static struct xbdev_desc *open_desc;
static struct xbdev_channel *open_channel;

/* ---- the world ---- */

static int refuse_file(const struct xr_platform *p, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	return xu_error_set(err, -EACCES, "%s is not opened here", path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct xbdev_ctx_opts opts = {.platform = &platform};

	json_object_seed(1);
	platform = *xr_platform_linux();
	platform.file_open = refuse_file;
	platform.is_simulated = true; /* nor is any looked for */
	FUZZ_CHECK(xbdev_ctx_new(&opts, &ctx, NULL) == 0, "no context");
	return 0;
}

static void close_one(void)
{
	if (open_desc != NULL) {
		xbdev_channel_put(open_channel);
		xbdev_desc_close(open_desc);
		open_desc = NULL;
	}
}

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	if (event == XBDEV_EVENT_REMOVE) {
		close_one();
	}
}

static void open_one(void)
{
	if (open_desc == NULL && xbdev_device_find(ctx, "o") != NULL) {
		FUZZ_CHECK(
			xbdev_desc_open(ctx, "o", false, on_event, NULL, &open_desc, NULL) == 0 &&
				xbdev_channel_get(
					open_desc, xbdev_ctx_control(ctx), &open_channel) == 0,
			"it cannot be opened");
	}
}

/* ---- carrying out ---- */

struct run {
	struct xbdev_carry carry;
	bool is_done;
	struct xu_error err;
};

static void on_done(struct xbdev_carry *carry, const struct xu_error *err)
{
	struct run *run = xu_container_of(carry, struct run, carry);

	FUZZ_CHECK(!run->is_done, "it ends twice");
	run->is_done = true;
	run->err = *err;
}

static int carry_out(
	enum xbdev_config_mode mode, const struct xbdev_text *text, struct xu_error *err)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE;
	struct run run = {0};

	xbdev_configuration_carry_out(&config, &run.carry, ctx, mode, text, on_done);
	while (!run.is_done) {
		xr_reactor_poll(xbdev_ctx_control(ctx), XU_NS_PER_MS);
		FUZZ_CHECK(xu_clock_now_ns(xu_clock_system()) < end_ns, "it does not end");
	}
	*err = run.err;
	return run.err.code;
}

static char *save(void)
{
	struct xu_error err = {0};
	char *text = NULL;

	FUZZ_CHECK(xbdev_configuration_dump(&config, ctx, &text, &err) == 0, "%s", err.text);
	return text;
}

static struct xbdev_text *parse(const char *text)
{
	struct xbdev_text *parsed = NULL;
	struct xu_error err = {0};

	FUZZ_CHECK(xbdev_text_parse(NAME, text, strlen(text), &parsed, &err) == 0, "%s", err.text);
	return parsed;
}

/* The devices by their names: what is taken down and made again comes last, not where it was. */
static json_t *by_name(const char *text)
{
	struct xbdev_text *parsed = parse(text);
	json_t *result = json_object(), *entry;
	size_t i;

	json_array_foreach (json_object_get(parsed->root, "base_devices"), i, entry) {
		json_object_set(result,
			json_string_value(
				json_object_get(json_object_get(entry, "params"), "name")),
			entry);
	}
	xbdev_text_free(parsed);
	return result;
}

static void check_same(const char *before, const char *after, const char *why)
{
	json_t *a = by_name(before), *b = by_name(after);

	FUZZ_CHECK(json_equal(a, b), "%s\nbefore %s\nafter %s", why, before, after);
	json_decref(a);
	json_decref(b);
}

/* Carries out a document that is to change nothing, and looks whether it does. */
static void check_no_change(enum xbdev_config_mode mode, const struct xbdev_text *text)
{
	char *before = save(), *after;
	struct xu_error err;

	FUZZ_CHECK(carry_out(mode, text, &err) == 0, "it is refused the second time: %s", err.text);
	after = save();
	FUZZ_CHECK(strcmp(before, after) == 0, "it changes something\nbefore %s\nafter %s", before,
		after);
	free(before);
	free(after);
}

/* Every entry of the document is there. */
static void check_there(const struct xbdev_document *doc)
{
	for (size_t i = 0; i < doc->nr_items; i++) {
		const struct xbdev_item *item = &doc->items[i];

		FUZZ_CHECK(item->section->space == XBDEV_SPACE_STORE
				   ? xbdev__lvol_store_find(ctx, item->name) != NULL
				   : xbdev_device_find(ctx, item->name) != NULL,
			"%s is not there", item->name);
	}
}

static void check_carried_out(enum xbdev_config_mode mode, const struct xbdev_text *text,
	const struct xbdev_document *doc)
{
	char *before = save(), *after;
	struct xbdev_text *saved;
	struct xu_error err;
	int rc = carry_out(mode, text, &err);

	after = save();
	fuzz_say("%d %s\n%s", rc, err.text, after);
	if (rc != 0) {
		fuzz_check_place(NAME, text->text, text->len, &err);
		check_same(before, after, err.text);
	} else {
		check_there(doc);
		check_no_change(XBDEV_CONFIG_LOAD, text);
		saved = parse(after);
		check_no_change(XBDEV_CONFIG_LOAD, saved);
		if (mode == XBDEV_CONFIG_APPLY) {
			check_no_change(XBDEV_CONFIG_APPLY, text);
			check_no_change(XBDEV_CONFIG_APPLY, saved);
		}
		xbdev_text_free(saved);
	}
	free(before);
	free(after);
}

/* ---- one document ---- */

/* It says the same when it is written and read again. */
static void check_written(const struct xbdev_document *doc)
{
	json_t *root = xbdev_document_json(doc), *again_root;
	char path[XBDEV_TEXT_PATH_SIZE], *text = xbdev_config_dump(root);
	struct xbdev_text *parsed = parse(text);
	struct xbdev_document *again = NULL;
	struct xu_error err = {0};

	FUZZ_CHECK(xbdev_document_new(xbdev_sections, parsed->root, &again, path, &err) == 0,
		"what was accepted is not when it is written again: %s: %s", path, err.text);
	again_root = xbdev_document_json(again);
	FUZZ_CHECK(json_equal(root, again_root), "it is read as something else:\n%s", text);
	json_decref(root);
	json_decref(again_root);
	xbdev_document_free(again);
	xbdev_text_free(parsed);
	free(text);
}

/* References go down, and every user is the one that its provider knows. */
static void check_items(const struct xbdev_document *doc)
{
	for (size_t i = 0; i < doc->nr_items; i++) {
		const struct xbdev_item *item = &doc->items[i];

		FUZZ_CHECK(xbdev_document_find(doc, item->section->space, item->name) == item,
			"%s is not found", item->name);
		for (size_t u = 0; u < item->nr_uses; u++) {
			const struct xbdev_use *use = &item->uses[u];

			if (use->provider == NULL) {
				continue;
			}
			FUZZ_CHECK(
				use->provider->level < item->level &&
					strcmp(use->provider->name, xbdev_use_name(item, use)) == 0,
				"%s does not stand on %s", item->name, use->provider->name);
			FUZZ_CHECK(!use->is_exclusive || use->provider->user == item,
				"%s is shared", use->provider->name);
		}
	}
}

/* Devices in memory are made here, so they must be small, and what is known of large stores is in
 * memory too. */
static bool is_small(const struct xbdev_document *doc)
{
	uint64_t bytes = 0, others = 0;
	bool has_store = false;

	for (size_t i = 0; i < doc->nr_items; i++) {
		const char *method =
			json_string_value(json_object_get(doc->items[i].entry, "method"));
		json_t *size = json_object_get(xbdev_item_members(&doc->items[i]), "size");

		has_store |= doc->items[i].section->space == XBDEV_SPACE_STORE;
		if (method != NULL && strcmp(method, "malloc") == 0) {
			bytes += (uint64_t)json_integer_value(size);
		} else if (method != NULL && (uint64_t)json_integer_value(size) > others) {
			others = (uint64_t)json_integer_value(size);
		}
	}
	return bytes <= MAX_MEMORY && (!has_store || others <= MAX_STORE);
}

static void run_document(enum xbdev_config_mode mode, const char *bytes, size_t len)
{
	struct xbdev_document *doc = NULL;
	struct xbdev_text *text = NULL;
	char path[XBDEV_TEXT_PATH_SIZE];
	struct xu_error err = {0};
	int rc = xbdev_text_parse(NAME, bytes, len, &text, &err);

	if (rc != 0) {
		fuzz_check_place(NAME, bytes, len, &err);
		return;
	}
	rc = xbdev_document_new(xbdev_sections, text->root, &doc, path, &err);
	if (rc != 0) {
		FUZZ_CHECK(doc == NULL && rc == err.code, "%d, %d", rc, err.code);
		xbdev_text_fail(text, path, &err);
		fuzz_check_place(NAME, bytes, len, &err);
	} else {
		check_items(doc);
		check_written(doc);
	}
	if (rc != 0 || is_small(doc)) {
		check_carried_out(mode, text, doc);
	}
	xbdev_document_free(doc);
	xbdev_text_free(text);
}

/* ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum xbdev_config_mode modes[MAX_DOCUMENTS] = {
		XBDEV_CONFIG_APPLY, XBDEV_CONFIG_APPLY, XBDEV_CONFIG_CREATE};
	const char *at = (const char *)data, *end = at + size, *zero;
	struct xbdev_text *nothing = parse("{}");
	struct xu_error err;
	uint32_t i = 0;

	do {
		zero = at != end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
		run_document(modes[i], at, (size_t)((zero != NULL ? zero : end) - at));
		open_one();
		at = zero != NULL ? zero + 1 : end;
	} while (++i < MAX_DOCUMENTS && zero != NULL);
	close_one();
	FUZZ_CHECK(carry_out(XBDEV_CONFIG_APPLY, nothing, &err) == 0, "%s", err.text);
	FUZZ_CHECK(xbdev_device_next(ctx, NULL) == NULL, "a device is left");
	xbdev_configuration_fini(&config);
	xbdev_text_free(nothing);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state file. How it fails: what cannot be written leaves the old file alone and is told to
 * whoever wanted to save; what cannot be read stops the node, for starting without it would lose
 * identities and run-time changes without a word.
 */
#include "daemon/xsand/state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/xsand/config.h"
#include "daemon/xsand/model.h"
#include "lib/reactor/reactor.h"
#include "lib/util/error.h"
#include "lib/util/filelock.h"
#include "lib/xbdev/config/replace.h"

#define STATE_VERSION 1

struct state {
	char *dir, *path, *new_path;
	int lock_fd;
	char *last_text; /* what is in the file */

	/* The save under way. */
	struct xr_work work;
	char *text; /* NULL: none */
	struct xu_error err;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;
};

/* ---- the directory ---- */

static int lock_dir(struct state *state, struct xu_error *err)
{
	char *path;
	int rc = 0;

	if (mkdir(state->dir, 0700) != 0 && errno != EEXIST) {
		return xu_error_set_errno(
			err, -errno, "cannot make the state directory %s", state->dir);
	}
	if (asprintf(&path, "%s/lock", state->dir) < 0) {
		return xu_error_set_errno(err, -ENOMEM, "opening %s", state->dir);
	}
	state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (state->lock_fd < 0) {
		rc = xu_error_set_errno(err, -errno,
			"cannot write in the state directory %s (\"state_dir\" of the "
			"configuration)",
			state->dir);
	} else if (xu_file_lock(state->lock_fd, false) != 0) {
		rc = xu_error_set(err, -EBUSY,
			"another xsand uses the state directory %s; stop it or give this one "
			"another \"state_dir\"",
			state->dir);
	}
	free(path);
	return rc;
}

int state_open(const char *dir, struct state **ret_state, struct xu_error *err)
{
	struct state *state = calloc(1, sizeof(*state));
	int rc;

	if (state != NULL) {
		state->lock_fd = -1;
		state->dir = strdup(dir);
		if (asprintf(&state->path, "%s/state.json", dir) < 0) {
			state->path = NULL;
		}
		if (asprintf(&state->new_path, "%s/state.json.new", dir) < 0) {
			state->new_path = NULL;
		}
	}
	if (state == NULL || state->dir == NULL || state->path == NULL || state->new_path == NULL) {
		state_close(state);
		return xu_error_set_errno(err, -ENOMEM, "opening the state directory %s", dir);
	}
	rc = lock_dir(state, err);
	if (rc != 0) {
		state_close(state);
		return rc;
	}
	*ret_state = state;
	return 0;
}

void state_close(struct state *state)
{
	if (state == NULL) {
		return;
	}
	assert(state->text == NULL);
	if (state->lock_fd >= 0) {
		close(state->lock_fd);
	}
	free(state->last_text);
	free(state->new_path);
	free(state->path);
	free(state->dir);
	free(state);
}

/* ---- loading ---- */

static int damaged(const struct state *state, const char *why, struct xu_error *err)
{
	return xu_error_set(err, -EINVAL,
		"the saved state %s is damaged (%.200s); move it away to start from the "
		"configuration file alone, which loses changes made at run time and generated "
		"identifiers",
		state->path, why);
}

/* One of the two models in the file. */
static int load_model(const struct state *state, json_t *root, const char *key, json_t **ret_model,
	struct xu_error *err)
{
	json_t *part = json_object_get(root, key);
	char path[CONFIG_PATH_SIZE], why[CONFIG_PATH_SIZE + 256];
	struct xu_error inner = {0};

	if (!json_is_object(part)) {
		snprintf(why, sizeof(why), "\"%s\" is missing", key);
		return damaged(state, why, err);
	}
	if (config_check(part, NULL, path, &inner) != 0) {
		snprintf(why, sizeof(why), "%s.%s: %.200s", key, path, inner.text);
		return damaged(state, why, err);
	}
	*ret_model = model_from_config(part);
	return *ret_model != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "reading %s", state->path);
}

int state_load(struct state *state, json_t **ret_file, json_t **ret_wanted, struct xu_error *err)
{
	json_error_t error;
	json_t *root;
	int rc;

	*ret_file = NULL;
	*ret_wanted = NULL;
	if (access(state->path, F_OK) != 0 && errno == ENOENT) {
		*ret_file = model_new();
		*ret_wanted = model_new();
		return *ret_file != NULL && *ret_wanted != NULL
			       ? 0
			       : xu_error_set_errno(err, -ENOMEM, "reading %s", state->path);
	}
	root = json_load_file(state->path, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL) {
		return damaged(state, error.text, err);
	}
	if (json_integer_value(json_object_get(root, "version")) != STATE_VERSION) {
		rc = damaged(state, "its version is not 1, perhaps a newer xsand wrote it", err);
	} else {
		rc = load_model(state, root, "file", ret_file, err);
	}
	if (rc == 0) {
		rc = load_model(state, root, "wanted", ret_wanted, err);
	}
	json_decref(root);
	if (rc != 0) {
		json_decref(*ret_file);
		*ret_file = NULL;
	}
	return rc;
}

/* ---- saving ---- */

static char *make_text(const json_t *file, const json_t *wanted)
{
	json_t *root = json_pack("{s:i, s:s, s:o, s:o}", "version", STATE_VERSION, "_about",
		"written by xsand; the configuration file is the place to edit", "file",
		model_to_config(file), "wanted", model_to_config(wanted));
	char *text = xbdev_config_dump(root);

	json_decref(root);
	return text;
}

static void save_work(struct xr_work *work)
{
	struct state *state = xu_container_of(work, struct state, work);
	int rc = xbdev_config_replace(state->path, state->new_path, 0600, state->text);

	if (rc != 0) {
		xu_error_set_errno(&state->err, rc, "saving the state in %s", state->path);
	}
}

static void save_done(struct xr_work *work)
{
	struct state *state = xu_container_of(work, struct state, work);

	free(state->last_text);
	state->last_text = NULL;
	if (state->err.code == 0) {
		state->last_text = state->text;
	} else {
		free(state->text);
	}
	state->text = NULL;
	state->done(state->arg, &state->err);
}

void state_save(struct state *state, struct xr_reactor *reactor, const json_t *file,
	const json_t *wanted, void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	char *text = make_text(file, wanted);

	assert(state->text == NULL);
	state->err = (struct xu_error){0};
	if (text == NULL) {
		xu_error_set_errno(&state->err, -ENOMEM, "saving the state in %s", state->path);
		done(arg, &state->err);
		return;
	}
	if (state->last_text != NULL && strcmp(state->last_text, text) == 0) {
		free(text);
		done(arg, &state->err);
		return;
	}
	state->text = text;
	state->done = done;
	state->arg = arg;
	state->work.work = save_work;
	state->work.done = save_done;
	xr_work_submit(reactor, &state->work);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and checking a configuration file. The tables of parameters report what is wrong, as a
 * path, which is then looked up in the text for the line and column. The first error ends it;
 * nothing has been touched by then.
 */
#include "daemon/xsand/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/config_lvol.h"
#include "daemon/xsand/model.h"
#include "lib/xbdev/config/devices.h"

const char config_default_text[] =
	"{\n"
	"  \"log\": {\"level\": \"info\", \"target\": \"stderr\", \"format\": \"text\"},\n"
	"  \"reactors\": {\"count\": 1},\n"
	"  \"rpc\": {\"socket\": \"/run/xsan/xsand.sock\"},\n"
	"  \"state_dir\": \"/var/lib/xsan\",\n"
	"  \"devices\": [\n"
	"    {\"driver\": \"file\", \"name\": \"disk0\", \"filename\": "
	"\"/var/lib/xsan/disk0.img\", \"size\": \"1GiB\"}\n"
	"  ],\n"
	"  \"nvmf\": {\n"
	"    \"subsystems\": [\n"
	"      {\n"
	"        \"nqn\": \"nqn.2026-11.io.xsan:demo\",\n"
	"        \"allow_any_host\": true,\n"
	"        \"namespaces\": [{\"nsid\": 1, \"device\": \"disk0\"}],\n"
	"        \"listeners\": [{\"trtype\": \"tcp\", \"traddr\": \"127.0.0.1\", "
	"\"trsvcid\": \"4420\"}]\n"
	"      }\n"
	"    ]\n"
	"  }\n"
	"}\n";

/* ---- tables ---- */

static const char *const log_levels[] = {"fatal", "error", "warn", "info", "debug", "trace", NULL};
static const char *const log_targets[] = {"stderr", "file", "syslog", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

struct log_section {
	uint32_t level, target, format;
	const char *path;
	uint64_t rotate_size;
	uint32_t rotate_keep;
};

static const struct xu_param log_params[] = {
	{"level", XU_PARAM_ENUM, offsetof(struct log_section, level), .choices = log_levels,
		.help = "least important level that is logged (default \"info\")"},
	{"target", XU_PARAM_ENUM, offsetof(struct log_section, target), .choices = log_targets,
		.help = "where the log goes (default \"stderr\")"},
	{"path", XU_PARAM_STRING, offsetof(struct log_section, path),
		.help = "the file of target \"file\""},
	{"format", XU_PARAM_ENUM, offsetof(struct log_section, format), .choices = log_formats,
		.help = "lines of text or of JSON (default \"text\")"},
	{"rotate_size", XU_PARAM_SIZE, offsetof(struct log_section, rotate_size),
		.help = "size at which the file is renamed (default 0: never)"},
	{"rotate_keep", XU_PARAM_U32, offsetof(struct log_section, rotate_keep), .max = 1000,
		.help = "old files that are kept (default 4)"},
	{0},
};

struct reactors_section {
	uint32_t count;
	json_t *cpus;
	uint32_t spin_max_us;
	uint64_t buffer_size;
};

static const struct xu_param reactors_params[] = {
	{"count", XU_PARAM_U32, offsetof(struct reactors_section, count), .min = 1,
		.max = XBDEV_MAX_REACTORS,
		.help = "threads (default: one for each of \"cpus\", else 1)"},
	{"cpus", XU_PARAM_JSON, offsetof(struct reactors_section, cpus),
		.help = "list of CPUs to pin them to (default: not pinned)"},
	{"spin_max_us", XU_PARAM_U32, offsetof(struct reactors_section, spin_max_us),
		.max = 1000000,
		.help = "longest spin before sleeping, microseconds (default 25; 0: never)"},
	{"buffer_size", XU_PARAM_SIZE, offsetof(struct reactors_section, buffer_size),
		.min = 4u << 20, .max = 1ull << 40,
		.help = "bytes of I/O buffers of each reactor (default \"64MiB\")"},
	{0},
};

struct rpc_section {
	const char *socket;
};

static const struct xu_param rpc_params[] = {
	{"socket", XU_PARAM_STRING, offsetof(struct rpc_section, socket),
		.help = "path of the management socket (default \"/run/xsan/xsand.sock\")"},
	{0},
};

struct document {
	json_t *log, *reactors, *rpc, *devices, *stores, *volumes, *nvmf, *registry;
	const char *state_dir;
	uint32_t stop_timeout_s;
};

static const struct xu_param document_params[] = {
	{"log", XU_PARAM_JSON, offsetof(struct document, log), .help = "the log"},
	{"reactors", XU_PARAM_JSON, offsetof(struct document, reactors), .help = "the threads"},
	{"rpc", XU_PARAM_JSON, offsetof(struct document, rpc), .help = "the management socket"},
	{"state_dir", XU_PARAM_STRING, offsetof(struct document, state_dir),
		.help = "directory of the saved state (default \"/var/lib/xsan\")"},
	{"stop_timeout_s", XU_PARAM_U32, offsetof(struct document, stop_timeout_s), .min = 1,
		.max = 3600, .help = "bound of a stop, seconds (default 10)"},
	{"devices", XU_PARAM_JSON, offsetof(struct document, devices), .help = "list of devices"},
	{"lvol_stores", XU_PARAM_JSON, offsetof(struct document, stores),
		.help = "list of stores of logical volumes"},
	{"lvol_volumes", XU_PARAM_JSON, offsetof(struct document, volumes),
		.help = "list of logical volumes"},
	{"nvmf", XU_PARAM_JSON, offsetof(struct document, nvmf), .help = "what is exported"},
	{"registry", XU_PARAM_JSON, offsetof(struct document, registry),
		.help = "where that is registered"},
	{0},
};

/* ---- checking ---- */

char *check_path(char path[CONFIG_PATH_SIZE], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, CONFIG_PATH_SIZE, fmt, args);
	va_end(args);
	return path;
}

int check_fail(struct check *c, const char *path, const char *fmt, ...)
{
	char text[sizeof(c->err->text)];
	va_list args;

	if (path != c->path) {
		snprintf(c->path, sizeof(c->path), "%s", path);
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return xu_error_set(c->err, -EINVAL, "%s", text);
}

int check_params(struct check *c, const char *path, const struct xu_param *params, void *opts,
	json_t *object)
{
	char inner[XU_PARAM_PATH_SIZE];
	int rc = xu_params_parse(params, opts, object, inner, c->err);

	if (rc != 0) {
		check_path(c->path, "%s%s%s", path, path[0] != '\0' && inner[0] != '\0' ? "." : "",
			inner);
		xbdev_text_strip_name(c->err, inner);
	}
	return rc;
}

static int check_log(struct check *c, json_t *object, struct xu_log_opts *opts)
{
	struct log_section log = {.level = XU_LOG_INFO, .rotate_keep = 4};
	int rc = object != NULL ? check_params(c, "log", log_params, &log, object) : 0;

	if (rc != 0) {
		return rc;
	}
	if (log.target == XU_LOG_TO_FILE && log.path == NULL) {
		return check_fail(c, "log", "'path' is missing: the log goes to a file");
	}
	*opts = (struct xu_log_opts){
		.level = (enum xu_log_level)log.level,
		.target = (enum xu_log_target)log.target,
		.format = (enum xu_log_format)log.format,
		.path = log.path,
		.rotate_bytes = log.rotate_size,
		.rotate_keep = log.rotate_keep,
		.ident = "xsand",
	};
	return 0;
}

static int check_cpus(struct check *c, json_t *cpus, struct config_settings *set)
{
	char path[CONFIG_PATH_SIZE];
	json_t *cpu;
	size_t i;

	if (!json_is_array(cpus) || json_array_size(cpus) == 0 ||
		json_array_size(cpus) > XBDEV_MAX_REACTORS) {
		return check_fail(c, "reactors.cpus", "a list [ … ] of 1 to %u CPUs is needed here",
			XBDEV_MAX_REACTORS);
	}
	json_array_foreach (cpus, i, cpu) {
		if (!json_is_integer(cpu) || json_integer_value(cpu) < 0 ||
			json_integer_value(cpu) > 1023) {
			check_path(path, "reactors.cpus[%zu]", i);
			return check_fail(
				c, path, "a CPU is a whole number from 0 to 1023, see lscpu");
		}
		set->cpus[i] = (int)json_integer_value(cpu);
	}
	set->has_cpus = true;
	return 0;
}

static int check_reactors(struct check *c, json_t *object, struct config_settings *set)
{
	struct reactors_section reactors = {.spin_max_us = XR_SPIN_MAX_NS_DEFAULT / 1000};
	uint32_t nr_cpus;
	int rc = 0;

	if (object != NULL) {
		rc = check_params(c, "reactors", reactors_params, &reactors, object);
	}
	if (rc == 0 && reactors.cpus != NULL) {
		rc = check_cpus(c, reactors.cpus, set);
	}
	if (rc != 0) {
		return rc;
	}
	nr_cpus = (uint32_t)json_array_size(reactors.cpus);
	if (reactors.count != 0 && nr_cpus != 0 && reactors.count != nr_cpus) {
		return check_fail(c, "reactors.count",
			"%u is not accepted with a list of %u CPUs; leave one of them out",
			reactors.count, nr_cpus);
	}
	set->nr_reactors = reactors.count != 0 ? reactors.count : nr_cpus != 0 ? nr_cpus : 1;
	set->spin_max_ns = reactors.spin_max_us * 1000ull;
	set->buffer_bytes = reactors.buffer_size;
	return 0;
}

static int check_devices(struct check *c, json_t *devices)
{
	char inner[XU_PARAM_PATH_SIZE];
	const char *name;
	int rc;

	if (devices == NULL) {
		return 0;
	}
	rc = xbdev_config_check_devices(devices, inner, c->err);
	if (rc != 0) {
		check_path(c->path, "devices%s", inner);
		name = strrchr(c->path, '.');
		xbdev_text_strip_name(c->err, name != NULL ? name + 1 : "");
	}
	return rc;
}

int config_check(json_t *root, struct config_settings *settings, char path[CONFIG_PATH_SIZE],
	struct xu_error *err)
{
	struct document doc = {.state_dir = "/var/lib/xsan", .stop_timeout_s = 10};
	struct rpc_section rpc = {.socket = "/run/xsan/xsand.sock"};
	struct config_settings set = {0};
	struct check c = {.err = err};
	int rc = check_params(&c, "", document_params, &doc, root);

	if (rc == 0) {
		rc = check_log(&c, doc.log, &set.log);
	}
	if (rc == 0) {
		rc = check_reactors(&c, doc.reactors, &set);
	}
	if (rc == 0 && doc.rpc != NULL) {
		rc = check_params(&c, "rpc", rpc_params, &rpc, doc.rpc);
	}
	if (rc == 0) {
		rc = check_devices(&c, doc.devices);
	}
	if (rc == 0) {
		rc = check_lvol(&c, doc.stores, doc.volumes, doc.devices);
	}
	if (rc == 0 && doc.nvmf != NULL) {
		rc = check_nvmf(&c, doc.nvmf, doc.devices, doc.stores);
	}
	if (rc == 0) {
		rc = check_registry(&c, doc.registry, &set.registry);
	}
	memcpy(path, c.path, CONFIG_PATH_SIZE);
	if (rc == 0 && settings != NULL) {
		set.socket = rpc.socket;
		set.state_dir = doc.state_dir;
		set.stop_timeout_s = doc.stop_timeout_s;
		*settings = set;
	}
	return rc;
}

/* ---- reading ---- */

/* Checks what is in config->text; takes the text, as config_free() does. */
static int read_text(struct xbdev_text *text, struct config **ret_config, struct xu_error *err)
{
	struct config *config = calloc(1, sizeof(*config));
	char path[CONFIG_PATH_SIZE];
	int rc = config == NULL ? -ENOMEM : 0;

	if (rc == 0) {
		config->text = text;
		config->root = text->root;
		rc = config_check(config->root, &config->settings, path, err);
		if (rc != 0) {
			xbdev_text_fail(text, path, err);
			config_free(config);
			return rc;
		}
		config->model = model_from_config(config->root);
	}
	if (config == NULL || config->model == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "reading %s", text->name);
		if (config == NULL) {
			xbdev_text_free(text);
		}
		config_free(config);
		return rc;
	}
	*ret_config = config;
	return 0;
}

int config_parse(const char *name, const char *text, size_t len, struct config **ret_config,
	struct xu_error *err)
{
	struct xbdev_text *parsed;
	int rc = xbdev_text_parse(name, text, len, &parsed, err);

	return rc == 0 ? read_text(parsed, ret_config, err) : rc;
}

int config_read(const char *path, struct config **ret_config, struct xu_error *err)
{
	struct xbdev_text *text;
	int rc = xbdev_text_read(path, "configuration", &text, err);

	return rc == 0 ? read_text(text, ret_config, err) : rc;
}

void config_free(struct config *config)
{
	if (config != NULL) {
		json_decref(config->model);
		xbdev_text_free(config->text);
		free(config);
	}
}

/* ---- what takes a restart ---- */

static int diff_section(json_t *names, const char *section, json_t *from, json_t *to)
{
	json_t *const sides[] = {from, to};
	const char *key;
	json_t *value;
	int rc = 0;

	for (size_t i = 0; i < 2; i++) {
		json_object_foreach (sides[i], key, value) {
			/* On the second side only what the first one does not have. */
			if (key[0] == '_' || (i == 1 && json_object_get(from, key) != NULL) ||
				json_equal(json_object_get(from, key), json_object_get(to, key)) ||
				(strcmp(section, "log") == 0 && strcmp(key, "level") == 0)) {
				continue;
			}
			rc |= json_array_append_new(names, json_sprintf("%s.%s", section, key));
		}
	}
	return rc;
}

json_t *config_settings_diff(const struct config *from, const struct config *to)
{
	static const char *const sections[] = {"log", "reactors", "rpc", "registry"};
	json_t *names = json_array();
	int rc = 0;

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		rc |= diff_section(names, sections[i], json_object_get(from->root, sections[i]),
			json_object_get(to->root, sections[i]));
	}
	if (strcmp(from->settings.state_dir, to->settings.state_dir) != 0) {
		rc |= json_array_append_new(names, json_string("state_dir"));
	}
	if (names == NULL || rc != 0) {
		json_decref(names);
		return NULL;
	}
	return names;
}

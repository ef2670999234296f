/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and checking a configuration file. The JSON library reports what does not parse; the
 * tables of parameters what parses and is wrong, as a path, which is then looked up in the text for
 * the line and column. The first error ends it; nothing has been touched by then.
 */
#include "daemon/xsand/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/model.h"
#include "lib/util/jsonpos.h"
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
		.help = "longest spin before sleeping, microseconds (default 50; 0: never)"},
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
	json_t *log, *reactors, *rpc, *devices, *nvmf;
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
	{"nvmf", XU_PARAM_JSON, offsetof(struct document, nvmf), .help = "what is exported"},
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

/* The tables' sentences begin with the parameter's name, which the path says too. */
static void strip_name(struct xu_error *err, const char *name)
{
	size_t len = strlen(name);

	if (len != 0 && strncmp(err->text, name, len) == 0 &&
		strncmp(err->text + len, ": ", 2) == 0) {
		memmove(err->text, err->text + len + 2, strlen(err->text + len + 2) + 1);
	}
}

int check_params(struct check *c, const char *path, const struct xu_param *params, void *opts,
	json_t *object)
{
	char inner[XU_PARAM_PATH_SIZE];
	int rc = xu_params_parse(params, opts, object, inner, c->err);

	if (rc != 0) {
		check_path(c->path, "%s%s%s", path, path[0] != '\0' && inner[0] != '\0' ? "." : "",
			inner);
		strip_name(c->err, inner);
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
		strip_name(c->err, name != NULL ? name + 1 : "");
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
	if (rc == 0 && doc.nvmf != NULL) {
		rc = check_nvmf(&c, doc.nvmf, doc.devices);
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

void config_position(const struct config *config, const char *path, char *text, size_t size)
{
	struct xu_jsonpos pos;

	xu_jsonpos_find(config->text, config->len, path, &pos);
	snprintf(text, size, "%s:%u:%u", config->name, pos.line, pos.column);
}

/* Names of the document are in the sentence, whatever bytes they have: it stays one line. */
static void make_printable(struct xu_error *err)
{
	for (char *c = err->text; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f) {
			*c = '?';
		}
	}
}

/* Parses and checks config->text. */
static int parse(struct config *config, struct xu_error *err)
{
	char path[CONFIG_PATH_SIZE], place[PATH_MAX + 32];
	json_error_t error;
	int rc;

	config->root = json_loadb(config->text, config->len, JSON_REJECT_DUPLICATES, &error);
	if (config->root == NULL) {
		return xu_error_set(err, -EINVAL, "%s:%d:%d: %s", config->name, error.line,
			error.column, error.text);
	}
	rc = config_check(config->root, &config->settings, path, err);
	if (rc != 0) {
		config_position(config, path, place, sizeof(place));
		return xu_error_prefix(err, "%s%s%s", place, path[0] != '\0' ? ": " : "", path);
	}
	config->model = model_from_config(config->root);
	if (config->model == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "reading %s", config->name);
	}
	return 0;
}

int config_parse(const char *name, const char *text, size_t len, struct config **ret_config,
	struct xu_error *err)
{
	struct config *config = calloc(1, sizeof(*config));
	int rc;

	if (config != NULL) {
		config->name = strdup(name);
		config->text = malloc(len + 1);
	}
	if (config == NULL || config->name == NULL || config->text == NULL) {
		config_free(config);
		return xu_error_set_errno(err, -ENOMEM, "reading %s", name);
	}
	if (len != 0) {
		memcpy(config->text, text, len);
	}
	config->text[len] = '\0';
	config->len = len;
	rc = parse(config, err);
	if (rc != 0) {
		if (err != NULL) {
			make_printable(err);
		}
		config_free(config);
		return rc;
	}
	*ret_config = config;
	return 0;
}

/* Reads the whole of a regular file into new memory. */
static int read_file(const char *path, char **ret_text, size_t *ret_len, struct xu_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc = 0;
	struct stat st;
	size_t len = 0;
	char *text;

	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = xu_error_set_errno(err, -errno, "cannot read the configuration %s", path);
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_MAX) {
		rc = xu_error_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EFBIG,
			"cannot read the configuration %s: it is not a regular file of at most 16 "
			"MiB",
			path);
		goto out;
	}
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "cannot read the configuration %s", path);
		goto out;
	}
	while (len < (size_t)st.st_size) {
		ssize_t got = read(fd, text + len, (size_t)st.st_size - len);

		if (got == 0 || (got < 0 && errno != EINTR)) {
			break; /* cut off meanwhile: what is there does not parse */
		}
		len += got > 0 ? (size_t)got : 0;
	}
	*ret_text = text;
	*ret_len = len;
out:
	if (fd >= 0) {
		close(fd);
	}
	return rc;
}

int config_read(const char *path, struct config **ret_config, struct xu_error *err)
{
	char *text = NULL;
	size_t len = 0;
	int rc = read_file(path, &text, &len, err);

	if (rc == 0) {
		rc = config_parse(path, text, len, ret_config, err);
	}
	free(text);
	return rc;
}

void config_free(struct config *config)
{
	if (config != NULL) {
		json_decref(config->model);
		json_decref(config->root);
		free(config->text);
		free(config->name);
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
	static const char *const sections[] = {"log", "reactors", "rpc"};
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

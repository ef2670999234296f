/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry config show, set, unset: what the registry wants of a target, beside what its node has.
 * A change is the registry's when it has answered; with --wait its node's, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "cli/table.h"

#define WAIT_MAX_S 3600u
#define LOOK_MS    200u

/* The settings; a name with a dot is a member of a section. */
const char *const registry_settings[] = {"queue_depth", "max_connections", "max_iops",
	"max_bandwidth_mbps", "access.any_host", "access.hosts", "access.read_only",
	"discovery_interval", "weight", NULL};

static void settings_help(void)
{
	printf("The settings:\n"
	       "  queue_depth          entries of an I/O queue\n"
	       "  max_connections      hosts that are connected at a time\n"
	       "  max_iops             I/Os a second\n"
	       "  max_bandwidth_mbps   megabytes a second\n"
	       "  access.any_host      true or false\n"
	       "  access.hosts         NQNs of those that may connect, with commas between\n"
	       "  access.read_only     true or false\n"
	       "  discovery_interval   seconds: the registry looks for it at least so often\n"
	       "  weight               share of what is balanced, 0 to 1000\n");
}

/* ---- showing ---- */

static const json_t *member_of(const json_t *config, const char *name)
{
	const char *dot = strchr(name, '.');
	char section[32];

	if (dot == NULL) {
		return json_object_get(config, name);
	}
	snprintf(section, sizeof(section), "%.*s", (int)(dot - name), name);
	return json_object_get(json_object_get(config, section), dot + 1);
}

/* A cell; a list is one text. */
static void add_value(struct table *table, const json_t *value)
{
	char *text = NULL;
	size_t size, i;
	json_t *one;
	FILE *out;

	if (!json_is_array(value)) {
		text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6))
				     : NULL;
	} else if ((out = open_memstream(&text, &size)) != NULL) {
		json_array_foreach (value, i, one) {
			fprintf(out, "%s%s", i != 0 ? "," : "", json_string_value(one));
		}
		fprintf(out, "%s", json_array_size(value) == 0 ? "nobody" : "");
		fclose(out);
	}
	table_text(table, text);
	free(text);
}

static bool is_listed(const json_t *names, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach (names, i, one) {
		if (strcmp(json_string_value(one), name) == 0) {
			return true;
		}
	}
	return false;
}

static void print_config(const json_t *config)
{
	static const struct table_column columns[] = {
		{"SETTING"}, {"DESIRED"}, {"ACTUAL"}, {"NOTE"}, {0}};
	const json_t *actual = json_object_get(config, "actual");
	struct table *table = table_new(columns);

	for (size_t i = 0; registry_settings[i] != NULL; i++) {
		const char *name = registry_settings[i];

		table_text(table, name);
		add_value(table, member_of(json_object_get(config, "desired"), name));
		add_value(table, member_of(actual, name));
		table_text(table,
			is_listed(json_object_get(config, "differences"), name)    ? "differs"
			: is_listed(json_object_get(config, "not_enforced"), name) ? "not enforced"
										   : NULL);
	}
	table_finish(table, NULL);
	cli_print("state %s%s%s, agent %s", get_text(config, "state"),
		get_text(config, "reason")[0] != '\0' ? ": " : "", get_text(config, "reason"),
		get_text(config, "agent"));
}

static enum cli_exit run_show(struct cli *cli)
{
	char path[REGISTRY_PATH_SIZE];
	json_t *config;
	enum cli_exit rc;

	if (!registry_path(cli, cli_word(cli, 0), "/config", path)) {
		return CLI_REFUSED;
	}
	rc = registry_call(cli, "GET", path, NULL, NULL, &config);
	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, config);
	}
	print_config(config);
	json_decref(config);
	return CLI_OK;
}

static const struct cli_command show_command = {
	.name = "show",
	.help = "Shows what is desired of a target, beside what its node has.",
	.args = registry_target_args,
	.options = registry_options,
	.run = run_show,
};

/* ---- changing ---- */

static void pause_a_little(void)
{
	struct timespec left = {0, LOOK_MS * 1000000L};

	while (nanosleep(&left, &left) != 0 && errno == EINTR) {
	}
}

/* Looks until the node has said something, `looks` times at most; takes the configuration and sets
 * it anew. */
static enum cli_exit wait_for_node(
	struct cli *cli, const char *path, uint64_t looks, json_t **config)
{
	enum cli_exit rc = CLI_OK;

	while (rc == CLI_OK && looks-- > 0 && strcmp(get_text(*config, "state"), "pending") == 0) {
		json_decref(*config);
		pause_a_little();
		rc = registry_call(cli, "GET", path, NULL, NULL, config);
	}
	return rc;
}

/* What has become of it, when it was waited for. */
static enum cli_exit judge(const struct cli *cli, const json_t *config, uint64_t wait_s)
{
	const char *state = get_text(config, "state"), *reason = get_text(config, "reason");

	if (wait_s == 0 || strcmp(state, "applied") == 0) {
		return CLI_OK;
	}
	if (strcmp(state, "pending") == 0) {
		cli_say(cli,
			"the node has not said anything within %" PRIu64
			" s (agent %s); it is set, and is applied when the node hears of it",
			wait_s, get_text(config, "agent"));
	} else if (strcmp(state, "not-enforced") == 0) {
		cli_say(cli, "it is set, and nobody carries it out: the node has no agent");
	} else {
		cli_say(cli, "the node refuses it, and the registry is back at what was before: %s",
			reason);
	}
	return CLI_REFUSED;
}

/* Sends a patch (taken; NULL: takes all away), waits where that is wanted, and says how it is. */
static enum cli_exit change(struct cli *cli, json_t *patch)
{
	const char *id = cli_word(cli, 0), *text = cli_option(cli, "wait");
	struct registry_request request = {
		.method = patch != NULL ? "PATCH" : "DELETE", .body = patch};
	char path[REGISTRY_PATH_SIZE];
	uint64_t wait_s = 0;
	json_t *config;
	enum cli_exit rc = CLI_OK;

	if (text != NULL) {
		rc = cli_parse_u64(cli, "--wait", text, 1, WAIT_MAX_S, &wait_s);
	}
	if (rc == CLI_OK && !registry_path(cli, id, "/config", path)) {
		rc = CLI_REFUSED;
	}
	if (rc != CLI_OK) {
		json_decref(patch);
		return rc;
	}
	request.path = path;
	rc = registry_request(cli, &request, &config, NULL);
	if (rc == CLI_OK) {
		rc = wait_for_node(cli, path, wait_s * 1000 / LOOK_MS, &config);
	}
	if (rc != CLI_OK) {
		json_decref(config);
		return rc;
	}
	rc = judge(cli, config, wait_s);
	if (cli->is_json) {
		return cli_finish_json(rc, config);
	}
	if (rc == CLI_OK) {
		cli_print("configuration of %s is %s", id, get_text(config, "state"));
	}
	json_decref(config);
	return rc;
}

/* The setting that a word begins with, up to a '=' or its end. */
static enum cli_exit find_setting(struct cli *cli, const char *word, const char **ret_name)
{
	size_t len = strcspn(word, "=");

	for (size_t i = 0; registry_settings[i] != NULL; i++) {
		if (strlen(registry_settings[i]) == len &&
			strncmp(registry_settings[i], word, len) == 0) {
			*ret_name = registry_settings[i];
			return CLI_OK;
		}
	}
	return cli_usage(cli, "'%s' is no setting; --help lists them", word);
}

/* Puts a value (taken) where the name says. */
static void put(json_t *patch, const char *name, json_t *value)
{
	const char *dot = strchr(name, '.');
	char section[32];
	json_t *object;

	if (dot == NULL) {
		json_object_set_new(patch, name, value);
		return;
	}
	snprintf(section, sizeof(section), "%.*s", (int)(dot - name), name);
	object = json_object_get(patch, section);
	if (object == NULL) {
		object = json_object();
		json_object_set_new(patch, section, object);
	}
	json_object_set_new(object, dot + 1, value);
}

static json_t *names_of(const char *text)
{
	json_t *names = json_array();

	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		json_array_append_new(names, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	return names;
}

static enum cli_exit add_setting(struct cli *cli, const char *word, json_t *patch)
{
	const char *name, *text = strchr(word, '=');
	json_t *value;
	enum cli_exit rc = find_setting(cli, word, &name);

	if (rc != CLI_OK) {
		return rc;
	}
	if (text == NULL) {
		return cli_usage(cli, "'%s' has no value: NAME=VALUE is needed", word);
	}
	text++;
	if (strcmp(name, "access.hosts") == 0) {
		put(patch, name, names_of(text));
		return CLI_OK;
	}
	value = json_loads(text, JSON_DECODE_ANY, NULL);
	if (!json_is_number(value) && !json_is_boolean(value)) {
		json_decref(value);
		return cli_usage(cli, "%s '%s' is no number, and not true or false", name, text);
	}
	put(patch, name, value);
	return CLI_OK;
}

static const struct cli_arg set_args[] = {
	{"TARGET", "the target's id, tgt-…", CLI_TARGETS},
	{"NAME=VALUE", "a setting, see below", CLI_SETTINGS, .is_repeated = true},
	{0},
};

#define WAIT_OPTION                                                                                \
	{                                                                                          \
		"wait", 'w', "SECONDS",                                                            \
			"wait so long for the node to have it, or to refuse it, 1 to 3600"         \
	}

static const struct cli_option set_options[] = {WAIT_OPTION, REGISTRY_OPTIONS};

/* Who may connect is said by both of these, so one that is set takes the other one's place. */
static void settle_hosts(json_t *patch)
{
	json_t *access = json_object_get(patch, "access");
	json_t *any_host = json_object_get(access, "any_host");
	json_t *hosts = json_object_get(access, "hosts");

	if (hosts == NULL && json_is_true(any_host)) {
		json_object_set_new(access, "hosts", json_null());
	} else if (any_host == NULL && hosts != NULL) {
		json_object_set_new(access, "any_host", json_null());
	}
}

static enum cli_exit run_set(struct cli *cli)
{
	json_t *patch = json_object();
	enum cli_exit rc = CLI_OK;

	for (size_t i = 1; rc == CLI_OK && i < cli->nr_words; i++) {
		rc = add_setting(cli, cli->words[i], patch);
	}
	if (rc != CLI_OK) {
		json_decref(patch);
		return rc;
	}
	settle_hosts(patch);
	return change(cli, patch);
}

static const struct cli_command set_command = {
	.name = "set",
	.help = "Sets what is desired of a target; the rest stays as it is.",
	.about = "Its node is told, makes it so or refuses it; one that is refused is rolled back.",
	.args = set_args,
	.options = set_options,
	.more_help = settings_help,
	.run = run_set,
};

static const struct cli_arg unset_args[] = {
	{"TARGET", "the target's id, tgt-…", CLI_TARGETS},
	{"NAME", "a setting", CLI_SETTINGS, .is_repeated = true, .is_optional = true},
	{0},
};

static const struct cli_option unset_options[] = {
	{"all", 'a', .help = "all that is set"}, WAIT_OPTION, REGISTRY_OPTIONS};

static enum cli_exit run_unset(struct cli *cli)
{
	bool is_all = cli_option(cli, "all") != NULL;
	json_t *patch = is_all ? NULL : json_object();
	const char *name;
	enum cli_exit rc = CLI_OK;

	if (is_all == (cli->nr_words > 1)) {
		json_decref(patch);
		return cli_usage(cli, "name the settings that are to go, or give --all");
	}
	for (size_t i = 1; rc == CLI_OK && i < cli->nr_words; i++) {
		rc = find_setting(cli, cli->words[i], &name);
		if (rc == CLI_OK) {
			put(patch, name, json_null());
		}
		/* One without the other would let nobody in. */
		if (rc == CLI_OK && (strcmp(name, "access.hosts") == 0 ||
					    strcmp(name, "access.any_host") == 0)) {
			put(patch, "access.hosts", json_null());
			put(patch, "access.any_host", json_null());
		}
	}
	if (rc != CLI_OK) {
		json_decref(patch);
		return rc;
	}
	return change(cli, patch);
}

static const struct cli_command unset_command = {
	.name = "unset",
	.help = "Desires something of a target no more; its node goes back to its own.",
	.args = unset_args,
	.options = unset_options,
	.more_help = settings_help,
	.run = run_unset,
};

static const struct cli_command *const config_members[] = {
	&show_command, &set_command, &unset_command, NULL};

const struct cli_command registry_config_command = {
	.name = "config",
	.help = "Shows and changes what is desired of a target.",
	.members = config_members,
};

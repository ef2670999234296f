/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what people write for the registry: up to three files with a zero byte between them, each
 * its configuration or, when it is a list or has "rules", its rules of alerts. An error says a
 * place that exists; what is accepted keeps what the daemon relies on, is the same when it is
 * written and read again, and rules are all there. No notification leaves: the fuzzer's own
 * curl_easy_perform() fails.
 */
#include <curl/curl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/xsan-registry/config.h"
#include "lib/reactor/address.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/alert/notify.h"
#include "lib/xregistry/store.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/memory.h"
#include "test/fuzz/place.h"

#define MAX_DOCUMENTS 3u

static int file = -1;
static char path[64];
static struct xreg_notifier *notifier;
static struct xreg_store *store;

CURLcode curl_easy_perform(CURL *curl)
{
	return CURLE_COULDNT_CONNECT;
}

static void write_file(const char *text, size_t len)
{
	FUZZ_CHECK(ftruncate(file, 0) == 0 && pwrite(file, text, len, 0) == (ssize_t)len,
		"the file in memory");
}

/* ---- the configuration ---- */

static void check_place(const char *address, uint16_t port, const char *nqn, bool has_nqn)
{
	struct sockaddr_storage addr;
	struct xu_error err = {0};

	FUZZ_CHECK(
		xr_address_parse(address, port, &addr) > 0 && port != 0, "'%s' %u", address, port);
	FUZZ_CHECK(!has_nqn || nqn[0] == '\0' || xnvmf_nqn_check(nqn, &err) == 0, "%s", err.text);
}

/* What other parts of the daemon do not check again. */
static void check_config(const struct config *config)
{
	const struct xreg_pull_limits limits = config_pull_limits(config);
	char address_path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	struct sockaddr_storage addr;
	struct xu_error err = {0};
	json_t *target;
	size_t i;

	FUZZ_CHECK(config->data_dir != NULL && config->connection != NULL &&
			   config->backend != NULL && config->http.address != NULL,
		"something is missing");
	FUZZ_CHECK(config->http.nr_threads >= 1 && config->http.nr_connections_max >= 16 &&
			   config->alert_interval_ms >= 1000 && limits.interval_s >= 1 &&
			   limits.timeout_s >= 1 && limits.nr_entries_max >= 1,
		"a limit that is none");
	FUZZ_CHECK(xreg_health_config_check(&config->health, &err) == 0, "%s", err.text);
	FUZZ_CHECK(config->balancer.policy >= 1 && config->balancer.policy <= XREG_SCORE &&
			   config->balancer.load_threshold >= 0 &&
			   config->balancer.load_threshold <= 1 &&
			   config->balancer.rebalance_interval_ms >= 1000,
		"policy %d", (int)config->balancer.policy);
	FUZZ_CHECK(xr_address_parse(config->central_address, 0, &addr) > 0, "%s",
		config->central_address);
	for (uint32_t n = 0; n < config->nr_controllers; n++) {
		const struct xreg_ddc *ddc = &config->controllers[n];

		check_place(ddc->address, ddc->port, ddc->nqn, true);
	}
	for (uint32_t n = 0; n < config->nr_referrals; n++) {
		const struct xreg_referral *referral = &config->referrals[n];

		check_place(referral->address, referral->port, referral->nqn, true);
	}
	json_array_foreach (config->static_targets, i, target) {
		FUZZ_CHECK(
			xreg_spec_parse(target, &parsed, address_path, &err) == 0, "%s", err.text);
	}
	for (i = 0; i < config->access.nr_tokens; i++) {
		FUZZ_CHECK(strlen(config->tokens[i].token) >= 16 &&
				   config->tokens[i].name != NULL &&
				   config->tokens[i].role <= XRPC_ROLE_ADMIN,
			"token %zu", i);
	}
}

static void fuzz_config(const char *text, size_t len)
{
	struct config *config = NULL, *again = NULL;
	struct xu_error err = {0};
	char *copy;
	int rc;

	write_file(text, len);
	rc = config_read(path, NULL, &config, &err);
	if (rc != 0) {
		fuzz_say("%s\n", err.text);
		FUZZ_CHECK(config == NULL && rc == err.code, "%d, %d", rc, err.code);
		fuzz_check_place(path, text, len, &err);
		return;
	}
	check_config(config);
	copy = json_dumps(config->root, JSON_INDENT(2));
	FUZZ_CHECK(copy != NULL, "out of memory");
	write_file(copy, strlen(copy));
	rc = config_read(path, NULL, &again, &err);
	FUZZ_CHECK(rc == 0, "it is not accepted when it is written again: %s", err.text);
	FUZZ_CHECK(json_equal(config->effective, again->effective), "it is read as another");
	config_free(config);
	config_free(again);
	free(copy);
}

/* ---- rules of alerts ---- */

static void measure(void *arg, double values[XREG_NR_METRICS])
{
	for (uint32_t i = 0; i < XREG_NR_METRICS; i++) {
		values[i] = i;
	}
}

/* All rules are told of, in their order, as they were said. */
static void check_rules(struct xreg_alerts *alerts, const json_t *list)
{
	json_t *told = xreg_alerts_json(alerts), *rule, *said;
	json_t *rules = json_object_get(told, "rules");
	struct xu_error err = {0};
	size_t i;

	FUZZ_CHECK(json_array_size(rules) == json_array_size(list), "%zu rules of %zu",
		json_array_size(rules), json_array_size(list));
	json_array_foreach (rules, i, rule) {
		const char *name = json_string_value(json_object_get(rule, "rule_name"));

		said = json_array_get(list, i);
		FUZZ_CHECK(name != NULL && json_equal(json_object_get(rule, "rule_name"),
						   json_object_get(said, "rule_name")),
			"rule %zu has another name", i);
		FUZZ_CHECK(json_number_value(json_object_get(rule, "threshold_value")) ==
				   json_number_value(json_object_get(said, "threshold_value")),
			"rule %s has another threshold", name);
		FUZZ_CHECK(xreg_alerts_test(alerts, name, &err) == 0, "%s", err.text);
	}
	FUZZ_CHECK(xreg_alerts_reload(alerts, &err) == 0, "the same again: %s", err.text);
	json_decref(told);
}

static void fuzz_rules(const char *text, size_t len, const json_t *root)
{
	const struct xreg_alerts_opts opts = {.rules_path = path,
		.data_dir = "/nowhere",
		.store = store,
		.interval_ms = 3600 * 1000,
		.notifier = notifier,
		.measure = measure};
	struct xreg_alerts *alerts = NULL;
	struct xu_error err = {0};
	int rc;

	write_file(text, len);
	rc = xreg_alerts_start(&opts, &alerts, &err);
	if (rc != 0) {
		fuzz_say("%s\n", err.text);
		fuzz_check_place(path, text, len, &err);
		return;
	}
	check_rules(alerts, json_is_array(root) ? root : json_object_get(root, "rules"));
	xreg_alerts_stop(alerts);
}

/* ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct xreg_notifier_opts opts = {.smtp_url = "smtp://127.0.0.1:9",
		.smtp_from = "a@example.org",
		.slack_url = "http://127.0.0.1:9/",
		.nr_tries = 1};
	const struct xreg_store_opts data = {.backend = &fuzz_memory};
	struct xu_error err = {0};

	(void)argc;
	(void)argv;
	json_object_seed(1);
	file = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_CHECK(file >= 0, "no file in memory");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	FUZZ_CHECK(xreg_notifier_start(&opts, &notifier, &err) == 0, "%s", err.text);
	FUZZ_CHECK(xreg_store_open(&data, &store, &err) == 0, "%s", err.text);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size, *zero;

	for (uint32_t i = 0; i < MAX_DOCUMENTS && at < end; i++) {
		json_t *root;
		size_t len;

		zero = memchr(at, '\0', (size_t)(end - at));
		zero = zero != NULL ? zero : end;
		len = (size_t)(zero - at);
		root = json_loadb(at, len, 0, NULL);
		if (json_is_array(root) || json_object_get(root, "rules") != NULL) {
			fuzz_rules(at, len, root);
		} else {
			fuzz_config(at, len);
		}
		json_decref(root);
		at = zero + 1;
	}
	return 0;
}

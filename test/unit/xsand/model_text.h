/* SPDX-License-Identifier: BSD-3-Clause */
/* Models from texts that a test can be read by: configuration files with ' in place of ". */
#ifndef TEST_XSAND_MODEL_TEXT_H
#define TEST_XSAND_MODEL_TEXT_H

#include "daemon/xsand/config.h"
#include "daemon/xsand/model.h"
#include "lib/util/error.h"
#include "test/unit/util/test.h"

static inline json_t *model_of(const char *text)
{
	struct config *config = NULL;
	struct xu_error err = {0};
	char *copy = strdup(text);
	json_t *model;

	for (char *c = copy; *c != '\0'; c++) {
		*c = *c == '\'' ? '"' : *c;
	}
	if (config_parse("test", copy, strlen(copy), &config, &err) != 0) {
		fail_msg("%s\n%s", copy, err.text);
	}
	free(copy);
	model = json_incref(config->model);
	config_free(config);
	return model;
}

/* Compares two models and shows both when they differ. */
static inline void assert_models_equal(const json_t *got, const json_t *expected)
{
	if (!json_equal(got, expected)) {
		char *a = json_dumps(got, JSON_SORT_KEYS | JSON_INDENT(1));
		char *b = json_dumps(expected, JSON_SORT_KEYS | JSON_INDENT(1));

		fail_msg("got\n%s\nexpected\n%s", a, b);
	}
}

/* One subsystem with these members. */
#define SUB(members)     "'nvmf': {'subsystems': [{'nqn': 'nqn.2026-11.x:a'" members "}]}"
#define NS(nsid, device) "{'nsid': " nsid ", 'device': '" device "'}"

#endif

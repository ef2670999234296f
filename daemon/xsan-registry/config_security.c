/* SPDX-License-Identifier: BSD-3-Clause */
/* The section of who may call: TLS, tokens, certificates of clients. */
#include "daemon/xsan-registry/config_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"

#define TOKEN_MIN 16u

struct security {
	bool has_tls, is_open;
	const char *cert, *key, *ca;
	uint32_t client_role, rate_max, wrong_max;
	json_t *tokens, *certificates;
};

static const struct xu_param security_params[] = {
	{"tls_enabled", XU_PARAM_BOOL, offsetof(struct security, has_tls)},
	{"cert_file", XU_PARAM_STRING, offsetof(struct security, cert)},
	{"key_file", XU_PARAM_STRING, offsetof(struct security, key)},
	{"ca_file", XU_PARAM_STRING, offsetof(struct security, ca)},
	{"client_role", XU_PARAM_ENUM, offsetof(struct security, client_role),
		.choices = xrpc_role_names},
	{"client_certificates", XU_PARAM_JSON, offsetof(struct security, certificates)},
	{"tokens", XU_PARAM_JSON, offsetof(struct security, tokens)},
	{"allow_insecure", XU_PARAM_BOOL, offsetof(struct security, is_open)},
	{"rate_limit_per_sec", XU_PARAM_U32, offsetof(struct security, rate_max), .max = 1000000},
	{"wrong_tokens_per_sec", XU_PARAM_U32, offsetof(struct security, wrong_max),
		.max = 1000000},
	{0},
};

static const struct xu_param certificate_params[] = {
	{"subject", XU_PARAM_STRING, offsetof(struct xrpc_certificate, subject)},
	{"san", XU_PARAM_STRING, offsetof(struct xrpc_certificate, san)},
	{"role", XU_PARAM_ENUM, offsetof(struct xrpc_certificate, role), .choices = xrpc_role_names,
		.is_required = true, .help = "what it allows"},
	{0},
};

struct token {
	const char *name, *token, *file, *variable;
	uint32_t role;
};

static const struct xu_param token_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct token, name), .is_required = true,
		.help = "who has it, for the log"},
	{"token", XU_PARAM_STRING, offsetof(struct token, token)},
	{"token_file", XU_PARAM_STRING, offsetof(struct token, file)},
	{"token_env", XU_PARAM_STRING, offsetof(struct token, variable)},
	{"role", XU_PARAM_ENUM, offsetof(struct token, role), .choices = xrpc_role_names,
		.is_required = true, .help = "what it allows"},
	{0},
};

static int check_token(struct config_check *c, json_t *object, uint32_t index)
{
	struct config *config = c->config;
	char path[64], **own = &config->token_texts[index];
	struct token token = {0};
	const char *text;
	int rc;

	snprintf(path, sizeof(path), "security.tokens[%u]", index);
	rc = config_section(c, path, token_params, &token, object);
	if (rc != 0) {
		return rc;
	}
	config_fail(c, path, 0);
	if ((token.token != NULL) + (token.file != NULL) + (token.variable != NULL) != 1) {
		return xu_error_set(c->err, -EINVAL,
			"one of token, token_file and token_env is needed, and no more");
	}
	text = token.token;
	if (token.file != NULL) {
		rc = config_read_secret(token.file, own, c->err);
		text = *own;
	} else if (token.variable != NULL) {
		text = getenv(token.variable);
		if (text == NULL) {
			return xu_error_set(c->err, -ENOENT, "the environment has no variable '%s'",
				token.variable);
		}
	}
	if (rc != 0) {
		return rc;
	}
	if (strlen(text) < TOKEN_MIN || strlen(text) > CONFIG_SECRET_MAX) {
		return xu_error_set(c->err, -EINVAL,
			"the token has %zu characters; it needs %u to %u", strlen(text), TOKEN_MIN,
			CONFIG_SECRET_MAX);
	}
	config->tokens[index] = (struct xrpc_token){token.name, text, (enum xrpc_role)token.role};
	config->access.nr_tokens = index + 1;
	json_array_append_new(json_object_get(config->effective, "security.tokens"),
		json_pack("[s, s, i]", token.name, text, (int)token.role));
	return 0;
}

static int check_tokens(struct config_check *c, json_t *tokens)
{
	int rc = 0;

	if (tokens != NULL && !json_is_array(tokens)) {
		return config_fail(c, "security.tokens",
			xu_error_set(c->err, -EINVAL, "a list [ … ] of tokens is needed here"));
	}
	if (json_array_size(tokens) > CONFIG_TOKENS_MAX) {
		return config_fail(c, "security.tokens",
			xu_error_set(c->err, -EINVAL, "there may be %u tokens", CONFIG_TOKENS_MAX));
	}
	json_object_set_new(c->config->effective, "security.tokens", json_array());
	for (uint32_t i = 0; rc == 0 && i < json_array_size(tokens); i++) {
		rc = check_token(c, json_array_get(tokens, i), i);
	}
	return rc;
}

static int check_certificates(struct config_check *c, const struct security *security)
{
	static const char name[] = "security.client_certificates";
	json_t *list = security->certificates;
	char path[64];
	int rc = 0;

	if (list != NULL && (!security->has_tls || security->ca == NULL)) {
		return config_fail(c, name,
			xu_error_set(c->err, -EINVAL,
				"clients show certificates only with tls_enabled and ca_file"));
	}
	if (list != NULL &&
		(!json_is_array(list) || json_array_size(list) > CONFIG_CERTIFICATES_MAX)) {
		return config_fail(c, name,
			xu_error_set(c->err, -EINVAL,
				"a list [ … ] of up to %u certificates is needed here",
				CONFIG_CERTIFICATES_MAX));
	}
	for (uint32_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		struct xrpc_certificate *one = &c->config->certificates[i];

		snprintf(path, sizeof(path), "%s[%u]", name, i);
		rc = config_section(c, path, certificate_params, one, json_array_get(list, i));
		if (rc == 0 && xrpc_certificate_check(one, c->err) != 0) {
			rc = config_fail(c, path, -EINVAL);
		}
	}
	c->config->access.certificates = c->config->certificates;
	c->config->access.nr_certificates = (uint32_t)json_array_size(list);
	return rc;
}

int config_check_security(struct config_check *c, json_t *object)
{
	struct security security = {.client_role = XRPC_ROLE_ADMIN, .wrong_max = 16};
	struct config *config = c->config;
	int rc = config_section(c, "security", security_params, &security, object);

	if (rc == 0 && security.has_tls && (security.cert == NULL || security.key == NULL)) {
		return config_fail(c, "security",
			xu_error_set(c->err, -EINVAL, "TLS needs cert_file and key_file"));
	}
	rc = rc != 0 ? rc : check_tokens(c, security.tokens);
	rc = rc != 0 ? rc : check_certificates(c, &security);
	if (security.has_tls) {
		config->cert_path = security.cert;
		config->key_path = security.key;
		config->client_ca_path = security.ca;
	}
	config->access.tokens = config->tokens;
	config->access.has_client_ca = config->client_ca_path != NULL;
	config->access.certificate_role = (enum xrpc_role)security.client_role;
	config->access.rate_max = security.rate_max;
	config->access.wrong_tokens_max = security.wrong_max;
	config->http.is_open = security.is_open;
	return rc;
}

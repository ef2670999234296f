/* SPDX-License-Identifier: BSD-3-Clause */
/* Connection strings of the Consul backend; see consul.h for their form. */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/consul/consul.h"
#include "lib/xregistry/shared.h"
#include "lib/xregistry/where.h"

#define DEFAULT_PREFIX "xsan-registry"

/* Of both, since newer versions of Consul take no others in keys. */
#define SAFE "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

static bool fill_url(CURLU *url, const char *text, char **ret_url)
{
	char *part = NULL;
	bool is_secure, is_good;

	if (curl_url_set(url, CURLUPART_URL, text, CURLU_GUESS_SCHEME) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_SCHEME, &part, 0) != CURLUE_OK) {
		return false;
	}
	is_secure = strcmp(part, "https") == 0;
	is_good = is_secure || strcmp(part, "http") == 0;
	curl_free(part);
	/* The prefix begins at the first slash, so what is left can only be a name or a password.
	 */
	if (curl_url_get(url, CURLUPART_USER, &part, 0) == CURLUE_OK) {
		curl_free(part);
		is_good = false;
	}
	if (!is_good) {
		return false;
	}
	if (curl_url_get(url, CURLUPART_PORT, &part, 0) == CURLUE_OK) {
		curl_free(part);
	} else if (curl_url_set(url, CURLUPART_PORT, is_secure ? "8501" : "8500", 0) != CURLUE_OK) {
		return false;
	}
	if (curl_url_get(url, CURLUPART_URL, &part, 0) != CURLUE_OK) {
		return false;
	}
	*ret_url = strdup(part);
	curl_free(part);
	return *ret_url != NULL;
}

/* "http://HOST:PORT" of what is written, without a slash at its end. */
static int add_endpoint(struct xreg_consul_where *where, const char *text, struct xu_error *err)
{
	CURLU *url;
	char **endpoint = &where->endpoints[where->nr_endpoints];
	bool is_good;
	size_t len;

	if (where->nr_endpoints == XREG_CONSUL_ENDPOINTS_MAX) {
		return xu_error_set(
			err, -EINVAL, "more than %u endpoints", XREG_CONSUL_ENDPOINTS_MAX);
	}
	url = curl_url();
	is_good = url != NULL && fill_url(url, text, endpoint);
	curl_url_cleanup(url);
	if (!is_good) {
		return xu_error_set(err, -EINVAL,
			"'%.64s' is no endpoint of Consul; write http://HOST:PORT or "
			"https://HOST:PORT",
			text);
	}
	where->nr_endpoints++;
	len = strlen(*endpoint);
	if ((*endpoint)[len - 1] == '/') {
		(*endpoint)[len - 1] = '\0';
	}
	return 0;
}

static int cut_endpoints(struct xreg_consul_where *where, char *text, struct xu_error *err)
{
	char *endpoint;
	int rc = 0;

	while (rc == 0 && (endpoint = strsep(&text, ",")) != NULL) {
		rc = add_endpoint(where, endpoint, err);
	}
	return rc;
}

/* `written` begins with the slash behind the endpoints. */
static int set_prefix(struct xreg_consul_where *where, const char *written, struct xu_error *err)
{
	written += strspn(written, "/");
	if (strlen(written) > XREG_SHARED_PREFIX_MAX) {
		return xu_error_set(err, -EINVAL,
			"the prefix of Consul's keys is longer than %u bytes",
			XREG_SHARED_PREFIX_MAX);
	}
	if (written[strspn(written, SAFE "/")] != '\0' || strstr(written, "..") != NULL) {
		return xu_error_set(err, -EINVAL,
			"the prefix '%s' has other characters than letters, digits, '-', '_', '.' "
			"and '/', or '..'",
			written);
	}
	where->prefix = strdup(written[0] != '\0' ? written : DEFAULT_PREFIX);
	return where->prefix != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "opening Consul");
}

static int check_options(const struct xreg_consul_where *where, struct xu_error *err)
{
	const char *datacenter = where->datacenter;

	if (datacenter != NULL && datacenter[strspn(datacenter, SAFE)] != '\0') {
		return xu_error_set(err, -EINVAL, "'%.64s' is no name of a datacenter", datacenter);
	}
	if (where->token != NULL && (where->token[0] == '\0' || strlen(where->token) > 255 ||
					    where->token[strspn(where->token, SAFE)] != '\0')) {
		return xu_error_set(err, -EINVAL, "the token is none of Consul's");
	}
	return (where->cert == NULL) == (where->key == NULL)
		       ? 0
		       : xu_error_set(err, -EINVAL, "cert and key belong together");
}

int xreg_consul_where_parse(
	const char *text, struct xreg_consul_where *ret_where, struct xu_error *err)
{
	const struct xreg_where_option options[] = {
		{"token_file", &ret_where->token, XREG_WHERE_FILE},
		{"token_env", &ret_where->token, XREG_WHERE_ENV},
		{"ca", &ret_where->ca, XREG_WHERE_TEXT},
		{"cert", &ret_where->cert, XREG_WHERE_TEXT},
		{"key", &ret_where->key, XREG_WHERE_TEXT},
		{"datacenter", &ret_where->datacenter, XREG_WHERE_TEXT},
		{0},
	};
	char *endpoints = NULL, *prefix = NULL;
	int rc;

	*ret_where = (struct xreg_consul_where){0};
	rc = xreg_where_parse(text, "Consul", options, &endpoints, &prefix, err);
	if (rc == 0) {
		rc = cut_endpoints(ret_where, endpoints, err);
	}
	if (rc == 0) {
		rc = set_prefix(ret_where, prefix, err);
	}
	if (rc == 0) {
		rc = check_options(ret_where, err);
	}
	free(endpoints);
	free(prefix);
	if (rc != 0) {
		xreg_consul_where_free(ret_where);
	}
	return rc;
}

void xreg_consul_where_free(struct xreg_consul_where *where)
{
	for (uint32_t i = 0; i < where->nr_endpoints; i++) {
		free(where->endpoints[i]);
	}
	xreg_where_free_secret(where->token);
	free(where->prefix);
	free(where->ca);
	free(where->cert);
	free(where->key);
	free(where->datacenter);
	*where = (struct xreg_consul_where){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Cuts connection strings; secrets are not in them, only where they are. */
#include "lib/xregistry/where.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"

#define SECRET_MAX 1024u

/* Where the keys' prefix begins: the first '/' that is none of "://". */
static const char *find_prefix(const char *text, const char *end)
{
	for (const char *at = text; at < end; at++) {
		if (at[0] == '/' && at > text && at[-1] == ':' && at + 1 < end && at[1] == '/') {
			at++;
		} else if (at[0] == '/') {
			return at;
		}
	}
	return end;
}

static int read_secret(
	const char *path, const char *option, char **ret_secret, struct xu_error *err)
{
	char text[SECRET_MAX];
	FILE *file = fopen(path, "re");
	size_t len;

	if (file == NULL) {
		return xu_error_set_errno(err, -errno, "reading what %s names, %s", option, path);
	}
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	*ret_secret = strdup(text);
	explicit_bzero(text, sizeof(text));
	return *ret_secret != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "reading %s", path);
}

static int set_value(
	const struct xreg_where_option *option, const char *value, struct xu_error *err)
{
	if (option->what == XREG_WHERE_FILE) {
		return read_secret(value, option->name, option->to, err);
	}
	if (option->what == XREG_WHERE_ENV && (value = getenv(value)) == NULL) {
		return xu_error_set(err, -EINVAL,
			"the variable that %s names is not in the environment", option->name);
	}
	*option->to = strdup(value);
	return *option->to != NULL
		       ? 0
		       : xu_error_set_errno(err, -ENOMEM, "reading the connection string");
}

static int no_such_option(
	const struct xreg_where_option *options, const char *name, struct xu_error *err)
{
	char names[256] = "";
	size_t len = 0;

	for (; options->name != NULL && len < sizeof(names); options++) {
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
			len == 0 ? "" : ", ", options->name);
	}
	return xu_error_set(err, -EINVAL, "there is no option '%.32s', but %s", name, names);
}

/* One "name=value", which is cut off at its '='. */
static int set_option(const struct xreg_where_option *options, char *text, struct xu_error *err)
{
	char *value = strchr(text, '=');

	if (value != NULL) {
		*value++ = '\0';
	}
	for (const struct xreg_where_option *option = options; option->name != NULL; option++) {
		if (strcmp(option->name, text) != 0) {
			continue;
		}
		if (value == NULL || *value == '\0' || *option->to != NULL) {
			return xu_error_set(err, -EINVAL, "'%s' wants one value", text);
		}
		return set_value(option, value, err);
	}
	return no_such_option(options, text, err);
}

int xreg_where_parse(const char *text, const char *service, const struct xreg_where_option *options,
	char **ret_endpoints, char **ret_prefix, struct xu_error *err)
{
	const char *end = text + strcspn(text, "?"), *prefix = find_prefix(text, end);
	char *copy = strdup(*end == '?' ? end + 1 : ""), *rest = copy, *option;
	size_t len = (size_t)(end - prefix);
	int rc = 0;

	while (len > 0 && prefix[len - 1] == '/') {
		len--;
	}
	*ret_endpoints = strndup(text, (size_t)(prefix - text));
	*ret_prefix = strndup(prefix, len);
	if (copy == NULL || *ret_endpoints == NULL || *ret_prefix == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "reading the connection string");
	} else if ((*ret_endpoints)[0] == '\0') {
		rc = xu_error_set(err, -EINVAL,
			"write %s's endpoints in front, as http://HOST:PORT", service);
	}
	while (rc == 0 && (option = strsep(&rest, "&")) != NULL) {
		rc = option[0] != '\0' ? set_option(options, option, err) : 0;
	}
	free(copy);
	return rc == 0 ? 0 : xu_error_prefix(err, "'%.128s'", text);
}

void xreg_where_free_secret(char *secret)
{
	if (secret != NULL) {
		explicit_bzero(secret, strlen(secret));
	}
	free(secret);
}

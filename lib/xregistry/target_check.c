/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every check of what strangers say of a target, however it came: JSON, gRPC, a file of ours. The
 * readers of those only see to it that texts are texts (UTF-8, without NUL bytes) and numbers are
 * numbers.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/target.h"

#define FC_NAME 16u /* digits of a name of Fibre Channel */

/* ---- texts ---- */

/* A text that is shown to people and told to hosts: short, without control characters. */
static int check_text(const char *what, const char *text, size_t max, struct xu_error *err)
{
	size_t len = strlen(text);

	if (len > max) {
		return xu_error_set(err, -EINVAL, "%s is %zu bytes long, at most %zu are accepted",
			what, len, max);
	}
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
			return xu_error_set(
				err, -EINVAL, "%s: byte %zu is a control character", what, i + 1);
		}
	}
	return 0;
}

/* A name that stands in paths and lists of words. */
static int check_name(const char *what, const char *text, struct xu_error *err)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && strchr("._-:@/", text[i]) == NULL) {
			return xu_error_set(err, -EINVAL,
				"%s '%.64s': letters, digits and . _ - : @ / are accepted", what,
				text);
		}
	}
	if (len == 0 || len > XREG_NAME_MAX) {
		return xu_error_set(err, -EINVAL, "%s has %zu characters, 1 to %u are accepted",
			what, len, XREG_NAME_MAX);
	}
	return 0;
}

/* ---- where it is ---- */

static bool is_fc_name(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 &&
	       strspn(text + len, "0123456789abcdefABCDEF") >= FC_NAME;
}

/* "nn-0x<16 digits>:pn-0x<16 digits>" (NVMe over FC). */
static bool is_fc_address(const char *text)
{
	return strlen(text) == 2 * (5 + FC_NAME) + 1 && is_fc_name(text, "nn-0x") &&
	       is_fc_name(text + 5 + FC_NAME, ":pn-0x");
}

static int check_ip_address(const struct xreg_spec *spec, struct xu_error *err)
{
	struct sockaddr_storage addr;

	if (xr_address_parse(spec->address, 0, &addr) < 0) {
		return xu_error_set(err, -EINVAL,
			"address: '%.64s' is no numeric IPv4 or IPv6 address", spec->address);
	}
	if (xr_address_is_wildcard(spec->address)) {
		return xu_error_set(err, -EINVAL,
			"address: '%.64s' stands for every address; give the one that hosts reach",
			spec->address);
	}
	if (spec->port == 0 || spec->port > UINT16_MAX) {
		return xu_error_set(
			err, -EINVAL, "port is missing, 0 or above 65535; 1 to 65535 are accepted");
	}
	return 0;
}

static int check_address(const struct xreg_spec *spec, struct xu_error *err)
{
	if (spec->transport > XREG_FC || spec->security > XREG_SECURITY_IPSEC) {
		return xu_error_set(err, -EINVAL, "%s %u is not known",
			spec->transport > XREG_FC ? "transport" : "security type",
			spec->transport > XREG_FC ? spec->transport : spec->security);
	}
	if (spec->transport != XREG_FC) {
		return check_ip_address(spec, err);
	}
	return is_fc_address(spec->address) && spec->port == 0
		       ? 0
		       : xu_error_set(err, -EINVAL,
				 "address: '%.64s' with port %u is none of Fibre Channel, "
				 "which is nn-0x… :pn-0x… without a port",
				 spec->address, spec->port);
}

/* ---- numbers ---- */

/* They are stored as JSON, whose integers have a sign here. */
static int check_number(const char *what, uint64_t number, uint64_t max, struct xu_error *err)
{
	return number <= max ? 0
			     : xu_error_set(err, -EINVAL,
				       "%s: %llu is too much, at most %llu is accepted", what,
				       (unsigned long long)number, (unsigned long long)max);
}

static int check_caps(const struct xreg_spec *spec, struct xu_error *err)
{
	int rc = check_number("max_iops", spec->max_iops, INT64_MAX, err);

	return rc == 0 ? check_number(
				 "max_bandwidth_mbps", spec->max_bandwidth_mbps, INT64_MAX, err)
		       : rc;
}

static int check_storage(const struct xreg_spec *spec, struct xu_error *err)
{
	int rc = check_text("device_path", spec->device_path, XREG_TEXT_MAX, err);

	return rc == 0 ? check_number("block_size", spec->block_size, XREG_BLOCK_SIZE_MAX, err)
		       : rc;
}

static int check_interval(const struct xreg_spec *spec, struct xu_error *err)
{
	if (spec->discovery_interval_s > XREG_INTERVAL_S_MAX) {
		return xu_error_set(err, -EINVAL,
			"discovery_interval: %u is not accepted, 1 to %u seconds are",
			spec->discovery_interval_s, XREG_INTERVAL_S_MAX);
	}
	return 0;
}

static int check_weight(const struct xreg_spec *spec, struct xu_error *err)
{
	/* Also what is no number at all is not in the range. */
	return spec->weight >= 0 && spec->weight <= XREG_WEIGHT_MAX
		       ? 0
		       : xu_error_set(err, -EINVAL, "weight: a number from 0 to %g is needed",
				 XREG_WEIGHT_MAX);
}

/* ---- lists ---- */

static int compare_pairs(const void *a, const void *b)
{
	return strcmp(((const struct xreg_pair *)a)->key, ((const struct xreg_pair *)b)->key);
}

static int sort_metadata(struct xreg_parsed *parsed, struct xu_error *err)
{
	struct xreg_pair *pairs = parsed->metadata;

	qsort(pairs, parsed->spec.nr_metadata, sizeof(*pairs), compare_pairs);
	for (uint32_t i = 0; i < parsed->spec.nr_metadata; i++) {
		if (check_name("a key of metadata", pairs[i].key, err) != 0 ||
			check_text("a value of metadata", pairs[i].value, XREG_TEXT_MAX, err) !=
				0) {
			return -EINVAL;
		}
		if (i > 0 && strcmp(pairs[i].key, pairs[i - 1].key) == 0) {
			return xu_error_set(
				err, -EINVAL, "metadata: '%s' is said twice", pairs[i].key);
		}
	}
	return 0;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_tags(struct xreg_parsed *parsed, struct xu_error *err)
{
	const char **tags = parsed->tags;
	uint32_t count = 0;

	qsort(tags, parsed->spec.nr_tags, sizeof(*tags), compare_texts);
	for (uint32_t i = 0; i < parsed->spec.nr_tags; i++) {
		if (check_name("a tag", tags[i], err) != 0) {
			return -EINVAL;
		}
		if (i == 0 || strcmp(tags[i], tags[count - 1]) != 0) {
			tags[count++] = tags[i];
		}
	}
	parsed->spec.nr_tags = count;
	return 0;
}

/* ---- all of it ---- */

void xreg_parsed_init(struct xreg_parsed *parsed)
{
	parsed->spec = (struct xreg_spec){.node_id = "",
		.nqn = "",
		.address = "",
		.interface = "",
		.device_path = "",
		.has_auto_discovery = true,
		.weight = 1,
		.metadata = parsed->metadata,
		.tags = parsed->tags};
}

/* The checks of target_info. */
static int check_info(const struct xreg_spec *spec, const char **ret_where, struct xu_error *err)
{
	int rc;

	*ret_where = "target_info.nqn";
	rc = xnvmf_nqn_check(spec->nqn, err);
	if (rc == 0) {
		*ret_where = spec->transport != XREG_FC && spec->port == 0 ? "target_info.port"
									   : "target_info.address";
		rc = check_address(spec, err);
	}
	if (rc == 0) {
		*ret_where = "target_info.interface";
		rc = check_text("interface", spec->interface, XREG_NAME_MAX, err);
	}
	if (rc == 0) {
		*ret_where = "target_info.namespace_capacity";
		rc = check_number("namespace_capacity", spec->capacity_bytes, INT64_MAX, err);
	}
	return rc;
}

/* Those of the sections beside it. */
static int check_sections(struct xreg_parsed *parsed, const char **ret_where, struct xu_error *err)
{
	static const struct {
		const char *where;
		int (*check)(const struct xreg_spec *spec, struct xu_error *err);
	} checks[] = {{"storage.device_path", check_storage}, {"performance_caps", check_caps},
		{"config.discovery_interval", check_interval}, {"config.weight", check_weight}};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(checks) / sizeof(checks[0]); i++) {
		*ret_where = checks[i].where;
		rc = checks[i].check(&parsed->spec, err);
	}
	if (rc == 0) {
		*ret_where = "config.tags";
		rc = sort_tags(parsed, err);
	}
	if (rc == 0) {
		*ret_where = "metadata";
		rc = sort_metadata(parsed, err);
	}
	if (rc == 0) {
		*ret_where = "ttl_seconds";
		rc = check_number("ttl_seconds", parsed->spec.ttl_s, XREG_TTL_S_MAX, err);
	}
	return rc;
}

int xreg_parsed_check(
	struct xreg_parsed *parsed, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	const char *where = "node_id";
	int rc = check_name("node_id", parsed->spec.node_id, err);

	if (rc == 0) {
		rc = check_info(&parsed->spec, &where, err);
	}
	if (rc == 0) {
		rc = check_sections(parsed, &where, err);
	}
	if (rc != 0) {
		snprintf(path, XU_PARAM_PATH_SIZE, "%s", where);
	}
	return rc;
}

int xreg_status_check(const struct xreg_status *status, struct xu_error *err)
{
	if (xreg_state_name(status->state) == NULL) {
		return xu_error_set(err, -EINVAL, "status %u is not known", status->state);
	}
	if (status->until_ms > INT64_MAX) {
		return xu_error_set(err, -EINVAL, "the end of the maintenance is no time");
	}
	return check_text("reason", status->reason, XREG_TEXT_MAX, err);
}

static int check_share(const char *what, double share, struct xu_error *err)
{
	return share >= 0 && share <= 1
		       ? 0
		       : xu_error_set(err, -EINVAL, "%s: a number from 0 to 1 is needed", what);
}

int xreg_metrics_check(const struct xreg_metrics *metrics, struct xu_error *err)
{
	int rc = check_share("error_rate", metrics->error_rate, err);

	if (rc == 0) {
		rc = check_share("cpu_usage", metrics->cpu_usage, err);
	}
	if (rc == 0) {
		rc = check_share("memory_usage", metrics->memory_usage, err);
	}
	if (rc == 0 && metrics->load_percentage > 100) {
		rc = xu_error_set(err, -EINVAL, "load_percentage: %u is not accepted, 0 to 100 are",
			metrics->load_percentage);
	}
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything here is what somebody on the network says: bounded, checked, and nothing is believed
 * that would send hosts to an address that means something else to them. */
#include "lib/xregistry/mdns/service.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xnvmf/target/target.h"

/* ---- the TXT record ---- */

static bool is_key(const char *string, size_t len, const char *key)
{
	return len == strlen(key) && strncasecmp(string, key, len) == 0;
}

static void take_nqn(
	struct xreg__mdns_txt *txt, bool *has, char *nqn, const char *value, size_t len)
{
	if (*has) {
		return;
	}
	*has = true;
	if (len > XNVMF_NQN_MAX || memchr(value, '\0', len) != NULL) {
		txt->is_bad = true;
		return;
	}
	memcpy(nqn, value, len);
	nqn[len] = '\0';
}

/* RFC 6763, 6.4: "key=value" or "key"; a string that begins with "=" is to be ignored. */
void xreg__mdns_txt_add(struct xreg__mdns_txt *txt, const void *string, size_t len)
{
	const char *text = string, *equals = len != 0 ? memchr(text, '=', len) : NULL;
	size_t key_len = equals != NULL ? (size_t)(equals - text) : len;
	const char *value = equals != NULL ? equals + 1 : text + len;
	size_t value_len = len - key_len - (equals != NULL);

	if (is_key(text, key_len, "p") && !txt->has_p) {
		txt->has_p = true;
		txt->is_tcp = value_len == 3 && strncasecmp(value, "tcp", 3) == 0;
	} else if (is_key(text, key_len, "nqn")) {
		take_nqn(txt, &txt->has_nqn, txt->nqn, value, value_len);
	} else if (is_key(text, key_len, "subnqn")) {
		take_nqn(txt, &txt->has_subnqn, txt->subnqn, value, value_len);
	}
}

/* ---- what it is ---- */

/* Keeps a text that people can be shown and JSON can carry, else "". */
static void keep_text(char *to, size_t size, const char *text)
{
	size_t len = strlen(text);
	json_t *checked = len < size ? json_string(text) : NULL;
	bool is_good = checked != NULL;

	for (size_t i = 0; is_good && i < len; i++) {
		is_good = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
	}
	snprintf(to, size, "%s", is_good ? text : "");
	json_decref(checked);
}

/* The first part of the host's name, as far as it is fit for the name of a node. */
static void make_node_id(char node_id[XREG_NAME_MAX + 1], const char *host)
{
	size_t len = strcspn(host, "."), kept = 0;

	for (size_t i = 0; i < len && kept < XREG_NAME_MAX; i++) {
		if (isalnum((unsigned char)host[i]) || host[i] == '-' || host[i] == '_') {
			node_id[kept++] = host[i];
		}
	}
	node_id[kept] = '\0';
	if (kept == 0) {
		snprintf(node_id, XREG_NAME_MAX + 1, "mdns");
	}
}

int xreg__mdns_judge(const struct xreg__mdns_seen *seen, struct xreg__mdns_service *ret_service,
	struct xu_error *err)
{
	const struct xreg__mdns_txt *txt = seen->txt;
	struct xreg__mdns_service service = {0};
	bool has_subsystem = txt->has_subnqn && strcmp(txt->subnqn, XNVMF_DISCOVERY_NQN) != 0;

	if (!txt->is_tcp) {
		return xu_error_set(err, -EINVAL, "its TXT record does not say p=tcp");
	}
	if (txt->is_bad) {
		return xu_error_set(err, -EINVAL,
			"its TXT record has an NQN of more than %u bytes or with a NUL",
			XNVMF_NQN_MAX);
	}
	if (xreg_ddc_make(seen->address, seen->port, txt->nqn, &service.ddc, err) != 0) {
		return -EINVAL;
	}
	if (xr_address_is_loopback(service.ddc.address) && !seen->is_loopback) {
		return xu_error_set(err, -EINVAL,
			"address: '%s' means another machine to each host", service.ddc.address);
	}
	if (has_subsystem && xnvmf_nqn_check(txt->subnqn, err) != 0) {
		return -EINVAL;
	}
	service.is_target = has_subsystem;
	service.is_ddc = txt->has_nqn || !has_subsystem;
	if (has_subsystem) {
		memcpy(service.subnqn, txt->subnqn, sizeof(service.subnqn));
	}
	keep_text(service.name, sizeof(service.name), seen->name);
	keep_text(service.host, sizeof(service.host), seen->host);
	make_node_id(service.node_id, service.host);
	*ret_service = service;
	return 0;
}

int xreg__mdns_spec(
	const struct xreg__mdns_service *service, struct xreg_parsed *parsed, struct xu_error *err)
{
	char path[XU_PARAM_PATH_SIZE];

	xreg_parsed_init(parsed);
	parsed->spec.node_id = service->node_id;
	parsed->spec.nqn = service->subnqn;
	parsed->spec.transport = XREG_TCP;
	parsed->spec.address = service->ddc.address;
	parsed->spec.port = service->ddc.port;
	if (service->host[0] != '\0') {
		parsed->metadata[parsed->spec.nr_metadata++] =
			(struct xreg_pair){XREG_MDNS_HOST, service->host};
	}
	if (service->name[0] != '\0') {
		parsed->metadata[parsed->spec.nr_metadata++] =
			(struct xreg_pair){XREG_MDNS_NAME, service->name};
	}
	return xreg_parsed_check(parsed, path, err);
}

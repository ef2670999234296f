/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what is made of services found by mDNS. The input is: flags, port, an address, the names
 * of instance and host, each with its length before it, then the strings of the TXT record as they
 * are on the wire. Whatever is said, what is handed on can be reached, is within its bounds, and is
 * a target that the registry takes.
 */
#include <arpa/inet.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xregistry/mdns/service.h"
#include "test/fuzz/fuzz.h"

/* A string of its own, so that reading past it is seen. */
static char *take_text(struct fuzz_input *in)
{
	size_t len;
	const uint8_t *from = fuzz_take(in, fuzz_u8(in), &len);
	char *text = malloc(len + 1);

	FUZZ_CHECK(text != NULL, "out of memory");
	if (len != 0) {
		memcpy(text, from, len);
	}
	text[len] = '\0';
	return text;
}

static void read_txt(struct fuzz_input *in, struct xreg__mdns_txt *txt)
{
	while (in->left != 0) {
		size_t len;
		const uint8_t *from = fuzz_take(in, fuzz_u8(in), &len);
		uint8_t *string = malloc(len != 0 ? len : 1);

		FUZZ_CHECK(string != NULL, "out of memory");
		if (len != 0) {
			memcpy(string, from, len);
		}
		xreg__mdns_txt_add(txt, string, len);
		free(string);
	}
	FUZZ_CHECK(memchr(txt->nqn, '\0', sizeof(txt->nqn)) != NULL, "no end");
	FUZZ_CHECK(memchr(txt->subnqn, '\0', sizeof(txt->subnqn)) != NULL, "no end");
	FUZZ_CHECK(txt->has_nqn || txt->nqn[0] == '\0', "an NQN from nowhere");
}

static bool is_link_local(const char *address)
{
	struct in6_addr v6;

	return strncmp(address, "169.254.", 8) == 0 ||
	       (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LINKLOCAL(&v6));
}

static void check_service(const struct xreg__mdns_service *service, bool is_loopback)
{
	struct xreg_parsed parsed;
	struct xreg_ddc again;
	struct xu_error err;

	fuzz_say("%s port %u nqn '%s' subnqn '%s'\n", service->ddc.address, service->ddc.port,
		service->ddc.nqn, service->subnqn);
	FUZZ_CHECK(service->is_ddc || service->is_target, "it is nothing");
	FUZZ_CHECK(service->is_target == (service->subnqn[0] != '\0'), "'%s'", service->subnqn);
	FUZZ_CHECK(!xr_address_is_wildcard(service->ddc.address), "%s", service->ddc.address);
	FUZZ_CHECK(is_loopback || !xr_address_is_loopback(service->ddc.address), "%s",
		service->ddc.address);
	FUZZ_CHECK(!is_link_local(service->ddc.address), "%s", service->ddc.address);
	FUZZ_CHECK(xreg_ddc_make(service->ddc.address, service->ddc.port, service->ddc.nqn, &again,
			   &err) == 0 &&
			   memcmp(&again, &service->ddc, sizeof(again)) == 0,
		"not its own form");
	if (service->is_target) {
		json_t *object;

		FUZZ_CHECK(xreg__mdns_spec(service, &parsed, &err) == 0, "%s", err.text);
		object = xreg_spec_to_json(&parsed.spec);
		FUZZ_CHECK(object != NULL, "not to be stored");
		json_decref(object);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	struct xreg__mdns_service service;
	struct xreg__mdns_txt txt = {0};
	struct xreg__mdns_seen seen = {.txt = &txt};
	char *address, *name, *host;
	struct xu_error err = {0};

	seen.is_loopback = (fuzz_u8(&in) & 1) != 0;
	seen.port = fuzz_u16(&in);
	seen.address = address = take_text(&in);
	seen.name = name = take_text(&in);
	seen.host = host = take_text(&in);
	read_txt(&in, &txt);
	if (xreg__mdns_judge(&seen, &service, &err) == 0) {
		check_service(&service, seen.is_loopback);
	} else {
		FUZZ_CHECK(err.text[0] != '\0', "no reason");
		fuzz_say("%s\n", err.text);
	}
	free(address);
	free(name);
	free(host);
	return 0;
}

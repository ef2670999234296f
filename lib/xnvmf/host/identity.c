/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who this host is: HOSTNQN and HOSTID. A target knows a host by the pair, so one machine keeps one
 * pair: what nvme-cli keeps in /etc/nvme, else a UUID made from the machine's identity. Of
 * /etc/machine-id, which is not to be shown to others, only a hash that is half as long goes into
 * it.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/uuid.h"
#include "lib/xnvmf/host/private.h"

#define NQN_UUID_PREFIX "nqn.2014-08.org.nvmexpress:uuid:"

/* The first word of a file; false when there is none, or more than fits. */
static bool read_word(const char *path, char *word, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t len;

	if (file == NULL) {
		return false;
	}
	len = fread(word, 1, size - 1, file);
	fclose(file);
	word[len] = '\0';
	len = strcspn(word, " \t\r\n");
	word[len] = '\0';
	return len != 0;
}

static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (; *text != '\0'; text++) {
		h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
	}
	return h;
}

static struct xu_uuid machine_uuid(const struct xr_platform *platform)
{
	struct xu_random random;
	char id[64];
	uint64_t seed;

	if (platform->is_simulated ||
		(!read_word("/etc/machine-id", id, sizeof(id)) &&
			!read_word("/var/lib/dbus/machine-id", id, sizeof(id)))) {
		platform->entropy(platform, &seed, sizeof(seed));
	} else {
		seed = hash(id);
	}
	xu_random_seed(&random, seed);
	return xu_uuid_random(&random);
}

static int check_nqn(const char *what, const char *nqn, struct xu_error *err)
{
	size_t len = strlen(nqn);

	for (size_t i = 0; i < len; i++) {
		if (nqn[i] <= ' ' || nqn[i] > '~') {
			return xu_error_set(err, -EINVAL,
				"%s '%s': byte %zu is not printable ASCII; an NQN has no such",
				what, nqn, i + 1);
		}
	}
	if (len == 0 || len >= HOST_NQN_SIZE) {
		return xu_error_set(err, -EINVAL, "%s: an NQN has 1 to %u characters, this one %zu",
			what, HOST_NQN_SIZE - 1, len);
	}
	return 0;
}

/* The UUID at the end of an NQN of the form above. */
static bool uuid_of_nqn(const char *nqn, struct xu_uuid *ret_uuid)
{
	size_t len = strlen(NQN_UUID_PREFIX);

	return strncmp(nqn, NQN_UUID_PREFIX, len) == 0 && xu_uuid_parse(nqn + len, ret_uuid) == 0;
}

int host_identity_find(const struct xr_platform *platform, const char *hostnqn, const char *hostid,
	struct host_peer *peer, struct xu_error *err)
{
	struct xu_uuid uuid = machine_uuid(platform);
	char nqn[256], text[XU_UUID_TEXT_SIZE], word[64];
	bool is_machine = hostnqn == NULL;
	int rc;

	if (hostnqn == NULL && !platform->is_simulated &&
		read_word("/etc/nvme/hostnqn", nqn, sizeof(nqn))) {
		hostnqn = nqn;
	}
	if (hostnqn == NULL) {
		xu_uuid_format(&uuid, text);
		snprintf(nqn, sizeof(nqn), NQN_UUID_PREFIX "%s", text);
		hostnqn = nqn;
	}
	rc = check_nqn("hostnqn", hostnqn, err);
	if (rc != 0) {
		return rc;
	}
	strcpy(peer->hostnqn, hostnqn);
	if (hostid != NULL) {
		if (xu_uuid_parse(hostid, &uuid) != 0) {
			return xu_error_set(err, -EINVAL, "hostid '%s' is not a UUID", hostid);
		}
	} else if (!is_machine || platform->is_simulated ||
		   !read_word("/etc/nvme/hostid", word, sizeof(word)) ||
		   xu_uuid_parse(word, &uuid) != 0) {
		/* Another NQN than the machine's is another host, with an identifier of its own. */
		if (!uuid_of_nqn(hostnqn, &uuid) && !is_machine) {
			struct xu_random random;

			xu_random_seed(&random, hash(hostnqn));
			uuid = xu_uuid_random(&random);
		}
	}
	memcpy(peer->hostid, uuid.bytes, sizeof(peer->hostid));
	return 0;
}

int host_peer_set(struct host_peer *peer, const char *address, uint16_t port, const char *subnqn,
	struct xu_error *err)
{
	int len = xr_address_parse(address, port, &peer->addr), rc;

	if (len < 0 || strlen(address) >= sizeof(peer->address)) {
		return xu_error_set(err, -EINVAL,
			"traddr '%s' is not a numeric IPv4 or IPv6 address; names are not looked "
			"up",
			address);
	}
	rc = check_nqn("subnqn", subnqn, err);
	if (rc != 0) {
		return rc;
	}
	strcpy(peer->address, address);
	strcpy(peer->subnqn, subnqn);
	peer->addr_len = (uint32_t)len;
	return 0;
}

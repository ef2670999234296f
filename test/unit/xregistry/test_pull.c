/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the log of a discovery controller to targets: what is one, what it is called, what is left
 * out; and the keys of controllers. The rest of pulling is shown with real controllers by
 * test/integration/test-registry-pull.py.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xnvmf/target/target.h"
#include "lib/xregistry/pull_private.h"
#include "test/unit/xregistry/fixture.h"

#define OWN_NQN "nqn.2026-11.io.xsan:own"

struct pulling {
	struct xreg_store *store;
	struct xreg_ddcs *ddcs;
	struct xreg_pull *pull;
	struct pull_peer peer;
	struct xnvmf_host_entry entries[8];
	struct xnvmf_host_log log;
	struct pull_found *found;
};

static void start(struct pulling *p, const char *address)
{
	struct xreg_pull_opts opts = {.nqn = OWN_NQN, .limits = {.interval_s = 60, .timeout_s = 5}};

	*p = (struct pulling){.store = fixture_open(NULL)};
	assert_int_equal(xreg_ddcs_new(&p->ddcs), 0);
	xreg_ddcs_set_own(p->ddcs, OWN_NQN, "192.0.2.1", 8009);
	opts.store = p->store;
	opts.ddcs = p->ddcs;
	assert_int_equal(xreg_pull_new(&opts, &p->pull, NULL), 0);
	p->peer.pull = p->pull;
	assert_int_equal(xreg_ddc_make(address, 8009, NULL, &p->peer.ddc, NULL), 0);
	p->peer.ddc.sources = 1u << XREG_DDC_MDNS;
	pull__key(&p->peer.ddc, p->peer.key);
	p->log =
		(struct xnvmf_host_log){.entries = p->entries, .subnqn = "nqn.2026-11.io.xsan:ddc"};
}

static void stop(struct pulling *p)
{
	pull__found_free(p->found);
	xreg_pull_free(p->pull);
	xreg_ddcs_free(p->ddcs);
	xreg_store_close(p->store);
}

static struct xnvmf_host_entry *add(
	struct pulling *p, const char *nqn, const char *address, const char *service)
{
	struct xnvmf_host_entry *entry = &p->entries[p->log.nr_entries++];

	*entry = (struct xnvmf_host_entry){.trtype = NVME_TRTYPE_TCP,
		.adrfam = NVME_ADRFAM_IPV4,
		.subtype = NVME_SUBTYPE_NVM,
		.portid = 3};
	snprintf(entry->subnqn, sizeof(entry->subnqn), "%s", nqn);
	snprintf(entry->traddr, sizeof(entry->traddr), "%s", address);
	snprintf(entry->trsvcid, sizeof(entry->trsvcid), "%s", service);
	return entry;
}

static void take(struct pulling *p, uint32_t count, uint32_t nr_ignored)
{
	pull__found_free(p->found);
	p->found = pull__found_new(&p->peer, &p->log);
	assert_non_null(p->found);
	assert_int_equal(p->found->count, count);
	assert_int_equal(p->found->nr_ignored, nr_ignored);
}

static const char *metadata(const struct xreg_target *target, const char *key)
{
	for (uint32_t i = 0; i < target->spec.nr_metadata; i++) {
		if (strcmp(target->spec.metadata[i].key, key) == 0) {
			return target->spec.metadata[i].value;
		}
	}
	return "";
}

static void test_pull_an_entry_is_a_target(void **state)
{
	const struct xreg_spec *spec;
	struct pulling p;

	start(&p, "192.0.2.7");
	add(&p, "nqn.2026-11.io.xsan:a", "FD00:0::7", "4420")->sectype = NVME_TSAS_TLS13;
	take(&p, 1, 0);
	spec = &p.found->targets[0]->spec;
	assert_string_equal(spec->address, "fd00::7");
	assert_string_equal(spec->node_id, "nqn.2026-11.io.xsan:ddc");
	assert_int_equal(spec->port, 4420);
	assert_int_equal(spec->security, XREG_SECURITY_TLS);
	assert_int_equal(p.found->targets[0]->status.state, XREG_UNKNOWN);
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_DDC), "192.0.2.7:8009");
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_PORT), "3");
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_BY), "");

	/* Of those that only a kick-start names, it is kept that they are. */
	p.peer.ddc.sources = 1u << XREG_DDC_KICK;
	take(&p, 1, 0);
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_BY), "kick-start");
	p.peer.ddc.sources |= 1u << XREG_DDC_STATIC;
	take(&p, 1, 0);
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_BY), "");
	stop(&p);
}

static void test_pull_other_transports(void **state)
{
	struct xnvmf_host_entry *entry;
	struct pulling p;

	start(&p, "192.0.2.7");
	add(&p, "nqn.2026-11.io.xsan:a", "192.0.2.8", "4420")->trtype = NVME_TRTYPE_RDMA;
	entry = add(
		&p, "nqn.2026-11.io.xsan:a", "nn-0x200000109b579ef3:pn-0x100000109b579ef3", "none");
	entry->trtype = NVME_TRTYPE_FC;
	add(&p, "nqn.2026-11.io.xsan:a", "192.0.2.8", "4420")->trtype = 254;
	take(&p, 2, 1);
	stop(&p);
}

static void test_pull_names_of_nodes(void **state)
{
	char nqn[224];
	struct pulling p;

	start(&p, "192.0.2.7");
	add(&p, "nqn.2026-11.io.xsan:a", "192.0.2.8", "4420");
	/* A name of its own that is too long: its end, and a hash. */
	memset(nqn, 'x', sizeof(nqn));
	memcpy(nqn, "nqn.2026-11.io.xsan:", 20);
	strcpy(nqn + 200, "the-end");
	p.log.subnqn = nqn;
	take(&p, 1, 0);
	assert_int_equal(strlen(p.found->targets[0]->spec.node_id), XREG_NAME_MAX);
	assert_non_null(strstr(p.found->targets[0]->spec.node_id, "the-end"));
	/* None: where it is. */
	p.log.subnqn = XNVMF_DISCOVERY_NQN;
	take(&p, 1, 0);
	assert_string_equal(p.found->targets[0]->spec.node_id, "192.0.2.7");
	/* A central one is no node. */
	p.log.subnqn = "nqn.2026-11.io.xsan:central";
	p.log.is_central = true;
	take(&p, 1, 0);
	assert_string_equal(p.found->targets[0]->spec.node_id, "192.0.2.8");
	stop(&p);
}

static void test_pull_leaves_out(void **state)
{
	struct pulling p;

	start(&p, "192.0.2.7");
	add(&p, "nqn.2026-11.io.xsan:a", "192.0.2.8", "4420");
	add(&p, "nqn.2026-11.io.xsan:a", "192.0.2.8", "4420"); /* twice */
	add(&p, OWN_NQN, "192.0.2.8", "4420");                 /* this registry, by name */
	add(&p, "nqn.2026-11.io.xsan:b", "192.0.2.1", "8009"); /* and by place */
	add(&p, "nqn.2026-11.io.xsan:c", "127.0.0.1", "4420"); /* another machine's */
	add(&p, XNVMF_DISCOVERY_NQN, "192.0.2.8", "4420");
	add(&p, "nqn.2026-11.io.xsan:d", "192.0.2.8", "44x");
	add(&p, "nqn.2026-11.io.xsan:e", "192.0.2.8", "4420")->subtype = NVME_SUBTYPE_REFERRAL;
	p.log.nr_left_out = 2;
	take(&p, 1, 8);
	assert_string_equal(p.found->targets[0]->spec.nqn, "nqn.2026-11.io.xsan:a");
	stop(&p);

	start(&p, "127.0.0.1");
	add(&p, "nqn.2026-11.io.xsan:c", "127.0.0.1", "4420");
	take(&p, 1, 0);
	stop(&p);
}

static void test_pull_keys(void **state)
{
	static const char *const addresses[] = {"192.0.2.7", "fd00::7", "::1"};
	static const char *const none[] = {"", ":", "x", "192.0.2.7", "192.0.2.7:", "192.0.2.7:0",
		"192.0.2.7:65536", "192.0.2.7:1x", "[fd00::7:1", "name:1", "[]:1", "::"};
	char key[PULL_KEY_SIZE];
	struct xreg_ddc ddc, same;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		assert_int_equal(xreg_ddc_make(addresses[i], 65535, NULL, &ddc, NULL), 0);
		pull__key(&ddc, key);
		assert_int_equal(pull__parse_key(key, &same), 0);
		assert_string_equal(same.address, ddc.address);
		assert_int_equal(same.port, ddc.port);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_int_equal(pull__parse_key(none[i], &same), -EINVAL);
	}
}

static enum xnvmf_kick_result kick(struct pulling *p, uint8_t adrfam, const char *address,
	const char *service, uint32_t nr_entries)
{
	struct xnvmf_kick_record record = {.trtype = NVME_TRTYPE_TCP, .adrfam = adrfam};
	const struct xnvmf_kick_start start = {.address = "192.0.2.9",
		.nr_entries = nr_entries,
		.nr_records = 1,
		.records = &record};

	snprintf(record.address, sizeof(record.address), "%s", address);
	snprintf(record.trsvcid, sizeof(record.trsvcid), "%s", service);
	return xreg_pull_kick_start(p->pull, &start);
}

/* ---- attributes ---- */

static void test_pull_labels(void **state)
{
	struct pulling p;
	struct xnvmf_host_entry *entry;
	char expected[XREG_TEXT_MAX + 1];

	start(&p, "192.0.2.7");
	entry = add(&p, "nqn.2026-11.io.xsan:a", "192.0.2.8", "4420");
	take(&p, 1, 0);
	assert_int_equal(p.found->targets[0]->spec.nr_metadata, 3);
	snprintf(entry->label, sizeof(entry->label), "Regal 3, gr\xc3\xbcn");
	take(&p, 1, 0);
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_LABEL), "Regal 3, gr\xc3\xbcn");
	/* One byte more than there is room for, which is in the middle of a character. */
	memset(entry->label, 'x', 254);
	strcpy(entry->label + 254, "\xc3\xbc");
	memset(expected, 'x', 254);
	expected[254] = '\0';
	take(&p, 1, 0);
	assert_string_equal(metadata(p.found->targets[0], XREG_PULL_LABEL), expected);
	stop(&p);
}

/* ---- referrals ---- */

/* Controller N at 192.0.2.N, on the list of peers; named by `sources`. */
static struct pull_peer *add_peer(struct pulling *p, uint32_t number, uint32_t sources)
{
	struct pull_peer *peer = calloc(1, sizeof(*peer));
	char address[32];

	assert_non_null(peer);
	snprintf(address, sizeof(address), "192.0.2.%u", number);
	peer->pull = p->pull;
	peer->is_listed = true;
	assert_int_equal(xreg_ddc_make(address, 8009, NULL, &peer->ddc, NULL), 0);
	peer->ddc.sources = sources;
	pull__key(&peer->ddc, peer->key);
	xu_list_add_tail(&p->pull->peers, &peer->link);
	return peer;
}

/* Has its log name these, until 0. */
static void refer(struct pulling *p, struct pull_peer *peer, const uint32_t *numbers)
{
	p->log.nr_entries = 0;
	for (; *numbers != 0; numbers++) {
		char address[32];

		snprintf(address, sizeof(address), "192.0.2.%u", *numbers);
		add(p, XNVMF_DISCOVERY_NQN, address, "8009")->subtype = NVME_SUBTYPE_REFERRAL;
	}
	pull__refer_take(peer, &p->log);
}

#define REFER(p, peer, ...) refer(p, peer, (const uint32_t[]){__VA_ARGS__, 0})

/* How far controller N is, as a referral; 0: it is none. Also asserts that the list says the same.
 */
static uint32_t distance(struct pulling *p, uint32_t number, const char *from)
{
	const struct pull_referral *referral;
	struct xreg_ddc ddc, *list;
	bool is_listed = false;
	uint64_t revision;
	uint32_t count;
	char address[32];

	snprintf(address, sizeof(address), "192.0.2.%u", number);
	assert_int_equal(xreg_ddc_make(address, 8009, NULL, &ddc, NULL), 0);
	referral = pull__referral(p->pull, &ddc);
	assert_int_equal(xreg_ddcs_copy(p->ddcs, &list, &count, &revision), 0);
	for (uint32_t i = 0; i < count; i++) {
		is_listed |= strcmp(list[i].address, address) == 0 &&
			     list[i].sources == 1u << XREG_DDC_REFERRAL;
	}
	free(list);
	assert_int_equal(is_listed, referral != NULL);
	if (referral != NULL) {
		assert_string_equal(referral->from, from);
	}
	return referral != NULL ? referral->depth : 0;
}

static void start_referrals(struct pulling *p, uint32_t depth_max, uint32_t max)
{
	const struct xreg_pull_limits limits = {.interval_s = 60,
		.timeout_s = 5,
		.follows_referrals = true,
		.referral_depth_max = depth_max,
		.nr_referrals_max = max};

	start(p, "192.0.2.7");
	p->pull->opts.limits = limits;
}

static void test_pull_follows_referrals_so_far(void **state)
{
	const uint32_t found = 1u << XREG_DDC_REFERRAL;
	struct pull_peer *peers[6];
	struct pulling p;

	start_referrals(&p, 3, 64);
	peers[0] = add_peer(&p, 10, 1u << XREG_DDC_STATIC);
	for (uint32_t i = 1; i < 6; i++) {
		peers[i] = add_peer(&p, 10 + i, found);
	}
	for (uint32_t i = 0; i < 6; i++) {
		REFER(&p, peers[i], 11 + i);
	}
	assert_int_equal(distance(&p, 11, "192.0.2.10:8009"), 1);
	assert_int_equal(distance(&p, 12, "192.0.2.11:8009"), 2);
	assert_int_equal(distance(&p, 13, "192.0.2.12:8009"), 3);
	assert_int_equal(distance(&p, 14, ""), 0);
	/* A shorter way counts, and what is behind it is nearer then. */
	REFER(&p, peers[0], 11, 13);
	assert_int_equal(distance(&p, 13, "192.0.2.10:8009"), 1);
	assert_int_equal(distance(&p, 15, "192.0.2.14:8009"), 3);
	/* Switched off. */
	p.pull->opts.limits.follows_referrals = false;
	pull__refer(p.pull);
	assert_int_equal(distance(&p, 11, ""), 0);
	stop(&p);
}

static void test_pull_referrals_that_name_each_other(void **state)
{
	struct pull_peer *root, *one, *two;
	struct pulling p;

	start_referrals(&p, 8, 64);
	root = add_peer(&p, 10, 1u << XREG_DDC_MDNS);
	one = add_peer(&p, 11, 1u << XREG_DDC_REFERRAL);
	two = add_peer(&p, 12, 1u << XREG_DDC_REFERRAL);
	REFER(&p, root, 10, 11); /* itself too */
	REFER(&p, one, 12, 10);
	REFER(&p, two, 11, 12);
	assert_int_equal(distance(&p, 10, ""), 0);
	assert_int_equal(distance(&p, 11, "192.0.2.10:8009"), 1);
	assert_int_equal(distance(&p, 12, "192.0.2.11:8009"), 2);
	/* They keep nobody alive, not even each other. */
	REFER(&p, root, 13);
	assert_int_equal(distance(&p, 11, ""), 0);
	assert_int_equal(distance(&p, 12, ""), 0);
	assert_int_equal(distance(&p, 13, "192.0.2.10:8009"), 1);
	/* The one that nobody names any more refers to nobody. */
	root->is_listed = false;
	pull__refer(p.pull);
	assert_int_equal(distance(&p, 13, ""), 0);
	stop(&p);
}

static void test_pull_follows_so_many_referrals(void **state)
{
	struct pull_peer *root;
	struct pulling p;

	start_referrals(&p, 8, 3);
	root = add_peer(&p, 10, 1u << XREG_DDC_DHCP);
	REFER(&p, root, 11, 12, 13, 14, 15);
	assert_int_equal(distance(&p, 13, "192.0.2.10:8009"), 1);
	assert_int_equal(distance(&p, 14, ""), 0);
	REFER(&p, root, 15);
	assert_int_equal(distance(&p, 15, "192.0.2.10:8009"), 1);
	stop(&p);
}

static void test_pull_referrals_that_lead_nowhere(void **state)
{
	struct pull_peer *root;
	struct pulling p;

	start_referrals(&p, 8, 64);
	root = add_peer(&p, 10, 1u << XREG_DDC_STATIC);
	add(&p, XNVMF_DISCOVERY_NQN, "192.0.2.1", "8009"); /* this registry */
	add(&p, OWN_NQN, "192.0.2.20", "8009");            /* the same */
	add(&p, XNVMF_DISCOVERY_NQN, "127.0.0.1", "8009"); /* of another machine */
	add(&p, XNVMF_DISCOVERY_NQN, "0.0.0.0", "8009");
	add(&p, XNVMF_DISCOVERY_NQN, "192.0.2.21", "80a");
	add(&p, "no nqn", "192.0.2.22", "8009");
	add(&p, XNVMF_DISCOVERY_NQN, "192.0.2.23", "8009")->trtype = NVME_TRTYPE_RDMA;
	add(&p, XNVMF_DISCOVERY_NQN, "192.0.2.24", "8009")->sectype = NVME_TSAS_TLS13;
	for (uint32_t i = 0; i < 8; i++) {
		p.entries[i].subtype = NVME_SUBTYPE_REFERRAL;
	}
	pull__refer_take(root, &p.log);
	assert_int_equal(p.pull->nr_referrals, 0);
	take(&p, 0, 0); /* and they are no targets */
	stop(&p);
}

/* Those that the list takes, also before there is a thread; the others are told why not. */
static void test_pull_kick_starts(void **state)
{
	struct xreg_ddc *list;
	struct pulling p;
	uint64_t revision;
	uint32_t count;

	start(&p, "192.0.2.7");
	assert_int_equal(kick(&p, NVME_ADRFAM_IPV4, "192.0.2.9", "8009", 4096), XNVMF_KICK_TAKEN);
	assert_int_equal(kick(&p, NVME_ADRFAM_IPV6, "fd00::9", "8009", 0), XNVMF_KICK_TAKEN);
	assert_int_equal(kick(&p, NVME_ADRFAM_IPV4, "192.0.2.9", "8009", 4097), XNVMF_KICK_FULL);
	assert_int_equal(kick(&p, NVME_ADRFAM_FC, "192.0.2.9", "8009", 1), XNVMF_KICK_ADRFAM);
	assert_int_equal(
		kick(&p, NVME_ADRFAM_IPV4, "fd00::9", "8009", 1), XNVMF_KICK_ADRFAM_MISMATCH);
	assert_int_equal(kick(&p, NVME_ADRFAM_IPV4, "192.0.2.9", "65536", 1), XNVMF_KICK_TRSVCID);
	assert_int_equal(
		kick(&p, NVME_ADRFAM_IPV4, "224.0.0.1", "8009", 1), XNVMF_KICK_NO_INFORMATION);
	assert_int_equal(
		kick(&p, NVME_ADRFAM_IPV4, "192.0.2.1", "8009", 1), XNVMF_KICK_NO_INFORMATION);
	assert_int_equal(xreg_ddcs_copy(p.ddcs, &list, &count, &revision), 0);
	assert_int_equal(count, 2);
	assert_int_equal(list[0].sources, 1u << XREG_DDC_KICK);
	free(list);
	stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pull_an_entry_is_a_target),
		cmocka_unit_test(test_pull_other_transports),
		cmocka_unit_test(test_pull_names_of_nodes),
		cmocka_unit_test(test_pull_leaves_out),
		cmocka_unit_test(test_pull_keys),
		cmocka_unit_test(test_pull_labels),
		cmocka_unit_test(test_pull_follows_referrals_so_far),
		cmocka_unit_test(test_pull_referrals_that_name_each_other),
		cmocka_unit_test(test_pull_follows_so_many_referrals),
		cmocka_unit_test(test_pull_referrals_that_lead_nowhere),
		cmocka_unit_test(test_pull_kick_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

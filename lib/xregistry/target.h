/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One NVMe-oF target as the registry knows it (spec/registry.md 2.1, 4.2): who it is, where it is
 * reached, what it can do, how it is. A record is immutable: it is made whole, shared by counted
 * references, and replaced when something changes, so readers need no lock and never see half of a
 * change. What changes all the time (load, latency, connections) is not here.
 */
#ifndef LIB_XREGISTRY_TARGET_H
#define LIB_XREGISTRY_TARGET_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/util/param.h"

struct xreg_desired;
struct xreg_live;
struct xu_error;

#define XREG_ID_SIZE      64u  /* "tgt-" and a UUID, with room; with its NUL */
#define XREG_NAME_MAX     63u  /* bytes of a node, a tag, a key of the metadata */
#define XREG_TEXT_MAX     255u /* bytes of other texts */
#define XREG_PLACE_SIZE   512u /* of an NQN and an address, with its NUL */
#define XREG_METADATA_MAX 64u
#define XREG_TAGS_MAX     32u
#define XREG_LOCATION     "location" /* the key of the metadata that is indexed */

#define XREG_BLOCK_SIZE_MAX (1u << 20)
#define XREG_INTERVAL_S_MAX 86400u /* between two looks of discovery */
#define XREG_TTL_S_MAX      (30 * 86400u)
#define XREG_WEIGHT_MAX     1000.0

/* The numbers are those of the gRPC interface. */
enum xreg_transport { XREG_TCP = 0, XREG_RDMA = 1, XREG_FC = 2 };
enum xreg_security { XREG_SECURITY_NONE = 0, XREG_SECURITY_TLS = 1, XREG_SECURITY_IPSEC = 2 };
enum xreg_state {
	XREG_UNKNOWN = 0,
	XREG_AVAILABLE = 1,
	XREG_BUSY = 2,
	XREG_MAINTENANCE = 3,
	XREG_FAILED = 4,
	XREG_OFFLINE = 5,
	XREG_DEGRADED = 6,
};
/* How the registry came to know it. */
enum xreg_source {
	XREG_REGISTERED = 0,
	XREG_STATIC,
	XREG_MDNS,
	XREG_MULTICAST,
	XREG_DHCP,
	XREG_DIM,
	XREG_PULLED,
};

struct xreg_pair {
	const char *key, *value;
};

/* What whoever registers a target says of it. Texts are never NULL, "" where there is none. */
struct xreg_spec {
	const char *node_id;
	const char *nqn;
	const char *address;     /* numeric for TCP and RDMA, "nn-0x…:pn-0x…" for FC */
	const char *interface;   /* network interface of the node */
	const char *device_path; /* on the node */
	uint32_t transport;      /* enum xreg_transport */
	uint32_t security;       /* enum xreg_security */
	uint32_t port;           /* 0 for FC only */
	uint64_t capacity_bytes;
	uint32_t block_size; /* bytes */
	uint32_t namespace_id;
	bool is_read_only;
	uint64_t max_iops;
	uint64_t max_bandwidth_mbps; /* MB/s, as in the document */
	uint32_t avg_latency_us;
	uint32_t queue_depth;
	uint32_t max_connections;      /* 0: no limit known */
	bool has_auto_discovery;       /* the registry may look for it by itself */
	uint32_t discovery_interval_s; /* at least so often; 0: not said */
	double weight;                 /* of load balancing, 0 … 1000 */
	uint32_t ttl_s;                /* without a report for so long it goes offline; 0: never */
	uint32_t nr_metadata, nr_tags;
	const struct xreg_pair *metadata; /* sorted by key, no key twice */
	const char *const *tags;          /* sorted, none twice */
};

struct xreg_status {
	uint32_t state;     /* enum xreg_state */
	const char *reason; /* never NULL */
	uint64_t until_ms;  /* Unix time when maintenance is to be over; 0: not known */
};

/* What the registry itself adds. */
struct xreg_origin {
	const char *id;
	uint32_t source;                    /* enum xreg_source */
	uint64_t created_revision;          /* of its registration */
	uint64_t revision;                  /* of its last change */
	uint64_t registered_ms, updated_ms; /* Unix time */
	struct xreg_live *live;             /* how it is doing; NULL: to be made new */
	struct xreg_desired *desired;       /* what is wanted of it; NULL: nothing ever was */
};

struct xreg_target {
	_Atomic uint32_t nr_refs;
	struct xreg_origin origin;
	struct xreg_status status;
	struct xreg_spec spec;
	const char
		*place; /* NQN, transport, address and port as one text: no two targets share it */
	const char *location; /* from the metadata; "" when it says nothing */
};

/* Writes the text that is the target's `place`. */
void xreg_spec_place(const struct xreg_spec *spec, char place[XREG_PLACE_SIZE]);

/* Makes a record with one reference; copies all texts, shares `live` and `desired` of the origin.
 * NULL: no memory. */
struct xreg_target *xreg_target_new(const struct xreg_origin *origin,
	const struct xreg_status *status, const struct xreg_spec *spec);
struct xreg_target *xreg_target_ref(const struct xreg_target *target);
void xreg_target_unref(const struct xreg_target *target); /* NULL is fine */

/* "available" and so on, NULL beyond the last. "active" is read as "available". */
const char *xreg_state_name(uint32_t state);
int xreg_state_parse(const char *name, uint32_t *ret_state); /* -EINVAL */
/* "tcp" and so on, in the order of enum xreg_transport; NULL at the end. */
extern const char *const xreg_transport_names[];
const char *xreg_source_name(uint32_t source);

/* ---- what strangers say ---- */

/* A specification that was read, with what it borrows from the text or message. It points into
 * itself: not to be copied. */
struct xreg_parsed {
	struct xreg_spec spec;
	struct xreg_pair metadata[XREG_METADATA_MAX];
	const char *tags[XREG_TAGS_MAX];
};

/* The defaults. */
void xreg_parsed_init(struct xreg_parsed *parsed);
/* Sorts metadata and tags, and checks everything. -EINVAL with a sentence and the path of the
 * culprit, as a registration in JSON has it. */
int xreg_parsed_check(
	struct xreg_parsed *parsed, char path[XU_PARAM_PATH_SIZE], struct xu_error *err);
/* -EINVAL with a sentence. */
int xreg_status_check(const struct xreg_status *status, struct xu_error *err);

/* ---- JSON ---- */

/*
 * Reads and checks the body of a registration (spec/registry.md 4.1.1): node_id, target_info,
 * performance_caps, metadata, and beyond the document storage, config and ttl_seconds. `ret_parsed`
 * borrows from `body`. -EINVAL with a sentence and the path of the culprit.
 */
int xreg_spec_parse(json_t *body, struct xreg_parsed *ret_parsed, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err);

/* The same object from a specification. New reference; NULL: no memory. */
json_t *xreg_spec_to_json(const struct xreg_spec *spec);

/* A whole record as it is stored, and back. */
json_t *xreg_target_to_json(const struct xreg_target *target);
int xreg_target_from_json(json_t *object, struct xreg_target **ret_target, struct xu_error *err);

#endif

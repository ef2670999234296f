/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One thread: has a socket in the group (joins again every half minute, for interfaces come), takes
 * a query, judges it, waits a little while of random length, so that many nodes do not answer at
 * the same moment, and sends the answer. What is exported is made into datagrams when it changes;
 * an answer only adds the head and the code.
 *
 * A query is answered when it has the right code, is of now, is newer than this responder, and was
 * not answered before; what was answered is remembered for as long as its time is good.
 */
#include "lib/xregistry/agent/responder.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/multicast.h"

#define ANSWERS_PER_S 4u
#define ANSWERS_BURST 16u
#define DELAY_MS_MAX  50u
#define PARTS_BURST   8u
#define JOIN_MS       30000u /* from one look at the interfaces to the next */
#define OPEN_MS       2000u  /* from one attempt to have a socket to the next */
#define NONCES        1024u

/* A query is of now for a window before and after its time. */
_Static_assert(NONCES >= ANSWERS_PER_S * 2 * XREG_MCAST_WINDOW_MS / 1000 + ANSWERS_BURST,
	"a nonce is remembered for as long as it is good");

struct counts {
	uint64_t answered, foreign, late, repeated, limited;
};

struct xreg_responder {
	struct xreg_responder_opts opts;
	char *texts[4]; /* the options' own */
	pthread_t thread;
	int end_fd;

	pthread_mutex_t mutex;        /* for what follows */
	struct xreg_mcast_pack *pack; /* NULL: it is not known yet what is exported */
	size_t nr_targets;
	bool has_told_cut, has_told_lost;
	struct counts counts;
	uint32_t nr_interfaces;
	char problem[256]; /* why there is no socket, or nothing joined */

	/* The thread's. */
	int fd; /* -1: none */
	uint64_t start_ms, start_wall_ms, look_at_ms;
	uint64_t credit_at_ms; /* up to when answers have been paid for */
	uint8_t nonces[NONCES][XREG_MCAST_NONCE_BYTES];
	uint32_t next_nonce;
	bool has_told_late;
};

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / XU_NS_PER_MS;
}

static uint64_t wall_ms(void)
{
	const struct xu_clock *clock = xu_clock_system();

	return clock->wall_ns(clock) / XU_NS_PER_MS;
}

/* ---- what is exported ---- */

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void lists_of(const json_t *body, struct xreg_parsed *parsed)
{
	json_t *metadata = json_object_get(body, "metadata"), *value;
	json_t *tags = json_object_get(json_object_get(body, "config"), "tags");
	const char *key;
	size_t i;

	json_object_foreach (metadata, key, value) {
		if (json_is_string(value) && parsed->spec.nr_metadata < XREG_METADATA_MAX) {
			parsed->metadata[parsed->spec.nr_metadata++] =
				(struct xreg_pair){key, json_string_value(value)};
		}
	}
	json_array_foreach (tags, i, value) {
		if (json_is_string(value) && parsed->spec.nr_tags < XREG_TAGS_MAX) {
			parsed->tags[parsed->spec.nr_tags++] = json_string_value(value);
		}
	}
}

/* A body of ours, of which everything is right, as a specification that borrows from it. */
static void spec_of(const json_t *body, struct xreg_parsed *ret_parsed)
{
	const json_t *info = json_object_get(body, "target_info");
	const json_t *storage = json_object_get(body, "storage");

	ret_parsed->spec = (struct xreg_spec){.node_id = "",
		.nqn = text_of(info, "nqn"),
		.address = text_of(info, "address"),
		.interface = text_of(info, "interface"),
		.device_path = text_of(storage, "device_path"),
		.port = (uint32_t)number_of(info, "port"),
		.capacity_bytes = number_of(info, "namespace_capacity"),
		.block_size = (uint32_t)number_of(storage, "block_size"),
		.namespace_id = (uint32_t)number_of(storage, "namespace_id"),
		.is_read_only = json_is_true(json_object_get(storage, "readonly")),
		.queue_depth = (uint32_t)number_of(
			json_object_get(body, "performance_caps"), "max_queue_depth"),
		.metadata = ret_parsed->metadata,
		.tags = ret_parsed->tags};
	lists_of(body, ret_parsed);
}

/* Tells once what an answer has no room for. Under the mutex. */
static void tell_lost(struct xreg_responder *responder, int rc, const char *nqn)
{
	if (rc == 1 && !responder->has_told_cut) {
		responder->has_told_cut = true;
		xu_warn(responder->opts.log,
			"the registry is told %s without metadata and tags, for they do not fit "
			"into a datagram of multicast",
			nqn);
	}
	if (rc < 0 && !responder->has_told_lost) {
		responder->has_told_lost = true;
		xu_warn(responder->opts.log, "the registry is not told %s by multicast: %s", nqn,
			rc == -ENOSPC ? "the node exports too many targets" : strerror(-rc));
	}
}

void xreg_responder_set(struct xreg_responder *responder, const json_t *targets)
{
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new(responder->opts.node_id), *old;
	struct xreg_parsed parsed;
	json_t *body;
	size_t i;
	int rc;

	if (pack == NULL) {
		return;
	}
	pthread_mutex_lock(&responder->mutex);
	responder->nr_targets = 0;
	json_array_foreach (targets, i, body) {
		spec_of(body, &parsed);
		rc = xreg_mcast_pack_add(pack, &parsed.spec);
		responder->nr_targets += rc >= 0;
		tell_lost(responder, rc, parsed.spec.nqn);
	}
	old = responder->pack;
	responder->pack = pack;
	pthread_mutex_unlock(&responder->mutex);
	xreg_mcast_pack_free(old);
}

/* ---- judging ---- */

static bool was_answered(const struct xreg_responder *responder, const uint8_t *nonce)
{
	for (uint32_t i = 0; i < NONCES; i++) {
		if (memcmp(responder->nonces[i], nonce, XREG_MCAST_NONCE_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* Takes one from the answers that are allowed; false: there is none. */
static bool take_credit(struct xreg_responder *responder)
{
	uint64_t now = now_ms(), earliest;

	earliest = now > ANSWERS_BURST * 1000 / ANSWERS_PER_S
			   ? now - ANSWERS_BURST * 1000 / ANSWERS_PER_S
			   : 0;
	if (responder->credit_at_ms < earliest) {
		responder->credit_at_ms = earliest;
	}
	if (responder->credit_at_ms + 1000 / ANSWERS_PER_S > now) {
		return false;
	}
	responder->credit_at_ms += 1000 / ANSWERS_PER_S;
	return true;
}

static void tell_late(struct xreg_responder *responder, const struct xreg_mcast_query *query)
{
	if (!responder->has_told_late) {
		responder->has_told_late = true;
		xu_warn(responder->opts.log,
			"a registry asks by multicast with the right key, but with the time "
			"of %lld s ago: it gets no answer before both clocks are right",
			((long long)wall_ms() - (long long)query->time_ms) / 1000);
	}
}

/* Where a datagram is counted; `answered` when it is to be answered. Under the mutex. */
static uint64_t *judge(struct xreg_responder *responder, const uint8_t *bytes, size_t len,
	struct xreg_mcast_query *query)
{
	struct counts *counts = &responder->counts;
	int rc = xreg_mcast_query_read(bytes, len, responder->opts.net.key, wall_ms(), query);

	if (rc == -ESTALE) {
		tell_late(responder, query);
		return &counts->late;
	}
	if (rc != 0) {
		return &counts->foreign;
	}
	if (was_answered(responder, query->nonce)) {
		return &counts->repeated;
	}
	/* Of the time before, in which this node may have answered it. */
	if (now_ms() < responder->start_ms + 2 * XREG_MCAST_WINDOW_MS &&
		query->time_ms < responder->start_wall_ms) {
		return &counts->late;
	}
	if (!take_credit(responder)) {
		return &counts->limited;
	}
	memcpy(responder->nonces[responder->next_nonce++ % NONCES], query->nonce,
		XREG_MCAST_NONCE_BYTES);
	return &counts->answered;
}

/* ---- answering ---- */

/* Sleeps; false: it is the end. */
static bool pause_ms(const struct xreg_responder *responder, uint32_t ms)
{
	struct pollfd end = {.fd = responder->end_fd, .events = POLLIN};

	return poll(&end, 1, (int)ms) == 0;
}

/* All parts of an answer, one behind the other, each with room for the longest. Under the mutex;
 * NULL: no memory. */
static uint8_t *make_answer(struct xreg_responder *responder, const struct xreg_mcast_query *query,
	uint32_t nr_parts, int *ret_lens)
{
	uint8_t *bytes = malloc((size_t)nr_parts * XREG_MCAST_BYTES_MAX);

	for (uint32_t part = 0; bytes != NULL && part < nr_parts; part++) {
		ret_lens[part] = xreg_mcast_pack_write(responder->pack, part, query->nonce,
			responder->opts.net.key, bytes + (size_t)part * XREG_MCAST_BYTES_MAX);
	}
	return bytes;
}

static void answer(struct xreg_responder *responder, const struct xreg_mcast_query *query,
	const struct sockaddr_storage *to, socklen_t to_len)
{
	int lens[XREG_MCAST_PARTS_MAX];
	uint32_t nr_parts;
	uint8_t *bytes, random = 0;

	if (getrandom(&random, sizeof(random), 0) < 0 ||
		!pause_ms(responder, random * DELAY_MS_MAX / UINT8_MAX)) {
		return;
	}
	pthread_mutex_lock(&responder->mutex);
	nr_parts = xreg_mcast_pack_parts(responder->pack);
	bytes = make_answer(responder, query, nr_parts, lens);
	pthread_mutex_unlock(&responder->mutex);
	for (uint32_t part = 0; bytes != NULL && part < nr_parts; part++) {
		/* Not faster than they are taken. What is lost is asked for again. */
		if (part % PARTS_BURST == PARTS_BURST - 1 && !pause_ms(responder, 1)) {
			break;
		}
		if (lens[part] > 0) {
			(void)!sendto(responder->fd, bytes + (size_t)part * XREG_MCAST_BYTES_MAX,
				(size_t)lens[part], MSG_NOSIGNAL, (const struct sockaddr *)to,
				to_len);
		}
	}
	free(bytes);
}

static void take_query(struct xreg_responder *responder)
{
	uint8_t bytes[XREG_MCAST_QUERY_BYTES + 1]; /* what is longer is read as too long */
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	struct xreg_mcast_query query;
	uint64_t *count;
	bool is_good = false;
	ssize_t len = recvfrom(
		responder->fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_len);

	if (len < 0) {
		return;
	}
	pthread_mutex_lock(&responder->mutex);
	/* Before it is known what is exported, "nothing" would be a wrong answer. */
	if (responder->pack != NULL) {
		count = judge(responder, bytes, (size_t)len, &query);
		is_good = count == &responder->counts.answered;
		(*count)++;
	}
	pthread_mutex_unlock(&responder->mutex);
	if (is_good) {
		answer(responder, &query, &from, from_len);
	}
}

/* ---- the socket ---- */

/* Notes what is wrong ("": nothing), and tells of it when it is new. */
static void note(struct xreg_responder *responder, uint32_t nr_interfaces, const char *problem)
{
	pthread_mutex_lock(&responder->mutex);
	if (problem[0] != '\0' && strcmp(responder->problem, problem) != 0) {
		xu_warn(responder->opts.log, "the registry does not find this node yet: %s",
			problem);
	} else if (problem[0] == '\0' && responder->nr_interfaces == 0) {
		xu_info(responder->opts.log,
			"the registry finds this node by multicast, group %s port %u",
			responder->opts.net.group, responder->opts.net.port);
	}
	responder->nr_interfaces = nr_interfaces;
	snprintf(responder->problem, sizeof(responder->problem), "%.255s", problem);
	pthread_mutex_unlock(&responder->mutex);
}

/* Sees to it that there is a socket that is in the group on every interface. */
static void look(struct xreg_responder *responder)
{
	const struct xreg_mcast_opts *net = &responder->opts.net;
	uint32_t indexes[XREG_MCAST_INTERFACES_MAX], nr_joined = 0;
	struct xu_error err = {0};
	int count, rc;

	if (responder->fd < 0) {
		responder->fd = xreg_mcast_open_listener(net, &err);
	}
	if (responder->fd >= 0) {
		count = xreg_mcast_interfaces(net, indexes, &err);
		for (int i = 0; i < count; i++) {
			rc = xreg_mcast_join(responder->fd, net, indexes[i]);
			nr_joined += rc == 0;
			if (rc != 0) {
				xu_error_set_errno(&err, rc, "joining the group %s", net->group);
			}
		}
		if (count == 0) {
			xu_error_set(&err, -ENODEV, "this machine has no interface '%s'",
				net->interface != NULL ? net->interface : "that is up and can multicast");
		}
	}
	note(responder, nr_joined, nr_joined == 0 ? err.text : "");
	responder->look_at_ms = now_ms() + (nr_joined != 0 ? JOIN_MS : OPEN_MS);
}

static void *responder_main(void *arg)
{
	struct xreg_responder *responder = arg;
	struct pollfd fds[] = {{.events = POLLIN}, {.fd = responder->end_fd, .events = POLLIN}};
	uint64_t now;

	for (;;) {
		now = now_ms();
		if (now >= responder->look_at_ms) {
			look(responder);
			continue;
		}
		fds[0].fd = responder->fd; /* -1 is passed over */
		poll(fds, 2, (int)(responder->look_at_ms - now));
		if (fds[1].revents != 0) {
			return NULL;
		}
		if (fds[0].revents != 0) {
			take_query(responder);
		}
	}
}

/* ---- life ---- */

static void free_responder(struct xreg_responder *responder)
{
	if (responder->fd >= 0) {
		close(responder->fd);
	}
	if (responder->end_fd >= 0) {
		close(responder->end_fd);
	}
	xreg_mcast_pack_free(responder->pack);
	for (size_t i = 0; i < sizeof(responder->texts) / sizeof(responder->texts[0]); i++) {
		free(responder->texts[i]);
	}
	pthread_mutex_destroy(&responder->mutex);
	free(responder);
}

/* Gives the responder texts of its own; false: no memory. */
static bool copy_texts(struct xreg_responder *responder)
{
	struct xreg_responder_opts *opts = &responder->opts;
	const char **const texts[] = {
		&opts->node_id, &opts->net.group, &opts->net.interface, &opts->net.key};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (*texts[i] != NULL) {
			responder->texts[i] = strdup(*texts[i]);
			*texts[i] = responder->texts[i];
			if (responder->texts[i] == NULL) {
				return false;
			}
		}
	}
	return true;
}

int xreg_responder_start(const struct xreg_responder_opts *opts,
	struct xreg_responder **ret_responder, struct xu_error *err)
{
	struct xreg_responder *responder = calloc(1, sizeof(*responder));
	size_t id_len = strlen(opts->node_id);
	int rc = -ENOMEM;

	if (id_len == 0 || id_len > XREG_NAME_MAX) {
		free(responder);
		return xu_error_set(err, -EINVAL,
			"the node's name '%.80s' has %zu characters, 1 to %u are accepted; give it "
			"a \"node_id\"",
			opts->node_id, id_len, XREG_NAME_MAX);
	}
	if (responder == NULL) {
		return xu_error_set_errno(err, rc, "preparing to be found");
	}
	responder->opts = *opts;
	responder->fd = -1;
	pthread_mutex_init(&responder->mutex, NULL);
	responder->start_ms = now_ms();
	responder->start_wall_ms = wall_ms();
	responder->end_fd = eventfd(0, EFD_CLOEXEC);
	if (responder->end_fd < 0) {
		rc = -errno;
	} else if (copy_texts(responder)) {
		rc = -pthread_create(&responder->thread, NULL, responder_main, responder);
	}
	if (rc != 0) {
		free_responder(responder);
		return xu_error_set_errno(
			err, rc, "preparing to be found as node '%.64s'", opts->node_id);
	}
	*ret_responder = responder;
	return 0;
}

void xreg_responder_stop(struct xreg_responder *responder)
{
	if (responder != NULL) {
		eventfd_write(responder->end_fd, 1);
		pthread_join(responder->thread, NULL);
		free_responder(responder);
	}
}

json_t *xreg_responder_status(struct xreg_responder *responder)
{
	const struct counts *counts = &responder->counts;
	json_t *status;

	pthread_mutex_lock(&responder->mutex);
	status = json_pack("{s:s, s:i, s:i, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:s}", "group",
		responder->opts.net.group, "port", (int)responder->opts.net.port, "interfaces",
		(int)responder->nr_interfaces, "targets", (json_int_t)responder->nr_targets,
		"answered", (json_int_t)counts->answered, "refused", "foreign",
		(json_int_t)counts->foreign, "late", (json_int_t)counts->late, "repeated",
		(json_int_t)counts->repeated, "limited", (json_int_t)counts->limited, "problem",
		responder->problem);
	pthread_mutex_unlock(&responder->mutex);
	return status;
}

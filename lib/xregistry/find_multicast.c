/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A round opens a socket (interfaces come and go), sends queries with nonces of its own, and keeps
 * what comes back as it comes: targets, and which part of which answer a datagram was. When it is
 * over both are sorted, and what is known is made anew of that and of what was known before.
 *
 * Everything belongs to the finder's thread but the eventfd, which ends a round. A round fails when
 * nothing could be sent; that nobody answers is no failure.
 */
#include "lib/xregistry/find_multicast.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/ddc.h"
#include "lib/xregistry/multicast.h"

#define NR_QUERIES    3u
#define SILENCE_MS    600u /* after the last query and the last answer */
#define ROUNDS_MISSED 3u
#define DATAGRAMS_MAX 65536u /* that are heard in a round */
#define TARGETS_MAX   300000u

/* When the queries of a round are sent. */
static const uint32_t query_at_ms[NR_QUERIES] = {0, 300, 900};

/* A target that is known: the rounds since it was told. */
struct known {
	struct xreg_target *target;
	uint32_t missed;
};

struct list {
	struct known *all;
	uint32_t count, room;
};

/* One datagram of an answer. */
struct heard {
	char node_id[XREG_NAME_MAX + 1];
	uint8_t query; /* which of the round's */
	uint16_t part, nr_parts;
};

struct multicast {
	struct xreg_mcast_opts opts;
	struct xu_logger *log;
	char *texts[3]; /* the options' own */
	int end_fd;
	struct list known; /* sorted by place, none twice */

	/* The round. */
	int fd;
	uint8_t nonces[NR_QUERIES][XREG_MCAST_NONCE_BYTES];
	uint32_t nr_queries;
	struct list told; /* as it came */
	struct heard *heard;
	uint32_t nr_heard, heard_room;
	uint32_t nr_foreign,
		nr_refused; /* datagrams without the right code; targets that are none */
	char problem[256];  /* of the first of them */
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

/* ---- lists ---- */

/* Takes the target. */
static int list_add(struct list *list, struct xreg_target *target, uint32_t missed)
{
	struct known *more;

	if (list->count == list->room) {
		uint32_t room = list->room != 0 ? 2 * list->room : 16;

		more = list->count < TARGETS_MAX ? realloc(list->all, room * sizeof(*more)) : NULL;
		if (more == NULL) {
			xreg_target_unref(target);
			return -ENOMEM;
		}
		list->all = more;
		list->room = room;
	}
	list->all[list->count++] = (struct known){target, missed};
	return 0;
}

static void list_clear(struct list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		xreg_target_unref(list->all[i].target);
	}
	free(list->all);
	*list = (struct list){.all = NULL};
}

/* By place; where nodes disagree of one, the first by name is believed, in every round. */
static int compare_known(const void *a, const void *b)
{
	const struct xreg_target *one = ((const struct known *)a)->target;
	const struct xreg_target *two = ((const struct known *)b)->target;
	int order = strcmp(one->place, two->place);

	return order != 0 ? order : strcmp(one->spec.node_id, two->spec.node_id);
}

static int compare_heard(const void *a, const void *b)
{
	const struct heard *one = a, *two = b;
	int order = strcmp(one->node_id, two->node_id);

	order = order != 0 ? order : one->query - two->query;
	return order != 0 ? order : one->part - two->part;
}

/* ---- hearing ---- */

static void refuse(struct multicast *m, const char *node_id, const struct xu_error *err)
{
	if (m->nr_refused++ == 0) {
		snprintf(m->problem, sizeof(m->problem), "%s: %.180s", node_id, err->text);
	}
}

/* Whether all targets of a part can be read. */
static bool is_sound(const struct xreg_mcast_answer *answer)
{
	struct xreg_mcast_answer copy = *answer;
	struct xreg_mcast_target told;
	int rc;

	do {
		xreg_parsed_init(&told.parsed);
		rc = xreg_mcast_answer_next(&copy, &told);
	} while (rc == 1);
	return rc == 0;
}

/* Whether its address is one machine's, for everybody whom it is told. */
static bool is_reachable(const struct xreg_spec *spec, struct xu_error *err)
{
	struct xreg_ddc place;

	return spec->transport == XREG_FC ||
	       xreg_ddc_make(spec->address, spec->port, NULL, &place, err) == 0;
}

static int take_targets(struct multicast *m, struct xreg_mcast_answer *answer)
{
	const struct xreg_origin origin = {.id = ""};
	const struct xreg_status status = {.state = XREG_UNKNOWN, .reason = ""};
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_mcast_target told;
	struct xreg_target *target;
	struct xu_error err;

	for (;;) {
		xreg_parsed_init(&told.parsed);
		if (xreg_mcast_answer_next(answer, &told) != 1) {
			return 0;
		}
		if (xreg_parsed_check(&told.parsed, path, &err) != 0 ||
			!is_reachable(&told.parsed.spec, &err)) {
			refuse(m, answer->node_id, &err);
			continue;
		}
		target = xreg_target_new(&origin, &status, &told.parsed.spec);
		if (target == NULL || list_add(&m->told, target, 0) != 0) {
			return -ENOMEM;
		}
	}
}

static int note_heard(struct multicast *m, const struct xreg_mcast_answer *answer, uint32_t query)
{
	struct heard *one, *more;

	if (m->nr_heard == m->heard_room) {
		uint32_t room = m->heard_room != 0 ? 2 * m->heard_room : 16;

		more = realloc(m->heard, room * sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		m->heard = more;
		m->heard_room = room;
	}
	one = &m->heard[m->nr_heard++];
	memcpy(one->node_id, answer->node_id, sizeof(one->node_id));
	one->query = (uint8_t)query;
	one->part = (uint16_t)answer->part;
	one->nr_parts = (uint16_t)answer->nr_parts;
	return 0;
}

/* A datagram; only what answers a query of this round counts. */
static int hear(struct multicast *m, const uint8_t *bytes, size_t len)
{
	struct xreg_mcast_answer answer;
	uint32_t query = 0;

	if (xreg_mcast_answer_read(bytes, len, m->opts.key, &answer) != 0 || !is_sound(&answer)) {
		m->nr_foreign++;
		return 0;
	}
	while (query < m->nr_queries &&
		memcmp(m->nonces[query], answer.nonce, sizeof(answer.nonce)) != 0) {
		query++;
	}
	if (query == m->nr_queries) {
		m->nr_foreign++;
		return 0;
	}
	return take_targets(m, &answer) == 0 ? note_heard(m, &answer, query) : -ENOMEM;
}

/* Takes what has come; the number of datagrams, or -ENOMEM, -ENOBUFS: somebody floods us. */
static int hear_all(struct multicast *m)
{
	uint8_t bytes[XREG_MCAST_BYTES_MAX + 1]; /* what is longer is read as too long */
	int count = 0;
	ssize_t len;

	while ((len = recv(m->fd, bytes, sizeof(bytes), 0)) >= 0) {
		if (m->nr_heard + m->nr_foreign == DATAGRAMS_MAX) {
			return -ENOBUFS;
		}
		if (hear(m, bytes, (size_t)len) != 0) {
			return -ENOMEM;
		}
		count++;
	}
	return count;
}

/* ---- asking ---- */

static int send_query(struct multicast *m, struct xu_error *err)
{
	struct xreg_mcast_query query = {.time_ms = wall_ms()};
	uint32_t indexes[XREG_MCAST_INTERFACES_MAX], nr_sent = 0;
	uint8_t bytes[XREG_MCAST_QUERY_BYTES];
	int count = xreg_mcast_interfaces(&m->opts, indexes, err), rc = 0, len;

	if (count < 0) {
		return count;
	}
	if (getrandom(query.nonce, sizeof(query.nonce), 0) != sizeof(query.nonce)) {
		return xu_error_set_errno(err, -errno, "getting random numbers");
	}
	len = xreg_mcast_query_write(&query, m->opts.key, bytes);
	if (len < 0) {
		return xu_error_set_errno(err, len, "making a query");
	}
	memcpy(m->nonces[m->nr_queries++], query.nonce, sizeof(query.nonce));
	for (int i = 0; i < count; i++) {
		int one = xreg_mcast_send(m->fd, &m->opts, indexes[i], bytes, (size_t)len);

		nr_sent += one == 0;
		rc = one != 0 ? one : rc;
	}
	if (count == 0) {
		return xu_error_set(err, -ENODEV, "this machine has no interface '%s'",
			m->opts.interface != NULL ? m->opts.interface : "that is up and can multicast");
	}
	return nr_sent != 0 ? 0
			    : xu_error_set_errno(err, rc, "sending to the group %s port %u",
				      m->opts.group, m->opts.port);
}

/* Waits for answers until then; returns how many came, 0 at the time, -ECANCELED, -ENOMEM. */
static int wait_for_answers(struct multicast *m, uint64_t until_ms)
{
	struct pollfd fds[] = {
		{.fd = m->fd, .events = POLLIN}, {.fd = m->end_fd, .events = POLLIN}};
	uint64_t now = now_ms();
	int rc = poll(fds, 2, until_ms > now ? (int)(until_ms - now) : 0);

	if (rc < 0 && errno != EINTR) {
		return -errno;
	}
	if (rc > 0 && fds[1].revents != 0) {
		return -ECANCELED;
	}
	return rc > 0 ? hear_all(m) : 0;
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Asks, and listens until nobody has answered for a while. */
static int converse(struct multicast *m, uint32_t timeout_s, struct xu_error *err)
{
	uint64_t start = now_ms(), end = start + timeout_s * 1000ull, quiet = start;
	int rc = 0;

	while (rc >= 0 && now_ms() < end) {
		bool has_more = m->nr_queries < NR_QUERIES;
		uint64_t next = has_more ? start + query_at_ms[m->nr_queries] : quiet;

		if (now_ms() >= next) {
			if (!has_more) {
				break;
			}
			rc = send_query(m, err);
			quiet = now_ms() + SILENCE_MS;
			continue;
		}
		rc = wait_for_answers(m, min_of(next, end));
		if (rc > 0) {
			quiet = now_ms() + SILENCE_MS;
		}
		if (rc < 0) {
			xu_error_set_errno(err, rc, "asking by multicast");
		}
	}
	return rc < 0 ? rc : 0;
}

/* ---- what is known after a round ---- */

/* Whether a node has given one whole answer. What was heard is sorted. */
static bool is_whole(const struct multicast *m, const char *node_id)
{
	uint32_t low = 0, high = m->nr_heard, count = 0;
	const struct heard *one, *last = NULL;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(m->heard[middle].node_id, node_id) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	for (; low < m->nr_heard && strcmp(m->heard[low].node_id, node_id) == 0; low++) {
		one = &m->heard[low];
		if (last == NULL || last->query != one->query) {
			count = 1;
		} else if (last->part != one->part) {
			count++;
		}
		if (count == one->nr_parts) {
			return true;
		}
		last = one;
	}
	return false;
}

/* Keeps a target that was not told in this round, for a while. */
static int keep(struct multicast *m, struct list *next, const struct known *old)
{
	if (old->missed + 1 >= ROUNDS_MISSED || is_whole(m, old->target->spec.node_id)) {
		return 0;
	}
	return list_add(next, xreg_target_ref(old->target), old->missed + 1);
}

static int merge(struct multicast *m, struct list *next)
{
	const struct list *old = &m->known, *told = &m->told;
	uint32_t o = 0;
	int rc = 0;

	for (uint32_t t = 0; rc == 0 && t < told->count; t++) {
		const char *place = told->all[t].target->place;

		if (t > 0 && strcmp(place, told->all[t - 1].target->place) == 0) {
			continue;
		}
		while (rc == 0 && o < old->count && strcmp(old->all[o].target->place, place) < 0) {
			rc = keep(m, next, &old->all[o++]);
		}
		if (o < old->count && strcmp(old->all[o].target->place, place) == 0) {
			o++;
		}
		if (rc == 0) {
			rc = list_add(next, xreg_target_ref(told->all[t].target), 0);
		}
	}
	while (rc == 0 && o < old->count) {
		rc = keep(m, next, &old->all[o++]);
	}
	return rc;
}

static int learn(struct multicast *m, struct xu_error *err)
{
	struct list next = {.all = NULL};

	if (m->told.count != 0) {
		qsort(m->told.all, m->told.count, sizeof(*m->told.all), compare_known);
	}
	if (m->nr_heard != 0) {
		qsort(m->heard, m->nr_heard, sizeof(*m->heard), compare_heard);
	}
	if (merge(m, &next) != 0) {
		list_clear(&next);
		return xu_error_set_errno(err, -ENOMEM, "keeping what was found");
	}
	list_clear(&m->known);
	m->known = next;
	return 0;
}

static void tell_refused(const struct multicast *m)
{
	if (m->nr_refused != 0) {
		xu_warn(m->log, "%u targets that were told by multicast are not taken; %s",
			m->nr_refused, m->problem);
	}
	if (m->nr_foreign != 0) {
		xu_warn(m->log,
			"%u datagrams were no answers to this registry's queries: another key, "
			"damaged, or too late",
			m->nr_foreign);
	}
}

/* ---- the method ---- */

static int find(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct multicast *m = arg;
	int rc;

	m->fd = xreg_mcast_open_asker(&m->opts, err);
	if (m->fd < 0) {
		return m->fd;
	}
	m->nr_queries = m->nr_heard = m->nr_foreign = m->nr_refused = 0;
	rc = converse(m, timeout_s, err);
	close(m->fd);
	if (rc == 0) {
		tell_refused(m);
		rc = learn(m, err);
	}
	list_clear(&m->told);
	for (uint32_t i = 0; rc == 0 && i < m->known.count; i++) {
		rc = xreg_found_add(found, &m->known.all[i].target->spec, err);
	}
	return rc;
}

static void cancel(void *arg)
{
	struct multicast *m = arg;

	eventfd_write(m->end_fd, 1);
}

static void fini(void *arg)
{
	struct multicast *m = arg;

	list_clear(&m->known);
	free(m->heard);
	for (size_t i = 0; i < sizeof(m->texts) / sizeof(m->texts[0]); i++) {
		free(m->texts[i]);
	}
	close(m->end_fd);
	free(m);
}

/* What is not told under the new settings goes when it has been missed often enough. */
static void inherit(void *arg, void *old)
{
	struct multicast *m = arg, *before = old;

	m->known = before->known;
	before->known = (struct list){.all = NULL};
}

const struct xreg_find_method xreg_find_multicast = {.name = "multicast",
	.source = XREG_MULTICAST,
	.find = find,
	.cancel = cancel,
	.inherit = inherit,
	.fini = fini};

int xreg_find_multicast_new(
	const struct xreg_mcast_opts *opts, struct xu_logger *log, void **ret_arg)
{
	struct multicast *m = calloc(1, sizeof(*m));
	const char **const texts[] = {&m->opts.group, &m->opts.interface, &m->opts.key};
	bool is_good = true;

	if (m == NULL) {
		return -ENOMEM;
	}
	m->opts = *opts;
	m->log = log;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (*texts[i] != NULL) {
			m->texts[i] = strdup(*texts[i]);
			*texts[i] = m->texts[i];
			is_good &= m->texts[i] != NULL;
		}
	}
	m->end_fd = eventfd(0, EFD_CLOEXEC);
	if (m->end_fd < 0 || !is_good) {
		int rc = m->end_fd < 0 ? -errno : -ENOMEM;

		fini(m);
		return rc;
	}
	*ret_arg = m;
	return 0;
}

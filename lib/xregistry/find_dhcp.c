/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A round opens the client's port on the address of the interface, sends the question up to three
 * times, and takes the first answer that has the list. An answer without it counts as an empty list
 * when nobody gives a better one, so an administrator can take targets away; but not when the list
 * came from another server before, which may just be silent now. No answer is a failure, and
 * what was found stays.
 */
#include "lib/xregistry/find_dhcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define NR_SENT     3u
#define BETTER_MS   1000u /* a better answer than an empty one is waited for */
#define ANSWERS_MAX 1000u /* that are looked at in a round */

/* When the question is sent. */
static const uint32_t send_at_ms[NR_SENT] = {0, 1000, 3000};

struct dhcp {
	struct xreg_find_dhcp_opts opts;
	char interface[IF_NAMESIZE];
	int end_fd;
	uint8_t server[4]; /* who the list came from; zeroes: nobody yet */
	pthread_mutex_t mutex;
	bool is_over; /* with the mutex: no discovery controllers are told any more */
};

/* What has come of a question. */
struct outcome {
	bool has_list, is_empty;
	uint8_t server[4];
	struct xreg_dhcp_entry entries[XREG_DHCP_ENTRIES_MAX];
	uint32_t nr_entries, nr_answers;
	struct xu_error err; /* of an answer that was no good */
};

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / XU_NS_PER_MS;
}

/* ---- the socket ---- */

/* The interface's addresses, as the question has them. */
static int ask_interface(
	struct dhcp *dhcp, int fd, struct xreg_dhcp_inform *inform, struct xu_error *err)
{
	struct ifreq req = {.ifr_name = ""};
	const struct sockaddr_in *addr = (const struct sockaddr_in *)&req.ifr_addr;

	strcpy(req.ifr_name, dhcp->interface);
	if (ioctl(fd, SIOCGIFHWADDR, &req) != 0) {
		return xu_error_set_errno(
			err, -errno, "asking for the hardware address of %s", dhcp->interface);
	}
	if (req.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
		return xu_error_set(err, -EOPNOTSUPP,
			"interface %s is no Ethernet, which DHCP needs here", dhcp->interface);
	}
	inform->hardware_type = ARPHRD_ETHER;
	inform->hardware_len = 6;
	memcpy(inform->hardware, req.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFADDR, &req) != 0) {
		return xu_error_set_errno(
			err, -errno, "asking for the IPv4 address of %s", dhcp->interface);
	}
	memcpy(inform->address, &addr->sin_addr, sizeof(inform->address));
	return 0;
}

static int set_up(int fd, const char *interface, const struct xreg_dhcp_inform *inform)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(XREG_DHCP_CLIENT_PORT)};
	const int yes = 1;

	memcpy(&own.sin_addr, inform->address, sizeof(inform->address));
	/* The port is also the DHCP client's that this machine may have, which shares it like this.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface,
			(socklen_t)strlen(interface)) != 0 ||
		bind(fd, (const struct sockaddr *)&own, sizeof(own)) != 0) {
		return -errno;
	}
	return 0;
}

static int open_socket(struct dhcp *dhcp, struct xreg_dhcp_inform *inform, struct xu_error *err)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0) {
		return xu_error_set_errno(err, -errno, "opening a socket for DHCP");
	}
	rc = ask_interface(dhcp, fd, inform, err);
	if (rc == 0) {
		rc = set_up(fd, dhcp->interface, inform);
		if (rc == -EACCES || rc == -EPERM) {
			xu_error_set(err, rc,
				"the port %u of DHCP's clients may not be had; give the registry "
				"CAP_NET_BIND_SERVICE",
				XREG_DHCP_CLIENT_PORT);
		} else if (rc != 0) {
			xu_error_set_errno(err, rc, "taking the port %u of DHCP's clients on %s",
				XREG_DHCP_CLIENT_PORT, dhcp->interface);
		}
	}
	if (rc != 0) {
		close(fd);
	}
	return rc == 0 ? fd : rc;
}

static int send_question(int fd, const struct xreg_dhcp_inform *inform, struct xu_error *err)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(XREG_DHCP_SERVER_PORT),
		.sin_addr.s_addr = htonl(INADDR_BROADCAST)};
	uint8_t bytes[XREG_DHCP_INFORM_SIZE];

	xreg_dhcp_inform_write(inform, bytes);
	return sendto(fd, bytes, sizeof(bytes), MSG_NOSIGNAL, (const struct sockaddr *)&to,
		       sizeof(to)) == sizeof(bytes)
		       ? 0
		       : xu_error_set_errno(err, -errno, "asking the DHCP servers");
}

/* ---- answers ---- */

static void take_answer(const struct xreg_dhcp_inform *inform, const uint8_t *bytes, size_t len,
	struct outcome *outcome)
{
	struct xreg_dhcp_ack ack;
	struct xu_error err;
	int rc = xreg_dhcp_ack_read(bytes, len, inform, &ack, &err);

	if (rc == -EBADMSG) {
		return;
	}
	if (rc == 0 && !ack.has_list) {
		outcome->is_empty = true;
		memcpy(outcome->server, ack.server, sizeof(ack.server));
		return;
	}
	if (rc == 0) {
		rc = xreg_dhcp_list_read(ack.list, outcome->entries, &outcome->nr_entries, &err);
	}
	if (rc != 0) {
		outcome->err = err;
		return;
	}
	outcome->has_list = true;
	memcpy(outcome->server, ack.server, sizeof(ack.server));
}

static void take_answers(int fd, const struct xreg_dhcp_inform *inform, struct outcome *outcome)
{
	uint8_t bytes[XREG_DHCP_ACK_MAX + 1]; /* what is longer is read as too long */
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t len;

	while (!outcome->has_list && outcome->nr_answers < ANSWERS_MAX &&
		(len = recvfrom(
			 fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_len)) >= 0) {
		outcome->nr_answers++;
		if (from.sin_port == htons(XREG_DHCP_SERVER_PORT)) {
			take_answer(inform, bytes, (size_t)len, outcome);
		}
	}
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Asks and listens until there is a list, or the time is over. */
static int converse(struct dhcp *dhcp, int fd, const struct xreg_dhcp_inform *inform,
	uint32_t timeout_s, struct outcome *outcome, struct xu_error *err)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = POLLIN}, {.fd = dhcp->end_fd, .events = POLLIN}};
	uint64_t start = now_ms(), end = start + timeout_s * 1000ull, now = start, next;
	uint32_t nr_sent = 0;
	bool was_empty = false;

	while (now < end && !outcome->has_list && outcome->nr_answers < ANSWERS_MAX) {
		if (nr_sent < NR_SENT && now >= start + send_at_ms[nr_sent]) {
			int rc = send_question(fd, inform, err);

			if (rc != 0) {
				return rc;
			}
			nr_sent++;
		}
		next = nr_sent < NR_SENT ? min_of(start + send_at_ms[nr_sent], end) : end;
		if (poll(fds, 2, (int)(next > now ? next - now : 0)) < 0 && errno != EINTR) {
			return xu_error_set_errno(err, -errno, "waiting for DHCP servers");
		}
		if (fds[1].revents != 0) {
			return xu_error_set_errno(err, -ECANCELED, "waiting for DHCP servers");
		}
		take_answers(fd, inform, outcome);
		now = now_ms();
		if (outcome->is_empty && !was_empty) {
			was_empty = true;
			end = min_of(end, now + BETTER_MS);
		}
	}
	return 0;
}

/* ---- the method ---- */

static int add_targets(
	const struct outcome *outcome, struct xreg_found *found, struct xu_error *err)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < outcome->nr_entries; i++) {
		const struct xreg_dhcp_entry *entry = &outcome->entries[i];

		if (entry->is_discovery) {
			continue;
		}
		xreg_parsed_init(&parsed);
		/* The node's name is not told, and a machine has an address of its own. */
		parsed.spec.node_id = entry->place.address;
		parsed.spec.nqn = entry->place.nqn;
		parsed.spec.address = entry->place.address;
		parsed.spec.port = entry->place.port;
		rc = xreg_parsed_check(&parsed, path, err);
		rc = rc != 0 ? rc : xreg_found_add(found, &parsed.spec, err);
	}
	return rc;
}

/* The discovery controllers of the list, whose entries somebody else reads. */
static void tell_controllers(struct dhcp *dhcp, const struct outcome *outcome)
{
	struct xreg_ddc controllers[XREG_DHCP_ENTRIES_MAX];
	uint32_t count = 0;

	for (uint32_t i = 0; i < outcome->nr_entries; i++) {
		if (outcome->entries[i].is_discovery) {
			controllers[count++] = outcome->entries[i].place;
		}
	}
	pthread_mutex_lock(&dhcp->mutex);
	if (dhcp->opts.ddcs != NULL && !dhcp->is_over) {
		xreg_ddcs_replace(dhcp->opts.ddcs, XREG_DDC_DHCP, controllers, count);
	}
	pthread_mutex_unlock(&dhcp->mutex);
}

/* What an outcome means. */
static int judge(
	struct dhcp *dhcp, struct outcome *outcome, struct xreg_found *found, struct xu_error *err)
{
	static const uint8_t nobody[4];
	char server[INET_ADDRSTRLEN] = "", before[INET_ADDRSTRLEN] = "";

	inet_ntop(AF_INET, outcome->server, server, sizeof(server));
	inet_ntop(AF_INET, dhcp->server, before, sizeof(before));
	if (outcome->has_list) {
		memcpy(dhcp->server, outcome->server, sizeof(dhcp->server));
		tell_controllers(dhcp, outcome);
		return add_targets(outcome, found, err);
	}
	if (outcome->err.code != 0) {
		*err = outcome->err;
		return err->code;
	}
	if (!outcome->is_empty) {
		return xu_error_set(
			err, -ETIMEDOUT, "no DHCP server on %s has answered", dhcp->interface);
	}
	if (memcmp(dhcp->server, nobody, sizeof(nobody)) != 0 &&
		memcmp(dhcp->server, outcome->server, sizeof(dhcp->server)) != 0) {
		return xu_error_set(err, -ENODATA,
			"the DHCP server %s knows no option %u, and %s, which had the list "
			"before, is silent",
			server, dhcp->opts.option, before);
	}
	outcome->nr_entries = 0;
	tell_controllers(dhcp, outcome);
	return 0;
}

static int find(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct dhcp *dhcp = arg;
	struct xreg_dhcp_inform inform = {.option = dhcp->opts.option};
	struct outcome outcome = {.has_list = false};
	int fd = open_socket(dhcp, &inform, err), rc;

	if (fd < 0) {
		return fd;
	}
	rc = getrandom(&inform.xid, sizeof(inform.xid), 0) == sizeof(inform.xid)
		     ? converse(dhcp, fd, &inform, timeout_s, &outcome, err)
		     : xu_error_set_errno(err, -errno, "getting random numbers");
	close(fd);
	return rc == 0 ? judge(dhcp, &outcome, found, err) : rc;
}

static void cancel(void *arg)
{
	struct dhcp *dhcp = arg;

	pthread_mutex_lock(&dhcp->mutex);
	dhcp->is_over = true;
	pthread_mutex_unlock(&dhcp->mutex);
	eventfd_write(dhcp->end_fd, 1);
}

/* Of another network the server is another one. */
static void inherit(void *arg, void *old)
{
	struct dhcp *dhcp = arg;
	const struct dhcp *before = old;

	if (strcmp(dhcp->interface, before->interface) == 0) {
		memcpy(dhcp->server, before->server, sizeof(dhcp->server));
	}
}

static void fini(void *arg)
{
	struct dhcp *dhcp = arg;

	close(dhcp->end_fd);
	pthread_mutex_destroy(&dhcp->mutex);
	free(dhcp);
}

const struct xreg_find_method xreg_find_dhcp = {.name = "dhcp",
	.source = XREG_DHCP,
	.find = find,
	.cancel = cancel,
	.inherit = inherit,
	.fini = fini};

int xreg_find_dhcp_new(const struct xreg_find_dhcp_opts *opts, void **ret_arg)
{
	struct dhcp *dhcp;

	if (strlen(opts->interface) >= sizeof(dhcp->interface)) {
		return -EINVAL;
	}
	dhcp = calloc(1, sizeof(*dhcp));
	if (dhcp == NULL) {
		return -ENOMEM;
	}
	dhcp->opts = *opts;
	strcpy(dhcp->interface, opts->interface);
	dhcp->end_fd = eventfd(0, EFD_CLOEXEC);
	if (dhcp->end_fd < 0) {
		int rc = -errno;

		free(dhcp);
		return rc;
	}
	pthread_mutex_init(&dhcp->mutex, NULL);
	*ret_arg = dhcp;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets of multicast; see multicast_net.h. Everything that differs between IPv4 and IPv6 is here.
 */
#include "lib/xregistry/multicast_net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xregistry/mac.h"

#define RECEIVE_BYTES (4 << 20) /* many nodes answer at once */

/* ---- checking ---- */

static bool is_group(const char *text)
{
	struct sockaddr_storage addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;

	if (xr_address_parse(text, 0, &addr) < 0) {
		return false;
	}
	return addr.ss_family == AF_INET ? IN_MULTICAST(ntohl(v4->sin_addr.s_addr))
					 : IN6_IS_ADDR_MULTICAST(&v6->sin6_addr);
}

/* What is known of an interface (IFF_…); 0: there is none of that name. */
static uint32_t flags_of(const char *name)
{
	struct ifaddrs *all, *one;
	uint32_t flags = 0;

	if (name == NULL || getifaddrs(&all) != 0) {
		return 0;
	}
	for (one = all; one != NULL; one = one->ifa_next) {
		if (strcmp(one->ifa_name, name) == 0) {
			flags |= one->ifa_flags;
		}
	}
	freeifaddrs(all);
	return flags;
}

int xreg_mcast_check(
	const struct xreg_mcast_opts *opts, const char **ret_member, struct xu_error *err)
{
	size_t len = opts->key != NULL ? strlen(opts->key) : 0;

	*ret_member = "multicast_group";
	if (!is_group(opts->group)) {
		return xu_error_set(err, -EINVAL,
			"'%.64s' is no numeric multicast address, such as %s or ff02::4791",
			opts->group, XREG_MCAST_GROUP);
	}
	*ret_member = "multicast_interface";
	if (opts->interface != NULL &&
		(opts->interface[0] == '\0' || strlen(opts->interface) >= IF_NAMESIZE)) {
		return xu_error_set(
			err, -EINVAL, "'%.64s' is no name of an interface", opts->interface);
	}
	*ret_member = "multicast_key_file";
	if (opts->key == NULL && (flags_of(opts->interface) & IFF_LOOPBACK) == 0) {
		return xu_error_set(err, -EINVAL,
			"it is missing, and so is multicast_key_env: without a key multicast is "
			"only for a loopback interface (multicast_interface \"lo\"), for anybody "
			"could list targets that are not yours");
	}
	if (opts->key != NULL && (len < XREG_MCAST_KEY_MIN || len > XREG_MCAST_KEY_MAX)) {
		return xu_error_set(err, -EINVAL, "the key has %zu characters; it needs %u to %u",
			len, XREG_MCAST_KEY_MIN, XREG_MCAST_KEY_MAX);
	}
	*ret_member = "enable_multicast";
	return xreg_mac_is_there()
		       ? 0
		       : xu_error_set(err, -ENOTSUP,
				 "multicast needs OpenSSL's libcrypto, which this build has not");
}

/* ---- the key ---- */

static int read_line(const char *path, char text[XREG_MCAST_KEY_MAX + 2])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, XREG_MCAST_KEY_MAX + 1) : -1;
	int rc = len < 0 ? -errno : 0;

	if (fd >= 0) {
		close(fd);
	}
	if (rc == 0) {
		text[len] = '\0';
		text[strcspn(text, "\r\n")] = '\0';
	}
	return rc;
}

int xreg_mcast_key_read(
	const char *path, const char *variable, char **ret_key, struct xu_error *err)
{
	char line[XREG_MCAST_KEY_MAX + 2];
	const char *text = line;
	int rc;

	if (path != NULL) {
		rc = read_line(path, line);
		if (rc != 0) {
			return xu_error_set_errno(err, rc, "reading the key of multicast %s", path);
		}
	} else {
		text = getenv(variable);
		if (text == NULL) {
			return xu_error_set(
				err, -ENOENT, "the environment has no variable '%.64s'", variable);
		}
	}
	*ret_key = strdup(text);
	return *ret_key != NULL ? 0
				: xu_error_set_errno(err, -ENOMEM, "reading the key of multicast");
}

/* ---- interfaces ---- */

static bool is_wanted(const struct xreg_mcast_opts *opts, const struct ifaddrs *one)
{
	if (opts->interface != NULL) {
		return strcmp(one->ifa_name, opts->interface) == 0;
	}
	return (one->ifa_flags & (IFF_UP | IFF_MULTICAST | IFF_LOOPBACK)) ==
	       (IFF_UP | IFF_MULTICAST);
}

static bool has_index(const uint32_t *indexes, uint32_t count, uint32_t index)
{
	for (uint32_t i = 0; i < count; i++) {
		if (indexes[i] == index) {
			return true;
		}
	}
	return false;
}

int xreg_mcast_interfaces(const struct xreg_mcast_opts *opts,
	uint32_t ret_indexes[XREG_MCAST_INTERFACES_MAX], struct xu_error *err)
{
	struct ifaddrs *all, *one;
	uint32_t count = 0, index;

	if (getifaddrs(&all) != 0) {
		return xu_error_set_errno(err, -errno, "listing the network interfaces");
	}
	for (one = all; one != NULL && count < XREG_MCAST_INTERFACES_MAX; one = one->ifa_next) {
		index = is_wanted(opts, one) ? if_nametoindex(one->ifa_name) : 0;
		if (index != 0 && !has_index(ret_indexes, count, index)) {
			ret_indexes[count++] = index;
		}
	}
	freeifaddrs(all);
	return (int)count;
}

/* ---- sockets ---- */

/* The group as an address; its length. It was checked. */
static socklen_t group_of(const struct xreg_mcast_opts *opts, struct sockaddr_storage *ret_addr)
{
	return (socklen_t)xr_address_parse(opts->group, opts->port, ret_addr);
}

static bool is_v6(const struct xreg_mcast_opts *opts)
{
	return strchr(opts->group, ':') != NULL;
}

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

static int open_socket(const struct xreg_mcast_opts *opts)
{
	int fd = socket(
		is_v6(opts) ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 ? fd : -errno;
}

int xreg_mcast_open_asker(const struct xreg_mcast_opts *opts, struct xu_error *err)
{
	int fd = open_socket(opts), rc = fd;

	if (fd >= 0) {
		/* No further than the next machine, and to this one, too. */
		rc = is_v6(opts) ? set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1)
				 : set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1);
		if (rc == 0) {
			rc = is_v6(opts) ? set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1)
					 : set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
		}
		/* As much as the system gives. */
		set_option(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES);
		if (rc != 0) {
			close(fd);
		}
	}
	return rc >= 0 ? fd : xu_error_set_errno(err, rc, "opening a socket for multicast");
}

int xreg_mcast_send(int fd, const struct xreg_mcast_opts *opts, uint32_t interface,
	const uint8_t *bytes, size_t len)
{
	const struct ip_mreqn by = {.imr_ifindex = (int)interface};
	struct sockaddr_storage group;
	socklen_t group_len = group_of(opts, &group);
	int rc;

	if (is_v6(opts)) {
		((struct sockaddr_in6 *)&group)->sin6_scope_id = interface;
		rc = setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof(interface));
	} else {
		rc = setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by));
	}

	if (rc == 0 && sendto(fd, bytes, len, MSG_NOSIGNAL, (const struct sockaddr *)&group,
			       group_len) != (ssize_t)len) {
		rc = -1;
	}
	return rc == 0 ? 0 : -errno;
}

int xreg_mcast_open_listener(const struct xreg_mcast_opts *opts, struct xu_error *err)
{
	struct sockaddr_storage group;
	socklen_t group_len = group_of(opts, &group);
	int fd = open_socket(opts), rc = fd;

	if (fd >= 0) {
		rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		if (rc == 0) {
			/* Only what it has joined itself, not what others of this machine have. */
			rc = is_v6(opts) ? set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
					 : set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
		}
		if (rc == 0 && is_v6(opts)) {
			/* A group of one link could be bound for one interface only. */
			((struct sockaddr_in6 *)&group)->sin6_addr = in6addr_any;
			rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		}
		/* With IPv4 the group itself: nothing that was sent to this machine alone. */
		if (rc == 0 && bind(fd, (const struct sockaddr *)&group, group_len) != 0) {
			rc = -errno;
		}
		if (rc != 0) {
			close(fd);
		}
	}
	return rc >= 0 ? fd
		       : xu_error_set_errno(err, rc, "listening on the group %s port %u",
				 opts->group, opts->port);
}

int xreg_mcast_join(int fd, const struct xreg_mcast_opts *opts, uint32_t interface)
{
	struct group_req req = {.gr_interface = interface};
	int rc;

	group_of(opts, &req.gr_group);
	rc = setsockopt(
		fd, is_v6(opts) ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_JOIN_GROUP, &req, sizeof(req));
	return rc == 0 || errno == EADDRINUSE ? 0 : -errno;
}

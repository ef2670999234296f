/* SPDX-License-Identifier: BSD-3-Clause */
/* Numeric network addresses to and from text. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/reactor/address.h"

int xr_address_parse(const char *text, uint16_t port, struct sockaddr_storage *ret_addr)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_addr;

	memset(ret_addr, 0, sizeof(*ret_addr));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return (int)sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return (int)sizeof(*v6);
	}
	return -EINVAL;
}

int xr_address_format(
	const struct sockaddr_storage *addr, char text[XR_ADDRESS_SIZE], uint16_t *ret_port)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;

	if (addr->ss_family == AF_INET) {
		*ret_port = ntohs(v4->sin_port);
		return inet_ntop(AF_INET, &v4->sin_addr, text, XR_ADDRESS_SIZE) != NULL ? 0
											: -errno;
	}
	if (addr->ss_family == AF_INET6) {
		*ret_port = ntohs(v6->sin6_port);
		return inet_ntop(AF_INET6, &v6->sin6_addr, text, XR_ADDRESS_SIZE) != NULL ? 0
											  : -errno;
	}
	return -EAFNOSUPPORT;
}

bool xr_address_is_wildcard(const char *text)
{
	struct sockaddr_storage addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;

	if (xr_address_parse(text, 0, &addr) < 0) {
		return false;
	}
	return addr.ss_family == AF_INET ? v4->sin_addr.s_addr == htonl(INADDR_ANY)
					 : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

bool xr_address_is_loopback(const char *text)
{
	struct sockaddr_storage addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;

	if (xr_address_parse(text, 0, &addr) < 0) {
		return false;
	}
	if (addr.ss_family == AF_INET) {
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	}
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
}

unsigned int xr_address_interface(const char *text)
{
	char other[XR_ADDRESS_SIZE];
	struct ifaddrs *list, *at;
	unsigned int index = 0;
	uint16_t port;

	if (getifaddrs(&list) != 0) {
		return 0;
	}
	for (at = list; at != NULL && index == 0; at = at->ifa_next) {
		struct sockaddr_storage addr = {0};

		if (at->ifa_addr == NULL || (at->ifa_addr->sa_family != AF_INET &&
						    at->ifa_addr->sa_family != AF_INET6)) {
			continue;
		}
		memcpy(&addr, at->ifa_addr,
			at->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
							   : sizeof(struct sockaddr_in6));
		if (xr_address_format(&addr, other, &port) == 0 && strcmp(other, text) == 0) {
			index = if_nametoindex(at->ifa_name);
		}
	}
	freeifaddrs(list);
	return index;
}

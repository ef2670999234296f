/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where multicast is spoken (multicast.h has what is said): the group, the interfaces, the key, and
 * the sockets of both sides. Without a key anybody could list targets of his own or be told those
 * of others, so without one only a loopback interface is taken.
 */
#ifndef LIB_XREGISTRY_MULTICAST_NET_H
#define LIB_XREGISTRY_MULTICAST_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct xu_error;

#define XREG_MCAST_GROUP          "239.255.43.21" /* those of the document */
#define XREG_MCAST_PORT           4791u
#define XREG_MCAST_KEY_MIN        16u /* characters */
#define XREG_MCAST_KEY_MAX        256u
#define XREG_MCAST_INTERFACES_MAX 32u

/* Of both sides. Texts are borrowed. */
struct xreg_mcast_opts {
	const char *group; /* numeric IPv4 or IPv6 address */
	uint16_t port;
	const char *interface; /* name; NULL: all that are up and can, without loopback */
	const char *key;       /* NULL: none */
};

/* Whether that can be; -EINVAL, -ENOTSUP with a sentence. `ret_member` gets the name of the member
 * to blame, as configurations have it: "multicast_group" and so on. */
int xreg_mcast_check(
	const struct xreg_mcast_opts *opts, const char **ret_member, struct xu_error *err);

/* Reads the key: the first line of a file, or a variable of the environment; one of them is NULL.
 * The text is the caller's. -errno with a sentence. */
int xreg_mcast_key_read(
	const char *path, const char *variable, char **ret_key, struct xu_error *err);

/* The interfaces on which it is spoken now; may be none. Returns how many, or -errno with a
 * sentence. */
int xreg_mcast_interfaces(const struct xreg_mcast_opts *opts,
	uint32_t ret_indexes[XREG_MCAST_INTERFACES_MAX], struct xu_error *err);

/* A socket that queries are sent from and answers come to, which does not block; -errno with a
 * sentence. */
int xreg_mcast_open_asker(const struct xreg_mcast_opts *opts, struct xu_error *err);
/* Sends to the group by one interface; it goes no further than the next machine. -errno. */
int xreg_mcast_send(int fd, const struct xreg_mcast_opts *opts, uint32_t interface,
	const uint8_t *bytes, size_t len);

/* A socket that queries come to, which does not block, and that many may have on one machine. It
 * is still to be told by which interfaces. -errno with a sentence. */
int xreg_mcast_open_listener(const struct xreg_mcast_opts *opts, struct xu_error *err);
/* Hears the group on an interface from now on; 0 too if it does so already. -errno. */
int xreg_mcast_join(int fd, const struct xreg_mcast_opts *opts, uint32_t interface);

#endif

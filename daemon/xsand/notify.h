/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling the service manager how the node is: the datagrams of sd_notify(3) to $NOTIFY_SOCKET. */
#ifndef XSAND_NOTIFY_H
#define XSAND_NOTIFY_H

#include <stdint.h>

/* Sends the message, lines such as "READY=1"; without a service manager nothing happens. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* How often the service manager wants to hear "WATCHDOG=1", in nanoseconds; 0: never. */
uint64_t notify_watchdog_ns(void);

#endif

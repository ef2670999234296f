/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding targets by DHCP, a method of finder.h: asks the DHCP servers of an interface's network
 * for the list of targets and discovery controllers that their administrator has given them
 * (dhcp.h). Nobody proves who he is in DHCP: whoever may send in that network may answer, so what
 * is found is what a neighbour says.
 */
#ifndef LIB_XREGISTRY_FIND_DHCP_H
#define LIB_XREGISTRY_FIND_DHCP_H

#include "lib/xregistry/dhcp.h"
#include "lib/xregistry/finder.h"

struct xreg_find_dhcp_opts {
	const char *interface; /* Ethernet with an IPv4 address; copied */
	uint8_t option;        /* XREG_DHCP_OPTION_MIN … _MAX */
	/* Takes the discovery controllers of the list, until it is cancelled; NULL: nobody does. */
	struct xreg_ddcs *ddcs;
};

extern const struct xreg_find_method xreg_find_dhcp;

/* -EINVAL: the name is too long for an interface's; -ENOMEM, -EMFILE. */
int xreg_find_dhcp_new(const struct xreg_find_dhcp_opts *opts, void **ret_arg);

#endif

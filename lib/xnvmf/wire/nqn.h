/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe Qualified Names (NVM Express Base Specification 2.0, section 4.5). */
#ifndef LIB_XNVMF_WIRE_NQN_H
#define LIB_XNVMF_WIRE_NQN_H

struct xu_error;

#define XNVMF_NQN_MAX 223u

/* Whether `nqn` has the form "nqn.yyyy-mm.reverse.domain…", is no longer than XNVMF_NQN_MAX bytes
 * and printable ASCII; -EINVAL with a sentence when not. Any thread. */
int xnvmf_nqn_check(const char *nqn, struct xu_error *err);

#endif

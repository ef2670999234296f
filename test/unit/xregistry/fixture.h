/* SPDX-License-Identifier: BSD-3-Clause */
/* Targets and stores for the tests of lib/xregistry. */
#ifndef TEST_UNIT_XREGISTRY_FIXTURE_H
#define TEST_UNIT_XREGISTRY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/xregistry/store.h"

/* A specification that is accepted; texts are static. */
struct xreg_spec fixture_spec(void);

/* The body of a registration as the document prints it. New reference. */
json_t *fixture_body(void);

/* A directory of this test's own, removed by fixture_teardown(). */
extern char fixture_path[64]; /* of a database in it */
int fixture_setup(void **state);
int fixture_teardown(void **state);

struct xreg_store *fixture_open(const struct xreg_store_opts *more);

/* Registers `nqn_number` on `node` and returns its id, which is the caller's until the next call.
 */
const char *fixture_register(struct xreg_store *store, const char *node, unsigned number);

/* Has the target's desired configuration be this JSON. */
void fixture_set_config(struct xreg_store *store, const char *id, const char *text);

/* Makes all changes at once; asserts that each was made, and gives back its result. */
void fixture_change_all(struct xreg_store *store, struct xreg_change *changes, uint32_t count);

#endif

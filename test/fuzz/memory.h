/* SPDX-License-Identifier: BSD-3-Clause */
/* A store's data of which documents are kept, and of targets only the revision: one at a time. */
#ifndef TEST_FUZZ_MEMORY_H
#define TEST_FUZZ_MEMORY_H

#include <jansson.h>

struct xreg_backend_ops;

/* Begins empty with each store that is opened. A record that is not read back as it was written is
 * a finding. */
extern const struct xreg_backend_ops fuzz_memory;

/* What is kept by that name; NULL: nothing. New reference. */
json_t *fuzz_memory_document(const char *name);

#endif

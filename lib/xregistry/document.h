/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small documents of one registry alone, and those that earlier versions kept so: each a JSON
 * object in a file of the data directory, written whole. What registries share is in the store. A
 * document is there as it was saved last, or as before when the power goes meanwhile. Blocks; one
 * thread at a time for each document.
 */
#ifndef LIB_XREGISTRY_DOCUMENT_H
#define LIB_XREGISTRY_DOCUMENT_H

#include <jansson.h>

struct xu_error;

/* Reads the document `name` of `dir`; *ret_document is a new reference, NULL when there is none.
 * -EILSEQ: it is no JSON object. */
int xreg_document_load(
	const char *dir, const char *name, json_t **ret_document, struct xu_error *err);
/* Durable when it returns 0; nothing has changed when it does not. */
int xreg_document_save(
	const char *dir, const char *name, const json_t *document, struct xu_error *err);
/* Renames the file, whose document is kept elsewhere now, to NAME.json.taken. */
int xreg_document_retire(const char *dir, const char *name, struct xu_error *err);

#endif

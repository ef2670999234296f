/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to xbdev-dd. A copy goes from one end to another in chunks of --bs bytes.
 *
 *   options.c  the command line             copy.c  chunks in flight, from end to end
 *   end.c      devices, files and streams   main.c  the phases and what is said of them
 */
#ifndef DD_DD_H
#define DD_DD_H

#include <stdbool.h>
#include <stdint.h>

#include <xbdev/xbdev.h>

#include "common/tool.h"

#define DD_MAX_DEPTH 1024u
#define DD_UNKNOWN   UINT64_MAX /* a size */

/* ---- options.c ---- */

enum dd_sparse { DD_SPARSE_NO, DD_SPARSE_ZEROES, DD_SPARSE_DISCARD };
enum dd_tail { DD_TAIL_REFUSE, DD_TAIL_ZERO, DD_TAIL_KEEP };

/* A position or length: as it was given, in chunks or, with a unit, in bytes. */
struct dd_amount {
	uint64_t number;
	bool is_bytes;
	bool is_given;
};

struct dd_options {
	const char *from, *to, *config;
	uint32_t bs;
	uint32_t depth;
	struct dd_amount count, skip, seek;
	enum dd_sparse sparse;
	enum dd_tail tail;
	bool must_verify;
	bool must_not_flush;
	bool must_not_truncate;
	bool is_quiet;
	struct tool_library library;
};

/* False: the run is over with *ret_exit (help, version, an error). */
bool dd_options_parse(struct dd_options *options, int argc, char **argv, int *ret_exit);
/* An amount in bytes; false: past 2^63-1. */
bool dd_amount_bytes(
	const struct dd_options *options, const struct dd_amount *amount, uint64_t *ret_bytes);

/* ---- end.c ---- */

enum dd_kind {
	DD_DEVICE, /* of libxbdev */
	DD_FILE,   /* a regular file, read and written at any place */
	DD_STREAM, /* a pipe, a terminal, a character device: from front to back */
};

struct dd_end {
	enum dd_kind kind;
	const char *name;
	int fd;
	uint32_t block_size; /* 1 for files and streams */
	xbdev_info_t info;   /* of a device */
	uint64_t base;       /* where the copy begins in it */
	uint64_t size;       /* bytes behind base, or DD_UNKNOWN */
	uint64_t data_begin; /* of a file: no data is known from here ... */
	uint64_t data_end;   /* ... to here */
};

/* Open an end whose base has been set. False: it was said why. A destination is emptied behind its
 * base only by dd_end_begin(). */
bool dd_end_open_source(struct dd_end *end, const struct dd_options *options);
bool dd_end_open_target(struct dd_end *end, const struct dd_options *options);
/* Makes the target ready to be written. */
bool dd_end_begin(struct dd_end *end, const struct dd_options *options);
/* Closes it; false: what was written may not have arrived. */
bool dd_end_close(struct dd_end *end);

/* Files and streams; these block. Reads return how much there was, less than `len` only at the end;
 * all return -errno. Offsets count from the base. */
int64_t dd_file_read(struct dd_end *end, void *buf, uint32_t len, uint64_t offset);
int dd_file_write(struct dd_end *end, const void *buf, uint32_t len, uint64_t offset);
int dd_file_zero(struct dd_end *end, uint32_t len, uint64_t offset, bool is_hole);
/* Whether a file has a hole there, so that it need not be read. */
bool dd_file_is_hole(struct dd_end *end, uint32_t len, uint64_t offset);
/* Makes what was written durable and the file as long as it must be. */
int dd_file_finish(struct dd_end *end, uint64_t len, bool must_flush);

/* ---- copy.c ---- */

enum dd_state { DD_FREE, DD_READING, DD_READ, DD_WRITING, DD_DONE, DD_FAILED };

struct dd_chunk {
	enum dd_state state;
	xbdev_request_t *req;
	char *buf;
	uint64_t offset; /* in the copy */
	uint32_t len;    /* bytes of the source */
	uint32_t out;    /* bytes of the target: more when a tail was filled up */
	bool is_zero;
	struct dd_copy *copy;
};

struct dd_copy {
	const struct dd_options *options;
	struct dd_end *from;
	struct dd_end *to; /* NULL: the source is compared with crcs */
	uint64_t total;    /* bytes wanted, or DD_UNKNOWN: to the end of the source */
	struct dd_chunk *chunks;
	char *memory;
	uint32_t *crcs; /* of each chunk as it is in the target; NULL: not wanted */
	uint64_t nr_crcs, max_crcs;

	/* Chunks by number: [done, written) are being written, [written, read) read. */
	uint64_t next_done, next_write, next_read;
	bool is_at_end;  /* the source has no more */
	bool has_failed; /* nothing is started any more */
	bool is_stuck;   /* I/Os do not come back */
	uint32_t nr_in_flight;

	uint64_t start_ns;
	uint64_t bytes_in;   /* of the source, in an unbroken row from the start */
	uint64_t bytes_out;  /* the same in the target */
	uint64_t bytes_zero; /* of them not written as data */
	uint64_t nr_differ;
};

/* Memory of a copy; false: it was said. */
bool dd_copy_init(struct dd_copy *copy);
void dd_copy_fini(struct dd_copy *copy);
/* Copies, or compares, until the end, an error or a signal. What went wrong has been said. */
void dd_copy_run(struct dd_copy *copy);

/* Tells how far it is, if it is time; in main.c. */
void dd_tell_progress(const struct dd_copy *copy);

#endif

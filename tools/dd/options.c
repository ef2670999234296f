/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of xbdev-dd. Every option may be written as dd does (bs=1M) or as others do
 * (--bs 1M, --bs=1M); if= and of= are from= and to=. packaging/man/xbdev-dd.1 describes them.
 */
#include <stdio.h>
#include <string.h>

#include "common/number.h"
#include "dd/dd.h"

#define MAX_BS (64u << 20)

struct option_entry {
	const char *name;
	const char *arg; /* NULL: it has none */
	const char *help;
	bool (*set)(struct dd_options *o, const char *text);
};

/* ---- each option ---- */

static bool set_from(struct dd_options *o, const char *text)
{
	o->from = text;
	return true;
}

static bool set_to(struct dd_options *o, const char *text)
{
	o->to = text;
	return true;
}

static bool set_config(struct dd_options *o, const char *text)
{
	o->config = text;
	return true;
}

static bool set_bs(struct dd_options *o, const char *text)
{
	uint64_t bytes;

	if (!tool_parse_size(text, &bytes, NULL) || bytes == 0 || bytes > MAX_BS) {
		return false;
	}
	o->bs = (uint32_t)bytes;
	return true;
}

static bool set_amount(const char *text, struct dd_amount *amount)
{
	amount->is_given = tool_parse_size(text, &amount->number, &amount->is_bytes);
	return amount->is_given;
}

static bool set_count(struct dd_options *o, const char *text)
{
	return set_amount(text, &o->count);
}

static bool set_skip(struct dd_options *o, const char *text)
{
	return set_amount(text, &o->skip);
}

static bool set_seek(struct dd_options *o, const char *text)
{
	return set_amount(text, &o->seek);
}

static bool set_iodepth(struct dd_options *o, const char *text)
{
	uint64_t number;

	if (!tool_parse_number(text, 1, DD_MAX_DEPTH, &number)) {
		return false;
	}
	o->depth = (uint32_t)number;
	return true;
}

static bool set_choice(const char *text, const char *const *names, uint32_t count, uint32_t *ret)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static bool set_sparse(struct dd_options *o, const char *text)
{
	static const char *const names[] = {[DD_SPARSE_NO] = "no",
		[DD_SPARSE_ZEROES] = "zeroes",
		[DD_SPARSE_DISCARD] = "discard"};
	uint32_t choice = 0;
	bool is_known = set_choice(text, names, 3, &choice);

	o->sparse = (enum dd_sparse)choice;
	return is_known;
}

static bool set_tail(struct dd_options *o, const char *text)
{
	static const char *const names[] = {
		[DD_TAIL_REFUSE] = "refuse", [DD_TAIL_ZERO] = "zero", [DD_TAIL_KEEP] = "keep"};
	uint32_t choice = 0;
	bool is_known = set_choice(text, names, 3, &choice);

	o->tail = (enum dd_tail)choice;
	return is_known;
}

static bool set_verify(struct dd_options *o, const char *text)
{
	o->must_verify = true;
	return true;
}

static bool set_no_flush(struct dd_options *o, const char *text)
{
	o->must_not_flush = true;
	return true;
}

static bool set_no_truncate(struct dd_options *o, const char *text)
{
	o->must_not_truncate = true;
	return true;
}

static bool set_reactors(struct dd_options *o, const char *text)
{
	uint64_t number;

	if (!tool_parse_number(text, 1, 64, &number)) {
		return false;
	}
	o->library.nr_reactors = (uint32_t)number;
	return true;
}

static bool set_quiet(struct dd_options *o, const char *text)
{
	o->is_quiet = true;
	return true;
}

static const struct option_entry entries[] = {
	{"from", "SOURCE", "device, file or - for standard input; also if=", set_from},
	{"to", "TARGET", "device, file or - for standard output; also of=", set_to},
	{"if", "SOURCE", "the same as --from", set_from},
	{"of", "TARGET", "the same as --to", set_to},
	{"config", "FILE", "make the devices of a configuration first", set_config},
	{"bs", "SIZE", "bytes of a chunk, a multiple of the devices' blocks (1MiB)", set_bs},
	{"count", "AMOUNT", "how much to copy (all of the source)", set_count},
	{"skip", "AMOUNT", "how much of the source to pass over (0)", set_skip},
	{"seek", "AMOUNT", "how much of the target to pass over (0)", set_seek},
	{"iodepth", "N", "chunks in flight (8)", set_iodepth},
	{"sparse", "HOW",
		"chunks of zeroes: no: write them; zeroes: write zeroes without\n"
		"                     data; discard: free their space (no)",
		set_sparse},
	{"tail", "HOW",
		"a last part that fills no block: refuse; zero: fill it up with zeroes;\n"
		"                     keep: with what the target has there (refuse)",
		set_tail},
	{"verify", NULL, "read the target back in the end and compare", set_verify},
	{"no-flush", NULL, "do not make the target durable in the end", set_no_flush},
	{"no-truncate", NULL, "leave what a target file has behind the copy", set_no_truncate},
	{"reactors", "N", "threads of the library (1)", set_reactors},
	{"quiet", NULL, "say nothing but errors", set_quiet},
	{"version", NULL, "print the version", NULL},
	{"help", NULL, "print this", NULL},
};
#define NR_ENTRIES (sizeof(entries) / sizeof(entries[0]))

static void print_help(void)
{
	puts("usage: xbdev-dd from=SOURCE to=TARGET [option...]\n"
	     "Copies between block devices of libxbdev, files and pipes.\n"
	     "Options are written name=value, --name value or --name=value.\n"
	     "SOURCE, TARGET: a device of the configuration, malloc:512MiB, null:1TiB, file:PATH,\n"
	     "or the path of a file. AMOUNT: a number of chunks of bs, or with a unit (4096B, 1G) "
	     "of bytes.\n");
	for (size_t i = 0; i < NR_ENTRIES; i++) {
		char name[40];

		snprintf(name, sizeof(name), "--%s%s%s", entries[i].name,
			entries[i].arg != NULL ? " " : "",
			entries[i].arg != NULL ? entries[i].arg : "");
		printf("  %-18s %s\n", name, entries[i].help);
	}
	puts("\nexit status: 0 copied, 1 nothing was done, 2 wrong command line, 3 copied in "
	     "part,\n"
	     "4 the target holds something else, 130 interrupted");
}

/* ---- all together ---- */

bool dd_amount_bytes(
	const struct dd_options *o, const struct dd_amount *amount, uint64_t *ret_bytes)
{
	uint64_t unit = amount->is_bytes ? 1 : o->bs;

	if (amount->number > INT64_MAX / unit) {
		return false;
	}
	*ret_bytes = amount->number * unit;
	return true;
}

static const struct option_entry *find(const char *name, size_t len)
{
	for (size_t i = 0; i < NR_ENTRIES; i++) {
		if (strlen(entries[i].name) == len && strncmp(entries[i].name, name, len) == 0) {
			return &entries[i];
		}
	}
	return NULL;
}

/* Reads the option at argv[*at] and moves on behind it. */
static bool parse_one(struct dd_options *o, char **argv, int *at, int *ret_exit)
{
	const char *word = argv[(*at)++];
	bool is_long = strncmp(word, "--", 2) == 0;
	const char *name = is_long ? word + 2 : word;
	const char *equals = strchr(name, '='), *text = equals != NULL ? equals + 1 : NULL;
	const struct option_entry *entry =
		find(name, equals != NULL ? (size_t)(equals - name) : strlen(name));

	if (strcmp(word, "-h") == 0) {
		entry = find("help", 4);
	} else if (entry == NULL || (!is_long && equals == NULL)) {
		tool_say("'%s' is no option; see --help", word);
		return false;
	}
	if (entry->arg != NULL && text == NULL) {
		text = argv[*at];
		if (text == NULL) {
			tool_say("%s needs a value", word);
			return false;
		}
		(*at)++;
	} else if (entry->arg == NULL && text != NULL) {
		tool_say("%.*s takes no value", (int)(equals - word), word);
		return false;
	}
	if (entry->set == NULL) {
		if (entry->name[0] == 'h') {
			print_help();
		} else {
			printf("xbdev-dd %s\n", xbdev_version());
		}
		*ret_exit = TOOL_OK;
		return false;
	}
	if (!entry->set(o, text)) {
		tool_say("%s: '%s' is not possible; see --help", entry->name, text);
		return false;
	}
	return true;
}

bool dd_options_parse(struct dd_options *o, int argc, char **argv, int *ret_exit)
{
	*o = (struct dd_options){.bs = 1u << 20, .depth = 8};
	*ret_exit = TOOL_USAGE;
	for (int at = 1; at < argc;) {
		if (!parse_one(o, argv, &at, ret_exit)) {
			return false;
		}
	}
	if (o->from == NULL || o->to == NULL) {
		tool_say("%s is missing; see --help", o->from == NULL ? "from=" : "to=");
		return false;
	}
	return true;
}

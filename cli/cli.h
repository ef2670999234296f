/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the commands of xsan share. A command is an entry of a table: its words, options and help
 * are data, from which parsing, --help, completion and the test of the man page are made. A group
 * of commands is one file, which the one table of commands.c lists.
 */
#ifndef XSAN_CLI_H
#define XSAN_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct registry;

/* Exit codes; xsan(1). */
enum cli_exit {
	CLI_OK = 0,
	CLI_REFUSED = 1,     /* the node or registry said no, or the output could not be written */
	CLI_USAGE = 2,       /* the command line is wrong */
	CLI_UNREACHABLE = 3, /* no node answers at the socket, no registry at its address */
};

/* What a word of the command line stands for, so that a shell can complete it. */
enum cli_words {
	CLI_ANYTHING,
	CLI_DEVICES,
	CLI_ARRAYS,
	CLI_STORES,
	CLI_VOLUMES,   /* snapshots too */
	CLI_SNAPSHOTS, /* read-only volumes */
	CLI_SUBSYSTEMS,
	CLI_METHODS,
	CLI_FILES,
	CLI_DRIVERS,
	CLI_PARAMETERS, /* name=value of the driver that is the first word */
	CLI_COMMANDS,
	CLI_TARGETS,  /* of a registry */
	CLI_METRICS,  /* name=value of a report to a registry */
	CLI_SETTINGS, /* name=value of what a registry wants of a target */
};

struct cli_arg {
	const char *name;           /* as help writes it: "DEVICE"; NULL ends a table */
	const char *help;           /* half a sentence */
	enum cli_words words;       /* what it is one of, */
	const char *const *choices; /* or the texts that are accepted, ends with NULL */
	bool is_optional;           /* so are all after it */
	bool is_repeated;           /* the last one: as many as there are */
};

struct cli_option {
	const char *name;           /* "interval" for --interval; NULL ends a table */
	char letter;                /* 'i' for -i, or 0 */
	const char *value;          /* as help writes it: "SECONDS"; NULL: it takes none */
	const char *help;           /* half a sentence */
	enum cli_words words;       /* as for arguments */
	const char *const *choices; /* the same */
};

#define CLI_MAX_OPTIONS 32u /* of one command */
#define CLI_MAX_DEPTH   4u  /* of commands in groups, xsan itself included */

struct cli;

struct cli_command {
	const char *name;
	const char *help;  /* one sentence */
	const char *about; /* what more there is to say, lines of at most 79 columns; or NULL */
	const struct cli_command *const *members; /* a group: ends with NULL. It has none of: */
	const struct cli_arg *args;               /* NULL: it takes none */
	const struct cli_option *options;         /* NULL: only those of all commands */
	void (*more_help)(void);                  /* what --help says at its end, or NULL */
	enum cli_exit (*run)(struct cli *cli);
	bool is_hidden; /* not in help: for our own scripts */
};

/* One run of xsan. */
struct cli {
	/* Options that every command takes. */
	const char *socket; /* NULL: the default */
	bool is_json;
	uint64_t timeout_ms;

	/* The command line: which command, xsan itself first, */
	const struct cli_command *path[CLI_MAX_DEPTH];
	size_t path_len;
	/* its words, and its options in the order of its table (a flag that is given is ""). */
	const char **words;
	size_t nr_words;
	const char *values[CLI_MAX_OPTIONS];
	bool wants_help;
	bool wants_version;

	/* The option that the line ends with although its value is missing, or NULL; whether "--"
	 * was there. For completion. */
	const struct cli_option *pending;
	bool has_no_more_options;

	bool is_quiet; /* says nothing on stderr: for completion */
	struct client *client;
	struct registry *registry; /* registry.h; NULL: not called yet */
};

extern const struct cli_command cli_root; /* commands.c */
extern const struct cli_option cli_common_options[];

/* In the file of their name in cmd/, but cli_methods (rpc.c), cli_complete (completion.c) and
 * cli_help (help.c). */
extern const struct cli_command cli_completion, cli_complete, cli_config, cli_connections,
	cli_device, cli_help, cli_iostat, cli_listener, cli_log, cli_lvs, cli_md, cli_methods,
	cli_namespace, cli_reactors, cli_registry, cli_rpc, cli_snapshot, cli_status, cli_subsystem,
	cli_version, cli_volume;

/* ---- args.c ---- */

#define CLI_DEFAULT_TIMEOUT_MS 120000u

/* Reads the command line into `cli`, which is zeroed but for is_quiet. The words point into argv.
 * CLI_OK, or CLI_USAGE after saying why. cli_args_free() in any case. */
enum cli_exit cli_args_read(struct cli *cli, int argc, const char *const *argv);
/* Whether all that the command needs was given; the same. */
enum cli_exit cli_args_check(const struct cli *cli);
void cli_args_free(struct cli *cli);

/* The command that was asked for. */
const struct cli_command *cli_command(const struct cli *cli);
/* The member of a group with this name; NULL: there is none. */
const struct cli_command *cli_member(const struct cli_command *group, const char *name);
/* The argument that a word of the command is; NULL: there are more words than arguments. */
const struct cli_arg *cli_arg_at(const struct cli_command *command, size_t index);
/* A word by its place; NULL: it was not given. */
const char *cli_word(const struct cli *cli, size_t index);
/* The value of an option of the command; NULL: it was not given. */
const char *cli_option(const struct cli *cli, const char *name);

/* Says on stderr what is wrong with the command line, and where its help is. */
enum cli_exit cli_usage(const struct cli *cli, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Says something on stderr, as "xsan: sentence"; what is not printable is shown as '?'. */
void cli_say(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints a line on stdout, cleaned in the same way. */
void cli_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Reads a whole number, or says what is accepted; `what` names it in the sentence. */
enum cli_exit cli_parse_u64(const struct cli *cli, const char *what, const char *text, uint64_t min,
	uint64_t max, uint64_t *ret_value);
/* The same for seconds with at most three decimals, into milliseconds. */
enum cli_exit cli_parse_seconds(const struct cli *cli, const char *what, const char *text,
	uint64_t min_ms, uint64_t max_ms, uint64_t *ret_ms);

/* ---- help.c ---- */

/* Prints the help of the command at the end of the path. */
void cli_help_print(const struct cli_command *const *path, size_t path_len);
/* "xsan device create" to `text`. */
void cli_path_text(
	const struct cli_command *const *path, size_t path_len, char *text, size_t text_size);

/* ---- call.c ---- */

/* Makes the client of the socket that was asked for, or of the default one; it connects with the
 * first call. CLI_REFUSED: no memory. */
enum cli_exit cli_connect(struct cli *cli);
void cli_disconnect(struct cli *cli);

/*
 * Calls a method of the node; `params` is taken, may be NULL. CLI_OK with a new result, or what
 * xsan is to exit with after saying why: CLI_REFUSED, CLI_UNREACHABLE; the result is NULL then.
 */
enum cli_exit cli_call(struct cli *cli, const char *method, json_t *params, json_t **ret_result);
/* The same for what may take long with a volume, STORE/NAME or UUID: no time limit but a --timeout
 * that is given, and a bar on a terminal. */
enum cli_exit cli_call_long(struct cli *cli, const char *method, json_t *params, const char *volume,
	json_t **ret_result);
/* The same, but what the node refuses is not said: the command can do without. */
enum cli_exit cli_try(struct cli *cli, const char *method, json_t *params, json_t **ret_result);
/* The same where the result says no more than that it is done: prints `fmt` (not with --json, which
 * prints the result). */
enum cli_exit cli_do(struct cli *cli, const char *method, json_t *params, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Prints a value for programs. */
void cli_print_json(const json_t *value);
/* After cli_call(): prints the result, which it takes, unless the call failed; returns `rc`. */
enum cli_exit cli_finish_json(enum cli_exit rc, json_t *result);

#endif

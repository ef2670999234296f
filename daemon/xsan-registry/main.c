/* SPDX-License-Identifier: BSD-3-Clause */
/* xsan-registry: its command line and its signals. The main thread only waits for those, reloads
 * when it is asked to, and looks at the files of the certificate; what there is runs on threads of
 * its own. */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/registry.h"
#include "daemon/xsand/notify.h"
#include "lib/util/crash.h"
#include "lib/util/error.h"

enum { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_BAD_CONFIG = 2, EXIT_NOT_IN_TIME = 3 };

#define STOP_S  30u
#define LOOK_MS 2000 /* from one look at files to the next */

static const char usage[] =
	"usage: xsan-registry [--config FILE] [--data-dir DIR] [--log-level LEVEL]\n"
	"       xsan-registry [--config FILE] --check\n"
	"       xsan-registry --print-default-config | --version | --help\n"
	"\n"
	"Runs the central registry of NVMe-oF targets in the foreground.\n"
	"\n"
	"  -c, --config FILE        configuration, see xsan-registry.json(5); without one the\n"
	"                           registry is for this machine only: REST on 127.0.0.1:8080,\n"
	"                           gRPC on 127.0.0.1:8081, discovery on 127.0.0.1:8009, data "
	"under ./var/registry\n"
	"  -d, --data-dir DIR       where the data is kept, whatever the configuration says\n"
	"      --listen-port PORT   port of REST, whatever the configuration says; 0: a free one\n"
	"      --grpc-port PORT     port of gRPC, likewise\n"
	"      --discovery-port PORT\n"
	"                           port of the discovery controller, likewise\n"
	"      --log-level LEVEL    fatal, error, warn, info, debug or trace\n"
	"      --check              check the configuration and end\n"
	"      --print-default-config\n"
	"                           print a configuration to begin with\n"
	"      --version            print the version\n"
	"  -h, --help               print this\n"
	"\n"
	"SIGHUP reads the configuration again and opens the log files anew; SIGTERM and SIGINT\n"
	"stop the registry.\n"
	"Exit codes: 0 stopped cleanly; 1 cannot start; 2 wrong usage or configuration;\n"
	"3 not stopped in time, or told twice to stop.\n";

struct options {
	const char *config_path, *data_dir, *log_level;
	long port, grpc_port, central_port; /* -1: as configured */
	bool is_check;
};

static int usage_error(const char *text, const char *what)
{
	fprintf(stderr, "xsan-registry: %s%s\nTry 'xsan-registry --help'.\n", text, what);
	return EXIT_BAD_CONFIG;
}

/* The configuration with what the command line says instead. */
static int read_config(const struct options *opts, struct config **ret_config, struct xu_error *err)
{
	int rc = config_read(opts->config_path, opts->data_dir, ret_config, err);

	if (rc == 0 && opts->log_level != NULL) {
		xu_log_level_parse(opts->log_level, &(*ret_config)->log.level);
	}
	if (rc == 0 && opts->port >= 0) {
		(*ret_config)->http.port = (uint16_t)opts->port;
	}
	if (rc == 0 && opts->grpc_port >= 0) {
		(*ret_config)->grpc_port = (uint16_t)opts->grpc_port;
	}
	if (rc == 0 && opts->central_port >= 0) {
		(*ret_config)->central_port = (uint16_t)opts->central_port;
	}
	return rc;
}

/* As many clients as the configuration allows need as many descriptors. */
static void raise_limits(const struct config *config)
{
	struct rlimit limit;
	rlim_t wanted = config->http.nr_connections_max + config->central_connections_max + 1024;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
		limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The names of a list, for the log. */
static void write_names(json_t *list, char *text, size_t size)
{
	size_t len = 0, i;
	json_t *name;

	snprintf(text, size, "nothing");
	json_array_foreach (list, i, name) {
		if (len < size) {
			len += (size_t)snprintf(text + len, size - len, "%s%s", i != 0 ? ", " : "",
				json_string_value(name));
		}
	}
}

static void log_taken(struct registry *registry, json_t *taken)
{
	json_t *left = json_object_get(taken, "needs_restart");
	char text[1024];

	write_names(json_object_get(taken, "taken"), text, sizeof(text));
	xu_info(registry_log(registry),
		"reloaded: the log files, the rules of alerts%s; changed: %s",
		json_is_true(json_object_get(taken, "new_certificate")) ? ", the certificate" : "",
		text);
	if (json_array_size(left) != 0) {
		write_names(left, text, sizeof(text));
		xu_warn(registry_log(registry), "this takes a restart: %s", text);
	}
}

/* Reads the configuration again, and tells who has asked for it. */
static void reload(struct registry *registry, const struct options *opts)
{
	struct config *config = NULL;
	struct xu_error err = {0};
	json_t *taken = NULL;
	int rc;

	notify_send("RELOADING=1");
	rc = read_config(opts, &config, &err);
	if (rc == 0) {
		rc = registry_reload(registry, config, &taken, &err);
	}
	if (rc == 0) {
		log_taken(registry, taken);
		notify_send("READY=1\nSTATUS=reloaded");
	} else {
		xu_err(registry_log(registry), "not reloaded, nothing was changed: %s", err.text);
		notify_send("READY=1\nSTATUS=not reloaded, see the log");
	}
	registry_answer_reloads(registry, taken, &err);
	json_decref(taken);
	config_free(config);
}

/* A second signal, or a stop that takes too long, ends it at once. */
static void on_impatience(int number)
{
	_exit(EXIT_NOT_IN_TIME);
}

/* Waits for a signal or for somebody who wants a reload, and looks at files meanwhile; returns the
 * signal, 0: it was none. */
static int wait_once(struct registry *registry, int signals)
{
	struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
		{.fd = registry_reload_fd(registry), .events = POLLIN}};
	struct signalfd_siginfo info;
	eventfd_t count;

	if (poll(fds, 2, LOOK_MS) <= 0) {
		registry_look_at_files(registry);
		registry_look_at_lead(registry);
		return 0;
	}
	if ((fds[0].revents & POLLIN) != 0 && read(signals, &info, sizeof(info)) == sizeof(info)) {
		return (int)info.ssi_signo;
	}
	return eventfd_read(fds[1].fd, &count) == 0 ? SIGHUP : 0;
}

static void wait_for_signals(
	struct registry *registry, const struct options *opts, const sigset_t *set)
{
	int signals = signalfd(-1, set, SFD_CLOEXEC), number = 0;
	sigset_t others;

	while (number == 0 || number == SIGHUP) {
		if (signals >= 0) {
			number = wait_once(registry, signals);
		} else { /* no descriptor is left: then it is the signals that count */
			sigwait(set, &number);
		}
		if (number == SIGHUP) {
			reload(registry, opts);
		}
	}
	if (signals >= 0) {
		close(signals);
	}
	xu_info(registry_log(registry), "stopping: %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
	notify_send("STOPPING=1");
	signal(SIGTERM, on_impatience);
	signal(SIGINT, on_impatience);
	signal(SIGALRM, on_impatience);
	sigemptyset(&others);
	pthread_sigmask(SIG_SETMASK, &others, NULL);
	alarm(STOP_S);
}

static int run(const struct options *opts)
{
	struct registry *registry;
	struct config *config;
	struct xu_error err;
	sigset_t set;

	if (read_config(opts, &config, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_BAD_CONFIG;
	}
	if (opts->is_check) {
		printf("%s: good\n", opts->config_path != NULL ? opts->config_path
							       : "the default configuration");
		config_free(config);
		return EXIT_CLEAN;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	raise_limits(config);
	if (registry_start(config, &registry, &err) != 0) {
		fprintf(stderr, "xsan-registry: %s\n", err.text);
		config_free(config);
		return EXIT_FAILED;
	}
	notify_send("READY=1\nSTATUS=REST on port %u", registry_port(registry));
	wait_for_signals(registry, opts, &set);
	registry_stop(registry);
	config_free(config);
	return EXIT_CLEAN;
}

enum {
	OPT_CHECK = 256,
	OPT_LOG_LEVEL,
	OPT_DEFAULT,
	OPT_VERSION,
	OPT_PORT,
	OPT_GRPC_PORT,
	OPT_DISCOVERY_PORT
};

/* False: it is no port. */
static bool parse_port(const char *text, long *ret_port)
{
	char *end;

	*ret_port = strtol(text, &end, 10);
	return *end == '\0' && end != text && *ret_port >= 0 && *ret_port <= UINT16_MAX;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"data-dir", required_argument, NULL, 'd'},
		{"listen-port", required_argument, NULL, OPT_PORT},
		{"grpc-port", required_argument, NULL, OPT_GRPC_PORT},
		{"discovery-port", required_argument, NULL, OPT_DISCOVERY_PORT},
		{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
		{"check", no_argument, NULL, OPT_CHECK},
		{"print-default-config", no_argument, NULL, OPT_DEFAULT},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options opts = {.port = -1, .grpc_port = -1, .central_port = -1};
	enum xu_log_level level;
	int option;

	xu_crash_report("xsan-registry");
	while ((option = getopt_long(argc, argv, "c:d:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			opts.config_path = optarg;
			break;
		case 'd':
			opts.data_dir = optarg;
			break;
		case OPT_PORT:
			if (!parse_port(optarg, &opts.port)) {
				return usage_error("--listen-port takes 0 to 65535, not ", optarg);
			}
			break;
		case OPT_GRPC_PORT:
			if (!parse_port(optarg, &opts.grpc_port)) {
				return usage_error("--grpc-port takes 0 to 65535, not ", optarg);
			}
			break;
		case OPT_DISCOVERY_PORT:
			if (!parse_port(optarg, &opts.central_port)) {
				return usage_error(
					"--discovery-port takes 0 to 65535, not ", optarg);
			}
			break;
		case OPT_LOG_LEVEL:
			opts.log_level = optarg;
			if (xu_log_level_parse(optarg, &level) != 0) {
				return usage_error(
					"--log-level takes fatal, error, warn, info, debug "
					"or trace, not ",
					optarg);
			}
			break;
		case OPT_CHECK:
			opts.is_check = true;
			break;
		case OPT_DEFAULT:
			fputs(config_default_text, stdout);
			return EXIT_CLEAN;
		case OPT_VERSION:
			printf("xsan-registry %s\n", XSAN_VERSION);
			return EXIT_CLEAN;
		case 'h':
			fputs(usage, stdout);
			return EXIT_CLEAN;
		default:
			return usage_error("wrong usage", "");
		}
	}
	if (optind != argc) {
		return usage_error("it takes options only, not ", argv[optind]);
	}
	return run(&opts);
}

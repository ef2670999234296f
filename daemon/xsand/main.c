/* SPDX-License-Identifier: BSD-3-Clause */
/* xsand, the storage node: its command line. What it does is node.c's. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon/xsand/config.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "lib/util/crash.h"
#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xnvmf/host/host.h"

static const char usage[] =
	"usage: xsand --config FILE [--strict] [--log-level LEVEL]\n"
	"       xsand --config FILE --check\n"
	"       xsand --print-default-config | --version | --help\n"
	"\n"
	"Runs an XSAN storage node in the foreground.\n"
	"\n"
	"  -c, --config FILE        configuration, see xsand.json(5)\n"
	"      --check              check the configuration and end\n"
	"      --strict             end when anything of the configuration cannot be made\n"
	"      --log-level LEVEL    fatal, error, warn, info, debug or trace, whatever the\n"
	"                           configuration says\n"
	"      --print-default-config\n"
	"                           print a configuration to begin with\n"
	"      --version            print the version\n"
	"  -h, --help               print this\n"
	"\n"
	"SIGHUP reads the configuration again, SIGTERM and SIGINT stop the node.\n"
	"Exit codes: 0 stopped cleanly; 1 cannot start; 2 wrong usage or configuration;\n"
	"3 not stopped in time, or told twice to stop.\n";

static int usage_error(const char *text, const char *what)
{
	fprintf(stderr, "xsand: %s%s\nTry 'xsand --help'.\n", text, what);
	return EXIT_BAD_CONFIG;
}

/* Checks the file and says what is in it. */
static int check(const char *path)
{
	struct config *config;
	struct xu_error err = {0};

	if (config_read(path, &config, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_BAD_CONFIG;
	}
	printf("%s: good: %zu devices, %zu subsystems\n", path,
		json_object_size(model_devices(config->model)),
		json_object_size(model_subsystems(config->model)));
	config_free(config);
	return EXIT_CLEAN;
}

static int run(const struct node_opts *opts, bool is_check)
{
	enum xu_log_level level;

	if (opts->config_path == NULL) {
		return usage_error("no configuration is given: --config FILE. One to begin with "
				   "is printed by 'xsand --print-default-config'.",
			"");
	}
	if (opts->log_level != NULL && xu_log_level_parse(opts->log_level, &level) != 0) {
		return usage_error("--log-level takes fatal, error, warn, info, debug or trace, "
				   "not ",
			opts->log_level);
	}
	return is_check ? check(opts->config_path) : (int)node_run(opts);
}

enum { OPT_CHECK = 256, OPT_STRICT, OPT_LOG_LEVEL, OPT_DEFAULT, OPT_VERSION, OPT_FOREGROUND };

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, OPT_CHECK},
		{"strict", no_argument, NULL, OPT_STRICT},
		{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
		{"print-default-config", no_argument, NULL, OPT_DEFAULT},
		{"version", no_argument, NULL, OPT_VERSION},
		{"foreground", no_argument, NULL, OPT_FOREGROUND},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct node_opts opts = {0};
	bool is_check = false;
	int option;

	xu_crash_report("xsand");
	xbdev_driver_add(&xnvmf_host_driver);
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			opts.config_path = optarg;
			break;
		case OPT_CHECK:
			is_check = true;
			break;
		case OPT_STRICT:
			opts.is_strict = true;
			break;
		case OPT_LOG_LEVEL:
			opts.log_level = optarg;
			break;
		case OPT_FOREGROUND: /* it always is */
			break;
		case OPT_DEFAULT:
			fputs(config_default_text, stdout);
			return EXIT_CLEAN;
		case OPT_VERSION:
			printf("xsand %s\n", XSAN_VERSION);
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
	return run(&opts, is_check);
}

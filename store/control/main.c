/* SPDX-License-Identifier: BSD-3-Clause
 * bypostd: the command line. */
#include <errno.h>
#include <getopt.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "dataplane/tls/tls.h"
#include "store/control/daemon.h"
#include "store/control/offline.h"
#include "store/control/version.h"

#define CONFIG_DEFAULT "/etc/bypost/bypost.yaml"
#define EXIT_USAGE     2

enum action {
	RUN,
	STORE,
	CHECK_CONFIG,
	PRINT_CONFIG,
	PRINT_DOCS,
	PRINT_VERSION,
	PRINT_HELP,
	USAGE
};

static const char help[] =
	"usage: bypostd [--config FILE]          run in the foreground\n"
	"       bypostd --check-config [FILE]    say whether a configuration is right\n"
	"       bypostd --store ACTION [DIR]     work on a store that is not in use (see bypostctl "
	"store)\n"
	"       bypostd --print-config           print a commented sample configuration\n"
	"       bypostd --print-config-docs      print the description of all keys (Markdown)\n"
	"       bypostd --version | --help\n"
	"options:\n"
	"  --config FILE    configuration (" CONFIG_DEFAULT ")\n"
	"  --ready-fd N     write \"ready\" to this descriptor once the relay works\n"
	"  --foreground     accepted for clarity: bypostd never goes into the background\n"
	"  --discard        for measuring only: mail is answered 250 and thrown away; refused "
	"where the\n"
	"                   store holds mail or accounts\n";

enum option_id {
	OPT_CONFIG = 'c',
	OPT_HELP = 'h',
	OPT_VERSION = 'V',
	OPT_CHECK = 256,
	OPT_PRINT,
	OPT_DOCS,
	OPT_READY,
	OPT_FOREGROUND,
	OPT_DISCARD,
	OPT_MUTANT,
	OPT_STORE,
	OPT_YES
};

static const struct option options[] = {
	{"config",            required_argument, NULL, OPT_CONFIG    },
	{"check-config",      no_argument,       NULL, OPT_CHECK     },
	{"print-config",      no_argument,       NULL, OPT_PRINT     },
	{"print-config-docs", no_argument,       NULL, OPT_DOCS      },
	{"ready-fd",          required_argument, NULL, OPT_READY     },
	{"store",             required_argument, NULL, OPT_STORE     },
	{"yes",               no_argument,       NULL, OPT_YES       },
	{"foreground",        no_argument,       NULL, OPT_FOREGROUND},
	{"discard",           no_argument,       NULL, OPT_DISCARD   },
	{"version",           no_argument,       NULL, OPT_VERSION   },
	{"help",              no_argument,       NULL, OPT_HELP      },
#ifdef BYPOST_MUTANTS
	{"mutant",            required_argument, NULL, OPT_MUTANT    },
#endif
	{NULL,		0,                 NULL, 0             },
};

/* Ways to break the daemon on purpose, so that the tests prove that they would notice. */
static bool set_mutant(struct daemon_options *o, const char *name)
{
	o->mutant_ack_early |= strcmp(name, "ack-early") == 0;
	o->mutant_no_sync |= strcmp(name, "no-sync") == 0;
	return o->mutant_ack_early || o->mutant_no_sync;
}

static bool set_ready_fd(struct daemon_options *o, const char *text)
{
	uint64_t fd;

	if (bytes_to_u64(bytes_str(text), &fd) < 0 || fd > INT32_MAX)
		return false;
	o->ready_fd = (int)fd;
	return true;
}

static enum action parse_arguments(
	int argc, char **argv, struct daemon_options *o, struct offline *store)
{
	enum action action = RUN;

	for (int c; (c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1;) {
		bool ok = true;
		switch (c) {
		case OPT_CONFIG:
			o->config_path = optarg;
			break;
		case OPT_CHECK:
			action = CHECK_CONFIG;
			break;
		case OPT_PRINT:
			action = PRINT_CONFIG;
			break;
		case OPT_DOCS:
			action = PRINT_DOCS;
			break;
		case OPT_VERSION:
			action = PRINT_VERSION;
			break;
		case OPT_HELP:
			action = PRINT_HELP;
			break;
		case OPT_FOREGROUND:
			break;
		case OPT_DISCARD:
			o->discard = true;
			break;
		case OPT_STORE:
			action = STORE;
			store->action = optarg;
			break;
		case OPT_YES:
			store->yes = true;
			break;
		case OPT_READY:
			ok = set_ready_fd(o, optarg);
			break;
		case OPT_MUTANT:
			ok = set_mutant(o, optarg);
			break;
		default:
			ok = false;
		}
		if (!ok)
			return USAGE;
	}
	if (action == CHECK_CONFIG && optind + 1 == argc)
		o->config_path = argv[optind++];
	if (action == STORE && optind + 1 == argc)
		store->directory = argv[optind++];
	store->config_path = o->config_path;
	return optind == argc ? action : USAGE;
}

static void notify_systemd(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(to.sun_path))
		return;
	strcpy(to.sun_path, path);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&to, n) < 0)
		log_warn("control", "cannot tell the service manager: %s", strerror(errno));
	close(fd);
}

static void tell_ready(const struct daemon *d)
{
	log_info("control", "ready version=%s hostname=%s cores=%u", BYPOST_VERSION,
		d->config->root.node.hostname, d->core_count);
	notify_systemd();
	if (d->options.ready_fd < 0)
		return;
	if (write(d->options.ready_fd, "ready\n", 6) < 0)
		log_warn("control", "cannot write to --ready-fd: %s", strerror(errno));
	close(d->options.ready_fd);
}

static int run(const struct daemon_options *o)
{
	static struct daemon d;
	char error[512];

	(void)tls_memory_init(); /* before anything of OpenSSL */
	d.options = *o;
	d.log_file = -1;
	if (config_load(o->config_path, &d.config, error, sizeof(error)) < 0) {
		fprintf(stderr, "bypostd: %s\n", error);
		return EXIT_FAILURE;
	}
	int err = daemon_start(&d, error, sizeof(error));
	if (err == 0) {
		tell_ready(&d);
		loop_run(&d);
	}
	daemon_stop(&d);
	config_destroy(&d.config);
	if (err < 0)
		fprintf(stderr, "bypostd: %s\n", error);
	else
		log_info("control", "stopped");
	return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int check_config(const char *path)
{
	const struct config *config;
	char error[512];

	if (config_load(path, &config, error, sizeof(error)) < 0) {
		fprintf(stderr, "bypostd: %s\n", error);
		return EXIT_FAILURE;
	}
	config_destroy(&config);
	puts("ok");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct daemon_options o = {.config_path = CONFIG_DEFAULT, .ready_fd = -1};

	struct offline store = {0};

	switch (parse_arguments(argc, argv, &o, &store)) {
	case RUN:
		return run(&o);
	case STORE:
		return offline_run(&store);
	case CHECK_CONFIG:
		return check_config(o.config_path);
	case PRINT_CONFIG:
		config_print_sample(stdout);
		return EXIT_SUCCESS;
	case PRINT_DOCS:
		config_print_docs(stdout);
		return EXIT_SUCCESS;
	case PRINT_VERSION:
		puts("bypostd " BYPOST_VERSION);
		return EXIT_SUCCESS;
	case PRINT_HELP:
		fputs(help, stdout);
		return EXIT_SUCCESS;
	default:
		fputs(help, stderr);
		return EXIT_USAGE;
	}
}

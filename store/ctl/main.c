/* SPDX-License-Identifier: BSD-3-Clause
 * bypostctl: words, options and help, all from one table. */
#include <getopt.h>
#include "store/ctl/ctl.h"

#define FILTER     (CTL_OPT_DOMAIN | CTL_OPT_SENDER | CTL_OPT_RECIPIENT | CTL_OPT_OLDER)
#define TCP_FILTER (CTL_OPT_STATE | CTL_OPT_PEER | CTL_OPT_PORT)
#define TRACE_OPTIONS                                                                              \
	(CTL_OPT_PCAP | CTL_OPT_PEER | CTL_OPT_CONN | CTL_OPT_SECONDS | CTL_OPT_PACKETS |          \
		CTL_OPT_SNAP)
#define MATCHES (FILTER | CTL_OPT_ALL | CTL_OPT_YES)

/* clang-format off */
static const struct ctl_command commands[] = {
	{"status", NULL, "", "how the relay is doing, on one screen",
		0, 0, 0, ctl_status},
	{"reload", NULL, "", "read the certificates again; sessions go on",
		0, 0, 0, ctl_reload},
	{"counters", NULL, "[--threads]", "all counters, summed or per thread",
		0, 0, CTL_OPT_THREADS, ctl_counters},
	{"queue", "list", "[FILTER] [--limit N] [--from ID]", "messages that wait, with reason and next try",
		0, 0, FILTER | CTL_OPT_LIMIT | CTL_OPT_FROM, ctl_queue_list},
	{"queue", "show", "ID", "one message with its recipients",
		1, 1, 0, ctl_queue_show},
	{"queue", "why", "ID", "why each recipient of a message does not move",
		1, 1, 0, ctl_queue_why},
	{"queue", "domains", "[--limit N]", "where mail waits to go, and what each place is doing",
		0, 0, CTL_OPT_LIMIT, ctl_queue_domains},
	{"queue", "retry", "ID | FILTER | --all", "try now",
		0, 1, MATCHES, ctl_queue_retry},
	{"queue", "hold", "ID | FILTER | --all", "stop trying until released",
		0, 1, MATCHES, ctl_queue_hold},
	{"queue", "release", "ID | FILTER | --all", "let held messages go",
		0, 1, MATCHES, ctl_queue_release},
	{"queue", "delete", "ID | FILTER | --all --yes", "drop without a report to the sender",
		0, 1, MATCHES, ctl_queue_delete},
	{"queue", "bounce", "ID | FILTER | --all", "give up and report to the sender",
		0, 1, MATCHES, ctl_queue_bounce},
	{"queue", "priority", "LEVEL ID | FILTER | --all", "urgent, normal, bulk, or 9 to 0 (-- -9)",
		1, 2, MATCHES, ctl_queue_priority},
	{"user", "quota", "ADDRESS SIZE|none|default [--messages N]", "limit of a mailbox",
		2, 2, CTL_OPT_MESSAGES, ctl_user_quota},
	{"user", "disable", "ADDRESS", "no login and no mail until enabled",
		1, 1, 0, ctl_user_disable},
	{"user", "enable", "ADDRESS", "",
		1, 1, 0, ctl_user_enable},
	{"alias", "set", "ADDRESS|@DOMAIN TARGET...", "make an alias or a catch-all, or change it",
		2, 101, 0, ctl_alias_set},
	{"alias", "delete", "ADDRESS|@DOMAIN", "",
		1, 1, 0, ctl_alias_delete},
	{"alias", "list", "", "aliases and what they stand for",
		0, 0, 0, ctl_alias_list},
	{"domain", "add", "DOMAIN", "make a domain local",
		1, 1, 0, ctl_domain_add},
	{"domain", "delete", "DOMAIN", "its mailboxes stay, without mail",
		1, 1, 0, ctl_domain_delete},
	{"domain", "list", "", "local domains",
		0, 0, 0, ctl_domain_list},
	{"user", "add", "ADDRESS", "make a mailbox; password on standard input",
		1, 1, 0, ctl_user_add},
	{"user", "passwd", "ADDRESS", "change a password; from standard input",
		1, 1, 0, ctl_user_passwd},
	{"user", "delete", "ADDRESS --yes", "remove a mailbox and its mail",
		1, 1, CTL_OPT_YES, ctl_user_delete},
	{"user", "list", "", "mailboxes with their size",
		0, 0, 0, ctl_user_list},
	{"net", NULL, "", "ports, cores, rings and pools on one screen",
		0, 0, 0, ctl_net},
	{"net", "ports", "", "the ports and what went through them",
		0, 0, 0, ctl_net_ports},
	{"net", "cores", "", "polling cores: laps, load, longest lap and its stage",
		0, 0, 0, ctl_net_cores},
	{"net", "rings", "", "rings between threads: depth, most ever, drops",
		0, 0, 0, ctl_net_rings},
	{"net", "pools", "", "memory pools",
		0, 0, 0, ctl_net_pools},
	{"net", "neighbours", "", "ARP and NDP entries of each core",
		0, 0, 0, ctl_net_neighbours},
	{"net", "routes", "", "networks and routers",
		0, 0, 0, ctl_net_routes},
	{"tcp", NULL, "", "the stack's counters, states and rates",
		0, 0, 0, ctl_tcp},
	{"tcp", "list", "[--state S] [--peer NET] [--port N] [--sort KEY] [--limit N]", "connections",
		0, 0, TCP_FILTER | CTL_OPT_SORT | CTL_OPT_LIMIT, ctl_tcp_list},
	{"tcp", "show", "ID", "everything about one connection",
		1, 1, 0, ctl_tcp_show},
	{"trace", NULL, "--pcap FILE --peer NET | --conn ID [--seconds N] [--packets N] [--snap N]",
		"frames of a peer or a connection into a file",
		0, 0, TRACE_OPTIONS, ctl_trace},
	{"top", NULL, "[--once] [--interval S] [--view NAME]", "live dashboard; --once prints it once",
		0, 0, CTL_OPT_ONCE | CTL_OPT_INTERVAL | CTL_OPT_VIEW, ctl_top},
	{"why", NULL, "[--limit N]", "what keeps mail from being accepted or moving, by count",
		0, 0, CTL_OPT_LIMIT, ctl_why},
	{"store", "stat", "", "what the store's file holds",
		0, 0, 0, ctl_store_stat},
	{"store", "check", "[--repair]", "look over everything; --repair: bypostd must be down",
		0, 0, CTL_OPT_REPAIR, ctl_store_check},
	{"store", "backup", "DIRECTORY [--limit OCTETS]", "copy the store, in use or not",
		1, 1, CTL_OPT_LIMIT, ctl_store_backup},
	{"store", "restore", "DIRECTORY [--yes]", "make a copy the store; bypostd must be down",
		1, 1, CTL_OPT_YES, ctl_store_restore},
	{"store", "compact", "", "write the file anew; bypostd must be down",
		0, 0, 0, ctl_store_compact},
};
/* clang-format on */

enum {
	OPT_HELP = 'h',
	OPT_SOCKET = 256,
	OPT_JSON,
	OPT_VERSION,
	OPT_CONFIG,
	OPT_OF_COMMAND = 1 << 28
};

static const struct option options[] = {
	{"help",      no_argument,       NULL, OPT_HELP                          },
	{"version",   no_argument,       NULL, OPT_VERSION                       },
	{"socket",    required_argument, NULL, OPT_SOCKET                        },
	{"config",    required_argument, NULL, OPT_CONFIG                        },
	{"json",      no_argument,       NULL, OPT_JSON                          },
	{"domain",    required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_DOMAIN   },
	{"sender",    required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_SENDER   },
	{"limit",     required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_LIMIT    },
	{"from",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_FROM     },
	{"all",       no_argument,       NULL, OPT_OF_COMMAND | CTL_OPT_ALL      },
	{"yes",       no_argument,       NULL, OPT_OF_COMMAND | CTL_OPT_YES      },
	{"recipient", required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_RECIPIENT},
	{"older",     required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_OLDER    },
	{"messages",  required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_MESSAGES },
	{"repair",    no_argument,       NULL, OPT_OF_COMMAND | CTL_OPT_REPAIR   },
	{"threads",   no_argument,       NULL, OPT_OF_COMMAND | CTL_OPT_THREADS  },
	{"state",     required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_STATE    },
	{"peer",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_PEER     },
	{"port",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_PORT     },
	{"sort",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_SORT     },
	{"conn",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_CONN     },
	{"pcap",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_PCAP     },
	{"seconds",   required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_SECONDS  },
	{"packets",   required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_PACKETS  },
	{"snap",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_SNAP     },
	{"once",      no_argument,       NULL, OPT_OF_COMMAND | CTL_OPT_ONCE     },
	{"interval",  required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_INTERVAL },
	{"view",      required_argument, NULL, OPT_OF_COMMAND | CTL_OPT_VIEW     },
	{NULL,        0,                 NULL, 0				 },
};

static void help_print(FILE *out, const char *noun)
{
	fputs("usage: bypostctl [--socket PATH] [--json] COMMAND ...\n\n", out);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct ctl_command *c = &commands[i];
		char words[96];
		if (noun && strcmp(noun, c->noun) != 0)
			continue;
		snprintf(words, sizeof(words), "%s%s%s%s%s", c->noun, c->verb ? " " : "",
			c->verb ? c->verb : "", c->args[0] ? " " : "", c->args);
		fprintf(out, "  %-46s", words);
		if (strlen(words) > 46)
			fprintf(out, "\n  %46s", "");
		fprintf(out, " %s\n", c->help);
	}
	fputs("\nFILTER is one or more of --recipient ADDRESS, --domain DOMAIN (of a recipient),\n"
	      "--sender ADDRESS and --older TIME (4h).  Words may be\n"
	      "shortened as long as they are clear.  The socket is " CTL_SOCKET_DEFAULT ",\n"
	      "BYPOST_SOCKET or --socket.  When no bypostd answers, store commands run one on the\n"
	      "store itself, with its configuration (--config FILE).  Exit status: 0 done, 1 "
	      "error, 2 usage, 3 nothing "
	      "matched.\n",
		out);
}

/* The noun or verb that a word means: itself, or the only one it begins.  NULL: none or several. */
static const char *word_find(const char *noun, const char *word, bool *several_r)
{
	const char *found = NULL;

	*several_r = false;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const char *name = noun ? commands[i].verb : commands[i].noun;
		if (!name || (noun && strcmp(commands[i].noun, noun) != 0))
			continue;
		if (strcmp(name, word) == 0)
			return name;
		if (strncmp(name, word, strlen(word)) != 0 || (found && strcmp(found, name) == 0))
			continue;
		*several_r |= found != NULL;
		found = name;
	}
	return *several_r ? NULL : found;
}

/* verb NULL: the noun alone. */
static const struct ctl_command *command_get(const char *noun, const char *verb)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct ctl_command *c = &commands[i];
		if (strcmp(c->noun, noun) == 0 &&
			(verb ? c->verb && strcmp(c->verb, verb) == 0 : !c->verb))
			return c;
	}
	return NULL;
}

static bool has_verbs(const char *noun)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].noun, noun) == 0 && commands[i].verb)
			return true;
	}
	return false;
}

static const struct ctl_command *command_find(char **words, int n, int *used_r)
{
	const char *noun = NULL, *verb = NULL, *wrong = n ? words[0] : NULL;
	bool several = false;

	if (n > 0)
		noun = word_find(NULL, words[0], &several);
	const struct ctl_command *whole = noun ? command_get(noun, NULL) : NULL;
	*used_r = 1;
	if (whole && (n == 1 || !has_verbs(noun)))
		return whole;
	if (noun && n > 1) {
		wrong = words[1];
		verb = word_find(noun, words[1], &several);
	}
	*used_r = 2;
	if (verb)
		return command_get(noun, verb);
	if (noun && n == 1)
		fprintf(stderr, "bypostctl: %s needs a verb\n\n", noun);
	else if (wrong)
		fprintf(stderr, "bypostctl: \"%s\" is %s\n\n", wrong,
			several ? "ambiguous" : "unknown");
	help_print(stderr, noun);
	return NULL;
}

static bool set_number(const char *option, const char *text, uint64_t max, uint64_t *out)
{
	if (bytes_to_u64(bytes_str(text), out) == 0 && *out > 0 && *out <= max)
		return true;
	fprintf(stderr, "bypostctl: --%s must be a number from 1 to %llu\n", option,
		(unsigned long long)max);
	return false;
}

/* "90s", "15m", "4h", "2d". */
static bool set_duration(const char *option, const char *text, uint64_t *ms_r)
{
	static const struct {
		char unit;
		uint64_t ms;
	} units[] = {
		{'s', 1000    },
                {'m', 60000   },
                {'h', 3600000 },
                {'d', 86400000}
        };
	size_t n = strlen(text);

	for (size_t i = 0; n > 1 && n < 10 && i < ARRAY_LEN(units); i++) {
		if (text[n - 1] != units[i].unit ||
			bytes_to_u64(bytes_make(text, n - 1), ms_r) < 0 || *ms_r == 0)
			continue;
		*ms_r *= units[i].ms;
		return true;
	}
	fprintf(stderr, "bypostctl: --%s must be a time like 90s, 15m, 4h or 2d\n", option);
	return false;
}

static bool set_option(struct ctl *c, uint32_t option)
{
	c->given |= option;
	switch (option) {
	case CTL_OPT_DOMAIN:
		c->domain = optarg;
		return true;
	case CTL_OPT_SENDER:
		c->sender = optarg;
		return true;
	case CTL_OPT_FROM:
		c->from = optarg;
		return true;
	case CTL_OPT_RECIPIENT:
		c->recipient = optarg;
		return true;
	case CTL_OPT_OLDER:
		return set_duration("older", optarg, &c->older_ms);
	case CTL_OPT_MESSAGES:
		return set_number("messages", optarg, UINT32_MAX, &c->messages);
	case CTL_OPT_LIMIT:
		return set_number("limit", optarg, INT64_MAX, &c->limit);
	case CTL_OPT_STATE:
		c->state = optarg;
		return true;
	case CTL_OPT_PEER:
		c->peer = optarg;
		return true;
	case CTL_OPT_INTERVAL:
		return set_number("interval", optarg, 3600, &c->interval);
	case CTL_OPT_VIEW:
		c->view = optarg;
		return true;
	case CTL_OPT_CONN:
		c->conn = optarg;
		return true;
	case CTL_OPT_PCAP:
		c->pcap = optarg;
		return true;
	case CTL_OPT_SECONDS:
		return set_number("seconds", optarg, 3600, &c->seconds);
	case CTL_OPT_PACKETS:
		return set_number("packets", optarg, 1000000, &c->packets);
	case CTL_OPT_SNAP:
		return set_number("snap", optarg, 16384, &c->snap);
	case CTL_OPT_SORT:
		c->sort = optarg;
		return true;
	case CTL_OPT_PORT:
		return set_number("port", optarg, UINT16_MAX, &c->port);
	default:
		return true;
	}
}

/* Returns false when the program ends here, with *exit_r. */
static bool parse_options(struct ctl *c, int argc, char **argv, int *exit_r)
{
	*exit_r = CTL_OK;
	for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		if (o == OPT_HELP) {
			help_print(stdout, NULL);
			return false;
		}
		if (o == OPT_VERSION) {
			puts("bypostctl " BYPOST_VERSION);
			return false;
		}
		if (o == OPT_SOCKET)
			c->socket = optarg;
		else if (o == OPT_CONFIG)
			c->config = optarg;
		else if (o == OPT_JSON)
			c->json = true;
		else if (o < OPT_OF_COMMAND || !set_option(c, (uint32_t)(o - OPT_OF_COMMAND))) {
			*exit_r = CTL_USAGE;
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	const char *from_env = getenv("BYPOST_SOCKET");
	struct ctl c = {
		.socket = from_env && from_env[0] ? from_env : CTL_SOCKET_DEFAULT, .fd = -1};
	int exit, used;

	if (!parse_options(&c, argc, argv, &exit))
		return exit;
	const struct ctl_command *command = command_find(argv + optind, argc - optind, &used);
	if (!command)
		return CTL_USAGE;
	int n = argc - optind - used;
	if (n < command->min || n > command->max || c.given & ~command->options) {
		fprintf(stderr, "usage: bypostctl %s%s%s %s\n", command->noun,
			command->verb ? " " : "", command->verb ? command->verb : "",
			command->args);
		return CTL_USAGE;
	}
	exit = command->run(&c, argv + optind + used, n);
	ctl_close(&c);
	if (fflush(stdout) != 0 && exit == CTL_OK)
		exit = CTL_ERROR;
	return exit;
}

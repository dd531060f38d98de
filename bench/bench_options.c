/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bench/bench_options_priv.h"

#define LEDGER_DEFAULT (64u << 20) /* entries: address space for 1.5 GB */
#define SIZE_DEFAULT   1000
#define SINK_SESSIONS  4096
#define SPARE          256 /* connections that are closing */
#define BACKLOG        1024
#define DRAIN_SECONDS  60
#define AGAIN_US       (200 * US_PER_MS)
#define POP3_PORT      110
#define IMAP_PORT      143

static const char usage_text[] =
	"usage: bypost-bench source [OPTION]... [inet:]ADDRESS[:PORT]...\n"
	"       bypost-bench sink [OPTION]... [inet:][ADDRESS]:PORT [BACKLOG]\n"
	"       bypost-bench reader [OPTION]... ADDRESS[:PORT]\n"
	"       bypost-bench match SOURCE.ledger RECEIVED.ledger...\n"
	"source, as smtp-source has them:\n"
	"  -s N  sessions at a time (1)           -m N  messages (1; 0: until --seconds)\n"
	"  -l N  octets of body (1000)            -d    many messages in one connection\n"
	"  -r N  recipients of a message (1)      -N    each recipient has another number\n"
	"  -f A  sender                           -t A  recipient        -c  progress\n"
	"  -M NAME  for EHLO    -F FILE  one message    -L  LMTP    -T N  window    -4  -6\n"
	"  -S TEXT  subject     -w S  pause of a session between messages   -R S  from 0 to that\n"
	"  -C N  gives up after N connections in a row that failed (never)     -A  is so anyway\n"
	"source, of its own:\n"
	"  --seconds S  --warm-up S  --per-connection N  --rate N[,RAMP] (messages/s, open loop)\n"
	"  --size N,N,.. in turn, or lognormal:MEDIAN,SIGMA[,MAX]\n"
	"  --corpus FOLDER|FILE (.eml, in turn)  --domain NAME[:WEIGHT] (may be repeated)\n"
	"  --auth USER:PASSWORD  --auth-mechanism plain|login|scram-sha-256[-plus]  --starttls  "
	"--tls\n"
	"  --bdat never|large|always  --no-pipelining  --hello NAME\n"
	"  --source-ip FIRST[-LAST] (connections in turn)\n"
	"  --hold S (open all sessions, hold them, send nothing)\n"
	"  --sink [ADDRESS]:PORT [--sink-ledger FILE] [--drain S] (be the sink as well)\n"
	"sink, as smtp-sink has them:\n"
	"  -c progress   -h NAME   -m N sessions at most   -M N, -n N ends after messages, "
	"sessions\n"
	"  -r COMMAND,.. refused with 4xx   -f .. with 5xx   -Q .. with 421   -q .. connection "
	"cut\n"
	"  -w S delay of DATA   -W COMMAND:S[:PERCENT] of any   -H S content is read late\n"
	"  -A S  550 instead of reading content, then the end   -b \"4xx TEXT\"  -B \"5xx TEXT\"\n"
	"  -8 -a -e -E -N -p  without 8BITMIME, AUTH, ESMTP, ENHANCEDSTATUSCODES, DSN, PIPELINING\n"
	"  -d TEMPLATE, -D TEMPLATE  messages into a file each, into one   -S TEXT  before each\n"
	"  -t S time-out   -T N window   -L  LMTP   -4  -6   -C -F are so anyway\n"
	"sink, of its own:\n"
	"  --fail STAGE:4xx|5xx|421|drop:PERCENT  --delay STAGE:MS   (may be repeated)\n"
	"        STAGE: connect helo mail rcpt data end\n"
	"  --mutant lose|twice|alter:N  one message in N, to test the proof\n"
	"  --starttls, --tls with --cert FILE --key FILE\n"
	"reader:\n"
	"  --imap | --pop3   -t A  mailbox   -r N  1A 2A ..   --password P   -s N  sessions (-r)\n"
	"  --expect N (stay until so many messages came)  --seconds S  --again MS (POP3)  --tls\n"
	"all:\n"
	"  --ledger FILE (for match)  --json  --note TEXT  --durability TEXT  --cpus LIST\n"
	"  --ledger-max N  --window N (octets, of each connection)\n"
	"  --engine kernel|dpdk; dpdk: --port KIND,DEVICE --address A/P.. [--gateway A] [--mtu N]\n"
	"        [--memory MB] [--idle spin|adaptive] [--eal-extra ARGS]\n";

#define WITH    required_argument, NULL
#define WITHOUT no_argument, NULL

/* clang-format off */
static const struct option long_options[] = {
	{"seconds", WITH, OPT_SECONDS},
	{"warm-up", WITH, OPT_WARM_UP},
	{"per-connection", WITH, OPT_PER_CONNECTION},
	{"rate", WITH, OPT_RATE},
	{"size", WITH, OPT_SIZE},
	{"domain", WITH, OPT_DOMAIN},
	{"hello", WITH, OPT_HELLO},
	{"hold", WITH, OPT_HOLD},
	{"corpus", WITH, OPT_CORPUS},
	{"auth", WITH, OPT_AUTH},
	{"auth-mechanism", WITH, OPT_AUTH_MECHANISM},
	{"bdat", WITH, OPT_BDAT},
	{"no-pipelining", WITHOUT, OPT_NO_PIPELINING},
	{"source-ip", WITH, OPT_SOURCE_IP},
	{"sink", WITH, OPT_SINK},
	{"sink-ledger", WITH, OPT_SINK_LEDGER},
	{"drain", WITH, OPT_DRAIN},
	{"fail", WITH, OPT_FAIL},
	{"delay", WITH, OPT_DELAY},
	{"mutant", WITH, OPT_MUTANT},
	{"cert", WITH, OPT_CERT},
	{"key", WITH, OPT_KEY},
	{"imap", WITHOUT, OPT_IMAP},
	{"pop3", WITHOUT, OPT_POP3},
	{"password", WITH, OPT_PASSWORD},
	{"expect", WITH, OPT_EXPECT},
	{"again", WITH, OPT_AGAIN},
	{"starttls", WITHOUT, OPT_STARTTLS},
	{"tls", WITHOUT, OPT_TLS},
	{"ledger", WITH, OPT_LEDGER},
	{"ledger-max", WITH, OPT_LEDGER_MAX},
	{"json", WITHOUT, OPT_JSON},
	{"note", WITH, OPT_NOTE},
	{"durability", WITH, OPT_DURABILITY},
	{"cpus", WITH, OPT_CPUS},
	{"engine", WITH, OPT_ENGINE},
	{"port", WITH, OPT_PORT},
	{"address", WITH, OPT_ADDRESS},
	{"gateway", WITH, OPT_GATEWAY},
	{"mtu", WITH, OPT_MTU},
	{"window", WITH, OPT_WINDOW},
	{"memory", WITH, OPT_MEMORY},
	{"eal-extra", WITH, OPT_EAL_EXTRA},
	{"idle", WITH, OPT_IDLE},
	{"help", WITHOUT, OPT_HELP},
	{0},
};

static const struct {
	const char *name, *letters;
} modes[] = {
	[BENCH_SOURCE] = {"source", "46s:m:l:dr:Nf:t:cM:F:LT:AC:R:S:w:"},
	[BENCH_SINK] = {"sink", "468aA:b:B:cCd:D:eEf:Fh:H:Lm:M:n:Npq:Q:r:S:t:T:w:W:"},
	[BENCH_READER] = {"reader", "46cs:t:r:T:"},
	[BENCH_MATCH] = {"match", ""},
};
/* clang-format on */

static int common_option(struct bench_options *o, int opt, char *value)
{
	switch (opt) {
	case OPT_STARTTLS:
		o->source.starttls = o->sink.starttls = true;
		return 0;
	case OPT_TLS:
		o->source.tls = o->sink.tls = o->reader.tls = true;
		return 0;
	case OPT_LEDGER:
		o->ledger = value;
		return 0;
	case OPT_LEDGER_MAX:
		return value_whole(value, "entries", 1, UINT32_MAX, &o->ledger_max);
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_NOTE:
		o->note = value;
		return 0;
	case OPT_DURABILITY:
		o->durability = value;
		return 0;
	case 'c':
		o->progress = true;
		return 0;
	case '4':
	case '6':
		o->family = opt - '0';
		return 0;
	default:
		return BENCH_UNKNOWN;
	}
}

/* Whose is it?  A source that is the sink as well has the sink's long ones, too. */
static int one_option(struct bench_options *o, int opt, char *value)
{
	int rc = common_option(o, opt, value);

	if (rc == BENCH_UNKNOWN && o->mode == BENCH_SOURCE)
		rc = source_option(o, opt, value);
	if (rc == BENCH_UNKNOWN && o->mode == BENCH_READER)
		rc = reader_option(o, opt, value);
	if (rc == BENCH_UNKNOWN &&
		(o->mode == BENCH_SINK || (o->mode == BENCH_SOURCE && opt > 255)))
		rc = sink_option(o, opt, value);
	if (rc == BENCH_UNKNOWN)
		rc = engine_option(&o->engine, opt, value);
	if (rc == BENCH_UNKNOWN)
		fprintf(stderr, "bypost-bench: an option is none of %s\n", modes[o->mode].name);
	return rc == 0 ? 0 : -1;
}

static void defaults(struct bench_options *o)
{
	*o = (struct bench_options){
		.ledger_max = LEDGER_DEFAULT, .progress = isatty(2), .drain = DRAIN_SECONDS};
	o->source = (struct source_conf){.sessions = 1,
		.messages = UINT64_MAX, /* not given */
		.per_connection = 1,
		.rcpts = 1,
		.sizes = {SIZE_DEFAULT},
		.size_count = 1,
		.size_max = 128ull << 20,
		.sender = "source@bench.example.org",
		.to_local = "sink",
		.domains = {{"bench.example.net", 1}},
		.domain_count = 1,
		.hello = "source.bench.example.org"};
	o->sink.sessions_max = SINK_SESSIONS;
	snprintf(o->sink.hostname, sizeof(o->sink.hostname), "sink.bench.example.net");
	o->reader = (struct reader_conf){.local = "sink",
		.domain = "bench.example.net",
		.mailboxes = 1,
		.password = "",
		.again_us = AGAIN_US};
	o->engine.backlog = BACKLOG;
}

/* ---- what is left behind the options ---- */

static int take_targets(struct bench_options *o, int n, char **texts)
{
	struct source_conf *c = &o->source;

	if (n > SOURCE_TARGETS_MAX)
		return value_bad("one target more", texts[SOURCE_TARGETS_MAX]);
	for (int i = 0; i < n; i++) {
		if (value_endpoint(texts[i], SMTP_PORT, false, &c->to[i]) < 0)
			return -1;
	}
	c->to_count = (unsigned)n;
	return 0;
}

static int take_rest(struct bench_options *o, int n, char **texts)
{
	uint16_t port = o->reader.imap ? IMAP_PORT : POP3_PORT;
	uint32_t backlog = BACKLOG;

	switch (o->mode) {
	case BENCH_MATCH:
		for (int i = 0; i < n && i < BENCH_LEDGERS_MAX; i++)
			o->ledgers[i] = texts[i];
		o->ledger_count = (unsigned)n;
		return n >= 2 && n <= BENCH_LEDGERS_MAX ? 0 : -1;
	case BENCH_SOURCE:
		return n >= 1 ? take_targets(o, n, texts) : -1;
	case BENCH_READER:
		return n == 1 ? value_endpoint(texts[0], port, false, &o->reader.to) : -1;
	default:
		break;
	}
	if (n == 2 && value_whole32(texts[1], "backlog", 1, UINT16_MAX, &backlog) < 0)
		return -1;
	o->engine.backlog = (int)backlog;
	return n == 1 || n == 2 ? value_endpoint(texts[0], SMTP_PORT, true, &o->sink.at) : -1;
}

/* ---- what does not go together ---- */

static int check_family(const struct bench_options *o)
{
	const struct ip_addr *ip = o->mode == BENCH_SOURCE   ? &o->source.to[0].ip
				   : o->mode == BENCH_READER ? &o->reader.to.ip
							     : &o->sink.at.ip;

	if (o->family && ip_is_v4(ip) != (o->family == 4))
		return value_bad("address of the family asked for by -4 or -6", "that given");
	return 0;
}

static int check_source(struct source_conf *c)
{
	if (c->messages == UINT64_MAX)
		c->messages = c->seconds > 0 || c->hold > 0 ? 0 : 1;
	if (!c->messages && c->seconds <= 0 && c->hold <= 0)
		return value_bad("--seconds, where there is no number of messages,", "0");
	for (unsigned i = 0; i < c->domain_count; i++) {
		if (strlen(c->to_local) + strlen(c->domains[i].name) >= SOURCE_ADDRESS_MAX - 24)
			return value_bad("domain that is short enough", c->domains[i].name);
	}
	return 0;
}

static uint32_t connections_of(const struct bench_options *o)
{
	uint32_t sink = o->mode == BENCH_SINK || o->with_sink ? o->sink.sessions_max : 0;

	return SPARE + sink +
	       (o->mode == BENCH_SOURCE          ? o->source.sessions
		       : o->mode == BENCH_READER ? o->reader.sessions
						 : 0);
}

static int check(struct bench_options *o)
{
	bool sink = o->mode == BENCH_SINK || o->with_sink;

	if (!o->reader.sessions)
		o->reader.sessions = o->reader.mailboxes;
	if (check_source(&o->source) < 0 || check_family(o) < 0)
		return -1;
	if (o->sink.dump_each && o->sink.dump_all)
		return value_bad("-d without -D", o->sink.dump_all);
	if (sink && (o->sink.tls || o->sink.starttls) && (!o->tls_cert || !o->tls_key))
		return value_bad("--cert and --key for TLS", "");
	if (o->engine.dpdk && (!o->engine.port.name[0] || !o->engine.port.address_count))
		return value_bad("--port and --address for --engine dpdk", "");
	o->engine.connections_max = connections_of(o);
	return 0;
}

static int find_mode(const char *name, enum bench_mode *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		if (strcmp(name, modes[i].name) != 0)
			continue;
		*out = (enum bench_mode)i;
		return 0;
	}
	return -1;
}

/* For what is said of its value. */
static void name_option(int opt, int i)
{
	char name[32];

	if (opt > UINT8_MAX)
		snprintf(name, sizeof(name), "--%s", long_options[i].name);
	else
		snprintf(name, sizeof(name), "-%c", opt);
	value_of(name);
}

int bench_options_parse(struct bench_options *o, int argc, char **argv)
{
	bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	int opt, i = 0;

	defaults(o);
	if (argc < 2 || find_mode(argv[1], &o->mode) < 0) {
		fputs(usage_text, help ? stdout : stderr);
		return help ? 1 : -1;
	}
	argc--;
	argv++;
	while ((opt = getopt_long(argc, argv, modes[o->mode].letters, long_options, &i)) != -1) {
		if (opt == OPT_HELP) {
			fputs(usage_text, stdout);
			return 1;
		}
		name_option(opt, i);
		if (opt == '?' || one_option(o, opt, optarg) < 0)
			return -1;
	}
	value_of("");
	if (take_rest(o, argc - optind, argv + optind) < 0) {
		fputs("bypost-bench: --help tells what is wanted\n", stderr);
		return -1;
	}
	return o->mode == BENCH_MATCH ? 0 : check(o);
}

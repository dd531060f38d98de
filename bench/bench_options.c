/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/bench_options.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SMTP_PORT      25
#define SESSIONS_MAX   100000u
#define LEDGER_DEFAULT (64u << 20) /* entries: address space for 1.5 GB */
#define SIZE_DEFAULT   1000
#define SINK_SESSIONS  4096
#define SPARE          256 /* connections that are closing */

static const char usage_text[] =
	"usage: bypost-bench source [OPTION]... [inet:]ADDRESS[:PORT]\n"
	"       bypost-bench sink [OPTION]... [inet:][ADDRESS]:PORT [BACKLOG]\n"
	"       bypost-bench match SOURCE.ledger SINK.ledger\n"
	"source, as smtp-source has them:\n"
	"  -s N  sessions at a time (1)           -m N  messages (1; 0: until --seconds)\n"
	"  -l N  octets of body (1000)            -d    many messages in one connection\n"
	"  -r N  recipients of a message (1)      -N    each recipient has another number\n"
	"  -f A  sender                           -t A  recipient        -c  progress\n"
	"  -L    speak LMTP\n"
	"source, of its own:\n"
	"  --seconds S  --warm-up S  --per-connection N  --rate N[,RAMP] (messages/s, open loop)\n"
	"  --size N,N,.. in turn, or lognormal:MEDIAN,SIGMA[,MAX]\n"
	"  --domain NAME[:WEIGHT] (may be repeated)   --hello NAME   --starttls   --tls\n"
	"sink, as smtp-sink has them:\n"
	"  -c progress   -h NAME   -m N sessions at most   -M N ends after messages   -w S delay "
	"of "
	"DATA\n"
	"  -r COMMAND,.. refused with 4xx   -f COMMAND,.. refused with 5xx\n"
	"sink, of its own:\n"
	"  --fail STAGE:4xx|5xx|drop:PERCENT  --delay STAGE:MS   (may be repeated)\n"
	"        STAGE: connect helo mail rcpt data end\n"
	"  --starttls, --tls with --cert FILE --key FILE\n"
	"both:\n"
	"  --ledger FILE (for match)  --json  --note TEXT  --cpus LIST  --ledger-max N\n"
	"  --engine kernel|dpdk; dpdk: --port KIND,DEVICE --address A/P [--gateway A] [--mtu N]\n"
	"        [--memory MB] [--eal-extra ARGS]\n";

enum long_option {
	OPT_SECONDS = 256,
	OPT_WARM_UP,
	OPT_PER_CONNECTION,
	OPT_RATE,
	OPT_SIZE,
	OPT_DOMAIN,
	OPT_HELLO,
	OPT_STARTTLS,
	OPT_TLS,
	OPT_FAIL,
	OPT_DELAY,
	OPT_MUTANT,
	OPT_CERT,
	OPT_KEY,
	OPT_LEDGER,
	OPT_LEDGER_MAX,
	OPT_JSON,
	OPT_NOTE,
	OPT_CPUS,
	OPT_ENGINE,
	OPT_PORT,
	OPT_ADDRESS,
	OPT_GATEWAY,
	OPT_MTU,
	OPT_MEMORY,
	OPT_EAL_EXTRA,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"seconds",          required_argument, NULL, OPT_SECONDS},
	{"warm-up",              required_argument, NULL, OPT_WARM_UP},
	{"per-connection",                  required_argument, NULL, OPT_PER_CONNECTION},
	{"rate",required_argument, NULL, OPT_RATE},
	{"size",       required_argument, NULL, OPT_SIZE},
	{"domain",   required_argument, NULL, OPT_DOMAIN},
	{"hello",              required_argument, NULL, OPT_HELLO},
	{"starttls",                  no_argument, NULL, OPT_STARTTLS},
	{"tls",              no_argument, NULL, OPT_TLS},
	{"fail",          required_argument, NULL, OPT_FAIL},
	{"delay",             required_argument, NULL, OPT_DELAY},
	{"mutant",              required_argument, NULL, OPT_MUTANT},
	{"cert",		  required_argument, NULL, OPT_CERT},
	{"key",required_argument, NULL, OPT_KEY},
	{"ledger",        required_argument, NULL, OPT_LEDGER},
	{"ledger-max",            required_argument, NULL, OPT_LEDGER_MAX},
	{"json",              no_argument, NULL, OPT_JSON},
	{"note",		  required_argument, NULL, OPT_NOTE},
	{"cpus",required_argument, NULL, OPT_CPUS},
	{"engine",      required_argument, NULL, OPT_ENGINE},
	{"port",              required_argument, NULL, OPT_PORT},
	{"address",              required_argument, NULL, OPT_ADDRESS},
	{"gateway",                  required_argument, NULL, OPT_GATEWAY},
	{"mtu",required_argument, NULL, OPT_MTU},
	{"memory",          required_argument, NULL, OPT_MEMORY},
	{"eal-extra",            required_argument, NULL, OPT_EAL_EXTRA},
	{"help",              no_argument, NULL, OPT_HELP},
	{0		 },
};

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "bypost-bench: %s: \"%s\" is not one\n", what, value);
	return -1;
}

static int number(const char *text, const char *what, double least, double most, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	if (end == text || *end || errno || !(*out >= least && *out <= most))
		return bad(what, text);
	return 0;
}

static int whole(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *out)
{
	struct bytes t = bytes_str(text);

	if (bytes_to_u64(t, out) < 0 || *out < least || *out > most)
		return bad(what, text);
	return 0;
}

/* ---- values with parts ---- */

static int parse_target(struct bench_options *o, const char *text, struct endpoint *out)
{
	const char *at = strncmp(text, "inet:", 5) == 0 ? text + 5 : text;
	const char *colon = strrchr(at, ':'), *bracket = strchr(at, ']');
	struct bytes host = bytes_str(at);
	uint64_t port = SMTP_PORT;

	if (colon && (!bracket || colon > bracket) && (bracket || strchr(at, ':') == colon)) {
		host = bytes_make(at, (size_t)(colon - at));
		if (whole(colon + 1, "port", 1, UINT16_MAX, &port) < 0)
			return -1;
	}
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = bytes_make(host.p + 1, host.n - 2);
	out->port = (uint16_t)port;
	if (host.n == 0 && o->mode == BENCH_SINK) {
		out->ip = ip_from_v4(0);
		return 0;
	}
	if (ip_parse(host, &out->ip) < 0)
		return bad("address", text);
	return 0;
}

static int parse_address(const char *text, char *local, char *domain)
{
	const char *at = strrchr(text, '@');

	if (!at || at == text || !at[1] || strlen(text) >= SOURCE_ADDRESS_MAX - 24)
		return bad("mail address", text);
	snprintf(local, SOURCE_ADDRESS_MAX, "%.*s", (int)(at - text), text);
	snprintf(domain, SOURCE_ADDRESS_MAX, "%s", at + 1);
	return 0;
}

static int parse_domain(struct source_conf *c, char *text)
{
	char *colon = strchr(text, ':');
	uint64_t weight = 1;

	if (c->domain_count == SOURCE_DOMAINS_MAX)
		return bad("one domain more", text);
	if (colon && whole(colon + 1, "weight", 1, UINT32_MAX, &weight) < 0)
		return -1;
	if (colon)
		*colon = '\0';
	snprintf(c->domains[c->domain_count].name, SOURCE_ADDRESS_MAX, "%.*s",
		SOURCE_ADDRESS_MAX - 64, text);
	c->domains[c->domain_count++].weight = (uint32_t)weight;
	return 0;
}

static int parse_lognormal(struct source_conf *c, char *text)
{
	char *median = strtok(text, ","), *sigma = strtok(NULL, ","), *most = strtok(NULL, ",");
	double most_v = (double)c->size_max;

	if (!median || !sigma || number(median, "median", 1, 1e9, &c->lognormal_median) < 0 ||
		number(sigma, "sigma", 0, 10, &c->lognormal_sigma) < 0 ||
		(most && number(most, "largest size", 2, 1e9, &most_v) < 0))
		return -1;
	c->size_max = (uint64_t)most_v;
	return 0;
}

static int parse_sizes(struct source_conf *c, char *text)
{
	if (strncmp(text, "lognormal:", 10) == 0)
		return parse_lognormal(c, text + 10);
	c->size_count = 0;
	for (char *one = strtok(text, ","); one; one = strtok(NULL, ",")) {
		if (c->size_count == SOURCE_SIZES_MAX ||
			whole(one, "size", 2, c->size_max, &c->sizes[c->size_count]) < 0)
			return -1;
		c->size_count++;
	}
	return c->size_count ? 0 : bad("size", text);
}

static int parse_rate(struct source_conf *c, char *text)
{
	char *comma = strchr(text, ',');

	if (comma)
		*comma = '\0';
	if (comma && number(comma + 1, "ramp", 0, 1e6, &c->ramp) < 0)
		return -1;
	return number(text, "rate", 1e-3, 1e9, &c->rate);
}

static int stage_parse(const char *text, enum sink_stage *out)
{
	for (int i = 0; i < SINK_STAGE_N; i++) {
		if (strcasecmp(text, sink_stage_names[i]) == 0) {
			*out = (enum sink_stage)i;
			return 0;
		}
	}
	return bad("stage", text);
}

/* STAGE:4xx|5xx|drop:PERCENT */
static int parse_fail(struct sink_conf *c, char *text)
{
	static const char *const kinds[] = {
		[SINK_4XX] = "4xx", [SINK_5XX] = "5xx", [SINK_DROP] = "drop"};
	char *stage = strtok(text, ":"), *kind = strtok(NULL, ":"), *percent = strtok(NULL, ":");
	enum sink_stage at;
	double value;

	if (!percent)
		return bad("STAGE:KIND:PERCENT", text);
	if (stage_parse(stage, &at) < 0 || number(percent, "percent", 0, 100, &value) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(kind, kinds[i]) == 0) {
			c->fail[at][i] = value / 100;
			return 0;
		}
	}
	return bad("kind of failure", kind);
}

/* smtp-sink's -r and -f: commands that always fail.  "." is the end of data there. */
static int parse_rejects(struct sink_conf *c, char *text, enum sink_failure kind)
{
	enum sink_stage at;

	for (char *one = strtok(text, ","); one; one = strtok(NULL, ",")) {
		if (strcasecmp(one, "ehlo") == 0)
			one = (char *)"helo";
		if (strcmp(one, ".") == 0)
			one = (char *)"end";
		if (stage_parse(one, &at) < 0)
			return -1;
		c->fail[at][kind] = 1;
	}
	return 0;
}

static int parse_delay(struct sink_conf *c, char *text)
{
	char *stage = strtok(text, ":"), *ms = strtok(NULL, ":");
	enum sink_stage at;
	double value;

	if (!ms)
		return bad("STAGE:MS", text);
	if (stage_parse(stage, &at) < 0 || number(ms, "delay", 0, 1e7, &value) < 0)
		return -1;
	c->delay_us[at] = (uint64_t)(value * 1000);
	return 0;
}

/* lose:N, twice:N, alter:N */
static int parse_mutant(struct sink_conf *c, char *text)
{
	char *kind = strtok(text, ":"), *n = strtok(NULL, ":");
	uint64_t value;

	if (!n || whole(n, "number", 1, UINT32_MAX, &value) < 0)
		return bad("KIND:N", text);
	if (strcmp(kind, "lose") == 0)
		c->lose = (uint32_t)value;
	else if (strcmp(kind, "twice") == 0)
		c->twice = (uint32_t)value;
	else if (strcmp(kind, "alter") == 0)
		c->alter = (uint32_t)value;
	else
		return bad("mutant", kind);
	return 0;
}

static int parse_port(struct engine_conf *c, const char *text)
{
	static const struct {
		const char *name;
		enum port_kind kind;
	} kinds[] = {
		{"tap",       PORT_TAP      },
		{"af_packet", PORT_AF_PACKET},
		{"af_xdp",    PORT_AF_XDP   },
		{"memif",     PORT_MEMIF    },
		{"pci",       PORT_PCI      },
	};
	const char *comma = strchr(text, ',');

	snprintf(c->port.name, sizeof(c->port.name), "bench");
	for (unsigned i = 0; comma && i < ARRAY_LEN(kinds); i++) {
		if (strlen(kinds[i].name) == (size_t)(comma - text) &&
			strncmp(text, kinds[i].name, (size_t)(comma - text)) == 0) {
			c->port.kind = kinds[i].kind;
			c->port.discovery = kinds[i].kind != PORT_MEMIF; /* a cable */
			snprintf(c->port.device, sizeof(c->port.device), "%s", comma + 1);
			return 0;
		}
	}
	return bad("port KIND,DEVICE", text);
}

static int parse_host(struct engine_conf *c, const char *text)
{
	const char *slash = strchr(text, '/');
	struct ip_net *out = &c->port.address[c->port.address_count];
	uint64_t prefix;

	if (!slash || c->port.address_count == PORT_ADDRESSES_MAX ||
		ip_parse(bytes_make(text, (size_t)(slash - text)), &out->ip) < 0)
		return bad("address A/PREFIX", text);
	uint64_t most = ip_is_v4(&out->ip) ? 32 : 128;
	if (whole(slash + 1, "prefix", 0, most, &prefix) < 0)
		return -1;
	out->prefix = (uint8_t)(prefix + 128 - most);
	c->port.address_count++;
	return 0;
}

/* ---- one option ---- */

static int source_option(struct bench_options *o, int opt, char *value)
{
	struct source_conf *c = &o->source;
	char domain[SOURCE_ADDRESS_MAX];
	uint64_t n;

	switch (opt) {
	case 's':
		if (whole(value, "sessions", 1, SESSIONS_MAX, &n) < 0)
			return -1;
		c->sessions = (uint32_t)n;
		return 0;
	case 'm':
		return whole(value, "messages", 0, UINT64_MAX / 2, &c->messages);
	case 'l':
		return parse_sizes(c, value);
	case 'd':
		c->per_connection = 0;
		return 0;
	case 'r':
		if (whole(value, "recipients", 1, SOURCE_RCPTS_MAX, &n) < 0)
			return -1;
		c->rcpts = (uint32_t)n;
		return 0;
	case 'N':
		c->number_rcpts = true;
		return 0;
	case 'L':
		c->lmtp = true;
		return 0;
	case 'f':
		snprintf(c->from, sizeof(c->from), "%.*s", SOURCE_ADDRESS_MAX - 24, value);
		return 0;
	case 't':
		c->domain_count = 0;
		return parse_address(value, c->to_local, domain) < 0 ? -1 : parse_domain(c, domain);
	default:
		return -1;
	}
}

static int source_long(struct bench_options *o, int opt, char *value)
{
	struct source_conf *c = &o->source;
	static bool domains_given;
	uint64_t n;

	switch (opt) {
	case OPT_SECONDS:
		return number(value, "seconds", 0, 1e7, &c->seconds);
	case OPT_WARM_UP:
		return number(value, "seconds", 0, 1e7, &c->warm_up);
	case OPT_PER_CONNECTION:
		if (whole(value, "messages", 0, UINT32_MAX, &n) < 0)
			return -1;
		c->per_connection = (uint32_t)n;
		return 0;
	case OPT_RATE:
		return parse_rate(c, value);
	case OPT_SIZE:
		return parse_sizes(c, value);
	case OPT_DOMAIN:
		if (!domains_given)
			c->domain_count = 0; /* not the recipient's any more */
		domains_given = true;
		return parse_domain(c, value);
	case OPT_HELLO:
		snprintf(c->hello, sizeof(c->hello), "%s", value);
		return 0;
	default:
		return source_option(o, opt, value);
	}
}

static int sink_option(struct bench_options *o, int opt, char *value)
{
	struct sink_conf *c = &o->sink;
	double seconds;
	uint64_t n;

	switch (opt) {
	case 'h':
		snprintf(c->hostname, sizeof(c->hostname), "%s", value);
		return 0;
	case 'm':
		if (whole(value, "sessions", 1, SESSIONS_MAX, &n) < 0)
			return -1;
		c->sessions_max = (uint32_t)n;
		return 0;
	case 'M':
		return whole(value, "messages", 1, UINT64_MAX / 2, &o->stop_after);
	case 'w':
		if (number(value, "delay", 0, 1e4, &seconds) < 0)
			return -1;
		c->delay_us[SINK_DATA] = (uint64_t)(seconds * 1e6);
		return 0;
	case 'r':
		return parse_rejects(c, value, SINK_4XX);
	case 'f':
		return parse_rejects(c, value, SINK_5XX);
	case OPT_FAIL:
		return parse_fail(c, value);
	case OPT_DELAY:
		return parse_delay(c, value);
	case OPT_MUTANT:
		return parse_mutant(c, value);
	case OPT_CERT:
		o->tls_cert = value;
		return 0;
	case OPT_KEY:
		o->tls_key = value;
		return 0;
	default:
		return -1;
	}
}

static int engine_option(struct bench_options *o, int opt, char *value)
{
	struct engine_conf *c = &o->engine;
	uint64_t n;

	switch (opt) {
	case OPT_ENGINE:
		c->dpdk = strcmp(value, "dpdk") == 0;
		return c->dpdk || strcmp(value, "kernel") == 0 ? 0 : bad("engine", value);
	case OPT_PORT:
		return parse_port(c, value);
	case OPT_ADDRESS:
		return parse_host(c, value);
	case OPT_GATEWAY:
		c->port.has_gateway = true;
		return ip_parse(bytes_str(value), &c->port.gateway) < 0 ? bad("address", value) : 0;
	case OPT_MTU:
		if (whole(value, "mtu", 576, 9000, &n) < 0)
			return -1;
		c->port.mtu = (uint16_t)n;
		return 0;
	case OPT_MEMORY:
		if (whole(value, "megabytes", 1, UINT32_MAX, &n) < 0)
			return -1;
		c->memory_mb = (uint32_t)n;
		return 0;
	case OPT_EAL_EXTRA:
		snprintf(c->eal_extra, sizeof(c->eal_extra), "%s", value);
		return 0;
	case OPT_CPUS:
		snprintf(c->cpus, sizeof(c->cpus), "%s", value);
		return 0;
	default:
		return -1;
	}
}

static int common_option(struct bench_options *o, int opt, char *value)
{
	switch (opt) {
	case OPT_STARTTLS:
		o->source.starttls = o->sink.starttls = true;
		return 0;
	case OPT_TLS:
		o->source.tls = o->sink.tls = true;
		return 0;
	case OPT_LEDGER:
		o->ledger = value;
		return 0;
	case OPT_LEDGER_MAX:
		return whole(value, "entries", 1, UINT32_MAX, &o->ledger_max);
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_NOTE:
		o->note = value;
		return 0;
	case 'c':
		o->progress = true;
		return 0;
	default:
		return opt >= OPT_CPUS           ? engine_option(o, opt, value)
		       : o->mode == BENCH_SOURCE ? source_long(o, opt, value)
						 : sink_option(o, opt, value);
	}
}

static void defaults(struct bench_options *o)
{
	*o = (struct bench_options){.ledger_max = LEDGER_DEFAULT, .progress = isatty(2)};
	o->source = (struct source_conf){.sessions = 1,
		.messages = UINT64_MAX, /* not given */
		.per_connection = 1,
		.rcpts = 1,
		.sizes = {SIZE_DEFAULT},
		.size_count = 1,
		.size_max = 128ull << 20,
		.from = "source@bench.example.org",
		.to_local = "sink",
		.domains = {{"bench.example.net", 1}},
		.domain_count = 1,
		.hello = "source.bench.example.org"};
	o->sink.sessions_max = SINK_SESSIONS;
	snprintf(o->sink.hostname, sizeof(o->sink.hostname), "sink.bench.example.net");
	o->engine.backlog = 1024;
}

static int check(struct bench_options *o)
{
	struct source_conf *c = &o->source;

	if (c->messages == UINT64_MAX)
		c->messages = c->seconds > 0 ? 0 : 1;
	if (!c->messages && c->seconds <= 0)
		return bad("--seconds, where there is no number of messages,", "0");
	if (o->mode == BENCH_SINK && (o->sink.tls || o->sink.starttls) &&
		(!o->tls_cert || !o->tls_key))
		return bad("--cert and --key for TLS", "");
	if (o->engine.dpdk && (!o->engine.port.name[0] || !o->engine.port.address_count))
		return bad("--port and --address for --engine dpdk", "");
	o->engine.connections_max =
		SPARE + (o->mode == BENCH_SOURCE ? c->sessions : o->sink.sessions_max);
	return 0;
}

int bench_options_parse(struct bench_options *o, int argc, char **argv)
{
	static const char *const modes[] = {"source", "sink", "match"};
	int opt, mode = 0;

	defaults(o);
	while (argc > 1 && mode < 3 && strcmp(argv[1], modes[mode]) != 0)
		mode++;
	bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	if (argc < 2 || mode == 3) {
		fputs(usage_text, help ? stdout : stderr);
		return help ? 1 : -1;
	}
	o->mode = (enum bench_mode)mode;
	const char *letters = mode == BENCH_SOURCE ? "s:m:l:dr:Nf:t:cL" : "ch:m:M:w:r:f:";
	argc--;
	argv++;
	while ((opt = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			fputs(usage_text, stdout);
			return 1;
		}
		if (opt == '?' || common_option(o, opt, optarg) < 0)
			return -1;
	}
	argc -= optind;
	argv += optind;
	if (mode == BENCH_MATCH && argc == 2) {
		o->ledgers[0] = argv[0];
		o->ledgers[1] = argv[1];
		return 0;
	}
	if (argc < 1 || argc > 1 + (mode == BENCH_SINK)) {
		fputs(usage_text, stderr);
		return -1;
	}
	if (argc == 2)
		o->engine.backlog = atoi(argv[1]);
	if (parse_target(o, argv[0], mode == BENCH_SOURCE ? &o->source.to : &o->sink.at) < 0)
		return -1;
	return check(o);
}

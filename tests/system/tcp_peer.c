/* SPDX-License-Identifier: BSD-3-Clause
 * The dataplane alone, as a peer for the kernel's TCP: tries a port, its driver, the stack and the
 * idle loop without the rest of bypost.
 *
 *     tcp_peer port=tap,dtap address=198.18.0.2/24 gateway=198.18.0.1 [KEY=VALUE]...
 *
 * KEY: port address gateway gateway6 discovery mtu vlan queues cores cpus connections mbufs ring
 *      chunks trust extra prefix
 *      offloads=1: also those that the driver computes in software
 *      connect=ADDRESS,PORT,COUNT,OCTETS: open COUNT connections to an echo server
 *
 * Port 7 echoes.  Port 9 reads a header of 16 octets (seed, count; little endian) and a stream, and
 * answers the number of octets as text, or at which one the stream was not the pattern.  Port 19
 * reads such a header and sends count octets.  Octet i of a stream is pattern[(seed + i) % 65521],
 * so that what is lost, doubled, moved or taken from another stream shows.
 *
 * Ends on SIGTERM with a JSON line of counters on standard output; SIGUSR1 asks for one. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "dataplane/dataplane.h"
#include "dataplane/port.h"
#include "dataplane/stack.h"

#define PATTERN        65521u /* prime */
#define HEADER         16u
#define OPENING_MAX    64u /* active opens under way, per core */
#define SPARE_SESSIONS 64u /* closed for us, not yet for the stack */

enum peer_service { ECHO, SINK, SOURCE, SERVICES, CLIENT = SERVICES };
static const uint16_t service_port[SERVICES] = {7, 9, 19};

struct session {
	struct stream stream;
	struct peer_core *core;
	struct session *next_free;
	enum peer_service service;
	bool failed;
	uint8_t header[HEADER];
	unsigned header_n;
	uint64_t seed, count;
	uint64_t sent, received;
	char verdict[32];
	unsigned verdict_n; /* octets of it; 0: not due yet */
};

/* What one core has.  OWNER: that core; main reads the figures afterwards. */
struct peer_core {
	struct core *core;
	struct session *sessions, *unused;
	struct listener listeners[SERVICES];
	uint32_t to_open, opening;
	_Atomic uint32_t done, failed;
};

struct options {
	struct dataplane_conf conf;
	struct endpoint remote;
	uint32_t opens;
	uint64_t octets;
};

static struct core cores[CORES_MAX];
static struct peer_core peers[CORES_MAX];
static struct options options;
static uint8_t pattern[2 * PATTERN];
static volatile sig_atomic_t stopping, asked;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		asked = 1;
	else
		stopping = 1;
}

static void pattern_make(void)
{
	uint32_t x = 2463534242u; /* xorshift32, Marsaglia 2003 */

	for (unsigned i = 0; i < PATTERN; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = pattern[i + PATTERN] = (uint8_t)(x >> 24);
	}
}

/* ---- sessions ---- */

static struct session *session_get(struct peer_core *pc, enum peer_service service)
{
	struct session *s = pc->unused;

	if (!s)
		return NULL;
	pc->unused = s->next_free;
	*s = (struct session){.core = pc, .service = service};
	return s;
}

static void session_put(struct session *s)
{
	s->next_free = s->core->unused;
	s->core->unused = s;
}

/* Compare with the pattern; counts up to the first octet that differs. */
static void session_check(struct session *s, struct bytes data)
{
	while (data.n && !s->failed) {
		size_t at = (s->seed + s->received) % PATTERN, n = MIN(data.n, (size_t)PATTERN), i;

		if (memcmp(pattern + at, data.p, n) != 0) {
			for (i = 0; pattern[at + i] == data.p[i]; i++)
				;
			s->received += i;
			s->failed = true;
			return;
		}
		s->received += n;
		data = bytes_skip(data, n);
	}
}

static void session_send(struct session *s)
{
	while (s->sent < s->count) {
		size_t at = (s->seed + s->sent) % PATTERN;
		size_t n = (size_t)MIN(s->count - s->sent, (uint64_t)PATTERN);
		size_t taken = stream_send(&s->stream, bytes_make(pattern + at, n));

		s->sent += taken;
		if (taken < n)
			return;
	}
	if (s->service == SOURCE) {
		stream_close(&s->stream);
		session_put(s);
	} else {
		stream_shutdown(&s->stream);
	}
}

static void session_header(struct session *s, struct bytes *data)
{
	size_t n = MIN((size_t)(HEADER - s->header_n), data->n);

	memcpy(s->header + s->header_n, data->p, n);
	s->header_n += (unsigned)n;
	*data = bytes_skip(*data, n);
	memcpy(&s->seed, s->header, 8);
	memcpy(&s->count, s->header + 8, 8);
	s->seed %= PATTERN;
}

static size_t on_data(struct stream *stream, struct bytes data)
{
	struct session *s = container_of(stream, struct session, stream);
	size_t all = data.n;

	if (s->service == ECHO)
		return stream_send(stream, data);
	if (s->service == CLIENT) {
		session_check(s, data);
		return all;
	}
	if (s->header_n < HEADER)
		session_header(s, &data);
	if (s->service == SINK)
		session_check(s, data);
	else if (s->header_n == HEADER && s->sent == 0)
		session_send(s);
	return all;
}

static void client_end(struct session *s, bool good)
{
	struct peer_core *pc = s->core;

	pc->opening--;
	atomic_fetch_add(good ? &pc->done : &pc->failed, 1);
}

/* The rest of the verdict, then the end; a full pool makes it wait. */
static void verdict_send(struct session *s)
{
	size_t n = stream_send(&s->stream, bytes_make(s->verdict, s->verdict_n));

	s->verdict_n -= (unsigned)n;
	memmove(s->verdict, s->verdict + n, s->verdict_n);
	if (s->verdict_n)
		return;
	stream_close(&s->stream);
	session_put(s);
}

static void on_eof(struct stream *stream)
{
	struct session *s = container_of(stream, struct session, stream);

	if (s->service == SOURCE && s->header_n == HEADER)
		return; /* a half-open reader: it still gets what it asked for */
	if (s->service == SINK) {
		s->verdict_n = (unsigned)snprintf(s->verdict, sizeof(s->verdict), "%s %llu\n",
			s->failed ? "bad" : "good", (unsigned long long)s->received);
		verdict_send(s);
		return;
	}
	stream_close(stream);
	if (s->service == CLIENT)
		client_end(s, !s->failed && s->received == s->count);
	session_put(s);
}

static void on_open(struct stream *stream)
{
	session_send(container_of(stream, struct session, stream));
}

static void on_writable(struct stream *stream)
{
	struct session *s = container_of(stream, struct session, stream);

	if (s->service == ECHO)
		stream_resume(stream);
	else if (s->verdict_n)
		verdict_send(s);
	else if (s->service != SINK && s->sent < s->count)
		session_send(s);
}

static void on_close(struct stream *stream, enum stream_reason reason)
{
	struct session *s = container_of(stream, struct session, stream);

	log_info("peer", "closed service=%d received=%llu sent=%llu reason=\"%s\"", s->service,
		(unsigned long long)s->received, (unsigned long long)s->sent,
		stream_reason_text(reason));
	if (s->service == CLIENT)
		client_end(s, false);
	session_put(s);
}

static const struct stream_ops ops = {.on_open = on_open,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close};

/* A peer whose last word was lost keeps its connection, and what it holds, no longer than that. */
static const struct stream_options accepted = {
	.keepalive_us = 15 * US_PER_SEC, .keepalive_interval_us = 2 * US_PER_SEC};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct peer_core *pc = l->ctx;
	struct session *s = session_get(pc, (enum peer_service)(l - pc->listeners));

	(void)peer;
	(void)local;
	if (!s)
		return NULL;
	s->stream = (struct stream){.ops = &ops, .options = &accepted};
	return &s->stream;
}

/* Poller of a core: open connections, so many at a time. */
static unsigned open_more(void *ctx, uint64_t now_us)
{
	struct peer_core *pc = ctx;
	unsigned n = 0;

	(void)now_us;
	for (; pc->to_open && pc->opening < OPENING_MAX; n++) {
		struct session *s = session_get(pc, CLIENT);
		if (!s)
			break;
		s->stream = (struct stream){.ops = &ops};
		s->seed = pc->to_open * 7919u + pc->core->index;
		s->count = options.octets;
		pc->to_open--;
		pc->opening++;
		if (stream_connect(pc->core->stack, &s->stream, &options.remote, 30 * US_PER_SEC) <
			0) {
			client_end(s, false);
			session_put(s);
		}
	}
	return n;
}

/* ---- options ---- */

static int parse_kind(struct bytes text, enum port_kind *kind_r)
{
	static const char *const names[] = {[PORT_TAP] = "tap",
		[PORT_AF_PACKET] = "af_packet",
		[PORT_AF_XDP] = "af_xdp",
		[PORT_MEMIF] = "memif",
		[PORT_PCI] = "pci",
		[PORT_RING] = "ring"};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (bytes_eq(text, bytes_str(names[i]))) {
			*kind_r = (enum port_kind)i;
			return 0;
		}
	}
	return -1;
}

/* KIND,DEVICE: opens another port, to which the keys after it belong. */
static int parse_port(struct dataplane_conf *conf, struct bytes text)
{
	struct port_conf *p = &conf->ports[conf->port_count];
	ptrdiff_t comma = bytes_find(text, ',', 0);

	if (comma < 0 || conf->port_count == PORTS_MAX ||
		parse_kind(bytes_first(text, (size_t)comma), &p->kind) < 0)
		return -1;
	p->discovery = true;
	text = bytes_skip(text, (size_t)comma + 1);
	snprintf(p->name, sizeof(p->name), "p%u", conf->port_count++);
	snprintf(p->device, sizeof(p->device), "%.*s", (int)text.n, (const char *)text.p);
	return 0;
}

/* The host's address and the prefix of its network: "198.18.0.1/24". */
static int parse_address(struct port_conf *p, struct bytes text)
{
	ptrdiff_t slash = bytes_find(text, '/', 0);
	struct ip_net *out = &p->address[p->address_count];
	uint64_t prefix;

	if (slash < 0 || p->address_count == PORT_ADDRESSES_MAX ||
		ip_parse(bytes_first(text, (size_t)slash), &out->ip) < 0 ||
		bytes_to_u64(bytes_skip(text, (size_t)slash + 1), &prefix) < 0 || prefix > 128)
		return -1;
	out->prefix = (uint8_t)(prefix + (ip_is_v4(&out->ip) ? 96 : 0));
	p->address_count++;
	return 0;
}

static int parse_connect(struct options *o, char *text)
{
	char *address = strtok(text, ","), *port = strtok(NULL, ",");
	char *count = strtok(NULL, ","), *octets = strtok(NULL, ",");

	if (!octets || ip_parse(bytes_str(address), &o->remote.ip) < 0)
		return -1;
	o->remote.port = (uint16_t)atoi(port);
	o->opens = (uint32_t)atoi(count);
	o->octets = (uint64_t)atoll(octets);
	return 0;
}

static int parse_number(struct options *o, struct port_conf *p, const char *key, uint32_t value)
{
	const struct {
		const char *key;
		uint32_t *at;
	} numbers[] = {
		{"cores",       &o->conf.core_count     },
		{"connections", &o->conf.connections_max},
		{"mbufs",       &o->conf.mbufs          },
		{"ring",        &o->conf.ring_size      },
		{"chunks",      &o->conf.chunks         },
	};

	for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
		if (strcmp(key, numbers[i].key) == 0) {
			*numbers[i].at = value;
			return 0;
		}
	}
	if (strcmp(key, "mtu") == 0)
		p->mtu = (uint16_t)value;
	else if (strcmp(key, "vlan") == 0)
		p->vlan = (uint16_t)value;
	else if (strcmp(key, "queues") == 0)
		p->queues = (uint16_t)value;
	else if (strcmp(key, "discovery") == 0)
		p->discovery = value;
	else if (strcmp(key, "trust") == 0)
		p->trust_rx_checksum = value;
	else if (strcmp(key, "offloads") == 0)
		p->software_offloads = value;
	else
		return -1;
	return 0;
}

static int parse_one(struct options *o, const char *key, char *value)
{
	unsigned n = o->conf.port_count;
	struct port_conf *p = &o->conf.ports[n ? n - 1 : 0];

	if (strcmp(key, "port") == 0)
		return parse_port(&o->conf, bytes_str(value));
	if (strcmp(key, "address") == 0)
		return parse_address(p, bytes_str(value));
	if (strcmp(key, "connect") == 0)
		return parse_connect(o, value);
	if (strcmp(key, "gateway") == 0) {
		p->has_gateway = true;
		return ip_parse(bytes_str(value), &p->gateway);
	}
	if (strcmp(key, "gateway6") == 0) {
		p->has_gateway6 = true;
		return ip_parse(bytes_str(value), &p->gateway6);
	}
	if (strcmp(key, "cpus") == 0)
		snprintf(o->conf.cores[0].cpus, sizeof(o->conf.cores[0].cpus), "%s", value);
	else if (strcmp(key, "extra") == 0)
		snprintf(o->conf.eal_extra, sizeof(o->conf.eal_extra), "%s", value);
	else if (strcmp(key, "prefix") == 0)
		snprintf(o->conf.file_prefix, sizeof(o->conf.file_prefix), "%s", value);
	else
		return parse_number(o, p, key, (uint32_t)atoi(value));
	return 0;
}

static int parse_options(struct options *o, int argc, char **argv)
{
	struct dataplane_conf *conf = &o->conf;

	conf->core_count = 1;
	conf->connections_max = 1000;
	conf->chunks = 1024;
	conf->ring_size = 1024;
	snprintf(conf->file_prefix, sizeof(conf->file_prefix), "peer%d", (int)getpid());
	for (int i = 1; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		if (equals)
			*equals = '\0';
		if (!equals || parse_one(o, argv[i], equals + 1) < 0) {
			fprintf(stderr, "tcp_peer: %s: no such key, or a bad value\n", argv[i]);
			return -1;
		}
	}
	if (conf->core_count < 1 || conf->core_count > CORES_MAX || !conf->port_count)
		return -1;
	for (unsigned i = 0; i < conf->core_count; i++) {
		conf->cores[i].roles = CORE_DATAPLANE;
		memcpy(conf->cores[i].cpus, conf->cores[0].cpus, sizeof(conf->cores[i].cpus));
	}
	return 0;
}

/* ---- running ---- */

static int core_prepare(unsigned i)
{
	uint32_t sessions = options.conf.connections_max + SPARE_SESSIONS;
	struct peer_core *pc = &peers[i];

	pc->core = &cores[i];
	pc->sessions = calloc(sessions, sizeof(*pc->sessions));
	if (!pc->sessions)
		return -1;
	for (uint32_t s = 0; s < sessions; s++) {
		pc->sessions[s].core = pc;
		session_put(&pc->sessions[s]);
	}
	for (unsigned s = 0; s < SERVICES; s++) {
		pc->listeners[s] = (struct listener){.accept = on_accept, .ctx = pc};
		if (stack_listen(cores[i].stack, service_port[s], &pc->listeners[s]) < 0)
			return -1;
	}
	pc->to_open = options.opens / options.conf.core_count +
		      (i < options.opens % options.conf.core_count);
	return core_add_poller(&cores[i], (struct poller){.poll = open_more, .ctx = pc});
}

static void print_pools(void)
{
	struct pool_info pools[2 * CORES_MAX + PORTS_MAX];
	unsigned n = pool_get_info(pools, ARRAY_LEN(pools));

	printf(", \"pools\": {");
	for (unsigned i = 0; i < n; i++)
		printf("%s\"%s\": %u", i ? ", " : "", pools[i].name, pools[i].in_use);
	printf("}");
}

static void print_figures(void)
{
	uint32_t done = 0, failed = 0;

	for (unsigned i = 0; i < options.conf.core_count; i++) {
		done += atomic_load(&peers[i].done);
		failed += atomic_load(&peers[i].failed);
	}
	printf("{\"done\": %u, \"failed\": %u", done, failed);
	for (unsigned i = 0; i < COUNTER_N; i++) {
		uint64_t v = counters_sum((enum counter)i);
		if (v)
			printf(", \"%s\": %llu", counter_table[i].name, (unsigned long long)v);
	}
	print_pools();
	printf("}\n");
	fflush(stdout);
}

static int serve(void)
{
	unsigned n = options.conf.core_count;

	for (unsigned s = 0; s < SERVICES; s++) {
		if (dataplane_add_service(service_port[s], CORE_DATAPLANE) < 0)
			return 1;
	}
	for (unsigned i = 0; i < n; i++) {
		if (core_prepare(i) < 0)
			return 1;
	}
	if (dataplane_launch(cores, n) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (!stopping) {
		usleep(20000);
		log_drain();
		if (asked) {
			asked = 0;
			print_figures();
		}
	}
	for (unsigned i = 0; i < n; i++)
		core_stop(&cores[i]);
	dataplane_join();
	print_figures();
	return 0;
}

int main(int argc, char **argv)
{
	char error[256] = "";
	int rc = 1;

	if (parse_options(&options, argc, argv) < 0)
		return 2;
	pattern_make();
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	signal(SIGUSR1, on_signal);
	if (dataplane_eal_start(&options.conf, error, sizeof(error)) < 0 ||
		dataplane_start(&options.conf, cores, error, sizeof(error)) < 0)
		fprintf(stderr, "tcp_peer: %s\n", error);
	else
		rc = serve();
	dataplane_stop();
	for (unsigned i = 0; i < CORES_MAX; i++)
		free(peers[i].sessions);
	log_flush();
	return rc;
}

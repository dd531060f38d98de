/* SPDX-License-Identifier: BSD-3-Clause
 * One end of the measurements of the stack: a process with one polling core on memif, which
 * bench_net starts twice and gives orders.
 *
 *     net_end role=server|client socket=PATH [KEY=VALUE]...
 *
 * KEY: cpus (of the polling core) ports connections mtu memory extra (for EAL)
 *
 * Reads lines from standard input, answers each with one JSON line:
 *
 *     hold N           hold N connections open; the answer comes at once, figures tell how many are
 *     load MODE WIDTH  request, bulk, paced or connect; idle takes the load away
 *     pace RATE        of paced requests in a second, 0: no limit; times begin anew
 *     flood RATE       of SYNs in a second from invented sources, 0: none
 *     figures          counters, memory, time
 *
 * and ends with its standard input. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <unistd.h>
#include "bench/net_flood.h"
#include "bench/net_paced.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "dataplane/io.h"
#include "dataplane/stack.h"

#define MBUFS        8191 /* of each pool; chosen: more than every ring and window here holds */
#define SPARE        1024 /* connections beyond those to be held: the load's, and dying ones */
#define NETWORK      0xc6120000u /* 198.18.0.0/15 (RFC 2544): a /24 for each port and address */
#define FLOOD_OCTETS 128         /* room in a frame of the flood */
#define FLOOD_CACHE  128
#define TEND_MS      20 /* chosen: main looks after the core */
#define LINK_US      (10 * US_PER_SEC)
#define CONN_OCTETS  640 /* memory of a connection in the stack's tables; chosen: with room */
#define BASE_MB      160 /* pools, rings, EAL's own */

struct options {
	struct dataplane_conf conf;
	const char *socket;
	bool server;
	unsigned ports;
	uint16_t mtu;
};

static struct core cores[CORES_MAX];
static struct options options;
static struct net_server server;
static struct net_client client;
static struct net_paced paced;
static struct net_flood flood;

/* ---- options ---- */

static uint32_t host_of(unsigned port, unsigned address, bool of_server)
{
	return NETWORK + ((port * PORT_ADDRESSES_MAX + address) << 8) + (of_server ? 1 : 2);
}

static void port_fill(struct options *o, unsigned i)
{
	struct port_conf *p = &o->conf.ports[i];

	snprintf(p->name, sizeof(p->name), "p%u", i);
	p->kind = PORT_MEMIF;
	p->mtu = o->mtu;
	snprintf(p->device, sizeof(p->device), "%.40s.%u%s", o->socket, i,
		o->server ? "" : ",role=client");
	p->address_count = PORT_ADDRESSES_MAX;
	for (unsigned a = 0; a < PORT_ADDRESSES_MAX; a++)
		p->address[a] = (struct ip_net){
			.ip = ip_from_v4(rte_cpu_to_be_32(host_of(i, a, o->server))),
			.prefix = 96 + 24};
	/* answers to sources that nobody has go to the client */
	p->has_gateway = o->server;
	p->gateway = ip_from_v4(rte_cpu_to_be_32(host_of(i, 0, false)));
	p->mac[0] = 2;
	p->mac[4] = (uint8_t)i;
	p->mac[5] = o->server ? 1 : 2;
}

static int parse_one(struct options *o, const char *key, const char *value)
{
	struct dataplane_conf *conf = &o->conf;

	if (strcmp(key, "role") == 0)
		o->server = strcmp(value, "server") == 0;
	else if (strcmp(key, "socket") == 0)
		o->socket = value;
	else if (strcmp(key, "cpus") == 0)
		snprintf(conf->cores[0].cpus, sizeof(conf->cores[0].cpus), "%s", value);
	else if (strcmp(key, "extra") == 0)
		snprintf(conf->eal_extra, sizeof(conf->eal_extra), "%s", value);
	else if (strcmp(key, "ports") == 0)
		o->ports = (unsigned)atoi(value);
	else if (strcmp(key, "connections") == 0)
		conf->connections_max = (uint32_t)atoi(value);
	else if (strcmp(key, "mtu") == 0)
		o->mtu = (uint16_t)atoi(value);
	else if (strcmp(key, "memory") == 0)
		conf->memory_mb = (uint32_t)atoi(value);
	else
		return -1;
	return 0;
}

static int parse_options(struct options *o, int argc, char **argv)
{
	struct dataplane_conf *conf = &o->conf;

	o->ports = 1;
	conf->connections_max = 1000;
	for (int i = 1; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		if (equals)
			*equals = '\0';
		if (!equals || parse_one(o, argv[i], equals + 1) < 0) {
			fprintf(stderr, "net_end: %s: no such key, or a bad value\n", argv[i]);
			return -1;
		}
	}
	if (!o->socket || !o->ports || o->ports > PORTS_MAX)
		return -1;
	conf->connections_max += SPARE;
	conf->core_count = 1;
	conf->cores[0].roles = CORE_DATAPLANE;
	conf->idle = CORE_IDLE_SPIN;
	conf->mbufs = MBUFS;
	conf->chunks = 1;
	conf->ring_size = 1024;
	if (!conf->memory_mb)
		conf->memory_mb = BASE_MB + o->ports * 24 +
				  (uint32_t)((uint64_t)conf->connections_max * CONN_OCTETS >> 20);
	snprintf(conf->file_prefix, sizeof(conf->file_prefix), "bench%d", (int)getpid());
	conf->port_count = o->ports;
	for (unsigned i = 0; i < o->ports; i++)
		port_fill(o, i);
	return 0;
}

/* ---- orders ---- */

static void print_counters(void)
{
	for (unsigned i = 0; i < COUNTER_N; i++) {
		uint64_t v = counters_sum((enum counter)i);
		if (v)
			printf(", \"%s\": %llu", counter_table[i].name, (unsigned long long)v);
	}
}

/* Octets of frames that are in use. */
static unsigned long long frames_in_use(void)
{
	struct pool_info pools[2 * CORES_MAX + PORTS_MAX + 1];
	unsigned n = pool_get_info(pools, ARRAY_LEN(pools));
	unsigned long long sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += (unsigned long long)pools[i].in_use * pools[i].element_bytes;
	return sum;
}

static void print_figures(void)
{
	struct rte_malloc_socket_stats heap = {0};
	struct mallinfo2 libc = mallinfo2();

	rte_malloc_get_socket_stats(0, &heap);
	printf("{\"time_us\": %llu, \"tsc_hz\": %llu, \"sessions\": %u, \"held\": %u, \"busy\": %u",
		(unsigned long long)clock_mono_us(), (unsigned long long)rte_get_tsc_hz(),
		atomic_load(&server.open), atomic_load(&client.held), atomic_load(&client.busy));
	printf(", \"done\": %llu, \"octets\": %llu, \"failed\": %llu",
		(unsigned long long)atomic_load(&client.done),
		(unsigned long long)(atomic_load(&client.octets) + atomic_load(&server.octets)),
		(unsigned long long)atomic_load(&client.failed));
	printf(", \"heap\": %zu, \"libc_heap\": %zu, \"frames\": %llu, \"session_octets\": %zu",
		heap.heap_allocsz_bytes, libc.uordblks + libc.hblkhd, frames_in_use(),
		sizeof(struct net_session));
	printf(", \"flood_sent\": %llu, \"times\": %llu, \"p50_us\": %llu, \"p99_us\": %llu, "
	       "\"max_us\": %llu",
		(unsigned long long)atomic_load(&flood.sent), (unsigned long long)paced.hist.n,
		(unsigned long long)hist_at(&paced.hist, 0.5),
		(unsigned long long)hist_at(&paced.hist, 0.99), (unsigned long long)paced.hist.max);
	print_counters();
	printf("}\n");
	fflush(stdout);
}

/* Returns false when it was no order. */
static bool obey(char *line)
{
	const char *word = strtok(line, " \n"), *first = strtok(NULL, " \n");
	const char *second = strtok(NULL, " \n");
	int mode;

	if (word && strcmp(word, "hold") == 0 && first) {
		atomic_store(&client.hold, (uint32_t)atoi(first));
	} else if (word && strcmp(word, "load") == 0 && second) {
		mode = net_mode_parse(first);
		if (mode < 0)
			return false;
		atomic_store(&client.width, (uint32_t)atoi(second));
		atomic_store(&client.mode, (uint32_t)mode);
	} else if (word && strcmp(word, "pace") == 0 && first) {
		atomic_store(&paced.rate, (uint32_t)atoi(first));
		atomic_store(&paced.clear, 1);
	} else if (word && strcmp(word, "flood") == 0 && first) {
		atomic_store(&flood.rate, (uint32_t)atoi(first));
	} else if (!word || strcmp(word, "figures") != 0) {
		return false;
	}
	print_figures();
	return true;
}

/* ---- running ---- */

static bool links_up(void)
{
	struct port_info ports[PORTS_MAX];
	unsigned n = port_get_info(ports, PORTS_MAX);

	for (unsigned i = 0; i < n; i++) {
		if (!ports[i].link_up)
			return false;
	}
	return true;
}

/* Orders come one at a time, each after the answer to the one before.  Returns false at the end. */
static bool wait_order(char *line, size_t n)
{
	struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};

	while (poll(&fd, 1, TEND_MS) == 0) {
		dataplane_tend();
		log_drain();
	}
	return fgets(line, (int)n, stdin);
}

static int serve(void)
{
	uint64_t until = clock_mono_us() + LINK_US;
	char line[128];

	while (!options.server && !links_up() && clock_mono_us() < until)
		usleep(1000);
	printf("{\"ready\": %s}\n", options.server || links_up() ? "true" : "false");
	fflush(stdout);
	while (wait_order(line, sizeof(line))) {
		if (!obey(line)) {
			fprintf(stderr, "net_end: no such order\n");
			return 1;
		}
	}
	return 0;
}

/* What port 0 carries to the server's port 0. */
static int prepare_flood(void)
{
	const struct port_conf *p = &options.conf.ports[0];

	flood.io = cores[0].io;
	flood.pool = rte_pktmbuf_pool_create("flood", MBUFS, FLOOD_CACHE, 0,
		RTE_PKTMBUF_HEADROOM + FLOOD_OCTETS, cores[0].socket);
	if (!flood.pool)
		return -ENOMEM;
	memcpy(flood.from_mac, p->mac, sizeof(flood.from_mac));
	memcpy(flood.to_mac, p->mac, sizeof(flood.to_mac));
	flood.to_mac[5] = 1;
	flood.to = ip_from_v4(rte_cpu_to_be_32(host_of(0, 0, true)));
	flood.port_first = NET_FIRST_PORT;
	flood.ports = NET_PORTS;
	return core_add_poller(&cores[0], (struct poller){net_flood_poll, &flood});
}

static int prepare(void)
{
	uint32_t sessions = options.conf.connections_max;

	if (options.server)
		return net_server_init(&server, cores[0].stack, sessions);
	for (unsigned i = 0; i < options.ports; i++) {
		for (unsigned a = 0; a < PORT_ADDRESSES_MAX; a++)
			client.servers[client.server_n++] =
				ip_from_v4(rte_cpu_to_be_32(host_of(i, a, true)));
	}
	int rc = net_client_init(&client, cores[0].stack, sessions);
	client.paced = &paced;
	if (rc == 0)
		rc = core_add_poller(&cores[0], (struct poller){net_client_poll, &client});
	return rc < 0 ? rc : prepare_flood();
}

int main(int argc, char **argv)
{
	char error[256] = "";
	int rc = 1;

	if (parse_options(&options, argc, argv) < 0) {
		fprintf(stderr, "usage: net_end role=server|client socket=PATH [KEY=VALUE]...\n");
		return 2;
	}
	if (dataplane_eal_start(&options.conf, error, sizeof(error)) < 0 ||
		dataplane_start(&options.conf, cores, error, sizeof(error)) < 0)
		fprintf(stderr, "net_end: %s\n", error);
	else if (prepare() < 0 || dataplane_launch(cores, 1) < 0)
		fprintf(stderr, "net_end: no memory\n");
	else
		rc = serve();
	if (rc == 0 && options.conf.core_count) {
		core_stop(&cores[0]);
		dataplane_join();
	}
	log_flush();
	dataplane_stop();
	net_server_fini(&server);
	net_client_fini(&client);
	return rc;
}

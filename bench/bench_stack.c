/* SPDX-License-Identifier: BSD-3-Clause
 * Two stacks in one thread, joined by their own calls: what the stack costs without any driver.
 * Time is virtual and everything is seeded, so that a count of instructions is the same each time:
 *
 *     bench_stack [request|bulk|connect] [width] [laps] [connections held open besides]
 *     valgrind --tool=callgrind --toggle-collect=measure bench_stack request 256 2000
 *
 * One JSON object on stdout: answers or segments, packets, cycles for each. */
#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include "bench/net_load.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/rt/eal.h"
#include "dataplane/stack.h"

#define BURST       32
#define WIRE_MAX    8192
#define LAP_US      10   /* virtual time of a lap */
#define CONNECTIONS 4096 /* of the load */
#define ADDRESSES   8
#define HELD_MAX    (ADDRESSES * NET_PORTS * NET_BLOCK / 2)
#define MBUFS       8191
#define CACHE       128
#define MEMORY_MB   192
#define HELD_OCTETS 1600        /* of memory, at both ends */
#define WARM_LAPS   500         /* handshakes, slow start, ARP */
#define HOST        0xc6120001u /* 198.18.0.1 and .2, and of the next networks */

struct end {
	struct stack *stack;
	struct timer_wheel wheel;
	struct rte_mempool *tx, *control;
	struct rte_mbuf *sent[WIRE_MAX]; /* on their way to the other end */
	unsigned sent_n;
	uint64_t random;
};

static struct end ends[2];
static struct net_server server;
static struct net_client client;
static uint64_t now_us = 1000 * US_PER_SEC;
static uint64_t packets, octets;
static uint32_t held;

static void end_tx(void *ctx, unsigned port, struct rte_mbuf *m)
{
	struct end *e = ctx;

	(void)port;
	if (e->sent_n == WIRE_MAX) {
		rte_pktmbuf_free(m);
		return;
	}
	packets++;
	octets += m->pkt_len;
	e->sent[e->sent_n++] = m;
}

/* splitmix64 */
static uint64_t end_random(void *ctx)
{
	struct end *e = ctx;
	uint64_t z = (e->random += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void end_init(unsigned i)
{
	struct end *e = &ends[i];
	char name[2][16];

	snprintf(name[0], sizeof(name[0]), "tx%u", i);
	snprintf(name[1], sizeof(name[1]), "control%u", i);
	e->random = i;
	e->tx = rte_pktmbuf_pool_create(
		name[0], MBUFS, CACHE, STACK_TX_PRIV, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY);
	e->control = rte_pktmbuf_pool_create(
		name[1], MBUFS, CACHE, STACK_TX_PRIV, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY);
	timer_wheel_init(&e->wheel, now_us);
	struct stack_conf conf = {
		.connections_max = CONNECTIONS + held,
		.port_count = 1,
		.ports[0] = {.mac = {2, 0, 0, 0, 0, (uint8_t)i},
			     .mtu = 1500,
			     .address_count = ADDRESSES},
	};
	for (unsigned a = 0; a < ADDRESSES; a++)
		conf.ports[0].address[a] = (struct ip_net){
			.ip = ip_from_v4(rte_cpu_to_be_32(HOST + i + (a << 8))), .prefix = 96 + 24};
	struct stack_env env = {.ctx = e,
		.tx = end_tx,
		.random64 = end_random,
		.tx_pool = e->tx,
		.control_pool = e->control,
		.wheel = &e->wheel,
		.now_us = now_us};
	e->stack = e->tx && e->control ? stack_create(&conf, &env, SOCKET_ID_ANY) : NULL;
	if (!e->stack) {
		fprintf(stderr, "bench_stack: not enough memory\n");
		exit(1);
	}
}

/* A driver copies: the receiver's frames are its own. */
static void receive(struct end *to, struct end *from, unsigned n)
{
	struct rte_mbuf *frames[BURST];
	unsigned got = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *copy = rte_pktmbuf_copy(from->sent[i], to->control, 0, UINT32_MAX);
		rte_pktmbuf_free(from->sent[i]);
		if (copy)
			frames[got++] = copy;
	}
	from->sent_n -= n;
	memmove(from->sent, from->sent + n, from->sent_n * sizeof(from->sent[0]));
	stack_input(to->stack, 0, frames, got, now_us);
}

static void end_lap(unsigned i)
{
	struct end *e = &ends[i], *other = &ends[1 - i];

	receive(e, other, MIN(other->sent_n, (unsigned)BURST));
	if (i == 1)
		net_client_poll(&client, now_us);
	timer_run(&e->wheel, now_us, 64);
	stack_flush(e->stack, now_us);
	stack_tend(e->stack);
}

static void warm_up(unsigned laps)
{
	for (unsigned i = 0; i < laps; i++) {
		end_lap(0);
		end_lap(1);
		now_us += LAP_US;
	}
}

/* A name for callgrind, so never inlined. */
void measure(unsigned laps);
__attribute__((noinline)) void measure(unsigned laps)
{
	warm_up(laps);
}

int main(int argc, char **argv)
{
	int mode = net_mode_parse(argc > 1 ? argv[1] : "request");
	unsigned width = argc > 2 ? (unsigned)atoi(argv[2]) : 256;
	unsigned laps = argc > 3 ? (unsigned)atoi(argv[3]) : 100000;

	if (mode <= NET_IDLE || width == 0 || width > CONNECTIONS / 2) {
		fprintf(stderr, "usage: bench_stack request|bulk|connect [width] [laps]\n");
		return 2;
	}
	held = argc > 4 ? MIN((uint32_t)atoi(argv[4]), HELD_MAX) : 0;
	eal_start_for_tests(MEMORY_MB + (unsigned)((uint64_t)held * HELD_OCTETS >> 20));
	end_init(0);
	end_init(1);
	if (net_server_init(&server, ends[0].stack, CONNECTIONS + held) < 0 ||
		net_client_init(&client, ends[1].stack, CONNECTIONS + held) < 0)
		return 1;
	for (unsigned a = 0; a < ADDRESSES; a++)
		client.servers[client.server_n++] = ip_from_v4(rte_cpu_to_be_32(HOST + (a << 8)));
	client.hold = held;
	while (client.held < held)
		warm_up(1);
	client.width = width;
	client.mode = (uint32_t)mode;
	warm_up(WARM_LAPS);
	uint64_t done = client.done, before = packets, octets_before = octets;
	uint64_t cycles = rte_rdtsc();
	measure(laps);
	cycles = rte_rdtsc() - cycles;
	packets -= before;
	printf("{\"bench\": \"stack\", \"mode\": \"%s\", \"width\": %u, \"done\": %llu, "
	       "\"packets\": %llu, \"octets\": %llu, \"failed\": %llu, \"cycles_per_packet\": "
	       "%.0f}\n",
		argc > 1 ? argv[1] : "request", width, (unsigned long long)(client.done - done),
		(unsigned long long)packets, (unsigned long long)(octets - octets_before),
		(unsigned long long)client.failed, packets ? (double)cycles / (double)packets : 0);
	stack_destroy(&ends[0].stack);
	stack_destroy(&ends[1].stack);
	net_server_fini(&server);
	net_client_fini(&client);
	return 0;
}

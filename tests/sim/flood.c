/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/flood.h"
#include <rte_malloc.h>
#include "dataplane/base/counters.h"

#define SERVER       0
#define CLIENT       1
#define SAMPLE_US    US_PER_MS /* how often memory is looked at */
#define SLOW_LAP_US  (10 * US_PER_MS)
#define LEAK_EVERY   1000        /* SYNs */
#define SYN_OPTIONS  16          /* MSS, SACK permitted, timestamps */
#define SOURCES_4    0xc6130000u /* 198.19.0.0/16; IPv6: a /64 each of 2001:2::/48 */
#define SYN_STAMP_AT 8           /* in the options */
#define COUNTERS_N   3

static uint64_t drawn(uint64_t *random, uint64_t mean)
{
	return 1 + host_random(random) % (2 * mean - 1); /* its mean is exactly that */
}

/* ---- SYNs of nobody ---- */

unsigned flood_syn_octets(bool v6)
{
	size_t ip_n = v6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);

	return (unsigned)(sizeof(struct rte_ether_hdr) + ip_n + sizeof(struct rte_tcp_hdr)) +
	       SYN_OPTIONS;
}

unsigned flood_syns_carried(bool v6)
{
	return FLOOD_RATE / flood_syn_octets(v6);
}

static uint64_t syn_interval_us(const struct flood_conf *conf)
{
	return flood_syn_octets(conf->v6) * US_PER_SEC * 100 / conf->share / FLOOD_RATE;
}

static void ip_head(struct flood *f, uint8_t *ip)
{
	uint16_t rest = (uint16_t)(sizeof(struct rte_tcp_hdr) + SYN_OPTIONS);
	struct ip_addr server = host_ip6(&f->host[SERVER]);

	if (f->conf.v6) {
		struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)ip;
		h->vtc_flow = rte_cpu_to_be_32(6u << 28);
		h->payload_len = rte_cpu_to_be_16(rest);
		h->proto = IPPROTO_TCP;
		h->hop_limits = 64;
		memcpy(h->dst_addr, server.octets, sizeof(h->dst_addr));
		return;
	}
	*(struct rte_ipv4_hdr *)ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(struct rte_ipv4_hdr) + rest)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.dst_addr = rte_cpu_to_be_32(f->host[SERVER].conf.address),
	};
}

/* Everything that all have in common. */
static void syn_prepare(struct flood *f)
{
	static const uint8_t options[SYN_OPTIONS] = {2, 4, 5, 180, 4, 2, 8, 10};
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)f->syn;
	uint8_t *ip = (uint8_t *)(eth + 1);

	memset(f->syn, 0, sizeof(f->syn));
	f->syn_n = flood_syn_octets(f->conf.v6);
	eth->dst_addr = (struct rte_ether_addr){
		{2, 0, 0, 0, 0, 1 + SERVER}
        };
	eth->src_addr = (struct rte_ether_addr){
		{2, 0, 0, 0, 0, 1 + CLIENT}
        };
	eth->ether_type = rte_cpu_to_be_16(f->conf.v6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	ip_head(f, ip);
	*(struct rte_tcp_hdr *)(f->syn + f->syn_n - SYN_OPTIONS - sizeof(struct rte_tcp_hdr)) =
		(struct rte_tcp_hdr){.dst_port = rte_cpu_to_be_16(FLOOD_PORT),
			.data_off = (sizeof(struct rte_tcp_hdr) + SYN_OPTIONS) / 4 << 4,
			.tcp_flags = RTE_TCP_SYN_FLAG,
			.rx_win = UINT16_MAX};
	memcpy(f->syn + f->syn_n - SYN_OPTIONS, options, sizeof(options));
}

static void leak(struct flood *f)
{
	if (f->leaked_n < ARRAY_LEN(f->leaked))
		f->leaked[f->leaked_n++] = rte_pktmbuf_alloc(f->host[SERVER].pools->control);
}

static void syn_send(struct flood *f)
{
	uint8_t frame[sizeof(f->syn)];
	uint64_t a = host_random(&f->syn_random), b = host_random(&f->syn_random);
	struct packet p;

	memcpy(frame, f->syn, f->syn_n);
	BUG_ON(!packet_parse(frame, f->syn_n, &p) || !p.tcp);
	if (f->conf.v6) {
		struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)p.ip;
		memcpy(h->src_addr, (uint8_t[]){0x20, 0x01, 0, 2, 0, 0, (uint8_t)(b | 1)}, 7);
		h->src_addr[7] = (uint8_t)(b >> 8);
		memcpy(h->src_addr + 8, &a, sizeof(a));
	} else {
		((struct rte_ipv4_hdr *)p.ip)->src_addr = rte_cpu_to_be_32(SOURCES_4 | (uint16_t)a);
	}
	p.tcp->src_port = (uint16_t)(b >> 16);
	p.tcp->sent_seq = (uint32_t)(b >> 32);
	memcpy(p.options + SYN_STAMP_AT, &b, sizeof(uint32_t));
	BUG_ON(!packet_parse(frame, f->syn_n, &p));
	packet_csum_set(&p);
	wire_send(&f->wire, CLIENT, frame, f->syn_n, f->now_us);
	if (f->figures.syns++ % LEAK_EVERY == 0 && f->conf.fault == FLOOD_FAULT_LEAK)
		leak(f);
}

/* ---- what is in use ---- */

static struct flood_frames frames_in_use(const struct host_pools *p)
{
	return (struct flood_frames){rte_mempool_in_use_count(p->rx),
		rte_mempool_in_use_count(p->control), rte_mempool_in_use_count(p->tx)};
}

static size_t heap_in_use(void)
{
	struct rte_malloc_socket_stats stats;

	rte_malloc_get_socket_stats(0, &stats);
	return stats.heap_allocsz_bytes;
}

static void sample(struct flood *f)
{
	struct flood_frames now = frames_in_use(f->host[SERVER].pools), *peak = &f->figures.peak;

	peak->rx = MAX(peak->rx, now.rx);
	peak->control = MAX(peak->control, now.control);
	peak->tx = MAX(peak->tx, now.tx);
	f->figures.heap_peak = MAX(f->figures.heap_peak, heap_in_use());
	host_check(&f->host[SERVER]);
	host_check(&f->host[CLIENT]);
}

static void counted(uint64_t value[COUNTERS_N])
{
	static const enum counter counters[COUNTERS_N] = {
		CTR_TCP_SYN_COOKIES_SENT, CTR_TCP_SYN_COOKIES_TAKEN, CTR_TCP_SYN_CACHE_OVERFLOWS};

	for (unsigned i = 0; i < COUNTERS_N; i++)
		value[i] = atomic_load(&counters_mine->value[counters[i]]);
}

/* ---- running ---- */

static void flood_tx(struct host *h, struct bytes frame)
{
	struct flood *f = h->ctx;
	uint8_t copy[WIRE_FRAME_MAX];

	memcpy(copy, frame.p, frame.n);
	wire_send(&f->wire, (unsigned)(h - f->host), copy, frame.n, f->now_us);
}

/* The router would pass it on to somebody who is not there. */
static bool to_nobody(const struct flood *f, struct wire_frame *w)
{
	const struct host *client = &f->host[CLIENT];
	struct packet p;

	if (w->to != CLIENT || !packet_parse(w->octets, w->n, &p) || !p.tcp)
		return false;
	struct ip_addr ip = p.v6 ? host_ip6(client) : host_ip(client);
	return !ip_eq(&p.to, &ip);
}

static void frames_deliver(struct flood *f)
{
	for (struct wire_frame *w; (w = wire_take(&f->wire, f->now_us)); free(w)) {
		struct host *h = &f->host[w->to];
		if (to_nobody(f, w)) {
			f->figures.answers++;
			continue;
		}
		h->now_us = f->now_us;
		host_input(h, bytes_make(w->octets, w->n));
	}
}

static bool during(const struct flood *f)
{
	return f->now_us >= f->begin_us && f->now_us < f->end_us;
}

static bool visitors_come(const struct flood *f)
{
	return f->now_us + FLOOD_LAST_US < f->end_us && f->figures.visitors < FLOOD_VISITORS;
}

static bool slow(const struct flood *f)
{
	return f->conf.fault == FLOOD_FAULT_SLOW && f->conf.share && during(f);
}

static void laps(struct flood *f)
{
	host_lap(&f->host[CLIENT], f->now_us);
	if (slow(f) && f->now_us < f->lap_at)
		return;
	host_lap(&f->host[SERVER], f->now_us);
	f->lap_at = f->now_us + SLOW_LAP_US;
}

static void play_begin(struct flood *f)
{
	if (f->figures.heap_before)
		return;
	f->figures.before = frames_in_use(f->host[SERVER].pools);
	f->figures.heap_before = heap_in_use();
	if (!f->flow.open)
		f->figures.wrong = "the flow was not opened";
}

/* What is due. */
static void play(struct flood *f)
{
	if (!during(f))
		return;
	play_begin(f);
	if (f->sample_at <= f->now_us) {
		sample(f);
		f->sample_at = f->now_us + SAMPLE_US;
	}
	if (f->conf.share && f->syn_at <= f->now_us) {
		syn_send(f);
		f->syn_at += drawn(&f->syn_random, syn_interval_us(&f->conf));
	}
	if (f->message_at <= f->now_us) {
		flood_app_message(f);
		f->message_at += f->conf.message_us ? drawn(&f->flow_random, f->conf.message_us)
						    : f->conf.us;
	}
	if (f->visitor_at <= f->now_us && visitors_come(f)) {
		flood_app_open(&f->visitor[f->figures.visitors++], &flood_visitor_ops);
		f->visitor_at += FLOOD_VISITOR_US;
	}
}

static uint64_t next_event(const struct flood *f)
{
	uint64_t next =
		MIN(wire_next_us(&f->wire), timer_next_us(&f->host[CLIENT].wheel, UINT64_MAX));

	next = MIN(next, slow(f) ? f->lap_at : timer_next_us(&f->host[SERVER].wheel, UINT64_MAX));
	if (f->now_us >= f->end_us)
		return next;
	next = MIN(next, MIN(f->sample_at, f->message_at));
	next = MIN(next, f->conf.share ? f->syn_at : UINT64_MAX);
	return MIN(next, visitors_come(f) ? f->visitor_at : UINT64_MAX);
}

static void setup(struct flood *f, struct host_pools *const pools[2])
{
	static const struct wire_conf wire = {
		.rate = FLOOD_RATE, .queue_bytes = FLOOD_QUEUE, .delay_us = FLOOD_DELAY_US};

	wire_init(&f->wire, &wire, 2, &f->wire_random, NULL);
	for (unsigned i = 0; i < 2; i++) {
		struct host_conf conf = {.address = (198u << 24) + (18u << 16) + 1 + i,
			.mac = (uint8_t)(1 + i),
			.mtu = 1500,
			.connections_max = FLOOD_VISITORS + 2,
			.v6 = f->conf.v6};
		if (i == SERVER) {
			conf.router = 1 + CLIENT;
			conf.tcp = f->conf.tcp;
		}
		f->host[i].tx = flood_tx;
		f->host[i].ctx = f;
		host_init(&f->host[i], &conf, pools[i], 1 + i, f->now_us);
	}
	f->listener = (struct listener){.accept = flood_app_accept, .ctx = f};
	BUG_ON(stack_listen(f->host[SERVER].stack, FLOOD_PORT, &f->listener) < 0);
	f->flow.flood = f;
	for (unsigned i = 0; i < FLOOD_VISITORS; i++)
		f->visitor[i].flood = f;
	syn_prepare(f);
	flood_app_open(&f->flow, &flood_flow_ops);
}

static int shorter(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void figures_make(struct flood *f, const uint64_t was[COUNTERS_N])
{
	struct flood_figures *g = &f->figures;
	uint64_t now[COUNTERS_N];

	counted(now);
	g->cookies_sent = now[0] - was[0];
	g->cookies_taken = now[1] - was[1];
	g->overflows = now[2] - was[2];
	g->queue_dropped = f->wire.queue_dropped;
	g->goodput = f->counted * US_PER_SEC / (f->end_us - f->counted_from_us);
	g->messages = f->due;
	for (uint64_t i = f->done; i < f->due; i++)
		f->round_trip_us[i] = UINT32_MAX; /* it never came back */
	qsort(f->round_trip_us, f->due, sizeof(uint32_t), shorter);
	if (f->due) {
		g->p50_us = f->round_trip_us[f->due / 2];
		g->p99_us = f->round_trip_us[f->due * 99 / 100];
		g->max_us = f->round_trip_us[f->due - 1];
	}
}

static void tear_down(struct flood *f)
{
	wire_fini(&f->wire);
	f->figures.after = frames_in_use(f->host[SERVER].pools);
	while (f->leaked_n)
		rte_pktmbuf_free(f->leaked[--f->leaked_n]);
	for (unsigned i = 0; i < 2; i++) {
		host_fini(&f->host[i]);
		if (!host_pools_full(f->host[i].pools))
			f->figures.wrong = "an mbuf leaked";
	}
}

void flood_run(struct flood *f, const struct flood_conf *conf, struct host_pools *const pools[2])
{
	uint64_t was[COUNTERS_N];

	memset(f, 0, sizeof(*f));
	f->conf = *conf;
	f->now_us = FLOOD_START_US;
	f->begin_us = f->now_us + FLOOD_OPEN_US;
	f->end_us = f->begin_us + conf->us;
	f->counted_from_us = conf->message_us ? f->begin_us : f->begin_us + conf->us / 2;
	f->message_at = f->visitor_at = f->syn_at = f->sample_at = f->lap_at = f->begin_us;
	f->flow_random = 1;
	f->syn_random = 2;
	counted(was);
	setup(f, pools);
	while (!f->figures.wrong && f->now_us < f->end_us + FLOOD_REST_US) {
		frames_deliver(f);
		host_lap(&f->host[CLIENT], f->now_us); /* its clock, for what play() begins */
		play(f);
		laps(f);
		uint64_t next = MIN(next_event(f), f->end_us + FLOOD_REST_US);
		f->now_us = MAX(next, f->now_us + 1);
	}
	figures_make(f, was);
	tear_down(f);
}

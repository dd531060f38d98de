/* SPDX-License-Identifier: BSD-3-Clause
 * The simulator: who does what when, what goes over the wire, and what must hold at the end. */
#include "tests/sim/sim.h"
#include "dataplane/inspect.h"

#define SIM_TIME_MAX   (4 * 3600 * US_PER_SEC)
#define SIM_LAPS_MAX   2000000u
#define SIM_MUTANT_NTH 40 /* the frame that a mutant alters */

uint64_t sim_random(struct sim *sim, uint64_t n)
{
	return host_random(&sim->random) % n;
}

static void fail(struct sim *sim, const char *wrong)
{
	if (!sim->wrong)
		sim->wrong = wrong;
}

/* ---- what a stack sends ---- */

static void trace(const struct sim *sim, unsigned from, const struct packet *p, const char *what)
{
	uint8_t f = p->flags;

	fprintf(stderr, "%10llu %c %u>%u %s%s%s%s%s seq %u+%zu ack %u win %u opt %zu %s\n",
		sim->now_us - SIM_START_US, "ABC"[from], p -> sport, p -> dport,
		f &RTE_TCP_SYN_FLAG ? "S" : "", f &RTE_TCP_FIN_FLAG ? "F" : "",
		f &RTE_TCP_RST_FLAG ? "R" : "", f &RTE_TCP_ACK_FLAG ? "." : "",
		packet_ecn(p) == PACKET_ECN_CE ? "!" : "", p->seq, p->payload_n, p->ack, p->window,
		p->options_n, what);
}

/* Returns false when the frame does not reach the wire. */
static bool mutate(struct sim *sim, struct packet *p)
{
	bool established = !(p->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG));

	if (sim->mutant == SIM_MUTANT_STALL)
		return sim->wire.sent < SIM_MUTANT_NTH;
	if (sim->wire.sent < SIM_MUTANT_NTH || !p->tcp || !established)
		return true;
	if (sim->mutant == SIM_MUTANT_OCTET && p->payload_n)
		p->payload[0] ^= 1;
	else if (sim->mutant == SIM_MUTANT_EDGE)
		p->tcp->rx_win = 0;
	else if (sim->mutant == SIM_MUTANT_ACK && sim->wire.sent % 2)
		p->tcp->recv_ack = rte_cpu_to_be_32(p->ack - 1);
	packet_csum_set(p);
	return packet_parse(p->frame, p->n, p);
}

static void sim_tx(struct host *h, struct bytes frame)
{
	struct sim *sim = h->ctx;
	unsigned from = (unsigned)(h - sim->host);
	uint8_t copy[WIRE_FRAME_MAX];
	struct packet p;

	BUG_ON(frame.n > 14u + h->conf.mtu);
	memcpy(copy, frame.p, frame.n);
	if (packet_parse(copy, frame.n, &p)) {
		if (!packet_csum_ok(&p))
			fail(sim, "a wrong checksum was sent");
		if (sim->mutant != SIM_MUTANT_NONE && !mutate(sim, &p))
			return;
		wire_strip(&sim->wire, &p);
		const char *wrong = flows_check(&sim->flows, &p, host_has_conn(h, &p));
		if (wrong)
			fail(sim, wrong);
	} else {
		p.tcp = NULL;
	}
	bool arrives = wire_send(&sim->wire, from, copy, frame.n, sim->now_us);
	if (sim->verbose && p.tcp)
		trace(sim, from, &p, arrives ? "" : "LOST");
}

/* ---- running ---- */

static void left_over_fire(struct timer *t, uint64_t now_us)
{
	struct sim *sim = container_of(t, struct sim, left_over);

	timer_arm(&sim->host[0].wheel, t, now_us + 3600 * US_PER_SEC);
}

static void apps_setup(struct sim *sim)
{
	for (unsigned i = 0; i < sim->conf.conns_n; i++) {
		for (unsigned end = 0; end < 2; end++)
			sim->app[end][i] = (struct sim_app){
				.sim = sim, .end = (uint8_t)end, .conn = (uint8_t)i};
	}
}

static void hosts_setup(struct sim *sim, struct host_pools *const pools[SIM_HOSTS_MAX])
{
	for (unsigned i = 0; i < sim->conf.hosts_n; i++) {
		struct host *h = &sim->host[i];
		h->tx = sim_tx;
		h->ctx = sim;
		host_init(h, &sim->conf.host[i], pools[i], sim->seed * 4 + i, sim->now_us);
		sim->listener[i] = (struct listener){.accept = sim_app_accept, .ctx = sim};
		for (uint16_t k = 0; k < SIM_PORTS; k++)
			BUG_ON(stack_listen(h->stack, SIM_PORT + k, &sim->listener[i]) < 0);
	}
	timer_init(&sim->left_over, left_over_fire);
	if (sim->mutant == SIM_MUTANT_TIMER)
		timer_arm(&sim->host[0].wheel, &sim->left_over, sim->now_us + US_PER_SEC);
}

static uint64_t next_event(const struct sim *sim)
{
	uint64_t next = wire_next_us(&sim->wire);

	for (unsigned i = 0; i < sim->conf.hosts_n; i++) {
		next = MIN(next, timer_next_us(&sim->host[i].wheel, UINT64_MAX));
		if (sim->host[i].held_n)
			next = MIN(next, sim->now_us + US_PER_SEC);
	}
	for (unsigned i = 0; i < sim->conf.conns_n; i++) {
		for (unsigned end = 0; end < 2; end++)
			next = MIN(next, sim_app_next_us(&sim->app[end][i]));
	}
	return next;
}

static void frames_deliver(struct sim *sim)
{
	for (struct wire_frame *f; (f = wire_take(&sim->wire, sim->now_us)); free(f)) {
		struct host *h = &sim->host[f->to];
		h->now_us = sim->now_us;
		host_input(h, bytes_make(f->octets, f->n));
	}
}

/* A closed connection whose queue has made no progress for as long as it is given: the stack gives
 * it up in the lap in which its timer comes, and only then the limit was what ended it. */
static bool is_overdue(const struct tcp_conn *c, uint64_t now_us)
{
	return c->state != TCP_CLOSED && (c->flags & CF_ORPHAN) && !tcp_conn_fin_acked(c) &&
	       c->life_at && c->life_at <= now_us;
}

static void host_step(struct sim *sim, unsigned i)
{
	struct host *h = &sim->host[i];
	struct sim_app *overdue[SIM_CONNS_MAX] = {NULL};
	uint32_t index[SIM_CONNS_MAX];
	unsigned n = 0;

	for (uint32_t k = 0; k < h->conf.connections_max && n < SIM_CONNS_MAX; k++) {
		if (!is_overdue(&h->stack->conns[k], sim->now_us))
			continue;
		index[n] = k;
		overdue[n++] = sim_app_of(sim, i, &h->stack->conns[k]);
	}
	host_lap(h, sim->now_us);
	while (n-- > 0) {
		if (!overdue[n] || h->stack->conns[index[n]].state != TCP_CLOSED)
			continue;
		overdue[n]->given_up = true;
		sim->given_up++;
	}
	host_check(h);
}

static void step(struct sim *sim)
{
	frames_deliver(sim);
	for (unsigned i = 0; i < sim->conf.conns_n; i++) {
		struct sim_app *opener = &sim->app[0][i];
		if (!opener->started && sim_app_next_us(opener) <= sim->now_us)
			sim_app_start(sim, i);
		for (unsigned end = 0; end < 2; end++)
			sim_app_step(&sim->app[end][i]);
	}
	for (unsigned i = 0; i < sim->conf.hosts_n; i++)
		host_step(sim, i);
}

/* ---- the end ---- */

static const char *verdict(const struct sim *sim)
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < sim->conf.conns_n && !wrong; i++) {
		wrong = sim_app_verdict(&sim->app[0][i]);
		if (!wrong)
			wrong = sim_app_verdict(&sim->app[1][i]);
	}
	for (unsigned i = 0; i < sim->conf.hosts_n && !wrong; i++) {
		struct stack_info info;
		stack_get_info(sim->host[i].stack, &info);
		if (info.connections)
			wrong = "a connection is left";
		else if (sim->host[i].wheel.armed)
			wrong = "a timer is left";
	}
	return wrong;
}

static void dump(const struct sim *sim)
{
	for (unsigned h = 0; h < sim->conf.hosts_n; h++) {
		struct stack_conn_info info[16];
		uint32_t from = 0;
		unsigned n = stack_list(sim->host[h].stack, &(struct stack_filter){0}, &from,
			UINT32_MAX, info, ARRAY_LEN(info));
		for (unsigned i = 0; i < n; i++)
			fprintf(stderr, "%c port %u/%u %s cwnd %u queued %u unread %u\n", "ABC"[h],
				info[i].local.port, info[i].peer.port,
				stack_state_text(info[i].state), info[i].cwnd,
				info[i].flight + info[i].unsent, info[i].unread);
	}
	for (unsigned i = 0; i < sim->conf.conns_n; i++) {
		for (unsigned end = 0; end < 2; end++) {
			const struct sim_app *a = &sim->app[end][i];
			fprintf(stderr,
				"conn %u %c sent %lu/%lu received %lu open %d eof %d shut %d "
				"closed %d aborted %d stopped %d reason %d\n",
				i, "ABC"[sim->conf.conn[i].host[end]], a -> sent,
				sim -> conf.conn[i].to_send[end], a->received, a->open, a->eof,
				a->shut, a->closed, a->aborted, a->stopped, (int)a->reason);
		}
	}
}

void sim_init(struct sim *sim, size_t pcap_max)
{
	memset(sim, 0, sizeof(*sim));
	pcap_init(&sim->pcap, pcap_max);
}

void sim_fini(struct sim *sim)
{
	pcap_fini(&sim->pcap);
}

static void play(struct sim *sim)
{
	uint64_t end =
		SIM_START_US + (sim->conf.time_max_us ? sim->conf.time_max_us : SIM_TIME_MAX);

	step(sim);
	for (uint64_t next; !sim->wrong && (next = next_event(sim)) != UINT64_MAX; step(sim)) {
		if (sim->conf.measure_us && next > SIM_START_US + sim->conf.measure_us)
			return;
		sim->now_us = MAX(next, sim->now_us + 1);
		if (sim->now_us > end || (++sim->laps > SIM_LAPS_MAX && !sim->conf.measure_us))
			fail(sim, "did not come to rest");
	}
}

static void tear_down(struct sim *sim)
{
	struct rte_mbuf *leak = NULL;

	wire_fini(&sim->wire);
	timer_cancel(&sim->host[0].wheel, &sim->left_over);
	if (sim->mutant == SIM_MUTANT_LEAK)
		leak = rte_pktmbuf_alloc(sim->host[0].pools->tx);
	for (unsigned i = 0; i < sim->conf.hosts_n; i++) {
		host_fini(&sim->host[i]);
		if (!host_pools_full(sim->host[i].pools))
			fail(sim, "an mbuf leaked");
	}
	rte_pktmbuf_free(leak);
}

const char *sim_run(struct sim *sim, const struct sim_conf *conf, uint64_t seed,
	struct host_pools *const pools[SIM_HOSTS_MAX])
{
	sim->conf = *conf;
	sim->seed = sim->random = seed;
	sim->now_us = SIM_START_US;
	sim->wrong = NULL;
	sim->laps = 0;
	sim->flows.n = 0;
	pcap_reset(&sim->pcap);
	wire_init(&sim->wire, &conf->wire, conf->hosts_n, &sim->random, &sim->pcap);
	memcpy(sim->wire.rules, conf->rules, sizeof(conf->rules));
	sim->wire.rules_n = conf->rules_n;
	apps_setup(sim);
	hosts_setup(sim, pools);
	play(sim);
	if (!sim->wrong && !conf->measure_us)
		sim->wrong = verdict(sim);
	if (sim->wrong && sim->verbose)
		dump(sim);
	tear_down(sim);
	return sim->wrong;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim.h"
#include <rte_ether.h>
#include "dataplane/csum.h"

#define SIM_PORT     25
#define SIM_TIME_MAX (4 * 3600 * US_PER_SEC)
#define SIM_LAPS_MAX 2000000u
#define SIM_START_US (1000 * US_PER_SEC)

static uint64_t rnd(struct sim *sim, uint64_t n)
{
	return host_random(&sim->random) % n;
}

/* ---- the wire ---- */

static bool frame_before(const struct sim_frame *a, const struct sim_frame *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct sim *sim, struct sim_frame *f)
{
	unsigned i = sim->frame_n++;

	for (; i > 0 && frame_before(f, sim->frames[(i - 1) / 2]); i = (i - 1) / 2)
		sim->frames[i] = sim->frames[(i - 1) / 2];
	sim->frames[i] = f;
}

static struct sim_frame *heap_pop(struct sim *sim)
{
	struct sim_frame *top = sim->frames[0], *last = sim->frames[--sim->frame_n];
	unsigned i = 0;

	for (unsigned child; (child = 2 * i + 1) < sim->frame_n; i = child) {
		if (child + 1 < sim->frame_n &&
			frame_before(sim->frames[child + 1], sim->frames[child]))
			child++;
		if (!frame_before(sim->frames[child], last))
			break;
		sim->frames[i] = sim->frames[child];
	}
	sim->frames[i] = last;
	return top;
}

static void wire_schedule(struct sim *sim, unsigned to, const uint8_t *octets, size_t n)
{
	struct sim_frame *f;
	uint64_t start = MAX(sim->now_us, sim->busy_until[to]);

	if (sim->frame_n == SIM_FRAMES_MAX) {
		sim->dropped++;
		return;
	}
	f = malloc(sizeof(*f));
	BUG_ON(!f);
	*f = (struct sim_frame){.order = sim->order++, .to = (uint8_t)to, .n = (uint16_t)n};
	f->octets = malloc(n);
	BUG_ON(!f->octets);
	memcpy(f->octets, octets, n);
	if (sim->wire.us_per_kb) {
		start += n * sim->wire.us_per_kb / 1000;
		sim->busy_until[to] = start;
	}
	f->at_us = start + sim->wire.delay_us;
	if (sim->wire.jitter_us)
		f->at_us += rnd(sim, sim->wire.jitter_us);
	heap_push(sim, f);
}

struct parsed {
	struct rte_ipv4_hdr *ip;
	struct rte_tcp_hdr *tcp;
	uint8_t *options;
	size_t options_n, payload_n;
};

static bool parse(uint8_t *frame, size_t n, struct parsed *p)
{
	if (n < 14 + 20 + 20 || frame[12] != 8 || frame[13] != 0)
		return false;
	p->ip = (struct rte_ipv4_hdr *)(frame + 14);
	if (p->ip->next_proto_id != IPPROTO_TCP)
		return false;
	p->tcp = (struct rte_tcp_hdr *)(p->ip + 1);
	p->options = (uint8_t *)(p->tcp + 1);
	p->options_n = (p->tcp->data_off >> 4) * 4u - 20;
	p->payload_n = n - 14 - 20 - 20 - p->options_n;
	return true;
}

/* Replace an option by NOPs, as a meddling middlebox does. */
static void option_strip(struct parsed *p, uint8_t kind)
{
	for (size_t i = 0; i < p->options_n && p->options[i];) {
		size_t n = p->options[i] == 1 ? 1 : p->options[i + 1];
		if (p->options[i] == kind)
			memset(p->options + i, 1, n);
		i += n;
	}
	p->tcp->cksum = 0;
	p->tcp->cksum = rte_ipv4_udptcp_cksum(p->ip, p->tcp);
}

static int option_wscale(const struct parsed *p)
{
	for (size_t i = 0; i < p->options_n && p->options[i];) {
		if (p->options[i] == 3)
			return p->options[i + 2];
		i += p->options[i] == 1 ? 1 : p->options[i + 1];
	}
	return -1;
}

/* Property: the right edge of the window never moves left. */
static void edge_check(struct sim *sim, unsigned from, const struct parsed *p)
{
	uint16_t sport = rte_be_to_cpu_16(p->tcp->src_port),
		 dport = rte_be_to_cpu_16(p->tcp->dst_port);
	uint16_t port = from == 0 ? sport : dport;
	uint32_t ack = rte_be_to_cpu_32(p->tcp->recv_ack);
	bool syn = p->tcp->tcp_flags & RTE_TCP_SYN_FLAG;
	unsigned i = 0;

	if ((p->tcp->tcp_flags & RTE_TCP_RST_FLAG))
		return;
	for (; i < ARRAY_LEN(sim->edges) - 1 && sim->edges[i].port != port; i++) {
		if (!sim->edges[i].port)
			sim->edges[i].port = port;
		if (sim->edges[i].port == port)
			break;
	}
	if (syn && option_wscale(p) >= 0)
		sim->edges[i].scale[from] = (uint8_t)option_wscale(p);
	if (!(p->tcp->tcp_flags & RTE_TCP_ACK_FLAG))
		return;
	bool scaled = !syn && !sim->wire.strip_wscale;
	uint32_t edge = ack + ((uint32_t)rte_be_to_cpu_16(p->tcp->rx_win)
				      << (scaled ? sim->edges[i].scale[from] : 0));
	/* what TIME_WAIT answers has window 0 and the final ACK number */
	bool time_wait = p->tcp->rx_win == 0 && !p->payload_n;
	if (sim->edges[i].known[from] && !time_wait && seq_lt(edge, sim->edges[i].edge[from])) {
		fprintf(stderr, "seed %lu: right edge moved left by %d\n", sim->seed,
			(int32_t)(sim->edges[i].edge[from] - edge));
		abort();
	}
	if (!time_wait)
		sim->edges[i].edge[from] = edge;
	sim->edges[i].known[from] = true;
}

static void trace(const struct sim *sim, unsigned from, const struct parsed *p, const char *what)
{
	uint8_t f = p->tcp->tcp_flags;

	fprintf(stderr, "%10llu %c %u>%u %s%s%s%s seq %u+%zu ack %u win %u opt %zu %s\n",
		sim->now_us - SIM_START_US, from ? 'B' : 'A', rte_be_to_cpu_16(p->tcp->src_port),
		rte_be_to_cpu_16(p->tcp->dst_port), f & RTE_TCP_SYN_FLAG ? "S" : "",
		f & RTE_TCP_FIN_FLAG ? "F" : "", f & RTE_TCP_RST_FLAG ? "R" : "",
		f & RTE_TCP_ACK_FLAG ? "." : "", rte_be_to_cpu_32(p->tcp->sent_seq), p->payload_n,
		rte_be_to_cpu_32(p->tcp->recv_ack), rte_be_to_cpu_16(p->tcp->rx_win), p->options_n,
		what);
}

static void wire_tx(struct host *h, struct bytes frame)
{
	struct sim *sim = h->ctx;
	unsigned from = h == &sim->host[1], to = !from;
	uint8_t copy[2048];
	struct parsed p;

	BUG_ON(frame.n > 14u + h->conf.mtu);
	memcpy(copy, frame.p, frame.n);
	sim->frames_sent++;
	bool tcp = parse(copy, frame.n, &p);
	if (tcp) {
		BUG_ON(!csum_ip4_ok(p.ip) || rte_ipv4_udptcp_cksum(p.ip, p.tcp) != 0);
		if ((p.tcp->tcp_flags & RTE_TCP_SYN_FLAG) && sim->wire.strip_sack)
			option_strip(&p, 4);
		if ((p.tcp->tcp_flags & RTE_TCP_SYN_FLAG) && sim->wire.strip_wscale)
			option_strip(&p, 3);
		edge_check(sim, from, &p);
	}
	/* Three lost ARP questions are an unreachable host, rightly: only TCP is lost here. */
	bool lost = tcp && rnd(sim, 1000) < sim->wire.loss;
	if (sim->verbose && tcp)
		trace(sim, from, &p, lost ? "LOST" : "");
	if (lost) {
		sim->dropped++;
		return;
	}
	if (tcp && rnd(sim, 1000) < sim->wire.corrupt)
		copy[14 + rnd(sim, frame.n - 14)] ^= (uint8_t)(1 << rnd(sim, 8));
	wire_schedule(sim, to, copy, frame.n);
	if (rnd(sim, 1000) < sim->wire.duplicate)
		wire_schedule(sim, to, copy, frame.n);
}

/* ---- the applications ---- */

static uint8_t content(const struct sim_app *a, unsigned from, uint64_t i)
{
	uint64_t x = (a->sim->seed * 31 + a->conn * 7 + from) * 0x9e3779b97f4a7c15ull + i * i + i;

	return (uint8_t)(x >> 13 ^ i >> 8 ^ i);
}

static void app_send(struct sim_app *a)
{
	uint8_t chunk[5000];

	while (a->sent < a->to_send) {
		size_t n = 1 + rnd(a->sim, sizeof(chunk));
		n = MIN(n, a->to_send - a->sent);
		for (size_t i = 0; i < n; i++)
			chunk[i] = content(a, a->end, a->sent + i);
		size_t took = stream_send(&a->s, bytes_make(chunk, n));
		a->sent += took;
		if (took < n)
			return;
		if (rnd(a->sim, 8) == 0)
			break;
	}
	if (a->sent == a->to_send && !a->shut) {
		a->shut = true;
		if (a->eof || a->end_by_close) {
			a->closed = true;
			stream_close(&a->s);
		} else {
			stream_shutdown(&a->s);
		}
	}
}

static void app_on_open(struct stream *s)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->open);
	a->open = true;
	app_send(a);
}

static size_t app_on_data(struct stream *s, struct bytes data)
{
	struct sim_app *a = container_of(s, struct sim_app, s);
	size_t take = data.n;

	BUG_ON(a->closed || a->eof || a->stopped);
	if (rnd(a->sim, 16) == 0) {
		take = rnd(a->sim, data.n + 1);
		if (take < data.n) {
			a->stopped = true;
			a->resume_at = a->sim->now_us + rnd(a->sim, 3 * US_PER_SEC);
		}
	}
	for (size_t i = 0; i < take; i++) {
		if (data.p[i] != content(a, !a->end, a->received + i)) {
			fprintf(stderr, "seed %lu: wrong octet at %lu\n", a->sim->seed,
				a->received + i);
			abort();
		}
	}
	a->received += take;
	return take;
}

static void app_on_eof(struct stream *s)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->eof || a->closed);
	a->eof = true;
	if (a->sent == a->to_send && rnd(a->sim, 2)) {
		a->closed = true;
		stream_close(s);
	}
}

static void app_on_writable(struct stream *s)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->closed);
	a->open = true;
	app_send(a);
}

static void app_on_close(struct stream *s, enum stream_reason reason)
{
	struct sim_app *a = container_of(s, struct sim_app, s);

	BUG_ON(a->closed);
	a->closed = true;
	a->reason = reason;
	a->reset = reason != STREAM_CLOSED;
}

static const struct stream_ops app_ops = {
	.on_open = app_on_open,
	.on_data = app_on_data,
	.on_eof = app_on_eof,
	.on_writable = app_on_writable,
	.on_close = app_on_close,
};

static struct stream *sim_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct sim *sim = l->ctx;

	(void)local;
	for (unsigned i = 0; i < sim->conns; i++) {
		struct sim_app *client = &sim->app[0][i], *a = &sim->app[1][i];
		if (client->s.local.port == peer->port && !a->s.ops) {
			a->s.ops = &app_ops;
			sim->accepted++;
			return &a->s;
		}
	}
	return NULL;
}

static void apps_step(struct sim *sim)
{
	for (unsigned end = 0; end < 2; end++) {
		for (unsigned i = 0; i < sim->conns; i++) {
			struct sim_app *a = &sim->app[end][i];
			if (a->closed || !a->open)
				continue;
			if (a->stopped && a->resume_at <= sim->now_us) {
				a->stopped = false;
				stream_resume(&a->s);
			}
			if (a->sent < a->to_send && rnd(sim, 4) == 0)
				app_send(a);
			else if (a->shut && a->eof && !a->closed && rnd(sim, 8) == 0) {
				a->closed = true;
				stream_close(&a->s);
			}
		}
	}
}

/* ---- running ---- */

static uint64_t size_pick(struct sim *sim)
{
	switch (rnd(sim, 4)) {
	case 0:
		return rnd(sim, 4);
	case 1:
		return rnd(sim, 3000);
	default:
		return rnd(sim, 120000);
	}
}

static void sim_setup(struct sim *sim, struct host_pools pools[2])
{
	static const uint16_t mtus[] = {1500, 1500, 576, 1280};
	static const uint32_t buffers[] = {4096, 20000, 65536, 262144};
	struct sim_wire *w = &sim->wire;

	w->loss = rnd(sim, 3) ? (unsigned)rnd(sim, 120) : 0;
	w->duplicate = rnd(sim, 2) ? (unsigned)rnd(sim, 50) : 0;
	w->corrupt = rnd(sim, 2) ? (unsigned)rnd(sim, 30) : 0;
	w->delay_us = 10 + rnd(sim, 100000);
	w->jitter_us = rnd(sim, 2) ? 1 + rnd(sim, w->delay_us * 2) : 0;
	w->us_per_kb = rnd(sim, 2) ? rnd(sim, 5000) : 0;
	w->strip_sack = rnd(sim, 3) == 0;
	w->strip_wscale = rnd(sim, 6) == 0;
	for (unsigned i = 0; i < 2; i++) {
		struct host_conf conf = {
			.address = (198u << 24) + (18u << 16) + 1 + i,
			.mac = (uint8_t)(1 + i),
			.mtu = mtus[rnd(sim, ARRAY_LEN(mtus))],
			.connections_max = 16,
			.rcv_buffer = buffers[rnd(sim, ARRAY_LEN(buffers))],
			.snd_buffer = buffers[rnd(sim, ARRAY_LEN(buffers))],
			.hold_tx = rnd(sim, 2),
		};
		sim->host[i].tx = wire_tx;
		sim->host[i].ctx = sim;
		host_init(&sim->host[i], &conf, &pools[i], sim->seed * 2 + i, sim->now_us);
	}
	sim->listener = (struct listener){.accept = sim_accept, .ctx = sim};
	BUG_ON(stack_listen(sim->host[1].stack, SIM_PORT, &sim->listener) < 0);
	sim->conns = 1 + (unsigned)rnd(sim, SIM_CONNS_MAX);
	for (unsigned i = 0; i < sim->conns; i++) {
		for (unsigned end = 0; end < 2; end++) {
			struct sim_app *a = &sim->app[end][i];
			*a = (struct sim_app){.sim = sim, .end = (uint8_t)end, .conn = (uint8_t)i};
			a->to_send = size_pick(sim);
		}
		struct endpoint remote = {host_ip(&sim->host[1]), SIM_PORT};
		sim->app[0][i].s.ops = &app_ops;
		BUG_ON(stream_connect(sim->host[0].stack, &sim->app[0][i].s, &remote,
			       600 * US_PER_SEC) < 0);
	}
}

static uint64_t next_event(const struct sim *sim)
{
	uint64_t next = sim->frame_n ? sim->frames[0]->at_us : UINT64_MAX;

	for (unsigned end = 0; end < 2; end++) {
		next = MIN(next, timer_next_us(&sim->host[end].wheel));
		for (unsigned i = 0; i < sim->conns; i++) {
			const struct sim_app *a = &sim->app[end][i];
			if (a->closed || !a->open)
				continue;
			if (a->stopped)
				next = MIN(next, a->resume_at);
			else if (a->sent < a->to_send || (a->shut && a->eof))
				next = MIN(next, sim->now_us + 100 * US_PER_MS);
		}
		if (sim->host[end].held_n)
			next = MIN(next, sim->now_us + US_PER_SEC);
	}
	return next;
}

static void step(struct sim *sim)
{
	while (sim->frame_n && sim->frames[0]->at_us <= sim->now_us) {
		struct sim_frame *f = heap_pop(sim);
		struct host *h = &sim->host[f->to];
		h->now_us = sim->now_us;
		host_input(h, bytes_make(f->octets, f->n));
		free(f->octets);
		free(f);
	}
	apps_step(sim);
	for (unsigned end = 0; end < 2; end++) {
		host_lap(&sim->host[end], sim->now_us);
		host_check(&sim->host[end]);
	}
}

static const char *verdict(const struct sim *sim)
{
	for (unsigned i = 0; i < sim->conns; i++) {
		for (unsigned end = 0; end < 2; end++) {
			const struct sim_app *a = &sim->app[end][i], *b = &sim->app[!end][i];
			if (!a->closed)
				return "an application was never told of the end";
			if (a->reset)
				return "a connection was reset or timed out";
			if (a->sent != a->to_send)
				return "not all was sent";
			if (a->received != b->to_send)
				return "the streams differ in length";
		}
	}
	for (unsigned end = 0; end < 2; end++) {
		struct stack_info info;
		stack_get_info(sim->host[end].stack, &info);
		if (info.connections)
			return "a connection is left";
		if (sim->host[end].wheel.armed)
			return "a timer is left";
	}
	return NULL;
}

static void dump(const struct sim *sim)
{
	for (unsigned end = 0; end < 2; end++) {
		struct stack_conn_info info[16];
		uint32_t from = 0;
		unsigned n = stack_list(sim->host[end].stack, &from, info, ARRAY_LEN(info));
		for (unsigned i = 0; i < n; i++)
			fprintf(stderr, "%c port %u/%u %s cwnd %u queued %u unread %u\n", "AB"[end],
				info[i].local.port, info[i].peer.port, info[i].state, info[i].cwnd,
				info[i].snd_queued, info[i].rcv_queued);
		for (unsigned i = 0; i < sim->conns; i++) {
			const struct sim_app *a = &sim->app[end][i];
			fprintf(stderr,
				"%c%u sent %lu/%lu received %lu open %d eof %d shut %d closed %d "
				"stopped %d reason %d\n",
				"AB"[end], i, a -> sent, a -> to_send, a -> received, a -> open,
				a -> eof, a -> shut, a -> closed, a -> stopped, a -> reason);
		}
	}
}

const char *sim_run(struct sim *sim, uint64_t seed, struct host_pools pools[2], bool verbose)
{
	const char *wrong = NULL;
	unsigned laps = 0;

	memset(sim, 0, sizeof(*sim));
	sim->seed = sim->random = seed;
	sim->now_us = SIM_START_US;
	sim->verbose = verbose;
	sim_setup(sim, pools);
	step(sim);
	for (uint64_t next; (next = next_event(sim)) != UINT64_MAX; step(sim)) {
		sim->now_us = MAX(next, sim->now_us + 1);
		if (sim->now_us > SIM_START_US + SIM_TIME_MAX || ++laps > SIM_LAPS_MAX) {
			wrong = "did not come to rest";
			break;
		}
	}
	if (!wrong)
		wrong = verdict(sim);
	if (wrong && verbose)
		dump(sim);
	while (sim->frame_n) {
		struct sim_frame *f = heap_pop(sim);
		free(f->octets);
		free(f);
	}
	host_fini(&sim->host[0]);
	host_fini(&sim->host[1]);
	if (!host_pools_full(&pools[0]) || !host_pools_full(&pools[1]))
		return "an mbuf leaked";
	return wrong;
}

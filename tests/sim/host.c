/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/host.h"
#include "tests/sim/card.h"
#include "tests/sim/frame.h"

#define TX_PRIV 64
#define TX_ROOM (RTE_PKTMBUF_HEADROOM + 2048)
/* Less than real cards have, so that limits are met. */
#define CARD_SEGMENTS 7
#define CARD_OCTETS   9000
#define TEND_LAPS     5                             /* main comes seldom */
#define CTL_ROOM      (RTE_PKTMBUF_HEADROOM + 1280) /* an ICMP error of IPv6 */

uint64_t host_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void host_pools_init(struct host_pools *p, const char *name, unsigned rx, unsigned tx)
{
	char text[32];

	snprintf(text, sizeof(text), "%s_rx", name);
	p->rx = frame_pool_create(text, rx);
	snprintf(text, sizeof(text), "%s_tx", name);
	p->tx = rte_pktmbuf_pool_create(text, tx, 0, TX_PRIV, TX_ROOM, SOCKET_ID_ANY);
	snprintf(text, sizeof(text), "%s_ctl", name);
	p->control = rte_pktmbuf_pool_create(text, 1023, 0, 0, CTL_ROOM, SOCKET_ID_ANY);
	BUG_ON(!p->tx || !p->control);
}

bool host_pools_full(const struct host_pools *p)
{
	const struct rte_mempool *pools[] = {p->rx, p->tx, p->control};
	bool full = true;

	for (unsigned i = 0; i < ARRAY_LEN(pools); i++) {
		if (rte_mempool_avail_count(pools[i]) == pools[i]->size)
			continue;
		fprintf(stderr, "pool %s: %u of %u\n", pools[i]->name,
			rte_mempool_avail_count(pools[i]), pools[i]->size);
		full = false;
	}
	return full;
}

static void held_release(struct host *h, unsigned i)
{
	rte_pktmbuf_free(h->held[i]);
	h->held[i] = h->held[--h->held_n];
}

static void card_tx(void *ctx, struct bytes frame)
{
	struct host *h = ctx;

	h->tx(h, frame);
}

static void host_tx(void *ctx, unsigned port, struct rte_mbuf *m)
{
	struct host *h = ctx;

	BUG_ON(port != 0);
	if (h->conf.card) {
		card_send(m, card_tx, h);
	} else {
		BUG_ON(m->nb_segs != 1 || m->next || m->pkt_len != m->data_len);
		h->tx(h, bytes_make(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len));
	}
	if (!h->conf.hold_tx || h->held_n == HOST_HELD_MAX || host_random(&h->random) % 4) {
		rte_pktmbuf_free(m);
		return;
	}
	h->held[h->held_n++] = m;
}

static uint64_t random64(void *ctx)
{
	struct host *h = ctx;

	return host_random(&h->random);
}

static struct ip_addr ip6_of(uint8_t last)
{
	return (struct ip_addr){
		{0x20, 0x01, 0, 2, [15] = last}
        };
}

static void router_set(const struct host_conf *conf, struct stack_port *p)
{
	p->has_gateway = conf->router;
	p->gateway = ip_from_v4(rte_cpu_to_be_32((conf->address & ~0xffu) | conf->router));
	p->has_gateway6 = conf->router && conf->v6;
	p->gateway6 = ip6_of(conf->router);
}

void host_init(struct host *h, const struct host_conf *conf, struct host_pools *pools,
	uint64_t seed, uint64_t now_us)
{
	host_tx_fn tx = h->tx;
	void *ctx = h->ctx;

	*h = (struct host){.pools = pools,
		.conf = *conf,
		.now_us = now_us,
		.random = seed,
		.tx = tx,
		.ctx = ctx};
	timer_wheel_init(&h->wheel, now_us);
	struct stack_conf sc = {
		.connections_max = conf->connections_max,
		.rcv_buffer_bytes = conf->rcv_buffer,
		.snd_buffer_bytes = conf->snd_buffer,
		.port_count = 1,
		.table_slots = conf->table_slots,
		.tcp = conf->tcp,
		.ports[0] = {.mac = {2, 0, 0, 0, 0, conf->mac},
			     .mtu = conf->mtu,
			     .vlan = conf->vlan,
			     .address[0] = {.ip = host_ip(h), .prefix = 96 + 24},
			     .address_count = 1,
			     .tx_csum_ip = conf->card,
			     .tx_csum_tcp = conf->card,
			     .tso_segments = conf->card ? CARD_SEGMENTS : 0,
			     .tso_octets = conf->card ? CARD_OCTETS : 0,
			     .discovery = conf->discovery,
			     .name = "p0",
			     .trust_rx_csum = conf->trust_csum},
	};
	if (conf->v6)
		sc.ports[0].address[sc.ports[0].address_count++] =
			(struct ip_net){.ip = host_ip6(h), .prefix = 64};
	router_set(conf, &sc.ports[0]);
	struct stack_env env = {
		.ctx = h,
		.tx = host_tx,
		.random64 = random64,
		.tx_pool = pools->tx,
		.control_pool = pools->control,
		.wheel = &h->wheel,
		.now_us = now_us,
	};
	h->stack = stack_create(&sc, &env, SOCKET_ID_ANY);
	BUG_ON(!h->stack);
}

void host_fini(struct host *h)
{
	stack_destroy(&h->stack);
	while (h->held_n)
		held_release(h, 0);
	BUG_ON(h->wheel.armed);
}

void host_input(struct host *h, struct bytes frame)
{
	struct rte_mbuf *m = frame_make(h->pools->rx, frame);

	stack_input(h->stack, 0, &m, 1, h->now_us);
}

unsigned host_lap(struct host *h, uint64_t now_us)
{
	h->now_us = now_us;
	for (unsigned i = h->held_n; i > 0; i--) {
		if (host_random(&h->random) % 8 == 0)
			held_release(h, i - 1);
	}
	unsigned n = timer_run(&h->wheel, now_us, 64);
	if (h->laps++ % TEND_LAPS == 0 && !h->untended)
		stack_tend(h->stack);
	return n + stack_flush(h->stack, now_us);
}

struct ip_addr host_ip(const struct host *h)
{
	return ip_from_v4(rte_cpu_to_be_32(h->conf.address));
}

struct ip_addr host_ip6(const struct host *h)
{
	return ip6_of(h->conf.mac);
}

bool host_has_conn(const struct host *h, const struct packet *sent)
{
	const struct stack *st = h->stack;

	for (uint32_t i = 0; sent->tcp && i < st->conf.connections_max; i++) {
		const struct tcp_conn *c = &st->conns[i];
		if (c->state != TCP_CLOSED && c->key.local_port == sent->sport &&
			c->key.peer_port == sent->dport && ip_eq(&c->key.peer, &sent->to) &&
			ip_eq(&c->key.local, &sent->from))
			return true;
	}
	if (!sent->tcp)
		return false;
	struct tcp_key key = {.local = sent->from,
		.peer = sent->to,
		.local_port = sent->sport,
		.peer_port = sent->dport};
	return tcp_syn_lookup(h->stack, &key) != NULL;
}

static void conn_check(const struct tcp_conn *c)
{
	uint32_t in_flight = 0, sacked = 0, lost = 0, seq = c->snd_una;

	BUG_ON(seq_lt(c->snd_nxt, c->snd_una));
	BUG_ON(seq_lt(c->snd_end + 1, c->snd_nxt));
	for (struct rte_mbuf *m = c->sendq; m; m = tcp_txseg_of(m)->next) {
		const struct tcp_txseg *seg = tcp_txseg_of(m);
		if (m == c->unsent)
			break;
		BUG_ON(seg->seq != seq || seg->len == 0);
		seq += seg->len;
		in_flight += seg->len;
		sacked += seg->flags & TXS_SACKED ? seg->len : 0;
		lost += seg->flags & TXS_LOST ? seg->len : 0;
		BUG_ON((seg->flags & (TXS_SACKED | TXS_LOST)) == (TXS_SACKED | TXS_LOST));
	}
	BUG_ON(sacked != c->sacked || lost != c->lost || sacked + lost > in_flight);
	BUG_ON(c->state >= TCP_ESTABLISHED && seq_lt(c->snd_una + in_flight + 1, c->snd_nxt));
	BUG_ON(c->charged > 3 * c->stack->conf.rcv_buffer_bytes + 2 * 70000);
	for (const struct rte_mbuf *m = c->ooo; m && m->next; m = m->next)
		BUG_ON(seq_lt(m->next->hash.usr, m->hash.usr + m->data_len));
	/* something in flight is always watched by a timer */
	BUG_ON(c->state >= TCP_ESTABLISHED && tcp_flight(c) && !c->rto_at);
	BUG_ON(c->rto_at && list_empty(&c->lap) && !timer_armed(&c->timer));
}

void host_check(const struct host *h)
{
	const struct stack *st = h->stack;

	for (uint32_t i = 0; i < st->conf.connections_max; i++) {
		if (st->conns[i].state != TCP_CLOSED)
			conn_check(&st->conns[i]);
	}
}

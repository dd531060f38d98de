/* SPDX-License-Identifier: BSD-3-Clause
 * Copies of what is in a stack, for people.  OWNER: one core. */
#include "dataplane/inspect.h"
#include "dataplane/stack_priv.h"

static_assert((int)STACK_STATE_TIME_WAIT == TCP_STATE_N, "states as in tcp_priv.h, then TIME_WAIT");
static_assert((int)STACK_STATE_LAST_ACK == TCP_LAST_ACK, "states as in tcp_priv.h");

static const char *const state_text[STACK_STATE_N] = {
	[STACK_STATE_CLOSED] = "closed",
	[STACK_STATE_SYN_SENT] = "syn-sent",
	[STACK_STATE_SYN_RCVD] = "syn-received",
	[STACK_STATE_ESTABLISHED] = "established",
	[STACK_STATE_FIN_WAIT_1] = "fin-wait-1",
	[STACK_STATE_FIN_WAIT_2] = "fin-wait-2",
	[STACK_STATE_CLOSE_WAIT] = "close-wait",
	[STACK_STATE_CLOSING] = "closing",
	[STACK_STATE_LAST_ACK] = "last-ack",
	[STACK_STATE_TIME_WAIT] = "time-wait",
};

static const char *const limit_text[STACK_LIMIT_N] = {
	[STACK_LIMIT_NONE] = "nothing to send",
	[STACK_LIMIT_HANDSHAKE] = "handshake",
	[STACK_LIMIT_PEER] = "peer's window",
	[STACK_LIMIT_CONGESTION] = "congestion window",
	[STACK_LIMIT_LOSS] = "repairing losses",
	[STACK_LIMIT_MEMORY] = "no frame free",
	[STACK_LIMIT_ACK] = "waits for ACK",
};

const char *stack_state_text(enum stack_state state)
{
	return state < STACK_STATE_N ? state_text[state] : "?";
}

enum stack_state stack_state_find(const char *text)
{
	unsigned i = 0;

	while (i < STACK_STATE_N && strcmp(state_text[i], text) != 0)
		i++;
	return (enum stack_state)i;
}

const char *stack_limit_text(enum stack_limit limit)
{
	return limit < STACK_LIMIT_N ? limit_text[limit] : "?";
}

/* ---- one connection ---- */

static uint32_t unsent_bytes(const struct tcp_conn *c)
{
	uint32_t end = c->snd_end;

	return seq_lt(c->snd_nxt, end) ? end - c->snd_nxt : 0;
}

static enum stack_limit limit_of(const struct tcp_conn *c)
{
	uint32_t flight = tcp_flight(c);

	if (c->state < TCP_ESTABLISHED)
		return STACK_LIMIT_HANDSHAKE;
	if (c->flags & CF_POOL_WAIT)
		return STACK_LIMIT_MEMORY;
	if (c->flags & (CF_RECOVERY | CF_LOSS))
		return STACK_LIMIT_LOSS;
	if (unsent_bytes(c) == 0)
		return flight ? STACK_LIMIT_ACK : STACK_LIMIT_NONE;
	if (c->flags & CF_PERSIST || flight + c->mss > c->snd_wnd)
		return STACK_LIMIT_PEER;
	return flight + c->mss > c->cc.cwnd ? STACK_LIMIT_CONGESTION : STACK_LIMIT_ACK;
}

/* Octets from the first one, number start, up to edge; wraps: how often the edge went through 0. */
static uint64_t octets_since(uint32_t start, uint32_t edge, uint16_t wraps)
{
	return ((uint64_t)wraps << 32) + edge - start;
}

static uint64_t bytes_in(const struct tcp_conn *c)
{
	uint32_t fin = c->flags & CF_FIN_RCVD ? 1 : 0;

	if (c->state < TCP_ESTABLISHED)
		return 0;
	return octets_since(c->irs + 1, c->rcv_nxt - fin, tcp_note(c)->in_wraps);
}

static uint64_t bytes_out(const struct tcp_conn *c)
{
	uint32_t fin = c->flags & CF_FIN_SENT && tcp_conn_fin_acked(c) ? 1 : 0;
	uint16_t wraps = tcp_note(c)->out_wraps;

	if (c->state < TCP_ESTABLISHED)
		return 0;
	/* A FIN in front of 0 is no octet. */
	if (fin && c->snd_una == 0)
		wraps--;
	return octets_since(c->iss + 1, c->snd_una - fin, wraps);
}

static void owner_of(const struct tcp_conn *c, char out[STACK_OWNER_MAX])
{
	const struct stream *s = c->stream;

	out[0] = '\0';
	if (!s)
		snprintf(out, STACK_OWNER_MAX, "%s",
			c->flags & CF_ORPHAN ? "nobody: closed" : "handshake");
	else if (s->ops && s->ops->describe)
		s->ops->describe(s, out, STACK_OWNER_MAX);
}

static uint64_t since(const struct stack *st, uint64_t us)
{
	return us && st->now_us > us ? st->now_us - us : 0;
}

static void describe_sending(const struct tcp_conn *c, struct stack_conn_info *out)
{
	out->limit = (uint8_t)limit_of(c);
	out->mss = c->mss;
	out->cwnd = c->cc.cwnd;
	out->ssthresh = c->cc.ssthresh;
	out->srtt_us = c->srtt_us;
	out->rttvar_us = c->rttvar_us;
	out->rto_us = (uint32_t)tcp_rto_us(c);
	out->min_rtt_us = c->min_rtt_us;
	out->retransmits = tcp_note(c)->retransmits;
	out->backoff = c->backoff;
	out->retries = c->retries;
	out->flight = tcp_flight(c);
	out->unsent = unsent_bytes(c);
	out->snd_wnd = c->snd_wnd;
	out->snd_wscale = c->snd_wscale;
	out->bytes_out = bytes_out(c);
	out->recovery = c->flags & (CF_RECOVERY | CF_LOSS);
	out->persist = c->flags & CF_PERSIST;
	out->congestion = c->cc.cwnd ? tcp_cc_name(&c->cc) : "";
}

static void describe_receiving(const struct tcp_conn *c, struct stack_conn_info *out)
{
	out->ooo_buffers = c->ooo_count;
	out->unread = c->unread_bytes;
	out->charged = c->charged;
	out->rcv_wnd = seq_lt(c->rcv_nxt, c->rcv_adv) ? c->rcv_adv - c->rcv_nxt : 0;
	out->rcv_wscale = c->rcv_wscale;
	out->bytes_in = bytes_in(c);
	out->rx_stopped = c->flags & CF_RX_STOPPED;
}

static void describe(const struct stack *st, uint32_t i, struct stack_conn_info *out)
{
	const struct tcp_conn *c = &st->conns[i];
	uint64_t began_us = (uint64_t)tcp_note(c)->began_s * US_PER_SEC;

	*out = (struct stack_conn_info){
		.id = tcp_conn_id(c, i),
		.local = {c->key.local, c->key.local_port},
		.peer = {c->key.peer,  c->key.peer_port },
		.state = c->state,
		.active = c->flags & CF_ACTIVE,
		.orphan = c->flags & CF_ORPHAN,
		.sack = c->flags & CF_SACK,
		.timestamps = c->flags & CF_TS,
		.age_us = since(st, began_us),
		.quiet_us = since(st, c->last_send_us),
	};
	describe_sending(c, out);
	describe_receiving(c, out);
	owner_of(c, out->owner);
}

/* ---- places: connections, then TIME_WAIT, then those that are half open ---- */

static void describe_key(const struct tcp_key *key, uint32_t place, enum stack_state state,
	struct stack_conn_info *out)
{
	*out = (struct stack_conn_info){
		.id = {.index = place, .generation = 1},
		.local = {key->local,     key->local_port},
		.peer = {key->peer,      key->peer_port },
		.state = (uint8_t)state,
		.congestion = "",
	};
}

static bool tw_at(const struct stack *st, uint32_t i, uint32_t place, struct stack_conn_info *out)
{
	const struct tcp_tw *tw = &st->tws[i];
	uint64_t left_us = (uint64_t)(uint32_t)(tw->until_ms - stack_ms(st)) * US_PER_MS;

	/* Those unused keep their key, but are not in the table. */
	if (tcp_tw_lookup((struct stack *)(uintptr_t)st, &tw->key) != tw)
		return false;
	describe_key(&tw->key, place, STACK_STATE_TIME_WAIT, out);
	out->age_us = TCP_TIME_WAIT_US - MIN(left_us, (uint64_t)TCP_TIME_WAIT_US);
	return true;
}

static bool syn_at(const struct stack *st, uint32_t i, uint32_t place, struct stack_conn_info *out)
{
	if (!st->syn.tags[i])
		return false;
	const struct tcp_syn *e = &st->syn.entries[i];
	describe_key(&e->key, place, STACK_STATE_SYN_RCVD, out);
	out->limit = STACK_LIMIT_HANDSHAKE;
	out->retries = e->repeats;
	return true;
}

static bool place_at(const struct stack *st, uint32_t place, struct stack_conn_info *out)
{
	uint32_t tws = st->conf.connections_max, syns = tws + st->tw_max;

	if (place >= syns)
		return syn_at(st, place - syns, place, out);
	if (place >= tws)
		return tw_at(st, place - tws, place, out);
	if (st->conns[place].state == TCP_CLOSED)
		return false;
	describe(st, place, out);
	return true;
}

static uint32_t places(const struct stack *st)
{
	return st->conf.connections_max + st->tw_max + st->syn.size;
}

static bool passes(const struct stack_filter *f, const struct stack_conn_info *c)
{
	if (f->states && !(f->states & 1u << c->state))
		return false;
	if (f->has_peer && !ip_net_has(&f->peer, &c->peer.ip))
		return false;
	return f->port == 0 || f->port == c->local.port || f->port == c->peer.port;
}

unsigned stack_list(const struct stack *st, const struct stack_filter *filter, uint32_t *from_r,
	unsigned look, struct stack_conn_info *out, unsigned max)
{
	uint32_t i = *from_r, all = places(st), end = all - MIN(all, i) > look ? i + look : all;
	unsigned n = 0;

	for (; i < end && n < max; i++) {
		if (place_at(st, i, &out[n]) && passes(filter, &out[n]))
			n++;
	}
	*from_r = i >= all ? STACK_LIST_END : i;
	return n;
}

bool stack_find(const struct stack *st, struct conn_id id, struct stack_conn_info *out)
{
	return id.index < places(st) && place_at(st, id.index, out) &&
	       out->id.generation == id.generation;
}

/* ---- neighbours and routes ---- */

static const char *neigh_text(const struct stack *st, const struct neigh *e)
{
	static const char *const text[] = {
		[NEIGH_FREE] = "free",
		[NEIGH_INCOMPLETE] = "incomplete",
		[NEIGH_STALE] = "stale",
		[NEIGH_REACHABLE] = "reachable",
		[NEIGH_DELAY] = "delay",
		[NEIGH_PROBE] = "probe",
	};

	if (e->state == NEIGH_REACHABLE && e->at_us < st->now_us)
		return text[NEIGH_STALE];
	return e->state < ARRAY_LEN(text) ? text[e->state] : "?";
}

unsigned stack_neighs(
	const struct stack *st, uint32_t *from_r, struct stack_neigh_info *out, unsigned max)
{
	uint32_t i = *from_r;
	unsigned n = 0;

	for (; i < NEIGH_MAX && n < max; i++) {
		const struct neigh *e = &st->neigh.entries[i];
		if (e->state == NEIGH_FREE)
			continue;
		out[n] = (struct stack_neigh_info){.ip = e->ip,
			.port = e->port,
			.state = neigh_text(st, e),
			.queued = e->queued};
		memcpy(out[n++].mac, e->mac, sizeof(e->mac));
	}
	*from_r = i == NEIGH_MAX ? STACK_LIST_END : i;
	return n;
}

static const char *address_text(const struct link_address *a)
{
	static const char *const text[] = {
		[LINK_ADDRESS_TENTATIVE] = "tentative",
		[LINK_ADDRESS_USED] = "used",
		[LINK_ADDRESS_DUPLICATE] = "duplicate",
	};

	return a->state < ARRAY_LEN(text) ? text[a->state] : "?";
}

/* Of one port: our addresses with their networks, other networks on the link, routers. */
static unsigned link_routes(
	const struct stack *st, unsigned port, struct stack_route_info *out, unsigned max)
{
	const struct link *l = &st->links[port];
	unsigned n = 0;

	for (unsigned i = 0; i < l->address_count && n < max; i++)
		out[n++] = (struct stack_route_info){.net = l->address[i].net,
			.mtu = ip_link_mtu(st, port, &l->address[i].net.ip),
			.state = address_text(&l->address[i])};
	for (unsigned i = 0; i < LINK_PREFIXES_MAX && n < max; i++) {
		if (l->prefix[i].until_us > st->now_us)
			out[n++] = (struct stack_route_info){
				.net = l->prefix[i].net, .mtu = l->mtu6, .state = "advertised"};
	}
	for (unsigned i = 0; i < LINK_ROUTERS_MAX && n < max; i++) {
		const struct link_router *r = &l->router[i];
		if (r->until_us > st->now_us)
			out[n++] = (struct stack_route_info){.gateway = r->ip,
				.has_gateway = true,
				.mtu = ip_link_mtu(st, port, &r->ip),
				.state = r->silent_us                ? "silent"
					 : r->until_us == UINT64_MAX ? "configured"
								     : "advertised"};
	}
	return n;
}

unsigned stack_routes(const struct stack *st, struct stack_route_info *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < st->conf.port_count; i++) {
		unsigned more = link_routes(st, i, out + n, max - n);
		for (unsigned k = n; k < n + more; k++)
			out[k].port = (uint8_t)i;
		n += more;
	}
	return n;
}

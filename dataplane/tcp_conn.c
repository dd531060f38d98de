/* SPDX-License-Identifier: BSD-3-Clause
 * Life of a connection. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

struct tcp_conn *tcp_conn_lookup(struct stack *st, const struct tcp_key *key)
{
	uint32_t hash = stack_hash(st, key), pos = 0, ref;

	while ((ref = tcp_table_next(&st->table, hash, &pos)) != TCP_REF_NONE) {
		if (ref < st->conf.connections_max && tcp_key_eq(&st->conns[ref].key, key))
			return &st->conns[ref];
	}
	return NULL;
}

/* RFC 6528: a clock of 4 us plus a keyed hash of the 4-tuple. */
uint32_t tcp_isn(struct stack *st, const struct tcp_key *key)
{
	return (uint32_t)(siphash24(&st->isn_key, key, sizeof(*key)) + st->now_us / 4);
}

/* Smallest shift that lets the window field say the whole buffer. */
uint8_t tcp_wscale_ours(const struct stack *st)
{
	uint8_t scale = 0;

	while (scale < TCP_WSCALE_MAX && st->conf.rcv_buffer_bytes >> scale > UINT16_MAX)
		scale++;
	return scale;
}

struct tcp_conn *tcp_conn_create(struct stack *st, const struct tcp_key *key, unsigned port)
{
	if (list_empty(&st->conn_unused))
		return NULL;
	struct tcp_conn *c = list_entry(st->conn_unused.next, struct tcp_conn, lap);
	uint32_t index = stack_conn_index(st, c), hash = stack_hash(st, key);
	uint32_t generation = c->generation + 1;
	if (!tcp_table_add(&st->table, hash, index)) {
		counter_inc(CTR_TCP_TABLE_FULL);
		return NULL;
	}
	list_remove(&c->lap);
	memset(c, 0, sizeof(*c));
	memset(&st->cold[index], 0, sizeof(struct tcp_cold));
	st->notes[index] = (struct tcp_note){.began_s = (uint32_t)(st->now_us / US_PER_SEC)};
	c->key = *key;
	c->in_table = true;
	c->generation = generation ? generation : 1;
	c->stack = st;
	c->port = (uint8_t)port;
	c->rcv_wscale = tcp_wscale_ours(st);
	c->rcv_mss = c->mss = tcp_mss_default(&key->peer);
	c->iss = tcp_isn(st, key);
	c->ts_offset = tcp_ts_offset(st, key);
	c->snd_una = c->snd_nxt = c->iss;
	c->snd_end = c->iss + 1;
	list_init(&c->lap);
	list_init(&c->pending);
	timer_init(&c->timer, tcp_timer_fire);
	st->connections++;
	return c;
}

uint16_t tcp_mss_default(const struct ip_addr *peer)
{
	return ip_is_v4(peer) ? TCP_MSS_DEFAULT : TCP_MSS_DEFAULT6;
}

uint16_t tcp_mss_ours(const struct stack *st, unsigned port, const struct ip_addr *peer)
{
	return (uint16_t)(ip_link_mtu(st, port, peer) - ip_header_bytes(peer) -
			  sizeof(struct rte_tcp_hdr));
}

void tcp_conn_options(struct tcp_conn *c, const struct tcp_options *opt)
{
	struct stack *st = c->stack;
	uint32_t ours = tcp_mss_ours(st, c->port, &c->key.peer),
		 path = ip_path_mtu(st, &c->key.peer);
	uint32_t room = rte_pktmbuf_data_room_size(st->env.tx_pool) - RTE_PKTMBUF_HEADROOM;
	uint32_t theirs = opt->mss ? opt->mss : tcp_mss_default(&c->key.peer);

	if (opt->has_ts && !st->conf.tcp.no_timestamps)
		tcp_ts_begin(c, opt);
	/* The peer's figure is for a segment without options (RFC 6691). */
	uint32_t options = c->flags & CF_TS ? TCP_TS_OCTETS : 0;
	uint16_t mss =
		(uint16_t)MAX(MIN(MIN(theirs, ours) - MIN(options, theirs), room), TCP_MSS_MIN);
	path -= ip_header_bytes(&c->key.peer) + (uint32_t)sizeof(struct rte_tcp_hdr) + options;
	c->mss = (uint16_t)MIN(mss, path);
	tcp_mtu_begin(c, mss);
	/* RFC 7323 2.2: both or none */
	if (opt->has_wscale)
		c->flags |= CF_WSCALE;
	else
		c->rcv_wscale = 0;
	c->snd_wscale = opt->wscale;
	if (opt->sack_permitted && !st->conf.tcp.no_sack)
		c->flags |= CF_SACK;
	tcp_cc_init(&c->cc,
		st->conf.tcp.congestion == STACK_NEWRENO ? TCP_CC_NEWRENO : TCP_CC_CUBIC, c->mss,
		st->conf.tcp.initial_window);
}

void tcp_conn_set_state(struct tcp_conn *c, enum tcp_state state)
{
	struct stack *st = c->stack;

	st->states[c->state]--;
	st->states[state]++;
	c->state = (uint8_t)state;
}

void tcp_conn_dirty(struct tcp_conn *c)
{
	if (list_empty(&c->lap))
		list_push_tail(&c->stack->dirty, &c->lap);
}

void tcp_conn_attach(struct tcp_conn *c, struct stream *s)
{
	struct stack *st = c->stack;

	c->stream = s;
	s->transport = &tcp_transport;
	s->stack = st;
	s->id = tcp_conn_id(c, stack_conn_index(st, c));
	s->local = (struct endpoint){c->key.local, c->key.local_port};
	s->peer = (struct endpoint){c->key.peer, c->key.peer_port};
}

void tcp_conn_kill(struct tcp_conn *c)
{
	struct stack *st = c->stack;

	bool passive = !(c->flags & CF_ACTIVE);

	if (c->srtt_us)
		histogram_add(HIST_TCP_RTT, c->srtt_us);
	tcp_conn_set_state(c, TCP_CLOSED);
	if (c->in_table)
		tcp_table_remove(&st->table, stack_hash(st, &c->key), stack_conn_index(st, c));
	c->in_table = false;
	timer_cancel(st->env.wheel, &c->timer);
	c->rto_at = c->life_at = 0;
	c->delack_ms = 0;
	tcp_sendq_free(c);
	tcp_reass_free(c);
	list_remove(&c->pending);
	list_remove(&c->lap);
	list_push_tail(&st->conn_dead, &c->lap);
	c->stream = NULL;
	c->flags = 0;
	st->connections--;
	if (passive)
		tcp_source_connection(st, &c->key.peer, -1);
}

void tcp_conn_end(struct tcp_conn *c, enum stream_reason reason)
{
	struct stream *s = c->stream;

	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD)
		counter_inc(CTR_TCP_ATTEMPT_FAILS);
	else if (reason == STREAM_RESET)
		counter_inc(CTR_TCP_ESTAB_RESETS);
	tcp_conn_kill(c);
	if (s && s->ops->on_close)
		s->ops->on_close(s, reason);
}

bool tcp_conn_fin_acked(const struct tcp_conn *c)
{
	return (c->flags & CF_FIN_SENT) && c->snd_una == c->snd_end + 1;
}

/* The peer's FIN is next in sequence. */
static void fin_received(struct tcp_conn *c)
{
	c->flags |= CF_FIN_RCVD | CF_ACK_NOW;
	c->rcv_nxt++;
	if (c->state == TCP_ESTABLISHED)
		tcp_conn_set_state(c, TCP_CLOSE_WAIT);
	else if (c->state == TCP_FIN_WAIT_1 && !tcp_conn_fin_acked(c))
		tcp_conn_set_state(c, TCP_CLOSING);
	tcp_conn_dirty(c);
}

/* Both FINs are done. */
static void finished(struct tcp_conn *c)
{
	if (c->flags & CF_ACK_NOW)
		tcp_send_ack(c);
	if (c->state != TCP_LAST_ACK)
		tcp_tw_add(c); /* takes our place in the table */
	tcp_conn_end(c, STREAM_CLOSED);
}

void tcp_conn_progress(struct tcp_conn *c)
{
	if ((c->flags & CF_FIN_SEEN) && !(c->flags & CF_FIN_RCVD) && c->rcv_nxt == c->rcv_fin)
		fin_received(c);
	if (c->state == TCP_FIN_WAIT_1 && tcp_conn_fin_acked(c)) {
		tcp_conn_set_state(c, TCP_FIN_WAIT_2);
		if (c->flags & CF_ORPHAN)
			c->life_at = c->stack->now_us + TCP_FIN_WAIT_2_US;
	}
	if ((c->flags & (CF_FIN_RCVD | CF_EOF_TOLD)) == CF_FIN_RCVD && !c->unread && c->stream) {
		c->flags |= CF_EOF_TOLD;
		if (c->stream->ops->on_eof)
			c->stream->ops->on_eof(c->stream);
	}
	if (c->state == TCP_CLOSED)
		return;
	if ((c->flags & CF_FIN_RCVD) && tcp_conn_fin_acked(c) &&
		(!c->stream || (c->flags & CF_EOF_TOLD)))
		finished(c);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Passive opens (RFC 9293 3.10.7.2).  Half-open connections are bounded: when there are too many,
 * or no slot is free, the oldest one gives way, so that a flood cannot shut others out for longer
 * than a handshake takes. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

static struct listener *listener_find(const struct stack *st, uint16_t port)
{
	for (unsigned i = 0; i < STACK_LISTENERS_MAX; i++) {
		if (st->listeners[i].port == port && port)
			return st->listeners[i].listener;
	}
	return NULL;
}

static bool backlog_make_room(struct stack *st)
{
	if (st->syn_rcvd < st->syn_rcvd_max && !list_empty(&st->conn_unused))
		return true;
	if (list_empty(&st->backlog))
		return false;
	counter_inc(CTR_TCP_SYN_DROPPED);
	counter_inc(CTR_TCP_ATTEMPT_FAILS);
	tcp_conn_kill(list_entry(st->backlog.next, struct tcp_conn, pending));
	/* within a lap the slot of the dead is free at once: nobody above has seen it */
	if (list_empty(&st->conn_unused) && !list_empty(&st->conn_dead))
		list_push_tail(&st->conn_unused, list_pop_head(&st->conn_dead));
	return true;
}

static void syn_received(
	struct stack *st, const struct tcp_segment *seg, struct listener *l, uint32_t isn_floor)
{
	if (stack_pressure(st) >= STACK_PRESSURE_OPENS) {
		counter_inc(CTR_TCP_PRESSURE_SYN_DROPPED);
		return;
	}
	struct tcp_conn *c =
		backlog_make_room(st) ? tcp_conn_create(st, &seg->key, seg->port) : NULL;
	if (!c) {
		counter_inc(CTR_TCP_SYN_DROPPED);
		return;
	}
	if (isn_floor && seq_lt(c->iss, isn_floor + UINT16_MAX)) {
		c->iss = isn_floor + UINT16_MAX;
		c->snd_una = c->iss;
		c->snd_end = c->iss + 1;
	}
	c->listener = l;
	c->irs = seg->seq;
	c->rcv_nxt = c->rcv_adv = c->last_ack_sent = seg->seq + 1;
	c->snd_wnd = c->snd_wnd_max = seg->window;
	c->snd_wl1 = seg->seq;
	tcp_conn_options(c, &seg->opt);
	tcp_conn_set_state(c, TCP_SYN_RCVD);
	st->syn_rcvd++;
	list_push_tail(&st->backlog, &c->pending);
	tcp_send_syn(c);
	tcp_timer_rto(c);
	tcp_timer_update(c);
}

void tcp_listen_input(struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor)
{
	struct listener *l = listener_find(st, seg->key.local_port);

	if (seg->flags & RTE_TCP_RST_FLAG)
		return;
	if (!l || (seg->flags & RTE_TCP_ACK_FLAG)) {
		tcp_reply_rst(st, seg);
		return;
	}
	/* SYN+FIN is nobody's way to open a connection */
	if ((seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG)) == RTE_TCP_SYN_FLAG)
		syn_received(st, seg, l, isn_floor);
}

bool tcp_listen_accept(struct tcp_conn *c)
{
	struct endpoint peer = {c->key.peer, c->key.peer_port};
	struct endpoint local = {c->key.local, c->key.local_port};
	struct listener *l = c->listener;

	c->stack->syn_rcvd--;
	c->listener = NULL;
	list_remove(&c->pending);
	struct stream *s = l->accept(l, &peer, &local);
	if (!s) {
		tcp_send_rst(c);
		tcp_conn_kill(c);
		return false;
	}
	counter_inc(CTR_TCP_PASSIVE_OPENS);
	tcp_conn_attach(c, s);
	/* a server that speaks first does so from here */
	c->flags |= CF_TELL_WRITABLE;
	tcp_conn_dirty(c);
	return true;
}

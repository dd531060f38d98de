/* SPDX-License-Identifier: BSD-3-Clause
 * Listeners and passive opens (RFC 9293 3.10.7.2).  What is half open is in tcp_syn.c; a connection
 * is made when the handshake's ACK comes. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

struct listener *tcp_listener_find(const struct stack *st, uint16_t port)
{
	for (unsigned i = 0; i < STACK_LISTENERS_MAX; i++) {
		if (st->listeners[i].port == port && port)
			return st->listeners[i].listener;
	}
	return NULL;
}

static void syn_received(struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor)
{
	enum stack_pressure pressure = stack_pressure(st);
	uint8_t cookies = st->conf.tcp.syn_cookies;
	enum tcp_source_verdict verdict = tcp_source_syn(st, &seg->key.peer);

	if (verdict == TCP_SOURCE_DROP ||
		(verdict == TCP_SOURCE_COOKIE && cookies == STACK_COOKIES_OFF))
		counter_inc(CTR_TCP_SYN_DROPPED);
	else if (pressure >= STACK_PRESSURE_RESETS ||
		 (pressure >= STACK_PRESSURE_OPENS && cookies == STACK_COOKIES_OFF))
		counter_inc(CTR_TCP_PRESSURE_SYN_DROPPED);
	else if (list_empty(&st->conn_unused))
		counter_inc(CTR_TCP_SYN_DROPPED);
	else if (verdict == TCP_SOURCE_COOKIE || pressure >= STACK_PRESSURE_OPENS ||
		 cookies == STACK_COOKIES_ALWAYS || !tcp_syn_open(st, seg, isn_floor))
		tcp_cookie_answer(st, seg, isn_floor);
}

struct tcp_conn *tcp_listen_input(
	struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor)
{
	struct listener *l = tcp_listener_find(st, seg->key.local_port);
	bool syn = seg->flags & RTE_TCP_SYN_FLAG;

	if (seg->flags & RTE_TCP_RST_FLAG)
		return NULL;
	if (l && !syn && (seg->flags & RTE_TCP_ACK_FLAG) && st->now_us < st->cookies.until_us)
		return tcp_cookie_input(st, seg, l);
	if (!l || (seg->flags & RTE_TCP_ACK_FLAG))
		tcp_reply_rst(st, seg);
	/* SYN+FIN is nobody's way to open a connection */
	else if (syn && !(seg->flags & RTE_TCP_FIN_FLAG))
		syn_received(st, seg, isn_floor);
	return NULL;
}

bool tcp_listen_accept(struct tcp_conn *c)
{
	struct endpoint peer = {c->key.peer, c->key.peer_port};
	struct endpoint local = {c->key.local, c->key.local_port};
	struct listener *l = c->listener;

	c->listener = NULL;
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

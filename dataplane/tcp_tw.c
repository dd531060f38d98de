/* SPDX-License-Identifier: BSD-3-Clause
 * TIME_WAIT (RFC 9293 3.6.1) in entries of one cache line; the timeout is the same for all, so a
 * FIFO keeps them in order.  When they run out the oldest goes. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

static uint32_t tw_ref(const struct stack *st, const struct tcp_tw *tw)
{
	return st->conf.connections_max + (uint32_t)(tw - st->tws);
}

struct tcp_tw *tcp_tw_lookup(struct stack *st, const struct tcp_key *key)
{
	uint32_t hash = tcp_table_hash(&st->table, key), pos = 0, ref;

	while ((ref = tcp_table_next(&st->table, hash, &pos)) != TCP_REF_NONE) {
		if (ref < st->conf.connections_max)
			continue;
		struct tcp_tw *tw = &st->tws[ref - st->conf.connections_max];
		if (tcp_key_eq(&tw->key, key))
			return tw;
	}
	return NULL;
}

void tcp_tw_remove(struct stack *st, struct tcp_tw *tw)
{
	tcp_table_remove(&st->table, tcp_table_hash(&st->table, &tw->key), tw_ref(st, tw));
	list_remove(&tw->node);
	list_push_tail(&st->tw_unused, &tw->node);
	st->tw_count--;
	if (st->tw_count == 0)
		timer_cancel(st->env.wheel, &st->tw_timer);
}

/* (Re)start the wait: behind all others. */
static void tw_restart(struct stack *st, struct tcp_tw *tw)
{
	tw->until_ms = stack_ms(st) + (uint32_t)(TCP_TIME_WAIT_US / US_PER_MS);
	list_remove(&tw->node);
	list_push_tail(&st->tw_used, &tw->node);
	if (!timer_armed(&st->tw_timer))
		timer_arm(st->env.wheel, &st->tw_timer, st->now_us + TCP_TIME_WAIT_US);
}

void tcp_tw_add(struct tcp_conn *c)
{
	struct stack *st = c->stack;

	if (list_empty(&st->tw_unused))
		tcp_tw_remove(st, list_entry(st->tw_used.next, struct tcp_tw, node));
	struct tcp_tw *tw = list_entry(list_pop_head(&st->tw_unused), struct tcp_tw, node);
	tw->key = c->key;
	tw->rcv_nxt = c->rcv_nxt;
	tw->snd_nxt = c->snd_nxt;
	/* in the place of the connection, which ends now */
	tcp_table_replace(&st->table, c->hash, stack_conn_index(st, c), tw_ref(st, tw));
	c->in_table = false;
	st->tw_count++;
	tw_restart(st, tw);
}

void tcp_tw_fire(struct timer *t, uint64_t now_us)
{
	struct stack *st = container_of(t, struct stack, tw_timer);

	st->now_us = now_us;
	while (!list_empty(&st->tw_used)) {
		struct tcp_tw *tw = list_entry(st->tw_used.next, struct tcp_tw, node);
		int32_t left_ms = (int32_t)(tw->until_ms - stack_ms(st));
		if (left_ms > 0) {
			timer_arm(st->env.wheel, t, now_us + (uint64_t)left_ms * US_PER_MS);
			return;
		}
		tcp_tw_remove(st, tw);
	}
}

bool tcp_tw_input(struct stack *st, struct tcp_tw *tw, const struct tcp_segment *seg)
{
	if (seg->flags & RTE_TCP_RST_FLAG)
		return false; /* RFC 1337: a RST does not cut the wait short */
	if ((seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG &&
		seq_lt(tw->rcv_nxt, seg->seq))
		return true; /* RFC 9293 3.6.1, RFC 6191: clearly a new incarnation */
	if ((seg->flags & RTE_TCP_FIN_FLAG) || seg->len || (seg->flags & RTE_TCP_SYN_FLAG)) {
		if (seg->flags & RTE_TCP_FIN_FLAG)
			tw_restart(st, tw);
		tcp_reply_ack(st, &tw->key, tw->snd_nxt, tw->rcv_nxt);
	}
	return false;
}

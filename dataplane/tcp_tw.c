/* SPDX-License-Identifier: BSD-3-Clause
 * TIME_WAIT (RFC 9293 3.6.1) in entries of one cache line; the timeout is the same for all, so a
 * FIFO keeps them in order.  When they run out the oldest goes. */
#include <rte_prefetch.h>
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define TW_NONE UINT16_MAX

static uint32_t tw_index(const struct stack *st, const struct tcp_tw *tw)
{
	return (uint32_t)(tw - st->tws);
}

static uint32_t tw_ref(const struct stack *st, const struct tcp_tw *tw)
{
	return st->conf.connections_max + tw_index(st, tw);
}

void tcp_tw_init(struct stack *st)
{
	st->tw_oldest = st->tw_newest = TW_NONE;
	for (uint32_t i = 0; i < st->tw_max; i++)
		st->tws[i].next = (uint16_t)(i + 1 < st->tw_max ? i + 1 : TW_NONE);
	st->tw_unused = 0;
}

static void fifo_push(struct stack *st, struct tcp_tw *tw)
{
	uint32_t i = tw_index(st, tw);

	tw->next = TW_NONE;
	tw->prev = (uint16_t)st->tw_newest;
	if (st->tw_newest == TW_NONE)
		st->tw_oldest = i;
	else
		st->tws[st->tw_newest].next = (uint16_t)i;
	st->tw_newest = i;
}

static void fifo_remove(struct stack *st, struct tcp_tw *tw)
{
	if (tw->prev == TW_NONE)
		st->tw_oldest = tw->next;
	else
		st->tws[tw->prev].next = tw->next;
	if (tw->next == TW_NONE)
		st->tw_newest = tw->prev;
	else
		st->tws[tw->next].prev = tw->prev;
}

struct tcp_tw *tcp_tw_lookup(struct stack *st, const struct tcp_key *key)
{
	uint32_t hash = stack_hash(st, key), pos = 0, ref;

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
	tcp_table_remove(&st->table, stack_hash(st, &tw->key), tw_ref(st, tw));
	fifo_remove(st, tw);
	tw->next = (uint16_t)st->tw_unused;
	st->tw_unused = tw_index(st, tw);
	st->tw_count--;
	if (st->tw_count == 0)
		timer_cancel(st->env.wheel, &st->tw_timer);
}

/* Start the wait: behind all others. */
static void tw_restart(struct stack *st, struct tcp_tw *tw)
{
	tw->until_ms = stack_ms(st) + (uint32_t)(TCP_TIME_WAIT_US / US_PER_MS);
	fifo_push(st, tw);
	if (!timer_armed(&st->tw_timer))
		timer_arm(st->env.wheel, &st->tw_timer, st->now_us + TCP_TIME_WAIT_US);
}

static void tw_again(struct stack *st, struct tcp_tw *tw)
{
	fifo_remove(st, tw);
	tw_restart(st, tw);
}

void tcp_tw_add(struct tcp_conn *c)
{
	struct stack *st = c->stack;

	if (st->tw_unused == TW_NONE)
		tcp_tw_remove(st, &st->tws[st->tw_oldest]);
	struct tcp_tw *tw = &st->tws[st->tw_unused];
	st->tw_unused = tw->next;
	tw->key = c->key;
	tw->ts_recent = c->ts_recent;
	tw->ts_offset = c->flags & CF_TS ? c->ts_offset : 0;
	tw->rcv_nxt = c->rcv_nxt;
	tw->snd_nxt = c->snd_nxt;
	tw->syn_answered = false;
	/* in the place of the connection, which ends now */
	tcp_table_replace(
		&st->table, stack_hash(st, &c->key), stack_conn_index(st, c), tw_ref(st, tw));
	c->in_table = false;
	st->tw_count++;
	tw_restart(st, tw);
	if (st->tw_unused != TW_NONE)
		rte_prefetch0(&st->tws[st->tw_unused]); /* the next one's: it was long unused */
}

void tcp_tw_fire(struct timer *t, uint64_t now_us)
{
	struct stack *st = container_of(t, struct stack, tw_timer);

	st->now_us = now_us;
	while (st->tw_oldest != TW_NONE) {
		struct tcp_tw *tw = &st->tws[st->tw_oldest];
		int32_t left_ms = (int32_t)(tw->until_ms - stack_ms(st));
		if (left_ms > 0) {
			timer_arm(st->env.wheel, t, now_us + (uint64_t)left_ms * US_PER_MS);
			return;
		}
		tcp_tw_remove(st, tw);
	}
}

/* Is a SYN clearly of a new incarnation?  RFC 6191: by the timestamps if both have them, by the
 * sequence number (RFC 9293 3.6.1) if those are equal or missing. */
static bool is_new_incarnation(const struct tcp_tw *tw, const struct tcp_segment *seg)
{
	if (tw->ts_offset && seg->opt.has_ts && seg->opt.ts_val != tw->ts_recent)
		return seq_lt(tw->ts_recent, seg->opt.ts_val);
	return seq_lt(tw->rcv_nxt, seg->seq);
}

/* RFC 1337: a RST does not cut the wait short, for an old segment may have brought it about.  One
 * does, with exactly the number that our ACK of a SYN asked for: the peer has forgotten the old
 * connection and waits for a new one, whose number happened not to be newer (as behind a NAT that
 * uses its ports again).  Its next SYN finds the port free, a second later instead of a minute. */
static void reset_input(struct stack *st, struct tcp_tw *tw, const struct tcp_segment *seg)
{
	if (tw->syn_answered && seg->seq == tw->rcv_nxt)
		tcp_tw_remove(st, tw);
}

bool tcp_tw_input(struct stack *st, struct tcp_tw *tw, const struct tcp_segment *seg)
{
	if (seg->flags & RTE_TCP_RST_FLAG) {
		reset_input(st, tw, seg);
		return false;
	}
	bool syn = (seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG;
	if (syn && is_new_incarnation(tw, seg))
		return true;
	if ((seg->flags & RTE_TCP_FIN_FLAG) || seg->len || (seg->flags & RTE_TCP_SYN_FLAG)) {
		if (seg->flags & RTE_TCP_FIN_FLAG)
			tw_again(st, tw);
		tw->syn_answered = syn;
		tcp_reply_ack(st, tw);
	}
	return false;
}

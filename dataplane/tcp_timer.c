/* SPDX-License-Identifier: BSD-3-Clause
 * Timeouts of a connection.  There is one timer in the wheel, at the earliest deadline or before:
 * moving a deadline later costs nothing, the timer finds that it was early and files itself anew.
 */
#include "dataplane/stack_priv.h"

uint64_t tcp_rto_us(const struct tcp_conn *c)
{
	uint64_t rto = TCP_RTO_INITIAL_US;

	if (c->srtt_us)
		/* the minimum is over the RTT: so long may an ACK be delayed at the other end */
		rto = c->srtt_us + MAX(4ull * c->rttvar_us, TCP_RTO_MIN_US);
	rto <<= MIN(c->backoff, (uint8_t)10);
	return MIN(rto, TCP_RTO_MAX_US);
}

/* RFC 8985 7.2: a probe instead of a timeout, while nothing says that something is lost. */
static bool probe_useful(const struct tcp_conn *c)
{
	return (c->flags & CF_SACK) && !(c->flags & (CF_RECOVERY | CF_LOSS | CF_TLP_SENT)) &&
	       c->state >= TCP_ESTABLISHED && c->srtt_us && c->sendq && c->sendq != c->unsent &&
	       !c->lost && !c->sacked_segs && c->snd_wnd;
}

/* A single segment may wait for the peer's delayed ACK. */
static uint64_t probe_us(const struct tcp_conn *c)
{
	uint64_t us = 2ull * c->srtt_us + TCP_PROBE_SLACK_US;

	return tcp_flight(c) <= c->mss ? us + 2 * TCP_DELACK_US : us;
}

void tcp_timer_rto(struct tcp_conn *c)
{
	c->flags &= ~(uint32_t)(CF_PERSIST | CF_TLP | CF_REORDER);
	c->rto_at = tcp_flight(c) ? c->stack->now_us + tcp_rto_us(c) : 0;
	if (!c->rto_at || !probe_useful(c))
		return;
	uint64_t at = c->stack->now_us + probe_us(c);
	if (at < c->rto_at) {
		c->rto_at = at;
		c->flags |= CF_TLP;
	}
}

void tcp_timer_persist(struct tcp_conn *c)
{
	c->flags = (c->flags & ~(uint32_t)(CF_TLP | CF_REORDER)) | CF_PERSIST;
	c->rto_at = c->stack->now_us + tcp_rto_us(c);
}

/* In microseconds. */
static uint64_t delack_at(const struct tcp_conn *c)
{
	int32_t left_ms = (int32_t)(c->delack_ms - stack_ms(c->stack));

	return c->stack->now_us + (uint64_t)MAX(left_ms, 0) * US_PER_MS;
}

void tcp_ack_delay(struct tcp_conn *c)
{
	uint32_t ms = c->stack->conf.tcp.delack_ms;
	uint32_t at = stack_ms(c->stack) + (ms ? ms : (uint32_t)(TCP_DELACK_US / US_PER_MS));

	c->delack_ms = at ? at : 1;
}

void tcp_timer_update(struct tcp_conn *c)
{
	uint64_t at = UINT64_MAX;

	if (c->rto_at)
		at = c->rto_at;
	if (c->delack_ms)
		at = MIN(at, delack_at(c));
	if (c->life_at)
		at = MIN(at, c->life_at);
	if (at == UINT64_MAX)
		timer_cancel(c->stack->env.wheel, &c->timer);
	else if (!timer_armed(&c->timer) || at < c->timer.at_us)
		timer_arm(c->stack->env.wheel, &c->timer, at);
}

static void backoff_more(struct tcp_conn *c)
{
	if (c->backoff < UINT8_MAX)
		c->backoff++;
	if (c->retries < UINT8_MAX)
		c->retries++;
}

static void handshake_timeout(struct tcp_conn *c)
{
	counter_inc(CTR_TCP_RTO_EXPIRED);
	backoff_more(c);
	if (c->state == TCP_SYN_RCVD && c->retries > TCP_SYN_ACK_RETRIES) {
		tcp_conn_end(c, STREAM_TIMEOUT);
		return;
	}
	tcp_send_syn(c);
	tcp_timer_rto(c);
}

static void retransmit_timeout(struct tcp_conn *c)
{
	unsigned max = c->flags & CF_ORPHAN ? TCP_RETRIES_ORPHAN : TCP_RETRIES_MAX;
	bool first = !(c->flags & CF_LOSS) || c->backoff == 0;

	counter_inc(CTR_TCP_RTO_EXPIRED);
	if (c->retries >= max) {
		tcp_send_rst(c);
		tcp_conn_end(c, c->flags & CF_UNREACHABLE ? STREAM_UNREACHABLE : STREAM_TIMEOUT);
		return;
	}
	tcp_mtu_timeout(c);
	if (c->snd_wnd == 0)
		counter_inc(CTR_TCP_ZERO_WINDOW_PROBES);
	else
		tcp_cc_timeout(&c->cc, tcp_flight(c), first);
	tcp_sendq_mark_all_lost(c);
	c->recover = c->snd_nxt;
	c->dup_acks = 0;
	c->flags = (c->flags & ~(uint32_t)CF_RECOVERY) | CF_LOSS | CF_FORCE_RETX;
	backoff_more(c);
	tcp_timer_rto(c);
	tcp_conn_dirty(c);
}

static void persist_timeout(struct tcp_conn *c)
{
	if (c->retries >= TCP_RETRIES_MAX) {
		tcp_send_rst(c);
		tcp_conn_end(c, STREAM_TIMEOUT);
		return;
	}
	backoff_more(c);
	c->flags |= CF_PROBE;
	tcp_timer_persist(c); /* if the probe cannot be sent, it is tried again */
	tcp_conn_dirty(c);
}

static void probe_timeout(struct tcp_conn *c)
{
	uint64_t quiet_us = probe_us(c);

	/* what was sent since then deserves its time as well */
	if (c->stack->now_us - c->last_send_us < quiet_us) {
		c->rto_at = c->last_send_us + quiet_us;
		return;
	}
	c->flags |= CF_TLP_SENT;
	tcp_send_probe(c);
	tcp_timer_rto(c);
}

static void rto_expired(struct tcp_conn *c)
{
	c->rto_at = 0;
	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD)
		handshake_timeout(c);
	else if (c->flags & CF_PERSIST)
		persist_timeout(c);
	else if (c->flags & CF_REORDER)
		tcp_reorder_timeout(c);
	else if (c->flags & CF_TLP)
		probe_timeout(c);
	else if (tcp_flight(c))
		retransmit_timeout(c);
}

void tcp_timer_fire(struct timer *t, uint64_t now_us)
{
	struct tcp_conn *c = container_of(t, struct tcp_conn, timer);

	c->stack->now_us = now_us;
	if (c->life_at && c->life_at <= now_us && !(c->flags & CF_SYN_DUE)) {
		if (c->state != TCP_SYN_SENT)
			tcp_send_rst(c);
		tcp_conn_end(c, STREAM_TIMEOUT);
		return;
	}
	if (c->delack_ms && (int32_t)(c->delack_ms - stack_ms(c->stack)) <= 0) {
		c->delack_ms = 0;
		c->flags |= CF_ACK_NOW;
		tcp_conn_dirty(c);
	}
	if (c->rto_at && c->rto_at <= now_us)
		rto_expired(c);
	if (c->state != TCP_CLOSED)
		tcp_timer_update(c);
}

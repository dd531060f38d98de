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
	/* who has closed does not wait for a window as long as who has not: more than a few probes
	 * must fit into that time */
	if ((c->flags & CF_ORPHAN) && c->snd_wnd == 0)
		rto = MIN(rto, TCP_PROBE_ORPHAN_US);
	return MIN(rto, TCP_RTO_MAX_US);
}

/* RFC 8985 7.2: a probe instead of a timeout, while nothing says that something is lost. */
static bool probe_useful(const struct tcp_conn *c)
{
	bool something = (c->sendq && c->sendq != c->unsent) || (c->flags & CF_FIN_SENT);

	return (c->flags & CF_SACK) && !(c->flags & (CF_RECOVERY | CF_LOSS | CF_TLP_SENT)) &&
	       c->state >= TCP_ESTABLISHED && c->srtt_us && something && !c->lost &&
	       !c->sacked_segs && c->snd_wnd;
}

/* A single segment may wait for the peer's delayed ACK. */
static uint64_t probe_us(const struct tcp_conn *c)
{
	uint64_t us = 2ull * c->srtt_us + TCP_PROBE_SLACK_US;

	return tcp_flight(c) <= c->mss ? us + TCP_PEER_DELACK_US : us;
}

/* The application's limit for octets that are not acknowledged, us; 0: none. */
static uint64_t user_timeout_us(const struct tcp_conn *c)
{
	const struct stream_options *o = tcp_stream_options(c);

	return o ? o->user_timeout_us : 0;
}

/* The next timeout is not behind the application's limit. */
static void patience_bounds(struct tcp_conn *c)
{
	uint64_t limit = c->backoff ? user_timeout_us(c) : 0;

	if (!limit || !c->rto_at || !tcp_cold(c)->stalled_ms)
		return;
	uint32_t waited_ms = stack_ms(c->stack) - tcp_cold(c)->stalled_ms;
	uint64_t left = limit - MIN((uint64_t)waited_ms * US_PER_MS, limit);
	c->rto_at = MIN(c->rto_at, c->stack->now_us + MAX(left, (uint64_t)US_PER_MS));
}

void tcp_timer_rto(struct tcp_conn *c)
{
	c->flags &= ~(uint32_t)(CF_PERSIST | CF_TLP | CF_REORDER);
	c->rto_at = tcp_flight(c) ? c->stack->now_us + tcp_rto_us(c) : 0;
	patience_bounds(c);
	if (!c->rto_at || !probe_useful(c))
		return;
	c->rto_at = MIN(c->rto_at, c->stack->now_us + probe_us(c));
	c->flags |= CF_TLP;
}

/* The oldest segment does not wait longer than its own timeout, however much is sent behind it. */
void tcp_timer_probe(struct tcp_conn *c)
{
	if (!(c->flags & CF_TLP) || !c->sendq || !probe_useful(c))
		return;
	uint64_t latest = tcp_txseg_of(c->sendq)->sent_us + tcp_rto_us(c);
	c->rto_at = MAX(MIN(c->stack->now_us + probe_us(c), latest), c->stack->now_us + 1);
}

void tcp_timer_persist(struct tcp_conn *c)
{
	c->flags = (c->flags & ~(uint32_t)(CF_TLP | CF_REORDER)) | CF_PERSIST;
	c->rto_at = c->stack->now_us + tcp_rto_us(c);
	patience_bounds(c);
}

/* In microseconds. */
static uint64_t delack_at(const struct tcp_conn *c)
{
	int32_t left_ms = (int32_t)(c->delack_ms - stack_ms(c->stack));

	return c->stack->now_us + (uint64_t)MAX(left_ms, 0) * US_PER_MS;
}

void tcp_ack_by(struct tcp_conn *c, uint32_t at_ms)
{
	if (!c->delack_ms || (int32_t)(c->delack_ms - at_ms) > 0)
		c->delack_ms = at_ms ? at_ms : 1;
}

void tcp_ack_delay(struct tcp_conn *c)
{
	uint32_t ms = c->stack->conf.tcp.delack_ms;

	tcp_ack_by(c, stack_ms(c->stack) + (ms ? ms : (uint32_t)(TCP_DELACK_US / US_PER_MS)));
}

/* When to ask whether the peer is still there, us; UINT64_MAX: never.  retries counts probes while
 * nothing is in flight. */
static uint64_t keepalive_at(const struct tcp_conn *c)
{
	const struct stream_options *o = tcp_stream_options(c);
	bool synchronized = c->state >= TCP_ESTABLISHED;
	/* and we are still here only for what is unread: the peer need not be */
	bool both_closed = (c->flags & CF_FIN_RCVD) && tcp_conn_fin_acked(c);

	if (!o || !o->keepalive_us || !synchronized || both_closed || tcp_flight(c) || c->unsent)
		return UINT64_MAX;
	uint64_t interval =
		o->keepalive_interval_us ? o->keepalive_interval_us : TCP_KEEPALIVE_INTERVAL_US;
	uint32_t quiet_ms = stack_ms(c->stack) - c->heard_ms;
	uint64_t heard_us = c->stack->now_us - (uint64_t)quiet_ms * US_PER_MS;
	return heard_us + o->keepalive_us + c->retries * interval;
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
	at = MIN(at, keepalive_at(c));
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
	ip_doubt(c->stack, c->port, &c->key.peer);
	tcp_send_syn(c);
	tcp_timer_rto(c);
}

static void window_collapse(struct tcp_conn *c)
{
	bool first = !(c->flags & CF_LOSS) || c->backoff == 0;

	if (!(c->flags & (CF_RECOVERY | CF_LOSS | CF_CWR)))
		tcp_undo_begin(c);
	if (c->flags & CF_ECN)
		c->flags |= CF_CWR_DUE;
	tcp_cc_timeout(&c->cc, tcp_flight(c), first);
}

/* A timeout expired and nothing was acknowledged.  Returns false when it has been so for too long,
 * whatever the peer says: the application's limit, or ours. */
static bool patience_left(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);
	uint64_t limit = user_timeout_us(c);
	uint32_t now = stack_ms(c->stack);

	if (!cold->stalled_ms) /* since the segment left whose timeout this is */
		cold->stalled_ms = MAX(now - (uint32_t)(tcp_rto_us(c) / US_PER_MS), 1u);
	if (!limit) /* a closed window may stay so for ever (RFC 9293 MUST-37) */
		limit = c->snd_wnd ? TCP_STALLED_US : UINT64_MAX;
	return (uint64_t)(now - cold->stalled_ms) * US_PER_MS < limit;
}

/* A peer that still says something may be short of memory: it is not taken for dead. */
static void silence_count(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);
	uint32_t sent_ms = (uint32_t)(c->last_send_us / US_PER_MS);

	if (!seq_lt(c->heard_ms, sent_ms))
		cold->silent = 0;
	else if (cold->silent < UINT8_MAX)
		cold->silent++;
}

static void retransmit_timeout(struct tcp_conn *c)
{
	unsigned max = c->flags & CF_ORPHAN ? TCP_RETRIES_ORPHAN : TCP_RETRIES_MAX;

	counter_inc(CTR_TCP_RTO_EXPIRED);
	silence_count(c);
	if (!patience_left(c) || tcp_cold(c)->silent > max) {
		tcp_send_rst(c);
		tcp_conn_end(c, c->flags & CF_UNREACHABLE ? STREAM_UNREACHABLE : STREAM_TIMEOUT);
		return;
	}
	if (c->retries > 0)
		ip_doubt(c->stack, c->port, &c->key.peer);
	tcp_mtu_timeout(c);
	if (c->snd_wnd == 0)
		counter_inc(CTR_TCP_ZERO_WINDOW_PROBES);
	else
		window_collapse(c);
	tcp_sendq_mark_all_lost(c);
	c->recover = c->snd_nxt;
	c->dup_acks = 0;
	c->flags = (c->flags & ~(uint32_t)(CF_RECOVERY | CF_CWR | CF_TLP_SENT)) | CF_LOSS |
		   CF_FORCE_RETX;
	backoff_more(c);
	tcp_timer_rto(c);
	tcp_conn_dirty(c);
}

static void persist_timeout(struct tcp_conn *c)
{
	if (!patience_left(c) || c->retries >= TCP_RETRIES_MAX) {
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
	struct tcp_cold *cold = tcp_cold(c);
	uint32_t before = c->snd_nxt;

	if (!probe_useful(c)) { /* SACK has told something meanwhile */
		tcp_timer_rto(c);
		return;
	}
	c->flags |= CF_TLP_SENT;
	tcp_send_tail_probe(c);
	cold->tlp_end = c->snd_nxt;
	cold->flags &= (uint8_t)~COLD_TLP_RETRANS;
	if (c->snd_nxt == before)
		cold->flags |= COLD_TLP_RETRANS;
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

/* RFC 9293 3.8.4: an octet before the window makes the peer say where it is. */
static void keepalive_timeout(struct tcp_conn *c)
{
	const struct stream_options *o = tcp_stream_options(c);
	unsigned max = o->keepalive_probes ? o->keepalive_probes : TCP_KEEPALIVE_PROBES;

	if (c->retries >= max) {
		tcp_send_rst(c);
		tcp_conn_end(c, STREAM_TIMEOUT);
		return;
	}
	c->retries++;
	counter_inc(CTR_TCP_KEEPALIVE_PROBES);
	tcp_send_keepalive(c);
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
	else if (keepalive_at(c) <= now_us)
		keepalive_timeout(c);
	if (c->state != TCP_CLOSED)
		tcp_timer_update(c);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What an acknowledgment means: RTT (RFC 6298), losses (RFC 5681, 6582, 6675, 8985), the send
 * window.  Recovery counts octets in flight (RFC 6675 pipe) with and without SACK; without, each
 * duplicate ACK stands for a segment that has left the network. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

uint32_t tcp_pipe(const struct tcp_conn *c)
{
	uint32_t left = c->sacked + c->lost;

	if (!(c->flags & CF_SACK))
		left += (uint32_t)c->dup_acks * c->mss;
	return tcp_flight(c) - MIN(left, tcp_flight(c));
}

/* The smallest RTT of late: it follows a path that has become longer within some hundred samples.
 */
static void min_rtt_sample(struct tcp_conn *c, uint32_t rtt)
{
	if (!c->min_rtt_us || rtt <= c->min_rtt_us)
		c->min_rtt_us = rtt;
	else
		c->min_rtt_us += (rtt - c->min_rtt_us) / 256;
}

void tcp_rtt_sample(struct tcp_conn *c, uint64_t rtt_us)
{
	uint32_t rtt = (uint32_t)MIN(MAX(rtt_us, 1ull), TCP_RTO_MAX_US);

	min_rtt_sample(c, rtt);
	if (c->srtt_us == 0) {
		c->srtt_us = rtt;
		c->rttvar_us = rtt / 2;
		return;
	}
	uint32_t off = c->srtt_us > rtt ? c->srtt_us - rtt : rtt - c->srtt_us;
	c->rttvar_us = c->rttvar_us - c->rttvar_us / 4 + off / 4;
	c->srtt_us = c->srtt_us - c->srtt_us / 8 + rtt / 8;
	c->srtt_us = MAX(c->srtt_us, 1u);
}

/* Without SACK: part of what was outstanding at the loss is acknowledged, so the next hole is lost
 * too.  Returns how many octets have arrived that no duplicate ACK stood for. */
static uint32_t reno_partial(struct tcp_conn *c, uint32_t bytes)
{
	uint32_t segs = bytes / c->mss, told = (uint32_t)c->dup_acks * c->mss;

	/* One of the segments acknowledged was the hole, the rest were duplicate ACKs. */
	c->dup_acks = (uint8_t)(c->dup_acks - MIN(c->dup_acks, segs ? segs - 1 : 0));
	tcp_sendq_mark_head_lost(c);
	c->flags |= CF_FORCE_RETX;
	return bytes > told + c->mss ? bytes - told : c->mss;
}

/* RFC 7661 in short: a window that was not used is no proof that it can grow.  In slow start more
 * than half of it must have been in flight, at the most of a round, else all.  una, flight: before
 * the ACK. */
static bool window_used(struct tcp_conn *c, uint32_t una, uint32_t flight)
{
	struct tcp_cc *cc = &c->cc;

	if (seq_le(cc->round_end, una)) {
		cc->round_end = c->snd_nxt;
		cc->round_flight = flight;
	}
	cc->round_flight = MAX(cc->round_flight, flight);
	return cc->cwnd < cc->ssthresh ? (uint64_t)cc->round_flight * 2 > cc->cwnd
				       : flight + c->mss >= cc->cwnd;
}

static void cc_grow(struct tcp_conn *c, uint32_t bytes, bool used, uint32_t rtt_us)
{
	if (!bytes)
		return;
	tcp_cc_acked(&c->cc, &(struct tcp_cc_ack){.bytes = bytes,
				     .rtt_us = rtt_us,
				     .srtt_us = c->srtt_us,
				     .una = c->snd_una,
				     .nxt = c->snd_nxt,
				     .now_us = c->stack->now_us,
				     .limited = !used});
}

static void tell_writable(struct tcp_conn *c)
{
	uint32_t queued = c->snd_end - c->snd_una, size = c->stack->conf.snd_buffer_bytes;

	if (!(c->flags & CF_WANT_WRITE) || !c->stream || (c->flags & CF_FIN_QUEUED))
		return;
	if ((c->flags & CF_POOL_WAIT) || queued > size - size / 3 || !tcp_sendq_airy(c))
		return;
	c->flags &= ~(uint32_t)CF_WANT_WRITE;
	c->flags |= CF_TELL_WRITABLE;
}

/* The RTT by the echo of our timestamp, in us; 0: it tells nothing.  An echo from before the last
 * transmission of what is acknowledged does not: either the first one was slow, or its ACK was lost
 * and the peer, who had the data, answers the second one with what it had to echo. */
static uint64_t echo_rtt_us(
	const struct tcp_conn *c, const struct tcp_segment *seg, const struct tcp_acked *acked)
{
	uint64_t rtt_us = acked->bytes ? tcp_ts_rtt_us(c, seg) : 0;

	if (acked->resent_us && rtt_us > c->stack->now_us - acked->resent_us + US_PER_MS)
		return 0;
	return rtt_us;
}

/* Returns the RTT that this ACK has measured; 0: none. */
static uint32_t ack_delivered(
	struct tcp_conn *c, const struct tcp_segment *seg, const struct tcp_acked *acked)
{
	uint64_t rtt_us;

	/* Our own clock is finer than the echo, but of what was sent twice only the echo tells
	 * (Karn). */
	if (acked->sent_us && !acked->resent_us)
		rtt_us = MAX(c->stack->now_us - acked->sent_us, 1ull);
	else
		rtt_us = echo_rtt_us(c, seg, acked);
	if (rtt_us) {
		tcp_rtt_sample(c, rtt_us);
		c->backoff = 0; /* RFC 6298 5: not before the RTT is known again */
	}
	if (unlikely(acked->probe_len))
		tcp_mtu_probe_acked(c, acked->probe_len);
	if (acked->overtook)
		tcp_cold(c)->flags |= COLD_REORDERING;
	if (acked->delivered_us > c->rack_us ||
		(acked->delivered_us == c->rack_us && acked->delivered_us &&
			seq_lt(c->rack_end, acked->delivered_end))) {
		c->rack_us = acked->delivered_us;
		c->rack_end = acked->delivered_end;
	}
	if (acked->delivered_us)
		c->rack_rtt_us = acked->rack_rtt_us;
	return (uint32_t)MIN(rtt_us, TCP_RTO_MAX_US);
}

/* Look for losses; what is only late is looked at again when its time is up. */
static uint64_t loss_detect(struct tcp_conn *c)
{
	return c->flags & CF_SACK ? tcp_sendq_mark_lost(c) : 0;
}

static void reorder_wait(struct tcp_conn *c, uint64_t until)
{
	if (!until || (c->rto_at && c->rto_at <= until))
		return;
	c->flags = (c->flags & ~(uint32_t)(CF_TLP | CF_PERSIST)) | CF_REORDER;
	c->rto_at = until;
}

void tcp_reorder_timeout(struct tcp_conn *c)
{
	uint64_t until = loss_detect(c);

	if (c->lost && !(c->flags & (CF_RECOVERY | CF_LOSS)) && !tcp_mtu_only_probe_lost(c))
		tcp_recovery_enter(c, 0);
	tcp_timer_rto(c);
	reorder_wait(c, until);
	tcp_conn_dirty(c);
}

/* Octets that have left the network, says this ACK, with SACK; una and sacked: before it. */
static uint32_t delivered_by(const struct tcp_conn *c, uint32_t una, uint32_t sacked)
{
	return c->snd_una - una + c->sacked - sacked;
}

/* The window is being reduced, and snd_una has moved.  lost: octets before this ACK. */
static void ack_reducing(struct tcp_conn *c, uint32_t delivered, uint32_t bytes, uint32_t lost)
{
	bool repairing = c->flags & CF_RECOVERY;

	if (seq_le(c->recover, c->snd_una)) {
		tcp_recovery_leave(c);
		return;
	}
	if (repairing && !(c->flags & CF_SACK))
		delivered = reno_partial(c, bytes);
	tcp_prr_ack(c, delivered, repairing && c->lost <= lost);
}

static void ack_new(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t una = c->snd_una, sacked = c->sacked;
	bool used = window_used(c, una, tcp_flight(c));
	struct tcp_acked acked = {0};

	if (c->backoff) {
		tcp_cold(c)->stalled_ms = 0;
		tcp_cold(c)->silent = 0;
	}
	tcp_sendq_ack(c, seg->ack, &acked);
	uint32_t lost = c->lost;
	if ((c->flags & CF_SACK) && seg->opt.sack_n)
		tcp_sendq_sack(c, &seg->opt, &acked);
	uint32_t rtt_us = ack_delivered(c, seg, &acked);
	uint32_t delivered = delivered_by(c, una, sacked);
	/* No RTT, but no timeout either since the last ACK of new data: that was long enough. */
	if (!rtt_us && acked.bytes && c->backoff && !c->retries)
		c->backoff--;
	c->retries = 0;
	c->flags &= ~(uint32_t)CF_UNREACHABLE;
	if ((c->flags & (CF_RECOVERY | CF_LOSS)) && tcp_undo_by_echo(c, seg, &acked))
		lost = 0;
	uint64_t until = loss_detect(c);
	if (tcp_reducing(c)) {
		ack_reducing(c, delivered, acked.bytes, lost);
	} else {
		if ((c->flags & CF_LOSS) && seq_le(c->recover, seg->ack)) {
			c->flags &= ~(uint32_t)CF_LOSS;
			c->recover = c->snd_nxt;
		}
		c->dup_acks = 0;
		cc_grow(c, acked.bytes, used, rtt_us);
	}
	if (c->lost && !(c->flags & (CF_LOSS | CF_RECOVERY)) && !tcp_mtu_only_probe_lost(c))
		tcp_recovery_enter(c, delivered);
	if ((c->flags & CF_ECN) && (seg->flags & RTE_TCP_ECE_FLAG))
		tcp_ecn_echo(c, delivered);
	if (c->flags & CF_ORPHAN)
		c->life_at = c->stack->now_us + TCP_LINGER_US;
	c->flags &= ~(uint32_t)CF_PERSIST;
	tcp_timer_rto(c);
	reorder_wait(c, until);
	tell_writable(c);
	tcp_conn_dirty(c);
}

/* An ACK that acknowledges nothing new.  counts: it can be a duplicate ACK (RFC 5681 2). */
static void ack_duplicate(struct tcp_conn *c, const struct tcp_segment *seg, bool counts)
{
	struct tcp_acked acked = {0};
	uint32_t fresh = 0;

	if (tcp_flight(c) == 0)
		return;
	if ((c->flags & CF_SACK) && seg->opt.sack_n)
		fresh = tcp_sendq_sack(c, &seg->opt, &acked);
	ack_delivered(c, seg, &acked);
	if ((c->flags & CF_ECN) && (seg->flags & RTE_TCP_ECE_FLAG))
		tcp_ecn_echo(c, fresh);
	if (!fresh && !counts)
		return;
	if (counts && c->dup_acks < UINT8_MAX)
		c->dup_acks++;
	uint64_t until = loss_detect(c);
	uint32_t delivered = c->flags & CF_SACK ? fresh : c->mss;
	if (!(c->flags & (CF_RECOVERY | CF_LOSS)) &&
		(c->lost || (c->dup_acks >= TCP_DUP_ACKS && !c->sacked_segs && c->sendq)) &&
		!tcp_mtu_only_probe_lost(c))
		tcp_recovery_enter(c, delivered);
	else if (tcp_reducing(c) && delivered)
		tcp_prr_ack(c, delivered, false);
	reorder_wait(c, until);
	tcp_conn_dirty(c);
}

/* The peer refused the probes, and one of them is what is in flight: it goes again at once.  That
 * it was refused so often says nothing about the network, so no timeout is long because of it. */
static void window_opened(struct tcp_conn *c)
{
	c->backoff = c->retries = 0;
	tcp_cold(c)->stalled_ms = 0;
	if (c->state < TCP_ESTABLISHED || !tcp_flight(c))
		return;
	if (c->lost == 0)
		tcp_sendq_mark_head_lost(c);
	c->flags |= CF_FORCE_RETX;
	tcp_timer_rto(c);
	tcp_conn_dirty(c);
}

void tcp_window_update(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t window = (uint32_t)seg->window
			  << (seg->flags & RTE_TCP_SYN_FLAG ? 0 : c->snd_wscale);

	/* RFC 9293 3.10.7.4: only a segment not older than the last one that told.  The
	 * acknowledgment decides before the sequence number does, which may be that of data sent
	 * again: snd_una and a window that belong to different segments make an edge beyond what
	 * the peer offers. */
	if (seq_lt(seg->ack, c->snd_una))
		return;
	if (!seq_lt(c->snd_una, seg->ack) && !seq_lt(c->snd_wl1, seg->seq) &&
		!(c->snd_wl1 == seg->seq && seq_le(c->snd_wl2, seg->ack)))
		return;
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = seg->ack;
	if (window == c->snd_wnd)
		return;
	if (c->snd_wnd == 0)
		window_opened(c);
	c->snd_wnd = window;
	c->snd_wnd_max = MAX(c->snd_wnd_max, window);
	if (c->unsent)
		tcp_conn_dirty(c);
}

/* What SACK and the probe before say, whatever the segment acknowledges. */
static void sack_told(struct tcp_conn *c, const struct tcp_segment *seg)
{
	bool dsack = seg->opt.sack_n && (c->flags & CF_SACK) && tcp_dsack_input(c, seg);

	if (c->flags & CF_TLP_SENT)
		tcp_probe_outcome(c, seg, dsack);
}

bool tcp_ack_process(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t window = (uint32_t)seg->window << c->snd_wscale;
	bool same_window = window == c->snd_wnd;
	bool bare = !seg->len && !(seg->flags & RTE_TCP_FIN_FLAG);

	if (!tcp_ack_plausible(c, seg)) {
		tcp_send_challenge(c);
		return false;
	}
	if (window == 0)
		c->retries = 0; /* it lives and is full: probe on (RFC 9293 MUST-36) */
	tcp_window_update(c, seg);
	sack_told(c, seg);
	if (seq_lt(c->snd_una, seg->ack)) {
		ip_confirm(c->stack, c->port, &c->key.peer);
		ack_new(c, seg);
	} else {
		ack_duplicate(c, seg, seg->ack == c->snd_una && bare && same_window);
	}
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Reducing the window, and taking that back: proportional rate reduction (RFC 6937), D-SACK (RFC
 * 2883, 3708), Eifel (RFC 3522, 4015), and what D-SACKs and tail loss probes teach RACK (RFC 8985).
 */
#include "dataplane/stack_priv.h"

#define REO_PERSIST  16 /* RFC 8985 6.2: recoveries without a D-SACK */
#define REO_MULT_MAX 15 /* chosen: four times the RTT; it is bounded by the RTT anyway */

/* What was in flight when the congestion happened.  An ACK of many segments that also tells of it
 * has taken most of them away: the most of the round counts (RFC 9438 4.6, RFC 7661). */
static uint32_t flight_then(const struct tcp_conn *c)
{
	return MAX(tcp_flight(c), c->cc.round_flight);
}

/* ---- proportional rate reduction ---- */

static void prr_begin(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);

	cold->prr_delivered = cold->prr_out = 0;
	cold->recover_fs = MAX(flight_then(c), (uint32_t)c->mss);
	c->recover = c->snd_nxt;
	if (c->flags & CF_ECN)
		c->flags |= CF_CWR_DUE; /* RFC 3168 6.1.2: whatever the reason */
}

/* Octets that may go out beyond prr_out while more is in flight than the new window: its share of
 * what has arrived, up to the next whole segment. */
static uint32_t prr_share(const struct tcp_conn *c, const struct tcp_cold *cold)
{
	uint64_t share = (uint64_t)cold->prr_delivered * c->cc.ssthresh / cold->recover_fs;

	share = (share + c->mss - 1) / c->mss * c->mss;
	return share > cold->prr_out ? (uint32_t)(share - cold->prr_out) : 0;
}

void tcp_prr_ack(struct tcp_conn *c, uint32_t delivered, bool safe)
{
	struct tcp_cold *cold = tcp_cold(c);
	uint32_t pipe = tcp_pipe(c), more;

	cold->prr_delivered += delivered;
	if (pipe > c->cc.ssthresh) {
		more = prr_share(c, cold);
	} else {
		uint32_t owed = cold->prr_delivered - MIN(cold->prr_out, cold->prr_delivered);
		more = MAX(owed, delivered) + (safe ? c->mss : 0u);
		more = MIN(more, c->cc.ssthresh - pipe);
	}
	if (!cold->prr_out && (c->flags & CF_RECOVERY))
		more = MAX(more, (uint32_t)c->mss); /* the fast retransmit */
	c->cc.cwnd = pipe + more;
}

/* ---- entering and leaving ---- */

void tcp_undo_begin(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);

	cold->undo_cwnd = c->cc.cwnd;
	cold->undo_ssthresh = c->cc.ssthresh;
	cold->undo_ts = 0;
	cold->undo_retrans = 0;
}

/* RFC 8985 6.2: what D-SACKs have widened stays for some recoveries. */
static void reorder_window_age(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);

	if (cold->reo_mult && --cold->reo_persist == 0)
		cold->reo_mult = 0;
}

void tcp_recovery_enter(struct tcp_conn *c, uint32_t delivered)
{
	if (c->flags & CF_CWR) {
		/* reduced within this window of data: the marks were the first sign of it */
		tcp_cold(c)->undo_cwnd = 0;
	} else {
		tcp_undo_begin(c);
		tcp_cc_lost(&c->cc, flight_then(c));
		prr_begin(c);
	}
	c->recover = c->snd_nxt;
	c->flags = (c->flags & ~(uint32_t)(CF_CWR | CF_TLP_SENT)) | CF_RECOVERY | CF_FORCE_RETX;
	if (c->lost == 0)
		tcp_sendq_mark_head_lost(c);
	reorder_window_age(c);
	tcp_prr_ack(c, delivered, false);
}

void tcp_cwr_enter(struct tcp_conn *c, uint32_t delivered)
{
	if (c->flags & (CF_RECOVERY | CF_LOSS | CF_CWR))
		return;
	tcp_cold(c)->undo_cwnd = 0;
	tcp_cc_lost(&c->cc, flight_then(c));
	c->flags |= CF_CWR;
	prr_begin(c);
	tcp_prr_ack(c, delivered, false);
}

void tcp_recovery_leave(struct tcp_conn *c)
{
	c->cc.cwnd = c->cc.ssthresh;
	/* RFC 6582 3.2 (3): no burst of what the ACK has freed.  With SACK there is none: PRR has
	 * kept in flight what ssthresh allows. */
	if (!(c->flags & CF_SACK))
		c->cc.cwnd = MIN(c->cc.cwnd, MAX(tcp_flight(c), (uint32_t)c->mss) + c->mss);
	c->flags &= ~(uint32_t)(CF_RECOVERY | CF_CWR);
	c->dup_acks = 0;
	/* a D-SACK of what is in flight now may still tell that it was a mistake */
	c->recover = c->snd_nxt;
}

/* ---- undoing ---- */

void tcp_undo_resent(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);
	uint32_t ts = tcp_ts_now(c);

	if (!cold->undo_cwnd)
		return;
	cold->undo_retrans++;
	if (!cold->undo_ts)
		cold->undo_ts = ts ? ts : 1;
}

static void undo(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);

	counter_inc(CTR_TCP_UNDONE);
	tcp_cc_undo(&c->cc, cold->undo_cwnd, cold->undo_ssthresh);
	cold->undo_cwnd = 0;
	/* what was taken for lost was late */
	cold->flags |= COLD_REORDERING;
	tcp_sendq_mark_none_lost(c);
	c->flags &= ~(uint32_t)(CF_RECOVERY | CF_LOSS | CF_CWR | CF_CWR_DUE | CF_FORCE_RETX);
	c->dup_acks = 0;
}

bool tcp_undo_by_echo(
	struct tcp_conn *c, const struct tcp_segment *seg, const struct tcp_acked *acked)
{
	const struct tcp_cold *cold = tcp_cold(c);

	if (!(c->flags & CF_TS) || !seg->opt.has_ts || !seg->opt.ts_ecr)
		return false;
	/* it covers what was sent again, but answers what was sent before */
	if (!cold->undo_cwnd || !cold->undo_ts || !acked->resent_us ||
		!seq_lt(seg->opt.ts_ecr, cold->undo_ts))
		return false;
	undo(c);
	return true;
}

/* RFC 2883 4: the first block tells what came twice.  It is below the acknowledgment, or within the
 * second block. */
static bool dsack_find(const struct tcp_segment *seg, struct tcp_range *range_r)
{
	const struct tcp_range *b = seg->opt.sack;

	if (!seg->opt.sack_n || !seq_lt(b[0].start, b[0].end))
		return false;
	*range_r = b[0];
	if (seq_le(b[0].end, seg->ack))
		return true;
	return seg->opt.sack_n > 1 && seq_le(b[1].start, b[0].start) && seq_le(b[0].end, b[1].end);
}

/* RFC 8985 6.2: what was sent again in vain was only late; wait longer next time, once a round. */
static void reorder_window_widen(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);

	cold->flags |= COLD_REORDERING;
	cold->reo_persist = REO_PERSIST;
	if (cold->reo_mult && seq_lt(c->snd_una, cold->reo_round))
		return;
	cold->reo_round = c->snd_nxt;
	cold->reo_mult = MIN(cold->reo_mult + 1, REO_MULT_MAX);
}

bool tcp_dsack_input(struct tcp_conn *c, const struct tcp_segment *seg)
{
	struct tcp_cold *cold = tcp_cold(c);
	struct tcp_range range;

	if (!dsack_find(seg, &range))
		return false;
	counter_inc(CTR_TCP_DSACKS_RECEIVED);
	/* a probe that was not needed is no sign of a mistake */
	bool probe = (c->flags & CF_TLP_SENT) && cold->tlp_end - range.end <= 1; /* FIN */
	if (probe || !tcp_note(c)->retransmits)
		return true;
	reorder_window_widen(c);
	if (!cold->undo_cwnd || !cold->undo_retrans)
		return true;
	uint32_t segs = (range.end - range.start + c->mss - 1) / c->mss;
	cold->undo_retrans -= MIN(cold->undo_retrans, MAX(segs, 1u));
	if (!cold->undo_retrans)
		undo(c); /* RFC 3708: all that was sent again had arrived */
	return true;
}

/* ---- RACK and tail loss probes ---- */

uint32_t tcp_reorder_window_us(const struct tcp_conn *c)
{
	const struct tcp_cold *cold = tcp_cold(c);

	/* as long as nothing ever was reordered, three are enough, and in recovery one is */
	if (!(cold->flags & COLD_REORDERING) &&
		((c->flags & CF_RECOVERY) || c->sacked_segs >= TCP_DUP_ACKS))
		return 0;
	return MIN(c->min_rtt_us / 4 * (1u + cold->reo_mult), c->srtt_us);
}

void tcp_probe_outcome(struct tcp_conn *c, const struct tcp_segment *seg, bool dsack)
{
	const struct tcp_cold *cold = tcp_cold(c);
	bool repaired = false;

	if (seq_lt(seg->ack, cold->tlp_end))
		return;
	if ((cold->flags & COLD_TLP_RETRANS) && !dsack) {
		/* one ACK that tells of both copies, or of one: the next one will show */
		if (seg->ack == cold->tlp_end && (seg->opt.sack_n || seq_lt(c->snd_una, seg->ack)))
			return;
		repaired = seg->ack != cold->tlp_end;
	}
	c->flags &= ~(uint32_t)CF_TLP_SENT;
	if (repaired)
		tcp_cwr_enter(c, 0); /* the last segment was lost, and nothing else told */
}

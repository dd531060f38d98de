/* SPDX-License-Identifier: BSD-3-Clause
 * Timestamps (RFC 7323): our clock, what is echoed, and protection against old segments. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define AGE_SHIFT 20 /* of milliseconds: 17 minutes, so that 16 bits are years */
/* RFC 7323 5.5: a timestamp older than 24 days says nothing any more. */
#define AGE_MAX ((24u * 24 * 3600 * 1000) >> AGE_SHIFT)

static uint16_t age_now(const struct stack *st)
{
	return (uint16_t)(st->now_us / US_PER_MS >> AGE_SHIFT);
}

uint32_t tcp_ts_offset(struct stack *st, const struct tcp_key *key)
{
	return (uint32_t)(siphash24(&st->isn_key, key, sizeof(*key)) >> 32) | 1;
}

uint32_t tcp_ts_now(const struct tcp_conn *c)
{
	return stack_ms(c->stack) + c->ts_offset;
}

void tcp_ts_begin(struct tcp_conn *c, const struct tcp_options *opt)
{
	c->flags |= CF_TS;
	c->ts_recent = opt->ts_val;
	c->ts_recent_at = age_now(c->stack);
}

bool tcp_ts_refuses(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (!(c->flags & CF_TS) || seg->flags & RTE_TCP_RST_FLAG)
		return false;
	if (!seg->opt.has_ts || !seq_lt(seg->opt.ts_val, c->ts_recent))
		return false;
	return (uint16_t)(age_now(c->stack) - c->ts_recent_at) <= AGE_MAX;
}

void tcp_ts_update(struct tcp_conn *c, const struct tcp_segment *seg)
{
	/* RFC 7323 4.3: the timestamp of the segment that moved the left edge of the window, so
	 * that delayed ACKs count into the RTT. */
	if (!(c->flags & CF_TS) || !seg->opt.has_ts || seq_lt(c->last_ack_sent, seg->seq))
		return;
	c->ts_recent = seg->opt.ts_val;
	c->ts_recent_at = age_now(c->stack);
}

void tcp_ts_update_again(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t end = seg->seq + (uint32_t)seg->len + !!(seg->flags & RTE_TCP_FIN_FLAG);

	if (!(seg->flags & RTE_TCP_ACK_FLAG) || seq_lt(end, c->last_ack_sent))
		return;
	if (tcp_ack_plausible(c, seg))
		tcp_ts_update(c, seg);
}

uint64_t tcp_ts_rtt_us(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (!(c->flags & CF_TS) || !seg->opt.has_ts || !seg->opt.ts_ecr)
		return 0;
	uint32_t ms = tcp_ts_now(c) - seg->opt.ts_ecr;
	/* an echo of what we never said */
	if (ms > TCP_RTO_MAX_US / US_PER_MS)
		return 0;
	return MAX(ms, 1u) * US_PER_MS;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * The send queue is the retransmission queue: single-segment mbufs of tx_pool with the payload in
 * place, each with a struct tcp_txseg in its private area.  While the driver holds an mbuf too,
 * only the private area is touched. */
#include "dataplane/stack_priv.h"

#define SEGS_LEAST 64u /* chosen: for send buffers of a few kilobytes */

static uint8_t *payload_of(struct rte_mbuf *m)
{
	return (uint8_t *)m->buf_addr + tcp_txseg_of(m)->payload_off;
}

/* Copy what fits behind the last segment while it was never sent.  Returns octets taken. */
static size_t append_to_tail(struct tcp_conn *c, struct bytes data)
{
	if (!c->unsent)
		return 0;
	struct tcp_txseg *seg = tcp_txseg_of(c->sendq_tail);
	size_t most = c->mss;
	if (unlikely(seg->flags & TXS_PROBE))
		most = MAX(c->mss, tcp_cold(c)->mss_probe);
	if (seg->len >= most)
		return 0;
	size_t room = (size_t)c->sendq_tail->buf_len - seg->payload_off - seg->len;
	size_t n = MIN(MIN(data.n, most - seg->len), room);
	memcpy(payload_of(c->sendq_tail) + seg->len, data.p, n);
	seg->len = (uint16_t)(seg->len + n);
	c->snd_end += (uint32_t)n;
	return n;
}

/* For data_n octets, as many as fit. */
static void sendq_push(struct tcp_conn *c, struct rte_mbuf *m, size_t data_n)
{
	bool probe = unlikely(c->flags & CF_MTU_BELOW) && tcp_mtu_probe_size(c, data_n);

	*tcp_txseg_of(m) = (struct tcp_txseg){
		.seq = c->snd_end, .payload_off = m->data_off, .flags = probe ? TXS_PROBE : 0};
	if (c->sendq_tail)
		tcp_txseg_of(c->sendq_tail)->next = m;
	else
		c->sendq = m;
	c->sendq_tail = m;
	if (!c->unsent)
		c->unsent = m;
	c->sendq_segs++;
}

static uint32_t segs_max(const struct tcp_conn *c)
{
	return MAX(c->stack->conf.snd_buffer_bytes / TCP_SENDQ_SEG_OCTETS, SEGS_LEAST);
}

size_t tcp_sendq_room(const struct tcp_conn *c, size_t n)
{
	uint32_t most = segs_max(c);

	return c->sendq_segs < most ? MIN(n, (size_t)(most - c->sendq_segs) * c->mss) : 0;
}

bool tcp_sendq_airy(const struct tcp_conn *c)
{
	uint32_t most = segs_max(c);

	return c->sendq_segs <= most - most / 3;
}

size_t tcp_sendq_append(struct tcp_conn *c, struct bytes data)
{
	struct stack *st = c->stack;
	size_t done = 0;

	while (data.n) {
		size_t n = append_to_tail(c, data);
		if (n == 0) {
			struct rte_mbuf *m =
				stack_tx_allowed(st) ? stack_alloc(st, st->env.tx_pool) : NULL;
			if (!m) {
				c->flags |= CF_POOL_WAIT;
				break;
			}
			sendq_push(c, m, data.n);
			continue;
		}
		done += n;
		data = bytes_skip(data, n);
	}
	return done;
}

int tcp_sendq_split(struct tcp_conn *c, struct rte_mbuf *m, uint16_t len)
{
	struct rte_mbuf *rest = stack_alloc(c->stack, c->stack->env.tx_pool);
	struct tcp_txseg *seg = tcp_txseg_of(m);

	BUG_ON(len == 0 || len >= seg->len);
	if (!rest)
		return -ENOBUFS;
	struct tcp_txseg *tail = tcp_txseg_of(rest);
	*tail = (struct tcp_txseg){
		.next = seg->next,
		.seq = seg->seq + len,
		.len = (uint16_t)(seg->len - len),
		.payload_off = rest->data_off,
		.sent_us = seg->sent_us,
		.flags = seg->flags & (uint8_t)~TXS_PROBE,
	};
	memcpy(payload_of(rest), payload_of(m) + len, tail->len);
	seg->len = len;
	if (seg->flags & TXS_SACKED)
		c->sacked_segs++;
	seg->next = rest;
	c->sendq_segs++;
	if (c->sendq_tail == m)
		c->sendq_tail = rest;
	return 0;
}

/* No longer in flight, or no longer ours to track. */
static void seg_unmark(struct tcp_conn *c, struct tcp_txseg *seg)
{
	if (seg->flags & TXS_SACKED) {
		c->sacked -= seg->len;
		c->sacked_segs--;
	}
	if (seg->flags & TXS_LOST)
		c->lost -= seg->len;
	seg->flags &= (uint8_t) ~(TXS_SACKED | TXS_LOST);
}

static void seg_mark_lost(struct tcp_conn *c, struct tcp_txseg *seg)
{
	if (seg->flags & (TXS_LOST | TXS_SACKED))
		return;
	seg->flags |= TXS_LOST;
	c->lost += seg->len;
}

/* The peer has it: what the time of sending tells (Karn: only of those sent once). */
static void seg_delivered(
	const struct tcp_conn *c, const struct tcp_txseg *seg, struct tcp_acked *acked)
{
	if (unlikely(seg->flags & TXS_PROBE))
		acked->probe_len = seg->len;
	if (!(seg->flags & TXS_RETX)) {
		acked->sent_us = MAX(acked->sent_us, seg->sent_us);
		/* RFC 8985 6.2 step 3 */
		acked->overtook |= c->sacked_segs && seq_lt(seg->seq + seg->len, tcp_cold(c)->fack);
	} else {
		acked->resent_us =
			acked->resent_us ? MIN(acked->resent_us, seg->sent_us) : seg->sent_us;
		if (c->stack->now_us - seg->sent_us < c->srtt_us / 4 * 3)
			return; /* more likely the original has arrived */
	}
	acked->rack_rtt_us = (uint32_t)MIN(c->stack->now_us - seg->sent_us, TCP_RTO_MAX_US);
	if (seg->sent_us >= acked->delivered_us) {
		acked->delivered_us = seg->sent_us;
		acked->delivered_end = seg->seq + seg->len;
	}
}

void tcp_sendq_ack(struct tcp_conn *c, uint32_t ack, struct tcp_acked *acked)
{
	while (c->sendq && c->sendq != c->unsent) {
		struct rte_mbuf *m = c->sendq;
		struct tcp_txseg *seg = tcp_txseg_of(m);
		if (seq_le(ack, seg->seq))
			break;
		uint32_t n = MIN(ack - seg->seq, (uint32_t)seg->len);
		bool whole = n == seg->len;
		acked->bytes += n;
		if (!(seg->flags & TXS_SACKED))
			seg_delivered(c, seg, acked);
		uint8_t was_lost = seg->flags & TXS_LOST;
		seg_unmark(c, seg);
		if (!whole) {
			seg->seq += n;
			seg->len = (uint16_t)(seg->len - n);
			seg->payload_off = (uint16_t)(seg->payload_off + n);
			if (was_lost)
				seg_mark_lost(c, seg);
			break;
		}
		c->sendq = seg->next;
		if (!c->sendq)
			c->sendq_tail = NULL;
		c->sendq_segs--;
		rte_pktmbuf_free_seg(m); /* not what it was chained to */
	}
	if (unlikely(ack < c->snd_una))
		tcp_note(c)->out_wraps++;
	c->snd_una = ack;
}

static bool covered(
	const struct tcp_conn *c, const struct tcp_options *opt, uint32_t start, uint32_t end)
{
	for (unsigned i = 0; i < opt->sack_n; i++) {
		const struct tcp_range *b = &opt->sack[i];
		if (seq_le(b->end, b->start) || seq_lt(b->start, c->snd_una) ||
			seq_lt(c->snd_nxt, b->end))
			continue; /* nonsense, or a D-SACK (RFC 2883) */
		if (seq_le(b->start, start) && seq_le(end, b->end))
			return true;
	}
	return false;
}

uint32_t tcp_sendq_sack(struct tcp_conn *c, const struct tcp_options *opt, struct tcp_acked *acked)
{
	uint32_t fresh = 0;

	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		struct tcp_txseg *seg = tcp_txseg_of(m);
		if ((seg->flags & TXS_SACKED) || seq_le(seg->seq + seg->len, c->snd_una) ||
			!covered(c, opt, seg->seq, seg->seq + seg->len))
			continue;
		seg_delivered(c, seg, acked);
		seg_unmark(c, seg);
		seg->flags |= TXS_SACKED;
		if (!c->sacked_segs || seq_lt(tcp_cold(c)->fack, seg->seq + seg->len))
			tcp_cold(c)->fack = seg->seq + seg->len;
		c->sacked += seg->len;
		c->sacked_segs++;
		fresh += seg->len;
	}
	return fresh;
}

/* Was the segment sent before the youngest one that has arrived? */
static bool overtaken(const struct tcp_conn *c, const struct tcp_txseg *seg)
{
	return seg->sent_us < c->rack_us ||
	       (seg->sent_us == c->rack_us && seq_lt(seg->seq + seg->len, c->rack_end));
}

uint64_t tcp_sendq_mark_lost(struct tcp_conn *c)
{
	unsigned above = c->sacked_segs;
	uint64_t next = 0;

	if (!above && !(c->flags & (CF_RECOVERY | CF_LOSS)))
		return 0;
	uint64_t wait_us = c->rack_rtt_us + tcp_reorder_window_us(c);
	/* RFC 6675 until reordering was seen, then time alone decides (RFC 8985 3.3.2) */
	bool by_number = !(tcp_cold(c)->flags & COLD_REORDERING);
	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		struct tcp_txseg *seg = tcp_txseg_of(m);
		if (seg->flags & TXS_SACKED) {
			above--;
			continue;
		}
		if (seg->flags & TXS_LOST)
			continue;
		bool late = overtaken(c, seg);
		if ((by_number && above >= TCP_DUP_ACKS && !(seg->flags & TXS_RETX)) ||
			(late && seg->sent_us + wait_us <= c->stack->now_us))
			seg_mark_lost(c, seg);
		else if (late && (!next || seg->sent_us + wait_us < next))
			next = seg->sent_us + wait_us;
	}
	return next;
}

void tcp_sendq_mark_head_lost(struct tcp_conn *c)
{
	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		if (!(tcp_txseg_of(m)->flags & TXS_SACKED)) {
			seg_mark_lost(c, tcp_txseg_of(m));
			return;
		}
	}
}

void tcp_sendq_mark_longer_lost(struct tcp_conn *c, uint16_t len)
{
	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		if (tcp_txseg_of(m)->len > len)
			seg_mark_lost(c, tcp_txseg_of(m));
	}
}

void tcp_sendq_mark_all_lost(struct tcp_conn *c)
{
	/* RFC 2018 8: a peer that SACKed the octets at its left edge has dropped them. */
	bool reneged = c->sendq && (tcp_txseg_of(c->sendq)->flags & TXS_SACKED);

	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		if (reneged)
			seg_unmark(c, tcp_txseg_of(m));
		seg_mark_lost(c, tcp_txseg_of(m));
	}
}

void tcp_sendq_mark_none_lost(struct tcp_conn *c)
{
	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next)
		tcp_txseg_of(m)->flags &= (uint8_t)~TXS_LOST;
	c->lost = 0;
}

struct rte_mbuf *tcp_sendq_first_lost(const struct tcp_conn *c)
{
	for (struct rte_mbuf *m = c->lost ? c->sendq : NULL; m && m != c->unsent;
		m = tcp_txseg_of(m)->next) {
		if (tcp_txseg_of(m)->flags & TXS_LOST)
			return m;
	}
	return NULL;
}

void tcp_sendq_free(struct tcp_conn *c)
{
	for (struct rte_mbuf *m = c->sendq, *next; m; m = next) {
		next = tcp_txseg_of(m)->next;
		rte_pktmbuf_free_seg(m); /* not what it was chained to */
	}
	c->sendq = c->sendq_tail = c->unsent = NULL;
	c->sendq_segs = 0;
}

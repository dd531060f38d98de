/* SPDX-License-Identifier: BSD-3-Clause
 * Segments that arrive, by state (RFC 9293 3.10.7, with RFC 5961). */
#include <netinet/in.h>
#include <rte_tcp.h>
#include "dataplane/csum.h"
#include "dataplane/stack_priv.h"

#define FLAGS_USED                                                                                 \
	(RTE_TCP_FIN_FLAG | RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG |               \
		RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG)

/* ---- parsing ---- */

static bool checksum_ok(const struct stack_port *p, const struct rte_mbuf *m,
	const struct ip_packet *pkt, const struct rte_tcp_hdr *tcp)
{
	if (p->trust_rx_csum)
		return true;
	if (p->rx_csum &&
		(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	return csum_l4(&pkt->from, &pkt->to, IPPROTO_TCP, tcp, m->data_len) == 0;
}

/* m is a whole segment.  Leaves m at the payload. */
static bool segment_parse(const struct stack *st, unsigned port, struct rte_mbuf *m,
	const struct ip_packet *pkt, struct tcp_segment *seg)
{
	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);

	if (m->data_len < sizeof(*tcp))
		return false;
	unsigned header = (tcp->data_off >> 4) * 4u;
	if (header < sizeof(*tcp) || header > m->data_len)
		return false;
	if (!checksum_ok(&st->conf.ports[port], m, pkt, tcp))
		return false;
	*seg = (struct tcp_segment){
		.m = m,
		.key = {.local = pkt->to,
			.peer = pkt->from,
			.local_port = rte_be_to_cpu_16(tcp->dst_port),
			.peer_port = rte_be_to_cpu_16(tcp->src_port)},
		.seq = rte_be_to_cpu_32(tcp->sent_seq),
		.ack = rte_be_to_cpu_32(tcp->recv_ack),
		.len = m->data_len - header,
		.window = rte_be_to_cpu_16(tcp->rx_win),
		.flags = tcp->tcp_flags & FLAGS_USED,
		.port = (uint8_t)port,
		.ecn = pkt->ecn,
	};
	if (seg->key.local_port == 0 || seg->key.peer_port == 0)
		return false;
	tcp_options_parse(bytes_make(tcp + 1, header - sizeof(*tcp)), &seg->opt);
	rte_pktmbuf_adj(m, (uint16_t)header);
	return true;
}

static void segment_drop(struct tcp_segment *seg)
{
	rte_pktmbuf_free(seg->m);
	seg->m = NULL;
}

/* ---- SYN_SENT ---- */

static void established(struct tcp_conn *c)
{
	tcp_conn_set_state(c, c->flags & CF_FIN_QUEUED ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED);
	c->retries = c->backoff = 0;
	c->snd_una = c->snd_nxt = c->iss + 1;
	if (!(c->flags & CF_ORPHAN))
		c->life_at = 0;
	c->heard_ms = stack_ms(c->stack);
	tcp_timer_rto(c);
}

static void tell_open(struct tcp_conn *c)
{
	if (c->stream && c->stream->ops->on_open)
		c->stream->ops->on_open(c->stream);
	/* what was refused before the connection was there may come now */
	if (c->state == TCP_ESTABLISHED && (c->flags & CF_WANT_WRITE)) {
		c->flags &= ~(uint32_t)CF_WANT_WRITE;
		c->flags |= CF_TELL_WRITABLE;
	}
}

static void syn_sent_syn(struct tcp_conn *c, const struct tcp_segment *seg)
{
	c->irs = seg->seq;
	c->rcv_nxt = c->rcv_adv = c->last_ack_sent = seg->seq + 1;
	c->snd_wnd = c->snd_wnd_max = seg->window;
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = seg->ack;
	tcp_conn_options(c, &seg->opt);
	if (!(seg->flags & RTE_TCP_ACK_FLAG)) { /* simultaneous open */
		tcp_conn_set_state(c, TCP_SYN_RCVD);
		tcp_send_syn(c);
		tcp_timer_rto(c);
		return;
	}
	/* RFC 6298 5.7: the first RTT, unless the SYN was sent more than once */
	if (c->retries == 0)
		tcp_rtt_sample(c, c->stack->now_us - c->last_send_us);
	tcp_ecn_answered(c, seg);
	established(c);
	c->flags |= CF_ACK_NOW;
	tcp_conn_dirty(c);
	tell_open(c);
}

static void syn_sent_input(struct tcp_conn *c, struct tcp_segment *seg)
{
	bool ack = seg->flags & RTE_TCP_ACK_FLAG;

	if ((c->flags & CF_SYN_DUE) || (ack && seg->ack != c->iss + 1)) {
		tcp_reply_rst(c->stack, seg);
	} else if (seg->flags & RTE_TCP_RST_FLAG) {
		if (ack)
			tcp_conn_end(c, STREAM_REFUSED);
	} else if (seg->flags & RTE_TCP_SYN_FLAG) {
		syn_sent_syn(c, seg);
		if (c->state != TCP_CLOSED)
			tcp_timer_update(c);
	}
	segment_drop(seg); /* data on a SYN comes again */
}

/* ---- synchronized states ---- */

bool tcp_window_takes(uint32_t next, uint32_t edge, const struct tcp_segment *seg)
{
	uint32_t window = seq_lt(next, edge) ? edge - next : 0;
	uint32_t n =
		seg->len + !!(seg->flags & RTE_TCP_FIN_FLAG) + !!(seg->flags & RTE_TCP_SYN_FLAG);
	uint32_t first = seg->seq - next, last = seg->seq + n - 1 - next;

	/* On the right edge too: there sits the pure ACK of a peer that has used the whole window.
	 * To refuse it, as RFC 9293's table does, lets two ends that both wait for a hole starve.
	 */
	if (n == 0)
		return first <= window;
	/* a bare FIN takes no buffer: it is welcome on the edge */
	if (window == 0)
		return first == 0 && seg->len == 0 && !(seg->flags & RTE_TCP_SYN_FLAG);
	return first < window || last < window;
}

static bool acceptable(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	return tcp_window_takes(c->rcv_nxt, c->rcv_adv, seg);
}

/* RFC 9293 3.10.7.4: with a closed window, ACKs are still worth their while.  While a zero-window
 * probe is under way they may stand an octet before what we expect or behind our window, and with
 * probes in both directions two ends that refuse that would wait for each other. */
static bool ack_still_counts(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t window = seq_lt(c->rcv_nxt, c->rcv_adv) ? c->rcv_adv - c->rcv_nxt : 0;

	return (seg->flags & (RTE_TCP_ACK_FLAG | RTE_TCP_SYN_FLAG)) == RTE_TCP_ACK_FLAG &&
	       seg->seq - (c->rcv_nxt - 1) <= window + 2;
}

/* Not acceptable: say where we are, but let strangers not make us say it endlessly. */
static void unacceptable(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (seg->flags & RTE_TCP_RST_FLAG)
		return;
	if (c->state >= TCP_ESTABLISHED && ack_still_counts(c, seg))
		tcp_ack_process(c, seg);
	/* what may be a retransmission is answered each time; a SYN is none (RFC 5961 4.2) */
	bool again =
		!(seg->flags & RTE_TCP_SYN_FLAG) && (seg->len || (seg->flags & RTE_TCP_FIN_FLAG));
	if (again && c->state >= TCP_ESTABLISHED) {
		if (seq_le(seg->seq + seg->len, c->rcv_nxt))
			tcp_reass_twice(c, seg->seq, seg->seq + seg->len);
		tcp_ts_update_again(c, seg);
		c->flags |= CF_ACK_NOW;
		tcp_conn_dirty(c);
	} else {
		tcp_send_challenge(c);
	}
}

static void reset_input(struct tcp_conn *c, const struct tcp_segment *seg)
{
	/* RFC 5961 3.2: only the exact number resets; on the edge, where an ACK may stand, it is
	 * outside, unless something is missing: then the peer may have sent all up to there */
	if (seg->seq != c->rcv_nxt) {
		if (seg->seq != c->rcv_adv || c->ooo)
			tcp_challenge_reset(c);
		return;
	}
	/* Both directions are complete, only our application has not read all: as in TIME_WAIT, a
	 * late ACK of ours that met a closed peer is no reason to lose it (RFC 1337). */
	if ((c->flags & CF_FIN_RCVD) && tcp_conn_fin_acked(c))
		return;
	if (c->state == TCP_SYN_RCVD)
		tcp_conn_end(c, STREAM_REFUSED);
	else
		tcp_conn_end(c, STREAM_RESET);
}

/* Returns false when the segment is done with. */
static bool syn_rcvd_ack(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (seg->ack != c->iss + 1) {
		tcp_reply_rst(c->stack, seg);
		return false;
	}
	if (c->retries == 0 && !(c->flags & CF_ACTIVE))
		tcp_rtt_sample(c, c->stack->now_us - c->last_send_us);
	bool passive = c->listener;
	established(c);
	c->snd_wnd = (uint32_t)seg->window << c->snd_wscale;
	c->snd_wnd_max = MAX(c->snd_wnd_max, c->snd_wnd);
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = seg->ack;
	tcp_conn_dirty(c); /* data that waited, timers */
	if (passive)
		return tcp_listen_accept(c);
	tell_open(c);
	return c->state != TCP_CLOSED;
}

/* Delayed ACKs: every second segment (tcp_output), and at once whatever a sender in trouble waits
 * for (RFC 5681 4.2). */
static void ack_plan(struct tcp_conn *c, uint32_t seq, bool gap_before)
{
	bool quick = c->rcv_nxt - c->irs <= c->stack->conf.tcp.quick_ack_bytes;

	c->segs_unacked = (uint8_t)MIN(c->segs_unacked + 1, TCP_ACK_EVERY);
	if (seq != c->rcv_nxt || gap_before || quick)
		c->flags |= CF_ACK_NOW;
	else
		tcp_ack_delay(c);
	tcp_conn_dirty(c);
}

/* RFC 9293 3.6 SHLD-3: nobody will read it, and RST says so.  Not before the peer has all of ours,
 * which a RST could destroy on its way to the application there. */
static bool data_unwanted(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	return seg->len && (c->flags & CF_ORPHAN) && c->state == TCP_FIN_WAIT_2 &&
	       seq_lt(c->rcv_nxt, seg->seq + seg->len);
}

static void data_input(struct tcp_conn *c, struct tcp_segment *seg)
{
	struct rte_mbuf *m = seg->m;

	if (seg->flags & RTE_TCP_FIN_FLAG) {
		uint32_t fin = seg->seq + seg->len;
		/* the first FIN counts, if it is within the window and behind what we have, out of
		 * order too: else rcv_nxt would step over it */
		if (!(c->flags & CF_FIN_SEEN) && seq_le(c->rcv_nxt, fin) &&
			seq_le(fin, seq_max(c->rcv_adv, c->rcv_nxt)) &&
			!tcp_reass_reaches(c, fin)) {
			c->flags |= CF_FIN_SEEN;
			c->rcv_fin = c->ooo_last = fin;
		}
		c->flags |= CF_ACK_NOW;
		tcp_conn_dirty(c);
	}
	if (seg->len == 0)
		return;
	seg->m = NULL;
	if (c->rcv_mss < seg->len)
		c->rcv_mss = (uint16_t)seg->len;
	ack_plan(c, seg->seq, c->ooo != NULL);
	if (c->flags & CF_FIN_RCVD) {
		c->flags |= CF_ACK_NOW;
		rte_pktmbuf_free(m);
		return;
	}
	tcp_reass_input(c, m, seg->seq, seg->len);
}

/* Acceptable, with ACK, and neither RST nor SYN. */
static void ack_input(struct tcp_conn *c, struct tcp_segment *seg)
{
	if (c->state == TCP_SYN_RCVD && !syn_rcvd_ack(c, seg))
		return;
	if (c->state == TCP_CLOSED || !tcp_ack_process(c, seg))
		return;
	tcp_ts_update(c, seg); /* only what an acceptable ACK came with */
	tcp_ecn_input(c, seg);
	c->heard_ms = stack_ms(c->stack);
	if (!tcp_flight(c) && !c->unsent)
		c->retries = 0; /* of keep-alive probes */
	if (data_unwanted(c, seg)) {
		tcp_send_rst(c);
		tcp_conn_kill(c);
		return;
	}
	data_input(c, seg);
	if (c->state != TCP_CLOSED)
		tcp_conn_progress(c);
}

static void sync_input(struct tcp_conn *c, struct tcp_segment *seg)
{
	bool syn_again = c->state == TCP_SYN_RCVD && seg->seq == c->irs &&
			 (seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG)) == RTE_TCP_SYN_FLAG;

	if (syn_again && !(seg->flags & RTE_TCP_ACK_FLAG)) {
		tcp_send_syn(c); /* our answer was lost */
	} else if (syn_again) {
		/* simultaneous open: SYN-ACK of the other side */
		if (seg->ack == c->iss + 1) {
			c->flags |= CF_ACK_NOW;
			syn_rcvd_ack(c, seg);
		}
	} else if (tcp_ts_refuses(c, seg)) {
		counter_inc(CTR_TCP_PAWS_DROPPED);
		c->flags |= CF_ACK_NOW; /* RFC 7323 5.3 R1 */
		tcp_conn_dirty(c);
	} else if (!acceptable(c, seg)) {
		unacceptable(c, seg);
	} else if (seg->flags & RTE_TCP_RST_FLAG) {
		reset_input(c, seg);
	} else if (seg->flags & RTE_TCP_SYN_FLAG) {
		tcp_send_challenge(c); /* RFC 5961 4.2 */
	} else if (seg->flags & RTE_TCP_ACK_FLAG) {
		ack_input(c, seg);
	}
}

/* ---- dispatch ---- */

static void stranger_input(struct stack *st, struct tcp_segment *seg)
{
	struct tcp_syn *half_open = tcp_syn_lookup(st, &seg->key);

	struct tcp_conn *c;

	if (half_open) {
		c = tcp_syn_input(st, half_open, seg);
		if (c)
			ack_input(c, seg);
		return;
	}
	struct tcp_tw *tw = tcp_tw_lookup(st, &seg->key);
	uint32_t floor = 0;

	if (tw) {
		if (!tcp_tw_input(st, tw, seg))
			return;
		floor = tw->snd_nxt;
		tcp_tw_remove(st, tw);
	}
	c = tcp_listen_input(st, seg, floor);
	if (c)
		ack_input(c, seg);
}

void tcp_input(struct stack *st, unsigned port, struct rte_mbuf *m, const struct ip_packet *pkt)
{
	struct tcp_segment seg;

	counter_inc(CTR_TCP_IN_SEGS);
	if (!segment_parse(st, port, m, pkt, &seg)) {
		counter_inc(CTR_TCP_IN_ERRS);
		rte_pktmbuf_free(m);
		return;
	}
	struct tcp_conn *c = tcp_conn_lookup(st, &seg.key);
	if (!c)
		stranger_input(st, &seg);
	else if (c->state == TCP_SYN_SENT)
		syn_sent_input(c, &seg);
	else
		sync_input(c, &seg);
	rte_pktmbuf_free(seg.m); /* unless the receive queue took it */
}

bool tcp_unreachable(struct stack *st, const struct tcp_key *key, uint32_t seq, bool hard)
{
	struct tcp_conn *c = tcp_conn_lookup(st, key);
	struct tcp_syn *half_open = c ? NULL : tcp_syn_lookup(st, key);

	if (half_open)
		return tcp_syn_unreachable(st, half_open, seq, hard);
	if (!c || (c->flags & CF_SYN_DUE) || !tcp_in_flight(c, seq))
		return false;
	/* RFC 5461, RFC 5927 5.2: a connection being opened ends; an established one goes on
	 * trying, whatever the error says, and remembers it as a reason should it fail */
	if (c->state == TCP_SYN_SENT)
		tcp_conn_end(c, STREAM_UNREACHABLE);
	else
		c->flags |= CF_UNREACHABLE;
	return true;
}

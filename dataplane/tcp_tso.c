/* SPDX-License-Identifier: BSD-3-Clause
 * Segmentation by the port: a run of segments that were never sent leaves as one frame, a header
 * with the segments chained behind it, which the port cuts where we would have.  Each stays a
 * segment of the retransmission queue: what is lost goes again by itself, in software.
 *
 * The chain is made of the queue's own mbufs.  Whoever frees its last reference resets an mbuf's
 * place in the chain (rte_pktmbuf_prefree_seg); while the driver has one too, nobody touches it. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define TSO_SEGMENTS_MIN 2 /* one alone goes as ever */

struct run {
	struct rte_mbuf *last;
	unsigned segments;
	uint32_t octets;
};

/* Octets that the peer's window and ours for the network leave. */
static uint32_t room_of(const struct tcp_conn *c)
{
	int32_t window = (int32_t)(c->snd_una + c->snd_wnd - tcp_txseg_of(c->unsent)->seq);
	uint32_t pipe = tcp_pipe(c);

	if (window <= 0 || pipe >= c->cc.cwnd)
		return 0;
	return MIN((uint32_t)window, c->cc.cwnd - pipe);
}

/* Full segments, and one more that may be shorter: the port cuts every c->mss octets. */
static void run_find(struct tcp_conn *c, uint32_t room, struct run *r)
{
	const struct stack_port *p = &c->stack->conf.ports[c->port];

	*r = (struct run){0};
	for (struct rte_mbuf *m = c->unsent; m && r->segments < p->tso_segments;
		m = tcp_txseg_of(m)->next) {
		const struct tcp_txseg *seg = tcp_txseg_of(m);
		if (seg->len > c->mss || (seg->flags & TXS_PROBE) || rte_mbuf_refcnt_read(m) != 1 ||
			r->octets + seg->len > MIN(room, p->tso_octets))
			break;
		r->last = m;
		r->segments++;
		r->octets += seg->len;
		if (seg->len < c->mss)
			break;
	}
}

/* Chain the run behind head. */
static void run_chain(struct tcp_conn *c, const struct run *r, struct rte_mbuf *head)
{
	struct rte_mbuf **link = &head->next, *m = c->unsent;

	for (unsigned i = 0; i < r->segments; i++) {
		struct tcp_txseg *seg = tcp_txseg_of(m);
		m->data_off = seg->payload_off;
		m->data_len = seg->len;
		m->pkt_len = seg->len;
		m->ol_flags = 0;
		m->next = NULL;
		m->nb_segs = 1;
		rte_mbuf_refcnt_update(m, 1);
		seg->sent_us = c->stack->now_us;
		*link = m;
		link = &m->next;
		m = seg->next;
	}
	head->nb_segs = (uint16_t)(1 + r->segments);
	head->pkt_len = r->octets;
	head->ol_flags = RTE_MBUF_F_TX_TCP_SEG;
	head->tso_segsz = c->mss;
}

bool tcp_tso_send(struct tcp_conn *c)
{
	struct stack *st = c->stack;
	struct run r;

	if (!st->conf.ports[c->port].tso_octets || !c->unsent || (c->flags & CF_PROBE))
		return false;
	run_find(c, room_of(c), &r);
	if (r.segments < TSO_SEGMENTS_MIN)
		return false;
	struct rte_mbuf *head = stack_alloc(st, st->env.control_pool);
	if (!head)
		return false;
	const struct tcp_txseg *first = tcp_txseg_of(c->unsent), *last = tcp_txseg_of(r.last);
	bool fin = (c->flags & CF_FIN_QUEUED) && r.last == c->sendq_tail;
	uint8_t flags = RTE_TCP_ACK_FLAG;
	if (!last->next)
		flags |= RTE_TCP_PSH_FLAG;
	if (fin) {
		flags |= RTE_TCP_FIN_FLAG;
		c->flags |= CF_FIN_SENT;
	}
	run_chain(c, &r, head);
	c->unsent = last->next;
	c->last_send_us = st->now_us;
	c->snd_nxt = seq_max(c->snd_nxt, last->seq + last->len + fin);
	counter_add(CTR_TCP_OUT_SEGS, r.segments);
	counter_inc(CTR_TCP_TSO_FRAMES);
	tcp_send_frame(c, head, first->seq, flags);
	return true;
}

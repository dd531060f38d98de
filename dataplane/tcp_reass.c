/* SPDX-License-Identifier: BSD-3-Clause
 * The receive queue: octets in order that the application left, and segments out of order. Received
 * mbufs are kept only here, and charged by the memory they pin. */
#include "dataplane/stack_priv.h"

/* Received mbufs are linked by m->next while they wait here; their nb_segs stays 1, and they are
 * unlinked before they are freed.  hash.usr is free after reception: the sequence number. */
static uint32_t rx_seq(const struct rte_mbuf *m)
{
	return m->hash.usr;
}

static uint32_t rx_end(const struct rte_mbuf *m)
{
	return m->hash.usr + m->data_len;
}

static uint32_t rx_cost(const struct rte_mbuf *m)
{
	return (uint32_t)(m->buf_len + sizeof(*m));
}

static void rx_free(struct tcp_conn *c, struct rte_mbuf *m)
{
	c->charged -= rx_cost(m);
	m->next = NULL;
	rte_pktmbuf_free(m);
}

/* Is there room behind to for from, and does nobody else see that memory? */
static bool rx_fits(const struct rte_mbuf *to, const struct rte_mbuf *from)
{
	return to && RTE_MBUF_DIRECT(to) && rte_mbuf_refcnt_read(to) == 1 &&
	       rte_pktmbuf_tailroom(to) >= from->data_len;
}

static bool rx_merge(struct rte_mbuf *to, const struct rte_mbuf *from)
{
	if (!rx_fits(to, from))
		return false;
	/* not rte_pktmbuf_append: it walks next to the last segment */
	memcpy(rte_pktmbuf_mtod_offset(to, uint8_t *, to->data_len),
		rte_pktmbuf_mtod(from, const uint8_t *), from->data_len);
	to->data_len = (uint16_t)(to->data_len + from->data_len);
	to->pkt_len = to->data_len;
	return true;
}

/* Also when it makes the charge exceed the limit: while it had not, a window was offered.  When
 * frames are scarce less is held than was offered: windows of all connections together promise many
 * times what there is. */
static bool may_hold(struct tcp_conn *c, const struct rte_mbuf *m)
{
	return c->charged < 2 * stack_buffer(c->stack, c->stack->conf.rcv_buffer_bytes) &&
	       !stack_rx_low(c->stack, m->pool);
}

uint32_t tcp_reass_space(const struct tcp_conn *c)
{
	uint32_t size = stack_buffer(c->stack, c->stack->conf.rcv_buffer_bytes);
	uint32_t used = MAX(c->unread_bytes, c->charged / 2);

	return used < size ? size - used : 0;
}

static void unread_push(struct tcp_conn *c, struct rte_mbuf *m)
{
	c->unread_bytes += m->data_len;
	if (rx_merge(c->unread_tail, m)) {
		rte_pktmbuf_free(m);
		return;
	}
	m->next = NULL;
	if (c->unread_tail)
		c->unread_tail->next = m;
	else
		c->unread = m;
	c->unread_tail = m;
	c->charged += rx_cost(m);
}

/* Since when the application takes nothing. */
static void note_untaken(struct tcp_conn *c)
{
	uint32_t now = stack_ms(c->stack);

	tcp_note(c)->untaken_ms = now ? now : 1;
}

/* Upcall.  Returns false when the application did not take all, or the connection has ended;
 * *left_r: octets not taken. */
static bool give(struct tcp_conn *c, struct rte_mbuf *m, uint16_t *left_r)
{
	struct stream *s = c->stream;
	size_t n = m->data_len;
	size_t taken = s->ops->on_data(s, bytes_make(rte_pktmbuf_mtod(m, const uint8_t *), n));

	*left_r = 0;
	if (c->state == TCP_CLOSED || c->stream != s)
		return false;
	BUG_ON(taken > n);
	if (taken == n)
		return true;
	rte_pktmbuf_adj(m, (uint16_t)taken);
	*left_r = m->data_len;
	c->flags |= CF_RX_STOPPED;
	return false;
}

static void received(struct tcp_conn *c, uint32_t n)
{
	if (unlikely(c->rcv_nxt + n < c->rcv_nxt))
		tcp_note(c)->in_wraps++;
	if (unlikely(c->ooo != NULL))
		tcp_note(c)->gap_ms = stack_ms(c->stack);
	c->rcv_nxt += n;
}

/* In-order octets at rcv_nxt.  Returns false when they could not be kept. */
static bool accept_in_order(struct tcp_conn *c, struct rte_mbuf *m)
{
	bool hold = c->unread || (c->flags & CF_RX_STOPPED);
	uint16_t left;

	m->next = NULL;
	if (!c->stream) { /* closed by the application: acknowledged and discarded */
		received(c, m->data_len);
		rte_pktmbuf_free(m);
		return true;
	}
	/* what fits behind the last pins nothing more: the window has promised as much */
	if (hold && !rx_fits(c->unread_tail, m) && !may_hold(c, m)) {
		counter_inc(CTR_TCP_OOO_DROPPED);
		rte_pktmbuf_free(m);
		return false;
	}
	received(c, m->data_len);
	if (hold) {
		unread_push(c, m);
		return true;
	}
	give(c, m, &left);
	if (left) {
		note_untaken(c);
		unread_push(c, m);
	} else {
		rte_pktmbuf_free(m);
	}
	return true;
}

void tcp_reass_deliver(struct tcp_conn *c)
{
	uint32_t before = c->unread_bytes;

	while (c->unread && c->stream && !(c->flags & CF_RX_STOPPED)) {
		struct rte_mbuf *m = c->unread;
		uint16_t left;
		/* Off the queue during the call: the application may abort inside. */
		c->unread = m->next;
		if (!c->unread)
			c->unread_tail = NULL;
		m->next = NULL;
		c->unread_bytes -= m->data_len;
		c->charged -= rx_cost(m);
		give(c, m, &left);
		if (!left) {
			rte_pktmbuf_free(m);
			continue;
		}
		m->next = c->unread;
		c->unread = m;
		if (!c->unread_tail)
			c->unread_tail = m;
		c->unread_bytes += left;
		c->charged += rx_cost(m);
	}
	if (!c->unread)
		tcp_note(c)->untaken_ms = 0;
	else if (c->unread_bytes != before)
		note_untaken(c);
	if (c->state != TCP_CLOSED)
		tcp_conn_progress(c);
}

/* ---- out of order ---- */

static void ooo_unlink(struct tcp_conn *c, struct rte_mbuf **at)
{
	struct rte_mbuf *m = *at;

	*at = m->next;
	c->ooo_count--;
	rx_free(c, m);
}

/* Make room for a segment at seq: the one farthest away goes, unless that is the new one. */
static bool ooo_make_room(struct tcp_conn *c, const struct rte_mbuf *m)
{
	if (c->ooo_count < TCP_OOO_BUFFERS_MAX && may_hold(c, m))
		return true;
	struct rte_mbuf **last = &c->ooo;
	if (!*last || stack_rx_low(c->stack, m->pool))
		return false;
	while ((*last)->next)
		last = &(*last)->next;
	if (seq_le(rx_seq(*last), rx_seq(m)))
		return false;
	counter_inc(CTR_TCP_OOO_DROPPED);
	ooo_unlink(c, last);
	return c->ooo_count < TCP_OOO_BUFFERS_MAX && may_hold(c, m);
}

/* What of m is there already: the first part of it that is in one piece.  from: where to look. */
static void ooo_twice(struct tcp_conn *c, const struct rte_mbuf *from, const struct rte_mbuf *m)
{
	struct tcp_range r = {0, 0};

	for (; from && seq_lt(rx_seq(from), rx_end(m)); from = from->next) {
		uint32_t start = seq_max(rx_seq(from), rx_seq(m));
		uint32_t end = seq_lt(rx_end(m), rx_end(from)) ? rx_end(m) : rx_end(from);
		if (r.start == r.end)
			r = (struct tcp_range){start, end};
		else if (start == r.end)
			r.end = end;
		else
			break;
	}
	tcp_reass_twice(c, r.start, r.end);
}

/* Sorted and without overlaps: of octets that came twice, those that came first stay, unless the
 * new segment covers a whole old one. */
static void ooo_insert(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq)
{
	struct rte_mbuf **at = &c->ooo, *before = NULL;

	if (!c->ooo)
		tcp_note(c)->gap_ms = stack_ms(c->stack);
	m->hash.usr = seq;
	c->ooo_last = seq;
	if (!ooo_make_room(c, m))
		goto drop;
	while (*at && seq_le(rx_seq(*at), seq)) {
		before = *at;
		at = &before->next;
	}
	ooo_twice(c, before && seq_lt(seq, rx_end(before)) ? before : *at, m);
	if (before && seq_lt(seq, rx_end(before))) {
		if (seq_le(rx_end(m), rx_end(before))) {
			rte_pktmbuf_free(m);
			return;
		}
		uint32_t cut = rx_end(before) - seq;
		rte_pktmbuf_adj(m, (uint16_t)cut);
		m->hash.usr += cut;
	}
	while (*at && seq_le(rx_end(*at), rx_end(m)))
		ooo_unlink(c, at);
	if (*at && seq_lt(rx_seq(*at), rx_end(m)))
		rte_pktmbuf_trim(m, (uint16_t)(rx_end(m) - rx_seq(*at)));
	/* the two around it may have all of it */
	if (m->data_len == 0 || (before && rx_end(before) == rx_seq(m) && rx_merge(before, m))) {
		rte_pktmbuf_free(m);
		return;
	}
	m->next = *at;
	*at = m;
	c->ooo_count++;
	c->charged += rx_cost(m);
	return;
drop:
	counter_inc(CTR_TCP_OOO_DROPPED);
	rte_pktmbuf_free(m);
}

/* What has become in order through an arrival. */
static void ooo_drain(struct tcp_conn *c)
{
	while (c->ooo && seq_le(rx_seq(c->ooo), c->rcv_nxt)) {
		struct rte_mbuf *m = c->ooo;
		if (seq_le(rx_end(m), c->rcv_nxt)) {
			ooo_unlink(c, &c->ooo);
			continue;
		}
		c->ooo = m->next;
		c->ooo_count--;
		c->charged -= rx_cost(m);
		m->next = NULL;
		rte_pktmbuf_adj(m, (uint16_t)(c->rcv_nxt - rx_seq(m)));
		if (!accept_in_order(c, m) || c->state == TCP_CLOSED)
			return;
	}
}

bool tcp_reass_reaches(const struct tcp_conn *c, uint32_t seq)
{
	const struct rte_mbuf *m = c->ooo;

	while (m && m->next)
		m = m->next;
	return m && seq_lt(seq, rx_end(m));
}

void tcp_reass_input(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	uint32_t limit = (c->flags & CF_FIN_SEEN) ? c->rcv_fin : c->rcv_adv;

	if (seq_lt(seq, c->rcv_nxt)) {
		uint32_t old = MIN(c->rcv_nxt - seq, len);
		tcp_reass_twice(c, seq, seq + old);
		rte_pktmbuf_adj(m, (uint16_t)old);
		seq += old;
		len -= old;
	}
	if (seq_lt(limit, seq + len)) {
		uint32_t over = seq_lt(limit, seq) ? len : MIN(seq + len - limit, len);
		rte_pktmbuf_trim(m, (uint16_t)over);
		len -= over;
	}
	if (len == 0) {
		rte_pktmbuf_free(m);
		return;
	}
	if (seq != c->rcv_nxt) {
		counter_inc(CTR_TCP_IN_OOO);
		ooo_insert(c, m, seq);
		return;
	}
	if (accept_in_order(c, m) && c->state != TCP_CLOSED)
		ooo_drain(c);
}

void tcp_reass_twice(struct tcp_conn *c, uint32_t start, uint32_t end)
{
	if (!(c->flags & CF_SACK) || start == end)
		return;
	tcp_cold(c)->dsack = (struct tcp_range){start, end};
	c->dsack_due = true;
}

/* Add a block; the one with the newest arrival goes first (RFC 2018 4). */
static unsigned sack_add(const struct tcp_conn *c, struct tcp_range *blocks, unsigned n,
	unsigned room, struct tcp_range r)
{
	bool newest = seq_le(r.start, c->ooo_last) && seq_lt(c->ooo_last, r.end);

	if (newest && n) {
		struct tcp_range first = blocks[0];
		blocks[0] = r;
		r = first;
	}
	if (n < room)
		blocks[n++] = r;
	return n;
}

unsigned tcp_reass_sack(const struct tcp_conn *c, struct tcp_range *blocks, unsigned room)
{
	/* A FIN that came too early counts as an octet: it shows the peer that its tail is lost. */
	bool fin = (c->flags & CF_FIN_SEEN) && seq_lt(c->rcv_nxt, c->rcv_fin);
	unsigned n = 0;

	for (const struct rte_mbuf *m = c->ooo; m;) {
		struct tcp_range r = {rx_seq(m), rx_end(m)};
		for (m = m->next; m && rx_seq(m) == r.end; m = m->next)
			r.end = rx_end(m);
		if (fin && r.end == c->rcv_fin) {
			r.end++;
			fin = false;
		}
		n = sack_add(c, blocks, n, room, r);
	}
	if (fin)
		n = sack_add(c, blocks, n, room, (struct tcp_range){c->rcv_fin, c->rcv_fin + 1});
	return n;
}

void tcp_reass_drop_ooo(struct tcp_conn *c)
{
	while (c->ooo) {
		counter_inc(CTR_TCP_OOO_DROPPED);
		ooo_unlink(c, &c->ooo);
	}
}

void tcp_reass_free(struct tcp_conn *c)
{
	while (c->ooo)
		ooo_unlink(c, &c->ooo);
	while (c->unread) {
		struct rte_mbuf *m = c->unread;
		c->unread = m->next;
		rx_free(c, m);
	}
	c->unread_tail = NULL;
	c->unread_bytes = 0;
}

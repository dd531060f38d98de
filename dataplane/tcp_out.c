/* SPDX-License-Identifier: BSD-3-Clause
 * Building and sending segments (RFC 9293 3.8). */
#include <errno.h>
#include <netinet/in.h>
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

/* Window to advertise.  The right edge never moves left; it moves right only by what is worth a
 * segment (RFC 9293 3.8.6.2.2: silly windows).  Scaling rounds, and rounding down could move the
 * edge left: so up, while a quarter of the buffer covers what that adds. */
static uint16_t window_field(struct tcp_conn *c, unsigned scale)
{
	uint32_t size = c->stack->conf.rcv_buffer_bytes;
	uint32_t edge = c->rcv_nxt + tcp_reass_space(c);

	if (seq_lt(c->rcv_adv, c->rcv_nxt))
		c->rcv_adv = c->rcv_nxt; /* the peer's FIN sits on the edge */
	if ((int32_t)(edge - c->rcv_adv) < (int32_t)MIN(size / 2, (uint32_t)c->rcv_mss))
		edge = c->rcv_adv;
	uint32_t field = MIN((edge - c->rcv_nxt) >> scale, (uint32_t)UINT16_MAX);
	if (seq_lt(c->rcv_nxt + (field << scale), c->rcv_adv) && field < UINT16_MAX &&
		c->unread_bytes + ((field + 1) << scale) <= size + size / 4)
		field++;
	c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + (field << scale));
	return (uint16_t)field;
}

bool tcp_window_update_due(const struct tcp_conn *c)
{
	uint32_t size = c->stack->conf.rcv_buffer_bytes;
	/* no more than the field can say */
	uint32_t space = MIN(tcp_reass_space(c), (uint32_t)UINT16_MAX << c->rcv_wscale);
	int32_t gain = (int32_t)(c->rcv_nxt + space - c->rcv_adv);
	int32_t offered = (int32_t)(c->rcv_adv - c->rcv_nxt);

	/* A SYN cannot tell the whole of a scaled window: the next ACK will, unless the peer has
	 * used much of what the SYN told. */
	bool from_syn = c->rcv_adv - c->irs <= UINT16_MAX + 1u && offered > UINT16_MAX / 2;
	if ((c->flags & CF_FIN_SEEN) || from_syn)
		return false;
	return gain >= (int32_t)(size / 4) ||
	       (offered < 2 * c->rcv_mss && gain >= (int32_t)MIN(size / 2, 2u * c->rcv_mss));
}

/* Prepend the TCP header and options; the checksum follows in ip_output. */
static void header_push(struct rte_mbuf *m, const struct tcp_key *key, uint32_t seq, uint32_t ack,
	uint8_t flags, uint16_t window, struct bytes options)
{
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)rte_pktmbuf_prepend(
		m, (uint16_t)(sizeof(struct rte_tcp_hdr) + options.n));

	BUG_ON(!tcp);
	*tcp = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16(key->local_port),
		.dst_port = rte_cpu_to_be_16(key->peer_port),
		.sent_seq = rte_cpu_to_be_32(seq),
		.recv_ack = rte_cpu_to_be_32(ack),
		.data_off = (uint8_t)((sizeof(*tcp) + options.n) / 4 << 4),
		.tcp_flags = flags,
		.rx_win = rte_cpu_to_be_16(window),
	};
	if (options.n)
		memcpy(tcp + 1, options.p, options.n);
}

static void segment_send_ecn(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint8_t flags,
	struct bytes options, uint8_t ecn)
{
	bool syn = flags & RTE_TCP_SYN_FLAG;
	uint16_t window = window_field(c, syn ? 0 : c->rcv_wscale);

	if ((c->flags & CF_ECE) && !syn)
		flags |= RTE_TCP_ECE_FLAG;
	header_push(
		m, &c->key, seq, flags & RTE_TCP_ACK_FLAG ? c->rcv_nxt : 0, flags, window, options);
	if (flags & RTE_TCP_ACK_FLAG) {
		c->flags &= ~(uint32_t)CF_ACK_NOW;
		c->segs_unacked = 0;
		c->delack_ms = 0;
		c->last_ack_sent = c->rcv_nxt;
	}
	ip_output(c->stack, c->port, &c->key.local, &c->key.peer, IPPROTO_TCP, ecn, m);
}

static void segment_send(
	struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint8_t flags, struct bytes options)
{
	segment_send_ecn(c, m, seq, flags, options, 0);
}

/* The option that every segment has, if timestamps were agreed on.  Returns octets. */
static size_t ts_put(const struct tcp_conn *c, uint8_t *options)
{
	return c->flags & CF_TS ? tcp_options_ts(options, tcp_ts_now(c), c->ts_recent) : 0;
}

void tcp_send_syn(struct tcp_conn *c)
{
	struct stack *st = c->stack;
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);
	bool answer = c->state == TCP_SYN_RCVD;
	uint8_t options[40];

	c->snd_nxt = c->iss + 1;
	c->last_send_us = st->now_us;
	if (!m)
		return; /* the retransmission timer tries again */
	/* An answer offers only what the SYN did (RFC 7323 1.3, RFC 2018 2). */
	bool scale = !answer || (c->flags & CF_WSCALE), sack = !answer || (c->flags & CF_SACK);
	bool ts = !answer || (c->flags & CF_TS);
	struct tcp_offer offer = {.mss = tcp_mss_ours(st, c->port, &c->key.peer),
		.wscale = scale ? c->rcv_wscale : -1,
		.sack = sack && !st->conf.tcp.no_sack,
		.ts = ts && !st->conf.tcp.no_timestamps,
		.ts_val = tcp_ts_now(c),
		.ts_ecr = c->ts_recent};
	size_t n = tcp_options_syn(options, &offer);
	counter_inc(c->retries ? CTR_TCP_RETRANS_SEGS : CTR_TCP_OUT_SEGS);
	uint8_t flags = RTE_TCP_SYN_FLAG | tcp_ecn_syn_flags(c);
	segment_send(c, m, c->iss, (uint8_t)(flags | (answer ? RTE_TCP_ACK_FLAG : 0)),
		bytes_make(options, n));
}

/* SND.NXT (RFC 9293 3.10.7.4), but not beyond the peer's window, as it is after a zero-window
 * probe: there the peer would refuse the ACK (RFC 9293 3.10.7.4, first check). */
static uint32_t ack_seq(const struct tcp_conn *c)
{
	uint32_t edge = c->snd_una + c->snd_wnd;

	return c->state >= TCP_ESTABLISHED && seq_lt(edge, c->snd_nxt) ? edge : c->snd_nxt;
}

/* A D-SACK goes first (RFC 2883 4), once. */
static unsigned sack_blocks(struct tcp_conn *c, struct tcp_range blocks[TCP_SACK_BLOCKS])
{
	unsigned n = 0;

	if (!(c->flags & CF_SACK))
		return 0;
	if (c->dsack_due) {
		blocks[n++] = tcp_cold(c)->dsack;
		c->dsack_due = false;
		counter_inc(CTR_TCP_DSACKS_SENT);
	}
	return n + tcp_reass_sack(c, blocks + n, TCP_SACK_BLOCKS - n);
}

void tcp_send_ack(struct tcp_conn *c)
{
	struct rte_mbuf *m = stack_alloc(c->stack, c->stack->env.control_pool);
	struct tcp_range blocks[TCP_SACK_BLOCKS];
	uint8_t options[TCP_TS_OCTETS + 4 + 8 * TCP_SACK_BLOCKS];

	if (!m) {
		c->flags &= ~(uint32_t)CF_ACK_NOW;
		c->segs_unacked = 0;
		tcp_ack_delay(c);
		return;
	}
	unsigned n = sack_blocks(c, blocks);
	size_t used = ts_put(c, options);
	if (n)
		used += tcp_options_sack(options + used, blocks, n);
	counter_inc(CTR_TCP_OUT_SEGS);
	segment_send(c, m, ack_seq(c), RTE_TCP_ACK_FLAG, bytes_make(options, used));
}

void tcp_send_keepalive(struct tcp_conn *c)
{
	struct rte_mbuf *m = stack_alloc(c->stack, c->stack->env.control_pool);
	uint8_t options[TCP_TS_OCTETS];

	if (!m)
		return; /* the next one may find room */
	counter_inc(CTR_TCP_OUT_SEGS);
	segment_send(
		c, m, c->snd_nxt - 1, RTE_TCP_ACK_FLAG, bytes_make(options, ts_put(c, options)));
}

/* RFC 5961 7.  A number that all connections share, and that is known, tells a stranger who counts
 * his own share whether his guesses about others were right (CVE-2016-5696): so neither how many
 * there are nor how long they last can be known. */
bool tcp_challenge_allowed(struct stack *st)
{
	uint32_t max = st->conf.tcp.challenge_acks;

	if (st->now_us >= st->challenges.until_us) {
		uint64_t random = st->env.random64(st->env.ctx);
		max = max ? max : TCP_CHALLENGES;
		st->challenges.left = max / 2 + (uint32_t)(random % max) + 1;
		st->challenges.until_us =
			st->now_us + US_PER_SEC * 3 / 4 + (random >> 32) % (US_PER_SEC / 2);
	}
	if (!st->challenges.left) {
		counter_inc(CTR_TCP_CHALLENGES_LIMITED);
		return false;
	}
	st->challenges.left--;
	return true;
}

/* Once in a while for each connection. */
static bool challenged_lately(const struct tcp_conn *c)
{
	uint32_t last = tcp_note(c)->challenge_ms;

	return last && stack_ms(c->stack) - last < TCP_CHALLENGE_US / US_PER_MS;
}

void tcp_send_challenge(struct tcp_conn *c)
{
	uint32_t now = stack_ms(c->stack);

	if (challenged_lately(c) || !tcp_challenge_allowed(c->stack))
		return;
	tcp_note(c)->challenge_ms = now ? now : 1;
	counter_inc(CTR_TCP_CHALLENGE_ACKS);
	tcp_send_ack(c);
}

void tcp_challenge_reset(struct tcp_conn *c)
{
	if (challenged_lately(c)) {
		tcp_ack_by(c, tcp_note(c)->challenge_ms + TCP_CHALLENGE_US / US_PER_MS);
		tcp_conn_dirty(c);
	} else {
		tcp_send_challenge(c);
	}
}

/* A segment without a connection, and what is rare in one. */
struct bare {
	const struct tcp_key *key;
	unsigned port;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window;
};

static void bare_window_send(struct stack *st, const struct bare *b, struct bytes options)
{
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);

	if (!m)
		return;
	header_push(m, b->key, b->seq, b->ack, b->flags, b->window, options);
	ip_output(st, b->port, &b->key->local, &b->key->peer, IPPROTO_TCP, 0, m);
}

static void bare_send(struct stack *st, unsigned port, const struct tcp_key *key, uint32_t seq,
	uint32_t ack, uint8_t flags, struct bytes options)
{
	struct bare b = {key, port, seq, ack, flags, 0};

	counter_inc(flags & RTE_TCP_RST_FLAG ? CTR_TCP_OUT_RSTS : CTR_TCP_OUT_SEGS);
	bare_window_send(st, &b, options);
}

void tcp_reply_syn_ack(struct stack *st, const struct tcp_syn *e, uint32_t ts)
{
	uint8_t ecn = e->flags & TCP_SYN_ECN ? RTE_TCP_ECE_FLAG : 0;
	struct bare b = {&e->key, e->port, e->iss, e->irs + 1,
		(uint8_t)(RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | ecn),
		(uint16_t)tcp_syn_window(st, e)};
	/* An answer offers only what the SYN did (RFC 7323 1.3, RFC 2018 2). */
	struct tcp_offer offer = {.mss = tcp_mss_ours(st, e->port, &e->key.peer),
		.wscale = e->flags & TCP_SYN_WSCALE ? tcp_wscale_ours(st) : -1,
		.sack = e->flags & TCP_SYN_SACK,
		.ts = e->flags & TCP_SYN_TS,
		.ts_val = ts,
		.ts_ecr = e->ts_recent};
	uint8_t options[40];

	counter_inc(
		e->repeats || (e->flags & TCP_SYN_TWICE) ? CTR_TCP_RETRANS_SEGS : CTR_TCP_OUT_SEGS);
	bare_window_send(st, &b, bytes_make(options, tcp_options_syn(options, &offer)));
}

void tcp_reply_half_open(struct stack *st, const struct tcp_syn *e, uint32_t ts)
{
	unsigned scale = e->flags & TCP_SYN_WSCALE ? tcp_wscale_ours(st) : 0;
	struct bare b = {&e->key, e->port, e->iss + 1, e->irs + 1, RTE_TCP_ACK_FLAG,
		(uint16_t)(tcp_syn_window(st, e) >> scale)};
	uint8_t options[TCP_TS_OCTETS];
	size_t n = 0;

	if (e->flags & TCP_SYN_TS)
		n = tcp_options_ts(options, ts, e->ts_recent);
	counter_inc(CTR_TCP_OUT_SEGS);
	bare_window_send(st, &b, bytes_make(options, n));
}

void tcp_send_rst(struct tcp_conn *c)
{
	uint8_t options[TCP_TS_OCTETS];

	bare_send(c->stack, c->port, &c->key, c->snd_nxt, c->rcv_nxt,
		RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, bytes_make(options, ts_put(c, options)));
}

void tcp_reply_rst(struct stack *st, const struct tcp_segment *seg)
{
	if (seg->flags & RTE_TCP_RST_FLAG)
		return;
	if (seg->flags & RTE_TCP_ACK_FLAG) {
		bare_send(st, seg->port, &seg->key, seg->ack, 0, RTE_TCP_RST_FLAG, BYTES_NONE);
		return;
	}
	uint32_t end = seg->seq + seg->len + !!(seg->flags & RTE_TCP_SYN_FLAG) +
		       !!(seg->flags & RTE_TCP_FIN_FLAG);
	bare_send(
		st, seg->port, &seg->key, 0, end, RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, BYTES_NONE);
}

void tcp_reply_ack(struct stack *st, const struct tcp_tw *tw)
{
	uint8_t options[TCP_TS_OCTETS];
	struct bytes opt = BYTES_NONE;
	struct ip_route route;

	if (!ip_route(st, &tw->key.peer, &route))
		return;
	if (tw->ts_offset)
		opt = bytes_make(options,
			tcp_options_ts(options, stack_ms(st) + tw->ts_offset, tw->ts_recent));
	bare_send(st, route.port, &tw->key, tw->snd_nxt, tw->rcv_nxt, RTE_TCP_ACK_FLAG, opt);
}

/* ---- data ---- */

/* An ACK in the middle of the segment may have left the payload at an odd place: headers before it
 * want an even one. */
static void txseg_align(struct rte_mbuf *m)
{
	struct tcp_txseg *seg = tcp_txseg_of(m);
	uint8_t *payload = (uint8_t *)m->buf_addr + seg->payload_off;

	if (seg->payload_off % 2 == 0)
		return;
	memmove(payload - 1, payload, seg->len);
	seg->payload_off--;
}

/* The mbuf to hand to the driver: the one of the queue when nobody else holds it, else a copy. */
static struct rte_mbuf *txseg_mbuf(struct tcp_conn *c, struct rte_mbuf *m)
{
	struct tcp_txseg *seg = tcp_txseg_of(m);
	struct rte_mbuf *out = m;

	if (rte_mbuf_refcnt_read(m) > 1) {
		out = stack_alloc(c->stack, c->stack->env.tx_pool);
		if (!out)
			return NULL;
		memcpy((uint8_t *)out->buf_addr + out->data_off,
			(const uint8_t *)m->buf_addr + seg->payload_off, seg->len);
	} else {
		txseg_align(m);
		out->data_off = seg->payload_off;
		out->ol_flags = 0;
		out->next = NULL; /* it may have gone in a chain */
		out->nb_segs = 1;
		rte_mbuf_refcnt_update(out, 1);
	}
	out->data_len = seg->len;
	out->pkt_len = seg->len;
	return out;
}

/* The path takes less than it did when the segment was made: it is cut.  One that is tried for its
 * size goes out whole, once.  Returns false: no memory. */
static bool txseg_fit(struct tcp_conn *c, struct rte_mbuf *m, bool again)
{
	struct tcp_txseg *seg = tcp_txseg_of(m);

	if (likely(seg->len <= c->mss))
		return true;
	if (!again && (seg->flags & TXS_PROBE) && tcp_cold(c)->mss_probe)
		return true;
	seg->flags &= (uint8_t)~TXS_PROBE;
	return tcp_sendq_split(c, m, c->mss) == 0;
}

/* Returns false when there was no memory. */
static bool txseg_send(struct tcp_conn *c, struct rte_mbuf *m, bool again)
{
	struct tcp_txseg *seg = tcp_txseg_of(m);
	struct rte_mbuf *out = txseg_mbuf(c, m);
	bool fin = (c->flags & CF_FIN_QUEUED) && m == c->sendq_tail;
	uint8_t flags = RTE_TCP_ACK_FLAG, options[TCP_TS_OCTETS];

	if (!out)
		return false;
	if (m == c->sendq_tail || tcp_txseg_of(m)->next == NULL)
		flags |= RTE_TCP_PSH_FLAG;
	if (fin) {
		flags |= RTE_TCP_FIN_FLAG;
		c->flags |= CF_FIN_SENT;
	}
	if (again) {
		seg->flags |= TXS_RETX;
		tcp_note(c)->retransmits++;
		tcp_undo_resent(c);
		counter_inc(CTR_TCP_RETRANS_SEGS);
		if (c->flags & CF_RECOVERY)
			counter_inc(CTR_TCP_FAST_RETRANS);
	} else {
		counter_inc(CTR_TCP_OUT_SEGS);
	}
	seg->sent_us = c->stack->now_us;
	c->last_send_us = c->stack->now_us;
	c->snd_nxt = seq_max(c->snd_nxt, seg->seq + seg->len + fin);
	if (tcp_reducing(c))
		tcp_cold(c)->prr_out += seg->len;
	uint8_t ecn = tcp_ecn_data(c, again, &flags);
	segment_send_ecn(c, out, seg->seq, flags, bytes_make(options, ts_put(c, options)), ecn);
	return true;
}

void tcp_send_frame(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint8_t flags)
{
	uint8_t options[TCP_TS_OCTETS];

	segment_send(c, m, seq, flags, bytes_make(options, ts_put(c, options)));
}

/* Send again what was lost, as far as cwnd allows.  Returns false: stop. */
static bool output_lost(struct tcp_conn *c)
{
	struct rte_mbuf *m;

	while ((m = tcp_sendq_first_lost(c))) {
		struct tcp_txseg *seg = tcp_txseg_of(m);
		if (!txseg_fit(c, m, true))
			return false;
		if (!(c->flags & CF_FORCE_RETX) && tcp_pipe(c) + seg->len > c->cc.cwnd &&
			tcp_pipe(c) > 0)
			return false;
		if (!txseg_send(c, m, true))
			return false;
		c->flags &= ~(uint32_t)CF_FORCE_RETX;
		seg->flags &= (uint8_t)~TXS_LOST;
		c->lost -= seg->len;
		/* the timeout is that of the oldest segment's last transmission */
		if (!c->rto_at || (m == c->sendq && !(c->flags & CF_REORDER)))
			tcp_timer_rto(c);
	}
	return true;
}

/* Does the window take no whole segment? */
static bool window_closed(const struct tcp_conn *c)
{
	return c->unsent && (int32_t)(c->snd_una + c->snd_wnd - tcp_txseg_of(c->unsent)->seq) <
				    (int32_t)tcp_txseg_of(c->unsent)->len;
}

/* May the first unsent segment go, cut to what the window takes if need be?  RFC 9293 3.8.6.2.1: no
 * silly segments. */
static bool window_allows(struct tcp_conn *c, struct rte_mbuf *m)
{
	struct tcp_txseg *seg = tcp_txseg_of(m);
	int32_t room = (int32_t)(c->snd_una + c->snd_wnd - seg->seq);
	bool probe = c->flags & CF_PROBE;

	if (room >= (int32_t)seg->len)
		return true;
	if (probe && room < 1)
		room = 1;
	if (room <= 0 || (!probe && (tcp_flight(c) || (uint32_t)room < c->snd_wnd_max / 2)))
		return false;
	if (room == seg->len)
		return true;
	return tcp_sendq_split(c, m, (uint16_t)room) == 0;
}

/* A short segment that waits for more to come: with a cork, or by Nagle's rule (RFC 9293 3.7.4).
 * Neither waits without end: when nothing is in flight the persist timer sends it. */
static bool short_waits(const struct tcp_conn *c, struct rte_mbuf *m)
{
	if (likely(tcp_txseg_of(m)->len >= c->mss) || (c->flags & (CF_PROBE | CF_FIN_QUEUED)))
		return false;
	if (tcp_txseg_of(m)->next)
		return false; /* cut to what a window took */
	const struct stream_options *o = tcp_stream_options(c);
	return (tcp_cold(c)->flags & COLD_CORK) || (o && o->nagle && tcp_flight(c));
}

static void output_fresh(struct tcp_conn *c)
{
	uint32_t before = c->snd_nxt;

	while (c->unsent) {
		struct rte_mbuf *m = c->unsent;
		uint32_t pipe = tcp_pipe(c);
		if (tcp_tso_send(c)) {
			if (!c->rto_at || (c->flags & CF_PERSIST))
				tcp_timer_rto(c);
			continue;
		}
		if (!txseg_fit(c, m, false))
			break;
		if (pipe && pipe + tcp_txseg_of(m)->len > c->cc.cwnd)
			break;
		if (short_waits(c, m) || !window_allows(c, m))
			break;
		if ((c->flags & CF_PROBE) && window_closed(c))
			counter_inc(CTR_TCP_ZERO_WINDOW_PROBES);
		bool sent = txseg_send(c, m, false);
		c->flags &= ~(uint32_t)CF_PROBE;
		if (!sent)
			break;
		c->unsent = tcp_txseg_of(m)->next;
		if (!c->rto_at || (c->flags & CF_PERSIST))
			tcp_timer_rto(c);
	}
	if (c->snd_nxt != before)
		tcp_timer_probe(c);
}

/* FIN without data: nothing was left to carry it, or it must go again. */
static void output_fin(struct tcp_conn *c)
{
	struct rte_mbuf *m = stack_alloc(c->stack, c->stack->env.control_pool);
	uint8_t options[TCP_TS_OCTETS];

	if (!m)
		return;
	if (c->flags & CF_FIN_SENT)
		counter_inc(CTR_TCP_RETRANS_SEGS);
	else
		counter_inc(CTR_TCP_OUT_SEGS);
	c->flags |= CF_FIN_SENT;
	c->flags &= ~(uint32_t)CF_FORCE_RETX;
	c->snd_nxt = c->snd_end + 1;
	c->last_send_us = c->stack->now_us;
	segment_send(c, m, c->snd_end, RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG,
		bytes_make(options, ts_put(c, options)));
	if (!c->rto_at)
		tcp_timer_rto(c);
}

void tcp_send_tail_probe(struct tcp_conn *c)
{
	struct rte_mbuf *fresh = c->unsent, *last = c->sendq;

	if (fresh && txseg_fit(c, fresh, false) && window_allows(c, fresh)) {
		if (txseg_send(c, fresh, false))
			c->unsent = tcp_txseg_of(fresh)->next;
		return;
	}
	while (last && tcp_txseg_of(last)->next != c->unsent)
		last = tcp_txseg_of(last)->next;
	for (; last && tcp_txseg_of(last)->len > c->mss; last = tcp_txseg_of(last)->next) {
		if (!txseg_fit(c, last, true))
			return;
	}
	if (last)
		txseg_send(c, last, true);
	else
		output_fin(c);
}

static bool fin_due(const struct tcp_conn *c)
{
	if (!(c->flags & CF_FIN_QUEUED) || c->unsent)
		return false;
	if (!(c->flags & CF_FIN_SENT))
		return true;
	return !c->sendq && tcp_flight(c) && (c->flags & CF_FORCE_RETX);
}

static void output_data(struct tcp_conn *c)
{
	if (tcp_flight(c) == 0 && c->unsent && c->stack->now_us - c->last_send_us > tcp_rto_us(c))
		tcp_cc_idle(&c->cc);
	if (output_lost(c))
		output_fresh(c);
	if (fin_due(c))
		output_fin(c);
	if (c->unsent && tcp_flight(c) == 0 && !(c->flags & CF_PERSIST))
		tcp_timer_persist(c);
}

void tcp_output(struct tcp_conn *c)
{
	if (c->state == TCP_CLOSED)
		return;
	if (c->flags & CF_SYN_DUE) {
		c->flags &= ~(uint32_t)CF_SYN_DUE;
		c->life_at += c->stack->now_us;
		tcp_send_syn(c);
		tcp_timer_rto(c);
	}
	if (c->state >= TCP_ESTABLISHED) {
		bool ack = c->flags & CF_ACK_NOW;
		output_data(c);
		/* SACK blocks do not ride on data: a segment of their own says them. */
		bool sack = c->ooo || c->dsack_due;
		if ((c->flags & CF_ACK_NOW) || c->segs_unacked >= TCP_ACK_EVERY || (ack && sack) ||
			tcp_window_update_due(c))
			tcp_send_ack(c);
	}
	tcp_timer_update(c);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * SYN cookies (RFC 4987 3.6): when there is no room for a half-open connection, what it would hold
 * goes into our initial sequence number, which the handshake's ACK brings back:
 *
 *   31            4 3   1  0
 *   | MAC, 28 bits | MSS |G|     G: which of two secrets
 *
 * and, if the peer sends timestamps, into the low bits of ours, which it echoes: window scale,
 * SACK permitted, ECN.  Without timestamps these are not agreed on.  A secret makes cookies for
 * COOKIE_PERIOD and is believed for another; an ACK is looked at only for so long after a cookie
 * was sent.  A random one is believed once in 2^28.  OWNER: one core. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define COOKIE_PERIOD_US (64 * US_PER_SEC) /* chosen: a SYN-ACK's answer comes within it */
#define COOKIE_LIFE_US   (2 * COOKIE_PERIOD_US)
#define COOKIE_MAC_SHIFT 4

/* Of our timestamp. */
#define TS_BITS     6
#define TS_MASK     ((1u << TS_BITS) - 1)
#define TS_NO_SCALE 15u /* RFC 7323 2.3: 14 is the largest */
#define TS_SACK     16u
#define TS_ECN      32u

/* The peer's MSS is rounded down to one of these: what hosts on Ethernet, on tunnels, and with
 * jumbo frames say, over IPv4 and IPv6; chosen. */
static const uint16_t mss_table[8] = {
	TCP_MSS_MIN, TCP_MSS_DEFAULT, 1220, 1360, 1400, 1440, 1460, 8940};

/* What the MAC covers. */
struct cookie_input {
	struct tcp_key key;
	uint32_t irs;
	uint8_t mss; /* index */
	uint8_t has_ts;
	uint16_t zero;
};
static_assert(sizeof(struct cookie_input) == sizeof(struct tcp_key) + 8, "no padding");

static void secret_renew(struct stack *st, unsigned which)
{
	st->cookies.secret[which].k0 = st->env.random64(st->env.ctx);
	st->cookies.secret[which].k1 = st->env.random64(st->env.ctx);
}

void tcp_cookie_init(struct stack *st)
{
	st->cookies.generation = st->now_us / COOKIE_PERIOD_US;
	secret_renew(st, 0);
	secret_renew(st, 1);
}

/* Secrets whose time is over go. */
static void secrets_rotate(struct stack *st)
{
	uint64_t now = st->now_us / COOKIE_PERIOD_US;

	if (now == st->cookies.generation)
		return;
	secret_renew(st, now & 1);
	if (now > st->cookies.generation + 1)
		secret_renew(st, (now & 1) ^ 1);
	st->cookies.generation = now;
}

static uint32_t cookie_make(
	const struct stack *st, const struct tcp_key *key, uint32_t irs, unsigned low, bool ts)
{
	struct cookie_input in = {
		.key = *key, .irs = irs, .mss = (uint8_t)(low >> 1), .has_ts = ts};
	uint64_t mac = siphash24(&st->cookies.secret[low & 1], &in, sizeof(in));

	return (uint32_t)mac << COOKIE_MAC_SHIFT | low;
}

static unsigned mss_index(uint16_t mss)
{
	unsigned i = ARRAY_LEN(mss_table) - 1;

	while (i > 0 && mss_table[i] > mss)
		i--;
	return i;
}

/* Our clock with what is agreed on in its low bits; not later than now, or what follows would be
 * older (PAWS). */
static uint32_t ts_encode(struct stack *st, const struct tcp_syn *e)
{
	uint32_t now = stack_ms(st) + tcp_ts_offset(st, &e->key);
	uint32_t bits = e->flags & TCP_SYN_WSCALE ? e->wscale : TS_NO_SCALE;

	bits |= e->flags & TCP_SYN_SACK ? TS_SACK : 0;
	bits |= e->flags & TCP_SYN_ECN ? TS_ECN : 0;
	uint32_t ts = (now & ~TS_MASK) | bits;
	return seq_lt(now, ts) ? ts - (TS_MASK + 1) : ts;
}

void tcp_cookie_answer(struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor)
{
	struct tcp_syn e;

	tcp_syn_fill(st, seg, &e);
	if (!(e.flags & TCP_SYN_TS)) {
		/* Numbers of the last incarnation cannot be kept out, nor will PAWS do it. */
		if (isn_floor) {
			counter_inc(CTR_TCP_SYN_DROPPED);
			return;
		}
		e.flags = 0;
	}
	secrets_rotate(st);
	unsigned low = mss_index(e.mss ? e.mss : tcp_mss_default(&e.key.peer)) << 1 |
		       (unsigned)(st->cookies.generation & 1);
	e.iss = cookie_make(st, &e.key, e.irs, low, e.flags & TCP_SYN_TS);
	st->cookies.until_us = st->now_us + COOKIE_LIFE_US;
	counter_inc(CTR_TCP_SYN_COOKIES_SENT);
	tcp_reply_syn_ack(st, &e, ts_encode(st, &e));
}

/* What the echo of our timestamp says; false: it was none of ours of late. */
static bool ts_decode(struct stack *st, const struct tcp_segment *seg, struct tcp_syn *e)
{
	uint32_t echo = seg->opt.ts_ecr, scale = echo & 15;
	uint32_t age_ms = stack_ms(st) + tcp_ts_offset(st, &e->key) - echo;

	if (age_ms > COOKIE_LIFE_US / US_PER_MS + TS_MASK + 1)
		return false;
	e->flags |= TCP_SYN_TS;
	e->ts_recent = seg->opt.ts_val;
	if (scale != TS_NO_SCALE) {
		e->flags |= TCP_SYN_WSCALE;
		e->wscale = (uint8_t)scale;
	}
	if (echo & TS_SACK)
		e->flags |= TCP_SYN_SACK;
	if (echo & TS_ECN)
		e->flags |= TCP_SYN_ECN;
	return true;
}

/* Is it one of ours, and whose? */
static bool cookie_open(struct stack *st, const struct tcp_segment *seg, struct tcp_syn *e)
{
	uint32_t cookie = seg->ack - 1, irs = seg->seq - 1;
	unsigned low = cookie & ((1u << COOKIE_MAC_SHIFT) - 1);
	bool ts = seg->opt.has_ts && !st->conf.tcp.no_timestamps;

	if (cookie_make(st, &seg->key, irs, low, ts) != cookie)
		return false;
	/* TWICE: when the SYN-ACK was sent is not known */
	*e = (struct tcp_syn){.key = seg->key,
		.irs = irs,
		.iss = cookie,
		.mss = mss_table[low >> 1],
		.window = seg->window,
		.port = seg->port,
		.flags = TCP_SYN_TWICE,
		.due = (uint32_t)(st->now_us + TCP_RTO_INITIAL_US)};
	return !ts || ts_decode(st, seg, e);
}

struct tcp_conn *tcp_cookie_input(
	struct stack *st, const struct tcp_segment *seg, struct listener *l)
{
	struct tcp_syn e;

	secrets_rotate(st);
	if (!cookie_open(st, seg, &e)) {
		counter_inc(CTR_TCP_SYN_COOKIES_FAILED);
		/* It may be the second segment of a peer whose first was lost: that one comes
		 * again. */
		if (seg->len == 0)
			tcp_reply_rst(st, seg);
		return NULL;
	}
	if (tcp_source_full(st, &e.key.peer)) {
		tcp_reply_rst(st, seg);
		return NULL;
	}
	counter_inc(CTR_TCP_SYN_COOKIES_TAKEN);
	struct tcp_conn *c = tcp_syn_conn(st, &e, l);
	if (!c)
		counter_inc(CTR_TCP_ACCEPT_DROPPED); /* its data will come again */
	return c;
}

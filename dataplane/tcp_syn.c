/* SPDX-License-Identifier: BSD-3-Clause
 * Half-open passive connections (RFC 9293 SYN-RECEIVED) in entries of one cache line, so that a
 * flood of SYNs costs neither connections nor frames.  The table is as large as it was made at
 * start.  A bucket is found by the keyed hash of the 4-tuple and holds TCP_SYN_BUCKET entries;
 * their hashes are in a line of their own, which is all that a segment of a stranger touches.
 * Entries that were answered equally often wait equally long, so a FIFO for each number of answers
 * keeps them in order and one timer serves all.  OWNER: one core. */
#include <rte_malloc.h>
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define SYN_NONE       UINT16_MAX
#define SYN_FIRE_MAX   64     /* chosen: answers repeated in one run of the timer */
#define SYN_MIN        64u    /* chosen: half-open connections of small stacks */
#define SYN_MAX        16384u /* chosen: 1 MiB; beyond it, cookies */
#define SYN_CROWDED_AT 2      /* chosen: answers repeated at most when half of the table is used */

/* ---- the table ---- */

uint32_t tcp_syn_entries(const struct stack_conf *conf)
{
	uint32_t want = conf->tcp.syn_cache ? conf->tcp.syn_cache : conf->connections_max / 4;
	uint32_t n = TCP_SYN_BUCKET;

	if (!conf->tcp.syn_cache)
		want = MIN(MAX(want, SYN_MIN), SYN_MAX);
	while (n < want && n < TCP_SYN_ENTRIES_MAX)
		n *= 2;
	return n;
}

static void syn_timer_fire(struct timer *t, uint64_t now_us);

bool tcp_syn_init(struct stack *st, int socket)
{
	struct tcp_syn_cache *cache = &st->syn;
	uint32_t n = tcp_syn_entries(&st->conf);

	cache->entries =
		rte_zmalloc_socket("tcp_syn", n * sizeof(struct tcp_syn), CACHE_LINE, socket);
	cache->tags = rte_zmalloc_socket("tcp_syn_tags", n * sizeof(uint32_t), CACHE_LINE, socket);
	if (!cache->entries || !cache->tags)
		return false;
	cache->size = n;
	for (unsigned i = 0; i < ARRAY_LEN(cache->waiting); i++)
		cache->waiting[i].oldest = cache->waiting[i].newest = SYN_NONE;
	timer_init(&cache->timer, syn_timer_fire);
	return true;
}

void tcp_syn_fini(struct stack *st)
{
	timer_cancel(st->env.wheel, &st->syn.timer);
	rte_free(st->syn.entries);
	rte_free(st->syn.tags);
}

static uint32_t tag_of(struct stack *st, const struct tcp_key *key)
{
	uint32_t hash = stack_hash(st, key);

	return hash ? hash : 1; /* 0: free */
}

/* The first entry of the bucket. */
static uint32_t bucket_of(const struct stack *st, uint32_t tag)
{
	return (tag % (st->syn.size / TCP_SYN_BUCKET)) * TCP_SYN_BUCKET;
}

struct tcp_syn *tcp_syn_lookup(struct stack *st, const struct tcp_key *key)
{
	if (!st->syn.used)
		return NULL;
	uint32_t tag = tag_of(st, key), first = bucket_of(st, tag);
	for (uint32_t i = first; i < first + TCP_SYN_BUCKET; i++) {
		if (st->syn.tags[i] == tag && tcp_key_eq(&st->syn.entries[i].key, key))
			return &st->syn.entries[i];
	}
	return NULL;
}

static void waiting_push(struct tcp_syn_cache *cache, struct tcp_syn *e)
{
	uint16_t i = (uint16_t)(e - cache->entries), *newest = &cache->waiting[e->repeats].newest;

	e->next = SYN_NONE;
	e->prev = *newest;
	if (*newest == SYN_NONE)
		cache->waiting[e->repeats].oldest = i;
	else
		cache->entries[*newest].next = i;
	*newest = i;
}

static void waiting_remove(struct tcp_syn_cache *cache, const struct tcp_syn *e)
{
	if (e->prev == SYN_NONE)
		cache->waiting[e->repeats].oldest = e->next;
	else
		cache->entries[e->prev].next = e->next;
	if (e->next == SYN_NONE)
		cache->waiting[e->repeats].newest = e->prev;
	else
		cache->entries[e->next].prev = e->prev;
}

static void syn_remove(struct stack *st, struct tcp_syn *e)
{
	struct tcp_syn_cache *cache = &st->syn;

	waiting_remove(cache, e);
	tcp_source_half_open(st, &e->key.peer, -1);
	cache->tags[e - cache->entries] = 0;
	cache->used--;
	if (cache->used == 0)
		timer_cancel(st->env.wheel, &cache->timer);
}

/* A free place in the bucket; or NULL, unless cookies are turned off: then that of the entry that
 * has waited longest. */
static struct tcp_syn *syn_place(struct stack *st, uint32_t tag)
{
	uint32_t first = bucket_of(st, tag);
	struct tcp_syn *oldest = &st->syn.entries[first];

	for (uint32_t i = first; i < first + TCP_SYN_BUCKET; i++) {
		struct tcp_syn *e = &st->syn.entries[i];
		if (!st->syn.tags[i])
			return e;
		if (e->repeats > oldest->repeats ||
			(e->repeats == oldest->repeats && seq_lt(e->due, oldest->due)))
			oldest = e;
	}
	counter_inc(CTR_TCP_SYN_CACHE_OVERFLOWS);
	if (st->conf.tcp.syn_cookies != STACK_COOKIES_OFF)
		return NULL;
	counter_inc(CTR_TCP_ATTEMPT_FAILS);
	syn_remove(st, oldest);
	return oldest;
}

/* ---- answers ---- */

/* Always the same, so that it need not be kept; and what a scaled window can say as well, or the
 * next ACK would take octets back. */
uint32_t tcp_syn_window(const struct stack *st, const struct tcp_syn *e)
{
	uint32_t unit = e->flags & TCP_SYN_WSCALE ? 1u << tcp_wscale_ours(st) : 1;

	return MIN(st->conf.rcv_buffer_bytes, (uint32_t)UINT16_MAX) & ~(unit - 1);
}

static uint32_t now_32(const struct stack *st)
{
	return (uint32_t)st->now_us;
}

/* Our timestamp. */
static uint32_t ts_now(struct stack *st, const struct tcp_syn *e)
{
	return e->flags & TCP_SYN_TS ? stack_ms(st) + tcp_ts_offset(st, &e->key) : 0;
}

static uint32_t wait_us(const struct tcp_syn *e)
{
	return (uint32_t)TCP_RTO_INITIAL_US << e->repeats;
}

static void timer_at(struct stack *st, uint32_t due)
{
	int32_t left = (int32_t)(due - now_32(st));
	uint64_t at = st->now_us + (uint64_t)MAX(left, 0);

	if (!timer_armed(&st->syn.timer) || at < st->syn.timer.at_us)
		timer_arm(st->env.wheel, &st->syn.timer, at);
}

/* The entry's answer goes out, and is repeated if nothing comes. */
static void answer(struct stack *st, struct tcp_syn *e)
{
	e->due = now_32(st) + wait_us(e);
	waiting_push(&st->syn, e);
	tcp_reply_syn_ack(st, e, ts_now(st, e));
	timer_at(st, e->due);
}

static unsigned repeats_max(const struct stack *st)
{
	return st->syn.used > st->syn.size / 2 ? SYN_CROWDED_AT : TCP_SYN_ACK_RETRIES;
}

static void entry_due(struct stack *st, struct tcp_syn *e)
{
	if (e->repeats >= repeats_max(st)) {
		counter_inc(CTR_TCP_ATTEMPT_FAILS);
		syn_remove(st, e);
		return;
	}
	waiting_remove(&st->syn, e);
	e->repeats++;
	e->flags &= (uint8_t)~TCP_SYN_CHALLENGED;
	counter_inc(CTR_TCP_RTO_EXPIRED);
	if (e->repeats > 1)
		ip_doubt(st, e->port, &e->key.peer);
	answer(st, e);
}

static void syn_timer_fire(struct timer *t, uint64_t now_us)
{
	struct stack *st = container_of(t, struct stack, syn.timer);
	struct tcp_syn_cache *cache = &st->syn;
	unsigned done = 0;

	st->now_us = now_us;
	for (unsigned level = 0; level < ARRAY_LEN(cache->waiting); level++) {
		while (cache->waiting[level].oldest != SYN_NONE) {
			struct tcp_syn *e = &cache->entries[cache->waiting[level].oldest];
			if ((int32_t)(e->due - now_32(st)) > 0) {
				timer_at(st, e->due);
				break;
			}
			if (done++ == SYN_FIRE_MAX) { /* the rest in the next run */
				timer_at(st, now_32(st) + (uint32_t)US_PER_MS);
				return;
			}
			entry_due(st, e);
		}
	}
}

/* ---- SYN ---- */

/* What the SYN offers and we take. */
static void entry_options(const struct stack *st, const struct tcp_options *opt, struct tcp_syn *e)
{
	e->mss = opt->mss;
	if (opt->has_wscale) {
		e->flags |= TCP_SYN_WSCALE;
		e->wscale = opt->wscale;
	}
	if (opt->sack_permitted && !st->conf.tcp.no_sack)
		e->flags |= TCP_SYN_SACK;
	if (opt->has_ts && !st->conf.tcp.no_timestamps) {
		e->flags |= TCP_SYN_TS;
		e->ts_recent = opt->ts_val;
	}
}

void tcp_syn_fill(const struct stack *st, const struct tcp_segment *seg, struct tcp_syn *e_r)
{
	*e_r = (struct tcp_syn){
		.key = seg->key, .irs = seg->seq, .window = seg->window, .port = seg->port};
	entry_options(st, &seg->opt, e_r);
	if (tcp_ecn_offered(st, seg))
		e_r->flags |= TCP_SYN_ECN;
}

bool tcp_syn_open(struct stack *st, const struct tcp_segment *seg, uint32_t isn_floor)
{
	uint32_t tag = tag_of(st, &seg->key);
	struct tcp_syn *e = syn_place(st, tag);

	if (!e)
		return false;
	tcp_syn_fill(st, seg, e);
	e->iss = tcp_isn(st, &seg->key);
	if (isn_floor && seq_lt(e->iss, isn_floor + UINT16_MAX))
		e->iss = isn_floor + UINT16_MAX;
	st->syn.tags[e - st->syn.entries] = tag;
	st->syn.used++;
	tcp_source_half_open(st, &e->key.peer, 1);
	answer(st, e);
	return true;
}

/* The SYN came again: our answer was lost. */
static void syn_again(struct stack *st, struct tcp_syn *e, const struct tcp_segment *seg)
{
	/* RFC 7323 4.3 */
	if ((e->flags & TCP_SYN_TS) && seg->opt.has_ts && seq_lt(e->ts_recent, seg->opt.ts_val))
		e->ts_recent = seg->opt.ts_val;
	e->flags |= TCP_SYN_TWICE;
	tcp_reply_syn_ack(st, e, ts_now(st, e));
}

/* ---- what follows ---- */

/* RFC 5961 7: one between two answers. */
static void challenge(struct stack *st, struct tcp_syn *e)
{
	if ((e->flags & TCP_SYN_CHALLENGED) || !tcp_challenge_allowed(st))
		return;
	e->flags |= TCP_SYN_CHALLENGED;
	counter_inc(CTR_TCP_CHALLENGE_ACKS);
	tcp_reply_half_open(st, e, ts_now(st, e));
}

struct tcp_conn *tcp_syn_conn(struct stack *st, const struct tcp_syn *e, struct listener *l)
{
	struct tcp_conn *c = tcp_conn_create(st, &e->key, e->port);
	struct tcp_options opt = {.mss = e->mss,
		.has_wscale = e->flags & TCP_SYN_WSCALE,
		.wscale = e->wscale,
		.sack_permitted = e->flags & TCP_SYN_SACK,
		.has_ts = e->flags & TCP_SYN_TS,
		.ts_val = e->ts_recent};

	if (!c)
		return NULL;
	tcp_source_connection(st, &e->key.peer, 1);
	c->iss = c->snd_una = e->iss;
	c->snd_nxt = c->snd_end = e->iss + 1;
	c->listener = l;
	c->irs = e->irs;
	c->rcv_nxt = c->last_ack_sent = e->irs + 1;
	c->rcv_adv = c->rcv_nxt + tcp_syn_window(st, e);
	c->snd_wnd = c->snd_wnd_max = e->window;
	c->snd_wl1 = e->irs;
	c->last_send_us = st->now_us - (uint32_t)(now_32(st) - (e->due - wait_us(e)));
	c->retries = e->repeats;
	if (e->flags & TCP_SYN_TWICE)
		c->retries++;
	if (e->flags & TCP_SYN_ECN)
		c->flags |= CF_ECN;
	tcp_conn_options(c, &opt);
	tcp_conn_set_state(c, TCP_SYN_RCVD);
	return c;
}

static struct tcp_conn *handshake_done(
	struct stack *st, struct tcp_syn *e, const struct tcp_segment *seg)
{
	struct listener *l = tcp_listener_find(st, e->key.local_port);
	bool refused = !l || tcp_source_full(st, &e->key.peer);
	struct tcp_conn *c = refused ? NULL : tcp_syn_conn(st, e, l);

	if (c || refused)
		syn_remove(st, e);
	if (refused)
		tcp_reply_rst(st, seg);
	else if (!c)
		counter_inc(CTR_TCP_ACCEPT_DROPPED); /* the entry waits for room */
	return c;
}

struct tcp_conn *tcp_syn_input(struct stack *st, struct tcp_syn *e, const struct tcp_segment *seg)
{
	uint32_t next = e->irs + 1, edge = next + tcp_syn_window(st, e);
	uint8_t kind = seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG);
	bool past =
		(e->flags & TCP_SYN_TS) && seg->opt.has_ts && seq_lt(seg->opt.ts_val, e->ts_recent);

	if (kind == RTE_TCP_SYN_FLAG && seg->seq == e->irs) {
		syn_again(st, e, seg);
	} else if (kind & RTE_TCP_RST_FLAG) {
		/* RFC 5961 3.2: only the exact number resets */
		if (seg->seq == next) {
			counter_inc(CTR_TCP_ATTEMPT_FAILS);
			syn_remove(st, e);
		} else if (seg->seq != edge && tcp_window_takes(next, edge, seg)) {
			challenge(st, e);
		}
	} else if (past && (kind & RTE_TCP_ACK_FLAG)) {
		counter_inc(CTR_TCP_PAWS_DROPPED);
		challenge(st, e);
	} else if ((kind & RTE_TCP_SYN_FLAG) || !tcp_window_takes(next, edge, seg)) {
		challenge(st, e);
	} else if (kind & RTE_TCP_ACK_FLAG) {
		if (seg->ack == e->iss + 1)
			return handshake_done(st, e, seg);
		tcp_reply_rst(st, seg);
	}
	return NULL;
}

bool tcp_syn_unreachable(struct stack *st, struct tcp_syn *e, uint32_t seq, bool hard)
{
	if (seq != e->iss)
		return false;
	/* RFC 5461 4.1: no connection is there yet that could suffer */
	if (hard) {
		counter_inc(CTR_TCP_ATTEMPT_FAILS);
		syn_remove(st, e);
	}
	return true;
}

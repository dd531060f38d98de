/* SPDX-License-Identifier: BSD-3-Clause
 * The calls of the application.  They only note what is to be done: segments leave at the end of
 * the lap, and no upcall comes from inside a call. */
#include <errno.h>
#include "dataplane/stack_priv.h"

#define EPHEMERAL_PORTS (1u << STACK_EPHEMERAL_SHIFT)
/* chosen: where 97 of 100 ports are taken, 4 of 10,000 opens find none; without a limit each open
 * towards an endpoint without a free port would cost a lap thousands of misses of the cache */
#define PORT_LOOKS_MAX 256u

/* NULL when the stream names no connection any more: late calls do nothing. */
static struct tcp_conn *conn_of(const struct stream *s)
{
	struct stack *st = s->stack;

	if (!st || s->id.index >= st->conf.connections_max)
		return NULL;
	struct tcp_conn *c = &st->conns[s->id.index];
	return c->state != TCP_CLOSED && c->generation == s->id.generation && c->stream == s ? c
											     : NULL;
}

static size_t queue_space(const struct tcp_conn *c)
{
	uint32_t size = stack_buffer(c->stack, c->stack->conf.snd_buffer_bytes);
	uint32_t queued = c->snd_end - c->snd_una;

	if (c->state != TCP_ESTABLISHED && c->state != TCP_CLOSE_WAIT)
		return 0;
	if (c->flags & CF_FIN_QUEUED)
		return 0;
	return queued < size ? tcp_sendq_room(c, size - queued) : 0;
}

static void pool_wait(struct tcp_conn *c)
{
	struct stack *st = c->stack;

	if (list_empty(&c->pending))
		list_push_tail(&st->pool_waiters, &c->pending);
	if (!timer_armed(&st->pool_timer))
		timer_arm(st->env.wheel, &st->pool_timer, st->now_us + US_PER_MS);
}

static size_t tcp_stream_send(struct stream *s, struct bytes data)
{
	struct tcp_conn *c = conn_of(s);

	if (!c || data.n == 0)
		return 0;
	size_t n = tcp_sendq_append(c, bytes_first(data, queue_space(c)));
	if (n)
		tcp_conn_dirty(c);
	if (n < data.n) {
		c->flags |= CF_WANT_WRITE;
		if (unlikely(!tcp_sendq_airy(c)))
			counter_inc(CTR_TCP_SENDQ_LIMITED);
	}
	if (c->flags & CF_POOL_WAIT)
		pool_wait(c);
	return n;
}

static size_t tcp_stream_space(const struct stream *s)
{
	const struct tcp_conn *c = conn_of(s);

	return c ? queue_space(c) : 0;
}

static size_t tcp_stream_unacked(const struct stream *s)
{
	const struct tcp_conn *c = conn_of(s);

	/* snd_una is beyond snd_end when our FIN is acknowledged */
	return c && seq_lt(c->snd_una, c->snd_end) && c->state >= TCP_ESTABLISHED
		       ? c->snd_end - c->snd_una
		       : 0;
}

static void tcp_stream_notify(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (c)
		c->flags |= CF_WANT_WRITE;
}

void stream_cork(struct stream *s, bool on)
{
	struct tcp_conn *c = conn_of(s);

	if (!c || on == !!(tcp_cold(c)->flags & COLD_CORK))
		return;
	tcp_cold(c)->flags ^= COLD_CORK;
	tcp_conn_dirty(c);
}

void stream_answer_follows(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (c && c->segs_unacked)
		c->segs_unacked = 1;
}

void stream_options_changed(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (c)
		tcp_conn_dirty(c);
}

static void tcp_stream_resume(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (!c)
		return;
	c->flags |= CF_RESUMED;
	tcp_conn_dirty(c);
}

/* FIN behind what is queued. */
static void fin_queue(struct tcp_conn *c)
{
	if (c->flags & CF_FIN_QUEUED)
		return;
	c->flags |= CF_FIN_QUEUED;
	c->flags &= ~(uint32_t)(CF_WANT_WRITE | CF_TELL_WRITABLE);
	if (c->state == TCP_ESTABLISHED)
		tcp_conn_set_state(c, TCP_FIN_WAIT_1);
	else if (c->state == TCP_CLOSE_WAIT)
		tcp_conn_set_state(c, TCP_LAST_ACK);
	tcp_conn_dirty(c);
}

static void tcp_stream_shutdown(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (c)
		fin_queue(c);
}

static void tcp_stream_close(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (!c)
		return;
	uint64_t linger_us = TCP_LINGER_US;
	const struct stream_options *o = tcp_stream_options(c);
	if (o && o->user_timeout_us)
		linger_us = MIN(linger_us, o->user_timeout_us);
	s->id.generation = 0;
	c->stream = NULL;
	if (c->state == TCP_SYN_SENT) {
		tcp_conn_kill(c);
		return;
	}
	c->flags |= CF_ORPHAN;
	c->flags &= ~(uint32_t)(CF_RX_STOPPED | CF_RESUMED | CF_TELL_WRITABLE);
	c->life_at = c->stack->now_us + linger_us;
	list_remove(&c->pending); /* nothing is written any more */
	list_push_tail(&c->stack->orphans, &c->pending);
	tcp_note(c)->untaken_ms = stack_ms(c->stack);
	tcp_reass_free(c);
	fin_queue(c);
	tcp_conn_dirty(c);
}

static void tcp_stream_abort(struct stream *s)
{
	struct tcp_conn *c = conn_of(s);

	if (!c)
		return;
	s->id.generation = 0;
	if (c->state != TCP_SYN_SENT)
		tcp_send_rst(c);
	tcp_conn_kill(c);
}

const struct stream_transport tcp_transport = {
	.send = tcp_stream_send,
	.space = tcp_stream_space,
	.unacked = tcp_stream_unacked,
	.notify = tcp_stream_notify,
	.resume = tcp_stream_resume,
	.shutdown = tcp_stream_shutdown,
	.close = tcp_stream_close,
	.abort = tcp_stream_abort,
};

/* The pool has room again: who had to stop may go on. */
void tcp_stream_pool_wakeup(struct stack *st)
{
	st->tx_allowance_known = false;
	if (!stack_tx_allowed(st))
		return;
	for (struct list *node; (node = list_pop_head(&st->pool_waiters));) {
		struct tcp_conn *c = list_entry(node, struct tcp_conn, pending);
		c->flags &= ~(uint32_t)CF_POOL_WAIT;
		if (c->flags & CF_WANT_WRITE) {
			c->flags &= ~(uint32_t)CF_WANT_WRITE;
			c->flags |= CF_TELL_WRITABLE;
			tcp_conn_dirty(c);
		}
	}
}

/* Is the 4-tuple free?  *floor_r: where the sequence numbers of a TIME_WAIT end that gave way. */
static bool port_free(struct stack *st, const struct tcp_key *key, bool reuse, uint32_t *floor_r)
{
	struct tcp_tw *tw = tcp_tw_lookup(st, key);

	*floor_r = 0;
	if (tcp_conn_lookup(st, key))
		return false;
	if (!tw)
		return true;
	uint32_t left_ms = tw->until_ms - stack_ms(st);
	if (!reuse || left_ms > (TCP_TIME_WAIT_US - TCP_TIME_WAIT_REUSE_US) / US_PER_MS)
		return false;
	*floor_r = tw->snd_nxt;
	tcp_tw_remove(st, tw);
	return true;
}

static bool comes_back(struct stack *st, unsigned port, const struct tcp_key *key)
{
	struct endpoint local = {key->local, key->local_port}, peer = {key->peer, key->peer_port};

	return !st->env.comes_back || st->env.comes_back(st->env.ctx, port, &local, &peer);
}

/* RFC 6056 3.3.3: a keyed offset for each remote endpoint, and a counter.  First the local ports
 * whose answers the card brings to this core; then any; when all are taken, those whose TIME_WAIT
 * is older than TCP_TIME_WAIT_REUSE_US.  Each time so many at most are looked up in the flow table;
 * the counter goes on from there when the application tries again. */
static bool port_choose(struct stack *st, unsigned port, struct tcp_key *key, uint32_t *floor_r)
{
	struct endpoint remote = {key->peer, key->peer_port};
	uint32_t offset = (uint32_t)siphash24(&st->port_key, &remote, sizeof(remote));
	uint32_t first = STACK_EPHEMERAL_FIRST + (st->conf.core_index << STACK_EPHEMERAL_SHIFT);

	for (unsigned round = st->env.comes_back ? 0 : 1; round < 3; round++) {
		unsigned looked = 0;
		for (unsigned i = 0; i < EPHEMERAL_PORTS && looked < PORT_LOOKS_MAX; i++) {
			uint32_t n = offset + st->ephemeral_next++;
			key->local_port = (uint16_t)(first + n % EPHEMERAL_PORTS);
			if (round == 0 && !comes_back(st, port, key))
				continue;
			looked++;
			if (port_free(st, key, round == 2, floor_r))
				return true;
		}
	}
	return false;
}

int stream_connect(
	struct stack *st, struct stream *s, const struct endpoint *remote, uint64_t timeout_us)
{
	struct tcp_key key = {.peer = remote->ip, .peer_port = remote->port};
	struct ip_route route;
	uint32_t floor;

	if (!ip_route(st, &remote->ip, &route) || remote->port == 0)
		return -ENETUNREACH;
	key.local = ip_is_none(&s->local.ip) ? route.from : s->local.ip;
	if (!link_address_find(&st->links[route.port], &key.local))
		return -EADDRNOTAVAIL;
	if (!port_choose(st, route.port, &key, &floor))
		return -EADDRNOTAVAIL;
	struct tcp_conn *c = tcp_conn_create(st, &key, route.port);
	if (!c)
		return -ENOMEM;
	if (floor && seq_lt(c->iss, floor + UINT16_MAX)) {
		c->iss = floor + UINT16_MAX;
		c->snd_una = c->snd_nxt = c->iss;
		c->snd_end = c->iss + 1;
	}
	counter_inc(CTR_TCP_ACTIVE_OPENS);
	c->flags |= CF_ACTIVE | CF_SYN_DUE;
	c->life_at = timeout_us;
	tcp_conn_set_state(c, TCP_SYN_SENT);
	tcp_conn_attach(c, s);
	tcp_conn_dirty(c);
	return 0;
}

static const char *const reason_texts[STREAM_REASON_N] = {
	[STREAM_CLOSED] = "connection closed",
	[STREAM_RESET] = "connection reset by peer",
	[STREAM_REFUSED] = "connection refused",
	[STREAM_TIMEOUT] = "connection timed out",
	[STREAM_UNREACHABLE] = "host unreachable",
	[STREAM_NO_MEMORY] = "out of connection memory",
	[STREAM_TLS_FAILED] = "tls failed",
};

const char *stream_reason_text(enum stream_reason reason)
{
	return (unsigned)reason < STREAM_REASON_N ? reason_texts[reason] : "unknown";
}

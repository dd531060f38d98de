/* SPDX-License-Identifier: BSD-3-Clause
 * How full the pools of frames are, and what follows, so that an exhausted stack goes on answering
 * and recovers by itself, and so that a few connections cannot have all of it: what one may hold is
 * a share of what is left.  Above 85 % new connections cost no memory, and those go that hold
 * frames while we wait for them; above 95 % out-of-order data goes, and when that was not enough
 * the connection that has been idle longest among those that hold frames.  Connections themselves
 * are had back from those whom the application has closed.  OWNER: one core. */
#include <rte_lcore.h>
#include <rte_mempool.h>
#include "dataplane/stack_priv.h"

#define PRESSURE_SCAN 256   /* connections looked at in a lap; chosen: some microseconds */
#define SHARE_FROM    20    /* percent in use; chosen: as much is used when all goes well */
#define STALLED_MS    10000 /* chosen: so long a peer may keep us waiting when frames are scarce */
#define GAP_MS        2000  /* chosen: so long what is missing may be; a few retransmissions */
#define ORPHANS_FROM  16    /* chosen: when so small a part of the connections is left */
#define ORPHANS_LAP   16    /* chosen: connections ended in a lap */
#define ORPHAN_LEAST_MS                                                                            \
	3000 /* chosen: in which an end in order is done, while a connection is left */

static const struct {
	unsigned percent;
	enum counter entered;
} levels[] = {
	[STACK_PRESSURE_WINDOWS] = {70, CTR_PRESSURE_WINDOWS},
	[STACK_PRESSURE_OPENS] = {85, CTR_PRESSURE_OPENS  },
	[STACK_PRESSURE_RESETS] = {95, CTR_PRESSURE_RESETS },
};

/* What is in the pool's ring and in our own cache.  What other cores' caches hold counts as used:
 * asking them all would cost a cache line for each lcore there could be. */
static uint32_t pool_free(const struct rte_mempool *mp)
{
	const struct rte_mempool_cache *own =
		rte_mempool_default_cache((struct rte_mempool *)(uintptr_t)mp, rte_lcore_id());

	return rte_mempool_get_ops(mp->ops_index)->get_count(mp) + (own ? own->len : 0);
}

/* In percent, of what is not always with the driver. */
static unsigned pool_used_percent(const struct rte_mempool *mp, uint32_t kept)
{
	uint32_t room = mp->size - MIN(kept, mp->size / 2);
	uint32_t unused = MIN(pool_free(mp), room);

	return (unsigned)((uint64_t)(room - unused) * 100 / room);
}

static unsigned worst_percent(const struct stack *st)
{
	unsigned worst = st->env.tx_pool ? pool_used_percent(st->env.tx_pool, 0) : 0;

	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct stack_port *p = &st->conf.ports[i];
		if (p->rx_pool)
			worst = MAX(worst, pool_used_percent(p->rx_pool, p->rx_kept));
	}
	return worst;
}

/* Falls with the third power of what is left.  Connections that take what they may one after the
 * other, each for good, then need ten times as many for 85 % of 4,095 frames as with a share that
 * stays the same up to there. */
static uint32_t share_of(unsigned used_percent)
{
	uint64_t left = 100 - MIN(used_percent, 100u), all = 100 - SHARE_FROM;

	if (left >= all)
		return STACK_SHARE_ALL;
	return (uint32_t)(STACK_SHARE_ALL * left * left * left / (all * all * all));
}

enum stack_pressure stack_pressure_look(struct stack *st)
{
	unsigned worst = worst_percent(st);
	enum stack_pressure now = STACK_PRESSURE_NONE;

	for (unsigned i = STACK_PRESSURE_WINDOWS; i < ARRAY_LEN(levels); i++) {
		if (worst >= levels[i].percent)
			now = (enum stack_pressure)i;
	}
	for (unsigned i = st->pressure + 1; i <= now; i++)
		counter_inc(levels[i].entered);
	st->buffer_share = share_of(worst);
	st->pressure = now;
	st->pressure_known = true;
	return now;
}

bool stack_is_short(struct stack *st)
{
	return st && stack_pressure(st) >= STACK_PRESSURE_OPENS;
}

static bool holds_frames(const struct tcp_conn *c)
{
	return c->state != TCP_CLOSED && (c->charged || c->sendq);
}

/* How long nothing has moved of what it holds: the application takes nothing of it, because the
 * peer does not take our replies for one, or the peer acknowledges nothing. */
static uint32_t stalled_ms(const struct tcp_conn *c)
{
	uint32_t now = stack_ms(c->stack), untaken = tcp_note(c)->untaken_ms;
	uint32_t unacked = tcp_cold(c)->stalled_ms;
	uint32_t in = c->unread && untaken ? now - untaken : 0;

	return MAX(in, c->sendq && unacked ? now - unacked : 0);
}

/* Above 95 %: give up what nobody has been told will stay (RFC 2018 8: SACKed data may be
 * discarded), and remember who has been silent longest. */
static void look_for_idle(struct stack *st, struct tcp_conn *c)
{
	tcp_reass_drop_ooo(c);
	if (!st->pressure_victim || c->last_send_us < st->pressure_victim->last_send_us)
		st->pressure_victim = c;
}

static void look_for_stalled(struct stack *st, struct tcp_conn *c)
{
	const struct tcp_conn *victim = st->pressure_victim;
	uint32_t ms = stalled_ms(c);

	if (c->ooo && stack_ms(st) - tcp_note(c)->gap_ms >= GAP_MS)
		tcp_reass_drop_ooo(c);
	if (ms >= STALLED_MS && (!victim || ms > stalled_ms(victim)))
		st->pressure_victim = c;
}

static void end(struct tcp_conn *c)
{
	counter_inc(CTR_TCP_PRESSURE_ENDED);
	tcp_send_rst(c);
	tcp_conn_end(c, STREAM_NO_MEMORY);
}

static void end_victim(struct stack *st)
{
	struct tcp_conn *c = st->pressure_victim;

	st->pressure_victim = NULL;
	if (c && holds_frames(c) &&
		(st->pressure == STACK_PRESSURE_RESETS || stalled_ms(c) >= STALLED_MS))
		end(c);
}

static uint32_t connections_left(const struct stack *st)
{
	return st->conf.connections_max - st->connections;
}

/* Nobody waits for them any more but their peers, which may be silent on purpose: each takes
 * minutes then, and a few in a second would take all connections. */
static void relieve_connections(struct stack *st)
{
	uint32_t few = MAX(st->conf.connections_max / ORPHANS_FROM, 1u), left;

	for (unsigned n = 0; n < ORPHANS_LAP && !list_empty(&st->orphans); n++) {
		struct tcp_conn *c = list_entry(st->orphans.next, struct tcp_conn, pending);
		left = connections_left(st);
		if (left >= few ||
			(left && stack_ms(st) - tcp_note(c)->untaken_ms < ORPHAN_LEAST_MS))
			return;
		end(c);
	}
}

static void relieve_frames(struct stack *st)
{
	bool idle = stack_pressure(st) == STACK_PRESSURE_RESETS;

	uint32_t first = st->pressure_at;
	st->pressure_at = MIN(first + PRESSURE_SCAN, st->conf.connections_max);
	for (uint32_t i = first; i < st->pressure_at; i++) {
		struct tcp_conn *c = &st->conns[i];
		if (!holds_frames(c))
			continue;
		if (idle)
			look_for_idle(st, c);
		else
			look_for_stalled(st, c);
	}
	if (st->pressure_at < st->conf.connections_max)
		return;
	st->pressure_at = 0;
	st->pressure_known = false;
	if (stack_pressure(st) >= STACK_PRESSURE_OPENS)
		end_victim(st);
}

void stack_relieve(struct stack *st)
{
	relieve_connections(st);
	if (likely(stack_pressure(st) < STACK_PRESSURE_OPENS)) {
		st->pressure_victim = NULL;
		st->pressure_at = 0;
		return;
	}
	relieve_frames(st);
}

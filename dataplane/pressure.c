/* SPDX-License-Identifier: BSD-3-Clause
 * How full the pools of frames are, and what follows, so that an exhausted stack goes on answering
 * and recovers by itself: above 70 % windows and send queues become small, above 85 % new
 * connections cost no memory, above 95 % out-of-order data goes, and when that was not enough the
 * connection that has been idle longest among those that hold frames.  OWNER: one core. */
#include <rte_lcore.h>
#include <rte_mempool.h>
#include "dataplane/stack_priv.h"

#define PRESSURE_SCAN 256 /* connections looked at in a lap; chosen: some microseconds */

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

static enum stack_pressure pressure_measure(const struct stack *st)
{
	unsigned worst = st->env.tx_pool ? pool_used_percent(st->env.tx_pool, 0) : 0;
	enum stack_pressure level = STACK_PRESSURE_NONE;

	for (unsigned i = 0; i < st->conf.port_count; i++) {
		const struct stack_port *p = &st->conf.ports[i];
		if (p->rx_pool)
			worst = MAX(worst, pool_used_percent(p->rx_pool, p->rx_kept));
	}
	for (unsigned i = STACK_PRESSURE_WINDOWS; i < ARRAY_LEN(levels); i++) {
		if (worst >= levels[i].percent)
			level = (enum stack_pressure)i;
	}
	return level;
}

enum stack_pressure stack_pressure_look(struct stack *st)
{
	enum stack_pressure now = pressure_measure(st);
	for (unsigned i = st->pressure + 1; i <= now; i++)
		counter_inc(levels[i].entered);
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

/* Give up what nobody has been told will stay (RFC 2018 8: SACKed data may be discarded), and
 * remember who has been silent longest. */
static void look_at(struct stack *st, struct tcp_conn *c)
{
	if (!holds_frames(c))
		return;
	tcp_reass_drop_ooo(c);
	if (!st->pressure_victim || c->last_send_us < st->pressure_victim->last_send_us)
		st->pressure_victim = c;
}

static void end_victim(struct stack *st)
{
	struct tcp_conn *c = st->pressure_victim;

	st->pressure_victim = NULL;
	if (!c || !holds_frames(c))
		return;
	counter_inc(CTR_TCP_PRESSURE_ENDED);
	tcp_send_rst(c);
	tcp_conn_end(c, STREAM_NO_MEMORY);
}

void stack_relieve(struct stack *st)
{
	if (stack_pressure(st) < STACK_PRESSURE_RESETS) {
		st->pressure_victim = NULL;
		st->pressure_at = 0;
		return;
	}
	uint32_t end = MIN(st->pressure_at + PRESSURE_SCAN, st->conf.connections_max);
	for (; st->pressure_at < end; st->pressure_at++)
		look_at(st, &st->conns[st->pressure_at]);
	if (end < st->conf.connections_max)
		return;
	st->pressure_at = 0;
	st->pressure_known = false;
	if (stack_pressure(st) == STACK_PRESSURE_RESETS)
		end_victim(st);
}

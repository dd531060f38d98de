/* SPDX-License-Identifier: BSD-3-Clause
 * The stack's life and its lap.  OWNER: one core, after creation by main. */
#include "dataplane/stack_priv.h"
#include <errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

#define TW_MAX        32768u /* chosen: 2 MiB of TIME_WAIT */
#define TW_MIN        64u    /* chosen: for small stacks */
#define POOL_RETRY_US (1 * US_PER_MS)

static void keys_init(struct stack *st)
{
	struct siphash_key *keys[] = {&st->table.key, &st->isn_key, &st->port_key};

	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		keys[i]->k0 = st->env.random64(st->env.ctx);
		keys[i]->k1 = st->env.random64(st->env.ctx);
	}
}

static void pool_timer_fire(struct timer *t, uint64_t now_us)
{
	struct stack *st = container_of(t, struct stack, pool_timer);

	st->now_us = now_us;
	tcp_stream_pool_wakeup(st);
	if (!list_empty(&st->pool_waiters))
		timer_arm(st->env.wheel, t, now_us + POOL_RETRY_US);
}

static void lists_init(struct stack *st)
{
	struct list *lists[] = {
		&st->conn_unused, &st->conn_dead, &st->dirty, &st->pool_waiters, &st->orphans};

	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	for (uint32_t i = 0; i < st->conf.connections_max; i++) {
		struct tcp_conn *c = &st->conns[i];
		list_init(&c->pending);
		timer_init(&c->timer, tcp_timer_fire);
		list_push_tail(&st->conn_unused, &c->lap);
	}
	tcp_tw_init(st);
	timer_init(&st->tw_timer, tcp_tw_fire);
	timer_init(&st->pool_timer, pool_timer_fire);
}

static bool conf_ok(const struct stack_conf *conf, const struct stack_env *env)
{
	return conf->connections_max > 0 && conf->connections_max < 1u << 30 &&
	       conf->port_count <= STACK_PORTS_MAX && env->tx && env->random64 && env->tx_pool &&
	       env->control_pool && env->wheel &&
	       rte_pktmbuf_priv_size(env->tx_pool) >= sizeof(struct tcp_txseg);
}

static void tables_free(struct stack *st)
{
	tcp_syn_fini(st);
	tcp_source_fini(st);
	ip_reass_fini(st);
	tcp_grow_fini(st);
	rte_free(st->tws);
	rte_free(st->cold);
	rte_free(st->notes);
	rte_free(st->conns);
	rte_free(st);
}

struct stack *stack_create(const struct stack_conf *conf, const struct stack_env *env, int socket)
{
	if (!conf_ok(conf, env))
		return NULL;
	uint32_t tw_max = MIN(MAX(conf->connections_max, TW_MIN), TW_MAX);
	struct stack *st = rte_zmalloc_socket("stack", sizeof(*st), CACHE_LINE, socket);
	if (!st)
		return NULL;
	st->env = *env;
	st->conf = *conf;
	st->now_us = env->now_us;
	st->memo = st->memos;
	st->tw_max = tw_max;
	if (!st->conf.rcv_buffer_bytes)
		st->conf.rcv_buffer_bytes = STACK_BUFFER_DEFAULT;
	if (!st->conf.snd_buffer_bytes)
		st->conf.snd_buffer_bytes = STACK_BUFFER_DEFAULT;
	st->conns = rte_zmalloc_socket(
		"tcp_conns", conf->connections_max * sizeof(struct tcp_conn), CACHE_LINE, socket);
	st->notes = rte_zmalloc_socket(
		"tcp_notes", conf->connections_max * sizeof(struct tcp_note), CACHE_LINE, socket);
	st->cold = rte_zmalloc_socket(
		"tcp_cold", conf->connections_max * sizeof(struct tcp_cold), CACHE_LINE, socket);
	st->tws = rte_zmalloc_socket("tcp_tw", tw_max * sizeof(struct tcp_tw), CACHE_LINE, socket);
	bool tables_ok = tcp_grow_init(st, socket) && tcp_syn_init(st, socket) &&
			 tcp_source_init(st, socket) && ip_reass_init(st, socket);
	if (!st->conns || !st->cold || !st->notes || !st->tws || !tables_ok) {
		tables_free(st);
		return NULL;
	}
	keys_init(st);
	tcp_cookie_init(st);
	lists_init(st);
	neigh_table_init(st);
	ip_pmtu_init(st);
	icmp_limits_init(st);
	if (!st->conf.claim_nonce)
		st->conf.claim_nonce = st->env.random64(st->env.ctx);
	timer_init(&st->link_timer, link_timer_fire);
	for (unsigned i = 0; i < st->conf.port_count; i++)
		link_init(st, i);
	return st;
}

void stack_destroy(struct stack **stp)
{
	struct stack *st = *stp;

	if (!st)
		return;
	for (uint32_t i = 0; i < st->conf.connections_max; i++) {
		if (st->conns[i].state != TCP_CLOSED)
			tcp_conn_kill(&st->conns[i]);
	}
	timer_cancel(st->env.wheel, &st->tw_timer);
	timer_cancel(st->env.wheel, &st->pool_timer);
	neigh_table_fini(st);
	link_fini(st);
	tables_free(st);
	*stp = NULL;
}

bool stack_tx_allowed(struct stack *st)
{
	if (!st->tx_allowance_known) {
		const struct rte_mempool *mp = st->env.tx_pool;
		st->tx_allowance = (int64_t)rte_mempool_avail_count(mp) -
				   (int64_t)mp->size * STACK_POOL_RESERVE_PERCENT / 100;
		st->tx_allowance_known = true;
	}
	return st->tx_allowance-- > 0;
}

bool stack_rx_low(struct stack *st, struct rte_mempool *pool)
{
	if (st->rx_pool != pool) {
		st->rx_pool = pool;
		st->rx_pool_low = (uint64_t)rte_mempool_avail_count(pool) * 100 <
				  (uint64_t)pool->size * STACK_RX_RESERVE_PERCENT;
	}
	return st->rx_pool_low;
}

struct rte_mbuf *stack_alloc(struct stack *st, struct rte_mempool *pool)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	(void)st;
	if (!m)
		counter_inc(CTR_PORT_NO_MBUF);
	return m;
}

static void lap_begin(struct stack *st, uint64_t now_us)
{
	st->now_us = now_us;
	st->tx_allowance_known = false;
	st->rx_pool = NULL;
	st->pressure_known = false;
}

void stack_input(
	struct stack *st, unsigned port, struct rte_mbuf **frames, unsigned n, uint64_t now_us)
{
	lap_begin(st, now_us);
	for (unsigned first = 0; first < n; first += STACK_AHEAD) {
		unsigned some = MIN(n - first, (unsigned)STACK_AHEAD);
		stack_look_ahead(st, frames + first, some);
		for (unsigned i = 0; i < some; i++) {
			st->memo = &st->memos[i];
			eth_input(st, port, frames[first + i]);
		}
	}
}

/* Upcalls that calls of the application asked for. */
static void flush_upcalls(struct tcp_conn *c)
{
	if (c->flags & CF_RESUMED) {
		c->flags &= ~(CF_RESUMED | CF_RX_STOPPED);
		tcp_reass_deliver(c);
	}
	if (c->state != TCP_CLOSED && c->stream && (c->flags & CF_TELL_WRITABLE)) {
		c->flags &= ~CF_TELL_WRITABLE;
		if (c->stream->ops->on_writable)
			c->stream->ops->on_writable(c->stream);
	}
}

unsigned stack_flush(struct stack *st, uint64_t now_us)
{
	struct list batch;
	unsigned n = 0;

	lap_begin(st, now_us);
	list_init(&batch);
	/* An upcall may make others dirty, and its own connection again: they are sent in this lap,
	 * but their upcalls wait for the next one, so that a lap ends. */
	for (struct list *node; (node = list_pop_head(&st->dirty));)
		list_push_tail(&batch, node);
	for (struct list *node; (node = list_pop_head(&batch)); n++) {
		struct tcp_conn *c = list_entry(node, struct tcp_conn, lap);
		list_push_tail(&st->dirty, node);
		flush_upcalls(c);
	}
	for (struct list *node; (node = list_pop_head(&st->dirty)); n++) {
		struct tcp_conn *c = list_entry(node, struct tcp_conn, lap);
		tcp_output(c);
		if (c->flags & (CF_RESUMED | CF_TELL_WRITABLE))
			list_push_tail(&batch, node);
	}
	for (struct list *node; (node = list_pop_head(&batch));)
		list_push_tail(&st->dirty, node);
	stack_relieve(st);
	if (unlikely(tcp_table_growing(&st->table) || tcp_table_tight(&st->table)))
		tcp_grow_lap(st);
	for (struct list *node; (node = list_pop_head(&st->conn_dead));)
		list_push_head(&st->conn_unused, node);
	return n;
}

void stack_neigh_add(struct stack *st, unsigned port, const struct ip_addr *ip,
	const uint8_t mac[6], bool confirmed)
{
	if (port >= st->conf.port_count)
		return;
	if (confirmed)
		neigh_told(st, port, ip, mac);
	else
		neigh_asked(st, port, ip, mac, false);
}

int stack_listen(struct stack *st, uint16_t port, struct listener *l)
{
	int slot = -1;

	for (int i = STACK_LISTENERS_MAX - 1; i >= 0; i--) {
		if (st->listeners[i].port == port && port)
			return -EADDRINUSE;
		if (!st->listeners[i].port)
			slot = i;
	}
	if (slot < 0 || !port)
		return -ENOSPC;
	st->listeners[slot].port = port;
	st->listeners[slot].listener = l;
	return 0;
}

void stack_unlisten(struct stack *st, uint16_t port)
{
	for (unsigned i = 0; i < STACK_LISTENERS_MAX; i++) {
		if (st->listeners[i].port == port)
			st->listeners[i].port = 0;
	}
}

void stack_get_info(const struct stack *st, struct stack_info *info_r)
{
	*info_r = (struct stack_info){
		.connections = st->connections + st->syn.used + st->tw_count,
		.half_open = st->syn.used,
		.established = st->states[TCP_ESTABLISHED],
		.time_wait = st->tw_count,
		.connections_max = st->conf.connections_max,
		.neighbours = st->neigh.count,
	};
	for (unsigned i = TCP_SYN_SENT; i < TCP_STATE_N; i++)
		info_r->states[i] = st->states[i];
	info_r->states[TCP_SYN_RCVD] += st->syn.used;
	info_r->states[TCP_STATE_N] = st->tw_count; /* STACK_STATE_TIME_WAIT */
}

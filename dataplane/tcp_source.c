/* SPDX-License-Identifier: BSD-3-Clause
 * Limits for each source of passive connections: an IPv4 address, or a /64 of IPv6, which one host
 * can have all to itself.  The table does not grow with the number of sources: each is counted in
 * two cells that a keyed hash chooses, and the smaller count is believed.  So no source is ever
 * counted too low, and one is counted too high only when others share both of its cells, which
 * nobody can bring about without the key.  OWNER: one core. */
#include <rte_malloc.h>
#include "dataplane/stack_priv.h"

#define CELLS_MIN 256u   /* chosen */
#define CELLS_MAX 65536u /* chosen: 1.5 MiB in two rows */
#define CELLS_PER                                                                                  \
	16 /* connections for each cell of a row; chosen: at a limit of 16 and more, a             \
	    * table full of connections fills few of them */

static bool wanted(const struct stack_tcp_conf *conf)
{
	return conf->source_connections || conf->source_half_open || conf->source_syns;
}

bool tcp_source_init(struct stack *st, int socket)
{
	uint32_t n = CELLS_MIN;

	if (!wanted(&st->conf.tcp))
		return true;
	while (n < st->conf.connections_max / CELLS_PER && n < CELLS_MAX)
		n *= 2;
	st->sources.mask = n - 1;
	for (unsigned row = 0; row < TCP_SOURCE_ROWS; row++) {
		st->sources.rows[row] = rte_zmalloc_socket(
			"tcp_source", n * sizeof(struct tcp_source_cell), CACHE_LINE, socket);
		if (!st->sources.rows[row])
			return false;
	}
	st->sources.key.k0 = st->env.random64(st->env.ctx);
	st->sources.key.k1 = st->env.random64(st->env.ctx);
	return true;
}

void tcp_source_fini(struct stack *st)
{
	for (unsigned row = 0; row < TCP_SOURCE_ROWS; row++)
		rte_free(st->sources.rows[row]);
}

/* The cells of a source; false: nothing is limited. */
static bool cells_of(const struct stack *st, const struct ip_addr *source,
	struct tcp_source_cell *cells[TCP_SOURCE_ROWS])
{
	const struct tcp_sources *all = &st->sources;

	if (!all->rows[0])
		return false;
	size_t n = ip_is_v4(source) ? sizeof(*source) : TCP_SOURCE_PREFIX6 / 8;
	uint64_t hash = siphash13(&all->key, source, n);
	for (unsigned row = 0; row < TCP_SOURCE_ROWS; row++)
		cells[row] = &all->rows[row][(uint32_t)(hash >> (32 * row)) & all->mask];
	return true;
}

void tcp_source_half_open(struct stack *st, const struct ip_addr *source, int change)
{
	struct tcp_source_cell *cells[TCP_SOURCE_ROWS];

	if (!cells_of(st, source, cells))
		return;
	for (unsigned row = 0; row < TCP_SOURCE_ROWS; row++)
		cells[row]->half_open += (uint32_t)change;
}

void tcp_source_connection(struct stack *st, const struct ip_addr *source, int change)
{
	struct tcp_source_cell *cells[TCP_SOURCE_ROWS];

	if (!cells_of(st, source, cells))
		return;
	for (unsigned row = 0; row < TCP_SOURCE_ROWS; row++)
		cells[row]->connections += (uint32_t)change;
}

/* SYNs of this second, with this one. */
static uint32_t syns_count(const struct stack *st, struct tcp_source_cell *cell)
{
	uint32_t second = (uint32_t)(st->now_us / US_PER_SEC);

	if (cell->second != second) {
		cell->second = second;
		cell->syns = 0;
	}
	return ++cell->syns;
}

static bool exceeds(uint32_t limit, uint32_t a, uint32_t b)
{
	return limit && MIN(a, b) > limit;
}

bool tcp_source_full(struct stack *st, const struct ip_addr *source)
{
	struct tcp_source_cell *c[TCP_SOURCE_ROWS];

	if (!cells_of(st, source, c) || !exceeds(st->conf.tcp.source_connections,
						c[0]->connections + 1, c[1]->connections + 1))
		return false;
	counter_inc(CTR_TCP_SOURCE_CONNECTIONS);
	return true;
}

enum tcp_source_verdict tcp_source_syn(struct stack *st, const struct ip_addr *source)
{
	struct tcp_source_cell *c[TCP_SOURCE_ROWS];

	if (!cells_of(st, source, c))
		return TCP_SOURCE_PASS;
	uint32_t syns[] = {syns_count(st, c[0]), syns_count(st, c[1])};
	if (exceeds(st->conf.tcp.source_syns, syns[0], syns[1])) {
		counter_inc(CTR_TCP_SOURCE_SYNS);
		return TCP_SOURCE_DROP;
	}
	if (tcp_source_full(st, source))
		return TCP_SOURCE_DROP;
	if (exceeds(st->conf.tcp.source_half_open, c[0]->half_open + 1, c[1]->half_open + 1)) {
		counter_inc(CTR_TCP_SOURCE_HALF_OPEN);
		return TCP_SOURCE_COOKIE;
	}
	return TCP_SOURCE_PASS;
}

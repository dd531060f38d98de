/* SPDX-License-Identifier: BSD-3-Clause
 * The flow table's memory.  It is made with room for few connections and grows with their number;
 * a core neither takes memory nor clears it: main has the next slots ready before they are wanted
 * (stack_tend), the core takes them between two laps and moves a few slots in each.  Nobody waits:
 * until main has come, the table fills up to 7/8; beyond, a new connection is refused as it is when
 * the table is full.
 *
 * The two meet at three words: `wanted` is the core's, `ready` goes from main to the core, `spent`
 * back. */
#include <rte_malloc.h>
#include "dataplane/stack_priv.h"

#define SLOTS_FIRST 65536u /* chosen: 512 KiB; 32,768 connections before it grows */

static struct tcp_slot *slots_make(const struct stack *st, uint32_t slots)
{
	struct tcp_slot *memory = rte_malloc_socket(
		"tcp_table", (size_t)slots * sizeof(*memory), CACHE_LINE, st->growth.socket);

	if (memory)
		tcp_table_clear(memory, slots);
	return memory;
}

bool tcp_grow_init(struct stack *st, int socket)
{
	uint32_t n = st->conf.connections_max + st->tw_max;
	uint32_t slots =
		MIN(tcp_table_slots(n), st->conf.table_slots ? st->conf.table_slots : SLOTS_FIRST);

	st->growth.socket = socket;
	struct tcp_slot *memory = slots_make(st, slots);
	if (!memory)
		return false;
	tcp_table_init(&st->table, memory, slots, n, &(struct siphash_key){0});
	atomic_init(&st->growth.wanted, tcp_table_next_slots(&st->table));
	return true;
}

void tcp_grow_fini(struct stack *st)
{
	rte_free(st->table.now.at);
	rte_free(st->table.old.at);
	rte_free(atomic_load(&st->growth.ready));
	rte_free(atomic_load(&st->growth.spent));
}

static void grow_begin(struct stack *st)
{
	struct tcp_growth *g = &st->growth;

	/* the last growth's memory must have been fetched: there is one place for it */
	if (atomic_load_explicit(&g->spent, memory_order_relaxed))
		return;
	struct tcp_slot *memory = atomic_exchange_explicit(&g->ready, NULL, memory_order_acquire);
	if (!memory)
		return;
	tcp_table_grow(&st->table, memory);
	counter_inc(CTR_TCP_TABLE_GROWN);
	atomic_store_explicit(&g->wanted, tcp_table_next_slots(&st->table), memory_order_release);
}

void tcp_grow_lap(struct stack *st)
{
	if (!tcp_table_growing(&st->table)) {
		grow_begin(st);
		return;
	}
	struct tcp_slot *spent = tcp_table_step(&st->table, TCP_GROW_LAP_STEP);
	if (spent)
		atomic_store_explicit(&st->growth.spent, spent, memory_order_release);
}

/* Main's side.  `wanted` changes only after `ready` was taken, so what was made is what is wanted.
 */
void stack_tend(struct stack *st)
{
	struct tcp_growth *g = &st->growth;
	uint32_t wanted = atomic_load_explicit(&g->wanted, memory_order_acquire);

	rte_free(atomic_exchange_explicit(&g->spent, NULL, memory_order_acquire));
	if (wanted == g->made)
		return;
	struct tcp_slot *memory = slots_make(st, wanted);
	if (!memory)
		return; /* tried again the next time */
	g->made = wanted;
	atomic_store_explicit(&g->ready, memory, memory_order_release);
}

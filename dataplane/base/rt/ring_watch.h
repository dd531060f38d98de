/* SPDX-License-Identifier: BSD-3-Clause
 * How full the rings between threads are and were: a watch sits beside each ring, written by the
 * thread that fills it alone, and all are known to a registry that `net rings` and the metrics
 * read. The producer knows the depth anyhow, so it costs a comparison. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/check.h"

struct rte_ring;

enum ring_kind {
	RING_REQUEST, /* request/completion: drops are requests that found no credit and wait */
	RING_HINT,    /* dropped and read again from the store */
	RING_PACKET,  /* dropped; TCP repairs it */
};
/* "request", "hint", "packet" */
const char *ring_kind_text(enum ring_kind kind);

struct ring_watch {
	const struct rte_ring *ring; /* NULL: not registered */
	uint32_t kind;
	_Atomic uint32_t high; /* entries, at most, since the start */
	_Atomic uint64_t drops;
};

#define RING_WATCHES_MAX 1024 /* chosen: 16 cores; what is beyond is not shown */

/* Main thread, when the ring is made and before it is freed. */
void ring_watch_add(struct ring_watch *w, const struct rte_ring *ring, enum ring_kind kind);
void ring_watch_remove(struct ring_watch *w);

/* Producer: so many entries are in the ring now. */
static inline void ring_watch_depth(struct ring_watch *w, uint32_t depth)
{
	if (unlikely(depth > atomic_load_explicit(&w->high, memory_order_relaxed)))
		atomic_store_explicit(&w->high, depth, memory_order_relaxed);
}
/* Producer: n found no room. */
static inline void ring_watch_drop(struct ring_watch *w, uint32_t n)
{
	atomic_store_explicit(&w->drops, atomic_load_explicit(&w->drops, memory_order_relaxed) + n,
		memory_order_relaxed);
}

struct ring_info {
	char name[32];
	enum ring_kind kind;
	uint32_t size, depth, high;
	uint64_t drops;
};
/* The i-th; false: there are no more.  Any thread. */
bool ring_watch_get(unsigned i, struct ring_info *out);

/* SPDX-License-Identifier: BSD-3-Clause
 * Counters: one block per thread, written by that thread alone, read by main without locks (a value
 * may lag, it is never torn).  Gauges that are not sums are asked from their owner instead. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/histogram.h"

enum counter {
#define COUNTER(id, name, unit, help) CTR_##id,
#include "dataplane/base/counters.def"
	COUNTER_N
};

enum histogram_id {
#define HISTOGRAM(id, name, unit, help) HIST_##id,
#include "dataplane/base/counters.def"
	HISTOGRAM_N
};

struct counter_info {
	const char *name, *unit, *help;
};
extern const struct counter_info counter_table[COUNTER_N];
extern const struct counter_info histogram_table[HISTOGRAM_N];

struct counters {
	alignas(CACHE_LINE) _Atomic uint64_t value[COUNTER_N];
	char thread[16];
	struct histogram histogram[HISTOGRAM_N];
};

#define COUNTERS_THREADS_MAX 128

extern __thread struct counters *counters_mine;

/* Register a block for the calling thread under a name ("core1", "writer0").  A thread without one
 * counts into a block shared by all such threads (tests, tools), never read. */
void counters_thread_init(const char *thread);

#ifdef BYPOST_NO_COUNTERS /* to measure what counting costs (docs/performance.md) */
static inline void counter_add(enum counter c, uint64_t n)
{
	(void)c;
	(void)n;
}
#else
static inline void counter_add(enum counter c, uint64_t n)
{
	_Atomic uint64_t *v = &counters_mine->value[c];

	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}
#endif

static inline void counter_inc(enum counter c)
{
	counter_add(c, 1);
}

static inline void histogram_add(enum histogram_id h, uint64_t v)
{
	histogram_count(&counters_mine->histogram[h], v);
}

/* Sum of one counter over all threads.  Any thread. */
uint64_t counters_sum(enum counter c);
/* The same of a histogram; *view is written whole. */
void histograms_sum(enum histogram_id h, struct histogram_view *view);
/* Blocks registered so far, and the i-th; NULL beyond the end.  Any thread. */
unsigned counters_count(void);
const struct counters *counters_get(unsigned i);

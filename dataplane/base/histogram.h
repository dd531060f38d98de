/* SPDX-License-Identifier: BSD-3-Clause
 * Log-linear histograms: eight buckets for each power of two, so a value is known to an eighth.  A
 * histogram has one writer, as counters have; readers add up copies.  Which there are is in
 * counters.def; counters.h counts into them. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/check.h"

#define HISTOGRAM_SUB_BITS 3
#define HISTOGRAM_SUB      (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BITS                                                                             \
	40 /* chosen: 12 days of microseconds; larger values count as the largest                  \
	    */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB)

struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum, max;
};

/* A copy that no longer changes. */
struct histogram_view {
	uint64_t bucket[HISTOGRAM_BUCKETS];
	uint64_t count, sum, max;
};

/* Bucket of a value. */
static inline unsigned histogram_bucket(uint64_t v)
{
	unsigned high = 63 - (unsigned)__builtin_clzll(v | HISTOGRAM_SUB);

	if (v < HISTOGRAM_SUB)
		return (unsigned)v;
	if (high >= HISTOGRAM_BITS)
		return HISTOGRAM_BUCKETS - 1;
	return (high - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB +
	       ((unsigned)(v >> (high - HISTOGRAM_SUB_BITS)) & (HISTOGRAM_SUB - 1));
}
/* Largest value of a bucket. */
uint64_t histogram_upper(unsigned bucket);

/* The writer. */
static inline void histogram_count(struct histogram *h, uint64_t v)
{
	_Atomic uint64_t *b = &h->bucket[histogram_bucket(v)];

	atomic_store_explicit(
		b, atomic_load_explicit(b, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(&h->sum, atomic_load_explicit(&h->sum, memory_order_relaxed) + v,
		memory_order_relaxed);
	if (v > atomic_load_explicit(&h->max, memory_order_relaxed))
		atomic_store_explicit(&h->max, v, memory_order_relaxed);
}

/* Any thread: add what h has now to *view, which begins as all 0. */
void histogram_add_to(const struct histogram *h, struct histogram_view *view);
/* The value that share (0..1) of those counted do not exceed: the upper end of its bucket, at most
 * the largest value; 0: nothing was counted. */
uint64_t histogram_quantile(const struct histogram_view *view, double share);
/* What came since an older view; max is the bound of what is known. */
void histogram_since(const struct histogram_view *now, const struct histogram_view *before,
	struct histogram_view *out);

/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/histogram.h"

static_assert(HISTOGRAM_BUCKETS == 304, "2.4 kB for each thread and histogram");

uint64_t histogram_upper(unsigned bucket)
{
	unsigned power = bucket / HISTOGRAM_SUB;

	if (power == 0)
		return bucket;
	uint64_t low = (uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) << (power - 1);
	return low + ((uint64_t)1 << (power - 1)) - 1;
}

void histogram_add_to(const struct histogram *h, struct histogram_view *view)
{
	uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t n = atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
		view->bucket[i] += n;
		view->count += n;
	}
	view->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
	view->max = MAX(view->max, max);
}

uint64_t histogram_quantile(const struct histogram_view *view, double share)
{
	double wanted = share * (double)view->count;
	uint64_t seen = 0;

	if (view->count == 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += view->bucket[i];
		if (seen > 0 && (double)seen >= wanted)
			return MIN(histogram_upper(i), view->max);
	}
	return view->max;
}

void histogram_since(const struct histogram_view *now, const struct histogram_view *before,
	struct histogram_view *out)
{
	*out = (struct histogram_view){.max = now->max};
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t old = MIN(before->bucket[i], now->bucket[i]);
		out->bucket[i] = now->bucket[i] - old;
		out->count += out->bucket[i];
	}
	out->sum = now->sum - MIN(before->sum, now->sum);
}

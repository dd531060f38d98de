/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/counters.h"
#include <pthread.h>
#include <string.h>

const struct counter_info counter_table[COUNTER_N] = {
#define COUNTER(id, name, unit, help) {name, unit, help},
#include "dataplane/base/counters.def"
};

const struct counter_info histogram_table[HISTOGRAM_N] = {
#define HISTOGRAM(id, name, unit, help) {name, unit, help},
#include "dataplane/base/counters.def"
};

static struct counters unregistered;
static struct counters *blocks[COUNTERS_THREADS_MAX];
static atomic_uint block_count;
static pthread_mutex_t block_lock = PTHREAD_MUTEX_INITIALIZER;
__thread struct counters *counters_mine = &unregistered;

void counters_thread_init(const char *thread)
{
	struct counters *c = aligned_alloc(CACHE_LINE, sizeof(*c));

	if (!c)
		return;
	memset(c, 0, sizeof(*c));
	snprintf(c->thread, sizeof(c->thread), "%s", thread);
	pthread_mutex_lock(&block_lock);
	unsigned n = atomic_load(&block_count);
	if (n < COUNTERS_THREADS_MAX) {
		blocks[n] = c;
		atomic_store_explicit(&block_count, n + 1, memory_order_release);
		counters_mine = c;
	} else {
		free(c);
	}
	pthread_mutex_unlock(&block_lock);
}

uint64_t counters_sum(enum counter c)
{
	uint64_t sum = 0;
	unsigned n = counters_count();

	for (unsigned i = 0; i < n; i++)
		sum += atomic_load_explicit(&blocks[i]->value[c], memory_order_relaxed);
	return sum;
}

void histograms_sum(enum histogram_id h, struct histogram_view *view)
{
	unsigned n = counters_count();

	*view = (struct histogram_view){0};
	for (unsigned i = 0; i < n; i++)
		histogram_add_to(&blocks[i]->histogram[h], view);
}

unsigned counters_count(void)
{
	return atomic_load_explicit(&block_count, memory_order_acquire);
}

const struct counters *counters_get(unsigned i)
{
	return i < counters_count() ? blocks[i] : NULL;
}

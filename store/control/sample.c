/* SPDX-License-Identifier: BSD-3-Clause
 * Rates: a few looks at the counters, a quarter of a second apart. */
#include "store/control/daemon.h"

/* Cores register their counters as "core0", "core1" ... */
static const struct counters *core_counters(unsigned core)
{
	char name[16];

	snprintf(name, sizeof(name), "core%u", core);
	for (unsigned i = 0; i < counters_count(); i++) {
		if (strcmp(counters_get(i)->thread, name) == 0)
			return counters_get(i);
	}
	return NULL;
}

uint64_t core_counter(unsigned core, enum counter c)
{
	const struct counters *block = core_counters(core);

	return block ? atomic_load_explicit(&block->value[c], memory_order_relaxed) : 0;
}

static void take_histograms(struct daemon *d)
{
	if (d->sample_count % (SAMPLES_OF_HISTOGRAMS / 2) != 0)
		return;
	memcpy(d->then[0], d->then[1], sizeof(d->then[0]));
	for (unsigned i = 0; i < HISTOGRAM_N; i++)
		histograms_sum((enum histogram_id)i, &d->then[1][i]);
}

void sample_histogram(const struct daemon *d, enum histogram_id h, struct histogram_view *out)
{
	static struct histogram_view now;

	histograms_sum(h, &now);
	histogram_since(&now, &d->then[0][h], out);
}

void sample_take(struct daemon *d)
{
	take_histograms(d);

	struct sample *s = &d->samples[d->sample_count++ % SAMPLES];

	s->at_us = clock_mono_us();
	for (unsigned i = 0; i < COUNTER_N; i++)
		s->sum[i] = counters_sum((enum counter)i);
	for (unsigned i = 0; i < d->core_count; i++) {
		const struct counters *block = core_counters(i);
		for (unsigned k = 0; block && k < COUNTER_N; k++)
			s->core[i][k] =
				atomic_load_explicit(&block->value[k], memory_order_relaxed);
	}
}

bool sample_window(const struct daemon *d, const struct sample **old_r, const struct sample **new_r)
{
	unsigned n = MIN(d->sample_count, (unsigned)SAMPLES);

	if (n < 2)
		return false;
	*new_r = &d->samples[(d->sample_count - 1) % SAMPLES];
	*old_r = &d->samples[(d->sample_count - n) % SAMPLES];
	return true;
}

double sample_rate(const struct daemon *d, int core, enum counter c)
{
	const struct sample *a, *b;

	if (!sample_window(d, &a, &b) || b->at_us <= a->at_us)
		return 0.0;
	uint64_t from = core < 0 ? a->sum[c] : a->core[core][c];
	uint64_t to = core < 0 ? b->sum[c] : b->core[core][c];
	return (double)(to - from) * 1e6 / (double)(b->at_us - a->at_us);
}

double sample_busy(const struct daemon *d, unsigned core)
{
	double busy = sample_rate(d, (int)core, CTR_CORE_BUSY_US);
	double idle = sample_rate(d, (int)core, CTR_CORE_IDLE_US);

	return busy + idle > 0 ? busy / (busy + idle) : 0.0;
}

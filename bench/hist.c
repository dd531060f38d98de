/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/hist.h"
#include <math.h>
#include <stdio.h>

/* Below HIST_STEPS each value has a place of its own; from there on the top bits say which. */
static unsigned place_of(uint64_t us)
{
	if (us < HIST_STEPS)
		return (unsigned)us;
	unsigned doubling = 63u - HIST_STEP_BITS - (unsigned)__builtin_clzll(us);
	if (doubling >= HIST_DOUBLINGS)
		return HIST_STEPS * (HIST_DOUBLINGS + 1) - 1;
	return HIST_STEPS * (doubling + 1) + (unsigned)(us >> doubling) - HIST_STEPS;
}

/* The largest value that has this place. */
static uint64_t value_of(unsigned place)
{
	unsigned doubling = place / HIST_STEPS;

	if (doubling == 0)
		return place;
	doubling--;
	return ((uint64_t)(place % HIST_STEPS + HIST_STEPS + 1) << doubling) - 1;
}

void hist_add(struct hist *h, uint64_t us)
{
	h->n++;
	h->sum += us;
	h->max = MAX(h->max, us);
	h->count[place_of(us)]++;
}

uint64_t hist_at(const struct hist *h, double share)
{
	uint64_t want = (uint64_t)ceil(share * (double)h->n), seen = 0;

	if (h->n == 0)
		return 0;
	for (unsigned i = 0; i < ARRAY_LEN(h->count); i++) {
		seen += h->count[i];
		if (seen >= MAX(want, 1ull))
			return MIN(value_of(i), h->max);
	}
	return h->max;
}

double hist_mean(const struct hist *h)
{
	return h->n ? (double)h->sum / (double)h->n : 0;
}

void hist_print_json(const struct hist *h, const char *name)
{
	static const struct {
		const char *name;
		double share;
	} points[] = {
		{"p50",  0.5  },
                {"p90",  0.9  },
                {"p99",  0.99 },
                {"p999", 0.999}
        };

	printf("\"%s\": {\"n\": %llu, \"mean\": %.1f, \"max\": %llu", name,
		(unsigned long long)h->n, hist_mean(h), (unsigned long long)h->max);
	for (unsigned i = 0; i < ARRAY_LEN(points); i++)
		printf(", \"%s\": %llu", points[i].name,
			(unsigned long long)hist_at(h, points[i].share));
	printf("}");
}

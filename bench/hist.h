/* SPDX-License-Identifier: BSD-3-Clause
 * Histogram of times with a bounded relative error: 64 steps for each doubling, so a value that is
 * read is at most 1.6 % off, from 1 us to hours, in fixed memory.  OWNER: one thread; another may
 * read while it counts, and sees some values more or less. */
#pragma once
#include "dataplane/base/check.h"

#define HIST_STEP_BITS 6
#define HIST_STEPS     (1u << HIST_STEP_BITS)
#define HIST_DOUBLINGS 30 /* up to 2^36 us, 19 hours; what is longer counts as that */

struct hist {
	uint64_t n, sum, max;
	uint64_t count[HIST_STEPS * (HIST_DOUBLINGS + 1)];
};

void hist_add(struct hist *h, uint64_t us);
/* The value that a share of all (0..1) does not exceed; 0 when there is none. */
uint64_t hist_at(const struct hist *h, double share);
double hist_mean(const struct hist *h);
/* {"n": .., "mean": .., "p50": .., ..} in microseconds. */
void hist_print_json(const struct hist *h, const char *name);

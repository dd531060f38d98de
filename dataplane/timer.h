/* SPDX-License-Identifier: BSD-3-Clause
 * Timers of one core: a hierarchical wheel of 1 ms ticks.  A timer is embedded in its owner's
 * memory; arming one that is armed moves it.  Only the core's own thread.  No allocation. */
#pragma once
#include "dataplane/base/clock.h"
#include "dataplane/base/list.h"

struct timer;
typedef void (*timer_fn)(struct timer *t, uint64_t now_us);

struct timer {
	struct list node;
	uint64_t at_us; /* CLOCK_MONOTONIC deadline; 0: not armed */
	timer_fn fn;
};

#define TIMER_LEVELS 4
#define TIMER_SLOTS  256

struct timer_wheel {
	struct list slots[TIMER_LEVELS][TIMER_SLOTS];
	struct list due; /* to be called in the next run */
	uint64_t tick;   /* the next millisecond to run */
	uint32_t armed;  /* timers in the wheel */
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_us);
static inline void timer_init(struct timer *t, timer_fn fn)
{
	list_init(&t->node);
	t->at_us = 0;
	t->fn = fn;
}
static inline bool timer_armed(const struct timer *t)
{
	return t->at_us != 0;
}
/* Fires in the first run at or after at_us (a deadline in the past: in the next run). */
void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t at_us);
void timer_cancel(struct timer_wheel *w, struct timer *t);
/* Call what is due, at most max callbacks; returns how many.  A callback may arm and cancel any
 * timer and free its own. */
unsigned timer_run(struct timer_wheel *w, uint64_t now_us, unsigned max);
/* Earliest time at which timer_run may have something to do (a lower bound), looked for up to
 * until_us, which is cheaper the nearer it is; UINT64_MAX: nothing until then. */
uint64_t timer_next_us(const struct timer_wheel *w, uint64_t until_us);

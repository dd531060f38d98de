/* SPDX-License-Identifier: BSD-3-Clause
 * The wheel: slot s of level l holds the timers whose tick is s in digit l (base 256) and nearer
 * than 256^(l+1) ticks.  A level is spread over the one below when the wheel reaches its slot. */
#include "dataplane/timer.h"

#define SLOT_BITS 8
#define SLOT_MASK (TIMER_SLOTS - 1u)
#define SPAN_MAX  ((1ull << (SLOT_BITS * TIMER_LEVELS)) - 1) /* ticks; later ones are re-filed */

static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "a slot number is one digit");

void timer_wheel_init(struct timer_wheel *w, uint64_t now_us)
{
	for (unsigned level = 0; level < TIMER_LEVELS; level++) {
		for (unsigned s = 0; s < TIMER_SLOTS; s++)
			list_init(&w->slots[level][s]);
	}
	list_init(&w->due);
	w->tick = now_us / US_PER_MS;
	w->armed = 0;
}

static uint64_t tick_of(const struct timer *t)
{
	return t->at_us / US_PER_MS + (t->at_us % US_PER_MS != 0);
}

static void wheel_place(struct timer_wheel *w, struct timer *t)
{
	uint64_t tick = tick_of(t);
	unsigned level = 0;

	if (tick < w->tick) {
		list_push_tail(&w->due, &t->node);
		return;
	}
	uint64_t ahead = MIN(tick - w->tick, SPAN_MAX);
	tick = w->tick + ahead;
	while (ahead >> (SLOT_BITS * (level + 1)))
		level++;
	list_push_tail(&w->slots[level][tick >> (SLOT_BITS * level) & SLOT_MASK], &t->node);
}

void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t at_us)
{
	if (timer_armed(t))
		list_remove(&t->node);
	else
		w->armed++;
	t->at_us = MAX(at_us, 1ull);
	wheel_place(w, t);
}

void timer_cancel(struct timer_wheel *w, struct timer *t)
{
	if (!timer_armed(t))
		return;
	list_remove(&t->node);
	t->at_us = 0;
	w->armed--;
}

/* Move all of src to the tail of dst. */
static void list_splice_tail(struct list *dst, struct list *src)
{
	if (list_empty(src))
		return;
	src->next->prev = dst->prev;
	dst->prev->next = src->next;
	src->prev->next = dst;
	dst->prev = src->prev;
	list_init(src);
}

/* The wheel stands at the first tick of a slot of `level`: spread that slot over the levels below.
 */
static void wheel_cascade(struct timer_wheel *w, unsigned level)
{
	struct list *slot = &w->slots[level][w->tick >> (SLOT_BITS * level) & SLOT_MASK];
	struct list moving;

	list_init(&moving);
	list_splice_tail(&moving, slot);
	for (struct list *n; (n = list_pop_head(&moving));)
		wheel_place(w, list_entry(n, struct timer, node));
}

static void wheel_advance(struct timer_wheel *w, uint64_t now_tick)
{
	while (w->tick <= now_tick) {
		for (unsigned level = TIMER_LEVELS - 1; level > 0; level--) {
			if ((w->tick & ((1ull << (SLOT_BITS * level)) - 1)) == 0)
				wheel_cascade(w, level);
		}
		list_splice_tail(&w->due, &w->slots[0][w->tick & SLOT_MASK]);
		w->tick++;
	}
}

unsigned timer_run(struct timer_wheel *w, uint64_t now_us, unsigned max)
{
	uint64_t now_tick = now_us / US_PER_MS;
	struct list batch;
	unsigned n = 0;

	if (w->armed == 0) {
		w->tick = MAX(w->tick, now_tick + 1);
		return 0;
	}
	wheel_advance(w, now_tick);
	list_init(&batch);
	list_splice_tail(&batch, &w->due);
	for (; n < max && !list_empty(&batch); n++) {
		struct timer *t = list_entry(list_pop_head(&batch), struct timer, node);
		t->at_us = 0;
		w->armed--;
		t->fn(t, now_us);
	}
	/* What max left over goes before what the callbacks added. */
	list_splice_tail(&batch, &w->due);
	list_splice_tail(&w->due, &batch);
	return n;
}

/* First tick, up to `until`, at which the wheel has to look at a slot of `level`; UINT64_MAX: all
 * are empty. */
static uint64_t level_next(const struct timer_wheel *w, unsigned level, uint64_t until)
{
	unsigned shift = SLOT_BITS * level;
	uint64_t at = w->tick >> shift;
	/* A slot that the wheel stands inside of was spread already; what it holds is a turn away.
	 */
	uint64_t first = (w->tick & ((1ull << shift) - 1)) ? 1 : 0;

	for (uint64_t k = first; k <= TIMER_SLOTS && (at + k) << shift <= until; k++) {
		if (!list_empty(&w->slots[level][(at + k) & SLOT_MASK]))
			return (at + k) << shift;
	}
	return UINT64_MAX;
}

uint64_t timer_next_us(const struct timer_wheel *w, uint64_t until_us)
{
	uint64_t next = UINT64_MAX, until = until_us / US_PER_MS;

	if (w->armed == 0)
		return UINT64_MAX;
	if (!list_empty(&w->due))
		return 0;
	for (unsigned level = 0; level < TIMER_LEVELS; level++)
		next = MIN(next, level_next(w, level, until));
	return next == UINT64_MAX ? UINT64_MAX : next * US_PER_MS;
}

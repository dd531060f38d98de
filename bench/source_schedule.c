/* SPDX-License-Identifier: BSD-3-Clause
 * When messages begin, in which session, and when that is over. */
#include <math.h>
#include "bench/source_priv.h"

#define OPENING_US (300 * US_PER_SEC) /* hold: chosen, for all sessions to be open */

static double passed(const struct source *s)
{
	return (double)(source_now_us(s) - s->began_us) / 1e6;
}

/* Have all sessions been held for as long as was asked? */
static bool held_long(const struct source *s)
{
	uint64_t since = figure_get(&s->figures.held_us);
	double most = (double)OPENING_US / 1e6;

	return passed(s) >= s->conf.hold + (since ? (double)since / 1e6 : most);
}

bool source_no_more(const struct source *s)
{
	if (atomic_load_explicit(&s->ending, memory_order_relaxed))
		return true;
	if (source_holding(s))
		return held_long(s);
	if (s->conf.messages && figure_get(&s->figures.begun) >= s->conf.messages)
		return true;
	return s->conf.seconds > 0 && passed(s) >= s->conf.seconds;
}

/* Open loop: when message n (from 0) is meant to begin, in seconds from the start.  While the rate
 * rises evenly over ramp seconds, rate * t^2 / (2 * ramp) messages have begun by t. */
static double intended(const struct source *s, uint64_t n)
{
	double rate = s->conf.rate, ramp = s->conf.ramp, in_ramp = rate * ramp / 2;

	if ((double)n < in_ramp)
		return sqrt(2 * ramp * (double)n / rate);
	return ramp + ((double)n - in_ramp) / rate;
}

bool source_message_due(const struct source *s, uint64_t *at_r)
{
	*at_r = source_now_us(s);
	if (source_no_more(s) || source_holding(s))
		return false;
	if (s->conf.rate <= 0)
		return true;
	uint64_t at = s->began_us + (uint64_t)(intended(s, figure_get(&s->figures.begun)) * 1e6);
	*at_r = at;
	return at <= source_now_us(s);
}

bool source_connection_due(const struct source *s)
{
	uint64_t at;

	if (source_holding(s))
		return !source_no_more(s) && source_open(s) < s->conf.sessions;
	return list_empty(&s->ready) && source_message_due(s, &at);
}

/* ---- sessions that wait for a message ---- */

void source_wait(struct session *t)
{
	struct source *s = source_of(t);
	uint64_t n = figure_get(&s->figures.ready) + 1;

	t->ready = true;
	list_push_tail(&s->ready, &t->conn.node);
	figure_add(&s->figures.ready, 1);
	if (n > figure_get(&s->figures.ready_most))
		figure_add(&s->figures.ready_most, 1);
	if (source_holding(s) && n == s->conf.sessions && !figure_get(&s->figures.held_us))
		figure_add(&s->figures.held_us, source_now_us(s) - s->began_us);
}

void source_wait_no_longer(struct session *t)
{
	if (!t->ready)
		return;
	t->ready = false;
	list_remove(&t->conn.node);
	list_init(&t->conn.node);
	figure_add(&source_of(t)->figures.ready, UINT64_MAX);
}

/* ---- late ---- */

void source_note_behind(struct source *s)
{
	uint64_t behind = 0, begun = figure_get(&s->figures.begun);

	s->conns.engine->wake_us = 0;
	if (s->conf.rate <= 0 || source_no_more(s))
		return; /* those that were late at the end stay so */
	double at = intended(s, begun);
	if (at < passed(s))
		behind = (uint64_t)((passed(s) - at) * s->conf.rate);
	else
		s->conns.engine->wake_us = s->began_us + (uint64_t)(at * 1e6);
	atomic_store_explicit(&s->figures.behind, behind, memory_order_relaxed);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/timer.h"

#define TIMERS 512

static struct timer_wheel wheel;
static struct timed {
	struct timer t;
	uint64_t want, fired;
} timers[TIMERS];

static uint64_t rnd_state = 1;
static uint64_t rnd(uint64_t n)
{
	rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
	return (rnd_state >> 33) % n;
}

static void on_fire(struct timer *t, uint64_t now_us)
{
	struct timed *x = container_of(t, struct timed, t);

	assert_true(now_us >= x->want);
	x->fired = now_us;
	x->want = 0;
}

/* Against a plain array: nothing fires early, nothing is missed by more than the tick. */
static void test_random_timers_fire_once_and_in_time(void **state)
{
	uint64_t now = 12345678;

	(void)state;
	timer_wheel_init(&wheel, now);
	for (unsigned i = 0; i < TIMERS; i++)
		timer_init(&timers[i].t, on_fire);
	for (unsigned round = 0; round < 20000; round++) {
		struct timed *x = &timers[rnd(TIMERS)];
		static const uint64_t spans[] = {1000, 100000, 5000000, 300000000, 20000000000ull};
		if (rnd(4) == 0) {
			timer_cancel(&wheel, &x->t);
			x->want = 0;
		} else {
			x->want = now + rnd(spans[rnd(5)]);
			timer_arm(&wheel, &x->t, x->want);
		}
		if (rnd(3))
			continue;
		uint64_t next = timer_next_us(&wheel, UINT64_MAX);
		for (unsigned i = 0; i < TIMERS; i++)
			assert_true(!timers[i].want || next <= timers[i].want + US_PER_MS);
		/* Up to a time: the same, or nothing until then. */
		uint64_t until = now + rnd(spans[rnd(3)]), near = timer_next_us(&wheel, until);
		assert_true(near == next || (near == UINT64_MAX && next > until));
		now += rnd(spans[rnd(3)]);
		timer_run(&wheel, now, UINT32_MAX);
		for (unsigned i = 0; i < TIMERS; i++) {
			assert_true(!timers[i].want || timers[i].want + US_PER_MS > now);
			assert_int_equal(timer_armed(&timers[i].t), timers[i].want != 0);
		}
	}
	for (unsigned i = 0; i < TIMERS; i++)
		timer_cancel(&wheel, &timers[i].t);
	assert_int_equal(wheel.armed, 0);
	assert_true(timer_next_us(&wheel, UINT64_MAX) == UINT64_MAX);
}

static unsigned calls;
static struct timer self, other;

static void rearm_in_the_past(struct timer *t, uint64_t now_us)
{
	calls++;
	timer_arm(&wheel, t, now_us - 1);
	timer_cancel(&wheel, &other);
}

static void test_deadline_in_the_past_waits_for_the_next_run(void **state)
{
	(void)state;
	timer_wheel_init(&wheel, 1000000);
	timer_init(&self, rearm_in_the_past);
	timer_init(&other, rearm_in_the_past);
	timer_arm(&wheel, &self, 1000);
	timer_arm(&wheel, &other, 1000000);
	assert_int_equal(timer_run(&wheel, 1000000, 100), 1);
	assert_int_equal(calls, 1);
	assert_false(timer_armed(&other));
	assert_int_equal(timer_run(&wheel, 1000000, 100), 1);
	timer_cancel(&wheel, &self);
	assert_int_equal(timer_run(&wheel, 9000000, 100), 0);
}

static void count(struct timer *t, uint64_t now_us)
{
	(void)t;
	(void)now_us;
	calls++;
}

static void test_at_most_max_callbacks_in_a_run(void **state)
{
	static struct timer many[100];

	(void)state;
	timer_wheel_init(&wheel, 0);
	for (unsigned i = 0; i < 100; i++) {
		timer_init(&many[i], count);
		timer_arm(&wheel, &many[i], 5000);
	}
	calls = 0;
	assert_int_equal(timer_run(&wheel, 4999, 64), 0);
	assert_int_equal(timer_run(&wheel, 5000, 64), 64);
	assert_true(timer_next_us(&wheel, UINT64_MAX) == 0);
	assert_int_equal(timer_run(&wheel, 5000, 64), 36);
	assert_int_equal(calls, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_timers_fire_once_and_in_time),
		cmocka_unit_test(test_deadline_in_the_past_waits_for_the_next_run),
		cmocka_unit_test(test_at_most_max_callbacks_in_a_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

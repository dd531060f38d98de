/* SPDX-License-Identifier: BSD-3-Clause
 * Who of a destination's recipients goes first: bands of priority, with a share for each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "delivery/backlog.h"

static struct schedule s;
static struct backlog b;
static uint64_t ids;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(schedule_init(&s, 4096), 0);
	b = backlog_empty();
	ids = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	schedule_fini(&s);
	return 0;
}

static uint32_t add(int8_t priority)
{
	uint32_t n = schedule_add(&s, ++ids, 0, 0, 0);

	s.nodes[n].priority = priority;
	backlog_push(&s, &b, n);
	return n;
}

static int8_t next_priority(void)
{
	return s.nodes[backlog_pop(&s, &b)].priority;
}

static void test_one_band_is_first_in_first_out(void **state)
{
	uint32_t nodes[100];

	(void)state;
	for (int i = 0; i < 100; i++)
		nodes[i] = add(0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(backlog_pop(&s, &b), nodes[i]);
	assert_int_equal(backlog_pop(&s, &b), SCHEDULE_NONE);
	assert_int_equal(b.count, 0);
}

static void test_the_urgent_go_first_and_nobody_starves(void **state)
{
	unsigned seen[3] = {0}, bulk_at = 0;

	(void)state;
	for (int i = 0; i < 800; i++) {
		add(-4);
		add(0);
		add(4);
	}
	assert_int_equal(next_priority(), 4);
	seen[2]++;
	for (unsigned i = 1; i < 1300; i++) {
		int8_t p = next_priority();
		seen[p < 0 ? 0 : p > 0 ? 2 : 1]++;
		if (p >= 0)
			continue;
		assert_true(i - bulk_at <= BAND_URGENT_SHARE + BAND_NORMAL_SHARE + BAND_BULK_SHARE);
		bulk_at = i;
	}
	assert_int_equal(seen[2], 100 * BAND_URGENT_SHARE);
	assert_int_equal(seen[1], 100 * BAND_NORMAL_SHARE);
	assert_int_equal(seen[0], 100 * BAND_BULK_SHARE);
	/* One band alone loses nothing by its share. */
	while (b.count)
		assert_true(next_priority() <= 0);
}

static void test_who_could_not_go_is_still_the_first(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		add(1);
		add(-1);
	}
	for (int i = 0; i < 20; i++) {
		uint32_t n = backlog_pop(&s, &b);
		backlog_push_head(&s, &b, n);
		assert_int_equal(backlog_pop(&s, &b), n);
	}
	assert_int_equal(b.count, 40);
}

static void test_a_priority_that_changes(void **state)
{
	uint32_t nodes[64];

	(void)state;
	for (int i = 0; i < 64; i++)
		nodes[i] = add((int8_t)(i % 3 - 1));
	/* From the middle, the head and the tail of their bands; within the band it stays. */
	for (int i = 0; i < 64; i += 5)
		backlog_move(&s, &b, nodes[i], 9);
	backlog_move(&s, &b, nodes[63], -2);
	backlog_move(&s, &b, nodes[0], 7);
	assert_int_equal(b.count, 64);
	for (unsigned n = 0; n < 64; n++) {
		uint32_t i = backlog_pop(&s, &b);
		assert_true(i != SCHEDULE_NONE);
		assert_false(s.nodes[i].backlogged);
	}
	assert_int_equal(backlog_pop(&s, &b), SCHEDULE_NONE);
	for (unsigned i = 0; i < BAND_N; i++)
		assert_int_equal(b.bands[i].count, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void test_one_leaves_from_the_middle(void **state)
{
	uint32_t nodes[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		nodes[i] = add(0);
	backlog_remove(&s, &b, nodes[1]);
	assert_false(s.nodes[nodes[1]].backlogged);
	assert_int_equal(b.count, 2);
	assert_int_equal(backlog_pop(&s, &b), nodes[0]);
	assert_int_equal(backlog_pop(&s, &b), nodes[2]);
	assert_int_equal(backlog_pop(&s, &b), SCHEDULE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_band_is_first_in_first_out),
		T(test_the_urgent_go_first_and_nobody_starves),
		T(test_who_could_not_go_is_still_the_first),
		T(test_a_priority_that_changes),
		T(test_one_leaves_from_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

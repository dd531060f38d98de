/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/base/unit.h"
#include "bench/hist.h"

static struct hist h;

static int clear(void **state)
{
	(void)state;
	h = (struct hist){0};
	return 0;
}

static void test_nothing_counted(void **state)
{
	(void)state;
	assert_int_equal(hist_at(&h, 0.5), 0);
	assert_true(hist_mean(&h) == 0);
}

/* Whatever was counted once is found again, at most 1/64 too high and never too low. */
static void test_error_is_bounded(void **state)
{
	(void)state;
	for (uint64_t v = 0; v < 1ull << 36; v = v < 300 ? v + 1 : v + v / 7 + 1) {
		h = (struct hist){0};
		hist_add(&h, v);
		h.max = UINT64_MAX; /* or it would be cut to the largest */
		uint64_t got = hist_at(&h, 1);
		assert_true(got >= v);
		assert_true(got - v <= v / HIST_STEPS);
	}
}

static void test_shares(void **state)
{
	(void)state;
	for (uint64_t v = 1; v <= 1000; v++)
		hist_add(&h, v);
	assert_int_equal(hist_at(&h, 0), 1);
	assert_in_range(hist_at(&h, 0.5), 500, 508);
	assert_in_range(hist_at(&h, 0.99), 990, 1000);
	assert_int_equal(hist_at(&h, 1), 1000);
	assert_true(hist_mean(&h) == 500.5);
}

static void test_what_is_too_long_counts_as_the_longest(void **state)
{
	(void)state;
	hist_add(&h, UINT64_MAX);
	hist_add(&h, 5);
	assert_int_equal(hist_at(&h, 0.5), 5);
	assert_true(hist_at(&h, 1) >= (1ull << 36) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nothing_counted, clear),
		cmocka_unit_test_setup(test_error_is_bounded, clear),
		cmocka_unit_test_setup(test_shares, clear),
		cmocka_unit_test_setup(test_what_is_too_long_counts_as_the_longest, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

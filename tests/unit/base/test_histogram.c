/* SPDX-License-Identifier: BSD-3-Clause
 * Buckets, quantiles and differences of histograms. */
#include "tests/unit/base/unit.h"
#include <string.h>
#include "dataplane/base/counters.h"

static void test_every_value_is_in_a_bucket_that_holds_it(void **state)
{
	unsigned last = 0;

	(void)state;
	for (unsigned bit = 0; bit < HISTOGRAM_BITS; bit++) {
		for (int64_t d = -3; d <= 3; d++) {
			uint64_t v = ((uint64_t)1 << bit) + (uint64_t)d;
			if ((int64_t)v < 0)
				continue;
			unsigned b = histogram_bucket(v);
			assert_true(b < HISTOGRAM_BUCKETS);
			assert_true(v <= histogram_upper(b));
			assert_true(b == 0 || v > histogram_upper(b - 1));
			/* known to an eighth */
			assert_true(histogram_upper(b) - v <= v / HISTOGRAM_SUB);
			last = MAX(last, b);
		}
	}
	assert_int_equal(last, HISTOGRAM_BUCKETS - HISTOGRAM_SUB);
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	for (unsigned b = 1; b < HISTOGRAM_BUCKETS; b++) {
		assert_true(histogram_upper(b) > histogram_upper(b - 1));
		assert_int_equal(histogram_bucket(histogram_upper(b)), b);
	}
}

static void test_quantiles(void **state)
{
	static struct histogram h;
	static struct histogram_view v, later, diff;

	(void)state;
	memset(&h, 0, sizeof(h));
	memset(&v, 0, sizeof(v));
	histogram_add_to(&h, &v);
	assert_int_equal(histogram_quantile(&v, 0.5), 0);
	for (uint64_t i = 1; i <= 1000; i++)
		histogram_count(&h, i);
	memset(&v, 0, sizeof(v));
	histogram_add_to(&h, &v);
	assert_int_equal(v.count, 1000);
	assert_int_equal(v.sum, 500500);
	assert_int_equal(v.max, 1000);
	uint64_t median = histogram_quantile(&v, 0.5), p99 = histogram_quantile(&v, 0.99);
	assert_true(median >= 500 && median <= 500 + 500 / 8);
	assert_true(p99 >= 990 && p99 <= 1000);
	assert_int_equal(histogram_quantile(&v, 1.0), 1000);
	for (unsigned i = 0; i < 10; i++)
		histogram_count(&h, 1u << 20);
	memset(&later, 0, sizeof(later));
	histogram_add_to(&h, &later);
	histogram_since(&later, &v, &diff);
	assert_int_equal(diff.count, 10);
	assert_int_equal(diff.sum, 10u << 20);
	assert_int_equal(histogram_quantile(&diff, 0.5), 1u << 20);
}

static void test_all_threads_are_added_up(void **state)
{
	static struct histogram_view v;

	(void)state;
	counters_thread_init("one");
	histogram_add(HIST_STORE_COMMIT, 100);
	counters_thread_init("two"); /* the block of one stays registered */
	histogram_add(HIST_STORE_COMMIT, 200);
	histograms_sum(HIST_STORE_COMMIT, &v);
	assert_int_equal(v.count, 2);
	assert_int_equal(v.sum, 300);
	assert_int_equal(v.max, 200);
	for (unsigned i = 0; i < HISTOGRAM_N; i++)
		assert_true(histogram_table[i].name[0] && histogram_table[i].help[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_value_is_in_a_bucket_that_holds_it),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_all_threads_are_added_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

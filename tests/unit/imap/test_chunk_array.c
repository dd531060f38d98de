/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/access/chunk_array.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"

#define CHUNKS 1024

struct element {
	uint32_t number, more[2];
};
#define PER_CHUNK     (CHUNK_DATA / sizeof(struct element))
#define PER_DIRECTORY (CHUNK_ARRAY_CHUNKS * PER_CHUNK)

static void fill(struct chunk_array *a, uint32_t n)
{
	while (a->n < n) {
		uint32_t number = a->n;
		struct element *e = chunk_array_push(a);
		assert_non_null(e);
		e->number = number;
	}
}

static void test_elements_stay_where_they_are(void **state)
{
	(void)state;
	uint32_t before = chunk_pool_free_count();
	struct chunk_array a;

	chunk_array_init(&a, sizeof(struct element));
	fill(&a, 1);
	const struct element *first = chunk_array_at(&a, 0);
	fill(&a, PER_DIRECTORY + 1000);
	assert_ptr_equal(first, chunk_array_at(&a, 0));
	for (uint32_t i = 0; i < a.n; i++)
		assert_int_equal(((struct element *)chunk_array_at(&a, i))->number, i);
	assert_true(chunk_array_max(&a) > 1000000);
	chunk_array_free(&a);
	assert_int_equal(chunk_pool_free_count(), before);
}

static void test_what_is_cut_off_is_given_back(void **state)
{
	(void)state;
	uint32_t before = chunk_pool_free_count();
	struct chunk_array a;

	chunk_array_init(&a, sizeof(struct element));
	fill(&a, PER_DIRECTORY + 1);
	assert_int_equal(chunk_pool_free_count(), before - CHUNK_ARRAY_CHUNKS - 3);
	chunk_array_truncate(&a, PER_DIRECTORY);
	assert_int_equal(chunk_pool_free_count(), before - CHUNK_ARRAY_CHUNKS - 1);
	fill(&a, PER_DIRECTORY + 1);
	chunk_array_truncate(&a, 1);
	assert_int_equal(chunk_pool_free_count(), before - 2);
	chunk_array_free(&a);
	assert_int_equal(chunk_pool_free_count(), before);
}

static void test_an_empty_pool_ends_it(void **state)
{
	(void)state;
	uint32_t before = chunk_pool_free_count();
	struct chunk_array a;

	chunk_array_init(&a, sizeof(struct element));
	while (chunk_array_push(&a)) {
	}
	assert_int_equal(chunk_pool_free_count(), 0);
	assert_int_equal(a.n, (CHUNKS - 3) * PER_CHUNK);
	chunk_array_free(&a);
	assert_int_equal(chunk_pool_free_count(), before);
}

static int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	return chunk_pool_init(CHUNKS, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elements_stay_where_they_are),
		cmocka_unit_test(test_what_is_cut_off_is_given_back),
		cmocka_unit_test(test_an_empty_pool_ends_it),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

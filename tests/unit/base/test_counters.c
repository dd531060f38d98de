/* SPDX-License-Identifier: BSD-3-Clause
 * Counters of several threads. */
#include "tests/unit/base/unit.h"
#include <pthread.h>
#include <string.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/list.h"

static void *count(void *name)
{
	counters_thread_init(name);
	for (unsigned i = 0; i < 1000; i++)
		counter_inc(CTR_CORE_LAPS);
	counter_add(CTR_CORE_BUSY_US, 5);
	return NULL;
}

static void test_the_sum_is_over_all_threads(void **state)
{
	pthread_t a, b;

	(void)state;
	counter_inc(CTR_CORE_LAPS); /* no block: not counted */
	assert_int_equal(counters_sum(CTR_CORE_LAPS), 0);
	pthread_create(&a, NULL, count, "one");
	pthread_create(&b, NULL, count, "two");
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	assert_int_equal(counters_count(), 2);
	assert_int_equal(counters_sum(CTR_CORE_LAPS), 2000);
	assert_int_equal(counters_sum(CTR_CORE_BUSY_US), 10);
	assert_non_null(counters_get(1));
	assert_null(counters_get(2));
}

static void test_every_counter_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNTER_N; i++) {
		assert_true(counter_table[i].name[0] && counter_table[i].unit[0]);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(counter_table[i].name, counter_table[k].name);
	}
}

struct item {
	int value;
	struct list node;
};

static void test_a_list_keeps_order_and_forgets_the_removed(void **state)
{
	struct item items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
	struct list head;
	int expected = 0;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_pop_head(&head));
	list_push_tail(&head, &items[1].node);
	list_push_tail(&head, &items[2].node);
	list_push_head(&head, &items[0].node);
	list_for_each(it, &head)
		assert_int_equal(list_entry(it, struct item, node)->value, expected++);
	assert_int_equal(expected, 3);
	list_remove(&items[1].node);
	list_remove(&items[1].node); /* on no list: nothing happens */
	assert_ptr_equal(list_pop_head(&head), &items[0].node);
	list_for_each_safe(it, next, &head) list_remove(it);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sum_is_over_all_threads),
		cmocka_unit_test(test_every_counter_has_a_name_of_its_own),
		cmocka_unit_test(test_a_list_keeps_order_and_forgets_the_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Queue ids: unique and rising whatever the clock does. */
#include "tests/unit/base/unit.h"
#include "dataplane/base/rt/ids.h"

static const uint64_t noon_ms = 1700000000000ull;

static void test_ids_rise_within_a_millisecond(void **state)
{
	struct ids g;
	uint64_t last = 0;

	(void)state;
	ids_init(&g, 3, 0);
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t id = ids_next(&g, noon_ms);
		assert_true(id > last);
		assert_int_equal(id >> 10 & 63, 3);
		last = id;
	}
	/* 1,024 in each millisecond: the generator went ahead of the clock. */
	assert_true(last >> 16 == noon_ms + 4);
}

static void test_a_clock_that_steps_back_repeats_nothing(void **state)
{
	struct ids g;
	uint64_t last;

	(void)state;
	ids_init(&g, 0, 0);
	last = ids_next(&g, noon_ms);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t id = ids_next(&g, noon_ms - 3600000 - i);
		assert_true(id > last);
		last = id;
	}
}

static void test_a_restart_begins_above_the_floor(void **state)
{
	struct ids g;

	(void)state;
	/* The floor is another core's highest id: all of this core's are above. */
	uint64_t floor = noon_ms << 16 | 63ull << 10 | 1023;
	ids_init(&g, 0, floor);
	assert_true(ids_next(&g, noon_ms - 1000) > floor);
	ids_init(&g, 0, floor);
	assert_true(ids_next(&g, noon_ms + 1) > floor);
}

static void test_cores_never_make_the_same_id(void **state)
{
	struct ids a, b;

	(void)state;
	ids_init(&a, 1, 0);
	ids_init(&b, 2, 0);
	for (unsigned i = 0; i < 2000; i++)
		assert_true(ids_next(&a, noon_ms) != ids_next(&b, noon_ms));
}

/* Ids of one lane are found quickly, and all lanes get as many: at one core's full rate too. */
static void test_lanes(void **state)
{
	(void)state;
	for (unsigned lanes = 1; lanes <= 16; lanes++) {
		uint32_t count[16] = {0}, most = 0;
		struct ids g;
		ids_init(&g, 3, 0);
		for (unsigned i = 0; i < 32768; i++)
			count[ids_lane(ids_next(&g, noon_ms + i / 1000), lanes)]++;
		for (unsigned lane = 0; lane < lanes; lane++) {
			assert_in_range(
				count[lane], 32768 / lanes * 9 / 10, 32768 / lanes * 11 / 10 + 1);
			for (unsigned i = 0; i < 1000; i++) {
				uint64_t before = (g.last_ms - noon_ms) * 1024 + g.sequence;
				uint64_t id = ids_next_in(&g, noon_ms, lane, lanes);
				uint64_t after = (g.last_ms - noon_ms) * 1024 + g.sequence;
				assert_int_equal(ids_lane(id, lanes), lane);
				most = MAX(most, (uint32_t)(after - before));
			}
		}
		assert_in_range(most, 1, 16 * lanes);
	}
	/* What is on disks must not move. */
	assert_int_equal(ids_lane(0x19aca2b3c4d50801, 2), 0);
	assert_int_equal(ids_lane(0x19aca2b3c4d50801, 3), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lanes),
		cmocka_unit_test(test_ids_rise_within_a_millisecond),
		cmocka_unit_test(test_a_clock_that_steps_back_repeats_nothing),
		cmocka_unit_test(test_a_restart_begins_above_the_floor),
		cmocka_unit_test(test_cores_never_make_the_same_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

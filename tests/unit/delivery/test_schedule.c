/* SPDX-License-Identifier: BSD-3-Clause
 * The schedule against a plain array. */
#include "tests/unit/delivery/unit.h"
#include "delivery/schedule.h"

#define NODES 300
#define STEPS 200000

struct model {
	bool used, waiting;
	uint64_t id, next_ms;
	uint32_t rcpt, node;
};

static struct model model[NODES];
static uint64_t seed = 42;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

static struct model *model_pick(bool used)
{
	uint32_t from = rnd(NODES);

	for (uint32_t i = 0; i < NODES; i++) {
		struct model *m = &model[(from + i) % NODES];
		if (m->used == used)
			return m;
	}
	return NULL;
}

static uint64_t model_min(void)
{
	uint64_t min = UINT64_MAX;

	for (uint32_t i = 0; i < NODES; i++) {
		if (model[i].used && model[i].waiting)
			min = MIN(min, model[i].next_ms);
	}
	return min;
}

static void step_add(struct schedule *s)
{
	struct model *m = model_pick(false);

	if (!m) {
		assert_int_equal(schedule_add(s, 1, 99999, 0, 0), SCHEDULE_NONE);
		return;
	}
	uint64_t id = rnd(40);
	uint32_t rcpt = rnd(20);
	if (schedule_find(s, id, rcpt) != SCHEDULE_NONE)
		return;
	*m = (struct model){.used = true, .id = id, .rcpt = rcpt};
	m->node = schedule_add(s, id, rcpt, 7, 3);
	assert_int_not_equal(m->node, SCHEDULE_NONE);
}

static void step_wait(struct schedule *s)
{
	struct model *m = model_pick(true);

	if (!m)
		return;
	m->waiting = true;
	m->next_ms = rnd(1000);
	schedule_wait(s, m->node, m->next_ms);
}

static void step_take(struct schedule *s)
{
	uint64_t now = rnd(1000), min = model_min();
	uint32_t i = schedule_take_due(s, now);

	assert_int_equal(i != SCHEDULE_NONE, min <= now);
	for (uint32_t k = 0; i != SCHEDULE_NONE && k < NODES; k++) {
		if (model[k].used && model[k].node == i) {
			assert_true(model[k].waiting);
			assert_int_equal(model[k].next_ms, min);
			model[k].waiting = false;
			return;
		}
	}
	assert_int_equal(i, SCHEDULE_NONE);
}

static void step_remove(struct schedule *s)
{
	struct model *m = model_pick(true);

	if (!m)
		return;
	schedule_remove(s, m->node);
	assert_int_equal(schedule_find(s, m->id, m->rcpt), SCHEDULE_NONE);
	m->used = false;
}

static void test_schedule_agrees_with_an_array(void **state)
{
	static void (*const steps[])(struct schedule *) = {
		step_add, step_add, step_wait, step_wait, step_take, step_remove};
	struct schedule s;

	(void)state;
	assert_int_equal(schedule_init(&s, NODES), 0);
	for (uint32_t i = 0; i < STEPS; i++) {
		steps[rnd(ARRAY_LEN(steps))](&s);
		assert_int_equal(schedule_next_ms(&s), model_min());
		struct model *m = model_pick(true);
		if (m)
			assert_int_equal(schedule_find(&s, m->id, m->rcpt), m->node);
	}
	schedule_fini(&s);
}

static void test_take_in_order_and_full(void **state)
{
	struct schedule s;
	uint64_t last = 0;

	(void)state;
	assert_int_equal(schedule_init(&s, 1000), 0);
	for (uint32_t i = 0; i < 1000; i++)
		schedule_wait(&s, schedule_add(&s, i, 0, 0, 0), rnd(100000));
	assert_int_equal(schedule_room(&s), 0);
	assert_int_equal(schedule_add(&s, 5000, 0, 0, 0), SCHEDULE_NONE);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t n = schedule_take_due(&s, UINT64_MAX);
		assert_true(schedule_node(&s, n)->next_ms >= last);
		last = schedule_node(&s, n)->next_ms;
		schedule_remove(&s, n);
	}
	assert_int_equal(schedule_room(&s), 1000);
	schedule_fini(&s);
}

static void test_retired_nodes_stay_known_until_buried(void **state)
{
	struct schedule s;

	(void)state;
	assert_int_equal(schedule_init(&s, 4), 0);
	uint32_t n = schedule_add(&s, 1, 2, 0, 0);
	schedule_wait(&s, n, 5);
	schedule_retire(&s, n);
	assert_int_equal(schedule_find(&s, 1, 2), n);
	assert_int_equal(schedule_node(&s, n)->state, SCHEDULE_GONE);
	assert_int_equal(schedule_take_due(&s, 100), SCHEDULE_NONE);
	schedule_bury(&s);
	assert_int_equal(schedule_find(&s, 1, 2), SCHEDULE_NONE);
	assert_int_equal(schedule_room(&s), 4);
	schedule_fini(&s);
}

static void test_eviction_takes_the_latest(void **state)
{
	struct schedule s;
	uint32_t budget = 10000, evicted = 0, n;

	(void)state;
	assert_int_equal(schedule_init(&s, 4096), 0);
	for (uint32_t i = 0; i < 4096; i++)
		schedule_wait(&s, schedule_add(&s, i, 0, 0, 0), rnd(1000000));
	uint64_t late = schedule_late_ms(&s, 7);
	while ((n = schedule_evict_next(&s, late, &budget)) != SCHEDULE_NONE) {
		assert_true(schedule_node(&s, n)->next_ms > late);
		schedule_remove(&s, n);
		evicted++;
	}
	assert_in_range(evicted, 4096 / 32, 4096 / 3);
	assert_int_equal(budget, 0);
	schedule_fini(&s);
}

static void test_lists_are_first_in_first_out(void **state)
{
	struct schedule_list l = SCHEDULE_LIST_EMPTY;
	struct schedule s;

	(void)state;
	assert_int_equal(schedule_init(&s, 8), 0);
	for (uint32_t i = 0; i < 3; i++)
		schedule_list_push(&s, &l, schedule_add(&s, i, 0, 0, 0));
	schedule_list_push_head(&s, &l, schedule_add(&s, 9, 0, 0, 0));
	assert_int_equal(l.count, 4);
	assert_int_equal(schedule_node(&s, schedule_list_pop(&s, &l))->id, 9);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(schedule_node(&s, schedule_list_pop(&s, &l))->id, i);
	assert_int_equal(schedule_list_pop(&s, &l), SCHEDULE_NONE);
	schedule_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedule_agrees_with_an_array),
		cmocka_unit_test(test_take_in_order_and_full),
		cmocka_unit_test(test_retired_nodes_stay_known_until_buried),
		cmocka_unit_test(test_eviction_takes_the_latest),
		cmocka_unit_test(test_lists_are_first_in_first_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/tcp_table.h"

#define N 1000

static struct tcp_key key_of(unsigned i, unsigned spread)
{
	return (struct tcp_key){
		.local = ip_from_v4(0x0100007f),
		.peer = ip_from_v4(i / spread),
		.local_port = 25,
		.peer_port = (uint16_t)(i % spread),
	};
}

static bool found(const struct tcp_table *t, uint32_t hash, uint32_t want)
{
	uint32_t pos = 0, ref;

	while ((ref = tcp_table_next(t, hash, &pos)) != TCP_REF_NONE) {
		if (ref == want)
			return true;
	}
	return false;
}

static struct tcp_slot *slots_make(uint32_t n)
{
	struct tcp_slot *slots = malloc(n * sizeof(*slots));

	tcp_table_clear(slots, n);
	return slots;
}

static void table_make(struct tcp_table *t, uint32_t slots, uint32_t n)
{
	struct siphash_key key = {1, 2};

	tcp_table_init(t, slots_make(slots), slots, n, &key);
}

static void grow(struct tcp_table *t)
{
	tcp_table_grow(t, slots_make(tcp_table_next_slots(t)));
}

static uint64_t next_random(uint64_t *r)
{
	return (*r = *r * 6364136223846793005ull + 1442695040888963407ull) >> 33;
}

/* What must be there, in a plain array. */
struct model {
	bool in[N];
	uint32_t hash[N], n;
};

static void model_make(struct model *m, const struct tcp_table *t)
{
	*m = (struct model){.n = 0};
	for (unsigned i = 0; i < N; i++) {
		struct tcp_key k = key_of(i, 100);
		m->hash[i] = tcp_table_hash(t, &k);
		if (i % 10 == 0 && i)
			m->hash[i] = m->hash[i - 1]; /* equal hashes */
	}
}

static void model_check(const struct model *m, const struct tcp_table *t)
{
	assert_int_equal(t->used, m->n);
	for (unsigned k = 0; k < N; k++)
		assert_int_equal(found(t, m->hash[k], k), m->in[k]);
}

/* Add one, take it out, or put it in another's place. */
static void model_step(struct model *m, struct tcp_table *t, unsigned i, bool replace)
{
	unsigned other = (i + N / 2) % N;

	if (m->in[i] && replace && !m->in[other]) {
		tcp_table_replace(t, m->hash[i], i, other);
		m->hash[other] = m->hash[i];
		m->in[other] = true;
	} else if (m->in[i]) {
		tcp_table_remove(t, m->hash[i], i);
		m->n--;
	} else {
		assert_true(tcp_table_add(t, m->hash[i], i));
		m->n++;
	}
	m->in[i] = !m->in[i];
}

static void test_random_adds_and_removes_agree_with_an_array(void **state)
{
	struct tcp_table t;
	struct model m;
	uint64_t r = 7;

	(void)state;
	table_make(&t, tcp_table_slots(N), N);
	assert_int_equal(tcp_table_next_slots(&t), 0);
	model_make(&m, &t);
	for (unsigned round = 0; round < 50000; round++) {
		model_step(&m, &t, (unsigned)next_random(&r) % N, next_random(&r) % 4 == 0);
		if (round % 1000 == 0)
			model_check(&m, &t);
	}
	free(t.now.at);
}

/* From 16 slots to all, in steps of each size; everything is looked up in every state between. */
static void growth_agrees(uint32_t step, uint64_t r)
{
	struct tcp_table t;
	struct model m;
	unsigned growths = 0;

	table_make(&t, 16, N);
	model_make(&m, &t);
	for (unsigned round = 0; round < 4000; round++) {
		unsigned i = (unsigned)next_random(&r) % N;
		/* more come than go, until half are there */
		if (!m.in[i] || m.n > N / 2 || next_random(&r) % 4 == 0)
			model_step(&m, &t, i, next_random(&r) % 4 == 0);
		uint32_t before = t.moved;
		bool growing = tcp_table_growing(&t);
		struct tcp_slot *spent = tcp_table_step(&t, step);
		assert_true(!growing || t.moved - before <= step);
		assert_true(!spent || growing);
		free(spent);
		if (tcp_table_tight(&t)) {
			grow(&t);
			growths++;
		}
		if (round < 600 || tcp_table_growing(&t) || round % 500 == 0)
			model_check(&m, &t);
	}
	assert_true(growths >= 3);
	assert_int_equal(tcp_table_next_slots(&t), 0);
	free(t.now.at);
	free(t.old.at);
}

static void test_growth_agrees_with_an_array_in_every_state(void **state)
{
	static const uint32_t steps[] = {1, 2, 3, 7, 32, 33, 100, 1000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++)
		growth_agrees(steps[i], 11 + i);
}

/* Not one lap: additions alone move all but the last slot before the new ones are full. */
static void test_additions_alone_end_a_growth_in_time(void **state)
{
	struct tcp_table t;
	uint32_t n = 0;

	(void)state;
	table_make(&t, 64, 100000);
	while (tcp_table_add(&t, n * 2654435761u, n))
		n++;
	assert_int_equal(n, 56); /* to 7/8 */
	grow(&t);
	for (uint32_t slots = t.old.mask + 1; slots > 1;
		slots -= MIN(slots - 1, TCP_TABLE_ADD_STEP)) {
		uint32_t before = t.moved;
		assert_true(tcp_table_add(&t, n * 2654435761u, n));
		n++;
		assert_true(t.moved - before <= TCP_TABLE_ADD_STEP);
	}
	assert_int_equal(t.moved, t.old.mask);
	free(tcp_table_step(&t, 1));
	assert_false(tcp_table_growing(&t));
	for (uint32_t i = 0; i < n; i++)
		assert_true(found(&t, i * 2654435761u, i));
	free(t.now.at);
}

static void test_full_table_refuses(void **state)
{
	struct tcp_table t;
	unsigned n = 0;

	(void)state;
	table_make(&t, tcp_table_slots(100), 100);
	while (tcp_table_add(&t, n * 2654435761u, n))
		n++;
	assert_true(n >= 100);
	assert_false(found(&t, 5, 5));
	tcp_table_remove(&t, 0, 0);
	assert_true(tcp_table_add(&t, 0, 0));
	free(t.now.at);
}

static void test_hash_depends_on_the_secret(void **state)
{
	struct siphash_key a = {1, 2}, b = {1, 3};
	struct tcp_table t = {.key = a}, u = {.key = b};
	unsigned same = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct tcp_key k = key_of(i, 100);
		same += tcp_table_hash(&t, &k) == tcp_table_hash(&u, &k);
	}
	assert_true(same < 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_adds_and_removes_agree_with_an_array),
		cmocka_unit_test(test_growth_agrees_with_an_array_in_every_state),
		cmocka_unit_test(test_additions_alone_end_a_growth_in_time),
		cmocka_unit_test(test_full_table_refuses),
		cmocka_unit_test(test_hash_depends_on_the_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

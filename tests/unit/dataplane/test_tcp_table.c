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

static void test_random_adds_and_removes_agree_with_an_array(void **state)
{
	struct siphash_key key = {1, 2};
	struct tcp_table t;
	bool in[N] = {0};
	uint32_t hash[N];
	uint64_t r = 7;

	(void)state;
	tcp_table_init(&t, malloc(tcp_table_bytes(N)), N, &key);
	for (unsigned i = 0; i < N; i++) {
		struct tcp_key k = key_of(i, 100);
		hash[i] = tcp_table_hash(&t, &k);
		if (i % 10 == 0 && i)
			hash[i] = hash[i - 1]; /* equal hashes */
	}
	for (unsigned round = 0; round < 50000; round++) {
		r = r * 6364136223846793005ull + 1442695040888963407ull;
		unsigned i = (unsigned)(r >> 33) % N;
		if (in[i])
			tcp_table_remove(&t, hash[i], i);
		else
			assert_true(tcp_table_add(&t, hash[i], i));
		in[i] = !in[i];
		if (round % 1000 == 0) {
			for (unsigned k = 0; k < N; k++)
				assert_int_equal(found(&t, hash[k], k), in[k]);
		}
	}
	free(t.slots);
}

static void test_full_table_refuses(void **state)
{
	struct siphash_key key = {3, 4};
	struct tcp_table t;
	unsigned n = 0;

	(void)state;
	tcp_table_init(&t, malloc(tcp_table_bytes(100)), 100, &key);
	while (tcp_table_add(&t, n * 2654435761u, n))
		n++;
	assert_true(n >= 100);
	assert_false(found(&t, 5, 5));
	tcp_table_remove(&t, 0, 0);
	assert_true(tcp_table_add(&t, 0, 0));
	free(t.slots);
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
		cmocka_unit_test(test_full_table_refuses),
		cmocka_unit_test(test_hash_depends_on_the_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Chunks and chains. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include <stdlib.h>
#include "dataplane/base/rt/chunk.h"
#include "dataplane/base/rt/eal.h"

#define CHUNKS 16

static uint8_t data[CHUNKS * CHUNK_DATA];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	return chunk_pool_init(CHUNKS, -1);
}

static int teardown(void **state)
{
	(void)state;
	chunk_pool_fini();
	return 0;
}

static void assert_holds(const struct chain *c, size_t n)
{
	static uint8_t copy[sizeof(data)];

	assert_int_equal(c->bytes, n);
	assert_int_equal(chain_read(c, 0, copy, sizeof(copy)), n);
	assert_memory_equal(copy, data, n);
}

static void test_append_fills_chunks_whatever_the_pieces(void **state)
{
	static const size_t pieces[] = {1, 7, 4079, 4080, 4081, 3 * CHUNK_DATA};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct chain c = {0};
		size_t n = 0;
		while (n + pieces[i] <= 4 * CHUNK_DATA) {
			assert_int_equal(chain_append(&c, bytes_make(data + n, pieces[i])), 0);
			n += pieces[i];
		}
		assert_holds(&c, n);
		for (struct chunk *k = c.head; k != c.tail; k = k->next)
			assert_int_equal(k->n, CHUNK_DATA);
		chain_free(&c);
		assert_int_equal(chunk_pool_free_count(), CHUNKS);
	}
}

static void test_an_empty_append_is_nothing(void **state)
{
	struct chain c = {0};

	(void)state;
	assert_int_equal(chain_append(&c, BYTES_NONE), 0);
	assert_null(c.head);
	chain_free(&c);
}

static void test_reading_starts_anywhere(void **state)
{
	struct chain c = {0};
	uint8_t out[100];

	(void)state;
	assert_int_equal(chain_append(&c, bytes_make(data, 2 * CHUNK_DATA + 10)), 0);
	assert_int_equal(chain_read(&c, CHUNK_DATA - 50, out, 100), 100);
	assert_memory_equal(out, data + CHUNK_DATA - 50, 100);
	assert_int_equal(chain_read(&c, 2 * CHUNK_DATA + 5, out, 100), 5);
	assert_int_equal(chain_read(&c, 2 * CHUNK_DATA + 10, out, 100), 0);
	assert_int_equal(chain_read(&c, UINT64_MAX, out, 100), 0);
	chain_free(&c);
}

static void test_join_moves_everything(void **state)
{
	struct chain a = {0}, b = {0}, none = {0};

	(void)state;
	assert_int_equal(chain_append(&a, bytes_make(data, 100)), 0);
	assert_int_equal(chain_append(&b, bytes_make(data + 100, 5000)), 0);
	chain_join(&a, &b);
	assert_null(b.head);
	assert_int_equal(b.bytes, 0);
	chain_join(&a, &none);
	assert_holds(&a, 5100);
	chain_join(&none, &a);
	assert_null(a.head);
	/* Appending goes on in the last chunk. */
	assert_int_equal(chain_append(&none, bytes_make(data + 5100, 900)), 0);
	assert_holds(&none, 6000);
	chain_free(&none);
	assert_int_equal(chunk_pool_free_count(), CHUNKS);
}

static void test_pop_takes_from_the_front(void **state)
{
	struct chain c = {0};

	(void)state;
	assert_int_equal(chain_append(&c, bytes_make(data, CHUNK_DATA + 1)), 0);
	struct chunk *first = chain_pop(&c), *second = chain_pop(&c);
	assert_int_equal(first->n, CHUNK_DATA);
	assert_int_equal(second->n, 1);
	assert_null(chain_pop(&c));
	assert_null(c.tail);
	assert_int_equal(c.bytes, 0);
	chunk_put(first);
	chunk_put(second);
}

static void test_an_empty_pool_leaves_the_chain_as_it_was(void **state)
{
	struct chain c = {0}, rest = {0};

	(void)state;
	assert_int_equal(chain_append(&c, bytes_make(data, 100)), 0);
	/* 15 chunks are left; this wants the room in the tail and 16 more. */
	assert_int_equal(
		chain_append(&c, bytes_make(data + 100, CHUNKS * CHUNK_DATA - 99)), -ENOBUFS);
	assert_holds(&c, 100);
	assert_int_equal(chunk_pool_free_count(), CHUNKS - 1);
	for (unsigned i = 1; i < CHUNKS; i++) {
		struct chunk *k = chunk_get();
		assert_non_null(k);
		chain_push(&rest, k);
	}
	assert_null(chunk_get());
	assert_int_equal(chunk_pool_used_percent(), 100);
	/* What fits into the tail needs no chunk. */
	assert_int_equal(chain_append(&c, bytes_make(data + 100, CHUNK_DATA - 100)), 0);
	assert_int_equal(chain_append(&c, bytes_make(data, 1)), -ENOBUFS);
	chain_free(&c);
	chain_free(&rest);
	assert_int_equal(chunk_pool_used_percent(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_fills_chunks_whatever_the_pieces),
		cmocka_unit_test(test_an_empty_append_is_nothing),
		cmocka_unit_test(test_reading_starts_anywhere),
		cmocka_unit_test(test_join_moves_everything),
		cmocka_unit_test(test_pop_takes_from_the_front),
		cmocka_unit_test(test_an_empty_pool_leaves_the_chain_as_it_was),
	};

	eal_start_for_tests(64);
	return cmocka_run_group_tests(tests, setup, teardown);
}

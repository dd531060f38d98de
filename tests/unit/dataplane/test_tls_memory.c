/* SPDX-License-Identifier: BSD-3-Clause
 * dataplane/tls: OpenSSL's memory from lists of each thread: no block is anybody else's, whatever
 * the sizes, and whichever thread gives it back. */
#include <openssl/crypto.h>
#include <pthread.h>
#include "dataplane/tls/tls.h"
#include "tests/unit/base/unit.h"

#define BLOCKS 2000
#define TURNS  100000

struct block {
	uint8_t *p;
	size_t n;
	uint8_t mark;
};

static struct block blocks[BLOCKS];
static uint64_t seed = 1;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed >> 33) % below);
}

/* Around every edge of the classes, and far between. */
static size_t draw_size(void)
{
	switch (draw(4)) {
	case 0:
		return 1 + draw(64);
	case 1:
		return 1000 + draw(100);
	case 2:
		return 20 * 1024 - 20 + draw(40);
	default:
		return 1 + draw(30000);
	}
}

static void assert_marked(const struct block *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(b->p[i], b->mark);
}

static void mark(struct block *b, size_t n)
{
	b->n = n;
	b->mark = (uint8_t)draw(256);
	assert_non_null(b->p);
	assert_int_equal((uintptr_t)b->p % 16, 0);
	memset(b->p, b->mark, n);
}

static void let_go(struct block *b)
{
	assert_marked(b, b->n);
	OPENSSL_free(b->p);
	*b = (struct block){0};
}

static void test_every_block_is_its_owners(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TURNS; i++) {
		struct block *b = &blocks[draw(BLOCKS)];
		size_t n = draw_size();
		if (!b->p) {
			b->p = OPENSSL_malloc(n);
			mark(b, n);
		} else if (draw(3) == 0) {
			b->p = OPENSSL_realloc(b->p, n);
			assert_marked(b, MIN(n, b->n));
			mark(b, n);
		} else {
			let_go(b);
		}
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (blocks[i].p)
			let_go(&blocks[i]);
	}
}

static void test_nothing(void **state)
{
	(void)state;
	assert_null(OPENSSL_malloc(0));
	OPENSSL_free(NULL);
	uint8_t *p = OPENSSL_realloc(NULL, 10);
	assert_non_null(p);
	assert_null(OPENSSL_realloc(p, 0));
}

static void *give_back_all(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < BLOCKS; i++)
		let_go(&blocks[i]);
	/* They are this thread's now. */
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i].p = OPENSSL_malloc(100);
		mark(&blocks[i], 100);
	}
	return NULL;
}

static void test_another_thread_gives_back(void **state)
{
	pthread_t thread;

	(void)state;
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i].p = OPENSSL_malloc(100);
		mark(&blocks[i], 100);
	}
	assert_int_equal(pthread_create(&thread, NULL, give_back_all, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		let_go(&blocks[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_block_is_its_owners),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_another_thread_gives_back),
	};

	if (!tls_memory_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

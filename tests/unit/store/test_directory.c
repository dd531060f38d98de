/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/directory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static const char *const domains[] = {"example.org", "b.example.org"};
static struct directory_table *d;

static int setup(void **state)
{
	(void)state;
	d = directory_create(domains, 2, '+');
	return d ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	directory_destroy(&d);
	return 0;
}

static enum directory_verdict ask(const char *address, uint32_t *account_r)
{
	struct directory_entry e;
	enum directory_verdict v =
		directory_public(d)->lookup(directory_public(d), bytes_str(address), &e);

	*account_r = e.account;
	return v;
}

static void test_verdicts(void **state)
{
	(void)state;
	uint32_t a;

	assert_int_equal(
		directory_set(d, BYTES_LIT("Ann@Example.ORG"), 7, 0, DIRECTORY_STATE_OK), 0);
	assert_int_equal(ask("ann@example.org", &a), DIRECTORY_OK);
	assert_int_equal(a, 7);
	assert_int_equal(ask("ANN@example.org", &a), DIRECTORY_OK);
	assert_int_equal(ask("ann@b.example.org", &a), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(ask("ann@c.example.org", &a), DIRECTORY_REMOTE);
	assert_int_equal(ask("ann@example.or", &a), DIRECTORY_REMOTE);
	assert_int_equal(ask("ann", &a), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(ask("", &a), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(
		directory_set(d, BYTES_LIT("ann@example.org"), 7, 0, DIRECTORY_STATE_DISABLED), 0);
	assert_int_equal(ask("ann@example.org", &a), DIRECTORY_DISABLED);
	assert_int_equal(
		directory_set(d, BYTES_LIT("ann@example.org"), 7, 0, DIRECTORY_STATE_GONE), 0);
	assert_int_equal(ask("ann@example.org", &a), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(
		directory_set(d, BYTES_LIT("ann@example.org"), 9, 0, DIRECTORY_STATE_OK), 0);
	assert_int_equal(ask("ann@example.org", &a), DIRECTORY_OK);
	assert_int_equal(a, 9);
}

static void test_lengths(void **state)
{
	(void)state;
	char longest[ADDRESS_MAX + 2];
	uint32_t a;

	memset(longest, 'a', sizeof(longest));
	memcpy(longest + ADDRESS_MAX - 12, "@example.org", 12);
	longest[ADDRESS_MAX] = '\0';
	assert_int_equal(directory_set(d, bytes_str(longest), 1, 0, DIRECTORY_STATE_OK), 0);
	assert_int_equal(ask(longest, &a), DIRECTORY_OK);
	assert_int_equal(
		directory_set(d, bytes_make(longest, ADDRESS_MAX + 1), 1, 0, DIRECTORY_STATE_OK),
		-EINVAL);
	longest[ADDRESS_MAX] = 'a';
	longest[ADDRESS_MAX + 1] = '\0';
	assert_int_not_equal(ask(longest, &a), DIRECTORY_OK);
}

#define MANY 300000

static void name_of(uint32_t i, char out[64])
{
	snprintf(out, 64, "some.user.%u@example.org", i);
}

static atomic_bool stop;
static atomic_uint added;

static void *reading(void *arg)
{
	uint64_t *wrong = arg;
	char name[64];
	uint32_t a, i = 0;

	while (!atomic_load(&stop)) {
		uint32_t n = atomic_load_explicit(&added, memory_order_acquire);
		if (n == 0)
			continue;
		i = (i * 1664525u + 1013904223u);
		name_of(i % n, name);
		if (ask(name, &a) != DIRECTORY_OK || a != i % n + 1)
			++*wrong;
	}
	return NULL;
}

static void test_reading_while_it_grows_and_memory_per_address(void **state)
{
	(void)state;
	uint64_t wrong = 0;
	pthread_t thread;
	char name[64];

	assert_int_equal(pthread_create(&thread, NULL, reading, &wrong), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		name_of(i, name);
		assert_int_equal(directory_reserve(d, 1000), 0);
		assert_int_equal(
			directory_set(d, bytes_str(name), i + 1, 0, DIRECTORY_STATE_OK), 0);
		atomic_store_explicit(&added, i + 1, memory_order_release);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_true(wrong == 0);
	double per = (double)directory_bytes(d) / MANY;
	print_message("%.1f octets per address\n", per);
	assert_true(per <= 128);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_verdicts),
		T(test_lengths),
		T(test_reading_while_it_grows_and_memory_per_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/guess.h"
#include <pthread.h>
#include "tests/unit/smtp/unit.h"

static uint64_t now_us;

static unsigned wrong(const char *peer, const char *user, const char *password)
{
	struct ip_addr ip;
	struct guess g;

	if (peer)
		assert_int_equal(ip_parse(bytes_str(peer), &ip), 0);
	guess_make(&g, peer ? &ip : NULL, bytes_str(user), bytes_str(password));
	return (unsigned)(guess_wrong_us(&g, now_us) / US_PER_SEC);
}

/* What an attempt would have to wait whatever its outcome. */
static unsigned waits(const char *peer, const char *user)
{
	struct ip_addr ip;
	struct guess g;

	assert_int_equal(ip_parse(bytes_str(peer), &ip), 0);
	guess_make(&g, &ip, bytes_str(user), BYTES_LIT("x"));
	return (unsigned)(guess_wait_us(&g, now_us) / US_PER_SEC);
}

static int begin(void **state)
{
	(void)state;
	guess_init();
	now_us = 1000 * US_PER_SEC;
	return 0;
}

/* A name of its own for each guess. */
static const char *name(const char *of, unsigned i)
{
	static char text[8][32];
	char *out = text[i % 8];

	snprintf(out, sizeof(text[0]), "%s%u@example.org", of, i);
	return out;
}

static void test_a_peer_waits_longer_and_longer(void **state)
{
	static const unsigned steps[] = {2, 4, 8, 15, 15, 15};
	static const unsigned before[] = {0, 0, 2, 4, 8, 15};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		assert_int_equal(waits("198.18.0.1", name("user", i)), before[i]);
		assert_int_equal(wrong("198.18.0.1", name("user", i), "x"), steps[i]);
	}
	/* Looking does not count, and does not renew. */
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(waits("198.18.0.1", name("user", 0)), 15);
	assert_int_equal(wrong("198.18.0.2", name("user", 9), "x"), 2);
	now_us += GUESS_FORGOTTEN_US + 2 * US_PER_SEC;
	assert_int_equal(wrong("198.18.0.1", name("user", 10), "x"), 2);
}

static void test_a_customer_of_ipv6_is_one_peer(void **state)
{
	(void)state;
	assert_int_equal(wrong("2001:2::1", name("user", 0), "x"), 2);
	assert_int_equal(wrong("2001:2::2", name("user", 1), "x"), 4);
	assert_int_equal(wrong("2001:2:0:ffff::1", name("user", 2), "x"), 8);
	assert_int_equal(wrong("2001:2:1::1", name("user", 3), "x"), 2);
}

static void test_the_same_password_costs_no_more(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(wrong("198.18.0.1", "user@example.org", "old"), 2);
	assert_int_equal(wrong("198.18.0.1", "user@example.org", "other"), 4);
	/* What is not known cannot be the same. */
	assert_int_equal(wrong("198.18.0.1", "user@example.org", ""), 8);
	assert_int_equal(wrong("198.18.0.1", "user@example.org", ""), 15);
}

static void test_many_peers_at_one_account(void **state)
{
	char peer[32];
	unsigned last = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(peer, sizeof(peer), "198.18.1.%u", i + 1);
		last = wrong(peer, i % 2 ? "User@Example.org" : "user@example.ORG", name("p", i));
		if (i < GUESS_ACCOUNT_FREE)
			assert_int_equal(last, 2);
	}
	assert_int_equal(last, 15);
	assert_int_equal(waits("198.18.2.1", "user@example.org"), 15);
	assert_int_equal(wrong("198.18.2.1", "other@example.org", "x"), 2);
	now_us += GUESS_ACCOUNT_US + 2 * US_PER_SEC;
	assert_int_equal(wrong("198.18.2.2", "user@example.org", "x"), 2);
}

static void test_own_networks_are_not_counted_but_their_accounts_are(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(wrong(NULL, name("user", i), "x"), 2);
	for (unsigned i = 0; i < 30; i++)
		wrong(NULL, "user@example.org", name("p", i));
	assert_int_equal(wrong(NULL, "user@example.org", "x"), 15);
}

/* More peers than places: the table forgets, and never goes wrong. */
static void test_a_flood_is_bounded(void **state)
{
	char peer[32];

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(peer, sizeof(peer), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		unsigned s = wrong(peer, name("user", i), "x");
		assert_in_range(s, 2, 15);
	}
}

/* Before any of them is known to be wrong. */
static void test_how_many_at_once(void **state)
{
	struct ip_addr ip, other;
	struct guess g[GUESS_ASKING_MAX], more, own;

	(void)state;
	guess_init();
	assert_int_equal(ip_parse(BYTES_LIT("192.0.2.7"), &ip), 0);
	assert_int_equal(ip_parse(BYTES_LIT("192.0.2.8"), &other), 0);
	for (unsigned i = 0; i < GUESS_ASKING_MAX; i++) {
		char user[16];
		snprintf(user, sizeof(user), "user%u", i);
		guess_make(&g[i], &ip, bytes_str(user), BYTES_LIT("x"));
		assert_true(guess_enter(&g[i]));
	}
	guess_make(&more, &ip, BYTES_LIT("another"), BYTES_NONE);
	assert_false(guess_enter(&more));
	assert_false(guess_enter(&more)); /* a refusal is none under way */
	guess_make(&own, NULL, BYTES_LIT("another"), BYTES_NONE);
	assert_true(guess_enter(&own));
	guess_leave(&own);
	guess_make(&own, &other, BYTES_LIT("another"), BYTES_NONE);
	assert_true(guess_enter(&own));
	guess_leave(&own);
	guess_leave(&g[3]);
	assert_true(guess_enter(&more));
	assert_false(guess_enter(&g[3]));
}

static void *guess_on(void *arg)
{
	struct ip_addr ip;
	struct guess g;

	if (ip_parse(BYTES_LIT("198.18.0.1"), &ip) < 0)
		return NULL;
	guess_make(&g, &ip, bytes_str(arg), BYTES_NONE);
	for (unsigned i = 0; i < 1000; i++)
		guess_wrong_us(&g, now_us);
	return NULL;
}

static void test_threads_count_together(void **state)
{
	pthread_t thread[4];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, guess_on,
					 (void *)(uintptr_t)name("user", i)),
			0);
	for (unsigned i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(wrong("198.18.0.1", name("user", 9), "x"), 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_how_many_at_once),
		cmocka_unit_test_setup(test_a_peer_waits_longer_and_longer, begin),
		cmocka_unit_test_setup(test_a_customer_of_ipv6_is_one_peer, begin),
		cmocka_unit_test_setup(test_the_same_password_costs_no_more, begin),
		cmocka_unit_test_setup(test_many_peers_at_one_account, begin),
		cmocka_unit_test_setup(
			test_own_networks_are_not_counted_but_their_accounts_are, begin),
		cmocka_unit_test_setup(test_a_flood_is_bounded, begin),
		cmocka_unit_test_setup(test_threads_count_together, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Domains and sites: sharing, limits, what makes room. */
#include "tests/unit/delivery/unit.h"
#include "delivery/dest.h"

static const struct dest_limits limits = {.domains_max = 8,
	.sites_max = 4,
	.connections_max = 5,
	.site_connections_max = 2,
	.ready_max = 3};

static struct route route_of(uint64_t key, unsigned addresses)
{
	struct route r = {
		.key = {key, key},
                  .ttl = 60, .port = 25, .host_count = 1
        };

	for (unsigned i = 0; i < addresses; i++)
		r.addresses[r.address_count++].ip = ip_from_v4(0x010012c6 + (i << 24));
	return r;
}

static struct domain *domain_of(struct dest *t, const char *name)
{
	return dest_domain_get(t, bytes_str(name));
}

static void test_domains_are_found_again_and_idle_ones_make_room(void **state)
{
	struct dest t;
	char name[16];

	(void)state;
	assert_int_equal(dest_init(&t, &limits), 0);
	struct domain *kept = domain_of(&t, "kept.example.org");
	dest_domain_ref(&t, kept);
	assert_ptr_equal(domain_of(&t, "kept.example.org"), kept);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_non_null(domain_of(&t, name));
	}
	assert_ptr_equal(domain_of(&t, "kept.example.org"), kept);
	assert_int_equal(t.domains_used, 1);
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		dest_domain_ref(&t, domain_of(&t, name));
	}
	assert_null(domain_of(&t, "one-more"));
	dest_domain_unref(&t, kept);
	assert_non_null(domain_of(&t, "one-more"));
	dest_fini(&t);
}

static void test_domains_with_one_set_share_a_site(void **state)
{
	struct dest t;
	struct route a = route_of(1, 2), b = route_of(2, 1);

	(void)state;
	assert_int_equal(dest_init(&t, &limits), 0);
	struct domain *d1 = domain_of(&t, "one"), *d2 = domain_of(&t, "two");
	dest_domain_route(d1, dest_site_get(&t, &a), 60, 1);
	dest_domain_route(d2, dest_site_get(&t, &a), 60, 1);
	assert_ptr_equal(d1->site, d2->site);
	assert_ptr_not_equal(dest_site_get(&t, &b), d1->site);
	dest_domain_resolve(&t, d1);
	assert_null(d1->site);
	assert_int_equal(d1->state, DOMAIN_RESOLVING);
	dest_fini(&t);
}

static void test_only_idle_sites_make_room(void **state)
{
	struct dest t;
	struct site *held[4];

	(void)state;
	assert_int_equal(dest_init(&t, &limits), 0);
	struct domain *d = domain_of(&t, "one");
	for (uint64_t i = 0; i < 4; i++) {
		struct route r = route_of(10 + i, 1);
		held[i] = dest_site_get(&t, &r);
		assert_non_null(held[i]);
		if (i < 3)
			dest_site_hold(&t, held[i]);
		else
			dest_domain_route(d, held[i], 60, 1);
	}
	struct route r = route_of(99, 1);
	assert_ptr_equal(dest_site_get(&t, &r), held[3]);
	assert_null(d->site);
	assert_int_equal(d->state, DOMAIN_UNKNOWN);
	dest_site_hold(&t, held[3]);
	r = route_of(100, 1);
	assert_null(dest_site_get(&t, &r));
	dest_site_release(&t, held[0]);
	assert_ptr_equal(dest_site_get(&t, &r), held[0]);
	dest_fini(&t);
}

static void test_connections_are_limited_per_site_and_in_all(void **state)
{
	struct dest t;
	struct site *s[3];

	(void)state;
	assert_int_equal(dest_init(&t, &limits), 0);
	for (uint64_t i = 0; i < 3; i++) {
		struct route r = route_of(i, 1);
		s[i] = dest_site_get(&t, &r);
		assert_false(dest_site_may_connect(&t, s[i], 0)); /* nothing ready */
		s[i]->ready_n = 10;
	}
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 2; k++) {
			assert_true(dest_site_may_connect(&t, s[i], 0));
			dest_site_connect(&t, s[i]);
		}
		assert_false(dest_site_may_connect(&t, s[i], 0));
	}
	assert_true(dest_site_may_connect(&t, s[2], 0));
	dest_site_connect(&t, s[2]);
	assert_false(dest_site_may_connect(&t, s[2], 0)); /* five in all */
	dest_site_disconnect(&t, s[0]);
	assert_true(dest_site_may_connect(&t, s[2], 0));
	/* No more than there is to send. */
	s[2]->ready_n = s[2]->opening = 1;
	assert_false(dest_site_may_connect(&t, s[2], 0));
	s[2]->ready_n = 3;
	assert_true(dest_site_full(&t, s[2], false));
	s[2]->ready_n = 2;
	assert_false(dest_site_full(&t, s[2], false));
	assert_true(dest_site_full(&t, s[2], true)); /* it has two connections */
	s[2]->ready_n = 0;
	assert_false(dest_site_full(&t, s[2], true));
	dest_fini(&t);
}

static void test_a_failed_site_rests_longer_each_time(void **state)
{
	static const uint8_t status[] = {4, 4, 1};
	struct dest t;
	struct route r = route_of(1, 1);
	uint64_t last = 0;

	(void)state;
	assert_int_equal(dest_init(&t, &limits), 0);
	struct site *s = dest_site_get(&t, &r);
	for (int i = 0; i < 8; i++) {
		dest_site_failed(s, 0, status, "connection refused", 1000);
		assert_true(s->down_until_us - 1000 >= last);
		last = s->down_until_us - 1000;
		assert_in_range(last, DEST_DOWN_MIN_US, DEST_DOWN_MAX_US);
	}
	assert_int_equal(last, DEST_DOWN_MAX_US);
	assert_true(dest_site_down(s, 1000));
	assert_false(dest_site_down(s, 1000 + last));
	dest_site_worked(s);
	assert_false(dest_site_down(s, 1000));
	dest_fini(&t);
}

static void test_addresses_that_failed_come_last(void **state)
{
	struct dest t;
	struct route r = route_of(1, 3);

	(void)state;
	assert_int_equal(dest_init(&t, &limits), 0);
	struct site *s = dest_site_get(&t, &r);
	assert_int_equal(dest_site_next_address(s, 0, 10), 0);
	s->bad_until_us[0] = 100;
	assert_int_equal(dest_site_next_address(s, 0, 10), 1);
	assert_int_equal(dest_site_next_address(s, 2, 10), 2);
	assert_int_equal(dest_site_next_address(s, 6, 10), 0);
	assert_int_equal(dest_site_next_address(s, 7, 10), -1);
	assert_int_equal(dest_site_next_address(s, 0, 100), 0);
	/* Addresses may move; their marks go with them. */
	struct route_address first = r.addresses[0];
	r.addresses[0] = r.addresses[2];
	r.addresses[2] = first;
	assert_ptr_equal(dest_site_get(&t, &r), s);
	assert_int_equal(s->bad_until_us[2], 100);
	assert_int_equal(s->bad_until_us[0], 0);
	dest_fini(&t);
}

/* Two workers with the same shares keep the limit of a site together. */
static void test_workers_share_the_limit_of_a_site(void **state)
{
	static struct dest_shares shares;
	struct dest a, b;
	struct dest_limits shared = {.shares = &shares,
		.domains_max = 4,
		.sites_max = 4,
		.connections_max = 100,
		.site_connections_max = 3,
		.ready_max = 16};
	struct route route = {
		.key = {77, 88},
                  .address_count = 1
        };

	(void)state;
	assert_int_equal(dest_init(&a, &shared), 0);
	assert_int_equal(dest_init(&b, &shared), 0);
	struct site *s = dest_site_get(&a, &route), *t = dest_site_get(&b, &route);
	s->ready_n = t->ready_n = 10;
	assert_true(dest_site_may_connect(&a, s, 0) && dest_site_may_connect(&b, t, 0));
	dest_site_connect(&a, s);
	dest_site_connect(&a, s);
	dest_site_connect(&b, t);
	assert_false(dest_site_may_connect(&a, s, 0));
	assert_false(dest_site_may_connect(&b, t, 0));
	dest_site_disconnect(&a, s);
	assert_true(dest_site_may_connect(&b, t, 0));
	dest_site_disconnect(&b, t);
	/* One that has none is given one of those that others have. */
	dest_site_connect(&a, s);
	dest_site_connect(&a, s);
	assert_true(dest_share_full(&b, t));
	assert_false(dest_share_asked(&a, s, 10 * US_PER_SEC));
	dest_share_ask(&b, t, 10 * US_PER_SEC);
	assert_true(dest_share_asked(&a, s, 10 * US_PER_SEC));
	assert_false(dest_share_asked(&a, s, 10 * US_PER_SEC));
	dest_site_disconnect(&a, s);
	assert_false(dest_site_may_connect(&a, s, 10 * US_PER_SEC));
	assert_true(dest_site_may_connect(&b, t, 10 * US_PER_SEC));
	assert_true(dest_site_may_connect(&a, s, 10 * US_PER_SEC + DEST_ASK_US));
	/* Not twice in a second, not long after, and not the last one. */
	dest_share_ask(&b, t, 10 * US_PER_SEC + 1);
	assert_false(dest_share_asked(&a, s, 10 * US_PER_SEC + 1));
	dest_share_ask(&b, t, 11 * US_PER_SEC);
	assert_false(dest_share_asked(&a, s, 20 * US_PER_SEC));
	dest_share_ask(&b, t, 20 * US_PER_SEC);
	dest_site_disconnect(&a, s);
	assert_false(dest_share_asked(&a, s, 20 * US_PER_SEC));
	dest_site_disconnect(&a, s);
	assert_int_equal(atomic_load(&shares.connections[77]), 0);
	dest_fini(&a);
	dest_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domains_are_found_again_and_idle_ones_make_room),
		cmocka_unit_test(test_domains_with_one_set_share_a_site),
		cmocka_unit_test(test_only_idle_sites_make_room),
		cmocka_unit_test(test_connections_are_limited_per_site_and_in_all),
		cmocka_unit_test(test_a_failed_site_rests_longer_each_time),
		cmocka_unit_test(test_addresses_that_failed_come_last),
		cmocka_unit_test(test_workers_share_the_limit_of_a_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/delivery/unit.h"
#include "delivery/dns/cache.h"

#define SECOND US_PER_SEC

static struct dns_answer mx_answer(uint32_t count, uint32_t ttl)
{
	struct dns_answer a = {.status = DNS_OK, .ttl = ttl, .count = count, .secure = true};

	for (uint32_t i = 0; i < count; i++) {
		a.records[i].preference = (uint16_t)(10 * i);
		a.records[i].name_n = (uint8_t)snprintf(
			a.records[i].name, sizeof(a.records[i].name), "mx%u.example.org", i);
	}
	return a;
}

static void test_answer_comes_back_whole(void **state)
{
	struct dns_cache c;
	struct dns_answer in = mx_answer(DNS_RECORDS_MAX, 100), out;

	(void)state;
	assert_int_equal(dns_cache_init(&c, 64), 0);
	assert_false(dns_cache_get(&c, "example.org", DNS_MX, &out, 1));
	dns_cache_put(&c, "example.org", DNS_MX, &in, 1);
	assert_true(dns_cache_get(&c, "example.org", DNS_MX, &out, 1));
	assert_int_equal(out.count, DNS_RECORDS_MAX);
	assert_int_equal(out.ttl, 100);
	assert_true(out.secure);
	for (uint32_t i = 0; i < out.count; i++)
		assert_memory_equal(&out.records[i], &in.records[i], sizeof(in.records[i]));
	assert_false(dns_cache_get(&c, "example.org", DNS_A, &out, 1));
	assert_false(dns_cache_get(&c, "example.net", DNS_MX, &out, 1));
	dns_cache_drop(&c, "example.org", DNS_MX);
	assert_false(dns_cache_get(&c, "example.org", DNS_MX, &out, 1));
	dns_cache_fini(&c);
}

static void test_addresses_come_back(void **state)
{
	struct dns_cache c;
	struct dns_answer in = {.status = DNS_OK, .ttl = 60, .count = 2}, out;

	(void)state;
	in.records[0].ip = ip_from_v4(0x0900cb0a);
	in.records[1].ip = ip_from_v4(0x0900cb0b);
	assert_int_equal(dns_cache_init(&c, 4), 0);
	dns_cache_put(&c, "a", DNS_A, &in, 1);
	assert_true(dns_cache_get(&c, "a", DNS_A, &out, 1));
	assert_int_equal(out.count, 2);
	assert_true(ip_eq(&out.records[1].ip, &in.records[1].ip));
	dns_cache_fini(&c);
}

static void test_time_to_live(void **state)
{
	static const struct {
		enum dns_status status;
		uint32_t ttl, kept;
	} table[] = {
		{DNS_OK,       0,      DNS_CACHE_TTL_MIN     },
		{DNS_OK,       300,    300                   },
		{DNS_OK,       999999, DNS_CACHE_TTL_MAX     },
		{DNS_NODATA,   0,      DNS_CACHE_TTL_NEGATIVE},
		{DNS_NXDOMAIN, 86400,  DNS_CACHE_TTL_NEGATIVE},
		{DNS_FAIL,     86400,  DNS_CACHE_TTL_FAILURE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct dns_answer in = {.status = table[i].status, .ttl = table[i].ttl}, out;
		uint64_t end = SECOND + table[i].kept * SECOND;
		struct dns_cache c;

		assert_int_equal(dns_cache_init(&c, 4), 0);
		dns_cache_put(&c, "x", DNS_MX, &in, SECOND);
		assert_true(dns_cache_get(&c, "x", DNS_MX, &out, end - 1));
		assert_int_equal(out.status, table[i].status);
		assert_false(dns_cache_get(&c, "x", DNS_MX, &out, end));
		dns_cache_fini(&c);
	}
}

static void test_long_answers_are_cut_from_the_end(void **state)
{
	struct dns_cache c;
	struct dns_answer in = {.status = DNS_OK, .ttl = 60, .count = DNS_RECORDS_MAX}, out;

	(void)state;
	for (uint32_t i = 0; i < in.count; i++) {
		in.records[i].preference = (uint16_t)i;
		in.records[i].name_n = 250;
		memset(in.records[i].name, 'a', 250);
	}
	assert_int_equal(dns_cache_init(&c, 4), 0);
	dns_cache_put(&c, "x", DNS_MX, &in, 1);
	assert_true(dns_cache_get(&c, "x", DNS_MX, &out, 1));
	assert_in_range(out.count, 1, DNS_RECORDS_MAX - 1);
	assert_memory_equal(&out.records[0], &in.records[0], sizeof(in.records[0]));
	dns_cache_fini(&c);
}

static void test_table_stays_bounded(void **state)
{
	struct dns_cache c;
	struct dns_answer in = mx_answer(1, 60), out;
	unsigned there = 0;
	char name[32];

	(void)state;
	assert_int_equal(dns_cache_init(&c, 64), 0);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "d%u.example.org", i);
		dns_cache_put(&c, name, DNS_MX, &in, 1 + i);
		assert_true(dns_cache_get(&c, name, DNS_MX, &out, 1 + i));
	}
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "d%u.example.org", i);
		there += dns_cache_get(&c, name, DNS_MX, &out, 1);
	}
	assert_in_range(there, 1, 64);
	dns_cache_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_comes_back_whole),
		cmocka_unit_test(test_addresses_come_back),
		cmocka_unit_test(test_time_to_live),
		cmocka_unit_test(test_long_answers_are_cut_from_the_end),
		cmocka_unit_test(test_table_stays_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

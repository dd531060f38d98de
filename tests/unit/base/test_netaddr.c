/* SPDX-License-Identifier: BSD-3-Clause
 * IP addresses and networks. */
#include "tests/unit/base/unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include "dataplane/base/netaddr.h"

static void test_addresses_round_trip_as_text(void **state)
{
	static const char *const good[] = {
		"0.0.0.0", "198.18.0.1", "255.255.255.255", "::", "::1", "2001:2::ffff", "fe80::1"};
	char text[IP_TEXT_MAX];
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(ip_parse(bytes_str(good[i]), &a), 0);
		assert_string_equal(ip_format(&a, text), good[i]);
	}
}

static void test_only_whole_addresses_are_taken(void **state)
{
	static const char *const bad[] = {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4",
		"1.2.3.4 ", " 1.2.3.4", ":", ":::", "1::2::3", "12345::", "fe80::1%eth0",
		"1111:1111:1111:1111:1111:1111:111.111.111.1111", "localhost"};
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ip_parse(bytes_str(bad[i]), &a), -EINVAL);
	assert_int_equal(ip_parse(bytes_make("1.2.3.4\0", 8), &a), -EINVAL);
}

static void test_ipv4_is_kept_mapped(void **state)
{
	struct ip_addr a, b;

	(void)state;
	assert_int_equal(ip_parse(BYTES_LIT("198.18.0.1"), &a), 0);
	assert_true(ip_is_v4(&a));
	assert_int_equal(ip_to_v4(&a), htonl(0xc6120001));
	b = ip_from_v4(htonl(0xc6120001));
	assert_true(ip_eq(&a, &b));
	assert_int_equal(ip_parse(BYTES_LIT("::ffff:198.18.0.1"), &b), 0);
	assert_true(ip_eq(&a, &b));
	assert_int_equal(ip_parse(BYTES_LIT("::1"), &b), 0);
	assert_false(ip_is_v4(&b));
}

static void test_networks_contain_their_addresses(void **state)
{
	static const struct {
		const char *net, *address;
		bool inside;
	} v[] = {
		{"198.18.0.0/15",   "198.19.255.255",   true },
		{"198.18.0.0/15",   "198.20.0.0",       false},
		{"198.18.0.1",      "198.18.0.1",       true },
		{"198.18.0.1",      "198.18.0.2",       false},
		{"0.0.0.0/0",       "255.1.2.3",        true },
		{"0.0.0.0/0",       "::1",              false},
		{"2001:2::/48",     "2001:2:0:ffff::1", true },
		{"2001:2::/48",     "2001:2:1::",       false},
		{"::/0",            "198.18.0.1",       true },
		{"198.18.0.128/25", "198.18.0.127",     false},
	};
	struct ip_net net;
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		assert_int_equal(ip_net_parse(bytes_str(v[i].net), &net), 0);
		assert_int_equal(ip_parse(bytes_str(v[i].address), &a), 0);
		assert_int_equal(ip_net_has(&net, &a), v[i].inside);
	}
}

static void test_bad_networks_are_refused(void **state)
{
	static const char *const bad[] = {"198.18.0.0/33", "198.18.0.1/24", "198.18.0.0/", "/24",
		"198.18.0.0/-1", "198.18.0.0/1 ", "2001:2::/129", "2001:2::1/48", "198.18.0.0/8/8"};
	struct ip_net net;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ip_net_parse(bytes_str(bad[i]), &net), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_round_trip_as_text),
		cmocka_unit_test(test_only_whole_addresses_are_taken),
		cmocka_unit_test(test_ipv4_is_kept_mapped),
		cmocka_unit_test(test_networks_contain_their_addresses),
		cmocka_unit_test(test_bad_networks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

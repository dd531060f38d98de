/* SPDX-License-Identifier: BSD-3-Clause
 * Record data: whole, cut at every length, and with everything a stranger may put in. */
#include "tests/unit/delivery/unit.h"
#include "delivery/dns/rdata.h"

static const uint8_t mx_ok[] = "\0\12\3Mx1\7ExAmple\3oRg";

static void test_mx_is_decoded(void **state)
{
	struct dns_record r;

	(void)state;
	/* The literal's NUL is the root label. */
	assert_int_equal(dns_rdata_decode(DNS_MX, bytes_make(mx_ok, sizeof(mx_ok)), &r), 0);
	assert_int_equal(r.preference, 10);
	assert_string_equal(r.name, "mx1.example.org");
	assert_int_equal(r.name_n, strlen("mx1.example.org"));
}

/* An exact-size copy, so that a sanitizer sees an overread. */
static int decode_copy(enum dns_type type, const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	struct dns_record r;

	memcpy(copy, p, n);
	int err = dns_rdata_decode(type, bytes_make(copy, n), &r);
	free(copy);
	return err;
}

static void test_cut_mx_is_refused_at_every_length(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof(mx_ok); n++)
		assert_true(decode_copy(DNS_MX, mx_ok, n) < 0);
	assert_int_equal(decode_copy(DNS_MX, mx_ok, sizeof(mx_ok)), 0);
}

static void test_tlsa(void **state)
{
	uint8_t in[3 + 300] = {3, 1, 2};
	struct dns_record r;

	(void)state;
	memset(in + 3, 0xab, 300);
	for (size_t n = 0; n < 4; n++)
		assert_true(decode_copy(DNS_TLSA, in, n) < 0);
	for (size_t n = 4; n < sizeof(in); n++)
		assert_int_equal(decode_copy(DNS_TLSA, in, n), 0);
	assert_int_equal(dns_rdata_decode(DNS_TLSA, bytes_make(in, 3 + 64), &r), 0);
	assert_int_equal(r.usage, 3);
	assert_int_equal(r.selector, 1);
	assert_int_equal(r.matching, 2);
	assert_int_equal(r.name_n, 64);
	assert_memory_equal(r.name, in + 3, 64);
	/* A whole certificate: it is there, and nothing is known of it. */
	assert_int_equal(dns_rdata_decode(DNS_TLSA, bytes_make(in, sizeof(in)), &r), 0);
	assert_int_equal(r.name_n, 0);
}

static void test_cname_at_every_length(void **state)
{
	static const uint8_t in[] = "\2mx\7EXAMPLE\3org";
	struct dns_record r;

	(void)state;
	for (size_t n = 0; n < sizeof(in); n++)
		assert_true(decode_copy(DNS_CNAME, in, n) < 0);
	assert_int_equal(dns_rdata_decode(DNS_CNAME, bytes_make(in, sizeof(in)), &r), 0);
	assert_string_equal(r.name, "mx.example.org");
	assert_int_equal(r.name_n, 14);
	assert_true(dns_rdata_decode(DNS_CNAME, BYTES_LIT("\0"), &r) < 0); /* the root */
}

static void test_octets_behind_the_name_are_refused(void **state)
{
	uint8_t in[sizeof(mx_ok) + 1] = {0};

	(void)state;
	memcpy(in, mx_ok, sizeof(mx_ok));
	assert_true(decode_copy(DNS_MX, in, sizeof(in)) < 0);
}

static void test_bad_names_are_refused(void **state)
{
	static const struct {
		const char *rdata;
		size_t n;
	} bad[] = {
		{"\0\1\3a b\0",          7}, /* space */
		{"\0\1\3a.b\0",          7}, /* a dot inside a label */
		{"\0\1\3a\0b\0",         7}, /* NUL inside a label */
		{"\0\1\2\xc3\xa9\0",     6}, /* 8-bit */
		{"\0\1\xc0\x0c",         4}, /* compression pointer */
		{"\0\1\x40"
		 "a\0", 5}, /* reserved label type */
		{"\0\1\3a\r\n\0",        7},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(decode_copy(DNS_MX, (const uint8_t *)bad[i].rdata, bad[i].n) < 0);
}

static size_t long_name(uint8_t *out, unsigned labels, unsigned label)
{
	size_t n = 2;

	out[0] = out[1] = 0;
	for (unsigned i = 0; i < labels; i++) {
		out[n++] = (uint8_t)label;
		memset(out + n, 'a', label);
		n += label;
	}
	out[n++] = 0;
	return n;
}

static void test_names_end_at_255_octets(void **state)
{
	uint8_t in[512];

	(void)state;
	/* 127 labels of one octet: 253 characters of text, 255 octets on the wire */
	assert_int_equal(decode_copy(DNS_MX, in, long_name(in, 127, 1)), 0);
	assert_true(decode_copy(DNS_MX, in, long_name(in, 128, 1)) < 0);
	assert_true(decode_copy(DNS_MX, in, long_name(in, 4, 63)) < 0);
	assert_int_equal(decode_copy(DNS_MX, in, long_name(in, 3, 63)), 0);
}

static void test_null_mx(void **state)
{
	struct dns_record r;

	(void)state;
	assert_int_equal(dns_rdata_decode(DNS_MX, BYTES_LIT("\0\0\0"), &r), 0);
	assert_int_equal(r.name_n, 0);
	assert_int_equal(r.preference, 0);
}

static void test_addresses(void **state)
{
	static const uint8_t v4[] = {198, 18, 0, 9};
	static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
	static const uint8_t v6[16] = {0x20, 1, 0, 2, [15] = 1};
	struct dns_record r;
	char text[IP_TEXT_MAX];

	(void)state;
	assert_int_equal(dns_rdata_decode(DNS_A, bytes_make(v4, 4), &r), 0);
	assert_string_equal(ip_format(&r.ip, text), "198.18.0.9");
	for (size_t n = 0; n < 4; n++)
		assert_true(decode_copy(DNS_A, v4, n) < 0);
	assert_true(decode_copy(DNS_A, v6, 5) < 0);
	for (size_t n = 0; n < 16; n++)
		assert_true(decode_copy(DNS_AAAA, v6, n) < 0);
	assert_int_equal(decode_copy(DNS_AAAA, v6, 16), 0);
	assert_true(decode_copy(DNS_AAAA, mapped, 16) < 0);
}

static struct dns_record record(uint16_t preference, const char *name)
{
	struct dns_record r = {.preference = preference, .name_n = (uint8_t)strlen(name)};

	strcpy(r.name, name);
	return r;
}

static void test_order_is_by_preference_and_random_among_equals(void **state)
{
	bool first[2] = {false, false};

	(void)state;
	for (uint64_t seed = 0; seed < 64; seed++) {
		struct dns_record r[] = {
			record(20, "c"), record(10, "a"), record(10, "b"), record(5, "z")};

		assert_int_equal(dns_mx_order(r, 4, seed), 4);
		assert_string_equal(r[0].name, "z");
		assert_string_equal(r[3].name, "c");
		first[r[1].name[0] - 'a'] = true;
	}
	assert_true(first[0] && first[1]);
}

static void test_empty_names_beside_others_are_dropped(void **state)
{
	struct dns_record r[] = {record(0, ""), record(10, "a"), record(20, "")};
	struct dns_record none[] = {record(0, ""), record(5, "")};

	(void)state;
	assert_int_equal(dns_mx_order(r, 3, 1), 1);
	assert_string_equal(r[0].name, "a");
	assert_int_equal(dns_mx_order(none, 2, 1), 1);
	assert_int_equal(none[0].name_n, 0);
	assert_int_equal(dns_mx_order(r, 0, 1), 0);
}

static void test_names_to_ask_for(void **state)
{
	(void)state;
	assert_true(dns_name_valid(BYTES_LIT("a.example.org")));
	assert_true(dns_name_valid(BYTES_LIT("_dmarc.xn--bcher-kva.example")));
	assert_false(dns_name_valid(BYTES_LIT("")));
	assert_false(dns_name_valid(BYTES_LIT(".")));
	assert_false(dns_name_valid(BYTES_LIT("a..b")));
	assert_false(dns_name_valid(BYTES_LIT("a.b.")));
	assert_false(dns_name_valid(BYTES_LIT(".a")));
	assert_false(dns_name_valid(BYTES_LIT("a b")));
	assert_false(dns_name_valid(BYTES_LIT("[198.18.0.1]")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mx_is_decoded),
		cmocka_unit_test(test_cut_mx_is_refused_at_every_length),
		cmocka_unit_test(test_tlsa),
		cmocka_unit_test(test_cname_at_every_length),
		cmocka_unit_test(test_octets_behind_the_name_are_refused),
		cmocka_unit_test(test_bad_names_are_refused),
		cmocka_unit_test(test_names_end_at_255_octets),
		cmocka_unit_test(test_null_mx),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_order_is_by_preference_and_random_among_equals),
		cmocka_unit_test(test_empty_names_beside_others_are_dropped),
		cmocka_unit_test(test_names_to_ask_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Base64 and hexadecimal. */
#include "tests/unit/base/unit.h"
#include <errno.h>
#include "dataplane/base/codec.h"

static const struct {
	const char *plain, *coded;
} vectors[] = {
  /* RFC 4648 section 10 */
	{"",       ""        },
	{"f",      "Zg=="    },
	{"fo",     "Zm8="    },
	{"foo",    "Zm9v"    },
	{"foob",   "Zm9vYg=="},
	{"fooba",  "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

static void test_base64_vectors_both_ways(void **state)
{
	char memory[64];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		buf_init(&b, memory, sizeof(memory));
		base64_encode(&b, bytes_str(vectors[i].plain));
		assert_true(bytes_eq(buf_view(&b), bytes_str(vectors[i].coded)));
		buf_init(&b, memory, sizeof(memory));
		assert_int_equal(base64_decode(&b, bytes_str(vectors[i].coded)), 0);
		assert_true(bytes_eq(buf_view(&b), bytes_str(vectors[i].plain)));
	}
}

static void test_base64_takes_only_the_canonical_form(void **state)
{
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "====", "=Zg=", "Z===", "Zg=a",
		"Zh==", "Zm9=", "Zm8=Zm8=", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-v", "Zm_v",
		"\xff\xff\xff\xff"};
	char memory[64];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		buf_init(&b, memory, sizeof(memory));
		assert_int_equal(base64_decode(&b, bytes_str(bad[i])), -EINVAL);
	}
}

static void test_base64_respects_the_room(void **state)
{
	char memory[5];
	struct buf b;

	(void)state;
	buf_init(&b, memory, 5);
	assert_int_equal(base64_decode(&b, BYTES_LIT("Zm9vYmFy")), -ENOSPC);
	buf_init(&b, memory, 3);
	base64_encode(&b, BYTES_LIT("f"));
	assert_true(b.overflow);
	assert_int_equal(b.n, 0);
	/* A buffer that overflowed before takes nothing, and says so. */
	buf_init(&b, memory, 5);
	b.overflow = true;
	assert_int_equal(base64_decode(&b, BYTES_LIT("Zg==")), -ENOSPC);
}

static void test_base64_all_octets_round_trip(void **state)
{
	uint8_t in[256], coded[BASE64_LEN(256)], out[256];
	struct buf c, o;

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		in[i] = (uint8_t)i;
	for (size_t n = 0; n <= 256; n++) {
		buf_init(&c, coded, sizeof(coded));
		buf_init(&o, out, sizeof(out));
		base64_encode(&c, bytes_make(in, n));
		assert_int_equal(c.n, BASE64_LEN(n));
		assert_int_equal(base64_decode(&o, buf_view(&c)), 0);
		assert_true(bytes_eq(buf_view(&o), bytes_make(in, n)));
	}
}

static void test_hex_both_ways(void **state)
{
	static const char *const bad[] = {"", "g", "0x1", " 1", "11112222333344445"};
	char memory[16];
	struct buf b;
	uint64_t v = 0;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	hex_u64(&b, 0x0123456789abcdefull);
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("0123456789abcdef")));
	assert_int_equal(hex_to_u64(buf_view(&b), &v), 0);
	assert_true(v == 0x0123456789abcdefull);
	assert_int_equal(hex_to_u64(BYTES_LIT("fF"), &v), 0);
	assert_true(v == 255);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(hex_to_u64(bytes_str(bad[i]), &v), -EINVAL);
	assert_true(v == 255);
}

static void test_decimal(void **state)
{
	static const struct {
		uint64_t v;
		unsigned digits;
		const char *text;
	} cases[] = {
		{0,          0,  "0"                   },
		{0,          1,  "0"                   },
		{7,          2,  "07"                  },
		{10,         2,  "10"                  },
		{123,        2,  "123"                 },
		{UINT64_MAX, 1,  "18446744073709551615"},
		{1,          99, "00000000000000000001"},
	};
	char memory[24];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_init(&b, memory, sizeof(memory));
		dec_u64(&b, cases[i].v, cases[i].digits);
		assert_true(bytes_eq(buf_view(&b), bytes_str(cases[i].text)));
	}
	buf_init(&b, memory, 2);
	dec_u64(&b, 100, 1);
	assert_true(b.overflow && b.n == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_vectors_both_ways),
		cmocka_unit_test(test_base64_takes_only_the_canonical_form),
		cmocka_unit_test(test_base64_respects_the_room),
		cmocka_unit_test(test_base64_all_octets_round_trip),
		cmocka_unit_test(test_hex_both_ways),
		cmocka_unit_test(test_decimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

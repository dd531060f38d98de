/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/dsn, smtp/utf8: what the parameters of RFC 3461 may say, and well-formed UTF-8. */
#include "tests/unit/smtp/unit.h"
#include <errno.h>
#include "smtp/dsn.h"
#include "smtp/utf8.h"

static void test_notify(void **state)
{
	static const struct {
		const char *in;
		uint8_t want; /* 0: refused */
		const char *out;
	} cases[] = {
		{"NEVER",                 NOTIFY_NEVER,                                   "NEVER"  },
		{"success",               NOTIFY_SUCCESS,                                 "SUCCESS"},
		{"DELAY,FAILURE,Success", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY,
                 "SUCCESS,FAILURE,DELAY"							   },
		{"NEVER,SUCCESS",         0,					      ""       },
		{"SUCCESS,SUCCESS",       0,					      ""       },
		{"SUCCESS,",              0,					      ""       },
		{",SUCCESS",              0,					      ""       },
		{"",		      0,					      ""       },
		{"ALWAYS",                0,					      ""       },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t notify = 0, memory[64];
		struct buf out;
		bool ok = dsn_notify_parse(bytes_str(cases[i].in), &notify);
		assert_int_equal(ok, cases[i].want != 0);
		if (!ok)
			continue;
		assert_int_equal(notify, cases[i].want);
		buf_init(&out, memory, sizeof(memory));
		dsn_notify_format(&out, notify | NOTIFY_DELIVERED);
		assert_bytes_equal(buf_view(&out), bytes_str(cases[i].out));
	}
}

static void test_ret(void **state)
{
	enum dsn_ret ret;

	(void)state;
	assert_true(dsn_ret_parse(BYTES_LIT("full"), &ret) && ret == RET_FULL);
	assert_true(dsn_ret_parse(BYTES_LIT("HDRS"), &ret) && ret == RET_HDRS);
	assert_false(dsn_ret_parse(BYTES_LIT("HDR"), &ret));
	assert_false(dsn_ret_parse(BYTES_NONE, &ret));
}

static void test_envid(void **state)
{
	uint8_t long_one[DSN_ENVID_MAX + 1];

	(void)state;
	memset(long_one, 'x', sizeof(long_one));
	assert_true(dsn_envid_valid(bytes_make(long_one, DSN_ENVID_MAX)));
	assert_false(dsn_envid_valid(bytes_make(long_one, DSN_ENVID_MAX + 1)));
	assert_true(dsn_envid_valid(BYTES_LIT("a+2Bb+3D")));
	assert_false(dsn_envid_valid(BYTES_NONE));
}

/* Each is refused at every cut, too, unless the cut leaves something whole. */
static void test_xtext_hides_nothing(void **state)
{
	static const char *const bad[] = {
		"+0D+0A", "a+00", "+7F", "+80", "+2b", "+2", "+", "a=b", "a b", "\x80", "+ZZ"};
	uint8_t memory[64];
	struct buf out;

	(void)state;
	buf_init(&out, memory, sizeof(memory));
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(dsn_envid_valid(bytes_str(bad[i])));
		assert_int_equal(dsn_xtext_decode(&out, bytes_str(bad[i])), -EINVAL);
		assert_int_equal(out.n, 0);
	}
	assert_int_equal(dsn_xtext_decode(&out, BYTES_LIT("a+20b+2B+3D")), 0);
	assert_bytes_equal(buf_view(&out), BYTES_LIT("a b+="));
}

static void test_xtext_both_ways(void **state)
{
	uint8_t text[95], memory[300], again[95];
	struct buf out, back;

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(' ' + i);
	buf_init(&out, memory, sizeof(memory));
	dsn_xtext_encode(&out, bytes_make(text, sizeof(text)));
	assert_false(out.overflow);
	buf_init(&back, again, sizeof(again));
	assert_int_equal(dsn_xtext_decode(&back, buf_view(&out)), 0);
	assert_bytes_equal(buf_view(&back), bytes_make(text, sizeof(text)));
}

static void test_orcpt(void **state)
{
	uint8_t long_one[DSN_ORCPT_MAX + 1];

	(void)state;
	memset(long_one, 'x', sizeof(long_one));
	memcpy(long_one, "rfc822;", 7);
	assert_true(dsn_orcpt_valid(bytes_make(long_one, DSN_ORCPT_MAX), false));
	assert_false(dsn_orcpt_valid(bytes_make(long_one, DSN_ORCPT_MAX + 1), false));
	assert_true(dsn_orcpt_valid(BYTES_LIT("rfc822;Bob@Example.COM"), false));
	assert_true(dsn_orcpt_valid(BYTES_LIT("utf-8;a\\x{E9}b@x"), false));
	assert_false(dsn_orcpt_valid(BYTES_LIT("rfc822;"), false));
	assert_false(dsn_orcpt_valid(BYTES_LIT(";a@b"), false));
	assert_false(dsn_orcpt_valid(BYTES_LIT("a@b"), false));
	assert_false(dsn_orcpt_valid(BYTES_LIT("rfc 822;a@b"), false));
	assert_false(dsn_orcpt_valid(BYTES_LIT("utf-8;\xc3\xa9@b"), false));
	assert_true(dsn_orcpt_valid(BYTES_LIT("utf-8;\xc3\xa9@b"), true));
	assert_false(dsn_orcpt_valid(BYTES_LIT("rfc822;\xc3\xa9@b"), true));
	assert_false(dsn_orcpt_valid(BYTES_LIT("utf-8;\xc3@b"), true));
}

static void test_utf8(void **state)
{
	static const char *const good[] = {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xe2\x82", "\xff", "a\xc2"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++)
		assert_true(utf8_valid(bytes_str(good[i])));
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(utf8_valid(bytes_str(bad[i])));
	assert_int_equal(utf8_char(BYTES_NONE), 0);
	assert_true(utf8_needed(BYTES_LIT("a\xc3\xa9")));
	assert_false(utf8_needed(BYTES_LIT("a~")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_ret),
		cmocka_unit_test(test_envid),
		cmocka_unit_test(test_xtext_hides_nothing),
		cmocka_unit_test(test_xtext_both_ways),
		cmocka_unit_test(test_orcpt),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

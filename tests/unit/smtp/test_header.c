/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "smtp/header.h"

static void test_fields_are_walked(void **state)
{
	static const char text[] = "A: one\r\n two\r\nno field\r\nB : x\r\nc:\r\n\r\nD: body\r\n";
	struct bytes section = bytes_make(text, sizeof(text) - 1);
	struct header_field f;
	size_t at = 0;

	(void)state;
	assert_true(header_next(section, &at, &f));
	assert_true(bytes_eq(f.name, BYTES_LIT("A")));
	assert_true(bytes_eq(f.value, BYTES_LIT(" one\r\n two")));
	assert_true(bytes_eq(f.raw, BYTES_LIT("A: one\r\n two\r\n")));
	assert_true(header_next(section, &at, &f));
	assert_true(bytes_eq(f.name, BYTES_LIT("B")));
	assert_true(header_next(section, &at, &f));
	assert_true(bytes_eq(f.name, BYTES_LIT("c")));
	assert_int_equal(f.value.n, 0);
	assert_false(header_next(section, &at, &f));
}

static void test_every_cut_of_a_section_is_safe(void **state)
{
	static const char text[] =
		"From: a@b, \"x\\\"y\" (c (d\\) e) f) <@r:g@h>\r\n\tmore\r\nDate: 1 Jan 99 1:2\r\n";
	struct header_field f;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		uint8_t *copy = malloc(n ? n : 1);
		memcpy(copy, text, n);
		for (size_t at = 0; header_next(bytes_make(copy, n), &at, &f);) {
			struct header_addresses list = header_addresses_of(f.value);
			struct header_address a;
			struct header_date d;
			for (unsigned i = 0; header_address_next(&list, &a); i++)
				assert_true(i < 20);
			(void)!header_date_parse(f.value, &d);
		}
		free(copy);
	}
}

static void test_unfold(void **state)
{
	char memory[16];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	header_unfold(&b, BYTES_LIT(" a\r\n b\tc \r\n "));
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("a b\tc")));
	header_unfold(&b, BYTES_LIT("0123456789abcdef"));
	assert_int_equal(b.n, 16);
}

/* "name|route|local|domain;" for each address; "[name:" and "]" for groups. */
static void addresses(const char *value, const char *want)
{
	struct header_addresses list = header_addresses_of(bytes_str(value));
	struct header_address a;
	char out[2000] = "";
	size_t n = 0;

	while (header_address_next(&list, &a)) {
		if (a.kind == HEADER_GROUP)
			n += (size_t)snprintf(
				out + n, sizeof(out) - n, "[%.*s:", (int)a.name.n, a.name.p);
		else if (a.kind == HEADER_GROUP_END)
			n += (size_t)snprintf(out + n, sizeof(out) - n, "]");
		else
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s|%.*s|%.*s|%.*s;",
				(int)a.name.n, a.name.p, (int)a.route.n, a.route.p, (int)a.local.n,
				a.local.p, (int)a.domain.n, a.domain.p);
	}
	assert_string_equal(out, want);
}

static void test_addresses(void **state)
{
	(void)state;
	addresses(" ann@example.org", "||ann|example.org;");
	addresses("Ann Lee <ann@example.org>, bob@b", "Ann Lee||ann|example.org;||bob|b;");
	addresses("\"Lee, Ann\" <\"a b\"@x>", "Lee, Ann||a b|x;");
	addresses("ann@x (Ann (the) Lee)", "Ann (the) Lee||ann|x;");
	addresses("<@a,@b:c@d>", "|@a,@b|c|d;");
	addresses("friends: a@b, C <c@d>; e@f", "[friends:||a|b;C||c|d;]||e|f;");
	addresses("undisclosed-recipients:;", "[undisclosed-recipients:]");
	addresses("g: a@b", "[g:||a|b;]");
	addresses("root", "||root|;");
	addresses("<>", "|||;");
	addresses(",,a@b,,", "||a|b;");
	addresses("a@[192.0.2.1]", "||a|[192.0.2.1];");
	addresses("", "");
	addresses("J.\r\n Doe <j@d>", "J. Doe||j|d;");
}

static void date(const char *value, int64_t seconds, int zone)
{
	struct header_date d;

	assert_int_equal(header_date_parse(bytes_str(value), &d), 0);
	assert_int_equal(d.seconds, seconds);
	assert_int_equal(d.zone_min, zone);
}

static void test_dates(void **state)
{
	struct header_date d;

	(void)state;
	date("Mon, 7 Feb 1994 21:52:25 -0800 (PST)", 760686745, -480);
	date("1 Jan 1970 00:00 +0000", 0, 0);
	date("29 Feb 2024 12:00:00 GMT", 1709208000, 0);
	date("Fri, 31 Dec 99 23:59:59 EST", 946702799, -300);
	date("1 Jan 70 0:0 -0000", 0, 0);
	assert_int_equal(header_date_parse(BYTES_LIT("yesterday"), &d), -22);
	assert_int_equal(header_date_parse(BYTES_LIT("32 Jan 1999 00:00 +0000"), &d), -22);
	assert_int_equal(header_date_parse(BYTES_LIT(""), &d), -22);
}

static void test_calendar_goes_both_ways(void **state)
{
	(void)state;
	for (int64_t days = -200000; days < 400000; days += 13) {
		int64_t year;
		unsigned month, day;
		header_civil(days, &year, &month, &day);
		assert_int_equal(header_days(year, month, day), days);
	}
}

static void test_parameters(void **state)
{
	struct bytes type, sub, name;
	char memory[100];
	struct buf b;
	struct bytes value =
		BYTES_LIT(" text/PLAIN (x) ; charset = \"utf-8\"; a=b;junk; name=\"q\\\"q\"");

	(void)state;
	struct header_params p = header_type_parse(value, &type, &sub);
	assert_true(bytes_eq(type, BYTES_LIT("text")));
	assert_true(bytes_eq(sub, BYTES_LIT("PLAIN")));
	buf_init(&b, memory, sizeof(memory));
	assert_true(header_param_find(p, BYTES_LIT("NAME"), &b));
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("q\"q")));
	buf_init(&b, memory, sizeof(memory));
	assert_true(header_param_next(&p, &name, &b));
	assert_true(bytes_eq(name, BYTES_LIT("charset")));
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("utf-8")));
	assert_false(header_param_find(p, BYTES_LIT("nothing"), &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_are_walked),
		cmocka_unit_test(test_every_cut_of_a_section_is_safe),
		cmocka_unit_test(test_unfold),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_calendar_goes_both_ways),
		cmocka_unit_test(test_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

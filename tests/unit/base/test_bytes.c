/* SPDX-License-Identifier: BSD-3-Clause
 * Byte views and bounded buffers. */
#include "tests/unit/base/unit.h"
#include "dataplane/base/buf.h"

static void test_views_compare_by_content(void **state)
{
	(void)state;
	assert_true(bytes_eq(BYTES_LIT("abc"), bytes_str("abc")));
	assert_false(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("abd")));
	assert_false(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("ab")));
	assert_true(bytes_eq(BYTES_NONE, bytes_str(NULL)));
	assert_true(bytes_ieq(BYTES_LIT("EhLo"), BYTES_LIT("ehlo")));
	/* Only ASCII letters fold: '[' and '{' are 32 apart as well. */
	assert_false(bytes_ieq(BYTES_LIT("["), BYTES_LIT("{")));
	assert_false(bytes_ieq(BYTES_LIT("\xc4"), BYTES_LIT("\xe4")));
	assert_true(bytes_istarts(BYTES_LIT("MAIL FROM:<>"), BYTES_LIT("mail from:")));
	assert_false(bytes_istarts(BYTES_LIT("MAI"), BYTES_LIT("mail")));
}

static void test_views_are_cut_within_their_bounds(void **state)
{
	struct bytes b = BYTES_LIT("hello");

	(void)state;
	assert_true(bytes_eq(bytes_skip(b, 2), BYTES_LIT("llo")));
	assert_int_equal(bytes_skip(b, 99).n, 0);
	assert_int_equal(bytes_skip(BYTES_NONE, 1).n, 0);
	assert_true(bytes_eq(bytes_first(b, 2), BYTES_LIT("he")));
	assert_int_equal(bytes_first(b, 99).n, 5);
	assert_int_equal(bytes_find(b, 'l', 0), 2);
	assert_int_equal(bytes_find(b, 'l', 3), 3);
	assert_int_equal(bytes_find(b, 'l', 4), -1);
	assert_int_equal(bytes_find(b, 'h', 5), -1);
	assert_int_equal(bytes_rfind(b, 'l'), 3);
	assert_int_equal(bytes_rfind(b, 'x'), -1);
	assert_int_equal(bytes_rfind(BYTES_NONE, 'x'), -1);
}

static void test_numbers_are_decimal_digits_only(void **state)
{
	static const char *const bad[] = {
		"", "+1", "-1", " 1", "1 ", "0x1", "12345678901234567890"};
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(bytes_to_u64(bytes_str(bad[i]), &v), -22);
	assert_int_equal(v, 7);
	assert_int_equal(bytes_to_u64(BYTES_LIT("9999999999999999999"), &v), 0);
	assert_true(v == 9999999999999999999ull);
	assert_int_equal(bytes_to_u64(BYTES_LIT("007"), &v), 0);
	assert_int_equal(v, 7);
}

static void test_a_write_that_does_not_fit_changes_nothing(void **state)
{
	char memory[8];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_str(&b, "12345");
	buf_str(&b, "6789");
	assert_true(b.overflow);
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("12345")));
	buf_byte(&b, 'x'); /* once overflowed nothing is added: no holes in the middle */
	assert_int_equal(b.n, 5);
}

static void test_printf_fills_up_to_the_nul(void **state)
{
	char memory[4];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_printf(&b, "%d", 123);
	assert_false(b.overflow);
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("123")));
	buf_printf(&b, "4"); /* fits, its NUL does not */
	assert_true(b.overflow);
	assert_int_equal(b.n, 3);
}

static void test_consume_moves_the_rest_to_the_front(void **state)
{
	char memory[8];
	struct buf b;

	(void)state;
	buf_init(&b, memory, sizeof(memory));
	buf_str(&b, "abcdef");
	buf_consume(&b, 2);
	assert_true(bytes_eq(buf_view(&b), BYTES_LIT("cdef")));
	buf_consume(&b, 99);
	assert_int_equal(b.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views_compare_by_content),
		cmocka_unit_test(test_views_are_cut_within_their_bounds),
		cmocka_unit_test(test_numbers_are_decimal_digits_only),
		cmocka_unit_test(test_a_write_that_does_not_fit_changes_nothing),
		cmocka_unit_test(test_printf_fills_up_to_the_nul),
		cmocka_unit_test(test_consume_moves_the_rest_to_the_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Words of --so_flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/packetdrill/library.h"

static void test_none_is_all_default(void **state)
{
	static const struct pd_profile none;
	struct pd_profile p;

	(void)state;
	assert_int_equal(pd_profile_parse(NULL, &p), 0);
	assert_memory_equal(&p, &none, sizeof(p));
	assert_int_equal(pd_profile_parse("", &p), 0);
	assert_int_equal(pd_profile_parse(",", &p), 0);
	assert_memory_equal(&p, &none, sizeof(p));
}

static void test_profiles(void **state)
{
	struct pd_profile p;

	(void)state;
	assert_int_equal(pd_profile_parse("linux", &p), 0);
	assert_true(p.merge && p.close_resets);
	uint32_t linux_buffer = p.rcv_buffer;
	assert_int_equal(pd_profile_parse("freebsd", &p), 0);
	assert_false(p.merge);
	assert_true(p.rcv_buffer && p.rcv_buffer < linux_buffer);
}

static void test_last_word_counts(void **state)
{
	struct pd_profile p;

	(void)state;
	assert_int_equal(
		pd_profile_parse("linux,rcvbuf=4096,no-merge,no-sack,newreno,iw=3", &p), 0);
	assert_int_equal(p.rcv_buffer, 4096);
	assert_false(p.merge);
	assert_true(p.tcp.no_sack);
	assert_false(p.tcp.no_timestamps);
	assert_int_equal(p.tcp.congestion, STACK_NEWRENO);
	assert_int_equal(p.tcp.initial_window, 3);
	assert_int_equal(pd_profile_parse("newreno,cubic,local=198.18.0.1,delack-ms=500", &p), 0);
	assert_int_equal(p.tcp.congestion, STACK_CUBIC);
	assert_int_equal(p.tcp.delack_ms, 500);
	assert_true(p.has_local);
}

/* Each is told, and the others count. */
static void test_unknown_words_are_left_out(void **state)
{
	struct pd_profile p;

	(void)state;
	assert_int_equal(
		pd_profile_parse("solaris,mtu=1280,linux=1,rcvbuf,iw=11,mtu=99999", &p), 5);
	assert_int_equal(p.mtu, 1280);
	assert_int_equal(p.rcv_buffer, 0);
	assert_int_equal(p.tcp.initial_window, 0);
	assert_int_equal(pd_profile_parse("local=nowhere", &p), 1);
	assert_false(p.has_local);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none_is_all_default),
		cmocka_unit_test(test_profiles),
		cmocka_unit_test(test_last_word_counts),
		cmocka_unit_test(test_unknown_words_are_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Initial sequence numbers (RFC 9293 3.4.1, RFC 6528): a clock, and a secret of the endpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/lone.h"

#define PEERS 1000

static struct host_pools pools;
static struct lone l;

static struct tcp_key key_of(uint16_t peer_port)
{
	return (struct tcp_key){.local = ip_from_v4(rte_cpu_to_be_32(LONE_IP)),
		.peer = ip_from_v4(rte_cpu_to_be_32(LONE_PEER)),
		.local_port = 25,
		.peer_port = peer_port};
}

/* MUST-8: one every 4 us, for the same endpoints. */
static void test_clock_drives_them(void **state)
{
	struct tcp_key key = key_of(40000);

	(void)state;
	struct stack *st = l.host.stack;
	uint32_t first = tcp_isn(st, &key);
	st->now_us += 4 * US_PER_SEC;
	assert_int_equal(tcp_isn(st, &key) - first, US_PER_SEC);
	st->now_us -= 4 * US_PER_SEC;
	assert_int_equal(tcp_isn(st, &key), first);
}

/* SHLD-1: neighbouring ports have nothing in common. */
static void test_endpoints_spread_them(void **state)
{
	unsigned upper[16] = {0}, close_by = 0;
	uint32_t last = 0;

	(void)state;
	for (unsigned i = 0; i < PEERS; i++) {
		struct tcp_key key = key_of((uint16_t)(40000 + i));
		uint32_t isn = tcp_isn(l.host.stack, &key);
		upper[isn >> 28]++;
		close_by += isn - last + UINT16_MAX < 2 * UINT16_MAX;
		last = isn;
	}
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(upper[i], PEERS / 32, PEERS / 8);
	assert_true(close_by < 3);
}

/* MUST-9: another secret, other numbers. */
static void test_secret_decides(void **state)
{
	struct tcp_key key = key_of(40000);

	(void)state;
	struct stack *st = l.host.stack;
	uint32_t first = tcp_isn(st, &key);
	((uint8_t *)&st->isn_key)[0] ^= 1;
	assert_int_not_equal(tcp_isn(st, &key), first);
}

static int group_setup(void **state)
{
	const struct host_conf conf = {
		.address = LONE_IP, .mac = 1, .mtu = 1500, .connections_max = 8};

	(void)state;
	eal_start_for_tests(64);
	host_pools_init(&pools, "t", 255, 127);
	lone_init(&l, &pools, &conf);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	lone_fini(&l);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_drives_them),
		cmocka_unit_test(test_endpoints_spread_them),
		cmocka_unit_test(test_secret_decides),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

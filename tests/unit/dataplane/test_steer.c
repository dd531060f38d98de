/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <rte_icmp.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/frame.h"
#include "tests/sim/lone.h"

#define HERE 3

static struct rte_mempool *pool;
static struct siphash_key key = {11, 22};
static struct steer_table table = {
	.core_count = 4,
	.service = {{.port = 25, .cores_n = 2, .cores = {0, 1}},
		    {.port = 143, .cores_n = 1, .cores = {2}}},
	.service_count = 2,
	.key = &key,
};

static unsigned owner(const uint8_t *f, size_t n)
{
	struct rte_mbuf *m = frame_make(pool, bytes_make(f, n));
	unsigned core = steer_owner(&table, m, HERE);

	rte_pktmbuf_free(m);
	return core;
}

static unsigned tcp_owner(uint16_t sport, uint16_t dport)
{
	struct seg s = {.sport = sport, .dport = dport, .flags = SYN};
	uint8_t f[200];

	return owner(f, lone_build(f, &s));
}

static void test_ephemeral_port_names_its_core(void **state)
{
	(void)state;
	for (unsigned core = 0; core < 4; core++) {
		uint16_t first = (uint16_t)(STACK_EPHEMERAL_FIRST + core * 2048);
		assert_int_equal(tcp_owner(25, first), core);
		assert_int_equal(tcp_owner(25, (uint16_t)(first + 2047)), core);
	}
	assert_int_equal(tcp_owner(25, STACK_EPHEMERAL_FIRST + 4 * 2048), HERE);
}

static void test_service_port_is_spread_over_its_cores(void **state)
{
	unsigned count[4] = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		count[tcp_owner((uint16_t)(1000 + i), 25)]++;
	assert_int_equal(count[0] + count[1], 1000);
	assert_in_range(count[0], 400, 600);
	assert_int_equal(tcp_owner(1000, 25), tcp_owner(1000, 25));
	assert_int_equal(tcp_owner(1000, 143), 2);
	assert_int_equal(tcp_owner(1000, 80), HERE);
}

static void test_icmp_error_goes_where_the_quoted_flow_is(void **state)
{
	struct seg s = {.sport = 25, .dport = 1};
	uint8_t f[200] = {0}, quoted[100];

	(void)state;
	/* our SYN: from an ephemeral port of core 1 to port 25 of the peer */
	struct seg ours = {.sport = STACK_EPHEMERAL_FIRST + 2048 + 5, .dport = 25};
	lone_build(quoted, &ours);
	lone_build(f, &s);
	f[14 + 9] = IPPROTO_ICMP;
	f[34] = 3;
	memcpy(f + 42, quoted + 14, 28);
	assert_int_equal(owner(f, 42 + 28), 1);
	f[34] = 8; /* echo */
	assert_int_equal(owner(f, 42 + 28), HERE);
}

/* The same flow over IPv6, behind an options header of no meaning if options. */
static size_t build_v6(uint8_t *f, uint16_t sport, uint16_t dport, bool options)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(f + 14);
	uint8_t *at = (uint8_t *)(ip + 1);

	memset(f, 0, 200);
	f[12] = 0x86;
	f[13] = 0xdd;
	f[14] = 0x60;
	ip->proto = IPPROTO_TCP;
	ip->src_addr[0] = ip->dst_addr[0] = 0x20;
	ip->src_addr[15] = 2;
	ip->dst_addr[15] = 1;
	if (options) {
		ip->proto = IPPROTO_DSTOPTS;
		memcpy(at, (uint8_t[]){IPPROTO_TCP, 0, 1, 4}, 4);
		at += 8;
	}
	at[0] = (uint8_t)(sport >> 8);
	at[1] = (uint8_t)sport;
	at[2] = (uint8_t)(dport >> 8);
	at[3] = (uint8_t)dport;
	return (size_t)(at + 20 - f);
}

static void test_flows_of_ipv6(void **state)
{
	unsigned count[4] = {0};
	uint8_t f[300];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		size_t n = build_v6(f, (uint16_t)(1000 + i), 25, false);
		unsigned core = owner(f, n);
		count[core]++;
		n = build_v6(f, (uint16_t)(1000 + i), 25, true);
		assert_int_equal(owner(f, n), core);
	}
	assert_int_equal(count[0] + count[1], 1000);
	assert_in_range(count[0], 400, 600);
	size_t n = build_v6(f, 25, STACK_EPHEMERAL_FIRST + 2048, true);
	for (size_t cut = 0; cut <= n; cut++)
		assert_int_equal(owner(f, cut), cut < n - 16 ? HERE : 1);
	/* an error about a segment that we sent from core 1 */
	uint8_t quoted[300];
	build_v6(quoted, STACK_EPHEMERAL_FIRST + 2048, 25, false);
	memcpy(quoted + 14 + 8, f + 14 + 24, 16);
	n = build_v6(f, 0, 0, false);
	f[14 + 6] = IPPROTO_ICMPV6;
	memset(f + 54, 0, 8);
	f[54] = 2;
	memcpy(f + 62, quoted + 14, 60);
	assert_int_equal(owner(f, 62 + 60), 1);
	f[54] = 128;
	assert_int_equal(owner(f, 62 + 60), HERE);
}

static bool for_all(const uint8_t *f, size_t n)
{
	struct rte_mbuf *m = frame_make(pool, bytes_make(f, n));
	bool all = steer_for_all(m);

	rte_pktmbuf_free(m);
	return all;
}

static void test_what_every_core_must_see(void **state)
{
	static const struct {
		uint8_t type;
		bool from_nobody, all;
	} nd[] = {
		{136, false, true },
		{134, false, true },
		{135, false, false},
		{135, true,  true },
		{128, false, false},
	};
	uint8_t f[300] = {[12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

	(void)state;
	assert_true(for_all(f, 42)); /* a probe: from nobody */
	f[31] = 1;
	f[41] = 2;
	assert_false(for_all(f, 42)); /* a question */
	f[41] = 1;
	assert_true(for_all(f, 42)); /* an announcement */
	f[21] = 2;
	f[41] = 2;
	assert_true(for_all(f, 42)); /* an answer */
	for (size_t cut = 0; cut < 42; cut++)
		assert_false(for_all(f, cut));
	for (unsigned i = 0; i < ARRAY_LEN(nd); i++) {
		build_v6(f, 0, 0, false);
		f[14 + 6] = IPPROTO_ICMPV6;
		f[54] = nd[i].type;
		if (nd[i].from_nobody)
			memset(f + 22, 0, 16);
		assert_int_equal(for_all(f, 78), nd[i].all);
		for (size_t cut = 0; cut < 55; cut++)
			assert_false(for_all(f, cut));
	}
}

static void test_every_cut_is_handled(void **state)
{
	struct seg s = {.sport = 25, .dport = STACK_EPHEMERAL_FIRST, .flags = SYN};
	uint8_t f[200];
	size_t n = lone_build(f, &s);

	(void)state;
	for (size_t cut = 0; cut <= n; cut++)
		assert_int_equal(owner(f, cut), cut < 38 ? HERE : 0);
	f[14] = 0x4f; /* longer header than there is */
	assert_int_equal(owner(f, n), HERE);
	f[14] = 0x42;
	assert_int_equal(owner(f, n), HERE);
}

/* All pieces of a datagram have the same owner, whatever they carry; datagrams are spread. */
static void test_fragments_meet(void **state)
{
	struct seg s = {.sport = 25, .dport = STACK_EPHEMERAL_FIRST, .flags = SYN};
	uint8_t f[200], f6[200] = {0};
	size_t n = lone_build(f, &s);
	unsigned count[2][4] = {{0}};

	(void)state;
	memcpy(f6, f, 12);
	memcpy(f6 + 12, "\x86\xdd\x60", 3);
	f6[19] = 24;
	f6[20] = IPPROTO_FRAGMENT;
	f6[22] = f6[38] = 0x20;
	f6[54] = IPPROTO_TCP;
	for (unsigned id = 0; id < 400; id++) {
		f[18] = f6[60] = (uint8_t)(id >> 8);
		f[19] = f6[61] = (uint8_t)id;
		f[20] = 0x20; /* the first, with the ports */
		f[21] = 0;
		f6[57] = 1;
		unsigned first = owner(f, n), first6 = owner(f6, 78);
		f[20] = 0; /* the last */
		f[21] = 9;
		f6[57] = 72;
		assert_int_equal(owner(f, n), first);
		assert_int_equal(owner(f6, 78), first6);
		assert_in_range(first, 0, 3);
		count[0][first]++;
		count[1][first6]++;
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_in_range(count[0][i], 60, 140);
		assert_in_range(count[1][i], 60, 140);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ephemeral_port_names_its_core),
		cmocka_unit_test(test_service_port_is_spread_over_its_cores),
		cmocka_unit_test(test_icmp_error_goes_where_the_quoted_flow_is),
		cmocka_unit_test(test_flows_of_ipv6),
		cmocka_unit_test(test_what_every_core_must_see),
		cmocka_unit_test(test_every_cut_is_handled),
		cmocka_unit_test(test_fragments_meet),
	};
	eal_start_for_tests(32);
	pool = frame_pool_create("steer", 15);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

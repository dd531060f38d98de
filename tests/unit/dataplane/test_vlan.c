/* SPDX-License-Identifier: BSD-3-Clause
 * Frames with and without a tag of IEEE 802.1Q, taken off in software and by a card. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <rte_icmp.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/csum.h"
#include "tests/sim/frame.h"
#include "tests/sim/lone.h"

#define VLAN     42
#define UNTAGGED 0x10000u

static struct host_pools pools;
static struct lone lone;

static void start(uint16_t vlan)
{
	struct host_conf conf = {
		.address = LONE_IP, .mac = 1, .mtu = 1500, .vlan = vlan, .connections_max = 4};

	lone_init(&lone, &pools, &conf);
	lone_arp(&lone);
}

static uint64_t dropped(void)
{
	return atomic_load(&counters_mine->value[CTR_ETH_RX_VLAN]);
}

/* An echo request of n octets of IP; tci UNTAGGED: without a tag.  Returns octets. */
static size_t echo(uint8_t *f, uint32_t tci, size_t n)
{
	size_t at = tci == UNTAGGED ? 14 : 18;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + at);
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(ip + 1);

	memset(f, 0, at + n);
	memcpy(f, "\2\0\0\0\0\1\2\0\0\0\0\2\x81\0", 14);
	f[14] = (uint8_t)(tci >> 8);
	f[15] = (uint8_t)tci;
	f[at - 2] = 8;
	f[at - 1] = 0;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)n),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REQUEST;
	icmp->icmp_cksum = csum_fold(icmp, n - sizeof(*ip));
	return at + n;
}

/* The answer to the last frame: octets; 0: none. */
static size_t answer(const uint8_t **f_r)
{
	host_lap(&lone.host, lone.host.now_us);
	if (lone.taken == lone.sent_n)
		return 0;
	*f_r = lone.sent[lone.taken].octets;
	return lone.sent[lone.taken++].n;
}

static bool answered(uint32_t tci, bool tagged)
{
	const uint8_t *out = NULL;
	uint8_t f[200];

	host_input(&lone.host, bytes_make(f, echo(f, tci, 60)));
	size_t n = answer(&out);
	if (n == 0)
		return false;
	assert_int_equal(n, tagged ? 78 : 74);
	assert_memory_equal(out, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
	assert_memory_equal(out + 12, tagged ? "\x81\0\0\x2a\x08\0" : "\x08\0\x45", tagged ? 6 : 3);
	return true;
}

static void test_a_tagged_port_takes_its_own(void **state)
{
	uint64_t before = dropped();

	(void)state;
	start(VLAN);
	assert_true(answered(VLAN, true));
	assert_true(answered(VLAN | 7u << 13, true)); /* whatever the priority */
	assert_int_equal(dropped(), before);
	assert_false(answered(VLAN + 1, true));
	assert_false(answered(0, true));
	assert_false(answered(UNTAGGED, true));
	assert_int_equal(dropped(), before + 3);
	lone_fini(&lone);
}

static void test_an_untagged_port_takes_priorities(void **state)
{
	uint64_t before = dropped();

	(void)state;
	start(0);
	assert_true(answered(UNTAGGED, false));
	assert_true(answered(5u << 13, false)); /* VLAN 0: a priority alone */
	assert_int_equal(dropped(), before);
	assert_false(answered(VLAN, false));
	assert_int_equal(dropped(), before + 1);
	lone_fini(&lone);
}

static void test_the_largest_packet_and_its_tag(void **state)
{
	const uint8_t *out;
	uint8_t f[2000];

	(void)state;
	start(VLAN);
	host_input(&lone.host, bytes_make(f, echo(f, VLAN, 1500)));
	assert_int_equal(answer(&out), 1518);
	lone_fini(&lone);
}

static void test_every_cut(void **state)
{
	uint8_t f[200];
	size_t n = echo(f, VLAN, 60);
	const uint8_t *out;

	(void)state;
	start(VLAN);
	for (size_t cut = 0; cut < n; cut++) {
		host_input(&lone.host, bytes_make(f, cut));
		assert_int_equal(answer(&out), 0);
	}
	lone_fini(&lone);
}

static void test_fragments_come_together_in_their_vlan(void **state)
{
	uint8_t f[200], part[200];
	const uint8_t *out = NULL;

	(void)state;
	start(VLAN);
	size_t n = echo(f, VLAN, 100);
	for (unsigned i = 0; i < 2; i++) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(part + 18);
		memcpy(part, f, n);
		ip->total_length = rte_cpu_to_be_16(60);
		ip->fragment_offset = rte_cpu_to_be_16(i ? 5 : RTE_IPV4_HDR_MF_FLAG);
		memcpy(part + 38, f + 38 + 40 * i, 40);
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		host_input(&lone.host, bytes_make(part, 78));
	}
	assert_int_equal(answer(&out), n);
	assert_memory_equal(out + 12, "\x81\0\0\x2a\x08\0", 6);
	lone_fini(&lone);
}

static struct rte_mbuf *last_sent;

static void keep_tx(void *ctx, unsigned port, struct rte_mbuf *m)
{
	(void)ctx;
	(void)port;
	rte_pktmbuf_free(last_sent);
	last_sent = m;
}

/* The card takes the tag off, and puts it in. */
static void test_tags_by_the_card(void **state)
{
	uint8_t f[200];
	size_t n;

	(void)state;
	start(VLAN);
	struct stack *st = lone.host.stack;
	st->conf.ports[0].tx_vlan = true;
	st->env.tx = keep_tx;
	for (uint16_t vlan = VLAN; vlan <= VLAN + 1; vlan++) {
		n = echo(f, UNTAGGED, 60);
		struct rte_mbuf *m = frame_make(pools.rx, bytes_make(f, n));
		m->vlan_tci = (uint16_t)(vlan | 3u << 13);
		m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		stack_input(st, 0, &m, 1, lone.host.now_us);
		host_lap(&lone.host, lone.host.now_us);
		if (vlan != VLAN) {
			assert_null(last_sent);
			break;
		}
		/* no head room for a tag in software: then there is no answer, and no harm */
		if (last_sent) {
			assert_int_equal(last_sent->vlan_tci, VLAN);
			assert_true(last_sent->ol_flags & RTE_MBUF_F_TX_VLAN);
			assert_int_equal(last_sent->data_len, 74);
		}
		rte_pktmbuf_free(last_sent);
		last_sent = NULL;
	}
	/* what the stack makes itself */
	struct seg s = {.sport = 40000, .dport = 25, .flags = SYN};
	n = lone_build(f, &s);
	struct rte_mbuf *m = frame_make(pools.rx, bytes_make(f, n));
	m->vlan_tci = VLAN;
	m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	stack_input(st, 0, &m, 1, lone.host.now_us);
	assert_non_null(last_sent);
	assert_int_equal(last_sent->vlan_tci, VLAN);
	assert_true(last_sent->ol_flags & RTE_MBUF_F_TX_VLAN);
	assert_int_equal(last_sent->data_len, 14 + 40);
	rte_pktmbuf_free(last_sent);
	last_sent = NULL;
	lone_fini(&lone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_tagged_port_takes_its_own),
		cmocka_unit_test(test_an_untagged_port_takes_priorities),
		cmocka_unit_test(test_the_largest_packet_and_its_tag),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_fragments_come_together_in_their_vlan),
		cmocka_unit_test(test_tags_by_the_card),
	};

	eal_start_for_tests(64);
	host_pools_init(&pools, "vlan", 255, 255);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

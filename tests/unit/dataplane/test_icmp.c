/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP errors that the stack sends: for what, with what in them, never for what, and how many; and
 * fragments of IPv6, of which some are told about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/csum.h"
#include "tests/sim/lone.h"

#define V4_MINE 0xc6120001u
#define NOBODY  253 /* RFC 3692 */

static struct host_pools pools;
static struct lone lone;
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const struct ip_addr peer6 = {
	{0x20, 1, 0, 2, [15] = 2}
};

static int setup(void **state)
{
	struct host_conf conf = {
		.address = LONE_IP, .mac = 1, .mtu = 1500, .v6 = true, .connections_max = 4};

	(void)state;
	lone_init(&lone, &pools, &conf);
	lone_arp(&lone);
	stack_neigh_add(lone.host.stack, 0, &peer6, peer_mac, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lone_fini(&lone);
	return 0;
}

static uint64_t count(enum counter c)
{
	return atomic_load(&counters_mine->value[c]);
}

/* Of the packet that is made and sent. */
static struct ask {
	uint8_t protocol;
	const char *payload; /* NULL: zeros */
	size_t payload_n;
	uint32_t from, to; /* IPv4 */
	uint16_t fragment; /* the header's field */
	struct ip_addr from6, to6;
	uint8_t mac0; /* first octet of the Ethernet destination */
	uint8_t hops; /* 0: 64 */
} ask;
static uint8_t packet[2048];
static size_t packet_n;

static void give(uint16_t type)
{
	uint8_t frame[2100];

	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	if (ask.mac0)
		memset(frame, ask.mac0, 6);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	memcpy(frame + 14, packet, packet_n);
	host_input(&lone.host, bytes_make(frame, 14 + packet_n));
	host_lap(&lone.host, lone.host.now_us);
}

static void send4(void)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)packet;

	memset(packet, 0, sizeof(packet));
	packet_n = 20 + ask.payload_n;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)packet_n),
		.packet_id = 77,
		.fragment_offset = rte_cpu_to_be_16(ask.fragment),
		.next_proto_id = ask.protocol,
		.src_addr = rte_cpu_to_be_32(ask.from ? ask.from : LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(ask.to ? ask.to : LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	if (ask.payload)
		memcpy(packet + 20, ask.payload, ask.payload_n);
	give(RTE_ETHER_TYPE_IPV4);
}

static void send6(void)
{
	static const struct ip_addr none;
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)packet;
	struct ip_addr mine = host_ip6(&lone.host);

	memset(packet, 0, sizeof(packet));
	packet_n = 40 + ask.payload_n;
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)ask.payload_n),
		.proto = ask.protocol,
		.hop_limits = ask.hops ? ask.hops : 64,
	};
	memcpy(ip->src_addr, ip_eq(&ask.from6, &none) ? peer6.octets : ask.from6.octets, 16);
	memcpy(ip->dst_addr, ip_eq(&ask.to6, &none) ? mine.octets : ask.to6.octets, 16);
	if (ask.payload)
		memcpy(packet + 40, ask.payload, ask.payload_n);
	give(RTE_ETHER_TYPE_IPV6);
}

/* The next IP packet that the stack sent, without neighbour discovery; NULL: none. */
static const uint8_t *answer(size_t *n_r)
{
	while (lone.taken < lone.sent_n) {
		const uint8_t *f = lone.sent[lone.taken].octets;
		*n_r = lone.sent[lone.taken++].n - 14;
		bool v6 = f[12] == 0x86 && f[13] == 0xdd;
		if ((f[12] == 8 && f[13] == 0) || (v6 && (f[20] != IPPROTO_ICMPV6 || f[54] < 133)))
			return f + 14;
	}
	return NULL;
}

static void expect_nothing(void)
{
	size_t n;

	assert_null(answer(&n));
}

static void expect_error4(uint8_t type, uint8_t code)
{
	size_t n = 0;
	const uint8_t *ip = answer(&n);

	assert_non_null(ip);
	assert_int_equal(ip[9], IPPROTO_ICMP);
	assert_memory_equal(ip + 12, packet + 16, 4); /* from whom it was for */
	assert_memory_equal(ip + 16, packet + 12, 4);
	assert_int_equal(ip[20], type);
	assert_int_equal(ip[21], code);
	assert_int_equal(csum_fold(ip + 20, n - 20), 0);
	assert_int_equal(n - 28, MIN(packet_n, (size_t)(576 - 28)));
	assert_memory_equal(ip + 28, packet, n - 28);
}

static void expect_error6(uint8_t type, uint8_t code, uint32_t pointer)
{
	size_t n = 0;
	const uint8_t *ip = answer(&n);
	struct ip_addr from, to;

	assert_non_null(ip);
	memcpy(from.octets, ip + 8, 16);
	memcpy(to.octets, ip + 24, 16);
	assert_int_equal(ip[6], IPPROTO_ICMPV6);
	assert_memory_equal(ip + 8, packet + 24, 16);
	assert_memory_equal(ip + 24, packet + 8, 16);
	assert_int_equal(ip[40], type);
	assert_int_equal(ip[41], code);
	assert_int_equal(csum_l4(&from, &to, IPPROTO_ICMPV6, ip + 40, n - 40), 0);
	assert_int_equal(ip[44] << 24 | ip[45] << 16 | ip[46] << 8 | ip[47], pointer);
	assert_int_equal(n - 48, MIN(packet_n, (size_t)(1280 - 48)));
	assert_memory_equal(ip + 48, packet, n - 48);
}

static void test_what_nobody_takes(void **state)
{
	(void)state;
	ask = (struct ask){.protocol = IPPROTO_UDP, .payload_n = 20};
	send4();
	expect_error4(3, 3);
	send6();
	expect_error6(1, 4, 0);
	ask.protocol = NOBODY;
	send4();
	expect_error4(3, 2);
	send6();
	expect_error6(4, 1, 6);
	ask.payload_n = 1400; /* as much of it as may be */
	send4();
	expect_error4(3, 2);
	send6();
	expect_error6(4, 1, 6);
}

static void test_extension_headers(void **state)
{
	(void)state;
	/* destination options, then a protocol that nobody takes: its number stands at 40 */
	ask = (struct ask){.protocol = IPPROTO_DSTOPTS,
		.payload = "\xfd\0\1\4\0\0\0\0"
			   "12345678",
		.payload_n = 16};
	send6();
	expect_error6(4, 1, 40);
	/* an option that wants to be known */
	ask.payload = "\6\0\x80\4\0\0\0\0"
		      "12345678";
	send6();
	expect_error6(4, 2, 42);
	/* no next header: nothing to be said */
	ask = (struct ask){.protocol = IPPROTO_NONE, .payload_n = 8};
	send6();
	expect_nothing();
}

static void test_never_to_or_from_many(void **state)
{
	static const uint32_t froms[] = {0, 0x7f000001, 0xe0000001, 0xffffffff, V4_MINE};
	static const uint32_t tos[] = {0xe0000001, 0xffffffff, 0xc61200ff};
	static const struct ip_addr groups[] = {
		{{0xff, 2, [15] = 1}}, {{0xff, 2, [11] = 1, 0xff, 0, 0, 1}}};
	static const struct ip_addr sources[] = {{{0}}, {{[15] = 1}}, {{0xff, 2, [15] = 1}}};

	(void)state;
	ask = (struct ask){.protocol = IPPROTO_UDP, .payload_n = 20};
	for (unsigned i = 1; i < ARRAY_LEN(froms); i++) {
		ask.from = froms[i];
		send4();
	}
	ask.from = 0;
	for (unsigned i = 0; i < ARRAY_LEN(tos); i++) {
		ask.to = tos[i];
		ask.mac0 = i ? 0xff : 0;
		send4();
	}
	ask.to = 0;
	ask.mac0 = 0xff; /* to us, but to all of the link (RFC 1122 3.2.2) */
	send4();
	ask.mac0 = 0x33;
	send6();
	ask.mac0 = 0;
	for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
		ask.to6 = groups[i];
		send6();
	}
	memset(&ask.to6, 0, sizeof(ask.to6));
	for (unsigned i = 1; i < ARRAY_LEN(sources); i++) {
		ask.from6 = sources[i];
		send6();
	}
	expect_nothing();
}

static void test_never_about_errors(void **state)
{
	char error[28] = {3, 3, 0, 0, 0, 0, 0, 0, 0x45};

	(void)state;
	/* broken in many ways, but an ICMP message: silence */
	ask = (struct ask){.protocol = IPPROTO_ICMP, .payload = error, .payload_n = 28};
	for (unsigned type = 0; type < 256; type++) {
		error[0] = (char)type;
		send4();
	}
	expect_nothing();
	ask.protocol = IPPROTO_ICMPV6;
	for (unsigned type = 0; type < 256; type++) {
		error[0] = (char)type;
		send6();
	}
	expect_nothing();
	/* an error with an option nobody knows in front */
	char bad[16] = {IPPROTO_ICMPV6, 0, (char)0x80, 4, 0, 0, 0, 0, 1, 4};
	ask = (struct ask){.protocol = IPPROTO_DSTOPTS, .payload = bad, .payload_n = 16};
	send6();
	expect_nothing();
	bad[8] = (char)128; /* an echo request is none */
	send6();
	expect_error6(4, 2, 42);
}

static void test_never_about_later_fragments(void **state)
{
	(void)state;
	ask = (struct ask){.protocol = NOBODY, .payload_n = 16, .fragment = 1};
	send4();
	lone_wait(&lone, 61 * US_PER_SEC);
	expect_nothing();
}

/* RFC 8200 4.5 */
static void test_fragments_that_cannot_be(void **state)
{
	char f[32] = {(char)NOBODY, 0, 0, 1, 1, 2, 3, 4};

	(void)state;
	ask = (struct ask){.protocol = IPPROTO_FRAGMENT, .payload = f, .payload_n = 8 + 15};
	send6(); /* not a multiple of 8 octets, and more to come */
	expect_error6(4, 0, 4);
	f[2] = (char)0xff;
	f[3] = (char)0xf8;
	ask.payload_n = 8 + 16;
	send6(); /* beyond 65,535 octets: a later fragment, about which nothing is said */
	expect_nothing();
}

static void test_timeout_of_ipv6(void **state)
{
	char f[32] = {(char)NOBODY, 0, 0, 1, 1, 2, 3, 4, 'a', 'b', 'c'};

	(void)state;
	ask = (struct ask){.protocol = IPPROTO_FRAGMENT, .payload = f, .payload_n = 8 + 24};
	send6();
	expect_nothing();
	lone_wait(&lone, 61 * US_PER_SEC);
	expect_error6(3, 1, 0);
}

/* An echo request of IPv6, whole or in two pieces. */
static void echo6(char *f, size_t n, uint8_t next)
{
	struct ip_addr mine = host_ip6(&lone.host);
	uint16_t sum;

	memset(f, 'x', n);
	memset(f, 0, 16);
	f[0] = (char)next;
	f[8] = (char)128;
	sum = csum_l4(&peer6, &mine, IPPROTO_ICMPV6, f + 8, n - 8);
	memcpy(f + 10, &sum, 2);
}

static void expect_echo6(const char *f, size_t n)
{
	size_t got = 0;
	const uint8_t *ip = answer(&got);

	assert_non_null(ip);
	assert_int_equal(got, 40 + n - 8);
	assert_int_equal(ip[6], IPPROTO_ICMPV6);
	assert_int_equal(ip[40], 129);
	assert_memory_equal(ip + 44, f + 12, n - 12);
}

/* RFC 6946: a fragment that is all of it waits for nobody, and disturbs nobody of its name. */
static void test_atomic_fragments(void **state)
{
	char f[8 + 64], first[8 + 32], last[8 + 32];

	(void)state;
	echo6(f, sizeof(f), IPPROTO_ICMPV6);
	memcpy(first, f, sizeof(first));
	first[3] = 1;
	ask = (struct ask){
		.protocol = IPPROTO_FRAGMENT, .payload = first, .payload_n = sizeof(first)};
	send6();
	expect_nothing();
	ask.payload = f; /* the same identification */
	ask.payload_n = sizeof(f);
	send6();
	expect_echo6(f, sizeof(f));
	memcpy(last, f, 8);
	memcpy(last + 8, f + 8 + 32, 32);
	last[3] = 32;
	ask.payload = last;
	ask.payload_n = sizeof(last);
	send6();
	expect_echo6(f, sizeof(f));
	assert_true(list_empty(&lone.host.stack->reass.by_age));
}

/* Headers before the fragment header belong to the packet, those behind it to what was cut. */
static void test_headers_before_and_behind(void **state)
{
	char f[8 + 64], first[16 + 16 + 24], last[16 + 40];
	uint64_t ok = count(CTR_IP_REASS_OK);

	(void)state;
	echo6(f, sizeof(f), IPPROTO_ICMPV6);
	/* destination options, fragment header, then destination options and the echo request */
	memcpy(first, "\x2c\0\1\4\0\0\0\0", 8);
	memcpy(first + 8, "\x3c\0\0\1\0\0\0\x63", 8);
	memcpy(first + 16, "\x3a\0\1\4\0\0\0\0", 8);
	memcpy(first + 24, f + 8, 32);
	ask = (struct ask){
		.protocol = IPPROTO_DSTOPTS, .payload = first, .payload_n = sizeof(first)};
	send6();
	memcpy(last, first, 16);
	last[11] = 40;
	memcpy(last + 16, f + 8 + 32, 32);
	ask.payload = last;
	ask.payload_n = 16 + 32;
	send6();
	assert_int_equal(count(CTR_IP_REASS_OK) - ok, 1);
	expect_echo6(f, sizeof(f));
}

/* A datagram that was put together is no fragment itself: no tower of them is built. */
static void test_no_fragments_of_fragments(void **state)
{
	char f[8 + 8 + 64];
	uint64_t bad = count(CTR_IP_REASS_BAD);

	(void)state;
	echo6(f + 8, sizeof(f) - 8, IPPROTO_ICMPV6);
	memset(f, 0, 8);
	f[0] = IPPROTO_FRAGMENT;
	ask = (struct ask){.protocol = IPPROTO_FRAGMENT, .payload = f, .payload_n = sizeof(f)};
	send6();
	expect_nothing();
	assert_int_equal(count(CTR_IP_REASS_BAD) - bad, 1);
}

/* RFC 6980: a solicitation is answered, but not when it comes in a fragment. */
static void test_no_neighbour_discovery_in_fragments(void **state)
{
	struct ip_addr mine = host_ip6(&lone.host);
	char f[8 + 32] = {IPPROTO_ICMPV6};
	uint16_t sum;

	(void)state;
	f[8] = (char)135;
	memcpy(f + 16, mine.octets, 16);
	memcpy(f + 32, "\1\1\2\0\0\0\0\2", 8);
	sum = csum_l4(&peer6, &mine, IPPROTO_ICMPV6, f + 8, 32);
	memcpy(f + 10, &sum, 2);
	ask = (struct ask){
		.protocol = IPPROTO_FRAGMENT, .payload = f, .payload_n = sizeof(f), .hops = 255};
	unsigned before = lone.sent_n;
	send6();
	assert_int_equal(lone.sent_n, before);
	ask.protocol = IPPROTO_ICMPV6;
	ask.payload = f + 8;
	ask.payload_n = 32;
	send6();
	assert_int_equal(lone.sent_n, before + 1);
	assert_int_equal(lone.sent[before].octets[54], 136);
}

static unsigned errors_for(unsigned n, uint32_t from, uint64_t every_us)
{
	uint64_t before = count(CTR_ICMP_TX_ERRORS);

	for (unsigned i = 0; i < n; i++) {
		ask = (struct ask){.protocol = IPPROTO_UDP, .payload_n = 20, .from = from};
		send4();
		if (every_us)
			host_lap(&lone.host, lone.host.now_us + every_us);
	}
	return (unsigned)(count(CTR_ICMP_TX_ERRORS) - before);
}

static void test_few_to_one_network(void **state)
{
	uint64_t limited = count(CTR_ICMP_TX_LIMITED);

	(void)state;
	assert_int_equal(errors_for(1000, LONE_PEER, 0), ICMP_PREFIX_RATE);
	assert_int_equal(count(CTR_ICMP_TX_LIMITED) - limited, 1000 - ICMP_PREFIX_RATE);
	assert_int_equal(errors_for(100, LONE_PEER + 7, 0), 0); /* the same network */
	host_lap(&lone.host, lone.host.now_us + US_PER_SEC);
	assert_int_equal(errors_for(100, LONE_PEER, 0), ICMP_PREFIX_RATE);
	/* ten seconds of a flood: so many a second */
	assert_in_range(errors_for(10000, LONE_PEER, US_PER_MS), 90, 110);
}

static void test_few_to_all(void **state)
{
	uint64_t before = count(CTR_ICMP_TX_ERRORS);

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		errors_for(1, 0x0a000001u + (i << 8), 0);
	assert_int_equal(count(CTR_ICMP_TX_ERRORS) - before, ICMP_SEND_BURST);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_nobody_takes),
		TEST(test_extension_headers),
		TEST(test_never_to_or_from_many),
		TEST(test_never_about_errors),
		TEST(test_never_about_later_fragments),
		TEST(test_fragments_that_cannot_be),
		TEST(test_timeout_of_ipv6),
		TEST(test_atomic_fragments),
		TEST(test_headers_before_and_behind),
		TEST(test_no_fragments_of_fragments),
		TEST(test_no_neighbour_discovery_in_fragments),
		TEST(test_few_to_one_network),
		TEST(test_few_to_all),
	};

	eal_start_for_tests(64);
	host_pools_init(&pools, "icmp", 1023, 1023);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

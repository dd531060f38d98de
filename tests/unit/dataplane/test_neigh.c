/* SPDX-License-Identifier: BSD-3-Clause
 * ARP, IPv4 and ICMP input of one stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_icmp.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/csum.h"
#include "tests/sim/lone.h"

static struct host_pools pools;
static struct lone lone;
static struct stream stream;
static unsigned closes;
static enum stream_reason closed_for;

static void on_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	closes++;
	closed_for = reason;
}

static const struct stream_ops ops = {.on_close = on_close};

static int setup(void **state)
{
	struct host_conf conf = {.address = LONE_IP, .mac = 1, .mtu = 1500, .connections_max = 64};

	(void)state;
	closes = 0;
	lone_init(&lone, &pools, &conf);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lone_fini(&lone);
	return 0;
}

static void connect_to(uint32_t ip)
{
	struct endpoint remote = {ip_from_v4(rte_cpu_to_be_32(ip)), 25};

	stream = (struct stream){.ops = &ops};
	assert_int_equal(stream_connect(lone.host.stack, &stream, &remote, 60 * US_PER_SEC), 0);
	host_lap(&lone.host, lone.host.now_us);
}

/* Runs the clock without the help of lone_wait, which answers for the neighbour. */
static void wait_alone(uint64_t us)
{
	for (uint64_t t = 0; t < us; t += 10 * US_PER_MS)
		host_lap(&lone.host, lone.host.now_us + 10 * US_PER_MS);
}

static const struct rte_arp_hdr *next_arp(void)
{
	while (lone.taken < lone.sent_n) {
		const uint8_t *f = lone.sent[lone.taken++].octets;
		if (f[12] == 8 && f[13] == 6)
			return (const struct rte_arp_hdr *)(f + 14);
	}
	return NULL;
}

static void arp(uint16_t op, uint32_t from, uint32_t to, uint8_t mac)
{
	uint8_t f[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, mac, 8, 6};
	struct rte_arp_hdr *a = (struct rte_arp_hdr *)(f + 14);

	*a = (struct rte_arp_hdr){
		.arp_hardware = rte_cpu_to_be_16(1),
		.arp_protocol = rte_cpu_to_be_16(0x800),
		.arp_hlen = 6,
		.arp_plen = 4,
		.arp_opcode = rte_cpu_to_be_16(op),
	};
	memcpy(&a->arp_data.arp_sha, (uint8_t[]){2, 0, 0, 0, 0, mac}, 6);
	a->arp_data.arp_sip = rte_cpu_to_be_32(from);
	a->arp_data.arp_tip = rte_cpu_to_be_32(to);
	host_input(&lone.host, bytes_make(f, sizeof(f)));
}

static uint32_t neighbours(void)
{
	struct stack_info info;

	stack_get_info(lone.host.stack, &info);
	return info.neighbours;
}

static void test_question_is_answered_and_the_asker_learned(void **state)
{
	(void)state;
	arp(RTE_ARP_OP_REQUEST, LONE_PEER, LONE_IP, 9);
	const struct rte_arp_hdr *a = next_arp();
	assert_non_null(a);
	assert_int_equal(rte_be_to_cpu_16(a->arp_opcode), RTE_ARP_OP_REPLY);
	assert_int_equal(rte_be_to_cpu_32(a->arp_data.arp_sip), LONE_IP);
	assert_int_equal(a->arp_data.arp_tha.addr_bytes[5], 9);
	assert_int_equal(neighbours(), 1);
}

static void test_strangers_are_not_learned(void **state)
{
	(void)state;
	arp(RTE_ARP_OP_REPLY, LONE_PEER, LONE_IP, 9);       /* not asked for */
	arp(RTE_ARP_OP_REQUEST, LONE_PEER, LONE_IP + 9, 9); /* not for us */
	arp(RTE_ARP_OP_REQUEST, 0x01020304, LONE_IP, 9);    /* not on our link */
	arp(RTE_ARP_OP_REQUEST, LONE_IP, LONE_IP, 9);       /* claims to be us */
	assert_int_equal(neighbours(), 0);
}

static void test_frames_wait_for_the_answer(void **state)
{
	struct seg s;

	(void)state;
	connect_to(LONE_PEER);
	const struct rte_arp_hdr *a = next_arp();
	assert_non_null(a);
	assert_int_equal(rte_be_to_cpu_32(a->arp_data.arp_tip), LONE_PEER);
	assert_false(lone_next(&lone, &s));
	arp(RTE_ARP_OP_REPLY, LONE_PEER, LONE_IP, 9);
	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.flags, SYN);
}

static void test_silent_neighbour_is_unreachable(void **state)
{
	unsigned asked = 0;

	(void)state;
	connect_to(LONE_PEER);
	wait_alone(4 * US_PER_SEC);
	while (next_arp())
		asked++;
	assert_int_equal(asked, NEIGH_TRIES);
	assert_int_equal(closes, 1);
	assert_int_equal(closed_for, STREAM_UNREACHABLE);
	assert_int_equal(neighbours(), 0);
	assert_int_equal(lone.host.wheel.armed, 0);
}

static const struct neigh *entry(void)
{
	for (unsigned i = 0; i < NEIGH_MAX; i++) {
		if (lone.host.stack->neigh.entries[i].state != NEIGH_FREE)
			return &lone.host.stack->neigh.entries[i];
	}
	return NULL;
}

/* RFC 4861 7.3: who has asked is stale; sending to it begins a delay, then it is asked by unicast,
 * and dropped when silent. */
static void test_states_of_an_entry(void **state)
{
	const struct rte_arp_hdr *a;
	struct seg s;

	(void)state;
	arp(RTE_ARP_OP_REQUEST, LONE_PEER, LONE_IP, 9);
	next_arp();
	assert_int_equal(entry()->state, NEIGH_STALE);
	wait_alone(100 * US_PER_SEC);
	assert_int_equal(entry()->state, NEIGH_STALE); /* nobody needs it */
	connect_to(LONE_PEER);
	assert_true(lone_next(&lone, &s)); /* it is believed meanwhile */
	assert_int_equal(entry()->state, NEIGH_DELAY);
	wait_alone(NEIGH_DELAY_US - 100 * US_PER_MS);
	assert_null(next_arp());
	wait_alone(200 * US_PER_MS);
	assert_int_equal(entry()->state, NEIGH_PROBE);
	a = next_arp();
	assert_non_null(a);
	assert_int_equal(((const uint8_t *)a - 14)[5], 9); /* to it alone */
	arp(RTE_ARP_OP_REPLY, LONE_PEER, LONE_IP, 9);
	assert_int_equal(entry()->state, NEIGH_REACHABLE);
	stream_close(&stream);
	wait_alone(46 * US_PER_SEC);
	connect_to(LONE_PEER);
	assert_int_equal(entry()->state, NEIGH_DELAY);
	wait_alone(NEIGH_DELAY_US + 4 * US_PER_SEC);
	stream_close(&stream);
	wait_alone(4 * US_PER_SEC);
	assert_int_equal(neighbours(), 0);
	assert_int_equal(lone.host.wheel.armed, 0);
}

/* RFC 1122 3.3.1.4: what is sent again makes its next hop doubtful, unless that was confirmed
 * lately. */
static void test_timeout_of_tcp_raises_doubts(void **state)
{
	const struct rte_arp_hdr *a;

	(void)state;
	lone_arp(&lone);
	connect_to(LONE_PEER);
	wait_alone(2 * US_PER_SEC); /* the SYN went again after one second */
	assert_int_equal(entry()->state, NEIGH_REACHABLE);
	wait_alone(2 * US_PER_SEC); /* and after three */
	assert_int_equal(entry()->state, NEIGH_PROBE);
	a = next_arp();
	assert_non_null(a);
	assert_int_equal(((const uint8_t *)a - 14)[5], 2); /* to it alone */
	stream_abort(&stream);
}

/* RFC 4861 7.3.1: what is acknowledged has arrived. */
static void test_progress_of_tcp_confirms(void **state)
{
	struct seg s, answer = {.sport = 25, .flags = SYN | ACK, .seq = 100, .window = 60000};

	(void)state;
	lone_arp(&lone);
	connect_to(LONE_PEER);
	assert_true(lone_next(&lone, &s));
	answer.dport = s.sport;
	answer.ack = s.seq + 1;
	lone_send(&lone, &answer);
	answer.flags = ACK;
	answer.seq++;
	for (unsigned i = 0; i < 30; i++) { /* five minutes */
		assert_int_equal(stream_send(&stream, BYTES_LIT("x")), 1);
		wait_alone(10 * US_PER_MS);
		answer.ack++;
		lone_send(&lone, &answer);
		assert_int_equal(entry()->state, NEIGH_REACHABLE);
		wait_alone(10 * US_PER_SEC);
	}
	assert_null(next_arp());
	stream_abort(&stream);
}

static void test_table_is_bounded(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		struct ip_addr ip = ip_from_v4(rte_cpu_to_be_32(0x0a000000 + i));
		stack_neigh_add(lone.host.stack, 0, &ip, (uint8_t[]){2, 0, 0, 0, 0, 3}, true);
	}
	assert_int_equal(neighbours(), NEIGH_MAX);
}

static void test_queue_of_an_entry_is_bounded(void **state)
{
	struct stream many[20];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		struct endpoint remote = {
			ip_from_v4(rte_cpu_to_be_32(LONE_PEER)), (uint16_t)(i + 1)};
		many[i] = (struct stream){.ops = &ops};
		assert_int_equal(
			stream_connect(lone.host.stack, &many[i], &remote, 60 * US_PER_SEC), 0);
	}
	host_lap(&lone.host, lone.host.now_us);
	assert_int_equal(rte_mempool_in_use_count(pools.control), NEIGH_QUEUE_MAX);
	for (unsigned i = 0; i < 20; i++)
		stream_abort(&many[i]);
}

/* ---- IPv4 and ICMP ---- */

static size_t ping(uint8_t *f, size_t payload)
{
	size_t icmp_n = sizeof(struct rte_icmp_hdr) + payload;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + 14);
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(ip + 1);

	memcpy(f, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, 14);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(20 + icmp_n)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*icmp = (struct rte_icmp_hdr){.icmp_type = RTE_IP_ICMP_ECHO_REQUEST};
	memset(icmp + 1, 0x5a, payload);
	icmp->icmp_cksum = csum_fold(icmp, icmp_n);
	return 14 + 20 + icmp_n;
}

static const uint8_t *sent_one(void)
{
	return lone.taken < lone.sent_n ? lone.sent[lone.taken++].octets : NULL;
}

static void test_echo_is_answered_without_padding(void **state)
{
	uint8_t f[1600] = {0};

	(void)state;
	lone_arp(&lone);
	for (size_t payload = 0; payload <= 1472; payload += 368) {
		size_t n = ping(f, payload);
		host_input(&lone.host, bytes_make(f, MAX(n, (size_t)60)));
		const uint8_t *r = sent_one();
		assert_non_null(r);
		assert_int_equal(lone.sent[lone.taken - 1].n, n);
		assert_int_equal(r[34], RTE_IP_ICMP_ECHO_REPLY);
		assert_true(csum_ip4_ok((const struct rte_ipv4_hdr *)(r + 14)));
		assert_int_equal(csum_fold(r + 34, n - 34), 0);
	}
}

static void test_every_damage_is_dropped(void **state)
{
	uint8_t f[100];
	size_t n = ping(f, 8);

	(void)state;
	lone_arp(&lone);
	for (size_t i = 14; i < n; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			f[i] ^= (uint8_t)(1 << bit);
			host_input(&lone.host, bytes_make(f, n));
			assert_null(sent_one());
			f[i] ^= (uint8_t)(1 << bit);
		}
	}
	for (size_t cut = 0; cut < n; cut++) {
		host_input(&lone.host, bytes_make(f, cut));
		assert_null(sent_one());
	}
	host_input(&lone.host, bytes_make(f, n));
	assert_non_null(sent_one());
}

static void test_fragments_and_foreign_packets_are_dropped(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} edits[] = {
		{20, 0x20}, /* more fragments */
		{21, 1   }, /* offset */
		{33, 7   }, /* another destination */
		{26, 224 }, /* multicast source */
		{26, 127 },
                {26, 0   },
                {0,  4   }, /* another MAC */
	};
	uint8_t f[100];

	(void)state;
	lone_arp(&lone);
	for (unsigned i = 0; i < ARRAY_LEN(edits); i++) {
		size_t n = ping(f, 8);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + 14);
		f[edits[i].at] = edits[i].value;
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		host_input(&lone.host, bytes_make(f, n));
		assert_null(sent_one());
	}
}

static void test_icmp_error_ends_only_the_attempt_it_quotes(void **state)
{
	uint8_t f[100] = {0};
	struct seg s;

	(void)state;
	lone_arp(&lone);
	connect_to(LONE_PEER);
	assert_true(lone_next(&lone, &s));
	size_t n = ping(f, 28);
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(f + 34);
	memcpy(icmp + 1, lone.sent[lone.taken - 1].octets + 14, 28);
	icmp->icmp_type = 3;
	icmp->icmp_code = 1;
	for (int wrong = 1; wrong >= 0; wrong--) {
		f[34 + 8 + 20 + 7] ^= (uint8_t)wrong; /* quoted sequence number */
		icmp->icmp_cksum = 0;
		icmp->icmp_cksum = csum_fold(icmp, n - 34);
		host_input(&lone.host, bytes_make(f, n));
		f[34 + 8 + 20 + 7] ^= (uint8_t)wrong;
		assert_int_equal(closes, wrong ? 0 : 1);
	}
	assert_int_equal(closed_for, STREAM_UNREACHABLE);
}

static void test_no_route_is_told_at_once(void **state)
{
	struct endpoint remote = {ip_from_v4(rte_cpu_to_be_32(0x08080808)), 25};

	(void)state;
	stream = (struct stream){.ops = &ops};
	assert_int_equal(stream_connect(lone.host.stack, &stream, &remote, US_PER_SEC), -101);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_question_is_answered_and_the_asker_learned),
		T(test_strangers_are_not_learned),
		T(test_frames_wait_for_the_answer),
		T(test_silent_neighbour_is_unreachable),
		T(test_states_of_an_entry),
		T(test_timeout_of_tcp_raises_doubts),
		T(test_progress_of_tcp_confirms),
		T(test_table_is_bounded),
		T(test_queue_of_an_entry_is_bounded),
		T(test_echo_is_answered_without_padding),
		T(test_every_damage_is_dropped),
		T(test_fragments_and_foreign_packets_are_dropped),
		T(test_icmp_error_ends_only_the_attempt_it_quotes),
		T(test_no_route_is_told_at_once),
	};
	eal_start_for_tests(64);
	host_pools_init(&pools, "n", 255, 255);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

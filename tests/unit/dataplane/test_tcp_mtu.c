/* SPDX-License-Identifier: BSD-3-Clause
 * Path MTU discovery: what routers say, what forgers say, and what nobody says. */
#include <netinet/in.h>
#include <rte_icmp.h>
#include "dataplane/base/counters.h"
#include "dataplane/csum.h"
#include "tests/unit/dataplane/hand.h"

static struct hand h;
static const uint8_t offer[] = {2, 4, 1460 >> 8, 1460 & 255, 4, 2, 1, 1}; /* MSS, SACK */

static int setup(void **state)
{
	(void)state;
	h.conf = (struct host_conf){.rcv_buffer = 60000};
	hand_init(&h);
	hand_handshake(&h, bytes_make(offer, sizeof(offer)));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hand_fini(&h);
	return 0;
}

static uint64_t count(enum counter c)
{
	return atomic_load(&counters_mine->value[c]);
}

/* "Fragmentation needed" about the segment of packet_n octets that began at seq. */
static void too_big(uint32_t seq, uint16_t packet_n, uint16_t mtu)
{
	uint8_t f[200] = {0};
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + 14), *quote = (void *)(f + 42);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(quote + 1);

	memcpy(f, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(20 + 8 + 28),
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(LONE_PEER + 100), /* a router */
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	f[34] = 3;
	f[35] = 4;
	f[40] = (uint8_t)(mtu >> 8);
	f[41] = (uint8_t)mtu;
	*quote = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(packet_n),
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
		.next_proto_id = IPPROTO_TCP,
		.src_addr = rte_cpu_to_be_32(LONE_IP),
		.dst_addr = rte_cpu_to_be_32(LONE_PEER),
	};
	tcp->src_port = rte_cpu_to_be_16(HAND_PORT);
	tcp->dst_port = rte_cpu_to_be_16(HAND_OURS);
	tcp->sent_seq = rte_cpu_to_be_32(seq);
	uint16_t sum = csum_fold(f + 34, 36);
	memcpy(f + 36, &sum, 2);
	host_input(&h.lone.host, bytes_make(f, 70));
	host_lap(&h.lone.host, h.lone.host.now_us);
	host_check(&h.lone.host);
}

static void expect_segment(uint32_t seq, size_t n)
{
	struct seg s = hand_hear(&h);

	assert_int_equal(s.seq - h.rcv, seq);
	assert_int_equal(s.payload_n, n);
}

static void ack(uint32_t upto)
{
	hand_say(&h, ACK, h.snd, h.rcv + upto, BYTES_NONE, BYTES_NONE);
}

static void test_segments_are_cut_and_go_again_at_once(void **state)
{
	(void)state;
	hand_stack_sends(&h, 4000);
	expect_segment(0, 1460);
	expect_segment(1460, 1460);
	expect_segment(2920, 1080);
	uint32_t cwnd = hand_conn(&h)->cc.cwnd;
	too_big(h.rcv, 1500, 1040);
	assert_int_equal(hand_conn(&h)->mss, 1000);
	expect_segment(0, 1000);
	expect_segment(1000, 460);
	expect_segment(1460, 1000);
	expect_segment(2460, 460);
	expect_segment(2920, 1000);
	expect_segment(3920, 80);
	hand_silence(&h);
	assert_int_equal(hand_conn(&h)->cc.cwnd, cwnd); /* no congestion */
	/* the errors about the others of that flight change nothing */
	too_big(h.rcv + 1460, 1500, 1040);
	hand_silence(&h);
	ack(4000);
	assert_int_equal(hand_conn(&h)->sendq == NULL, true);
	assert_false(hand_conn(&h)->flags & (CF_RECOVERY | CF_LOSS));
	hand_stack_sends(&h, 2500);
	expect_segment(4000, 1000);
	expect_segment(5000, 1000);
	expect_segment(6000, 500);
}

static void test_what_a_forger_cannot_know(void **state)
{
	uint64_t ignored = count(CTR_ICMP_RX_ERRORS_IGNORED);

	(void)state;
	hand_stack_sends(&h, 2920);
	expect_segment(0, 1460);
	expect_segment(1460, 1460);
	too_big(h.rcv - 1, 1500, 1000);    /* acknowledged */
	too_big(h.rcv + 2920, 1500, 1000); /* not sent yet */
	too_big(h.rcv + 100000, 1500, 1000);
	too_big(h.rcv, 1000, 1000); /* a packet of that size was not too big */
	too_big(h.rcv, 1500, 1500);
	assert_int_equal(count(CTR_ICMP_RX_ERRORS_IGNORED) - ignored, 5);
	hand_silence(&h);
	ack(2920);
	too_big(h.rcv + 1460, 1500, 1000); /* nothing is in flight */
	assert_int_equal(count(CTR_ICMP_RX_ERRORS_IGNORED) - ignored, 6);
	assert_int_equal(hand_conn(&h)->mss, 1460);
	struct ip_addr peer = ip_from_v4(rte_cpu_to_be_32(LONE_PEER));
	assert_int_equal(ip_path_mtu(h.lone.host.stack, &peer), 1500);
}

static void test_never_below_the_least_and_never_up(void **state)
{
	struct ip_addr peer = ip_from_v4(rte_cpu_to_be_32(LONE_PEER));

	(void)state;
	hand_stack_sends(&h, 1460);
	expect_segment(0, 1460);
	too_big(h.rcv, 1500, 68);
	assert_int_equal(hand_conn(&h)->mss, 512);
	expect_segment(0, 512);
	expect_segment(512, 512);
	expect_segment(1024, 436);
	too_big(h.rcv, 1500, 1400);
	assert_int_equal(hand_conn(&h)->mss, 512);
	assert_int_equal(ip_path_mtu(h.lone.host.stack, &peer), 552);
	hand_silence(&h);
}

static void test_a_router_that_does_not_say(void **state)
{
	(void)state;
	hand_stack_sends(&h, 1460);
	expect_segment(0, 1460);
	too_big(h.rcv, 1500, 0);
	assert_int_equal(hand_conn(&h)->mss, 1452); /* the next plateau */
	expect_segment(0, 1452);
	expect_segment(1452, 8);
	too_big(h.rcv, 1492, 0);
	assert_int_equal(hand_conn(&h)->mss, 1240);
	for (uint16_t size = 1280; size > 552; size = (uint16_t)(hand_conn(&h)->mss + 40))
		too_big(h.rcv, size, 0);
	assert_int_equal(hand_conn(&h)->mss, 512);
}

/* Another connection to the same destination begins with what is known; after ten minutes that is
 * forgotten. */
static void test_the_cache(void **state)
{
	struct ip_addr peer = ip_from_v4(rte_cpu_to_be_32(LONE_PEER));
	struct stack *st = h.lone.host.stack;
	struct seg s;

	(void)state;
	hand_stack_sends(&h, 1460);
	expect_segment(0, 1460);
	too_big(h.rcv, 1500, 1000);
	ack(1460);
	assert_int_equal(ip_path_mtu(st, &peer), 1000);
	stream_abort(&h.stream);
	host_lap(&h.lone.host, h.lone.host.now_us);
	while (lone_next(&h.lone, &s))
		;
	hand_say(&h, SYN, HAND_START + 99999, 0, BYTES_NONE, bytes_make(offer, sizeof(offer)));
	s = hand_hear(&h);
	assert_memory_equal(s.options, "\2\4\5\xb4", 4); /* what we take is not what we send */
	hand_say(&h, ACK, HAND_START + 100000, s.seq + 1, BYTES_NONE, BYTES_NONE);
	assert_int_equal(hand_conn(&h)->mss, 960);
	lone_wait(&h.lone, PMTU_US - US_PER_SEC);
	assert_int_equal(ip_path_mtu(st, &peer), 1000);
	lone_wait(&h.lone, 2 * US_PER_SEC);
	assert_int_equal(ip_path_mtu(st, &peer), 1500);
}

static void test_the_cache_is_bounded(void **state)
{
	struct stack *st = h.lone.host.stack;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip_addr to = ip_from_v4(rte_cpu_to_be_32(0xc6130000u + i));
		assert_int_equal(ip_pmtu_lower(st, &to, 1000), 1000);
		assert_int_equal(ip_pmtu_get(st, &to), 1000);
		assert_int_equal(ip_pmtu_lower(st, &to, 1200), 1000);
	}
	assert_in_range(st->pmtu.used, 1, PMTU_SETS * PMTU_WAYS);
	lone_wait(&h.lone, PMTU_US + US_PER_SEC);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip_addr to = ip_from_v4(rte_cpu_to_be_32(0xc6130000u + i));
		assert_int_equal(ip_pmtu_get(st, &to), 0);
	}
	assert_int_equal(st->pmtu.used, 0);
}

static void hear_all(size_t *largest_r)
{
	struct seg s;

	*largest_r = 0;
	while (lone_next(&h.lone, &s))
		*largest_r = MAX(*largest_r, s.payload_n);
}

/* Until the black hole is noticed: three timeouts. */
static void fall_into_black_hole(void)
{
	uint64_t holes = count(CTR_TCP_MTU_BLACK_HOLES);
	size_t largest;

	ack(0);
	hand_stack_sends(&h, 2920);
	for (unsigned ms = 0; ms < 10000 && count(CTR_TCP_MTU_BLACK_HOLES) == holes; ms++) {
		hear_all(&largest);
		lone_wait(&h.lone, US_PER_MS);
	}
	assert_int_equal(count(CTR_TCP_MTU_BLACK_HOLES) - holes, 1);
}

static void test_black_hole(void **state)
{
	size_t largest;

	(void)state;
	fall_into_black_hole();
	assert_int_equal(hand_conn(&h)->mss, 1024);
	assert_int_equal(hand_conn(&h)->retries, 3);
	hear_all(&largest);
	assert_int_equal(largest, 1024);
	ack(1024);
	hear_all(&largest);
	assert_int_equal(largest, 1024);
	ack(2920);
	/* nobody else suffers from a mere suspicion */
	struct ip_addr peer = ip_from_v4(rte_cpu_to_be_32(LONE_PEER));
	assert_int_equal(ip_path_mtu(h.lone.host.stack, &peer), 1500);
}

static void test_small_segments_are_no_sign_of_a_black_hole(void **state)
{
	uint64_t holes = count(CTR_TCP_MTU_BLACK_HOLES);
	size_t largest;

	(void)state;
	hand_stack_sends(&h, 500);
	lone_wait(&h.lone, 20 * US_PER_SEC);
	hear_all(&largest);
	assert_int_equal(count(CTR_TCP_MTU_BLACK_HOLES), holes);
	assert_int_equal(hand_conn(&h)->mss, 1460);
}

/* Play the peer behind a path of mtu: only what fits arrives.  Returns the connection's mss when
 * it has sent so many rounds of data. */
static uint16_t search(unsigned rounds, size_t mtu)
{
	uint32_t at = 2920;
	struct seg s;

	for (unsigned i = 0; i < rounds; i++) {
		uint32_t got = at, hole = 0, hole_end = 0, blocks[2];
		lone_wait(&h.lone, 3 * US_PER_SEC);
		hand_stack_sends(&h, 5000);
		for (unsigned turns = 0; turns < 50 && got < at + 5000; turns++) {
			bool any = false;
			while (lone_next(&h.lone, &s)) {
				uint32_t off = s.seq - h.rcv;
				if (s.payload_n + 40 > mtu)
					continue;
				any = true;
				if (off == got) {
					got += (uint32_t)s.payload_n;
					if (hole_end && got == hole)
						got = hole_end;
				} else if (off > got) {
					hole = hole_end ? hole : off;
					hole_end = MAX(hole_end, off + (uint32_t)s.payload_n);
				}
			}
			blocks[0] = hole;
			blocks[1] = hole_end;
			if (any)
				hand_sack(&h, h.rcv + got, h.rcv, blocks, got < hole ? 1 : 0);
			lone_wait(&h.lone, 20 * US_PER_MS);
		}
		assert_int_equal(got, at + 5000);
		at = got;
	}
	return hand_conn(&h)->mss;
}

static void recover_from_black_hole(void)
{
	size_t largest;

	fall_into_black_hole();
	hear_all(&largest);
	ack(1024);
	hear_all(&largest);
	ack(2920);
	hear_all(&largest);
	/* a window for what follows */
	hand_conn(&h)->cc.cwnd = 20000;
}

static void test_the_search_goes_up_to_what_passes(void **state)
{
	struct ip_addr peer = ip_from_v4(rte_cpu_to_be_32(LONE_PEER));
	uint64_t expired = count(CTR_TCP_RTO_EXPIRED);

	(void)state;
	recover_from_black_hole();
	expired = count(CTR_TCP_RTO_EXPIRED);
	uint32_t ssthresh = hand_conn(&h)->cc.ssthresh;
	uint16_t mss = search(12, 1300);
	assert_in_range(mss, 1260 - 32, 1260);
	/* a probe that is lost costs neither a timeout nor the window */
	assert_int_equal(count(CTR_TCP_RTO_EXPIRED), expired);
	assert_int_equal(hand_conn(&h)->cc.ssthresh, ssthresh);
	/* what is known by now is known to others */
	assert_in_range(ip_path_mtu(h.lone.host.stack, &peer), 1300, 1300 + 16);
}

static void test_it_was_no_black_hole(void **state)
{
	(void)state;
	recover_from_black_hole();
	assert_int_equal(search(2, 1500), 1460);
	assert_false(hand_conn(&h)->flags & CF_MTU_BELOW);
}

/* The path is wider again: after ten minutes one segment tries. */
static void test_a_wider_path_is_found(void **state)
{
	size_t largest;

	(void)state;
	hand_stack_sends(&h, 2920);
	hear_all(&largest);
	too_big(h.rcv, 1500, 1000);
	ack(2920);
	hear_all(&largest);
	hand_conn(&h)->cc.cwnd = 20000;
	assert_int_equal(search(2, 1500), 960);
	lone_wait(&h.lone, PMTU_US + 2 * US_PER_SEC);
	hand_conn(&h)->cc.cwnd = 20000;
	assert_int_equal(hand_conn(&h)->snd_una - h.rcv, 12920);
	hand_stack_sends(&h, 5000);
	expect_segment(12920, 1460);
	expect_segment(14380, 960);
	hear_all(&largest);
	ack(17920);
	assert_int_equal(hand_conn(&h)->mss, 1460);
	assert_false(hand_conn(&h)->flags & CF_MTU_BELOW);
	hand_stack_sends(&h, 2920);
	expect_segment(17920, 1460);
	expect_segment(19380, 1460);
}

static void soft_error(uint8_t type, uint8_t code, uint32_t seq)
{
	uint64_t before = count(CTR_ICMP_RX_ERRORS);
	struct bytes quote = bytes_make(h.lone.sent[h.lone.taken - 1].octets + 14, 28);
	uint8_t f[70] = {0};
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + 14);

	memcpy(f, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(56),
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(LONE_PEER + 100),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	f[34] = type;
	f[35] = code;
	memcpy(f + 42, quote.p, 28);
	uint32_t be = rte_cpu_to_be_32(seq);
	memcpy(f + 66, &be, 4);
	uint16_t sum = csum_fold(f + 34, 36);
	memcpy(f + 36, &sum, 2);
	host_input(&h.lone.host, bytes_make(f, 70));
	host_lap(&h.lone.host, h.lone.host.now_us);
	assert_int_equal(count(CTR_ICMP_RX_ERRORS) - before, 1);
}

/* Errors end nothing that is established; but who gives up says why (RFC 9293 SHLD-25). */
static void test_errors_are_a_reason_not_an_end(void **state)
{
	static const struct {
		uint8_t type, code;
	} errors[] = {
		{3,  0 },
                {3,  1 },
                {3,  2 },
                {3,  3 },
                {3,  5 },
                {3,  9 },
                {3,  10},
                {3,  13},
                {11, 0 },
                {12, 0 }
        };
	size_t largest;

	(void)state;
	hand_stack_sends(&h, 100);
	expect_segment(0, 100);
	for (unsigned i = 0; i < ARRAY_LEN(errors); i++)
		soft_error(errors[i].type, errors[i].code, h.rcv);
	assert_int_equal(hand_conn(&h)->state, TCP_ESTABLISHED);
	ack(100); /* and all is well */
	hand_stack_sends(&h, 100);
	expect_segment(100, 100);
	soft_error(3, 1, h.rcv + 100);
	for (unsigned i = 0; i < 600 && !h.closes; i++) {
		lone_wait(&h.lone, US_PER_SEC);
		hear_all(&largest);
	}
	assert_int_equal(h.closes, 1);
	assert_int_equal(h.reason, STREAM_UNREACHABLE);
}

static void test_a_timeout_without_errors_is_one(void **state)
{
	size_t largest;

	(void)state;
	hand_stack_sends(&h, 100);
	expect_segment(0, 100);
	soft_error(3, 1, h.rcv + 100); /* of nothing */
	for (unsigned i = 0; i < 600 && !h.closes; i++) {
		lone_wait(&h.lone, US_PER_SEC);
		hear_all(&largest);
	}
	assert_int_equal(h.reason, STREAM_TIMEOUT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_segments_are_cut_and_go_again_at_once),
		TEST(test_what_a_forger_cannot_know),
		TEST(test_never_below_the_least_and_never_up),
		TEST(test_a_router_that_does_not_say),
		TEST(test_the_cache),
		TEST(test_the_cache_is_bounded),
		TEST(test_black_hole),
		TEST(test_small_segments_are_no_sign_of_a_black_hole),
		TEST(test_the_search_goes_up_to_what_passes),
		TEST(test_it_was_no_black_hole),
		TEST(test_a_wider_path_is_found),
		TEST(test_errors_are_a_reason_not_an_end),
		TEST(test_a_timeout_without_errors_is_one),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

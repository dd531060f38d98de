/* SPDX-License-Identifier: BSD-3-Clause
 * Timestamps (RFC 7323): negotiation, echo, PAWS, RTT of what was sent twice, TIME_WAIT. */
#include "tests/unit/dataplane/hand.h"

static struct hand h;

static int setup(void **state)
{
	(void)state;
	h.conf = (struct host_conf){0};
	hand_init(&h);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hand_fini(&h);
	return 0;
}

static void say(uint8_t flags, uint32_t seq, struct bytes payload)
{
	hand_say(&h, flags, seq, h.rcv, payload, BYTES_NONE);
}

static uint32_t echo_of(struct seg s)
{
	uint32_t val, ecr;

	assert_true(hand_timestamp(&s, &val, &ecr));
	return ecr;
}

static void test_without_an_offer_there_are_none(void **state)
{
	uint32_t val, ecr;

	(void)state;
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, BYTES_NONE);
	struct seg s = hand_hear(&h);
	assert_false(hand_timestamp(&s, &val, &ecr));
}

static void test_syn_ack_and_ack_echo(void **state)
{
	(void)state;
	h.ts = 1000;
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, BYTES_NONE);
	struct seg s = hand_hear(&h);
	assert_int_equal(echo_of(s), 1000);
	h.rcv = s.seq + 1;
	h.ts = 1001;
	say(ACK, HAND_START + 1, BYTES_NONE);
	h.ts = 1002;
	say(ACK, HAND_START + 1, BYTES_LIT("ab"));
	lone_wait(&h.lone, 50 * US_PER_MS); /* the delayed ACK */
	assert_int_equal(echo_of(hand_hear(&h)), 1002);
}

/* The echo is of the segment that moved the edge, not of a later one out of order. */
static void test_out_of_order_does_not_count(void **state)
{
	(void)state;
	h.ts = 1000;
	hand_handshake(&h, BYTES_NONE);
	h.ts = 1005;
	say(ACK, h.snd + 2, BYTES_LIT("cd"));
	assert_int_equal(echo_of(hand_hear(&h)), 1000);
	h.ts = 1003;
	say(ACK, h.snd, BYTES_LIT("ab"));
	assert_int_equal(echo_of(hand_hear(&h)), 1003);
	assert_int_equal(h.n, 4);
}

/* Our ACK was lost: what comes again is echoed, or the peer takes its timeout for the RTT. */
static void test_a_retransmission_is_echoed(void **state)
{
	(void)state;
	h.ts = 1000;
	hand_handshake(&h, BYTES_NONE);
	h.ts = 1010;
	say(ACK, h.snd, BYTES_LIT("ab"));
	lone_wait(&h.lone, 50 * US_PER_MS);
	assert_int_equal(echo_of(hand_hear(&h)), 1010);
	h.ts = 3000;
	say(ACK, h.snd, BYTES_LIT("ab"));
	assert_int_equal(echo_of(hand_hear(&h)), 3000);
	/* not an older one, and not with an ACK of what we never sent */
	h.ts = 3100;
	say(ACK, h.snd, BYTES_LIT("a"));
	assert_int_equal(echo_of(hand_hear(&h)), 3000);
	h.rcv += 1000;
	say(ACK, h.snd, BYTES_LIT("ab"));
	assert_int_equal(echo_of(hand_hear(&h)), 3000);
	assert_int_equal(h.n, 2);
}

static void test_paws_refuses_the_past(void **state)
{
	(void)state;
	h.ts = 1000;
	hand_handshake(&h, BYTES_NONE);
	h.ts = 999;
	say(ACK, h.snd, BYTES_LIT("old"));
	assert_int_equal(h.n, 0);
	assert_int_equal(hand_hear(&h).ack, h.snd);
	h.ts = 1000;
	say(ACK, h.snd, BYTES_LIT("new"));
	assert_int_equal(h.n, 3);
	/* RFC 7323 5.3: a RST is not refused for its timestamp */
	h.ts = 1;
	say(RST, h.snd + 3, BYTES_NONE);
	assert_int_equal(h.closes, 1);
}

static void test_paws_forgets_after_24_days(void **state)
{
	(void)state;
	h.ts = 1000;
	hand_handshake(&h, BYTES_NONE);
	/* idle: nothing to be done in all that time */
	host_lap(&h.lone.host, h.lone.host.now_us + 25ull * 24 * 3600 * US_PER_SEC);
	lone_arp(&h.lone);
	h.ts = 999;
	say(ACK, h.snd, BYTES_LIT("new"));
	assert_int_equal(h.n, 3);
}

/* Karn's rule does not bind who has an echo: the backed-off timeout ends with the first ACK. */
static void test_rtt_of_a_retransmission(void **state)
{
	(void)state;
	h.ts = 1000;
	hand_handshake(&h, BYTES_NONE);
	hand_stack_sends(&h, 100);
	hand_hear(&h);
	lone_wait(&h.lone, 1500 * US_PER_MS);
	assert_true(hand_conn(&h)->backoff > 0);
	struct seg s = {0}, next;
	while (lone_next(&h.lone, &next))
		s = next;
	uint32_t val, ecr;
	assert_true(hand_timestamp(&s, &val, &ecr));
	h.ecr = val;
	h.ts = 1500;
	lone_wait(&h.lone, 30 * US_PER_MS);
	hand_say(&h, ACK, h.snd, h.rcv + 100, BYTES_NONE, BYTES_NONE);
	assert_int_equal(hand_conn(&h)->backoff, 0);
}

static void test_mss_leaves_room_for_the_option(void **state)
{
	static const uint8_t mss[] = {2, 4, 1000 >> 8, 1000 & 0xff};

	(void)state;
	h.ts = 1;
	hand_handshake(&h, bytes_make(mss, sizeof(mss)));
	hand_stack_sends(&h, 2000);
	assert_int_equal(hand_hear(&h).payload_n, 988);
}

static void time_wait(void)
{
	h.ts = 1000;
	hand_handshake(&h, BYTES_NONE);
	stream_close(&h.stream);
	host_lap(&h.lone.host, h.lone.host.now_us);
	struct seg s = hand_hear(&h);
	assert_int_equal(s.flags, FIN | ACK);
	hand_say(&h, FIN | ACK, h.snd, s.seq + 1, BYTES_NONE, BYTES_NONE);
	assert_int_equal(hand_hear(&h).ack, h.snd + 1);
}

/* RFC 7323 3.2: every segment has it; RFC 6191: a younger one opens anew. */
static void test_time_wait(void **state)
{
	(void)state;
	time_wait();
	say(FIN | ACK, h.snd, BYTES_NONE);
	assert_int_equal(echo_of(hand_hear(&h)), 1000);
	h.ts = 1000;
	say(SYN, h.snd - 100, BYTES_NONE); /* an old number, no younger clock: refused */
	assert_int_equal(hand_hear(&h).flags, ACK);
	h.ts = 1001;
	say(SYN, h.snd - 100, BYTES_NONE);
	assert_int_equal(hand_hear(&h).flags, SYN | ACK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_without_an_offer_there_are_none),
		TEST(test_syn_ack_and_ack_echo),
		TEST(test_out_of_order_does_not_count),
		TEST(test_a_retransmission_is_echoed),
		TEST(test_paws_refuses_the_past),
		TEST(test_paws_forgets_after_24_days),
		TEST(test_rtt_of_a_retransmission),
		TEST(test_mss_leaves_room_for_the_option),
		TEST(test_time_wait),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

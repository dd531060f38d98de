/* SPDX-License-Identifier: BSD-3-Clause
 * ACKs that wait: for a second segment, for the answer that the application has announced, for the
 * time when there may be another challenge. */
#include "tests/unit/dataplane/hand.h"

#define SIZE 1000u
#define LATE (60 * US_PER_MS) /* later than any ACK waits */

static struct hand h;
static uint8_t octets[3 * SIZE];

static int setup(void **state)
{
	(void)state;
	h.conf = (struct host_conf){0};
	hand_init(&h);
	hand_handshake(&h, BYTES_NONE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hand_fini(&h);
	return 0;
}

/* A segment of SIZE octets, that many behind the first one. */
static void segment(uint32_t at)
{
	hand_say(&h, ACK, h.snd + at, h.rcv, bytes_make(octets, SIZE), BYTES_NONE);
}

static void expect_ack(uint32_t octets_n)
{
	struct seg s = hand_hear(&h);

	assert_int_equal(s.flags & ACK, ACK);
	assert_int_equal(s.payload_n, 0);
	assert_int_equal(s.ack, h.snd + octets_n);
}

static void test_the_second_segment_is_acknowledged_at_once(void **state)
{
	(void)state;
	segment(0);
	hand_silence(&h);
	segment(SIZE);
	expect_ack(2 * SIZE);
	lone_wait(&h.lone, LATE);
	hand_silence(&h);
}

static void test_an_ack_waits_for_the_answer(void **state)
{
	(void)state;
	segment(0);
	h.answers = true;
	segment(SIZE);
	hand_silence(&h);
	hand_stack_sends(&h, 30);
	struct seg s = hand_hear(&h);
	assert_int_equal(s.payload_n, 30);
	assert_int_equal(s.ack, h.snd + 2 * SIZE);
	hand_silence(&h);
}

static void test_but_not_for_ever(void **state)
{
	(void)state;
	segment(0);
	h.answers = true;
	segment(SIZE);
	hand_silence(&h);
	lone_wait(&h.lone, LATE);
	expect_ack(2 * SIZE);
}

static void test_nor_when_more_comes(void **state)
{
	(void)state;
	segment(0);
	h.answers = true;
	segment(SIZE);
	hand_silence(&h);
	h.answers = false;
	segment(2 * SIZE);
	expect_ack(3 * SIZE);
}

static void test_nor_what_a_sender_in_trouble_waits_for(void **state)
{
	(void)state;
	h.answers = true;
	segment(SIZE); /* the first is missing */
	expect_ack(0);
	segment(0); /* fills the gap */
	expect_ack(2 * SIZE);
	segment(0); /* came twice */
	expect_ack(2 * SIZE);
}

static void test_a_stream_that_is_gone(void **state)
{
	(void)state;
	segment(0);
	stream_close(&h.stream);
	stream_answer_follows(&h.stream);
	host_lap(&h.lone.host, h.lone.host.now_us);
	struct seg s = hand_hear(&h);
	assert_int_equal(s.flags & FIN, FIN);
}

/* Who has reset a connection says nothing more, and what it holds here is wanted. */
static void test_a_reset_that_may_not_be_asked_about_now_is_later(void **state)
{
	(void)state;
	hand_say(&h, RST, h.snd + 10, 0, BYTES_NONE, BYTES_NONE);
	expect_ack(0);
	hand_say(&h, RST, h.snd + 10, 0, BYTES_NONE, BYTES_NONE);
	hand_silence(&h);
	segment(0);
	hand_silence(&h);
	lone_wait(&h.lone, LATE); /* data is not kept waiting by that */
	expect_ack(SIZE);
	hand_say(&h, RST, h.snd + SIZE + 10, 0, BYTES_NONE, BYTES_NONE);
	hand_silence(&h);
	lone_wait(&h.lone, 600 * US_PER_MS);
	expect_ack(SIZE);
	hand_say(&h, RST, h.snd + SIZE, 0, BYTES_NONE, BYTES_NONE);
	assert_int_equal(h.closes, 1);
}

/* All that the window allows was sent, and the first of it has not come. */
static void test_a_reset_behind_a_full_window_with_a_gap(void **state)
{
	(void)state;
	segment(SIZE);
	struct seg s = hand_hear(&h);
	hand_say(&h, RST, s.ack + s.window, 0, BYTES_NONE, BYTES_NONE);
	expect_ack(0);
	hand_say(&h, RST, h.snd, 0, BYTES_NONE, BYTES_NONE);
	assert_int_equal(h.closes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_the_second_segment_is_acknowledged_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_ack_waits_for_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_but_not_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nor_when_more_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_nor_what_a_sender_in_trouble_waits_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_stream_that_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_reset_that_may_not_be_asked_about_now_is_later, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_reset_behind_a_full_window_with_a_gap, setup, teardown),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Limits for each source, and challenge ACKs for all. */
#include "dataplane/base/counters.h"
#include "tests/unit/dataplane/hand.h"

static struct hand h;

static int setup(void **state)
{
	(void)state;
	h.conf = (struct host_conf){.tcp = *(const struct stack_tcp_conf *)*state};
	hand_init(&h);
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

static struct stack *stack(void)
{
	return h.lone.host.stack;
}

/* Returns whether there was an answer, and our stack's number. */
static bool syn_from(uint16_t port, uint32_t *iss_r)
{
	struct seg s = {.sport = port, .dport = HAND_PORT, .seq = 1, .flags = SYN, .window = 60000};

	lone_send(&h.lone, &s);
	if (!lone_next(&h.lone, &s))
		return false;
	assert_int_equal(s.flags, SYN | ACK);
	*iss_r = s.seq;
	return true;
}

static void ack_from(uint16_t port, uint32_t iss)
{
	struct seg s = {.sport = port,
		.dport = HAND_PORT,
		.seq = 2,
		.ack = iss + 1,
		.flags = ACK,
		.window = 60000};

	lone_send(&h.lone, &s);
}

static void test_connections_of_a_source(void **state)
{
	uint64_t limited = count(CTR_TCP_SOURCE_CONNECTIONS);
	uint32_t iss[4];

	(void)state;
	for (uint16_t i = 0; i < 3; i++) {
		assert_true(syn_from(2000 + i, &iss[i]));
		ack_from(2000 + i, iss[i]);
	}
	assert_int_equal(h.accepts, 3);
	assert_false(syn_from(2003, &iss[3]));
	assert_int_equal(count(CTR_TCP_SOURCE_CONNECTIONS), limited + 1);
	/* one goes, one may come */
	stream_abort(&h.stream);
	host_lap(&h.lone.host, h.lone.host.now_us);
	hand_hear(&h);
	assert_true(syn_from(2003, &iss[3]));
	ack_from(2003, iss[3]);
	assert_int_equal(h.accepts, 4);
}

/* Several handshakes are under way when the limit is reached: the last one is refused. */
static void test_the_limit_holds_for_handshakes_under_way(void **state)
{
	uint32_t iss[4];
	struct seg s;

	(void)state;
	for (uint16_t i = 0; i < 4; i++)
		assert_true(syn_from(2000 + i, &iss[i]));
	for (uint16_t i = 0; i < 4; i++)
		ack_from(2000 + i, iss[i]);
	assert_int_equal(h.accepts, 3);
	assert_true(lone_next(&h.lone, &s));
	assert_int_equal(s.flags, RST);
	assert_int_equal(s.dport, 2003);
}

static void test_half_open_ones_beyond_the_limit_get_cookies(void **state)
{
	uint64_t cookies = count(CTR_TCP_SYN_COOKIES_SENT);
	uint32_t iss[10];

	(void)state;
	for (uint16_t i = 0; i < 10; i++)
		assert_true(syn_from(2000 + i, &iss[i]));
	assert_int_equal(stack()->syn.used, 5);
	assert_int_equal(count(CTR_TCP_SYN_COOKIES_SENT), cookies + 5);
	ack_from(2009, iss[9]);
	assert_int_equal(h.accepts, 1);
	ack_from(2000, iss[0]);
	assert_int_equal(h.accepts, 2);
	assert_int_equal(stack()->syn.used, 4);
	assert_true(syn_from(3000, &iss[0]));
	assert_int_equal(stack()->syn.used, 5);
}

static void test_syns_in_a_second(void **state)
{
	uint64_t limited = count(CTR_TCP_SOURCE_SYNS);
	unsigned answers = 0;
	uint32_t iss;

	(void)state;
	for (uint16_t i = 0; i < 30; i++)
		answers += syn_from(2000 + i, &iss);
	assert_int_equal(answers, 20);
	assert_int_equal(count(CTR_TCP_SOURCE_SYNS), limited + 10);
	host_lap(&h.lone.host, h.lone.host.now_us + US_PER_SEC);
	h.lone.taken = h.lone.sent_n;
	assert_true(syn_from(5000, &iss));
}

/* Others are not limited with it; counts come back to nothing. */
static void test_sources_do_not_share(void **state)
{
	struct stack *st = stack();
	struct ip_addr a = ip_from_v4(1), b = ip_from_v4(2);
	struct ip_addr six[3] = {{{0x20, 1, 0, 2, [7] = 1, [15] = 1}},
		{{0x20, 1, 0, 2, [7] = 1, [15] = 9}}, {{0x20, 1, 0, 2, [7] = 2, [15] = 1}}};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_false(tcp_source_full(st, &a));
		tcp_source_connection(st, &a, 1);
		tcp_source_connection(st, &six[0], 1);
	}
	assert_true(tcp_source_full(st, &a));
	assert_false(tcp_source_full(st, &b));
	assert_true(tcp_source_full(st, &six[0]));
	assert_true(tcp_source_full(st, &six[1])); /* the same /64 */
	assert_false(tcp_source_full(st, &six[2]));
	for (unsigned i = 0; i < 3; i++) {
		tcp_source_connection(st, &a, -1);
		tcp_source_connection(st, &six[0], -1);
	}
	for (unsigned row = 0; row < TCP_SOURCE_ROWS; row++) {
		for (uint32_t i = 0; i <= st->sources.mask; i++)
			assert_int_equal(st->sources.rows[row][i].connections, 0);
	}
}

/* A hundred thousand sources with one connection each: the table is as large as before, and a
 * source that has none is hardly ever counted as full. */
static void test_many_sources_need_no_more_memory(void **state)
{
	struct stack *st = stack();
	unsigned wrong = 0;

	(void)state;
	assert_int_equal(st->sources.mask, 255);
	for (uint32_t i = 0; i < 100; i++) {
		struct ip_addr a = ip_from_v4(0x0a000000 + i);
		tcp_source_connection(st, &a, 1);
	}
	for (uint32_t i = 0; i < 1000; i++) {
		struct ip_addr a = ip_from_v4(0x0b000000 + i);
		wrong += tcp_source_full(st, &a);
	}
	assert_true(wrong < 5);
}

/* What a stranger gets in a second differs from second to second: the shared limit tells him
 * nothing about others' share. */
static void test_challenges_of_all_are_limited_at_random(void **state)
{
	uint32_t sizes[8], different = 0, sum = 0;
	struct stack *st = stack();

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		st->now_us += 2 * US_PER_SEC;
		for (sizes[i] = 0; tcp_challenge_allowed(st); sizes[i]++)
			assert_true(sizes[i] < 150);
		assert_true(sizes[i] >= 50);
		uint64_t lasts = st->challenges.until_us - st->now_us;
		assert_in_range(lasts, US_PER_SEC * 3 / 4, US_PER_SEC * 5 / 4);
		different += i && sizes[i] != sizes[i - 1];
		sum += sizes[i];
	}
	assert_true(different >= 5);
	assert_in_range(sum / ARRAY_LEN(sizes), 70, 130);
}

/* The budget is used up by one connection's attackers: blind RST, SYN and data in another are
 * refused all the same, only in silence. */
static void test_blind_segments_without_a_challenge_left(void **state)
{
	struct stack *st = stack();
	uint64_t limited = count(CTR_TCP_CHALLENGES_LIMITED);

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	while (tcp_challenge_allowed(st))
		;
	hand_say(&h, RST, h.snd + 1, 0, BYTES_NONE, BYTES_NONE);
	hand_say(&h, SYN, h.snd, 0, BYTES_NONE, BYTES_NONE);
	hand_say(&h, SYN, h.snd + 90000, 0, BYTES_NONE, BYTES_NONE);
	hand_say(&h, ACK, h.snd, h.rcv + 1, BYTES_LIT("evil"), BYTES_NONE);
	hand_say(&h, ACK, h.snd, h.rcv - 70000, BYTES_LIT("evil"), BYTES_NONE);
	hand_silence(&h);
	assert_int_equal(count(CTR_TCP_CHALLENGES_LIMITED), limited + 6);
	assert_int_equal(h.n, 0);
	assert_int_equal(h.closes, 0);
	/* and what is due is taken */
	hand_say(&h, ACK, h.snd, h.rcv, BYTES_LIT("good"), BYTES_NONE);
	assert_int_equal(h.n, 4);
	lone_wait(&h.lone, 2 * US_PER_SEC);
	hand_hear(&h);
	hand_say(&h, RST, h.snd + 5, 0, BYTES_NONE, BYTES_NONE);
	assert_int_equal(hand_hear(&h).flags, ACK);
}

int main(void)
{
	static struct stack_tcp_conf connections = {.source_connections = 3},
				     half_open = {.source_half_open = 5},
				     syns = {.source_syns = 20},
				     challenges = {.challenge_acks = 100};
#define TEST(name, conf) cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, &conf)
	const struct CMUnitTest tests[] = {
		TEST(test_connections_of_a_source, connections),
		TEST(test_the_limit_holds_for_handshakes_under_way, connections),
		TEST(test_sources_do_not_share, connections),
		TEST(test_many_sources_need_no_more_memory, connections),
		TEST(test_half_open_ones_beyond_the_limit_get_cookies, half_open),
		TEST(test_syns_in_a_second, syns),
		TEST(test_challenges_of_all_are_limited_at_random, challenges),
		TEST(test_blind_segments_without_a_challenge_left, challenges),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * SYN cookies: when they are sent, octet by octet, what comes back, and for how long. */
#include "dataplane/base/counters.h"
#include "tests/unit/dataplane/hand.h"

static struct hand h;

static int setup(void **state)
{
	(void)state;
	h.conf = (struct host_conf){.rcv_buffer = 500000};
	hand_init(&h);
	h.lone.host.stack->conf.tcp.syn_cookies = STACK_COOKIES_ALWAYS;
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

static struct seg syn(struct bytes options)
{
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, options);
	struct seg s = hand_hear(&h);
	assert_int_equal(s.flags, SYN | ACK);
	assert_int_equal(s.ack, HAND_START + 1);
	return s;
}

static void answer(uint32_t iss, struct bytes data)
{
	hand_say(&h, ACK, HAND_START + 1, iss + 1, data, BYTES_NONE);
}

static const uint8_t mss_1400[] = {2, 4, 1400 >> 8, 1400 & 255};
static const uint8_t all[] = {2, 4, 5, 180, 4, 2, 1, 3, 3, 9};

static void test_nothing_is_kept(void **state)
{
	struct stack *st = h.lone.host.stack;

	(void)state;
	struct seg s = syn(BYTES_NONE);
	assert_int_equal(st->syn.used, 0);
	assert_int_equal(st->connections, 0);
	lone_wait(&h.lone, 10 * US_PER_SEC);
	hand_silence(&h); /* nor repeated */
	answer(s.seq, BYTES_NONE);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(hand_conn(&h)->state, TCP_ESTABLISHED);
	assert_int_equal(hand_conn(&h)->srtt_us, 0);
}

/* The whole answer, from a secret of the test's. */
static void test_octets_of_the_answer(void **state)
{
	static const uint8_t secret[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	struct stack *st = h.lone.host.stack;
	uint8_t covered[44] = {[10] = 0xff,
		[11] = 0xff,
		198,
		18,
		0,
		1,
		[26] = 0xff,
		[27] = 0xff,
		198,
		18,
		0,
		2,
		HAND_PORT,
		0,
		HAND_OURS & 255,
		HAND_OURS >> 8};
	struct siphash_key key;

	(void)state;
	unsigned which = st->cookies.generation & 1;
	memcpy(&st->cookies.secret[which], secret, sizeof(secret));
	memcpy(&key, secret, sizeof(secret));
	struct seg s = syn(bytes_make(mss_1400, sizeof(mss_1400)));
	covered[36] = HAND_START & 255;
	covered[37] = HAND_START >> 8;
	covered[40] = 4; /* 1400 in the table of eight */
	uint32_t mac = (uint32_t)siphash24(&key, covered, sizeof(covered));
	assert_int_equal(s.seq, mac << 4 | 4 << 1 | which);
	assert_int_equal(s.window, 65535);
	assert_int_equal(s.options_n, 4);
	static const uint8_t ours[] = {2, 4, 1460 >> 8, 1460 & 255};
	assert_memory_equal(s.options, ours, 4);
	answer(s.seq, BYTES_NONE);
	assert_int_equal(hand_conn(&h)->mss, 1400);
	assert_false(hand_conn(&h)->flags & (CF_WSCALE | CF_SACK | CF_TS));
}

static void test_timestamps_carry_scale_and_sack(void **state)
{
	uint32_t val, ecr;

	(void)state;
	h.ts = 70000;
	struct seg s = syn(bytes_make(all, sizeof(all)));
	assert_true(hand_timestamp(&s, &val, &ecr));
	assert_int_equal(ecr, 70000);
	assert_int_equal(val & 31, 9 | 16);
	h.ts = 70050;
	answer(s.seq, BYTES_LIT("hello"));
	assert_int_equal(h.accepts, 1);
	assert_int_equal(h.n, 5);
	const struct tcp_conn *c = hand_conn(&h);
	assert_int_equal(c->flags & (CF_WSCALE | CF_SACK | CF_TS), CF_WSCALE | CF_SACK | CF_TS);
	assert_int_equal(c->snd_wscale, 9);
	assert_int_equal(c->rcv_wscale, 3);
	assert_int_equal(c->snd_wnd, 60000u << 9);
	assert_int_equal(c->ts_recent, 70050);
	/* and our clock goes on, never back */
	lone_wait(&h.lone, 100000);
	s = hand_hear(&h);
	assert_int_equal(s.ack, HAND_START + 6);
	uint32_t later;
	assert_true(hand_timestamp(&s, &later, &ecr));
	assert_in_range(later - val, 40, 300);
}

/* Without a timestamp there is no place for them: what is not offered back is not agreed on. */
static void test_without_timestamps_there_is_only_the_mss(void **state)
{
	(void)state;
	struct seg s = syn(bytes_make(all, sizeof(all)));
	assert_int_equal(s.options_n, 4);
	answer(s.seq, BYTES_NONE);
	const struct tcp_conn *c = hand_conn(&h);
	assert_false(c->flags & (CF_WSCALE | CF_SACK | CF_TS));
	assert_int_equal(c->rcv_wscale, 0);
	assert_int_equal(c->snd_wnd, 60000);
}

static void test_mss_is_rounded_down(void **state)
{
	static const uint16_t table[][2] = {
		{0,    536 }, /* not said */
		{100,  64  },
		{536,  536 },
		{1219, 536 },
		{1220, 1220},
		{1459, 1440},
		{1460, 1460},
		{8000, 1460},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		uint8_t option[] = {2, 4, (uint8_t)(table[i][0] >> 8), (uint8_t)table[i][0]};
		struct seg s = syn(bytes_make(option, table[i][0] ? sizeof(option) : 0));
		answer(s.seq, BYTES_NONE);
		assert_int_equal(h.accepts, i + 1);
		assert_int_equal(hand_conn(&h)->mss, table[i][1]);
		stream_abort(&h.stream);
		host_lap(&h.lone.host, h.lone.host.now_us);
		assert_int_equal(hand_hear(&h).flags, RST | ACK);
	}
}

static void test_what_was_not_given_out_is_refused(void **state)
{
	uint64_t failed = count(CTR_TCP_SYN_COOKIES_FAILED);

	(void)state;
	struct seg s = syn(BYTES_NONE);
	for (unsigned bit = 0; bit < 32; bit++) {
		hand_say(&h, ACK, HAND_START + 1, (s.seq ^ 1u << bit) + 1, BYTES_NONE, BYTES_NONE);
		struct seg r = hand_hear(&h);
		assert_int_equal(r.flags, RST);
		assert_int_equal(r.seq, (s.seq ^ 1u << bit) + 1);
		hand_say(&h, ACK, (HAND_START ^ 1u << bit) + 1, s.seq + 1, BYTES_NONE, BYTES_NONE);
		assert_int_equal(hand_hear(&h).flags, RST);
	}
	h.ts = 5; /* timestamps that the SYN did not have */
	answer(s.seq, BYTES_NONE);
	assert_int_equal(hand_hear(&h).flags, RST);
	assert_int_equal(h.accepts, 0);
	assert_int_equal(count(CTR_TCP_SYN_COOKIES_FAILED) - failed, 65);
}

/* The first segment of data was lost: the second must not end what the first will open. */
static void test_data_that_does_not_fit_is_ignored(void **state)
{
	(void)state;
	struct seg s = syn(BYTES_NONE);
	hand_say(&h, ACK, HAND_START + 6, s.seq + 1, BYTES_LIT("world"), BYTES_NONE);
	hand_silence(&h);
	answer(s.seq, BYTES_LIT("hello"));
	assert_int_equal(h.accepts, 1);
	hand_say(&h, ACK, HAND_START + 6, s.seq + 1, BYTES_LIT("world"), BYTES_NONE);
	assert_int_equal(h.n, 10);
}

static void test_believed_for_one_to_two_periods(void **state)
{
	(void)state;
	struct seg s = syn(BYTES_NONE);
	lone_wait(&h.lone, 63 * US_PER_SEC);
	answer(s.seq, BYTES_NONE);
	assert_int_equal(h.accepts, 1);
	stream_abort(&h.stream);
	hand_hear(&h);
	struct seg t = syn(BYTES_NONE); /* goes on overflowing: only age counts */
	lone_wait(&h.lone, 66 * US_PER_SEC);
	answer(s.seq, BYTES_NONE);
	assert_int_equal(hand_hear(&h).flags, RST);
	lone_wait(&h.lone, 63 * US_PER_SEC);
	answer(t.seq, BYTES_NONE);
	assert_int_equal(h.accepts, 1);
}

static void test_only_while_there_was_an_overflow(void **state)
{
	uint64_t failed = count(CTR_TCP_SYN_COOKIES_FAILED);

	(void)state;
	answer(77, BYTES_NONE);
	assert_int_equal(hand_hear(&h).flags, RST);
	assert_int_equal(count(CTR_TCP_SYN_COOKIES_FAILED), failed); /* not even looked at */
}

static void test_no_free_connection_makes_the_peer_wait(void **state)
{
	struct stack *st = h.lone.host.stack;
	struct list taken;

	(void)state;
	struct seg s = syn(BYTES_NONE);
	list_init(&taken);
	for (struct list *node; (node = list_pop_head(&st->conn_unused));)
		list_push_tail(&taken, node);
	answer(s.seq, BYTES_NONE);
	hand_silence(&h);
	for (struct list *node; (node = list_pop_head(&taken));)
		list_push_tail(&st->conn_unused, node);
	answer(s.seq, BYTES_NONE);
	assert_int_equal(h.accepts, 1);
}

/* The cache is full of strangers: the next peer gets a cookie, and gets in. */
static void test_an_overflowing_cache_sends_them(void **state)
{
	struct stack *st = h.lone.host.stack;
	uint64_t sent = count(CTR_TCP_SYN_COOKIES_SENT), taken = count(CTR_TCP_SYN_COOKIES_TAKEN);

	(void)state;
	st->conf.tcp.syn_cookies = STACK_COOKIES_OVERFLOW;
	for (unsigned i = 0; i < 2000; i++) {
		struct seg s = {.sport = (uint16_t)(1000 + i), .dport = HAND_PORT, .flags = SYN};
		lone_send(&h.lone, &s);
	}
	assert_int_equal(st->syn.used, st->syn.size);
	h.lone.taken = h.lone.sent_n;
	h.ts = 1;
	struct seg s = syn(bytes_make(all, sizeof(all)));
	assert_int_equal(count(CTR_TCP_SYN_COOKIES_SENT) - sent, 2001 - st->syn.size);
	answer(s.seq, BYTES_LIT("EHLO"));
	assert_int_equal(h.n, 4);
	assert_int_equal(count(CTR_TCP_SYN_COOKIES_TAKEN) - taken, 1);
	assert_int_equal(st->connections, 1);
	/* what is in the cache still works */
	const struct tcp_syn *e = &st->syn.entries[0];
	struct seg a = {.sport = e->key.peer_port,
		.dport = HAND_PORT,
		.seq = e->irs + 1,
		.ack = e->iss + 1,
		.flags = ACK};
	lone_send(&h.lone, &a);
	assert_int_equal(h.accepts, 2);
}

static void test_turned_off_the_oldest_gives_way(void **state)
{
	struct stack *st = h.lone.host.stack;

	(void)state;
	st->conf.tcp.syn_cookies = STACK_COOKIES_OFF;
	for (unsigned i = 0; i < 2000; i++) {
		struct seg s = {.sport = (uint16_t)(1000 + i), .dport = HAND_PORT, .flags = SYN};
		lone_send(&h.lone, &s);
	}
	h.lone.taken = h.lone.sent_n;
	struct seg s = syn(BYTES_NONE);
	assert_int_equal(st->syn.used, st->syn.size);
	answer(s.seq, BYTES_NONE);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(st->syn.used, st->syn.size - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_is_kept),
		TEST(test_octets_of_the_answer),
		TEST(test_timestamps_carry_scale_and_sack),
		TEST(test_without_timestamps_there_is_only_the_mss),
		TEST(test_mss_is_rounded_down),
		TEST(test_what_was_not_given_out_is_refused),
		TEST(test_data_that_does_not_fit_is_ignored),
		TEST(test_believed_for_one_to_two_periods),
		TEST(test_only_while_there_was_an_overflow),
		TEST(test_no_free_connection_makes_the_peer_wait),
		TEST(test_an_overflowing_cache_sends_them),
		TEST(test_turned_off_the_oldest_gives_way),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Half-open passive connections: answers byte by byte, repetition, memory, limits. */
#include <rte_malloc.h>
#include "dataplane/base/counters.h"
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

static void say(uint8_t flags, uint32_t seq, uint32_t ack)
{
	hand_say(&h, flags, seq, ack, BYTES_NONE, BYTES_NONE);
}

static uint64_t count(enum counter c)
{
	return atomic_load(&counters_mine->value[c]);
}

static struct stack_info info(void)
{
	struct stack_info i;

	stack_get_info(h.lone.host.stack, &i);
	return i;
}

/* A SYN from port and with number of a stranger who never goes on. */
static void stranger(uint16_t port, uint32_t seq)
{
	struct seg s = {
		.sport = port, .dport = HAND_PORT, .seq = seq, .flags = SYN, .window = 60000};

	lone_send(&h.lone, &s);
}

static void forget_what_was_sent(void)
{
	h.lone.taken = h.lone.sent_n;
}

static void test_syn_costs_no_connection(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	assert_int_equal(h.lone.host.stack->connections, 0);
	assert_int_equal(info().half_open, 1);
	struct seg s = hand_hear(&h);
	say(ACK, HAND_START + 1, s.seq + 1);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(info().half_open, 0);
	assert_int_equal(h.lone.host.stack->connections, 1);
	assert_int_equal(h.lone.host.stack->syn.timer.at_us, 0);
}

/* What a SYN-ACK offers is what the SYN did, and no more. */
static void test_options_of_the_answer(void **state)
{
	static const uint8_t all[] = {
		2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 3, 232, 0, 0, 0, 0, 1, 3, 3, 7};
	static const uint8_t mss[] = {2, 4, 5, 180};
	/* MSS 1460; then with SACK, timestamps and no scale: the buffer is below 64 KiB */
	static const uint8_t want_all[] = {2, 4, 5, 180, 4, 2, 8, 10};

	(void)state;
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, bytes_make(mss, sizeof(mss)));
	struct seg s = hand_hear(&h);
	assert_int_equal(s.options_n, 4);
	assert_memory_equal(s.options, mss, 4);
	assert_int_equal(s.window, 60000);
	say(RST, HAND_START + 1, 0);
	assert_int_equal(info().half_open, 0);
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, bytes_make(all, sizeof(all)));
	s = hand_hear(&h);
	assert_int_equal(s.options_n, 20);
	assert_memory_equal(s.options, want_all, sizeof(want_all));
	static const uint8_t rest[] = {0, 0, 3, 232, 1, 3, 3, 0}; /* echo; window scale 0 */
	assert_memory_equal(s.options + 12, rest, sizeof(rest));
}

static void test_answer_is_repeated_1_2_4_seconds_later(void **state)
{
	static const unsigned at[] = {1, 3, 7, 15, 31};
	uint64_t begin = h.lone.host.now_us;
	uint32_t iss;

	(void)state;
	say(SYN, HAND_START, 0);
	iss = hand_hear(&h).seq;
	for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
		lone_wait(&h.lone, begin + at[i] * US_PER_SEC - 5000 - h.lone.host.now_us);
		hand_silence(&h);
		lone_wait(&h.lone, 10000);
		struct seg s = hand_hear(&h);
		assert_int_equal(s.flags, SYN | ACK);
		assert_int_equal(s.seq, iss);
	}
	lone_wait(&h.lone, 31 * US_PER_SEC);
	assert_int_equal(info().half_open, 1);
	lone_wait(&h.lone, 2 * US_PER_SEC);
	assert_int_equal(info().half_open, 0);
	assert_int_equal(h.lone.host.wheel.armed, 0);
	hand_silence(&h);
}

static void test_syn_again_makes_no_second_entry(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	lone_wait(&h.lone, 100000);
	say(SYN, HAND_START, 0);
	assert_int_equal(hand_hear(&h).seq, iss);
	assert_int_equal(info().half_open, 1);
	/* the repetition is still due when it was */
	lone_wait(&h.lone, 910000);
	assert_int_equal(hand_hear(&h).seq, iss);
	/* Karn: three answers are out, none of them gives an RTT */
	say(ACK, HAND_START + 1, iss + 1);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(hand_conn(&h)->srtt_us, 0);
}

static void test_rtt_of_the_handshake_counts(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	lone_wait(&h.lone, 123000);
	say(ACK, HAND_START + 1, iss + 1);
	assert_in_range(hand_conn(&h)->srtt_us, 122000, 124000);
}

static void test_ack_with_data_and_fin(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	hand_say(&h, ACK | FIN, HAND_START + 1, iss + 1, BYTES_LIT("hello"), BYTES_NONE);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(h.n, 5);
	assert_int_equal(h.eofs, 1);
	assert_int_equal(hand_hear(&h).ack, HAND_START + 7);
}

/* The ACK was lost, data behind it comes first and out of order. */
static void test_later_data_opens_as_well(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	hand_say(&h, ACK, HAND_START + 6, iss + 1, BYTES_LIT("world"), BYTES_NONE);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(h.n, 0);
	assert_int_equal(hand_hear(&h).ack, HAND_START + 1);
	hand_say(&h, ACK, HAND_START + 1, iss + 1, BYTES_LIT("hello"), BYTES_NONE);
	assert_int_equal(h.n, 10);
}

static void test_only_the_exact_rst_ends_it(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	say(RST, HAND_START + 70000, 0);
	hand_silence(&h);
	say(RST, HAND_START + 2, 0);
	struct seg s = hand_hear(&h);
	assert_int_equal(s.flags, ACK);
	assert_int_equal(s.seq, iss + 1);
	assert_int_equal(s.ack, HAND_START + 1);
	assert_int_equal(s.window, 60000);
	say(RST, HAND_START + 3, 0);
	hand_silence(&h); /* one challenge between two answers */
	assert_int_equal(info().half_open, 1);
	say(RST, HAND_START + 1, 0);
	assert_int_equal(info().half_open, 0);
	say(ACK, HAND_START + 1, iss + 1);
	assert_int_equal(hand_hear(&h).flags, RST);
	assert_int_equal(h.accepts, 0);
}

static void test_icmp_ends_it_only_when_hard_and_exact(void **state)
{
	struct stack *st = h.lone.host.stack;

	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	struct tcp_key key = st->syn.entries[0].key;
	for (uint32_t i = 0; i < st->syn.size; i++) {
		if (st->syn.tags[i])
			key = st->syn.entries[i].key;
	}
	tcp_unreachable(st, &key, iss, false);
	tcp_unreachable(st, &key, iss + 1, true);
	assert_int_equal(info().half_open, 1);
	tcp_unreachable(st, &key, iss, true);
	assert_int_equal(info().half_open, 0);
}

static void test_listener_gone_means_rst(void **state)
{
	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	stack_unlisten(h.lone.host.stack, HAND_PORT);
	say(ACK, HAND_START + 1, iss + 1);
	struct seg s = hand_hear(&h);
	assert_int_equal(s.flags, RST);
	assert_int_equal(s.seq, iss + 1);
	assert_int_equal(info().half_open, 0);
}

/* No connection is free when the handshake completes: it waits, and the peer's next try opens. */
static void test_full_table_of_connections_makes_it_wait(void **state)
{
	struct stack *st = h.lone.host.stack;
	struct list taken;

	(void)state;
	say(SYN, HAND_START, 0);
	uint32_t iss = hand_hear(&h).seq;
	list_init(&taken);
	for (struct list *node; (node = list_pop_head(&st->conn_unused));)
		list_push_tail(&taken, node);
	say(ACK, HAND_START + 1, iss + 1);
	hand_silence(&h);
	assert_int_equal(h.accepts, 0);
	stranger(1000, 1); /* and a new one gets no answer */
	hand_silence(&h);
	for (struct list *node; (node = list_pop_head(&taken));)
		list_push_tail(&st->conn_unused, node);
	hand_say(&h, ACK, HAND_START + 1, iss + 1, BYTES_LIT("x"), BYTES_NONE);
	assert_int_equal(h.accepts, 1);
	assert_int_equal(h.n, 1);
}

static void test_flood_changes_no_memory_and_harms_no_connection(void **state)
{
	struct rte_malloc_socket_stats before, after;
	struct stack *st = h.lone.host.stack;
	struct host_pools *pools = h.lone.host.pools;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	rte_malloc_get_socket_stats(0, &before);
	uint32_t in_use = rte_mempool_in_use_count(pools->rx) +
			  rte_mempool_in_use_count(pools->control) +
			  rte_mempool_in_use_count(pools->tx);
	for (unsigned i = 0; i < 20000; i++) {
		stranger((uint16_t)(1024 + i % 30000), i * 7919);
		if (i % 100 == 0) { /* 10,000 a second; meanwhile the connection goes on */
			lone_wait(&h.lone, 10 * US_PER_MS);
			forget_what_was_sent();
			hand_say(&h, ACK, h.snd++, h.rcv, BYTES_LIT("d"), BYTES_NONE);
		}
	}
	assert_true(st->syn.used <= st->syn.size);
	assert_int_equal(st->connections, 1);
	assert_int_equal(h.n, 200);
	assert_int_equal(h.closes, 0);
	rte_malloc_get_socket_stats(0, &after);
	assert_int_equal(before.heap_allocsz_bytes, after.heap_allocsz_bytes);
	assert_int_equal(in_use, rte_mempool_in_use_count(pools->rx) +
					 rte_mempool_in_use_count(pools->control) +
					 rte_mempool_in_use_count(pools->tx));
	assert_true(count(CTR_TCP_SYN_CACHE_OVERFLOWS) > 0);
	/* when it is over, everything is forgotten */
	lone_wait(&h.lone, 70 * US_PER_SEC);
	assert_int_equal(st->syn.used, 0);
}

/* A challenge ACK of a half-open connection says the window scaled: no less than before. */
static void test_scaled_window_takes_nothing_back(void **state)
{
	static const uint8_t scale[] = {1, 3, 3, 7};

	(void)state;
	hand_fini(&h);
	h.conf = (struct host_conf){.rcv_buffer = 65536}; /* one more than a SYN can say */
	hand_init(&h);
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, bytes_make(scale, sizeof(scale)));
	struct seg s = hand_hear(&h);
	uint32_t told = s.window;
	assert_true(told > 65000);
	say(RST, HAND_START + 100, 0);
	s = hand_hear(&h);
	assert_int_equal(s.flags, ACK);
	assert_true((uint32_t)s.window << 1 >= told);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_syn_costs_no_connection),
		TEST(test_options_of_the_answer),
		TEST(test_answer_is_repeated_1_2_4_seconds_later),
		TEST(test_syn_again_makes_no_second_entry),
		TEST(test_rtt_of_the_handshake_counts),
		TEST(test_ack_with_data_and_fin),
		TEST(test_later_data_opens_as_well),
		TEST(test_only_the_exact_rst_ends_it),
		TEST(test_icmp_ends_it_only_when_hard_and_exact),
		TEST(test_scaled_window_takes_nothing_back),
		TEST(test_listener_gone_means_rst),
		TEST(test_full_table_of_connections_makes_it_wait),
		TEST(test_flood_changes_no_memory_and_harms_no_connection),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

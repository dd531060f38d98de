/* SPDX-License-Identifier: BSD-3-Clause
 * The receive queue against a map of octets: whatever overlaps and in whatever order, the
 * application sees each octet once, and what is SACKed is what has arrived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/frame.h"
#include "tests/sim/lone.h"

#define STREAM 20000

static struct host_pools pools;
static struct rte_mempool *roomy; /* with room to merge, as receive pools have */
static struct stack stack;
static struct tcp_conn conn;
static struct tcp_note note;
static struct stream stream;
static uint8_t content[STREAM];
static size_t got;
static uint64_t seed;

static size_t on_data(struct stream *s, struct bytes data)
{
	(void)s;
	assert_true(got + data.n <= STREAM);
	size_t n = host_random(&seed) % 4 ? data.n : host_random(&seed) % (data.n + 1);
	assert_memory_equal(data.p, content + got, n);
	got += n;
	return n;
}

static const struct stream_ops ops = {.on_data = on_data};

static void begin(uint32_t isn, uint32_t window)
{
	stack = (struct stack){.conf.rcv_buffer_bytes = window, .conns = &conn, .notes = &note};
	list_init(&stack.dirty);
	conn = (struct tcp_conn){.stack = &stack, .stream = &stream, .state = TCP_ESTABLISHED};
	conn.rcv_nxt = isn;
	conn.rcv_adv = isn + window;
	list_init(&conn.lap);
	stream.ops = &ops;
	got = 0;
}

static struct rte_mbuf *piece(size_t from, size_t n)
{
	if (host_random(&seed) % 2)
		return frame_make(pools.rx, bytes_make(content + from, n));
	struct rte_mbuf *m = rte_pktmbuf_alloc(roomy);
	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), content + from, n);
	return m;
}

static void sack_check(const bool *have, uint32_t isn)
{
	struct tcp_range blocks[TCP_SACK_BLOCKS];
	unsigned n = tcp_reass_sack(&conn, blocks, TCP_SACK_BLOCKS);

	assert_int_equal(n > 0, conn.ooo != NULL);
	for (unsigned i = 0; i < n; i++) {
		assert_true(seq_lt(conn.rcv_nxt, blocks[i].start));
		for (uint32_t s = blocks[i].start; s != blocks[i].end; s++)
			assert_true(have[s - isn]);
	}
}

static void one_round(uint64_t round)
{
	static bool have[STREAM];
	uint32_t isn = round % 2 ? 1000 : UINT32_MAX - 5000; /* wraps */
	uint32_t nxt = 0;

	memset(have, 0, sizeof(have));
	begin(isn, STREAM);
	for (unsigned i = 0; i < 400 && nxt < STREAM; i++) {
		size_t from = nxt + host_random(&seed) % 3000;
		size_t n = 1 + host_random(&seed) % 1400;
		from = from > 800 ? from - host_random(&seed) % 800 : from;
		if (host_random(&seed) % 4 == 0)
			from = nxt;
		from = MIN(from, (size_t)STREAM - 1);
		n = MIN(n, STREAM - from);
		uint32_t dropped = (uint32_t)counters_mine->value[CTR_TCP_OOO_DROPPED];
		tcp_reass_input(&conn, piece(from, n), isn + (uint32_t)from, (uint32_t)n);
		assert_int_equal(dropped, counters_mine->value[CTR_TCP_OOO_DROPPED]);
		memset(have + from, 1, n);
		while (nxt < STREAM && have[nxt])
			nxt++;
		assert_int_equal(conn.rcv_nxt - isn, nxt);
		assert_int_equal(got + conn.unread_bytes, nxt);
		sack_check(have, isn);
		if (host_random(&seed) % 4 == 0) {
			conn.flags &= ~(uint32_t)CF_RX_STOPPED;
			tcp_reass_deliver(&conn);
		}
	}
	tcp_reass_free(&conn);
	assert_int_equal(conn.charged, 0);
	assert_int_equal(conn.ooo_count, 0);
	assert_true(host_pools_full(&pools));
	assert_int_equal(rte_mempool_in_use_count(roomy), 0);
}

static void test_random_overlaps_agree_with_a_map_of_octets(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 300; round++) {
		seed = round;
		one_round(round);
	}
}

static void test_memory_is_charged_and_bounded(void **state)
{
	(void)state;
	begin(0, 60000);
	for (uint32_t i = 0; i < 5000; i++)
		tcp_reass_input(&conn, piece(2 * i + 1, 1), 2 * i + 1, 1);
	assert_true(conn.ooo_count <= TCP_OOO_BUFFERS_MAX);
	assert_true(conn.charged <= 2 * 60000 + 4096);
	tcp_reass_free(&conn);
	assert_true(host_pools_full(&pools));
}

static void test_data_beyond_the_window_is_cut(void **state)
{
	(void)state;
	begin(0, 100);
	stack.conf.rcv_buffer_bytes = STREAM;
	tcp_reass_input(&conn, piece(50, 200), 50, 200);
	assert_int_equal(conn.ooo->data_len, 50);
	tcp_reass_input(&conn, piece(100, 10), 100, 10);
	assert_int_equal(conn.ooo_count, 1);
	tcp_reass_free(&conn);
	assert_true(host_pools_full(&pools));
}

static void test_what_two_hold_together_is_not_held_again(void **state)
{
	(void)state;
	begin(0, STREAM);
	tcp_reass_input(&conn, frame_make(pools.rx, bytes_make(content + 100, 100)), 100, 100);
	tcp_reass_input(&conn, frame_make(pools.rx, bytes_make(content + 200, 100)), 200, 100);
	for (unsigned i = 0; i < 10; i++)
		tcp_reass_input(
			&conn, frame_make(pools.rx, bytes_make(content + 150, 100)), 150, 100);
	assert_int_equal(conn.ooo_count, 2);
	tcp_reass_free(&conn);
	assert_true(host_pools_full(&pools));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_overlaps_agree_with_a_map_of_octets),
		cmocka_unit_test(test_memory_is_charged_and_bounded),
		cmocka_unit_test(test_data_beyond_the_window_is_cut),
		cmocka_unit_test(test_what_two_hold_together_is_not_held_again),
	};
	eal_start_for_tests(64);
	host_pools_init(&pools, "r", 4095, 63);
	roomy = rte_pktmbuf_pool_create("roomy", 1023, 0, 0, 2176, SOCKET_ID_ANY);
	assert_non_null(roomy);
	for (size_t i = 0; i < STREAM; i++)
		content[i] = (uint8_t)(i * 7 + i / 251);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

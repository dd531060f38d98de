/* SPDX-License-Identifier: BSD-3-Clause
 * Peers that want the sender's memory or time: a tiny MSS, small pieces that are never
 * acknowledged, SACK blocks without end, a window that stays shut.  What each takes is bounded and
 * counted, and the connection goes on when the peer does. */
#include <rte_mempool.h>
#include "dataplane/base/counters.h"
#include "tests/unit/dataplane/hand.h"

#define SND_BUFFER 200000u /* of hand.c */
#define SEGS_MAX   (SND_BUFFER / TCP_SENDQ_SEG_OCTETS)
#define TINY       TCP_MSS_MIN
#define ROUNDS     10000

static struct hand h;
static uint64_t random_state;

static uint64_t count(enum counter c)
{
	return atomic_load(&counters_mine->value[c]);
}

static unsigned frames_in_use(void)
{
	return rte_mempool_in_use_count(h.lone.host.pools->tx);
}

static int setup(void **state)
{
	(void)state;
	random_state = 5;
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

static void forget_sent(void)
{
	h.lone.sent_n = h.lone.taken = 0;
}

static void lap(uint64_t us)
{
	lone_wait(&h.lone, us);
	forget_sent();
}

static void handshake_mss(uint8_t mss, bool sack)
{
	const uint8_t options[] = {2, 4, 0, mss, 1, 1, 4, 2};

	hand_handshake(&h, bytes_make(options, sack ? 8 : 4));
}

/* The application sends as much as it can; octets taken. */
static size_t fill(void)
{
	static const uint8_t zeros[SND_BUFFER];
	size_t n = stream_send(&h.stream, bytes_make(zeros, sizeof(zeros)));

	host_lap(&h.lone.host, h.lone.host.now_us);
	forget_sent();
	return n;
}

static void ack_all(void)
{
	hand_say(&h, ACK, h.snd, hand_conn(&h)->snd_nxt, BYTES_NONE, BYTES_NONE);
	forget_sent();
}

static void test_a_tiny_mss_takes_no_more_frames_than_a_common_one(void **state)
{
	uint64_t limited = count(CTR_TCP_SENDQ_LIMITED);
	size_t sent = 0;

	(void)state;
	handshake_mss(1, true);
	assert_int_equal(hand_conn(&h)->mss, TINY);
	for (unsigned round = 0; sent < SND_BUFFER && round < ROUNDS; round++) {
		sent += fill();
		assert_true(frames_in_use() <= SEGS_MAX);
		assert_int_equal(hand_conn(&h)->sendq_segs, frames_in_use());
		ack_all();
	}
	assert_true(sent >= SND_BUFFER);
	assert_true(count(CTR_TCP_SENDQ_LIMITED) > limited);
	while (hand_conn(&h)->sendq)
		ack_all();
	assert_int_equal(frames_in_use(), 0);
}

/* One octet in a lap makes a segment each, as long as the congestion window has room. */
static void test_small_pieces_that_nobody_acknowledges_are_bounded(void **state)
{
	size_t taken = 0, refused = 0;

	(void)state;
	handshake_mss(255, false);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (stream_send(&h.stream, bytes_make("x", 1)))
			taken++;
		else
			refused++;
		host_lap(&h.lone.host, h.lone.host.now_us);
		forget_sent();
		assert_true(frames_in_use() <= SEGS_MAX);
	}
	assert_true(taken >= SEGS_MAX && refused > 0);
	ack_all();
	while (hand_conn(&h)->sendq) {
		host_lap(&h.lone.host, h.lone.host.now_us);
		ack_all();
	}
	assert_int_equal(stream_send(&h.stream, bytes_make("x", 1)), 1);
}

/* Every ACK tells of three other holes.  None costs a frame, or more segments than it told of; and
 * each costs a walk of a queue whose length is bounded. */
static void test_a_bomb_of_sacks(void **state)
{
	uint32_t blocks[6];

	(void)state;
	handshake_mss(1, true);
	fill();
	while (hand_conn(&h)->snd_nxt - hand_conn(&h)->snd_una < SEGS_MAX / 2 * TINY) {
		ack_all();
		fill();
	}
	uint32_t una = hand_conn(&h)->snd_una, flight = hand_conn(&h)->snd_nxt - una;
	unsigned segs = hand_conn(&h)->sendq_segs;
	uint64_t out = count(CTR_TCP_OUT_SEGS) + count(CTR_TCP_RETRANS_SEGS);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 3; i++) {
			uint32_t at =
				1 + (uint32_t)(host_random(&random_state) % (flight / TINY - 2));
			blocks[2 * i] = at * TINY;
			blocks[2 * i + 1] =
				at * TINY + 1 + (uint32_t)(host_random(&random_state) % TINY);
		}
		hand_sack(&h, una, una, blocks, 3);
		forget_sent();
		assert_int_equal(hand_conn(&h)->sendq_segs, segs);
		assert_int_equal(frames_in_use(), segs);
		assert_true(hand_conn(&h)->sacked <= flight);
		if (round % 100 == 0)
			lap(US_PER_MS);
	}
	/* a retransmission is answered to nobody's wish: not one for each ACK */
	out = count(CTR_TCP_OUT_SEGS) + count(CTR_TCP_RETRANS_SEGS) - out;
	assert_true(out < ROUNDS / 2);
	while (hand_conn(&h)->sendq) {
		ack_all();
		lap(US_PER_MS);
	}
	assert_int_equal(frames_in_use(), 0);
	assert_true(fill() > 0);
}

/* It holds what the send buffer holds, for as long as a closed connection is kept. */
static void test_a_reader_with_a_window_of_0(void **state)
{
	uint64_t probes = count(CTR_TCP_ZERO_WINDOW_PROBES);

	(void)state;
	h.window = 0;
	hand_handshake(&h, BYTES_NONE);
	fill();
	unsigned segs = frames_in_use();
	assert_true(segs <= SEGS_MAX);
	for (unsigned i = 0; i < 100; i++) {
		lap(US_PER_SEC);
		hand_say(&h, ACK, h.snd, hand_conn(&h)->snd_una, BYTES_NONE, BYTES_NONE);
		assert_in_range(frames_in_use(), segs, segs + 1); /* the probe's octet is cut off */
		assert_int_equal(fill(), 0);
	}
	probes = count(CTR_TCP_ZERO_WINDOW_PROBES) - probes;
	assert_in_range(probes, 3, 20);
	stream_close(&h.stream);
	lap(TCP_LINGER_US + US_PER_SEC);
	lap(US_PER_SEC);
	assert_int_equal(frames_in_use(), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_tiny_mss_takes_no_more_frames_than_a_common_one),
		T(test_small_pieces_that_nobody_acknowledges_are_bounded),
		T(test_a_bomb_of_sacks),
		T(test_a_reader_with_a_window_of_0),
	};
	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

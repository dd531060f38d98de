/* SPDX-License-Identifier: BSD-3-Clause
 * Looking ahead reads no further than a frame goes (frames here are exact blocks, for ASan), finds
 * what processing finds, and takes nothing for granted that was not checked. */
#include "tests/sim/frame.h"
#include "tests/unit/dataplane/hand.h"

static struct hand h;

static void test_frames_cut_at_every_octet(void **state)
{
	uint8_t frame[2048];
	struct seg s = {.sport = HAND_OURS, .dport = HAND_PORT, .flags = RTE_TCP_SYN_FLAG};
	size_t n = lone_build(frame, &s);
	struct stack *st = h.lone.host.stack;

	(void)state;
	for (unsigned version = 0; version < 2; version++) {
		for (size_t cut = 0; cut <= n; cut++) {
			struct rte_mbuf *m =
				frame_make(h.lone.host.pools->rx, bytes_make(frame, cut));
			stack_look_ahead(st, &m, 1);
			rte_pktmbuf_free(m);
		}
		frame[12] = 0x86; /* the same octets as IPv6 */
		frame[13] = 0xdd;
		frame[14 + 6] = 6;
	}
}

static void test_header_lengths_that_lie(void **state)
{
	uint8_t frame[2048];
	struct seg s = {.sport = HAND_OURS, .dport = HAND_PORT, .flags = RTE_TCP_SYN_FLAG};
	size_t n = lone_build(frame, &s);

	(void)state;
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		frame[14] = (uint8_t)(0x40 | ihl);
		struct rte_mbuf *m = frame_make(h.lone.host.pools->rx, bytes_make(frame, n));
		stack_look_ahead(h.lone.host.stack, &m, 1);
		rte_pktmbuf_free(m);
	}
}

/* The hash that is remembered is that of the key, whoever asked first. */
static void test_what_is_remembered_is_right(void **state)
{
	struct stack *st = h.lone.host.stack;
	struct tcp_key key = {.local = ip_from_v4(RTE_BE32(LONE_IP)),
		.peer = ip_from_v4(RTE_BE32(LONE_PEER)),
		.local_port = HAND_PORT};

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		key.peer_port = (uint16_t)(1 + i % 7);
		st->memo = &st->memos[i % 3];
		assert_int_equal(stack_hash(st, &key), tcp_table_hash(&st->table, &key));
	}
}

static int setup(void **state)
{
	(void)state;
	hand_init(&h);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hand_fini(&h);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_frames_cut_at_every_octet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_header_lengths_that_lie, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_remembered_is_right, setup, teardown),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

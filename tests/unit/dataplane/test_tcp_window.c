/* SPDX-License-Identifier: BSD-3-Clause
 * The send window: which segments may change it, and what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/lone.h"

#define PORT  25
#define OURS  40000 /* port we, the peer, send from */
#define START 5000u /* our first sequence number */
#define MSS   500u

static struct host_pools pools;
static struct lone lone;
static struct listener listener;
static struct stream stream;
static uint8_t zeros[8000];
static uint32_t iss;

static size_t on_data(struct stream *s, struct bytes data)
{
	(void)s;
	return data.n;
}

static const struct stream_ops ops = {.on_data = on_data};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	(void)l;
	(void)peer;
	(void)local;
	stream = (struct stream){.ops = &ops};
	return &stream;
}

/* A segment of ours: seq and ack count from the first octet of each side. */
static void say(uint32_t seq, size_t n, uint32_t ack, uint16_t window)
{
	struct seg s = {.sport = OURS,
		.dport = PORT,
		.seq = START + 1 + seq,
		.ack = iss + 1 + ack,
		.flags = ACK,
		.window = window,
		.payload = zeros,
		.payload_n = n};

	lone_send(&lone, &s);
}

/* The edge of what the stack has sent, from its first octet. */
static uint32_t sent_up_to(void)
{
	static uint32_t edge;
	struct seg s;

	while (lone_next(&lone, &s)) {
		if (s.flags & SYN)
			edge = 0;
		else
			edge = MAX(edge, s.seq - iss - 1 + (uint32_t)s.payload_n);
	}
	return edge;
}

static int setup(void **state)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 64,
		.rcv_buffer = 10000,
		.snd_buffer = 100000};
	struct seg syn = {
		.sport = OURS,
		.dport = PORT,
		.seq = START,
		.flags = SYN,
		.window = 4 * MSS,
		.options = {2, 4, MSS >> 8, MSS & 255},
		.options_n = 4
        };
	struct seg answer;

	(void)state;
	listener.accept = on_accept;
	lone_init(&lone, &pools, &conf);
	lone_arp(&lone);
	assert_int_equal(stack_listen(lone.host.stack, PORT, &listener), 0);
	lone_send(&lone, &syn);
	assert_true(lone_next(&lone, &answer));
	iss = answer.seq;
	lone.taken--; /* sent_up_to looks at it again */
	say(0, 0, 0, 4 * MSS);
	stream_send(&stream, bytes_make(zeros, sizeof(zeros)));
	host_lap(&lone.host, lone.host.now_us);
	assert_int_equal(sent_up_to(), 4 * MSS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lone_fini(&lone);
	return 0;
}

static void test_an_ack_on_data_sent_again_brings_its_window(void **state)
{
	(void)state;
	say(100, 100, 0, 4 * MSS);
	say(0, 100, MSS, 3 * MSS);
	assert_int_equal(sent_up_to(), 4 * MSS);
	say(200, 0, MSS, 4 * MSS);
	assert_int_equal(sent_up_to(), 5 * MSS);
}

static void test_an_older_ack_brings_no_window(void **state)
{
	(void)state;
	say(0, 100, MSS, 3 * MSS);
	say(100, 100, 0, 4 * MSS);
	assert_int_equal(sent_up_to(), 4 * MSS);
}

static void test_an_ack_counts_an_octet_beside_the_window(void **state)
{
	(void)state;
	say(0, 100, 0, 4 * MSS);
	say(99, 0, MSS, 4 * MSS);
	assert_int_equal(sent_up_to(), 5 * MSS);
	say(99, 1, 2 * MSS, 4 * MSS);
	assert_int_equal(sent_up_to(), 6 * MSS);
	say(98, 0, 3 * MSS, 4 * MSS);
	assert_int_equal(sent_up_to(), 6 * MSS);
}

/* The peer would refuse an ACK with the number behind the probe: it is outside of its window. */
static void test_an_ack_stays_within_a_closed_window(void **state)
{
	struct seg s;
	bool acked = false;

	(void)state;
	say(0, 0, 4 * MSS, 0);
	lone_wait(&lone, 10 * US_PER_SEC);
	assert_int_equal(sent_up_to(), 4 * MSS + 1);
	say(0, 100, 4 * MSS, 0);
	lone_wait(&lone, US_PER_SEC);
	while (lone_next(&lone, &s)) {
		assert_int_equal(s.seq - iss - 1, 4 * MSS);
		acked |= s.ack == START + 1 + 100;
	}
	assert_true(acked);
}

/* Probes were refused for minutes: the octet goes again as soon as there is room, and soon again
 * when that is lost. */
static void test_a_window_that_opens_ends_the_waiting(void **state)
{
	struct seg s;
	unsigned again = 0;

	(void)state;
	say(0, 0, 4 * MSS, 0);
	for (unsigned i = 0; i < 90; i++) {
		lone_wait(&lone, US_PER_SEC);
		say(0, 0, 4 * MSS, 0);
	}
	assert_int_equal(sent_up_to(), 4 * MSS + 1);
	say(0, 0, 4 * MSS, 4 * MSS);
	lone_wait(&lone, 5 * US_PER_SEC);
	while (lone_next(&lone, &s))
		again += s.seq == iss + 1 + 4 * MSS && s.payload_n;
	assert_in_range(again, 3, 10);
}

/* An eighth of a small buffer would be less than a segment, and the window shut until the pressure
 * ends; two such ends would wait for each other. */
static void test_a_full_pool_does_not_shut_a_small_window(void **state)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 64,
		.rcv_buffer = 4096,
		.snd_buffer = 100000};
	struct seg s = {.sport = OURS, .dport = PORT, .seq = START, .flags = SYN, .window = 1000};
	struct rte_mbuf *taken[190];

	(void)state;
	assert_int_equal(rte_pktmbuf_alloc_bulk(pools.tx, taken, ARRAY_LEN(taken)), 0);
	lone_init(&lone, &pools, &conf);
	lone_arp(&lone);
	assert_int_equal(stack_listen(lone.host.stack, PORT, &listener), 0);
	lone_send(&lone, &s);
	assert_true(lone_next(&lone, &s));
	assert_int_equal(stack_pressure(lone.host.stack), STACK_PRESSURE_WINDOWS);
	assert_int_equal(s.window, 4096);
	rte_pktmbuf_free_bulk(taken, ARRAY_LEN(taken));
	lone_fini(&lone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_an_ack_on_data_sent_again_brings_its_window, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_older_ack_brings_no_window, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_ack_counts_an_octet_beside_the_window, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_ack_stays_within_a_closed_window, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_window_that_opens_ends_the_waiting, setup, teardown),
		cmocka_unit_test(test_a_full_pool_does_not_shut_a_small_window),
	};

	eal_start_for_tests(64);
	host_pools_init(&pools, "w", 1023, 255);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

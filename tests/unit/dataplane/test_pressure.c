/* SPDX-License-Identifier: BSD-3-Clause
 * Full pools: what the stack gives up at each level, and that it answers and recovers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <rte_arp.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/frame.h"
#include "tests/sim/lone.h"

#define PORT  25
#define TX    200
#define CONNS 40

static struct host_pools pools;
static struct rte_mempool *scarce; /* the receive pool that is watched */
static struct lone l;
static struct stream streams[CONNS];
static unsigned accepted, ended;
static enum stream_reason reason;
static struct rte_mbuf *taken[2 * TX];
static unsigned taken_n;

static size_t on_data(struct stream *s, struct bytes data)
{
	(void)s;
	(void)data;
	return 0;
}

static void on_close(struct stream *s, enum stream_reason why)
{
	(void)s;
	ended++;
	reason = why;
}

static void nothing(struct stream *s)
{
	(void)s;
}

static const struct stream_ops ops = {
	.on_data = on_data, .on_eof = nothing, .on_writable = nothing, .on_close = on_close};

static struct stream *on_accept(
	struct listener *listener, const struct endpoint *peer, const struct endpoint *local)
{
	(void)listener;
	(void)peer;
	(void)local;
	streams[accepted] = (struct stream){.ops = &ops};
	return &streams[accepted++];
}

static struct listener listener = {.accept = on_accept};

/* Somebody else has so many percent of a pool. */
static void take(struct rte_mempool *mp, unsigned percent)
{
	unsigned n = mp->size * percent / 100 - rte_mempool_in_use_count(mp);

	for (; n; n--) {
		taken[taken_n] = rte_pktmbuf_alloc(mp);
		assert_non_null(taken[taken_n++]);
	}
}

static void give_back(void)
{
	while (taken_n)
		rte_pktmbuf_free(taken[--taken_n]);
}

static int begin(void **state)
{
	(void)state;
	struct host_conf conf = {.address = LONE_IP, .mac = 1, .mtu = 1500, .connections_max = 16};
	accepted = ended = 0;
	lone_init(&l, &pools, &conf);
	lone_arp(&l);
	l.host.stack->conf.ports[0].rx_pool = scarce;
	assert_int_equal(stack_listen(l.host.stack, PORT, &listener), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	give_back();
	lone_fini(&l);
	return 0;
}

/* Our end of connection i is at these sequence numbers. */
static uint32_t mine(unsigned i)
{
	return 1000 * (i + 1);
}

static bool connect_peer(unsigned i, uint32_t *theirs_r)
{
	struct seg s = {.sport = (uint16_t)(5000 + i),
		.dport = PORT,
		.seq = mine(i),
		.flags = SYN,
		.window = 60000};
	struct seg answer;

	while (lone_next(&l, &answer))
		; /* what was sent before */
	lone_send(&l, &s);
	if (!lone_next(&l, &answer))
		return false;
	assert_int_equal(answer.flags, SYN | ACK);
	s.flags = ACK;
	s.seq++;
	s.ack = *theirs_r = answer.seq + 1;
	lone_send(&l, &s);
	return true;
}

/* Data of connection i, offset octets beyond what is next. */
static void data(unsigned i, uint32_t theirs, uint32_t offset, size_t n)
{
	static const uint8_t zero[1400];
	struct seg s = {.sport = (uint16_t)(5000 + i),
		.dport = PORT,
		.seq = mine(i) + 1 + offset,
		.ack = theirs,
		.flags = ACK,
		.window = 60000,
		.payload = zero,
		.payload_n = n};

	lone_send(&l, &s);
}

static uint64_t count(enum counter c)
{
	return atomic_load(&counters_mine->value[c]);
}

static void test_windows_fall_with_what_is_left(void **state)
{
	struct seg s;
	uint32_t theirs, edge;

	(void)state;
	assert_true(connect_peer(0, &theirs));
	struct tcp_conn *c = &l.host.stack->conns[streams[0].id.index];
	uint32_t all = tcp_reass_space(c);
	size_t send_all = stream_space(&streams[0]);
	take(scarce, 19);
	lone_wait(&l, 1000);
	assert_int_equal(tcp_reass_space(c), all);
	take(scarce, 60); /* half of what is shared: an eighth */
	lone_wait(&l, 1000);
	assert_int_equal(tcp_reass_space(c), all / 8);
	assert_int_equal(stream_space(&streams[0]), send_all / 8);
	assert_int_equal(l.host.stack->pressure, STACK_PRESSURE_NONE);
	edge = c->rcv_adv;
	data(0, theirs, 0, 1000);
	lone_wait(&l, 100000);
	while (lone_next(&l, &s))
		;
	assert_int_equal(c->rcv_adv, edge); /* neither back nor on */
	take(scarce, 84);
	lone_wait(&l, 1000);
	assert_in_range(tcp_reass_space(c), STACK_PRESSURE_BUFFER_MIN - 1000, all / 64);
	/* What was offered before is not held, either. */
	for (uint32_t at = 1000; at < 30000; at += 1000)
		data(0, theirs, at, 1000);
	assert_true(c->unread_bytes < 9000);
	give_back();
	lone_wait(&l, 1000);
	assert_true(tcp_reass_space(c) > all / 2);
}

/* One connection after the other takes all that it may, and gives nothing back. */
static void test_a_hundred_hold_less_than_others_need(void **state)
{
	const unsigned pool = 4095, each = 180; /* frames of 256 KiB */
	unsigned held = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		give_back();
		take(scarce, held * 100 / pool);
		lone_wait(&l, 1000);
		held += stack_buffer(l.host.stack, 256 * 1024) * each / (256 * 1024);
	}
	assert_true(held * 100 / pool < 85);
	assert_false(stack_is_short(l.host.stack));
}

/* Frames are scarce, and a peer keeps us waiting: it has ten seconds. */
static void test_at_85_percent_the_stalled_go(void **state)
{
	uint32_t theirs[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_true(connect_peer(i, &theirs[i]));
	/* 0 holds nothing but what came too early, what 1 sent is not taken, 2 does not
	 * acknowledge. */
	data(1, theirs[1], 0, 500);
	assert_int_equal(stream_send(&streams[2], BYTES_LIT("250 ok\r\n")), 8);
	lone_wait(&l, 5 * US_PER_SEC);
	struct tcp_conn *c = &l.host.stack->conns[streams[0].id.index];
	take(scarce, 88);
	data(0, theirs[0], 2000, 100);
	lone_wait(&l, US_PER_SEC);
	assert_non_null(c->ooo);
	lone_wait(&l, 2 * US_PER_SEC);
	assert_null(c->ooo);
	lone_wait(&l, US_PER_SEC);
	assert_int_equal(ended, 0);
	lone_wait(&l, 2 * US_PER_SEC);
	assert_int_equal(ended, 2);
	assert_int_equal(reason, STREAM_NO_MEMORY);
	assert_int_equal(c->state, TCP_ESTABLISHED);
}

/* Who has been closed and says nothing does not keep others out. */
static void test_orphans_give_their_places(void **state)
{
	uint64_t before = count(CTR_TCP_PRESSURE_ENDED);
	uint32_t theirs;

	(void)state;
	for (unsigned i = 0; i < 2 * 16; i++) {
		assert_true(connect_peer(i, &theirs));
		assert_int_equal(accepted, i + 1);
		stream_close(&streams[i]);
		lone_wait(&l, 1000);
	}
	assert_in_range(count(CTR_TCP_PRESSURE_ENDED) - before, 16, 18);
	assert_int_equal(ended, 0);
}

static void test_a_syn_costs_nothing_at_85_percent(void **state)
{
	uint64_t before = count(CTR_TCP_PRESSURE_SYN_DROPPED);
	uint64_t cookies = count(CTR_TCP_SYN_COOKIES_TAKEN);
	uint32_t theirs;

	(void)state;
	take(scarce, 80);
	assert_true(connect_peer(0, &theirs));
	assert_false(stack_is_short(l.host.stack));
	take(scarce, 90);
	lone_wait(&l, 1000);
	assert_true(stack_is_short(l.host.stack));
	assert_true(connect_peer(1, &theirs));
	assert_int_equal(count(CTR_TCP_SYN_COOKIES_TAKEN), cookies + 1);
	assert_int_equal(accepted, 2);
	take(scarce, 96);
	lone_wait(&l, 1000);
	assert_false(connect_peer(2, &theirs));
	assert_int_equal(count(CTR_TCP_PRESSURE_SYN_DROPPED), before + 1);
	give_back();
	lone_wait(&l, 1000);
	assert_true(connect_peer(2, &theirs));
	assert_int_equal(accepted, 3);
}

static void test_a_full_send_pool_counts_as_well(void **state)
{
	(void)state;
	take(pools.tx, 90);
	lone_wait(&l, 1000);
	assert_true(stack_is_short(l.host.stack));
}

static void test_at_95_percent_what_is_out_of_order_goes_first(void **state)
{
	uint32_t theirs;

	(void)state;
	assert_true(connect_peer(0, &theirs));
	struct tcp_conn *c = &l.host.stack->conns[streams[0].id.index];
	data(0, theirs, 2000, 100);
	assert_non_null(c->ooo);
	take(scarce, 96);
	lone_wait(&l, 1000);
	assert_null(c->ooo);
	assert_int_equal(c->charged, 0);
	/* It holds nothing more: nobody has to go. */
	lone_wait(&l, 100000);
	assert_int_equal(ended, 0);
}

static void test_then_the_longest_idle_that_holds_memory(void **state)
{
	uint32_t theirs[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(connect_peer(i, &theirs[i]));
		lone_wait(&l, 2 * US_PER_SEC);
	}
	/* 0 is the oldest and holds nothing; 1 keeps unread data, then 2. */
	for (unsigned i = 1; i < 3; i++) {
		data(i, theirs[i], 0, 500);
		lone_wait(&l, 2 * US_PER_SEC);
	}
	take(scarce, 96);
	stack_flush(l.host.stack, l.host.now_us);
	assert_int_equal(ended, 1);
	assert_int_equal(reason, STREAM_NO_MEMORY);
	assert_true(l.host.stack->conns[streams[0].id.index].state == TCP_ESTABLISHED);
	assert_true(l.host.stack->conns[streams[1].id.index].state == TCP_CLOSED);
	assert_true(l.host.stack->conns[streams[2].id.index].state == TCP_ESTABLISHED);
	give_back();
	lone_wait(&l, 1000);
	assert_int_equal(ended, 1);
}

static bool answers_arp(void)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
	uint8_t f[14 + sizeof(struct rte_arp_hdr)] = {0};
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(f + 14);
	unsigned before = l.sent_n;

	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	f[12] = 0x08;
	f[13] = 0x06;
	arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = 6;
	arp->arp_plen = 4;
	arp->arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
	memcpy(&arp->arp_data.arp_sha, mac, 6);
	arp->arp_data.arp_sip = rte_cpu_to_be_32(LONE_PEER);
	arp->arp_data.arp_tip = rte_cpu_to_be_32(LONE_IP);
	host_input(&l.host, bytes_make(f, sizeof(f)));
	return l.sent_n == before + 1;
}

static void test_an_exhausted_stack_answers_and_recovers(void **state)
{
	struct seg s = {.sport = 9, .dport = 9, .flags = SYN, .window = 1000};
	uint32_t theirs;

	(void)state;
	assert_true(connect_peer(0, &theirs));
	take(scarce, 100);
	take(pools.tx, 100);
	lone_wait(&l, 1000);
	assert_true(answers_arp());
	lone_send(&l, &s); /* to a closed port */
	while (lone_next(&l, &s) && !(s.flags & RST))
		;
	assert_true(s.flags & RST);
	/* An old segment of the connection is answered with an ACK. */
	data(0, theirs, (uint32_t)-500, 100);
	assert_true(lone_next(&l, &s) && s.flags == ACK && s.ack == mine(0) + 1);
	assert_int_equal(stream_send(&streams[0], BYTES_LIT("250 ok\r\n")), 0);
	give_back();
	lone_wait(&l, 10000);
	assert_int_equal(stream_send(&streams[0], BYTES_LIT("250 ok\r\n")), 8);
	lone_wait(&l, 1000);
	do
		assert_true(lone_next(&l, &s));
	while (s.payload_n == 0);
	assert_int_equal(s.payload_n, 8);
	assert_true(connect_peer(1, &theirs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_windows_fall_with_what_is_left, begin, end),
		cmocka_unit_test_setup_teardown(
			test_a_hundred_hold_less_than_others_need, begin, end),
		cmocka_unit_test_setup_teardown(test_at_85_percent_the_stalled_go, begin, end),
		cmocka_unit_test_setup_teardown(test_orphans_give_their_places, begin, end),
		cmocka_unit_test_setup_teardown(test_a_syn_costs_nothing_at_85_percent, begin, end),
		cmocka_unit_test_setup_teardown(test_a_full_send_pool_counts_as_well, begin, end),
		cmocka_unit_test_setup_teardown(
			test_at_95_percent_what_is_out_of_order_goes_first, begin, end),
		cmocka_unit_test_setup_teardown(
			test_then_the_longest_idle_that_holds_memory, begin, end),
		cmocka_unit_test_setup_teardown(
			test_an_exhausted_stack_answers_and_recovers, begin, end),
	};
	eal_start_for_tests(64);
	host_pools_init(&pools, "pressure", 1023, TX);
	scarce = frame_pool_create("scarce", 100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

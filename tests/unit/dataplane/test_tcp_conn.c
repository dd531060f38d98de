/* SPDX-License-Identifier: BSD-3-Clause
 * One stack against segments made by hand: handshakes, RST rules, windows, closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/lone.h"

#define PORT  25
#define OURS  40000 /* port we, the peer, send from */
#define START 5000u /* our first sequence number */

static struct host_pools pools;
static struct lone lone;
static struct listener listener;
static struct stream stream;
static struct {
	unsigned accepts, opens, eofs, closes, writables;
	enum stream_reason reason;
	uint8_t data[300000];
	size_t n;
	size_t take; /* octets to take at most, in all */
	bool refuse, abort_in_data, close_in_data;
} app;

static void on_open(struct stream *s)
{
	(void)s;
	app.opens++;
}

static size_t on_data(struct stream *s, struct bytes data)
{
	size_t n = MIN(data.n, app.take - app.n);

	memcpy(app.data + app.n, data.p, n);
	app.n += n;
	if (app.abort_in_data)
		stream_abort(s);
	if (app.close_in_data)
		stream_close(s);
	return n;
}

static void on_eof(struct stream *s)
{
	(void)s;
	app.eofs++;
}

static void on_writable(struct stream *s)
{
	(void)s;
	app.writables++;
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	app.closes++;
	app.reason = reason;
}

static const struct stream_ops ops = {.on_open = on_open,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	(void)l;
	assert_int_equal(peer->port, OURS);
	assert_int_equal(local->port, PORT);
	app.accepts++;
	stream = (struct stream){.ops = &ops};
	return app.refuse ? NULL : &stream;
}

static int setup(void **state)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 64,
		.rcv_buffer = 10000,
		.snd_buffer = 100000};

	(void)state;
	memset(&app, 0, sizeof(app));
	app.take = sizeof(app.data);
	listener.accept = on_accept;
	lone_init(&lone, &pools, &conf);
	lone_arp(&lone);
	assert_int_equal(stack_listen(lone.host.stack, PORT, &listener), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lone_fini(&lone);
	return 0;
}

static uint32_t snd, rcv; /* our next sequence number, and the stack's */

static void say(uint8_t flags, uint32_t seq, uint32_t ack, const char *text)
{
	struct seg s = {.sport = OURS,
		.dport = PORT,
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.window = 20000,
		.payload = (const uint8_t *)text,
		.payload_n = strlen(text)};

	lone_send(&lone, &s);
}

static struct seg expect(uint8_t flags, uint32_t seq, uint32_t ack, size_t payload_n)
{
	struct seg s = {0};

	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.flags, flags);
	assert_int_equal(s.seq, seq);
	if (flags & ACK)
		assert_int_equal(s.ack, ack);
	assert_int_equal(s.payload_n, payload_n);
	return s;
}

static void expect_silence(void)
{
	struct seg s;

	assert_false(lone_next(&lone, &s));
}

static void handshake(void)
{
	struct seg s;

	say(SYN, START, 0, "");
	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.flags, SYN | ACK);
	assert_int_equal(s.ack, START + 1);
	assert_int_equal(app.accepts, 0);
	rcv = s.seq + 1;
	snd = START + 1;
	say(ACK, snd, rcv, "");
	assert_int_equal(app.accepts, 1);
	expect_silence();
}

static void connect_out(void)
{
	struct endpoint remote = {ip_from_v4(rte_cpu_to_be_32(LONE_PEER)), OURS};

	stream = (struct stream){.ops = &ops};
	assert_int_equal(stream_connect(lone.host.stack, &stream, &remote, 30 * US_PER_SEC), 0);
	host_lap(&lone.host, lone.host.now_us);
}

/* ---- handshake ---- */

static void test_connects_from_the_address_that_is_wanted(void **state)
{
	struct endpoint remote = {ip_from_v4(rte_cpu_to_be_32(LONE_PEER)), OURS};
	struct link *link = &lone.host.stack->links[0];
	struct ip_addr second = ip_from_v4(rte_cpu_to_be_32(LONE_IP + 0x10));

	(void)state;
	stream = (struct stream){.ops = &ops, .local.ip = second};
	assert_int_equal(
		stream_connect(lone.host.stack, &stream, &remote, US_PER_SEC), -EADDRNOTAVAIL);
	link->address[link->address_count] = link->address[0];
	link->address[link->address_count++].net.ip = second;
	assert_int_equal(stream_connect(lone.host.stack, &stream, &remote, US_PER_SEC), 0);
	assert_true(ip_eq(&stream.local.ip, &second));
	stream_abort(&stream);
	connect_out();
	assert_false(ip_eq(&stream.local.ip, &second));
	stream_abort(&stream);
}

static void test_accept_comes_with_the_handshakes_ack(void **state)
{
	(void)state;
	handshake();
	say(ACK, snd, rcv, "HELO");
	assert_int_equal(app.n, 4);
	assert_memory_equal(app.data, "HELO", 4);
	expect_silence(); /* delayed */
	lone_wait(&lone, 45 * US_PER_MS);
	expect(ACK, rcv, snd + 4, 0);
}

static void test_accept_gets_on_writable_once(void **state)
{
	(void)state;
	handshake();
	assert_int_equal(app.writables, 1);
	lone_wait(&lone, US_PER_SEC);
	assert_int_equal(app.writables, 1);
}

static void test_refused_by_the_application_is_reset(void **state)
{
	struct seg s;

	(void)state;
	app.refuse = true;
	say(SYN, START, 0, "");
	assert_true(lone_next(&lone, &s));
	say(ACK, START + 1, s.seq + 1, "");
	expect(RST | ACK, s.seq + 1, START + 1, 0);
}

static void test_unknown_port_is_reset(void **state)
{
	struct seg s = {.sport = OURS, .dport = 26, .seq = 77, .flags = SYN};

	(void)state;
	lone_send(&lone, &s);
	expect(RST | ACK, 0, 78, 0);
	s.flags = ACK;
	s.ack = 1234;
	lone_send(&lone, &s);
	expect(RST, 1234, 0, 0);
	s.flags = RST;
	lone_send(&lone, &s);
	expect_silence();
}

static void test_wrong_ack_in_syn_rcvd_is_reset(void **state)
{
	struct seg s;

	(void)state;
	say(SYN, START, 0, "");
	assert_true(lone_next(&lone, &s));
	say(ACK, START + 1, s.seq + 9, "");
	expect(RST, s.seq + 9, 0, 0);
	assert_int_equal(app.accepts, 0);
}

static void test_syn_again_gets_the_same_answer(void **state)
{
	struct seg a, b;

	(void)state;
	say(SYN, START, 0, "");
	assert_true(lone_next(&lone, &a));
	say(SYN, START, 0, "");
	assert_true(lone_next(&lone, &b));
	assert_int_equal(a.seq, b.seq);
	assert_int_equal(b.flags, SYN | ACK);
}

static void test_syn_ack_is_retransmitted_and_given_up(void **state)
{
	unsigned n = 0;
	struct stack_info info;
	struct seg s;

	(void)state;
	say(SYN, START, 0, "");
	lone_wait(&lone, 100 * US_PER_SEC);
	while (lone_next(&lone, &s))
		n++;
	assert_int_equal(n, 1 + TCP_SYN_ACK_RETRIES);
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.connections, 0);
}

static void test_flood_of_syns_is_bounded_and_service_goes_on(void **state)
{
	struct stack_info info;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct seg s = {
			.sport = (uint16_t)(1000 + i), .dport = PORT, .seq = i, .flags = SYN};
		lone_send(&lone, &s);
	}
	stack_get_info(lone.host.stack, &info);
	assert_true(info.connections <= 64);
	while (lone.taken < lone.sent_n)
		lone.taken++;
	handshake();
}

/* ---- active open ---- */

static void test_connect_opens(void **state)
{
	struct seg s, answer = {.sport = OURS, .seq = START, .flags = SYN | ACK, .window = 1000};

	(void)state;
	connect_out();
	assert_int_equal(app.opens, 0);
	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.flags, SYN);
	assert_true(s.sport >= STACK_EPHEMERAL_FIRST &&
		    s.sport < STACK_EPHEMERAL_FIRST + (1 << STACK_EPHEMERAL_SHIFT));
	answer.dport = s.sport;
	answer.ack = s.seq + 1;
	lone_send(&lone, &answer);
	assert_int_equal(app.opens, 1);
	expect(ACK, s.seq + 1, START + 1, 0);
}

static void test_connect_refused(void **state)
{
	struct seg s, answer = {.sport = OURS, .flags = RST | ACK};

	(void)state;
	connect_out();
	assert_true(lone_next(&lone, &s));
	answer.dport = s.sport;
	answer.ack = s.seq + 2; /* not ours: ignored */
	lone_send(&lone, &answer);
	assert_int_equal(app.closes, 0);
	answer.ack = s.seq + 1;
	lone_send(&lone, &answer);
	assert_int_equal(app.closes, 1);
	assert_int_equal(app.reason, STREAM_REFUSED);
}

static void test_connect_times_out(void **state)
{
	struct seg s;
	unsigned n = 0;

	(void)state;
	connect_out();
	lone_wait(&lone, 31 * US_PER_SEC);
	assert_int_equal(app.closes, 1);
	assert_int_equal(app.reason, STREAM_TIMEOUT);
	while (lone_next(&lone, &s))
		n += s.flags == SYN;
	assert_int_equal(n, 5); /* at 0, 1, 3, 7, 15 s */
}

static void test_simultaneous_open(void **state)
{
	struct seg s, answer = {.sport = OURS, .seq = START, .flags = SYN, .window = 1000};

	(void)state;
	connect_out();
	assert_true(lone_next(&lone, &s));
	answer.dport = s.sport;
	lone_send(&lone, &answer);
	expect(SYN | ACK, s.seq, START + 1, 0);
	answer.flags = SYN | ACK;
	answer.ack = s.seq + 1;
	lone_send(&lone, &answer);
	assert_int_equal(app.opens, 1);
	expect(ACK, s.seq + 1, START + 1, 0);
}

static void test_closing_before_open_is_silent(void **state)
{
	struct seg s;

	(void)state;
	connect_out();
	assert_true(lone_next(&lone, &s));
	stream_close(&stream);
	lone_wait(&lone, 2 * US_PER_SEC);
	expect_silence();
	assert_int_equal(app.closes, 0);
	stream_close(&stream); /* late calls do nothing */
	assert_int_equal(stream_send(&stream, bytes_str("x")), 0);
}

/* ---- RFC 5961 ---- */

static void test_only_the_exact_rst_resets(void **state)
{
	(void)state;
	handshake();
	say(RST, snd + 100000, 0, "");
	expect_silence();
	say(RST, snd + 1, 0, "");
	expect(ACK, rcv, snd, 0); /* challenge */
	say(RST, snd + 2, 0, "");
	expect_silence(); /* not twice in 500 ms */
	assert_int_equal(app.closes, 0);
	say(RST, snd, 0, "");
	assert_int_equal(app.closes, 1);
	assert_int_equal(app.reason, STREAM_RESET);
}

static void test_syn_in_a_connection_is_challenged(void **state)
{
	(void)state;
	handshake();
	say(SYN, snd, 0, "");
	expect(ACK, rcv, snd, 0);
	assert_int_equal(app.closes, 0);
}

static void test_ack_of_data_never_sent_is_challenged(void **state)
{
	(void)state;
	handshake();
	say(ACK, snd, rcv + 1, "xyz");
	expect(ACK, rcv, snd, 0);
	assert_int_equal(app.n, 0);
}

static void test_ack_on_the_right_edge_of_the_window_counts(void **state)
{
	(void)state;
	handshake();
	stream_send(&stream, bytes_str("hello"));
	host_lap(&lone.host, lone.host.now_us);
	expect(ACK, rcv, snd, 5);
	/* all of our window was sent and lost; the ACK behind it arrives */
	say(ACK, snd + 10000, rcv + 5, "");
	assert_int_equal(stream_unacked(&stream), 0);
	say(ACK, snd + 10001, rcv + 5, "");
	expect(ACK, rcv + 5, snd, 0);
}

/* ---- data ---- */

static void test_out_of_order_data_is_put_in_order(void **state)
{
	(void)state;
	handshake();
	say(ACK, snd + 3, rcv, "def");
	expect(ACK, rcv, snd, 0);
	say(ACK, snd + 6, rcv, "ghi");
	expect(ACK, rcv, snd, 0);
	say(ACK, snd, rcv, "abcd"); /* overlaps */
	expect(ACK, rcv, snd + 9, 0);
	assert_int_equal(app.n, 9);
	assert_memory_equal(app.data, "abcdefghi", 9);
}

static void test_send_is_cut_to_segments_and_retransmitted(void **state)
{
	static uint8_t big[1200];
	struct seg s;

	(void)state;
	handshake();
	assert_int_equal(stream_send(&stream, bytes_make(big, sizeof(big))), sizeof(big));
	host_lap(&lone.host, lone.host.now_us);
	expect(ACK, rcv, snd, 536); /* no MSS option: 536 */
	expect(ACK, rcv + 536, snd, 536);
	expect(ACK, rcv + 1072, snd, 128);
	assert_int_equal(stream_unacked(&stream), 1200);
	lone_wait(&lone, 210 * US_PER_MS);
	expect(ACK, rcv, snd, 536);
	say(ACK, snd, rcv + 1200, "");
	assert_int_equal(stream_unacked(&stream), 0);
	lone_wait(&lone, 5 * US_PER_SEC);
	assert_false(lone_next(&lone, &s));
}

static void test_three_duplicate_acks_retransmit_at_once(void **state)
{
	static uint8_t big[536 * 8];

	(void)state;
	handshake();
	stream_send(&stream, bytes_make(big, sizeof(big)));
	host_lap(&lone.host, lone.host.now_us);
	for (unsigned i = 0; i < 8; i++)
		expect(ACK, rcv + i * 536, snd, 536);
	say(ACK, snd, rcv, "");
	say(ACK, snd, rcv, "");
	expect_silence();
	say(ACK, snd, rcv, "");
	expect(ACK, rcv, snd, 536);
	/* RFC 6582: a partial ACK retransmits the next hole at once */
	say(ACK, snd, rcv + 1072, "");
	expect(ACK, rcv + 1072, snd, 536);
	say(ACK, snd, rcv + sizeof(big), "");
	lone_wait(&lone, US_PER_SEC);
	expect_silence();
}

static void test_peer_that_is_gone_is_given_up(void **state)
{
	(void)state;
	handshake();
	stream_send(&stream, bytes_str("hello"));
	lone_wait(&lone, 600 * US_PER_SEC);
	assert_int_equal(app.closes, 1);
	assert_int_equal(app.reason, STREAM_TIMEOUT);
}

/* ---- windows ---- */

static void test_zero_window_is_probed_until_it_opens(void **state)
{
	struct seg w = {.sport = OURS, .dport = PORT, .flags = ACK, .window = 0};
	unsigned probes = 0;
	struct seg s;

	(void)state;
	handshake();
	w.seq = snd;
	w.ack = rcv;
	lone_send(&lone, &w);
	stream_send(&stream, bytes_str("hello"));
	for (unsigned i = 0; i < 400; i++) {
		lone_wait(&lone, US_PER_SEC);
		while (lone_next(&lone, &s)) {
			assert_int_equal(s.payload_n, 1);
			assert_int_equal(s.seq, rcv);
			probes++;
			lone_send(&lone, &w); /* alive, still closed: for ever */
		}
	}
	assert_in_range(probes, 6, 40);
	assert_int_equal(app.closes, 0);
	w.window = 1000;
	lone_send(&lone, &w);
	expect(ACK, rcv, snd, 1); /* the probe, which was refused */
	expect(ACK, rcv + 1, snd, 4);
}

static void test_window_closes_and_opens_with_the_application(void **state)
{
	static char kilo[1001];
	uint32_t edge = 0;
	struct seg s = {0};

	(void)state;
	memset(kilo, 'x', 1000);
	handshake();
	app.take = 100;
	for (unsigned i = 0; i < 10; i++) {
		say(ACK, snd, rcv, kilo);
		snd += 1000;
		while (lone_next(&lone, &s)) {
			assert_false(seq_lt(s.ack + s.window, edge));
			edge = s.ack + s.window;
		}
	}
	lone_wait(&lone, 100 * US_PER_MS);
	while (lone_next(&lone, &s))
		;
	assert_int_equal(app.n, 100);
	assert_in_range(s.window, 0, 100);
	snd += s.window;
	say(ACK, snd, rcv, "y"); /* beyond the window: refused */
	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.window, 0);
	app.take = sizeof(app.data);
	stream_resume(&stream);
	assert_int_equal(app.n, 100); /* no upcall from inside */
	host_lap(&lone.host, lone.host.now_us);
	assert_int_equal(app.n, 10000);
	assert_true(lone_next(&lone, &s));
	assert_in_range(s.window, 9000, 10000);
}

static void test_tiny_segments_do_not_pin_memory(void **state)
{
	(void)state;
	handshake();
	app.take = 0;
	say(ACK, snd, rcv, "a");
	/* every second octet: nothing can be merged */
	for (uint32_t i = 0; i < 4000; i++)
		say(ACK, snd + 2 + 2 * i, rcv, "b");
	assert_true(rte_mempool_in_use_count(pools.rx) <= TCP_OOO_BUFFERS_MAX + 1);
}

/* ---- closing ---- */

static void test_passive_close(void **state)
{
	struct stack_info info;

	(void)state;
	handshake();
	say(FIN | ACK, snd, rcv, "bye");
	assert_int_equal(app.n, 3);
	assert_int_equal(app.eofs, 1);
	expect(ACK, rcv, snd + 4, 0);
	stream_send(&stream, bytes_str("still"));
	stream_close(&stream);
	host_lap(&lone.host, lone.host.now_us);
	expect(FIN | ACK, rcv, snd + 4, 5);
	say(ACK, snd + 4, rcv + 6, "");
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.connections, 0);
	assert_int_equal(app.closes, 0); /* it has closed by itself */
}

static void test_active_close_goes_through_time_wait(void **state)
{
	struct stack_info info;

	(void)state;
	handshake();
	stream_shutdown(&stream);
	host_lap(&lone.host, lone.host.now_us);
	expect(FIN | ACK, rcv, snd, 0);
	say(ACK, snd, rcv + 1, "more"); /* half closed: data still comes */
	assert_int_equal(app.n, 4);
	say(FIN | ACK, snd + 4, rcv + 1, "");
	expect(ACK, rcv + 1, snd + 5, 0);
	assert_int_equal(app.eofs, 1);
	assert_int_equal(app.closes, 1);
	assert_int_equal(app.reason, STREAM_CLOSED);
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.time_wait, 1);
	say(FIN | ACK, snd + 4, rcv + 1, ""); /* our ACK was lost */
	expect(ACK, rcv + 1, snd + 5, 0);
	say(RST, snd + 5, 0, ""); /* RFC 1337 */
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.time_wait, 1);
	lone_wait(&lone, 61 * US_PER_SEC);
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.connections, 0);
	assert_int_equal(lone.host.wheel.armed, 0);
}

static void test_new_syn_in_time_wait_opens_anew(void **state)
{
	(void)state;
	handshake();
	stream_shutdown(&stream);
	host_lap(&lone.host, lone.host.now_us);
	say(FIN | ACK, snd, rcv + 1, "");
	while (lone.taken < lone.sent_n)
		lone.taken++;
	say(SYN, snd + 70000, 0, "");
	struct seg s;
	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.flags, SYN | ACK);
	assert_true(seq_lt(rcv + 1, s.seq));
}

/* The connection is in TIME_WAIT, what it sent is heard. */
static void to_time_wait(void)
{
	handshake();
	stream_shutdown(&stream);
	host_lap(&lone.host, lone.host.now_us);
	say(FIN | ACK, snd, rcv + 1, "");
	lone.taken = lone.sent_n;
}

/* A host behind the same address begins with a number that happens not to be newer: our ACK makes
 * it reset what it does not know, and then the port is free. */
static void test_syn_that_is_not_newer_gets_through_after_a_reset(void **state)
{
	struct stack_info info;

	(void)state;
	to_time_wait();
	say(SYN, snd - 70000, 0, "");
	expect(ACK, rcv + 1, snd + 1, 0);
	say(RST, snd, 0, ""); /* not the number that was asked for */
	say(RST, snd + 2, 0, "");
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.time_wait, 1);
	say(RST, snd + 1, 0, "");
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.time_wait, 0);
	say(SYN, snd - 70000, 0, "");
	struct seg s;
	assert_true(lone_next(&lone, &s));
	assert_int_equal(s.flags, SYN | ACK);
}

/* RFC 1337: an old segment's ACK makes a closed peer reset; that must not end the wait, also not
 * when a SYN was answered before. */
static void test_resets_for_old_segments_do_not_end_time_wait(void **state)
{
	struct stack_info info;

	(void)state;
	to_time_wait();
	say(SYN, snd - 70000, 0, "");
	expect(ACK, rcv + 1, snd + 1, 0);
	say(ACK, snd - 10, rcv + 1, "old");
	expect(ACK, rcv + 1, snd + 1, 0);
	say(RST, snd + 1, 0, "");
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.time_wait, 1);
}

static void test_simultaneous_close(void **state)
{
	struct stack_info info;

	(void)state;
	handshake();
	stream_shutdown(&stream);
	host_lap(&lone.host, lone.host.now_us);
	expect(FIN | ACK, rcv, snd, 0);
	say(FIN | ACK, snd, rcv, "");
	expect(ACK, rcv + 1, snd + 1, 0);
	assert_int_equal(app.closes, 0);
	say(ACK, snd + 1, rcv + 1, "");
	assert_int_equal(app.closes, 1);
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.time_wait, 1);
}

static void test_eof_waits_for_unread_data(void **state)
{
	(void)state;
	handshake();
	app.take = 1;
	say(FIN | ACK, snd, rcv, "bye");
	assert_int_equal(app.eofs, 0);
	app.take = sizeof(app.data);
	stream_resume(&stream);
	host_lap(&lone.host, lone.host.now_us);
	assert_int_equal(app.n, 3);
	assert_int_equal(app.eofs, 1);
}

static void test_fin_out_of_order_waits_for_the_gap(void **state)
{
	(void)state;
	handshake();
	say(FIN | ACK, snd + 3, rcv, "def");
	assert_int_equal(app.eofs, 0);
	expect(ACK, rcv, snd, 0);
	say(ACK, snd, rcv, "abc");
	assert_int_equal(app.n, 6);
	assert_int_equal(app.eofs, 1);
	expect(ACK, rcv, snd + 7, 0);
}

/* Whatever it means: the number behind what came is not stepped over, and a FIN there counts. */
static void test_fin_before_what_has_arrived_is_none(void **state)
{
	(void)state;
	handshake();
	say(ACK, snd + 3, rcv, "def");
	expect(ACK, rcv, snd, 0);
	say(FIN | ACK, snd + 4, rcv, "");
	expect(ACK, rcv, snd, 0);
	say(ACK, snd, rcv, "abc");
	assert_int_equal(app.n, 6);
	assert_int_equal(app.eofs, 0);
	expect(ACK, rcv, snd + 6, 0);
	say(FIN | ACK, snd + 6, rcv, "");
	assert_int_equal(app.eofs, 1);
	expect(ACK, rcv, snd + 7, 0);
}

static void test_abort_sends_rst_and_nothing_follows(void **state)
{
	(void)state;
	handshake();
	stream_send(&stream, bytes_str("lost"));
	stream_abort(&stream);
	expect(RST | ACK, rcv, snd, 0);
	lone_wait(&lone, 5 * US_PER_SEC);
	expect_silence();
	assert_int_equal(app.closes, 0);
}

static void test_abort_and_close_inside_on_data(void **state)
{
	(void)state;
	handshake();
	app.abort_in_data = true;
	say(ACK, snd + 2, rcv, "cd");
	say(ACK, snd, rcv, "ab");
	assert_int_equal(app.n, 2);
	assert_int_equal(app.closes, 0);
	app.abort_in_data = false;
	app.close_in_data = true;
	app.accepts = 0;
	while (lone.taken < lone.sent_n)
		lone.taken++;
	handshake();
	say(ACK, snd + 2, rcv, "cd");
	say(ACK, snd, rcv, "ab");
	assert_int_equal(app.n, 4); /* the rest is discarded */
	assert_int_equal(app.closes, 0);
}

static void test_orphan_is_not_kept_for_ever(void **state)
{
	struct stack_info info;

	(void)state;
	handshake();
	stream_close(&stream);
	host_lap(&lone.host, lone.host.now_us);
	say(ACK, snd, rcv + 1, "");
	lone_wait(&lone, TCP_FIN_WAIT_2_US + US_PER_SEC);
	stack_get_info(lone.host.stack, &info);
	assert_int_equal(info.connections, 0);
	assert_int_equal(app.closes, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_connects_from_the_address_that_is_wanted),
		T(test_accept_comes_with_the_handshakes_ack),
		T(test_accept_gets_on_writable_once),
		T(test_refused_by_the_application_is_reset),
		T(test_unknown_port_is_reset),
		T(test_wrong_ack_in_syn_rcvd_is_reset),
		T(test_syn_again_gets_the_same_answer),
		T(test_syn_ack_is_retransmitted_and_given_up),
		T(test_flood_of_syns_is_bounded_and_service_goes_on),
		T(test_connect_opens),
		T(test_connect_refused),
		T(test_connect_times_out),
		T(test_simultaneous_open),
		T(test_closing_before_open_is_silent),
		T(test_only_the_exact_rst_resets),
		T(test_syn_in_a_connection_is_challenged),
		T(test_ack_of_data_never_sent_is_challenged),
		T(test_ack_on_the_right_edge_of_the_window_counts),
		T(test_out_of_order_data_is_put_in_order),
		T(test_send_is_cut_to_segments_and_retransmitted),
		T(test_three_duplicate_acks_retransmit_at_once),
		T(test_peer_that_is_gone_is_given_up),
		T(test_zero_window_is_probed_until_it_opens),
		T(test_window_closes_and_opens_with_the_application),
		T(test_tiny_segments_do_not_pin_memory),
		T(test_passive_close),
		T(test_active_close_goes_through_time_wait),
		T(test_new_syn_in_time_wait_opens_anew),
		T(test_syn_that_is_not_newer_gets_through_after_a_reset),
		T(test_resets_for_old_segments_do_not_end_time_wait),
		T(test_simultaneous_close),
		T(test_eof_waits_for_unread_data),
		T(test_fin_out_of_order_waits_for_the_gap),
		T(test_fin_before_what_has_arrived_is_none),
		T(test_abort_sends_rst_and_nothing_follows),
		T(test_abort_and_close_inside_on_data),
		T(test_orphan_is_not_kept_for_ever),
	};
	eal_start_for_tests(64);
	host_pools_init(&pools, "t", 1023, 511);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

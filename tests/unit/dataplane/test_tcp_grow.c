/* SPDX-License-Identifier: BSD-3-Clause
 * Two stacks whose flow tables begin with 64 slots: connections are opened, talk and live while the
 * tables grow under them, and no lap moves more than a lap may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/host.h"

#define PORTS   2 /* a core has 2,048 local ports for one remote endpoint */
#define PORT    25
#define N       3000
#define SLOTS   64 /* then 256, 1,024, 4,096, 8,192 */
#define BURST   4  /* connections opened in a lap */
#define WIRE    4096
#define FRAME   256
#define LAP_US  100
#define ROUNDS  3 /* octets there and back on each connection */
#define HOST_IP 0xc6120001u

struct side {
	struct host host;
	struct frame {
		uint8_t octets[FRAME];
		size_t n;
	} sent[WIRE];
	unsigned sent_n;
	uint32_t most_moved; /* slots in a lap, beyond those that its additions moved */
};

struct client {
	struct stream stream;
	unsigned answers;
	bool open;
};

static struct host_pools pools;
static struct side sides[2];
static struct client clients[N];
static struct stream served[N];
static struct listener listener;
static unsigned accepted, closed, failed;
static uint64_t now_us;

/* ---- applications ---- */

static void client_open(struct stream *s)
{
	struct client *c = container_of(s, struct client, stream);

	c->open = true;
	assert_int_equal(stream_send(s, bytes_make("x", 1)), 1);
}

static size_t client_data(struct stream *s, struct bytes data)
{
	struct client *c = container_of(s, struct client, stream);

	assert_int_equal(data.n, 1);
	assert_int_equal(data.p[0], 'x' + c->answers);
	c->answers++;
	return 1;
}

static void client_closed(struct stream *s, enum stream_reason reason)
{
	(void)s;
	(void)reason;
	failed++;
}

static const struct stream_ops client_ops = {
	.on_open = client_open, .on_data = client_data, .on_close = client_closed};

static size_t server_data(struct stream *s, struct bytes data)
{
	return stream_send(s, data);
}

static void server_eof(struct stream *s)
{
	closed++;
	stream_close(s);
}

static void server_closed(struct stream *s, enum stream_reason reason)
{
	(void)s;
	(void)reason;
	failed++;
}

static const struct stream_ops server_ops = {
	.on_data = server_data, .on_eof = server_eof, .on_close = server_closed};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	(void)l;
	(void)peer;
	(void)local;
	served[accepted].ops = &server_ops;
	return &served[accepted++];
}

/* ---- the wire ---- */

static void on_tx(struct host *h, struct bytes frame)
{
	struct side *s = h->ctx;

	assert_true(s->sent_n < WIRE && frame.n <= FRAME);
	memcpy(s->sent[s->sent_n].octets, frame.p, frame.n);
	s->sent[s->sent_n++].n = frame.n;
}

/* A lap of one side, which hears what the other has sent. */
static void side_lap(struct side *s, struct side *other)
{
	struct tcp_table *t = &s->host.stack->table;
	unsigned n = other->sent_n;

	other->sent_n = 0;
	for (unsigned i = 0; i < n; i++)
		host_input(&s->host, bytes_make(other->sent[i].octets, other->sent[i].n));
	bool growing = tcp_table_growing(t);
	uint32_t before = t->moved;
	host_lap(&s->host, now_us);
	if (growing)
		s->most_moved = MAX(s->most_moved, t->moved - before);
}

static void lap(void)
{
	now_us += LAP_US;
	side_lap(&sides[0], &sides[1]);
	side_lap(&sides[1], &sides[0]);
}

static void laps(unsigned n)
{
	while (n--)
		lap();
}

static void side_start(unsigned i)
{
	struct host_conf conf = {.address = HOST_IP + i,
		.mac = (uint8_t)(i + 1),
		.mtu = 1500,
		.connections_max = N + 16,
		.table_slots = SLOTS,
		.rcv_buffer = 4096,
		.snd_buffer = 4096};
	struct side *s = &sides[i];

	s->sent_n = 0;
	s->most_moved = 0;
	s->host.tx = on_tx;
	s->host.ctx = s;
	host_init(&s->host, &conf, &pools, 3 + i, now_us);
}

static int setup(void **state)
{
	(void)state;
	now_us = 1000 * US_PER_SEC;
	accepted = closed = failed = 0;
	memset(clients, 0, sizeof(clients));
	listener.accept = on_accept;
	for (unsigned i = 0; i < 2; i++)
		side_start(i);
	for (uint16_t p = 0; p < PORTS; p++)
		assert_int_equal(stack_listen(sides[0].host.stack, PORT + p, &listener), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++)
		host_fini(&sides[i].host);
	assert_true(host_pools_full(&pools));
	return 0;
}

static int open_one(unsigned i)
{
	struct endpoint to = {host_ip(&sides[0].host), (uint16_t)(PORT + i % PORTS)};

	clients[i].stream.ops = &client_ops;
	return stream_connect(sides[1].host.stack, &clients[i].stream, &to, 10 * US_PER_SEC);
}

static uint64_t count(enum counter c)
{
	return counters_sum(c);
}

/* ---- tests ---- */

/* Everybody that is open sends the next octet; all answers come. */
static void talk(unsigned n, unsigned round)
{
	char octet = (char)('x' + round);

	for (unsigned first = 0; first < n; first += BURST) {
		for (unsigned i = first; i < MIN(first + BURST, n); i++)
			assert_int_equal(stream_send(&clients[i].stream, bytes_make(&octet, 1)), 1);
		laps(2);
	}
	laps(10);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(clients[i].answers, round + 1);
}

static void test_connections_live_while_the_table_grows(void **state)
{
	uint64_t grown = count(CTR_TCP_TABLE_GROWN);
	unsigned growing_laps = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(open_one(i), 0);
		if (i % BURST == BURST - 1)
			lap();
		growing_laps += tcp_table_growing(&sides[0].host.stack->table);
		/* one that was opened at the beginning goes on in every state */
		if (clients[0].answers == 1 && growing_laps == 1)
			assert_int_equal(stream_send(&clients[0].stream, bytes_make("y", 1)), 1);
	}
	laps(100);
	assert_int_equal(accepted, N);
	assert_int_equal(clients[0].answers, 2);
	clients[0].answers = 1;
	for (unsigned round = 1; round < ROUNDS; round++)
		talk(N, round);
	for (unsigned i = 0; i < 2; i++) {
		const struct tcp_table *t = &sides[i].host.stack->table;
		assert_int_equal(t->used, N);
		assert_int_equal(tcp_table_next_slots(t), 0);
		assert_in_range(sides[i].most_moved, 1, TCP_GROW_LAP_STEP);
	}
	assert_true(growing_laps > 10);
	assert_int_equal(count(CTR_TCP_TABLE_GROWN) - grown, 2 * 4);
	for (unsigned i = 0; i < N; i++) {
		stream_close(&clients[i].stream);
		if (i % BURST == 0)
			laps(2);
	}
	laps(100);
	assert_int_equal(closed, N);
	assert_int_equal(failed, 0);
	/* TIME_WAIT has taken the connections' places; then that ends as well */
	assert_int_equal(sides[1].host.stack->table.used, MIN(N, sides[1].host.stack->tw_max));
	now_us += 61 * US_PER_SEC;
	laps(100);
	assert_int_equal(sides[0].host.stack->table.used, 0);
	assert_int_equal(sides[1].host.stack->table.used, 0);
}

/* Main does not come: connections are refused at 7/8, those that are there live, and when it comes
 * the table grows. */
static void test_without_the_next_slots_new_ones_are_refused(void **state)
{
	uint64_t full = count(CTR_TCP_TABLE_FULL);
	unsigned n = 0;

	(void)state;
	sides[0].host.untended = sides[1].host.untended = true;
	while (n < N && open_one(n) == 0) {
		n++;
		lap();
	}
	laps(20);
	assert_int_equal(n, SLOTS - SLOTS / 8);
	assert_true(count(CTR_TCP_TABLE_FULL) > full);
	talk(n, 1);
	sides[0].host.untended = sides[1].host.untended = false;
	laps(20);
	for (unsigned more = n + 200; n < more; n++) {
		assert_int_equal(open_one(n), 0);
		laps(2);
	}
	laps(20);
	assert_int_equal(accepted, n);
	assert_int_equal(failed, 0);
}

/* All local ports towards one endpoint are taken: an open that cannot be does not look at all of
 * them, and one that can is found by trying again. */
static void test_an_open_without_a_free_port_is_short(void **state)
{
	struct stack *st = sides[1].host.stack;
	struct endpoint to = {host_ip(&sides[0].host), PORT};
	unsigned n = 0, tries = 0;
	int rc;

	(void)state;
	for (; n < 1u << STACK_EPHEMERAL_SHIFT; n++) {
		clients[n].stream.ops = &client_ops;
		assert_int_equal(stream_connect(st, &clients[n].stream, &to, 10 * US_PER_SEC), 0);
		laps(1);
	}
	uint32_t before = st->ephemeral_next;
	clients[n].stream.ops = &client_ops;
	assert_int_equal(
		stream_connect(st, &clients[n].stream, &to, 10 * US_PER_SEC), -EADDRNOTAVAIL);
	assert_true(st->ephemeral_next - before <= 2 * 256);
	laps(10);
	stream_abort(&clients[n / 2].stream);
	do {
		rc = stream_connect(st, &clients[n].stream, &to, 10 * US_PER_SEC);
	} while (rc == -EADDRNOTAVAIL && ++tries < 8);
	assert_int_equal(rc, 0);
	laps(10);
	assert_true(clients[n].open);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_connections_live_while_the_table_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_open_without_a_free_port_is_short, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_without_the_next_slots_new_ones_are_refused, setup, teardown),
	};

	counters_thread_init("test");
	eal_start_for_tests(128);
	host_pools_init(&pools, "grow", 8191, 8191);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What a stack tells about its connections: values, filters, slices, and a count of octets that
 * goes on where sequence numbers begin anew. */
#include "tests/unit/dataplane/hand.h"
#include <string.h>
#include "dataplane/inspect.h"
#include "dataplane/stack_priv.h"

static struct hand h;
static const struct stack_filter every;

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

static unsigned list(const struct stack_filter *f, struct stack_conn_info *out, unsigned max)
{
	uint32_t from = 0;
	unsigned n = stack_list(h.lone.host.stack, f, &from, UINT32_MAX, out, max);

	return n;
}

static void test_an_established_connection(void **state)
{
	struct stack_conn_info c;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	hand_say(&h, ACK, h.snd, h.rcv, BYTES_LIT("hello"), BYTES_NONE);
	assert_int_equal(list(&every, &c, 1), 1);
	assert_int_equal(c.state, STACK_STATE_ESTABLISHED);
	assert_int_equal(c.local.port, HAND_PORT);
	assert_int_equal(c.peer.port, HAND_OURS);
	assert_int_equal(c.bytes_in, 5);
	assert_int_equal(c.bytes_out, 0);
	assert_int_equal(c.limit, STACK_LIMIT_NONE);
	assert_false(c.active);
	assert_string_equal(c.congestion, "cubic");
	struct stack_conn_info again;
	assert_true(stack_find(h.lone.host.stack, c.id, &again));
	assert_int_equal(again.bytes_in, 5);
	c.id.generation++;
	assert_false(stack_find(h.lone.host.stack, c.id, &again));
}

static void test_octets_are_counted_beyond_4_gib(void **state)
{
	struct stack_conn_info c;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	struct tcp_conn *conn = hand_conn(&h);
	/* As after 4 GiB less three octets, both ways. */
	uint32_t in = 0u - 3 - conn->rcv_nxt, out = 0u - 3 - conn->snd_una;
	conn->rcv_nxt += in;
	conn->rcv_adv += in;
	conn->last_ack_sent += in;
	conn->snd_una += out;
	conn->snd_nxt += out;
	conn->snd_end += out;
	conn->snd_wl1 += in;
	conn->snd_wl2 += out;
	uint64_t in_before = (uint32_t)(conn->rcv_nxt - conn->irs - 1);
	uint64_t out_before = (uint32_t)(conn->snd_una - conn->iss - 1);
	hand_say(&h, ACK, conn->rcv_nxt, conn->snd_nxt, BYTES_LIT("hello"), BYTES_NONE);
	hand_stack_sends(&h, 10);
	hand_say(&h, ACK, conn->rcv_nxt, conn->snd_nxt, BYTES_NONE, BYTES_NONE);
	assert_int_equal(list(&every, &c, 1), 1);
	assert_int_equal(c.bytes_in, in_before + 5);
	assert_int_equal(c.bytes_out, out_before + 10);
	assert_int_equal(tcp_note(conn)->in_wraps, 1);
	assert_int_equal(tcp_note(conn)->out_wraps, 1);
}

static void test_half_open_ones_are_listed(void **state)
{
	struct stack_conn_info c;
	struct stack_filter f = {.states = 1u << STACK_STATE_SYN_RCVD};

	(void)state;
	hand_say(&h, SYN, HAND_START, 0, BYTES_NONE, BYTES_NONE);
	assert_int_equal(list(&f, &c, 1), 1);
	assert_int_equal(c.limit, STACK_LIMIT_HANDSHAKE);
	assert_int_equal(c.peer.port, HAND_OURS);
}

static void test_time_wait_is_listed(void **state)
{
	struct stack_conn_info c;
	struct stack_filter f = {.states = 1u << STACK_STATE_TIME_WAIT};
	struct stack_info info;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	assert_int_equal(list(&f, &c, 1), 0);
	stream_close(&h.stream);
	stack_flush(h.lone.host.stack, h.lone.host.now_us);
	hand_hear(&h); /* FIN */
	hand_say(&h, ACK | FIN, h.snd, h.rcv + 1, BYTES_NONE, BYTES_NONE);
	assert_int_equal(list(&f, &c, 1), 1);
	assert_int_equal(c.peer.port, HAND_OURS);
	stack_get_info(h.lone.host.stack, &info);
	assert_int_equal(info.states[STACK_STATE_TIME_WAIT], 1);
	assert_int_equal(info.states[STACK_STATE_ESTABLISHED], 0);
}

static void test_filters(void **state)
{
	struct stack_conn_info c;
	struct stack_filter f = every;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	f.port = HAND_OURS;
	assert_int_equal(list(&f, &c, 1), 1);
	f.port = HAND_OURS + 1;
	assert_int_equal(list(&f, &c, 1), 0);
	f = (struct stack_filter){.has_peer = true};
	assert_int_equal(ip_net_parse(BYTES_LIT("198.18.0.0/30"), &f.peer), 0);
	assert_int_equal(list(&f, &c, 1), 1);
	assert_int_equal(ip_net_parse(BYTES_LIT("198.18.0.4/30"), &f.peer), 0);
	assert_int_equal(list(&f, &c, 1), 0);
	f = (struct stack_filter){.states = 1u << STACK_STATE_CLOSE_WAIT};
	assert_int_equal(list(&f, &c, 1), 0);
}

/* However small the slices are, each connection is met once. */
static void test_slices(void **state)
{
	struct stack_conn_info c;
	uint32_t from = 0;
	unsigned met = 0, slices = 0;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	while (from != STACK_LIST_END) {
		met += stack_list(h.lone.host.stack, &every, &from, 1, &c, 1);
		assert_true(++slices < 1000000);
	}
	assert_int_equal(met, 1);
	assert_true(slices > 1);
}

static void describe(const struct stream *s, char *out, size_t cap)
{
	(void)s;
	snprintf(out, cap, "a session of the test");
}

static void test_the_owner_says_what_it_does(void **state)
{
	struct stack_conn_info c;
	struct stream_ops ops;

	(void)state;
	hand_handshake(&h, BYTES_NONE);
	const struct stream_ops *before = h.stream.ops;
	ops = *before;
	ops.describe = describe;
	h.stream.ops = &ops;
	assert_int_equal(list(&every, &c, 1), 1);
	assert_string_equal(c.owner, "a session of the test");
	h.stream.ops = before;
}

static void test_neighbours_and_routes(void **state)
{
	struct stack_neigh_info n[4];
	struct stack_route_info r[4];
	uint32_t from = 0;

	(void)state;
	assert_int_equal(stack_neighs(h.lone.host.stack, &from, n, 4), 1);
	assert_int_equal(from, STACK_LIST_END);
	assert_string_equal(n[0].state, "reachable");
	assert_int_equal(ip_to_v4(&n[0].ip), rte_cpu_to_be_32(LONE_PEER));
	assert_true(stack_routes(h.lone.host.stack, r, 4) >= 1);
	assert_int_equal(r[0].port, 0);
}

static void test_names_of_states(void **state)
{
	(void)state;
	for (unsigned i = 0; i < STACK_STATE_N; i++)
		assert_int_equal(stack_state_find(stack_state_text((enum stack_state)i)), i);
	assert_int_equal(stack_state_find("nonsense"), STACK_STATE_N);
	assert_string_equal(stack_state_text(STACK_STATE_N), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_established_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_octets_are_counted_beyond_4_gib, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_open_ones_are_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_time_wait_is_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_owner_says_what_it_does, setup, teardown),
		cmocka_unit_test_setup_teardown(test_neighbours_and_routes, setup, teardown),
		cmocka_unit_test(test_names_of_states),
	};

	hand_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

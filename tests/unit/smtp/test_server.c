/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server: commits, memory, deadlines, the end. */
#include "tests/unit/smtp/server_bed.h"

/* ---- tests ---- */

static void test_250_comes_after_the_commit(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("Subject: x\r\n\r\nbody\r\n.\r\n"));
	assert_string_equal(heard(0), "");
	assert_int_equal(write_some(10), 1);
	const char *said = heard(0);
	assert_memory_equal(said, "250 2.0.0 Ok: queued as ", 24);
	struct stored *st = &bed.store[0];
	char id[17];
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)st->id);
	assert_memory_equal(said + 24, id, 16);
	assert_bytes_equal(
		bytes_make(st->body, st->body_n), BYTES_LIT("Subject: x\r\n\r\nbody\r\n"));
	assert_memory_equal(
		st->prefix, "Return-Path: <a@client.example.net>\r\nReceived: from ", 52);
	assert_non_null(strstr(st->prefix, id));
	assert_non_null(strstr(st->prefix, "for <alice@local.example.org>;"));
	bed_close();
}

static void test_verdicts_of_the_writer(void **state)
{
	static const struct {
		int32_t status;
		const char *reply;
	} cases[] = {
		{HANDOFF_FULL,    "452 4.3.1"},
		{HANDOFF_FAILED,  "451 4.3.0"},
		{HANDOFF_ERROR,   "451 4.3.0"},
		{HANDOFF_REFUSED, "550 5.2.0"},
		{-5,              "451 4.3.0"},
		{HANDOFF_OK,      "250 2.0.0"},
	};

	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	greet(0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		envelope(0);
		bed.status = cases[i].status;
		say(0, BYTES_LIT("x\r\n.\r\n"));
		write_some(10);
		assert_memory_equal(heard(0), cases[i].reply, 9);
	}
	bed_close();
}

/* A ring of capacity 1: sessions park for the credit and are answered in turn. */
static void test_no_credit_parks_the_session(void **state)
{
	(void)state;
	bed_open(1, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS; i++) {
		greet(i);
		envelope(i);
		say(i, BYTES_LIT("x\r\n.\r\nNOOP\r\n"));
		assert_string_equal(heard(i), "");
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		assert_int_equal(write_some(1), 1);
		pump(i);
		assert_memory_equal(heard(i), "250 2.0.0 Ok: queued", 20);
	}
	assert_int_equal(write_some(1), 0);
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_true(bed.store[i].accepted);
	bed_close();
}

static void test_large_body_streams(void **state)
{
	struct bytes body = big_body(2000000);

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, body);
	/* The writer sleeps: the window is closed long before the body is in. */
	assert_true(bed.peer[0].in_at < bed.peer[0].in_n);
	settle(0);
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_bytes_equal(bytes_make(bed.store[0].body, bed.store[0].body_n), body);
	assert_true(bed.store[0].chunks > 400);
	/* One run in memory, PARTS_MAX at the writer, the last segment, envelope and spare. */
	assert_true(bed.most_in_memory < (PARTS_MAX + 1) * STREAM_ABOVE + 8 * CHUNK_DATA + 65536);
	assert_false(bed.store[0].dropped);
	bed_close();
}

static void test_aborted_parts_are_dropped(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, big_body(400000));
	write_some(1);
	pump(0);
	bed.peer[0].s->ops->on_close(bed.peer[0].s, STREAM_RESET);
	bed.peer[0].aborted = true;
	while (write_some(1))
		;
	assert_true(bed.store[0].dropped && !bed.store[0].accepted);
	bed_close();
}

static void test_parts_of_a_refused_message_are_dropped(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	/* Refused by us: a bare LF. */
	envelope(0);
	say(0, big_body(400000));
	settle(0);
	say(0, BYTES_LIT("\n\r\n.\r\n"));
	assert_memory_equal(heard(0), "550 5.6.11", 10);
	write_some(10);
	assert_true(bed.store[0].dropped);
	/* Refused by the writer: at the part, at the accept. */
	envelope(0);
	bed.part_status = HANDOFF_FULL;
	say(0, big_body(400000));
	settle(0);
	say(0, BYTES_LIT(".\r\n"));
	assert_memory_equal(heard(0), "452 4.3.1", 9);
	bed.part_status = HANDOFF_OK;
	bed.status = HANDOFF_FAILED;
	envelope(0);
	say(0, big_body(400000));
	settle(0);
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "451 4.3.0", 9);
	assert_true(bed.store[1].dropped && bed.store[2].dropped);
	bed_close();
}

static void forget_message(uint64_t id)
{
	bed.server->drops_reserved++;
	handoff_drop(bed.server, id);
}

/* The writer answers a whole ring at once.  Of the first answer many submits follow, while the ops
 * of the others are not free yet. */
static void test_all_answers_at_once(void **state)
{
	struct op *ops[64];

	(void)state;
	bed_open(ARRAY_LEN(ops), (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, big_body(400000));
	settle(0);
	bed.status = HANDOFF_FULL;
	say(0, BYTES_LIT(".\r\n"));
	for (uint64_t id = 1; id <= 2 * ARRAY_LEN(ops); id++)
		forget_message(id);
	assert_int_equal(bed.writer.credits, 0);
	for (unsigned n, round = 0; (n = service_take(&bed.service, ops, ARRAY_LEN(ops)));
		round++) {
		for (unsigned i = 0; i < n; i++) {
			if (ops[i]->kind == HANDOFF_ACCEPT)
				do_accept((struct accept_op *)ops[i]);
			channel_complete(ops[i]);
		}
		channel_poll(&bed.writer);
		assert_true(round < 4);
	}
	assert_memory_equal(heard(0), "452 4.3.1", 9);
	assert_int_equal(bed.server->drops_n, 0);
	bed_close();
}

/* Case 23: the connection dies between the final dot and the 250. */
static void test_case_23_message_of_a_dead_session_is_kept(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("kept\r\n.\r\n"));
	bed.peer[0].s->ops->on_close(bed.peer[0].s, STREAM_RESET);
	bed.peer[0].aborted = true;
	assert_int_equal(smtp_server_sessions(bed.server), 0);
	/* The session's place may be taken meanwhile: it must not hear the other's reply. */
	greet(1);
	write_some(10);
	assert_true(bed.store[0].accepted);
	assert_string_equal(heard(1), "");
	greet(2);
	envelope(2);
	say(2, BYTES_LIT("lost\r\n"));
	bed.peer[2].s->ops->on_close(bed.peer[2].s, STREAM_RESET);
	bed.peer[2].aborted = true;
	assert_int_equal(write_some(10), 0);
	bed_close();
}

static void test_memory_pressure(void **state)
{
	struct chain taken = {0};

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	while (chunk_pool_used_percent() < 75)
		chain_push(&taken, chunk_get());
	advance(2000);
	say(0, BYTES_LIT(ENVELOPE));
	assert_null(strstr(heard(0), "354")); /* DATA waits */
	while (chunk_pool_used_percent() < 95)
		chain_push(&taken, chunk_get());
	advance(20000);
	assert_string_equal(heard(0), "");
	say(1, BYTES_LIT("MAIL FROM:<>\r\n"));
	assert_memory_equal(heard(1), "452 4.3.1", 9);
	chain_free(&taken);
	advance(20000);
	assert_memory_equal(heard(0), "354 ", 4);
	/* No chunk at all in the middle of the content: the window closes, then it goes on. */
	for (struct chunk *k; (k = chunk_get());)
		chain_push(&taken, k);
	say(0, big_body(20000));
	assert_true(bed.peer[0].in_at < bed.peer[0].in_n);
	chain_free(&taken);
	advance(20000);
	pump(0);
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	bed_close();
}

/* One peer with many sessions gets an eighth of the pool, and still all its mail gets through. */
static void test_one_peer_gets_an_eighth(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS; i++) {
		greet(i);
		envelope(i);
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		say(i, big_body(200000));
	uint32_t envelopes = SESSIONS * 3;      /* sender, recipients, text */
	uint32_t least = SESSIONS * BODY_LEAST; /* that each may have */
	assert_true(CHUNKS - chunk_pool_free_count() <= CHUNKS / 8 + envelopes + least);
	for (unsigned round = 0; round < 10000; round++) {
		bool all = true;
		write_some(1);
		advance(10000);
		for (unsigned i = 0; i < SESSIONS; i++) {
			pump(i);
			all = all && bed.peer[i].in_at == bed.peer[i].in_n;
		}
		if (all)
			break;
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		say(i, BYTES_LIT(".\r\n"));
		for (unsigned k = 0; k < 20; k++) {
			write_some(1);
			advance(10000);
			pump(i);
		}
		assert_memory_equal(heard(i), "250 2.0.0 Ok: queued", 20);
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_true(bed.store[i].accepted && bed.store[i].body_n == 200000);
	bed_close();
}

static void test_timeouts(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	envelope(1);
	/* Case 39: an octet now and then is no progress. */
	for (unsigned i = 0; i < 17; i++) {
		advance(10 * US_PER_SEC);
		say(1, BYTES_LIT("x"));
	}
	assert_string_equal(heard(1), "");
	advance(11 * US_PER_SEC);
	assert_memory_equal(heard(1), "421 4.4.2", 9);
	assert_true(bed.peer[1].closed);
	for (unsigned i = 0; i < 11; i++) {
		advance(10 * US_PER_SEC);
		say(0, BYTES_LIT("N"));
	}
	advance(10 * US_PER_SEC);
	assert_memory_equal(heard(0), "421 4.4.2", 9);
	assert_true(bed.peer[0].closed);
	/* Who waits for us is not timed out, and once we answered he has his time again. */
	greet(2);
	envelope(2);
	say(2, BYTES_LIT("x\r\n.\r\n"));
	advance(1000 * US_PER_SEC);
	assert_string_equal(heard(2), "");
	write_some(10);
	assert_memory_equal(heard(2), "250 2.0.0", 9);
	/* Who does not even read: aborted. */
	greet(3);
	bed.peer[3].space = 0;
	advance(330 * US_PER_SEC);
	assert_true(bed.peer[3].aborted);
	bed_close();
}

static void test_full_send_buffer_keeps_replies_in_order(void **state)
{
	char all[4096] = "";

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	bed.peer[0].space = 3;
	say(0, BYTES_LIT("NOOP\r\nHELP\r\nVRFY a\r\nMAIL FROM:<>\r\nQUIT\r\n"));
	for (unsigned i = 0; i < 500 && !bed.peer[0].closed; i++) {
		strcat(all, heard(0));
		bed.peer[0].space = i % 5 + 1;
		bed.peer[0].s->ops->on_writable(bed.peer[0].s);
		pump(0);
	}
	strcat(all, heard(0));
	assert_true(bed.peer[0].closed);
	const char *noop = strstr(all, "250 2.0.0 Ok\r\n214 ");
	assert_ptr_equal(noop, all);
	assert_non_null(strstr(all, "\r\n252 2.5.0"));
	assert_non_null(strstr(all, "250 2.1.0 Sender ok\r\n221 2.0.0 Bye\r\n"));
	bed_close();
}

/* Case 12 with the acknowledgements of TCP: the peer cannot have seen what it did not acknowledge.
 */
static void test_case_12_early_talker_by_acknowledgement(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	connect_peer(0);
	bed.peer[0].unacked = 10;
	say(0, BYTES_LIT("EHLO x\r\n"));
	assert_non_null(strstr(heard(0), "554 5.5.0"));
	assert_true(bed.peer[0].closed);
	greet(1);
	envelope(1);
	bed.peer[1].unacked = 1;
	say(1, BYTES_LIT("content before 354\r\n"));
	assert_memory_equal(heard(1), "554 5.5.0", 9);
	greet(2);
	bed.peer[2].unacked = 5; /* pipelined commands need not wait */
	say(2, BYTES_LIT("NOOP\r\n"));
	bed.peer[2].unacked = 0;
	greet(3);
	assert_int_equal(write_some(10), 0);
	bed_close();
}

/* Case 24: far more recipients than the limit cost no memory and end the session. */
static void test_case_24_fifty_thousand_recipients(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
	unsigned sent = 0;
	uint32_t before = chunk_pool_free_count();
	for (; sent < 50000 && !bed.peer[0].closed; sent++) {
		say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
		const char *said = heard(0);
		if (sent > 100 && !bed.peer[0].closed)
			assert_memory_equal(said, "452 4.5.3", 9);
		assert_true(before - MIN(before, chunk_pool_free_count()) <= 4);
	}
	assert_int_equal(sent, 100 + SMTP_OVERSHOOT + 1);
	bed_close();
}

/* Case 43: a list of recipients in Received would tell who got a blind copy. */
static void test_case_43_for_clause_names_a_lone_recipient_only(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"
			 "RCPT TO:<alice@local.example.org>\r\n"
			 "RCPT TO:<alice@local.example.org>\r\nDATA\r\n"));
	say(0, BYTES_LIT("x\r\n.\r\n"));
	write_some(10);
	assert_int_equal(bed.store[0].rcpts, 2);
	assert_null(strstr(bed.store[0].prefix, "for <"));
	bed_close();
}

static void test_drain(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	envelope(1);
	smtp_server_drain(bed.server);
	poll_core();
	assert_memory_equal(heard(0), "421 4.3.2", 9);
	assert_true(bed.peer[0].closed && !bed.peer[1].closed);
	say(1, BYTES_LIT("x\r\n.\r\n"));
	write_some(10);
	poll_core();
	const char *said = heard(1);
	assert_memory_equal(said, "250 2.0.0", 9);
	assert_non_null(strstr(said, "421 4.3.2"));
	assert_true(bed.peer[1].closed);
	assert_int_equal(smtp_server_sessions(bed.server), 0);
	struct endpoint e = {0};
	assert_null(bed.server->doors[0].listener.accept(&bed.server->doors[0].listener, &e, &e));
	bed_close();
}

static void test_eof_after_the_last_command(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("x\r\n.\r\n"));
	bed.peer[0].s->ops->on_eof(bed.peer[0].s);
	assert_false(bed.peer[0].closed);
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0", 9);
	assert_true(bed.peer[0].closed);
	greet(1);
	bed.peer[1].s->ops->on_eof(bed.peer[1].s);
	assert_true(bed.peer[1].closed);
	bed_close();
}

static void test_pool_of_sessions_is_bounded(void **state)
{
	struct endpoint e = {0};

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS; i++)
		greet(i);
	assert_null(bed.server->doors[0].listener.accept(&bed.server->doors[0].listener, &e, &e));
	say(3, BYTES_LIT("QUIT\r\n"));
	connect_peer(3);
	assert_int_equal(smtp_server_sessions(bed.server), SESSIONS);
	bed_close();
}

static void test_discard_mode_needs_no_writer(void **state)
{
	(void)state;
	bed_open(1, (struct smtp_server_conf){.discard = true});
	greet(0);
	for (unsigned i = 0; i < 3; i++) {
		envelope(0);
		say(0, big_body(1000000));
		say(0, BYTES_LIT(".\r\n"));
		assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	}
	assert_int_equal(write_some(10), 0);
	assert_true(bed.most_in_memory < 2 * STREAM_ABOVE);
	bed_close();
}

/* The mutant that the crash campaign has to catch does what it says. */
static void test_ack_early_answers_before_the_commit(void **state)
{
	(void)state;
	bed_open(1, (struct smtp_server_conf){.ack_early = true});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("x\r\n.\r\n"));
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_int_equal(write_some(10), 1);
	bed_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_250_comes_after_the_commit),
		cmocka_unit_test(test_verdicts_of_the_writer),
		cmocka_unit_test(test_no_credit_parks_the_session),
		cmocka_unit_test(test_large_body_streams),
		cmocka_unit_test(test_aborted_parts_are_dropped),
		cmocka_unit_test(test_parts_of_a_refused_message_are_dropped),
		cmocka_unit_test(test_all_answers_at_once),
		cmocka_unit_test(test_case_23_message_of_a_dead_session_is_kept),
		cmocka_unit_test(test_memory_pressure),
		cmocka_unit_test(test_one_peer_gets_an_eighth),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_full_send_buffer_keeps_replies_in_order),
		cmocka_unit_test(test_case_12_early_talker_by_acknowledgement),
		cmocka_unit_test(test_case_24_fifty_thousand_recipients),
		cmocka_unit_test(test_case_43_for_clause_names_a_lone_recipient_only),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_eof_after_the_last_command),
		cmocka_unit_test(test_pool_of_sessions_is_bounded),
		cmocka_unit_test(test_discard_mode_needs_no_writer),
		cmocka_unit_test(test_ack_early_answers_before_the_commit),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}

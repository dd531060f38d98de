/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server: what slow peers hold is had back when it is scarce, and waits for memory end. */
#include "tests/unit/smtp/server_bed.h"

#define MINUTE (60 * US_PER_SEC)

static struct chain taken;

/* Others hold so much of the pool. */
static void others_hold(unsigned percent)
{
	while (chunk_pool_used_percent() < percent) {
		struct chunk *k = chunk_get();
		if (!k)
			break;
		chain_push(&taken, k);
	}
	bed.server->used_at_us = 0;
}

static void all_is_held(void)
{
	for (struct chunk *k; (k = chunk_get());)
		chain_push(&taken, k);
	bed.server->used_at_us = 0;
}

static uint32_t held_by(unsigned i)
{
	return container_of(bed.peer[i].s, struct smtp_conn, stream)->charged;
}

/* As the core does: who may go on is given what waits in its window. */
static void laps(unsigned i, uint64_t us)
{
	for (uint64_t at = 0; at < us; at += 100 * US_PER_MS) {
		advance(100 * US_PER_MS);
		pump(i);
	}
}

static void test_nobody_waits_for_354_for_ever(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	others_hold(75);
	uint32_t unused = chunk_pool_free_count();
	say(0, BYTES_LIT(ENVELOPE));
	say(1, BYTES_LIT("MAIL FROM:<>\r\nRCPT TO:<alice@local.example.org>\r\nBDAT 5 "
			 "LAST\r\nhello"));
	assert_null(strstr(heard(0), "354"));
	advance(MINUTE - 5 * US_PER_SEC);
	assert_string_equal(heard(0), "");
	assert_null(strstr(heard(1), "452"));
	advance(6 * US_PER_SEC);
	pump(1);
	assert_string_equal(heard(0), "452 4.3.1 Insufficient storage, try again later\r\n");
	assert_string_equal(heard(1), "452 4.3.1 Insufficient storage, try again later\r\n");
	/* Nothing is left of the transaction, and the next one waits its own minute. */
	assert_int_equal(chunk_pool_free_count(), unused);
	say(0, BYTES_LIT(ENVELOPE));
	heard(0);
	advance(MINUTE / 2);
	assert_string_equal(heard(0), "");
	chain_free(&taken);
	advance(US_PER_SEC);
	assert_memory_equal(heard(0), "354 ", 4);
	bed_close();
}

/* All memory is gone in the midst of the content: the window closes, but not for ever. */
static void test_content_without_memory_is_refused_at_its_end(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, big_body(2000));
	all_is_held();
	say(0, big_body(200000));
	assert_true(bed.peer[0].in_at < bed.peer[0].in_n);
	assert_true(held_by(0) > 0);
	laps(0, MINUTE + US_PER_SEC);
	assert_int_equal(held_by(0), 0);
	assert_int_equal(bed.peer[0].in_at, bed.peer[0].in_n);
	say(0, BYTES_LIT(".\r\n"));
	assert_memory_equal(heard(0), "452 4.3.1", 9);
	chain_free(&taken);
	advance(US_PER_SEC);
	/* The session goes on. */
	envelope(0);
	say(0, BYTES_LIT("x\r\n.\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	bed_close();
}

static void test_a_line_without_memory_ends_the_session(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	all_is_held();
	say(0, BYTES_LIT("NO"));
	laps(0, MINUTE + US_PER_SEC);
	assert_memory_equal(heard(0), "421 4.3.2", 9);
	assert_true(bed.peer[0].closed);
	chain_free(&taken);
	bed_close();
}

/* Each has a part of a chunk, together all that their peer may have: nobody has a whole one that
 * the writer could take. */
static void test_parts_of_chunks_do_not_wait_for_each_other(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.server->peer_chunks_max = SESSIONS;
	for (unsigned i = 0; i < SESSIONS; i++) {
		greet(i);
		envelope(i);
		say(i, big_body(4032));
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		say(i, big_body(40000));
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < SESSIONS; i++) {
			write_some(1);
			advance(5000);
			pump(i);
		}
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		say(i, BYTES_LIT(".\r\n"));
		write_some(10);
		assert_memory_equal(heard(i), "250 2.0.0 Ok: queued", 20);
	}
	bed_close();
}

/* Recipients are the peer's memory, too. */
static void test_envelopes_count_for_the_peer(void **state)
{
	char line[600] = "RCPT TO:<alice@local.example.org> ORCPT=rfc822;";
	unsigned refused = 0;

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	bed.server->peer_chunks_max = 16;
	memset(line + strlen(line), 'x', 440);
	strcat(line, "\r\n");
	for (unsigned i = 0; i < 4; i++) {
		greet(i);
		say(i, BYTES_LIT("MAIL FROM:<>\r\n"));
		heard(i);
		for (unsigned k = 0; k < 100; k++) {
			say(i, bytes_str(line));
			const char *said = heard(i);
			refused += !memcmp(said, "452 4.3.1", 9);
		}
	}
	assert_true(refused > 200);
	/* Two of each session are not counted, and a few each may have whatever the others do. */
	assert_true(CHUNKS - chunk_pool_free_count() <= 16 + 4 * (2 + BODY_LEAST));
	say(0, BYTES_LIT("RSET\r\n"));
	assert_int_equal(held_by(0), 0);
	bed_close();
}

/* Case 39: slow content does not keep memory from others: first the writer gets it, then who does
 * not go on is ended. */
static void test_slow_content_gives_way(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, big_body(200000));
	assert_true(held_by(0) >= 49);
	others_hold(72);
	advance(2 * US_PER_SEC);
	write_some(10);
	assert_true(held_by(0) <= 1);
	/* It goes on in time, and nothing is lost. */
	for (unsigned i = 0; i < 4; i++) {
		say(0, big_body(8192));
		advance(5 * US_PER_SEC);
		write_some(10);
	}
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_int_equal(bed.store[0].body_n, 200000 + 4 * 8192);
	chain_free(&taken);
	advance(US_PER_SEC);
	envelope(0);
	say(0, big_body(3000));
	others_hold(72);
	for (unsigned i = 0; i < 9; i++) {
		assert_string_equal(heard(0), "");
		say(0, BYTES_LIT("x"));
		advance(US_PER_SEC);
	}
	advance(2 * US_PER_SEC);
	assert_memory_equal(heard(0), "421 4.4.2", 9);
	chain_free(&taken);
	bed_close();
}

/* When nearly all sessions are taken, who does nothing has seconds, not minutes. */
static void test_idle_sessions_give_way(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS - 1; i++)
		greet(i);
	advance(MINUTE);
	for (unsigned i = 0; i < SESSIONS - 1; i++)
		assert_string_equal(heard(i), "");
	greet(SESSIONS - 1);
	envelope(SESSIONS - 1);
	say(SESSIONS - 1, BYTES_LIT("x\r\n.\r\n"));
	advance(US_PER_SEC);
	/* Whoever waits for us is not idle. */
	assert_string_equal(heard(SESSIONS - 1), "");
	assert_false(bed.peer[SESSIONS - 1].closed);
	unsigned ended = 0;
	for (unsigned i = 0; i < SESSIONS - 1; i++) {
		if (!bed.peer[i].closed)
			continue;
		assert_memory_equal(heard(i), "421 4.4.2", 9);
		ended++;
	}
	assert_int_equal(ended, 1);
	write_some(10);
	assert_memory_equal(heard(SESSIONS - 1), "250 2.0.0 Ok: queued", 20);
	bed_close();
}

/* The last sessions are for who has few: others must not have them all, idle or not. */
static void test_the_last_sessions_are_for_who_has_few(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	bed.policy.peer_connections = 50;
	for (unsigned i = 0; i < SESSIONS - 1; i++) {
		connect_peer(i);
		assert_memory_equal(heard(i), "220 ", 4);
	}
	connect_peer(SESSIONS - 1);
	assert_memory_equal(heard(SESSIONS - 1), "421 4.7.0", 9);
	poll_core();
	connect_from(SESSIONS - 1, "198.18.2.2");
	assert_memory_equal(heard(SESSIONS - 1), "220 ", 4);
	bed_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_waits_for_354_for_ever),
		cmocka_unit_test(test_content_without_memory_is_refused_at_its_end),
		cmocka_unit_test(test_a_line_without_memory_ends_the_session),
		cmocka_unit_test(test_parts_of_chunks_do_not_wait_for_each_other),
		cmocka_unit_test(test_envelopes_count_for_the_peer),
		cmocka_unit_test(test_slow_content_gives_way),
		cmocka_unit_test(test_idle_sessions_give_way),
		cmocka_unit_test(test_the_last_sessions_are_for_who_has_few),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}

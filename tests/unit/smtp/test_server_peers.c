/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server: who the peer is, and what one peer may do. */
#include "tests/unit/smtp/server_bed.h"

static struct ip_net proxies[1];

/* ---- limits of a peer ---- */

static void test_case_40_connections_of_a_peer(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.policy.peer_connections = 2;
	for (unsigned i = 0; i < 2; i++) {
		connect_peer(i);
		assert_memory_equal(heard(i), "220 ", 4);
	}
	connect_peer(2);
	assert_memory_equal(heard(2), "421 4.7.0", 9);
	assert_true(bed.peer[2].closed);
	/* One goes, another may come; who is listed is not limited. */
	say(0, BYTES_LIT("QUIT\r\n"));
	heard(0);
	poll_core();
	connect_peer(3);
	assert_memory_equal(heard(3), "220 ", 4);
	assert_int_equal(ip_net_parse(BYTES_LIT("198.18.1.0/24"), &proxies[0]), 0);
	bed.policy.relay_from = proxies;
	bed.policy.relay_from_count = 1;
	connect_peer(4);
	assert_memory_equal(heard(4), "220 ", 4);
	bed_close();
}

static void test_case_40_rates_of_a_peer(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.policy.peer_connection_rate = 2;
	bed.policy.peer_message_rate = 2;
	bed.policy.peer_rcpt_rate = 3;
	bed.policy.peer_error_rate = 2;
	greet(0);
	for (unsigned i = 0; i < 2; i++) {
		say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
		assert_memory_equal(heard(0), "250 2.1.0", 9);
		say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
		assert_memory_equal(heard(0), "250 2.1.5", 9);
		say(0, BYTES_LIT("RSET\r\n"));
		heard(0);
	}
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
	assert_memory_equal(heard(0), "450 4.7.1", 9);
	advance(31 * US_PER_SEC);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
	assert_memory_equal(heard(0), "250 2.1.0", 9);
	for (unsigned i = 0; i < 2; i++)
		say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
	assert_memory_equal(heard(0), "250 2.1.5", 9);
	say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
	assert_memory_equal(heard(0), "450 4.7.1", 9);
	/* Errors of all its connections together. */
	connect_peer(1);
	assert_memory_equal(heard(1), "220 ", 4);
	say(0, BYTES_LIT("WHAT\r\n"));
	assert_memory_equal(heard(0), "500 ", 4);
	say(1, BYTES_LIT("WHAT\r\n"));
	assert_memory_equal(heard(1), "500 ", 4);
	say(1, BYTES_LIT("WHAT\r\n"));
	assert_non_null(strstr(heard(1), "421 4.7.0"));
	connect_peer(2);
	assert_memory_equal(heard(2), "220 ", 4);
	connect_peer(3);
	assert_memory_equal(heard(3), "421 4.7.0", 9);
	bed_close();
}

static void test_case_12_early_talker_by_delay(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.policy.greet_delay_us = 2 * US_PER_SEC;
	connect_peer(0);
	advance(US_PER_SEC);
	assert_string_equal(heard(0), "");
	advance(2 * US_PER_SEC);
	assert_memory_equal(heard(0), "220 ", 4);
	say(0, BYTES_LIT("EHLO x\r\n"));
	assert_memory_equal(heard(0), "250-", 4);
	connect_peer(1);
	say(1, BYTES_LIT("EHLO x\r\n"));
	assert_memory_equal(heard(1), "554 5.5.0", 9);
	assert_true(bed.peer[1].closed);
	bed_close();
}

/* ---- PROXY headers ---- */

static void bed_open_behind_proxy(void)
{
	bed_open(4, (struct smtp_server_conf){0});
	assert_int_equal(ip_net_parse(BYTES_LIT("198.18.1.0/24"), &proxies[0]), 0);
	bed.policy.proxies = proxies;
	bed.policy.proxy_count = 1;
}

#define PROXY_V1 "PROXY TCP4 198.18.9.9 198.18.0.1 4000 25\r\n"
#define PROXY_V2                                                                                   \
	"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x12\x09\x09\xc6\x12\x00\x01\x0f\xa0\x00\x19"

static void check_peer_is(const char *address)
{
	struct smtp_conn *c = container_of(bed.peer[0].s, struct smtp_conn, stream);
	char text[IP_TEXT_MAX];

	assert_string_equal(ip_format(&c->session.peer, text), address);
	assert_string_equal(ip_format(&c->session.peer, text), address);
}

static void test_case_30_proxy_header_in_pieces(void **state)
{
	static const struct bytes headers[] = {BYTES_LIT(PROXY_V1), BYTES_LIT(PROXY_V2)};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(headers); i++) {
		for (size_t cut = 1; cut < headers[i].n; cut++) {
			bed_open_behind_proxy();
			connect_peer(0);
			say(0, bytes_first(headers[i], cut));
			assert_string_equal(heard(0), "");
			say(0, bytes_skip(headers[i], cut));
			assert_memory_equal(heard(0), "220 ", 4);
			check_peer_is("198.18.9.9");
			say(0, BYTES_LIT("EHLO x\r\n"));
			assert_memory_equal(heard(0), "250-", 4);
			bed_close();
		}
	}
}

static void test_case_30_proxy_header_missing_or_bad(void **state)
{
	static const struct bytes bad[] = {BYTES_LIT("EHLO x\r\n"),
		BYTES_LIT("PROXY TCP4 198.18.9.9 198.18.0.1 4000\r\n"),
		BYTES_LIT("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"), BYTES_LIT("\x16\x03\x01")};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		bed_open_behind_proxy();
		connect_peer(0);
		say(0, bad[i]);
		assert_string_equal(heard(0), "");
		assert_true(bed.peer[0].aborted);
		bed_close();
	}
}

/* A client of which nothing is known may not use the rights of the balancer that brings it. */
static void test_case_30_proxy_unknown_is_nobody(void **state)
{
	static const struct {
		struct bytes header;
		const char *rcpt;
	} cases[] = {
		{BYTES_LIT("PROXY UNKNOWN\r\n"),              "554 5.7.1"},
		{BYTES_LIT("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"), "250 2.1.5"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		bed_open_behind_proxy();
		bed.policy.relay_from = proxies;
		bed.policy.relay_from_count = 1;
		connect_peer(0);
		say(0, cases[i].header);
		assert_memory_equal(heard(0), "220 ", 4);
		say(0, BYTES_LIT("EHLO x\r\n"));
		heard(0);
		say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
		assert_memory_equal(heard(0), "250 ", 4);
		say(0, BYTES_LIT("RCPT TO:<x@elsewhere.example.com>\r\n"));
		assert_memory_equal(heard(0), cases[i].rcpt, 9);
		bed_close();
	}
}

static void test_case_30_proxy_header_never_comes(void **state)
{
	(void)state;
	bed_open_behind_proxy();
	connect_peer(0);
	say(0, BYTES_LIT("PROXY TCP4"));
	advance(PROXY_US + US_PER_SEC);
	assert_true(bed.peer[0].aborted);
	assert_string_equal(heard(0), "");
	bed_close();
	/* Or the peer leaves in the midst of it. */
	bed_open_behind_proxy();
	connect_peer(0);
	say(0, BYTES_LIT("PROXY TCP4"));
	bed.peer[0].s->ops->on_eof(bed.peer[0].s);
	poll_core();
	assert_true(bed.peer[0].aborted);
	bed_close();
}

/* Who speaks behind the header before the greeting is an early talker as any other. */
/* Draining: no greeting behind the end. */
static void test_case_30_proxy_header_comes_too_late(void **state)
{
	(void)state;
	bed_open_behind_proxy();
	connect_peer(0);
	say(0, BYTES_LIT("PROXY "));
	smtp_server_drain(bed.server);
	poll_core();
	assert_true(bed.peer[0].aborted);
	assert_string_equal(heard(0), "");
	assert_int_equal(smtp_server_sessions(bed.server), 0);
	bed_close();
}

static void test_case_30_early_talker_behind_proxy(void **state)
{
	(void)state;
	bed_open_behind_proxy();
	connect_peer(0);
	bed.peer[0].unacked = 40; /* the greeting: it has just gone */
	say(0, BYTES_LIT(PROXY_V1 "EHLO x\r\n"));
	const char *said = heard(0);
	assert_memory_equal(said, "220 ", 4);
	assert_non_null(strstr(said, "554 5.5.0"));
	assert_true(bed.peer[0].closed);
	bed_close();
}

/* From who is not listed the header is what it looks like: no command. */
static void test_case_30_proxy_header_of_others(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	connect_peer(0);
	assert_memory_equal(heard(0), "220 ", 4);
	say(0, BYTES_LIT(PROXY_V1));
	assert_memory_equal(heard(0), "500 ", 4);
	check_peer_is("198.18.1.1");
	bed_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_case_40_connections_of_a_peer),
		cmocka_unit_test(test_case_40_rates_of_a_peer),
		cmocka_unit_test(test_case_12_early_talker_by_delay),
		cmocka_unit_test(test_case_30_proxy_header_in_pieces),
		cmocka_unit_test(test_case_30_proxy_header_missing_or_bad),
		cmocka_unit_test(test_case_30_proxy_unknown_is_nobody),
		cmocka_unit_test(test_case_30_proxy_header_never_comes),
		cmocka_unit_test(test_case_30_proxy_header_comes_too_late),
		cmocka_unit_test(test_case_30_early_talker_behind_proxy),
		cmocka_unit_test(test_case_30_proxy_header_of_others),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

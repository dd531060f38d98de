/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/client: dialogues with servers good and hostile.  Each runs whole and byte by byte. */
#include "tests/unit/smtp/client_user.h"

static void delivered_with(size_t piece)
{
	struct user u;

	open_session(&u, piece);
	dialogue(&u, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", CONTENT);
	u.to_send = 1;
	dialogue(&u, "250 2.0.0 taken\r\n", ENVELOPE); /* the connection is kept */
	assert_int_equal(u.message_ends, 1);
	dialogue(&u, "250 ok\r\n550 5.1.1 unknown\r\n450 later\r\n503 none\r\n", "RSET\r\n");
	assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
	assert_int_equal(u.replies[0].code, 550);
	assert_int_equal(u.results[1], SMTP_RCPT_DEFER);
	dialogue(&u, "250 reset\r\n", "");
	assert_int_equal(u.ready, 3);
	smtp_client_quit(&u.client);
	dialogue(&u, "", "QUIT\r\n");
	dialogue(&u, "221 bye\r\n", "");
	assert_int_equal(u.ends, 1);
}

static void test_two_messages_pipelined(void **state)
{
	(void)state;
	delivered_with(0);
	delivered_with(1);
	delivered_with(3);
}

static void test_without_pipelining_one_command_at_a_time(void **state)
{
	(void)state;
	for (size_t piece = 0; piece < 3; piece++) {
		struct user u;
		begin(&u, piece);
		dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
		dialogue(&u, "500 what?\r\n", "HELO mx.example.org\r\n");
		dialogue(&u, "250 far\r\n", "MAIL FROM:<s@near.example>\r\n");
		dialogue(&u, "250 ok\r\n", "RCPT TO:<a@far.example>\r\n");
		dialogue(&u, "550 no\r\n", "RCPT TO:<b@far.example>\r\n");
		dialogue(&u, "250 ok\r\n", "DATA\r\n");
		dialogue(&u, "354 go\r\n", CONTENT);
		dialogue(&u, "451 4.3.0 later\r\n", "");
		assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
		assert_int_equal(u.results[1], SMTP_RCPT_DEFER);
		assert_int_equal(u.replies[1].enhanced[0], 4);
		assert_int_equal(u.ready, 2);
	}
}

static void test_refused_sender_counts_for_all(void **state)
{
	struct user u;

	(void)state;
	begin(&u, 0);
	dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(&u, "250 far\r\n", "MAIL FROM:<s@near.example>\r\n");
	dialogue(&u, "550 5.7.1 not you\r\n", "");
	assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
	assert_int_equal(u.results[1], SMTP_RCPT_FAIL);
	assert_int_equal(u.ready, 2);
	/* Pipelined, and 354 although nobody was accepted (RFC 2920 3.1). */
	open_session(&u, 1);
	dialogue(&u, "450 wait\r\n503 no\r\n503 no\r\n354 go\r\n", ".\r\n");
	dialogue(&u, "554 no valid recipients\r\n", "");
	assert_int_equal(u.results[0], SMTP_RCPT_DEFER);
	assert_int_equal(u.replies[0].code, 450);
	assert_int_equal(u.ready, 2);
}

static void test_content_that_comes_late(void **state)
{
	struct user u;

	(void)state;
	open_session(&u, 0);
	u.stall = 1;
	dialogue(&u, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "Subje");
	smtp_client_content_ready(&u.client);
	dialogue(&u, "", "ct: x\r\n\r\n..dot\r\n.\r\n");
	dialogue(&u, "250 ok\r\n", "");
	assert_int_equal(u.results[1], SMTP_RCPT_DELIVERED);
}

static void test_message_this_peer_cannot_take(void **state)
{
	struct user u;

	(void)state;
	begin(&u, 0);
	u.message.size = 1001;
	dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(&u, EHLO_REPLY, "");
	assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
	assert_int_equal(u.replies[0].code, 552);
	assert_int_equal(u.replies[0].enhanced[1], 3);
	assert_int_equal(u.ready, 2);
	begin(&u, 0);
	u.message.body = BODY_8BITMIME;
	u.no_convert = true;
	dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(&u, "250 far\r\n", "");
	assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
	assert_int_equal(u.replies[0].enhanced[1], 6);
	assert_int_equal(u.replies[0].enhanced[2], 3);
	begin(&u, 0);
	u.message.body = BODY_8BITMIME;
	dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(&u, "250-far\r\n250 8bitmime\r\n", "MAIL FROM:<s@near.example> BODY=8BITMIME\r\n");
}

#define BIG         (SMTP_CLIENT_BDAT_MIN + 5)
#define EHLO_CHUNKS "250-far\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
#define BIG_ENVELOPE                                                                               \
	"MAIL FROM:<s@near.example>\r\nRCPT TO:<a@far.example>\r\nRCPT TO:<b@far.example>\r\n"

static void open_big(struct user *u, size_t piece)
{
	static uint8_t big[BIG];

	begin(u, piece);
	memset(big, '.', sizeof(big));
	memcpy(big, "a: b\r\n\r\n.\r\nQUIT\r\n", 17);
	u->content = bytes_make(big, sizeof(big));
	u->content_step = 4080;
	u->message.size = sizeof(big);
	dialogue(u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(u, EHLO_CHUNKS, BIG_ENVELOPE);
}

/* BDAT waits for the verdicts on the recipients; then the octets go as they are. */
static void test_large_message_goes_with_bdat(void **state)
{
	(void)state;
	for (size_t piece = 0; piece < 3; piece++) {
		static char want[BIG + 64];
		struct user u;

		open_big(&u, piece);
		dialogue(&u, "250 ok\r\n250 ok\r\n", "");
		int n = snprintf(want, sizeof(want), "BDAT %u LAST\r\n", BIG);
		memcpy(want + n, u.content.p, BIG);
		dialogue(&u, "550 5.1.1 unknown\r\n", want);
		dialogue(&u, "250 2.0.0 taken\r\n", "");
		assert_int_equal(u.results[0], SMTP_RCPT_DELIVERED);
		assert_int_equal(u.results[1], SMTP_RCPT_FAIL);
		assert_int_equal(u.ready, 2);
	}
}

static void test_bdat_without_recipients_is_not_said(void **state)
{
	struct user u;

	(void)state;
	open_big(&u, 0);
	dialogue(&u, "250 ok\r\n550 no\r\n450 later\r\n", "RSET\r\n");
	assert_int_equal(u.message_ends, 1);
}

/* A body that is not as long as announced never becomes a whole message at the peer. */
static void test_bdat_of_another_size_is_not_completed(void **state)
{
	(void)state;
	for (int diff = -1; diff <= 1; diff += 2) {
		struct user u;

		open_big(&u, 0);
		u.message.size = BIG;
		u.content.n = (size_t)(BIG + diff);
		u.content_step = BIG; /* the buffer cuts it */
		smtp_client_input(&u.client, BYTES_LIT("250 ok\r\n250 ok\r\n250 ok\r\n"));
		flush(&u);
		assert_true(u.wire_n < BIG);
		assert_int_equal(u.ends, 1);
		assert_int_equal(u.results[0], SMTP_RCPT_DEFER);
	}
}

static void test_bdat_refused_while_it_is_sent(void **state)
{
	struct user u;

	(void)state;
	open_big(&u, 0);
	u.stall = 1;
	smtp_client_input(&u.client, BYTES_LIT("250 ok\r\n250 ok\r\n250 ok\r\n"));
	flush(&u);
	smtp_client_input(&u.client, BYTES_LIT("452 4.3.1 full\r\n"));
	assert_int_equal(u.results[0], SMTP_RCPT_DEFER);
	assert_int_equal(u.ends, 1);
}

static void test_case_02_bare_newline_fails_for_good(void **state)
{
	struct user u;

	(void)state;
	open_session(&u, 0);
	u.content = BYTES_LIT("a\r\nb\n.\r\n");
	u.content_step = 100;
	struct bytes in = BYTES_LIT("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	smtp_client_input(&u.client, in);
	flush(&u);
	assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
	assert_int_equal(u.replies[0].enhanced[2], 11);
	assert_int_equal(u.ends, 1);
}

/* Case 34: whatever a server says, the session ends or goes on, and nothing is delivered by a reply
 * that came at the wrong place. */
static void test_case_34_hostile_servers(void **state)
{
	static const char *const after_envelope[] = {
		"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 smuggled success\r\n",
		"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n354 go\r\n",
		"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		"354 go\r\n",
		"250 ok\r\n354 go\r\n",
		"250-ok\r\n251 ok\r\n",
		"250 ok\n",
		"\r\n\r\n\r\n",
		"250 ok\r\n421 4.3.2 down\r\n",
		"421 down\r\n",
		"\x16\x03\x01",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(after_envelope); i++) {
		for (size_t piece = 0; piece < 4; piece++) {
			struct user u;
			open_session(&u, piece);
			struct bytes in = bytes_str(after_envelope[i]);
			/* As one burst: what follows 354 was there before the content. */
			if (piece == 0)
				smtp_client_input(&u.client, in);
			for (size_t k = 0; piece && k < in.n; k += piece)
				smtp_client_input(&u.client, bytes_first(bytes_skip(in, k), piece));
			flush(&u);
			if (!u.ends)
				smtp_client_disconnected(&u.client, "connection reset by peer");
			assert_int_equal(u.ends, 1);
			assert_int_equal(u.message_ends, 1);
			assert_int_equal(u.results[0], SMTP_RCPT_DEFER);
			assert_int_equal(u.results[1], SMTP_RCPT_DEFER);
		}
	}
}

static void test_endless_banner(void **state)
{
	struct user u;

	(void)state;
	begin(&u, 0);
	for (unsigned i = 0; i < 100000 && !u.ends; i++)
		smtp_client_input(&u.client, BYTES_LIT("220-x\r\n"));
	assert_int_equal(u.ends, 1);
	begin(&u, 0);
	for (unsigned i = 0; i < 100000 && !u.ends; i++)
		smtp_client_input(&u.client, BYTES_LIT("220 endless "));
	assert_int_equal(u.ends, 1);
	begin(&u, 0);
	dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
	for (unsigned i = 0; i < 100000 && !u.ends; i++)
		smtp_client_input(&u.client, BYTES_LIT("250-PIPELINING\r\n"));
	assert_int_equal(u.ends, 1);
	begin(&u, 0);
	dialogue(&u, "554 go away\r\n", "");
	assert_int_equal(u.ends, 1);
	assert_int_equal(u.last.code, 554);
}

static void test_connection_lost_at_every_octet(void **state)
{
	static const char all[] =
		"220 far\r\n" EHLO_REPLY "250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n";

	(void)state;
	for (size_t n = 0; n < sizeof(all); n++) {
		struct user u;
		begin(&u, 0);
		/* Octet by octet, so that the client has said what is answered. */
		for (size_t i = 0; i < n; i++) {
			smtp_client_input(&u.client, bytes_make(all + i, 1));
			flush(&u);
		}
		smtp_client_disconnected(&u.client, "connection reset by peer");
		smtp_client_disconnected(&u.client, "again");
		assert_int_equal(u.ends, 1);
		assert_int_equal(u.message_ends, u.ready);
		if (u.ready)
			assert_int_equal(u.results[1], SMTP_RCPT_DEFER);
	}
}

static void test_552_to_rcpt_is_temporary(void **state)
{
	struct user u;

	(void)state;
	open_session(&u, 0);
	dialogue(&u, "250 ok\r\n250 ok\r\n552 too many\r\n354 go\r\n", CONTENT);
	dialogue(&u, "250 ok\r\n", "");
	assert_int_equal(u.results[0], SMTP_RCPT_DELIVERED);
	assert_int_equal(u.results[1], SMTP_RCPT_DEFER);
}

/* ---- STARTTLS (RFC 3207) ---- */

#define TLS_REPLY "250-far\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-SIZE 10\r\n250 8BITMIME\r\n"

static void begin_tls(struct user *u, size_t piece, enum smtp_client_tls tls)
{
	begin(u, piece);
	smtp_client_demand(&u->client, &(struct smtp_client_demand){.tls = (uint8_t)tls});
	dialogue(u, "220 far\r\n", "EHLO mx.example.org\r\n");
}

static void test_starttls_and_what_was_said_in_clear_is_forgotten(void **state)
{
	(void)state;
	for (size_t piece = 0; piece < 3; piece++) {
		struct user u;
		begin_tls(&u, piece, SMTP_CLIENT_TLS_MAY);
		dialogue(&u, TLS_REPLY, "STARTTLS\r\n");
		dialogue(&u, "220 2.0.0 go\r\n", "");
		assert_int_equal(smtp_client_state(&u.client), SMTP_CLIENT_HANDSHAKE);
		smtp_client_secured(&u.client);
		dialogue(&u, "", "EHLO mx.example.org\r\n");
		/* No extension but those named now: one command at a time, no SIZE. */
		dialogue(&u, "250-far\r\n250 STARTTLS\r\n", "MAIL FROM:<s@near.example>\r\n");
		assert_true(smtp_client_is_secured(&u.client));
		assert_int_equal(u.ready, 1);
	}
}

/* Case 8: a reply smuggled in clear behind the 220. */
static void test_case_08_plaintext_behind_the_reply_to_starttls(void **state)
{
	(void)state;
	for (size_t piece = 0; piece < 3; piece++) {
		struct user u;
		begin_tls(&u, piece, SMTP_CLIENT_TLS_MUST);
		dialogue(&u, TLS_REPLY, "STARTTLS\r\n");
		dialogue(&u, "220 go\r\n250-far\r\n250 SIZE\r\n", "");
		assert_int_equal(u.ends, 1);
		assert_int_equal(u.ready, 0);
		assert_int_equal(smtp_client_state(&u.client), SMTP_CLIENT_ENDED);
	}
}

/* Case 9: STARTTLS stripped or refused: in clear only where the policy says `may`. */
static void test_case_09_starttls_not_offered_or_refused(void **state)
{
	struct user u;

	(void)state;
	begin_tls(&u, 0, SMTP_CLIENT_TLS_MUST);
	dialogue(&u, EHLO_REPLY, "");
	assert_int_equal(u.ends, 1);
	assert_int_equal(u.last.code, 454);
	assert_int_equal(u.last.enhanced[1], 7);
	begin_tls(&u, 0, SMTP_CLIENT_TLS_MUST);
	dialogue(&u, "500 what?\r\n", "HELO mx.example.org\r\n");
	dialogue(&u, "250 far\r\n", "");
	assert_int_equal(u.ends, 1);
	begin_tls(&u, 0, SMTP_CLIENT_TLS_MUST);
	dialogue(&u, TLS_REPLY, "STARTTLS\r\n");
	dialogue(&u, "454 4.7.0 not now\r\n", "");
	assert_int_equal(u.ends, 1);
	begin_tls(&u, 0, SMTP_CLIENT_TLS_MAY);
	dialogue(&u, EHLO_REPLY, ENVELOPE);
	begin_tls(&u, 0, SMTP_CLIENT_TLS_MAY);
	dialogue(&u, "250-far\r\n250 STARTTLS\r\n", "STARTTLS\r\n");
	dialogue(&u, "454 4.7.0 not now\r\n", "MAIL FROM:<s@near.example>\r\n");
	begin_tls(&u, 0, SMTP_CLIENT_TLS_NONE);
	dialogue(&u, "250-far\r\n250 STARTTLS\r\n", "MAIL FROM:<s@near.example>\r\n");
	assert_false(smtp_client_is_secured(&u.client));
}

/* ---- LMTP (RFC 2033) ---- */

static void begin_lmtp(struct user *u, size_t piece)
{
	begin(u, piece);
	smtp_client_demand(&u->client, &(struct smtp_client_demand){.lmtp = true});
	dialogue(u, "220 far LMTP\r\n", "LHLO mx.example.org\r\n");
}

static void test_lmtp_has_a_reply_for_each_recipient(void **state)
{
	(void)state;
	for (size_t piece = 0; piece < 3; piece++) {
		struct user u;
		begin_lmtp(&u, piece);
		u.rcpts[2] = "c@far.example";
		u.message.rcpt_count = 3;
		dialogue(&u, EHLO_REPLY,
			"MAIL FROM:<s@near.example> SIZE=20\r\nRCPT TO:<a@far.example>\r\n"
			"RCPT TO:<b@far.example>\r\nRCPT TO:<c@far.example>\r\nDATA\r\n");
		dialogue(&u, "250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n", CONTENT);
		dialogue(&u, "452 4.2.2 full\r\n", "");
		assert_int_equal(u.message_ends, 0);
		dialogue(&u, "250 2.1.5 kept\r\n", "");
		assert_int_equal(u.message_ends, 1);
		assert_int_equal(u.results[0], SMTP_RCPT_DEFER);
		assert_int_equal(u.results[1], SMTP_RCPT_FAIL);
		assert_int_equal(u.results[2], SMTP_RCPT_DELIVERED);
		assert_int_equal(u.ready, 2);
	}
}

static void test_lmtp_lost_between_the_replies(void **state)
{
	struct user u;

	(void)state;
	begin_lmtp(&u, 0);
	dialogue(&u, EHLO_REPLY, ENVELOPE);
	dialogue(&u, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", CONTENT);
	dialogue(&u, "250 2.1.5 kept\r\n", "");
	smtp_client_disconnected(&u.client, "reset");
	assert_int_equal(u.results[0], SMTP_RCPT_DELIVERED);
	assert_int_equal(u.results[1], SMTP_RCPT_DEFER);
	assert_int_equal(u.message_ends, 1);
}

static void test_lmtp_without_anybody_has_no_content(void **state)
{
	struct user u;

	(void)state;
	begin_lmtp(&u, 0);
	dialogue(&u, EHLO_REPLY, ENVELOPE);
	dialogue(&u, "250 ok\r\n550 no\r\n550 no\r\n503 5.5.1 nobody\r\n", "RSET\r\n");
	assert_int_equal(u.message_ends, 1);
	begin_lmtp(&u, 0);
	dialogue(&u, EHLO_REPLY, ENVELOPE);
	dialogue(&u, "250 ok\r\n550 no\r\n550 no\r\n354 go\r\n", "");
	assert_int_equal(u.ends, 1);
	/* No way back to HELO. */
	begin_lmtp(&u, 0);
	dialogue(&u, "500 what?\r\n", "");
	assert_int_equal(u.ends, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_messages_pipelined),
		cmocka_unit_test(test_without_pipelining_one_command_at_a_time),
		cmocka_unit_test(test_refused_sender_counts_for_all),
		cmocka_unit_test(test_content_that_comes_late),
		cmocka_unit_test(test_message_this_peer_cannot_take),
		cmocka_unit_test(test_large_message_goes_with_bdat),
		cmocka_unit_test(test_bdat_without_recipients_is_not_said),
		cmocka_unit_test(test_bdat_of_another_size_is_not_completed),
		cmocka_unit_test(test_bdat_refused_while_it_is_sent),
		cmocka_unit_test(test_case_02_bare_newline_fails_for_good),
		cmocka_unit_test(test_case_34_hostile_servers),
		cmocka_unit_test(test_endless_banner),
		cmocka_unit_test(test_connection_lost_at_every_octet),
		cmocka_unit_test(test_552_to_rcpt_is_temporary),
		cmocka_unit_test(test_starttls_and_what_was_said_in_clear_is_forgotten),
		cmocka_unit_test(test_case_08_plaintext_behind_the_reply_to_starttls),
		cmocka_unit_test(test_case_09_starttls_not_offered_or_refused),
		cmocka_unit_test(test_lmtp_has_a_reply_for_each_recipient),
		cmocka_unit_test(test_lmtp_lost_between_the_replies),
		cmocka_unit_test(test_lmtp_without_anybody_has_no_content),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

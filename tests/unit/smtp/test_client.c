/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/client: dialogues with servers good and hostile.  Each runs whole and byte by byte. */
#include "tests/unit/smtp/unit.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include "dataplane/base/codec.h"
#include "smtp/client.h"

#define RCPTS_MAX 8
#define WIRE_MAX  131072

struct user {
	struct smtp_client client;
	struct smtp_client_message message;
	const char *rcpts[RCPTS_MAX];
	struct dsn_rcpt dsn[RCPTS_MAX];
	struct bytes content;
	bool no_convert, utf8;
	enum body_type to;
	unsigned converts;
	size_t content_at;
	size_t content_step; /* octets per content() at most */
	unsigned stall;      /* content() has nothing this often */
	unsigned to_send;    /* messages to start when ready */
	/* seen */
	unsigned ready, ends, message_ends;
	enum smtp_rcpt_result results[RCPTS_MAX];
	struct smtp_reply_info replies[RCPTS_MAX], last;
	uint8_t wire[WIRE_MAX];
	size_t wire_n;
	size_t piece; /* octets fed at a time; 0: all */
};

static void on_ready(void *ctx)
{
	struct user *u = ctx;

	u->ready++;
	if (u->to_send == 0)
		return;
	u->to_send--;
	u->content_at = 0;
	memset(u->results, 0, sizeof(u->results));
	smtp_client_send(&u->client, &u->message);
}

static void on_rcpt(
	void *ctx, uint32_t i, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	struct user *u = ctx;

	assert_true(i < u->message.rcpt_count);
	assert_int_equal(u->results[i], SMTP_RCPT_PENDING); /* each exactly once */
	u->results[i] = result;
	u->replies[i] = *reply;
}

static void on_message_end(void *ctx)
{
	struct user *u = ctx;

	u->message_ends++;
	for (uint32_t i = 0; i < u->message.rcpt_count; i++)
		assert_int_not_equal(u->results[i], SMTP_RCPT_PENDING);
}

static void on_end(void *ctx, const struct smtp_reply_info *reply)
{
	struct user *u = ctx;

	u->ends++;
	u->last = *reply;
}

static struct smtp_client_rcpt rcpt(void *ctx, uint32_t i)
{
	struct user *u = ctx;

	return (struct smtp_client_rcpt){.address = bytes_str(u->rcpts[i]), .dsn = u->dsn[i]};
}

static bool convert(void *ctx, enum body_type to, bool utf8)
{
	struct user *u = ctx;

	u->converts++;
	u->to = to;
	u->utf8 = utf8;
	return !u->no_convert;
}

static struct bytes content(void *ctx, size_t want, bool *end_r)
{
	struct user *u = ctx;

	if (u->stall && u->content_at) {
		u->stall--;
		return BYTES_NONE;
	}
	struct bytes b =
		bytes_first(bytes_skip(u->content, u->content_at), MIN(want, u->content_step));
	u->content_at += b.n;
	*end_r = u->content_at == u->content.n;
	return b;
}

static const struct smtp_client_ops ops = {
	.on_ready = on_ready,
	.on_rcpt = on_rcpt,
	.on_message_end = on_message_end,
	.on_end = on_end,
	.rcpt = rcpt,
	.convert = convert,
	.content = content,
};

static void begin(struct user *u, size_t piece)
{
	memset(u, 0, sizeof(*u));
	u->piece = piece;
	u->rcpts[0] = "a@far.example";
	u->rcpts[1] = "b@far.example";
	u->content = BYTES_LIT("Subject: x\r\n\r\n.dot\r\n");
	u->content_step = 5;
	u->to_send = 1;
	u->message = (struct smtp_client_message){
		.sender = BYTES_LIT("s@near.example"), .rcpt_count = 2, .size = u->content.n};
	smtp_client_init(&u->client, &ops, u, "mx.example.org");
}

static void flush(struct user *u)
{
	uint8_t memory[SMTP_CLIENT_OUTPUT_MIN + 100];
	struct buf out;

	do {
		buf_init(&out, memory, sizeof(memory));
		smtp_client_output(&u->client, &out);
		assert_true(u->wire_n + out.n < WIRE_MAX);
		memcpy(u->wire + u->wire_n, out.p, out.n);
		u->wire_n += out.n;
	} while (out.n);
}

/* The server says this; then the client says exactly that. */
static void dialogue(struct user *u, const char *server, const char *client)
{
	struct bytes in = bytes_str(server);

	while (in.n) {
		size_t n = u->piece ? MIN(u->piece, in.n) : in.n;
		uint8_t *copy = malloc(n);
		memcpy(copy, in.p, n);
		smtp_client_input(&u->client, bytes_make(copy, n));
		free(copy);
		in = bytes_skip(in, n);
		flush(u);
	}
	flush(u);
	assert_bytes_equal(bytes_make(u->wire, u->wire_n), bytes_str(client));
	u->wire_n = 0;
}

#define EHLO_REPLY "250-far\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
#define ENVELOPE                                                                                   \
	"MAIL FROM:<s@near.example> SIZE=20\r\nRCPT TO:<a@far.example>\r\n"                        \
	"RCPT TO:<b@far.example>\r\nDATA\r\n"
#define CONTENT "Subject: x\r\n\r\n..dot\r\n.\r\n"

static void open_session(struct user *u, size_t piece)
{
	begin(u, piece);
	dialogue(u, "220 far ESMTP\r\n", "EHLO mx.example.org\r\n");
	dialogue(u, EHLO_REPLY, ENVELOPE);
}

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

/* ---- AUTH (RFC 4954) ---- */

static const struct sasl_login login = {.user = "user", .password = "pencil"};
static struct sasl_salted salted;
static struct sasl_client sasl;

static void begin_auth(struct user *u, bool secured, const char *mechanisms)
{
	char ehlo[128];

	begin(u, 0);
	smtp_client_demand(&u->client,
		&(struct smtp_client_demand){
			.secured = secured, .login = &login, .salted = &salted, .sasl = &sasl});
	dialogue(u, "220 far\r\n", "EHLO mx.example.org\r\n");
	snprintf(ehlo, sizeof(ehlo), "250-far\r\n250 AUTH %s\r\n", mechanisms);
	smtp_client_input(&u->client, bytes_str(ehlo));
	flush(u);
}

static void said(struct user *u, const char *text)
{
	assert_bytes_equal(bytes_make(u->wire, u->wire_n), bytes_str(text));
	u->wire_n = 0;
}

static void test_auth_plain_and_login(void **state)
{
	struct user u;

	(void)state;
	begin_auth(&u, true, "DIGEST-MD5 LOGIN PLAIN");
	said(&u, "AUTH PLAIN AHVzZXIAcGVuY2ls\r\n");
	dialogue(&u, "235 2.7.0 welcome\r\n", "MAIL FROM:<s@near.example>\r\n");
	begin_auth(&u, true, "login");
	said(&u, "AUTH LOGIN\r\n");
	dialogue(&u, "334 VXNlcm5hbWU6\r\n", "dXNlcg==\r\n");
	dialogue(&u, "334 UGFzc3dvcmQ6\r\n", "cGVuY2ls\r\n");
	dialogue(&u, "235 ok\r\n", "MAIL FROM:<s@near.example>\r\n");
	assert_int_equal(u.ends, 0);
}

/* Nothing is sent to who does not know us; the mail waits. */
static void test_auth_that_does_not_happen(void **state)
{
	struct user u;

	(void)state;
	begin_auth(&u, false, "PLAIN LOGIN");
	said(&u, "");
	assert_int_equal(u.ends, 1);
	begin_auth(&u, true, "GSSAPI");
	assert_int_equal(u.ends, 1);
	begin_auth(&u, true, "PLAIN");
	u.wire_n = 0;
	dialogue(&u, "535 5.7.8 no\r\n", "");
	assert_int_equal(u.ends, 1);
	assert_int_equal(u.last.code, 535);
	static const char *const bad[] = {"334 =\r\n", "334 AAAA\r\n", "354 go\r\n", "220 hm\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		begin_auth(&u, true, i < 3 ? "PLAIN" : "LOGIN");
		u.wire_n = 0;
		dialogue(&u, bad[i], "");
		assert_int_equal(u.ends, 1);
		assert_int_equal(u.ready, 0);
	}
}

/* A server of the exchange: RFC 7677 3's password and salt, with the client's nonce. */
struct scram_server {
	char nonce[256], first[512];
};

static void scram_hear(struct user *u, struct scram_server *v, const char *iterations)
{
	uint8_t memory[256];
	struct buf text;
	const char *command = "AUTH SCRAM-SHA-256 ";

	u->wire[u->wire_n - 2] = '\0';
	assert_memory_equal(u->wire, command, strlen(command));
	buf_init(&text, memory, sizeof(memory) - 1);
	assert_int_equal(base64_decode(&text, bytes_str((char *)u->wire + strlen(command))), 0);
	memory[text.n] = '\0';
	assert_memory_equal(memory, "n,,n=user,r=", 12);
	snprintf(v->nonce, sizeof(v->nonce), "%s", (char *)memory + 12);
	snprintf(v->first, sizeof(v->first), "r=%ssrv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=%s", v->nonce,
		iterations);
	u->wire_n = 0;
}

static void scram_say(struct user *u, const char *text)
{
	uint8_t memory[600];
	struct buf line;

	buf_init(&line, memory, sizeof(memory));
	buf_str(&line, "334 ");
	base64_encode(&line, bytes_str(text));
	buf_str(&line, "\r\n");
	smtp_client_input(&u->client, buf_view(&line));
	while (smtp_client_works(&u->client))
		flush(u);
	flush(u);
}

/* The proof is checked against OpenSSL's own PBKDF2; returns our signature in base64. */
static void scram_check(struct user *u, const struct scram_server *v, char signature[64])
{
	uint8_t salted_key[32], client[32], stored[32], sig[32], server[32], memory[512], proof[40];
	uint8_t salt[32];
	char auth[2048];
	struct buf text, b;

	buf_init(&text, memory, sizeof(memory) - 1);
	assert_int_equal(base64_decode(&text, bytes_make(u->wire, u->wire_n - 2)), 0);
	memory[text.n] = '\0';
	u->wire_n = 0;
	char *p = strstr((char *)memory, ",p=");
	assert_non_null(p);
	*p = '\0';
	snprintf(auth, sizeof(auth), "n=user,r=%s,%s,%s", v->nonce, v->first, (char *)memory);
	buf_init(&b, salt, sizeof(salt));
	assert_int_equal(base64_decode(&b, BYTES_LIT("W22ZaJ0SNY7soEsUEjb6gQ==")), 0);
	assert_int_equal(
		PKCS5_PBKDF2_HMAC("pencil", 6, salt, (int)b.n, 4096, EVP_sha256(), 32, salted_key),
		1);
	HMAC(EVP_sha256(), salted_key, 32, (const uint8_t *)"Client Key", 10, client, NULL);
	SHA256(client, 32, stored);
	HMAC(EVP_sha256(), stored, 32, (const uint8_t *)auth, strlen(auth), sig, NULL);
	buf_init(&b, proof, sizeof(proof));
	assert_int_equal(base64_decode(&b, bytes_str(p + 3)), 0);
	assert_int_equal(b.n, 32);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(proof[i] ^ sig[i], client[i]);
	HMAC(EVP_sha256(), salted_key, 32, (const uint8_t *)"Server Key", 10, server, NULL);
	HMAC(EVP_sha256(), server, 32, (const uint8_t *)auth, strlen(auth), sig, NULL);
	buf_init(&b, signature, 63);
	buf_str(&b, "v=");
	base64_encode(&b, bytes_make(sig, 32));
	signature[b.n] = '\0';
}

static void test_auth_scram(void **state)
{
	(void)state;
	memset(&salted, 0, sizeof(salted));
	for (int i = 0; i < 3; i++) { /* from the second on, what was worked out is known */
		struct user u;
		struct scram_server v;
		char signature[64];
		begin_auth(&u, i != 2, "PLAIN SCRAM-SHA-256");
		scram_hear(&u, &v, "4096");
		scram_say(&u, v.first);
		scram_check(&u, &v, signature);
		scram_say(&u, signature);
		said(&u, "\r\n");
		dialogue(&u, "235 2.7.0 welcome\r\n", "MAIL FROM:<s@near.example>\r\n");
		assert_int_equal(salted.iterations, 4096);
	}
}

static void test_auth_scram_with_a_server_that_lies(void **state)
{
	struct user u;
	struct scram_server v;
	char signature[64];
	static const char *const turns[] = {"1", "4095", "1000001", "x", "-1", ""};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
		begin_auth(&u, true, "SCRAM-SHA-256");
		scram_hear(&u, &v, turns[i]);
		scram_say(&u, v.first);
		assert_int_equal(u.ends, 1);
	}
	/* Not our nonce, and nothing of its own. */
	for (int i = 0; i < 2; i++) {
		begin_auth(&u, true, "SCRAM-SHA-256");
		scram_hear(&u, &v, "4096");
		if (i == 0)
			v.first[3] ^= 1;
		else
			memmove(v.first + 2 + strlen(v.nonce), v.first + 5 + strlen(v.nonce),
				strlen(v.first + 5 + strlen(v.nonce)) + 1);
		scram_say(&u, v.first);
		assert_int_equal(u.ends, 1);
	}
	/* It does not know the password: a wrong signature, and success without one. */
	for (int i = 0; i < 2; i++) {
		begin_auth(&u, true, "SCRAM-SHA-256");
		scram_hear(&u, &v, "4096");
		scram_say(&u, v.first);
		scram_check(&u, &v, signature);
		signature[5] = signature[5] == 'A' ? 'B' : 'A';
		if (i == 0)
			scram_say(&u, signature);
		else
			dialogue(&u, "235 2.7.0 welcome\r\n", "");
		assert_int_equal(u.ends, 1);
		assert_int_equal(u.ready, 0);
	}
}

/* ---- what the peer offers, and what becomes of a message that is more ---- */

static void begin_ext(struct user *u, const char *ehlo)
{
	begin(u, 0);
	u->to_send = 0;
	dialogue(u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(u, ehlo, "");
	u->content_at = 0;
	memset(u->results, 0, sizeof(u->results));
}

static void send_it(struct user *u, const char *client)
{
	smtp_client_send(&u->client, &u->message);
	dialogue(u, "", client);
}

static void test_dsn_is_handed_on_where_it_is_offered(void **state)
{
	struct user u;

	(void)state;
	for (int dsn = 0; dsn < 2; dsn++) {
		begin_ext(&u, dsn ? "250-far\r\n250-PIPELINING\r\n250 DSN\r\n"
				  : "250-far\r\n250 PIPELINING\r\n");
		u.message.ret = RET_HDRS;
		u.message.envid = BYTES_LIT("QQ+2B1");
		u.dsn[0] = (struct dsn_rcpt){
			.notify = NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELIVERED,
			.orcpt = BYTES_LIT("rfc822;b+2Bc@d.example")};
		u.dsn[1].notify = NOTIFY_NEVER;
		send_it(&u, dsn ? "MAIL FROM:<s@near.example> RET=HDRS ENVID=QQ+2B1\r\n"
				  "RCPT TO:<a@far.example> NOTIFY=SUCCESS,FAILURE "
				  "ORCPT=rfc822;b+2Bc@d.example\r\n"
				  "RCPT TO:<b@far.example> NOTIFY=NEVER\r\nDATA\r\n"
				: "MAIL FROM:<s@near.example>\r\nRCPT TO:<a@far.example>\r\n"
				  "RCPT TO:<b@far.example>\r\nDATA\r\n");
	}
}

static void test_content_is_made_fit(void **state)
{
	static const struct {
		enum body_type body;
		const char *ehlo, *mail;
		int to; /* -1: as it is */
	} table[] = {
		{BODY_8BITMIME,   "250-far\r\n250 8BITMIME\r\n",
                 "MAIL FROM:<s@near.example> BODY=8BITMIME\r\n",                                                     -1           },
		{BODY_8BITMIME,   "250-far\r\n250 SIZE\r\n",                       "MAIL FROM:<s@near.example>\r\n",
                 BODY_7BIT													},
		{BODY_BINARYMIME, "250-far\r\n250-CHUNKING\r\n250 BINARYMIME\r\n",
                 "MAIL FROM:<s@near.example> BODY=BINARYMIME\r\n",                                                   -1           },
		{BODY_BINARYMIME, "250-far\r\n250-8BITMIME\r\n250 BINARYMIME\r\n",
                 "MAIL FROM:<s@near.example> BODY=8BITMIME\r\n",                                                     BODY_8BITMIME},
		{BODY_BINARYMIME, "250-far\r\n250 CHUNKING\r\n",                   "MAIL FROM:<s@near.example>\r\n",
                 BODY_7BIT													},
		{BODY_7BIT,       "250-far\r\n250 8BITMIME\r\n",                   "MAIL FROM:<s@near.example>\r\n", -1           },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct user u;
		begin_ext(&u, table[i].ehlo);
		u.message.body = (uint8_t)table[i].body;
		send_it(&u, table[i].mail);
		assert_int_equal(u.converts, table[i].to >= 0);
		if (table[i].to >= 0)
			assert_int_equal(u.to, table[i].to);
	}
}

/* Binary content goes with BDAT however small it is. */
static void test_binary_goes_in_chunks(void **state)
{
	struct user u;

	(void)state;
	begin_ext(&u, "250-far\r\n250-CHUNKING\r\n250 BINARYMIME\r\n");
	u.message.body = BODY_BINARYMIME;
	u.content = BYTES_LIT("a\n\r\0b");
	u.message.size = u.content.n;
	send_it(&u, "MAIL FROM:<s@near.example> BODY=BINARYMIME\r\n");
	dialogue(&u, "250 ok\r\n", "RCPT TO:<a@far.example>\r\n");
	dialogue(&u, "250 ok\r\n", "RCPT TO:<b@far.example>\r\n");
	smtp_client_input(&u.client, BYTES_LIT("250 ok\r\n"));
	flush(&u);
	assert_bytes_equal(bytes_make(u.wire, u.wire_n), BYTES_LIT("BDAT 5 LAST\r\na\n\r\0b"));
}

#define ACCENT "\xc3\xa9@far.example"

static void test_smtputf8(void **state)
{
	struct user u;

	(void)state;
	begin_ext(&u, "250-far\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n");
	u.message.smtputf8 = true;
	u.message.body = BODY_8BITMIME;
	u.rcpts[0] = ACCENT;
	u.message.rcpt_count = 1;
	send_it(&u, "MAIL FROM:<s@near.example> BODY=8BITMIME SMTPUTF8\r\n");
	dialogue(&u, "250 ok\r\n", "RCPT TO:<" ACCENT ">\r\n");
	assert_int_equal(u.converts, 0);
	/* Without it: who can be named gets it, with a header that has to be ASCII. */
	for (int at = 0; at < 3; at++) {
		for (int pipelined = 0; pipelined < 2; pipelined++) {
			begin_ext(&u, pipelined ? "250-far\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
						: "250-far\r\n250 8BITMIME\r\n");
			u.message.smtputf8 = true;
			u.message.rcpt_count = 3;
			u.rcpts[2] = "c@far.example";
			u.rcpts[at] = ACCENT;
			smtp_client_send(&u.client, &u.message);
			flush(&u);
			assert_int_equal(u.results[at], SMTP_RCPT_FAIL);
			assert_int_equal(u.replies[at].enhanced[2], 7);
			for (int i = 0; i < 4; i++) {
				smtp_client_input(&u.client,
					i == 3 ? BYTES_LIT("354 go\r\n") : BYTES_LIT("250 ok\r\n"));
				flush(&u);
			}
			smtp_client_input(&u.client, BYTES_LIT("250 taken\r\n"));
			assert_int_equal(u.message_ends, 1);
			for (int i = 0; i < 3; i++)
				assert_int_equal(u.results[i],
					i == at ? SMTP_RCPT_FAIL : SMTP_RCPT_DELIVERED);
			assert_int_equal(u.to, BODY_8BITMIME);
			assert_false(u.utf8);
			assert_null(memmem(u.wire, u.wire_n, "\xc3", 1));
		}
	}
	/* Nobody can be named, or the sender cannot. */
	begin_ext(&u, "250 far\r\n");
	u.message.smtputf8 = true;
	u.rcpts[0] = u.rcpts[1] = ACCENT;
	send_it(&u, "");
	assert_int_equal(u.message_ends, 1);
	u.message.sender = BYTES_LIT(ACCENT);
	memset(u.results, 0, sizeof(u.results));
	send_it(&u, "");
	assert_int_equal(u.message_ends, 2);
	assert_int_equal(u.replies[0].code, 553);
}

static void test_requiretls(void **state)
{
	static const struct {
		bool secured, verified;
		const char *ehlo;
		uint8_t detail;
	} table[] = {
		{true,  true,  "250-far\r\n250 REQUIRETLS\r\n", 0 },
		{true,  false, "250-far\r\n250 REQUIRETLS\r\n", 10},
		{false, true,  "250-far\r\n250 REQUIRETLS\r\n", 10},
		{true,  true,  "250-far\r\n250 SIZE\r\n",       30},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct user u;
		begin(&u, 0);
		u.to_send = 0;
		smtp_client_demand(
			&u.client, &(struct smtp_client_demand){.secured = table[i].secured,
					   .verified = table[i].verified});
		dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
		dialogue(&u, table[i].ehlo, "");
		u.message.requiretls = true;
		send_it(&u, table[i].detail ? "" : "MAIL FROM:<s@near.example> REQUIRETLS\r\n");
		if (table[i].detail) {
			assert_int_equal(u.results[0], SMTP_RCPT_FAIL);
			assert_int_equal(u.replies[0].enhanced[2], table[i].detail);
		}
	}
}

static void test_limits(void **state)
{
	struct user u;

	(void)state;
	begin_ext(&u, "250-far\r\n250 LIMITS MAILMAX=7 RCPTMAX=x RCPTDOMAINMAX=1 rcptmax=25\r\n");
	assert_int_equal(u.client.mail_max, 7);
	assert_int_equal(u.client.rcpt_max, 25);
}

static void test_content_that_cannot_be_made_fit(void **state)
{
	struct user u;

	(void)state;
	begin_ext(&u, "250 far\r\n");
	u.message.body = BODY_8BITMIME;
	send_it(&u, "MAIL FROM:<s@near.example>\r\n");
	smtp_client_content_refused(&u.client, "5.6.3", "marked");
	assert_int_equal(u.results[1], SMTP_RCPT_FAIL);
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
		cmocka_unit_test(test_auth_plain_and_login),
		cmocka_unit_test(test_auth_that_does_not_happen),
		cmocka_unit_test(test_auth_scram),
		cmocka_unit_test(test_auth_scram_with_a_server_that_lies),
		cmocka_unit_test(test_dsn_is_handed_on_where_it_is_offered),
		cmocka_unit_test(test_content_is_made_fit),
		cmocka_unit_test(test_binary_goes_in_chunks),
		cmocka_unit_test(test_smtputf8),
		cmocka_unit_test(test_requiretls),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_content_that_cannot_be_made_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

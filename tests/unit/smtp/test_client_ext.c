/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/client: AUTH, and what becomes of messages by the extensions that are offered. */
#include "tests/unit/smtp/client_user.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include "dataplane/base/codec.h"

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

/* Who measures a server chooses how it is spoken to. */
static void test_auth_by_choice(void **state)
{
	struct user u;

	(void)state;
	begin(&u, 0);
	smtp_client_demand(&u.client, &(struct smtp_client_demand){.secured = true,
					      .login = &login,
					      .salted = &salted,
					      .sasl = &sasl,
					      .mechanisms = SASL_CLIENT_PLAIN});
	dialogue(&u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(&u, "250-far\r\n250 AUTH SCRAM-SHA-256 LOGIN PLAIN\r\n",
		"AUTH PLAIN AHVzZXIAcGVuY2ls\r\n");
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

static void begin_as(struct user *u, const struct smtp_client_demand *demand, const char *ehlo)
{
	begin(u, 0);
	u->to_send = 0;
	smtp_client_demand(&u->client, demand);
	dialogue(u, "220 far\r\n", "EHLO mx.example.org\r\n");
	dialogue(u, ehlo, "");
}

static void test_what_is_ignored_is_not_used(void **state)
{
	static const char ehlo[] = "250-far\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
	struct user u;

	(void)state;
	begin_as(&u, &(struct smtp_client_demand){.ignored = SMTP_EXT_PIPELINING}, ehlo);
	assert_false(smtp_client_offers(&u.client, SMTP_EXT_PIPELINING));
	send_it(&u, "MAIL FROM:<s@near.example>\r\n");
	begin_as(&u, &(struct smtp_client_demand){.bdat_min = 1}, ehlo);
	send_it(&u, "MAIL FROM:<s@near.example>\r\nRCPT TO:<a@far.example>\r\n"
		    "RCPT TO:<b@far.example>\r\n");
	dialogue(
		&u, "250 ok\r\n250 ok\r\n250 ok\r\n", "BDAT 20 LAST\r\nSubject: x\r\n\r\n.dot\r\n");
	begin_as(&u, &(struct smtp_client_demand){.bdat_min = 1, .ignored = SMTP_EXT_CHUNKING},
		ehlo);
	send_it(&u, "MAIL FROM:<s@near.example>\r\nRCPT TO:<a@far.example>\r\n"
		    "RCPT TO:<b@far.example>\r\nDATA\r\n");
}

/* Which command is a verdict about? */
static void test_the_command_of_a_verdict(void **state)
{
	static const struct {
		const char *replies[3];
		enum smtp_client_command command;
	} table[] = {
		{{"550 no\r\n"},						 SMTP_COMMAND_MAIL},
		{{"250 ok\r\n550 no\r\n550 no\r\n"},                             SMTP_COMMAND_RCPT},
		{{"250 ok\r\n250 ok\r\n250 ok\r\n", "451 no\r\n"},               SMTP_COMMAND_DATA},
		{{"250 ok\r\n250 ok\r\n250 ok\r\n", "354 go\r\n", "451 no\r\n"}, SMTP_COMMAND_END },
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
		struct user u;
		begin_ext(&u, i % 2 ? "250-far\r\n250 PIPELINING\r\n" : "250 far\r\n");
		u.commands_of = true;
		smtp_client_send(&u.client, &u.message);
		flush(&u);
		for (size_t k = 0; k < 3 && table[i / 2].replies[k]; k++) {
			/* a reply at a time, as a client without pipelining wants it */
			struct bytes left = bytes_str(table[i / 2].replies[k]);
			while (left.n && u.message_ends == 0) {
				size_t n = (size_t)bytes_find(left, '\n', 0) + 1;
				smtp_client_input(&u.client, bytes_first(left, n));
				flush(&u);
				left = bytes_skip(left, n);
			}
		}
		assert_int_equal(u.command, table[i / 2].command);
	}
}

/* And when the connection ends instead. */
static void test_the_command_that_was_not_answered(void **state)
{
	struct user u;

	(void)state;
	begin(&u, 0);
	assert_int_equal(smtp_client_command(&u.client), SMTP_COMMAND_GREETING);
	smtp_client_disconnected(&u.client, "gone");
	assert_int_equal(smtp_client_command(&u.client), SMTP_COMMAND_GREETING);
	begin_ext(&u, "250 far\r\n");
	send_it(&u, "MAIL FROM:<s@near.example>\r\n");
	smtp_client_disconnected(&u.client, "gone");
	assert_int_equal(smtp_client_command(&u.client), SMTP_COMMAND_MAIL);
}

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

/* RFC 6710: said to who offers it, and only when there is something to say. */
static void test_priority(void **state)
{
	static const struct {
		const char *ehlo;
		int8_t priority;
		const char *mail;
	} table[] = {
		{"250-far\r\n250 MT-PRIORITY\r\n",            4,
                 "MAIL FROM:<s@near.example> MT-PRIORITY=4\r\n"                                   },
		{"250-far\r\n250 mt-priority STANAG4406\r\n", -9,
                 "MAIL FROM:<s@near.example> MT-PRIORITY=-9\r\n"                                  },
		{"250-far\r\n250 MT-PRIORITY\r\n",            0,  "MAIL FROM:<s@near.example>\r\n"},
		{"250-far\r\n250 DSN\r\n",                    4,  "MAIL FROM:<s@near.example>\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct user u;
		begin_ext(&u, table[i].ehlo);
		u.message.priority = table[i].priority;
		send_it(&u, table[i].mail);
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
		cmocka_unit_test(test_auth_plain_and_login),
		cmocka_unit_test(test_auth_by_choice),
		cmocka_unit_test(test_auth_that_does_not_happen),
		cmocka_unit_test(test_auth_scram),
		cmocka_unit_test(test_auth_scram_with_a_server_that_lies),
		cmocka_unit_test(test_dsn_is_handed_on_where_it_is_offered),
		cmocka_unit_test(test_content_is_made_fit),
		cmocka_unit_test(test_binary_goes_in_chunks),
		cmocka_unit_test(test_what_is_ignored_is_not_used),
		cmocka_unit_test(test_the_command_of_a_verdict),
		cmocka_unit_test(test_the_command_that_was_not_answered),
		cmocka_unit_test(test_smtputf8),
		cmocka_unit_test(test_requiretls),
		cmocka_unit_test(test_priority),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_content_that_cannot_be_made_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

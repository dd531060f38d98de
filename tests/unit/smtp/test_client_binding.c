/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/client and smtp/scram with each other: what an exchange is bound to, and that nobody in the
 * middle takes that out of it. */
#include "tests/unit/smtp/client_user.h"
#include <errno.h>
#include "dataplane/base/codec.h"

static const struct sasl_login login = {.user = "user", .password = "pencil"};
static struct sasl_salted salted;
static struct sasl_client sasl;
static struct scram_record record;

/* As far as AUTH, over TLS; mechanisms 0: all are wanted. */
static void begin_auth(
	struct user *u, size_t exporter, size_t end_point, const char *offered, unsigned mechanisms)
{
	char ehlo[128];

	begin(u, 0);
	u->binding[SCRAM_CHANNEL_EXPORTER] = exporter;
	u->binding[SCRAM_CHANNEL_END_POINT] = end_point;
	smtp_client_demand(&u->client, &(struct smtp_client_demand){.secured = true,
					       .login = &login,
					       .salted = &salted,
					       .sasl = &sasl,
					       .mechanisms = (uint8_t)mechanisms});
	dialogue(u, "220 far\r\n", "EHLO mx.example.org\r\n");
	snprintf(ehlo, sizeof(ehlo), "250-far\r\n250 AUTH %s\r\n", offered);
	smtp_client_input(&u->client, bytes_str(ehlo));
	flush(u);
}

/* What was sent in base64 behind the command (or alone); the wire is empty then. */
static struct bytes heard(struct user *u, const char *command, uint8_t memory[512])
{
	size_t n = strlen(command);
	struct buf text;

	assert_true(u->wire_n > n + 2);
	assert_memory_equal(u->wire, command, n);
	buf_init(&text, memory, 512);
	assert_int_equal(base64_decode(&text, bytes_make(u->wire + n, u->wire_n - n - 2)), 0);
	u->wire_n = 0;
	return buf_view(&text);
}

static void challenge(struct user *u, struct bytes text)
{
	uint8_t memory[600];
	struct buf line;

	buf_init(&line, memory, sizeof(memory));
	buf_str(&line, "334 ");
	base64_encode(&line, text);
	buf_str(&line, "\r\n");
	smtp_client_input(&u->client, buf_view(&line));
	while (smtp_client_works(&u->client))
		flush(u);
	flush(u);
}

/* The server's side from the first message on; returns its verdict on the proof. */
static int serve(struct user *u, const char *command, const char *gs2, enum scram_binding binding,
	struct bytes octets)
{
	uint8_t memory[512];
	struct scram s;

	struct bytes first = heard(u, command, memory);
	assert_memory_equal(first.p, gs2, strlen(gs2));
	assert_int_equal(scram_first(&s, first, binding), 0);
	assert_int_equal(scram_challenge(&s, &record, true), 0);
	challenge(u, scram_reply(&s));
	int err = scram_final(&s, heard(u, "", memory), octets);
	if (err == 0) {
		challenge(u, scram_reply(&s));
		u->wire_n = 0;
		dialogue(u, "235 2.7.0 welcome\r\n", "MAIL FROM:<s@near.example>\r\n");
	} else {
		dialogue(u, "535 5.7.8 no\r\n", "");
		assert_int_equal(u->ends, 1);
	}
	return err;
}

#define PLUS  "AUTH SCRAM-SHA-256-PLUS "
#define SCRAM "AUTH SCRAM-SHA-256 "
#define BOTH  "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"

static const uint8_t exporter[32] = {[0 ... 31] = SCRAM_CHANNEL_EXPORTER};
static const uint8_t end_point[48] = {[0 ... 47] = SCRAM_CHANNEL_END_POINT};
#define EXPORTER  bytes_make(exporter, sizeof(exporter))
#define END_POINT bytes_make(end_point, sizeof(end_point))

static void test_the_best_there_is(void **state)
{
	struct user u;

	(void)state;
	begin_auth(&u, 32, 48, BOTH, 0);
	assert_int_equal(serve(&u, PLUS, "p=tls-exporter,,n=user", SCRAM_BOUND, EXPORTER), 0);
	begin_auth(&u, 0, 48, BOTH, 0);
	assert_int_equal(
		serve(&u, PLUS, "p=tls-server-end-point,,n=user", SCRAM_BOUND, END_POINT), 0);
	/* Nothing to bind to. */
	begin_auth(&u, 0, 0, BOTH, 0);
	assert_int_equal(serve(&u, SCRAM, "n,,n=user", SCRAM_OFFERED, BYTES_NONE), 0);
	/* Who measures servers may want it otherwise. */
	begin_auth(&u, 32, 48, BOTH, SASL_CLIENT_SCRAM_SHA_256);
	assert_int_equal(serve(&u, SCRAM, "n,,n=user", SCRAM_OFFERED, BYTES_NONE), 0);
	begin_auth(&u, 0, 0, "SCRAM-SHA-256-PLUS", 0);
	assert_int_equal(u.ends, 1);
}

/* Somebody takes -PLUS out of what is offered: "y" tells the server. */
static void test_not_offered(void **state)
{
	uint8_t memory[512];
	struct user u;
	struct scram s;

	(void)state;
	begin_auth(&u, 32, 48, "PLAIN SCRAM-SHA-256", 0);
	assert_int_equal(serve(&u, SCRAM, "y,,n=user", SCRAM_UNBOUND, BYTES_NONE), 0);
	begin_auth(&u, 32, 48, "PLAIN SCRAM-SHA-256", 0);
	struct bytes first = heard(&u, SCRAM, memory);
	assert_int_equal(scram_first(&s, first, SCRAM_OFFERED), -EINVAL);
}

/* Somebody in the middle has another session with the server, and perhaps another certificate. */
static void test_another_channel(void **state)
{
	struct user u;

	(void)state;
	begin_auth(&u, 32, 0, BOTH, 0);
	assert_int_equal(serve(&u, PLUS, "p=tls-exporter,,", SCRAM_BOUND, END_POINT), -EACCES);
	begin_auth(&u, 0, 48, BOTH, 0);
	assert_int_equal(
		serve(&u, PLUS, "p=tls-server-end-point,,", SCRAM_BOUND, EXPORTER), -EACCES);
}

/* A server that offers -PLUS and knows only the older kind: the next session tries that; and when
 * it is no better, the first one again.  Never is it left unbound. */
static void test_the_other_kind_next(void **state)
{
	struct user u;

	(void)state;
	memset(&salted, 0, sizeof(salted));
	begin_auth(&u, 32, 48, BOTH, 0);
	assert_int_equal(serve(&u, PLUS, "p=tls-exporter,,", SCRAM_BOUND, BYTES_NONE), -EACCES);
	assert_true(salted.iterations > 0);
	begin_auth(&u, 32, 48, BOTH, 0);
	assert_int_equal(
		serve(&u, PLUS, "p=tls-server-end-point,,", SCRAM_BOUND, BYTES_NONE), -EACCES);
	begin_auth(&u, 32, 48, BOTH, 0);
	assert_int_equal(serve(&u, PLUS, "p=tls-exporter,,", SCRAM_BOUND, BYTES_NONE), -EACCES);
	begin_auth(&u, 32, 48, BOTH, 0);
	assert_int_equal(serve(&u, PLUS, "p=tls-server-end-point,,", SCRAM_BOUND, END_POINT), 0);
	begin_auth(&u, 32, 48, BOTH, 0);
	assert_int_equal(serve(&u, PLUS, "p=tls-server-end-point,,", SCRAM_BOUND, END_POINT), 0);
}

static int group_setup(void **state)
{
	(void)state;
	return scram_derive(&record, bytes_str(login.password));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_best_there_is),
		cmocka_unit_test(test_not_offered),
		cmocka_unit_test(test_another_channel),
		cmocka_unit_test(test_the_other_kind_next),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}

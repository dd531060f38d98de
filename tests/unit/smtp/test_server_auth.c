/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server: passwords that are asked of a helper, and what guessing costs. */
#include "tests/unit/smtp/server_bed.h"
#include "dataplane/base/codec.h"

#define LOGINS 8

/* The helper, played by the test: the password "right" is right. */
static struct {
	struct authenticator public;
	struct auth_question asked[LOGINS];
	bool right[LOGINS];
	unsigned n;
} helper;

static bool ask(struct authenticator *a, const struct auth_question *q)
{
	(void)a;
	assert_true(helper.n < LOGINS);
	helper.right[helper.n] = bytes_eq(q->password, BYTES_LIT("right"));
	helper.asked[helper.n++] = *q;
	return true;
}

static struct auth_lookup looked_up;

static bool look_up(struct authenticator *a, const struct auth_lookup *q)
{
	(void)a;
	looked_up = *q;
	return true;
}

/* Of a user who is nobody. */
static void record_comes(void)
{
	static const uint8_t secret[16] = "sixteen octets.";
	struct scram_record r;

	scram_fake(&r, BYTES_LIT("nobody"), secret);
	looked_up.done(looked_up.ctx, looked_up.generation, false, false, 0, &r);
}

static void helper_answers(void)
{
	unsigned n = helper.n;

	helper.n = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct auth_question *q = &helper.asked[i];
		q->done(q->ctx, q->generation, helper.right[i] ? AUTH_RIGHT : AUTH_WRONG, 7);
	}
}

static void open_with_auth(void)
{
	struct smtp_server_conf conf = {.authenticator = &helper.public};

	memset(&helper, 0, sizeof(helper));
	helper.public.ask = ask;
	helper.public.look_up = look_up;
	guess_init();
	conf.services[0] =
		(struct smtp_service){.submission = true, .auth = true, .auth_in_clear = true};
	bed_open(4, conf);
	bed.policy.command_timeout_us = 300 * US_PER_SEC;
}

static void login(unsigned i, const char *password)
{
	char plain[64], line[128];
	struct buf out;
	int n = snprintf(plain, sizeof(plain), "%cu%u@local.example.org%c%s", 0, i, 0, password);

	buf_init(&out, line, sizeof(line));
	buf_str(&out, "AUTH PLAIN ");
	base64_encode(&out, bytes_make(plain, (size_t)n));
	buf_str(&out, "\r\n");
	say(i, buf_view(&out));
}

/* So many seconds later, and not before, it is answered. */
static void answered_after(unsigned i, unsigned seconds, const char *reply)
{
	if (seconds > 1) {
		advance((seconds - 1) * US_PER_SEC);
		assert_string_equal(heard(i), "");
	}
	advance(2 * US_PER_SEC);
	assert_memory_equal(heard(i), reply, strlen(reply));
}

static void test_case_29_wrong_passwords_are_answered_late(void **state)
{
	static const unsigned seconds[] = {2, 4, 8};

	(void)state;
	open_with_auth();
	for (unsigned i = 0; i < ARRAY_LEN(seconds); i++) {
		greet(i);
		login(i, "wrong");
		assert_string_equal(heard(i), "");
		helper_answers();
		answered_after(i, seconds[i], "535 5.7.8");
	}
	bed_close();
}

static void test_case_29_hanging_up_tells_nothing(void **state)
{
	(void)state;
	open_with_auth();
	for (unsigned i = 0; i < 3; i++) {
		greet(i);
		login(i, "wrong");
		helper_answers();
		bed.peer[i].s->ops->on_close(bed.peer[i].s, STREAM_RESET);
		bed.peer[i].aborted = true;
	}
	/* Otherwise the time to the answer would say that this one is right. */
	greet(3);
	login(3, "right");
	helper_answers();
	answered_after(3, 4, "235 2.7.0");
	bed_close();
}

static void test_a_right_password_is_answered_at_once(void **state)
{
	(void)state;
	open_with_auth();
	greet(0);
	login(0, "right");
	helper_answers();
	assert_memory_equal(heard(0), "235 2.7.0", 9);
	bed_close();
}

static void test_case_29_logins_of_a_peer_at_once(void **state)
{
	(void)state;
	open_with_auth();
	for (unsigned i = 0; i < AUTH_PEER_MAX; i++) {
		greet(i);
		login(i, "wrong");
		assert_string_equal(heard(i), "");
	}
	greet(5);
	login(5, "right");
	assert_memory_equal(heard(5), "454 4.7.0", 9);
	helper_answers();
	/* Their answers are late, and so long they are under way. */
	login(5, "right");
	assert_memory_equal(heard(5), "454 4.7.0", 9);
	advance(16 * US_PER_SEC);
	login(5, "right");
	helper_answers();
	answered_after(5, 4, "235 2.7.0");
	bed_close();
}

static void test_case_29_the_peer_goes_while_it_is_asked(void **state)
{
	(void)state;
	open_with_auth();
	for (unsigned round = 0; round < 2 * AUTH_PEER_MAX; round++) {
		greet(0);
		login(0, "right");
		bed.peer[0].s->ops->on_close(bed.peer[0].s, STREAM_RESET);
		bed.peer[0].aborted = true;
		helper_answers();
	}
	greet(0);
	login(0, "right");
	helper_answers();
	assert_memory_equal(heard(0), "235 2.7.0", 9);
	bed_close();
}

/* A challenge is made of what the exchange keeps: of one that has gone in part only, to a peer that
 * reads no more, nothing can be made when the exchange is over. */
static void challenge_in_part(unsigned i, size_t octets)
{
	static const char line[] = "AUTH SCRAM-SHA-256 biwsbj1ub2JvZHkscj1i\r\n";

	greet(i);
	bed.peer[i].space = octets;
	say(i, BYTES_LIT(line));
	record_comes();
	assert_int_equal(bed.peer[i].out_n, octets);
}

static void test_the_end_in_the_midst_of_a_challenge(void **state)
{
	(void)state;
	open_with_auth();
	/* Its time is up, or it speaks out of turn. */
	challenge_in_part(0, 80);
	advance(301 * US_PER_SEC);
	challenge_in_part(1, 5);
	bed.peer[1].unacked = 5;
	say(1, BYTES_LIT("*\r\n"));
	/* Nothing of it has gone: the reason is told. */
	challenge_in_part(2, 0);
	smtp_server_drain(bed.server);
	for (unsigned i = 0; i < 3; i++) {
		bed.peer[i].space = 1000;
		if (!bed.peer[i].closed)
			bed.peer[i].s->ops->on_writable(bed.peer[i].s);
		assert_true(bed.peer[i].closed);
	}
	assert_int_equal(bed.peer[0].out_n, 80);
	assert_int_equal(bed.peer[1].out_n, 5);
	assert_memory_equal(heard(2), "421 4.3.2", 9);
	bed_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_case_29_wrong_passwords_are_answered_late),
		cmocka_unit_test(test_case_29_hanging_up_tells_nothing),
		cmocka_unit_test(test_a_right_password_is_answered_at_once),
		cmocka_unit_test(test_case_29_logins_of_a_peer_at_once),
		cmocka_unit_test(test_case_29_the_peer_goes_while_it_is_asked),
		cmocka_unit_test(test_the_end_in_the_midst_of_a_challenge),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

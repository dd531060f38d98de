/* SPDX-License-Identifier: BSD-3-Clause
 * Dialogues with the POP3 engine over a store in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "dataplane/base/rt/eal.h"
#include "store/pop3/pop3_session.h"
#include "tests/unit/imap/fake_host.h"

#define LOGIN "USER user1@example.org\r\nPASS secret word\r\n"

static struct fake f;
static struct fake_box *inbox;

static const char small[] = "Subject: one\r\nX: y\r\n\r\nline 1\r\n.line 2\r\n..\r\nline 4\r\n";

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	inbox = fake_box_add(&f, "INBOX");
	fake_message_add(&f, inbox, small, sizeof(small) - 1, 0);
	fake_message_add(&f, inbox, "A: b\r\n\r\nno newline", 18, 0);
	fake_message_add(&f, inbox, ".", 1, 0);
	fake_start(&f, sizeof(struct pop3_session), pop3_session_init);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop(&f);
	assert_int_equal(chunk_pool_free_count(), chunk_pool_size());
	return 0;
}

static const char *say(const char *text)
{
	return fake_talk(&f, text, strlen(text), 0);
}

static void login(void)
{
	assert_string_equal(say(LOGIN), "+OK send PASS\r\n+OK 3 messages (70 octets)\r\n");
}

static void test_login_and_lists(void **state)
{
	(void)state;
	login();
	assert_true(f.locked);
	assert_string_equal(say("STAT\r\n"), "+OK 3 70\r\n");
	assert_string_equal(
		say("LIST\r\n"), "+OK the list follows\r\n1 51\r\n2 18\r\n3 1\r\n.\r\n");
	assert_string_equal(say("list 2\r\n"), "+OK 2 18\r\n");
	assert_string_equal(say("UIDL 2\r\n"), "+OK 2 000003e800000002\r\n");
	assert_string_equal(say("UIDL\r\n"),
		"+OK the list follows\r\n1 000003e800000001\r\n2 000003e800000002\r\n"
		"3 000003e800000003\r\n.\r\n");
	assert_string_equal(say("LIST 4\r\n"), "-ERR no such message\r\n");
	assert_string_equal(say("LIST 0\r\n"), "-ERR no such message\r\n");
	assert_string_equal(say("LIST 1 2\r\n"), "-ERR too many arguments\r\n");
}

static void test_dialogue_is_the_same_at_every_split(void **state)
{
	static const char talk[] = LOGIN "STAT\r\nRETR 1\r\nTOP 1 1\r\nDELE 2\r\nLIST\r\nNOOP\r\n";
	char *whole;

	(void)state;
	whole = strdup(fake_talk(&f, talk, sizeof(talk) - 1, 0));
	for (size_t piece = 1; piece < 40; piece++) {
		char *all = calloc(1, 65536);
		fake_stop(&f);
		setup(NULL);
		for (size_t at = 0; at < sizeof(talk) - 1; at += piece) {
			size_t n = MIN(piece, sizeof(talk) - 1 - at);
			strcat(all, fake_talk(&f, talk + at, n, 0));
		}
		assert_string_equal(all, whole);
		free(all);
	}
	free(whole);
}

static void test_retr_stuffs_dots_whatever_the_slices(void **state)
{
	(void)state;
	login();
	for (uint32_t octets = 0; octets < 60; octets++) {
		f.slice_octets = octets;
		assert_string_equal(say("RETR 1\r\n"),
			"+OK 51 octets\r\nSubject: one\r\nX: y\r\n\r\nline 1\r\n..line 2\r\n...\r\n"
			"line 4\r\n.\r\n");
		assert_string_equal(
			say("RETR 2\r\n"), "+OK 18 octets\r\nA: b\r\n\r\nno newline\r\n.\r\n");
		assert_string_equal(say("RETR 3\r\n"), "+OK 1 octets\r\n..\r\n.\r\n");
	}
}

static void test_top_counts_body_lines(void **state)
{
	(void)state;
	login();
	for (uint32_t octets = 0; octets < 60; octets++) {
		f.slice_octets = octets;
		assert_string_equal(
			say("TOP 1 0\r\n"), "+OK 51 octets\r\nSubject: one\r\nX: y\r\n\r\n.\r\n");
		assert_string_equal(say("TOP 1 2\r\n"),
			"+OK 51 octets\r\nSubject: one\r\nX: y\r\n\r\nline 1\r\n..line 2\r\n.\r\n");
		assert_string_equal(
			say("TOP 2 100\r\n"), "+OK 18 octets\r\nA: b\r\n\r\nno newline\r\n.\r\n");
	}
}

static void test_large_message_arrives_whole(void **state)
{
	size_t n = 700 * 1000;
	char *text = malloc(n + 1);

	(void)state;
	for (size_t i = 0; i < n; i++)
		text[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : (char)('a' + i % 26);
	fake_message_add(&f, inbox, text, n, 0);
	say(LOGIN);
	const char *out = say("RETR 4\r\n");
	assert_int_equal(strlen(out), strlen("+OK 700000 octets\r\n") + n + 3);
	assert_memory_equal(strchr(out, '\n') + 1, text, n);
	free(text);
}

static void test_quit_deletes_what_was_marked(void **state)
{
	(void)state;
	login();
	assert_string_equal(say("DELE 1\r\n"), "+OK marked for deletion\r\n");
	assert_string_equal(say("RETR 1\r\n"), "-ERR no such message\r\n");
	assert_string_equal(say("STAT\r\n"), "+OK 2 19\r\n");
	assert_string_equal(say("RSET\r\n"), "+OK\r\n");
	assert_string_equal(say("DELE 2\r\nDELE 3\r\n"),
		"+OK marked for deletion\r\n+OK marked for deletion\r\n");
	assert_string_equal(say("QUIT\r\n"), "+OK goodbye\r\n");
	assert_true(f.engine->ended);
	assert_false(f.locked);
	assert_int_equal(inbox->count, 1);
	assert_int_equal(inbox->messages[0].row.uid, 1);
}

static void test_lost_connection_deletes_nothing(void **state)
{
	(void)state;
	login();
	say("DELE 1\r\n");
	fake_hangup(&f);
	assert_int_equal(inbox->count, 3);
}

static void test_hangup_while_reading_frees_everything(void **state)
{
	(void)state;
	login();
	f.hold = true;
	say("RETR 1\r\n");
	assert_non_null(f.pending);
	fake_hangup(&f);
	assert_false(f.engine->busy);
}

static void test_wrong_password_waits(void **state)
{
	(void)state;
	say("USER user1@example.org\r\n");
	assert_string_equal(say("PASS nothing\r\n"), "-ERR [AUTH] wrong name or password\r\n");
	assert_int_equal(f.timer_us, 2000000);
	f.login_force = LOGIN_BUSY;
	say("USER user1@example.org\r\n");
	assert_string_equal(say("PASS secret word\r\n"), "-ERR [SYS/TEMP] try again later\r\n");
}

static void test_second_session_is_told_in_use(void **state)
{
	(void)state;
	f.lock_refused = true;
	assert_string_equal(
		say(LOGIN), "+OK send PASS\r\n-ERR [IN-USE] another session has this mailbox\r\n");
}

static void test_no_login_without_tls(void **state)
{
	(void)state;
	f.engine->plaintext_login = false;
	assert_string_equal(say("USER a\r\n"), "-ERR [AUTH] no logins without TLS\r\n");
	assert_null(strstr(say("CAPA\r\n"), "USER"));
}

static void test_stls_is_the_last_word_in_clear(void **state)
{
	(void)state;
	assert_string_equal(say("STLS\r\n"), "-ERR no TLS here\r\n");
	f.engine->tls_offered = true;
	assert_non_null(strstr(say("CAPA\r\n"), "\r\nSTLS\r\n"));
	/* neither the name nor what was sent behind it is good any more */
	assert_string_equal(say("USER user1@example.org\r\n"), "+OK send PASS\r\n");
	assert_string_equal(say("STLS\r\nSTLS\r\n"), "+OK begin TLS\r\n");
	assert_true(f.engine->wants_tls);
	assert_false(f.engine->ops->wants_input(f.engine));
	f.engine->wants_tls = false;
	f.engine->secure = true;
	assert_string_equal(say("PASS secret word\r\n"), "-ERR send USER first\r\n");
	assert_string_equal(say("STLS\r\n"), "-ERR TLS is there already\r\n");
	assert_null(strstr(say("CAPA\r\n"), "STLS"));
	f.engine->plaintext_login = false;
	login();
	assert_string_equal(say("STLS\r\n"), "-ERR not now\r\n");
}

static void test_errors(void **state)
{
	char line[POP3_LINE_MAX + 100];

	(void)state;
	assert_string_equal(say("STAT\r\n"), "-ERR not now\r\n");
	assert_string_equal(say("FOO\r\n"), "-ERR unknown command\r\n");
	assert_string_equal(say("NOOP\n"), "-ERR lines end in CRLF\r\n");
	memset(line, 'x', sizeof(line));
	memcpy(line + sizeof(line) - 3, "\r\n", 3);
	assert_string_equal(say(line), "-ERR line too long\r\n");
	assert_string_equal(say("PASS x\r\n"), "-ERR send USER first\r\n");
	for (unsigned i = 0; i < POP3_ERRORS_MAX; i++)
		say("FOO\r\n");
	assert_true(f.engine->ended);
}

static void test_store_errors(void **state)
{
	(void)state;
	f.fail_status = -EIO;
	assert_string_equal(
		say(LOGIN), "+OK send PASS\r\n-ERR [SYS/TEMP] the mailbox cannot be read now\r\n");
	login();
	f.fail_status = -EIO;
	assert_string_equal(say("RETR 1\r\n"), "-ERR [SYS/TEMP] cannot be read now\r\n");
	f.fail_status = -ENOBUFS;
	assert_non_null(strstr(say("RETR 1\r\n"), "line 4\r\n.\r\n"));
	say("DELE 1\r\n");
	f.fail_status = -EIO;
	assert_string_equal(say("QUIT\r\n"), "-ERR [SYS/TEMP] some messages were not deleted\r\n");
}

static void test_list_in_slices(void **state)
{
	(void)state;
	f.slice_rows = 1;
	login();
	assert_string_equal(say("LIST 3\r\n"), "+OK 3 1\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_login_and_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_dialogue_is_the_same_at_every_split, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_retr_stuffs_dots_whatever_the_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_top_counts_body_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_message_arrives_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quit_deletes_what_was_marked, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_lost_connection_deletes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_hangup_while_reading_frees_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_password_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_second_session_is_told_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_login_without_tls, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_stls_is_the_last_word_in_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list_in_slices, setup, teardown),
	};

	eal_start_for_tests(64);
	if (chunk_pool_init(2048, -1) < 0)
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	chunk_pool_fini();
	return failed;
}

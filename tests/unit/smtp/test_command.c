/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/command, smtp/param: lines to verbs, parameters to values. */
#include "tests/unit/smtp/unit.h"
#include "smtp/command.h"
#include "smtp/param.h"

static enum command_verdict parse(struct bytes in, struct command *cmd, size_t *used)
{
	return command_parse(in, cmd, used);
}

static void test_verb_and_argument(void **state)
{
	struct command cmd;
	size_t used;

	(void)state;
	assert_int_equal(parse(BYTES_LIT("mail FROM:<a@b>  \r\nNEXT"), &cmd, &used), COMMAND_OK);
	assert_int_equal(cmd.verb, COMMAND_MAIL);
	assert_bytes_equal(cmd.argument, BYTES_LIT("FROM:<a@b>"));
	assert_int_equal(used, 19);
	assert_int_equal(parse(BYTES_LIT("Quit\r\n"), &cmd, &used), COMMAND_OK);
	assert_int_equal(cmd.verb, COMMAND_QUIT);
	assert_int_equal(cmd.argument.n, 0);
	assert_int_equal(parse(BYTES_LIT("QUIT \t \r\n"), &cmd, &used), COMMAND_OK);
	assert_int_equal(cmd.verb, COMMAND_QUIT);
	assert_int_equal(parse(BYTES_LIT("\r\n"), &cmd, &used), COMMAND_OK);
	assert_int_equal(cmd.verb, COMMAND_UNKNOWN);
}

static void test_every_prefix_wants_more(void **state)
{
	static const char line[] = "RCPT TO:<alice@local.example.org>\r\n";
	struct command cmd;
	size_t used;

	(void)state;
	for (size_t n = 0; n < sizeof(line) - 1; n++) {
		uint8_t *copy = malloc(n + !n);
		memcpy(copy, line, n);
		assert_int_equal(parse(bytes_make(copy, n), &cmd, &used), COMMAND_MORE);
		assert_int_equal(used, 0);
		free(copy);
	}
	assert_int_equal(parse(BYTES_LIT(line), &cmd, &used), COMMAND_OK);
}

static void test_only_crlf_ends_a_line(void **state)
{
	struct command cmd;
	size_t used;

	(void)state;
	assert_int_equal(parse(BYTES_LIT("NOOP\n"), &cmd, &used), COMMAND_MORE);
	assert_int_equal(parse(BYTES_LIT("NOOP\r"), &cmd, &used), COMMAND_MORE);
	assert_int_equal(parse(BYTES_LIT("NOOP\n\r"), &cmd, &used), COMMAND_MORE);
	assert_int_equal(parse(BYTES_LIT("NOOP\nRSET\r\n"), &cmd, &used), COMMAND_BAD);
	assert_int_equal(used, 11);
	assert_int_equal(parse(BYTES_LIT("NOOP\rRSET\r\n"), &cmd, &used), COMMAND_BAD);
	assert_int_equal(parse(BYTES_LIT("NOOP\0\r\n"), &cmd, &used), COMMAND_BAD);
}

static void test_length_limits(void **state)
{
	uint8_t line[2048];
	struct command cmd;
	size_t used;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "MAIL ", 5);
	memcpy(line + 1198, "\r\n", 2);
	assert_int_equal(parse(bytes_make(line, 1200), &cmd, &used), COMMAND_OK);
	memset(line + 1198, 'x', 2);
	memcpy(line + 1199, "\r\n", 2);
	assert_int_equal(parse(bytes_make(line, 1201), &cmd, &used), COMMAND_TOO_LONG);
	assert_int_equal(used, 1201);
	memset(line, 'x', sizeof(line));
	assert_int_equal(parse(bytes_make(line, SMTP_LINE_MAX - 1), &cmd, &used), COMMAND_MORE);
	assert_int_equal(parse(bytes_make(line, SMTP_LINE_MAX), &cmd, &used), COMMAND_TOO_LONG);
	assert_int_equal(used, 0);
}

static void test_other_protocols(void **state)
{
	static const char *const lines[] = {"GET / HTTP/1.1\r\n", "Host: x\r\n", "X-Y:z\r\n"};
	struct command cmd;
	size_t used;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++)
		assert_int_equal(parse(bytes_str(lines[i]), &cmd, &used), COMMAND_FOREIGN);
	assert_true(command_looks_like_tls(BYTES_LIT("\x16\x03\x01")));
	assert_false(command_looks_like_tls(BYTES_LIT("EHLO")));
	assert_false(command_looks_like_tls(BYTES_NONE));
}

static const struct {
	const char *in;
	unsigned of;
	enum param_verdict want;
} params[] = {
	{"",			    PARAMS_OF_MAIL,               PARAM_OK     },
	{" ",			   PARAMS_OF_MAIL,               PARAM_OK     },
	{" SIZE=1",		     PARAMS_OF_MAIL,               PARAM_OK     },
	{" size=1  body=7bit ",         PARAMS_OF_MAIL,               PARAM_OK     },
	{" SIZE=1",		     PARAMS_OF_RCPT,               PARAM_UNKNOWN},
	{"SIZE=1",		      PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" SIZE=",		      PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" SIZE",		       PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" SIZE=1x",                    PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" SIZE=1 SIZE=1",              PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" SIZE=000000000000000000001", PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" BODY=8BITMIME",              PARAMS_OF_MAIL,               PARAM_OK     },
	{" BODY=BINARYMIME",            PARAMS_OF_MAIL,               PARAM_OK     },
	{" BODY=BINARY",                PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" NOTIFY=NEVER",               PARAMS_OF_RCPT,               PARAM_OK     },
	{" NOTIFY=NEVER",               PARAMS_OF_MAIL,               PARAM_UNKNOWN},
	{" SMTPUTF8",                   PARAMS_OF_MAIL,               PARAM_OK     },
	{" SMTPUTF8=x",                 PARAMS_OF_MAIL,               PARAM_SYNTAX },
	{" ORCPT=utf-8;\xc3\xa4",       PARAMS_OF_RCPT,               PARAM_SYNTAX },
	{" ORCPT=utf-8;\xc3\xa4",       PARAMS_OF_RCPT | PARAMS_UTF8, PARAM_OK     },
	{" ORCPT=utf-8;\xc3",           PARAMS_OF_RCPT | PARAMS_UTF8, PARAM_SYNTAX },
	{" =",			  PARAMS_OF_RCPT,               PARAM_SYNTAX },
	{" A=\x80",		     PARAMS_OF_RCPT,               PARAM_SYNTAX },
};

static void test_parameters(void **state)
{
	struct params p;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(params); i++)
		assert_int_equal(
			params_parse(bytes_str(params[i].in), params[i].of, &p), params[i].want);
	assert_int_equal(
		params_parse(BYTES_LIT(" SIZE=12345 BODY=8BITMIME"), PARAMS_OF_MAIL, &p), PARAM_OK);
	assert_int_equal(p.size, 12345);
	assert_int_equal(p.body, BODY_8BITMIME);
	assert_int_equal(params_parse(BYTES_LIT(" SIZE=99999999999999999999"), PARAMS_OF_MAIL, &p),
		PARAM_OK);
	assert_true(p.size == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verb_and_argument),
		cmocka_unit_test(test_every_prefix_wants_more),
		cmocka_unit_test(test_only_crlf_ends_a_line),
		cmocka_unit_test(test_length_limits),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_parameters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/reply, smtp/reply_parse: what we say, and what peers say. */
#include "tests/unit/smtp/unit.h"
#include "smtp/reply.h"
#include "smtp/reply_parse.h"

static const struct reply_args args = {.hostname = "mx.example.org", .size_max = 1, .id = 0xabc};

static void test_every_row_is_a_reply(void **state)
{
	(void)state;
	for (unsigned i = REPLY_SUBMITTED + 1; i < REPLY_N; i++) {
		uint8_t memory[REPLY_OCTETS_MAX];
		struct reply_parser p;
		struct buf out;
		size_t used;

		buf_init(&out, memory, sizeof(memory));
		reply_format((enum reply_id)i, &args, &out);
		assert_false(out.overflow);
		reply_parser_init(&p);
		struct bytes rest = buf_view(&out);
		enum reply_verdict v;
		do {
			v = reply_parse(&p, rest, &used);
			rest = bytes_skip(rest, used);
		} while (v == REPLY_LINE);
		assert_int_equal(v, REPLY_DONE);
		assert_int_equal(rest.n, 0);
		assert_int_equal(p.info.code, reply_code((enum reply_id)i));
		/* RFC 3463: the class is the first digit of the code. */
		if (*reply_enhanced((enum reply_id)i))
			assert_int_equal(p.info.enhanced[0], p.info.code / 100);
		else
			assert_true(p.info.code < 400 && p.info.enhanced[0] == 0);
	}
}

static void test_longest_host_name_fits(void **state)
{
	uint8_t memory[REPLY_OCTETS_MAX];
	char name[256];
	struct buf out;

	(void)state;
	memset(name, 'x', 255);
	name[255] = '\0';
	const struct reply_args longest = {.hostname = name, .size_max = UINT64_MAX};
	buf_init(&out, memory, sizeof(memory));
	reply_format(REPLY_EHLO, &longest, &out);
	assert_false(out.overflow);
}

/* What is withheld is not in the reply, whose lines are still whole and end. */
static void test_extensions_are_withheld(void **state)
{
	static const struct {
		unsigned bit;
		const char *words[4];
	} rows[] = {
		{EHLO_NO_PIPELINING, {"PIPELINING"}                        },
		{EHLO_NO_8BITMIME,   {"8BITMIME", "BINARYMIME", "SMTPUTF8"}},
		{EHLO_NO_DSN,        {"DSN"}                               },
		{EHLO_NO_ENHANCED,   {"ENHANCEDSTATUSCODES"}               },
	};

	(void)state;
	for (unsigned with = 0; with < 1u << ARRAY_LEN(rows); with++) {
		struct reply_args some = args;
		char text[REPLY_OCTETS_MAX + 1] = "";
		struct buf out;

		for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
			some.ehlo |= with >> i & 1 ? rows[i].bit : 0;
		buf_init(&out, (uint8_t *)text, REPLY_OCTETS_MAX);
		reply_format(REPLY_EHLO, &some, &out);
		text[out.n] = '\0';
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
			for (const char *const *w = rows[i].words; *w; w++)
				assert_int_equal(strstr(text, *w) == NULL, with >> i & 1);
		}
		const char *last = strstr(text, "\r\n250 ");
		assert_non_null(last);
		assert_ptr_equal(strstr(last + 2, "\r\n"), text + out.n - 2);
	}
}

static void test_words_of_the_listener(void **state)
{
	uint8_t memory[REPLY_OCTETS_MAX];
	struct reply_args some = args;
	struct buf out;

	(void)state;
	some.soft = "451 4.7.1 Come back later";
	some.hard = "553 5.1.8 Not you";
	some.ehlo = EHLO_NO_ESMTP;
	buf_init(&out, memory, sizeof(memory));
	reply_format(REPLY_SOFT, &some, &out);
	reply_format(REPLY_HARD, &some, &out);
	reply_format(REPLY_GREETING, &some, &out);
	assert_bytes_equal(
		buf_view(&out), BYTES_LIT("451 4.7.1 Come back later\r\n553 5.1.8 Not you\r\n"
					  "220 mx.example.org SMTP bypost\r\n"));
}

static void test_id_is_sixteen_digits(void **state)
{
	uint8_t memory[REPLY_OCTETS_MAX];
	struct buf out;

	(void)state;
	buf_init(&out, memory, sizeof(memory));
	reply_format(REPLY_QUEUED, &args, &out);
	assert_bytes_equal(
		buf_view(&out), BYTES_LIT("250 2.0.0 Ok: queued as 0000000000000abc\r\n"));
}

/* Feed in pieces cut at `cut` and `cut2`; returns the last verdict. */
static enum reply_verdict feed(struct reply_parser *p, struct bytes in, size_t cut, size_t cut2)
{
	const size_t ends[] = {MIN(cut, in.n), MIN(cut2, in.n), in.n};
	enum reply_verdict v = REPLY_MORE;
	size_t at = 0;

	for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
		while (at < ends[i] && v != REPLY_BAD) {
			size_t used;
			v = reply_parse(p, bytes_make(in.p + at, ends[i] - at), &used);
			assert_true(used > 0);
			at += used;
		}
	}
	return v;
}

static const struct {
	const char *in;
	unsigned code;
	const char *text;
	uint8_t enhanced[3];
} good[] = {
	{"250 ok\r\n",			      250, "ok",                  {0}      },
	{"250\r\n",				 250, "",                    {0}      },
	{"250 2.1.5 fine\r\n",                      250, "fine",                {2, 1, 5}},
	{"550-5.1.1 no such\r\n550 5.1.1 user\r\n", 550, "no such user",        {5, 1, 1}},
	{"451 5.1.1 another class\r\n",             451, "5.1.1 another class", {0}      },
	{"451 4.300.1 too high\r\n",                451, "4.300.1 too high",    {0}      },
	{"250-a\r\n250-b\r\n250 c\r\n",             250, "a b c",               {0}      },
	{"421 \x01\xff"
	 "bell\r\n",		       421, "??bell",              {0}      },
};

static void test_replies_at_every_split(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		struct bytes in = bytes_str(good[i].in);
		for (size_t a = 0; a <= in.n; a++) {
			for (size_t b = a; b <= in.n; b++) {
				struct reply_parser p;
				reply_parser_init(&p);
				assert_int_equal(feed(&p, in, a, b), REPLY_DONE);
				assert_int_equal(p.info.code, good[i].code);
				assert_bytes_equal(bytes_make(p.info.text, p.info.text_n),
					bytes_str(good[i].text));
				assert_memory_equal(p.info.enhanced, good[i].enhanced, 3);
			}
		}
	}
}

static void test_byte_by_byte(void **state)
{
	static const char in[] = "250-one\r\n250 two\r\n354 go\r\n";
	struct reply_parser p;
	unsigned done = 0;

	(void)state;
	reply_parser_init(&p);
	for (size_t i = 0; i < sizeof(in) - 1; i++) {
		size_t used;
		enum reply_verdict v = reply_parse(&p, bytes_make(in + i, 1), &used);
		assert_int_equal(used, 1);
		assert_int_not_equal(v, REPLY_BAD);
		done += v == REPLY_DONE;
	}
	assert_int_equal(done, 2);
	assert_int_equal(p.info.code, 354);
}

static void test_what_is_no_reply(void **state)
{
	static const char *const bad[] = {"\r\n", "25\r\n", "2x0 \r\n", "150 x\r\n", "650 x\r\n",
		"250x\r\n", "hello\r\n", "250-a\r\n251 b\r\n", "250-a\r\n550 b\r\n", "250 a\n",
		"250 a\rb\r\n", "250 a\r\r\n", "250\n", "HTTP/1.1 200 OK\r\n"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct bytes in = bytes_str(bad[i]);
		for (size_t a = 0; a <= in.n; a++) {
			struct reply_parser p;
			size_t used;
			reply_parser_init(&p);
			assert_int_equal(feed(&p, in, a, in.n), REPLY_BAD);
			assert_int_equal(
				reply_parse(&p, BYTES_LIT("250 ok\r\n"), &used), REPLY_BAD);
		}
	}
}

static void test_endless_replies_are_bounded(void **state)
{
	struct reply_parser p;
	enum reply_verdict v = REPLY_MORE;
	unsigned lines = 0;
	size_t used, octets = 0;

	(void)state;
	reply_parser_init(&p);
	while (v != REPLY_BAD && lines < 1000) {
		v = reply_parse(&p, BYTES_LIT("250-more\r\n"), &used);
		lines++;
	}
	assert_int_equal(lines, SMTP_REPLY_LINES_MAX + 1);
	reply_parser_init(&p);
	v = REPLY_MORE;
	while (v != REPLY_BAD && octets < 1000000) {
		v = reply_parse(&p, BYTES_LIT("250 xxxx"), &used);
		octets += used;
	}
	assert_int_equal(octets, SMTP_REPLY_LINE_HARD);
	assert_true(p.info.text_n <= SMTP_REPLY_TEXT_MAX);
}

static void test_long_line_is_cut(void **state)
{
	char line[2000];
	struct reply_parser p;
	size_t used;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "550 ", 4);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	reply_parser_init(&p);
	assert_int_equal(reply_parse(&p, bytes_make(line, sizeof(line)), &used), REPLY_DONE);
	assert_int_equal(p.info.code, 550);
	assert_int_equal(p.info.text_n, SMTP_REPLY_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_is_a_reply),
		cmocka_unit_test(test_longest_host_name_fits),
		cmocka_unit_test(test_id_is_sixteen_digits),
		cmocka_unit_test(test_extensions_are_withheld),
		cmocka_unit_test(test_words_of_the_listener),
		cmocka_unit_test(test_replies_at_every_split),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_what_is_no_reply),
		cmocka_unit_test(test_endless_replies_are_bounded),
		cmocka_unit_test(test_long_line_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

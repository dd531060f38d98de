/* SPDX-License-Identifier: BSD-3-Clause
 * The client that reads a mailbox, by POP3 and by IMAP: dialogues whole, octet by octet and at
 * every split, and servers that talk nonsense. */
#include "tests/unit/smtp/unit.h"
#include <stdlib.h>
#include "bench/mailbox.h"

static struct mailbox m;
static struct {
	unsigned begun, ended;
	char content[1000];
	size_t n;
	char said[1000];
	size_t said_n;
} seen;

static void on_begin(void *ctx)
{
	(void)ctx;
	seen.begun++;
}

static void on_content(void *ctx, struct bytes run)
{
	(void)ctx;
	assert_true(seen.begun == seen.ended + 1 && seen.n + run.n < sizeof(seen.content));
	if (run.n)
		memcpy(seen.content + seen.n, run.p, run.n);
	seen.n += run.n;
}

static void on_end(void *ctx)
{
	(void)ctx;
	seen.ended++;
	seen.content[seen.n++] = '|';
}

static const struct mailbox_ops ops = {.begin = on_begin, .content = on_content, .end = on_end};

static void begin(bool imap, bool watch, uint32_t read_before)
{
	memset(&seen, 0, sizeof(seen));
	mailbox_init(&m, &ops, NULL,
		&(struct mailbox_conf){.user = "1a@example.org",
			.password = "se\"cret",
			.seen = read_before,
			.imap = imap,
			.watch = watch});
}

static void flush(void)
{
	uint8_t memory[MAILBOX_OUTPUT_MIN + 400];
	struct buf out;

	buf_init(&out, memory, sizeof(memory));
	mailbox_output(&m, &out);
	assert_true(seen.said_n + out.n < sizeof(seen.said));
	memcpy(seen.said + seen.said_n, out.p, out.n);
	seen.said_n += out.n;
}

/* In a block of its own size, so that what is read beyond it is noticed. */
static void feed(struct bytes b)
{
	uint8_t *copy = malloc(b.n + 1);

	memcpy(copy, b.p, b.n);
	mailbox_input(&m, bytes_make(copy, b.n));
	free(copy);
	flush();
}

/* What a server says, a line at a time: each is the answer to what was said before. */
static void play(const char *const *lines, size_t split, size_t piece)
{
	for (size_t i = 0; lines[i]; i++) {
		struct bytes b = bytes_str(lines[i]);
		size_t first = MIN(split, b.n);
		if (first)
			feed(bytes_first(b, first));
		for (b = bytes_skip(b, first); b.n; b = bytes_skip(b, MIN(piece, b.n)))
			feed(bytes_first(b, piece));
	}
}

static void check(const char *content, const char *said)
{
	assert_bytes_equal(bytes_make(seen.content, seen.n), bytes_str(content));
	assert_bytes_equal(bytes_make(seen.said, seen.said_n), bytes_str(said));
	assert_true(mailbox_ended(&m));
	assert_null(m.error);
	assert_int_equal(seen.begun, seen.ended);
}

static const char *const pop3[] = {"+OK hello\r\n", "+OK\r\n", "+OK\r\n", "+OK 3 400\r\n",
	"+OK 100 octets\r\nA: b\r\n\r\n..dot\r\n.\r\n", "+OK\r\n.\r\n", "+OK bye\r\n", NULL};
static const char pop3_said[] =
	"USER 1a@example.org\r\nPASS se\"cret\r\nSTAT\r\nRETR 2\r\nRETR 3\r\n"
	"QUIT\r\n";
static const char *const imap[] = {"* OK hello\r\n", "* CAPABILITY X\r\nb OK\r\n",
	"* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* 1 RECENT\r\nb OK [READ-ONLY]\r\n",
	"* 2 FETCH (BODY[] {16}\r\nA: b\r\n\r\n.d\r\nb \r\n)\r\n* 3 FETCH (FLAGS () BODY[] "
	"{0}\r\n)\r\n"
	"* 9 FETCH (BODY[HEADER] {3}\r\nb \n)\r\nb OK\r\n",
	"* BYE\r\nb OK\r\n", NULL};
static const char imap_said[] = "b LOGIN \"1a@example.org\" \"se\\\"cret\"\r\nb EXAMINE INBOX\r\n"
				"b FETCH 2:3 BODY.PEEK[]\r\nb LOGOUT\r\n";

static void test_pop3_whole_and_in_pieces(void **state)
{
	(void)state;
	for (size_t split = 0; split < 40; split++) {
		begin(false, false, 1);
		play(pop3, split, 1000);
		check("A: b\r\n\r\n.dot\r\n||", pop3_said);
	}
	begin(false, false, 1);
	play(pop3, 0, 1);
	check("A: b\r\n\r\n.dot\r\n||", pop3_said);
	assert_int_equal(mailbox_seen(&m), 3);
}

static void test_imap_whole_and_in_pieces(void **state)
{
	(void)state;
	for (size_t split = 0; split < 130; split++) {
		begin(true, false, 1);
		play(imap, split, 1000);
		check("A: b\r\n\r\n.d\r\nb \r\n||", imap_said);
	}
	begin(true, false, 1);
	play(imap, 0, 1);
	check("A: b\r\n\r\n.d\r\nb \r\n||", imap_said);
	assert_int_equal(mailbox_seen(&m), 3);
}

static void test_imap_waits_for_what_comes(void **state)
{
	static const char *const lines[] = {"* OK\r\n", "b OK\r\n", "* 0 EXISTS\r\nb OK\r\n",
		"+ idling\r\n", "* 1 EXISTS\r\n", "b OK\r\n",
		"* 1 FETCH (BODY[] {2}\r\nhi)\r\n* 2 EXISTS\r\nb OK\r\n",
		"* 2 FETCH (BODY[] {2}\r\nho)\r\nb OK\r\n", "+ idling\r\n", NULL};

	(void)state;
	begin(true, true, 0);
	play(lines, 0, 1000);
	assert_int_equal(m.state, MAILBOX_IDLE);
	mailbox_quit(&m);
	flush();
	play((const char *const[]){"b OK\r\n", "b OK\r\n", NULL}, 0, 1000);
	check("hi|ho|", "b LOGIN \"1a@example.org\" \"se\\\"cret\"\r\nb EXAMINE INBOX\r\nb IDLE\r\n"
			"DONE\r\nb FETCH 1:1 BODY.PEEK[]\r\nb FETCH 2:2 BODY.PEEK[]\r\nb IDLE\r\n"
			"DONE\r\nb LOGOUT\r\n");
}

static void test_an_empty_mailbox(void **state)
{
	(void)state;
	begin(false, false, 0);
	play((const char *const[]){"+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK 0 0\r\n", "+OK\r\n", NULL},
		0, 1000);
	check("", "USER 1a@example.org\r\nPASS se\"cret\r\nSTAT\r\nQUIT\r\n");
}

static void test_servers_that_refuse_or_talk_nonsense(void **state)
{
	static const struct {
		bool imap;
		const char *lines[6];
	} table[] = {
		{false, {"-ERR\r\n"}						       },
		{false, {"+OK\r\n", "+OK\r\n", "-ERR wrong password\r\n"}                  },
		{false, {"+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK many\r\n"}                  },
		{false, {"+OK\r\n+OK\r\n"}						 },
		{true,  {"* BYE\r\n"}						      },
		{true,  {"* OK\r\n", "b NO\r\n"}                                           },
		{true,  {"* OK\r\nb OK\r\n"}					       },
		{true,  {"* OK\r\n", "b OK\r\n", "* 1 EXISTS\r\nb OK\r\n",
			       "* 1 FETCH (BODY[] {99999999999}\r\n"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		begin(table[i].imap, false, 0);
		play(table[i].lines, 0, 1000);
		assert_true(mailbox_ended(&m));
		assert_non_null(m.error);
		assert_int_equal(seen.ended, 0);
	}
}

/* A server that says that all is well and gives nothing is not asked for ever. */
static void test_imap_messages_that_do_not_come(void **state)
{
	(void)state;
	begin(true, false, 0);
	play((const char *const[]){"* OK\r\n", "b OK\r\n", "* 5 EXISTS\r\nb OK\r\n", "b OK\r\n",
		     "b OK\r\n", NULL},
		0, 1000);
	assert_true(mailbox_ended(&m));
	assert_int_equal(seen.begun, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pop3_whole_and_in_pieces),
		cmocka_unit_test(test_imap_whole_and_in_pieces),
		cmocka_unit_test(test_imap_waits_for_what_comes),
		cmocka_unit_test(test_an_empty_mailbox),
		cmocka_unit_test(test_servers_that_refuse_or_talk_nonsense),
		cmocka_unit_test(test_imap_messages_that_do_not_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Dialogues with the IMAP engine over a store in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/rt/eal.h"
#include "store/imap/imap_session.h"
#include "tests/unit/imap/fake_host.h"

#define LOGIN "a LOGIN user1@example.org \"secret word\"\r\n"

static struct fake f;
static struct fake_box *inbox;

static const char plain[] = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\n"
			    "Subject: lunch\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\n"
			    "Are you hungry?\r\nYes.\r\n";
static const char mixed[] =
	"Subject: parts\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n"
	"preamble\r\n--b\r\n\r\nfirst\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
	"Subject: inner\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\nend\r\n";

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	inbox = fake_box_add(&f, "INBOX");
	fake_message_add(&f, inbox, plain, sizeof(plain) - 1, MSG_SEEN);
	fake_message_add(&f, inbox, mixed, sizeof(mixed) - 1, 0);
	fake_message_add(&f, inbox, "X: y\r\n\r\nz", 9, MSG_FLAGGED);
	fake_box_add(&f, "Sent")->subscribed = true;
	fake_box_add(&f, "Sent/2024");
	fake_box_add(&f, "Entw\xc3\xbcrfe");
	fake_start(&f, sizeof(struct imap_session), imap_session_init);
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

static void expect(const char *text, const char *answer)
{
	assert_string_equal(say(text), answer);
}

static void contains(const char *text, const char *part)
{
	const char *out = say(text);

	if (!strstr(out, part))
		print_message("said: %s\n", out);
	assert_non_null(strstr(out, part));
}

static void open_inbox(void)
{
	contains(LOGIN, "a OK [CAPABILITY");
	contains("b SELECT inbox\r\n", "b OK [READ-WRITE]");
}

static void test_greeting_and_login(void **state)
{
	(void)state;
	assert_non_null(strstr(f.out, "* OK [CAPABILITY IMAP4rev1"));
	contains("1 CAPABILITY\r\n", "* CAPABILITY IMAP4rev1 ");
	contains("2 SELECT INBOX\r\n", "2 BAD not in this state");
	contains("3 LOGIN user1@example.org wrong\r\n", "3 NO [AUTHENTICATIONFAILED]");
	assert_int_equal(f.timer_us, 2000000);
	contains(
		"4 LOGIN {17+}\r\nuser1@example.org {11}\r\nsecret word\r\n", "+ go ahead\r\n4 OK");
}

static void test_authenticate_plain(void **state)
{
	(void)state;
	/* NUL user1@example.org NUL secret word */
	expect("1 AUTHENTICATE PLAIN\r\n", "+ \r\n");
	contains("AHVzZXIxQGV4YW1wbGUub3JnAHNlY3JldCB3b3Jk\r\n", "1 OK");
	fake_stop(&f);
	setup(NULL);
	contains("1 AUTHENTICATE PLAIN AHVzZXIxQGV4YW1wbGUub3JnAHNlY3JldCB3b3Jk\r\n", "1 OK");
	fake_stop(&f);
	setup(NULL);
	contains("1 AUTHENTICATE PLAIN\r\n*\r\n", "1 BAD cancelled");
	contains("1 AUTHENTICATE PLAIN\r\n****\r\n", "1 BAD");
	contains("1 AUTHENTICATE GSSAPI\r\n", "1 NO");
}

static void test_no_login_without_tls(void **state)
{
	(void)state;
	f.engine->plaintext_login = false;
	contains(LOGIN, "a NO [PRIVACYREQUIRED]");
	contains("b CAPABILITY\r\n", "LOGINDISABLED");
}

static void test_starttls_is_the_last_word_in_clear(void **state)
{
	(void)state;
	contains("a STARTTLS\r\n", "a BAD no TLS here");
	f.engine->plaintext_login = false;
	f.engine->tls_offered = true;
	contains("b CAPABILITY\r\n", " STARTTLS LOGINDISABLED");
	contains("c STARTTLS now\r\n", "c BAD");
	assert_false(f.engine->wants_tls);
	/* what was sent behind it is not a command, now or later */
	expect("d STARTTLS\r\ne CAPABILITY\r\n", "d OK begin TLS\r\n");
	assert_true(f.engine->wants_tls);
	assert_false(f.engine->ops->wants_input(f.engine));
	f.engine->wants_tls = false;
	f.engine->secure = true;
	contains("f CAPABILITY\r\n", " AUTH=PLAIN");
	contains("g STARTTLS\r\n", "g BAD TLS is there already");
	contains(LOGIN, "a OK");
}

static void test_select_tells_the_mailbox(void **state)
{
	(void)state;
	say(LOGIN);
	expect("b SELECT INBOX\r\n",
		"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 3 EXISTS\r\n* 0 "
		"RECENT\r\n"
		"* OK [UNSEEN 2] first unseen\r\n"
		"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] kept\r\n"
		"* OK [UIDVALIDITY 1000] valid\r\n* OK [UIDNEXT 4] predicted\r\n"
		"b OK [READ-WRITE] mailbox opened\r\n");
	contains("c EXAMINE INBOX\r\n", "c OK [READ-ONLY]");
	contains("d STORE 1 +FLAGS (\\Deleted)\r\n", "d NO [READ-ONLY]");
	contains("e SELECT nowhere\r\n", "e NO [NONEXISTENT]");
	contains("f FETCH 1 FLAGS\r\n", "f BAD not in this state");
}

static void test_fetch_simple_items(void **state)
{
	(void)state;
	open_inbox();
	expect("c FETCH 1:* (UID FLAGS)\r\n",
		"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (UID 2 FLAGS ())\r\n"
		"* 3 FETCH (UID 3 FLAGS (\\Flagged))\r\nc OK done\r\n");
	expect("d UID FETCH 3,1 RFC822.SIZE\r\n", "* 1 FETCH (UID 1 RFC822.SIZE 129)\r\n* 3 FETCH "
						  "(UID 3 RFC822.SIZE 9)\r\nd OK done\r\n");
	expect("e FETCH 1 INTERNALDATE\r\n",
		"* 1 FETCH (INTERNALDATE \"15-Nov-2023 22:13:20 +0000\")\r\ne OK done\r\n");
	expect("f FETCH 4 FLAGS\r\n", "f BAD the set is not valid\r\n");
	expect("g UID FETCH 9:* FLAGS\r\n", "* 3 FETCH (UID 3 FLAGS (\\Flagged))\r\ng OK done\r\n");
}

/* What one set has marked the next one does not find, wherever the rows have gone meanwhile. */
static void test_sets_follow_each_other(void **state)
{
	(void)state;
	open_inbox();
	expect("c FETCH 2:3 UID\r\n", "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\nc OK done\r\n");
	expect("d FETCH 1 UID\r\n", "* 1 FETCH (UID 1)\r\nd OK done\r\n");
	expect("e FETCH 1,3 UID\r\n", "* 1 FETCH (UID 1)\r\n* 3 FETCH (UID 3)\r\ne OK done\r\n");
	expect("f FETCH 3,4 UID\r\n", "f BAD the set is not valid\r\n");
	expect("g FETCH 2 UID\r\n", "* 2 FETCH (UID 2)\r\ng OK done\r\n");
	expect("h UID FETCH 9 UID\r\n", "h OK done\r\n");
	say("i STORE 1 +FLAGS.SILENT (\\Deleted)\r\n");
	fake_message_add(&f, inbox, "a", 1, 0);
	f.engine->ops->changed(f.engine);
	expect("j UID EXPUNGE 1:3\r\n", "* 1 EXPUNGE\r\n* 3 EXISTS\r\n* 0 RECENT\r\nj OK done\r\n");
	expect("k FETCH 3 UID\r\n", "* 3 FETCH (UID 4)\r\nk OK done\r\n");
	expect("l UID FETCH 1:2 UID\r\n", "* 1 FETCH (UID 2)\r\nl OK done\r\n");
}

static void test_fetch_envelope(void **state)
{
	(void)state;
	open_inbox();
	expect("c FETCH 1 ENVELOPE\r\n",
		"* 1 FETCH (ENVELOPE (\"Mon, 7 Feb 1994 21:52:25 -0800\" \"lunch\" "
		"((\"Ann\" NIL \"ann\" \"example.org\")) ((\"Ann\" NIL \"ann\" \"example.org\")) "
		"((\"Ann\" NIL \"ann\" \"example.org\")) ((NIL NIL \"bob\" \"example.net\")) "
		"NIL NIL NIL NIL))\r\nc OK done\r\n");
}

static void test_fetch_bodystructure(void **state)
{
	(void)state;
	open_inbox();
	for (uint32_t octets = 0; octets < 30; octets++) {
		f.slice_octets = octets;
		expect("c FETCH 2 BODY\r\n", "* 2 FETCH (BODY ((\"TEXT\" \"PLAIN\" (\"CHARSET\" "
					     "\"us-ascii\") NIL NIL \"7BIT\" 5 0)"
					     "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 46 "
					     "(NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
					     "(\"TEXT\" \"HTML\" NIL NIL NIL \"7BIT\" 3 0) 3) "
					     "\"MIXED\"))\r\nc OK done\r\n");
	}
	contains("d FETCH 1 BODYSTRUCTURE\r\n", "BODYSTRUCTURE (\"TEXT\" \"PLAIN\" (\"CHARSET\" "
						"\"us-ascii\") NIL NIL \"7BIT\" 23 2 NIL NIL "
						"NIL NIL))");
}

static const char *const shape_items[] = {"ENVELOPE", "BODY", "BODYSTRUCTURE", "FULL",
	"(ENVELOPE BODY BODYSTRUCTURE)", "BODY.PEEK[1]", "BODY.PEEK[2]", "BODY.PEEK[2.1]",
	"BODY.PEEK[2.HEADER]", "BODY.PEEK[1.MIME]<0.20>",
	"(BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "(BODY BODY.PEEK[HEADER])",
	"(BODYSTRUCTURE BODY.PEEK[2.HEADER.FIELDS (SUBJECT)])"};

/* Found out once, and from then on the same answers without a look at the body. */
static void test_shapes_give_the_same_answers(void **state)
{
	char command[200], *fresh[ARRAY_LEN(shape_items)];

	(void)state;
	open_inbox();
	for (unsigned i = 0; i < ARRAY_LEN(shape_items); i++) {
		for (uint32_t k = 0; k < inbox->count; k++) {
			free(inbox->messages[k].shape);
			inbox->messages[k].shape = NULL;
			inbox->messages[k].shape_n = 0;
		}
		snprintf(command, sizeof(command), "f FETCH 1:3 %s\r\n", shape_items[i]);
		fresh[i] = strdup(say(command));
	}
	say("g FETCH 1:3 BODYSTRUCTURE\r\n");
	f.shapes_made = f.shapes_read = 0;
	for (unsigned i = 0; i < ARRAY_LEN(shape_items); i++) {
		snprintf(command, sizeof(command), "f FETCH 1:3 %s\r\n", shape_items[i]);
		assert_string_equal(say(command), fresh[i]);
		free(fresh[i]);
	}
	assert_int_equal(f.shapes_made, 0);
	/* All but the last, whose fields are of a part. */
	assert_int_equal(f.shapes_read, 3 * (ARRAY_LEN(shape_items) - 1));
}

/* Other versions, other lengths, nonsense: found out anew, and put in its place. */
static void test_shapes_that_cannot_be_used(void **state)
{
	struct fake_message *m = &inbox->messages[1];

	(void)state;
	open_inbox();
	char *fresh = strdup(say("f FETCH 2 (ENVELOPE BODYSTRUCTURE BODY.PEEK[2.1])\r\n"));
	size_t n = m->shape_n;
	assert_true(n > 100);
	for (size_t cut = 1; cut < n; cut++) {
		m->shape_n = cut;
		f.shapes_made = 0;
		assert_string_equal(
			say("f FETCH 2 (ENVELOPE BODYSTRUCTURE BODY.PEEK[2.1])\r\n"), fresh);
		assert_int_equal(f.shapes_made, 1);
		assert_int_equal(m->shape_n, n);
	}
	m->shape[0]++;
	f.shapes_made = 0;
	assert_string_equal(say("f FETCH 2 (ENVELOPE BODYSTRUCTURE BODY.PEEK[2.1])\r\n"), fresh);
	assert_int_equal(f.shapes_made, 1);
	/* That it cannot be kept is nobody's concern. */
	m->shape_n = 0;
	f.fail_status = -ENOSPC;
	f.fail_kind = STORE_SHAPE;
	f.fail_write = true;
	assert_string_equal(say("f FETCH 2 (ENVELOPE BODYSTRUCTURE BODY.PEEK[2.1])\r\n"), fresh);
	free(fresh);
}

static void test_fetch_sections(void **state)
{
	static const struct {
		const char *item, *answer;
	} rows[] = {
		{"BODY.PEEK[1]",                                "BODY[1] {5}\r\nfirst"                                     },
		{"BODY.PEEK[2.HEADER]",
                 "BODY[2.HEADER] {43}\r\nSubject: inner\r\nContent-Type: text/html\r\n\r\n"                                },
		{"BODY.PEEK[2.TEXT]",                           "BODY[2.TEXT] {3}\r\n<p>"                                  },
		{"BODY.PEEK[2.1]",                              "BODY[2.1] {3}\r\n<p>"                                     },
		{"BODY.PEEK[2.MIME]",                           "BODY[2.MIME] {32}\r\nContent-Type: message/rfc822\r\n\r\n"},
		{"BODY.PEEK[2.1.1]",                            "BODY[2.1.1] NIL"                                          },
		{"BODY.PEEK[3]",                                "BODY[3] NIL"					      },
		{"BODY.PEEK[1.HEADER]",                         "BODY[1.HEADER] NIL"                                       },
		{"BODY.PEEK[HEADER.FIELDS (subject DATE)]",
                 "BODY[HEADER.FIELDS (subject DATE)] {18}\r\nSubject: parts\r\n\r\n"                                       },
		{"BODY.PEEK[HEADER.FIELDS.NOT (Content-Type)]",
                 "BODY[HEADER.FIELDS.NOT (Content-Type)] {18}\r\nSubject: parts\r\n\r\n"                                   },
		{"BODY.PEEK[2.HEADER.FIELDS (Subject)]<2.5>",
                 "BODY[2.HEADER.FIELDS (Subject)]<2> {5}\r\nbject"                                                         },
		{"BODY.PEEK[]<3.4>",                            "BODY[]<3> {4}\r\nject"                                    },
		{"BODY.PEEK[]<9999.4>",                         "BODY[]<9999> {0}\r\n"                                     },
		{"BODY.PEEK[HEADER]<0.7>",                      "BODY[HEADER]<0> {7}\r\nSubject"                           },
		{"RFC822.HEADER",                               "RFC822.HEADER {63}\r\nSubject: parts\r\n"                 },
	};
	char line[200], want[300];

	(void)state;
	open_inbox();
	for (uint32_t octets = 0; octets < 12; octets++) {
		f.slice_octets = octets;
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			snprintf(line, sizeof(line), "x FETCH 2 %s\r\n", rows[i].item);
			snprintf(want, sizeof(want), "* 2 FETCH (%s", rows[i].answer);
			contains(line, want);
		}
	}
	assert_int_equal(inbox->messages[1].row.flags, 0);
	contains("y FETCH 1 BODY[1]\r\n", "BODY[1] {23}\r\nAre you hungry?\r\nYes.\r\n)");
}

static void test_fetch_body_sets_seen(void **state)
{
	(void)state;
	open_inbox();
	expect("c FETCH 3 BODY[]\r\n", "* 3 FETCH (FLAGS (\\Seen \\Flagged) BODY[] {9}\r\nX: "
				       "y\r\n\r\nz)\r\nc OK done\r\n");
	assert_int_equal(inbox->messages[2].row.flags, MSG_SEEN | MSG_FLAGGED);
	expect("d FETCH 3 RFC822\r\n", "* 3 FETCH (RFC822 {9}\r\nX: y\r\n\r\nz)\r\nd OK done\r\n");
}

static void test_fetch_large_body_whole(void **state)
{
	size_t n = 1500 * 1000;
	char *text = malloc(n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		text[i] = (char)('a' + i % 23);
	fake_message_add(&f, inbox, text, n, MSG_SEEN);
	open_inbox();
	const char *out = say("c FETCH 4 BODY.PEEK[]\r\n");
	const char *head = "* 4 FETCH (BODY[] {1500000}\r\n";
	assert_memory_equal(out, head, strlen(head));
	assert_memory_equal(out + strlen(head), text, n);
	assert_string_equal(out + strlen(head) + n, ")\r\nc OK done\r\n");
	free(text);
}

static void test_store(void **state)
{
	(void)state;
	open_inbox();
	expect("c STORE 1:2 +FLAGS (\\Deleted)\r\n",
		"* 1 FETCH (UID 1 FLAGS (\\Seen \\Deleted))\r\n* 2 FETCH (UID 2 FLAGS "
		"(\\Deleted))\r\n"
		"c OK done\r\n");
	expect("d UID STORE 2 -FLAGS.SILENT \\Deleted\r\n", "d OK done\r\n");
	expect("e STORE 3 FLAGS (Work \\Draft)\r\n",
		"* 3 FETCH (UID 3 FLAGS (\\Draft Work))\r\ne OK done\r\n");
	expect("f STORE 3 +FLAGS (work $Junk)\r\n",
		"* 3 FETCH (UID 3 FLAGS (\\Draft Work $Junk))\r\nf OK done\r\n");
	expect("g STORE 3 -FLAGS (WORK)\r\n",
		"* 3 FETCH (UID 3 FLAGS (\\Draft $Junk))\r\ng OK done\r\n");
	contains("h STORE 3 FLAGS (\\Recent)\r\n", "h BAD");
	expect("i SEARCH KEYWORD $junk\r\n", "* SEARCH 3\r\ni OK done\r\n");
}

static void test_expunge_and_close(void **state)
{
	(void)state;
	open_inbox();
	say("c STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\n");
	expect("d UID EXPUNGE 3\r\n", "* 3 EXPUNGE\r\nd OK done\r\n");
	say("e STORE 2 +FLAGS.SILENT (\\Deleted)\r\n");
	expect("f EXPUNGE\r\n", "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\nf OK done\r\n");
	expect("g FETCH 1:* FLAGS\r\n", "g OK done\r\n");
	fake_message_add(&f, inbox, "a", 1, MSG_DELETED);
	f.engine->ops->changed(f.engine);
	expect("h NOOP\r\n", "* 1 EXISTS\r\n* 0 RECENT\r\nh OK done\r\n");
	expect("i CLOSE\r\n", "i OK done\r\n");
	assert_int_equal(inbox->count, 0);
}

static void test_changes_of_others_are_told(void **state)
{
	(void)state;
	open_inbox();
	fake_message_add(&f, inbox, "new", 3, 0);
	inbox->messages[0].row.flags |= MSG_ANSWERED;
	inbox->messages[0].row.modseq = inbox->state.highestmodseq = ++f.modseq;
	expect("c NOOP\r\n", "* 4 EXISTS\r\n* 0 RECENT\r\n* 1 FETCH (UID 1 FLAGS (\\Seen "
			     "\\Answered))\r\nc OK done\r\n");
	/* Message 2 goes: not told during FETCH, but with the next NOOP. */
	free(inbox->messages[1].data);
	inbox->messages[1] = inbox->messages[2];
	inbox->messages[2] = inbox->messages[3];
	inbox->count--;
	inbox->state.exists--;
	inbox->state.highestmodseq = ++f.modseq;
	f.engine->ops->changed(f.engine);
	expect("d FETCH 3 UID\r\n", "* 3 FETCH (UID 3)\r\nd OK done\r\n");
	expect("e NOOP\r\n", "* 2 EXPUNGE\r\ne OK done\r\n");
	expect("f FETCH 1:* UID\r\n",
		"* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 3)\r\n* 3 FETCH (UID 4)\r\nf OK done\r\n");
}

static void test_idle_tells_at_once(void **state)
{
	(void)state;
	open_inbox();
	expect("c IDLE\r\n", "+ idling\r\n");
	fake_message_add(&f, inbox, "new", 3, 0);
	f.out_n = 0;
	f.engine->ops->changed(f.engine);
	fake_pump(&f);
	assert_string_equal(f.out, "* 4 EXISTS\r\n* 0 RECENT\r\n");
	expect("DONE\r\n", "c OK done\r\n");
	contains("d IDLE\r\nFOO\r\n", "d BAD");
}

/* How long it took is counted, for those who wait only. */
static void test_idle_is_measured(void **state)
{
	struct histogram_view before, after;

	(void)state;
	open_inbox();
	histograms_sum(HIST_IMAP_ANNOUNCE, &before);
	f.engine->changed_us = clock_mono_us();
	f.engine->ops->changed(f.engine);
	say("c NOOP\r\n");
	histograms_sum(HIST_IMAP_ANNOUNCE, &after);
	assert_int_equal(after.count, before.count);
	say("d IDLE\r\n");
	fake_message_add(&f, inbox, plain, sizeof(plain) - 1, 0);
	f.engine->changed_us = clock_mono_us() - 5000;
	f.engine->ops->changed(f.engine);
	contains("", "EXISTS");
	histograms_sum(HIST_IMAP_ANNOUNCE, &after);
	assert_int_equal(after.count, before.count + 1);
	assert_true(after.sum - before.sum >= 5000);
	assert_int_equal(f.engine->changed_us, 0);
	say("DONE\r\n");
}

/* Spaces are few for all of a core's sessions: who waits for his peer has none. */
static void test_a_peer_that_does_not_read_holds_no_space(void **state)
{
	char text[2100], *at = text + sprintf(text, "c STORE 1:* FLAGS (");

	(void)state;
	while (inbox->count < FAKE_MESSAGES)
		fake_message_add(&f, inbox, plain, sizeof(plain) - 1, 0);
	open_inbox();
	for (unsigned i = 0; i < 20; i++)
		at += sprintf(at, "%s%02u%0*u", i ? " " : "", i, 50, 7);
	strcpy(at, ")\r\n");
	f.stuck = true;
	expect(text, "");
	assert_true(access_out_bytes(&f.engine->out) >= ACCESS_OUT_HIGH);
	assert_int_equal(f.spaces_out, 0);
	f.stuck = false;
	contains("", "c OK");
}

static void test_search_gives_its_space_back_with_each_message(void **state)
{
	(void)state;
	open_inbox();
	f.hold = true;
	say("c SEARCH BODY nothing\r\n");
	for (unsigned i = 0; i < 3; i++) {
		assert_non_null(f.pending); /* the row */
		assert_int_equal(f.spaces_out, 0);
		fake_answer(&f);
		fake_pump(&f);
		assert_non_null(f.pending); /* the body */
		assert_int_equal(f.spaces_out, 1);
		fake_answer(&f);
		fake_pump(&f);
	}
	assert_int_equal(f.spaces_out, 0);
}

static void test_copy(void **state)
{
	(void)state;
	open_inbox();
	expect("c COPY 1:2 Sent\r\n", "c OK [COPYUID 1001 1:2 1:2] copied\r\n");
	expect("d UID COPY 3 Sent\r\n", "d OK [COPYUID 1001 3 3] copied\r\n");
	expect("e COPY 1 Nowhere\r\n", "e NO [TRYCREATE] no such mailbox\r\n");
	assert_int_equal(f.boxes[1].count, 3);
}

/* RFC 6851: where they went, what is not here any more, and then the answer. */
static void test_move(void **state)
{
	(void)state;
	open_inbox();
	expect("c MOVE 1 Nowhere\r\n", "c NO [TRYCREATE] no such mailbox\r\n");
	expect("d MOVE 1:2 Sent\r\n",
		"* OK [COPYUID 1001 1:2 1:2] moved\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\nd OK done\r\n");
	expect("e UID MOVE 3 Sent\r\n",
		"* OK [COPYUID 1001 3 3] moved\r\n* 1 EXPUNGE\r\ne OK done\r\n");
	expect("f UID MOVE 3 Sent\r\n", "f OK there are none\r\n");
	assert_int_equal(f.boxes[0].count, 0);
	assert_int_equal(f.boxes[1].count, 3);
	contains("g EXAMINE Sent\r\n", "g OK [READ-ONLY]");
	contains("h MOVE 1 INBOX\r\n", "h NO [READ-ONLY]");
	contains("i MOVE 1\r\n", "i BAD");
}

static void test_append(void **state)
{
	(void)state;
	say(LOGIN);
	expect("b APPEND Sent (\\Seen Work) \"17-Jul-1996 02:44:25 -0700\" {12}\r\n",
		"+ go ahead\r\n");
	expect("A: b\r\n\r\nbody\r\n", "b OK [APPENDUID 1001 1] appended\r\n");
	const struct mbox_row *r = &f.boxes[1].messages[0].row;
	assert_int_equal(r->flags, MSG_SEEN);
	assert_int_equal(r->keywords, 1);
	assert_int_equal(r->internal_ms, 837596665000ull);
	assert_int_equal(r->internal_zone_min, -420);
	assert_int_equal(r->size, 12);
	contains("c APPEND {4+}\r\nSent {1+}\r\nx\r\n", "c OK [APPENDUID 1001 2]");
	contains("d APPEND Nowhere {1+}\r\nx\r\n", "d NO [TRYCREATE]");
	expect("e APPEND Sent {9999999}\r\n", "e NO [TOOBIG] the message is too long\r\n");
	contains("f APPEND Sent {1+}\r\nx extra\r\n", "f BAD");
	contains("g APPEND Sent\r\n", "g BAD");
	contains("h NOOP\r\n", "h OK");
}

static void test_append_streams_large_messages(void **state)
{
	size_t n = 1000 * 1000;
	char *text = malloc(n + 2), line[80];

	(void)state;
	for (size_t i = 0; i < n; i++)
		text[i] = (char)('a' + i % 25);
	memcpy(text + n, "\r\n", 2);
	say(LOGIN);
	for (size_t piece = 1000; piece < n; piece *= 20) {
		snprintf(line, sizeof(line), "b APPEND Sent {%zu}\r\n", n);
		expect(line, "+ go ahead\r\n");
		assert_non_null(strstr(fake_talk(&f, text, n + 2, piece), "b OK [APPENDUID"));
		struct fake_box *sent = &f.boxes[1];
		assert_int_equal(sent->messages[sent->count - 1].n, n);
		assert_memory_equal(sent->messages[sent->count - 1].data, text, n);
	}
	/* The connection is lost in the middle: the writer is told to forget the parts. */
	assert_false(f.engine->content_comes);
	say(line);
	fake_talk(&f, text, n / 2, 0);
	assert_true(f.engine->content_comes);
	assert_true(f.parts_bytes > 0);
	fake_hangup(&f);
	assert_int_equal(f.drops, 1);
	free(text);
}

static void test_append_ends_in_no_line(void **state)
{
	char *line = calloc(1, 10000);

	(void)state;
	say(LOGIN);
	contains("b APPEND Sent {5+}\r\nA: b\n\n", "b BAD lines end in CRLF");
	memset(line + sprintf(line, "c APPEND Sent {5+}\r\nA: b\n"), 'x', 6000);
	strcat(line, "\r\n");
	contains(line, "c BAD [TOOBIG]");
	contains("d APPEND Sent {5+}\r\nA: b\n{3+}\r\n", "d BAD one message");
	contains("e APPEND Sent {5+}\r\nA: b\n\r\n", "e OK [APPENDUID");
	free(line);
}

/* Sessions have what they may have of the memory: what need not be is refused, the rest goes on in
 * small pieces. */
static void test_memory_is_short(void **state)
{
	size_t n = 200 * 1000;
	char *text = malloc(n + 2);

	(void)state;
	memset(text, 'x', n);
	memcpy(text + n, "\r\n", 2);
	fake_message_add(&f, inbox, text, n, MSG_SEEN);
	open_inbox();
	f.scarce = true;
	unsigned before = f.ops;
	assert_int_equal(strlen(say("c FETCH 4 BODY.PEEK[]\r\n")), n + 28 + 3 + 11);
	assert_true(f.ops - before > n / ACCESS_SLICE_SHORT);
	say("d APPEND Sent {200000}\r\n");
	fake_talk(&f, text, n / 2, 10000);
	assert_true(f.parts_bytes > n / 4);
	assert_non_null(strstr(fake_talk(&f, text + n / 2, n / 2 + 2, 10000), "d OK [APPENDUID"));
	contains("e SELECT INBOX\r\n", "e NO [LIMIT]");
	f.scarce = false;
	contains("f SELECT INBOX\r\n", "f OK");
	free(text);
}

static void test_append_error_of_a_part_is_told(void **state)
{
	size_t n = 600 * 1000;
	char *text = malloc(n + 2);

	(void)state;
	memset(text, 'x', n);
	memcpy(text + n, "\r\n", 2);
	say(LOGIN);
	say("b APPEND Sent {600000}\r\n");
	f.fail_status = HANDOFF_FULL;
	f.fail_kind = HANDOFF_PART;
	f.fail_write = true;
	assert_string_equal(fake_talk(&f, text, n + 2, 10000),
		"b NO [UNAVAILABLE] no space now, try later\r\n");
	contains("c NOOP\r\n", "c OK");
	say("d APPEND Sent {6}\r\n");
	assert_non_null(strstr(fake_talk(&f, "ab\0cde\r\n", 8, 0), "d NO [CANNOT]"));
	free(text);
}

static void test_list(void **state)
{
	(void)state;
	say(LOGIN);
	expect("b LIST \"\" *\r\n",
		"* LIST () \"/\" \"Entw&APw-rfe\"\r\n* LIST () \"/\" \"INBOX\"\r\n"
		"* LIST () \"/\" \"Sent\"\r\n* LIST () \"/\" \"Sent/2024\"\r\nb OK done\r\n");
	expect("c LIST \"\" %\r\n",
		"* LIST () \"/\" \"Entw&APw-rfe\"\r\n* LIST () \"/\" \"INBOX\"\r\n"
		"* LIST () \"/\" \"Sent\"\r\nc OK done\r\n");
	expect("d LIST Sent/ %\r\n", "* LIST () \"/\" \"Sent/2024\"\r\nd OK done\r\n");
	expect("e LIST \"\" inbox\r\n", "* LIST () \"/\" \"INBOX\"\r\ne OK done\r\n");
	expect("f LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"\r\nf OK done\r\n");
	expect("g LSUB \"\" *\r\n", "* LSUB () \"/\" \"Sent\"\r\ng OK done\r\n");
	expect("h STATUS Entw&APw-rfe (MESSAGES UIDVALIDITY)\r\n",
		"* STATUS \"Entw&APw-rfe\" (MESSAGES 0 UIDVALIDITY 1003)\r\nh OK done\r\n");
	expect("i STATUS INBOX (MESSAGES UNSEEN UIDNEXT RECENT)\r\n",
		"* STATUS \"INBOX\" (MESSAGES 3 RECENT 0 UIDNEXT 4 UNSEEN 2)\r\ni OK done\r\n");
	contains("j STATUS INBOX (FOO)\r\n", "j BAD");
}

static void test_mailbox_commands(void **state)
{
	(void)state;
	say(LOGIN);
	expect("b CREATE x/y/z\r\n", "b OK done\r\n");
	contains("c LIST \"\" x*\r\n",
		"\"x\"\r\n* LIST () \"/\" \"x/y\"\r\n* LIST () \"/\" \"x/y/z\"\r\n");
	contains("d CREATE x\r\n", "d NO [ALREADYEXISTS]");
	contains("e DELETE x\r\n", "e NO [HASCHILDREN]");
	contains("f DELETE x/y/z\r\n", "f OK");
	contains("g DELETE INBOX\r\n", "g NO");
	contains("h RENAME Sent Gone\r\n", "h OK");
	contains("i SUBSCRIBE Gone\r\n", "i OK");
	contains("j UNSUBSCRIBE Gone\r\n", "j OK");
	contains("k CREATE a*b\r\n", "k BAD");
	contains("l CREATE \"a*b\"\r\n", "l NO [CANNOT]");
	contains("m CREATE \"&\"\r\n", "m NO [CANNOT]");
	contains("n CREATE a//b\r\n", "n NO [CANNOT]");
}

/* The writer takes a tenth of a second for one with 10,000 names below: forty at once stopped mail.
 */
static void test_renames_are_few_at_once(void **state)
{
	(void)state;
	say(LOGIN);
	f.hold = true;
	say("b RENAME Sent Gone\r\n");
	assert_non_null(f.pending);
	assert_int_equal(f.spaces_out, 1);
	f.hold = false;
	fake_answer(&f);
	contains("", "b OK");
	assert_int_equal(f.spaces_out, 0);
}

static void test_quota(void **state)
{
	(void)state;
	contains(LOGIN, "QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE");
	expect("1 GETQUOTA \"\"\r\n", "* QUOTA \"\" ()\r\n1 OK done\r\n");
	f.quota_bytes = 10 * 1024 * 1024;
	expect("2 GETQUOTA \"\"\r\n", "* QUOTA \"\" (STORAGE 1 10240)\r\n2 OK done\r\n");
	f.quota_messages = 100;
	expect("3 GETQUOTAROOT Sent\r\n",
		"* QUOTAROOT \"Sent\" \"\"\r\n* QUOTA \"\" (STORAGE 1 10240 MESSAGE 3 100)\r\n"
		"3 OK done\r\n");
	contains("4 GETQUOTA other\r\n", "4 NO [NONEXISTENT]");
	contains("5 GETQUOTA\r\n", "5 BAD");
	contains("6 GETQUOTAROOT\r\n", "6 BAD");
	/* Who is full is told so. */
	f.fail_status = -EDQUOT;
	f.fail_kind = STORE_APPEND;
	f.fail_write = true;
	contains("7 APPEND Sent {3+}\r\nabc\r\n", "7 NO [OVERQUOTA]");
	contains("8 STATUS INBOX (SIZE MESSAGES)\r\n", "* STATUS \"INBOX\" (MESSAGES 3 SIZE ");
}

static void test_special_use(void **state)
{
	(void)state;
	contains(LOGIN, "SPECIAL-USE CREATE-SPECIAL-USE");
	contains("1 CREATE Drafts (USE (\\Drafts))\r\n", "1 OK");
	contains("2 CREATE Other (USE (\\drafts))\r\n", "2 NO [USEATTR]");
	contains("3 CREATE Every (USE (\\All))\r\n", "3 NO [USEATTR]");
	contains("4 CREATE Two (USE (\\Junk \\Trash))\r\n", "4 NO [USEATTR]");
	contains("5 CREATE What (USE (\\What))\r\n", "5 NO [USEATTR]");
	contains("6 CREATE What (USE \\Junk)\r\n", "6 BAD");
	contains("7 CREATE a/b/Bin (USE (\\Trash))\r\n", "7 OK");
	expect("8 LIST (SPECIAL-USE) \"\" *\r\n", "* LIST (\\Drafts) \"/\" \"Drafts\"\r\n* LIST "
						  "(\\Trash) \"/\" \"a/b/Bin\"\r\n8 OK done\r\n");
	expect("9 LIST \"\" Drafts RETURN (SPECIAL-USE)\r\n",
		"* LIST (\\Drafts) \"/\" \"Drafts\"\r\n9 OK done\r\n");
	expect("10 LIST (SUBSCRIBED) \"\" *\r\n",
		"* LIST (\\Subscribed) \"/\" \"Sent\"\r\n10 OK done\r\n");
	expect("11 LIST \"\" Sent RETURN (SUBSCRIBED SPECIAL-USE)\r\n",
		"* LIST (\\Subscribed) \"/\" \"Sent\"\r\n11 OK done\r\n");
	expect("12 LIST \"\" a/*\r\n",
		"* LIST () \"/\" \"a/b\"\r\n* LIST (\\Trash) \"/\" \"a/b/Bin\"\r\n12 OK done\r\n");
	contains("13 LIST (REMOTE) \"\" *\r\n", "13 BAD");
	contains("14 LIST \"\" * RETURN (WHAT)\r\n", "14 BAD");
	contains("15 LIST (SPECIAL-USE\r\n", "15 BAD");
}

static void test_search(void **state)
{
	static const struct {
		const char *keys, *found;
	} rows[] = {
		{"ALL",			      " 1 2 3"},
		{"UNSEEN",			   " 2 3"  },
		{"SEEN",			     " 1"    },
		{"NOT SEEN FLAGGED",                 " 3"    },
		{"OR SEEN FLAGGED",                  " 1 3"  },
		{"(OR SEEN FLAGGED) 2:3",            " 3"    },
		{"UID 2:*",                          " 2 3"  },
		{"2,3 UNSEEN",                       " 2 3"  },
		{"NEW",			      ""      },
		{"OLD",			      " 1 2 3"},
		{"SUBJECT LUN",                      " 1"    },
		{"FROM example.org",                 " 1"    },
		{"HEADER Subject \"\"",              " 1 2"  },
		{"HEADER X Y",                       " 3"    },
		{"BODY \"HUNGRY?\"",                 " 1"    },
		{"BODY lunch",                       ""      },
		{"TEXT lunch",                       " 1"    },
		{"TEXT inner",                       " 2"    },
		{"NOT TEXT inner",                   " 1 3"  },
		{"LARGER 100 SMALLER 130",           " 1"    },
		{"ON 15-Nov-2023",                   " 1"    },
		{"SINCE 16-Nov-2023",                " 2 3"  },
		{"BEFORE 16-Nov-2023",               " 1"    },
		{"SENTON 7-Feb-1994",                " 1"    },
		{"SENTBEFORE 1-Jan-1995",            " 1"    },
		{"CHARSET UTF-8 BODY hungry",        " 1"    },
		{"UNKEYWORD foo",                    " 1 2 3"},
		{"OR BODY zzz OR BODY first TEXT y", " 1 2 3"},
	};
	char line[200], want[200];

	(void)state;
	open_inbox();
	for (uint32_t octets = 0; octets < 9; octets++) {
		f.slice_octets = octets;
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			snprintf(line, sizeof(line), "s SEARCH %s\r\n", rows[i].keys);
			snprintf(want, sizeof(want), "* SEARCH%s\r\ns OK done\r\n", rows[i].found);
			expect(line, want);
		}
	}
	contains("t SEARCH FOO\r\n", "t BAD");
	contains("t SEARCH\r\n", "t BAD");
	contains("t SEARCH CHARSET koi8-r ALL\r\n", "t NO [BADCHARSET");
	expect("u UID SEARCH 3\r\n", "* SEARCH 3\r\nu OK done\r\n");
}

static void test_search_nesting_is_bounded(void **state)
{
	char line[2000] = "t SEARCH ";

	(void)state;
	open_inbox();
	for (unsigned i = 0; i < 300; i++)
		strcat(line, "NOT ");
	strcat(line, "ALL\r\n");
	contains(line, "t NO [LIMIT]");
}

static void test_long_commands(void **state)
{
	char *line = calloc(1, 200000);

	(void)state;
	open_inbox();
	strcpy(line, "c FETCH 1");
	for (size_t at = strlen(line), i = 0; i < 15000; i++, at += 2)
		memcpy(line + at, ",1", 2);
	strcat(line, " UID\r\n");
	expect(line, "* 1 FETCH (UID 1)\r\nc OK done\r\n");
	/* Its space is given back while it is worked on. */
	strcpy(line + strlen(line) - 6, " (UID BODY.PEEK[HEADER.FIELDS (Subject)])\r\n");
	f.hold = true;
	say(line);
	assert_non_null(f.pending);
	assert_int_equal(f.spaces_out, 0);
	f.hold = false;
	fake_answer(&f);
	expect("",
		"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (Subject)] {18}\r\nSubject: lunch\r\n\r\n)\r\n"
		"c OK done\r\n");
	memset(line, 'x', 150000);
	memcpy(line, "d NOOP ", 7);
	strcpy(line + 150000, "\r\n");
	expect(line, "d BAD [TOOBIG] the command is too long\r\n");
	expect("e LOGIN {70000}\r\n", "e BAD [TOOBIG] the literal is too long\r\n");
	memset(line, 'y', 150000);
	memcpy(line, "f SELECT {100000+}\r\n", 20);
	strcpy(line + 20 + 100000, "\r\n");
	expect(line, "f BAD [TOOBIG] the literal is too long\r\n");
	contains("g NOOP\r\n", "g OK");
	free(line);
}

static void test_bad_commands(void **state)
{
	(void)state;
	expect("x\r\n", "* BAD a tag and a command are needed\r\n");
	expect("x FOO\r\n", "x BAD unknown command\r\n");
	expect("x NOOP\n", "x BAD lines end in CRLF\r\n");
	expect("\r\n", "* BAD a tag and a command are needed\r\n");
	expect("x UID NOOP\r\n", "x BAD unknown command\r\n");
	for (unsigned i = 0; i < IMAP_ERRORS_MAX; i++)
		say("x FOO\r\n");
	assert_true(f.engine->ended);
}

static void test_dialogue_is_the_same_at_every_split(void **state)
{
	static const char talk[] =
		LOGIN "b SELECT INBOX\r\nc FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\r\n"
		      "d APPEND Sent {5+}\r\nhello\r\ne SEARCH SUBJECT {5+}\r\nlunch\r\n"
		      "f FETCH 2 (BODY[1] BODY.PEEK[HEADER.FIELDS (\"Subject\")])\r\ng LOGOUT\r\n";
	char *whole = strdup(fake_talk(&f, talk, sizeof(talk) - 1, 0));

	(void)state;
	assert_non_null(strstr(whole, "g OK logged out"));
	for (size_t piece = 1; piece < sizeof(talk); piece += piece < 20 ? 1 : 7) {
		fake_stop(&f);
		setup(NULL);
		assert_string_equal(fake_talk(&f, talk, sizeof(talk) - 1, piece), whole);
	}
	free(whole);
}

static void test_hangup_at_every_op_frees_everything(void **state)
{
	static const char talk[] = LOGIN
		"b SELECT INBOX\r\nc FETCH 1:* (ENVELOPE BODY[])\r\nd SEARCH TEXT foo SUBJECT x\r\n"
		"e STORE 1 +FLAGS (a)\r\nf COPY 1 Sent\r\ng LIST \"\" *\r\n"
		"h APPEND Sent (k) {3+}\r\nabc\r\ni STORE 1:* +FLAGS (\\Deleted)\r\nj EXPUNGE\r\n";

	(void)state;
	for (unsigned stop = 0; stop < 60; stop++) {
		fake_stop(&f);
		assert_int_equal(chunk_pool_free_count(), chunk_pool_size());
		setup(NULL);
		f.hold = true;
		const char *at = talk;
		for (unsigned n = 0; n < stop; n++) {
			size_t left = strlen(at), taken = 1;
			while (left && taken && f.engine->ops->wants_input(f.engine)) {
				taken = f.engine->ops->input(f.engine, bytes_make(at, left));
				at += taken;
				left -= taken;
				fake_pump(&f);
			}
			if (f.pending)
				fake_answer(&f);
			fake_pump(&f);
		}
		fake_hangup(&f);
	}
}

static void test_store_errors(void **state)
{
	(void)state;
	open_inbox();
	f.fail_status = -EIO;
	f.fail_kind = STORE_READ_BODY;
	contains("c FETCH 1 BODY.PEEK[TEXT]\r\n", "c NO [UNAVAILABLE]");
	f.fail_status = -ENOENT;
	contains("d FETCH 1:2 BODY.PEEK[TEXT]\r\n", "d OK [EXPUNGEISSUED]");
	f.fail_status = -ENOBUFS;
	contains("e FETCH 1 BODY.PEEK[TEXT]\r\n", "e OK");
	f.fail_status = -EIO;
	f.fail_kind = STORE_FLAGS;
	f.fail_write = true;
	contains("f STORE 1 +FLAGS (\\Draft)\r\n", "f NO [UNAVAILABLE]");
	f.fail_status = -EIO;
	f.fail_kind = STORE_READ_BODY;
	f.fail_write = false;
	say("g FETCH 1 BODY.PEEK[]\r\n");
	assert_true(f.engine->aborted);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_greeting_and_login),
		T(test_authenticate_plain),
		T(test_no_login_without_tls),
		T(test_starttls_is_the_last_word_in_clear),
		T(test_select_tells_the_mailbox),
		T(test_fetch_simple_items),
		T(test_sets_follow_each_other),
		T(test_fetch_envelope),
		T(test_fetch_bodystructure),
		T(test_shapes_give_the_same_answers),
		T(test_shapes_that_cannot_be_used),
		T(test_fetch_sections),
		T(test_fetch_body_sets_seen),
		T(test_fetch_large_body_whole),
		T(test_store),
		T(test_expunge_and_close),
		T(test_changes_of_others_are_told),
		T(test_idle_tells_at_once),
		T(test_idle_is_measured),
		T(test_a_peer_that_does_not_read_holds_no_space),
		T(test_search_gives_its_space_back_with_each_message),
		T(test_copy),
		T(test_move),
		T(test_append),
		T(test_append_streams_large_messages),
		T(test_append_ends_in_no_line),
		T(test_memory_is_short),
		T(test_append_error_of_a_part_is_told),
		T(test_list),
		T(test_mailbox_commands),
		T(test_renames_are_few_at_once),
		T(test_quota),
		T(test_special_use),
		T(test_search),
		T(test_search_nesting_is_bounded),
		T(test_long_commands),
		T(test_bad_commands),
		T(test_dialogue_is_the_same_at_every_split),
		T(test_hangup_at_every_op_frees_everything),
		T(test_store_errors),
	};

	eal_start_for_tests(64);
	counters_thread_init("test");
	if (chunk_pool_init(2048, -1) < 0 || message_pool_init(64, -1) < 0)
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	message_pool_fini();
	chunk_pool_fini();
	return failed;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Non-delivery reports: octet for octet, and against RFC 3464's shape for hostile input. */
#include "tests/unit/delivery/unit.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/base/rt/eal.h"
#include "delivery/bounce.h"

static const char golden[] =
	"Date: Sun, 22 Nov 2026 23:05:00 +0000\r\n"
	"From: Mail Delivery System <MAILER-DAEMON@relay.example.org>\r\n"
	"To: <alice@example.org>\r\n"
	"Subject: Mail could not be delivered\r\n"
	"Message-ID: <0000000000abcdef.dsn@relay.example.org>\r\n"
	"Auto-Submitted: auto-replied\r\n"
	"MIME-Version: 1.0\r\n"
	"Content-Type: multipart/report; report-type=delivery-status;\r\n"
	"\tboundary=\"=_0000000000abcdef00000000deadbeef_bypost\"\r\n"
	"\r\n"
	"--=_0000000000abcdef00000000deadbeef_bypost\r\n"
	"Content-Type: text/plain; charset=us-ascii\r\n"
	"\r\n"
	"This is the mail relay relay.example.org.\r\n"
	"\r\n"
	"Your message could not be delivered to the recipients below, and it will not\r\n"
	"be tried again.\r\n"
	"\r\n"
	"<bob@example.net>:\r\n"
	"    host mx.example.net[198.18.0.9] said: 550 5.1.1 no such user\r\n"
	"\r\n"
	"<eve@example.com>:\r\n"
	"    no such domain: example.com\r\n"
	"\r\n"
	"The header of your message is attached.\r\n"
	"\r\n"
	"--=_0000000000abcdef00000000deadbeef_bypost\r\n"
	"Content-Type: message/delivery-status\r\n"
	"\r\n"
	"Original-Envelope-Id: QQ+1\r\n"
	"Reporting-MTA: dns; relay.example.org\r\n"
	"X-Bypost-Queue-ID: 0000000000001234\r\n"
	"Arrival-Date: Sun, 22 Nov 2026 23:04:59 +0000\r\n"
	"\r\n"
	"Original-Recipient: rfc822; bob+x@old.example\r\n"
	"Final-Recipient: rfc822; bob@example.net\r\n"
	"Action: failed\r\n"
	"Status: 5.1.1\r\n"
	"Remote-MTA: dns; mx.example.net\r\n"
	"Diagnostic-Code: smtp; host mx.example.net[198.18.0.9] said: 550 5.1.1 no such user\r\n"
	"Last-Attempt-Date: Sun, 22 Nov 2026 23:05:00 +0000\r\n"
	"\r\n"
	"Final-Recipient: rfc822; eve@example.com\r\n"
	"Action: failed\r\n"
	"Status: 5.1.2\r\n"
	"Diagnostic-Code: X-Bypost; no such domain: example.com\r\n"
	"Last-Attempt-Date: Sun, 22 Nov 2026 23:05:00 +0000\r\n"
	"\r\n"
	"--=_0000000000abcdef00000000deadbeef_bypost\r\n"
	"Content-Type: text/rfc822-headers\r\n"
	"\r\n"
	"Subject: hello\r\n"
	"\tfolded\r\n"
	"From: alice@example.org\r\n"
	"\r\n"
	"--=_0000000000abcdef00000000deadbeef_bypost--\r\n";

static struct bounce_rcpt rcpts[] = {
	{.address = {(const uint8_t *)"bob@example.net", 15},
         .reason = "host mx.example.net[198.18.0.9] said: 550 5.1.1 no such user",
         .orcpt = {(const uint8_t *)"rfc822;bob+2Bx@old.example", 26},
         .host = "mx.example.net",
         .code = 550,
         .status = {5, 1, 1},
         .action = BOUNCE_FAILED},
	{.address = {(const uint8_t *)"eve@example.com", 15},
         .reason = "no such domain: example.com",
         .status = {5, 1, 2},
         .action = BOUNCE_FAILED},
};

static struct bounce sample(void)
{
	return (struct bounce){.id = 0xabcdef,
		.salt = 0xdeadbeef,
		.envid = BYTES_LIT("QQ+2B1"),
		.now_ms = 1795388700000,
		.hostname = "relay.example.org",
		.original_id = 0x1234,
		.original_ms = 1795388699000,
		.to = BYTES_LIT("alice@example.org"),
		.route = RCPT_LOCAL,
		.account = 7,
		.rcpts = rcpts,
		.rcpt_count = 2,
		.original = BYTES_LIT(
			"Subject: hello\r\n\tfolded\r\nFrom: alice@example.org\r\n\r\nbody\r\n")};
}

static size_t body_of(const struct message *m, char *out, size_t cap)
{
	size_t n = chain_read(&m->body, 0, out, cap - 1);

	out[n] = '\0';
	return n;
}

static void test_report_octet_for_octet(void **state)
{
	struct bounce b = sample();
	char text[16384];

	(void)state;
	struct message *m = bounce_build(&b);
	assert_non_null(m);
	size_t n = body_of(m, text, sizeof(text));
	assert_string_equal(text, golden);
	assert_int_equal(m->body_crc, crc32c(0, text, n));
	assert_int_equal(m->header_bytes, strstr(text, "\r\n\r\n") + 4 - text);
	assert_int_equal(m->sender_n, 0);
	assert_int_equal(m->rcpt_count, 1);
	assert_int_equal(m->bare, 1);
	const struct rcpt *r = message_rcpt(m, 0);
	assert_int_equal(r->notify, NOTIFY_NEVER);
	assert_int_equal(r->route, RCPT_LOCAL);
	assert_int_equal(r->account, 7);
	assert_true(bytes_eq(message_rcpt_address(m, r), b.to));
	n = chain_read(&m->prefix, 0, text, sizeof(text));
	assert_int_equal(n, m->prefix_local);
	assert_memory_equal(text, "Return-Path: <>\r\n", n);
	message_unref(m);
}

/* Every line ends in CRLF, is printable and short enough, and the parts are there. */
static void check_shape(const struct message *m)
{
	static char text[1 << 16];
	size_t n = body_of(m, text, sizeof(text)), line = 0;
	unsigned boundaries = 0;

	assert_true(n > 0 && text[n - 1] == '\n');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '\r') {
			assert_int_equal(text[i + 1], '\n');
		} else if (c == '\n') {
			assert_int_equal(text[i - 1], '\r');
			assert_in_range(i - line, 0, 1024);
			line = i + 1;
			boundaries += strncmp(text + line, "--=_", 4) == 0;
		} else {
			assert_true(c == '\t' || (c >= ' ' && c <= '~'));
		}
	}
	assert_int_equal(boundaries, 4);
	assert_int_equal(m->header_bytes, strstr(text, "\r\n\r\n") + 4 - text);
}

static void test_hostile_text_stays_in_its_place(void **state)
{
	struct bounce b = sample();
	struct bounce_rcpt r = {
		.address = BYTES_LIT("x\r\nInjected: y\0\x80@example.net"),
		.reason = "plain",
		.code = 550,
		.status = {5, 0, 0},
		.action = BOUNCE_FAILED
        };

	(void)state;
	b.rcpts = &r;
	b.rcpt_count = 1;
	b.original =
		BYTES_LIT("A: \xff\0\x01\r\rB: c\r\n--=_0000000000abcdef00000000deadbeef\r\n\r\n");
	struct message *m = bounce_build(&b);
	assert_non_null(m);
	check_shape(m);
	char text[16384];
	body_of(m, text, sizeof(text));
	assert_null(strstr(text, "\nInjected"));
	message_unref(m);
}

/* Each action by itself, and the worst of several in the subject. */
static void test_actions(void **state)
{
	static const struct {
		uint8_t action;
		const char *subject, *action_text, *status;
	} table[] = {
		{BOUNCE_FAILED,    "could not be delivered", "failed",    "5.7.8"},
		{BOUNCE_DELAYED,   "is delayed",             "delayed",   "4.7.8"},
		{BOUNCE_RELAYED,   "was relayed",            "relayed",   "2.7.8"},
		{BOUNCE_DELIVERED, "was delivered",          "delivered", "2.7.8"},
	};
	char text[16384], want[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct bounce b = sample();
		struct bounce_rcpt two[2] = {rcpts[0], rcpts[0]};
		two[0].action = table[i].action;
		two[1].action = BOUNCE_DELIVERED;
		memcpy(two[0].status, (const uint8_t[3]){5, 7, 8}, 3);
		b.rcpts = two;
		b.expire_ms = b.now_ms + 1000;
		struct message *m = bounce_build(&b);
		assert_non_null(m);
		check_shape(m);
		body_of(m, text, sizeof(text));
		snprintf(want, sizeof(want), "Subject: Mail %s\r\n", table[i].subject);
		assert_non_null(strstr(text, want));
		snprintf(want, sizeof(want), "Action: %s\r\nStatus: %s\r\n", table[i].action_text,
			table[i].status);
		assert_non_null(strstr(text, want));
		assert_int_equal(strstr(text, "Will-Retry-Until: ") != NULL,
			table[i].action == BOUNCE_DELAYED);
		message_unref(m);
	}
}

/* RFC 6533: only where an address needs it and the sender reads UTF-8; else it is masked. */
static void test_addresses_beyond_ascii(void **state)
{
	(void)state;
	for (int utf8 = 0; utf8 < 2; utf8++) {
		struct bounce b = sample();
		struct bounce_rcpt r = rcpts[0];
		char text[16384];
		r.address = BYTES_LIT("k\xc3\xb6ln@example.net");
		r.orcpt = BYTES_LIT("utf-8;k\xc3\xb6ln@example.net");
		b.rcpts = &r;
		b.rcpt_count = 1;
		b.smtputf8 = utf8;
		struct message *m = bounce_build(&b);
		assert_non_null(m);
		body_of(m, text, sizeof(text));
		assert_int_equal(m->smtputf8, utf8);
		assert_int_equal(m->body_type, utf8 ? BODY_8BITMIME : BODY_7BIT);
		assert_non_null(
			strstr(text, utf8 ? "Final-Recipient: utf-8; k\xc3\xb6ln@example.net\r\n"
					  : "Final-Recipient: rfc822; k??ln@example.net\r\n"));
		assert_int_equal(strstr(text, "report-type=global-delivery-status") != NULL, utf8);
		assert_int_equal(strstr(text, "message/global-delivery-status\r\n") != NULL, utf8);
		if (!utf8)
			check_shape(m);
		message_unref(m);
	}
}

static void test_header_is_cut_at_a_line(void **state)
{
	static char big[3 * BOUNCE_HEADER_MAX];
	struct bounce b = sample();

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 50 == 48 ? '\r' : i % 50 == 49 ? '\n' : 'h';
	struct bytes head = bounce_header_of(bytes_make(big, sizeof(big)));
	assert_in_range(head.n, BOUNCE_HEADER_MAX - 50, BOUNCE_HEADER_MAX);
	assert_int_equal(head.p[head.n - 1], '\n');
	assert_int_equal(bounce_header_of(BYTES_NONE).n, 0);
	assert_int_equal(bounce_header_of(BYTES_LIT("\r\nbody\r\n")).n, 0);
	assert_int_equal(bounce_header_of(BYTES_LIT("no line end")).n, 0);
	assert_int_equal(bounce_header_of(BYTES_LIT("A: b\r\ncut")).n, 6);
	b.original = bytes_make(big, sizeof(big));
	struct message *m = bounce_build(&b);
	assert_non_null(m);
	check_shape(m);
	message_unref(m);
}

static void test_no_chunks_gives_no_report_and_leaks_nothing(void **state)
{
	struct bounce b = sample();
	struct chain all = {0};
	struct chunk *c;

	(void)state;
	uint32_t free_before = chunk_pool_free_count();
	while ((c = chunk_get()))
		chain_push(&all, c);
	for (unsigned give = 0; give < 4; give++) {
		for (unsigned i = 0; i < give; i++)
			chunk_put(chain_pop(&all));
		assert_null(bounce_build(&b));
		while ((c = chunk_get()))
			chain_push(&all, c);
	}
	chain_free(&all);
	assert_int_equal(chunk_pool_free_count(), free_before);
	struct message *m = bounce_build(&b);
	assert_non_null(m);
	message_unref(m);
}

static int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	return chunk_pool_init(128, -1) || message_pool_init(16, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report_octet_for_octet),
		cmocka_unit_test(test_hostile_text_stays_in_its_place),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_addresses_beyond_ascii),
		cmocka_unit_test(test_header_is_cut_at_a_line),
		cmocka_unit_test(test_no_chunks_gives_no_report_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/downgrade: what a next hop with 7 bits gets.  Each case whole, octet by octet, at every
 * split, and into buffers of every size. */
#include "tests/unit/smtp/unit.h"
#include "smtp/downgrade.h"

#define OUT_MAX 8192

/* Convert in, cut at `cut`, into buffers with `extra` octets more than is needed. */
static size_t convert(struct downgrade *d, struct bytes in, size_t cut, size_t extra, uint8_t *all)
{
	uint8_t memory[DOWNGRADE_ROOM + 64];
	size_t n = 0, at = 0;

	while (at < in.n && d->fault == DOWNGRADE_FINE) {
		struct buf out;
		size_t to = at < cut ? MIN(cut, in.n) : in.n;
		buf_init(&out, memory, DOWNGRADE_ROOM + extra);
		size_t used = downgrade_feed(d, bytes_make(in.p + at, to - at), &out);
		assert_false(out.overflow);
		at += used;
		memcpy(all + n, memory, out.n);
		n += out.n;
		assert_true(n < OUT_MAX - DOWNGRADE_ROOM);
		assert_true(used > 0 || d->fault);
	}
	struct buf out;
	buf_init(&out, memory, sizeof(memory));
	downgrade_end(d, &out);
	assert_false(out.overflow);
	memcpy(all + n, memory, out.n);
	return n + out.n;
}

static enum downgrade_fault becomes(
	const char *in_text, size_t in_n, enum body_type to, const char *want)
{
	static uint8_t all[OUT_MAX];
	struct bytes in = bytes_make(in_text, in_n);
	enum downgrade_fault fault = DOWNGRADE_FINE;

	for (size_t cut = 0; cut <= in.n; cut++) {
		struct downgrade d;
		downgrade_init(&d, to, false);
		size_t n = convert(&d, in, cut, cut % 64, all);
		fault = d.fault;
		if (!fault)
			assert_bytes_equal(bytes_make(all, n), bytes_str(want));
	}
	return fault;
}

#define EQ(to, in, want) assert_int_equal(becomes(in, sizeof(in) - 1, to, want), DOWNGRADE_FINE)
#define FAULT(to, in, f) assert_int_equal(becomes(in, sizeof(in) - 1, to, ""), f)

#define V     "MIME-Version: 1.0\r\n"
#define TEXT8 "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
#define TEXTQP                                                                                     \
	"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "                   \
	"quoted-printable\r\n"

static void test_a_text_becomes_quoted_printable(void **state)
{
	(void)state;
	EQ(BODY_7BIT,
		"MIME-Version: 1.0\r\n" TEXT8 "Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9f"
		"e = 1\r\n",
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nSubject: x\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D 1\r\n");
	/* White space at line ends, no last line end, an empty body. */
	EQ(BODY_7BIT, V TEXT8 "\r\na \r\n\tb\t\r\n \r\n.\xe9",
		V TEXTQP "\r\na=20\r\n\tb=09\r\n=20\r\n.=E9=\r\n");
	EQ(BODY_7BIT, V TEXT8 "\r\n", V TEXTQP "\r\n");
	EQ(BODY_7BIT, "MIME-Version: 1.0\r\n\r\nx\xe9\r\n",
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nx=E9\r\n");
	/* Nothing but a header: it stays. */
	EQ(BODY_7BIT, "Subject: x\r\n", "Subject: x\r\n");
	EQ(BODY_7BIT, "", "");
	EQ(BODY_7BIT, "no colon", "no colon");
}

static void test_long_lines_are_broken_softly(void **state)
{
	char in[600], want[1200];
	size_t n = 0, w = 0;

	(void)state;
	n += (size_t)sprintf(in, "%s\r\n", V TEXT8);
	w += (size_t)sprintf(want, "%s\r\n", V TEXTQP);
	memset(in + n, 'a', 160);
	in[n + 75] = '\xe9';
	in[n + 160] = '\0';
	strcat(in, "\r\n");
	memset(want + w, 'a', 75);
	want[w + 75] = '\0';
	strcat(want, "=\r\n=E9");
	w = strlen(want);
	memset(want + w, 'a', 72);
	want[w + 72] = '\0';
	strcat(want, "=\r\naaaaaaaaaaaa\r\n");
	assert_int_equal(becomes(in, strlen(in), BODY_7BIT, want), DOWNGRADE_FINE);
}

/* RFC 1428 3 */
static void test_what_is_no_mime_becomes_it(void **state)
{
	(void)state;
	EQ(BODY_7BIT, "Subject: x\r\n\r\n\xe9\r\n",
		"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
		"charset=unknown-8bit\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n");
}

static void test_other_types_become_base64(void **state)
{
	(void)state;
	EQ(BODY_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: "
		"image/png\r\nContent-transfer-encoding:\r\n\tBinary\r\n\r\nab\0\xff\r\n",
		"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: "
		"base64\r\n\r\nYWIA/w0K\r\n");
	EQ(BODY_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding : "
		"8bit\r\n\r\na",
		"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: "
		"base64\r\n\r\nYQ==\r\n");
}

static void test_what_is_encoded_or_seven_bit_stays(void **state)
{
	(void)state;
	EQ(BODY_7BIT, "Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n",
		"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n");
	EQ(BODY_7BIT, "Content-Transfer-Encoding: 7bit\r\n\r\na =\r\n",
		"Content-Transfer-Encoding: 7bit\r\n\r\na =\r\n");
	FAULT(BODY_7BIT, "Content-Transfer-Encoding: 7bit\r\n\r\na\xe9\r\n", DOWNGRADE_MARKED);
	FAULT(BODY_7BIT, "Content-Transfer-Encoding: base64\r\n\r\n\xe9\r\n", DOWNGRADE_MARKED);
	FAULT(BODY_7BIT, "Subject: \xe9\r\n\r\n", DOWNGRADE_HEADER);
	FAULT(BODY_7BIT, "S\xe9: x\r\n\r\n", DOWNGRADE_HEADER);
	FAULT(BODY_8BITMIME, "Subject: \xe9\r\n\r\n", DOWNGRADE_HEADER);
}

#define MULTI "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"b b\"\r\n"

static void test_parts_are_converted_one_by_one(void **state)
{
	(void)state;
	EQ(BODY_7BIT,
		MULTI "Content-Transfer-Encoding: 8bit\r\n\r\npre\xe9mble\r\n--b b\r\n" TEXT8
		      "\r\n\xe9\r\n--b\r\n\r\n--b b  \r\nContent-Type: image/gif\r\n"
		      "Content-Transfer-Encoding: binary\r\n\r\nG\nIF\r\n--b b\r\n\r\nplain\r\n--b "
		      "b--\r\n\xe9pilogue\r\n",
		MULTI "Content-Transfer-Encoding: 7bit\r\n\r\npre?mble\r\n--b b\r\n" TEXTQP
		      "\r\n=E9\r\n--b\r\n\r\n--b b  \r\nContent-Type: image/gif\r\n"
		      "Content-Transfer-Encoding: base64\r\n\r\nRwpJRg==\r\n--b b\r\n"
		      "Content-Transfer-Encoding: quoted-printable\r\n\r\nplain\r\n--b "
		      "b--\r\n?pilogue\r\n");
}

static void test_nested_multiparts_and_messages(void **state)
{
	(void)state;
	EQ(BODY_7BIT,
		MULTI "\r\n--b b\r\nContent-Type: multipart/alternative; "
		      "boundary=in\r\n\r\n--in\r\n" TEXT8
		      "\r\n\xe9\r\n--b b\r\nContent-Type: message/rfc822\r\n"
		      "Content-Transfer-Encoding: 8bit\r\n\r\nSubject: y\r\n" TEXT8
		      "\r\n\xc3\xa9\r\n--b b--\r\n",
		MULTI "\r\n--b b\r\nContent-Type: multipart/alternative; "
		      "boundary=in\r\n\r\n--in\r\n" TEXTQP
		      "\r\n=E9\r\n--b b\r\nContent-Type: message/rfc822\r\n"
		      "Content-Transfer-Encoding: 7bit\r\n\r\nSubject: y\r\n" TEXTQP
		      "\r\n=C3=A9\r\n--b b--\r\n");
	/* One boundary is the beginning of the other. */
	EQ(BODY_7BIT,
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
		"multipart/mixed; "
		"boundary=b1\r\n\r\n--b1\r\n\r\nx\r\n--b1--\r\n--b\r\n\r\ny\r\n--b--\r\n--b",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
		"multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Transfer-Encoding: "
		"quoted-printable\r\n\r\nx\r\n--b1--\r\n--b\r\nContent-Transfer-Encoding: "
		"quoted-printable\r\n\r\ny\r\n--b--\r\n--b");
	/* A digest's parts are messages. */
	EQ(BODY_7BIT,
		"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\n" TEXT8
		"\r\n\xe9\r\n--d--\r\n",
		"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\n" TEXTQP
		"\r\n=E9\r\n--d--\r\n");
}

static void test_signed_parts_are_not_touched(void **state)
{
	(void)state;
	EQ(BODY_7BIT,
		"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\na =\r\n--s--\r\n",
		"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\na =\r\n--s--\r\n");
	FAULT(BODY_7BIT,
		"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n\xe9\r\n--s--\r\n",
		DOWNGRADE_MARKED);
}

static void test_binary_to_eight_bit(void **state)
{
	(void)state;
	EQ(BODY_8BITMIME,
		MULTI "\r\n--b b\r\n" TEXT8 "\r\n\xe9\r\n--b b\r\nContent-Type: text/plain\r\n"
		      "Content-Transfer-Encoding: binary\r\n\r\na\nb\rc\r\n\xe9\r\n--b b--\r\n",
		MULTI "\r\n--b b\r\n" TEXT8 "\r\n\xe9\r\n--b b\r\nContent-Type: text/plain\r\n"
		      "Content-Transfer-Encoding: quoted-printable\r\n\r\na=0Ab=0Dc\r\n=E9\r\n--b "
		      "b--\r\n");
}

static void test_nesting_is_bounded(void **state)
{
	static char in[40000];
	struct downgrade d;
	static uint8_t all[OUT_MAX * 8];
	size_t n = 0, used = 0;

	(void)state;
	for (unsigned i = 0; i < MIME_DEPTH_MAX + 2; i++)
		n += (size_t)sprintf(in + n,
			"Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", i, i);
	downgrade_init(&d, BODY_7BIT, false);
	while (used < n && !d.fault) {
		struct buf out;
		buf_init(&out, all, sizeof(all));
		used += downgrade_feed(&d, bytes_make(in + used, n - used), &out);
	}
	assert_int_equal(d.fault, DOWNGRADE_TOO_DEEP);
	/* Messages in messages have no delimiter to end them. */
	n = 0;
	for (unsigned i = 0; i < 100; i++)
		n += (size_t)sprintf(in + n, "Content-Type: message/rfc822\r\n\r\n");
	downgrade_init(&d, BODY_7BIT, false);
	struct buf out;
	buf_init(&out, all, sizeof(all));
	downgrade_feed(&d, bytes_make(in, n), &out);
	assert_int_equal(d.fault, DOWNGRADE_TOO_DEEP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_text_becomes_quoted_printable),
		cmocka_unit_test(test_long_lines_are_broken_softly),
		cmocka_unit_test(test_what_is_no_mime_becomes_it),
		cmocka_unit_test(test_other_types_become_base64),
		cmocka_unit_test(test_what_is_encoded_or_seven_bit_stays),
		cmocka_unit_test(test_parts_are_converted_one_by_one),
		cmocka_unit_test(test_nested_multiparts_and_messages),
		cmocka_unit_test(test_signed_parts_are_not_touched),
		cmocka_unit_test(test_binary_to_eight_bit),
		cmocka_unit_test(test_nesting_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

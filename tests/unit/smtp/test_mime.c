/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "smtp/mime.h"

static struct mime_part parts[MIME_PARTS_MAX];
static char headers[8192];
static struct mime_scan scan;

/* piece 0: whole */
static void scan_text(const char *text, size_t n, size_t piece)
{
	mime_scan_init(&scan, parts, MIME_PARTS_MAX, headers, sizeof(headers));
	for (size_t at = 0; at < n;) {
		size_t take = piece ? MIN(piece, n - at) : n;
		uint8_t *copy = malloc(take);
		memcpy(copy, text + at, take);
		mime_scan_feed(&scan, bytes_make(copy, take));
		free(copy);
		at += take;
	}
	mime_scan_end(&scan);
}

/* "number kind body..." with the bodies cut out of the text. */
static void structure(const char *text, const char *want)
{
	size_t n = strlen(text);
	char out[4000];

	for (size_t piece = 0; piece < n; piece++) {
		size_t at = 0;
		scan_text(text, n, piece);
		for (unsigned i = 0; i < scan.part_count; i++) {
			const struct mime_part *p = &parts[i];
			assert_true(p->body_offset <= p->end && p->end <= n);
			assert_true(p->header_offset <= p->body_offset);
			at += (size_t)snprintf(out + at, sizeof(out) - at, "%u<%u#%u %c%u[%.*s]", i,
				p->parent, p->number, "LMR"[p->kind], p -> lines,
				p -> kind == MIME_LEAF ? (int)(p->end - p->body_offset) : 0,
				text + p -> body_offset);
		}
		assert_string_equal(out, want);
	}
}

#define MULTI(b) "Content-Type: multipart/mixed; boundary=\"" b "\"\r\n\r\n"

static void test_plain_message(void **state)
{
	(void)state;
	structure("A: b\r\n\r\nbody\r\nmore\r\n", "0<0#0 L2[body\r\nmore\r\n]");
	structure("A: b\r\n\r\n", "0<0#0 L0[]");
	structure("A: b\r\n", "0<0#0 L0[]");
	structure("\r\nbody", "0<0#0 L0[body]");
	structure("A: b\n\nbare lf\n", "0<0#0 L1[bare lf\n]");
}

static void test_multipart(void **state)
{
	(void)state;
	structure(MULTI("b") "pre\r\n--b\r\n\r\none\r\n--b  \r\nX: "
			     "y\r\n\r\ntwo\r\nlines\r\n\r\n--b--\r\nepi\r\n",
		"0<0#0 M12[]1<0#1 L0[one]2<0#2 L2[two\r\nlines\r\n]");
	structure(MULTI("b") "--b\r\n--b\r\n\r\n--b--", "0<0#0 M3[]1<0#1 L0[]2<0#2 L0[]");
	structure(MULTI("b") "no boundary\r\n--bx\r\n", "0<0#0 M2[]");
	structure(MULTI("b") "--b\r\n\r\nopen end\r\n", "0<0#0 M3[]1<0#1 L1[open end\r\n]");
}

static void test_nested(void **state)
{
	(void)state;
	structure(MULTI("out") "--out\r\n" MULTI(
			  "in") "--in\r\n\r\na\r\n--in--\r\n--out\r\n\r\nb\r\n--out--\r\n",
		"0<0#0 M11[]1<0#1 M3[]2<1#1 L0[a]3<0#2 L0[b]");
	/* The outer boundary ends inner ones that were never closed. */
	structure(MULTI("out") "--out\r\n" MULTI(
			  "in") "--in\r\n\r\na\r\n--out\r\n\r\nb\r\n--out--\r\n",
		"0<0#0 M10[]1<0#1 M2[]2<1#1 L0[a]3<0#2 L0[b]");
}

static void test_message_part(void **state)
{
	(void)state;
	structure(
		MULTI("b") "--b\r\nContent-Type: message/rfc822\r\n\r\nS: t\r\n\r\nin\r\n--b--\r\n",
		"0<0#0 M7[]1<0#1 R2[]2<1#0 L0[in]");
	structure("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nS: "
		  "t\r\n\r\nin\r\n--b--\r\n",
		"0<0#0 M6[]1<0#1 R2[]2<1#0 L0[in]");
}

static void test_headers_are_kept(void **state)
{
	static const char text[] = MULTI("b") "--b\r\nX: y\r\n\r\nz\r\n--b--\r\n";

	(void)state;
	scan_text(text, sizeof(text) - 1, 3);
	assert_true(bytes_eq(mime_part_header(&scan, 1), BYTES_LIT("X: y\r\n")));
	assert_int_equal(mime_part_child(&scan, 0, 1), 1);
	assert_int_equal(mime_part_child(&scan, 0, 2), -1);
}

static void test_header_only_stops(void **state)
{
	(void)state;
	mime_scan_init(&scan, parts, 1, headers, sizeof(headers));
	scan.header_only = true;
	mime_scan_feed(&scan, BYTES_LIT("A: b\r\n\r\nbody"));
	assert_true(scan.done);
	assert_int_equal(parts[0].body_offset, 8);
}

static void test_bounds_hold(void **state)
{
	size_t cap = 400000, n = 0;
	char *text = malloc(cap);

	(void)state;
	/* More levels than there may be, then more parts. */
	for (unsigned i = 0; i < 40; i++)
		n += (size_t)snprintf(text + n, cap - n,
			"Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", i, i);
	scan_text(text, n, 0);
	assert_true(scan.part_count <= MIME_DEPTH_MAX + 2);
	n = (size_t)snprintf(text, cap, "%s", MULTI("b"));
	for (unsigned i = 0; i < 1000; i++)
		n += (size_t)snprintf(text + n, cap - n, "--b\r\n\r\nx\r\n");
	scan_text(text, n, 0);
	assert_int_equal(scan.part_count, MIME_PARTS_MAX);
	/* Messages within messages. */
	n = 0;
	for (unsigned i = 0; i < 40; i++)
		n += (size_t)snprintf(text + n, cap - n, "Content-Type: message/rfc822\r\n\r\n");
	scan_text(text, n, 0);
	assert_int_equal(scan.part_count, MIME_DEPTH_MAX + 1);
	/* A header longer than its memory. */
	n = 0;
	for (unsigned i = 0; i < 2000; i++)
		n += (size_t)snprintf(text + n, cap - n, "X-Header: %u\r\n", i);
	n += (size_t)snprintf(text + n, cap - n, "\r\nbody");
	scan_text(text, n, 0);
	assert_true(parts[0].header_cut);
	assert_int_equal(parts[0].end - parts[0].body_offset, 4);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_message),
		cmocka_unit_test(test_multipart),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_message_part),
		cmocka_unit_test(test_headers_are_kept),
		cmocka_unit_test(test_header_only_stops),
		cmocka_unit_test(test_bounds_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/base/unit.h"
#include <stdlib.h>
#include "bench/letter.h"

#define OCTETS_MAX 8192

static uint8_t octets[OCTETS_MAX];
static size_t octets_n;

/* The whole message, drawn in pieces, behind a header field that a relay would add. */
static struct letter_id make(uint64_t seq, uint64_t size, size_t piece, const char *trace)
{
	struct letter_id id = {.run = 0x1234, .seq = seq, .sent_us = 99, .size = size};
	struct letter l;
	bool end = false;

	letter_make(&l, &id, BYTES_LIT("a@example.org"), BYTES_LIT("b@example.net"), BYTES_NONE);
	octets_n = strlen(trace);
	memcpy(octets, trace, octets_n);
	for (uint64_t n = 0; !end; n++) {
		struct bytes b = letter_next(&l, piece, &end);
		assert_true(b.n > 0 && b.n <= piece && octets_n + b.n <= sizeof(octets));
		memcpy(octets + octets_n, b.p, b.n);
		octets_n += b.n;
	}
	assert_int_equal(octets_n - strlen(trace), letter_octets(&l));
	return l.id;
}

static enum letter_verdict read_all(size_t split, size_t piece, struct letter_id *id_r)
{
	static struct letter_reader r;

	letter_begin(&r);
	letter_feed(&r, bytes_make(octets, split));
	for (size_t at = split; at < octets_n; at += piece)
		letter_feed(&r, bytes_make(octets + at, MIN(piece, octets_n - at)));
	return letter_end(&r, id_r);
}

static bool same(const struct letter_id *a, const struct letter_id *b)
{
	return a->run == b->run && a->seq == b->seq && a->size == b->size &&
	       a->sent_us == b->sent_us && a->crc == b->crc;
}

static void test_whole_and_at_every_split(void **state)
{
	struct letter_id got, sent = make(5, 1000, 100, "Received: from x by y\r\n");

	(void)state;
	for (size_t split = 0; split <= octets_n; split++) {
		assert_int_equal(read_all(split, octets_n, &got), LETTER_GOOD);
		assert_true(same(&got, &sent));
	}
	assert_int_equal(read_all(0, 1, &got), LETTER_GOOD);
}

/* Lines end in CRLF and nothing else does; the size is that asked for. */
static void test_every_size_is_a_good_body(void **state)
{
	struct letter_id got;

	(void)state;
	for (uint64_t size = 2; size < 400; size++) {
		make(size, size, 77, "");
		assert_int_equal(read_all(0, octets_n, &got), LETTER_GOOD);
		assert_int_equal(got.size, size);
		assert_memory_equal(octets + octets_n - 2, "\r\n", 2);
		for (size_t i = 0; i < octets_n; i++) {
			assert_true(octets[i] != '\r' || octets[i + 1] == '\n');
			assert_true(octets[i] != '\n' || octets[i - 1] == '\r');
			assert_true(octets[i] >= ' ' || octets[i] == '\r' || octets[i] == '\n');
		}
	}
}

static void test_any_octet_of_the_body_that_changes_is_noticed(void **state)
{
	struct letter_id got;
	size_t body;

	(void)state;
	make(6, 500, 500, "");
	body = octets_n - 500;
	for (size_t i = body; i < octets_n; i++) {
		octets[i] ^= 1;
		assert_int_equal(read_all(0, octets_n, &got), LETTER_ALTERED);
		octets[i] ^= 1;
	}
	octets_n--;
	assert_int_equal(read_all(0, octets_n, &got), LETTER_ALTERED);
	octets_n++;
	octets[octets_n++] = '\n';
	assert_int_equal(read_all(0, octets_n, &got), LETTER_ALTERED);
}

static void test_a_changed_field_does_not_pass(void **state)
{
	struct letter_id got, sent = make(7, 300, 300, "");
	const uint8_t *field = memmem(octets, octets_n, "run=", 4);
	size_t at = (size_t)(field - octets);

	(void)state;
	for (size_t i = at; octets[i] != '\r'; i++) {
		octets[i] ^= 1;
		if (read_all(0, octets_n, &got) == LETTER_GOOD)
			assert_true(same(&got, &sent)); /* a digit's other case */
		octets[i] ^= 1;
	}
}

static void test_other_mail_is_foreign(void **state)
{
	static const char *const texts[] = {"", "\r\n", "Subject: x\r\n\r\nbody\r\n",
		"\r\n\r\nX-Bypost-Bench: run=1 seq=1\r\n"};
	struct letter_id got;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		octets_n = strlen(texts[i]);
		memcpy(octets, texts[i], octets_n);
		assert_int_equal(read_all(0, MAX(octets_n, (size_t)1), &got), LETTER_FOREIGN);
	}
}

static void test_a_header_without_end(void **state)
{
	struct letter_id got;

	(void)state;
	memset(octets, 'a', sizeof(octets));
	octets_n = sizeof(octets);
	for (size_t piece = 1; piece < 5000; piece = piece * 3 + 1)
		assert_int_equal(read_all(0, piece, &got), LETTER_FOREIGN);
}

static void test_messages_differ(void **state)
{
	struct letter_id a = make(1, 2000, 2000, ""), b = make(2, 2000, 2000, "");

	(void)state;
	assert_int_not_equal(a.crc, b.crc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_and_at_every_split),
		cmocka_unit_test(test_every_size_is_a_good_body),
		cmocka_unit_test(test_any_octet_of_the_body_that_changes_is_noticed),
		cmocka_unit_test(test_a_changed_field_does_not_pass),
		cmocka_unit_test(test_other_mail_is_foreign),
		cmocka_unit_test(test_a_header_without_end),
		cmocka_unit_test(test_messages_differ),
	};

	letters_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

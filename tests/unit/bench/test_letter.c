/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/base/unit.h"
#include <stdlib.h>
#include "tests/unit/bench/letters.h"

static struct drawn drawn;

/* The whole message, drawn in pieces, behind a header field that a relay would add. */
static struct letter_id make(uint64_t seq, uint64_t size, size_t piece, const char *trace)
{
	struct letter_id id = {.run = 0x1234, .seq = seq, .sent_us = 99, .size = size};
	struct letter l;

	letter_make(&l, &id, BYTES_LIT("a@example.org"), BYTES_LIT("b@example.net"), BYTES_NONE);
	drawn.n = strlen(trace);
	memcpy(drawn.octets, trace, drawn.n);
	letter_draw(&l, piece, &drawn);
	return l.id;
}

static enum letter_verdict read_all(size_t split, size_t piece, struct letter_id *id_r)
{
	static struct letter_reader r;

	return letter_read(&r, bytes_make(drawn.octets, drawn.n), split, piece, id_r);
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
	for (size_t split = 0; split <= drawn.n; split++) {
		assert_int_equal(read_all(split, drawn.n, &got), LETTER_GOOD);
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
		assert_int_equal(read_all(0, drawn.n, &got), LETTER_GOOD);
		assert_int_equal(got.size, size);
		assert_memory_equal(drawn.octets + drawn.n - 2, "\r\n", 2);
		for (size_t i = 0; i < drawn.n; i++) {
			assert_true(drawn.octets[i] != '\r' || drawn.octets[i + 1] == '\n');
			assert_true(drawn.octets[i] != '\n' || drawn.octets[i - 1] == '\r');
			assert_true(drawn.octets[i] >= ' ' || drawn.octets[i] == '\r' ||
				    drawn.octets[i] == '\n');
		}
	}
}

static void test_any_octet_of_the_body_that_changes_is_noticed(void **state)
{
	struct letter_id got;
	size_t body;

	(void)state;
	make(6, 500, 500, "");
	body = drawn.n - 500;
	for (size_t i = body; i < drawn.n; i++) {
		drawn.octets[i] ^= 1;
		assert_int_equal(read_all(0, drawn.n, &got), LETTER_ALTERED);
		drawn.octets[i] ^= 1;
	}
	drawn.n--;
	assert_int_equal(read_all(0, drawn.n, &got), LETTER_ALTERED);
	drawn.n++;
	drawn.octets[drawn.n++] = '\n';
	assert_int_equal(read_all(0, drawn.n, &got), LETTER_ALTERED);
}

static void test_a_changed_field_does_not_pass(void **state)
{
	struct letter_id got, sent = make(7, 300, 300, "");
	const uint8_t *field = memmem(drawn.octets, drawn.n, "run=", 4);
	size_t at = (size_t)(field - drawn.octets);

	(void)state;
	for (size_t i = at; drawn.octets[i] != '\r'; i++) {
		drawn.octets[i] ^= 1;
		if (read_all(0, drawn.n, &got) == LETTER_GOOD)
			assert_true(same(&got, &sent)); /* a digit's other case */
		drawn.octets[i] ^= 1;
	}
}

static void test_other_mail_is_foreign(void **state)
{
	static const char *const texts[] = {"", "\r\n", "Subject: x\r\n\r\nbody\r\n",
		"\r\n\r\nX-Bypost-Bench: run=1 seq=1\r\n"};
	struct letter_id got;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		drawn.n = strlen(texts[i]);
		memcpy(drawn.octets, texts[i], drawn.n);
		assert_int_equal(read_all(0, MAX(drawn.n, (size_t)1), &got), LETTER_FOREIGN);
	}
}

static void test_a_header_without_end(void **state)
{
	struct letter_id got;

	(void)state;
	memset(drawn.octets, 'a', sizeof(drawn.octets));
	drawn.n = sizeof(drawn.octets);
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

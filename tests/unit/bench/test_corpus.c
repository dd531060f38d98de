/* SPDX-License-Identifier: BSD-3-Clause
 * Messages of a folder: lines made right, numbered in front, read back whole and in pieces. */
#include "tests/unit/smtp/unit.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/bench/letters.h"

static struct drawn drawn;

static void check_content(const char *file, size_t n, const char *content, uint64_t body_n)
{
	struct corpus c = {0};

	assert_int_equal(corpus_add(&c, bytes_make(file, n)), 0);
	assert_int_equal(c.count, 1);
	assert_bytes_equal(corpus_content(&c, &c.mails[0]), bytes_str(content));
	assert_int_equal(c.mails[0].body_n, body_n);
	corpus_free(&c);
}

static void test_lines_are_made_to_end_as_smtp_has_it(void **state)
{
	(void)state;
	check_content("A: b\n\nx\n", 8, "A: b\r\n\r\nx\r\n", 3);
	check_content("A: b\r\n\r\nx\r\n", 11, "A: b\r\n\r\nx\r\n", 3);
	check_content("A: b\r\rx", 7, "A: b\r\n\r\nx\r\n", 3);
	check_content("A: b\n\n.x\n\0y", 11, "A: b\r\n\r\n.x\r\n y\r\n", 8);
	/* a header without end, and none */
	check_content("A: b", 4, "A: b\r\n\r\n", 0);
	check_content("\nx", 2, "\r\nx\r\n", 3);
	check_content("", 0, "\r\n", 0);
}

static void test_octets_beyond_ascii_are_seen(void **state)
{
	struct corpus c = {0};

	(void)state;
	assert_int_equal(corpus_add(&c, BYTES_LIT("A: b\n\nx\n")), 0);
	assert_int_equal(corpus_add(&c, BYTES_LIT("A: b\n\n\xc3\xa9\n")), 0);
	assert_false(c.mails[0].wide);
	assert_true(c.mails[1].wide);
	corpus_free(&c);
}

static struct letter_id draw(const struct corpus *c, uint32_t i, uint64_t seq, size_t piece)
{
	struct letter_id id = {.run = 7, .seq = seq, .sent_us = 5};
	struct letter l;

	drawn.n = 0;
	letter_make_of(&l, &id, c, i);
	letter_draw(&l, piece, &drawn);
	return l.id;
}

static enum letter_verdict read_all(size_t split, size_t piece, struct letter_id *id_r)
{
	static struct letter_reader r;

	return letter_read(&r, bytes_make(drawn.octets, drawn.n), split, piece, id_r);
}

static void check_id(const struct letter_id *a, const struct letter_id *b)
{
	assert_int_equal(a->run, b->run);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->sent_us, b->sent_us);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->crc, b->crc);
}

static void test_numbered_and_read_back_at_every_split(void **state)
{
	static const char *const files[] = {
		"From: <a@example.org>\nSubject: x\n\nbody\n.\n..\n", "A: b", "\nbody"};
	struct corpus c = {0};
	struct letter_id got;

	(void)state;
	for (uint32_t i = 0; i < ARRAY_LEN(files); i++)
		assert_int_equal(corpus_add(&c, bytes_str(files[i])), 0);
	for (uint32_t i = 0; i < ARRAY_LEN(files); i++) {
		struct letter_id sent = draw(&c, i, i + 1, i ? 1000 : 1);
		for (size_t split = 0; split <= drawn.n; split++) {
			assert_int_equal(read_all(split, drawn.n, &got), LETTER_GOOD);
			check_id(&got, &sent);
		}
		assert_int_equal(read_all(0, 1, &got), LETTER_GOOD);
		drawn.octets[drawn.n++] = 'x';
		assert_int_equal(read_all(0, drawn.n, &got), LETTER_ALTERED);
	}
	corpus_free(&c);
}

/* A header may be longer than what a receiver keeps of it: the field is at its front. */
static void test_a_long_header(void **state)
{
	static char file[LETTER_SEEN_MAX * 2];
	struct corpus c = {0};
	struct letter_id got, sent;

	(void)state;
	for (size_t i = 0; i < sizeof(file); i++)
		file[i] = i % 50 == 49 ? '\n' : i % 50 == 0 ? 'A' : i % 50 == 1 ? ':' : 'x';
	memcpy(file + sizeof(file) - 8, "\n\nbody!\n", 8);
	assert_int_equal(corpus_add(&c, bytes_make(file, sizeof(file))), 0);
	assert_int_equal(c.mails[0].body_n, 7);
	sent = draw(&c, 0, 9, 999);
	for (size_t piece = 1; piece < drawn.n; piece = piece * 3 + 1) {
		assert_int_equal(read_all(0, piece, &got), LETTER_GOOD);
		check_id(&got, &sent);
	}
	drawn.octets[drawn.n - 3] ^= 1;
	assert_int_equal(read_all(0, drawn.n, &got), LETTER_ALTERED);
	corpus_free(&c);
}

/* ---- folders ---- */

static char folder[] = "/tmp/bypost-corpus-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) < 0, 0);
	fclose(f);
}

static void test_a_folder_in_the_order_of_its_names(void **state)
{
	static const char *const names[] = {"b.eml", "a.eml", "other.txt"};
	struct corpus c;
	char path[256], error[256];

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(corpus_load(&c, folder, error, sizeof(error)), -ENOENT);
	write_file(names[0], "A: 2\n\n");
	write_file(names[1], "A: 1\n\n");
	write_file(names[2], "no mail");
	assert_int_equal(corpus_load(&c, folder, error, sizeof(error)), 0);
	assert_int_equal(c.count, 2);
	assert_bytes_equal(corpus_content(&c, &c.mails[0]), BYTES_LIT("A: 1\r\n\r\n"));
	corpus_free(&c);
	snprintf(path, sizeof(path), "%s/%s", folder, names[2]); /* one file, whatever its name */
	assert_int_equal(corpus_load(&c, path, error, sizeof(error)), 0);
	assert_int_equal(c.count, 1);
	corpus_free(&c);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
	assert_int_equal(corpus_load(&c, folder, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, folder));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_are_made_to_end_as_smtp_has_it),
		cmocka_unit_test(test_octets_beyond_ascii_are_seen),
		cmocka_unit_test(test_numbered_and_read_back_at_every_split),
		cmocka_unit_test(test_a_long_header),
		cmocka_unit_test(test_a_folder_in_the_order_of_its_names),
	};

	letters_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * The journal: records, heads and slots by themselves; then an environment whose data file has lost
 * what was not synced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/rt/eal.h"
#include "store/db_journal.h"
#include "tests/unit/store/journal_bed.h"

#define HEAD_PLACE 4096
#define OLDEST     UINT64_MAX

static char error[512];

static struct bytes text(const char *s)
{
	return bytes_make(s, strlen(s));
}

static void write_row(const char *key, const char *value)
{
	journal_note(j, JOURNAL_PUT, 3, text(key), text(value));
	int rc = journal_write(j);
	if (rc == JOURNAL_SLOT_FULL) {
		assert_int_equal(journal_next(j, OLDEST), 0);
		rc = journal_write(j);
	}
	assert_int_equal(rc, 0);
}

static void add_row(const char *key, const char *value)
{
	write_row(key, value);
	journal_advance(j);
}

static void assert_row(struct bytes *rows, const char *key, const char *value)
{
	struct journal_row r;

	assert_true(journal_row_next(rows, &r));
	assert_int_equal(r.what, JOURNAL_PUT);
	assert_int_equal(r.table, 3);
	assert_true(bytes_eq(r.key, text(key)));
	assert_true(bytes_eq(r.value, text(value)));
}

static void test_records_are_found_in_order(void **state)
{
	struct journal_view v;
	char key[16];

	(void)state;
	open_journal();
	for (unsigned i = 1; i <= 100; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		add_row(key, "value");
	}
	uint64_t at = 0;
	for (unsigned i = 1; i <= 100; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_true(journal_find(j, at, i, j->salt, &v));
		assert_row(&v.rows, key, "value");
		assert_int_equal(v.rows.n, 0);
		at = v.next;
	}
	assert_false(journal_find(j, at, 101, j->salt, &v));
	assert_false(journal_find(j, 0, 1, j->salt + 1, &v));
}

static void test_what_is_not_kept_is_written_over(void **state)
{
	struct journal_view v;

	(void)state;
	open_journal();
	add_row("a", "1");
	uint64_t second = j->at;
	write_row("a longer key", "that is refused");
	journal_begin(j);
	add_row("b", "2");
	assert_true(journal_find(j, second, 2, j->salt, &v));
	assert_row(&v.rows, "b", "2");
	write_row("c", "void");
	assert_true(journal_find(j, v.next, 3, j->salt, &v));
	assert_int_equal(journal_void(j), 0);
	assert_false(journal_find(j, j->at, 3, j->salt, &v));
}

static void test_late_values_and_bodies(void **state)
{
	struct chain body = {0};
	struct journal_row r;
	struct journal_view v;
	uint8_t big[3 * CHUNK_DATA];
	char room[4];
	uint64_t at;

	(void)state;
	open_journal();
	memset(big, 'B', sizeof(big));
	assert_int_equal(chain_append(&body, bytes_make(big, sizeof(big))), 0);
	assert_int_equal(journal_place(j, &body, &at), JOURNAL_SLOT_FULL);
	assert_int_equal(journal_next(j, OLDEST), 0);
	journal_begin(j);
	assert_int_equal(journal_place(j, &body, &at), 0);
	journal_note_late(j, 7, text("late"), sizeof(room), room);
	memcpy(room, "room", sizeof(room));
	journal_note(j, JOURNAL_DEL, 7, text("gone"), BYTES_NONE);
	assert_int_equal(journal_write(j), 0);
	journal_advance(j);
	chain_free(&body);
	assert_memory_equal(journal_body(j, at, sizeof(big)), big, sizeof(big));
	assert_true(journal_find(j, 0, 1, j->salt, &v));
	assert_true(journal_row_next(&v.rows, &r));
	assert_true(bytes_eq(r.value, BYTES_LIT("room")));
	assert_true(journal_row_next(&v.rows, &r));
	assert_int_equal(r.what, JOURNAL_DEL);
	assert_false(journal_row_next(&v.rows, &r));
}

static void flip(uint64_t at)
{
	uint8_t octet;

	assert_int_equal(pread(j->fd, &octet, 1, (off_t)at), 1);
	octet ^= 0x10;
	assert_int_equal(pwrite(j->fd, &octet, 1, (off_t)at), 1);
}

static void test_no_octet_of_a_record_may_change(void **state)
{
	struct journal_view v;

	(void)state;
	open_journal();
	add_row("key", "some value that is long enough");
	uint64_t first = JOURNAL_SLOT;
	assert_true(journal_view(j, first, &v));
	size_t octets = sizeof(struct journal_record) + v.rows.n;
	for (size_t i = 0; i < octets; i++) {
		flip(first + i);
		assert_false(journal_find(j, first, 1, j->salt, &v));
		flip(first + i);
	}
	assert_true(journal_find(j, first, 1, j->salt, &v));
}

static void test_rows_cut_anywhere(void **state)
{
	struct journal_view v;
	struct journal_row r;

	(void)state;
	open_journal();
	journal_note(j, JOURNAL_PUT, 1, text("one"), text("first"));
	journal_note(j, JOURNAL_MOVE, 2, text("two"), BYTES_NONE);
	write_row("three", "third");
	assert_true(journal_view(j, JOURNAL_SLOT, &v));
	for (size_t n = 0; n <= v.rows.n; n++) {
		uint8_t *copy = malloc(n + 1);
		memcpy(copy, v.rows.p, n);
		struct bytes rows = bytes_make(copy, n);
		unsigned found = 0;
		while (journal_row_next(&rows, &r))
			found++;
		assert_true((rows.n == 0) == (n == 0 || n == 16 || n == 27 || n == v.rows.n));
		assert_true(found <= 3);
		free(copy);
	}
}

static void test_a_torn_head_leaves_the_older_one(void **state)
{
	struct journal_head h = {.set = 5, .number = 1};

	(void)state;
	open_journal();
	assert_false(journal_head_read(j));
	assert_int_equal(journal_head_write(j, &h), 0);
	j->head = h;
	h.number = 2;
	assert_int_equal(journal_head_write(j, &h), 0);
	uint64_t newest = h.turn % 2 * HEAD_PLACE;
	for (size_t i = 0; i < sizeof(h); i++) {
		flip(newest + i);
		assert_true(journal_head_read(j));
		assert_true(j->head.number == 1);
		flip(newest + i);
	}
	assert_true(journal_head_read(j));
	assert_true(j->head.number == 2);
	flip(0);
	flip(HEAD_PLACE);
	assert_false(journal_head_read(j));
}

/* Slot 1 has a body of so many octets, slot 2 is being written. */
static void two_slots(int64_t octets)
{
	add_row("in", "slot 1");
	journal_live(j, JOURNAL_SLOT + 64, octets);
	journal_live_settle(j, 10);
	journal_begin(j);
	assert_int_equal(journal_next(j, OLDEST), 0);
	assert_int_equal(journal_slot_of(j->at), 2);
	add_row("in", "slot 2");
}

static void test_a_slot_is_used_again_when_nobody_needs_it(void **state)
{
	(void)state;
	open_journal();
	two_slots(100);
	j->head.number = j->number;
	j->head.txn = 30;
	assert_int_equal(journal_next(j, OLDEST), 0);
	assert_int_equal(journal_slot_of(j->at), 3); /* 1 has a body, 2 is this one */
	journal_live(j, JOURNAL_SLOT + 64, -100);
	assert_int_equal(journal_next(j, OLDEST), 0);
	assert_int_equal(journal_slot_of(j->at), 2); /* what a transaction under way frees stays */
	journal_live_settle(j, 20);
	journal_begin(j);
	assert_int_equal(journal_next(j, 19), 0);
	assert_int_equal(journal_slot_of(j->at), 3); /* a reader of transaction 19 may read 1 */
	j->head.txn = 19;
	assert_int_equal(journal_next(j, OLDEST), 0);
	assert_int_equal(journal_slot_of(j->at), 2); /* the checkpoint still has the body */
	j->head.txn = 20;
	assert_int_equal(journal_next(j, 20), 0);
	assert_int_equal(journal_slot_of(j->at), 1);
}

static void test_a_slot_that_is_to_be_read_anew_stays(void **state)
{
	(void)state;
	open_journal();
	j->head.number = 1;
	j->head.txn = 30;
	two_slots(0);
	assert_int_equal(journal_next(j, OLDEST), 0);
	assert_int_equal(journal_slot_of(j->at), 3);
	j->head.number = 2;
	assert_int_equal(journal_next(j, OLDEST), 0);
	assert_int_equal(journal_slot_of(j->at), 1);
}

/* ---- with an environment ---- */

static void open_db(struct db *db)
{
	assert_int_equal(db_open(db, dir, 64 << 20, false, error, sizeof(error)), 0);
}

static void put_number(struct db *db, const char *name, uint64_t value, bool durable)
{
	MDB_txn *txn;
	bool changed;

	assert_int_equal(db_begin(db, true, &txn), 0);
	assert_int_equal(db_meta_put(txn, db, name, value), 0);
	assert_int_equal(durable ? db_commit(txn) : db_commit_early(db, txn, &changed), 0);
}

static uint64_t get_number(struct db *db, const char *name)
{
	uint64_t value;
	MDB_txn *txn;

	assert_int_equal(db_begin(db, false, &txn), 0);
	assert_int_equal(db_meta_get(txn, db, name, &value), 0);
	db_abort(txn);
	return value;
}

static void shell(const char *format)
{
	char command[256];

	snprintf(command, sizeof(command), "cd '%s' && %s", dir, format);
	assert_int_equal(system(command), 0);
}

/* The data file as of the checkpoint, the journal as of now; and the other way round: pages of data
 * that came after the checkpoint. */
static void test_a_start_does_again_what_the_journal_says(void **state)
{
	struct db db;

	(void)state;
	open_db(&db);
	shell("cp data.mdb data.then && cp journal journal.then");
	for (uint64_t i = 1; i <= 500; i++)
		put_number(&db, "last_id", i, true);
	shell("mkdir now && cp data.mdb journal now");
	db_close(&db);
	shell("mv data.then data.mdb && cp now/journal journal");
	open_db(&db);
	assert_true(get_number(&db, "last_id") == 500);
	db_close(&db);
	shell("cp now/data.mdb data.mdb && mv journal.then journal");
	open_db(&db);
	assert_true(get_number(&db, "last_id") == 0);
	db_close(&db);
	shell("cp now/* .");
	open_db(&db);
	assert_true(get_number(&db, "last_id") == 500);
	db_close(&db);
}

static void test_what_is_taken_back_is_never_found(void **state)
{
	struct db db;

	(void)state;
	open_db(&db);
	put_number(&db, "last_id", 1, true);
	put_number(&db, "last_id", 2, false);
	put_number(&db, "last_id", 3, false);
	assert_true(get_number(&db, "last_id") == 3);
	assert_int_equal(db_undo(&db), 0);
	assert_int_equal(db_reopen(&db), 0);
	assert_true(get_number(&db, "last_id") == 1);
	put_number(&db, "last_id", 4, true);
	assert_int_equal(db_reopen(&db), 0);
	assert_true(get_number(&db, "last_id") == 4);
	db_close(&db);
}

static void refused(const char *why)
{
	struct db db;

	assert_true(db_open(&db, dir, 64 << 20, false, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, why));
	assert_non_null(strstr(error, dir));
}

static void test_files_that_do_not_belong_together(void **state)
{
	struct db db;

	(void)state;
	open_db(&db);
	put_number(&db, "last_id", 1, true);
	db_close(&db);
	shell("mv journal old");
	refused("`journal` is missing");
	shell("truncate -s 20m journal");
	refused("`journal` is damaged");
	shell("mv data.mdb data.old && rm journal");
	open_db(&db);
	db_close(&db);
	shell("cp old journal");
	refused("`journal` is of another store");
	shell("mv data.old data.mdb");
	open_db(&db);
	assert_true(get_number(&db, "last_id") == 1);
	db_close(&db);
}

static int start(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	return chunk_pool_init(64, -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_records_are_found_in_order),
		T(test_what_is_not_kept_is_written_over),
		T(test_late_values_and_bodies),
		T(test_no_octet_of_a_record_may_change),
		T(test_rows_cut_anywhere),
		T(test_a_torn_head_leaves_the_older_one),
		T(test_a_slot_is_used_again_when_nobody_needs_it),
		T(test_a_slot_that_is_to_be_read_anew_stays),
		T(test_a_start_does_again_what_the_journal_says),
		T(test_what_is_taken_back_is_never_found),
		T(test_files_that_do_not_belong_together),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}

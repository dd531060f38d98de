/* SPDX-License-Identifier: BSD-3-Clause
 * An environment and its journal when something fails between a commit and the disk, and the disks
 * that a power cut leaves then.  Each transaction writes the same number to all rows: a start that
 * builds on pages of two checkpoints shows two, or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "store/db_journal.h"
#include "tests/crash/disk.h"
#include "tests/model/fault.h"

#define ROWS     64
#define ROW      200  /* octets */
#define ROW_LONG 4000 /* ROWS of them are more than a record takes, without any body */
#define NOTHING  0    /* no rows */
#define TORN     UINT64_MAX

static struct disk disk;
static struct db db;
static char error[512];

static void open_db(void)
{
	if (db_open(&db, disk.dir, 1ull << 30, false, error, sizeof(error)))
		fail_msg("%s", error);
}

static int setup(void **state)
{
	(void)state;
	disk_begin(&disk);
	open_db();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_disarm();
	fault_no_room(false);
	db_close(&db);
	disk_end(&disk);
	return 0;
}

/* ---- rows ---- */

static struct bytes row_key(char name[16], unsigned i)
{
	snprintf(name, 16, "row%02u", i);
	return bytes_str(name);
}

/* All rows, not synced. */
static int put(uint64_t number, size_t octets)
{
	uint8_t value[ROW_LONG] = {0};
	char name[16];
	bool changed;
	MDB_txn *txn;
	int rc = db_begin(&db, true, &txn);

	if (rc)
		return rc;
	memcpy(value, &number, sizeof(number));
	for (unsigned i = 0; i < ROWS && !rc; i++)
		rc = db_put(txn, &db, DB_META, row_key(name, i), bytes_make(value, octets));
	if (!rc)
		return db_commit_early(&db, txn, &changed);
	db_abort(txn);
	return rc;
}

static void put_durably(uint64_t number)
{
	assert_int_equal(put(number, ROW), 0);
	assert_int_equal(db_sync(&db), 0);
}

static uint64_t number_of_all(const struct db *of)
{
	uint64_t number = TORN, got;
	struct bytes v;
	char name[16];
	MDB_txn *txn;

	if (db_begin(of, false, &txn))
		return TORN;
	for (unsigned i = 0; i < ROWS; i++) {
		int rc = db_get(txn, of, DB_META, row_key(name, i), &v);
		got = rc == MDB_NOTFOUND ? NOTHING : TORN;
		if (!rc && !rec_read(v, &got, sizeof(got)))
			got = TORN;
		if (i && got != number)
			got = TORN;
		number = got;
		if (number == TORN)
			break;
	}
	db_abort(txn);
	return number;
}

/* What a start finds behind a power cut. */
static uint64_t number_after(uint64_t records, enum image_fate fate, uint64_t seed)
{
	uint64_t number = TORN;
	struct db cut;

	disk_cut(&disk, records, fate, seed);
	if (!db_open(&cut, disk.cut, 1ull << 30, true, error, sizeof(error))) {
		number = number_of_all(&cut);
		db_close(&cut);
	}
	disk_cut_end(&disk);
	return number;
}

/* Whatever the disk has of what no sync has covered. */
static void assert_number_whatever(uint64_t number)
{
	for (int fate = 0; fate < IMAGE_FATES; fate++)
		assert_true(number_after(UINT64_MAX, (enum image_fate)fate, number) == number);
}

/* Power cuts at places from here until now: whole, and nothing older than this. */
static void assert_whole_since(uint64_t from, uint64_t least)
{
	static const enum image_fate fates[] = {IMAGE_YOUNGER, IMAGE_SOME, IMAGE_OLDER};
	uint64_t step = MAX((disk_records(&disk) - from) / 40, 1ull), n = 0;

	for (uint64_t at = from; at < disk_records(&disk); at += step, n++) {
		uint64_t number = number_after(at, fates[n % ARRAY_LEN(fates)], at);
		if (number == TORN || number < least)
			fail_msg("record %llu: %s: %llu", (unsigned long long)at,
				image_fate_names[fates[n % ARRAY_LEN(fates)]],
				(unsigned long long)number);
	}
}

/* The writer's way with a failure: what is not durable is taken back, before it is refused. */
static void refuse(void)
{
	assert_int_equal(db_undo(&db), 0);
	assert_int_equal(db_reopen(&db), 0);
}

/* ---- a transaction that the journal has no room for ---- */

static void test_without_room_it_is_durable_by_itself(void **state)
{
	(void)state;
	fault_no_room(true);
	uint64_t from = disk_records(&disk);
	for (uint64_t i = 1; i <= 4; i++) {
		assert_int_equal(put(i, ROW), 0);
		assert_true(db.journal->head.txn == db_last_txn(&db));
		assert_true(number_after(UINT64_MAX, IMAGE_NONE, i) == i);
	}
	assert_whole_since(from, NOTHING);
}

static void test_without_room_a_failure_refuses_it(void **state)
{
	static const enum fault_kind kinds[] = {
		FAULT_SYNC, FAULT_PWRITE, FAULT_SHORT, FAULT_PWRITEV};
	uint64_t good = 1;
	unsigned failed = 0;

	(void)state;
	fault_no_room(true);
	assert_int_equal(put(good, ROW), 0);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (unsigned n = 1;; n++) {
			unsigned before = fault_hits();
			fault_arm(kinds[k], EIO, n, 1);
			int rc = put(good + 1, ROW);
			fault_disarm();
			if (fault_hits() == before) {
				assert_int_equal(rc, 0);
				good++;
				break;
			}
			assert_int_not_equal(rc, 0);
			refuse();
			assert_true(number_of_all(&db) == good);
			assert_true(number_after(UINT64_MAX, IMAGE_NONE, n) == good);
			assert_true(number_after(UINT64_MAX, IMAGE_ALL, n) == good);
			failed++;
		}
	}
	/* The data file's sync and the head's; pages, the meta page and the head. */
	assert_true(failed >= 5);
}

/* ---- a sync that failed, and is forgotten by the kernel ---- */

static void threads_start(void)
{
	assert_int_equal(db_threads_start(&db), 0);
}

/* 1 is durable, and the sync of 2 will fail. */
static void failing_sync_begin(void)
{
	put_durably(1);
	threads_start();
	assert_int_equal(put(2, ROW), 0);
	fault_arm(FAULT_SYNC, EIO, 1, 1);
	db_sync_begin(&db);
}

static void test_a_failed_sync_is_remembered(void **state)
{
	(void)state;
	failing_sync_begin();
	assert_int_equal(db_sync_end(&db), EIO);
	fault_disarm();
	/* What failed is asked for again, and then something behind it. */
	assert_int_equal(db_sync(&db), EIO);
	assert_int_equal(put(3, ROW), 0);
	assert_int_equal(db_sync(&db), EIO);
	refuse();
	assert_true(number_of_all(&db) == 1);
	assert_number_whatever(1);
	put_durably(4);
	assert_number_whatever(4);
	db_threads_stop(&db);
}

/* The checkpoint of the second would have the first as well. */
static void test_a_failed_sync_before_one_without_a_record(void **state)
{
	(void)state;
	failing_sync_begin();
	assert_int_equal(put(3, ROW_LONG), MDB_PANIC);
	fault_disarm();
	assert_int_equal(db_sync(&db), EIO);
	refuse();
	assert_true(number_of_all(&db) == 1);
	assert_number_whatever(1);
	db_threads_stop(&db);
}

/* ---- a checkpoint whose head no sync has covered ---- */

static void test_a_head_that_was_not_synced(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 8; i++)
		put_durably(i);
	/* The data file's sync comes first. */
	fault_arm(FAULT_SYNC, EIO, 2, 1);
	assert_int_equal(db_checkpoint(&db), EIO);
	fault_disarm();
	for (uint64_t i = 9; i <= 12; i++)
		assert_int_equal(put(i, ROW), 0);
	/* As a kill leaves it: what is broken is closed without a word. */
	db.broken = true;
	db_close(&db);
	uint64_t from = disk_records(&disk);
	open_db();
	assert_true(number_of_all(&db) == 12);
	assert_whole_since(from, 8);
}

/* ---- room ---- */

/* As the writer does between its groups. */
static void tend(void)
{
	if (db_checkpoint_due(&db))
		assert_int_equal(db_sync(&db), 0);
	assert_int_equal(db_checkpoint_tend(&db), 0);
}

static void put_small(uint64_t number)
{
	bool changed;
	MDB_txn *txn;

	assert_int_equal(db_begin(&db, true, &txn), 0);
	assert_int_equal(db_meta_put(txn, &db, "last_id", number), 0);
	assert_int_equal(db_commit_early(&db, txn, &changed), 0);
}

/* Octets of the file that so many of the smallest transactions leave in use. */
static uint64_t used_after(unsigned transactions)
{
	for (unsigned i = 0; i < transactions; i++) {
		put_small(i);
		tend();
	}
	return db_used_bytes(&db);
}

static void test_small_transactions_do_not_keep_pages_for_ever(void **state)
{
	(void)state;
	uint64_t once = used_after(4096);
	uint64_t since = db.journal->bytes_since;

	/* What pages wait for is not a length of the journal: this is far from it. */
	assert_true(since < 4ull << 20);
	assert_true(used_after(8192) <= once + once / 4);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_without_room_it_is_durable_by_itself),
		T(test_without_room_a_failure_refuses_it),
		T(test_a_failed_sync_is_remembered),
		T(test_a_failed_sync_before_one_without_a_record),
		T(test_a_head_that_was_not_synced),
		T(test_small_transactions_do_not_keep_pages_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

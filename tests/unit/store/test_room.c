/* SPDX-License-Identifier: BSD-3-Clause
 * Room that the store's files do not need goes back to the file system, and nothing else does:
 * slots of a journal by themselves, then a store that has had much mail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "store/body.h"
#include "store/db_journal.h"
#include "store/writer.h"
#include "tests/unit/store/journal_bed.h"
#include "tests/unit/store/store_harness.h"

#define OLDEST        UINT64_MAX
#define VALUE         (JOURNAL_SLOT / 4)
#define MESSAGE_BYTES 20000
#define MESSAGES      600
#define KEPT_PART     16 /* one message in so many stays */

static struct harness h;

/* ---- slots ---- */

/* A record of a quarter of a slot; a slot takes three of them. */
static void add_record(char c)
{
	static uint8_t value[VALUE];

	memset(value, c, sizeof(value));
	journal_note(j, JOURNAL_PUT, 3, BYTES_LIT("key"), bytes_make(value, sizeof(value)));
	int rc = journal_write(j);
	if (rc == JOURNAL_SLOT_FULL) {
		assert_int_equal(journal_next(j, OLDEST), 0);
		rc = journal_write(j);
	}
	assert_int_equal(rc, 0);
	journal_advance(j);
}

static uint64_t octets_on_disk(void)
{
	struct stat st;

	assert_int_equal(fstat(j->fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static bool record_is(uint64_t at, char c)
{
	struct journal_view v;
	struct bytes rows;
	struct journal_row r;

	if (!journal_view(j, at, &v))
		return false;
	rows = v.rows;
	return journal_row_next(&rows, &r) && r.value.n == VALUE && r.value.p[0] == c &&
	       r.value.p[VALUE - 1] == c;
}

static uint64_t give_back(uint64_t oldest)
{
	uint64_t octets;

	assert_int_equal(journal_give_back(j, oldest, &octets), 0);
	return octets;
}

/* Slots 1 and 2 are full, slot 3 has a record; the checkpoint is behind all of them. */
static void three_slots(void)
{
	open_journal();
	for (char c = 'a'; c < 'h'; c++)
		add_record(c);
	assert_int_equal(journal_slot_of(j->at), 3);
	j->head.number = j->number;
	j->head.txn = 30;
}

static void test_a_free_slot_loses_its_blocks_once(void **state)
{
	(void)state;
	three_slots();
	uint64_t before = octets_on_disk();
	journal_live(j, 2 * JOURNAL_SLOT + 64, 100);
	journal_live_settle(j, 10);
	assert_int_equal(journal_free(j), JOURNAL_SLOT);
	assert_int_equal(give_back(OLDEST), JOURNAL_SLOT);
	assert_int_equal(octets_on_disk(), before - JOURNAL_SLOT);
	assert_int_equal(journal_free(j), 0);
	assert_false(record_is(JOURNAL_SLOT, 'a'));
	assert_true(record_is(2 * JOURNAL_SLOT, 'd'));
	assert_true(record_is(3 * JOURNAL_SLOT, 'g'));
	/* It is written again, with blocks of its own. */
	while (journal_slot_of(j->at) == 3)
		add_record('x');
	assert_int_equal(journal_slot_of(j->at), 1);
	assert_true(record_is(JOURNAL_SLOT, 'x'));
	assert_true(octets_on_disk() >= before - VALUE);
}

static void test_what_somebody_may_need_keeps_them(void **state)
{
	(void)state;
	three_slots();
	for (uint32_t i = 1; i <= 3; i++)
		journal_live(j, i * JOURNAL_SLOT + 64, 100);
	journal_live_settle(j, 10);
	while (give_back(OLDEST)) {
		/* the end of slot 3 */
	}
	for (uint32_t i = 1; i <= 3; i++)
		journal_live(j, i * JOURNAL_SLOT + 64, -100);
	assert_int_equal(give_back(OLDEST), 0); /* only when the transaction is through */
	journal_live_settle(j, 20);
	assert_int_equal(give_back(19), 0); /* a reader */
	j->head.txn = 19;
	assert_int_equal(give_back(OLDEST), 0); /* the checkpoint has the bodies */
	j->head.txn = 20;
	j->head.number = 1;
	assert_int_equal(give_back(OLDEST), 0); /* or is before the records */
	j->head.number = j->number;
	assert_int_equal(give_back(OLDEST), JOURNAL_SLOT);
	assert_int_equal(give_back(OLDEST), JOURNAL_SLOT);
	assert_int_equal(give_back(OLDEST), VALUE); /* of slot 3 what is behind the checkpoint */
	assert_int_equal(give_back(OLDEST), 0);
}

/* A slot that is written anew has the blocks of its earlier life. */
static void test_the_slot_that_is_written_loses_its_end(void **state)
{
	(void)state;
	three_slots();
	while (journal_slot_of(j->at) == 3)
		add_record('x');
	assert_int_equal(journal_slot_of(j->at), 1);
	journal_live(j, j->at - 64, 100);
	journal_live_settle(j, 40);
	j->head.number = j->number;
	j->head.txn = 40;
	uint64_t before = octets_on_disk(), given = 0, n;
	while ((n = give_back(OLDEST)))
		given += n;
	assert_true(record_is(JOURNAL_SLOT, 'x'));
	assert_int_equal(octets_on_disk(), before - given);
	add_record('y');
	add_record('z');
	assert_int_equal(journal_slot_of(j->at), 1);
	assert_int_equal(give_back(OLDEST), 0);
	assert_true(record_is(j->at - (j->at - JOURNAL_SLOT) / 3, 'z'));
}

/* ---- a store ---- */

static uint64_t ids[MESSAGES];

static void accept_all(void)
{
	static const char *const to[] = {"x@example.net", NULL};

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct message *m = harness_message(&h, MESSAGE_BYTES, to);
		ids[i] = m->id;
		assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
		harness_hints_drop(&h);
	}
}

static void deliver(unsigned i)
{
	struct rcpt_result res = {.outcome = ATTEMPT_DELIVERED};
	struct results_op r = {.id = ids[i], .count = 1, .results = &res};

	assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
}

static void deliver_most(void)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		if (i % KEPT_PART)
			deliver(i);
	}
}

static void deliver_rest(void)
{
	for (unsigned i = 0; i < MESSAGES; i += KEPT_PART)
		deliver(i);
}

static void the_rest_is_there(void)
{
	for (unsigned i = 0; i < MESSAGES; i += KEPT_PART)
		assert_true(harness_body_is(&h, ids[i], MESSAGE_BYTES, "Received: here\r\n", true));
}

static uint64_t file_bytes(void)
{
	struct store_info info;

	store_get_info(h.store, &info);
	return info.file_bytes;
}

static void open_store(uint64_t give_back_ms)
{
	harness_init(&h);
	h.conf.checkpoint_bytes = 1 << 20;
	h.conf.give_back_ms = give_back_ms;
	harness_open(&h);
}

static void close_store(void)
{
	harness_close(&h);
	assert_true(harness_nothing_leaked(&h));
	harness_fini(&h);
}

static void test_files_become_as_small_as_what_lives(void **state)
{
	uint64_t end = clock_mono_us() + 20 * US_PER_SEC;
	uint64_t live = (uint64_t)MESSAGE_BYTES * MESSAGES / KEPT_PART;

	(void)state;
	open_store(100);
	for (int round = 0; round < 3; round++) {
		accept_all();
		uint64_t full = file_bytes();
		assert_true(full > MESSAGES * MESSAGE_BYTES);
		deliver_most();
		while (file_bytes() > 2 * live + (1 << 20)) {
			if (clock_mono_us() > end)
				fail_msg("%llu octets of %llu live",
					(unsigned long long)file_bytes(), (unsigned long long)live);
			usleep(10000);
		}
		the_rest_is_there();
		harness_close(&h);
		harness_open(&h);
		the_rest_is_there();
		deliver_rest();
	}
	assert_true(counters_sum(CTR_STORE_GIVEN_BACK) > MESSAGES * MESSAGE_BYTES);
	close_store();
}

static void test_nothing_is_given_back_when_it_is_not_to(void **state)
{
	(void)state;
	open_store(UINT64_MAX);
	uint64_t given = counters_sum(CTR_STORE_GIVEN_BACK);
	accept_all();
	uint64_t full = file_bytes();
	deliver_most();
	sleep(2);
	assert_true(file_bytes() >= full);
	assert_int_equal(counters_sum(CTR_STORE_GIVEN_BACK), given);
	the_rest_is_there();
	close_store();
}

/* A reader of an old transaction may look at what has been deleted since. */
static void test_a_reader_keeps_what_it_sees(void **state)
{
	static uint8_t before[CHUNK_DATA];
	struct db_cursor c;
	unsigned rows = 0;
	MDB_txn *txn;

	(void)state;
	open_store(50);
	accept_all();
	deliver_most();
	usleep(300000); /* bodies that stay move into chunks */
	const struct db *db = harness_db(&h);
	assert_int_equal(db_begin(db, false, &txn), 0);
	assert_int_equal(db_cursor_open(txn, db, DB_CHUNK, &c), 0);
	assert_int_equal(db_cursor_seek(&c, bytes_make("", 1)), 0);
	struct bytes first = c.value;
	memcpy(before, first.p, first.n);
	deliver_rest();
	usleep(1500000);
	assert_memory_equal(first.p, before, first.n);
	int rc = 0;
	for (; !rc; rc = db_cursor_next(&c))
		rows++;
	assert_int_equal(rc, MDB_NOTFOUND);
	assert_true(rows > 1);
	db_cursor_close(&c);
	db_abort(txn);
	close_store();
}

/* The slots that a closed store has left, most of whose bodies nobody wants any more. */
static void open_slots(struct db *db, struct writer *w)
{
	char error[256];

	assert_int_equal(db_open(db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	*w = (struct writer){.db = db};
	assert_int_equal(db_begin(db, true, &w->txn), 0);
	w->moving.slot = 1;
	w->moving.at = JOURNAL_SLOT;
}

/* What is dead costs a look, and a commit has time for so many. */
static void test_a_step_looks_at_no_more_than_it_may(void **state)
{
	struct move_budget few = {.bodies = JOURNAL_SLOT, .rows = 1};
	struct writer w;
	struct db db;
	unsigned steps = 0;

	(void)state;
	open_store(UINT64_MAX);
	accept_all();
	deliver_most();
	deliver_rest();
	harness_close(&h);
	open_slots(&db, &w);
	for (; w.moving.slot == 1; steps++) {
		uint64_t at = w.moving.at, row = w.moving.row;
		assert_int_equal(body_move_step(&w, few), 0);
		/* one row, or the end of a record */
		assert_true(w.moving.slot == 0 || w.moving.at != at || w.moving.row > row);
	}
	assert_true(steps > 2 * JOURNAL_SLOT / (MESSAGE_BYTES + 1000));
	db_abort(w.txn);
	db_close(&db);
	harness_fini(&h);
}

int main(void)
{
	const struct CMUnitTest slots[] = {
		cmocka_unit_test_setup_teardown(
			test_a_free_slot_loses_its_blocks_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_somebody_may_need_keeps_them, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_the_slot_that_is_written_loses_its_end, setup, teardown),
	};
	const struct CMUnitTest stores[] = {
		cmocka_unit_test(test_files_become_as_small_as_what_lives),
		cmocka_unit_test(test_nothing_is_given_back_when_it_is_not_to),
		cmocka_unit_test(test_a_reader_keeps_what_it_sees),
		cmocka_unit_test(test_a_step_looks_at_no_more_than_it_may),
	};

	return cmocka_run_group_tests(slots, NULL, NULL) +
	       cmocka_run_group_tests(stores, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * A store that a program of format 1 has written: two accounts, mailboxes with copies, flags and an
 * expunge, five queued messages with one deferred and two held recipients.  And the same store as
 * programs of format 3, 4 and 5 have left it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "store/check.h"
#include "store/db_queue_index.h"
#include "tests/model/fault.h"
#include "tests/unit/store/store_harness.h"

static struct harness h;

/* *state: the number of the format. */
static int setup(void **state)
{
	char command[900];

	harness_init(&h);
	snprintf(command, sizeof(command), "gzip -dc '%s/format%s.mdb.gz' > '%s/data.mdb'",
		TEST_DATA, (const char *)*state, h.dir);
	BUG_ON(system(command) != 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	harness_fini(&h);
	return 0;
}

static void problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	fprintf(stderr, "%s: %s: %s\n", p->what, p->object, p->detail);
}

static void all_is_there(void)
{
	char error[256];
	struct db db;

	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	struct check *c = check_create(&(struct check_conf){.db = &db, .problem = problem});
	assert_int_equal(check_run(c, &db, false), 0);
	const struct check_totals *t = check_totals(c);
	assert_int_equal(t->problems, 0);
	assert_int_equal(t->accounts, 2);
	assert_int_equal(t->mailboxes, 3);
	assert_int_equal(t->messages, 4 + 2);
	assert_int_equal(t->queued, 5);
	assert_int_equal(t->recipients, 10);
	check_destroy(&c);
	db_close(&db);
}

static void test_an_old_store_is_brought_up_to_date(void **state)
{
	struct mbox_row rows[8];

	(void)state;
	harness_open(&h);
	struct mbox_state in = harness_box(&h, 1, "INBOX");
	assert_int_equal(in.exists, 4);
	assert_int_equal(in.uidnext, 6);
	assert_int_equal(in.unseen, 3);
	/* What vanished before cannot be told. */
	assert_int_equal(in.gone_floor, in.highestmodseq);
	assert_int_equal(harness_rows(&h, 1, in.box, 0, rows, 8), 4);
	assert_int_equal(rows[0].uid, 2);
	assert_int_equal(rows[0].flags, MSG_SEEN);
	assert_true(harness_body_is(&h, rows[0].blob, 4000, "Received: here\r\n", true));
	/* The queue by its new indices. */
	struct queue_filter one = {.domain = "one.example.net"};
	struct queue_list_op l = {.max_messages = 100, .filter = &one};
	assert_int_equal(harness_read(&h, &l.op, STORE_READ_QUEUE_LIST), 0);
	char text[8192];
	text[chain_read(&l.out, 0, text, sizeof(text) - 1)] = '\0';
	chain_free(&l.out);
	unsigned n = 0, held = 0, normal = 0;
	for (const char *p = text; (p = strstr(p, "\"id\"")); p++)
		n++;
	for (const char *p = text; (p = strstr(p, "\"held\"")); p++)
		held++;
	for (const char *p = text; (p = strstr(p, "\"priority\":0,")); p++)
		normal++;
	assert_int_equal(n, 5);
	assert_int_equal(normal, 10);
	assert_int_equal(held, 2);
	assert_non_null(strstr(text, "later"));
	harness_close(&h);
	all_is_there();
}

static void test_an_upgrade_that_is_interrupted_goes_on(void **state)
{
	char error[256];
	struct db db;

	(void)state;
	/* The tables are made in the first commit; the rows follow in the second. */
	for (unsigned n = 1; n < 4; n++) {
		fault_arm(FAULT_COMMIT, ENOSPC, n, 1);
		int err = db_open(&db, h.dir, 1 << 30, false, error, sizeof(error));
		fault_disarm();
		if (err == 0)
			db_close(&db);
		else
			assert_non_null(strstr(error, "disk full"));
	}
	all_is_there();
}

/* The trees of format 4 have gone with all their pages; the writer makes the index by itself. */
static void test_the_index_of_an_old_store_is_made_anew(void **state)
{
	struct queue_index_rec r = {0};
	MDB_txn *txn;
	MDB_dbi dbi;

	(void)state;
	h.conf.index_rows = 4;
	harness_open(&h);
	for (int i = 0; i < 2000 && (r.from == 0 || r.from < r.until); i++) {
		usleep(1000);
		assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
		assert_int_equal(queue_index_get(txn, harness_db(&h), &r), 0);
		assert_int_equal(mdb_dbi_open(txn, "qd", 0, &dbi), MDB_NOTFOUND);
		assert_int_equal(mdb_dbi_open(txn, "qs", 0, &dbi), MDB_NOTFOUND);
		assert_true(r.from < r.until || r.from == 0 ||
			    db_entries(txn, harness_db(&h), DB_QI) == 5 + 10);
		db_abort(txn);
	}
	assert_true(r.from > 0 && r.from == r.until);
	harness_close(&h);
	all_is_there();
}

#define T(f, format) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, format)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_an_old_store_is_brought_up_to_date, "1"),
		T(test_an_old_store_is_brought_up_to_date, "3"),
		T(test_an_old_store_is_brought_up_to_date, "4"),
		T(test_an_old_store_is_brought_up_to_date, "5"),
		T(test_an_upgrade_that_is_interrupted_goes_on, "1"),
		T(test_an_upgrade_that_is_interrupted_goes_on, "3"),
		T(test_an_upgrade_that_is_interrupted_goes_on, "4"),
		T(test_an_upgrade_that_is_interrupted_goes_on, "5"),
		T(test_the_index_of_an_old_store_is_made_anew, "4"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

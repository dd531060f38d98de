/* SPDX-License-Identifier: BSD-3-Clause
 * The queue's index: what is not in it, how runs are made and swept, and that look-ups find each
 * message once whatever is under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>
#include "store/check.h"
#include "store/db_queue_index.h"
#include "tests/unit/store/store_harness.h"

#define RUN_ROWS 64
#define MAIL_MAX 400

static struct harness h;
static uint64_t ids[MAIL_MAX];
static unsigned ids_n;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	h.conf.index_rows = RUN_ROWS;
	harness_open(&h);
	ids_n = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	harness_close(&h);
	BUG_ON(!harness_nothing_leaked(&h));
	harness_fini(&h);
	return 0;
}

struct figures {
	struct queue_index_rec rec;
	uint64_t rows, young, stale;
};

static struct figures look(void)
{
	const struct db *db = harness_db(&h);
	struct figures f;
	MDB_txn *txn;

	assert_int_equal(db_begin(db, false, &txn), 0);
	assert_int_equal(queue_index_get(txn, db, &f.rec), 0);
	assert_int_equal(queue_index_figures(txn, db, &f.young, &f.stale), 0);
	f.rows = db_entries(txn, db, DB_QI);
	db_abort(txn);
	return f;
}

/* Until the writer, which goes on without being asked, has nothing more to do. */
static struct figures at_rest(void)
{
	struct figures f = look(), before;

	do {
		usleep(20000);
		before = f;
		f = look();
	} while (
		f.rows != before.rows || f.rec.from != before.rec.from || f.rec.from < f.rec.until);
	return f;
}

/* A message to two domains, 3 rows of the queue and 3 of the index. */
static void mail(uint64_t id)
{
	uint64_t next = h.next_id;

	if (id)
		h.next_id = id;
	struct message *m = harness_message(
		&h, 100, (const char *[]){"a@one.example.net", "b@two.example.net", NULL});
	if (id)
		h.next_id = next;
	BUG_ON(ids_n == MAIL_MAX);
	ids[ids_n++] = m->id;
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	harness_hints_drop(&h);
}

static void gone(uint64_t id)
{
	struct queue_admin_op op = {.id = id, .action = QUEUE_DELETE};

	assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_ADMIN), 0);
	harness_hints_drop(&h);
}

static const struct queue_filter domain = {.domain = "ONE.example.net"},
				 address = {.recipient = "b@Two.example.net"},
				 sender = {.sender = "from@example.net"};

/* How often a line of the message is in the list that has been read so far. */
static char text[1 << 20];
static size_t text_n;

static unsigned lines_of(uint64_t id)
{
	unsigned n = 0;
	char word[32];

	snprintf(word, sizeof(word), "\"id\":\"%016llx\"", (unsigned long long)id);
	for (const char *p = text; (p = strstr(p, word)); p++)
		n++;
	return n;
}

static bool list_slice(struct queue_list_op *l, uint32_t max)
{
	l->max_messages = max;
	assert_int_equal(harness_read(&h, &l->op, STORE_READ_QUEUE_LIST), 0);
	text_n += chain_read(&l->out, 0, text + text_n, sizeof(text) - 1 - text_n);
	text[text_n] = '\0';
	chain_free(&l->out);
	return !l->end;
}

static void list_all(const struct queue_filter *f)
{
	struct queue_list_op l = {.filter = f};

	text_n = 0;
	while (list_slice(&l, 3)) {
	}
}

/* ids[from] and all behind it are there once, those before it are not. */
static void all_found(unsigned from)
{
	static const struct queue_filter *const filters[] = {&domain, &address, &sender};

	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		list_all(filters[i]);
		for (unsigned k = 0; k < ids_n; k++)
			assert_int_equal(lines_of(ids[k]), k >= from);
	}
}

static void problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	fprintf(stderr, "%s: %s: %s\n", p->what, p->object, p->detail);
}

/* ... and counts what the figures say. */
static void check_finds_nothing(void)
{
	struct figures f = look();
	MDB_txn *txn;
	bool end = false;
	struct check *c = check_create(
		&(struct check_conf){.db = harness_db(&h), .live = true, .problem = problem});

	while (!end) {
		assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
		assert_int_equal(check_slice(c, txn, UINT64_MAX, &end), 0);
		db_abort(txn);
	}
	assert_int_equal(check_totals(c)->problems, 0);
	assert_int_equal(check_totals(c)->index_stale, f.stale);
	assert_int_equal(check_totals(c)->index_young, f.young);
	check_destroy(&c);
}

static void test_mail_that_goes_soon_is_never_in_it(void **state)
{
	(void)state;
	for (int i = 0; i < 3 * RUN_ROWS; i++) {
		mail(0);
		if (i >= 5)
			gone(ids[i - 5]);
	}
	struct figures f = look();
	assert_int_equal(f.rows, 0);
	assert_int_equal(f.rec.until, 0);
	assert_int_equal(f.young, 5 * 3);
	assert_int_equal(f.stale, 0);
	all_found(ids_n - 5);
}

static void test_runs_are_made_of_what_stays(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		mail(0);
		if (i % 10 == 9)
			all_found(0);
	}
	struct figures f = at_rest();
	assert_true(f.rec.run > 0); /* the second, at least */
	assert_true(f.rows >= 300 - RUN_ROWS && f.rows + f.young == 300);
	all_found(0);
	check_finds_nothing();
	/* The same after a restart, and what is counted goes on. */
	harness_close(&h);
	harness_open(&h);
	for (int i = 0; i < 30; i++)
		mail(0);
	f = at_rest();
	assert_int_equal(f.rows + f.young, 390);
	assert_true(f.young < RUN_ROWS);
	all_found(0);
	check_finds_nothing();
}

static void test_what_comes_late_is_in_its_run(void **state)
{
	uint64_t late[12];

	(void)state;
	for (int i = 0; i < 120; i++) {
		if (i % 10 == 5)
			late[i / 10] = h.next_id++;
		mail(0);
		at_rest();
	}
	struct figures before = at_rest();
	for (int i = 0; i < 12; i++)
		mail(late[i]);
	struct figures f = at_rest();
	/* Those below `from` at once, others with the rest. */
	assert_int_equal(f.rows + f.young, before.rows + before.young + 36);
	assert_true(f.rows >= before.rows + 30);
	all_found(0);
	check_finds_nothing();
}

static void test_stale_rows_are_swept(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++)
		mail(0);
	struct figures f = at_rest();
	uint64_t all = f.rows;
	assert_true(all > 500);
	for (int i = 0; i < 60; i++)
		gone(ids[i]);
	f = at_rest();
	/* Not half of them: they stay, and mislead nobody. */
	assert_int_equal(f.rows, all);
	assert_int_equal(f.stale, 180);
	all_found(60);
	check_finds_nothing();
	for (int i = 60; i < 150; i++)
		gone(ids[i]);
	f = at_rest();
	assert_true(f.rows < all - 300);
	assert_true(f.stale < RUN_ROWS || f.stale <= f.rows / 2);
	assert_int_equal(f.rows - f.stale + f.young, 150);
	all_found(150);
	check_finds_nothing();
}

/* Between the slices of a list mail comes, goes, and gets into the index. */
static void test_a_list_has_each_message_once_whatever_happens(void **state)
{
	static const struct queue_filter *const filters[] = {&domain, &address, &sender};
	unsigned before;

	(void)state;
	for (int i = 0; i < 100; i++)
		mail(0);
	before = ids_n;
	for (size_t f = 0; f < ARRAY_LEN(filters); f++) {
		struct queue_list_op l = {.filter = filters[f]};
		text_n = 0;
		for (int i = 0; list_slice(&l, 1); i++) {
			if (i % 2 == 0 && ids_n < MAIL_MAX - 50)
				mail(0);
		}
		for (unsigned k = 0; k < before; k++)
			assert_int_equal(lines_of(ids[k]), 1);
		for (unsigned k = before; k < ids_n; k++)
			assert_true(lines_of(ids[k]) <= 1);
	}
	assert_true(look().rec.run > ids[before - 1]);
}

/* Of a sender's mail an id is a place to go on from: the runs are in order of ids. */
static void test_a_senders_mail_from_an_id_on(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		mail(0);
	assert_true(at_rest().young > 0);
	for (unsigned from = 0; from < ids_n; from += 7) {
		struct queue_list_op l = {.filter = &sender, .at = {.id = ids[from]}};
		uint64_t last = 0;
		text_n = 0;
		while (list_slice(&l, 2)) {
			assert_true(l.at.id > last);
			last = l.at.id;
		}
		for (unsigned k = 0; k < ids_n; k++)
			assert_int_equal(lines_of(ids[k]), k >= from);
	}
}

static uint64_t change(const struct queue_filter *f, enum queue_action action)
{
	struct queue_slice_op op = {.action = (uint8_t)action, .filter = f, .max_rows = 5};
	uint64_t n = 0;

	for (int i = 0; !op.end; i++) {
		assert_true(i < 1000);
		assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_SLICE), 0);
		n += op.recipients;
		harness_hints_drop(&h);
	}
	return n;
}

static void test_changes_by_filter_reach_both_parts(void **state)
{
	static const struct queue_filter other = {.domain = "three.example.net"};

	(void)state;
	for (int i = 0; i < 100; i++)
		mail(0);
	for (int i = 0; i < 20; i++)
		gone(ids[i]);
	struct figures f = at_rest();
	assert_true(f.stale > 0 && f.young > 0);
	assert_int_equal(change(&domain, QUEUE_HOLD), 80);
	assert_int_equal(change(&domain, QUEUE_HOLD), 0);
	assert_int_equal(change(&sender, QUEUE_HOLD), 80);
	assert_int_equal(change(&other, QUEUE_HOLD), 0);
	assert_int_equal(change(&address, QUEUE_DELETE), 80);
	list_all(&address);
	assert_int_equal(text_n, 0);
	list_all(&domain);
	for (unsigned k = 0; k < ids_n; k++)
		assert_int_equal(lines_of(ids[k]), k >= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_mail_that_goes_soon_is_never_in_it),
		T(test_runs_are_made_of_what_stays),
		T(test_what_comes_late_is_in_its_run),
		T(test_stale_rows_are_swept),
		T(test_a_list_has_each_message_once_whatever_happens),
		T(test_a_senders_mail_from_an_id_on),
		T(test_changes_by_filter_reach_both_parts),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

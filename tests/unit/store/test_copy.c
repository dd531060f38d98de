/* SPDX-License-Identifier: BSD-3-Clause
 * Hot backups, what ends them, and stores written anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "store/check.h"
#include "store/db_copy.h"
#include "store/db_journal.h"
#include "tests/unit/store/store_harness.h"

static struct harness h;
static char other[300];

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	harness_open(&h);
	harness_account(&h, "ann@example.org");
	snprintf(other, sizeof(other), "%s.other", h.dir);
	return 0;
}

static void other_remove(void)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/data.mdb.part", other);
	db_copy_clear(path);
	db_copy_clear(other);
}

static int teardown(void **state)
{
	(void)state;
	harness_close(&h);
	other_remove();
	harness_fini(&h);
	return 0;
}

static void accept_some(unsigned n, size_t octets)
{
	static const char *const to[] = {"ann@example.org", "x@one.example.net", NULL};

	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(harness_accept(&h, harness_message(&h, octets, to)), HANDOFF_OK);
		harness_hints_drop(&h);
	}
}

static bool is_there(const char *name)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", other, name);
	return access(path, F_OK) == 0;
}

/* Messages in the copy at `path`, which must be in order; it stays a copy. */
static uint64_t messages_at(const char *path)
{
	char error[256];
	struct db db;
	uint64_t set;

	assert_int_equal(db_mark_get(path, &set), 0);
	assert_int_equal(set, 0);
	assert_int_equal(db_open_plain(&db, path, NULL, 1 << 30, error, sizeof(error)), 0);
	struct check *c = check_create(&(struct check_conf){.db = &db});
	assert_int_equal(check_run(c, &db, false), 0);
	struct check_totals t = *check_totals(c);
	check_destroy(&c);
	db_close(&db);
	assert_int_equal(t.problems, 0);
	return t.messages;
}

static void test_a_backup_is_a_store_of_that_moment(void **state)
{
	char error[512];
	uint64_t octets;
	int running;

	(void)state;
	accept_some(200, 9000);
	assert_int_equal(store_backup_start(h.store, other, 0, error, sizeof(error)), 0);
	assert_int_equal(store_backup_start(h.store, other, 0, error, sizeof(error)), -EBUSY);
	/* Meanwhile the store works. */
	accept_some(20, 9000);
	while ((running = store_backup_poll(h.store, &octets, error, sizeof(error))) == 1)
		usleep(1000);
	assert_int_equal(running, 0);
	assert_false(is_there("data.mdb.part"));
	uint64_t n = messages_at(other);
	assert_true(n >= 200 && n <= 220);
	/* What is there is not replaced. */
	assert_int_equal(store_backup_start(h.store, other, 0, error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, other));
}

static void test_a_backup_of_a_store_that_grows_is_given_up(void **state)
{
	char error[512];
	uint64_t octets;
	int running = 1;

	(void)state;
	accept_some(100, 9000);
	assert_int_equal(store_backup_start(h.store, other, 1, error, sizeof(error)), 0);
	/* Either it is faster than we are, or it sees that the store grows. */
	for (int i = 0; running == 1; i++) {
		accept_some(4, 9000);
		running = store_backup_poll(h.store, &octets, error, sizeof(error));
	}
	assert_int_equal(is_there("data.mdb"), running == 0);
	assert_false(is_there("data.mdb.part"));
}

/* The same for certain: the copy is told to end. */
static void test_a_cancelled_backup_leaves_nothing(void **state)
{
	char error[512];
	uint64_t octets;
	int running = 1;

	(void)state;
	accept_some(1000, 9000);
	assert_int_equal(store_backup_start(h.store, other, 0, error, sizeof(error)), 0);
	store_backup_cancel(h.store);
	while ((running = store_backup_poll(h.store, &octets, error, sizeof(error))) == 1)
		usleep(1000);
	if (running < 0)
		assert_non_null(strstr(error, "given up"));
	assert_int_equal(is_there("data.mdb"), running == 0);
	assert_false(is_there("data.mdb.part"));
}

static void test_a_disk_that_is_full_is_said(void **state)
{
	char error[512];

	(void)state;
	assert_true(store_backup_start(h.store, "/proc/none", 0, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "/proc/none"));
}

static void test_a_rewritten_store_has_the_same_rows_and_no_holes(void **state)
{
	struct db_copy_watch watch = {0};
	char error[512];
	struct db db;
	struct stat before, after;

	(void)state;
	accept_some(200, 9000);
	/* Holes. */
	for (uint64_t id = 1ull << 20; id < (1ull << 20) + 200; id++) {
		struct queue_admin_op del = {.id = id, .action = QUEUE_DELETE};
		assert_int_equal(harness_write(&h, &del.op, STORE_QUEUE_ADMIN), 0);
	}
	struct mbox_state in = harness_box(&h, 1, "INBOX");
	uint32_t uids[150];
	for (uint32_t i = 0; i < ARRAY_LEN(uids); i++)
		uids[i] = i + 1;
	struct mbox_op op = {
		.account = 1, .box = in.box, .uids = uids, .uid_count = ARRAY_LEN(uids)};
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
	harness_close(&h);
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	struct check *c = check_create(&(struct check_conf){.db = &db});
	assert_int_equal(check_run(c, &db, false), 0);
	struct check_totals t = *check_totals(c);
	check_destroy(&c);
	assert_int_equal(db_rewrite(&db, other, &watch, error, sizeof(error)), 0);
	db_close(&db);
	char path[400];
	snprintf(path, sizeof(path), "%s/data.mdb", h.dir);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(messages_at(other), t.messages);
	assert_int_equal(db_replace(h.dir, other, ".old", error, sizeof(error)), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_size < before.st_size);
	snprintf(path, sizeof(path), "%s/data.mdb.old", h.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_not_equal(rmdir(other), 0); /* it is gone already */
	harness_open(&h);
	assert_int_equal(harness_box(&h, 1, "INBOX").exists, 50);
	accept_some(3, 100);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_backup_is_a_store_of_that_moment),
		T(test_a_backup_of_a_store_that_grows_is_given_up),
		T(test_a_cancelled_backup_leaves_nothing),
		T(test_a_disk_that_is_full_is_said),
		T(test_a_rewritten_store_has_the_same_rows_and_no_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

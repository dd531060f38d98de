/* SPDX-License-Identifier: BSD-3-Clause
 * Opening: what can be wrong with a store's directory is said with its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/db.h"

static char dir[64], error[512];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bypost-db-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	static const char *const names[] = {"data.mdb", "journal", "lock.mdb", "lock", "file"};
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/new", dir);
	rmdir(path);
	return rmdir(dir);
}

static int open_it(struct db *db, const char *path)
{
	error[0] = '\0';
	return db_open(db, path, 64 << 20, false, error, sizeof(error));
}

static void test_not_a_directory(void **state)
{
	(void)state;
	char path[128];
	struct db db;

	snprintf(path, sizeof(path), "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(open_it(&db, path), -ENOTDIR);
	assert_non_null(strstr(error, path));
	assert_non_null(strstr(error, "not a directory"));
	assert_int_equal(open_it(&db, "/nonexistent/store"), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/store"));
}

static void test_not_writable(void **state)
{
	(void)state;
	struct db db;
	bool root = geteuid() == 0;

	assert_int_equal(chmod(dir, 0555), 0);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	int err = open_it(&db, dir);
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(err, -EACCES);
	assert_non_null(strstr(error, dir));
	assert_non_null(strstr(error, "not writable"));
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_second_opener_is_refused(void **state)
{
	(void)state;
	struct db one, two;

	assert_int_equal(open_it(&one, dir), 0);
	assert_int_equal(open_it(&two, dir), -EBUSY);
	assert_non_null(strstr(error, "in use"));
	db_close(&one);
	assert_int_equal(open_it(&two, dir), 0);
	db_close(&two);
}

static void test_other_format_is_refused(void **state)
{
	(void)state;
	struct db db;
	MDB_txn *txn;

	assert_int_equal(open_it(&db, dir), 0);
	assert_int_equal(db_begin(&db, true, &txn), 0);
	assert_int_equal(db_meta_put(txn, &db, "format", STORE_FORMAT + 1), 0);
	assert_int_equal(db_commit(txn), 0);
	db_close(&db);
	assert_int_equal(open_it(&db, dir), -EPROTONOSUPPORT);
	char wanted[32];
	snprintf(wanted, sizeof(wanted), "reads format %d", STORE_FORMAT);
	assert_non_null(strstr(error, wanted));
}

static void test_older_format_is_raised(void **state)
{
	(void)state;
	struct db db;
	MDB_txn *txn;
	uint64_t v;

	assert_int_equal(open_it(&db, dir), 0);
	assert_int_equal(db_begin(&db, true, &txn), 0);
	assert_int_equal(db_meta_put(txn, &db, "format", STORE_FORMAT_MIN), 0);
	assert_int_equal(db_commit(txn), 0);
	db_close(&db);
	assert_int_equal(open_it(&db, dir), 0);
	assert_int_equal(db_begin(&db, false, &txn), 0);
	assert_int_equal(db_meta_get(txn, &db, "format", &v), 0);
	assert_true(v == STORE_FORMAT);
	db_abort(txn);
	db_close(&db);
}

static void test_file_of_something_else(void **state)
{
	(void)state;
	char path[128], junk[8192];
	struct db db;

	memset(junk, 'x', sizeof(junk));
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	close(fd);
	assert_int_equal(open_it(&db, dir), -EINVAL);
	assert_non_null(strstr(error, dir));
}

static void test_reopen_keeps_rows(void **state)
{
	(void)state;
	struct db db;
	MDB_txn *txn;
	uint64_t v;

	assert_int_equal(open_it(&db, dir), 0);
	assert_int_equal(db_begin(&db, true, &txn), 0);
	assert_int_equal(db_meta_put(txn, &db, "last_id", 77), 0);
	assert_int_equal(db_commit(txn), 0);
	assert_int_equal(db_reopen(&db), 0);
	assert_int_equal(db_begin(&db, false, &txn), 0);
	assert_int_equal(db_meta_get(txn, &db, "last_id", &v), 0);
	assert_true(v == 77);
	db_abort(txn);
	assert_true(db_used_bytes(&db) > 0);
	db_close(&db);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_not_a_directory),
		T(test_not_writable),
		T(test_second_opener_is_refused),
		T(test_other_format_is_refused),
		T(test_older_format_is_raised),
		T(test_file_of_something_else),
		T(test_reopen_keeps_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Hot backups, what ends them, and stores written anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "store/check.h"
#include "store/body.h"
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

/* ---- bodies, wherever they lie ---- */

#define FIRST  (1ull << 20) /* id of the first message */
#define PREFIX "Received: here\r\n"

/* Of the messages that fill_every_kind makes. */
static const size_t kinds[] = {0, 100, 9000, 128 * CHUNK_DATA, 400 * CHUNK_DATA - 1,
	300 * CHUNK_DATA + 77, 70 * CHUNK_DATA, 200 * CHUNK_DATA + 5, 20000};
#define STREAMED_FROM 5 /* to 7 */
#define MOVED         2 /* these two are moved into rows */
#define MOVED_TOO     7

static void send_part(struct message *m, uint32_t first, uint32_t chunks)
{
	struct part_op p = {.blob = m->id, .first = first};

	for (uint32_t i = 0; i < chunks; i++)
		chain_push(&p.chunks, chain_pop(&m->body));
	m->streamed += p.chunks.bytes;
	m->streamed_chunks += chunks;
	assert_int_equal(harness_write(&h, &p.op, HANDOFF_PART), 0);
}

static struct message *streamed(size_t octets)
{
	struct message *m =
		harness_message(&h, octets, (const char *[]){"x@one.example.net", NULL});
	uint32_t chunks = (uint32_t)(octets / CHUNK_DATA);

	send_part(m, 0, 1);
	send_part(m, 1, chunks - 11);
	send_part(m, chunks - 10, 10);
	return m;
}

/* The row of its tail, and the last of the rows that there are of the rest. */
static void move_out(uint64_t blob)
{
	char error[256];
	struct db db;
	MDB_txn *txn;
	struct key k;
	struct db_cursor c;

	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	assert_int_equal(db_begin(&db, true, &txn), 0);
	assert_int_equal(body_move(txn, &db, DB_BLOB, key_id(&k, blob)), 0);
	assert_int_equal(db_cursor_open(txn, &db, DB_EXTENT, &c), 0);
	int rc = db_cursor_seek(&c, key_id_n(&k, blob, 60));
	if (!rc && key_get_u64(c.key, 0) == blob) {
		struct bytes key = key_id_n(&k, blob, key_get_u32(c.key, 8));
		assert_int_equal(body_move(txn, &db, DB_EXTENT, key), 0);
	}
	db_cursor_close(&c);
	assert_int_equal(db_commit(txn), 0);
	db_close(&db);
}

static void fill_every_kind(void)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		bool parts = i >= STREAMED_FROM && i < STREAMED_FROM + 3;
		struct message *m = parts ? streamed(kinds[i])
					  : harness_message(&h, kinds[i],
						    (const char *[]){"x@one.example.net", NULL});
		assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
		harness_hints_drop(&h);
	}
	harness_close(&h);
	move_out(FIRST + MOVED);
	move_out(FIRST + MOVED_TOO);
	harness_open(&h);
}

static void every_kind_is_there(void)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		assert_true(harness_body_is(&h, FIRST + i, kinds[i], PREFIX, true));
}

static void backup(void)
{
	char error[512];
	uint64_t octets;
	int running;

	assert_int_equal(store_backup_start(h.store, other, 0, error, sizeof(error)), 0);
	while ((running = store_backup_poll(h.store, &octets, error, sizeof(error))) == 1)
		usleep(1000);
	assert_string_equal(error, "");
	assert_int_equal(running, 0);
	assert_true(octets >= 8192);
}

static char *in_store(const char *name)
{
	static char path[2][400];
	static unsigned turn;
	char *p = path[++turn % 2];

	snprintf(p, sizeof(path[0]), "%s/%s", h.dir, name);
	return p;
}

/* As a restore does it: by way of a directory in the store's. */
static void restore(const char *keep)
{
	char error[512], work[300];

	snprintf(work, sizeof(work), "%s.work", h.dir);
	assert_int_equal(db_copy_file(other, work, error, sizeof(error)), 0);
	assert_int_equal(db_replace(h.dir, work, keep, error, sizeof(error)), 0);
	assert_int_not_equal(access(work, F_OK), 0);
	assert_int_not_equal(access(in_store("journal"), F_OK), 0);
}

static void test_bodies_of_every_kind_come_back(void **state)
{
	static const char *const left_behind[] = {"data.mdb.part", "lock", "lock.mdb", "journal"};

	(void)state;
	fill_every_kind();
	/* Parts of one that is never accepted are not in it. */
	struct message *half = streamed(100 * CHUNK_DATA);
	backup();
	message_unref(half);
	for (size_t i = 0; i < ARRAY_LEN(left_behind); i++)
		assert_false(is_there(left_behind[i]));
	messages_at(other);
	accept_some(3, 5000);
	uint64_t later = FIRST + ARRAY_LEN(kinds) + 1;
	assert_true(harness_body_is(&h, later, 5000, PREFIX, true));
	harness_close(&h);
	restore(".replaced");
	harness_open(&h);
	every_kind_is_there();
	assert_false(harness_body_is(&h, later, 5000, PREFIX, true));
	accept_some(3, 100);
	harness_close(&h);
	/* The old store comes back when both files do. */
	assert_int_equal(rename(in_store("data.mdb.replaced"), in_store("data.mdb")), 0);
	assert_int_equal(rename(in_store("journal.replaced"), in_store("journal")), 0);
	harness_open(&h);
	every_kind_is_there();
	assert_true(harness_body_is(&h, later, 5000, PREFIX, true));
}

static void test_bodies_of_every_kind_are_in_a_rewritten_store(void **state)
{
	struct db_copy_watch watch = {0};
	char error[512];
	struct db db;

	(void)state;
	fill_every_kind();
	harness_close(&h);
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	assert_int_equal(db_rewrite(&db, other, &watch, error, sizeof(error)), 0);
	db_close_env(&db);
	messages_at(other);
	assert_int_equal(db_replace(h.dir, other, NULL, error, sizeof(error)), 0);
	db_close(&db);
	assert_int_not_equal(access(in_store("journal"), F_OK), 0);
	harness_open(&h);
	every_kind_is_there();
}

/* The new file has its name, the old journal is still there: what a power cut may leave. */
static void test_a_replacement_that_was_interrupted(void **state)
{
	(void)state;
	fill_every_kind();
	backup();
	accept_some(2, 5000);
	harness_close(&h);
	assert_int_equal(link(in_store("journal"), in_store("journal.aside")), 0);
	restore(".replaced");
	assert_int_equal(rename(in_store("journal.aside"), in_store("journal")), 0);
	harness_open(&h);
	every_kind_is_there();
	harness_close(&h);
	/* What was kept is whole. */
	assert_int_equal(rename(in_store("data.mdb.replaced"), in_store("data.mdb")), 0);
	assert_int_equal(rename(in_store("journal.replaced"), in_store("journal")), 0);
	harness_open(&h);
	every_kind_is_there();
	assert_true(harness_body_is(&h, FIRST + ARRAY_LEN(kinds), 5000, PREFIX, true));
}

static void test_files_of_a_store_are_no_backup(void **state)
{
	char error[512];

	(void)state;
	accept_some(2, 100);
	harness_close(&h);
	assert_int_equal(db_copy_file(h.dir, other, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "not a backup"));
	assert_non_null(strstr(error, h.dir));
	assert_int_not_equal(access(other, F_OK), 0);
	harness_open(&h);
}

static char damaged[64];

static void note_damage(void *ctx, const struct check_problem *p)
{
	unsigned *n = ctx;

	assert_string_equal(p->what, "body-damaged");
	snprintf(damaged, sizeof(damaged), "%s", p->object);
	++*n;
}

/* The others come over, and it is as damaged as it was. */
static void test_a_damaged_body_is_copied(void **state)
{
	static const size_t victims[] = {3, 5};
	char error[256];
	struct body_head head;
	struct db db;
	MDB_txn *txn;

	(void)state;
	fill_every_kind();
	assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
	for (size_t i = 0; i < ARRAY_LEN(victims); i++) {
		assert_int_equal(body_head_read(txn, harness_db(&h), FIRST + victims[i], &head), 0);
		assert_true(head.r.in_journal);
		assert_int_equal(
			pwrite(harness_db(&h)->journal->fd, "\xff\xee", 2, (off_t)head.at + 11), 2);
	}
	db_abort(txn);
	backup();
	assert_int_equal(db_open_plain(&db, other, NULL, 1 << 30, error, sizeof(error)), 0);
	unsigned n = 0;
	struct check *c =
		check_create(&(struct check_conf){.db = &db, .problem = note_damage, .ctx = &n});
	assert_int_equal(check_run(c, &db, false), 0);
	assert_int_equal(n, ARRAY_LEN(victims));
	snprintf(error, sizeof(error), "body %016llx", FIRST + victims[1]);
	assert_string_equal(damaged, error);
	check_destroy(&c);
	db_close(&db);
}

/* A file of that name is one that an older program has left. */
static void test_what_an_attempt_has_left_goes(void **state)
{
	char path[400];

	(void)state;
	accept_some(5, 9000);
	assert_int_equal(mkdir(other, 0700), 0);
	snprintf(path, sizeof(path), "%s/data.mdb.part", other);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	backup();
	other_remove();
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/data.mdb.part/data.mdb", other);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "not a store", 11), 11);
	close(fd);
	backup();
	assert_false(is_there("data.mdb.part"));
	assert_int_equal(messages_at(other), 5);
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
		T(test_bodies_of_every_kind_come_back),
		T(test_bodies_of_every_kind_are_in_a_rewritten_store),
		T(test_a_replacement_that_was_interrupted),
		T(test_files_of_a_store_are_no_backup),
		T(test_a_damaged_body_is_copied),
		T(test_what_an_attempt_has_left_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Taking messages: parts, accept, bodies and what a restart leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "store/body.h"
#include "tests/unit/store/store_harness.h"

#define MAILBOX_PREFIX "Return-Path: <>\r\nReceived: here\r\n"
#define RELAY_PREFIX   "Received: here\r\n"

static struct harness h;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	harness_open(&h);
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

static void test_local_message_is_in_inbox(void **state)
{
	(void)state;
	uint32_t account = harness_account(&h, "Ann@Example.org");
	struct message *m = harness_message(&h, 10000, (const char *[]){"ann@example.org", NULL});
	uint64_t id = m->id;
	struct mbox_row row;

	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	struct mbox_state s = harness_box(&h, account, "inBox");
	assert_int_equal(s.exists, 1);
	assert_int_equal(s.unseen, 1);
	assert_int_equal(s.uidnext, 2);
	assert_int_equal(harness_rows(&h, account, s.box, 0, &row, 1), 1);
	assert_true(row.blob == id);
	assert_int_equal(row.size, 10000 + strlen(MAILBOX_PREFIX));
	assert_int_equal(s.bytes, row.size);
	assert_true(harness_body_is(&h, id, 10000, MAILBOX_PREFIX, false));
	assert_true(harness_body_is(&h, id, 10000, RELAY_PREFIX, true));
	void *event;
	assert_int_equal(hints_take(&h.events, &event, 1), 1);
	assert_true((uint64_t)(uintptr_t)event == mbox_event(account, s.box));
}

static void test_one_copy_per_account_and_all_survive_restart(void **state)
{
	(void)state;
	uint32_t ann = harness_account(&h, "ann@example.org");
	uint32_t bob = harness_account(&h, "bob@example.org");
	const char *const rcpts[] = {
		"ann@example.org", "bob@example.org", "ANN@example.org", "x@example.net", NULL};
	struct message *m = harness_message(&h, 5, rcpts);
	uint64_t id = m->id;

	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	harness_close(&h);
	harness_open(&h);
	assert_true(store_last_id(h.store) == id);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 1);
	assert_int_equal(harness_box(&h, bob, "INBOX").exists, 1);
	struct queue_read_op q = {.id = id};
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	assert_int_equal(q.message->rcpt_count, 1);
	assert_int_equal(((struct queue_rcpt_row *)(void *)q.rows.head->data)->rcpt, 3);
	struct bytes a = message_rcpt_address(q.message, message_rcpt(q.message, 0));
	assert_true(bytes_eq(a, BYTES_LIT("x@example.net")));
	assert_true(bytes_eq(message_sender(q.message), BYTES_LIT("from@example.net")));
	assert_int_equal(q.body_bytes, 5);
	assert_int_equal(q.message->prefix_local, strlen(MAILBOX_PREFIX) - strlen(RELAY_PREFIX));
	assert_int_equal(q.message->prefix.bytes, strlen(MAILBOX_PREFIX));
	message_unref(q.message);
	chain_free(&q.rows);
	const struct directory *d = store_directory(h.store);
	struct directory_entry e;
	assert_int_equal(d->lookup(d, BYTES_LIT("Bob@example.org"), &e), DIRECTORY_OK);
	assert_int_equal(e.account, bob);
}

static void test_gone_account_is_refused(void **state)
{
	(void)state;
	uint32_t ann = harness_account(&h, "ann@example.org");
	harness_account(&h, "bob@example.org");
	const char *const both[] = {"ann@example.org", "bob@example.org", NULL};
	struct message *m = harness_message(&h, 100, both);
	struct message *only = harness_message(&h, 100, (const char *[]){"ann@example.org", NULL});
	struct account_op del = {.action = ACCOUNT_DELETE, .address = BYTES_LIT("ann@example.org")};

	assert_int_equal(harness_write(&h, &del.op, STORE_ACCOUNT), 0);
	assert_int_equal(del.account, ann);
	assert_int_equal(harness_write(&h, &del.op, STORE_ACCOUNT), -ENOENT);
	struct accept_op a = {.message = m};
	assert_int_equal(harness_write(&h, &a.op, HANDOFF_ACCEPT), HANDOFF_OK);
	assert_int_equal(a.refused, 1);
	/* 250 was for all: the one who is gone is queued, and delivery will bounce it. */
	struct queue_read_op q = {.id = m->id};
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), 0);
	assert_int_equal(q.message->rcpt_count, 1);
	const struct rcpt *r = message_rcpt(q.message, 0);
	assert_true(bytes_eq(message_rcpt_address(q.message, r), BYTES_LIT("ann@example.org")));
	assert_int_equal(r->route, RCPT_REMOTE);
	message_unref(q.message);
	chain_free(&q.rows);
	message_unref(m);
	assert_int_equal(harness_accept(&h, only), HANDOFF_REFUSED);
}

/* LMTP: who is gone is told so, and nothing is queued for him. */
static void test_gone_account_of_lmtp(void **state)
{
	(void)state;
	harness_account(&h, "ann@example.org");
	uint32_t bob = harness_account(&h, "bob@example.org");
	struct message *m = harness_message(
		&h, 100, (const char *[]){"bob@example.org", "ann@example.org", NULL});
	struct account_op del = {.action = ACCOUNT_DELETE, .address = BYTES_LIT("ann@example.org")};
	struct accept_op a = {.message = m};
	struct queue_read_op q = {.id = m->id};

	m->each = 1;
	assert_int_equal(harness_write(&h, &del.op, STORE_ACCOUNT), 0);
	assert_int_equal(harness_write(&h, &a.op, HANDOFF_ACCEPT), HANDOFF_OK);
	assert_true(a.refused_bits[0] == 2 && a.refused_bits[1] == 0);
	assert_int_equal(harness_box(&h, bob, "INBOX").exists, 1);
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), -ENOENT);
	message_unref(m);
}

static void test_same_id_twice_is_an_error(void **state)
{
	(void)state;
	struct message *m = harness_message(&h, 100, (const char *[]){"x@example.net", NULL});

	message_ref(m);
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_int_equal(harness_accept(&h, m), HANDOFF_ERROR);
}

/* Sends `chunks` full chunks of m's body as one part. */
static int send_part(struct message *m, uint32_t first, uint32_t chunks)
{
	struct part_op p = {.blob = m->id, .first = first};

	for (uint32_t i = 0; i < chunks; i++)
		chain_push(&p.chunks, chain_pop(&m->body));
	m->streamed += p.chunks.bytes;
	m->streamed_chunks += chunks;
	return harness_write(&h, &p.op, HANDOFF_PART);
}

static void test_streamed_body(void **state)
{
	(void)state;
	size_t n = 300 * CHUNK_DATA + 77;
	struct message *m = harness_message(&h, n, (const char *[]){"x@example.net", NULL});
	uint64_t id = m->id;

	assert_int_equal(send_part(m, 0, 1), 0);
	assert_int_equal(send_part(m, 1, 64), 0);
	assert_int_equal(send_part(m, 65, 200), 0);
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_true(harness_body_is(&h, id, n, RELAY_PREFIX, true));
}

static void test_large_body_in_memory(void **state)
{
	(void)state;
	size_t n = 400 * CHUNK_DATA - 1;
	struct message *m = harness_message(&h, n, (const char *[]){"x@example.net", NULL});
	uint64_t id = m->id;

	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_true(harness_body_is(&h, id, n, RELAY_PREFIX, true));
}

static void test_missing_part_is_an_error(void **state)
{
	(void)state;
	struct message *m =
		harness_message(&h, 20 * CHUNK_DATA, (const char *[]){"x@example.net", NULL});

	assert_int_equal(send_part(m, 0, 4), 0);
	assert_int_equal(send_part(m, 5, 4), HANDOFF_ERROR);
	assert_int_equal(harness_accept(&h, m), HANDOFF_ERROR);
}

static unsigned rows_on_disk(const char *dir, enum db_id id)
{
	char error[256];
	struct db db;
	MDB_txn *txn;

	BUG_ON(db_open(&db, dir, 1ull << 30, false, error, sizeof(error)) < 0);
	BUG_ON(db_begin(&db, false, &txn));
	unsigned n = (unsigned)db_entries(txn, &db, id);
	db_abort(txn);
	db_close(&db);
	return n;
}

static void wait_collected(enum db_id id)
{
	for (int i = 0; i < 50; i++) {
		harness_close(&h);
		unsigned rows = rows_on_disk(h.dir, id);
		harness_open(&h);
		if (rows == 0)
			return;
		usleep(20000);
	}
	fail_msg("garbage is not collected");
}

static void test_dropped_and_forgotten_parts_are_freed(void **state)
{
	(void)state;
	const char *const rcpts[] = {"x@example.net", NULL};
	struct message *dropped = harness_message(&h, 200 * CHUNK_DATA, rcpts);
	struct message *forgotten = harness_message(&h, 700 * CHUNK_DATA, rcpts);
	struct drop_op d = {.blob = dropped->id};

	assert_int_equal(send_part(dropped, 0, 200), 0);
	assert_int_equal(send_part(forgotten, 0, 700), 0);
	assert_int_equal(harness_write(&h, &d.op, HANDOFF_DROP), 0);
	assert_int_equal(harness_write(&h, &d.op, HANDOFF_DROP), 0);
	message_unref(dropped);
	message_unref(forgotten);
	wait_collected(DB_CHUNK);
	wait_collected(DB_CRC);
	wait_collected(DB_INCOMING);
	wait_collected(DB_GC);
}

/* An octet in the middle of the first chunk of a body, where it lies in the journal. */
static void corrupt_first_chunk(const char *dir, uint64_t blob)
{
	char error[256], path[400];
	struct body_head head;
	struct db db;
	MDB_txn *txn;
	uint8_t octet;

	BUG_ON(db_open(&db, dir, 1ull << 30, false, error, sizeof(error)) < 0);
	BUG_ON(db_begin(&db, false, &txn));
	BUG_ON(body_head_read(txn, &db, blob, &head) || !head.r.in_journal);
	db_abort(txn);
	db_close(&db);
	snprintf(path, sizeof(path), "%s/" JOURNAL_NAME, dir);
	int fd = open(path, O_RDWR);
	off_t at = (off_t)head.at + CHUNK_DATA / 2;
	BUG_ON(pread(fd, &octet, 1, at) != 1);
	octet ^= 1;
	BUG_ON(pwrite(fd, &octet, 1, at) != 1);
	close(fd);
}

static void test_corrupt_body_is_reported(void **state)
{
	(void)state;
	struct message *m = harness_message(&h, 5000, (const char *[]){"x@example.net", NULL});
	uint64_t id = m->id;

	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	harness_close(&h);
	corrupt_first_chunk(h.dir, id);
	harness_open(&h);
	struct body_read_op op = {.blob = id, .max = 100000};
	assert_int_equal(harness_read(&h, &op.op, STORE_READ_BODY), -EIO);
	assert_null(op.out.head);
	/* The second chunk is sound. */
	op = (struct body_read_op){.blob = id, .offset = 4500, .max = 100};
	assert_int_equal(harness_read(&h, &op.op, STORE_READ_BODY), 0);
	assert_int_equal(op.out.bytes, 100);
	chain_free(&op.out);
	op = (struct body_read_op){.blob = id + 1, .max = 100};
	assert_int_equal(harness_read(&h, &op.op, STORE_READ_BODY), -ENOENT);
}

static void test_no_chunks_for_the_answer(void **state)
{
	(void)state;
	struct message *m = harness_message(&h, 50000, (const char *[]){"x@example.net", NULL});
	uint64_t id = m->id;
	struct chain all = {0};
	struct chunk *c;

	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	while ((c = chunk_get()))
		chain_push(&all, c);
	struct body_read_op op = {.blob = id, .max = 50000};
	struct queue_read_op q = {.id = id};
	struct queue_list_op l = {.max_messages = 10};
	assert_int_equal(harness_read(&h, &op.op, STORE_READ_BODY), -ENOBUFS);
	assert_null(op.out.head);
	assert_int_equal(harness_read(&h, &q.op, STORE_READ_QUEUE), -ENOBUFS);
	assert_null(q.message);
	assert_int_equal(harness_read(&h, &l.op, STORE_READ_QUEUE_LIST), -ENOBUFS);
	assert_null(l.out.head);
	chain_free(&all);
	assert_true(harness_body_is(&h, id, 50000, RELAY_PREFIX, true));
}

static void test_unknown_kind_is_answered(void **state)
{
	(void)state;
	struct op op = {0};

	assert_int_equal(harness_write(&h, &op, 999), -EINVAL);
	assert_int_equal(harness_write(&h, &op, 0), -EINVAL);
	assert_int_equal(harness_read(&h, &op, 999), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_local_message_is_in_inbox),
		T(test_one_copy_per_account_and_all_survive_restart),
		T(test_gone_account_is_refused),
		T(test_gone_account_of_lmtp),
		T(test_same_id_twice_is_an_error),
		T(test_streamed_body),
		T(test_large_body_in_memory),
		T(test_missing_part_is_an_error),
		T(test_dropped_and_forgotten_parts_are_freed),
		T(test_corrupt_body_is_reported),
		T(test_no_chunks_for_the_answer),
		T(test_unknown_kind_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What is kept beside bodies: put, read, replaced, and gone with its body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "store/body.h"
#include "tests/unit/store/store_harness.h"

#define WAIT_MS 10000 /* for the collector */

static struct harness h;
static uint32_t ann;
static uint64_t blob;
static uint8_t octets[SHAPE_MAX];

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	harness_open(&h);
	ann = harness_account(&h, "ann@example.org");
	struct message *m = harness_message(&h, 500, (const char *[]){"ann@example.org", NULL});
	blob = m->id;
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (uint8_t)(i * 7 + i / 251);
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

static int put(uint64_t id, uint32_t n, uint32_t from, bool replace)
{
	struct shape_head head = {.blob = id, .octets = n, .replace = replace};
	struct shape_op op = {.data = {0}};

	assert_int_equal(chain_append(&op.data, bytes_make(&head, sizeof(head))), 0);
	assert_int_equal(chain_append(&op.data, bytes_make(octets + from, n)), 0);
	return harness_write(&h, &op.op, STORE_SHAPE);
}

static int is(uint64_t id, uint32_t n, uint32_t from)
{
	struct shape_read_op op = {.blob = id};
	static uint8_t got[SHAPE_MAX];
	int status = harness_read(&h, &op.op, STORE_READ_SHAPE);

	if (status == 0) {
		assert_int_equal(op.out.bytes, n);
		chain_read(&op.out, 0, got, n);
		assert_memory_equal(got, octets + from, n);
	}
	chain_free(&op.out);
	return status;
}

static void test_sizes(void **state)
{
	static const uint32_t sizes[] = {1, 100, SHAPE_ROW - 1, SHAPE_ROW, SHAPE_ROW + 1,
		2 * SHAPE_ROW, SHAPE_MAX - 1, SHAPE_MAX};

	(void)state;
	assert_int_equal(is(blob, 0, 0), -ENOENT);
	assert_int_equal(put(blob, 10, 0, false), 0);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(put(blob, sizes[i], 0, true), 0);
		assert_int_equal(is(blob, sizes[i], 0), 0);
	}
	/* A shorter one leaves nothing of the longer. */
	assert_int_equal(put(blob, 5, 3, true), 0);
	harness_close(&h);
	harness_open(&h);
	assert_int_equal(is(blob, 5, 3), 0);
}

static void test_what_is_there_stays(void **state)
{
	(void)state;
	assert_int_equal(put(blob, 50, 0, false), 0);
	assert_int_equal(put(blob, 60, 9, false), 0);
	assert_int_equal(is(blob, 50, 0), 0);
	/* A body that nobody knows has none. */
	assert_int_equal(put(blob + 99, 60, 9, false), 0);
	assert_int_equal(is(blob + 99, 0, 0), -ENOENT);
}

static void test_nonsense_is_refused(void **state)
{
	struct shape_head head = {.blob = blob, .octets = 100};

	(void)state;
	for (uint32_t n = 0; n < sizeof(head) + 100; n += 7) {
		struct shape_op op = {.data = {0}};
		uint8_t text[sizeof(head) + 100] = {0};
		memcpy(text, &head, sizeof(head));
		if (n)
			assert_int_equal(chain_append(&op.data, bytes_make(text, n)), 0);
		assert_int_equal(harness_write(&h, &op.op, STORE_SHAPE), n ? -EINVAL : 0);
	}
	head.octets = SHAPE_MAX + 1;
	struct shape_op op = {.data = {0}};
	assert_int_equal(chain_append(&op.data, bytes_make(&head, sizeof(head))), 0);
	assert_int_equal(harness_write(&h, &op.op, STORE_SHAPE), -EINVAL);
	assert_int_equal(is(blob, 0, 0), -ENOENT);
}

static unsigned rows_of_shapes(void)
{
	struct db_cursor c;
	unsigned n = 0;
	MDB_txn *txn;

	assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
	assert_int_equal(db_cursor_open(txn, harness_db(&h), DB_SHAPE, &c), 0);
	for (int rc = db_cursor_seek(&c, BYTES_LIT("\0")); !rc; rc = db_cursor_next(&c))
		n++;
	db_cursor_close(&c);
	db_abort(txn);
	return n;
}

static void test_it_goes_with_its_body(void **state)
{
	static const uint32_t uid = 1;
	struct mbox_op op = {.account = ann, .uids = &uid, .uid_count = 1};

	(void)state;
	assert_int_equal(put(blob, SHAPE_MAX, 0, false), 0);
	assert_int_equal(rows_of_shapes(), 17);
	op.box = harness_box(&h, ann, "INBOX").box;
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
	for (unsigned ms = 0; rows_of_shapes() && ms < WAIT_MS; ms++)
		usleep(1000);
	assert_int_equal(rows_of_shapes(), 0);
	assert_int_equal(put(blob, 5, 0, false), 0);
	assert_int_equal(rows_of_shapes(), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_sizes),
		T(test_what_is_there_stays),
		T(test_nonsense_is_refused),
		T(test_it_goes_with_its_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

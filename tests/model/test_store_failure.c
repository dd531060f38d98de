/* SPDX-License-Identifier: BSD-3-Clause
 * What the writer does about each kind of failure, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <lmdb.h>
#include <string.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "store/store_priv.h"
#include "tests/model/fault.h"
#include "tests/unit/store/store_harness.h"

#define GROUP 8

static struct harness h;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	h.conf.index_rows = 6;
	harness_open(&h);
	return 0;
}

/* A checkpoint after every group, and groups that follow each other. */
static int setup_checkpoints(void **state)
{
	(void)state;
	harness_init(&h);
	h.conf.checkpoint_bytes = 1;
	h.conf.group_messages = 3;
	harness_open(&h);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_disarm();
	harness_close(&h);
	BUG_ON(!harness_nothing_leaked(&h));
	harness_fini(&h);
	return 0;
}

static enum store_health health(void)
{
	struct store_info info;

	store_get_info(h.store, &info);
	return info.health;
}

static uint64_t queued(void)
{
	struct store_info info;

	store_get_info(h.store, &info);
	return info.queued_messages;
}

static uint64_t last_id;

static int accept_one(void)
{
	struct message *m = harness_message(&h, 9000, (const char *[]){"x@example.net", NULL});

	last_id = m->id;
	return harness_accept(&h, m);
}

static bool stored(uint64_t id)
{
	return harness_body_is(&h, id, 9000, "Received: here\r\n", true);
}

static unsigned pending;

static void group_done(struct op *op)
{
	(void)op;
	pending--;
}

/* Submits a group before the writer can look: it is busy with the first op meanwhile. */
static void run_group(struct accept_op *ops)
{
	for (unsigned i = 0; i < GROUP; i++) {
		struct message *m =
			harness_message(&h, 9000, (const char *[]){"x@example.net", NULL});
		ops[i] = (struct accept_op){
			.op = {.kind = HANDOFF_ACCEPT, .done = group_done},
                          .message = m
                };
	}
	pending = GROUP;
	for (unsigned i = 0; i < GROUP; i++)
		assert_int_equal(channel_submit(&h.writer, &ops[i].op), 0);
	while (pending) {
		channel_poll(&h.writer);
		usleep(100);
	}
}

static void test_one_bad_put_costs_at_most_one_message(void **state)
{
	(void)state;
	struct accept_op ops[GROUP];

	/* Two strikes: in the group, and again when that message is tried alone. */
	for (unsigned n = 1; n < 60; n += 7) {
		unsigned lost = 0;
		fault_arm(FAULT_PUT, MDB_BAD_TXN, n, 2);
		run_group(ops);
		fault_disarm();
		for (unsigned i = 0; i < GROUP; i++) {
			int status = ops[i].op.status;
			assert_true(status == HANDOFF_OK || status == HANDOFF_ERROR);
			lost += status != HANDOFF_OK;
			assert_true(stored(ops[i].message->id) == (status == HANDOFF_OK));
			message_unref(ops[i].message);
		}
		assert_true(lost <= 2);
		assert_int_equal(health(), STORE_OK);
	}
	assert_true(counters_sum(CTR_STORE_BISECTS) > 0);
}

/* What was refused is not there, what was not is; returns how many were. */
static unsigned group_look(struct accept_op *ops)
{
	unsigned lost = 0;

	uint64_t ids[GROUP];

	for (unsigned i = 0; i < GROUP; i++) {
		ids[i] = ops[i].message->id;
		message_unref(ops[i].message);
	}
	for (unsigned i = 0; i < GROUP; i++) {
		int status = ops[i].op.status;
		assert_true(status == HANDOFF_OK || status == HANDOFF_FAILED);
		lost += status != HANDOFF_OK;
		assert_true(stored(ids[i]) == (status == HANDOFF_OK));
	}
	return lost;
}

static void wait_for_mail(void)
{
	uint64_t end = clock_mono_us() + 30 * US_PER_SEC;

	while (accept_one() != HANDOFF_OK) {
		assert_true(clock_mono_us() < end);
		usleep(50000);
	}
	assert_int_equal(health(), STORE_OK);
}

/* Groups wait for the sync of the next one: whichever fails, what is refused is not there, and what
 * is there was answered. */
static void test_a_failed_sync_refuses_what_it_covered(void **state)
{
	(void)state;
	struct accept_op ops[GROUP];

	for (unsigned n = 2; n > 0; n--) {
		unsigned lost = 0;
		uint64_t end = clock_mono_us() + 30 * US_PER_SEC;
		assert_int_equal(accept_one(), HANDOFF_OK);
		uint64_t good = last_id;
		/* A group may have one sync for all of it, and garbage has some of its own. */
		while (lost == 0) {
			assert_true(clock_mono_us() < end);
			fault_arm(FAULT_SYNC, EIO, n, 1);
			run_group(ops);
			fault_disarm();
			lost = group_look(ops);
			wait_for_mail();
			/* It gives up after three failures in ten minutes. */
			harness_close(&h);
			harness_open(&h);
		}
		assert_true(stored(good));
	}
}

/* The checkpoint that is made meanwhile does not have what that sync refuses. */
static void test_a_failed_sync_beside_a_checkpoint(void **state)
{
	(void)state;
	struct accept_op ops[GROUP];
	unsigned before = fault_hits(), lost = 0;
	uint64_t end = clock_mono_us() + 30 * US_PER_SEC;

	fault_arm(FAULT_SYNC_JOURNAL, EIO, 1, 1);
	while (fault_hits() == before) {
		assert_true(clock_mono_us() < end);
		run_group(ops);
		lost = group_look(ops);
	}
	fault_disarm();
	assert_true(lost > 0);
	wait_for_mail();
}

/* The record that could not be synced is the first of its slot. */
static void test_a_failed_sync_at_the_start_of_a_slot(void **state)
{
	(void)state;
	const struct journal *j = h.store->db.journal;

	/* A body has to leave 64 KiB of its slot for the rows (journal_place). */
	do {
		assert_int_equal(accept_one(), HANDOFF_OK);
	} while (j->at % JOURNAL_SLOT + 64 + 9000 + (64 << 10) <= JOURNAL_SLOT);
	uint64_t good = last_id;
	fault_arm(FAULT_SYNC, EIO, 1, 1);
	assert_int_equal(accept_one(), HANDOFF_FAILED);
	fault_disarm();
	uint64_t bad = last_id;
	wait_for_mail();
	assert_true(stored(good));
	assert_false(stored(bad));
}

static bool account_is_there(const char *address)
{
	const struct directory *d = store_directory(h.store);
	struct directory_entry e;

	return d->lookup(d, bytes_str(address), &e) == DIRECTORY_OK;
}

/* The journal has no room: a checkpoint makes it durable, and fails with it.  Behind that nothing
 * can. */
static void test_a_failed_checkpoint_refuses_what_has_no_record(void **state)
{
	(void)state;
	char address[32];
	unsigned before, n = 0;

	do {
		struct account_op op = {.action = ACCOUNT_ADD, .hash = BYTES_LIT("$y$j9T$no.hash")};
		snprintf(address, sizeof(address), "a%u@example.org", n);
		op.address = bytes_str(address);
		fault_no_room(true); /* ... nor has its slot, which has been opened anew */
		before = fault_hits();
		fault_arm(FAULT_SYNC, EIO, ++n, 1);
		int status = harness_write(&h, &op.op, STORE_ACCOUNT);
		fault_disarm();
		assert_int_equal(status, fault_hits() == before ? 0 : -EIO);
		/* It gives up after three failures in ten minutes. */
		harness_close(&h);
		fault_no_room(false);
		harness_open(&h);
		assert_true(account_is_there(address) == (status == 0));
	} while (fault_hits() > before);
	assert_int_equal(n, 3); /* two syncs: pages and head */
}

static void test_no_space_is_full_and_comes_back(void **state)
{
	(void)state;
	/* Two strikes: the first may be taken for the garbage collector's. */
	fault_arm(FAULT_COMMIT, ENOSPC, 1, 2);
	assert_int_equal(accept_one(), HANDOFF_FULL);
	assert_int_equal(health(), STORE_FULL);
	assert_false(stored(last_id));
	fault_disarm(); /* without garbage the second strike has not fallen */
	usleep(1100000);
	assert_int_equal(accept_one(), HANDOFF_OK);
	assert_int_equal(health(), STORE_OK);
	assert_true(stored(last_id));
}

static void fail_and_wait(enum fault_kind kind)
{
	uint64_t before, end = clock_mono_us() + 30 * US_PER_SEC;

	assert_int_equal(accept_one(), HANDOFF_OK);
	before = last_id;
	uint64_t count = queued();
	fault_arm(kind, EIO, 1, 1);
	assert_int_equal(accept_one(), HANDOFF_FAILED);
	assert_int_equal(queued(), count); /* what was refused is not counted either */
	uint64_t failed = last_id;
	while (accept_one() != HANDOFF_OK) {
		assert_true(clock_mono_us() < end);
		usleep(50000);
	}
	assert_int_equal(health(), STORE_OK);
	assert_true(stored(before));
	assert_true(stored(last_id));
	assert_false(stored(failed));
}

static void test_failed_sync_is_reopened(void **state)
{
	(void)state;
	fail_and_wait(FAULT_SYNC);
}

static void test_failed_meta_write_is_reopened(void **state)
{
	(void)state;
	fail_and_wait(FAULT_PWRITE);
}

/* Readers wait for it, and a start reads what has been written since the last checkpoint. */
static void test_a_failure_opens_the_environment_once(void **state)
{
	unsigned before = fault_calls(FAULT_OPEN);

	(void)state;
	harness_close(&h);
	harness_open(&h);
	unsigned once = fault_calls(FAULT_OPEN) - before;
	assert_true(once > 0);
	before = fault_calls(FAULT_OPEN);
	fail_and_wait(FAULT_SYNC);
	assert_int_equal(fault_calls(FAULT_OPEN) - before, once);
}

/* Whichever call of LMDB's opening fails: the store is not opened, says its name, and is whole. */
static void test_an_open_that_fails_says_so(void **state)
{
	(void)state;
	static const struct {
		enum fault_kind kind;
		int code;
	} plans[] = {
		{FAULT_OPEN, EMFILE},
                {FAULT_MMAP, ENOMEM}
        };

	assert_int_equal(accept_one(), HANDOFF_OK);
	harness_close(&h);
	for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
		unsigned before, failed = 0;
		do {
			char error[512] = "";
			struct db db;
			before = fault_hits();
			fault_arm(plans[i].kind, plans[i].code, ++failed, 1);
			int err = db_open(&db, h.dir, 1ull << 30, false, error, sizeof(error));
			fault_disarm();
			assert_true((err < 0) == (fault_hits() > before));
			assert_true(err == 0 || strstr(error, h.dir));
			if (!err)
				db_close(&db);
		} while (fault_hits() > before);
		assert_true(failed > 2);
	}
	harness_open(&h);
	assert_true(stored(last_id));
}

static void test_a_dead_disk_stays_failed_and_says_so(void **state)
{
	(void)state;
	uint64_t end = clock_mono_us() + 20 * US_PER_SEC;

	assert_int_equal(accept_one(), HANDOFF_OK);
	uint64_t before = last_id;
	fault_arm(FAULT_SYNC, EIO, 1, 1000000);
	/* Past the third attempt to reopen, 10 s after the first; more on a busy machine. */
	while (clock_mono_us() < end) {
		assert_int_equal(accept_one(), HANDOFF_FAILED);
		struct mbox_name_op op = {.account = 1, .name = BYTES_LIT("x")};
		assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_CREATE), -EIO);
		usleep(100000);
	}
	fault_disarm();
	usleep(1000000);
	assert_int_equal(accept_one(), HANDOFF_FAILED);
	assert_int_equal(health(), STORE_FAILED);
	assert_true(stored(before));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_bad_put_costs_at_most_one_message),
		T(test_a_failed_sync_refuses_what_it_covered),
		cmocka_unit_test_setup_teardown(
			test_a_failed_sync_beside_a_checkpoint, setup_checkpoints, teardown),
		T(test_a_failed_sync_at_the_start_of_a_slot),
		T(test_a_failed_checkpoint_refuses_what_has_no_record),
		T(test_no_space_is_full_and_comes_back),
		T(test_failed_sync_is_reopened),
		T(test_failed_meta_write_is_reopened),
		T(test_a_failure_opens_the_environment_once),
		T(test_an_open_that_fails_says_so),
		T(test_a_dead_disk_stays_failed_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

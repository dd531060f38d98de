/* SPDX-License-Identifier: BSD-3-Clause
 * The mode `relaxed`: mail is answered before its commit, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include "dataplane/base/counters.h"
#include "tests/model/fault.h"
#include "tests/unit/store/store_harness.h"

static struct harness h;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	h.conf.relaxed = true;
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

static int accept_one(void)
{
	static const char *const to[] = {"x@example.net", NULL};
	int status = harness_accept(&h, harness_message(&h, 9000, to));

	harness_hints_drop(&h);
	return status;
}

static bool stored(uint64_t id)
{
	return harness_body_is(&h, id, 9000, "Received: here\r\n", true);
}

static void test_what_is_answered_is_stored_at_once(void **state)
{
	(void)state;
	uint64_t first = h.next_id;

	for (int i = 0; i < 50; i++)
		assert_int_equal(accept_one(), HANDOFF_OK);
	/* An op of another kind waits for its commit, and so for theirs. */
	struct queue_admin_op op = {.id = first, .action = QUEUE_HOLD};
	assert_int_equal(harness_write(&h, &op.op, STORE_QUEUE_ADMIN), 0);
	for (int i = 0; i < 50; i++)
		assert_true(stored(first + (unsigned)i));
	assert_int_equal(counters_sum(CTR_STORE_RELAXED_LOST), 0);
}

static void test_an_answer_before_the_commit_may_be_wrong_and_is_counted(void **state)
{
	(void)state;
	uint64_t lost = h.next_id;

	/* A disk that takes nothing any more. */
	fault_arm(FAULT_SYNC, EIO, 1, 1000);
	assert_int_equal(accept_one(), HANDOFF_OK);
	/* The shard has failed by now: nobody else is told that it went well. */
	while (accept_one() == HANDOFF_OK) {
	}
	fault_disarm();
	assert_true(counters_sum(CTR_STORE_RELAXED_LOST) >= 1);
	assert_false(stored(lost));
}

static void test_what_must_not_be_put_is_not_answered_early(void **state)
{
	(void)state;
	/* The put of the only op fails, in the group and alone. */
	fault_arm(FAULT_PUT, ENOMEM, 1, 100);
	assert_int_equal(accept_one(), HANDOFF_ERROR);
	fault_disarm();
	assert_int_equal(accept_one(), HANDOFF_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_what_is_answered_is_stored_at_once),
		T(test_an_answer_before_the_commit_may_be_wrong_and_is_counted),
		T(test_what_must_not_be_put_is_not_answered_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

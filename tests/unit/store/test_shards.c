/* SPDX-License-Identifier: BSD-3-Clause
 * A store of several shards: where things lie, which stores are refused, and mail that crosses from
 * one shard to another exactly once, wherever it is interrupted. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "tests/unit/store/shards_bed.h"

/* ---- where things lie ---- */

static void test_a_wrong_number_is_refused(void **state)
{
	char error[512];
	struct shards *s;
	struct store *one;

	(void)state;
	bed_init(2);
	bed_open();
	bed_close();
	bed.conf.shards = 3;
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "made with 2 shards"));
	assert_non_null(strstr(error, "says 3: set it to 2"));
	bed.conf.shards = 1;
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "says 1: set it to 2"));
	assert_true(store_open(&bed.conf, &one, error, sizeof(error)) < 0);
	bed.conf.shards = 2;
	bed_open();
	bed_close();
	bed_fini();
	/* And the other way round. */
	bed_init(1);
	bed_open();
	bed_close();
	bed.conf.shards = 2;
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "made with 1 shard,"));
	bed_fini();
}

static void test_a_missing_or_a_wrong_shard_is_refused(void **state)
{
	char error[512], away[320], here[300];
	char journal_away[300], journal_here[300];
	struct shards *s;

	(void)state;
	bed_init(3);
	bed_open();
	bed_close();
	bed_path(2, "data.mdb", here);
	snprintf(away, sizeof(away), "%s.away", here);
	assert_int_equal(rename(here, away), 0);
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "shard 2 of the store is not here"));
	/* Its file in another's place. */
	bed_path(1, "data.mdb", here);
	assert_int_equal(rename(away, here), 0);
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "the file `journal` is of another store"));
	bed_path(2, "journal", journal_away);
	bed_path(1, "journal", journal_here);
	assert_int_equal(rename(journal_away, journal_here), 0);
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "this is shard 2 and not shard 1"));
	bed_fini();
	/* No shard 0, but the others. */
	bed_init(2);
	bed_open();
	bed_close();
	bed_path(0, "data.mdb", here);
	assert_int_equal(unlink(here), 0);
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "shard 0 of the store is not here"));
	bed_fini();
}

/* ---- mail ---- */

/* To everybody, from each shard, small and large; with an alias and a remote recipient. */
static void everybody(unsigned count)
{
	struct alias_op alias = {.address = BYTES_LIT("all@example.org")};
	char targets[ACCOUNTS * 64];
	size_t n = 0;
	unsigned sent = 0;

	bed_init(count);
	bed_open();
	bed_accounts();
	for (unsigned i = 0; i < ACCOUNTS; i++)
		n += (size_t)snprintf(targets + n, sizeof(targets) - n, "%s", bed_user(i)) + 1;
	n += (size_t)snprintf(targets + n, sizeof(targets) - n, "out@example.com") + 1;
	alias.targets = bytes_make(targets, n);
	assert_int_equal(
		bed_run(&bed.writers[bed_home("all@example.org")], &alias.op, STORE_ALIAS), 0);
	for (unsigned shard = 0; shard < count; shard++) {
		struct message *m = bed_message(bed_id_in(shard), 3000);
		for (unsigned i = 0; i < ACCOUNTS; i++)
			bed_rcpt(m, bed_user(i), 0);
		bed_rcpt(m, "user0+more@example.org", 0); /* one copy all the same */
		bed_rcpt(m, "far@example.com", 0);
		assert_int_equal(bed_accept(m), HANDOFF_OK);
		m = bed_message(bed_id_in(shard), BODY_LARGE);
		bed_rcpt(m, "all@example.org", 0);
		assert_int_equal(bed_accept(m), HANDOFF_OK);
		sent += 2;
	}
	bed_settle();
	for (unsigned i = 0; i < ACCOUNTS; i++)
		assert_int_equal(bed_inbox(bed.account[i]), sent);
	/* What is left in the queue is remote. */
	assert_int_equal(bed_rows(DB_Q), sent);
	assert_int_equal(bed_rows(DB_QR), sent);
	assert_int_equal(bed_rows(DB_QT), sent);
	bed_close();
	bed_check();
	bed_fini();
}

static void test_everybody_gets_one(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= SHARDS_MAX; count++)
		everybody(count);
}

static unsigned someone_in(unsigned shard)
{
	unsigned i = 0;

	while (store_account_shard(bed.account[i], bed.count) != shard)
		i++;
	assert_true(i < ACCOUNTS);
	return i;
}

static void test_a_full_mailbox_bounces(void **state)
{
	struct account_op op = {.action = ACCOUNT_QUOTA, .quota_messages = 1};

	(void)state;
	bed_init(2);
	bed_open();
	bed_accounts();
	unsigned i = someone_in(1);
	op.address = bytes_str(bed_user(i));
	assert_int_equal(bed_run(&bed.writers[1], &op.op, STORE_ACCOUNT), 0);
	/* Both are taken: shard 0 has heard of no full mailbox when they come. */
	struct message *m[2];
	struct accept_op accept[2];
	for (unsigned k = 0; k < 2; k++) {
		m[k] = bed_message(bed_id_in(0), 100);
		bed_rcpt(m[k], bed_user(i), 0);
		accept[k] = (struct accept_op){
			.op = {.done = bed_done, .kind = HANDOFF_ACCEPT},
                          .message = m[k]
                };
	}
	for (unsigned k = 0; k < 2; k++)
		assert_int_equal(channel_submit(&bed.writers[0], &accept[k].op), 0);
	while (channel_in_flight(&bed.writers[0]))
		channel_poll(&bed.writers[0]);
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(accept[k].op.status, HANDOFF_OK);
		message_unref(m[k]);
	}
	bed_settle();
	assert_int_equal(bed_inbox(bed.account[i]), 1);
	assert_int_equal(bed_rows(DB_QR), 1); /* delivery tells the sender */
	assert_int_equal(bed_rows(DB_QT), 1);
	/* And a report that was asked for is delivery's, too. */
	unsigned other = i + 1;
	while (other < ACCOUNTS && store_account_shard(bed.account[other], 2) != 1)
		other++;
	assert_true(other < ACCOUNTS);
	struct message *asked = bed_message(bed_id_in(0), 100);
	bed_rcpt(asked, bed_user(other), NOTIFY_SUCCESS);
	assert_int_equal(bed_accept(asked), HANDOFF_OK);
	bed_settle();
	assert_int_equal(bed_inbox(bed.account[other]), 1);
	assert_int_equal(bed_rows(DB_QR), 2);
	bed_close();
	bed_check();
	bed_fini();
}

/* ---- at random, against a model: what each mailbox and the queue must have ---- */

#define STEPS 120

struct model {
	unsigned inbox[ACCOUNTS]; /* messages */
	unsigned queued;          /* remote recipients */
	bool alive[ACCOUNTS];
};

static void random_message(struct model *m, uint64_t *x)
{
	unsigned remote = bed_random(x) % 3 == 0, n = 0;
	struct message *msg = bed_message(bed_id_in((unsigned)(bed_random(x) % bed.count)),
		bed_random(x) % 20 == 0 ? BODY_LARGE : bed_random(x) % 9000);
	uint64_t who = bed_random(x);

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		if (!m->alive[i] || !(who >> i & 1))
			continue;
		bed_rcpt(msg, bed_user(i), 0);
		m->inbox[i]++;
		n++;
	}
	for (unsigned i = 0; i < remote; i++)
		bed_rcpt(msg, "far@example.com", 0);
	m->queued += remote;
	if (n + remote)
		assert_int_equal(bed_accept(msg), HANDOFF_OK);
	else
		message_unref(msg);
}

/* Made anew, its number is another and its mailbox empty. */
static void random_account(struct model *m, uint64_t *x)
{
	unsigned i = (unsigned)(bed_random(x) % ACCOUNTS);
	struct account_op op = {.action = ACCOUNT_DELETE, .address = bytes_str(bed_user(i))};

	if (m->alive[i]) {
		bed_settle(); /* else what is on its way would bounce */
		assert_int_equal(
			bed_run(&bed.writers[bed_home(bed_user(i))], &op.op, STORE_ACCOUNT), 0);
	} else {
		bed.account[i] = bed_account(bed_user(i));
	}
	m->alive[i] = !m->alive[i];
	m->inbox[i] = 0;
}

static void model_compare(const struct model *m)
{
	bed_settle();
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		if (m->alive[i])
			assert_int_equal(bed_inbox(bed.account[i]), m->inbox[i]);
	}
	assert_int_equal(bed_rows(DB_QR), m->queued);
	assert_int_equal(bed_rows(DB_QT), m->queued);
}

static void random_run(unsigned count, uint64_t seed)
{
	struct model m = {.queued = 0};
	uint64_t x = seed;

	bed_init(count);
	bed_open();
	bed_accounts();
	memset(m.alive, true, sizeof(m.alive));
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned what = (unsigned)(bed_random(&x) % 24);
		if (what == 0) {
			bed_close(); /* in the middle of whatever is under way */
			bed_open();
		} else if (what == 1) {
			random_account(&m, &x);
		} else if (what == 2) {
			model_compare(&m);
		} else {
			random_message(&m, &x);
		}
	}
	model_compare(&m);
	bed_close();
	bed_check();
	bed_fini();
}

static void test_random(void **state)
{
	const char *text = getenv("BYPOST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 20261128;

	(void)state;
	for (unsigned count = 1; count <= SHARDS_MAX; count++) {
		print_message("BYPOST_SEED=%lu, %u shards\n", seed, count);
		random_run(count, seed | 1);
	}
}

/* ---- step by step ---- */

enum stop {
	AFTER_ACCEPT,
	AFTER_IN,
	AFTER_IN_TWICE,
	AFTER_OUT,
	AFTER_OUT_TWICE,
	AFTER_FORGET,
	STOPS
};

static void step_in(uint64_t id, uint32_t account, unsigned rcpt, struct move_rcpt *r)
{
	struct message *m = bed_message(bed_id_in(0), 5000);
	struct move_in_op in = {.id = id, .message = m, .count = 1, .rcpts = r};

	*r = (struct move_rcpt){.rcpt = rcpt, .account = account};
	assert_int_equal(bed_run(&bed.writers[1], &in.op, STORE_MOVE_IN), 0);
	assert_true(r->taken);
	message_unref(m);
}

static void step_out(uint64_t id, struct move_rcpt *r)
{
	struct move_out_op out = {.id = id, .shard = 1, .count = 1, .rcpts = r};

	assert_int_equal(bed_run(&bed.writers[0], &out.op, STORE_MOVE_OUT), 0);
}

static void steps_until(enum stop stop, uint64_t id, uint32_t account)
{
	struct move_rcpt r;
	struct move_forget_op forget = {.id = id};

	if (stop >= AFTER_IN)
		step_in(id, account, 0, &r);
	if (stop >= AFTER_IN_TWICE)
		step_in(id, account, 0, &r);
	if (stop >= AFTER_OUT)
		step_out(id, &r);
	if (stop >= AFTER_OUT_TWICE)
		step_out(id, &r);
	if (stop >= AFTER_FORGET)
		assert_int_equal(bed_run(&bed.writers[1], &forget.op, STORE_MOVE_FORGET), 0);
}

/* Every transaction is on disk when its op is answered: what is closed here and opened again is
 * what a crash leaves. */
static void test_it_goes_on_from_every_step(void **state)
{
	(void)state;
	for (unsigned stop = 0; stop < STOPS; stop++) {
		bed_init(2);
		bed_open_still();
		bed_accounts();
		uint32_t account = bed.account[someone_in(1)];
		uint64_t id = bed_id_in(0);
		struct message *m = bed_message(id, 5000);
		bed_rcpt(m, bed_user(someone_in(1)), 0);
		assert_int_equal(bed_accept(m), HANDOFF_OK);
		assert_int_equal(bed_rows_in(0, DB_MOVE), 1);
		assert_int_equal(bed_rows_in(0, DB_QT), 0);
		steps_until((enum stop)stop, id, account);
		assert_int_equal(bed_inbox(account), stop >= AFTER_IN);
		assert_int_equal(bed_rows_in(0, DB_Q), stop < AFTER_OUT);
		assert_int_equal(bed_rows_in(1, DB_DEDUP), stop >= AFTER_IN && stop < AFTER_FORGET);
		bed_close_still();
		bed_check();
		bed_open();
		bed_settle();
		assert_int_equal(bed_inbox(account), 1);
		assert_int_equal(bed_rows(DB_Q), 0);
		bed_close();
		bed_check();
		bed_fini();
	}
}

/* What the courier would do with these rows of `move`, whenever they were read. */
static void bring(uint64_t id, uint32_t rcpt, uint32_t account)
{
	struct lane *l = &bed.courier->lanes[0][1];
	const struct move_row row = {.id = id, .rcpt = rcpt, .account = account};
	uint64_t end = clock_mono_us() + BED_WAIT_US;

	assert_true(transfer_begin(l, id, &row, 1, false));
	while (transfer_has(l, id)) {
		assert_true(clock_mono_us() < end);
		transfers_poll(bed.courier);
		for (unsigned i = 0; i < bed.count; i++) {
			channel_poll(&bed.courier->writers[i]);
			channel_poll(&bed.courier->readers[i]);
		}
	}
}

/* A slice of `move` that was read before the recipient left and comes after it was forgotten, while
 * the message waits for somebody else. */
static void test_an_old_scan_brings_nothing_twice(void **state)
{
	(void)state;
	bed_init(2);
	bed_open_still();
	bed_accounts();
	uint32_t account = bed.account[someone_in(1)];
	uint64_t id = bed_id_in(0);
	struct message *m = bed_message(id, 5000);
	bed_rcpt(m, "far@example.com", 0);
	bed_rcpt(m, bed_user(someone_in(1)), 0);
	assert_int_equal(bed_accept(m), HANDOFF_OK);
	for (unsigned times = 0; times < 2; times++) {
		bring(id, 1, account);
		assert_int_equal(bed_inbox(account), 1);
		assert_int_equal(bed_rows(DB_MOVE), 0);
		assert_int_equal(bed_rows(DB_DEDUP), 0);
		assert_int_equal(bed_rows(DB_QR), 1);
	}
	bed_close_still();
	bed_check();
	bed_fini();
}

/* What an operator does to mail on its way. */
static void test_operators(void **state)
{
	static const struct {
		uint8_t action;
		uint32_t changed;
		uint64_t queued, moving, scheduled;
	} cases[] = {
		{QUEUE_HOLD,   0, 1, 1, 0},
		{QUEUE_RETRY,  0, 1, 1, 0},
		{QUEUE_BOUNCE, 1, 1, 0, 1},
		{QUEUE_DELETE, 1, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bed_init(2);
		bed_open_still();
		bed_accounts();
		struct queue_admin_op op = {.id = bed_id_in(0), .action = cases[i].action};
		struct message *m = bed_message(op.id, 100);
		bed_rcpt(m, bed_user(someone_in(1)), 0);
		assert_int_equal(bed_accept(m), HANDOFF_OK);
		assert_int_equal(bed_run(&bed.writers[0], &op.op, STORE_QUEUE_ADMIN), 0);
		assert_int_equal(op.changed, cases[i].changed);
		assert_int_equal(bed_rows_in(0, DB_Q), cases[i].queued);
		assert_int_equal(bed_rows_in(0, DB_MOVE), cases[i].moving);
		assert_int_equal(bed_rows_in(0, DB_QT), cases[i].scheduled);
		bed_close_still();
		bed_check();
		bed_fini();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_wrong_number_is_refused),
		cmocka_unit_test(test_a_missing_or_a_wrong_shard_is_refused),
		cmocka_unit_test(test_everybody_gets_one),
		cmocka_unit_test(test_a_full_mailbox_bounces),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_it_goes_on_from_every_step),
		cmocka_unit_test(test_an_old_scan_brings_nothing_twice),
		cmocka_unit_test(test_operators),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Random operations against a store of two shards and against a model in memory, with restarts and
 * injected errors, which strike both writers, whether they work for the test or for the courier.
 * What was answered with success is in the model, what was not has left no trace; whenever nothing
 * is on its way any more both are equal: nobody has lost anything, or got it twice.  BYPOST_SEED=n
 * replays one run, BYPOST_RUNS=n runs more seeds, BYPOST_STEPS=n longer ones. */
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "tests/model/fault.h"
#include "tests/unit/store/shards_bed.h"

#define SHARDS        2
#define STEPS         150
#define RUNS          4
#define COMPARE_EVERY 15
#define QUEUE_MAX     256
#define REMOTE_MAX    3

struct queued {
	uint64_t id;
	uint32_t remote; /* its first recipients, all of them still to be delivered to */
};

static struct model {
	unsigned inbox[ACCOUNTS]; /* messages */
	bool alive[ACCOUNTS];
	struct queued queue[QUEUE_MAX];
	unsigned queue_n;
} model;

static uint64_t random_state;
static unsigned ok_ops, failed_ops, restarts;

static uint32_t rnd(uint32_t n)
{
	return (uint32_t)((bed_random(&random_state) >> 16) % n);
}

/* ---- errors ---- */

/* Armed until it strikes or the next look at the store: the courier's transactions meet it, too. */
static void fault_maybe(void)
{
	static const int errors[] = {EIO, ENOSPC};
	static const int codes[] = {MDB_MAP_FULL, MDB_BAD_TXN, ENOMEM, MDB_TXN_FULL, EIO};
	enum fault_kind k = (enum fault_kind)rnd(FAULT_COMMON_N);

	if (rnd(5))
		return;
	int code = k == FAULT_PUT || k == FAULT_COMMIT ? codes[rnd(5)] : errors[rnd(2)];
	fault_arm(k, code, 1 + rnd(k == FAULT_PUT ? 40 : 8), 1 + rnd(3));
}

static bool counted(int status)
{
	if (status == 0)
		ok_ops++;
	else
		failed_ops++;
	return status == 0;
}

static bool is_well(void)
{
	for (unsigned i = 0; i < bed.count; i++) {
		if (atomic_load(shards_health(bed.shards, i)) != STORE_OK)
			return false;
	}
	return true;
}

/* In the middle of whatever is under way. */
static void restart(void)
{
	fault_disarm();
	restarts++;
	bed_close();
	bed_open();
}

/* ---- operations ---- */

static uint32_t locals_add(struct message *m)
{
	uint32_t who = rnd(1u << ACCOUNTS) & rnd(1u << ACCOUNTS), added = 0;

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		if (!model.alive[i] || !(who >> i & 1))
			continue;
		bed_rcpt(m, bed_user(i), 0);
		added |= 1u << i;
	}
	return added;
}

static void step_message(void)
{
	struct queued q = {.id = bed_id_in(rnd(SHARDS)), .remote = rnd(REMOTE_MAX + 1)};
	struct message *m = bed_message(q.id, rnd(20) ? rnd(9000) : BODY_LARGE);
	char address[40];

	if (model.queue_n == QUEUE_MAX)
		q.remote = 0;
	for (uint32_t i = 0; i < q.remote; i++) {
		snprintf(address, sizeof(address), "far%u@d%u.example.com", i, i);
		bed_rcpt(m, address, 0);
	}
	uint32_t locals = locals_add(m);
	if (!locals && !q.remote) {
		message_unref(m);
		return;
	}
	if (!counted(bed_accept(m)))
		return;
	for (unsigned i = 0; i < ACCOUNTS; i++)
		model.inbox[i] += locals >> i & 1;
	if (q.remote)
		model.queue[model.queue_n++] = q;
}

/* To all its remote recipients; those that move stay. */
static void step_delivered(void)
{
	struct rcpt_result rows[REMOTE_MAX];

	if (model.queue_n == 0)
		return;
	unsigned i = rnd(model.queue_n);
	struct queued *q = &model.queue[i];
	struct results_op op = {.id = q->id, .count = q->remote, .results = rows};
	for (uint32_t k = 0; k < q->remote; k++)
		rows[k] = (struct rcpt_result){.rcpt = k, .outcome = ATTEMPT_DELIVERED};
	int status = bed_run(&bed.writers[ids_lane(q->id, SHARDS)], &op.op, STORE_RESULT);
	if (counted(status))
		*q = model.queue[--model.queue_n];
}

/* The writers have no transaction under way that an error may have struck. */
static bool writers_are_well(void)
{
	for (unsigned i = 0; i < bed.count; i++) {
		struct queue_admin_op op = {.id = 1, .action = QUEUE_DELETE}; /* nobody's */
		if (bed_run(&bed.writers[i], &op.op, STORE_QUEUE_ADMIN) != -ENOENT)
			return false;
	}
	return is_well();
}

/* Asked of the readers: the test itself must not look while a shard may be opened anew. */
static bool is_moving(unsigned shard)
{
	struct moves_read_op moves = {.shard = !shard, .max_rows = 1};
	struct dedup_read_op dedup = {.from_id = 0};
	int err = bed_run(&bed.readers[shard], &moves.op, STORE_READ_MOVES);
	bool any = err || moves.out.bytes;

	chain_free(&moves.out);
	return any || bed_run(&bed.readers[shard], &dedup.op, STORE_READ_DEDUP) || !dedup.end;
}

/* Until nothing is on its way; a shard that an error has stopped is started anew. */
static void quiet(void)
{
	uint64_t end = clock_mono_us() + BED_WAIT_US;

	fault_disarm();
	while (!writers_are_well())
		restart();
	while (is_moving(0) || is_moving(1)) {
		if (clock_mono_us() > end)
			fail_msg("%lu to be moved, %lu to be forgotten", bed_rows(DB_MOVE),
				bed_rows(DB_DEDUP));
		usleep(1000);
	}
}

/* Made anew, its number is another and its mailbox empty. */
static void step_account(void)
{
	unsigned i = rnd(ACCOUNTS);
	struct account_op op = {.action = model.alive[i] ? ACCOUNT_DELETE : ACCOUNT_ADD,
		.address = bytes_str(bed_user(i)),
		.hash = BYTES_LIT("$y$j9T$not.a.real.hash")};

	quiet(); /* else what is on its way would bounce */
	fault_maybe();
	if (!counted(bed_run(&bed.writers[bed_home(bed_user(i))], &op.op, STORE_ACCOUNT)))
		return;
	model.alive[i] = !model.alive[i];
	model.inbox[i] = 0;
	if (model.alive[i])
		bed.account[i] = op.account;
}

static void compare(void)
{
	uint64_t recipients = 0;

	quiet();
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		if (model.alive[i])
			assert_int_equal(bed_inbox(bed.account[i]), model.inbox[i]);
	}
	for (unsigned i = 0; i < model.queue_n; i++)
		recipients += model.queue[i].remote;
	assert_int_equal(bed_rows(DB_Q), model.queue_n);
	assert_int_equal(bed_rows(DB_QR), recipients);
	assert_int_equal(bed_rows(DB_QT), recipients);
}

static void one_step(unsigned step)
{
	static void (*const steps[])(void) = {step_message, step_message, step_message,
		step_message, step_message, step_delivered, step_delivered, step_account};

	fault_maybe();
	steps[rnd(ARRAY_LEN(steps))]();
	/* A failed or full shard comes back by itself within a second; a restart is faster. */
	if (rnd(30) == 0 || (!is_well() && rnd(2)))
		restart();
	if (step % COMPARE_EVERY == 0)
		compare();
}

static void one_run(uint64_t seed, unsigned steps)
{
	random_state = seed * 0x9e3779b97f4a7c15ull | 1;
	memset(&model, 0, sizeof(model));
	bed_init(SHARDS);
	bed_open();
	bed_accounts();
	memset(model.alive, true, sizeof(model.alive));
	for (unsigned step = 1; step <= steps; step++)
		one_step(step);
	restart();
	compare();
	bed_close();
	bed_check();
	bed_fini();
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_model(void **state)
{
	uint64_t first = env_number("BYPOST_SEED", 1);
	uint64_t runs = env_number("BYPOST_RUNS", getenv("BYPOST_SEED") ? 1 : RUNS);
	unsigned steps = (unsigned)env_number("BYPOST_STEPS", STEPS);

	(void)state;
	for (uint64_t seed = first; seed < first + runs; seed++) {
		print_message("BYPOST_SEED=%llu\n", (unsigned long long)seed);
		one_run(seed, steps);
	}
	print_message("%u ops done, %u failed, %u errors injected, %u restarts\n", ok_ops,
		failed_ops, fault_hits(), restarts);
	assert_true(fault_hits() > 0 && failed_ops > 0 && restarts > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

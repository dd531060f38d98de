/* SPDX-License-Identifier: BSD-3-Clause
 * A fixed run of operations, again and again, in which the first, the second, the third ... call of
 * each kind fails, until there is no further call to fail: once, and from there on until the end.
 * What was answered with success is there, what was not has left no trace, the rows agree; one
 * failure alone is got over without a restart. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "store/check.h"
#include "tests/crash/lane_look.h"
#include "tests/model/fault.h"
#include "tests/unit/store/store_harness.h"

#define OPERATIONS  15
#define SEED        188 /* a run with every kind of operation, asserted below */
#define RECOVERY_US (15 * US_PER_SEC)
#define FOREVER     1000000

static struct harness h;
static struct lane lane;
/* With the first operation that was refused.  A disk on which nothing can be written any more may
 * have it: its record cannot be taken back. */
static struct lane lane_refused;
static bool may_be_there;
static char where[200];
static unsigned long long answered, refused, runs;

#define EXPECT(cond, ...)                                                                          \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s: %s: ", where, #cond);                                 \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* ---- one operation ---- */

static struct message *message_make(uint64_t id, uint32_t bytes, uint32_t remote, bool local)
{
	struct message *m = message_new();
	char address[40];
	int err = m ? message_set_sender(m, BYTES_LIT("from@example.net")) : -ENOBUFS;

	BUG_ON(err);
	m->id = id;
	m->received_ms = 1700000000000ull;
	for (uint32_t i = 0; i < remote && !err; i++) {
		snprintf(address, sizeof(address), "r%u@d%u.example.net", i, i);
		err = message_add_rcpt(m, bytes_str(address), RCPT_REMOTE, 0);
	}
	lane_address(&lane, address);
	if (local && !err)
		err = message_add_rcpt(m, bytes_str(address), RCPT_LOCAL, lane.account);
	BUG_ON(err);
	for (uint32_t at = 0; at < bytes; at++) {
		uint8_t octet = lane_octet(id, at);
		BUG_ON(chain_append(&m->body, bytes_make(&octet, 1)) < 0);
	}
	return m;
}

static int run_message(const struct lane_op *o)
{
	struct message *m =
		message_make(o->id, o->bytes, o->remote, o->local && o->kind == LANE_ACCEPT);
	struct accept_op accept = {.message = m};
	struct append_op append = {.account = lane.account,
		.target = bytes_str(lane_box_names[o->box]),
		.message = m,
		.flags = o->flags};
	int status = o->kind == LANE_ACCEPT ? harness_write(&h, &accept.op, HANDOFF_ACCEPT)
					    : harness_write(&h, &append.op, STORE_APPEND);

	message_unref(m);
	return status;
}

static int run_result(const struct lane_op *o)
{
	struct rcpt_result rows[LANE_RCPTS_MAX];
	struct results_op r = {.id = o->id, .results = rows};

	for (uint32_t i = 0; i < LANE_RCPTS_MAX; i++) {
		if (o->outcome[i])
			rows[r.count++] = (struct rcpt_result){
				.rcpt = i, .outcome = o->outcome[i], .next_ms = o->next_ms};
	}
	if (o->bounce_id)
		r.bounce = message_make(o->bounce_id, 700, 0, true);
	return harness_write(&h, &r.op, STORE_RESULT);
}

static int run_mbox(const struct lane_op *o, unsigned kind, uint32_t box)
{
	uint32_t uids[LANE_ROWS_MAX];
	struct mbox_op m = {.account = lane.account,
		.box = box,
		.uids = uids,
		.uid_count = o->uid_count,
		.mode = o->mode,
		.flags = o->flags,
		.target = bytes_str(lane_box_names[o->to])};

	for (uint32_t i = 0; i < o->uid_count; i++)
		uids[i] = lane.boxes[o->box].rows[i].uid;
	return harness_write(&h, &m.op, kind);
}

static int run_name(const struct lane_op *o, unsigned kind)
{
	struct mbox_name_op n = {.account = lane.account,
		.name = bytes_str(lane_box_names[o->box]),
		.new_name = bytes_str(lane_box_names[o->to])};

	return harness_write(&h, &n.op, kind);
}

/* The number of a mailbox, from the store; asking may fail as well. */
static int number_of(uint32_t box, uint32_t *number_r)
{
	struct mbox_read_op op = {.account = lane.account, .name = bytes_str(lane_box_names[box])};
	int status = harness_read(&h, &op.op, STORE_READ_MBOX_OPEN);

	chain_free(&op.out);
	*number_r = op.box;
	EXPECT(status == 0 || status == -EIO || status == -ENOENT, "open %d", status);
	return status;
}

static int run(const struct lane_op *o)
{
	static const unsigned kinds[LANE_KIND_N] = {[LANE_FLAGS] = STORE_FLAGS,
		[LANE_COPY] = STORE_COPY,
		[LANE_EXPUNGE] = STORE_EXPUNGE,
		[LANE_CREATE] = STORE_MBOX_CREATE,
		[LANE_DELETE] = STORE_MBOX_DELETE,
		[LANE_RENAME] = STORE_MBOX_RENAME};
	struct queue_admin_op admin = {.id = o->id, .action = o->action};
	uint32_t number;

	switch (o->kind) {
	case LANE_ACCEPT:
	case LANE_APPEND:
		return run_message(o);
	case LANE_RESULT:
		return run_result(o);
	case LANE_FLAGS:
	case LANE_COPY:
	case LANE_EXPUNGE:
		return number_of(o->box, &number) ? -EIO : run_mbox(o, kinds[o->kind], number);
	case LANE_CREATE:
	case LANE_DELETE:
	case LANE_RENAME:
		return run_name(o, kinds[o->kind]);
	default:
		return harness_write(&h, &admin.op, STORE_QUEUE_ADMIN);
	}
}

/* ---- one run ---- */

static void problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	EXPECT(false, "%s: %s: %s", p->what, p->object, p->detail);
}

/* Everything that was answered with success, and nothing else. */
static void compare(void)
{
	char error[256], why[LANE_WHY_MAX];
	struct db db;
	MDB_txn *txn;

	EXPECT(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)) == 0, "%s", error);
	struct check *c = check_create(&(struct check_conf){.db = &db, .problem = problem});
	EXPECT(check_run(c, &db, false) == 0, "check");
	check_destroy(&c);
	EXPECT(db_begin(&db, false, &txn) == 0, "transaction");
	EXPECT(lane_look(&db, txn, &lane, why) ||
			(may_be_there && lane_look(&db, txn, &lane_refused, why)),
		"after operation %u: %s", lane.done, why);
	db_abort(txn);
	db_close(&db);
}

/* Without a restart, and by itself. */
static void recovers(void)
{
	static const char *const to[] = {"x@example.net", NULL};
	uint64_t end = clock_mono_us() + RECOVERY_US;
	struct message *m;

	h.next_id = 1ull << 40; /* beyond those of the lane */
	do {
		EXPECT(clock_mono_us() < end, "no mail is taken any more");
		m = harness_message(&h, 100, to);
		harness_hints_drop(&h);
	} while (harness_accept(&h, m) != HANDOFF_OK && usleep(1000) == 0);
	/* It must not be among those of the lane. */
	struct queue_admin_op del = {.id = h.next_id - 1, .action = QUEUE_DELETE};
	EXPECT(harness_write(&h, &del.op, STORE_QUEUE_ADMIN) == 0, "delete");
	harness_hints_drop(&h);
}

static bool is_trouble(const struct lane_op *o, int status)
{
	return o->kind == LANE_ACCEPT ? status >= HANDOFF_FULL && status <= HANDOFF_ERROR
				      : status == -EIO || status == -ENOSPC;
}

/* False: there was no n-th call. */
static bool run_once(enum fault_kind kind, int code, unsigned n, unsigned times)
{
	static bool seen[LANE_KIND_N];
	unsigned before = fault_hits();
	char address[40];

	harness_init(&h);
	h.conf.index_rows = 6;
	h.conf.checkpoint_bytes = 1; /* after each operation */
	h.conf.journal_spare = 64 << 10;
	h.conf.give_back_ms = 1;
	harness_open(&h);
	lane_init(&lane, SEED, 0);
	lane_address(&lane, address);
	lane.account = harness_account(&h, address);
	lane_refused.done = 0;
	may_be_there = kind == FAULT_PWRITE && times > 1;
	fault_arm(kind, code, n, times);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		struct lane_op o;
		lane_next(&lane, &o);
		seen[o.kind] = true;
		int status = run(&o);
		harness_hints_drop(&h);
		EXPECT(status == 0 || is_trouble(&o, status), "operation %u: %d", i, status);
		if (status == 0)
			lane_apply(&lane, &o);
		else if (lane_refused.done == 0) {
			lane_refused = lane;
			lane_apply(&lane_refused, &o);
		}
		answered += status == 0;
		refused += status != 0;
	}
	fault_disarm();
	bool struck = fault_hits() > before;
	EXPECT(struck || lane.done == OPERATIONS, "an operation failed by itself");
	if (times == 1)
		recovers();
	harness_close(&h);
	EXPECT(harness_nothing_leaked(&h), "chunks leaked");
	compare();
	harness_fini(&h);
	runs++;
	for (int k = 0; !struck && k < LANE_KIND_N; k++)
		EXPECT(seen[k], "kind of operation %d does not occur", k);
	return struck;
}

int main(void)
{
	static const struct {
		enum fault_kind kind;
		const char *name;
		int code;
		unsigned step; /* calls between two runs */
	} plans[] = {
		{FAULT_PWRITE,          "pwrite",                    EIO,          1 },
		{FAULT_WRITEV,          "writev",                    EIO,          1 },
		{FAULT_SHORT,           "short write",               0,            1 },
		{FAULT_SYNC,            "fdatasync",                 EIO,          1 },
		{FAULT_SYNC_CHECKPOINT, "fdatasync of a checkpoint", EIO,          1 },
		{FAULT_PWRITEV,         "pwritev",                   EIO,          1 },
		{FAULT_ALLOCATE,        "posix_fallocate",           ENOSPC,       1 },
		{FAULT_HOLE,            "fallocate",                 EIO,          1 },
		{FAULT_PUT,             "mdb_put",                   ENOMEM,       1 },
		{FAULT_COMMIT,          "mdb_txn_commit",            EIO,          1 },
		{FAULT_DEL,             "mdb_del",                   ENOMEM,       1 },
		{FAULT_GET,             "mdb_get",                   ENOMEM,       3 },
		{FAULT_CURSOR_OPEN,     "mdb_cursor_open",           ENOMEM,       1 },
		{FAULT_CURSOR_GET,      "mdb_cursor_get",            EIO,          3 },
		{FAULT_BEGIN,           "mdb_txn_begin",             ENOMEM,       1 },
 /* A full disk is tried again after a second: fewer of these. */
		{FAULT_PWRITE,          "pwrite",                    ENOSPC,       4 },
		{FAULT_WRITEV,          "writev",                    ENOSPC,       4 },
		{FAULT_PWRITEV,         "pwritev",                   ENOSPC,       4 },
		{FAULT_PUT,             "mdb_put",                   MDB_MAP_FULL, 17},
		{FAULT_DEL,             "mdb_del",                   MDB_MAP_FULL, 17},
		{FAULT_COMMIT,          "mdb_txn_commit",            ENOSPC,       4 },
	};
	static const unsigned times[] = {1, FOREVER};

	log_set_level((enum log_level) - 1);
	for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
		for (size_t t = 0; t < ARRAY_LEN(times); t++) {
			unsigned step = plans[i].step * (times[t] == 1 ? 1 : 7);
			bool struck = true;
			for (unsigned n = 1; struck; n += step) {
				snprintf(where, sizeof(where), "call %u of %s fails with %d, %s", n,
					plans[i].name, plans[i].code,
					times[t] == 1 ? "once" : "and all behind it");
				struck = run_once(plans[i].kind, plans[i].code, n, times[t]);
			}
		}
	}
	printf("%llu runs, %llu operations answered, %llu refused\n", runs, answered, refused);
	return 0;
}

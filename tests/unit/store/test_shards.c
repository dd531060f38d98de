/* SPDX-License-Identifier: BSD-3-Clause
 * A store of several shards: where things lie, which stores are refused, and mail that crosses from
 * one shard to another exactly once, wherever it is interrupted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/rt/eal.h"
#include "store/check.h"
#include "store/courier_priv.h"
#include "store/shards.h"
#include "store/store_priv.h"

#define SHARDS_MAX 3
#define ACCOUNTS   12
#define WAIT_US    (60 * US_PER_SEC)
#define BODY_LARGE (700 * 1024)

static const char *const domains[] = {"example.org"};

/* ---- a bed of its own: all shards, with or without the courier ---- */

static struct bed {
	char dir[256];
	struct store_conf conf;
	unsigned count;
	struct shards *shards;             /* with the courier */
	struct directory_table *directory; /* without */
	struct courier *courier;           /* without, but one that the test drives */
	struct store *store[SHARDS_MAX];
	struct waker waker;
	struct channel writers[SHARDS_MAX], readers[SHARDS_MAX];
	struct hints ready[SHARDS_MAX];
	struct ids ids;
	uint32_t account[ACCOUNTS];
} bed;

static void bed_init(unsigned count)
{
	static bool pools;
	const char *tmp = getenv("TMPDIR");

	if (!pools) {
		eal_start_for_tests(64);
		BUG_ON(chunk_pool_init(4096, -1) < 0);
		BUG_ON(message_pool_init(512, -1) < 0);
		pools = true;
	}
	memset(&bed, 0, sizeof(bed));
	bed.count = count;
	snprintf(bed.dir, sizeof(bed.dir), "%s/bypost-shards-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(bed.dir));
	bed.conf = (struct store_conf){.path = bed.dir,
		.shards = count,
		.readers = 1,
		.map_bytes = 1ull << 30,
		.reserve_bytes = 1,
		.queue_lifetime_ms = 86400000,
		.expunged_read_ms = 1,
		.extension = '+',
		.local_domains = domains,
		.local_domain_count = 1};
	assert_int_equal(waker_init(&bed.waker), 0);
}

static void shard_path(unsigned i, const char *file, char out[300])
{
	char path[280];

	shards_path(&bed.conf, i, path, sizeof(path));
	snprintf(out, 300, "%s/%s", path, file);
}

static void bed_fini(void)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "lock", ""};
	char path[300];

	waker_fini(&bed.waker);
	for (unsigned i = bed.count; i > 0; i--) {
		for (size_t f = 0; f + 1 < ARRAY_LEN(files); f++) {
			shard_path(i - 1, files[f], path);
			unlink(path);
		}
		shard_path(i - 1, "", path);
		rmdir(path);
	}
}

static void join_shard(unsigned i)
{
	struct service *w = store_writer(bed.store[i]), *r = store_reader(bed.store[i], 0);
	char name[16];

	snprintf(name, sizeof(name), "tw%u", i);
	assert_int_equal(channel_init(&bed.writers[i], name, 64, &bed.waker, &w->waker, -1), 0);
	snprintf(name, sizeof(name), "tr%u", i);
	assert_int_equal(channel_init(&bed.readers[i], name, 64, &bed.waker, &r->waker, -1), 0);
	snprintf(name, sizeof(name), "th%u", i);
	assert_int_equal(hints_init(&bed.ready[i], name, 1024, &bed.waker, -1), 0);
	assert_int_equal(service_add(w, &bed.writers[i]), 0);
	assert_int_equal(service_add(r, &bed.readers[i]), 0);
	assert_int_equal(store_add_ready(bed.store[i], &bed.ready[i]), 0);
}

static void bed_open(void)
{
	char error[512] = "";
	int err = shards_open(&bed.conf, &bed.shards, error, sizeof(error));

	if (err)
		fail_msg("%s", error);
	for (unsigned i = 0; i < bed.count; i++) {
		bed.store[i] = shards_get(bed.shards, i);
		join_shard(i);
	}
	ids_init(&bed.ids, 1, shards_last_id(bed.shards));
	assert_int_equal(shards_start(bed.shards), 0);
}

static void channels_close(void)
{
	void *hint;
	struct message *m;

	for (unsigned i = 0; i < bed.count; i++) {
		while (hints_take(&bed.ready[i], &hint, 1)) {
			ready_hint_take(hint, &m);
			if (m)
				message_unref(m);
		}
		hints_fini(&bed.ready[i]);
		channel_fini(&bed.writers[i]);
		channel_fini(&bed.readers[i]);
	}
}

static void bed_close(void)
{
	shards_stop(bed.shards);
	shards_close(&bed.shards);
	channels_close();
}

/* The same without anybody who moves anything: the test does it, step by step. */
static void bed_open_still(void)
{
	char error[512] = "", path[280];
	struct db_shard first = {0};
	uint64_t last = 0;

	bed.directory = directory_create(domains, 1, '+');
	directory_set_writers(bed.directory, bed.count);
	for (unsigned i = 0; i < bed.count; i++) {
		struct db_shard shard = {.number = i, .count = bed.count, .set = first.set};
		struct store_conf conf = bed.conf;
		shards_path(&bed.conf, i, path, sizeof(path));
		conf.path = path;
		int err = store_open_shard(
			&conf, &shard, bed.directory, &bed.store[i], error, sizeof(error));
		if (err)
			fail_msg("%s", error);
		if (i == 0)
			first = bed.store[0]->db.shard;
		bed.store[i]->shards = bed.store;
		last = MAX(last, store_last_id(bed.store[i]));
		join_shard(i);
	}
	ids_init(&bed.ids, 1, last);
	bed.courier = courier_create(bed.store, bed.count);
	assert_non_null(bed.courier);
	for (unsigned i = 0; i < bed.count; i++)
		assert_int_equal(store_start(bed.store[i]), 0);
}

static void bed_close_still(void)
{
	for (unsigned i = 0; i < bed.count; i++)
		store_stop(bed.store[i]);
	courier_destroy(&bed.courier);
	for (unsigned i = 0; i < bed.count; i++)
		store_close(&bed.store[i]);
	directory_destroy(&bed.directory);
	channels_close();
}

/* ---- ops ---- */

static bool done_flag;

static void done(struct op *op)
{
	(void)op;
	done_flag = true;
}

static int run(struct channel *c, struct op *op, unsigned kind)
{
	uint64_t end = clock_mono_us() + WAIT_US;

	op->kind = (uint16_t)kind;
	op->done = done;
	done_flag = false;
	assert_int_equal(channel_submit(c, op), 0);
	while (!done_flag) {
		assert_true(clock_mono_us() < end);
		if (!channel_poll(c))
			usleep(200);
	}
	return op->status;
}

static unsigned home_of(const char *address)
{
	return store_address_shard(bytes_str(address), bed.count);
}

static uint32_t account_add(const char *address)
{
	struct account_op op = {.action = ACCOUNT_ADD,
		.address = bytes_str(address),
		.hash = BYTES_LIT("$y$j9T$not.a.real.hash")};

	assert_int_equal(run(&bed.writers[home_of(address)], &op.op, STORE_ACCOUNT), 0);
	assert_int_equal(store_account_shard(op.account, bed.count), home_of(address));
	return op.account;
}

static const char *user(unsigned i)
{
	static char name[4][64];
	static unsigned at;
	char *out = name[at++ % 4];

	snprintf(out, 64, "user%u@example.org", i);
	return out;
}

static void accounts_add(void)
{
	for (unsigned i = 0; i < ACCOUNTS; i++)
		bed.account[i] = account_add(user(i));
}

static const struct directory *directory(void)
{
	return bed.shards ? shards_directory(bed.shards) : directory_public(bed.directory);
}

static void body_fill(struct message *m, size_t n)
{
	uint8_t octets[4096];

	for (size_t at = 0; at < n;) {
		size_t part = MIN(n - at, sizeof(octets));
		for (size_t i = 0; i < part; i++)
			octets[i] = (uint8_t)((at + i) * 7 + (at + i) / 251);
		assert_int_equal(chain_append(&m->body, bytes_make(octets, part)), 0);
		at += part;
	}
}

static struct message *message_make(uint64_t id, size_t n)
{
	struct message *m = message_new();

	assert_non_null(m);
	m->id = id;
	m->received_ms = 1764000000000;
	assert_int_equal(message_set_sender(m, BYTES_LIT("sender@example.net")), 0);
	body_fill(m, n);
	m->header_bytes = (uint32_t)n;
	assert_int_equal(message_prepend(m, BYTES_LIT("Received: here\r\n"), false), 0);
	assert_int_equal(
		message_prepend(m, BYTES_LIT("Return-Path: <sender@example.net>\r\n"), true), 0);
	return m;
}

static void rcpt_add(struct message *m, const char *address, uint8_t notify)
{
	struct directory_entry e;
	struct dsn_rcpt dsn = {.notify = notify};
	bool local = directory()->lookup(directory(), bytes_str(address), &e) != DIRECTORY_REMOTE;

	assert_int_equal(message_add_rcpt_dsn(m, bytes_str(address),
				 local ? RCPT_LOCAL : RCPT_REMOTE, local ? e.account : 0, &dsn),
		0);
}

static int accept_message(struct message *m)
{
	struct accept_op op = {.message = m};
	int status = run(&bed.writers[ids_lane(m->id, bed.count)], &op.op, HANDOFF_ACCEPT);

	message_unref(m);
	return status;
}

static uint64_t id_in(unsigned shard)
{
	return ids_next_in(&bed.ids, clock_wall_ms(), shard, bed.count);
}

/* Messages in an account's INBOX; the octets of each are looked at. */
static unsigned inbox(uint32_t account)
{
	unsigned shard = store_account_shard(account, bed.count);
	struct mbox_read_op op = {.account = account, .name = BYTES_LIT("INBOX")};
	unsigned n = 0;

	assert_int_equal(run(&bed.readers[shard], &op.op, STORE_READ_MBOX_OPEN), 0);
	chain_free(&op.out);
	op.from_uid = 1;
	op.max_rows = 10000;
	assert_int_equal(run(&bed.readers[shard], &op.op, STORE_READ_MBOX_ROWS), 0);
	assert_true(op.end);
	for (const struct chunk *c = op.out.head; c; c = c->next) {
		for (size_t at = 0; at + sizeof(struct mbox_row) <= c->n; n++) {
			struct mbox_row row;
			memcpy(&row, c->data + at, sizeof(row));
			at += sizeof(row);
			struct body_read_op b = {.blob = row.blob, .max = 256 * 1024};
			do {
				assert_int_equal(
					run(&bed.readers[shard], &b.op, STORE_READ_BODY), 0);
				b.offset += b.out.bytes;
				chain_free(&b.out);
			} while (b.offset < b.total);
			assert_int_equal(b.total, row.size);
		}
	}
	chain_free(&op.out);
	assert_int_equal(op.state.exists, n);
	return n;
}

static uint64_t rows_in(unsigned shard, enum db_id id)
{
	struct db_table t;

	assert_int_equal(db_table_look(&bed.store[shard]->db, id, &t), 0);
	return t.rows;
}

static uint64_t rows_all(enum db_id id)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bed.count; i++)
		n += rows_in(i, id);
	return n;
}

static void settle(void)
{
	uint64_t end = clock_mono_us() + WAIT_US;

	while (rows_all(DB_MOVE) || rows_all(DB_DEDUP)) {
		if (clock_mono_us() > end)
			fail_msg("%lu to be moved, %lu to be forgotten", rows_all(DB_MOVE),
				rows_all(DB_DEDUP));
		usleep(2000);
	}
}

static void on_problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	print_error("%s %s %s\n", p->what, p->object, p->detail);
}

/* Every row of every shard is what the check wants. */
static void check_all(void)
{
	char error[512], path[280];

	for (unsigned i = 0; i < bed.count; i++) {
		struct db db;
		shards_path(&bed.conf, i, path, sizeof(path));
		assert_int_equal(db_open(&db, path, 1 << 30, false, error, sizeof(error)), 0);
		struct check *c =
			check_create(&(struct check_conf){.db = &db, .problem = on_problem});
		assert_non_null(c);
		assert_int_equal(check_run(c, &db, false), 0);
		assert_int_equal(check_totals(c)->problems, 0);
		check_destroy(&c);
		db_close(&db);
	}
}

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
	struct shards *s;

	(void)state;
	bed_init(3);
	bed_open();
	bed_close();
	shard_path(2, "data.mdb", here);
	snprintf(away, sizeof(away), "%s.away", here);
	assert_int_equal(rename(here, away), 0);
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "shard 2 of the store is not here"));
	/* Its file in another's place. */
	shard_path(1, "data.mdb", here);
	assert_int_equal(rename(away, here), 0);
	assert_true(shards_open(&bed.conf, &s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "this is shard 2 and not shard 1"));
	bed_fini();
	/* No shard 0, but the others. */
	bed_init(2);
	bed_open();
	bed_close();
	shard_path(0, "data.mdb", here);
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
	accounts_add();
	for (unsigned i = 0; i < ACCOUNTS; i++)
		n += (size_t)snprintf(targets + n, sizeof(targets) - n, "%s", user(i)) + 1;
	n += (size_t)snprintf(targets + n, sizeof(targets) - n, "out@example.com") + 1;
	alias.targets = bytes_make(targets, n);
	assert_int_equal(run(&bed.writers[home_of("all@example.org")], &alias.op, STORE_ALIAS), 0);
	for (unsigned shard = 0; shard < count; shard++) {
		struct message *m = message_make(id_in(shard), 3000);
		for (unsigned i = 0; i < ACCOUNTS; i++)
			rcpt_add(m, user(i), 0);
		rcpt_add(m, "user0+more@example.org", 0); /* one copy all the same */
		rcpt_add(m, "far@example.com", 0);
		assert_int_equal(accept_message(m), HANDOFF_OK);
		m = message_make(id_in(shard), BODY_LARGE);
		rcpt_add(m, "all@example.org", 0);
		assert_int_equal(accept_message(m), HANDOFF_OK);
		sent += 2;
	}
	settle();
	for (unsigned i = 0; i < ACCOUNTS; i++)
		assert_int_equal(inbox(bed.account[i]), sent);
	/* What is left in the queue is remote. */
	assert_int_equal(rows_all(DB_Q), sent);
	assert_int_equal(rows_all(DB_QR), sent);
	assert_int_equal(rows_all(DB_QT), sent);
	bed_close();
	check_all();
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
	accounts_add();
	unsigned i = someone_in(1);
	op.address = bytes_str(user(i));
	assert_int_equal(run(&bed.writers[1], &op.op, STORE_ACCOUNT), 0);
	/* Both are taken: shard 0 has heard of no full mailbox when they come. */
	struct message *m[2];
	struct accept_op accept[2];
	for (unsigned k = 0; k < 2; k++) {
		m[k] = message_make(id_in(0), 100);
		rcpt_add(m[k], user(i), 0);
		accept[k] = (struct accept_op){
			.op = {.done = done, .kind = HANDOFF_ACCEPT},
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
	settle();
	assert_int_equal(inbox(bed.account[i]), 1);
	assert_int_equal(rows_all(DB_QR), 1); /* delivery tells the sender */
	assert_int_equal(rows_all(DB_QT), 1);
	/* And a report that was asked for is delivery's, too. */
	unsigned other = i + 1;
	while (other < ACCOUNTS && store_account_shard(bed.account[other], 2) != 1)
		other++;
	assert_true(other < ACCOUNTS);
	struct message *asked = message_make(id_in(0), 100);
	rcpt_add(asked, user(other), NOTIFY_SUCCESS);
	assert_int_equal(accept_message(asked), HANDOFF_OK);
	settle();
	assert_int_equal(inbox(bed.account[other]), 1);
	assert_int_equal(rows_all(DB_QR), 2);
	bed_close();
	check_all();
	bed_fini();
}

/* ---- at random, against a model: what each mailbox and the queue must have ---- */

#define STEPS 120

struct model {
	unsigned inbox[ACCOUNTS]; /* messages */
	unsigned queued;          /* remote recipients */
	bool alive[ACCOUNTS];
};

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void random_message(struct model *m, uint64_t *x)
{
	unsigned remote = random_next(x) % 3 == 0, n = 0;
	struct message *msg = message_make(id_in((unsigned)(random_next(x) % bed.count)),
		random_next(x) % 20 == 0 ? BODY_LARGE : random_next(x) % 9000);
	uint64_t who = random_next(x);

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		if (!m->alive[i] || !(who >> i & 1))
			continue;
		rcpt_add(msg, user(i), 0);
		m->inbox[i]++;
		n++;
	}
	for (unsigned i = 0; i < remote; i++)
		rcpt_add(msg, "far@example.com", 0);
	m->queued += remote;
	if (n + remote)
		assert_int_equal(accept_message(msg), HANDOFF_OK);
	else
		message_unref(msg);
}

/* Made anew, its number is another and its mailbox empty. */
static void random_account(struct model *m, uint64_t *x)
{
	unsigned i = (unsigned)(random_next(x) % ACCOUNTS);
	struct account_op op = {.action = ACCOUNT_DELETE, .address = bytes_str(user(i))};

	if (m->alive[i]) {
		settle(); /* else what is on its way would bounce */
		assert_int_equal(run(&bed.writers[home_of(user(i))], &op.op, STORE_ACCOUNT), 0);
	} else {
		bed.account[i] = account_add(user(i));
	}
	m->alive[i] = !m->alive[i];
	m->inbox[i] = 0;
}

static void model_compare(const struct model *m)
{
	settle();
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		if (m->alive[i])
			assert_int_equal(inbox(bed.account[i]), m->inbox[i]);
	}
	assert_int_equal(rows_all(DB_QR), m->queued);
	assert_int_equal(rows_all(DB_QT), m->queued);
}

static void random_run(unsigned count, uint64_t seed)
{
	struct model m = {.queued = 0};
	uint64_t x = seed;

	bed_init(count);
	bed_open();
	accounts_add();
	memset(m.alive, true, sizeof(m.alive));
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned what = (unsigned)(random_next(&x) % 24);
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
	check_all();
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
	struct message *m = message_make(id_in(0), 5000);
	struct move_in_op in = {.id = id, .message = m, .count = 1, .rcpts = r};

	*r = (struct move_rcpt){.rcpt = rcpt, .account = account};
	assert_int_equal(run(&bed.writers[1], &in.op, STORE_MOVE_IN), 0);
	assert_true(r->taken);
	message_unref(m);
}

static void step_out(uint64_t id, struct move_rcpt *r)
{
	struct move_out_op out = {.id = id, .shard = 1, .count = 1, .rcpts = r};

	assert_int_equal(run(&bed.writers[0], &out.op, STORE_MOVE_OUT), 0);
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
		assert_int_equal(run(&bed.writers[1], &forget.op, STORE_MOVE_FORGET), 0);
}

/* Every transaction is on disk when its op is answered: what is closed here and opened again is
 * what a crash leaves. */
static void test_it_goes_on_from_every_step(void **state)
{
	(void)state;
	for (unsigned stop = 0; stop < STOPS; stop++) {
		bed_init(2);
		bed_open_still();
		accounts_add();
		uint32_t account = bed.account[someone_in(1)];
		uint64_t id = id_in(0);
		struct message *m = message_make(id, 5000);
		rcpt_add(m, user(someone_in(1)), 0);
		assert_int_equal(accept_message(m), HANDOFF_OK);
		assert_int_equal(rows_in(0, DB_MOVE), 1);
		assert_int_equal(rows_in(0, DB_QT), 0);
		steps_until((enum stop)stop, id, account);
		assert_int_equal(inbox(account), stop >= AFTER_IN);
		assert_int_equal(rows_in(0, DB_Q), stop < AFTER_OUT);
		assert_int_equal(rows_in(1, DB_DEDUP), stop >= AFTER_IN && stop < AFTER_FORGET);
		bed_close_still();
		check_all();
		bed_open();
		settle();
		assert_int_equal(inbox(account), 1);
		assert_int_equal(rows_all(DB_Q), 0);
		bed_close();
		check_all();
		bed_fini();
	}
}

/* What the courier would do with these rows of `move`, whenever they were read. */
static void bring(uint64_t id, uint32_t rcpt, uint32_t account)
{
	struct lane *l = &bed.courier->lanes[0][1];
	const struct move_row row = {.id = id, .rcpt = rcpt, .account = account};
	uint64_t end = clock_mono_us() + WAIT_US;

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
	accounts_add();
	uint32_t account = bed.account[someone_in(1)];
	uint64_t id = id_in(0);
	struct message *m = message_make(id, 5000);
	rcpt_add(m, "far@example.com", 0);
	rcpt_add(m, user(someone_in(1)), 0);
	assert_int_equal(accept_message(m), HANDOFF_OK);
	for (unsigned times = 0; times < 2; times++) {
		bring(id, 1, account);
		assert_int_equal(inbox(account), 1);
		assert_int_equal(rows_all(DB_MOVE), 0);
		assert_int_equal(rows_all(DB_DEDUP), 0);
		assert_int_equal(rows_all(DB_QR), 1);
	}
	bed_close_still();
	check_all();
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
		accounts_add();
		struct queue_admin_op op = {.id = id_in(0), .action = cases[i].action};
		struct message *m = message_make(op.id, 100);
		rcpt_add(m, user(someone_in(1)), 0);
		assert_int_equal(accept_message(m), HANDOFF_OK);
		assert_int_equal(run(&bed.writers[0], &op.op, STORE_QUEUE_ADMIN), 0);
		assert_int_equal(op.changed, cases[i].changed);
		assert_int_equal(rows_in(0, DB_Q), cases[i].queued);
		assert_int_equal(rows_in(0, DB_MOVE), cases[i].moving);
		assert_int_equal(rows_in(0, DB_QT), cases[i].scheduled);
		bed_close_still();
		check_all();
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

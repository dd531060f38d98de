/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/store/shards_bed.h"
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/rt/eal.h"
#include "store/check.h"

static const char *const domains[] = {"example.org"};

/* ---- a bed of its own: all shards, with or without the courier ---- */

struct bed bed;

void bed_init(unsigned count)
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

void bed_path(unsigned i, const char *file, char out[300])
{
	char path[280];

	shards_path(&bed.conf, i, path, sizeof(path));
	snprintf(out, 300, "%s/%s", path, file);
}

void bed_fini(void)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "lock", ""};
	char path[300];

	waker_fini(&bed.waker);
	for (unsigned i = bed.count; i > 0; i--) {
		for (size_t f = 0; f + 1 < ARRAY_LEN(files); f++) {
			bed_path(i - 1, files[f], path);
			unlink(path);
		}
		bed_path(i - 1, "", path);
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

void bed_open(void)
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

void bed_close(void)
{
	shards_stop(bed.shards);
	shards_close(&bed.shards);
	channels_close();
}

/* The same without anybody who moves anything: the test does it, step by step. */
void bed_open_still(void)
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

void bed_close_still(void)
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

void bed_done(struct op *op)
{
	(void)op;
	done_flag = true;
}

int bed_run(struct channel *c, struct op *op, unsigned kind)
{
	uint64_t end = clock_mono_us() + BED_WAIT_US;

	op->kind = (uint16_t)kind;
	op->done = bed_done;
	done_flag = false;
	assert_int_equal(channel_submit(c, op), 0);
	while (!done_flag) {
		assert_true(clock_mono_us() < end);
		if (!channel_poll(c))
			usleep(200);
	}
	return op->status;
}

unsigned bed_home(const char *address)
{
	return store_address_shard(bytes_str(address), bed.count);
}

uint32_t bed_account(const char *address)
{
	struct account_op op = {.action = ACCOUNT_ADD,
		.address = bytes_str(address),
		.hash = BYTES_LIT("$y$j9T$not.a.real.hash")};

	assert_int_equal(bed_run(&bed.writers[bed_home(address)], &op.op, STORE_ACCOUNT), 0);
	assert_int_equal(store_account_shard(op.account, bed.count), bed_home(address));
	return op.account;
}

const char *bed_user(unsigned i)
{
	static char name[4][64];
	static unsigned at;
	char *out = name[at++ % 4];

	snprintf(out, 64, "user%u@example.org", i);
	return out;
}

void bed_accounts(void)
{
	for (unsigned i = 0; i < ACCOUNTS; i++)
		bed.account[i] = bed_account(bed_user(i));
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

struct message *bed_message(uint64_t id, size_t n)
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

void bed_rcpt(struct message *m, const char *address, uint8_t notify)
{
	struct directory_entry e;
	struct dsn_rcpt dsn = {.notify = notify};
	bool local = directory()->lookup(directory(), bytes_str(address), &e) != DIRECTORY_REMOTE;

	assert_int_equal(message_add_rcpt_dsn(m, bytes_str(address),
				 local ? RCPT_LOCAL : RCPT_REMOTE, local ? e.account : 0, &dsn),
		0);
}

int bed_accept(struct message *m)
{
	struct accept_op op = {.message = m};
	int status = bed_run(&bed.writers[ids_lane(m->id, bed.count)], &op.op, HANDOFF_ACCEPT);

	message_unref(m);
	return status;
}

uint64_t bed_id_in(unsigned shard)
{
	return ids_next_in(&bed.ids, clock_wall_ms(), shard, bed.count);
}

/* Messages in an account's INBOX; the octets of each are looked at. */
unsigned bed_inbox(uint32_t account)
{
	unsigned shard = store_account_shard(account, bed.count);
	struct mbox_read_op op = {.account = account, .name = BYTES_LIT("INBOX")};
	unsigned n = 0;

	assert_int_equal(bed_run(&bed.readers[shard], &op.op, STORE_READ_MBOX_OPEN), 0);
	chain_free(&op.out);
	op.from_uid = 1;
	op.max_rows = 10000;
	assert_int_equal(bed_run(&bed.readers[shard], &op.op, STORE_READ_MBOX_ROWS), 0);
	assert_true(op.end);
	for (const struct chunk *c = op.out.head; c; c = c->next) {
		for (size_t at = 0; at + sizeof(struct mbox_row) <= c->n; n++) {
			struct mbox_row row;
			memcpy(&row, c->data + at, sizeof(row));
			at += sizeof(row);
			struct body_read_op b = {.blob = row.blob, .max = 256 * 1024};
			do {
				assert_int_equal(
					bed_run(&bed.readers[shard], &b.op, STORE_READ_BODY), 0);
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

uint64_t bed_rows_in(unsigned shard, enum db_id id)
{
	struct db_table t;

	assert_int_equal(db_table_look(&bed.store[shard]->db, id, &t), 0);
	return t.rows;
}

uint64_t bed_rows(enum db_id id)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bed.count; i++)
		n += bed_rows_in(i, id);
	return n;
}

void bed_settle(void)
{
	uint64_t end = clock_mono_us() + BED_WAIT_US;

	while (bed_rows(DB_MOVE) || bed_rows(DB_DEDUP)) {
		if (clock_mono_us() > end)
			fail_msg("%lu to be moved, %lu to be forgotten", bed_rows(DB_MOVE),
				bed_rows(DB_DEDUP));
		usleep(2000);
	}
}

static void on_problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	print_error("%s %s %s\n", p->what, p->object, p->detail);
}

/* Every row of every shard is what the check wants. */
void bed_check(void)
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

uint64_t bed_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

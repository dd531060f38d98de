/* SPDX-License-Identifier: BSD-3-Clause
 * The process that will have crashed, with a store of two shards: messages that are accepted in
 * either one, the courier that takes them across, and a mark in the disks' log for every
 * acknowledgement.
 *
 *   crossing_work DIRECTORY SEED MESSAGES [ack-unsynced | out-early | forget-early] */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rt/ids.h"
#include "store/shards.h"
#include "store/store_priv.h"
#include "tests/crash/conf.h"
#include "tests/crash/courier_mutant.h"
#include "tests/crash/crossing.h"

#define RUNNERS  6 /* messages on their way at once */
#define BATCH    3 /* chunks of one part */
#define SETTLE_S 30

struct runner {
	struct crossing c;
	uint32_t n; /* which message */
	struct message *message;
	struct part_op part;
	union {
		struct accept_op accept;
		struct results_op results;
	} op;
	struct rcpt_result rows[CROSSING_REMOTE_MAX];
	bool busy;
};

static struct runner runners[RUNNERS];
static struct shards *shards;
static struct channel writers[CROSSING_SHARDS];
static struct hints ready[CROSSING_SHARDS];
static struct waker waker;
static uint32_t accounts[CROSSING_ACCOUNTS];
static uint64_t seed;
static void (*log_mark)(uint64_t value);

static void fail(const char *what, int status)
{
	fprintf(stderr, "crossing_work: %s: %d\n", what, status);
	exit(3);
}

static void mark(enum crossing_mark what, uint64_t n)
{
	if (log_mark)
		log_mark(CROSSING_MARK(what, n));
}

/* ---- a message ---- */

static void body_add(struct message *m, const struct crossing *c)
{
	uint8_t part[CHUNK_DATA];

	for (uint32_t at = 0, k; at < c->bytes; at += k) {
		k = MIN(c->bytes - at, (uint32_t)sizeof(part));
		for (uint32_t i = 0; i < k; i++)
			part[i] = crossing_octet(c->id, at + i);
		if (chain_append(&m->body, bytes_make(part, k)) < 0)
			fail("no chunks", 0);
	}
}

static struct message *message_make(const struct crossing *c)
{
	struct message *m = message_new();
	char address[40];

	if (!m)
		fail("no message", 0);
	m->id = c->id;
	m->received_ms = 1700000000000ull;
	int err = message_set_sender(m, BYTES_LIT("from@example.net"));
	for (uint32_t i = 0; i < c->remote && !err; i++) {
		snprintf(address, sizeof(address), "r%u@d%u.example.net", i, i);
		err = message_add_rcpt(m, bytes_str(address), RCPT_REMOTE, 0);
	}
	for (unsigned i = 0; i < CROSSING_ACCOUNTS && !err; i++) {
		crossing_address(i, address);
		if (c->locals >> i & 1)
			err = message_add_rcpt(m, bytes_str(address), RCPT_LOCAL, accounts[i]);
	}
	if (err)
		fail("no chunks", err);
	body_add(m, c);
	return m;
}

static struct runner *runner_of(struct op *op)
{
	for (int i = 0; i < RUNNERS; i++) {
		char *from = (char *)&runners[i];
		if ((char *)op >= from && (char *)op < from + sizeof(runners[i]))
			return &runners[i];
	}
	BUG_ON(true);
}

static void submit(struct runner *r, struct op *op, unsigned kind, op_done_fn done)
{
	op->kind = (uint16_t)kind;
	op->done = done;
	if (channel_submit(&writers[ids_lane(r->c.id, CROSSING_SHARDS)], op) < 0)
		fail("no credit", 0);
}

static void results_done(struct op *op)
{
	struct runner *r = runner_of(op);

	if (op->status)
		fail("results failed", op->status);
	mark(CROSSING_DELIVERED, r->n);
	r->busy = false;
}

static void results_submit(struct runner *r)
{
	for (uint32_t i = 0; i < r->c.remote; i++)
		r->rows[i] = (struct rcpt_result){.rcpt = i, .outcome = ATTEMPT_DELIVERED};
	r->op.results =
		(struct results_op){.id = r->c.id, .count = r->c.remote, .results = r->rows};
	submit(r, &r->op.results.op, STORE_RESULT, results_done);
}

static void accept_done(struct op *op)
{
	struct runner *r = runner_of(op);

	if (op->status)
		fail("a message was not taken", op->status);
	/* The promise: from here on a crash must not undo it. */
	mark(CROSSING_ACCEPTED, r->n);
	message_unref(r->message);
	r->message = NULL;
	if (r->c.remote && r->c.is_delivered)
		results_submit(r);
	else
		r->busy = false;
}

static void part_done(struct op *op);

static void part_submit(struct runner *r)
{
	struct message *m = r->message;

	r->part = (struct part_op){.blob = m->id, .first = m->streamed_chunks};
	for (int i = 0; i < BATCH && m->body.head && m->body.head->n == CHUNK_DATA; i++) {
		chain_push(&r->part.chunks, chain_pop(&m->body));
		m->streamed += CHUNK_DATA;
		m->streamed_chunks++;
	}
	if (r->part.chunks.bytes) {
		submit(r, &r->part.op, HANDOFF_PART, part_done);
		return;
	}
	r->op.accept = (struct accept_op){.message = m};
	submit(r, &r->op.accept.op, HANDOFF_ACCEPT, accept_done);
}

static void part_done(struct op *op)
{
	if (op->status)
		fail("a part failed", op->status);
	part_submit(runner_of(op));
}

static void begin(struct runner *r, uint32_t n)
{
	r->n = n;
	r->busy = true;
	crossing_make(seed, n, &r->c);
	r->message = message_make(&r->c);
	if (r->c.streamed) {
		part_submit(r);
		return;
	}
	r->op.accept = (struct accept_op){.message = r->message};
	submit(r, &r->op.accept.op, HANDOFF_ACCEPT, accept_done);
}

/* ---- the run ---- */

static void pools_make(void)
{
	if (chunk_pool_init(4096, -1) < 0 || message_pool_init(256, -1) < 0 ||
		waker_init(&waker) < 0)
		fail("no pools", 0);
}

static void store_make(const char *path, const char *mutant)
{
	static const char *const domains[] = {"example.org"};
	struct store_conf conf = {.path = path,
		.shards = CROSSING_SHARDS,
		.readers = 1,
		.map_bytes = 1ull << 30,
		.reserve_bytes = 1,
		.group_bytes = CRASH_GROUP,
		.checkpoint_bytes = CRASH_CHECKPOINT,
		.journal_spare = CRASH_SPARE,
		.give_back_ms = seed % 2 ? 1 : UINT64_MAX, /* in every other run */
		.index_rows = 16,
		.queue_lifetime_ms = 1ull << 60, /* ids here are those of 1970 */
		.local_domains = domains,
		.local_domain_count = 1};
	char error[512];

	if (mutant[0] && !mutant_choose(mutant, &conf))
		fail("this is no mutant", 0);
	if (shards_open(&conf, &shards, error, sizeof(error)) < 0) {
		fprintf(stderr, "crossing_work: %s\n", error);
		exit(3);
	}
	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		struct store *s = shards_get(shards, i);
		struct service *w = store_writer(s);
		if (channel_init(&writers[i], "cw", 2 * RUNNERS, &waker, &w->waker, -1) < 0 ||
			hints_init(&ready[i], "ch", 4, &waker, -1) < 0 ||
			service_add(w, &writers[i]) < 0 || store_add_ready(s, &ready[i]) < 0)
			fail("no channels", 0);
	}
	if (shards_start(shards) < 0)
		fail("no threads", 0);
}

static bool waited;

static void wait_done(struct op *op)
{
	(void)op;
	waited = true;
}

static void accounts_make(void)
{
	unsigned in[CROSSING_SHARDS] = {0};

	for (unsigned i = 0; i < CROSSING_ACCOUNTS; i++) {
		char address[40];
		crossing_address(i, address);
		unsigned shard = store_address_shard(bytes_str(address), CROSSING_SHARDS);
		struct account_op op = {
			.op = {.kind = STORE_ACCOUNT, .done = wait_done},
			.action = ACCOUNT_ADD,
			.address = bytes_str(address),
			.hash = BYTES_LIT("$y$j9T$none")
                };
		waited = false;
		if (channel_submit(&writers[shard], &op.op) < 0)
			fail("no credit", 0);
		while (!waited && (channel_poll(&writers[shard]) || usleep(50) == 0)) {
		}
		if (op.op.status)
			fail("an account", op.op.status);
		accounts[i] = op.account;
		in[shard]++;
		mark(CROSSING_ACCOUNT, (uint64_t)i << 32 | op.account);
	}
	if (!in[0] || !in[1])
		fail("all accounts are in one shard", 0);
	mark(CROSSING_BEGUN, 0);
}

static void hints_drop(struct hints *h)
{
	struct message *m;
	void *v;

	while (hints_take(h, &v, 1)) {
		ready_hint_take(v, &m);
		if (m)
			message_unref(m);
	}
}

static unsigned poll(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		hints_drop(&ready[i]);
		n += channel_poll(&writers[i]);
	}
	return n;
}

static void messages_send(uint32_t count)
{
	uint32_t next = 0;

	for (bool busy = true; busy;) {
		busy = false;
		for (int i = 0; i < RUNNERS; i++) {
			if (!runners[i].busy && next < count)
				begin(&runners[i], next++);
			busy |= runners[i].busy;
		}
		if (poll() == 0)
			usleep(20);
	}
}

static uint64_t rows_left(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		const struct db *db = &shards_get(shards, i)->db;
		struct db_table move, dedup;
		if (db_table_look(db, DB_MOVE, &move) || db_table_look(db, DB_DEDUP, &dedup))
			fail("tables cannot be read", 0);
		n += move.rows + dedup.rows;
	}
	return n;
}

/* The courier's last steps belong to the log as well. */
static void settle(void)
{
	uint64_t end = clock_mono_us() + SETTLE_S * US_PER_SEC;

	while (rows_left()) {
		if (clock_mono_us() > end)
			fail("the courier does not end", (int)rows_left());
		if (poll() == 0)
			usleep(1000);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4 || atoi(argv[3]) > CROSSING_MAX) {
		fprintf(stderr, "usage: crossing_work DIRECTORY SEED MESSAGES [MUTANT]\n");
		return 2;
	}
	log_mark = (void (*)(uint64_t))dlsym(RTLD_DEFAULT, "crash_mark");
	seed = strtoull(argv[2], NULL, 10);
	log_set_level(LOG_ERROR);
	pools_make();
	store_make(argv[1], argc > 4 ? argv[4] : "");
	accounts_make();
	messages_send((uint32_t)atoi(argv[3]));
	settle();
	shards_stop(shards);
	shards_close(&shards);
	return 0;
}

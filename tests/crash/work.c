/* SPDX-License-Identifier: BSD-3-Clause
 * The process that will have crashed: lanes that work on a store, each with one operation under
 * way, and a mark in the disk's log for every acknowledgement.
 *
 *   crash_work DIRECTORY SEED OPERATIONS [relaxed | ack-early | ack-unsynced | no-sync |
 *     index-early | reuse-early | head-early] */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "tests/crash/conf.h"
#include "tests/crash/lane.h"

#define BATCH 4 /* chunks of one part */

struct runner {
	struct lane lane;
	struct lane_op next;
	struct message *message, *bounce;
	struct part_op part;
	union {
		struct accept_op accept;
		struct append_op append;
		struct results_op results;
		struct mbox_op mbox;
		struct mbox_name_op name;
		struct queue_admin_op admin;
	} op;
	struct rcpt_result rows[LANE_RCPTS_MAX];
	uint32_t uids[LANE_ROWS_MAX];
	uint32_t numbers[LANE_BOXES]; /* of the mailboxes, as the store gives them */
	bool busy;
};

static struct runner runners[LANES];
static struct store *store;
static struct channel writer, reader;
static struct hints ready;
static struct waker waker;
static uint32_t operations;
static void (*mark)(uint64_t value);

static void fail(const char *what, int status)
{
	fprintf(stderr, "crash_work: %s: %d\n", what, status);
	exit(3);
}

static void body_add(struct message *m, uint64_t id, uint32_t from, uint32_t n)
{
	uint8_t part[CHUNK_DATA];

	for (uint32_t k; n; n -= k, from += k) {
		k = MIN(n, (uint32_t)sizeof(part));
		for (uint32_t i = 0; i < k; i++)
			part[i] = lane_octet(id, from + i);
		if (chain_append(&m->body, bytes_make(part, k)) < 0)
			fail("no chunks", 0);
	}
}

static struct message *message_make(
	struct runner *r, uint64_t id, uint32_t bytes, uint32_t remote, bool local)
{
	struct message *m = message_new();
	char address[40];

	if (!m)
		fail("no message", 0);
	m->id = id;
	m->received_ms = 1700000000000ull;
	int err = message_set_sender(m, BYTES_LIT("from@example.net"));
	for (uint32_t i = 0; i < remote && !err; i++) {
		snprintf(address, sizeof(address), "r%u@d%u.example.net", i, i);
		err = message_add_rcpt(m, bytes_str(address), RCPT_REMOTE, 0);
	}
	if (local && !err) {
		lane_address(&r->lane, address);
		err = message_add_rcpt(m, bytes_str(address), RCPT_LOCAL, r->lane.account);
	}
	if (err)
		fail("no chunks", err);
	body_add(m, id, 0, bytes);
	return m;
}

static void submit(struct op *op, unsigned kind, op_done_fn done)
{
	op->kind = (uint16_t)kind;
	op->done = done;
	if (channel_submit(&writer, op) < 0)
		fail("no credit", 0);
}

/* ---- one operation ---- */

static void op_done(struct runner *r, int status)
{
	if (status != 0)
		fail("an operation failed", status);
	if (r->message)
		message_unref(r->message);
	r->message = NULL;
	/* The promise: from here on a crash must not undo it. */
	if (mark)
		mark((uint64_t)r->lane.number << 32 | (r->lane.done + 1));
	lane_apply(&r->lane, &r->next);
	r->busy = false;
}

static struct runner *runner_of(struct op *op)
{
	for (int i = 0; i < LANES; i++) {
		char *from = (char *)&runners[i];
		if ((char *)op >= from && (char *)op < from + sizeof(runners[i]))
			return &runners[i];
	}
	BUG_ON(true);
}

static void done(struct op *op)
{
	op_done(runner_of(op), op->status);
}

static void create_done(struct op *op);

static void message_submit(struct runner *r)
{
	struct lane_op *o = &r->next;

	if (o->kind == LANE_ACCEPT) {
		r->op.accept = (struct accept_op){.message = r->message};
		submit(&r->op.accept.op, HANDOFF_ACCEPT, done);
		return;
	}
	r->op.append = (struct append_op){.account = r->lane.account,
		.target = bytes_str(lane_box_names[o->box]),
		.message = r->message,
		.flags = o->flags};
	submit(&r->op.append.op, STORE_APPEND, done);
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
	if (r->part.chunks.bytes)
		submit(&r->part.op, HANDOFF_PART, part_done);
	else
		message_submit(r);
}

static void part_done(struct op *op)
{
	if (op->status != 0)
		fail("a part failed", op->status);
	part_submit(runner_of(op));
}

static void results_submit(struct runner *r)
{
	struct lane_op *o = &r->next;
	uint32_t n = 0;

	for (uint32_t i = 0; i < LANE_RCPTS_MAX; i++) {
		if (o->outcome[i])
			r->rows[n++] = (struct rcpt_result){
				.rcpt = i, .outcome = o->outcome[i], .next_ms = o->next_ms};
	}
	r->op.results = (struct results_op){.id = o->id, .count = n, .results = r->rows};
	if (o->bounce_id)
		r->op.results.bounce = message_make(r, o->bounce_id, 700, 0, true);
	submit(&r->op.results.op, STORE_RESULT, done);
}

static void mbox_submit(struct runner *r, unsigned kind)
{
	struct lane_op *o = &r->next;

	for (uint32_t i = 0; i < o->uid_count; i++)
		r->uids[i] = r->lane.boxes[o->box].rows[i].uid;
	r->op.mbox = (struct mbox_op){.account = r->lane.account,
		.box = r->numbers[o->box],
		.uids = r->uids,
		.uid_count = o->uid_count,
		.mode = o->mode,
		.flags = o->flags,
		.target = bytes_str(lane_box_names[o->to])};
	submit(&r->op.mbox.op, kind, done);
}

static void name_submit(struct runner *r, unsigned kind, op_done_fn then)
{
	struct lane_op *o = &r->next;

	r->op.name = (struct mbox_name_op){.account = r->lane.account,
		.name = bytes_str(lane_box_names[o->box]),
		.new_name = bytes_str(lane_box_names[o->to])};
	submit(&r->op.name.op, kind, then);
}

static void next(struct runner *r)
{
	struct lane_op *o = &r->next;

	lane_next(&r->lane, o);
	r->busy = true;
	switch (o->kind) {
	case LANE_ACCEPT:
	case LANE_APPEND:
		r->message = message_make(
			r, o->id, o->bytes, o->remote, o->local && o->kind == LANE_ACCEPT);
		if (o->streamed)
			part_submit(r);
		else
			message_submit(r);
		break;
	case LANE_RESULT:
		results_submit(r);
		break;
	case LANE_FLAGS:
		mbox_submit(r, STORE_FLAGS);
		break;
	case LANE_COPY:
		mbox_submit(r, STORE_COPY);
		break;
	case LANE_EXPUNGE:
		mbox_submit(r, STORE_EXPUNGE);
		break;
	case LANE_CREATE:
		name_submit(r, STORE_MBOX_CREATE, create_done);
		break;
	case LANE_DELETE:
		name_submit(r, STORE_MBOX_DELETE, done);
		break;
	case LANE_RENAME:
		r->numbers[o->to] = r->numbers[o->box];
		name_submit(r, STORE_MBOX_RENAME, done);
		break;
	default:
		r->op.admin = (struct queue_admin_op){.id = o->id, .action = o->action};
		submit(&r->op.admin.op, STORE_QUEUE_ADMIN, done);
	}
}

/* ---- mailboxes have numbers that the store gives ---- */

static bool waited;

static void wait_done(struct op *op)
{
	(void)op;
	waited = true;
}

static void wait(struct channel *c, struct op *op, unsigned kind)
{
	op->kind = (uint16_t)kind;
	op->done = wait_done;
	waited = false;
	if (channel_submit(c, op) < 0)
		fail("no credit", 0);
	while (!waited) {
		if (channel_poll(c) == 0)
			usleep(50);
	}
	if (op->status)
		fail("a request failed", op->status);
}

static void number_find(struct runner *r, uint32_t box)
{
	struct mbox_read_op op = {
		.account = r->lane.account, .name = bytes_str(lane_box_names[box])};

	wait(&reader, &op.op, STORE_READ_MBOX_OPEN);
	chain_free(&op.out);
	r->numbers[box] = op.box;
}

static void create_done(struct op *op)
{
	struct runner *r = runner_of(op);
	uint32_t box = r->next.box;

	op_done(r, op->status);
	number_find(r, box);
}

/* ---- the run ---- */

static void open_store(const char *path, uint64_t seed, const char *mutant)
{
	static const char *const domains[] = {"example.org"};
	struct store_conf conf = {.path = path,
		.shards = 1,
		.readers = 1,
		.map_bytes = 1ull << 30,
		.reserve_bytes = 1,
		.group_bytes = CRASH_GROUP,
		.checkpoint_bytes = CRASH_CHECKPOINT,
		.journal_spare = CRASH_SPARE,
		.give_back_ms = seed % 2 ? 1 : UINT64_MAX, /* in every other run */
		.index_rows = 48, /* runs in several parts, and sweeps, all the time */
		.local_domains = domains,
		.local_domain_count = 1};
	char error[512];

	conf.relaxed = strcmp(mutant, "relaxed") == 0;
#ifdef BYPOST_MUTANTS
	conf.mutant_early_ack = strcmp(mutant, "ack-early") == 0;
	conf.mutant_unsynced_ack = strcmp(mutant, "ack-unsynced") == 0;
	conf.mutant_early_reuse = strcmp(mutant, "reuse-early") == 0;
	conf.mutant_early_head = strcmp(mutant, "head-early") == 0;
	conf.mutant_early_hole = strcmp(mutant, "hole-early") == 0;
	conf.mutant_early_index = strcmp(mutant, "index-early") == 0;
	conf.mutant_no_sync = strcmp(mutant, "no-sync") == 0;
#else
	if (mutant[0] && !conf.relaxed)
		fail("this is no mutant", 0);
#endif
	if (chunk_pool_init(4096, -1) < 0 || message_pool_init(64, -1) < 0 ||
		waker_init(&waker) < 0)
		fail("no pools", 0);
	if (store_open(&conf, &store, error, sizeof(error)) < 0) {
		fprintf(stderr, "crash_work: %s\n", error);
		exit(3);
	}
	struct service *w = store_writer(store), *rd = store_reader(store, 0);
	if (channel_init(&writer, "cw", 2 * LANES, &waker, &w->waker, -1) < 0 ||
		channel_init(&reader, "cr", 2, &waker, &rd->waker, -1) < 0 ||
		hints_init(&ready, "ch", 4, &waker, -1) < 0 || service_add(w, &writer) < 0 ||
		service_add(rd, &reader) < 0 || store_add_ready(store, &ready) < 0 ||
		store_start(store) < 0)
		fail("no channels", 0);
}

static void accounts_make(uint64_t seed)
{
	for (uint32_t i = 0; i < LANES; i++) {
		struct runner *r = &runners[i];
		char address[40];
		lane_init(&r->lane, seed, i);
		lane_address(&r->lane, address);
		struct account_op op = {.action = ACCOUNT_ADD,
			.address = bytes_str(address),
			.hash = BYTES_LIT("$y$j9T$none")};
		wait(&writer, &op.op, STORE_ACCOUNT);
		r->lane.account = op.account;
		number_find(r, 0);
	}
	if (mark)
		mark(0); /* the lanes begin */
}

static void hints_drop(void)
{
	struct message *m;
	void *v;

	while (hints_take(&ready, &v, 1)) {
		ready_hint_take(v, &m);
		if (m)
			message_unref(m);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: crash_work DIRECTORY SEED OPERATIONS [MUTANT]\n");
		return 2;
	}
	mark = (void (*)(uint64_t))dlsym(RTLD_DEFAULT, "crash_mark");
	operations = (uint32_t)atoi(argv[3]);
	log_set_level(LOG_ERROR);
	open_store(argv[1], strtoull(argv[2], NULL, 10), argc > 4 ? argv[4] : "");
	accounts_make(strtoull(argv[2], NULL, 10));
	for (bool more = true; more;) {
		more = false;
		for (int i = 0; i < LANES; i++) {
			struct runner *r = &runners[i];
			if (!r->busy && r->lane.done < operations / LANES)
				next(r);
			more |= r->busy || r->lane.done < operations / LANES;
		}
		hints_drop();
		if (channel_poll(&writer) == 0)
			usleep(20);
	}
	store_stop(store);
	store_close(&store);
	return 0;
}

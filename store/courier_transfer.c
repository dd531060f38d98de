/* SPDX-License-Identifier: BSD-3-Clause
 * One message's way to another shard: envelope, body in slices, in, out, forget.  A failure gives
 * the transfer up; its rows are found again.  Courier thread. */
#include <errno.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "store/courier_priv.h"

static bool envelope_submit(struct transfer *t);
static bool body_submit(struct transfer *t);
static bool in_submit(struct transfer *t);
static bool out_submit(struct transfer *t);
static bool forget_submit(struct transfer *t);

static void next(struct transfer *t, bool (*submit)(struct transfer *t))
{
	t->submit = submit;
	t->wait_until_us = 0;
}

static struct channel *writer_here(struct transfer *t)
{
	return &t->courier->writers[t->lane->from];
}

static struct channel *writer_there(struct transfer *t)
{
	return &t->courier->writers[t->lane->to];
}

static void leave_end(struct transfer *t)
{
	if (t->leaving)
		atomic_fetch_sub_explicit(&t->courier->leaving, 1, memory_order_release);
	t->leaving = false;
}

static void end(struct transfer *t)
{
	struct lane *l = t->lane;

	leave_end(t);
	if (t->message)
		message_unref(t->message);
	t->message = NULL;
	t->submit = NULL;
	t->lane = NULL;
	l->active--;
}

/* ---- what has gone wrong ---- */

static void drop_done(struct op *op)
{
	end(container_of(op, struct transfer, u.op));
}

static bool drop_submit(struct transfer *t)
{
	t->u.drop = (struct drop_op){
		.op = {.done = drop_done, .kind = HANDOFF_DROP},
                  .blob = t->message->id
        };
	return channel_submit(writer_there(t), &t->u.op) == 0;
}

/* The rows are where they were: the lane is looked over again after a while. */
static void fail(struct transfer *t, const char *what, int status)
{
	struct lane *l = t->lane;

	counter_inc(CTR_STORE_MOVES_RETRIED);
	log_debug("store", "move-failed id=%016llx from=%u to=%u step=%s status=%d",
		(unsigned long long)t->id, l->from, l->to, what, status);
	l->due = l->news = true;
	l->not_before_us = t->courier->now_us + COURIER_RETRY_US;
	if (t->message && t->message->streamed_chunks)
		next(t, drop_submit);
	else
		end(t);
}

/* ---- envelope and body ---- */

/* The scan that named them may have been under way while they were brought: whoever has left is not
 * brought again, even if the message is still here for others.  Both lists are in order. */
static void still_moving(struct transfer *t, const struct chain *rows)
{
	uint32_t from = 0, kept = 0;

	for (const struct chunk *c = rows->head; c; c = c->next) {
		for (size_t at = 0; at + sizeof(struct queue_rcpt_row) <= c->n;
			at += sizeof(struct queue_rcpt_row)) {
			struct queue_rcpt_row row;
			memcpy(&row, c->data + at, sizeof(row));
			while (from < t->count && t->rcpts[from].rcpt < row.rcpt)
				from++;
			if (from < t->count && t->rcpts[from].rcpt == row.rcpt &&
				row.state == QUEUE_MOVING)
				t->rcpts[kept++] = t->rcpts[from++];
		}
	}
	t->count = kept;
}

static void envelope_done(struct op *op)
{
	struct transfer *t = container_of(op, struct transfer, u.op);
	struct queue_read_op *q = &t->u.envelope;
	struct message *m = op->status == 0 ? q->message : NULL;

	if (m)
		still_moving(t, &q->rows);
	chain_free(&q->rows);
	if (op->status == -ENOENT) {
		next(t, out_submit); /* an operator's decision; nobody is left to be asked */
		return;
	}
	if (!m) {
		fail(t, "envelope", op->status);
		return;
	}
	t->message = m;
	if (t->count == 0) {
		end(t);
		return;
	}
	m->id = ids_next(&t->courier->ids, clock_wall_ms());
	t->prefix_bytes = m->prefix.bytes;
	t->body_bytes = m->streamed;
	t->body_at = 0;
	m->streamed = 0;
	m->streamed_chunks = 0;
	next(t, t->body_bytes ? body_submit : in_submit);
}

static bool envelope_submit(struct transfer *t)
{
	t->u.envelope = (struct queue_read_op){
		.op = {.done = envelope_done, .kind = STORE_READ_QUEUE},
                  .id = t->id
        };
	return channel_submit(&t->courier->readers[t->lane->from], &t->u.op) == 0;
}

static void part_done(struct op *op)
{
	struct transfer *t = container_of(op, struct transfer, u.op);

	if (op->status == HANDOFF_OK)
		next(t, body_submit);
	else
		fail(t, "part", op->status);
}

/* The chunks wait in message->body until there is a credit. */
static bool part_submit(struct transfer *t)
{
	struct message *m = t->message;

	t->u.part = (struct part_op){
		.op = {.done = part_done, .kind = HANDOFF_PART},
		.blob = m->id,
		.first = m->streamed_chunks,
		.chunks = m->body
        };
	uint64_t bytes = m->body.bytes;
	if (channel_submit(writer_there(t), &t->u.op) < 0)
		return false;
	m->body = (struct chain){0};
	m->streamed += bytes;
	m->streamed_chunks += (uint32_t)(bytes / CHUNK_DATA);
	return true;
}

static void body_done(struct op *op)
{
	struct transfer *t = container_of(op, struct transfer, u.op);
	struct body_read_op *b = &t->u.body;

	if (op->status == -ENOBUFS) {
		next(t, body_submit); /* memory is scarce: those before us first */
		t->wait_until_us = t->courier->now_us + COURIER_RETRY_US / 10;
		return;
	}
	if (op->status != 0 || b->out.bytes == 0) {
		chain_free(&b->out);
		fail(t, "body", op->status);
		return;
	}
	t->message->body = b->out;
	t->body_at += b->out.bytes;
	next(t, t->body_at < t->body_bytes ? part_submit : in_submit);
}

static bool body_submit(struct transfer *t)
{
	t->u.body = (struct body_read_op){
		.op = {.done = body_done, .kind = STORE_READ_BODY},
		.blob = t->id,
		.offset = t->prefix_bytes + t->body_at,
		.max = COURIER_SLICE
        };
	return channel_submit(&t->courier->readers[t->lane->from], &t->u.op) == 0;
}

/* ---- in, out, forget ---- */

static void in_done(struct op *op)
{
	struct transfer *t = container_of(op, struct transfer, u.op);

	if (op->status != 0) {
		fail(t, "in", op->status);
		return;
	}
	message_unref(t->message);
	t->message = NULL;
	next(t, out_submit);
}

static bool in_submit(struct transfer *t)
{
	t->u.in = (struct move_in_op){
		.op = {.done = in_done, .kind = STORE_MOVE_IN},
		.id = t->id,
		.message = t->message,
		.count = t->count,
		.rcpts = t->rcpts
        };
	return channel_submit(writer_there(t), &t->u.op) == 0;
}

static void count_moves(const struct transfer *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		counter_inc(t->rcpts[i].taken ? CTR_STORE_MOVES : CTR_STORE_MOVES_REFUSED);
}

static void out_done(struct op *op)
{
	struct transfer *t = container_of(op, struct transfer, u.op);

	leave_end(t);
	if (op->status != 0) {
		fail(t, "out", op->status);
		return;
	}
	count_moves(t);
	next(t, forget_submit);
}

static bool out_submit(struct transfer *t)
{
	struct courier *c = t->courier;

	/* Counted first, then asked: whoever holds does it the other way round. */
	atomic_fetch_add(&c->leaving, 1);
	t->leaving = true;
	t->u.out = (struct move_out_op){
		.op = {.done = out_done, .kind = STORE_MOVE_OUT},
		.id = t->id,
		.shard = t->lane->to,
		.count = t->count,
		.rcpts = t->rcpts
        };
	if (!atomic_load(&c->hold) && channel_submit(writer_here(t), &t->u.op) == 0)
		return true;
	leave_end(t);
	return false;
}

static void forget_done(struct op *op)
{
	struct transfer *t = container_of(op, struct transfer, u.op);

	if (op->status != 0)
		t->courier->sweep.due = t->courier->sweep.again = true;
	end(t);
}

static bool forget_submit(struct transfer *t)
{
	t->u.forget = (struct move_forget_op){
		.op = {.done = forget_done, .kind = STORE_MOVE_FORGET},
                  .id = t->id
        };
	return channel_submit(writer_there(t), &t->u.op) == 0;
}

/* ---- the pool ---- */

bool transfer_has(const struct lane *l, uint64_t id)
{
	const struct courier *c = l->courier;

	for (unsigned i = 0; i < COURIER_TRANSFERS; i++) {
		if (c->transfers[i].lane == l && c->transfers[i].id == id)
			return true;
	}
	return false;
}

bool transfer_begin(
	struct lane *l, uint64_t id, const struct move_row *rows, uint32_t count, bool expired)
{
	struct courier *c = l->courier;
	unsigned i = 0;

	while (i < COURIER_TRANSFERS && c->transfers[i].lane)
		i++;
	if (i == COURIER_TRANSFERS || l->active >= COURIER_LANE_MAX)
		return false;
	struct transfer *t = &c->transfers[i];
	t->courier = c;
	t->lane = l;
	t->id = id;
	t->message = NULL;
	t->leaving = false;
	t->count = count;
	for (uint32_t k = 0; k < count; k++)
		t->rcpts[k] = (struct move_rcpt){.rcpt = rows[k].rcpt, .account = rows[k].account};
	l->active++;
	/* Given up: not taken, so that the sender is told. */
	next(t, expired ? out_submit : envelope_submit);
	return true;
}

unsigned transfers_poll(struct courier *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < COURIER_TRANSFERS; i++) {
		struct transfer *t = &c->transfers[i];
		bool (*submit)(struct transfer * t) = t->submit;
		if (!t->lane || !submit || t->wait_until_us > c->now_us)
			continue;
		if (courier_stopping(c)) {
			end(t);
			continue;
		}
		t->submit = NULL;
		if (submit(t))
			n++;
		else
			t->submit = submit;
	}
	return n;
}

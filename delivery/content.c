/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/content.h"
#include <errno.h>
#include "delivery/delivery_priv.h"

#define SLICE    (64 * 1024)
#define AGAIN_US (100 * US_PER_MS)

enum content_part { PART_PREFIX, PART_BODY, PART_END };

static void on_timer(struct timer *t, uint64_t now_us);

void content_init(struct content *c, struct delivery *d, void (*on_more)(struct content *c))
{
	*c = (struct content){.d = d, .on_more = on_more};
	list_init(&c->waiter);
	timer_init(&c->timer, on_timer);
}

uint64_t content_size(const struct job *job)
{
	const struct message *m = job->message;
	uint64_t body = job->read.rows.head ? job->read.body_bytes : message_body_bytes(m);

	return m->prefix.bytes - m->prefix_local + body;
}

/* ---- from memory ---- */

static void memory_begin(struct content *c)
{
	c->part = PART_PREFIX;
	c->chunk = c->job->message->prefix.head;
	c->at = c->job->message->prefix_local; /* Return-Path stays here */
}

/* To the next chunk that has octets left; false: all were given. */
static bool memory_settle(struct content *c)
{
	for (;;) {
		while (c->chunk && c->at >= c->chunk->n) {
			c->at -= c->chunk->n;
			c->chunk = c->chunk->next;
		}
		if (c->chunk)
			return true;
		if (++c->part >= PART_END)
			return false;
		c->chunk = c->job->message->body.head;
		c->at = 0;
	}
}

static struct bytes memory_next(struct content *c, size_t want, bool *end_r)
{
	struct bytes out = BYTES_NONE;

	if (memory_settle(c)) {
		size_t n = MIN(want, (size_t)(c->chunk->n - c->at));
		out = bytes_make(c->chunk->data + c->at, n);
		c->at += (uint32_t)n;
	}
	*end_r = !memory_settle(c);
	return out;
}

/* ---- from the store ---- */

static void read_more(struct content *c);

static void on_read(struct op *op)
{
	struct content *c = container_of(op, struct content, op.op);

	c->reading = false;
	if (!c->begun) { /* ended meanwhile */
		chain_free(&c->op.out);
		c->on_more(c);
		return;
	}
	if (op->status == -ENOBUFS) {
		timer_arm(&c->d->core->wheel, &c->timer, c->d->core->now_us + AGAIN_US);
		return;
	}
	c->failed = op->status != 0 || c->op.total != c->total || c->op.out.bytes == 0;
	c->asked += c->op.out.bytes;
	chain_join(&c->ahead, &c->op.out);
	c->on_more(c);
}

static void on_timer(struct timer *t, uint64_t now_us)
{
	(void)now_us;
	read_more(container_of(t, struct content, timer));
}

static void read_more(struct content *c)
{
	struct delivery *d = c->d;

	if (c->reading || timer_armed(&c->timer) || c->asked >= c->total || c->ahead.head)
		return;
	c->op = (struct body_read_op){
		.op = {.done = on_read, .kind = STORE_READ_BODY},
		.blob = c->job->id,
		.offset = c->asked,
		.max = SLICE,
		.relay = true,
	};
	list_remove(&c->waiter);
	if (channel_submit(delivery_reader(d, c->job->id), &c->op.op) < 0)
		list_push_tail(&d->readers_waiting, &c->waiter);
	else
		c->reading = true;
}

void content_on_credit(struct delivery *d)
{
	struct list waiting;

	list_init(&waiting);
	while (!list_empty(&d->readers_waiting))
		list_push_tail(&waiting, list_pop_head(&d->readers_waiting));
	while (!list_empty(&waiting))
		read_more(list_entry(list_pop_head(&waiting), struct content, waiter));
}

/* The octets of a view stay until the next call, so a chunk goes back only then. */
static void stored_settle(struct content *c)
{
	while (c->now.head && c->at == c->now.head->n) {
		chunk_put(chain_pop(&c->now));
		c->at = 0;
	}
	if (!c->now.head)
		chain_join(&c->now, &c->ahead);
	read_more(c);
}

static struct bytes stored_next(struct content *c, size_t want, bool *end_r)
{
	struct bytes out = BYTES_NONE;

	stored_settle(c);
	if (c->now.head) {
		size_t n = MIN(want, (size_t)(c->now.head->n - c->at));
		out = bytes_make(c->now.head->data + c->at, n);
		c->at += (uint32_t)n;
		c->given += n;
	}
	*end_r = c->given == c->total;
	return out;
}

/* ---- both ---- */

void content_begin(struct content *c, struct job *job)
{
	BUG_ON(c->reading || c->begun);
	c->job = job;
	c->begun = true;
	c->stored = !job->body;
	c->failed = false;
	c->at = 0;
	c->asked = c->given = 0;
	c->total = content_size(job);
	if (c->stored)
		read_more(c); /* ready by the time the envelope is through */
	else
		memory_begin(c);
}

struct bytes content_next(struct content *c, size_t want, bool *end_r)
{
	*end_r = false;
	if (c->failed)
		return BYTES_NONE;
	return c->stored ? stored_next(c, want, end_r) : memory_next(c, want, end_r);
}

void content_end(struct content *c)
{
	c->begun = false;
	list_remove(&c->waiter);
	if (timer_armed(&c->timer))
		timer_cancel(&c->d->core->wheel, &c->timer);
	chain_free(&c->now);
	chain_free(&c->ahead);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/job.h"
#include <errno.h>
#include "dataplane/base/log.h"
#include "delivery/delivery_priv.h"

#define HEAD_CHUNKS    5          /* sender, recipients, their text, prefix, and a body begun */
#define READ_AGAIN_MS  1000       /* no memory for the answer */
#define READ_FAILED_MS 30000      /* the store could not read it */
#define RESTED_US      US_PER_SEC /* chosen: then its site is slow, and new mail goes before it */
#define STOLEN_MAX     16         /* in a call */

/* A job's name in a node: its number from 1 on, and which life it is. */
#define NUMBER_BITS 12
#define LIFE_MASK   ((1u << (32 - NUMBER_BITS)) - 1)
static_assert(JOBS_MAX < 1 << NUMBER_BITS, "a number fits");

int jobs_init(struct delivery *d, uint32_t max, uint64_t held_max)
{
	struct jobs *t = &d->jobs;
	uint32_t slots = 1;

	while (slots < max)
		slots *= 2;
	*t = (struct jobs){.max = max, .mask = slots - 1, .held_max = held_max};
	siphash_key_random(&t->key);
	list_init(&t->free);
	list_init(&t->resting);
	t->jobs = calloc(max, sizeof(*t->jobs));
	t->table = calloc(slots, sizeof(*t->table));
	if (!t->jobs || !t->table)
		return -ENOMEM;
	for (uint32_t i = 0; i < max; i++) {
		t->jobs[i].d = d;
		list_init(&t->jobs[i].attempts);
		list_push_tail(&t->free, &t->jobs[i].link);
	}
	return 0;
}

static void job_drop_message(struct job *j)
{
	if (j->message)
		message_unref(j->message);
	j->message = NULL;
	chain_free(&j->read.rows);
}

void jobs_fini(struct delivery *d)
{
	for (uint32_t i = 0; d->jobs.jobs && i < d->jobs.max; i++)
		job_drop_message(&d->jobs.jobs[i]);
	free(d->jobs.jobs);
	free(d->jobs.table);
}

static uint32_t *slot_of(const struct jobs *t, uint64_t id)
{
	return &t->table[siphash13(&t->key, &id, sizeof(id)) & t->mask];
}

static struct job *job_find(const struct jobs *t, uint64_t id)
{
	for (uint32_t at = *slot_of(t, id); at; at = t->jobs[at - 1].hash_next) {
		if (t->jobs[at - 1].id == id)
			return &t->jobs[at - 1];
	}
	return NULL;
}

static uint32_t job_number(const struct jobs *t, const struct job *j)
{
	return (uint32_t)(j - t->jobs) + 1;
}

/* By the id as well: lives come round, if only after a million. */
struct job *job_of(const struct delivery *d, const struct schedule_node *n)
{
	if (!n->job)
		return NULL;
	struct job *j = &d->jobs.jobs[(n->job & ((1u << NUMBER_BITS) - 1)) - 1];
	return j->life == n->job >> NUMBER_BITS && j->id == n->id ? j : NULL;
}

/* Its references have changed. */
static void job_settle(struct delivery *d, struct job *j)
{
	list_remove(&j->link);
	if (j->refs == 0 || j->refs != j->resting)
		return;
	j->rest_us = d->core->now_us;
	list_push_tail(&d->jobs.resting, &j->link);
}

void job_rest(struct delivery *d, uint32_t node)
{
	struct job *j = job_of(d, delivery_node(d, node));

	if (!j)
		return;
	j->resting++;
	job_settle(d, j);
}

void job_wake(struct delivery *d, uint32_t node)
{
	struct schedule_node *n = delivery_node(d, node);
	struct job *j = job_of(d, n);

	if (!j) {
		n->job = 0; /* it has given way */
		return;
	}
	j->resting--;
	job_settle(d, j);
}

static void job_free(struct delivery *d, struct job *j)
{
	struct jobs *t = &d->jobs;
	uint32_t *at = slot_of(t, j->id);

	while (*at != job_number(t, j))
		at = &t->jobs[*at - 1].hash_next;
	*at = j->hash_next;
	t->used--;
	t->held -= j->held;
	job_drop_message(j);
	list_remove(&j->link);
	list_push_tail(&t->free, &j->link);
}

/* The one that has rested longest, if it is so long; false: there is none. */
static bool job_steal(struct delivery *d, uint64_t rested_us)
{
	struct jobs *t = &d->jobs;

	if (list_empty(&t->resting))
		return false;
	struct job *j = list_entry(t->resting.next, struct job, link);
	if (d->core->now_us - j->rest_us < rested_us)
		return false;
	BUG_ON(!list_empty(&j->attempts) || j->waiting.count);
	j->refs = j->resting = 0;
	j->life = (j->life + 1) & LIFE_MASK;
	job_free(d, j);
	return true;
}

static struct job *job_new(struct jobs *t, uint64_t id)
{
	struct list *l = list_pop_head(&t->free);

	if (!l)
		return NULL;
	struct job *j = list_entry(l, struct job, link);
	uint32_t *slot = slot_of(t, id);
	t->used++;
	j->id = id;
	j->message = NULL;
	j->expire_ms = j->held = 0;
	j->refs = 1;
	j->resting = 0;
	j->body = false;
	j->waiting = SCHEDULE_LIST_EMPTY;
	j->hash_next = *slot;
	*slot = job_number(t, j);
	return j;
}

void job_unref(struct delivery *d, struct job *j)
{
	BUG_ON(j->refs == 0);
	j->refs--;
	if (j->refs == 0)
		job_free(d, j);
	else
		job_settle(d, j);
}

void job_tie(struct delivery *d, struct job *j, uint32_t node, uint32_t pos)
{
	struct schedule_node *n = delivery_node(d, node);

	BUG_ON(n->state != SCHEDULE_DUE || n->job || n->backlogged);
	n->job = j->life << NUMBER_BITS | job_number(&d->jobs, j);
	n->pos = pos;
	j->refs++;
	job_settle(d, j);
}

void job_untie(struct delivery *d, uint32_t node)
{
	struct schedule_node *n = delivery_node(d, node);
	struct job *j = job_of(d, n);

	n->job = 0;
	if (j)
		job_unref(d, j);
}

static bool has_room(const struct jobs *t, uint64_t held)
{
	return !list_empty(&t->free) && t->held + held <= t->held_max;
}

struct job *job_begin(struct delivery *d, struct message *m)
{
	struct jobs *t = &d->jobs;
	uint64_t held = (m->body.bytes / CHUNK_DATA + HEAD_CHUNKS) * sizeof(struct chunk);

	for (unsigned i = 0; i < STOLEN_MAX && !has_room(t, held) && job_steal(d, RESTED_US); i++) {
	}
	if (!has_room(t, held) || job_find(t, m->id))
		return NULL;
	struct job *j = job_new(t, m->id);
	if (!j)
		return NULL;
	j->message = m;
	j->body = m->streamed == 0;
	j->held = held;
	t->held += held;
	return j;
}

/* ---- read from the store ---- */

static const struct queue_rcpt_row *row_in_chunk(
	const struct chunk *c, uint32_t rcpt, uint32_t base, uint32_t *pos_r)
{
	const struct queue_rcpt_row *rows = (const void *)c->data;

	for (uint32_t i = 0; i < c->n / sizeof(*rows); i++) {
		if (rows[i].rcpt == rcpt) {
			*pos_r = base + i;
			return &rows[i];
		}
	}
	return NULL;
}

/* The row of a recipient and its place in the message. */
static const struct queue_rcpt_row *row_find(const struct job *j, uint32_t rcpt, uint32_t *pos_r)
{
	const struct queue_rcpt_row *row = NULL;
	uint32_t base = 0;

	for (const struct chunk *c = j->read.rows.head; c && !row; c = c->next) {
		row = row_in_chunk(c, rcpt, base, pos_r);
		base += (uint32_t)(c->n / sizeof(*row));
	}
	return row && *pos_r < j->message->rcpt_count ? row : NULL;
}

/* Tied to a loaded job: into an attempt, unless the recipient is gone or held by now. */
static void node_loaded(struct delivery *d, struct job *j, uint32_t node)
{
	struct schedule_node *n = delivery_node(d, node);
	uint32_t pos = n->rcpt;
	bool there = pos < j->message->rcpt_count;

	if (j->read.rows.head) {
		const struct queue_rcpt_row *row = row_find(j, n->rcpt, &pos);
		there = row && row->state == QUEUE_SCHEDULED;
		if (there)
			n->attempts = (uint16_t)MIN(row->attempts, (uint32_t)UINT16_MAX);
	}
	if (!there) {
		job_untie(d, node);
		delivery_forget(d, node);
		return;
	}
	n->pos = pos;
	attempt_dispatch(d, node);
}

static void node_not_loaded(struct delivery *d, const struct job *j, uint32_t node)
{
	int status = j->read.op.status;

	job_untie(d, node);
	if (status == -ENOENT)
		delivery_forget(d, node);
	else
		delivery_put_off(d, node, status == -ENOBUFS ? READ_AGAIN_MS : READ_FAILED_MS);
}

static void on_read(struct op *op)
{
	struct job *j = container_of(op, struct job, read.op);
	struct delivery *d = j->d;
	bool good = op->status == 0 && j->read.message;
	uint32_t node;

	if (good) {
		j->message = j->read.message;
		j->expire_ms = j->read.expire_ms;
	} else if (op->status != -ENOENT && op->status != -ENOBUFS) {
		log_warn("delivery", "queue-read id=%016lx error=%d", j->id, op->status);
	}
	while ((node = schedule_list_pop(&d->schedule, &j->waiting)) != SCHEDULE_NONE) {
		if (good)
			node_loaded(d, j, node);
		else
			node_not_loaded(d, j, node);
	}
	job_unref(d, j);
}

static bool read_submit(struct delivery *d, struct job *j)
{
	j->read = (struct queue_read_op){
		.op = {.done = on_read, .kind = STORE_READ_QUEUE},
                  .id = j->id
        };
	return channel_submit(delivery_reader(d, j->id), &j->read.op) == 0;
}

bool job_load(struct delivery *d, uint32_t node)
{
	uint64_t id = delivery_node(d, node)->id;
	struct job *j = job_find(&d->jobs, id);

	if (j && j->message) {
		job_tie(d, j, node, 0);
		node_loaded(d, j, node);
		return true;
	}
	if (!j) {
		if (list_empty(&d->jobs.free))
			job_steal(d, 0);
		j = job_new(&d->jobs, id);
		if (!j)
			return false;
		if (!read_submit(d, j)) {
			job_unref(d, j);
			return false;
		}
	}
	job_tie(d, j, node, 0);
	schedule_list_push(&d->schedule, &j->waiting, node);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What operators do to all that a filter means, in bounded slices: along the queue's index where it
 * leads, then through what is not in it yet.  Writer thread. */
#include <errno.h>
#include "store/db_queue_index.h"
#include "store/queue_row.h"
#include "store/writer_queue.h"

#define SLICE_ROWS 256 /* rows in one transaction that everybody waits for; chosen */
/* Chosen: rows of the queue that are not meant and were only read cost as much as one that is
 * changed. */
#define PASSED_PER_ROW 16

/* Where a slice stands and what it has done. */
struct slice {
	struct queue_slice_op *op;
	struct queue_change change;
	uint32_t left; /* rows that may still be looked at */
	uint32_t passed;
};

static void pass(struct slice *s)
{
	if (++s->passed % PASSED_PER_ROW == 0 && s->left)
		s->left--;
}

static bool is_meant(const struct slice *s, const struct q_view *m, const struct queue_row *q)
{
	const struct queue_filter *f = s->op->filter;

	return queue_filter_message(f, m) &&
	       queue_filter_recipient(f, bytes_make(q->text, q->r.address_n), q->r.domain_at);
}

/* One recipient that may be meant; what deletion leaves of its message is counted at once. */
static int slice_row(struct writer *w, struct slice *s, struct queue_row *q)
{
	struct queue_slice_op *op = s->op;
	uint64_t owners = 0;
	uint32_t changed = 0;
	struct bytes row;
	struct q_view m;
	int rc = queue_message_get(w, q->id, &row);

	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (q_parse(row, &m))
		return MDB_CORRUPTED;
	if (!is_meant(s, &m, q)) {
		pass(s);
		return 0;
	}
	s->left--;
	rc = queue_row_act(w, &s->change, q, &changed, &owners);
	if (!rc && changed && op->action == QUEUE_DELETE) {
		rc = queue_message_get(w, q->id, &row);
		if (!rc)
			rc = queue_message_reduce(w, q->id, row, 1);
	}
	if (rc || !changed)
		return rc;
	op->recipients++;
	op->messages += op->next_counted_id != q->id;
	op->next_counted_id = q->id;
	return owners ? writer_effect(w, &(struct effect){.value = q->id, .owners = owners}) : 0;
}

/* All recipients of a message from at.rcpt on.  MDB_NOTFOUND: they are through. */
static int slice_message(struct writer *w, struct slice *s)
{
	struct queue_at *at = &s->op->next;
	struct queue_row q;

	while (s->left) {
		int rc = queue_row_next(w, at->id, at->rcpt, &q);
		if (rc)
			return rc;
		at->rcpt = q.rcpt + 1;
		rc = slice_row(w, s, &q);
		if (rc)
			return rc;
	}
	return 0;
}

/* Message by message through the queue. */
static int slice_queue(struct writer *w, struct slice *s)
{
	struct queue_at *at = &s->op->next;

	while (s->left) {
		struct key from, k;
		struct bytes v;
		int rc = writer_first_row(w, DB_Q, key_id(&from, at->id), 0, &k, &v);
		if (rc)
			return rc;
		uint64_t id = key_get_u64(key_view(&k), 0);
		if (id != at->id)
			at->rcpt = 0;
		at->id = id;
		pass(s); /* a look costs, whoever has it */
		rc = slice_message(w, s);
		if (rc && rc != MDB_NOTFOUND)
			return rc;
		if (rc == MDB_NOTFOUND)
			queue_index_behind(at, QI_SENDER);
	}
	return 0;
}

/* A row of the index names a message, or a recipient of one; it may be gone. */
static int slice_index_row(struct writer *w, struct slice *s, uint32_t rcpt)
{
	struct queue_at *at = &s->op->next;
	struct queue_row q;

	if (rcpt == QI_SENDER) {
		int rc = slice_message(w, s);
		if (rc == MDB_NOTFOUND)
			queue_index_behind(at, rcpt);
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	int rc = queue_row_get(w, at->id, rcpt, &q);
	queue_index_behind(at, rcpt);
	return rc == MDB_NOTFOUND ? 0 : rc ? rc : slice_row(w, s, &q);
}

/* MDB_NOTFOUND: the rest is in the queue itself. */
static int slice_index(struct writer *w, struct slice *s)
{
	uint32_t rcpt;
	int rc = 0;

	while (!rc && s->left) {
		rc = queue_index_next(w->txn, w->db, s->op->filter, &s->op->next, &rcpt);
		pass(s);
		if (!rc && rcpt == QI_NONE)
			break; /* runs without anything: they were looks, too */
		if (!rc)
			rc = slice_index_row(w, s, rcpt);
	}
	return rc;
}

int writer_apply_queue_slice(struct writer *w, struct op *op)
{
	struct queue_slice_op *a = container_of(op, struct queue_slice_op, op);
	struct slice s = {
		.op = a,
		.change = {a->action, a->priority},
		.left = a->max_rows ? MIN(a->max_rows, (uint32_t)SLICE_ROWS) : SLICE_ROWS
        };
	const struct queue_filter *f = a->filter;
	int rc = MDB_NOTFOUND;

	a->messages = a->recipients = 0;
	a->end = false;
	if (!queue_change_valid(&s.change) || (f->recipient[0] && !strchr(f->recipient, '@'))) {
		op->status = -EINVAL;
		return 0;
	}
	/* Another op's failure may have this done again: `at` moves when it is committed. */
	a->next = a->at;
	a->next_counted_id = a->counted_id;
	if (queue_index_leads(f))
		rc = slice_index(w, &s);
	if (rc == MDB_NOTFOUND)
		rc = slice_queue(w, &s);
	a->end = rc == MDB_NOTFOUND;
	return a->end ? 0 : rc;
}

void writer_queue_slice_committed(struct writer *w, struct op *op)
{
	struct queue_slice_op *a = container_of(op, struct queue_slice_op, op);

	(void)w;
	a->at = a->next;
	a->counted_id = a->next_counted_id;
}

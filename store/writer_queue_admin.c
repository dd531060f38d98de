/* SPDX-License-Identifier: BSD-3-Clause
 * What operators do to the queue: one message, or all that a filter means in bounded slices. Writer
 * thread. */
#include <errno.h>
#include "store/queue_index.h"
#include "store/queue_row.h"
#include "store/writer_queue.h"

#define SLICE_ROWS 256 /* rows in one transaction that everybody waits for; chosen */

/* What is done to each row. */
struct change {
	uint8_t action; /* enum queue_action */
	int8_t priority;
};

static bool change_valid(const struct change *c)
{
	return c->action < QUEUE_ACTION_N && c->priority >= MESSAGE_PRIORITY_MIN &&
	       c->priority <= MESSAGE_PRIORITY_MAX;
}

/* True when the action changes this row; then the row is changed in memory. */
static bool admin_change(struct writer *w, const struct change *c, struct queue_row *q)
{
	/* What is on its way to another shard can be deleted or given up, nothing else. */
	if (q->r.state == QUEUE_MOVING && c->action != QUEUE_DELETE && c->action != QUEUE_BOUNCE)
		return false;
	switch (c->action) {
	case QUEUE_RETRY:
		if (q->r.state != QUEUE_SCHEDULED)
			return false;
		q->r.next_ms = w->now_ms;
		return true;
	case QUEUE_HOLD:
		if (q->r.state == QUEUE_HELD)
			return false;
		q->r.state = QUEUE_HELD;
		return true;
	case QUEUE_RELEASE:
		if (q->r.state != QUEUE_HELD)
			return false;
		q->r.state = QUEUE_SCHEDULED;
		return true;
	case QUEUE_BOUNCE:
		q->r.state = QUEUE_SCHEDULED;
		q->r.notify |= NOTIFY_RETURN;
		q->r.next_ms = w->now_ms;
		return true;
	case QUEUE_PRIORITY:
		if (q->r.priority == c->priority)
			return false;
		q->r.priority = c->priority;
		return true;
	default:
		return true;
	}
}

/* First row of a message at or after recipient `from`. */
static int row_next(struct writer *w, uint64_t id, uint32_t from, struct queue_row *q)
{
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(w->txn, w->db, DB_QR, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id_n(&k, id, from));
	if (!rc && key_get_u64(c.key, 0) != id)
		rc = MDB_NOTFOUND;
	if (!rc) {
		q->id = id;
		q->rcpt = key_get_u32(c.key, 8);
		rc = queue_row_parse(c.value, q);
	}
	db_cursor_close(&c);
	return rc;
}

static int admin_row(struct writer *w, const struct change *c, struct queue_row *q,
	uint32_t *changed, uint64_t *owners)
{
	uint64_t before_ms = q->r.next_ms;
	bool moving = q->r.state == QUEUE_MOVING;
	struct queue_row was = *q;

	if (!admin_change(w, c, q))
		return 0;
	int rc = moving ? writer_move_end(w, &was) : 0;
	if (rc)
		return rc;
	if (moving)
		q->r.attempts = 0;
	++*changed;
	if (w->store->ready_count)
		*owners |= 1ull << store_domain_owner(queue_row_domain(q), w->store->ready_count);
	return c->action == QUEUE_DELETE ? queue_row_del(w, q) : queue_row_change(w, q, before_ms);
}

static int admin_rows(struct writer *w, struct queue_admin_op *a, uint64_t *owners)
{
	struct change c = {a->action, a->priority};
	struct queue_row q;

	/* Each step goes on behind the last; behind the message's own are those of aliases. */
	for (uint32_t from = 0; from < MESSAGE_RCPT_MAX + EXPANDED_MAX + MOVE_RCPTS_MAX;
		from = q.rcpt + 1) {
		int rc = row_next(w, a->id, from, &q);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (!rc)
			rc = admin_row(w, &c, &q, &a->changed, owners);
		if (rc)
			return rc;
	}
	return 0;
}

int writer_apply_queue_admin(struct writer *w, struct op *op)
{
	struct queue_admin_op *a = container_of(op, struct queue_admin_op, op);
	uint64_t owners = 0;
	struct bytes row;

	a->changed = 0;
	if (!change_valid(&(struct change){a->action, a->priority})) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = queue_message_get(w, a->id, &row);
	if (rc == MDB_NOTFOUND) {
		op->status = -ENOENT;
		return 0;
	}
	if (!rc)
		rc = admin_rows(w, a, &owners);
	if (!rc && a->action == QUEUE_DELETE) {
		rc = queue_message_get(w, a->id, &row);
		if (!rc)
			rc = queue_message_reduce(w, a->id, row, UINT32_MAX);
	}
	if (rc || owners == 0)
		return rc;
	return writer_effect(w, &(struct effect){.value = a->id, .owners = owners});
}

/* ---- by filter ---- */

/* Where a slice stands and what it has done. */
struct slice {
	struct queue_slice_op *op;
	struct change change;
	uint32_t left; /* rows that may still be looked at */
};

/* One recipient that may be meant; what deletion leaves of its message is counted at once. */
static int slice_row(struct writer *w, struct slice *s, struct queue_row *q)
{
	struct queue_slice_op *op = s->op;
	uint64_t owners = 0;
	uint32_t changed = 0;
	struct bytes row;
	struct q_view m;
	int rc = queue_message_get(w, q->id, &row);

	s->left--;
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (q_parse(row, &m))
		return MDB_CORRUPTED;
	if (!queue_filter_message(op->filter, &m) ||
		!queue_filter_recipient(
			op->filter, bytes_make(q->text, q->r.address_n), q->r.domain_at))
		return 0;
	rc = admin_row(w, &s->change, q, &changed, &owners);
	if (!rc && changed && op->action == QUEUE_DELETE) {
		rc = queue_message_get(w, q->id, &row);
		if (!rc)
			rc = queue_message_reduce(w, q->id, row, 1);
	}
	if (rc || !changed)
		return rc;
	op->recipients++;
	op->messages += op->counted_id != q->id;
	op->counted_id = q->id;
	return owners ? writer_effect(w, &(struct effect){.value = q->id, .owners = owners}) : 0;
}

/* All recipients of a message from op->at_rcpt on.  MDB_NOTFOUND: they are through. */
static int slice_message(struct writer *w, struct slice *s, uint64_t id)
{
	struct queue_slice_op *op = s->op;
	struct queue_row q;

	while (s->left) {
		int rc = row_next(w, id, op->at_rcpt, &q);
		if (rc)
			return rc;
		op->at_rcpt = q.rcpt + 1;
		rc = slice_row(w, s, &q);
		if (rc)
			return rc;
	}
	return 0;
}

/* Message by message, along the index of senders or the queue itself. */
static int slice_messages(struct writer *w, struct slice *s, bool by_sender)
{
	struct queue_slice_op *op = s->op;
	const char *sender = strcmp(op->filter->sender, "<>") == 0 ? "" : op->filter->sender;
	uint64_t hash = queue_index_hash(bytes_str(sender));

	while (s->left) {
		struct key from, k;
		struct bytes v;
		int rc = by_sender ? writer_first_row(
					     w, DB_QS, key_qs(&from, hash, op->at_id), 8, &k, &v)
				   : writer_first_row(w, DB_Q, key_id(&from, op->at_id), 0, &k, &v);
		if (rc)
			return rc;
		uint64_t id = key_get_u64(key_view(&k), by_sender ? 8 : 0);
		if (id != op->at_id)
			op->at_rcpt = 0;
		op->at_id = id;
		s->left--; /* a look costs, whoever has it */
		rc = slice_message(w, s, id);
		if (rc && rc != MDB_NOTFOUND)
			return rc;
		if (rc == MDB_NOTFOUND) {
			op->at_id = id + 1;
			op->at_rcpt = 0;
		}
	}
	return 0;
}

/* Recipient by recipient, along the index of domains and addresses. */
static int slice_recipients(struct writer *w, struct slice *s, bool one_address)
{
	struct queue_slice_op *op = s->op;
	struct bytes address = bytes_str(op->filter->recipient);
	ptrdiff_t at = bytes_rfind(address, '@');
	struct bytes domain =
		one_address ? bytes_skip(address, (size_t)(at + 1)) : bytes_str(op->filter->domain);
	uint64_t hash = queue_index_hash(domain);

	if (one_address && op->at_hash == 0)
		op->at_hash = (uint32_t)queue_index_hash(address);
	while (s->left) {
		struct key from, k;
		struct queue_row q;
		struct bytes v;
		int rc = writer_first_row(w, DB_QD,
			key_qd(&from, hash, op->at_hash, op->at_id, op->at_rcpt),
			one_address ? 12 : 8, &k, &v);
		if (rc)
			return rc;
		op->at_hash = key_get_u32(key_view(&k), 8);
		op->at_id = key_get_u64(key_view(&k), 12);
		uint32_t rcpt = key_get_u32(key_view(&k), 20);
		op->at_rcpt = rcpt + 1;
		rc = queue_row_get(w, op->at_id, rcpt, &q);
		if (!rc)
			rc = slice_row(w, s, &q);
		else if (rc == MDB_NOTFOUND)
			rc = db_del(w->txn, w->db, DB_QD, key_view(&k));
		if (rc)
			return rc;
	}
	return 0;
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
	int rc;

	a->messages = a->recipients = 0;
	a->end = false;
	if (!change_valid(&s.change) || (f->recipient[0] && !strchr(f->recipient, '@'))) {
		op->status = -EINVAL;
		return 0;
	}
	if (f->recipient[0] || f->domain[0])
		rc = slice_recipients(w, &s, f->recipient[0]);
	else
		rc = slice_messages(w, &s, f->sender[0]);
	a->end = rc == MDB_NOTFOUND;
	return a->end ? 0 : rc;
}

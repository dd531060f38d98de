/* SPDX-License-Identifier: BSD-3-Clause
 * What operators do to a message of the queue.  Writer thread. */
#include <errno.h>
#include "store/writer_queue.h"

bool queue_change_valid(const struct queue_change *c)
{
	return c->action < QUEUE_ACTION_N && c->priority >= MESSAGE_PRIORITY_MIN &&
	       c->priority <= MESSAGE_PRIORITY_MAX;
}

/* True when the action changes this row; then the row is changed in memory. */
static bool admin_change(struct writer *w, const struct queue_change *c, struct queue_row *q)
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

int queue_row_next(struct writer *w, uint64_t id, uint32_t from, struct queue_row *q)
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

int queue_row_act(struct writer *w, const struct queue_change *c, struct queue_row *q,
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
	struct queue_change c = {a->action, a->priority};
	struct queue_row q;

	/* Each step goes on behind the last; behind the message's own are those of aliases. */
	for (uint32_t from = 0; from < MESSAGE_RCPT_MAX + EXPANDED_MAX + MOVE_RCPTS_MAX;
		from = q.rcpt + 1) {
		int rc = queue_row_next(w, a->id, from, &q);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (!rc)
			rc = queue_row_act(w, &c, &q, &a->changed, owners);
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
	if (!queue_change_valid(&(struct queue_change){a->action, a->priority})) {
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

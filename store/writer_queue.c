/* SPDX-License-Identifier: BSD-3-Clause
 * The queue's rows: outcomes of delivery attempts.  Writer thread. */
#include <errno.h>
#include "store/body.h"
#include "store/writer_queue.h"

int queue_row_parse(struct bytes v, struct queue_row *q)
{
	if (!rec_read(v, &q->r, sizeof(q->r)) ||
		v.n != sizeof(q->r) + q->r.address_n + q->r.orcpt_n + q->r.reason_n ||
		q->r.address_n > ADDRESS_MAX || q->r.orcpt_n > DSN_ORCPT_MAX ||
		q->r.reason_n > STORE_REASON_MAX || q->r.domain_at > q->r.address_n)
		return MDB_CORRUPTED;
	size_t text_n = (size_t)q->r.address_n + q->r.orcpt_n;
	memcpy(q->text, v.p + sizeof(q->r), text_n);
	memcpy(q->reason, v.p + sizeof(q->r) + text_n, q->r.reason_n);
	return 0;
}

int queue_row_get(struct writer *w, uint64_t id, uint32_t rcpt, struct queue_row *q)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_QR, key_id_n(&k, id, rcpt), &v);

	q->id = id;
	q->rcpt = rcpt;
	return rc ? rc : queue_row_parse(v, q);
}

struct bytes queue_row_domain(const struct queue_row *q)
{
	return bytes_make(q->text + q->r.domain_at, q->r.address_n - q->r.domain_at);
}

/* Writes a row that is changed; before_ms is where the schedule has it. */
int queue_row_change(struct writer *w, const struct queue_row *q, uint64_t before_ms)
{
	uint8_t row[sizeof(q->r) + sizeof(q->text) + STORE_REASON_MAX];
	struct bytes domain = queue_row_domain(q);
	struct qt_rec qt = {.attempts = (uint16_t)MIN(q->r.attempts, (uint32_t)UINT16_MAX),
		.state_priority = qt_state_priority(q->r.state, q->r.priority),
		.domain_n = (uint8_t)MIN(domain.n, (size_t)DOMAIN_MAX)};
	struct key k;
	size_t n = sizeof(q->r);

	memcpy(row, &q->r, n);
	memcpy(row + n, q->text, (size_t)q->r.address_n + q->r.orcpt_n);
	n += (size_t)q->r.address_n + q->r.orcpt_n;
	memcpy(row + n, q->reason, q->r.reason_n);
	n += q->r.reason_n;
	int rc = db_put(w->txn, w->db, DB_QR, key_id_n(&k, q->id, q->rcpt), bytes_make(row, n));
	if (!rc && before_ms != q->r.next_ms) {
		rc = db_del(w->txn, w->db, DB_QT, key_qt(&k, before_ms, q->id, q->rcpt));
		rc = rc == MDB_NOTFOUND ? 0 : rc;
	}
	if (rc)
		return rc;
	memcpy(row, &qt, sizeof(qt));
	memcpy(row + sizeof(qt), domain.p, qt.domain_n);
	return db_put(w->txn, w->db, DB_QT, key_qt(&k, q->r.next_ms, q->id, q->rcpt),
		bytes_make(row, sizeof(qt) + qt.domain_n));
}

int queue_row_del(struct writer *w, const struct queue_row *q)
{
	struct key k;
	int rc = db_del(w->txn, w->db, DB_QT, key_qt(&k, q->r.next_ms, q->id, q->rcpt));

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	writer_index_gone(w, q->id);
	return db_del(w->txn, w->db, DB_QR, key_id_n(&k, q->id, q->rcpt));
}

/* `done` recipients are finished; the last one takes message and body with it. */
int queue_message_reduce(struct writer *w, uint64_t id, struct bytes row, uint32_t done)
{
	uint8_t copy[Q_ROW_MAX];
	struct q_rec q;
	struct key k;

	if (row.n > sizeof(copy) || !rec_read(row, &q, sizeof(q)))
		return MDB_CORRUPTED;
	if (done < q.pending) {
		q.pending -= done;
		memcpy(copy, row.p, row.n);
		memcpy(copy, &q, sizeof(q));
		return db_put(w->txn, w->db, DB_Q, key_id(&k, id), bytes_make(copy, row.n));
	}
	writer_index_gone(w, id);
	int rc = db_del(w->txn, w->db, DB_Q, key_id(&k, id));
	return rc ? rc : body_unref(w, id);
}

int queue_message_get(struct writer *w, uint64_t id, struct bytes *row_r)
{
	struct key k;

	return db_get(w->txn, w->db, DB_Q, key_id(&k, id), row_r);
}

/* An attempt is over: the row goes, or gets its next attempt. */
static int result_apply(
	struct writer *w, uint64_t id, const struct rcpt_result *res, uint32_t *done)
{
	struct queue_row q;

	if (res->outcome < ATTEMPT_DELIVERED || res->outcome > ATTEMPT_FAILED)
		return EINVAL;
	int rc = queue_row_get(w, id, res->rcpt, &q);
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc; /* an operator deleted it meanwhile */
	if (res->outcome != ATTEMPT_DEFERRED) {
		++*done;
		return queue_row_del(w, &q);
	}
	uint64_t before_ms = q.r.next_ms;
	q.r.next_ms = res->next_ms;
	q.r.attempts++;
	if (res->warned)
		q.r.notify |= NOTIFY_WARNED;
	q.r.code = res->code;
	q.r.reason_n = MIN(res->reason_n, (uint8_t)STORE_REASON_MAX);
	memcpy(q.reason, res->reason, q.r.reason_n);
	return queue_row_change(w, &q, before_ms);
}

static int bounce_store(struct writer *w, struct message *bounce, int *status_r)
{
	struct stored stored;
	int rc = body_check(w, bounce, status_r);

	if (rc || *status_r)
		return rc;
	/* A bounce to a mailbox that is gone has nowhere to go. */
	return writer_message_store(w, bounce, &stored);
}

int writer_apply_result(struct writer *w, struct op *op)
{
	struct results_op *res = container_of(op, struct results_op, op);
	uint8_t copy[Q_ROW_MAX]; /* of the message's row, which stays as it is until the end */
	uint32_t done = 0;
	struct bytes row;
	int rc = queue_message_get(w, res->id, &row);

	if (rc == MDB_NOTFOUND)
		op->status = -ENOENT;
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (row.n > sizeof(copy))
		return MDB_CORRUPTED;
	memcpy(copy, row.p, row.n);
	if (res->bounce) {
		rc = bounce_store(w, res->bounce, &op->status);
		if (op->status)
			op->status = -EINVAL;
		if (rc || op->status)
			return rc;
	}
	for (uint32_t i = 0; i < res->count; i++) {
		rc = result_apply(w, res->id, &res->results[i], &done);
		if (rc)
			return rc;
	}
	return done ? queue_message_reduce(w, res->id, bytes_make(copy, row.n), done) : 0;
}

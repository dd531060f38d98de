/* SPDX-License-Identifier: BSD-3-Clause
 * The queue's rows: outcomes of delivery attempts, and what an operator does.  Writer thread. */
#include <errno.h>
#include "store/body.h"
#include "store/writer.h"

/* One recipient's row, taken apart. */
struct queue_row {
	uint64_t id;
	uint32_t rcpt;
	struct qr_rec r;
	uint8_t text[ADDRESS_MAX + DSN_ORCPT_MAX]; /* address, ORCPT */
	char reason[STORE_REASON_MAX];
};

static int row_parse(struct bytes v, struct queue_row *q)
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

static int row_get(struct writer *w, uint64_t id, uint32_t rcpt, struct queue_row *q)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_QR, key_id_n(&k, id, rcpt), &v);

	q->id = id;
	q->rcpt = rcpt;
	return rc ? rc : row_parse(v, q);
}

static struct bytes row_domain(const struct queue_row *q)
{
	return bytes_make(q->text + q->r.domain_at, q->r.address_n - q->r.domain_at);
}

/* Writes a row that is changed; before_ms is where the schedule has it. */
static int row_put(struct writer *w, const struct queue_row *q, uint64_t before_ms)
{
	uint8_t row[sizeof(q->r) + sizeof(q->text) + STORE_REASON_MAX];
	struct bytes domain = row_domain(q);
	struct qt_rec qt = {.attempts = (uint16_t)MIN(q->r.attempts, (uint32_t)UINT16_MAX),
		.state = q->r.state,
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

static int row_del(struct writer *w, const struct queue_row *q)
{
	struct key k;
	int rc = db_del(w->txn, w->db, DB_QT, key_qt(&k, q->r.next_ms, q->id, q->rcpt));

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	return db_del(w->txn, w->db, DB_QR, key_id_n(&k, q->id, q->rcpt));
}

/* `done` recipients are finished; the last one takes message and body with it. */
static int message_reduce(struct writer *w, uint64_t id, struct bytes row, uint32_t done)
{
	uint8_t copy[sizeof(struct q_rec) + ADDRESS_MAX + DSN_ENVID_MAX];
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
	int rc = db_del(w->txn, w->db, DB_Q, key_id(&k, id));
	return rc ? rc : body_unref(w, id);
}

static int message_get(struct writer *w, uint64_t id, struct bytes *row_r)
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
	int rc = row_get(w, id, res->rcpt, &q);
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc; /* an operator deleted it meanwhile */
	if (res->outcome != ATTEMPT_DEFERRED) {
		++*done;
		return row_del(w, &q);
	}
	uint64_t before_ms = q.r.next_ms;
	q.r.next_ms = res->next_ms;
	q.r.attempts++;
	if (res->warned)
		q.r.notify |= NOTIFY_WARNED;
	q.r.code = res->code;
	q.r.reason_n = MIN(res->reason_n, (uint8_t)STORE_REASON_MAX);
	memcpy(q.reason, res->reason, q.r.reason_n);
	return row_put(w, &q, before_ms);
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
	uint32_t done = 0;
	struct bytes row;
	int rc = message_get(w, res->id, &row);

	if (rc == MDB_NOTFOUND)
		op->status = -ENOENT;
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
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
	if (done == 0)
		return 0;
	rc = message_get(w, res->id, &row);
	return rc ? rc : message_reduce(w, res->id, row, done);
}

/* ---- operators ---- */

/* True when the action changes this row; then the row is changed in memory. */
static bool admin_change(struct writer *w, uint8_t action, struct queue_row *q)
{
	switch (action) {
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
		rc = row_parse(c.value, q);
	}
	db_cursor_close(&c);
	return rc;
}

static int admin_row(
	struct writer *w, struct queue_admin_op *a, struct queue_row *q, uint64_t *owners)
{
	uint64_t before_ms = q->r.next_ms;

	if (!admin_change(w, a->action, q))
		return 0;
	a->changed++;
	if (w->store->ready_count)
		*owners |= 1ull << store_domain_owner(row_domain(q), w->store->ready_count);
	return a->action == QUEUE_DELETE ? row_del(w, q) : row_put(w, q, before_ms);
}

static int admin_rows(struct writer *w, struct queue_admin_op *a, uint64_t *owners)
{
	struct queue_row q;

	/* At most MESSAGE_RCPT_MAX rows; each step goes on behind the last. */
	for (uint32_t from = 0; from < MESSAGE_RCPT_MAX; from = q.rcpt + 1) {
		int rc = row_next(w, a->id, from, &q);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (!rc)
			rc = admin_row(w, a, &q, owners);
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
	if (a->action > QUEUE_RELEASE) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = message_get(w, a->id, &row);
	if (rc == MDB_NOTFOUND) {
		op->status = -ENOENT;
		return 0;
	}
	if (!rc)
		rc = admin_rows(w, a, &owners);
	if (!rc && a->action == QUEUE_DELETE) {
		rc = message_get(w, a->id, &row);
		if (!rc)
			rc = message_reduce(w, a->id, row, UINT32_MAX);
	}
	if (rc || owners == 0)
		return rc;
	return writer_effect(w, &(struct effect){.value = a->id, .owners = owners});
}

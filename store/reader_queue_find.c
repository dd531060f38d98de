/* SPDX-License-Identifier: BSD-3-Clause
 * The queue by sender, by recipient, by domain: along its index, and then through what is not in it
 * yet.  Reader threads. */
#include <errno.h>
#include "store/db_queue_index.h"
#include "store/reader_queue.h"

#define STOP 1 /* of each(): found */

/* Which recipient of a message is the first that the filter means? */
struct first {
	const struct queue_filter *filter;
	uint32_t rcpt;
};

static int first_look(void *ctx, const struct qr_view *q)
{
	struct first *f = ctx;

	if (!queue_filter_recipient(f->filter, q->address, q->r.domain_at))
		return 0;
	f->rcpt = q->rcpt;
	return STOP;
}

/* QI_NONE: there is none. */
static int first_find(
	struct reader *r, const struct queue_filter *filter, uint64_t id, uint32_t *rcpt_r)
{
	struct first f = {.filter = filter, .rcpt = QI_NONE};
	int rc = reader_each_recipient(r, id, first_look, &f);

	*rcpt_r = f.rcpt;
	return rc == STOP ? 0 : rc;
}

static int line(struct reader *r, struct queue_list_op *op, uint64_t id, bool *found_r)
{
	struct q_view q;
	struct bytes v;
	struct key k;
	int rc = db_get(r->txn, &r->store->db, DB_Q, key_id(&k, id), &v);

	*found_r = false;
	if (!rc)
		rc = q_parse(v, &q);
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	*found_r = queue_filter_message(op->filter, &q);
	return *found_r ? reader_list_message(r, id, &q, &op->out) : 0;
}

/* A row of the index may be stale, or another's with the same hash; and of several recipients of
 * one message the first is shown. */
static int row(struct reader *r, struct queue_list_op *op, uint32_t rcpt, bool *found_r)
{
	uint32_t first = QI_SENDER;
	int rc = rcpt == QI_SENDER ? 0 : first_find(r, op->filter, op->at.id, &first);

	*found_r = false;
	return rc || first != rcpt ? rc : line(r, op, op->at.id, found_r);
}

/* ---- what is not in the index yet ---- */

static int young_row(
	struct reader *r, struct queue_list_op *op, struct db_cursor *c, uint64_t id, bool *found_r)
{
	struct chain_mark mark = chain_mark_get(&op->out);
	struct qr_view q;
	struct key k;
	int rc = qr_parse(c->key, c->value, &q);

	*found_r = false;
	if (rc)
		return rc;
	if (!queue_filter_recipient(op->filter, q.address, q.r.domain_at))
		return db_cursor_next(c);
	rc = line(r, op, id, found_r);
	if (rc) {
		chain_rollback(&op->out, &mark);
		return rc;
	}
	/* A message has one line. */
	op->at.id = id + 1;
	return db_cursor_seek(c, key_id_n(&k, id + 1, 0));
}

static int young_rows(struct reader *r, struct queue_list_op *op, struct db_cursor *c, uint32_t n)
{
	struct key k;
	int rc = db_cursor_seek(c, key_id_n(&k, op->at.id, 0));

	while (!rc && n < op->max_messages) {
		uint64_t id = key_get_u64(c->key, 0);
		bool found;
		if (id != op->at.id && reader_slice_over(r, op->out.bytes)) {
			op->at.id = id;
			return 0;
		}
		op->at.id = id;
		rc = young_row(r, op, c, id, &found);
		if (rc == ENOBUFS && n > 0)
			return 0;
		n += found;
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Recipient by recipient; of a sender, message by message. */
static int young(struct reader *r, struct queue_list_op *op, uint32_t n)
{
	const struct queue_filter *f = op->filter;
	struct db_cursor c;

	if (!f->recipient[0] && !f->domain[0])
		return reader_list_queue(r, op, n);
	int rc = db_cursor_open(r->txn, &r->store->db, DB_QR, &c);
	if (rc)
		return rc;
	rc = young_rows(r, op, &c, n);
	db_cursor_close(&c);
	return rc;
}

int reader_queue_find(struct reader *r, struct queue_list_op *op)
{
	const struct db *db = &r->store->db;
	uint32_t n = 0, rcpt;
	int rc = 0;

	while (n < op->max_messages) {
		struct chain_mark mark = chain_mark_get(&op->out);
		bool found = false;
		rc = queue_index_next(r->txn, db, op->filter, &op->at, &rcpt);
		if (rc)
			break;
		if (rcpt != QI_NONE) {
			rc = row(r, op, rcpt, &found);
			if (rc) {
				chain_rollback(&op->out, &mark);
				return rc == ENOBUFS && n > 0 ? 0 : rc;
			}
			queue_index_behind(&op->at, rcpt);
		}
		n += found;
		if (reader_slice_over(r, op->out.bytes))
			return 0;
	}
	return rc == MDB_NOTFOUND ? young(r, op, n) : rc;
}

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

int reader_has_recipient(
	struct reader *r, const struct queue_filter *filter, uint64_t id, bool *has_r)
{
	uint32_t first;
	int rc = first_find(r, filter, id, &first);

	*has_r = first != QI_NONE;
	return rc;
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
	return rc == MDB_NOTFOUND ? reader_list_queue(r, op, n) : rc;
}

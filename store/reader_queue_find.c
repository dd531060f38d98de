/* SPDX-License-Identifier: BSD-3-Clause
 * The queue by sender, by recipient, by domain: along its indices.  Reader threads. */
#include <errno.h>
#include "store/queue_index.h"
#include "store/reader_queue.h"

#define STOP 1 /* of each(): found */

/* Is this recipient the first of its message that the filter means?  A message has one line. */
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

static int is_first(struct reader *r, const struct queue_filter *filter, uint64_t id, uint32_t rcpt,
	bool *first_r)
{
	struct first f = {.filter = filter, .rcpt = UINT32_MAX};
	int rc = reader_each_recipient(r, id, first_look, &f);

	*first_r = rc == STOP && f.rcpt == rcpt;
	return rc == STOP ? 0 : rc;
}

static int line(struct reader *r, struct queue_list_op *op, uint64_t id)
{
	struct q_view q;
	struct bytes v;
	struct key k;
	int rc = db_get(r->txn, &r->store->db, DB_Q, key_id(&k, id), &v);

	if (!rc)
		rc = q_parse(v, &q);
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	return queue_filter_message(op->filter, &q) ? reader_list_message(r, id, &q, &op->out) : 0;
}

/* Where the index has the next row, in op; *found_r: a message to be shown. */
static int index_row(struct reader *r, struct queue_list_op *op, const struct db_cursor *c,
	bool by_sender, bool *found_r)
{
	if (by_sender) {
		op->from_id = key_get_u64(c->key, 8);
		*found_r = true;
		return 0;
	}
	op->at_hash = key_get_u32(c->key, 8);
	op->from_id = key_get_u64(c->key, 12);
	op->at_rcpt = key_get_u32(c->key, 20);
	return is_first(r, op->filter, op->from_id, op->at_rcpt, found_r);
}

/* The next slice begins behind what has been looked at. */
static void go_behind(struct queue_list_op *op, bool by_sender)
{
	op->from_id += by_sender;
	op->at_rcpt += !by_sender;
}

static int rows(struct reader *r, struct queue_list_op *op, struct db_cursor *c, struct bytes from,
	size_t prefix_n, bool by_sender)
{
	int rc = db_cursor_seek(c, from);

	for (uint32_t n = 0; !rc && n < op->max_messages;) {
		struct chain_mark mark = chain_mark_get(&op->out);
		bool found = false;
		if (c->key.n < prefix_n || memcmp(c->key.p, from.p, prefix_n) != 0) {
			rc = MDB_NOTFOUND;
			break;
		}
		rc = index_row(r, op, c, by_sender, &found);
		if (!rc && found)
			rc = line(r, op, op->from_id);
		if (rc) {
			chain_rollback(&op->out, &mark);
			return rc == ENOBUFS && n > 0 ? 0 : rc;
		}
		go_behind(op, by_sender);
		n += found;
		if (reader_slice_over(r, op->out.bytes))
			return 0;
		rc = db_cursor_next(c);
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int by_sender(struct reader *r, struct queue_list_op *op)
{
	const char *sender = strcmp(op->filter->sender, "<>") == 0 ? "" : op->filter->sender;
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_QS, &c);

	if (rc)
		return rc;
	rc = rows(r, op, &c, key_qs(&k, queue_index_hash(bytes_str(sender)), op->from_id), 8, true);
	db_cursor_close(&c);
	return rc;
}

static int by_recipient(struct reader *r, struct queue_list_op *op)
{
	struct bytes address = bytes_str(op->filter->recipient);
	ptrdiff_t at = bytes_rfind(address, '@');
	struct bytes domain =
		address.n ? bytes_skip(address, (size_t)(at + 1)) : bytes_str(op->filter->domain);
	struct db_cursor c;
	struct key k;

	if (address.n && at < 0)
		return EINVAL;
	if (address.n && op->at_hash == 0)
		op->at_hash = (uint32_t)queue_index_hash(address);
	int rc = db_cursor_open(r->txn, &r->store->db, DB_QD, &c);
	if (rc)
		return rc;
	rc = rows(r, op, &c,
		key_qd(&k, queue_index_hash(domain), op->at_hash, op->from_id, op->at_rcpt),
		address.n ? 12 : 8, false);
	db_cursor_close(&c);
	return rc;
}

int reader_queue_find(struct reader *r, struct queue_list_op *op)
{
	const struct queue_filter *f = op->filter;
	int rc = f->recipient[0] || f->domain[0] ? by_recipient(r, op) : by_sender(r, op);

	if (rc)
		chain_free(&op->out);
	return rc;
}

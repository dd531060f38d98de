/* SPDX-License-Identifier: BSD-3-Clause
 * What is on its way between shards, for the courier.  Reader threads. */
#include <errno.h>
#include "store/reader_queue.h"

/* The account that a recipient is for; 0: the row is not what it should be, and goes when it comes
 * back from there. */
static int account_of(struct reader *r, uint64_t id, uint32_t rcpt, uint32_t *account_r)
{
	struct qr_view q;
	struct bytes v;
	struct key k;
	int rc = db_get(r->txn, &r->store->db, DB_QR, key_id_n(&k, id, rcpt), &v);

	*account_r = 0;
	if (!rc && qr_parse(key_view(&k), v, &q) == 0 && q.r.state == QUEUE_MOVING)
		*account_r = q.r.attempts;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int move_row(struct reader *r, struct moves_read_op *op, struct bytes key)
{
	struct move_row row = {.id = key_get_u64(key, 4), .rcpt = key_get_u32(key, 12)};
	int rc = account_of(r, row.id, row.rcpt, &row.account);

	return rc ? rc : reader_record(&op->out, &row, sizeof(row));
}

/* A message's recipients are never parted between two slices. */
static int move_rows(struct reader *r, struct moves_read_op *op, struct db_cursor *c)
{
	struct key k;
	uint64_t last = 0;
	int rc = db_cursor_seek(c, key_move(&k, op->shard, op->from_id, 0));

	for (uint32_t n = 0; !rc; n++) {
		if (c->key.n != 16)
			return EIO;
		if (key_get_u32(c->key, 0) != op->shard)
			break;
		uint64_t id = key_get_u64(c->key, 4);
		if (id != last && (n >= op->max_rows || reader_slice_over(r, op->out.bytes))) {
			op->from_id = id;
			return 0;
		}
		last = id;
		rc = move_row(r, op, c->key);
		if (!rc)
			rc = db_cursor_next(c);
	}
	op->end = !rc || rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_moves(struct reader *r, struct op *o)
{
	struct moves_read_op *op = container_of(o, struct moves_read_op, op);
	struct db_cursor c;

	op->out = (struct chain){0};
	op->end = false;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_MOVE, &c);
	if (rc)
		return rc;
	rc = move_rows(r, op, &c);
	db_cursor_close(&c);
	if (rc)
		chain_free(&op->out);
	return rc;
}

int reader_dedup(struct reader *r, struct op *o)
{
	struct dedup_read_op *op = container_of(o, struct dedup_read_op, op);
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_DEDUP, &c);

	op->end = false;
	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id(&k, op->from_id));
	if (!rc && c.key.n != 12)
		rc = EIO;
	if (!rc)
		op->id = key_get_u64(c.key, 0);
	db_cursor_close(&c);
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

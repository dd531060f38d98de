/* SPDX-License-Identifier: BSD-3-Clause
 * Local recipients whose mailbox is in another shard.  In the transaction that accepts the message
 * they get rows in the queue of its own shard (state QUEUE_MOVING, and a row in `move`); the
 * courier (courier.h) then has three transactions made, in this order:
 *
 *   in      there: body, mailbox rows, and a row in `dedup` for each recipient, with the verdict
 *   out     here: the recipients' rows go, or become those of a bounce or a report
 *   forget  there: the rows in `dedup` go
 *
 * Each may be repeated: what `dedup` has is answered from there.  So a crash between any two of
 * them neither loses nor doubles anything.  Writer threads. */
#include <errno.h>
#include "store/body.h"
#include "store/writer_queue.h"

int writer_move_put(struct writer *w, uint32_t account, uint64_t id, uint32_t rcpt)
{
	struct key k;

	w->effects->moves = true;
	return db_put(w->txn, w->db, DB_MOVE,
		key_move(&k, store_shard_of(w->store, account), id, rcpt), BYTES_NONE);
}

static int move_del(struct writer *w, unsigned shard, uint64_t id, uint32_t rcpt)
{
	struct key k;
	int rc = db_del(w->txn, w->db, DB_MOVE, key_move(&k, shard, id, rcpt));

	return rc == MDB_NOTFOUND ? 0 : rc;
}

int writer_move_end(struct writer *w, struct queue_row *q)
{
	int rc = move_del(w, store_shard_of(w->store, q->r.attempts), q->id, q->rcpt);

	q->r.state = QUEUE_SCHEDULED;
	q->r.attempts = 0;
	return rc;
}

/* ---- who it is for: part of the plan of a message (writer_accept.c) ---- */

bool writer_move_wanted(const struct writer *w, uint32_t account)
{
	return account < ALIAS_FIRST && store_shard_of(w->store, account) != w->store->shard;
}

/* Whether its mailbox takes it, as far as this shard can know. */
static bool looks_open(const struct writer *w, struct bytes address)
{
	const struct directory *d = directory_public(w->store->directory);
	struct directory_entry unused;

	return d->lookup(d, address, &unused) == DIRECTORY_OK;
}

static struct writer_moved *moved_find(struct writer_expansion *e, uint32_t account)
{
	for (uint32_t i = 0; i < e->moved_n; i++) {
		if (e->moved[i].account == account)
			return &e->moved[i];
	}
	return NULL;
}

bool writer_move_add(
	struct writer *w, uint32_t account, struct bytes address, uint32_t number, bool *again_r)
{
	struct writer_expansion *e = w->expansion;

	*again_r = moved_find(e, account) != NULL;
	if (*again_r)
		return true;
	if (e->moved_n == ARRAY_LEN(e->moved) || !looks_open(w, address))
		return false;
	struct writer_moved *m = &e->moved[e->moved_n++];
	m->account = account;
	m->number = number;
	ptrdiff_t at = bytes_rfind(address, '@');
	m->to.rcpt = e->rcpt;
	m->to.alone = false;
	m->to.n = (uint16_t)address.n;
	m->to.domain_at = (uint16_t)(at + 1);
	memcpy(m->to.address, address.p, address.n);
	return true;
}

/* ---- in ---- */

static int dedup_get(struct writer *w, uint64_t id, uint32_t rcpt, struct dedup_rec *r)
{
	struct bytes v;
	struct key k;
	int rc = db_get(w->txn, w->db, DB_DEDUP, key_id_n(&k, id, rcpt), &v);

	if (!rc && !rec_read(v, r, sizeof(*r)))
		return MDB_CORRUPTED;
	return rc;
}

/* What becomes of one recipient: as it was before, or as its account says now. */
static int look(struct writer *w, const struct move_in_op *m, struct move_rcpt *r)
{
	struct dedup_rec d;
	struct acct a;
	int rc = dedup_get(w, m->id, r->rcpt, &d);

	r->known = rc == 0;
	if (r->known)
		r->taken = d.taken;
	if (rc != MDB_NOTFOUND)
		return rc;
	rc = writer_acct_get(w, r->account, &a);
	r->taken = rc == 0 && a.r.state == ACCT_OK &&
		   writer_acct_has_room(w, &a, 1, body_view_bytes(m->message));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int deliver_one(struct writer *w, const struct move_in_op *m, const struct move_rcpt *r)
{
	struct dedup_rec d = {.at_ms = w->now_ms, .taken = r->taken};
	struct key k;
	int rc = r->taken ? writer_deliver(w, m->message, r->account) : 0;

	if (rc)
		return rc;
	return db_put(
		w->txn, w->db, DB_DEDUP, key_id_n(&k, m->id, r->rcpt), bytes_make(&d, sizeof(d)));
}

int writer_apply_move_in(struct writer *w, struct op *op)
{
	struct move_in_op *m = container_of(op, struct move_in_op, op);
	uint32_t fresh = 0;
	int rc = 0;

	for (uint32_t i = 0; i < m->count && !rc; i++) {
		rc = look(w, m, &m->rcpts[i]);
		fresh += !m->rcpts[i].known && m->rcpts[i].taken;
	}
	if (!rc && fresh)
		rc = body_check(w, m->message, &op->status);
	if (rc || op->status)
		return rc;
	rc = fresh ? body_put(w, m->message, fresh) : body_drop_parts(w, m->message->id);
	for (uint32_t i = 0; i < m->count && !rc; i++) {
		if (!m->rcpts[i].known)
			rc = deliver_one(w, m, &m->rcpts[i]);
	}
	return rc;
}

/* ---- out ---- */

/* A row that delivery makes a bounce or a report of. */
static int row_report(struct writer *w, struct queue_row *q, bool taken, uint64_t *owners)
{
	uint64_t before_ms = q->r.next_ms;

	if (!taken)
		q->r.notify = (uint8_t)((q->r.notify & ~NOTIFY_DELIVERED) | NOTIFY_REFUSED);
	q->r.next_ms = w->now_ms;
	if (w->store->ready_count)
		*owners |= 1ull << store_domain_owner(queue_row_domain(q), w->store->ready_count);
	return queue_row_change(w, q, before_ms);
}

static int out_one(struct writer *w, const struct move_out_op *m, const struct move_rcpt *r,
	uint32_t *done, uint64_t *owners)
{
	struct queue_row q;
	int rc = move_del(w, m->shard, m->id, r->rcpt);

	if (!rc)
		rc = queue_row_get(w, m->id, r->rcpt, &q);
	/* Gone, or an operator's decision: then it is not on its way any more. */
	if (rc || q.r.state != QUEUE_MOVING)
		return rc == MDB_NOTFOUND ? 0 : rc;
	rc = writer_move_end(w, &q);
	if (rc)
		return rc;
	if (!r->taken || q.r.notify & NOTIFY_DELIVERED)
		return row_report(w, &q, r->taken, owners);
	++*done;
	return queue_row_del(w, &q);
}

int writer_apply_move_out(struct writer *w, struct op *op)
{
	struct move_out_op *m = container_of(op, struct move_out_op, op);
	uint64_t owners = 0;
	uint32_t done = 0;
	struct bytes row;
	int rc = 0;

	for (uint32_t i = 0; i < m->count && !rc; i++)
		rc = out_one(w, m, &m->rcpts[i], &done, &owners);
	if (!rc && owners)
		rc = writer_effect(w, &(struct effect){.value = m->id, .owners = owners});
	if (rc || done == 0)
		return rc;
	rc = queue_message_get(w, m->id, &row);
	return rc ? rc : queue_message_reduce(w, m->id, row, done);
}

/* ---- forget ---- */

int writer_apply_move_forget(struct writer *w, struct op *op)
{
	uint64_t id = container_of(op, struct move_forget_op, op)->id;

	for (uint32_t i = 0; i < MOVE_RCPTS_MAX; i++) {
		struct key from, k;
		struct bytes v;
		int rc = writer_first_row(w, DB_DEDUP, key_id_n(&from, id, 0), sizeof(id), &k, &v);
		if (!rc)
			rc = db_del(w->txn, w->db, DB_DEDUP, key_view(&k));
		if (rc)
			return rc == MDB_NOTFOUND ? 0 : rc;
	}
	return 0;
}

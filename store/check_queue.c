/* SPDX-License-Identifier: BSD-3-Clause
 * The queue: envelope, recipients and schedule agree. */
#include <errno.h>
#include "store/check_priv.h"
#include "store/db_queue_index.h"
#include "store/queue_row.h"

static const char *queue_name(uint64_t id, char out[64])
{
	snprintf(out, 64, "queue %016llx", (unsigned long long)id);
	return out;
}

/* The row of the schedule that a recipient must have. */
static struct bytes schedule_row(
	const struct qr_view *q, uint8_t out[sizeof(struct qt_rec) + DOMAIN_MAX])
{
	struct bytes domain = qr_domain(q);
	struct qt_rec t = {.attempts = (uint16_t)MIN(q->r.attempts, (uint32_t)UINT16_MAX),
		.state_priority = qt_state_priority(q->r.state, q->r.priority),
		.domain_n = (uint8_t)domain.n};

	memcpy(out, &t, sizeof(t));
	if (domain.n)
		memcpy(out + sizeof(t), domain.p, domain.n);
	return bytes_make(out, sizeof(t) + domain.n);
}

/* What is below `from` is in the index, in the run that its id says. */
static int index_look(
	struct check *c, const char *what, const struct queue_index_key *q, const char *who)
{
	char name[64];
	struct key k;
	uint64_t run;

	if (q->id >= c->index.from) {
		c->totals.index_young += !c->quiet;
		return 0;
	}
	int rc = queue_index_run(c->txn, c->db, &c->index, q->id, &run);
	if (rc || check_has(c, DB_QI, queue_index_row(&k, run, q), &rc) || rc)
		return rc;
	if (!check_problem(c, what, true, false, queue_name(q->id, name),
		    "%s is not in the queue's index", who))
		return 0;
	return db_put(c->txn, c->db, DB_QI, key_view(&k), BYTES_NONE);
}

/* v is copied by the caller: this may write. */
static int recipient_index_look(struct check *c, const struct qr_view *q, uint64_t id)
{
	struct queue_index_key key = queue_index_recipient(q->address, q->r.domain_at, id, q->rcpt);
	char who[32];

	snprintf(who, sizeof(who), "recipient %u", q->rcpt);
	return index_look(c, "recipient-index", &key, who);
}

static int sender_index_look(struct check *c, uint64_t id, struct bytes sender)
{
	struct queue_index_key key = queue_index_sender(sender, id);

	return index_look(c, "sender-index", &key, "it");
}

/* What is on its way to another shard is found by its row in `move`, not by the schedule. */
static int move_look(struct check *c, const struct qr_view *q, uint64_t id)
{
	unsigned shard = store_account_shard(q->r.attempts, c->db->shard.count);
	char name[64];
	struct key k;
	int rc = 0;

	key_move(&k, shard, id, q->rcpt);
	if (check_has(c, DB_MOVE, key_view(&k), &rc) || rc)
		return rc;
	if (!check_problem(c, "recipient-move", true, false, queue_name(id, name),
		    "recipient %u is not among those for shard %u", q->rcpt, shard))
		return 0;
	return db_put(c->txn, c->db, DB_MOVE, key_view(&k), BYTES_NONE);
}

/* *counts_r: the row stays. */
static int recipient_look(
	struct check *c, uint64_t id, uint32_t rcpt, struct bytes v, bool *counts_r)
{
	uint8_t want_octets[sizeof(struct qt_rec) + DOMAIN_MAX];
	struct qr_view q;
	struct bytes have;
	char name[64];
	struct key k;

	*counts_r = qr_parse(key_id_n(&k, id, rcpt), v, &q) == 0;
	if (!*counts_r) {
		if (!check_problem(c, "recipient-row", true, true, queue_name(id, name),
			    "recipient %u cannot be read", rcpt))
			return 0;
		return db_del(c->txn, c->db, DB_QR, key_view(&k));
	}
	struct bytes want = schedule_row(&q, want_octets);
	int rc = recipient_index_look(c, &q, id);
	if (rc)
		return rc;
	if (q.r.state == QUEUE_MOVING)
		return move_look(c, &q, id);
	rc = db_get(c->txn, c->db, DB_QT, key_qt(&k, q.r.next_ms, id, rcpt), &have);
	if (rc == 0 && bytes_eq(have, want))
		return 0;
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (!check_problem(c, "recipient-schedule", true, false, queue_name(id, name),
		    "recipient %u is %s in the schedule", rcpt, rc ? "not" : "another"))
		return 0;
	return db_put(c->txn, c->db, DB_QT, key_view(&k), want);
}

#define ROW_MAX (sizeof(struct qr_rec) + ADDRESS_MAX + DSN_ORCPT_MAX + STORE_REASON_MAX)

/* Row of a recipient of id at or after rcpt; copied, because looking may write. */
static int recipient_next(struct check *c, uint64_t id, uint32_t from, uint32_t *rcpt_r,
	uint8_t row[ROW_MAX], struct bytes *row_r)
{
	struct db_cursor cursor;
	struct key k;
	int rc = db_cursor_open(c->txn, c->db, DB_QR, &cursor);

	if (rc)
		return rc;
	rc = db_cursor_seek(&cursor, key_id_n(&k, id, from));
	if (!rc && (cursor.key.n != 12 || key_get_u64(cursor.key, 0) != id))
		rc = MDB_NOTFOUND;
	if (!rc) {
		struct bytes v = bytes_first(cursor.value, ROW_MAX);
		*rcpt_r = key_get_u32(cursor.key, 8);
		memcpy(row, v.p, v.n);
		*row_r = bytes_make(row, v.n);
	}
	db_cursor_close(&cursor);
	return rc;
}

/* All recipients of one message: in one transaction, so live as well. */
static int recipients_look(struct check *c, uint64_t id, uint32_t *count_r)
{
	uint8_t octets[ROW_MAX];
	struct bytes row;
	uint32_t rcpt;
	int rc = 0;

	*count_r = 0;
	for (uint32_t from = 0; from < UINT32_MAX; from = rcpt + 1) {
		bool counts;
		rc = recipient_next(c, id, from, &rcpt, octets, &row);
		if (rc)
			break;
		rc = recipient_look(c, id, rcpt, row, &counts);
		if (rc)
			return rc;
		*count_r += counts;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* What is left when the body or the envelope cannot be read: nothing that could be sent. */
static int message_remove(struct check *c, uint64_t id)
{
	uint8_t octets[ROW_MAX];
	struct bytes row;
	struct key k;
	uint32_t rcpt;
	int rc;

	while (!(rc = recipient_next(c, id, 0, &rcpt, octets, &row))) {
		rc = db_del(c->txn, c->db, DB_QR, key_id_n(&k, id, rcpt));
		if (rc)
			return rc;
	}
	if (rc == MDB_NOTFOUND)
		rc = db_del(c->txn, c->db, DB_Q, key_id(&k, id));
	return rc;
}

static int pending_set(struct check *c, uint64_t id, uint32_t pending)
{
	uint8_t row[sizeof(struct q_rec) + ADDRESS_MAX + DSN_ENVID_MAX];
	struct q_rec q;
	struct bytes v;
	struct key k;
	int rc = db_get(c->txn, c->db, DB_Q, key_id(&k, id), &v);

	if (rc)
		return rc;
	if (v.n > sizeof(row) || !rec_read(v, &q, sizeof(q)))
		return EIO;
	q.pending = pending;
	memcpy(row, v.p, v.n);
	memcpy(row, &q, sizeof(q));
	return db_put(c->txn, c->db, DB_Q, key_id(&k, id), bytes_make(row, v.n));
}

static int message_look(struct check *c, uint64_t id, uint32_t pending)
{
	uint32_t count;
	char name[64];
	struct key k;
	int rc = recipients_look(c, id, &count);

	if (rc)
		return rc;
	if (!c->quiet)
		c->totals.recipients += count;
	if (count == 0) {
		/* Its body loses the reference when references are counted. */
		if (check_problem(c, "queue-empty", true, false, queue_name(id, name),
			    "no recipients, %u expected", pending))
			return db_del(c->txn, c->db, DB_Q, key_id(&k, id));
		return 0;
	}
	check_count(c, id);
	if (count != pending && check_problem(c, "queue-pending", true, false, queue_name(id, name),
					"%u, found %u", pending, count))
		return pending_set(c, id, count);
	return 0;
}

int check_step_queue(struct check *c)
{
	char name[64];
	struct q_view q;
	struct bytes v;
	struct key k;
	int rc = check_next(c, DB_Q, &k, &v);

	if (rc)
		return rc;
	if (k.n != 8)
		return EIO;
	uint64_t id = key_get_u64(key_view(&k), 0);
	if (!c->quiet)
		c->totals.queued++;
	if (q_parse(v, &q)) {
		return check_problem(c, "queue-row", true, true, queue_name(id, name),
			       "the envelope cannot be read")
			       ? message_remove(c, id)
			       : 0;
	}
	if (!check_has(c, DB_BLOB, key_view(&k), &rc)) {
		if (rc)
			return rc;
		return check_problem(c, "queue-body", true, true, queue_name(id, name),
			       "there is no body, %u recipients", q.r.pending)
			       ? message_remove(c, id)
			       : 0;
	}
	uint32_t pending = q.r.pending;
	rc = sender_index_look(c, id, q.sender);
	return rc ? rc : message_look(c, id, pending);
}

/* Recipients without a message. */
int check_step_recipient(struct check *c)
{
	char name[64];
	struct bytes v;
	struct key k, q;
	int rc = check_next(c, DB_QR, &k, &v);

	if (rc)
		return rc;
	if (k.n != 12)
		return EIO;
	uint64_t id = key_get_u64(key_view(&k), 0);
	if (check_has(c, DB_Q, key_id(&q, id), &rc)) {
		check_go_on(c, key_id_n(&q, id, UINT32_MAX));
		return 0;
	}
	if (rc || !check_problem(c, "recipient-orphan", true, true, queue_name(id, name),
			  "recipient %u has no envelope", key_get_u32(key_view(&k), 8)))
		return rc;
	return db_del(c->txn, c->db, DB_QR, key_view(&k));
}

/* Rows of the schedule without a recipient at that time. */
int check_step_schedule(struct check *c)
{
	char name[64];
	struct qr_rec r;
	struct bytes v;
	struct key k, q;
	int rc = check_next(c, DB_QT, &k, &v);

	if (rc)
		return rc;
	if (k.n != 20)
		return EIO;
	uint64_t next_ms = key_get_u64(key_view(&k), 0), id = key_get_u64(key_view(&k), 8);
	uint32_t rcpt = key_get_u32(key_view(&k), 16);
	rc = db_get(c->txn, c->db, DB_QR, key_id_n(&q, id, rcpt), &v);
	if (rc == 0 && rec_read(v, &r, sizeof(r)) && r.next_ms == next_ms &&
		r.state != QUEUE_MOVING)
		return 0;
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (!check_problem(c, "schedule-orphan", true, false, queue_name(id, name),
		    "recipient %u at %llu", rcpt, (unsigned long long)next_ms))
		return 0;
	return db_del(c->txn, c->db, DB_QT, key_view(&k));
}

/* Rows for other shards without a recipient that is on its way there. */
int check_step_move(struct check *c)
{
	char name[64];
	struct qr_rec r;
	struct bytes v;
	struct key k, q;
	int rc = check_next(c, DB_MOVE, &k, &v);

	if (rc)
		return rc;
	if (k.n != 16)
		return EIO;
	uint32_t shard = key_get_u32(key_view(&k), 0), rcpt = key_get_u32(key_view(&k), 12);
	uint64_t id = key_get_u64(key_view(&k), 4);
	rc = db_get(c->txn, c->db, DB_QR, key_id_n(&q, id, rcpt), &v);
	if (rc == 0 && rec_read(v, &r, sizeof(r)) && r.state == QUEUE_MOVING &&
		store_account_shard(r.attempts, c->db->shard.count) == shard)
		return 0;
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (!check_problem(c, "move-orphan", true, false, queue_name(id, name),
		    "recipient %u is not on its way to shard %u", rcpt, shard))
		return 0;
	return db_del(c->txn, c->db, DB_MOVE, key_view(&k));
}

/* ---- the queue's index ---- */

static int index_row_remove(struct check *c, const struct key *k, uint64_t message)
{
	char name[64];

	if (!check_problem(c, "index-orphan", true, false, queue_name(message, name),
		    "the index has what the queue has not"))
		return 0;
	return db_del(c->txn, c->db, DB_QI, key_view(k));
}

/* What the queue has in the place of a row of the index.  MDB_NOTFOUND: nothing any more. */
static int index_want(
	struct check *c, const struct queue_index_key *have, struct queue_index_key *want_r)
{
	struct q_view m;
	struct qr_view q;
	struct bytes v;
	struct key k;
	bool sender = have->rcpt == QI_SENDER;
	int rc = db_get(c->txn, c->db, sender ? DB_Q : DB_QR,
		sender ? key_id(&k, have->id) : key_id_n(&k, have->id, have->rcpt), &v);

	*want_r = (struct queue_index_key){0};
	if (rc)
		return rc;
	if (sender && !q_parse(v, &m))
		*want_r = queue_index_sender(m.sender, have->id);
	else if (!sender && !qr_parse(key_view(&k), v, &q))
		*want_r = queue_index_recipient(q.address, q.r.domain_at, have->id, have->rcpt);
	return 0;
}

static bool keys_equal(const struct queue_index_key *a, const struct queue_index_key *b)
{
	return a->hash == b->hash && a->id == b->id && a->address == b->address &&
	       a->rcpt == b->rcpt;
}

int check_step_index(struct check *c)
{
	struct queue_index_key have, want;
	uint64_t run, its_run;
	struct bytes v;
	struct key k;
	int rc = check_next(c, DB_QI, &k, &v);

	if (rc)
		return rc;
	if (!queue_index_parse(key_view(&k), &run, &have))
		return EIO;
	/* Behind what the index has: a run that is being written, or a mistake. */
	if (have.id >= c->index.until)
		return index_row_remove(c, &k, have.id);
	rc = index_want(c, &have, &want);
	if (rc == MDB_NOTFOUND) {
		c->totals.index_stale++;
		return 0;
	}
	if (!rc)
		rc = queue_index_run(c->txn, c->db, &c->index, have.id, &its_run);
	if (rc)
		return rc;
	return keys_equal(&have, &want) && run == its_run ? 0 : index_row_remove(c, &k, have.id);
}

/* Which say what the index has: wrong ones leave nothing but to make it anew. */
int check_step_index_numbers(struct check *c)
{
	const struct queue_index_rec *r = &c->index;

	if (r->run <= r->from && r->from <= r->until)
		return MDB_NOTFOUND;
	if (!check_problem(c, "index-numbers", true, false, "queue", "run %llx, from %llx to %llx",
		    (unsigned long long)r->run, (unsigned long long)r->from,
		    (unsigned long long)r->until))
		return MDB_NOTFOUND;
	int rc = db_clear(c->txn, c->db, DB_QI);
	c->index = (struct queue_index_rec){0};
	if (!rc)
		rc = queue_index_put(c->txn, c->db, &c->index);
	return rc ? rc : MDB_NOTFOUND;
}

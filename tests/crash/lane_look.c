/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/lane_look.h"

struct look {
	const struct db *db;
	MDB_txn *txn;
	const struct lane *lane;
	char *why;
};

static bool differs(struct look *k, const char *what, unsigned long long a, unsigned long long b)
{
	snprintf(k->why, LANE_WHY_MAX, "%s: %llu, must be %llu", what, a, b);
	return false;
}

static bool body_is(struct look *k, uint64_t blob, uint32_t bytes)
{
	struct body_head h;
	int rc = body_head_read(k->txn, k->db, blob, &h);

	if (rc || h.r.size != bytes)
		return differs(k, "size of a body", rc ? 0 : h.r.size, bytes);
	for (uint32_t n = 0, at = 0; n < h.r.chunks; n++) {
		struct bytes data;
		if (body_chunk_read(k->txn, k->db, blob, &h, n, &data))
			return differs(k, "chunk", n, n);
		for (size_t i = 0; i < data.n; i++, at++) {
			if (data.p[i] != lane_octet(blob, at))
				return differs(k, "octet", at, at);
		}
	}
	return true;
}

static bool rows_are(struct look *k, uint32_t box, const struct lane_box *want)
{
	struct db_cursor c;
	struct key key;
	uint32_t n = 0;
	bool same = true;
	int rc = db_cursor_open(k->txn, k->db, DB_MSG, &c);

	if (!rc)
		rc = db_cursor_seek(&c, key_msg(&key, k->lane->account, box, 0));
	for (; !rc && same && memcmp(c.key.p, key.p, 8) == 0; n++, rc = db_cursor_next(&c)) {
		struct mbox_row row;
		if (n == want->n || !rec_read(c.value, &row, sizeof(row)))
			same = differs(k, "messages", n + 1, want->n);
		else if (row.uid != want->rows[n].uid || row.flags != want->rows[n].flags ||
			 row.blob != want->rows[n].blob)
			same = differs(k, "uid", row.uid, want->rows[n].uid);
		else
			same = body_is(k, row.blob, want->rows[n].bytes);
	}
	db_cursor_close(&c);
	return same && (n == want->n || differs(k, "messages", n, want->n));
}

static bool box_is(struct look *k, uint32_t which)
{
	const struct lane_box *want = &k->lane->boxes[which];
	struct boxname_rec name;
	struct box_rec r = {0};
	struct bytes v;
	struct key key;
	int rc = db_get(k->txn, k->db, DB_BOXNAME,
		key_boxname(&key, k->lane->account, bytes_str(lane_box_names[which])), &v);

	if (rc || !want->exists)
		return (rc != 0) == !want->exists || differs(k, "mailbox", !rc, want->exists);
	if (!rec_read(v, &name, sizeof(name)))
		return differs(k, "name", 0, 1);
	rc = db_get(k->txn, k->db, DB_BOX, key_box(&key, k->lane->account, name.box), &v);
	if (rc || !rec_read(v, &r, sizeof(r)) || r.uidnext != want->uidnext)
		return differs(k, "uidnext", rc ? 0 : r.uidnext, want->uidnext);
	return rows_are(k, name.box, want);
}

static bool rcpt_is(struct look *k, uint64_t id, uint32_t n, const struct lane_rcpt *want)
{
	struct qr_rec r = {0};
	struct bytes v;
	struct key key;
	int rc = db_get(k->txn, k->db, DB_QR, key_id_n(&key, id, n), &v);

	if (rc || !want->pending)
		return (rc != 0) == !want->pending || differs(k, "recipient", !rc, want->pending);
	if (!rec_read(v, &r, sizeof(r)) || r.attempts != want->attempts)
		return differs(k, "attempts", r.attempts, want->attempts);
	if ((r.state == QUEUE_HELD) != want->held)
		return differs(k, "held", r.state, want->held);
	return want->next_ms == 0 || r.next_ms == want->next_ms ||
	       differs(k, "next attempt", r.next_ms, want->next_ms);
}

static bool message_is(struct look *k, const struct lane_message *m)
{
	struct bytes v;
	struct key key;

	if (db_get(k->txn, k->db, DB_Q, key_id(&key, m->id), &v))
		return differs(k, "queued message", 0, m->id);
	for (uint32_t i = 0; i < LANE_RCPTS_MAX; i++) {
		if (!rcpt_is(k, m->id, i, &m->rcpts[i]))
			return false;
	}
	return body_is(k, m->id, m->bytes);
}

static uint32_t queued_of(struct look *k)
{
	struct db_cursor c;
	uint32_t n = 0;
	int rc = db_cursor_open(k->txn, k->db, DB_Q, &c);
	struct key key;

	for (rc = rc ? rc : db_cursor_seek(&c, key_id(&key, 0)); !rc; rc = db_cursor_next(&c))
		n += (key_get_u64(c.key, 0) - LANE_ID_BASE) / 2 % LANES == k->lane->number;
	db_cursor_close(&c);
	return n;
}

static bool lane_is(struct look *k)
{
	for (uint32_t b = 0; b < LANE_BOXES; b++) {
		if (!box_is(k, b))
			return false;
	}
	for (uint32_t i = 0; i < k->lane->queue_n; i++) {
		if (!message_is(k, &k->lane->queue[i]))
			return false;
	}
	uint32_t n = queued_of(k);
	return n == k->lane->queue_n || differs(k, "queued messages", n, k->lane->queue_n);
}

bool lane_look(const struct db *db, MDB_txn *txn, const struct lane *lane, char why[LANE_WHY_MAX])
{
	struct look k = {.db = db, .txn = txn, .lane = lane, .why = why};

	why[0] = '\0';
	return lane_is(&k);
}

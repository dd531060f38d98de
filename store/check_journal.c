/* SPDX-License-Identifier: BSD-3-Clause
 * What lies in the journal: parts of bodies that nobody knows, and how much of each slot is
 * referred to, which decides when the slot is written anew.  That a body is there at all, and is
 * what its checksums say, is looked at with the others (check_body.c). */
#include "store/check_priv.h"

/* ---- what rows refer to ---- */

/* Before the first of them is counted. */
static int slots_read(struct check *c)
{
	struct db_cursor cursor;
	int rc = db_cursor_open(c->txn, c->db, DB_SLOT, &cursor);

	if (rc)
		return rc;
	for (rc = db_cursor_seek(&cursor, bytes_make("", 1)); !rc; rc = db_cursor_next(&cursor)) {
		uint32_t i = cursor.key.n == 4 ? key_get_u32(cursor.key, 0) : JOURNAL_SLOTS_MAX;
		if (i < JOURNAL_SLOTS_MAX)
			rec_read(cursor.value, &c->slots[i].was, sizeof(c->slots[i].was));
	}
	db_cursor_close(&cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static void found(struct check *c, uint64_t at, uint64_t octets)
{
	if (at / JOURNAL_SLOT < JOURNAL_SLOTS_MAX)
		c->slots[at / JOURNAL_SLOT].found += octets;
}

int check_step_tail(struct check *c)
{
	struct body_head h;
	struct bytes v;
	struct key k;
	int rc = c->at.n == 0 ? slots_read(c) : 0;

	if (!rc)
		rc = check_next(c, DB_BLOB, &k, &v);
	if (!rc && body_row_read(v, &h) && h.r.in_journal)
		found(c, h.at, body_tail(&h.r));
	return rc;
}

int check_step_extent(struct check *c)
{
	struct extent_rec r = {0};
	char name[64];
	uint32_t end;
	struct bytes v;
	struct key k;
	int rc = check_next(c, DB_EXTENT, &k, &v);

	if (rc)
		return rc;
	if (k.n != 12)
		return MDB_CORRUPTED;
	uint64_t blob = key_get_u64(key_view(&k), 0);
	uint32_t first = key_get_u32(key_view(&k), 8);
	bool readable = rec_read(v, &r, sizeof(r));
	rc = check_chunk_limit(c, blob, &end);
	if (rc)
		return rc;
	if (first < end) {
		found(c, r.at, r.octets);
		return 0;
	}
	if (!check_problem(c, "extent-orphan", true, false, check_blob_name(blob, name),
		    "chunks from %u on", first)) {
		found(c, r.at, r.octets);
		return 0;
	}
	if (readable)
		db_live(c->db, r.at, -(int64_t)r.octets);
	return db_del(c->txn, c->db, DB_EXTENT, key_view(&k));
}

/* ---- against what is kept about slots ---- */

static int slot_get(struct check *c, uint32_t i, struct slot_rec *r_r)
{
	struct key k = {.n = 0};
	struct bytes v;

	key_u32(&k, i);
	int rc = db_get(c->txn, c->db, DB_SLOT, key_view(&k), &v);
	*r_r = (struct slot_rec){0};
	if (!rc)
		rec_read(v, r_r, sizeof(*r_r));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Alone with the store: the row may be behind what this transaction has done. */
static uint64_t live_now(const struct journal_slot *s)
{
	return (uint64_t)((int64_t)s->live + s->delta);
}

static int slot_look(struct check *c, uint32_t i)
{
	const struct check_slot *s = &c->slots[i];
	struct slot_rec now;
	char name[64];
	int rc = slot_get(c, i, &now);

	if (rc)
		return rc;
	/* Live, one that has changed meanwhile has been counted half before and half after. */
	if (c->conf.live && memcmp(&now, &s->was, sizeof(now)) != 0)
		return 0;
	const struct journal_slot *mine = c->conf.live ? NULL : &c->db->journal->slots[i];
	uint64_t live = mine && mine->touched ? live_now(mine) : now.live;
	if (live == s->found)
		return 0;
	snprintf(name, sizeof(name), "slot %u of the journal", i);
	if (check_problem(c, "journal-slot", true, false, name, "%llu octets in use, found %llu",
		    (unsigned long long)live, (unsigned long long)s->found))
		db_live(c->db, i * JOURNAL_SLOT, (int64_t)(s->found - live_now(mine)));
	return 0;
}

int check_step_slot(struct check *c)
{
	const struct journal *j = c->db->journal;
	struct key k = {.n = 0};
	uint32_t i = c->at.n < 4 ? 1 : key_get_u32(key_view(&c->at), 0);

	if (!j || i * JOURNAL_SLOT >= j->size || i >= JOURNAL_SLOTS_MAX)
		return MDB_NOTFOUND;
	key_u32(&k, i + 1);
	check_go_on(c, key_view(&k));
	return slot_look(c, i);
}

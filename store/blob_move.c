/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies out of the journal, into chunks of LMDB: what lives longer than the slot it came in.  A
 * full chunk with its node is exactly one page of LMDB, so a body never needs adjacent free pages.
 * Whoever has the write transaction: the writer, or a start that reads the journal anew. */
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "dataplane/base/log.h"
#include "store/body.h"
#include "store/writer.h"

/* Slots in use may be larger than what is live in them by a half and this: chosen. */
#define SPARE      (8 * JOURNAL_SLOT)
#define SPARE_PART 2
/* When little comes (writer_room.c), by a quarter; the one that is written, by a little more. */
static const struct journal_slack calm = {0, 4}, calm_last = {JOURNAL_SLOT / 16, 4};

/* Chunks from `first` on, which are at `at`, get rows. */
static int chunks_put(MDB_txn *txn, const struct db *db, uint64_t blob, uint32_t first, uint64_t at,
	uint64_t octets)
{
	const uint8_t *p = journal_body(db->journal, at, octets);

	if (!p)
		return EIO;
	for (uint32_t n = first; octets; n++) {
		size_t part = MIN(octets, (uint64_t)CHUNK_DATA);
		struct key k;
		int rc = db_put(txn, db, DB_CHUNK, key_id_n(&k, blob, n), bytes_make(p, part));
		if (rc)
			return rc;
		p += part;
		octets -= part;
	}
	return 0;
}

static int tail_move(MDB_txn *txn, const struct db *db, struct bytes key)
{
	uint8_t octets[BLOB_ROW_MAX];
	struct body_head h;
	struct bytes v;
	int rc = db_get(txn, db, DB_BLOB, key, &v);

	if (rc)
		return rc;
	if (v.n > sizeof(octets) || key.n != 8 || !body_row_read(v, &h))
		return EIO;
	if (!h.r.in_journal)
		return 0;
	struct bytes moved = body_row_moved(v, &h, octets);
	uint64_t tail = body_tail(&h.r);
	rc = chunks_put(txn, db, key_get_u64(key, 0), h.r.crc_first, h.at, tail);
	if (rc)
		return rc;
	db_live(db, h.at, -(int64_t)tail);
	return db_put(txn, db, DB_BLOB, key, moved);
}

static int extent_move(MDB_txn *txn, const struct db *db, struct bytes key)
{
	struct extent_rec r;
	struct bytes v;
	int rc = db_get(txn, db, DB_EXTENT, key, &v);

	if (rc)
		return rc;
	if (key.n != 12 || !rec_read(v, &r, sizeof(r)))
		return EIO;
	rc = chunks_put(txn, db, key_get_u64(key, 0), key_get_u32(key, 8), r.at, r.octets);
	if (rc)
		return rc;
	db_live(db, r.at, -(int64_t)r.octets);
	return db_del(txn, db, DB_EXTENT, key);
}

int body_move(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key)
{
	return id == DB_BLOB ? tail_move(txn, db, key) : extent_move(txn, db, key);
}

/* Where the body, or part, that a row describes is, and how much; false: not in the journal. */
static bool row_place(unsigned table, struct bytes value, uint64_t *at_r, uint64_t *octets_r)
{
	struct extent_rec e;
	struct body_head h;

	if (table == DB_BLOB && body_row_read(value, &h) && h.r.in_journal) {
		*at_r = h.at;
		*octets_r = body_tail(&h.r);
		return true;
	}
	if (table != DB_EXTENT || !rec_read(value, &e, sizeof(e)))
		return false;
	*at_r = e.at;
	*octets_r = e.octets;
	return true;
}

/* ---- what a record brought ---- */

static bool tail_is_whole(const struct body_head *h, const uint8_t *p, uint64_t octets)
{
	for (uint64_t i = 0; i * CHUNK_DATA < octets; i++) {
		uint64_t n = MIN(octets - i * CHUNK_DATA, (uint64_t)CHUNK_DATA);
		uint32_t crc;
		if (i * 4 + 4 > h->crcs.n)
			return false;
		memcpy(&crc, h->crcs.p + i * 4, sizeof(crc));
		if (crc32c(0, p + i * CHUNK_DATA, n) != crc)
			return false;
	}
	return true;
}

bool body_row_is_whole(
	const struct journal *j, const struct journal_view *v, unsigned table, struct bytes value)
{
	uint64_t first = (uint64_t)((const uint8_t *)(v->record + 1) - j->map);
	struct extent_rec e;
	struct body_head h;
	uint64_t at, octets;

	/* Others came with records before, and are there. */
	if (!row_place(table, value, &at, &octets) || at < first ||
		at >= first + v->record->bodies_n)
		return true;
	const uint8_t *p = journal_body(j, at, octets);
	if (!p)
		return false;
	if (table == DB_BLOB)
		return body_row_read(value, &h) && tail_is_whole(&h, p, octets);
	return rec_read(value, &e, sizeof(e)) && crc32c(0, p, octets) == e.crc;
}

/* ---- slots that are to be free ---- */

/* Is that row, which a record brought, still so? */
static bool is_current(struct writer *w, const struct journal_row *r, uint64_t at)
{
	uint64_t now, octets;
	struct bytes v;

	return db_get(w->txn, w->db, (enum db_id)r->table, r->key, &v) == 0 &&
	       row_place(r->table, v, &now, &octets) && now == at;
}

/* *octets_r: what has been moved. */
static int row_move(struct writer *w, const struct journal_row *r, uint64_t *octets_r)
{
	struct journal *j = w->db->journal;
	uint64_t at;

	*octets_r = 0;
	if (r->what != JOURNAL_PUT || !row_place(r->table, r->value, &at, octets_r) ||
		journal_slot_of(at) != w->moving.slot || !is_current(w, r, at)) {
		*octets_r = 0;
		return 0;
	}
	j->quiet = true;
	int rc = body_move(w->txn, w->db, (enum db_id)r->table, r->key);
	j->quiet = false;
	if (!rc)
		journal_note(j, JOURNAL_MOVE, r->table, r->key, BYTES_NONE);
	return rc;
}

/* The rest of the record at w->moving.at; all of it: w->moving goes on to the next. */
static int record_move(struct writer *w, const struct journal_view *v, struct move_budget *left)
{
	struct bytes rows = bytes_skip(v->rows, w->moving.row);
	struct journal_row r;

	while (left->bodies && left->rows && journal_row_next(&rows, &r)) {
		uint64_t octets;
		int rc = row_move(w, &r, &octets);
		if (rc)
			return rc;
		left->bodies -= MIN(left->bodies, octets);
		left->rows -= MIN(left->rows, v->rows.n - rows.n - w->moving.row);
		w->moving.row = v->rows.n - rows.n;
	}
	if (left->bodies && left->rows) {
		w->moving.at = v->next;
		w->moving.row = 0;
	}
	return 0;
}

static uint32_t victim(const struct writer *w)
{
	const struct journal_slack busy = {
		w->db->journal_spare ? w->db->journal_spare : SPARE, SPARE_PART};

	return journal_victim(w->db->journal, w->room.giving ? &calm : &busy);
}

bool body_move_leave(struct writer *w)
{
	if (w->moving.slot || !journal_is_sparse(w->db->journal, &calm_last))
		return true;
	return db_journal_next(w->db) == 0;
}

bool body_move_begin(struct writer *w)
{
	if (w->moving.slot == 0) {
		w->moving.slot = victim(w);
		w->moving.at = w->moving.slot * JOURNAL_SLOT;
		w->moving.row = 0;
	}
	return w->moving.slot;
}

int body_move_step(struct writer *w, struct move_budget left)
{
	struct journal *j = w->db->journal;
	struct journal_view v;
	int rc = 0;

	while (!rc && w->moving.slot && left.bodies && left.rows) {
		if (!journal_view(j, w->moving.at, &v)) {
			j->slots[w->moving.slot].stuck = true;
			w->moving.slot = 0;
			break;
		}
		rc = record_move(w, &v, &left);
	}
	if (rc == EIO) {
		log_error("store", "journal-slot-damaged path=%s slot=%u", w->db->path,
			w->moving.slot);
		j->slots[w->moving.slot].stuck = true;
		w->moving.slot = 0;
	}
	return rc;
}

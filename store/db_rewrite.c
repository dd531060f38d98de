/* SPDX-License-Identifier: BSD-3-Clause
 * An environment row by row into another one, with the bodies of the journal as rows.  Rows of a
 * body are written with it: what nobody knows, is still being received, or is to be freed, stays
 * behind. */
#include <errno.h>
#include "store/body.h"
#include "store/db_copy.h"

#define REWRITE_BATCH (4u << 20) /* octets in one commit; chosen */

/* A table whose rows belong to bodies; it is read beside the table of bodies, in the same order. */
struct walk {
	struct db_cursor c;
	bool begun, end;
};

struct rewrite {
	const struct db *from;
	struct db to;
	struct db_copy_watch *watch;
	MDB_txn *read, *write;
	uint64_t batch;
	struct walk chunks, extents, crcs, shapes;
};

static int row_write(struct rewrite *r, enum db_id id, struct bytes key, struct bytes value)
{
	void *room;
	int rc;

	if (atomic_load_explicit(&r->watch->cancelled, memory_order_relaxed))
		return ECANCELED;
	if (!r->write) {
		rc = db_begin(&r->to, true, &r->write);
		if (rc)
			return rc;
		r->batch = 0;
	}
	/* The table of numbers has rows since it was made: not in order. */
	rc = db_reserve(r->write, &r->to, id, key, value.n, id != DB_META, &room);
	if (rc)
		return rc;
	if (value.n)
		memcpy(room, value.p, value.n);
	r->batch += key.n + value.n;
	atomic_fetch_add_explicit(&r->watch->octets, key.n + value.n, memory_order_relaxed);
	if (r->batch < REWRITE_BATCH)
		return 0;
	MDB_txn *txn = r->write;
	r->write = NULL;
	return db_commit(txn);
}

/* ---- rows of bodies ---- */

static int walk_moved(struct walk *w, int rc)
{
	w->begun = true;
	w->end = rc == MDB_NOTFOUND;
	if (w->end)
		return 0;
	return rc ? rc : w->c.key.n == 12 ? 0 : MDB_CORRUPTED;
}

/* To the first row of this body, or of a later one. */
static int walk_to(struct walk *w, uint64_t blob)
{
	struct key k;

	if (w->end || (w->begun && key_get_u64(w->c.key, 0) >= blob))
		return 0;
	return walk_moved(w, db_cursor_seek(&w->c, key_id(&k, blob)));
}

static int walk_next(struct walk *w)
{
	return walk_moved(w, db_cursor_next(&w->c));
}

static bool walk_is_at(const struct walk *w, uint64_t blob)
{
	return !w->end && key_get_u64(w->c.key, 0) == blob;
}

static uint32_t walk_chunk(const struct walk *w)
{
	return key_get_u32(w->c.key, 8);
}

static int rows_copy(struct rewrite *r, struct walk *w, uint64_t blob)
{
	int rc = walk_to(w, blob);

	while (!rc && walk_is_at(w, blob)) {
		rc = row_write(r, w->c.id, w->c.key, w->c.value);
		if (!rc)
			rc = walk_next(w);
	}
	return rc;
}

/* Octets of the journal become chunks; those below *next_r are there already. */
static int octets_copy(struct rewrite *r, uint64_t blob, uint32_t first, uint64_t at,
	uint64_t octets, uint64_t *next_r)
{
	const uint8_t *p = r->from->journal ? journal_body(r->from->journal, at, octets) : NULL;
	struct key k;
	int rc = 0;

	/* They are not in the file: the body lacks them in the copy as well. */
	if (!p)
		return 0;
	for (uint64_t n = first; !rc && octets && n <= UINT32_MAX; n++) {
		size_t part = MIN(octets, (uint64_t)CHUNK_DATA);
		if (n >= *next_r) {
			rc = row_write(
				r, DB_CHUNK, key_id_n(&k, blob, (uint32_t)n), bytes_make(p, part));
			*next_r = n + 1;
		}
		p += part;
		octets -= part;
	}
	return rc;
}

static int chunk_copy(struct rewrite *r, uint64_t *next_r)
{
	struct walk *w = &r->chunks;
	uint32_t n = walk_chunk(w);
	int rc = n < *next_r ? 0 : row_write(r, DB_CHUNK, w->c.key, w->c.value);

	*next_r = MAX(*next_r, n + 1ull);
	return rc ? rc : walk_next(w);
}

static int extent_copy(struct rewrite *r, uint64_t blob, uint64_t *next_r)
{
	struct walk *w = &r->extents;
	struct extent_rec e;
	int rc = rec_read(w->c.value, &e, sizeof(e))
			 ? octets_copy(r, blob, walk_chunk(w), e.at, e.octets, next_r)
			 : 0;

	return rc ? rc : walk_next(w);
}

/* Chunks below `limit`, which are rows of their own or in the journal. */
static int chunks_copy(struct rewrite *r, uint64_t blob, uint64_t limit, uint64_t *next_r)
{
	int rc = walk_to(&r->chunks, blob);

	if (!rc)
		rc = walk_to(&r->extents, blob);
	while (!rc) {
		bool chunk = walk_is_at(&r->chunks, blob) && walk_chunk(&r->chunks) < limit;
		bool extent = walk_is_at(&r->extents, blob) && walk_chunk(&r->extents) < limit;
		if (!chunk && !extent)
			break;
		if (chunk && (!extent || walk_chunk(&r->chunks) <= walk_chunk(&r->extents)))
			rc = chunk_copy(r, next_r);
		else
			rc = extent_copy(r, blob, next_r);
	}
	return rc;
}

static int body_copy(struct rewrite *r, struct bytes key, struct bytes row)
{
	uint8_t octets[BLOB_ROW_MAX];
	uint64_t blob, next = 0;
	struct body_head h;

	if (key.n != 8)
		return MDB_CORRUPTED;
	blob = key_get_u64(key, 0);
	bool moves = row.n <= sizeof(octets) && body_row_read(row, &h) && h.r.in_journal;
	if (moves)
		row = body_row_moved(row, &h, octets);
	int rc = row_write(r, DB_BLOB, key, row);
	if (!rc)
		rc = chunks_copy(r, blob, moves ? h.r.crc_first : UINT64_MAX, &next);
	if (!rc && moves)
		rc = octets_copy(r, blob, h.r.crc_first, h.at, body_tail(&h.r), &next);
	if (!rc)
		rc = rows_copy(r, &r->crcs, blob);
	return rc ? rc : rows_copy(r, &r->shapes, blob);
}

/* ---- tables ---- */

static bool is_garbage(enum db_id id, struct bytes key)
{
	return id == DB_GC && key.n == 16 && key_get_u32(key, 0) == GC_BLOB;
}

static int table_copy(struct rewrite *r, enum db_id id)
{
	struct db_cursor c;
	int rc = db_cursor_open(r->read, r->from, id, &c);

	if (rc)
		return rc;
	for (rc = db_cursor_seek(&c, bytes_make("", 1)); !rc; rc = db_cursor_next(&c)) {
		if (is_garbage(id, c.key))
			continue;
		rc = id == DB_BLOB ? body_copy(r, c.key, c.value)
				   : row_write(r, id, c.key, c.value);
		if (rc)
			break;
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Its rows come with their bodies, or not at all. */
static bool is_of_bodies(enum db_id id)
{
	return id == DB_CHUNK || id == DB_CRC || id == DB_SHAPE || id == DB_EXTENT ||
	       id == DB_SLOT || id == DB_INCOMING;
}

static int tables_copy(struct rewrite *r)
{
	int rc = db_cursor_open(r->read, r->from, DB_CHUNK, &r->chunks.c);

	if (!rc)
		rc = db_cursor_open(r->read, r->from, DB_EXTENT, &r->extents.c);
	if (!rc)
		rc = db_cursor_open(r->read, r->from, DB_CRC, &r->crcs.c);
	if (!rc)
		rc = db_cursor_open(r->read, r->from, DB_SHAPE, &r->shapes.c);
	for (int id = 0; !rc && id < DB_N; id++) {
		if (!is_of_bodies((enum db_id)id))
			rc = table_copy(r, (enum db_id)id);
	}
	db_cursor_close(&r->chunks.c);
	db_cursor_close(&r->extents.c);
	db_cursor_close(&r->crcs.c);
	db_cursor_close(&r->shapes.c);
	return rc;
}

static int rewrite_all(struct rewrite *r)
{
	int rc = db_begin(r->from, false, &r->read);

	if (rc)
		return rc;
	atomic_store(&r->watch->octets, 1);
	rc = tables_copy(r);
	if (r->write && rc)
		db_abort(r->write);
	else if (r->write)
		rc = db_commit(r->write);
	db_abort(r->read);
	return rc ? rc : db_plain_sync(&r->to);
}

int db_rewrite(const struct db *from, const char *directory, struct db_copy_watch *watch,
	char *error, size_t error_n)
{
	struct rewrite r = {.from = from, .watch = watch};
	/* What is in the journal needs its room as well. */
	uint64_t map_bytes = from->map_bytes + db_journal_bytes(from);
	int err = db_open_plain(&r.to, directory, NULL, map_bytes, error, error_n);

	if (err < 0)
		return err;
	int rc = rewrite_all(&r);
	db_close(&r.to);
	if (rc)
		snprintf(error, error_n, "%s: cannot write: %s", directory, mdb_strerror(rc));
	return rc > 0 ? -rc : rc ? -EIO : 0;
}

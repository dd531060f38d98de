/* SPDX-License-Identifier: BSD-3-Clause
 * Freeing what nobody refers to.  Writer thread.  Removing a large body or mailbox at once would
 * free thousands of pages in one commit and stall everybody behind it; so removal of what is not
 * small only notes what is garbage, and each commit frees a bounded number of pages. */
#include <errno.h>
#include "dataplane/base/clock.h"
#include "store/body.h"
#include "store/writer.h"

#define GONE_PER_PAGE 64
/* A body so short goes at once, while the commit frees few pages: to note it, and to find it again,
 * costs half as much as its chunks.  Chosen: 64 KiB, more than most mail. */
#define FREE_NOW_CHUNKS 16
#define SWEEP_ROWS_MAX  64 /* incoming blobs of an earlier life moved to gc per step */

/* Of the first `chunks` of a body those that may be rows of their own: mostly all are, or none. */
static int chunk_rows(struct writer *w, uint64_t blob, uint32_t *chunks)
{
	struct key from, k;
	struct bytes v;
	int rc = *chunks ? writer_first_row(w, DB_CHUNK, key_id_n(&from, blob, 0), 8, &k, &v) : 0;

	if (rc == MDB_NOTFOUND)
		*chunks = 0;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int gc_add_blob(struct writer *w, uint64_t blob, uint32_t chunks)
{
	struct gc_rec r = {0};
	struct key k;
	int rc = chunk_rows(w, blob, &chunks);

	if (rc)
		return rc;
	r.chunks = chunks;
	w->garbage = true;
	w->debt_made += chunks;
	return db_put(
		w->txn, w->db, DB_GC, key_gc(&k, GC_BLOB, 0, blob), bytes_make(&r, sizeof(r)));
}

int gc_add_box(struct writer *w, uint32_t account, uint32_t box)
{
	struct gc_rec r = {0};
	struct key k;

	w->garbage = true;
	return db_put(
		w->txn, w->db, DB_GC, key_gc(&k, GC_BOX, account, box), bytes_make(&r, sizeof(r)));
}

int gc_add_ref(struct writer *w, uint64_t blob)
{
	struct gc_ref_rec r = {.blob = blob};
	uint64_t due_s = (w->now_ms + w->store->conf.expunged_read_ms) / MS_PER_SEC;
	struct key k;

	if (w->refs_due_us == 0)
		w->refs_due_us = clock_mono_us() + w->store->conf.expunged_read_ms * US_PER_MS;
	return db_put(w->txn, w->db, DB_GC,
		key_gc(&k, GC_REF, (uint32_t)due_s, w->now_ms << 20 | (++w->ref_number & 0xfffff)),
		bytes_make(&r, sizeof(r)));
}

int writer_first_row(struct writer *w, enum db_id id, struct bytes from, size_t prefix_n,
	struct key *key_r, struct bytes *value_r)
{
	struct db_cursor c;
	int rc = db_cursor_open(w->txn, w->db, id, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, from);
	if (!rc && (c.key.n < prefix_n || memcmp(c.key.p, from.p, prefix_n) != 0))
		rc = MDB_NOTFOUND;
	if (!rc) {
		memcpy(key_r->p, c.key.p, c.key.n);
		key_r->n = (uint16_t)c.key.n;
		*value_r = c.value;
	}
	db_cursor_close(&c);
	return rc;
}

/* Rows of a blob in another table, a page for each.  MDB_NOTFOUND: there are no more. */
static int rows_of_free(struct writer *w, enum db_id id, uint64_t blob, uint32_t *pages)
{
	struct key from, k;
	struct bytes v;

	while (*pages) {
		int rc = writer_first_row(w, id, key_id_n(&from, blob, 0), 8, &k, &v);
		if (rc)
			return rc;
		rc = db_del(w->txn, w->db, id, key_view(&k));
		if (rc)
			return rc;
		--*pages;
	}
	return 0;
}

static int chunks_free(struct writer *w, uint64_t blob, uint32_t chunks)
{
	struct db_cursor c;
	struct key k;

	if (chunks == 0)
		return 0;
	int rc = db_cursor_open(w->txn, w->db, DB_CHUNK, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id_n(&k, blob, 0));
	while (!rc && key_get_u64(c.key, 0) == blob) {
		rc = db_cursor_del(&c);
		if (!rc)
			rc = db_cursor_next(&c);
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* All of a body whose CRCs were in its row. */
static int body_free(struct writer *w, uint64_t blob, uint32_t chunks)
{
	uint32_t rows = SHAPE_ROWS_MAX + 1;
	int rc = chunks_free(w, blob, chunks);

	w->freed_now += chunks;
	if (rc || db_entries(w->txn, w->db, DB_SHAPE) == 0)
		return rc;
	rc = rows_of_free(w, DB_SHAPE, blob, &rows);
	return rc == MDB_NOTFOUND ? 0 : rc ? rc : MDB_CORRUPTED;
}

int gc_body(struct writer *w, uint64_t blob, const struct blob_rec *r)
{
	uint32_t chunks = r->in_journal ? r->crc_first : r->chunks;
	bool now = chunks <= FREE_NOW_CHUNKS && r->crc_first == 0 &&
		   w->freed_now + chunks <= WRITER_FREED_PAGES;

	return now ? body_free(w, blob, chunks) : gc_add_blob(w, blob, chunks);
}

/* Parts of a blob that are in the journal.  MDB_NOTFOUND: there are no more. */
static int extents_free(struct writer *w, uint64_t blob, uint32_t *pages)
{
	struct key from, k;
	struct extent_rec r;
	struct bytes v;

	while (*pages) {
		int rc = writer_first_row(w, DB_EXTENT, key_id_n(&from, blob, 0), 8, &k, &v);
		if (!rc && !rec_read(v, &r, sizeof(r)))
			rc = MDB_CORRUPTED;
		if (!rc)
			rc = db_del(w->txn, w->db, DB_EXTENT, key_view(&k));
		if (rc)
			return rc;
		db_live(w->db, r.at, -(int64_t)r.octets);
		--*pages;
	}
	return 0;
}

/* Frees chunks of one blob; its gc row goes with the last of them. */
static int blob_free(
	struct writer *w, const struct key *gc_key, struct bytes value, uint32_t *pages)
{
	uint64_t blob = key_get_u64(key_view(gc_key), 8);
	struct gc_rec r;
	struct key k;

	if (!rec_read(value, &r, sizeof(r)))
		return MDB_CORRUPTED;
	for (; r.next < r.chunks && *pages; r.next++, --*pages) {
		int rc = db_del(w->txn, w->db, DB_CHUNK, key_id_n(&k, blob, r.next));
		if (rc && rc != MDB_NOTFOUND)
			return rc;
	}
	if (r.next == r.chunks) {
		int rc = rows_of_free(w, DB_CRC, blob, pages);
		if (rc == MDB_NOTFOUND)
			rc = extents_free(w, blob, pages);
		/* What has been moved out of the journal since it became garbage. */
		if (rc == MDB_NOTFOUND)
			rc = rows_of_free(w, DB_CHUNK, blob, pages);
		if (rc == MDB_NOTFOUND)
			rc = rows_of_free(w, DB_SHAPE, blob, pages);
		if (rc == MDB_NOTFOUND)
			return db_del(w->txn, w->db, DB_GC, key_view(gc_key));
		if (rc)
			return rc;
	}
	return db_put(w->txn, w->db, DB_GC, key_view(gc_key), bytes_make(&r, sizeof(r)));
}

/* The log of what vanished goes with its mailbox. */
static int gone_free(struct writer *w, uint32_t account, uint32_t box, uint32_t *pages)
{
	struct key from, k;
	struct bytes v;

	for (int i = 0; i < GONE_PER_PAGE && *pages; i++) {
		int rc =
			writer_first_row(w, DB_GONE, key_mod(&from, account, box, 0, 0), 8, &k, &v);
		if (!rc)
			rc = db_del(w->txn, w->db, DB_GONE, key_view(&k));
		if (rc)
			return rc;
	}
	--*pages;
	return 0;
}

/* Rows of a removed mailbox: 64 octets or so each, and a reference. */
static int box_free(struct writer *w, const struct key *gc_key, uint32_t *pages)
{
	uint32_t account = key_get_u32(key_view(gc_key), 4);
	uint32_t box = (uint32_t)key_get_u64(key_view(gc_key), 8);
	struct key from, k;
	struct mbox_row row;
	struct bytes v;

	while (*pages) {
		int rc = writer_first_row(w, DB_MSG, key_msg(&from, account, box, 0), 8, &k, &v);
		if (rc == MDB_NOTFOUND) {
			rc = gone_free(w, account, box, pages);
			if (rc != MDB_NOTFOUND)
				return rc;
			return db_del(w->txn, w->db, DB_GC, key_view(gc_key));
		}
		if (!rc && !rec_read(v, &row, sizeof(row)))
			rc = MDB_CORRUPTED;
		if (!rc)
			rc = db_del(w->txn, w->db, DB_MSG, key_view(&k));
		if (!rc)
			rc = db_del(w->txn, w->db, DB_MOD,
				key_mod(&from, account, box, row.modseq, row.uid));
		if (rc && rc != MDB_NOTFOUND)
			return rc;
		rc = body_unref(w, row.blob);
		if (rc)
			return rc;
		--*pages;
	}
	return 0;
}

/* References whose time has come, or all when the disk is full.  MDB_NOTFOUND: none. */
static int ref_free(struct writer *w, const struct key *gc_key, struct bytes value, uint32_t *pages)
{
	uint64_t due_ms = key_get_u32(key_view(gc_key), 4) * MS_PER_SEC;
	struct gc_ref_rec r;

	if (!rec_read(value, &r, sizeof(r)))
		return MDB_CORRUPTED;
	if (due_ms > w->now_ms &&
		atomic_load_explicit(&w->store->health, memory_order_relaxed) != STORE_FULL) {
		w->refs_due_us = clock_mono_us() + (due_ms - w->now_ms) * US_PER_MS;
		return MDB_NOTFOUND;
	}
	int rc = db_del(w->txn, w->db, DB_GC, key_view(gc_key));
	--*pages;
	return rc ? rc : body_unref(w, r.blob);
}

/* Parts whose message was never accepted before the last stop. */
static int sweep(struct writer *w)
{
	struct key from, k;
	struct incoming_rec r;
	struct bytes v;

	for (int i = 0; i < SWEEP_ROWS_MAX; i++) {
		int rc = writer_first_row(w, DB_INCOMING, key_id(&from, 0), 0, &k, &v);
		if (rc == MDB_NOTFOUND || (!rc && key_get_u64(key_view(&k), 0) > w->sweep_below)) {
			w->sweep_below = 0;
			return 0;
		}
		if (!rc && !rec_read(v, &r, sizeof(r)))
			rc = MDB_CORRUPTED;
		if (!rc)
			rc = db_del(w->txn, w->db, DB_INCOMING, key_view(&k));
		if (!rc)
			rc = gc_add_blob(w, key_get_u64(key_view(&k), 0), r.chunks);
		if (rc)
			return rc;
	}
	return 0;
}

/* References are in order of their time and behind all else: the first that is not due ends the
 * turn, and the next look is when it is. */
static int row_free(struct writer *w, const struct key *k, struct bytes v, uint32_t *pages)
{
	switch (key_get_u32(key_view(k), 0)) {
	case GC_BLOB:
		return blob_free(w, k, v, pages);
	case GC_BOX:
		return box_free(w, k, pages);
	default:
		return ref_free(w, k, v, pages);
	}
}

static int rows_free(struct writer *w, uint32_t *pages)
{
	struct key from, k;
	struct bytes v;

	while (*pages) {
		int rc = writer_first_row(w, DB_GC, key_gc(&from, 0, 0, 0), 0, &k, &v);
		if (rc == MDB_NOTFOUND) {
			w->garbage = w->sweep_below != 0;
			return 0;
		}
		if (!rc)
			rc = row_free(w, &k, v, pages);
		if (rc == MDB_NOTFOUND) {
			w->garbage = w->sweep_below != 0;
			return 0;
		}
		if (rc)
			return rc;
	}
	return 0;
}

int gc_step(struct writer *w, uint32_t pages)
{
	uint32_t left = pages;
	int rc = w->sweep_below ? sweep(w) : 0;

	if (!rc)
		rc = rows_free(w, &left);
	w->debt_freed += pages - left;
	return rc;
}

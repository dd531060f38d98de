/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies as LMDB chunks: the writing half.  Writer thread.  A full chunk with its node is exactly
 * one page of LMDB, so a body never needs adjacent free pages. */
#include "store/body.h"
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/writer.h"

/* Reads a chain in steps, whatever its chunks are filled with. */
struct chain_reader {
	const struct chunk *at;
	uint32_t offset;
};

static void chain_copy(struct chain_reader *r, uint8_t *out, size_t n)
{
	while (n) {
		BUG_ON(!r->at); /* chain.bytes is the sum of its chunks */
		size_t take = MIN(n, (size_t)(r->at->n - r->offset));
		memcpy(out, r->at->data + r->offset, take);
		out += take;
		n -= take;
		r->offset += (uint32_t)take;
		if (r->offset == r->at->n) {
			r->at = r->at->next;
			r->offset = 0;
		}
	}
}

/* Ids mostly arrive in ascending order: appending fills pages wholly and saves the search. */
static int blob_chunk_put(struct writer *w, uint64_t blob, uint32_t n, struct chain_reader *from,
	size_t octets, uint32_t *crc_r)
{
	struct key k;
	void *room;
	bool append = blob > w->chunk_last_id || (blob == w->chunk_last_id && n > w->chunk_last_n);
	int rc = db_reserve(w->txn, w->db, DB_CHUNK, key_id_n(&k, blob, n), octets, append, &room);

	if (rc)
		return rc;
	chain_copy(from, room, octets);
	*crc_r = crc32c(0, room, octets);
	if (append) {
		w->chunk_last_id = blob;
		w->chunk_last_n = n;
	}
	return 0;
}

/* Stores `octets` octets as chunks from `first` on; crcs gets one value per chunk. */
static int chunks_put(struct writer *w, uint64_t blob, uint32_t first, uint64_t octets,
	struct chain_reader *from, uint32_t *crcs)
{
	for (uint32_t i = 0; octets; i++) {
		size_t n = MIN(octets, (uint64_t)CHUNK_DATA);
		int rc = blob_chunk_put(w, blob, first + i, from, n, &crcs[i]);
		if (rc)
			return rc;
		octets -= n;
	}
	return 0;
}

/* The same with the CRCs in rows of their own. */
static int run_put(
	struct writer *w, uint64_t blob, uint32_t first, uint64_t octets, struct chain_reader *from)
{
	uint32_t crcs[BLOB_CRC_INLINE];
	struct key k;

	while (octets) {
		uint64_t part = MIN(octets, (uint64_t)BLOB_CRC_INLINE * CHUNK_DATA);
		uint32_t chunks = (uint32_t)((part + CHUNK_DATA - 1) / CHUNK_DATA);
		int rc = chunks_put(w, blob, first, part, from, crcs);
		if (!rc)
			rc = db_put(w->txn, w->db, DB_CRC, key_id_n(&k, blob, first),
				bytes_make(crcs, chunks * sizeof(*crcs)));
		if (rc)
			return rc;
		first += chunks;
		octets -= part;
	}
	return 0;
}

static int incoming_get(struct writer *w, uint64_t blob, struct incoming_rec *r)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_INCOMING, key_id(&k, blob), &v);

	*r = (struct incoming_rec){0};
	if (rc == MDB_NOTFOUND)
		return 0;
	if (!rc && !rec_read(v, r, sizeof(*r)))
		return MDB_CORRUPTED;
	return rc;
}

static bool blob_exists(struct writer *w, uint64_t blob, int *rc_r)
{
	struct key k;
	struct bytes v;

	*rc_r = db_get(w->txn, w->db, DB_BLOB, key_id(&k, blob), &v);
	bool exists = *rc_r == 0;
	if (*rc_r == MDB_NOTFOUND)
		*rc_r = 0;
	return exists;
}

static bool gc_has(struct writer *w, uint64_t blob, int *rc_r)
{
	struct key k;
	struct bytes v;

	*rc_r = db_get(w->txn, w->db, DB_GC, key_gc(&k, GC_BLOB, 0, blob), &v);
	bool has = *rc_r == 0;
	if (*rc_r == MDB_NOTFOUND)
		*rc_r = 0;
	return has;
}

/* A used id, or one whose old chunks are still being freed, is never written again. */
static int id_taken(struct writer *w, uint64_t blob, bool *taken_r)
{
	int rc;

	*taken_r = blob_exists(w, blob, &rc);
	if (!rc && !*taken_r)
		*taken_r = gc_has(w, blob, &rc);
	return rc;
}

static bool all_full(const struct chain *chunks)
{
	for (const struct chunk *c = chunks->head; c; c = c->next) {
		if (c->n != CHUNK_DATA)
			return false;
	}
	return true;
}

int body_put_part(
	struct writer *w, uint64_t blob, uint32_t first, const struct chain *chunks, int *status_r)
{
	struct incoming_rec r;
	struct key k;
	bool taken;
	int rc = incoming_get(w, blob, &r);

	if (!rc)
		rc = id_taken(w, blob, &taken);
	if (rc)
		return rc;
	*status_r = HANDOFF_OK;
	if (taken || r.chunks != first || !all_full(chunks) ||
		chunks->bytes / CHUNK_DATA > UINT32_MAX - first) {
		*status_r = HANDOFF_ERROR;
		return 0;
	}
	struct chain_reader from = {.at = chunks->head};
	rc = run_put(w, blob, first, chunks->bytes, &from);
	if (rc)
		return rc;
	r.chunks += (uint32_t)(chunks->bytes / CHUNK_DATA);
	r.size += chunks->bytes;
	w->last_id = MAX(w->last_id, blob);
	return db_put(w->txn, w->db, DB_INCOMING, key_id(&k, blob), bytes_make(&r, sizeof(r)));
}

int body_drop_parts(struct writer *w, uint64_t blob)
{
	struct incoming_rec r;
	struct key k;
	int rc = incoming_get(w, blob, &r);

	if (rc || r.chunks == 0)
		return rc;
	rc = db_del(w->txn, w->db, DB_INCOMING, key_id(&k, blob));
	return rc ? rc : gc_add_blob(w, blob, r.chunks);
}

static uint32_t tail_chunks(const struct message *m)
{
	return (uint32_t)((m->body.bytes + CHUNK_DATA - 1) / CHUNK_DATA);
}

int body_check(struct writer *w, const struct message *m, int *status_r)
{
	struct incoming_rec r;
	bool taken;
	int rc = incoming_get(w, m->id, &r);

	if (!rc)
		rc = id_taken(w, m->id, &taken);
	if (rc)
		return rc;
	bool fits = !taken && m->id != 0 && m->id >> 63 == 0 && r.chunks == m->streamed_chunks &&
		    r.size == m->streamed && m->prefix.bytes <= MESSAGE_PREFIX_MAX &&
		    m->prefix_local <= m->prefix.bytes &&
		    m->body.bytes / CHUNK_DATA < UINT32_MAX - m->streamed_chunks;
	*status_r = fits ? HANDOFF_OK : HANDOFF_ERROR;
	return 0;
}

static int row_put(struct writer *w, const struct message *m, const struct blob_rec *r,
	const uint32_t *crcs, uint32_t crc_count)
{
	uint8_t row[BLOB_ROW_MAX];
	struct key k;
	size_t n = sizeof(*r);
	struct blob_rec rec = *r;

	rec.prefix_n = (uint16_t)m->prefix.bytes;
	rec.prefix_local = (uint16_t)m->prefix_local;
	chain_read(&m->prefix, 0, row + n, rec.prefix_n);
	rec.prefix_crc = crc32c(0, row + n, rec.prefix_n);
	memcpy(row, &rec, sizeof(rec));
	n += rec.prefix_n;
	memcpy(row + n, crcs, crc_count * sizeof(*crcs));
	n += crc_count * sizeof(*crcs);
	return db_put(w->txn, w->db, DB_BLOB, key_id(&k, m->id), bytes_make(row, n));
}

int body_put(struct writer *w, const struct message *m, uint32_t refs)
{
	uint32_t crcs[BLOB_CRC_INLINE] = {0};
	uint32_t tail = tail_chunks(m);
	bool in_row = tail <= BLOB_CRC_INLINE;
	struct chain_reader from = {.at = m->body.head};
	struct key k;
	int rc;

	if (in_row)
		rc = chunks_put(w, m->id, m->streamed_chunks, m->body.bytes, &from, crcs);
	else
		rc = run_put(w, m->id, m->streamed_chunks, m->body.bytes, &from);
	if (!rc && m->streamed_chunks)
		rc = db_del(w->txn, w->db, DB_INCOMING, key_id(&k, m->id));
	if (rc)
		return rc;
	struct blob_rec r = {.size = message_body_bytes(m),
		.received_ms = m->received_ms,
		.chunks = m->streamed_chunks + tail,
		.refs = refs,
		.crc = m->body_crc,
		.header_bytes = m->header_bytes,
		.crc_first = m->streamed_chunks + (in_row ? 0 : tail),
		.body_type = m->body_type};
	w->last_id = MAX(w->last_id, m->id);
	return row_put(w, m, &r, crcs, in_row ? tail : 0);
}

uint64_t body_view_bytes(const struct message *m)
{
	return m->prefix.bytes + message_body_bytes(m);
}

/* Rewrites the row with another count; *rec_r is the new record. */
static int refs_change(struct writer *w, uint64_t blob, int change, struct blob_rec *rec_r)
{
	uint8_t row[BLOB_ROW_MAX];
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_BLOB, key_id(&k, blob), &v);

	if (rc)
		return rc;
	if (v.n > sizeof(row) || !rec_read(v, rec_r, sizeof(*rec_r)))
		return MDB_CORRUPTED;
	if (change < 0 && rec_r->refs == 0)
		return MDB_CORRUPTED;
	rec_r->refs = (uint32_t)((int64_t)rec_r->refs + change);
	if (rec_r->refs == 0)
		return db_del(w->txn, w->db, DB_BLOB, key_id(&k, blob));
	memcpy(row, v.p, v.n);
	memcpy(row, rec_r, sizeof(*rec_r));
	return db_put(w->txn, w->db, DB_BLOB, key_id(&k, blob), bytes_make(row, v.n));
}

int body_ref(struct writer *w, uint64_t blob)
{
	struct blob_rec r;

	return refs_change(w, blob, 1, &r);
}

int body_unref(struct writer *w, uint64_t blob)
{
	struct blob_rec r;
	int rc = refs_change(w, blob, -1, &r);

	/* A reference without a blob is damage, but it must not keep its owner from going. */
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc || r.refs)
		return rc;
	return gc_body(w, blob, &r);
}

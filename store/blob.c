/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies into the journal, and rows about them: the writing half.  Writer thread. */
#include "store/body.h"
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/writer.h"

/* Reads a chain in steps, whatever its chunks are filled with. */
struct chain_reader {
	const struct chunk *at;
	uint32_t offset;
};

/* CRC of the next n octets. */
static uint32_t chain_crc(struct chain_reader *r, uint32_t crc, size_t n)
{
	while (n) {
		BUG_ON(!r->at); /* chain.bytes is the sum of its chunks */
		size_t take = MIN(n, (size_t)(r->at->n - r->offset));
		crc = crc32c(crc, r->at->data + r->offset, take);
		n -= take;
		r->offset += (uint32_t)take;
		if (r->offset == r->at->n) {
			r->at = r->at->next;
			r->offset = 0;
		}
	}
	return crc;
}

/* One for each chunk.  Returns how many. */
static uint32_t chunk_crcs(struct chain_reader *from, uint64_t octets, uint32_t *crcs)
{
	uint32_t i = 0;

	for (; octets; i++) {
		size_t n = MIN(octets, (uint64_t)CHUNK_DATA);
		crcs[i] = chain_crc(from, 0, n);
		octets -= n;
	}
	return i;
}

static int tail_put(struct writer *w, const struct message *m, uint32_t *crcs, uint64_t *at_r)
{
	struct chain_reader from = {.at = m->body.head};

	*at_r = 0;
	if (m->body.bytes == 0)
		return 0;
	int rc = journal_place(w->db->journal, &m->body, at_r);
	if (rc)
		return rc;
	db_live(w->db, *at_r, (int64_t)m->body.bytes);
	chunk_crcs(&from, m->body.bytes, crcs);
	return 0;
}

/* Rows about chunks from `first` on, which are at `at`. */
static int extent_put(struct writer *w, uint64_t blob, uint32_t first, uint64_t at, uint64_t octets,
	struct chain_reader *from, uint32_t *chunks_r)
{
	uint32_t crcs[BLOB_CRC_INLINE];
	struct chain_reader again = *from;
	struct extent_rec r = {.at = at, .octets = (uint32_t)octets};
	struct key k;

	*chunks_r = chunk_crcs(from, octets, crcs);
	r.crc = chain_crc(&again, 0, octets);
	int rc = db_put(w->txn, w->db, DB_CRC, key_id_n(&k, blob, first),
		bytes_make(crcs, *chunks_r * sizeof(*crcs)));
	return rc ? rc : db_put(w->txn, w->db, DB_EXTENT, key_view(&k), bytes_make(&r, sizeof(r)));
}

/* Chunks from `first` on, with rows for BLOB_CRC_INLINE of them each. */
static int run_put(struct writer *w, uint64_t blob, uint32_t first, const struct chain *chain)
{
	struct chain_reader from = {.at = chain->head};
	uint64_t at, left = chain->bytes;
	int rc = left ? journal_place(w->db->journal, chain, &at) : 0;

	while (!rc && left) {
		uint64_t part = MIN(left, (uint64_t)BLOB_CRC_INLINE * CHUNK_DATA);
		uint32_t chunks;
		rc = extent_put(w, blob, first, at, part, &from, &chunks);
		db_live(w->db, at, (int64_t)part);
		first += chunks;
		at += part;
		left -= part;
	}
	return rc;
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
	rc = run_put(w, blob, first, chunks);
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
	const uint32_t *crcs, uint32_t crc_count, uint64_t at)
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
	if (rec.in_journal) {
		memcpy(row + n, &at, sizeof(at));
		n += sizeof(at);
	}
	return db_put(w->txn, w->db, DB_BLOB, key_id(&k, m->id), bytes_make(row, n));
}

int body_put(struct writer *w, const struct message *m, uint32_t refs)
{
	uint32_t crcs[BLOB_CRC_INLINE] = {0};
	uint32_t tail = tail_chunks(m);
	bool in_row = tail <= BLOB_CRC_INLINE;
	uint64_t at = 0;
	struct key k;
	int rc = in_row ? tail_put(w, m, crcs, &at)
			: run_put(w, m->id, m->streamed_chunks, &m->body);

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
		.body_type = m->body_type,
		.in_journal = at != 0};
	w->last_id = MAX(w->last_id, m->id);
	return row_put(w, m, &r, crcs, in_row ? tail : 0, at);
}

uint64_t body_view_bytes(const struct message *m)
{
	return m->prefix.bytes + message_body_bytes(m);
}

uint64_t body_tail(const struct blob_rec *r)
{
	return r->in_journal ? r->size - (uint64_t)r->crc_first * CHUNK_DATA : 0;
}

/* Rewrites the row with another count; *rec_r is the new record, *at_r where its tail is. */
static int refs_change(
	struct writer *w, uint64_t blob, int change, struct blob_rec *rec_r, uint64_t *at_r)
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
	if (rec_r->in_journal && v.n < sizeof(*rec_r) + sizeof(*at_r))
		return MDB_CORRUPTED;
	if (rec_r->in_journal)
		memcpy(at_r, v.p + v.n - sizeof(*at_r), sizeof(*at_r));
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
	uint64_t at;

	return refs_change(w, blob, 1, &r, &at);
}

int body_unref(struct writer *w, uint64_t blob)
{
	struct blob_rec r;
	uint64_t at = 0;
	int rc = refs_change(w, blob, -1, &r, &at);

	/* A reference without a blob is damage, but it must not keep its owner from going. */
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc || r.refs)
		return rc;
	if (r.in_journal)
		db_live(w->db, at, -(int64_t)body_tail(&r));
	return gc_body(w, blob, &r);
}

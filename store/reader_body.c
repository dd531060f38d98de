/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies: the reading half.  Every chunk is checked against its CRC-32C before an octet of it goes
 * out.  Reader threads. */
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/reader.h"

bool body_row_read(struct bytes v, struct body_head *h)
{
	if (!rec_read(v, &h->r, sizeof(h->r)))
		return false;
	v = bytes_skip(v, sizeof(h->r));
	uint64_t crcs = 4ull * (h->r.chunks - h->r.crc_first);
	if (h->r.crc_first > h->r.chunks || h->r.prefix_local > h->r.prefix_n ||
		v.n != h->r.prefix_n + crcs + (h->r.in_journal ? sizeof(h->at) : 0) ||
		h->r.size > (uint64_t)h->r.chunks * CHUNK_DATA ||
		(h->r.in_journal && h->r.size < (uint64_t)h->r.crc_first * CHUNK_DATA))
		return false;
	h->prefix = bytes_first(v, h->r.prefix_n);
	h->crcs = bytes_first(bytes_skip(v, h->r.prefix_n), crcs);
	h->at = 0;
	if (h->r.in_journal)
		memcpy(&h->at, v.p + h->r.prefix_n + crcs, sizeof(h->at));
	return true;
}

struct bytes body_row_moved(struct bytes row, const struct body_head *h, uint8_t out[BLOB_ROW_MAX])
{
	struct blob_rec r = h->r;

	r.in_journal = 0;
	row.n -= sizeof(h->at);
	memcpy(out, row.p, row.n);
	memcpy(out, &r, sizeof(r));
	return bytes_make(out, row.n);
}

int body_head_read(MDB_txn *txn, const struct db *db, uint64_t blob, struct body_head *h)
{
	struct key k;
	struct bytes v;
	int rc = db_get(txn, db, DB_BLOB, key_id(&k, blob), &v);

	if (rc)
		return rc;
	if (!body_row_read(v, h))
		return EIO;
	return crc32c(0, h->prefix.p, h->prefix.n) == h->r.prefix_crc ? 0 : EIO;
}

/* Of the rows of this body the last one that begins at or before chunk n.  EIO: none. */
static int run_find(MDB_txn *txn, const struct db *db, enum db_id id, uint64_t blob, uint32_t n,
	uint32_t *first_r, struct bytes *value_r)
{
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(txn, db, id, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id_n(&k, blob, n));
	if (rc == MDB_NOTFOUND)
		rc = db_cursor_last(&c);
	else if (!rc && !bytes_eq(c.key, key_view(&k)))
		rc = db_cursor_prev(&c);
	if (!rc && (key_get_u64(c.key, 0) != blob || key_get_u32(c.key, 8) > n))
		rc = EIO;
	if (!rc) {
		*first_r = key_get_u32(c.key, 8);
		*value_r = c.value;
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? EIO : rc;
}

static int run_crc(MDB_txn *txn, const struct db *db, uint64_t blob, uint32_t n, uint32_t *crc_r)
{
	uint32_t first;
	struct bytes v;
	int rc = run_find(txn, db, DB_CRC, blob, n, &first, &v);

	if (rc)
		return rc;
	if ((uint64_t)(n - first) * 4 + 4 > v.n)
		return EIO;
	memcpy(crc_r, v.p + (n - first) * 4ull, sizeof(*crc_r));
	return 0;
}

/* n octets of the journal. */
static int journal_octets(const struct db *db, uint64_t at, uint64_t n, struct bytes *data_r)
{
	const uint8_t *p = db->journal ? journal_body(db->journal, at, n) : NULL;

	*data_r = bytes_make(p, p ? n : 0);
	return p ? 0 : EIO;
}

/* `octets` octets of chunk n, wherever they are. */
static int chunk_find(MDB_txn *txn, const struct db *db, uint64_t blob, const struct body_head *h,
	uint32_t n, uint64_t octets, struct bytes *data_r)
{
	struct extent_rec e;
	struct key k;
	uint32_t first;
	struct bytes v;

	if (h->r.in_journal && n >= h->r.crc_first)
		return journal_octets(
			db, h->at + (uint64_t)(n - h->r.crc_first) * CHUNK_DATA, octets, data_r);
	int rc = db_get(txn, db, DB_CHUNK, key_id_n(&k, blob, n), data_r);
	if (rc != MDB_NOTFOUND)
		return rc;
	rc = run_find(txn, db, DB_EXTENT, blob, n, &first, &v);
	if (rc)
		return rc;
	uint64_t offset = (uint64_t)(n - first) * CHUNK_DATA;
	if (!rec_read(v, &e, sizeof(e)) || offset + octets > e.octets)
		return EIO;
	return journal_octets(db, e.at + offset, octets, data_r);
}

static int chunk_crc(MDB_txn *txn, const struct db *db, uint64_t blob, const struct body_head *h,
	uint32_t n, uint32_t *crc_r)
{
	if (n < h->r.crc_first)
		return run_crc(txn, db, blob, n, crc_r);
	memcpy(crc_r, h->crcs.p + (n - h->r.crc_first) * 4ull, sizeof(*crc_r));
	return 0;
}

int body_chunk_read(MDB_txn *txn, const struct db *db, uint64_t blob, const struct body_head *h,
	uint32_t n, struct bytes *data_r)
{
	uint64_t begin = (uint64_t)n * CHUNK_DATA;
	uint64_t octets = MIN(h->r.size - begin, (uint64_t)CHUNK_DATA);
	uint32_t crc;

	if (begin > h->r.size)
		return EIO;
	int rc = chunk_find(txn, db, blob, h, n, octets, data_r);
	if (rc)
		return rc;
	if (data_r->n != octets)
		return EIO;
	rc = chunk_crc(txn, db, blob, h, n, &crc);
	if (rc)
		return rc;
	return crc32c(0, data_r->p, data_r->n) == crc ? 0 : EIO;
}

static int append(struct chain *out, struct bytes data)
{
	return chain_append(out, data) < 0 ? ENOBUFS : 0;
}

/* n octets of the body from offset on; the range is inside the body. */
static int range_read(MDB_txn *txn, const struct db *db, uint64_t blob, const struct body_head *h,
	uint64_t offset, uint64_t n, struct chain *out)
{
	while (n) {
		struct bytes data;
		int rc = body_chunk_read(txn, db, blob, h, (uint32_t)(offset / CHUNK_DATA), &data);
		if (rc)
			return rc;
		data = bytes_first(bytes_skip(data, offset % CHUNK_DATA), n);
		rc = append(out, data);
		if (rc)
			return rc;
		offset += data.n;
		n -= data.n;
	}
	return 0;
}

int body_read(MDB_txn *txn, const struct db *db, struct body_read_op *op)
{
	struct body_head h;
	int rc = body_head_read(txn, db, op->blob, &h);

	if (rc)
		return rc;
	struct bytes prefix = bytes_skip(h.prefix, op->relay ? h.r.prefix_local : 0);
	op->total = prefix.n + h.r.size;
	if (op->offset >= op->total)
		return 0;
	uint64_t want = MIN(op->total - op->offset, (uint64_t)MIN(op->max, READER_SLICE_BYTES));
	uint64_t at = op->offset;
	if (at < prefix.n) {
		struct bytes part = bytes_first(bytes_skip(prefix, at), want);
		rc = append(&op->out, part);
		if (rc)
			return rc;
		want -= part.n;
		at += part.n;
	}
	return want ? range_read(txn, db, op->blob, &h, at - prefix.n, want, &op->out) : 0;
}

int reader_body(struct reader *r, struct op *o)
{
	struct body_read_op *op = container_of(o, struct body_read_op, op);

	op->out = (struct chain){0};
	op->total = 0;
	int rc = body_read(r->txn, &r->store->db, op);
	if (rc)
		chain_free(&op->out);
	return rc;
}

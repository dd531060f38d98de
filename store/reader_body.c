/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies: the reading half.  Every chunk is checked against its CRC-32C before an octet of it goes
 * out.  Reader threads. */
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/reader.h"

int body_head_read(MDB_txn *txn, const struct db *db, uint64_t blob, struct body_head *h)
{
	struct key k;
	struct bytes v;
	int rc = db_get(txn, db, DB_BLOB, key_id(&k, blob), &v);

	if (rc)
		return rc;
	if (!rec_read(v, &h->r, sizeof(h->r)))
		return EIO;
	v = bytes_skip(v, sizeof(h->r));
	if (h->r.crc_first > h->r.chunks || h->r.prefix_local > h->r.prefix_n ||
		v.n != h->r.prefix_n + 4ull * (h->r.chunks - h->r.crc_first) ||
		h->r.size > (uint64_t)h->r.chunks * CHUNK_DATA)
		return EIO;
	h->prefix = bytes_first(v, h->r.prefix_n);
	h->crcs = bytes_skip(v, h->r.prefix_n);
	return crc32c(0, h->prefix.p, h->prefix.n) == h->r.prefix_crc ? 0 : EIO;
}

/* CRC of chunk n from the row of its run: the last run that begins at or before n. */
static int run_crc(MDB_txn *txn, const struct db *db, uint64_t blob, uint32_t n, uint32_t *crc_r)
{
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(txn, db, DB_CRC, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id_n(&k, blob, n));
	if (rc == MDB_NOTFOUND)
		rc = db_cursor_last(&c);
	else if (!rc && !bytes_eq(c.key, key_view(&k)))
		rc = db_cursor_prev(&c);
	if (!rc && (key_get_u64(c.key, 0) != blob || key_get_u32(c.key, 8) > n ||
			   (uint64_t)(n - key_get_u32(c.key, 8)) * 4 + 4 > c.value.n))
		rc = EIO;
	if (!rc)
		memcpy(crc_r, c.value.p + (n - key_get_u32(c.key, 8)) * 4ull, sizeof(*crc_r));
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? EIO : rc;
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
	uint32_t crc;
	struct key k;
	int rc = db_get(txn, db, DB_CHUNK, key_id_n(&k, blob, n), data_r);

	if (rc)
		return rc == MDB_NOTFOUND ? EIO : rc; /* the blob row says that it exists */
	if (data_r->n != MIN(h->r.size - begin, (uint64_t)CHUNK_DATA))
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

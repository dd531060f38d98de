/* SPDX-License-Identifier: BSD-3-Clause
 * What is kept beside a body, checked against its CRC-32C.  Reader threads. */
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/body.h"
#include "store/reader.h"

/* The rows behind one another: octets to out, their CRC to *crc. */
static int rows_read(
	struct db_cursor *c, const struct shape_rec *rec, struct chain *out, uint32_t *crc)
{
	struct bytes v = bytes_skip(c->value, sizeof(*rec));
	uint64_t blob = key_get_u64(c->key, 0);
	uint32_t left = rec->octets, number = 0;

	for (;;) {
		if (v.n != MIN(left, (uint32_t)SHAPE_ROW))
			return EIO;
		*crc = crc32c(*crc, v.p, v.n);
		if (out && chain_append(out, v) < 0)
			return ENOBUFS;
		left -= (uint32_t)v.n;
		if (left == 0)
			return 0;
		int rc = db_cursor_next(c);
		if (rc)
			return rc == MDB_NOTFOUND ? EIO : rc;
		if (key_get_u64(c->key, 0) != blob || key_get_u32(c->key, 8) != ++number)
			return EIO;
		v = c->value;
	}
}

int body_shape_read(MDB_txn *txn, const struct db *db, uint64_t blob, struct chain *out)
{
	struct shape_rec rec = {0};
	struct db_cursor c;
	uint32_t crc = 0;
	struct key k;
	int rc = db_cursor_open(txn, db, DB_SHAPE, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id_n(&k, blob, 0));
	if (!rc && key_get_u64(c.key, 0) != blob)
		rc = MDB_NOTFOUND;
	if (!rc && (key_get_u32(c.key, 8) != 0 || !rec_read(c.value, &rec, sizeof(rec)) ||
			   rec.octets == 0 || rec.octets > SHAPE_MAX))
		rc = EIO;
	if (!rc)
		rc = rows_read(&c, &rec, out, &crc);
	db_cursor_close(&c);
	return !rc && crc != rec.crc ? EIO : rc;
}

int reader_shape(struct reader *r, struct op *o)
{
	struct shape_read_op *op = container_of(o, struct shape_read_op, op);

	op->out = (struct chain){0};
	int rc = body_shape_read(r->txn, &r->store->db, op->blob, &op->out);
	if (rc)
		chain_free(&op->out);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What was found out about bodies is kept beside them.  Writer thread. */
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/body.h"
#include "store/writer.h"

static int has_row(struct writer *w, enum db_id id, struct bytes key, bool *has_r)
{
	struct bytes v;
	int rc = db_get(w->txn, w->db, id, key, &v);

	*has_r = rc == 0;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int rows_put(struct writer *w, uint64_t blob, const uint8_t *octets, uint32_t n)
{
	struct shape_rec rec = {.octets = n, .crc = crc32c(0, octets, n)};
	uint8_t row[sizeof(rec) + SHAPE_ROW];
	struct key k;
	int rc = 0;

	memcpy(row, &rec, sizeof(rec));
	for (uint32_t at = 0, number = 0; !rc && at < n; number++) {
		uint32_t head = number ? 0 : (uint32_t)sizeof(rec);
		uint32_t part = MIN(n - at, (uint32_t)SHAPE_ROW);
		memcpy(row + head, octets + at, part);
		rc = db_put(w->txn, w->db, DB_SHAPE, key_id_n(&k, blob, number),
			bytes_make(row, head + part));
		at += part;
	}
	return rc;
}

static int rows_del(struct writer *w, uint64_t blob)
{
	for (uint32_t number = 0; number <= SHAPE_MAX / SHAPE_ROW; number++) {
		struct key k;
		int rc = db_del(w->txn, w->db, DB_SHAPE, key_id_n(&k, blob, number));
		if (rc && rc != MDB_NOTFOUND)
			return rc;
	}
	return 0;
}

static int shape_put(struct writer *w, const struct shape_head *h, const uint8_t *octets)
{
	uint64_t blob = h->blob;
	bool has = false;
	struct key k;
	int rc = has_row(w, DB_BLOB, key_id(&k, blob), &has);

	if (rc || !has)
		return rc;
	rc = has_row(w, DB_SHAPE, key_id_n(&k, blob, 0), &has);
	if (!rc && has && h->replace) {
		rc = rows_del(w, blob);
		has = false;
	}
	return rc || has ? rc : rows_put(w, blob, octets, h->octets);
}

int writer_apply_shape(struct writer *w, struct op *op)
{
	const struct chain *data = &container_of(op, struct shape_op, op)->data;
	uint8_t octets[SHAPE_MAX];
	struct shape_head h;
	int rc = 0;

	for (uint64_t at = 0; !rc && at < data->bytes; at += h.octets) {
		bool whole = chain_read(data, at, &h, sizeof(h)) == sizeof(h);
		at += sizeof(h);
		if (!whole || h.octets == 0 || h.octets > SHAPE_MAX ||
			chain_read(data, at, octets, h.octets) != h.octets) {
			op->status = -EINVAL;
			return 0;
		}
		rc = shape_put(w, &h, octets);
	}
	return rc;
}

void writer_shape_release(struct op *op)
{
	chain_free(&container_of(op, struct shape_op, op)->data);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies: octets against checksums, chunks against their rows, references against those who
 * refer. */
#include <errno.h>
#include "store/check_priv.h"

#define CHUNKS_PER_STEP 64

const char *check_blob_name(uint64_t blob, char out[64])
{
	snprintf(out, 64, "body %016llx", (unsigned long long)blob);
	return out;
}

static int blob_unreadable(struct check *c, uint64_t blob, const char *why)
{
	char name[64];
	struct key k;

	/* Whoever refers to it is told in the stages to come. */
	if (!check_problem(c, "body-row", true, true, check_blob_name(blob, name), "%s", why))
		return 0;
	return db_del(c->txn, c->db, DB_BLOB, key_id(&k, blob));
}

static void refs_add(struct check *c, uint64_t blob, uint32_t refs)
{
	c->refs[c->ref_n++] = (struct check_ref){.blob = blob, .refs = refs};
	c->totals.blobs++;
}

/* The next chunks of c->body; false: there are more. */
static int chunks_look(struct check *c, const struct body_head *h, bool *done_r)
{
	char name[64];

	*done_r = true;
	for (unsigned i = 0; i < CHUNKS_PER_STEP && c->body_chunk < h->r.chunks; i++) {
		struct bytes data;
		int rc = body_chunk_read(c->txn, c->db, c->body, h, c->body_chunk, &data);
		if (rc == EIO) {
			check_problem(c, "body-damaged", false, true,
				check_blob_name(c->body, name), "chunk %u of %u", c->body_chunk,
				h->r.chunks);
			return 0;
		}
		if (rc)
			return rc;
		c->body_chunk++;
		c->totals.chunks++;
		c->totals.body_bytes += data.n;
	}
	*done_r = c->body_chunk >= h->r.chunks;
	return 0;
}

int check_step_blob(struct check *c)
{
	struct body_head h;
	struct bytes v;
	struct key k;
	bool done = true;

	if (c->ref_n == CHECK_REFS_MAX) {
		c->ref_next = key_get_u64(key_view(&c->at), 0) + 1;
		return MDB_NOTFOUND;
	}
	int rc = check_next(c, DB_BLOB, &k, &v);
	if (rc)
		return rc;
	if (k.n != 8)
		return EIO;
	uint64_t blob = key_get_u64(key_view(&k), 0);
	if (blob != c->body) {
		c->body = blob;
		c->body_chunk = 0;
	}
	rc = body_head_read(c->txn, c->db, blob, &h);
	if (rc == EIO) {
		if (!body_row_read(v, &h))
			return blob_unreadable(c, blob, "the row cannot be read");
		char name[64];
		check_problem(c, "body-damaged", false, true, check_blob_name(blob, name),
			"fields before the body");
		refs_add(c, blob, h.r.refs);
		return 0;
	}
	if (!rc)
		rc = chunks_look(c, &h, &done);
	if (rc)
		return rc;
	if (done)
		refs_add(c, blob, h.r.refs);
	else
		check_go_on(c, key_view(&k));
	return 0;
}

/* ---- rows of bodies that nobody knows ---- */

int check_chunk_limit(struct check *c, uint64_t blob, uint32_t *end_r)
{
	struct incoming_rec in;
	struct blob_rec b;
	struct bytes v;
	struct key k;
	int rc = db_get(c->txn, c->db, DB_BLOB, key_id(&k, blob), &v);

	*end_r = 0;
	if (rc == 0) {
		*end_r = rec_read(v, &b, sizeof(b)) ? b.chunks : UINT32_MAX;
		return 0;
	}
	if (rc == MDB_NOTFOUND)
		rc = db_get(c->txn, c->db, DB_INCOMING, key_id(&k, blob), &v);
	if (rc == 0) {
		*end_r = rec_read(v, &in, sizeof(in)) ? in.chunks : 0;
		return 0;
	}
	if (rc == MDB_NOTFOUND)
		rc = db_get(c->txn, c->db, DB_GC, key_gc(&k, GC_BLOB, 0, blob), &v);
	/* Garbage: those of a slot that was emptied meanwhile go with the rest, and checksums of
	 * what lies in the journal as well. */
	if (rc == 0)
		*end_r = UINT32_MAX;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int check_step_chunk(struct check *c)
{
	char name[64];
	uint32_t end;
	struct bytes v;
	struct key k;
	int rc = check_next(c, DB_CHUNK, &k, &v);

	if (rc)
		return rc;
	if (k.n != 12)
		return EIO;
	uint64_t blob = key_get_u64(key_view(&k), 0);
	uint32_t n = key_get_u32(key_view(&k), 8);
	rc = check_chunk_limit(c, blob, &end);
	if (rc)
		return rc;
	if (n < end) {
		check_go_on(c, key_id_n(&k, blob, end));
		return 0;
	}
	if (!check_problem(
		    c, "chunk-orphan", true, false, check_blob_name(blob, name), "chunk %u", n))
		return 0;
	return db_del(c->txn, c->db, DB_CHUNK, key_view(&k));
}

int check_step_crc(struct check *c)
{
	char name[64];
	uint32_t end;
	struct bytes v;
	struct key k;
	int rc = check_next(c, DB_CRC, &k, &v);

	if (rc)
		return rc;
	if (k.n != 12)
		return EIO;
	uint64_t blob = key_get_u64(key_view(&k), 0);
	rc = check_chunk_limit(c, blob, &end);
	if (rc || end > 0) {
		struct key behind;
		check_go_on(c, key_id_n(&behind, blob, UINT32_MAX));
		return rc;
	}
	if (!check_problem(c, "checksum-orphan", true, false, check_blob_name(blob, name),
		    "row of chunk %u", key_get_u32(key_view(&k), 8)))
		return 0;
	return db_del(c->txn, c->db, DB_CRC, key_view(&k));
}

static int shape_remove(struct check *c, uint64_t blob)
{
	for (uint32_t n = 0; n <= SHAPE_MAX / SHAPE_ROW; n++) {
		struct key k;
		int rc = db_del(c->txn, c->db, DB_SHAPE, key_id_n(&k, blob, n));
		if (rc && rc != MDB_NOTFOUND)
			return rc;
	}
	return 0;
}

/* What is kept beside a body: it can be found out anew, so what is wrong goes. */
int check_step_shape(struct check *c)
{
	char name[64];
	struct bytes v;
	struct key k, b;
	int rc = check_next(c, DB_SHAPE, &k, &v);

	if (rc)
		return rc;
	if (k.n != 12)
		return EIO;
	uint64_t blob = key_get_u64(key_view(&k), 0);
	check_go_on(c, key_id_n(&b, blob, UINT32_MAX));
	bool owned = check_has(c, DB_BLOB, key_id(&b, blob), &rc) ||
		     (!rc && check_has(c, DB_GC, key_gc(&b, GC_BLOB, 0, blob), &rc));
	if (rc)
		return rc;
	rc = body_shape_read(c->txn, c->db, blob, NULL);
	if (owned && rc != EIO)
		return rc;
	/* Of a body that is being freed the first rows may have gone. */
	if (owned && !check_has(c, DB_BLOB, key_id(&b, blob), &rc))
		return 0;
	if (!check_problem(c, owned ? "shape-damaged" : "shape-orphan", true, false,
		    check_blob_name(blob, name),
		    owned ? "not what its checksum says" : "there is no such body"))
		return 0;
	return shape_remove(c, blob);
}

int check_step_garbage(struct check *c)
{
	char name[64];
	struct bytes v;
	struct key k, b;
	int rc = check_next(c, DB_GC, &k, &v);

	if (rc)
		return rc;
	if (k.n != 16)
		return EIO;
	uint64_t number = key_get_u64(key_view(&k), 8);
	if (key_get_u32(key_view(&k), 0) != GC_BLOB ||
		!check_has(c, DB_BLOB, key_id(&b, number), &rc) || rc)
		return rc;
	if (!check_problem(c, "garbage-in-use", true, false, check_blob_name(number, name),
		    "a body with references is to be freed"))
		return 0;
	return db_del(c->txn, c->db, DB_GC, key_view(&k));
}

/* References that messages which were expunged still hold. */
int check_step_held_ref(struct check *c)
{
	struct gc_ref_rec r;
	struct bytes v;
	struct key k;

	if (c->at.n == 0)
		check_go_on(c, key_gc(&k, GC_REF, 0, 0));
	int rc = check_next(c, DB_GC, &k, &v);
	if (rc)
		return rc;
	if (k.n != 16 || key_get_u32(key_view(&k), 0) != GC_REF)
		return MDB_NOTFOUND;
	if (rec_read(v, &r, sizeof(r))) {
		check_count(c, r.blob);
		return 0;
	}
	if (check_problem(c, "garbage-row", true, false, "garbage", "a reference cannot be read"))
		return db_del(c->txn, c->db, DB_GC, key_view(&k));
	return 0;
}

/* ---- references ---- */

static int refs_set(struct check *c, uint64_t blob, uint32_t refs)
{
	uint8_t row[BLOB_ROW_MAX];
	struct blob_rec r;
	struct bytes v;
	struct key k;
	int rc = db_get(c->txn, c->db, DB_BLOB, key_id(&k, blob), &v);

	if (rc)
		return rc;
	if (v.n > sizeof(row) || !rec_read(v, &r, sizeof(r)))
		return EIO;
	struct body_head h = {.r.in_journal = 0};
	bool tail = body_row_read(v, &h) && h.r.in_journal;
	r.refs = refs;
	if (refs) {
		memcpy(row, v.p, v.n);
		memcpy(row, &r, sizeof(r));
		return db_put(c->txn, c->db, DB_BLOB, key_id(&k, blob), bytes_make(row, v.n));
	}
	if (tail)
		db_live(c->db, h.at, -(int64_t)body_tail(&h.r));
	struct gc_rec g = {.chunks = tail ? r.crc_first : r.chunks};
	rc = db_del(c->txn, c->db, DB_BLOB, key_id(&k, blob));
	return rc ? rc
		  : db_put(c->txn, c->db, DB_GC, key_gc(&k, GC_BLOB, 0, blob),
			    bytes_make(&g, sizeof(g)));
}

static int refs_now(struct check *c, uint64_t blob, bool *same_r, uint32_t was)
{
	struct blob_rec r;
	struct bytes v;
	struct key k;
	int rc = db_get(c->txn, c->db, DB_BLOB, key_id(&k, blob), &v);

	*same_r = !rc && rec_read(v, &r, sizeof(r)) && r.refs == was;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Live, a reference that moved while the mailboxes were walked may be counted twice or not at all:
 * who looks wrong is counted once more, and reported when nothing about it has changed. */
int check_step_refs(struct check *c)
{
	char name[64];
	bool same = true;

	if (c->ref_at == c->ref_n)
		return MDB_NOTFOUND;
	struct check_ref *r = &c->refs[c->ref_at++];
	if (r->refs == r->count)
		return 0;
	int rc = c->conf.live ? refs_now(c, r->blob, &same, r->refs) : 0;
	if (rc || !same)
		return rc;
	if (c->conf.live && !c->again) {
		c->refs[c->suspects++] = (struct check_ref){.blob = r->blob, .refs = r->refs};
		return 0;
	}
	if (!check_problem(c, "body-references", true, false, check_blob_name(r->blob, name),
		    "%u, found %u", r->refs, r->count))
		return 0;
	return refs_set(c, r->blob, r->count);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Message bodies.  The blob row says how a body is stored (LMDB chunks so far), so that another
 * form can be added behind these functions.  A body is immutable once stored; its life is a
 * reference count. */
#pragma once
#include "store/db.h"

struct writer;

/* ---- writer ---- */
/* A run of full chunks of a body that is still being received, from chunk `first` on.  *status_r:
 * 0, or HANDOFF_ERROR for a run that does not follow what is there. */
int body_put_part(struct writer *w, uint64_t blob, uint32_t first, const struct chain *chunks,
	int *status_r) WARN_UNUSED;
/* Make the parts of a message that is not accepted garbage. */
int body_drop_parts(struct writer *w, uint64_t blob) WARN_UNUSED;
/* Can m be stored: id unused, its parts complete?  0 or HANDOFF_ERROR in *status_r. */
int body_check(struct writer *w, const struct message *m, int *status_r) WARN_UNUSED;
/* Stores body and prefix with `refs` references. */
int body_put(struct writer *w, const struct message *m, uint32_t refs) WARN_UNUSED;
/* Octets of the mailbox's view of m. */
uint64_t body_view_bytes(const struct message *m);
int body_ref(struct writer *w, uint64_t blob) WARN_UNUSED;
/* The last reference makes it garbage. */
int body_unref(struct writer *w, uint64_t blob) WARN_UNUSED;

/* ---- readers ---- */
struct body_head {
	struct blob_rec r;
	struct bytes prefix, crcs; /* views into the map, as long as the transaction */
};
/* MDB_NOTFOUND; EIO: corrupt. */
int body_head_read(
	MDB_txn *txn, const struct db *db, uint64_t blob, struct body_head *h) WARN_UNUSED;
/* Chunk n, a view into the map.  EIO: missing, or not what its CRC says. */
int body_chunk_read(MDB_txn *txn, const struct db *db, uint64_t blob, const struct body_head *h,
	uint32_t n, struct bytes *data_r) WARN_UNUSED;
/* Appends up to op->max octets of the view to op->out and sets op->total.  MDB_NOTFOUND; EIO: a
 * checksum does not fit; ENOBUFS: chunk pool empty. */
int body_read(MDB_txn *txn, const struct db *db, struct body_read_op *op) WARN_UNUSED;
/* What is kept beside the body, appended to out (NULL: it is only checked).  MDB_NOTFOUND: nothing;
 * EIO: not what its checksum says; ENOBUFS. */
int body_shape_read(
	MDB_txn *txn, const struct db *db, uint64_t blob, struct chain *out) WARN_UNUSED;

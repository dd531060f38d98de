/* SPDX-License-Identifier: BSD-3-Clause
 * Message bodies.  A body comes into the journal with its transaction and is read where it lies
 * there; what is still wanted when its slot is to be used again moves into chunks of LMDB.  A body
 * is immutable once stored; its life is a reference count. */
#pragma once
#include "store/db_journal.h"

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

/* Octets in the journal that go when this row goes. */
uint64_t body_tail(const struct blob_rec *r);
/* When slots hold too much that nobody wants: chooses the one that has the least of what is still
 * wanted.  False: there is nothing to move. */
bool body_move_begin(struct writer *w);
/* How much a step may move, and look at for that, in octets. */
struct move_budget {
	uint64_t bodies;
	uint64_t rows; /* of the journal's records */
};
/* What is still wanted of it moves into chunks. */
int body_move_step(struct writer *w, struct move_budget left) WARN_UNUSED;
/* Between transactions, when little comes: the slot that is written is left for another when it
 * holds too much that nobody wants, so that it can be chosen.  False: there is no other. */
bool body_move_leave(struct writer *w);

/* ---- the journal ---- */
/* The body, or the part of one, that this row of blob or extent describes moves into chunks.
 * Whoever has the write transaction. */
int body_move(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key) WARN_UNUSED;
/* A row of a record that is read anew: is the body that it brought what it says? */
bool body_row_is_whole(
	const struct journal *j, const struct journal_view *v, unsigned table, struct bytes value);

/* ---- readers ---- */
struct body_head {
	struct blob_rec r;
	struct bytes prefix, crcs; /* views into the map, as long as the transaction */
	uint64_t at;               /* in_journal: of the chunks from crc_first on */
};
/* The row alone; false: it cannot be one. */
bool body_row_read(struct bytes row, struct body_head *h) WARN_UNUSED;
/* A row that says in_journal (at most BLOB_ROW_MAX octets, read into *h) as it is when its tail
 * lies in chunks; a view of out. */
struct bytes body_row_moved(
	struct bytes row, const struct body_head *h, uint8_t out[BLOB_ROW_MAX]) WARN_UNUSED;
/* MDB_NOTFOUND; EIO: corrupt. */
int body_head_read(
	MDB_txn *txn, const struct db *db, uint64_t blob, struct body_head *h) WARN_UNUSED;
/* Chunk n, a view as long as the transaction.  EIO: missing, or not what its CRC says. */
int body_chunk_read(MDB_txn *txn, const struct db *db, uint64_t blob, const struct body_head *h,
	uint32_t n, struct bytes *data_r) WARN_UNUSED;
/* Appends up to op->max octets of the view to op->out and sets op->total.  MDB_NOTFOUND; EIO: a
 * checksum does not fit; ENOBUFS: chunk pool empty. */
int body_read(MDB_txn *txn, const struct db *db, struct body_read_op *op) WARN_UNUSED;
/* What is kept beside the body, appended to out (NULL: it is only checked).  MDB_NOTFOUND: nothing;
 * EIO: not what its checksum says; ENOBUFS. */
int body_shape_read(
	MDB_txn *txn, const struct db *db, uint64_t blob, struct chain *out) WARN_UNUSED;

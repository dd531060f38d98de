/* SPDX-License-Identifier: BSD-3-Clause
 * What db.c and the bodies need of an environment's journal: opening (db_journal.c), checkpoints
 * and syncs (db_checkpoint.c), transactions (db_commit.c), room (db_room.c). */
#pragma once
#include "store/db.h"
#include "store/journal.h"

/* Which journal directory/data.mdb belongs to; 0: none, it is whole by itself.  0 or an errno. */
int db_mark_get(const char *directory, uint64_t *set_r) WARN_UNUSED;
/* Before LMDB opens the data file: finds the journal, and brings the meta pages back to the last
 * checkpoint.  0 or an errno with a text. */
int db_journal_prepare(struct db *db, char *error, size_t error_n) WARN_UNUSED;
/* The same for the meta pages alone, before the environment is opened anew: nobody reads or writes
 * it.  0 or an errno. */
int db_journal_restore(const struct db *db) WARN_UNUSED;
/* What a commit has written of LMDB's meta page of this transaction, as it is in the file.  0 or
 * EIO. */
int db_meta_page(const struct db *db, uint64_t txn, uint8_t meta[JOURNAL_META]) WARN_UNUSED;
/* LMDB has it open: what the checkpoint needs is not to be used again. */
int db_journal_pin(struct db *db) WARN_UNUSED;
/* All tables are open: does again what the journal says, and makes a checkpoint of it.  From now on
 * transactions are noted. */
int db_journal_start(struct db *db) WARN_UNUSED;
/* Before LMDB closes. */
void db_journal_end(struct db *db);
/* The environment is durable as it is, and the journal begins behind it. */
int db_checkpoint(struct db *db) WARN_UNUSED;
/* Has enough been written since the last one, and is none under way? */
bool db_checkpoint_due(const struct db *db);
/* Begins one beside the work of the caller when it is due, ends one that is through.  What has been
 * committed is durable when one begins: else it would be in the environment, and refused. */
int db_checkpoint_tend(struct db *db) WARN_UNUSED;
/* Is there anything behind the last one, and none under way? */
bool db_checkpoint_wanted(const struct db *db);
/* Would one make pages free? */
bool db_checkpoint_frees(const struct db *db);
/* After JOURNAL_SLOT_FULL, before the transaction is done anew. */
int db_journal_next(struct db *db) WARN_UNUSED;
/* No reader of a transaction before this one is left.  MDB_* code or errno. */
int db_oldest(const struct db *db, uint64_t *txn_r) WARN_UNUSED;

/* ---- db_room.c ---- */
/* Blocks of what nobody needs go back to the file system: a slot of the journal, or some runs of
 * free pages of the data file.  A step takes some milliseconds at most.  Between transactions.
 * *octets_r: what it gave back.  False: there is no more; or it cannot be done, which is logged. */
bool db_give_back(struct db *db, uint64_t *octets_r) WARN_UNUSED;
/* All that can be given back, at once: the disk is full, and LMDB may want to write to holes.
 * False: there was nothing. */
bool db_give_back_all(struct db *db);
/* Before the environment is closed. */
void db_give_back_end(struct db *db);
/* A row of LMDB's own list: a transaction, and the pages that it has freed, the last one first; a
 * view as long as the transaction of c, which is a cursor on sub-database 0. */
struct db_free_row {
	uint64_t txn, n;
	const size_t *pages;
};
/* 0; MDB_NOTFOUND: there are no more; another MDB_* code. */
int db_free_row_next(MDB_cursor *c, struct db_free_row *r) WARN_UNUSED;

/* A body of so many octets at `at` is referred to (octets > 0), or no longer. */
void db_live(const struct db *db, uint64_t at, int64_t octets);

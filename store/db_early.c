/* SPDX-License-Identifier: BSD-3-Clause
 * Commits whose meta page is not synced yet, and how one is taken back.  Writer thread.
 *
 * LMDB 0.9 (data version 1) has two meta pages, 0 and 1, which are written in turns.  A commit
 * whose meta page cannot be written leaves a wrong one behind: its own roots under the number of
 * the page that was there, two transactions older.  LMDB lives with that because the other page is
 * newer and durable; while that one is to be taken back, the one that was there is needed itself.
 * So it is kept in memory. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "store/db.h"

#define META_AT     32  /* in the page: what a commit writes */
#define META_TXN_AT 112 /* in that: the number of its transaction */
#define META_PAGE   4096

static off_t place_of(uint64_t txn)
{
	return (off_t)(txn & 1) * META_PAGE + META_AT;
}

static uint64_t number_of(const uint8_t *meta)
{
	uint64_t txn;

	memcpy(&txn, meta + META_TXN_AT, sizeof(txn));
	return txn;
}

/* What was the newest transaction until now. */
static void keep(struct db *db, uint64_t txn)
{
	int fd;

	db->before_txn = 0;
	if (mdb_env_get_fd(db->env, &fd) ||
		pread(fd, db->before, DB_META_BYTES, place_of(txn)) != DB_META_BYTES)
		return;
	if (number_of(db->before) == txn)
		db->before_txn = txn;
}

int db_commit_early(struct db *db, MDB_txn *txn, bool *changed_r)
{
	uint64_t before = db_last_txn(db);
	int rc = mdb_txn_commit(txn);

	*changed_r = !rc && db_last_txn(db) != before;
	if (*changed_r)
		keep(db, before);
	return rc;
}

static int put(int fd, const uint8_t *meta, uint64_t place, uint64_t number)
{
	uint8_t numbered[DB_META_BYTES];

	memcpy(numbered, meta, DB_META_BYTES);
	memcpy(numbered + META_TXN_AT, &number, sizeof(number));
	return pwrite(fd, numbered, DB_META_BYTES, place_of(place)) == DB_META_BYTES ? 0 : EIO;
}

/* The page of the transaction before may be the wrong one; then the older page gets the same as of
 * a transaction that is older still. */
int db_undo(struct db *db)
{
	uint64_t last = db_last_txn(db), before = db->before_txn;
	int fd;

	if (before == 0 || before + 1 != last || mdb_env_get_fd(db->env, &fd))
		return EINVAL;
	int rc = put(fd, db->before, before, before);
	return rc ? rc : put(fd, db->before, last, before - 1);
}

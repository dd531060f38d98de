/* SPDX-License-Identifier: BSD-3-Clause
 * A transaction: its record goes to the journal, then LMDB commits it without a sync.  The slot
 * that its record goes to, and what it makes of what is live in slots.  Whoever has the write
 * transaction. */
#include <errno.h>
#include <stdlib.h>
#include "store/db_journal.h"

/* One line of LMDB's table: process, thread, transaction or "-". */
static int reader_look(const char *line, void *ctx)
{
	uint64_t *oldest = ctx;
	const char *last = strrchr(line, ' ');
	char *end;
	unsigned long long txn = last ? strtoull(last + 1, &end, 10) : 0;

	if (last && end != last + 1 && *end == '\n')
		*oldest = MIN(*oldest, (uint64_t)txn);
	return 0;
}

int db_oldest(const struct db *db, uint64_t *txn_r)
{
	*txn_r = UINT64_MAX;
	return mdb_reader_list(db->env, reader_look, txn_r) < 0 ? EIO : 0;
}

int db_journal_next(struct db *db)
{
	uint64_t oldest;
	int rc = db_oldest(db, &oldest);

	if (rc)
		return rc;
	db->journal->early_reuse = db->early_reuse;
	return journal_next(db->journal, oldest);
}

void db_live(const struct db *db, uint64_t at, int64_t octets)
{
	if (db->noting)
		journal_live(db->journal, at, octets);
}

/* What the transaction has changed of the slots becomes part of it. */
static int slots_put(struct db *db, MDB_txn *txn)
{
	struct journal *j = db->journal;

	for (uint32_t n = 0; n < j->touched_n; n++) {
		const struct journal_slot *s = &j->slots[j->touched[n]];
		const struct slot_rec r = {
			(uint64_t)((int64_t)s->live + s->delta), mdb_txn_id(txn)};
		struct key k = {.n = 0};
		key_u32(&k, j->touched[n]);
		int rc = db_put(txn, db, DB_SLOT, key_view(&k), bytes_make(&r, sizeof(r)));
		if (rc)
			return rc;
	}
	return 0;
}

/* *direct_r: there is no room in the journal, but no body needs it either: a checkpoint will do. */
static int record_write(struct db *db, bool *direct_r)
{
	struct journal *j = db->journal;
	bool bodies = j->bodies_n > 0;
	int rc = journal_write(j);

	*direct_r = false;
	if (rc == JOURNAL_SLOT_FULL && !bodies) {
		rc = db_journal_next(db);
		if (!rc)
			rc = journal_write(j);
	}
	if (rc && !bodies &&
		(rc == ENOSPC || rc == EDQUOT || rc == JOURNAL_SLOT_FULL || rc == ENOMEM)) {
		*direct_r = true;
		rc = 0;
	}
	return rc;
}

/* What came before is durable by itself, or it is not to be in the checkpoint. */
static int committed_directly(struct db *db)
{
	journal_begin(db->journal);
	int rc = db_sync_end(db);

	if (!rc)
		rc = db_checkpoint(db);

	return rc ? MDB_PANIC : 0;
}

int db_commit_early(struct db *db, MDB_txn *txn, bool *changed_r)
{
	struct journal *j = db->journal;
	uint64_t number = mdb_txn_id(txn);
	bool direct;
	int rc = slots_put(db, txn);

	*changed_r = !rc && !journal_is_empty(j);
	if (!rc && *changed_r)
		rc = record_write(db, &direct);
	if (rc || !*changed_r) {
		db_abort(txn);
		journal_begin(j);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	if (rc) {
		/* Nobody may find what is refused. */
		if (!direct && journal_void(j))
			rc = MDB_PANIC;
		journal_begin(j);
		return rc;
	}
	journal_live_settle(j, number);
	if (direct)
		return committed_directly(db);
	journal_advance(j);
	return 0;
}

int db_undo(struct db *db)
{
	db->broken = true;
	if (db_sync_end(db)) {
		/* It is one of those that are taken back. */
	}
	journal_back(db->journal);
	db->refused_from = db->journal->number;
	int rc = db->journal->head_doubtful ? journal_head_void(db->journal) : 0;
	int void_rc = journal_void(db->journal);
	return rc ? rc : void_rc;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Format 3: longer rows of accounts and mailboxes.  Where the work stands is a row of meta, written
 * in the same transaction as the rows.  Format 4 has new tables and new meanings of octets that
 * were zero: no row is rewritten.  Format 5 has another index of the queue: the old trees go, and
 * everything queued is young, so the writer makes the new one while it works. */
#include "store/db_upgrade.h"
#include <errno.h>
#include "dataplane/base/log.h"

#define ROWS_PER_TXN 2000 /* chosen: some MiB of dirty pages */

/* Rows of format 1 and 2. */
struct acct_rec_2 {
	uint64_t modseq, messages, bytes;
	uint32_t next_box, next_uidvalidity, inbox, boxes;
	uint16_t address_n;
	uint8_t state, reserved[5];
};
static_assert(sizeof(struct acct_rec_2) == 48, "stored record");

struct box_rec_2 {
	uint32_t uidvalidity, uidnext, exists, unseen, deleted;
	uint16_t name_n, keywords_n;
	uint64_t highestmodseq, bytes;
};
static_assert(sizeof(struct box_rec_2) == 40, "stored record");

#define ROW_MAX (sizeof(struct box_rec) + MBOX_NAME_MAX + KEYWORDS_BYTES)
static_assert(ROW_MAX > sizeof(struct acct_rec) + ADDRESS_MAX, "both kinds of rows");

static int row_lengthen(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key,
	const void *rec, size_t rec_n, struct bytes rest)
{
	uint8_t row[ROW_MAX];

	if (rec_n + rest.n > sizeof(row))
		return MDB_CORRUPTED;
	memcpy(row, rec, rec_n);
	memcpy(row + rec_n, rest.p, rest.n);
	return db_put(txn, db, id, key, bytes_make(row, rec_n + rest.n));
}

static int acct_row(MDB_txn *txn, const struct db *db, struct bytes key, struct bytes v)
{
	struct acct_rec_2 old;

	if (!rec_read(v, &old, sizeof(old)))
		return MDB_CORRUPTED;
	struct acct_rec r = {.modseq = old.modseq,
		.messages = old.messages,
		.bytes = old.bytes,
		.next_box = old.next_box,
		.next_uidvalidity = old.next_uidvalidity,
		.inbox = old.inbox,
		.boxes = old.boxes,
		.address_n = old.address_n,
		.state = old.state};
	return row_lengthen(txn, db, DB_ACCT, key, &r, sizeof(r), bytes_skip(v, sizeof(old)));
}

static int box_row(MDB_txn *txn, const struct db *db, struct bytes key, struct bytes v)
{
	struct box_rec_2 old;

	if (!rec_read(v, &old, sizeof(old)))
		return MDB_CORRUPTED;
	struct box_rec r = {.uidvalidity = old.uidvalidity,
		.uidnext = old.uidnext,
		.exists = old.exists,
		.unseen = old.unseen,
		.deleted = old.deleted,
		.name_n = old.name_n,
		.keywords_n = old.keywords_n,
		.highestmodseq = old.highestmodseq,
		.bytes = old.bytes,
		/* What vanished so far was not written down. */
		.gone_floor = old.highestmodseq};
	return row_lengthen(txn, db, DB_BOX, key, &r, sizeof(r), bytes_skip(v, sizeof(old)));
}

static const struct {
	enum db_id table;
	int (*row)(MDB_txn *txn, const struct db *db, struct bytes key, struct bytes value);
} stages[] = {
	{DB_ACCT, acct_row},
	{DB_BOX,  box_row },
};

/* Where the work stands. */
struct progress {
	uint32_t stage, key_n;
	uint8_t key[KEY_MAX + 1]; /* the next row is at or after it */
};

static int progress_put(MDB_txn *txn, const struct db *db, const struct progress *p)
{
	return db_put(txn, db, DB_META, BYTES_LIT("upgrade"), bytes_make(p, sizeof(*p)));
}

/* MDB_NOTFOUND: there is nothing to do. */
static int progress_get(MDB_txn *txn, const struct db *db, struct progress *p)
{
	struct bytes v;
	int rc = db_get(txn, db, DB_META, BYTES_LIT("upgrade"), &v);

	return !rc && !rec_read(v, p, sizeof(*p)) ? MDB_CORRUPTED : rc;
}

/* The next row of the stage, copied: converting writes. */
static int row_next(MDB_txn *txn, const struct db *db, struct progress *p, struct bytes *key_r,
	uint8_t row[ROW_MAX], struct bytes *row_r)
{
	struct db_cursor c;
	int rc = db_cursor_open(txn, db, stages[p->stage].table, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, bytes_make(p->key, p->key_n));
	if (!rc && (c.value.n > ROW_MAX || c.key.n > KEY_MAX))
		rc = MDB_CORRUPTED;
	if (!rc) {
		memcpy(row, c.value.p, c.value.n);
		*row_r = bytes_make(row, c.value.n);
		memcpy(p->key, c.key.p, c.key.n);
		*key_r = bytes_make(p->key, c.key.n);
		p->key[c.key.n] = 0;
		p->key_n = (uint32_t)c.key.n + 1;
	}
	db_cursor_close(&c);
	return rc;
}

static int rows_convert(MDB_txn *txn, const struct db *db, struct progress *p)
{
	for (int i = 0; i < ROWS_PER_TXN && p->stage < ARRAY_LEN(stages); i++) {
		uint8_t octets[ROW_MAX];
		struct bytes key, row;
		int rc = row_next(txn, db, p, &key, octets, &row);
		if (rc == MDB_NOTFOUND) {
			*p = (struct progress){.stage = p->stage + 1, .key_n = 1};
			continue;
		}
		if (!rc)
			rc = stages[p->stage].row(txn, db, key, row);
		if (rc)
			return rc;
	}
	return 0;
}

static int step(const struct db *db, MDB_txn *txn, bool *end_r)
{
	struct progress p = {0};
	int rc = progress_get(txn, db, &p);

	if (!rc)
		rc = rows_convert(txn, db, &p);
	if (rc)
		return rc;
	/* Programs of format 4 had stages behind these, which made indices that are no more. */
	*end_r = p.stage >= ARRAY_LEN(stages);
	return *end_r ? db_del(txn, db, DB_META, BYTES_LIT("upgrade")) : progress_put(txn, db, &p);
}

/* Tables that were the queue's index up to format 4; not every store has them. */
static const char *const dropped[DB_UPGRADE_TABLES] = {"qs", "qd"};

static int tables_drop(MDB_txn *txn)
{
	for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
		MDB_dbi dbi;
		int rc = mdb_dbi_open(txn, dropped[i], 0, &dbi);
		if (!rc)
			rc = mdb_drop(txn, dbi, 1);
		if (rc && rc != MDB_NOTFOUND)
			return rc;
	}
	return 0;
}

/* One to format 3 that was interrupted goes on where it stands. */
int db_upgrade_begin(MDB_txn *txn, const struct db *db, uint64_t from)
{
	struct progress p = {.stage = from < 3 ? 0 : ARRAY_LEN(stages), .key_n = 1};
	int rc = progress_get(txn, db, &p);

	if (rc == MDB_NOTFOUND)
		rc = progress_put(txn, db, &p);
	if (!rc)
		rc = tables_drop(txn);

	log_info("store", "upgrade path=%s to=%d", db->path, STORE_FORMAT);
	return rc;
}

static int is_begun(const struct db *db, bool *begun_r)
{
	struct progress p;
	MDB_txn *txn;
	int rc = db_begin(db, false, &txn);

	if (rc)
		return rc;
	rc = progress_get(txn, db, &p);
	db_abort(txn);
	*begun_r = rc == 0;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_upgrade_finish(const struct db *db)
{
	bool begun = false, end = false;
	int rc = is_begun(db, &begun);

	while (!rc && begun && !end) {
		MDB_txn *txn;
		rc = db_begin(db, true, &txn);
		if (rc)
			return rc;
		rc = step(db, txn, &end);
		if (rc)
			db_abort(txn);
		else
			rc = db_commit(txn);
	}
	if (!rc && begun)
		log_info("store", "upgraded path=%s", db->path);
	return rc;
}

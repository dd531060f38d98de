/* SPDX-License-Identifier: BSD-3-Clause
 * What a copy must not say again when it becomes the store: UIDs that were given out after it was
 * made.  Clients know those, and would take a new message with one of them for what they have; so
 * each mailbox goes on far behind, and each account with other UIDVALIDITYs for new mailboxes (RFC
 * 3501 2.3.1.1).  What clients have of the messages that are there stays right. */
#include "store/db_copy.h"
#include <errno.h>
#include "dataplane/base/clock.h"

/* UIDs left out: more than a mailbox gets between a backup and its restore; and 128 restores are
 * possible, the UIDs behind are for messages.  Chosen. */
#define UIDS_SKIPPED (1u << 24)
#define ROWS_PER_TXN 2000 /* chosen: some MiB of dirty pages */
#define ROW_MAX      (sizeof(struct box_rec) + MBOX_NAME_MAX + KEYWORDS_BYTES)
static_assert(ROW_MAX > sizeof(struct acct_rec) + ADDRESS_MAX, "both kinds of rows");

struct place {
	uint32_t key_n;
	uint8_t key[KEY_MAX + 1]; /* the next row is at or after it */
};

/* A row, copied: changing it writes. */
struct row {
	size_t n;
	uint8_t octets[ROW_MAX];
};

static int box_change(struct row *row)
{
	struct box_rec r;

	if (!rec_read(bytes_make(row->octets, row->n), &r, sizeof(r)))
		return MDB_CORRUPTED;
	if (r.uidnext < UINT32_MAX / 2)
		r.uidnext += UIDS_SKIPPED;
	memcpy(row->octets, &r, sizeof(r));
	return 0;
}

static int account_change(struct row *row)
{
	struct acct_rec r;
	uint32_t now_s = (uint32_t)(clock_wall_ms() / MS_PER_SEC);

	if (!rec_read(bytes_make(row->octets, row->n), &r, sizeof(r)))
		return MDB_CORRUPTED;
	r.next_uidvalidity = MAX(r.next_uidvalidity + BOXES_PER_ACCOUNT_MAX, now_s);
	memcpy(row->octets, &r, sizeof(r));
	return 0;
}

static int row_next(
	MDB_txn *txn, const struct db *db, enum db_id id, struct place *at, struct row *row)
{
	struct db_cursor c;
	int rc = db_cursor_open(txn, db, id, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, bytes_make(at->key, at->key_n));
	if (!rc && (c.value.n > sizeof(row->octets) || c.key.n > KEY_MAX))
		rc = MDB_CORRUPTED;
	if (!rc) {
		row->n = c.value.n;
		memcpy(row->octets, c.value.p, c.value.n);
		memcpy(at->key, c.key.p, c.key.n);
		at->key[c.key.n] = 0;
		at->key_n = (uint32_t)c.key.n + 1;
	}
	db_cursor_close(&c);
	return rc;
}

/* MDB_NOTFOUND: those were the last. */
static int rows_change(MDB_txn *txn, const struct db *db, enum db_id id, struct place *at,
	int (*change)(struct row *row))
{
	struct row row;
	int rc = 0;

	for (int i = 0; i < ROWS_PER_TXN && !rc; i++) {
		rc = row_next(txn, db, id, at, &row);
		if (!rc)
			rc = change(&row);
		if (!rc)
			rc = db_put(txn, db, id, bytes_make(at->key, at->key_n - 1),
				bytes_make(row.octets, row.n));
	}
	return rc;
}

static int table_change(const struct db *db, enum db_id id, int (*change)(struct row *row))
{
	struct place at = {.key_n = 1};
	bool end = false;
	int rc = 0;

	while (!rc && !end) {
		MDB_txn *txn;
		rc = db_begin(db, true, &txn);
		if (rc)
			return rc;
		rc = rows_change(txn, db, id, &at, change);
		end = rc == MDB_NOTFOUND;
		if (rc && !end)
			db_abort(txn);
		else
			rc = db_commit(txn);
	}
	return rc;
}

int db_uids_skip(const struct db *db)
{
	int rc = table_change(db, DB_BOX, box_change);

	if (!rc)
		rc = table_change(db, DB_ACCT, account_change);
	return rc ? -EIO : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Room that the files of an environment have and nobody needs goes back to the file system: the
 * files keep their size and get holes.  What can be given back is what could be written over:
 * slots of the journal behind the last checkpoint, pages that LMDB would take for its next
 * transaction.  Writer thread. */
#include <errno.h>
#include <stdlib.h>
#include "dataplane/base/log.h"
#include "store/db_journal.h"
#include "store/file_hole.h"

#define PAGE 4096
/* Free pages keep their blocks, those which LMDB takes first, so that what is deleted when the disk
 * is full finds some: a part of what is in use, within these limits.  Chosen. */
#define KEEP_PART 16
#define KEEP_MIN  (JOURNAL_SLOT / 16)
#define KEEP_MAX  (8ull << 20)
#define RUN_MIN   2   /* pages: shorter holes would only break the file into pieces; chosen */
#define HOLES_MAX 128 /* in one step: a millisecond or two; chosen */
#define LOOK_MAX  (JOURNAL_SLOT / 256) /* pages passed over for one hole; chosen: 65,536 */
/* A walk is worth while for an eighth of what is in use, and this: chosen. */
#define WALK_MIN (JOURNAL_SLOT / 4)

/* Free pages that have their blocks. */
static uint64_t wasted(const struct db *db, uint64_t *in_use_r)
{
	uint64_t used = db_used_bytes(db), free_bytes = db_free_bytes(db, UINT64_MAX);
	uint64_t holes = db_hole_bytes(db);

	*in_use_r = used - MIN(used, free_bytes);
	return free_bytes - MIN(free_bytes, holes);
}

/* Is a walk worth while, and what is it to leave? */
static bool walk_wanted(struct db *db)
{
	uint64_t in_use, n = wasted(db, &in_use);

	db->room.left = MIN(db->room.left, n);
	db->room.keep = MIN(MAX(in_use / KEEP_PART, KEEP_MIN), KEEP_MAX);
	db->room.run_min = RUN_MIN;
	return n > db->room.keep + WALK_MIN + in_use / 8 && n > db->room.left + WALK_MIN;
}

/* ---- which pages ---- */

static void list_mark(struct db *db, const size_t *pages, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (pages[i] < db->room.pages)
			db->room.bits[pages[i] / 64] |= 1ull << pages[i] % 64;
	}
}

/* All that the next transaction might take, but for those that it takes first. */
static int lists_mark(struct db *db, MDB_cursor *c, uint64_t oldest)
{
	uint64_t keep = db->room.keep / PAGE;
	struct db_free_row r;
	int rc;

	while ((rc = db_free_row_next(c, &r)) == 0) {
		if (r.txn >= oldest && !db->early_hole) {
			db->room.later += r.n * PAGE;
			continue;
		}
		uint64_t skipped = MIN(r.n, keep);
		keep -= skipped;
		list_mark(db, r.pages, r.n - skipped);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

void db_give_back_end(struct db *db)
{
	free(db->room.bits);
	db->room.bits = NULL;
}

/* The pages as they are now; a walk under way goes on where it was. */
static int walk_look(struct db *db, uint64_t oldest)
{
	MDB_cursor *c;
	MDB_txn *txn;

	db_give_back_end(db);
	db->room.pages = db_used_bytes(db) / PAGE;
	db->room.txn = db_last_txn(db);
	db->room.later = 0;
	db->room.bits = calloc(db->room.pages / 64 + 1, sizeof(*db->room.bits));
	if (!db->room.bits)
		return ENOMEM;
	int rc = db_begin(db, false, &txn);
	if (rc)
		return rc;
	rc = mdb_cursor_open(txn, 0, &c);
	if (!rc) {
		rc = lists_mark(db, c, oldest);
		mdb_cursor_close(c);
	}
	db_abort(txn);
	return rc;
}

/* ---- holes ---- */

static bool is_marked(const struct db *db, uint64_t page)
{
	return page < db->room.pages && (db->room.bits[page / 64] >> page % 64 & 1);
}

/* The next pages that lie together.  False: there are no more; or, with *n_r 0, none so near. */
static bool run_next(struct db *db, uint64_t *page_r, uint64_t *n_r)
{
	uint64_t page = db->room.at, end = MIN(page + LOOK_MAX, db->room.pages), n = 0;

	while (page < end && !is_marked(db, page))
		page++;
	while (is_marked(db, page + n))
		n++;
	db->room.at = page + n;
	*page_r = page;
	*n_r = n;
	return page < db->room.pages;
}

static int walk_step(struct db *db, int fd, uint64_t *octets_r)
{
	uint64_t page, n;

	for (int i = 0; i < HOLES_MAX; i++) {
		if (!run_next(db, &page, &n)) {
			db_give_back_end(db);
			return 0;
		}
		if (n < db->room.run_min)
			continue;
		int rc = file_hole(fd, page * PAGE, n * PAGE);
		if (rc)
			return rc;
		*octets_r += n * PAGE;
	}
	return 0;
}

static int pages_give_back(struct db *db, uint64_t oldest, uint64_t *octets_r)
{
	uint64_t in_use;
	int fd, rc = mdb_env_get_fd(db->env, &fd);

	if (!rc && !db->room.bits)
		db->room.at = 0;
	if (!rc && (!db->room.bits || db->room.txn != db_last_txn(db)))
		rc = walk_look(db, oldest);
	if (!rc)
		rc = walk_step(db, fd, octets_r);
	if (!rc && !db->room.bits) {
		uint64_t n = wasted(db, &in_use);
		db->room.left = n - MIN(n, db->room.later);
	}
	return rc;
}

/* Pages that were freed since the last checkpoint are not to be touched: it may wait for one. */
static bool walk_may(struct db *db)
{
	if (db->room.bits)
		return true;
	/* To ask how much there is takes a walk, too. */
	uint64_t last = db_last_txn(db), head = db->journal->head.txn;
	if (!db->room.behind && db->room.seen == last && db->room.seen_head == head)
		return false;
	db->room.seen = last;
	db->room.seen_head = head;
	if (!walk_wanted(db)) {
		db->room.behind = 0;
		return false;
	}
	if (!db->room.behind)
		db->room.behind = db_last_txn(db);
	if (db->journal->head.txn < db->room.behind) {
		db->checkpoint_asked = true;
		return false;
	}
	db->room.behind = 0;
	return true;
}

static int give_back(struct db *db, uint64_t *octets_r)
{
	uint64_t oldest;
	int rc = db_oldest(db, &oldest);

	if (!rc)
		rc = journal_give_back(db->journal, oldest, octets_r);
	if (rc || *octets_r || !walk_may(db))
		return rc;
	return pages_give_back(db, oldest, octets_r);
}

/* It costs nobody anything but room. */
static void failed(struct db *db, int rc)
{
	db_give_back_end(db);
	if (rc == ENOSPC || rc == EDQUOT)
		return; /* for the file system's own tables: another time */
	db->room.refused = true;
	log_warn("store", "no-room-given-back path=%s error=\"%s\"", db->path, mdb_strerror(rc));
}

bool db_give_back(struct db *db, uint64_t *octets_r)
{
	*octets_r = 0;
	if (!db->noting || db->room.refused)
		return false;
	int rc = give_back(db, octets_r);
	if (rc == 0)
		return *octets_r || db->room.bits;
	failed(db, rc);
	return false;
}

static int all_give_back(struct db *db, bool *any_r)
{
	uint64_t oldest, octets = 0;
	int rc = db_oldest(db, &oldest);

	do {
		if (!rc)
			rc = journal_give_back(db->journal, oldest, &octets);
		*any_r |= octets > 0;
	} while (!rc && octets);
	do {
		if (!rc)
			rc = pages_give_back(db, oldest, &octets);
		*any_r |= octets > 0;
	} while (!rc && db->room.bits);
	return rc;
}

bool db_give_back_all(struct db *db)
{
	bool any = false;

	if (!db->noting || db->room.refused)
		return false;
	db_give_back_end(db);
	db->room.keep = 0;
	db->room.run_min = 1;
	int rc = all_give_back(db, &any);
	if (rc)
		failed(db, rc);
	return any;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * The environment and its journal.  A transaction is written to the journal and committed to the
 * environment without a sync; it is durable when the journal is.  Now and then a checkpoint makes
 * the environment durable as it is then, and keeps its meta page in the journal's head: a start
 * begins from that page, whatever the kernel has written since, and does again what the journal
 * says.  Until the next checkpoint a read transaction keeps the pages of that one from being used
 * again.  Main thread while the store is opened and closed, then the writer's. */
#include "store/db_journal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "store/body.h"

/* LMDB 0.9, data version 1: two meta pages, written in turns. */
#define META_AT     32  /* in the page: what a commit writes */
#define META_TXN_AT 112 /* in that: the number of its transaction */
#define META_PAGE   4096
static_assert(META_TXN_AT + sizeof(uint64_t) == JOURNAL_META, "the number is the last of it");
/* Which journal a data file belongs to: in its first page, behind what LMDB uses of it. */
#define MARK_AT    2048
#define MARK_MAGIC 0x6b72614d74736f70ull /* "postMark" */

#define REPLAY_BATCH (4u << 20) /* octets of rows in one transaction; chosen */

struct mark {
	uint64_t magic, set;
};

static int say(char *error, size_t n, const struct db *db, int rc, const char *what)
{
	snprintf(error, n, "store.path %s: %s", db->path, what);
	return rc;
}

/* ---- the data file ---- */

static int data_open(const char *directory, int flags, int *fd_r)
{
	char name[DB_PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s/" DATA_NAME, directory);
	*fd_r = open(name, flags | O_CLOEXEC);
	return *fd_r < 0 ? errno : 0;
}

int db_mark_get(const char *directory, uint64_t *set_r)
{
	struct mark m = {0};
	int fd, rc = data_open(directory, O_RDONLY, &fd);

	*set_r = 0;
	if (rc)
		return rc;
	if (pread(fd, &m, sizeof(m), MARK_AT) < 0)
		rc = errno;
	close(fd);
	if (!rc && m.magic == MARK_MAGIC)
		*set_r = m.set;
	return rc;
}

static int mark_put(const struct db *db, uint64_t set)
{
	struct mark m = {MARK_MAGIC, set};
	int fd, rc = data_open(db->path, O_RDWR | O_NOFOLLOW, &fd);

	if (rc)
		return rc;
	ssize_t n = pwrite(fd, &m, sizeof(m), MARK_AT);
	rc = n < 0 ? errno : n == sizeof(m) ? 0 : EIO;
	if (!rc && !db->no_sync && fdatasync(fd) < 0)
		rc = errno;
	close(fd);
	return rc;
}

static off_t meta_place(uint64_t txn)
{
	return (off_t)(txn & 1) * META_PAGE + META_AT;
}

static int meta_put(int fd, const uint8_t *meta, uint64_t place, uint64_t number)
{
	uint8_t numbered[JOURNAL_META];

	memcpy(numbered, meta, JOURNAL_META);
	memcpy(numbered + META_TXN_AT, &number, sizeof(number));
	ssize_t n = pwrite(fd, numbered, JOURNAL_META, meta_place(place));
	return n < 0 ? errno : n == JOURNAL_META ? 0 : EIO;
}

/* The environment as the checkpoint has seen it.  The other page gets the same as of a transaction
 * that is older, so that neither of what came after is found. */
static int meta_restore(const struct db *db, const struct journal_head *h)
{
	int fd, rc = data_open(db->path, O_RDWR | O_NOFOLLOW, &fd);

	if (rc)
		return rc;
	rc = meta_put(fd, h->meta, h->txn, h->txn);
	if (!rc && h->txn)
		rc = meta_put(fd, h->meta, h->txn - 1, h->txn - 1);
	close(fd);
	return rc;
}

int db_journal_restore(const struct db *db)
{
	return meta_restore(db, &db->journal->head);
}

int db_meta_page(const struct db *db, uint64_t txn, uint8_t meta[JOURNAL_META])
{
	uint64_t number;
	int fd;

	if (mdb_env_get_fd(db->env, &fd) ||
		pread(fd, meta, JOURNAL_META, meta_place(txn)) != JOURNAL_META)
		return EIO;
	memcpy(&number, meta + META_TXN_AT, sizeof(number));
	return number == txn ? 0 : EIO;
}

/* ---- opening ---- */

/* A data file without a mark is whole by itself: a new one, one of an older format, or a copy that
 * has taken the place of another.  A journal beside it is left over; its file may have another name
 * as well, under which it is kept. */
static int leftover_remove(const struct db *db)
{
	char name[DB_PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s/" JOURNAL_NAME, db->path);
	return unlink(name) < 0 && errno != ENOENT ? errno : 0;
}

int db_journal_prepare(struct db *db, char *error, size_t error_n)
{
	uint64_t set;
	bool is_there = journal_exists(db->path);
	int rc = db_mark_get(db->path, &set);

	if (!rc && set && !is_there)
		return say(error, error_n, db, ENOENT,
			"the file `journal` is missing: mail is in it (copies of a store need both "
			"files, or "
			"bypostctl store backup)");
	if (!rc && !set)
		rc = leftover_remove(db);
	if (!rc)
		rc = journal_open(&db->journal, db->path, db->no_sync);
	if (rc)
		return say(error, error_n, db, rc, strerror(rc));
	if (!set) {
		rc = journal_empty(db->journal);
		return rc ? say(error, error_n, db, rc, strerror(rc)) : 0;
	}
	bool valid = journal_head_read(db->journal);
	if (!valid || db->journal->head.set != set)
		return say(error, error_n, db, EINVAL,
			valid ? "the file `journal` is of another store"
			      : "the file `journal` is damaged: no checkpoint in it can be read");
	rc = meta_restore(db, &db->journal->head);
	return rc ? say(error, error_n, db, rc, strerror(rc)) : 0;
}

static int row_apply(MDB_txn *txn, const struct db *db, const struct journal_row *r)
{
	if (r->table >= DB_N)
		return MDB_CORRUPTED;
	enum db_id id = (enum db_id)r->table;
	int rc;

	switch (r->what) {
	case JOURNAL_PUT:
		return db_put(txn, db, id, r->key, r->value);
	case JOURNAL_DEL:
		rc = db_del(txn, db, id, r->key);
		return rc == MDB_NOTFOUND ? 0 : rc;
	case JOURNAL_CLEAR:
		return db_clear(txn, db, id);
	case JOURNAL_MOVE:
		return body_move(txn, db, id, r->key);
	default:
		return MDB_CORRUPTED;
	}
}

static int record_apply(MDB_txn *txn, const struct db *db, struct bytes rows)
{
	struct journal_row r;

	while (journal_row_next(&rows, &r)) {
		int rc = row_apply(txn, db, &r);
		if (rc)
			return rc;
	}
	return rows.n ? MDB_CORRUPTED : 0;
}

/* The bodies of a record are on disk if they are what its rows say. */
static bool bodies_are_whole(const struct db *db, const struct journal_view *v)
{
	struct bytes rows = v->rows;
	struct journal_row r;

	while (journal_row_next(&rows, &r)) {
		if (r.what == JOURNAL_PUT && !body_row_is_whole(db->journal, v, r.table, r.value))
			return false;
	}
	return true;
}

/* The next records, up to REPLAY_BATCH; false in *more_r: that was all. */
static int records_apply(struct db *db, MDB_txn *txn, bool *more_r)
{
	struct journal *j = db->journal;
	size_t octets = 0;
	struct journal_view v;

	while (octets < REPLAY_BATCH) {
		/* What could not be taken back on the disk is passed over all the same. */
		if (db->refused_from && j->number >= db->refused_from) {
			*more_r = false;
			return 0;
		}
		*more_r = journal_find(j, j->at, j->number, j->head.salt, &v) &&
			  bodies_are_whole(db, &v);
		if (!*more_r)
			return 0;
		int rc = record_apply(txn, db, v.rows);
		if (rc)
			return rc;
		octets += v.rows.n;
		j->at = v.next;
		j->number++;
	}
	return 0;
}

static int replay(struct db *db)
{
	bool more = true;

	while (more) {
		MDB_txn *txn;
		int rc = db_begin(db, true, &txn);
		if (!rc) {
			rc = records_apply(db, txn, &more);
			if (rc)
				db_abort(txn);
			else
				rc = mdb_txn_commit(txn);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int slots_load(struct db *db)
{
	struct journal *j = db->journal;
	struct db_cursor c;
	MDB_txn *txn;
	int rc = db_begin(db, false, &txn);

	if (rc)
		return rc;
	rc = db_cursor_open(txn, db, DB_SLOT, &c);
	for (rc = rc ? rc : db_cursor_seek(&c, bytes_make("", 1)); !rc; rc = db_cursor_next(&c)) {
		uint32_t i = c.key.n == 4 ? key_get_u32(c.key, 0) : 0;
		if (i > 0 && i < j->slot_count)
			rec_read(c.value, &j->slots[i].live, sizeof(j->slots[i].live));
	}
	db_cursor_close(&c);
	db_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_journal_start(struct db *db)
{
	struct journal *j = db->journal;
	bool is_new = j->head.set == 0;
	uint64_t from = j->head.number;
	int rc = 0;

	if (is_new) {
		j->number = 1;
		if (getrandom(&j->head.set, sizeof(j->head.set), 0) != sizeof(j->head.set))
			return EIO;
		j->head.set |= 1;
	} else {
		j->number = from;
		j->at = j->head.at;
		/* Pages of the one before are used again from now on. */
		if (!db->reopening)
			rc = journal_head_keep(j);
		if (!rc)
			rc = replay(db);
	}
	if (!rc)
		rc = slots_load(db);
	db->replayed = !rc;
	journal_begin(j);
	if (!rc)
		rc = db_checkpoint(db);
	/* From the mark on the data file is nothing without its journal. */
	if (!rc && is_new && !db->no_sync)
		rc = -db_directory_sync(db->path);
	if (!rc && is_new)
		rc = mark_put(db, j->head.set);
	if (!rc)
		rc = mdb_env_set_flags(db->env, MDB_NOSYNC, 1);
	if (rc)
		return rc;
	db->noting = true;
	db->refused_from = 0;
	if (!is_new && j->number != from)
		log_info("store", "journal-replayed path=%s records=%llu", db->path,
			(unsigned long long)(j->number - from));
	return 0;
}

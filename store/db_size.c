/* SPDX-License-Identifier: BSD-3-Clause
 * How large an environment is, its files and its tables.  Any thread. */
#include <sys/stat.h>
#include "store/db_journal.h"

uint64_t db_used_bytes(const struct db *db)
{
	MDB_envinfo info;
	MDB_stat st;

	if (!db->env || mdb_env_info(db->env, &info) || mdb_env_stat(db->env, &st))
		return 0;
	return ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
}

static uint64_t tree_pages(const MDB_stat *st)
{
	return st->ms_branch_pages + st->ms_leaf_pages + st->ms_overflow_pages;
}

int db_free_row_next(MDB_cursor *c, struct db_free_row *r)
{
	MDB_val key, value;
	size_t txn, n;
	int rc = mdb_cursor_get(c, &key, &value, MDB_NEXT);

	if (rc)
		return rc;
	if (key.mv_size != sizeof(txn) || value.mv_size < sizeof(n))
		return MDB_CORRUPTED;
	memcpy(&txn, key.mv_data, sizeof(txn));
	memcpy(&n, value.mv_data, sizeof(n));
	*r = (struct db_free_row){txn, n, (const size_t *)value.mv_data + 1};
	return n <= value.mv_size / sizeof(n) - 1 ? 0 : MDB_CORRUPTED;
}

static int free_pages(MDB_txn *txn, uint64_t enough, uint64_t *pages_r)
{
	struct db_free_row r;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, 0, &cursor);

	*pages_r = 0;
	if (rc)
		return rc;
	while (*pages_r < enough && !(rc = db_free_row_next(cursor, &r)))
		*pages_r += r.n;
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

uint64_t db_free_bytes(const struct db *db, uint64_t enough)
{
	MDB_txn *txn;
	uint64_t pages = 0;

	if (!db->env || db_begin(db, false, &txn))
		return 0;
	if (free_pages(txn, enough / 4096 + 1, &pages))
		pages = 0;
	db_abort(txn);
	return pages * 4096;
}

static uint64_t file_bytes(const struct db *db, const char *file)
{
	char name[DB_PATH_MAX + 16];
	struct stat st;

	snprintf(name, sizeof(name), "%s/%s", db->path, file);
	return stat(name, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

uint64_t db_hole_bytes(const struct db *db)
{
	struct stat st;
	int fd;

	if (!db->env || mdb_env_get_fd(db->env, &fd) || fstat(fd, &st) < 0)
		return 0;
	uint64_t size = (uint64_t)st.st_size, blocks = (uint64_t)st.st_blocks * 512;
	return size - MIN(size, blocks);
}

uint64_t db_file_bytes(const struct db *db)
{
	return file_bytes(db, DATA_NAME);
}

uint64_t db_journal_bytes(const struct db *db)
{
	return file_bytes(db, JOURNAL_NAME);
}

int db_pages(MDB_txn *txn, const struct db *db, uint64_t *used_r, uint64_t *file_r)
{
	MDB_envinfo info;
	MDB_stat st;
	int rc = free_pages(txn, UINT64_MAX, used_r);

	*used_r += 2; /* the meta pages */
	/* 0 and 1: the free list, and the table of the sub-databases. */
	for (MDB_dbi i = 0; !rc && i < 2; i++) {
		rc = mdb_stat(txn, i, &st);
		*used_r += rc ? 0 : tree_pages(&st);
	}
	for (int i = 0; !rc && i < DB_N; i++) {
		rc = mdb_stat(txn, db->dbi[i], &st);
		*used_r += rc ? 0 : tree_pages(&st);
	}
	if (rc)
		return rc;
	rc = mdb_env_info(db->env, &info);
	bool newest = !rc && info.me_last_txnid == mdb_txn_id(txn);
	*file_r = newest ? info.me_last_pgno + 1 : 0;
	return rc;
}

int db_table_stat(MDB_txn *txn, const struct db *db, enum db_id id, struct db_table *t_r)
{
	MDB_stat st;
	int rc = mdb_stat(txn, db->dbi[id], &st);

	if (!rc)
		*t_r = (struct db_table){db_names[id], st.ms_entries, tree_pages(&st), st.ms_depth};
	return rc;
}

int db_table_look(const struct db *db, enum db_id id, struct db_table *t_r)
{
	MDB_txn *txn;
	int rc = db_begin(db, false, &txn);

	if (rc)
		return rc;
	rc = db_table_stat(txn, db, id, t_r);
	db_abort(txn);
	return rc;
}

uint64_t db_entries(MDB_txn *txn, const struct db *db, enum db_id id)
{
	MDB_stat st;

	return mdb_stat(txn, db->dbi[id], &st) ? 0 : st.ms_entries;
}

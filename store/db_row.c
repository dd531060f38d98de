/* SPDX-License-Identifier: BSD-3-Clause
 * Rows: thin typed access to the tables within a transaction; what is changed is noted for the
 * journal.  Whose thread: whose transaction it is. */
#include <errno.h>
#include "store/db.h"

int db_begin(const struct db *db, bool write, MDB_txn **txn_r)
{
	if (!db->env)
		return EIO;
	if (write && db->noting)
		journal_begin(db->journal);
	return mdb_txn_begin(db->env, NULL, write ? 0 : MDB_RDONLY, txn_r);
}

int db_commit(MDB_txn *txn)
{
	struct db *db = mdb_env_get_userctx(mdb_txn_env(txn));
	bool changed;
	int rc = db->noting ? db_commit_early(db, txn, &changed) : mdb_txn_commit(txn);

	return rc ? rc : db_sync(db);
}

uint64_t db_last_txn(const struct db *db)
{
	MDB_envinfo info;

	return db->env && !mdb_env_info(db->env, &info) ? info.me_last_txnid : 0;
}

void db_durable_set(struct db *db, uint64_t txn)
{
	atomic_store(&db->durable, txn);
	if (atomic_load(&db->durable_waiting) == 0)
		return;
	pthread_mutex_lock(&db->durable_lock);
	pthread_cond_broadcast(&db->durable_moved);
	pthread_mutex_unlock(&db->durable_lock);
}

void db_durable_wait(struct db *db, uint64_t txn)
{
	if (atomic_load(&db->durable) >= txn)
		return;
	pthread_mutex_lock(&db->durable_lock);
	atomic_fetch_add(&db->durable_waiting, 1);
	while (atomic_load(&db->durable) < txn)
		pthread_cond_wait(&db->durable_moved, &db->durable_lock);
	atomic_fetch_sub(&db->durable_waiting, 1);
	pthread_mutex_unlock(&db->durable_lock);
}

void db_abort(MDB_txn *txn)
{
	mdb_txn_abort(txn);
}

static MDB_val to_val(struct bytes b)
{
	return (MDB_val){.mv_size = b.n, .mv_data = (void *)(uintptr_t)b.p};
}

static struct bytes from_val(MDB_val v)
{
	return bytes_make(v.mv_data, v.mv_size);
}

static void note(const struct db *db, enum journal_what what, enum db_id id, struct bytes key,
	struct bytes value)
{
	if (db->noting)
		journal_note(db->journal, what, id, key, value);
}

int db_get(
	MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key, struct bytes *value_r)
{
	MDB_val k = to_val(key), v;
	int rc = mdb_get(txn, db->dbi[id], &k, &v);

	if (!rc)
		*value_r = from_val(v);
	return rc;
}

int db_put(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key, struct bytes value)
{
	MDB_val k = to_val(key), v = to_val(value);
	int rc = mdb_put(txn, db->dbi[id], &k, &v, 0);

	if (!rc)
		note(db, JOURNAL_PUT, id, key, value);
	return rc;
}

int db_reserve(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key, size_t n,
	bool append, void **room_r)
{
	MDB_val k = to_val(key), v = {.mv_size = n};
	int rc = mdb_put(txn, db->dbi[id], &k, &v, MDB_RESERVE | (append ? MDB_APPEND : 0));

	if (!rc && db->noting)
		journal_note_late(db->journal, id, key, n, v.mv_data);
	if (!rc)
		*room_r = v.mv_data;
	return rc;
}

int db_del(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key)
{
	MDB_val k = to_val(key);
	int rc = mdb_del(txn, db->dbi[id], &k, NULL);

	if (!rc)
		note(db, JOURNAL_DEL, id, key, BYTES_NONE);
	return rc;
}

int db_clear(MDB_txn *txn, const struct db *db, enum db_id id)
{
	int rc = mdb_drop(txn, db->dbi[id], 0);

	if (!rc)
		note(db, JOURNAL_CLEAR, id, BYTES_NONE, BYTES_NONE);
	return rc;
}

int db_cursor_open(MDB_txn *txn, const struct db *db, enum db_id id, struct db_cursor *c)
{
	*c = (struct db_cursor){.id = id};
	return mdb_cursor_open(txn, db->dbi[id], &c->cursor);
}

void db_cursor_close(struct db_cursor *c)
{
	if (c->cursor)
		mdb_cursor_close(c->cursor);
	c->cursor = NULL;
}

static int cursor_get(struct db_cursor *c, struct bytes key, MDB_cursor_op op)
{
	MDB_val k = to_val(key), v = {0};
	int rc = mdb_cursor_get(c->cursor, &k, &v, op);

	if (!rc) {
		c->key = from_val(k);
		c->value = from_val(v);
	}
	return rc;
}

int db_cursor_seek(struct db_cursor *c, struct bytes key)
{
	return cursor_get(c, key, MDB_SET_RANGE);
}

int db_cursor_next(struct db_cursor *c)
{
	return cursor_get(c, BYTES_NONE, MDB_NEXT);
}

int db_cursor_prev(struct db_cursor *c)
{
	return cursor_get(c, BYTES_NONE, MDB_PREV);
}

int db_cursor_last(struct db_cursor *c)
{
	return cursor_get(c, BYTES_NONE, MDB_LAST);
}

int db_cursor_del(struct db_cursor *c)
{
	const struct db *db = mdb_env_get_userctx(mdb_txn_env(mdb_cursor_txn(c->cursor)));
	uint8_t octets[KEY_MAX];
	struct bytes key = bytes_make(octets, c->key.n);

	BUG_ON(key.n > sizeof(octets));
	memcpy(octets, c->key.p, key.n);
	int rc = mdb_cursor_del(c->cursor, 0);
	if (!rc)
		note(db, JOURNAL_DEL, c->id, key, BYTES_NONE);
	return rc;
}

int db_meta_get(MDB_txn *txn, const struct db *db, const char *name, uint64_t *value_r)
{
	struct bytes v;
	int rc = db_get(txn, db, DB_META, bytes_str(name), &v);

	*value_r = 0;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (!rc && !rec_read(v, value_r, sizeof(*value_r)))
		return MDB_CORRUPTED;
	return rc;
}

int db_meta_put(MDB_txn *txn, const struct db *db, const char *name, uint64_t value)
{
	return db_put(txn, db, DB_META, bytes_str(name), bytes_make(&value, sizeof(value)));
}

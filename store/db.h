/* SPDX-License-Identifier: BSD-3-Clause
 * The LMDB environment: opening it, and thin typed access to its sub-databases.  Return values are
 * LMDB's: 0, MDB_NOTFOUND, another MDB_* code, or an errno.  Who holds a write transaction is the
 * writer; read transactions belong to the readers.  No DUPSORT, no WRITEMAP, no nested
 * transactions. */
#pragma once
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include "store/journal.h"
#include "store/schema.h"
#include "store/syncer.h"

#define DB_PATH_MAX 1024
#define DATA_NAME   "data.mdb"

/* Which environment of a store with several this is.  Kept in its meta table; a store of one shard
 * has no such rows. */
struct db_shard {
	uint32_t number, count;
	uint64_t set;    /* the same in all shards of one store; 0: not known yet, or one shard */
	bool whole;      /* of shard 0: all the others have been made */
	bool must_exist; /* asked for: an empty directory is an error */
};

struct db {
	MDB_env *env; /* NULL: a reopen failed */
	MDB_dbi dbi[DB_N];
	int lock_fd; /* flock: one daemon per directory */
	uint64_t map_bytes;
	uint64_t checkpoint_bytes, journal_spare;          /* as in store_conf; 0: the default */
	bool no_sync, early_reuse, early_head, early_hole; /* test mutants */
	bool plain;                                        /* without a journal */
	bool any_shard;
	/* db_journal.c */
	struct journal *journal;
	bool noting;   /* transactions go to it */
	bool replayed; /* what the journal says has been done again: it can be read */
	bool reopening;
	bool checkpoint_asked; /* it is due, however little was written */
	uint64_t refused_from; /* records from this number on are not to be read again; 0: none */
	bool broken;           /* something could not be made durable: only opening anew helps */
	MDB_txn *pin;          /* keeps the pages of the last checkpoint */
	struct syncer journal_syncer, checkpoint_syncer;
	struct {
		uint64_t number, at, txn; /* what will be durable before */
	} syncing;
	struct {
		struct journal_head head;
		MDB_txn *pin;
		uint64_t bytes_since;
	} next; /* the checkpoint under way */
	/* db_room.c */
	struct {
		bool refused;   /* the file system gives nothing back */
		uint64_t *bits; /* pages that can be given back; NULL: no walk is under way */
		uint64_t pages; /* ... of so many */
		uint64_t txn;   /* ... as of this transaction */
		uint64_t at;    /* where the walk is */
		uint64_t later; /* octets of free pages that need a later checkpoint */
		/* Whether it is worth while was asked for this transaction and this checkpoint's.
		 */
		uint64_t seen, seen_head;
		uint64_t keep; /* octets of free pages that a walk leaves, those LMDB takes first */
		uint64_t run_min; /* pages: what is shorter it leaves, too; at least 1 */
		uint64_t left;    /* octets that the last one has left */
		uint64_t behind;  /* the next is when this transaction has its checkpoint; 0 */
	} room;
	struct db_shard shard;
	/* The newest transaction that a power cut cannot undo; readers see the one behind it
	 * already, and keep their answers back until it is durable, too. */
	_Atomic uint64_t durable;
	atomic_uint durable_waiting; /* threads in db_durable_wait */
	pthread_mutex_t durable_lock;
	pthread_cond_t durable_moved;
	char path[DB_PATH_MAX];
};

extern const char *const db_names[DB_N];

/* Opens or creates, whatever shard it is.  Main thread.  0 or -errno with a text that names the
 * path in error[]. */
int db_open(struct db *db, const char *path, uint64_t map_bytes, bool no_sync, char *error,
	size_t error_n) WARN_UNUSED;
/* The same as this shard and no other; db->shard is then what is stored. */
int db_open_shard(struct db *db, const char *path, const struct db_shard *shard, uint64_t map_bytes,
	bool no_sync, char *error, size_t error_n) WARN_UNUSED;
/* An environment without a journal, which is a copy or becomes one: durable only after
 * db_plain_sync.  shard: NULL, or as for db_open_shard.  Any thread. */
int db_open_plain(struct db *db, const char *path, const struct db_shard *shard, uint64_t map_bytes,
	char *error, size_t error_n) WARN_UNUSED;
int db_plain_sync(const struct db *db) WARN_UNUSED;
/* Names in this directory are on disk.  Any thread that may block.  0 or -errno. */
int db_directory_sync(const char *path) WARN_UNUSED;
/* Shard 0: the other shards are there from now on. */
int db_shard_whole(struct db *db) WARN_UNUSED;
/* Is there an environment in this directory? */
bool db_exists(const char *path);
void db_close(struct db *db);
/* Only the lock: nobody else may open the store until db_close. */
int db_lock(struct db *db, const char *path, char *error, size_t error_n) WARN_UNUSED;
/* Closes the environment, keeps the lock. */
void db_close_env(struct db *db);
/* Close and open the environment anew (the lock is kept) after LMDB has given up.  No transaction
 * may be open.  0 or -errno; then it can be read at best, or db->env is NULL. */
int db_reopen(struct db *db) WARN_UNUSED;

/* Octets of the file in use, free pages of older transactions included. */
uint64_t db_used_bytes(const struct db *db);
/* Octets in free pages, holes among them; stops counting at enough. */
uint64_t db_free_bytes(const struct db *db, uint64_t enough);
/* Octets of the data file's holes: those pages have no blocks. */
uint64_t db_hole_bytes(const struct db *db);
/* Octets that the file has on disk: its holes are none. */
uint64_t db_file_bytes(const struct db *db);
/* The same of the journal's file. */
uint64_t db_journal_bytes(const struct db *db);
/* Pages that trees and the free list account for, and pages of the file; *file_r is 0 when another
 * transaction has been committed since txn began. */
int db_pages(MDB_txn *txn, const struct db *db, uint64_t *used_r, uint64_t *file_r) WARN_UNUSED;
uint64_t db_entries(MDB_txn *txn, const struct db *db, enum db_id id);

/* A table as it lies in the file. */
struct db_table {
	const char *name;
	uint64_t rows, pages;
	uint32_t depth;
};
int db_table_stat(
	MDB_txn *txn, const struct db *db, enum db_id id, struct db_table *t_r) WARN_UNUSED;
/* The same with a transaction of its own. */
int db_table_look(const struct db *db, enum db_id id, struct db_table *t_r) WARN_UNUSED;

/* ---- access within a transaction ---- */
int db_begin(const struct db *db, bool write, MDB_txn **txn_r) WARN_UNUSED;
/* Frees the transaction whether it returns 0 or not.  Durable when it returns 0. */
int db_commit(MDB_txn *txn) WARN_UNUSED;
/* Into the journal and the environment, not synced: a power cut may undo this transaction until
 * db_sync or another db_commit has returned 0.  *changed_r: there was anything to write.
 * JOURNAL_SLOT_FULL: db_journal_next, and all anew; MDB_PANIC: only opening anew helps.  Writer
 * thread. */
int db_commit_early(struct db *db, MDB_txn *txn, bool *changed_r) WARN_UNUSED;
/* What has been committed and could not be made durable is never found again; the environment is to
 * be opened anew.  0 or an errno. */
int db_undo(struct db *db) WARN_UNUSED;
/* All that has been committed is durable when it returns 0. */
int db_sync(struct db *db) WARN_UNUSED;
/* The same in two steps, with db_threads_start: what has been committed until _begin is durable
 * when _end returns 0, which waits.  Nothing is done when nothing has begun. */
void db_sync_begin(struct db *db);
bool db_sync_begun(const struct db *db);
int db_sync_end(struct db *db) WARN_UNUSED;
/* For the writer's life: syncs and checkpoints that it need not wait for.  0 or -errno. */
int db_threads_start(struct db *db) WARN_UNUSED;
void db_threads_stop(struct db *db);
/* Number of the newest transaction. */
uint64_t db_last_txn(const struct db *db);
/* Whoever waits for transactions up to txn goes on; UINT64_MAX: nobody waits any more. */
void db_durable_set(struct db *db, uint64_t txn);
/* Any thread with time: until txn is durable, which takes a commit or two. */
void db_durable_wait(struct db *db, uint64_t txn);
void db_abort(MDB_txn *txn);

/* The view is valid until the next write of the transaction, or its end. */
int db_get(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key,
	struct bytes *value_r) WARN_UNUSED;
int db_put(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key,
	struct bytes value) WARN_UNUSED;
/* Room for n octets, to be filled before the next call.  append: key is higher than all there are.
 */
int db_reserve(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key, size_t n,
	bool append, void **room_r) WARN_UNUSED;
int db_del(MDB_txn *txn, const struct db *db, enum db_id id, struct bytes key) WARN_UNUSED;
/* All rows of a table. */
int db_clear(MDB_txn *txn, const struct db *db, enum db_id id) WARN_UNUSED;

struct db_cursor {
	MDB_cursor *cursor;
	enum db_id id;
	struct bytes key, value;
};

int db_cursor_open(
	MDB_txn *txn, const struct db *db, enum db_id id, struct db_cursor *c) WARN_UNUSED;
void db_cursor_close(struct db_cursor *c);
/* First row at or after key. */
int db_cursor_seek(struct db_cursor *c, struct bytes key) WARN_UNUSED;
int db_cursor_next(struct db_cursor *c) WARN_UNUSED;
int db_cursor_prev(struct db_cursor *c) WARN_UNUSED;
int db_cursor_last(struct db_cursor *c) WARN_UNUSED;
/* Deletes the row; db_cursor_next then gives the one behind it. */
int db_cursor_del(struct db_cursor *c) WARN_UNUSED;

/* A fixed record at the start of a value; false: too short (corrupt). */
static inline bool rec_read(struct bytes value, void *rec, size_t n)
{
	if (value.n < n)
		return false;
	memcpy(rec, value.p, n);
	return true;
}

/* A number in meta; 0 when it is not there. */
int db_meta_get(MDB_txn *txn, const struct db *db, const char *name, uint64_t *value_r) WARN_UNUSED;
int db_meta_put(MDB_txn *txn, const struct db *db, const char *name, uint64_t value) WARN_UNUSED;

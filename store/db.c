/* SPDX-License-Identifier: BSD-3-Clause
 * Opening: main thread.  Access: whoever holds the transaction. */
#include "store/db.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "store/db_journal.h"
#include "store/db_upgrade.h"

#define MAX_READERS                                                                                \
	512 /* reader slots of the lock file; one each for our threads and for tools               \
	     */
#define MAP_DEFAULT (1ull << 40)

const char *const db_names[DB_N] = {
#define DB(id, name, what) name,
	DB_TABLE(DB)
#undef DB
};

static int error_text(char *error, size_t n, int err, const char *path, const char *what)
{
	snprintf(error, n, "store.path %s: %s", path, what);
	return err;
}

/* LMDB syncs what is in its file, but not that there is one: without this a store whose first hours
 * were answered with 250 could be gone with its name. */
static int directory_sync(const char *path, char *error, size_t error_n)
{
	int err = db_directory_sync(path);

	return err < 0 ? error_text(error, error_n, err, path, "cannot sync the directory") : 0;
}

static int directory_prepare(const char *path, char *error, size_t error_n)
{
	struct stat st;

	if (strlen(path) >= DB_PATH_MAX - 32) {
		return error_text(error, error_n, -ENAMETOOLONG, path, "name too long");
	}
	if (mkdir(path, 0700) == 0) {
		char parent[DB_PATH_MAX];
		snprintf(parent, sizeof(parent), "%s", path);
		return directory_sync(dirname(parent), error, error_n);
	}
	if (errno != EEXIST) {
		int err = -errno;
		snprintf(error, error_n, "store.path %s: cannot create directory: %s", path,
			strerror(-err));
		return err;
	}
	if (stat(path, &st) < 0) {
		int err = -errno;
		return error_text(error, error_n, err, path, strerror(-err));
	}
	if (!S_ISDIR(st.st_mode)) {
		return error_text(error, error_n, -ENOTDIR, path, "not a directory");
	}
	return 0;
}

/* The lock is the daemon's for its life; the kernel gives it back however the process ends. */
static int lock_take(struct db *db, char *error, size_t error_n)
{
	char name[DB_PATH_MAX + 8];

	snprintf(name, sizeof(name), "%s/lock", db->path);
	db->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (db->lock_fd < 0) {
		int err = -errno;
		snprintf(error, error_n, "store.path %s: %s: %s", db->path,
			err == -ENOSPC ? "disk full" : "directory is not writable", strerror(-err));
		return err;
	}
	if (flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		int err = -errno;
		close(db->lock_fd);
		db->lock_fd = -1;
		return error_text(error, error_n, err == -EWOULDBLOCK ? -EBUSY : err, db->path,
			err == -EWOULDBLOCK ? "in use by another bypostd" : strerror(-err));
	}
	return 0;
}

static int to_errno(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_VERSION_MISMATCH:
	case MDB_INVALID:
		return -EINVAL;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

static int file_fill(const char *name)
{
	MDB_env *env;
	int rc = mdb_env_create(&env);

	if (rc)
		return rc;
	rc = mdb_env_open(env, name, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
	if (!rc)
		rc = mdb_env_sync(env, 1);
	mdb_env_close(env);
	return rc;
}

/* LMDB does not sync the first pages of a new file, and refuses one that a power cut has left
 * without them.  So a file is made under another name, and has its own when it is on disk. */
static int file_make(const struct db *db)
{
	char part[DB_PATH_MAX + 16], name[DB_PATH_MAX + 16];

	snprintf(part, sizeof(part), "%s/" DATA_NAME ".new", db->path);
	snprintf(name, sizeof(name), "%s/" DATA_NAME, db->path);
	if (unlink(part) < 0 && errno != ENOENT)
		return errno;
	int rc = file_fill(part);
	if (!rc && rename(part, name) < 0)
		rc = errno;
	if (rc)
		unlink(part);
	return rc;
}

static int env_open(struct db *db)
{
	/* With a checkpoint to go back to, what is not synced can do no harm: db_journal.c. */
	bool safe = db->journal && db->journal->head.set;
	unsigned flags = MDB_NOTLS | (db->no_sync || safe ? MDB_NOSYNC : 0);
	int dead, rc = mdb_env_create(&db->env);

	if (rc) {
		db->env = NULL;
		return rc;
	}
	rc = mdb_env_set_userctx(db->env, db);
	if (!rc)
		rc = mdb_env_set_mapsize(db->env, db->map_bytes);
	if (!rc)
		rc = mdb_env_set_maxdbs(db->env, DB_N + DB_UPGRADE_TABLES);
	if (!rc)
		rc = mdb_env_set_maxreaders(db->env, MAX_READERS);
	if (!rc)
		rc = mdb_env_open(db->env, db->path, flags, 0600);
	if (rc) {
		mdb_env_close(db->env);
		db->env = NULL;
		return rc;
	}
	mdb_reader_check(db->env, &dead);
	return db->plain ? 0 : db_journal_pin(db);
}

static int dbis_open(struct db *db, MDB_txn *txn, unsigned flags)
{
	for (int i = 0; i < DB_N; i++) {
		int rc = mdb_dbi_open(txn, db_names[i], flags, &db->dbi[i]);
		if (rc)
			return rc;
	}
	return 0;
}

/* Shard 0 gives the set its number, the others have it from there. */
static int shard_put(struct db *db, MDB_txn *txn)
{
	struct db_shard *s = &db->shard;

	if (s->set == 0 && getrandom(&s->set, sizeof(s->set), 0) != sizeof(s->set))
		return EIO;
	s->set |= 1;
	int rc = db_meta_put(txn, db, "shards", s->count);
	if (!rc)
		rc = db_meta_put(txn, db, "shard", s->number);
	return rc ? rc : db_meta_put(txn, db, "shard_set", s->set);
}

/* The store's format, and a secret of its own (store_secret) unless it has one. */
static int format_put(struct db *db, MDB_txn *txn)
{
	uint64_t secret[2], have;
	int rc = db_meta_get(txn, db, "secret_0", &have);

	if (!rc && !have && getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return EIO;
	if (!rc && !have)
		rc = db_meta_put(txn, db, "secret_0", secret[0] | 1);
	if (!rc && !have)
		rc = db_meta_put(txn, db, "secret_1", secret[1]);
	if (!rc && !db->any_shard && db->shard.count > 1)
		rc = shard_put(db, txn);
	return rc ? rc : db_meta_put(txn, db, "format", STORE_FORMAT);
}

/* A new store gets all its sub-databases and its format in one transaction, so a crash leaves
 * either an empty environment or a whole one. */
static int dbis_create(struct db *db)
{
	MDB_txn *txn;
	int rc = db_begin(db, true, &txn);

	if (rc)
		return rc;
	rc = dbis_open(db, txn, MDB_CREATE);
	if (!rc)
		rc = format_put(db, txn);
	if (rc) {
		db_abort(txn);
		return rc;
	}
	return db_commit(txn);
}

/* Tables that stores of this format may lack: those between shards. */
static int dbis_complete(struct db *db)
{
	MDB_txn *txn;
	int rc = db_begin(db, true, &txn);

	if (rc)
		return rc;
	rc = dbis_open(db, txn, MDB_CREATE);
	if (rc) {
		db_abort(txn);
		return rc;
	}
	return db_commit(txn);
}

static bool format_known(uint64_t format)
{
	return format >= STORE_FORMAT_MIN && format <= STORE_FORMAT;
}

/* The tables that an older format has not. */
static int dbis_add(struct db *db, uint64_t from)
{
	MDB_txn *txn;
	int rc = db_begin(db, true, &txn);

	if (rc)
		return rc;
	rc = dbis_open(db, txn, MDB_CREATE);
	if (!rc)
		rc = format_put(db, txn);
	if (!rc)
		rc = db_upgrade_begin(txn, db, from);
	if (rc) {
		db_abort(txn);
		return rc;
	}
	return db_commit(txn);
}

/* *format_r 0: an empty environment. */
static int dbis_load(struct db *db, uint64_t *format_r, bool *missing_r)
{
	MDB_txn *txn;
	int rc = db_begin(db, false, &txn);

	*format_r = 0;
	*missing_r = false;
	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, db_names[DB_META], 0, &db->dbi[DB_META]);
	if (!rc)
		rc = db_meta_get(txn, db, "format", format_r);
	if (!rc && *format_r == STORE_FORMAT)
		rc = dbis_open(db, txn, 0);
	/* An empty environment; or tables that were added without a new format. */
	*missing_r = rc == MDB_NOTFOUND && *format_r != 0;
	if (rc == MDB_NOTFOUND)
		rc = 0;
	/* A committed read transaction keeps the handles it opened. */
	if (rc) {
		db_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* Which shard the rows say that this is. */
static int shard_get(const struct db *db, struct db_shard *s)
{
	uint64_t count, number, whole;
	MDB_txn *txn;
	int rc = db_begin(db, false, &txn);

	*s = (struct db_shard){.count = 1};
	if (rc)
		return rc;
	rc = db_meta_get(txn, db, "shards", &count);
	if (!rc)
		rc = db_meta_get(txn, db, "shard", &number);
	if (!rc)
		rc = db_meta_get(txn, db, "shard_set", &s->set);
	if (!rc)
		rc = db_meta_get(txn, db, "shard_whole", &whole);
	db_abort(txn);
	if (rc)
		return rc;
	s->count = MAX((uint32_t)count, 1u);
	s->number = (uint32_t)number;
	s->whole = whole;
	return 0;
}

static int shard_check(struct db *db, char *error, size_t error_n)
{
	const struct db_shard want = db->shard;
	int rc = shard_get(db, &db->shard);

	if (rc)
		return error_text(error, error_n, -EIO, db->path, mdb_strerror(rc));
	if (db->any_shard)
		return 0;
	if (db->shard.count != want.count) {
		snprintf(error, error_n,
			"store.path %s: this store has been made with %u shard%s, key store.shards "
			"says %u: set it to %u (the number cannot be changed later)",
			db->path, db->shard.count, db->shard.count == 1 ? "" : "s", want.count,
			db->shard.count);
		return -EINVAL;
	}
	if (db->shard.number != want.number) {
		snprintf(error, error_n,
			"store.path %s: this is shard %u and not shard %u: look at the order of "
			"key store.shard_paths",
			db->path, db->shard.number, want.number);
		return -EINVAL;
	}
	if (want.set && db->shard.set != want.set)
		return error_text(
			error, error_n, -EINVAL, db->path, "this shard is of another store");
	return 0;
}

static int contents_open(struct db *db, char *error, size_t error_n)
{
	uint64_t format = 0;
	bool missing = false;
	int rc = db_exists(db->path) ? 0 : file_make(db);

	if (!rc && !db->plain) {
		rc = db_journal_prepare(db, error, error_n);
		if (rc)
			return to_errno(rc);
	}
	if (!rc)
		rc = env_open(db);
	if (!rc)
		rc = dbis_load(db, &format, &missing);
	if (!rc && missing)
		rc = dbis_complete(db);
	if (!rc && format == 0) {
		rc = dbis_create(db);
		format = STORE_FORMAT;
	}
	if (!rc && format != STORE_FORMAT && format_known(format)) {
		rc = dbis_add(db, format);
		format = STORE_FORMAT;
	}
	if (!rc && format == STORE_FORMAT)
		rc = db_upgrade_finish(db);
	/* Formats without a journal only have come this far with something to be upgraded; behind
	 * those the journal is to be read first. */
	if (!rc && format == STORE_FORMAT && !db->plain)
		rc = db_journal_start(db);
	if (rc) {
		bool full = rc == ENOSPC || rc == MDB_MAP_FULL;
		snprintf(error, error_n, "store.path %s: %s: %s", db->path,
			full ? "disk full" : "cannot open", mdb_strerror(rc));
		return to_errno(rc);
	}
	if (format != STORE_FORMAT) {
		snprintf(error, error_n, "store.path %s: format %llu, this program reads format %d",
			db->path, (unsigned long long)format, STORE_FORMAT);
		return -EPROTONOSUPPORT;
	}
	return shard_check(db, error, error_n);
}

int db_directory_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

bool db_exists(const char *path)
{
	char name[DB_PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s/" DATA_NAME, path);
	return access(name, F_OK) == 0;
}

int db_shard_whole(struct db *db)
{
	MDB_txn *txn;
	int rc = db_begin(db, true, &txn);

	if (rc)
		return rc;
	rc = db_meta_put(txn, db, "shard_whole", 1);
	if (rc) {
		db_abort(txn);
		return rc;
	}
	db->shard.whole = true;
	return db_commit(txn);
}

/* What an earlier life left in the page cache will be shown to readers: it is to stay. */
static int contents_sync(struct db *db, char *error, size_t error_n)
{
	int rc = db_sync(db);

	return rc ? error_text(error, error_n, to_errno(rc), db->path, mdb_strerror(rc)) : 0;
}

static int db_open_any(struct db *db, const char *path, const struct db_shard *shard,
	uint64_t map_bytes, char *error, size_t error_n)
{
	pthread_mutex_init(&db->durable_lock, NULL);
	pthread_cond_init(&db->durable_moved, NULL);
	if (shard)
		db->shard = *shard;
	if (shard && shard->must_exist && !db_exists(path)) {
		snprintf(error, error_n,
			"store.path %s: shard %u of the store is not here: is its disk mounted?",
			path, shard->number);
		return -ENOENT;
	}
	/* The map must be a multiple of the page size. */
	db->map_bytes = (map_bytes ? map_bytes : MAP_DEFAULT) & ~4095ull;
	int err = directory_prepare(path, error, error_n);

	if (err < 0)
		return err;
	snprintf(db->path, sizeof(db->path), "%s", path);
	err = lock_take(db, error, error_n);
	if (!err)
		err = contents_open(db, error, error_n);
	if (!err)
		err = contents_sync(db, error, error_n);
	if (!err)
		err = directory_sync(path, error, error_n);
	if (err < 0)
		db_close(db);
	return err;
}

int db_open(struct db *db, const char *path, uint64_t map_bytes, bool no_sync, char *error,
	size_t error_n)
{
	return db_open_shard(db, path, NULL, map_bytes, no_sync, error, error_n);
}

int db_open_plain(struct db *db, const char *path, const struct db_shard *shard, uint64_t map_bytes,
	char *error, size_t error_n)
{
	*db = (struct db){.lock_fd = -1, .no_sync = true, .plain = true, .any_shard = !shard};
	return db_open_any(db, path, shard, map_bytes, error, error_n);
}

int db_plain_sync(const struct db *db)
{
	return mdb_env_sync(db->env, 1);
}

int db_open_shard(struct db *db, const char *path, const struct db_shard *shard, uint64_t map_bytes,
	bool no_sync, char *error, size_t error_n)
{
	*db = (struct db){.lock_fd = -1, .no_sync = no_sync, .any_shard = !shard};
	return db_open_any(db, path, shard, map_bytes, error, error_n);
}

int db_lock(struct db *db, const char *path, char *error, size_t error_n)
{
	*db = (struct db){.lock_fd = -1};
	int err = directory_prepare(path, error, error_n);

	if (err < 0)
		return err;
	snprintf(db->path, sizeof(db->path), "%s", path);
	return lock_take(db, error, error_n);
}

void db_close_env(struct db *db)
{
	db_journal_end(db);
	db_give_back_end(db);
	db->replayed = false;
	if (db->env)
		mdb_env_close(db->env);
	db->env = NULL;
}

void db_close(struct db *db)
{
	db_close_env(db);
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	db->lock_fd = -1;
}

int db_reopen(struct db *db)
{
	char error[DB_PATH_MAX + 128];

	db->broken = true; /* what is in the page cache may be more than the disk has */
	/* On a disk that takes no writes at all what is open can still be read. */
	int rc = db->env && db->noting ? db_journal_restore(db) : 0;
	if (rc)
		return -rc;
	db_close_env(db);
	db->reopening = true;
	int err = contents_open(db, error, sizeof(error));
	db->reopening = false;
	if (err < 0) {
		log_warn("store", "open-failed path=%s error=\"%s\"", db->path, error);
		/* A disk that takes no more writes can still be read. */
		if (!db->replayed)
			db_close_env(db);
	}
	return err;
}

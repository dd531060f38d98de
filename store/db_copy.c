/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/db_copy.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define REWRITE_BATCH (4u << 20) /* octets in one commit of a rewrite; chosen */
#define COPY_BUFFER   (1u << 20)

static int say(char *error, size_t n, int err, const char *path, const char *what)
{
	snprintf(error, n, "%s: %s: %s", path, what, strerror(-err));
	return err;
}

static int directory_make(const char *path, char *error, size_t error_n)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return say(error, error_n, -errno, path, "cannot make the directory");
	return 0;
}

static int directory_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

/* ---- backup ---- */

struct db_backup {
	const struct db *db;
	pthread_t thread;
	pthread_mutex_t lock; /* who joins */
	bool joined;
	int fd;
	uint64_t used_at_start, growth_max;
	atomic_int state;
	atomic_bool cancelled;
	char directory[DB_PATH_MAX];
	char error[DB_PATH_MAX + 160];
};

static int copy_and_name(struct db_backup *b)
{
	char part[DB_PATH_MAX + 16], name[DB_PATH_MAX + 16];
	int rc = mdb_env_copyfd2(b->db->env, b->fd, 0);

	if (rc)
		return rc < 0 ? EIO : rc;
	snprintf(part, sizeof(part), "%s/data.mdb.part", b->directory);
	snprintf(name, sizeof(name), "%s/data.mdb", b->directory);
	if (fsync(b->fd) < 0)
		return errno;
	/* link, not rename: what is there stays. */
	if (link(part, name) < 0 || unlink(part) < 0)
		return errno;
	return -directory_sync(b->directory);
}

static void *backup_main(void *arg)
{
	struct db_backup *b = arg;
	int rc = copy_and_name(b);

	if (rc && !atomic_load(&b->cancelled))
		say(b->error, sizeof(b->error), -rc, b->directory, "cannot write the copy");
	atomic_store_explicit(
		&b->state, rc ? DB_BACKUP_FAILED : DB_BACKUP_DONE, memory_order_release);
	return NULL;
}

static int part_open(struct db_backup *b, char *error, size_t error_n)
{
	char name[DB_PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s/data.mdb", b->directory);
	if (access(name, F_OK) == 0)
		return say(error, error_n, -EEXIST, name, "a backup is there");
	snprintf(name, sizeof(name), "%s/data.mdb.part", b->directory);
	b->fd = open(name, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	return b->fd < 0 ? say(error, error_n, -errno, name, "cannot open") : 0;
}

int db_backup_start(const struct db *db, const char *directory, uint64_t growth_max,
	struct db_backup **b_r, char *error, size_t error_n)
{
	struct db_backup *b = calloc(1, sizeof(*b));

	*b_r = b;
	if (!b || strlen(directory) >= DB_PATH_MAX - 32) {
		db_backup_destroy(b_r);
		return say(error, error_n, b ? -ENAMETOOLONG : -ENOMEM, "backup", "cannot begin");
	}
	b->db = db;
	b->fd = -1;
	b->growth_max = growth_max;
	b->used_at_start = db_used_bytes(db);
	b->joined = true;
	pthread_mutex_init(&b->lock, NULL);
	snprintf(b->directory, sizeof(b->directory), "%s", directory);
	int err = directory_make(directory, error, error_n);
	if (!err)
		err = part_open(b, error, error_n);
	if (!err) {
		err = -pthread_create(&b->thread, NULL, backup_main, b);
		b->joined = err != 0;
		if (err)
			say(error, error_n, err, directory, "no thread");
	}
	if (err)
		db_backup_destroy(b_r);
	return err;
}

/* LMDB's copy cannot be interrupted, but its descriptor can become a disk that is full. */
void db_backup_cancel(struct db_backup *b, const char *why)
{
	if (atomic_load(&b->state) != DB_BACKUP_RUNNING || atomic_exchange(&b->cancelled, true))
		return;
	snprintf(b->error, sizeof(b->error), "%s: given up: %.120s", b->directory, why);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (full >= 0) {
		dup3(full, b->fd, O_CLOEXEC);
		close(full);
	}
}

void db_backup_wait(struct db_backup *b)
{
	pthread_mutex_lock(&b->lock);
	if (!b->joined)
		pthread_join(b->thread, NULL);
	b->joined = true;
	pthread_mutex_unlock(&b->lock);
}

enum db_backup_state db_backup_poll(struct db_backup *b, uint64_t *octets_r)
{
	enum db_backup_state state =
		(enum db_backup_state)atomic_load_explicit(&b->state, memory_order_acquire);
	struct stat st;

	*octets_r = fstat(b->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	if (state == DB_BACKUP_RUNNING && db_used_bytes(b->db) > b->used_at_start + b->growth_max)
		db_backup_cancel(b, "the store has grown too much meanwhile (--limit)");
	return state;
}

const char *db_backup_error(const struct db_backup *b)
{
	return b->error;
}

void db_backup_destroy(struct db_backup **bp)
{
	struct db_backup *b = *bp;
	char part[DB_PATH_MAX + 16];

	if (!b)
		return;
	if (b->db)
		db_backup_wait(b);
	if (b->fd > 0)
		close(b->fd);
	if (b->directory[0] && atomic_load(&b->state) != DB_BACKUP_DONE) {
		snprintf(part, sizeof(part), "%s/data.mdb.part", b->directory);
		unlink(part);
	}
	free(b);
	*bp = NULL;
}

/* ---- rewrite ---- */

struct rewrite {
	const struct db *from;
	struct db to;
	MDB_txn *read, *write;
	uint64_t batch;
};

static int rewrite_row(struct rewrite *r, enum db_id id, struct bytes key, struct bytes value)
{
	void *room;
	int rc;

	if (!r->write) {
		rc = db_begin(&r->to, true, &r->write);
		if (rc)
			return rc;
		r->batch = 0;
	}
	/* The table of numbers has rows since it was made: not in order. */
	rc = db_reserve(r->write, &r->to, id, key, value.n, id != DB_META, &room);
	if (rc)
		return rc;
	if (value.n)
		memcpy(room, value.p, value.n);
	r->batch += key.n + value.n;
	if (r->batch < REWRITE_BATCH)
		return 0;
	MDB_txn *txn = r->write;
	r->write = NULL;
	return db_commit(txn);
}

static int rewrite_table(struct rewrite *r, enum db_id id)
{
	struct db_cursor c;
	int rc = db_cursor_open(r->read, r->from, id, &c);

	if (rc)
		return rc;
	for (rc = db_cursor_seek(&c, bytes_make("", 1)); !rc; rc = db_cursor_next(&c)) {
		rc = rewrite_row(r, id, c.key, c.value);
		if (rc)
			break;
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int rewrite_all(struct rewrite *r)
{
	int rc = db_begin(r->from, false, &r->read);

	if (rc)
		return rc;
	for (int id = 0; !rc && id < DB_N; id++)
		rc = rewrite_table(r, (enum db_id)id);
	if (r->write && rc)
		db_abort(r->write);
	else if (r->write)
		rc = db_commit(r->write);
	db_abort(r->read);
	return rc ? rc : mdb_env_sync(r->to.env, 1);
}

int db_rewrite(const struct db *from, const char *directory, char *error, size_t error_n)
{
	struct rewrite r = {.from = from};
	int err = db_open_plain(&r.to, directory, from->map_bytes, error, error_n);

	if (err < 0)
		return err;
	int rc = rewrite_all(&r);
	db_close(&r.to);
	if (rc)
		snprintf(error, error_n, "%s: cannot write: %s", directory, mdb_strerror(rc));
	return rc > 0 ? -rc : rc ? -EIO : 0;
}

/* ---- files ---- */

static int octets_copy(int from, int to)
{
	uint8_t *buffer = malloc(COPY_BUFFER);
	ssize_t n = -1;
	int err = buffer ? 0 : -ENOMEM;

	while (!err && (n = read(from, buffer, COPY_BUFFER)) > 0) {
		for (ssize_t at = 0, w; !err && at < n; at += w) {
			w = write(to, buffer + at, (size_t)(n - at));
			err = w < 0 ? -errno : 0;
		}
	}
	if (!err && n < 0)
		err = -errno;
	if (!err && fsync(to) < 0)
		err = -errno;
	free(buffer);
	return err;
}

int db_copy_file(const char *from, const char *directory, char *error, size_t error_n)
{
	char source[DB_PATH_MAX + 16], target[DB_PATH_MAX + 16];
	int err = directory_make(directory, error, error_n);

	if (err)
		return err;
	snprintf(source, sizeof(source), "%s/data.mdb", from);
	snprintf(target, sizeof(target), "%s/data.mdb", directory);
	int in = open(source, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return say(error, error_n, -errno, source, "cannot open");
	int out = open(target, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = out < 0 ? -errno : octets_copy(in, out);
	if (out >= 0)
		close(out);
	close(in);
	return err ? say(error, error_n, err, target, "cannot copy") : directory_sync(directory);
}

static void file_remove(const char *directory, const char *name)
{
	char path[DB_PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
}

int db_replace(
	const char *path, const char *directory, const char *keep, char *error, size_t error_n)
{
	char from[DB_PATH_MAX + 16], to[DB_PATH_MAX + 16], old[DB_PATH_MAX + 64];

	snprintf(from, sizeof(from), "%s/data.mdb", directory);
	snprintf(to, sizeof(to), "%s/data.mdb", path);
	if (keep) {
		snprintf(old, sizeof(old), "%s/%s", path, keep);
		unlink(old);
		if (link(to, old) < 0 && errno != ENOENT)
			return say(error, error_n, -errno, old, "cannot keep the old store");
	}
	if (rename(from, to) < 0)
		return say(error, error_n, -errno, to, "cannot replace");
	int err = directory_sync(path);
	file_remove(directory, "lock.mdb");
	file_remove(directory, "lock");
	rmdir(directory);
	return err ? say(error, error_n, err, path, "cannot sync") : 0;
}

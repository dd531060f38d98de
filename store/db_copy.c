/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/db_copy.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/db_journal.h"

#define PART        "data.mdb.part" /* directory of a copy that is not whole yet */
#define COPY_BUFFER (1u << 20)

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

void db_copy_clear(const char *directory)
{
	static const char *const names[] = {
		"data.mdb", "data.mdb.new", JOURNAL_NAME, "lock.mdb", "lock"};
	char path[DB_PATH_MAX + 64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

/* ---- backup ---- */

struct db_backup {
	const struct db *db;
	pthread_t thread;
	pthread_mutex_t lock; /* who joins */
	bool joined;
	uint64_t used_at_start, growth_max;
	atomic_int state;
	atomic_bool said; /* error is somebody's */
	struct db_copy_watch watch;
	char directory[DB_PATH_MAX];
	char part[DB_PATH_MAX + 16];
	char error[DB_PATH_MAX + 160];
};

static uint64_t bytes_used(const struct db *db)
{
	return db_used_bytes(db) + db_journal_bytes(db);
}

static int copy_and_name(struct db_backup *b, char *error, size_t error_n)
{
	char part[DB_PATH_MAX + 32], name[DB_PATH_MAX + 16];
	struct stat st;
	int err = db_rewrite(b->db, b->part, &b->watch, error, error_n);

	if (err)
		return err;
	snprintf(part, sizeof(part), "%s/data.mdb", b->part);
	snprintf(name, sizeof(name), "%s/data.mdb", b->directory);
	/* link, not rename: what is there stays. */
	if (stat(part, &st) < 0 || link(part, name) < 0)
		return say(error, error_n, -errno, name, "cannot name the copy");
	db_copy_clear(b->part);
	atomic_store(&b->watch.octets, (uint64_t)st.st_size);
	err = db_directory_sync(b->directory);
	return err ? say(error, error_n, err, b->directory, "cannot sync") : 0;
}

static void *backup_main(void *arg)
{
	struct db_backup *b = arg;
	char error[sizeof(b->error)] = "";
	int err = copy_and_name(b, error, sizeof(error));

	if (err && !atomic_exchange(&b->said, true))
		memcpy(b->error, error, sizeof(error));
	atomic_store_explicit(
		&b->state, err ? DB_BACKUP_FAILED : DB_BACKUP_DONE, memory_order_release);
	return NULL;
}

/* What an attempt that was ended has left goes. */
static int target_prepare(struct db_backup *b, char *error, size_t error_n)
{
	char name[DB_PATH_MAX + 16];
	int err = directory_make(b->directory, error, error_n);

	if (err)
		return err;
	snprintf(name, sizeof(name), "%s/data.mdb", b->directory);
	if (access(name, F_OK) == 0)
		return say(error, error_n, -EEXIST, name, "a backup is there");
	db_copy_clear(b->part);
	if (unlink(b->part) < 0 && errno != ENOENT)
		return say(error, error_n, -errno, b->part, "cannot remove what is left over");
	return 0;
}

int db_backup_start(const struct db *db, const char *directory, uint64_t growth_max,
	struct db_backup **b_r, char *error, size_t error_n)
{
	struct db_backup *b = calloc(1, sizeof(*b));

	*b_r = b;
	if (!b || strlen(directory) >= DB_PATH_MAX - 64) {
		free(b);
		*b_r = NULL;
		return say(error, error_n, b ? -ENAMETOOLONG : -ENOMEM, "backup", "cannot begin");
	}
	b->db = db;
	b->growth_max = growth_max;
	b->used_at_start = bytes_used(db);
	b->joined = true;
	pthread_mutex_init(&b->lock, NULL);
	snprintf(b->directory, sizeof(b->directory), "%s", directory);
	snprintf(b->part, sizeof(b->part), "%s/" PART, directory);
	int err = target_prepare(b, error, error_n);
	if (!err) {
		err = -pthread_create(&b->thread, NULL, backup_main, b);
		b->joined = err != 0;
		if (err)
			say(error, error_n, err, directory, "no thread");
	}
	if (err) {
		free(b);
		*b_r = NULL;
	}
	return err;
}

void db_backup_cancel(struct db_backup *b, const char *why)
{
	if (atomic_load(&b->state) != DB_BACKUP_RUNNING || atomic_exchange(&b->said, true))
		return;
	snprintf(b->error, sizeof(b->error), "%s: given up: %.120s", b->directory, why);
	atomic_store(&b->watch.cancelled, true);
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

	*octets_r = atomic_load(&b->watch.octets);
	if (state == DB_BACKUP_RUNNING && bytes_used(b->db) > b->used_at_start + b->growth_max)
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

	if (!b)
		return;
	db_backup_wait(b);
	if (atomic_load(&b->state) != DB_BACKUP_DONE)
		db_copy_clear(b->part);
	free(b);
	*bp = NULL;
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

/* A file with a mark lacks what is in the journal that it belongs to. */
static int source_check(const char *from, char *error, size_t error_n)
{
	uint64_t set;
	int rc = db_mark_get(from, &set);

	if (rc)
		return say(error, error_n, -rc, from, "data.mdb cannot be read");
	if (set == 0)
		return 0;
	snprintf(error, error_n,
		"%s: not a backup: these are the files of a store, whose mail is partly in its "
		"file "
		"`journal`; make a backup of it (bypostctl store backup), or copy data.mdb and "
		"journal together",
		from);
	return -EINVAL;
}

int db_copy_file(const char *from, const char *directory, char *error, size_t error_n)
{
	char source[DB_PATH_MAX + 16], target[DB_PATH_MAX + 16];
	int err = source_check(from, error, error_n);

	if (!err)
		err = directory_make(directory, error, error_n);
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
	return err ? say(error, error_n, err, target, "cannot copy") : db_directory_sync(directory);
}

/* Another name for a file that may not be there. */
static int file_keep(const char *path, const char *name, const char *keep)
{
	char from[DB_PATH_MAX + 64], to[DB_PATH_MAX + 64];

	snprintf(from, sizeof(from), "%s/%s", path, name);
	snprintf(to, sizeof(to), "%s/%s%s", path, name, keep);
	unlink(to);
	return link(from, to) < 0 && errno != ENOENT ? -errno : 0;
}

/* A data file without a mark: the journal beside it is of the old one, and left over. */
static int journal_remove(const char *path)
{
	char name[DB_PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s/" JOURNAL_NAME, path);
	if (unlink(name) < 0)
		return errno == ENOENT ? 0 : -errno;
	return db_directory_sync(path);
}

int db_replace(
	const char *path, const char *directory, const char *keep, char *error, size_t error_n)
{
	char from[DB_PATH_MAX + 16], to[DB_PATH_MAX + 16];
	int err = 0;

	snprintf(from, sizeof(from), "%s/data.mdb", directory);
	snprintf(to, sizeof(to), "%s/data.mdb", path);
	if (keep)
		err = file_keep(path, "data.mdb", keep);
	if (keep && !err)
		err = file_keep(path, JOURNAL_NAME, keep);
	if (err)
		return say(error, error_n, err, path, "cannot keep the old store");
	if (rename(from, to) < 0)
		return say(error, error_n, -errno, to, "cannot replace");
	err = db_directory_sync(path);
	if (!err)
		err = journal_remove(path);
	db_copy_clear(directory);
	return err ? say(error, error_n, err, path, "cannot sync") : 0;
}

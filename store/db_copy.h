/* SPDX-License-Identifier: BSD-3-Clause
 * Copies of a whole environment: a hot one while the store is in use, a fresh one without holes,
 * and the way back.  A copy is one data file without a journal: bodies that lie in the journal
 * become rows of it.  Main thread, except where said otherwise. */
#pragma once
#include "store/db.h"

struct db_backup;

enum db_backup_state { DB_BACKUP_RUNNING, DB_BACKUP_DONE, DB_BACKUP_FAILED };

/* Begins to copy the environment as of now into directory/data.mdb, in a thread of its own.  The
 * directory must be there or can be made; a data.mdb in it is not replaced.  The copy is the one
 * long reader of the store: while it runs, pages and slots that are freed cannot be used again.
 * When the files have grown by growth_max octets since the start the copy is given up.  0 or -errno
 * with a text. */
int db_backup_start(const struct db *db, const char *directory, uint64_t growth_max,
	struct db_backup **b_r, char *error, size_t error_n) WARN_UNUSED;
/* Looks at the growth as well: to be called every second or so while it runs.  *octets_r: copied so
 * far, 0 until the moment that it is a copy of has been. */
enum db_backup_state db_backup_poll(struct db_backup *b, uint64_t *octets_r);
/* Any thread: make it fail soon. */
void db_backup_cancel(struct db_backup *b, const char *why);
/* Any thread: after cancel, before the environment is closed. */
void db_backup_wait(struct db_backup *b);
/* "" or why it failed. */
const char *db_backup_error(const struct db_backup *b);
void db_backup_destroy(struct db_backup **b);

/* Between a copy under way and who waits for it. */
struct db_copy_watch {
	atomic_bool cancelled;
	_Atomic uint64_t octets; /* of rows so far; not 0 as soon as the moment is fixed */
};
/* Writes all rows of one moment anew into a new environment at `directory` (made here; must be
 * empty), in order, so that no page is left over and rows lie together.  A body that is damaged
 * stays so; what belongs to no body is left behind.  Durable when it returns 0; else -errno with a
 * text.  Any thread; who opens and closes `from` waits for it. */
int db_rewrite(const struct db *from, const char *directory, struct db_copy_watch *watch,
	char *error, size_t error_n) WARN_UNUSED;

/* Puts directory/data.mdb in the place of path/data.mdb and its journal, durably, and removes the
 * directory; when keep is not NULL, the old files get it behind their names.  Whenever it ends,
 * there is the one store or the other.  Nobody has either open. */
int db_replace(const char *path, const char *directory, const char *keep, char *error,
	size_t error_n) WARN_UNUSED;
/* Copies from/data.mdb, which must be whole by itself, to directory/data.mdb (made here) and syncs
 * it. */
int db_copy_file(const char *from, const char *directory, char *error, size_t error_n) WARN_UNUSED;
/* A copy becomes the store: what was given out behind the moment that it is of is not given out
 * again. 0 or -EIO. */
int db_uids_skip(const struct db *db) WARN_UNUSED;
/* Removes a directory that one of these has left unfinished. */
void db_copy_clear(const char *directory);

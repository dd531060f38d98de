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
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
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
#define CHECKPOINT_BYTES                                                                           \
	(64ull << 20) /* of the journal between checkpoints; chosen: 0.2 s to replay */

/* Pages that these have replaced cannot be used again before: chosen, some 100 MiB. */
#define CHECKPOINT_TXNS 2048

#define PORTIONS        256       /* of the data file, written one after the other; chosen */
#define PORTION_MIN     (4 << 20) /* octets */
#define PORTION_IDLE_US 30        /* it had nothing to write */
#define PAUSE_MAX_US    2000

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

	snprintf(name, sizeof(name), "%s/data.mdb", directory);
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

static int meta_get(const struct db *db, uint64_t txn, uint8_t meta[JOURNAL_META])
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

/* ---- checkpoints ---- */

int db_journal_pin(struct db *db)
{
	return mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->pin);
}

/* Notes what is to be durable. */
static int checkpoint_begin(struct db *db)
{
	struct journal *j = db->journal;
	struct journal_head *h = &db->next.head;
	int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->next.pin);

	db->checkpoint_asked = false;
	if (rc) {
		db->next.pin = NULL;
		return rc;
	}
	*h = (struct journal_head){.set = j->head.set,
		.txn = mdb_txn_id(db->next.pin),
		.number = j->number,
		.at = j->at,
		.salt = j->salt};
	db->next.bytes_since = j->bytes_since;
	rc = meta_get(db, h->txn, h->meta);
	if (rc) {
		db_abort(db->next.pin);
		db->next.pin = NULL;
	}
	return rc;
}

/* The slow part. */
static int checkpoint_write(struct db *db)
{
	int rc = db->no_sync || db->early_head ? 0 : mdb_env_sync(db->env, 1);

	return rc ? rc : journal_head_write(db->journal, &db->next.head);
}

/* Pages in small portions with pauses between them: a journal's sync that comes meanwhile has to
 * wait for one of them, not for all. */
static int pages_write(struct db *db)
{
	struct stat st;
	int fd;

	if (mdb_env_get_fd(db->env, &fd) || fstat(fd, &st) < 0)
		return EIO;
	off_t step = MAX(st.st_size / PORTIONS, (off_t)PORTION_MIN);
	for (off_t at = 0; at < st.st_size; at += step) {
		uint64_t start = clock_mono_us();
		if (sync_file_range(
			    fd, at, step, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0)
			return errno;
		uint64_t took = clock_mono_us() - start;
		if (took > PORTION_IDLE_US)
			usleep((useconds_t)MIN(took, (uint64_t)PAUSE_MAX_US));
	}
	return 0;
}

static int checkpoint_syncer_work(void *arg)
{
	struct db *db = arg;
	int rc = db->no_sync ? 0 : pages_write(db);

	return rc ? rc : checkpoint_write(db);
}

static int checkpoint_end(struct db *db, int rc)
{
	struct journal *j = db->journal;
	MDB_txn *old = rc ? db->next.pin : db->pin;

	if (!rc) {
		db->pin = db->next.pin;
		j->head = db->next.head;
		j->bytes_since -= MIN(j->bytes_since, db->next.bytes_since);
	}
	j->head_doubtful = rc != 0;
	db->next.pin = NULL;
	if (old)
		db_abort(old);
	return rc;
}

static int checkpoint_wait(struct db *db)
{
	if (!syncer_pending(&db->checkpoint_syncer))
		return 0;
	return checkpoint_end(db, syncer_wait(&db->checkpoint_syncer));
}

int db_checkpoint(struct db *db)
{
	struct journal *j = db->journal;
	int rc = checkpoint_wait(db);

	if (!rc)
		rc = checkpoint_begin(db);
	if (rc)
		return rc;
	rc = checkpoint_end(db, checkpoint_write(db));
	if (!rc)
		journal_durable(j, j->head.number, j->head.at);
	return rc;
}

bool db_checkpoint_due(const struct db *db)
{
	uint64_t interval = db->checkpoint_bytes ? db->checkpoint_bytes : CHECKPOINT_BYTES;

	if (!db->noting || syncer_pending(&db->checkpoint_syncer))
		return false;
	return db->checkpoint_asked || db->journal->bytes_since >= interval ||
	       db_last_txn(db) - db->journal->head.txn >= CHECKPOINT_TXNS;
}

bool db_checkpoint_frees(const struct db *db)
{
	return db->noting && db_last_txn(db) != db->journal->head.txn;
}

bool db_checkpoint_wanted(const struct db *db)
{
	return db->noting && db->journal->bytes_since > 0 &&
	       !syncer_pending(&db->checkpoint_syncer);
}

int db_checkpoint_tend(struct db *db)
{
	struct syncer *s = &db->checkpoint_syncer;

	if (syncer_pending(s))
		return syncer_done(s) ? checkpoint_wait(db) : 0;
	if (!db_checkpoint_due(db))
		return 0;
	if (!s->started)
		return db_checkpoint(db);
	int rc = checkpoint_begin(db);
	if (!rc)
		syncer_ask(s);
	return rc;
}

/* ---- slots before they are written ---- */

static int prepare_syncer_work(void *arg)
{
	struct db *db = arg;

	return journal_prepare(db->journal, db->preparing);
}

static void prepare_wait(struct db *db)
{
	if (!syncer_pending(&db->prepare_syncer))
		return;
	journal_prepared(db->journal, db->preparing, syncer_wait(&db->prepare_syncer));
	db->preparing = 0;
}

/* Once for each slot: a disk may be full. */
static bool prepare_is_due(const struct db *db)
{
	return db->noting && db->prepare_syncer.started && !syncer_pending(&db->prepare_syncer) &&
	       journal_prepare_due(db->journal) &&
	       db->prepare_tried != journal_slot_of(db->journal->at);
}

void db_prepare_tend(struct db *db, bool begin)
{
	uint64_t oldest;

	if (syncer_pending(&db->prepare_syncer) && syncer_done(&db->prepare_syncer))
		prepare_wait(db);
	if (!begin || !prepare_is_due(db) || db_oldest(db, &oldest))
		return;
	db->prepare_tried = journal_slot_of(db->journal->at);
	db->preparing = journal_prepare_begin(db->journal, oldest);
	if (db->preparing)
		syncer_ask(&db->prepare_syncer);
}

void db_journal_end(struct db *db)
{
	prepare_wait(db);
	if (checkpoint_wait(db))
		db->broken = true;
	/* What has failed is found out anew from the last checkpoint. */
	if (db->noting && db->env && !db->broken && db_checkpoint(db))
		log_warn("store", "checkpoint-failed path=%s", db->path);
	db->noting = db->broken = false;
	if (db->pin)
		db_abort(db->pin);
	db->pin = NULL;
	journal_close(&db->journal);
}

/* ---- syncs ---- */

static int journal_syncer_work(void *arg)
{
	struct db *db = arg;

	return journal_sync(db->journal);
}

/* Has a checkpoint made durable all that has been committed?  Then no sync is to fail behind it. */
static bool is_durable(const struct db *db)
{
	return db->noting && db->journal->number == db->journal->durable_number;
}

void db_sync_begin(struct db *db)
{
	struct journal *j = db->journal;

	if (is_durable(db)) {
		db_durable_set(db, db_last_txn(db));
		return;
	}
	db->syncing.number = j->number;
	db->syncing.at = j->at;
	db->syncing.txn = db_last_txn(db);
	syncer_ask(&db->journal_syncer);
}

bool db_sync_begun(const struct db *db)
{
	return syncer_pending(&db->journal_syncer);
}

int db_sync_end(struct db *db)
{
	if (!syncer_pending(&db->journal_syncer))
		return db->broken ? EIO : 0;
	int rc = syncer_wait(&db->journal_syncer);
	if (rc) {
		db->broken = true;
		return rc;
	}
	journal_durable(db->journal, db->syncing.number, db->syncing.at);
	db_durable_set(db, db->syncing.txn);
	return 0;
}

int db_sync(struct db *db)
{
	struct journal *j = db->journal;
	int rc = db_sync_end(db);

	/* While it is being opened, the transaction itself was synced, or the checkpoint to come
	 * is. */
	if (!rc && db->noting && !is_durable(db))
		rc = journal_sync(j);
	if (rc)
		return rc;
	if (db->noting)
		journal_durable(j, j->number, j->at);
	db_durable_set(db, db_last_txn(db));
	return 0;
}

int db_threads_start(struct db *db)
{
	int err = syncer_start(&db->journal_syncer, "journal", journal_syncer_work, db);

	if (!err)
		err = syncer_start(
			&db->checkpoint_syncer, "checkpoint", checkpoint_syncer_work, db);
	if (!err)
		err = syncer_start(&db->prepare_syncer, "prepare", prepare_syncer_work, db);
	if (err)
		db_threads_stop(db);
	return err;
}

void db_threads_stop(struct db *db)
{
	if (db->checkpoint_syncer.started && checkpoint_wait(db))
		db->broken = true;
	prepare_wait(db);
	syncer_stop(&db->prepare_syncer);
	syncer_stop(&db->checkpoint_syncer);
	syncer_stop(&db->journal_syncer);
}

/* ---- transactions ---- */

/* One line of LMDB's table: process, thread, transaction or "-". */
static int reader_look(const char *line, void *ctx)
{
	uint64_t *oldest = ctx;
	const char *last = strrchr(line, ' ');
	char *end;
	unsigned long long txn = last ? strtoull(last + 1, &end, 10) : 0;

	if (last && end != last + 1 && *end == '\n')
		*oldest = MIN(*oldest, (uint64_t)txn);
	return 0;
}

int db_oldest(const struct db *db, uint64_t *txn_r)
{
	*txn_r = UINT64_MAX;
	return mdb_reader_list(db->env, reader_look, txn_r) < 0 ? EIO : 0;
}

int db_journal_next(struct db *db)
{
	uint64_t oldest;
	int rc = db_oldest(db, &oldest);

	if (rc)
		return rc;
	db->journal->early_reuse = db->early_reuse;
	return journal_next(db->journal, oldest);
}

void db_live(const struct db *db, uint64_t at, int64_t octets)
{
	if (db->noting)
		journal_live(db->journal, at, octets);
}

/* What the transaction has changed of the slots becomes part of it. */
static int slots_put(struct db *db, MDB_txn *txn)
{
	struct journal *j = db->journal;

	for (uint32_t n = 0; n < j->touched_n; n++) {
		const struct journal_slot *s = &j->slots[j->touched[n]];
		const struct slot_rec r = {
			(uint64_t)((int64_t)s->live + s->delta), mdb_txn_id(txn)};
		struct key k = {.n = 0};
		key_u32(&k, j->touched[n]);
		int rc = db_put(txn, db, DB_SLOT, key_view(&k), bytes_make(&r, sizeof(r)));
		if (rc)
			return rc;
	}
	return 0;
}

/* *direct_r: there is no room in the journal, but no body needs it either: a checkpoint will do. */
static int record_write(struct db *db, bool *direct_r)
{
	struct journal *j = db->journal;
	bool bodies = j->bodies_n > 0;
	int rc = journal_write(j);

	*direct_r = false;
	if (rc == JOURNAL_SLOT_FULL && !bodies) {
		rc = db_journal_next(db);
		if (!rc)
			rc = journal_write(j);
	}
	if (rc && !bodies &&
		(rc == ENOSPC || rc == EDQUOT || rc == JOURNAL_SLOT_FULL || rc == ENOMEM)) {
		*direct_r = true;
		rc = 0;
	}
	return rc;
}

/* What came before is durable by itself, or it is not to be in the checkpoint. */
static int committed_directly(struct db *db)
{
	journal_begin(db->journal);
	int rc = db_sync_end(db);

	if (!rc)
		rc = db_checkpoint(db);

	return rc ? MDB_PANIC : 0;
}

int db_commit_early(struct db *db, MDB_txn *txn, bool *changed_r)
{
	struct journal *j = db->journal;
	uint64_t number = mdb_txn_id(txn);
	bool direct;
	int rc = slots_put(db, txn);

	*changed_r = !rc && !journal_is_empty(j);
	if (!rc && *changed_r)
		rc = record_write(db, &direct);
	if (rc || !*changed_r) {
		db_abort(txn);
		journal_begin(j);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	if (rc) {
		/* Nobody may find what is refused. */
		if (!direct && journal_void(j))
			rc = MDB_PANIC;
		journal_begin(j);
		return rc;
	}
	journal_live_settle(j, number);
	if (direct)
		return committed_directly(db);
	journal_advance(j);
	return 0;
}

int db_undo(struct db *db)
{
	db->broken = true;
	if (db_sync_end(db)) {
		/* It is one of those that are taken back. */
	}
	journal_back(db->journal);
	db->refused_from = db->journal->number;
	int rc = db->journal->head_doubtful ? journal_head_void(db->journal) : 0;
	int void_rc = journal_void(db->journal);
	return rc ? rc : void_rc;
}

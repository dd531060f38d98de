/* SPDX-License-Identifier: BSD-3-Clause
 * What is made durable, and when: checkpoints of the environment, syncs of the journal, and the
 * threads that do them beside the writer's work.  Main thread while the store is opened and closed,
 * then the writer's; the threads' own functions end in _work. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "store/db_journal.h"

/* Octets of the journal between checkpoints; chosen: 0.2 s to replay. */
#define CHECKPOINT_BYTES (64ull << 20)
/* Pages that these have replaced cannot be used again before: chosen, some 100 MiB. */
#define CHECKPOINT_TXNS 2048
#define PORTIONS        256       /* of the data file, written one after the other; chosen */
#define PORTION_MIN     (4 << 20) /* octets */
#define PORTION_IDLE_US 30        /* it had nothing to write */
#define PAUSE_MAX_US    2000

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
	rc = db_meta_page(db, h->txn, h->meta);
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

void db_journal_end(struct db *db)
{
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
	if (err)
		db_threads_stop(db);
	return err;
}

void db_threads_stop(struct db *db)
{
	if (db->checkpoint_syncer.started && checkpoint_wait(db))
		db->broken = true;
	syncer_stop(&db->checkpoint_syncer);
	syncer_stop(&db->journal_syncer);
}

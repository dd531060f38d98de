/* SPDX-License-Identifier: BSD-3-Clause
 * The store's life.  Main thread, but for what says otherwise. */
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "dataplane/base/log.h"
#include "dataplane/base/siphash.h"
#include "store/db_copy.h"
#include "store/reader.h"
#include "store/writer.h"

#define GIVE_BACK_MS      (10 * MS_PER_SEC)
#define QUEUE_LIFETIME_MS (5ull * 86400 * MS_PER_SEC) /* RFC 5321 4.5.4.1: 4 to 5 days */

static int fail(char *error, size_t n, const char *path, int err, const char *what)
{
	snprintf(error, n, "store.path %s: %s: %s", path, what, strerror(-err));
	return err;
}

static int directory_load_row(struct store *s, struct bytes address, struct bytes value)
{
	struct acctname_rec r;

	if (!rec_read(value, &r, sizeof(r)))
		return -EIO;
	return directory_set(s->directory, address, r.account, (uint16_t)s->shard,
		r.state == ACCT_DISABLED ? DIRECTORY_STATE_DISABLED : DIRECTORY_STATE_OK);
}

/* An account that has all it may have. */
static int directory_load_full(struct store *s, struct bytes key, struct bytes value)
{
	struct acct_rec r;

	if (!rec_read(value, &r, sizeof(r)))
		return -EIO;
	if (r.state != ACCT_OK || !quota_is_over(&s->conf, &r))
		return 0;
	return directory_set(s->directory, bytes_first(bytes_skip(value, sizeof(r)), r.address_n),
		key_get_u32(key, 0), (uint16_t)s->shard, DIRECTORY_STATE_FULL);
}

static int directory_load_domain(struct store *s, struct bytes name, struct bytes value)
{
	(void)value;
	return directory_set_domain(s->directory, name, true);
}

static int table_load(struct store *s, MDB_txn *txn, enum db_id id,
	int (*row)(struct store *s, struct bytes key, struct bytes value))
{
	struct db_cursor c;
	struct key k;
	int err = 0, rc = db_cursor_open(txn, &s->db, id, &c);

	if (rc)
		return -EIO;
	k.n = 0;
	key_u32(&k, 0);
	for (rc = db_cursor_seek(&c, key_view(&k)); !rc && !err; rc = db_cursor_next(&c))
		err = row(s, c.key, c.value);
	db_cursor_close(&c);
	return err ? err : rc == MDB_NOTFOUND ? 0 : -EIO;
}

static int directory_load(struct store *s, MDB_txn *txn)
{
	int err = table_load(s, txn, DB_ACCTNAME, directory_load_row);

	if (!err)
		err = table_load(s, txn, DB_ACCT, directory_load_full);
	return err ? err : table_load(s, txn, DB_DOMAIN, directory_load_domain);
}

static int contents_load(struct store *s)
{
	MDB_txn *txn;
	int err, rc = db_begin(&s->db, false, &txn);

	if (rc)
		return -EIO;
	rc = db_meta_get(txn, &s->db, "last_id", &s->last_id);
	if (!rc)
		rc = db_meta_get(txn, &s->db, "secret_0", &s->secret[0]);
	if (!rc)
		rc = db_meta_get(txn, &s->db, "secret_1", &s->secret[1]);
	err = rc ? -EIO : directory_load(s, txn);
	atomic_store(&s->queued_messages, db_entries(txn, &s->db, DB_Q));
	atomic_store(&s->queued_recipients, db_entries(txn, &s->db, DB_QR));
	atomic_store(&s->accounts, db_entries(txn, &s->db, DB_ACCTNAME));
	db_abort(txn);
	return err;
}

static int threads_create(struct store *s)
{
	uint32_t readers = s->conf.readers ? s->conf.readers : 1;

	s->writer = writer_create(s);
	if (!s->writer)
		return -ENOMEM;
	for (unsigned i = 0; i < MIN(readers, (uint32_t)STORE_READERS_MAX); i++) {
		s->readers[i] = reader_create(s, i);
		if (!s->readers[i])
			return -ENOMEM;
		s->reader_count++;
	}
	return 0;
}

static int parts_open(struct store *s, const struct db_shard *shard, char *error, size_t error_n)
{
	const struct store_conf *conf = &s->conf;
	bool no_sync = false;

#ifdef BYPOST_MUTANTS
	no_sync = conf->mutant_no_sync;
#endif
	int err =
		db_open_shard(&s->db, conf->path, shard, conf->map_bytes, no_sync, error, error_n);
	if (err < 0)
		return err;
	s->db.checkpoint_bytes = conf->checkpoint_bytes;
	s->db.journal_spare = conf->journal_spare;
#ifdef BYPOST_MUTANTS
	s->db.early_reuse = conf->mutant_early_reuse;
	s->db.early_head = conf->mutant_early_head;
	s->db.early_hole = conf->mutant_early_hole;
#endif
	if (s->owns_directory)
		s->directory = directory_create(
			conf->local_domains, conf->local_domain_count, conf->extension);
	if (!s->directory)
		return fail(error, error_n, conf->path, -ENOMEM, "directory");
	err = contents_load(s);
	if (err < 0)
		return fail(error, error_n, conf->path, err, "cannot read accounts");
	err = threads_create(s);
	return err < 0 ? fail(error, error_n, conf->path, err, "cannot make threads") : 0;
}

int store_open_shard(const struct store_conf *conf, const struct db_shard *shard,
	struct directory_table *directory, struct store **store_r, char *error, size_t error_n)
{
	struct store *s = calloc(1, sizeof(*s));

	*store_r = NULL;
	if (!s)
		return fail(error, error_n, conf->path, -ENOMEM, "cannot open");
	s->conf = *conf;
	s->db.lock_fd = -1;
	s->shard = shard->number;
	s->shard_count = shard->count;
	s->directory = directory;
	s->owns_directory = !directory;
	s->alone = s;
	s->shards = &s->alone;
	pthread_mutex_init(&s->backup_lock, NULL);
	pthread_rwlock_init(&s->peek, NULL);
	if (s->conf.queue_lifetime_ms == 0)
		s->conf.queue_lifetime_ms = QUEUE_LIFETIME_MS;
	if (s->conf.expunged_read_ms == 0)
		s->conf.expunged_read_ms = EXPUNGED_READ_MS;
	if (s->conf.give_back_ms == 0)
		s->conf.give_back_ms = GIVE_BACK_MS;
	int err = parts_open(s, shard, error, error_n);
	s->conf.path = s->db.path;
	s->conf.local_domains = NULL; /* the directory has copies */
	s->conf.paths = NULL;
	if (err < 0) {
		store_close(&s);
		return err;
	}
	*store_r = s;
	return 0;
}

int store_open(const struct store_conf *conf, struct store **store_r, char *error, size_t error_n)
{
	static const struct db_shard only = {.count = 1};

	if (conf->shards > 1) {
		snprintf(error, error_n, "store.shards: a store of one shard is opened here");
		*store_r = NULL;
		return -EINVAL;
	}
	return store_open_shard(conf, &only, NULL, store_r, error, error_n);
}

int store_peek(struct store *s, enum db_id id, struct bytes key, void *out, size_t cap, size_t *n_r)
{
	struct bytes v;
	MDB_txn *txn;

	*n_r = 0;
	pthread_rwlock_rdlock(&s->peek);
	int rc = db_begin(&s->db, false, &txn);
	if (!rc) {
		rc = db_get(txn, &s->db, id, key, &v);
		if (!rc && v.n > cap)
			rc = EMSGSIZE;
		if (!rc) {
			memcpy(out, v.p, v.n);
			*n_r = v.n;
		}
		db_abort(txn);
	}
	pthread_rwlock_unlock(&s->peek);
	/* Its trouble is not ours: whoever asks is refused, and tries again. */
	return rc == 0 || rc == MDB_NOTFOUND || rc == EMSGSIZE ? rc : EAGAIN;
}

struct service *store_writer(struct store *s)
{
	return &s->writer->service;
}

unsigned store_reader_count(const struct store *s)
{
	return s->reader_count;
}

struct service *store_reader(struct store *s, unsigned i)
{
	BUG_ON(i >= s->reader_count);
	return &s->readers[i]->service;
}

int store_add_ready(struct store *s, struct hints *h)
{
	if (s->ready_count == STORE_HINTS_MAX)
		return -ENOSPC;
	s->ready[s->ready_count++] = h;
	return 0;
}

int store_add_events(struct store *s, struct hints *h)
{
	if (s->event_count == STORE_HINTS_MAX)
		return -ENOSPC;
	s->events[s->event_count++] = h;
	return 0;
}

const _Atomic uint64_t *store_event_stamps(const struct store *s)
{
	return s->event_us;
}

/* A fixed key: every thread, and the next process, must come to the same answer.  A peer can aim
 * its domains at one worker; that worker's limits hold it. */
unsigned store_domain_owner(struct bytes domain, unsigned workers)
{
	static const struct siphash_key key = {0x6279706f73740001, 0x646f6d61696e0001};
	uint8_t folded[DOMAIN_MAX];
	size_t n = MIN(domain.n, sizeof(folded));

	for (size_t i = 0; i < n; i++)
		folded[i] = ascii_lower(domain.p[i]);
	return workers ? (unsigned)(siphash13(&key, folded, n) % workers) : 0;
}

unsigned store_address_shard(struct bytes address, unsigned shards)
{
	static const struct siphash_key key = {0x6279706f73740001, 0x6163636f756e0001};
	char folded[ADDRESS_MAX];

	if (shards <= 1)
		return 0;
	size_t n = directory_fold(address, folded);
	return (unsigned)(siphash13(&key, folded, n) % shards);
}

int store_start(struct store *s)
{
	if (s->conf.relaxed)
		log_warn("store", "unsafe mode=relaxed: power loss can lose mail that has been "
				  "answered with 250");
	int err = writer_start(s->writer);
	unsigned started = 0;

	if (err < 0)
		return err;
	while (!err && started < s->reader_count) {
		err = reader_start(s->readers[started]);
		started += err == 0;
	}
	if (!err) {
		s->started = true;
		return 0;
	}
	while (started)
		reader_stop(s->readers[--started]);
	writer_stop(s->writer);
	return err;
}

void store_stop(struct store *s)
{
	if (!s->started)
		return;
	writer_stop(s->writer);
	for (unsigned i = 0; i < s->reader_count; i++)
		reader_stop(s->readers[i]);
	s->started = false;
}

void store_close(struct store **sp)
{
	struct store *s = *sp;

	if (!s)
		return;
	store_stop(s);
	store_backup_cancel(s);
	db_backup_destroy(&s->backup);
	for (unsigned i = 0; i < s->reader_count; i++)
		reader_destroy(&s->readers[i]);
	writer_destroy(&s->writer);
	if (s->owns_directory)
		directory_destroy(&s->directory);
	db_close(&s->db);
	pthread_rwlock_destroy(&s->peek);
	free(s);
	*sp = NULL;
}

const struct directory *store_directory(const struct store *s)
{
	return directory_public(s->directory);
}

const uint8_t *store_secret(const struct store *s)
{
	return (const uint8_t *)s->secret;
}

uint64_t store_last_id(const struct store *s)
{
	return s->last_id;
}

void store_get_info(const struct store *s, struct store_info *info_r)
{
	struct statvfs v;

	*info_r = (struct store_info){
		.health = atomic_load_explicit(&s->health, memory_order_acquire),
		.file_bytes = db_file_bytes(&s->db) + db_journal_bytes(&s->db),
		.reserve_bytes = atomic_load(&s->reserve_bytes),
		.queued_messages = atomic_load(&s->queued_messages),
		.queued_recipients = atomic_load(&s->queued_recipients),
		.accounts = atomic_load(&s->accounts),
		.group_mean = atomic_load(&s->group_mean_milli) / 1000.0,
	};
	if (statvfs(s->db.path, &v) == 0)
		info_r->disk_free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
}

/* ---- backup ---- */

int store_backup_start(
	struct store *s, const char *directory, uint64_t growth_max, char *error, size_t error_n)
{
	uint64_t part = db_file_bytes(&s->db) / STORE_BACKUP_GROWTH_PART;
	struct db_backup *b;

	if (s->backup) {
		snprintf(error, error_n, "a backup is under way");
		return -EBUSY;
	}
	if (growth_max == 0)
		growth_max = MAX(part, (uint64_t)STORE_BACKUP_GROWTH_MIN);
	pthread_mutex_lock(&s->backup_lock);
	int err = s->db.env ? db_backup_start(&s->db, directory, growth_max, &b, error, error_n)
			    : -EIO;
	if (!s->db.env)
		snprintf(error, error_n, "the store has failed");
	if (!err)
		s->backup = b;
	pthread_mutex_unlock(&s->backup_lock);
	return err;
}

int store_backup_poll(struct store *s, uint64_t *octets_r, char *error, size_t error_n)
{
	enum db_backup_state state = db_backup_poll(s->backup, octets_r);

	if (state == DB_BACKUP_RUNNING)
		return 1;
	db_backup_wait(s->backup);
	snprintf(error, error_n, "%s", db_backup_error(s->backup));
	pthread_mutex_lock(&s->backup_lock);
	db_backup_destroy(&s->backup);
	pthread_mutex_unlock(&s->backup_lock);
	return state == DB_BACKUP_DONE ? 0 : -1;
}

bool store_backup_begun(const struct store *s)
{
	uint64_t octets = 1;

	return !s->backup || db_backup_poll(s->backup, &octets) != DB_BACKUP_RUNNING || octets > 0;
}

void store_backup_cancel(struct store *s)
{
	if (s->backup)
		db_backup_cancel(s->backup, "stopped");
}

void store_backup_end(struct store *s)
{
	pthread_mutex_lock(&s->backup_lock);
	if (s->backup) {
		db_backup_cancel(s->backup, "the store has failed");
		db_backup_wait(s->backup);
	}
	pthread_mutex_unlock(&s->backup_lock);
}

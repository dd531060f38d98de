/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of store/ share about the whole store. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "store/db.h"
#include "store/directory.h"
#include "dataplane/base/rt/waker.h"
#include "store/store.h"

#define STORE_HINTS_MAX 64 /* cores with a role, at most */

struct db_backup;
struct writer;
struct reader;

/* One environment with its threads: a store of one shard, or a shard of a larger one (shards.c). */
struct store {
	struct store_conf conf; /* strings are the store's own copies */
	struct db db;
	unsigned shard, shard_count;
	struct store *const *shards; /* all, this one among them */
	struct store *alone;         /* what shards points to in a store of one */
	pthread_rwlock_t peek;       /* other writers' looks; written by who opens anew */
	struct directory_table *directory;
	bool owns_directory;
	struct waker *courier;  /* told that there is something to be moved; NULL: one shard */
	atomic_bool moves_news; /* writer: rows in `move` were added; the courier takes it back */
	struct writer *writer;
	struct reader *readers[STORE_READERS_MAX];
	unsigned reader_count;
	struct hints *ready[STORE_HINTS_MAX];
	unsigned ready_count;
	struct hints *events[STORE_HINTS_MAX];
	_Atomic uint64_t event_us[STORE_STAMPS];
	unsigned event_count;
	uint64_t last_id;   /* at open */
	uint64_t secret[2]; /* store_secret */
	bool started;
	struct db_backup *backup; /* main's; the lock is for who ends it */
	pthread_mutex_t backup_lock;
	/* written by the writer, read by anybody */
	atomic_uint health; /* enum store_health */
	_Atomic uint64_t queued_messages, queued_recipients, accounts, reserve_bytes;
	_Atomic uint32_t group_mean_milli;
};

static inline uint64_t quota_bytes_of(const struct store_conf *conf, const struct acct_rec *r)
{
	uint64_t q = r->quota_bytes ? r->quota_bytes : conf->quota_bytes;

	return q ? q : UINT64_MAX;
}

static inline uint64_t quota_messages_of(const struct store_conf *conf, const struct acct_rec *r)
{
	uint32_t q = r->quota_messages ? r->quota_messages : conf->quota_messages;

	return q && q != UINT32_MAX ? q : UINT64_MAX;
}

/* What RCPT is told from memory. */
static inline bool quota_is_over(const struct store_conf *conf, const struct acct_rec *r)
{
	return r->bytes >= quota_bytes_of(conf, r) || r->messages >= quota_messages_of(conf, r);
}

/* A shard, with a directory that all of them share.  Main thread. */
int store_open_shard(const struct store_conf *conf, const struct db_shard *shard,
	struct directory_table *directory, struct store **store_r, char *error,
	size_t error_n) WARN_UNUSED;
static inline unsigned store_shard_of(const struct store *s, uint32_t account)
{
	return store_account_shard(account, s->shard_count);
}

/* Any thread that may block: one row of a store that another thread writes, copied.  0,
 * MDB_NOTFOUND, EAGAIN: it cannot be read now; EMSGSIZE. */
int store_peek(struct store *s, enum db_id id, struct bytes key, void *out, size_t cap,
	size_t *n_r) WARN_UNUSED;

/* Writer thread, before the environment is opened anew: a backup that reads it ends. */
void store_backup_end(struct store *s);
/* Writer thread: keep the readers away from the environment, and let them back. */
void store_readers_pause(struct store *s);
void store_readers_resume(struct store *s);

/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/reader.h"
#include <errno.h>
#include <stdlib.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"

#define IDLE_US      1000000
#define OPS_PER_TAKE 8

static int (*const table[])(struct reader *r, struct op *op) = {
	[STORE_READ_BODY] = reader_body,
	[STORE_READ_SCHEDULE] = reader_schedule,
	[STORE_READ_QUEUE] = reader_queue,
	[STORE_READ_QUEUE_LIST] = reader_queue_list,
	[STORE_READ_MBOX_LIST] = reader_mbox_list,
	[STORE_READ_MBOX_OPEN] = reader_mbox_open,
	[STORE_READ_MBOX_ROWS] = reader_mbox_rows,
	[STORE_READ_CREDENTIALS] = reader_credentials,
	[STORE_READ_ACCOUNTS] = reader_accounts,
	[STORE_READ_CHECK] = reader_check,
	[STORE_READ_STAT] = reader_stat,
	[STORE_READ_MBOX_GONE] = reader_mbox_gone,
	[STORE_READ_ALIASES] = reader_aliases,
	[STORE_READ_DOMAINS] = reader_domains,
	[STORE_READ_MOVES] = reader_moves,
	[STORE_READ_DEDUP] = reader_dedup,
	[STORE_READ_QUOTA] = reader_quota,
	[STORE_READ_SHAPE] = reader_shape,
};

bool reader_slice_over(const struct reader *r, uint64_t bytes)
{
	return bytes >= READER_SLICE_BYTES || clock_mono_us() >= r->deadline_us;
}

int reader_record(struct chain *out, const void *record, size_t n)
{
	if (!out->tail || CHUNK_DATA - out->tail->n < n) {
		struct chunk *c = chunk_get();
		if (!c)
			return ENOBUFS;
		chain_push(out, c);
	}
	return chain_append(out, bytes_make(record, n)) < 0 ? ENOBUFS : 0;
}

struct chain_mark chain_mark_get(const struct chain *c)
{
	return (struct chain_mark){c->tail, c->tail ? c->tail->n : 0, c->bytes};
}

void chain_rollback(struct chain *c, const struct chain_mark *m)
{
	if (!m->tail) {
		chain_free(c);
		return;
	}
	struct chain rest = {.head = m->tail->next, .tail = c->tail};

	if (rest.head)
		chain_free(&rest);
	m->tail->next = NULL;
	m->tail->n = m->n;
	c->tail = m->tail;
	c->bytes = m->bytes;
}

static int status_of(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case ENOBUFS:
	case EINVAL:
		return -rc;
	default:
		return -EIO;
	}
}

static int txn_renew(struct reader *r)
{
	int rc;

	if (!r->txn)
		return db_begin(&r->store->db, false, &r->txn);
	rc = mdb_txn_renew(r->txn);
	if (rc) {
		db_abort(r->txn);
		r->txn = NULL;
	}
	return rc;
}

static int slice(struct reader *r, struct op *op)
{
	if (op->kind >= ARRAY_LEN(table) || !table[op->kind])
		return EINVAL;
	pthread_mutex_lock(&r->slice);
	int rc = txn_renew(r);
	if (!rc) {
		r->deadline_us = clock_mono_us() + READER_SLICE_US;
		rc = table[op->kind](r, op);
		r->seen = MAX(r->seen, (uint64_t)mdb_txn_id(r->txn));
		mdb_txn_reset(r->txn);
	}
	pthread_mutex_unlock(&r->slice);
	return rc;
}

static void execute(struct reader *r, struct op *op)
{
	int rc = slice(r, op);

	op->status = status_of(rc);
	if (op->status == -EIO)
		log_error("store", "read-failed kind=%u error=\"%s\"", op->kind, mdb_strerror(rc));
	counter_inc(CTR_STORE_READS);
}

/* Answers are given when a power cut cannot undo what they are made of: a UID that somebody has
 * seen is not given out a second time. */
static void execute_all(struct reader *r, struct op **ops, unsigned n)
{
	r->seen = 0;
	for (unsigned i = 0; i < n; i++)
		execute(r, ops[i]);
	db_durable_wait(&r->store->db, r->seen);
	for (unsigned i = 0; i < n; i++)
		channel_complete(ops[i]);
}

static void *thread_main(void *arg)
{
	struct reader *r = arg;
	struct op *ops[OPS_PER_TAKE];
	char name[24];

	if (r->store->shard == 0)
		snprintf(name, sizeof(name), "reader%u", r->number);
	else
		snprintf(name, sizeof(name), "reader%u.%u", r->store->shard, r->number);
	log_thread_init(name);
	counters_thread_init(name);
	for (;;) {
		bool stopping = service_stopping(&r->service);
		unsigned n = service_take(&r->service, ops, OPS_PER_TAKE);
		if (n)
			execute_all(r, ops, n);
		if (n == 0 && stopping)
			return NULL;
		if (n == 0)
			service_sleep(&r->service, IDLE_US);
	}
}

struct reader *reader_create(struct store *s, unsigned number)
{
	struct reader *r =
		aligned_alloc(CACHE_LINE, (sizeof(*r) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

	if (!r)
		return NULL;
	memset(r, 0, sizeof(*r));
	r->store = s;
	r->number = number;
	r->uids = calloc(READER_CHANGES_MAX, sizeof(*r->uids));
	if (!r->uids || service_init(&r->service) < 0) {
		free(r->uids);
		free(r);
		return NULL;
	}
	pthread_mutex_init(&r->slice, NULL);
	return r;
}

void reader_destroy(struct reader **rp)
{
	struct reader *r = *rp;

	if (!r)
		return;
	if (r->txn)
		db_abort(r->txn);
	service_fini(&r->service);
	pthread_mutex_destroy(&r->slice);
	free(r->uids);
	free(r);
	*rp = NULL;
}

int reader_start(struct reader *r)
{
	return -pthread_create(&r->thread, NULL, thread_main, r);
}

void reader_stop(struct reader *r)
{
	service_stop(&r->service);
	pthread_join(r->thread, NULL);
}

void store_readers_pause(struct store *s)
{
	pthread_rwlock_wrlock(&s->peek);
	for (unsigned i = 0; i < s->reader_count; i++) {
		struct reader *r = s->readers[i];
		pthread_mutex_lock(&r->slice);
		if (r->txn)
			db_abort(r->txn);
		r->txn = NULL;
	}
}

void store_readers_resume(struct store *s)
{
	for (unsigned i = 0; i < s->reader_count; i++)
		pthread_mutex_unlock(&s->readers[i]->slice);
	pthread_rwlock_unlock(&s->peek);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Making the queue's index (db_queue_index.h): new rows of the queue are only counted; when there
 * are many, their keys are collected, sorted and written as a run, a part in each commit; and when
 * most rows of the index lead nowhere, they are swept in the order of the table, a part in each
 * commit.
 *
 * A crash leaves a run half written and rec.from where it was: the same range is collected again,
 * and what is put twice is there once.  Messages that come late, with an id below rec.until, get
 * their rows at once.  Writer thread. */
#include <errno.h>
#include <stdlib.h>
#include "store/queue_row.h"
#include "store/writer.h"

/* Rows of one message: its own, and those of recipients, of what is behind aliases, of what is on
 * its way to other shards. */
#define MESSAGE_ROWS_MAX (1 + MESSAGE_RCPT_MAX + EXPANDED_MAX + MOVE_RCPTS_MAX)
/* Rows read or written in a commit: at least so many, and so many for each that it has added or
 * removed.  Chosen: each row is read and written once, and looked at twice by sweeps. */
#define STEP_ROWS    2048
#define STEP_PARTS   16 /* ... a run in several commits, however short it is */
#define STEP_PER_ROW 4

int writer_index_init(struct writer *w)
{
	struct writer_index *ix = &w->index;
	uint32_t rows = w->store->conf.index_rows;

	ix->rows_max = rows ? MIN(rows, (uint32_t)WRITER_INDEX_ROWS) : WRITER_INDEX_ROWS;
	ix->keys = malloc((ix->rows_max + MESSAGE_ROWS_MAX) * sizeof(*ix->keys));
	return ix->keys ? 0 : -ENOMEM;
}

void writer_index_fini(struct writer *w)
{
	free(w->index.keys);
	w->index.keys = NULL;
}

/* ---- with each transaction ---- */

int writer_index_load(struct writer *w)
{
	if (w->index.loaded)
		return 0;
	struct writer_index_state s = {.young = 0};
	int rc = queue_index_get(w->txn, w->db, &s.rec);

	s.next = s.rec.from;
	if (!rc)
		rc = queue_index_young(w->txn, w->db, s.rec.until, &s.young);
	w->index.now = w->index.before = s;
	w->index.loaded = rc == 0;
	return rc;
}

void writer_index_begin(struct writer *w)
{
	w->index.before = w->index.now;
	w->index.rows = 0;
	w->index.shuffled = false;
}

void writer_index_undo(struct writer *w)
{
	struct writer_index_state *s = &w->index.now;

	*s = w->index.before;
	if (w->index.shuffled) {
		/* The keys of before are no longer the first: this part is collected again. */
		s->next = s->rec.from;
		s->n = s->at = 0;
		s->sorted = false;
	}
}

void writer_index_forget(struct writer *w)
{
	w->index.loaded = false;
}

/* ---- what comes and goes ---- */

static int row_put(struct writer *w, const struct queue_index_key *q)
{
	struct key k;
	uint64_t run;
	int rc = queue_index_run(w->txn, w->db, &w->index.now.rec, q->id, &run);

	return rc ? rc : db_put(w->txn, w->db, DB_QI, queue_index_row(&k, run, q), BYTES_NONE);
}

static bool is_young(struct writer *w, uint64_t id)
{
	w->index.rows++;
	return id >= w->index.now.rec.until;
}

int writer_index_sender(struct writer *w, struct bytes sender, uint64_t id)
{
	if (is_young(w, id)) {
		w->index.now.young++;
		return 0;
	}
	struct queue_index_key q = queue_index_sender(sender, id);
	return row_put(w, &q);
}

int writer_index_recipient(
	struct writer *w, struct bytes address, size_t domain_at, uint64_t id, uint32_t rcpt)
{
	if (is_young(w, id)) {
		w->index.now.young++;
		return 0;
	}
	struct queue_index_key q = queue_index_recipient(address, domain_at, id, rcpt);
	return row_put(w, &q);
}

void writer_index_gone(struct writer *w, uint64_t id)
{
	if (is_young(w, id) && w->index.now.young)
		w->index.now.young--;
}

/* ---- a run ---- */

static bool is_making(const struct writer_index_state *s)
{
	return s->rec.from < s->rec.until;
}

/* All that is young now will be in the index when its runs are written. */
static int run_begin(struct writer *w)
{
	struct writer_index_state *s = &w->index.now;

	s->rec.run = s->next = s->rec.from;
	s->rec.until = w->last_id + 1;
	s->young = 0;
	s->n = s->at = 0;
	s->sorted = false;
	return queue_index_put(w->txn, w->db, &s->rec);
}

static void key_add(struct writer *w, struct queue_index_key q)
{
	struct writer_index_state *s = &w->index.now;

	if (s->n < w->index.rows_max + MESSAGE_ROWS_MAX)
		w->index.keys[s->n++] = q;
}

/* The recipients of a message; the cursor goes on from where the message before has left it. */
static int recipients_collect(struct writer *w, struct db_cursor *c, uint64_t id)
{
	struct qr_view q;
	int rc = 0;

	while (c->key.n && !rc && key_get_u64(c->key, 0) <= id) {
		if (key_get_u64(c->key, 0) == id && qr_parse(c->key, c->value, &q) == 0)
			key_add(w, queue_index_recipient(q.address, q.r.domain_at, id, q.rcpt));
		rc = db_cursor_next(c);
	}
	if (rc == MDB_NOTFOUND)
		c->key = BYTES_NONE;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Rows that cannot be read are the check's to tell of. */
static int messages_collect(
	struct writer *w, struct db_cursor *c, struct db_cursor *rcpts, int64_t *left)
{
	struct writer_index_state *s = &w->index.now;
	int rc = 0;

	while (!rc && *left > 0 && s->n < w->index.rows_max) {
		uint64_t id = key_get_u64(c->key, 0);
		uint32_t before = s->n;
		struct q_view q;
		if (id >= s->rec.until)
			return MDB_NOTFOUND;
		if (q_parse(c->value, &q) == 0)
			key_add(w, queue_index_sender(q.sender, id));
		rc = recipients_collect(w, rcpts, id);
		*left -= MAX(s->n - before, 1u);
		s->next = id + 1;
		if (!rc)
			rc = db_cursor_next(c);
	}
	return rc;
}

/* MDB_NOTFOUND: the range is through. */
static int cursors_collect(
	struct writer *w, struct db_cursor *c, struct db_cursor *rcpts, int64_t *left)
{
	struct key k;
	int rc = db_cursor_seek(c, key_id(&k, w->index.now.next));

	if (rc)
		return rc;
	rc = db_cursor_seek(rcpts, key_id_n(&k, w->index.now.next, 0));
	if (rc == MDB_NOTFOUND)
		rcpts->key = BYTES_NONE;
	else if (rc)
		return rc;
	return messages_collect(w, c, rcpts, left);
}

static int key_compare(const void *a, const void *b)
{
	const struct queue_index_key *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->rcpt < y->rcpt ? -1 : x->rcpt > y->rcpt;
}

/* Keys of the next messages of the range, until there are enough for a part of its own. */
static int collect(struct writer *w, int64_t *left)
{
	struct writer_index_state *s = &w->index.now;
	struct db_cursor c, rcpts = {0};
	int rc = db_cursor_open(w->txn, w->db, DB_Q, &c);

	if (rc)
		return rc;
	rc = db_cursor_open(w->txn, w->db, DB_QR, &rcpts);
	if (!rc)
		rc = cursors_collect(w, &c, &rcpts, left);
	db_cursor_close(&rcpts);
	db_cursor_close(&c);
	if (rc == MDB_NOTFOUND)
		s->next = s->rec.until;
	else if (rc)
		return rc;
	if (s->next >= s->rec.until || s->n >= w->index.rows_max) {
		w->index.shuffled = true;
		qsort(w->index.keys, s->n, sizeof(*w->index.keys), key_compare);
		s->sorted = true;
	}
	return 0;
}

/* Some of them are written; with the last the index has those messages. */
static int put(struct writer *w, int64_t *left)
{
	struct writer_index_state *s = &w->index.now;

	for (; s->at<s->n && * left> 0; s->at++, --*left) {
		struct key k;
		int rc = db_put(w->txn, w->db, DB_QI,
			queue_index_row(&k, s->rec.run, &w->index.keys[s->at]), BYTES_NONE);
		if (rc)
			return rc;
	}
	if (s->at < s->n && !writer_mutant_counts_early(w))
		return 0;
	if (s->at == s->n) {
		s->n = s->at = 0;
		s->sorted = false;
	}
	s->rec.from = s->next;
	return queue_index_put(w->txn, w->db, &s->rec);
}

/* ---- stale rows ---- */

static bool sweep_wanted(struct writer *w)
{
	uint64_t stale = queue_index_stale(w->txn, w->db, w->index.now.young);

	return stale > w->index.rows_max && stale > db_entries(w->txn, w->db, DB_QI) / 2;
}

/* Is what the row names gone?  Addresses do not change, and ids are not used again. */
static int is_stale(struct writer *w, const struct queue_index_key *q, bool *stale_r)
{
	bool sender = q->rcpt == QI_SENDER;
	struct bytes v;
	struct key k;
	int rc = db_get(w->txn, w->db, sender ? DB_Q : DB_QR,
		sender ? key_id(&k, q->id) : key_id_n(&k, q->id, q->rcpt), &v);

	*stale_r = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int rows_sweep(struct writer *w, struct db_cursor *c, int64_t *left)
{
	struct writer_index_state *s = &w->index.now;
	int rc = db_cursor_seek(c, bytes_make(s->sweep, sizeof(s->sweep)));

	while (!rc && *left > 0) {
		struct queue_index_key q;
		uint64_t run;
		bool stale;
		if (!queue_index_parse(c->key, &run, &q))
			return MDB_CORRUPTED;
		memcpy(s->sweep, c->key.p, sizeof(s->sweep));
		rc = is_stale(w, &q, &stale);
		if (!rc && stale)
			rc = db_cursor_del(c);
		if (!rc)
			rc = db_cursor_next(c);
		--*left;
	}
	return rc;
}

static int sweep(struct writer *w, int64_t *left)
{
	struct db_cursor c;
	int rc = db_cursor_open(w->txn, w->db, DB_QI, &c);

	if (rc)
		return rc;
	rc = rows_sweep(w, &c, left);
	db_cursor_close(&c);
	if (rc == MDB_NOTFOUND)
		w->index.now.sweeping = false;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- a step ---- */

/* One part is written and then no other collected in the same transaction: what is given up with it
 * is still in keys. */
static int run_step(struct writer *w, int64_t *left)
{
	struct writer_index_state *s = &w->index.now;
	int rc = s->sorted ? 0 : collect(w, left);

	return rc || !s->sorted ? rc : put(w, left);
}

int writer_index_step(struct writer *w)
{
	struct writer_index_state *s = &w->index.now;
	int64_t least = MIN(STEP_ROWS, w->index.rows_max / STEP_PARTS + 1);
	int64_t left = MAX(least, STEP_PER_ROW * (int64_t)w->index.rows);
	int rc = 0;

	if (!is_making(s) && s->young >= w->index.rows_max)
		rc = run_begin(w);
	if (!rc && is_making(s))
		rc = run_step(w, &left);
	if (!rc && !is_making(s) && !s->sweeping && sweep_wanted(w)) {
		s->sweeping = true;
		memset(s->sweep, 0, sizeof(s->sweep));
	}
	return !rc && s->sweeping && left > 0 ? sweep(w, &left) : rc;
}

bool writer_index_due(const struct writer *w)
{
	const struct writer_index_state *s = &w->index.now;

	return w->index.loaded && (is_making(s) || s->sweeping || s->young >= w->index.rows_max);
}

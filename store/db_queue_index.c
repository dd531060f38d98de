/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/db_queue_index.h"
#include <errno.h>
#include "dataplane/base/siphash.h"

static uint64_t hash_of(struct bytes name)
{
	static const struct siphash_key key = {0x6279706f73740002, 0x717565756569647a};
	uint8_t folded[ADDRESS_MAX];
	size_t n = MIN(name.n, sizeof(folded));

	for (size_t i = 0; i < n; i++)
		folded[i] = ascii_lower(name.p[i]);
	return siphash13(&key, folded, n);
}

struct queue_index_key queue_index_sender(struct bytes sender, uint64_t id)
{
	return (struct queue_index_key){.hash = hash_of(sender), .id = id, .rcpt = QI_SENDER};
}

struct queue_index_key queue_index_recipient(
	struct bytes address, size_t domain_at, uint64_t id, uint32_t rcpt)
{
	return (struct queue_index_key){.hash = hash_of(bytes_skip(address, domain_at)),
		.id = id,
		.address = (uint32_t)hash_of(address),
		.rcpt = rcpt};
}

struct bytes queue_index_row(struct key *k, uint64_t run, const struct queue_index_key *q)
{
	return key_qi(k, run, q->hash, q->address, q->id, q->rcpt);
}

bool queue_index_parse(struct bytes key, uint64_t *run_r, struct queue_index_key *q_r)
{
	if (key.n != QI_KEY)
		return false;
	*run_r = key_get_u64(key, 0);
	*q_r = (struct queue_index_key){.hash = key_get_u64(key, 8),
		.address = key_get_u32(key, 16),
		.id = key_get_u64(key, 20),
		.rcpt = key_get_u32(key, 28)};
	return true;
}

/* ---- meta ---- */

#define META_NAME BYTES_LIT("queue_index")

int queue_index_get(MDB_txn *txn, const struct db *db, struct queue_index_rec *r)
{
	struct bytes v;
	int rc = db_get(txn, db, DB_META, META_NAME, &v);

	*r = (struct queue_index_rec){0};
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	return rec_read(v, r, sizeof(*r)) ? 0 : MDB_CORRUPTED;
}

int queue_index_put(MDB_txn *txn, const struct db *db, const struct queue_index_rec *r)
{
	return db_put(txn, db, DB_META, META_NAME, bytes_make(r, sizeof(*r)));
}

/* ---- runs ---- */

/* The highest run at or below id that has rows; 0 when there is none. */
static int run_below(MDB_txn *txn, const struct db *db, uint64_t id, uint64_t *run_r)
{
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(txn, db, DB_QI, &c);

	*run_r = 0;
	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_qi(&k, id + 1, 0, 0, 0, 0));
	rc = rc == MDB_NOTFOUND ? db_cursor_last(&c) : rc ? rc : db_cursor_prev(&c);
	if (!rc && c.key.n != QI_KEY)
		rc = MDB_CORRUPTED;
	if (!rc)
		*run_r = key_get_u64(c.key, 0);
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int queue_index_run(MDB_txn *txn, const struct db *db, const struct queue_index_rec *r, uint64_t id,
	uint64_t *run_r)
{
	*run_r = r->run;
	return id >= r->run ? 0 : run_below(txn, db, id, run_r);
}

static int rows_from(MDB_txn *txn, const struct db *db, enum db_id id, uint64_t from, uint64_t *n)
{
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(txn, db, id, &c);

	if (rc)
		return rc;
	for (rc = db_cursor_seek(&c, key_id(&k, from)); !rc && *n < QI_YOUNG_MAX; ++*n)
		rc = db_cursor_next(&c);
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int queue_index_young(MDB_txn *txn, const struct db *db, uint64_t from, uint64_t *n_r)
{
	*n_r = 0;
	int rc = rows_from(txn, db, DB_Q, from, n_r);
	return rc ? rc : rows_from(txn, db, DB_QR, from, n_r);
}

uint64_t queue_index_stale(MDB_txn *txn, const struct db *db, uint64_t young)
{
	uint64_t queued = db_entries(txn, db, DB_Q) + db_entries(txn, db, DB_QR);
	uint64_t live = queued - MIN(queued, young), all = db_entries(txn, db, DB_QI);

	return all - MIN(all, live);
}

int queue_index_figures(MDB_txn *txn, const struct db *db, uint64_t *young_r, uint64_t *stale_r)
{
	struct queue_index_rec r;
	int rc = queue_index_get(txn, db, &r);

	if (!rc)
		rc = queue_index_young(txn, db, r.from, young_r);
	if (!rc)
		*stale_r = queue_index_stale(txn, db, *young_r);
	return rc;
}

int queue_index_figures_look(const struct db *db, uint64_t *young_r, uint64_t *stale_r)
{
	MDB_txn *txn;
	int rc = db_begin(db, false, &txn);

	if (rc)
		return rc;
	rc = queue_index_figures(txn, db, young_r, stale_r);
	db_abort(txn);
	return rc;
}

/* ---- look-ups ---- */

#define STEPS_MAX 256 /* rows and runs looked at in one call; chosen: some 0.2 ms */

enum phase { PHASE_NEW, PHASE_INDEX, PHASE_YOUNG };

/* What rows for a filter have in common behind their run. */
struct aim {
	uint64_t hash;
	uint32_t address;
	bool one_address, sender;
};

bool queue_index_leads(const struct queue_filter *f)
{
	return f->recipient[0] || f->domain[0] || f->sender[0];
}

static int aim_make(const struct queue_filter *f, struct aim *a)
{
	struct bytes address = bytes_str(f->recipient);
	ptrdiff_t at = bytes_rfind(address, '@');

	*a = (struct aim){.one_address = address.n > 0};
	if (address.n && at < 0)
		return EINVAL;
	if (address.n) {
		a->hash = hash_of(bytes_skip(address, (size_t)(at + 1)));
		a->address = (uint32_t)hash_of(address);
	} else if (f->domain[0]) {
		a->hash = hash_of(bytes_str(f->domain));
	} else {
		a->hash = hash_of(bytes_str(strcmp(f->sender, "<>") == 0 ? "" : f->sender));
		a->sender = true;
	}
	return 0;
}

static struct bytes aim_key(const struct aim *a, const struct queue_at *at, struct key *k)
{
	return key_qi(k, at->run, a->hash, a->one_address ? a->address : at->hash, at->id,
		a->sender ? 0 : at->rcpt);
}

/* Do rows from this one on have nothing for it, in this run? */
static bool aim_passed(const struct aim *a, const struct queue_index_key *q)
{
	return q->hash != a->hash || (a->one_address && q->address != a->address);
}

/* From a given id on: of a sender's mail the runs are in order of ids. */
static int begin(MDB_txn *txn, const struct db *db, const struct aim *a, struct queue_at *at)
{
	struct queue_index_rec r;
	uint64_t from = a->sender ? at->id : 0;
	int rc = queue_index_get(txn, db, &r);

	if (rc)
		return rc;
	*at = (struct queue_at){.phase = PHASE_INDEX, .young = r.from, .id = from};
	if (from >= r.from)
		at->phase = PHASE_YOUNG;
	return from && from < r.from ? queue_index_run(txn, db, &r, from, &at->run) : 0;
}

static void run_begin(struct queue_at *at, uint64_t run)
{
	at->run = run;
	at->id = 0;
	at->hash = at->rcpt = 0;
}

/* Looks at one row.  *rcpt_r stays QI_NONE: go on. */
static int step(struct db_cursor *c, const struct aim *a, struct queue_at *at, uint32_t *rcpt_r)
{
	struct queue_index_key q;
	uint64_t run;
	struct key k;
	int rc = db_cursor_seek(c, aim_key(a, at, &k));

	if (rc)
		return rc;
	if (!queue_index_parse(c->key, &run, &q))
		return MDB_CORRUPTED;
	if (run >= at->young)
		return MDB_NOTFOUND;
	if (run != at->run) {
		run_begin(at, run);
	} else if (aim_passed(a, &q)) {
		run_begin(at, run + 1);
	} else {
		if (!a->sender)
			at->rcpt = q.rcpt;
		else if (q.id != at->id)
			at->rcpt = 0; /* the caller's: how far it is with this message */
		at->hash = q.address;
		at->id = q.id;
		/* What was young when the look-up began is found in the queue. */
		if (q.id < at->young && a->sender == (q.rcpt == QI_SENDER))
			*rcpt_r = q.rcpt;
		else
			queue_index_behind(at, q.rcpt);
	}
	return 0;
}

void queue_index_behind(struct queue_at *at, uint32_t rcpt)
{
	if (rcpt == QI_SENDER) {
		at->id++;
		at->rcpt = 0;
	} else {
		at->rcpt = rcpt + 1;
	}
}

static int steps(MDB_txn *txn, const struct db *db, const struct aim *a, struct queue_at *at,
	uint32_t *rcpt_r)
{
	struct db_cursor c;
	int rc = db_cursor_open(txn, db, DB_QI, &c);

	if (rc)
		return rc;
	for (int i = 0; i < STEPS_MAX && !rc && *rcpt_r == QI_NONE; i++)
		rc = step(&c, a, at, rcpt_r);
	db_cursor_close(&c);
	return rc;
}

int queue_index_next(MDB_txn *txn, const struct db *db, const struct queue_filter *f,
	struct queue_at *at, uint32_t *rcpt_r)
{
	struct aim a;
	int rc = aim_make(f, &a);

	*rcpt_r = QI_NONE;
	if (!rc && at->phase == PHASE_NEW)
		rc = begin(txn, db, &a, at);
	if (rc)
		return rc;
	if (at->phase == PHASE_YOUNG)
		return MDB_NOTFOUND;
	rc = steps(txn, db, &a, at, rcpt_r);
	if (rc == MDB_NOTFOUND)
		*at = (struct queue_at){.phase = PHASE_YOUNG, .id = at->young};
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * One group of ops: one transaction, one commit, then the answers.  When it fails, the ops that can
 * be saved are committed without the one that cannot.  Writer thread. */
#include <errno.h>
#include <stdlib.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "store/body.h"
#include "store/db_journal.h"
#include "store/writer.h"

#define COLLECT_RETRY_US (1 * US_PER_SEC)
#define FULL_RETRY_US    (1 * US_PER_SEC)
#define MOVE_OCTETS      (256u << 10) /* of bodies out of the journal, at least; chosen */
#define MOVE_OCTETS_CALM (1u << 20)   /* ... when nobody waits; chosen: 10 ms */
#define MOVE_ROWS        (128u << 10) /* of records, looked at for that, at least; chosen: 1 ms */
#define NOT_ONE          UINT32_MAX   /* the failure is nobody's in particular */

static enum store_health health(const struct writer *w)
{
	return atomic_load_explicit(&w->store->health, memory_order_relaxed);
}

static void set_health(struct writer *w, enum store_health h)
{
	if (health(w) == h)
		return;
	if (h == STORE_FULL)
		log_warn("store", "shard-full path=%s", w->db->path);
	else if (h == STORE_OK)
		log_info("store", "shard-has-room path=%s", w->db->path);
	atomic_store_explicit(&w->store->health, h, memory_order_release);
}

/* ---- refusals ---- */

static void refuse_all(struct op **ops, unsigned n, enum writer_error why)
{
	for (unsigned i = 0; i < n; i++)
		writer_refuse(ops[i], why);
}

/* Refuses the ops that need room; the others stay, in order.  Returns how many stay. */
static unsigned refuse_growing(struct op **ops, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		if (writer_op_of(ops[i])->needs_room)
			writer_refuse(ops[i], WRITER_ERROR_FULL);
		else
			ops[kept++] = ops[i];
	}
	return kept;
}

/* ---- one transaction ---- */

static int txn_begin(struct writer *w)
{
	w->effects->count = w->effects->quota_count = 0;
	w->effects->moves = false;
	w->messages_done = w->bytes_done = 0;
	w->debt_made = w->debt_freed = 0;
	w->freed_now = 0;
	w->now_ms = clock_wall_ms();
	w->before.garbage = w->garbage;
	w->before.sweep_below = w->sweep_below;
	w->before.last_id = w->last_id;
	w->before.moving = w->moving;
	writer_index_begin(w);
	int rc = db_begin(w->db, true, &w->txn);
	if (!rc)
		rc = writer_index_load(w);
	return rc;
}

static void txn_undo(struct writer *w)
{
	w->txn = NULL;
	w->garbage = w->before.garbage;
	w->sweep_below = w->before.sweep_below;
	w->last_id = w->before.last_id;
	w->moving = w->before.moving;
	writer_index_undo(w);
	w->effects->count = w->effects->quota_count = 0;
	w->effects->moves = false;
}

static int last_id_put(struct writer *w)
{
	if (w->last_id == w->last_id_stored)
		return 0;
	return db_meta_put(w->txn, w->db, "last_id", w->last_id);
}

static int txn_commit(struct writer *w)
{
	uint64_t start = clock_mono_us();
	MDB_txn *txn = w->txn;
	bool changed;

	w->txn = NULL;
	int rc = db_commit_early(w->db, txn, &changed);
	if (rc)
		return rc;
	w->last_id_stored = w->last_id;
	w->debt_pages += w->debt_made;
	w->debt_pages = w->garbage ? w->debt_pages - MIN(w->debt_pages, w->debt_freed) : 0;
	counter_inc(CTR_STORE_COMMITS);
	w->commit_us = clock_mono_us() - start;
	writer_follow(w, changed);
	return 0;
}

static int apply_all(struct writer *w, struct op **ops, unsigned n, unsigned *bad_r)
{
	for (unsigned i = 0; i < n; i++) {
		ops[i]->status = 0;
		int rc = writer_op_of(ops[i])->apply(w, ops[i]);
		if (rc) {
			*bad_r = i;
			return rc;
		}
	}
	return 0;
}

static uint32_t gc_owed(const struct writer *w, uint32_t pages)
{
	uint64_t debt = MIN(w->debt_pages + w->debt_made, (uint64_t)WRITER_FREED_MAX);

	return MAX(pages, (uint32_t)debt);
}

static struct move_budget move_budget(const struct writer *w)
{
	uint64_t least = w->room.giving ? MOVE_OCTETS_CALM : MOVE_OCTETS;
	uint64_t wanted = MAX(2 * w->db->journal->bodies_n, least);

	return (struct move_budget){
		.bodies = MIN(wanted, writer_room_to_move(w, wanted)),
		.rows = MAX(2 * w->db->journal->rows_n, MOVE_ROWS),
	};
}

/* What is done beside the ops: garbage goes, old bodies leave the journal as fast as new ones come,
 * the queue's index follows. */
static int tend(struct writer *w)
{
	int rc = w->garbage ? gc_step(w, gc_owed(w, WRITER_FREED_PAGES)) : 0;

	if (!rc && body_move_begin(w))
		rc = body_move_step(w, move_budget(w));
	return rc || health(w) == STORE_FULL ? rc : writer_index_step(w);
}

/* *bad_r: index of the op whose put failed, or NOT_ONE. */
static int txn_try(struct writer *w, struct op **ops, unsigned n, bool tending, unsigned *bad_r)
{
	*bad_r = NOT_ONE;
	int rc = txn_begin(w);

	if (!rc)
		rc = apply_all(w, ops, n, bad_r);
	if (!rc)
		rc = last_id_put(w);
	if (!rc && tending)
		rc = tend(w);
	if (rc && w->txn)
		db_abort(w->txn);
	else if (!rc) {
		writer_relaxed_ack(w, ops, n);
		rc = txn_commit(w);
	}
	if (rc) {
		counter_add(CTR_STORE_ERRORS, rc != JOURNAL_SLOT_FULL);
		txn_undo(w);
	}
	return rc;
}

/* A slot that has no room for all of it is left for another. */
static int txn_fit(struct writer *w, struct op **ops, unsigned n, bool tending, unsigned *bad_r)
{
	int rc = txn_try(w, ops, n, tending, bad_r);

	if (rc != JOURNAL_SLOT_FULL)
		return rc;
	rc = db_journal_next(w->db);
	*bad_r = NOT_ONE;
	return rc ? rc : txn_try(w, ops, n, tending, bad_r);
}

/* Pages that have been replaced since the last checkpoint, and slots of the journal, are free with
 * the next one; on a full disk their blocks are for the file's holes.  rc: why there is no room;
 * returned when that is so. */
static int room_make(struct writer *w, int rc)
{
	bool made = db_checkpoint_frees(w->db);

	if (made) {
		writer_settle(w);
		if (health(w) == STORE_FAILED || db_checkpoint(w->db))
			return MDB_PANIC;
	}
	if (rc != MDB_MAP_FULL && db_give_back_all(w->db))
		made = true;
	return made ? 0 : rc;
}

static int txn_run(struct writer *w, struct op **ops, unsigned n, bool tending, unsigned *bad_r)
{
	int rc = txn_fit(w, ops, n, tending, bad_r);

	if (rc == 0 || writer_classify(w, rc) != WRITER_ERROR_FULL)
		return rc;
	int made = room_make(w, rc);
	if (made == MDB_PANIC)
		*bad_r = NOT_ONE;
	return made ? made : txn_fit(w, ops, n, tending, bad_r);
}

/* ---- the group, and what is left of it after a failure ---- */

static void commit(struct writer *w, struct op **ops, unsigned n, bool tending);

static void split(struct writer *w, struct op **ops, unsigned n, unsigned at, unsigned mid)
{
	counter_inc(CTR_STORE_BISECTS);
	if (at)
		commit(w, ops, at, false);
	commit(w, ops + at, mid, false);
	if (at + mid < n)
		commit(w, ops + at + mid, n - at - mid, false);
}

/* Each call commits or refuses every op; each recursion has fewer ops, so depth <= n. */
static void salvage(struct writer *w, struct op **ops, unsigned n, int rc, unsigned bad)
{
	enum writer_error why = writer_classify(w, rc);

	log_warn("store", "group-failed ops=%u error=\"%s\"", n, mdb_strerror(rc));
	if (why == WRITER_ERROR_FAILED) {
		writer_settle(w); /* what came before */
		writer_fail(w, rc);
		refuse_all(ops, n, why);
		return;
	}
	if (why == WRITER_ERROR_FULL) {
		w->full_until_us = clock_mono_us() + FULL_RETRY_US;
		set_health(w, STORE_FULL);
		unsigned kept = refuse_growing(ops, n);
		if (kept < n) {
			if (kept)
				commit(w, ops, kept, false);
			return;
		}
	}
	if (n == 1)
		writer_refuse(ops[0], why);
	else if (bad == NOT_ONE)
		split(w, ops, n, n / 2, n - n / 2);
	else
		split(w, ops, n, bad, 1);
}

static void commit(struct writer *w, struct op **ops, unsigned n, bool tending)
{
	unsigned bad;

	if (health(w) == STORE_FAILED) {
		refuse_all(ops, n, WRITER_ERROR_FAILED);
		return;
	}
	int rc = txn_run(w, ops, n, tending, &bad);
	if (rc && tending && bad == NOT_ONE && writer_classify(w, rc) != WRITER_ERROR_FAILED) {
		/* Perhaps it was the tending: it must not cost anybody a message. */
		w->garbage_retry_us = clock_mono_us() + COLLECT_RETRY_US;
		rc = txn_run(w, ops, n, false, &bad);
	}
	if (rc) {
		salvage(w, ops, n, rc, bad);
	} else {
		histogram_add(HIST_STORE_GROUP, n);
		writer_publish(w, n);
		writer_keep(w, ops, n);
	}
}

/* Ops of unknown kinds are answered at once.  Returns how many stay. */
static unsigned drop_unknown(struct op **ops, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		if (writer_op_of(ops[i])) {
			ops[kept++] = ops[i];
			continue;
		}
		ops[i]->status = -EINVAL;
		channel_complete(ops[i]);
	}
	return kept;
}

void writer_refs_look(struct writer *w)
{
	/* On a full disk nobody may go on reading what was expunged. */
	if (w->refs_due_us && (health(w) == STORE_FULL || clock_mono_us() >= w->refs_due_us)) {
		w->refs_due_us = 0;
		w->garbage = true;
	}
}

static bool may_tend(struct writer *w)
{
	writer_refs_look(w);
	return clock_mono_us() >= w->garbage_retry_us;
}

/* As many wait as have been committed: they are worked on while those are synced.  Were they fewer,
 * more would wait for two short groups than for a whole one. */
static bool enough_follow(const struct writer *w, unsigned more)
{
	return w->pending.n && w->unsynced && more + service_waiting(&w->service) >= w->pending.n;
}

void writer_group(struct writer *w, struct op **ops, unsigned n, unsigned more)
{
	n = drop_unknown(ops, n);
	writer_mutant_ack(w, ops, n);
	if (n && health(w) != STORE_FAILED) {
		bool room = clock_mono_us() >= w->full_until_us && writer_has_room(w);
		set_health(w, room ? STORE_OK : STORE_FULL);
		if (!room)
			n = refuse_growing(ops, n);
	}
	if (n)
		commit(w, ops, n, may_tend(w));
	if (enough_follow(w, more))
		writer_settle_later(w);
	else
		writer_settle(w);
}

bool writer_collect(struct writer *w)
{
	unsigned bad;
	int rc = txn_run(w, NULL, 0, true, &bad);

	if (!rc) {
		histogram_add(HIST_STORE_COMMIT, w->commit_us);
		writer_publish(w, 0);
		return true;
	}
	w->garbage_retry_us = clock_mono_us() + COLLECT_RETRY_US;
	if (writer_classify(w, rc) == WRITER_ERROR_FAILED) {
		writer_settle(w);
		writer_fail(w, rc);
	}
	return false;
}

void writer_publish_counts(struct writer *w)
{
	struct store *s = w->store;
	MDB_txn *txn;

	if (db_begin(w->db, false, &txn))
		return;
	atomic_store_explicit(
		&s->queued_messages, db_entries(txn, w->db, DB_Q), memory_order_relaxed);
	atomic_store_explicit(
		&s->queued_recipients, db_entries(txn, w->db, DB_QR), memory_order_relaxed);
	atomic_store_explicit(
		&s->accounts, db_entries(txn, w->db, DB_ACCTNAME), memory_order_relaxed);
	db_abort(txn);
}

void writer_publish(struct writer *w, unsigned ops)
{
	struct store *s = w->store;

	counter_add(CTR_STORE_OPS, ops);
	counter_add(CTR_STORE_MESSAGES, w->messages_done);
	counter_add(CTR_STORE_BYTES, w->bytes_done);
	if (ops) {
		uint32_t mean = atomic_load_explicit(&s->group_mean_milli, memory_order_relaxed);
		mean = mean - mean / 16 + ops * 1000 / 16;
		atomic_store_explicit(&s->group_mean_milli, mean, memory_order_relaxed);
	}
	writer_publish_counts(w);
}

/* ---- effects ---- */

int writer_effect(struct writer *w, const struct effect *e)
{
	struct writer_effects *all = w->effects;

	if (all->count == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 1024;
		struct effect *grown = realloc(all->list, cap * sizeof(*grown));
		if (!grown)
			return ENOMEM;
		all->list = grown;
		all->cap = cap;
	}
	all->list[all->count++] = *e;
	return 0;
}

int writer_event(struct writer *w, uint32_t account, uint32_t box)
{
	uint64_t value = mbox_event(account, box);
	const struct writer_effects *all = w->effects;
	const struct effect *last = all->count ? &all->list[all->count - 1] : NULL;

	if (w->store->event_count == 0 || (last && !last->owners && last->value == value))
		return 0;
	return writer_effect(w, &(struct effect){.value = value});
}

static void ready_run(struct store *s, const struct effect *e)
{
	for (unsigned i = 0; i < s->ready_count; i++) {
		if (!(e->owners & 1ull << i))
			continue;
		void *hint = ready_hint_of_id(e->value);
		if (e->message) {
			message_ref(e->message);
			hint = ready_hint_of_message(e->message);
		}
		if (hints_put(s->ready[i], hint, e->value))
			continue;
		counter_inc(CTR_STORE_HINTS_DROPPED);
		if (e->message)
			message_unref(e->message);
	}
}

/* An address that is in the directory already: this cannot fail. */
static void quota_changes_run(struct store *s, struct writer_effects *e)
{
	for (unsigned i = 0; i < e->quota_count; i++) {
		const struct quota_change *c = &e->quota[i];
		int err = directory_set(s->directory, bytes_make(c->address, c->n), c->account,
			(uint16_t)s->shard, c->over ? DIRECTORY_STATE_FULL : DIRECTORY_STATE_OK);
		BUG_ON(err);
	}
	e->quota_count = 0;
}

void writer_effects_run(struct store *s, struct writer_effects *all)
{
	uint64_t now_us = clock_mono_us();

	quota_changes_run(s, all);
	if (all->moves && s->courier) {
		atomic_store_explicit(&s->moves_news, true, memory_order_release);
		waker_kick(s->courier);
	}
	all->moves = false;
	for (size_t i = 0; i < all->count; i++) {
		const struct effect *e = &all->list[i];
		if (e->owners) {
			ready_run(s, e);
			continue;
		}
		atomic_store_explicit(
			&s->event_us[mbox_event_stamp(e->value)], now_us, memory_order_relaxed);
		for (unsigned c = 0; c < s->event_count; c++) {
			if (!hints_put(s->events[c], (void *)(uintptr_t)e->value, e->value))
				counter_inc(CTR_STORE_HINTS_DROPPED);
		}
	}
	all->count = 0;
}

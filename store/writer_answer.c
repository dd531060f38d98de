/* SPDX-License-Identifier: BSD-3-Clause
 * Answers, and when they are due: when the journal is on disk.  A group is synced beside the work
 * on the next one when as much waits.  Writer thread. */
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "store/writer.h"

static enum store_health health(const struct writer *w)
{
	return atomic_load_explicit(&w->store->health, memory_order_relaxed);
}

static void complete(struct op *op)
{
	const struct writer_op *o = writer_op_of(op);

	if (o && o->release)
		o->release(op);
	if (!writer_early_complete(op))
		channel_complete(op);
}

void writer_refuse(struct op *op, enum writer_error why)
{
	const struct writer_op *o = writer_op_of(op);

	op->status = why == WRITER_ERROR_FULL     ? o->full
		     : why == WRITER_ERROR_FAILED ? o->failed
						  : o->error;
	if (why == WRITER_ERROR_FULL)
		counter_inc(CTR_STORE_REFUSED_FULL);
	complete(op);
}

static void pending_answer(struct writer *w)
{
	struct writer_pending *p = &w->pending;
	unsigned n = p->n;

	if (n == 0)
		return;
	counter_add(CTR_STORE_COMMIT_US, p->commit_us);
	histogram_add(HIST_STORE_COMMIT, p->commit_us);
	writer_effects_run(w->store, p->effects);
	for (unsigned i = 0; i < n; i++) {
		const struct writer_op *o = writer_op_of(p->ops[i]);
		if (o->committed && p->ops[i]->status == 0)
			o->committed(w, p->ops[i]);
	}
	p->n = 0;
	for (unsigned i = 0; i < n; i++)
		complete(p->ops[i]);
}

static void pending_refuse(struct writer *w)
{
	struct writer_pending *p = &w->pending;
	unsigned n = p->n;

	p->effects->count = p->effects->quota_count = 0;
	p->effects->moves = false;
	p->n = 0;
	for (unsigned i = 0; i < n; i++)
		writer_refuse(p->ops[i], WRITER_ERROR_FAILED);
}

static void settle(struct writer *w, int rc, uint64_t start)
{
	if (rc && health(w) != STORE_FAILED)
		writer_fail(w, rc);
	w->pending.commit_us += clock_mono_us() - start;
	if (health(w) == STORE_FAILED)
		pending_refuse(w);
	else
		pending_answer(w);
}

void writer_settle(struct writer *w)
{
	uint64_t start = clock_mono_us();

	if (!w->pending.n && !w->unsynced)
		return;
	int rc = db_sync_end(w->db);
	if (!rc && w->unsynced)
		rc = db_sync(w->db);
	w->unsynced = false;
	settle(w, rc, start);
}

void writer_settle_later(struct writer *w)
{
	db_sync_begin(w->db);
	w->unsynced = false;
}

void writer_follow(struct writer *w, bool changed)
{
	uint64_t start = clock_mono_us();

	w->unsynced |= changed;
	if (w->pending.n && db_sync_begun(w->db))
		settle(w, db_sync_end(w->db), start);
	else if (w->pending.n)
		writer_settle(w);
}

void writer_keep(struct writer *w, struct op **ops, unsigned n)
{
	struct writer_pending *p = &w->pending;
	struct writer_effects *mine = w->effects;

	BUG_ON(p->n || n > WRITER_GROUP_MAX);
	memcpy(p->ops, ops, n * sizeof(struct op *));
	p->n = n;
	p->commit_us = w->commit_us;
	w->effects = p->effects;
	p->effects = mine;
	if (writer_mutant_hurries(w))
		pending_answer(w);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * The check and the figures of the store, on read transactions.  Reader threads. */
#include <errno.h>
#include "store/check.h"
#include "store/db_queue_index.h"
#include "store/reader.h"

#define PROBLEMS_BYTES_MAX (64 * 1024) /* of one slice's answer; the rest is counted only */

static void problem_json(struct chain *out, const struct check_problem *p, int *err_r)
{
	struct json_line j = {.out = out};

	json_raw(&j, "{");
	json_text(&j, "problem", bytes_str(p->what));
	json_raw(&j, ",");
	json_text(&j, "object", bytes_str(p->object));
	json_raw(&j, ",");
	json_text(&j, "detail", bytes_str(p->detail));
	json_raw(&j, p->repaired ? ",\"repaired\":true" : ",\"repaired\":false");
	json_raw(&j, p->lost ? ",\"lost\":true}\n" : ",\"lost\":false}\n");
	*err_r = j.err;
}

/* The op of the slice under way on this thread. */
static __thread struct store_check_op *current;

static void problem(void *ctx, const struct check_problem *p)
{
	struct store_check_op *op = current;
	struct chain_mark mark = chain_mark_get(&op->out);
	int err;

	(void)ctx;
	if (op->out.bytes > PROBLEMS_BYTES_MAX) {
		op->unlisted++;
		return;
	}
	problem_json(&op->out, p, &err);
	if (err) {
		chain_rollback(&op->out, &mark);
		op->unlisted++;
	}
}

static void totals_copy(struct store_check_op *op)
{
	const struct check_totals *t = check_totals(op->check);

	op->problems = t->problems;
	op->lost = t->lost;
	op->busy = t->busy;
	op->blobs = t->blobs;
	op->body_bytes = t->body_bytes;
	op->queued = t->queued;
	op->recipients = t->recipients;
	op->accounts = t->accounts;
	op->mailboxes = t->mailboxes;
	op->messages = t->messages;
}

int reader_check(struct reader *r, struct op *o)
{
	struct store_check_op *op = container_of(o, struct store_check_op, op);
	int rc = 0;

	op->out = (struct chain){0};
	op->end = op->stop;
	if (!op->check && !op->stop) {
		op->check = check_create(&(struct check_conf){
			.db = &r->store->db, .live = true, .problem = problem});
		if (!op->check)
			return ENOBUFS;
	}
	current = op;
	if (!op->stop) {
		rc = check_slice(op->check, r->txn, r->deadline_us, &op->end);
		totals_copy(op);
	}
	if (rc || op->end)
		check_destroy(&op->check);
	if (rc)
		chain_free(&op->out);
	return rc == MDB_NOTFOUND ? EIO : rc;
}

/* ---- figures ---- */

static int file_json(struct reader *r, struct chain *out)
{
	struct json_line j = {.out = out};

	json_raw(&j, "{");
	json_u64(&j, "file_bytes", db_file_bytes(&r->store->db));
	json_raw(&j, ",");
	json_u64(&j, "journal_bytes", db_journal_bytes(&r->store->db));
	json_raw(&j, ",");
	json_u64(&j, "used_bytes", db_used_bytes(&r->store->db));
	json_raw(&j, ",");
	json_u64(&j, "free_bytes", db_free_bytes(&r->store->db, UINT64_MAX));
	json_raw(&j, ",");
	json_u64(&j, "map_bytes", r->store->db.map_bytes);
	json_raw(&j, ",");
	json_u64(&j, "format", STORE_FORMAT);
	json_raw(&j, "}\n");
	return j.err;
}

/* The queue's index: rows of the queue that are not in it, and its rows that lead nowhere. */
static int index_json(struct reader *r, struct chain *out)
{
	struct json_line j = {.out = out};
	uint64_t young, stale;
	int rc = queue_index_figures(r->txn, &r->store->db, &young, &stale);

	if (rc)
		return rc;
	json_raw(&j, "{");
	json_u64(&j, "index_young", young);
	json_raw(&j, ",");
	json_u64(&j, "index_stale", stale);
	json_raw(&j, "}\n");
	return j.err;
}

static int table_json(struct reader *r, struct chain *out, enum db_id id)
{
	struct json_line j = {.out = out};
	struct db_table t;
	int rc = db_table_stat(r->txn, &r->store->db, id, &t);

	if (rc)
		return rc;
	json_raw(&j, "{");
	json_text(&j, "table", bytes_str(t.name));
	json_raw(&j, ",");
	json_u64(&j, "rows", t.rows);
	json_raw(&j, ",");
	json_u64(&j, "bytes", t.pages * 4096);
	json_raw(&j, ",");
	json_u64(&j, "depth", t.depth);
	json_raw(&j, "}\n");
	return j.err;
}

int reader_stat(struct reader *r, struct op *o)
{
	struct store_stat_op *op = container_of(o, struct store_stat_op, op);

	op->out = (struct chain){0};
	int rc = file_json(r, &op->out);
	for (int id = 0; !rc && id < DB_N; id++)
		rc = table_json(r, &op->out, (enum db_id)id);
	if (!rc)
		rc = index_json(r, &op->out);
	if (rc)
		chain_free(&op->out);
	return rc;
}

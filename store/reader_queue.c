/* SPDX-License-Identifier: BSD-3-Clause
 * The queue as readers see it: schedule, one message, the operators' list.  Reader threads. */
#include <errno.h>
#include "dataplane/base/codec.h"
#include "store/db_queue_index.h"
#include "store/reader_queue.h"

#define SCHEDULE_RECORD_MAX (sizeof(struct schedule_row) + 256 + 8)

/* ---- schedule ---- */

static int schedule_record(struct chain *out, struct bytes key, struct bytes value)
{
	union {
		struct schedule_row row;
		uint8_t octets[SCHEDULE_RECORD_MAX];
	} u = {.octets = {0}};
	struct qt_rec qt;

	if (key.n != 20 || !rec_read(value, &qt, sizeof(qt)) || value.n != sizeof(qt) + qt.domain_n)
		return EIO;
	u.row.next_ms = key_get_u64(key, 0);
	u.row.id = key_get_u64(key, 8);
	u.row.rcpt = key_get_u32(key, 16);
	u.row.state = qt_state(&qt);
	u.row.priority = qt_priority(&qt);
	u.row.attempts = qt.attempts;
	u.row.domain_n = qt.domain_n;
	memcpy(u.octets + sizeof(u.row), value.p + sizeof(qt), qt.domain_n);
	return reader_record(out, u.octets, (sizeof(u.row) + qt.domain_n + 7) & ~7ull);
}

/* Where the next slice begins: just behind this row. */
static void schedule_go_on(struct schedule_read_op *op, struct bytes key)
{
	op->from_ms = key_get_u64(key, 0);
	op->from_id = key_get_u64(key, 8);
	op->from_rcpt = key_get_u32(key, 16) + 1;
}

static int schedule_rows(struct reader *r, struct schedule_read_op *op, struct db_cursor *c)
{
	struct key k;
	int rc = db_cursor_seek(c, key_qt(&k, op->from_ms, op->from_id, op->from_rcpt));

	for (uint32_t n = 0; !rc && n < op->max_rows; n++) {
		rc = schedule_record(&op->out, c->key, c->value);
		if (rc)
			return rc == ENOBUFS && n > 0 ? 0 : rc;
		schedule_go_on(op, c->key);
		if (n % 64 == 63 && reader_slice_over(r, op->out.bytes))
			return 0;
		rc = db_cursor_next(c);
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_schedule(struct reader *r, struct op *o)
{
	struct schedule_read_op *op = container_of(o, struct schedule_read_op, op);
	struct db_cursor c;

	op->out = (struct chain){0};
	op->end = false;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_QT, &c);
	if (rc)
		return rc;
	rc = schedule_rows(r, op, &c);
	db_cursor_close(&c);
	if (rc)
		chain_free(&op->out);
	return rc;
}

/* ---- rows ---- */

/* Calls each for the recipients of one message, in order; stops at its first error. */
int reader_each_recipient(
	struct reader *r, uint64_t id, int (*each)(void *ctx, const struct qr_view *q), void *ctx)
{
	struct db_cursor c;
	struct qr_view q;
	struct key k;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_QR, &c);

	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_id_n(&k, id, 0));
	for (int i = 0; !rc && i < MESSAGE_RCPT_MAX && key_get_u64(c.key, 0) == id; i++) {
		rc = qr_parse(c.key, c.value, &q);
		if (!rc)
			rc = each(ctx, &q);
		if (!rc)
			rc = db_cursor_next(&c);
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- one message ---- */

static int queue_recipient(void *ctx, const struct qr_view *q)
{
	struct queue_read_op *op = ctx;
	struct queue_rcpt_row row = {.rcpt = q->rcpt,
		.state = q->r.state,
		.reason_n = q->r.reason_n,
		.code = q->r.code,
		.attempts = q->r.state == QUEUE_MOVING ? 0 : q->r.attempts,
		.priority = q->r.priority,
		.next_ms = q->r.next_ms};

	memcpy(row.reason, q->reason.p, q->reason.n);
	struct dsn_rcpt dsn = {.notify = q->r.notify, .orcpt = q->orcpt};
	if (message_add_rcpt_dsn(op->message, q->address, RCPT_REMOTE, 0, &dsn) < 0)
		return ENOBUFS;
	return reader_record(&op->rows, &row, sizeof(row));
}

static int envelope_fill(struct message *m, const struct q_view *q, const struct body_head *h)
{
	struct bytes local = bytes_first(h->prefix, h->r.prefix_local);
	struct bytes relayed = bytes_skip(h->prefix, h->r.prefix_local);

	m->received_ms = q->r.received_ms;
	m->peer = q->r.peer;
	m->body_type = q->r.body_type;
	m->smtputf8 = q->r.smtputf8;
	m->bare = q->r.bare;
	m->ret = q->r.ret;
	m->requiretls = q->r.requiretls;
	m->priority = q->r.priority;
	m->streamed = h->r.size; /* the body is in the store */
	m->streamed_chunks = h->r.chunks;
	m->body_crc = h->r.crc;
	m->header_bytes = h->r.header_bytes;
	if (message_set_sender(m, q->sender) < 0 || message_set_envid(m, q->envid) < 0)
		return ENOBUFS;
	if (relayed.n && message_prepend(m, relayed, false) < 0)
		return ENOBUFS;
	return local.n && message_prepend(m, local, true) < 0 ? ENOBUFS : 0;
}

static int queue_message(struct reader *r, struct queue_read_op *op)
{
	struct q_view q;
	struct body_head h;
	struct bytes v;
	struct key k;
	int rc = db_get(r->txn, &r->store->db, DB_Q, key_id(&k, op->id), &v);

	if (!rc)
		rc = q_parse(v, &q);
	if (rc)
		return rc;
	rc = body_head_read(r->txn, &r->store->db, op->id, &h);
	if (rc)
		return rc == MDB_NOTFOUND ? EIO : rc;
	op->body_bytes = h.r.size;
	op->expire_ms = q.r.expire_ms;
	op->message = message_new();
	if (!op->message)
		return ENOBUFS;
	op->message->id = op->id;
	rc = envelope_fill(op->message, &q, &h);
	return rc ? rc : reader_each_recipient(r, op->id, queue_recipient, op);
}

int reader_queue(struct reader *r, struct op *o)
{
	struct queue_read_op *op = container_of(o, struct queue_read_op, op);

	op->message = NULL;
	op->rows = (struct chain){0};
	op->body_bytes = op->expire_ms = 0;
	int rc = queue_message(r, op);
	if (rc) {
		chain_free(&op->rows);
		if (op->message)
			message_unref(op->message);
		op->message = NULL;
	}
	return rc;
}

/* ---- the list ---- */

struct list_ctx {
	struct json_line j;
	bool comma;
};

static int list_recipient(void *ctx, const struct qr_view *q)
{
	struct list_ctx *l = ctx;
	struct json_line *j = &l->j;

	json_raw(j, l->comma ? ",{" : "{");
	l->comma = true;
	json_u64(j, "rcpt", q->rcpt);
	json_raw(j, ",");
	json_text(j, "address", q->address);
	json_raw(j, ",");
	json_text(j, "state", bytes_str(store_state_name(q->r.state)));
	json_raw(j, ",");
	json_i64(j, "priority", q->r.priority);
	json_raw(j, ",");
	json_u64(j, "attempts", q->r.state == QUEUE_MOVING ? 0 : q->r.attempts);
	json_raw(j, ",");
	json_u64(j, "next_ms", q->r.next_ms);
	json_raw(j, ",");
	json_u64(j, "code", q->r.code);
	json_raw(j, ",");
	json_text(j, "reason", q->reason);
	json_raw(j, "}");
	return j->err;
}

int reader_list_message(struct reader *r, uint64_t id, const struct q_view *q, struct chain *out)
{
	struct list_ctx l = {.j = {.out = out}};
	struct body_head h = {0};
	uint8_t hex[16];
	struct buf b;

	int rc = body_head_read(r->txn, &r->store->db, id, &h);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	buf_init(&b, hex, sizeof(hex));
	hex_u64(&b, id);
	json_raw(&l.j, "{");
	json_text(&l.j, "id", buf_view(&b));
	json_raw(&l.j, ",");
	json_text(&l.j, "sender", q->sender);
	json_raw(&l.j, ",");
	json_u64(&l.j, "size", h.r.size);
	json_raw(&l.j, ",");
	json_u64(&l.j, "received_ms", q->r.received_ms);
	json_raw(&l.j, ",");
	json_u64(&l.j, "expire_ms", q->r.expire_ms);
	json_raw(&l.j, ",\"recipients\":[");
	rc = l.j.err ? l.j.err : reader_each_recipient(r, id, list_recipient, &l);
	json_raw(&l.j, "]}\n");
	return rc ? rc : l.j.err;
}

/* What the filter does not mean is passed over. */
static int list_one(struct reader *r, struct queue_list_op *op, uint64_t id, const struct q_view *q,
	bool *listed_r)
{
	*listed_r = !op->filter || queue_filter_message(op->filter, q);
	return *listed_r ? reader_list_message(r, id, q, &op->out) : 0;
}

/* Whole messages only: a line that did not fit is left for the next slice. */
static int list_rows(struct reader *r, struct queue_list_op *op, struct db_cursor *c, uint32_t n)
{
	struct key k;
	int rc = db_cursor_seek(c, key_id(&k, op->at.id));

	while (!rc && n < op->max_messages) {
		uint64_t id = key_get_u64(c->key, 0);
		struct chain_mark mark = chain_mark_get(&op->out);
		struct q_view q;
		bool listed = false;
		rc = q_parse(c->value, &q);
		if (!rc)
			rc = list_one(r, op, id, &q, &listed);
		if (rc) {
			chain_rollback(&op->out, &mark);
			return rc == ENOBUFS && n > 0 ? 0 : rc;
		}
		op->at.id = id + 1;
		n += listed;
		if (reader_slice_over(r, op->out.bytes))
			return 0;
		rc = db_cursor_next(c);
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_list_queue(struct reader *r, struct queue_list_op *op, uint32_t n)
{
	struct db_cursor c;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_Q, &c);

	if (rc)
		return rc;
	rc = list_rows(r, op, &c, n);
	db_cursor_close(&c);
	return rc;
}

int reader_queue_list(struct reader *r, struct op *o)
{
	struct queue_list_op *op = container_of(o, struct queue_list_op, op);

	op->out = (struct chain){0};
	op->end = false;
	int rc = op->filter && queue_index_leads(op->filter) ? reader_queue_find(r, op)
							     : reader_list_queue(r, op, 0);
	if (rc)
		chain_free(&op->out);
	return rc;
}

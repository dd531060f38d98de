/* SPDX-License-Identifier: BSD-3-Clause
 * What IMAP and POP3 do to messages: append, flags, copy, expunge.  Writer thread. */
#include <errno.h>
#include "store/body.h"
#include "store/writer.h"

#define FLAGS_ALL (MSG_SEEN | MSG_ANSWERED | MSG_FLAGGED | MSG_DELETED | MSG_DRAFT)

/* Turns "no such row" into the op's status. */
static int absent(struct op *op, int rc)
{
	if (rc != MDB_NOTFOUND)
		return rc;
	op->status = -ENOENT;
	return 0;
}

/* Account and mailbox of an op, both as stored. */
static int target_get(
	struct writer *w, uint32_t account, uint32_t box, struct acct *a, struct box *b)
{
	int rc = writer_acct_get(w, account, a);

	return rc ? rc : writer_box_get(w, account, box, b);
}

static int target_put(struct writer *w, struct acct *a, const struct box *b)
{
	int rc = writer_box_put(w, b);

	if (!rc)
		rc = writer_acct_put(w, a);
	return rc ? rc : writer_event(w, b->account, b->box);
}

static int append_store(struct writer *w, struct append_op *p, struct acct *a, struct box *b)
{
	struct mbox_row row = {.blob = p->message->id,
		.size = body_view_bytes(p->message),
		.flags = p->flags & FLAGS_ALL,
		.internal_ms = p->internal_ms,
		.internal_zone_min = p->internal_zone_min};
	int rc = body_put(w, p->message, 1);

	if (rc)
		return rc;
	a->r.modseq++;
	row.keywords = writer_box_keywords(b, &p->keywords);
	rc = writer_box_add(w, a, b, &row);
	p->uid = row.uid;
	p->uidvalidity = b->r.uidvalidity;
	w->messages_done++;
	w->bytes_done += row.size;
	return rc ? rc : target_put(w, a, b);
}

int writer_apply_append(struct writer *w, struct op *op)
{
	struct append_op *p = container_of(op, struct append_op, op);
	struct acct a;
	struct box b;
	int rc = writer_acct_get(w, p->account, &a);

	p->uid = p->uidvalidity = 0;
	if (!rc)
		rc = writer_box_find(w, p->account, p->target, &b);
	if (rc == MDB_NOTFOUND)
		op->status = -ENOENT;
	else if (!rc && !writer_acct_has_room(w, &a, 1, body_view_bytes(p->message)))
		op->status = -EDQUOT;
	if (op->status)
		return body_drop_parts(w, p->message->id);
	if (!rc)
		rc = body_check(w, p->message, &op->status);
	if (rc)
		return rc;
	if (op->status) {
		op->status = -EINVAL;
		return 0;
	}
	return append_store(w, p, &a, &b);
}

/* ---- flags ---- */

static uint32_t bits_apply(uint8_t mode, uint32_t before, uint32_t bits)
{
	return mode == FLAGS_ADD ? before | bits : mode == FLAGS_REMOVE ? before & ~bits : bits;
}

/* Moves a row to a new modseq with its new flags. */
static int row_change(struct writer *w, struct box *b, struct mbox_row *row, uint32_t flags,
	uint32_t keywords, uint64_t modseq)
{
	struct key k;
	int rc = db_del(
		w->txn, w->db, DB_MOD, key_mod(&k, b->account, b->box, row->modseq, row->uid));

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	b->r.unseen += (row->flags & MSG_SEEN && !(flags & MSG_SEEN)) ? 1 : 0;
	b->r.unseen -= (!(row->flags & MSG_SEEN) && flags & MSG_SEEN) ? 1 : 0;
	b->r.deleted += (!(row->flags & MSG_DELETED) && flags & MSG_DELETED) ? 1 : 0;
	b->r.deleted -= (row->flags & MSG_DELETED && !(flags & MSG_DELETED)) ? 1 : 0;
	row->flags = flags;
	row->keywords = keywords;
	row->modseq = modseq;
	rc = db_put(w->txn, w->db, DB_MSG, key_msg(&k, b->account, b->box, row->uid),
		bytes_make(row, sizeof(*row)));
	if (rc)
		return rc;
	return db_put(w->txn, w->db, DB_MOD, key_mod(&k, b->account, b->box, modseq, row->uid),
		BYTES_NONE);
}

static int flags_rows(struct writer *w, struct mbox_op *m, struct box *b, uint64_t modseq)
{
	uint32_t keyword_bits = writer_box_keywords(b, &m->keywords);

	for (uint32_t i = 0; i < m->uid_count; i++) {
		struct mbox_row row;
		int rc = writer_msg_get(w, m->account, m->box, m->uids[i], &row);
		if (rc == MDB_NOTFOUND)
			continue;
		if (rc)
			return rc;
		uint32_t flags = bits_apply(m->mode, row.flags, m->flags & FLAGS_ALL);
		uint32_t keywords = bits_apply(m->mode, row.keywords, keyword_bits);
		if (flags == row.flags && keywords == row.keywords)
			continue;
		m->changed++;
		rc = row_change(w, b, &row, flags, keywords, modseq);
		if (rc)
			return rc;
	}
	return 0;
}

int writer_apply_flags(struct writer *w, struct op *op)
{
	struct mbox_op *m = container_of(op, struct mbox_op, op);
	struct acct a;
	struct box b;

	m->changed = 0;
	if (m->mode > FLAGS_REPLACE) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = target_get(w, m->account, m->box, &a, &b);
	if (rc)
		return absent(op, rc);
	m->modseq = a.r.modseq + 1;
	rc = flags_rows(w, m, &b, m->modseq);
	if (rc || m->changed == 0)
		return rc;
	a.r.modseq = b.r.highestmodseq = m->modseq;
	return target_put(w, &a, &b);
}

/* ---- copy ---- */

/* One message into `to`; `from` gives the meaning of its keywords. */
static int copy_row(struct writer *w, struct mbox_op *m, struct acct *a, const struct box *from,
	struct box *to, uint32_t uid)
{
	struct mbox_row row;
	int rc = writer_msg_get(w, m->account, m->box, uid, &row);

	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	rc = body_ref(w, row.blob);
	if (rc)
		return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
	row.keywords = writer_box_keywords_map(from, to, row.keywords);
	m->changed++;
	return writer_box_add(w, a, to, &row);
}

/* Is there room for all of them?  Before the first put. */
static int copy_check(
	struct writer *w, const struct mbox_op *m, const struct acct *a, int *status_r)
{
	uint64_t messages = 0, octets = 0;

	for (uint32_t i = 0; i < m->uid_count; i++) {
		struct mbox_row row;
		int rc = writer_msg_get(w, m->account, m->box, m->uids[i], &row);
		if (rc && rc != MDB_NOTFOUND)
			return rc;
		messages += rc == 0;
		octets += rc == 0 ? row.size : 0;
	}
	if (messages && !writer_acct_has_room(w, a, messages, octets))
		*status_r = -EDQUOT;
	return 0;
}

int writer_apply_copy(struct writer *w, struct op *op)
{
	struct mbox_op *m = container_of(op, struct mbox_op, op);
	struct acct a;
	struct box from, to;
	int rc = target_get(w, m->account, m->box, &a, &from);

	m->changed = 0;
	if (!rc)
		rc = writer_box_find(w, m->account, m->target, &to);
	if (rc)
		return absent(op, rc);
	if (op->kind != STORE_TRANSFER) /* which adds nothing */
		rc = copy_check(w, m, &a, &op->status);
	if (rc || op->status)
		return rc;
	m->target_uidvalidity = to.r.uidvalidity;
	m->target_first_uid = to.r.uidnext;
	m->modseq = ++a.r.modseq;
	for (uint32_t i = 0; i < m->uid_count; i++) {
		rc = copy_row(w, m, &a, &from, &to, m->uids[i]);
		if (rc)
			return rc;
	}
	return m->changed ? target_put(w, &a, &to) : 0;
}

/* ---- expunge ---- */

/* UIDs that vanish together; runs become one row of the log. */
struct vanished {
	uint32_t first, last; /* 0: none */
	uint64_t modseq;
};

static int vanished_put(struct writer *w, struct box *b, struct vanished *v)
{
	return v->first ? writer_box_gone(w, b, v->modseq, v->first, v->last) : 0;
}

/* Two steps: the row goes at once, the reference to the body when nobody can still be reading. */
static int expunge_row(struct writer *w, struct mbox_op *m, struct acct *a, struct box *b,
	uint32_t uid, struct vanished *v)
{
	struct mbox_row row;
	int rc = writer_msg_get(w, m->account, m->box, uid, &row);

	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	m->changed++;
	rc = writer_box_remove(w, a, b, &row);
	if (!rc)
		rc = gc_add_ref(w, row.blob);
	if (!rc && v->first && v->last + 1 != uid) {
		rc = vanished_put(w, b, v);
		v->first = 0;
	}
	v->first = v->first ? v->first : uid;
	v->last = uid;
	return rc;
}

int writer_apply_expunge(struct writer *w, struct op *op)
{
	struct mbox_op *m = container_of(op, struct mbox_op, op);
	struct acct a;
	struct box b;
	int rc = target_get(w, m->account, m->box, &a, &b);

	m->changed = 0;
	if (rc)
		return absent(op, rc);
	struct vanished v = {.modseq = a.r.modseq + 1};
	for (uint32_t i = 0; i < m->uid_count; i++) {
		rc = expunge_row(w, m, &a, &b, m->uids[i], &v);
		if (rc)
			return rc;
	}
	if (m->changed == 0)
		return 0;
	m->modseq = b.r.highestmodseq = ++a.r.modseq;
	rc = vanished_put(w, &b, &v);
	return rc ? rc : target_put(w, &a, &b);
}

int writer_apply_transfer(struct writer *w, struct op *op)
{
	struct mbox_op *m = container_of(op, struct mbox_op, op);
	int rc = writer_apply_copy(w, op);

	if (rc || op->status || m->changed == 0)
		return rc;
	return writer_apply_expunge(w, op); /* the same: nobody comes in between */
}

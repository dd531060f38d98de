/* SPDX-License-Identifier: BSD-3-Clause
 * Mailboxes as a whole: create, delete, rename, subscribe.  Writer thread. */
#include <errno.h>
#include "store/writer.h"

static int boxname_get(struct writer *w, uint32_t account, struct bytes name, struct boxname_rec *r)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_BOXNAME, key_boxname(&k, account, name), &v);

	if (!rc && !rec_read(v, r, sizeof(*r)))
		return MDB_CORRUPTED;
	return rc;
}

/* 0 with op->status -EEXIST when the name is taken. */
static int check_free(struct writer *w, struct op *op, uint32_t account, struct bytes name)
{
	struct boxname_rec r;
	int rc = boxname_get(w, account, name, &r);

	if (rc == 0)
		op->status = -EEXIST;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* RFC 3501 6.3.3: a separator at the end only announces names below. */
static struct bytes name_of_create(struct bytes name)
{
	if (name.n > 1 && name.p[name.n - 1] == MBOX_SEPARATOR)
		name.n--;
	return mbox_name_canonical(name);
}

static int acct_or_status(struct writer *w, struct op *op, uint32_t account, struct acct *a)
{
	int rc = writer_acct_get(w, account, a);

	if (rc != MDB_NOTFOUND)
		return rc;
	op->status = -ENOENT;
	return 0;
}

/* -EBUSY: one mailbox of the account has this use already; -EINVAL: no such use. */
static int special_check(struct writer *w, struct op *op, uint32_t account, uint8_t special)
{
	struct db_cursor c;
	struct box_rec r;
	struct key k;
	int rc;

	if (special >= SPECIAL_N)
		op->status = -EINVAL;
	if (special == SPECIAL_NONE || op->status)
		return 0;
	rc = db_cursor_open(w->txn, w->db, DB_BOX, &c);
	if (rc)
		return rc;
	for (rc = db_cursor_seek(&c, key_box(&k, account, 0));
		!rc && key_get_u32(c.key, 0) == account; rc = db_cursor_next(&c)) {
		if (rec_read(c.value, &r, sizeof(r)) && r.special == special) {
			op->status = -EBUSY;
			break;
		}
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int writer_apply_mbox_create(struct writer *w, struct op *op)
{
	struct mbox_name_op *m = container_of(op, struct mbox_name_op, op);
	struct bytes name = name_of_create(m->name);
	struct acct a;
	struct box b;

	if (!mbox_name_valid(name)) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = acct_or_status(w, op, m->account, &a);
	if (rc || op->status)
		return rc;
	if (a.r.boxes >= BOXES_PER_ACCOUNT_MAX) {
		op->status = -ENOSPC;
		return 0;
	}
	rc = check_free(w, op, m->account, name);
	if (rc || op->status)
		return rc;
	rc = m->special ? special_check(w, op, m->account, m->special) : 0;
	if (rc || op->status)
		return rc;
	rc = writer_box_create(w, &a, name, &b);
	if (rc || !m->special)
		return rc;
	b.r.special = m->special;
	return writer_box_put(w, &b);
}

int writer_apply_mbox_special(struct writer *w, struct op *op)
{
	struct mbox_name_op *m = container_of(op, struct mbox_name_op, op);
	struct box b;
	int rc = writer_box_find(w, m->account, m->name, &b);

	if (rc == MDB_NOTFOUND)
		op->status = -ENOENT;
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (b.r.special == m->special)
		return 0;
	rc = special_check(w, op, m->account, m->special);
	if (rc || op->status)
		return rc;
	b.r.special = m->special;
	rc = writer_box_put(w, &b);
	return rc ? rc : writer_event(w, m->account, b.box);
}

int writer_apply_mbox_delete(struct writer *w, struct op *op)
{
	struct mbox_name_op *m = container_of(op, struct mbox_name_op, op);
	struct bytes name = mbox_name_canonical(m->name);
	struct acct a;
	struct box b;
	struct key k;

	if (!mbox_name_valid(name) || bytes_eq(name, BYTES_LIT("INBOX"))) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = acct_or_status(w, op, m->account, &a);
	if (rc || op->status)
		return rc;
	rc = writer_box_find(w, m->account, name, &b);
	if (rc == MDB_NOTFOUND) {
		op->status = -ENOENT;
		return 0;
	}
	if (!rc)
		rc = db_del(w->txn, w->db, DB_BOXNAME, key_boxname(&k, m->account, name));
	if (!rc)
		rc = db_del(w->txn, w->db, DB_BOX, key_box(&k, m->account, b.box));
	if (!rc && (b.r.exists || b.r.gone))
		rc = gc_add_box(w, m->account, b.box);
	a.r.boxes--;
	a.r.messages -= b.r.exists;
	a.r.bytes -= b.r.bytes;
	if (!rc)
		rc = writer_acct_put(w, &a);
	return rc ? rc : writer_event(w, m->account, b.box);
}

/* ---- rename ---- */

struct rename {
	uint32_t account;
	struct bytes from, to;
};

/* The name of a child after the rename; returns false when it would be too long. */
static bool child_name(
	const struct rename *r, struct bytes child, uint8_t out[MBOX_NAME_MAX], struct bytes *out_r)
{
	struct bytes rest = bytes_skip(child, r->from.n);

	if (r->to.n + rest.n > MBOX_NAME_MAX)
		return false;
	memcpy(out, r->to.p, r->to.n);
	memcpy(out + r->to.n, rest.p, rest.n);
	*out_r = bytes_make(out, r->to.n + rest.n);
	return true;
}

/* The first name below r->from that sorts after `after`; copied to out. */
static int child_next(struct writer *w, const struct rename *r, struct bytes after,
	uint8_t out[MBOX_NAME_MAX], struct bytes *child_r)
{
	uint8_t prefix[MBOX_NAME_MAX + 1];
	struct db_cursor c;
	struct key k;
	int rc = db_cursor_open(w->txn, w->db, DB_BOXNAME, &c);

	if (rc)
		return rc;
	memcpy(prefix, r->from.p, r->from.n);
	prefix[r->from.n] = MBOX_SEPARATOR;
	struct bytes start = bytes_make(prefix, r->from.n + 1);
	struct bytes seek = after.n ? after : bytes_first(start, MBOX_NAME_MAX);
	rc = db_cursor_seek(&c, key_boxname(&k, r->account, seek));
	if (!rc && after.n && bytes_eq(c.key, key_view(&k)))
		rc = db_cursor_next(&c);
	struct bytes name = rc ? BYTES_NONE : bytes_skip(c.key, 4);
	if (!rc && (key_get_u32(c.key, 0) != r->account || name.n < start.n ||
			   memcmp(name.p, start.p, start.n) != 0))
		rc = MDB_NOTFOUND;
	if (!rc) {
		memcpy(out, name.p, name.n);
		*child_r = bytes_make(out, name.n);
	}
	db_cursor_close(&c);
	return rc;
}

/* All names below can be renamed: none too long, none taken. */
static int children_check(struct writer *w, struct op *op, const struct rename *r)
{
	uint8_t old[MBOX_NAME_MAX], fresh[MBOX_NAME_MAX];
	struct bytes child = BYTES_NONE, name;

	for (int i = 0; i < BOXES_PER_ACCOUNT_MAX; i++) {
		int rc = child_next(w, r, child, old, &child);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc)
			return rc;
		if (!child_name(r, child, fresh, &name)) {
			op->status = -EINVAL;
			return 0;
		}
		rc = check_free(w, op, r->account, name);
		if (rc || op->status)
			return rc;
	}
	return 0;
}

static int rename_one(struct writer *w, uint32_t account, struct bytes from, struct bytes to)
{
	struct boxname_rec r;
	struct box b;
	struct key k;
	int rc = boxname_get(w, account, from, &r);

	if (!rc)
		rc = writer_box_get(w, account, r.box, &b);
	if (!rc)
		rc = db_del(w->txn, w->db, DB_BOXNAME, key_boxname(&k, account, from));
	if (!rc)
		rc = db_put(w->txn, w->db, DB_BOXNAME, key_boxname(&k, account, to),
			bytes_make(&r, sizeof(r)));
	if (rc)
		return rc;
	b.r.name_n = (uint16_t)to.n;
	memcpy(b.name, to.p, to.n);
	return writer_box_put(w, &b);
}

static int children_rename(struct writer *w, const struct rename *r)
{
	uint8_t old[MBOX_NAME_MAX], fresh[MBOX_NAME_MAX];
	struct bytes child, name;

	for (int i = 0; i < BOXES_PER_ACCOUNT_MAX; i++) {
		int rc = child_next(w, r, BYTES_NONE, old, &child);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (!rc && !child_name(r, child, fresh, &name))
			rc = MDB_CORRUPTED; /* children_check has seen to it */
		if (!rc)
			rc = rename_one(w, r->account, child, name);
		if (rc)
			return rc;
	}
	return 0;
}

/* RFC 3501 6.3.5: INBOX gives its messages to the new name and is empty afterwards; names below it
 * stay.  The mailbox moves, and INBOX is a new one. */
static int rename_inbox(struct writer *w, struct op *op, const struct rename *r)
{
	struct acct a;
	struct box b;
	int rc = writer_acct_get(w, r->account, &a);

	if (!rc && a.r.boxes >= BOXES_PER_ACCOUNT_MAX) {
		op->status = -ENOSPC;
		return 0;
	}
	if (!rc)
		rc = rename_one(w, r->account, r->from, r->to);
	if (!rc)
		rc = writer_box_create(w, &a, r->from, &b);
	if (rc)
		return rc;
	uint32_t before = a.r.inbox;
	a.r.inbox = b.box;
	rc = writer_acct_put(w, &a);
	return rc ? rc : writer_event(w, r->account, before);
}

int writer_apply_mbox_rename(struct writer *w, struct op *op)
{
	struct mbox_name_op *m = container_of(op, struct mbox_name_op, op);
	struct rename r = {m->account, mbox_name_canonical(m->name), name_of_create(m->new_name)};
	struct boxname_rec found;

	if (!mbox_name_valid(r.from) || !mbox_name_valid(r.to) ||
		/* below itself */
		(r.to.n > r.from.n && memcmp(r.to.p, r.from.p, r.from.n) == 0 &&
			r.to.p[r.from.n] == MBOX_SEPARATOR)) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = boxname_get(w, r.account, r.from, &found);
	if (rc == MDB_NOTFOUND) {
		op->status = -ENOENT;
		return 0;
	}
	if (!rc)
		rc = check_free(w, op, r.account, r.to);
	if (rc || op->status)
		return rc;
	if (bytes_eq(r.from, BYTES_LIT("INBOX")))
		return rename_inbox(w, op, &r);
	rc = children_check(w, op, &r);
	if (rc || op->status)
		return rc;
	rc = rename_one(w, r.account, r.from, r.to);
	return rc ? rc : children_rename(w, &r);
}

int writer_apply_mbox_subscribe(struct writer *w, struct op *op)
{
	struct mbox_name_op *m = container_of(op, struct mbox_name_op, op);
	struct bytes name = mbox_name_canonical(m->name);
	struct boxname_rec r;
	struct key k;

	if (!mbox_name_valid(name)) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = boxname_get(w, m->account, name, &r);
	if (rc == MDB_NOTFOUND) {
		op->status = -ENOENT;
		return 0;
	}
	if (rc || r.subscribed == m->subscribe)
		return rc;
	r.subscribed = m->subscribe;
	return db_put(w->txn, w->db, DB_BOXNAME, key_boxname(&k, m->account, name),
		bytes_make(&r, sizeof(r)));
}

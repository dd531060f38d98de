/* SPDX-License-Identifier: BSD-3-Clause
 * Accounts: add, new password, delete.  Writer thread. */
#include <errno.h>
#include "dataplane/base/clock.h"
#include "store/writer.h"

/* Room for the lower-case address of an op. */
struct name {
	char text[ADDRESS_MAX];
	struct bytes view;
};

static bool name_take(struct name *n, struct bytes address)
{
	size_t octets = directory_fold(address, n->text);

	n->view = bytes_make(n->text, octets);
	ptrdiff_t at = bytes_rfind(n->view, '@');
	return at > 0 && (size_t)at + 1 < octets;
}

static int acctname_get(struct writer *w, struct bytes name, struct acctname_rec *r)
{
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_ACCTNAME, name, &v);

	if (!rc && !rec_read(v, r, sizeof(*r)))
		return MDB_CORRUPTED;
	return rc;
}

/* The row of op's password. */
static int acctname_put(
	struct writer *w, struct bytes name, struct acctname_rec *r, const struct account_op *op)
{
	uint8_t row[sizeof(*r) + PASSWORD_HASH_MAX + sizeof(*op->scram)];
	size_t n = sizeof(*r);

	r->hash_n = (uint16_t)op->hash.n;
	r->scram_n = op->scram ? sizeof(*op->scram) : 0;
	memcpy(row, r, n);
	memcpy(row + n, op->hash.p, op->hash.n);
	n += op->hash.n;
	if (op->scram)
		memcpy(row + n, op->scram, sizeof(*op->scram));
	return db_put(w->txn, w->db, DB_ACCTNAME, name, bytes_make(row, n + r->scram_n));
}

uint64_t writer_number(const struct writer *w, uint64_t next)
{
	unsigned count = w->store->shard_count, own = w->store->shard;

	return next + (own + count - next % count) % count;
}

static int add(struct writer *w, struct account_op *op, const struct name *name)
{
	struct acct a = {0};
	struct box inbox;
	uint64_t number;
	int rc = db_meta_get(w->txn, w->db, "next_account", &number);

	if (rc)
		return rc;
	number = writer_number(w, MAX(number, 1ull));
	if (number >= UINT32_MAX)
		return EOVERFLOW;
	op->account = a.account = (uint32_t)number;
	a.r.next_box = 1;
	/* From the clock: an address that is deleted and made again does not repeat one. */
	a.r.next_uidvalidity = (uint32_t)(w->now_ms / MS_PER_SEC);
	a.r.inbox = a.r.next_box;
	a.r.address_n = (uint16_t)name->view.n;
	memcpy(a.address, name->text, name->view.n);
	struct acctname_rec r = {.account = a.account};
	rc = db_meta_put(w->txn, w->db, "next_account", number + 1);
	if (!rc)
		rc = acctname_put(w, name->view, &r, op);
	return rc ? rc : writer_box_create(w, &a, BYTES_LIT("INBOX"), &inbox);
}

/* Its mailboxes become garbage; at most BOXES_PER_ACCOUNT_MAX (and INBOXes of renames). */
static int boxes_remove(struct writer *w, uint32_t account)
{
	for (;;) {
		struct db_cursor c;
		struct key k, found;
		struct boxname_rec r;
		int rc = db_cursor_open(w->txn, w->db, DB_BOXNAME, &c);
		if (rc)
			return rc;
		rc = db_cursor_seek(&c, key_account(&k, account));
		if (!rc && key_get_u32(c.key, 0) != account)
			rc = MDB_NOTFOUND;
		if (!rc && !rec_read(c.value, &r, sizeof(r)))
			rc = MDB_CORRUPTED;
		if (!rc) {
			memcpy(found.p, c.key.p, c.key.n);
			found.n = (uint16_t)c.key.n;
		}
		db_cursor_close(&c);
		if (rc)
			return rc == MDB_NOTFOUND ? 0 : rc;
		rc = db_del(w->txn, w->db, DB_BOXNAME, key_view(&found));
		if (!rc)
			rc = db_del(w->txn, w->db, DB_BOX, key_box(&k, account, r.box));
		if (!rc)
			rc = gc_add_box(w, account, r.box);
		if (rc)
			return rc;
	}
}

static int delete (struct writer *w, uint32_t account, const struct name *name)
{
	struct key k;
	int rc = db_del(w->txn, w->db, DB_ACCTNAME, name->view);

	if (!rc)
		rc = db_del(w->txn, w->db, DB_ACCT, key_account(&k, account));
	return rc ? rc : boxes_remove(w, account);
}

/* Quota, or whether the account is in use: the row of the account, and for the latter that of its
 * address as well, which logins look at. */
static int limits_change(
	struct writer *w, struct account_op *op, const struct name *name, struct acctname_rec *r)
{
	uint8_t row[sizeof(*r) + PASSWORD_HASH_MAX + sizeof(*op->scram)];
	struct bytes v;
	struct acct a;
	int rc = writer_acct_get(w, r->account, &a);

	if (rc)
		return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
	if (op->action == ACCOUNT_QUOTA) {
		a.r.quota_bytes = op->quota_bytes;
		a.r.quota_messages = op->quota_messages;
		return writer_acct_put(w, &a);
	}
	a.r.state = r->state = op->action == ACCOUNT_DISABLE ? ACCT_DISABLED : ACCT_OK;
	a.r.over = false; /* the directory is told anew: of this with the state */
	rc = writer_acct_put(w, &a);
	op->over = a.r.over;
	if (!rc)
		rc = db_get(w->txn, w->db, DB_ACCTNAME, name->view, &v);
	if (rc)
		return rc;
	if (v.n > sizeof(row))
		return MDB_CORRUPTED;
	memcpy(row, v.p, v.n);
	memcpy(row, r, sizeof(*r));
	return db_put(w->txn, w->db, DB_ACCTNAME, name->view, bytes_make(row, v.n));
}

static int change(struct writer *w, struct account_op *op, const struct name *name)
{
	struct acctname_rec r;
	int rc = acctname_get(w, name->view, &r);

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	bool exists = rc == 0;
	if (op->action == ACCOUNT_ADD) {
		op->op.status = exists ? -EEXIST : 0;
		return exists ? 0 : add(w, op, name);
	}
	if (!exists) {
		op->op.status = -ENOENT;
		return 0;
	}
	op->account = r.account;
	if (r.state == ACCT_ALIAS) {
		op->op.status = -ENOENT;
		return 0;
	}
	if (op->action >= ACCOUNT_QUOTA)
		return limits_change(w, op, name, &r);
	if (op->action == ACCOUNT_DELETE)
		return delete (w, r.account, name);
	return acctname_put(w, name->view, &r, op);
}

int writer_apply_account(struct writer *w, struct op *op)
{
	struct account_op *a = container_of(op, struct account_op, op);
	bool needs_hash = a->action == ACCOUNT_ADD || a->action == ACCOUNT_PASSWORD;
	struct name name;

	a->account = 0;
	a->over = false;
	if (a->action > ACCOUNT_ENABLE || !name_take(&name, a->address) ||
		(needs_hash && (a->hash.n == 0 || a->hash.n >= PASSWORD_HASH_MAX))) {
		op->status = -EINVAL;
		return 0;
	}
	/* The directory must be able to follow after the commit, where nothing may fail. */
	if (a->action == ACCOUNT_ADD &&
		directory_reserve(w->store->directory, WRITER_GROUP_MAX) < 0)
		return ENOMEM;
	return change(w, a, &name);
}

void writer_account_committed(struct writer *w, struct op *op)
{
	struct account_op *a = container_of(op, struct account_op, op);
	static const enum directory_state states[] = {[ACCOUNT_DELETE] = DIRECTORY_STATE_GONE,
		[ACCOUNT_DISABLE] = DIRECTORY_STATE_DISABLED,
		[ACCOUNT_ADD] = DIRECTORY_STATE_OK,
		[ACCOUNT_ENABLE] = DIRECTORY_STATE_OK};
	enum directory_state state = a->over ? DIRECTORY_STATE_FULL : states[a->action];
	int err = 0;

	if (a->action != ACCOUNT_PASSWORD && a->action != ACCOUNT_QUOTA)
		err = directory_set(w->store->directory, a->address, a->account,
			(uint16_t)w->store->shard, state);
	BUG_ON(err); /* directory_reserve */
}

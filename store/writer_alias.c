/* SPDX-License-Identifier: BSD-3-Clause
 * Aliases and domains: made and removed.  Writer thread. */
#include <errno.h>
#include "store/writer.h"

/* "name@domain" or "@domain", folded. */
static bool address_take(struct bytes address, char out[ADDRESS_MAX], struct bytes *out_r)
{
	size_t n = directory_fold(address, out);

	*out_r = bytes_make(out, n);
	ptrdiff_t at = bytes_rfind(*out_r, '@');
	return n > 1 && at >= 0 && (size_t)at + 1 < n && !memchr(out, '\0', n);
}

static bool targets_valid(struct bytes t)
{
	unsigned count = 0;

	if (t.n == 0 || t.n > ALIAS_TEXT_MAX || t.p[t.n - 1] != '\0')
		return false;
	for (size_t at = 0; at < t.n; count++) {
		struct bytes one = bytes_make(t.p + at, strlen((const char *)t.p + at));
		ptrdiff_t sign = bytes_rfind(one, '@');
		if (one.n > ADDRESS_MAX || sign <= 0 || (size_t)sign + 1 == one.n)
			return false;
		at += one.n + 1;
	}
	return count <= ALIAS_TARGETS_MAX;
}

/* Does a way lead from these targets to `address`?  Bounded by depth and breadth. */
static bool leads_to(struct writer *w, struct bytes targets, struct bytes address, unsigned depth)
{
	const struct directory *d = directory_public(w->store->directory);

	for (size_t at = 0; at < targets.n;) {
		struct bytes one = bytes_make(targets.p + at, strlen((const char *)targets.p + at));
		struct directory_entry entry;
		uint8_t row[ALIAS_ROW_MAX];
		struct bytes next;
		if (bytes_ieq(one, address) || depth == ALIAS_DEPTH_MAX)
			return true; /* deeper than mail is followed: as bad as a loop */
		at += one.n + 1;
		enum directory_verdict v = d->lookup(d, one, &entry);
		if (v != DIRECTORY_OK || entry.account < ALIAS_FIRST)
			continue;
		if (writer_alias_get(w, entry.account, row, &next) == 0 &&
			leads_to(w, next, address, depth + 1))
			return true;
	}
	return false;
}

/* A catch-all has the addresses of its domain that nobody else has: a target there leads back. */
static bool catches_itself(struct writer *w, struct bytes address, struct bytes targets)
{
	const struct directory *d = directory_public(w->store->directory);

	if (address.p[0] != '@')
		return false;
	for (size_t at = 0; at < targets.n;) {
		struct bytes one = bytes_make(targets.p + at, strlen((const char *)targets.p + at));
		ptrdiff_t sign = bytes_rfind(one, '@');
		struct directory_entry entry;
		if (bytes_ieq(bytes_skip(one, (size_t)sign), address) &&
			d->lookup(d, one, &entry) != DIRECTORY_OK)
			return true;
		at += one.n + 1;
	}
	return false;
}

static int alias_put(struct writer *w, uint32_t alias, struct bytes address, struct bytes targets)
{
	struct key k;
	void *room;
	int rc = db_reserve(w->txn, w->db, DB_ALIAS, key_account(&k, alias),
		address.n + 1 + targets.n, false, &room);

	if (rc)
		return rc;
	memcpy(room, address.p, address.n);
	((char *)room)[address.n] = '\0';
	char *to = (char *)room + address.n + 1;
	for (size_t i = 0; i < targets.n; i++)
		to[i] = (char)ascii_lower(targets.p[i]);
	return 0;
}

static int alias_make(struct writer *w, struct alias_op *op, struct bytes address)
{
	struct acctname_rec r = {.state = ACCT_ALIAS};
	uint64_t number;
	int rc = db_meta_get(w->txn, w->db, "next_alias", &number);

	if (rc)
		return rc;
	number = writer_number(w, MAX(number, (uint64_t)ALIAS_FIRST));
	if (number > UINT32_MAX)
		return EOVERFLOW;
	op->alias = r.account = (uint32_t)number;
	rc = db_meta_put(w->txn, w->db, "next_alias", number + 1);
	if (!rc)
		rc = db_put(w->txn, w->db, DB_ACCTNAME, address, bytes_make(&r, sizeof(r)));
	return rc ? rc : alias_put(w, op->alias, address, op->targets);
}

static int alias_remove(struct writer *w, uint32_t alias, struct bytes address)
{
	struct key k;
	int rc = db_del(w->txn, w->db, DB_ACCTNAME, address);

	return rc ? rc : db_del(w->txn, w->db, DB_ALIAS, key_account(&k, alias));
}

int writer_apply_alias(struct writer *w, struct op *op)
{
	struct alias_op *a = container_of(op, struct alias_op, op);
	char folded[ADDRESS_MAX];
	struct acctname_rec r;
	struct bytes address, v;

	if (!address_take(a->address, folded, &address) ||
		(!a->remove && !targets_valid(a->targets))) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = db_get(w->txn, w->db, DB_ACCTNAME, address, &v);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	bool exists = rc == 0;
	if (exists && !rec_read(v, &r, sizeof(r)))
		return MDB_CORRUPTED;
	if (exists && r.state != ACCT_ALIAS)
		op->status = -EEXIST; /* a user */
	else if (a->remove && !exists)
		op->status = -ENOENT;
	else if (!a->remove &&
		 (leads_to(w, a->targets, address, 0) || catches_itself(w, address, a->targets)))
		op->status = -ELOOP;
	if (op->status)
		return 0;
	a->alias = exists ? r.account : 0;
	if (a->remove)
		return alias_remove(w, r.account, address);
	if (exists)
		return alias_put(w, r.account, address, a->targets);
	if (directory_reserve(w->store->directory, WRITER_GROUP_MAX) < 0)
		return ENOMEM;
	return alias_make(w, a, address);
}

void writer_alias_committed(struct writer *w, struct op *op)
{
	struct alias_op *a = container_of(op, struct alias_op, op);
	int err = directory_set(w->store->directory, a->address, a->alias,
		(uint16_t)w->store->shard, a->remove ? DIRECTORY_STATE_GONE : DIRECTORY_STATE_OK);

	BUG_ON(err); /* directory_reserve */
}

/* ---- domains ---- */

int writer_apply_domain(struct writer *w, struct op *op)
{
	struct domain_op *d = container_of(op, struct domain_op, op);
	char folded[ADDRESS_MAX];
	struct bytes name = bytes_make(folded, directory_fold(d->name, folded)), v;

	if (name.n < 2 || name.n > DOMAIN_MAX || memchr(folded, '@', name.n) ||
		memchr(folded, '\0', name.n)) {
		op->status = -EINVAL;
		return 0;
	}
	int rc = db_get(w->txn, w->db, DB_DOMAIN, name, &v);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if ((rc == 0) != d->remove) {
		op->status = d->remove ? -ENOENT : -EEXIST;
		return 0;
	}
	if (d->remove)
		return db_del(w->txn, w->db, DB_DOMAIN, name);
	if (directory_reserve(w->store->directory, WRITER_GROUP_MAX) < 0)
		return ENOMEM;
	return db_put(w->txn, w->db, DB_DOMAIN, name, BYTES_NONE);
}

void writer_domain_committed(struct writer *w, struct op *op)
{
	struct domain_op *d = container_of(op, struct domain_op, op);
	int err = directory_set_domain(w->store->directory, d->name, !d->remove);

	BUG_ON(err); /* directory_reserve */
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Aliases: who stands behind an address.  Writer thread. */
#include <errno.h>
#include "store/writer.h"

/* The row, from whatever shard has it. */
static int alias_row(
	struct writer *w, uint32_t alias, uint8_t out[ALIAS_ROW_MAX], struct bytes *row_r)
{
	unsigned shard = store_shard_of(w->store, alias);
	struct bytes v;
	struct key k;
	size_t n = 0;
	int rc;

	if (shard != w->store->shard) {
		rc = store_peek(w->store->shards[shard], DB_ALIAS, key_account(&k, alias), out,
			ALIAS_ROW_MAX, &n);
	} else {
		rc = db_get(w->txn, w->db, DB_ALIAS, key_account(&k, alias), &v);
		if (!rc && v.n > ALIAS_ROW_MAX)
			rc = EMSGSIZE;
		if (!rc)
			memcpy(out, v.p, v.n);
		n = rc ? 0 : v.n;
	}
	*row_r = bytes_make(out, n);
	return rc == EMSGSIZE ? MDB_CORRUPTED : rc;
}

int writer_alias_get(
	struct writer *w, uint32_t alias, uint8_t out[ALIAS_ROW_MAX], struct bytes *targets_r)
{
	struct bytes v;
	int rc = alias_row(w, alias, out, &v);

	if (rc)
		return rc;
	/* The first is the alias itself. */
	size_t own = strnlen((const char *)v.p, v.n);
	if (own == v.n || v.p[v.n - 1] != '\0')
		return MDB_CORRUPTED;
	*targets_r = bytes_skip(v, own + 1);
	return 0;
}

/* An address elsewhere, or one that is to bounce. */
static void add_address(struct writer_expansion *e, struct bytes address)
{
	ptrdiff_t at = bytes_rfind(address, '@');

	if (at < 0 || address.n > ADDRESS_MAX || e->remote_n == EXPANDED_MAX)
		return;
	for (uint32_t i = 0; i < e->remote_n; i++) {
		if (bytes_eq(bytes_make(e->remote[i].address, e->remote[i].n), address))
			return;
	}
	struct writer_target *t = &e->remote[e->remote_n++];
	t->rcpt = e->rcpt;
	t->alone = false;
	t->n = (uint16_t)address.n;
	t->domain_at = (uint16_t)(at + 1);
	memcpy(t->address, address.p, address.n);
}

static int add_account(struct writer *w, uint32_t account, uint64_t octets, struct bytes address)
{
	struct writer_expansion *e = w->expansion;
	struct acct a;
	int rc = writer_acct_get(w, account, &a);

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (rc || a.r.state != ACCT_OK || !writer_acct_has_room(w, &a, 1, octets))
		add_address(e, address);
	else if (e->account_n < ARRAY_LEN(e->accounts))
		e->accounts[e->account_n++] = account;
	return 0;
}

/* An account whose mailbox is in another shard: the directory has said what it knows. */
static int add_moved(struct writer *w, uint32_t account, struct bytes address)
{
	bool again;

	if (!writer_move_add(w, account, address, MOVED_BEHIND, &again))
		add_address(w->expansion, address);
	return 0;
}

static int expand(struct writer *w, uint32_t alias, uint64_t octets, unsigned depth);

static int target(struct writer *w, struct bytes address, uint64_t octets, unsigned depth)
{
	const struct directory *d = directory_public(w->store->directory);
	struct directory_entry entry;

	switch (d->lookup(d, address, &entry)) {
	case DIRECTORY_OK:
	case DIRECTORY_OVER_QUOTA:
		if (entry.account >= ALIAS_FIRST)
			return expand(w, entry.account, octets, depth + 1);
		if (writer_move_wanted(w, entry.account))
			return add_moved(w, entry.account, address);
		return add_account(w, entry.account, octets, address);
	default:
		add_address(w->expansion, address);
		return 0;
	}
}

/* Loops are refused when an alias is made; what was made before that is bounded here. */
static int expand(struct writer *w, uint32_t alias, uint64_t octets, unsigned depth)
{
	uint8_t row[ALIAS_ROW_MAX]; /* at most ALIAS_DEPTH_MAX + 1 of them: 290 kB of stack */
	struct bytes targets;

	if (depth > ALIAS_DEPTH_MAX)
		return 0;
	int rc = writer_alias_get(w, alias, row, &targets);
	if (rc)
		return rc == MDB_NOTFOUND && depth ? 0 : rc;
	for (size_t at = 0; at < targets.n;) {
		size_t n = strlen((const char *)targets.p + at);
		if (n > ADDRESS_MAX)
			return MDB_CORRUPTED;
		rc = target(w, bytes_make(targets.p + at, n), octets, depth);
		if (rc)
			return rc;
		at += n + 1;
	}
	return 0;
}

int writer_expand(struct writer *w, uint32_t alias, uint64_t octets)
{
	struct writer_expansion *e = w->expansion;
	uint32_t before = e->account_n + e->remote_n + e->moved_n;
	int rc = expand(w, alias, octets, 0);

	if (rc)
		return rc;
	/* What others of the message had added already counts as well. */
	return e->account_n + e->remote_n + e->moved_n == 0 && before == 0 ? MDB_NOTFOUND : 0;
}

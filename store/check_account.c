/* SPDX-License-Identifier: BSD-3-Clause
 * Accounts: addresses, totals over their mailboxes, and the numbers given out. */
#include <errno.h>
#include "dataplane/base/clock.h"
#include "store/check_priv.h"

static const char *account_name(uint32_t account, char out[64])
{
	snprintf(out, 64, "account %u", account);
	return out;
}

/* What an account's mailboxes add up to. */
struct sums {
	uint64_t modseq, messages, bytes;
	uint32_t boxes, box_max, uidvalidity_max, inbox;
};

static int sums_make(struct check *c, uint32_t account, struct sums *s)
{
	struct boxname_rec n;
	struct box_rec b;
	struct db_cursor cursor;
	struct bytes v;
	struct key k;
	int rc = db_cursor_open(c->txn, c->db, DB_BOX, &cursor);

	*s = (struct sums){0};
	if (rc)
		return rc;
	for (rc = db_cursor_seek(&cursor, key_box(&k, account, 0));
		!rc && key_get_u32(cursor.key, 0) == account; rc = db_cursor_next(&cursor)) {
		if (!rec_read(cursor.value, &b, sizeof(b)))
			continue;
		s->boxes++;
		s->messages += b.exists;
		s->bytes += b.bytes;
		s->modseq = MAX(s->modseq, b.highestmodseq);
		s->box_max = MAX(s->box_max, key_get_u32(cursor.key, 4));
		s->uidvalidity_max = MAX(s->uidvalidity_max, b.uidvalidity);
	}
	db_cursor_close(&cursor);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	rc = db_get(c->txn, c->db, DB_BOXNAME, key_boxname(&k, account, BYTES_LIT("INBOX")), &v);
	if (!rc && rec_read(v, &n, sizeof(n)))
		s->inbox = n.box;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int account_put(
	struct check *c, uint32_t account, const struct acct_rec *r, struct bytes address)
{
	uint8_t row[sizeof(*r) + ADDRESS_MAX];
	struct key k;

	memcpy(row, r, sizeof(*r));
	memcpy(row + sizeof(*r), address.p, address.n);
	return db_put(c->txn, c->db, DB_ACCT, key_account(&k, account),
		bytes_make(row, sizeof(*r) + address.n));
}

static int inbox_make(struct check *c, uint32_t account, struct acct_rec *r)
{
	static const char name[] = "INBOX";
	uint8_t row[sizeof(struct box_rec) + sizeof(name)];
	struct box_rec b = {.uidvalidity = r->next_uidvalidity++,
		.uidnext = 1,
		.name_n = sizeof(name) - 1,
		.highestmodseq = ++r->modseq};
	struct boxname_rec n = {.box = r->next_box++};
	struct key k;

	r->inbox = n.box;
	r->boxes++;
	memcpy(row, &b, sizeof(b));
	memcpy(row + sizeof(b), name, b.name_n);
	int rc = db_put(c->txn, c->db, DB_BOX, key_box(&k, account, n.box),
		bytes_make(row, sizeof(b) + b.name_n));
	return rc ? rc
		  : db_put(c->txn, c->db, DB_BOXNAME, key_boxname(&k, account, BYTES_LIT("INBOX")),
			    bytes_make(&n, sizeof(n)));
}

/* The record as the mailboxes say it must be; an INBOX is made when there is none. */
static int account_fix(struct check *c, uint32_t account, struct acct_rec *r, const struct sums *s,
	struct bytes address)
{
	int rc = 0;

	r->modseq = MAX(r->modseq, s->modseq);
	r->messages = s->messages;
	r->bytes = s->bytes;
	r->boxes = s->boxes;
	r->next_box = MAX(r->next_box, s->box_max + 1);
	r->next_uidvalidity = MAX(r->next_uidvalidity, s->uidvalidity_max + 1);
	r->inbox = s->inbox;
	r->address_n = (uint16_t)address.n;
	if (!r->inbox)
		rc = inbox_make(c, account, r);
	return rc ? rc : account_put(c, account, r, address);
}

static bool account_read(struct bytes v, struct acct_rec *r)
{
	return rec_read(v, r, sizeof(*r)) && r->address_n <= ADDRESS_MAX && r->address_n > 0 &&
	       v.n == sizeof(*r) + r->address_n;
}

/* ---- addresses ---- */

/* An address whose account row is gone or not its own. */
static int account_rebuild(struct check *c, uint32_t account, struct bytes address)
{
	/* From the clock, as for a new account, if no mailbox is left to tell. */
	struct acct_rec r = {
		.next_box = 1, .next_uidvalidity = (uint32_t)(clock_wall_ms() / MS_PER_SEC)};
	struct sums s;
	int rc = sums_make(c, account, &s);

	return rc ? rc : account_fix(c, account, &r, &s, address);
}

/* The row of an alias: its address, then its targets, each with a NUL. */
static bool alias_read(struct bytes v, struct bytes *address_r)
{
	size_t n = strnlen((const char *)v.p, v.n);

	*address_r = bytes_make(v.p, n);
	return n > 0 && n + 1 < v.n && v.p[v.n - 1] == '\0';
}

static int alias_look(struct check *c, const struct key *name, uint32_t alias)
{
	struct bytes v, address;
	struct key k;
	char text[64];
	int rc = db_get(c->txn, c->db, DB_ALIAS, key_account(&k, alias), &v);

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (!rc && alias_read(v, &address) && bytes_eq(address, key_view(name)))
		return 0;
	/* Whom it stood for is written nowhere else. */
	if (check_problem(c, "alias-targets", true, true, account_name(alias, text),
		    "nobody behind %.*s", (int)MIN(name->n, (uint16_t)100), (const char *)name->p))
		return db_del(c->txn, c->db, DB_ACCTNAME, key_view(name));
	return 0;
}

int check_step_alias(struct check *c)
{
	struct acctname_rec n;
	struct bytes v, address, nv;
	struct key k;
	char text[64];
	int rc = check_next(c, DB_ALIAS, &k, &v);

	if (rc)
		return rc;
	if (k.n != 4)
		return EIO;
	uint32_t alias = key_get_u32(key_view(&k), 0);
	if (alias_read(v, &address)) {
		rc = db_get(c->txn, c->db, DB_ACCTNAME, address, &nv);
		if (rc == 0 && rec_read(nv, &n, sizeof(n)) && n.state == ACCT_ALIAS &&
			n.account == alias)
			return 0;
		if (rc && rc != MDB_NOTFOUND)
			return rc;
	}
	if (!check_problem(c, "alias-orphan", true, false, account_name(alias, text),
		    "targets of an address that is not there"))
		return 0;
	return db_del(c->txn, c->db, DB_ALIAS, key_view(&k));
}

int check_step_name(struct check *c)
{
	struct acctname_rec n;
	struct acct_rec r;
	char name[64];
	struct bytes v;
	struct key k, a;
	int rc = check_next(c, DB_ACCTNAME, &k, &v);

	if (rc)
		return rc;
	bool readable =
		rec_read(v, &n, sizeof(n)) && n.account && v.n == sizeof(n) + n.hash_n + n.scram_n;
	if (!readable) {
		/* The account comes back under its address, without a password. */
		if (check_problem(c, "address-row", true, true, "address", "%.*s cannot be read",
			    (int)MIN(k.n, (uint16_t)100), (const char *)k.p))
			return db_del(c->txn, c->db, DB_ACCTNAME, key_view(&k));
		return 0;
	}
	if (n.state == ACCT_ALIAS)
		return alias_look(c, &k, n.account);
	rc = db_get(c->txn, c->db, DB_ACCT, key_account(&a, n.account), &v);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	bool fits = !rc && account_read(v, &r) && bytes_eq(bytes_skip(v, sizeof(r)), key_view(&k));
	if (fits || !check_problem(c, "account-row", true, false, account_name(n.account, name),
			    "no row for %.*s", (int)MIN(k.n, (uint16_t)100), (const char *)k.p))
		return 0;
	return account_rebuild(c, n.account, key_view(&k));
}

/* ---- totals ---- */

static int address_give(struct check *c, uint32_t account, struct bytes address)
{
	struct acctname_rec n = {.account = account};
	uint8_t copy[ADDRESS_MAX];

	memcpy(copy, address.p, address.n);
	return db_put(
		c->txn, c->db, DB_ACCTNAME, bytes_make(copy, address.n), bytes_make(&n, sizeof(n)));
}

static bool totals_fit(const struct acct_rec *r, const struct sums *s)
{
	return r->modseq >= s->modseq && r->messages == s->messages && r->bytes == s->bytes &&
	       r->boxes == s->boxes && r->next_box > s->box_max &&
	       r->next_uidvalidity > s->uidvalidity_max && r->inbox && r->inbox == s->inbox;
}

int check_step_account(struct check *c)
{
	uint8_t address[ADDRESS_MAX];
	char name[64];
	struct acct_rec r;
	struct sums s;
	struct bytes v;
	struct key k;
	int rc = check_next(c, DB_ACCT, &k, &v);

	if (rc)
		return rc;
	if (k.n != 4)
		return EIO;
	uint32_t account = key_get_u32(key_view(&k), 0);
	if (!account_read(v, &r)) {
		/* One with an address has been made anew; nobody can reach this one. */
		if (check_problem(c, "account-row", true, true, account_name(account, name),
			    "the row cannot be read"))
			return db_del(c->txn, c->db, DB_ACCT, key_view(&k));
		return 0;
	}
	c->totals.accounts++;
	struct bytes own = bytes_make(address, r.address_n);
	memcpy(address, v.p + sizeof(r), r.address_n);
	if (!check_has(c, DB_ACCTNAME, own, &rc) && !rc &&
		check_problem(c, "account-address", true, true, account_name(account, name),
			"%.*s is not in the list of addresses: its password is lost",
			(int)MIN(own.n, (size_t)60), (const char *)own.p))
		rc = address_give(c, account, own);
	if (!rc)
		rc = sums_make(c, account, &s);
	if (rc || totals_fit(&r, &s))
		return rc;
	if (!check_problem(c, "account-totals", true, false, account_name(account, name),
		    "%llu messages, %llu octets, found %llu, %llu", (unsigned long long)r.messages,
		    (unsigned long long)r.bytes, (unsigned long long)s.messages,
		    (unsigned long long)s.bytes))
		return 0;
	return account_fix(c, account, &r, &s, own);
}

/* ---- numbers given out ---- */

static int highest(struct check *c, enum db_id id, uint64_t *n)
{
	struct db_cursor cursor;
	int rc = db_cursor_open(c->txn, c->db, id, &cursor);

	if (rc)
		return rc;
	rc = db_cursor_last(&cursor);
	if (!rc && cursor.key.n >= 8)
		*n = MAX(*n, key_get_u64(cursor.key, 0));
	else if (!rc && cursor.key.n == 4)
		*n = MAX(*n, (uint64_t)key_get_u32(cursor.key, 0));
	db_cursor_close(&cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int number_look(struct check *c, const char *meta, uint64_t least)
{
	uint64_t have;
	int rc = db_meta_get(c->txn, c->db, meta, &have);

	if (rc || have >= least)
		return rc;
	if (!check_problem(c, "number-behind", true, false, meta, "%llu, must be %llu at least",
		    (unsigned long long)have, (unsigned long long)least))
		return 0;
	return db_meta_put(c->txn, c->db, meta, least);
}

int check_step_meta(struct check *c)
{
	uint64_t id = 0, account = 0;
	int rc = highest(c, DB_BLOB, &id);

	if (!rc)
		rc = highest(c, DB_INCOMING, &id);
	if (!rc)
		rc = highest(c, DB_ACCT, &account);
	if (!rc)
		rc = number_look(c, "last_id", id);
	if (!rc && account)
		rc = number_look(c, "next_account", account + 1);
	return rc ? rc : MDB_NOTFOUND;
}

/* Every page of the file belongs to a tree or to the list of free ones. */
int check_step_pages(struct check *c)
{
	uint64_t used, file;

	/* LMDB shows its list of free pages to read transactions only. */
	if (c->conf.repair)
		return MDB_NOTFOUND;
	int rc = db_pages(c->txn, c->db, &used, &file);

	if (rc)
		return rc;
	if (file && used != file)
		check_problem(c, "pages", false, false, "file",
			"%llu pages, found %llu; store compact brings them back",
			(unsigned long long)file, (unsigned long long)used);
	return MDB_NOTFOUND;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Accounts, aliases and domains as operators see them.  Reader threads. */
#include <errno.h>
#include "store/reader.h"

/* ---- accounts ---- */

static int account_line(struct chain *out, struct bytes key, struct bytes value)
{
	struct json_line j = {.out = out};
	struct acct_rec a;

	if (!rec_read(value, &a, sizeof(a)) || value.n != sizeof(a) + a.address_n)
		return EIO;
	json_raw(&j, "{");
	json_u64(&j, "account", key_get_u32(key, 0));
	json_raw(&j, ",");
	json_text(&j, "address", bytes_skip(value, sizeof(a)));
	json_raw(&j, ",");
	json_u64(&j, "messages", a.messages);
	json_raw(&j, ",");
	json_u64(&j, "bytes", a.bytes);
	json_raw(&j, ",");
	/* The account's own; 0: the configuration's, the highest number: none. */
	json_u64(&j, "quota_bytes", MIN(a.quota_bytes, (uint64_t)INT64_MAX));
	json_raw(&j, ",");
	json_u64(&j, "quota_messages", a.quota_messages);
	json_raw(&j, a.state == ACCT_DISABLED ? ",\"disabled\":true}\n" : ",\"disabled\":false}\n");
	return j.err;
}

static int accounts_scan(struct reader *r, struct accounts_list_op *op, struct db_cursor *c)
{
	struct key k;
	int rc = db_cursor_seek(c, key_account(&k, op->from_account));

	for (; !rc; rc = db_cursor_next(c)) {
		struct chain_mark mark = chain_mark_get(&op->out);
		rc = account_line(&op->out, c->key, c->value);
		if (rc) {
			chain_rollback(&op->out, &mark);
			return rc == ENOBUFS && op->out.bytes ? 0 : rc;
		}
		op->from_account = key_get_u32(c->key, 0) + 1;
		if (reader_slice_over(r, op->out.bytes))
			return 0;
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_accounts(struct reader *r, struct op *o)
{
	struct accounts_list_op *op = container_of(o, struct accounts_list_op, op);
	struct db_cursor c;

	op->out = (struct chain){0};
	op->end = false;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_ACCT, &c);
	if (rc)
		return rc;
	rc = accounts_scan(r, op, &c);
	db_cursor_close(&c);
	if (rc)
		chain_free(&op->out);
	return rc;
}

/* ---- aliases and domains: by name, from the one given last ---- */

static int alias_line(struct reader *r, struct chain *out, struct bytes address, struct bytes value)
{
	struct json_line j = {.out = out};
	struct acctname_rec a;
	struct bytes v;
	struct key k;

	if (!rec_read(value, &a, sizeof(a)))
		return EIO;
	if (a.state != ACCT_ALIAS)
		return 0;
	int rc = db_get(r->txn, &r->store->db, DB_ALIAS, key_account(&k, a.account), &v);
	if (rc || v.n == 0 || v.p[v.n - 1] != '\0')
		return rc == MDB_NOTFOUND || !rc ? EIO : rc;
	json_raw(&j, "{");
	json_text(&j, "alias", address);
	json_raw(&j, ",\"targets\":\"");
	for (size_t at = strlen((const char *)v.p) + 1; at < v.n;) {
		const char *target = (const char *)v.p + at;
		json_escaped(&j, bytes_str(target));
		at += strlen(target) + 1;
		json_raw(&j, at < v.n ? " " : "\"}\n");
	}
	return j.err;
}

static int domain_line(struct reader *r, struct chain *out, struct bytes name, struct bytes value)
{
	struct json_line j = {.out = out};

	(void)r;
	(void)value;
	json_raw(&j, "{");
	json_text(&j, "domain", name);
	json_raw(&j, "}\n");
	return j.err;
}

static int names_list(struct reader *r, struct op *o, enum db_id id,
	int (*line)(struct reader *r, struct chain *out, struct bytes name, struct bytes value))
{
	struct names_list_op *op = container_of(o, struct names_list_op, op);
	struct db_cursor c;
	int rc = db_cursor_open(r->txn, &r->store->db, id, &c);

	op->out = (struct chain){0};
	op->end = false;
	if (rc)
		return rc;
	/* The key behind one is itself with an octet more. */
	rc = db_cursor_seek(&c, bytes_make(op->from, strlen(op->from) + 1));
	for (; !rc; rc = db_cursor_next(&c)) {
		struct chain_mark mark = chain_mark_get(&op->out);
		rc = c.key.n < sizeof(op->from) ? line(r, &op->out, c.key, c.value) : EIO;
		if (rc) {
			chain_rollback(&op->out, &mark);
			break;
		}
		memcpy(op->from, c.key.p, c.key.n);
		op->from[c.key.n] = '\0';
		if (reader_slice_over(r, op->out.bytes))
			break;
	}
	db_cursor_close(&c);
	op->end = rc == MDB_NOTFOUND;
	if (rc == ENOBUFS && op->out.bytes)
		rc = 0;
	if (rc && rc != MDB_NOTFOUND)
		chain_free(&op->out);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_aliases(struct reader *r, struct op *o)
{
	return names_list(r, o, DB_ACCTNAME, alias_line);
}

int reader_domains(struct reader *r, struct op *o)
{
	return names_list(r, o, DB_DOMAIN, domain_line);
}

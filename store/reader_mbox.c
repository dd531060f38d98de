/* SPDX-License-Identifier: BSD-3-Clause
 * Mailboxes and accounts as readers see them.  Reader threads. */
#include <errno.h>
#include <stdlib.h>
#include "store/reader.h"

#define TIME_CHECK_ROWS 256 /* rows between two looks at the clock */

/* ---- mailbox state ---- */

static int box_state(struct reader *r, uint32_t account, uint32_t box, struct mbox_state *s,
	struct bytes *keywords_r)
{
	struct box_rec b;
	struct key k;
	struct bytes v;
	int rc = db_get(r->txn, &r->store->db, DB_BOX, key_box(&k, account, box), &v);

	if (rc)
		return rc;
	if (!rec_read(v, &b, sizeof(b)) || v.n != sizeof(b) + b.name_n + b.keywords_n)
		return EIO;
	*s = (struct mbox_state){.box = box,
		.uidvalidity = b.uidvalidity,
		.uidnext = b.uidnext,
		.exists = b.exists,
		.unseen = b.unseen,
		.deleted = b.deleted,
		.highestmodseq = b.highestmodseq,
		.bytes = b.bytes,
		.gone_floor = b.gone_floor,
		.special = b.special};
	*keywords_r = bytes_skip(v, sizeof(b) + b.name_n);
	return 0;
}

static uint64_t shown_limit(uint64_t limit)
{
	return limit == UINT64_MAX ? 0 : limit;
}

int reader_quota(struct reader *r, struct op *o)
{
	struct quota_read_op *op = container_of(o, struct quota_read_op, op);
	struct acct_rec a;
	struct bytes v;
	struct key k;
	int rc = db_get(r->txn, &r->store->db, DB_ACCT, key_account(&k, op->account), &v);

	if (rc)
		return rc;
	if (!rec_read(v, &a, sizeof(a)))
		return EIO;
	op->bytes = a.bytes;
	op->messages = a.messages;
	op->bytes_max = shown_limit(quota_bytes_of(&r->store->conf, &a));
	op->messages_max = shown_limit(quota_messages_of(&r->store->conf, &a));
	return 0;
}

int reader_mbox_open(struct reader *r, struct op *o)
{
	struct mbox_read_op *op = container_of(o, struct mbox_read_op, op);
	struct bytes name = mbox_name_canonical(op->name), v, keywords;
	struct boxname_rec b;
	struct key k;

	op->out = (struct chain){0};
	op->end = true;
	if (name.n == 0 || name.n > MBOX_NAME_MAX)
		return MDB_NOTFOUND;
	int rc = db_get(r->txn, &r->store->db, DB_BOXNAME, key_boxname(&k, op->account, name), &v);
	if (rc)
		return rc;
	if (!rec_read(v, &b, sizeof(b)))
		return EIO;
	op->box = b.box;
	rc = box_state(r, op->account, b.box, &op->state, &keywords);
	if (rc)
		return rc == MDB_NOTFOUND ? EIO : rc;
	return keywords.n && chain_append(&op->out, keywords) < 0 ? ENOBUFS : 0;
}

/* ---- rows ---- */

static bool row_wanted(const struct mbox_row *row, const struct mbox_read_op *op)
{
	return row->modseq > op->since_modseq;
}

/* Every row from from_uid on. */
static int rows_scan(struct reader *r, struct mbox_read_op *op, struct db_cursor *c)
{
	struct key k;
	uint32_t found = 0, looked = 0;
	int rc = db_cursor_seek(c, key_msg(&k, op->account, op->box, op->from_uid));

	for (; !rc && found < op->max_rows; rc = db_cursor_next(c)) {
		struct mbox_row row;
		if (memcmp(c->key.p, k.p, 8) != 0) {
			rc = MDB_NOTFOUND;
			break;
		}
		if (!rec_read(c->value, &row, sizeof(row)))
			return EIO;
		if (row_wanted(&row, op)) {
			rc = reader_record(&op->out, &row, sizeof(row));
			if (rc)
				return rc == ENOBUFS && found > 0 ? 0 : rc;
			found++;
		}
		if (row.uid == UINT32_MAX) {
			rc = MDB_NOTFOUND;
			break;
		}
		op->from_uid = row.uid + 1;
		if (++looked % TIME_CHECK_ROWS == 0 && reader_slice_over(r, op->out.bytes))
			return 0;
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int uid_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* UIDs changed since, into r->uids; *count_r READER_CHANGES_MAX + 1: too many to be worth it. */
static int changes_find(struct reader *r, const struct mbox_read_op *op, uint32_t *count_r)
{
	struct db_cursor c;
	struct key k;
	uint32_t looked = 0;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_MOD, &c);

	*count_r = 0;
	if (rc)
		return rc;
	rc = db_cursor_seek(&c, key_mod(&k, op->account, op->box, op->since_modseq + 1, 0));
	for (; !rc && memcmp(c.key.p, k.p, 8) == 0; rc = db_cursor_next(&c)) {
		uint32_t uid = key_get_u32(c.key, 16);
		if (++looked > READER_CHANGES_MAX) {
			*count_r = looked;
			break;
		}
		if (uid >= op->from_uid)
			r->uids[(*count_r)++] = uid;
	}
	db_cursor_close(&c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The few rows that changed, by UID. */
static int rows_changed(struct reader *r, struct mbox_read_op *op, uint32_t count)
{
	uint32_t i;

	qsort(r->uids, count, sizeof(*r->uids), uid_compare);
	for (i = 0; i < count && i < op->max_rows; i++) {
		struct mbox_row row;
		struct key k;
		struct bytes v;
		int rc = db_get(r->txn, &r->store->db, DB_MSG,
			key_msg(&k, op->account, op->box, r->uids[i]), &v);
		if (rc || !rec_read(v, &row, sizeof(row)))
			return EIO; /* mod and msg are one to one */
		rc = reader_record(&op->out, &row, sizeof(row));
		if (rc && (rc != ENOBUFS || i == 0))
			return rc;
		if (rc)
			break;
		op->from_uid = row.uid + 1;
	}
	op->end = i == count;
	return 0;
}

static int rows_read(struct reader *r, struct mbox_read_op *op)
{
	struct db_cursor c;
	uint32_t count;

	if (op->since_modseq && op->since_modseq < UINT64_MAX) {
		int rc = changes_find(r, op, &count);
		if (rc || count <= READER_CHANGES_MAX)
			return rc ? rc : rows_changed(r, op, count);
	}
	int rc = db_cursor_open(r->txn, &r->store->db, DB_MSG, &c);
	if (rc)
		return rc;
	rc = rows_scan(r, op, &c);
	db_cursor_close(&c);
	return rc;
}

int reader_mbox_rows(struct reader *r, struct op *o)
{
	struct mbox_read_op *op = container_of(o, struct mbox_read_op, op);
	struct bytes keywords;

	op->out = (struct chain){0};
	op->end = false;
	int rc = box_state(r, op->account, op->box, &op->state, &keywords);
	if (!rc)
		rc = rows_read(r, op);
	if (rc)
		chain_free(&op->out);
	return rc;
}

/* ---- names ---- */

static int name_record(
	struct chain *out, struct bytes name, const struct boxname_rec *b, uint8_t special)
{
	uint8_t record[4 + MBOX_NAME_MAX + 4] = {0};
	uint16_t n = (uint16_t)name.n;

	memcpy(record, &n, sizeof(n));
	record[2] = b->subscribed;
	record[3] = special;
	memcpy(record + 4, name.p, name.n);
	return reader_record(out, record, (4 + name.n + 3) & ~3ull);
}

static int names_scan(struct reader *r, struct mbox_list_op *op, struct db_cursor *c)
{
	struct key k;
	uint32_t n = 0;
	int rc = db_cursor_seek(c, key_boxname(&k, op->account, op->from));

	if (!rc && op->from.n && bytes_eq(c->key, key_view(&k)))
		rc = db_cursor_next(c);
	for (; !rc; rc = db_cursor_next(c)) {
		struct boxname_rec b;
		struct bytes name = bytes_skip(c->key, 4);
		if (key_get_u32(c->key, 0) != op->account)
			break;
		if (!rec_read(c->value, &b, sizeof(b)) || name.n > MBOX_NAME_MAX)
			return EIO;
		struct mbox_state state;
		struct bytes keywords;
		rc = box_state(r, op->account, b.box, &state, &keywords);
		if (rc)
			return rc == MDB_NOTFOUND ? EIO : rc;
		rc = name_record(&op->out, name, &b, state.special);
		if (rc)
			return rc == ENOBUFS && n > 0 ? 0 : rc;
		if (++n % TIME_CHECK_ROWS == 0 && reader_slice_over(r, op->out.bytes))
			return 0;
	}
	op->end = !rc || rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_mbox_list(struct reader *r, struct op *o)
{
	struct mbox_list_op *op = container_of(o, struct mbox_list_op, op);
	struct db_cursor c;

	op->out = (struct chain){0};
	op->end = false;
	if (op->from.n > MBOX_NAME_MAX)
		return EINVAL;
	int rc = db_cursor_open(r->txn, &r->store->db, DB_BOXNAME, &c);
	if (rc)
		return rc;
	rc = names_scan(r, op, &c);
	db_cursor_close(&c);
	if (rc)
		chain_free(&op->out);
	return rc;
}

/* ---- accounts ---- */

int reader_credentials(struct reader *r, struct op *o)
{
	struct credentials_op *op = container_of(o, struct credentials_op, op);
	char folded[ADDRESS_MAX];
	struct acctname_rec a;
	struct bytes v;

	op->account = op->hash_n = 0;
	op->has_scram = false;
	op->hash[0] = '\0';
	size_t n = directory_fold(op->address, folded);
	if (n == 0)
		return MDB_NOTFOUND;
	int rc = db_get(r->txn, &r->store->db, DB_ACCTNAME, bytes_make(folded, n), &v);
	if (rc)
		return rc;
	if (!rec_read(v, &a, sizeof(a)) || v.n != sizeof(a) + a.hash_n + a.scram_n ||
		a.hash_n >= PASSWORD_HASH_MAX || (a.scram_n && a.scram_n != sizeof(op->scram)))
		return EIO;
	if (a.state != ACCT_OK)
		return MDB_NOTFOUND;
	op->account = a.account;
	op->hash_n = a.hash_n;
	memcpy(op->hash, v.p + sizeof(a), a.hash_n);
	op->hash[a.hash_n] = '\0';
	op->has_scram = a.scram_n;
	if (op->has_scram)
		memcpy(&op->scram, v.p + sizeof(a) + a.hash_n, sizeof(op->scram));
	return 0;
}

/* ---- what vanished ---- */

static int gone_scan(struct reader *r, struct mbox_gone_op *op, struct db_cursor *c)
{
	struct key k;
	uint32_t looked = 0;
	int rc = db_cursor_seek(c, key_mod(&k, op->account, op->box,
					   op->since_modseq + !op->since_uid, op->since_uid));

	for (; !rc; rc = db_cursor_next(c)) {
		struct mbox_gone g;
		if (memcmp(c->key.p, k.p, 8) != 0) {
			rc = MDB_NOTFOUND;
			break;
		}
		if (!rec_read(c->value, &g.last, sizeof(g.last)))
			return EIO;
		g.modseq = key_get_u64(c->key, 8);
		g.first = key_get_u32(c->key, 16);
		rc = reader_record(&op->out, &g, sizeof(g));
		if (rc)
			return rc == ENOBUFS && looked ? 0 : rc;
		op->since_modseq = g.modseq;
		op->since_uid = g.first + 1;
		if (++looked % TIME_CHECK_ROWS == 0 && reader_slice_over(r, op->out.bytes))
			return 0;
	}
	op->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int reader_mbox_gone(struct reader *r, struct op *o)
{
	struct mbox_gone_op *op = container_of(o, struct mbox_gone_op, op);
	struct mbox_state state = {0};
	struct bytes keywords;
	struct db_cursor c;

	op->out = (struct chain){0};
	op->end = false;
	int rc = box_state(r, op->account, op->box, &state, &keywords);
	op->gone_floor = state.gone_floor;
	if (!rc)
		rc = db_cursor_open(r->txn, &r->store->db, DB_GONE, &c);
	if (rc)
		return rc;
	rc = gone_scan(r, op, &c);
	db_cursor_close(&c);
	if (rc)
		chain_free(&op->out);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of accounts, mailboxes and messages, and their counts: whatever adds or removes a message
 * goes through here, so counts and rows cannot part.  Writer thread. */
#include <errno.h>
#include "store/writer.h"

int writer_acct_get(struct writer *w, uint32_t account, struct acct *a)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_ACCT, key_account(&k, account), &v);

	if (rc)
		return rc;
	if (!rec_read(v, &a->r, sizeof(a->r)) || a->r.address_n > ADDRESS_MAX ||
		v.n != sizeof(a->r) + a->r.address_n)
		return MDB_CORRUPTED;
	a->account = account;
	memcpy(a->address, v.p + sizeof(a->r), a->r.address_n);
	return 0;
}

bool writer_acct_has_room(
	const struct writer *w, const struct acct *a, uint64_t messages, uint64_t octets)
{
	const struct store_conf *conf = &w->store->conf;
	uint64_t bytes_max = quota_bytes_of(conf, &a->r);
	uint64_t messages_max = quota_messages_of(conf, &a->r);

	return a->r.bytes <= bytes_max && octets <= bytes_max - a->r.bytes &&
	       a->r.messages <= messages_max && messages <= messages_max - a->r.messages;
}

/* The directory answers RCPT from memory: it learns who is full, and who no longer. */
static void quota_note(struct writer *w, struct acct *a)
{
	bool over = quota_is_over(&w->store->conf, &a->r);

	if (over == a->r.over || w->effects->quota_count == QUOTA_CHANGES_MAX)
		return;
	struct quota_change *c = &w->effects->quota[w->effects->quota_count++];
	*c = (struct quota_change){.account = a->account, .over = over, .n = a->r.address_n};
	memcpy(c->address, a->address, a->r.address_n);
	a->r.over = over;
}

int writer_acct_put(struct writer *w, struct acct *a)
{
	uint8_t row[sizeof(a->r) + ADDRESS_MAX];
	struct key k;

	if (a->r.state == ACCT_OK)
		quota_note(w, a);
	memcpy(row, &a->r, sizeof(a->r));
	memcpy(row + sizeof(a->r), a->address, a->r.address_n);
	return db_put(w->txn, w->db, DB_ACCT, key_account(&k, a->account),
		bytes_make(row, sizeof(a->r) + a->r.address_n));
}

int writer_box_get(struct writer *w, uint32_t account, uint32_t box, struct box *b)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_BOX, key_box(&k, account, box), &v);

	if (rc)
		return rc;
	if (!rec_read(v, &b->r, sizeof(b->r)) || b->r.name_n > MBOX_NAME_MAX ||
		b->r.keywords_n > KEYWORDS_BYTES ||
		v.n != sizeof(b->r) + b->r.name_n + b->r.keywords_n)
		return MDB_CORRUPTED;
	b->account = account;
	b->box = box;
	memcpy(b->name, v.p + sizeof(b->r), b->r.name_n);
	memcpy(b->keywords, v.p + sizeof(b->r) + b->r.name_n, b->r.keywords_n);
	return 0;
}

int writer_box_put(struct writer *w, const struct box *b)
{
	uint8_t row[sizeof(b->r) + MBOX_NAME_MAX + KEYWORDS_BYTES];
	struct key k;
	size_t n = sizeof(b->r);

	memcpy(row, &b->r, n);
	memcpy(row + n, b->name, b->r.name_n);
	n += b->r.name_n;
	memcpy(row + n, b->keywords, b->r.keywords_n);
	n += b->r.keywords_n;
	return db_put(w->txn, w->db, DB_BOX, key_box(&k, b->account, b->box), bytes_make(row, n));
}

int writer_box_find(struct writer *w, uint32_t account, struct bytes name, struct box *b)
{
	struct boxname_rec r;
	struct key k;
	struct bytes v;

	name = mbox_name_canonical(name);
	if (name.n == 0 || name.n > MBOX_NAME_MAX)
		return MDB_NOTFOUND;
	int rc = db_get(w->txn, w->db, DB_BOXNAME, key_boxname(&k, account, name), &v);
	if (rc)
		return rc;
	if (!rec_read(v, &r, sizeof(r)))
		return MDB_CORRUPTED;
	rc = writer_box_get(w, account, r.box, b);
	return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

int writer_box_create(struct writer *w, struct acct *a, struct bytes name, struct box *b)
{
	struct boxname_rec r = {.box = a->r.next_box++};
	struct key k;

	*b = (struct box){.account = a->account, .box = r.box};
	/* Ever-increasing over the account: a name never meets an old UIDVALIDITY again. */
	b->r.uidvalidity = a->r.next_uidvalidity++;
	b->r.uidnext = 1;
	b->r.highestmodseq = ++a->r.modseq;
	b->r.name_n = (uint16_t)name.n;
	memcpy(b->name, name.p, name.n);
	a->r.boxes++;
	int rc = db_put(w->txn, w->db, DB_BOXNAME, key_boxname(&k, a->account, name),
		bytes_make(&r, sizeof(r)));
	if (!rc)
		rc = writer_box_put(w, b);
	return rc ? rc : writer_acct_put(w, a);
}

int writer_box_add(struct writer *w, struct acct *a, struct box *b, struct mbox_row *row)
{
	struct key k;

	if (b->r.uidnext == UINT32_MAX)
		return EOVERFLOW;
	row->uid = b->r.uidnext++;
	row->modseq = b->r.highestmodseq = a->r.modseq;
	b->r.exists++;
	b->r.unseen += !(row->flags & MSG_SEEN);
	b->r.deleted += !!(row->flags & MSG_DELETED);
	b->r.bytes += row->size;
	a->r.messages++;
	a->r.bytes += row->size;
	int rc = db_put(w->txn, w->db, DB_MSG, key_msg(&k, b->account, b->box, row->uid),
		bytes_make(row, sizeof(*row)));
	if (rc)
		return rc;
	return db_put(w->txn, w->db, DB_MOD, key_mod(&k, b->account, b->box, row->modseq, row->uid),
		BYTES_NONE);
}

/* The oldest row of the log goes; what it said is below the floor now. */
static int gone_forget(struct writer *w, struct box *b)
{
	struct key from, k;
	struct bytes v;
	int rc = writer_first_row(w, DB_GONE, key_mod(&from, b->account, b->box, 0, 0), 8, &k, &v);

	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	b->r.gone_floor = MAX(b->r.gone_floor, key_get_u64(key_view(&k), 8));
	b->r.gone--;
	return db_del(w->txn, w->db, DB_GONE, key_view(&k));
}

int writer_box_gone(struct writer *w, struct box *b, uint64_t modseq, uint32_t first, uint32_t last)
{
	struct key k;
	int rc = db_put(w->txn, w->db, DB_GONE, key_mod(&k, b->account, b->box, modseq, first),
		bytes_make(&last, sizeof(last)));

	b->r.gone++;
	return rc || b->r.gone <= GONE_ROWS_MAX ? rc : gone_forget(w, b);
}

int writer_box_remove(struct writer *w, struct acct *a, struct box *b, const struct mbox_row *row)
{
	struct key k;
	int rc = db_del(w->txn, w->db, DB_MSG, key_msg(&k, b->account, b->box, row->uid));

	if (!rc)
		rc = db_del(w->txn, w->db, DB_MOD,
			key_mod(&k, b->account, b->box, row->modseq, row->uid));
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	b->r.exists--;
	b->r.unseen -= !(row->flags & MSG_SEEN);
	b->r.deleted -= !!(row->flags & MSG_DELETED);
	b->r.bytes -= row->size;
	a->r.messages--;
	a->r.bytes -= row->size;
	return 0;
}

int writer_msg_get(
	struct writer *w, uint32_t account, uint32_t box, uint32_t uid, struct mbox_row *row)
{
	struct key k;
	struct bytes v;
	int rc = db_get(w->txn, w->db, DB_MSG, key_msg(&k, account, box, uid), &v);

	if (!rc && !rec_read(v, row, sizeof(*row)))
		return MDB_CORRUPTED;
	return rc;
}

/* ---- keywords ---- */

/* Bit of a keyword, added while there is a bit left; 0: none. */
static uint32_t keyword_bit(struct box *b, struct bytes name)
{
	unsigned bit = 0;

	if (name.n == 0 || name.n > KEYWORD_MAX)
		return 0;
	for (size_t at = 0; at < b->r.keywords_n; bit++) {
		struct bytes have = bytes_make(
			b->keywords + at, strnlen((char *)b->keywords + at, b->r.keywords_n - at));
		if (bytes_ieq(have, name)) /* RFC 3501 2.3.2: case-insensitive */
			return bit < MBOX_KEYWORDS_MAX ? 1u << bit : 0;
		at += have.n + 1;
	}
	if (bit >= MBOX_KEYWORDS_MAX)
		return 0;
	memcpy(b->keywords + b->r.keywords_n, name.p, name.n);
	b->keywords[b->r.keywords_n + name.n] = '\0';
	b->r.keywords_n = (uint16_t)(b->r.keywords_n + name.n + 1);
	return 1u << bit;
}

uint32_t writer_box_keywords(struct box *b, const struct chain *names)
{
	uint8_t word[KEYWORD_MAX];
	size_t n = 0;
	uint32_t bits = 0;

	for (const struct chunk *c = names->head; c; c = c->next) {
		for (uint32_t i = 0; i < c->n; i++) {
			if (c->data[i] == '\0') {
				bits |= n <= KEYWORD_MAX ? keyword_bit(b, bytes_make(word, n)) : 0;
				n = 0;
				continue;
			}
			if (n < KEYWORD_MAX)
				word[n] = c->data[i];
			n++;
		}
	}
	return bits;
}

uint32_t writer_box_keywords_map(const struct box *from, struct box *to, uint32_t mask)
{
	uint32_t bits = 0;
	unsigned bit = 0;

	for (size_t at = 0; at < from->r.keywords_n && mask; bit++) {
		size_t n = strnlen((const char *)from->keywords + at, from->r.keywords_n - at);
		if (mask & 1u << bit)
			bits |= keyword_bit(to, bytes_make(from->keywords + at, n));
		mask &= ~(1u << bit);
		at += n + 1;
	}
	return bits;
}

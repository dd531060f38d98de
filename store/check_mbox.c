/* SPDX-License-Identifier: BSD-3-Clause
 * Mailboxes: names, messages, modseqs, and the counts in their rows. */
#include <errno.h>
#include "store/check_priv.h"

#define MESSAGES_PER_STEP 64
#define TRIES_MAX         3 /* live: a mailbox that changes while it is counted */

static const char *box_name(uint32_t account, uint32_t box, char out[64])
{
	snprintf(out, 64, "account %u mailbox %u", account, box);
	return out;
}

static bool box_read(struct bytes v, struct box_rec *r)
{
	return rec_read(v, r, sizeof(*r)) && r->name_n <= MBOX_NAME_MAX && r->name_n > 0 &&
	       r->keywords_n <= KEYWORDS_BYTES && v.n == sizeof(*r) + r->name_n + r->keywords_n;
}

static bool is_garbage(struct check *c, uint32_t account, uint32_t box, int *rc_r)
{
	struct key k;

	return check_has(c, DB_GC, key_gc(&k, GC_BOX, account, box), rc_r);
}

/* ---- names ---- */

int check_step_boxname(struct check *c)
{
	char name[64];
	struct boxname_rec r = {0};
	struct box_rec b;
	struct bytes v, box;
	struct key k, bk;
	int rc = check_next(c, DB_BOXNAME, &k, &v);

	if (rc)
		return rc;
	if (k.n < 5)
		return EIO;
	uint32_t account = key_get_u32(key_view(&k), 0);
	bool fits = rec_read(v, &r, sizeof(r));
	if (fits) {
		rc = db_get(c->txn, c->db, DB_BOX, key_box(&bk, account, r.box), &box);
		if (rc && rc != MDB_NOTFOUND)
			return rc;
		fits = !rc && box_read(box, &b) &&
		       bytes_eq(bytes_first(bytes_skip(box, sizeof(b)), b.name_n),
			       bytes_skip(key_view(&k), 4));
	}
	if (fits || !check_problem(c, "name-orphan", true, false, box_name(account, r.box, name),
			    "a name without its mailbox"))
		return 0;
	return db_del(c->txn, c->db, DB_BOXNAME, key_view(&k));
}

/* A mailbox whose name is gone gets it back, or another when somebody else has it. */
static int name_give(struct check *c, uint32_t account, uint32_t box, struct bytes row)
{
	uint8_t copy[sizeof(struct box_rec) + MBOX_NAME_MAX + KEYWORDS_BYTES];
	struct boxname_rec n = {.box = box};
	char fresh[32];
	struct box_rec b;
	struct key k;
	int rc = 0;

	if (!box_read(row, &b))
		return EIO;
	struct bytes name = bytes_first(bytes_skip(row, sizeof(b)), b.name_n);
	struct bytes keywords = bytes_skip(row, sizeof(b) + b.name_n);
	if (check_has(c, DB_BOXNAME, key_boxname(&k, account, name), &rc) && !rc) {
		b.name_n = (uint16_t)snprintf(fresh, sizeof(fresh), "recovered-%u", box);
		memcpy(copy, &b, sizeof(b));
		memcpy(copy + sizeof(b), fresh, b.name_n);
		memcpy(copy + sizeof(b) + b.name_n, keywords.p, keywords.n);
		name = bytes_str(fresh);
		rc = db_put(c->txn, c->db, DB_BOX, key_box(&k, account, box),
			bytes_make(copy, sizeof(b) + b.name_n + keywords.n));
	}
	return rc ? rc
		  : db_put(c->txn, c->db, DB_BOXNAME, key_boxname(&k, account, name),
			    bytes_make(&n, sizeof(n)));
}

/* ---- a mailbox ---- */

static int garbage_make(struct check *c, uint32_t account, uint32_t box)
{
	struct gc_rec g = {0};
	struct key k;

	return db_put(
		c->txn, c->db, DB_GC, key_gc(&k, GC_BOX, account, box), bytes_make(&g, sizeof(g)));
}

/* Row, name and account of the mailbox that begins.  *go_r: its messages are to be counted. */
static int box_begin(struct check *c, const struct key *k, struct bytes v, bool *go_r)
{
	uint32_t account = key_get_u32(key_view(k), 0), box = key_get_u32(key_view(k), 4);
	struct boxname_rec n;
	struct box_rec r;
	char name[64];
	struct bytes nv;
	struct key key;
	int rc = 0;

	*go_r = false;
	bool readable = box_read(v, &r);
	if (!readable || !check_has(c, DB_ACCT, key_account(&key, account), &rc)) {
		if (rc || !check_problem(c, readable ? "mailbox-orphan" : "mailbox-row", true, true,
				  box_name(account, box, name),
				  readable ? "there is no such account" : "the row cannot be read"))
			return rc;
		rc = db_del(c->txn, c->db, DB_BOX, key_view(k));
		return rc ? rc : garbage_make(c, account, box);
	}
	memcpy(c->box.row, v.p, v.n);
	c->box.row_n = v.n;
	struct bytes own = bytes_make(c->box.row + sizeof(r), r.name_n);
	rc = db_get(c->txn, c->db, DB_BOXNAME, key_boxname(&key, account, own), &nv);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	bool named = !rc && rec_read(nv, &n, sizeof(n)) && n.box == box;
	if (!named && check_problem(c, "mailbox-name", true, false, box_name(account, box, name),
			      "its name is not in the list of names")) {
		/* Come again: the row may have another name now. */
		check_go_on(c, key_view(k));
		return name_give(c, account, box, bytes_make(c->box.row, c->box.row_n));
	}
	if (!c->quiet && c->box.tries == 0)
		c->totals.mailboxes++;
	*go_r = true;
	return 0;
}

static int message_lost(struct check *c, const struct mbox_row *row, struct bytes key)
{
	struct key k;
	int rc = db_del(c->txn, c->db, DB_MSG, key);

	if (!rc)
		rc = db_del(c->txn, c->db, DB_MOD,
			key_mod(&k, c->box.account, c->box.box, row->modseq, row->uid));
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* One message row.  *counts_r: it is there and seen for the first time. */
static int message_look(struct check *c, struct bytes key, struct bytes v, bool *counts_r)
{
	struct check_box *b = &c->box;
	struct mbox_row row;
	char name[64];
	struct key k;
	int rc = 0;

	*counts_r = false;
	snprintf(name, sizeof(name), "account %u mailbox %u uid %u", b->account, b->box,
		key_get_u32(key, 8));
	if (v.n != sizeof(row) || !rec_read(v, &row, sizeof(row)) || row.uid != key_get_u32(key, 8))
		return check_problem(c, "message-row", true, true, name, "the row cannot be read")
			       ? db_del(c->txn, c->db, DB_MSG, key)
			       : 0;
	if (!check_has(c, DB_BLOB, key_id(&k, row.blob), &rc)) {
		if (rc || !check_problem(c, "message-body", true, true, name, "there is no body"))
			return rc;
		return message_lost(c, &row, key);
	}
	/* Once, however often the mailbox is looked at: UIDs only grow. */
	if (row.uid >= b->counted_uid) {
		check_count(c, row.blob);
		b->counted_uid = row.uid + 1;
		*counts_r = true;
	}
	b->found.exists++;
	b->found.unseen += !(row.flags & MSG_SEEN);
	b->found.deleted += !!(row.flags & MSG_DELETED);
	b->found.bytes += row.size;
	b->found.uidnext = row.uid + 1;
	b->found.highestmodseq = MAX(b->found.highestmodseq, row.modseq);
	if (check_has(c, DB_MOD, key_mod(&k, b->account, b->box, row.modseq, row.uid), &rc) || rc)
		return rc;
	if (!check_problem(c, "message-modseq", true, false, name, "modseq %llu has no row",
		    (unsigned long long)row.modseq))
		return 0;
	return db_put(c->txn, c->db, DB_MOD, key_view(&k), BYTES_NONE);
}

/* Messages from c->box.next_uid on.  MDB_NOTFOUND: that was the last. */
static int messages_look(struct check *c)
{
	struct check_box *b = &c->box;

	for (int i = 0; i < MESSAGES_PER_STEP; i++) {
		struct mbox_row copy = {0};
		struct db_cursor cursor;
		struct key k, found;
		bool counts;
		size_t n = 0;
		int rc = db_cursor_open(c->txn, c->db, DB_MSG, &cursor);
		if (rc)
			return rc;
		rc = db_cursor_seek(&cursor, key_msg(&k, b->account, b->box, b->next_uid));
		if (!rc && (cursor.key.n != 12 || memcmp(cursor.key.p, k.p, 8) != 0))
			rc = MDB_NOTFOUND;
		if (!rc) {
			memcpy(found.p, cursor.key.p, found.n = (uint16_t)cursor.key.n);
			n = MIN(cursor.value.n, sizeof(copy));
			memcpy(&copy, cursor.value.p, n);
		}
		db_cursor_close(&cursor);
		if (!rc)
			rc = message_look(c, key_view(&found), bytes_make(&copy, n), &counts);
		if (rc)
			return rc;
		if (!c->quiet)
			c->totals.messages += counts;
		b->next_uid = key_get_u32(key_view(&found), 8) + 1;
	}
	return 0;
}

static bool counts_equal(const struct box_rec *a, const struct box_rec *f)
{
	return a->exists == f->exists && a->unseen == f->unseen && a->deleted == f->deleted &&
	       a->bytes == f->bytes && a->uidnext >= f->uidnext &&
	       a->highestmodseq >= f->highestmodseq;
}

/* Everything is counted: compare with the row, if that is still what it was. */
static int box_compare(struct check *c)
{
	struct check_box *b = &c->box;
	struct box_rec r;
	char name[64];
	struct bytes v;
	struct key k;
	int rc = db_get(c->txn, c->db, DB_BOX, key_box(&k, b->account, b->box), &v);

	b->active = false;
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc; /* removed meanwhile */
	if (!bytes_eq(v, bytes_make(b->row, b->row_n))) {
		if (++b->tries < TRIES_MAX)
			check_go_on(c, key_view(&k));
		else
			c->totals.busy++;
		return 0;
	}
	if (!box_read(v, &r))
		return EIO;
	if (counts_equal(&r, &b->found))
		return 0;
	if (!check_problem(c, "mailbox-counts", true, false, box_name(b->account, b->box, name),
		    "%u messages, %u unseen, %u deleted, %llu octets, found %u, %u, %u, %llu",
		    r.exists, r.unseen, r.deleted, (unsigned long long)r.bytes, b->found.exists,
		    b->found.unseen, b->found.deleted, (unsigned long long)b->found.bytes))
		return 0;
	r.exists = b->found.exists;
	r.unseen = b->found.unseen;
	r.deleted = b->found.deleted;
	r.bytes = b->found.bytes;
	r.uidnext = MAX(r.uidnext, b->found.uidnext);
	r.highestmodseq = MAX(r.highestmodseq, b->found.highestmodseq);
	memcpy(b->row, &r, sizeof(r));
	return db_put(c->txn, c->db, DB_BOX, key_view(&k), bytes_make(b->row, b->row_n));
}

int check_step_box(struct check *c)
{
	struct check_box *b = &c->box;
	struct bytes v;
	struct key k;
	bool go;

	if (b->active) {
		int rc = messages_look(c);
		return rc == MDB_NOTFOUND ? box_compare(c) : rc;
	}
	bool first = c->at.n == 0; /* of another pass: the same mailbox may come again */
	int rc = check_next(c, DB_BOX, &k, &v);
	if (rc)
		return rc;
	if (k.n != 8)
		return EIO;
	uint32_t account = key_get_u32(key_view(&k), 0), box = key_get_u32(key_view(&k), 4);
	if (first || account != b->account || box != b->box) {
		b->tries = 0;
		b->counted_uid = 0;
	}
	b->account = account;
	b->box = box;
	rc = box_begin(c, &k, v, &go);
	b->active = !rc && go;
	b->next_uid = 0;
	b->found = (struct box_rec){0};
	return rc;
}

/* Messages of no mailbox: of one that is being removed they still refer to bodies. */
int check_step_orphan_message(struct check *c)
{
	struct mbox_row row;
	char name[64];
	struct bytes v;
	struct key k, b;
	int rc = check_next(c, DB_MSG, &k, &v);

	if (rc)
		return rc;
	if (k.n != 12)
		return EIO;
	uint32_t account = key_get_u32(key_view(&k), 0), box = key_get_u32(key_view(&k), 4);
	if (check_has(c, DB_BOX, key_box(&b, account, box), &rc)) {
		check_go_on(c, key_msg(&b, account, box, UINT32_MAX));
		return 0;
	}
	if (rc)
		return rc;
	if (rec_read(v, &row, sizeof(row)))
		check_count(c, row.blob);
	if (is_garbage(c, account, box, &rc) || rc)
		return rc;
	if (check_problem(c, "messages-orphan", true, true, box_name(account, box, name),
		    "messages of a mailbox that does not exist"))
		return garbage_make(c, account, box);
	return 0;
}

int check_step_modseq(struct check *c)
{
	struct mbox_row row;
	char name[64];
	struct bytes v;
	struct key k, m;
	int rc = check_next(c, DB_MOD, &k, &v);

	if (rc)
		return rc;
	if (k.n != 20)
		return EIO;
	uint32_t account = key_get_u32(key_view(&k), 0), box = key_get_u32(key_view(&k), 4);
	uint32_t uid = key_get_u32(key_view(&k), 16);
	rc = db_get(c->txn, c->db, DB_MSG, key_msg(&m, account, box, uid), &v);
	if (rc == 0 && rec_read(v, &row, sizeof(row)) && row.modseq == key_get_u64(key_view(&k), 8))
		return 0;
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	rc = 0;
	if (is_garbage(c, account, box, &rc) || rc)
		return rc;
	if (!check_problem(c, "modseq-orphan", true, false, box_name(account, box, name),
		    "a modseq of uid %u that it does not have", uid))
		return 0;
	return db_del(c->txn, c->db, DB_MOD, key_view(&k));
}

/* The log of what vanished: of mailboxes that are there, of UIDs that were given out. */
int check_step_gone(struct check *c)
{
	struct box_rec b;
	char name[64];
	uint32_t last = 0;
	struct bytes v;
	struct key k, bk;
	int rc = check_next(c, DB_GONE, &k, &v);

	if (rc)
		return rc;
	if (k.n != 20)
		return EIO;
	uint32_t account = key_get_u32(key_view(&k), 0), box = key_get_u32(key_view(&k), 4);
	bool readable = rec_read(v, &last, sizeof(last)) && last >= key_get_u32(key_view(&k), 16);
	rc = db_get(c->txn, c->db, DB_BOX, key_box(&bk, account, box), &v);
	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (rc == 0 && readable && box_read(v, &b) && last < b.uidnext &&
		key_get_u64(key_view(&k), 8) <= b.highestmodseq)
		return 0;
	rc = 0;
	if (is_garbage(c, account, box, &rc) || rc)
		return rc;
	if (!check_problem(c, "vanished-row", true, false, box_name(account, box, name),
		    "what vanished at %llu cannot be so",
		    (unsigned long long)key_get_u64(key_view(&k), 8)))
		return 0;
	return db_del(c->txn, c->db, DB_GONE, key_view(&k));
}

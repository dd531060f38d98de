/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/crossing_look.h"
#include <stdarg.h>
#include "dataplane/base/rt/ids.h"
#include "store/body.h"
#include "store/store_priv.h"

struct look {
	const struct crossing_promise *p;
	const struct db *db[CROSSING_SHARDS];
	MDB_txn *txn[CROSSING_SHARDS];
	bool settled;
	char *why;
	/* copies in the mailbox of each account */
	uint8_t copies[CROSSING_MAX][CROSSING_ACCOUNTS];
};

static bool differs(struct look *k, const char *format, ...) PRINTF(2, 3);
static bool differs(struct look *k, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(k->why, CROSSING_WHY_MAX, format, ap);
	va_end(ap);
	return false;
}

/* ---- mailboxes ---- */

static bool body_is(struct look *k, unsigned shard, const struct mbox_row *row, uint64_t id)
{
	struct body_head h;
	struct crossing c;

	crossing_make(k->p->seed, (uint32_t)(id - CROSSING_ID_BASE), &c);
	if (body_head_read(k->txn[shard], k->db[shard], row->blob, &h) || h.r.size != c.bytes)
		return differs(k, "message %llu has another size", (unsigned long long)id);
	for (uint32_t n = 0, at = 0; n < h.r.chunks; n++) {
		struct bytes data;
		if (body_chunk_read(k->txn[shard], k->db[shard], row->blob, &h, n, &data))
			return differs(k, "message %llu lacks a chunk", (unsigned long long)id);
		for (size_t i = 0; i < data.n; i++, at++) {
			if (data.p[i] != crossing_octet(id, at))
				return differs(k, "message %llu, octet %u is another",
					(unsigned long long)id, at);
		}
	}
	return true;
}

/* Which message a body is of: the label at its beginning. */
static bool label_read(struct look *k, unsigned shard, uint64_t blob, uint64_t *id_r)
{
	struct body_head h;
	struct bytes data;

	if (body_head_read(k->txn[shard], k->db[shard], blob, &h) ||
		body_chunk_read(k->txn[shard], k->db[shard], blob, &h, 0, &data) ||
		data.n < CROSSING_LABEL)
		return differs(k, "a mailbox has a message without a body");
	*id_r = 0;
	for (unsigned i = 0; i < CROSSING_LABEL; i++)
		*id_r |= (uint64_t)data.p[i] << 8 * i;
	return *id_r - CROSSING_ID_BASE < CROSSING_MAX || differs(k, "a body that nobody sent");
}

static bool copy_count(struct look *k, unsigned shard, uint32_t account, const struct mbox_row *row)
{
	uint64_t id = 0;
	unsigned i = 0;

	while (i < CROSSING_ACCOUNTS && k->p->account[i] != account)
		i++;
	if (i == CROSSING_ACCOUNTS)
		return differs(k, "a mailbox of account %u", account);
	if (!label_read(k, shard, row->blob, &id) || !body_is(k, shard, row, id))
		return false;
	uint8_t *n = &k->copies[id - CROSSING_ID_BASE][i];
	return ++*n == 1 ||
	       differs(k, "account %u has message %llu twice", account, (unsigned long long)id);
}

static bool mailboxes_read(struct look *k, unsigned shard)
{
	struct db_cursor c;
	struct key key;
	bool right = true;
	int rc = db_cursor_open(k->txn[shard], k->db[shard], DB_MSG, &c);

	if (!rc)
		rc = db_cursor_seek(&c, key_msg(&key, 0, 0, 0));
	for (; !rc && right; rc = db_cursor_next(&c)) {
		struct mbox_row row;
		right = rec_read(c.value, &row, sizeof(row))
				? copy_count(k, shard, key_get_u32(c.key, 0), &row)
				: differs(k, "a row of another size");
	}
	db_cursor_close(&c);
	return right;
}

/* ---- one message ---- */

static bool has(struct look *k, unsigned shard, enum db_id table, struct bytes key)
{
	struct bytes v;

	return db_get(k->txn[shard], k->db[shard], table, key, &v) == 0;
}

struct found {
	unsigned wanted, there; /* recipients */
	uint64_t id;
	unsigned home;
	bool promised;
};

/* On its way, in the other mailbox, and remembered there: every step of the courier leaves it in at
 * least one of the first two, and in both only if it is remembered. */
static bool crossing_is_whole(
	struct look *k, struct found *f, const struct crossing *c, unsigned account, unsigned there)
{
	uint32_t rcpt = crossing_rcpt(c, account), number = k->p->account[account];
	struct key key;
	bool waits = has(k, f->home, DB_QR, key_id_n(&key, c->id, rcpt));
	bool moves = has(k, f->home, DB_MOVE, key_move(&key, there, c->id, rcpt));
	bool known = has(k, there, DB_DEDUP, key_id_n(&key, c->id, rcpt));
	unsigned copies = k->copies[c->id - CROSSING_ID_BASE][account];
	unsigned long long id = c->id;

	if (waits != moves)
		return differs(k, "message %llu to account %u: queued %d, moving %d", id, number,
			waits, moves);
	if (known && !copies)
		return differs(k, "message %llu is remembered and not in account %u", id, number);
	if (waits && copies && !known)
		return differs(k, "message %llu would come to account %u twice", id, number);
	if (k->settled && (waits || known))
		return differs(k, "message %llu is still on its way to account %u", id, number);
	k->p->seen->waiting += waits && !copies;
	k->p->seen->in_both += waits && copies;
	k->p->seen->remembered += !waits && known;
	f->wanted++;
	f->there += waits || copies;
	return true;
}

static bool locals_are(struct look *k, struct found *f, const struct crossing *c)
{
	for (unsigned i = 0; i < CROSSING_ACCOUNTS; i++) {
		unsigned shard = store_account_shard(k->p->account[i], CROSSING_SHARDS);
		unsigned copies = k->copies[c->id - CROSSING_ID_BASE][i];
		if (!(c->locals >> i & 1)) {
			if (copies)
				return differs(
					k, "account %u has another's message", k->p->account[i]);
		} else if (shard == f->home) {
			f->wanted++;
			f->there += copies;
		} else if (!crossing_is_whole(k, f, c, i, shard)) {
			return false;
		}
	}
	return true;
}

/* A report of their delivery may be under way: all or none. */
static bool remotes_are(struct look *k, struct found *f, const struct crossing *c, uint32_t n)
{
	unsigned there = 0;
	struct key key;

	for (uint32_t i = 0; i < c->remote; i++)
		there += has(k, f->home, DB_QR, key_id_n(&key, c->id, i));
	if (k->p->delivered[n])
		return there == 0 || differs(k, "message %llu is delivered and queued",
					     (unsigned long long)c->id);
	if (f->promised && c->is_delivered)
		return there == 0 || there == c->remote ||
		       differs(k, "message %llu: a part of the report", (unsigned long long)c->id);
	f->wanted += c->remote;
	f->there += there;
	return true;
}

static bool message_is(struct look *k, uint32_t n)
{
	struct found f = {.promised = k->p->accepted[n]};
	struct crossing c;

	crossing_make(k->p->seed, n, &c);
	f.id = c.id;
	f.home = ids_lane(c.id, CROSSING_SHARDS);
	if (!locals_are(k, &f, &c) || !remotes_are(k, &f, &c, n))
		return false;
	/* Not answered yet: all of it, or nothing. */
	if (f.there == f.wanted || (!f.promised && f.there == 0))
		return true;
	return differs(k, "message %llu (%s): %u of %u recipients have it",
		(unsigned long long)c.id, f.promised ? "acknowledged" : "not acknowledged", f.there,
		f.wanted);
}

static bool all_are(struct look *k)
{
	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		if (!mailboxes_read(k, i))
			return false;
	}
	for (uint32_t n = 0; n < k->p->end; n++) {
		if (!message_is(k, n))
			return false;
	}
	return true;
}

bool crossing_look(const struct shards *s, const struct crossing_promise *p, bool settled,
	char why[CROSSING_WHY_MAX])
{
	static struct look k;
	bool right = true;

	memset(&k, 0, sizeof(k));
	k.p = p;
	k.settled = settled;
	k.why = why;
	why[0] = '\0';
	for (unsigned i = 0; i < CROSSING_SHARDS && right; i++) {
		k.db[i] = &shards_get(s, i)->db;
		right = db_begin(k.db[i], false, &k.txn[i]) == 0 || differs(&k, "no transaction");
	}
	right = right && all_are(&k);
	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		if (k.txn[i])
			db_abort(k.txn[i]);
	}
	return right;
}

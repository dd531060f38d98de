/* SPDX-License-Identifier: BSD-3-Clause
 * The selected mailbox: its rows, bringing them up to date, and telling the client.
 * OWNER: one core's thread. */
#include <errno.h>
#include "store/imap/imap_priv.h"

#define LOAD_WAITS_MAX 100  /* times IMAP_RETRY_US: two seconds for memory; chosen */
#define ROWS_PER_READ  5400 /* mbox_row records asked for at a time: 256 KiB, what a slice gives */

struct imap_row *imap_row_at(const struct imap_session *s, uint32_t i)
{
	return chunk_array_at(&s->rows, i);
}

uint32_t imap_row_find(const struct imap_session *s, uint32_t uid)
{
	uint32_t lo = 0, hi = s->rows.n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (imap_row_at(s, mid)->uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- sets ---- */

/* Indexes [from, to) of one range. */
static int range_rows(
	struct imap_session *s, uint32_t lo, uint32_t hi, bool uid, uint32_t *from, uint32_t *to)
{
	uint32_t n = s->rows.n;
	uint32_t last = !uid ? n : n ? imap_row_at(s, n - 1)->uid : 0;

	lo = lo == UINT32_MAX ? last : lo;
	hi = hi == UINT32_MAX ? last : hi;
	uint32_t first = MIN(lo, hi);
	hi = MAX(lo, hi);
	if (uid) {
		*from = imap_row_find(s, first);
		*to = hi == UINT32_MAX ? n : imap_row_find(s, hi + 1);
		return 0;
	}
	/* An empty mailbox has no messages to name, "1:*" included; that is no error of syntax. */
	*from = n ? first - 1 : 0;
	*to = n ? hi : 0;
	return n && (first == 0 || hi > n) ? -EINVAL : 0;
}

static void marks_clear(struct imap_session *s)
{
	for (uint32_t i = s->marks_lo; i < MIN(s->marks_hi, s->rows.n); i++) {
		struct imap_row *r = imap_row_at(s, i);
		r->delta = 0;
		r->state &= (uint8_t)~ROW_MARKED;
	}
	s->marks_lo = s->marks_hi = 0;
}

/* One range begins at from and ends before to. */
static void range_mark(struct imap_session *s, uint32_t from, uint32_t to)
{
	imap_row_at(s, from)->delta++;
	if (to < s->rows.n)
		imap_row_at(s, to)->delta--;
	s->marks_lo = s->marks_hi ? MIN(s->marks_lo, from) : from;
	s->marks_hi = MAX(s->marks_hi, MIN(to + 1, s->rows.n));
}

int imap_mark_set(struct imap_session *s, struct bytes set, bool uid)
{
	uint32_t lo, hi, from, to, ranges = 0;
	int err = 0, depth = 0;

	marks_clear(s);
	/* Begin and end of each range first, then one pass: overlapping ranges cost nothing. */
	for (size_t at = 0; !err && imap_set_next(set, &at, &lo, &hi);) {
		err = ++ranges > IMAP_SET_RANGES_MAX ? -E2BIG
						     : range_rows(s, lo, hi, uid, &from, &to);
		if (!err && from < to)
			range_mark(s, from, to);
	}
	for (uint32_t i = s->marks_lo; i < s->marks_hi; i++) {
		struct imap_row *r = imap_row_at(s, i);
		depth += r->delta;
		if (depth > 0 && !err)
			r->state |= ROW_MARKED;
	}
	return err;
}

uint32_t imap_marked_from(const struct imap_session *s, uint32_t i)
{
	for (i = MAX(i, s->marks_lo); i < s->marks_hi; i++) {
		if (imap_row_at(s, i)->state & ROW_MARKED)
			return i;
	}
	return UINT32_MAX;
}

void imap_uids_collect(struct imap_session *s, uint32_t flags, uint32_t without, uint32_t max)
{
	s->uid_count = 0;
	s->at = MAX(s->at, s->marks_lo);
	for (; s->at < s->marks_hi && s->uid_count < max; s->at++) {
		const struct imap_row *r = imap_row_at(s, s->at);
		if ((r->state & (ROW_MARKED | ROW_GONE)) != ROW_MARKED)
			continue;
		if ((r->flags & flags) == flags && !(r->flags & without))
			s->uids[s->uid_count++] = r->uid;
	}
}

/* ---- opening ---- */

void imap_unselect_now(struct imap_session *s)
{
	chunk_array_free(&s->rows);
	if (s->keywords)
		chunk_put(s->keywords);
	s->keywords = NULL;
	s->keyword_count = s->gone = s->changed = s->announced = s->box = 0;
	s->marks_lo = s->marks_hi = 0;
	s->modseq = 0;
	s->dirty = false;
	if (s->state == IMAP_SELECTED)
		s->state = IMAP_AUTHENTICATED;
	s->engine.host->watch(s->engine.host_ctx, 0, 0);
}

/* Names from an answer to OPEN into the session's own chunk. */
static bool keywords_take(struct imap_session *s, struct chain *out)
{
	if (!s->keywords)
		s->keywords = chunk_get();
	if (s->keywords) {
		s->keywords->n = (uint32_t)chain_read(out, 0, s->keywords->data, CHUNK_DATA);
		s->keyword_count = 0;
		for (uint32_t i = 0; i < s->keywords->n; i++)
			s->keyword_count += s->keywords->data[i] == 0;
		s->keyword_count = MIN(s->keyword_count, (uint32_t)MBOX_KEYWORDS_MAX);
	}
	chain_free(out);
	return s->keywords != NULL;
}

static void keywords_step(struct imap_session *s)
{
	imap_step then = s->next;

	if (s->u.op.status == 0 && s->u.mbox.box == s->box)
		keywords_take(s, &s->u.mbox.out);
	chain_free(&s->u.mbox.out);
	s->step = then;
}

static void box_open(struct imap_session *s, imap_step then)
{
	s->u.mbox = (struct mbox_read_op){
		.account = s->account, .name = bytes_make(s->box_name, s->box_name_n)};
	imap_submit(s, ACCESS_READER, STORE_READ_MBOX_OPEN, then);
}

void imap_keywords_load(struct imap_session *s, imap_step then)
{
	s->next = then;
	box_open(s, keywords_step);
}

static void rows_ask(struct imap_session *s, uint32_t from_uid, uint64_t since, imap_step then)
{
	s->u.mbox = (struct mbox_read_op){.account = s->account,
		.box = s->box,
		.from_uid = from_uid,
		.max_rows = ROWS_PER_READ,
		.since_modseq = since};
	imap_submit(s, ACCESS_READER, STORE_READ_MBOX_ROWS, then);
}

static bool row_push(struct imap_session *s, const struct mbox_row *from)
{
	struct imap_row *r = chunk_array_push(&s->rows);

	if (!r)
		return false;
	*r = (struct imap_row){.uid = from->uid,
		.keywords = from->keywords,
		.flags = (uint8_t)from->flags,
		.state = ROW_PRESENT};
	if (!(from->flags & MSG_SEEN) && !s->first_unseen)
		s->first_unseen = s->rows.n;
	return true;
}

/* A row of the store meets ours. */
static bool row_merge(struct imap_session *s, const struct mbox_row *from)
{
	uint32_t n = s->rows.n;

	if (n == 0 || from->uid > imap_row_at(s, n - 1)->uid)
		return row_push(s, from);
	uint32_t i = imap_row_find(s, from->uid);
	struct imap_row *r = imap_row_at(s, i);
	if (r->uid != from->uid)
		return true; /* UIDs only grow: not ours to invent */
	r->state |= ROW_PRESENT;
	if (r->flags == (uint8_t)from->flags && r->keywords == from->keywords)
		return true;
	r->flags = (uint8_t)from->flags;
	r->keywords = from->keywords;
	s->changed += !(r->state & ROW_CHANGED);
	r->state |= ROW_CHANGED;
	return true;
}

static int rows_merge(struct imap_session *s)
{
	const struct mbox_read_op *op = &s->u.mbox;
	bool ok = true;

	for (const struct chunk *c = op->out.head; c && ok; c = c->next) {
		for (uint32_t at = 0; at + sizeof(struct mbox_row) <= c->n && ok;
			at += (uint32_t)sizeof(struct mbox_row)) {
			struct mbox_row row;
			memcpy(&row, c->data + at, sizeof(row));
			ok = row_merge(s, &row);
		}
	}
	if (s->scan_first) {
		/* What changes while the slices are read comes again with the next refresh. */
		s->scan_modseq = op->state.highestmodseq;
		s->scan_first = false;
	}
	s->scan_exists = op->state.exists;
	s->uidnext = op->state.uidnext;
	chain_free(&s->u.mbox.out);
	return ok ? 0 : s->rows.n == chunk_array_max(&s->rows) ? -E2BIG : -ENOBUFS;
}

static void load_step(struct imap_session *s)
{
	int err = s->u.op.status;

	if (!err)
		err = rows_merge(s);
	chain_free(&s->u.mbox.out);
	if (!err && !s->u.mbox.end && !imap_may_grow(s, ACCESS_USE_LIST))
		err = -ENOBUFS;
	s->u.op.status = err;
	if (!err && !s->u.mbox.end) {
		rows_ask(s, s->u.mbox.from_uid, 0, load_step);
		return;
	}
	if (!err) {
		s->modseq = s->scan_modseq;
		s->announced = s->rows.n;
	}
	s->step = s->next;
}

static void load_open_step(struct imap_session *s)
{
	if (s->u.op.status == 0 && !keywords_take(s, &s->u.mbox.out))
		s->u.op.status = -ENOBUFS;
	chain_free(&s->u.mbox.out);
	if (s->u.op.status != 0) {
		s->step = s->next;
		return;
	}
	if (!imap_may_grow(s, ACCESS_USE_LIST)) {
		s->u.op.status = -ENOBUFS;
		s->step = s->next;
		return;
	}
	s->box = s->u.mbox.box;
	s->uidvalidity = s->u.mbox.state.uidvalidity;
	/* Watched before it is read: nothing falls between. */
	s->engine.host->watch(s->engine.host_ctx, s->account, s->box);
	s->dirty = false;
	s->scan_first = true;
	rows_ask(s, 1, 0, load_step);
}

/* Others may be about to give some back. */
static void load_wait_step(struct imap_session *s)
{
	if (imap_may_grow(s, ACCESS_USE_LIST) || ++s->at > LOAD_WAITS_MAX)
		box_open(s, load_open_step);
	else
		imap_retry(s);
}

void imap_index_load(struct imap_session *s, imap_step then)
{
	s->next = then;
	s->first_unseen = 0;
	s->at = 0;
	s->step = load_wait_step;
}

/* ---- refreshing ---- */

static void gone_mark(struct imap_session *s)
{
	for (uint32_t i = 0; i < s->rows.n; i++) {
		struct imap_row *r = imap_row_at(s, i);
		if (r->state & (ROW_PRESENT | ROW_GONE))
			continue;
		r->state |= ROW_GONE;
		s->gone++;
	}
}

static bool keywords_missing(const struct imap_session *s)
{
	uint32_t known = s->keyword_count >= 32 ? UINT32_MAX : (1u << s->keyword_count) - 1;

	for (uint32_t i = 0; s->changed && i < s->rows.n; i++) {
		if (imap_row_at(s, i)->keywords & ~known)
			return true;
	}
	return false;
}

static void refresh_end(struct imap_session *s)
{
	imap_step then = s->next;

	s->modseq = s->scan_modseq;
	s->rescan = false;
	if (keywords_missing(s))
		imap_keywords_load(s, then);
	else
		s->step = then;
}

static void refresh_step(struct imap_session *s);

/* Fewer messages than rows: some were expunged elsewhere.  Look at all to know which. */
static void rescan_begin(struct imap_session *s)
{
	s->rescan = true;
	for (uint32_t i = 0; i < s->rows.n; i++)
		imap_row_at(s, i)->state &= (uint8_t)~ROW_PRESENT;
	s->scan_first = true;
	rows_ask(s, 1, 0, refresh_step);
}

static void refresh_step(struct imap_session *s)
{
	int err = s->u.op.status;

	if (!err)
		err = rows_merge(s);
	chain_free(&s->u.mbox.out);
	if (err) {
		s->dirty = err != -ENOENT && err != -E2BIG; /* another try with the next command */
		s->rescan = false;
		s->step = s->next;
	} else if (!s->u.mbox.end) {
		rows_ask(s, s->u.mbox.from_uid, s->rescan ? 0 : s->modseq, refresh_step);
	} else if (s->rescan) {
		gone_mark(s);
		refresh_end(s);
	} else if (s->scan_exists != s->rows.n - s->gone) {
		rescan_begin(s);
	} else {
		refresh_end(s);
	}
}

void imap_index_refresh(struct imap_session *s, imap_step then)
{
	s->next = then;
	s->dirty = false;
	s->rescan = false;
	s->scan_first = true;
	rows_ask(s, 1, s->modseq, refresh_step);
}

/* ---- telling ---- */

static void announce_done(struct imap_session *s)
{
	s->changed = 0;
	s->step = s->next;
}

static void announce_flags(struct imap_session *s)
{
	uint32_t stop = MIN(s->rows.n, s->at + IMAP_ROWS_PER_STEP);

	s->cost = IMAP_RUN_COST / 8;
	if (!s->changed) {
		announce_done(s);
		return;
	}
	for (; s->at < stop; s->at++) {
		struct imap_row *r = imap_row_at(s, s->at);
		if (!imap_room(s))
			return;
		if (!(r->state & ROW_CHANGED))
			continue;
		r->state &= (uint8_t)~ROW_CHANGED;
		if (r->state & ROW_GONE)
			continue;
		access_out_printf(imap_out(s), "* %u FETCH (UID %u ", s->at + 1, r->uid);
		imap_put_flags(s, r);
		access_out_str(imap_out(s), ")\r\n");
	}
	if (s->at == s->rows.n)
		announce_done(s);
}

static void announce_exists(struct imap_session *s)
{
	if (s->rows.n != s->announced)
		access_out_printf(imap_out(s), "* %u EXISTS\r\n* 0 RECENT\r\n", s->rows.n);
	s->announced = s->rows.n;
	s->at = 0;
	s->step = announce_flags;
}

/* Rows move down over those that are gone; `to` is where the next one goes, and one less than its
 * sequence number while those before it have been announced. */
static void announce_expunge(struct imap_session *s)
{
	uint32_t stop = MIN(s->rows.n, s->at + IMAP_ROWS_PER_STEP);

	s->cost = IMAP_RUN_COST / 8;
	for (; s->at < stop; s->at++) {
		struct imap_row *r = imap_row_at(s, s->at);
		if (!imap_room(s))
			return;
		if (!(r->state & ROW_GONE)) {
			*imap_row_at(s, s->to++) = *r;
			continue;
		}
		/* One that the client never heard of goes without a word. */
		if (s->to < s->announced) {
			access_out_printf(imap_out(s), "* %u EXPUNGE\r\n", s->to + 1);
			s->announced--;
		}
	}
	if (s->at < s->rows.n)
		return;
	chunk_array_truncate(&s->rows, s->to);
	s->marks_lo = 0; /* they have moved down with their rows */
	s->marks_hi = MIN(s->marks_hi, s->to);
	s->gone = 0;
	s->step = announce_exists;
}

void imap_announce(struct imap_session *s, imap_step then)
{
	s->next = then;
	s->at = s->to = 0;
	s->step = s->gone && s->expunge_ok ? announce_expunge : announce_exists;
}

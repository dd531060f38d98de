/* SPDX-License-Identifier: BSD-3-Clause
 * FETCH, message by message: row, its shape or a scan of the structure if asked for, computed
 * items, sections as slices of the body.  OWNER: one core's thread. */
#include "store/imap/imap_fetch.h"
#include <errno.h>
#include "store/imap/imap_line.h"

#define ROWS_AHEAD  64          /* rows read at a time for neighbours; chosen */
#define SHAPES_HELD (64 * 1024) /* octets of new shapes that wait for their commit; chosen */

static void next_step(struct imap_session *s);
static void row_step(struct imap_session *s);
static void shape_ask(struct imap_session *s);
static void scan_ask(struct imap_session *s);
static void emit_step(struct imap_session *s);
static void section_step(struct imap_session *s);

static void space_put(struct imap_session *s, struct fetch *f)
{
	if (f->space)
		s->engine.host->space_put(s->engine.host_ctx, ACCESS_SPACE_SCAN, f->space);
	f->space = NULL;
	f->scanning = false;
	chain_free(&f->image);
}

static void fetch_release(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	space_put(s, f);
	chain_free(&f->rows);
	chain_free(&f->shapes);
}

static void message_over(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	space_put(s, f);
	f->begun = false;
	f->i++;
	s->step = next_step;
}

/* This message cannot be sent: the others are, and the end says so. */
static void message_failed(struct imap_session *s, int status)
{
	struct fetch *f = fetch_of(s);

	if (f->begun) {
		s->engine.aborted = true; /* half a response is out: only a reset can say so */
		s->step = NULL;
		return;
	}
	f->error = status == -ENOENT ? "OK [EXPUNGEISSUED] some messages are gone"
				     : "NO [UNAVAILABLE] some messages cannot be read now";
	message_over(s);
}

/* ---- rows ---- */

/* Look for the row among those read ahead. */
static bool row_ready(struct imap_session *s, struct fetch *f, uint32_t uid)
{
	(void)s;
	while (f->rows.head) {
		const struct chunk *c = f->rows.head;
		if (f->rows_at + sizeof(f->row) > c->n) {
			chunk_put(chain_pop(&f->rows));
			f->rows_at = 0;
			continue;
		}
		memcpy(&f->row, c->data + f->rows_at, sizeof(f->row));
		if (f->row.uid == uid)
			return true;
		if (f->row.uid > uid)
			return false;
		f->rows_at += (uint32_t)sizeof(f->row);
	}
	return false;
}

static void message_begin(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	f->offset = 0;
	f->section = 0;
	f->have_shape = f->make_shape = f->replace_shape = false;
	s->step = !f->need_scan ? emit_step : f->shaped ? shape_ask : scan_ask;
}

static void rows_done(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	if (s->u.op.status) {
		int status = s->u.op.status;
		chain_free(&s->u.mbox.out);
		if (status == -ENOBUFS) {
			s->step = row_step;
			imap_retry(s);
			return;
		}
		message_failed(s, status);
		return;
	}
	chain_free(&f->rows);
	f->rows = s->u.mbox.out;
	f->rows_at = 0;
	s->u.mbox.out = (struct chain){0};
	if (row_ready(s, f, imap_row_at(s, f->i)->uid))
		message_begin(s);
	else
		message_failed(s, -ENOENT);
}

static void row_step(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);
	uint32_t uid = imap_row_at(s, f->i)->uid, run = 1;

	if (row_ready(s, f, uid)) {
		message_begin(s);
		return;
	}
	while (run < ROWS_AHEAD && f->i + run < s->rows.n &&
		imap_row_at(s, f->i + run)->state & ROW_MARKED)
		run++;
	s->u.mbox = (struct mbox_read_op){
		.account = s->account, .box = s->box, .from_uid = uid, .max_rows = run};
	imap_submit(s, ACCESS_READER, STORE_READ_MBOX_ROWS, rows_done);
}

/* Kept or not, the answer is the same. */
static void shapes_stored(struct imap_session *s)
{
	s->step = next_step;
}

/* One commit for many, and the last before the command ends. */
static bool shapes_store(struct imap_session *s, bool last)
{
	struct fetch *f = fetch_of(s);

	if (f->shapes.bytes == 0 || (!last && f->shapes.bytes < SHAPES_HELD))
		return false;
	s->u.shape = (struct shape_op){.data = f->shapes};
	f->shapes = (struct chain){0};
	imap_submit(s, ACCESS_WRITER, STORE_SHAPE, shapes_stored);
	return true;
}

static void next_step(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);
	uint32_t i = imap_marked_from(s, f->i);

	if (shapes_store(s, i == UINT32_MAX))
		return;
	if (i == UINT32_MAX) {
		imap_finish(s, f->error ? f->error : "OK done");
		return;
	}
	f->i = i;
	if (f->need_row)
		row_step(s);
	else
		emit_step(s);
}

/* ---- what the store keeps of it ---- */

static bool space_get(struct imap_session *s, struct fetch *f)
{
	if (!f->space)
		f->space = s->engine.host->space_get(s->engine.host_ctx, ACCESS_SPACE_SCAN);
	if (!f->space)
		imap_retry(s);
	return f->space != NULL;
}

static void shape_done(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);
	int status = s->u.op.status;

	chain_free(&f->image);
	f->image = s->u.shape_read.out;
	s->u.shape_read.out = (struct chain){0};
	if (status == -ENOBUFS) {
		chain_free(&f->image);
		s->step = shape_ask;
		imap_retry(s);
		return;
	}
	f->have_shape = status == 0 && shape_load(f);
	f->make_shape = !f->have_shape;
	f->replace_shape = f->make_shape && status != -ENOENT;
	s->step = f->have_shape && !f->fields ? emit_step : scan_ask;
}

static void shape_ask(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	if (!space_get(s, f))
		return;
	s->u.shape_read = (struct shape_read_op){.blob = f->row.blob};
	imap_submit(s, ACCESS_READER, STORE_READ_SHAPE, shape_done);
}

/* ---- the body ---- */

/* With a shape only the message's own header is of interest; without one that is to be made, all.
 */
static struct mime_scan *scan_of(const struct fetch *f)
{
	return f->have_shape ? &f->space->head : &f->space->scan;
}

static bool scan_is_whole(const struct fetch *f)
{
	return !f->have_shape && (f->whole_scan || f->make_shape);
}

static void body_ask(struct imap_session *s, uint64_t max, imap_step then)
{
	struct fetch *f = fetch_of(s);
	uint64_t slice = imap_may_grow(s, ACCESS_USE_OUT) ? IMAP_SLICE : ACCESS_SLICE_SHORT;

	s->u.body = (struct body_read_op){
		.blob = f->row.blob, .offset = f->offset, .max = (uint32_t)MIN(max, slice)};
	imap_submit(s, ACCESS_READER, STORE_READ_BODY, then);
}

/* Common to both readers of slices: false when it has been dealt with. */
static bool body_arrived(struct imap_session *s, imap_step again)
{
	int status = s->u.op.status;

	if (status == 0 && (s->u.body.out.bytes || fetch_of(s)->offset >= s->u.body.total))
		return true;
	chain_free(&s->u.body.out);
	if (status == -ENOBUFS) {
		s->step = again;
		imap_retry(s);
		return false;
	}
	message_failed(s, status ? status : -EIO);
	return false;
}

static void scan_done(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);
	struct mime_scan *scan = scan_of(f);
	struct body_read_op *op = &s->u.body;

	if (!body_arrived(s, scan_ask))
		return;
	for (const struct chunk *c = op->out.head; c && !scan->done; c = c->next)
		mime_scan_feed(scan, bytes_make(c->data, c->n));
	f->offset += op->out.bytes;
	chain_free(&op->out);
	if (!scan->done && f->offset < op->total) {
		s->step = scan_ask;
		return;
	}
	mime_scan_end(scan);
	if (scan->header_only)
		scan->parts[0].end = op->total;
	if (f->make_shape)
		shape_make(f);
	s->step = emit_step;
}

static void scan_ask(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	if (!space_get(s, f))
		return;
	if (!f->scanning) {
		struct mime_part *parts = f->have_shape ? f->space->head_part : f->space->parts;
		unsigned max = f->have_shape ? ARRAY_LEN(f->space->head_part) : MIME_PARTS_MAX;
		mime_scan_init(
			scan_of(f), parts, max, f->space->headers, sizeof(f->space->headers));
		scan_of(f)->header_only = !scan_is_whole(f);
		f->scanning = true;
	}
	/* A header is rarely longer than some chunks: the first slice is small. */
	body_ask(s, scan_is_whole(f) || f->offset ? IMAP_SLICE : 16 * 1024, scan_done);
}

/* ---- what is said ---- */

/* As it was found out now or before. */
static void put_text(struct access_out *o, const struct fetch *f, enum fetch_text text)
{
	if (f->have_shape)
		shape_put_text(o, f, text);
	else if (text == FETCH_TEXT_ENVELOPE)
		fetch_put_envelope(o, f->space, mime_part_header(&f->space->scan, 0));
	else
		fetch_put_structure(o, f->space, text == FETCH_TEXT_STRUCTURE);
}

static void put_plain(struct imap_session *s, const struct fetch *f)
{
	struct access_out *o = imap_out(s);
	struct imap_row *r = imap_row_at(s, f->i);

	access_out_printf(o, "* %u FETCH (", f->i + 1);
	const char *space = "";
	if (f->items & FETCH_UID || s->uid_form) {
		access_out_printf(o, "UID %u", r->uid);
		space = " ";
	}
	if (f->items & FETCH_FLAGS || r->state & ROW_CHANGED) {
		s->changed -= r->state & ROW_CHANGED ? 1 : 0;
		r->state &= (uint8_t)~ROW_CHANGED;
		access_out_str(o, space);
		imap_put_flags(s, r);
		space = " ";
	}
	if (f->items & FETCH_INTERNALDATE) {
		access_out_printf(o, "%sINTERNALDATE ", space);
		imap_put_internaldate(o, f->row.internal_ms, f->row.internal_zone_min);
		space = " ";
	}
	if (f->items & FETCH_SIZE) {
		access_out_printf(o, "%sRFC822.SIZE %llu", space, (unsigned long long)f->row.size);
		space = " ";
	}
	if (f->items & FETCH_ENVELOPE) {
		access_out_printf(o, "%sENVELOPE ", space);
		put_text(o, f, FETCH_TEXT_ENVELOPE);
	}
}

/* Behind put_plain there is something already, or the first item follows the parenthesis. */
static const char *structure_space(const struct imap_session *s, const struct fetch *f, bool flags)
{
	const uint32_t before =
		FETCH_UID | FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE;

	return f->items & before || s->uid_form || flags ? " " : "";
}

static void emit_step(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);
	struct access_out *o = imap_out(s);
	bool flags = imap_row_at(s, f->i)->state & ROW_CHANGED;

	put_plain(s, f);
	const char *space = structure_space(s, f, flags);
	if (f->items & FETCH_BODY) {
		access_out_printf(o, "%sBODY ", space);
		put_text(o, f, FETCH_TEXT_BODY);
		space = " ";
	}
	if (f->items & FETCH_BODYSTRUCTURE) {
		access_out_printf(o, "%sBODYSTRUCTURE ", space);
		put_text(o, f, FETCH_TEXT_STRUCTURE);
		space = " ";
	}
	f->begun = true;
	f->first = space[0] == 0;
	fetch_locate(s, f);
	for (unsigned i = 0; i < f->section_count; i++) {
		if (section_is_fields(&f->sections[i])) {
			fetch_put_fields(s, f, &f->sections[i], f->first);
			f->first = false;
		}
	}
	space_put(s, f);
	s->step = section_step;
}

static void slice_done(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);
	const struct section *sec = &f->sections[f->section];

	if (!body_arrived(s, section_step))
		return;
	if (s->u.body.out.bytes == 0 || s->u.body.out.bytes > sec->to - f->offset) {
		chain_free(&s->u.body.out);
		message_failed(s, -EIO); /* shorter than its row says */
		return;
	}
	f->offset += s->u.body.out.bytes;
	access_out_join(imap_out(s), &s->u.body.out);
	s->step = section_step;
}

static void section_head(struct imap_session *s, struct fetch *f)
{
	const struct section *sec = &f->sections[f->section];
	struct access_out *o = imap_out(s);

	access_out_str(o, f->first ? "" : " ");
	f->first = false;
	fetch_put_label(o, sec);
	if (sec->there)
		access_out_printf(o, " {%llu}\r\n", (unsigned long long)(sec->to - sec->from));
	else
		access_out_str(o, " NIL");
	f->offset = sec->from;
	f->in_section = true;
}

static void section_step(struct imap_session *s)
{
	struct fetch *f = fetch_of(s);

	while (f->section < f->section_count) {
		const struct section *sec = &f->sections[f->section];
		if (!section_is_fields(sec)) {
			if (!f->in_section)
				section_head(s, f);
			if (sec->there && f->offset < sec->to) {
				body_ask(s, sec->to - f->offset, slice_done);
				return;
			}
		}
		f->in_section = false;
		f->section++;
	}
	access_out_str(imap_out(s), ")\r\n");
	message_over(s);
}

/* ---- \Seen: durable before the first answer ---- */

static void seen_step(struct imap_session *s);

static void seen_done(struct imap_session *s)
{
	if (s->u.op.status) {
		/* Nothing can be written now; reading goes on without the flag. */
		imap_uids_put(s);
		s->step = next_step;
		return;
	}
	for (uint32_t i = 0; i < s->uid_count; i++) {
		struct imap_row *r = imap_row_at(s, imap_row_find(s, s->uids[i]));
		r->flags |= MSG_SEEN;
		s->changed += !(r->state & ROW_CHANGED);
		r->state |= ROW_CHANGED; /* FLAGS goes with the answer */
	}
	s->step = seen_step;
}

static void seen_step(struct imap_session *s)
{
	if (!imap_uids_get(s))
		return;
	imap_uids_collect(s, 0, MSG_SEEN, ACCESS_UIDS_MAX);
	if (s->uid_count == 0) {
		imap_uids_put(s);
		s->step = next_step;
		return;
	}
	s->u.change = (struct mbox_op){.account = s->account,
		.box = s->box,
		.uids = s->uids,
		.uid_count = s->uid_count,
		.mode = FLAGS_ADD,
		.flags = MSG_SEEN};
	imap_submit(s, ACCESS_WRITER, STORE_FLAGS, seen_done);
}

/* The set has been looked at: a long one need not wait for the peer to read what it asks for. */
static void fields_move(struct imap_session *s, size_t from)
{
	struct fetch *f = fetch_of(s);
	ptrdiff_t moved = imap_line_shrink(s, from);

	for (unsigned i = 0; i < f->section_count; i++) {
		if (f->sections[i].fields.n)
			f->sections[i].fields.p += moved;
	}
}

void imap_fetch(struct imap_session *s, struct imap_parse *p)
{
	struct bytes set;

	s->expunge_ok = s->uid_form;
	s->work = chunk_get();
	if (!s->work) {
		imap_finish(s, "NO [UNAVAILABLE] no memory now, try later");
		return;
	}
	memset(s->work->data, 0, CHUNK_DATA);
	s->release = fetch_release;
	if (!imap_space(p) || !imap_set(p, &set) || !imap_space(p) ||
		!fetch_parse(p, fetch_of(s))) {
		imap_bad(s, "FETCH is not understood");
		return;
	}
	if (imap_mark_set(s, set, s->uid_form) < 0) {
		imap_bad(s, "the set is not valid");
		return;
	}
	fields_move(s, (size_t)(set.p + set.n - p->p));
	s->at = 0;
	s->step = fetch_of(s)->sets_seen && !s->read_only ? seen_step : next_step;
}

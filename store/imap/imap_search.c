/* SPDX-License-Identifier: BSD-3-Clause
 * SEARCH over the selected mailbox: for each message no more is read than its keys need.
 * OWNER: one core's thread. */
#include "store/imap/imap_search.h"
#include <errno.h>

#define COMPARED_FREE 32 /* keys and ranges with which a message is compared quickly; chosen */

static void message_step(struct imap_session *s);
static void read_ask(struct imap_session *s);

static void space_put(struct imap_session *s, struct search *q)
{
	if (q->space)
		s->engine.host->space_put(s->engine.host_ctx, ACCESS_SPACE_SCAN, q->space);
	q->space = NULL;
}

static void search_release(struct imap_session *s)
{
	struct search *q = search_of(s);

	space_put(s, q);
	if (q->ranges)
		chunk_put(q->ranges);
	if (q->matchers)
		chunk_put(q->matchers);
	q->ranges = q->matchers = NULL;
}

static void search_end(struct imap_session *s)
{
	struct search *q = search_of(s);

	if (!q->sent)
		access_out_str(imap_out(s), "* SEARCH");
	access_out_str(imap_out(s), "\r\n");
	imap_finish(s, q->error ? q->error : "OK done");
}

static void message_over(struct imap_session *s, bool matches)
{
	struct search *q = search_of(s);
	uint32_t number = s->uid_form ? imap_row_at(s, q->i)->uid : q->i + 1;

	/* The next one may have to wait for a peer that does not read. */
	space_put(s, q);
	if (matches) {
		access_out_printf(imap_out(s), "%s %u", q->sent ? "" : "* SEARCH", number);
		q->sent = true;
	}
	q->i++;
	q->level = LEVEL_INDEX;
	s->step = message_step;
}

static void message_failed(struct imap_session *s, int status)
{
	if (status != -ENOENT)
		search_of(s)->error = "NO [UNAVAILABLE] some messages could not be read";
	message_over(s, false);
}

/* ---- reading what the keys need ---- */

static void scan_begin(struct search *q)
{
	struct scan_space *sp = q->space;

	mime_scan_init(&sp->scan, sp->parts, MIME_PARTS_MAX, sp->headers, sizeof(sp->headers));
	sp->scan.header_only = true;
	q->offset = 0;
	for (unsigned i = 0; i < q->matcher_count; i++)
		matcher_reset(search_matcher(q, i));
}

/* BODY keys begin behind the header; TEXT keys see everything. */
static void matchers_feed(struct search *q, struct bytes b, uint64_t offset, bool body_known)
{
	uint64_t body = q->space->scan.parts[0].body_offset;

	for (unsigned i = 1; i < q->node_count; i++) {
		const struct search_node *n = &q->nodes[i];
		struct bytes part = b;
		if (n->kind != SEARCH_TEXT && n->kind != SEARCH_BODY)
			continue;
		if (n->kind == SEARCH_BODY) {
			if (!body_known)
				continue;
			part = offset < body
				       ? bytes_skip(b, (size_t)MIN(body - offset, (uint64_t)b.n))
				       : b;
		}
		matcher_feed(search_matcher(q, n->matcher), part);
	}
}

static void slice_take(struct search *q, const struct chain *out)
{
	struct mime_scan *scan = &q->space->scan;

	for (const struct chunk *c = out->head; c; c = c->next) {
		struct bytes b = bytes_make(c->data, c->n);
		mime_scan_feed(scan, b);
		matchers_feed(q, b, q->offset, scan->done);
		q->offset += c->n;
	}
}

static void slice_done(struct imap_session *s)
{
	struct search *q = search_of(s);
	struct body_read_op *op = &s->u.body;
	int status = s->u.op.status;

	if (status == 0 && op->out.bytes == 0 && q->offset < op->total)
		status = -EIO;
	if (status) {
		chain_free(&op->out);
		if (status != -ENOBUFS) {
			message_failed(s, status);
			return;
		}
		s->step = read_ask;
		imap_retry(s);
		return;
	}
	slice_take(q, &op->out);
	chain_free(&op->out);
	bool end = q->offset >= op->total;
	if (end)
		mime_scan_end(&q->space->scan);
	q->level = end ? LEVEL_BODY : q->space->scan.done ? LEVEL_HEADER : LEVEL_ROW;
	int v = q->level >= LEVEL_HEADER ? search_eval(s, q, 0) : -1;
	if (v >= 0 || end)
		message_over(s, v > 0);
	else
		s->step = read_ask;
}

static void read_ask(struct imap_session *s)
{
	struct search *q = search_of(s);

	if (!q->space) {
		q->space = s->engine.host->space_get(s->engine.host_ctx, ACCESS_SPACE_SCAN);
		if (!q->space) {
			imap_retry(s);
			return;
		}
	}
	if (q->offset == 0)
		scan_begin(q);
	uint32_t max = q->offset || q->matcher_count ? IMAP_SLICE : 16 * 1024;
	s->u.body = (struct body_read_op){.blob = q->row.blob, .offset = q->offset, .max = max};
	imap_submit(s, ACCESS_READER, STORE_READ_BODY, slice_done);
}

static void row_done(struct imap_session *s)
{
	struct search *q = search_of(s);
	struct chain *out = &s->u.mbox.out;
	int status = s->u.op.status;
	size_t n = status ? 0 : chain_read(out, 0, &q->row, sizeof(q->row));

	chain_free(out);
	if (status == -ENOBUFS) {
		s->step = message_step;
		imap_retry(s);
		return;
	}
	if (n != sizeof(q->row) || q->row.uid != imap_row_at(s, q->i)->uid) {
		message_failed(s, status ? status : -ENOENT);
		return;
	}
	q->level = LEVEL_ROW;
	int v = search_eval(s, q, 0);
	q->offset = 0;
	if (v >= 0)
		message_over(s, v);
	else
		s->step = read_ask;
}

/* Messages of one step: fewer when each of them is compared with much. */
static unsigned rows_per_step(const struct search *q)
{
	return IMAP_ROWS_PER_STEP / (1u + (q->node_count + q->range_count) / COMPARED_FREE);
}

/* Messages that the index decides, many in a step; stops at the first that needs more. */
static void message_step(struct imap_session *s)
{
	struct search *q = search_of(s);

	s->cost = IMAP_RUN_COST;
	for (unsigned n = rows_per_step(q); n > 0 && imap_room(s); n--) {
		if (q->i >= s->rows.n) {
			search_end(s);
			return;
		}
		int v = imap_row_at(s, q->i)->state & ROW_GONE ? 0 : search_eval(s, q, 0);
		if (v < 0) {
			s->u.mbox = (struct mbox_read_op){.account = s->account,
				.box = s->box,
				.from_uid = imap_row_at(s, q->i)->uid,
				.max_rows = 1};
			imap_submit(s, ACCESS_READER, STORE_READ_MBOX_ROWS, row_done);
			return;
		}
		message_over(s, v);
	}
}

void imap_search(struct imap_session *s, struct imap_parse *p)
{
	s->expunge_ok = s->uid_form;
	s->work = chunk_get();
	if (!s->work) {
		imap_finish(s, "NO [UNAVAILABLE] no memory now, try later");
		return;
	}
	memset(s->work->data, 0, CHUNK_DATA);
	struct search *q = search_of(s);
	s->release = search_release;
	q->ranges = chunk_get();
	q->matchers = chunk_get();
	if (!q->ranges || !q->matchers) {
		imap_finish(s, "NO [UNAVAILABLE] no memory now, try later");
		return;
	}
	int err = imap_space(p) ? search_parse(s, p, q) : -EINVAL;
	if (err == -EINVAL)
		imap_bad(s, "search keys are not understood");
	else if (err == -E2BIG)
		imap_finish(s, "NO [LIMIT] too many search keys");
	else if (err)
		imap_finish(s, "NO [BADCHARSET (US-ASCII UTF-8)] charset not supported");
	else
		s->step = message_step;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * APPEND: the message streams into chunks, and beyond STREAM_ABOVE to the writer as parts of a blob
 * nobody sees until the append is done.  OWNER: one core's thread. */
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "store/imap/imap_line.h"
#include "store/imap/imap_priv.h"

/* Looking for the empty line. */
enum { SCAN_LINE_START, SCAN_LINE_START_CR, SCAN_IN_LINE, SCAN_DONE };

static void parked_step(struct imap_session *s)
{
	s->parked = true;
}

/* ---- the command before the message ---- */

/* [SP flags] [SP date-time] SP, up to the literal. */
static bool options(struct imap_session *s, struct imap_parse *p)
{
	struct imap_append *a = &s->append;
	struct imap_line *l = &s->line;
	struct buf names;

	a->internal_ms = s->engine.host->now_ms(s->engine.host_ctx);
	if (!imap_space(p))
		return false;
	if (imap_peek(p) == '(') {
		/* Keyword names are kept behind the command's text. */
		buf_init(&names, l->p + l->n, l->cap - l->n);
		if (!imap_flags(p, &a->flags, &names) || !imap_space(p))
			return false;
		a->keywords = buf_view(&names);
		l->n += (uint32_t)names.n;
	}
	if (imap_peek(p) == '"' &&
		(!imap_date_time(p, &a->internal_ms, &a->zone_min) || !imap_space(p)))
		return false;
	return imap_peek(p) == '{';
}

static bool append_parse(struct imap_session *s, struct bytes *mailbox)
{
	struct imap_parse p = {.p = s->line.p, .n = s->line.n};
	ptrdiff_t space = bytes_find(bytes_make(p.p, p.n), ' ', 0);

	if (space <= 0 || space > IMAP_TAG_MAX)
		return false;
	p.at = (size_t)space;
	if (!imap_space(&p) || !imap_word(&p, "APPEND") || !imap_space(&p) ||
		!imap_astring(&p, mailbox))
		return false;
	s->tag = bytes_make(p.p, (size_t)space);
	return options(s, &p);
}

static const char *append_refusal(struct imap_session *s, struct bytes mailbox, uint64_t n)
{
	struct buf b;

	buf_init(&b, s->name, sizeof(s->name));
	if (n > s->engine.message_bytes_max)
		return "NO [TOOBIG] the message is too long";
	if (imap_name_decode(mailbox, &b) < 0 || b.n == 0)
		return "NO [CANNOT] not a valid mailbox name";
	s->name_n = (uint16_t)b.n;
	s->append.message = message_new();
	return s->append.message ? NULL : "NO [UNAVAILABLE] no memory now, try later";
}

static void append_tail(struct imap_session *s, struct bytes line);

bool imap_append_begins(struct imap_session *s, uint64_t n, bool wait)
{
	struct bytes mailbox;

	if (!s->engine.logged_in)
		return false;
	s->append = (struct imap_append){0};
	if (!append_parse(s, &mailbox))
		return false;
	s->expunge_ok = true;
	s->refresh_now = true; /* one who appends to the selected mailbox wants to see it */
	s->append.error = append_refusal(s, mailbox, n);
	if (s->append.error && wait) {
		imap_finish(s, s->append.error);
		return true;
	}
	s->append.left = n;
	s->append.refused = s->append.error != NULL;
	if (s->append.message) {
		s->append.message->id = s->engine.host->new_id(s->engine.host_ctx);
		s->append.message->received_ms = s->engine.host->now_ms(s->engine.host_ctx);
		s->append.message->bare = 1;
		s->append.message->body_type = BODY_8BITMIME;
	}
	s->line.from = s->line.n;
	s->continuation = append_tail;
	s->step = parked_step;
	if (wait)
		access_out_str(imap_out(s), "+ go ahead\r\n");
	return true;
}

/* Reached only by an APPEND that has no literal where one belongs. */
void imap_append(struct imap_session *s, struct imap_parse *p)
{
	(void)p;
	imap_bad(s, "a mailbox and a message literal are needed");
}

/* ---- parts ---- */

static void append_refuse(struct imap_session *s, const char *error)
{
	struct imap_append *a = &s->append;

	a->refused = true;
	a->error = error;
	imap_append_drop(s);
}

static void drop_done(struct imap_session *s)
{
	s->step = parked_step;
}

/* Give the message up; the writer forgets what it has of it. */
void imap_append_drop(struct imap_session *s)
{
	struct message *m = s->append.message;

	s->append.message = NULL;
	if (!m)
		return;
	uint64_t blob = m->id;
	message_unref(m);
	if (!s->append.had_parts)
		return;
	s->u.drop = (struct drop_op){.blob = blob};
	imap_submit(s, ACCESS_WRITER, HANDOFF_DROP, drop_done);
}

static void part_done(struct imap_session *s)
{
	s->step = parked_step;
	if (s->u.op.status != HANDOFF_OK)
		append_refuse(s, "NO [UNAVAILABLE] no space now, try later");
}

/* The full chunks in memory become a part. */
static void part_submit(struct imap_session *s)
{
	struct message *m = s->append.message;
	struct chain full = {0};

	s->u.part = (struct part_op){.blob = m->id, .first = m->streamed_chunks};
	while (m->body.head && m->body.head->n == CHUNK_DATA) {
		chain_push(&full, chain_pop(&m->body));
		m->streamed_chunks++;
	}
	m->streamed += full.bytes;
	s->u.part.chunks = full;
	s->append.had_parts = true;
	imap_submit(s, ACCESS_WRITER, HANDOFF_PART, part_done);
}

/* ---- the message ---- */

static void header_scan(struct imap_session *s, struct bytes b)
{
	struct imap_append *a = &s->append;

	for (size_t i = 0; i < b.n && a->scan != SCAN_DONE; i++) {
		a->message->header_bytes++;
		if (b.p[i] == '\n')
			a->scan = a->scan == SCAN_IN_LINE ? SCAN_LINE_START : SCAN_DONE;
		else if (b.p[i] == '\r' && a->scan == SCAN_LINE_START)
			a->scan = SCAN_LINE_START_CR;
		else
			a->scan = SCAN_IN_LINE;
	}
}

/* From here on the writer keeps what is there of the message. */
static uint64_t stream_above(const struct imap_session *s)
{
	return imap_may_grow(s, ACCESS_USE_OUT) ? STREAM_ABOVE : ACCESS_SLICE_SHORT;
}

static size_t message_take(struct imap_session *s, struct bytes b)
{
	struct message *m = s->append.message;

	if (bytes_find(b, 0, 0) >= 0) {
		if (s->engine.busy)
			return 0; /* the part first: then this is refused */
		append_refuse(s, "NO [CANNOT] a message has no NUL octets");
		return 0;
	}
	if (chain_append(&m->body, b) < 0) {
		imap_retry(s);
		return 0;
	}
	m->body_crc = crc32c(m->body_crc, b.p, b.n);
	header_scan(s, b);
	s->append.left -= b.n;
	if (m->body.bytes >= stream_above(s) && !s->engine.busy)
		part_submit(s);
	return b.n;
}

bool imap_append_wants(const struct imap_session *s)
{
	const struct imap_append *a = &s->append;

	if (a->left == 0)
		return !s->engine.busy && s->continuation && s->parked;
	return a->refused ? !s->engine.busy
			  : !s->engine.busy || a->message->body.bytes < stream_above(s);
}

size_t imap_append_input(struct imap_session *s, struct bytes data)
{
	struct imap_append *a = &s->append;

	s->engine.content_comes = a->left > 0;
	if (a->left == 0)
		return imap_line_input(s, data);
	struct bytes b = bytes_first(data, (size_t)MIN(a->left, (uint64_t)data.n));
	if (!a->refused)
		return message_take(s, bytes_first(b, STREAM_ABOVE));
	a->left -= b.n;
	return b.n;
}

/* ---- the end ---- */

static void append_reply(struct imap_session *s)
{
	access_out_put(imap_out(s), s->tag);
	access_out_printf(imap_out(s), " OK [APPENDUID %u %u] appended\r\n", s->append_uidvalidity,
		s->append_uid);
}

static void append_failed(struct imap_session *s)
{
	const char *error = s->append.error;

	imap_append_drop(s);
	if (s->engine.busy) {
		s->step = append_failed;
		return;
	}
	s->append = (struct imap_append){0};
	imap_finish(s, error);
}

void imap_append_end(struct imap_session *s, const char *error)
{
	s->continuation = NULL;
	s->parked = false;
	if (!s->append.error)
		s->append.error = error;
	s->step = append_failed;
}

static void append_done(struct imap_session *s)
{
	int status = s->u.op.status;

	if (status) {
		s->append.error = status == -ENOENT ? "NO [TRYCREATE] no such mailbox"
						    : imap_error_text(status);
		s->step = append_failed;
		return;
	}
	s->append_uidvalidity = s->u.append.uidvalidity;
	s->append_uid = s->u.append.uid;
	message_unref(s->append.message);
	s->append = (struct imap_append){0};
	s->reply_with = append_reply;
	imap_finish(s, NULL);
}

static void append_submit(struct imap_session *s)
{
	struct imap_append *a = &s->append;
	struct chain keywords = {0};

	if (a->keywords.n && chain_append(&keywords, a->keywords) < 0) {
		imap_retry(s);
		return;
	}
	s->u.append = (struct append_op){.account = s->account,
		.target = bytes_make(s->name, s->name_n),
		.message = a->message,
		.flags = a->flags,
		.keywords = keywords,
		.internal_ms = a->internal_ms,
		.internal_zone_min = a->zone_min};
	imap_submit(s, ACCESS_WRITER, STORE_APPEND, append_done);
}

static void append_tail(struct imap_session *s, struct bytes line)
{
	if (s->append.refused || line.n) {
		imap_append_end(s, "BAD one message ends the command");
		return;
	}
	s->continuation = NULL;
	s->parked = false;
	s->step = append_submit;
}

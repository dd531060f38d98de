/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/data.h"
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "smtp/data_scan.h"

enum data_state {
	LINE_START, /* behind CRLF, or at the start of the content */
	IN_LINE,
	BEHIND_CR,
	BEHIND_DOT,    /* a dot began the line and was dropped */
	BEHIND_DOT_CR, /* the CR is held back: it may belong to the end of data */
};

static const uint8_t received_name[] = "received:";
#define NAME_N      (sizeof(received_name) - 1)
#define MATCH_EMPTY 0    /* at the start of a header line */
#define MATCH_NO    0xff /* this line is another field */

/* One call's view of the input. */
struct scan {
	const uint8_t *first, *p, *end;
	const uint8_t *run; /* start of what is not emitted yet */
	data_sink sink;
	void *ctx;
};

static void check_header(struct data_decoder *d, uint64_t octets)
{
	if (d->header_max && octets > d->header_max)
		d->faults |= DATA_HEADER;
}

static void emit(struct data_decoder *d, struct scan *s, struct bytes run)
{
	if (run.n == 0)
		return;
	d->size += run.n;
	if (d->size > d->size_max)
		d->faults |= DATA_TOO_BIG;
	if (d->in_header)
		check_header(d, d->size);
	if (d->faults)
		return;
	d->crc = crc32c(d->crc, run.p, run.n);
	s->sink(s->ctx, run);
}

/* Emit up to p and begin the next run at `next`. */
static void flush(struct data_decoder *d, struct scan *s, const uint8_t *next)
{
	emit(d, s, bytes_make(s->run, (size_t)(s->p - s->run)));
	s->run = next;
}

void data_decoder_init(
	struct data_decoder *d, enum data_form form, uint64_t size_max, uint32_t received_max)
{
	*d = (struct data_decoder){.state = LINE_START,
		.chunked = form != DATA_DOTTED,
		.binary = form == DATA_BINARY,
		.in_header = true,
		.match = MATCH_EMPTY,
		.size_max = size_max,
		.received_max = received_max};
}

static void octet_fault(struct data_decoder *d, enum data_fault fault)
{
	/* A header has lines whatever comes behind it. */
	if (d->binary && !d->in_header)
		d->odd |= (uint8_t)fault;
	else
		d->faults |= (uint8_t)fault;
}

/* Octets of content up to p, emitted or not. */
static uint64_t size_at(const struct data_decoder *d, const struct scan *s)
{
	return d->size + (uint64_t)(s->p - s->run);
}

static void line_end(struct data_decoder *d, struct scan *s)
{
	d->state = LINE_START;
	if (!d->in_header)
		return;
	if (d->match == MATCH_EMPTY) {
		d->in_header = false;
		d->header_bytes = size_at(d, s);
		check_header(d, d->header_bytes);
	}
	d->match = MATCH_EMPTY;
}

/* Compare the header line's next octets with the name; stops in front of a special octet. */
static void match_name(struct data_decoder *d, struct scan *s)
{
	for (; s->p < s->end && d->match < NAME_N; s->p++, d->match++) {
		if (ascii_lower(*s->p) == received_name[d->match])
			continue;
		if (!data_is_special(*s->p))
			d->match = MATCH_NO;
		return;
	}
	if (d->match == NAME_N && ++d->received > d->received_max)
		d->faults |= DATA_LOOP;
}

/* From the start of a line on, or behind the header from anywhere: pass blocks in which nothing
 * needs a look.  The first octets of the input come behind octets that are not there any more.
 * True: something was passed. */
static ALWAYS_INLINE bool skip_clean(struct data_decoder *d, struct scan *s)
{
	const uint8_t *from = s->p;

	if (from == s->first || s->end - from < DATA_BLOCK)
		return false;
	enum data_look look = d->in_header ? DATA_LOOK_HEADER
			      : d->chunked ? DATA_LOOK_NONE
					   : DATA_LOOK_DOT;
	s->p = data_skip(from, s->end, look);
	if (s->p == from)
		return false;
	uint8_t last = s->p[-1];
	d->state = last == '\n' ? LINE_START : last == '\r' ? BEHIND_CR : IN_LINE;
	d->match = last == '\n' ? MATCH_EMPTY : MATCH_NO;
	return true;
}

static void in_line(struct data_decoder *d, struct scan *s)
{
	if (!d->in_header && skip_clean(d, s))
		return;
	if (d->in_header && d->match < NAME_N)
		match_name(d, s);
	s->p = data_scan(s->p, s->end);
	if (s->p == s->end)
		return;
	switch (*s->p++) {
	case '\r':
		if (s->p < s->end && *s->p == '\n') {
			s->p++;
			line_end(d, s);
		} else {
			d->state = BEHIND_CR;
		}
		break;
	case '\n':
		octet_fault(d, DATA_BARE_LF);
		d->match = MATCH_NO;
		break;
	default:
		octet_fault(d, DATA_NUL);
		d->match = MATCH_NO;
	}
}

static void behind_cr(struct data_decoder *d, struct scan *s)
{
	if (*s->p == '\n') {
		s->p++;
		line_end(d, s);
		return;
	}
	octet_fault(d, DATA_BARE_CR);
	d->match = MATCH_NO;
	d->state = IN_LINE; /* the octet itself is looked at there */
}

static void line_start(struct data_decoder *d, struct scan *s)
{
	if (skip_clean(d, s))
		return;
	d->state = IN_LINE;
	if (d->chunked || *s->p != '.')
		return;
	flush(d, s, s->p + 1);
	s->p++;
	d->state = BEHIND_DOT;
}

static void behind_dot(struct data_decoder *d, struct scan *s)
{
	d->state = IN_LINE;
	if (*s->p != '\r')
		return;
	s->p++;
	s->run = s->p;
	d->state = BEHIND_DOT_CR;
}

/* Returns true at the end of data. */
static bool behind_dot_cr(struct data_decoder *d, struct scan *s)
{
	if (*s->p == '\n') {
		s->p++;
		s->run = s->p;
		return true;
	}
	d->faults |= DATA_BARE_CR;
	d->match = MATCH_NO;
	emit(d, s, BYTES_LIT("\r"));
	d->state = IN_LINE;
	return false;
}

enum data_verdict data_decode(
	struct data_decoder *d, struct bytes in, data_sink sink, void *ctx, size_t *used_r)
{
	struct scan s = {.first = in.p, .p = in.p, .run = in.p, .sink = sink, .ctx = ctx};
	bool end = false;

	*used_r = 0;
	if (in.n == 0)
		return DATA_MORE;
	s.end = in.p + in.n;
	while (s.p < s.end && !end) {
		switch ((enum data_state)d->state) {
		case LINE_START:
			line_start(d, &s);
			break;
		case IN_LINE:
			in_line(d, &s);
			break;
		case BEHIND_CR:
			behind_cr(d, &s);
			break;
		case BEHIND_DOT:
			behind_dot(d, &s);
			break;
		case BEHIND_DOT_CR:
			end = behind_dot_cr(d, &s);
			break;
		}
	}
	flush(d, &s, s.p);
	*used_r = (size_t)(s.p - in.p);
	if (end && d->in_header)
		d->header_bytes = d->size;
	return end ? DATA_END : DATA_MORE;
}

void data_decoder_end(struct data_decoder *d)
{
	if (d->state == BEHIND_CR)
		octet_fault(d, DATA_BARE_CR);
	if (d->in_header)
		d->header_bytes = d->size;
}

/* From *at to and with the next LF, or to the end; a CR only directly before an LF.  False: a CR or
 * LF stands alone. */
static bool encode_line(struct data_encoder *e, const uint8_t **at, const uint8_t *end)
{
	const uint8_t *first = *at, *p = first;

	if (e->cr != (*p == '\n'))
		return false;
	while ((p = data_scan(p, end)) < end && *p != '\n') {
		if (*p == '\r' && p + 1 < end && p[1] != '\n')
			return false;
		p++;
	}
	e->in_line = p == end;
	if (p < end && !e->cr && (p == first || p[-1] != '\r'))
		return false;
	e->cr = p == end && end[-1] == '\r';
	*at = e->in_line ? p : p + 1;
	return true;
}

/* Pass blocks without anything alone and without a dot to double.  In front of the first octet of
 * the input is one that is not there any more. */
static bool encode_clean(
	struct data_encoder *e, const uint8_t *first, const uint8_t **at, const uint8_t *end)
{
	const uint8_t *from = *at;

	if (from == first || (*at = data_skip(from, end, DATA_LOOK_DOT)) == from)
		return false;
	e->in_line = (*at)[-1] != '\n';
	e->cr = (*at)[-1] == '\r';
	return true;
}

int data_encode(struct data_encoder *e, struct bytes in, struct buf *out)
{
	const uint8_t *p = in.p, *end = in.p + in.n, *run = in.p;

	while (p < end) {
		if (encode_clean(e, in.p, &p, end))
			continue;
		if (!e->in_line && *p == '.') {
			buf_put(out, bytes_make(run, (size_t)(p - run)));
			buf_byte(out, '.');
			run = p++;
			e->in_line = true;
			continue;
		}
		if (!encode_line(e, &p, end))
			return -EINVAL;
	}
	buf_put(out, bytes_make(run, (size_t)(p - run)));
	return out->overflow ? -ENOSPC : 0;
}

int data_encode_end(struct data_encoder *e, struct buf *out)
{
	if (e->cr)
		return -EINVAL;
	if (e->in_line)
		buf_str(out, "\r\n");
	buf_str(out, ".\r\n");
	e->in_line = false;
	return out->overflow ? -ENOSPC : 0;
}

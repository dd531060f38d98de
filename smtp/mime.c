/* SPDX-License-Identifier: BSD-3-Clause
 * A line at a time: only the first octets of a line and its length matter.  Any thread. */
#include "smtp/mime.h"
#include "smtp/header.h"

static struct mime_part *current(struct mime_scan *s)
{
	return &s->parts[s->current];
}

struct bytes mime_part_header(const struct mime_scan *s, unsigned part)
{
	return bytes_make(s->headers.p + s->parts[part].header_at, s->parts[part].header_n);
}

int mime_part_child(const struct mime_scan *s, unsigned part, unsigned number)
{
	for (unsigned i = part + 1; i < s->part_count; i++) {
		if (s->parts[i].parent == part && s->parts[i].number == number)
			return (int)i;
	}
	return -1;
}

/* ---- parts open and close ---- */

static void part_open(struct mime_scan *s, uint16_t parent, uint16_t number, uint64_t offset)
{
	struct mime_part *p = &s->parts[s->part_count];

	*p = (struct mime_part){.parent = parent,
		.number = number,
		.header_at = (uint32_t)s->headers.n,
		.header_offset = offset,
		.body_offset = offset,
		.end = offset};
	if (s->part_count) {
		p->depth = (uint8_t)(s->parts[parent].depth + 1);
		s->parts[parent].children++;
	}
	s->current = (uint16_t)s->part_count++;
	s->in_header = true;
}

/* end: where the body stops; lines: line ends before that place. */
static void part_close(struct mime_scan *s, uint16_t part, uint64_t end, uint32_t lines)
{
	struct mime_part *p = &s->parts[part];

	if (s->in_header && part == s->current) {
		/* A header without the empty line: no body. */
		p->header_n = (uint32_t)s->headers.n - p->header_at;
		p->body_offset = p->end = s->line_start;
		return;
	}
	p->end = MAX(end, p->body_offset);
	p->lines = lines > p->body_line ? lines - p->body_line : 0;
}

/* Close the innermost part and its ancestors below `keep`. */
static void close_down_to(struct mime_scan *s, uint16_t keep, uint64_t end, uint32_t lines)
{
	while (s->current != keep) {
		part_close(s, s->current, end, lines);
		s->in_header = false;
		s->current = current(s)->parent;
	}
}

static void boundary_push(struct mime_scan *s, struct header_params params)
{
	struct mime_level *l = &s->levels[s->level_count];
	struct buf b;

	buf_init(&b, l->boundary, sizeof(l->boundary));
	if (!header_param_find(params, BYTES_LIT("boundary"), &b) || b.n == 0 || b.n == b.cap)
		return; /* without a usable boundary it is one opaque body */
	while (b.n && b.p[b.n - 1] == ' ')
		b.n--; /* RFC 2046 5.1.1: does not end in white space */
	l->boundary_n = (uint8_t)b.n;
	l->part = s->current;
	s->level_count++;
	current(s)->kind = MIME_MULTIPART;
}

/* The kind of the current part, from its Content-Type or its parent's default. */
static void classify(struct mime_scan *s)
{
	struct mime_part *p = current(s);
	struct bytes value, type, sub;

	if (!header_find(mime_part_header(s, s->current), BYTES_LIT("Content-Type"), &value)) {
		if (p->number && s->parts[p->parent].digest)
			p->kind = MIME_MESSAGE;
		return;
	}
	struct header_params params = header_type_parse(value, &type, &sub);
	if (bytes_ieq(type, BYTES_LIT("multipart")) && p->depth < MIME_DEPTH_MAX &&
		s->level_count < MIME_DEPTH_MAX) {
		p->digest = bytes_ieq(sub, BYTES_LIT("digest"));
		boundary_push(s, params);
	} else if (bytes_ieq(type, BYTES_LIT("message")) && bytes_ieq(sub, BYTES_LIT("rfc822"))) {
		p->kind = MIME_MESSAGE;
	}
}

/* The empty line was seen; the body begins at offset. */
static void header_end(struct mime_scan *s, uint64_t offset)
{
	struct mime_part *p = current(s);

	p->header_n = (uint32_t)s->headers.n - p->header_at;
	p->body_offset = p->end = offset;
	p->body_line = s->line_count;
	s->in_header = false;
	if (s->header_only) {
		s->done = true;
		return;
	}
	classify(s);
	if (p->kind != MIME_MESSAGE)
		return;
	if (s->part_count < s->parts_max && p->depth < MIME_DEPTH_MAX)
		part_open(s, s->current, 0, offset);
	else
		p->kind = MIME_LEAF;
}

/* ---- lines ---- */

/* 0: no; 1: "--boundary"; 2: "--boundary--". */
static int boundary_match(const struct mime_scan *s, const struct mime_level *l)
{
	size_t n = s->head_n, at = 2u + l->boundary_n;
	int kind = 1;

	if (n < at || memcmp(s->head + 2, l->boundary, l->boundary_n) != 0)
		return 0;
	if (n >= at + 2 && s->head[at] == '-' && s->head[at + 1] == '-') {
		kind = 2;
		at += 2;
	}
	for (; at < n; at++) {
		if (!memchr(" \t\r\n", s->head[at], 4))
			return 0;
	}
	return kind;
}

static void boundary_line(struct mime_scan *s, unsigned level, int kind)
{
	uint16_t multipart = s->levels[level].part;
	/* RFC 2046 5.1.1: the line end before the boundary belongs to the boundary. */
	uint32_t lines = s->line_count - (s->line_end_n ? 1 : 0);

	close_down_to(s, multipart, s->line_start - s->line_end_n, lines);
	s->in_header = false;
	s->level_count = level + 1;
	if (kind == 2)
		s->level_count = level; /* an epilogue follows: text of the multipart */
	else if (s->part_count < s->parts_max)
		part_open(s, multipart, (uint16_t)(s->parts[multipart].children + 1), s->offset);
}

static bool boundary_check(struct mime_scan *s)
{
	if (s->head_n < 2 || s->head[0] != '-' || s->head[1] != '-')
		return false;
	for (unsigned i = s->level_count; i > 0; i--) {
		int kind = boundary_match(s, &s->levels[i - 1]);
		if (kind) {
			boundary_line(s, i - 1, kind);
			return true;
		}
	}
	return false;
}

static bool line_is_empty(const struct mime_scan *s)
{
	return (s->head_n == 1 && s->head[0] == '\n') ||
	       (s->head_n == 2 && s->head[0] == '\r' && s->head[1] == '\n');
}

/* A line has ended (s->offset is behind it). */
static void line_done(struct mime_scan *s, uint8_t end_n)
{
	bool was_header = s->in_header;
	uint32_t header_at = s->line_header_at;

	s->line_count += end_n ? 1 : 0;
	if (was_header && (s->head[0] == '-' || line_is_empty(s))) {
		size_t with = s->headers.n;
		s->headers.n = header_at;
		s->line_count -= end_n ? 1 : 0;
		bool boundary = boundary_check(s);
		s->line_count += end_n ? 1 : 0;
		if (!boundary && line_is_empty(s))
			header_end(s, s->offset);
		else if (!boundary)
			s->headers.n = with;
	} else if (!was_header) {
		s->line_count -= end_n ? 1 : 0;
		boundary_check(s);
		s->line_count += end_n ? 1 : 0;
	}
	s->line_start = s->offset;
	s->line_header_at = (uint32_t)s->headers.n;
	s->line_end_n = end_n;
	s->head_n = 0;
}

static void line_octets(struct mime_scan *s, struct bytes b)
{
	size_t n = MIN(b.n, sizeof(s->head) - s->head_n);

	memcpy(s->head + s->head_n, b.p, n);
	s->head_n = (uint16_t)(s->head_n + n);
	if (s->in_header) {
		size_t room = MIN(b.n, buf_space(&s->headers));
		buf_put(&s->headers, bytes_first(b, room));
		current(s)->header_cut = current(s)->header_cut || room < b.n;
	}
	s->offset += b.n;
}

void mime_scan_init(struct mime_scan *s, struct mime_part *parts, unsigned parts_max,
	void *header_memory, size_t header_cap)
{
	BUG_ON(parts_max == 0 || parts_max > UINT16_MAX);
	*s = (struct mime_scan){.parts = parts, .parts_max = parts_max};
	buf_init(&s->headers, header_memory, header_cap);
	part_open(s, 0, 0, 0);
}

void mime_scan_feed(struct mime_scan *s, struct bytes data)
{
	while (data.n && !s->done) {
		ptrdiff_t lf = bytes_find(data, '\n', 0);
		struct bytes b = bytes_first(data, lf < 0 ? data.n : (size_t)lf + 1);
		bool cr = b.n >= 2 ? lf >= 0 && b.p[b.n - 2] == '\r' : s->last_cr;
		line_octets(s, b);
		s->last_cr = b.p[b.n - 1] == '\r';
		if (lf >= 0)
			line_done(s, cr ? 2 : 1);
		data = bytes_skip(data, b.n);
	}
}

void mime_scan_end(struct mime_scan *s)
{
	if (s->done)
		return;
	if (s->head_n)
		line_done(s, 0);
	if (s->done)
		return;
	close_down_to(s, 0, s->offset, s->line_count);
	part_close(s, 0, s->offset, s->line_count);
	s->in_header = false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/downgrade.h"
#include "smtp/header.h"

#define QP_COLUMNS     75 /* RFC 2045 6.7: 76 with the soft line break's "=" */
#define BASE64_COLUMNS 76 /* RFC 2045 6.8 */
#define OPENED_MAX     64 /* messages and multiparts of one message, nested or not; chosen */

enum state { STATE_HEADER, STATE_BODY, STATE_DELIMITER };
/* What a part's body goes through. */
enum method { METHOD_PASS, METHOD_7BIT, METHOD_MASK, METHOD_QP, METHOD_BASE64 };
/* Header fields that matter. */
enum field { FIELD_UNKNOWN, FIELD_OTHER, FIELD_TYPE, FIELD_ENCODING, FIELD_VERSION };

static void header_begin(struct downgrade *d)
{
	d->state = STATE_HEADER;
	d->typed = false;
	d->field = FIELD_UNKNOWN;
	d->name_n = d->encoding_n = 0;
	d->type_n = 0;
	d->cr = false;
	d->line_end = true;
}

void downgrade_init(struct downgrade *d, enum body_type to, bool utf8)
{
	*d = (struct downgrade){.to = (uint8_t)to, .utf8 = utf8, .top = true};
	header_begin(d);
}

static void fault(struct downgrade *d, enum downgrade_fault why)
{
	if (d->fault == DOWNGRADE_FINE)
		d->fault = (uint8_t)why;
}

/* ---- encoders ---- */

static void qp_escape(struct downgrade *d, struct buf *out, uint8_t c)
{
	static const char digits[] = "0123456789ABCDEF";

	if (d->column + 3 > QP_COLUMNS) {
		buf_str(out, "=\r\n");
		d->column = 0;
	}
	buf_byte(out, '=');
	buf_byte(out, (uint8_t)digits[c >> 4]);
	buf_byte(out, (uint8_t)digits[c & 15]);
	d->column = (uint8_t)(d->column + 3);
}

static void qp_literal(struct downgrade *d, struct buf *out, uint8_t c)
{
	if (d->column + 1 > QP_COLUMNS) {
		buf_str(out, "=\r\n");
		d->column = 0;
	}
	buf_byte(out, c);
	d->column++;
}

/* White space waits for what follows: at a line's end it is escaped. */
static void qp_settle(struct downgrade *d, struct buf *out, bool end)
{
	uint8_t c = d->space;

	d->space = 0;
	if (c && end)
		qp_escape(d, out, c);
	else if (c)
		qp_literal(d, out, c);
}

static void qp_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	qp_settle(d, out, false);
	if (c == ' ' || c == '\t')
		d->space = c;
	else if (c > ' ' && c <= '~' && c != '=')
		qp_literal(d, out, c);
	else
		qp_escape(d, out, c);
}

static void qp_line_end(struct downgrade *d, struct buf *out)
{
	qp_settle(d, out, true);
	buf_str(out, "\r\n");
	d->column = 0;
}

static void base64_group(struct downgrade *d, struct buf *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned n = d->group_n;
	uint32_t v = (uint32_t)d->group[0] << 16 | (n > 1 ? (uint32_t)d->group[1] << 8 : 0) |
		     (n > 2 ? d->group[2] : 0);

	if (n == 0)
		return;
	if (d->column == BASE64_COLUMNS) {
		buf_str(out, "\r\n");
		d->column = 0;
	}
	for (unsigned i = 0; i < 4; i++)
		buf_byte(out, i <= n ? (uint8_t)digits[v >> (18 - 6 * i) & 63] : '=');
	d->column = (uint8_t)(d->column + 4);
	d->group_n = 0;
}

static void base64_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	d->group[d->group_n++] = c;
	if (d->group_n == 3)
		base64_group(d, out);
}

/* ---- the body of a part ---- */

static void content_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	switch ((enum method)d->method) {
	case METHOD_7BIT:
		if (c >= 0x80)
			fault(d, DOWNGRADE_MARKED);
		buf_byte(out, c);
		break;
	case METHOD_MASK:
		buf_byte(out, c < 0x80 ? c : '?');
		break;
	case METHOD_QP:
		qp_octet(d, out, c);
		break;
	case METHOD_BASE64:
		base64_octet(d, out, c);
		break;
	case METHOD_PASS:
		buf_byte(out, c);
		break;
	}
}

static void content_line_end(struct downgrade *d, struct buf *out)
{
	if (d->method == METHOD_QP) {
		qp_line_end(d, out);
	} else if (d->method == METHOD_BASE64) {
		base64_octet(d, out, '\r');
		base64_octet(d, out, '\n');
	} else {
		buf_str(out, "\r\n");
	}
}

/* The last octet of a part is known only when the delimiter has come. */
static void content_end(struct downgrade *d, struct buf *out)
{
	if (d->method == METHOD_QP)
		qp_settle(d, out, true);
	else if (d->method == METHOD_BASE64)
		base64_group(d, out);
}

static void body_begin(struct downgrade *d, enum method method)
{
	d->state = STATE_BODY;
	d->method = (uint8_t)method;
	d->head_n = d->match = d->space = d->column = d->group_n = 0;
	d->cr = d->line_end = false;
	d->at_line = true; /* the delimiter may come at once */
}

/* ---- what a header says ---- */

static bool encoding_is(const struct downgrade *d, const char *name)
{
	return bytes_ieq(bytes_make(d->encoding, d->encoding_n), bytes_str(name));
}

static bool within(const struct downgrade *d, bool signature)
{
	for (unsigned i = 0; i < d->level_n; i++) {
		if (signature && d->levels[i].signature)
			return true;
	}
	return !signature && d->level_n && d->levels[d->level_n - 1].digest;
}

static enum method leaf_method(const struct downgrade *d, struct bytes type)
{
	bool text = bytes_ieq(type, BYTES_LIT("text")) || type.n == 0;
	enum method encode = text ? METHOD_QP : METHOD_BASE64;
	bool binary = encoding_is(d, "binary");

	if (encoding_is(d, "quoted-printable") || encoding_is(d, "base64"))
		return d->to == BODY_7BIT ? METHOD_7BIT : METHOD_PASS;
	if (d->to == BODY_8BITMIME)
		return binary ? encode : METHOD_PASS;
	if (binary || encoding_is(d, "8bit"))
		return encode;
	/* Not marked, by a sender who has said that there are 8-bit octets. */
	return d->encoding_n == 0 && !within(d, true) ? encode : METHOD_7BIT;
}

static void put_encoding(struct downgrade *d, struct buf *out, const char *name)
{
	if (name)
		buf_printf(out, "Content-Transfer-Encoding: %s\r\n", name);
	else if (d->encoding_n)
		buf_printf(out, "Content-Transfer-Encoding: %.*s\r\n", d->encoding_n, d->encoding);
}

/* A multipart or a message: identity encodings only (RFC 2045 6.4). */
static void put_identity(struct downgrade *d, struct buf *out)
{
	bool wide = encoding_is(d, "8bit") || encoding_is(d, "binary");

	put_encoding(d, out, !wide ? NULL : d->to == BODY_7BIT ? "7bit" : "8bit");
	buf_str(out, "\r\n");
}

static void open_multipart(struct downgrade *d, struct bytes sub, struct header_params params)
{
	uint8_t memory[MIME_BOUNDARY_MAX + 1];
	struct buf boundary;

	buf_init(&boundary, memory, sizeof(memory));
	bool found = header_param_find(params, BYTES_LIT("boundary"), &boundary);
	body_begin(d, METHOD_MASK); /* the preamble: nobody's text */
	if (!found || boundary.n == 0 || boundary.n > MIME_BOUNDARY_MAX || boundary.overflow)
		return;
	if (d->level_n == MIME_DEPTH_MAX) {
		fault(d, DOWNGRADE_TOO_DEEP);
		return;
	}
	unsigned i = d->level_n++;
	d->levels[i].digest = bytes_ieq(sub, BYTES_LIT("digest"));
	d->levels[i].signature = bytes_ieq(sub, BYTES_LIT("signed"));
	d->levels[i].boundary_n = (uint8_t)boundary.n;
	memcpy(d->levels[i].boundary, memory, boundary.n);
}

static void open_leaf(struct downgrade *d, struct buf *out, struct bytes type)
{
	enum method method = leaf_method(d, type);
	bool changed = method == METHOD_QP || method == METHOD_BASE64;

	/* RFC 1428 3: what is no MIME becomes it. */
	if (changed && d->top && !d->mime)
		buf_str(out, "MIME-Version: 1.0\r\n");
	if (changed && d->top && !d->mime && !d->typed)
		buf_str(out, "Content-Type: text/plain; charset=unknown-8bit\r\n");
	put_encoding(d, out, !changed ? NULL : method == METHOD_QP ? "quoted-printable" : "base64");
	buf_str(out, "\r\n");
	body_begin(d, method);
}

/* The empty line: the header is known. */
static void header_end(struct downgrade *d, struct buf *out)
{
	struct bytes type = BYTES_NONE, sub = BYTES_NONE;
	struct header_params params =
		header_type_parse(bytes_make(d->type, d->type_n), &type, &sub);
	bool message = bytes_ieq(type, BYTES_LIT("message")) && bytes_ieq(sub, BYTES_LIT("rfc822"));

	if (!d->typed)
		message = within(d, false);
	bool multipart = bytes_ieq(type, BYTES_LIT("multipart"));
	if ((multipart || message) && ++d->opened > OPENED_MAX)
		fault(d, DOWNGRADE_TOO_DEEP);
	if (multipart || message)
		put_identity(d, out);
	if (multipart)
		open_multipart(d, sub, params);
	else if (message)
		header_begin(d);
	else
		open_leaf(d, out, type);
	d->top = false;
}

/* ---- header ---- */

static enum field field_of(const struct downgrade *d)
{
	struct bytes name = bytes_make(d->name, d->name_n);

	if (name.n == 0 || name.p[name.n - 1] != ':')
		return FIELD_OTHER;
	do
		name.n--;
	while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'));
	if (bytes_ieq(name, BYTES_LIT("content-type")))
		return FIELD_TYPE;
	if (bytes_ieq(name, BYTES_LIT("content-transfer-encoding")))
		return FIELD_ENCODING;
	return bytes_ieq(name, BYTES_LIT("mime-version")) ? FIELD_VERSION : FIELD_OTHER;
}

static void field_begin(struct downgrade *d, struct buf *out)
{
	d->field = (uint8_t)field_of(d);
	if (d->field == FIELD_TYPE) {
		d->typed = true;
		d->type_n = 0; /* the last one counts, as for most readers */
	} else if (d->field == FIELD_ENCODING) {
		d->encoding_n = 0;
	} else if (d->field == FIELD_VERSION && d->top) {
		d->mime = true;
	}
	if (d->field != FIELD_ENCODING)
		buf_put(out, bytes_make(d->name, d->name_n));
	d->name_n = 0;
}

static void field_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	if (c >= 0x80 && !d->utf8)
		fault(d, DOWNGRADE_HEADER);
	if (d->field == FIELD_ENCODING) {
		bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n' || c >= 0x80;
		if (!blank && d->encoding_n < sizeof(d->encoding))
			d->encoding[d->encoding_n++] = (char)c;
		return;
	}
	if (d->field == FIELD_TYPE && d->type_n < sizeof(d->type))
		d->type[d->type_n++] = c;
	buf_byte(out, c);
}

/* Octets of a line whose field is not known yet. */
static void name_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	bool folded = d->name_n == 0 && (c == ' ' || c == '\t');

	if (folded && d->field != FIELD_UNKNOWN) {
		field_octet(d, out, c); /* goes on with the field before */
		d->cr = false;
		return;
	}
	if (c >= 0x80 && !d->utf8)
		fault(d, DOWNGRADE_HEADER);
	d->name[d->name_n++] = (char)c;
	if (c == ':' || d->name_n == sizeof(d->name))
		field_begin(d, out);
}

static void header_line_end(struct downgrade *d, struct buf *out, bool empty)
{
	if (empty) {
		header_end(d, out);
		return;
	}
	if (d->name_n)
		field_begin(d, out); /* a line without a colon */
	if (d->field != FIELD_ENCODING)
		buf_str(out, "\r\n");
	if (d->field == FIELD_TYPE && d->type_n < sizeof(d->type))
		d->type[d->type_n++] = ' ';
}

/* line_end says that the octet before was the end of a line (or there was none), so that name_octet
 * decides; while the name is being held, and at the start, the field is open. */
static void header_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	if (c == '\r' && !d->cr) {
		d->cr = true;
		return;
	}
	if (d->cr && c == '\n') {
		d->cr = false;
		bool empty = d->line_end && d->name_n == 0;
		d->line_end = true;
		header_line_end(d, out, empty);
		return;
	}
	bool begins = d->line_end || d->name_n > 0;
	if (d->cr) { /* a bare CR, which goes nowhere from here: data_encode refuses it */
		d->cr = c == '\r';
		buf_byte(out, '\r');
		if (d->cr)
			return;
	}
	d->line_end = false;
	if (begins)
		name_octet(d, out, c);
	else
		field_octet(d, out, c);
}

/* ---- delimiters ---- */

/* The level whose delimiter the held octets are; -1: none.  *may_r: they may become one, or
 * another's that is longer. */
static int delimiter_find(const struct downgrade *d, bool *may_r)
{
	int found = -1;

	*may_r = false;
	for (int i = d->level_n - 1; i >= 0; i--) {
		size_t n = d->levels[i].boundary_n;
		size_t have = d->head_n < 2 ? 0 : d->head_n - 2u;
		if (d->head[0] != '-' || (d->head_n > 1 && d->head[1] != '-') || have > n ||
			memcmp(d->head + 2, d->levels[i].boundary, have) != 0)
			continue;
		if (d->head_n < 2 || have < n)
			*may_r = true;
		else if (found < 0)
			found = i;
	}
	return found;
}

static void delimiter_octet(struct downgrade *d, struct buf *out, uint8_t c);

/* It is one: the part before has ended.  What is held behind the boundary is the rest of its line.
 */
static void delimiter_begin(struct downgrade *d, struct buf *out, unsigned level)
{
	unsigned n = d->levels[level].boundary_n + 2u, held = d->head_n;

	content_end(d, out);
	if (d->line_end)
		buf_str(out, "\r\n");
	buf_put(out, bytes_make(d->head, n));
	d->level_n = (uint8_t)(level + 1);
	d->state = STATE_DELIMITER;
	d->head_n = d->dashes = d->match = 0;
	d->cr = d->line_end = false;
	for (unsigned i = n; i < held; i++)
		delimiter_octet(d, out, d->head[i]);
}

/* The rest of the delimiter's line. */
static void delimiter_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	if (d->dashes < 2)
		d->dashes = c == '-' ? (uint8_t)(d->dashes + 1) : 3;
	buf_byte(out, c < 0x80 ? c : '?');
	if (!(d->cr && c == '\n')) {
		d->cr = c == '\r';
		return;
	}
	if (d->dashes != 2 || d->level_n == 0) {
		header_begin(d);
		return;
	}
	d->level_n--;
	body_begin(d, METHOD_MASK); /* the epilogue */
}

/* ---- body ---- */

/* The held octets are content. */
static void head_flush(struct downgrade *d, struct buf *out)
{
	if (d->line_end)
		content_line_end(d, out);
	d->line_end = false;
	for (unsigned i = 0; i < d->head_n; i++)
		content_octet(d, out, d->head[i]);
	d->head_n = 0;
}

/* Octets at the start of a line.  False: c is not held, it is content. */
static bool head_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	bool may;

	d->head[d->head_n++] = c;
	int level = delimiter_find(d, &may);
	if (level >= 0)
		d->match = (uint8_t)(level + 1);
	if (may)
		return true;
	if (d->match) {
		delimiter_begin(d, out, d->match - 1u);
		return true;
	}
	d->head_n--;
	head_flush(d, out);
	return false;
}

static void body_octet(struct downgrade *d, struct buf *out, uint8_t c)
{
	if (d->cr && c == '\n') {
		d->cr = false;
		if (d->at_line)
			head_flush(d, out);
		d->line_end = true;
		d->at_line = true;
		return;
	}
	if (d->cr) {
		d->cr = false;
		if (d->at_line)
			head_flush(d, out);
		d->at_line = false;
		content_octet(d, out, '\r');
	}
	if (c == '\r' && d->match) {
		delimiter_begin(d, out, d->match - 1u);
		delimiter_octet(d, out, c);
		return;
	}
	if (c == '\r') {
		d->cr = true;
		return;
	}
	if (d->at_line && head_octet(d, out, c))
		return;
	d->at_line = false;
	content_octet(d, out, c);
}

/* ---- calls ---- */

size_t downgrade_feed(struct downgrade *d, struct bytes in, struct buf *out)
{
	size_t i = 0;

	for (; i < in.n && d->fault == DOWNGRADE_FINE && buf_space(out) >= DOWNGRADE_ROOM; i++) {
		switch ((enum state)d->state) {
		case STATE_HEADER:
			header_octet(d, out, in.p[i]);
			break;
		case STATE_BODY:
			body_octet(d, out, in.p[i]);
			break;
		case STATE_DELIMITER:
			delimiter_octet(d, out, in.p[i]);
			break;
		}
	}
	return i;
}

void downgrade_end(struct downgrade *d, struct buf *out)
{
	BUG_ON(buf_space(out) < DOWNGRADE_ROOM);
	if (d->state == STATE_HEADER && d->name_n)
		field_begin(d, out);
	if (d->state == STATE_BODY && d->match)
		delimiter_begin(d, out, d->match - 1u);
	if (d->state == STATE_BODY && (d->head_n || d->line_end))
		head_flush(d, out);
	if (d->cr && d->state == STATE_BODY)
		content_octet(d, out, '\r');
	else if (d->cr)
		buf_byte(out, '\r');
	d->cr = false;
	if (d->state != STATE_BODY)
		return;
	content_end(d, out);
	/* The message has to end with a line: in QP with one that does not count. */
	if (d->column)
		buf_str(out, d->method == METHOD_QP ? "=\r\n" : "\r\n");
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Fields, unfolding, structured values.  Any thread. */
#include "smtp/header.h"
#include "smtp/header_priv.h"

/* ---- fields ---- */

/* Length of the line at from, with its LF (the rest if there is none). */
static size_t line_bytes(struct bytes b, size_t from)
{
	ptrdiff_t lf = bytes_find(b, '\n', from);

	return (lf < 0 ? b.n : (size_t)lf + 1) - from;
}

/* The line at from and those that continue it. */
static size_t field_bytes(struct bytes b, size_t from)
{
	size_t n = line_bytes(b, from);

	while (from + n < b.n && (b.p[from + n] == ' ' || b.p[from + n] == '\t'))
		n += line_bytes(b, from + n);
	return n;
}

static struct bytes without_line_end(struct bytes b)
{
	if (b.n && b.p[b.n - 1] == '\n')
		b.n--;
	if (b.n && b.p[b.n - 1] == '\r')
		b.n--;
	return b;
}

bool header_next(struct bytes section, size_t *at_r, struct header_field *field_r)
{
	while (*at_r < section.n) {
		struct bytes raw = bytes_make(section.p + *at_r, field_bytes(section, *at_r));
		struct bytes text = without_line_end(raw);
		ptrdiff_t colon = bytes_find(text, ':', 0);
		if (text.n == 0)
			return false;
		*at_r += raw.n;
		if (colon <= 0)
			continue;
		struct bytes name = bytes_first(text, (size_t)colon);
		while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
			name.n--;
		*field_r = (struct header_field){
			.name = name, .value = bytes_skip(text, (size_t)colon + 1), .raw = raw};
		return true;
	}
	return false;
}

bool header_find(struct bytes section, struct bytes name, struct bytes *value_r)
{
	struct header_field f;

	for (size_t at = 0; header_next(section, &at, &f);) {
		if (bytes_ieq(f.name, name)) {
			*value_r = f.value;
			return true;
		}
	}
	return false;
}

static struct bytes trim(struct bytes b)
{
	while (b.n && header_is_space(b.p[0]))
		b = bytes_skip(b, 1);
	while (b.n && header_is_space(b.p[b.n - 1]))
		b.n--;
	return b;
}

void header_unfold(struct buf *out, struct bytes value)
{
	value = trim(value);
	for (size_t i = 0; i < value.n; i++) {
		uint8_t c = value.p[i];
		if (c == '\r' || c == '\n')
			continue;
		header_keep(out, c < 32 && c != '\t' ? ' ' : c);
	}
}

/* ---- tokens ---- */

size_t header_skip_comment(struct bytes b, size_t at, struct buf *text)
{
	unsigned depth = 0;

	for (; at < b.n; at++) {
		uint8_t c = b.p[at];
		if (c == '(') {
			if (depth++)
				header_keep(text, c);
		} else if (c == ')') {
			if (--depth == 0)
				return at + 1;
			header_keep(text, c);
		} else if (c == '\\' && at + 1 < b.n) {
			header_keep(text, b.p[++at]);
		} else if (c != '\r' && c != '\n') {
			header_keep(text, c);
		}
	}
	return at;
}

size_t header_skip_cfws(struct bytes b, size_t at)
{
	struct buf none = {0};

	while (at < b.n && (header_is_space(b.p[at]) || b.p[at] == '('))
		at = b.p[at] == '(' ? header_skip_comment(b, at, &none) : at + 1;
	return at;
}

size_t header_quoted(struct bytes b, size_t at, struct buf *out)
{
	for (at++; at < b.n; at++) {
		uint8_t c = b.p[at];
		if (c == '"')
			return at + 1;
		if (c == '\\' && at + 1 < b.n)
			c = b.p[++at];
		if (c != '\r' && c != '\n' && c != 0)
			header_keep(out, c);
	}
	return at;
}

/* RFC 2045 5.1: token is what is neither special, control nor space; 8-bit octets are taken. */
static bool is_token(uint8_t c)
{
	return c > 32 && c != 127 && !memchr("()<>@,;:\\\"/[]?=", c, 15);
}

static struct bytes token(struct bytes b, size_t *at)
{
	size_t from = *at;

	while (*at < b.n && is_token(b.p[*at]))
		(*at)++;
	return bytes_make(b.p + from, *at - from);
}

struct header_params header_type_parse(
	struct bytes value, struct bytes *type_r, struct bytes *sub_r)
{
	size_t at = header_skip_cfws(value, 0);

	*sub_r = BYTES_NONE;
	*type_r = token(value, &at);
	at = header_skip_cfws(value, at);
	if (at < value.n && value.p[at] == '/') {
		at = header_skip_cfws(value, at + 1);
		*sub_r = token(value, &at);
	}
	return (struct header_params){.in = value, .at = at};
}

static size_t param_value(struct bytes b, size_t at, struct buf *out)
{
	if (at < b.n && b.p[at] == '"')
		return header_quoted(b, at, out);
	/* Unquoted values with octets that ask for quotes are common: end only at ; and white
	 * space. */
	for (; at < b.n && b.p[at] != ';' && !header_is_space(b.p[at]) && b.p[at] != '('; at++)
		header_keep(out, b.p[at]);
	return at;
}

bool header_param_next(struct header_params *p, struct bytes *name_r, struct buf *out)
{
	while (p->at < p->in.n && p->count < HEADER_PARAMS_MAX) {
		ptrdiff_t semicolon = bytes_find(p->in, ';', p->at);
		if (semicolon < 0)
			break;
		p->count++;
		p->at = header_skip_cfws(p->in, (size_t)semicolon + 1);
		*name_r = token(p->in, &p->at);
		p->at = header_skip_cfws(p->in, p->at);
		if (!name_r->n || p->at >= p->in.n || p->in.p[p->at] != '=')
			continue;
		p->at = param_value(p->in, header_skip_cfws(p->in, p->at + 1), out);
		return true;
	}
	return false;
}

bool header_param_find(struct header_params p, struct bytes name, struct buf *out)
{
	struct bytes have;
	size_t before = out->n;

	while (header_param_next(&p, &have, out)) {
		if (bytes_ieq(have, name))
			return true;
		out->n = before;
	}
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/reply_parse.h"

void reply_parser_init(struct reply_parser *p)
{
	*p = (struct reply_parser){0};
}

/* Append as printable ASCII what fits. */
static void put_text(struct smtp_reply_info *info, struct bytes text)
{
	size_t n = MIN(text.n, (size_t)(SMTP_REPLY_TEXT_MAX - info->text_n));
	char *to = info->text + info->text_n;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = text.p[i];
		to[i] = c >= ' ' && c <= '~' ? (char)c : '?';
	}
	info->text_n = (uint8_t)(info->text_n + n);
}

/* One number of an enhanced code: 1..3 digits, up to 255 (what is kept; none is higher). */
static bool take_number(struct bytes *in, uint8_t *out)
{
	unsigned v = 0, digits = 0;

	while (in->n && ascii_is_digit(in->p[0]) && digits < 4) {
		v = v * 10 + (unsigned)(in->p[0] - '0');
		*in = bytes_skip(*in, 1);
		digits++;
	}
	*out = (uint8_t)v;
	return digits >= 1 && digits <= 3 && v <= UINT8_MAX;
}

static bool take_dot(struct bytes *in)
{
	if (in->n == 0 || in->p[0] != '.')
		return false;
	*in = bytes_skip(*in, 1);
	return true;
}

/* "x.y.z " at the start of a text, of the reply's class (RFC 2034 4); returns what follows. */
static struct bytes take_enhanced(struct bytes text, unsigned code, uint8_t enhanced[3])
{
	struct bytes rest = text;
	uint8_t e[3];

	if (!take_number(&rest, &e[0]) || !take_dot(&rest) || !take_number(&rest, &e[1]) ||
		!take_dot(&rest) || !take_number(&rest, &e[2]))
		return text;
	if (e[0] != code / 100 || (rest.n && rest.p[0] != ' '))
		return text;
	memcpy(enhanced, e, 3);
	return bytes_skip(rest, 1);
}

static int line_code(struct bytes line)
{
	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !ascii_is_digit(line.p[1]) ||
		!ascii_is_digit(line.p[2]))
		return -1;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return -1;
	return (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
}

struct bytes reply_parser_text(const struct reply_parser *p)
{
	return bytes_skip(bytes_make(p->line, p->line_n), 4);
}

static enum reply_verdict line_end(struct reply_parser *p)
{
	int code = line_code(bytes_make(p->line, p->line_n));

	if (code < 0 || (p->more && code != p->info.code) || ++p->lines > SMTP_REPLY_LINES_MAX)
		return REPLY_BAD;
	p->info.code = (uint16_t)code;
	struct bytes text = take_enhanced(reply_parser_text(p), (unsigned)code, p->info.enhanced);
	if (p->info.text_n && text.n)
		put_text(&p->info, BYTES_LIT(" "));
	put_text(&p->info, text);
	p->more = p->line_n > 3 && p->line[3] == '-';
	return p->more ? REPLY_LINE : REPLY_DONE;
}

/* Octets without CR and LF; false: the line is too long to be one. */
static bool keep(struct reply_parser *p, struct bytes in)
{
	size_t n = MIN(in.n, (size_t)(SMTP_REPLY_LINE_MAX - p->line_n));

	if (n)
		memcpy(p->line + p->line_n, in.p, n);
	p->line_n += (uint16_t)n;
	p->line_octets += (uint32_t)MIN(in.n, (size_t)SMTP_REPLY_LINE_HARD);
	return p->line_octets < SMTP_REPLY_LINE_HARD;
}

/* The rest of a line's text, its CR and its LF; neither comes alone. */
static enum reply_verdict take_line(struct reply_parser *p, struct bytes in, size_t *used_r)
{
	size_t n = 0;

	if (!p->cr) {
		while (n < in.n && in.p[n] != '\r' && in.p[n] != '\n')
			n++;
		*used_r = n;
		if (!keep(p, bytes_first(in, n)))
			return REPLY_BAD;
		if (n == in.n)
			return REPLY_MORE;
		p->cr = in.p[n++] == '\r';
		*used_r = n;
		if (!p->cr)
			return REPLY_BAD;
	}
	if (n == in.n)
		return REPLY_MORE;
	*used_r = n + 1;
	return in.p[n] == '\n' ? line_end(p) : REPLY_BAD;
}

enum reply_verdict reply_parse(struct reply_parser *p, struct bytes in, size_t *used_r)
{
	*used_r = 0;
	if (p->bad)
		return REPLY_BAD;
	if (p->line_octets == 0 && !p->cr) {
		p->line_n = 0;
		if (!p->more) {
			p->info = (struct smtp_reply_info){0};
			p->lines = 0;
		}
	}
	enum reply_verdict v = take_line(p, in, used_r);
	if (v == REPLY_LINE || v == REPLY_DONE) {
		p->line_octets = 0;
		p->cr = false;
	}
	p->bad = v == REPLY_BAD;
	return v;
}

void reply_info_make(
	struct smtp_reply_info *info, uint16_t code, const char *enhanced, const char *text)
{
	*info = (struct smtp_reply_info){.code = code};
	if (enhanced)
		(void)take_enhanced(bytes_str(enhanced), code, info->enhanced);
	put_text(info, bytes_str(text));
}

/* SPDX-License-Identifier: BSD-3-Clause
 * OWNER: any thread. */
#include "store/imap/imap_parse.h"
#include "smtp/header.h"

const char *const imap_flag_names[IMAP_FLAG_N] = {
	"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"};

bool imap_char(struct imap_parse *p, uint8_t c)
{
	if (p->at >= p->n || p->p[p->at] != c)
		return false;
	p->at++;
	return true;
}

bool imap_word(struct imap_parse *p, const char *word)
{
	struct bytes w = bytes_str(word);

	if (!bytes_istarts(bytes_make(p->p + p->at, p->n - p->at), w))
		return false;
	p->at += w.n;
	return true;
}

static bool is_atom(uint8_t c)
{
	return c > 32 && c < 127 && !memchr("(){%*\"\\]", c, 8);
}

static struct bytes span(struct imap_parse *p, bool (*is)(uint8_t c))
{
	size_t from = p->at;

	while (p->at < p->n && is(p->p[p->at]))
		p->at++;
	return bytes_make(p->p + from, p->at - from);
}

struct bytes imap_atom(struct imap_parse *p)
{
	return span(p, is_atom);
}

static bool quoted(struct imap_parse *p, struct bytes *r)
{
	size_t from = ++p->at, to = from;

	for (; p->at < p->n; p->at++) {
		uint8_t c = p->p[p->at];
		if (c == '"') {
			p->at++;
			*r = bytes_make(p->p + from, to - from);
			return true;
		}
		if (c == '\r' || c == '\n' || c == 0)
			return false;
		if (c == '\\') {
			if (++p->at == p->n)
				return false;
			c = p->p[p->at];
			if (c != '"' && c != '\\')
				return false;
		}
		p->p[to++] = c;
	}
	return false;
}

static bool literal(struct imap_parse *p, struct bytes *r)
{
	uint32_t n;

	p->at++;
	if (!imap_number(p, &n))
		return false;
	imap_char(p, '+');
	if (!imap_word(p, "}\r\n") || n > p->n - p->at)
		return false;
	*r = bytes_make(p->p + p->at, n);
	p->at += n;
	return bytes_find(*r, 0, 0) < 0; /* CHAR8 */
}

bool imap_string(struct imap_parse *p, struct bytes *r)
{
	if (imap_peek(p) == '"')
		return quoted(p, r);
	return imap_peek(p) == '{' && literal(p, r);
}

static bool is_astring(uint8_t c)
{
	return is_atom(c) || c == ']';
}

bool imap_astring(struct imap_parse *p, struct bytes *r)
{
	if (imap_peek(p) == '"' || imap_peek(p) == '{')
		return imap_string(p, r);
	*r = span(p, is_astring);
	return r->n > 0;
}

bool imap_nstring(struct imap_parse *p, struct bytes *r)
{
	*r = BYTES_NONE;
	return imap_word(p, "NIL") || imap_string(p, r);
}

static bool is_list(uint8_t c)
{
	return is_astring(c) || c == '%' || c == '*';
}

bool imap_list_mailbox(struct imap_parse *p, struct bytes *r)
{
	if (imap_peek(p) == '"' || imap_peek(p) == '{')
		return imap_string(p, r);
	*r = span(p, is_list);
	return r->n > 0;
}

bool imap_number(struct imap_parse *p, uint32_t *r)
{
	uint64_t v = 0;
	size_t from = p->at;

	while (p->at < p->n && ascii_is_digit(p->p[p->at])) {
		v = v * 10 + (uint64_t)(p->p[p->at++] - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*r = (uint32_t)v;
	return p->at > from;
}

/* ---- sets ---- */

static bool set_number(struct imap_parse *p, uint32_t *r)
{
	*r = UINT32_MAX;
	return imap_char(p, '*') || (imap_number(p, r) && *r > 0);
}

bool imap_set(struct imap_parse *p, struct bytes *r)
{
	size_t from = p->at;
	uint32_t v;

	do {
		if (!set_number(p, &v) || (imap_char(p, ':') && !set_number(p, &v)))
			return false;
	} while (imap_char(p, ','));
	*r = bytes_make(p->p + from, p->at - from);
	return true;
}

bool imap_set_next(struct bytes set, size_t *at, uint32_t *lo_r, uint32_t *hi_r)
{
	struct imap_parse p = {.p = (uint8_t *)(uintptr_t)set.p, .n = set.n, .at = *at};

	if (imap_end(&p) || !set_number(&p, lo_r))
		return false;
	*hi_r = *lo_r;
	if (imap_char(&p, ':') && !set_number(&p, hi_r))
		return false;
	imap_char(&p, ',');
	*at = p.at;
	return true;
}

/* ---- flags ---- */

static bool flag_add(struct bytes name, uint32_t *flags, struct buf *names)
{
	for (unsigned i = 0; i < IMAP_FLAG_N; i++) {
		if (bytes_ieq(name, bytes_str(imap_flag_names[i]))) {
			*flags |= 1u << i;
			return true;
		}
	}
	if (name.n == 0 || name.p[0] == '\\')
		return false;
	buf_put(names, name);
	buf_byte(names, 0);
	return !names->overflow;
}

static bool flag(struct imap_parse *p, uint32_t *flags, struct buf *names)
{
	size_t from = p->at;

	imap_char(p, '\\');
	if (imap_atom(p).n == 0)
		return false;
	return flag_add(bytes_make(p->p + from, p->at - from), flags, names);
}

bool imap_flags(struct imap_parse *p, uint32_t *flags_r, struct buf *names)
{
	bool list = imap_char(p, '(');

	*flags_r = 0;
	if (list && imap_char(p, ')'))
		return true;
	do {
		if (!flag(p, flags_r, names))
			return false;
	} while (imap_space(p));
	return !list || imap_char(p, ')');
}

/* ---- dates ---- */

/* d-Mon-yyyy with one or two digits, or a leading space. */
static bool date_text(struct imap_parse *p, int64_t *days_r)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
	uint32_t day, year;
	unsigned month = 0;

	imap_space(p);
	if (!imap_number(p, &day) || !imap_char(p, '-') || p->n - p->at < 3)
		return false;
	for (unsigned i = 0; i < 12; i++) {
		if (bytes_ieq(bytes_make(p->p + p->at, 3), bytes_make(names + 3 * i, 3)))
			month = i + 1;
	}
	p->at += 3;
	if (!month || !imap_char(p, '-') || !imap_number(p, &year))
		return false;
	if (day < 1 || day > 31 || year > 9999)
		return false;
	*days_r = header_days(year, month, day);
	return true;
}

bool imap_date(struct imap_parse *p, int64_t *days_r)
{
	bool quotes = imap_char(p, '"');

	return date_text(p, days_r) && (!quotes || imap_char(p, '"'));
}

bool imap_date_time(struct imap_parse *p, uint64_t *ms_r, int16_t *zone_min_r)
{
	uint32_t hour, minute, second, zone;
	int64_t days;

	if (!imap_char(p, '"') || !date_text(p, &days) || !imap_space(p) ||
		!imap_number(p, &hour) || !imap_char(p, ':') || !imap_number(p, &minute) ||
		!imap_char(p, ':') || !imap_number(p, &second) || !imap_space(p))
		return false;
	bool minus = imap_char(p, '-');
	if (!minus && !imap_char(p, '+'))
		return false;
	if (!imap_number(p, &zone) || !imap_char(p, '"'))
		return false;
	if (hour > 23 || minute > 59 || second > 60 || zone > 1500 || zone % 100 > 59)
		return false;
	int minutes = (int)(zone / 100 * 60 + zone % 100) * (minus ? -1 : 1);
	int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - minutes * 60;
	*zone_min_r = (int16_t)minutes;
	*ms_r = seconds < 0 ? 0 : (uint64_t)seconds * 1000;
	return true;
}

bool imap_literal_tail(struct bytes line, uint64_t *n_r, bool *wait_r)
{
	ptrdiff_t open = bytes_rfind(line, '{');

	if (open < 0 || line.p[line.n - 1] != '}')
		return false;
	struct bytes digits = bytes_make(line.p + open + 1, line.n - (size_t)open - 2);
	*wait_r = !(digits.n && digits.p[digits.n - 1] == '+');
	if (!*wait_r)
		digits.n--;
	return bytes_to_u64(digits, n_r) == 0;
}

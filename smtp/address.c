/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/address.h"
#include <errno.h>
#include <idn2.h>
#include "smtp/utf8.h"

#define LABEL_MAX 63 /* RFC 1035 2.3.4 */

/* What is left to parse; at >= in.n is the end. */
struct cursor {
	struct bytes in;
	size_t at;
	bool utf8;   /* UTF-8 is allowed */
	bool beyond; /* and there was some */
};

static int peek(const struct cursor *c)
{
	return c->at < c->in.n ? c->in.p[c->at] : -1;
}

static bool accept(struct cursor *c, char want)
{
	if (peek(c) != (uint8_t)want)
		return false;
	c->at++;
	return true;
}

enum octet_class {
	IS_LET_DIG = 1 << 0, /* RFC 5321 4.1.2 */
	IS_LABEL = 1 << 1,   /* and the hyphen */
	IS_ATEXT = 1 << 2,   /* RFC 5322 3.2.3 */
	IS_UPPER = 1 << 3,
};
#define LET_DIG (IS_LET_DIG | IS_LABEL | IS_ATEXT)

static const uint8_t class_of[256] = {
	['0' ... '9'] = LET_DIG,
	['a' ... 'z'] = LET_DIG,
	['A' ... 'Z'] = LET_DIG | IS_UPPER,
	['-'] = IS_LABEL | IS_ATEXT,
	['!'] = IS_ATEXT,
	['#' ... '\''] = IS_ATEXT,
	['*' ... '+'] = IS_ATEXT,
	['/'] = IS_ATEXT,
	['='] = IS_ATEXT,
	['?'] = IS_ATEXT,
	['^' ... '`'] = IS_ATEXT,
	['{' ... '~'] = IS_ATEXT,
};

static bool is_atext(uint8_t ch)
{
	return class_of[ch] & IS_ATEXT;
}

/* Pass octets of a class; returns all the classes that were seen. */
static unsigned pass(struct cursor *c, enum octet_class want)
{
	const uint8_t *p = c->in.p + c->at, *end = c->in.p + c->in.n;
	unsigned seen = 0;

	for (unsigned class; p < end && (class = class_of[*p]) & want; p++)
		seen |= class;
	c->at = (size_t)(p - c->in.p);
	return seen;
}

/* The character beyond ASCII that the cursor is at. */
static int take_utf8(struct cursor *c)
{
	unsigned n = utf8_char(bytes_skip(c->in, c->at));
	if (n == 0)
		return -EINVAL;
	if (!c->utf8)
		return -EILSEQ;
	c->at += n;
	c->beyond = true;
	return 1;
}

/* One character beyond ASCII (RFC 6531 3.3): 1, the cursor is behind it; 0: there is none. */
static inline int accept_utf8(struct cursor *c)
{
	return peek(c) < 0x80 ? 0 : take_utf8(c);
}

/* Letters, digits, hyphens and what is beyond ASCII, with dots between: libidn2 has the rules. */
static int scan_u_domain(struct cursor *c, struct bytes *domain_r)
{
	size_t start = c->at;
	int err;

	do {
		do
			pass(c, IS_LABEL);
		while (accept(c, '.'));
	} while ((err = accept_utf8(c)) > 0);
	*domain_r = bytes_first(bytes_skip(c->in, start), c->at - start);
	if (err == 0 && domain_r->n > DOMAIN_MAX)
		err = -ENAMETOOLONG;
	return err;
}

static int check_label(const uint8_t *label, const uint8_t *end)
{
	if (end == label || label[0] == '-' || end[-1] == '-')
		return -EINVAL;
	return end - label > LABEL_MAX ? -ENAMETOOLONG : 0;
}

/* Domain = sub-domain *("." sub-domain): leaves the cursor behind the last label.  *seen_r: the
 * classes of its octets. */
static int scan_domain(struct cursor *c, struct bytes *domain_r, unsigned *seen_r)
{
	const uint8_t *start = c->in.p + c->at, *end = c->in.p + c->in.n, *label = start,
		      *p = start;
	unsigned seen = 0;
	int err;

	for (;; p++) {
		label = p;
		for (unsigned class; p < end && (class = class_of[*p]) & IS_LABEL; p++)
			seen |= class;
		err = check_label(label, p);
		if (err < 0 || p == end || *p != '.')
			break;
	}
	c->at = (size_t)(p - c->in.p);
	*seen_r = seen;
	*domain_r = bytes_make(start, (size_t)(p - start));
	return err == 0 && domain_r->n > DOMAIN_MAX ? -ENAMETOOLONG : err;
}

/* seen: its classes. */
static void put_lower(struct buf *out, struct bytes in, unsigned seen)
{
	if (!(seen & IS_UPPER)) {
		buf_put(out, in);
		return;
	}
	for (size_t i = 0; i < in.n; i++)
		buf_byte(out, ascii_lower(in.p[i]));
}

/* The A-labels that the name stands for, once more by the strict grammar. */
static int put_u_domain(struct bytes domain, struct buf *out)
{
	char name[DOMAIN_MAX + 1];
	uint8_t *ascii;
	struct bytes whole;

	memcpy(name, domain.p, domain.n);
	name[domain.n] = '\0';
	int rc = idn2_lookup_u8(
		(const uint8_t *)name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (rc != IDN2_OK)
		return rc == IDN2_TOO_BIG_LABEL || rc == IDN2_TOO_BIG_DOMAIN ? -ENAMETOOLONG
									     : -EINVAL;
	struct cursor c = {.in = bytes_str((const char *)ascii)};
	unsigned seen;
	int err = scan_domain(&c, &whole, &seen);
	if (err == 0 && c.at != c.in.n)
		err = -EINVAL;
	if (err == 0)
		put_lower(out, whole, seen);
	idn2_free(ascii);
	return err;
}

/* "[" IPv4 or "IPv6:" IPv6 "]" (RFC 5321 4.1.3); other tags are not for mail of today. */
static int parse_literal(struct cursor *c, struct buf *out)
{
	ptrdiff_t end = bytes_find(c->in, ']', c->at);
	struct ip_addr ip;
	char text[IP_TEXT_MAX];

	if (end < 0)
		return -EINVAL;
	struct bytes inner = bytes_make(c->in.p + c->at + 1, (size_t)end - c->at - 1);
	bool six = bytes_istarts(inner, BYTES_LIT("IPv6:"));
	if (six)
		inner = bytes_skip(inner, 5);
	if ((bytes_find(inner, ':', 0) >= 0) != six || ip_parse(inner, &ip) < 0)
		return -EINVAL;
	c->at = (size_t)end + 1;
	buf_printf(out, "[%s%s]", ip_is_v4(&ip) ? "" : "IPv6:", ip_format(&ip, text));
	return 0;
}

/* Not a name by the strict grammar: it is beyond ASCII, or it is wrong. */
static int parse_u_domain(struct cursor *c, struct buf *out)
{
	struct cursor look = *c;
	struct bytes domain;
	unsigned seen;
	int err = scan_u_domain(&look, &domain);

	if (err < 0)
		return err;
	if (!utf8_needed(domain))
		return scan_domain(c, &domain, &seen);
	c->at = look.at;
	return put_u_domain(domain, out);
}

static int parse_domain(struct cursor *c, struct buf *out, bool *literal_r)
{
	struct cursor look = *c;
	struct bytes domain;
	unsigned seen;

	*literal_r = peek(c) == '[';
	if (*literal_r)
		return parse_literal(c, out);
	if (scan_domain(&look, &domain, &seen) < 0 || peek(&look) >= 0x80)
		return parse_u_domain(c, out);
	c->at = look.at;
	put_lower(out, domain, seen);
	return 0;
}

/* Dot-string: atoms with single dots between. */
static int parse_dot_string(struct cursor *c, struct buf *out)
{
	size_t start = c->at;

	do {
		size_t atom = c->at;
		int more;
		do
			pass(c, IS_ATEXT);
		while ((more = accept_utf8(c)) > 0);
		if (more < 0)
			return more;
		if (c->at == atom)
			return -EINVAL;
	} while (accept(c, '.'));
	buf_put(out, bytes_make(c->in.p + start, c->at - start));
	return 0;
}

/* Could these octets stand as a Dot-string? */
static bool is_dot_string(struct bytes local)
{
	bool atom = false;

	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] != '.' && !is_atext(local.p[i]) && local.p[i] < 0x80)
			return false;
		if (local.p[i] == '.' && !atom)
			return false;
		atom = local.p[i] != '.';
	}
	return atom;
}

static void put_quoted(struct buf *out, struct bytes local)
{
	buf_byte(out, '"');
	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			buf_byte(out, '\\');
		buf_byte(out, local.p[i]);
	}
	buf_byte(out, '"');
}

/* One character of a quoted string: qtextSMTP, a quoted pair of printable ASCII, or UTF-8. */
static int parse_quoted_char(struct cursor *c, struct buf *local)
{
	size_t at = c->at;
	int more = accept_utf8(c);

	if (more < 0)
		return more;
	if (more > 0) {
		buf_put(local, bytes_make(c->in.p + at, c->at - at));
		return 0;
	}
	if (peek(c) == '\\')
		c->at++;
	int ch = peek(c);
	if (ch < ' ' || ch > '~')
		return -EINVAL;
	buf_byte(local, (uint8_t)ch);
	c->at++;
	return 0;
}

static int parse_quoted(struct cursor *c, struct buf *out)
{
	uint8_t memory[PATH_MAX_OCTETS];
	struct buf local;

	buf_init(&local, memory, sizeof(memory));
	c->at++;
	while (peek(c) != '"') {
		int err = parse_quoted_char(c, &local);
		if (err < 0)
			return err;
	}
	c->at++;
	if (local.overflow)
		return -ENAMETOOLONG;
	if (is_dot_string(buf_view(&local)))
		buf_put(out, buf_view(&local));
	else
		put_quoted(out, buf_view(&local));
	return 0;
}

static int parse_local(struct cursor *c, struct buf *out)
{
	size_t start = out->n;
	int err = peek(c) == '"' ? parse_quoted(c, out) : parse_dot_string(c, out);

	if (err == 0 && out->n - start > LOCAL_PART_MAX)
		err = -ENAMETOOLONG;
	return err;
}

/* A-d-l ":": checked and ignored (RFC 5321 appendix C). */
static int skip_source_route(struct cursor *c)
{
	struct bytes domain;
	unsigned seen;
	int err;

	do {
		if (!accept(c, '@'))
			return -EINVAL;
		err = scan_domain(c, &domain, &seen);
		if (err < 0)
			return err;
	} while (accept(c, ','));
	return accept(c, ':') ? 0 : -EINVAL;
}

static int parse_mailbox(struct cursor *c, struct buf *out, size_t start, struct address *a)
{
	int err = parse_local(c, out);

	if (err < 0)
		return err;
	if (!accept(c, '@'))
		return -EINVAL;
	buf_byte(out, '@');
	a->utf8 = c->beyond;
	size_t domain_at = out->n;
	err = parse_domain(c, out, &a->literal);
	if (err < 0)
		return err;
	if (out->n - domain_at > DOMAIN_MAX)
		return -ENAMETOOLONG;
	a->domain_at = (uint16_t)(domain_at - start);
	return 0;
}

/* <postmaster>, the one path without a domain (RFC 5321 4.1.1.3). */
static bool accept_postmaster(struct cursor *c, struct buf *out, struct address *a)
{
	struct bytes rest = bytes_skip(c->in, c->at);

	if (!bytes_istarts(rest, BYTES_LIT("postmaster>")))
		return false;
	c->at += 10;
	buf_str(out, "postmaster");
	a->domain_at = 10;
	return true;
}

static int parse_path(
	struct cursor *c, enum address_kind kind, struct buf *out, size_t start, struct address *a)
{
	int err = 0;

	if (!accept(c, '<'))
		return -EINVAL;
	if (kind == ADDRESS_REVERSE && accept(c, '>'))
		return 0;
	if (peek(c) == '@')
		err = skip_source_route(c);
	if (err == 0 && !(kind == ADDRESS_FORWARD && accept_postmaster(c, out, a)))
		err = parse_mailbox(c, out, start, a);
	if (err < 0)
		return err;
	if (!accept(c, '>'))
		return -EINVAL;
	return c->at > PATH_MAX_OCTETS ? -ENAMETOOLONG : 0;
}

static int finish(struct buf *out, size_t start, bool overflow, int err, struct address *a)
{
	if (err == 0 && out->overflow)
		err = -ENOSPC;
	if (err < 0) {
		out->n = start;
		out->overflow = overflow;
		return err;
	}
	a->text = bytes_make(out->p + start, out->n - start);
	return 0;
}

int address_parse_path(
	struct bytes in, unsigned kind, struct buf *out, struct address *address_r, size_t *used_r)
{
	struct cursor c = {.in = in, .utf8 = kind & ADDRESS_UTF8};
	size_t start = out->n;
	bool overflow = out->overflow;

	*address_r = (struct address){0};
	int err =
		parse_path(&c, (enum address_kind)(kind & ADDRESS_FORWARD), out, start, address_r);
	*used_r = c.at;
	return finish(out, start, overflow, err, address_r);
}

int address_parse_mailbox(struct bytes in, struct buf *out, struct address *address_r)
{
	struct cursor c = {.in = in, .utf8 = true};
	size_t start = out->n;
	bool overflow = out->overflow;

	*address_r = (struct address){0};
	int err = parse_mailbox(&c, out, start, address_r);
	if (err == 0 && c.at != in.n)
		err = -EINVAL;
	return finish(out, start, overflow, err, address_r);
}

bool address_domain_valid(struct bytes domain)
{
	struct cursor c = {.in = domain};
	struct bytes whole;
	unsigned seen;

	return scan_domain(&c, &whole, &seen) == 0 && c.at == domain.n;
}

int address_domain_canonical(struct bytes domain, struct buf *out)
{
	struct cursor c = {.in = domain, .utf8 = true};
	struct address whole = {0};
	size_t start = out->n;
	bool overflow = out->overflow;
	int err =
		domain.n == 0 || peek(&c) == '[' ? -EINVAL : parse_domain(&c, out, &whole.literal);

	if (err == 0 && c.at != domain.n)
		err = -EINVAL;
	return finish(out, start, overflow, err, &whole);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Address lists (RFC 5322 3.4, obsolete forms of 4.4).  Any thread. */
#include "smtp/header_priv.h"

/* What has been collected of one address before it is known what it is. */
struct collect {
	struct header_address *a;
	struct buf comment;
	bool space; /* white space since the last word */
	bool at_seen;
	bool angle; /* <addr-spec> was seen: words no longer matter */
};

static void address_init(struct header_address *a)
{
	uint8_t *m = a->memory;

	a->kind = HEADER_MAILBOX;
	a->has_name = a->has_domain = false;
	buf_init(&a->name, m, HEADER_PHRASE_MAX);
	m += HEADER_PHRASE_MAX;
	buf_init(&a->route, m, HEADER_SPEC_MAX);
	buf_init(&a->local, m + HEADER_SPEC_MAX, HEADER_SPEC_MAX);
	buf_init(&a->domain, m + 2 * HEADER_SPEC_MAX, HEADER_SPEC_MAX);
}

/* An octet of a word outside angle brackets: display name, and perhaps an address. */
static void word_octet(struct collect *c, uint8_t octet)
{
	struct header_address *a = c->a;

	if (c->angle)
		return;
	if (c->space && a->name.n && !c->at_seen)
		header_keep(&a->name, ' ');
	c->space = false;
	if (c->at_seen) {
		header_keep(&a->domain, octet);
	} else {
		header_keep(&a->name, octet);
		header_keep(&a->local, octet);
	}
}

static size_t word_quoted(struct collect *c, struct bytes in, size_t at)
{
	uint8_t text[HEADER_PHRASE_MAX];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	at = header_quoted(in, at, &b);
	if (b.n == 0)
		c->space = false;
	for (size_t i = 0; i < b.n; i++)
		word_octet(c, text[i]);
	return at;
}

/* Inside <...>: [route ":"] local "@" domain.  at is behind "<"; returns behind ">". */
static size_t angle(struct collect *c, struct bytes in, size_t at)
{
	struct header_address *a = c->a;
	bool domain = false;

	a->local.n = a->domain.n = 0;
	c->angle = true;
	while (at < in.n && in.p[at] != '>') {
		uint8_t octet = in.p[at];
		struct buf *to = domain ? &a->domain : &a->local;
		if (octet == '"') {
			at = header_quoted(in, at, to);
			continue;
		}
		if (octet == '(' || header_is_space(octet)) {
			at = header_skip_cfws(in, at);
			continue;
		}
		if (octet == ':' && domain && (a->local.n == 0 || a->route.n)) {
			/* What came so far was a source route. */
			header_keep(&a->route, '@');
			for (size_t i = 0; i < a->domain.n; i++)
				header_keep(&a->route, a->domain.p[i]);
			a->domain.n = 0;
			domain = false;
		} else if (octet == '@' && !domain) {
			domain = true;
		} else {
			header_keep(to, octet);
		}
		at++;
	}
	a->has_domain = domain;
	return at < in.n ? at + 1 : at;
}

static void finish(struct collect *c)
{
	struct header_address *a = c->a;

	if (!c->angle) {
		/* local@domain without brackets: its words were no display name. */
		a->name.n = 0;
		a->has_domain = c->at_seen;
		for (size_t i = 0; i < c->comment.n; i++)
			header_keep(&a->name, c->comment.p[i]);
	} else if (!a->name.n) {
		for (size_t i = 0; i < c->comment.n; i++)
			header_keep(&a->name, c->comment.p[i]);
	}
	a->has_name = a->name.n > 0;
}

static bool something(const struct collect *c)
{
	return c->angle || c->a->local.n || c->at_seen;
}

/* Octets up to the end of one address.  Returns true when a group begins instead. */
static bool collect(struct header_addresses *l, struct collect *c)
{
	struct bytes in = l->in;

	while (l->at < in.n) {
		uint8_t octet = in.p[l->at];
		if (octet == ',' || octet == ';')
			return false;
		if (octet == ':' && !c->at_seen && !c->angle && !l->in_group) {
			l->at++;
			return true;
		}
		if (header_is_space(octet)) {
			c->space = true;
			l->at++;
		} else if (octet == '(') {
			c->comment.n = 0;
			l->at = header_skip_comment(in, l->at, &c->comment);
			c->space = true;
		} else if (octet == '"') {
			l->at = word_quoted(c, in, l->at);
		} else if (octet == '<' && !c->angle) {
			l->at = angle(c, in, l->at + 1);
		} else if (octet == '@' && !c->at_seen && !c->angle) {
			c->at_seen = true;
			l->at++;
		} else {
			word_octet(c, octet);
			l->at++;
		}
	}
	return false;
}

/* Steps over the separator that ended an address.  True: it ended a group. */
static bool separator(struct header_addresses *l)
{
	return l->at < l->in.n && l->in.p[l->at++] == ';';
}

bool header_address_next(struct header_addresses *l, struct header_address *a)
{
	struct collect c = {.a = a};

	while (l->at < l->in.n) {
		address_init(a);
		c = (struct collect){.a = a};
		buf_init(&c.comment, a->memory + HEADER_PHRASE_MAX + 3 * HEADER_SPEC_MAX,
			HEADER_SPEC_MAX);
		if (collect(l, &c)) {
			l->in_group = true;
			a->kind = HEADER_GROUP;
			a->has_name = true;
			a->local.n = 0;
			return true;
		}
		if (something(&c)) {
			finish(&c);
			/* The ";" of a group is met again and reported by the next call. */
			if (l->at < l->in.n && l->in.p[l->at] == ',')
				l->at++;
			return true;
		}
		if (separator(l) && l->in_group)
			break;
	}
	if (!l->in_group)
		return false;
	l->in_group = false;
	address_init(a);
	a->kind = HEADER_GROUP_END;
	return true;
}

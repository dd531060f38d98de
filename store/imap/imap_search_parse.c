/* SPDX-License-Identifier: BSD-3-Clause
 * Arguments of SEARCH (RFC 3501 6.4.4).  OWNER: one core's thread. */
#include <errno.h>
#include "store/imap/imap_search.h"

struct parser {
	struct imap_session *s;
	struct imap_parse *p;
	struct search *q;
	int error;
};

enum argument {
	ARG_NONE,
	ARG_FLAG,
	ARG_UNFLAG,
	ARG_KEYWORD,
	ARG_UNKEYWORD,
	ARG_NUMBER,
	ARG_DATE,
	ARG_TEXT,
	ARG_FIELD,
	ARG_HEADER,
	ARG_UID,
	ARG_NOT,
	ARG_OR,
	ARG_NEVER
};

static const struct {
	const char *name;
	uint8_t kind, argument;
	uint8_t bits;
} keys[] = {
	{"ALL",        SEARCH_ALL,        ARG_NONE,      0           },
	{"ANSWERED",   SEARCH_FLAG,       ARG_FLAG,      MSG_ANSWERED},
	{"BCC",        SEARCH_HEADER,     ARG_FIELD,     0           },
	{"BEFORE",     SEARCH_BEFORE,     ARG_DATE,      0           },
	{"BODY",       SEARCH_BODY,       ARG_TEXT,      0           },
	{"CC",         SEARCH_HEADER,     ARG_FIELD,     0           },
	{"DELETED",    SEARCH_FLAG,       ARG_FLAG,      MSG_DELETED },
	{"DRAFT",      SEARCH_FLAG,       ARG_FLAG,      MSG_DRAFT   },
	{"FLAGGED",    SEARCH_FLAG,       ARG_FLAG,      MSG_FLAGGED },
	{"FROM",       SEARCH_HEADER,     ARG_FIELD,     0           },
	{"HEADER",     SEARCH_HEADER,     ARG_HEADER,    0           },
	{"KEYWORD",    SEARCH_KEYWORD,    ARG_KEYWORD,   0           },
	{"LARGER",     SEARCH_LARGER,     ARG_NUMBER,    0           },
	{"NEW",        SEARCH_ALL,        ARG_NEVER,     0           }, /* no message is \Recent here */
	{"NOT",        SEARCH_NOT,        ARG_NOT,       0           },
	{"OLD",        SEARCH_ALL,        ARG_NONE,      0           },
	{"ON",         SEARCH_ON,         ARG_DATE,      0           },
	{"OR",         SEARCH_OR,         ARG_OR,        0           },
	{"RECENT",     SEARCH_ALL,        ARG_NEVER,     0           },
	{"SEEN",       SEARCH_FLAG,       ARG_FLAG,      MSG_SEEN    },
	{"SENTBEFORE", SEARCH_SENTBEFORE, ARG_DATE,      0           },
	{"SENTON",     SEARCH_SENTON,     ARG_DATE,      0           },
	{"SENTSINCE",  SEARCH_SENTSINCE,  ARG_DATE,      0           },
	{"SINCE",      SEARCH_SINCE,      ARG_DATE,      0           },
	{"SMALLER",    SEARCH_SMALLER,    ARG_NUMBER,    0           },
	{"SUBJECT",    SEARCH_HEADER,     ARG_FIELD,     0           },
	{"TEXT",       SEARCH_TEXT,       ARG_TEXT,      0           },
	{"TO",         SEARCH_HEADER,     ARG_FIELD,     0           },
	{"UID",        SEARCH_UID,        ARG_UID,       0           },
	{"UNANSWERED", SEARCH_FLAG,       ARG_UNFLAG,    MSG_ANSWERED},
	{"UNDELETED",  SEARCH_FLAG,       ARG_UNFLAG,    MSG_DELETED },
	{"UNDRAFT",    SEARCH_FLAG,       ARG_UNFLAG,    MSG_DRAFT   },
	{"UNFLAGGED",  SEARCH_FLAG,       ARG_UNFLAG,    MSG_FLAGGED },
	{"UNKEYWORD",  SEARCH_KEYWORD,    ARG_UNKEYWORD, 0           },
	{"UNSEEN",     SEARCH_FLAG,       ARG_UNFLAG,    MSG_SEEN    },
};

/* 0 and ps->error on failure: node 0 is the root, which is nobody's child. */
static uint16_t fail(struct parser *ps, int error)
{
	if (!ps->error)
		ps->error = error;
	return 0;
}

static uint16_t node_new(struct parser *ps, enum search_kind kind)
{
	if (ps->q->node_count == SEARCH_NODES_MAX)
		return fail(ps, -E2BIG);
	uint16_t i = ps->q->node_count++;
	ps->q->nodes[i] = (struct search_node){.kind = (uint8_t)kind};
	return i;
}

static uint16_t negated(struct parser *ps, uint16_t child)
{
	uint16_t i = child ? node_new(ps, SEARCH_NOT) : 0;

	if (i)
		ps->q->nodes[i].child = child;
	return i;
}

static uint16_t key(struct parser *ps, unsigned depth);

/* ---- leaves ---- */

static uint16_t set_node(struct parser *ps, enum search_kind kind)
{
	struct imap_session *s = ps->s;
	struct search *q = ps->q;
	struct bytes set;
	uint32_t lo, hi, n = s->rows.n;
	uint32_t last = kind == SEARCH_SET ? n : n ? imap_row_at(s, n - 1)->uid : 0;

	if (!imap_set(ps->p, &set))
		return fail(ps, -EINVAL);
	uint16_t i = node_new(ps, kind);
	q->nodes[i].range_at = q->range_count;
	for (size_t at = 0; i && imap_set_next(set, &at, &lo, &hi);) {
		if (q->range_count == SEARCH_RANGES_MAX)
			return fail(ps, -E2BIG);
		lo = lo == UINT32_MAX ? last : lo;
		hi = hi == UINT32_MAX ? last : hi;
		*search_range_at(q, q->range_count++) =
			(struct search_range){.lo = MIN(lo, hi), .hi = MAX(lo, hi)};
		q->nodes[i].range_n++;
	}
	return i;
}

static uint16_t text_node(struct parser *ps, enum search_kind kind)
{
	struct search *q = ps->q;
	struct bytes text;

	if (!imap_astring(ps->p, &text))
		return fail(ps, -EINVAL);
	if (text.n == 0)
		return node_new(ps, SEARCH_ALL);
	if (text.n > SEARCH_NEEDLE_MAX || q->matcher_count == SEARCH_MATCHERS_MAX)
		return fail(ps, -E2BIG);
	uint16_t i = node_new(ps, kind);
	if (i) {
		q->nodes[i].matcher = (uint8_t)q->matcher_count;
		matcher_init(search_matcher(q, q->matcher_count++), text);
	}
	return i;
}

static uint16_t header_node(struct parser *ps, struct bytes field)
{
	struct bytes text;

	if (!imap_astring(ps->p, &text))
		return fail(ps, -EINVAL);
	if (text.n > SEARCH_NEEDLE_MAX)
		return fail(ps, -E2BIG);
	uint16_t i = node_new(ps, SEARCH_HEADER);
	ps->q->nodes[i].field = i ? field : BYTES_NONE;
	ps->q->nodes[i].text = i ? text : BYTES_NONE;
	return i;
}

static uint16_t keyword_node(struct parser *ps)
{
	struct bytes name = imap_atom(ps->p);
	uint32_t bits = 0;

	if (!name.n)
		return fail(ps, -EINVAL);
	for (uint32_t k = 0; k < ps->s->keyword_count; k++) {
		if (bytes_ieq(name, imap_keyword(ps->s, k)))
			bits |= 1u << k;
	}
	uint16_t i = node_new(ps, SEARCH_KEYWORD);
	ps->q->nodes[i].bits = i ? bits : 0;
	return i;
}

static uint16_t number_node(struct parser *ps, enum search_kind kind)
{
	uint32_t v;

	if (!imap_number(ps->p, &v))
		return fail(ps, -EINVAL);
	uint16_t i = node_new(ps, kind);
	ps->q->nodes[i].number = i ? v : 0;
	return i;
}

static uint16_t date_node(struct parser *ps, enum search_kind kind)
{
	int64_t days;

	if (!imap_date(ps->p, &days))
		return fail(ps, -EINVAL);
	uint16_t i = node_new(ps, kind);
	ps->q->nodes[i].number = i ? days : 0;
	return i;
}

static uint16_t flag_node(struct parser *ps, uint8_t bits)
{
	uint16_t i = node_new(ps, SEARCH_FLAG);

	ps->q->nodes[i].bits = i ? bits : 0;
	return i;
}

/* ---- inner nodes ---- */

static uint16_t or_node(struct parser *ps, unsigned depth)
{
	uint16_t i = node_new(ps, SEARCH_OR);
	uint16_t a = i ? key(ps, depth) : 0;

	if (!a || !imap_space(ps->p))
		return fail(ps, -EINVAL);
	uint16_t b = key(ps, depth);
	if (!b)
		return 0;
	ps->q->nodes[i].child = a;
	ps->q->nodes[a].next = b;
	return i;
}

/* Keys up to the end or ")"; all must hold. */
static bool and_list(struct parser *ps, uint16_t parent, unsigned depth)
{
	uint16_t *link = &ps->q->nodes[parent].child;

	do {
		uint16_t i = key(ps, depth);
		if (!i)
			return false;
		*link = i;
		link = &ps->q->nodes[i].next;
	} while (imap_space(ps->p));
	return true;
}

static uint16_t group_node(struct parser *ps, unsigned depth)
{
	uint16_t i = node_new(ps, SEARCH_AND);

	if (!i || !and_list(ps, i, depth))
		return 0;
	return imap_char(ps->p, ')') ? i : fail(ps, -EINVAL);
}

static uint16_t key_with(struct parser *ps, unsigned k, unsigned depth)
{
	enum search_kind kind = keys[k].kind;
	struct bytes field;

	switch ((enum argument)keys[k].argument) {
	case ARG_NONE:
		return node_new(ps, kind);
	case ARG_NEVER:
		return negated(ps, node_new(ps, SEARCH_ALL));
	case ARG_FLAG:
		return flag_node(ps, keys[k].bits);
	case ARG_UNFLAG:
		return negated(ps, flag_node(ps, keys[k].bits));
	default:
		break;
	}
	if (!imap_space(ps->p))
		return fail(ps, -EINVAL);
	switch ((enum argument)keys[k].argument) {
	case ARG_KEYWORD:
		return keyword_node(ps);
	case ARG_UNKEYWORD:
		return negated(ps, keyword_node(ps));
	case ARG_NUMBER:
		return number_node(ps, kind);
	case ARG_DATE:
		return date_node(ps, kind);
	case ARG_TEXT:
		return text_node(ps, kind);
	case ARG_FIELD:
		return header_node(ps, bytes_str(keys[k].name));
	case ARG_HEADER:
		if (!imap_astring(ps->p, &field) || !imap_space(ps->p))
			return fail(ps, -EINVAL);
		return header_node(ps, field);
	case ARG_UID:
		return set_node(ps, SEARCH_UID);
	case ARG_NOT:
		return negated(ps, key(ps, depth));
	default:
		return or_node(ps, depth);
	}
}

static uint16_t key(struct parser *ps, unsigned depth)
{
	struct imap_parse *p = ps->p;

	if (depth == SEARCH_DEPTH_MAX)
		return fail(ps, -E2BIG);
	if (imap_char(p, '('))
		return group_node(ps, depth + 1);
	if (ascii_is_digit(imap_peek(p)) || imap_peek(p) == '*')
		return set_node(ps, SEARCH_SET);
	struct bytes name = imap_atom(p);
	for (unsigned k = 0; k < ARRAY_LEN(keys); k++) {
		if (bytes_ieq(name, bytes_str(keys[k].name)))
			return key_with(ps, k, depth + 1);
	}
	return fail(ps, -EINVAL);
}

static int charset(struct imap_parse *p)
{
	struct bytes name;

	if (!imap_word(p, "CHARSET "))
		return 0;
	if (!imap_astring(p, &name) || !imap_space(p))
		return -EINVAL;
	return bytes_ieq(name, BYTES_LIT("UTF-8")) || bytes_ieq(name, BYTES_LIT("US-ASCII"))
		       ? 0
		       : -ENOTSUP;
}

int search_parse(struct imap_session *s, struct imap_parse *p, struct search *q)
{
	struct parser ps = {.s = s, .p = p, .q = q};
	int err = charset(p);

	if (err)
		return err;
	q->node_count = 1;
	q->nodes[0].kind = SEARCH_AND;
	if (!and_list(&ps, 0, 0) || ps.error)
		return ps.error ? ps.error : -EINVAL;
	return imap_end(p) ? 0 : -EINVAL;
}

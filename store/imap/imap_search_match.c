/* SPDX-License-Identifier: BSD-3-Clause
 * Evaluating a search program, and finding strings.  OWNER: one core's thread. */
#include "smtp/header.h"
#include "store/imap/imap_search.h"

/* ---- strings ---- */

void matcher_reset(struct matcher *m)
{
	m->at = 0;
	m->found = false;
}

void matcher_init(struct matcher *m, struct bytes needle)
{
	BUG_ON(needle.n == 0 || needle.n > SEARCH_NEEDLE_MAX);
	m->needle = needle;
	m->back[0] = m->back[1] = 0;
	for (size_t i = 1, k = 0; i < needle.n; i++) {
		while (k && ascii_lower(needle.p[i]) != ascii_lower(needle.p[k]))
			k = m->back[k];
		k += ascii_lower(needle.p[i]) == ascii_lower(needle.p[k]);
		m->back[i + 1] = (uint8_t)k;
	}
	matcher_reset(m);
}

void matcher_feed(struct matcher *m, struct bytes data)
{
	size_t at = m->at;

	for (size_t i = 0; i < data.n && !m->found; i++) {
		uint8_t c = ascii_lower(data.p[i]);
		while (at && c != ascii_lower(m->needle.p[at]))
			at = m->back[at];
		at += c == ascii_lower(m->needle.p[at]);
		m->found = at == m->needle.n;
	}
	m->at = (uint8_t)at;
}

static bool contains(struct bytes text, struct bytes needle)
{
	struct matcher m;

	if (needle.n == 0)
		return true;
	matcher_init(&m, needle);
	matcher_feed(&m, text);
	return m.found;
}

/* ---- leaves ---- */

static int in_set(const struct search *q, const struct search_node *n, uint32_t v)
{
	for (unsigned i = 0; i < n->range_n; i++) {
		const struct search_range *r = search_range_at(q, n->range_at + i);
		if (v >= r->lo && v <= r->hi)
			return 1;
	}
	return 0;
}

/* Of all fields of that name one must hold the text; an empty text asks for the field alone. */
static int header_has(const struct search *q, const struct search_node *n)
{
	struct bytes header = mime_part_header(&q->space->scan, 0);
	struct header_field f;

	for (size_t at = 0; header_next(header, &at, &f);) {
		if (!bytes_ieq(f.name, n->field))
			continue;
		struct buf b;
		buf_init(&b, q->space->text, sizeof(q->space->text));
		header_unfold(&b, f.value);
		if (contains(buf_view(&b), n->text))
			return 1;
	}
	return 0;
}

static int compare_days(const struct search_node *n, enum search_kind before, int64_t days)
{
	if (n->kind == before)
		return days < n->number;
	return n->kind == before + 1u ? days == n->number : days >= n->number;
}

static int sent_date(const struct search *q, const struct search_node *n)
{
	struct header_date date;
	struct bytes value;

	if (!header_find(mime_part_header(&q->space->scan, 0), BYTES_LIT("Date"), &value) ||
		header_date_parse(value, &date) < 0)
		return 0;
	return compare_days(n, SEARCH_SENTBEFORE, date.day);
}

static int row_key(const struct search *q, const struct search_node *n)
{
	int64_t local = (int64_t)(q->row.internal_ms / 1000) + q->row.internal_zone_min * 60;

	if (n->kind == SEARCH_LARGER)
		return q->row.size > (uint64_t)n->number;
	if (n->kind == SEARCH_SMALLER)
		return q->row.size < (uint64_t)n->number;
	return compare_days(n, SEARCH_BEFORE, local / 86400);
}

static int leaf(struct imap_session *s, const struct search *q, const struct search_node *n)
{
	const struct imap_row *r = imap_row_at(s, q->i);
	unsigned level = q->level;

	switch ((enum search_kind)n->kind) {
	case SEARCH_ALL:
		return 1;
	case SEARCH_FLAG:
		return (r->flags & n->bits) == n->bits;
	case SEARCH_KEYWORD:
		return (r->keywords & n->bits) != 0;
	case SEARCH_SET:
		return in_set(q, n, q->i + 1);
	case SEARCH_UID:
		return in_set(q, n, r->uid);
	case SEARCH_HEADER:
		return level < LEVEL_HEADER ? -1 : header_has(q, n);
	case SEARCH_SENTBEFORE:
	case SEARCH_SENTON:
	case SEARCH_SENTSINCE:
		return level < LEVEL_HEADER ? -1 : sent_date(q, n);
	case SEARCH_BODY:
	case SEARCH_TEXT:
		return level < LEVEL_BODY ? -1 : search_matcher(q, n->matcher)->found;
	default:
		return level < LEVEL_ROW ? -1 : row_key(q, n);
	}
}

/* ---- nodes: recursion is bounded by SEARCH_DEPTH_MAX ---- */

/* stop: the value that decides (0 for AND, 1 for OR). */
static int list(struct imap_session *s, const struct search *q, unsigned child, int stop)
{
	int result = !stop;

	for (; child; child = q->nodes[child].next) {
		int v = search_eval(s, q, child);
		if (v == stop)
			return stop;
		if (v < 0)
			result = -1;
	}
	return result;
}

int search_eval(struct imap_session *s, const struct search *q, unsigned node)
{
	const struct search_node *n = &q->nodes[node];

	switch ((enum search_kind)n->kind) {
	case SEARCH_AND:
		return list(s, q, n->child, 0);
	case SEARCH_OR:
		return list(s, q, n->child, 1);
	case SEARCH_NOT: {
		int v = search_eval(s, q, n->child);
		return v < 0 ? -1 : !v;
	}
	default:
		return leaf(s, q, n);
	}
}

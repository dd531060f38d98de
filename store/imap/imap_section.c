/* SPDX-License-Identifier: BSD-3-Clause
 * Sections of a message: from a part's number to its octets.  OWNER: one core's thread. */
#include "smtp/header.h"
#include "store/imap/imap_fetch.h"

/* RFC 3501 6.4.5: the numbers lead through multiparts; an embedded message is looked into when more
 * numbers follow; the only part of a message that is no multipart is number 1.  -1: there is none.
 */
static int part_find(const struct mime_scan *scan, const struct section *sec)
{
	bool itself = false; /* number 1 of a message that is no multipart */
	int at = 0;

	for (unsigned i = 0; i < sec->path_n; i++) {
		if (i > 0 && scan->parts[at].kind == MIME_MESSAGE) {
			at = mime_part_child(scan, (unsigned)at, 0);
			itself = false;
			if (at < 0)
				return -1;
		}
		const struct mime_part *p = &scan->parts[at];
		if (p->kind == MIME_MULTIPART) {
			at = mime_part_child(scan, (unsigned)at, sec->path[i]);
			itself = false;
		} else if (sec->path[i] == 1 && p->number == 0 && !itself) {
			itself = true;
		} else {
			return -1;
		}
		if (at < 0)
			return -1;
	}
	return at;
}

/* The message whose header or text is meant: the whole one, or that within a message part. */
static int message_find(const struct mime_scan *scan, const struct section *sec)
{
	int at = part_find(scan, sec);

	if (at < 0 || sec->path_n == 0)
		return at;
	return scan->parts[at].kind == MIME_MESSAGE ? mime_part_child(scan, (unsigned)at, 0) : -1;
}

static int section_part(const struct mime_scan *scan, const struct section *sec)
{
	bool own = sec->kind == SECTION_ALL || sec->kind == SECTION_MIME;

	return own ? part_find(scan, sec) : message_find(scan, sec);
}

static void cut_partial(struct section *sec)
{
	if (!sec->partial)
		return;
	sec->from = MIN(sec->from + sec->partial_from, sec->to);
	sec->to = MIN(sec->from + sec->partial_n, sec->to);
}

static void locate(const struct fetch *f, struct section *sec)
{
	sec->there = true;
	sec->from = 0;
	sec->to = f->row.size;
	if (sec->kind != SECTION_ALL || sec->path_n) {
		const struct mime_scan *scan = &f->space->scan;
		int part = section_part(scan, sec);
		sec->there = part >= 0;
		if (!sec->there)
			return;
		const struct mime_part *p = &scan->parts[part];
		bool head = sec->kind == SECTION_HEADER || sec->kind == SECTION_MIME;
		sec->from = head ? p->header_offset : p->body_offset;
		sec->to = head ? p->body_offset : p->end;
	}
	cut_partial(sec);
}

void fetch_locate(struct imap_session *s, struct fetch *f)
{
	(void)s;
	for (unsigned i = 0; i < f->section_count; i++) {
		if (!section_is_fields(&f->sections[i]))
			locate(f, &f->sections[i]);
	}
}

void fetch_put_label(struct access_out *o, const struct section *sec)
{
	static const char *const names[] = {
		"", "HEADER", "HEADER.FIELDS ", "HEADER.FIELDS.NOT ", "TEXT", "MIME"};

	if (sec->alias) {
		access_out_str(o, sec->alias);
		return;
	}
	access_out_str(o, "BODY[");
	for (unsigned i = 0; i < sec->path_n; i++)
		access_out_printf(o, "%s%u", i ? "." : "", sec->path[i]);
	if (sec->path_n && sec->kind != SECTION_ALL)
		access_out_str(o, ".");
	access_out_str(o, names[sec->kind]);
	access_out_put(o, sec->fields);
	access_out_str(o, "]");
	if (sec->partial)
		access_out_printf(o, "<%u>", sec->partial_from);
}

/* ---- HEADER.FIELDS ---- */

static bool field_wanted(const struct section *sec, struct bytes name)
{
	struct imap_parse p = {
		.p = (uint8_t *)(uintptr_t)sec->fields.p, .n = sec->fields.n, .at = 1};
	bool named = false;
	struct bytes want;

	do {
		named = imap_astring(&p, &want) && bytes_ieq(want, name);
	} while (!named && imap_space(&p));
	return named == (sec->kind == SECTION_FIELDS);
}

/* Says octets [from, to) of the chosen fields and the empty line; returns how many there are. */
static uint64_t fields_walk(struct access_out *o, const struct section *sec, struct bytes header,
	uint64_t from, uint64_t to)
{
	struct header_field f;
	uint64_t at = 0;
	bool more = true;

	for (size_t pos = 0; more;) {
		more = header_next(header, &pos, &f);
		struct bytes b = more ? f.raw : BYTES_LIT("\r\n");
		if (more && !field_wanted(sec, f.name))
			continue;
		if (o && at + b.n > from && at < to) {
			size_t skip = at < from ? (size_t)(from - at) : 0;
			size_t end = (size_t)MIN((uint64_t)b.n, to - at);
			access_out_put(o, bytes_make(b.p + skip, end - skip));
		}
		at += b.n;
	}
	return at;
}

void fetch_put_fields(
	struct imap_session *s, const struct fetch *f, const struct section *sec, bool first)
{
	const struct mime_scan *scan = f->have_shape ? &f->space->head : &f->space->scan;
	int part = message_find(scan, sec);
	struct access_out *o = imap_out(s);

	access_out_str(o, first ? "" : " ");
	fetch_put_label(o, sec);
	if (part < 0) {
		access_out_str(o, " NIL");
		return;
	}
	struct bytes header = mime_part_header(scan, (unsigned)part);
	struct section range = {.partial = sec->partial,
		.partial_from = sec->partial_from,
		.partial_n = sec->partial_n,
		.to = fields_walk(NULL, sec, header, 0, 0)};
	cut_partial(&range);
	access_out_printf(o, " {%llu}\r\n", (unsigned long long)(range.to - range.from));
	fields_walk(o, sec, header, range.from, range.to);
}

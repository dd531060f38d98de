/* SPDX-License-Identifier: BSD-3-Clause
 * Arguments of FETCH (RFC 3501 6.4.5).  OWNER: any thread. */
#include "store/imap/imap_fetch.h"

static bool field_names(struct imap_parse *p, struct section *sec)
{
	struct bytes name;
	size_t from = p->at;

	if (!imap_char(p, '('))
		return false;
	do {
		if (!imap_astring(p, &name) || name.n == 0)
			return false;
		/* Names that need escapes are no field names; the text is sent back as it came. */
		for (size_t i = 0; i < name.n; i++) {
			if (name.p[i] <= 32 || name.p[i] >= 127 || memchr(":\"\\()", name.p[i], 5))
				return false;
		}
	} while (imap_space(p));
	if (!imap_char(p, ')'))
		return false;
	sec->fields = bytes_make(p->p + from, p->at - from);
	return true;
}

static bool section_text(struct imap_parse *p, struct section *sec)
{
	if (imap_word(p, "HEADER.FIELDS.NOT ")) {
		sec->kind = SECTION_FIELDS_NOT;
		return field_names(p, sec);
	}
	if (imap_word(p, "HEADER.FIELDS ")) {
		sec->kind = SECTION_FIELDS;
		return field_names(p, sec);
	}
	if (imap_word(p, "HEADER"))
		sec->kind = SECTION_HEADER;
	else if (imap_word(p, "TEXT"))
		sec->kind = SECTION_TEXT;
	else if (sec->path_n && imap_word(p, "MIME"))
		sec->kind = SECTION_MIME;
	else
		return false;
	return true;
}

/* Behind "[": numbers, then what is wanted of that part. */
static bool section_spec(struct imap_parse *p, struct section *sec)
{
	uint32_t v;

	if (imap_char(p, ']'))
		return true;
	while (ascii_is_digit(imap_peek(p))) {
		if (sec->path_n == FETCH_PATH_MAX || !imap_number(p, &v) || v == 0 ||
			v > UINT16_MAX)
			return false;
		sec->path[sec->path_n++] = (uint16_t)v;
		if (imap_char(p, ']'))
			return true;
		if (!imap_char(p, '.'))
			return false;
	}
	return section_text(p, sec) && imap_char(p, ']');
}

static bool partial(struct imap_parse *p, struct section *sec)
{
	if (!imap_char(p, '<'))
		return true;
	sec->partial = true;
	return imap_number(p, &sec->partial_from) && imap_char(p, '.') &&
	       imap_number(p, &sec->partial_n) && sec->partial_n > 0 && imap_char(p, '>');
}

static struct section *section_new(struct fetch *f)
{
	if (f->section_count == FETCH_SECTIONS_MAX)
		return NULL;
	struct section *sec = &f->sections[f->section_count++];
	*sec = (struct section){0};
	return sec;
}

static bool section(struct imap_parse *p, struct fetch *f, bool peek)
{
	struct section *sec = section_new(f);

	f->sets_seen = f->sets_seen || !peek;
	return sec && section_spec(p, sec) && partial(p, sec);
}

static bool alias(struct fetch *f, const char *name, enum section_kind kind, bool peek)
{
	struct section *sec = section_new(f);

	if (!sec)
		return false;
	sec->kind = (uint8_t)kind;
	sec->alias = name;
	f->sets_seen = f->sets_seen || !peek;
	return true;
}

/* Longer names before those they begin with. */
static bool item(struct imap_parse *p, struct fetch *f)
{
	static const struct {
		const char *name;
		uint32_t items;
	} plain[] = {
		{"FLAGS",         FETCH_FLAGS        },
                {"UID",           FETCH_UID          },
                {"INTERNALDATE",  FETCH_INTERNALDATE },
		{"ENVELOPE",      FETCH_ENVELOPE     },
                {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
		{"RFC822.SIZE",   FETCH_SIZE         }
        };

	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		if (imap_word(p, plain[i].name)) {
			f->items |= plain[i].items;
			return true;
		}
	}
	if (imap_word(p, "BODY.PEEK["))
		return section(p, f, true);
	if (imap_word(p, "BODY["))
		return section(p, f, false);
	if (imap_word(p, "RFC822.HEADER"))
		return alias(f, "RFC822.HEADER", SECTION_HEADER, true);
	if (imap_word(p, "RFC822.TEXT"))
		return alias(f, "RFC822.TEXT", SECTION_TEXT, false);
	if (imap_word(p, "RFC822"))
		return alias(f, "RFC822", SECTION_ALL, false);
	if (!imap_word(p, "BODY"))
		return false;
	f->items |= FETCH_BODY;
	return true;
}

static bool macro(struct imap_parse *p, struct fetch *f)
{
	const uint32_t fast = FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE;

	if (imap_word(p, "ALL"))
		f->items |= fast | FETCH_ENVELOPE;
	else if (imap_word(p, "FAST"))
		f->items |= fast;
	else if (imap_word(p, "FULL"))
		f->items |= fast | FETCH_ENVELOPE | FETCH_BODY;
	else
		return false;
	return true;
}

static void needs(struct fetch *f)
{
	const uint32_t structure = FETCH_BODY | FETCH_BODYSTRUCTURE;

	f->whole_scan = f->items & structure;
	f->need_scan = f->items & (structure | FETCH_ENVELOPE);
	f->need_row =
		f->need_scan || f->section_count || f->items & (FETCH_INTERNALDATE | FETCH_SIZE);
	f->shaped = f->whole_scan || f->items & FETCH_ENVELOPE;
	for (unsigned i = 0; i < f->section_count; i++) {
		const struct section *sec = &f->sections[i];
		f->fields = f->fields || section_is_fields(sec);
		f->shaped = f->shaped || sec->path_n;
		f->whole_scan = f->whole_scan || sec->path_n;
		f->need_scan = f->need_scan || sec->path_n || sec->kind != SECTION_ALL;
	}
	/* Fields of a part's header are not in a shape. */
	for (unsigned i = 0; i < f->section_count; i++) {
		const struct section *sec = &f->sections[i];
		f->shaped = f->shaped && !(section_is_fields(sec) && sec->path_n);
	}
}

static unsigned fields_count(const struct fetch *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->section_count; i++)
		n += section_is_fields(&f->sections[i]);
	return n;
}

bool fetch_parse(struct imap_parse *p, struct fetch *f)
{
	if (imap_char(p, '(')) {
		do {
			if (!item(p, f))
				return false;
		} while (imap_space(p));
		if (!imap_char(p, ')'))
			return false;
	} else if (!macro(p, f) && !item(p, f)) {
		return false;
	}
	needs(f);
	return imap_end(p) && fields_count(f) <= FETCH_FIELDS_MAX;
}

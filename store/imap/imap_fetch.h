/* SPDX-License-Identifier: BSD-3-Clause
 * FETCH: what is asked, and where a part lies.  OWNER: one core's thread. */
#pragma once
#include "smtp/mime.h"
#include "store/imap/imap_priv.h"

#define FETCH_SECTIONS_MAX 16 /* sections of one FETCH; chosen */
#define FETCH_FIELDS_MAX   4  /* of them those with fields of headers, said at once; chosen */
#define FETCH_PATH_MAX     MIME_DEPTH_MAX

enum fetch_item {
	FETCH_FLAGS = 1 << 0,
	FETCH_UID = 1 << 1,
	FETCH_INTERNALDATE = 1 << 2,
	FETCH_SIZE = 1 << 3,
	FETCH_ENVELOPE = 1 << 4,
	FETCH_BODY = 1 << 5,
	FETCH_BODYSTRUCTURE = 1 << 6,
};

enum section_kind {
	SECTION_ALL,
	SECTION_HEADER,
	SECTION_FIELDS,
	SECTION_FIELDS_NOT,
	SECTION_TEXT,
	SECTION_MIME
};

/* Texts of a shape. */
enum fetch_text { FETCH_TEXT_ENVELOPE, FETCH_TEXT_BODY, FETCH_TEXT_STRUCTURE, FETCH_TEXT_N };

struct section {
	uint8_t kind; /* enum section_kind */
	uint8_t path_n;
	bool partial;
	bool there; /* in this message */
	uint16_t path[FETCH_PATH_MAX];
	uint32_t partial_from, partial_n;
	const char *alias;   /* "RFC822": the name to answer with; NULL: BODY[...] */
	struct bytes fields; /* names with their parentheses, in the command's memory */
	uint64_t from, to;   /* octets of the message to send */
};

/* Work memory of a scan, in an ACCESS_SPACE_SCAN. */
#define SCAN_HEADERS_MAX (128 * 1024) /* octets of header fields kept of one message; chosen */
#define SCAN_TEXT_MAX    (16 * 1024)  /* one unfolded value; chosen */
struct scan_space {
	struct mime_scan scan;
	struct mime_scan head; /* of the message's own header, when the shape was there */
	struct mime_part parts[MIME_PARTS_MAX], head_part[1];
	uint8_t headers[SCAN_HEADERS_MAX];
	uint8_t text[SCAN_TEXT_MAX];
};
static_assert(sizeof(struct scan_space) <= ACCESS_SCAN_BYTES, "a scan fits its space");

struct fetch {
	uint32_t items; /* enum fetch_item */
	unsigned section_count;
	struct section sections[FETCH_SECTIONS_MAX];
	bool need_row, need_scan, whole_scan, sets_seen;
	/* the message under way */
	uint32_t i;
	struct mbox_row row;
	struct chain rows; /* rows read ahead */
	uint32_t rows_at;
	uint64_t offset;  /* next octet to ask for */
	unsigned section; /* being sent */
	bool begun;
	bool first;      /* nothing was said of this message yet */
	bool in_section; /* its label is out */
	struct scan_space *space;
	bool scanning;
	/* what the store keeps of it (imap_shape.c) */
	bool shaped, fields; /* the command: can be answered from shapes; asks for header fields */
	bool have_shape, make_shape, replace_shape;
	struct chain image;  /* the shape */
	struct chain shapes; /* those that were made, to be stored */
	uint32_t text_at[FETCH_TEXT_N], text_n[FETCH_TEXT_N]; /* in image */
	const char *error;                                    /* some message was left out */
};
static_assert(sizeof(struct fetch) <= CHUNK_DATA, "fetch state is a chunk");

static inline struct fetch *fetch_of(struct imap_session *s)
{
	return (struct fetch *)(void *)s->work->data;
}

/* imap_fetch_parse.c: false: bad syntax. */
bool fetch_parse(struct imap_parse *p, struct fetch *f);
/* imap_section.c: where each section lies; texts computed from headers are said at once. */
void fetch_locate(struct imap_session *s, struct fetch *f);
void fetch_put_label(struct access_out *o, const struct section *sec);
void fetch_put_fields(
	struct imap_session *s, const struct fetch *f, const struct section *sec, bool first);
static inline bool section_is_fields(const struct section *sec)
{
	return sec->kind == SECTION_FIELDS || sec->kind == SECTION_FIELDS_NOT;
}
/* imap_shape.c: f->image is a shape that can be used: its parts are in f->space, its texts known.
 */
bool shape_load(struct fetch *f);
/* The shape of the message that was scanned, appended to f->shapes; nothing when it is too large.
 */
void shape_make(struct fetch *f);
void shape_put_text(struct access_out *o, const struct fetch *f, enum fetch_text text);
/* imap_structure.c */
void fetch_put_envelope(struct access_out *o, struct scan_space *space, struct bytes header);
void fetch_put_structure(struct access_out *o, struct scan_space *space, bool extended);

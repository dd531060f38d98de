/* SPDX-License-Identifier: BSD-3-Clause
 * Shapes: what a scan of a message finds (its parts' places, ENVELOPE, BODY, BODYSTRUCTURE), kept
 * in the store so that no message is scanned for them twice.  A shape is checked as if a peer had
 * sent it.  OWNER: one core's thread. */
#include "store/access/access_out.h"
#include "store/imap/imap_fetch.h"

#define SHAPE_VERSION 1 /* raised with every change of what is found out or how it is said */

struct image {
	uint32_t version, parts;
	uint32_t text_n[FETCH_TEXT_N];
	uint32_t reserved;
	/* parts * struct image_part, the texts */
};
static_assert(sizeof(struct image) == 24, "stored record");

struct image_part {
	uint16_t parent, number, children;
	uint8_t kind, depth;
	uint64_t header_offset, body_offset, end;
};
static_assert(sizeof(struct image_part) == 32, "stored record");

/* ---- reading ---- */

static bool part_load(const struct fetch *f, uint32_t i, const struct image_part *p)
{
	if (p->parent > i || (i && p->parent == i) || p->kind > MIME_MESSAGE ||
		p->depth > MIME_DEPTH_MAX || p->header_offset > p->body_offset ||
		p->body_offset > p->end || p->end > f->row.size)
		return false;
	f->space->parts[i] = (struct mime_part){.parent = p->parent,
		.number = p->number,
		.children = p->children,
		.kind = p->kind,
		.depth = p->depth,
		.header_offset = p->header_offset,
		.body_offset = p->body_offset,
		.end = p->end};
	return true;
}

bool shape_load(struct fetch *f)
{
	struct image h;
	struct image_part p;
	uint64_t at = sizeof(h);

	if (chain_read(&f->image, 0, &h, sizeof(h)) != sizeof(h) || h.version != SHAPE_VERSION ||
		h.parts == 0 || h.parts > MIME_PARTS_MAX)
		return false;
	mime_scan_init(&f->space->scan, f->space->parts, MIME_PARTS_MAX, f->space->headers,
		sizeof(f->space->headers));
	for (uint32_t i = 0; i < h.parts; i++, at += sizeof(p)) {
		if (chain_read(&f->image, at, &p, sizeof(p)) != sizeof(p) || !part_load(f, i, &p))
			return false;
	}
	f->space->scan.part_count = h.parts;
	for (unsigned i = 0; i < FETCH_TEXT_N; i++) {
		if (h.text_n[i] > SHAPE_MAX)
			return false;
		f->text_at[i] = (uint32_t)at;
		f->text_n[i] = h.text_n[i];
		at += h.text_n[i];
	}
	return at == f->image.bytes;
}

void shape_put_text(struct access_out *o, const struct fetch *f, enum fetch_text text)
{
	uint32_t at = f->text_at[text], end = at + f->text_n[text], begin = 0;

	for (const struct chunk *c = f->image.head; c && begin < end; begin += c->n, c = c->next) {
		uint32_t from = MAX(at, begin), to = MIN(end, begin + c->n);
		if (from < to)
			access_out_put(o, bytes_make(c->data + (from - begin), to - from));
	}
}

/* ---- making ---- */

static uint32_t texts_make(struct fetch *f, struct access_out *o, struct image *h)
{
	fetch_put_envelope(o, f->space, mime_part_header(&f->space->scan, 0));
	h->text_n[FETCH_TEXT_ENVELOPE] = (uint32_t)o->chain.bytes;
	fetch_put_structure(o, f->space, false);
	h->text_n[FETCH_TEXT_BODY] = (uint32_t)o->chain.bytes - h->text_n[FETCH_TEXT_ENVELOPE];
	fetch_put_structure(o, f->space, true);
	h->text_n[FETCH_TEXT_STRUCTURE] = (uint32_t)o->chain.bytes - h->text_n[FETCH_TEXT_BODY] -
					  h->text_n[FETCH_TEXT_ENVELOPE];
	return (uint32_t)o->chain.bytes;
}

static bool parts_put(const struct fetch *f, struct chain *out)
{
	for (unsigned i = 0; i < f->space->scan.part_count; i++) {
		const struct mime_part *m = &f->space->parts[i];
		struct image_part p = {.parent = m->parent,
			.number = m->number,
			.children = m->children,
			.kind = m->kind,
			.depth = m->depth,
			.header_offset = m->header_offset,
			.body_offset = m->body_offset,
			.end = m->end};
		if (chain_append(out, bytes_make(&p, sizeof(p))) < 0)
			return false;
	}
	return true;
}

static bool texts_put(const struct chain *texts, struct chain *out)
{
	for (const struct chunk *c = texts->head; c; c = c->next) {
		if (chain_append(out, bytes_make(c->data, c->n)) < 0)
			return false;
	}
	return true;
}

void shape_make(struct fetch *f)
{
	struct image h = {.version = SHAPE_VERSION, .parts = f->space->scan.part_count};
	struct access_out texts = {0};
	struct chain one = {0};
	uint32_t n = (uint32_t)(sizeof(h) + h.parts * sizeof(struct image_part)) +
		     texts_make(f, &texts, &h);
	struct shape_head head = {.blob = f->row.blob, .octets = n, .replace = f->replace_shape};

	if (!texts.failed && n <= SHAPE_MAX &&
		chain_append(&one, bytes_make(&head, sizeof(head))) == 0 &&
		chain_append(&one, bytes_make(&h, sizeof(h))) == 0 && parts_put(f, &one) &&
		texts_put(&texts.chain, &one))
		chain_join(&f->shapes, &one);
	else
		chain_free(&one);
	access_out_free(&texts);
}

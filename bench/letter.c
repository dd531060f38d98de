/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/letter.h"
#include <time.h>
#include "dataplane/base/codec.h"
#include "dataplane/base/crc32c.h"

#define FILLER_LINES 16384u /* 1.25 MiB: beyond the caches, as real mail would be */
#define FILLER_BYTES (FILLER_LINES * LETTER_LINE)
#define STEP         7919u /* prime: lines from one message's filler to the next one's */
#define DOT_EVERY    8     /* lines that begin with a dot, which SMTP has to stuff */
#define FIELD        "X-Bypost-Bench: "

static uint8_t filler[FILLER_BYTES];
static char date[64];

void letters_init(void)
{
	uint32_t x = 2463534242u; /* xorshift32, Marsaglia 2003 */
	time_t now = time(NULL);
	struct tm tm;

	for (size_t i = 0; i < sizeof(filler); i++) {
		size_t at = i % LETTER_LINE;
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		filler[i] = (uint8_t)(' ' + 1 + (x >> 8) % 94);
		if (at == 0 && (x >> 16) % DOT_EVERY == 0)
			filler[i] = '.';
		if (at == LETTER_LINE - 2)
			filler[i] = '\r';
		if (at == LETTER_LINE - 1)
			filler[i] = '\n';
	}
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
}

/* The filler's octets are a circle; one piece of it. */
static struct bytes filler_piece(uint64_t at, uint64_t want)
{
	at %= FILLER_BYTES;
	return bytes_make(filler + at, MIN(want, FILLER_BYTES - at));
}

static uint32_t filler_crc(uint32_t crc, uint64_t at, uint64_t n)
{
	while (n) {
		struct bytes piece = filler_piece(at, n);
		crc = crc32c(crc, piece.p, piece.n);
		at += piece.n;
		n -= piece.n;
	}
	return crc;
}

static void put_hex(struct buf *b, const char *name, uint32_t v)
{
	uint8_t text[16];
	struct buf digits;

	buf_init(&digits, text, sizeof(text));
	hex_u64(&digits, v);
	buf_str(b, name);
	buf_put(b, bytes_make(text + 8, 8));
}

static void put_number(struct buf *b, const char *name, uint64_t v)
{
	buf_str(b, name);
	dec_u64(b, v, 1);
}

/* Not printf: at the rates that are measured it would be a third of the source's work.  What the
 * field says, without the check of itself. */
static void field_print(struct buf *b, const struct letter_id *id)
{
	put_hex(b, "run=", id->run);
	put_number(b, " seq=", id->seq);
	put_number(b, " sent=", id->sent_us);
	put_number(b, " size=", id->size);
	put_hex(b, " crc=", id->crc);
}

/* All of it, with its name and CRLF. */
static void field_put(struct buf *b, const struct letter_id *id)
{
	buf_str(b, FIELD);
	size_t at = b->n;
	field_print(b, id);
	put_hex(b, " check=", crc32c(0, b->p + at, b->n - at));
	buf_str(b, "\r\n");
}

static void put_subject(struct buf *b, const struct letter *l, struct bytes subject)
{
	if (subject.n)
		buf_put(b, subject);
	else
		put_number(b, "message ", l->id.seq);
}

static void head_print(struct letter *l, struct bytes from, struct bytes rcpt, struct bytes subject,
	struct bytes line)
{
	struct buf b;

	buf_init(&b, l->head, sizeof(l->head));
	buf_str(&b, "From: <");
	buf_put(&b, from);
	buf_str(&b, ">\r\nTo: <");
	buf_put(&b, rcpt);
	buf_str(&b, ">\r\nSubject: ");
	put_subject(&b, l, subject);
	buf_str(&b, "\r\nDate: ");
	buf_str(&b, date);
	put_hex(&b, "\r\nMessage-ID: <", l->id.run);
	put_number(&b, ".", l->id.seq);
	buf_str(&b, "@bypost-bench.example.org>\r\n");
	field_put(&b, &l->id);
	buf_str(&b, "\r\n");
	buf_put(&b, line);
	BUG_ON(b.overflow); /* addresses are bounded */
	l->head_n = (uint16_t)b.n;
}

void letter_make(struct letter *l, const struct letter_id *id, struct bytes from, struct bytes rcpt,
	struct bytes subject)
{
	uint8_t text[64];
	struct buf line;

	buf_init(&line, text, sizeof(text));
	put_number(&line, "message ", id->seq);
	put_hex(&line, " of ", id->run);
	buf_str(&line, "\r\n");
	if (id->size < line.n + 2)
		line.n = 0;
	uint64_t rest = id->size - line.n;
	l->id = *id;
	l->sent = 0;
	l->corpus = BYTES_NONE;
	/* whole lines, then one that ends where it must */
	l->filler_n = (rest - 2) / LETTER_LINE * LETTER_LINE;
	l->filler_at = id->seq * STEP % FILLER_LINES * LETTER_LINE;
	l->tail_n = (uint16_t)(rest - l->filler_n);
	memset(l->tail, 'x', l->tail_n);
	memcpy(l->tail + l->tail_n - 2, "\r\n", 2);
	uint32_t crc = filler_crc(crc32c(0, text, line.n), l->filler_at, l->filler_n);
	l->id.crc = crc32c(crc, l->tail, l->tail_n);
	head_print(l, from, rcpt, subject, buf_view(&line));
}

void letter_make_of(
	struct letter *l, const struct letter_id *id, const struct corpus *c, uint32_t i)
{
	const struct corpus_mail *m = &c->mails[i % c->count];
	struct buf b;

	l->id = *id;
	l->id.size = m->body_n;
	l->id.crc = m->body_crc;
	l->sent = 0;
	l->corpus = corpus_content(c, m);
	l->filler_n = l->corpus.n;
	l->filler_at = 0;
	l->tail_n = 0;
	buf_init(&b, l->head, sizeof(l->head));
	field_put(&b, &l->id);
	l->head_n = (uint16_t)b.n;
}

uint64_t letter_octets(const struct letter *l)
{
	return l->head_n + l->filler_n + l->tail_n;
}

struct bytes letter_next(struct letter *l, size_t want, bool *end_r)
{
	uint64_t at = l->sent;
	struct bytes out;

	if (at < l->head_n)
		out = bytes_make(l->head + at, l->head_n - at);
	else if ((at -= l->head_n) < l->filler_n && l->corpus.p)
		out = bytes_skip(l->corpus, at);
	else if (at < l->filler_n)
		out = filler_piece(l->filler_at + at, l->filler_n - at);
	else
		out = bytes_make(l->tail + (at - l->filler_n), l->tail_n - (at - l->filler_n));
	out = bytes_first(out, want);
	l->sent += out.n;
	*end_r = l->sent == letter_octets(l);
	return out;
}

/* ---- receiving ---- */

void letter_begin(struct letter_reader *r)
{
	r->header_n = 0;
	r->in_body = false;
	r->ending = 0;
	r->body_n = 0;
	r->crc = 0;
}

/* Octets of run up to the end of the header; the first ones are kept. */
static size_t header_feed(struct letter_reader *r, struct bytes run)
{
	static const char end[] = "\r\n\r\n";
	size_t n = 0;

	while (n < run.n && !r->in_body) {
		if (!r->ending) { /* nothing before the next CR matters */
			const uint8_t *cr = memchr(run.p + n, '\r', run.n - n);
			n = cr ? (size_t)(cr - run.p) : run.n;
			if (!cr)
				break;
		}
		uint8_t octet = run.p[n++];
		if (octet != (uint8_t)end[r->ending])
			r->ending = octet == '\r'; /* a CR may begin it anew */
		else
			r->ending++;
		r->in_body = r->ending == sizeof(end) - 1;
	}
	size_t kept = MIN(n, sizeof(r->header) - r->header_n);
	memcpy(r->header + r->header_n, run.p, kept);
	r->header_n = (uint16_t)(r->header_n + kept);
	return n;
}

void letter_feed(struct letter_reader *r, struct bytes run)
{
	if (!r->in_body)
		run = bytes_skip(run, header_feed(r, run));
	r->crc = crc32c(r->crc, run.p, run.n);
	r->body_n += run.n;
}

/* The field's value; p NULL: there is none. */
static struct bytes field_find(const struct letter_reader *r)
{
	struct bytes all = bytes_make(r->header, r->header_n), name = BYTES_LIT(FIELD);
	size_t from = 0;

	if (all.n < name.n || memcmp(all.p, name.p, name.n) != 0) {
		const uint8_t *p = memmem(all.p, all.n, "\r\n" FIELD, name.n + 2);
		if (!p)
			return BYTES_NONE;
		from = (size_t)(p + 2 - all.p);
	}
	all = bytes_skip(all, from + name.n);
	const uint8_t *end = memmem(all.p, all.n, "\r\n", 2);
	return end ? bytes_first(all, (size_t)(end - all.p)) : BYTES_NONE;
}

/* One " name=value" off the front of field; hex: eight digits.  Returns false: it is not there. */
static bool take_value(struct bytes *field, const char *name, bool hex, uint64_t *v_r)
{
	struct bytes n = bytes_str(name), value;

	if (field->n < n.n || memcmp(field->p, n.p, n.n) != 0)
		return false;
	*field = bytes_skip(*field, n.n);
	ptrdiff_t space = bytes_find(*field, ' ', 0);
	value = space < 0 ? *field : bytes_first(*field, (size_t)space);
	*field = bytes_skip(*field, value.n);
	return hex ? value.n == 8 && hex_to_u64(value, v_r) == 0 : bytes_to_u64(value, v_r) == 0;
}

enum letter_verdict letter_end(const struct letter_reader *r, struct letter_id *id_r)
{
	struct bytes field = field_find(r), rest = field;
	uint64_t run, crc, check;

	*id_r = (struct letter_id){0};
	if (!field.p || !take_value(&rest, "run=", true, &run) ||
		!take_value(&rest, " seq=", false, &id_r->seq))
		return LETTER_FOREIGN;
	id_r->run = (uint32_t)run;
	if (!take_value(&rest, " sent=", false, &id_r->sent_us) ||
		!take_value(&rest, " size=", false, &id_r->size) ||
		!take_value(&rest, " crc=", true, &crc))
		return LETTER_ALTERED;
	id_r->crc = (uint32_t)crc;
	uint32_t right = crc32c(0, field.p, field.n - rest.n);
	if (!take_value(&rest, " check=", true, &check) || rest.n || check != right)
		return LETTER_ALTERED;
	return id_r->size != r->body_n || id_r->crc != r->crc ? LETTER_ALTERED : LETTER_GOOD;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/letter.h"
#include <inttypes.h>
#include <time.h>
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

/* What the field says, without the check of itself. */
static void field_print(struct buf *b, const struct letter_id *id)
{
	buf_printf(b, "run=%08x seq=%" PRIu64 " sent=%" PRIu64 " size=%" PRIu64 " crc=%08x",
		id->run, id->seq, id->sent_us, id->size, id->crc);
}

static void head_print(struct letter *l, struct bytes from, struct bytes rcpt, struct bytes line)
{
	struct buf b;

	buf_init(&b, l->head, sizeof(l->head));
	buf_printf(&b, "From: <%.*s>\r\nTo: <%.*s>\r\nSubject: message %" PRIu64 "\r\nDate: %s\r\n",
		(int)from.n, (const char *)from.p, (int)rcpt.n, (const char *)rcpt.p, l->id.seq,
		date);
	buf_printf(&b, "Message-ID: <%08x.%" PRIu64 "@bypost-bench.example.org>\r\n" FIELD,
		l->id.run, l->id.seq);
	size_t at = b.n;
	field_print(&b, &l->id);
	buf_printf(&b, " check=%08x\r\n\r\n%.*s", crc32c(0, l->head + at, b.n - at), (int)line.n,
		(const char *)line.p);
	BUG_ON(b.overflow); /* addresses are bounded */
	l->head_n = (uint16_t)b.n;
}

void letter_make(struct letter *l, const struct letter_id *id, struct bytes from, struct bytes rcpt)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "message %" PRIu64 " of %08x\r\n", id->seq, id->run);
	struct bytes line = bytes_make(text, (size_t)n);

	if (id->size < line.n + 2)
		line.n = 0;
	uint64_t rest = id->size - line.n;
	l->id = *id;
	l->sent = 0;
	/* whole lines, then one that ends where it must */
	l->filler_n = (rest - 2) / LETTER_LINE * LETTER_LINE;
	l->filler_at = id->seq * STEP % FILLER_LINES * LETTER_LINE;
	l->tail_n = (uint16_t)(rest - l->filler_n);
	memset(l->tail, 'x', l->tail_n);
	memcpy(l->tail + l->tail_n - 2, "\r\n", 2);
	uint32_t crc = filler_crc(crc32c(0, line.p, line.n), l->filler_at, l->filler_n);
	l->id.crc = crc32c(crc, l->tail, l->tail_n);
	head_print(l, from, rcpt, line);
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
	else if ((at -= l->head_n) < l->filler_n)
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
	r->in_body = r->lost = false;
	r->body_n = 0;
	r->crc = 0;
}

/* Octets of run up to the end of the header, which are kept; the rest is body. */
static size_t header_feed(struct letter_reader *r, struct bytes run)
{
	size_t from = r->header_n > 3 ? r->header_n - 3u : 0;
	size_t n = MIN(run.n, sizeof(r->header) - r->header_n);

	memcpy(r->header + r->header_n, run.p, n);
	const uint8_t *end = memmem(r->header + from, r->header_n + n - from, "\r\n\r\n", 4);
	if (end) {
		size_t used = (size_t)(end + 4 - r->header) - r->header_n;
		r->header_n = (uint16_t)(r->header_n + used);
		r->in_body = true;
		return used;
	}
	r->header_n = (uint16_t)(r->header_n + n);
	if (r->header_n == sizeof(r->header))
		r->lost = r->in_body = true;
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
	const uint8_t *p = memmem(r->header, r->header_n, "\r\n" FIELD, sizeof(FIELD) + 1);
	const uint8_t *end =
		p ? memmem(p + 2, r->header_n - (size_t)(p + 2 - r->header), "\r\n", 2) : NULL;

	if (!end)
		return (struct bytes){0};
	p += sizeof(FIELD) + 1;
	return bytes_make(p, (size_t)(end - p));
}

enum letter_verdict letter_end(const struct letter_reader *r, struct letter_id *id_r)
{
	struct bytes field = field_find(r);
	char text[256];
	uint32_t check;
	int used = -1;

	if (!field.p || field.n >= sizeof(text))
		return LETTER_FOREIGN;
	memcpy(text, field.p, field.n);
	text[field.n] = '\0';
	*id_r = (struct letter_id){0};
	int n = sscanf(text,
		"run=%" SCNx32 " seq=%" SCNu64 " sent=%" SCNu64 " size=%" SCNu64 " crc=%" SCNx32
		"%n check=%" SCNx32,
		&id_r->run, &id_r->seq, &id_r->sent_us, &id_r->size, &id_r->crc, &used, &check);
	if (n != 6 || used < 0 || check != crc32c(0, text, (size_t)used))
		return n >= 2 ? LETTER_ALTERED : LETTER_FOREIGN;
	return r->lost || id_r->size != r->body_n || id_r->crc != r->crc ? LETTER_ALTERED
									 : LETTER_GOOD;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/fixup.h"
#include "dataplane/base/crc32c.h"

enum fixup_state {
	LINE_START, /* of the header */
	NAME,       /* held back until it is known */
	FIELD,      /* goes through */
	DROPPED,    /* does not */
	DROPPED_LINE_START,
	EMPTY_LINE, /* its CR was seen */
	BODY,
};

static const struct {
	struct bytes name;
	uint8_t field; /* enum fixup_field */
} fields[] = {
	{BYTES_LIT("from"),       FIXUP_FROM      },
	{BYTES_LIT("date"),       FIXUP_DATE      },
	{BYTES_LIT("message-id"), FIXUP_MESSAGE_ID},
	{BYTES_LIT("bcc"),        FIXUP_BCC       },
	{BYTES_LIT("resent-bcc"), FIXUP_BCC       },
};

struct pass {
	data_sink sink;
	void *ctx;
	const uint8_t *run; /* start of what has not been let through yet */
};

static void emit(struct fixup *f, const struct pass *p, struct bytes run)
{
	if (run.n == 0)
		return;
	f->size += run.n;
	f->crc = crc32c(f->crc, run.p, run.n);
	p->sink(p->ctx, run);
}

/* Let through up to at; what follows begins at next. */
static void flush(struct fixup *f, struct pass *p, const uint8_t *at, const uint8_t *next)
{
	emit(f, p, bytes_make(p->run, (size_t)(at - p->run)));
	p->run = next;
}

static void release(struct fixup *f, struct pass *p)
{
	emit(f, p, bytes_make(f->held, f->held_n));
	f->held_n = 0;
}

/* The field of the name that is held, spaces behind it cut; 0: another. */
static uint8_t held_field(const struct fixup *f)
{
	struct bytes name = bytes_make(f->held, f->held_n);

	while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
		name.n--;
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		if (bytes_ieq(name, fields[i].name))
			return fields[i].field;
	}
	return 0;
}

static void name_start(struct fixup *f, struct pass *p, const uint8_t *at)
{
	flush(f, p, at, at + 1);
	f->held[0] = *at;
	f->held_n = 1;
	f->state = NAME;
}

/* At the colon, or where the name can be none of ours. */
static void name_end(struct fixup *f, struct pass *p, const uint8_t *at)
{
	uint8_t field = *at == ':' ? held_field(f) : 0;

	f->seen |= field;
	if (field == FIXUP_BCC) {
		f->held_n = 0;
		f->state = DROPPED;
		p->run = at + 1;
		return;
	}
	release(f, p);
	p->run = at;
	f->state = *at == '\n' ? LINE_START : FIELD;
}

static void name(struct fixup *f, struct pass *p, const uint8_t *at)
{
	if (*at == ':' || *at == '\r' || *at == '\n' || f->held_n == FIXUP_HELD_MAX) {
		name_end(f, p, at);
		return;
	}
	f->held[f->held_n++] = *at;
	p->run = at + 1;
}

static void line_start(struct fixup *f, struct pass *p, const uint8_t *at)
{
	bool folded = *at == ' ' || *at == '\t';
	bool dropped = f->state == DROPPED_LINE_START;

	if (folded) {
		f->state = dropped ? DROPPED : FIELD;
		if (dropped)
			p->run = at + 1;
		return;
	}
	if (dropped)
		p->run = at;
	if (*at == '\r')
		f->state = EMPTY_LINE;
	else
		name_start(f, p, at);
}

static void dropped(struct fixup *f, struct pass *p, const uint8_t *at)
{
	p->run = at + 1;
	if (*at == '\n')
		f->state = DROPPED_LINE_START;
}

static void body_begins(struct fixup *f, struct pass *p, const uint8_t *at)
{
	f->state = BODY;
	f->header_bytes = f->size + (uint64_t)(at + 1 - p->run);
}

static void octet(struct fixup *f, struct pass *p, const uint8_t *at)
{
	switch ((enum fixup_state)f->state) {
	case LINE_START:
	case DROPPED_LINE_START:
		line_start(f, p, at);
		break;
	case NAME:
		name(f, p, at);
		break;
	case FIELD:
		if (*at == '\n')
			f->state = LINE_START;
		break;
	case DROPPED:
		dropped(f, p, at);
		break;
	case EMPTY_LINE:
		body_begins(f, p, at);
		break;
	case BODY:
		break;
	}
}

void fixup_run(struct fixup *f, struct bytes in, data_sink sink, void *ctx)
{
	struct pass p = {.sink = sink, .ctx = ctx, .run = in.p};
	const uint8_t *end = in.p + in.n;

	for (const uint8_t *at = in.p; at < end && f->state != BODY; at++)
		octet(f, &p, at);
	if (in.n)
		emit(f, &p, bytes_make(p.run, (size_t)(end - p.run)));
}

void fixup_end(struct fixup *f, data_sink sink, void *ctx)
{
	struct pass p = {.sink = sink, .ctx = ctx};

	release(f, &p);
	if (f->state != BODY)
		f->header_bytes = f->size;
}

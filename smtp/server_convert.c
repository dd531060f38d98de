/* SPDX-License-Identifier: BSD-3-Clause
 * BODY=BINARYMIME for a mailbox: IMAP and POP3 hold lines without NUL, so its binary parts become
 * base64 or quoted-printable on the way into body memory (RFC 3030 3).  What comes out is looked at
 * once more, so that nothing which is marked wrongly gets through. */
#include "smtp/server_priv.h"
#include "smtp/downgrade.h"

#define CONVERTED 4096 /* octets made at a time */

struct conversion {
	struct downgrade downgrade;
	struct data_decoder check; /* of what comes out */
	bool full;                 /* no memory for it */
};
static_assert(sizeof(struct conversion) <= CHUNK_DATA, "it lies in a chunk");
static_assert(CONVERTED >= 2 * DOWNGRADE_ROOM, "it goes on");

/* Quoted-printable makes 25 octets of 24 thirds: three and an eighth of each. */
#define GROWTH 4
#define SPARE  (2 * DOWNGRADE_ROOM)

bool convert_begin(struct smtp_conn *c)
{
	struct chunk *k = c->conversion ? NULL : chunk_get();

	if (c->conversion)
		return true;
	if (!k)
		return false;
	c->conversion = (struct conversion *)(void *)k->data;
	c->conversion->full = false;
	downgrade_init(&c->conversion->downgrade, BODY_8BITMIME, true);
	/* Size and hops were looked at before. */
	data_decoder_init(&c->conversion->check, DATA_CHUNKED, UINT64_MAX, UINT32_MAX);
	return true;
}

void convert_forget(struct smtp_conn *c)
{
	if (c->conversion)
		chunk_put(container_of(
			(uint8_t(*)[CHUNK_DATA])(void *)c->conversion, struct chunk, data));
	c->conversion = NULL;
}

size_t convert_room(size_t want)
{
	return want * GROWTH + SPARE;
}

size_t convert_want(size_t room)
{
	return room > SPARE ? (room - SPARE) / GROWTH : 0;
}

static void keep(void *ctx, struct bytes run)
{
	struct smtp_conn *c = ctx;

	c->conversion->full |= !body_append(c, run);
}

static void check(struct smtp_conn *c, const struct buf *out)
{
	size_t used;

	data_decode(&c->conversion->check, buf_view(out), keep, c, &used);
}

static bool is_lost(const struct conversion *v)
{
	return v->full || v->downgrade.fault || v->check.faults;
}

void convert_content(struct smtp_conn *c, struct bytes run)
{
	struct conversion *v = c->conversion;
	uint8_t memory[CONVERTED];
	struct buf out;

	while (run.n && !is_lost(v)) {
		buf_init(&out, memory, sizeof(memory));
		run = bytes_skip(run, downgrade_feed(&v->downgrade, run, &out));
		check(c, &out);
	}
}

enum reply_id convert_end(struct smtp_conn *c, struct smtp_content *content)
{
	struct conversion *v = c->conversion;
	uint8_t memory[CONVERTED];
	struct buf out;

	buf_init(&out, memory, sizeof(memory));
	if (!is_lost(v)) {
		downgrade_end(&v->downgrade, &out);
		check(c, &out);
		data_decoder_end(&v->check);
	}
	content->size = v->check.size;
	content->crc = v->check.crc;
	content->header_bytes = v->check.header_bytes;
	content->binary = false;
	enum reply_id verdict = v->full      ? REPLY_NO_STORAGE
				: is_lost(v) ? REPLY_NOT_CONVERTED
					     : REPLY_OK;
	convert_forget(c);
	return verdict;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * BDAT (RFC 3030): content in chunks of announced size.  The octets of a chunk that is refused are
 * dropped before it is answered, so that they are never read as commands; a size that cannot be
 * read ends the session, because nobody knows where the next command begins. */
#include "smtp/session_priv.h"
#include "dataplane/base/counters.h"

#define CHUNK_SMALL 512 /* octets; chosen: below, a chunk that is not the last is junk */

static bool parse_chunk(struct bytes argument, uint64_t *size_r, bool *last_r)
{
	ptrdiff_t space = bytes_find(argument, ' ', 0);
	struct bytes size = space < 0 ? argument : bytes_first(argument, (size_t)space);
	struct bytes rest = bytes_skip(argument, size.n);

	while (rest.n && rest.p[0] == ' ')
		rest = bytes_skip(rest, 1);
	for (size_t i = 0; i < size.n; i++) {
		if (!ascii_is_digit(size.p[i]))
			return false;
	}
	*last_r = bytes_ieq(rest, BYTES_LIT("LAST"));
	return size.n > 0 && bytes_to_u64(size, size_r) == 0 && (*last_r || rest.n == 0);
}

/* Why a chunk may not come now; REPLY_OK: it may. */
static enum reply_id chunk_refusal(const struct smtp_session *s)
{
	switch ((enum smtp_state)s->state) {
	case SMTP_START:
		return REPLY_HELO_FIRST;
	case SMTP_READY:
		return REPLY_MAIL_FIRST;
	case SMTP_MAIL:
		return s->rcpt_refused ? REPLY_NO_VALID_RCPTS : REPLY_RCPT_FIRST;
	default:
		return s->esmtp ? REPLY_OK : REPLY_NOT_OFFERED;
	}
}

/* The whole chunk has come. */
static void chunk_end(struct smtp_session *s)
{
	if (s->chunk_refusal) {
		session_set_state(s, (enum smtp_state)s->chunk_back);
		session_refuse(s, (enum reply_id)s->chunk_refusal);
		if (s->draining && !smtp_session_in_transaction(s))
			session_close(s, REPLY_SHUTDOWN);
		return;
	}
	if (s->chunk_last)
		data_decoder_end(&s->data);
	/* A fault is told at once: the peer need not send the rest. */
	if (s->chunk_last || s->data.faults) {
		session_content_end(s);
		return;
	}
	session_set_state(s, SMTP_BDAT);
	session_queue(s, REPLY_CHUNK_OK);
}

/* Drop the chunk, then answer. */
static void refuse_chunk(struct smtp_session *s, enum reply_id reply)
{
	s->chunk_refusal = (uint8_t)reply;
	s->chunk_back = s->state;
	session_set_state(s, SMTP_CHUNK);
	if (s->chunk_left == 0)
		chunk_end(s);
}

void session_chunk_begin(struct smtp_session *s, enum reply_id verdict)
{
	if (verdict != REPLY_OK) {
		session_reset(s);
		refuse_chunk(s, verdict);
		return;
	}
	data_decoder_init(&s->data, s->binary ? DATA_BINARY : DATA_CHUNKED,
		s->policy->message_bytes_max, s->policy->received_max);
	s->data.header_max = s->policy->header_bytes_max;
	if (s->chunk_left == 0)
		chunk_end(s);
}

void session_chunk_command(struct smtp_session *s, struct bytes argument)
{
	enum reply_id refusal = chunk_refusal(s);
	bool first = s->state != SMTP_BDAT;

	s->chunk_refusal = 0;
	if (!parse_chunk(argument, &s->chunk_left, &s->chunk_last)) {
		counter_inc(CTR_SMTP_COMMAND_ERRORS);
		session_close(s, REPLY_BAD_CHUNK);
		return;
	}
	if (!s->chunk_last && s->chunk_left < CHUNK_SMALL && ++s->junk > SMTP_JUNK_MAX) {
		session_close(s, REPLY_TOO_MANY_ERRORS);
		return;
	}
	if (refusal != REPLY_OK) {
		refuse_chunk(s, refusal);
		return;
	}
	session_set_state(s, SMTP_CHUNK);
	if (first)
		session_decide(s, STAGE_DATA, s->ops->data(s->ctx));
	else if (s->chunk_left == 0)
		chunk_end(s);
}

size_t session_chunk_take(struct smtp_session *s, struct bytes in)
{
	in = bytes_first(in, (size_t)MIN((uint64_t)in.n, s->chunk_left));
	bool drop = s->chunk_refusal || s->data.faults;
	size_t used, room = drop ? in.n : s->ops->room(s->ctx, in.n);

	s->starved = room == 0;
	in = bytes_first(in, room);
	if (!drop)
		data_decode(&s->data, in, session_content, s, &used);
	s->progress += in.n;
	s->chunk_left -= in.n;
	if (in.n && s->chunk_left == 0)
		chunk_end(s);
	return in.n;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * LMTP (RFC 2033): the content is answered once for each recipient that was taken, in their order.
 * The replies are queued as there is room; nothing is read before the last of them is. */
#include "smtp/session_priv.h"
#include "dataplane/base/counters.h"

bool session_lmtp_busy(const struct smtp_session *s)
{
	return s->service->lmtp && (s->lmtp.left || s->slots);
}

void session_lmtp_begin(struct smtp_session *s)
{
	s->lmtp.rcpts = s->rcpts;
	memset(s->lmtp.refused, 0, sizeof(s->lmtp.refused));
}

void smtp_session_refused(struct smtp_session *s, const uint64_t bits[LMTP_RCPT_WORDS])
{
	memcpy(s->lmtp.refused, bits, sizeof(s->lmtp.refused));
}

static enum reply_id reply_of(const struct smtp_session *s, unsigned i)
{
	bool refused = s->lmtp.refused[i / 64] >> i % 64 & 1;

	return refused && s->lmtp.reply == REPLY_QUEUED ? REPLY_UNKNOWN_USER
							: (enum reply_id)s->lmtp.reply;
}

void session_lmtp_answer(struct smtp_session *s, enum reply_id reply, unsigned slot)
{
	s->lmtp.reply = (uint8_t)reply;
	s->lmtp.slot = (uint8_t)slot;
	s->lmtp.left = s->lmtp.rcpts;
	session_lmtp_pump(s);
}

void session_lmtp_pump(struct smtp_session *s)
{
	if (!s->lmtp.left)
		return;
	for (; s->lmtp.left && session_queue_space(s) > QUEUE_RESERVE; s->lmtp.left--) {
		unsigned i = (unsigned)(s->lmtp.rcpts - s->lmtp.left);
		session_queue_slot(s, reply_of(s, i), s->lmtp.slot);
	}
	if (!s->lmtp.left && s->draining)
		session_close(s, REPLY_SHUTDOWN);
}

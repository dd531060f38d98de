/* SPDX-License-Identifier: BSD-3-Clause
 * Replies leave strictly in order; one that waits for a commit holds those behind it. */
#include "smtp/session_priv.h"

static struct smtp_queued *entry(struct smtp_session *s, unsigned i)
{
	return &s->queue[(s->queue_head + i) % SMTP_QUEUE_MAX];
}

static void push(struct smtp_session *s, enum reply_id reply, unsigned slot)
{
	BUG_ON(s->queue_n == SMTP_QUEUE_MAX); /* smtp_session_can_take keeps room */
	static_assert(REPLY_N <= UINT8_MAX, "a reply id is an octet");
	*entry(s, s->queue_n++) =
		(struct smtp_queued){.reply = (uint8_t)reply, .slot = (uint8_t)slot};
}

void session_queue(struct smtp_session *s, enum reply_id reply)
{
	push(s, reply, SMTP_NO_SLOT);
}

void session_queue_slot(struct smtp_session *s, enum reply_id reply, unsigned slot)
{
	push(s, reply, slot);
}

/* It is made of what the exchange keeps.  The peer waits for it, so it is the last one. */
bool session_queue_drop_challenge(struct smtp_session *s)
{
	if (!s->queue_n || entry(s, s->queue_n - 1u)->reply != REPLY_AUTH_CHALLENGE)
		return false;
	s->queue_n--;
	bool begun = s->queue_n == 0 && s->sent;
	if (begun)
		s->sent = 0;
	return begun;
}

unsigned session_queue_submitted(struct smtp_session *s)
{
	unsigned slot = (unsigned)__builtin_ctz(~(unsigned)s->slots);

	BUG_ON(slot >= SMTP_INFLIGHT_MAX);
	s->slots |= (uint16_t)(1u << slot);
	push(s, REPLY_SUBMITTED, slot);
	return slot;
}

void smtp_session_committed(struct smtp_session *s, unsigned slot, enum reply_id reply, uint64_t id)
{
	for (unsigned i = 0; i < s->queue_n; i++) {
		struct smtp_queued *e = entry(s, i);
		if (e->reply != REPLY_SUBMITTED || e->slot != slot)
			continue;
		e->reply = (uint8_t)reply;
		s->slot_id[slot] = id;
		if (s->service->lmtp && i == s->queue_n - 1u) {
			s->queue_n--; /* the replies themselves take its place */
			session_lmtp_answer(s, reply, slot);
		}
		return;
	}
}

bool smtp_session_has_output(const struct smtp_session *s)
{
	return s->queue_n > 0 && s->queue[s->queue_head].reply != REPLY_SUBMITTED;
}

/* A reply with a name, an id or a challenge in it. */
static void make_reply(const struct smtp_session *s, const struct smtp_queued *e, struct buf *out)
{
	struct reply_args args = {.hostname = s->policy->hostname,
		.size_max = s->policy->message_bytes_max,
		.rcpt_max = session_rcpts_max(s),
		.mail_max = s->policy->session_messages_max,
		.domain_max = s->policy->session_domains_max,
		.ehlo = session_ehlo(s),
		.challenge = session_auth_challenge(s),
		.soft = s->service->soft,
		.hard = s->service->hard,
		.lmtp = s->service->lmtp,
		.id = e->slot == SMTP_NO_SLOT ? 0 : s->slot_id[e->slot]};

	reply_format((enum reply_id)e->reply, &args, out);
}

/* All of it, or nothing: false. */
static bool put_reply(const struct smtp_session *s, struct smtp_queued *e, struct buf *out)
{
	struct bytes line = reply_line((enum reply_id)e->reply);
	size_t before = out->n;

	if (line.n)
		buf_put(out, line);
	else
		make_reply(s, e, out);
	e->n = (uint16_t)(out->n - before);
	if (!out->overflow)
		return true;
	out->n = before;
	out->overflow = false;
	return false;
}

void smtp_session_output(struct smtp_session *s, struct buf *out)
{
	size_t first = out->n;

	for (unsigned i = 0; i < s->queue_n; i++) {
		struct smtp_queued *e = entry(s, i);
		if (e->reply == REPLY_SUBMITTED || !put_reply(s, e, out))
			break;
	}
	/* What has gone of the first one. */
	if (s->sent && out->n > first) {
		memmove(out->p + first, out->p + first + s->sent, out->n - first - s->sent);
		out->n -= s->sent;
	}
}

/* With LMTP a message has many replies. */
static bool slot_in_use(struct smtp_session *s, unsigned slot)
{
	return s->lmtp.left || (s->queue_n && entry(s, 0)->slot == slot);
}

void smtp_session_sent(struct smtp_session *s, size_t n)
{
	while (n && s->queue_n) {
		struct smtp_queued *e = entry(s, 0);
		if (n < (size_t)(e->n - s->sent)) {
			s->sent += (uint16_t)n;
			return;
		}
		n -= e->n - s->sent;
		unsigned slot = e->slot;
		s->sent = 0;
		s->queue_head = (uint8_t)((s->queue_head + 1) % SMTP_QUEUE_MAX);
		s->queue_n--;
		if (slot != SMTP_NO_SLOT && !slot_in_use(s, slot))
			s->slots &= (uint16_t) ~(1u << slot);
	}
	session_lmtp_pump(s);
}

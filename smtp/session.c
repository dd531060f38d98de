/* SPDX-License-Identifier: BSD-3-Clause
 * The session's life: input to lines or content, verdicts, the end. */
#include "smtp/session_priv.h"
#include "dataplane/base/counters.h"
#include "smtp/relay.h"

void smtp_session_init(struct smtp_session *s, const struct smtp_session_ops *ops, void *ctx,
	const struct smtp_policy *policy, const struct smtp_service *service,
	const struct ip_addr *peer)
{
	*s = (struct smtp_session){.ops = ops,
		.ctx = ctx,
		.policy = policy,
		.service = service,
		.peer = *peer,
		.state = SMTP_CONNECT,
		.sync = true};
	smtp_session_set_peer(s, peer);
}

void smtp_session_set_peer(struct smtp_session *s, const struct ip_addr *peer)
{
	s->peer = *peer;
	s->may_xclient =
		relay_is_listed(s->policy->xclient_from, s->policy->xclient_from_count, peer);
}

void smtp_session_start(struct smtp_session *s)
{
	session_decide(s, STAGE_CONNECT, s->ops->connect ? s->ops->connect(s->ctx) : REPLY_OK);
}

static void line_free(struct smtp_session *s)
{
	if (s->line) {
		explicit_bzero(s->line, s->line_n); /* it may have been a password */
		s->ops->line_put(s->ctx, s->line);
	}
	s->line = NULL;
	s->line_n = 0;
}

void smtp_session_fini(struct smtp_session *s)
{
	session_reset(s);
	session_auth_end(s);
	line_free(s);
	session_set_state(s, SMTP_CLOSED);
}

static bool can_bind(const struct smtp_session *s)
{
	uint8_t octets[SCRAM_CHANNEL_MAX];

	return s->ops->channel && (s->ops->channel(s->ctx, SCRAM_CHANNEL_EXPORTER, octets) ||
					  s->ops->channel(s->ctx, SCRAM_CHANNEL_END_POINT, octets));
}

void smtp_session_secured(struct smtp_session *s)
{
	s->tls = true;
	s->channel = can_bind(s);
	if (s->state != SMTP_TLS)
		return;
	s->sync = false; /* it is the peer's turn */
	s->account = 0;  /* RFC 3207 4.2: what was said in clear counts for nothing */
	s->esmtp = false;
	s->helo_n = 0;
	session_set_state(s, SMTP_START);
}

void session_set_state(struct smtp_session *s, enum smtp_state state)
{
	s->state = (uint8_t)state;
}

/* The reply that was queued last: that of a message whose end is being decided. */
static unsigned waiting_slot(const struct smtp_session *s)
{
	unsigned last = (s->queue_head + s->queue_n - 1u) % SMTP_QUEUE_MAX;

	return s->queue[last].slot;
}

static void transaction_forget(struct smtp_session *s)
{
	s->rcpts = 0;
	s->overshoot = 0;
	s->rcpt_refused = s->smtputf8 = s->binary = false;
	s->fixup = (struct fixup){0};
}

void session_reset(struct smtp_session *s)
{
	/* Not submitted yet, and it never will be. */
	if (s->stage == STAGE_END)
		smtp_session_committed(s, waiting_slot(s), REPLY_LOCAL_ERROR, 0);
	/* A verdict on MAIL or RCPT may be pending when the connection ends. */
	if (smtp_session_in_transaction(s) || s->stage >= STAGE_MAIL)
		s->ops->reset(s->ctx);
	if (s->state > SMTP_READY && s->state != SMTP_CLOSED)
		session_set_state(s, SMTP_READY);
	s->stage = STAGE_NONE;
	transaction_forget(s);
}

void session_close(struct smtp_session *s, enum reply_id reply)
{
	bool begun;

	if (s->state == SMTP_CLOSED)
		return;
	if (reply_code(reply) == 421)
		counter_inc(CTR_SMTP_REPLIES_421);
	session_reset(s);
	begun = session_queue_drop_challenge(s);
	session_auth_end(s);
	line_free(s);
	if (!begun)
		session_queue(s, reply);
	session_set_state(s, SMTP_CLOSED);
}

void session_refuse(struct smtp_session *s, enum reply_id reply)
{
	unsigned code = reply_code(reply);

	if (code == 421) {
		session_close(s, reply);
		return;
	}
	session_queue(s, reply);
	if (code == 452)
		counter_inc(CTR_SMTP_REPLIES_452);
	if (code < 500)
		return;
	counter_inc(CTR_SMTP_COMMAND_ERRORS);
	bool enough = s->ops->error && s->ops->error(s->ctx);
	if (++s->errors > s->policy->errors_max || enough)
		session_close(s, REPLY_TOO_MANY_ERRORS);
}

void smtp_session_end(struct smtp_session *s, enum reply_id reply)
{
	session_close(s, reply);
}

void smtp_session_eof(struct smtp_session *s)
{
	session_reset(s);
	session_auth_end(s);
	line_free(s);
	session_set_state(s, SMTP_CLOSED);
}

void smtp_session_drain(struct smtp_session *s)
{
	s->draining = true;
	if (!smtp_session_in_transaction(s) && s->stage == STAGE_NONE && !session_lmtp_busy(s))
		session_close(s, REPLY_SHUTDOWN);
}

/* ---- verdicts ---- */

static void on_connect(struct smtp_session *s, enum reply_id v)
{
	if (v != REPLY_OK) {
		session_close(s, v);
		return;
	}
	session_queue(s, REPLY_GREETING);
	session_set_state(s, SMTP_START);
}

static void on_helo(struct smtp_session *s, enum reply_id v)
{
	if (v != REPLY_OK) {
		session_refuse(s, v);
		return;
	}
	session_queue(s, s->esmtp ? REPLY_EHLO : REPLY_HELO);
	session_set_state(s, SMTP_READY);
}

static void on_mail(struct smtp_session *s, enum reply_id v)
{
	if (v != REPLY_OK) {
		session_refuse(s, v);
		return;
	}
	s->mails++;
	session_queue(s, REPLY_MAIL_OK);
	session_set_state(s, SMTP_MAIL);
}

static void on_rcpt(struct smtp_session *s, enum reply_id v)
{
	if (v != REPLY_OK) {
		s->rcpt_refused = true;
		counter_inc(CTR_SMTP_RCPT_REFUSED);
		session_refuse(s, v);
		return;
	}
	s->rcpts++;
	if (s->policy->session_domains_max)
		session_domain_taken(s);
	session_queue(s, REPLY_RCPT_OK);
	session_set_state(s, SMTP_RCPT);
}

static void on_data(struct smtp_session *s, enum reply_id v)
{
	if (s->state == SMTP_CHUNK) {
		session_chunk_begin(s, v);
		return;
	}
	if (v != REPLY_OK) {
		session_reset(s);
		session_refuse(s, v);
		return;
	}
	data_decoder_init(
		&s->data, DATA_DOTTED, s->policy->message_bytes_max, s->policy->received_max);
	s->data.header_max = s->policy->header_bytes_max;
	session_queue(s, REPLY_START_DATA);
	session_set_state(s, SMTP_DATA);
}

/* The transaction is over; its reply has its place in the queue. */
static void after_message(struct smtp_session *s)
{
	s->junk = 0;
	if (s->draining && !session_lmtp_busy(s))
		session_close(s, REPLY_SHUTDOWN);
}

static void on_end(struct smtp_session *s, enum reply_id v)
{
	if (v != REPLY_SUBMITTED)
		smtp_session_committed(s, waiting_slot(s), v, 0);
	after_message(s);
}

static void (*const deciders[])(struct smtp_session *s, enum reply_id v) = {
	[STAGE_CONNECT] = on_connect,
	[STAGE_HELO] = on_helo,
	[STAGE_AUTH] = session_auth_verdict,
	[STAGE_MAIL] = on_mail,
	[STAGE_RCPT] = on_rcpt,
	[STAGE_DATA] = on_data,
	[STAGE_END] = on_end,
};

void session_decide(struct smtp_session *s, enum smtp_stage stage, enum reply_id verdict)
{
	s->stage = verdict == REPLY_PENDING ? (uint8_t)stage : (uint8_t)STAGE_NONE;
	if (verdict != REPLY_PENDING)
		deciders[stage](s, verdict);
}

void smtp_session_verdict(struct smtp_session *s, enum reply_id verdict)
{
	if (s->stage != STAGE_NONE)
		session_decide(s, (enum smtp_stage)s->stage, verdict);
}

/* ---- content ---- */

enum reply_id session_fault_reply(const struct data_decoder *d)
{
	if (d->faults & DATA_HEADER)
		return REPLY_HEADER_TOO_BIG;
	if (d->faults & DATA_TOO_BIG)
		return REPLY_SIZE_EXCEEDED;
	if (d->faults & DATA_LOOP)
		return REPLY_MAIL_LOOP;
	return d->faults & DATA_NUL ? REPLY_NUL_OCTET : REPLY_BARE_NEWLINE;
}

static void refuse_content(struct smtp_session *s, enum reply_id reply)
{
	/* Of LMTP's chunks only the last one is answered for each recipient. */
	bool each = s->service->lmtp && (s->state != SMTP_CHUNK || s->chunk_last);

	counter_inc(CTR_SMTP_MESSAGES_REFUSED);
	if (s->ops->refused)
		s->ops->refused(s->ctx, reply);
	session_lmtp_begin(s);
	session_reset(s);
	if (each)
		session_lmtp_answer(s, reply, SMTP_NO_SLOT);
	else
		session_queue(s, reply);
	after_message(s);
}

void session_content_end(struct smtp_session *s)
{
	if (s->data.faults) {
		refuse_content(s, session_fault_reply(&s->data));
		return;
	}
	struct smtp_content content = {.size = s->data.size,
		.header_bytes = s->data.header_bytes,
		.crc = s->data.crc,
		.binary = s->data.odd};
	if (s->service->submission) {
		fixup_end(&s->fixup, s->ops->content, s->ctx);
		content.size = s->fixup.size;
		content.header_bytes = s->fixup.header_bytes;
		content.crc = s->fixup.crc;
		content.fields = s->fixup.seen;
	}
	session_lmtp_begin(s);
	/* From here on the message is the user's: a later reset must not touch it. */
	session_set_state(s, SMTP_READY);
	transaction_forget(s);
	content.slot = session_queue_submitted(s);
	session_decide(s, STAGE_END, s->ops->end(s->ctx, &content));
}

void session_content(void *ctx, struct bytes run)
{
	struct smtp_session *s = ctx;

	if (s->service->submission)
		fixup_run(&s->fixup, run, s->ops->content, s->ctx);
	else
		s->ops->content(s->ctx, run);
}

static size_t take_content(struct smtp_session *s, struct bytes in)
{
	/* Content that is refused anyway needs no room. */
	size_t room = s->data.faults ? in.n : s->ops->room(s->ctx, in.n);
	size_t used;

	s->starved = room == 0;
	if (room == 0)
		return 0;
	enum data_verdict v =
		data_decode(&s->data, bytes_first(in, room), session_content, s, &used);
	s->progress += used;
	if (v == DATA_END)
		session_content_end(s);
	return used;
}

/* ---- lines ---- */

/* Drop octets of a line that is too long, up to its CRLF. */
static size_t skip_line(struct smtp_session *s, struct bytes in)
{
	ptrdiff_t at = -1;

	while ((at = bytes_find(in, '\n', (size_t)(at + 1))) >= 0) {
		if (at > 0 ? in.p[at - 1] == '\r' : s->skip_cr) {
			s->skipping = false;
			s->skipped = 0;
			return (size_t)at + 1;
		}
	}
	s->skip_cr = in.p[in.n - 1] == '\r';
	s->skipped += (uint32_t)MIN(in.n, (size_t)SMTP_SKIP_MAX);
	if (s->skipped >= SMTP_SKIP_MAX)
		session_close(s, REPLY_TOO_MANY_ERRORS);
	return in.n;
}

static void run_line(struct smtp_session *s, enum command_verdict v, const struct command *cmd)
{
	s->progress++;
	if (s->state == SMTP_AUTH) {
		session_auth_line(s, v, cmd->argument);
		return;
	}
	switch (v) {
	case COMMAND_OK:
		session_command(s, cmd);
		break;
	case COMMAND_BAD:
		session_refuse(s, REPLY_BAD_LINE);
		break;
	case COMMAND_TOO_LONG:
		session_refuse(s, REPLY_LINE_TOO_LONG);
		break;
	case COMMAND_FOREIGN:
		counter_inc(CTR_SMTP_COMMAND_ERRORS);
		session_close(s, REPLY_FOREIGN);
		break;
	case COMMAND_MORE:
		break;
	}
	/* RFC 2920: without EHLO nobody may pipeline. */
	if (!s->esmtp)
		s->sync = true;
}

/* Keep the beginning of a line in memory of its own, up to the first LF. */
static size_t keep_line(struct smtp_session *s, struct bytes in)
{
	if (!s->line)
		s->line = s->ops->line_get(s->ctx);
	s->starved = !s->line;
	if (!s->line)
		return 0;
	ptrdiff_t lf = bytes_find(in, '\n', 0);
	size_t n = lf < 0 ? in.n : (size_t)lf + 1;
	n = MIN(n, (size_t)(SMTP_LINE_MAX - s->line_n));
	memcpy(s->line + s->line_n, in.p, n);
	s->line_n += (uint16_t)n;
	return n;
}

/* A command, or in the midst of AUTH a line that is none. */
static enum command_verdict parse_line(
	const struct smtp_session *s, struct bytes in, struct command *cmd, size_t *used)
{
	if (s->state != SMTP_AUTH)
		return command_parse(in, cmd, used);
	*cmd = (struct command){0};
	return command_line(in, &cmd->argument, used);
}

static size_t take_line(struct smtp_session *s, struct bytes in)
{
	struct command cmd;
	size_t used, taken = 0;

	if (s->skipping)
		return skip_line(s, in);
	if (s->state == SMTP_START && !s->line_n && command_looks_like_tls(in)) {
		session_close(s, REPLY_FOREIGN);
		return in.n;
	}
	enum command_verdict v = s->line_n ? COMMAND_MORE : parse_line(s, in, &cmd, &used);
	if (v == COMMAND_MORE) {
		taken = keep_line(s, in);
		if (taken == 0)
			return 0;
		v = parse_line(s, bytes_make(s->line, s->line_n), &cmd, &used);
		if (v == COMMAND_MORE)
			return taken;
	} else {
		taken = used;
	}
	if (v == COMMAND_TOO_LONG && used == 0) {
		s->skipping = true;
		s->skip_cr = s->line_n && s->line[s->line_n - 1] == '\r';
	}
	run_line(s, v, &cmd);
	line_free(s);
	/* Nothing was taken: the whole of in is the start of a line to skip. */
	return taken || s->state == SMTP_CLOSED ? taken : skip_line(s, in);
}

static inline bool can_take(const struct smtp_session *s)
{
	if (s->state == SMTP_CLOSED)
		return true;
	if (s->stage != STAGE_NONE || session_queue_space(s) < QUEUE_RESERVE ||
		s->state == SMTP_TLS || (s->service->lmtp && session_lmtp_busy(s)))
		return false;
	return smtp_session_in_content(s) || smtp_session_inflight(s) < s->policy->inflight_max;
}

bool smtp_session_can_take(const struct smtp_session *s)
{
	return can_take(s);
}

/* RFC 5321 4.3.2, RFC 2920 3.1: after the greeting, HELO, EHLO and DATA the peer waits. */
static bool out_of_sync(struct smtp_session *s, bool early)
{
	/* A chunk's octets belong to its command, and so does the rest of a line that is too long.
	 */
	if (s->state == SMTP_CHUNK || s->skipping)
		return false;
	if (s->sync && (early || s->queue_n || s->stage != STAGE_NONE))
		return true;
	s->sync = false;
	return false;
}

size_t smtp_session_input(struct smtp_session *s, struct bytes in, bool early)
{
	size_t used = 0;

	while (used < in.n && s->state != SMTP_CLOSED) {
		if (out_of_sync(s, early)) {
			counter_inc(CTR_SMTP_COMMAND_ERRORS);
			session_close(s, REPLY_OUT_OF_SYNC);
			break;
		}
		if (!can_take(s))
			return used;
		struct bytes rest = bytes_skip(in, used);
		size_t n = s->state == SMTP_DATA    ? take_content(s, rest)
			   : s->state == SMTP_CHUNK ? session_chunk_take(s, rest)
						    : take_line(s, rest);
		if (n == 0 && s->state != SMTP_CLOSED)
			return used;
		used += n;
	}
	return s->state == SMTP_CLOSED ? in.n : used;
}

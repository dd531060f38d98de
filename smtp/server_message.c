/* SPDX-License-Identifier: BSD-3-Clause
 * The session's ops: a transaction becomes a message. */
#include "smtp/server_priv.h"
#include <errno.h>
#include "dataplane/base/codec.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "smtp/relay.h"
#include "smtp/trace.h"

void message_log_accepted(const struct message *m)
{
	char from[SENDER_LOG_MAX], peer[IP_TEXT_MAX], memory[SENDER_LOG_MAX + 200];
	struct buf b;

	counter_inc(CTR_SMTP_MESSAGES_IN);
	counter_add(CTR_SMTP_BYTES_IN, message_body_bytes(m));
	if (log_get_level() < LOG_INFO)
		return;
	buf_init(&b, memory, sizeof(memory));
	buf_str(&b, "accepted id=");
	hex_u64(&b, m->id);
	buf_str(&b, " from=<");
	buf_str(&b, log_escape(message_sender(m), from, sizeof(from)));
	buf_str(&b, "> rcpts=");
	dec_u64(&b, m->rcpt_count, 1);
	buf_str(&b, " bytes=");
	dec_u64(&b, message_body_bytes(m), 1);
	buf_str(&b, " peer=");
	buf_str(&b, ip_format(&m->peer, peer));
	log_text(LOG_INFO, "smtp", buf_view(&b));
}

static void log_refused(const struct smtp_conn *c, enum reply_id reply)
{
	char from[SENDER_LOG_MAX], peer[IP_TEXT_MAX];
	const struct message *m = c->message;

	log_info("smtp", "refused id=%016llx code=%u %s from=<%s> rcpts=%u peer=%s",
		(unsigned long long)m->id, reply_code(reply), reply_enhanced(reply),
		log_escape(message_sender(m), from, sizeof(from)), m->rcpt_count,
		ip_format(&m->peer, peer));
}

/* The transaction's message goes, with what the writer already has of it. */
void message_drop(struct smtp_conn *c)
{
	struct message *m = c->message;

	if (!m)
		return;
	convert_forget(c);
	body_free_spare(c);
	body_charge(c, -(int32_t)c->charged);
	c->envelope = 0;
	if (m->streamed && c->reserved)
		handoff_drop(c->server, m->id);
	else if (c->reserved)
		c->server->drops_reserved--;
	c->reserved = false;
	c->parts = 0;
	c->message = NULL;
	message_unref(m);
}

static enum reply_id on_mail(void *ctx, const struct smtp_mail *mail)
{
	struct smtp_conn *c = ctx;
	struct core *core = c->server->core;

	enum reply_id limit = peer_mail(c);

	if (limit != REPLY_OK)
		return limit;
	if (server_used_percent(c->server) >= PRESSURE_MAIL)
		return REPLY_NO_STORAGE;
	struct message *m = message_new();
	if (!m)
		return REPLY_NO_STORAGE;
	m->id = handoff_id(&c->server->writers, &core->ids, core->now_ms);
	m->received_ms = core->now_ms;
	m->peer = c->session.peer;
	m->each = c->session.service->lmtp;
	m->body_type = (uint8_t)mail->body;
	m->smtputf8 = mail->smtputf8;
	m->requiretls = mail->requiretls;
	m->priority = mail->priority;
	m->ret = (uint8_t)mail->ret;
	if (message_set_sender(m, mail->sender) < 0 || message_set_envid(m, mail->envid) < 0) {
		message_unref(m);
		return REPLY_NO_STORAGE;
	}
	c->message = m;
	c->spare = (struct chain){0};
	c->conversion = NULL;
	c->part_status = HANDOFF_OK;
	return REPLY_OK;
}

/* Addresses and records take chunks as content does: a thousand recipients with all that DSN allows
 * are most of a megabyte.  The first ones are what every transaction has. */
static enum reply_id add_rcpt(struct smtp_conn *c, const struct smtp_rcpt *rcpt)
{
	struct message *m = c->message;
	const struct chunk *text = m->text.tail, *records = m->rcpts.tail;

	if (message_add_rcpt_dsn(m, rcpt->address, rcpt->route, rcpt->account, &rcpt->dsn) < 0)
		return REPLY_NO_STORAGE;
	int32_t more = (text && m->text.tail != text) + (records && m->rcpts.tail != records);
	if (more) {
		c->envelope += (uint16_t)more;
		body_charge(c, more);
	}
	return REPLY_OK;
}

static enum reply_id on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	struct smtp_conn *c = ctx;
	enum reply_id limit = peer_rcpt(c);

	if (limit != REPLY_OK)
		return limit;
	if (!body_within_share(c))
		return REPLY_NO_STORAGE;
	if (rcpt->route == RCPT_LOCAL && c->message->body_type == BODY_BINARYMIME &&
		!convert_begin(c))
		return REPLY_NO_STORAGE;
	return add_rcpt(c, rcpt);
}

static enum reply_id on_data(void *ctx)
{
	struct smtp_conn *c = ctx;

	if (server_used_percent(c->server) < PRESSURE_DATA)
		return REPLY_OK;
	server_wait(c, WAIT_MEMORY);
	return REPLY_PENDING;
}

/* Received, and Return-Path for mailboxes. */
static int add_trace(struct smtp_conn *c)
{
	struct message *m = c->message;
	const struct smtp_session *s = &c->session;
	struct trace t = {.helo = bytes_make(s->helo, s->helo_n),
		.peer = m->peer,
		.hostname = s->policy->hostname,
		.id = m->id,
		.received_ms = m->received_ms,
		.clock = &c->server->clock,
		.esmtp = s->esmtp,
		.lmtp = s->service->lmtp,
		.smtputf8 = m->smtputf8,
		.authenticated = s->account != 0};
	uint8_t memory[TRACE_OCTETS_MAX + TRACE_RETURN_MAX];
	struct buf out;

	if (s->tls) {
		struct tls_info info;
		tls_get_info(&c->stream, &info);
		t.tls_version = info.version;
		t.tls_cipher = info.cipher;
	}
	if (m->rcpt_count == 1)
		t.only_rcpt = message_rcpt_address(m, message_rcpt(m, 0));
	buf_init(&out, memory, sizeof(memory));
	trace_return_path(&out, message_sender(m));
	uint32_t local_n = (uint32_t)out.n;
	trace_received(&out, &t);
	BUG_ON(out.overflow);
	return message_prepend_trace(m, buf_view(&out), local_n);
}

static int prepend_field(struct message *m, const char *name, const char *before,
	struct bytes value, const char *after)
{
	uint8_t memory[TRACE_OCTETS_MAX];
	struct buf out;

	buf_init(&out, memory, sizeof(memory));
	buf_printf(&out, "%s: %s", name, before);
	buf_put(&out, value);
	buf_printf(&out, "%s\r\n", after);
	return out.overflow ? -ENOBUFS : message_prepend(m, buf_view(&out), false);
}

/* RFC 6409 8: fields that must be there, where a user's program left them out. */
static int add_missing(struct smtp_conn *c, unsigned has)
{
	struct message *m = c->message;
	uint8_t id[16], date[64];
	struct buf out;
	int err = 0;

	if (!(has & FIXUP_MESSAGE_ID)) {
		buf_init(&out, id, sizeof(id));
		hex_u64(&out, m->id);
		char at[sizeof(c->session.policy->hostname) + 8];
		snprintf(at, sizeof(at), "@%s>", c->session.policy->hostname);
		err = prepend_field(m, "Message-ID", "<", buf_view(&out), at);
	}
	if (err == 0 && !(has & FIXUP_DATE)) {
		buf_init(&out, date, sizeof(date));
		trace_date(&out, m->received_ms);
		err = prepend_field(m, "Date", "", buf_view(&out), "");
	}
	if (err == 0 && !(has & FIXUP_FROM) && m->sender_n)
		err = prepend_field(m, "From", "<", message_sender(m), ">");
	return err;
}

static enum reply_id refuse(struct smtp_conn *c, enum reply_id reply)
{
	counter_inc(CTR_SMTP_MESSAGES_REFUSED);
	if (reply == REPLY_NO_STORAGE)
		counter_inc(CTR_SMTP_REPLIES_452);
	log_refused(c, reply);
	message_drop(c);
	return reply;
}

/* Measuring: answered without the store. */
static enum reply_id discard(struct smtp_conn *c, unsigned slot)
{
	message_log_accepted(c->message);
	smtp_session_committed(&c->session, slot, REPLY_QUEUED, c->message->id);
	message_drop(c);
	return REPLY_SUBMITTED;
}

static enum reply_id on_end(void *ctx, const struct smtp_content *content)
{
	struct smtp_conn *c = ctx;
	struct message *m = c->message;
	enum reply_id fit = REPLY_OK;
	struct smtp_content made;

	if (c->conversion) {
		made = *content;
		fit = convert_end(c, &made);
		content = &made;
	}
	body_free_spare(c);
	if (c->part_status != HANDOFF_OK)
		return refuse(
			c, c->part_status == HANDOFF_FULL ? REPLY_NO_STORAGE : REPLY_LOCAL_ERROR);
	if (fit != REPLY_OK)
		return refuse(c, fit);
	/* Announced as binary, but no octet of it is: any hop takes it. */
	if (m->body_type == BODY_BINARYMIME && !content->binary)
		m->body_type = BODY_8BITMIME;
	m->body_crc = content->crc;
	m->header_bytes = (uint32_t)MIN(content->header_bytes, (uint64_t)UINT32_MAX);
	if (c->session.service->submission && add_missing(c, content->fields) < 0)
		return refuse(c, REPLY_NO_STORAGE);
	if (add_trace(c) < 0)
		return refuse(c, REPLY_NO_STORAGE);
	if (c->server->conf.discard)
		return discard(c, content->slot);
	c->end_slot = (uint8_t)content->slot;
	stream_answer_follows(&c->stream);
	return handoff_accept(c, content->slot) ? REPLY_SUBMITTED : REPLY_PENDING;
}

static void on_refused(void *ctx, enum reply_id reply)
{
	log_refused(ctx, reply);
}

static void on_reset(void *ctx)
{
	message_drop(ctx);
}

static void on_peer(void *ctx, const struct ip_addr *ip)
{
	peer_leave(ctx);
	conn_set_peer(ctx, ip);
}

/* Strangers are kept waiting: who speaks before the greeting is no mail server. */
static enum reply_id on_connect(void *ctx)
{
	struct smtp_conn *c = ctx;
	const struct smtp_policy *p = c->session.policy;
	/* Before implicit TLS it was asked already. */
	enum reply_id v = c->place ? REPLY_OK : peer_connect(c);

	if (v != REPLY_OK || !p->greet_delay_us || c->session.service->submission ||
		c->session.service->lmtp || relay_peer_is_listed(p, &c->session.peer))
		return v;
	conn_verdict_later(c, REPLY_OK, c->server->core->now_us + p->greet_delay_us);
	return REPLY_PENDING;
}

const struct smtp_session_ops server_session_ops = {
	.connect = on_connect,
	.peer = on_peer,
	.error = peer_error,
	.starttls = auth_starttls,
	.auth = auth_password,
	.scram = auth_scram,
	.auth_wrong = auth_wrong,
	.channel = auth_channel,
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.room = body_room,
	.content = body_content,
	.end = on_end,
	.refused = on_refused,
	.reset = on_reset,
	.line_get = body_line_get,
	.line_put = body_line_put,
};

/* SPDX-License-Identifier: BSD-3-Clause
 * A connection of the source: smtp/client over a stream. */
#include <errno.h>
#include <stdlib.h>
#include "bench/source_priv.h"
#include "smtp/binding.h"

#define CONNECT_US (30 * US_PER_SEC)
#define RETRY_US   (10 * US_PER_MS)  /* chosen: after a connection failed, or nothing came of it */
#define CLAIM_US   (10 * US_PER_SEC) /* chosen: addresses are claimed in about two seconds */

static struct session *session_of(struct stream *s)
{
	return container_of(conn_of(s), struct session, conn);
}

static bool connection_full(const struct session *t)
{
	uint32_t most = source_of(t)->conf.per_connection;

	return most && t->sent >= most;
}

void source_quit(struct session *t)
{
	t->quitting = true;
	smtp_client_quit(&t->client);
}

/* ---- the engine's upcalls ---- */

static void go_on(struct session *t)
{
	struct source *s = source_of(t);
	uint64_t at;

	if (connection_full(t) || source_no_more(s))
		source_quit(t);
	else if (list_empty(&s->ready) && source_message_due(s, &at))
		source_message_begin(t, at);
	else
		source_wait(t);
}

static void on_ready(void *ctx)
{
	struct session *t = ctx;
	struct source *s = source_of(t);
	uint64_t pause = t->sent && !source_no_more(s) ? source_pause_us(s, t->letter.id.seq) : 0;

	t->pausing = pause > 0;
	if (t->pausing)
		conn_timer(&t->conn, pause);
	else
		go_on(t);
}

void source_pause_end(struct session *t)
{
	t->pausing = false;
	go_on(t);
	source_restart_timer(t);
	source_pump(t);
}

static void on_rcpt(
	void *ctx, uint32_t i, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	source_note_rcpt(ctx, i, result, reply);
}

static void on_message_end(void *ctx)
{
	source_note_message(ctx);
}

static void on_end(void *ctx, const struct smtp_reply_info *reply)
{
	struct session *t = ctx;

	if (t->sent || t->quitting)
		return;
	/* it never came so far as to have a message, and the next one will hardly, at once */
	source_note_refusal(source_of(t), source_stage(t), reply->code, reply->text);
	source_of(t)->retry_at_us = source_now_us(source_of(t)) + RETRY_US;
}

static struct smtp_client_rcpt on_rcpt_name(void *ctx, uint32_t i)
{
	return (struct smtp_client_rcpt){.address = source_rcpt(ctx, i)};
}

static struct bytes on_content(void *ctx, size_t want, bool *end_r)
{
	struct session *t = ctx;

	return letter_next(&t->letter, want, end_r);
}

static size_t on_channel(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX])
{
	const struct session *t = ctx;

	return binding_of(&t->conn.stream, kind, out);
}

static const struct smtp_client_ops client_ops = {
	.on_ready = on_ready,
	.on_rcpt = on_rcpt,
	.on_message_end = on_message_end,
	.on_end = on_end,
	.rcpt = on_rcpt_name,
	.content = on_content,
	.channel = on_channel,
};

/* ---- output ---- */

static struct source_out *out_take(struct source *s)
{
	struct source_out *out = s->outs;

	if (out)
		s->outs = out->next;
	else
		out = malloc(sizeof(*out));
	if (out)
		out->n = out->at = 0;
	return out;
}

static void out_put(struct session *t)
{
	struct source *s = source_of(t);

	if (!t->out)
		return;
	t->out->next = s->outs;
	s->outs = t->out;
	t->out = NULL;
}

/* What is left, or all that there is room for: fewer, larger writes.  False: nothing. */
static bool out_fill(struct session *t)
{
	struct buf b;

	if (!t->out)
		t->out = out_take(source_of(t));
	if (!t->out)
		return false;
	if (t->out->at < t->out->n)
		return true;
	buf_init(&b, t->out->octets, sizeof(t->out->octets));
	while (smtp_client_output(&t->client, &b) > 0)
		;
	t->out->at = 0;
	t->out->n = (uint32_t)b.n;
	return b.n > 0;
}

static void session_free(struct session *t)
{
	out_put(t);
	source_wait_no_longer(t);
	conn_put(&t->conn);
}

static void session_close(struct session *t)
{
	stream_close(&t->conn.stream);
	session_free(t);
}

void source_session_abort(struct session *t)
{
	stream_abort(&t->conn.stream);
	session_free(t);
}

static void begin_tls(struct session *t)
{
	out_put(t);
	if (!conn_tls_connect(&t->conn))
		source_note_refusal(source_of(t), SOURCE_COMMANDS + SMTP_COMMAND_STARTTLS, 0,
			"no room for TLS");
}

void source_pump(struct session *t)
{
	struct source_out *out;

	if (t->conn.life != CONN_OPEN || t->conn.handshaking)
		return;
	while (out_fill(t)) {
		out = t->out;
		out->at += (uint32_t)stream_send(
			&t->conn.stream, bytes_make(out->octets + out->at, out->n - out->at));
		if (out->at < out->n)
			return; /* on_writable comes */
	}
	out_put(t);
	if (smtp_client_state(&t->client) == SMTP_CLIENT_ENDED)
		session_close(t);
	else if (smtp_client_state(&t->client) == SMTP_CLIENT_HANDSHAKE)
		begin_tls(t);
	else if (smtp_client_works(&t->client) && list_empty(&t->conn.node))
		list_push_tail(&source_of(t)->working, &t->conn.node);
}

/* ---- connections ---- */

static void start_smtp(struct session *t)
{
	struct source *s = source_of(t);
	const struct source_conf *c = &s->conf;

	smtp_client_init(&t->client, &client_ops, t, c->hello);
	smtp_client_demand(&t->client,
		&(struct smtp_client_demand){
			.tls = c->starttls ? SMTP_CLIENT_TLS_MUST : SMTP_CLIENT_TLS_NONE,
			/* who measures says whom to trust: a password may be shown in clear */
			.secured = c->tls || (c->login.user && !c->starttls),
			.lmtp = c->lmtp,
			.ignored = c->ignored,
			.bdat_min = c->bdat_min,
			.mechanisms = c->mechanisms,
			.login = c->login.user ? &c->login : NULL,
			.salted = &s->salted,
			.sasl = t->sasl});
}

static void on_open(struct stream *st)
{
	struct session *t = session_of(st);

	t->conn.life = CONN_OPEN;
	source_of(t)->failed_in_row = 0;
	source_note_connected(t);
	if (source_of(t)->conf.tls)
		begin_tls(t);
}

static void on_secure(struct stream *st)
{
	struct session *t = session_of(st);

	t->conn.handshaking = false;
	if (!source_of(t)->conf.tls)
		smtp_client_secured(&t->client);
	source_pump(t);
}

void source_restart_timer(struct session *t)
{
	if (!t->pausing)
		conn_timer(&t->conn, smtp_client_timeout_us(&t->client));
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct session *t = session_of(st);

	if (t->conn.handshaking)
		return 0; /* TLS takes it */
	smtp_client_input(&t->client, data);
	source_restart_timer(t);
	source_pump(t);
	return data.n;
}

static void on_writable(struct stream *st)
{
	source_pump(session_of(st));
}

static void on_eof(struct stream *st)
{
	struct session *t = session_of(st);

	smtp_client_disconnected(&t->client, "the server has closed the connection");
	session_close(t);
}

static void connect_failed(struct source *s, const char *why)
{
	source_note_refusal(s, SOURCE_CONNECT, 0, why);
	s->retry_at_us = source_now_us(s) + RETRY_US;
	if (s->conf.tries && ++s->failed_in_row >= s->conf.tries)
		source_end(s);
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	struct session *t = session_of(st);

	if (t->conn.life == CONN_FRESH)
		connect_failed(source_of(t), stream_reason_text(reason));
	else
		smtp_client_disconnected(&t->client, stream_reason_text(reason));
	session_free(t);
}

static const struct stream_ops stream_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close,
	.on_secure = on_secure,
};

void source_on_timer(struct timer *timer, uint64_t now)
{
	struct session *t = container_of(timer, struct session, conn.timer);

	(void)now;
	if (t->pausing) {
		source_pause_end(t);
		return;
	}
	if (smtp_client_state(&t->client) == SMTP_CLIENT_READY) {
		source_restart_timer(t);
		return;
	}
	smtp_client_disconnected(&t->client, "the server did not answer in time");
	source_session_abort(t);
}

/* The n-th address of ours. */
static struct ip_addr own_address(const struct source_conf *c, uint64_t n)
{
	struct ip_addr a = c->from;
	uint32_t low;

	if (!c->from_count)
		return a;
	memcpy(&low, a.octets + 12, sizeof(low));
	low = htobe32(be32toh(low) + (uint32_t)(n % c->from_count));
	memcpy(a.octets + 12, &low, sizeof(low));
	return a;
}

/* A stack that has just begun makes sure that its address is nobody else's (RFC 5227, RFC 4862
 * 5.4): the clock starts when it may be used. */
static bool is_claiming(const struct source *s, int rc)
{
	return rc == -ENETUNREACH && figure_get(&s->figures.connections) == 0 &&
	       source_now_us(s) < s->created_us + CLAIM_US;
}

bool source_connect(struct source *s)
{
	struct session *t = (struct session *)conn_take(&s->conns, &stream_ops);

	if (!t)
		return false;
	uint64_t n = s->connects++;
	const struct endpoint *to = &s->conf.to[n % s->conf.to_count];
	t->conn.stream.local.ip = own_address(&s->conf, n / s->conf.to_count);
	t->began_us = source_now_us(s);
	t->sent = 0;
	t->quitting = t->pausing = false;
	start_smtp(t);
	int rc = engine_connect(s->conns.engine, &t->conn.stream, to, CONNECT_US);
	if (rc == 0) {
		source_restart_timer(t);
		return true;
	}
	session_free(t);
	if (is_claiming(s, rc)) {
		s->began_us = source_now_us(s);
		s->retry_at_us = s->began_us + RETRY_US;
	} else {
		connect_failed(s, strerror(-rc));
	}
	return false;
}

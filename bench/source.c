/* SPDX-License-Identifier: BSD-3-Clause
 * When messages begin, and the connections that carry them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include "bench/source_priv.h"

#define CONNECT_US   (30 * US_PER_SEC)
#define CONNECT_STEP 64                 /* connections begun in a lap */
#define RETRY_US     (10 * US_PER_MS)   /* chosen: after a connection failed */
#define FINISH_US    (30 * US_PER_SEC)  /* for what is under way at the end */
#define CLAIM_US     (10 * US_PER_SEC)  /* chosen: addresses are claimed in about two seconds */
#define OPENING_US   (300 * US_PER_SEC) /* hold: chosen, for all sessions to be open */

static struct session *session_of(struct stream *s)
{
	return container_of(conn_of(s), struct session, conn);
}

static struct source *source_of(const struct session *t)
{
	return t->conn.all->owner;
}

static bool holding(const struct source *s)
{
	return s->conf.hold > 0;
}

static double passed(const struct source *s)
{
	return (double)(source_now_us(s) - s->began_us) / 1e6;
}

/* ---- what is due ---- */

/* Have all sessions been held for as long as was asked? */
static bool held_long(const struct source *s)
{
	uint64_t since = figure_get(&s->figures.held_us);
	double most = (double)OPENING_US / 1e6;

	return passed(s) >= s->conf.hold + (since ? (double)since / 1e6 : most);
}

static bool no_more(const struct source *s)
{
	if (atomic_load_explicit(&s->ending, memory_order_relaxed))
		return true;
	if (holding(s))
		return held_long(s);
	if (s->conf.messages && figure_get(&s->figures.begun) >= s->conf.messages)
		return true;
	return s->conf.seconds > 0 && passed(s) >= s->conf.seconds;
}

/* Open loop: when message n (from 0) is meant to begin, in seconds from the start.  While the rate
 * rises evenly over ramp seconds, rate * t^2 / (2 * ramp) messages have begun by t. */
static double intended(const struct source *s, uint64_t n)
{
	double rate = s->conf.rate, ramp = s->conf.ramp, in_ramp = rate * ramp / 2;

	if ((double)n < in_ramp)
		return sqrt(2 * ramp * (double)n / rate);
	return ramp + ((double)n - in_ramp) / rate;
}

/* May a message begin now?  Then *at_r is when it was meant to. */
static bool message_due(const struct source *s, uint64_t *at_r)
{
	*at_r = source_now_us(s);
	if (no_more(s) || holding(s))
		return false;
	if (s->conf.rate <= 0)
		return true;
	uint64_t at = s->began_us + (uint64_t)(intended(s, figure_get(&s->figures.begun)) * 1e6);
	*at_r = at;
	return at <= source_now_us(s);
}

/* Is there use for one more connection? */
static bool connection_due(const struct source *s)
{
	uint64_t at;

	if (holding(s))
		return !no_more(s) && source_open(s) < s->conf.sessions;
	return list_empty(&s->ready) && message_due(s, &at);
}

static bool connection_full(const struct session *t)
{
	uint32_t most = source_of(t)->conf.per_connection;

	return most && t->sent >= most;
}

/* ---- sessions that wait for a message ---- */

static void wait_for_message(struct session *t)
{
	struct source *s = source_of(t);
	uint64_t n = figure_get(&s->figures.ready) + 1;

	t->ready = true;
	list_push_tail(&s->ready, &t->conn.node);
	figure_add(&s->figures.ready, 1);
	if (n > figure_get(&s->figures.ready_most))
		figure_add(&s->figures.ready_most, 1);
	if (holding(s) && n == s->conf.sessions && !figure_get(&s->figures.held_us))
		figure_add(&s->figures.held_us, source_now_us(s) - s->began_us);
}

static void wait_no_longer(struct session *t)
{
	if (!t->ready)
		return;
	t->ready = false;
	list_remove(&t->conn.node);
	list_init(&t->conn.node);
	figure_add(&source_of(t)->figures.ready, UINT64_MAX);
}

static void say_quit(struct session *t)
{
	t->quitting = true;
	smtp_client_quit(&t->client);
}

/* ---- the engine's upcalls ---- */

static void on_ready(void *ctx)
{
	struct session *t = ctx;
	struct source *s = source_of(t);
	uint64_t at;

	if (connection_full(t) || no_more(s))
		say_quit(t);
	else if (list_empty(&s->ready) && message_due(s, &at))
		source_message_begin(t, at);
	else
		wait_for_message(t);
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

	/* a session that never came so far as to have a message */
	if (!t->sent && !t->quitting)
		source_note_refusal(source_of(t), source_stage(t), reply->code, reply->text);
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

static const struct smtp_client_ops client_ops = {
	.on_ready = on_ready,
	.on_rcpt = on_rcpt,
	.on_message_end = on_message_end,
	.on_end = on_end,
	.rcpt = on_rcpt_name,
	.content = on_content,
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
	wait_no_longer(t);
	conn_put(&t->conn);
}

static void session_close(struct session *t)
{
	stream_close(&t->conn.stream);
	session_free(t);
}

static void session_abort(struct session *t)
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

/* Send what is ready, make more, until the stream is full or nothing is due. */
static void pump(struct session *t)
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
	pump(t);
}

static void restart_timer(struct session *t)
{
	conn_timer(&t->conn, smtp_client_timeout_us(&t->client));
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct session *t = session_of(st);

	if (t->conn.handshaking)
		return 0; /* TLS takes it */
	smtp_client_input(&t->client, data);
	restart_timer(t);
	pump(t);
	return data.n;
}

static void on_writable(struct stream *st)
{
	pump(session_of(st));
}

static void on_eof(struct stream *st)
{
	struct session *t = session_of(st);

	smtp_client_disconnected(&t->client, "the server has closed the connection");
	session_close(t);
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	struct session *t = session_of(st);
	struct source *s = source_of(t);

	if (t->conn.life == CONN_FRESH) {
		source_note_refusal(s, SOURCE_CONNECT, 0, stream_reason_text(reason));
		s->retry_at_us = source_now_us(s) + RETRY_US;
	} else {
		smtp_client_disconnected(&t->client, stream_reason_text(reason));
	}
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

static void on_timer(struct timer *timer, uint64_t now)
{
	struct session *t = container_of(timer, struct session, conn.timer);

	(void)now;
	if (smtp_client_state(&t->client) == SMTP_CLIENT_READY) {
		restart_timer(t);
		return;
	}
	smtp_client_disconnected(&t->client, "the server did not answer in time");
	session_abort(t);
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

/* Returns false: not now. */
static bool connect_one(struct source *s)
{
	struct session *t = (struct session *)conn_take(&s->conns, &stream_ops);

	if (!t)
		return false;
	uint64_t n = s->connects++;
	const struct endpoint *to = &s->conf.to[n % s->conf.to_count];
	t->conn.stream.local.ip = own_address(&s->conf, n / s->conf.to_count);
	t->began_us = source_now_us(s);
	t->sent = 0;
	t->quitting = false;
	start_smtp(t);
	int rc = engine_connect(s->conns.engine, &t->conn.stream, to, CONNECT_US);
	if (rc == 0) {
		restart_timer(t);
		return true;
	}
	s->retry_at_us = source_now_us(s) + RETRY_US;
	session_free(t);
	if (is_claiming(s, rc))
		s->began_us = source_now_us(s);
	else
		source_note_refusal(s, SOURCE_CONNECT, 0, strerror(-rc));
	return false;
}

/* ---- each lap ---- */

/* Sessions that wait for a message, as messages become due. */
static unsigned feed_ready(struct source *s)
{
	unsigned n = 0;
	uint64_t at;

	while (!list_empty(&s->ready)) {
		bool due = message_due(s, &at);
		if (!due && !no_more(s))
			break;
		struct session *t = list_entry(s->ready.next, struct session, conn.node);
		wait_no_longer(t);
		if (due)
			source_message_begin(t, at);
		else
			say_quit(t);
		restart_timer(t);
		pump(t);
		n++;
	}
	return n;
}

/* One slice of AUTH's hashing. */
static unsigned work(struct source *s)
{
	struct list *node = list_pop_head(&s->working);

	if (!node)
		return 0;
	list_init(node);
	pump(list_entry(node, struct session, conn.node));
	return 1;
}

/* How many messages are late; and when the next one is due. */
static void note_behind(struct source *s)
{
	uint64_t behind = 0, begun = figure_get(&s->figures.begun);

	s->conns.engine->wake_us = 0;
	if (s->conf.rate > 0 && !no_more(s)) {
		double at = intended(s, begun);
		if (at < passed(s))
			behind = (uint64_t)((passed(s) - at) * s->conf.rate);
		else
			s->conns.engine->wake_us = s->began_us + (uint64_t)(at * 1e6);
	}
	atomic_store_explicit(&s->figures.behind, behind, memory_order_relaxed);
}

/* At the end: who has not come so far as to have a message need not come any more.  A server that
 * is full may leave them waiting for long. */
static void give_up_waiting(struct source *s)
{
	for (uint32_t i = 0; i < s->conns.n; i++) {
		struct session *t = conns_at(&s->conns, i);
		if (t->conn.life != CONN_FREE && t->sent == 0 && !t->quitting)
			session_abort(t);
	}
}

unsigned source_poll(void *source, uint64_t now)
{
	struct source *s = source;
	unsigned n = 0;

	if (!s->began_us)
		s->began_us = s->created_us = now;
	n += feed_ready(s) + work(s);
	/* a new connection for what finds no session ready */
	while (n < CONNECT_STEP && now >= s->retry_at_us && connection_due(s) && connect_one(s))
		n++;
	note_behind(s);
	if (!no_more(s))
		return n;
	if (!s->ending_at_us) {
		s->ending_at_us = now + FINISH_US;
		give_up_waiting(s);
	}
	if (source_open(s) == 0 || now >= s->ending_at_us)
		atomic_store(&s->figures.finished, true);
	return n;
}

void source_end(struct source *s)
{
	atomic_store(&s->ending, true);
}

/* ---- main thread ---- */

struct source_figures *source_figures(struct source *s)
{
	return &s->figures;
}

uint32_t source_open(const struct source *s)
{
	return atomic_load_explicit(&s->conns.open, memory_order_relaxed);
}

size_t source_session_octets(void)
{
	return sizeof(struct session);
}

struct source *source_create(const struct source_conf *conf, struct engine *e,
	const struct conn_tls *tls, struct ledger *ledger, uint32_t run)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conf = *conf;
	s->ledger = ledger;
	s->run = run;
	s->key = (struct siphash_key){1, 2};
	list_init(&s->ready);
	list_init(&s->working);
	s->sasl = conf->login.user ? calloc(conf->sessions, sizeof(*s->sasl)) : NULL;
	if ((conf->login.user && !s->sasl) ||
		conns_init(&s->conns, conf->sessions, sizeof(struct session), e, tls, on_timer, s) <
			0) {
		source_destroy(&s);
		return NULL;
	}
	for (uint32_t i = 0; s->sasl && i < conf->sessions; i++)
		((struct session *)conns_at(&s->conns, i))->sasl = &s->sasl[i];
	return s;
}

void source_destroy(struct source **s)
{
	if (!*s)
		return;
	for (uint32_t i = 0; (*s)->conns.memory && i < (*s)->conns.n; i++)
		free(((struct session *)conns_at(&(*s)->conns, i))->out);
	for (struct source_out *out; (out = (*s)->outs);) {
		(*s)->outs = out->next;
		free(out);
	}
	conns_fini(&(*s)->conns);
	free((*s)->sasl);
	free(*s);
	*s = NULL;
}

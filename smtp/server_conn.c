/* SPDX-License-Identifier: BSD-3-Clause
 * One connection: stream upcalls, timers, output. */
#include "smtp/server_priv.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "smtp/relay.h"
#include "smtp/session_stream.h"

static struct smtp_conn *conn_of(struct stream *s)
{
	return container_of(s, struct smtp_conn, stream);
}

static struct timer_wheel *wheel(struct smtp_conn *c)
{
	return &c->server->core->wheel;
}

static uint64_t now_us(const struct smtp_conn *c)
{
	return c->server->core->now_us;
}

/* ---- deadlines ---- */

static void set_deadline(struct smtp_conn *c, uint64_t at_us)
{
	c->deadline_us = at_us;
	/* A later deadline is found when the timer fires: no work per segment. */
	if (!timer_armed(&c->timer) || c->timer.at_us > at_us)
		timer_arm(wheel(c), &c->timer, at_us);
}

static void restart_deadline(struct smtp_conn *c)
{
	c->progress = c->session.progress;
	c->timed_state = c->session.state;
	set_deadline(c, now_us(c) + conn_timeout_us(c));
}

/* Only whole commands and a fair piece of content count: an octet now and then does not. */
static void note_progress(struct smtp_conn *c)
{
	uint64_t done = c->session.progress - c->progress;
	uint64_t enough = smtp_session_in_content(&c->session) ? DATA_PROGRESS_MIN : 1;

	if (c->late)
		return; /* the deadline is that of a verdict */
	if (c->session.state != c->timed_state || done >= enough)
		restart_deadline(c);
}

bool conn_we_owe(const struct smtp_conn *c)
{
	const struct smtp_session *s = &c->session;

	return s->stage != STAGE_NONE || c->wait != WAIT_NONE ||
	       (smtp_session_inflight(s) && !smtp_session_has_output(s));
}

void conn_verdict_later(struct smtp_conn *c, enum reply_id verdict, uint64_t at_us)
{
	c->late = (uint8_t)verdict;
	set_deadline(c, at_us);
}

static void tell_late(struct smtp_conn *c)
{
	enum reply_id verdict = (enum reply_id)c->late;

	auth_forget(c);
	restart_deadline(c);
	smtp_session_verdict(&c->session, verdict);
	conn_kick(c);
}

void conn_time_out(struct smtp_conn *c)
{
	smtp_session_end(&c->session, REPLY_TIMEOUT);
	set_deadline(c, now_us(c) + LINGER_US);
	conn_kick(c);
}

void conn_timer(struct timer *t, uint64_t now)
{
	struct smtp_conn *c = container_of(t, struct smtp_conn, timer);

	if (now < c->deadline_us) {
		timer_arm(wheel(c), t, c->deadline_us);
	} else if (c->handshaking || c->proxied) {
		proxy_forget(c);
		conn_drop(c);
	} else if (c->late) {
		tell_late(c);
	} else if (conn_we_owe(c)) {
		restart_deadline(c);
	} else if (c->session.state != SMTP_CLOSED) {
		conn_time_out(c);
	} else {
		/* Not even our last reply was read. */
		stream_abort(&c->stream);
		conn_free(c);
	}
}

/* ---- the end ---- */

/* Back to the pool.  The stream is closed already. */
void conn_free(struct smtp_conn *c)
{
	struct smtp_server *s = c->server;

	smtp_session_fini(&c->session);
	auth_forget(c);
	peer_leave(c);
	proxy_forget(c);
	message_drop(c);
	server_wait_end(c);
	timer_cancel(&s->core->wheel, &c->timer);
	list_remove(&c->node);
	c->generation++;
	c->life = CONN_FREE;
	s->open--;
	list_push_head(&s->free, &c->node);
}

/* Everything is said.  The struct goes at the next poll: an upcall may be on its way out of it. */
static void conn_bury(struct smtp_conn *c)
{
	server_wait_end(c);
	timer_cancel(wheel(c), &c->timer);
	c->life = CONN_DEAD;
	list_remove(&c->node);
	list_push_tail(&c->server->dead, &c->node);
}

static void conn_close(struct smtp_conn *c)
{
	stream_close(&c->stream);
	conn_bury(c);
}

void conn_drop(struct smtp_conn *c)
{
	stream_abort(&c->stream);
	conn_bury(c);
}

/* ---- TLS ---- */

/* All that comes from now on is the handshake; on_secure follows, or on_close. */
static void begin_tls(struct smtp_conn *c)
{
	const struct smtp_server_conf *conf = &c->server->conf;

	c->handshaking = true;
	c->stalled = false;
	set_deadline(c, now_us(c) + HANDSHAKE_US);
	if (tls_accept(conf->tls, conf->tls_config, &c->stream) < 0)
		conn_drop(c); /* no memory */
}

static void note_certificate(struct smtp_conn *c)
{
	const struct smtp_policy *p = c->session.policy;
	struct tls_info info;

	if (!p->relay_certificate_count)
		return;
	tls_get_info(&c->stream, &info);
	if (relay_certificate_is_listed(p, info.peer_sha256))
		smtp_session_certified(&c->session);
}

static void on_secure(struct stream *st)
{
	struct smtp_conn *c = conn_of(st);

	c->handshaking = false;
	smtp_session_secured(&c->session);
	note_certificate(c);
	if (c->session.state == SMTP_CONNECT)
		smtp_session_start(&c->session);
	if (!c->late)
		restart_deadline(c);
	conn_kick(c);
}

/* ---- output ---- */

void conn_kick(struct smtp_conn *c)
{
	if (c->life != CONN_OPEN || c->handshaking || c->proxied)
		return;
	if (!smtp_session_flush(&c->session, &c->stream))
		return;
	if (smtp_session_wants_tls(&c->session) && !c->eof) {
		begin_tls(c);
		return;
	}
	if (c->eof && c->session.stage == STAGE_NONE)
		smtp_session_eof(&c->session);
	if (smtp_session_finished(&c->session)) {
		conn_close(c);
	} else if (c->stalled && c->wait == WAIT_NONE && smtp_session_can_take(&c->session)) {
		c->stalled = false;
		restart_deadline(c);
		stream_resume(&c->stream);
	}
}

void conn_retry(struct smtp_conn *c)
{
	struct smtp_session *s = &c->session;

	bool over = c->wait == WAIT_MEMORY && relief_wait_is_over(c);

	server_wait_end(c);
	if (over) {
		relief_give_up(c);
	} else if (s->stage == STAGE_DATA) {
		if (server_used_percent(c->server) >= PRESSURE_DATA) {
			server_wait(c, WAIT_MEMORY);
			return;
		}
		c->waits_ms = 0;
		smtp_session_verdict(s, REPLY_OK);
	} else if (s->stage == STAGE_END) {
		if (!handoff_accept(c, c->end_slot))
			return;
		smtp_session_verdict(s, REPLY_SUBMITTED);
	}
	conn_kick(c);
}

/* ---- upcalls ---- */

/* What came behind the header comes again. */
static size_t take_proxy(struct smtp_conn *c, struct bytes data)
{
	size_t n = proxy_take(c, data);

	if (c->life == CONN_OPEN && !c->handshaking && n < data.n) {
		c->stalled = true;
		conn_kick(c);
	}
	return n;
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct smtp_conn *c = conn_of(st);
	struct smtp_session *s = &c->session;

	if (c->life == CONN_FRESH)
		conn_start(c);
	if (c->life != CONN_OPEN)
		return data.n;
	if (c->proxied)
		return take_proxy(c, data);
	if (c->handshaking)
		return 0; /* TLS takes it */
	if (c->wait != WAIT_NONE && s->state != SMTP_CLOSED) {
		c->stalled = true;
		return 0;
	}
	if (!smtp_session_in_transaction(s) && s->stage == STAGE_NONE)
		s->policy = c->server->policy;
	/* What the peer sent before it acknowledged our last reply it sent without having seen it.
	 */
	size_t n = smtp_session_input(s, data, s->sync && stream_unacked(st) > 0);
	c->stalled = n < data.n;
	if (n)
		c->waits_ms = 0;
	note_progress(c);
	conn_kick(c);
	return n;
}

static void on_eof(struct stream *st)
{
	struct smtp_conn *c = conn_of(st);

	if (c->life == CONN_FRESH)
		conn_start(c);
	c->eof = true;
	if (c->life == CONN_OPEN && c->proxied)
		conn_drop(c); /* freed with what there is of a header */
	else
		conn_kick(c);
}

static void on_writable(struct stream *st)
{
	conn_kick(conn_of(st));
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	char peer[IP_TEXT_MAX];

	if (reason == STREAM_TLS_FAILED)
		log_info("smtp", "TLS failed peer=%s: %s",
			ip_format(&conn_of(st)->session.peer, peer),
			tls_error(conn_of(st)->server->conf.tls));
	conn_free(conn_of(st));
}

/* What keeps the peer waiting, or what the peer is expected to do. */
static const char *doing(const struct smtp_conn *c)
{
	static const char *const waits[] = {
		[WAIT_MEMORY] = "waits for body memory",
		[WAIT_CREDIT] = "waits for the store's ring",
		[WAIT_PARTS] = "waits for parts to be stored",
	};
	static const char *const states[] = {
		[SMTP_CONNECT] = "not greeted yet",
		[SMTP_START] = "before HELO",
		[SMTP_READY] = "idle",
		[SMTP_MAIL] = "MAIL",
		[SMTP_RCPT] = "RCPT",
		[SMTP_BDAT] = "BDAT",
		[SMTP_DATA] = "DATA",
		[SMTP_CHUNK] = "BDAT",
		[SMTP_AUTH] = "AUTH",
		[SMTP_TLS] = "STARTTLS",
		[SMTP_CLOSED] = "closing",
	};

	if (c->wait != WAIT_NONE && c->wait < ARRAY_LEN(waits))
		return waits[c->wait];
	if (c->session.stage != STAGE_NONE)
		return "waits for a verdict";
	return c->session.state < ARRAY_LEN(states) ? states[c->session.state] : "?";
}

static void describe(const struct stream *st, char *out, size_t cap)
{
	const struct smtp_conn *c = container_of(st, const struct smtp_conn, stream);
	const struct smtp_session *s = &c->session;
	struct buf b;

	buf_init(&b, out, cap);
	buf_printf(&b, "smtp in: %s", doing(c));
	if (s->rcpts)
		buf_printf(&b, ", %u recipients", s->rcpts);
	if (smtp_session_inflight(s))
		buf_printf(&b, ", %u commits awaited", smtp_session_inflight(s));
	if (c->charged)
		buf_printf(&b, ", %u kB held", c->charged * CHUNK_DATA / 1024);
	out[MIN(b.n, cap - 1)] = '\0';
}

static const struct stream_ops conn_ops = {
	.describe = describe,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close,
	.on_secure = on_secure,
};

struct stream *conn_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	const struct smtp_door *door = l->ctx;
	struct smtp_server *s = door->server;
	struct list *node = s->draining ? NULL : list_pop_head(&s->free);

	(void)local;
	if (!node)
		return NULL;
	struct smtp_conn *c = list_entry(node, struct smtp_conn, node);
	s->open++;
	counter_inc(CTR_SMTP_CONNECTIONS);
	c->stream = (struct stream){.ops = &conn_ops};
	c->life = CONN_FRESH;
	c->stalled = c->eof = c->handshaking = c->asking = false;
	c->late = 0;
	c->waits_ms = 0;
	c->proxied = false;
	c->place = NULL;
	smtp_session_init(&c->session, &server_session_ops, c, s->policy,
		&s->conf.services[door - s->doors], &peer->ip);
	conn_set_peer(c, &peer->ip);
	list_push_tail(&s->fresh, &c->node);
	relief_needed(s);
	return &c->stream;
}

static void proxy_begin(struct smtp_conn *c)
{
	c->proxied = true;
	c->proxy = NULL; /* the memory may have been a guess's */
	c->proxy_n = 0;
	set_deadline(c, now_us(c) + PROXY_US);
}

/* Greet; not from inside accept, where the stream cannot send yet. */
void conn_start(struct smtp_conn *c)
{
	list_remove(&c->node);
	c->life = CONN_OPEN;
	if (proxy_awaited(c))
		proxy_begin(c);
	else
		conn_begin(c);
}

void conn_begin(struct smtp_conn *c)
{
	if (c->session.service->implicit_tls &&
		(peer_connect(c) != REPLY_OK || !peer_may_handshake(c))) {
		conn_drop(c); /* there is no way to say why */
		return;
	}
	if (c->session.service->implicit_tls) {
		begin_tls(c);
		return;
	}
	if (stack_is_short(c->stream.stack))
		smtp_session_end(&c->session, REPLY_BUSY);
	else
		smtp_session_start(&c->session);
	if (!c->late)
		restart_deadline(c);
	conn_kick(c);
}

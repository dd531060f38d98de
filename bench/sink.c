/* SPDX-License-Identifier: BSD-3-Clause
 * The sink's connections. */
#include "bench/sink_priv.h"
#include <errno.h>
#include <stdlib.h>
#include "smtp/session_stream.h"

#define TIMEOUT_US (300 * US_PER_SEC) /* RFC 5321 4.5.3.2.7 */
#define SIZE_MAX_  (256ull << 20)     /* octets of a message */
#define INFLIGHT   8                  /* answers that may be delayed at a time, per session */

static struct sink_conn *sink_conn_of(struct stream *s)
{
	return container_of(conn_of(s), struct sink_conn, conn);
}

static void session_end(struct sink_conn *c)
{
	smtp_session_fini(&c->session);
	sink_dump_drop(c);
	figure_add(&sink_of(c)->figures.ended, 1);
}

static void sink_conn_free(struct sink_conn *c)
{
	session_end(c);
	conn_put(&c->conn);
}

static void sink_conn_abort(struct sink_conn *c)
{
	stream_abort(&c->conn.stream);
	sink_conn_free(c);
}

static void begin_tls(struct sink_conn *c)
{
	c->stalled = false;
	if (!conn_tls_accept(&c->conn))
		session_end(c);
}

/* Say what is due; the connection may be gone afterwards. */
static void kick(struct sink_conn *c)
{
	if (c->conn.life != CONN_OPEN || c->conn.handshaking)
		return;
	if (c->drop && !c->verdict_due) {
		sink_conn_abort(c);
		return;
	}
	if (!smtp_session_flush(&c->session, &c->conn.stream))
		return;
	if (smtp_session_wants_tls(&c->session) && !c->eof) {
		begin_tls(c);
		return;
	}
	if (c->eof && c->session.stage == STAGE_NONE)
		smtp_session_eof(&c->session);
	if (smtp_session_finished(&c->session)) {
		stream_close(&c->conn.stream);
		sink_conn_free(c);
	} else if (c->stalled && !c->reading_late && smtp_session_can_take(&c->session)) {
		c->stalled = false;
		stream_resume(&c->conn.stream);
	}
}

static void restart_timer(struct sink_conn *c)
{
	if (!c->verdict_due && !c->reading_late)
		conn_timer(&c->conn, sink_of(c)->conf.timeout_us);
}

static void start(struct sink_conn *c)
{
	list_remove(&c->conn.node);
	list_init(&c->conn.node);
	c->conn.life = CONN_OPEN;
	restart_timer(c);
	if (sink_of(c)->conf.tls) {
		begin_tls(c);
		return;
	}
	smtp_session_start(&c->session);
	kick(c);
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct sink_conn *c = sink_conn_of(st);

	if (c->conn.life == CONN_FRESH)
		start(c);
	if (c->conn.life != CONN_OPEN)
		return data.n;
	if (c->conn.handshaking)
		return 0;
	size_t n = smtp_session_input(&c->session, data, false);
	c->stalled = n < data.n;
	restart_timer(c);
	kick(c);
	return n;
}

static void on_eof(struct stream *st)
{
	struct sink_conn *c = sink_conn_of(st);

	if (c->conn.life == CONN_FRESH)
		start(c);
	c->eof = true;
	kick(c);
}

static void on_writable(struct stream *st)
{
	struct sink_conn *c = sink_conn_of(st);

	if (c->conn.life == CONN_FRESH)
		start(c);
	else
		kick(c);
}

static void on_secure(struct stream *st)
{
	struct sink_conn *c = sink_conn_of(st);

	c->conn.handshaking = false;
	smtp_session_secured(&c->session);
	if (c->session.state == SMTP_CONNECT)
		smtp_session_start(&c->session);
	kick(c);
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	(void)reason;
	sink_conn_free(sink_conn_of(st));
}

static const struct stream_ops stream_ops = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close,
	.on_secure = on_secure,
};

static void on_timer(struct timer *t, uint64_t now)
{
	struct sink_conn *c = container_of(t, struct sink_conn, conn.timer);

	(void)now;
	if (c->verdict_due) {
		sink_tell_late(c);
	} else if (c->reading_late) {
		sink_read_late(c);
	} else {
		sink_conn_abort(c);
		return;
	}
	restart_timer(c);
	kick(c);
}

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct sink *s = l->ctx;
	struct sink_conn *c = (struct sink_conn *)conn_take(&s->conns, &stream_ops);

	(void)local;
	if (!c)
		return NULL;
	list_push_tail(&s->fresh, &c->conn.node);
	figure_add(&s->figures.connections, 1);
	c->rcpts_n = 0;
	c->read_at_us = 0;
	c->verdict_due = c->at_end = c->at_data = c->reading_late = false;
	c->eof = c->stalled = c->drop = false;
	smtp_session_init(&c->session, &sink_session_ops, c, &s->policy, &s->service, &peer->ip);
	return &c->conn.stream;
}

unsigned sink_poll(void *sink, uint64_t now)
{
	struct sink *s = sink;
	unsigned n = 0;

	(void)now;
	for (; !list_empty(&s->fresh); n++)
		start(list_entry(s->fresh.next, struct sink_conn, conn.node));
	return n;
}

/* ---- main thread ---- */

static enum directory_verdict nobody_is_local(
	const struct directory *d, struct bytes address, struct directory_entry *entry_r)
{
	(void)d;
	(void)address;
	(void)entry_r;
	return DIRECTORY_REMOTE;
}

static void policy_init(struct sink *s)
{
	static const struct directory directory = {.lookup = nobody_is_local};
	static const struct ip_net everybody = {.prefix = 0};

	snprintf(s->policy.hostname, sizeof(s->policy.hostname), "%s", s->conf.hostname);
	s->policy.directory = &directory;
	s->policy.relay_from = &everybody;
	s->policy.relay_from_count = 1;
	s->policy.message_bytes_max = SIZE_MAX_;
	s->policy.recipients_max = MESSAGE_RCPT_MAX;
	s->policy.errors_max = UINT32_MAX; /* it is we who make them */
	s->policy.received_max = UINT32_MAX;
	s->policy.inflight_max = INFLIGHT;
	s->policy.command_timeout_us = s->policy.data_timeout_us = s->conf.timeout_us;
	s->service.port = s->conf.at.port;
	s->service.tls = s->conf.starttls;
	s->service.implicit_tls = s->conf.tls;
	s->service.lmtp = s->conf.lmtp;
	s->service.auth = !s->conf.no_auth;
	s->service.auth_in_clear = true;
	s->service.withheld = s->conf.withheld;
	s->service.soft = s->conf.soft;
	s->service.hard = s->conf.hard;
}

struct sink *sink_create(const struct sink_conf *conf, struct engine *e, const struct conn_tls *tls,
	struct ledger *ledger)
{
	struct sink *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conf = *conf;
	if (!s->conf.timeout_us)
		s->conf.timeout_us = TIMEOUT_US;
	s->ledger = ledger;
	s->random = 1; /* the same failures in each run */
	s->listener = (struct listener){.accept = on_accept, .ctx = s};
	policy_init(s);
	list_init(&s->fresh);
	if (conns_init(&s->conns, conf->sessions_max, sizeof(struct sink_conn), e, tls, on_timer,
		    s) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

int sink_listen(struct sink *s)
{
	return engine_listen(s->conns.engine, &s->conf.at, &s->listener);
}

struct sink_figures *sink_figures(struct sink *s)
{
	return &s->figures;
}

uint32_t sink_open(const struct sink *s)
{
	return atomic_load_explicit(&s->conns.open, memory_order_relaxed);
}

void sink_destroy(struct sink **s)
{
	if (!*s)
		return;
	for (uint32_t i = 0; i < (*s)->conns.n; i++) {
		struct sink_conn *c = conns_at(&(*s)->conns, i);
		sink_dump_drop(c);
		free(c->rcpts);
	}
	conns_fini(&(*s)->conns);
	free(*s);
	*s = NULL;
}

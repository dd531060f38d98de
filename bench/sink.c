/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/sink.h"
#include <errno.h>
#include <stdlib.h>
#include "bench/letter.h"
#include "smtp/command.h"
#include "smtp/session_stream.h"

#define TIMEOUT_US (300 * US_PER_SEC) /* RFC 5321 4.5.3.2.7 */
#define RCPTS_STEP 64                 /* room for recipients grows by */
#define SIZE_MAX_  (256ull << 20)     /* octets of a message */
#define INFLIGHT   8                  /* answers that may be delayed at a time, per session */

const char *const sink_stage_names[SINK_STAGE_N] = {
	[SINK_CONNECT] = "connect",
	[SINK_HELO] = "helo",
	[SINK_MAIL] = "mail",
	[SINK_RCPT] = "rcpt",
	[SINK_DATA] = "data",
	[SINK_END] = "end",
};

enum conn_life { LIFE_FREE, LIFE_FRESH, LIFE_OPEN };

struct conn {
	struct stream stream;
	struct sink *sink;
	struct list node;
	struct timer timer;
	struct smtp_session session;
	struct letter_reader reader;
	uint64_t *rcpts; /* hashes, of the transaction */
	uint32_t rcpts_n, rcpts_max;
	uint32_t connection;   /* its number, for choices */
	enum reply_id verdict; /* a delayed one */
	bool verdict_due;      /* the timer is for it */
	bool at_end;           /* it is about the message read last, of content_n octets */
	enum letter_verdict read;
	struct letter_id id;
	uint64_t content_n;
	bool handshaking, eof, stalled, drop;
	uint8_t life;
	uint8_t line[SMTP_LINE_MAX];
};

struct sink {
	struct sink_conf conf;
	struct engine *engine;
	struct tls *tls;
	struct tls_config *tls_config;
	struct ledger *ledger;
	struct smtp_policy policy;
	struct smtp_service service;
	struct listener listener;
	struct conn *conns;
	struct list unused, fresh;
	uint64_t random;
	uint64_t taken; /* messages, for the mutants */
	struct sink_figures figures;
};

static void add(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t now_us(const struct sink *s)
{
	return *s->engine->now_us;
}

static double chance(struct sink *s)
{
	s->random = s->random * 6364136223846793005ull + 1442695040888963407ull; /* Knuth, MMIX */
	return (double)(s->random >> 11) / 9007199254740992.0;
}

/* ---- verdicts ---- */

/* What was asked to fail here does, by chance. */
static enum reply_id failure(struct conn *c, enum sink_stage stage)
{
	struct sink *s = c->sink;
	const double *share = s->conf.fail[stage];
	double at = chance(s);

	for (unsigned kind = 0; kind < SINK_FAILURE_N; kind++) {
		if (at >= share[kind]) {
			at -= share[kind];
			continue;
		}
		add(&s->figures.failures[stage][kind], 1);
		c->drop = kind == SINK_DROP;
		if (stage == SINK_CONNECT)
			return kind == SINK_5XX ? REPLY_FOREIGN : REPLY_BUSY;
		return kind == SINK_5XX ? REPLY_REFUSED : REPLY_LOCAL_ERROR;
	}
	return REPLY_OK;
}

/* ... and waits before it is told. */
static enum reply_id decide(struct conn *c, enum sink_stage stage)
{
	struct sink *s = c->sink;
	enum reply_id v = failure(c, stage);

	if (!s->conf.delay_us[stage])
		return v;
	c->verdict = v;
	c->verdict_due = true;
	timer_arm(s->engine->wheel, &c->timer, now_us(s) + s->conf.delay_us[stage]);
	return REPLY_PENDING;
}

static enum reply_id on_connect(void *ctx)
{
	return decide(ctx, SINK_CONNECT);
}

static enum reply_id on_helo(void *ctx, struct bytes name)
{
	(void)name;
	return decide(ctx, SINK_HELO);
}

static enum reply_id on_starttls(void *ctx)
{
	struct conn *c = ctx;

	return tls_has_room(c->sink->tls) ? REPLY_OK : REPLY_TLS_BUSY;
}

static enum reply_id on_mail(void *ctx, const struct smtp_mail *mail)
{
	struct conn *c = ctx;

	(void)mail;
	c->rcpts_n = 0;
	return decide(c, SINK_MAIL);
}

static enum reply_id on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	struct conn *c = ctx;
	enum reply_id v = decide(c, SINK_RCPT);
	bool refused = v == REPLY_PENDING ? c->verdict != REPLY_OK : v != REPLY_OK;

	if (refused)
		return v;
	if (c->rcpts_n == c->rcpts_max) {
		uint64_t *more = realloc(c->rcpts, (c->rcpts_max + RCPTS_STEP) * sizeof(*more));
		if (!more)
			return REPLY_LOCAL_ERROR;
		c->rcpts = more;
		c->rcpts_max += RCPTS_STEP;
	}
	c->rcpts[c->rcpts_n++] = ledger_rcpt(rcpt->address);
	return v;
}

static enum reply_id on_data_verdict(void *ctx)
{
	struct conn *c = ctx;

	letter_begin(&c->reader);
	return decide(c, SINK_DATA);
}

static size_t on_room(void *ctx, size_t want)
{
	(void)ctx;
	return want + 1;
}

static void on_content(void *ctx, struct bytes run)
{
	struct conn *c = ctx;

	letter_feed(&c->reader, run);
}

/* ---- the end of data ---- */

static bool nth(const struct sink *s, uint32_t n)
{
	return n && s->taken % n == 0;
}

static void note(struct conn *c, const struct letter_id *id, enum ledger_state state)
{
	struct sink *s = c->sink;
	unsigned times = state != LEDGER_BOUNCED && nth(s, s->conf.twice) ? 2 : 1;

	for (uint32_t i = 0; i < c->rcpts_n; i++) {
		for (unsigned k = 0; k < times; k++)
			ledger_add(s->ledger, &(struct ledger_entry){.run = id->run,
						      .state = state,
						      .seq = id->seq,
						      .rcpt = c->rcpts[i]});
	}
}

/* The message read last is ours from now on. */
static void take(struct conn *c)
{
	struct sink *s = c->sink;
	uint64_t now = now_us(s);

	s->taken++;
	if (c->read == LETTER_GOOD && nth(s, s->conf.alter))
		c->read = LETTER_ALTERED;
	if (!nth(s, s->conf.lose) && c->read != LETTER_FOREIGN)
		note(c, &c->id, c->read == LETTER_GOOD ? LEDGER_RECEIVED : LEDGER_ALTERED);
	add(&s->figures.messages, 1);
	add(&s->figures.rcpts, c->rcpts_n);
	add(&s->figures.octets, c->content_n);
	add(&s->figures.altered, c->read == LETTER_ALTERED);
	add(&s->figures.foreign, c->read == LETTER_FOREIGN);
	if (!atomic_load_explicit(&s->figures.first_us, memory_order_relaxed))
		atomic_store_explicit(&s->figures.first_us, now, memory_order_relaxed);
	atomic_store_explicit(&s->figures.last_us, now, memory_order_relaxed);
	if (c->read == LETTER_GOOD && now >= c->id.sent_us)
		hist_add(&s->figures.end_to_end_us, now - c->id.sent_us);
}

/* The verdict on it is about to be told. */
static enum reply_id settle(struct conn *c, enum reply_id verdict)
{
	if (verdict == REPLY_OK)
		take(c);
	else if (!c->drop && reply_code(verdict) >= 500 && c->read != LETTER_FOREIGN)
		note(c, &c->id, LEDGER_BOUNCED);
	return verdict == REPLY_OK ? REPLY_QUEUED : verdict;
}

static enum reply_id on_end_of_data(void *ctx, const struct smtp_content *content)
{
	struct conn *c = ctx;

	c->read = letter_end(&c->reader, &c->id);
	c->content_n = content->size;
	enum reply_id v = decide(c, SINK_END);
	c->at_end = v == REPLY_PENDING;
	return c->at_end ? v : settle(c, v);
}

static void on_reset(void *ctx)
{
	struct conn *c = ctx;

	c->rcpts_n = 0;
}

/* One line at a time is all that a session asks for. */
static void *on_line_get(void *ctx)
{
	return ((struct conn *)ctx)->line;
}

static void on_line_put(void *ctx, void *line)
{
	(void)ctx;
	(void)line;
}

static const struct smtp_session_ops session_ops = {
	.connect = on_connect,
	.helo = on_helo,
	.starttls = on_starttls,
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data_verdict,
	.room = on_room,
	.content = on_content,
	.end = on_end_of_data,
	.reset = on_reset,
	.line_get = on_line_get,
	.line_put = on_line_put,
};

/* ---- connections ---- */

static void conn_free(struct conn *c)
{
	struct sink *s = c->sink;

	smtp_session_fini(&c->session);
	timer_cancel(s->engine->wheel, &c->timer);
	c->life = LIFE_FREE;
	list_remove(&c->node);
	list_push_tail(&s->unused, &c->node);
	atomic_fetch_sub_explicit(&s->figures.open, 1, memory_order_relaxed);
}

static void begin_tls(struct conn *c)
{
	c->handshaking = true;
	c->stalled = false;
	if (tls_accept(c->sink->tls, c->sink->tls_config, &c->stream) == 0)
		return;
	stream_abort(&c->stream);
	conn_free(c);
}

/* Say what is due; the connection may be gone afterwards. */
static void conn_kick(struct conn *c)
{
	if (c->life != LIFE_OPEN || c->handshaking)
		return;
	if (c->drop && !c->verdict_due) {
		stream_abort(&c->stream);
		conn_free(c);
		return;
	}
	if (!smtp_session_flush(&c->session, &c->stream))
		return;
	if (smtp_session_wants_tls(&c->session) && !c->eof) {
		begin_tls(c);
		return;
	}
	if (c->eof && c->session.stage == STAGE_NONE)
		smtp_session_eof(&c->session);
	if (smtp_session_finished(&c->session)) {
		stream_close(&c->stream);
		conn_free(c);
	} else if (c->stalled && smtp_session_can_take(&c->session)) {
		c->stalled = false;
		stream_resume(&c->stream);
	}
}

static struct conn *conn_of(struct stream *s)
{
	return container_of(s, struct conn, stream);
}

static void restart_timer(struct conn *c)
{
	if (!c->verdict_due)
		timer_arm(c->sink->engine->wheel, &c->timer, now_us(c->sink) + TIMEOUT_US);
}

static void conn_start(struct conn *c)
{
	list_remove(&c->node);
	list_init(&c->node);
	c->life = LIFE_OPEN;
	restart_timer(c);
	if (c->sink->conf.tls) {
		begin_tls(c);
		return;
	}
	smtp_session_start(&c->session);
	conn_kick(c);
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct conn *c = conn_of(st);

	if (c->life == LIFE_FRESH)
		conn_start(c);
	if (c->life != LIFE_OPEN)
		return data.n;
	if (c->handshaking)
		return 0;
	size_t n = smtp_session_input(&c->session, data, false);
	c->stalled = n < data.n;
	restart_timer(c);
	conn_kick(c);
	return n;
}

static void on_eof(struct stream *st)
{
	struct conn *c = conn_of(st);

	if (c->life == LIFE_FRESH)
		conn_start(c);
	c->eof = true;
	conn_kick(c);
}

static void on_writable(struct stream *st)
{
	if (conn_of(st)->life == LIFE_FRESH)
		conn_start(conn_of(st));
	else
		conn_kick(conn_of(st));
}

static void on_secure(struct stream *st)
{
	struct conn *c = conn_of(st);

	c->handshaking = false;
	smtp_session_secured(&c->session);
	if (c->session.state == SMTP_CONNECT)
		smtp_session_start(&c->session);
	conn_kick(c);
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	(void)reason;
	conn_free(conn_of(st));
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
	struct conn *c = container_of(t, struct conn, timer);
	enum reply_id verdict = c->verdict;

	(void)now;
	if (!c->verdict_due) {
		stream_abort(&c->stream);
		conn_free(c);
		return;
	}
	c->verdict_due = false;
	restart_timer(c);
	if (c->at_end)
		verdict = settle(c, verdict);
	c->at_end = false;
	smtp_session_verdict(&c->session, verdict);
	conn_kick(c);
}

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct sink *s = l->ctx;
	struct list *node = list_pop_head(&s->unused);

	(void)local;
	if (!node)
		return NULL;
	struct conn *c = list_entry(node, struct conn, node);
	list_push_tail(&s->fresh, &c->node);
	add(&s->figures.connections, 1);
	atomic_fetch_add_explicit(&s->figures.open, 1, memory_order_relaxed);
	c->stream = (struct stream){.ops = &stream_ops};
	c->life = LIFE_FRESH;
	c->rcpts_n = 0;
	c->verdict_due = c->at_end = false;
	c->handshaking = c->eof = c->stalled = c->drop = false;
	smtp_session_init(&c->session, &session_ops, c, &s->policy, &s->service, &peer->ip);
	return &c->stream;
}

unsigned sink_poll(void *sink, uint64_t now)
{
	struct sink *s = sink;
	unsigned n = 0;

	(void)now;
	for (; !list_empty(&s->fresh); n++)
		conn_start(list_entry(s->fresh.next, struct conn, node));
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
	s->policy.command_timeout_us = s->policy.data_timeout_us = TIMEOUT_US;
	s->service.port = s->conf.at.port;
	s->service.tls = s->conf.starttls;
	s->service.implicit_tls = s->conf.tls;
}

struct sink *sink_create(const struct sink_conf *conf, struct engine *e, struct tls *tls,
	struct tls_config *tls_config, struct ledger *ledger)
{
	struct sink *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conf = *conf;
	s->engine = e;
	s->tls = tls;
	s->tls_config = tls_config;
	s->ledger = ledger;
	s->random = 1; /* the same failures in each run */
	s->listener = (struct listener){.accept = on_accept, .ctx = s};
	policy_init(s);
	list_init(&s->unused);
	list_init(&s->fresh);
	s->conns = calloc(conf->sessions_max, sizeof(*s->conns));
	if (!s->conns) {
		free(s);
		return NULL;
	}
	for (uint32_t i = 0; i < conf->sessions_max; i++) {
		s->conns[i].sink = s;
		timer_init(&s->conns[i].timer, on_timer);
		list_push_tail(&s->unused, &s->conns[i].node);
	}
	return s;
}

int sink_listen(struct sink *s)
{
	return engine_listen(s->engine, &s->conf.at, &s->listener);
}

struct sink_figures *sink_figures(struct sink *s)
{
	return &s->figures;
}

void sink_destroy(struct sink **s)
{
	if (!*s)
		return;
	for (uint32_t i = 0; i < (*s)->conf.sessions_max; i++)
		free((*s)->conns[i].rcpts);
	free((*s)->conns);
	free(*s);
	*s = NULL;
}

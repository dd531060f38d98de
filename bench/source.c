/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/source.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include "bench/letter.h"
#include "dataplane/base/codec.h"
#include "dataplane/base/siphash.h"
#include "smtp/client.h"

#define OUT_MAX      (32u * 1024) /* octets of a session that are ready to be sent */
#define CONNECT_US   (30 * US_PER_SEC)
#define CONNECT_STEP 64               /* connections begun in a lap */
#define RETRY_US     (10 * US_PER_MS) /* chosen: after a connection failed */
#define SIZE_MIN     2
#define FINISH_US    (30 * US_PER_SEC) /* for what is under way at the end */
#define CLAIM_US     (10 * US_PER_SEC) /* chosen: addresses are claimed in about two seconds */

const char *const source_stage_names[SOURCE_STAGE_N] = {
	[SOURCE_CONNECT] = "connect",
	[SOURCE_GREETING] = "greeting",
	[SOURCE_ENVELOPE] = "envelope",
	[SOURCE_DATA] = "data",
};

enum session_life { LIFE_FREE, LIFE_CONNECTING, LIFE_OPEN };

struct session {
	struct stream stream;
	struct source *source;
	struct list node; /* free, or ready for a message */
	struct timer timer;
	struct smtp_client client;
	struct letter letter;
	uint64_t began_us;    /* the connection */
	uint64_t intended_us; /* the message */
	uint64_t first_rcpt;  /* number of its first recipient, -N */
	uint32_t sent;        /* messages in this connection */
	uint32_t accepted;    /* recipients of the message */
	uint8_t life;
	bool handshaking, quitting;
	unsigned domain;
	char address[SOURCE_ADDRESS_MAX];
	uint8_t out[OUT_MAX];
	uint32_t out_n, out_at;
};

struct source {
	struct source_conf conf;
	struct engine *engine;
	struct tls *tls;
	struct tls_config *tls_config;
	struct ledger *ledger;
	uint32_t run;
	struct session *sessions;
	struct list unused, ready;
	uint64_t created_us, began_us, retry_at_us, ending_at_us;
	uint64_t rcpts_named;
	struct siphash_key key; /* choices by number of message, the same in each run */
	atomic_bool ending;
	struct source_figures figures;
};

static void add(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static uint64_t now_us(const struct source *s)
{
	return *s->engine->now_us;
}

static bool measuring(const struct source *s)
{
	double passed = (double)(now_us(s) - s->began_us) / 1e6;

	return passed >= s->conf.warm_up && (s->conf.seconds <= 0 || passed < s->conf.seconds);
}

static uint64_t choice(const struct source *s, uint64_t seq, uint32_t what)
{
	uint64_t in[2] = {seq, what};

	return siphash13(&s->key, in, sizeof(in));
}

/* ---- what a message is ---- */

/* Box and Muller (1958), of two choices. */
static double normal(const struct source *s, uint64_t seq)
{
	double u = ((double)(choice(s, seq, 1) >> 11) + 1) / 9007199254740993.0;
	double v = (double)(choice(s, seq, 2) >> 11) / 9007199254740992.0;

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static uint64_t size_of(const struct source *s, uint64_t seq)
{
	const struct source_conf *c = &s->conf;
	uint64_t size;

	if (c->lognormal_median > 0)
		size = (uint64_t)(c->lognormal_median * exp(c->lognormal_sigma * normal(s, seq)));
	else
		size = c->sizes[seq % c->size_count];
	return MIN(MAX(size, (uint64_t)SIZE_MIN), c->size_max);
}

static unsigned domain_of(const struct source *s, uint64_t seq)
{
	uint64_t all = 0, at;
	unsigned i = 0;

	for (unsigned k = 0; k < s->conf.domain_count; k++)
		all += s->conf.domains[k].weight;
	at = choice(s, seq, 3) % MAX(all, 1ull);
	while (i + 1 < s->conf.domain_count && at >= s->conf.domains[i].weight)
		at -= s->conf.domains[i++].weight;
	return i;
}

/* smtp-source's way: a number before the address when there are several, or with -N. */
static struct bytes rcpt_name(struct session *t, uint32_t i)
{
	const struct source_conf *c = &t->source->conf;
	const char *domain = c->domains[t->domain].name;
	uint64_t number = c->number_rcpts ? t->first_rcpt + i + 1 : i + 1;
	struct buf b;

	buf_init(&b, t->address, sizeof(t->address));
	if (c->rcpts > 1 || c->number_rcpts)
		dec_u64(&b, number, 1);
	buf_str(&b, c->to_local);
	buf_byte(&b, '@');
	buf_str(&b, domain);
	return buf_view(&b);
}

static void pump(struct session *t);

static void begin_message(struct session *t, uint64_t intended_us)
{
	struct source *s = t->source;
	uint64_t seq = get(&s->figures.begun) + 1;
	struct letter_id id = {.run = s->run, .seq = seq, .sent_us = intended_us};

	add(&s->figures.begun, 1);
	id.size = size_of(s, seq);
	t->domain = domain_of(s, seq);
	t->intended_us = intended_us;
	t->accepted = 0;
	t->first_rcpt = s->rcpts_named;
	s->rcpts_named += s->conf.rcpts;
	letter_make(&t->letter, &id, bytes_str(s->conf.from), rcpt_name(t, 0));
	t->sent++;
	smtp_client_send(
		&t->client, &(struct smtp_client_message){.sender = bytes_str(s->conf.from),
				    .rcpt_count = s->conf.rcpts,
				    .size = letter_octets(&t->letter)});
}

/* ---- what is due ---- */

static bool no_more(const struct source *s)
{
	if (atomic_load_explicit(&s->ending, memory_order_relaxed))
		return true;
	if (s->conf.messages && get(&s->figures.begun) >= s->conf.messages)
		return true;
	return s->conf.seconds > 0 && (double)(now_us(s) - s->began_us) / 1e6 >= s->conf.seconds;
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
	*at_r = now_us(s);
	if (no_more(s))
		return false;
	if (s->conf.rate <= 0)
		return true;
	uint64_t at = s->began_us + (uint64_t)(intended(s, get(&s->figures.begun)) * 1e6);
	*at_r = at;
	return at <= now_us(s);
}

static bool connection_full(const struct session *t)
{
	uint32_t most = t->source->conf.per_connection;

	return most && t->sent >= most;
}

/* ---- the engine's upcalls ---- */

static void say_quit(struct session *t)
{
	t->quitting = true;
	smtp_client_quit(&t->client);
}

static void on_ready(void *ctx)
{
	struct session *t = ctx;
	struct source *s = t->source;
	uint64_t at;

	if (connection_full(t) || no_more(s))
		say_quit(t);
	else if (list_empty(&s->ready) && message_due(s, &at))
		begin_message(t, at);
	else
		list_push_tail(&s->ready, &t->node);
}

static void note_refusal(struct source *s, enum source_stage stage, unsigned code, const char *text)
{
	enum source_refusal kind = code >= 500   ? SOURCE_5XX
				   : code >= 400 ? SOURCE_4XX
						 : SOURCE_LOST;

	add(&s->figures.refusals[stage][kind], 1);
	if (!s->figures.first_refusal[0])
		snprintf(s->figures.first_refusal, sizeof(s->figures.first_refusal),
			"%s: %u %.200s", source_stage_names[stage], code, text);
}

static enum source_stage stage_of(const struct smtp_client *c)
{
	switch (smtp_client_state(c)) {
	case SMTP_CLIENT_ENVELOPE:
		return SOURCE_ENVELOPE;
	case SMTP_CLIENT_DATA:
	case SMTP_CLIENT_CONTENT:
	case SMTP_CLIENT_FINAL:
		return SOURCE_DATA;
	default:
		return SOURCE_GREETING;
	}
}

static void on_rcpt(
	void *ctx, uint32_t i, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	struct session *t = ctx;
	struct source *s = t->source;
	struct ledger_entry e = {.run = s->run,
		.seq = t->letter.id.seq,
		.rcpt = ledger_rcpt(rcpt_name(t, i)),
		.state = LEDGER_REFUSED};

	if (result == SMTP_RCPT_DELIVERED) {
		e.state = LEDGER_ACCEPTED;
		t->accepted++;
		add(&s->figures.rcpts_accepted, 1);
	} else {
		if (reply->code == 0)
			e.state = LEDGER_UNKNOWN; /* nobody said */
		note_refusal(s, stage_of(&t->client), reply->code, reply->text);
	}
	ledger_add(s->ledger, &e);
}

static void note_second(struct source *s, bool accepted, uint64_t us)
{
	uint64_t second = (now_us(s) - s->began_us) / US_PER_SEC;

	if (second >= SOURCE_SERIES_MAX)
		return;
	struct source_second *at = &s->figures.series[second];
	at->accepted += accepted;
	at->refused += !accepted;
	at->sum_us += accepted ? us : 0;
	if (accepted)
		at->slowest_us = MAX(at->slowest_us, (uint32_t)MIN(us, (uint64_t)UINT32_MAX));
	atomic_store_explicit(&s->figures.series_n, (uint32_t)second + 1, memory_order_relaxed);
}

static void on_message_end(void *ctx)
{
	struct session *t = ctx;
	struct source *s = t->source;

	note_second(s, t->accepted > 0, now_us(s) - t->intended_us);
	if (t->accepted < s->conf.rcpts)
		add(&s->figures.refused, 1);
	if (!t->accepted)
		return;
	add(&s->figures.accepted, 1);
	add(&s->figures.octets, letter_octets(&t->letter));
	if (!measuring(s))
		return;
	if (!s->figures.measured_from_us)
		s->figures.measured_from_us = s->began_us + (uint64_t)(s->conf.warm_up * 1e6);
	s->figures.measured_to_us = now_us(s);
	add(&s->figures.measured, 1);
	add(&s->figures.measured_octets, letter_octets(&t->letter));
	hist_add(&s->figures.accept_us, now_us(s) - t->intended_us);
}

static void on_end(void *ctx, const struct smtp_reply_info *reply)
{
	struct session *t = ctx;

	/* a session that never came so far as to have a message */
	if (!t->sent && !t->quitting)
		note_refusal(t->source, SOURCE_GREETING, reply->code, reply->text);
}

static struct smtp_client_rcpt on_rcpt_name(void *ctx, uint32_t i)
{
	return (struct smtp_client_rcpt){.address = rcpt_name(ctx, i)};
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

/* ---- connections ---- */

static void session_free(struct session *t)
{
	struct source *s = t->source;

	timer_cancel(s->engine->wheel, &t->timer);
	t->life = LIFE_FREE;
	list_remove(&t->node);
	list_push_tail(&s->unused, &t->node);
	atomic_fetch_sub_explicit(&s->figures.open, 1, memory_order_relaxed);
}

static void session_close(struct session *t)
{
	stream_close(&t->stream);
	session_free(t);
}

static void begin_tls(struct session *t)
{
	static const struct tls_peer anybody = {.trust = TLS_TRUST_NONE};
	struct source *s = t->source;

	t->handshaking = true;
	if (tls_connect(s->tls, s->tls_config, &t->stream, &anybody) == 0)
		return;
	note_refusal(s, SOURCE_GREETING, 0, "no room for TLS");
	stream_abort(&t->stream);
	session_free(t);
}

/* Send what is ready, make more, until the stream is full or nothing is due. */
static void pump(struct session *t)
{
	struct buf b;

	while (t->life == LIFE_OPEN && !t->handshaking) {
		if (t->out_at == t->out_n) {
			buf_init(&b, t->out, sizeof(t->out));
			/* as much as there is room for: fewer, larger writes */
			while (smtp_client_output(&t->client, &b) > 0)
				;
			t->out_at = 0;
			t->out_n = (uint32_t)b.n;
		}
		if (t->out_n == 0)
			break;
		t->out_at += (uint32_t)stream_send(
			&t->stream, bytes_make(t->out + t->out_at, t->out_n - t->out_at));
		if (t->out_at < t->out_n)
			break;
	}
	if (t->life != LIFE_OPEN || t->handshaking)
		return;
	if (smtp_client_state(&t->client) == SMTP_CLIENT_ENDED)
		session_close(t);
	else if (smtp_client_state(&t->client) == SMTP_CLIENT_HANDSHAKE)
		begin_tls(t);
}

static struct session *session_of(struct stream *s)
{
	return container_of(s, struct session, stream);
}

static void start_smtp(struct session *t)
{
	struct source *s = t->source;

	smtp_client_init(&t->client, &client_ops, t, s->conf.hello);
	smtp_client_demand(&t->client,
		&(struct smtp_client_demand){
			.tls = s->conf.starttls ? SMTP_CLIENT_TLS_MUST : SMTP_CLIENT_TLS_NONE,
			.secured = s->conf.tls,
			.lmtp = s->conf.lmtp});
}

static void on_open(struct stream *st)
{
	struct session *t = session_of(st);
	struct source *s = t->source;

	t->life = LIFE_OPEN;
	add(&s->figures.connections, 1);
	if (measuring(s))
		hist_add(&s->figures.connect_us, now_us(s) - t->began_us);
	if (s->conf.tls)
		begin_tls(t);
}

static void on_secure(struct stream *st)
{
	struct session *t = session_of(st);

	t->handshaking = false;
	if (!t->source->conf.tls)
		smtp_client_secured(&t->client);
	pump(t);
}

static void restart_timer(struct session *t)
{
	timer_arm(t->source->engine->wheel, &t->timer,
		now_us(t->source) + smtp_client_timeout_us(&t->client));
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct session *t = session_of(st);

	if (t->handshaking)
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
	struct source *s = t->source;

	if (t->life == LIFE_CONNECTING) {
		note_refusal(s, SOURCE_CONNECT, 0, stream_reason_text(reason));
		s->retry_at_us = now_us(s) + RETRY_US;
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
	struct session *t = container_of(timer, struct session, timer);

	(void)now;
	if (smtp_client_state(&t->client) == SMTP_CLIENT_READY) {
		restart_timer(t);
		return;
	}
	smtp_client_disconnected(&t->client, "the server did not answer in time");
	stream_abort(&t->stream);
	session_free(t);
}

/* Returns false: not now. */
static bool connect_one(struct source *s)
{
	struct list *node = list_pop_head(&s->unused);

	if (!node)
		return false;
	struct session *t = list_entry(node, struct session, node);
	list_init(&t->node);
	t->stream = (struct stream){.ops = &stream_ops};
	t->began_us = now_us(s);
	t->sent = 0;
	t->out_n = t->out_at = 0;
	t->handshaking = t->quitting = false;
	t->life = LIFE_CONNECTING;
	start_smtp(t);
	atomic_fetch_add_explicit(&s->figures.open, 1, memory_order_relaxed);
	int rc = engine_connect(s->engine, &t->stream, &s->conf.to, CONNECT_US);
	if (rc == 0) {
		restart_timer(t);
		return true;
	}
	s->retry_at_us = now_us(s) + RETRY_US;
	session_free(t);
	/* A stack that has just begun makes sure that its address is nobody else's (RFC 5227, RFC
	 * 4862 5.4): the clock starts when it may be used. */
	if (rc == -ENETUNREACH && get(&s->figures.connections) == 0 &&
		now_us(s) < s->created_us + CLAIM_US)
		s->began_us = now_us(s);
	else
		note_refusal(s, SOURCE_CONNECT, 0, strerror(-rc));
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
		struct session *t = list_entry(list_pop_head(&s->ready), struct session, node);
		list_init(&t->node);
		if (due)
			begin_message(t, at);
		else
			say_quit(t);
		restart_timer(t);
		pump(t);
		n++;
	}
	return n;
}

/* How many messages are late; and when the next one is due. */
static void note_behind(struct source *s)
{
	uint64_t behind = 0, begun = get(&s->figures.begun);
	double passed = (double)(now_us(s) - s->began_us) / 1e6;

	s->engine->wake_us = 0;
	if (s->conf.rate > 0 && !no_more(s)) {
		double at = intended(s, begun);
		if (at < passed)
			behind = (uint64_t)((passed - at) * s->conf.rate);
		else
			s->engine->wake_us = s->began_us + (uint64_t)(at * 1e6);
	}
	atomic_store_explicit(&s->figures.behind, behind, memory_order_relaxed);
}

/* At the end: who has not come so far as to have a message need not come any more.  A server that
 * is full may leave them waiting for long. */
static void give_up_waiting(struct source *s)
{
	for (uint32_t i = 0; i < s->conf.sessions; i++) {
		struct session *t = &s->sessions[i];
		if (t->life == LIFE_FREE || t->sent > 0)
			continue;
		stream_abort(&t->stream);
		session_free(t);
	}
}

unsigned source_poll(void *source, uint64_t now)
{
	struct source *s = source;
	unsigned n = 0;
	uint64_t at;

	if (!s->began_us)
		s->began_us = s->created_us = now;
	n += feed_ready(s);
	/* a new connection for what finds no session ready */
	while (n < CONNECT_STEP && now >= s->retry_at_us && list_empty(&s->ready) &&
		message_due(s, &at) && connect_one(s))
		n++;
	note_behind(s);
	if (!no_more(s))
		return n;
	if (!s->ending_at_us) {
		s->ending_at_us = now + FINISH_US;
		give_up_waiting(s);
	}
	if (atomic_load(&s->figures.open) == 0 || now >= s->ending_at_us)
		atomic_store(&s->figures.finished, true);
	return n;
}

void source_end(struct source *s)
{
	atomic_store(&s->ending, true);
}

struct source_figures *source_figures(struct source *s)
{
	return &s->figures;
}

struct source *source_create(const struct source_conf *conf, struct engine *e, struct tls *tls,
	struct tls_config *tls_config, struct ledger *ledger, uint32_t run)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conf = *conf;
	s->engine = e;
	s->tls = tls;
	s->tls_config = tls_config;
	s->ledger = ledger;
	s->run = run;
	s->key = (struct siphash_key){1, 2};
	s->sessions = calloc(conf->sessions, sizeof(*s->sessions));
	if (!s->sessions) {
		free(s);
		return NULL;
	}
	list_init(&s->unused);
	list_init(&s->ready);
	for (uint32_t i = 0; i < conf->sessions; i++) {
		s->sessions[i].source = s;
		timer_init(&s->sessions[i].timer, on_timer);
		list_push_tail(&s->unused, &s->sessions[i].node);
	}
	return s;
}

void source_destroy(struct source **s)
{
	if (!*s)
		return;
	free((*s)->sessions);
	free(*s);
	*s = NULL;
}

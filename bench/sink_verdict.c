/* SPDX-License-Identifier: BSD-3-Clause
 * What the sink answers, and what it notes of messages. */
#include <stdlib.h>
#include "bench/sink_priv.h"
#include "smtp/command.h"

#define RCPTS_STEP 64  /* room for recipients grows by */
#define ROLLS_MAX  100 /* of a die; chosen: a delay has an end */
#define SOMEBODY   1   /* the account of whoever has authenticated */

const char *const sink_failure_names[SINK_FAILURE_N] = {
	[SINK_4XX] = "4xx", [SINK_5XX] = "5xx", [SINK_421] = "421", [SINK_DROP] = "drop"};

const char *const sink_stage_names[SINK_STAGE_N] = {
	[SINK_CONNECT] = "connect",
	[SINK_HELO] = "helo",
	[SINK_MAIL] = "mail",
	[SINK_RCPT] = "rcpt",
	[SINK_DATA] = "data",
	[SINK_END] = "end",
};

static uint64_t now_us(const struct sink *s)
{
	return *s->conns.engine->now_us;
}

static double chance(struct sink *s)
{
	s->random = s->random * 6364136223846793005ull + 1442695040888963407ull; /* Knuth, MMIX */
	return (double)(s->random >> 11) / 9007199254740992.0;
}

/* ---- verdicts ---- */

static enum reply_id failure_reply(
	const struct sink *s, enum sink_stage stage, enum sink_failure kind)
{
	if (kind == SINK_4XX && s->conf.soft[0])
		return REPLY_SOFT;
	if (kind == SINK_5XX && s->conf.hard[0])
		return REPLY_HARD;
	if (kind == SINK_5XX)
		return stage == SINK_CONNECT ? REPLY_FOREIGN : REPLY_REFUSED;
	return kind == SINK_421 || stage == SINK_CONNECT ? REPLY_BUSY : REPLY_LOCAL_ERROR;
}

/* What was asked to fail here does, by chance. */
static enum reply_id failure(struct sink_conn *c, enum sink_stage stage)
{
	struct sink *s = sink_of(c);
	const double *share = s->conf.fail[stage];
	double at = chance(s);

	for (unsigned kind = 0; kind < SINK_FAILURE_N; kind++) {
		if (at >= share[kind]) {
			at -= share[kind];
			continue;
		}
		figure_add(&s->figures.failures[stage][kind], 1);
		c->drop = kind == SINK_DROP;
		return failure_reply(s, stage, (enum sink_failure)kind);
	}
	return REPLY_OK;
}

static uint64_t delay_us(struct sink *s, enum sink_stage stage)
{
	uint64_t rolls = 1;

	while (rolls < ROLLS_MAX && chance(s) < s->conf.delay_odds[stage])
		rolls++;
	return rolls * s->conf.delay_us[stage];
}

/* ... and waits before it is told. */
static enum reply_id decide(struct sink_conn *c, enum sink_stage stage)
{
	struct sink *s = sink_of(c);
	enum reply_id v = failure(c, stage);

	if (!s->conf.delay_us[stage])
		return v;
	c->verdict = v;
	c->verdict_due = true;
	conn_timer(&c->conn, delay_us(s, stage));
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
	struct sink_conn *c = ctx;

	return tls_has_room(sink_of(c)->conns.tls) ? REPLY_OK : REPLY_TLS_BUSY;
}

static enum reply_id on_auth(void *ctx, struct bytes user, struct bytes password)
{
	struct sink_conn *c = ctx;

	(void)user;
	(void)password;
	smtp_session_authenticated(&c->session, SOMEBODY);
	return REPLY_OK;
}

static enum reply_id on_mail(void *ctx, const struct smtp_mail *mail)
{
	struct sink_conn *c = ctx;

	c->rcpts_n = 0;
	if (!sink_dump_begin(c, mail->sender))
		return REPLY_LOCAL_ERROR;
	return decide(c, SINK_MAIL);
}

static enum reply_id on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	struct sink_conn *c = ctx;
	enum reply_id v = decide(c, SINK_RCPT);
	bool refused = v == REPLY_PENDING ? c->verdict != REPLY_OK : v != REPLY_OK;

	sink_dump_rcpt(c, rcpt->address);
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

/* Content comes next. */
static void go_on_with_data(struct sink_conn *c)
{
	struct sink *s = sink_of(c);

	c->read_at_us = now_us(s) + s->conf.read_delay_us;
	if (!s->conf.aborts)
		return;
	c->reading_late = true;
	conn_timer(&c->conn, s->conf.read_delay_us);
}

static enum reply_id on_data_verdict(void *ctx)
{
	struct sink_conn *c = ctx;
	enum reply_id v = decide(c, SINK_DATA);

	letter_begin(&c->reader);
	c->at_data = v == REPLY_PENDING;
	if (v == REPLY_OK)
		go_on_with_data(c);
	return v;
}

static size_t on_room(void *ctx, size_t want)
{
	struct sink_conn *c = ctx;
	uint64_t now = now_us(sink_of(c));

	if (sink_of(c)->conf.aborts)
		return 0;
	if (now >= c->read_at_us)
		return want + 1;
	c->reading_late = true;
	conn_timer(&c->conn, c->read_at_us - now);
	return 0;
}

static void on_content(void *ctx, struct bytes run)
{
	struct sink_conn *c = ctx;

	letter_feed(&c->reader, run);
	sink_dump_content(c, run);
}

void sink_read_late(struct sink_conn *c)
{
	c->reading_late = false;
	if (!sink_of(c)->conf.aborts)
		return;
	figure_add(&sink_of(c)->figures.failures[SINK_DATA][SINK_5XX], 1);
	smtp_session_end(&c->session, REPLY_REFUSED);
}

/* ---- the end of data ---- */

static bool nth(const struct sink *s, uint32_t n)
{
	return n && s->taken % n == 0;
}

static void note(struct sink_conn *c, const struct letter_id *id, enum ledger_state state)
{
	struct sink *s = sink_of(c);
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
static void take(struct sink_conn *c)
{
	struct sink *s = sink_of(c);
	uint64_t now = now_us(s);

	s->taken++;
	if (c->read == LETTER_GOOD && nth(s, s->conf.alter))
		c->read = LETTER_ALTERED;
	if (!nth(s, s->conf.lose) && c->read != LETTER_FOREIGN)
		note(c, &c->id, c->read == LETTER_GOOD ? LEDGER_RECEIVED : LEDGER_ALTERED);
	figure_add(&s->figures.messages, 1);
	figure_add(&s->figures.rcpts, c->rcpts_n);
	figure_add(&s->figures.octets, c->content_n);
	figure_add(&s->figures.altered, c->read == LETTER_ALTERED);
	figure_add(&s->figures.foreign, c->read == LETTER_FOREIGN);
	if (!atomic_load_explicit(&s->figures.first_us, memory_order_relaxed))
		atomic_store_explicit(&s->figures.first_us, now, memory_order_relaxed);
	atomic_store_explicit(&s->figures.last_us, now, memory_order_relaxed);
	if (c->read == LETTER_GOOD && now >= c->id.sent_us)
		hist_add(&s->figures.end_to_end_us, now - c->id.sent_us);
}

/* The verdict on it is about to be told. */
static enum reply_id settle(struct sink_conn *c, enum reply_id verdict)
{
	if (verdict == REPLY_OK && !sink_dump_end(c))
		return REPLY_LOCAL_ERROR;
	if (verdict == REPLY_OK)
		take(c);
	else if (!c->drop && reply_code(verdict) >= 500 && c->read != LETTER_FOREIGN)
		note(c, &c->id, LEDGER_BOUNCED);
	return verdict == REPLY_OK ? REPLY_QUEUED : verdict;
}

static enum reply_id on_end_of_data(void *ctx, const struct smtp_content *content)
{
	struct sink_conn *c = ctx;

	c->read = letter_end(&c->reader, &c->id);
	c->content_n = content->size;
	enum reply_id v = decide(c, SINK_END);
	c->at_end = v == REPLY_PENDING;
	return c->at_end ? v : settle(c, v);
}

static void on_reset(void *ctx)
{
	struct sink_conn *c = ctx;

	c->rcpts_n = 0;
	sink_dump_drop(c);
}

/* One line at a time is all that a session asks for. */
static void *on_line_get(void *ctx)
{
	return ((struct sink_conn *)ctx)->line;
}

static void on_line_put(void *ctx, void *line)
{
	(void)ctx;
	(void)line;
}

const struct smtp_session_ops sink_session_ops = {
	.connect = on_connect,
	.helo = on_helo,
	.starttls = on_starttls,
	.auth = on_auth,
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

void sink_tell_late(struct sink_conn *c)
{
	enum reply_id verdict = c->verdict;

	c->verdict_due = false;
	if (c->at_end)
		verdict = settle(c, verdict);
	if (c->at_data && verdict == REPLY_OK)
		go_on_with_data(c);
	c->at_end = c->at_data = false;
	smtp_session_verdict(&c->session, verdict);
}

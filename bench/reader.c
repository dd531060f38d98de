/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/reader.h"
#include <errno.h>
#include <stdlib.h>
#include "bench/figure.h"
#include "bench/letter.h"
#include "bench/mailbox.h"

#define CONNECT_US       (30 * US_PER_SEC)
#define SILENCE_US       (120 * US_PER_SEC) /* chosen; a mailbox that is watched may be silent */
#define RETRY_US         (100 * US_PER_MS)  /* chosen: after a session failed */
#define FINISH_US        (5 * US_PER_SEC)   /* for sessions to end in order */
#define CONNECT_STEP     64                 /* connections begun in a lap */
#define ACCOUNT_NAME_MAX (2 * READER_NAME_MAX + 16)
#define TRIES            3 /* chosen: then a mailbox is given up */

/* One mailbox; it outlives its sessions. */
struct account {
	struct list node; /* wants a session; due_us rises along the list, about */
	uint32_t number, seen;
	uint32_t failures; /* in a row, without a message */
	uint64_t due_us;
	uint64_t hash; /* ledger_rcpt */
};

struct reading {
	struct conn conn;
	struct mailbox mailbox;
	struct letter_reader letter;
	struct account *account;
	uint64_t began_us;
	char user[ACCOUNT_NAME_MAX];
};

struct reader {
	struct reader_conf conf;
	struct conns conns;
	struct ledger *ledger;
	struct account *accounts;
	struct list due;
	uint32_t left; /* mailboxes that are neither read nor given up */
	uint64_t began_us, ending_at_us;
	atomic_bool ending;
	struct reader_figures figures;
};

static struct reading *reading_of(struct stream *s)
{
	return container_of(conn_of(s), struct reading, conn);
}

static struct reader *reader_of(const struct reading *t)
{
	return t->conn.all->owner;
}

static uint64_t now_us(const struct reader *r)
{
	return *r->conns.engine->now_us;
}

static bool no_more(const struct reader *r)
{
	const struct reader_conf *c = &r->conf;

	if (atomic_load_explicit(&r->ending, memory_order_relaxed))
		return true;
	if (r->left == 0 || (c->expect && figure_get(&r->figures.messages) >= c->expect))
		return true;
	return c->seconds > 0 && (double)(now_us(r) - r->began_us) / 1e6 >= c->seconds;
}

/* ---- messages ---- */

static void on_begin(void *ctx)
{
	letter_begin(&((struct reading *)ctx)->letter);
}

static void on_content(void *ctx, struct bytes run)
{
	letter_feed(&((struct reading *)ctx)->letter, run);
}

static void note_times(struct reader *r, uint64_t now)
{
	if (!figure_get(&r->figures.first_us))
		figure_add(&r->figures.first_us, now);
	atomic_store_explicit(&r->figures.last_us, now, memory_order_relaxed);
}

static void on_message(void *ctx)
{
	struct reading *t = ctx;
	struct reader *r = reader_of(t);
	struct letter_id id;
	enum letter_verdict v = letter_end(&t->letter, &id);
	uint64_t now = now_us(r);

	note_times(r, now);
	figure_add(&r->figures.messages, 1);
	figure_add(&r->figures.octets, t->letter.body_n);
	figure_add(&r->figures.altered, v == LETTER_ALTERED);
	figure_add(&r->figures.foreign, v == LETTER_FOREIGN);
	if (v == LETTER_FOREIGN)
		return;
	ledger_add(r->ledger, &(struct ledger_entry){.run = id.run,
				      .state = v == LETTER_GOOD ? LEDGER_RECEIVED : LEDGER_ALTERED,
				      .seq = id.seq,
				      .rcpt = t->account->hash});
	if (v == LETTER_GOOD && now >= id.sent_us)
		hist_add(&r->figures.end_to_end_us, now - id.sent_us);
}

static const struct mailbox_ops mailbox_ops = {
	.begin = on_begin, .content = on_content, .end = on_message};

/* ---- sessions ---- */

static void note_failure(struct reader *r, const char *why)
{
	figure_add(&r->figures.failed, 1);
	if (!r->figures.first_failure[0])
		snprintf(r->figures.first_failure, sizeof(r->figures.first_failure), "%s", why);
}

/* The session is over; its mailbox is looked at again, or was read. */
static void reading_free(struct reading *t, const char *failure)
{
	struct reader *r = reader_of(t);
	struct account *a = t->account;

	a->failures = failure && a->seen == mailbox_seen(&t->mailbox) ? a->failures + 1 : 0;
	a->seen = mailbox_seen(&t->mailbox);
	if (failure)
		note_failure(r, failure);
	if (failure ? a->failures == TRIES : !r->conf.expect) {
		r->left--;
	} else {
		a->due_us = now_us(r) + (failure ? RETRY_US : r->conf.again_us);
		list_push_tail(&r->due, &a->node);
	}
	conn_put(&t->conn);
}

static void pump(struct reading *t)
{
	uint8_t memory[MAILBOX_OUTPUT_MIN + 2 * READER_NAME_MAX];
	struct buf out;

	if (t->conn.life != CONN_OPEN || t->conn.handshaking)
		return;
	buf_init(&out, memory, sizeof(memory));
	mailbox_output(&t->mailbox, &out);
	/* a command, and never a second one before its answer: it finds room */
	if (out.n && stream_send(&t->conn.stream, buf_view(&out)) < out.n) {
		stream_abort(&t->conn.stream);
		reading_free(t, "no room to send");
	} else if (mailbox_ended(&t->mailbox)) {
		stream_close(&t->conn.stream);
		reading_free(t, t->mailbox.error);
	}
}

static void on_open(struct stream *st)
{
	struct reading *t = reading_of(st);
	struct reader *r = reader_of(t);

	t->conn.life = CONN_OPEN;
	figure_add(&r->figures.connections, 1);
	hist_add(&r->figures.connect_us, now_us(r) - t->began_us);
	if (r->conf.tls && !conn_tls_connect(&t->conn))
		note_failure(r, "no room for TLS");
}

static void on_secure(struct stream *st)
{
	reading_of(st)->conn.handshaking = false;
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct reading *t = reading_of(st);

	if (t->conn.handshaking)
		return 0; /* TLS takes it */
	mailbox_input(&t->mailbox, data);
	conn_timer(&t->conn, SILENCE_US);
	if (no_more(reader_of(t)))
		mailbox_quit(&t->mailbox);
	pump(t);
	return data.n;
}

static void on_eof(struct stream *st)
{
	struct reading *t = reading_of(st);

	stream_close(st);
	reading_free(t, "the server has closed the connection");
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	reading_free(reading_of(st), stream_reason_text(reason));
}

static const struct stream_ops stream_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_close = on_close,
	.on_secure = on_secure,
};

static void on_timer(struct timer *timer, uint64_t now)
{
	struct reading *t = container_of(timer, struct reading, conn.timer);

	(void)now;
	if (t->mailbox.state == MAILBOX_IDLE) {
		conn_timer(&t->conn, SILENCE_US);
		return;
	}
	stream_abort(&t->conn.stream);
	reading_free(t, "the server did not answer in time");
}

/* "3user@example.org" */
static void name_of(const struct reader *r, uint32_t number, char out[ACCOUNT_NAME_MAX])
{
	const struct reader_conf *c = &r->conf;

	if (c->mailboxes > 1)
		snprintf(out, ACCOUNT_NAME_MAX, "%u%s@%s", number, c->local, c->domain);
	else
		snprintf(out, ACCOUNT_NAME_MAX, "%s@%s", c->local, c->domain);
}

static bool connect_one(struct reader *r)
{
	struct reading *t = (struct reading *)conn_take(&r->conns, &stream_ops);

	if (!t)
		return false;
	struct account *a = list_entry(list_pop_head(&r->due), struct account, node);
	list_init(&a->node);
	t->account = a;
	t->began_us = now_us(r);
	name_of(r, a->number, t->user);
	mailbox_init(&t->mailbox, &mailbox_ops, t,
		&(struct mailbox_conf){.user = t->user,
			.password = r->conf.password,
			.seen = a->seen,
			.imap = r->conf.imap,
			.watch = r->conf.expect > 0});
	conn_timer(&t->conn, SILENCE_US);
	int rc = engine_connect(r->conns.engine, &t->conn.stream, &r->conf.to, CONNECT_US);
	if (rc < 0)
		reading_free(t, strerror(-rc));
	return rc == 0;
}

/* ---- each lap ---- */

static bool session_due(const struct reader *r)
{
	if (list_empty(&r->due) || no_more(r))
		return false;
	return list_entry(r->due.next, struct account, node)->due_us <= now_us(r);
}

/* Sessions that wait for mail do not hear that nothing more is wanted. */
static void quit_all(struct reader *r)
{
	for (uint32_t i = 0; i < r->conns.n; i++) {
		struct reading *t = conns_at(&r->conns, i);
		if (t->conn.life != CONN_OPEN || t->mailbox.quit)
			continue;
		mailbox_quit(&t->mailbox);
		pump(t);
	}
}

unsigned reader_poll(void *reader, uint64_t now)
{
	struct reader *r = reader;
	unsigned n = 0;

	if (!r->began_us)
		r->began_us = now;
	while (n < CONNECT_STEP && session_due(r) && connect_one(r))
		n++;
	if (!no_more(r))
		return n;
	if (!r->ending_at_us) {
		r->ending_at_us = now + FINISH_US;
		quit_all(r);
	}
	if (reader_open(r) == 0 || now >= r->ending_at_us)
		atomic_store(&r->figures.finished, true);
	return n;
}

void reader_end(struct reader *r)
{
	atomic_store(&r->ending, true);
}

/* ---- main thread ---- */

struct reader_figures *reader_figures(struct reader *r)
{
	return &r->figures;
}

uint32_t reader_open(const struct reader *r)
{
	return atomic_load_explicit(&r->conns.open, memory_order_relaxed);
}

struct reader *reader_create(const struct reader_conf *conf, struct engine *e,
	const struct conn_tls *tls, struct ledger *ledger)
{
	struct reader *r = calloc(1, sizeof(*r));
	char name[ACCOUNT_NAME_MAX];

	if (!r)
		return NULL;
	r->conf = *conf;
	r->ledger = ledger;
	r->left = conf->mailboxes;
	list_init(&r->due);
	r->accounts = calloc(conf->mailboxes, sizeof(*r->accounts));
	if (!r->accounts || conns_init(&r->conns, conf->sessions, sizeof(struct reading), e, tls,
				    on_timer, r) < 0) {
		reader_destroy(&r);
		return NULL;
	}
	for (uint32_t i = 0; i < conf->mailboxes; i++) {
		struct account *a = &r->accounts[i];
		a->number = i + 1;
		name_of(r, a->number, name);
		a->hash = ledger_rcpt(bytes_str(name));
		list_push_tail(&r->due, &a->node);
	}
	return r;
}

void reader_destroy(struct reader **r)
{
	if (!*r)
		return;
	conns_fini(&(*r)->conns);
	free((*r)->accounts);
	free(*r);
	*r = NULL;
}

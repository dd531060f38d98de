/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the source: source.c (laps, life), source_schedule.c (what is due),
 * source_session.c (a connection), source_message.c (what a message is), source_figures.c (what
 * came of it). */
#pragma once
#include "bench/figure.h"
#include "bench/letter.h"
#include "bench/source.h"
#include "dataplane/base/siphash.h"

#define OUT_MAX (32u * 1024) /* octets of a session that are ready to be sent */

/* What a session has ready and the stream did not take.  Few sessions have anything at a time. */
struct source_out {
	struct source_out *next;
	uint32_t n, at;
	uint8_t octets[OUT_MAX];
};

struct session {
	struct conn conn; /* in a list: ready for a message, or AUTH has work to do */
	struct smtp_client client;
	struct letter letter;
	uint64_t began_us;    /* the connection */
	uint64_t intended_us; /* the message */
	uint64_t first_rcpt;  /* number of its first recipient, -N */
	uint32_t sent;        /* messages in this connection */
	uint32_t accepted;    /* recipients of the message */
	bool quitting, ready;
	bool pausing; /* the timer is for the end of that */
	unsigned domain;
	char address[SOURCE_ADDRESS_MAX];
	struct source_out *out;
	struct sasl_client *sasl;
};

struct source {
	struct source_conf conf;
	struct conns conns;
	struct ledger *ledger;
	uint32_t run;
	struct list ready, working;
	struct source_out *outs;  /* unused */
	struct sasl_client *sasl; /* one for each session */
	struct sasl_salted salted;
	uint64_t created_us, began_us, retry_at_us, ending_at_us;
	uint64_t rcpts_named, connects;
	uint32_t failed_in_row; /* connections */
	struct siphash_key key; /* choices by number of message, the same in each run */
	atomic_bool ending;
	struct source_figures figures;
};

static inline uint64_t source_now_us(const struct source *s)
{
	return *s->conns.engine->now_us;
}

static inline struct source *source_of(const struct session *t)
{
	return t->conn.all->owner;
}

/* ---- source_schedule.c ---- */

/* Are sessions only to be held open? */
static inline bool source_holding(const struct source *s)
{
	return s->conf.hold > 0;
}
/* No message, or no session to be held, begins any more. */
bool source_no_more(const struct source *s);
/* May a message begin now?  Then *at_r is when it was meant to. */
bool source_message_due(const struct source *s, uint64_t *at_r);
/* Is there use for one more connection? */
bool source_connection_due(const struct source *s);
/* It is ready for a message, and none is due; it need not wait any longer. */
void source_wait(struct session *t);
void source_wait_no_longer(struct session *t);
/* How many messages are late; and when the next one is due. */
void source_note_behind(struct source *s);

/* ---- source_session.c ---- */

/* One more.  False: not now. */
bool source_connect(struct source *s);
/* Send what is ready, make more, until the stream is full or nothing is due.  t may be gone. */
void source_pump(struct session *t);
void source_quit(struct session *t);
/* The pause between two messages is over. */
void source_pause_end(struct session *t);
void source_session_abort(struct session *t);
/* For the answer that is awaited now. */
void source_restart_timer(struct session *t);
void source_on_timer(struct timer *timer, uint64_t now);

/* ---- source_message.c ---- */

/* Begin the next message in this session. */
void source_message_begin(struct session *t, uint64_t intended_us);
/* How long its session does nothing behind message seq. */
uint64_t source_pause_us(const struct source *s, uint64_t seq);
/* Recipient i of its message, valid until the next call. */
struct bytes source_rcpt(struct session *t, uint32_t i);

/* ---- source_figures.c ---- */

void source_note_connected(struct session *t);
/* reply: of the server, or code 0 with a text of ours. */
void source_note_refusal(
	struct source *s, enum source_stage stage, unsigned code, const char *text);
/* The stage that a verdict in this session is about. */
enum source_stage source_stage(const struct session *t);
void source_note_rcpt(struct session *t, uint32_t i, enum smtp_rcpt_result result,
	const struct smtp_reply_info *reply);
void source_note_message(struct session *t);

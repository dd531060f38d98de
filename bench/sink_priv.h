/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the sink: sink.c (connections), sink_verdict.c (what is answered, and what
 * is noted), sink_dump.c (messages as files). */
#pragma once
#include "bench/figure.h"
#include "bench/letter.h"
#include "bench/sink.h"
#include "smtp/command.h"
#include "smtp/session.h"

struct sink_conn {
	struct conn conn; /* in a list: not greeted yet */
	struct smtp_session session;
	struct letter_reader reader;
	uint64_t *rcpts; /* hashes, of the transaction */
	uint32_t rcpts_n, rcpts_max;
	enum reply_id verdict; /* a delayed one */
	bool verdict_due;      /* the timer is for it */
	bool at_end;           /* it is about the message read last, of content_n octets */
	bool at_data;          /* it is about DATA */
	bool reading_late;     /* the timer is for content that is not read yet */
	enum letter_verdict read;
	struct letter_id id;
	uint64_t content_n, read_at_us;
	bool eof, stalled, drop;
	struct sink_dump *dump; /* of the transaction; NULL: none */
	uint8_t line[SMTP_LINE_MAX];
};

struct sink {
	struct sink_conf conf;
	struct conns conns;
	struct ledger *ledger;
	struct smtp_policy policy;
	struct smtp_service service;
	struct listener listener;
	struct list fresh;
	uint64_t random;
	uint64_t taken; /* messages, for the mutants */
	struct sink_figures figures;
};

static inline struct sink *sink_of(const struct sink_conn *c)
{
	return c->conn.all->owner;
}

/* What smtp/session asks. */
extern const struct smtp_session_ops sink_session_ops;
/* A verdict that was delayed is due now. */
void sink_tell_late(struct sink_conn *c);
/* The time to read, or to abort, has come. */
void sink_read_late(struct sink_conn *c);

/* ---- sink_dump.c: nothing happens where no dump was asked for ---- */

/* MAIL: another transaction.  False: its file cannot be made. */
bool sink_dump_begin(struct sink_conn *c, struct bytes sender);
void sink_dump_rcpt(struct sink_conn *c, struct bytes address);
void sink_dump_content(struct sink_conn *c, struct bytes run);
/* The message is whole.  False: it could not be written. */
bool sink_dump_end(struct sink_conn *c);
/* There is none. */
void sink_dump_drop(struct sink_conn *c);

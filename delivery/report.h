/* SPDX-License-Identifier: BSD-3-Clause
 * The outcome of an attempt on its way to the store: results, and the bounce in the same
 * transaction.  Only after the writer's answer are recipients scheduled again or forgotten.
 * OWNER: one core's thread. */
#pragma once
#include "dataplane/timer.h"
#include "delivery/attempt.h"
#include "smtp/client.h"

/* Why a recipient was not delivered, or that it was. */
struct verdict {
	enum attempt_outcome outcome;
	uint16_t code;      /* SMTP code; 0: none */
	uint8_t status[3];  /* RFC 3463; class 0: the code decides */
	const char *reason; /* printable, copied */
	const char *host;   /* who said so; NULL: nobody was asked */
	bool final;         /* it is in a mailbox: LMTP */
	bool notifies;      /* the next hop has taken over what the sender asked for (RFC 3461) */
	const char *tls;    /* how safe the connection was, for the log */
};

struct report {
	struct list link; /* free list, or the list of those that wait for a credit */
	struct results_op op;
	struct body_read_op read; /* the original's header, for the bounce */
	struct timer timer;       /* tries again what there was no memory or store for */
	struct delivery *d;
	struct attempt *attempt;
	struct job *job;
	struct message *bounce; /* one reference is ours until the writer said yes */
	uint32_t count;
	bool want_bounce;
	bool final, notifies;   /* as the verdicts say */
	char host[64], tls[24]; /* for the log */
	uint32_t nodes[ATTEMPT_RCPTS_MAX];
	uint8_t status[ATTEMPT_RCPTS_MAX][3];
	uint8_t actions[ATTEMPT_RCPTS_MAX]; /* enum bounce_action: what the sender is told */
	struct rcpt_result results[ATTEMPT_RCPTS_MAX]; /* outcome 0: none yet */
};

struct reports {
	struct report *reports;
	uint32_t max, used;
	struct list free;
	struct list unsent[STORE_SHARDS_MAX]; /* no credit of that shard's writer */
	struct list unread;                   /* no credit of a reader, for the original */
};

/* Returns 0 or -ENOMEM. */
int reports_init(struct delivery *d, uint32_t max) WARN_UNUSED;
void reports_fini(struct delivery *d);
/* Do results wait for a credit? */
bool report_waits(const struct delivery *d);
/* May an attempt begin?  Not while results wait for the writer. */
bool report_available(const struct delivery *d);
/* Begin: takes the attempt's recipients.  Only when available. */
struct report *report_begin(struct delivery *d, struct attempt *a);
/* Undo, when nothing came of it: the recipients are the attempt's again, at its site. */
void report_cancel(struct report *r);
struct bytes report_address(const struct report *r, uint32_t i);
struct smtp_client_rcpt report_rcpt(const struct report *r, uint32_t i);
void report_verdict(struct report *r, uint32_t i, const struct verdict *v);
/* All that have no verdict get this one; then to the store.  The report is no longer the
 * caller's. */
void report_finish(struct report *r, const struct verdict *v);
/* The writer has credits again. */
void report_on_credit(struct delivery *d);
/* A reader has. */
void report_on_read_credit(struct delivery *d);

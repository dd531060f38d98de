/* SPDX-License-Identifier: BSD-3-Clause
 * A user of the SMTP session engine for tests and fuzzers: a fake directory, one transaction in a
 * flat buffer, verdicts and commits by hand.  Every transaction must end exactly once. */
#pragma once
#include "smtp/command.h"
#include "smtp/session.h"

#define FAKE_BODY_MAX 65536
#define FAKE_OUT_MAX  65536
#define FAKE_LINES    2 /* one in pieces, and the name that LOGIN keeps */

struct smtp_fake {
	struct smtp_session session;
	struct smtp_policy policy;
	struct smtp_service service;
	struct directory directory;
	/* what the test sets */
	bool hold_commits;                 /* end() leaves the reply waiting */
	enum smtp_stage park;              /* this verdict is pending */
	enum reply_id end_verdict;         /* of end(); 0: submit */
	size_t room;                       /* octets taken at once; 0: none now */
	uint64_t refused[LMTP_RCPT_WORDS]; /* LMTP: recipients that the store refuses */
	bool has_channel;                  /* TLS can be bound to */
	bool no_line;                      /* no memory for lines in pieces */
	/* what the test looks at */
	bool open; /* a transaction is under way */
	unsigned messages, resets;
	unsigned rcpts;
	uint64_t ids;
	char sender[ADDRESS_MAX + 1];
	char rcpt[ADDRESS_MAX + 1]; /* the last one */
	char mail_says[200],
		dsn_says[DSN_ORCPT_MAX + 40]; /* parameters of MAIL and of the last RCPT */
	enum rcpt_route route;
	struct smtp_content content;
	uint8_t body[FAKE_BODY_MAX];
	size_t body_n;
	uint8_t out[FAKE_OUT_MAX]; /* replies sent, not looked at yet */
	size_t out_n;
	unsigned held; /* commits outstanding, in order */
	unsigned held_slot[SMTP_INFLIGHT_MAX];
	uint8_t *line[FAKE_LINES]; /* exact-size blocks, so that a sanitizer sees an overrun */
};

/* peer: text.  Greets. */
void smtp_fake_init(struct smtp_fake *f, const char *peer);
void smtp_fake_fini(struct smtp_fake *f);
/* Feed one group that the peer sent without waiting, `piece` octets at a time (0: all at once).
 * Returns octets taken; the rest waits for a verdict, a commit, or room. */
size_t smtp_fake_input(struct smtp_fake *f, struct bytes group, size_t piece);
/* Move what is due to out. */
void smtp_fake_flush(struct smtp_fake *f);
/* Commit the oldest message that is held. */
void smtp_fake_commit(struct smtp_fake *f, enum reply_id reply);
/* The replies so far, NUL-terminated; clears them. */
const char *smtp_fake_replies(struct smtp_fake *f);

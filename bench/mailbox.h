/* SPDX-License-Identifier: BSD-3-Clause
 * A client that reads all of one mailbox: POP3 (RFC 1939) or IMAP (RFC 3501).  An engine: no I/O,
 * no clock, no allocation.  Servers are not believed more than they must be: every length is
 * checked. OWNER: one thread. */
#pragma once
#include "smtp/data.h"

#define MAILBOX_LINE_MAX   1024 /* octets of a reply that are looked at */
#define MAILBOX_OUTPUT_MIN 512
#define MAILBOX_NAME_MAX   200
#define MAILBOX_FETCH_MAX  100          /* messages asked for at a time, IMAP */
#define MAILBOX_OCTETS_MAX (1ull << 32) /* of one message */

enum mailbox_state {
	MAILBOX_GREETING,
	MAILBOX_USER, /* POP3; IMAP's LOGIN is MAILBOX_PASS */
	MAILBOX_PASS,
	MAILBOX_COUNT, /* STAT, EXAMINE */
	MAILBOX_FETCH, /* the reply's line */
	MAILBOX_BODY,  /* content of a message */
	MAILBOX_SKIP,  /* a literal that is no message */
	MAILBOX_IDLE,
	MAILBOX_QUIT,
	MAILBOX_ENDED,
};

struct mailbox_ops {
	void (*begin)(void *ctx); /* a message */
	void (*content)(void *ctx, struct bytes run);
	void (*end)(void *ctx);
};

struct mailbox_conf {
	const char *user, *password; /* borrowed */
	uint32_t seen;               /* messages at the front that were read before */
	bool imap;
	bool watch; /* IMAP: stay, and read what comes (IDLE, RFC 2177) */
};

struct mailbox {
	struct mailbox_conf conf;
	const struct mailbox_ops *ops;
	void *ctx;
	uint8_t state;          /* enum mailbox_state */
	bool due;               /* the command of this state is still to be sent */
	bool quit, idle_done;   /* asked to end; DONE is to be sent */
	bool more;              /* IDLE has begun: DONE may be said */
	uint32_t exists, asked; /* messages there; up to where they were asked for */
	uint64_t literal_left;
	struct data_decoder decoder;
	uint16_t line_n;
	bool line_long;
	uint8_t line[MAILBOX_LINE_MAX];
	const char *error; /* why it ended; NULL: in order */
};

void mailbox_init(struct mailbox *m, const struct mailbox_ops *ops, void *ctx,
	const struct mailbox_conf *conf);
/* Received octets; takes all of them. */
void mailbox_input(struct mailbox *m, struct bytes in);
/* Append what is to be sent now; out has MAILBOX_OUTPUT_MIN octets of room. */
void mailbox_output(struct mailbox *m, struct buf *out);
/* End as soon as nothing is under way. */
void mailbox_quit(struct mailbox *m);
static inline bool mailbox_ended(const struct mailbox *m)
{
	return m->state == MAILBOX_ENDED;
}
/* Messages read, from the front. */
static inline uint32_t mailbox_seen(const struct mailbox *m)
{
	return m->conf.seen;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the session engine: session.c (input, life), session_command.c (verbs),
 * session_reply.c (the queue of replies). */
#pragma once
#include "smtp/command.h"
#include "smtp/session.h"

#define QUEUE_RESERVE 4 /* a line makes two replies at most, the end of the session one more */

/* session_reply.c */
void session_queue(struct smtp_session *s, enum reply_id reply);
void session_queue_slot(struct smtp_session *s, enum reply_id reply, unsigned slot);
unsigned session_queue_submitted(struct smtp_session *s);
/* Before the exchange is wiped: a challenge that has not gone yet goes no more.  True: its
 * beginning has, so nothing can be said behind it. */
bool session_queue_drop_challenge(struct smtp_session *s);
static inline unsigned session_queue_space(const struct smtp_session *s)
{
	return SMTP_QUEUE_MAX - s->queue_n;
}

/* Recipients of one transaction, as announced. */
static inline uint32_t session_rcpts_max(const struct smtp_session *s)
{
	return MIN(s->policy->recipients_max,
		(uint32_t)(s->service->lmtp ? LMTP_RCPT_MAX : MESSAGE_RCPT_MAX));
}

/* session.c */
void session_set_state(struct smtp_session *s, enum smtp_state state);
/* Drop the transaction, if there is one. */
void session_reset(struct smtp_session *s);
/* A refusal of a command: the reply, and 421 when there were too many. */
void session_refuse(struct smtp_session *s, enum reply_id reply);
/* Last reply, then nothing more is read. */
void session_close(struct smtp_session *s, enum reply_id reply);
/* A verdict on what is being decided: now, or REPLY_PENDING. */
void session_decide(struct smtp_session *s, enum smtp_stage stage, enum reply_id verdict);

/* What a fault of the content is answered with. */
enum reply_id session_fault_reply(const struct data_decoder *d);
/* The content is whole: refuse it for its faults, or give it to the user. */
void session_content_end(struct smtp_session *s);

/* Where content goes: ctx is the session. */
void session_content(void *ctx, struct bytes run);

/* session_chunk.c: BDAT (RFC 3030) */
void session_chunk_command(struct smtp_session *s, struct bytes argument);
/* The user's verdict on the transaction's first chunk. */
void session_chunk_begin(struct smtp_session *s, enum reply_id verdict);
/* Returns octets taken. */
size_t session_chunk_take(struct smtp_session *s, struct bytes in);

/* session_auth.c: STARTTLS (RFC 3207) and AUTH (RFC 4954) */
/* enum reply_ehlo: what may be offered in the state the session is in. */
unsigned session_ehlo(const struct smtp_session *s);
/* May the peer say how urgent its mail is?  Who may relay or has logged in: urgency that anybody
 * could claim is none (RFC 6710 9). */
bool session_may_prioritise(const struct smtp_session *s);
void session_starttls(struct smtp_session *s, struct bytes argument);
void session_auth(struct smtp_session *s, struct bytes argument);
/* A line of the exchange. */
void session_auth_line(struct smtp_session *s, enum command_verdict v, struct bytes line);
void session_auth_verdict(struct smtp_session *s, enum reply_id verdict);
/* May mail be sent before AUTH or STARTTLS?  REPLY_OK, or what is wanted. */
enum reply_id session_auth_needed(const struct smtp_session *s);
/* What the challenge of SCRAM says; empty: there is none. */
struct bytes session_auth_challenge(const struct smtp_session *s);
/* Wipe and free what the exchange has kept. */
void session_auth_end(struct smtp_session *s);

/* session_lmtp.c (RFC 2033) */
/* Replies for each recipient are outstanding. */
bool session_lmtp_busy(const struct smtp_session *s);
/* The content of a transaction is whole: so many replies it will have. */
void session_lmtp_begin(struct smtp_session *s);
void session_lmtp_answer(struct smtp_session *s, enum reply_id reply, unsigned slot);
/* Queue what there is room for. */
void session_lmtp_pump(struct smtp_session *s);

/* session_xclient.c */
void session_xclient(struct smtp_session *s, struct bytes argument);

/* session_command.c */
/* The recipient whose domain was looked at is taken. */
void session_domain_taken(struct smtp_session *s);
void session_command(struct smtp_session *s, const struct command *cmd);

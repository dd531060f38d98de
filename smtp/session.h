/* SPDX-License-Identifier: BSD-3-Clause
 * The SMTP server engine (RFC 5321): octets in, verdicts asked, replies out.  No I/O, no clock, no
 * allocation: its user feeds what was received, sends what smtp_session_output gives, keeps the
 * message, and asks for time-outs when no progress was made.
 *
 * Verdicts may be pending at connect, HELO, MAIL, RCPT, DATA and end of data: the op returns
 * REPLY_PENDING, the session parks (takes no input) until smtp_session_verdict.  A message that
 * was submitted to the writer does not park the session: its reply keeps its place in the queue
 * and the parser goes on, up to policy.inflight_max messages.
 *
 * OWNER: one core's thread. */
#pragma once
#include "smtp/data.h"
#include "smtp/envelope.h"
#include "smtp/fixup.h"
#include "smtp/policy.h"
#include "smtp/reply.h"
#include "smtp/scram.h"

#define SMTP_QUEUE_MAX    32   /* replies waiting; chosen: the parser stops before it is full */
#define SMTP_INFLIGHT_MAX 16   /* messages awaiting their commit; policy.h */
#define SMTP_DOMAINS_MAX  4    /* domains of recipients told apart in one session; chosen */
#define SMTP_HELO_MAX     255  /* octets of the HELO argument kept for Received */
#define SMTP_JUNK_MAX     100  /* commands without a message before 421; chosen as Postfix has it */
#define SMTP_OVERSHOOT    1000 /* recipients beyond the limit answered 452, then they are errors */
#define SMTP_SKIP_MAX     65536 /* octets of one endless line before the connection is closed */

enum smtp_state {
	SMTP_CONNECT, /* no greeting yet */
	SMTP_START,   /* greeted, no HELO */
	SMTP_READY,   /* no transaction */
	SMTP_MAIL,    /* a sender */
	SMTP_RCPT,    /* and recipients */
	SMTP_BDAT,    /* content came in chunks, and more will (RFC 3030) */
	SMTP_DATA,    /* content comes, up to the line with the dot */
	SMTP_CHUNK,   /* the octets of one BDAT come, to be kept or to be dropped */
	SMTP_AUTH,    /* the response of a SASL exchange comes (RFC 4954) */
	SMTP_TLS,     /* 220 to STARTTLS: when it has gone the user begins TLS (RFC 3207) */
	SMTP_CLOSED,  /* replies may still go out; nothing is read */
};

/* What a pending verdict is about. */
enum smtp_stage {
	STAGE_NONE,
	STAGE_CONNECT,
	STAGE_HELO,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA, /* DATA, or the first BDAT */
	STAGE_END
};

struct smtp_mail {
	struct bytes sender; /* canonical; empty: <> */
	uint64_t size;       /* SIZE=, 0: not given */
	enum body_type body;
	enum dsn_ret ret;
	bool smtputf8, requiretls;
	int8_t priority;    /* RFC 6710; 0: not given */
	struct bytes envid; /* in xtext, checked; empty: not given */
};

struct smtp_rcpt {
	struct bytes address; /* canonical, with a domain */
	enum rcpt_route route;
	uint32_t account;
	struct dsn_rcpt dsn;
};

struct smtp_content {
	uint64_t size, header_bytes;
	uint32_t crc;    /* CRC-32C */
	unsigned slot;   /* for smtp_session_committed */
	unsigned fields; /* enum fixup_field: what a submitted header has */
	bool binary;     /* bare CR, bare LF or NUL is in it: no mailbox holds that */
};

/* The user's side.  Views are valid during the call.  Verdicts: REPLY_OK to go on, a refusal, or
 * REPLY_PENDING.  A refused transaction leaves nothing behind with the user. */
struct smtp_session_ops {
	enum reply_id (*connect)(void *ctx);                 /* NULL: REPLY_OK */
	enum reply_id (*helo)(void *ctx, struct bytes name); /* NULL: REPLY_OK */
	/* XCLIENT: who the peer is; NULL: not wanted. */
	void (*peer)(void *ctx, const struct ip_addr *ip);
	/* Is there room for TLS now?  NULL: yes. */
	enum reply_id (*starttls)(void *ctx);
	/* Check a password; views into memory that is wiped behind the call.  Before REPLY_OK:
	 * smtp_session_authenticated. */
	enum reply_id (*auth)(void *ctx, struct bytes user, struct bytes password);
	/* Look up the SCRAM record of a user; smtp_session_scram before REPLY_AUTH_CHALLENGE, the
	 * verdict.  NULL: not offered. */
	enum reply_id (*scram)(void *ctx, struct bytes user);
	/* A proof was wrong: REPLY_AUTH_FAILED, or later.  NULL: at once. */
	enum reply_id (*auth_wrong)(void *ctx);
	/* Octets of what SCRAM can be bound to.  NULL or 0: there are none of this kind. */
	size_t (*channel)(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX]);
	/* Another 5xx; true: the last one that is borne with.  NULL: not wanted. */
	bool (*error)(void *ctx);
	enum reply_id (*mail)(void *ctx, const struct smtp_mail *mail);
	enum reply_id (*rcpt)(void *ctx, const struct smtp_rcpt *rcpt);
	enum reply_id (*data)(void *ctx);
	/* Octets of content, at most want, that can be taken now, and SMTP_ROOM_SPARE more; 0:
	 * none, the user
	 * feeds the input again when there is room. */
	size_t (*room)(void *ctx, size_t want);
	void (*content)(void *ctx, struct bytes run);
	/* The end of data.  REPLY_SUBMITTED: smtp_session_committed follows (also from inside). */
	enum reply_id (*end)(void *ctx, const struct smtp_content *content);
	/* The content is refused; reset follows.  NULL: not wanted. */
	void (*refused)(void *ctx, enum reply_id reply);
	/* The transaction under way is over without a message. */
	void (*reset)(void *ctx);
	/* Memory for a line in pieces: SMTP_LINE_MAX octets; NULL: none now, feed again later. */
	void *(*line_get)(void *ctx);
	void (*line_put)(void *ctx, void *line);
};

struct smtp_queued {
	uint8_t reply; /* enum reply_id; REPLY_SUBMITTED: waits */
	uint8_t slot;  /* of the message, or SMTP_NO_SLOT */
	uint16_t n;    /* octets, once formatted */
};

#define SMTP_NO_SLOT    0xff
#define SMTP_ROOM_SPARE (FIXUP_HELD_MAX + 1) /* held back by the filter, and by the decoder */

/* LMTP: the replies of one message. */
struct smtp_lmtp {
	uint64_t refused[LMTP_RCPT_WORDS]; /* bit per recipient */
	uint16_t rcpts, left;              /* replies in all, and not queued yet */
	uint8_t reply;                     /* enum reply_id, for those who are not refused */
	uint8_t slot;
};

struct smtp_session {
	const struct smtp_session_ops *ops;
	void *ctx;
	const struct smtp_policy *policy;
	const struct smtp_service *service;
	uint8_t *user; /* LOGIN: the name, while the password is asked for; SCRAM: the exchange
			* (struct scram); line memory */
	uint8_t *line; /* a line whose CRLF has not come; NULL: none */
	uint16_t line_n;
	uint8_t state;         /* enum smtp_state */
	uint8_t stage;         /* enum smtp_stage: what is pending */
	bool esmtp;            /* EHLO was said: pipelining is allowed */
	bool sync;             /* what comes next may come only after our reply was seen */
	bool starved;          /* the user had no room or no line memory */
	bool smtputf8, binary; /* of this transaction */
	bool chunk_last;       /* the chunk that comes ends the message */
	bool skipping;         /* dropping the rest of a line that is too long */
	bool skip_cr : 1;      /* ... whose last octet was a CR */
	bool channel : 1;      /* TLS has something to bind to */
	bool tls : 1;          /* everything is encrypted */
	bool certified : 1;    /* has shown a certificate that may relay */
	bool may_xclient : 1;  /* a listed proxy */
	bool draining : 1;     /* 421 at the end of the transaction */
	bool rcpt_refused : 1; /* in this transaction */
	uint8_t chunk_refusal; /* enum reply_id: the chunk is dropped and answered so; 0: kept */
	uint8_t chunk_back;    /* enum smtp_state behind a dropped chunk */
	uint8_t mechanism;     /* enum sasl_mechanism of the exchange under way */
	uint8_t auth_failures;
	uint16_t user_n;
	uint16_t errors, junk;
	uint16_t sent;  /* octets of the first queued reply that have gone */
	uint16_t slots; /* bit per message that awaits its commit or whose reply has not gone */
	uint16_t domains[SMTP_DOMAINS_MAX], domain; /* hashes: taken, and of the RCPT under way */
	uint32_t account;                           /* who has authenticated; 0: nobody */
	uint32_t mails;                             /* transactions begun */
	uint32_t skipped;
	uint16_t rcpts, overshoot;
	uint8_t domain_n;
	uint8_t queue_head, queue_n;
	uint8_t helo_n;
	struct ip_addr peer; /* who it is, by PROXY and XCLIENT too */
	uint64_t progress; /* complete commands, and octets of content: grows when the peer works */
	struct data_decoder data;
	struct smtp_lmtp lmtp;
	struct fixup fixup;  /* submission */
	uint64_t chunk_left; /* octets of the chunk that have not come */
	uint64_t slot_id[SMTP_INFLIGHT_MAX];
	struct smtp_queued queue[SMTP_QUEUE_MAX];
	char helo[SMTP_HELO_MAX];
};
static_assert(sizeof(struct smtp_session) <= 768, "an idle session is small");

/* ops, policy, service: borrowed.  smtp_session_start asks for the connect verdict and greets. */
void smtp_session_init(struct smtp_session *s, const struct smtp_session_ops *ops, void *ctx,
	const struct smtp_policy *policy, const struct smtp_service *service,
	const struct ip_addr *peer);
void smtp_session_start(struct smtp_session *s);
/* Before the start: the peer is another one (PROXY protocol). */
void smtp_session_set_peer(struct smtp_session *s, const struct ip_addr *peer);
/* The connection is gone: resets the transaction and gives memory back.  Messages in flight are the
 * user's. */
void smtp_session_fini(struct smtp_session *s);

/* Received octets.  Returns how many were taken; fewer: the session is parked, awaits commits, or
 * is `starved`; feed the rest after the reason is gone.  early: the peer cannot have seen all that
 * was sent to it when it sent this. */
size_t smtp_session_input(struct smtp_session *s, struct bytes in, bool early);
/* Would input be taken now? */
bool smtp_session_can_take(const struct smtp_session *s);
/* The reply to STARTTLS has gone: begin TLS, then smtp_session_secured. */
static inline bool smtp_session_wants_tls(const struct smtp_session *s)
{
	return s->state == SMTP_TLS && s->queue_n == 0;
}
/* TLS is there.  Of a session that has begun, all that was said in clear is forgotten (RFC 3207
 * 4.2). */
void smtp_session_secured(struct smtp_session *s);
/* The peer has shown a certificate that may relay. */
static inline void smtp_session_certified(struct smtp_session *s)
{
	s->certified = true;
}
/* The user whose password was right. */
static inline void smtp_session_authenticated(struct smtp_session *s, uint32_t account)
{
	s->account = account;
}
/* What is known of the user that scram asked for; not known: a record that nothing fits. */
void smtp_session_scram(
	struct smtp_session *s, const struct scram_record *r, bool known, uint32_t account);
/* The verdict that was pending. */
void smtp_session_verdict(struct smtp_session *s, enum reply_id verdict);
/* The reply of the message in a slot; id for REPLY_QUEUED. */
/* Before it, with LMTP: recipients that were refused all the same, bit per recipient. */
void smtp_session_refused(struct smtp_session *s, const uint64_t bits[LMTP_RCPT_WORDS]);
void smtp_session_committed(
	struct smtp_session *s, unsigned slot, enum reply_id reply, uint64_t id);

/* Append the replies that are due, as many as fit; out has REPLY_OCTETS_MAX of room at least.  They
 * stay due until smtp_session_sent. */
void smtp_session_output(struct smtp_session *s, struct buf *out);
/* n octets of the output were sent. */
void smtp_session_sent(struct smtp_session *s, size_t n);
bool smtp_session_has_output(const struct smtp_session *s);

/* 421 and the end: the peer was silent for too long, or there is no memory.  A submitted message
 * still gets its reply first. */
void smtp_session_end(struct smtp_session *s, enum reply_id reply);
/* The peer will send no more: what is under way is dropped, replies that are due still go out. */
void smtp_session_eof(struct smtp_session *s);
/* 421 as soon as no transaction is under way. */
void smtp_session_drain(struct smtp_session *s);
/* Everything is said: close the connection. */
static inline bool smtp_session_finished(const struct smtp_session *s)
{
	return s->state == SMTP_CLOSED && s->queue_n == 0 && s->lmtp.left == 0;
}
static inline unsigned smtp_session_inflight(const struct smtp_session *s)
{
	return (unsigned)__builtin_popcount(s->slots);
}
static inline bool smtp_session_in_transaction(const struct smtp_session *s)
{
	/* Octets that are dropped change nothing. */
	unsigned state = s->state == SMTP_CHUNK && s->chunk_refusal ? s->chunk_back : s->state;

	return state >= SMTP_MAIL && state <= SMTP_CHUNK;
}
/* Are octets of content expected, not lines? */
static inline bool smtp_session_in_content(const struct smtp_session *s)
{
	return s->state == SMTP_DATA || s->state == SMTP_CHUNK;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * SMTP client engine (RFC 5321): no I/O, no clock, no allocation.  Its user feeds received octets,
 * sends what the engine puts into `out`, and supplies the message content when asked.  One message
 * at a time; a connection is kept for the next one.  Used by delivery workers and bypost-bench.
 *
 * OWNER: one core's thread. */
#pragma once
#include "smtp/data.h"
#include "smtp/dsn.h"
#include "smtp/envelope.h"
#include "smtp/reply_parse.h"
#include "smtp/sasl_client.h"

#define SMTP_CLIENT_RCPT_MAX 1024 /* recipients of one message; MESSAGE_RCPT_MAX is below */
#define SMTP_CLIENT_BDAT_MIN                                                                       \
	(64u * 1024) /* chosen: octets from which BDAT is worth the round trip before it */

enum smtp_rcpt_result { SMTP_RCPT_PENDING, SMTP_RCPT_DELIVERED, SMTP_RCPT_DEFER, SMTP_RCPT_FAIL };

struct smtp_client;

struct smtp_client_rcpt {
	struct bytes address; /* forward-path without brackets */
	struct dsn_rcpt dsn;
};

/* The user's side of one engine.  Upcalls come from smtp_client_input, _output, _disconnected and
 * _content_failed, never from _init, _send and _quit.  From an upcall the user may call _send and
 * _quit (in on_ready) and nothing else of the engine. */
struct smtp_client_ops {
	/* The session is ready for a message (after EHLO, or after the previous message). */
	void (*on_ready)(void *ctx);
	/* The verdict on recipient i of the current message; each recipient exactly once. */
	void (*on_rcpt)(void *ctx, uint32_t i, enum smtp_rcpt_result result,
		const struct smtp_reply_info *reply);
	/* All recipients have their verdicts; on_ready or on_end follows. */
	void (*on_message_end)(void *ctx);
	/* The session is over, in order (QUIT) or not; unfinished recipients have been deferred
	 * with `reply`.  Close the connection. */
	void (*on_end)(void *ctx, const struct smtp_reply_info *reply);
	/* Recipient i.  Valid until the next call. */
	struct smtp_client_rcpt (*rcpt)(void *ctx, uint32_t i);
	/* The content has more than this peer takes: it will be asked for once, and is to come as
	 * `to`; utf8: 8-bit octets in headers are good.  False: it cannot be had so.  May be NULL.
	 */
	bool (*convert)(void *ctx, enum body_type to, bool utf8);
	/* The next octets of the content, at most want, the last of them with *end_r true; an empty
	 * view with *end_r false: none yet,
	 * call smtp_client_content_ready later.  Content uses CRLF only (the server side made
	 * sure). */
	struct bytes (*content)(void *ctx, size_t want, bool *end_r);
	/* Octets of what SCRAM can be bound to, once there is TLS; 0: none of this kind.  NULL:
	 * none at all. */
	size_t (*channel)(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX]);
};

enum smtp_client_tls {
	SMTP_CLIENT_TLS_NONE, /* never STARTTLS */
	SMTP_CLIENT_TLS_MAY,  /* when it is offered */
	SMTP_CLIENT_TLS_MUST, /* no message without */
};

/* What the user wants of a session beyond the plain protocol; all zero: nothing. */
struct smtp_client_demand {
	uint8_t tls;   /* enum smtp_client_tls */
	bool secured;  /* there is TLS from the first octet on (RFC 8314) */
	bool verified; /* TLS, when it is there, proves who the peer is */
	bool lmtp;     /* RFC 2033: LHLO, and a reply for each recipient */
	/* For who measures servers: enum smtp_client_ext that are not used though they are offered,
	 * and octets of content from which BDAT is used; 0: SMTP_CLIENT_BDAT_MIN. */
	uint16_t ignored;
	uint32_t bdat_min;
	uint8_t mechanisms; /* enum sasl_client_mechanism to choose from; 0: all */
	/* No message without AUTH as this user; NULL: none.  The memory lives as long as the
	 * session. */
	const struct sasl_login *login;
	struct sasl_salted *salted;
	struct sasl_client *sasl;
};

struct smtp_client_message {
	struct bytes sender; /* reverse-path without brackets; empty: <> */
	uint32_t rcpt_count;
	uint64_t size;   /* octets of content, exactly: for SIZE= and BDAT */
	uint8_t body;    /* enum body_type */
	bool smtputf8;   /* asked for by the sender (RFC 6531) */
	bool requiretls; /* the same (RFC 8689) */
	int8_t priority; /* the same (RFC 6710); 0: nothing is said */
	uint8_t ret;     /* enum dsn_ret */
	struct bytes envid;
};

enum smtp_client_state {
	SMTP_CLIENT_GREETING,
	SMTP_CLIENT_EHLO,
	SMTP_CLIENT_HELO,
	SMTP_CLIENT_STARTTLS,
	SMTP_CLIENT_HANDSHAKE, /* the user begins one, and calls smtp_client_secured behind it */
	SMTP_CLIENT_AUTH,
	SMTP_CLIENT_READY,
	SMTP_CLIENT_ENVELOPE,
	SMTP_CLIENT_DATA,
	SMTP_CLIENT_CONTENT,
	SMTP_CLIENT_FINAL,
	SMTP_CLIENT_RSET,
	SMTP_CLIENT_QUIT,
	SMTP_CLIENT_ENDED
};

/* What a reply can be about. */
enum smtp_client_command {
	SMTP_COMMAND_GREETING,
	SMTP_COMMAND_HELO,
	SMTP_COMMAND_STARTTLS,
	SMTP_COMMAND_AUTH,
	SMTP_COMMAND_MAIL,
	SMTP_COMMAND_RCPT,
	SMTP_COMMAND_DATA,
	SMTP_COMMAND_END, /* of data */
	SMTP_COMMAND_OTHER
};

enum smtp_client_ext {
	SMTP_EXT_PIPELINING = 1 << 0,
	SMTP_EXT_SIZE = 1 << 1,
	SMTP_EXT_8BITMIME = 1 << 2,
	SMTP_EXT_CHUNKING = 1 << 3,
	SMTP_EXT_STARTTLS = 1 << 4,
	SMTP_EXT_AUTH = 1 << 5,
	SMTP_EXT_BINARYMIME = 1 << 6,
	SMTP_EXT_SMTPUTF8 = 1 << 7,
	SMTP_EXT_DSN = 1 << 8,
	SMTP_EXT_REQUIRETLS = 1 << 9,
	SMTP_EXT_LIMITS = 1 << 10,
	SMTP_EXT_MT_PRIORITY = 1 << 11,
};

/* Users embed it and leave its fields alone. */
struct smtp_client {
	const struct smtp_client_ops *ops;
	void *ctx;
	const char *hostname;
	struct smtp_client_demand demand;
	uint8_t state;    /* enum smtp_client_state */
	uint8_t ended_in; /* the state before SMTP_CLIENT_ENDED */
	uint16_t ext;     /* enum smtp_client_ext */
	bool due;      /* the command of this state (EHLO, HELO, RSET, QUIT) is still to be sent */
	bool quit;     /* QUIT as soon as nothing is under way */
	bool mail_ok;  /* the peer has a transaction open */
	bool refused;  /* MAIL was refused, or the message cannot go to this peer */
	bool prepared; /* it is known how the message goes */
	bool chunked;  /* the content goes with BDAT */
	bool converted, utf8;   /* the content is made fit; the message goes with SMTPUTF8 */
	uint8_t body;           /* as what it goes: enum body_type */
	bool working;           /* AUTH has hashing to do: smtp_client_output does some of it */
	bool auth_begun, known; /* AUTH is said, is done */
	uint16_t answer_n;
	uint8_t answer[SASL_MESSAGE_MAX]; /* to a challenge */
	uint8_t mechanisms;               /* offered: enum sasl_client_mechanism */
	bool waiting;                     /* no content yet: smtp_client_content_ready is due */
	uint64_t size_max;                /* the peer's SIZE; 0: none given */
	/* The peer's LIMITS (RFC 9422); 0: none given. */
	uint32_t rcpt_max, mail_max, domain_max;
	struct smtp_client_message m;
	/* Commands of the envelope: 0 MAIL, 1..n RCPT, n + 1 DATA. */
	uint32_t sent, replied;  /* commands sent, replies received */
	uint32_t accepted, done; /* recipients: taken by the peer, with a verdict */
	uint32_t answered;       /* LMTP: recipients before this one had their final reply */
	uint64_t accepted_bits[SMTP_CLIENT_RCPT_MAX / 64];
	uint64_t done_bits[SMTP_CLIENT_RCPT_MAX / 64];
	uint64_t skipped_bits[SMTP_CLIENT_RCPT_MAX / 64]; /* not named to this peer */
	struct data_encoder encoder;
	uint64_t chunk_left; /* octets of the BDAT that have not been sent */
	struct reply_parser parser;
	struct smtp_reply_info local; /* a verdict of our own on the whole message */
};

/* ---- calls ---- */

/* hostname: for EHLO, borrowed.  Waits for the greeting. */
void smtp_client_init(
	struct smtp_client *c, const struct smtp_client_ops *ops, void *ctx, const char *hostname);
/* Before the first octet: what is wanted beyond the plain protocol. */
void smtp_client_demand(struct smtp_client *c, const struct smtp_client_demand *demand);
/* In SMTP_CLIENT_HANDSHAKE: the handshake is done; all that was known of the peer is forgotten. */
void smtp_client_secured(struct smtp_client *c);
/* Is TLS in use? */
static inline bool smtp_client_is_secured(const struct smtp_client *c)
{
	return c->demand.secured;
}
/* Received octets.  Takes all of them. */
void smtp_client_input(struct smtp_client *c, struct bytes data);
/* Start a message with 1..SMTP_CLIENT_RCPT_MAX recipients; only when ready.  The struct is copied;
 * what it points to lives until the message's end. */
void smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m);
/* Fill out with what is to be sent now; call after input, send, quit, content_ready, and whenever
 * the connection is writable.  Appends at most the buffer's space, and nothing when there are less
 * than SMTP_CLIENT_OUTPUT_MIN octets of it; returns octets appended. */
#define SMTP_CLIENT_OUTPUT_MIN 1024
size_t smtp_client_output(struct smtp_client *c, struct buf *out);
void smtp_client_content_ready(struct smtp_client *c);
/* Is smtp_client_output to be called again when there is time, though nothing came? */
static inline bool smtp_client_works(const struct smtp_client *c)
{
	return c->working;
}
/* Say QUIT when ready (no message under way). */
void smtp_client_quit(struct smtp_client *c);
/* The connection is gone: unfinished recipients are deferred with this text, on_end follows. */
void smtp_client_disconnected(struct smtp_client *c, const char *why);
/* The user ends the session for a reason of its own, like smtp_client_disconnected; enhanced: the
 * status, "4.7.5". */
void smtp_client_give_up(struct smtp_client *c, const char *enhanced, const char *why);
/* The content cannot be made fit for this peer: all recipients fail, and the session ends without
 * completing the message. */
void smtp_client_content_refused(struct smtp_client *c, const char *enhanced, const char *why);
/* Did the peer offer it? */
static inline bool smtp_client_offers(const struct smtp_client *c, enum smtp_client_ext ext)
{
	return c->ext & ext;
}
/* The content cannot be supplied (store error): ends the session without completing the message. */
void smtp_client_content_failed(struct smtp_client *c);
enum smtp_client_state smtp_client_state(const struct smtp_client *c);
/* In on_rcpt and on_end: the command that was answered, or was not. */
enum smtp_client_command smtp_client_command(const struct smtp_client *c);
/* The timeout in microseconds that RFC 5321 4.5.3.2 gives for what the engine waits for now. */
uint64_t smtp_client_timeout_us(const struct smtp_client *c);

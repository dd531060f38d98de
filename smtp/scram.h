/* SPDX-License-Identifier: BSD-3-Clause
 * SCRAM-SHA-256 and its -PLUS form, the server's side (RFC 5802, RFC 7677, channel bindings
 * tls-exporter of RFC 9266 and tls-server-end-point of RFC 5929).  The server keeps no password,
 * only what proves that the client knows it.  Records are made of passwords in SASLprep's form
 * (smtp/saslprep.h); the name is looked up in it.
 *
 * Any thread; nothing but OpenSSL's hashes allocates. */
#pragma once
#include "dataplane/base/buf.h"
#include "smtp/envelope.h"

#define SCRAM_KEY        32
#define SCRAM_SALT       16
#define SCRAM_ITERATIONS 10000 /* chosen; RFC 7677 4 wants 4096 at least */
#define SCRAM_NONCE_MAX  128   /* octets of the client's, chosen */
#define SCRAM_FIRST_MAX  800   /* octets of the client's first message, chosen */
#define SCRAM_TEXT_MAX   1200  /* that, a comma, and the server's first message */
#define SCRAM_REPLY_MAX  256   /* octets of a server's message */

/* What a client can bind to; the first one that there is is the best. */
enum scram_channel {
	SCRAM_CHANNEL_NONE,
	SCRAM_CHANNEL_EXPORTER,  /* tls-exporter */
	SCRAM_CHANNEL_END_POINT, /* tls-server-end-point */
	SCRAM_CHANNELS
};
#define SCRAM_CHANNEL_MAX 64 /* octets of one */
/* "tls-exporter"; "": none. */
const char *scram_channel_name(enum scram_channel channel);

/* What is kept of a password. */
struct scram_record {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT];
	uint8_t stored_key[SCRAM_KEY], server_key[SCRAM_KEY];
};
static_assert(sizeof(struct scram_record) == 84, "stored record");

/* A record with a new salt; tens of milliseconds.  0, or -EIO: OpenSSL has failed. */
int scram_derive(struct scram_record *r, struct bytes password) WARN_UNUSED;
/* What a user who does not exist is shown: always the same for one name, and nothing fits it. */
void scram_fake(struct scram_record *r, struct bytes user, const uint8_t secret[16]);

/* One exchange.  Wipe it afterwards. */
struct scram {
	uint16_t gs2_n,
		bare_n;     /* octets of the header and of the client's first message behind it */
	uint16_t nonce_n;   /* of both sides together, from server_at + 2 on */
	uint16_t server_at; /* where the server's first message begins */
	uint16_t text_n, reply_n;
	uint16_t user_n;
	uint8_t channel;  /* enum scram_channel: what the client binds to */
	bool known;       /* the record is somebody's */
	uint8_t step;     /* the caller's */
	uint32_t account; /* the caller's */
	struct scram_record record;
	char user[ADDRESS_MAX];
	uint8_t text[SCRAM_TEXT_MAX]; /* header, client's first, server's first: AuthMessage's parts
				       */
	uint8_t reply[SCRAM_REPLY_MAX]; /* the server's last message */
};

enum scram_binding {
	SCRAM_UNBOUND, /* the mechanism without -PLUS, and -PLUS is not offered */
	SCRAM_OFFERED, /* the same, but -PLUS was offered: "y" is an attack (RFC 5802 6) */
	SCRAM_BOUND,   /* -PLUS */
};

/* The client's first message: s->user.  0 or -EINVAL. */
int scram_first(struct scram *s, struct bytes message, enum scram_binding binding) WARN_UNUSED;
/* The server's answer is s->reply.  r is copied.  0, or -EIO: no random numbers. */
int scram_challenge(struct scram *s, const struct scram_record *r, bool known) WARN_UNUSED;
/* The client's last message.  channel: the octets of s->channel; empty: there are none.  0: it is
 * he, s->reply is the server's proof; -EACCES: it is not; -EINVAL: malformed. */
int scram_final(struct scram *s, struct bytes message, struct bytes channel) WARN_UNUSED;
static inline struct bytes scram_user(const struct scram *s)
{
	return bytes_make(s->user, s->user_n);
}
static inline struct bytes scram_reply(const struct scram *s)
{
	return bytes_make(s->reply, s->reply_n);
}

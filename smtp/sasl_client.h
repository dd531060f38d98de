/* SPDX-License-Identifier: BSD-3-Clause
 * SASL, the client's side (RFC 4422), towards smarthosts: SCRAM-SHA-256 and -PLUS (RFC 5802, RFC
 * 7677), PLAIN (RFC 4616) and LOGIN (a convention).  The hashing that SCRAM makes a client do is
 * cut into slices, so that a polling core can do it between other work.  OWNER: one core's thread;
 * nothing but OpenSSL's hashes allocates. */
#pragma once
#include "smtp/scram.h"

#define SASL_USER_MAX       96      /* octets; chosen: what is said of it fits a command line */
#define SASL_PASSWORD_MAX   128     /* octets; chosen: the same */
#define SASL_MESSAGE_MAX    360     /* octets of one of our messages: base64 of it fits a line */
#define SASL_SALT_MAX       64      /* octets; chosen, 16 are usual */
#define SASL_NONCE_MAX      160     /* octets of both sides' nonces together; chosen */
#define SASL_ITERATIONS_MIN 4096    /* RFC 7677 4 */
#define SASL_ITERATIONS_MAX 1000000 /* chosen: about a second of slices */
#define SASL_SLICE          128     /* iterations at a time: some hundred microseconds */

enum sasl_client_mechanism {
	SASL_CLIENT_PLAIN = 1,
	SASL_CLIENT_LOGIN = 2,
	SASL_CLIENT_SCRAM_SHA_256 = 4,
	SASL_CLIENT_SCRAM_PLUS = 8,
};

/* Constant; NUL-terminated, within the limits above. */
struct sasl_login {
	const char *user, *password;
};

/* What was worked out of the password for one salt: kept between the sessions with a server. */
struct sasl_salted {
	uint32_t iterations; /* 0: nothing yet */
	uint8_t salt_n;
	uint8_t salt[SASL_SALT_MAX];
	uint8_t key[32];
	/* The server did not take a proof that was bound to the exporter: the end point is tried
	 * next, and so on in turns; never none. */
	bool exporter_failed;
};

/* What an exchange can be bound to; n 0: nothing. */
struct sasl_channel {
	uint8_t kind, n; /* enum scram_channel, octets */
	uint8_t octets[SCRAM_CHANNEL_MAX];
};

/* One exchange; wiped by sasl_client_end. */
struct sasl_client {
	const struct sasl_login *login;
	struct sasl_salted *salted;
	uint8_t mechanism; /* enum sasl_client_mechanism */
	uint8_t step;
	uint32_t left; /* iterations still to be done */
	uint16_t first_n, server_n;
	uint16_t nonce_n;                 /* of ours */
	bool not_offered;                 /* we could bind, the server does not offer it */
	struct sasl_channel channel;      /* bound to, with -PLUS */
	uint8_t first[SASL_MESSAGE_MAX];  /* the client's first message without the GS2 header */
	uint8_t server[SASL_MESSAGE_MAX]; /* the server's first message */
	struct sasl_salted making;
	uint8_t u[32], server_signature[32];
};

/* What comes next. */
enum sasl_client_next {
	SASL_CLIENT_SEND, /* what was put into out, base64 around it */
	SASL_CLIENT_WORK, /* call sasl_client_work when there is time */
	SASL_CLIENT_BAD, /* the server's message makes no sense, or it does not know the password */
};

/* The mechanisms among words ("PLAIN LOGIN X") that are known here: bits. */
unsigned sasl_client_offered(struct bytes words);
/* login and salted are borrowed for the exchange.  The best of the offered mechanisms; false: none.
 * Without TLS only one that does not show the password.  channel: NULL where it is not to be bound.
 */
bool sasl_client_begin(struct sasl_client *s, const struct sasl_login *login,
	struct sasl_salted *salted, unsigned offered, bool secured,
	const struct sasl_channel *channel);
const char *sasl_client_name(const struct sasl_client *s);
/* The initial response; false: this mechanism has none. */
bool sasl_client_initial(struct sasl_client *s, struct buf *out);
/* The server's challenge, decoded.  out has SASL_MESSAGE_MAX octets. */
enum sasl_client_next sasl_client_challenge(
	struct sasl_client *s, struct bytes challenge, struct buf *out);
/* One slice. */
enum sasl_client_next sasl_client_work(struct sasl_client *s, struct buf *out);
/* The server says that all is well: has it proven to know the password, where that is part of it?
 */
bool sasl_client_proven(const struct sasl_client *s);
void sasl_client_end(struct sasl_client *s);

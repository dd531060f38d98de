/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the room: tls_config.c (what main prepares), tls_bio.c (OpenSSL's octets),
 * tls_begin.c (sessions come and go), tls_session.c (what TCP brings), tls_send.c (what the
 * application says), tls_peer.c (what a client asks of its peer, and the tickets it is
 * given), tls_shed.c (what of a handshake does not outlive it), tls_info.c (asking), tls_kdf.c (the
 * key schedule of 1.3). */
#pragma once
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/list.h"
#include "dataplane/tls/tls.h"

#define TLS_RECORD_MAX         16384 /* RFC 8446 5.1: octets of plaintext */
#define TLS_RECORD_OVERHEAD    64    /* header, nonce, content type and tag, with room to spare */
#define TLS_HANDSHAKES_PER_LAP 4     /* chosen: steps, below a millisecond with ECDSA keys */
#define TLS_UPDATES_MAX        100 /* chosen: of one session; each is worth terabytes (RFC 8446 5.5) */
#define TLS_USAGE_TA           2 /* RFC 6698 2.1.1, RFC 7218 */
#define TLS_USAGE_EE           3
#define TLS_TICKET_KEYS        3
#define TLS_ERROR_MAX          160

struct tls_ticket_key {
	uint8_t name[16], aes[32], hmac[32];
};

/* Written by main, read by the cores: a slot is filled before `current` names it. */
struct tls_tickets {
	struct tls_ticket_key keys[TLS_TICKET_KEYS];
	atomic_uint current;
};

struct tls_config {
	atomic_uint refs; /* sessions, and who made it */
	SSL_CTX *server[TLS_IDENTITIES_MAX];
	unsigned server_count;
	bool slow; /* a key of a server takes longer than a lap may */
	SSL_CTX *client;
	struct tls_tickets *tickets;
};

enum tls_flag {
	TLSF_SERVER = 1 << 0,
	TLSF_OPEN = 1 << 1,       /* the handshake is done */
	TLSF_STOPPED = 1 << 2,    /* the application left plaintext; waits for resume */
	TLSF_RESUMED = 1 << 3,    /* deliver in the next poll */
	TLSF_PARKED = 1 << 4,     /* the lap's budget for handshakes was used up */
	TLSF_WANT_WRITE = 1 << 5, /* on_writable is due */
	TLSF_SHUT = 1 << 6,       /* the application has said all */
	TLSF_EOF = 1 << 7,        /* on_eof was called */
	TLSF_FAILED = 1 << 8,     /* on_close in the next poll */
	TLSF_DEAD = 1 << 9,       /* freed when the upcall under way returns */
	TLSF_BUSY = 1 << 10,      /* inside OpenSSL or an upcall */
	TLSF_LOWER_EOF = 1 << 11, /* TCP's end came while plaintext, or the helper, is waited for */
	TLSF_UNSIGNED = 1 << 12,  /* waits for a credit of the helper that signs */
};

struct tls_session {
	struct tls *tls;
	struct stream *s;
	const struct stream_ops *ops;         /* the application's */
	const struct stream_transport *lower; /* TCP's */
	struct tls_config *config;            /* a reference */
	SSL *ssl;
	SSL_SESSION *ticket; /* a client's: the newest one given, a reference */
	struct bytes in;     /* octets of the upcall under way that OpenSSL has not taken */
	uint8_t *plain;      /* what the application did not take */
	uint32_t plain_at, plain_n;
	uint8_t *out; /* records that TCP did not take */
	uint32_t out_at, out_n;
	uint32_t flags;      /* enum tls_flag */
	bool away;           /* the helper has ssl and out: nothing of them is touched here */
	uint8_t updates;     /* new keys and tickets from the peer since the handshake */
	struct list due;     /* waits for tls_poll or a credit; or on the list of those unused */
	struct op op;        /* at the helper; status: SSL_get_error's */
	unsigned long error; /* of OpenSSL, set by the helper */
};

struct tls {
	struct list due, unused;
	struct list unsigned_;  /* who waits for a credit of the helper that signs */
	struct channel *signer; /* NULL: keys are used in the lap */
	BIO *bio;               /* of all sessions whose handshake is done */
	uint32_t sessions, sessions_max;
	uint32_t handshakes; /* steps in this lap */
	char error[TLS_ERROR_MAX];
	uint8_t scratch[TLS_RECORD_MAX];
	struct tls_session pool[];
};

/* tls_config.c */
void tls_config_unref(struct tls_config *config);

/* tls_sign.c: is a step with the key of the server due that the core may not run? */
int tls_on_client_hello(SSL *ssl, int *alert, void *config);
/* Give the step to the helper, now or when there is a credit. */
void tls_sign(struct tls_session *t);
/* tls_session.c: the helper is done. */
void tls_signed(struct op *op);

/* tls_begin.c: the session on s; NULL: there is none. */
struct tls_session *tls_session_of(const struct stream *s);
/* Not inside OpenSSL or an upcall of it, nor at the helper. */
void tls_session_free(struct tls_session *t);
/* The stream is no longer its: freed now, or when OpenSSL has been left. */
void tls_session_end(struct tls_session *t);
/* The application's stream as it was before TLS. */
struct stream *tls_give_back(struct tls_session *t);

/* tls_session.c, tls_send.c: what is put on the stream. */
extern const struct stream_ops tls_ops;
extern const struct stream_transport tls_transport;

/* The session on a stream that has one. */
static inline struct tls_session *tls_of(const struct stream *s)
{
	return s->filter;
}

/* tls_poll goes on with it. */
static inline void tls_make_due(struct tls_session *t)
{
	if (list_empty(&t->due))
		list_push_tail(&t->tls->due, &t->due);
}

/* Before OpenSSL is entered: what is in the thread's queue of errors would be taken for its own.
 * Clearing one that is empty, as it always is, takes as long as half a kilobyte of AES-GCM. */
static inline void tls_errors_clear(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

/* tls_bio.c: a BIO whose reads come from session.in and whose writes go to TCP. */
BIO *tls_bio_new(struct tls_session *t);
/* The handshake is done, so that no other thread gets t's SSL any more: from now on it uses the
 * core's BIO, which has to be told whose octets it moves before OpenSSL is entered. */
void tls_bio_share(struct tls_session *t);
void tls_bio_enter(struct tls_session *t);
/* Give TCP what it did not take before.  Returns false while some is left. */
bool tls_out_flush(struct tls_session *t);

/* tls_shed.c: give up what OpenSSL keeps of a handshake that is done and nobody needs. */
void tls_shed(struct tls_session *t);

/* tls_kdf.c: main thread; OpenSSL's property query that prefers the key schedule there.  NULL: it
 * could not be loaded, OpenSSL's own does it. */
const char *tls_kdf_query(void);

/* tls_peer.c: keep the tickets that servers give to clients of ctx. */
void tls_tickets_keep(SSL_CTX *ctx);
/* Name, SNI and trust of a client's session.  0 or -EINVAL. */
int tls_peer_apply(SSL *ssl, const struct tls_peer *peer) WARN_UNUSED;
/* Printable reason of a failed handshake: rc is SSL_get_error's, code OpenSSL's.  The other one
 * takes the code from the thread's queue of errors, and clears it. */
void tls_error_text(const SSL *ssl, int rc, unsigned long code, char out[TLS_ERROR_MAX]);
void tls_error_take(const SSL *ssl, int rc, char out[TLS_ERROR_MAX]);

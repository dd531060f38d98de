/* SPDX-License-Identifier: BSD-3-Clause
 * TLS over a stream of the stack (RFC 8446, RFC 5246), by OpenSSL.  A filter: it puts itself
 * between the application and TCP on the same `struct stream`, whose calls and upcalls then carry
 * plaintext; on_secure says that the handshake is done.  1.2 and 1.3 only; no renegotiation, no
 * compression, no early data.
 *
 *   main thread:  tls_config_create      keys, certificates, CA bundle: from memory, no files later
 *   one core:     tls_create             its sessions, bounded
 *                 tls_accept/tls_connect on a stream that is open
 *
 * Sessions keep the configuration they began with; a newer one serves those that begin later.
 * Nothing here touches a file or waits after tls_config_create. */
#pragma once
#include "dataplane/base/rt/channel.h"
#include "dataplane/dataplane.h"

struct tls;
struct tls_config;

#define TLS_IDENTITIES_MAX 64 /* certificates of one configuration; chosen */
#define TLS_BINDING_MAX    64 /* octets: SHA-512 */
#define TLS_TLSA_MAX       16 /* TLSA records of one peer; chosen */

/* Before anything else of OpenSSL is used in this process: from now on its memory comes from lists
 * of each thread.  False: too late; malloc goes on. */
bool tls_memory_init(void);

/* A certificate chain and its key, PEM. */
struct tls_identity_pem {
	const char *name; /* for messages: the key in the configuration */
	struct bytes chain, key;
};

struct tls_conf {
	const struct tls_identity_pem *identities; /* the first one serves unknown names */
	unsigned identity_count;                   /* 0: a client only */
	struct bytes ca_bundle;                    /* PEM; empty: nobody is trusted */
	const struct tls_identity_pem *client;     /* shown to servers that ask; NULL: none */
	bool ask_client_cert; /* servers ask for one; it is checked against ca_bundle, and told */
	const char *ciphers;  /* TLS 1.2, OpenSSL's syntax; NULL: ECDHE with AEAD */
};

/* Main thread; one for each core, so that the cores share no counter.  Returns NULL with error[]
 * naming the identity or the bundle. */
struct tls_config *tls_config_create(const struct tls_conf *conf, char *error, size_t error_n);
/* Sessions that use it hold a reference: it may go at any time. */
void tls_config_destroy(struct tls_config **config);
/* Main thread: a new key for session tickets; those of the key before are still taken. */
void tls_config_rotate_tickets(struct tls_config *config);

/* How sure a client wants to be of its peer. */
enum tls_trust {
	TLS_TRUST_NONE, /* encrypted, whoever it is (RFC 7435) */
	TLS_TRUST_NAME, /* a chain to the CA bundle, and the name in the certificate (RFC 6125) */
	TLS_TRUST_DANE, /* the TLSA records (RFC 7672) */
};

struct tls_tlsa {
	uint8_t usage, selector, matching;
	struct bytes data;
};

/* What a session with a server can be resumed with (RFC 8446 2.2, RFC 5077). */
struct tls_ticket;

struct tls_peer {
	const struct tls_ticket *ticket; /* of a session with the same trust; NULL: none */
	const char *name;                /* for SNI and the check; NULL: none (an address) */
	const char *second_name;         /* as good as name, with TLS_TRUST_DANE; NULL: none */
	enum tls_trust trust;
	const struct tls_tlsa *tlsa;
	unsigned tlsa_count;
};

/* What a session has come to; strings live as long as the session. */
struct tls_info {
	const char *version;     /* "TLSv1.3" */
	const char *cipher;      /* "TLS_AES_128_GCM_SHA256" */
	const char *sni;         /* the name that the client asked for; "" */
	bool resumed;            /* by a ticket */
	bool peer_verified;      /* a certificate was shown, and it satisfies the trust asked for */
	uint8_t peer_sha256[32]; /* of the peer's certificate; zero when none was shown */
};

/* sessions_max: at once on this core.  wakeups: tls_poll is called each lap.  NULL: no memory. */
struct tls *tls_create(uint32_t sessions_max);
/* Before the core runs: handshakes of servers whose keys are slow are signed by the helper at the
 * other end of the channel (tls_signer.h), which is already added to the core; its on_credit
 * belongs to tls. Without, they are signed in the lap. */
void tls_use_signer(struct tls *tls, struct channel *signer);
/* After the core and the signer have stopped; sessions that are left end without a word. */
void tls_destroy(struct tls **tls);
/* Core's thread, each lap (a struct poller): sessions that wait for a lap of their own.  Returns
 * work done. */
unsigned tls_poll(void *tls, uint64_t now_us);
uint32_t tls_sessions(const struct tls *tls);
/* Would another session find a place? */
bool tls_has_room(const struct tls *tls);

/* Begin the handshake as a server or a client on an open stream.  From now on the stream's calls
 * and upcalls are about plaintext: stream_ops.on_secure follows, or on_close(STREAM_TLS_FAILED).
 * Octets that the application has not taken yet are taken for TLS.  Returns 0; -ENOSPC: too many
 * sessions, -ENOMEM, -EINVAL (no identity; a name or record that cannot be used): the stream is as
 * it was. */
int tls_accept(struct tls *tls, struct tls_config *config, struct stream *s) WARN_UNUSED;
int tls_connect(struct tls *tls, struct tls_config *config, struct stream *s,
	const struct tls_peer *peer) WARN_UNUSED;

/* Is there TLS on s, established? */
bool tls_is_secure(const struct stream *s);
/* tls_is_secure(s) holds. */
void tls_get_info(const struct stream *s, struct tls_info *info_r);
/* A client's, with TLS_TRUST_DANE: is it peer.name that the certificate has?  False: second_name
 * alone.  True where no name counted: usage 3, and a session that was resumed. */
bool tls_peer_has_name(const struct stream *s);
/* Keying material for channel binding, tls-exporter (RFC 9266): 32 octets.  0 or -EOPNOTSUPP (TLS
 * 1.2 without extended master secret). */
int tls_channel_binding(const struct stream *s, uint8_t out[32]) WARN_UNUSED;
/* The same of tls-server-end-point (RFC 5929 4.1): a hash of the server's certificate, ours where
 * we are the server.  Octets, 32 to TLS_BINDING_MAX; 0: the certificate's signature has no hash of
 * its own (Ed25519), or there is none. */
size_t tls_end_point(const struct stream *s, uint8_t out[TLS_BINDING_MAX]);
/* The newest ticket that the server of s has given, the caller's until tls_ticket_free.  NULL: none
 * since the last call.  Not after the stream's end. */
struct tls_ticket *tls_ticket_take(struct stream *s);
/* NULL is accepted.  Sets NULL. */
void tls_ticket_free(struct tls_ticket **ticket);
/* Why the last handshake of this core failed: printable, for the log and for the queue.  Valid
 * inside on_close(STREAM_TLS_FAILED). */
const char *tls_error(const struct tls *tls);

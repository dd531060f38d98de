/* SPDX-License-Identifier: BSD-3-Clause
 * What a client asks of its peer: name, chain, TLSA records; and why a handshake failed.  OWNER:
 * the core. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include "dataplane/tls/tls_priv.h"

static int trust_name(SSL *ssl, const struct tls_peer *peer)
{
	if (!peer->name)
		return -EINVAL;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(ssl, peer->name) != 1)
		return -EINVAL;
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return 0;
}

/* RFC 7672 3.1: usages 2 and 3 only.  Records that cannot be used are skipped; none left is an
 * error of the caller's policy. */
static int trust_dane(SSL *ssl, const struct tls_peer *peer)
{
	unsigned usable = 0;

	if (!peer->name || peer->tlsa_count > TLS_TLSA_MAX || SSL_dane_enable(ssl, peer->name) != 1)
		return -EINVAL;
	if (peer->second_name && SSL_add1_host(ssl, peer->second_name) != 1)
		return -EINVAL;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* RFC 7672 3.1.1: the name is not checked with usage 3. */
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (unsigned i = 0; i < peer->tlsa_count; i++) {
		const struct tls_tlsa *r = &peer->tlsa[i];
		if (r->usage != TLS_USAGE_TA && r->usage != TLS_USAGE_EE)
			continue;
		usable += SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, r->data.p,
				  r->data.n) == 1;
	}
	ERR_clear_error();
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return usable ? 0 : -EINVAL;
}

/* ---- tickets ---- */

/* A ticket is an SSL_SESSION of ours under another name: nobody outside this room sees OpenSSL. */
static SSL_SESSION *session_in(const struct tls_ticket *ticket)
{
	return (SSL_SESSION *)(uintptr_t)ticket;
}

/* Returns 1: the reference is ours. */
static int on_ticket(SSL *ssl, SSL_SESSION *ticket)
{
	struct tls_session *t = SSL_get_app_data(ssl);

	if (!t || !SSL_SESSION_is_resumable(ticket))
		return 0;
	SSL_SESSION_free(t->ticket);
	t->ticket = ticket;
	return 1;
}

void tls_tickets_keep(SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_ticket);
}

struct tls_ticket *tls_ticket_take(struct stream *s)
{
	struct tls_session *t = tls_session_of(s);
	struct tls_ticket *ticket = t ? (struct tls_ticket *)t->ticket : NULL;

	if (t)
		t->ticket = NULL;
	return ticket;
}

void tls_ticket_free(struct tls_ticket **ticket)
{
	SSL_SESSION_free(session_in(*ticket));
	*ticket = NULL;
}

/* A copy, because OpenSSL spoils what was used; the user gives up a ticket when it has a newer one.
 * One that does not fit is no error: the handshake is a full one then. */
static void resume(SSL *ssl, const struct tls_ticket *ticket)
{
	SSL_SESSION *copy = SSL_SESSION_dup(session_in(ticket));

	if (copy)
		SSL_set_session(ssl, copy);
	SSL_SESSION_free(copy);
	ERR_clear_error();
}

int tls_peer_apply(SSL *ssl, const struct tls_peer *peer)
{
	if (peer->ticket)
		resume(ssl, peer->ticket);
	if (peer->name && SSL_set_tlsext_host_name(ssl, peer->name) != 1)
		return -EINVAL;
	switch (peer->trust) {
	case TLS_TRUST_NAME:
		return trust_name(ssl, peer);
	case TLS_TRUST_DANE:
		return trust_dane(ssl, peer);
	case TLS_TRUST_NONE:
		break;
	}
	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	return 0;
}

void tls_error_text(const SSL *ssl, int rc, unsigned long code, char out[TLS_ERROR_MAX])
{
	const char *reason = ERR_reason_error_string(code);

	if (rc == SSL_ERROR_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		reason = X509_verify_cert_error_string(SSL_get_verify_result(ssl));
	snprintf(out, TLS_ERROR_MAX, "%s",
		reason ? reason : "the connection ended in the handshake");
}

void tls_error_take(const SSL *ssl, int rc, char out[TLS_ERROR_MAX])
{
	tls_error_text(ssl, rc, ERR_peek_last_error(), out);
	ERR_clear_error();
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What an open session has come to, and what it can be bound to.  OWNER: the core. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include "dataplane/tls/tls_priv.h"

bool tls_is_secure(const struct stream *s)
{
	return s->transport == &tls_transport && tls_of(s)->flags & TLSF_OPEN;
}

const char *tls_error(const struct tls *tls)
{
	return tls->error;
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

void tls_get_info(const struct stream *s, struct tls_info *info_r)
{
	const SSL *ssl = tls_of(s)->ssl;
	X509 *peer = SSL_get0_peer_certificate(ssl);
	unsigned n = sizeof(info_r->peer_sha256);

	*info_r = (struct tls_info){
		.version = SSL_get_version(ssl),
		.cipher = or_empty(SSL_get_cipher_name(ssl)),
		.sni = or_empty(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)),
		.resumed = SSL_session_reused(ssl),
		.peer_verified = peer && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE &&
				 SSL_get_verify_result(ssl) == X509_V_OK,
	};
	if (peer)
		X509_digest(peer, EVP_sha256(), info_r->peer_sha256, &n);
}

bool tls_peer_has_name(const struct stream *s)
{
	SSL *ssl = tls_of(s)->ssl;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	X509 *cert = SSL_get0_peer_certificate(ssl);
	uint8_t usage;

	if (SSL_session_reused(ssl) ||
		SSL_get0_dane_tlsa(ssl, &usage, NULL, NULL, NULL, NULL) < 0 ||
		usage == TLS_USAGE_EE)
		return true;
	return cert && name &&
	       X509_check_host(cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

int tls_channel_binding(const struct stream *s, uint8_t out[32])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	SSL *ssl = tls_of(s)->ssl;

	/* RFC 9266 3: with TLS 1.2 only under the extended master secret (RFC 7627). */
	if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
		return -EOPNOTSUPP;
	return SSL_export_keying_material(
		       ssl, out, 32, label, sizeof(label) - 1, (const uint8_t *)"", 0, 1) == 1
		       ? 0
		       : -EOPNOTSUPP;
}

/* RFC 5929 4.1: the hash of the certificate's signature, but SHA-256 for MD5 and SHA-1. */
static const EVP_MD *end_point_hash(X509 *cert)
{
	int hash = NID_undef;

	if (X509_get_signature_info(cert, &hash, NULL, NULL, NULL) != 1)
		return NULL;
	if (hash == NID_md5 || hash == NID_sha1)
		return EVP_sha256();
	return hash == NID_undef ? NULL : EVP_get_digestbynid(hash);
}

size_t tls_end_point(const struct stream *s, uint8_t out[TLS_BINDING_MAX])
{
	const struct tls_session *t = tls_of(s);
	X509 *cert = t->flags & TLSF_SERVER ? SSL_get_certificate(t->ssl)
					    : SSL_get0_peer_certificate(t->ssl);
	const EVP_MD *hash = cert ? end_point_hash(cert) : NULL;
	unsigned n = 0;

	static_assert(EVP_MAX_MD_SIZE <= TLS_BINDING_MAX, "any hash fits");
	if (!hash || X509_digest(cert, hash, out, &n) != 1)
		n = 0;
	ERR_clear_error();
	return n;
}

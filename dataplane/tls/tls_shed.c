/* SPDX-License-Identifier: BSD-3-Clause
 * A session is idle most of its life: what its handshake has left behind and nobody needs any more
 * is given up when the handshake is done.  OWNER: the core. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include "dataplane/tls/tls_priv.h"

/* TLS 1.3 keeps both sides' keys of the exchange (RFC 8446 4.2.8) as long as the SSL, ours with its
 * private half.  OpenSSL has no call that lets them go, but a key whose type is set anew is empty,
 * and the private half wiped.  pkey is a reference of ours. */
static void empty_key(EVP_PKEY *pkey)
{
	EVP_PKEY_set_type(pkey, EVP_PKEY_X25519);
	EVP_PKEY_free(pkey);
}

void tls_shed(struct tls_session *t)
{
	EVP_PKEY *pkey;

	tls_bio_share(t);
	if (SSL_version(t->ssl) < TLS1_3_VERSION)
		return; /* 1.2 has freed them */
	if (SSL_get_tmp_key(t->ssl, &pkey) == 1)
		empty_key(pkey);
	if (SSL_get_peer_tmp_key(t->ssl, &pkey) == 1)
		empty_key(pkey);
	ERR_clear_error();
}

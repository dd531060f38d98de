/* SPDX-License-Identifier: BSD-3-Clause
 * The step of a handshake in which a slow key signs goes to a helper: OpenSSL stops when it has
 * read the ClientHello, the session goes away with its SSL, and comes back with the server's flight
 * in session.out.  Meanwhile the octets of the peer stay with TCP.  OWNER: the core. */
#include "dataplane/tls/tls_priv.h"

int tls_on_client_hello(SSL *ssl, int *alert, void *config_)
{
	const struct tls_config *config = config_;
	const struct tls_session *t = SSL_get_app_data(ssl);

	(void)alert;
	return config->slow && t->tls->signer && !t->away ? SSL_CLIENT_HELLO_RETRY
							  : SSL_CLIENT_HELLO_SUCCESS;
}

void tls_sign(struct tls_session *t)
{
	t->op = (struct op){.done = tls_signed};
	t->away = true;
	t->flags &= ~(uint32_t)TLSF_UNSIGNED;
	if (channel_submit(t->tls->signer, &t->op) == 0)
		return;
	t->away = false;
	t->flags |= TLSF_UNSIGNED;
	list_remove(&t->due);
	list_push_tail(&t->tls->unsigned_, &t->due);
}

/* Those who wait have their turn in the next lap; who still gets none waits on. */
static void on_credit(void *ctx)
{
	struct tls *tls = ctx;

	for (uint32_t n = tls->signer->credits; n && !list_empty(&tls->unsigned_); n--)
		list_push_tail(&tls->due, list_pop_head(&tls->unsigned_));
	tls->signer->starved = !list_empty(&tls->unsigned_);
}

void tls_use_signer(struct tls *tls, struct channel *signer)
{
	tls->signer = signer;
	signer->on_credit = on_credit;
	signer->ctx = tls;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Which sessions there are: a core's table of them, how one begins on a stream, and how it leaves
 * it.  OWNER: the core. */
#include <errno.h>
#include <openssl/err.h>
#include "dataplane/tls/tls_priv.h"

void tls_session_free(struct tls_session *t)
{
	struct tls *tls = t->tls;

	SSL_free(t->ssl);
	SSL_SESSION_free(t->ticket);
	tls_config_unref(t->config);
	free(t->plain);
	free(t->out);
	list_remove(&t->due);
	*t = (struct tls_session){.tls = tls};
	list_push_head(&tls->unused, &t->due);
	tls->sessions--;
}

void tls_session_end(struct tls_session *t)
{
	t->flags |= TLSF_DEAD;
	t->s = NULL;
	if (!(t->flags & TLSF_BUSY) && !t->away)
		tls_session_free(t);
}

struct stream *tls_give_back(struct tls_session *t)
{
	struct stream *s = t->s;

	s->ops = t->ops;
	s->transport = t->lower;
	s->filter = NULL;
	return s;
}

static struct tls_session *session_new(struct tls *tls, struct tls_config *config, SSL_CTX *ctx)
{
	struct list *node = list_pop_head(&tls->unused);

	if (!node)
		return NULL;
	struct tls_session *t = list_entry(node, struct tls_session, due);
	atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
	tls->sessions++;
	t->config = config;
	t->ssl = SSL_new(ctx);
	BIO *bio = t->ssl ? tls_bio_new(t) : NULL;
	if (bio) {
		SSL_set_bio(t->ssl, bio, bio);
		return t;
	}
	ERR_clear_error();
	tls_session_free(t);
	return NULL;
}

static void put_between(struct tls_session *t, struct stream *s)
{
	t->s = s;
	t->ops = s->ops;
	t->lower = s->transport;
	s->ops = &tls_ops;
	s->transport = &tls_transport;
	s->filter = t;
}

static int no_session(const struct tls *tls)
{
	return list_empty(&tls->unused) ? -ENOSPC : -ENOMEM;
}

int tls_accept(struct tls *tls, struct tls_config *config, struct stream *s)
{
	if (config->server_count == 0)
		return -EINVAL;
	struct tls_session *t = session_new(tls, config, config->server[0]);
	if (!t)
		return no_session(tls);
	t->flags = TLSF_SERVER;
	SSL_set_app_data(t->ssl, t);
	SSL_set_accept_state(t->ssl);
	put_between(t, s);
	t->lower->resume(s); /* for what the application has left */
	return 0;
}

int tls_connect(
	struct tls *tls, struct tls_config *config, struct stream *s, const struct tls_peer *peer)
{
	struct tls_session *t = session_new(tls, config, config->client);

	if (!t)
		return no_session(tls);
	SSL_set_connect_state(t->ssl);
	SSL_set_app_data(t->ssl, t);
	if (tls_peer_apply(t->ssl, peer) < 0) {
		tls_session_free(t);
		ERR_clear_error();
		return -EINVAL;
	}
	put_between(t, s);
	/* The first flight; its end is told by an upcall in any case. */
	if (SSL_get_error(t->ssl, SSL_do_handshake(t->ssl)) != SSL_ERROR_WANT_READ) {
		tls_error_take(t->ssl, SSL_ERROR_SSL, tls->error);
		t->flags |= TLSF_FAILED;
		tls_make_due(t);
	}
	return 0;
}

struct tls *tls_create(uint32_t sessions_max)
{
	struct tls *tls = calloc(1, sizeof(*tls) + sessions_max * sizeof(tls->pool[0]));

	if (!tls)
		return NULL;
	tls->bio = tls_bio_new(NULL);
	if (!tls->bio) {
		free(tls);
		return NULL;
	}
	tls->sessions_max = sessions_max;
	list_init(&tls->due);
	list_init(&tls->unused);
	list_init(&tls->unsigned_);
	for (uint32_t i = 0; i < sessions_max; i++) {
		tls->pool[i].tls = tls;
		list_push_tail(&tls->unused, &tls->pool[i].due);
	}
	return tls;
}

void tls_destroy(struct tls **tls)
{
	for (uint32_t i = 0; *tls && i < (*tls)->sessions_max; i++) {
		if ((*tls)->pool[i].ssl)
			tls_session_free(&(*tls)->pool[i]);
	}
	if (*tls)
		BIO_free((*tls)->bio);
	free(*tls);
	*tls = NULL;
}

uint32_t tls_sessions(const struct tls *tls)
{
	return tls->sessions;
}

bool tls_has_room(const struct tls *tls)
{
	return tls && !list_empty(&tls->unused);
}

struct tls_session *tls_session_of(const struct stream *s)
{
	return s->transport == &tls_transport ? s->filter : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * OWNER of a session's SSL, its BIO and session.out between submit and completion: this thread. The
 * core touches neither meanwhile (tls_session.c asks `away`). */
#include "dataplane/tls/tls_signer.h"
#include <openssl/err.h>
#include <pthread.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "dataplane/tls/tls_priv.h"

#define IDLE_US      1000000
#define OPS_PER_TAKE 16

struct tls_signer {
	struct service service;
	pthread_t thread;
	bool running;
};

static void sign(struct op *op)
{
	struct tls_session *t = container_of(op, struct tls_session, op);

	ERR_clear_error();
	int rc = SSL_do_handshake(t->ssl);
	op->status = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
	/* The queue of errors is this thread's: the core gets the code. */
	t->error = ERR_peek_last_error();
	ERR_clear_error();
	channel_complete(op);
}

static void *thread_main(void *arg)
{
	struct tls_signer *s = arg;
	struct op *ops[OPS_PER_TAKE];

	log_thread_init("signer");
	counters_thread_init("signer");
	for (;;) {
		bool stopping = service_stopping(&s->service);
		unsigned n = service_take(&s->service, ops, OPS_PER_TAKE);
		for (unsigned i = 0; i < n; i++)
			sign(ops[i]);
		if (n == 0 && stopping)
			return NULL;
		if (n == 0)
			service_sleep(&s->service, IDLE_US);
	}
}

struct tls_signer *tls_signer_create(void)
{
	struct tls_signer *s =
		aligned_alloc(CACHE_LINE, (sizeof(*s) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	if (service_init(&s->service) == 0)
		return s;
	free(s);
	return NULL;
}

struct service *tls_signer_server(struct tls_signer *s)
{
	return &s->service;
}

int tls_signer_start(struct tls_signer *s)
{
	int err = pthread_create(&s->thread, NULL, thread_main, s);

	s->running = err == 0;
	return -err;
}

void tls_signer_stop(struct tls_signer *s)
{
	if (!s->running)
		return;
	service_stop(&s->service);
	pthread_join(s->thread, NULL);
	s->running = false;
}

void tls_signer_destroy(struct tls_signer **s)
{
	if (!*s)
		return;
	tls_signer_stop(*s);
	service_fini(&(*s)->service);
	free(*s);
	*s = NULL;
}

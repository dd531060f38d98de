/* SPDX-License-Identifier: BSD-3-Clause
 * What the application calls: its plaintext becomes records.  No upcall comes from inside a call:
 * what a call finds out is told by tls_poll.  OWNER: the core. */
#include <openssl/err.h>
#include "dataplane/tls/tls_priv.h"

static size_t room(const struct tls_session *t)
{
	if (!(t->flags & TLSF_OPEN) || t->flags & TLSF_SHUT || t->out_n)
		return 0;
	size_t space = t->lower->space(t->s);
	size_t records = space / (TLS_RECORD_MAX + TLS_RECORD_OVERHEAD) + 1;
	return space > records * TLS_RECORD_OVERHEAD ? space - records * TLS_RECORD_OVERHEAD : 0;
}

static void want_write(struct tls_session *t)
{
	t->flags |= TLSF_WANT_WRITE;
	if (t->flags & TLSF_OPEN)
		t->lower->notify(t->s);
}

static size_t tls_send(struct stream *s, struct bytes data)
{
	struct tls_session *t = tls_of(s);
	size_t left = MIN(data.n, room(t)), sent = 0;

	tls_errors_clear();
	tls_bio_enter(t);
	while (left && t->out_n == 0 && !(t->flags & TLSF_FAILED)) {
		size_t n;
		if (SSL_write_ex(t->ssl, data.p + sent, MIN(left, (size_t)TLS_RECORD_MAX), &n) !=
			1) {
			/* Our BIO never asks to wait: OpenSSL or the memory has failed. */
			tls_error_take(t->ssl, SSL_ERROR_SSL, t->tls->error);
			t->flags |= TLSF_FAILED;
			tls_make_due(t);
			break;
		}
		sent += n;
		left -= n;
	}
	if (sent < data.n)
		want_write(t);
	return sent;
}

static size_t tls_space(const struct stream *s)
{
	return room(tls_of(s));
}

static size_t tls_unacked(const struct stream *s)
{
	const struct tls_session *t = tls_of(s);

	return t->lower->unacked(s) + (t->away ? 0 : t->out_n - t->out_at);
}

static void tls_notify(struct stream *s)
{
	want_write(tls_of(s));
}

static void tls_resume(struct stream *s)
{
	struct tls_session *t = tls_of(s);

	t->flags |= TLSF_RESUMED;
	tls_make_due(t);
}

/* close_notify; the records before it are out. */
static void say_end(struct tls_session *t)
{
	if (t->flags & TLSF_OPEN && !(t->flags & (TLSF_SHUT | TLSF_FAILED))) {
		tls_bio_enter(t);
		SSL_shutdown(t->ssl);
	}
	ERR_clear_error();
	t->flags |= TLSF_SHUT;
}

static void tls_shutdown(struct stream *s)
{
	struct tls_session *t = tls_of(s);

	say_end(t);
	if (!t->away && t->out_n == 0)
		t->lower->shutdown(s); /* else behind what is left */
}

static void tls_close(struct stream *s)
{
	struct tls_session *t = tls_of(s);

	say_end(t);
	tls_give_back(t);
	/* Records that TCP has no memory for would be lost: the peer must not take this for an
	 * orderly end. */
	bool whole = t->away || t->out_n == 0;
	tls_session_end(t);
	if (whole)
		stream_close(s);
	else
		stream_abort(s);
}

static void tls_abort(struct stream *s)
{
	struct tls_session *t = tls_of(s);

	tls_give_back(t);
	tls_session_end(t);
	stream_abort(s);
}

const struct stream_transport tls_transport = {
	.send = tls_send,
	.space = tls_space,
	.unacked = tls_unacked,
	.notify = tls_notify,
	.resume = tls_resume,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.abort = tls_abort,
};

/* SPDX-License-Identifier: BSD-3-Clause
 * OpenSSL's octets: records are read from the view that TCP's upcall gave, and written straight
 * into TCP's send queue.  What TCP cannot take for want of buffers waits in memory of its own, one
 * flight at most: nothing is encrypted while something waits.  OWNER: the core. */
#include "dataplane/tls/tls_priv.h"

#define OUT_MAX (64u * 1024) /* chosen: a server's first flight, or a record, many times over */

bool tls_out_flush(struct tls_session *t)
{
	if (t->out_n == 0)
		return true;
	t->out_at += (uint32_t)t->lower->send(
		t->s, bytes_make(t->out + t->out_at, t->out_n - t->out_at));
	if (t->out_at < t->out_n)
		return false;
	free(t->out);
	t->out = NULL;
	t->out_at = t->out_n = 0;
	return true;
}

static bool keep(struct tls_session *t, struct bytes rest)
{
	if (rest.n == 0)
		return true;
	if (t->out_n + rest.n > OUT_MAX)
		return false;
	uint8_t *more = realloc(t->out, t->out_n + rest.n);
	if (!more)
		return false;
	memcpy(more + t->out_n, rest.p, rest.n);
	t->out = more;
	t->out_n += (uint32_t)rest.n;
	return true;
}

static int bio_write(BIO *b, const char *data, size_t n, size_t *written)
{
	struct tls_session *t = BIO_get_data(b);
	struct bytes in = bytes_make(data, n);

	BIO_clear_retry_flags(b);
	*written = 0;
	/* On the helper's thread there is no TCP. */
	if (!t->away && tls_out_flush(t))
		in = bytes_skip(in, t->lower->send(t->s, in));
	if (!keep(t, in))
		return 0;
	*written = n;
	return 1;
}

static int bio_read(BIO *b, char *out, size_t n, size_t *read_r)
{
	struct tls_session *t = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	n = MIN(n, t->in.n);
	if (n == 0) {
		BIO_set_retry_read(b);
		return 0;
	}
	memcpy(out, t->in.p, n);
	t->in = bytes_skip(t->in, n);
	*read_r = n;
	return 1;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
	(void)b;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method(void)
{
	static BIO_METHOD *made;

	/* Main makes the first one before any core runs (tls_create). */
	if (made)
		return made;
	made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
	if (!made)
		return NULL;
	BIO_meth_set_write_ex(made, bio_write);
	BIO_meth_set_read_ex(made, bio_read);
	BIO_meth_set_ctrl(made, bio_ctrl);
	return made;
}

BIO *tls_bio_new(struct tls_session *t)
{
	BIO *b = method() ? BIO_new(method()) : NULL;

	if (!b)
		return NULL;
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	return b;
}

void tls_bio_enter(struct tls_session *t)
{
	BIO_set_data(t->tls->bio, t);
}

void tls_bio_share(struct tls_session *t)
{
	BIO *shared = t->tls->bio;

	if (BIO_up_ref(shared) == 1)
		SSL_set_bio(t->ssl, shared, shared);
}

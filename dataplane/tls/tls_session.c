/* SPDX-License-Identifier: BSD-3-Clause
 * The filter: upcalls of TCP become plaintext for the application, its calls become records.
 * OWNER: the core.
 *
 * An application may close its stream inside any upcall; the session is then marked dead and freed
 * when OpenSSL has been left.  No upcall comes from inside a call: what a call finds out is told by
 * tls_poll. */
#include <errno.h>
#include <openssl/err.h>
#include "dataplane/base/counters.h"
#include "dataplane/tls/tls_priv.h"

static struct tls_session *session_of(const struct stream *s)
{
	return s->filter;
}

static bool alive(const struct tls_session *t)
{
	return !(t->flags & TLSF_DEAD);
}

static void make_due(struct tls_session *t)
{
	if (list_empty(&t->due))
		list_push_tail(&t->tls->due, &t->due);
}

/* ---- life ---- */

static void session_free(struct tls_session *t)
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

/* The stream is no longer ours. */
static void session_end(struct tls_session *t)
{
	t->flags |= TLSF_DEAD;
	t->s = NULL;
	if (!(t->flags & TLSF_BUSY) && !t->away)
		session_free(t);
}

/* The application's stream as it was before TLS. */
static struct stream *give_back(struct tls_session *t)
{
	struct stream *s = t->s;

	s->ops = t->ops;
	s->transport = t->lower;
	s->filter = NULL;
	return s;
}

/* The end that was not the application's wish.  TCP still sends what is queued, the alert for one.
 */
static void fail(struct tls_session *t)
{
	struct stream *s = give_back(t);

	counter_inc(t->flags & TLSF_OPEN ? CTR_TLS_ERRORS : CTR_TLS_HANDSHAKES_FAILED);
	session_end(t);
	stream_close(s);
	if (s->ops->on_close)
		s->ops->on_close(s, STREAM_TLS_FAILED);
}

/* TCP has room: what is left of records, then the application's turn. */
static void writable(struct tls_session *t)
{
	if (t->away || !tls_out_flush(t))
		return;
	if (t->flags & TLSF_SHUT) {
		t->lower->shutdown(t->s);
		return;
	}
	if (!(t->flags & TLSF_OPEN) || !(t->flags & TLSF_WANT_WRITE))
		return;
	t->flags &= ~(uint32_t)TLSF_WANT_WRITE;
	if (t->ops->on_writable)
		t->ops->on_writable(t->s);
}

/* ---- receiving ---- */

static void opened(struct tls_session *t)
{
	t->flags |= TLSF_OPEN;
	tls_shed(t);
	counter_inc(CTR_TLS_HANDSHAKES);
	if (SSL_session_reused(t->ssl))
		counter_inc(CTR_TLS_RESUMED);
	if (t->ops->on_secure)
		t->ops->on_secure(t->s);
	if (alive(t))
		writable(t);
}

static void told_eof(struct tls_session *t)
{
	if (t->flags & TLSF_EOF)
		return;
	t->flags |= TLSF_EOF;
	if (t->ops->on_eof)
		t->ops->on_eof(t->s);
}

/* Keep what was not taken.  False: no memory. */
static bool keep_plain(struct tls_session *t, struct bytes rest)
{
	t->plain = malloc(rest.n);
	if (!t->plain)
		return false;
	memcpy(t->plain, rest.p, rest.n);
	t->plain_at = 0;
	t->plain_n = (uint32_t)rest.n;
	return true;
}

static void deliver(struct tls_session *t, struct bytes data)
{
	size_t taken = t->ops->on_data(t->s, data);

	if (!alive(t) || taken == data.n)
		return;
	BUG_ON(taken > data.n);
	t->flags |= TLSF_STOPPED;
	if (!keep_plain(t, bytes_skip(data, taken)))
		fail(t);
}

/* What was kept goes first.  True: all of it was taken. */
static bool deliver_kept(struct tls_session *t)
{
	struct bytes rest = bytes_make(t->plain + t->plain_at, t->plain_n - t->plain_at);
	size_t taken = rest.n ? t->ops->on_data(t->s, rest) : 0;

	if (!alive(t))
		return false;
	t->plain_at += (uint32_t)taken;
	if (t->plain_at < t->plain_n) {
		t->flags |= TLSF_STOPPED;
		return false;
	}
	free(t->plain);
	t->plain = NULL;
	t->plain_at = t->plain_n = 0;
	return true;
}

/* OpenSSL said that it cannot go on. */
static void waits(struct tls_session *t, int rc)
{
	int why = SSL_get_error(t->ssl, rc);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return; /* it wants octets, nothing more */
	if (why == SSL_ERROR_WANT_CLIENT_HELLO_CB) {
		/* Not now: the helper would meet us in the upcall. */
		t->flags |= TLSF_UNSIGNED;
		make_due(t);
		return;
	}
	if (why == SSL_ERROR_ZERO_RETURN) {
		told_eof(t);
		return;
	}
	tls_error_take(t->ssl, why, t->tls->error);
	fail(t);
}

/* The lap has done its share of handshakes: this one goes on in the next. */
static bool park(struct tls_session *t)
{
	if (t->flags & TLSF_OPEN || t->tls->handshakes++ < TLS_HANDSHAKES_PER_LAP)
		return false;
	t->flags |= TLSF_PARKED;
	make_due(t);
	return true;
}

static void handshake(struct tls_session *t)
{
	ERR_clear_error();
	int rc = SSL_do_handshake(t->ssl);

	if (rc == 1)
		opened(t);
	else
		waits(t, rc);
}

/* Read records until OpenSSL wants more, or the application less. */
static void pump(struct tls_session *t)
{
	if (!(t->flags & TLSF_OPEN))
		handshake(t);
	while (alive(t) && t->flags & TLSF_OPEN && !(t->flags & (TLSF_STOPPED | TLSF_EOF))) {
		size_t n;
		ERR_clear_error();
		tls_bio_enter(t);
		int rc = SSL_read_ex(t->ssl, t->tls->scratch, sizeof(t->tls->scratch), &n);
		if (rc != 1) {
			waits(t, rc);
			return;
		}
		deliver(t, bytes_make(t->tls->scratch, n));
	}
}

/* Run with the session held; it is freed behind if it has died. */
static void guarded(struct tls_session *t, void (*run)(struct tls_session *t))
{
	bool outer = t->flags & TLSF_BUSY;

	t->flags |= TLSF_BUSY;
	run(t);
	if (outer)
		return;
	t->flags &= ~(uint32_t)TLSF_BUSY;
	if (!alive(t) && !t->away)
		session_free(t);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	struct tls_session *t = session_of(s);
	size_t n = data.n;

	if (t->flags & TLSF_EOF)
		return n; /* behind close_notify: nobody's */
	if (t->away || t->flags & (TLSF_STOPPED | TLSF_UNSIGNED) || park(t))
		return 0; /* TCP keeps them, and its window */
	t->in = data;
	t->flags |= TLSF_BUSY;
	pump(t);
	t->flags &= ~(uint32_t)TLSF_BUSY;
	n -= t->in.n;
	t->in = BYTES_NONE;
	if (!alive(t)) {
		if (!t->away)
			session_free(t);
		return data.n;
	}
	return t->flags & TLSF_EOF ? data.n : n;
}

static void eof(struct tls_session *t)
{
	if (t->away || t->flags & TLSF_UNSIGNED) {
		t->flags |= TLSF_LOWER_EOF;
		return;
	}
	if (!(t->flags & TLSF_OPEN)) {
		tls_error_take(t->ssl, SSL_ERROR_SYSCALL, t->tls->error);
		fail(t);
		return;
	}
	if (t->plain_n) {
		t->flags |= TLSF_LOWER_EOF;
		return;
	}
	told_eof(t); /* without close_notify: SMTP, POP3 and IMAP know their ends themselves */
}

static void on_eof(struct stream *s)
{
	guarded(session_of(s), eof);
}

/* ---- sending ---- */

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
	struct tls_session *t = session_of(s);
	size_t left = MIN(data.n, room(t)), sent = 0;

	ERR_clear_error();
	tls_bio_enter(t);
	while (left && t->out_n == 0 && !(t->flags & TLSF_FAILED)) {
		size_t n;
		if (SSL_write_ex(t->ssl, data.p + sent, MIN(left, (size_t)TLS_RECORD_MAX), &n) !=
			1) {
			/* Our BIO never asks to wait: OpenSSL or the memory has failed. */
			tls_error_take(t->ssl, SSL_ERROR_SSL, t->tls->error);
			t->flags |= TLSF_FAILED;
			make_due(t);
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
	return room(session_of(s));
}

static size_t tls_unacked(const struct stream *s)
{
	const struct tls_session *t = session_of(s);

	return t->lower->unacked(s) + (t->away ? 0 : t->out_n - t->out_at);
}

static void tls_notify(struct stream *s)
{
	want_write(session_of(s));
}

static void tls_resume(struct stream *s)
{
	struct tls_session *t = session_of(s);

	t->flags |= TLSF_RESUMED;
	make_due(t);
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
	struct tls_session *t = session_of(s);

	say_end(t);
	if (!t->away && t->out_n == 0)
		t->lower->shutdown(s); /* else behind what is left */
}

static void tls_close(struct stream *s)
{
	struct tls_session *t = session_of(s);

	say_end(t);
	give_back(t);
	/* Records that TCP has no memory for would be lost: the peer must not take this for an
	 * orderly end. */
	bool whole = t->away || t->out_n == 0;
	session_end(t);
	if (whole)
		stream_close(s);
	else
		stream_abort(s);
}

static void tls_abort(struct stream *s)
{
	struct tls_session *t = session_of(s);

	give_back(t);
	session_end(t);
	stream_abort(s);
}

static const struct stream_transport tls_transport = {
	.send = tls_send,
	.space = tls_space,
	.unacked = tls_unacked,
	.notify = tls_notify,
	.resume = tls_resume,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.abort = tls_abort,
};

static void on_writable(struct stream *s)
{
	guarded(session_of(s), writable);
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	struct tls_session *t = session_of(s);

	give_back(t);
	if (!(t->flags & TLSF_OPEN))
		counter_inc(CTR_TLS_HANDSHAKES_FAILED);
	session_end(t);
	if (s->ops->on_close)
		s->ops->on_close(s, reason);
}

static void describe(const struct stream *s, char *out, size_t cap)
{
	const struct tls_session *t = session_of(s);
	size_t n =
		(size_t)snprintf(out, cap, "%s, ", t->flags & TLSF_OPEN ? "TLS" : "TLS handshake");

	if (t->ops->describe && n < cap)
		t->ops->describe(s, out + n, cap - n);
}

static const struct stream_ops tls_ops = {
	.describe = describe,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close,
};

/* ---- what waits for a lap of its own ---- */

static void go_on(struct tls_session *t)
{
	if (t->away)
		return; /* tls_signed comes */
	if (t->flags & TLSF_FAILED) {
		fail(t);
		return;
	}
	if (t->flags & TLSF_UNSIGNED) {
		tls_sign(t);
		return;
	}
	if (t->flags & TLSF_PARKED) {
		t->flags &= ~(uint32_t)TLSF_PARKED;
		t->lower->resume(t->s);
		return;
	}
	if (!(t->flags & TLSF_RESUMED))
		return;
	t->flags &= ~(uint32_t)(TLSF_RESUMED | TLSF_STOPPED);
	if (!deliver_kept(t))
		return;
	pump(t); /* records that OpenSSL has in its buffer already */
	if (!alive(t) || t->flags & TLSF_STOPPED)
		return;
	if (t->flags & TLSF_LOWER_EOF)
		told_eof(t);
	else
		t->lower->resume(t->s);
}

/* The helper is done: what it wrote goes to TCP, and TCP brings what came meanwhile. */
static void came_back(struct tls_session *t)
{
	int why = t->op.status;

	if (why == SSL_ERROR_NONE)
		opened(t);
	if (!alive(t))
		return;
	writable(t);
	if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) {
		tls_error_text(t->ssl, why, t->error, t->tls->error);
		fail(t);
		return;
	}
	t->lower->resume(t->s);
	if (alive(t) && t->flags & TLSF_LOWER_EOF) {
		t->flags &= ~(uint32_t)TLSF_LOWER_EOF;
		eof(t);
	}
}

void tls_signed(struct op *op)
{
	struct tls_session *t = container_of(op, struct tls_session, op);

	t->away = false;
	if (!alive(t))
		session_free(t);
	else
		guarded(t, came_back);
}

unsigned tls_poll(void *tls_, uint64_t now_us)
{
	struct tls *tls = tls_;
	struct list now;
	unsigned n = 0;

	(void)now_us;
	tls->handshakes = 0;
	if (list_empty(&tls->due))
		return 0;
	/* Those that become due meanwhile wait for the next lap. */
	list_init(&now);
	while (!list_empty(&tls->due))
		list_push_tail(&now, list_pop_head(&tls->due));
	for (struct list *node; (node = list_pop_head(&now)); n++)
		guarded(list_entry(node, struct tls_session, due), go_on);
	return n;
}

/* ---- beginning ---- */

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
	session_free(t);
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
		session_free(t);
		ERR_clear_error();
		return -EINVAL;
	}
	put_between(t, s);
	/* The first flight; its end is told by an upcall in any case. */
	if (SSL_get_error(t->ssl, SSL_do_handshake(t->ssl)) != SSL_ERROR_WANT_READ) {
		tls_error_take(t->ssl, SSL_ERROR_SSL, tls->error);
		t->flags |= TLSF_FAILED;
		make_due(t);
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
			session_free(&(*tls)->pool[i]);
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

/* ---- asking ---- */

struct tls_session *tls_session_of(const struct stream *s)
{
	return s->transport == &tls_transport ? session_of(s) : NULL;
}

bool tls_is_secure(const struct stream *s)
{
	return s->transport == &tls_transport && session_of(s)->flags & TLSF_OPEN;
}

const char *tls_error(const struct tls *tls)
{
	return tls->error;
}

bool tls_has_room(const struct tls *tls)
{
	return tls && !list_empty(&tls->unused);
}

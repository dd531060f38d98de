/* SPDX-License-Identifier: BSD-3-Clause
 * The filter's way up: what TCP brings becomes plaintext for the application.  OWNER: the core.
 *
 * An application may close its stream inside any upcall; the session is then marked dead and freed
 * when OpenSSL has been left. */
#include <errno.h>
#include <openssl/err.h>
#include "dataplane/base/counters.h"
#include "dataplane/tls/tls_priv.h"

static bool alive(const struct tls_session *t)
{
	return !(t->flags & TLSF_DEAD);
}

/* ---- the end, and what TCP tells ---- */

/* The end that was not the application's wish.  TCP still sends what is queued, the alert for one.
 */
static void fail(struct tls_session *t)
{
	struct stream *s = tls_give_back(t);

	counter_inc(t->flags & TLSF_OPEN ? CTR_TLS_ERRORS : CTR_TLS_HANDSHAKES_FAILED);
	tls_session_end(t);
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

/* A KeyUpdate (RFC 8446 4.6.3) is an octet that costs as much as a kilobyte of data, and may want
 * an answer; a ticket the same. */
static void on_state(const SSL *ssl, int where, int ret)
{
	struct tls_session *t = SSL_get_app_data(ssl);
	OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);

	(void)ret;
	if (where & SSL_CB_LOOP && t->updates <= TLS_UPDATES_MAX &&
		(state == TLS_ST_SR_KEY_UPDATE || state == TLS_ST_CR_KEY_UPDATE ||
			state == TLS_ST_CR_SESSION_TICKET))
		t->updates++;
}

static bool updates_too_often(struct tls_session *t)
{
	if (likely(t->updates <= TLS_UPDATES_MAX))
		return false;
	snprintf(t->tls->error, sizeof(t->tls->error), "too many new keys or tickets");
	return true;
}

static void opened(struct tls_session *t)
{
	t->flags |= TLSF_OPEN;
	SSL_set_info_callback(t->ssl, on_state);
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
		tls_make_due(t);
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
	tls_make_due(t);
	return true;
}

static void handshake(struct tls_session *t)
{
	tls_errors_clear();
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
		tls_errors_clear();
		tls_bio_enter(t);
		int rc = SSL_read_ex(t->ssl, t->tls->scratch, sizeof(t->tls->scratch), &n);
		if (updates_too_often(t)) {
			fail(t);
			return;
		}
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
		tls_session_free(t);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	struct tls_session *t = tls_of(s);
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
			tls_session_free(t);
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
	guarded(tls_of(s), eof);
}

static void on_writable(struct stream *s)
{
	guarded(tls_of(s), writable);
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	struct tls_session *t = tls_of(s);

	tls_give_back(t);
	if (!(t->flags & TLSF_OPEN))
		counter_inc(CTR_TLS_HANDSHAKES_FAILED);
	tls_session_end(t);
	if (s->ops->on_close)
		s->ops->on_close(s, reason);
}

static void describe(const struct stream *s, char *out, size_t cap)
{
	const struct tls_session *t = tls_of(s);
	size_t n =
		(size_t)snprintf(out, cap, "%s, ", t->flags & TLSF_OPEN ? "TLS" : "TLS handshake");

	if (t->ops->describe && n < cap)
		t->ops->describe(s, out + n, cap - n);
}

const struct stream_ops tls_ops = {
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
		tls_session_free(t);
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

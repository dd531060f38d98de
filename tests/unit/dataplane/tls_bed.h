/* SPDX-License-Identifier: BSD-3-Clause
 * dataplane/tls: two ends over a wire in memory that cuts, refuses and delays, and identities. */
#pragma once
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "dataplane/tls/tls.h"
#include "tests/unit/base/unit.h"

#define WIRE_MAX (256u * 1024)

/* One end: an application over TLS over half a wire. */
struct end {
	struct stream s;
	struct end *other;
	uint8_t *wire; /* octets on their way to the other end */
	size_t wire_n;
	size_t space;         /* octets the wire takes at once */
	size_t piece;         /* octets the wire delivers at once */
	bool short_of_memory; /* the wire takes less than its space */
	bool want, stopped, shut, closed_by_us, aborted;
	/* the application */
	bool secure, eof, closed, close_on_secure, close_on_data;
	enum stream_reason reason;
	size_t take; /* octets on_data takes at most; the rest after a resume */
	const uint8_t *send;
	size_t send_n, sent;
	uint8_t got[WIRE_MAX];
	size_t got_n;
};

static inline struct end *end_of(const struct stream *s)
{
	return container_of((struct stream *)(uintptr_t)s, struct end, s);
}

/* ---- the wire, as TCP would behave ---- */

static inline size_t wire_space(const struct stream *s)
{
	const struct end *e = end_of(s);

	return e->space > e->wire_n ? e->space - e->wire_n : 0;
}

static inline size_t wire_send(struct stream *s, struct bytes data)
{
	struct end *e = end_of(s);
	size_t n = MIN(data.n, wire_space(s));

	if (e->short_of_memory)
		n = (n + 1) / 2;
	memcpy(e->wire + e->wire_n, data.p, n);
	e->wire_n += n;
	e->want |= n < data.n;
	return n;
}

static inline size_t wire_unacked(const struct stream *s)
{
	return end_of(s)->wire_n;
}

static inline void wire_notify(struct stream *s)
{
	end_of(s)->want = true;
}

static inline void wire_resume(struct stream *s)
{
	end_of(s)->stopped = false;
}

static inline void wire_shutdown(struct stream *s)
{
	end_of(s)->shut = true;
}

static inline void wire_close(struct stream *s)
{
	end_of(s)->shut = end_of(s)->closed_by_us = true;
}

static inline void wire_abort(struct stream *s)
{
	end_of(s)->aborted = end_of(s)->closed_by_us = true;
}

static const struct stream_transport wire_transport = {wire_send, wire_space, wire_unacked,
	wire_notify, wire_resume, wire_shutdown, wire_close, wire_abort};

/* ---- the application ---- */

static inline void app_send(struct end *e)
{
	while (e->sent < e->send_n) {
		size_t n = stream_send(&e->s, bytes_make(e->send + e->sent, e->send_n - e->sent));
		e->sent += n;
		if (n == 0)
			return;
	}
}

static inline size_t app_data(struct stream *s, struct bytes data)
{
	struct end *e = end_of(s);
	size_t n = MIN(data.n, e->take);

	assert_false(e->eof);
	memcpy(e->got + e->got_n, data.p, n);
	e->got_n += n;
	if (e->close_on_data) {
		stream_close(s);
		return n;
	}
	if (n < data.n)
		stream_resume(s);
	return n;
}

static inline void app_eof(struct stream *s)
{
	assert_false(end_of(s)->eof);
	end_of(s)->eof = true;
}

static inline void app_writable(struct stream *s)
{
	app_send(end_of(s));
}

static inline void app_secure(struct stream *s)
{
	struct end *e = end_of(s);

	assert_false(e->secure);
	e->secure = true;
	assert_true(tls_is_secure(s));
	if (e->close_on_secure)
		stream_close(s);
	else
		app_send(e);
}

static inline void app_close(struct stream *s, enum stream_reason reason)
{
	struct end *e = end_of(s);

	assert_false(e->closed);
	e->closed = true;
	e->reason = reason;
}

static const struct stream_ops app_ops = {
	.on_data = app_data,
	.on_eof = app_eof,
	.on_writable = app_writable,
	.on_close = app_close,
	.on_secure = app_secure,
};

/* ---- running both ends ---- */

struct pair {
	struct end a, b; /* client, server */
	struct tls *tls;
};

static inline void end_init(struct end *e, struct end *other)
{
	memset(e, 0, sizeof(*e));
	e->s.ops = &app_ops;
	e->s.transport = &wire_transport;
	e->other = other;
	e->wire = malloc(WIRE_MAX);
	e->space = WIRE_MAX;
	e->piece = e->take = SIZE_MAX;
}

/* Deliver what e has on the wire.  Returns octets that moved. */
static inline size_t wire_run(struct end *e)
{
	struct end *to = e->other;
	size_t n = MIN(e->wire_n, e->piece), taken = n;

	if (to->stopped)
		return 0;
	if (n && !to->closed_by_us && !to->closed) {
		uint8_t *copy = malloc(n); /* exact size: a sanitizer sees an overread */
		memcpy(copy, e->wire, n);
		taken = to->s.ops->on_data(&to->s, bytes_make(copy, n));
		free(copy);
		to->stopped |= taken < n;
	}
	memmove(e->wire, e->wire + taken, e->wire_n - taken);
	e->wire_n -= taken;
	if (taken && e->want && !e->closed_by_us && !e->closed) {
		e->want = false;
		e->s.ops->on_writable(&e->s);
	}
	if (e->wire_n == 0 && e->shut && !to->eof && !to->closed && !to->closed_by_us) {
		to->s.ops->on_eof(&to->s);
		taken++;
	}
	return taken;
}

static inline void pair_run(struct pair *p)
{
	for (unsigned idle = 0; idle < 3;) {
		size_t moved = wire_run(&p->a) + wire_run(&p->b) + tls_poll(p->tls, 0);
		idle = moved ? 0 : idle + 1;
	}
}

static inline void pair_init(struct pair *p)
{
	end_init(&p->a, &p->b);
	end_init(&p->b, &p->a);
	p->tls = tls_create(64);
	assert_non_null(p->tls);
}

static inline void pair_fini(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		struct end *e = i ? &p->b : &p->a;
		if (!e->closed && !e->closed_by_us)
			stream_abort(&e->s);
		free(e->wire);
	}
	assert_int_equal(tls_sessions(p->tls), 0);
	tls_destroy(&p->tls);
}

/* ---- keys ---- */

struct identity {
	char chain[4096], key[4096];
	EVP_PKEY *pkey;
	X509 *cert;
};

static inline void identity_make(struct identity *id, const char *dns, EVP_PKEY *pkey)
{
	char san[128];
	BIO *b;

	id->pkey = pkey;
	id->cert = X509_new();
	X509_set_version(id->cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id->cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(id->cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(id->cert), 3600 * 24);
	X509_set_pubkey(id->cert, id->pkey);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(id->cert), "CN", MBSTRING_ASC,
		(const uint8_t *)"test", -1, -1, 0);
	X509_set_issuer_name(id->cert, X509_get_subject_name(id->cert));
	snprintf(san, sizeof(san), "DNS:%s", dns);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	X509_add_ext(id->cert, ext, -1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(id->cert, id->pkey, EVP_sha256()) > 0);
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, id->cert);
	BIO_read(b, id->chain, sizeof(id->chain) - 1);
	BIO_free(b);
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(b, id->pkey, NULL, NULL, 0, NULL, NULL);
	BIO_read(b, id->key, sizeof(id->key) - 1);
	BIO_free(b);
}

static struct identity one, two, slow; /* slow: RSA */
static struct tls_config *config;

static inline struct tls_config *config_make(bool trust_one)
{
	struct tls_identity_pem pems[] = {
		{"tls.one", bytes_str(one.chain), bytes_str(one.key)},
		{"tls.two", bytes_str(two.chain), bytes_str(two.key)},
	};
	struct tls_conf conf = {.identities = pems,
		.identity_count = 2,
		.ca_bundle = trust_one ? bytes_str(one.chain) : BYTES_NONE};
	char error[200];
	struct tls_config *c = tls_config_create(&conf, error, sizeof(error));

	if (!c)
		fail_msg("%s", error);
	return c;
}

static inline int group_setup(void **state)
{
	(void)state;
	identity_make(&one, "mx.example.org", EVP_EC_gen("P-256"));
	identity_make(&two, "*.example.net", EVP_EC_gen("P-256"));
	identity_make(&slow, "mx.example.org", EVP_RSA_gen(2048));
	config = config_make(true);
	return 0;
}

static inline int group_teardown(void **state)
{
	(void)state;
	tls_config_destroy(&config);
	for (unsigned i = 0; i < 3; i++) {
		struct identity *id = i == 2 ? &slow : i ? &two : &one;
		X509_free(id->cert);
		EVP_PKEY_free(id->pkey);
	}
	return 0;
}

static const struct tls_peer anybody = {.name = "mx.example.org", .trust = TLS_TRUST_NONE};

static inline void pair_start(struct pair *p, const struct tls_peer *peer)
{
	assert_int_equal(tls_accept(p->tls, config, &p->b.s), 0);
	assert_int_equal(tls_connect(p->tls, config, &p->a.s, peer), 0);
}

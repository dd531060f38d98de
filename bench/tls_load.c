/* SPDX-License-Identifier: BSD-3-Clause
 * Two sessions of dataplane/tls in one thread, joined by memory: what TLS costs a core without TCP.
 * bench_tls, a script, sets it beside what `openssl speed` gives.
 *
 *     tls_load handshake|bulk ec|rsa [seconds]
 *     tls_load serve ec|rsa [handshakes]
 *     tls_load memory ec|rsa [sessions [buffers]]
 *
 * A handshake is a full one of TLS 1.3, X25519, and a ticket; what its server took is counted
 * apart: sign, make a key, derive, four records, the key schedule.  Bulk: records of 16 kB,
 * AES-128-GCM, what the sender took.  Memory: what OpenSSL holds for a server's session that is
 * idle; `buffers`: without SSL_MODE_RELEASE_BUFFERS.  Serve: so many handshakes, for callgrind.
 * One JSON object on stdout. */
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include "dataplane/base/clock.h"
#include "dataplane/tls/tls_priv.h"

#define WIRE_MAX  (256u * 1024)
#define BULK_PART (64u * 1024) /* given to the sender at once */
#define PEM_MAX   8192

struct end {
	struct stream s;
	struct end *other;
	uint8_t wire[WIRE_MAX]; /* to the other end */
	size_t wire_n;
	uint64_t ns; /* spent in the calls of this end */
	uint64_t got;
	bool secure;
};

static struct end client, server;
static struct tls *tls[2]; /* client's, server's */
static struct tls_config *config;
static char chain[PEM_MAX], key[PEM_MAX];
static size_t held; /* octets that OpenSSL has now */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "tls_load: %s\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- what OpenSSL holds ---- */

static void *count_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);

	(void)file;
	(void)line;
	held += p ? malloc_usable_size(p) : 0;
	return p;
}

static void count_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	held -= p ? malloc_usable_size(p) : 0;
	free(p);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	size_t before = p ? malloc_usable_size(p) : 0;
	void *q = realloc(p, n);

	(void)file;
	(void)line;
	if (q || n == 0)
		held += (q ? malloc_usable_size(q) : 0) - before;
	return q;
}

/* ---- the wire and the application ---- */

static struct end *end_of(const struct stream *s)
{
	return container_of((struct stream *)(uintptr_t)s, struct end, s);
}

static size_t wire_space(const struct stream *s)
{
	return WIRE_MAX - end_of(s)->wire_n;
}

static size_t wire_send(struct stream *s, struct bytes data)
{
	struct end *e = end_of(s);
	size_t n = MIN(data.n, wire_space(s));

	memcpy(e->wire + e->wire_n, data.p, n);
	e->wire_n += n;
	return n;
}

static size_t nothing(const struct stream *s)
{
	(void)s;
	return 0;
}

static void ignore(struct stream *s)
{
	(void)s;
}

static const struct stream_transport transport = {
	wire_send, wire_space, nothing, ignore, ignore, ignore, ignore, ignore};

static size_t on_data(struct stream *s, struct bytes data)
{
	end_of(s)->got += data.n;
	return data.n;
}

static void on_secure(struct stream *s)
{
	end_of(s)->secure = true;
}

static const struct stream_ops ops = {.on_data = on_data, .on_secure = on_secure};

static void receive(struct end *e)
{
	size_t n = e->other->wire_n, taken;
	uint64_t from = now_ns();

	if (n == 0)
		return;
	taken = e->s.ops->on_data(&e->s, bytes_make(e->other->wire, n));
	e->ns += now_ns() - from;
	memmove(e->other->wire, e->other->wire + taken, n - taken);
	e->other->wire_n -= taken;
}

/* Apart, so that callgrind counts a server: --toggle-collect=serve*. */
static __attribute__((noinline)) void serve(void)
{
	receive(&server);
	__asm__ volatile("" ::: "memory"); /* the call is no jump */
}

static __attribute__((noinline)) void serve_new(void)
{
	uint64_t from = now_ns();

	must(tls_accept(tls[1], config, &server.s) == 0, "no session");
	server.ns += now_ns() - from;
}

static __attribute__((noinline)) void serve_end(void)
{
	uint64_t from = now_ns();

	stream_abort(&server.s);
	server.ns += now_ns() - from;
}

static void connect_ends(void)
{
	static const struct tls_peer anybody = {.name = "mx.example.org", .trust = TLS_TRUST_NONE};

	for (unsigned i = 0; i < 2; i++) {
		struct end *e = i ? &server : &client;
		e->s = (struct stream){.ops = &ops, .transport = &transport};
		e->other = i ? &client : &server;
		e->wire_n = 0;
		e->secure = false;
	}
	serve_new();
	must(tls_connect(tls[0], config, &client.s, &anybody) == 0, "no session");
	for (unsigned turn = 0; turn < 10 && !(client.secure && server.secure && !server.wire_n);
		turn++) {
		tls_poll(tls[0], 0);
		tls_poll(tls[1], 0);
		serve();
		receive(&client);
	}
	must(client.secure && server.secure, "no handshake");
}

/* ---- identity ---- */

static void pem_of(BIO *b, char *out)
{
	int n = BIO_read(b, out, PEM_MAX - 1);

	out[MAX(n, 0)] = '\0';
	BIO_free(b);
}

static void make_identity(bool rsa)
{
	EVP_PKEY *pkey = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	BIO *b = BIO_new(BIO_s_mem());

	must(pkey && cert && b, "no key");
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, pkey);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
		(const uint8_t *)"mx.example.org", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	must(X509_sign(cert, pkey, EVP_sha256()) > 0, "no certificate");
	PEM_write_bio_X509(b, cert);
	pem_of(b, chain);
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(b, pkey, NULL, NULL, 0, NULL, NULL);
	pem_of(b, key);
	X509_free(cert);
	EVP_PKEY_free(pkey);
}

static void make_config(bool rsa, uint32_t sessions)
{
	struct tls_identity_pem pem = {.name = "bench"};
	struct tls_conf conf = {.identities = &pem, .identity_count = 1};
	char error[200];

	make_identity(rsa);
	pem.chain = bytes_str(chain);
	pem.key = bytes_str(key);
	config = tls_config_create(&conf, error, sizeof(error));
	must(config, error);
	tls[0] = tls_create(sessions);
	tls[1] = tls_create(sessions);
	must(tls[0] && tls[1], "no memory");
}

/* ---- what is measured ---- */

static void handshakes(uint64_t seconds)
{
	uint64_t until = clock_mono_us() + seconds * US_PER_SEC, n = 0;

	for (; clock_mono_us() < until; n++) {
		connect_ends();
		serve_end();
		stream_abort(&client.s);
	}
	printf("{\"handshakes\": %llu, \"server_us\": %.1f, \"per_second\": %.0f}\n",
		(unsigned long long)n, (double)server.ns / 1e3 / (double)n,
		(double)n * 1e9 / (double)server.ns);
}

static void serve_some(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		connect_ends();
		serve_end();
		stream_abort(&client.s);
	}
	printf("{\"handshakes\": %llu}\n", (unsigned long long)n);
}

static void bulk(uint64_t seconds)
{
	static uint8_t part[BULK_PART];
	uint64_t until, sent = 0;

	connect_ends();
	server.ns = client.ns = 0;
	for (until = clock_mono_us() + seconds * US_PER_SEC; clock_mono_us() < until;) {
		uint64_t from = now_ns();
		sent += stream_send(&server.s, bytes_make(part, sizeof(part)));
		server.ns += now_ns() - from;
		receive(&client);
	}
	must(client.got == sent && sent, "octets are missing");
	printf("{\"octets\": %llu, \"send_kB_s\": %.0f, \"receive_kB_s\": %.0f}\n",
		(unsigned long long)sent, (double)sent * 1e6 / (double)server.ns,
		(double)sent * 1e6 / (double)client.ns);
}

/* The server's sessions stay; those of the clients go.  What is held is then the server's alone. */
static void memory(uint64_t sessions, bool keep_buffers)
{
	size_t before;

	if (keep_buffers)
		SSL_CTX_clear_mode(config->server[0], SSL_MODE_RELEASE_BUFFERS);
	connect_ends();
	stream_abort(&client.s);
	stream_abort(&server.s);
	before = held;
	for (uint64_t i = 0; i < sessions; i++) {
		connect_ends();
		stream_abort(&client.s);
	}
	printf("{\"sessions\": %llu, \"octets_each\": %.0f}\n", (unsigned long long)sessions,
		(double)(held - before) / (double)sessions);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

	must(argc > 2 && n, "tls_load handshake|bulk|serve|memory ec|rsa [seconds, or how many]");
	bool counted = strcmp(argv[1], "memory") == 0;
	must(counted ? CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) == 1
		     : tls_memory_init(),
		"OpenSSL has memory already");
	make_config(strcmp(argv[2], "rsa") == 0, (uint32_t)n + 16);
	if (strcmp(argv[1], "handshake") == 0)
		handshakes(n);
	else if (strcmp(argv[1], "bulk") == 0)
		bulk(n);
	else if (strcmp(argv[1], "serve") == 0)
		serve_some(n);
	else
		memory(n, argc > 4 && strcmp(argv[4], "buffers") == 0);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Keys, certificates and the CA bundle become OpenSSL contexts, all from memory.  Main thread;
 * afterwards the contexts are read by the cores, which share them by reference counts only. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include "dataplane/tls/tls_priv.h"

#define CIPHERS_DEFAULT                                                                            \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
/* As in 1.2: AES-128 first, which is as safe and a third faster. */
#define CIPHERS_13      "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS          "X25519:P-256:P-384"
#define SERVER_NAME_MAX 255        /* RFC 1035 */
#define TICKET_SECONDS  (4 * 3600) /* chosen: a few rotations */
#define CHAIN_MAX       10         /* certificates of one identity; chosen */

static SSL_CTX *context_new(const SSL_METHOD *method, const char *ciphers)
{
	SSL_CTX *ctx = SSL_CTX_new_ex(NULL, tls_kdf_query(), method);

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_early_data(ctx, 0);
	if (SSL_CTX_set_cipher_list(ctx, ciphers ? ciphers : CIPHERS_DEFAULT) == 1 &&
		SSL_CTX_set_ciphersuites(ctx, CIPHERS_13) == 1 &&
		SSL_CTX_set1_groups_list(ctx, GROUPS) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/* ---- PEM ---- */

static BIO *bio_of(struct bytes pem)
{
	return BIO_new_mem_buf(pem.p, (int)MIN(pem.n, (size_t)INT32_MAX));
}

/* No pass phrase is ever asked for. */
static int no_phrase(char *buf, int size, int rwflag, void *u)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)u;
	return 0;
}

static bool use_chain(SSL_CTX *ctx, struct bytes pem)
{
	BIO *b = bio_of(pem);
	X509 *leaf = b ? PEM_read_bio_X509_AUX(b, NULL, no_phrase, NULL) : NULL;
	bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;

	X509_free(leaf);
	for (unsigned i = 0; ok && i < CHAIN_MAX; i++) {
		X509 *ca = PEM_read_bio_X509(b, NULL, no_phrase, NULL);
		if (!ca)
			break;
		ok = SSL_CTX_add0_chain_cert(ctx, ca) == 1;
		if (!ok)
			X509_free(ca);
	}
	BIO_free(b);
	ERR_clear_error(); /* the end of the text is one */
	return ok;
}

static bool use_key(SSL_CTX *ctx, struct bytes pem)
{
	BIO *b = bio_of(pem);
	EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, no_phrase, NULL) : NULL;
	bool ok =
		key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;

	EVP_PKEY_free(key);
	BIO_free(b);
	return ok;
}

/* Every certificate of the bundle; returns how many. */
static unsigned use_bundle(X509_STORE *store, struct bytes pem)
{
	BIO *b = bio_of(pem);
	unsigned n = 0;
	X509 *ca;

	while (b && (ca = PEM_read_bio_X509(b, NULL, no_phrase, NULL))) {
		n += X509_STORE_add_cert(store, ca) == 1;
		X509_free(ca);
	}
	BIO_free(b);
	ERR_clear_error();
	return n;
}

/* ---- SNI (RFC 6066 3) ---- */

static bool name_is_clean(const char *name)
{
	size_t n = strnlen(name, SERVER_NAME_MAX + 1);

	if (n == 0 || n > SERVER_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)name[i];
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !strchr("-._", c))
			return false;
	}
	return true;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_config *config = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	if (!name || !name_is_clean(name))
		return SSL_TLSEXT_ERR_NOACK;
	for (unsigned i = 0; i < config->server_count; i++) {
		X509 *cert = SSL_CTX_get0_certificate(config->server[i]);
		if (X509_check_host(cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) != 1)
			continue;
		SSL_set_SSL_CTX(ssl, config->server[i]);
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_NOACK; /* the first certificate serves */
}

/* ---- session tickets (RFC 8446 4.6.1, RFC 5077) ---- */

static const struct tls_ticket_key *ticket_key(
	const struct tls_tickets *t, const uint8_t name[16], unsigned *age_r)
{
	unsigned current = atomic_load_explicit(&t->current, memory_order_acquire);

	/* The oldest slot may be written by now; there are `current` keys so far. */
	for (unsigned age = 0; age < TLS_TICKET_KEYS - 1 && age < current; age++) {
		const struct tls_ticket_key *k = &t->keys[(current - age) % TLS_TICKET_KEYS];
		*age_r = age;
		if (!name || memcmp(k->name, name, sizeof(k->name)) == 0)
			return k;
	}
	return NULL;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int encrypt)
{
	const struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	unsigned age;
	const struct tls_ticket_key *k = ticket_key(t, encrypt ? NULL : name, &age);
	OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
				       k ? (void *)(uintptr_t)k->hmac : NULL, sizeof(k->hmac)),
		OSSL_PARAM_construct_utf8_string(
			OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_end()};

	if (!k)
		return 0; /* an old ticket: a full handshake */
	if (EVP_MAC_CTX_set_params(mac, params) != 1)
		return -1;
	if (!encrypt)
		return EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv) == 1
			       ? (age ? 2 : 1)
			       : -1;
	memcpy(name, k->name, sizeof(k->name));
	if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
		return -1;
	return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv) == 1 ? 1 : -1;
}

void tls_config_rotate_tickets(struct tls_config *config)
{
	struct tls_tickets *t = config->tickets;
	unsigned next = atomic_load_explicit(&t->current, memory_order_relaxed) + 1;
	struct tls_ticket_key *k = &t->keys[next % TLS_TICKET_KEYS];

	if (RAND_bytes((uint8_t *)k, sizeof(*k)) == 1)
		atomic_store_explicit(&t->current, next, memory_order_release);
}

/* ---- contexts ---- */

/* A client's certificate is asked for and told, never required: who may relay is SMTP's matter. */
static int take_any(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

/* ECDSA with P-256 and Ed25519 sign in some tens of microseconds; the others take as much as a lap.
 */
static bool key_is_slow(const SSL_CTX *ctx)
{
	EVP_PKEY *key = SSL_CTX_get0_privatekey(ctx);
	char group[32] = "";

	if (EVP_PKEY_is_a(key, "ED25519"))
		return false;
	EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
	ERR_clear_error(); /* RSA has none */
	return strcmp(group, "prime256v1") != 0;
}

static bool use_identity(
	SSL_CTX *ctx, const struct tls_identity_pem *id, char *error, size_t error_n)
{
	if (!use_chain(ctx, id->chain))
		snprintf(error, error_n, "%s: no certificate in PEM form", id->name);
	else if (!use_key(ctx, id->key))
		snprintf(error, error_n, "%s: no unencrypted key that belongs to the certificate",
			id->name);
	else
		return true;
	return false;
}

static SSL_CTX *server_context(const struct tls_conf *conf, unsigned i, struct tls_config *config,
	char *error, size_t error_n)
{
	const struct tls_identity_pem *id = &conf->identities[i];
	SSL_CTX *ctx = context_new(TLS_server_method(), conf->ciphers);

	if (!ctx) {
		snprintf(error, error_n, "%s: the list of ciphers names none", id->name);
		return NULL;
	}
	/* The chain is what was given: else one would be looked for in each handshake. */
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
	if (use_identity(ctx, id, error, error_n)) {
		if (conf->ask_client_cert) {
			use_bundle(SSL_CTX_get_cert_store(ctx), conf->ca_bundle);
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, take_any);
		}
		SSL_CTX_set_app_data(ctx, config->tickets);
		SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
		SSL_CTX_set_timeout(ctx, TICKET_SECONDS);
		SSL_CTX_set_num_tickets(ctx, 1);
		SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"bypost", 6);
		SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
		SSL_CTX_set_tlsext_servername_arg(ctx, config);
		SSL_CTX_set_client_hello_cb(ctx, tls_on_client_hello, config);
		config->slow |= key_is_slow(ctx);
		return ctx;
	}
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *client_context(const struct tls_conf *conf, char *error, size_t error_n)
{
	SSL_CTX *ctx = context_new(TLS_client_method(), conf->ciphers);

	if (!ctx || SSL_CTX_dane_enable(ctx) != 1) {
		snprintf(error, error_n, "tls: the list of ciphers names none");
	} else if (conf->ca_bundle.n && !use_bundle(SSL_CTX_get_cert_store(ctx), conf->ca_bundle)) {
		snprintf(error, error_n, "tls: the CA bundle has no certificate in PEM form");
	} else if (!conf->client || use_identity(ctx, conf->client, error, error_n)) {
		tls_tickets_keep(ctx);
		return ctx;
	}
	SSL_CTX_free(ctx);
	return NULL;
}

struct tls_config *tls_config_create(const struct tls_conf *conf, char *error, size_t error_n)
{
	struct tls_config *config = calloc(1, sizeof(*config));

	BUG_ON(conf->identity_count > TLS_IDENTITIES_MAX);
	snprintf(error, error_n, "tls: out of memory");
	if (config)
		config->tickets = calloc(1, sizeof(*config->tickets));
	if (!config || !config->tickets)
		goto failed;
	tls_config_rotate_tickets(config);
	atomic_init(&config->refs, 1);
	config->client = client_context(conf, error, error_n);
	if (!config->client)
		goto failed;
	for (unsigned i = 0; i < conf->identity_count; i++) {
		config->server[i] = server_context(conf, i, config, error, error_n);
		if (!config->server[i])
			goto failed;
		config->server_count++;
	}
	return config;
failed:
	ERR_clear_error();
	tls_config_destroy(&config);
	return NULL;
}

void tls_config_destroy(struct tls_config **config)
{
	struct tls_config *c = *config;

	*config = NULL;
	if (c)
		tls_config_unref(c);
}

void tls_config_unref(struct tls_config *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < c->server_count; i++)
		SSL_CTX_free(c->server[i]);
	SSL_CTX_free(c->client);
	free(c->tickets);
	free(c);
}

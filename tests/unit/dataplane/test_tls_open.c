/* SPDX-License-Identifier: BSD-3-Clause
 * dataplane/tls: sessions whose handshake is done: what is gone then, keys that change later, and
 * that many of them share what the core has once. */
#include "dataplane/tls/tls_priv.h"
#include "tests/unit/dataplane/tls_bed.h"

static SSL *ssl_of(const struct end *e)
{
	struct tls_session *t = tls_session_of(&e->s);

	assert_non_null(t);
	return t->ssl;
}

/* A key of the exchange that is still there: is there anything in it? */
static void assert_empty(EVP_PKEY *pkey)
{
	uint8_t raw[64];
	size_t n = sizeof(raw);

	assert_int_not_equal(EVP_PKEY_get_raw_private_key(pkey, raw, &n), 1);
	n = sizeof(raw);
	assert_int_not_equal(EVP_PKEY_get_raw_public_key(pkey, raw, &n), 1);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
}

static void test_keys_of_the_exchange_are_gone(void **state)
{
	static struct pair p;

	(void)state;
	pair_init(&p);
	pair_start(&p, &anybody);
	pair_run(&p);
	assert_true(p.a.secure && p.b.secure);
	for (unsigned i = 0; i < 2; i++) {
		SSL *ssl = ssl_of(i ? &p.b : &p.a);
		EVP_PKEY *pkey;
		assert_int_equal(SSL_version(ssl), TLS1_3_VERSION);
		assert_int_equal(SSL_get_tmp_key(ssl, &pkey), 1);
		assert_empty(pkey);
		assert_int_equal(SSL_get_peer_tmp_key(ssl, &pkey), 1);
		assert_empty(pkey);
	}
	pair_fini(&p);
}

static void say(struct end *e, const char *what)
{
	assert_int_equal(stream_send(&e->s, bytes_str(what)), strlen(what));
}

static void assert_got(const struct end *e, const char *what)
{
	assert_int_equal(e->got_n, strlen(what));
	assert_memory_equal(e->got, what, e->got_n);
}

/* RFC 8446 4.6.3, at whatever octet the wire cuts it. */
static void test_keys_change_both_ways(void **state)
{
	static struct pair p;

	(void)state;
	for (size_t piece = 1; piece < 60; piece++) {
		pair_init(&p);
		p.a.piece = p.b.piece = piece;
		pair_start(&p, &anybody);
		pair_run(&p);
		for (unsigned i = 0; i < 2; i++) {
			struct end *e = i ? &p.b : &p.a;
			assert_int_equal(SSL_key_update(ssl_of(e), SSL_KEY_UPDATE_REQUESTED), 1);
			say(e, "behind");
			pair_run(&p);
			assert_got(e->other, "behind");
			say(e->other, "and back");
			pair_run(&p);
			assert_got(e, "and back");
			p.a.got_n = p.b.got_n = 0;
		}
		pair_fini(&p);
	}
}

/* Two pairs of one core: while a record of one is cut in the middle the other one's come and go;
 * and one ends while the other one goes on. */
static void test_sessions_do_not_meet(void **state)
{
	static struct pair p, q;

	(void)state;
	pair_init(&p);
	pair_init(&q);
	tls_destroy(&q.tls);
	q.tls = p.tls;
	pair_start(&p, &anybody);
	pair_run(&p);
	pair_start(&q, &anybody);
	pair_run(&q);
	say(&p.a, "first");
	p.a.piece = 10;
	assert_int_equal(wire_run(&p.a), 10);
	say(&q.a, "second");
	say(&q.b, "third");
	pair_run(&q);
	assert_got(&q.b, "second");
	assert_got(&q.a, "third");
	assert_int_equal(p.b.got_n, 0);
	pair_run(&p);
	assert_got(&p.b, "first");
	stream_close(&q.a.s);
	pair_run(&q);
	assert_true(q.b.eof && !p.b.eof);
	say(&p.b, "fourth");
	pair_run(&p);
	assert_got(&p.a, "fourth");
	stream_abort(&q.b.s);
	free(q.a.wire);
	free(q.b.wire);
	pair_fini(&p);
}

/* RFC 5929 4.1: by the hash that the certificate is signed with. */
static void check_end_point(const char *name, X509 *cert, const EVP_MD *hash)
{
	struct tls_peer peer = {.name = name, .trust = TLS_TRUST_NONE};
	uint8_t a[TLS_BINDING_MAX], b[TLS_BINDING_MAX], want[EVP_MAX_MD_SIZE];
	static struct pair p;
	unsigned n = 0;

	if (hash)
		assert_int_equal(X509_digest(cert, hash, want, &n), 1);
	pair_init(&p);
	pair_start(&p, &peer);
	pair_run(&p);
	assert_true(p.a.secure && p.b.secure);
	assert_int_equal(tls_end_point(&p.a.s, a), n);
	assert_int_equal(tls_end_point(&p.b.s, b), n);
	assert_memory_equal(a, want, n);
	assert_memory_equal(b, want, n);
	pair_fini(&p);
}

static void test_end_point_is_the_certificate_that_was_shown(void **state)
{
	(void)state;
	check_end_point("mx.example.org", one.cert, EVP_sha256());
	check_end_point("mx.example.net", two.cert, EVP_sha256());
	check_end_point("elsewhere.example.com", one.cert, EVP_sha256());
}

/* The same certificate, signed otherwise, is the first one's. */
static void check_signed(EVP_PKEY *pkey, const EVP_MD *by, const EVP_MD *hash)
{
	struct tls_config *before = config;
	struct identity id = one;
	BIO *b = BIO_new(BIO_s_mem());

	id.cert = X509_dup(one.cert);
	id.pkey = pkey;
	X509_set_pubkey(id.cert, pkey);
	assert_true(X509_sign(id.cert, pkey, by) > 0);
	memset(id.chain, 0, sizeof(id.chain));
	memset(id.key, 0, sizeof(id.key));
	PEM_write_bio_X509(b, id.cert);
	BIO_read(b, id.chain, sizeof(id.chain) - 1);
	PEM_write_bio_PrivateKey(b, pkey, NULL, NULL, 0, NULL, NULL);
	BIO_read(b, id.key, sizeof(id.key) - 1);
	BIO_free(b);
	struct tls_identity_pem pem = {"tls", bytes_str(id.chain), bytes_str(id.key)};
	struct tls_conf conf = {.identities = &pem, .identity_count = 1};
	char error[200];
	config = tls_config_create(&conf, error, sizeof(error));
	assert_non_null(config);
	check_end_point("mx.example.org", id.cert, hash);
	tls_config_destroy(&config);
	config = before;
	X509_free(id.cert);
}

static void test_end_point_by_the_hash_of_the_signature(void **state)
{
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	(void)state;
	check_signed(one.pkey, EVP_sha384(), EVP_sha384());
	check_signed(one.pkey, EVP_sha512(), EVP_sha512());
	check_signed(ed, NULL, NULL); /* no hash of its own: not defined */
	EVP_PKEY_free(ed);
}

/* A certificate for mx.example.org by an issuer, whose own comes behind it. */
static void issue(struct identity *leaf, struct identity *issuer)
{
	BIO *b = BIO_new(BIO_s_mem());

	identity_make(issuer, "issuer.example.org", EVP_EC_gen("P-256"));
	X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE");
	X509_add_ext(issuer->cert, ca, -1);
	X509_EXTENSION_free(ca);
	assert_true(X509_sign(issuer->cert, issuer->pkey, EVP_sha256()) > 0);
	*leaf = one;
	leaf->cert = X509_dup(one.cert);
	X509_NAME *name = X509_NAME_new();
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"leaf", -1, -1, 0);
	X509_set_subject_name(leaf->cert, name);
	X509_NAME_free(name);
	assert_true(X509_sign(leaf->cert, issuer->pkey, EVP_sha256()) > 0);
	PEM_write_bio_X509(b, leaf->cert);
	PEM_write_bio_X509(b, issuer->cert);
	memset(leaf->chain, 0, sizeof(leaf->chain));
	BIO_read(b, leaf->chain, sizeof(leaf->chain) - 1);
	BIO_free(b);
}

/* RFC 7672 3.2.2: an issuer's record, and a certificate with the one name or the other. */
static void test_two_names_with_an_issuers_record(void **state)
{
	static const struct {
		const char *name, *second;
		uint8_t usage;
		bool open, has_name;
	} cases[] = {
		{"mx.example.org",    NULL,                2, true,  true },
		{"mx.example.org",    "other.example.org", 2, true,  true },
		{"other.example.org", "mx.example.org",    2, true,  false},
		{"other.example.org", NULL,                2, false, false},
		{"other.example.org", "another.example",   2, false, false},
		{"other.example.org", "mx.example.org",    3, true,  true },
		{"other.example.org", NULL,                3, true,  true },
	};
	struct tls_config *before = config;
	struct identity leaf, issuer;
	uint8_t digest[2][32];
	unsigned n = 32;
	char error[200];

	(void)state;
	issue(&leaf, &issuer);
	struct tls_identity_pem pem = {"tls", bytes_str(leaf.chain), bytes_str(leaf.key)};
	struct tls_conf conf = {.identities = &pem, .identity_count = 1};
	config = tls_config_create(&conf, error, sizeof(error));
	assert_non_null(config);
	X509_digest(issuer.cert, EVP_sha256(), digest[0], &n);
	X509_digest(leaf.cert, EVP_sha256(), digest[1], &n);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct tls_tlsa tlsa = {
			cases[i].usage, 0, 1, bytes_make(digest[cases[i].usage == 3], 32)};
		struct tls_peer peer = {.name = cases[i].name,
			.second_name = cases[i].second,
			.trust = TLS_TRUST_DANE,
			.tlsa = &tlsa,
			.tlsa_count = 1};
		static struct pair p;
		pair_init(&p);
		pair_start(&p, &peer);
		pair_run(&p);
		assert_int_equal(p.a.secure, cases[i].open);
		if (p.a.secure)
			assert_int_equal(tls_peer_has_name(&p.a.s), cases[i].has_name);
		pair_fini(&p);
	}
	tls_config_destroy(&config);
	config = before;
	X509_free(leaf.cert);
	X509_free(issuer.cert);
	EVP_PKEY_free(issuer.pkey);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_the_exchange_are_gone),
		cmocka_unit_test(test_keys_change_both_ways),
		cmocka_unit_test(test_sessions_do_not_meet),
		cmocka_unit_test(test_end_point_is_the_certificate_that_was_shown),
		cmocka_unit_test(test_end_point_by_the_hash_of_the_signature),
		cmocka_unit_test(test_two_names_with_an_issuers_record),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

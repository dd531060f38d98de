/* SPDX-License-Identifier: BSD-3-Clause
 * dataplane/tls: two ends over a wire in memory that cuts, refuses and delays; hostile peers. */
#include "dataplane/tls/tls_priv.h"
#include "tests/unit/dataplane/tls_bed.h"

/* ---- tests ---- */

static uint8_t text[150000];

/* Whatever the wire does, both ends get each other's octets, and then the end. */
static void test_both_ways_whatever_the_wire_does(void **state)
{
	static const struct {
		size_t space, piece, take;
		bool short_of_memory;
	} cases[] = {
		{WIRE_MAX, SIZE_MAX, SIZE_MAX, false},
		{WIRE_MAX, 1,        SIZE_MAX, false},
		{WIRE_MAX, 7,        1000,     false},
		{20000,    1400,     SIZE_MAX, false},
		{5000,     333,      17,       false},
		{20000,    SIZE_MAX, 5000,     true },
		{300,      100,      SIZE_MAX, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 + i / 256);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		static struct pair p;
		pair_init(&p);
		struct end *ends[] = {&p.a, &p.b};
		for (unsigned k = 0; k < 2; k++) {
			struct end *e = ends[k];
			e->space = cases[i].space;
			e->piece = cases[i].piece;
			e->take = cases[i].take;
			e->short_of_memory = cases[i].short_of_memory;
			e->send = text + k;
			e->send_n = (cases[i].take < 100 ? 20000 : sizeof(text)) - k;
		}
		pair_start(&p, &anybody);
		pair_run(&p);
		for (unsigned k = 0; k < 2; k++) {
			assert_true(ends[k]->secure);
			assert_int_equal(ends[k]->sent, ends[k]->send_n);
			assert_int_equal(ends[k]->got_n, ends[!k]->send_n);
			assert_memory_equal(ends[k]->got, ends[!k]->send, ends[k]->got_n);
		}
		/* A close without memory for close_notify is a reset, so that nobody takes it for
		 * an orderly end. */
		p.a.short_of_memory = p.b.short_of_memory = false;
		stream_shutdown(&p.a.s);
		pair_run(&p);
		assert_true(p.b.eof && !p.a.eof);
		stream_close(&p.b.s);
		pair_run(&p);
		assert_true(p.a.eof && !p.a.closed);
		pair_fini(&p);
	}
}

static void test_sni_chooses_the_certificate(void **state)
{
	static const struct {
		const char *name;
		struct identity *want;
	} cases[] = {
		{"mx.example.org",  &one},
		{"a.example.net",   &two},
		{"A.EXAMPLE.NET",   &two},
		{"a.b.example.net", &one},
		{"unknown.example", &one},
		{"bad name\x01",    &one},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		static struct pair p;
		struct tls_info info;
		uint8_t want[32];
		unsigned n = sizeof(want);
		pair_init(&p);
		pair_start(&p, &(struct tls_peer){.name = cases[i].name});
		pair_run(&p);
		assert_true(p.a.secure && p.b.secure);
		tls_get_info(&p.a.s, &info);
		X509_digest(cases[i].want->cert, EVP_sha256(), want, &n);
		assert_memory_equal(info.peer_sha256, want, 32);
		assert_string_equal(info.version, "TLSv1.3");
		assert_false(info.peer_verified);
		pair_fini(&p);
	}
}

static enum stream_reason connect_with(const struct tls_peer *peer, bool *verified_r)
{
	static struct pair p;
	struct tls_info info = {0};

	pair_init(&p);
	pair_start(&p, peer);
	pair_run(&p);
	if (p.a.secure && !p.a.closed)
		tls_get_info(&p.a.s, &info);
	*verified_r = info.peer_verified;
	enum stream_reason reason = p.a.closed ? p.a.reason : STREAM_CLOSED;
	if (p.a.closed)
		assert_true(strlen(tls_error(p.tls)) > 0);
	pair_fini(&p);
	return reason;
}

static void test_trust(void **state)
{
	uint8_t digest[32], wrong[32] = {1};
	unsigned n = sizeof(digest);
	bool verified;
	struct tls_peer peer = {.name = "mx.example.org", .trust = TLS_TRUST_NAME};

	(void)state;
	assert_int_equal(connect_with(&peer, &verified), STREAM_CLOSED);
	assert_true(verified);
	peer.name = "other.example.org"; /* gets the certificate of mx */
	assert_int_equal(connect_with(&peer, &verified), STREAM_TLS_FAILED);
	peer.name = "a.example.net"; /* the right name, a chain to nobody */
	assert_int_equal(connect_with(&peer, &verified), STREAM_TLS_FAILED);
	/* DANE-EE: the name and the chain do not matter */
	X509_digest(two.cert, EVP_sha256(), digest, &n);
	struct tls_tlsa tlsa[] = {
		{0, 0, 1, bytes_make(digest, 32)},
                {3, 0, 1, bytes_make(wrong,  32)},
		{3, 0, 1, bytes_make(digest, 32)}
        };
	peer = (struct tls_peer){
		.name = "a.example.net", .trust = TLS_TRUST_DANE, .tlsa = tlsa, .tlsa_count = 3};
	assert_int_equal(connect_with(&peer, &verified), STREAM_CLOSED);
	assert_true(verified);
	peer.tlsa_count = 2;
	assert_int_equal(connect_with(&peer, &verified), STREAM_TLS_FAILED);
	/* nothing usable: the caller's policy has to say what then */
	static struct pair p;
	pair_init(&p);
	peer.tlsa_count = 1;
	assert_int_equal(tls_connect(p.tls, config, &p.a.s, &peer), -EINVAL);
	assert_ptr_equal(p.a.s.transport, &wire_transport);
	pair_fini(&p);
}

static void test_what_is_no_tls(void **state)
{
	static const struct bytes junk[] = {BYTES_LIT("EHLO client.example.net\r\n"),
		BYTES_LIT("\x16\x03\x01\xff\xff"),
		BYTES_LIT("\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff"),
		BYTES_LIT("\x15\x03\x03\x00\x02\x02\x28")};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(junk); i++) {
		for (size_t piece = 1; piece < 20; piece += 6) {
			static struct pair p;
			pair_init(&p);
			assert_int_equal(tls_accept(p.tls, config, &p.b.s), 0);
			p.a.piece = piece;
			p.a.wire_n = junk[i].n;
			memcpy(p.a.wire, junk[i].p, junk[i].n);
			p.a.shut = true;
			p.a.closed_by_us = true;
			pair_run(&p);
			assert_true(p.b.closed);
			assert_int_equal(p.b.reason, STREAM_TLS_FAILED);
			pair_fini(&p);
		}
	}
}

static void test_an_altered_record_ends_the_connection(void **state)
{
	static struct pair p;

	(void)state;
	pair_init(&p);
	pair_start(&p, &anybody);
	pair_run(&p);
	stream_send(&p.a.s, BYTES_LIT("secret"));
	p.a.wire[p.a.wire_n - 1] ^= 1;
	pair_run(&p);
	assert_true(p.b.closed);
	assert_int_equal(p.b.got_n, 0);
	pair_fini(&p);
}

static void test_closing_inside_upcalls(void **state)
{
	static struct pair p;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		pair_init(&p);
		struct end *e = i & 1 ? &p.a : &p.b;
		*(i & 2 ? &e->close_on_data : &e->close_on_secure) = true;
		e->other->send = text;
		e->other->send_n = 1000;
		pair_start(&p, &anybody);
		pair_run(&p);
		assert_true(e->closed_by_us && !e->closed);
		assert_true(e->other->eof || e->other->closed);
		pair_fini(&p);
	}
}

/* What was left in the application's hands comes before the end. */
static void test_kept_plaintext_comes_before_the_end(void **state)
{
	static struct pair p;

	(void)state;
	pair_init(&p);
	p.a.send = text;
	p.a.send_n = 5000;
	p.b.take = 10;
	pair_start(&p, &anybody);
	while (!p.a.secure || p.a.sent < p.a.send_n)
		assert_true(wire_run(&p.a) + wire_run(&p.b) + tls_poll(p.tls, 0) > 0);
	p.a.shut = true; /* a FIN without close_notify */
	pair_run(&p);
	assert_int_equal(p.b.got_n, 5000);
	assert_true(p.b.eof);
	pair_fini(&p);
}

static void test_a_lap_does_a_few_handshakes(void **state)
{
	static struct pair p[12];
	struct tls *tls = tls_create(24);
	unsigned secure = 0, laps = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(p); i++) {
		end_init(&p[i].a, &p[i].b);
		end_init(&p[i].b, &p[i].a);
		assert_int_equal(tls_accept(tls, config, &p[i].b.s), 0);
		assert_int_equal(tls_connect(tls, config, &p[i].a.s, &anybody), 0);
	}
	struct pair extra;
	end_init(&extra.a, &extra.b);
	assert_int_equal(tls_accept(tls, config, &extra.a.s), -ENOSPC);
	free(extra.a.wire);
	while (secure < ARRAY_LEN(p)) {
		unsigned before = secure;
		assert_true(laps++ < 100);
		tls_poll(tls, 0);
		secure = 0;
		for (unsigned i = 0; i < ARRAY_LEN(p); i++) {
			wire_run(&p[i].a);
			wire_run(&p[i].b);
			secure += p[i].b.secure;
		}
		assert_true(secure <= before + 4);
	}
	for (unsigned i = 0; i < ARRAY_LEN(p); i++) {
		stream_abort(&p[i].a.s);
		stream_abort(&p[i].b.s);
		free(p[i].a.wire);
		free(p[i].b.wire);
	}
	tls_destroy(&tls);
}

static void test_binding_is_the_same_at_both_ends(void **state)
{
	static struct pair p;
	uint8_t a[32], b[32];

	(void)state;
	pair_init(&p);
	pair_start(&p, &anybody);
	pair_run(&p);
	assert_int_equal(tls_channel_binding(&p.a.s, a), 0);
	assert_int_equal(tls_channel_binding(&p.b.s, b), 0);
	assert_memory_equal(a, b, 32);
	pair_fini(&p);
}

/* A plain OpenSSL client, for what ours never does. */
struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
};

static void raw_start(struct raw *r, SSL_SESSION *session)
{
	r->ssl = SSL_new(r->ctx);
	r->in = BIO_new(BIO_s_mem());
	r->out = BIO_new(BIO_s_mem());
	SSL_set_bio(r->ssl, r->in, r->out);
	SSL_set_connect_state(r->ssl);
	if (session) {
		/* A copy: the client puts a renewed ticket into what it was given. */
		SSL_SESSION *copy = SSL_SESSION_dup(session);
		SSL_set_session(r->ssl, copy);
		SSL_SESSION_free(copy);
	}
}

static void raw_run(struct raw *r, struct pair *p)
{
	uint8_t buf[4096];

	for (unsigned i = 0; i < 8; i++) {
		SSL_read(r->ssl, buf, sizeof(buf));
		int n = BIO_read(r->out, p->a.wire, WIRE_MAX);
		p->a.wire_n = n > 0 ? (size_t)n : 0;
		while (wire_run(&p->a) + tls_poll(p->tls, 0))
			;
		BIO_write(r->in, p->b.wire, (int)p->b.wire_n);
		p->b.wire_n = 0;
	}
	ERR_clear_error();
}

static SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(kept);
	kept = session;
	return 1;
}

static bool raw_connect(struct raw *r, SSL_SESSION *session, bool *resumed_r)
{
	static struct pair p;

	pair_init(&p);
	p.a.closed_by_us = true;
	assert_int_equal(tls_accept(p.tls, config, &p.b.s), 0);
	raw_start(r, session);
	raw_run(r, &p);
	bool secure = p.b.secure;
	*resumed_r = secure && SSL_session_reused(r->ssl);
	SSL_set_shutdown(r->ssl, SSL_SENT_SHUTDOWN); /* else the session counts as broken */
	SSL_free(r->ssl);
	pair_fini(&p);
	return secure;
}

static void test_tickets_outlive_one_rotation(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		struct raw r = {.ctx = SSL_CTX_new(TLS_client_method())};
		bool resumed;
		SSL_CTX_set_max_proto_version(r.ctx, versions[i]);
		SSL_CTX_set_session_cache_mode(r.ctx, SSL_SESS_CACHE_CLIENT);
		SSL_CTX_sess_set_new_cb(r.ctx, keep_session);
		assert_true(raw_connect(&r, NULL, &resumed));
		assert_false(resumed);
		assert_non_null(kept);
		SSL_SESSION *first = kept;
		kept = NULL;
		assert_true(raw_connect(&r, first, &resumed));
		assert_true(resumed);
		tls_config_rotate_tickets(config);
		assert_true(raw_connect(&r, first, &resumed));
		assert_true(resumed);
		tls_config_rotate_tickets(config);
		assert_true(raw_connect(&r, first, &resumed));
		assert_false(resumed);
		SSL_SESSION_free(first);
		SSL_SESSION_free(kept);
		kept = NULL;
		SSL_CTX_free(r.ctx);
	}
}

static void test_a_client_resumes_with_its_ticket(void **state)
{
	static struct pair p;
	struct tls_peer peer = {.name = "mx.example.org", .trust = TLS_TRUST_NAME};
	struct tls_ticket *ticket = NULL;
	struct tls_info info;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		pair_init(&p);
		peer.ticket = ticket;
		pair_start(&p, &peer);
		pair_run(&p);
		assert_true(p.a.secure && p.b.secure);
		tls_get_info(&p.a.s, &info);
		assert_int_equal(info.resumed, i > 0);
		assert_true(info.peer_verified);
		/* This server gives one to a new session only. */
		struct tls_ticket *given = tls_ticket_take(&p.a.s);
		assert_int_equal(given != NULL, i == 0);
		ticket = given ? given : ticket;
		assert_null(tls_ticket_take(&p.a.s));
		stream_close(&p.a.s); /* one that ends without a word cannot be resumed */
		pair_fini(&p);
	}
	/* The server has forgotten its keys: a full handshake. */
	tls_config_rotate_tickets(config);
	tls_config_rotate_tickets(config);
	pair_init(&p);
	peer.ticket = ticket;
	pair_start(&p, &peer);
	pair_run(&p);
	tls_get_info(&p.a.s, &info);
	assert_true(p.a.secure && !info.resumed && info.peer_verified);
	assert_null(tls_ticket_take(&(struct stream){.transport = NULL}));
	pair_fini(&p);
	tls_ticket_free(&ticket);
	tls_ticket_free(&ticket);
}

static void test_a_client_shows_its_certificate(void **state)
{
	static struct pair p;
	struct tls_identity_pem server = {"tls.one", bytes_str(one.chain), bytes_str(one.key)};
	struct tls_identity_pem client = {"tls.two", bytes_str(two.chain), bytes_str(two.key)};
	struct tls_identity_pem wrong = {"tls.bad", bytes_str(two.chain), bytes_str(one.key)};
	struct tls_conf conf = {.identities = &server,
		.identity_count = 1,
		.client = &client,
		.ask_client_cert = true,
		.ca_bundle = bytes_str(two.chain)};
	struct tls_info info;
	char error[200];
	uint8_t want[32];
	unsigned n = sizeof(want);

	(void)state;
	struct tls_config *c = tls_config_create(&conf, error, sizeof(error));
	assert_non_null(c);
	pair_init(&p);
	assert_int_equal(tls_accept(p.tls, c, &p.b.s), 0);
	assert_int_equal(tls_connect(p.tls, c, &p.a.s, &anybody), 0);
	pair_run(&p);
	assert_true(p.b.secure);
	tls_get_info(&p.b.s, &info);
	X509_digest(two.cert, EVP_sha256(), want, &n);
	assert_memory_equal(info.peer_sha256, want, 32);
	assert_true(info.peer_verified);
	pair_fini(&p);
	tls_config_destroy(&c);
	conf.client = &wrong;
	assert_null(tls_config_create(&conf, error, sizeof(error)));
	assert_non_null(strstr(error, "tls.bad"));
}

/* The client wants new keys of both sides so many times, and says something. */
static void ask_for_keys(struct pair *p, unsigned n)
{
	struct tls_session *t = tls_session_of(&p->a.s);

	for (unsigned i = 0; i < n && !p->a.closed; i++) {
		tls_bio_enter(t);
		assert_int_equal(SSL_key_update(t->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(t->ssl), 1);
		if (i % 20 == 0)
			pair_run(p);
	}
	if (!p->a.closed)
		assert_int_equal(stream_send(&p->a.s, BYTES_LIT("x")), 1);
	pair_run(p);
}

static void test_new_keys_without_end_end_the_session(void **state)
{
	static struct pair p;

	(void)state;
	pair_init(&p);
	pair_start(&p, &anybody);
	pair_run(&p);
	assert_true(p.a.secure && p.b.secure);
	ask_for_keys(&p, TLS_UPDATES_MAX / 2);
	assert_int_equal(p.b.got_n, 1);
	ask_for_keys(&p, 1000);
	assert_true(p.b.closed && p.b.reason == STREAM_TLS_FAILED);
	pair_fini(&p);
}

static void test_old_versions_are_refused(void **state)
{
	struct raw r = {.ctx = SSL_CTX_new(TLS_client_method())};
	bool resumed;

	(void)state;
	SSL_CTX_set_min_proto_version(r.ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(r.ctx, TLS1_1_VERSION);
	SSL_CTX_set_cipher_list(r.ctx, "ALL:@SECLEVEL=0");
	assert_false(raw_connect(&r, NULL, &resumed));
	SSL_CTX_free(r.ctx);
}

static void test_configuration_errors_name_the_key(void **state)
{
	struct tls_identity_pem pem = {"tls.one", bytes_str(one.chain), bytes_str(two.key)};
	struct tls_conf conf = {.identities = &pem, .identity_count = 1};
	char error[200];

	(void)state;
	assert_null(tls_config_create(&conf, error, sizeof(error)));
	assert_non_null(strstr(error, "tls.one"));
	pem.chain = BYTES_LIT("nothing");
	assert_null(tls_config_create(&conf, error, sizeof(error)));
	assert_non_null(strstr(error, "tls.one"));
	conf = (struct tls_conf){.ca_bundle = BYTES_LIT("nothing")};
	assert_null(tls_config_create(&conf, error, sizeof(error)));
	assert_non_null(strstr(error, "CA bundle"));
	conf = (struct tls_conf){.ciphers = "no such cipher"};
	assert_null(tls_config_create(&conf, error, sizeof(error)));
}

/* Sessions outlive the configuration they began with. */
static void test_configuration_is_replaced_under_a_session(void **state)
{
	static struct pair p;
	struct tls_config *kept_config = config;

	(void)state;
	pair_init(&p);
	p.a.piece = p.b.piece = 100;
	pair_start(&p, &anybody);
	wire_run(&p.a);
	config = config_make(false);
	tls_config_destroy(&kept_config);
	p.a.send = text;
	p.a.send_n = 1000;
	pair_run(&p);
	assert_int_equal(p.b.got_n, 1000);
	pair_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways_whatever_the_wire_does),
		cmocka_unit_test(test_sni_chooses_the_certificate),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_what_is_no_tls),
		cmocka_unit_test(test_an_altered_record_ends_the_connection),
		cmocka_unit_test(test_closing_inside_upcalls),
		cmocka_unit_test(test_kept_plaintext_comes_before_the_end),
		cmocka_unit_test(test_a_lap_does_a_few_handshakes),
		cmocka_unit_test(test_binding_is_the_same_at_both_ends),
		cmocka_unit_test(test_tickets_outlive_one_rotation),
		cmocka_unit_test(test_a_client_resumes_with_its_ticket),
		cmocka_unit_test(test_a_client_shows_its_certificate),
		cmocka_unit_test(test_new_keys_without_end_end_the_session),
		cmocka_unit_test(test_old_versions_are_refused),
		cmocka_unit_test(test_configuration_errors_name_the_key),
		cmocka_unit_test(test_configuration_is_replaced_under_a_session),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

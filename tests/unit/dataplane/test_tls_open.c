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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_the_exchange_are_gone),
		cmocka_unit_test(test_keys_change_both_ways),
		cmocka_unit_test(test_sessions_do_not_meet),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/scram against a client of its own and against RFC 7677's example; smtp/sasl's names. */
#include "tests/unit/smtp/unit.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include "dataplane/base/codec.h"
#include "smtp/sasl.h"
#include "smtp/scram.h"

/* ---- a client ---- */

struct client {
	const char *header; /* gs2 */
	const char *bare;
	const char *password;
	struct bytes channel;
	uint8_t server_signature[32];
	uint8_t message[1024];
	struct buf out;
};

static void hmac(const uint8_t *key, size_t key_n, struct bytes data, uint8_t out[32])
{
	unsigned n = 32;

	assert_non_null(HMAC(EVP_sha256(), key, (int)key_n, data.p, data.n, out, &n));
}

static struct bytes client_first(struct client *c)
{
	buf_init(&c->out, c->message, sizeof(c->message));
	buf_str(&c->out, c->header);
	buf_str(&c->out, c->bare);
	return buf_view(&c->out);
}

static void server_values(
	struct bytes first, struct bytes *nonce, struct buf *salt, unsigned *rounds)
{
	ptrdiff_t s = bytes_find(first, ',', 0);
	ptrdiff_t i = bytes_find(first, ',', (size_t)s + 1);
	uint64_t v = 0;

	*nonce = bytes_make(first.p + 2, (size_t)s - 2);
	assert_int_equal(base64_decode(salt, bytes_make(first.p + s + 3, (size_t)(i - s - 3))), 0);
	assert_int_equal(bytes_to_u64(bytes_skip(first, (size_t)i + 3), &v), 0);
	*rounds = (unsigned)v;
}

static struct bytes client_final(struct client *c, struct bytes server_first)
{
	uint8_t salted[32], key[32], stored[32], signature[32], server_key[32];
	uint8_t auth_memory[2048], salt_memory[64], bind_memory[512];
	struct buf auth, salt, bind;
	struct bytes nonce;
	unsigned rounds;

	buf_init(&salt, salt_memory, sizeof(salt_memory));
	server_values(server_first, &nonce, &salt, &rounds);
	assert_int_equal(PKCS5_PBKDF2_HMAC(c->password, (int)strlen(c->password), salt.p,
				 (int)salt.n, (int)rounds, EVP_sha256(), 32, salted),
		1);
	hmac(salted, 32, BYTES_LIT("Client Key"), key);
	SHA256(key, 32, stored);
	buf_init(&bind, bind_memory, sizeof(bind_memory));
	buf_str(&bind, c->header);
	buf_put(&bind, c->channel);
	buf_init(&c->out, c->message, sizeof(c->message));
	buf_str(&c->out, "c=");
	base64_encode(&c->out, buf_view(&bind));
	buf_str(&c->out, ",r=");
	buf_put(&c->out, nonce);
	buf_init(&auth, auth_memory, sizeof(auth_memory));
	buf_str(&auth, c->bare);
	buf_str(&auth, ",");
	buf_put(&auth, server_first);
	buf_str(&auth, ",");
	buf_put(&auth, buf_view(&c->out));
	hmac(stored, 32, buf_view(&auth), signature);
	for (unsigned i = 0; i < 32; i++)
		key[i] ^= signature[i];
	hmac(salted, 32, BYTES_LIT("Server Key"), server_key);
	hmac(server_key, 32, buf_view(&auth), c->server_signature);
	buf_str(&c->out, ",p=");
	base64_encode(&c->out, bytes_make(key, 32));
	return buf_view(&c->out);
}

static void assert_signature(const struct client *c, const struct scram *s)
{
	uint8_t memory[64];
	struct buf got;

	assert_memory_equal(s->reply, "v=", 2);
	buf_init(&got, memory, sizeof(memory));
	assert_int_equal(base64_decode(&got, bytes_skip(scram_reply(s), 2)), 0);
	assert_bytes_equal(buf_view(&got), bytes_make(c->server_signature, 32));
}

static int exchange(struct client *c, struct scram *s, const struct scram_record *r, bool known,
	enum scram_binding binding, struct bytes channel)
{
	uint8_t copy[SCRAM_REPLY_MAX];

	int err = scram_first(s, client_first(c), binding);
	if (err < 0)
		return err;
	assert_int_equal(scram_challenge(s, r, known), 0);
	struct bytes first = scram_reply(s);
	memcpy(copy, first.p, first.n);
	return scram_final(s, client_final(c, bytes_make(copy, first.n)), channel);
}

/* ---- tests ---- */

#define HEADER_PLUS "p=tls-exporter,,"

static void test_right_and_wrong(void **state)
{
	struct scram_record r;
	struct client c = {
		.header = "n,,", .bare = "n=user,r=fyko+d2lbbFgONRv9qkxdawL", .password = "pencil"};
	struct scram s;

	(void)state;
	assert_int_equal(scram_derive(&r, BYTES_LIT("pencil")), 0);
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_UNBOUND, BYTES_NONE), 0);
	assert_bytes_equal(scram_user(&s), BYTES_LIT("user"));
	assert_signature(&c, &s);
	assert_int_equal(exchange(&c, &s, &r, false, SCRAM_UNBOUND, BYTES_NONE), -EACCES);
	c.password = "pencils";
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_UNBOUND, BYTES_NONE), -EACCES);
	c.password = "pencil";
	c.header = "y,,";
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_UNBOUND, BYTES_NONE), 0);
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_OFFERED, BYTES_NONE), -EINVAL);
	c.header = "n,a=user,";
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_OFFERED, BYTES_NONE), 0);
}

static void check_channel(const char *header, struct bytes here, struct bytes elsewhere)
{
	struct client c = {
		.header = header, .bare = "n=user,r=nonce", .password = "pencil", .channel = here};
	struct scram_record r;
	struct scram s;

	assert_int_equal(scram_derive(&r, BYTES_LIT("pencil")), 0);
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_BOUND, here), 0);
	assert_signature(&c, &s);
	/* Somebody in the middle has another channel with us. */
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_BOUND, elsewhere), -EACCES);
	assert_int_equal(
		exchange(&c, &s, &r, true, SCRAM_BOUND, bytes_first(here, here.n - 1)), -EACCES);
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_BOUND, BYTES_NONE), -EACCES);
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_OFFERED, here), -EINVAL);
	c.channel = BYTES_NONE;
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_BOUND, here), -EACCES);
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_BOUND, BYTES_NONE), -EACCES);
	c.header = "n,,";
	assert_int_equal(exchange(&c, &s, &r, true, SCRAM_BOUND, here), -EINVAL);
}

static void test_channel_binding(void **state)
{
	static const uint8_t here[64] = {1}, elsewhere[64] = {2};
	struct scram s;

	(void)state;
	check_channel(HEADER_PLUS, bytes_make(here, 32), bytes_make(elsewhere, 32));
	for (size_t n = 32; n <= 64; n += 16)
		check_channel(
			"p=tls-server-end-point,,", bytes_make(here, n), bytes_make(elsewhere, n));
	assert_int_equal(scram_first(&s, BYTES_LIT("p=tls-exporter,,n=a,r=b"), SCRAM_BOUND), 0);
	assert_int_equal(s.channel, SCRAM_CHANNEL_EXPORTER);
	assert_int_equal(
		scram_first(&s, BYTES_LIT("p=tls-server-end-point,,n=a,r=b"), SCRAM_BOUND), 0);
	assert_int_equal(s.channel, SCRAM_CHANNEL_END_POINT);
	static const char *const unknown[] = {"p=,,n=a,r=b", "p=tls-unique,,n=a,r=b",
		"p=tls-exporte,,n=a,r=b", "p=tls-exporter2,,n=a,r=b", "p=tls-exporter", "p=", "p"};
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		assert_int_equal(scram_first(&s, bytes_str(unknown[i]), SCRAM_BOUND), -EINVAL);
}

/* RFC 7677 3: the same octets come out. */
static void test_example_of_the_rfc(void **state)
{
	static const char first[] = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
	struct client c = {
		.header = "n,,", .bare = "n=user,r=rOprNGfwEbeRWgbNEkqO", .password = "pencil"};
	struct scram_record r = {.iterations = 4096};
	uint8_t salted[32], key[32];
	struct buf salt;
	struct scram s;

	(void)state;
	buf_init(&salt, r.salt, sizeof(r.salt));
	assert_int_equal(base64_decode(&salt, BYTES_LIT("W22ZaJ0SNY7soEsUEjb6gQ==")), 0);
	PKCS5_PBKDF2_HMAC("pencil", 6, r.salt, 16, 4096, EVP_sha256(), 32, salted);
	hmac(salted, 32, BYTES_LIT("Client Key"), key);
	SHA256(key, 32, r.stored_key);
	hmac(salted, 32, BYTES_LIT("Server Key"), r.server_key);
	assert_int_equal(scram_first(&s, client_first(&c), SCRAM_UNBOUND), 0);
	uint16_t before = s.text_n;
	assert_int_equal(scram_challenge(&s, &r, true), 0);
	/* The example's nonce in the place of ours. */
	s.text_n = (uint16_t)(before + sizeof(first));
	s.nonce_n = (uint16_t)strcspn(first + 2, ",");
	memcpy(s.text + before + 1, first, sizeof(first) - 1);
	struct bytes final = client_final(&c, BYTES_LIT(first));
	assert_bytes_equal(
		final, BYTES_LIT("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF"
				 "$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
	assert_int_equal(scram_final(&s, final, BYTES_NONE), 0);
	assert_bytes_equal(
		scram_reply(&s), BYTES_LIT("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
}

static void test_malformed(void **state)
{
	static const char *const firsts[] = {"", "n", "n,", "n,,", "n,,n=", "n,,n=a",
		"n,,n=a,r=", "n,,r=b,n=a", "x,,n=a,r=b", "n,n=a,r=b", "n,,n=a=,r=b", "n,,n=a=2,r=b",
		"n,,n=a=2c,r=b", "n,,n=a,r=b c", "n,,m=1,n=a,r=b", "p=tls-unique,,n=a,r=b",
		"n,a=b,n=a,r=b"};
	static const char *const finals[] = {"", "c=biws", "c=biws,r=x",
		"r=x,c=biws,p=AA==", "c=biws,r=x,p=", "c=biws,r=x,p=AA==", "c=!,r=x,p=AAAA", ",p="};
	uint8_t nonce[200];
	struct scram s;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(firsts); i++)
		assert_int_equal(scram_first(&s, bytes_str(firsts[i]), SCRAM_UNBOUND), -EINVAL);
	memset(nonce, 'x', sizeof(nonce));
	memcpy(nonce, "n,,n=a,r=", 9);
	assert_int_equal(scram_first(&s, bytes_make(nonce, 9 + 128), SCRAM_UNBOUND), 0);
	assert_int_equal(scram_first(&s, bytes_make(nonce, 9 + 129), SCRAM_UNBOUND), -EINVAL);
	for (unsigned i = 0; i < ARRAY_LEN(finals); i++) {
		struct scram_record r = {.iterations = 4096};
		assert_int_equal(scram_first(&s, BYTES_LIT("n,,n=a,r=b"), SCRAM_UNBOUND), 0);
		assert_int_equal(scram_challenge(&s, &r, true), 0);
		assert_int_equal(scram_final(&s, bytes_str(finals[i]), BYTES_NONE), -EINVAL);
	}
}

/* One name has one salt, whoever asks and whenever; another one another. */
static void test_fake_salts(void **state)
{
	static const uint8_t secret[16] = "a", other[16] = "b";
	struct scram_record a, again, b, c;

	(void)state;
	scram_fake(&a, BYTES_LIT("nobody@local.example.org"), secret);
	scram_fake(&again, BYTES_LIT("nobody@local.example.org"), secret);
	scram_fake(&b, BYTES_LIT("nobodx@local.example.org"), secret);
	scram_fake(&c, BYTES_LIT("nobody@local.example.org"), other);
	assert_memory_equal(&a, &again, sizeof(a));
	assert_memory_not_equal(a.salt, b.salt, sizeof(a.salt));
	assert_memory_not_equal(a.salt, c.salt, sizeof(a.salt));
	assert_int_equal(a.iterations, SCRAM_ITERATIONS);
}

static void test_mechanisms(void **state)
{
	(void)state;
	assert_int_equal(sasl_mechanism_find(BYTES_LIT("scram-sha-256")), SASL_SCRAM);
	assert_int_equal(sasl_mechanism_find(BYTES_LIT("SCRAM-SHA-256-PLUS")), SASL_SCRAM_PLUS);
	assert_int_equal(sasl_mechanism_find(BYTES_LIT("SCRAM-SHA-1")), SASL_NONE);
	assert_int_equal(sasl_mechanism_find(BYTES_NONE), SASL_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right_and_wrong),
		cmocka_unit_test(test_channel_binding),
		cmocka_unit_test(test_example_of_the_rfc),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_fake_salts),
		cmocka_unit_test(test_mechanisms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

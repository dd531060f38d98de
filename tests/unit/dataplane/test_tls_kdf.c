/* SPDX-License-Identifier: BSD-3-Clause
 * dataplane/tls: the key schedule says what RFC 8448 says, and for whatever it is asked the same as
 * OpenSSL's own. */
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include "dataplane/tls/tls_priv.h"
#include "tests/unit/base/unit.h"

#define ROUNDS  20000
#define OUT_MAX 300
#define IN_MAX  300

/* What a derivation is given; a NULL is not given. */
struct ask {
	int mode;
	const char *hash;
	const uint8_t *key, *salt, *label, *data, *prefix;
	size_t key_n, salt_n, label_n, data_n, prefix_n;
	size_t out_n;
};

static EVP_KDF *ours, *plain;
static uint64_t seed = 1;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed >> 33) % below);
}

static void add(OSSL_PARAM **p, const char *name, const uint8_t *octets, size_t n)
{
	if (octets)
		*(*p)++ = OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)octets, n);
}

static void params_of(const struct ask *a, OSSL_PARAM p[8])
{
	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, (int *)(uintptr_t)&a->mode);
	if (a->hash)
		*p++ = OSSL_PARAM_construct_utf8_string(
			OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)a->hash, 0);
	add(&p, OSSL_KDF_PARAM_KEY, a->key, a->key_n);
	add(&p, OSSL_KDF_PARAM_SALT, a->salt, a->salt_n);
	add(&p, OSSL_KDF_PARAM_PREFIX, a->prefix, a->prefix_n);
	add(&p, OSSL_KDF_PARAM_LABEL, a->label, a->label_n);
	add(&p, OSSL_KDF_PARAM_DATA, a->data, a->data_n);
	*p = OSSL_PARAM_construct_end();
}

/* at_once: as libssl does; else the parameters are set first. */
static bool derive(EVP_KDF *kdf, const struct ask *a, bool at_once, uint8_t out[OUT_MAX])
{
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[8];

	params_of(a, params);
	memset(out, 0, OUT_MAX);
	assert_non_null(ctx);
	bool ok = (at_once || EVP_KDF_CTX_set_params(ctx, params) == 1) &&
		  EVP_KDF_derive(ctx, out, a->out_n, at_once ? params : NULL) == 1;
	EVP_KDF_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

/* ---- RFC 8448 3 ---- */

static size_t octets(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned v;
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n;
}

/* The secret after `from`, which is hexadecimal, and of which "" is the first. */
static void assert_next(const char *from, const char *input, const char *expected)
{
	uint8_t key[64], salt[64], want[64], out[OUT_MAX];
	struct ask a = {.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
		.hash = "SHA2-256",
		.prefix = (const uint8_t *)"tls13 ",
		.prefix_n = 6,
		.label = (const uint8_t *)"derived",
		.label_n = 7};

	a.key_n = octets(input, key);
	a.key = a.key_n ? key : NULL;
	a.salt_n = octets(from, salt);
	a.salt = a.salt_n ? salt : NULL;
	a.out_n = octets(expected, want);
	assert_true(derive(ours, &a, true, out));
	assert_memory_equal(out, want, a.out_n);
}

static void assert_derived(
	const char *secret, const char *label, const char *hash, const char *expected)
{
	uint8_t key[64], data[64], want[64], out[OUT_MAX];
	struct ask a = {.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
		.hash = "SHA2-256",
		.key = key,
		.prefix = (const uint8_t *)"tls13 ",
		.prefix_n = 6,
		.label = (const uint8_t *)label,
		.label_n = strlen(label)};

	a.key_n = octets(secret, key);
	a.data_n = octets(hash, data);
	a.data = a.data_n ? data : NULL;
	a.out_n = octets(expected, want);
	assert_true(derive(ours, &a, true, out));
	assert_memory_equal(out, want, a.out_n);
}

static void test_rfc_8448(void **state)
{
	static const char early[] =
		"33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a";
	static const char hs[] = "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac";
	static const char hello[] =
		"860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8";
	static const char server[] =
		"b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38";

	(void)state;
	assert_next("", "", early);
	assert_next(early, "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d", hs);
	assert_next(hs, "", "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919");
	assert_derived(hs, "s hs traffic", hello, server);
	assert_derived(hs, "c hs traffic", hello,
		"b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21");
	assert_derived(server, "key", "", "3fce516009c21727d0f2e4e86ee403bc");
	assert_derived(server, "iv", "", "5d313eb2671276ee13000b30");
	assert_derived(server, "finished", "",
		"008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8");
}

/* ---- beside OpenSSL's own ---- */

/* Lengths that are usual, at the edges of hashes and blocks, and far beyond. */
static size_t draw_n(void)
{
	static const size_t edges[] = {0, 1, 12, 16, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128,
		129, 249, 250, 255, 256, IN_MAX};

	return draw(3) ? edges[draw(ARRAY_LEN(edges))] : draw(IN_MAX);
}

static const uint8_t *draw_octets(const uint8_t pool[IN_MAX], size_t *n_r)
{
	*n_r = draw_n();
	return draw(5) ? pool : NULL;
}

static struct ask draw_ask(uint8_t pools[4][IN_MAX])
{
	static const char *const hashes[] = {"SHA2-256", "SHA2-256", "SHA2-384", "SHA256",
		"SHA2-512", "SHA1", "SM3", "none", NULL};
	static const int modes[] = {EVP_KDF_HKDF_MODE_EXTRACT_ONLY, EVP_KDF_HKDF_MODE_EXPAND_ONLY,
		EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, 7};
	struct ask a = {.mode = modes[draw(8) ? draw(2) : draw(ARRAY_LEN(modes))],
		.hash = hashes[draw(2) ? draw(3) : draw(ARRAY_LEN(hashes))],
		.prefix = (const uint8_t *)"tls13 ",
		.prefix_n = 6};

	for (unsigned i = 0; i < 4 * IN_MAX; i++)
		pools[i / IN_MAX][i % IN_MAX] = (uint8_t)draw(256);
	a.key = draw_octets(pools[0], &a.key_n);
	a.salt = draw_octets(pools[1], &a.salt_n);
	a.label = draw_octets(pools[2], &a.label_n);
	a.data = draw_octets(pools[3], &a.data_n);
	if (draw(2) && a.label_n > 12)
		a.label_n = 12;
	a.out_n = draw(2) ? (draw(2) ? 32 : 48) : draw_n();
	return a;
}

static void test_as_openssl_does(void **state)
{
	static uint8_t pools[4][IN_MAX];
	unsigned derived = 0, refused = 0;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t a_out[OUT_MAX], b_out[OUT_MAX];
		struct ask a = draw_ask(pools);
		bool at_once = draw(4);
		bool ok = derive(plain, &a, at_once, b_out);
		if (derive(ours, &a, at_once, a_out) != ok ||
			(ok && memcmp(a_out, b_out, OUT_MAX) != 0))
			fail_msg("round %u: mode %d, %s, key %zu, salt %zu, label %zu, data %zu, "
				 "out %zu",
				i, a.mode, a.hash, a.key_n, a.salt_n, a.label_n, a.data_n, a.out_n);
		derived += ok;
		refused += !ok;
	}
	assert_true(derived > ROUNDS / 4);
	assert_true(refused > ROUNDS / 20);
}

/* A context that was used goes on as OpenSSL's would. */
static void test_context_again(void **state)
{
	static uint8_t pools[4][IN_MAX];

	(void)state;
	for (unsigned i = 0; i < ROUNDS / 10; i++) {
		EVP_KDF_CTX *a = EVP_KDF_CTX_new(ours), *b = EVP_KDF_CTX_new(plain);
		for (unsigned turn = 0; turn < 3; turn++) {
			uint8_t a_out[OUT_MAX] = {0}, b_out[OUT_MAX] = {0};
			struct ask ask = draw_ask(pools);
			OSSL_PARAM params[8];
			params_of(&ask, params);
			EVP_KDF_CTX_reset(a);
			EVP_KDF_CTX_reset(b);
			assert_int_equal(EVP_KDF_CTX_get_kdf_size(a), EVP_KDF_CTX_get_kdf_size(b));
			int ok = EVP_KDF_derive(b, b_out, ask.out_n, params);
			assert_int_equal(EVP_KDF_derive(a, a_out, ask.out_n, params), ok);
			if (ok == 1)
				assert_memory_equal(a_out, b_out, OUT_MAX);
		}
		EVP_KDF_CTX_free(a);
		EVP_KDF_CTX_free(b);
		ERR_clear_error();
	}
}

static void test_what_can_be_set(void **state)
{
	(void)state;
	assert_ptr_equal(EVP_KDF_settable_ctx_params(ours), EVP_KDF_settable_ctx_params(plain));
	assert_ptr_equal(EVP_KDF_gettable_ctx_params(ours), EVP_KDF_gettable_ctx_params(plain));
}

/* Nobody else's algorithms change. */
static void test_only_who_asks_gets_it(void **state)
{
	EVP_KDF *any = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", tls_kdf_query());

	(void)state;
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(ours)), "bypost");
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(any)), "default");
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(hkdf)), "default");
	EVP_KDF_free(any);
	EVP_KDF_free(hkdf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_8448),
		cmocka_unit_test(test_as_openssl_does),
		cmocka_unit_test(test_context_again),
		cmocka_unit_test(test_what_can_be_set),
		cmocka_unit_test(test_only_who_asks_gets_it),
	};

	if (!tls_kdf_query())
		return 1;
	ours = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, tls_kdf_query());
	plain = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, "provider=default");
	if (!ours || !plain)
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_KDF_free(ours);
	EVP_KDF_free(plain);
	return failed;
}

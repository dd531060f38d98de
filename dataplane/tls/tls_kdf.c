/* SPDX-License-Identifier: BSD-3-Clause
 * The key schedule of TLS 1.3 (RFC 8446 7.1) as a provider of OpenSSL's: HKDF (RFC 5869) and HMAC
 * (RFC 2104) upon OpenSSL's hashes.  A handshake has 40 of these.  OpenSSL's own copies each
 * parameter, looks the hash up by its name and makes contexts for HMAC, every time; here the hashes
 * are held, and a derivation makes one context.  What is asked for otherwise than libssl does is
 * left to OpenSSL's.  Any thread: nothing is written after main has loaded it. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include "dataplane/base/check.h"
#include "dataplane/tls/tls_priv.h"

#define PROVIDER  "bypost"
#define QUERY     "?provider=" PROVIDER
#define BLOCK_MAX 128 /* octets of SHA-384's (FIPS 180-4) */
#define HASH_MAX  48
#define LABEL_MAX 255 /* RFC 8446 7.1: HkdfLabel.label, with its prefix */
/* HkdfLabel, and the number of the block behind it (RFC 5869 2.3). */
#define INFO_MAX (2 + 1 + LABEL_MAX + 1 + HASH_MAX + 1)

struct hash {
	const char *name; /* the first one of OpenSSL's, which libssl gives */
	size_t block, size;
	EVP_MD *md;
	uint8_t of_nothing[HASH_MAX]; /* the hash of no octets */
};

/* Those of the ciphers of 1.3. */
static struct hash hashes[] = {
	{.name = "SHA2-256", .block = 64,  .size = 32},
	{.name = "SHA2-384", .block = 128, .size = 48},
};
static EVP_KDF *plain;        /* OpenSSL's */
static OSSL_PROVIDER *handle; /* never let go: derivations may be under way */

struct kdf {
	EVP_KDF_CTX *plain; /* OpenSSL's does it from now on; NULL: not yet */
};

/* What libssl gives all at once. */
struct ask {
	const struct hash *hash;
	int mode;
	struct bytes key, salt, prefix, label, data;
};

/* ---- deriving ---- */

static bool hash_of(
	const struct hash *h, EVP_MD_CTX *ctx, struct bytes a, struct bytes b, uint8_t *out)
{
	return EVP_DigestInit_ex2(ctx, h->md, NULL) == 1 && EVP_DigestUpdate(ctx, a.p, a.n) == 1 &&
	       EVP_DigestUpdate(ctx, b.p, b.n) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

/* RFC 2104 2; key.n <= h->block. */
static bool hmac(
	const struct hash *h, EVP_MD_CTX *ctx, struct bytes key, struct bytes data, uint8_t *out)
{
	enum { INNER = 0x36, OUTER = 0x5c };
	uint8_t pad[BLOCK_MAX], inner[HASH_MAX];

	memset(pad, INNER, h->block);
	for (size_t i = 0; i < key.n; i++)
		pad[i] ^= key.p[i];
	bool ok = hash_of(h, ctx, bytes_make(pad, h->block), data, inner);
	for (size_t i = 0; i < h->block; i++)
		pad[i] ^= INNER ^ OUTER;
	ok = ok && hash_of(h, ctx, bytes_make(pad, h->block), bytes_make(inner, h->size), out);
	OPENSSL_cleanse(pad, h->block);
	OPENSSL_cleanse(inner, h->size);
	return ok;
}

static size_t put(uint8_t *out, struct bytes b)
{
	if (b.n)
		memcpy(out, b.p, b.n);
	return b.n;
}

/* HKDF-Expand-Label of a block at most: n <= a->hash->size. */
static bool expand(const struct ask *a, EVP_MD_CTX *ctx, struct bytes key, struct bytes data,
	uint8_t *out, size_t n)
{
	uint8_t info[INFO_MAX], block[HASH_MAX];
	size_t at = 0;

	info[at++] = 0; /* n, of two octets */
	info[at++] = (uint8_t)n;
	info[at++] = (uint8_t)(a->prefix.n + a->label.n);
	at += put(info + at, a->prefix);
	at += put(info + at, a->label);
	info[at++] = (uint8_t)data.n;
	at += put(info + at, data);
	info[at++] = 1; /* the first block */
	bool ok = hmac(a->hash, ctx, key, bytes_make(info, at), block);
	if (ok)
		memcpy(out, block, n);
	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

/* From one secret of the schedule to the next: HKDF-Extract(Derive-Secret(salt, label, ""), key).
 */
static bool extract(const struct ask *a, EVP_MD_CTX *ctx, uint8_t *out)
{
	static const uint8_t zeros[HASH_MAX];
	const struct hash *h = a->hash;
	struct bytes key = a->key.n ? a->key : bytes_make(zeros, h->size);
	uint8_t derived[HASH_MAX];

	if (!a->salt.n)
		return hmac(h, ctx, BYTES_NONE, key, out);
	bool ok = expand(a, ctx, a->salt, bytes_make(h->of_nothing, h->size), derived, h->size) &&
		  hmac(h, ctx, bytes_make(derived, h->size), key, out);
	OPENSSL_cleanse(derived, sizeof(derived));
	return ok;
}

/* ---- what is asked for ---- */

static const struct hash *hash_named(const OSSL_PARAM *p)
{
	for (unsigned i = 0; p->data_type == OSSL_PARAM_UTF8_STRING && i < ARRAY_LEN(hashes); i++) {
		if (strcmp(p->data, hashes[i].name) == 0)
			return &hashes[i];
	}
	return NULL;
}

static struct bytes *place_of(struct ask *a, const char *key)
{
	const struct {
		const char *key;
		struct bytes *place;
	} places[] = {
		{OSSL_KDF_PARAM_KEY,    &a->key   },
		{OSSL_KDF_PARAM_PREFIX, &a->prefix},
		{OSSL_KDF_PARAM_LABEL,  &a->label },
		{OSSL_KDF_PARAM_DATA,   &a->data  },
		{OSSL_KDF_PARAM_SALT,   &a->salt  },
	};

	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		if (key[0] == places[i].key[0] && strcmp(key, places[i].key) == 0)
			return places[i].place;
	}
	return NULL;
}

/* False: it means something else than libssl means. */
static bool take(struct ask *a, const OSSL_PARAM *p)
{
	struct bytes *place = place_of(a, p->key);

	if (place) {
		bool first = place->n == 0;
		*place = bytes_make(p->data, p->data_size);
		return first && p->data_type == OSSL_PARAM_OCTET_STRING && p->data && p->data_size;
	}
	if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
		return p->data_type == OSSL_PARAM_INTEGER && OSSL_PARAM_get_int(p, &a->mode) == 1;
	if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0 && !a->hash)
		return (a->hash = hash_named(p));
	return false;
}

static bool take_all(struct ask *a, const OSSL_PARAM *params, size_t n)
{
	for (const OSSL_PARAM *p = params; p && p->key; p++) {
		if (!take(a, p))
			return false;
	}
	if (!a->hash || a->prefix.n > LABEL_MAX || a->label.n > LABEL_MAX - a->prefix.n)
		return false;
	if (a->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return n == a->hash->size && a->salt.n <= a->hash->block;
	return a->mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY && n && n <= a->hash->size && a->key.n &&
	       a->key.n <= a->hash->block && a->data.n <= a->hash->size;
}

static bool answer(const struct ask *a, uint8_t *out, size_t n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && (a->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY
					 ? extract(a, ctx, out)
					 : expand(a, ctx, a->key, a->data, out, n));

	EVP_MD_CTX_free(ctx);
	return ok;
}

/* ---- as OpenSSL calls it ---- */

static void *kdf_new(void *provider)
{
	(void)provider;
	return OPENSSL_zalloc(sizeof(struct kdf));
}

static void kdf_reset(void *kdf_)
{
	struct kdf *kdf = kdf_;

	EVP_KDF_CTX_free(kdf->plain);
	kdf->plain = NULL;
}

static void kdf_free(void *kdf)
{
	if (kdf)
		kdf_reset(kdf);
	OPENSSL_free(kdf);
}

static bool is_plain(struct kdf *kdf)
{
	if (!kdf->plain)
		kdf->plain = EVP_KDF_CTX_new(plain);
	return kdf->plain;
}

static int kdf_derive(void *kdf_, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct kdf *kdf = kdf_;
	struct ask a = {.mode = -1};

	if (!kdf->plain && take_all(&a, params, n))
		return answer(&a, out, n);
	return is_plain(kdf) && EVP_KDF_derive(kdf->plain, out, n, params) == 1;
}

static int kdf_set(void *kdf_, const OSSL_PARAM params[])
{
	struct kdf *kdf = kdf_;

	return !params || (is_plain(kdf) && EVP_KDF_CTX_set_params(kdf->plain, params) == 1);
}

static int kdf_get(void *kdf_, OSSL_PARAM params[])
{
	struct kdf *kdf = kdf_;

	return is_plain(kdf) && EVP_KDF_CTX_get_params(kdf->plain, params) == 1;
}

static const OSSL_PARAM *kdf_settable(void *kdf, void *provider)
{
	(void)kdf;
	(void)provider;
	return EVP_KDF_settable_ctx_params(plain);
}

static const OSSL_PARAM *kdf_gettable(void *kdf, void *provider)
{
	(void)kdf;
	(void)provider;
	return EVP_KDF_gettable_ctx_params(plain);
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	static const OSSL_DISPATCH functions[] = {
		{OSSL_FUNC_KDF_NEWCTX,              (void (*)(void))kdf_new     },
		{OSSL_FUNC_KDF_FREECTX,             (void (*)(void))kdf_free    },
		{OSSL_FUNC_KDF_RESET,               (void (*)(void))kdf_reset   },
		{OSSL_FUNC_KDF_DERIVE,              (void (*)(void))kdf_derive  },
		{OSSL_FUNC_KDF_SET_CTX_PARAMS,      (void (*)(void))kdf_set     },
		{OSSL_FUNC_KDF_GET_CTX_PARAMS,      (void (*)(void))kdf_get     },
		{OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))kdf_settable},
		{OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, (void (*)(void))kdf_gettable},
		{0,				 NULL			},
	};
	static const OSSL_ALGORITHM kdfs[] = {
		{OSSL_KDF_NAME_TLS1_3_KDF, "provider=" PROVIDER, functions, NULL},
		{NULL,                     NULL,                 NULL,      NULL},
	};

	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static int init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
	void **provider)
{
	static const OSSL_DISPATCH functions[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
		{0,				  NULL                 },
	};

	(void)core;
	(void)in;
	*out = functions;
	*provider = hashes; /* of no meaning */
	return 1;
}

static bool use_hash(struct hash *h)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	h->md = EVP_MD_fetch(NULL, h->name, NULL);
	bool ok = h->md && ctx && hash_of(h, ctx, BYTES_NONE, BYTES_NONE, h->of_nothing);
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool load(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(hashes); i++) {
		if (!use_hash(&hashes[i]))
			return false;
	}
	/* Fetched first: it is not ours, and OpenSSL's default provider is there as ever. */
	plain = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	if (!plain || OSSL_PROVIDER_add_builtin(NULL, PROVIDER, init) != 1)
		return false;
	handle = OSSL_PROVIDER_try_load(NULL, PROVIDER, 1);
	if (!handle)
		return false;
	EVP_KDF *ours = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, QUERY);
	EVP_KDF_free(ours);
	return ours;
}

const char *tls_kdf_query(void)
{
	static bool tried, loaded;

	if (!tried)
		loaded = load();
	tried = true;
	ERR_clear_error();
	return loaded ? QUERY : NULL;
}

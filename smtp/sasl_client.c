/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/sasl_client.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include "dataplane/base/codec.h"

#define BLOCK 64 /* octets of a block of SHA-256 */
#define HASH  32

static const struct {
	const char *name;
	enum sasl_client_mechanism mechanism; /* best first */
} mechanisms[] = {
	{"SCRAM-SHA-256-PLUS", SASL_CLIENT_SCRAM_PLUS   },
	{"SCRAM-SHA-256",      SASL_CLIENT_SCRAM_SHA_256},
	{"PLAIN",              SASL_CLIENT_PLAIN        },
	{"LOGIN",              SASL_CLIENT_LOGIN        },
};

enum step { STEP_BEGIN, STEP_FIRST, STEP_WORK, STEP_FINAL, STEP_PROVEN };

unsigned sasl_client_offered(struct bytes words)
{
	unsigned offered = 0;

	while (words.n) {
		ptrdiff_t space = bytes_find(words, ' ', 0);
		struct bytes word = space < 0 ? words : bytes_first(words, (size_t)space);
		for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
			if (bytes_ieq(word, bytes_str(mechanisms[i].name)))
				offered |= mechanisms[i].mechanism;
		}
		words = bytes_skip(words, word.n + 1);
	}
	return offered;
}

bool sasl_client_begin(struct sasl_client *s, const struct sasl_login *login,
	struct sasl_salted *salted, unsigned offered, bool secured,
	const struct sasl_channel *channel)
{
	bool can_bind = channel && channel->n;

	*s = (struct sasl_client){.login = login, .salted = salted};
	/* RFC 5802 6: the server is told, and it knows whether somebody took it out. */
	s->not_offered = can_bind && !(offered & SASL_CLIENT_SCRAM_PLUS);
	if (can_bind)
		s->channel = *channel;
	else
		offered &= ~(unsigned)SASL_CLIENT_SCRAM_PLUS;
	if (!secured)
		offered &= SASL_CLIENT_SCRAM_SHA_256;
	for (size_t i = 0; i < ARRAY_LEN(mechanisms) && !s->mechanism; i++)
		s->mechanism = (uint8_t)(offered & mechanisms[i].mechanism);
	return s->mechanism != 0;
}

const char *sasl_client_name(const struct sasl_client *s)
{
	for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
		if (s->mechanism == mechanisms[i].mechanism)
			return mechanisms[i].name;
	}
	return "";
}

/* ---- hashes ---- */

/* HMAC-SHA-256 (RFC 2104) with its two keyed states kept, so that a run of them costs two blocks
 * each.  False: OpenSSL has failed. */
struct hmac {
	EVP_MD_CTX *inner, *outer, *run;
};

static bool keyed(EVP_MD_CTX *ctx, const uint8_t key[BLOCK], uint8_t pad)
{
	uint8_t block[BLOCK];

	for (unsigned i = 0; i < BLOCK; i++)
		block[i] = key[i] ^ pad;
	bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
		  EVP_DigestUpdate(ctx, block, BLOCK) == 1;
	OPENSSL_cleanse(block, BLOCK);
	return ok;
}

static bool hmac_begin(struct hmac *h, struct bytes key)
{
	uint8_t block[BLOCK] = {0};
	unsigned n = HASH;
	bool ok = true;

	if (key.n > BLOCK)
		ok = EVP_Digest(key.p, key.n, block, &n, EVP_sha256(), NULL) == 1;
	else if (key.n)
		memcpy(block, key.p, key.n);
	*h = (struct hmac){EVP_MD_CTX_new(), EVP_MD_CTX_new(), EVP_MD_CTX_new()};
	ok = ok && h->run && keyed(h->inner, block, 0x36) && keyed(h->outer, block, 0x5c);
	OPENSSL_cleanse(block, BLOCK);
	return ok;
}

static void hmac_end(struct hmac *h)
{
	EVP_MD_CTX_free(h->inner);
	EVP_MD_CTX_free(h->outer);
	EVP_MD_CTX_free(h->run);
}

static bool hmac_of(struct hmac *h, struct bytes data, struct bytes more, uint8_t out[HASH])
{
	return EVP_MD_CTX_copy_ex(h->run, h->inner) == 1 &&
	       EVP_DigestUpdate(h->run, data.p, data.n) == 1 &&
	       EVP_DigestUpdate(h->run, more.p, more.n) == 1 &&
	       EVP_DigestFinal_ex(h->run, out, NULL) == 1 &&
	       EVP_MD_CTX_copy_ex(h->run, h->outer) == 1 &&
	       EVP_DigestUpdate(h->run, out, HASH) == 1 &&
	       EVP_DigestFinal_ex(h->run, out, NULL) == 1;
}

static bool hmac_once(struct bytes key, struct bytes data, uint8_t out[HASH])
{
	struct hmac h;
	bool ok = hmac_begin(&h, key) && hmac_of(&h, data, BYTES_NONE, out);

	hmac_end(&h);
	return ok;
}

/* ---- SCRAM ---- */

/* RFC 5802 5.1: "=" and "," of a name. */
static void put_name(struct buf *out, const char *name)
{
	for (; *name; name++) {
		if (*name == '=' || *name == ',')
			buf_str(out, *name == '=' ? "=3D" : "=2C");
		else
			buf_byte(out, (uint8_t)*name);
	}
}

static bool is_scram(const struct sasl_client *s)
{
	return s->mechanism & (SASL_CLIENT_SCRAM_SHA_256 | SASL_CLIENT_SCRAM_PLUS);
}

/* RFC 5802 7: how it is bound; nobody else is spoken for. */
static void put_gs2(const struct sasl_client *s, struct buf *out)
{
	if (s->mechanism == SASL_CLIENT_SCRAM_PLUS)
		buf_printf(out, "p=%s,,", scram_channel_name(s->channel.kind));
	else
		buf_str(out, s->not_offered ? "y,," : "n,,");
}

/* ... and, behind "c=", to what. */
static void put_binding(const struct sasl_client *s, struct buf *out)
{
	uint8_t memory[64 + SCRAM_CHANNEL_MAX];
	struct buf text;

	buf_init(&text, memory, sizeof(memory));
	put_gs2(s, &text);
	if (s->mechanism == SASL_CLIENT_SCRAM_PLUS)
		buf_put(&text, bytes_make(s->channel.octets, s->channel.n));
	base64_encode(out, buf_view(&text));
}

static bool first_message(struct sasl_client *s, struct buf *out)
{
	uint8_t random[18];
	struct buf first;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return false;
	buf_init(&first, s->first, sizeof(s->first) - 3);
	buf_str(&first, "n=");
	put_name(&first, s->login->user);
	buf_str(&first, ",r=");
	size_t before = first.n;
	base64_encode(&first, bytes_make(random, sizeof(random)));
	s->nonce_n = (uint16_t)(first.n - before);
	s->first_n = (uint16_t)first.n;
	put_gs2(s, out);
	buf_put(out, buf_view(&first));
	s->step = STEP_FIRST;
	return !first.overflow && !out->overflow;
}

/* "k=value" at *in up to the comma, which is taken too. */
static bool take_field(struct bytes *in, char key, struct bytes *value_r)
{
	if (in->n < 2 || in->p[0] != (uint8_t)key || in->p[1] != '=')
		return false;
	*in = bytes_skip(*in, 2);
	ptrdiff_t comma = bytes_find(*in, ',', 0);
	*value_r = comma < 0 ? *in : bytes_first(*in, (size_t)comma);
	*in = bytes_skip(*in, value_r->n + 1);
	return true;
}

static bool take_salt(struct sasl_salted *made, struct bytes text)
{
	struct buf salt;

	buf_init(&salt, made->salt, sizeof(made->salt));
	if (base64_decode(&salt, text) < 0 || salt.overflow || salt.n == 0)
		return false;
	made->salt_n = (uint8_t)salt.n;
	return true;
}

static struct bytes nonce_of(const struct sasl_client *s)
{
	return bytes_make(s->first + s->first_n - s->nonce_n, s->nonce_n);
}

/* RFC 5802 5: the server's first message.  Its nonce begins with ours. */
static bool take_server_first(struct sasl_client *s, struct bytes message, uint64_t *iterations_r)
{
	struct bytes in = message, nonce, salt, turns, ours = nonce_of(s);

	if (message.n > sizeof(s->server) || !take_field(&in, 'r', &nonce) ||
		!take_field(&in, 's', &salt) || !take_field(&in, 'i', &turns))
		return false;
	if (nonce.n <= ours.n || nonce.n > SASL_NONCE_MAX ||
		!bytes_eq(bytes_first(nonce, ours.n), ours))
		return false;
	if (bytes_to_u64(turns, iterations_r) < 0 || *iterations_r < SASL_ITERATIONS_MIN ||
		*iterations_r > SASL_ITERATIONS_MAX)
		return false;
	memcpy(s->server, message.p, message.n);
	s->server_n = (uint16_t)message.n;
	return take_salt(&s->making, salt);
}

static bool is_known(const struct sasl_client *s)
{
	const struct sasl_salted *have = s->salted, *want = &s->making;

	return have->iterations == want->iterations && have->salt_n == want->salt_n &&
	       memcmp(have->salt, want->salt, want->salt_n) == 0;
}

/* AuthMessage (RFC 5802 3) is in three pieces here; `without` is our last message so far. */
static bool auth_hmac(
	const struct sasl_client *s, struct bytes key, struct bytes without, uint8_t out[HASH])
{
	uint8_t text[3 * SASL_MESSAGE_MAX + 2];
	struct buf all;

	buf_init(&all, text, sizeof(text));
	buf_put(&all, bytes_make(s->first, s->first_n));
	buf_byte(&all, ',');
	buf_put(&all, bytes_make(s->server, s->server_n));
	buf_byte(&all, ',');
	buf_put(&all, without);
	return !all.overflow && hmac_once(key, buf_view(&all), out);
}

static bool final_message(struct sasl_client *s, struct buf *out)
{
	uint8_t client_key[HASH], stored[HASH], proof[HASH], server_key[HASH];
	struct bytes salted = bytes_make(s->salted->key, HASH), nonce, in;
	unsigned n = HASH;

	in = bytes_make(s->server, s->server_n);
	if (!take_field(&in, 'r', &nonce))
		return false;
	buf_str(out, "c=");
	put_binding(s, out);
	buf_str(out, ",r=");
	buf_put(out, nonce);
	bool ok = hmac_once(salted, BYTES_LIT("Client Key"), client_key) &&
		  EVP_Digest(client_key, HASH, stored, &n, EVP_sha256(), NULL) == 1 &&
		  auth_hmac(s, bytes_make(stored, HASH), buf_view(out), proof) &&
		  hmac_once(salted, BYTES_LIT("Server Key"), server_key) &&
		  auth_hmac(s, bytes_make(server_key, HASH), buf_view(out), s->server_signature);
	for (unsigned i = 0; i < HASH; i++)
		proof[i] ^= client_key[i];
	buf_str(out, ",p=");
	base64_encode(out, bytes_make(proof, HASH));
	OPENSSL_cleanse(client_key, HASH);
	OPENSSL_cleanse(server_key, HASH);
	s->step = STEP_FINAL;
	return ok && !out->overflow;
}

static enum sasl_client_next sent(bool ok)
{
	return ok ? SASL_CLIENT_SEND : SASL_CLIENT_BAD;
}

static enum sasl_client_next on_server_first(
	struct sasl_client *s, struct bytes challenge, struct buf *out)
{
	uint64_t iterations;

	if (!take_server_first(s, challenge, &iterations))
		return SASL_CLIENT_BAD;
	s->making.iterations = (uint32_t)iterations;
	if (is_known(s))
		return sent(final_message(s, out));
	s->left = s->making.iterations;
	s->step = STEP_WORK;
	return SASL_CLIENT_WORK;
}

static enum sasl_client_next on_server_final(struct sasl_client *s, struct bytes challenge)
{
	uint8_t memory[HASH + 1];
	struct buf signature;
	struct bytes value;

	buf_init(&signature, memory, sizeof(memory));
	if (!take_field(&challenge, 'v', &value) || base64_decode(&signature, value) < 0 ||
		signature.n != HASH || CRYPTO_memcmp(memory, s->server_signature, HASH) != 0)
		return SASL_CLIENT_BAD;
	s->step = STEP_PROVEN;
	return SASL_CLIENT_SEND; /* nothing: RFC 4954 4, an empty response */
}

enum sasl_client_next sasl_client_work(struct sasl_client *s, struct buf *out)
{
	static const uint8_t one[] = {0, 0, 0, 1};
	struct bytes salt = bytes_make(s->making.salt, s->making.salt_n);
	uint8_t *key = s->making.key;
	struct hmac h;

	/* RFC 5802 2.2, Hi(): PBKDF2 of one block. */
	bool ok = hmac_begin(&h, bytes_str(s->login->password));
	for (unsigned i = 0; i < SASL_SLICE && s->left && ok; i++, s->left--) {
		bool begun = s->left < s->making.iterations;
		ok = begun ? hmac_of(&h, bytes_make(s->u, HASH), BYTES_NONE, s->u)
			   : hmac_of(&h, salt, bytes_make(one, sizeof(one)), s->u);
		for (unsigned k = 0; k < HASH; k++)
			key[k] = begun ? key[k] ^ s->u[k] : s->u[k];
	}
	hmac_end(&h);
	if (!ok || s->left)
		return ok ? SASL_CLIENT_WORK : SASL_CLIENT_BAD;
	s->making.exporter_failed = s->salted->exporter_failed;
	*s->salted = s->making;
	return sent(final_message(s, out));
}

/* ---- all mechanisms ---- */

static void put_plain(const struct sasl_client *s, struct buf *out)
{
	buf_byte(out, 0);
	buf_str(out, s->login->user);
	buf_byte(out, 0);
	buf_str(out, s->login->password);
}

bool sasl_client_initial(struct sasl_client *s, struct buf *out)
{
	if (is_scram(s))
		return first_message(s, out);
	if (s->mechanism == SASL_CLIENT_LOGIN)
		return false;
	put_plain(s, out);
	s->step = STEP_PROVEN;
	return true;
}

/* What the server says of it is not looked at: "Username:", then "Password:", whatever the words.
 */
static enum sasl_client_next on_login(struct sasl_client *s, struct buf *out)
{
	if (s->step > STEP_FIRST)
		return SASL_CLIENT_BAD;
	buf_str(out, s->step == STEP_BEGIN ? s->login->user : s->login->password);
	s->step = s->step == STEP_BEGIN ? STEP_FIRST : STEP_PROVEN;
	return SASL_CLIENT_SEND;
}

enum sasl_client_next sasl_client_challenge(
	struct sasl_client *s, struct bytes challenge, struct buf *out)
{
	if (s->mechanism == SASL_CLIENT_LOGIN)
		return on_login(s, out);
	if (is_scram(s) && s->step == STEP_FIRST)
		return on_server_first(s, challenge, out);
	if (is_scram(s) && s->step == STEP_FINAL)
		return on_server_final(s, challenge);
	return SASL_CLIENT_BAD;
}

bool sasl_client_proven(const struct sasl_client *s)
{
	return s->step == STEP_PROVEN;
}

void sasl_client_end(struct sasl_client *s)
{
	OPENSSL_cleanse(s, sizeof(*s));
}

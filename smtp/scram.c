/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/scram.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include "dataplane/base/codec.h"
#include "dataplane/base/siphash.h"

#define SERVER_NONCE 18 /* octets; 24 characters of base64 */

static const char *const channel_names[SCRAM_CHANNELS] = {
	[SCRAM_CHANNEL_NONE] = "",
	[SCRAM_CHANNEL_EXPORTER] = "tls-exporter",
	[SCRAM_CHANNEL_END_POINT] = "tls-server-end-point",
};

const char *scram_channel_name(enum scram_channel channel)
{
	return channel_names[channel];
}

static bool hmac(const void *key, size_t key_n, struct bytes data, uint8_t out[SCRAM_KEY])
{
	unsigned n = SCRAM_KEY;

	return HMAC(EVP_sha256(), key, (int)key_n, data.p, data.n, out, &n) != NULL;
}

/* ---- records ---- */

int scram_derive(struct scram_record *r, struct bytes password)
{
	uint8_t salted[SCRAM_KEY], client_key[SCRAM_KEY];

	*r = (struct scram_record){.iterations = SCRAM_ITERATIONS};
	bool ok = RAND_bytes(r->salt, SCRAM_SALT) == 1 &&
		  PKCS5_PBKDF2_HMAC((const char *)password.p, (int)password.n, r->salt, SCRAM_SALT,
			  SCRAM_ITERATIONS, EVP_sha256(), SCRAM_KEY, salted) == 1 &&
		  hmac(salted, SCRAM_KEY, BYTES_LIT("Client Key"), client_key) &&
		  SHA256(client_key, SCRAM_KEY, r->stored_key) &&
		  hmac(salted, SCRAM_KEY, BYTES_LIT("Server Key"), r->server_key);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client_key, sizeof(client_key));
	return ok ? 0 : -EIO;
}

void scram_fake(struct scram_record *r, struct bytes user, const uint8_t secret[16])
{
	struct siphash_key key;
	uint64_t half;

	*r = (struct scram_record){.iterations = SCRAM_ITERATIONS};
	memcpy(&key, secret, sizeof(key));
	half = siphash24(&key, user.p, user.n);
	memcpy(r->salt, &half, sizeof(half));
	key.k0 ^= half; /* a hash of 16 octets out of one of 8 */
	half = siphash24(&key, user.p, user.n);
	memcpy(r->salt + sizeof(half), &half, sizeof(half));
}

/* ---- messages ---- */

/* "x=value" before the next comma or the end; false: there is no such attribute. */
static bool attribute(struct bytes *in, char name, struct bytes *value_r)
{
	ptrdiff_t comma = bytes_find(*in, ',', 0);
	struct bytes word = comma < 0 ? *in : bytes_first(*in, (size_t)comma);

	if (word.n < 2 || word.p[0] != (uint8_t)name || word.p[1] != '=')
		return false;
	*value_r = bytes_skip(word, 2);
	*in = bytes_skip(*in, word.n + 1);
	return true;
}

/* saslname: "=2C" and "=3D" for comma and equals sign. */
static int name_decode(struct bytes in, char out[ADDRESS_MAX], uint16_t *n_r)
{
	size_t n = 0;

	while (in.n) {
		uint8_t c = in.p[0];
		size_t used = 1;
		if (c == '=') {
			struct bytes code = bytes_first(in, 3);
			bool comma = bytes_eq(code, BYTES_LIT("=2C"));
			if (!comma && !bytes_eq(code, BYTES_LIT("=3D")))
				return -EINVAL;
			c = comma ? ',' : '=';
			used = 3;
		}
		if (c == 0 || n == ADDRESS_MAX)
			return -EINVAL;
		out[n++] = (char)c;
		in = bytes_skip(in, used);
	}
	*n_r = (uint16_t)n;
	return n ? 0 : -EINVAL;
}

/* "p=NAME" before the comma; SCRAM_CHANNEL_NONE: no p=, or no name that is known. */
static enum scram_channel channel_find(struct bytes in)
{
	ptrdiff_t comma = bytes_find(in, ',', 0);

	if (comma < 2 || !bytes_istarts(in, BYTES_LIT("p=")))
		return SCRAM_CHANNEL_NONE;
	struct bytes name = bytes_skip(bytes_first(in, (size_t)comma), 2);
	for (unsigned i = SCRAM_CHANNEL_NONE + 1; i < SCRAM_CHANNELS; i++) {
		if (bytes_ieq(name, bytes_str(channel_names[i])))
			return (enum scram_channel)i;
	}
	return SCRAM_CHANNEL_NONE;
}

/* gs2-header: how the client binds, and whom it wants to be.  *rest_r: what follows. */
static int gs2_header(struct scram *s, struct bytes message, enum scram_binding binding,
	struct bytes *authorize_r, struct bytes *rest_r)
{
	struct bytes in = message;
	size_t n = 2;

	s->channel = (uint8_t)channel_find(in);
	if (s->channel)
		n = strlen("p=,") + strlen(scram_channel_name(s->channel));
	else if (!bytes_istarts(in, BYTES_LIT("n,")) && !bytes_istarts(in, BYTES_LIT("y,")))
		return -EINVAL;
	bool thinks_not_offered = in.p[0] == 'y' || in.p[0] == 'Y';
	if ((s->channel != SCRAM_CHANNEL_NONE) != (binding == SCRAM_BOUND) ||
		(thinks_not_offered && binding != SCRAM_UNBOUND))
		return -EINVAL;
	in = bytes_skip(in, n);
	*authorize_r = BYTES_NONE;
	if (in.n && in.p[0] == ',')
		in = bytes_skip(in, 1);
	else if (!attribute(&in, 'a', authorize_r))
		return -EINVAL;
	*rest_r = in;
	s->gs2_n = (uint16_t)(message.n - in.n);
	return 0;
}

static bool nonce_valid(struct bytes nonce)
{
	for (size_t i = 0; i < nonce.n; i++) {
		if (nonce.p[i] <= ' ' || nonce.p[i] > '~' || nonce.p[i] == ',')
			return false;
	}
	return nonce.n > 0 && nonce.n <= SCRAM_NONCE_MAX;
}

static bool is_same_name(struct bytes authorize, const struct scram *s)
{
	char name[ADDRESS_MAX];
	uint16_t n;

	return authorize.n == 0 || (name_decode(authorize, name, &n) == 0 &&
					   bytes_ieq(bytes_make(name, n), scram_user(s)));
}

int scram_first(struct scram *s, struct bytes message, enum scram_binding binding)
{
	struct bytes authorize, bare, name, nonce, rest;

	*s = (struct scram){0};
	if (message.n > SCRAM_FIRST_MAX || gs2_header(s, message, binding, &authorize, &bare) < 0)
		return -EINVAL;
	rest = bare;
	/* "m=" in the name's place wants extensions of which there are none. */
	if (!attribute(&rest, 'n', &name) || !attribute(&rest, 'r', &nonce) ||
		!nonce_valid(nonce) || name_decode(name, s->user, &s->user_n) < 0 ||
		!is_same_name(authorize, s))
		return -EINVAL;
	memcpy(s->text, message.p, message.n);
	s->bare_n = (uint16_t)bare.n;
	s->text_n = (uint16_t)message.n;
	s->nonce_n = (uint16_t)nonce.n;
	/* Where the client's nonce is: until the challenge repeats it. */
	s->server_at = (uint16_t)(nonce.p - message.p);
	return 0;
}

static void put_base64(struct buf *out, const void *p, size_t n)
{
	base64_encode(out, bytes_make(p, n));
}

int scram_challenge(struct scram *s, const struct scram_record *r, bool known)
{
	struct bytes client = bytes_make(s->text + s->server_at, s->nonce_n);
	uint8_t nonce[SERVER_NONCE];
	struct buf text, reply;

	if (RAND_bytes(nonce, sizeof(nonce)) != 1)
		return -EIO;
	buf_init(&reply, s->reply, sizeof(s->reply));
	buf_str(&reply, "r=");
	buf_put(&reply, client);
	put_base64(&reply, nonce, sizeof(nonce));
	s->nonce_n = (uint16_t)(reply.n - 2);
	buf_str(&reply, ",s=");
	put_base64(&reply, r->salt, sizeof(r->salt));
	buf_printf(&reply, ",i=%u", r->iterations);
	buf_init(&text, s->text, sizeof(s->text));
	text.n = s->text_n;
	buf_str(&text, ",");
	s->server_at = (uint16_t)text.n;
	buf_put(&text, buf_view(&reply));
	BUG_ON(reply.overflow || text.overflow); /* SCRAM_NONCE_MAX, SCRAM_FIRST_MAX */
	s->text_n = (uint16_t)text.n;
	s->reply_n = (uint16_t)reply.n;
	s->record = *r;
	s->known = known;
	return 0;
}

/* c=: the header once more, and the channel. */
static bool binding_is(const struct scram *s, struct bytes base64, struct bytes channel)
{
	uint8_t memory[SCRAM_FIRST_MAX + SCRAM_CHANNEL_MAX];
	struct bytes header = bytes_make(s->text, s->gs2_n);
	struct buf got;

	buf_init(&got, memory, sizeof(memory));
	if (base64_decode(&got, base64) < 0 || got.overflow || got.n < header.n)
		return false;
	struct bytes data = bytes_skip(buf_view(&got), header.n);
	if (!bytes_eq(bytes_first(buf_view(&got), header.n), header))
		return false;
	if (s->channel == SCRAM_CHANNEL_NONE)
		return data.n == 0;
	return channel.n && bytes_eq(data, channel);
}

/* Does the proof fit the record?  On success the server's own is in signature. */
static bool proof_is_right(struct scram *s, struct bytes without_proof,
	const uint8_t proof[SCRAM_KEY], uint8_t signature[SCRAM_KEY])
{
	uint8_t memory[2 * SCRAM_TEXT_MAX], key[SCRAM_KEY], hash[SCRAM_KEY];
	struct buf message;

	buf_init(&message, memory, sizeof(memory));
	buf_put(&message, bytes_make(s->text + s->gs2_n, s->text_n - s->gs2_n));
	buf_str(&message, ",");
	buf_put(&message, without_proof);
	if (message.overflow || !hmac(s->record.stored_key, SCRAM_KEY, buf_view(&message), key))
		return false;
	for (unsigned i = 0; i < SCRAM_KEY; i++)
		key[i] ^= proof[i];
	bool right = SHA256(key, SCRAM_KEY, hash) &&
		     CRYPTO_memcmp(hash, s->record.stored_key, SCRAM_KEY) == 0 &&
		     hmac(s->record.server_key, SCRAM_KEY, buf_view(&message), signature);
	OPENSSL_cleanse(key, sizeof(key));
	return right && s->known;
}

static int proof_parse(struct bytes base64, uint8_t proof[SCRAM_KEY])
{
	struct buf out;

	buf_init(&out, proof, SCRAM_KEY);
	return base64_decode(&out, base64) < 0 || out.overflow || out.n != SCRAM_KEY ? -EINVAL : 0;
}

int scram_final(struct scram *s, struct bytes message, struct bytes channel)
{
	struct bytes binding, nonce, rest = message;
	uint8_t proof[SCRAM_KEY], signature[SCRAM_KEY];
	struct bytes ours = bytes_make(s->text + s->server_at + 2, s->nonce_n);
	ptrdiff_t at = -1;

	for (size_t i = 0; i + 3 <= message.n; i++) {
		if (memcmp(message.p + i, ",p=", 3) == 0)
			at = (ptrdiff_t)i; /* the last one: it ends the message */
	}
	if (at < 0 || message.n > SCRAM_FIRST_MAX || !attribute(&rest, 'c', &binding) ||
		!attribute(&rest, 'r', &nonce) ||
		proof_parse(bytes_skip(message, (size_t)at + 3), proof) < 0)
		return -EINVAL;
	if (!bytes_eq(nonce, ours) || !binding_is(s, binding, channel) ||
		!proof_is_right(s, bytes_first(message, (size_t)at), proof, signature))
		return -EACCES;
	struct buf reply;
	buf_init(&reply, s->reply, sizeof(s->reply));
	buf_str(&reply, "v=");
	put_base64(&reply, signature, sizeof(signature));
	s->reply_n = (uint16_t)reply.n;
	return 0;
}

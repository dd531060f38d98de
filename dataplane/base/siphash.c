/* SPDX-License-Identifier: BSD-3-Clause
 * After the description by Aumasson and Bernstein (2012). */
#include "dataplane/base/siphash.h"
#include <sys/random.h>

struct sip_state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned b)
{
	return (x << b) | (x >> (64 - b));
}

static inline void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static inline uint64_t siphash(
	const struct siphash_key *key, const void *data, size_t n, int rounds, int final_rounds)
{
	struct sip_state s = {
		.v0 = key->k0 ^ 0x736f6d6570736575u,
		.v1 = key->k1 ^ 0x646f72616e646f6du,
		.v2 = key->k0 ^ 0x6c7967656e657261u,
		.v3 = key->k1 ^ 0x7465646279746573u,
	};
	const uint8_t *p = data;
	uint64_t last = (uint64_t)n << 56;
	size_t words = n / 8;

	for (size_t i = 0; i < words; i++, p += 8) {
		uint64_t m;
		memcpy(&m, p, 8);
		s.v3 ^= m;
		for (int r = 0; r < rounds; r++)
			sip_round(&s);
		s.v0 ^= m;
	}
	for (size_t i = 0; i < n % 8; i++)
		last |= (uint64_t)p[i] << (8 * i);
	s.v3 ^= last;
	for (int r = 0; r < rounds; r++)
		sip_round(&s);
	s.v0 ^= last;
	s.v2 ^= 0xff;
	for (int r = 0; r < final_rounds; r++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash24(const struct siphash_key *key, const void *data, size_t n)
{
	return siphash(key, data, n, 2, 4);
}

uint64_t siphash13(const struct siphash_key *key, const void *data, size_t n)
{
	return siphash(key, data, n, 1, 3);
}

void siphash_key_random(struct siphash_key *key)
{
	ssize_t got = getrandom(key, sizeof(*key), 0);

	BUG_ON(got != (ssize_t)sizeof(*key));
}

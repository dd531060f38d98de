/* SPDX-License-Identifier: BSD-3-Clause
 * The flow table: from the 4-tuple to a 32-bit reference, by SipHash under a secret key, so that a
 * peer cannot aim at one bucket.  Open addressing with linear probing, 8 octets a slot, at most 3/4
 * full.  The table keeps hashes, not keys: the caller compares.  OWNER: one core. */
#pragma once
#include "dataplane/base/netaddr.h"
#include "dataplane/base/siphash.h"

struct tcp_key {
	struct ip_addr local, peer;
	uint16_t local_port, peer_port; /* host byte order */
};
static_assert(sizeof(struct tcp_key) == 36, "no padding: keys are compared and hashed as octets");

struct tcp_slot {
	uint32_t hash;
	uint32_t ref; /* TCP_REF_NONE: empty */
};

/* A hash that was computed. */
struct tcp_memo {
	struct tcp_key key;
	uint32_t hash;
};

#define TCP_REF_NONE UINT32_MAX

struct tcp_table {
	struct tcp_slot *slots;
	uint32_t mask;
	uint32_t used, used_max;
	struct siphash_key key;
};

/* As memcmp() does, which compilers call for so many octets. */
static inline bool tcp_key_eq(const struct tcp_key *a, const struct tcp_key *b)
{
	uint64_t x[4], y[4];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0 &&
	       a->local_port == b->local_port && a->peer_port == b->peer_port;
}
static_assert(sizeof(struct tcp_key) == 4 * sizeof(uint64_t) + 2 * sizeof(uint16_t),
	"addresses, then ports");

/* Octets that a table for n references needs. */
size_t tcp_table_bytes(uint32_t n);
/* memory: tcp_table_bytes(n) octets of the caller's. */
void tcp_table_init(struct tcp_table *t, void *memory, uint32_t n, const struct siphash_key *key);
uint32_t tcp_table_hash(const struct tcp_table *t, const struct tcp_key *key);
/* Bring the slots of hash to the cache. */
static inline void tcp_table_prefetch(const struct tcp_table *t, uint32_t hash)
{
	__builtin_prefetch(&t->slots[hash & t->mask]);
}

/* Look for hash; *pos is the cursor, 0 at first.  Returns the next reference with that hash, or
 * TCP_REF_NONE.  The caller compares the key and calls again if it differs. */
uint32_t tcp_table_next(const struct tcp_table *t, uint32_t hash, uint32_t *pos);
/* Returns false when the table is full. */
bool tcp_table_add(struct tcp_table *t, uint32_t hash, uint32_t ref) WARN_UNUSED;
/* The pair must be there. */
void tcp_table_remove(struct tcp_table *t, uint32_t hash, uint32_t ref);
/* Put another reference in the place of an old one with the same key. */
void tcp_table_replace(struct tcp_table *t, uint32_t hash, uint32_t ref, uint32_t with);

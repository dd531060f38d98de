/* SPDX-License-Identifier: BSD-3-Clause
 * The flow table: from the 4-tuple to a 32-bit reference, by SipHash under a secret key, so that a
 * peer cannot aim at one bucket.  Open addressing with linear probing, 8 octets a slot.  The table
 * keeps hashes, not keys: the caller compares.
 *
 * It grows while it is used: beyond half it takes four times the slots, whose memory its user has
 * ready, and what is in the old ones moves a few at a time.  Until all is moved new references go
 * to the new slots and a look-up goes through both.  It never shrinks.  OWNER: one core. */
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

struct tcp_slots {
	struct tcp_slot *at; /* NULL: none */
	uint32_t mask;       /* how many, less one */
};

/* A hash that was computed. */
struct tcp_memo {
	struct tcp_key key;
	uint32_t hash;
};

#define TCP_REF_NONE  UINT32_MAX
#define TCP_REF_MOVED (UINT32_MAX - 1) /* in old slots: was there, a probe goes on */

#define TCP_TABLE_GROWTH 4 /* chosen: few growths; what memory stands empty is 8 octets a slot */
/* Old slots that an addition moves: more than one for each that is free when growth begins, so that
 * growth ends before the new slots are full, however few laps there are. */
#define TCP_TABLE_ADD_STEP 8

struct tcp_table {
	struct tcp_slots now, old; /* old: while it grows */
	uint32_t moved;            /* of old, so many slots from the first on are done */
	uint32_t used;
	uint32_t slots_max; /* it does not grow beyond */
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

/* Slots that n references need at most: a power of 2, not more than 3/4 used. */
uint32_t tcp_table_slots(uint32_t n);
/* Memory of so many slots is made empty: before it is given to a table, by whoever may take the
 * time. */
void tcp_table_clear(struct tcp_slot *memory, uint32_t slots);
/* For n references at last.  memory: of `slots` slots, a power of 2, cleared, the caller's. */
void tcp_table_init(struct tcp_table *t, struct tcp_slot *memory, uint32_t slots, uint32_t n,
	const struct siphash_key *key);
/* How many slots the table will want next; 0: it has all it will ever have. */
uint32_t tcp_table_next_slots(const struct tcp_table *t);
static inline bool tcp_table_growing(const struct tcp_table *t)
{
	return t->old.at;
}
/* Is it time to grow? */
static inline bool tcp_table_tight(const struct tcp_table *t)
{
	return t->used > t->now.mask / 2 && t->now.mask + 1 < t->slots_max && !t->old.at;
}
/* Begin to grow.  memory: of tcp_table_next_slots() slots, cleared, the caller's. */
void tcp_table_grow(struct tcp_table *t, struct tcp_slot *memory);
/* Move what is in the next n slots; returns the old memory when nothing is left in it, which is
 * the caller's again, else NULL. */
struct tcp_slot *tcp_table_step(struct tcp_table *t, uint32_t n);
uint32_t tcp_table_hash(const struct tcp_table *t, const struct tcp_key *key);
/* Bring the slots of hash to the cache. */
static inline void tcp_table_prefetch(const struct tcp_table *t, uint32_t hash)
{
	__builtin_prefetch(&t->now.at[hash & t->now.mask]);
	if (t->old.at)
		__builtin_prefetch(&t->old.at[hash & t->old.mask]);
}

/* Look for hash; *pos is the cursor, 0 at first.  Returns the next reference with that hash, or
 * TCP_REF_NONE.  The caller compares the key and calls again if it differs. */
uint32_t tcp_table_next(const struct tcp_table *t, uint32_t hash, uint32_t *pos);
/* Returns false when the table is full: the slots there are, to 7/8. */
bool tcp_table_add(struct tcp_table *t, uint32_t hash, uint32_t ref) WARN_UNUSED;
/* The pair must be there. */
void tcp_table_remove(struct tcp_table *t, uint32_t hash, uint32_t ref);
/* Put another reference in the place of an old one with the same key. */
void tcp_table_replace(struct tcp_table *t, uint32_t hash, uint32_t ref, uint32_t with);

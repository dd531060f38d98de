/* SPDX-License-Identifier: BSD-3-Clause
 * Keys of the queue's indices.  Hashes, because a key of fixed size is a third of one with names:
 * who finds a row looks whether it is the one that was meant.  The hash's key is fixed: it is part
 * of the format; whoever makes names collide makes his own look-ups slow. */
#pragma once
#include "dataplane/base/siphash.h"
#include "store/schema.h"

static inline uint64_t queue_index_hash(struct bytes name)
{
	static const struct siphash_key key = {0x6279706f73740002, 0x717565756569647a};
	uint8_t folded[ADDRESS_MAX] = {0};
	size_t n = MIN(name.n, sizeof(folded));

	for (size_t i = 0; i < n; i++)
		folded[i] = ascii_lower(name.p[i]);
	return siphash13(&key, folded, n);
}

static inline struct bytes queue_index_sender(struct key *k, struct bytes sender, uint64_t id)
{
	return key_qs(k, queue_index_hash(sender), id);
}

/* domain_at: offset of the domain in the address. */
static inline struct bytes queue_index_recipient(
	struct key *k, struct bytes address, size_t domain_at, uint64_t id, uint32_t rcpt)
{
	return key_qd(k, queue_index_hash(bytes_skip(address, domain_at)),
		(uint32_t)queue_index_hash(address), id, rcpt);
}

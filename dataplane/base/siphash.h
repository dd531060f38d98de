/* SPDX-License-Identifier: BSD-3-Clause
 * SipHash, the keyed hash for every table whose keys a peer can choose.  Any thread. */
#pragma once
#include "dataplane/base/bytes.h"

struct siphash_key {
	uint64_t k0, k1;
};

/* SipHash-2-4: for secrets that must not be predicted (ISN, cookies, source ports). */
uint64_t siphash24(const struct siphash_key *key, const void *data, size_t n);
/* SipHash-1-3: for hash tables. */
uint64_t siphash13(const struct siphash_key *key, const void *data, size_t n);
/* Fill the key from the kernel's random source.  Aborts when there is none. */
void siphash_key_random(struct siphash_key *key);

/* SPDX-License-Identifier: BSD-3-Clause
 * Answers of the resolver, kept on the core that asked: a fixed table, four places per keyed hash
 * of (name, type), the place that ends first is replaced.  OWNER: one core's thread. */
#pragma once
#include "dataplane/base/clock.h"
#include "dataplane/base/siphash.h"
#include "delivery/dns/dns.h"

/* Seconds; chosen.  The floor keeps a TTL of 0 from asking for every message. */
#define DNS_CACHE_TTL_MIN      5
#define DNS_CACHE_TTL_MAX      3600
#define DNS_CACHE_TTL_NEGATIVE 60
#define DNS_CACHE_TTL_FAILURE  5

struct dns_cache_entry;

struct dns_cache {
	struct siphash_key key;
	struct dns_cache_entry *entries;
	uint32_t sets; /* a power of two */
};

/* An answer without the descriptor around it. */
struct dns_answer {
	enum dns_status status;
	bool secure;
	uint32_t ttl; /* seconds left */
	uint32_t count;
	struct dns_record records[DNS_RECORDS_MAX];
};

/* The answer that a completed query carries. */
void dns_answer_take(struct dns_answer *answer_r, const struct dns_op *op);

/* entries: at most so many answers, rounded up to a power of two.  Returns 0 or -ENOMEM. */
int dns_cache_init(struct dns_cache *c, uint32_t entries) WARN_UNUSED;
void dns_cache_fini(struct dns_cache *c);
/* name: lower case, NUL-terminated.  Answers whose records do not fit an entry are cut from the
 * end (MX: the least preferred). */
void dns_cache_put(struct dns_cache *c, const char *name, enum dns_type type,
	const struct dns_answer *answer, uint64_t now_us);
/* Returns false: not there, or too old. */
bool dns_cache_get(struct dns_cache *c, const char *name, enum dns_type type,
	struct dns_answer *answer_r, uint64_t now_us);
/* Forget a name's answers: an operator asked for a retry. */
void dns_cache_drop(struct dns_cache *c, const char *name, enum dns_type type);
/* Seconds that an answer is kept. */
uint32_t dns_cache_ttl(enum dns_status status, uint32_t ttl);

/* SPDX-License-Identifier: BSD-3-Clause
 * Finding routes: runs a route_query against the cache and the DNS helper.
 * OWNER: one core's thread. */
#pragma once
#include "delivery/dest.h"

struct delivery;

/* How many may be under way.  What takes long is often an answer that never comes, and is not to
 * keep others from asking. */
#define LOOKUPS_MAX 256 /* chosen: 11 KB each */
#define LOOKUPS_NEW 64  /* ... and so many of them new; chosen: no burst at the resolver */
#define LOOKUPS_LONG_US                                                                            \
	(2 * US_PER_SEC) /* new for so long; chosen: many times what an answer takes */

struct lookup {
	struct list link; /* free list, or those that wait for a credit */
	struct list age;  /* lookups.fresh */
	uint64_t since_us;
	struct delivery *d;
	struct domain *domain;
	struct route_query query;
	struct dns_answer answer;
	struct dns_op op;
};

struct lookups {
	struct lookup *lookups;
	struct list free, waiting;
	struct list fresh; /* the new ones, oldest first */
	uint32_t fresh_n;
};

/* Returns 0 or -ENOMEM. */
int lookups_init(struct delivery *d, uint32_t max) WARN_UNUSED;
void lookups_fini(struct delivery *d);
/* May one more begin? */
bool lookup_room(struct delivery *d);
/* Find the domain's route; ends at once if the cache knows.  False: too many are under way. */
bool lookup_begin(struct delivery *d, struct domain *domain);
void lookup_on_credit(struct delivery *d);

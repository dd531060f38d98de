/* SPDX-License-Identifier: BSD-3-Clause
 * Finding routes: runs a route_query against the cache and the DNS helper.
 * OWNER: one core's thread. */
#pragma once
#include "delivery/dest.h"

struct delivery;

struct lookup {
	struct list link; /* free list, or those that wait for a credit */
	struct delivery *d;
	struct domain *domain;
	struct route_query query;
	struct dns_answer answer;
	struct dns_op op;
};

struct lookups {
	struct lookup *lookups;
	struct list free, waiting;
};

/* Returns 0 or -ENOMEM. */
int lookups_init(struct delivery *d, uint32_t max) WARN_UNUSED;
void lookups_fini(struct delivery *d);
/* Find the domain's route; ends at once if the cache knows.  False: too many are under way. */
bool lookup_begin(struct delivery *d, struct domain *domain);
void lookup_on_credit(struct delivery *d);

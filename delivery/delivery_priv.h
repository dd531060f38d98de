/* SPDX-License-Identifier: BSD-3-Clause
 * A delivery worker from the inside.  The way of a recipient:
 *
 *   schedule (heap) -> domain's backlog -> job read from the store -> attempt at a site
 *      ^                                        (hint: in memory)          |
 *      +------- writer's answer <------ report <------ connection <--------+
 *
 * OWNER of everything: the core's thread. */
#pragma once
#include "delivery/attempt.h"
#include "delivery/dane.h"
#include "delivery/delivery.h"
#include "delivery/job.h"
#include "delivery/lookup.h"
#include "delivery/refresh.h"
#include "delivery/relay.h"
#include "delivery/report.h"

#define SHARD_FAILED_MS 5000 /* what is of a failed shard is looked at again after that; chosen */

struct delivery {
	struct core *core;
	struct delivery_conf conf;
	struct delivery_channels ch;
	unsigned worker, workers;
	bool draining;
	struct route_conf route_conf;
	struct dns_cache cache;
	struct schedule schedule;
	struct dest dest;
	struct lookups lookups;
	struct danes danes;
	struct jobs jobs;
	struct attempts attempts;
	struct reports reports;
	struct relay relay;
	struct refresh refresh[STORE_SHARDS_MAX]; /* one per shard */
	bool reports_first;                       /* when a reader has credits again */
	bool danes_first;                         /* when the resolver has credits again */
	struct list readers_waiting;              /* contents without a credit */
	uint8_t header[16 * 1024];                /* scratch of the bounce */
};

static inline struct schedule_node *delivery_node(const struct delivery *d, uint32_t i)
{
	return schedule_node(&d->schedule, i);
}
static inline struct domain *delivery_domain(const struct delivery *d, uint32_t node)
{
	return dest_domain(&d->dest, delivery_node(d, node)->domain);
}

/* Is the domain ours to deliver to? */
bool delivery_owns(const struct delivery *d, struct bytes domain);
/* A recipient that is not in memory yet; state DUE.  SCHEDULE_NONE: no room. */
uint32_t delivery_add(struct delivery *d, uint64_t id, uint32_t rcpt, struct bytes domain,
	uint16_t attempts, int8_t priority);
/* The store has another priority for it. */
void delivery_prioritise(struct delivery *d, uint32_t node, int8_t priority);
/* Finished, or gone from the store. */
void delivery_forget(struct delivery *d, uint32_t node);
/* A DUE node joins its domain's backlog. */
void delivery_enqueue(struct delivery *d, uint32_t node);
/* Into the heap until next_ms. */
void delivery_wait(struct delivery *d, uint32_t node, uint64_t next_ms);
/* Put a DUE node off without telling the store. */
void delivery_put_off(struct delivery *d, uint32_t node, uint64_t ms);
static inline unsigned delivery_shard(const struct delivery *d, uint64_t id)
{
	return ids_lane(id, d->ch.shard_count);
}
/* The reader that reads this message, the writer that keeps it. */
struct channel *delivery_reader(const struct delivery *d, uint64_t id);
static inline struct channel *delivery_writer(const struct delivery *d, uint64_t id)
{
	return d->ch.writers[delivery_shard(d, id)];
}
/* Has its shard failed?  Then nothing of it can be read, and no result kept. */
bool delivery_shard_failed(const struct delivery *d, uint64_t id);
bool delivery_loading(const struct delivery *d);

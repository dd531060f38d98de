/* SPDX-License-Identifier: BSD-3-Clause
 * A delivery worker: the part of a core with CORE_DELIVERY that keeps the schedule, finds next hops
 * and relays.  Everything runs on the core's thread; store, DNS and the wire are asked over
 * channels and streams. */
#pragma once
#include "dataplane/core.h"
#include "dataplane/dataplane.h"
#include "dataplane/tls/tls.h"
#include "delivery/dns/dns.h"
#include "delivery/hop.h"
#include "store/store.h"

#define DELIVERY_RETRIES_MAX 32

struct dest_shares;

struct delivery_conf {
	char hostname[256];
	const struct hop *hops; /* the routing table; lives as long as the worker */
	uint32_t hop_count;
	const char
		*smarthost; /* of all other domains; NULL: by MX; "host", "host:port", "ip:port" */
	uint8_t tls_level;  /* enum tls_level, of all other domains */
	uint16_t port;      /* of next hops found by MX: 25 */
	uint64_t retry_ms[DELIVERY_RETRIES_MAX]; /* delay after the n-th failed attempt; last one
						    repeats */
	uint32_t retry_count;
	uint64_t delay_warning_ms;     /* after this the sender is told that mail waits; 0: never */
	uint32_t connections_max;      /* of this worker */
	uint32_t site_connections_max; /* of all workers that have the same shares */
	struct dest_shares *shares;    /* NULL: this worker is the only one; lives as long as it */
	uint64_t connect_timeout_us;
	uint64_t idle_timeout_us; /* keep a connection this long for waiting mail */
	uint32_t recipients_max;  /* in memory; beyond it they stay in the store */
	uint32_t jobs_max; /* messages in memory at once, at most; 0: what the chunks allow */
	const struct ip_addr *own; /* addresses of this host: an MX that points here is a loop */
	uint32_t own_count;
	/* TLS of this core; NULL: levels up to `may` do without, the others fail. */
	struct tls *tls;
	struct tls_config *tls_config;
	/* Who is local: where bounces go.  NULL: nobody. */
	const struct directory *directory;
};

struct delivery_channels {
	/* Of each shard: results and bounces (credits of their own), reads, new mail. */
	struct channel *writers[STORE_SHARDS_MAX];
	struct channel *readers[STORE_SHARDS_MAX][STORE_READERS_MAX];
	struct hints *ready[STORE_SHARDS_MAX];
	/* enum store_health of each; NULL: always STORE_OK. */
	const atomic_uint *health[STORE_SHARDS_MAX];
	unsigned shard_count, reader_count;
	struct channel *dns;
};

struct delivery;

/* Main thread, before the workers.  NULL: no memory. */
struct dest_shares *delivery_shares_create(void);

/* Main thread, before the core runs; channels are already added to the core.  worker of workers:
 * the share of domains this one owns (store_domain_owner).  NULL on want of memory. */
struct delivery *delivery_create(struct core *core, const struct delivery_conf *conf,
	const struct delivery_channels *ch, unsigned worker, unsigned workers);
/* Core's thread: connections made from now on use this configuration. */
void delivery_set_tls(struct delivery *d, struct tls_config *config);
/* Core's thread or before start: no new attempts; those under way finish. */
void delivery_drain(struct delivery *d);
/* Attempts and results under way; 0 means drained. */
uint32_t delivery_busy(const struct delivery *d);
/* After the core has stopped and the services have completed what was under way, before the stack
 * and the pools go. */
void delivery_destroy(struct delivery **d);

struct delivery_info {
	uint32_t scheduled, active, connections, domains;
	bool loading; /* the schedule is still being read from the store */
};
void delivery_get_info(const struct delivery *d, struct delivery_info *info_r);

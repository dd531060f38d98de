/* SPDX-License-Identifier: BSD-3-Clause
 * What one peer does on one core: connections that are open, and rates.  A peer is an IPv4 address
 * or a /64 of IPv6.  The table is bounded and its hash keyed; when all places of a peer's set have
 * open connections it shares one with a few others in the same state.
 *
 * A rate is n events a minute: as many may come at once, then one each minute / n.
 *
 * OWNER: one core's thread. */
#pragma once
#include "dataplane/base/clock.h"
#include "dataplane/base/netaddr.h"
#include "dataplane/base/siphash.h"

enum peer_event { PEER_CONNECT, PEER_MESSAGE, PEER_RCPT, PEER_ERROR, PEER_HANDSHAKE, PEER_EVENT_N };

#define PEERS_SET 8 /* places that one peer may have; chosen */

struct peer {
	struct ip_addr net;
	uint64_t until_us[PEER_EVENT_N]; /* when the events so far are paid for */
	uint32_t connections;
	uint16_t asking; /* passwords of it that are being checked, or whose answer is late */
	bool used;
};
static_assert(sizeof(struct peer) == 64, "a cache line");

struct peers {
	struct siphash_key key;
	uint32_t sets;
	uint32_t shared_n;
	struct peer *table;  /* sets * PEERS_SET, the caller's memory, zeroed */
	struct peer *shared; /* of those for whom there was no place; the same */
};

/* What one peer is: the address, or the /64 of IPv6. */
struct ip_addr peer_net(const struct ip_addr *ip);
/* table: entries, a multiple of PEERS_SET, and behind them the shared ones, at least one: so many
 * that of all peers there can be at once only a few share one. */
void peers_init(struct peers *p, struct peer *table, uint32_t entries, uint32_t shared);
/* The place of ip; never NULL.  Valid until the next call, and as long as it has connections. */
struct peer *peers_get(struct peers *p, const struct ip_addr *ip);
/* Count an event; false: it is one too many (and not counted).  limit: a minute, 0: none. */
bool peer_may(struct peer *p, enum peer_event event, uint32_t limit, uint64_t now_us);

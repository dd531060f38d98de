/* SPDX-License-Identifier: BSD-3-Clause
 * Receive-side scaling: which queue a card delivers a flow to, as we predict it, and whether the
 * card can be believed.  Built by main at start; read-only afterwards, any thread. */
#pragma once
#include "dataplane/base/netaddr.h"

#define RSS_KEY_MAX  52  /* octets; drivers take 40 or 52 */
#define RSS_RETA_MAX 512 /* entries of the largest table that DPDK reads and writes */

struct rte_eth_dev_info;
struct rte_eth_conf;

struct rss {
	bool on; /* the card was asked, and what it says it does is what we asked for */
	alignas(uint32_t) uint8_t key[RSS_KEY_MAX]; /* rte_softrss() reads words */
	uint16_t key_n;
	uint16_t reta_n;            /* a power of two */
	uint8_t reta[RSS_RETA_MAX]; /* [hash % reta_n]: queue */
};

/* Ask for the TCP hash in conf if the device offers one and a table to go with it; fills r->key.
 * Before rte_eth_dev_configure.  Returns false: it does not, or one queue needs none. */
bool rss_request(struct rss *r, const struct rte_eth_dev_info *info, unsigned queues,
	struct rte_eth_conf *conf);
/* After rte_eth_dev_start: write the table, read key, hash types and table back.  Sets r->on, or
 * returns why not, in words. */
const char *rss_check(struct rss *r, uint16_t port_id, unsigned queues);

/* The Toeplitz hash of a frame from `from` to `to`, both of one family. */
uint32_t rss_hash(const struct rss *r, const struct endpoint *from, const struct endpoint *to);
static inline unsigned rss_queue(const struct rss *r, uint32_t hash)
{
	return r->reta[hash & (uint32_t)(r->reta_n - 1)];
}

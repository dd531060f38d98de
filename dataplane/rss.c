/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/rss.h"
#include <rte_ethdev.h>
#include <rte_thash.h>

#define HASH_TYPES (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define V4_PLACE   12 /* of the four octets in a mapped address */

/* The key of Microsoft's RSS specification: drivers have it as their default, so that one that
 * ignores ours may still do what we predict. */
static const uint8_t default_key[RSS_KEY_MAX] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
	0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30,
	0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac,
	0x01, 0xfa};

bool rss_request(struct rss *r, const struct rte_eth_dev_info *info, unsigned queues,
	struct rte_eth_conf *conf)
{
	uint64_t types = info->flow_type_rss_offloads & HASH_TYPES;

	*r = (struct rss){.key_n = info->hash_key_size ? info->hash_key_size : 40};
	memcpy(r->key, default_key, sizeof(r->key));
	/* IPv6 is not a must: without its hash, its flows come in anywhere and are handed on. */
	if (queues < 2 || !(types & RTE_ETH_RSS_NONFRAG_IPV4_TCP) || r->key_n > RSS_KEY_MAX ||
		info->reta_size == 0 || info->reta_size > RSS_RETA_MAX ||
		(info->reta_size & (info->reta_size - 1)))
		return false;
	r->reta_n = info->reta_size;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){
		.rss_key = r->key, .rss_key_len = (uint8_t)r->key_n, .rss_hf = types};
	return true;
}

/* Entry i: queue i % queues. */
static int reta_write(const struct rss *r, uint16_t port_id, unsigned queues)
{
	struct rte_eth_rss_reta_entry64 table[RSS_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};

	for (unsigned i = 0; i < r->reta_n; i++) {
		table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << i % RTE_ETH_RETA_GROUP_SIZE;
		table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
			(uint16_t)(i % queues);
	}
	return rte_eth_dev_rss_reta_update(port_id, table, r->reta_n);
}

/* Whatever stands in it, as long as it names queues there are. */
static const char *reta_read(struct rss *r, uint16_t port_id, unsigned queues)
{
	struct rte_eth_rss_reta_entry64 table[RSS_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};

	for (unsigned i = 0; i < ARRAY_LEN(table); i++)
		table[i].mask = UINT64_MAX;
	if (rte_eth_dev_rss_reta_query(port_id, table, r->reta_n) < 0)
		return "its table cannot be read";
	for (unsigned i = 0; i < r->reta_n; i++) {
		unsigned q = table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
		if (q >= queues)
			return "its table names a queue that there is not";
		r->reta[i] = (uint8_t)q;
	}
	return NULL;
}

const char *rss_check(struct rss *r, uint16_t port_id, unsigned queues)
{
	uint8_t key[RSS_KEY_MAX] = {0};
	struct rte_eth_rss_conf is = {.rss_key = key, .rss_key_len = (uint8_t)r->key_n};
	const char *why;

	if (reta_write(r, port_id, queues) < 0)
		return "its table cannot be written";
	if (rte_eth_dev_rss_hash_conf_get(port_id, &is) < 0)
		return "its key cannot be read";
	if (!(is.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_TCP))
		return "it does not hash TCP ports";
	if (memcmp(key, r->key, r->key_n) != 0)
		return "it has another key than it was given";
	why = reta_read(r, port_id, queues);
	r->on = !why;
	return why;
}

/* Words in host byte order of what stands in network byte order: what rte_softrss() wants. */
static unsigned add_words(uint32_t *words, unsigned n, const uint8_t *p, unsigned octets)
{
	for (unsigned i = 0; i < octets; i += 4)
		words[n++] = (uint32_t)p[i] << 24 | (uint32_t)p[i + 1] << 16 |
			     (uint32_t)p[i + 2] << 8 | p[i + 3];
	return n;
}

uint32_t rss_hash(const struct rss *r, const struct endpoint *from, const struct endpoint *to)
{
	unsigned skip = ip_is_v4(&from->ip) ? V4_PLACE : 0;
	uint32_t words[9];
	unsigned n = 0;

	n = add_words(words, n, from->ip.octets + skip, 16 - skip);
	n = add_words(words, n, to->ip.octets + skip, 16 - skip);
	words[n++] = (uint32_t)from->port << 16 | to->port;
	return rte_softrss(words, n, r->key);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/peers.h"

#define MINUTE_US (60 * US_PER_SEC)

void peers_init(struct peers *p, struct peer *table, uint32_t entries, uint32_t shared)
{
	BUG_ON(entries == 0 || entries % PEERS_SET || shared == 0);
	*p = (struct peers){.table = table,
		.sets = entries / PEERS_SET,
		.shared = table + entries,
		.shared_n = shared};
	siphash_key_random(&p->key);
}

struct ip_addr peer_net(const struct ip_addr *ip)
{
	struct ip_addr net = *ip;

	if (!ip_is_v4(ip))
		memset(net.octets + 8, 0, 8);
	return net;
}

static uint64_t last_us(const struct peer *p)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < PEER_EVENT_N; i++)
		last = MAX(last, p->until_us[i]);
	return last;
}

/* Of two places without connections the one whose past is paid for first. */
static struct peer *older(struct peer *a, struct peer *b)
{
	if (!a || !b->used)
		return b;
	return a->used && last_us(b) < last_us(a) ? b : a;
}

struct peer *peers_get(struct peers *p, const struct ip_addr *ip)
{
	struct ip_addr net = peer_net(ip);
	uint64_t hash = siphash13(&p->key, &net, sizeof(net));
	struct peer *set = p->table + hash % p->sets * PEERS_SET, *free = NULL;

	for (unsigned i = 0; i < PEERS_SET; i++) {
		if (set[i].used && ip_eq(&set[i].net, &net))
			return &set[i];
		if (set[i].connections == 0)
			free = older(free, &set[i]);
	}
	if (!free)
		return &p->shared[(hash >> 32) % p->shared_n];
	*free = (struct peer){.net = net, .used = true};
	return free;
}

bool peer_may(struct peer *p, enum peer_event event, uint32_t limit, uint64_t now_us)
{
	uint64_t *until = &p->until_us[event];

	if (limit == 0)
		return true;
	if (*until < now_us)
		*until = now_us;
	if (*until + MINUTE_US / limit > now_us + MINUTE_US)
		return false;
	*until += MINUTE_US / limit;
	return true;
}

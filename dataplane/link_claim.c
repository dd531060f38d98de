/* SPDX-License-Identifier: BSD-3-Clause
 * Duplicate address detection: before an address is used others are asked whether they have it,
 * with ARP probes (RFC 5227) or a neighbour solicitation (RFC 4862 5.4); then it is announced.  Who
 * is found to have it keeps it: ours is not used, and asked for again later.  An address that is in
 * use is never given up, as befits a server, but defended (RFC 5227 2.4 (c)).
 *
 * Core 0 asks and announces; every core hears the answers and comes to the same end. */
#include "dataplane/base/log.h"
#include "dataplane/ndp.h"
#include "dataplane/stack_priv.h"

#define PROBES4       3                 /* RFC 5227 1.1: PROBE_NUM */
#define PROBE4_US     (200 * US_PER_MS) /* chosen, not RFC 5227's 1 to 2 s: serving begins at once */
#define PROBES6       1                 /* RFC 4862 5.1: DupAddrDetectTransmits */
#define ANNOUNCEMENTS 2                 /* RFC 5227 1.1: ANNOUNCE_NUM */
#define ANNOUNCE_US   (2 * US_PER_SEC)  /* RFC 5227 1.1: ANNOUNCE_INTERVAL */
#define DEFEND_US     (10 * US_PER_SEC) /* RFC 5227 1.1: DEFEND_INTERVAL */
#define ASK_AGAIN_US  (60 * US_PER_SEC) /* RFC 5227 1.1: RATE_LIMIT_INTERVAL */

static bool speaks(const struct stack *st)
{
	return st->conf.core_index == 0;
}

static void probe(struct stack *st, unsigned port, const struct link_address *a)
{
	if (!speaks(st))
		return;
	if (ip_is_v4(&a->net.ip))
		arp_probe(st, port, &a->net.ip);
	else
		ndp_probe(st, port, &a->net.ip);
}

static void announce(struct stack *st, unsigned port, const struct link_address *a)
{
	if (!speaks(st))
		return;
	if (ip_is_v4(&a->net.ip))
		arp_announce(st, port, &a->net.ip);
	else
		ndp_announce(st, port, &a->net.ip);
}

static void set_state(
	struct stack *st, struct link_address *a, enum link_address_state state, uint64_t wait_us)
{
	st->tentative -= a->state != LINK_ADDRESS_USED;
	st->tentative += state != LINK_ADDRESS_USED;
	a->state = (uint8_t)state;
	a->sent = 0;
	a->at_us = st->now_us + wait_us;
}

/* Nobody has answered: the next question, or it is ours. */
static void tentative_step(struct stack *st, unsigned port, struct link_address *a)
{
	bool v4 = ip_is_v4(&a->net.ip);

	if (a->sent == (v4 ? PROBES4 : PROBES6)) {
		set_state(st, a, LINK_ADDRESS_USED, 0);
		return;
	}
	a->sent++;
	a->at_us = st->now_us + (v4 ? PROBE4_US : st->links[port].retrans_us);
	probe(st, port, a);
}

static void used_step(struct stack *st, unsigned port, struct link_address *a)
{
	announce(st, port, a);
	a->sent++;
	a->at_us = a->sent < ANNOUNCEMENTS ? st->now_us + ANNOUNCE_US : 0;
}

uint64_t link_claim_step(struct stack *st, unsigned port, struct link_address *a)
{
	while (a->at_us && a->at_us <= st->now_us) {
		if (a->state == LINK_ADDRESS_TENTATIVE)
			tentative_step(st, port, a);
		else if (a->state == LINK_ADDRESS_USED)
			used_step(st, port, a);
		else
			set_state(st, a, LINK_ADDRESS_TENTATIVE, 0);
	}
	return a->at_us ? a->at_us : UINT64_MAX;
}

static void log_conflict(const struct stack *st, unsigned port, const struct link_address *a,
	const uint8_t mac[6], const char *what)
{
	char ip[IP_TEXT_MAX];

	if (speaks(st))
		log_warn("port",
			"address %s port=%s address=%s other=%02x:%02x:%02x:%02x:%02x:%02x", what,
			st->conf.ports[port].name, ip_format(&a->net.ip, ip), mac[0], mac[1],
			mac[2], mac[3], mac[4], mac[5]);
}

void link_claim_conflict(
	struct stack *st, unsigned port, struct link_address *a, const uint8_t mac[6])
{
	counter_inc(CTR_IP_ADDRESS_CONFLICTS);
	if (a->state == LINK_ADDRESS_TENTATIVE) {
		counter_inc(CTR_IP_ADDRESS_DUPLICATES);
		log_conflict(st, port, a, mac, "duplicate: not used");
		set_state(st, a, LINK_ADDRESS_DUPLICATE, ASK_AGAIN_US);
		link_await(st, a->at_us);
	} else if (a->state == LINK_ADDRESS_USED &&
		   (!a->defended_us || st->now_us - a->defended_us >= DEFEND_US)) {
		a->defended_us = st->now_us;
		log_conflict(st, port, a, mac, "claimed by another: defended");
		announce(st, port, a);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/mld.h"
#include <netinet/in.h>
#include "dataplane/icmp6.h"
#include "dataplane/stack_priv.h"

#define ROBUSTNESS        2                 /* RFC 3810 9.1: reports of a change */
#define UNSOLICITED_US    (1 * US_PER_SEC)  /* RFC 3810 9.11 */
#define RESPONSE_MAX_US   (10 * US_PER_SEC) /* chosen: the default of RFC 3810 9.3 */
#define QUERY_V1          24u               /* octets of RFC 2710's query; RFC 3810 8.1 */
#define QUERY_V2          28u
#define CODE_FLOAT        0x8000u /* RFC 3810 5.1.3 */
#define RECORD_OCTETS     20u     /* RFC 3810 5.2.4, without sources */
#define RECORD_IS_EXCLUDE 2       /* RFC 3810 5.2.12: all sources, as it is */
#define RECORD_TO_EXCLUDE 4       /* and as it has become */
#define HOP_LIMIT         1
#define ALERT_OCTETS      8u

/* RFC 2711, in a hop-by-hop header with its padding. */
static const uint8_t router_alert[ALERT_OCTETS] = {IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
static const struct ip_addr unspecified;
static const struct ip_addr routers_v2 = {
	{0xff, 2, [15] = 0x16}
};

/* The groups of our addresses, each once. */
static unsigned groups_of(const struct link *l, struct ip_addr groups[LINK_ADDRESSES_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < l->address_count; i++) {
		unsigned k = 0;
		if (ip_is_v4(&l->address[i].net.ip))
			continue;
		groups[n] = ipv6_solicited_node(&l->address[i].net.ip);
		while (k < n && !ip_eq(&groups[k], &groups[n]))
			k++;
		n += k == n;
	}
	return n;
}

/* RFC 3590: from the address of the link, or from none as long as that is being asked for. */
static void report_send(
	struct stack *st, unsigned port, const struct ip_addr *to, struct rte_mbuf *m)
{
	const struct ip_addr *from = link_source_local(&st->links[port]);
	void *alert;

	if (!from || !ip_is_link_local(from))
		from = &unspecified;
	icmp6_checksum(from, to, m);
	alert = rte_pktmbuf_prepend(m, sizeof(router_alert));
	BUG_ON(!alert);
	memcpy(alert, router_alert, sizeof(router_alert));
	counter_inc(CTR_MLD_TX_REPORTS);
	ipv6_output_link(st, port, from, to, IPPROTO_HOPOPTS, HOP_LIMIT, NULL, m);
}

static void report_v1(struct stack *st, unsigned port, const struct ip_addr *group)
{
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);

	if (!m)
		return;
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, QUERY_V1);
	BUG_ON(!p);
	memset(p, 0, QUERY_V1);
	p[0] = ICMP6_MLD_REPORT;
	memcpy(p + 8, group->octets, sizeof(group->octets));
	report_send(st, port, group, m);
}

/* As many records as a control frame holds; returns how many. */
static unsigned report_v2(
	struct stack *st, unsigned port, uint8_t kind, const struct ip_addr *groups, unsigned n)
{
	struct rte_mbuf *m = stack_alloc(st, st->env.control_pool);

	if (!m)
		return n;
	n = MIN(n, (rte_pktmbuf_tailroom(m) - 8u) / RECORD_OCTETS);
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(8 + n * RECORD_OCTETS));
	BUG_ON(!p || n == 0);
	memset(p, 0, 8 + n * RECORD_OCTETS);
	p[0] = ICMP6_MLD2_REPORT;
	p[7] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		p[8 + i * RECORD_OCTETS] = kind;
		memcpy(p + 8 + i * RECORD_OCTETS + 4, groups[i].octets, sizeof(groups[i].octets));
	}
	report_send(st, port, &routers_v2, m);
	return n;
}

static void report(struct stack *st, unsigned port)
{
	struct link *l = &st->links[port];
	struct ip_addr groups[LINK_ADDRESSES_MAX];
	unsigned n = groups_of(l, groups), done = 0;

	while (done < n && l->report_v1)
		report_v1(st, port, &groups[done++]);
	while (done < n)
		done += report_v2(st, port, l->report_left ? RECORD_TO_EXCLUDE : RECORD_IS_EXCLUDE,
			groups + done, n - done);
}

static uint64_t random_us(struct stack *st, uint64_t most)
{
	return 1 + st->env.random64(st->env.ctx) % most;
}

void mld_report_begin(struct stack *st, unsigned port)
{
	st->links[port].report_left = ROBUSTNESS;
	st->links[port].report_at_us = st->now_us;
}

uint64_t mld_report_step(struct stack *st, unsigned port)
{
	struct link *l = &st->links[port];

	if (!l->report_at_us)
		return UINT64_MAX;
	if (l->report_at_us <= st->now_us) {
		/* a query is answered where it came in; of a change core 0 tells */
		if (!l->report_left || st->conf.core_index == 0)
			report(st, port);
		if (l->report_left)
			l->report_left--;
		l->report_v1 = false;
		l->report_at_us = l->report_left ? st->now_us + random_us(st, UNSOLICITED_US) : 0;
	}
	return l->report_at_us ? l->report_at_us : UINT64_MAX;
}

/* RFC 3810 5.1.3: milliseconds, or a mantissa and an exponent. */
static uint64_t response_us(struct bytes in)
{
	uint32_t code = (uint32_t)in.p[4] << 8 | in.p[5];
	uint64_t ms = code;

	if (in.n >= QUERY_V2 && code >= CODE_FLOAT)
		ms = (uint64_t)((code & 0xfff) | 0x1000) << ((code >> 12 & 7) + 3);
	return MIN(MAX(ms, (uint64_t)1) * US_PER_MS, RESPONSE_MAX_US);
}

static bool asks_for_us(const struct link *l, struct bytes in)
{
	struct ip_addr groups[LINK_ADDRESSES_MAX], asked;
	unsigned n = groups_of(l, groups), i = 0;

	memcpy(asked.octets, in.p + 8, sizeof(asked.octets));
	if (ip_eq(&asked, &unspecified))
		return n > 0;
	while (i < n && !ip_eq(&groups[i], &asked))
		i++;
	return i < n;
}

void mld_query_input(struct stack *st, unsigned port, struct bytes in, const struct ip_packet *pkt)
{
	struct link *l = &st->links[port];

	/* RFC 3810 6.2, 8.1: from this link, by a router that speaks to all */
	if (pkt->hop_limit != HOP_LIMIT || !ip_is_link_local(&pkt->from) || !pkt->router_alert ||
		pkt->fragment || (in.n != QUERY_V1 && in.n < QUERY_V2) || !asks_for_us(l, in))
		return;
	if (l->report_at_us) /* one answer is under way */
		return;
	l->report_v1 = in.n == QUERY_V1;
	l->report_at_us = st->now_us + random_us(st, response_us(in));
	link_await(st, l->report_at_us);
}

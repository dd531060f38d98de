/* SPDX-License-Identifier: BSD-3-Clause
 * Path MTU discovery: DF stands in every segment, and what does not pass is found out
 *
 *   - from ICMP (RFC 1191, RFC 8201), if it is about a segment in flight (RFC 5927 7);
 *   - from timeouts, where nobody says so (RFC 2923, RFC 4821 7.7): full segments time out
 *     TCP_MTU_TIMEOUTS times, so the next ones are smaller.
 *
 * A larger segment is tried now and then: one, whose loss is no congestion (RFC 4821 7.2).  Nothing
 * here costs a connection on a path as wide as its ends.  OWNER: the core. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define TCP_MTU_TIMEOUTS    3     /* chosen, as is common (RFC 1122 R1) */
#define TCP_MSS_BASE        1024u /* RFC 4821 7.2: tried first when full segments do not pass */
#define TCP_MTU_STEP_MIN    64u   /* chosen: less is no first step: to the least at once */
#define TCP_MTU_SEARCH_END  16u   /* chosen: octets not worth another probe */
#define TCP_MTU_PROBE_WAIT  1000u /* ms; chosen: between two steps of a search */
#define TCP_MTU_BEHIND_SEGS 2u    /* segments behind a probe, that tell of its loss */
#define PROBE_AT_SHIFT      10    /* of mtu_probe_at: about seconds */

static uint16_t probe_clock(const struct tcp_conn *c, uint64_t later_ms)
{
	return (uint16_t)((stack_ms(c->stack) + later_ms) >> PROBE_AT_SHIFT);
}

static uint16_t payload_of_mtu(const struct tcp_conn *c, uint32_t mtu)
{
	uint32_t headers = ip_header_bytes(&c->key.peer) + (uint32_t)sizeof(struct rte_tcp_hdr) +
			   (c->flags & CF_TS ? TCP_TS_OCTETS : 0);

	return (uint16_t)MAX(mtu - MIN(mtu, headers), TCP_MSS_MIN);
}

static uint16_t mtu_of_payload(const struct tcp_conn *c, uint32_t mss)
{
	return (uint16_t)(mss + ip_header_bytes(&c->key.peer) + sizeof(struct rte_tcp_hdr) +
			  (c->flags & CF_TS ? TCP_TS_OCTETS : 0));
}

/* Search from here: what is there to gain, and from when on. */
static void search_begin(struct tcp_conn *c, uint32_t high, uint64_t later_ms)
{
	struct tcp_cold *cold = tcp_cold(c);

	cold->mss_high = (uint16_t)high;
	cold->mtu_probe_at = probe_clock(c, later_ms);
	if (c->mss < cold->mss_max)
		c->flags |= CF_MTU_BELOW;
	else
		c->flags &= ~(uint32_t)CF_MTU_BELOW;
}

void tcp_mtu_begin(struct tcp_conn *c, uint16_t mss_max)
{
	struct tcp_cold *cold = tcp_cold(c);

	cold->mss_max = mss_max;
	cold->mss_probe = 0;
	search_begin(c, mss_max + 1u, PMTU_US / US_PER_MS);
}

/* What was sent and is larger goes again, in pieces: it was not congestion that stopped it. */
static void mss_lower(struct tcp_conn *c, uint16_t mss)
{
	c->mss = mss;
	tcp_cc_set_mss(&c->cc, mss);
	tcp_sendq_mark_longer_lost(c, mss);
	c->flags |= CF_FORCE_RETX;
	tcp_conn_dirty(c);
}

bool tcp_packet_too_big(struct stack *st, const struct tcp_key *key, uint32_t seq, uint16_t mtu)
{
	struct tcp_conn *c = tcp_conn_lookup(st, key);

	if (!c || c->state < TCP_ESTABLISHED || !tcp_in_flight(c, seq))
		return false;
	uint16_t mss = payload_of_mtu(c, ip_pmtu_lower(st, &key->peer, mtu));
	struct tcp_cold *cold = tcp_cold(c);
	if (cold->mss_probe > mss)
		cold->mss_probe = 0; /* it did not pass; it goes again in pieces */
	if (mss < c->mss) {
		counter_inc(CTR_TCP_MTU_LOWERED);
		mss_lower(c, mss);
	} else if (mss < cold->mss_high) {
		tcp_sendq_mark_longer_lost(c, mss);
		tcp_conn_dirty(c);
	}
	if (mss < cold->mss_high)
		search_begin(c, cold->mss_max + 1u, PMTU_US / US_PER_MS);
	return true;
}

/* ---- black holes ---- */

void tcp_mtu_timeout(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);
	uint16_t least = payload_of_mtu(c, ip_is_v4(&c->key.peer) ? PMTU_MIN4 : PMTU_MIN6);
	uint16_t base = (uint16_t)MAX(TCP_MSS_BASE, (uint32_t)least);
	uint16_t mss = c->mss >= base + TCP_MTU_STEP_MIN ? base : least;

	if (cold->mss_probe)
		tcp_mtu_probe_failed(c);
	if ((c->retries + 1) % TCP_MTU_TIMEOUTS || c->snd_wnd == 0 || !c->sendq || c->mss <= mss ||
		tcp_txseg_of(c->sendq)->len <= mss)
		return;
	counter_inc(CTR_TCP_MTU_BLACK_HOLES);
	cold->flags |= COLD_BLACK_HOLE;
	mss_lower(c, mss);
	/* it is only a suspicion: the first segment that is tried is as large as can be */
	search_begin(c, cold->mss_max + 1u, TCP_MTU_PROBE_WAIT);
}

/* ---- trying more ---- */

uint16_t tcp_mtu_probe_size(struct tcp_conn *c, size_t data_n)
{
	struct tcp_cold *cold = tcp_cold(c);

	if (!(c->flags & CF_MTU_BELOW) || (c->flags & (CF_RECOVERY | CF_LOSS)) || cold->mss_probe ||
		(int16_t)(probe_clock(c, 0) - cold->mtu_probe_at) < 0)
		return 0;
	uint32_t size = cold->mss_high > cold->mss_max ? cold->mss_max
						       : ((uint32_t)c->mss + cold->mss_high) / 2;
	if (size < c->mss + TCP_MTU_SEARCH_END && size < cold->mss_max) {
		search_begin(c, cold->mss_max + 1u, PMTU_US / US_PER_MS); /* found; look again */
		return 0;
	}
	uint32_t all = size + TCP_MTU_BEHIND_SEGS * c->mss;
	if (data_n < all || c->cc.cwnd < all || c->snd_wnd < all)
		return 0;
	cold->mss_probe = (uint16_t)size;
	counter_inc(CTR_TCP_MTU_PROBES);
	return cold->mss_probe;
}

void tcp_mtu_probe_acked(struct tcp_conn *c, uint16_t len)
{
	struct tcp_cold *cold = tcp_cold(c);

	cold->mss_probe = 0;
	if (len <= c->mss)
		return;
	c->mss = len;
	tcp_cc_set_mss(&c->cc, len);
	counter_inc(CTR_TCP_MTU_RAISED);
	search_begin(c, MAX(cold->mss_high, (uint16_t)(len + 1)), TCP_MTU_PROBE_WAIT);
}

void tcp_mtu_probe_failed(struct tcp_conn *c)
{
	struct tcp_cold *cold = tcp_cold(c);
	uint16_t high = cold->mss_probe;

	cold->mss_probe = 0;
	/* timeouts of full segments, and now this: others need not go through it as well */
	if (cold->flags & COLD_BLACK_HOLE)
		ip_pmtu_lower(c->stack, &c->key.peer, mtu_of_payload(c, high - 1u));
	search_begin(c, high, TCP_MTU_PROBE_WAIT);
}

bool tcp_mtu_only_probe_lost(struct tcp_conn *c)
{
	if (!(c->flags & CF_MTU_BELOW) || !c->lost)
		return false;
	const struct tcp_txseg *seg = tcp_txseg_of(tcp_sendq_first_lost(c));
	if (!(seg->flags & TXS_PROBE) || seg->len != c->lost)
		return false;
	if (tcp_cold(c)->mss_probe)
		tcp_mtu_probe_failed(c);
	c->flags |= CF_FORCE_RETX;
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/flows.h"

#define MSS_DEFAULT_4 536 /* RFC 9293 3.7.1 */
#define MSS_DEFAULT_6 1220

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* The flow of a segment, entered by its first SYN; *side_r: who sends.  NULL: unknown. */
static struct flow *flow_find(struct flows *f, const struct packet *p, unsigned *side_r)
{
	for (unsigned i = 0; i < f->n; i++) {
		struct flow *fl = &f->flow[i];
		*side_r = 0;
		if (fl->opener_port == p->sport && fl->port == p->dport &&
			ip_eq(&fl->opener, &p->from) && ip_eq(&fl->other, &p->to))
			return fl;
		*side_r = 1;
		if (fl->opener_port == p->dport && fl->port == p->sport &&
			ip_eq(&fl->opener, &p->to) && ip_eq(&fl->other, &p->from))
			return fl;
	}
	*side_r = 0;
	if (f->n == FLOWS_MAX ||
		(p->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) != RTE_TCP_SYN_FLAG)
		return NULL;
	struct flow *fl = &f->flow[f->n++];
	*fl = (struct flow){
		.opener = p->from, .other = p->to, .opener_port = p->sport, .port = p->dport};
	return fl;
}

static void syn_note(struct flow_side *s, const struct packet *p)
{
	struct bytes mss = packet_option(p, PACKET_OPTION_MSS);
	struct bytes scale = packet_option(p, PACKET_OPTION_WSCALE);

	/* Another number is another incarnation: a cookie was lost, now there is room to remember.
	 */
	if (s->syn && s->iss != p->seq)
		s->edge_known = false;
	s->syn = true;
	s->iss = p->seq;
	s->scaled = scale.n == 1;
	s->scale = s->scaled ? scale.p[0] : 0;
	s->stamped = packet_option(p, PACKET_OPTION_TIMESTAMPS).p;
	s->mss = p->v6 ? MSS_DEFAULT_6 : MSS_DEFAULT_4;
	if (mss.n == 2)
		s->mss = (uint16_t)(mss.p[0] << 8 | mss.p[1]);
}

static const char *stamp_check(struct flow *fl, unsigned from, const struct packet *p, bool live)
{
	struct flow_side *s = &fl->side[from];
	struct bytes stamp = packet_option(p, PACKET_OPTION_TIMESTAMPS);

	if (!fl->side[0].syn || !fl->side[1].syn || (p->flags & RTE_TCP_SYN_FLAG))
		return NULL;
	if (!fl->side[0].stamped || !fl->side[1].stamped)
		return stamp.p ? "a timestamp was not agreed upon" : NULL;
	if (stamp.n != 8)
		return live ? "a timestamp is missing" : NULL; /* RFC 7323 3.2 */
	uint32_t value = packet_be32(stamp.p);
	if (s->stamp && before(value, s->stamp))
		return "a timestamp went back";
	s->stamp = value;
	return NULL;
}

/* What is sent must fit what the peer offered: one octet more may probe (RFC 9293 3.8.6.1). */
static const char *data_check(const struct flow *fl, unsigned from, const struct packet *p)
{
	const struct flow_side *peer = &fl->side[!from];

	if (!p->payload_n)
		return NULL;
	if (peer->edge_known && before(peer->edge + 1, p->seq + (uint32_t)p->payload_n))
		return "data beyond the peer's window";
	if (peer->syn && p->payload_n + p->options_n > peer->mss)
		return "a segment larger than the peer's MSS"; /* RFC 9293 MUST-16 */
	return NULL;
}

static const char *ack_check(struct flow *fl, unsigned from, const struct packet *p, bool live)
{
	struct flow_side *s = &fl->side[from];
	bool syn = p->flags & RTE_TCP_SYN_FLAG;
	bool scaled = !syn && fl->side[0].scaled && fl->side[1].scaled;
	uint32_t edge = p->ack + ((uint32_t)p->window << (scaled ? s->scale : 0));

	if (s->ack_known && before(p->ack, s->ack))
		return "the acknowledgment moved left";
	s->ack = p->ack;
	s->ack_known = true;
	if (!live && !syn)
		return NULL;
	if (s->edge_known && before(edge, s->edge))
		return "the right edge moved left";
	s->edge = edge;
	s->edge_known = true;
	return NULL;
}

const char *flows_check(struct flows *f, const struct packet *p, bool live)
{
	unsigned from;
	struct flow *fl = p->tcp ? flow_find(f, p, &from) : NULL;

	if (!fl || (p->flags & RTE_TCP_RST_FLAG))
		return NULL;
	if (p->flags & RTE_TCP_SYN_FLAG)
		syn_note(&fl->side[from], p);
	const char *wrong = stamp_check(fl, from, p, live);
	if (!wrong)
		wrong = data_check(fl, from, p);
	if (!wrong && (p->flags & RTE_TCP_ACK_FLAG))
		wrong = ack_check(fl, from, p, live);
	return wrong;
}

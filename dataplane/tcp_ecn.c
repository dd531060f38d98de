/* SPDX-License-Identifier: BSD-3-Clause
 * Explicit congestion notification (RFC 3168): a router marks instead of dropping, the receiver
 * echoes that until the sender has reduced its window and says so.  Only new data is sent as
 * capable of being marked (ECT(0)): neither pure ACKs nor what is sent again nor window probes. */
#include <rte_tcp.h>
#include "dataplane/stack_priv.h"

#define ECN_NOT_ECT 0
#define ECN_ECT0    2
#define ECN_CE      3
#define ECN_FLAGS   (RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG)

uint8_t tcp_ecn_syn_flags(const struct tcp_conn *c)
{
	/* RFC 3168 6.1.1: a SYN that was lost may have been refused for its flags */
	return c->state == TCP_SYN_SENT && c->stack->conf.tcp.ecn == STACK_ECN_ACTIVE && !c->retries
		       ? ECN_FLAGS
		       : 0;
}

void tcp_ecn_answered(struct tcp_conn *c, const struct tcp_segment *seg)
{
	/* both flags are our own, thrown back by who does not know them */
	if (tcp_ecn_syn_flags(c) && (seg->flags & RTE_TCP_ACK_FLAG) &&
		(seg->flags & ECN_FLAGS) == RTE_TCP_ECE_FLAG)
		c->flags |= CF_ECN;
}

bool tcp_ecn_offered(const struct stack *st, const struct tcp_segment *seg)
{
	return st->conf.tcp.ecn != STACK_ECN_OFF && (seg->flags & ECN_FLAGS) == ECN_FLAGS;
}

void tcp_ecn_input(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (!(c->flags & CF_ECN) || !seg->len)
		return;
	if (seg->flags & RTE_TCP_CWR_FLAG)
		c->flags &= ~(uint32_t)CF_ECE;
	if (seg->ecn != ECN_CE)
		return;
	counter_inc(CTR_TCP_ECN_MARKS);
	c->flags |= CF_ECE | CF_ACK_NOW;
	tcp_conn_dirty(c);
}

void tcp_ecn_echo(struct tcp_conn *c, uint32_t delivered)
{
	/* once for a window of data (RFC 3168 6.1.2) */
	if (c->flags & (CF_RECOVERY | CF_LOSS | CF_CWR))
		return;
	counter_inc(CTR_TCP_ECN_REDUCTIONS);
	tcp_cwr_enter(c, delivered);
}

uint8_t tcp_ecn_data(struct tcp_conn *c, bool again, uint8_t *flags)
{
	/* beyond the window is a probe; what the network drops then must not look like marks */
	if (!(c->flags & CF_ECN) || again || (c->flags & CF_PROBE))
		return ECN_NOT_ECT;
	if (c->flags & CF_CWR_DUE) {
		c->flags &= ~(uint32_t)CF_CWR_DUE;
		*flags |= RTE_TCP_CWR_FLAG;
	}
	return ECN_ECT0;
}

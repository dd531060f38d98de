/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast listener discovery: switches that look on pass only what somebody has asked for, so the
 * groups of our addresses, by which neighbours find us, are reported (RFC 3810; RFC 2710 to a
 * querier of that kind).  OWNER: one core. */
#pragma once
#include "dataplane/base/bytes.h"
#include "dataplane/ip.h"

struct stack;

/* Our groups have changed: they will be reported, twice, within two seconds. */
void mld_report_begin(struct stack *st, unsigned port);
/* What is due at st->now_us; returns when to be called again, UINT64_MAX: not. */
uint64_t mld_report_step(struct stack *st, unsigned port);
/* in: a query, a whole ICMPv6 message with a right checksum. */
void mld_query_input(struct stack *st, unsigned port, struct bytes in, const struct ip_packet *pkt);

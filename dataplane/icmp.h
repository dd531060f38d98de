/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP errors of both families (RFC 792, RFC 1122 3.2.2, RFC 4443): what others say of our packets,
 * and what we say of theirs.  OWNER: one core. */
#pragma once
#include "dataplane/base/bytes.h"
#include "dataplane/base/siphash.h"

struct stack;

/* ---- in (icmp_error.c) ---- */

/* What an error means, whatever type and code it has in its family. */
enum icmp_error {
	ICMP_ERROR_NONE, /* nothing to us */
	ICMP_ERROR_SOFT, /* a state of the network that may pass */
	ICMP_ERROR_HARD, /* the other end or an administrator refuses */
	ICMP_ERROR_TOO_BIG,
};

enum icmp_error icmp4_error_of(uint8_t type, uint8_t code);
enum icmp_error icmp6_error_of(uint8_t type, uint8_t code);
/* quoted: the packet of ours that the error is about, from its IP header on, as much as came.  mtu:
 * with ICMP_ERROR_TOO_BIG, as the message has it; 0: it does not say (RFC 1191 5).  Believed only
 * for what is in flight (RFC 5927). */
void icmp_error_input(struct stack *st, enum icmp_error error, uint32_t mtu, struct bytes quoted);

/* ---- out (icmp_send.c) ---- */

enum icmp_send {
	ICMP_SEND_PROTOCOL,        /* a protocol nobody takes: IPv4 unreachable */
	ICMP_SEND_PORT,            /* a port nobody listens on */
	ICMP_SEND_REASSEMBLY_TIME, /* fragments did not come in time */
	ICMP_SEND_BAD_HEADER,      /* IPv6: a field that cannot be, at pointer */
	ICMP_SEND_NEXT_HEADER,     /* IPv6: a next header that is not known, at pointer */
	ICMP_SEND_OPTION,          /* IPv6: an option that is not known, at pointer */
	ICMP_SEND_N
};

#define ICMP_SEND_RATE    1000u /* chosen, as is common: errors a second */
#define ICMP_SEND_BURST   50u
#define ICMP_PREFIX_RATE  10u  /* chosen: to one network (IPv4 /24, IPv6 /64) */
#define ICMP_PREFIX_CELLS 256u /* chosen: networks that share one are limited together */

/* Tokens of a bucket; they come back with time. */
struct icmp_bucket {
	uint32_t tokens;
	uint32_t at_ms; /* when they were counted; stack milliseconds */
};

struct icmp_limits {
	struct icmp_bucket all;
	struct icmp_bucket prefix[ICMP_PREFIX_CELLS];
	struct siphash_key key;
};

void icmp_limits_init(struct stack *st);
/* Tell the sender of packet (from its IP header on) what is wrong with it, unless it is one of
 * those that are never answered: an error, a later fragment, to or from many, or one too many. */
void icmp_error_send(struct stack *st, unsigned port, enum icmp_send what, struct bytes packet,
	uint32_t pointer);

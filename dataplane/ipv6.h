/* SPDX-License-Identifier: BSD-3-Clause
 * The chain of extension headers of an IPv6 packet (RFC 8200 4).  Any thread. */
#pragma once
#include "dataplane/base/bytes.h"

/* What is wrong with a chain of extension headers, and who is told (RFC 8200 4). */
enum ipv6_fault {
	IPV6_FAULT_NONE,
	IPV6_FAULT_SILENT,         /* nobody */
	IPV6_FAULT_PROTOCOL,       /* the sender: ICMPv6 parameter problem, code 1 */
	IPV6_FAULT_HEADER,         /* the sender: code 0 */
	IPV6_FAULT_OPTION,         /* the sender: code 2 */
	IPV6_FAULT_OPTION_UNICAST, /* the sender, unless it sent to a group: code 2 */
};
#define IPV6_FRAGMENT_MASK 0xfff9u /* of a fragment header's field: offset and "more" */
#define IPV6_FRAGMENT_MORE 1u

struct ipv6_walk {
	size_t at;               /* of what the headers carry, or right behind a fragment header */
	size_t next_at;          /* of the octet that names it */
	size_t fault_at;         /* of what is wrong */
	size_t fragment_at;      /* of the fragment header, if there is one: the walk ends there */
	size_t fragment_next_at; /* of the octet that names that */
	uint16_t fragment;       /* its offset in octets, and "more" */
	uint8_t protocol;        /* of what is at `at` */
	bool fragment_header;
	bool router_alert; /* there was one (RFC 2711) */
};
/* Over the extension headers of a packet whose IPv6 header and length were checked. */
enum ipv6_fault ipv6_walk(struct bytes in, struct ipv6_walk *w);

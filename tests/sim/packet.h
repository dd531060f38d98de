/* SPDX-License-Identifier: BSD-3-Clause
 * A view of one Ethernet frame on a test's wire: IPv4 or IPv6, TCP, and its options.  It can be
 * changed in place, as routers and meddling middleboxes do.  Any thread. */
#pragma once
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include "dataplane/base/netaddr.h"

#define PACKET_OPTION_MSS        2
#define PACKET_OPTION_WSCALE     3
#define PACKET_OPTION_SACK_OK    4
#define PACKET_OPTION_SACK       5
#define PACKET_OPTION_TIMESTAMPS 8

#define PACKET_ECN_MASK 3
#define PACKET_ECN_CE   3

struct packet {
	uint8_t *frame;
	size_t n; /* of the frame */
	uint8_t *ip;
	size_t ip_n;        /* header and everything behind it, as the header says */
	size_t ip_header_n; /* IPv6: the fixed header; extension headers make a packet no TCP */
	bool v6, dont_fragment, fragment;
	uint8_t protocol;
	struct ip_addr from, to;
	/* TCP; NULL: it is not, or only a fragment */
	struct rte_tcp_hdr *tcp;
	uint8_t *options;
	size_t options_n;
	uint8_t *payload;
	size_t payload_n;
	uint16_t sport, dport; /* host byte order, as the rest */
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window;
};

/* Returns false: neither IPv4 nor IPv6, or cut short.  The view is valid as long as the frame. */
bool packet_parse(uint8_t *frame, size_t n, struct packet *p_r);
/* Are the checksums of IPv4 and TCP right? */
bool packet_csum_ok(const struct packet *p);
/* Make them right after a change. */
void packet_csum_set(struct packet *p);
/* The octets of an option behind kind and length; {NULL, 0} when it is not there (an option
 * without octets has a pointer). */
struct bytes packet_option(const struct packet *p, uint8_t kind);
/* Replace an option by NOPs, as a meddling middlebox does. */
void packet_option_strip(struct packet *p, uint8_t kind);
uint8_t packet_ecn(const struct packet *p);
void packet_ecn_set(struct packet *p, uint8_t ecn);
uint32_t packet_be32(const uint8_t *octets);

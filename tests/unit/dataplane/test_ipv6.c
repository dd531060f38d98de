/* SPDX-License-Identifier: BSD-3-Clause
 * IPv6 input, neighbour discovery, addresses being asked for, routers and listener reports of one
 * stack, against messages made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_ether.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/csum.h"
#include "dataplane/icmp6.h"
#include "tests/sim/lone.h"

#define FRAME_MAX 512
#define ETH       14u
#define IP6       40u

static struct host_pools pools;
static struct lone lone;
static struct stream stream;
static unsigned closes;
static enum stream_reason closed_for;

static const struct ip_addr unspecified,
	all_nodes =
		{
			{0xff, 2, [15] = 1}
},
	all_routers = {{0xff, 2, [15] = 2}}, router = {{0xfe, 0x80, [15] = 0xfe}},
	peer = {{0x20, 1, 0, 2, [15] = 2}}, far = {{0x20, 1, 0, 2, 0, 9, [15] = 2}};

static void on_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	closes++;
	closed_for = reason;
}

static const struct stream_ops ops = {.on_close = on_close};

static void begin(bool discovery)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 64,
		.v6 = true,
		.discovery = discovery};

	closes = 0;
	lone_init(&lone, &pools, &conf);
}

static int setup(void **state)
{
	(void)state;
	begin(false);
	return 0;
}

static int setup_discovery(void **state)
{
	(void)state;
	begin(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lone_fini(&lone);
	return 0;
}

static struct ip_addr ours(void)
{
	return host_ip6(&lone.host);
}

static void wait_us(uint64_t us)
{
	for (uint64_t t = 0; t < us; t += 10 * US_PER_MS)
		host_lap(&lone.host, lone.host.now_us + 10 * US_PER_MS);
}

/* ---- frames by hand ---- */

struct frame6 {
	uint8_t octets[FRAME_MAX];
	size_t n;
};

/* An IPv6 packet to the stack, or to the group that `to` is. */
static void frame_begin(struct frame6 *f, const struct ip_addr *from, const struct ip_addr *to,
	uint8_t protocol, uint8_t hop_limit)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(f->octets + ETH);

	memset(f, 0, sizeof(*f));
	memcpy(f->octets, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd}, ETH);
	if (ip_is_multicast6(to)) {
		f->octets[0] = f->octets[1] = 0x33;
		memcpy(f->octets + 2, to->octets + 12, 4);
	}
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->proto = protocol;
	ip->hop_limits = hop_limit;
	memcpy(ip->src_addr, from->octets, 16);
	memcpy(ip->dst_addr, to->octets, 16);
	f->n = ETH + IP6;
}

static void frame_add(struct frame6 *f, const void *octets, size_t n)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(f->octets + ETH);

	memcpy(f->octets + f->n, octets, n);
	f->n += n;
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(f->n - ETH - IP6));
}

/* Over everything from `at` on, an ICMPv6 message. */
static void checksum_at(struct frame6 *f, size_t at)
{
	struct ip_addr from, to;
	uint16_t sum;

	memcpy(from.octets, f->octets + ETH + 8, 16);
	memcpy(to.octets, f->octets + ETH + 24, 16);
	f->octets[at + 2] = f->octets[at + 3] = 0;
	sum = csum_l4(&from, &to, IPPROTO_ICMPV6, f->octets + at, f->n - at);
	memcpy(f->octets + at + 2, &sum, 2);
}

static void give(const struct frame6 *f)
{
	host_input(&lone.host, bytes_make(f->octets, f->n));
}

static void neighbour_message(struct frame6 *f, uint8_t type, uint8_t flags,
	const struct ip_addr *from, const struct ip_addr *to, const struct ip_addr *target,
	uint8_t option, uint8_t mac)
{
	uint8_t body[32] = {type, [4] = flags};

	memcpy(body + 8, target->octets, 16);
	memcpy(body + 24, (uint8_t[]){option, 1, 2, 0, 0, 0, 0, mac}, 8);
	frame_begin(f, from, to, IPPROTO_ICMPV6, 255);
	frame_add(f, body, option ? 32 : 24);
	checksum_at(f, ETH + IP6);
}

static void solicit(const struct ip_addr *from, uint8_t mac)
{
	struct ip_addr target = ours(), group = ipv6_solicited_node(&target);
	struct frame6 f;

	neighbour_message(&f, 135, 0, from, &group, &target, mac ? 1 : 0, mac);
	give(&f);
}

static void advertise(const struct ip_addr *target, uint8_t flags, uint8_t mac)
{
	struct ip_addr to = ours();
	struct frame6 f;

	neighbour_message(&f, 136, flags, target, &to, target, mac ? 2 : 0, mac);
	give(&f);
}

/* The next ICMPv6 message of a type that the stack has sent, from its IPv6 header on. */
static const uint8_t *next_icmp(uint8_t type)
{
	while (lone.taken < lone.sent_n) {
		const uint8_t *f = lone.sent[lone.taken].octets;
		size_t n = lone.sent[lone.taken++].n, at = ETH + IP6;
		if (n <= at || f[12] != 0x86 || f[13] != 0xdd)
			continue;
		if (f[ETH + 6] == IPPROTO_HOPOPTS)
			at += 8;
		struct ip_addr from, to;
		memcpy(from.octets, f + ETH + 8, 16);
		memcpy(to.octets, f + ETH + 24, 16);
		if (f[ETH + 6] != IPPROTO_TCP)
			assert_int_equal(csum_l4(&from, &to, IPPROTO_ICMPV6, f + at, n - at), 0);
		if (f[ETH + 6] != IPPROTO_TCP && f[at] == type)
			return f + ETH;
	}
	return NULL;
}

static const struct neigh *entry(const struct ip_addr *ip)
{
	for (unsigned i = 0; i < NEIGH_MAX; i++) {
		const struct neigh *n = &lone.host.stack->neigh.entries[i];
		if (n->state != NEIGH_FREE && ip_eq(&n->ip, ip))
			return n;
	}
	return NULL;
}

static void connect_to(const struct ip_addr *ip, int expect)
{
	struct endpoint remote = {*ip, 25};

	stream = (struct stream){.ops = &ops};
	assert_int_equal(
		stream_connect(lone.host.stack, &stream, &remote, 60 * US_PER_SEC), expect);
	host_lap(&lone.host, lone.host.now_us);
}

/* ---- packets ---- */

static void ping(struct frame6 *f, const struct ip_addr *to)
{
	uint8_t body[16] = {ICMP6_ECHO_REQUEST, [8] = 1, 2, 3, 4, 5, 6, 7, 8};

	frame_begin(f, &peer, to, IPPROTO_ICMPV6, 64);
	frame_add(f, body, sizeof(body));
	checksum_at(f, ETH + IP6);
}

static void know_peer(void)
{
	stack_neigh_add(lone.host.stack, 0, &peer, (uint8_t[]){2, 0, 0, 0, 0, 2}, true);
}

static void test_echo_and_every_damage(void **state)
{
	struct ip_addr to = ours();
	struct frame6 f;

	(void)state;
	know_peer();
	ping(&f, &to);
	for (size_t i = ETH; i < f.n; i++) {
		if (i >= ETH && i < ETH + 8)
			continue; /* not in the checksum: class, label, length, hop limit */
		for (unsigned bit = 0; bit < 8; bit++) {
			f.octets[i] ^= (uint8_t)(1 << bit);
			give(&f);
			assert_null(next_icmp(ICMP6_ECHO_REPLY));
			f.octets[i] ^= (uint8_t)(1 << bit);
		}
	}
	for (size_t cut = 0; cut < f.n; cut++) {
		host_input(&lone.host, bytes_make(f.octets, cut));
		assert_null(next_icmp(ICMP6_ECHO_REPLY));
	}
	host_input(&lone.host, bytes_make(f.octets, f.n + 6)); /* padding */
	assert_non_null(next_icmp(ICMP6_ECHO_REPLY));
	assert_int_equal(lone.sent[lone.taken - 1].n, f.n);
	ping(&f, &all_nodes); /* answered from an address of ours (RFC 4443 4.2) */
	give(&f);
	const uint8_t *r = next_icmp(ICMP6_ECHO_REPLY);
	assert_non_null(r);
	assert_memory_equal(r + 8, to.octets, 16);
}

/* A chain of extension headers in front of an echo request; expect: it is answered. */
static void test_extension_headers(void **state)
{
	enum { HOP = IPPROTO_HOPOPTS, RT = IPPROTO_ROUTING, DST = IPPROTO_DSTOPTS, END = 255 };
	static const struct {
		uint8_t chain[10];
		uint8_t option; /* type of the option in options headers; 0: padding */
		uint8_t left;   /* segments left in the routing header */
		bool answered;
		uint8_t told; /* code of the parameter problem, 255: none */
	} table[] = {
		{{HOP, END},					 0,    0, true,  255},
		{{HOP, DST, END},				    5,    0, true,  255},
		{{DST, RT, DST, END},                                0,    0, true,  255},
		{{RT, END},					  0,    1, false, 0  }, /* RFC 5095 */
		{{DST, HOP, END},				    0,    0, false, 1  },
		{{DST, END},					 0x1e, 0, true,  255}, /* skip */
		{{DST, END},					 0x5e, 0, false, 255}, /* drop */
		{{DST, END},					 0x9e, 0, false, 2  },
		{{HOP, END},					 0xde, 0, false, 2  },
		{{DST, DST, DST, DST, DST, DST, DST, DST, END},      0,    0, true,  255},
		{{DST, DST, DST, DST, DST, DST, DST, DST, DST, END}, 0,    0, false, 255},
	};
	struct ip_addr to = ours();
	struct frame6 f, echo;

	(void)state;
	know_peer();
	ping(&echo, &to);
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		uint8_t pointer[] = {0, 0, 0, 0, 0, 0};
		(void)pointer;
		frame_begin(&f, &peer, &to, table[i].chain[0], 64);
		for (unsigned k = 0; table[i].chain[k] != END; k++) {
			uint8_t next = table[i].chain[k + 1] == END ? IPPROTO_ICMPV6
								    : table[i].chain[k + 1];
			uint8_t h[8] = {next, 0, 1, 4};
			if (table[i].chain[k] == RT)
				memcpy(h + 2, (uint8_t[]){0, table[i].left}, 2);
			else if (table[i].option)
				memcpy(h + 2, (uint8_t[]){table[i].option, 4}, 2);
			frame_add(&f, h, sizeof(h));
		}
		size_t at = f.n;
		frame_add(&f, echo.octets + ETH + IP6, echo.n - ETH - IP6);
		checksum_at(&f, at);
		for (size_t cut = 0; cut < f.n; cut++) /* exact blocks: nothing is read beyond */
			host_input(&lone.host, bytes_make(f.octets, cut));
		lone.taken = lone.sent_n;
		unsigned first = lone.sent_n;
		wait_us(US_PER_SEC); /* tokens for errors */
		give(&f);
		bool answered = next_icmp(ICMP6_ECHO_REPLY);
		assert_int_equal(answered, table[i].answered);
		lone.taken = first;
		const uint8_t *error = next_icmp(4);
		assert_int_equal(error != NULL, table[i].told != 255);
		if (error)
			assert_int_equal(error[IP6 + 1], table[i].told);
		lone.taken = lone.sent_n;
	}
}

static void test_addresses_that_cannot_be(void **state)
{
	static const struct ip_addr bad[] = {
		{{[15] = 1}},                                       /* loopback */
		{{0xff, 2, [15] = 1}},                              /* a group */
		{{[10] = 0xff, [11] = 0xff, [12] = 198, 18, 0, 2}}, /* IPv4's form */
		{{0}},                                              /* nobody */
	};
	struct ip_addr to = ours();
	struct frame6 f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ping(&f, &to);
		memcpy(f.octets + ETH + 8, bad[i].octets, 16);
		checksum_at(&f, ETH + IP6);
		give(&f);
		assert_null(next_icmp(ICMP6_ECHO_REPLY));
	}
	ping(&f, &far); /* another host's */
	give(&f);
	assert_null(next_icmp(ICMP6_ECHO_REPLY));
}

/* ---- neighbours ---- */

static void test_solicitation_is_answered_and_the_asker_kept(void **state)
{
	struct ip_addr us = ours();

	(void)state;
	solicit(&peer, 9);
	const uint8_t *r = next_icmp(ICMP6_NEIGHBOR_ADVERT);
	assert_non_null(r);
	assert_int_equal(r[7], 255);
	assert_memory_equal(r + 24, peer.octets, 16);
	assert_int_equal(r[IP6 + 4], 0x60); /* solicited, override */
	assert_memory_equal(r + IP6 + 8, us.octets, 16);
	assert_memory_equal(r + IP6 + 24, ((uint8_t[]){2, 1, 2, 0, 0, 0, 0, 1}), 8);
	assert_int_equal(entry(&peer)->state, NEIGH_STALE);
	solicit(&unspecified, 0); /* somebody asks whether it is free: to all that it is not */
	r = next_icmp(ICMP6_NEIGHBOR_ADVERT);
	assert_non_null(r);
	assert_memory_equal(r + 24, all_nodes.octets, 16);
	assert_int_equal(r[IP6 + 4], 0x20);
}

/* RFC 4861 7.1: each of these is not believed. */
static void test_checks_of_messages(void **state)
{
	struct ip_addr us = ours(), group = ipv6_solicited_node(&us);
	struct frame6 good, f;

	(void)state;
	neighbour_message(&good, 135, 0, &peer, &group, &us, 1, 9);
	for (unsigned i = 0; i < 6; i++) {
		f = good;
		switch (i) {
		case 0:
			f.octets[ETH + 7] = 254; /* has passed a router */
			break;
		case 1:
			f.octets[ETH + IP6 + 1] = 1; /* code */
			break;
		case 2:
			f.octets[ETH + IP6 + 25] = 0; /* an option of no length */
			break;
		case 3:
			f.octets[ETH + IP6 + 25] = 2; /* and one longer than the message */
			break;
		case 4:
			f.octets[ETH + IP6 + 8] = 0xff; /* asks for a group */
			break;
		default: /* from nobody, with a MAC */
			memset(f.octets + ETH + 8, 0, 16);
		}
		checksum_at(&f, ETH + IP6);
		give(&f);
		assert_null(next_icmp(ICMP6_NEIGHBOR_ADVERT));
		assert_null(entry(&peer));
	}
	for (size_t cut = 0; cut < good.n; cut++) {
		host_input(&lone.host, bytes_make(good.octets, cut));
		assert_null(next_icmp(ICMP6_NEIGHBOR_ADVERT));
	}
	give(&good);
	assert_non_null(next_icmp(ICMP6_NEIGHBOR_ADVERT));
}

static void test_frames_wait_for_the_advertisement(void **state)
{
	struct ip_addr group = ipv6_solicited_node(&peer);

	(void)state;
	advertise(&peer, 0x60, 9); /* nobody has asked */
	assert_null(entry(&peer));
	connect_to(&peer, 0);
	const uint8_t *r = next_icmp(ICMP6_NEIGHBOR_SOLICIT);
	assert_non_null(r);
	assert_memory_equal(r + 24, group.octets, 16);
	assert_memory_equal(r + IP6 + 8, peer.octets, 16);
	advertise(&peer, 0x60, 0); /* an answer without the MAC is none */
	assert_int_equal(entry(&peer)->state, NEIGH_INCOMPLETE);
	advertise(&peer, 0x60, 9);
	assert_int_equal(entry(&peer)->state, NEIGH_REACHABLE);
	assert_int_equal(lone.sent[lone.sent_n - 1].octets[ETH + 6], IPPROTO_TCP);
	/* RFC 4861 7.2.5: another MAC without "override" is not taken, but doubted */
	advertise(&peer, 0x40, 7);
	assert_int_equal(entry(&peer)->state, NEIGH_STALE);
	assert_int_equal(entry(&peer)->mac[5], 9);
	advertise(&peer, 0x20, 7);
	assert_int_equal(entry(&peer)->mac[5], 7);
	assert_int_equal(entry(&peer)->state, NEIGH_STALE);
	stream_abort(&stream);
}

static void test_silent_neighbour(void **state)
{
	unsigned asked = 0;

	(void)state;
	connect_to(&peer, 0);
	wait_us(4 * US_PER_SEC);
	while (next_icmp(ICMP6_NEIGHBOR_SOLICIT))
		asked++;
	assert_int_equal(asked, NEIGH_TRIES);
	assert_int_equal(closed_for, STREAM_UNREACHABLE);
	assert_int_equal(closes, 1);
	assert_int_equal(lone.host.wheel.armed, 0);
}

/* Inventions neither fill the table nor push out who was confirmed. */
static void test_flood_of_askers_and_of_strangers(void **state)
{
	struct ip_addr ip = peer;

	(void)state;
	know_peer();
	for (unsigned i = 0; i < 5000; i++) {
		ip.octets[13] = (uint8_t)(i >> 8);
		ip.octets[14] = (uint8_t)i;
		ip.octets[12] = 1;
		solicit(&ip, 9);
		ip.octets[12] = 2;
		struct rte_mbuf *m = rte_pktmbuf_alloc(pools.control);
		assert_non_null(m);
		assert_non_null(rte_pktmbuf_append(m, 40));
		memset(rte_pktmbuf_mtod(m, void *), 0, 40);
		neigh_output(lone.host.stack, 0, &ip, m);
	}
	const struct neigh_table *t = &lone.host.stack->neigh;
	assert_int_equal(t->count_of[NEIGH_KIND_GUEST], NEIGH_GUESTS_MAX);
	assert_int_equal(t->count_of[NEIGH_KIND_INCOMPLETE], NEIGH_INCOMPLETE_MAX);
	assert_true(t->queued <= NEIGH_QUEUED_MAX);
	assert_int_equal(entry(&peer)->state, NEIGH_REACHABLE);
	assert_int_equal(t->asks_left, 0);
}

/* ---- addresses ---- */

static void test_addresses_are_asked_for_first(void **state)
{
	struct ip_addr us = ours(), group = ipv6_solicited_node(&us);
	bool reported = false;

	(void)state;
	wait_us(20 * US_PER_MS);
	const uint8_t *r = next_icmp(ICMP6_MLD2_REPORT);
	assert_non_null(r);
	assert_int_equal(r[7], 1);
	assert_memory_equal(r + IP6, ((uint8_t[]){IPPROTO_ICMPV6, 0, 5, 2}), 4);
	for (unsigned i = 0; i < r[IP6 + 8 + 7]; i++)
		reported |= memcmp(r + IP6 + 8 + 8 + i * 20 + 4, group.octets, 16) == 0;
	assert_true(reported);
	r = next_icmp(ICMP6_NEIGHBOR_SOLICIT);
	assert_non_null(r);
	assert_memory_equal(r + 8, unspecified.octets, 16);
	assert_memory_equal(r + IP6 + 8, us.octets, 16);
	solicit(&peer, 9); /* not ours yet */
	assert_null(next_icmp(ICMP6_NEIGHBOR_ADVERT));
	connect_to(&peer, 0); /* nothing goes out yet */
	wait_us(900 * US_PER_MS);
	while ((r = next_icmp(ICMP6_NEIGHBOR_SOLICIT)))
		assert_memory_equal(r + 8, unspecified.octets, 16);
	wait_us(200 * US_PER_MS);
	lone.taken = 0;
	r = next_icmp(ICMP6_NEIGHBOR_ADVERT);
	assert_non_null(r);
	assert_int_equal(r[IP6 + 4], 0x20); /* announced */
	wait_us(3 * US_PER_SEC);
	do { /* but when the SYN goes again, it does */
		r = next_icmp(ICMP6_NEIGHBOR_SOLICIT);
		assert_non_null(r);
	} while (memcmp(r + IP6 + 8, peer.octets, 16) != 0);
	stream_abort(&stream);
}

static void test_somebody_has_the_address(void **state)
{
	struct ip_addr us = ours(), group = ipv6_solicited_node(&us);
	struct link *l = &lone.host.stack->links[0];
	struct frame6 f;

	(void)state;
	wait_us(20 * US_PER_MS);
	/* our own question, come back (RFC 7527) */
	const uint8_t *r = next_icmp(ICMP6_NEIGHBOR_SOLICIT);
	assert_non_null(r);
	while (memcmp(r + IP6 + 8, us.octets, 16) != 0)
		r = next_icmp(ICMP6_NEIGHBOR_SOLICIT);
	host_input(&lone.host, bytes_make(r - ETH, lone.sent[lone.taken - 1].n));
	assert_int_equal(link_address_find(l, &us)->state, LINK_ADDRESS_TENTATIVE);
	neighbour_message(&f, 135, 0, &unspecified, &group, &us, 0, 0);
	give(&f);
	assert_int_equal(link_address_find(l, &us)->state, LINK_ADDRESS_DUPLICATE);
	wait_us(5 * US_PER_SEC);
	solicit(&peer, 9);
	assert_int_equal(link_address_find(l, &us)->state, LINK_ADDRESS_DUPLICATE);
	connect_to(&peer, -101);
	/* it is asked for again, and free by then */
	wait_us(60 * US_PER_SEC);
	assert_int_equal(link_address_find(l, &us)->state, LINK_ADDRESS_USED);
}

static void arp(uint16_t op, uint32_t from, uint32_t to, uint8_t mac)
{
	uint8_t f[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, mac, 8, 6};
	struct rte_arp_hdr *a = (struct rte_arp_hdr *)(f + 14);

	*a = (struct rte_arp_hdr){.arp_hardware = rte_cpu_to_be_16(1),
		.arp_protocol = rte_cpu_to_be_16(0x800),
		.arp_hlen = 6,
		.arp_plen = 4,
		.arp_opcode = rte_cpu_to_be_16(op)};
	memcpy(&a->arp_data.arp_sha, (uint8_t[]){2, 0, 0, 0, 0, mac}, 6);
	a->arp_data.arp_sip = rte_cpu_to_be_32(from);
	a->arp_data.arp_tip = rte_cpu_to_be_32(to);
	host_input(&lone.host, bytes_make(f, sizeof(f)));
}

static unsigned arps(uint32_t from)
{
	unsigned n = 0;

	for (; lone.taken < lone.sent_n; lone.taken++) {
		const uint8_t *f = lone.sent[lone.taken].octets;
		const struct rte_arp_hdr *a = (const struct rte_arp_hdr *)(f + 14);
		n += f[12] == 8 && f[13] == 6 && a->arp_data.arp_sip == rte_cpu_to_be_32(from) &&
		     a->arp_data.arp_tip == rte_cpu_to_be_32(LONE_IP);
	}
	return n;
}

static void test_arp_probes_announcements_and_defence(void **state)
{
	(void)state;
	wait_us(500 * US_PER_MS);
	assert_int_equal(arps(0), 3); /* RFC 5227 2.1.1 */
	arp(RTE_ARP_OP_REQUEST, LONE_PEER, LONE_IP, 9);
	assert_int_equal(arps(LONE_IP), 0); /* not ours yet */
	wait_us(3 * US_PER_SEC);
	assert_int_equal(arps(LONE_IP), 2); /* announced twice */
	for (unsigned i = 0; i < 100; i++)  /* defended once in ten seconds */
		arp(RTE_ARP_OP_REQUEST, LONE_IP, LONE_IP, 9);
	assert_int_equal(arps(LONE_IP), 1);
	wait_us(11 * US_PER_SEC);
	arp(RTE_ARP_OP_REPLY, LONE_IP, LONE_PEER, 9);
	assert_int_equal(arps(LONE_IP), 1);
	struct ip_addr us = host_ip(&lone.host);
	assert_true(ip_is_ours(lone.host.stack, &us));
}

static void test_arp_probe_of_another_for_our_address(void **state)
{
	struct ip_addr us = host_ip(&lone.host);

	(void)state;
	wait_us(100 * US_PER_MS);
	arp(RTE_ARP_OP_REQUEST, 0, LONE_IP, 1); /* ours, looped back */
	assert_int_equal(
		link_address_find(&lone.host.stack->links[0], &us)->state, LINK_ADDRESS_TENTATIVE);
	arp(RTE_ARP_OP_REQUEST, 0, LONE_IP, 9);
	assert_int_equal(
		link_address_find(&lone.host.stack->links[0], &us)->state, LINK_ADDRESS_DUPLICATE);
	wait_us(3 * US_PER_SEC);
	assert_false(ip_is_ours(lone.host.stack, &us));
}

/* ---- routers ---- */

static void advert(struct frame6 *f, uint16_t lifetime_s, uint32_t mtu, uint8_t on_link)
{
	uint8_t body[16 + 8 + 8 + 32] = {134, [4] = 33, [6] = (uint8_t)(lifetime_s >> 8),
		(uint8_t)lifetime_s, [10] = 0x27, 0x10, [14] = 0x03, 0xe8, 1, 1, 2, 0, 0, 0, 0,
		0xfe, 5, 1, [28] = (uint8_t)(mtu >> 24), (uint8_t)(mtu >> 16), (uint8_t)(mtu >> 8),
		(uint8_t)mtu, 3, 4, 64, on_link, 0, 0, 0, 100, [48] = 0x20, 1, 0, 2, 0, 7};

	frame_begin(f, &router, &all_nodes, IPPROTO_ICMPV6, 255);
	frame_add(f, body, sizeof(body));
	checksum_at(f, ETH + IP6);
}

static void test_router_advertisement(void **state)
{
	static const struct ip_addr on_prefix = {
		{0x20, 1, 0, 2, 0, 7, [15] = 5}
        };
	struct link *l = &lone.host.stack->links[0];
	struct frame6 f;

	(void)state;
	connect_to(&far, -101);
	advert(&f, 1800, 1400, 0x80);
	for (size_t cut = 0; cut < f.n; cut++)
		host_input(&lone.host, bytes_make(f.octets, cut));
	f.octets[ETH + 7] = 64; /* from beyond the link */
	give(&f);
	f.octets[ETH + 7] = 255;
	memcpy(f.octets + ETH + 8, peer.octets, 16); /* not from an address of the link */
	checksum_at(&f, ETH + IP6);
	give(&f);
	assert_int_equal(l->router[0].until_us, 0);
	advert(&f, 1800, 1400, 0x80);
	give(&f);
	assert_int_equal(l->hop_limit, 33);
	assert_int_equal(l->mtu6, 1400);
	assert_int_equal(l->reachable_base_us, 10 * US_PER_SEC);
	assert_int_equal(l->retrans_us, US_PER_SEC);
	assert_true(ip_on_link(lone.host.stack, 0, &on_prefix));
	assert_int_equal(entry(&router)->state, NEIGH_STALE);
	connect_to(&far, 0);
	assert_int_equal(lone.sent[lone.sent_n - 1].octets[5], 0xfe); /* by the router */
	stream_abort(&stream);
	advert(&f, 1800, 1279, 0x80); /* smaller than IPv6 takes, larger than the port */
	give(&f);
	advert(&f, 1800, 1501, 0x80);
	give(&f);
	assert_int_equal(l->mtu6, 1400);
	wait_us(101 * US_PER_SEC);
	assert_false(ip_on_link(lone.host.stack, 0, &on_prefix)); /* lived 100 s */
	wait_us(1701 * US_PER_SEC);
	connect_to(&far, -101); /* the router 1,800 */
}

static void test_router_that_ceases(void **state)
{
	struct frame6 f;

	(void)state;
	advert(&f, 1800, 0, 0);
	give(&f);
	connect_to(&far, 0);
	stream_abort(&stream);
	advertise(&router, 0x20, 0xfe); /* is no router any more (RFC 4861 7.2.5) */
	connect_to(&far, -101);
	give(&f);
	connect_to(&far, 0);
	stream_abort(&stream);
	advert(&f, 0, 0, 0);
	give(&f);
	connect_to(&far, -101);
	for (unsigned i = 0; i < 100; i++) { /* many that lie: the table is bounded */
		advert(&f, 1800, 0, 0x80);
		f.octets[ETH + 20] = (uint8_t)i;
		f.octets[ETH + IP6 + 16 + 8 + 8 + 16 + 6] = (uint8_t)i;
		checksum_at(&f, ETH + IP6);
		give(&f);
	}
	connect_to(&far, 0);
	stream_abort(&stream);
}

/* RFC 4861 6.3.6: the first one that has spoken, until it is silent. */
static void test_silent_router_is_left_for_another(void **state)
{
	struct frame6 f;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		advert(&f, 1800, 0, 0);
		f.octets[ETH + 23] = (uint8_t)(0xfe - i);
		f.octets[ETH + IP6 + 16 + 7] = (uint8_t)(0xfe - i);
		checksum_at(&f, ETH + IP6);
		give(&f);
	}
	connect_to(&far, 0);
	assert_int_equal(lone.sent[lone.sent_n - 1].octets[5], 0xfe);
	for (unsigned s = 0; s < 20; s++) {
		wait_us(US_PER_SEC);
		for (; lone.taken < lone.sent_n; lone.taken++) {
			const uint8_t *o = lone.sent[lone.taken].octets;
			if (o[ETH + 6] == IPPROTO_TCP && o[5] == 0xfd)
				s = 20;
		}
	}
	assert_int_equal(closes, 0);
	stream_abort(&stream);
	connect_to(&far, 0);
	assert_int_equal(lone.sent[lone.sent_n - 1].octets[5], 0xfd);
	stream_abort(&stream);
}

static void test_routers_are_asked_for(void **state)
{
	struct frame6 f;
	unsigned asked = 0;

	(void)state;
	for (unsigned s = 0; s < 60; s++) {
		wait_us(US_PER_SEC);
		for (const uint8_t *r; (r = next_icmp(ICMP6_ROUTER_SOLICIT)); asked++)
			assert_memory_equal(r + 24, all_routers.octets, 16);
	}
	assert_in_range(asked, 4, 5); /* RFC 7559: 4, 8, 16, 32 s */
	advert(&f, 1800, 0, 0);
	give(&f);
	wait_us(200 * US_PER_SEC);
	assert_null(next_icmp(ICMP6_ROUTER_SOLICIT));
}

/* ---- listeners ---- */

static void query(size_t n, uint8_t hop_limit, const struct ip_addr *group, bool alert)
{
	uint8_t body[28] = {ICMP6_MLD_QUERY, [4] = 0x03, 0xe8};
	uint8_t hbh[8] = {IPPROTO_ICMPV6, 0, alert ? 5 : 1, 2, 0, 0, 1, 0};
	struct frame6 f;

	memcpy(body + 8, group->octets, 16);
	frame_begin(&f, &router, &all_nodes, IPPROTO_HOPOPTS, hop_limit);
	frame_add(&f, hbh, sizeof(hbh));
	frame_add(&f, body, n);
	checksum_at(&f, ETH + IP6 + 8);
	give(&f);
	wait_us(1100 * US_PER_MS);
}

static void test_queries_are_answered(void **state)
{
	struct ip_addr us = ours(), group = ipv6_solicited_node(&us);

	(void)state;
	query(28, 2, &unspecified, true); /* from beyond the link */
	query(28, 1, &unspecified, false);
	query(26, 1, &unspecified, true); /* neither form */
	query(28, 1, &peer, true);        /* about somebody else's */
	assert_null(next_icmp(ICMP6_MLD2_REPORT));
	query(28, 1, &unspecified, true);
	const uint8_t *r = next_icmp(ICMP6_MLD2_REPORT);
	assert_non_null(r);
	assert_int_equal(r[IP6 + 8 + 8], 2); /* is, to exclude nobody */
	query(24, 1, &group, true);
	assert_non_null(next_icmp(ICMP6_MLD_REPORT));
}

#define T(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TD(f) cmocka_unit_test_setup_teardown(f, setup_discovery, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_echo_and_every_damage),
		T(test_extension_headers),
		T(test_addresses_that_cannot_be),
		T(test_solicitation_is_answered_and_the_asker_kept),
		T(test_checks_of_messages),
		T(test_frames_wait_for_the_advertisement),
		T(test_silent_neighbour),
		T(test_flood_of_askers_and_of_strangers),
		TD(test_addresses_are_asked_for_first),
		TD(test_somebody_has_the_address),
		TD(test_arp_probes_announcements_and_defence),
		TD(test_arp_probe_of_another_for_our_address),
		T(test_router_advertisement),
		T(test_router_that_ceases),
		T(test_silent_router_is_left_for_another),
		TD(test_routers_are_asked_for),
		T(test_queries_are_answered),
	};
	eal_start_for_tests(64);
	host_pools_init(&pools, "i", 255, 255);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Clock and wire of the stack under test.  All addresses are neighbours on the one link, and they
 * answer ARP and neighbour solicitations at once, so scripts see TCP and ICMP errors only. */
#include <errno.h>
#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include "tests/packetdrill/library.h"
#include "tests/sim/frame.h"

#define LAPS_MAX 256 /* at one moment; more would be a stack that never rests */

/* RFC 4861 4: neighbour discovery and router discovery; RFC 2710, 3810: listeners */
#define ND_FIRST             133
#define ND_SOLICIT           135
#define ND_ADVERTISE         136
#define ND_LAST              137
#define MLD_FIRST            130
#define MLD_LAST             132
#define MLD_V2               143
#define ND_OPTION_TARGET_MAC 2

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, their_mac[6] = {2, 0, 0, 0, 0, 2};

static struct pd_frame *frame_new(const struct pd *pd, const void *octets, size_t n)
{
	struct pd_frame *f = malloc(sizeof(*f) + n);

	BUG_ON(!f || n > PD_FRAME_OCTETS);
	f->next = NULL;
	f->at_us = pd->now_us;
	f->lap = pd->lap;
	f->n = n;
	memcpy(f->octets, octets, n);
	return f;
}

static void frames_free(struct pd_frame *f)
{
	while (f) {
		struct pd_frame *next = f->next;
		free(f);
		f = next;
	}
}

/* ---- neighbours ---- */

static void echo_push(struct pd *pd, const void *octets, size_t n)
{
	*pd->echo_tail = frame_new(pd, octets, n);
	pd->echo_tail = &(*pd->echo_tail)->next;
}

static void arp_answer(struct pd *pd, struct bytes frame)
{
	struct {
		struct rte_ether_hdr eth;
		struct rte_arp_hdr arp;
	} f;

	if (frame.n < sizeof(f))
		return;
	memcpy(&f, frame.p, sizeof(f));
	uint32_t asked = f.arp.arp_data.arp_tip, asker = f.arp.arp_data.arp_sip;
	/* who probes for its own address wants no answer (RFC 5227) */
	if (f.arp.arp_opcode != rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) || asked == asker ||
		asker == 0)
		return;
	f.eth.dst_addr = f.eth.src_addr;
	memcpy(&f.eth.src_addr, their_mac, 6);
	f.arp.arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REPLY);
	f.arp.arp_data.arp_tha = f.arp.arp_data.arp_sha;
	memcpy(&f.arp.arp_data.arp_sha, their_mac, 6);
	f.arp.arp_data.arp_sip = asked;
	f.arp.arp_data.arp_tip = asker;
	echo_push(pd, &f, sizeof(f));
}

struct nd_message { /* RFC 4861 4.3, 4.4 with one option */
	uint8_t type, code;
	uint16_t checksum;
	uint16_t flags, reserved; /* router, solicited, override */
	uint8_t target[16];
	uint8_t option, option_len, mac[6];
};

static void solicit_answer(struct pd *pd, struct bytes frame)
{
	struct {
		struct rte_ether_hdr eth;
		struct rte_ipv6_hdr ip;
		struct nd_message nd;
	} f = {0};
	static const uint8_t unspecified[16];
	size_t least = sizeof(f) - 8; /* without the option */

	if (frame.n < least)
		return;
	memcpy(&f, frame.p, least);
	if (memcmp(f.ip.src_addr, unspecified, 16) == 0)
		return; /* duplicate address detection: nobody else has it */
	f.eth.dst_addr = f.eth.src_addr;
	memcpy(&f.eth.src_addr, their_mac, 6);
	memcpy(f.ip.dst_addr, f.ip.src_addr, 16);
	memcpy(f.ip.src_addr, f.nd.target, 16);
	f.ip.payload_len = rte_cpu_to_be_16(sizeof(f.nd));
	f.ip.hop_limits = 255;
	f.nd.type = ND_ADVERTISE;
	f.nd.flags = rte_cpu_to_be_16(0x6000); /* solicited, override */
	f.nd.option = ND_OPTION_TARGET_MAC;
	f.nd.option_len = 1;
	memcpy(f.nd.mac, their_mac, 6);
	f.nd.checksum = 0;
	f.nd.checksum = rte_ipv6_udptcp_cksum(&f.ip, &f.nd);
	echo_push(pd, &f, sizeof(f));
}

/* Returns true when the link keeps the packet to itself. */
static bool link_local_traffic(struct pd *pd, struct bytes frame, uint16_t type)
{
	const size_t icmp_at = sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv6_hdr);
	const struct rte_ipv6_hdr *ip =
		(const struct rte_ipv6_hdr *)(frame.p + sizeof(struct rte_ether_hdr));

	if (type == RTE_ETHER_TYPE_ARP) {
		arp_answer(pd, frame);
		return true;
	}
	if (type != RTE_ETHER_TYPE_IPV6 || frame.n <= icmp_at)
		return type != RTE_ETHER_TYPE_IPV4 && type != RTE_ETHER_TYPE_IPV6;
	if (ip->proto == IPPROTO_HOPOPTS)
		return true; /* listener reports carry a router alert */
	if (ip->proto != IPPROTO_ICMPV6)
		return false;
	uint8_t kind = frame.p[icmp_at];
	if (kind == ND_SOLICIT)
		solicit_answer(pd, frame);
	return (kind >= ND_FIRST && kind <= ND_LAST) || (kind >= MLD_FIRST && kind <= MLD_LAST) ||
	       kind == MLD_V2;
}

/* ---- frames that leave ---- */

struct view {
	uint8_t *ip;
	struct rte_tcp_hdr *tcp;
	size_t header, payload;
	bool v4;
};

static bool view_tcp(struct pd_frame *f, struct view *v)
{
	*v = (struct view){.ip = f->octets, .v4 = f->octets[0] >> 4 == 4};
	size_t ip_n = v->v4 ? rte_ipv4_hdr_len((struct rte_ipv4_hdr *)v->ip)
			    : sizeof(struct rte_ipv6_hdr);
	uint8_t protocol = v->v4 ? v->ip[9] : v->ip[6];

	if (protocol != IPPROTO_TCP || f->n < ip_n + sizeof(*v->tcp))
		return false;
	v->tcp = (struct rte_tcp_hdr *)(v->ip + ip_n);
	v->header = ip_n + (v->tcp->data_off >> 4) * 4u;
	v->payload = f->n - v->header;
	return true;
}

/* Everything but lengths, checksums, IP identification, sequence number, PSH and FIN. */
static bool view_same(const struct view *a, const struct view *b)
{
	const uint8_t later = RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG;
	size_t addresses = a->v4 ? 12 : 8, options = a->header - ((uint8_t *)a->tcp - a->ip) - 20;

	return a->v4 == b->v4 && a->header == b->header && a->tcp->src_port == b->tcp->src_port &&
	       a->tcp->dst_port == b->tcp->dst_port && a->ip[1] == b->ip[1] &&
	       memcmp(a->ip + addresses, b->ip + addresses, a->v4 ? 8 : 32) == 0 &&
	       a->tcp->recv_ack == b->tcp->recv_ack && a->tcp->rx_win == b->tcp->rx_win &&
	       !(a->tcp->tcp_flags & (later | RTE_TCP_SYN_FLAG)) &&
	       (a->tcp->tcp_flags | later) == (b->tcp->tcp_flags | later) &&
	       memcmp(a->tcp + 1, b->tcp + 1, options) == 0;
}

static void lengths_set(struct pd_frame *f, struct view *v)
{
	v->tcp->cksum = 0;
	if (v->v4) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)v->ip;
		ip->total_length = rte_cpu_to_be_16((uint16_t)f->n);
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		v->tcp->cksum = rte_ipv4_udptcp_cksum(ip, v->tcp);
	} else {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)v->ip;
		ip->payload_len = rte_cpu_to_be_16((uint16_t)(f->n - sizeof(*ip)));
		v->tcp->cksum = rte_ipv6_udptcp_cksum(ip, v->tcp);
	}
}

/* Join f to the last frame, as if both had been one before the port cut it. */
static bool frame_merge(struct pd *pd, struct pd_frame **last, struct pd_frame *f)
{
	struct pd_frame *l = *last;
	struct view a, b;

	if (!l || l->lap != f->lap || !view_tcp(l, &a) || !view_tcp(f, &b) || !a.payload ||
		!b.payload || !view_same(&a, &b) ||
		rte_be_to_cpu_32(a.tcp->sent_seq) + a.payload !=
			rte_be_to_cpu_32(b.tcp->sent_seq) ||
		l->n + b.payload > UINT16_MAX)
		return false;
	uint8_t flags = b.tcp->tcp_flags | RTE_TCP_PSH_FLAG;
	struct pd_frame *joined = realloc(l, sizeof(*l) + l->n + b.payload);
	BUG_ON(!joined);
	memcpy(joined->octets + joined->n, f->octets + b.header, b.payload);
	joined->n += b.payload;
	*last = joined;
	pd->out_tail = &joined->next;
	view_tcp(joined, &a);
	a.tcp->tcp_flags = flags;
	lengths_set(joined, &a);
	return true;
}

static void out_push(struct pd *pd, const void *packet, size_t n)
{
	struct pd_frame *f = frame_new(pd, packet, n);
	struct pd_frame **last = &pd->out;

	while (*last && (*last)->next)
		last = &(*last)->next;
	if (pd->profile.merge && frame_merge(pd, last, f)) {
		free(f);
		return;
	}
	BUG_ON(pd->out_n == PD_FRAMES_MAX);
	pd->out_n++;
	*pd->out_tail = f;
	pd->out_tail = &f->next;
}

static void link_tx(void *ctx, unsigned port, struct rte_mbuf *m)
{
	struct pd *pd = ctx;
	uint8_t octets[PD_FRAME_OCTETS];
	size_t n = m->pkt_len;

	(void)port;
	BUG_ON(n > sizeof(octets) || n < sizeof(struct rte_ether_hdr));
	const uint8_t *p = rte_pktmbuf_read(m, 0, (uint32_t)n, octets);
	const struct rte_ether_hdr *eth = (const struct rte_ether_hdr *)p;
	if (!link_local_traffic(pd, bytes_make(p, n), rte_be_to_cpu_16(eth->ether_type)))
		out_push(pd, eth + 1, n - sizeof(*eth));
	rte_pktmbuf_free(m);
}

struct pd_frame *pd_frame_take(struct pd *pd)
{
	struct pd_frame *f = pd->out;

	if (!f)
		return NULL;
	pd->out = f->next;
	pd->out_n--;
	if (!pd->out)
		pd->out_tail = &pd->out;
	return f;
}

void pd_frames_free(struct pd *pd)
{
	frames_free(pd->out);
	frames_free(pd->echo);
}

/* ---- frames that arrive ---- */

static void frame_give(struct pd *pd, const void *frame, size_t n)
{
	struct rte_mbuf *m = frame_make(pd->rx, bytes_make(frame, n));

	stack_input(pd->stack, 0, &m, 1, pd->now_us);
}

void pd_input(struct pd *pd, const void *packet, size_t n)
{
	uint8_t frame[PD_FRAME_OCTETS];
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)frame;
	bool v4 = n && *(const uint8_t *)packet >> 4 == 4;

	BUG_ON(sizeof(*eth) + n > sizeof(frame));
	memcpy(&eth->dst_addr, our_mac, 6);
	memcpy(&eth->src_addr, their_mac, 6);
	eth->ether_type = rte_cpu_to_be_16(v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	memcpy(eth + 1, packet, n);
	frame_give(pd, frame, sizeof(*eth) + n);
	pd_settle(pd);
}

/* ---- time ---- */

static bool echo_give(struct pd *pd)
{
	struct pd_frame *f = pd->echo;

	if (!f)
		return false;
	pd->echo = f->next;
	if (!pd->echo)
		pd->echo_tail = &pd->echo;
	frame_give(pd, f->octets, f->n);
	free(f);
	return true;
}

void pd_settle(struct pd *pd)
{
	unsigned laps = 0;
	bool more = true;

	while (more) {
		BUG_ON(laps++ == LAPS_MAX);
		pd->lap++;
		more = timer_run(&pd->wheel, pd->now_us, 64) > 0;
		more |= stack_flush(pd->stack, pd->now_us) > 0;
		while (echo_give(pd))
			more = true;
	}
	pd_handoff(pd);
}

void pd_step(struct pd *pd, uint64_t until_us)
{
	uint64_t next = timer_next_us(&pd->wheel, UINT64_MAX);

	pd->now_us = MIN(MAX(next, pd->now_us + 1), until_us);
	pd_settle(pd);
}

void pd_advance(struct pd *pd, uint64_t until_us)
{
	if (!pd->stack)
		pd->now_us = MAX(pd->now_us, until_us);
	while (pd->now_us < until_us)
		pd_step(pd, until_us);
}

void pd_handoff(struct pd *pd)
{
	struct timespec until;

	if (!pd->waiting || pthread_equal(pthread_self(), pd->runner) == 0)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += PD_HANDOFF_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	pd->pending = pd->waiting;
	pthread_cond_broadcast(&pd->wake);
	while (pd->pending) {
		if (pthread_cond_timedwait(&pd->settled, &pd->lock, &until))
			pd->pending = 0; /* it went away without asking for the time */
	}
}

/* The runner's own thread called something that has to wait: time passes meanwhile. */
static bool wait_runner(struct pd *pd, bool (*ready)(void *arg), void *arg)
{
	uint64_t until = pd->now_us + PD_MAIN_WAIT_US;

	while (!ready(arg) && pd->now_us < until)
		pd_step(pd, until);
	return ready(arg);
}

bool pd_wait(struct pd *pd, bool (*ready)(void *arg), void *arg)
{
	if (ready(arg))
		return true;
	if (pthread_equal(pthread_self(), pd->runner))
		return wait_runner(pd, ready, arg);
	pd->waiting++;
	while (!ready(arg)) {
		if (pd->pending) {
			pd->pending--;
			pthread_cond_signal(&pd->settled);
		}
		pthread_cond_wait(&pd->wake, &pd->lock);
	}
	pd->waiting--;
	return true;
}

/* ---- the stack ---- */

static uint64_t random64(void *ctx)
{
	struct pd *pd = ctx;
	uint64_t z = (pd->random += 0x9e3779b97f4a7c15ull); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void pd_stack_start(struct pd *pd, const struct ip_addr *local)
{
	if (pd->stack)
		return;
	bool v4 = ip_is_v4(local);
	pd->mtu = pd->profile.mtu ? pd->profile.mtu : v4 ? PD_MTU_V4 : PD_MTU_V6;
	struct stack_conf conf = {
		.connections_max = 64,
		.rcv_buffer_bytes = pd->profile.rcv_buffer,
		.snd_buffer_bytes = PD_SNDBUF,
		.port_count = 1,
		.ports[0] = {.mtu = (uint16_t)pd->mtu,
			     /* a prefix of no bits: all are neighbours */
			.address[0] = {.ip = *local, .prefix = v4 ? 96 : 0},
			     .address_count = 1},
		.tcp = pd->profile.tcp,
	};
	memcpy(conf.ports[0].mac, our_mac, 6);
	struct stack_env env = {
		.ctx = pd,
		.tx = link_tx,
		.random64 = random64,
		.tx_pool = pd->tx,
		.control_pool = pd->control,
		.wheel = &pd->wheel,
		.now_us = pd->now_us,
	};
	pd->stack = stack_create(&conf, &env, SOCKET_ID_ANY);
	BUG_ON(!pd->stack);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * ICMP against a live connection, over IPv4 or IPv6 as the first octet says: operations of 8 octets
 * send errors that quote what the stack has sent, or something like it, whole or cut, and let time
 * pass, data flow, and ACKs come.  An error never ends the connection, never makes segments larger,
 * does nothing when what it quotes is not in flight, and host_check holds throughout. */
#include <netinet/in.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include "dataplane/csum.h"
#include "tests/sim/lone_app.h"

#define OPS_MAX 300

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct lone_app app;
static bool v6;
static uint32_t seq, ack;
static struct seg last;                   /* what the stack sent last */
static uint8_t quoted[2048], zeros[4000]; /* the packet that had it */
static size_t quoted_n;

static const struct stream_ops ops = {.on_data = lone_app_take, .on_close = lone_app_closed};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	lone_app_init(&app, &ops, 1023, 1023);
	return 0;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The frame as it would be over IPv6.  Returns octets. */
static size_t frame_to_6(uint8_t *out, const uint8_t *frame, size_t n)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(out + 14);
	struct ip_addr mine = host_ip6(&app.lone.host);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

	memcpy(out, frame, 12);
	memcpy(out + 12, "\x86\xdd", 2);
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)(n - 34)),
		.proto = IPPROTO_TCP,
		.hop_limits = 64,
	};
	memcpy(ip->src_addr, mine.octets, 16);
	ip->src_addr[15] = 2;
	memcpy(ip->dst_addr, mine.octets, 16);
	memcpy(tcp, frame + 34, n - 34);
	tcp->cksum = 0;
	tcp->cksum = rte_ipv6_udptcp_cksum(ip, tcp);
	return n + 20;
}

static void neighbours(void)
{
	struct ip_addr peer = host_ip6(&app.lone.host);

	peer.octets[15] = 2;
	lone_arp(&app.lone);
	stack_neigh_add(app.lone.host.stack, 0, &peer, (const uint8_t *)"\2\0\0\0\0\2", true);
}

static void hear(void)
{
	struct packet p;

	for (; app.lone.taken < app.lone.sent_n; app.lone.taken++) {
		uint8_t *f = app.lone.sent[app.lone.taken].octets;
		size_t n = app.lone.sent[app.lone.taken].n;
		if (!packet_parse(f, n, &p) || !p.tcp)
			continue;
		last = (struct seg){.seq = p.seq, .payload_n = p.payload_n};
		quoted_n = n - 14;
		memcpy(quoted, f + 14, quoted_n);
	}
}

static void say(uint8_t flags)
{
	struct seg s = {.sport = 40000,
		.dport = 25,
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.window = 60000};
	uint8_t frame[200], frame6[200];
	size_t n = lone_build(frame, &s);

	if (v6)
		host_input(&app.lone.host, bytes_make(frame6, frame_to_6(frame6, frame, n)));
	else
		host_input(&app.lone.host, bytes_make(frame, n));
	host_lap(&app.lone.host, app.lone.host.now_us);
	hear();
}

static struct tcp_conn *conn(void)
{
	return &app.lone.host.stack->conns[app.stream.id.index];
}

/* The header of an error that quotes n octets.  Returns octets; *icmp_r: where the message is. */
static size_t error_header4(uint8_t *frame, size_t n, uint8_t **icmp_r)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);

	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(28 + n)),
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*icmp_r = (uint8_t *)(ip + 1);
	return 42 + n;
}

static size_t error_header6(uint8_t *frame, size_t n, uint8_t **icmp_r)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(frame + 14);
	struct ip_addr mine = host_ip6(&app.lone.host);

	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x86\xdd", 14);
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)(8 + n)),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = 64,
	};
	memcpy(ip->src_addr, mine.octets, 16);
	ip->src_addr[15] = 3;
	memcpy(ip->dst_addr, mine.octets, 16);
	*icmp_r = (uint8_t *)(ip + 1);
	return 62 + n;
}

static void error_checksum(uint8_t *frame, uint8_t *icmp, size_t n)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)(frame + 14);
	uint16_t sum = v6 ? rte_ipv6_udptcp_cksum(ip, icmp) : csum_fold(icmp, n);

	memcpy(icmp + 2, &sum, 2);
}

/* Is a segment of the connection in flight that begins where the quote says? */
static bool in_flight(const struct tcp_conn *c, const uint8_t *quote, size_t n)
{
	size_t at = (v6 ? 40 : 20) + 4;

	return n >= at + 4 && seq_le(c->snd_una, packet_be32(quote + at)) &&
	       seq_lt(packet_be32(quote + at), c->snd_nxt);
}

/* op: kind, type, code, octets quoted, mtu (2), what is altered: place, bits */
static void error(const uint8_t *op)
{
	uint8_t frame[2048] = {0}, *icmp;
	size_t quote_n = MIN(MIN((size_t)op[3] * 4, quoted_n), (size_t)1000);
	size_t n = v6 ? error_header6(frame, quote_n, &icmp) : error_header4(frame, quote_n, &icmp);
	uint8_t *quote = icmp + 8;
	struct tcp_conn before = {0};

	icmp[0] = op[0] & 0x40 ? op[1] : v6 ? 2 : 3;
	icmp[1] = op[2] & 15;
	memcpy(icmp + 6, op + 4, 2);
	memcpy(quote, quoted, quote_n);
	if (op[6] < quote_n)
		quote[op[6]] ^= op[7];
	error_checksum(frame, icmp, 8 + quote_n);
	if (app.open)
		before = *conn();
	bool was_open = app.open;
	host_input(&app.lone.host, bytes_make(frame, n));
	BUG_ON(app.open != was_open);
	if (!app.open)
		return;
	const struct tcp_conn *c = conn();
	bool flight = in_flight(c, quote, quote_n);
	BUG_ON(c->state != before.state || c->snd_una != before.snd_una ||
		c->snd_nxt != before.snd_nxt || c->snd_end != before.snd_end);
	BUG_ON(c->mss > before.mss ||
		(c->mss < before.mss && (!flight || c->mss < (v6 ? 1208 : 500))));
	BUG_ON(!flight && c->lost != before.lost);
	BUG_ON(c->cc.cwnd < before.cc.cwnd || c->cc.ssthresh != before.cc.ssthresh);
}

static void operate(const uint8_t *op)
{
	switch (op[0] & 7) {
	case 0:
		neighbours();
		host_lap(&app.lone.host, app.lone.host.now_us + get16(op + 2) * US_PER_MS);
		break;
	case 1:
		if (app.open)
			stream_send(&app.stream, bytes_make(zeros, get16(op + 2) % sizeof(zeros)));
		break;
	case 2: /* acknowledges up to here, or less */
		ack = seq_max(ack, last.seq + (uint32_t)last.payload_n - op[1] * 100u);
		say(ACK);
		break;
	case 3:
		say(ACK);
		break;
	default:
		error(op);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.v6 = true,
		.connections_max = 4,
		.snd_buffer = 60000,
		.rcv_buffer = 60000};

	if (n == 0)
		return 0;
	v6 = data[0] & 1;
	seq = 1000;
	ack = 0;
	quoted_n = 0;
	lone_app_begin(&app, &conf, 25);
	neighbours();
	say(SYN);
	ack = last.seq + 1;
	seq++;
	say(ACK);
	BUG_ON(!app.open);
	for (size_t i = 1, ops_n = 0; i + 8 <= n && ops_n < OPS_MAX; i += 8, ops_n++) {
		operate(data + i);
		host_lap(&app.lone.host, app.lone.host.now_us);
		host_check(&app.lone.host);
		hear();
	}
	lone_app_end(&app);
	return 0;
}

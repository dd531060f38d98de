/* SPDX-License-Identifier: BSD-3-Clause
 * Fragments of a few datagrams in any order, against a map with one cell for each octet that knows
 * nothing of lists: what comes out must be what the map says is whole, when it says so, and nothing
 * else.  The first octet chooses IPv4 or IPv6.  Operations of 8 octets: which datagram, flags,
 * offset (2), length (2), seed of the contents, unused. */
#include <netinet/in.h>
#include <rte_ip.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/lone.h"

#define OPS_MAX   300
#define DATAGRAMS 4
#define CELLS     4096 /* more octets than are put together */
#define NOBODY    253  /* RFC 3692: a protocol for experiments */
#define EMPTY     0xffff

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct host_pools pools;
static struct lone lone;
static uint32_t most;
static bool v6;

/* What is known of a datagram. */
static struct model {
	bool live, dead;
	uint16_t cell[CELLS]; /* fragment it came in, by its number; EMPTY */
	uint8_t octet[CELLS];
	unsigned fragments, start[REASS_FRAGMENTS_MAX], end[REASS_FRAGMENTS_MAX];
	uint32_t total; /* 0: not known */
	uint64_t until_us;
} models[DATAGRAMS];

static struct rte_mbuf *got;
static unsigned got_n;

static bool whole(void *ctx, unsigned port, struct rte_mbuf *m)
{
	(void)ctx;
	(void)port;
	rte_pktmbuf_free(got);
	got = m;
	got_n++;
	return true;
}

static void on_tx(struct host *h, struct bytes frame)
{
	(void)h;
	BUG_ON(frame.n > 14 + 1500);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	eal_start_for_tests(64);
	host_pools_init(&pools, "f", 63, 63);
	return 0;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void model_reset(struct model *m)
{
	m->live = m->dead = false;
	m->fragments = 0;
	m->total = 0;
	memset(m->cell, 0xff, sizeof(m->cell));
}

/* What happens to a fragment, by the map.  Returns true when the datagram is whole now. */
static bool model_take(
	struct model *m, uint32_t start, const uint8_t *octets, uint32_t n, bool more)
{
	uint32_t end = start + n, filled = 0, highest = 0;
	bool any = false, same = true;

	if (n == 0 || (more && n % 8) || end > UINT16_MAX)
		return false;
	if (!m->live) {
		m->live = true;
		m->until_us = lone.host.now_us + REASS_US;
	}
	if (m->dead)
		return false;
	for (uint32_t i = start; i < MIN(end, most); i++) {
		any |= m->cell[i] != EMPTY;
		same &= end <= most && m->cell[i] != EMPTY && m->cell[i] == m->cell[start] &&
			m->octet[i] == octets[i - start];
	}
	if (any) {
		same = same && m->start[m->cell[start]] == start && m->end[m->cell[start]] == end;
		m->dead = !same;
		return false;
	}
	for (uint32_t i = 0; i < most; i++) {
		filled += m->cell[i] != EMPTY;
		if (m->cell[i] != EMPTY)
			highest = i + 1;
	}
	m->dead = end > most || m->fragments == REASS_FRAGMENTS_MAX || (start == 0 && n < 8) ||
		  (m->total && (more ? end >= m->total : end != m->total)) ||
		  (!more && highest > end);
	if (m->dead)
		return false;
	for (uint32_t i = start; i < end; i++) {
		m->cell[i] = (uint16_t)m->fragments;
		m->octet[i] = octets[i - start];
	}
	m->start[m->fragments] = start;
	m->end[m->fragments++] = end;
	if (!more)
		m->total = end;
	return m->total && filled + n == m->total;
}

static void expire(void)
{
	for (unsigned i = 0; i < DATAGRAMS; i++) {
		if (models[i].live && models[i].until_us <= lone.host.now_us)
			model_reset(&models[i]);
	}
}

/* Ethernet, IP and what says that it is a fragment.  Returns octets. */
static size_t header4(uint8_t *frame, unsigned id, uint32_t units, uint32_t n, bool more)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);

	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(20 + n)),
		.packet_id = (uint16_t)id,
		.fragment_offset =
			rte_cpu_to_be_16((uint16_t)(units | (more ? RTE_IPV4_HDR_MF_FLAG : 0))),
		.next_proto_id = NOBODY,
		.src_addr = rte_cpu_to_be_32(LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	return 14 + 20;
}

static size_t header6(uint8_t *frame, unsigned id, uint32_t units, uint32_t n, bool more)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(frame + 14);
	struct ip_addr to = host_ip6(&lone.host);
	uint8_t *h = (uint8_t *)(ip + 1);

	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x86\xdd", 14);
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)(8 + n)),
		.proto = IPPROTO_FRAGMENT,
	};
	memcpy(ip->src_addr, to.octets, 16);
	ip->src_addr[15] = 2;
	memcpy(ip->dst_addr, to.octets, 16);
	memset(h, 0, 8);
	h[0] = NOBODY;
	h[2] = (uint8_t)(units >> 5);
	h[3] = (uint8_t)(units << 3 | more);
	h[7] = (uint8_t)id;
	return 14 + 40 + 8;
}

static void fragment(const uint8_t *op)
{
	uint8_t frame[2048];
	unsigned which = op[0] % DATAGRAMS;
	bool more = op[1] & 1;
	/* mostly small and near, so that something fits */
	uint32_t start = get16(op + 2) % (op[1] & 2 ? 8192 : 40), n = get16(op + 4);
	struct model *m = &models[which];

	n = op[1] & 4 ? n % 1481 : n % 20 * 8;
	if (start == 0 && !more)
		return; /* no fragment */
	size_t at =
		v6 ? header6(frame, which, start, n, more) : header4(frame, which, start, n, more);
	for (uint32_t i = 0; i < n; i++)
		frame[at + i] = (uint8_t)(op[6] + i + start);
	got_n = 0;
	host_input(&lone.host, bytes_make(frame, at + n));
	bool is_whole = model_take(m, start * 8, frame + at, n, more);
	BUG_ON(got_n != is_whole);
	if (!is_whole)
		return;
	size_t head = v6 ? 54 : 34; /* the fragment header is gone */
	BUG_ON(got->data_len != head + m->total);
	BUG_ON(memcmp(rte_pktmbuf_mtod_offset(got, uint8_t *, head), m->octet, m->total) != 0);
	model_reset(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct host_conf conf = {.address = LONE_IP, .mac = 1, .mtu = 1500, .connections_max = 1};

	lone_init(&lone, &pools, &conf);
	lone.host.tx = on_tx;
	lone.host.stack->env.whole = whole;
	lone_arp(&lone);
	most = ip_reass_octets(lone.host.stack);
	BUG_ON(most > CELLS);
	for (unsigned i = 0; i < DATAGRAMS; i++)
		model_reset(&models[i]);
	for (size_t i = 1, ops_n = 0; i + 8 <= n && ops_n < OPS_MAX; i += 8, ops_n++) {
		if ((data[i] & 0xc0) == 0xc0) {
			host_lap(&lone.host, lone.host.now_us + get16(data + i + 2) * US_PER_MS);
			expire();
		} else {
			fragment(data + i);
		}
		BUG_ON(rte_mempool_in_use_count(pools.rx));
	}
	rte_pktmbuf_free(got);
	got = NULL;
	lone_fini(&lone);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * One Ethernet frame, whatever it holds, into a stack of both families with a listener, and the
 * stack's answer.  Each frame is an exact-size block; checksums of TCP are not verified and those
 * of the others made right, so that the fuzzer gets past. */
#include <netinet/in.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/csum.h"
#include "tests/sim/frame.h"
#include "tests/sim/host.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct host_pools pools;
static struct steer_table table = {.core_count = 4,
	.service = {{.port = 25, .cores_n = 2, .cores = {0, 1}}},
	.service_count = 1};
static struct siphash_key key;

static void on_tx(struct host *h, struct bytes frame)
{
	BUG_ON(frame.n > 14u + h->conf.mtu);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	(void)s;
	return data.n;
}

static const struct stream_ops ops = {.on_data = on_data};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	static struct stream s;

	(void)l;
	(void)peer;
	(void)local;
	s = (struct stream){.ops = &ops};
	return &s;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	eal_start_for_tests(64);
	host_pools_init(&pools, "f", 63, 63);
	table.key = &key;
	return 0;
}

/* An IPv4 header's checksum. */
static void mend_v4(uint8_t *ip, size_t n)
{
	if (n < 20 || ip[0] != 0x45)
		return;
	ip[10] = ip[11] = 0;
	uint16_t sum = (uint16_t)~rte_raw_cksum(ip, 20);
	memcpy(ip + 10, &sum, 2);
}

/* That of an ICMPv6 message behind whatever headers. */
static void mend_v6(uint8_t *ip, size_t n)
{
	struct ip_addr from, to;
	struct ipv6_walk w;

	if (n < 40 || ip[0] >> 4 != 6)
		return;
	size_t total = 40u + (size_t)(ip[4] << 8 | ip[5]);
	if (total > n || ipv6_walk(bytes_make(ip, total), &w) != IPV6_FAULT_NONE ||
		w.protocol != IPPROTO_ICMPV6 || w.fragment_header || total < w.at + 4)
		return;
	memcpy(from.octets, ip + 8, 16);
	memcpy(to.octets, ip + 24, 16);
	ip[w.at + 2] = ip[w.at + 3] = 0;
	uint16_t sum = csum_l4(&from, &to, IPPROTO_ICMPV6, ip + w.at, total - w.at);
	memcpy(ip + w.at + 2, &sum, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct listener listener = {.accept = on_accept};
	static struct host host = {.tx = on_tx};
	struct host_conf conf = {.address = 0xc6120001u,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 4,
		.v6 = true,
		.discovery = n > 6 && (data[6] & 1), /* our addresses are still being asked for */
		.trust_csum = true};
	uint8_t frame[2048];

	if (n > 1600)
		return 0;
	if (n >= 14) {
		/* past the filters: our MAC, or a group of IPv6 */
		memcpy(frame, data, n);
		if ((frame[0] & 1) && frame[0] != 0x33)
			memcpy(frame, "\2\0\0\0\0\1", 6);
		if (frame[12] == 8 && frame[13] == 0)
			mend_v4(frame + 14, n - 14);
		if (frame[12] == 0x86 && frame[13] == 0xdd)
			mend_v6(frame + 14, n - 14);
		data = frame;
	}
	host_init(&host, &conf, &pools, 1, 1000 * US_PER_SEC);
	BUG_ON(stack_listen(host.stack, 25, &listener) < 0);
	for (unsigned i = 0; i < 2; i++) { /* twice: the neighbour may be known by then */
		struct rte_mbuf *m = frame_make(pools.rx, bytes_make(data, n));
		BUG_ON(steer_owner(&table, m, 7) > 7);
		(void)steer_for_all(m);
		rte_pktmbuf_free(m);
		host_input(&host, bytes_make(data, n));
		host_lap(&host, host.now_us + 50 * US_PER_MS);
		host_check(&host);
	}
	host_fini(&host);
	BUG_ON(!host_pools_full(&pools));
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Two cores on one port made of rings: the first owns the port, the second the connections.  The
 * test itself is the peer at the other end of the cable.  An argument sets the rings' capacity. */
#include "tests/unit/base/unit.h"
#include <pthread.h>
#include <rte_arp.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_ring.h>
#include <rte_tcp.h>
#include <unistd.h>
#include "dataplane/base/counters.h"
#include "dataplane/dataplane.h"
#include "dataplane/port.h"
#include "dataplane/stack.h"

#define WAIT_US      (20 * US_PER_SEC) /* a ring of one drops, on a loaded machine more than once */
#define SERVICE_PORT 25
#define PEER_PORT    40000
#define FRAME_MAX    2048

static const uint8_t peer_mac[6] = {0x02, 0, 0, 0, 0, 0x99};
static const uint32_t host_ip = RTE_BE32(0xc6120001); /* 198.18.0.1 */
static const uint32_t peer_ip = RTE_BE32(0xc6120002);
static const uint32_t next_ip = RTE_BE32(0xc6120003); /* nobody spoke to it yet */

static struct core cores[CORES_MAX];
static struct rte_ring *to_host, *from_host;
static struct rte_mempool *peer_pool;
static uint8_t host_mac[6];
static uint32_t ring_size = 1024;

/* ---- the peer's end ---- */

struct frame {
	uint8_t octets[FRAME_MAX];
	size_t n;
};

static void peer_send(const void *octets, size_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(peer_pool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), octets, n);
	assert_int_equal(rte_ring_enqueue(to_host, m), 0);
}

/* The next frame from the host. */
static bool peer_receive(struct frame *f, uint64_t timeout_us)
{
	uint64_t until = clock_mono_us() + timeout_us;
	void *object;

	do {
		if (rte_ring_dequeue(from_host, &object) == 0) {
			struct rte_mbuf *m = object;
			f->n = rte_pktmbuf_pkt_len(m);
			assert_true(f->n <= FRAME_MAX);
			memcpy(f->octets, rte_pktmbuf_mtod(m, void *), f->n);
			rte_pktmbuf_free(m);
			return true;
		}
		usleep(100);
	} while (clock_mono_us() < until);
	return false;
}

static struct rte_ether_hdr *frame_begin(struct frame *f, uint16_t type)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)f->octets;

	memset(f, 0, sizeof(*f));
	memcpy(&eth->dst_addr, host_mac, 6);
	memcpy(&eth->src_addr, peer_mac, 6);
	eth->ether_type = rte_cpu_to_be_16(type);
	f->n = sizeof(*eth);
	return eth;
}

static void send_arp(uint16_t op, uint32_t from, const uint8_t to_mac[6])
{
	struct frame f;
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(frame_begin(&f, RTE_ETHER_TYPE_ARP) + 1);

	arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = 6;
	arp->arp_plen = 4;
	arp->arp_opcode = rte_cpu_to_be_16(op);
	memcpy(&arp->arp_data.arp_sha, peer_mac, 6);
	arp->arp_data.arp_sip = from;
	memcpy(&arp->arp_data.arp_tha, to_mac, 6);
	arp->arp_data.arp_tip = host_ip;
	peer_send(f.octets, f.n + sizeof(*arp));
}

static struct rte_ipv4_hdr *ip_begin(struct frame *f, uint8_t protocol, uint32_t from, size_t n)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame_begin(f, RTE_ETHER_TYPE_IPV4) + 1);

	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + n));
	ip->time_to_live = 64;
	ip->next_proto_id = protocol;
	ip->src_addr = from;
	ip->dst_addr = host_ip;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	f->n += sizeof(*ip) + n;
	return ip;
}

struct segment {
	uint32_t from; /* the peer's address */
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	const char *data;
};

static void send_segment(const struct segment *s)
{
	struct frame f;
	size_t n = s->data ? strlen(s->data) : 0;
	struct rte_ipv4_hdr *ip =
		ip_begin(&f, IPPROTO_TCP, s->from, sizeof(struct rte_tcp_hdr) + n);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

	tcp->src_port = rte_cpu_to_be_16(s->sport);
	tcp->dst_port = rte_cpu_to_be_16(s->dport);
	tcp->sent_seq = rte_cpu_to_be_32(s->seq);
	tcp->recv_ack = rte_cpu_to_be_32(s->ack);
	tcp->data_off = 5 << 4;
	tcp->tcp_flags = s->flags;
	tcp->rx_win = rte_cpu_to_be_16(65535);
	if (n)
		memcpy(tcp + 1, s->data, n);
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	peer_send(f.octets, f.n);
}

/* The next TCP segment from the host with all of flags, whatever else comes in between. */
static const struct rte_tcp_hdr *receive_segment(struct frame *f, uint8_t flags)
{
	while (peer_receive(f, WAIT_US)) {
		struct rte_ipv4_hdr *ip =
			(struct rte_ipv4_hdr *)(f->octets + sizeof(struct rte_ether_hdr));
		const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);
		if (((struct rte_ether_hdr *)f->octets)->ether_type ==
				rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
			ip->next_proto_id == IPPROTO_TCP && (tcp->tcp_flags & flags) == flags) {
			/* Over the checksum as well: what is right adds up to 0xffff. */
			assert_int_equal(rte_ipv4_udptcp_cksum(ip, tcp), 0);
			return tcp;
		}
	}
	fail_msg("no segment from the host");
	return NULL;
}

/* ---- the application on the cores ---- */

static struct {
	struct stream accepted, connected;
	_Atomic unsigned accept_lcore, open_lcore;
	atomic_bool connect_wanted;
	int connect_result;
} app;

static size_t echo_data(struct stream *s, struct bytes data)
{
	return stream_send(s, data);
}

static void on_eof(struct stream *s)
{
	stream_close(s);
}

static void on_open(struct stream *s)
{
	(void)s;
	atomic_store(&app.open_lcore, rte_lcore_id());
}

static void on_writable(struct stream *s)
{
	stream_resume(s);
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	(void)reason;
}

static const struct stream_ops ops = {.on_open = on_open,
	.on_data = echo_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	(void)l;
	(void)peer;
	(void)local;
	app.accepted = (struct stream){.ops = &ops};
	atomic_store(&app.accept_lcore, rte_lcore_id());
	return &app.accepted;
}

static unsigned connect_when_wanted(void *ctx, uint64_t now_us)
{
	struct endpoint to = {.ip = ip_from_v4(next_ip), .port = 2525};

	(void)now_us;
	if (!atomic_exchange(&app.connect_wanted, false))
		return 0;
	app.connected.ops = &ops;
	app.connect_result = stream_connect(ctx, &app.connected, &to, 10 * US_PER_SEC);
	return 1;
}

/* ---- ops of the second core to a service thread ---- */

#define OPS 5000

static struct service service;
static struct channel channel;
static struct op requests[8];
static _Atomic unsigned ops_done;
static unsigned ops_sent, ops_refused;

static void op_done(struct op *op)
{
	op->kind = 0; /* free again */
	atomic_fetch_add(&ops_done, 1);
}

/* Keeps as many requests under way as there are credits. */
static unsigned submit_ops(void *ctx, uint64_t now_us)
{
	unsigned work = 0;

	(void)ctx;
	(void)now_us;
	for (unsigned i = 0; i < ARRAY_LEN(requests) && ops_sent < OPS; i++) {
		if (requests[i].kind)
			continue;
		requests[i] = (struct op){.done = op_done, .kind = 1};
		if (channel_submit(&channel, &requests[i]) < 0) {
			requests[i].kind = 0;
			ops_refused++;
			break;
		}
		ops_sent++;
		work++;
	}
	return work;
}

static void *serve_ops(void *arg)
{
	struct op *taken[8];

	(void)arg;
	while (!service_stopping(&service)) {
		unsigned n = service_take(&service, taken, ARRAY_LEN(taken));
		for (unsigned i = 0; i < n; i++)
			channel_complete(taken[i]);
		if (n == 0)
			service_sleep(&service, 100000);
	}
	return NULL;
}

/* ---- tests, in order ---- */

static bool wait_until(_Atomic unsigned *value, unsigned wanted)
{
	uint64_t until = clock_mono_us() + WAIT_US;

	while (atomic_load(value) != wanted && clock_mono_us() < until)
		usleep(200);
	return atomic_load(value) == wanted;
}

static void test_arp_is_answered(void **state)
{
	struct frame f;
	const struct rte_arp_hdr *arp = (void *)(f.octets + sizeof(struct rte_ether_hdr));

	(void)state;
	send_arp(RTE_ARP_OP_REQUEST, peer_ip, (const uint8_t[6]){0});
	assert_true(peer_receive(&f, WAIT_US));
	assert_int_equal(arp->arp_opcode, rte_cpu_to_be_16(RTE_ARP_OP_REPLY));
	assert_int_equal(arp->arp_data.arp_sip, host_ip);
	memcpy(host_mac, &arp->arp_data.arp_sha, 6);
}

static void test_echo_is_answered_where_it_arrives(void **state)
{
	struct frame f;
	struct rte_ipv4_hdr *ip = ip_begin(&f, IPPROTO_ICMP, peer_ip, sizeof(struct rte_icmp_hdr));
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(ip + 1);

	(void)state;
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REQUEST;
	icmp->icmp_ident = 7;
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, sizeof(*icmp));
	peer_send(f.octets, f.n);
	assert_true(peer_receive(&f, WAIT_US));
	assert_int_equal(icmp->icmp_type, RTE_IP_ICMP_ECHO_REPLY);
	assert_int_equal(icmp->icmp_ident, 7);
	assert_int_equal(ip->dst_addr, peer_ip);
}

static void test_a_connection_is_steered_to_the_core_of_its_service(void **state)
{
	struct segment s = {
		.from = peer_ip, .sport = PEER_PORT, .dport = SERVICE_PORT, .seq = 1000};
	struct frame f;
	const struct rte_tcp_hdr *tcp;

	(void)state;
	s.flags = RTE_TCP_SYN_FLAG;
	send_segment(&s);
	tcp = receive_segment(&f, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG);
	assert_int_equal(rte_be_to_cpu_32(tcp->recv_ack), 1001);
	s.seq = 1001;
	s.ack = rte_be_to_cpu_32(tcp->sent_seq) + 1;
	s.flags = RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG;
	s.data = "ping across cores";
	send_segment(&s);
	do {
		tcp = receive_segment(&f, RTE_TCP_ACK_FLAG);
	} while (f.n <= (size_t)((const uint8_t *)tcp - f.octets) + (tcp->data_off >> 4) * 4u);
	const char *echoed = (const char *)tcp + (tcp->data_off >> 4) * 4;
	assert_memory_equal(echoed, s.data, strlen(s.data));
	assert_int_equal(atomic_load(&app.accept_lcore), cores[1].lcore);
	assert_true(counters_sum(CTR_STEER_OUT) >= 2);
	s.seq += (uint32_t)strlen(s.data);
	s.ack += (uint32_t)strlen(s.data);
	s.data = NULL;
	s.flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG;
	send_segment(&s);
}

static void test_a_core_without_a_port_connects_out(void **state)
{
	struct segment s = {.from = next_ip, .sport = 2525, .seq = 5000};
	struct frame f;
	const struct rte_tcp_hdr *tcp;
	const struct rte_arp_hdr *arp = (void *)(f.octets + sizeof(struct rte_ether_hdr));

	(void)state;
	atomic_store(&app.connect_wanted, true);
	waker_kick(&cores[1].waker);
	do {
		assert_true(peer_receive(&f, WAIT_US));
	} while (((struct rte_ether_hdr *)f.octets)->ether_type !=
		 rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP));
	assert_int_equal(arp->arp_data.arp_tip, next_ip);
	/* The answer arrives at the first core, which never heard of the neighbour. */
	send_arp(RTE_ARP_OP_REPLY, next_ip, host_mac);
	tcp = receive_segment(&f, RTE_TCP_SYN_FLAG);
	assert_int_equal(app.connect_result, 0);
	s.dport = rte_be_to_cpu_16(tcp->src_port);
	/* Our ports carry their core. */
	assert_int_equal((s.dport - STACK_EPHEMERAL_FIRST) >> STACK_EPHEMERAL_SHIFT, 1);
	s.ack = rte_be_to_cpu_32(tcp->sent_seq) + 1;
	s.flags = RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG;
	send_segment(&s);
	assert_true(wait_until(&app.open_lcore, cores[1].lcore));
	s.seq++;
	s.flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG;
	send_segment(&s);
}

static void test_ops_of_a_core_are_all_answered(void **state)
{
	(void)state;
	assert_true(wait_until(&ops_done, OPS));
	assert_int_equal(ops_sent, OPS);
	assert_true(ring_size > 4 || ops_refused > 0);
}

static void test_idle_cores_sleep(void **state)
{
	struct timespec a, b;
	uint64_t sleeps, lap;

	(void)state;
	usleep(100000);
	sleeps = counters_sum(CTR_CORE_SLEEPS);
	lap = atomic_load(&cores[1].lap_at_us);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	usleep(500000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_true(counters_sum(CTR_CORE_SLEEPS) > sleeps);
	assert_true(atomic_load(&cores[1].lap_at_us) > lap); /* and the watchdog sees them alive */
	/* Ring ports have no descriptor, so this is the worst case: naps of 1 ms. */
	uint64_t used_us =
		(uint64_t)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
	assert_true(used_us < 100000);
}

static void test_what_is_shown_of_ports_and_pools(void **state)
{
	struct port_info port;
	struct pool_info pools[16];

	(void)state;
	assert_int_equal(port_get_info(&port, 1), 1);
	assert_string_equal(port.name, "cable");
	assert_string_equal(port.driver, "net_ring");
	assert_true(port.link_up);
	/* chunks, rx, and two for each core */
	assert_int_equal(pool_get_info(pools, ARRAY_LEN(pools)), 6);
	assert_string_equal(pools[0].name, "chunks");
}

static void test_no_frame_is_lost_from_its_pool(void **state)
{
	struct pool_info pools[16];
	struct frame f;
	unsigned n;

	(void)state;
	while (peer_receive(&f, 0)) { /* what nobody asked for: the last ACKs */
	}
	n = pool_get_info(pools, ARRAY_LEN(pools));
	assert_int_equal(rte_mempool_in_use_count(peer_pool), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pools[i].in_use, 0);
}

/* ---- the run ---- */

static void check(int rc, const char *what)
{
	if (rc < 0) {
		fprintf(stderr, "test_core: %s\n", what);
		exit(1);
	}
}

static void make_cable(struct port_conf *p)
{
	int id;

	to_host = rte_ring_create("to_host", 256, -1, RING_F_EXACT_SZ);
	from_host = rte_ring_create("from_host", 256, -1, RING_F_EXACT_SZ);
	peer_pool = rte_pktmbuf_pool_create("peer", 255, 0, 0, 2048 + 128, -1);
	check(to_host && from_host && peer_pool ? 0 : -1, "no memory for the cable");
	id = rte_eth_from_rings("cable", &to_host, 1, &from_host, 1, 0);
	check(id, "no ring port");
	check(rte_eth_dev_get_name_by_port((uint16_t)id, p->device), "the ring port has no name");
}

static void configure(struct dataplane_conf *conf)
{
	*conf = (struct dataplane_conf){
		.ports[0] = {.name = "cable", .kind = PORT_RING, .address_count = 1},
		.cores = {{.roles = CORE_DATAPLANE},               {.roles = CORE_CONTROL}       },
		.core_count = 2,
		.connections_max = 64,
		.mbufs = 1023,
		.chunks = 1024,
		.ring_size = ring_size,
	};
	conf->ports[0].address[0] = (struct ip_net){.ip = ip_from_v4(host_ip), .prefix = 120};
	snprintf(conf->file_prefix, sizeof(conf->file_prefix), "bptest%d", (int)getpid());
}

static void start(struct dataplane_conf *conf)
{
	static struct listener listener = {.accept = on_accept};
	char error[256] = "EAL";

	check(dataplane_eal_start(conf, error, sizeof(error)), error);
	make_cable(&conf->ports[0]);
	conf->port_count = 1;
	check(dataplane_start(conf, cores, error, sizeof(error)), error);
	check(dataplane_add_service(SERVICE_PORT, CORE_CONTROL), "service");
	check(stack_listen(cores[1].stack, SERVICE_PORT, &listener), "listen");
	check(service_init(&service), "service");
	check(channel_init(
		      &channel, "ops", MIN(ring_size, 4u), &cores[1].waker, &service.waker, -1),
		"channel");
	check(service_add(&service, &channel), "service");
	check(core_add_channel(&cores[1], &channel), "channel");
	check(core_add_poller(&cores[1], (struct poller){connect_when_wanted, cores[1].stack}),
		"poller");
	check(core_add_poller(&cores[1], (struct poller){submit_ops, NULL}), "poller");
	check(dataplane_launch(cores, 2), "launch");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arp_is_answered),
		cmocka_unit_test(test_echo_is_answered_where_it_arrives),
		cmocka_unit_test(test_a_connection_is_steered_to_the_core_of_its_service),
		cmocka_unit_test(test_a_core_without_a_port_connects_out),
		cmocka_unit_test(test_ops_of_a_core_are_all_answered),
		cmocka_unit_test(test_idle_cores_sleep),
		cmocka_unit_test(test_what_is_shown_of_ports_and_pools),
	};
	const struct CMUnitTest after[] = {cmocka_unit_test(test_no_frame_is_lost_from_its_pool)};
	static struct dataplane_conf conf;
	pthread_t thread;
	int failures;

	if (argc > 1)
		ring_size = (uint32_t)atoi(argv[1]);
	configure(&conf);
	start(&conf);
	check(-pthread_create(&thread, NULL, serve_ops, NULL), "thread");
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	for (unsigned i = 0; i < 2; i++)
		core_stop(&cores[i]);
	dataplane_join();
	service_stop(&service);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 2; i++)
		stack_destroy(&cores[i].stack);
	failures += cmocka_run_group_tests(after, NULL, NULL);
	channel_fini(&channel);
	service_fini(&service);
	dataplane_stop();
	return failures;
}

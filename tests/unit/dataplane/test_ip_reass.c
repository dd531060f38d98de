/* SPDX-License-Identifier: BSD-3-Clause
 * Fragments in every order, twice, overlapping, impossible, too many; IPv4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <rte_icmp.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/csum.h"
#include "tests/sim/lone.h"

#define STRANGER 0xc6120003u

static struct host_pools pools;
static struct lone lone;
static uint8_t datagram[4096]; /* what is cut: an echo request */
static size_t datagram_n;

static int setup(void **state)
{
	struct host_conf conf = {.address = LONE_IP, .mac = 1, .mtu = 1500, .connections_max = 4};

	(void)state;
	lone_init(&lone, &pools, &conf);
	lone_arp(&lone);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lone_fini(&lone);
	return 0;
}

static uint64_t count(enum counter c)
{
	return atomic_load(&counters_mine->value[c]);
}

static void make_echo(size_t n)
{
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)datagram;

	datagram_n = n;
	for (size_t i = 0; i < n; i++)
		datagram[i] = (uint8_t)(i * 7 + i / 256);
	*icmp = (struct rte_icmp_hdr){.icmp_type = RTE_IP_ICMP_ECHO_REQUEST, .icmp_ident = 77};
	icmp->icmp_cksum = csum_fold(datagram, n);
}

struct piece {
	uint32_t from; /* 0: LONE_PEER */
	uint16_t id;
	uint16_t offset, n;
	bool more;
	uint8_t protocol; /* 0: ICMP */
	uint8_t tos;
	const uint8_t *octets; /* NULL: those of the datagram at offset */
};

static void say(const struct piece *p)
{
	uint8_t frame[2048];
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);

	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = p->tos,
		.total_length = rte_cpu_to_be_16((uint16_t)(20 + p->n)),
		.packet_id = rte_cpu_to_be_16(p->id),
		.fragment_offset = rte_cpu_to_be_16(
			(uint16_t)(p->offset / 8 | (p->more ? RTE_IPV4_HDR_MF_FLAG : 0))),
		.time_to_live = 64,
		.next_proto_id = p->protocol ? p->protocol : IPPROTO_ICMP,
		.src_addr = rte_cpu_to_be_32(p->from ? p->from : LONE_PEER),
		.dst_addr = rte_cpu_to_be_32(LONE_IP),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	memcpy(frame + 34, p->octets ? p->octets : datagram + p->offset % 2048, p->n);
	host_input(&lone.host, bytes_make(frame, 34u + p->n));
	host_lap(&lone.host, lone.host.now_us);
}

/* The next packet that the stack sent, which is no ARP; its length, 0: none. */
static size_t next_packet(const uint8_t **ip_r)
{
	static const uint8_t none[20];

	*ip_r = none;
	while (lone.taken < lone.sent_n) {
		const uint8_t *f = lone.sent[lone.taken].octets;
		size_t n = lone.sent[lone.taken++].n;
		*ip_r = f + 14;
		if (f[12] == 8 && f[13] == 0)
			return n - 14;
	}
	return 0;
}

/* The datagram came out whole, and its answer is here, as much as the link takes. */
static void expect_reply(void)
{
	size_t n = MIN(datagram_n, (size_t)1480);
	const uint8_t *ip;

	assert_int_equal(next_packet(&ip), 20 + n);
	assert_int_equal(ip[20], RTE_IP_ICMP_ECHO_REPLY);
	assert_memory_equal(ip + 24, datagram + 4, n - 4);
	assert_int_equal(csum_fold(ip + 20, n), 0);
}

static void expect_nothing(void)
{
	const uint8_t *ip;

	assert_int_equal(next_packet(&ip), 0);
}

static void expect_empty(void)
{
	assert_true(list_empty(&lone.host.stack->reass.by_age));
	assert_false(timer_armed(&lone.host.stack->reass.timer));
}

/* Piece i of k: multiples of 8 octets, but for the last. */
static struct piece piece_of(unsigned i, unsigned k, uint16_t id)
{
	size_t each = (datagram_n + 8 * k - 1) / (8 * k) * 8, at = i * each;

	return (struct piece){.id = id,
		.offset = (uint16_t)at,
		.n = (uint16_t)MIN(each, datagram_n - at),
		.more = i + 1 < k};
}

static void permute(unsigned *order, unsigned n, unsigned k, uint16_t *id, unsigned twice)
{
	if (n == k) {
		(*id)++;
		for (unsigned i = 0; i < k; i++) {
			struct piece p = piece_of(order[i], k, *id);
			say(&p);
			/* a duplicate changes nothing; of the last one it would begin anew */
			if (i == twice && i + 1 < k)
				say(&p);
			if (i + 1 < k)
				expect_nothing();
		}
		expect_reply();
		expect_empty();
		return;
	}
	for (unsigned i = n; i < k; i++) {
		unsigned o = order[n];
		order[n] = order[i];
		order[i] = o;
		permute(order, n + 1, k, id, twice);
		order[i] = order[n];
		order[n] = o;
	}
}

static void test_every_order_of_up_to_five(void **state)
{
	uint16_t id = 0;

	(void)state;
	make_echo(1001);
	for (unsigned k = 2; k <= 5; k++) {
		for (unsigned twice = 0; twice <= k; twice++) {
			unsigned order[5] = {0, 1, 2, 3, 4};
			permute(order, 0, k, &id, twice);
		}
	}
}

/* Each way in which a second piece of 16 octets can lie on a first one, 32 to 48. */
static void test_overlaps_end_the_datagram(void **state)
{
	uint16_t id = 1000;

	(void)state;
	make_echo(200);
	for (uint16_t at = 0; at <= 80; at += 8) {
		for (uint16_t n = 8; n <= 64; n += 8) {
			bool same = at == 32 && n == 16;
			bool overlap = at < 48 && at + n > 32;
			uint64_t before = count(CTR_IP_REASS_OVERLAP);
			struct piece first = {.id = ++id, .offset = 32, .n = 16, .more = true};
			struct piece second = {.id = id, .offset = at, .n = n, .more = true};
			say(&first);
			say(&second);
			assert_int_equal(
				count(CTR_IP_REASS_OVERLAP) - before, overlap && !same ? 1 : 0);
		}
	}
	expect_nothing();
	lone_wait(&lone, 61 * US_PER_SEC);
	expect_empty();
}

static void test_the_dead_swallow_what_comes(void **state)
{
	struct piece all[] = {
		{.id = 1,       .offset = 0, .n = 104, .more = true},
		{.id = 1,             .offset = 96,                  .n = 104,  .more = true},
                {.id = 1, .offset = 104,            .n = 96            }
        };

	(void)state;
	make_echo(200);
	for (unsigned i = 0; i < 3; i++)
		say(&all[i]);
	say(&all[0]);
	say(&all[2]);
	expect_nothing();
	/* the name is free again afterwards */
	lone_wait(&lone, 61 * US_PER_SEC);
	lone_arp(&lone);
	lone.taken = lone.sent_n;
	say(&all[0]);
	say(&all[2]);
	expect_reply();
}

/* The same octets with other contents are no duplicate. */
static void test_a_forged_duplicate_ends_it(void **state)
{
	uint8_t other[104] = {1};
	struct piece a = {.id = 1, .offset = 0, .n = 104, .more = true}, b = a,
		     last = {.id = 1, .offset = 104, .n = 96};

	(void)state;
	make_echo(200);
	b.octets = other;
	say(&a);
	say(&b);
	say(&last);
	expect_nothing();
}

static void expect_bad(const struct piece *p, unsigned n)
{
	uint64_t before = count(CTR_IP_REASS_BAD);

	for (unsigned i = 0; i < n; i++)
		say(&p[i]);
	assert_int_equal(count(CTR_IP_REASS_BAD) - before, 1);
	expect_nothing();
}

static void test_the_impossible(void **state)
{
	static const struct piece odd = {.id = 1, .offset = 0, .n = 99, .more = true},
				  beyond = {.id = 2, .offset = 65528, .n = 16},
				  large = {.id = 3, .offset = 2048, .n = 8},
				  empty = {.id = 4, .offset = 80, .n = 0},
				  tiny_tcp = {.id = 5,
					  .offset = 0,
					  .n = 16,
					  .more = true,
					  .protocol = IPPROTO_TCP};
	static const struct piece two_ends[] = {
		{.id = 6, .offset = 160, .n = 16},
                {.id = 6, .offset = 80,  .n = 16}
        };
	static const struct piece behind_end[] = {
		{.id = 7,       .offset = 80, .n = 16     },
                { .id = 7, .offset = 96,      .n = 16, .more = true}
        };
	static const struct piece end_before[] = {
		{.id = 8, .offset = 96, .n = 16, .more = true},
                {.id = 8,       .offset = 80,             .n = 16 }
        };

	(void)state;
	make_echo(4000);
	expect_bad(&odd, 1);
	expect_bad(&beyond, 1);
	expect_bad(&large, 1);
	expect_bad(&empty, 1);
	expect_bad(&tiny_tcp, 1);
	expect_bad(two_ends, 2);
	expect_bad(behind_end, 2);
	expect_bad(end_before, 2);
}

static void test_the_largest(void **state)
{
	uint16_t most = (uint16_t)ip_reass_octets(lone.host.stack);

	(void)state;
	assert_in_range(most, 1480, 2048);
	make_echo(most);
	struct piece a = {.id = 1, .offset = 0, .n = 1000, .more = true},
		     b = {.id = 1, .offset = 1000, .n = (uint16_t)(most - 1000)};
	uint64_t before = count(CTR_IP_REASS_OK);
	say(&a);
	say(&b);
	assert_int_equal(count(CTR_IP_REASS_OK) - before, 1);
	expect_reply();
	make_echo(most + 8u);
	b.n = (uint16_t)(b.n + 8);
	a.id = b.id = 2;
	say(&a);
	expect_bad(&b, 1);
}

static void test_too_many_pieces(void **state)
{
	(void)state;
	make_echo(8 * (REASS_FRAGMENTS_MAX + 1));
	for (unsigned k = REASS_FRAGMENTS_MAX; k <= REASS_FRAGMENTS_MAX + 1; k++) {
		make_echo(8 * k);
		for (unsigned i = 0; i < k; i++) {
			struct piece p = piece_of(i, k, (uint16_t)k);
			say(&p);
		}
		if (k == REASS_FRAGMENTS_MAX)
			expect_reply();
		else
			expect_nothing();
	}
}

static void test_marks_of_congestion(void **state)
{
	static const uint8_t tos[][3] = {
  /* two fragments, and what the answer has; 4: nothing comes */
		{0, 0, 0},
                {1, 1, 1},
                {2, 2, 2},
                {1, 2, 1},
                {0, 2, 0},
                {3, 2, 3},
                {1, 3, 3},
		{3, 0, 4},
                {0, 3, 4}
        };
	const uint8_t *ip;

	(void)state;
	make_echo(100);
	for (unsigned i = 0; i < ARRAY_LEN(tos); i++) {
		struct piece a = piece_of(0, 2, (uint16_t)i), b = piece_of(1, 2, (uint16_t)i);
		a.tos = tos[i][0];
		b.tos = tos[i][1];
		say(&a);
		say(&b);
		size_t n = next_packet(&ip);
		assert_int_equal(n ? ip[1] : 4, tos[i][2]);
	}
}

/* RFC 792: time exceeded in reassembly, to who sent the first fragment, with what it had. */
static void test_a_timeout_is_told(void **state)
{
	struct piece first = {.id = 1, .offset = 0, .n = 104, .more = true},
		     second = {.id = 2, .offset = 104, .n = 96};
	const uint8_t *ip;

	(void)state;
	make_echo(200);
	say(&first);
	say(&second); /* of another: nobody knows whose */
	lone_wait(&lone, 59 * US_PER_SEC);
	expect_nothing();
	lone_wait(&lone, 2 * US_PER_SEC);
	expect_empty();
	size_t n = next_packet(&ip);
	assert_in_range(n, 20 + 8 + 28, 576);
	assert_int_equal(ip[9], IPPROTO_ICMP);
	assert_int_equal(ip[20], 11);
	assert_int_equal(ip[21], 1);
	assert_int_equal(csum_fold(ip + 20, n - 20), 0);
	assert_int_equal(ip[28], 0x45);
	assert_memory_equal(ip + 48, datagram, 8);
	expect_nothing();
}

/* A source that fills its share pushes out its own; others get through. */
static void test_a_flood_is_bounded_and_service_goes_on(void **state)
{
	struct piece junk = {.from = STRANGER, .offset = 8, .n = 8, .more = true};
	uint64_t evicted = count(CTR_IP_REASS_EVICTED);

	(void)state;
	make_echo(200);
	struct piece first = piece_of(0, 2, 9), second = piece_of(1, 2, 9);
	say(&first);
	for (unsigned i = 0; i < 10000; i++) {
		junk.id = (uint16_t)i;
		say(&junk);
	}
	assert_int_equal(count(CTR_IP_REASS_EVICTED) - evicted, 10000 - REASS_PER_SOURCE);
	assert_int_equal(rte_mempool_in_use_count(pools.rx), 0); /* no frame is kept */
	assert_int_equal(rte_mempool_in_use_count(pools.tx), 0);
	say(&second);
	expect_reply();
	/* from many sources: whatever comes together is still put together */
	for (unsigned i = 0; i < 100000; i++) {
		junk.from = STRANGER + i;
		say(&junk);
		if (i % 5000)
			continue;
		first.id = second.id = (uint16_t)i;
		say(&first);
		say(&second);
		expect_reply();
	}
	lone_wait(&lone, 61 * US_PER_SEC);
	expect_empty();
}

static bool whole_here(void *ctx, unsigned port, struct rte_mbuf *m)
{
	struct rte_mbuf **got = ctx;

	assert_int_equal(port, 0);
	*got = m;
	return true;
}

/* The frame that goes to the core of its flow says no more that it was cut. */
static void test_another_core_gets_a_frame(void **state)
{
	struct stack_env *env = &lone.host.stack->env;
	struct rte_mbuf *got = NULL;
	void *ctx = env->ctx;

	(void)state;
	make_echo(200);
	struct piece first = piece_of(0, 2, 9), second = piece_of(1, 2, 9);
	env->whole = whole_here;
	env->ctx = &got;
	say(&second);
	say(&first);
	env->whole = NULL;
	env->ctx = ctx;
	assert_non_null(got);
	const uint8_t *f = rte_pktmbuf_mtod(got, const uint8_t *);
	assert_int_equal(got->data_len, 14 + 20 + 200);
	assert_int_equal(f[12] << 8 | f[13], 0x800);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(f + 14);
	assert_int_equal(ip->fragment_offset, 0);
	assert_int_equal(rte_be_to_cpu_16(ip->total_length), 220);
	assert_true(csum_ip4_ok(ip));
	assert_memory_equal(f + 34, datagram, 200);
	expect_nothing();
	/* and comes in there */
	stack_input(lone.host.stack, 0, &got, 1, lone.host.now_us);
	host_lap(&lone.host, lone.host.now_us);
	expect_reply();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_every_order_of_up_to_five),
		TEST(test_overlaps_end_the_datagram),
		TEST(test_the_dead_swallow_what_comes),
		TEST(test_a_forged_duplicate_ends_it),
		TEST(test_the_impossible),
		TEST(test_the_largest),
		TEST(test_too_many_pieces),
		TEST(test_marks_of_congestion),
		TEST(test_a_timeout_is_told),
		TEST(test_a_flood_is_bounded_and_service_goes_on),
		TEST(test_another_core_gets_a_frame),
	};

	eal_start_for_tests(64);
	host_pools_init(&pools, "reass", 1023, 1023);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Frames for `trace`: which match, that a ring gives back what was put in over many rounds, and
 * what becomes of those without room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <rte_mbuf.h>
#include <string.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/capture.h"
#include "tests/sim/lone.h"

static struct rte_mempool *pool;
static struct capture_ring ring;

static struct rte_mbuf *frame(const uint8_t *octets, size_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), octets, n);
	return m;
}

/* From the peer of tests/sim/lone.h to the stack. */
static struct rte_mbuf *segment(uint16_t from, uint16_t to)
{
	uint8_t octets[2048];
	struct seg s = {.sport = from, .dport = to, .flags = ACK};

	return frame(octets, lone_build(octets, &s));
}

static struct ip_net net_of(const char *text)
{
	struct ip_net net;

	assert_int_equal(ip_net_parse(bytes_str(text), &net), 0);
	return net;
}

static bool matches(const struct capture_filter *f, struct rte_mbuf *m)
{
	bool yes = capture_matches(f, m);

	rte_pktmbuf_free(m);
	return yes;
}

static void test_a_peer(void **state)
{
	struct capture_filter peer = {.net = net_of("198.18.0.2")};
	struct capture_filter net = {.net = net_of("198.18.0.0/15")};
	struct capture_filter other = {.net = net_of("198.18.0.9")};
	struct capture_filter v6 = {.net = net_of("2001:2::/48")};

	(void)state;
	assert_true(matches(&peer, segment(1, 25)));
	assert_true(matches(&net, segment(1, 25)));
	assert_false(matches(&other, segment(1, 25)));
	assert_false(matches(&v6, segment(1, 25)));
}

static void test_a_connection_both_ways(void **state)
{
	struct capture_filter f = {
		.exact = true,
		.local = {.ip = net_of("198.18.0.1").ip, .port = 25  },
		.peer = {.ip = net_of("198.18.0.2").ip, .port = 4000}
        };
	struct capture_filter turned = {.exact = true, .local = f.peer, .peer = f.local};

	(void)state;
	assert_true(matches(&f, segment(4000, 25)));
	assert_true(matches(&turned, segment(4000, 25)));
	assert_false(matches(&f, segment(4001, 25)));
	assert_false(matches(&f, segment(25, 4000)));
}

static void test_vlan_ipv6_and_arp(void **state)
{
	static const uint8_t arp[42] = {
		[12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, [28] = 198, 18, 0, 2, [38] = 198, 18, 0, 1};
	uint8_t six[14 + 40 + 20] = {[12] = 0x86,
		0xdd,
		0x60,
		[20] = 6,
		64,
		[22] = 0x20,
		1,
		0,
		2,
		[37] = 1,
		[38] = 0x20,
		1,
		0,
		2,
		[53] = 2,
		0,
		9,
		0,
		25};
	uint8_t octets[2048], tagged[2048];
	struct capture_filter four = {.net = net_of("198.18.0.2")};
	struct capture_filter v6 = {.net = net_of("2001:2::1")};
	struct capture_filter conn = {
		.exact = true,
		.local = {.ip = net_of("2001:2::2").ip, .port = 25},
		.peer = {.ip = net_of("2001:2::1").ip, .port = 9 }
        };
	struct seg s = {.sport = 1, .dport = 25, .flags = ACK};

	(void)state;
	assert_true(matches(&four, frame(arp, sizeof(arp))));
	assert_true(matches(&v6, frame(six, sizeof(six))));
	assert_true(matches(&conn, frame(six, sizeof(six))));
	size_t n = lone_build(octets, &s);
	memcpy(tagged, octets, 12);
	memcpy(tagged + 12, (const uint8_t[]){0x81, 0, 0, 7}, 4);
	memcpy(tagged + 16, octets + 12, n - 12);
	assert_true(matches(&four, frame(tagged, n + 4)));
}

/* Cut anywhere, a frame matches or does not, and nothing behind its end is read. */
static void test_cut_frames(void **state)
{
	uint8_t octets[2048];
	struct seg s = {.sport = 4000, .dport = 25, .flags = ACK};
	size_t n = lone_build(octets, &s);
	struct capture_filter f = {
		.exact = true,
		.local = {.ip = net_of("198.18.0.1").ip, .port = 25  },
		.peer = {.ip = net_of("198.18.0.2").ip, .port = 4000}
        };

	(void)state;
	for (size_t cut = 0; cut <= n; cut++)
		assert_int_equal(matches(&f, frame(octets, cut)), cut >= 14 + 20 + 4);
}

static void begin(uint32_t snap)
{
	memset(&ring, 0, sizeof(ring));
	ring.filter = (struct capture_filter){.net = net_of("198.18.0.0/15"), .snap = snap};
}

/* Lengths of all kinds, so that the ring's end is met at all places. */
static void test_what_goes_in_comes_out(void **state)
{
	uint8_t octets[2048], payload[1400];
	uint64_t in = 0, out = 0;

	(void)state;
	begin(CAPTURE_SNAP_MAX);
	for (unsigned round = 0; round < 5000; round++) {
		struct seg s = {.sport = (uint16_t)round, .dport = 25, .flags = ACK};
		s.payload = payload;
		s.payload_n = round * 37 % sizeof(payload);
		memset(payload, (int)round, sizeof(payload));
		struct rte_mbuf *m = frame(octets, lone_build(octets, &s));
		capture_received(&ring, 3, &m, 1);
		in += m->pkt_len;
		const struct capture_record *r = capture_peek(&ring);
		assert_non_null(r);
		assert_int_equal(r->n, m->pkt_len);
		assert_int_equal(r->size, m->pkt_len);
		assert_int_equal(r->port, 3);
		assert_false(r->out);
		assert_memory_equal(r + 1, rte_pktmbuf_mtod(m, void *), r->n);
		out += r->n;
		capture_take(&ring);
		assert_null(capture_peek(&ring));
		rte_pktmbuf_free(m);
	}
	assert_int_equal(in, out);
	assert_true(in > 2 * CAPTURE_RING_BYTES);
	assert_int_equal(ring.drops, 0);
}

/* Records end where a whole mark has room behind them, whatever they hold. */
static void test_the_mark_at_the_end_is_inside(void **state)
{
	static struct {
		struct capture_ring ring;
		uint64_t guard[4];
	} r;
	uint8_t octets[64] = {0};

	(void)state;
	for (unsigned left = 1; left <= 64; left++) {
		struct rte_mbuf *m = segment(1, 25);
		uint64_t end = (CAPTURE_RING_BYTES - left) & ~15ull;

		r.ring.filter = (struct capture_filter){.net = net_of("0.0.0.0/0"), .snap = left};
		atomic_store(&r.ring.head, end);
		atomic_store(&r.ring.tail, end);
		capture_received(&r.ring, 0, &m, 1);
		const struct capture_record *record = capture_peek(&r.ring);
		assert_non_null(record);
		assert_int_equal(record->n, MIN(left, m->pkt_len));
		capture_take(&r.ring);
		assert_int_equal(atomic_load(&r.ring.head) % sizeof(struct capture_record), 0);
		assert_memory_equal(r.guard, octets, sizeof(r.guard));
		rte_pktmbuf_free(m);
	}
}

static void test_a_full_ring_drops_and_counts(void **state)
{
	unsigned put = 0, taken = 0;

	(void)state;
	begin(CAPTURE_SNAP_MAX);
	while (put < 100000 && ring.drops < 10) {
		struct rte_mbuf *m = segment((uint16_t)put++, 25);
		capture_received(&ring, 0, &m, 1);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(ring.drops, 10);
	assert_int_equal(ring.seen, put);
	for (; capture_peek(&ring); capture_take(&ring))
		taken++;
	assert_int_equal(taken, put - 10);
	struct rte_mbuf *m = segment(1, 25);
	capture_received(&ring, 0, &m, 1);
	assert_non_null(capture_peek(&ring)); /* goes on */
	rte_pktmbuf_free(m);
}

static void test_only_what_was_sent_is_kept(void **state)
{
	struct rte_mbuf *m[3] = {segment(1, 25), segment(2, 25), segment(3, 25)};
	struct capture_sending s;

	(void)state;
	begin(60);
	capture_sending(&s, &ring, 0, m, 3);
	assert_null(capture_peek(&ring));
	capture_sent(&s, 2);
	capture_sending(&s, &ring, 0, m + 2, 1);
	capture_sent(&s, 1);
	for (unsigned i = 0; i < 3; i++) {
		const struct capture_record *r = capture_peek(&ring);
		assert_non_null(r);
		assert_true(r->out);
		assert_int_equal(r->n, MIN(m[i]->pkt_len, 60u));
		assert_memory_equal(r + 1, rte_pktmbuf_mtod(m[i], void *), r->n);
		capture_take(&ring);
		rte_pktmbuf_free(m[i]);
	}
	assert_null(capture_peek(&ring));
}

static void test_chained_frames_are_whole(void **state)
{
	struct rte_mbuf *m = segment(1, 25), *tail = rte_pktmbuf_alloc(pool);
	uint8_t whole[512];

	(void)state;
	memset(rte_pktmbuf_append(tail, 300), 0x5a, 300);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	begin(CAPTURE_SNAP_MAX);
	capture_received(&ring, 0, &m, 1);
	const struct capture_record *r = capture_peek(&ring);
	assert_non_null(r);
	assert_int_equal(r->n, m->pkt_len);
	memcpy(whole, rte_pktmbuf_mtod(m, void *), m->data_len);
	memset(whole + m->data_len, 0x5a, 300);
	assert_memory_equal(r + 1, whole, r->n);
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_peer),
		cmocka_unit_test(test_a_connection_both_ways),
		cmocka_unit_test(test_vlan_ipv6_and_arp),
		cmocka_unit_test(test_cut_frames),
		cmocka_unit_test(test_what_goes_in_comes_out),
		cmocka_unit_test(test_the_mark_at_the_end_is_inside),
		cmocka_unit_test(test_a_full_ring_drops_and_counts),
		cmocka_unit_test(test_only_what_was_sent_is_kept),
		cmocka_unit_test(test_chained_frames_are_whole),
	};

	eal_start_for_tests(64);
	pool = rte_pktmbuf_pool_create("capture", 255, 0, 0, 2048 + RTE_PKTMBUF_HEADROOM, 0);
	assert_non_null(pool);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

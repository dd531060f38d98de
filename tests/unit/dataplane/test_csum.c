/* SPDX-License-Identifier: BSD-3-Clause
 * Checksums against RFC 1071 written as it reads, at every length and alignment. */
#include "tests/unit/base/unit.h"
#include "dataplane/csum.h"

#define OCTETS 600 /* with and without whole blocks */

/* RFC 1071 4.1, over octets in network order; the sum of the words, folded. */
static uint16_t reference(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void fill(uint8_t *p, size_t n, uint64_t seed, bool ones)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = ones ? 0xff : (uint8_t)(seed >> 56);
	}
}

static void test_every_length_and_alignment(void **state)
{
	uint8_t octets[OCTETS + 8];

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		fill(octets, sizeof(octets), round, round == 2);
		for (size_t at = 0; at < 8; at++) {
			for (size_t n = 0; n <= OCTETS; n++) {
				uint16_t want = (uint16_t)~reference(octets + at, n, 0);
				assert_int_equal(rte_be_to_cpu_16(csum_fold(octets + at, n)), want);
			}
		}
	}
}

static void test_pseudo_header(void **state)
{
	struct ip_addr from = ip_from_v4(RTE_BE32(0xc6120001)),
		       to = ip_from_v4(RTE_BE32(0xc612ffff));
	uint8_t octets[OCTETS];
	uint32_t pseudo = 0xc612 + 0x0001 + 0xc612 + 0xffff + 6;

	(void)state;
	fill(octets, sizeof(octets), 7, false);
	for (size_t n = 20; n <= OCTETS; n++) {
		octets[16] = octets[17] = 0;
		uint16_t want = (uint16_t)~reference(octets, n, pseudo + (uint32_t)n);
		uint16_t sum = csum_l4(&from, &to, 6, octets, n);
		assert_int_equal(rte_be_to_cpu_16(sum), want);
		memcpy(octets + 16, &sum, 2);
		assert_int_equal(csum_l4(&from, &to, 6, octets, n), 0);
		octets[n - 1] ^= 1;
		assert_int_not_equal(csum_l4(&from, &to, 6, octets, n), 0);
	}
}

static void test_ipv4_header(void **state)
{
	struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .time_to_live = 64};

	(void)state;
	ip.hdr_checksum = csum_fold(&ip, sizeof(ip));
	assert_true(csum_ip4_ok(&ip));
	ip.time_to_live--;
	assert_false(csum_ip4_ok(&ip));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length_and_alignment),
		cmocka_unit_test(test_pseudo_header),
		cmocka_unit_test(test_ipv4_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

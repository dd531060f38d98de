/* SPDX-License-Identifier: BSD-3-Clause
 * SipHash and CRC-32C against published vectors. */
#include "tests/unit/base/unit.h"
#include <string.h>
#include "dataplane/base/crc32c.h"
#include "dataplane/base/siphash.h"

/* Key 00 01 .. 0f, message 00 01 .. n-1 (the reference implementation's vectors). */
static const struct siphash_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};

static void test_siphash24_reference_vectors(void **state)
{
	static const struct {
		size_t n;
		uint64_t hash;
	} v[] = {
		{0,  0x726fdb47dd0e0e31ull},
                {1,  0x74f839c593dc67fdull},
                {2,  0x0d6c8009d9a94f5aull},
		{3,  0x85676696d7fb7e2dull},
                {8,  0x93f5f5799a932462ull},
		{15, 0xa129ca6149be45e5ull}
        };
	uint8_t message[16];

	(void)state;
	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		assert_true(siphash24(&key, message, v[i].n) == v[i].hash);
}

static void test_siphash13_reference_vectors(void **state)
{
	uint8_t zero = 0;

	(void)state;
	assert_true(siphash13(&key, NULL, 0) == 0xabac0158050fc4dcull);
	assert_true(siphash13(&key, &zero, 1) == 0xc9f49bf37d57ca93ull);
}

static void test_random_keys_differ(void **state)
{
	struct siphash_key a, b;

	(void)state;
	siphash_key_random(&a);
	siphash_key_random(&b);
	assert_memory_not_equal(&a, &b, sizeof(a));
}

/* At once, and in pieces of every alignment that are too short for lanes. */
static void test_crc32c_of_long_runs(void **state)
{
	static uint8_t data[3 * 4080 + 100];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 167 + (i >> 8) * 13 + 5);
	for (size_t n = 4000; n <= sizeof(data); n += n < 4200 ? 1 : 61) {
		uint32_t crc = 0;
		for (size_t at = 0, k; at < n; at += k) {
			k = MIN(n - at, 1000 + n % 7);
			crc = crc32c(crc, data + at, k);
		}
		assert_int_equal(crc32c(0, data, n), crc);
	}
}

static void test_crc32c_vectors(void **state)
{
	uint8_t block[32];

	(void)state;
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	/* RFC 3720 B.4 */
	memset(block, 0, sizeof(block));
	assert_int_equal(crc32c(0, block, 32), 0x8a9136aau);
	memset(block, 0xff, sizeof(block));
	assert_int_equal(crc32c(0, block, 32), 0x62a8ab43u);
	for (unsigned i = 0; i < 32; i++)
		block[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, block, 32), 0x46dd794eu);
	for (unsigned i = 0; i < 32; i++)
		block[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(0, block, 32), 0x113fdb5cu);
}

static void test_crc32c_continues_at_every_split(void **state)
{
	uint8_t data[67];

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37);
	uint32_t whole = crc32c(0, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		assert_int_equal(
			crc32c(crc32c(0, data, cut), data + cut, sizeof(data) - cut), whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash24_reference_vectors),
		cmocka_unit_test(test_siphash13_reference_vectors),
		cmocka_unit_test(test_random_keys_differ),
		cmocka_unit_test(test_crc32c_of_long_runs),
		cmocka_unit_test(test_crc32c_vectors),
		cmocka_unit_test(test_crc32c_continues_at_every_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/crc32c.h"
#include <pthread.h>
#include <string.h>

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_instruction;

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(
	uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = crc;

#pragma GCC unroll 8
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; n; p++, n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}

/* The instruction answers after three cycles, but takes a word each: three lanes side by side, put
 * together by what LANE zeros behind a checksum make of it, octet by octet of it. */
#define LANE 1360 /* octets: three lanes are a chunk of a body (rt/chunk.h) */
static uint32_t behind_zeros[4][256];

static void lanes_init(void)
{
	static const uint8_t zeros[LANE];
	uint32_t bit[32];

	for (int i = 0; i < 32; i++)
		bit[i] = by_instruction(1u << i, zeros, sizeof(zeros));
	for (int k = 0; k < 4; k++) {
		for (unsigned i = 1; i < 256; i++)
			behind_zeros[k][i] =
				behind_zeros[k][i & (i - 1)] ^ bit[8 * k + __builtin_ctz(i)];
	}
}

static uint32_t shifted(uint32_t c)
{
	return behind_zeros[0][c & 0xff] ^ behind_zeros[1][c >> 8 & 0xff] ^
	       behind_zeros[2][c >> 16 & 0xff] ^ behind_zeros[3][c >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t by_lanes(uint32_t crc, const uint8_t *p, size_t n)
{
	for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE) {
		uint64_t a = crc, b = 0, c = 0, w;
		for (size_t i = 0; i < LANE; i += 8) {
			memcpy(&w, p + i, 8);
			a = __builtin_ia32_crc32di(a, w);
			memcpy(&w, p + LANE + i, 8);
			b = __builtin_ia32_crc32di(b, w);
			memcpy(&w, p + 2 * LANE + i, 8);
			c = __builtin_ia32_crc32di(c, w);
		}
		crc = shifted(shifted((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
	}
	return by_instruction(crc, p, n);
}
#else
static void lanes_init(void)
{
}

static uint32_t by_lanes(uint32_t crc, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	return crc;
}
#endif

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n)
{
	for (; n; p++, n--)
		crc = table[(crc ^ *p) & 0xff] ^ (crc >> 8);
	return crc;
}

static void init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
		table[i] = c;
	}
#if defined(__x86_64__)
	have_instruction = __builtin_cpu_supports("sse4.2");
	if (have_instruction)
		lanes_init();
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
	pthread_once(&once, init);
	crc = ~crc;
	crc = have_instruction ? by_lanes(crc, data, n) : by_table(crc, data, n);
	return ~crc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/csum.h"

/* Both halves of each word are added in lanes of 64 bits, which cannot overflow before 2^32 words;
 * 2^32 is 1 in one's complement of 16 bits, so that a half counts as what it stands for.  The same
 * text for the baseline's vectors and for AVX2's. */
#define LANES (CSUM_BLOCK / sizeof(uint64_t))
typedef uint64_t words __attribute__((vector_size(CSUM_BLOCK)));

static ALWAYS_INLINE uint64_t sum_blocks(const uint8_t *p, size_t n)
{
	words low = {0}, high = {0}, now;
	uint64_t sum = 0;

	for (; n; p += CSUM_BLOCK, n -= CSUM_BLOCK) {
		memcpy(&now, p, sizeof(now));
		low += now & UINT32_MAX;
		high += now >> 32;
	}
	low += high;
	for (unsigned i = 0; i < LANES; i++)
		sum += low[i];
	return sum;
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *p, size_t n)
{
	return sum_blocks(p, n);
}
#endif

uint64_t csum_blocks(const void *p, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return sum_avx2(p, n);
#endif
	return sum_blocks(p, n);
}

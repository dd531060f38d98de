/* SPDX-License-Identifier: BSD-3-Clause
 * Blocks of content against the octets before them, in vectors of the compiler: the same text for
 * the baseline's 16 octets and for AVX2's 32.  look is a constant in every loop. */
#include "smtp/data_scan.h"

#define SKIP(name, attributes, octets, none)                                                       \
	typedef uint8_t name##_vector __attribute__((vector_size(octets)));                        \
	typedef long long name##_words __attribute__((vector_size(octets)));                       \
                                                                                                   \
	attributes static ALWAYS_INLINE bool name##_clean(const uint8_t *p, enum data_look look)   \
	{                                                                                          \
		name##_vector found = {0};                                                         \
		_Pragma("GCC unroll 4") for (unsigned i = 0; i < DATA_BLOCK; i += octets)          \
		{                                                                                  \
			name##_vector now, before, start = {0};                                    \
			memcpy(&now, p + i, octets);                                               \
			memcpy(&before, p + i - 1, octets);                                        \
			found |= (name##_vector)(before == '\r') ^ (name##_vector)(now == '\n');   \
			found |= (name##_vector)(now == '\0');                                     \
			if (look >= DATA_LOOK_DOT)                                                 \
				start |= (name##_vector)(now == '.');                              \
			if (look == DATA_LOOK_HEADER)                                              \
				start |= (name##_vector)(now == '\r') |                            \
					 (name##_vector)((now | 0x20) == 'r');                     \
			found |= start & (name##_vector)(before == '\n');                          \
		}                                                                                  \
		return none((name##_words)found);                                                  \
	}                                                                                          \
                                                                                                   \
	attributes static ALWAYS_INLINE const uint8_t *name##_blocks(                              \
		const uint8_t *p, const uint8_t *end, enum data_look look)                         \
	{                                                                                          \
		while (end - p >= DATA_BLOCK && name##_clean(p, look))                             \
			p += DATA_BLOCK;                                                           \
		return p;                                                                          \
	}                                                                                          \
                                                                                                   \
	attributes static const uint8_t *name(                                                     \
		const uint8_t *p, const uint8_t *end, enum data_look look)                         \
	{                                                                                          \
		if (look == DATA_LOOK_HEADER)                                                      \
			return name##_blocks(p, end, DATA_LOOK_HEADER);                            \
		return look ? name##_blocks(p, end, DATA_LOOK_DOT)                                 \
			    : name##_blocks(p, end, DATA_LOOK_NONE);                               \
	}

#ifdef __SSE4_1__
#define NONE_16(v) __builtin_ia32_ptestz128(v, v)
#else
#define NONE_16(v) (((v)[0] | (v)[1]) == 0)
#endif
#define NONE_32(v) __builtin_ia32_ptestz256(v, v)

SKIP(skip_16, , 16, NONE_16)
#ifdef __x86_64__
SKIP(skip_32, __attribute__((target("avx2"))), 32, NONE_32)
#endif

const uint8_t *data_skip(const uint8_t *p, const uint8_t *end, enum data_look look)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return skip_32(p, end, look);
#endif
	return skip_16(p, end, look);
}

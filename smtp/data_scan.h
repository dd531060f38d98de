/* SPDX-License-Identifier: BSD-3-Clause
 * The scan for octets that mean something to DATA: CR, LF and NUL.  The vector form and its scalar
 * twin are tested to be equal.  Any thread. */
#pragma once
#include "dataplane/base/bytes.h"

static inline bool data_is_special(uint8_t c)
{
	return c == '\r' || c == '\n' || c == '\0';
}

static inline const uint8_t *data_scan_scalar(const uint8_t *p, const uint8_t *end)
{
	while (p < end && !data_is_special(*p))
		p++;
	return p;
}

#ifdef __SSE2__
#include <emmintrin.h>

/* First special octet at or after p, or end. */
static inline const uint8_t *data_scan(const uint8_t *p, const uint8_t *end)
{
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
	const __m128i nul = _mm_setzero_si128();

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i hit =
			_mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)),
				_mm_cmpeq_epi8(v, nul));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit);
		if (mask)
			return p + __builtin_ctz(mask);
	}
	return data_scan_scalar(p, end);
}
#else
static inline const uint8_t *data_scan(const uint8_t *p, const uint8_t *end)
{
	return data_scan_scalar(p, end);
}
#endif

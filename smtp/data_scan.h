/* SPDX-License-Identifier: BSD-3-Clause
 * The scan for octets that mean something to DATA: to the next CR, LF or NUL, and over whole blocks
 * in which nothing needs a look.  The vector forms and their scalar twins are tested to be equal.
 * Any thread. */
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

#define DATA_BLOCK 64 /* octets tested at once */

/* What begins a line and means something. */
enum data_look {
	DATA_LOOK_NONE,
	DATA_LOOK_DOT,    /* a dot */
	DATA_LOOK_HEADER, /* a dot, the empty line behind a header, an R: of Received it may be */
	DATA_LOOK_N
};

static inline bool data_starts_line(uint8_t c, enum data_look look)
{
	return (look >= DATA_LOOK_DOT && c == '.') ||
	       (look == DATA_LOOK_HEADER && (c == '\r' || (c | 0x20) == 'r'));
}

/* Does c need a look, coming behind before: a NUL, a CR or LF that is no half of CRLF, or something
 * behind an LF? */
static inline bool data_needs_look(uint8_t before, uint8_t c, enum data_look look)
{
	return (before == '\r') != (c == '\n') || c == '\0' ||
	       (before == '\n' && data_starts_line(c, look));
}

/* Pass whole blocks in which no octet needs a look; p[-1] is readable, too. */
static inline const uint8_t *data_skip_scalar(
	const uint8_t *p, const uint8_t *end, enum data_look look)
{
	for (; end - p >= DATA_BLOCK; p += DATA_BLOCK) {
		for (const uint8_t *c = p; c < p + DATA_BLOCK; c++) {
			if (data_needs_look(c[-1], c[0], look))
				return p;
		}
	}
	return p;
}

/* As data_skip_scalar, with what vectors the CPU has. */
const uint8_t *data_skip(const uint8_t *p, const uint8_t *end, enum data_look look);

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

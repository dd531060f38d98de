/* SPDX-License-Identifier: BSD-3-Clause
 * Views of bytes passed by value: wire text is never NUL-terminated.  A view owns nothing; who
 * hands it out says how long it stays valid.  Any thread. */
#pragma once
#include <string.h>
#include "dataplane/base/check.h"

struct bytes {
	const uint8_t *p;
	size_t n;
};

#define BYTES_NONE ((struct bytes){0})
/* A view of a string literal. */
#define BYTES_LIT(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct bytes bytes_make(const void *p, size_t n)
{
	return (struct bytes){.p = p, .n = n};
}

/* View of a NUL-terminated string, without the NUL; NULL gives an empty view. */
static inline struct bytes bytes_str(const char *s)
{
	return (struct bytes){.p = (const uint8_t *)s, .n = s ? strlen(s) : 0};
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case folding of one octet; the locale plays no part. */
static inline uint8_t ascii_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static inline uint8_t ascii_upper(uint8_t c)
{
	return c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c;
}

static inline bool ascii_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(uint8_t c)
{
	return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static inline bool bytes_ieq(struct bytes a, struct bytes b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	}
	return true;
}

static inline bool bytes_istarts(struct bytes a, struct bytes prefix)
{
	return a.n >= prefix.n && bytes_ieq(bytes_make(a.p, prefix.n), prefix);
}

/* Without the first n octets (all of them if there are fewer). */
static inline struct bytes bytes_skip(struct bytes b, size_t n)
{
	n = MIN(n, b.n);
	return (struct bytes){.p = b.n ? b.p + n : b.p, .n = b.n - n};
}

static inline struct bytes bytes_first(struct bytes b, size_t n)
{
	return (struct bytes){.p = b.p, .n = MIN(n, b.n)};
}

/* Index of the first octet c at or after from, or -1. */
static inline ptrdiff_t bytes_find(struct bytes b, uint8_t c, size_t from)
{
	if (from >= b.n)
		return -1;
	const uint8_t *at = memchr(b.p + from, c, b.n - from);
	return at ? at - b.p : -1;
}

static inline ptrdiff_t bytes_rfind(struct bytes b, uint8_t c)
{
	for (size_t i = b.n; i > 0; i--) {
		if (b.p[i - 1] == c)
			return (ptrdiff_t)(i - 1);
	}
	return -1;
}

/* Parse a whole view of 1..19 decimal digits.  Returns 0, or -EINVAL (-22) for anything else. */
static inline int bytes_to_u64(struct bytes b, uint64_t *out)
{
	uint64_t v = 0;

	if (b.n == 0 || b.n > 19)
		return -22;
	for (size_t i = 0; i < b.n; i++) {
		if (!ascii_is_digit(b.p[i]))
			return -22;
		v = v * 10 + (uint64_t)(b.p[i] - '0');
	}
	*out = v;
	return 0;
}

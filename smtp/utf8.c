/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/utf8.h"

static bool is_tail(uint8_t c)
{
	return c >> 6 == 2;
}

/* RFC 3629 4: the second octet is narrower behind some first ones. */
static bool second_fits(uint8_t first, uint8_t second)
{
	switch (first) {
	case 0xe0:
		return second >= 0xa0;
	case 0xed:
		return second <= 0x9f;
	case 0xf0:
		return second >= 0x90;
	case 0xf4:
		return second <= 0x8f;
	default:
		return true;
	}
}

unsigned utf8_char(struct bytes in)
{
	if (in.n == 0)
		return 0;
	uint8_t c = in.p[0];
	if (c < 0x80)
		return 1;
	unsigned n = c >= 0xc2 && c <= 0xdf   ? 2
		     : c >= 0xe0 && c <= 0xef ? 3
		     : c >= 0xf0 && c <= 0xf4 ? 4
					      : 0;
	if (n == 0 || in.n < n || !second_fits(c, in.p[1]))
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if (!is_tail(in.p[i]))
			return 0;
	}
	return n;
}

bool utf8_valid(struct bytes in)
{
	while (in.n) {
		unsigned n = utf8_char(in);
		if (n == 0)
			return false;
		in = bytes_skip(in, n);
	}
	return true;
}

/* Vectors of the compiler. */
typedef uint8_t octets __attribute__((vector_size(16)));
typedef uint64_t words __attribute__((vector_size(16)));

static unsigned octet_kind(uint8_t c)
{
	if (c >= 0x80)
		return OCTET_BEYOND;
	return (c < ' ' && c != '\t') || c == 0x7f ? OCTET_CONTROL : 0;
}

static unsigned kinds_each(struct bytes in)
{
	unsigned kinds = 0;

	for (size_t i = 0; i < in.n; i++)
		kinds |= octet_kind(in.p[i]);
	return kinds;
}

/* What most lines are: printable ASCII. */
static octets not_plain(const uint8_t *p)
{
	octets v;

	memcpy(&v, p, sizeof(v));
	return (octets)(v - ' ' > '~' - ' ');
}

unsigned octet_kinds(struct bytes in)
{
	if (in.n < sizeof(octets))
		return kinds_each(in);
	/* The last octets, some of them once more. */
	octets odd = not_plain(in.p + in.n - sizeof(odd));
	for (size_t i = 0; i + sizeof(odd) <= in.n; i += sizeof(odd))
		odd |= not_plain(in.p + i);
	words any = (words)odd;
	return any[0] | any[1] ? kinds_each(in) : 0;
}

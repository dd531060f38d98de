/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/codec.h"
#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct bytes in)
{
	if (out->overflow || buf_space(out) < BASE64_LEN(in.n)) {
		out->overflow = true;
		return;
	}
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)in.p[i] << 16;
		if (left > 1)
			v |= (uint32_t)in.p[i + 1] << 8;
		if (left > 2)
			v |= in.p[i + 2];
		buf_byte(out, (uint8_t)alphabet[v >> 18]);
		buf_byte(out, (uint8_t)alphabet[(v >> 12) & 63]);
		buf_byte(out, left > 1 ? (uint8_t)alphabet[(v >> 6) & 63] : '=');
		buf_byte(out, left > 2 ? (uint8_t)alphabet[v & 63] : '=');
	}
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* One group of four with `pad` padding characters. */
static int base64_group(struct buf *out, const uint8_t *p, unsigned pad)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++) {
		int d = i < 4 - pad ? base64_value(p[i]) : 0;
		if (d < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)d;
	}
	/* Bits that the padding cuts off must be 0, or two texts decode alike. */
	if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
		return -EINVAL;
	if (out->overflow || buf_space(out) < 3 - pad)
		return -ENOSPC;
	for (unsigned i = 0; i < 3 - pad; i++)
		buf_byte(out, (uint8_t)(v >> (16 - 8 * i)));
	return 0;
}

int base64_decode(struct buf *out, struct bytes in)
{
	if (in.n % 4)
		return -EINVAL;
	for (size_t i = 0; i < in.n; i += 4) {
		unsigned pad = 0;
		if (i + 4 == in.n && in.p[i + 3] == '=')
			pad = in.p[i + 2] == '=' ? 2 : 1;
		int err = base64_group(out, in.p + i, pad);
		if (err)
			return err;
	}
	return 0;
}

/* Eight digits, the lowest in the last octet: nibbles are spread, one to an octet, and those above
 * 9 moved on to the letters. */
static void hex_u32(uint8_t out[8], uint32_t v)
{
	uint64_t x = v;

	x = (x << 16 | x) & 0x0000ffff0000ffff;
	x = (x << 8 | x) & 0x00ff00ff00ff00ff;
	x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0f;
	uint64_t letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
	x = __builtin_bswap64(x + 0x3030303030303030 + letters * ('a' - '0' - 10));
	memcpy(out, &x, sizeof(x));
}

void hex_u64(struct buf *out, uint64_t v)
{
	uint8_t text[16];

	hex_u32(text, (uint32_t)(v >> 32));
	hex_u32(text + 8, (uint32_t)v);
	buf_put(out, bytes_make(text, sizeof(text)));
}

void dec_u64(struct buf *out, uint64_t v, unsigned digits)
{
	uint8_t text[20];
	unsigned at = sizeof(text);

	digits = MIN(digits, (unsigned)sizeof(text));
	while (v || sizeof(text) - at < MAX(digits, 1u)) {
		text[--at] = (uint8_t)('0' + v % 10);
		v /= 10;
	}
	buf_put(out, bytes_make(text + at, sizeof(text) - at));
}

int hex_to_u64(struct bytes in, uint64_t *v)
{
	uint64_t r = 0;

	if (in.n == 0 || in.n > 16)
		return -EINVAL;
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = ascii_lower(in.p[i]);
		if (ascii_is_digit(c))
			r = r << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			r = r << 4 | (uint64_t)(c - 'a' + 10);
		else
			return -EINVAL;
	}
	*v = r;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/dsn.h"
#include <errno.h>
#include "smtp/utf8.h"

static const struct {
	struct bytes name;
	uint8_t bit;
} notify_names[] = {
	{BYTES_LIT("NEVER"),   NOTIFY_NEVER  },
	{BYTES_LIT("SUCCESS"), NOTIFY_SUCCESS},
	{BYTES_LIT("FAILURE"), NOTIFY_FAILURE},
	{BYTES_LIT("DELAY"),   NOTIFY_DELAY  },
};

static uint8_t notify_bit(struct bytes word)
{
	for (unsigned i = 0; i < ARRAY_LEN(notify_names); i++) {
		if (bytes_ieq(word, notify_names[i].name))
			return notify_names[i].bit;
	}
	return 0;
}

bool dsn_notify_parse(struct bytes value, uint8_t *notify_r)
{
	uint8_t all = 0;

	for (;;) {
		ptrdiff_t comma = bytes_find(value, ',', 0);
		struct bytes word = comma < 0 ? value : bytes_first(value, (size_t)comma);
		uint8_t bit = notify_bit(word);
		if (!bit || (all & bit))
			return false;
		all |= bit;
		if (comma < 0)
			break;
		value = bytes_skip(value, (size_t)comma + 1);
	}
	*notify_r = all;
	return !(all & NOTIFY_NEVER) || all == NOTIFY_NEVER;
}

void dsn_notify_format(struct buf *out, uint8_t notify)
{
	const char *between = "";

	for (unsigned i = 0; i < ARRAY_LEN(notify_names); i++) {
		if (!(notify & notify_names[i].bit))
			continue;
		buf_str(out, between);
		buf_put(out, notify_names[i].name);
		between = ",";
	}
}

bool dsn_ret_parse(struct bytes value, enum dsn_ret *ret_r)
{
	*ret_r = bytes_ieq(value, BYTES_LIT("FULL")) ? RET_FULL : RET_HDRS;
	return *ret_r == RET_FULL || bytes_ieq(value, BYTES_LIT("HDRS"));
}

/* ---- xtext ---- */

static int upper_hex(uint8_t c)
{
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character at *at: itself, or "+XX".  -1: it is none, or is not printable. */
static int xtext_next(struct bytes in, size_t *at)
{
	uint8_t c = in.p[(*at)++];

	if (c != '+')
		return c > ' ' && c <= '~' && c != '=' ? c : -1;
	if (in.n - *at < 2)
		return -1;
	int high = upper_hex(in.p[*at]), low = upper_hex(in.p[*at + 1]);
	*at += 2;
	int octet = high * 16 + low;
	return high >= 0 && low >= 0 && octet >= ' ' && octet <= '~' ? octet : -1;
}

static bool xtext_valid(struct bytes in)
{
	for (size_t at = 0; at < in.n;) {
		if (xtext_next(in, &at) < 0)
			return false;
	}
	return in.n > 0;
}

int dsn_xtext_decode(struct buf *out, struct bytes xtext)
{
	if (!xtext_valid(xtext))
		return -EINVAL;
	for (size_t at = 0; at < xtext.n;)
		buf_byte(out, (uint8_t)xtext_next(xtext, &at));
	return 0;
}

void dsn_xtext_encode(struct buf *out, struct bytes text)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];
		if (c > ' ' && c <= '~' && c != '+' && c != '=') {
			buf_byte(out, c);
			continue;
		}
		buf_byte(out, '+');
		buf_byte(out, (uint8_t)digits[c >> 4]);
		buf_byte(out, (uint8_t)digits[c & 15]);
	}
}

bool dsn_envid_valid(struct bytes xtext)
{
	return xtext.n <= DSN_ENVID_MAX && xtext_valid(xtext);
}

/* RFC 5322 3.2.3, what address types of the registry are made of. */
static bool is_type(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		if (!ascii_is_alpha(b.p[i]) && !ascii_is_digit(b.p[i]) && b.p[i] != '-')
			return false;
	}
	return b.n > 0;
}

/* Octets of UTF-8 aside, it is xtext. */
static bool utf8_xtext_valid(struct bytes in)
{
	if (!utf8_valid(in))
		return false;
	for (size_t at = 0; at < in.n;) {
		if (in.p[at] >= 0x80)
			at++;
		else if (xtext_next(in, &at) < 0)
			return false;
	}
	return in.n > 0;
}

bool dsn_orcpt_valid(struct bytes value, bool utf8)
{
	ptrdiff_t semicolon = bytes_find(value, ';', 0);

	if (semicolon < 0 || value.n > DSN_ORCPT_MAX)
		return false;
	struct bytes type = bytes_first(value, (size_t)semicolon);
	struct bytes text = bytes_skip(value, type.n + 1);
	if (utf8 && bytes_ieq(type, BYTES_LIT("utf-8")))
		return utf8_xtext_valid(text);
	return is_type(type) && xtext_valid(text);
}

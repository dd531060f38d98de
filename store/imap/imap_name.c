/* SPDX-License-Identifier: BSD-3-Clause
 * Mailbox names: modified UTF-7, and the wildcards of LIST.  Any thread. */
#include <errno.h>
#include "store/imap/imap_parse.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static void put_utf8(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_byte(out, (uint8_t)c);
	} else if (c < 0x800) {
		buf_byte(out, (uint8_t)(0xc0 | c >> 6));
		buf_byte(out, (uint8_t)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		buf_byte(out, (uint8_t)(0xe0 | c >> 12));
		buf_byte(out, (uint8_t)(0x80 | (c >> 6 & 63)));
		buf_byte(out, (uint8_t)(0x80 | (c & 63)));
	} else {
		buf_byte(out, (uint8_t)(0xf0 | c >> 18));
		buf_byte(out, (uint8_t)(0x80 | (c >> 12 & 63)));
		buf_byte(out, (uint8_t)(0x80 | (c >> 6 & 63)));
		buf_byte(out, (uint8_t)(0x80 | (c & 63)));
	}
}

/* UTF-16 units put together. */
struct units {
	uint32_t high; /* a high surrogate that waits for its low one */
	bool ascii;    /* something that need not have been encoded */
};

static bool unit(struct units *u, struct buf *out, uint32_t v)
{
	if (u->high) {
		if (v < 0xdc00 || v > 0xdfff)
			return false;
		put_utf8(out, 0x10000 + ((u->high - 0xd800) << 10) + (v - 0xdc00));
		u->high = 0;
		return true;
	}
	if (v >= 0xdc00 && v <= 0xdfff)
		return false;
	if (v >= 0xd800 && v <= 0xdbff) {
		u->high = v;
		return true;
	}
	if (v < 0x20 || (v >= 0x7f && v < 0xa0))
		return false;
	u->ascii = u->ascii || v < 0x7f;
	put_utf8(out, v);
	return true;
}

/* "&" base64 "-": at is behind "&"; returns behind "-" or 0. */
static size_t decode_shift(struct bytes in, size_t at, struct buf *out)
{
	struct units u = {0};
	uint32_t bits = 0;
	unsigned have = 0;

	for (; at < in.n && in.p[at] != '-'; at++) {
		const char *digit = in.p[at] ? strchr(alphabet, in.p[at]) : NULL;
		if (!digit)
			return 0;
		bits = (bits << 6 | (uint32_t)(digit - alphabet)) & 0x3fffff;
		have += 6;
		if (have < 16)
			continue;
		have -= 16;
		if (!unit(&u, out, bits >> have & 0xffff))
			return 0;
	}
	if (at == in.n || u.high || u.ascii || have >= 6 || (bits & ((1u << have) - 1)))
		return 0;
	return at + 1;
}

int imap_name_decode(struct bytes in, struct buf *out)
{
	for (size_t at = 0; at < in.n;) {
		uint8_t c = in.p[at++];
		if (c < 0x20 || c > 0x7e)
			return -EINVAL;
		if (c != '&') {
			buf_byte(out, c);
		} else if (at < in.n && in.p[at] == '-') {
			buf_byte(out, '&');
			at++;
		} else {
			at = decode_shift(in, at, out);
			if (!at)
				return -EINVAL;
		}
	}
	return out->overflow ? -ENOSPC : 0;
}

/* One code point of UTF-8 that we wrote ourselves; a stray octet stands for itself. */
static uint32_t take_utf8(struct bytes in, size_t *at)
{
	uint8_t c = in.p[(*at)++];
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
	uint32_t v = more == 3 ? c & 7 : more == 2 ? c & 15 : more == 1 ? c & 31 : c;

	for (; more && *at < in.n; more--)
		v = v << 6 | (in.p[(*at)++] & 63);
	return v;
}

struct encoder {
	struct buf *out;
	uint32_t bits;
	unsigned have;
};

static void encode_unit(struct encoder *e, uint32_t v)
{
	e->bits = e->bits << 16 | v;
	for (e->have += 16; e->have >= 6; e->have -= 6)
		buf_byte(e->out, (uint8_t)alphabet[e->bits >> (e->have - 6) & 63]);
	e->bits &= (1u << e->have) - 1;
}

void imap_name_encode(struct bytes in, struct buf *out)
{
	for (size_t at = 0; at < in.n;) {
		if (in.p[at] < 0x80) {
			buf_byte(out, in.p[at]);
			if (in.p[at++] == '&')
				buf_byte(out, '-');
			continue;
		}
		struct encoder e = {.out = out};
		buf_byte(out, '&');
		while (at < in.n && in.p[at] >= 0x80) {
			uint32_t v = take_utf8(in, &at);
			if (v >= 0x10000) {
				encode_unit(&e, 0xd800 + ((v - 0x10000) >> 10 & 0x3ff));
				v = 0xdc00 + (v & 0x3ff);
			}
			encode_unit(&e, v & 0xffff);
		}
		if (e.have)
			buf_byte(out, (uint8_t)alphabet[e.bits << (6 - e.have) & 63]);
		buf_byte(out, '-');
	}
}

/* Wildcards as a set of places in the pattern, one octet of the name after the other: no
 * backtracking, so that a hostile pattern costs no more than name times pattern. */
bool imap_name_match(struct bytes name, struct bytes pattern)
{
	bool at[MBOX_NAME_MAX + 1] = {true};

	if (pattern.n > MBOX_NAME_MAX)
		return false;
	for (size_t i = 0; i <= name.n; i++) {
		/* A wildcard may stand for nothing. */
		for (size_t k = 0; k < pattern.n; k++) {
			if (at[k] && (pattern.p[k] == '*' || pattern.p[k] == '%'))
				at[k + 1] = true;
		}
		if (i == name.n)
			break;
		bool before = false;
		for (size_t k = 0; k <= pattern.n; k++) {
			bool here = at[k];
			uint8_t c = k < pattern.n ? pattern.p[k] : 0;
			bool stays = k < pattern.n && (c == '*' || (c == '%' && name.p[i] != '/'));
			at[k] = before || (here && stays);
			before = here && k < pattern.n && c != '*' && c != '%' && c == name.p[i];
		}
	}
	return at[pattern.n];
}

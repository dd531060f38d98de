/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/proxy.h"

#define V1_MAX      107 /* octets with CRLF, by the protocol's text */
#define V2_HEAD     16
#define V2_LOCAL    0x20 /* version 2, command LOCAL */
#define V2_PROXY    0x21
#define V2_TCP4     0x11
#define V2_TCP6     0x21
#define V2_TCP4_LEN 12
#define V2_TCP6_LEN 36

static const uint8_t v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Does in begin like this, as far as there is something of it? */
static bool agrees(struct bytes in, struct bytes with)
{
	size_t n = MIN(in.n, with.n);

	return n == 0 || memcmp(in.p, with.p, n) == 0;
}

/* ---- version 1 ---- */

/* The next word; single spaces part words. */
static struct bytes word(struct bytes *line)
{
	ptrdiff_t space = bytes_find(*line, ' ', 0);
	struct bytes w = space < 0 ? *line : bytes_first(*line, (size_t)space);

	*line = bytes_skip(*line, w.n + 1);
	return w;
}

static bool port_parse(struct bytes text, uint16_t *port_r)
{
	uint64_t v;

	if (text.n > 5 || (text.n > 1 && text.p[0] == '0') || bytes_to_u64(text, &v) < 0 ||
		v > UINT16_MAX)
		return false;
	*port_r = (uint16_t)v;
	return true;
}

static bool v1_addresses(struct bytes line, bool v4, struct proxy_header *h)
{
	struct bytes from = word(&line), to = word(&line);
	struct bytes from_port = word(&line), to_port = word(&line);

	if (line.n || ip_parse(from, &h->from.ip) < 0 || ip_parse(to, &h->to.ip) < 0)
		return false;
	return ip_is_v4(&h->from.ip) == v4 && ip_is_v4(&h->to.ip) == v4 &&
	       port_parse(from_port, &h->from.port) && port_parse(to_port, &h->to.port);
}

static enum proxy_verdict parse_v1(struct bytes in, struct proxy_header *h, size_t *used_r)
{
	ptrdiff_t cr = bytes_find(bytes_first(in, V1_MAX - 1), '\r', 0);

	if (cr < 0)
		return in.n >= V1_MAX - 1 ? PROXY_BAD : PROXY_MORE;
	if ((size_t)cr + 1 == in.n)
		return PROXY_MORE;
	if (in.p[cr + 1] != '\n')
		return PROXY_BAD;
	struct bytes line = bytes_skip(bytes_first(in, (size_t)cr), 6);
	struct bytes family = word(&line);
	*used_r = (size_t)cr + 2;
	h->unknown = bytes_eq(family, BYTES_LIT("UNKNOWN"));
	if (h->unknown)
		return PROXY_OK; /* what follows is to be ignored */
	bool v4 = bytes_eq(family, BYTES_LIT("TCP4"));
	h->given = true;
	if (!v4 && !bytes_eq(family, BYTES_LIT("TCP6")))
		return PROXY_BAD;
	return v1_addresses(line, v4, h) ? PROXY_OK : PROXY_BAD;
}

/* ---- version 2 ---- */

static uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void v2_addresses(const uint8_t *p, bool v4, struct proxy_header *h)
{
	size_t n = v4 ? 4 : 16;

	h->given = true;
	if (v4) {
		uint32_t from, to;
		memcpy(&from, p, 4);
		memcpy(&to, p + 4, 4);
		h->from.ip = ip_from_v4(from);
		h->to.ip = ip_from_v4(to);
	} else {
		memcpy(h->from.ip.octets, p, 16);
		memcpy(h->to.ip.octets, p + 16, 16);
	}
	h->from.port = get_u16(p + 2 * n);
	h->to.port = get_u16(p + 2 * n + 2);
}

static enum proxy_verdict parse_v2(struct bytes in, struct proxy_header *h, size_t *used_r)
{
	if (in.n > 12 && in.p[12] != V2_LOCAL && in.p[12] != V2_PROXY)
		return PROXY_BAD;
	if (in.n < V2_HEAD)
		return PROXY_MORE;
	size_t n = get_u16(in.p + 14);
	bool v4 = in.p[13] == V2_TCP4, v6 = in.p[13] == V2_TCP6;
	bool proxied = in.p[12] == V2_PROXY;
	if (V2_HEAD + n > PROXY_HEADER_MAX)
		return PROXY_BAD;
	/* Of a client that is no TCP client nothing is known, and such a one is not let in. */
	if (proxied && !v4 && !v6)
		return PROXY_BAD;
	if (proxied && n < (v4 ? V2_TCP4_LEN : V2_TCP6_LEN))
		return PROXY_BAD;
	if (in.n < V2_HEAD + n)
		return PROXY_MORE;
	*used_r = V2_HEAD + n;
	if (proxied)
		v2_addresses(in.p + V2_HEAD, v4, h);
	return PROXY_OK;
}

enum proxy_verdict proxy_parse(struct bytes in, struct proxy_header *header_r, size_t *used_r)
{
	struct bytes v1 = BYTES_LIT("PROXY "), v2 = bytes_make(v2_signature, sizeof(v2_signature));
	enum proxy_verdict v = PROXY_MORE;

	*header_r = (struct proxy_header){0};
	*used_r = 0;
	if (!agrees(in, v1) && !agrees(in, v2))
		return PROXY_BAD;
	if (in.n >= v1.n && agrees(in, v1))
		v = parse_v1(in, header_r, used_r);
	else if (in.n >= v2.n)
		v = parse_v2(in, header_r, used_r);
	if (v != PROXY_OK)
		*used_r = 0;
	return v;
}

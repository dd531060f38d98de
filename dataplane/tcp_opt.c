/* SPDX-License-Identifier: BSD-3-Clause
 * TCP options: MSS, window scale, timestamps, SACK (RFC 9293 3.2, 7323, 2018). */
#include <rte_byteorder.h>
#include "dataplane/tcp_priv.h"

enum {
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_SACK_PERMITTED = 4,
	OPT_SACK = 5,
	OPT_TS = 8
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	uint32_t be = rte_cpu_to_be_32(v);

	memcpy(p, &be, 4);
}

static void sack_parse(struct bytes body, struct tcp_options *opt)
{
	if (body.n % 8)
		return;
	for (; body.n && opt->sack_n < ARRAY_LEN(opt->sack); body = bytes_skip(body, 8)) {
		opt->sack[opt->sack_n].start = get32(body.p);
		opt->sack[opt->sack_n++].end = get32(body.p + 4);
	}
}

static void option_parse(uint8_t kind, struct bytes body, struct tcp_options *opt)
{
	switch (kind) {
	case OPT_MSS:
		if (body.n == 2)
			opt->mss = get16(body.p);
		break;
	case OPT_WSCALE:
		if (body.n == 1) {
			opt->has_wscale = true;
			opt->wscale = MIN(body.p[0], (uint8_t)TCP_WSCALE_MAX);
		}
		break;
	case OPT_SACK_PERMITTED:
		opt->sack_permitted = true;
		break;
	case OPT_SACK:
		sack_parse(body, opt);
		break;
	case OPT_TS:
		if (body.n == 8) {
			opt->has_ts = true;
			opt->ts_val = get32(body.p);
			opt->ts_ecr = get32(body.p + 4);
		}
		break;
	default: /* RFC 9293 MUST-6: others are ignored */
		break;
	}
}

void tcp_options_parse(struct bytes in, struct tcp_options *opt_r)
{
	*opt_r = (struct tcp_options){0};
	while (in.n) {
		uint8_t kind = in.p[0];
		if (kind == OPT_END)
			return;
		if (kind == OPT_NOP) {
			in = bytes_skip(in, 1);
			continue;
		}
		if (in.n < 2 || in.p[1] < 2 || in.p[1] > in.n)
			return;
		option_parse(kind, bytes_make(in.p + 2, in.p[1] - 2u), opt_r);
		in = bytes_skip(in, in.p[1]);
	}
}

size_t tcp_options_ts(uint8_t *out, uint32_t val, uint32_t ecr)
{
	out[0] = out[1] = OPT_NOP;
	out[2] = OPT_TS;
	out[3] = 10;
	put32(out + 4, val);
	put32(out + 8, ecr);
	return TCP_TS_OCTETS;
}

size_t tcp_options_syn(uint8_t *out, const struct tcp_offer *offer)
{
	size_t n = 4;

	out[0] = OPT_MSS;
	out[1] = 4;
	out[2] = (uint8_t)(offer->mss >> 8);
	out[3] = (uint8_t)offer->mss;
	if (offer->ts) {
		n += tcp_options_ts(out + n, offer->ts_val, offer->ts_ecr);
		/* in the place of the two NOPs */
		if (offer->sack) {
			out[4] = OPT_SACK_PERMITTED;
			out[5] = 2;
		}
	} else if (offer->sack) {
		const uint8_t permitted[] = {OPT_NOP, OPT_NOP, OPT_SACK_PERMITTED, 2};
		memcpy(out + n, permitted, sizeof(permitted));
		n += sizeof(permitted);
	}
	if (offer->wscale >= 0) {
		const uint8_t scale[] = {OPT_NOP, OPT_WSCALE, 3, (uint8_t)offer->wscale};
		memcpy(out + n, scale, sizeof(scale));
		n += sizeof(scale);
	}
	return n;
}

size_t tcp_options_sack(uint8_t *out, const struct tcp_range *blocks, unsigned n)
{
	out[0] = out[1] = OPT_NOP;
	out[2] = OPT_SACK;
	out[3] = (uint8_t)(2 + 8 * n);
	for (unsigned i = 0; i < n; i++) {
		put32(out + 4 + 8 * i, blocks[i].start);
		put32(out + 8 + 8 * i, blocks[i].end);
	}
	return 4 + 8 * n;
}

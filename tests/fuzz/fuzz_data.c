/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: the content of DATA.  First two octets: where the input is cut.  Whole and cut agree, and
 * so do the scans and their scalar twins; what was decoded and is clean comes out again after
 * encoding. */
#include "smtp/data.h"
#include "smtp/data_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IN_MAX 4096

struct result {
	struct data_decoder d;
	enum data_verdict v;
	size_t used, n;
	uint8_t out[IN_MAX + 8];
};

static void sink(void *ctx, struct bytes run)
{
	struct result *r = ctx;

	BUG_ON(run.n == 0 || r->n + run.n > sizeof(r->out));
	memcpy(r->out + r->n, run.p, run.n);
	r->n += run.n;
}

static void decode(struct result *r, struct bytes in, size_t step)
{
	r->v = DATA_MORE;
	r->used = r->n = 0;
	data_decoder_init(&r->d, DATA_DOTTED, 3000, 3);
	while (r->used < in.n && r->v == DATA_MORE) {
		size_t used, before = r->n, n = MIN(step, in.n - r->used);
		r->v = data_decode(&r->d, bytes_make(in.p + r->used, n), sink, r, &used);
		BUG_ON(used > n || (r->v == DATA_MORE && used != n));
		BUG_ON(r->n - before > n + 1);
		r->used += used;
	}
}

static void check_encoding(const struct result *r)
{
	static uint8_t wire[2 * IN_MAX + 64];
	static struct result again;
	struct data_encoder e = {0};
	struct buf out;

	buf_init(&out, wire, sizeof(wire));
	BUG_ON(data_encode(&e, bytes_make(r->out, r->n), &out) < 0);
	BUG_ON(out.n > DATA_ENCODED_MAX(r->n));
	BUG_ON(data_encode_end(&e, &out) < 0);
	decode(&again, buf_view(&out), SIZE_MAX);
	BUG_ON(again.v != DATA_END || again.used != out.n || again.d.faults & ~DATA_LOOP);
	BUG_ON(!again.d.faults && (again.n != r->n || memcmp(again.out, r->out, r->n) != 0));
}

static void check_twins(struct bytes in)
{
	const uint8_t *end = in.p + in.n;

	BUG_ON(data_scan(in.p, end) != data_scan_scalar(in.p, end));
	for (enum data_look look = DATA_LOOK_NONE; look < DATA_LOOK_N; look++)
		BUG_ON(data_skip(in.p + 1, end, look) != data_skip_scalar(in.p + 1, end, look));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct result whole, cut;

	if (size < 3 || size > IN_MAX)
		return 0;
	struct bytes in = bytes_make(data + 2, size - 2);
	check_twins(in);
	decode(&whole, in, SIZE_MAX);
	decode(&cut, in, 1u + data[0] + 16u * data[1]);
	BUG_ON(whole.v != cut.v || whole.used != cut.used || whole.d.faults != cut.d.faults);
	if (whole.d.faults)
		return 0;
	BUG_ON(whole.n != cut.n || memcmp(whole.out, cut.out, whole.n) != 0);
	BUG_ON(whole.d.crc != cut.d.crc || whole.d.size != whole.n || cut.d.size != whole.n);
	BUG_ON(whole.d.received != cut.d.received);
	BUG_ON(whole.v == DATA_END && whole.d.header_bytes != cut.d.header_bytes);
	if (whole.v == DATA_END)
		check_encoding(&whole);
	return 0;
}

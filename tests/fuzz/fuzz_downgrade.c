/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: content made fit for a next hop with 7 or 8 bits.  First octet: to what, and how the input
 * is cut.  The same comes out however it is cut, and 7 bits are 7 bits. */
#include "smtp/downgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (1u << 20)

static size_t convert(struct downgrade *d, struct bytes in, size_t step, uint8_t *all)
{
	size_t n = 0;

	for (size_t at = 0; at < in.n && !d->fault;) {
		struct buf out;
		buf_init(&out, all + n, DOWNGRADE_ROOM + step % 7);
		size_t used = downgrade_feed(d, bytes_make(in.p + at, MIN(step, in.n - at)), &out);
		BUG_ON(out.overflow || (used == 0 && !d->fault));
		at += used;
		n += out.n;
	}
	struct buf end;
	buf_init(&end, all + n, DOWNGRADE_ROOM);
	downgrade_end(d, &end);
	BUG_ON(end.overflow);
	return n + end.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t one[OUT_MAX], two[OUT_MAX];
	struct downgrade a, b;

	if (size < 1 || size > 20000)
		return 0;
	enum body_type to = data[0] & 1 ? BODY_7BIT : BODY_8BITMIME;
	struct bytes in = bytes_make(data + 1, size - 1);
	downgrade_init(&a, to, false);
	downgrade_init(&b, to, false);
	size_t n = convert(&a, in, SIZE_MAX, one);
	size_t m = convert(&b, in, 1u + (data[0] >> 1), two);
	BUG_ON(a.fault != b.fault);
	if (a.fault)
		return 0;
	BUG_ON(n != m || memcmp(one, two, n) != 0);
	for (size_t i = 0; i < n && to == BODY_7BIT; i++)
		BUG_ON(one[i] >= 0x80);
	return 0;
}

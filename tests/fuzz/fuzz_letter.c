/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: what bypost-bench's sink makes of a message.  The first two octets say where it is split:
 * the verdict is the same as of the whole, and a good one is as long as it says. */
#include "tests/unit/bench/letters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct letter_reader whole, cut;
	struct letter_id a, b;

	if (size < 2)
		return 0;
	struct bytes in = bytes_make(data + 2, size - 2);
	enum letter_verdict v = letter_read(&whole, in, in.n, 1, &a);
	size_t at = in.n ? data[0] % in.n : 0, piece = data[1] % 64 + 1u;
	BUG_ON(letter_read(&cut, in, at, piece, &b) != v);
	if (v == LETTER_FOREIGN)
		return 0;
	BUG_ON(memcmp(&a, &b, sizeof(a)) != 0);
	BUG_ON(v == LETTER_GOOD && a.size != whole.body_n);
	return 0;
}

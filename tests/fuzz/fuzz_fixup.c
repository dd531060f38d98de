/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: the header of submitted mail.  First octet: where it is cut.  Whole and cut come out the
 * same, and through the filter once more nothing changes. */
#include "dataplane/base/buf.h"
#include "dataplane/base/crc32c.h"
#include "smtp/fixup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(void *ctx, struct bytes run)
{
	buf_put(ctx, run);
}

static struct fixup filter(struct bytes in, size_t piece, struct buf *out)
{
	struct fixup f = {0};

	while (in.n) {
		struct bytes part = bytes_first(in, piece);
		fixup_run(&f, part, put, out);
		in = bytes_skip(in, part.n);
	}
	fixup_end(&f, put, out);
	BUG_ON(f.size != out->n || f.header_bytes > f.size || out->overflow);
	BUG_ON(f.crc != crc32c(0, out->p, out->n));
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t memory[3][1 << 16];
	struct buf out[3];

	if (size < 1 || size > sizeof(memory[0]))
		return 0;
	for (unsigned i = 0; i < 3; i++)
		buf_init(&out[i], memory[i], sizeof(memory[i]));
	struct bytes in = bytes_make(data + 1, size - 1);
	struct fixup whole = filter(in, SIZE_MAX, &out[0]);
	struct fixup cut = filter(in, 1u + data[0], &out[1]);
	BUG_ON(!bytes_eq(buf_view(&out[0]), buf_view(&out[1])) || whole.seen != cut.seen ||
		whole.header_bytes != cut.header_bytes);
	struct fixup again = filter(buf_view(&out[0]), SIZE_MAX, &out[2]);
	BUG_ON(!bytes_eq(buf_view(&out[0]), buf_view(&out[2])) || again.seen & FIXUP_BCC);
	return 0;
}

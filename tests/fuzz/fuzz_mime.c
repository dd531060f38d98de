/* SPDX-License-Identifier: BSD-3-Clause
 * The MIME scanner: however a message is cut into pieces, the parts are the same and lie within. */
#include "smtp/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mime_part whole[32], pieces[32];
static uint8_t memory[2][4096];

static void check(const struct mime_scan *s, const struct mime_part *parts, size_t size)
{
	for (unsigned i = 0; i < s->part_count; i++) {
		const struct mime_part *p = &parts[i];
		BUG_ON(p->header_offset > p->body_offset || p->body_offset > p->end ||
			p->end > size);
		BUG_ON((i && p->parent >= i) || p->header_at + p->header_n > sizeof(memory[0]));
		BUG_ON(p->lines > size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mime_scan a, b;
	size_t piece = size ? data[0] % 23 + 1u : 1;

	mime_scan_init(&a, whole, 32, memory[0], sizeof(memory[0]));
	mime_scan_feed(&a, bytes_make(data, size));
	mime_scan_end(&a);
	mime_scan_init(&b, pieces, 32, memory[1], sizeof(memory[1]));
	for (size_t at = 0; at < size; at += piece)
		mime_scan_feed(&b, bytes_make(data + at, MIN(piece, size - at)));
	mime_scan_end(&b);
	check(&a, whole, size);
	BUG_ON(a.part_count != b.part_count);
	for (unsigned i = 0; i < a.part_count; i++)
		BUG_ON(whole[i].body_offset != pieces[i].body_offset ||
			whole[i].end != pieces[i].end || whole[i].lines != pieces[i].lines ||
			whole[i].kind != pieces[i].kind || whole[i].header_n != pieces[i].header_n);
	return 0;
}

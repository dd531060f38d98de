/* SPDX-License-Identifier: BSD-3-Clause
 * A message of bypost-bench drawn from a letter, and read as its receiver does, in pieces. */
#pragma once
#include "bench/letter.h"

#define DRAWN_MAX 20000

struct drawn {
	uint8_t octets[DRAWN_MAX];
	size_t n;
};

/* All of a letter behind what is there, in pieces of some octets. */
static inline void letter_draw(struct letter *l, size_t piece, struct drawn *d)
{
	size_t before = d->n;

	for (bool end = false; !end;) {
		struct bytes b = letter_next(l, piece, &end);
		BUG_ON(b.n == 0 || b.n > piece || d->n + b.n > sizeof(d->octets));
		memcpy(d->octets + d->n, b.p, b.n);
		d->n += b.n;
	}
	BUG_ON(d->n - before != letter_octets(l));
}

/* Up to split at once, then piece by piece. */
static inline enum letter_verdict letter_read(struct letter_reader *r, struct bytes in,
	size_t split, size_t piece, struct letter_id *id_r)
{
	letter_begin(r);
	letter_feed(r, bytes_first(in, split));
	for (in = bytes_skip(in, split); in.n; in = bytes_skip(in, MIN(piece, in.n)))
		letter_feed(r, bytes_first(in, MIN(piece, in.n)));
	return letter_end(r, id_r);
}

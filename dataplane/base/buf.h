/* SPDX-License-Identifier: BSD-3-Clause
 * A bounded output buffer over the caller's memory.  A write that does not fit sets `overflow` and
 * leaves the content as it was: callers write freely and test once.  Any thread, no allocation. */
#pragma once
#include <stdarg.h>
#include "dataplane/base/bytes.h"

struct buf {
	uint8_t *p;
	size_t n;   /* octets used */
	size_t cap; /* octets there are */
	bool overflow;
};

static inline void buf_init(struct buf *b, void *memory, size_t cap)
{
	*b = (struct buf){.p = memory, .cap = cap};
}

static inline struct bytes buf_view(const struct buf *b)
{
	return bytes_make(b->p, b->n);
}

static inline size_t buf_space(const struct buf *b)
{
	return b->cap - b->n;
}

static inline void buf_put(struct buf *b, struct bytes data)
{
	if (b->overflow || data.n > b->cap - b->n) {
		b->overflow = true;
		return;
	}
	if (data.n)
		memcpy(b->p + b->n, data.p, data.n);
	b->n += data.n;
}

static inline void buf_str(struct buf *b, const char *s)
{
	buf_put(b, bytes_str(s));
}

static inline void buf_byte(struct buf *b, uint8_t c)
{
	buf_put(b, bytes_make(&c, 1));
}

/* Drop the first n octets, moving the rest to the front. */
static inline void buf_consume(struct buf *b, size_t n)
{
	n = MIN(n, b->n);
	if (n && n < b->n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void buf_vprintf(struct buf *b, const char *format, va_list ap);
void buf_printf(struct buf *b, const char *format, ...) PRINTF(2, 3);

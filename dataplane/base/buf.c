/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/buf.h"

void buf_vprintf(struct buf *b, const char *format, va_list ap)
{
	int n = vsnprintf((char *)b->p + b->n, b->cap - b->n, format, ap);

	/* vsnprintf wants room for a NUL that is not part of the content. */
	if (n < 0 || b->overflow || (size_t)n >= b->cap - b->n)
		b->overflow = true;
	else
		b->n += (size_t)n;
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	buf_vprintf(b, format, ap);
	va_end(ap);
}

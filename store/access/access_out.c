/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/access/access_out.h"
#include <stdarg.h>
#include "dataplane/base/buf.h"

bool access_out_reserve(struct access_out *o)
{
	for (size_t have = o->spare.head ? o->spare.bytes : 0; have < ACCESS_OUT_SPARES; have++) {
		struct chunk *fresh = chunk_get();
		if (!fresh)
			return false;
		chain_push(&o->spare, fresh);
		o->spare.bytes++; /* spare chunks are empty: bytes counts chunks here */
	}
	return true;
}

static struct chunk *spare_take(struct access_out *o)
{
	struct chunk *c = chain_pop(&o->spare);

	if (c)
		o->spare.bytes--;
	return c ? c : chunk_get();
}

void access_out_relax(struct access_out *o)
{
	chain_free(&o->spare);
}

void access_out_put(struct access_out *o, struct bytes data)
{
	while (data.n && !o->failed) {
		struct chunk *tail = o->chain.tail;
		if (!tail || tail->n == CHUNK_DATA) {
			tail = spare_take(o);
			if (!tail) {
				o->failed = true;
				return;
			}
			chain_push(&o->chain, tail);
			o->chunks++;
		}
		size_t n = MIN(data.n, (size_t)(CHUNK_DATA - tail->n));
		memcpy(tail->data + tail->n, data.p, n);
		tail->n += (uint32_t)n;
		o->chain.bytes += n;
		data = bytes_skip(data, n);
	}
}

void access_out_str(struct access_out *o, const char *s)
{
	access_out_put(o, bytes_str(s));
}

void access_out_printf(struct access_out *o, const char *format, ...)
{
	char text[ACCESS_OUT_PRINT + 1];
	struct buf b;
	va_list ap;

	buf_init(&b, text, sizeof(text));
	va_start(ap, format);
	buf_vprintf(&b, format, ap);
	va_end(ap);
	if (b.overflow)
		o->failed = true;
	else
		access_out_put(o, buf_view(&b));
}

void access_out_join(struct access_out *o, struct chain *data)
{
	if (data->bytes > ACCESS_OUT_COPIED) {
		for (const struct chunk *c = data->head; c; c = c->next)
			o->chunks++;
		chain_join(&o->chain, data);
		return;
	}
	for (const struct chunk *c = data->head; c; c = c->next)
		access_out_put(o, bytes_make(c->data, c->n));
	chain_free(data);
}

struct bytes access_out_peek(const struct access_out *o)
{
	const struct chunk *c = o->chain.head;

	return c ? bytes_make(c->data + o->taken, c->n - o->taken) : BYTES_NONE;
}

void access_out_consume(struct access_out *o, size_t n)
{
	struct chunk *c = o->chain.head;

	if (!c)
		return;
	BUG_ON(n > c->n - o->taken);
	o->taken += (uint32_t)n;
	if (o->taken == c->n) {
		chunk_put(chain_pop(&o->chain));
		o->chunks--;
		o->taken = 0;
	}
}

void access_out_free(struct access_out *o)
{
	chain_free(&o->chain);
	access_out_relax(o);
	o->taken = o->chunks = 0;
}

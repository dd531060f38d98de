/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/access/chunk_array.h"

static struct chunk **slot(const struct chunk_array *a, uint32_t chunk)
{
	return (struct chunk **)(void *)a->directory->data + chunk;
}

void chunk_array_init(struct chunk_array *a, size_t element_bytes)
{
	BUG_ON(element_bytes == 0 || element_bytes > CHUNK_DATA);
	*a = (struct chunk_array){.element_bytes = (uint16_t)element_bytes,
		.per_chunk = (uint16_t)(CHUNK_DATA / element_bytes)};
}

void *chunk_array_at(const struct chunk_array *a, uint32_t i)
{
	BUG_ON(i >= a->n);
	return (*slot(a, i / a->per_chunk))->data + (size_t)(i % a->per_chunk) * a->element_bytes;
}

void *chunk_array_push(struct chunk_array *a)
{
	if (a->n == chunk_array_max(a))
		return NULL;
	if (!a->directory && !(a->directory = chunk_get()))
		return NULL;
	if (a->n % a->per_chunk == 0) {
		struct chunk *fresh = chunk_get();
		if (!fresh)
			return NULL;
		*slot(a, a->n / a->per_chunk) = fresh;
	}
	a->n++;
	return chunk_array_at(a, a->n - 1);
}

void chunk_array_truncate(struct chunk_array *a, uint32_t n)
{
	uint32_t keep = (n + a->per_chunk - 1u) / a->per_chunk;
	uint32_t have = (a->n + a->per_chunk - 1u) / a->per_chunk;

	BUG_ON(n > a->n);
	for (uint32_t i = keep; i < have; i++)
		chunk_put(*slot(a, i));
	a->n = n;
	if (n == 0 && a->directory) {
		chunk_put(a->directory);
		a->directory = NULL;
	}
}

void chunk_array_free(struct chunk_array *a)
{
	chunk_array_truncate(a, 0);
}

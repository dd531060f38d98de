/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/access/chunk_array.h"

static struct chunk **slot(const struct chunk_array *a, uint32_t chunk)
{
	struct chunk *directory = a->directory[chunk / CHUNK_ARRAY_CHUNKS];

	return (struct chunk **)(void *)directory->data + chunk % CHUNK_ARRAY_CHUNKS;
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
	struct chunk **directory = &a->directory[a->n / a->per_chunk / CHUNK_ARRAY_CHUNKS];
	if (!*directory && !(*directory = chunk_get()))
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
	/* A directory may be there without chunks: the pool was empty then. */
	for (uint32_t i = 0; i < CHUNK_ARRAY_DIRECTORIES; i++) {
		if (i * CHUNK_ARRAY_CHUNKS < keep || !a->directory[i])
			continue;
		chunk_put(a->directory[i]);
		a->directory[i] = NULL;
	}
}

void chunk_array_free(struct chunk_array *a)
{
	chunk_array_truncate(a, 0);
}

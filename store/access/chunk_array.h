/* SPDX-License-Identifier: BSD-3-Clause
 * A growable array of fixed-size elements in chunks of the chunk pool: the message list of a
 * session, whose length a peer's mailbox chooses.  Two levels, so an index is found in constant
 * time and growing never moves an element; a few directories, so that a million messages fit.  One
 * owner at a time; no allocation from the heap. */
#pragma once
#include "dataplane/base/rt/chunk.h"

/* Chunks of elements that one directory chunk can name, and directories an array may have. */
#define CHUNK_ARRAY_CHUNKS      (CHUNK_DATA / sizeof(struct chunk *))
#define CHUNK_ARRAY_DIRECTORIES 8 /* chosen: 1.38 million messages of 12 octets */

struct chunk_array {
	/* hold pointers to the chunks of elements; NULL: not needed yet */
	struct chunk *directory[CHUNK_ARRAY_DIRECTORIES];
	uint32_t n; /* elements */
	uint16_t element_bytes;
	uint16_t per_chunk;
};

/* element_bytes: 1..CHUNK_DATA, a multiple of the element's alignment. */
void chunk_array_init(struct chunk_array *a, size_t element_bytes);
/* Element i < a->n; valid until truncated or freed. */
void *chunk_array_at(const struct chunk_array *a, uint32_t i);
/* Append an element, not cleared.  NULL: pool empty or the array is full (chunk_array_max). */
void *chunk_array_push(struct chunk_array *a);
/* Keep the first n elements; gives back the chunks behind them. */
void chunk_array_truncate(struct chunk_array *a, uint32_t n);
/* Empty again; safe on an empty one. */
void chunk_array_free(struct chunk_array *a);
static inline uint32_t chunk_array_max(const struct chunk_array *a)
{
	return (uint32_t)(CHUNK_ARRAY_DIRECTORIES * CHUNK_ARRAY_CHUNKS * a->per_chunk);
}

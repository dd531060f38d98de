/* SPDX-License-Identifier: BSD-3-Clause
 * The memory of message bodies and of everything else whose size a peer chooses: fixed-size chunks
 * from one pool (hugepages when there are any), which any thread may take and free (the pool is
 * safe against preemption).  The pool is the budget limits.body_memory. */
#pragma once
#include "dataplane/base/bytes.h"

#define CHUNK_DATA 4080 /* octets: with 16 octets of head one page, and exactly one LMDB page */

struct chunk {
	struct chunk *next;
	uint32_t n; /* octets used in data[] */
	uint32_t reserved;
	uint8_t data[CHUNK_DATA];
};
static_assert(sizeof(struct chunk) == 4096, "a chunk is a page");

/* A sequence of chunks.  Only the last one may be partly filled, unless a producer appended whole
 * chunks by itself; readers must use chunk->n.  One owner at a time. */
struct chain {
	struct chunk *head, *tail;
	uint64_t bytes;
};

/* Before any other thread runs.  Returns 0 or -ENOMEM. */
int chunk_pool_init(uint32_t chunks, int socket) WARN_UNUSED;
void chunk_pool_fini(void);
uint32_t chunk_pool_size(void);
uint32_t chunk_pool_free_count(void); /* approximate while others work */
/* Used share of the pool, 0..100. */
unsigned chunk_pool_used_percent(void);

/* NULL when the pool is empty: a designed state, not an error. */
struct chunk *chunk_get(void);
void chunk_put(struct chunk *c);

/* Append a copy of data.  Returns 0; -ENOBUFS: pool empty, the chain is as before. */
int chain_append(struct chain *c, struct bytes data) WARN_UNUSED;
/* Append a chunk; the chain takes it. */
void chain_push(struct chain *c, struct chunk *chunk);
/* Move all of src to the end of dst; src is empty afterwards. */
void chain_join(struct chain *dst, struct chain *src);
/* Take the first chunk off; NULL when empty. */
struct chunk *chain_pop(struct chain *c);
/* Put all chunks back; the chain is empty afterwards.  Safe on an empty one. */
void chain_free(struct chain *c);
/* Copy up to n octets from offset into out; returns octets copied.  Walks from the head. */
size_t chain_read(const struct chain *c, uint64_t offset, void *out, size_t n);
